//! Finding objects in images.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Finds the objects of images.
pub trait Objects: Sync {
    /// A box around each object of each image, in the order in which they are found; as many as it counts.
    ///
    /// `images` is `[batch, height, width, channels]` in [-1, 1].
    fn find(&self, images: Tensor<4>) -> Vec<Vec<Bounds>>;
}

/// A box in an image, in fractions of its sides from the top left corner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Its left edge.
    pub left: f32,
    /// Its upper edge.
    pub top: f32,
    /// Its width.
    pub width: f32,
    /// Its height.
    pub height: f32,
}

impl Bounds {
    /// The area that lies in both boxes, divided by the area that lies in either: 1 for equal boxes, 0 for boxes apart.
    pub fn intersection_over_union(&self, other: &Bounds) -> f64 {
        let shared = |a: f32, length_a: f32, b: f32, length_b: f32| {
            let end = (f64::from(a) + f64::from(length_a)).min(f64::from(b) + f64::from(length_b));
            (end - f64::from(a.max(b))).max(0.0)
        };
        let both = shared(self.left, self.width, other.left, other.width)
            * shared(self.top, self.height, other.top, other.height);
        let area = |bounds: &Bounds| f64::from(bounds.width) * f64::from(bounds.height);
        let either = area(self) + area(other) - both;
        if either > 0.0 { both / either } else { 0.0 }
    }
}

impl From<[f32; 4]> for Bounds {
    /// From left, top, width and height, as data sets store them.
    fn from([left, top, width, height]: [f32; 4]) -> Bounds {
        Bounds { left, top, width, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersection_over_union_is_that_of_areas() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        let a = Bounds::from([0.3, 0.4, 0.4, 0.2]);
        near(a.intersection_over_union(&a), 1.0);
        // Moved by half its width: a third of the union is shared.
        let moved = Bounds { left: a.left + 0.2, ..a };
        near(a.intersection_over_union(&moved), 1.0 / 3.0);
        near(moved.intersection_over_union(&a), 1.0 / 3.0);
        // Inside of one of four times its area.
        near(Bounds::from([0.35, 0.45, 0.2, 0.1]).intersection_over_union(&a), 0.25);
        // Moved by halves of both sides: 1 of 7 quarters.
        near(Bounds::from([0.5, 0.5, 0.4, 0.2]).intersection_over_union(&a), 1.0 / 7.0);
        assert_eq!(a.intersection_over_union(&Bounds { left: 0.9, ..a }), 0.0);
        assert_eq!(a.intersection_over_union(&Bounds { width: 0.0, height: 0.0, ..a }), 0.0);
    }
}
