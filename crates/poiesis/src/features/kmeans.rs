//! Clusters by k-means: Lloyd's iterations from centres drawn far apart (Arthur and Vassilvitskii 2007).

use rayon::prelude::*;

use crate::rng;

/// Iterations after which centres are taken as they are.
const ITERATIONS: usize = 50;

/// Clusters of points.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// Coordinates of a point.
    pub dims: usize,
    /// Their centres, concatenated.
    pub centres: Vec<f32>,
    /// The cluster of each point.
    pub of_point: Vec<usize>,
    /// Sum of the squared distances of the points from their centres.
    pub spread: f64,
}

impl Clusters {
    /// The cluster whose centre is nearest, and the squared distance from it.
    pub fn nearest(&self, point: &[f32]) -> (usize, f64) {
        nearest(&self.centres, point)
    }
}

/// The best of `tries` clusterings of points of `dims` coordinates, concatenated, into at most `count` clusters.
///
/// # Panics
///
/// When there is no point, or nothing is asked for.
pub fn kmeans(points: &[f32], dims: usize, count: usize, tries: u64, seed: u64) -> Clusters {
    assert!(points.len() >= dims && count > 0 && tries > 0, "clusters of no points");
    let all = (0..tries).map(|number| one(points, dims, count, seed, number));
    let better = |best: Clusters, other: Clusters| if other.spread < best.spread { other } else { best };
    let empty = Clusters { dims, centres: Vec::new(), of_point: Vec::new(), spread: f64::INFINITY };
    all.fold(empty, better)
}

fn one(points: &[f32], dims: usize, count: usize, seed: u64, number: u64) -> Clusters {
    let mut centres = far_apart(points, dims, count, seed, number);
    let mut found: Vec<(usize, f64)> = Vec::new();
    for _ in 0..ITERATIONS {
        let before: Vec<usize> = found.iter().map(|(cluster, _)| *cluster).collect();
        found = points.par_chunks_exact(dims).map(|point| nearest(&centres, point)).collect();
        if found.iter().map(|(cluster, _)| *cluster).eq(before) {
            break;
        }
        centres = means(points, dims, &found, &centres);
    }
    let spread = found.iter().map(|(_, distance)| distance).sum();
    Clusters { dims, centres, of_point: found.into_iter().map(|(cluster, _)| cluster).collect(), spread }
}

/// The mean of each cluster's points; a cluster without points keeps its centre.
fn means(points: &[f32], dims: usize, found: &[(usize, f64)], centres: &[f32]) -> Vec<f32> {
    let clusters = centres.len() / dims;
    let (mut sums, mut counts) = (vec![0.0f64; clusters * dims], vec![0usize; clusters]);
    for (point, (cluster, _)) in points.chunks_exact(dims).zip(found) {
        counts[*cluster] += 1;
        let sums = &mut sums[cluster * dims..(cluster + 1) * dims];
        sums.iter_mut().zip(point).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let mean = |(at, &old): (usize, &f32)| match counts[at / dims] {
        0 => old,
        count => (sums[at] / count as f64) as f32,
    };
    centres.iter().enumerate().map(mean).collect()
}

/// Centres among the points: each is drawn with a probability that grows with the squared distance from those before it.
fn far_apart(points: &[f32], dims: usize, count: usize, seed: u64, number: u64) -> Vec<f32> {
    let mut generator = rng::generator(seed, "k-means", number);
    let len = points.len() / dims;
    let first = rng::below(&mut generator, len as u64) as usize;
    let mut centres = points[first * dims..(first + 1) * dims].to_vec();
    let mut distances = vec![f64::INFINITY; len];
    while centres.len() < count * dims {
        let last = &centres[centres.len() - dims..];
        distances.iter_mut().zip(points.chunks_exact(dims)).for_each(|(distance, point)| {
            *distance = distance.min(squared_distance(last, point));
        });
        let total: f64 = distances.iter().sum();
        if total == 0.0 {
            break;
        }
        let mut left = rng::unit_f64(&mut generator) * total;
        let drawn = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        let drawn = drawn.unwrap_or(len - 1);
        centres.extend_from_slice(&points[drawn * dims..(drawn + 1) * dims]);
    }
    centres
}

fn nearest(centres: &[f32], point: &[f32]) -> (usize, f64) {
    let distances = centres.chunks_exact(point.len()).map(|centre| squared_distance(centre, point));
    let nearer = |best: (usize, f64), (cluster, distance)| {
        if distance < best.1 { (cluster, distance) } else { best }
    };
    distances.enumerate().fold((0, f64::INFINITY), nearer)
}

/// The squared distance of two points.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_lie_in_three_heaps_are_three_clusters() {
        let noise = rng::normal(&mut rng::generator(1, "test", 0), 90 * 2);
        let heap = |i: usize| [[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]][i / 2 % 3][i % 2];
        let points: Vec<f32> = noise.iter().enumerate().map(|(i, x)| x + heap(i)).collect();
        let found = kmeans(&points, 2, 3, 10, 0);
        assert!(found.of_point.iter().enumerate().all(|(i, cluster)| *cluster == found.of_point[i % 3]));
        let spread: f64 = points.chunks(2).map(|point| found.nearest(point).1).sum();
        assert!((spread - found.spread).abs() < 1e-6 && (100.0..260.0).contains(&spread), "{spread}");
    }

    #[test]
    fn equal_points_make_one_cluster() {
        let found = kmeans(&[1.0; 8], 2, 3, 2, 0);
        assert_eq!((found.centres, found.spread), (vec![1.0; 2], 0.0));
    }
}
