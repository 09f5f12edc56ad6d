//! How well a score tells odd examples from usual ones, over all thresholds.

use serde::{Deserialize, Serialize};

/// Half the width of an interval of 95 %, in standard errors.
const WIDTH: f64 = 1.96;
/// The share of odd examples that must be found for `false_alarms`.
const FOUND: f64 = 0.95;

/// How well a score tells odd examples, the positives, from usual ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Area under the receiver operating characteristic: the probability that an odd example has a higher score than a usual one, where a
    /// tie counts half. 0.5 is chance.
    pub auroc: f64,
    /// Its standard error (DeLong et al. 1988).
    pub auroc_error: f64,
    /// Its interval of 95 %, within [0, 1].
    pub auroc_interval: [f64; 2],
    /// Area under precision and recall, as average precision. The share of odd examples is chance.
    pub aupr: f64,
    /// The share of usual examples that are taken for odd at the highest threshold that finds 95 % of the odd ones.
    pub false_alarms: f64,
}

/// Measures scores, of which high is odd.
///
/// # Panics
///
/// When there are no usual or no odd examples, or a score is not a number.
pub fn detection(usual: &[f64], odd: &[f64]) -> Detection {
    assert!(!usual.is_empty() && !odd.is_empty(), "{} usual and {} odd scores", usual.len(), odd.len());
    assert!(usual.iter().chain(odd).all(|score| !score.is_nan()), "a score that is not a number");
    let (auroc, auroc_error) = delong(usual, odd);
    let bound = |value: f64| value.clamp(0.0, 1.0);
    let (aupr, false_alarms) = curves(usual, odd);
    Detection {
        auroc,
        auroc_error,
        auroc_interval: [bound(auroc - WIDTH * auroc_error), bound(auroc + WIDTH * auroc_error)],
        aupr,
        false_alarms,
    }
}

/// The area under the receiver operating characteristic and its standard error, by midranks (Sun and Xu 2014, Algorithm 2).
fn delong(usual: &[f64], odd: &[f64]) -> (f64, f64) {
    let (n, m) = (usual.len() as f64, odd.len() as f64);
    let all = midranks(&[odd, usual].concat());
    let (own_odd, own_usual) = (midranks(odd), midranks(usual));
    // For each odd example the share of usual ones below it, and for each usual one the share of odd ones above it.
    let of_odd: Vec<f64> = all.iter().zip(&own_odd).map(|(all, own)| (all - own) / n).collect();
    let of_usual: Vec<f64> =
        all[odd.len()..].iter().zip(&own_usual).map(|(all, own)| 1.0 - (all - own) / m).collect();
    let auroc = of_odd.iter().sum::<f64>() / m;
    let variance = |values: &[f64]| {
        let squares: f64 = values.iter().map(|value| (value - auroc).powi(2)).sum();
        squares / (values.len() as f64 - 1.0).max(1.0)
    };
    (auroc, (variance(&of_odd) / m + variance(&of_usual) / n).sqrt())
}

/// The rank of each value from 1; equal values share the mean of their ranks.
fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = (2 * start + equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|&place| ranks[place] = rank);
        start += equal.len();
    }
    ranks
}

/// Average precision, and the false alarms where 95 % of the odd examples are found.
fn curves(usual: &[f64], odd: &[f64]) -> (f64, f64) {
    let mut all: Vec<(f64, bool)> = usual.iter().map(|&score| (score, false)).collect();
    all.extend(odd.iter().map(|&score| (score, true)));
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut found, mut alarms, mut precision, mut false_alarms) = (0, 0, 0.0, None);
    // One threshold for each value.
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let more = equal.iter().filter(|(_, odd)| *odd).count();
        found += more;
        alarms += equal.len() - more;
        precision += more as f64 * found as f64 / (found + alarms) as f64;
        if found as f64 >= FOUND * odd.len() as f64 - 1e-9 {
            false_alarms.get_or_insert(alarms);
        }
    }
    (precision / odd.len() as f64, false_alarms.unwrap_or(alarms) as f64 / usual.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    fn normal(seed: u64, count: usize, shift: f64) -> Vec<f64> {
        let drawn = rng::normal(&mut rng::generator(seed, "detection test", 0), count);
        drawn.into_iter().map(|x| f64::from(x) + shift).collect()
    }

    /// The area and its error from all pairs, as DeLong et al. define them.
    fn by_pairs(usual: &[f64], odd: &[f64]) -> (f64, f64) {
        let wins = |a: f64, b: f64| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        };
        let of_odd: Vec<f64> = odd
            .iter()
            .map(|&a| usual.iter().map(|&b| wins(a, b)).sum::<f64>() / usual.len() as f64)
            .collect();
        let of_usual: Vec<f64> =
            usual.iter().map(|&b| odd.iter().map(|&a| wins(a, b)).sum::<f64>() / odd.len() as f64).collect();
        let auroc = of_odd.iter().sum::<f64>() / odd.len() as f64;
        let variance = |values: &[f64]| {
            values.iter().map(|value| (value - auroc).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
        };
        let error = variance(&of_odd) / odd.len() as f64 + variance(&of_usual) / usual.len() as f64;
        (auroc, error.sqrt())
    }

    #[test]
    fn the_area_is_that_of_all_pairs_with_ties_and_without() {
        for (coarse, count) in [(false, 300), (true, 300), (true, 7)] {
            let coarsen = |values: Vec<f64>| -> Vec<f64> {
                values.into_iter().map(|value| if coarse { value.round() } else { value }).collect()
            };
            let (usual, odd) = (coarsen(normal(1, count, 0.0)), coarsen(normal(2, 2 * count, 0.7)));
            let found = detection(&usual, &odd);
            let (auroc, error) = by_pairs(&usual, &odd);
            assert!((found.auroc - auroc).abs() < 1e-12 && (found.auroc_error - error).abs() < 1e-12);
        }
    }

    #[test]
    fn the_area_of_two_normal_distributions_is_known() {
        // Φ(d / √2) for d = 1 is 0.7602499.
        let found = detection(&normal(3, 20_000, 0.0), &normal(4, 20_000, 1.0));
        assert!((found.auroc - 0.760_249_9).abs() < 0.006, "{}", found.auroc);
        // At 95 % found, −1.645 + 1 is the threshold: Φ(0.645) = 0.7405 of the usual ones are above.
        assert!((found.false_alarms - 0.7405).abs() < 0.02, "{}", found.false_alarms);
        // The interval holds the true area in 95 of 100 cases.
        let holds = (0..400)
            .filter(|&seed| {
                let found = detection(&normal(2 * seed + 100, 80, 0.0), &normal(2 * seed + 101, 60, 1.0));
                (found.auroc_interval[0]..found.auroc_interval[1]).contains(&0.760_249_9)
            })
            .count();
        assert!((365..=394).contains(&holds), "{holds} of 400");
    }

    #[test]
    fn precision_and_false_alarms_are_counted_by_hand() {
        // From the top: odd, usual, odd, odd, usual.
        let found = detection(&[4.0, 1.0], &[5.0, 3.0, 2.0]);
        assert!((found.aupr - (1.0 + 2.0 / 3.0 + 3.0 / 4.0) / 3.0).abs() < 1e-12);
        assert_eq!((found.false_alarms, found.auroc), (0.5, 4.0 / 6.0));
        let perfect = detection(&[0.0; 9], &[1.0; 4]);
        assert_eq!((perfect.auroc, perfect.aupr, perfect.false_alarms), (1.0, 1.0, 0.0));
        // A score that says nothing: one threshold, at which everything is odd.
        let nothing = detection(&[1.0; 6], &[1.0; 4]);
        assert_eq!((nothing.auroc, nothing.aupr, nothing.false_alarms), (0.5, 0.4, 1.0));
        assert_eq!(nothing.auroc_error, 0.0);
    }
}
