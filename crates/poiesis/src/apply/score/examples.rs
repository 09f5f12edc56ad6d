//! Examples of any data set, as a model reads them.

use std::path::Path;

use poiesis_collect::{Dataset, Split};

use super::{Example, describe_images};
use crate::data::{Content, DataSpec, Examples, ImageShape, PointShape, SoundShape};
use crate::error::{Error, Result};
use crate::media::{Clip, Media};
use crate::picture::Picture;
use crate::trained::Trained;

/// Examples of a split of `dataset`, for a model that was trained on data of the same kind and shape: all of them or `count`, spread evenly,
/// of text and sound the first `count`. They are called by the folder of the data set, the split and their number, from 0. A text is
/// given back as text, so its vocabulary may be another than the model's.
///
/// # Errors
///
/// [`Error::Unusable`] with both shapes for a data set of another kind or shape; [`Error::Data`] for a damaged one; [`Error::InvalidValue`]
/// for images without a height, a width and channels.
pub fn examples_of(
    trained: &Trained,
    dataset: &Dataset,
    split: Split,
    count: Option<usize>,
) -> Result<Vec<Example>> {
    let spec = DataSpec::of(dataset)?;
    expect_alike(&trained.spec, &spec, dataset.folder())?;
    let Some(examples) = Examples::of(dataset, split) else { return Ok(Vec::new()) };
    let card = dataset.card();
    let example = |index: usize, label: Option<u32>, media: Media| Example {
        name: format!("{}: {split} {index}", dataset.folder().display()),
        class: label.and_then(|label| card.classes.get(label as usize).cloned()),
        media,
    };
    match (examples, &spec.content) {
        (Examples::Images(view), content) => {
            let indices = view.spread(count.unwrap_or(view.len()));
            let media = |index: usize| match content {
                Content::Images(ImageShape { height, width, channels }) => {
                    Media::Image(Picture::new(*width, *height, *channels, view.image(index).to_vec()))
                }
                _ => Media::Point(view.point(index).to_vec()),
            };
            Ok(indices.map(|index| example(index, view.label(index), media(index))).collect())
        }
        (Examples::Stream(stream), content) => {
            if let Content::Text(text) = content {
                stream.check_tokens(text.vocabulary.len())?;
            }
            let indices = 0..count.unwrap_or(stream.documents()).min(stream.documents());
            let media = |index: usize| match content {
                Content::Sound(shape) => {
                    Media::Sound(Clip { shape: *shape, samples: stream.samples(stream.document(index)) })
                }
                Content::Text(text) => {
                    Media::Text(text.vocabulary.decode(&stream.tokens(stream.document(index))))
                }
                _ => panic!("a stream is text or sound"),
            };
            Ok(indices.map(|index| example(index, stream.label(index), media(index))).collect())
        }
        (Examples::Experience(_), _) => Ok(Vec::new()),
    }
}

/// Returns an error for data that a model of `own` cannot read.
fn expect_alike(own: &DataSpec, found: &DataSpec, folder: &Path) -> Result<()> {
    let alike = match (&own.content, &found.content) {
        (Content::Images(own), Content::Images(found)) => own == found,
        (Content::Sound(own), Content::Sound(found)) => own == found,
        (Content::Points(own), Content::Points(found)) => {
            let named = !own.columns.is_empty() && !found.columns.is_empty();
            own.dims == found.dims && (!named || own.columns == found.columns)
        }
        (Content::Text(_), Content::Text(_)) => true,
        _ => false,
    };
    if alike {
        return Ok(());
    }
    let remedy = match own.media() == found.media() {
        true => "give what it was collected from: that is prepared as the model needs it",
        false => "give data of the kind that the model was trained on",
    };
    Err(Error::Unusable {
        path: folder.to_owned(),
        reason: format!("it holds {}, and the model reads {}", in_words(found), in_words(own)),
        remedy: remedy.into(),
    })
}

/// Examples of a kind and shape, in words.
pub(super) fn in_words(spec: &DataSpec) -> String {
    match &spec.content {
        Content::Images(shape) => describe_images(*shape),
        Content::Sound(SoundShape { sample_rate, channels }) => {
            format!("sounds of {sample_rate} Hz with {channels} channels")
        }
        Content::Points(PointShape { dims, columns, .. }) => match columns.as_slice() {
            [] => format!("points of {dims} coordinates"),
            names => format!("points of {dims} coordinates ({})", names.join(", ")),
        },
        Content::Text(_) => "text".to_owned(),
        Content::Experience(task) => format!("experience with {}", task.describe()),
    }
}
