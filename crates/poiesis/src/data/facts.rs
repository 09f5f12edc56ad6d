//! What training data look like before a model is made: from this, models choose settings that suit them.

use poiesis_collect::Tones;

use super::{Content, DataSpec, Examples};

/// How many images are looked at.
const IMAGES: usize = 256;
/// Fewer images or points than this teach a model nothing but themselves.
const FEW: u64 = 16;
/// Likewise of the tokens of a text.
const SHORT_TEXT: u64 = 2000;

/// What is known of training data.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFacts {
    /// What the examples are.
    pub spec: DataSpec,
    /// The number of images, points, tokens of text, or samples of sound in the training split.
    pub len: u64,
    /// Whether images are drawings: grey, with next to all values dark or bright, so that each can be taken for black or white.
    pub two_tones: bool,
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
        DataFacts { spec: spec.clone(), len: train.len(), two_tones }
    }

    /// What to say where there is so little that it can only be memorised, as one line; `None` where there is enough to learn from, and
    /// for experience, which has its own measure.
    pub fn too_little(&self) -> Option<String> {
        let so_little = |many: bool| {
            let (are, it) = if many { ("are", "them") } else { ("is", "it") };
            format!("{are} so little that a model can only memorise {it}: give more for anything new")
        };
        let several = |what: &str| {
            let many = self.len != 1;
            let plural = if many { "s" } else { "" };
            format!("{} {what}{plural} to learn from {}", self.len, so_little(many))
        };
        match &self.spec.content {
            Content::Images(_) if self.len < FEW => Some(several("image")),
            Content::Points(_) if self.len < FEW => Some(several("point")),
            Content::Text(_) if self.len < SHORT_TEXT => Some(several("token")),
            Content::Sound(shape) if self.len < u64::from(shape.sample_rate) => {
                let seconds = self.len as f64 / f64::from(shape.sample_rate);
                Some(format!("{seconds:.2} s of sound to learn from {}", so_little(false)))
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

#[cfg(test)]
mod tests {
    use poiesis_collect::Vocabulary;

    use super::*;
    use crate::data::{ImageShape, PointShape, SoundShape, TextShape};

    fn said(content: Content, len: u64) -> Option<String> {
        let spec = DataSpec { content, classes: 0, unlabelled: false };
        DataFacts { spec, len, two_tones: false }.too_little()
    }

    #[test]
    fn so_little_that_it_can_only_be_memorised_is_said() {
        let images = || Content::Images(ImageShape::from_slice(&[32, 32, 3]).unwrap());
        let said_of =
            |content, len, start: &str| said(content, len).is_some_and(|line| line.starts_with(start));
        assert!(said_of(images(), 1, "1 image to learn from is so little that a model can only memorise it"));
        assert!(said_of(
            images(),
            3,
            "3 images to learn from are so little that a model can only memorise them"
        ));
        assert_eq!(said(images(), 16), None);
        let text =
            || Content::Text(TextShape { vocabulary: Vocabulary::Bytes, documents: false, lines: false });
        assert!(said_of(text(), 400, "400 tokens to learn from are so little"));
        assert_eq!(said(text(), 2000), None);
        let sound = || Content::Sound(SoundShape { sample_rate: 8000, channels: 1 });
        assert!(said_of(sound(), 2000, "0.25 s of sound to learn from is so little"));
        assert_eq!(said(sound(), 8000), None);
        let points = || Content::Points(PointShape { dims: 2, columns: Vec::new() });
        assert!(said_of(points(), 2, "2 points to learn from are so little"));
    }
}
