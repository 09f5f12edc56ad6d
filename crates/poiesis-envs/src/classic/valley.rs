//! The valley of both mountain cars (Moore 1990), whose height is that of a sine.

use crate::scene::{Scene, Shape, colours, curve, rectangle};

/// Where the valley ends; the left end is a wall.
pub(super) const LEFT: f64 = -1.2;
/// The right end.
pub(super) const RIGHT: f64 = 0.6;
/// The largest velocity, in positions a step.
pub(super) const FASTEST: f64 = 0.07;
/// The pull of gravity at a slope of 1, in positions a step².
pub(super) const GRAVITY: f64 = 0.0025;

/// The height at `x`, for drawings only.
fn height(x: f64) -> f64 {
    (3.0 * x).sin() * 0.45 + 0.55
}

/// A car at `x`, and a flag at `goal`.
pub(super) fn scene(x: f64, goal: f64) -> Scene {
    let mut shapes = curve(LEFT, RIGHT, 0.02, height);
    let foot = [goal, height(goal)];
    let top = [goal, foot[1] + 0.2];
    shapes.push(Shape::Line { from: foot, to: top, width: 0.01, colour: colours::BODY });
    let corners = vec![top, [goal + 0.1, top[1] - 0.04], [goal, top[1] - 0.08]];
    shapes.push(Shape::Polygon { corners, colour: colours::GOAL });
    let slope = (1.35 * (3.0 * x).cos()).atan();
    let above = |distance: f64, along: f64| {
        let (sin, cos) = slope.sin_cos();
        [x + along * cos - distance * sin, height(x) + along * sin + distance * cos]
    };
    shapes.push(rectangle(above(0.06, 0.0), [0.07, 0.03], slope, colours::BODY));
    let wheel = |along| Shape::Circle { centre: above(0.03, along), radius: 0.025, colour: colours::JOINT };
    shapes.extend([wheel(-0.04), wheel(0.04)]);
    Scene { low: [LEFT, 0.0], high: [RIGHT + 0.1, 1.3], shapes }
}
