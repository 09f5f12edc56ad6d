//! Eigenvalues and eigenvectors of symmetric matrices: Householder reduction to a tridiagonal matrix, then implicit QL steps
//! (Bowdler, Martin, Reinsch and Wilkinson 1968).

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
    let mut tridiagonal = Tridiagonal::of(matrix, size);
    tridiagonal.diagonalise();
    let Tridiagonal { diagonal, rows, .. } = tridiagonal;
    let mut pairs: Vec<(f64, Vec<f64>)> = diagonal.into_iter().zip(rows.into_iter().map(signed)).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (values, vectors) = pairs.into_iter().unzip();
    Eigen { values, vectors }
}

/// A vector with the sign that makes its value of largest magnitude positive, so that directions do not depend on rounding.
fn signed(vector: Vec<f64>) -> Vec<f64> {
    let largest =
        vector.iter().fold(0.0_f64, |best, &value| if value.abs() > best.abs() { value } else { best });
    if largest < 0.0 { vector.iter().map(|value| -value).collect() } else { vector }
}

/// A tridiagonal matrix T and an orthogonal one: the matrix is Rᵀ T R.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// `below[i]` is T's value in row i + 1 and column i; one more than there are.
    below: Vec<f64>,
    /// R, by rows.
    rows: Vec<Vec<f64>>,
}

impl Tridiagonal {
    fn of(matrix: &[f64], size: usize) -> Tridiagonal {
        let mut a: Vec<Vec<f64>> = matrix.chunks(size.max(1)).map(<[f64]>::to_vec).collect();
        // Both triangles are read below.
        for row in 0..size {
            for column in 0..row {
                a[column][row] = a[row][column];
            }
        }
        let mut reflections = Vec::new();
        for k in 0..size.saturating_sub(2) {
            let column: Vec<f64> = (k + 1..size).map(|row| a[row][k]).collect();
            if let Some((v, first)) = reflection(&column) {
                reflect_both_sides(&mut a, k + 1, &v);
                (a[k + 1][k], a[k][k + 1]) = (first, first);
                reflections.push((k + 1, v));
            }
        }
        let mut rows = vec![vec![0.0; size]; size];
        rows.iter_mut().enumerate().for_each(|(i, row)| row[i] = 1.0);
        for (first, v) in reflections.iter().rev() {
            for row in &mut rows {
                let along = 2.0 * dot(&row[*first..], v);
                row[*first..].iter_mut().zip(v).for_each(|(value, v)| *value -= along * v);
            }
        }
        Tridiagonal {
            diagonal: (0..size).map(|i| a[i][i]).collect(),
            below: (0..size).map(|i| if i + 1 < size { a[i + 1][i] } else { 0.0 }).collect(),
            rows,
        }
    }

    /// Makes T diagonal by rotations of neighbouring rows, which turns the rows of R into eigenvectors.
    fn diagonalise(&mut self) {
        for start in 0..self.diagonal.len() {
            loop {
                let end = self.end_of_block(start);
                if end == start {
                    break;
                }
                self.step(start, end);
            }
        }
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
        let Tridiagonal { diagonal: d, below: e, rows } = self;
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
            let (upper, lower) = rows.split_at_mut(i + 1);
            for (x, y) in upper[i].iter_mut().zip(&mut lower[0]) {
                (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
            }
        }
        d[start] -= shift;
        e[start] = g;
        e[end] = 0.0;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
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

/// Replaces A by H A H with H = 1 − 2 v vᵀ, in the rows and columns from `first` on.
fn reflect_both_sides(a: &mut [Vec<f64>], first: usize, v: &[f64]) {
    let mut w: Vec<f64> = a[first..].iter().map(|row| 2.0 * dot(&row[first..], v)).collect();
    let half = dot(&w, v);
    w.iter_mut().zip(v).for_each(|(w, v)| *w -= half * v);
    for ((row, &v_row), &w_row) in a[first..].iter_mut().zip(v).zip(&w) {
        for ((value, v), w) in row[first..].iter_mut().zip(v).zip(&w) {
            *value -= v_row * w + w_row * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
