//! Muon: momentum that is orthogonalised before it updates a weight matrix.
//!
//! Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"
//! (<https://kellerjordan.github.io/posts/muon/>). The momentum of a matrix is replaced by approximately the nearest matrix
//! whose singular values are all one, so that every direction gets a step of the same size. It is meant for the matrices
//! inside of a network; embeddings, heads, biases and gains are updated by another rule.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `momentum` | B | decaying sum of gradients |
//! | `orthogonal` | O | U Vᵀ of the singular value decomposition U S Vᵀ of G + μ B, about |

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Gradients, Tensor};

use super::optimizer::expect_of_parameter;
use crate::nn::{NamedMapper, StateDict, StateTensor, map_named};

/// Coefficients of x ← a x + b x³ + c x⁵, which brings singular values in (0, 1] to about 0.7 to 1.2 in five iterations
/// (Jordan et al. 2024).
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// Settings of [`Muon`].
#[derive(Clone, Copy, Debug)]
pub struct MuonConfig {
    /// Learning rate before the schedule, for a square matrix; it is multiplied by √(outputs / inputs) for a matrix with more
    /// outputs than inputs.
    pub learning_rate: f64,
    /// Decay of the momentum.
    pub momentum: f64,
    /// Number of Newton–Schulz iterations.
    pub rounds: usize,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether Muon updates the parameter of this name, such as `blocks.0.up.weight`. It must have two axes or more, the last one
    /// for the outputs: a kernel `[height, width, inputs, outputs]` is updated as a matrix `[height · width · inputs, outputs]`.
    pub takes: fn(&str) -> bool,
}

/// The optimizer of the matrices inside of one network.
#[derive(Debug)]
pub struct Muon {
    config: MuonConfig,
    momentum: BTreeMap<String, StateTensor>,
}

impl Muon {
    /// Starts with a momentum of zero.
    pub fn new(config: MuonConfig) -> Muon {
        Muon { config, momentum: BTreeMap::new() }
    }

    /// Updates its matrices, with `schedule` times the learning rate, and removes their gradients from `gradients`. The
    /// remaining gradients are for another optimizer.
    pub fn step<M: Module>(&mut self, network: M, gradients: &mut Gradients, schedule: f64) -> M {
        let (config, momentum) = (self.config, &mut self.momentum);
        map_named(network, &mut Move { gradients, momentum, config, schedule })
    }

    /// The momenta, for saving; each name is prefixed with `name` and a dot.
    pub fn state(&self, name: &str) -> StateDict {
        let mut state = StateDict::default();
        for (parameter, momentum) in &self.momentum {
            state.insert(format!("{name}.{parameter}.momentum"), momentum.clone());
        }
        state
    }

    /// Restores what [`state`](Muon::state) returned, for the parameters in `weights`, as
    /// [`Optimizer::restore`](super::Optimizer::restore) does.
    ///
    /// # Errors
    ///
    /// A sentence naming the array that does not fit its parameter.
    pub fn restore(&mut self, name: &str, state: &StateDict, weights: &StateDict) -> Result<(), String> {
        self.momentum.clear();
        let prefix = format!("{name}.");
        let optimizer = name.strip_suffix(".muon").unwrap_or(name);
        for (key, weight) in state.iter() {
            let rest = key.strip_prefix(&prefix).and_then(|key| key.strip_suffix(".momentum"));
            if let Some(parameter) = rest {
                expect_of_parameter(key, weight, optimizer, parameter, weights)?;
                self.momentum.insert(parameter.to_owned(), weight.clone());
            }
        }
        Ok(())
    }
}

struct Move<'a> {
    gradients: &'a mut Gradients,
    momentum: &'a mut BTreeMap<String, StateTensor>,
    config: MuonConfig,
    schedule: f64,
}

impl NamedMapper for Move<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !(self.config.takes)(name) {
            return param;
        }
        let Some(gradient) = param.val().grad_remove(self.gradients) else { return param };
        let shape = param.dims();
        assert!(D >= 2, "muon moves matrices, `{name}` has shape {shape:?}");
        let outputs = shape[D - 1];
        let inputs = shape[..D - 1].iter().product();
        let gradient = gradient.reshape([inputs, outputs]);
        let momentum = match self.momentum.remove(name) {
            Some(kept) => kept.values.reshape([inputs, outputs]) * self.config.momentum + gradient.clone(),
            None => gradient.clone(),
        };
        let ahead = gradient + momentum.clone() * self.config.momentum;
        let kept = StateTensor { shape: shape.to_vec(), values: momentum.reshape([inputs * outputs]) };
        self.momentum.insert(name.to_owned(), kept);
        let rate = self.config.learning_rate * self.schedule;
        let wide = (outputs as f64 / inputs as f64).max(1.0).sqrt();
        let moved = orthogonal(ahead, self.config.rounds) * (rate * wide);
        let keep = 1.0 - rate * self.config.weight_decay;
        param.map(|value| (value.inner() * keep - moved.reshape(shape)).autodiff().require_grad())
    }
}

/// Approximately the nearest orthogonal matrix to `x [rows, columns]`: Newton–Schulz iterations of degree five bring all
/// its singular values close to one.
///
/// The iterations only use the Gram matrix of the shorter side: with A = X Xᵀ and M = a + b A + c A², an iteration is
/// X ← M X and so A ← M A M, and all of these commute.
pub fn orthogonal(x: Tensor<2>, rounds: usize) -> Tensor<2> {
    let [rows, columns] = x.dims();
    if rows > columns {
        return orthogonal(x.transpose(), rounds).transpose();
    }
    let [a, b, c] = COEFFICIENTS;
    let norm = (x.clone() * x.clone()).sum().sqrt() + 1e-12;
    let x = x / norm.unsqueeze::<2>();
    let one = Tensor::eye(rows, &x.device()) * a;
    let mut gram = x.clone().matmul(x.clone().transpose());
    let mut product: Option<Tensor<2>> = None;
    for round in 0..rounds {
        let square = gram.clone().matmul(gram.clone());
        let m = one.clone() + gram.clone() * b + square * c;
        if round + 1 < rounds {
            let half = m.clone().matmul(gram);
            gram = half.matmul(m.clone());
        }
        product = Some(match product {
            Some(product) => m.matmul(product),
            None => m,
        });
    }
    match product {
        Some(product) => product.matmul(x),
        None => x,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::rng;

    fn random(shape: [usize; 2]) -> Tensor<2> {
        let draws = rng::normal(&mut rng::generator(3, "test", shape[0] as u64), shape[0] * shape[1]);
        Tensor::from_data(TensorData::new(draws, shape), &Device::flex())
    }

    fn values(x: Tensor<2>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    #[test]
    fn rounds_on_the_gram_matrix_are_rounds_on_the_matrix() {
        for shape in [[8, 30], [30, 8], [17, 17], [1, 5]] {
            let x = random(shape);
            let ours = values(orthogonal(x.clone(), 5));
            let [a, b, c] = COEFFICIENTS;
            let norm = (x.clone() * x.clone()).sum().sqrt().unsqueeze::<2>();
            let theirs = (0..5).fold(x / norm, |x, _| {
                let gram = x.clone().matmul(x.clone().transpose());
                let polynomial = gram.clone() * b + gram.clone().matmul(gram) * c;
                x.clone() * a + polynomial.matmul(x)
            });
            let far = ours.iter().zip(values(theirs)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-4, "{shape:?}: {far}");
        }
    }

    #[test]
    fn singular_values_become_about_one() {
        let x = orthogonal(random([10, 40]), 5);
        // Of O Oᵀ, whose eigenvalues are their squares, between 0.68² and 1.21²; it is symmetric, so that no number off the
        // diagonal can exceed half of their range.
        let gram = values(x.clone().matmul(x.transpose()));
        for (place, &value) in gram.iter().enumerate() {
            let (low, high) = if place % 11 == 0 { (0.4, 1.5) } else { (-0.55, 0.55) };
            assert!((low..high).contains(&value), "{place}: {value}");
        }
    }
}
