//! Conjugate gradients (Hestenes and Stiefel 1952).

/// Residuals below this part of the right side end the iterations.
const TOLERANCE: f64 = 1e-10;

/// The solution of A x = b after some iterations from zero, for a symmetric positive definite A that is known by its products.
///
/// The error falls with each iteration; with as many as `b` has numbers, rounding alone is left of it.
pub fn conjugate_gradient(product: impl Fn(&[f64]) -> Vec<f64>, b: &[f64], iterations: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut x = vec![0.0; b.len()];
    let (mut residual, mut direction) = (b.to_vec(), b.to_vec());
    let first = dot(b, b);
    let mut squares = first;
    for _ in 0..iterations {
        if squares <= first * TOLERANCE * TOLERANCE {
            break;
        }
        let image = product(&direction);
        let curvature = dot(&direction, &image);
        if curvature.is_nan() || curvature <= 0.0 {
            // A is singular, but for rounding: no more can be found along this direction.
            break;
        }
        let alpha = squares / curvature;
        x.iter_mut().zip(&direction).for_each(|(x, d)| *x += alpha * d);
        residual.iter_mut().zip(&image).for_each(|(r, i)| *r -= alpha * i);
        let after = dot(&residual, &residual);
        let beta = after / squares;
        direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + beta * *d);
        squares = after;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::baseline::solve;

    const SIZE: usize = 12;

    /// B Bᵀ + I for a matrix B without order in it.
    fn matrix() -> Vec<f64> {
        let b = |i: usize, j: usize| ((i * 31 + j * 17 + 5) % 23) as f64 / 23.0 - 0.5;
        let entry =
            |i: usize, j: usize| (0..SIZE).map(|k| b(i, k) * b(j, k)).sum::<f64>() + f64::from(i == j);
        (0..SIZE * SIZE).map(|at| entry(at / SIZE, at % SIZE)).collect()
    }

    #[test]
    fn the_solution_is_that_of_a_dense_solver() {
        let a = matrix();
        let product =
            |v: &[f64]| a.chunks_exact(SIZE).map(|row| row.iter().zip(v).map(|(a, v)| a * v).sum()).collect();
        let b: Vec<f64> = (0..SIZE).map(|i| (i as f64 * 1.3).sin()).collect();
        let dense = solve(a.clone(), SIZE, &b).unwrap();
        let error = |x: &[f64]| x.iter().zip(&dense).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let exact = conjugate_gradient(product, &b, SIZE + 2);
        assert!(error(&exact) < 1e-9, "{exact:?} {dense:?}");
        assert!(error(&conjugate_gradient(product, &b, 4)) < error(&conjugate_gradient(product, &b, 1)));
    }

    #[test]
    fn nothing_is_divided_by_a_residual_of_zero() {
        assert_eq!(conjugate_gradient(<[f64]>::to_vec, &[0.0; 3], 10), [0.0; 3]);
    }

    #[test]
    fn nothing_is_divided_by_a_curvature_of_zero() {
        // The matrix diag(1, 0), which gives nothing along the second axis.
        assert_eq!(conjugate_gradient(|v| vec![v[0], 0.0], &[0.0, 1.0], 10), [0.0; 2]);
    }
}
