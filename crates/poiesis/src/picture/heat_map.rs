//! How often the cells of a plane were visited, as maps with common axes and a logarithmic scale of colours.

use super::Picture;
use super::spectrogram::heat;
use super::text::LETTER;

/// Height and width of a map, in pixels, at most; its cells have a whole number of them.
const MAP: usize = 512;
/// Pixels around a map, and between parts.
pub(super) const MARGIN: usize = 16;
/// Letters are enlarged by this.
pub(super) const SCALE: usize = 2;
/// Height of a line of text.
pub(super) const LINE: usize = LETTER * SCALE + 6;
/// Room for the marks of the axis to the left.
pub(super) const LEFT: usize = 7 * LETTER * SCALE;
/// Length of the tick at a mark.
pub(super) const TICK: usize = 6;
/// Width of the scale of colours, and the room for its marks.
const BAR: usize = 24;
const BESIDE: usize = 6 * LETTER * SCALE;
/// About how many marks an axis has.
pub(super) const MARKS: f64 = 5.0;

const WHITE: [u8; 3] = [255; 3];
const INK: [u8; 3] = [40; 3];

/// An axis of the maps.
#[derive(Clone, Copy, Debug)]
pub struct HeatAxis<'a> {
    /// What it shows.
    pub name: &'a str,
    /// Where the first cell begins.
    pub low: f64,
    /// Where the last cell ends.
    pub high: f64,
}

/// One map.
#[derive(Clone, Copy, Debug)]
pub struct HeatPanel<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// How often each cell was visited, `[bins, bins]`: rows from the lowest value of the second axis, columns from the lowest of
    /// the first.
    pub visits: &'a [u64],
}

/// Draws maps of `bins` × `bins` cells side by side, the first axis from left to right and the second upwards. The colour of a cell
/// is the logarithm of its visits, on one scale for all maps; a cell without any is black.
///
/// # Panics
///
/// When there is no map, there are more cells than pixels, or a map has another number of cells.
pub fn heat_map(panels: &[HeatPanel<'_>], bins: usize, axes: [HeatAxis<'_>; 2]) -> Picture {
    assert!(!panels.is_empty(), "a picture of no map");
    assert!((1..=MAP).contains(&bins), "{bins} cells do not fit into {MAP} pixels");
    let (cell, most) = (MAP / bins, panels.iter().flat_map(|panel| panel.visits).max().copied().unwrap_or(0));
    let side = cell * bins;
    let (top, step) = (MARGIN + 2 * LINE, LEFT + side + MARGIN);
    let width = panels.len() * step + MARGIN + BAR + BESIDE;
    let mut picture = Picture::filled(width, top + side + TICK + 2 * LINE + MARGIN, &WHITE);
    for (place, panel) in panels.iter().enumerate() {
        assert_eq!(panel.visits.len(), bins * bins, "visits of {bins} × {bins} cells");
        let left = place * step + LEFT;
        picture.write_text(panel.title, left, MARGIN, SCALE, &INK);
        for (at, &visits) in panel.visits.iter().enumerate() {
            let (x, y) = (at % bins, bins - 1 - at / bins);
            let color = heat(strength(visits, most));
            picture.paste(&color.repeat(cell * cell), cell, cell, left + x * cell, top + y * cell);
        }
        mark_across(&mut picture, axes[0], left, top + side, side);
        mark_upwards(&mut picture, axes[1], left, top, side);
    }
    mark_colors(&mut picture, panels.len() * step + MARGIN, top, side, most);
    picture
}

/// The part of the scale of colours that a number of visits reaches, from 0 to 1.
fn strength(visits: u64, most: u64) -> f64 {
    if most == 0 { 0.0 } else { (visits as f64).ln_1p() / (most as f64).ln_1p() }
}

/// Marks and name of the axis below an area whose lower edge is at row `bottom`, `side` pixels wide from column `left`.
pub(super) fn mark_across(
    picture: &mut Picture,
    axis: HeatAxis<'_>,
    left: usize,
    bottom: usize,
    side: usize,
) {
    for (part, label) in marks(axis) {
        let x = left + (part * (side - 1) as f64).round() as usize;
        picture.paste(&INK.repeat(TICK), 1, TICK, x, bottom);
        let half = label.chars().count() * LETTER * SCALE / 2;
        picture.write_text(&label, x.saturating_sub(half), bottom + TICK + 2, SCALE, &INK);
    }
    let room = side.saturating_sub(axis.name.chars().count() * LETTER * SCALE) / 2;
    picture.write_text(axis.name, left + room, bottom + TICK + LINE, SCALE, &INK);
}

/// Marks of the axis to the left of an area, and its name above.
pub(super) fn mark_upwards(picture: &mut Picture, axis: HeatAxis<'_>, left: usize, top: usize, side: usize) {
    for (part, label) in marks(axis) {
        let y = top + ((1.0 - part) * (side - 1) as f64).round() as usize;
        picture.paste(&INK.repeat(TICK), TICK, 1, left - TICK, y);
        let wide = label.chars().count() * LETTER * SCALE;
        let x = (left - TICK - 2).saturating_sub(wide);
        picture.write_text(&label, x, y.saturating_sub(LETTER * SCALE / 2), SCALE, &INK);
    }
    picture.write_text(axis.name, left, top - LINE, SCALE, &INK);
}

/// The scale of colours, with marks at powers of ten and at the most visits.
fn mark_colors(picture: &mut Picture, left: usize, top: usize, side: usize, most: u64) {
    for row in 0..side {
        let color = heat(1.0 - row as f64 / side as f64);
        picture.paste(&color.repeat(BAR), BAR, 1, left, top + row);
    }
    picture.write_text("visits", left, top - LINE, SCALE, &INK);
    let mut free = top;
    let powers = (0..19).map(|power| 10_u64.pow(power)).take_while(|power| *power < most);
    let mut all: Vec<u64> = [0].into_iter().chain(powers).chain((most > 0).then_some(most)).collect();
    all.dedup();
    // From the top, as long as labels do not cover each other.
    for visits in all.into_iter().rev() {
        let y = top + ((1.0 - strength(visits, most)) * (side - 1) as f64).round() as usize;
        if y >= free {
            picture.write_text(&short_count(visits), left + BAR + 4, y.min(top + side - LINE), SCALE, &INK);
            free = y + LINE;
        }
    }
}

/// A count of at most five letters: `950`, `12k`, `3M`.
fn short_count(visits: u64) -> String {
    match visits {
        0..10_000 => visits.to_string(),
        10_000..10_000_000 => format!("{}k", visits / 1000),
        _ => format!("{}M", visits / 1_000_000),
    }
}

/// Where an axis has marks, from 0 to 1, and their labels.
fn marks(axis: HeatAxis<'_>) -> Vec<(f64, String)> {
    marks_about(axis, MARKS)
}

/// The same with about `count` marks: multiples of 1, 2 or 5 times a power of ten, of which at least two are shown.
pub(super) fn marks_about(axis: HeatAxis<'_>, count: f64) -> Vec<(f64, String)> {
    let reach = axis.high - axis.low;
    if reach.is_nan() || reach <= 0.0 {
        return Vec::new();
    }
    let least = reach / count;
    let power = 10_f64.powf(least.log10().floor());
    let steps = [0.5, 1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    let coarse = steps.iter().skip(1).position(|step| *step >= least).map_or(steps.len() - 1, |at| at + 1);
    let marks = multiples(axis, steps[coarse]);
    // One mark alone has no scale.
    if marks.len() < 2 { multiples(axis, steps[coarse - 1]) } else { marks }
}

/// The multiples of `step` within the axis.
fn multiples(axis: HeatAxis<'_>, step: f64) -> Vec<(f64, String)> {
    let reach = axis.high - axis.low;
    let decimals = (-step.log10()).ceil().max(0.0) as usize;
    let first = (axis.low / step).ceil();
    let all = (0..).map(|i| (first + f64::from(i)) * step);
    all.take_while(|mark| *mark <= axis.high + 1e-9 * reach)
        // Adding 0 makes -0 plain.
        .map(|mark| ((mark - axis.low) / reach, format!("{:.decimals$}", mark + 0.0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: [HeatAxis<'_>; 2] = [
        HeatAxis { name: "position", low: -1.2, high: 0.6 },
        HeatAxis { name: "velocity", low: -0.07, high: 0.07 },
    ];

    #[test]
    fn marks_are_round_numbers_within_the_axis() {
        let labels = |low, high| marks(HeatAxis { name: "", low, high }).into_iter().map(|(_, label)| label);
        assert_eq!(labels(-1.2, 0.6).collect::<Vec<_>>(), ["-1.0", "-0.5", "0.0", "0.5"]);
        assert_eq!(labels(-0.07, 0.07).collect::<Vec<_>>(), ["-0.05", "0.00", "0.05"]);
        assert_eq!(labels(0.0, 40.0).collect::<Vec<_>>(), ["0", "10", "20", "30", "40"]);
        assert_eq!(labels(-0.419, 0.419).collect::<Vec<_>>(), ["-0.4", "-0.2", "0.0", "0.2", "0.4"]);
        assert_eq!(labels(1.0, 1.0).count(), 0);
        let (part, _) = marks(AXES[0])[2].clone();
        assert!((part - 1.2 / 1.8).abs() < 1e-12);
    }

    #[test]
    fn cells_are_where_their_values_are_and_as_bright_as_their_visits() {
        // Two by two cells: once in the lower left one, 99 times in the upper right one.
        let panels =
            [HeatPanel { title: "a", visits: &[1, 0, 0, 99] }, HeatPanel { title: "b", visits: &[0; 4] }];
        let picture = heat_map(&panels, 2, AXES);
        let (top, middle) = (MARGIN + 2 * LINE, MAP / 2);
        let at = |panel: usize, column: usize, row: usize| {
            let left = panel * (LEFT + MAP + MARGIN) + LEFT;
            picture.pixel(left + column * middle + 9, top + row * middle + 9).to_vec()
        };
        assert_eq!(at(0, 1, 0), heat(1.0));
        assert_eq!(at(0, 0, 1), heat(2.0_f64.ln() / 100.0_f64.ln()));
        assert_eq!((at(0, 0, 0), at(0, 1, 1)), (heat(0.0).to_vec(), heat(0.0).to_vec()));
        // One scale for both.
        assert!([at(1, 0, 0), at(1, 1, 1)].iter().all(|color| *color == heat(0.0)));
    }

    #[test]
    fn one_map_and_no_visits_are_drawn_too() {
        let picture = heat_map(&[HeatPanel { title: "", visits: &[0] }], 1, AXES);
        assert_eq!(picture.pixel(LEFT + 5, MARGIN + 2 * LINE + 5), heat(0.0));
        assert_eq!([999, 12_345, 12_345_678].map(short_count), ["999", "12k", "12M"]);
    }

    #[test]
    #[should_panic(expected = "visits of 3 × 3 cells")]
    fn maps_have_all_cells() {
        heat_map(&[HeatPanel { title: "", visits: &[0; 4] }], 3, AXES);
    }
}
