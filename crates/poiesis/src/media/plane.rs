//! Points of the plane as a picture: on the left the density of the model where it gives one, else how densely samples lie; on the right
//! the samples among the data, over what the discriminator makes of each place, where the model has one.

use crate::picture::{self, HeatAxis, Picture, with_axes};

/// Height and width of each half without its axes, in pixels.
const SIDE: usize = 480;
/// Height and width of the squares of one colour.
const CELL: usize = 6;
/// Squares along a side.
pub const CELLS: usize = SIDE / CELL;
/// Room around the data on each side, as a part of their range.
pub const ROOM: f64 = 0.15;

/// Data are green, what a model makes of them purple.
const DATA: [u8; 3] = [0, 109, 68];
const SAMPLES: [u8; 3] = [122, 1, 119];
const WHITE: [u8; 3] = [255; 3];

/// The part of the plane that is shown: a rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    low: [f64; 2],
    high: [f64; 2],
}

impl Frame {
    /// The rectangle that shows all of `points`, and around them `room` times their range. Both axes have the same scale where neither
    /// range is twice the other; values of one column may be thousands of times those of another.
    pub fn around(points: impl Iterator<Item = [f32; 2]>, room: f64) -> Frame {
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for point in points.filter(|point| point.iter().all(|x| x.is_finite())) {
            for (axis, x) in point.map(f64::from).into_iter().enumerate() {
                low[axis] = low[axis].min(x);
                high[axis] = high[axis].max(x);
            }
        }
        if low[0] > high[0] {
            return Frame { low: [-1.0; 2], high: [1.0; 2] };
        }
        let middle = [0, 1].map(|axis| (low[axis] + high[axis]) / 2.0);
        let mut reach = [0, 1].map(|axis| high[axis] - low[axis]);
        let most = reach[0].max(reach[1]);
        if reach[0].min(reach[1]) > most / 2.0 {
            reach = [most; 2];
        }
        let half = [0, 1].map(|axis| match (reach[axis], middle[axis]) {
            // All have one value, which is in the middle.
            (0.0, 0.0) => 1.0,
            (0.0, value) => 0.2 * value.abs(),
            (reach, _) => (0.5 + room) * reach,
        });
        Frame {
            low: [0, 1].map(|axis| middle[axis] - half[axis]),
            high: [0, 1].map(|axis| middle[axis] + half[axis]),
        }
    }

    /// The centres of the squares, row by row from the top left, two coordinates each.
    pub fn centres(&self) -> Vec<f32> {
        let at = |axis: usize, part: usize| {
            let part = (part as f64 + 0.5) / CELLS as f64;
            (self.low[axis] + part * (self.high[axis] - self.low[axis])) as f32
        };
        let row = |row: usize| (0..CELLS).flat_map(move |column| [at(0, column), at(1, CELLS - 1 - row)]);
        (0..CELLS).flat_map(row).collect()
    }

    /// Column and row of a point in squares of `side`; `None` outside.
    pub(super) fn place(&self, point: [f32; 2], side: usize) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let part = (f64::from(point[axis]) - self.low[axis]) / (self.high[axis] - self.low[axis]);
            (0.0..1.0).contains(&part).then_some((part * side as f64) as usize)
        };
        Some([along(0)?, side - 1 - along(1)?])
    }

    /// The axes, by the names of the coordinates.
    pub(super) fn axes<'a>(&self, names: [&'a str; 2]) -> [HeatAxis<'a>; 2] {
        [0, 1].map(|axis| HeatAxis { name: names[axis], low: self.low[axis], high: self.high[axis] })
    }
}

/// What a model says of each of [`Frame::centres`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    /// Its density, in any unit.
    pub density: Option<Vec<f32>>,
    /// The probability of "real".
    pub prob_real: Option<Vec<f32>>,
}

/// Draws `samples` and `data` with axes, which have the names of the coordinates.
///
/// # Panics
///
/// When a field is of another size.
pub fn plane(
    frame: Frame,
    names: [&str; 2],
    data: &[&[f32]],
    samples: &[&[f32]],
    fields: &Fields,
) -> Picture {
    let densities = fields.density.clone().unwrap_or_else(|| density(frame, samples));
    let most = densities.iter().fold(f32::MIN_POSITIVE, |most, &density| most.max(density));
    // The root shows thin places too.
    let left = cells(densities.iter().map(|density| blend(WHITE, SAMPLES, (density / most).sqrt())));
    let mut right = match &fields.prob_real {
        Some(field) => cells(field.iter().map(|&real| {
            let (colour, part) = if real > 0.5 { (DATA, real - 0.5) } else { (SAMPLES, 0.5 - real) };
            blend(WHITE, colour, part)
        })),
        None => Picture::filled(SIDE, SIDE, &WHITE),
    };
    dots(&mut right, frame, data, DATA);
    dots(&mut right, frame, samples, SAMPLES);
    let [left, right] = [left, right].map(|half| with_axes(&half, frame.axes(names)));
    picture::grid(&[left.data(), right.data()], left.height(), left.width(), 3, 2)
}

/// How many samples there are around each square, smoothed by a Gaussian of one square's deviation.
fn density(frame: Frame, samples: &[&[f32]]) -> Vec<f32> {
    const NEAR: isize = 3;
    let mut found = vec![0.0; CELLS * CELLS];
    for [column, row] in samples.iter().filter_map(|sample| frame.place([sample[0], sample[1]], CELLS)) {
        for (dy, dx) in (-NEAR..=NEAR).flat_map(|dy| (-NEAR..=NEAR).map(move |dx| (dy, dx))) {
            let (y, x) = (row as isize + dy, column as isize + dx);
            let inside = 0..CELLS as isize;
            if inside.contains(&y) && inside.contains(&x) {
                found[y as usize * CELLS + x as usize] += (-0.5 * (dy * dy + dx * dx) as f32).exp();
            }
        }
    }
    found
}

/// A half of the picture from the colours of its squares.
fn cells(colours: impl Iterator<Item = [u8; 3]>) -> Picture {
    let pixels: Vec<u8> = colours.flatten().collect();
    Picture::new(CELLS, CELLS, 3, pixels).enlarged(CELL)
}

fn blend(from: [u8; 3], to: [u8; 3], part: f32) -> [u8; 3] {
    [0, 1, 2].map(|i| (f32::from(from[i]) + (f32::from(to[i]) - f32::from(from[i])) * part) as u8)
}

fn dots(picture: &mut Picture, frame: Frame, points: &[&[f32]], colour: [u8; 3]) {
    for place in points.iter().filter_map(|point| frame.place([point[0], point[1]], SIDE)) {
        dot(picture, place, colour);
    }
}

/// A dot of 3×3 pixels around a place, moved inside at the edge.
pub(super) fn dot(picture: &mut Picture, place: [usize; 2], colour: [u8; 3]) {
    let most = [picture.width(), picture.height()].map(|side| side - 3);
    let [x, y] = [0, 1].map(|axis| place[axis].saturating_sub(1).min(most[axis]));
    picture.paste(&colour.repeat(9), 3, 3, x, y);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["x", "y"];

    fn frame_of(points: &[[f32; 2]]) -> Frame {
        Frame::around(points.iter().copied(), ROOM)
    }

    /// The two halves without their axes.
    fn halves(picture: &Picture, frame: Frame) -> [Picture; 2] {
        let empty = with_axes(&Picture::filled(SIDE, SIDE, &[1, 2, 3]), frame.axes(NAMES));
        let inside = |x: usize, y: usize| empty.pixel(x, y) == [1, 2, 3];
        let (left, top) = (0..empty.height())
            .flat_map(|y| (0..empty.width()).map(move |x| (x, y)))
            .find(|&(x, y)| inside(x, y))
            .unwrap();
        [0, 1].map(|half| {
            let x = picture::PADDING + half * (empty.width() + picture::PADDING) + left;
            let rows = (0..SIDE).map(|row| top + picture::PADDING + row);
            let pixels = rows.flat_map(|y| (0..SIDE).flat_map(move |column| picture.pixel(x + column, y)));
            Picture::new(SIDE, SIDE, 3, pixels.copied().collect())
        })
    }

    #[test]
    fn points_lie_where_they_are_and_the_field_around_them() {
        let frame = frame_of(&[[1.0, 1.0], [-1.0, -1.0]]);
        let centres = frame.centres();
        assert_eq!(centres.len(), 2 * CELLS * CELLS);
        assert!(centres[0] < -1.2 && centres[1] > 1.2, "the first is at the top left");
        // A point in the upper half of the plane, on the right; "real" everywhere above 0.
        let field: Vec<f32> = centres.chunks(2).map(|at| f32::from(at[1] > 0.0)).collect();
        let sample: &[f32] = &[0.65, 0.65];
        let fields = Fields { prob_real: Some(field), density: None };
        let [left, right] = halves(&plane(frame, NAMES, &[], &[sample], &fields), frame);
        assert_eq!(right.pixel(SIDE * 3 / 4, SIDE / 4), SAMPLES);
        assert_eq!(right.pixel(SIDE - 10, 10), blend(WHITE, DATA, 0.5));
        assert_eq!(right.pixel(SIDE - 10, SIDE - 10), blend(WHITE, SAMPLES, 0.5));
        // On the left only the surroundings of the sample are coloured, and no place more than its own.
        assert_eq!(left.pixel(SIDE * 3 / 4 - CELL / 2, SIDE / 4 + CELL / 2), SAMPLES);
        assert_eq!(left.pixel(SIDE / 4, SIDE / 4), WHITE);
    }

    #[test]
    fn points_outside_are_not_drawn() {
        let frame = frame_of(&[[1.0, 1.0], [0.0, 0.0]]);
        let far: &[f32] = &[9.0, 0.0];
        let without = Fields::default();
        assert_eq!(plane(frame, NAMES, &[], &[far], &without), plane(frame, NAMES, &[], &[], &without));
    }

    #[test]
    fn a_density_that_the_model_gives_is_drawn_instead_of_that_of_samples() {
        let frame = frame_of(&[[1.0, 1.0], [-1.0, -1.0]]);
        let density = frame.centres().chunks(2).map(|at| f32::from(at[0] > 0.0)).collect();
        let fields = Fields { density: Some(density), prob_real: None };
        let sample: &[f32] = &[-0.5, 0.0];
        let [left, _] = halves(&plane(frame, NAMES, &[], &[sample], &fields), frame);
        assert_eq!(left.pixel(SIDE * 3 / 4, SIDE / 2), SAMPLES);
        assert_eq!(left.pixel(SIDE / 4, SIDE / 2), WHITE);
    }

    #[test]
    fn each_axis_has_the_range_of_its_column_and_alike_ones_one_scale() {
        let units = frame_of(&[[160.0, 2e6], [180.0, 4e6]]);
        let near = |found: [f64; 2], expected: [f64; 2]| {
            found
                .iter()
                .zip(expected)
                .all(|(found, expected)| (found - expected).abs() <= 1e-9 * expected.abs())
        };
        assert!(near(units.low, [157.0, 1.7e6]) && near(units.high, [183.0, 4.3e6]), "{units:?}");
        let alike = frame_of(&[[0.0, 10.0], [4.0, 13.0]]);
        assert!(near(alike.low, [-0.6, 8.9]) && near(alike.high, [4.6, 14.1]), "{alike:?}");
        let constant = frame_of(&[[7.0, 0.0]; 2]);
        assert!(near(constant.low, [5.6, -1.0]) && near(constant.high, [8.4, 1.0]), "{constant:?}");
        let place = constant.place([7.0, 0.0], 100).unwrap();
        assert!(place.iter().all(|at| (49..=50).contains(at)), "{place:?}");
        assert_eq!(frame_of(&[[f32::NAN, 1.0]]), frame_of(&[]), "what is no number is nowhere");
    }
}
