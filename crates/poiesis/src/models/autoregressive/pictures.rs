//! Pictures from the sequences of their numbers.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use crate::capability::Code;
use crate::data::ImageShape;
use crate::generate::{Choice, Writer};

/// Draws the images numbered `indices` of the sequence that `seed` starts, of the classes `0..classes` in turn, `[indices,
/// height, width, channels]` in [-1, 1].
pub(super) fn sample(
    code: &dyn Code,
    shape: ImageShape,
    classes: usize,
    seed: u64,
    indices: Range<u64>,
    device: &Device,
) -> Tensor<4> {
    let ImageShape { height, width, channels } = shape;
    let class = |index: u64| (classes > 0).then(|| (index % classes as u64) as u32);
    let of_each: Vec<Option<u32>> = indices.clone().map(class).collect();
    let count = of_each.len();
    let mut writer = Writer::new(code, seed, indices, &of_each, Choice::default());
    let mut values = vec![0.0; count * shape.dims()];
    let scale = 2.0 / (code.alphabet() - 1) as f32;
    for place in 0..shape.dims() {
        for (image, value) in writer.next(&vec![None; count]).into_iter().enumerate() {
            values[image * shape.dims() + place] = value as f32 * scale - 1.0;
        }
    }
    Tensor::from_data(TensorData::new(values, [count, height, width, channels]), device)
}
