//! Clusters of vectors: k-means with careful first centres (Lloyd 1982; Arthur and Vassilvitskii 2007).

use rayon::prelude::*;

use super::rows::Rows;
use crate::rng;

/// Largest number of steps from one set of first centres.
const STEPS: usize = 300;
/// Rows whose sums are added up together, so that sums do not depend on the number of threads.
const PIECE: usize = 256;

/// Clusters, each around its centre.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The mean of each cluster, `[clusters, values]`.
    pub centres: Rows,
    /// The cluster of each row.
    pub of_row: Vec<usize>,
    /// Sum of the squared distances of rows from their centres.
    pub spread: f64,
}

/// Divides `rows` into `count` clusters with small squared distances from their centres: the best of `restarts` attempts. `seed` draws
/// the first centres.
///
/// # Panics
///
/// When there are fewer rows than clusters, no clusters or no restarts.
pub fn k_means(rows: &Rows, count: usize, restarts: u64, seed: u64) -> Clusters {
    assert!((1..=rows.len()).contains(&count), "{count} clusters of {} rows", rows.len());
    let attempts = (0..restarts).map(|attempt| {
        let mut generator = rng::generator(seed, "first centres", attempt);
        refined(rows, first_centres(rows, count, &mut generator))
    });
    let best = attempts.min_by(|a, b| a.spread.total_cmp(&b.spread));
    best.unwrap_or_else(|| panic!("k-means needs at least one attempt"))
}

/// The nearest centre to a row, the second nearest (itself where there is only one), each with its squared distance.
pub fn two_nearest(row: &[f32], centres: &Rows) -> [(usize, f64); 2] {
    let mut nearest = [(0, f64::INFINITY); 2];
    for (centre, values) in centres.iter().enumerate() {
        let distance = squared_distance(row, values);
        if distance < nearest[0].1 {
            nearest = [(centre, distance), nearest[0]];
        } else if distance < nearest[1].1 {
            nearest[1] = (centre, distance);
        }
    }
    if centres.len() == 1 { [nearest[0]; 2] } else { nearest }
}

/// ‖a − b‖².
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    // Several sums at a time, which the compiler turns into vector code.
    let mut sums = [0.0_f32; 16];
    let (a_parts, b_parts) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a_parts.remainder().iter().zip(b_parts.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
    for (a, b) in a_parts.zip(b_parts) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    f64::from(rest) + sums.iter().map(|&sum| f64::from(sum)).sum::<f64>()
}

/// Centres drawn from the rows, each with a probability in proportion to its squared distance from those before it.
fn first_centres(rows: &Rows, count: usize, generator: &mut rng::Generator) -> Rows {
    let first = rng::below(generator, rows.len() as u64) as usize;
    let mut chosen = vec![first];
    let mut distances: Vec<f64> = rows.iter().map(|row| squared_distance(row, rows.row(first))).collect();
    while chosen.len() < count {
        let total: f64 = distances.iter().sum();
        let mut left = rng::unit_f64(generator) * total;
        let drawn = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        // Where all rows are equal to a centre, any other one is as good.
        let next = drawn.unwrap_or_else(|| (0..rows.len()).find(|at| !chosen.contains(at)).unwrap_or(0));
        chosen.push(next);
        for (distance, row) in distances.iter_mut().zip(rows.iter()) {
            *distance = distance.min(squared_distance(row, rows.row(next)));
        }
    }
    rows.select(&chosen)
}

/// Assigns rows to the nearest centre and moves centres to the means of their rows, until nothing changes.
fn refined(rows: &Rows, mut centres: Rows) -> Clusters {
    let mut of_row = Vec::new();
    let mut spread = 0.0;
    for _ in 0..STEPS {
        let (assigned, distances) = assign(rows, &centres);
        spread = distances.iter().sum();
        if assigned == of_row {
            break;
        }
        centres = means(rows, &assigned, &distances, centres.len());
        of_row = assigned;
    }
    Clusters { centres, of_row, spread }
}

/// The nearest centre to each row, with the squared distance.
pub fn assign(rows: &Rows, centres: &Rows) -> (Vec<usize>, Vec<f64>) {
    let all: Vec<usize> = (0..rows.len()).collect();
    let nearest = |&row: &usize| two_nearest(rows.row(row), centres)[0];
    all.par_iter().with_min_len(PIECE).map(nearest).unzip()
}

/// The mean of each cluster. An empty one moves to the row that is farthest from its own centre.
fn means(rows: &Rows, of_row: &[usize], distances: &[f64], count: usize) -> Rows {
    let dims = rows.dims();
    let (mut sums, mut sizes) = (vec![0.0_f64; count * dims], vec![0_usize; count]);
    for (row, &cluster) in rows.iter().zip(of_row) {
        sizes[cluster] += 1;
        let sum = &mut sums[cluster * dims..(cluster + 1) * dims];
        sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let mut farthest: Vec<usize> = (0..rows.len()).collect();
    if sizes.contains(&0) {
        farthest.sort_by(|&a, &b| distances[b].total_cmp(&distances[a]));
    }
    let mut farthest = farthest.into_iter();
    let mut values = Vec::with_capacity(count * dims);
    for (cluster, &size) in sizes.iter().enumerate() {
        if size == 0 {
            values.extend_from_slice(rows.row(farthest.next().unwrap_or(0)));
        } else {
            let sum = &sums[cluster * dims..(cluster + 1) * dims];
            values.extend(sum.iter().map(|sum| (sum / size as f64) as f32));
        }
    }
    Rows::new(values, dims)
}

/// Points around the corners of a square, planted in `dims` dimensions, with the corner of each.
#[cfg(test)]
pub(super) fn planted(count: usize, dims: usize, deviation: f32) -> (Rows, Vec<u32>) {
    let noise = rng::normal(&mut rng::generator(6, "planted", 0), count * dims);
    let corner = |i: usize, d: usize| [[5.0, 5.0], [5.0, -5.0], [-5.0, 5.0], [-5.0, -5.0]][i % 4][d];
    let value = |at: usize| {
        let (i, d) = (at / dims, at % dims);
        deviation * noise[at] + if d < 2 { corner(i, d) } else { 0.0 }
    };
    (Rows::new((0..count * dims).map(value).collect(), dims), (0..count as u32).map(|i| i % 4).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_clusters_are_found() {
        let (rows, planted) = planted(200, 20, 0.5);
        let found = k_means(&rows, 4, 10, 0);
        for (i, cluster) in found.of_row.iter().enumerate() {
            for (j, other) in found.of_row.iter().enumerate() {
                assert_eq!(cluster == other, planted[i] == planted[j]);
            }
        }
        // The noise: 20 dimensions of variance ¼ for each of the rows, give or take.
        assert!((found.spread / (200.0 * 20.0 * 0.25) - 1.0).abs() < 0.1, "{}", found.spread);
        assert_eq!(found, k_means(&rows, 4, 10, 0));
    }

    #[test]
    fn as_many_clusters_as_rows_and_equal_rows_are_no_trouble() {
        let rows = Rows::new(vec![0.0, 3.0, 7.0], 1);
        assert_eq!(k_means(&rows, 3, 5, 1).spread, 0.0);
        let equal = Rows::new(vec![2.0; 6], 1);
        assert_eq!(k_means(&equal, 3, 2, 1).spread, 0.0);
    }

    #[test]
    fn distances_are_exact_for_any_length() {
        for dims in [1, 16, 37] {
            let (a, b): (Vec<f32>, Vec<f32>) = (0..dims).map(|i| (i as f32, 2.0 * i as f32)).unzip();
            let expected: usize = (0..dims).map(|i| i * i).sum();
            assert_eq!(squared_distance(&a, &b), expected as f64);
        }
    }
}
