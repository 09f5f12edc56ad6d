//! Mixtures of normal distributions with diagonal covariances, fitted by expectation maximisation (Dempster, Laird and Rubin 1977).

use std::f64::consts::TAU;

use super::clusters::k_means;
use super::rows::Rows;

/// Largest number of steps.
const STEPS: usize = 200;
/// Steps end when log p of a row rises by less than this many nats on average.
const TOLERANCE: f64 = 1e-5;
/// No variance is smaller than this part of the mean variance of the rows: one row alone would have none.
const SMALLEST: f64 = 1e-3;
/// Attempts of the k-means that the mixture starts from.
const RESTARTS: u64 = 5;

/// A mixture of normal distributions with diagonal covariances.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// The probability of each component.
    pub weights: Vec<f64>,
    /// The mean of each component.
    pub means: Vec<Vec<f64>>,
    /// The variances of each component.
    pub variances: Vec<Vec<f64>>,
    /// log p of the rows that it was fitted to, in nats for all of them.
    pub log_likelihood: f64,
}

impl Mixture {
    /// Fits `count` components to `rows`, from the clusters of k-means on. `seed` draws their first centres.
    ///
    /// # Panics
    ///
    /// When there are fewer rows than components, or no components.
    pub fn fit(rows: &Rows, count: usize, seed: u64) -> Mixture {
        let clusters = k_means(rows, count, RESTARTS, seed);
        let smallest = SMALLEST * rows.variances(&rows.means()).iter().sum::<f64>() / rows.dims() as f64;
        let smallest = smallest.max(f64::MIN_POSITIVE);
        let certain = |&cluster: &usize| (0..count).map(|k| f64::from(u8::from(k == cluster))).collect();
        let mut shares: Vec<Vec<f64>> = clusters.of_row.iter().map(certain).collect();
        let mut mixture = Mixture::of_shares(rows, &shares, smallest);
        for _ in 0..STEPS {
            let before = mixture.log_likelihood;
            mixture.log_likelihood = mixture.expect(rows, &mut shares);
            if mixture.log_likelihood - before < TOLERANCE * rows.len() as f64 {
                break;
            }
            let log_likelihood = mixture.log_likelihood;
            mixture = Mixture { log_likelihood, ..Mixture::of_shares(rows, &shares, smallest) };
        }
        mixture
    }

    /// The mixture under which rows belong to components by these shares.
    fn of_shares(rows: &Rows, shares: &[Vec<f64>], smallest: f64) -> Mixture {
        let (count, dims) = (shares[0].len(), rows.dims());
        let mut sizes = vec![1e-10; count];
        let mut means = vec![vec![0.0; dims]; count];
        let mut squares = vec![vec![0.0; dims]; count];
        for (row, shares) in rows.iter().zip(shares) {
            for (k, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                sizes[k] += share;
                for ((mean, square), &x) in means[k].iter_mut().zip(&mut squares[k]).zip(row) {
                    let x = f64::from(x);
                    *mean += share * x;
                    *square += share * x * x;
                }
            }
        }
        for ((size, means), squares) in sizes.iter().zip(&mut means).zip(&mut squares) {
            for (mean, square) in means.iter_mut().zip(squares) {
                *mean /= size;
                *square = (*square / size - *mean * *mean).max(smallest);
            }
        }
        let weights = sizes.iter().map(|size| size / rows.len() as f64).collect();
        Mixture { weights, means, variances: squares, log_likelihood: f64::NEG_INFINITY }
    }

    /// log p of all rows; `shares` become the probabilities of the components for each row.
    fn expect(&self, rows: &Rows, shares: &mut [Vec<f64>]) -> f64 {
        let mut total = 0.0;
        for (row, shares) in rows.iter().zip(shares) {
            let (log_probs, log_prob) = self.log_probs(row);
            total += log_prob;
            *shares = log_probs.iter().map(|joint| (joint - log_prob).exp()).collect();
        }
        total
    }

    /// log p(row, component) for each component, and log p(row).
    fn log_probs(&self, row: &[f32]) -> (Vec<f64>, f64) {
        let of_component = |((weight, means), variances): ((&f64, &Vec<f64>), &Vec<f64>)| {
            let terms = row.iter().zip(means).zip(variances).map(|((&x, mean), variance)| {
                (f64::from(x) - mean).powi(2) / variance + (TAU * variance).ln()
            });
            weight.ln() - 0.5 * terms.sum::<f64>()
        };
        let joint: Vec<f64> =
            self.weights.iter().zip(&self.means).zip(&self.variances).map(of_component).collect();
        let largest = joint.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_prob = largest + joint.iter().map(|value| (value - largest).exp()).sum::<f64>().ln();
        (joint, log_prob)
    }

    /// The likeliest component of each row.
    pub fn assign(&self, rows: &Rows) -> Vec<usize> {
        rows.iter().map(|row| super::probe::likeliest(&self.log_probs(row).0)).collect()
    }

    /// The Bayesian information criterion for `rows` rows, in nats · 2: the lower, the better (Schwarz 1978).
    pub fn bic(&self, rows: usize) -> f64 {
        let (count, dims) = (self.weights.len(), self.means[0].len());
        let parameters = count * 2 * dims + count - 1;
        parameters as f64 * (rows as f64).ln() - 2.0 * self.log_likelihood
    }
}

#[cfg(test)]
mod tests {
    use super::super::clusters::planted;
    use super::*;

    #[test]
    fn one_component_has_the_mean_and_the_variance_of_the_rows() {
        let rows = Rows::new(vec![1.0, 0.0, 3.0, 0.5, 5.0, 4.0], 2);
        let found = Mixture::fit(&rows, 1, 0);
        assert!((found.means[0][0] - 3.0).abs() < 1e-9 && (found.variances[0][0] - 8.0 / 3.0).abs() < 1e-9);
        // log p of a normal distribution at its own moments: −n/2 · Σ (log 2π v + 1).
        let expected: f64 = found.variances[0].iter().map(|v| -1.5 * ((TAU * v).ln() + 1.0)).sum();
        assert!((found.log_likelihood - expected).abs() < 1e-9, "{} {expected}", found.log_likelihood);
        assert!((found.bic(3) - (4.0 * 3.0_f64.ln() - 2.0 * expected)).abs() < 1e-9);
    }

    #[test]
    fn the_criterion_is_lowest_at_the_number_of_planted_components() {
        let (rows, planted) = planted(300, 5, 0.7);
        let fits: Vec<Mixture> = (1..=7).map(|count| Mixture::fit(&rows, count, 0)).collect();
        let best = fits.iter().min_by(|a, b| a.bic(300).total_cmp(&b.bic(300))).unwrap();
        assert_eq!(best.weights.len(), 4);
        assert!(best.weights.iter().all(|weight| (weight - 0.25).abs() < 0.02), "{:?}", best.weights);
        let found = best.assign(&rows);
        assert!((1..300).all(|i| (found[i] == found[0]) == (planted[i] == planted[0])));
    }
}
