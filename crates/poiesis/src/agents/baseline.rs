//! What returns are expected of an observation, so that an action is learned by how much better it was.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::policy::{joined, split};
use super::{HiddenActivation, Network};
use crate::nn::Init;

/// The weight of each squared coefficient when the linear baseline is fitted, relative to the sum of the squares of its feature.
const RIDGE: f64 = 1e-5;

/// Squares of a feature below this part of the mean over all features are noise, and count as this.
const NOISE: f64 = 1e-10;

/// Steps in one unit of time, so that its powers stay small.
const TIME: f64 = 100.0;

/// Kinds of baselines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaselineKind {
    /// A network of the sizes of the policy.
    Network,
    /// Linear in the numbers of an observation, their squares, and the time with its square and cube (Duan et al. 2016).
    Linear,
    /// Zero.
    None,
}

/// V(s). Observations are normalised as those of the policy.
#[derive(Module, Debug)]
pub struct Baseline {
    network: Option<Network>,
    linear: Option<Linear>,
}

/// A linear function of features, fitted anew to each rollout.
#[derive(Module, Debug)]
struct Linear {
    /// `[2, features]`: 64-bit floats in two parts each. A fit is no gradient step, so it is kept as a statistic.
    running_coefficients: Param<Tensor<2>>,
}

impl Baseline {
    /// For observations of `inputs` numbers.
    pub fn new(
        kind: BaselineKind,
        inputs: usize,
        hidden_dims: &[usize],
        activation: HiddenActivation,
        init: &mut Init,
    ) -> Baseline {
        let (mut network, mut linear) = (None, None);
        match kind {
            BaselineKind::Network => {
                network = Some(Network::new(inputs, hidden_dims, 1, activation, 1.0, init));
            }
            BaselineKind::Linear => {
                let zeros = Tensor::zeros([2, num_features(inputs)], &init.device().clone().inner());
                linear = Some(Linear { running_coefficients: Param::initialized(ParamId::new(), zeros) });
            }
            BaselineKind::None => {}
        }
        Baseline { network, linear }
    }

    /// The network, where it is one.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// V(s) of each row, `[n]`, without autodiff. `inputs` is `[n, width]`, normalised; `times` are the steps that the episode has had.
    ///
    /// # Panics
    ///
    /// When there is not one time for each row.
    pub fn values(&self, inputs: &[f32], times: &[usize], device: &Device) -> Vec<f64> {
        if times.is_empty() {
            return Vec::new();
        }
        if let Some(network) = &self.network {
            let values = network.outputs(inputs, device);
            assert_eq!(values.len(), times.len(), "values of {} rows", times.len());
            return values.into_iter().map(f64::from).collect();
        }
        let Some(linear) = &self.linear else { return vec![0.0; times.len()] };
        let coefficients = joined(&linear.running_coefficients);
        let value = |features: &[f64]| features.iter().zip(&coefficients).map(|(x, c)| x * c).sum();
        let features = features(inputs, times);
        features.chunks_exact(coefficients.len()).map(value).collect()
    }

    /// Fits the linear baseline to `returns`, `[n]`, of the rows of `inputs`; nothing happens where it is none.
    pub fn fit(&mut self, inputs: &[f32], times: &[usize], returns: &[f64]) {
        if let Some(linear) = &mut self.linear {
            let features = features(inputs, times);
            let width = features.len() / times.len().max(1);
            if let Some(coefficients) = ridge(&features, width, returns) {
                linear.running_coefficients = split(&linear.running_coefficients, &coefficients);
            }
        }
    }
}

fn num_features(inputs: usize) -> usize {
    2 * inputs + 4
}

/// s, s², t, t², t³ and 1 of each row.
fn features(inputs: &[f32], times: &[usize]) -> Vec<f64> {
    let width = inputs.len() / times.len().max(1);
    let mut all = Vec::with_capacity(times.len() * num_features(width));
    for (row, &time) in inputs.chunks_exact(width.max(1)).zip(times) {
        let time = time as f64 / TIME;
        all.extend(row.iter().map(|&x| f64::from(x)));
        all.extend(row.iter().map(|&x| f64::from(x).powi(2)));
        all.extend([time, time.powi(2), time.powi(3), 1.0]);
    }
    all
}

/// The coefficients that minimise `‖X c − y‖² + ridge Σ_i ‖x_i‖² c_i²`, with more of the ridge where the features nearly depend on each
/// other; `None` where no ridge is enough, as for numbers that are not finite. `x` is `[n, width]`.
///
/// Each coefficient has a ridge of the size of its own feature: in a long episode the cube of the time is so large that one ridge
/// for all would leave nothing of the others.
fn ridge(x: &[f64], width: usize, y: &[f64]) -> Option<Vec<f64>> {
    let mut products = vec![0.0; width * width];
    let mut targets = vec![0.0; width];
    for (row, &y) in x.chunks_exact(width).zip(y) {
        for i in 0..width {
            targets[i] += row[i] * y;
            for j in 0..=i {
                products[i * width + j] += row[i] * row[j];
            }
        }
    }
    let mean = (0..width).map(|i| products[i * width + i]).sum::<f64>() / width as f64;
    let least = (NOISE * mean).max(f64::MIN_POSITIVE);
    (0..8).map(|power| RIDGE * 10_f64.powi(power)).find_map(|ridge| {
        let mut shifted = products.clone();
        for i in 0..width {
            let size = products[i * width + i].max(least);
            shifted[i * width + i] += ridge * size;
        }
        solve(shifted, width, &targets)
    })
}

/// Solves A x = b by Cholesky's factors, from the lower triangle of A; `None` where A is not positive definite.
pub(super) fn solve(mut a: Vec<f64>, size: usize, b: &[f64]) -> Option<Vec<f64>> {
    for i in 0..size {
        for j in 0..=i {
            let shared: f64 = (0..j).map(|k| a[i * size + k] * a[j * size + k]).sum();
            let rest = a[i * size + j] - shared;
            if i == j {
                if !(rest.is_finite() && rest > 0.0) {
                    return None;
                }
                a[i * size + i] = rest.sqrt();
            } else {
                a[i * size + j] = rest / a[j * size + j];
            }
        }
    }
    let mut x = b.to_vec();
    for i in 0..size {
        let shared: f64 = (0..i).map(|k| a[i * size + k] * x[k]).sum();
        x[i] = (x[i] - shared) / a[i * size + i];
    }
    for i in (0..size).rev() {
        let shared: f64 = (i + 1..size).map(|k| a[k * size + i] * x[k]).sum();
        x[i] = (x[i] - shared) / a[i * size + i];
    }
    x.iter().all(|x| x.is_finite()).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_baseline_learns_what_is_linear_in_its_features() {
        let device = Device::flex();
        let mut baseline =
            Baseline::new(BaselineKind::Linear, 2, &[], HiddenActivation::Tanh, &mut Init::new(0, &device));
        let inputs: Vec<f32> = (0..80).map(|i| ((i * 37 % 41) as f32 - 20.0) / 10.0).collect();
        let times: Vec<usize> = (0..40).map(|i| i * 7 % 50).collect();
        let returns: Vec<f64> = (0..40)
            .map(|i| {
                let (x, y) = (f64::from(inputs[2 * i]), f64::from(inputs[2 * i + 1]));
                1.5 * x - y * y + 3.0 * times[i] as f64 / 100.0 + 0.25
            })
            .collect();
        assert_eq!(baseline.values(&inputs, &times, &device), vec![0.0; 40], "before it is fitted");
        baseline.fit(&inputs, &times, &returns);
        let values = baseline.values(&inputs, &times, &device);
        assert!(values.iter().zip(&returns).all(|(a, b)| (a - b).abs() < 1e-2), "{values:?}");
    }

    #[test]
    fn features_that_never_change_are_no_obstacle() {
        let x = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0];
        let found = ridge(&x, 3, &[2.0, 2.0]).unwrap();
        assert!((found[0] + found[2] - 2.0).abs() < 1e-3 && found[1].abs() < 1e-9, "{found:?}");
        assert_eq!(ridge(&[f64::NAN], 1, &[1.0]), None);
    }

    #[test]
    fn a_large_feature_does_not_hide_a_small_one() {
        let sign = |row: usize| if row.is_multiple_of(2) { 1.0 } else { -1.0 };
        let x: Vec<f64> = (0..40).flat_map(|row| [sign(row), 1e6 * (row as f64 / 40.0).powi(3)]).collect();
        let y: Vec<f64> = (0..40).map(sign).collect();
        let found = ridge(&x, 2, &y).unwrap();
        assert!((found[0] - 1.0).abs() < 1e-3 && found[1].abs() < 1e-8, "{found:?}");
    }
}
