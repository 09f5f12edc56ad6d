//! Disentanglement, completeness and informativeness (Eastwood and Williams 2018), with gradient-boosted trees.

use super::Sample;
use super::boosting::Boosted;

/// The three scores, each 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dci {
    /// How far each code is important for one factor only, weighted by the code's importance.
    pub(super) disentanglement: f64,
    /// How far each factor needs one code only, weighted by the factor's share of all importance.
    pub(super) completeness: f64,
    /// Mean accuracy of the trees on held-out examples.
    pub(super) informativeness: f64,
}

/// Fits trees for each factor; `progress` receives the number of factors done.
pub(super) fn dci(fit: &Sample, test: &Sample, progress: &mut dyn FnMut(usize)) -> Dci {
    let mut importances = vec![Vec::new(); fit.codes.dims()];
    let mut accuracy = 0.0;
    for (factor, (labels, expected)) in fit.factors.iter().zip(&test.factors).enumerate() {
        let classes = labels.iter().chain(expected).max().map_or(0, |largest| largest + 1);
        let boosted = Boosted::fit(&fit.codes, labels, classes);
        let right = test.codes.iter().zip(expected).filter(|(row, label)| boosted.classify(row) == **label);
        accuracy += right.count() as f64 / expected.len() as f64;
        let total: f64 = boosted.importances.iter().sum();
        for (of_code, importance) in importances.iter_mut().zip(&boosted.importances) {
            of_code.push(if total > 0.0 { importance / total } else { 0.0 });
        }
        progress(factor + 1);
    }
    let (disentanglement, completeness) = structure(&importances);
    Dci { disentanglement, completeness, informativeness: accuracy / fit.factors.len() as f64 }
}

/// Disentanglement and completeness of the importance of each code (row) for each factor (column).
fn structure(importances: &[Vec<f64>]) -> (f64, f64) {
    let factors = importances.first().map_or(0, Vec::len);
    let columns: Vec<Vec<f64>> =
        (0..factors).map(|f| importances.iter().map(|code| code[f]).collect()).collect();
    (concentration(importances), concentration(&columns))
}

/// 1 − entropy of each row, in units of that of equal values, averaged with the sums of the rows as weights.
fn concentration(rows: &[Vec<f64>]) -> f64 {
    let all: f64 = rows.iter().flatten().sum();
    let of_row = |row: &Vec<f64>| {
        let sum: f64 = row.iter().sum();
        let shares = row.iter().map(|value| value / sum).filter(|share| *share > 0.0);
        let entropy = -shares.map(|share| share * share.ln()).sum::<f64>();
        let most = (row.len() as f64).ln();
        if sum > 0.0 { sum / all * (1.0 - if most > 0.0 { entropy / most } else { 0.0 }) } else { 0.0 }
    };
    if all > 0.0 { rows.iter().map(of_row).sum() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_for_each_factor_is_perfect_and_equal_importance_is_nothing() {
        let (d, c) = structure(&[vec![0.0, 1.0], vec![1.0, 0.0], vec![0.0, 0.0]]);
        assert!((d - 1.0).abs() < 1e-12 && (c - 1.0).abs() < 1e-12);
        let (d, c) = structure(&[vec![0.5, 0.5], vec![0.5, 0.5]]);
        assert!(d.abs() < 1e-12 && c.abs() < 1e-12);
    }

    #[test]
    fn a_factor_in_two_codes_is_disentangled_but_not_complete() {
        // Codes 0 and 1 share factor 0, code 2 has factor 1; with three codes half and half is log 2 / log 3.
        let (d, c) = structure(&[vec![0.5, 0.0], vec![0.5, 0.0], vec![0.0, 1.0]]);
        assert!((d - 1.0).abs() < 1e-12);
        let half = 1.0 - 2.0_f64.ln() / 3.0_f64.ln();
        assert!((c - 0.5 * (half + 1.0)).abs() < 1e-12, "{c}");
    }
}
