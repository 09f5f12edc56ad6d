//! What tests of flows share: inverses, and log-determinants against numeric Jacobians.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use super::Mapped;
use crate::nn::StateDict;
use crate::rng;

/// How far the inverse of a map may be from where it began.
const INVERSE: f64 = 1e-4;
/// Step of the differences that a Jacobian is computed from: f32 rounds their quotient to some 1e-4.
const STEP: f32 = 2e-3;
/// Log-determinants of a few dozen such values.
const LOG_DET: f64 = 2e-2;

/// Values from N(0, 1).
pub(super) fn noise<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let values = rng::normal(&mut rng::generator(seed, "test", 0), shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The same network with N(0, `deviation`²) added to each parameter, so that nothing is zero.
pub(super) fn shaken<M: Module>(network: &M, deviation: f32, seed: u64) -> M {
    let mut arrays = StateDict::of(network).to_arrays();
    for (number, array) in arrays.values_mut().enumerate() {
        let noise = rng::normal(&mut rng::generator(seed, "shaken", number as u64), array.data.len());
        array.data.iter_mut().zip(noise).for_each(|(value, noise)| *value += deviation * noise);
    }
    StateDict::from_arrays(arrays, &Device::flex()).load_into(network.clone()).unwrap()
}

/// The values of a tensor.
pub(super) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Panics when a map and its inverse do not lead back to `x`, or change its shape.
pub(super) fn expect_inverse<const D: usize, const E: usize>(
    x: Tensor<D>,
    forward: impl Fn(Tensor<D>) -> Tensor<E>,
    inverse: impl Fn(Tensor<E>) -> Tensor<D>,
) {
    let again = inverse(forward(x.clone()));
    assert_eq!(again.dims(), x.dims());
    let distance = (again - x).abs().max().into_scalar::<f64>();
    assert!(distance < INVERSE, "{distance}");
}

/// Panics when the log-determinant that a map gives at `x`, `[1, ..]`, is not that of its Jacobian.
pub(super) fn expect_log_det(x: Tensor<4>, forward: impl Fn(Tensor<4>) -> Mapped) {
    let dims = x.dims().iter().product::<usize>();
    let [_, height, width, channels] = x.dims();
    // Row i of a batch moves along axis i, forth and back.
    let moved = |step: f32| {
        let steps = Tensor::<2>::eye(dims, &x.device()) * step;
        forward(x.clone() + steps.reshape([dims, height, width, channels])).0
    };
    let columns = floats((moved(STEP) - moved(-STEP)) / (2.0 * STEP));
    let numeric = log_abs_det(columns.into_iter().map(f64::from).collect(), dims);
    let given = forward(x).1.into_scalar::<f64>();
    assert!((given - numeric).abs() < LOG_DET, "{given} is given, the Jacobian has {numeric}");
}

/// log |det| of an n×n matrix, by elimination.
fn log_abs_det(mut matrix: Vec<f64>, n: usize) -> f64 {
    let mut sum = 0.0;
    for k in 0..n {
        let size = |row: usize| matrix[row * n + k].abs();
        let pivot = (k..n).fold(k, |best, row| if size(row) > size(best) { row } else { best });
        (0..n).for_each(|column| matrix.swap(k * n + column, pivot * n + column));
        sum += matrix[k * n + k].abs().ln();
        for row in k + 1..n {
            let factor = matrix[row * n + k] / matrix[k * n + k];
            for column in k..n {
                matrix[row * n + column] -= factor * matrix[k * n + column];
            }
        }
    }
    sum
}
