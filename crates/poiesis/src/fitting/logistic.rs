//! Multinomial logistic regression with a quadratic penalty.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_kernels::{Activation, linear};

use super::lbfgs::{Minimum, minimise};
use super::rows::Rows;

/// Largest number of steps of a fit.
const STEPS: usize = 300;
/// A fit ends when no part of the gradient is larger.
const TOLERANCE: f64 = 1e-5;

/// Linear scores of classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    /// The weight of each value for each class, `[values, classes]`, row by row.
    pub weights: Vec<f64>,
    /// The bias of each class.
    pub biases: Vec<f64>,
}

impl Logistic {
    /// Scores that are 0.
    pub fn zero(dims: usize, classes: usize) -> Logistic {
        Logistic { weights: vec![0.0; dims * classes], biases: vec![0.0; classes] }
    }

    /// Minimises the mean of −log p(label|row) in nats plus `penalty` / 2 · Σ weights², from these scores on.
    ///
    /// # Panics
    ///
    /// When there is not one label for each row, or a label is not below the number of classes.
    pub fn fitted(self, rows: &Rows, labels: &[u32], penalty: f64) -> Logistic {
        let classes = self.biases.len();
        let found = fit(self, rows, labels, penalty);
        let biases = found.place[found.place.len() - classes..].to_vec();
        let mut weights = found.place;
        weights.truncate(weights.len() - classes);
        Logistic { weights, biases }
    }

    /// log p(class|row) of each row in nats, `[rows, classes]`, row by row.
    ///
    /// # Panics
    ///
    /// When the rows are not as long as those that it was fitted to.
    pub fn log_probs(&self, rows: &Rows) -> Vec<f64> {
        let mut scores = self.scores(&rows.tensor());
        scores.chunks_mut(self.biases.len()).for_each(log_softmax);
        scores
    }

    /// `[rows, classes]`.
    fn scores(&self, rows: &Tensor<2>) -> Vec<f64> {
        let classes = self.biases.len();
        let weights = to_tensor(&self.weights, [self.weights.len() / classes, classes]);
        let scores = linear(rows.clone(), weights, None, Activation::Identity);
        let scores = scores.into_data().iter::<f64>().collect::<Vec<_>>();
        scores.iter().enumerate().map(|(at, score)| score + self.biases[at % classes]).collect()
    }
}

fn to_tensor(values: &[f64], shape: [usize; 2]) -> Tensor<2> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Subtracts log Σ exp.
fn log_softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
    scores.iter_mut().for_each(|score| *score -= largest + sum.ln());
}

fn fit(start: Logistic, rows: &Rows, labels: &[u32], penalty: f64) -> Minimum {
    let (classes, count) = (start.biases.len(), rows.len());
    assert_eq!(labels.len(), count, "one label for each row");
    assert!(labels.iter().all(|&label| (label as usize) < classes), "labels below {classes}");
    let (x, of_weights) = (rows.tensor(), start.weights.len());
    let transposed = x.clone().transpose();
    let place = [start.weights, start.biases].concat();
    minimise(place, STEPS, TOLERANCE, |place| {
        let (weights, biases) = place.split_at(of_weights);
        let model = Logistic { weights: weights.to_vec(), biases: biases.to_vec() };
        let mut rest = model.scores(&x);
        let (mut nats, mut of_biases) = (0.0, vec![0.0; classes]);
        for (scores, &label) in rest.chunks_mut(classes).zip(labels) {
            log_softmax(scores);
            nats -= scores[label as usize];
            // The derivative by a score: its probability, less 1 for the right class.
            scores.iter_mut().for_each(|score| *score = score.exp());
            scores[label as usize] -= 1.0;
            scores.iter_mut().for_each(|value| *value /= count as f64);
            of_biases.iter_mut().zip(&*scores).for_each(|(sum, value)| *sum += value);
        }
        let gradient = transposed.clone().matmul(to_tensor(&rest, [count, classes]));
        let mut gradient: Vec<f64> = gradient.into_data().iter::<f64>().collect();
        gradient.iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient += penalty * weight);
        gradient.extend(of_biases);
        let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
        (nats / count as f64 + 0.5 * penalty * squares, gradient)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_penalty_the_probabilities_are_the_frequencies() {
        // One value that is 0 or 1: p(class|value) is free for each value, so the fit has the frequencies exactly.
        let rows = Rows::new([vec![0.0; 4], vec![1.0; 5]].concat(), 1);
        let labels = [0, 0, 0, 1, 0, 1, 1, 2, 2];
        // No image of class 2 at 0: its probability there goes to 0.
        let fitted = Logistic::zero(1, 3).fitted(&rows, &labels, 0.0);
        let found = fitted.log_probs(&Rows::new(vec![0.0, 1.0], 1));
        let expected = [0.75, 0.25, 0.0, 0.2, 0.4, 0.4];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.exp() - expected).abs() < 2e-3, "{found} {expected}");
        }
    }

    #[test]
    fn a_penalised_fit_has_no_gradient_and_less_weight() {
        let rows = Rows::new(vec![-1.0, 1.0], 1);
        let norm = |penalty: f64| {
            let found = fit(Logistic::zero(1, 2), &rows, &[0, 1], penalty);
            assert!(found.gradient <= TOLERANCE, "{found:?}");
            let weight = (found.place[1] - found.place[0]) / 2.0;
            // With scores ∓w x: the derivative of log(1 + e^(−2w)) + λ w² is −2 / (1 + e^(2w)) + 2 λ w.
            let slope = -2.0 / (1.0 + (2.0 * weight).exp()) + 2.0 * penalty * weight;
            assert!(slope.abs() < 1e-4, "{slope}");
            weight
        };
        assert!(norm(0.01) > 2.0 * norm(1.0));
    }
}
