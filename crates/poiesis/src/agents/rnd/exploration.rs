//! The environments of a curious agent, with what its bonus is scaled by.

use crate::config::DataConfig;
use crate::data::{Amount, DataSpec, EnvironmentNeeds, Environments, Moments, Source, SourceOptions};
use crate::error::{Error, Result};
use crate::nn::{StateDict, StateTensor};

/// Names under which the state is saved.
const OBSERVATIONS: &str = "novelty.observations";
const RETURNS: &str = "novelty.returns";
const RUNNING: &str = "novelty.running";

/// Environments, the moments of what they showed, and the scale of the bonus.
pub struct Exploration {
    /// Where the agent acts.
    pub environments: Environments,
    /// Of all observations so far.
    pub observations: Moments,
    /// The scale of the errors.
    pub returns: ErrorReturns,
}

impl Source for Exploration {
    type Needs = EnvironmentNeeds;

    fn held_values(needs: &EnvironmentNeeds, spec: &DataSpec, config: &DataConfig) -> f64 {
        Environments::held_values(needs, spec, config)
    }

    fn open(needs: &EnvironmentNeeds, options: &SourceOptions<'_>) -> Result<Exploration> {
        let environments = Environments::open(needs, options)?;
        let observations = Moments::new(environments.task().observation);
        let returns = ErrorReturns::new(environments.len());
        Ok(Exploration { environments, observations, returns })
    }

    fn amount(&self) -> Amount {
        self.environments.amount()
    }

    fn can_fail(&self) -> bool {
        true
    }

    fn failure(&mut self) -> Option<Error> {
        self.environments.failure()
    }

    fn state(&self) -> StateDict {
        let mut state = self.environments.state();
        let mut insert = |name: &str, numbers: Vec<f64>| {
            let words: Vec<u64> = numbers.into_iter().map(f64::to_bits).collect();
            state.insert(name.into(), StateTensor::of_words(&words, self.environments.device()));
        };
        insert(OBSERVATIONS, numbers_of(&self.observations));
        insert(RETURNS, numbers_of(&self.returns.moments));
        insert(RUNNING, self.returns.running.clone());
        state
    }

    fn restore(&mut self, saved: &StateDict) -> Result<(), String> {
        self.environments.restore(saved)?;
        let numbers = |name: &str, len: usize| {
            let array = saved.get(name).ok_or_else(|| format!("`{name}` is missing"))?;
            let numbers: Vec<f64> = array.to_words().into_iter().map(f64::from_bits).collect();
            let found = numbers.len();
            if found == len {
                Ok(numbers)
            } else {
                Err(format!("`{name}` has {found} numbers instead of {len}"))
            }
        };
        let width = self.observations.mean.len();
        self.observations = moments_of(&numbers(OBSERVATIONS, 1 + 2 * width)?);
        self.returns.moments = moments_of(&numbers(RETURNS, 3)?);
        self.returns.running = numbers(RUNNING, self.environments.len())?;
        Ok(())
    }
}

/// The count, the means and the variances.
fn numbers_of(moments: &Moments) -> Vec<f64> {
    [&[moments.count], &moments.mean[..], &moments.var[..]].concat()
}

/// Takes back what [`numbers_of`] made.
fn moments_of(numbers: &[f64]) -> Moments {
    let (mean, var) = numbers[1..].split_at(numbers.len() / 2);
    Moments { count: numbers[0], mean: mean.to_vec(), var: var.to_vec() }
}

/// The discounted sum of the errors of each environment, which no end of an episode resets, and its variance over all steps (§2.4).
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorReturns {
    /// The sum of each environment after its last step.
    running: Vec<f64>,
    /// Of the sums after each step.
    moments: Moments,
}

impl ErrorReturns {
    /// Sums of zero for so many environments.
    pub fn new(environments: usize) -> ErrorReturns {
        ErrorReturns { running: vec![0.0; environments], moments: Moments::new(1) }
    }

    /// Adds the errors of a rollout, environment-major, and returns them divided by the standard deviation of all sums; zeros while
    /// that is zero.
    pub fn normalize(&mut self, errors: &[f64], discount: f64) -> Vec<f64> {
        let steps = errors.len() / self.running.len();
        let mut sums = Vec::with_capacity(errors.len());
        for (sum, errors) in self.running.iter_mut().zip(errors.chunks_exact(steps.max(1))) {
            for error in errors {
                *sum = *sum * discount + error;
                sums.push(*sum);
            }
        }
        self.moments.update(&sums);
        let sd = self.moments.var[0].sqrt();
        errors.iter().map(|error| if sd > 0.0 { error / sd } else { 0.0 }).collect()
    }
}
