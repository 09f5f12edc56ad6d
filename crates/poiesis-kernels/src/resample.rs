//! Halving and doubling of images by the filter [1, 2, 1].

use burn::tensor::Tensor;

use crate::flex;
use crate::flex::resample::Filter;

/// Sums over three neighbours of which the middle one counts twice.
const DOWN: Filter = Filter { taps: [0.25, 0.5, 0.25], offset: -1 };
/// Its adjoint doubles: each pixel goes to one place, and half of it to both places beside.
const UP: Filter = Filter { taps: [0.5, 1.0, 0.5], offset: 0 };

/// Halves both sides of images `[batch, height, width, channels]`: row `i` is the mean of rows `2 i − 1`, `2 i` (twice) and `2 i + 1`, with
/// zeros around the image, and likewise columns.
///
/// On Flex on all threads, in one pass over the images.
///
/// # Panics
///
/// When a side is odd.
pub fn downsample(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    assert!(height % 2 == 0 && width % 2 == 0, "downsample: the sides of input {:?} are not even", x.dims());
    if x.dims().contains(&0) {
        return Tensor::zeros([batch, height / 2, width / 2, channels], &x.device());
    }
    flex::resample::halve(&x, DOWN).unwrap_or_else(|| default_downsample(x))
}

/// Doubles both sides of images `[batch, height, width, channels]`: row `2 i + 1` is row `i`, row `2 i` is the mean of rows `i − 1` and `i`,
/// with zeros before the first, and likewise columns.
///
/// On Flex on all threads, in one pass over the images.
pub fn upsample(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    if x.dims().contains(&0) {
        return Tensor::zeros([batch, 2 * height, 2 * width, channels], &x.device());
    }
    flex::resample::double(&x, UP).unwrap_or_else(|| default_upsample(x))
}

/// The same in Burn's own operations.
pub fn default_downsample(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let x = halve(x.reshape([batch, height, width * channels]));
    let x = halve(x.reshape([batch * height / 2, width, channels]));
    x.reshape([batch, height / 2, width / 2, channels])
}

/// `[outer, length, inner]` to `[outer, length / 2, inner]`.
fn halve(x: Tensor<3>) -> Tensor<3> {
    let [outer, length, inner] = x.dims();
    let pairs = x.reshape([outer, length / 2, 2, inner]);
    let [even, odd] = [0, 1].map(|i| pairs.clone().narrow(2, i, 1).reshape([outer, length / 2, inner]));
    even * 0.5 + (odd.clone() + after_zero(odd)) * 0.25
}

/// The same in Burn's own operations.
pub fn default_upsample(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let x = double(x.reshape([batch, height, width * channels]));
    let x = double(x.reshape([batch * 2 * height, width, channels]));
    x.reshape([batch, 2 * height, 2 * width, channels])
}

/// `[outer, length, inner]` to `[outer, 2 · length, inner]`.
fn double(x: Tensor<3>) -> Tensor<3> {
    let [outer, length, inner] = x.dims();
    let between = (x.clone() + after_zero(x.clone())) * 0.5;
    Tensor::stack::<4>(vec![between, x], 2).reshape([outer, 2 * length, inner])
}

/// The rows moved on by one, with zeros in the first place.
fn after_zero(x: Tensor<3>) -> Tensor<3> {
    let [outer, length, inner] = x.dims();
    let zeros = Tensor::zeros([outer, 1, inner], &x.device());
    if length == 1 {
        return zeros;
    }
    Tensor::cat(vec![zeros, x.narrow(1, 0, length - 1)], 1)
}
