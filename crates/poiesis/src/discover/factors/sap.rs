//! Separated attribute predictability (Kumar, Sattigeri and Balakrishnan 2017, arXiv:1711.00848): how much better the best single code
//! predicts a factor than the second best. The predictor is a linear support vector machine on one code.

use rayon::prelude::*;

use super::Sample;

/// Weight of the errors against the squared weights.
const C: f64 = 0.01;

/// The gap in accuracy on `test` between the two codes that predict a factor best, averaged over factors.
pub(super) fn separated_predictability(fit: &Sample, test: &Sample) -> f64 {
    let gaps = (0..fit.factors.len()).map(|factor| {
        let accuracy = |code: usize| {
            let machine = Machine::fit(&column(fit, code), &fit.factors[factor]);
            machine.accuracy(&column(test, code), &test.factors[factor])
        };
        let mut all: Vec<f64> = (0..fit.codes.dims()).into_par_iter().map(accuracy).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        all[0] - all.get(1).copied().unwrap_or(0.0)
    });
    gaps.sum::<f64>() / fit.factors.len() as f64
}

fn column(sample: &Sample, code: usize) -> Vec<f64> {
    sample.codes.iter().map(|row| f64::from(row[code])).collect()
}

/// For each class, the slope and the offset of its score.
struct Machine(Vec<[f64; 2]>);

impl Machine {
    /// One class against the others, both sides with the same weight in all.
    fn fit(x: &[f64], labels: &[usize]) -> Machine {
        let classes = labels.iter().max().map_or(0, |largest| largest + 1);
        let mut sizes = vec![0.0_f64; classes];
        labels.iter().for_each(|&label| sizes[label] += 1.0);
        let count = labels.len() as f64;
        let of_class = |class: usize| {
            let side = |size: f64| C * count / (2.0 * size.max(1.0));
            let weights = [side(count - sizes[class]), side(sizes[class])];
            one_side(x, &labels.iter().map(|&label| label == class).collect::<Vec<_>>(), weights)
        };
        Machine((0..classes).map(of_class).collect())
    }

    fn accuracy(&self, x: &[f64], labels: &[usize]) -> f64 {
        let class = |x: f64| {
            let scores: Vec<f64> = self.0.iter().map(|[slope, offset]| slope * x + offset).collect();
            crate::fitting::likeliest(&scores)
        };
        x.iter().zip(labels).filter(|(x, label)| class(**x) == **label).count() as f64 / labels.len() as f64
    }
}

/// Minimises ½ (w² + b²) + Σ c max(0, 1 − y (w x + b))² by Newton steps; y is 1 inside and −1 outside, c is `weights[outside, inside]`.
fn one_side(x: &[f64], inside: &[bool], weights: [f64; 2]) -> [f64; 2] {
    const STEPS: usize = 50;
    let value_at = |[w, b]: [f64; 2]| {
        let loss = |(&x, &inside): (&f64, &bool)| {
            let y = if inside { 1.0 } else { -1.0 };
            weights[usize::from(inside)] * (1.0 - y * (w * x + b)).max(0.0).powi(2)
        };
        0.5 * (w * w + b * b) + x.iter().zip(inside).map(loss).sum::<f64>()
    };
    let mut at = [0.0, 0.0];
    let mut value = value_at(at);
    for _ in 0..STEPS {
        let (mut gradient, mut curvature) = (at, [1.0, 0.0, 1.0]);
        for (&x, &inside) in x.iter().zip(inside) {
            let (y, c) = (if inside { 1.0 } else { -1.0 }, 2.0 * weights[usize::from(inside)]);
            let short = 1.0 - y * (at[0] * x + at[1]);
            if short > 0.0 {
                gradient = [gradient[0] - c * y * short * x, gradient[1] - c * y * short];
                curvature = [curvature[0] + c * x * x, curvature[1] + c * x, curvature[2] + c];
            }
        }
        if gradient[0].abs().max(gradient[1].abs()) < 1e-10 {
            break;
        }
        let determinant = curvature[0] * curvature[2] - curvature[1] * curvature[1];
        let step = [
            (curvature[2] * gradient[0] - curvature[1] * gradient[1]) / determinant,
            (curvature[0] * gradient[1] - curvature[1] * gradient[0]) / determinant,
        ];
        // A step may be too long where examples leave the sum.
        let tried = (0..30).map(|half| 0.5_f64.powi(half)).find_map(|length| {
            let next = [at[0] - length * step[0], at[1] - length * step[1]];
            let next_value = value_at(next);
            (next_value < value).then_some((next, next_value))
        });
        let Some(next) = tried else { break };
        (at, value) = next;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_of_two_points_has_the_slope_of_its_closed_form() {
        // ½ w² + 2 c (1 − w)² is lowest at w = 4 c / (1 + 4 c), as long as that is below 1.
        let [slope, offset] = one_side(&[-1.0, 1.0], &[false, true], [0.7, 0.7]);
        assert!((slope - 2.8 / 3.8).abs() < 1e-9 && offset.abs() < 1e-9, "{slope} {offset}");
    }

    #[test]
    fn a_machine_classifies_separate_values() {
        let x: Vec<f64> = (0..40).map(|i| if i % 2 == 0 { -3.0 } else { 3.0 }).collect();
        let labels: Vec<usize> = (0..40).map(|i| i % 2).collect();
        assert_eq!(Machine::fit(&x, &labels).accuracy(&x, &labels), 1.0);
    }
}
