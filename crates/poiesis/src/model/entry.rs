//! A model behind a trait object, as the catalogue lists it.

use std::marker::PhantomData;

use burn::tensor::Device;

use super::{About, Learner, Model, Session};
use crate::abilities::Abilities;
use crate::config::{self, Choice, Defaults, RunConfig};
use crate::data::{Amount, DataFacts, DataSpec, Examples, Source, SourceOptions};
use crate::error::{Error, Result};
use crate::nn::{Init, StateDict, parameters_by_part};

/// A model of the catalogue.
pub trait Entry: Sync {
    /// What lists and help show.
    fn about(&self) -> &'static About;

    /// Its name, the word after `train`.
    fn name(&self) -> &'static str {
        self.about().name
    }

    /// The default configuration.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the defaults cannot be written as TOML, which is a bug.
    fn defaults(&self) -> Result<Defaults>;

    /// Settings that suit the data better than the defaults; see [`Model::settings_for`].
    fn settings_for(&self, facts: &DataFacts) -> Vec<Choice>;

    /// Checks what is known of the data before a new run begins; see [`Model::expect_learnable`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the model cannot learn such data.
    fn expect_learnable(&self, facts: &DataFacts) -> Result<()>;

    /// Returns an error with all invalid settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a value of the wrong type or out of range.
    fn check(&self, config: &RunConfig) -> Result<()>;

    /// The number of parameters of each part of the model, for data of `spec`: counted without making any, and `usize::MAX` for more
    /// than can be counted.
    ///
    /// # Errors
    ///
    /// Those of [`Model::new`].
    fn parameters(&self, config: &RunConfig, spec: &DataSpec) -> Result<Vec<(String, usize)>>;

    /// At least so many values are held for each example while a training step computes its gradients; see [`Model::held_values`].
    ///
    /// # Errors
    ///
    /// Those of [`Model::new`].
    fn held_values(&self, config: &RunConfig, spec: &DataSpec) -> Result<f64>;

    /// At least so many values are held by the source of the data itself, beside the batch; see [`Source::held_values`].
    ///
    /// # Errors
    ///
    /// Those of [`Model::needs`].
    fn held_by_source(&self, config: &RunConfig, spec: &DataSpec) -> Result<f64>;

    /// How much of its data a training step reads; see [`Source::amount`].
    ///
    /// # Errors
    ///
    /// Those of [`Entry::start`].
    fn amount(&self, start: Start<'_>) -> Result<Amount>;

    /// Makes a model to train.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the configuration does not fit the data.
    fn start(&self, start: Start<'_>) -> Result<Box<dyn Session>>;

    /// Makes a model with weights drawn from `seed` and not trained, to compare a trained one with.
    ///
    /// # Errors
    ///
    /// Those of [`Model::new`].
    fn untrained(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        seed: u64,
        device: &Device,
    ) -> Result<Box<dyn TrainedModel>>;

    /// Makes a model without memory for its weights, to ask what it can do.
    ///
    /// # Errors
    ///
    /// Those of [`Model::new`].
    fn blank(&self, config: &RunConfig, spec: &DataSpec) -> Result<Box<dyn TrainedModel>>;

    /// Makes a trained model from weights. On a device with autodiff the weights are constants: gradients are those by what goes into
    /// the model, such as latents.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsMismatch`] when the weights are not those of the model that the configuration describes.
    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &StateDict,
        device: &Device,
    ) -> Result<Box<dyn TrainedModel>>;
}

/// A trained model behind a trait object.
pub trait TrainedModel: Send + Sync {
    /// What it can do.
    fn abilities(&self) -> Abilities<'_>;
}

impl<M: Model> TrainedModel for M {
    fn abilities(&self) -> Abilities<'_> {
        Model::abilities(self)
    }
}

/// What a session is made from.
pub struct Start<'a> {
    /// The resolved configuration.
    pub config: &'a RunConfig,
    /// What the examples are.
    pub spec: &'a DataSpec,
    /// The training examples.
    pub examples: Examples,
    /// The device it is trained on, with autodiff.
    pub device: Device,
}

/// The entry of a model.
pub struct Of<M>(PhantomData<fn() -> M>);

impl<M> Of<M> {
    /// The entry.
    pub const NEW: Of<M> = Of(PhantomData);
}

impl<M: Model> Of<M> {
    const ABOUT: &'static About = &M::ABOUT;

    fn config(config: &RunConfig) -> Result<M::Config> {
        let model: M::Config = config.model()?;
        config.check(&model)?;
        Ok(model)
    }

    /// The data as the model reads them.
    fn open(start: &Start<'_>) -> Result<M::Data> {
        let Start { config, spec, examples, device } = start;
        let options =
            SourceOptions { examples, spec, batch_size: config.train.batch_size, seed: config.seed, device };
        M::Data::open(&M::needs(&Self::config(config)?, spec)?, &options)
    }
}

impl<M: Model> Entry for Of<M> {
    fn about(&self) -> &'static About {
        Self::ABOUT
    }

    fn defaults(&self) -> Result<Defaults> {
        let about = Self::ABOUT;
        Ok(Defaults {
            model: about.name,
            train: (about.train)(),
            optimizer: (about.optimizer)(),
            section: config::to_table(&M::Config::default())?,
            old_keys: about.old_keys,
        })
    }

    fn settings_for(&self, facts: &DataFacts) -> Vec<Choice> {
        M::settings_for(facts)
    }

    fn expect_learnable(&self, facts: &DataFacts) -> Result<()> {
        M::expect_learnable(facts)
    }

    fn check(&self, config: &RunConfig) -> Result<()> {
        Self::config(config).map(drop)
    }

    fn parameters(&self, config: &RunConfig, spec: &DataSpec) -> Result<Vec<(String, usize)>> {
        let mut init = Init::counting();
        let mut parts = parameters_by_part(&M::new(&Self::config(config)?, spec, &mut init)?);
        if init.is_uncountable() {
            parts.iter_mut().for_each(|(_, count)| *count = usize::MAX);
        }
        Ok(parts)
    }

    fn held_values(&self, config: &RunConfig, spec: &DataSpec) -> Result<f64> {
        M::held_values(&Self::config(config)?, spec)
    }

    fn held_by_source(&self, config: &RunConfig, spec: &DataSpec) -> Result<f64> {
        let needs = M::needs(&Self::config(config)?, spec)?;
        Ok(M::Data::held_values(&needs, spec, &config.data))
    }

    fn start(&self, start: Start<'_>) -> Result<Box<dyn Session>> {
        let data = Self::open(&start)?;
        let Start { config, spec, device, .. } = start;
        let model = Self::config(config)?;
        Ok(Box::new(Learner::<M>::new(&model, &config.optimizer, spec, data, config.seed, &device)?))
    }

    fn amount(&self, start: Start<'_>) -> Result<Amount> {
        Ok(Self::open(&start)?.amount())
    }

    fn untrained(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        seed: u64,
        device: &Device,
    ) -> Result<Box<dyn TrainedModel>> {
        Ok(Box::new(M::new(&Self::config(config)?, spec, &mut Init::new(seed, device))?))
    }

    fn blank(&self, config: &RunConfig, spec: &DataSpec) -> Result<Box<dyn TrainedModel>> {
        Ok(Box::new(M::new(&Self::config(config)?, spec, &mut Init::counting())?))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &StateDict,
        device: &Device,
    ) -> Result<Box<dyn TrainedModel>> {
        let config = Self::config(config)?;
        let mismatch = |reason| Error::WeightsMismatch { model: M::ABOUT.name.into(), reason };
        // Before anything of a size that the weights do not have is made.
        let mut counting = Init::counting();
        let shapes = M::new(&config, spec, &mut counting)?;
        if counting.is_uncountable() {
            return Err(mismatch("it has more values than can be counted".into()));
        }
        weights.expect_of(&shapes).map_err(mismatch)?;
        let model = M::new(&config, spec, &mut Init::blank(device))?;
        let model = weights.load_into(model).map_err(mismatch)?;
        Ok(Box::new(if device.is_autodiff() { model.no_grad() } else { model }))
    }
}
