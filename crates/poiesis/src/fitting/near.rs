//! How far rows are from the nearest of others.

use rayon::prelude::*;

use super::rows::Rows;

/// The nearest rows to one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Which is the nearest.
    pub index: usize,
    /// The mean distance to the nearest `k`.
    pub distance: f64,
}

/// The Euclidean distance of each row of `queries` to its `k` nearest rows of `others`, or to all where there are fewer. Ties go to the
/// first.
///
/// # Panics
///
/// When the rows are of different lengths, there are no others, or `k` is 0.
pub fn near(queries: &Rows, others: &Rows, k: usize) -> Vec<Near> {
    assert_eq!(queries.dims(), others.dims(), "rows of another length");
    assert!(k > 0 && !others.is_empty(), "the nearest {k} of {}", others.len());
    let k = k.min(others.len());
    let of_one = |query: &[f32]| {
        // The nearest so far, in ascending order.
        let mut nearest: Vec<(f32, usize)> = Vec::with_capacity(k + 1);
        for (index, other) in others.iter().enumerate() {
            let squares = squared_distance(query, other);
            if nearest.len() < k || squares < nearest[k - 1].0 {
                let place = nearest.partition_point(|(before, _)| *before <= squares);
                nearest.insert(place, (squares, index));
                nearest.truncate(k);
            }
        }
        let sum: f64 = nearest.iter().map(|(squares, _)| f64::from(*squares).sqrt()).sum();
        Near { index: nearest.first().map_or(0, |(_, index)| *index), distance: sum / nearest.len() as f64 }
    };
    (0..queries.len()).into_par_iter().map(|row| of_one(queries.row(row))).collect()
}

/// Sums in eight lanes, which the compiler turns into vector code.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let (a, rest_of_a) = a.as_chunks::<8>();
    let (b, rest_of_b) = b.as_chunks::<8>();
    let mut lanes = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += (a[i] - b[i]) * (a[i] - b[i]);
        }
    }
    let rest: f32 = rest_of_a.iter().zip(rest_of_b).map(|(a, b)| (a - b) * (a - b)).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    #[test]
    fn the_nearest_are_those_of_a_full_sort() {
        let draw = |purpose, count: usize| {
            Rows::new(rng::normal(&mut rng::generator(3, purpose, 0), count * 11), 11)
        };
        let (queries, others) = (draw("queries", 20), draw("others", 60));
        for (query, found) in queries.iter().zip(near(&queries, &others, 5)) {
            let distance = |other: &[f32]| {
                query.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
            };
            let mut all: Vec<(f64, usize)> =
                others.iter().enumerate().map(|(i, other)| (distance(other), i)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mean = all[..5].iter().map(|(distance, _)| distance).sum::<f64>() / 5.0;
            assert_eq!(found.index, all[0].1);
            assert!((found.distance - mean).abs() < 1e-5, "{} {mean}", found.distance);
        }
        let own = near(&others, &others, 1);
        assert!(own.iter().enumerate().all(|(i, near)| near.index == i && near.distance == 0.0));
        assert_eq!(near(&queries, &draw("others", 2), 5).len(), 20);
    }
}
