//! What the verbs of agents share: policies, environments, and who plays.

use anyhow::Result;
use clap::ValueEnum;
use poiesis::Trained;
use poiesis::data::EnvironmentSource;
use poiesis::evaluate::Returns;
use poiesis::generate::Playing;

use crate::render::{count, number};

/// How an agent chooses its actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// At random, uniform within the limits
    Random,
    /// The most probable action
    Mode,
    /// Drawn from the policy, as in training
    Sample,
}

impl From<Policy> for Playing {
    fn from(policy: Policy) -> Playing {
        match policy {
            Policy::Random => Playing::Random,
            Policy::Mode => Playing::Mode,
            Policy::Sample => Playing::Sample,
        }
    }
}

/// The environment that was asked for, or else that of the run.
pub(crate) fn environment_of(trained: &Trained, asked: Option<&str>) -> Result<EnvironmentSource> {
    trained.agent()?;
    let own = &trained.spec.task()?.environment;
    Ok(EnvironmentSource::parse(asked.unwrap_or(own))?)
}

/// Returns in one line: `mean 123.4 ± 5.600, median 120.0, 110.0 to 140.0; 200.0 steps`, or of one episode `123.4 in 200 steps`.
pub(crate) fn in_words(returns: &Returns) -> String {
    let Returns { mean, deviation, standard_error, median, min, max, length, .. } = returns;
    if standard_error.is_none() {
        // Its mean length is a count.
        let steps = if *length == 1.0 { "step" } else { "steps" };
        return format!("{} in {} {steps}", number(*mean), count(*length as u64));
    }
    format!(
        "mean {} ± {}, median {}, {} to {}; {} steps",
        number(*mean),
        number(*deviation),
        number(*median),
        number(*min),
        number(*max),
        number(*length)
    )
}

/// A number of steps, or 0 for the limit of the environment.
pub(crate) fn limit(max_steps: Option<usize>) -> usize {
    max_steps.unwrap_or(0)
}

/// Reads a whole number of at least 1 and at most ten million, as `positive` does.
pub(crate) fn episodes(text: &str) -> Result<u64, String> {
    super::pictures::positive(text).map(|count| count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_one_episode_is_a_count() {
        let said = |played: &[(f64, usize, bool)]| in_words(&Returns::of(played));
        assert_eq!(said(&[(500.0, 1500, false)]), "500.0 in 1,500 steps");
        assert_eq!(said(&[(1.0, 1, true)]), "1.000 in 1 step");
        assert!(said(&[(1.0, 1, true), (3.0, 2, true)]).ends_with("; 1.500 steps"));
    }
}
