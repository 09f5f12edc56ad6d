//! Lines over steps: axes with marks at round numbers, a line of its own colour for each run, and a legend.
//!
//! Where a line has more points than the chart has columns, the mean of each column is drawn, and behind it a pale area from the least
//! to the largest value.

use super::Picture;
use super::heat_map::{HeatAxis, marks_about};
use super::scatter::color_of;
use super::text::LETTER;

/// Width and height of the area with the lines.
const WIDTH: usize = 1000;
const HEIGHT: usize = 520;
/// Pixels around the chart.
const MARGIN: usize = 24;
/// Letters are enlarged by this.
const SCALE: usize = 2;
/// Height of a line of text.
const LINE: usize = LETTER * SCALE + 8;
/// Length of the tick at a mark.
const TICK: usize = 6;
/// About how many marks an axis has.
const MARKS: [f64; 2] = [8.0, 7.0];
/// Half the thickness of a line.
const HALF: f64 = 1.25;
/// Half the width of the mark of one point alone.
const MARK: f64 = 5.0;
/// Width of a column in which values are averaged, in pixels.
const COLUMN: usize = 8;
/// How much of the colour of a line the area behind it has.
const PALE: f64 = 0.18;
/// Length of the piece of a line in the legend, and the room after it.
const SWATCH: usize = 28;
const GAP: usize = 10;
/// Longest name in the legend, in letters.
const LONGEST: usize = 56;
/// A first step that is a smaller part of the last one is near 0.
const NEAR: f64 = 0.1;
/// Room above and below the lines, as a part of their range, and room beside them.
const ROOM: f64 = 0.05;
const BESIDE: f64 = 0.015;
/// The first part of the steps may leave the chart at its top or bottom where it would make everything after it flat.
const BEGINNING: f64 = 0.05;
/// How many times as high as all that comes after it the beginning must be.
const TOWERING: f64 = 4.0;

const WHITE: [u8; 3] = [255; 3];
const INK: [u8; 3] = [40; 3];
const RULE: [u8; 3] = [228; 3];

/// A line of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// What the legend calls it.
    pub name: &'a str,
    /// Steps and finite values, in the order of the steps.
    pub points: &'a [(u64, f64)],
}

/// Draws lines over their steps; `name` is that of the values. The axis begins at step 0 unless the first step is far from it. One point
/// alone is a dot, and is always seen.
///
/// # Panics
///
/// When no line has a point, or a value is not finite.
pub fn line_chart(name: &str, lines: &[Line<'_>]) -> Picture {
    let steps = lines.iter().flat_map(|line| line.points).map(|&(step, _)| step as f64);
    let [first, last] = range(steps);
    assert!(first <= last, "a chart of no points");
    let room = BESIDE * (last - first);
    let [first, last] = match first < last {
        true if first < NEAR * last => [0.0, last + room],
        true => [(first - room).max(0.0), last + room],
        // One step alone is in the middle.
        false => [first - 0.5, last + 0.5],
    };
    let columns: Vec<Vec<Column>> = lines.iter().map(|line| columns(line.points, [first, last])).collect();
    let [low, high] = heights(&columns);
    let axes = [HeatAxis { name: "step", low: first, high: last }, HeatAxis { name, low, high }];
    let legend = legend(lines);
    let rows = legend.iter().map(|(_, _, row)| row + 1).max().unwrap_or(0);
    let up = marks_about(axes[1], MARKS[1]);
    let widest = up.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
    let left = MARGIN + widest * LETTER * SCALE + TICK + 6;
    let top = MARGIN + (1 + rows) * LINE + LINE / 2;
    let mut picture = Picture::filled(left + WIDTH + MARGIN, top + HEIGHT + TICK + 2 * LINE + MARGIN, &WHITE);
    picture.write_text(name, MARGIN, MARGIN, SCALE, &INK);
    for &(line, x, row) in &legend {
        let (x, y) = (MARGIN + x, MARGIN + (1 + row) * LINE);
        let color = color_of(line, lines.len());
        picture.paste(&color.repeat(SWATCH * 4), SWATCH, 4, x, y + LETTER * SCALE / 2 - 2);
        picture.write_text(&short(lines[line].name), x + SWATCH + GAP, y, SCALE, &INK);
    }
    rule(&mut picture, [left, top], axes[0], &up);
    for (at, columns) in columns.iter().enumerate() {
        draw(&mut picture, [left, top], columns, [low, high], color_of(at, lines.len()));
    }
    picture
}

/// The least and the largest of some numbers; infinite and the wrong way round where there are none.
fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
        assert!(value.is_finite(), "a chart cannot show {value}");
        [low.min(value), high.max(value)]
    })
}

/// What a line shows at one place.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Column {
    /// Where it is, in pixels from the left.
    x: f64,
    /// The mean there, the least and the largest value.
    mean: f64,
    low: f64,
    high: f64,
}

/// The places of a line with points: the points themselves where there are few, else the columns that have some.
fn columns(points: &[(u64, f64)], [first, last]: [f64; 2]) -> Vec<Column> {
    let place = |step: u64| (step as f64 - first) / (last - first) * (WIDTH - 1) as f64;
    if points.len() <= WIDTH / COLUMN {
        let column = |&(step, value)| Column { x: place(step), mean: value, low: value, high: value };
        return points.iter().map(column).collect();
    }
    let number = |step: u64| place(step) as usize / COLUMN;
    let column = |points: &[(u64, f64)]| {
        let count = points.len() as f64;
        let [low, high] = range(points.iter().map(|&(_, value)| value));
        let mean = points.iter().map(|&(_, value)| value).sum::<f64>() / count;
        Column { x: points.iter().map(|&(step, _)| place(step)).sum::<f64>() / count, mean, low, high }
    };
    points.chunk_by(|(a, _), (b, _)| number(*a) == number(*b)).map(column).collect()
}

/// The range of values that is shown: all means, or all but a beginning that towers above or below the rest. The last of each line is
/// among them, however early it comes.
fn heights(lines: &[Vec<Column>]) -> [f64; 2] {
    let of_line = |line: &[Column], from: f64| {
        let end = line.len().saturating_sub(1);
        let kept = |(at, column): (usize, &Column)| (column.x >= from || at == end).then_some(column.mean);
        range(line.iter().enumerate().filter_map(kept))
    };
    let after = |from: f64| {
        lines.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], line| {
            let [least, most] = of_line(line, from);
            [low.min(least), high.max(most)]
        })
    };
    let (all, settled) = (after(0.0), after(BEGINNING * WIDTH as f64));
    let reach = |[low, high]: [f64; 2]| high - low;
    let towers = reach(settled) > 0.0 && reach(all) > TOWERING * reach(settled);
    let [low, high] = if towers { settled } else { all };
    let room = if high > low { ROOM * (high - low) } else { (ROOM * low.abs()).max(1e-6) };
    // Where it leaves the chart, it should be seen that it does.
    [low - room, high + if towers { 4.0 * room } else { room }]
}

/// The number of each line with its place in the legend: pixels from the left, and the row.
fn legend(lines: &[Line<'_>]) -> Vec<(usize, usize, usize)> {
    let (mut x, mut row) = (0, 0);
    let mut places = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let wide = SWATCH + GAP + short(line.name).chars().count() * LETTER * SCALE + 2 * GAP;
        if x > 0 && x + wide > WIDTH {
            (x, row) = (0, row + 1);
        }
        places.push((at, x, row));
        x += wide;
    }
    places
}

/// A name of at most [`LONGEST`] letters: its end, which tells runs apart.
fn short(name: &str) -> String {
    let letters = name.chars().count();
    if letters <= LONGEST {
        return name.to_owned();
    }
    format!("..{}", name.chars().skip(letters - (LONGEST - 2)).collect::<String>())
}

/// Draws the rules at the marks, the axes and their labels.
fn rule(picture: &mut Picture, [left, top]: [usize; 2], across: HeatAxis<'_>, up: &[(f64, String)]) {
    for (part, label) in up {
        let y = top + ((1.0 - part) * (HEIGHT - 1) as f64).round() as usize;
        picture.paste(&RULE.repeat(WIDTH), WIDTH, 1, left, y);
        picture.paste(&INK.repeat(TICK), TICK, 1, left - TICK, y);
        let wide = label.chars().count() * LETTER * SCALE;
        let x = (left - TICK - 4).saturating_sub(wide);
        picture.write_text(label, x, y.saturating_sub(LETTER * SCALE / 2), SCALE, &INK);
    }
    let bottom = top + HEIGHT;
    for (part, _) in marks_about(across, MARKS[0]) {
        let step = across.low + part * (across.high - across.low);
        // Between two steps is none.
        if (step - step.round()).abs() > 1e-6 {
            continue;
        }
        let x = left + (part * (WIDTH - 1) as f64).round() as usize;
        picture.paste(&RULE.repeat(HEIGHT), 1, HEIGHT, x, top);
        picture.paste(&INK.repeat(TICK), 1, TICK, x, bottom);
        let label = short_step(step);
        let half = label.chars().count() * LETTER * SCALE / 2;
        // The last one would reach beyond the edge.
        let x = x.saturating_sub(half).min(picture.width().saturating_sub(2 * half));
        picture.write_text(&label, x, bottom + TICK + 4, SCALE, &INK);
    }
    picture.paste(&INK.repeat(HEIGHT + 1), 1, HEIGHT + 1, left, top);
    picture.paste(&INK.repeat(WIDTH), WIDTH, 1, left, bottom);
    let room = WIDTH.saturating_sub(across.name.chars().count() * LETTER * SCALE) / 2;
    picture.write_text(across.name, left + room, bottom + TICK + LINE, SCALE, &INK);
}

/// A step with few letters: `950`, `12.5k`, `3M`.
fn short_step(step: f64) -> String {
    let (part, unit) = match step.round() {
        step if step >= 1e6 => (step / 1e6, "M"),
        step if step >= 1e4 => (step / 1e3, "k"),
        step => (step, ""),
    };
    // Three decimals of thousands are single steps.
    let digits = format!("{part:.3}");
    format!("{}{unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// Draws a line with smooth edges, and behind it the range of its values.
fn draw(
    picture: &mut Picture,
    [left, top]: [usize; 2],
    columns: &[Column],
    [low, high]: [f64; 2],
    color: [u8; 3],
) {
    let height = |value: f64| (high - value) / (high - low) * (HEIGHT - 1) as f64;
    let mut cover = vec![0.0_f64; WIDTH * HEIGHT];
    let has_range = |column: &Column| column.high > column.low;
    for pair in columns.windows(2).filter(|pair| pair.iter().any(has_range)) {
        let [one, other] = [pair[0], pair[1]];
        for x in one.x.ceil() as usize..=other.x as usize {
            let part = (x as f64 - one.x) / (other.x - one.x).max(1e-9);
            let edge = |from: f64, to: f64| height(from + part * (to - from)).clamp(0.0, HEIGHT as f64);
            let (upper, lower) = (edge(one.high, other.high), edge(one.low, other.low));
            for y in upper as usize..(lower.ceil() as usize).min(HEIGHT) {
                cover[y * WIDTH + x] = PALE;
            }
        }
    }
    let places: Vec<[f64; 2]> = columns.iter().map(|column| [column.x, height(column.mean)]).collect();
    match places.as_slice() {
        [] => {}
        [alone] => stroke(&mut cover, *alone, *alone, MARK),
        places => places.windows(2).for_each(|ends| stroke(&mut cover, ends[0], ends[1], HALF)),
    }
    for (y, row) in cover.chunks_exact(WIDTH).enumerate() {
        for (x, &cover) in row.iter().enumerate().filter(|(_, cover)| **cover > 0.0) {
            let under = picture.pixel(left + x, top + y);
            let mixed: [u8; 3] = std::array::from_fn(|channel| {
                let [under, over] = [under[channel], color[channel]].map(f64::from);
                (under + cover * (over - under)).round() as u8
            });
            picture.paste(&mixed, 1, 1, left + x, top + y);
        }
    }
}

/// Covers what lies within `half` pixels of a straight line. What was covered more stays so, so that pieces of a line join.
fn stroke(cover: &mut [f64], from: [f64; 2], to: [f64; 2], half: f64) {
    let reach = half + 1.0;
    let (rows, [dx, dy]) = (HEIGHT as f64, [to[0] - from[0], to[1] - from[1]]);
    let length = dx * dx + dy * dy;
    // A steep piece may begin and end far above or below the chart.
    let [low_x, high_x] = [from[0].min(to[0]) - reach, from[0].max(to[0]) + reach];
    let [low_y, high_y] = [from[1].min(to[1]) - reach, from[1].max(to[1]) + reach];
    let pixels = |low: f64, high: f64, size: f64| {
        low.floor().clamp(0.0, size) as usize..(high.ceil() + 1.0).clamp(0.0, size) as usize
    };
    for y in pixels(low_y, high_y, rows) {
        for x in pixels(low_x, high_x, WIDTH as f64) {
            let [px, py] = [x as f64 - from[0], y as f64 - from[1]];
            let part = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
            let away = (px - part * dx).hypot(py - part * dy);
            let here = &mut cover[y * WIDTH + x];
            *here = here.max((half + 0.5 - away).clamp(0.0, 1.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the pixels of a colour are, in the area with the lines: the means of column and row, and how many there are.
    fn middle(picture: &Picture, color: [u8; 3], rows: std::ops::Range<usize>) -> (f64, f64, usize) {
        let place = |(x, y): (usize, usize)| (picture.pixel(x, y) == color).then_some((x as f64, y as f64));
        let all = rows.flat_map(|y| (0..picture.width()).map(move |x| (x, y)));
        let found: Vec<(f64, f64)> = all.filter_map(place).collect();
        let mean = |of: fn(&(f64, f64)) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
        (mean(|at| at.0), mean(|at| at.1), found.len())
    }

    #[test]
    fn lines_rise_and_fall_in_their_colours() {
        let (rising, falling) = ([(0, 1.0), (100, 3.0)], [(0, 3.0), (50, 1.0)]);
        let lines = [Line { name: "runs/a", points: &rising }, Line { name: "runs/b", points: &falling }];
        let picture = line_chart("validation_nll", &lines);
        let top = MARGIN + 2 * LINE + LINE / 2;
        let area =
            |from: f64, to: f64| top + (from * HEIGHT as f64) as usize..top + (to * HEIGHT as f64) as usize;
        let [one, other] = [color_of(0, 2), color_of(1, 2)];
        let (high, low) = (middle(&picture, one, area(0.0, 0.5)), middle(&picture, one, area(0.5, 1.0)));
        assert!(high.2 > 500 && low.2 > 500, "{high:?} {low:?}");
        assert!(high.0 > low.0 + 400.0, "the higher values are at the later steps: {high:?} {low:?}");
        let (high, low) = (middle(&picture, other, area(0.0, 0.5)), middle(&picture, other, area(0.5, 1.0)));
        assert!(high.0 + 200.0 < low.0, "{high:?} {low:?}");
        // The other line ends in the middle, and both have a piece in the legend.
        let end = (0..picture.width()).rev().find(|&x| area(0.0, 1.0).any(|y| picture.pixel(x, y) == other));
        assert!(end.unwrap() < picture.width() - MARGIN - WIDTH / 2 + 5);
        assert!(middle(&picture, one, 0..top - LINE / 2).2 >= SWATCH * 4);
    }

    #[test]
    fn many_points_become_columns_with_their_range() {
        let noisy: Vec<(u64, f64)> =
            (0..10_000).map(|step| (step, if step % 2 == 0 { 1.0 } else { 3.0 })).collect();
        let found = columns(&noisy, [0.0, 9999.0]);
        assert_eq!(found.len(), WIDTH / COLUMN);
        assert!(found.iter().all(|column| (column.low, column.high) == (1.0, 3.0)));
        assert!(found.iter().all(|column| (column.mean - 2.0).abs() < 0.1));
        assert!(found.windows(2).all(|pair| pair[0].x < pair[1].x));
        let picture = line_chart("loss", &[Line { name: "a", points: &noisy }]);
        let pale = WHITE.map(f64::from);
        let color = color_of(0, 1).map(f64::from);
        let mixed: [u8; 3] = std::array::from_fn(|c| (pale[c] + PALE * (color[c] - pale[c])).round() as u8);
        assert!(middle(&picture, mixed, 0..picture.height()).2 > 100_000, "the range is seen");
    }

    #[test]
    fn a_beginning_that_towers_leaves_the_chart() {
        let line = |beginning: f64| {
            let value = |step: u64| if step < 20 { beginning } else { 10.0 - step as f64 / 500.0 };
            vec![columns(&(0..500).map(|step| (step, value(step))).collect::<Vec<_>>(), [0.0, 499.0])]
        };
        let [low, high] = heights(&line(1000.0));
        assert!(low > 8.5 && high < 11.0, "{low} {high}");
        let [low, high] = heights(&line(11.0));
        assert!(low < 9.1 && high > 11.0, "{low} {high}");
        assert!(heights(&line(-1000.0))[0] > 8.5);
        let flat = heights(&[columns(&[(0, 2.0), (9, 2.0)], [0.0, 9.0])]);
        assert!(flat[0] < 2.0 && flat[1] > 2.0);
    }

    #[test]
    fn steps_and_names_are_short() {
        let steps = [0.0, 950.0, 5000.0, 12_500.0, 20_000.0, 3e6, 1_250_000.0].map(short_step);
        assert_eq!(steps, ["0", "950", "5000", "12.5k", "20k", "3M", "1.25M"]);
        assert_eq!(short("runs/a"), "runs/a");
        let long = format!("{}end", "x".repeat(80));
        assert!(short(&long).ends_with("end") && short(&long).chars().count() == LONGEST);
        let names: Vec<Line<'_>> =
            ["a", &long, &long].map(|name| Line { name, points: &[] }).into_iter().collect();
        assert_eq!(legend(&names).iter().map(|(_, _, row)| *row).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn one_point_is_a_dot() {
        let picture = line_chart("x", &[Line { name: "a", points: &[(7, 2.0)] }]);
        let top = MARGIN + 2 * LINE + LINE / 2;
        let (x, y, count) = middle(&picture, color_of(0, 1), top..top + HEIGHT);
        assert!((50..100).contains(&count), "{count}");
        let left = picture.width() - MARGIN - WIDTH;
        assert!((x - (left + WIDTH / 2) as f64).abs() < 3.0 && (y - (top + HEIGHT / 2) as f64).abs() < 3.0);
    }

    #[test]
    fn a_dot_beside_a_line_is_in_the_range_and_the_line_ends_before_the_edge() {
        let falling: Vec<(u64, f64)> = (1..=400).map(|step| (step, 2.0 - step as f64 / 400.0)).collect();
        // Early and far above the line, where the beginning of a line may leave the chart.
        let lines = [Line { name: "a", points: &falling }, Line { name: "b", points: &[(4, 50.0)] }];
        let picture = line_chart("x", &lines);
        let top = MARGIN + 2 * LINE + LINE / 2;
        let (_, y, count) = middle(&picture, color_of(1, 2), top..top + HEIGHT);
        assert!((50..100).contains(&count), "{count}");
        assert!(y - MARK > top as f64, "the dot is whole: {y}");
        let edge = picture.width() - MARGIN;
        let is_line = |x: usize| (top..top + HEIGHT).any(|y| picture.pixel(x, y) == color_of(0, 2));
        assert!((edge - 8..edge).all(|x| !is_line(x)) && (edge - 40..edge - 8).any(is_line));
    }

    #[test]
    #[should_panic(expected = "a chart of no points")]
    fn no_points_are_a_bug() {
        line_chart("x", &[Line { name: "a", points: &[] }]);
    }
}
