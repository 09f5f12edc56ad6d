//! Dense linear algebra in f64 for covariances: products of matrices, a factor of a covariance, eigenvalues. Matrices are row-major.
//!
//! The work is split by rows, each of which is summed in a fixed order, so the results do not depend on the number of threads.

use rayon::prelude::*;

/// Rows of the left matrix that are multiplied at once.
const ROWS: usize = 4;
/// Partial sums of a dot product.
const LANES: usize = 4;
/// Fewest values that are worth another thread.
const PIECE: usize = 64;

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

fn dot(a: &[f64], b: &[f64]) -> f64 {
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

/// The eigenvalues of a symmetric matrix, ascending: Householder's reduction to three diagonals, then implicit QL steps (Golub and
/// Van Loan 2013, §8.3).
///
/// # Panics
///
/// When `a` is not `[n, n]`.
pub fn eigenvalues(a: Vec<f64>, n: usize) -> Vec<f64> {
    assert_eq!(a.len(), n * n, "a symmetric matrix of {n} rows");
    let (diagonal, beside) = tridiagonal(a, n);
    let mut values = implicit_ql(diagonal, beside);
    values.sort_by(f64::total_cmp);
    values
}

/// The diagonal and the values beside it of a matrix with three diagonals and the same eigenvalues.
fn tridiagonal(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut diagonal, mut beside) = (vec![0.0; n], vec![0.0; n]);
    for k in 0..n {
        diagonal[k] = a[k * n + k];
        if k + 1 == n {
            break;
        }
        // Reflect the rest of the row onto its first axis.
        let mut u = a[k * n + k + 1..(k + 1) * n].to_vec();
        let norm = dot(&u, &u).sqrt();
        let alpha = if u[0] > 0.0 { -norm } else { norm };
        beside[k] = alpha;
        u[0] -= alpha;
        let half = dot(&u, &u) / 2.0;
        if half <= f64::MIN_POSITIVE || u[1..].iter().all(|x| *x == 0.0) {
            beside[k] = u[0] + alpha;
            continue;
        }
        let (_, rest) = a.split_at_mut((k + 1) * n);
        let mut q: Vec<f64> =
            rest.par_chunks(n).with_min_len(PIECE).map(|row| dot(&row[k + 1..], &u) / half).collect();
        let along = dot(&u, &q) / (2.0 * half);
        q.iter_mut().zip(&u).for_each(|(q, u)| *q -= along * u);
        rest.par_chunks_mut(n).with_min_len(PIECE).enumerate().for_each(|(i, row)| {
            let (ui, qi) = (u[i], q[i]);
            let row = row[k + 1..].iter_mut();
            row.zip(u.iter().zip(&q)).for_each(|(x, (u, q))| *x -= ui * q + qi * u);
        });
    }
    (diagonal, beside)
}

/// The eigenvalues of a symmetric matrix of three diagonals; `e[i]` is between `d[i]` and `d[i + 1]`.
fn implicit_ql(mut d: Vec<f64>, mut e: Vec<f64>) -> Vec<f64> {
    /// Far more steps than a value needs; what is left then is rounding.
    const STEPS: usize = 100;
    let n = d.len();
    for l in 0..n {
        for _ in 0..STEPS {
            let split = (l..n - 1).find(|&m| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs()));
            let m = split.unwrap_or(n - 1);
            if m == l {
                break;
            }
            let mut g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let r = g.hypot(1.0);
            g = d[m] - d[l] + e[l] / (g + r.copysign(g));
            let (mut sine, mut cosine, mut p) = (1.0, 1.0, 0.0);
            let mut vanished = false;
            for i in (l..m).rev() {
                let (f, b) = (sine * e[i], cosine * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    vanished = true;
                    break;
                }
                (sine, cosine) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * sine + 2.0 * cosine * b;
                p = sine * r;
                d[i + 1] = g + p;
                g = cosine * r - b;
            }
            if !vanished {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    d
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
        let found = eigenvalues(springs, n);
        for (k, value) in found.iter().enumerate() {
            let known = 2.0 - 2.0 * (std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64).cos();
            assert!((value - known).abs() < 1e-12, "{value} {known}");
        }
        assert_eq!(eigenvalues(vec![3.0, 0.0, 0.0, -1.0], 2), [-1.0, 3.0]);
        assert_eq!(eigenvalues(vec![0.0; 9], 3), [0.0; 3]);
        assert!(eigenvalues(Vec::new(), 0).is_empty());
    }

    #[test]
    fn eigenvalues_of_a_full_matrix_have_its_trace_and_its_norm() {
        let n = 70;
        let a = random(n, n, 3);
        let symmetric = products(&a, &a, n);
        let trace: f64 = (0..n).map(|i| symmetric[i * n + i]).sum();
        let norm: f64 = symmetric.iter().map(|x| x * x).sum();
        let found = eigenvalues(symmetric, n);
        assert!((found.iter().sum::<f64>() / trace - 1.0).abs() < 1e-12);
        assert!((found.iter().map(|x| x * x).sum::<f64>() / norm - 1.0).abs() < 1e-12);
        assert!(found[0] > -1e-9 && found.is_sorted());
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
