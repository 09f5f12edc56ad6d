//! The spatial transformer (Jaderberg et al. 2015, arXiv:1506.02025) for windows that are moved and scaled, bilinear.
//!
//! Without rotation a bilinear sample is a product of a triangle along the rows and one along the columns.

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

use crate::models::vae::separable::both_sides;

/// A window on each image of a batch.
#[derive(Clone, Debug)]
pub struct Window {
    /// Its height and width as parts of those of the image, `[batch, 1]`.
    pub scale: Tensor<2>,
    /// Column of its centre, from -1 at the left edge of the image to 1 at the right, `[batch, 1]`.
    pub x: Tensor<2>,
    /// Row of its centre, from -1 at the top to 1, `[batch, 1]`.
    pub y: Tensor<2>,
}

impl Window {
    /// What the window shows, sampled at `size` × `size` points; images are 0 outside of their edges.
    ///
    /// # Shapes
    ///
    /// `[batch, height, width, channels]` to `[batch, size, size, channels]`.
    pub fn read(&self, images: Tensor<4>, size: usize) -> Tensor<4> {
        let [_, height, width, _] = images.dims();
        let along = |centre: &Tensor<2>, side: usize| {
            let points = centre.clone() + self.scale.clone() * centres(size, &images.device());
            triangles(places(points, side), side)
        };
        let (rows, columns) = (along(&self.y, height), along(&self.x, width));
        both_sides(rows, images, columns)
    }

    /// Images of `height` × `width` with `objects` in the window and 0 elsewhere.
    ///
    /// # Shapes
    ///
    /// `[batch, size, size, channels]` to `[batch, height, width, channels]`.
    pub fn write(&self, objects: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
        let size = objects.dims()[1];
        let along = |centre: &Tensor<2>, side: usize| {
            let points = (centres(side, &objects.device()) - centre.clone()) / self.scale.clone();
            triangles(places(points, size), size)
        };
        let (rows, columns) = (along(&self.y, height), along(&self.x, width));
        both_sides(rows, objects, columns)
    }
}

/// The centres of `count` pixels between -1 and 1, `[1, count]`.
fn centres(count: usize, device: &Device) -> Tensor<2> {
    let centres: Vec<f32> = (0..count).map(|i| (2 * i + 1) as f32 / count as f32 - 1.0).collect();
    Tensor::from_data(TensorData::new(centres, [1, count]), device)
}

/// Points between -1 and 1 as places between `side` pixels, of which the first is at 0.
fn places(points: Tensor<2>, side: usize) -> Tensor<2> {
    (points + 1.0) * (side as f64 / 2.0) - 0.5
}

/// The weights of `side` pixels in bilinear samples at `places`, `[batch, samples]` to `[batch, samples, side]`.
fn triangles(places: Tensor<2>, side: usize) -> Tensor<3> {
    let pixels: Vec<f32> = (0..side).map(|i| i as f32).collect();
    let pixels = Tensor::<3>::from_data(TensorData::new(pixels, [1, 1, side]), &places.device());
    let [batch, samples] = places.dims();
    relu((places.reshape([batch, samples, 1]) - pixels).abs().neg() + 1.0)
}
