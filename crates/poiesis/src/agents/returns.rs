//! What rewards add up to: discounted returns, and how much better than expected each action was.
//!
//! After a step that terminated nothing is earned. What is earned after a step that was truncated, or after the last one of a
//! rollout, is what the baseline expects of the observation that it led to.

use super::Rollout;

/// Generalized advantage estimation (Schulman, Moritz, Levine, Jordan and Abbeel 2016, arXiv:1506.02438, Eq. 16).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimator {
    /// γ, the weight of a reward one step later, in [0, 1].
    pub discount: f64,
    /// λ, in [0, 1]: 0 trusts the baseline after one step, 1 sums all rewards.
    pub lambda: f64,
}

/// What the rows of a rollout are learned with.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimates {
    /// How much better than expected each action was, `[rows]`.
    pub advantages: Vec<f64>,
    /// What each observation was worth by that, which the baseline should have said: advantages plus values, `[rows]`.
    pub returns: Vec<f64>,
}

impl Estimator {
    /// The estimates for a rollout with these `rewards`.
    ///
    /// `values` are those of the observations. `last_values` are those of what the last row of each part of an episode led to, see
    /// [`Rollout::is_last`]; they are not read for other rows and for rows that terminated.
    ///
    /// # Panics
    ///
    /// When there is not one of each for each row.
    pub fn estimate(
        self,
        rollout: &Rollout,
        rewards: &[f64],
        values: &[f64],
        last_values: &[f64],
    ) -> Estimates {
        let rows = rollout.rows();
        let lengths = [rewards.len(), values.len(), last_values.len()];
        assert_eq!(lengths, [rows; 3], "rewards, values and last values of {rows} rows");
        let mut advantages = vec![0.0; rows];
        let mut after = 0.0;
        for row in (0..rows).rev() {
            let last = rollout.is_last(row);
            let next = match (rollout.terminated[row], last) {
                (true, _) => 0.0,
                (false, true) => last_values[row],
                (false, false) => values[row + 1],
            };
            let delta = rewards[row] + self.discount * next - values[row];
            after = delta + if last { 0.0 } else { self.discount * self.lambda * after };
            advantages[row] = after;
        }
        let returns = advantages.iter().zip(values).map(|(advantage, value)| advantage + value).collect();
        Estimates { advantages, returns }
    }
}

/// The discounted sum of the rewards from each row on. Sums that are cut off end with `last_values`, as in
/// [`Estimator::estimate`].
///
/// # Panics
///
/// When there is not one reward and one last value for each row.
pub fn discounted(rollout: &Rollout, rewards: &[f64], last_values: &[f64], discount: f64) -> Vec<f64> {
    let rows = rollout.rows();
    assert_eq!([rewards.len(), last_values.len()], [rows; 2], "rewards and last values of {rows} rows");
    let mut returns = vec![0.0; rows];
    let mut after = 0.0;
    for row in (0..rows).rev() {
        if rollout.terminated[row] {
            after = 0.0;
        } else if rollout.is_last(row) {
            after = last_values[row];
        }
        after = rewards[row] + discount * after;
        returns[row] = after;
    }
    returns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::testing::rollout;

    /// One environment of six steps: an episode that terminates at row 1, one that is truncated at row 3, and one that goes on.
    fn example() -> (Rollout, [f64; 6], [f64; 6], [f64; 6]) {
        let rollout = rollout(1, 6, &[1], &[3]);
        let rewards = [1.0, 2.0, -1.0, 0.5, 3.0, 1.0];
        let values = [0.3, 0.1, 0.7, -0.2, 0.4, 0.9];
        let last_values = [9.0, 8.0, 7.0, 5.0, 4.0, 2.0];
        (rollout, rewards, values, last_values)
    }

    /// Eq. 16 as its sum of residuals, episode by episode.
    fn by_sums(estimator: Estimator, value_after: &dyn Fn(usize) -> f64) -> Vec<f64> {
        let (rollout, rewards, values, _) = example();
        let mut all = Vec::new();
        for part in rollout.episodes() {
            for row in part.clone() {
                let terms = (row..part.end).map(|at| {
                    let delta = rewards[at] + estimator.discount * value_after(at) - values[at];
                    (estimator.discount * estimator.lambda).powi((at - row) as i32) * delta
                });
                all.push(terms.sum());
            }
        }
        all
    }

    #[test]
    fn advantages_are_the_sums_of_the_paper() {
        let (rollout, rewards, values, last_values) = example();
        let value_after = |row: usize| match row {
            1 => 0.0,
            3 | 5 => last_values[row],
            row => values[row + 1],
        };
        for (discount, lambda) in [(0.9, 0.8), (1.0, 1.0), (0.99, 0.0)] {
            let estimator = Estimator { discount, lambda };
            let ours = estimator.estimate(&rollout, &rewards, &values, &last_values);
            let theirs = by_sums(estimator, &value_after);
            assert!(ours.advantages.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-12));
            let sums = ours.advantages.iter().zip(&values).map(|(advantage, value)| advantage + value);
            assert!(ours.returns.iter().zip(sums).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn returns_are_sums_of_discounted_rewards() {
        let (rollout, rewards, _, last_values) = example();
        let ours = discounted(&rollout, &rewards, &last_values, 0.5);
        assert_eq!(ours[..2], [1.0 + 0.5 * 2.0, 2.0], "nothing follows an end");
        assert_eq!(ours[2..4], [-1.0 + 0.5 * (0.5 + 0.5 * 5.0), 0.5 + 0.5 * 5.0], "a time limit is no end");
        assert_eq!(ours[4..], [3.0 + 0.5 * (1.0 + 0.5 * 2.0), 1.0 + 0.5 * 2.0], "nor is that of a rollout");
    }

    #[test]
    fn a_time_limit_bootstraps() {
        let (rollout, rewards, values, mut last_values) = example();
        let estimator = Estimator { discount: 0.9, lambda: 0.5 };
        let before = estimator.estimate(&rollout, &rewards, &values, &last_values).advantages;
        last_values[3] += 1.0;
        let after = estimator.estimate(&rollout, &rewards, &values, &last_values).advantages;
        let moved: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        assert!((moved[3] - 0.9).abs() < 1e-12 && (moved[2] - 0.9 * 0.45).abs() < 1e-12, "{moved:?}");
        assert!([0, 1, 4, 5].iter().all(|&row| moved[row] == 0.0), "{moved:?}");
    }

    #[test]
    fn an_end_does_not_bootstrap() {
        let (rollout, rewards, values, mut last_values) = example();
        let estimator = Estimator { discount: 0.9, lambda: 0.5 };
        let before = estimator.estimate(&rollout, &rewards, &values, &last_values);
        last_values[1] += 1e6;
        assert_eq!(estimator.estimate(&rollout, &rewards, &values, &last_values), before);
        assert_eq!(before.returns[1], rewards[1]);
    }
}
