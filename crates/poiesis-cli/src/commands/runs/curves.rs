//! Metrics over steps in a line of text, drawn with blocks of eight heights.

use std::io::{self, IsTerminal as _};

use console::Term;
use poiesis::run::history::Curve;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Columns where there is no terminal.
const USUAL: usize = 100;
/// A line of text is at least and at most so wide.
const NARROWEST: usize = 10;
const WIDEST: usize = 60;

/// What part of the values may lie below, and above, the heights that are told apart: a first value that towers would make all others flat.
const OUTSIDE: f64 = 0.05;

/// The width of a curve beside `others` columns of text.
pub(super) fn width(others: usize) -> usize {
    let terminal = io::stdout().is_terminal().then(|| Term::stdout().size_checked()).flatten();
    beside(others, terminal.map_or(USUAL, |(_, columns)| usize::from(columns)))
}

fn beside(others: usize, columns: usize) -> usize {
    columns.saturating_sub(others).clamp(NARROWEST, WIDEST)
}

/// A curve in `width` blocks, from the first to the last of its steps.
pub(super) fn line(curve: &Curve, width: usize) -> String {
    let (Some(&(first, _)), Some(&(last, _))) = (curve.points.first(), curve.points.last()) else {
        return String::new();
    };
    let values = curve.binned(first, last, width);
    drawn(&values, scale(values.iter().flatten().copied()))
}

/// Curves of several runs in `width` blocks each, over the same steps and on one scale.
pub(super) fn lines(curves: &[Option<&Curve>], width: usize) -> Vec<String> {
    let steps = || curves.iter().flatten().flat_map(|curve| &curve.points).map(|&(step, _)| step);
    let (first, last) = (steps().min().unwrap_or(0), steps().max().unwrap_or(0));
    let values: Vec<Vec<Option<f64>>> = curves
        .iter()
        .map(|curve| curve.map(|curve| curve.binned(first, last, width)).unwrap_or_default())
        .collect();
    let scale = scale(values.iter().flatten().flatten().copied());
    values.iter().map(|values| drawn(values, scale)).collect()
}

/// The values that get the lowest and the highest block.
fn scale(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return [0.0, 0.0] };
    let outside = (sorted.len() as f64 * OUTSIDE) as usize;
    [sorted[outside], sorted[last - outside]]
}

fn drawn(values: &[Option<f64>], [low, high]: [f64; 2]) -> String {
    let block = |value: f64| {
        if high <= low {
            return BLOCKS[3];
        }
        let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
        BLOCKS[((part * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)]
    };
    values.iter().map(|value| value.map_or(' ', block)).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(u64, f64)]) -> Curve {
        Curve { name: "nll".into(), points: points.to_vec() }
    }

    #[test]
    fn a_curve_falls_from_high_blocks_to_low_ones() {
        let falling: Vec<(u64, f64)> = (0..=80).map(|step| (step, 80.0 - step as f64)).collect();
        assert_eq!(line(&curve(&falling), 8), "█▇▆▅▄▃▂▁");
        assert_eq!(line(&curve(&[(5, 2.0), (9, 2.0)]), 4), "▄▄▄▄", "no range has no heights");
        assert_eq!(line(&curve(&[]), 8), "");
        assert_eq!(line(&curve(&[(3, 1.0)]), 3), "▄", "the one step is the first");
    }

    #[test]
    fn a_value_that_towers_does_not_flatten_the_others() {
        let mut points: Vec<(u64, f64)> = (0..40).map(|step| (step, 40.0 - step as f64)).collect();
        points[0].1 = 1e6;
        let drawn = line(&curve(&points), 40);
        assert!(drawn.starts_with('█') && drawn.ends_with('▁'), "{drawn}");
        assert!(BLOCKS.iter().all(|block| drawn.contains(*block)), "{drawn}");
    }

    #[test]
    fn curves_of_several_runs_share_steps_and_heights() {
        let (long, short) = (curve(&[(0, 4.0), (40, 0.0)]), curve(&[(0, 2.0), (20, 2.0)]));
        let drawn = lines(&[Some(&long), Some(&short), None], 4);
        assert_eq!(drawn, ["███▁", "▅▅▅", ""]);
    }

    #[test]
    fn a_curve_fits_beside_its_text() {
        let fitted = [0, 60, 95, 1000].map(|others| beside(others, 100));
        assert_eq!(fitted, [WIDEST, 40, NARROWEST, NARROWEST]);
    }
}
