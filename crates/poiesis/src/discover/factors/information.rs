//! What codes and factors tell about each other: mutual information from counts, the mutual information gap (Chen et al. 2018,
//! arXiv:1802.04942) and modularity (Ridgeway and Mozer 2018, arXiv:1802.05312).

use super::Sample;
use crate::fitting::Contingency;

/// Bins of equal width that a code's range is cut into.
const BINS: usize = 20;

/// The mutual information of each code (row) with each factor, and the entropy of each factor, in nats.
pub(super) struct Information {
    pub(super) of_codes: Vec<Vec<f64>>,
    entropies: Vec<f64>,
}

impl Information {
    pub(super) fn of(sample: &Sample) -> Information {
        let binned: Vec<Vec<usize>> = (0..sample.codes.dims()).map(|code| binned(sample, code)).collect();
        let with = |code: &[usize]| -> Vec<f64> {
            sample.factors.iter().map(|factor| Contingency::of(code, factor).mutual_information()).collect()
        };
        Information {
            of_codes: binned.iter().map(|code| with(code)).collect(),
            // A factor tells all about itself.
            entropies: sample.factors.iter().map(|f| Contingency::of(f, f).mutual_information()).collect(),
        }
    }

    /// The gap between the two codes that tell most about a factor, over its entropy, averaged over factors.
    pub(super) fn gap(&self) -> f64 {
        let of_factor = |(factor, entropy): (usize, &f64)| {
            let mut all: Vec<f64> = self.of_codes.iter().map(|of_code| of_code[factor]).collect();
            all.sort_by(|a, b| b.total_cmp(a));
            let second = all.get(1).copied().unwrap_or(0.0);
            if *entropy > 0.0 { (all[0] - second) / entropy } else { 0.0 }
        };
        self.entropies.iter().enumerate().map(of_factor).sum::<f64>() / self.entropies.len() as f64
    }

    /// How far each code tells about one factor only, averaged over codes; a code that tells nothing counts 0.
    pub(super) fn modularity(&self) -> f64 {
        let of_code = |of_code: &Vec<f64>| {
            let largest = of_code.iter().copied().fold(0.0, f64::max);
            let others = of_code.iter().map(|m| m * m).sum::<f64>() - largest * largest;
            // Nothing but rounding.
            if largest < 1e-12 {
                0.0
            } else {
                1.0 - others / (largest * largest * (of_code.len() as f64 - 1.0).max(1.0))
            }
        };
        self.of_codes.iter().map(of_code).sum::<f64>() / self.of_codes.len() as f64
    }
}

/// The bin of one code in each row. A code that does not vary is in one bin.
fn binned(sample: &Sample, code: usize) -> Vec<usize> {
    let values = || sample.codes.iter().map(|row| f64::from(row[code]));
    let (low, high) =
        values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (x.min(low), x.max(high)));
    let width = (high - low) / BINS as f64;
    let bin = |x: f64| if width > 0.0 { (((x - low) / width) as usize).min(BINS - 1) } else { 0 };
    values().map(bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fitting::Rows;

    #[test]
    fn information_is_that_worked_out_by_hand() {
        // A factor of two values, a code that is the factor, one that halves the doubt for half of the rows, and a constant.
        let factor = vec![0, 0, 0, 0, 1, 1, 1, 1];
        let half = [0.0, 0.0, 9.0, 9.0, 9.0, 9.0, 5.0, 5.0];
        let codes = factor.iter().zip(half).flat_map(|(&f, half)| [f as f32, half, 3.0]).collect();
        let information = Information::of(&Sample { codes: Rows::new(codes, 3), factors: vec![factor] });
        let nats = 2.0_f64.ln();
        let found: Vec<f64> = information.of_codes.iter().map(|of_code| of_code[0]).collect();
        assert!((found[0] - nats).abs() < 1e-12 && (found[1] - 0.5 * nats).abs() < 1e-12 && found[2] == 0.0);
        assert!((information.gap() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn modularity_is_low_for_a_code_that_mixes_factors() {
        let information = |of_codes: &[[f64; 3]]| Information {
            of_codes: of_codes.iter().map(|m| m.to_vec()).collect(),
            entropies: vec![],
        };
        assert_eq!(information(&[[0.0, 2.0, 0.0]]).modularity(), 1.0);
        assert_eq!(information(&[[1.0, 1.0, 1.0]]).modularity(), 0.0);
        // 1 − 1 / (4 · 2), and a dead code.
        assert!((information(&[[2.0, 1.0, 0.0], [0.0; 3]]).modularity() - 0.5 * 0.875).abs() < 1e-12);
    }
}
