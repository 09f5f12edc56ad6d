//! A model's own way of sampling.

use std::ops::{ControlFlow, Range};

use burn::tensor::{Device, Tensor, TensorData};

use super::{Accepts, Latents, SamplingParams};
use crate::rng;

/// Samples in the model's own way, such as by diffusion.
pub trait Sampler: Sync {
    /// What it accepts of a request.
    fn accepts(&self) -> Accepts;

    /// Samples the requested examples, `[draws.count(), values]`: images row by row in [-1, 1], points as their coordinates.
    /// Example *i* depends only on `(seed, i)`, its class and the parameters.
    ///
    /// An iterative sampler calls `on_step` after each step, and stops when that returns `Break`, so that a request can be followed
    /// and cancelled.
    fn sample(&self, draws: &Draws<'_>, on_step: &mut OnStep<'_>) -> ControlFlow<(), Tensor<2>>;
}

/// Receives the steps done and the steps in all; it can stop the sampler.
pub type OnStep<'s> = dyn FnMut(usize, usize) -> ControlFlow<()> + 's;

/// The examples requested of a [`Sampler`].
#[derive(Clone, Debug)]
pub struct Draws<'a> {
    /// Seed of the sequence of examples.
    pub seed: u64,
    /// Their numbers in that sequence.
    pub indices: Range<u64>,
    /// The class of each, for a model that is conditioned on classes.
    pub classes: &'a [Option<u32>],
    /// Sampling parameters, only those that the sampler accepts.
    pub params: SamplingParams,
    /// The model's device.
    pub device: &'a Device,
}

impl Draws<'_> {
    /// How many examples.
    pub fn count(&self) -> usize {
        (self.indices.end - self.indices.start) as usize
    }

    /// The latents of the examples from their prior, times the temperature if there is one: `[count, latent_dim]`.
    pub fn latents(&self, model: &dyn Latents) -> Tensor<2> {
        let drawn = model.draw(self.seed, self.indices.clone(), self.device);
        match self.params.temperature {
            Some(temperature) => drawn * temperature,
            None => drawn,
        }
    }

    /// Noise from N(0, 1), `[count, dims]`. Each row depends only on the seed, the purpose and the number of its example.
    ///
    /// # Panics
    ///
    /// When `purpose` is longer than 24 bytes.
    pub fn normal(&self, purpose: &str, dims: usize) -> Tensor<2> {
        self.rows(purpose, dims, rng::normal)
    }

    /// Noise that is uniform on [0, 1), likewise.
    ///
    /// # Panics
    ///
    /// When `purpose` is longer than 24 bytes.
    pub fn uniform(&self, purpose: &str, dims: usize) -> Tensor<2> {
        self.rows(purpose, dims, rng::uniform)
    }

    fn rows(
        &self,
        purpose: &str,
        dims: usize,
        draw: fn(&mut rng::Generator, usize) -> Vec<f32>,
    ) -> Tensor<2> {
        let row = |index| draw(&mut rng::generator(self.seed, purpose, index), dims);
        let values: Vec<f32> = self.indices.clone().flat_map(row).collect();
        Tensor::from_data(TensorData::new(values, [self.count(), dims]), self.device)
    }
}
