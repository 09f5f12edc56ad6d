//! Measures of how odd an image is, each by one ability of a model. Higher is odder, but for the likelihood, which counts on both sides.

use std::f64::consts::LN_2;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::abilities::{Abilities, Ability, Encoder, Features, Latents, Likelihood};
use crate::data::{ImageShape, PixelEncoding};
use crate::error::{Error, Result};
use crate::evaluate::Progress;
use crate::fitting::{Near, Pca, Rows, Standardizer, near};
use crate::picture::Picture;
use crate::rng;

/// Images that are computed together, always so many.
const GROUP: usize = 16;
/// Draws for the bound of an image.
const DRAWS: u64 = 4;
/// Neighbours whose distance is averaged.
pub(super) const NEIGHBOURS: usize = 5;
/// Features are reduced to so many principal components.
pub(super) const COMPONENTS: usize = 50;
/// A feature that varies less than this part of the one that varies most is not stretched as much; see [`Standardizer::gentle`].
const GENTLE: f64 = 0.1;

/// A way of saying how odd an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Score {
    /// Fisher's combination of all others.
    Combined,
    /// How far −log p(x), or its bound, is from that of usual images, to either side (typicality; Nalisnick et al. 2019,
    /// arXiv:1906.02994).
    Likelihood,
    /// −log p(x), or its bound, less the size of the image as a PNG (Serrà et al. 2020, arXiv:1909.11480, Eq. 1).
    Complexity,
    /// How far the image is from what the decoder makes of its latents.
    Reconstruction,
    /// How far the nearest training images are in the features of the model, or in its latents.
    Neighbours,
}

impl Score {
    /// All of them, in the order of lists.
    pub const ALL: [Score; 5] =
        [Score::Combined, Score::Likelihood, Score::Complexity, Score::Reconstruction, Score::Neighbours];

    /// The name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Score::Combined => "combined",
            Score::Likelihood => "likelihood",
            Score::Complexity => "complexity",
            Score::Reconstruction => "reconstruction",
            Score::Neighbours => "neighbours",
        }
    }

    /// The unit of what is measured.
    pub fn unit(self) -> &'static str {
        match self {
            Score::Combined => "−2 Σ ln p",
            Score::Likelihood => "nats",
            Score::Complexity => "nats beyond PNG",
            Score::Reconstruction => "grey levels",
            Score::Neighbours => "distance",
        }
    }

    /// The score of that name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`].
    pub fn parse(name: &str) -> Result<Score> {
        let found = Score::ALL.into_iter().find(|score| score.name() == name);
        found.ok_or_else(|| Error::unknown("score", name, Score::ALL.map(Score::name)))
    }

    /// The ability that a model needs for it.
    pub fn needs(self) -> Ability {
        match self {
            Score::Combined | Score::Likelihood | Score::Complexity => Ability::Likelihood,
            Score::Reconstruction => Ability::Encode,
            Score::Neighbours => Ability::Features,
        }
    }

    /// The scores that a model gives of images, without the combination.
    pub fn of(abilities: &Abilities, shape: ImageShape) -> Vec<Score> {
        let has = [
            (Score::Likelihood, likelihood(abilities).is_some()),
            (Score::Complexity, likelihood(abilities).is_some()),
            (Score::Reconstruction, autoencoder(abilities, shape).is_some()),
            (Score::Neighbours, abilities.features.is_some() || abilities.encoder.is_some()),
        ];
        has.into_iter().filter(|(_, has)| *has).map(|(score, _)| score).collect()
    }
}

/// The likelihood of images whose class is not known.
fn likelihood<'a>(abilities: &Abilities<'a>) -> Option<Likelihood<'a>> {
    abilities.likelihood.filter(|likelihood| match likelihood {
        Likelihood::Images(model) => !model.reads_classes(),
        Likelihood::Bound(_) => true,
        Likelihood::Points(_) | Likelihood::Tokens(_) => false,
    })
}

/// An encoder and a decoder between which something is lost: an invertible model reconstructs everything.
pub(crate) fn autoencoder<'a>(
    abilities: &Abilities<'a>,
    shape: ImageShape,
) -> Option<(&'a dyn Encoder, &'a dyn Latents)> {
    let (encoder, latents) = (abilities.encoder?, abilities.latents?);
    (latents.latent_dim() < shape.dims()).then_some((encoder, latents))
}

/// The number of an image, which what is drawn for it depends on: equal images have the same. Below 2⁴⁰.
pub(crate) fn number_of(image: &[u8]) -> u64 {
    let mut first = [0; 8];
    first[..5].copy_from_slice(&blake3::hash(image).as_bytes()[..5]);
    u64::from_le_bytes(first)
}

/// What was measured of some images.
#[derive(Clone, Debug, PartialEq)]
pub struct Measures {
    /// The number of each image, from its content.
    pub numbers: Vec<u64>,
    /// The values of each score, without the combination.
    pub values: Vec<(Score, Vec<f64>)>,
}

impl Measures {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The measures of the images at `indices`.
    ///
    /// # Panics
    ///
    /// When an index is not below the number of images.
    pub fn select(&self, indices: &[usize]) -> Measures {
        let of = |values: &[f64]| indices.iter().map(|&index| values[index]).collect();
        Measures {
            numbers: indices.iter().map(|&index| self.numbers[index]).collect(),
            values: self.values.iter().map(|(score, values)| (*score, of(values))).collect(),
        }
    }
}

/// Training images in the features of a model.
struct Known {
    standard: Standardizer,
    components: Option<Pca>,
    rows: Rows,
}

/// Measures images by the abilities of a model.
pub struct Scorer<'a> {
    abilities: Abilities<'a>,
    shape: ImageShape,
    device: &'a Device,
    seed: u64,
    scores: Vec<Score>,
    known: Option<Known>,
}

impl<'a> Scorer<'a> {
    /// Prepares `scores` for images of `shape`. `training` are training images, 8-bit and concatenated, which neighbours are searched
    /// among; the noise of bounds and binarisation depends on `seed` and the content of an image.
    ///
    /// # Panics
    ///
    /// When the model does not give one of the scores (see [`Score::of`]), or neighbours are searched among no training images.
    pub fn new(
        abilities: Abilities<'a>,
        shape: ImageShape,
        device: &'a Device,
        scores: &[Score],
        training: &[u8],
        seed: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Scorer<'a> {
        let given = Score::of(&abilities, shape);
        assert!(scores.iter().all(|score| given.contains(score)), "{scores:?} of {given:?}");
        let scores = scores.to_vec();
        let mut scorer = Scorer { abilities, shape, device, seed, scores, known: None };
        if scorer.scores.contains(&Score::Neighbours) {
            let mut rows: Option<Rows> = None;
            let total = Some((training.len() / shape.dims()) as u64);
            for group in training.chunks(GROUP * shape.dims()) {
                let count = group.len() / shape.dims();
                let described = scorer.describe(&whole(group, shape.dims()));
                let described = described.select(&(0..count).collect::<Vec<usize>>());
                match &mut rows {
                    Some(rows) => rows.extend(&described),
                    None => rows = Some(described),
                }
                let done = rows.as_ref().map_or(0, |rows| rows.len() as u64);
                progress(Progress { what: "training images", unit: "images", done, total });
            }
            let Some(rows) = rows else { panic!("neighbours among no training images") };
            let standard = Standardizer::of(&rows).gentle(GENTLE);
            let rows = standard.apply(&rows);
            let components = (rows.dims() > COMPONENTS).then(|| Pca::fit(&rows, COMPONENTS));
            let rows = components.as_ref().map_or(rows.clone(), |pca| pca.project(&rows));
            scorer.known = Some(Known { standard, components, rows });
        }
        scorer
    }

    /// The scores that are measured.
    pub fn scores(&self) -> &[Score] {
        &self.scores
    }

    /// Measures images: 8-bit, concatenated. What is not a number counts as infinite.
    ///
    /// # Panics
    ///
    /// When the pixels do not make whole images.
    pub fn measure(&self, pixels: &[u8], what: &'static str, progress: &mut dyn FnMut(Progress)) -> Measures {
        let dims = self.shape.dims();
        assert!(pixels.len().is_multiple_of(dims), "{} bytes for images of {dims}", pixels.len());
        let total = Some((pixels.len() / dims) as u64);
        let mut found = Measures {
            numbers: Vec::new(),
            values: self.scores.iter().map(|&score| (score, Vec::new())).collect(),
        };
        for group in pixels.chunks(GROUP * dims) {
            let (count, group) = (group.len() / dims, whole(group, dims));
            let mut numbers: Vec<u64> = group.chunks(dims).map(number_of).collect();
            let nats = self.nats(&group, &numbers);
            for (score, values) in &mut found.values {
                let new = match score {
                    Score::Likelihood => nats.iter().map(|(nats, _)| *nats).collect(),
                    Score::Complexity => nats.iter().map(|(nats, size)| nats - size).collect(),
                    Score::Reconstruction => self.reconstruction_errors(&group),
                    Score::Neighbours => self.near(&group).iter().map(|near| near.distance).collect(),
                    Score::Combined => unreachable!("no model measures a combination"),
                };
                let infinite = |value: f64| if value.is_nan() { f64::INFINITY } else { value };
                values.extend(new.into_iter().take(count).map(infinite));
            }
            numbers.truncate(count);
            found.numbers.extend(numbers);
            let done = found.numbers.len() as u64;
            progress(Progress { what, unit: "images", done, total });
        }
        found
    }

    /// −log p(x) or its bound, and the size as PNG, both in nats; nothing where the likelihood is not measured.
    fn nats(&self, pixels: &[u8], numbers: &[u64]) -> Vec<(f64, f64)> {
        let wanted = [Score::Likelihood, Score::Complexity].iter().any(|score| self.scores.contains(score));
        let Some(likelihood) = likelihood(&self.abilities).filter(|_| wanted) else { return Vec::new() };
        let encoding = match likelihood {
            Likelihood::Images(model) => model.encoding(),
            Likelihood::Bound(model) => model.encoding(),
            Likelihood::Points(_) | Likelihood::Tokens(_) => return Vec::new(),
        };
        let read = as_read(pixels, numbers, encoding, self.shape, self.seed);
        let x = tensor(&read, self.shape, self.device);
        let x = match encoding {
            PixelEncoding::EightBit => x,
            PixelEncoding::Binary => (x + 1.0) * 0.5,
        };
        let nats: Vec<f64> = match likelihood {
            Likelihood::Images(model) => {
                model.log_prob(x, &vec![0; numbers.len()]).into_iter().map(|log_prob| -log_prob).collect()
            }
            Likelihood::Bound(model) => {
                let classes = vec![None; numbers.len()];
                let weights = model.log_weights(x, &classes, self.seed, numbers, 0..DRAWS);
                weights.log_w.iter().map(|log_w| -log_w.iter().sum::<f64>() / log_w.len() as f64).collect()
            }
            Likelihood::Points(_) | Likelihood::Tokens(_) => Vec::new(),
        };
        let sizes: Vec<f64> =
            read.par_chunks(self.shape.dims()).map(|image| png_nats(image, self.shape)).collect();
        nats.into_iter().zip(sizes).collect()
    }

    /// The root mean square difference of each image from its reconstruction, in grey levels of 255.
    fn reconstruction_errors(&self, pixels: &[u8]) -> Vec<f64> {
        let Some(made) = self.reconstruct(pixels) else { return Vec::new() };
        let dims = self.shape.dims();
        let error = |(image, made): (&[u8], &[f32])| {
            let squares: f64 = image
                .iter()
                .zip(made)
                .map(|(&pixel, &x)| (f64::from(pixel) - (f64::from(x) + 1.0) * 127.5).powi(2))
                .sum();
            (squares / dims as f64).sqrt()
        };
        pixels.chunks(dims).zip(made.chunks(dims)).map(error).collect()
    }

    /// What the decoder makes of the mean latents of images, in [-1, 1]; `None` for a model without both, and for an invertible one.
    pub(super) fn reconstruct(&self, pixels: &[u8]) -> Option<Vec<f32>> {
        let (encoder, latents) = autoencoder(&self.abilities, self.shape)?;
        let mut made = Vec::with_capacity(pixels.len());
        for batch in pixels.chunks(GROUP * self.shape.dims()) {
            let x = flat(batch, self.shape, self.device);
            let classes = vec![None; x.dims()[0]];
            let latent = encoder.encode(x, &classes);
            made.extend(latents.decode(latent, &classes).into_data().iter::<f32>());
        }
        Some(made)
    }

    /// The features of images, else their latents.
    fn describe(&self, pixels: &[u8]) -> Rows {
        let features: Option<&dyn Features> = self.abilities.features;
        match (features, self.abilities.encoder) {
            (Some(features), _) => {
                Rows::of_tensor(features.features(tensor(pixels, self.shape, self.device)))
            }
            (None, Some(encoder)) => {
                let x = flat(pixels, self.shape, self.device);
                let classes = vec![None; x.dims()[0]];
                Rows::of_tensor(encoder.encode(x, &classes))
            }
            (None, None) => panic!("a model without features and without an encoder describes no images"),
        }
    }

    /// The nearest training images; nothing where none were given.
    pub(super) fn near(&self, pixels: &[u8]) -> Vec<Near> {
        let Some(Known { standard, components, rows }) = &self.known else { return Vec::new() };
        let own = standard.apply(&self.describe(pixels));
        let own = components.as_ref().map_or(own.clone(), |pca| pca.project(&own));
        near(&own, rows, NEIGHBOURS)
    }

    /// The shape of the images.
    pub(super) fn shape(&self) -> ImageShape {
        self.shape
    }

    /// The abilities of the model.
    pub(super) fn abilities(&self) -> &Abilities<'a> {
        &self.abilities
    }

    /// Images as the model reads them, 8-bit: binarised ones are 0 and 255.
    pub(super) fn as_read(&self, pixels: &[u8], encoding: PixelEncoding) -> Vec<u8> {
        let numbers: Vec<u64> = pixels.chunks(self.shape.dims()).map(number_of).collect();
        as_read(pixels, &numbers, encoding, self.shape, self.seed)
    }
}

/// A group of images filled up to [`GROUP`] with its last one: the last bits of what a model makes of an image depend on how many there are.
fn whole(group: &[u8], dims: usize) -> Vec<u8> {
    let mut images = group.to_vec();
    while images.len() < GROUP * dims {
        images.extend_from_slice(&group[group.len() - dims..]);
    }
    images
}

/// Images as a model with this encoding reads them, 8-bit. What is drawn to binarise one depends on the seed and its number.
fn as_read(pixels: &[u8], numbers: &[u64], encoding: PixelEncoding, shape: ImageShape, seed: u64) -> Vec<u8> {
    if encoding == PixelEncoding::EightBit {
        return pixels.to_vec();
    }
    let binarised = |(image, &number): (&[u8], &u64)| {
        let thresholds = rng::uniform(&mut rng::generator(seed, "anomaly binarize", number), shape.dims());
        let value = |(&pixel, t): (&u8, f32)| if f32::from(pixel) / 255.0 > t { 255 } else { 0 };
        image.iter().zip(thresholds).map(value).collect::<Vec<u8>>()
    };
    pixels.chunks(shape.dims()).zip(numbers).flat_map(binarised).collect()
}

/// Images in [-1, 1], `[images, height, width, channels]`.
pub(crate) fn tensor(pixels: &[u8], shape: ImageShape, device: &Device) -> Tensor<4> {
    let dims = [pixels.len() / shape.dims(), shape.height, shape.width, shape.channels];
    let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 127.5 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// The same, `[images, values]`.
pub(crate) fn flat(pixels: &[u8], shape: ImageShape, device: &Device) -> Tensor<2> {
    tensor(pixels, shape, device).reshape([pixels.len() / shape.dims(), shape.dims()])
}

/// The size of an image as a PNG in nats.
fn png_nats(image: &[u8], shape: ImageShape) -> f64 {
    let picture = Picture::new(shape.width, shape.height, shape.channels, image.to_vec());
    // Only sides that no model has do not fit into the format.
    picture.to_png(None).map_or(0.0, |bytes| bytes.len() as f64 * 8.0 * LN_2)
}
