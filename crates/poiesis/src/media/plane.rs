//! Points of the plane as a picture: on the left the density of the model where it gives one, else how densely samples lie; on the right
//! the samples among the data, over what the discriminator makes of each place, where the model has one.

use crate::picture::{self, Picture};

/// Height and width of each half, in pixels.
const SIDE: usize = 320;
/// Height and width of the squares of one colour.
const CELL: usize = 4;
/// Squares along a side.
pub const CELLS: usize = SIDE / CELL;

/// Data are green, what a model makes of them purple.
const DATA: [u8; 3] = [0, 109, 68];
const SAMPLES: [u8; 3] = [122, 1, 119];
const WHITE: [u8; 3] = [255; 3];

/// The part of the plane that is shown: a square around the origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Half its side.
    reach: f32,
}

impl Frame {
    /// The square that shows all of `points` and some space around them.
    pub fn around<'a>(points: impl Iterator<Item = &'a [f32]>) -> Frame {
        let farthest = points.flatten().fold(0.0_f32, |most, x| most.max(x.abs()));
        Frame { reach: farthest.max(f32::MIN_POSITIVE) * 1.3 }
    }

    /// The centres of the squares, row by row from the top left, two coordinates each.
    pub fn centres(&self) -> Vec<f32> {
        let at = |i: usize| ((i as f32 + 0.5) / CELLS as f32 * 2.0 - 1.0) * self.reach;
        (0..CELLS).flat_map(|row| (0..CELLS).flat_map(move |column| [at(column), -at(row)])).collect()
    }

    /// Column and row of a point in squares of `side`; `None` outside.
    fn place(&self, point: &[f32], side: usize) -> Option<[usize; 2]> {
        let along = |x: f32| {
            let place = (x / self.reach + 1.0) / 2.0 * side as f32;
            (0.0..side as f32).contains(&place).then_some(place as usize)
        };
        Some([along(point[0])?, along(-point[1])?])
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

/// Draws `samples` and `data`.
///
/// # Panics
///
/// When a field is of another size.
pub fn plane(frame: Frame, data: &[&[f32]], samples: &[&[f32]], fields: &Fields) -> Picture {
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
    picture::grid(&[left.data(), right.data()], SIDE, SIDE, 3, 2)
}

/// How many samples there are around each square, smoothed by a Gaussian of one square's deviation.
fn density(frame: Frame, samples: &[&[f32]]) -> Vec<f32> {
    const NEAR: isize = 3;
    let mut found = vec![0.0; CELLS * CELLS];
    for [column, row] in samples.iter().filter_map(|sample| frame.place(sample, CELLS)) {
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

/// Dots of 3×3 pixels.
fn dots(picture: &mut Picture, frame: Frame, points: &[&[f32]], colour: [u8; 3]) {
    for [column, row] in points.iter().filter_map(|point| frame.place(point, SIDE - 2)) {
        picture.paste(&colour.repeat(9), 3, 3, column, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_where_they_are_and_the_field_around_them() {
        let frame = Frame::around([&[1.0_f32, -0.5][..]].into_iter());
        let centres = frame.centres();
        assert_eq!(centres.len(), 2 * CELLS * CELLS);
        assert!(centres[0] < -1.2 && centres[1] > 1.2, "the first is at the top left");
        // A point in the upper half of the plane, on the right; "real" everywhere above 0.
        let field: Vec<f32> = centres.chunks(2).map(|at| f32::from(at[1] > 0.0)).collect();
        let sample: &[f32] = &[0.65, 0.65];
        let fields = Fields { prob_real: Some(field), density: None };
        let picture = plane(frame, &[], &[sample], &fields);
        // The halves have a border.
        let (x, y) = (picture.width() / 2 + SIDE * 3 / 4, picture.height() / 4);
        assert_eq!(picture.pixel(x, y + 2), SAMPLES);
        assert_eq!(picture.pixel(picture.width() - 10, 10), blend(WHITE, DATA, 0.5));
        assert_eq!(picture.pixel(picture.width() - 10, picture.height() - 10), blend(WHITE, SAMPLES, 0.5));
        // On the left only the surroundings of the sample are coloured, and no place more than its own.
        let border = picture::PADDING + CELL / 2;
        assert_eq!(picture.pixel(SIDE * 3 / 4 + border, SIDE / 4 + border), SAMPLES);
        assert_eq!(picture.pixel(SIDE / 4 + border, SIDE * 3 / 4 + border), WHITE);
    }

    #[test]
    fn points_outside_are_not_drawn() {
        let frame = Frame::around([&[1.0_f32, 1.0][..]].into_iter());
        let far: &[f32] = &[9.0, 0.0];
        let without = Fields::default();
        assert_eq!(plane(frame, &[], &[far], &without), plane(frame, &[], &[], &without));
    }

    #[test]
    fn a_density_that_the_model_gives_is_drawn_instead_of_that_of_samples() {
        let frame = Frame::around([&[1.0_f32, 1.0][..]].into_iter());
        let density = frame.centres().chunks(2).map(|at| f32::from(at[0] > 0.0)).collect();
        let fields = Fields { density: Some(density), prob_real: None };
        let sample: &[f32] = &[-0.5, 0.0];
        let picture = plane(frame, &[], &[sample], &fields);
        assert_eq!(picture.pixel(SIDE * 3 / 4, SIDE / 2), SAMPLES);
        assert_eq!(picture.pixel(SIDE / 4, SIDE / 2), WHITE);
    }
}
