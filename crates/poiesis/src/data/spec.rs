//! What the examples of a data set are.

use poiesis_collect::{ActionsCard, Card, Dataset, Kind, Split, SplitBy, Vocabulary};
use serde::{Deserialize, Serialize};

use super::{ActionShape, ColumnValues, ImageShape, SampleFormat, TaskShape, TokenShape};
use crate::error::{Error, Result};

/// What the examples of a data set are: everything a model must know to be made for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSpec {
    /// Their kind and shape.
    pub content: Content,
    /// How many classes they are labelled with; 0 without labels.
    pub classes: usize,
    /// Whether some of those for training have no class beside others that have one. Runs made before that was told apart say no, so
    /// their tokens stay as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlabelled: bool,
}

/// The kind of examples, and their shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Images of one size.
    Images(ImageShape),
    /// Text.
    Text(TextShape),
    /// Sound.
    Sound(SoundShape),
    /// Points of a space of any number of dimensions.
    Points(PointShape),
    /// Observations, actions and rewards of an agent.
    Experience(TaskShape),
}

/// A kind of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Images of one size.
    Images,
    /// Text, as bytes, characters or learned pieces.
    Text,
    /// Sound.
    Sound,
    /// Points of a space of any number of dimensions.
    Points,
    /// Observations, actions and rewards of an agent.
    Experience,
}

impl MediaKind {
    /// The kind as one lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            MediaKind::Images => "images",
            MediaKind::Text => "text",
            MediaKind::Sound => "sound",
            MediaKind::Points => "points",
            MediaKind::Experience => "experience",
        }
    }
}

/// What a model must know about points. Two that have the same coordinates by the same names are equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PointShape {
    /// Coordinates of a point.
    pub dims: usize,
    /// The names of the coordinates; empty where the data do not name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Which values drawn points may have in each column; empty where they may have any, and in runs made before that was told apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ColumnValues>,
}

impl PartialEq for PointShape {
    fn eq(&self, other: &PointShape) -> bool {
        (self.dims, &self.columns) == (other.dims, &other.columns)
    }
}

impl Eq for PointShape {}

impl PointShape {
    /// Points of `dims` coordinates without names, which may have any values.
    pub fn new(dims: usize) -> PointShape {
        PointShape { dims, columns: Vec::new(), values: Vec::new() }
    }

    /// A drawn point with values that its columns may have.
    pub fn fit(&self, drawn: &[f32]) -> Vec<f32> {
        match self.values.as_slice() {
            [] => drawn.to_vec(),
            values => drawn.iter().zip(values).map(|(&value, column)| column.fit(value)).collect(),
        }
    }

    /// What coordinate `at`, counted from 0, is called: the name of its column, or `column 3`.
    pub fn column(&self, at: usize) -> String {
        self.columns.get(at).cloned().unwrap_or_else(|| format!("column {}", at + 1))
    }
}

/// What a model must know about text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextShape {
    /// What its tokens stand for.
    pub vocabulary: Vocabulary,
    /// Whether there are several documents, each with a token at its beginning, or one long text.
    pub documents: bool,
    /// Whether documents are lines.
    pub lines: bool,
}

impl TextShape {
    /// What separates two documents where they are written one after another.
    pub fn separator(&self) -> &'static [u8] {
        if self.lines { b"\n" } else { b"\n\n" }
    }
}

/// What a model must know about sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundShape {
    /// Frames in a second.
    pub sample_rate: u32,
    /// Samples in a frame: 1 mono, 2 stereo.
    pub channels: u16,
}

impl DataSpec {
    /// What `dataset` holds.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for images that do not have a height, a width and channels.
    pub fn of(dataset: &Dataset) -> Result<DataSpec> {
        let card = dataset.card();
        if let (Kind::Experience, Some(experience)) = (card.kind, &card.experience) {
            let actions = match experience.actions {
                ActionsCard::Discrete { choices } => ActionShape::Discrete { choices },
                ActionsCard::Continuous { dims } => ActionShape::Continuous { dims },
            };
            let environment = experience.environment.clone().unwrap_or_default();
            let task = TaskShape { environment, observation: experience.observation, actions };
            return Ok(DataSpec { content: Content::Experience(task), classes: 0, unlabelled: false });
        }
        let dims = card.shape.first().copied().unwrap_or(2);
        let train = dataset.split(Split::Train).filter(|train| !train.is_empty());
        let content = match (card.kind, &card.text, &card.sound) {
            (Kind::Text, Some(text), _) => Content::Text(TextShape {
                vocabulary: text.vocabulary.clone(),
                documents: card.split_by != SplitBy::Position && card.total() > 1,
                lines: text.lines,
            }),
            (Kind::Sound, _, Some(sound)) => {
                Content::Sound(SoundShape { sample_rate: sound.sample_rate, channels: sound.channels })
            }
            (Kind::Points, ..) => Content::Points(PointShape {
                dims,
                columns: card.points.as_ref().map(|points| points.columns.clone()).unwrap_or_default(),
                values: train.map_or_else(Vec::new, |train| ColumnValues::all(&train, dims)),
            }),
            _ => Content::Images(ImageShape::from_slice(&card.shape)?),
        };
        Ok(DataSpec { content, classes: card.classes.len(), unlabelled: has_unlabelled(card) })
    }

    /// What the types do not express, for a description that comes from a file.
    pub(crate) fn check(&self) -> Result<(), String> {
        /// More values than an example can have.
        const MOST: usize = 1 << 40;
        if self.unlabelled && self.classes == 0 {
            return Err("some examples are outside of classes, and there are no classes".to_owned());
        }
        let outside = match &self.content {
            Content::Images(shape) => {
                let ImageShape { height, width, channels } = *shape;
                let values = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(channels));
                let fits = values.is_some_and(|values| (1..=MOST).contains(&values))
                    && matches!(channels, 1 | 3 | 4);
                (!fits).then(|| format!("images of {width}×{height} with {channels} channels"))
            }
            Content::Points(shape) => {
                let named = shape.columns.is_empty() || shape.columns.len() == shape.dims;
                let listed = shape.values.is_empty() || shape.values.len() == shape.dims;
                if !listed || !shape.values.iter().all(ColumnValues::is_valid) {
                    return Err("the values that are listed are not those of its columns".to_owned());
                }
                let fits = (1..=MOST).contains(&shape.dims) && named;
                (!fits).then(|| {
                    format!("points of {} coordinates, {} of them named", shape.dims, shape.columns.len())
                })
            }
            Content::Sound(shape) => {
                let fits = shape.sample_rate > 0 && (1..=255).contains(&shape.channels);
                (!fits).then(|| format!("sound of {} channels at {} Hz", shape.channels, shape.sample_rate))
            }
            Content::Text(shape) => return shape.vocabulary.check(),
            Content::Experience(task) => {
                let fits = [task.observation, task.actions.inputs()].iter().all(|n| (1..=MOST).contains(n));
                (!fits).then(|| format!("tasks with {}", task.describe()))
            }
        };
        outside.map_or(Ok(()), |what| Err(format!("there are no {what}")))
    }

    /// The kind of the data.
    pub fn media(&self) -> MediaKind {
        match &self.content {
            Content::Images(_) => MediaKind::Images,
            Content::Text(_) => MediaKind::Text,
            Content::Sound(_) => MediaKind::Sound,
            Content::Points(_) => MediaKind::Points,
            Content::Experience(_) => MediaKind::Experience,
        }
    }

    /// The shape of the images.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the data are not images.
    pub fn images(&self) -> Result<ImageShape> {
        match &self.content {
            Content::Images(shape) => Ok(*shape),
            _ => Err(self.of_another_kind(MediaKind::Images)),
        }
    }

    /// The coordinates of the points.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the data are not points.
    pub fn points(&self) -> Result<&PointShape> {
        match &self.content {
            Content::Points(shape) => Ok(shape),
            _ => Err(self.of_another_kind(MediaKind::Points)),
        }
    }

    /// The task of an agent.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the data are not experience.
    pub fn task(&self) -> Result<&TaskShape> {
        match &self.content {
            Content::Experience(task) => Ok(task),
            _ => Err(self.of_another_kind(MediaKind::Experience)),
        }
    }

    /// How many classes the model called `model` is conditioned on: those of the data, or none where it is not `conditional`.
    ///
    /// # Errors
    ///
    /// [`Error::NoClasses`] when it is to be conditioned on classes and there are none.
    pub fn classes_for(&self, model: &str, conditional: bool) -> Result<usize> {
        match (conditional, self.classes) {
            (true, 0) => Err(Error::NoClasses { key: format!("{model}.conditional"), data: None }),
            (true, classes) => Ok(classes),
            (false, _) => Ok(0),
        }
    }

    fn of_another_kind(&self, wanted: MediaKind) -> Error {
        let wanted = wanted.name();
        Error::InvalidValue {
            key: "data.source".into(),
            value: self.media().name().into(),
            reason: format!("this needs {wanted}"),
            remedy: format!("give a data set of {wanted}, or the run of a model of {wanted}"),
        }
    }

    /// The tokens that the examples are read as: characters of text; values of an image in `levels` levels; samples of sound
    /// in `levels` levels where a [`SampleFormat`] has that many, otherwise in those of the μ-law.
    ///
    /// # Panics
    ///
    /// For points and experience, which no model reads as tokens: [`Examples::tokens`](super::Examples::tokens) refuses them.
    pub fn tokens(&self, levels: usize) -> TokenShape {
        let unlabelled = self.unlabelled;
        let beginnings = self.classes.max(1) + usize::from(unlabelled);
        match &self.content {
            Content::Images(shape) => {
                TokenShape { values: levels, beginnings, length: Some(shape.dims()), unlabelled }
            }
            Content::Text(text) => TokenShape {
                values: text.vocabulary.len(),
                beginnings: if text.documents { beginnings } else { 0 },
                length: None,
                unlabelled: unlabelled && text.documents,
            },
            Content::Sound(_) => {
                let values = SampleFormat::of(levels).levels();
                TokenShape { values, beginnings, length: None, unlabelled }
            }
            Content::Points(_) => panic!("points are not read as tokens"),
            Content::Experience(_) => panic!("experience is not read as tokens"),
        }
    }
}

/// Whether some training examples of a data set with classes have none.
fn has_unlabelled(card: &Card) -> bool {
    let train = card.splits.iter().find(|split| split.split == Split::Train);
    train.is_some_and(|train| {
        let labelled: u64 = train.class_counts.iter().sum();
        // Where none is labelled, the classes are those of held-out examples, and there is nothing to tell apart.
        labelled > 0 && labelled < train.count as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{image_spec, labelled_images};

    #[test]
    fn examples_outside_of_classes_are_told_apart_where_there_are_some() {
        let spec = |labels: &str| DataSpec::of(&labelled_images(4, labels).1).unwrap();
        let all = spec("0.png,ant\n1.png,bee\n2.png,ant\n3.png,bee\n");
        assert_eq!((all.classes, all.unlabelled), (2, false));
        let some = spec("0.png,ant\n1.png,bee\n");
        assert_eq!((some.classes, some.unlabelled), (2, true));
        assert_eq!((all.tokens(8).beginnings, some.tokens(8).beginnings), (2, 3));
    }

    #[test]
    fn what_earlier_runs_saved_is_read_and_written_as_it_was() {
        let spec = image_spec([2, 2, 1], 2);
        let saved = serde_json::to_value(&spec).unwrap();
        assert!(saved.get("unlabelled").is_none(), "{saved}");
        assert_eq!(serde_json::from_value::<DataSpec>(saved).unwrap(), spec);
        let some = DataSpec { unlabelled: true, ..spec };
        let saved = serde_json::to_value(&some).unwrap();
        assert_eq!(serde_json::from_value::<DataSpec>(saved).unwrap(), some);
        assert!(some.check().is_ok() && DataSpec { classes: 0, ..some }.check().is_err());
    }
}
