//! The two baselines of the paper: costs that are linear in features, instead of a discriminator (Abbeel and Ng 2004; Syed, Bowling
//! and Schapire 2008; both with policy optimisation in Ho, Gupta and Ermon 2016, arXiv:1605.08478).
//!
//! The features of a pair are x, its standardised observation and action, and all products x xᵀ. The best cost against a policy has a
//! closed form, so nothing is trained but the policy.

/// Features, or weights of features, of vectors x with `dims` values.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Of x, `[dims]`.
    first: Vec<f64>,
    /// Of x xᵀ, `[dims, dims]`, symmetric.
    second: Vec<f64>,
}

impl Features {
    /// The mean features of `rows`, `[n, dims]`.
    ///
    /// # Panics
    ///
    /// When there are no rows, or part of one.
    pub fn mean(rows: &[f32], dims: usize) -> Features {
        let count = rows.len() / dims.max(1);
        assert!(count > 0 && count * dims == rows.len(), "{} values are no rows of {dims}", rows.len());
        let mut mean = Features { first: vec![0.0; dims], second: vec![0.0; dims * dims] };
        for x in rows.chunks_exact(dims) {
            for (i, &a) in x.iter().enumerate() {
                mean.first[i] += f64::from(a);
                let products = &mut mean.second[i * dims..(i + 1) * dims];
                products.iter_mut().zip(x).for_each(|(sum, &b)| *sum += f64::from(a) * f64::from(b));
            }
        }
        mean.map(|sum| sum / count as f64)
    }

    /// How far these are from `other`.
    pub fn minus(&self, other: &Features) -> Features {
        let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        Features { first: minus(&self.first, &other.first), second: minus(&self.second, &other.second) }
    }

    /// Their length.
    pub fn norm(&self) -> f64 {
        self.all().map(|value| value * value).sum::<f64>().sqrt()
    }

    /// The largest of their absolute values.
    pub fn largest(&self) -> f64 {
        self.all().fold(0.0, |most, value| most.max(value.abs()))
    }

    /// The weights in the L2 ball, ‖w‖ ≤ 1, of which the expert earns most more than the policy, where these are the expert's mean
    /// features minus the policy's: their direction. Zero when they are equal.
    pub fn direction(&self) -> Features {
        let norm = self.norm();
        self.map(|value| if norm > 0.0 { value / norm } else { 0.0 })
    }

    /// The same among convex combinations of all features and their negatives: ±1 for the one feature that differs most, the first of
    /// several.
    pub fn vertex(&self) -> Features {
        let most = self.largest();
        let mut found = most == 0.0;
        self.map(|value| {
            let chosen = !found && value.abs() == most;
            found |= chosen;
            if chosen { value.signum() } else { 0.0 }
        })
    }

    /// What these weights give each of `rows`, `[n, dims]`: w · (x, x xᵀ).
    pub fn rewards(&self, rows: &[f32]) -> Vec<f64> {
        let dims = self.first.len();
        let dot = |weights: &[f64], x: &[f32]| {
            weights.iter().zip(x).map(|(weight, &value)| weight * f64::from(value)).sum::<f64>()
        };
        let reward = |x: &[f32]| {
            let products = self.second.chunks_exact(dims).zip(x);
            dot(&self.first, x)
                + products.map(|(weights, &value)| f64::from(value) * dot(weights, x)).sum::<f64>()
        };
        rows.chunks_exact(dims).map(reward).collect()
    }

    fn all(&self) -> impl Iterator<Item = f64> {
        self.first.iter().chain(&self.second).copied()
    }

    fn map(&self, mut change: impl FnMut(f64) -> f64) -> Features {
        Features {
            first: self.first.iter().map(|&value| change(value)).collect(),
            second: self.second.iter().map(|&value| change(value)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    /// Rows around `mean` with a standard deviation of 1.
    fn rows(index: u64, mean: f32) -> Vec<f32> {
        let noise = rng::normal(&mut rng::generator(3, "rows", index), 300);
        noise.into_iter().map(|noise| mean + noise).collect()
    }

    /// What `weights` give `rows` on average.
    fn earned(weights: &Features, rows: &[f32]) -> f64 {
        let rewards = weights.rewards(rows);
        rewards.iter().sum::<f64>() / rewards.len() as f64
    }

    #[test]
    fn mean_features_and_rewards_are_those_of_hand() {
        let mean = Features::mean(&[1.0, 2.0, 3.0, -2.0], 2);
        assert_eq!(mean.first, [2.0, 0.0]);
        assert_eq!(mean.second, [5.0, -2.0, -2.0, 4.0]);
        let weights = Features { first: vec![1.0, 0.0], second: vec![0.0, 0.5, 0.5, 2.0] };
        assert_eq!(weights.rewards(&[1.0, 2.0, 3.0, -2.0]), [1.0 + 2.0 + 8.0, 3.0 - 6.0 + 8.0]);
    }

    #[test]
    fn the_value_of_feature_matching_is_the_distance_of_the_features() {
        let (expert, policy) = (rows(0, 0.5), rows(1, -0.2));
        let gap = Features::mean(&expert, 3).minus(&Features::mean(&policy, 3));
        let weights = gap.direction();
        assert!((weights.norm() - 1.0).abs() < 1e-12);
        // max over ‖w‖ ≤ 1 of w · (μ_E − μ_π) = ‖μ_E − μ_π‖.
        let value = earned(&weights, &expert) - earned(&weights, &policy);
        assert!((value - gap.norm()).abs() < 1e-9, "{value} {}", gap.norm());
        // No other direction earns the expert more.
        let other = Features { first: vec![1.0, 0.0, 0.0], second: vec![0.0; 9] };
        assert!(earned(&other, &expert) - earned(&other, &policy) < value);
    }

    #[test]
    fn the_value_of_the_game_is_the_largest_difference_of_a_feature() {
        let (expert, policy) = (rows(2, 0.1), rows(3, 0.9));
        let gap = Features::mean(&expert, 3).minus(&Features::mean(&policy, 3));
        let weights = gap.vertex();
        assert_eq!(weights.all().filter(|&weight| weight != 0.0).count(), 1);
        let value = earned(&weights, &expert) - earned(&weights, &policy);
        assert!((value - gap.largest()).abs() < 1e-9, "{value} {}", gap.largest());
    }

    #[test]
    fn a_policy_that_matches_the_expert_is_told_nothing() {
        let mean = Features::mean(&rows(4, 0.0), 3);
        let gap = mean.minus(&mean);
        assert_eq!((gap.norm(), gap.largest()), (0.0, 0.0));
        assert!(gap.direction().all().chain(gap.vertex().all()).all(|weight| weight == 0.0));
    }

    #[test]
    #[should_panic(expected = "4 values are no rows of 3")]
    fn part_of_a_row_is_a_bug() {
        Features::mean(&[0.0; 4], 3);
    }
}
