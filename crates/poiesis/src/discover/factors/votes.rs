//! The FactorVAE score (Kim and Mnih 2018, arXiv:1802.05983, §4): in a batch of examples that share a factor's value, the code that varies
//! least should name the factor.

use super::Sample;
use crate::rng;

/// Examples in a batch.
const BATCH: usize = 64;
/// Batches that the names of codes are learned from, and batches that they are tested on.
const FITTED: u64 = 10_000;
const TESTED: u64 = 5_000;
/// Codes with a smaller deviation over all examples are left out.
const SMALLEST_DEVIATION: f64 = 0.05;

/// The fraction of batches of `test` whose factor is named right; 0 when no code varies.
pub(super) fn factor_vae_score(fit: &Sample, test: &Sample, seed: u64) -> f64 {
    let variances = fit.codes.variances(&fit.codes.means());
    let varies = |code: &usize| variances[*code].sqrt() >= SMALLEST_DEVIATION;
    let codes: Vec<usize> = (0..variances.len()).filter(varies).collect();
    if codes.is_empty() {
        return 0.0;
    }
    let factors = fit.factors.len();
    let mut votes = vec![vec![0_u32; factors]; variances.len()];
    for (code, factor) in ballots(fit, &codes, &variances, seed, "fitted votes", FITTED) {
        votes[code][factor] += 1;
    }
    let name =
        |votes: &Vec<u32>| (0..factors).fold(0, |best, f| if votes[f] > votes[best] { f } else { best });
    let names: Vec<usize> = votes.iter().map(name).collect();
    let tested = ballots(test, &codes, &variances, seed, "tested votes", TESTED);
    tested.iter().filter(|(code, factor)| names[*code] == *factor).count() as f64 / tested.len() as f64
}

/// The code that varies least in each batch, with the factor that its examples share.
fn ballots(
    sample: &Sample,
    codes: &[usize],
    variances: &[f64],
    seed: u64,
    purpose: &str,
    count: u64,
) -> Vec<(usize, usize)> {
    let members: Vec<Vec<Vec<usize>>> = sample.factors.iter().map(|factor| by_value(factor)).collect();
    let ballot = |number| {
        let mut generator = rng::generator(seed, purpose, number);
        let mut below = |bound: usize| rng::below(&mut generator, bound as u64) as usize;
        let factor = below(sample.factors.len());
        let sharing = &members[factor][sample.factors[factor][below(sample.codes.len())]];
        let batch: Vec<usize> = (0..BATCH).map(|_| sharing[below(sharing.len())]).collect();
        let spread = |code: usize| {
            let values = || batch.iter().map(|&at| f64::from(sample.codes.row(at)[code]));
            let mean = values().sum::<f64>() / BATCH as f64;
            values().map(|x| (x - mean).powi(2)).sum::<f64>() / BATCH as f64 / variances[code]
        };
        let least = codes.iter().map(|&code| (code, spread(code))).min_by(|a, b| a.1.total_cmp(&b.1));
        (least.map_or(0, |(code, _)| code), factor)
    };
    (0..count).map(ballot).collect()
}

/// The examples with each value of a factor.
fn by_value(factor: &[usize]) -> Vec<Vec<usize>> {
    let values = factor.iter().max().map_or(0, |largest| largest + 1);
    let mut members = vec![Vec::new(); values];
    factor.iter().enumerate().for_each(|(at, &value)| members[value].push(at));
    members
}
