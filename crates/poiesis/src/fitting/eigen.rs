//! Eigenvalues and eigenvectors of symmetric matrices: Householder reduction to a tridiagonal matrix, then implicit QL steps
//! (Bowdler, Martin, Reinsch and Wilkinson 1968).
//!
//! The reduction is split by rows, each of which is summed in a fixed order, so the results do not depend on the number of threads.

use rayon::prelude::*;

use super::dense::{PIECE, dot};

/// Eigenvalues and eigenvectors, the largest eigenvalue first.
#[derive(Clone, Debug, PartialEq)]
pub struct Eigen {
    /// The eigenvalues, in descending order.
    pub values: Vec<f64>,
    /// For each eigenvalue its eigenvector of length 1, whose value of largest magnitude is positive.
    pub vectors: Vec<Vec<f64>>,
}

/// The eigenvalues and eigenvectors of a symmetric matrix, given row by row. Only values on and below the diagonal are read.
///
/// # Panics
///
/// When the number of values is not `size` · `size`, or a value is not finite.
pub fn symmetric_eigen(matrix: &[f64], size: usize) -> Eigen {
    assert_eq!(matrix.len(), size * size, "a matrix of {size} rows and columns");
    assert!(matrix.iter().all(|value| value.is_finite()), "a matrix of finite values");
    let Tridiagonal { diagonal, rows, .. } = Tridiagonal::of(matrix, size).with_rows().diagonalised();
    let mut pairs: Vec<(f64, Vec<f64>)> = diagonal.into_iter().zip(rows.into_iter().map(signed)).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (values, vectors) = pairs.into_iter().unzip();
    Eigen { values, vectors }
}

/// The eigenvalues of a symmetric matrix, given row by row, in ascending order: much faster than with the eigenvectors.
///
/// # Panics
///
/// As [`symmetric_eigen`].
pub fn symmetric_eigenvalues(matrix: &[f64], size: usize) -> Vec<f64> {
    assert_eq!(matrix.len(), size * size, "a matrix of {size} rows and columns");
    assert!(matrix.iter().all(|value| value.is_finite()), "a matrix of finite values");
    let mut values = Tridiagonal::of(matrix, size).diagonalised().diagonal;
    values.sort_by(f64::total_cmp);
    values
}

/// A vector with the sign that makes its value of largest magnitude positive, so that directions do not depend on rounding.
fn signed(vector: Vec<f64>) -> Vec<f64> {
    let largest =
        vector.iter().fold(0.0_f64, |best, &value| if value.abs() > best.abs() { value } else { best });
    if largest < 0.0 { vector.iter().map(|value| -value).collect() } else { vector }
}

/// A tridiagonal matrix T and, if wanted, an orthogonal one: the matrix is Rᵀ T R.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// `below[i]` is T's value in row i + 1 and column i; one more than there are.
    below: Vec<f64>,
    /// The reflections that made T, each with the first row it changes.
    reflections: Vec<(usize, Vec<f64>)>,
    /// R, by rows; empty where eigenvectors are not wanted.
    rows: Vec<Vec<f64>>,
}

impl Tridiagonal {
    fn of(matrix: &[f64], size: usize) -> Tridiagonal {
        // Both triangles are read below.
        let value = |at: usize| {
            let (row, column) = (at / size, at % size);
            matrix[row.max(column) * size + row.min(column)]
        };
        let mut a: Vec<f64> = (0..size * size).map(value).collect();
        let mut below = vec![0.0; size];
        let mut reflections = Vec::new();
        for k in 0..size.saturating_sub(1) {
            let column = &a[k * size + k + 1..(k + 1) * size];
            below[k] = column[0];
            if let Some((v, first)) = reflection(column) {
                reflect_both_sides(&mut a, size, k + 1, &v);
                below[k] = first;
                reflections.push((k + 1, v));
            }
        }
        let diagonal = (0..size).map(|i| a[i * size + i]).collect();
        Tridiagonal { diagonal, below, reflections, rows: Vec::new() }
    }

    /// With R, for eigenvectors.
    fn with_rows(self) -> Tridiagonal {
        let size = self.diagonal.len();
        let mut rows = vec![vec![0.0; size]; size];
        rows.iter_mut().enumerate().for_each(|(i, row)| row[i] = 1.0);
        for (first, v) in self.reflections.iter().rev() {
            for row in &mut rows {
                let along = 2.0 * dot(&row[*first..], v);
                row[*first..].iter_mut().zip(v).for_each(|(value, v)| *value -= along * v);
            }
        }
        Tridiagonal { rows, ..self }
    }

    /// Makes T diagonal by rotations of neighbouring rows, which turns the rows of R into eigenvectors.
    fn diagonalised(mut self) -> Tridiagonal {
        for start in 0..self.diagonal.len() {
            loop {
                let end = self.end_of_block(start);
                if end == start {
                    break;
                }
                self.step(start, end);
            }
        }
        self
    }

    /// The last row of the block that begins at `start`: the value below its diagonal is negligible.
    fn end_of_block(&self, start: usize) -> usize {
        let last = self.diagonal.len() - 1;
        let negligible = |&i: &usize| {
            let scale = self.diagonal[i].abs() + self.diagonal[i + 1].abs();
            self.below[i].abs() <= f64::EPSILON * scale
        };
        (start..last).find(negligible).unwrap_or(last)
    }

    /// One implicit QL step with Wilkinson's shift on the block from `start` to `end`.
    fn step(&mut self, start: usize, end: usize) {
        let Tridiagonal { diagonal: d, below: e, rows, .. } = self;
        let slope = (d[start + 1] - d[start]) / (2.0 * e[start]);
        let mut g = d[end] - d[start] + e[start] / (slope + slope.hypot(1.0).copysign(slope));
        let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
        for i in (start..end).rev() {
            let (f, b) = (sine * e[i], cosine * e[i]);
            let length = f.hypot(g);
            e[i + 1] = length;
            if length == 0.0 {
                // The block falls apart here, so the rest is another step.
                d[i + 1] -= shift;
                e[end] = 0.0;
                return;
            }
            (sine, cosine) = (f / length, g / length);
            g = d[i + 1] - shift;
            let mixed = (d[i] - g) * sine + 2.0 * cosine * b;
            shift = sine * mixed;
            d[i + 1] = g + shift;
            g = cosine * mixed - b;
            if let [x, y] = rows.get_mut(i..i + 2).unwrap_or_default() {
                for (x, y) in x.iter_mut().zip(y) {
                    (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                }
            }
        }
        d[start] -= shift;
        e[start] = g;
        e[end] = 0.0;
    }
}

/// The unit vector v for which x − 2 v (v·x) is zero but for its first value, and that value; `None` when x is that already.
fn reflection(x: &[f64]) -> Option<(Vec<f64>, f64)> {
    if x[1..].iter().all(|&value| value == 0.0) {
        return None;
    }
    let scale = x.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let length = scale * x.iter().map(|value| (value / scale).powi(2)).sum::<f64>().sqrt();
    let first = -length.copysign(x[0]);
    let mut v: Vec<f64> = x.iter().map(|value| value / scale).collect();
    v[0] -= first / scale;
    let norm = dot(&v, &v).sqrt();
    v.iter_mut().for_each(|value| *value /= norm);
    Some((v, first))
}

/// Replaces A, of rows of `size` values, by H A H with H = 1 − 2 v vᵀ, in the rows and columns from `first` on.
fn reflect_both_sides(a: &mut [f64], size: usize, first: usize, v: &[f64]) {
    let rest = &mut a[first * size..];
    let mut w: Vec<f64> =
        rest.par_chunks(size).with_min_len(PIECE).map(|row| 2.0 * dot(&row[first..], v)).collect();
    let half = dot(&w, v);
    w.iter_mut().zip(v).for_each(|(w, v)| *w -= half * v);
    rest.par_chunks_mut(size).with_min_len(PIECE).enumerate().for_each(|(i, row)| {
        for ((value, v_column), w_column) in row[first..].iter_mut().zip(v).zip(&w) {
            *value -= v[i] * w_column + w[i] * v_column;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fitting::dense::products;
    use crate::rng;

    #[test]
    fn a_small_matrix_has_the_eigenvalues_of_its_characteristic_polynomial() {
        // (2 − λ)² − 1 = 0.
        let found = symmetric_eigen(&[2.0, 1.0, 1.0, 2.0], 2);
        assert!((found.values[0] - 3.0).abs() < 1e-14 && (found.values[1] - 1.0).abs() < 1e-14);
        let half = 0.5_f64.sqrt();
        assert!((found.vectors[0][0] - half).abs() < 1e-14 && (found.vectors[0][1] - half).abs() < 1e-14);
        assert_eq!(symmetric_eigen(&[5.0], 1), Eigen { values: vec![5.0], vectors: vec![vec![1.0]] });
        assert!(symmetric_eigen(&[], 0).values.is_empty());
    }

    #[test]
    fn the_second_difference_has_its_known_spectrum() {
        // 2 on the diagonal and −1 beside it: 2 − 2 cos(k π / (n + 1)).
        let n = 40;
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            matrix[i * n + i] = 2.0;
            if i > 0 {
                (matrix[i * n + i - 1], matrix[(i - 1) * n + i]) = (-1.0, -1.0);
            }
        }
        let found = symmetric_eigen(&matrix, n);
        for (k, value) in found.values.iter().rev().enumerate() {
            let known = 2.0 - 2.0 * ((k + 1) as f64 * std::f64::consts::PI / (n + 1) as f64).cos();
            assert!((value - known).abs() < 1e-12, "{k}: {value} {known}");
        }
    }

    #[test]
    fn eigenvectors_are_orthonormal_and_make_the_matrix_again() {
        let n = 60;
        let draws = rng::normal(&mut rng::generator(4, "test", 0), n * n);
        let value = |i: usize, j: usize| f64::from(draws[i.max(j) * n + i.min(j)]);
        let mut matrix: Vec<f64> = (0..n * n).map(|at| value(at / n, at % n)).collect();
        // A row and a column of zeros, and two equal eigenvalues, are no trouble.
        (0..n).for_each(|i| (matrix[i * n + 7], matrix[7 * n + i]) = (0.0, 0.0));
        let Eigen { values, vectors } = symmetric_eigen(&matrix, n);
        assert!(values.is_sorted_by(|a, b| a >= b));
        for i in 0..n {
            for j in 0..n {
                let expected = f64::from(u8::from(i == j));
                assert!((dot(&vectors[i], &vectors[j]) - expected).abs() < 1e-12);
                let again: f64 = (0..n).map(|k| values[k] * vectors[k][i] * vectors[k][j]).sum();
                assert!((again - matrix[i * n + j]).abs() < 1e-11);
            }
        }
    }

    #[test]
    fn eigenvalues_of_known_matrices_are_found() {
        // A path of n springs: 2 − 2 cos(k π / (n + 1)).
        let n = 20;
        let mut springs = vec![0.0; n * n];
        for i in 0..n {
            springs[i * n + i] = 2.0;
            if i + 1 < n {
                springs[i * n + i + 1] = -1.0;
                springs[(i + 1) * n + i] = -1.0;
            }
        }
        let found = symmetric_eigenvalues(&springs, n);
        for (k, value) in found.iter().enumerate() {
            let known = 2.0 - 2.0 * (std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64).cos();
            assert!((value - known).abs() < 1e-12, "{value} {known}");
        }
        assert_eq!(symmetric_eigenvalues(&[3.0, 0.0, 0.0, -1.0], 2), [-1.0, 3.0]);
        assert_eq!(symmetric_eigenvalues(&[0.0; 9], 3), [0.0; 3]);
        assert!(symmetric_eigenvalues(&[], 0).is_empty());
    }

    #[test]
    fn eigenvalues_of_a_full_matrix_have_its_trace_and_its_norm() {
        let n = 70;
        let draws = rng::normal(&mut rng::generator(3, "test", 0), n * n);
        let a: Vec<f64> = draws.into_iter().map(f64::from).collect();
        let symmetric = products(&a, &a, n);
        let trace: f64 = (0..n).map(|i| symmetric[i * n + i]).sum();
        let norm: f64 = symmetric.iter().map(|x| x * x).sum();
        let found = symmetric_eigenvalues(&symmetric, n);
        assert!((found.iter().sum::<f64>() / trace - 1.0).abs() < 1e-12);
        assert!((found.iter().map(|x| x * x).sum::<f64>() / norm - 1.0).abs() < 1e-12);
        assert!(found[0] > -1e-9 && found.is_sorted());
    }
}
