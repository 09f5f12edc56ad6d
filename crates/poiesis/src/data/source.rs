//! Where a model gets its training examples from.

use burn::tensor::Device;

use super::{DataSpec, Examples};
use crate::error::Result;
use crate::nn::StateDict;

/// The training examples in the form in which a model reads them, in the order of training.
///
/// What a step reads depends on the seed and the step alone, so most sources have no state. One that has, such as streams that carry
/// the state of a recurrent network, saves it with the run.
pub trait Source: Sized + Send {
    /// What a model says it needs.
    type Needs;

    /// Prepares the examples.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidValue`] when the examples are of another kind, or too few.
    fn open(needs: &Self::Needs, options: &SourceOptions<'_>) -> Result<Self>;

    /// How much a step reads.
    fn amount(&self) -> Amount;

    /// The state that must be saved to resume exactly.
    fn state(&self) -> StateDict {
        StateDict::default()
    }

    /// Restores what [`state`](Source::state) returned, from all saved arrays.
    ///
    /// # Errors
    ///
    /// A sentence naming the array that does not fit.
    fn restore(&mut self, saved: &StateDict) -> Result<(), String> {
        let _ = saved;
        Ok(())
    }
}

/// How much a step reads: so many of what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Of what: `images`, `tokens`, `samples` of sound, `values` of images, `points`.
    pub unit: &'static str,
}

/// What a source is made from.
#[derive(Clone, Copy)]
pub struct SourceOptions<'a> {
    /// The examples.
    pub examples: &'a Examples,
    /// What they are.
    pub spec: &'a DataSpec,
    /// Examples in a batch.
    pub batch_size: usize,
    /// Seed of their order.
    pub seed: u64,
    /// Where the tensors go.
    pub device: &'a Device,
}
