//! What training data look like before a model is made: from this, models choose settings that suit them.

use poiesis_collect::Tones;

use super::{Content, DataSpec, Examples};

/// How many images are looked at.
const IMAGES: usize = 256;

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
