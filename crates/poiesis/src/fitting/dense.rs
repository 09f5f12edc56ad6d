//! Dense linear algebra in f64 for covariances: products of matrices, and a factor of a covariance. Matrices are row-major.
//!
//! The work is split by rows, each of which is summed in a fixed order, so the results do not depend on the number of threads.

use rayon::prelude::*;

/// Rows of the left matrix that are multiplied at once.
const ROWS: usize = 4;
/// Partial sums of a dot product.
const LANES: usize = 4;
/// Fewest values that are worth another thread.
pub(super) const PIECE: usize = 64;

/// `a bᵀ`: the dot products of the rows of `a` with those of `b`, as many rows as `a` has and as many columns as `b` has rows.
///
/// # Panics
///
/// When the rows, of `len` values each, do not make up the matrices.
pub fn products(a: &[f64], b: &[f64], len: usize) -> Vec<f64> {
    assert!(len > 0 && a.len().is_multiple_of(len) && b.len().is_multiple_of(len), "rows of {len} values");
    let columns = b.len() / len;
    let mut result = vec![0.0; a.len() / len * columns];
    if columns == 0 {
        return result;
    }
    let blocks = result.par_chunks_mut(ROWS * columns).zip(a.par_chunks(ROWS * len));
    blocks.for_each(|(result, a)| {
        // The last block may have fewer rows: the others repeat the first.
        let rows: [&[f64]; ROWS] = std::array::from_fn(|r| a.chunks_exact(len).nth(r).unwrap_or(&a[..len]));
        for (column, b) in b.chunks_exact(len).enumerate() {
            let sums = dots(rows, b);
            result.chunks_exact_mut(columns).zip(sums).for_each(|(row, sum)| row[column] = sum);
        }
    });
    result
}

/// The dot products of several rows with one.
fn dots(rows: [&[f64]; ROWS], b: &[f64]) -> [f64; ROWS] {
    let mut sums = [[0.0; LANES]; ROWS];
    let whole = b.len() / LANES * LANES;
    let mut at = 0;
    while at < whole {
        let b = &b[at..at + LANES];
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let row = &row[at..at + LANES];
            for lane in 0..LANES {
                sums[lane] += row[lane] * b[lane];
            }
        }
        at += LANES;
    }
    let rest = |row: &[f64]| row[whole..].iter().zip(&b[whole..]).map(|(x, y)| x * y).sum::<f64>();
    std::array::from_fn(|r| sums[r].iter().sum::<f64>() + rest(rows[r]))
}

/// The dot product of two rows.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    dots([a; ROWS], b)[0]
}

/// Rows `F`, as many as the rank of the covariance `c` of `n` variables, with `Fᵀ F = c`: Cholesky's method, which takes the
/// variable with the most variance left next and stops where none is left but rounding errors (Higham 1990).
///
/// # Panics
///
/// When `c` is not `[n, n]`.
pub fn factor(c: &[f64], n: usize) -> Vec<f64> {
    assert_eq!(c.len(), n * n, "a covariance of {n} variables");
    let mut left: Vec<f64> = (0..n).map(|i| c[i * n + i]).collect();
    let largest = left.iter().copied().fold(0.0, f64::max);
    let negligible = largest * f64::EPSILON * n as f64;
    let mut rows: Vec<f64> = Vec::new();
    for rank in 0..n {
        let pivot = (0..n).fold(0, |best, i| if left[i] > left[best] { i } else { best });
        if left[pivot] <= negligible {
            break;
        }
        let scale = left[pivot].sqrt();
        let mut row = c[pivot * n..(pivot + 1) * n].to_vec();
        row.par_chunks_mut(PIECE).enumerate().for_each(|(piece, row)| {
            let first = piece * PIECE;
            for earlier in rows.chunks_exact(n) {
                let weight = earlier[pivot];
                row.iter_mut().zip(&earlier[first..]).for_each(|(x, y)| *x -= weight * y);
            }
            row.iter_mut().for_each(|x| *x /= scale);
        });
        left.iter_mut().zip(&row).for_each(|(left, x)| *left -= x * x);
        left[pivot] = 0.0;
        debug_assert_eq!(rows.len(), rank * n);
        rows.extend(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    fn random(rows: usize, len: usize, seed: u64) -> Vec<f64> {
        rng::normal(&mut rng::generator(seed, "test", 0), rows * len).into_iter().map(f64::from).collect()
    }

    fn transposed(a: &[f64], len: usize) -> Vec<f64> {
        (0..len).flat_map(|j| a.iter().skip(j).step_by(len)).copied().collect()
    }

    #[test]
    fn products_are_those_of_plain_loops() {
        for (rows, columns, len) in [(1, 1, 1), (5, 3, 7), (9, 4, 16)] {
            let (a, b) = (random(rows, len, 1), random(columns, len, 2));
            let found = products(&a, &b, len);
            for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let plain: f64 = (0..len).map(|k| a[i * len + k] * b[j * len + k]).sum();
                assert!((found[i * columns + j] - plain).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_factor_has_the_rank_of_its_covariance_and_gives_it_back() {
        let (n, rank) = (12, 5);
        let b = random(n, rank, 4);
        let covariance = products(&b, &b, rank);
        let rows = factor(&covariance, n);
        assert_eq!(rows.len(), rank * n);
        let columns = transposed(&rows, n);
        let again = products(&columns, &columns, rank);
        assert!(again.iter().zip(&covariance).all(|(x, y)| (x - y).abs() < 1e-12));
        assert!(factor(&[0.0; 4], 2).is_empty());
    }
}
