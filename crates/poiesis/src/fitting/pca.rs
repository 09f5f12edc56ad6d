//! Principal components: the directions in which vectors vary most.

use burn::tensor::{Device, Tensor, TensorData};

use super::eigen::symmetric_eigen;
use super::rows::Rows;
use crate::rng;

/// Up to so many values, the covariance is diagonalised exactly; with more, the subspace of the first components is iterated.
const EXACT: usize = 512;
/// Directions more than asked for, and iterations, of the iterated subspace (Halko, Martinsson and Tropp 2011, arXiv:0909.4061).
const SPARE: usize = 10;
const ITERATIONS: usize = 8;

/// The principal components of vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// The mean vector.
    pub means: Vec<f64>,
    /// The components by falling variance, each of length 1.
    pub components: Vec<Vec<f64>>,
    /// The variance along each component.
    pub variances: Vec<f64>,
    /// The variance along all directions.
    pub total_variance: f64,
}

impl Pca {
    /// The first `count` components of `rows`, or as many as there can be.
    ///
    /// # Panics
    ///
    /// When there are no rows.
    pub fn fit(rows: &Rows, count: usize) -> Pca {
        let means = rows.means();
        let total_variance = rows.variances(&means).iter().sum();
        let count = count.min(rows.dims()).min(rows.len());
        let centred = centred(rows, &means);
        let (variances, components) = if rows.dims() <= EXACT {
            let eigen = symmetric_eigen(&products(&centred, rows.len()), rows.dims());
            (eigen.values, eigen.vectors)
        } else {
            iterated(&centred, rows.len(), rows.dims(), count)
        };
        let variances = variances.into_iter().take(count).map(|variance| variance.max(0.0)).collect();
        Pca { means, components: components.into_iter().take(count).collect(), variances, total_variance }
    }

    /// The coordinates of rows along the components.
    ///
    /// # Panics
    ///
    /// When the rows are not as long as those it was fitted to.
    pub fn project(&self, rows: &Rows) -> Rows {
        assert_eq!(rows.dims(), self.means.len(), "rows of another length");
        let columns = columns(&self.components);
        Rows::of_tensor(centred(rows, &self.means).matmul(columns))
    }
}

/// The rows without their mean, `[rows, values]`.
fn centred(rows: &Rows, means: &[f64]) -> Tensor<2> {
    let values =
        rows.iter().flat_map(|row| row.iter().zip(means).map(|(&x, mean)| (f64::from(x) - mean) as f32));
    tensor(values.collect(), [rows.len(), rows.dims()])
}

fn tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Vectors as the columns of a tensor.
fn columns(vectors: &[Vec<f64>]) -> Tensor<2> {
    let values: Vec<f32> = vectors.iter().flatten().map(|&value| value as f32).collect();
    tensor(values, [vectors.len(), vectors.first().map_or(0, Vec::len)]).transpose()
}

/// XᵀX / rows, row by row.
fn products(x: &Tensor<2>, rows: usize) -> Vec<f64> {
    let sums = x.clone().transpose().matmul(x.clone());
    sums.into_data().iter::<f64>().map(|sum| sum / rows as f64).collect()
}

/// Variances and components of centred rows from a subspace that is multiplied by their covariance again and again.
fn iterated(x: &Tensor<2>, rows: usize, dims: usize, count: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let width = (count + SPARE).min(dims).min(rows);
    let noise = rng::normal(&mut rng::generator(0, "subspace", 0), dims * width);
    let mut basis: Vec<Vec<f64>> =
        noise.chunks(dims).map(|chunk| chunk.iter().map(|&value| f64::from(value)).collect()).collect();
    orthonormalise(&mut basis);
    for _ in 0..ITERATIONS {
        let moved = x.clone().transpose().matmul(x.clone().matmul(columns(&basis)));
        let moved: Vec<f64> = moved.transpose().into_data().iter::<f64>().collect();
        basis = moved.chunks(dims).map(<[f64]>::to_vec).collect();
        orthonormalise(&mut basis);
    }
    // Within the subspace the covariance is small.
    let inside = x.clone().matmul(columns(&basis));
    let eigen = symmetric_eigen(&products(&inside, rows), basis.len());
    let component = |weights: &Vec<f64>| {
        let mut sum = vec![0.0; dims];
        for (weight, vector) in weights.iter().zip(&basis) {
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value);
        }
        sum
    };
    let components = eigen.vectors.iter().map(component).collect();
    (eigen.values, components)
}

/// Makes vectors orthonormal one after another (modified Gram–Schmidt, twice). One that depends on those before it becomes 0.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    for at in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(at);
        let vector = &mut rest[0];
        let full = norm(vector);
        for _ in 0..2 {
            for other in &*before {
                let along: f64 = other.iter().zip(&*vector).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
        }
        let left = norm(vector);
        let factor = if left > 1e-10 * full { 1.0 / left } else { 0.0 };
        vector.iter_mut().for_each(|value| *value *= factor);
    }
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_components_of_a_known_covariance_are_found() {
        // Four points: variance 4 along (3, 4) / 5 and 1 across it, around (10, 20).
        let (along, across) = ([0.6, 0.8], [-0.8, 0.6]);
        let point =
            |a: f64, b: f64| [0, 1].map(|i| (10.0 * (i + 1) as f64 + a * along[i] + b * across[i]) as f32);
        let root = 2.0_f64.sqrt();
        let points = [point(2.0 * root, 0.0), point(-2.0 * root, 0.0), point(0.0, root), point(0.0, -root)];
        let rows = Rows::new(points.concat(), 2);
        let found = Pca::fit(&rows, 2);
        assert!((found.variances[0] - 4.0).abs() < 1e-4 && (found.variances[1] - 1.0).abs() < 1e-4);
        assert!((found.total_variance - 5.0).abs() < 1e-4);
        assert!((found.components[0][0] - 0.6).abs() < 1e-5 && (found.components[0][1] - 0.8).abs() < 1e-5);
        assert!((f64::from(found.project(&rows).row(0)[0]) - 2.0 * root).abs() < 1e-4);
        assert_eq!(Pca::fit(&rows, 9).components.len(), 2);
    }

    #[test]
    fn many_values_have_the_same_first_components_by_iteration() {
        // Three directions of falling variance in 600 dimensions, and little noise.
        let (count, dims) = (200, 600);
        let draw = |purpose, len| rng::normal(&mut rng::generator(5, purpose, 0), len);
        let (noise, weights) = (draw("noise", count * dims), draw("weights", count * 3));
        let value = |i: usize, d: usize| {
            let planted = if d < 3 { [9.0, 6.0, 3.0][d] * weights[3 * i + d] } else { 0.0 };
            planted + 0.01 * noise[i * dims + d]
        };
        let rows = Rows::new((0..count * dims).map(|at| value(at / dims, at % dims)).collect(), dims);
        let found = Pca::fit(&rows, 3);
        let means = rows.means();
        let exact = symmetric_eigen(&products(&centred(&rows, &means), count), dims);
        for k in 0..3 {
            assert!((found.variances[k] / exact.values[k] - 1.0).abs() < 1e-4);
            let along: f64 = found.components[k].iter().zip(&exact.vectors[k]).map(|(a, b)| a * b).sum();
            assert!(along.abs() > 0.9999, "{k}: {along}");
        }
    }
}
