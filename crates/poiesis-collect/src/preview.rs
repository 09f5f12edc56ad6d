//! A picture of a data set: a grid of its images, with boxes around their objects where these are known, its points seen along pairs of
//! their coordinates, or the rewards of its episodes over time.

use crate::card::{Card, Kind};
use crate::dataset::{Dataset, View};
use crate::error::Result;
use crate::experience::curves;
use crate::split::Split;

/// An RGB picture, 8 bits a channel, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `width * height` RGB triples.
    pub pixels: Vec<u8>,
}

/// Draws about `count` examples of a split, spread evenly over it: images in a grid about as wide as it is high,
/// small ones enlarged in whole steps, transparent ones over a chequered ground, with the boxes of their objects; points as a scatter plot with
/// one colour a class. Points of more than two dimensions are plotted for each pair of the first four: first over
/// second, first over third, and so on, row by row. Of episodes, the sum of rewards over time, a curve for each.
///
/// # Errors
///
/// [`crate::Error::NoSplit`] when the data set does not have the split, [`crate::Error::WrongKind`] when it is a stream.
pub fn preview(dataset: &Dataset, split: Split, count: usize) -> Result<Preview> {
    let spread = |len: usize| -> Vec<usize> {
        let count = count.clamp(1, len);
        (0..count).map(|i| i * len / count).collect()
    };
    if dataset.card().kind == Kind::Experience {
        let episodes = dataset.require_episodes(split)?;
        return Ok(curves(&episodes, &spread(episodes.len())));
    }
    let view = dataset.require(split)?;
    let chosen = spread(view.len());
    let card = dataset.card();
    Ok(match card.kind {
        Kind::Images => grid(&view, &card.shape, &chosen),
        Kind::Points => scatter(&view, card, &chosen),
        Kind::Text | Kind::Sound | Kind::Experience => unreachable!("it has no view"),
    })
}

/// Pixels between neighbouring images, and around all.
const GAP: usize = 2;
/// The colour of the gaps and of the ground of a scatter plot.
const PAPER: [u8; 3] = [250, 250, 248];

fn grid(view: &View, shape: &[usize], chosen: &[usize]) -> Preview {
    let [height, width, channels] = shape[..] else { panic!("images have three dimensions, not {shape:?}") };
    let zoom = (64 / height.max(width)).max(1);
    let columns = (chosen.len() as f64).sqrt().ceil() as usize;
    let rows = chosen.len().div_ceil(columns);
    let (cell_width, cell_height) = (width * zoom + GAP, height * zoom + GAP);
    let mut picture = Preview::blank(columns * cell_width + GAP, rows * cell_height + GAP);
    for (cell, &index) in chosen.iter().enumerate() {
        let (left, top) = (GAP + cell % columns * cell_width, GAP + cell / columns * cell_height);
        let image = view.image(index);
        for y in 0..height * zoom {
            for x in 0..width * zoom {
                let start = (y / zoom * width + x / zoom) * channels;
                let ground = if (x / 8 + y / 8) % 2 == 0 { 255 } else { 215 };
                picture.set(left + x, top + y, opaque(&image[start..start + channels], ground));
            }
        }
        for sides in view.boxes(index).unwrap_or_default() {
            picture.outline(sides, [left, top], [width * zoom, height * zoom]);
        }
    }
    picture
}

/// The colour of the boxes around objects.
const BOX: [u8; 3] = [230, 60, 50];

/// A pixel of any number of channels as RGB, over grey where it is transparent.
fn opaque(pixel: &[u8], ground: u8) -> [u8; 3] {
    match *pixel {
        [v] => [v; 3],
        [r, g, b, a] => [r, g, b].map(|v| {
            let (v, ground, a) = (u32::from(v), u32::from(ground), u32::from(a));
            ((v * a + ground * (255 - a) + 127) / 255) as u8
        }),
        _ => [pixel[0], pixel[1], pixel[2]],
    }
}

/// Side of a scatter plot in pixels.
const PLOT: usize = 512;

/// Side of one of several scatter plots in pixels.
const SMALL_PLOT: usize = 256;
/// Coordinates of which pairs are plotted.
const PLOTTED: usize = 4;

/// Points as a plot of their only pair of coordinates, or as a grid of plots.
fn scatter(view: &View, card: &Card, chosen: &[usize]) -> Preview {
    let ranges = ranges(view, card, chosen);
    let pairs: Vec<(usize, usize)> = match ranges.len() {
        1 => vec![(0, 0)],
        many => (0..many).flat_map(|x| (x + 1..many).map(move |y| (x, y))).collect(),
    };
    if let [pair] = pairs[..] {
        let mut picture = Preview::blank(PLOT, PLOT);
        plot(&mut picture, Place { left: 0, top: 0, side: PLOT }, view, chosen, pair, &ranges);
        return picture;
    }
    let columns = (pairs.len() as f64).sqrt().ceil() as usize;
    let rows = pairs.len().div_ceil(columns);
    let cell = SMALL_PLOT + GAP;
    let mut picture = Preview::blank(columns * cell + GAP, rows * cell + GAP);
    picture.pixels.fill(GRID);
    for (number, &pair) in pairs.iter().enumerate() {
        let (left, top) = (GAP + number % columns * cell, GAP + number / columns * cell);
        let place = Place { left, top, side: SMALL_PLOT };
        for y in 0..SMALL_PLOT {
            (0..SMALL_PLOT).for_each(|x| picture.set(left + x, top + y, PAPER));
        }
        plot(&mut picture, place, view, chosen, pair, &ranges);
    }
    picture
}

/// The grey between several plots.
const GRID: u8 = 205;

/// Smallest and largest value of each coordinate that is plotted, with some room around. Points made by code lie around the origin
/// in one scale; columns of a file have each their own.
fn ranges(view: &View, card: &Card, chosen: &[usize]) -> Vec<(f32, f32)> {
    if let Some(points) = &card.points {
        let room = |(&low, &high): (&f32, &f32)| {
            let room =
                ((high / 2.0 - low / 2.0) * 0.1).max(high.abs().max(low.abs()) * 1e-3).max(f32::MIN_POSITIVE);
            (low - room, high + room)
        };
        return points.low.iter().zip(&points.high).take(PLOTTED).map(room).collect();
    }
    let values = chosen.iter().flat_map(|&i| view.point(i));
    let reach = values.fold(0.0_f32, |max, v| max.max(v.abs())).max(f32::MIN_POSITIVE) * 1.1;
    vec![(-reach, reach); card.shape.iter().product::<usize>().min(PLOTTED)]
}

/// The square of a picture that a plot is drawn into, in pixels.
#[derive(Clone, Copy)]
struct Place {
    left: usize,
    top: usize,
    side: usize,
}

/// Draws one pair of coordinates, the first to the right and the second upwards.
fn plot(
    picture: &mut Preview,
    place: Place,
    view: &View,
    chosen: &[usize],
    (x, y): (usize, usize),
    ranges: &[(f32, f32)],
) {
    let last = place.side - 1;
    let pixel = |v: f32, (low, high): (f32, f32)| {
        let part = (f64::from(v) - f64::from(low)) / (f64::from(high) - f64::from(low));
        (part * last as f64).round() as isize
    };
    let inside = |at: isize| (0..place.side as isize).contains(&at);
    for &index in chosen {
        let point = view.point(index);
        let colour = COLOURS[view.label(index).unwrap_or(0) as usize % COLOURS.len()];
        let (column, row) = (pixel(point[x], ranges[x]), last as isize - pixel(point[y], ranges[y]));
        for (dx, dy) in [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)] {
            let (column, row) = (column + dx, row + dy);
            if inside(column) && inside(row) {
                picture.blend(place.left + column as usize, place.top + row as usize, colour);
            }
        }
    }
}

/// Colours that stay apart on paper, also for most colour-blind readers.
pub(crate) const COLOURS: [[u8; 3]; 8] = [
    [38, 102, 178],
    [222, 118, 20],
    [30, 140, 90],
    [196, 50, 60],
    [128, 84, 176],
    [120, 86, 60],
    [214, 96, 168],
    [84, 84, 92],
];

impl Preview {
    pub(crate) fn blank(width: usize, height: usize) -> Preview {
        Preview { width: width as u32, height: height as u32, pixels: PAPER.repeat(width * height) }
    }

    pub(crate) fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        let start = (y * self.width as usize + x) * 3;
        self.pixels[start..start + 3].copy_from_slice(&colour);
    }

    /// Draws the outline of a box on an image of `[width, height]` pixels whose top left corner is at `corner`.
    fn outline(&mut self, sides: &[f32; 4], corner: [usize; 2], size: [usize; 2]) {
        let [across, down] = [0, 1].map(|axis| {
            let pixel = |at: f32| (at * size[axis] as f32).round() as usize;
            let (first, end) = (pixel(sides[axis]), pixel(sides[axis] + sides[axis + 2]));
            let last = end.max(first + 1).min(size[axis]) - 1;
            [first.min(last), last].map(|at| corner[axis] + at)
        });
        for x in across[0]..=across[1] {
            down.iter().for_each(|&y| self.set(x, y, BOX));
        }
        for y in down[0]..=down[1] {
            across.iter().for_each(|&x| self.set(x, y, BOX));
        }
    }

    /// Blends a colour at half strength into a pixel, so that crowded places look darker.
    pub(crate) fn blend(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        let start = (y * self.width as usize + x) * 3;
        for (old, new) in self.pixels[start..start + 3].iter_mut().zip(colour) {
            *old = ((u16::from(*old) + u16::from(new)) / 2) as u8;
        }
    }
}
