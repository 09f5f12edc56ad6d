//! Dot products and distances between many vectors. Products are computed in f32, everything else in f64.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_kernels::{Activation, linear};

/// Rows of a matrix of distances that are in memory at once.
const ROWS: usize = 256;

/// The dot products of each vector of `a` with each of `b`, row by row.
pub(super) fn dot_products(a: &[f32], b: &[f32], dims: usize) -> Vec<f32> {
    let device = Device::flex();
    let matrix =
        |x: &[f32]| Tensor::<2>::from_data(TensorData::new(x.to_vec(), [x.len() / dims, dims]), &device);
    let products = linear(matrix(a), matrix(b).transpose(), None, Activation::Identity);
    products.into_data().iter::<f32>().collect()
}

/// Vectors between which distances are measured, around the middle of some of them: far from it f32 would lose what is between them.
pub(super) struct Cloud {
    dims: usize,
    values: Vec<f32>,
    /// Squared lengths.
    norms: Vec<f64>,
}

impl Cloud {
    /// Sets of vectors around the mean of the first set.
    pub(super) fn around_first<const N: usize>(sets: [&[f32]; N], dims: usize) -> [Cloud; N] {
        let mut mean = vec![0.0; dims];
        for vector in sets[0].chunks_exact(dims) {
            mean.iter_mut().zip(vector).for_each(|(mean, &x)| *mean += f64::from(x));
        }
        let count = (sets[0].len() / dims).max(1) as f64;
        mean.iter_mut().for_each(|mean| *mean /= count);
        sets.map(|set| {
            let centred = |(i, &x): (usize, &f32)| (f64::from(x) - mean[i % dims]) as f32;
            let values: Vec<f32> = set.iter().enumerate().map(centred).collect();
            let norm = |vector: &[f32]| vector.iter().map(|&x| f64::from(x).powi(2)).sum();
            let norms = values.chunks_exact(dims).map(norm).collect();
            Cloud { dims, values, norms }
        })
    }

    /// Number of vectors.
    pub(super) fn len(&self) -> usize {
        self.norms.len()
    }

    /// Passes the number of each vector and its squared distances from all of `others` to `work`, in order. Memory is needed for some
    /// rows only.
    pub(super) fn each_distances(&self, others: &Cloud, mut work: impl FnMut(usize, &[f64])) {
        if others.len() == 0 {
            return;
        }
        for (block, values) in self.values.chunks(ROWS * self.dims).enumerate() {
            let products = dot_products(values, &others.values, self.dims);
            for (within, products) in products.chunks_exact(others.len()).enumerate() {
                let row = block * ROWS + within;
                let distance = |(product, norm): (&f32, &f64)| {
                    (self.norms[row] + norm - 2.0 * f64::from(*product)).max(0.0)
                };
                let distances: Vec<f64> = products.iter().zip(&others.norms).map(distance).collect();
                work(row, &distances);
            }
        }
    }

    /// The squared distance of each vector from its nearest in `others`.
    pub(super) fn nearest(&self, others: &Cloud) -> Vec<f64> {
        let mut nearest = Vec::with_capacity(self.len());
        self.each_distances(others, |_, distances| {
            nearest.push(distances.iter().copied().fold(f64::INFINITY, f64::min));
        });
        nearest
    }

    /// The squared distance of each vector from its `k`-th nearest other one, or from its farthest if there are fewer.
    pub(super) fn radii(&self, k: usize) -> Vec<f64> {
        let mut radii = Vec::with_capacity(self.len());
        self.each_distances(self, |row, distances| {
            let mut others = distances.to_vec();
            others.swap_remove(row);
            let place = k.min(others.len()).saturating_sub(1);
            let found = (!others.is_empty()).then(|| *others.select_nth_unstable_by(place, f64::total_cmp).1);
            radii.push(found.unwrap_or(0.0));
        });
        radii
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    #[test]
    fn distances_are_those_of_plain_loops_far_from_zero_too() {
        let (count, dims) = (ROWS + 9, 3);
        let draws = rng::normal(&mut rng::generator(1, "test", 0), 2 * count * dims);
        let all: Vec<f32> = draws.into_iter().map(|x| x + 500.0).collect();
        let (a, b) = all.split_at(count * dims);
        let [first, second] = Cloud::around_first([a, b], dims);
        let plain =
            |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum() };
        let mut rows = 0;
        first.each_distances(&second, |row, distances| {
            assert_eq!(row, rows);
            rows += 1;
            for (distance, y) in distances.iter().zip(b.chunks(dims)) {
                assert!((distance - plain(&a[row * dims..(row + 1) * dims], y)).abs() < 1e-3);
            }
        });
        assert_eq!(rows, count);
    }

    #[test]
    fn a_radius_reaches_to_the_kth_other() {
        let [cloud] = Cloud::around_first([&[0.0, 1.0, 3.0, 7.0]], 1);
        let close =
            |found: Vec<f64>, wanted: [f64; 4]| found.iter().zip(wanted).all(|(x, y)| (x - y).abs() < 1e-4);
        assert!(close(cloud.radii(1), [1.0, 1.0, 4.0, 16.0]));
        assert!(close(cloud.radii(2), [9.0, 4.0, 9.0, 36.0]));
        assert!(close(cloud.radii(9), [49.0, 36.0, 16.0, 49.0]));
        let [cloud, other] = Cloud::around_first([&[0.0, 4.0], &[1.0, 1.5]], 1);
        assert_eq!(cloud.nearest(&other).len(), 2);
        assert!((cloud.nearest(&other)[1] - 6.25).abs() < 1e-4);
    }
}
