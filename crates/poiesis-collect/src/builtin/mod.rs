//! Data made by code, so that nothing need be downloaded: every example is a function of the seed and its index.

mod points;
pub(crate) mod scenes;
mod shapes;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::card::{Factor, Kind};
use crate::options::Options;

/// A built-in data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Builtin {
    /// Coloured shapes on a dark ground, with the factors that made each image.
    Shapes,
    /// A few shapes on black, with how many there are and a box around each.
    Scenes,
    /// Points around eight modes on a circle.
    Rings,
    /// Points around twenty-five modes on a square grid.
    Grid,
}

/// The built-in data set of that name: `shapes`, `scenes`, `rings` or `grid`.
pub fn builtin(name: &str) -> Option<Builtin> {
    Builtin::parse(name)
}

impl Builtin {
    /// All built-in data sets.
    pub const ALL: [Builtin; 4] = [Builtin::Shapes, Builtin::Scenes, Builtin::Rings, Builtin::Grid];

    /// The data set of that name.
    pub fn parse(name: &str) -> Option<Builtin> {
        Self::ALL.into_iter().find(|builtin| builtin.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Builtin::Shapes => "shapes",
            Builtin::Scenes => "scenes",
            Builtin::Rings => "rings",
            Builtin::Grid => "grid",
        }
    }

    /// What it is, in one sentence.
    pub fn about(self) -> &'static str {
        match self {
            Builtin::Shapes => "coloured shapes with known factors, made by code",
            Builtin::Scenes => "a few shapes on black, with a box around each, made by code",
            Builtin::Rings => {
                "eight Gaussians on a circle of radius 2, standard deviation 0.02, made by code"
            }
            Builtin::Grid => "a 5 by 5 grid of Gaussians, spacing 2, standard deviation 0.05, made by code",
        }
    }

    /// How many examples are made when the options do not say.
    pub fn default_count(self) -> usize {
        match self {
            Builtin::Shapes | Builtin::Scenes => 20_000,
            Builtin::Rings | Builtin::Grid => 10_000,
        }
    }

    /// The centres of the modes, in the order of the labels; empty for images.
    pub fn modes(self) -> Vec<[f32; 2]> {
        match self {
            Builtin::Shapes | Builtin::Scenes => Vec::new(),
            Builtin::Rings => points::ring(),
            Builtin::Grid => points::grid(),
        }
    }

    /// Standard deviation of each coordinate around its mode; 0 for images.
    pub fn deviation(self) -> f32 {
        match self {
            Builtin::Shapes | Builtin::Scenes => 0.0,
            Builtin::Rings => points::RING_DEVIATION,
            Builtin::Grid => points::GRID_DEVIATION,
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Builtin::Shapes | Builtin::Scenes => Kind::Images,
            Builtin::Rings | Builtin::Grid => Kind::Points,
        }
    }

    /// Fewest and most objects of an image; `None` where an image has none to count.
    pub(crate) fn objects(self, options: &Options) -> Option<(u32, u32)> {
        (self == Builtin::Scenes).then(|| options.objects.unwrap_or(scenes::OBJECTS))
    }

    pub(crate) fn classes(self, options: &Options) -> Vec<String> {
        match self {
            Builtin::Shapes => shapes::CLASSES.map(str::to_owned).to_vec(),
            Builtin::Scenes => {
                self.objects(options).map(|(_, most)| scenes::counts(most)).unwrap_or_default()
            }
            Builtin::Rings | Builtin::Grid => {
                (0..self.modes().len()).map(|mode| format!("mode {mode}")).collect()
            }
        }
    }

    pub(crate) fn shape(self, options: &Options) -> Vec<usize> {
        match self {
            Builtin::Shapes | Builtin::Scenes => {
                let (height, width) = options.size.unwrap_or((32, 32));
                vec![height as usize, width as usize, usize::from(options.channels.unwrap_or(3))]
            }
            Builtin::Rings | Builtin::Grid => vec![2],
        }
    }

    pub(crate) fn factors(self, options: &Options) -> Vec<Factor> {
        match self {
            Builtin::Shapes => shapes::factors(options.channels.unwrap_or(3)),
            Builtin::Scenes | Builtin::Rings | Builtin::Grid => Vec::new(),
        }
    }

    /// Makes example `index`, which depends on nothing but it and the options.
    pub(crate) fn make(self, index: u64, options: &Options) -> Made {
        match self {
            Builtin::Shapes => shapes::make(index, options.seed, &self.shape(options)),
            Builtin::Scenes => {
                let objects = options.objects.unwrap_or(scenes::OBJECTS);
                scenes::make(index, options.seed, &self.shape(options), objects)
            }
            Builtin::Rings => {
                points::make("rings", index, options.seed, &points::ring(), points::RING_DEVIATION)
            }
            Builtin::Grid => {
                points::make("grid", index, options.seed, &points::grid(), points::GRID_DEVIATION)
            }
        }
    }
}

/// One example made by code.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Made {
    pub(crate) example: Vec<u8>,
    pub(crate) label: u32,
    pub(crate) factors: Vec<f32>,
    /// Left, top, width and height of each object, as fractions of the image's sides.
    pub(crate) boxes: Vec<[f32; 4]>,
}

/// The random numbers for one index, such as an example's: ChaCha8 keyed by seed and purpose, one stream an index.
pub(crate) fn random(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..8 + purpose.len()].copy_from_slice(purpose.as_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(index);
    rng
}

/// Uniform in [0, 1), from 24 bits, which an f32 holds exactly.
fn uniform(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// Uniform among `0..count`; the bias is below `count` in 2^32.
pub(crate) fn below(rng: &mut ChaCha8Rng, count: usize) -> usize {
    ((u64::from(rng.next_u32()) * count as u64) >> 32) as usize
}
