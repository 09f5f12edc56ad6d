//! Attention: grids of Gaussian filters that read a patch from an image and write one to it (§3.2).

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use crate::models::vae::separable::both_sides;

/// Parameters of a grid of filters (Eq. 21).
pub(super) const PARAMETERS: usize = 5;

/// A grid of N × N Gaussian filters on each image of a batch.
#[derive(Clone, Debug)]
pub struct Filters {
    /// F_Y, `[batch, N, height]`; the values of each filter sum to 1.
    pub rows: Tensor<3>,
    /// F_X, `[batch, N, width]`, likewise.
    pub columns: Tensor<3>,
    /// γ, `[batch, 1, 1, 1]`.
    pub intensity: Tensor<4>,
}

impl Filters {
    /// The filters of `size` × `size` for images of `height` × `width`, by their parameters g̃_X, g̃_Y, log σ², log δ̃ and log γ
    /// (Eq. 19 to 26).
    ///
    /// # Shapes
    ///
    /// `parameters` is `[batch, 5]`.
    ///
    /// # Panics
    ///
    /// When it is not, or `size` is below 2.
    pub fn new(parameters: &Tensor<2>, size: usize, [height, width]: [usize; 2]) -> Filters {
        let [batch, given] = parameters.dims();
        assert!(given == PARAMETERS && size > 1, "[{batch}, {given}] for a grid of {size} × {size} filters");
        let parameter = |i: usize| parameters.clone().narrow(1, i, 1);
        let centre = |i: usize, side: usize| (parameter(i) + 1.0) * (0.5 * (side + 1) as f64); // (22), (23)
        let stride = parameter(3).exp() * ((height.max(width) - 1) as f64 / (size - 1) as f64); // (24)
        let precision = parameter(2).neg().exp();
        let filters = |i, side| filters(centre(i, side), stride.clone(), precision.clone(), size, side);
        Filters {
            rows: filters(1, height),
            columns: filters(0, width),
            intensity: parameter(4).exp().reshape([batch, 1, 1, 1]),
        }
    }

    /// γ F_Y x F_Xᵀ of each channel (Eq. 27): the patch that the filters see.
    ///
    /// # Shapes
    ///
    /// `[batch, height, width, channels]` to `[batch, N, N, channels]`.
    pub fn read(&self, images: Tensor<4>) -> Tensor<4> {
        both_sides(self.rows.clone(), images, self.columns.clone()) * self.intensity.clone()
    }

    /// F_Yᵀ w F_X / γ of each channel (Eq. 29): the patch `w` on an image that is 0 elsewhere.
    ///
    /// # Shapes
    ///
    /// `[batch, N, N, channels]` to `[batch, height, width, channels]`.
    pub fn write(&self, patch: Tensor<4>) -> Tensor<4> {
        let [rows, columns] = [&self.rows, &self.columns].map(|filters| filters.clone().swap_dims(1, 2));
        both_sides(rows, patch, columns) / self.intensity.clone()
    }
}

/// The filters along one axis, `[batch, size, side]`, around their means (Eq. 19, 20, 25, 26). The softmax divides each by its sum,
/// which far outside of the image would round to 0. `centre`, `stride` and `precision`, 1 / σ², are `[batch, 1]`.
fn filters(
    centre: Tensor<2>,
    stride: Tensor<2>,
    precision: Tensor<2>,
    size: usize,
    side: usize,
) -> Tensor<3> {
    let (batch, device) = (centre.dims()[0], centre.device());
    let offsets = numbers(size, &device) - (size as f64 / 2.0 + 0.5);
    let means = (centre + stride * offsets).reshape([batch, size, 1]);
    let pixels = numbers(side, &device).reshape([1, 1, side]);
    let scaled = (pixels - means).square() * precision.reshape([batch, 1, 1]) * -0.5;
    softmax(scaled, 2)
}

/// 1 to `count`, `[1, count]`.
fn numbers(count: usize, device: &Device) -> Tensor<2> {
    let numbers: Vec<f32> = (1..=count).map(|i| i as f32).collect();
    Tensor::from_data(TensorData::new(numbers, [1, count]), device)
}
