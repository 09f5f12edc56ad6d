//! The ordered list of models, and what each must say of itself to be trained, loaded and listed.

use burn::tensor::Device;

use crate::capability::{Capability, Model};
use crate::config::{RunConfig, TrainConfig};
use crate::data::{Batches, DataSpec, Examples, Windows};
use crate::error::{Error, Result};
use crate::models::{
    autoregressive::{
        char_rnn::CharRnnEntry, gated_pixelcnn::GatedPixelCnnEntry, pixelcnn::PixelCnnEntry,
        pixelcnn_pp::PixelCnnPpEntry, pixelrnn::PixelRnnEntry, transformer::TransformerEntry,
        wavenet::WaveNetEntry,
    },
    gan::dcgan::DcganEntry,
    vae::vae::VaeEntry,
};
use crate::nn::Weights;
use crate::train::Session;

/// All models, in the order of the documentation.
pub const CATALOGUE: &[&dyn Entry] = &[
    &DcganEntry,
    &VaeEntry,
    &PixelCnnEntry,
    &PixelRnnEntry,
    &GatedPixelCnnEntry,
    &PixelCnnPpEntry,
    &CharRnnEntry,
    &TransformerEntry,
    &WaveNetEntry,
];

/// A model as the catalogue knows it.
pub trait Entry: Sync {
    /// The word after `train`.
    fn name(&self) -> &'static str;

    /// What it is, in half a line.
    fn summary(&self) -> &'static str;

    /// Where it was published.
    fn paper(&self) -> Paper;

    /// The kinds of data it fits.
    fn domains(&self) -> &'static [Domain];

    /// What a trained one can do.
    fn capabilities(&self) -> &'static [Capability];

    /// Its recipes; the first is used when none is named.
    fn recipes(&self) -> &'static [Recipe];

    /// The `[train]` section when nothing else is said.
    fn train_defaults(&self) -> TrainConfig;

    /// The section named after the model when nothing else is said, with every key.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the defaults cannot be written as TOML, which is a bug.
    fn model_defaults(&self) -> Result<toml::Table>;

    /// Makes a model in training.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the config does not fit the data.
    fn start(&self, start: Start) -> Result<Box<dyn Session>>;

    /// Makes a trained model from its weights.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsMismatch`] when the weights are not those of the model the config describes.
    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>>;

    /// Says how large the model is.
    ///
    /// # Errors
    ///
    /// As [`start`](Entry::start).
    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint>;
}

/// What a model in training is made from.
pub struct Start<'a> {
    /// The resolved configuration.
    pub config: &'a RunConfig,
    /// What the examples are.
    pub spec: &'a DataSpec,
    /// The examples it learns from.
    pub examples: Examples,
    /// Where it lives, with autodiff.
    pub device: Device,
}

impl Start<'_> {
    /// The examples as batches of images.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when they are not images, or there are none.
    pub fn batches(&self) -> Result<Batches> {
        let (config, view) = (self.config, self.examples.images()?.clone());
        Batches::new(view, self.spec.images()?, config.train.batch_size, config.seed, &self.device)
    }

    /// The examples as batches of windows of `context` tokens and the next one; the numbers of an image and the samples of
    /// sound are read as [`DataSpec::tokens`] says for `levels`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when there are fewer tokens than a window has.
    pub fn windows(&self, levels: usize, context: usize) -> Result<Windows> {
        let (config, tokens) = (self.config, self.examples.tokens(self.spec, levels));
        Windows::new(tokens, config.train.batch_size, context, config.seed, &self.device)
    }
}

/// A kind of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Images of one size.
    Images,
    /// Text, as bytes, characters or learned pieces.
    Text,
    /// Sound.
    Sound,
}

impl Domain {
    /// The domain in one word, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Domain::Images => "images",
            Domain::Text => "text",
            Domain::Sound => "sound",
        }
    }
}

/// A publication.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// Its title.
    pub title: &'static str,
    /// Family names of its authors.
    pub authors: &'static str,
    /// Year of its first version.
    pub year: u16,
    /// Its number at arXiv.
    pub arxiv: &'static str,
}

/// A configuration known to reach a result.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Its name within its model, such as `emoji64`.
    pub name: &'static str,
    /// TOML with comments.
    pub toml: &'static str,
}

impl Recipe {
    /// The first line of its comment: what it does and how long it takes.
    pub fn summary(&self) -> &'static str {
        self.toml.lines().next().unwrap_or_default().trim_start_matches('#').trim()
    }
}

/// Embeds the recipes of a model, TOML files in the folder `recipes` beside the file that names them: `recipes!("shapes", "mnist")`.
macro_rules! recipes {
    ($($name:literal),+) => {
        &[$($crate::catalogue::Recipe { name: $name, toml: include_str!(concat!("recipes/", $name, ".toml")) }),+]
    };
}
pub(crate) use recipes;

/// How large a model is.
#[derive(Clone, Debug)]
pub struct Footprint {
    /// Parameters of each network.
    pub parameters: Vec<(&'static str, usize)>,
    /// About how many numbers a training step holds for each example, their gradients included.
    pub activations: usize,
}

impl Footprint {
    /// About how many bytes training takes with batches of `batch_size`: each parameter with its gradient, two
    /// moments and an average, the activations, and as much again as the largest of them in passing.
    pub fn bytes(&self, batch_size: usize) -> u64 {
        let parameters: usize = self.parameters.iter().map(|(_, count)| count).sum();
        let floats = 6 * parameters + self.activations * batch_size;
        4 * floats as u64 + (64 << 20)
    }
}

/// Finds a model by name.
///
/// # Errors
///
/// [`Error::UnknownName`] with the nearest valid name.
pub fn find(name: &str) -> Result<&'static dyn Entry> {
    let known = || CATALOGUE.iter().map(|entry| entry.name());
    CATALOGUE
        .iter()
        .find(|entry| entry.name() == name)
        .copied()
        .ok_or_else(|| Error::unknown("model", name, known()))
}

/// Finds a recipe of `entry` by name.
///
/// # Errors
///
/// [`Error::UnknownName`] with the nearest valid name.
pub fn find_recipe(entry: &dyn Entry, name: &str) -> Result<&'static Recipe> {
    let short = name.strip_prefix(entry.name()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
    let known = || entry.recipes().iter().map(|recipe| recipe.name);
    entry
        .recipes()
        .iter()
        .find(|recipe| recipe.name == short)
        .ok_or_else(|| Error::unknown("recipe", name, known()))
}
