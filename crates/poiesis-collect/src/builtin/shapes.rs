//! `shapes`: one flat, anti-aliased shape on a dark ground. Shape, size, position, angle and hue are drawn
//! independently and uniformly, and are stored with each image, so that what a model discovers can be compared with them.

use std::f32::consts::{PI, TAU};

use super::{Made, below, random, uniform};
use crate::card::Factor;
use crate::prepare::luma;

/// The shapes, in the order of the labels.
pub(crate) const CLASSES: [&str; 5] = ["circle", "square", "triangle", "star", "heart"];

/// Radius of the circle around a shape, as a fraction of the image size.
const SIZE: (f32, f32) = (0.26, 0.40);
/// Position of the centre, as a fraction of the image size. The largest shape still fits.
const PLACE: (f32, f32) = (0.40, 0.60);
/// Degrees, anticlockwise. No shape but the circle looks the same twice within this range, so the angle can be seen.
const ANGLE: (f32, f32) = (-30.0, 30.0);
/// The ground, as RGB.
const GROUND: [u8; 3] = [26, 28, 40];

/// What is varied. Grey images have no hue.
pub(crate) fn factors(channels: u8) -> Vec<Factor> {
    let factor = |name: &str, unit: &str, (low, high): (f32, f32), discrete: bool| Factor {
        name: name.to_owned(),
        unit: unit.to_owned(),
        low,
        high,
        discrete,
    };
    let mut factors = vec![
        factor("shape", "class", (0.0, (CLASSES.len() - 1) as f32), true),
        factor("size", "image sides", SIZE, false),
        factor("x", "image sides", PLACE, false),
        factor("y", "image sides", PLACE, false),
        factor("angle", "degrees", ANGLE, false),
    ];
    if channels != 1 {
        factors.push(factor("hue", "turns", (0.0, 1.0), false));
    }
    factors
}

/// Makes image `index` of shape `[height, width, channels]`. The same index shows the same scene at any resolution.
pub(crate) fn make(index: u64, seed: u64, shape: &[usize]) -> Made {
    let mut rng = random(seed, "shapes", index);
    let class = below(&mut rng, CLASSES.len());
    let mut between = |(low, high): (f32, f32)| low + (high - low) * uniform(&mut rng);
    let (size, x, y, angle, hue) =
        (between(SIZE), between(PLACE), between(PLACE), between(ANGLE), between((0.0, 1.0)));
    let placed = Placed { outline: outline(class), size, x, y, angle: angle.to_radians() };
    let mut factors = vec![class as f32, size, x, y, angle];
    if shape[2] != 1 {
        factors.push(hue);
    }
    // Grey images are white on black, as in most grey data sets.
    let (ground, colour) = if shape[2] == 1 { ([0; 3], [255; 3]) } else { (GROUND, colour(hue)) };
    let example = placed.draw(shape, ground, colour);
    Made { example, label: class as u32, factors, boxes: Vec::new() }
}

/// A shape put in its place.
pub(super) struct Placed {
    pub(super) outline: Outline,
    /// Radius, as a fraction of the shorter side of the image.
    pub(super) size: f32,
    /// Centre, as fractions of the width and of the height.
    pub(super) x: f32,
    pub(super) y: f32,
    /// Radians, anticlockwise.
    pub(super) angle: f32,
}

impl Placed {
    /// The shape in an image of one colour, `[height, width, channels]`.
    pub(super) fn draw(&self, shape: &[usize], ground: [u8; 3], colour: [u8; 3]) -> Vec<u8> {
        let (height, width, channels) = (shape[0], shape[1], shape[2]);
        let side = height.min(width) as f32;
        let radius = self.size * side;
        let (sin, cos) = self.angle.sin_cos();
        let mut image = Vec::with_capacity(height * width * channels);
        for row in 0..height {
            for column in 0..width {
                // From the centre of the shape, y upwards, in radii, turned back by the angle.
                let dx = (column as f32 + 0.5 - self.x * width as f32) / radius;
                let dy = (self.y * height as f32 - row as f32 - 0.5) / radius;
                let point = [cos * dx + sin * dy, cos * dy - sin * dx];
                // A pixel's coverage falls from 1 to 0 within half a pixel on either side of the edge.
                let coverage = (0.5 - self.outline.distance(point) * radius).clamp(0.0, 1.0);
                let pixel = [0, 1, 2].map(|c| {
                    let (back, front) = (f32::from(ground[c]), f32::from(colour[c]));
                    (back + (front - back) * coverage).round() as u8
                });
                match channels {
                    1 => image.push(luma(pixel[0], pixel[1], pixel[2])),
                    _ => image.extend(pixel),
                }
            }
        }
        image
    }
}

/// A shape of about unit radius around the origin.
pub(super) enum Outline {
    Circle,
    /// Corners, in order around the shape.
    Polygon(Vec<[f32; 2]>),
}

/// The outline of a class. Radii differ a little so that all shapes cover about as much ground.
pub(super) fn outline(class: usize) -> Outline {
    let ring = |count: usize, start: f32, radius: &dyn Fn(usize) -> f32| {
        let corner = |i: usize| {
            let angle = start + TAU * i as f32 / count as f32;
            [radius(i) * angle.cos(), radius(i) * angle.sin()]
        };
        Outline::Polygon((0..count).map(corner).collect())
    };
    match CLASSES[class] {
        "circle" => Outline::Circle,
        "square" => ring(4, PI / 4.0, &|_| 1.1),
        "triangle" => ring(3, PI / 2.0, &|_| 1.15),
        "star" => ring(10, PI / 2.0, &|i| if i % 2 == 0 { 1.2 } else { 0.5 }),
        _ => Outline::Polygon(heart()),
    }
}

/// A heart, by the classic curve
/// x = 16 sin³ t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t, scaled to about unit radius, its centre of mass at the origin.
fn heart() -> Vec<[f32; 2]> {
    let corner = |i: u8| {
        let t = TAU * f32::from(i) / 48.0;
        let x = 16.0 * t.sin().powi(3);
        let y = 13.0 * t.cos() - 5.0 * (2.0 * t).cos() - 2.0 * (3.0 * t).cos() - (4.0 * t).cos();
        [x / 15.5, (y - 0.75) / 15.5]
    };
    (0..48).map(corner).collect()
}

impl Outline {
    /// How far the shape reaches to the left, to the right, up and down of the origin when it is turned by `angle`, in radii.
    pub(super) fn reach(&self, angle: f32) -> [f32; 4] {
        let corners = match self {
            Outline::Circle => return [1.0; 4],
            Outline::Polygon(corners) => corners,
        };
        let (sin, cos) = angle.sin_cos();
        let most = |of: &dyn Fn([f32; 2]) -> f32| {
            corners.iter().map(|&[x, y]| of([cos * x - sin * y, sin * x + cos * y])).fold(0.0, f32::max)
        };
        [most(&|[x, _]| -x), most(&|[x, _]| x), most(&|[_, y]| y), most(&|[_, y]| -y)]
    }

    /// Distance from a point to the edge, in radii: negative inside, positive outside.
    fn distance(&self, [x, y]: [f32; 2]) -> f32 {
        let from_origin = x.hypot(y);
        let corners = match self {
            Outline::Circle => return from_origin - 1.0,
            Outline::Polygon(corners) => corners,
        };
        // Every outline lies within a circle of this radius, and far from it only the sign matters.
        const REACH: f32 = 1.3;
        if from_origin > REACH + 0.5 {
            return from_origin - REACH;
        }
        let (mut nearest, mut inside) = (f32::INFINITY, false);
        for (i, &[ax, ay]) in corners.iter().enumerate() {
            let [bx, by] = corners[(i + 1) % corners.len()];
            let (ex, ey) = (bx - ax, by - ay);
            let along = (((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0);
            let (dx, dy) = (x - ax - along * ex, y - ay - along * ey);
            nearest = nearest.min(dx * dx + dy * dy);
            // Each edge that a ray to the right crosses changes sides.
            if (ay > y) != (by > y) && x < ax + ex * (y - ay) / ey {
                inside = !inside;
            }
        }
        if inside { -nearest.sqrt() } else { nearest.sqrt() }
    }
}

/// A bright colour of the given hue in turns: HSV with saturation 0.78 and value 0.96.
pub(super) fn colour(hue: f32) -> [u8; 3] {
    const SATURATION: f32 = 0.78;
    const VALUE: f32 = 0.96;
    [5.0, 3.0, 1.0].map(|offset: f32| {
        let k = (offset + hue * 6.0) % 6.0;
        let drop = k.min(4.0 - k).clamp(0.0, 1.0);
        (255.0 * VALUE * (1.0 - SATURATION * drop)).round() as u8
    })
}
