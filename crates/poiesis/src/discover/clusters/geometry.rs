//! Which images stand for a cluster, and how far clusters are apart.

use rayon::prelude::*;

use super::Cluster;
use crate::fitting::Rows;
use crate::fitting::clusters::squared_distance;

/// Nearest images of the same cluster whose distance says how typical an image is.
const NEIGHBOURS: usize = 10;
/// Largest number of images whose silhouettes are averaged.
const SILHOUETTES: usize = 2000;

/// Points and the cluster of each.
pub(super) struct Geometry<'a> {
    pub(super) points: &'a Rows,
    pub(super) of_image: &'a [usize],
}

impl Geometry<'_> {
    fn members(&self, cluster: usize) -> Vec<usize> {
        (0..self.of_image.len()).filter(|&at| self.of_image[at] == cluster).collect()
    }

    /// The mean of each cluster that has points.
    fn centres(&self) -> Vec<(usize, Vec<f32>)> {
        let count = self.of_image.iter().max().map_or(0, |largest| largest + 1);
        let centre = |cluster: usize| {
            let members = self.members(cluster);
            let means = (!members.is_empty()).then(|| self.points.select(&members).means())?;
            Some((cluster, means.iter().map(|&mean| mean as f32).collect()))
        };
        (0..count).filter_map(centre).collect()
    }

    /// The exemplars of a cluster, by their places among the points.
    pub(super) fn exemplars(&self, cluster: usize, count: usize) -> Cluster {
        let members = self.members(cluster);
        let centres = self.centres();
        let own = centres.iter().find(|(number, _)| *number == cluster).map(|(_, centre)| centre);
        let distance = |at: usize| own.map_or(0.0, |centre| squared_distance(self.points.row(at), centre));
        let margin = |at: usize| {
            let others = centres.iter().filter(|(number, _)| *number != cluster);
            let next = others.map(|(_, centre)| squared_distance(self.points.row(at), centre));
            next.fold(f64::INFINITY, f64::min).sqrt() - distance(at).sqrt()
        };
        let to_others = |at: usize| -> Vec<f64> {
            let others = members.iter().filter(|&&other| other != at);
            others
                .map(|&other| squared_distance(self.points.row(at), self.points.row(other)).sqrt())
                .collect()
        };
        // The mean distance from all others, and from the nearest ones.
        let spreads: Vec<(f64, f64)> = members
            .par_iter()
            .map(|&at| {
                let mut distances = to_others(at);
                let mean = distances.iter().sum::<f64>();
                distances.sort_by(f64::total_cmp);
                (mean, distances.iter().take(NEIGHBOURS).sum::<f64>())
            })
            .collect();
        let ranked = |key: &dyn Fn(usize) -> f64| {
            let mut keyed: Vec<(f64, usize)> = (0..members.len()).map(|i| (key(i), members[i])).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            keyed.into_iter().map(|(_, at)| at).collect::<Vec<_>>()
        };
        let medoid = ranked(&|i| spreads[i].0).first().copied();
        let mut shown: Vec<usize> = medoid.into_iter().collect();
        // An image is shown once, as the first thing it is.
        let mut next = |all: Vec<usize>| {
            let chosen: Vec<usize> = all.into_iter().filter(|at| !shown.contains(at)).take(count).collect();
            shown.extend(&chosen);
            chosen
        };
        let typical = next(ranked(&|i| spreads[i].1));
        let border = next(if centres.len() > 1 { ranked(&|i| margin(members[i])) } else { Vec::new() });
        let outliers = next(ranked(&|i| -distance(members[i])));
        Cluster { size: members.len(), class: None, medoid, typical, border, outliers }
    }

    /// The mean silhouette of some of the points; `None` for a single cluster.
    pub(super) fn silhouette(&self) -> Option<f64> {
        let count = self.of_image.iter().max().map_or(0, |largest| largest + 1);
        let len = self.of_image.len();
        // Evenly spread, as many as can be compared with each other in a moment.
        let chosen: Vec<usize> = (0..len.min(SILHOUETTES)).map(|i| i * len / len.min(SILHOUETTES)).collect();
        let mut sizes = vec![0_usize; count];
        chosen.iter().for_each(|&at| sizes[self.of_image[at]] += 1);
        if sizes.iter().filter(|&&size| size > 0).count() < 2 {
            return None;
        }
        let silhouette = |&at: &usize| {
            let mut sums = vec![0.0; count];
            for &other in &chosen {
                sums[self.of_image[other]] +=
                    squared_distance(self.points.row(at), self.points.row(other)).sqrt();
            }
            let own = self.of_image[at];
            if sizes[own] < 2 {
                return 0.0;
            }
            let inside = sums[own] / (sizes[own] - 1) as f64;
            let others = (0..count).filter(|&cluster| cluster != own && sizes[cluster] > 0);
            let outside =
                others.map(|cluster| sums[cluster] / sizes[cluster] as f64).fold(f64::INFINITY, f64::min);
            let larger = inside.max(outside);
            if larger > 0.0 { (outside - inside) / larger } else { 0.0 }
        };
        let all: Vec<f64> = chosen.par_iter().map(silhouette).collect();
        Some(all.iter().sum::<f64>() / all.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clusters on a line: around 0 and around 10, and a point between.
    fn line() -> (Rows, Vec<usize>) {
        let places = vec![-0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 4.5, 9.9, 10.0, 10.1, 10.3, 14.0];
        (Rows::new(places, 1), vec![0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    }

    #[test]
    fn exemplars_are_what_they_are_called() {
        let (points, of_image) = line();
        let geometry = Geometry { points: &points, of_image: &of_image };
        let found = geometry.exemplars(0, 1);
        assert_eq!((found.size, found.medoid), (7, Some(3)));
        // The point between is at the border, and so no outlier any more.
        assert_eq!((found.border, found.outliers), (vec![6], vec![0]));
        let found = geometry.exemplars(1, 1);
        assert_eq!((found.medoid, found.typical), (Some(9), vec![8]));
        assert_eq!((found.border, found.outliers), (vec![7], vec![11]));
    }

    #[test]
    fn the_silhouette_is_high_for_clusters_far_apart_and_low_for_a_random_division() {
        let points = Rows::new((0..40).map(|i| (i / 20 * 100 + i % 20) as f32 * 0.1).collect(), 1);
        let apart: Vec<usize> = (0..40).map(|i| i / 20).collect();
        let mixed: Vec<usize> = (0..40).map(|i| i % 2).collect();
        let silhouette = |of_image: &[usize]| Geometry { points: &points, of_image }.silhouette();
        assert!(silhouette(&apart).unwrap() > 0.85 && silhouette(&mixed).unwrap().abs() < 0.1);
        assert_eq!(silhouette(&[0; 40]), None);
        // Two pairs: inside 1, outside 10 and 10: (10 − 1) / 10 on average over 9.5, 10.5 and 10.
        let pairs = Rows::new(vec![0.0, 1.0, 10.0, 11.0], 1);
        let found = Geometry { points: &pairs, of_image: &[0, 0, 1, 1] }.silhouette().unwrap();
        let expected = 0.5 * (9.5 / 10.5 + 8.5 / 9.5);
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}
