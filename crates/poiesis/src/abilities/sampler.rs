//! Drawing in a way of the model's own.

use std::ops::{ControlFlow, Range};

use burn::tensor::{Device, Tensor, TensorData};

use super::{Accepts, SamplingParams};
use crate::rng;

/// Draws examples in a way of its own, such as by diffusion.
pub trait Sampler: Sync {
    /// What it accepts of a request.
    fn accepts(&self) -> Accepts;

    /// Draws the examples that `draws` asks for, `[draws.count(), values]`: images row by row in [-1, 1], points as their coordinates.
    /// Example *i* depends on `(seed, i)`, its class and the parameters alone.
    ///
    /// A sampler of several steps calls `on_step` after each, and breaks when that does: a request can then be followed, and cancelled
    /// before it is done.
    fn sample(&self, draws: &Draws<'_>, on_step: &mut OnStep<'_>) -> ControlFlow<(), Tensor<2>>;
}

/// Takes how many of how many steps are done; it may ask to stop.
pub type OnStep<'s> = dyn FnMut(usize, usize) -> ControlFlow<()> + 's;

/// The examples that a [`Sampler`] is asked for.
#[derive(Clone, Debug)]
pub struct Draws<'a> {
    /// Seed of the sequence of examples.
    pub seed: u64,
    /// Their numbers in that sequence.
    pub indices: Range<u64>,
    /// The class of each, for a model that is conditioned on classes.
    pub classes: &'a [Option<u32>],
    /// How they are drawn; what the sampler does not accept is not given.
    pub params: SamplingParams,
    /// Where the model is.
    pub device: &'a Device,
}

impl Draws<'_> {
    /// How many examples.
    pub fn count(&self) -> usize {
        (self.indices.end - self.indices.start) as usize
    }

    /// Noise from N(0, 1), `[count, dims]`, one stream of values for each purpose: row *i* depends on the seed, the purpose and the
    /// number of its example alone.
    ///
    /// # Panics
    ///
    /// When `purpose` is longer than 24 bytes.
    pub fn normal(&self, purpose: &str, dims: usize) -> Tensor<2> {
        let row = |index| rng::normal(&mut rng::generator(self.seed, purpose, index), dims);
        let values: Vec<f32> = self.indices.clone().flat_map(row).collect();
        Tensor::from_data(TensorData::new(values, [self.count(), dims]), self.device)
    }
}
