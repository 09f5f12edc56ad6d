//! What training data look like before a model is made: from this, models choose settings that suit them.

use poiesis_collect::Tones;

use super::{Column, Content, DataSpec, Examples, Values};
use crate::error::{Error, Result};

/// How many images are looked at.
const IMAGES: usize = 256;
/// Fewer images or points than this teach a model nothing but themselves.
const FEW: u64 = 16;
/// Likewise of the tokens of a text.
const SHORT_TEXT: u64 = 2000;
/// How many columns an error names.
const NAMED: usize = 8;

/// What is known of training data.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFacts {
    /// What the examples are.
    pub spec: DataSpec,
    /// The number of images, points, tokens of text, or samples of sound in the training split.
    pub len: u64,
    /// Whether images are drawings: grey, with next to all values dark or bright, so that each can be taken for black or white.
    pub two_tones: bool,
    /// The columns of points; none of other data.
    pub columns: Vec<Column>,
}

impl DataFacts {
    /// Looks at the training examples; of images at some hundreds, the same ones each time.
    pub fn of(spec: &DataSpec, train: &Examples) -> DataFacts {
        let two_tones = match (&spec.content, train) {
            (Content::Images(shape), Examples::Images(view)) => {
                let tones = view.spread(IMAGES).map(|i| Tones::of(view.image(i)));
                shape.channels == 1 && tones.sum::<Tones>().are_two()
            }
            _ => false,
        };
        let columns = match (&spec.content, train) {
            (Content::Points(shape), Examples::Images(view)) => Column::all(view, shape),
            _ => Vec::new(),
        };
        DataFacts { spec: spec.clone(), len: train.len(), two_tones, columns }
    }

    /// Checks that points can have a density: columns of one value have none, since all probability is at one place.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for `data.source`, with the names of these columns.
    pub fn expect_density(&self) -> Result<()> {
        let constant = self.columns.iter().filter(|column| column.values == Values::One);
        let names: Vec<String> = constant.map(|column| format!("`{}`", column.name)).collect();
        let (columns, have, remedy) = match names.len() {
            0 => return Ok(()),
            1 => ("the column", "it has", "leave this column out of the table"),
            _ => ("the columns", "each has", "leave these columns out of the table"),
        };
        let value = format!("a table with {columns} {}", listed(&names));
        let reason =
            format!("{have} the same value in every training row, and the density of one value has no bound");
        Err(Error::invalid_value("data.source", &value, &reason, remedy))
    }

    /// What to say where there is so little that it can only be memorised, as one line; `None` where there is enough to learn from, and
    /// for experience, which has its own measure.
    pub fn too_little(&self) -> Option<String> {
        let len = self.len;
        let (s, few, are, it) =
            if len == 1 { ("", "little", "is", "it") } else { ("s", "few", "are", "them") };
        let said = |what: String, few: &str, are: &str, it: &str| {
            format!("{what} {are} so {few} that a model can only memorise {it}; give more")
        };
        match &self.spec.content {
            Content::Images(_) if len < FEW => Some(said(format!("{len} training image{s}"), few, are, it)),
            Content::Points(_) if len < FEW => Some(said(format!("{len} training point{s}"), few, are, it)),
            Content::Text(_) if len < SHORT_TEXT => {
                Some(said(format!("{len} token{s} of training text"), "little", are, it))
            }
            Content::Sound(shape) if len < u64::from(shape.sample_rate) => {
                let seconds = len as f64 / f64::from(shape.sample_rate);
                Some(said(format!("{seconds:.2} s of training sound"), "little", "is", "it"))
            }
            _ => None,
        }
    }

    /// The values of an image or a point; 1 for other data.
    pub fn dims(&self) -> usize {
        match &self.spec.content {
            Content::Images(shape) => shape.dims(),
            Content::Points(shape) => shape.dims,
            _ => 1,
        }
    }

    /// Whether the sides of images halve down to 4 to 7 pixels, as convolutional networks need.
    pub fn halves(&self) -> bool {
        self.spec.images().is_ok_and(|shape| shape.halvings().is_ok())
    }

    /// A window of `tokens`, or of half of all where there are fewer.
    pub fn window(&self, tokens: u64) -> i64 {
        tokens.min(self.len / 2).max(1) as i64
    }

    /// How large images are, as a reason: `images of 64×64`.
    pub fn sized(&self) -> String {
        match &self.spec.content {
            Content::Images(shape) => format!("images of {}×{}", shape.width, shape.height),
            _ => "the kind of the data".to_owned(),
        }
    }

    /// Which values images have, as a reason.
    pub fn toned(&self) -> &'static str {
        match &self.spec.content {
            _ if self.two_tones => "nearly all pixels are black or white",
            Content::Images(shape) if shape.channels == 1 => "shades of grey",
            _ => "colours",
        }
    }

    /// The shorter side of an image in pixels; 0 for other data.
    pub fn side(&self) -> usize {
        match &self.spec.content {
            Content::Images(shape) => shape.height.min(shape.width),
            _ => 0,
        }
    }
}

/// `a`, `a and b`, `a, b and 3 more`.
fn listed(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [all @ .., last] if names.len() <= NAMED => format!("{} and {last}", all.join(", ")),
        _ => format!("{} and {} more", names[..NAMED].join(", "), names.len() - NAMED),
    }
}

#[cfg(test)]
mod tests {
    use poiesis_collect::Vocabulary;

    use super::*;
    use crate::data::{ImageShape, PointShape, SoundShape, TextShape};

    fn said(content: Content, len: u64) -> Option<String> {
        let spec = DataSpec { content, classes: 0, unlabelled: false };
        DataFacts { spec, len, two_tones: false, columns: Vec::new() }.too_little()
    }

    #[test]
    fn columns_without_a_density_are_all_named() {
        let spec = DataSpec { content: Content::Points(PointShape::new(3)), classes: 0, unlabelled: false };
        let error = |columns: &[(&str, Values)]| {
            let column = |&(name, values): &(&str, Values)| Column {
                name: name.to_owned(),
                mean: 1.0,
                std: 0.0,
                values,
            };
            let columns = columns.iter().map(column).collect();
            DataFacts { spec: spec.clone(), len: 100, two_tones: false, columns }.expect_density().err()
        };
        let (one, many) = (Values::One, Values::Measured);
        assert!(error(&[("a", many), ("b", Values::Repeated { spacing: 1.0 })]).is_none());
        let single = error(&[("a", many), ("site", one)]).unwrap();
        assert!(single.to_string().contains("with the column `site`: it has the same value"), "{single}");
        assert_eq!(single.hint().unwrap(), "leave this column out of the table");
        let both = error(&[("a", one), ("b", many), ("c", one)]).unwrap();
        assert!(both.to_string().contains("with the columns `a` and `c`: each has the same"), "{both}");
        assert_eq!(both.hint().unwrap(), "leave these columns out of the table");
        let names: Vec<String> = (0..12).map(|i| i.to_string()).collect();
        assert_eq!(listed(&names), "0, 1, 2, 3, 4, 5, 6, 7 and 4 more");
    }

    #[test]
    fn so_little_that_it_can_only_be_memorised_is_said() {
        let images = || Content::Images(ImageShape::from_slice(&[32, 32, 3]).unwrap());
        let said_of =
            |content, len, start: &str| said(content, len).is_some_and(|line| line.starts_with(start));
        assert!(said_of(
            images(),
            1,
            "1 training image is so little that a model can only memorise it; give"
        ));
        assert!(said_of(
            images(),
            3,
            "3 training images are so few that a model can only memorise them; give"
        ));
        assert_eq!(said(images(), 16), None);
        let text =
            || Content::Text(TextShape { vocabulary: Vocabulary::Bytes, documents: false, lines: false });
        assert!(said_of(text(), 400, "400 tokens of training text are so little"));
        assert_eq!(said(text(), 2000), None);
        let sound = || Content::Sound(SoundShape { sample_rate: 8000, channels: 1 });
        assert!(said_of(sound(), 2000, "0.25 s of training sound is so little"));
        assert_eq!(said(sound(), 8000), None);
        let points = || Content::Points(PointShape::new(2));
        assert!(said_of(points(), 2, "2 training points are so few"));
    }
}
