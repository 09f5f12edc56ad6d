//! Where a model gets its training examples from.

use burn::tensor::Device;

use super::{DataSpec, Examples};
use crate::config::DataConfig;
use crate::error::{Error, Result};
use crate::nn::StateDict;

/// The training examples in the form in which a model reads them, in the order of training.
///
/// What a step reads depends on the seed and the step alone, so most sources have no state. One that has, such as streams that carry
/// the state of a recurrent network, saves it with the run.
pub trait Source: Sized + Send {
    /// What a model says it needs.
    type Needs;

    /// At least so many values are held by the source itself during a step, beside the batch, such as the experience of an agent. What
    /// fits into no memory is refused by this number before anything is made.
    fn held_values(needs: &Self::Needs, spec: &DataSpec, config: &DataConfig) -> f64 {
        let _ = (needs, spec, config);
        0.0
    }

    /// Prepares the examples.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidValue`] when the examples are of another kind, or too few.
    fn open(needs: &Self::Needs, options: &SourceOptions<'_>) -> Result<Self>;

    /// What went wrong since this was asked last, for a source that can fail while it is read. A step of training cannot fail, so such a
    /// source gives harmless numbers after a failure, and the run ends with this error; nothing of that step is saved.
    fn failure(&mut self) -> Option<Error> {
        None
    }

    /// Whether [`failure`](Source::failure) ever gives anything. The state before a step of such a source is kept during it, so that what
    /// was learned until then can be saved.
    fn can_fail(&self) -> bool {
        false
    }

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
    /// Of what: `images`, `tokens`, `samples` of sound, `values` of images, `points`, `steps` of
    /// environments.
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
