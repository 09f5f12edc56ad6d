//! Drawings: spheres and capsules seen from the side or from above.

use super::tasks::About;
use super::view::Shape as Solid;
use crate::scene::{Colour, Scene, Shape, colours};

/// From where a body is seen, and what is to be seen of the world, in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Camera {
    /// From the side, with `z` upwards; it follows the body along `x`.
    Side {
        /// Half of the width.
        half_width: f64,
        /// The lowest and the highest `z`.
        heights: [f64; 2],
        /// Whether there is ground at `z` = 0, with a mark at each metre.
        ground: bool,
    },
    /// From above, with `y` upwards; it follows the body.
    Above {
        /// Half of the width and of the height.
        half: f64,
    },
    /// From above, at the origin. The last shape is the goal.
    AboveGoal {
        /// Half of the width and of the height.
        half: f64,
    },
}

/// Width of the line around each shape, as a fraction of the height of the drawing.
const OUTLINE: f64 = 0.006;
/// More metres than a drawing is wide.
const MOST_MARKS: u32 = 8;

/// Draws a body whose trunk is at `trunk`.
pub(super) fn draw(about: &About, trunk: [f64; 3], solids: Vec<Solid>) -> Scene {
    let (low, high) = view_box(about.camera, trunk);
    let outline = OUTLINE * (high[1] - low[1]);
    let mut shapes = Vec::new();
    if let Camera::Side { ground: true, .. } = about.camera {
        let edge = 0.02 * (high[1] - low[1]);
        let (from, to) = ([low[0], -edge / 2.0], [high[0], -edge / 2.0]);
        shapes.push(Shape::Line { from, to, width: edge, colour: colours::GROUND });
        // A mark at each metre shows how fast the body moves, as the camera follows it.
        let metres = (0..MOST_MARKS).map(|i| low[0].ceil() + f64::from(i)).take_while(|x| *x <= high[0]);
        shapes.extend(metres.map(|x| {
            let (from, to) = ([x, -edge / 2.0], [x, -3.0 * edge]);
            Shape::Line { from, to, width: edge / 2.0, colour: colours::GROUND }
        }));
    }
    let last = solids.len().saturating_sub(1);
    let mut solids: Vec<(usize, Solid)> = solids.into_iter().enumerate().collect();
    // What is farther away is drawn first.
    solids.sort_by(|(_, a), (_, b)| nearness(about.camera, a).total_cmp(&nearness(about.camera, b)));
    for (index, solid) in solids {
        let goal = index == last && matches!(about.camera, Camera::AboveGoal { .. });
        let colour = if goal { colours::GOAL } else { colours::LIMB };
        shapes.push(flat(about.camera, &solid, solid.radius + outline, colours::BODY));
        shapes.push(flat(about.camera, &solid, solid.radius, colour));
    }
    Scene { low, high, shapes }
}

fn view_box(camera: Camera, trunk: [f64; 3]) -> ([f64; 2], [f64; 2]) {
    match camera {
        Camera::Side { half_width, heights: [bottom, top], .. } => {
            ([trunk[0] - half_width, bottom], [trunk[0] + half_width, top])
        }
        Camera::Above { half } => ([trunk[0] - half, trunk[1] - half], [trunk[0] + half, trunk[1] + half]),
        Camera::AboveGoal { half } => ([-half, -half], [half, half]),
    }
}

fn nearness(camera: Camera, solid: &Solid) -> f64 {
    let [from, to] = solid.ends;
    match camera {
        Camera::Side { .. } => -(from[1] + to[1]),
        Camera::Above { .. } | Camera::AboveGoal { .. } => from[2] + to[2],
    }
}

/// A shape without its depth.
fn flat(camera: Camera, solid: &Solid, radius: f64, colour: Colour) -> Shape {
    let vertical = if matches!(camera, Camera::Side { .. }) { 2 } else { 1 };
    let [from, to] = solid.ends.map(|end| [end[0], end[vertical]]);
    if (from[0] - to[0]).hypot(from[1] - to[1]) < 1e-6 {
        return Shape::Circle { centre: from, radius, colour };
    }
    Shape::Line { from, to, width: 2.0 * radius, colour }
}
