//! The invertible 1×1 convolution (§3.2): a matrix over the channels, kept as its LU factors.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use poiesis_kernels::linear;

use super::super::{Mapped, set_values};
use crate::nn::{Activation, Init};

/// y = x W with W = P L (U + diag(s)) (Eq. 10): P reverses the order of the channels, L is lower triangular with ones on its diagonal,
/// U is strictly upper triangular, and s is positive. W starts as a random rotation.
#[derive(Module, Debug)]
pub(super) struct OneByOne {
    /// L, of which the part below the diagonal is used, `[channels, channels]`.
    lower: Param<Tensor<2>>,
    /// U, of which the part above the diagonal is used, `[channels, channels]`.
    upper: Param<Tensor<2>>,
    /// log s, `[channels]`.
    log_scale: Param<Tensor<1>>,
}

impl OneByOne {
    pub(super) fn new(channels: usize, init: &mut Init) -> OneByOne {
        let mut layer = OneByOne {
            lower: init.normal([channels, channels], 0.0, 1.0),
            upper: init.constant([channels, channels], 0.0),
            log_scale: init.constant([channels], 0.0),
        };
        if init.draws() {
            let drawn = layer.lower.val();
            let device = drawn.device();
            let rotation = rotation(drawn.into_data().iter::<f64>().collect(), channels);
            let (lower, upper, log_scale) = factors(rotation, channels);
            let matrix = |values: Vec<f64>| {
                let values = values.into_iter().map(|x| x as f32).collect();
                Tensor::<2>::from_data(TensorData::new(values, [channels, channels]), &device)
            };
            set_values(&mut layer.lower, matrix(lower));
            set_values(&mut layer.upper, matrix(upper));
            let log_scale = log_scale.into_iter().map(|x| x as f32).collect();
            set_values(
                &mut layer.log_scale,
                Tensor::from_data(TensorData::new(log_scale, [channels]), &device),
            );
        }
        layer
    }

    /// L.
    fn lower(&self) -> Tensor<2> {
        let lower = self.lower.val();
        let ones = Tensor::eye(lower.dims()[0], &lower.device());
        lower.tril(-1) + ones
    }

    /// U + diag(s).
    fn upper(&self) -> Tensor<2> {
        let upper = self.upper.val();
        let channels = upper.dims()[0];
        let ones = Tensor::<2>::eye(channels, &upper.device());
        upper.triu(1) + ones * self.log_scale.val().exp().reshape([1, channels])
    }

    /// W, `[channels, channels]`.
    pub(super) fn weight(&self) -> Tensor<2> {
        self.lower().matmul(self.upper()).flip([0])
    }

    /// y and h · w · Σ log s (Eq. 11).
    pub(super) fn forward(&self, x: Tensor<4>) -> Mapped {
        let [_, height, width, _] = x.dims();
        let log_det = self.log_scale.val().sum() * (height * width) as f64;
        (linear(x, self.weight(), None, Activation::Identity), log_det)
    }

    /// x of y: y W⁻¹, where W⁻¹ = (U + diag(s))⁻¹ L⁻¹ P is computed in f64.
    pub(super) fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        let channels = self.lower.dims()[0];
        let values = |matrix: Tensor<2>| matrix.into_data().iter::<f64>().collect::<Vec<f64>>();
        // The inverse of a triangular matrix, turned so that it is lower triangular.
        let lower = lower_inverse(&values(self.lower()), channels);
        let upper = lower_inverse(&values(self.upper().transpose()), channels);
        let mut inverse = vec![0.0; channels * channels];
        for (row, column) in (0..channels).flat_map(|row| (0..channels).map(move |column| (row, column))) {
            let sum: f64 =
                (0..channels).map(|k| upper[k * channels + row] * lower[k * channels + column]).sum();
            inverse[row * channels + channels - 1 - column] = sum as f32;
        }
        let weight = Tensor::from_data(TensorData::new(inverse, [channels, channels]), &y.device());
        linear(y, weight, None, Activation::Identity)
    }
}

/// The inverse of a lower triangular matrix, by substitution.
fn lower_inverse(matrix: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    for column in 0..n {
        for row in column..n {
            let one = if row == column { 1.0 } else { 0.0 };
            let known: f64 = (column..row).map(|k| matrix[row * n + k] * inverse[k * n + column]).sum();
            inverse[row * n + column] = (one - known) / matrix[row * n + row];
        }
    }
    inverse
}

/// The rows of an n×n matrix made orthonormal one after another, each twice against rounding.
fn rotation(mut rows: Vec<f64>, n: usize) -> Vec<f64> {
    for row in 0..n {
        let (earlier, rest) = rows.split_at_mut(row * n);
        let own = &mut rest[..n];
        for _ in 0..2 {
            for other in earlier.chunks_exact(n) {
                let along: f64 = own.iter().zip(other).map(|(a, b)| a * b).sum();
                own.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
            let norm = own.iter().map(|a| a * a).sum::<f64>().sqrt();
            own.iter_mut().for_each(|a| *a /= norm);
        }
    }
    rows
}

/// L, U and log s of a rotation whose rows are exchanged, and turned around, so that pivots are as large as can be and positive: what
/// they multiply to is again a rotation, or a reflected one.
fn factors(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    for k in 0..n {
        let size = |row: usize| a[row * n + k].abs();
        let pivot = (k..n).fold(k, |best, row| if size(row) > size(best) { row } else { best });
        (0..n).for_each(|column| a.swap(k * n + column, pivot * n + column));
        // To turn a row of the rotation around is to turn what is left of it, and its multipliers.
        if a[k * n + k] < 0.0 {
            a[k * n..(k + 1) * n].iter_mut().for_each(|x| *x = -*x);
        }
        for row in k + 1..n {
            a[row * n + k] /= a[k * n + k];
            for column in k + 1..n {
                a[row * n + column] -= a[row * n + k] * a[k * n + column];
            }
        }
    }
    let log_scale = (0..n).map(|k| a[k * n + k].ln()).collect();
    let part = |keep: fn(usize, usize) -> bool| -> Vec<f64> {
        a.iter().enumerate().map(|(at, &x)| if keep(at / n, at % n) { x } else { 0.0 }).collect()
    };
    (part(|row, column| column < row), part(|row, column| column > row), log_scale)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::super::testing::{expect_inverse, expect_log_det, floats, noise, shaken};
    use super::*;

    #[test]
    fn it_starts_as_a_rotation_that_no_two_layers_share() {
        let device = Device::flex();
        let mut init = Init::new(1, &device);
        for channels in [2, 12, 48] {
            let weight = OneByOne::new(channels, &mut init).weight();
            let identity = Tensor::<2>::eye(channels, &device);
            let product = weight.clone().matmul(weight.clone().transpose());
            assert!((product - identity).abs().max().into_scalar::<f64>() < 1e-5);
            let other = OneByOne::new(channels, &mut init).weight();
            assert_ne!(floats(weight), floats(other));
        }
    }

    #[test]
    fn it_is_inverted_and_its_log_determinant_is_that_of_its_jacobian() {
        let device = Device::flex();
        for channels in [1, 2, 5] {
            let layer = shaken(&OneByOne::new(channels, &mut Init::new(1, &device)), 0.3, 2);
            let x = noise([2, 2, 3, channels], 3, &device);
            expect_inverse(x, |x| layer.forward(x).0, |y| layer.inverse(y));
            expect_log_det(noise([1, 2, 3, channels], 4, &device), |x| layer.forward(x));
        }
    }
}
