//! The Fréchet distance of two sets of features (Heusel et al. 2017, arXiv:1706.08500, Eq. 6): that of normal distributions with
//! their means and covariances.

use crate::fitting::{factor, products, symmetric_eigenvalues};

/// Vectors whose products are added at once, which bounds the memory.
const BLOCK: usize = 4096;

/// Mean and covariance of a set of vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Number of vectors.
    pub count: usize,
    /// Their mean, `[dims]`.
    pub mean: Vec<f64>,
    /// Their covariance with divisor `count` − 1, `[dims, dims]`.
    pub covariance: Vec<f64>,
}

impl Moments {
    /// The moments of vectors of `dims` values, concatenated.
    ///
    /// # Panics
    ///
    /// When there are fewer than two vectors.
    pub fn of(vectors: &[f32], dims: usize) -> Moments {
        let count = vectors.len() / dims;
        assert!(count > 1, "a covariance needs two vectors");
        let mut mean = vec![0.0; dims];
        for vector in vectors.chunks_exact(dims) {
            mean.iter_mut().zip(vector).for_each(|(mean, &x)| *mean += f64::from(x));
        }
        mean.iter_mut().for_each(|mean| *mean /= count as f64);
        let mut covariance = vec![0.0; dims * dims];
        for block in vectors.chunks(BLOCK * dims) {
            // One row for each variable.
            let value = |d: usize| block.iter().skip(d).step_by(dims).map(move |&x| (d, f64::from(x)));
            let rows: Vec<f64> = (0..dims).flat_map(value).map(|(d, x)| x - mean[d]).collect();
            let sums = products(&rows, &rows, block.len() / dims);
            covariance.iter_mut().zip(sums).for_each(|(sum, more)| *sum += more);
        }
        covariance.iter_mut().for_each(|sum| *sum /= (count - 1) as f64);
        Moments { count, mean, covariance }
    }

    fn trace(&self) -> f64 {
        self.covariance.iter().step_by(self.mean.len() + 1).sum()
    }
}

/// `‖μ₁ − μ₂‖² + Tr(C₁ + C₂ − 2 (C₁ C₂)^½)`.
///
/// The trace of the root is the sum of the roots of the eigenvalues of `F C₂ Fᵀ` with `Fᵀ F = C₁`, which is symmetric: no root of a
/// matrix is taken, and covariances without full rank need no correction.
///
/// # Panics
///
/// When the vectors differ in length.
pub fn frechet_distance(a: &Moments, b: &Moments) -> f64 {
    let dims = a.mean.len();
    assert_eq!(dims, b.mean.len(), "vectors of one length");
    let means: f64 = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b).powi(2)).sum();
    let rows = factor(&a.covariance, dims);
    let product = products(&products(&rows, &b.covariance, dims), &rows, dims);
    let roots: f64 =
        symmetric_eigenvalues(&product, rows.len() / dims).iter().map(|value| value.max(0.0).sqrt()).sum();
    (means + a.trace() + b.trace() - 2.0 * roots).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    fn moments(mean: &[f64], covariance: &[f64]) -> Moments {
        Moments { count: 100, mean: mean.to_vec(), covariance: covariance.to_vec() }
    }

    #[test]
    fn a_shift_counts_squared() {
        let a = moments(&[0.0, 0.0], &[2.0, 0.5, 0.5, 1.0]);
        let b = moments(&[3.0, -4.0], &[2.0, 0.5, 0.5, 1.0]);
        assert!((frechet_distance(&a, &b) - 25.0).abs() < 1e-10);
        assert!(frechet_distance(&a, &a) < 1e-10);
    }

    #[test]
    fn normal_distributions_have_the_distance_of_the_closed_form() {
        // Covariances that commute: the sum of (σ₁ − σ₂)² along their common axes.
        let a = moments(&[0.0; 3], &[4.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 1.0]);
        let b = moments(&[1.0, 0.0, 0.0], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert!((frechet_distance(&a, &b) - (1.0 + 1.0 + 4.0 + 1.0)).abs() < 1e-10);
        assert!((frechet_distance(&b, &a) - 7.0).abs() < 1e-10);
        // Two that do not: Tr (C₁ C₂)^½ of 2×2 matrices is √(Tr C₁C₂ + 2 √det C₁C₂).
        let (a, b) = (moments(&[0.0; 2], &[2.0, 1.0, 1.0, 2.0]), moments(&[0.0; 2], &[3.0, 0.0, 0.0, 1.0]));
        let root = (8.0 + 2.0 * (3.0f64 * 3.0).sqrt()).sqrt();
        assert!((frechet_distance(&a, &b) - (4.0 + 4.0 - 2.0 * root)).abs() < 1e-10);
    }

    #[test]
    fn fewer_vectors_than_dimensions_are_no_special_case() {
        // Covariances of rank one: along (1, 1, 0, …) and along (1, −1, 0, …), which have nothing in common.
        let vectors = |sign: f32| [vec![1.0, sign, 0.0, 0.0], vec![-1.0, -sign, 0.0, 0.0]].concat();
        let [a, b] = [1.0, -1.0].map(|sign| Moments::of(&vectors(sign), 4));
        assert_eq!((a.trace(), &a.mean[..]), (4.0, &[0.0; 4][..]));
        assert!((frechet_distance(&a, &b) - 8.0).abs() < 1e-10);
        assert!(frechet_distance(&a, &a) < 1e-10);
    }

    #[test]
    fn moments_are_those_of_plain_sums() {
        let (count, dims) = (BLOCK + 3, 3);
        let vectors = rng::normal(&mut rng::generator(1, "test", 0), count * dims);
        let found = Moments::of(&vectors, dims);
        let column = |d: usize| vectors.iter().skip(d).step_by(dims).map(|&x| f64::from(x));
        let mean = |d: usize| column(d).sum::<f64>() / count as f64;
        for (i, j) in [(0, 0), (0, 2), (2, 1)] {
            let (mi, mj) = (mean(i), mean(j));
            let sum: f64 = column(i).zip(column(j)).map(|(x, y)| (x - mi) * (y - mj)).sum();
            assert!((found.covariance[i * dims + j] - sum / (count - 1) as f64).abs() < 1e-12);
        }
    }
}
