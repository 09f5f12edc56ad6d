//! Principal components: the axes along which vectors vary most, by subspace iteration from random directions (Halko et al. 2011,
//! arXiv:0909.4061), which needs no covariance of many dimensions.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_kernels::{Activation, linear};

use crate::rng;

/// Directions beside those that are kept, and iterations: enough for components whose variances differ little.
const BESIDE: usize = 16;
const ITERATIONS: usize = 6;

/// The mean of vectors and the axes along which they vary most.
pub struct Principal {
    /// `[1, dims]`.
    mean: Tensor<2>,
    /// `[dims, components]`, orthonormal columns.
    axes: Tensor<2>,
}

impl Principal {
    /// The first `count` components of vectors of `dims` values, concatenated; fewer where the vectors have fewer.
    ///
    /// # Panics
    ///
    /// When there are no vectors.
    pub fn of(vectors: &[f32], dims: usize, count: usize, seed: u64) -> Principal {
        let len = vectors.len() / dims;
        assert!(len > 0, "components of no vectors");
        let device = Device::flex();
        let x = Tensor::<2>::from_data(TensorData::new(vectors.to_vec(), [len, dims]), &device);
        let mean = x.clone().mean_dim(0);
        let x = x - mean.clone();
        let directions = (count + BESIDE).min(dims).min(len);
        let draws = rng::normal(&mut rng::generator(seed, "principal", 0), dims * directions);
        let mut axes = orthonormal(&draws, [dims, directions], &device);
        for _ in 0..ITERATIONS {
            let along = product(x.clone(), axes);
            let moved = product(x.clone().transpose(), along);
            let moved: Vec<f32> = moved.into_data().iter::<f32>().collect();
            axes = orthonormal(&moved, [dims, directions], &device);
        }
        // The iteration orders the directions by variance, so the first ones are those to keep.
        let count = count.min(directions);
        Principal { mean, axes: axes.slice([0..dims, 0..count]) }
    }

    /// Components of a vector.
    pub fn count(&self) -> usize {
        self.axes.dims()[1]
    }

    /// The components of vectors, concatenated.
    ///
    /// # Panics
    ///
    /// When the vectors are of another length.
    pub fn project(&self, vectors: &[f32]) -> Vec<f32> {
        let dims = self.mean.dims()[1];
        let x = TensorData::new(vectors.to_vec(), [vectors.len() / dims, dims]);
        let x = Tensor::<2>::from_data(x, &Device::flex()) - self.mean.clone();
        product(x, self.axes.clone()).into_data().iter::<f32>().collect()
    }
}

fn product(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    linear(a, b, None, Activation::Identity)
}

/// The columns made orthonormal, from the first to the last, in f64 and twice, so that rounding leaves nothing between them. A column
/// that depends on those before it becomes zero.
fn orthonormal(values: &[f32], [rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
    let column = |c: usize| values.iter().skip(c).step_by(columns).map(|&x| f64::from(x)).collect();
    let mut done: Vec<Vec<f64>> = Vec::with_capacity(columns);
    for c in 0..columns {
        let mut own: Vec<f64> = column(c);
        let before = norm(&own);
        for _ in 0..2 {
            for other in &done {
                let along: f64 = own.iter().zip(other).map(|(x, y)| x * y).sum();
                own.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let length = norm(&own);
        let scale = if length > 1e-7 * before { 1.0 / length } else { 0.0 };
        own.iter_mut().for_each(|x| *x *= scale);
        done.push(own);
    }
    let values = (0..rows).flat_map(|r| done.iter().map(move |column| column[r] as f32)).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_the_axes_of_most_variance_in_their_order() {
        // Standard deviations 1, 8, 2, 4, 1, … along the coordinates, and a mean that is not zero.
        let (len, dims) = (3000, 40);
        let deviation = |d: usize| [1.0, 8.0, 2.0, 4.0].get(d).copied().unwrap_or(1.0);
        let draws = rng::normal(&mut rng::generator(5, "test", 0), len * dims);
        let x: Vec<f32> = draws.iter().enumerate().map(|(i, x)| 3.0 + x * deviation(i % dims)).collect();
        let found = Principal::of(&x, dims, 2, 0);
        assert_eq!(found.count(), 2);
        let projected = found.project(&x);
        for (component, coordinate) in [(0, 1), (1, 3)] {
            let pairs =
                projected.iter().skip(component).step_by(2).zip(x.iter().skip(coordinate).step_by(dims));
            let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
            for (&p, &x) in pairs {
                let x = x - 3.0;
                (xy, xx, yy) = (xy + p * x, xx + p * p, yy + x * x);
            }
            let correlation = xy / (xx * yy).sqrt();
            assert!(correlation.abs() > 0.99, "{component}: {correlation}");
        }
    }

    #[test]
    fn there_are_no_more_components_than_vectors_have() {
        assert_eq!(Principal::of(&[0.0, 0.0, 1.0, 1.0, 2.0, 2.0], 2, 5, 0).count(), 2);
    }
}
