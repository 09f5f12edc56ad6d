//! Drawings as plain shapes, which the caller turns into pixels.

/// A colour as red, green and blue, each from 0 to 255.
pub type Colour = [u8; 3];

/// The colours of this crate's drawings.
pub(crate) mod colours {
    use super::Colour;

    pub(crate) const BODY: Colour = [40, 44, 52];
    pub(crate) const GROUND: Colour = [150, 154, 160];
    pub(crate) const LIMB: Colour = [204, 120, 50];
    pub(crate) const JOINT: Colour = [70, 110, 170];
    pub(crate) const GOAL: Colour = [60, 150, 80];
}

/// A drawing in world units, with `y` upwards. Later shapes cover earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// What is to be seen: the lower left corner.
    pub low: [f64; 2],
    /// What is to be seen: the upper right corner.
    pub high: [f64; 2],
    /// What is drawn, from back to front.
    pub shapes: Vec<Shape>,
}

/// One shape of a drawing.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A straight line with round ends.
    Line {
        /// Where it begins.
        from: [f64; 2],
        /// Where it ends.
        to: [f64; 2],
        /// Its width in world units.
        width: f64,
        /// Its colour.
        colour: Colour,
    },
    /// A filled circle.
    Circle {
        /// Its centre.
        centre: [f64; 2],
        /// Its radius in world units.
        radius: f64,
        /// Its colour.
        colour: Colour,
    },
    /// A filled polygon.
    Polygon {
        /// Its corners in order.
        corners: Vec<[f64; 2]>,
        /// Its colour.
        colour: Colour,
    },
}

/// A rectangle with the given centre and half sides, turned counter-clockwise by `angle` radians.
pub(crate) fn rectangle(centre: [f64; 2], half: [f64; 2], angle: f64, colour: Colour) -> Shape {
    let (sin, cos) = angle.sin_cos();
    let corner = |x: f64, y: f64| [centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos];
    let [width, height] = half;
    let corners =
        vec![corner(-width, -height), corner(width, -height), corner(width, height), corner(-width, height)];
    Shape::Polygon { corners, colour }
}

/// A curve `y = height(x)` as short lines.
pub(crate) fn curve(from: f64, to: f64, width: f64, height: impl Fn(f64) -> f64) -> Vec<Shape> {
    const PIECES: usize = 64;
    let point = |piece: usize| {
        let x = from + (to - from) * piece as f64 / PIECES as f64;
        [x, height(x)]
    };
    let line =
        |piece| Shape::Line { from: point(piece), to: point(piece + 1), width, colour: colours::GROUND };
    (0..PIECES).map(line).collect()
}
