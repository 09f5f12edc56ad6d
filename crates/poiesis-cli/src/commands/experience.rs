//! Episodes as text: a histogram of their returns, or of their lengths where rewards are not known, and what the agent did.

use poiesis_collect::{ActionsCard, Episodes, Split};

use crate::render::{facts, number};

/// Bars of a histogram, and the length of the longest in characters.
const BARS: usize = 10;
const LONGEST: usize = 40;
/// How many choices, or numbers of an action, are named.
const NAMED: usize = 12;

/// What `inspect` shows of a split of experience.
pub(crate) fn content(episodes: &Episodes, split: Split) -> String {
    let returns: Vec<f64> = episodes.iter().filter_map(|episode| episode.total_reward()).collect();
    let (what, values) = match returns.is_empty() {
        false => ("returns", returns),
        true => ("lengths", episodes.iter().map(|episode| episode.transitions as f64).collect()),
    };
    let mut text = facts(&[did(episodes)]);
    text.push_str(&format!("{what} of the {split} split\n"));
    histogram(&values).iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    text
}

/// How often each choice was made, or where the numbers of the actions lie.
fn did(episodes: &Episodes) -> (&'static str, String) {
    let more =
        |count: usize| if count > NAMED { format!(", and {} more", count - NAMED) } else { String::new() };
    match episodes.actions() {
        ActionsCard::Discrete { choices } => {
            let mut counts = vec![0_u64; choices];
            let actions = episodes.iter().flat_map(|episode| episode.actions);
            // Opening has checked that each is a choice.
            actions.for_each(|&action| counts[action as usize] += 1);
            let all = episodes.transitions() as f64;
            let each = counts.iter().enumerate().take(NAMED);
            let each: Vec<String> = each
                .map(|(choice, &count)| format!("{choice} {:.1} %", count as f64 / all * 100.0))
                .collect();
            ("choices made", each.join(", ") + &more(choices))
        }
        ActionsCard::Continuous { dims } => {
            let mut ranges = vec![(f32::INFINITY, f32::NEG_INFINITY); dims];
            for action in episodes.iter().flat_map(|episode| episode.actions.chunks_exact(dims)) {
                for ((low, high), &value) in ranges.iter_mut().zip(action) {
                    (*low, *high) = (low.min(value), high.max(value));
                }
            }
            let range = |(low, high): &(f32, f32)| {
                format!("{} to {}", number(f64::from(*low)), number(f64::from(*high)))
            };
            let each: Vec<String> = ranges.iter().take(NAMED).map(range).collect();
            ("actions are", each.join(", ") + &more(dims))
        }
    }
}

/// A bar for each of some equal ranges of the values, with its count; one line where all are equal.
fn histogram(values: &[f64]) -> Vec<String> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low >= high {
        return vec![format!("{}  all {}", number(low), values.len())];
    }
    let width = (high - low) / BARS as f64;
    // Ranges that look the same say nothing.
    if number(low + width) == number(low) || number(high - width) == number(high) {
        return vec![format!("{} to {}  all {}", number(low), number(high), values.len())];
    }
    let mut counts = [0_usize; BARS];
    for value in values {
        counts[(((value - low) / width) as usize).min(BARS - 1)] += 1;
    }
    let ends: Vec<(String, String)> = (0..BARS)
        .map(|bar| (number(low + bar as f64 * width), number(low + (bar + 1) as f64 * width)))
        .collect();
    let widest = |end: fn(&(String, String)) -> &String| {
        ends.iter().map(|both| end(both).chars().count()).max().unwrap_or(0)
    };
    let (left, right) = (widest(|both| &both.0), widest(|both| &both.1));
    let most = counts.iter().copied().max().unwrap_or(1);
    let line = |((from, to), &count): (&(String, String), &usize)| {
        let bar = "#".repeat((count * LONGEST).div_ceil(most));
        let space = if count > 0 { " " } else { "" };
        format!("{from:>left$} to {to:>right$}  {bar}{space}{count}")
    };
    ends.iter().zip(&counts).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_a_bar_for_each_range() {
        let lines = histogram(&[0.0, 1.0, 1.5, 9.9, 10.0]);
        assert_eq!(lines.len(), BARS);
        assert!(lines[0].contains("0.000 to ") && lines[0].ends_with(" 1"), "{lines:?}");
        assert!(lines[1].ends_with(&format!("{} 2", "#".repeat(LONGEST))), "{lines:?}");
        assert!(!lines[4].contains('#') && lines[9].ends_with(" 2"), "{lines:?}");
        assert_eq!(histogram(&[200.0; 3]), ["200.0  all 3"]);
        assert_eq!(histogram(&[3717.2, 3717.9]), ["3717 to 3718  all 2"]);
    }
}
