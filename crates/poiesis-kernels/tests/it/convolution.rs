//! Convolutions against plain loops in f64: results and every gradient, over all kinds of shapes.

#![expect(clippy::needless_range_loop, reason = "plain loops are the point of these tests")]

use burn::tensor::Tensor;
use poiesis_kernels::{ConvOptions, ConvTransposeOptions, conv_transpose2d, conv2d};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::common::{
    assert_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor, values, wide,
    with_gradients,
};

/// A convolution between a large image with `channels` and a small one with `out` channels.
#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    large: [usize; 2],
    channels: usize,
    out: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [[usize; 2]; 2],
    dilation: [usize; 2],
    groups: usize,
    /// Active taps of the kernel.
    active_taps: Option<usize>,
}

impl Case {
    fn square(batch: usize, size: usize, channels: usize, out: usize, k: usize, s: usize, p: usize) -> Self {
        Self {
            batch,
            large: [size; 2],
            channels,
            out,
            kernel: [k; 2],
            stride: [s; 2],
            padding: [[p; 2]; 2],
            dilation: [1; 2],
            groups: 1,
            active_taps: None,
        }
    }

    fn small(&self) -> Option<[usize; 2]> {
        let mut small = [0; 2];
        for a in 0..2 {
            let padded = self.large[a] + self.padding[a][0] + self.padding[a][1];
            let reach = self.dilation[a] * (self.kernel[a] - 1) + 1;
            small[a] = padded.checked_sub(reach)? / self.stride[a] + 1;
        }
        Some(small)
    }

    /// What a transposed convolution from the small image must add to reach the large one.
    fn output_padding(&self) -> Option<[usize; 2]> {
        let small = self.small()?;
        let mut missing = [0; 2];
        for a in 0..2 {
            let full = (small[a] - 1) * self.stride[a] + self.dilation[a] * (self.kernel[a] - 1) + 1;
            missing[a] = (self.large[a] + self.padding[a][0] + self.padding[a][1]).checked_sub(full)?;
        }
        Some(missing)
    }

    /// Calls `visit(large, small, tap, c in group, o)` with the indices of all products.
    fn products(&self, mut visit: impl FnMut(usize, usize, usize, usize, usize)) {
        let small = self.small().unwrap();
        let (group_channels, group_out) = (self.channels / self.groups, self.out / self.groups);
        for n in 0..self.batch {
            for oy in 0..small[0] {
                for ox in 0..small[1] {
                    for ky in 0..self.kernel[0] {
                        for kx in 0..self.kernel[1] {
                            let y = (oy * self.stride[0] + ky * self.dilation[0])
                                .wrapping_sub(self.padding[0][0]);
                            let x = (ox * self.stride[1] + kx * self.dilation[1])
                                .wrapping_sub(self.padding[1][0]);
                            let inactive = self
                                .active_taps
                                .is_some_and(|active_taps| ky * self.kernel[1] + kx >= active_taps);
                            if inactive || y >= self.large[0] || x >= self.large[1] {
                                continue;
                            }
                            for o in 0..self.out {
                                for c in 0..group_channels {
                                    let channel = o / group_out * group_channels + c;
                                    let large = ((n * self.large[0] + y) * self.large[1] + x) * self.channels
                                        + channel;
                                    let small = ((n * small[0] + oy) * small[1] + ox) * self.out + o;
                                    visit(large, small, ky * self.kernel[1] + kx, c, o);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Calls `visit(from, to, weight)` for all products of the convolution, or of the transposed one.
    fn directed(&self, direction: Direction, mut visit: impl FnMut(usize, usize, usize)) {
        let group_channels = self.channels / self.groups;
        match direction {
            Direction::Convolution => {
                self.products(|l, s, tap, c, o| visit(l, s, (tap * group_channels + c) * self.out + o));
            }
            Direction::Transposed => {
                self.products(|l, s, tap, c, o| visit(s, l, (tap * self.out + o) * group_channels + c));
            }
        }
    }

    fn large_len(&self) -> usize {
        self.batch * self.large[0] * self.large[1] * self.channels
    }

    fn small_len(&self) -> usize {
        let [h, w] = self.small().unwrap();
        self.batch * h * w * self.out
    }

    fn weights(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels / self.groups * self.out
    }
}

/// Result, gradient of the input, of the weights and of the bias of a convolution on Flex.
fn convolve(case: &Case, x: &[f32], weight: &[f32], bias: &[f32], dy: &[f32]) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let [h, w] = case.small().unwrap();
    let x_shape = [case.batch, case.large[0], case.large[1], case.channels];
    let weight_shape = [case.kernel[0], case.kernel[1], case.channels / case.groups, case.out];
    let x = tensor(x, x_shape, &device).require_grad();
    let weight = tensor(weight, weight_shape, &device).require_grad();
    let bias = tensor(bias, [case.out], &device).require_grad();
    let options = ConvOptions {
        stride: case.stride,
        padding: case.padding,
        dilation: case.dilation,
        groups: case.groups,
        active_taps: case.active_taps,
    };
    let y = conv2d(x.clone(), weight.clone(), Some(bias.clone()), &options);
    assert_eq!(y.dims(), [case.batch, h, w, case.out]);
    with_gradients(y, dy, (&x, &weight, &bias))
}

/// The same of the transposed convolution from the small image to the large one.
fn convolve_transposed(case: &Case, x: &[f32], weight: &[f32], bias: &[f32], dy: &[f32]) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let [h, w] = case.small().unwrap();
    let weight_shape = [case.kernel[0], case.kernel[1], case.out, case.channels / case.groups];
    let x = tensor(x, [case.batch, h, w, case.out], &device).require_grad();
    let weight = tensor(weight, weight_shape, &device).require_grad();
    let bias = tensor(bias, [case.channels], &device).require_grad();
    let options = ConvTransposeOptions {
        stride: case.stride,
        padding: case.padding,
        output_padding: case.output_padding().unwrap(),
        dilation: case.dilation,
        groups: case.groups,
    };
    let y = conv_transpose2d(x.clone(), weight.clone(), Some(bias.clone()), &options);
    assert_eq!(y.dims(), [case.batch, case.large[0], case.large[1], case.channels]);
    with_gradients(y, dy, (&x, &weight, &bias))
}

/// What [`convolve`] and [`convolve_transposed`] return.
const NAMES: [&str; 4] = ["y", "dx", "dw", "db"];

#[derive(Clone, Copy, Debug)]
enum Direction {
    /// From the large image to the small one.
    Convolution,
    /// From the small image to the large one.
    Transposed,
}

fn check(case: &Case) {
    let large = numbers(case.large_len(), 1);
    let small = numbers(case.small_len(), 2);
    let weight = numbers(case.weights(), 3);
    let small_bias = numbers(case.out, 4);
    let large_bias = numbers(case.channels, 5);

    let got = convolve(case, &large, &weight, &small_bias, &small);
    compare(case, Direction::Convolution, &got, [&large, &small, &small_bias, &weight]);
    if case.output_padding().is_none() || case.active_taps.is_some() {
        return;
    }
    let got = convolve_transposed(case, &small, &weight, &large_bias, &large);
    compare(case, Direction::Transposed, &got, [&small, &large, &large_bias, &weight]);
}

/// Compares result and gradients with plain loops.
fn compare(case: &Case, direction: Direction, got: &[Vec<f32>], [x, dy, bias, weight]: [&[f32]; 4]) {
    // Sums of many numbers of both signs.
    // Winograd's schemes round a little more than direct sums.
    let tolerance = if case.channels.is_multiple_of(16) { 1e-5 } else { 3e-6 };
    let bias_tolerance = 1e-6 * (case.large_len() as f64).sqrt().max(4.0);
    let [x, dy, bias, weight] = [x, dy, bias, weight].map(wide);
    let mut y: Vec<f64> = (0..dy.len()).map(|i| bias[i % bias.len()]).collect();
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; bias.len()]);
    case.directed(direction, |from, to, w| {
        y[to] += x[from] * weight[w];
        dx[from] += dy[to] * weight[w];
        dw[w] += dy[to] * x[from];
    });
    for (i, &value) in dy.iter().enumerate() {
        db[i % bias.len()] += value;
    }
    let tolerances = [tolerance, tolerance, 2.0 * tolerance, bias_tolerance];
    for (i, expected) in [y, dx, dw, db].iter().enumerate() {
        assert_close(&got[i], expected, tolerances[i], &format!("{} of {direction:?} {case:?}", NAMES[i]));
    }
}

#[test]
fn shapes_of_the_models() {
    // DCGAN and the like: 4×4 stride 2, 5×5 stride 2, the first and the last layer.
    check(&Case::square(3, 16, 16, 32, 4, 2, 1));
    check(&Case::square(5, 8, 48, 16, 4, 2, 1));
    check(&Case::square(2, 7, 16, 16, 4, 2, 1));
    check(&Case::square(2, 10, 32, 80, 4, 2, 1));
    check(&Case::square(2, 2, 16, 16, 4, 2, 1));
    check(&Case::square(4, 16, 3, 24, 4, 2, 1));
    check(&Case::square(4, 4, 96, 1, 4, 1, 0));
    check(&Case::square(4, 4, 40, 20, 4, 1, 0));
    check(&Case::square(3, 8, 32, 48, 5, 2, 2));
    check(&Case::square(2, 28, 1, 32, 4, 2, 1));
    check(&Case::square(2, 14, 32, 64, 4, 2, 1));
    check(&Case::square(2, 9, 32, 32, 3, 1, 1));
    check(&Case::square(2, 8, 40, 24, 3, 2, 1));
    check(&Case::square(3, 6, 48, 64, 1, 1, 0));
    check(&Case::square(2, 6, 300, 260, 1, 1, 0));
    check(&Case::square(2, 12, 4, 8, 7, 1, 3));
}

#[test]
fn shapes_of_every_winograd_scheme() {
    // Large channel counts with few pixels take small tiles, the others large ones.
    for (kernel, stride, padding) in [(3, 1, 1), (4, 2, 1), (5, 2, 2), (3, 1, 0), (3, 2, 1), (2, 1, 0)] {
        for size in [4, 9, 13, 16] {
            for (channels, out) in [(16, 32), (80, 64), (64, 80), (160, 144)] {
                let batch = if channels > 100 { 1 } else { 3 };
                check(&Case::square(batch, size, channels, out, kernel, stride, padding));
            }
        }
    }
    check(&Case { padding: [[2, 0], [0, 1]], large: [11, 14], ..Case::square(2, 12, 32, 32, 3, 1, 1) });
    // So many tiles that they are transformed in parts.
    check(&Case::square(3, 64, 32, 32, 3, 1, 1));
    check(&Case::square(2, 64, 32, 32, 4, 2, 1));
    check(&Case::square(2, 64, 32, 32, 5, 2, 2));
}

#[test]
fn odd_shapes() {
    let base = Case::square(2, 7, 4, 6, 3, 1, 1);
    check(&Case { large: [5, 1], kernel: [2, 1], padding: [[0, 0], [0, 0]], ..base.clone() });
    check(&Case { stride: [5, 4], padding: [[0, 0], [0, 0]], ..base.clone() });
    check(&Case { padding: [[2, 0], [0, 1]], ..base.clone() });
    check(&Case { groups: 2, ..base.clone() });
    check(&Case { groups: 4, out: 8, dilation: [2, 3], padding: [[2, 2], [3, 3]], ..base.clone() });
    check(&Case { stride: [2, 3], dilation: [3, 2], padding: [[3, 2], [1, 4]], ..base.clone() });
    check(&Case { stride: [4, 6], dilation: [2, 4], padding: [[3, 2], [5, 4]], ..base.clone() });
    check(&Case {
        batch: 1,
        large: [1, 1],
        channels: 1,
        out: 1,
        kernel: [1, 1],
        padding: [[0, 0], [0, 0]],
        ..base.clone()
    });
    check(&Case { channels: 64, out: 64, groups: 2, stride: [2, 2], ..base });
}

/// Wide enough that most windows are read in place.
#[test]
fn wide_images() {
    let base = Case::square(2, 28, 5, 20, 3, 1, 1);
    check(&base);
    check(&Case::square(3, 64, 3, 24, 4, 2, 1));
    check(&Case::square(2, 30, 5, 17, 3, 2, 1));
    check(&Case { large: [9, 50], kernel: [3, 5], padding: [[1, 1], [2, 2]], ..base.clone() });
    check(&Case { large: [20, 41], kernel: [5, 3], stride: [3, 2], ..base.clone() });
    // The kernels of a gated PixelCNN: the rows above a pixel, and the pixels to its left.
    check(&Case { large: [10, 26], kernel: [2, 3], padding: [[2, 0], [1, 1]], ..base.clone() });
    check(&Case { large: [10, 26], kernel: [1, 2], padding: [[0, 0], [1, 0]], ..base.clone() });
    // Lines of which none is inside, or all are.
    check(&Case { large: [2, 30], ..base.clone() });
    check(&Case { large: [1, 30], kernel: [5, 3], padding: [[2, 2], [1, 1]], ..base.clone() });
    check(&Case { large: [12, 30], padding: [[0, 0], [0, 0]], ..base.clone() });
    for active_taps in [0, 1, 5, 8] {
        check(&Case { active_taps: Some(active_taps), ..base.clone() });
    }
}

#[test]
fn pixels_with_a_stride_and_images_from_pixels() {
    check(&Case::square(3, 8, 20, 36, 1, 2, 0));
    check(&Case::square(3, 9, 20, 36, 1, 2, 0));
    check(&Case { groups: 2, stride: [4, 2], large: [8, 12], ..Case::square(2, 8, 20, 36, 1, 2, 0) });
    check(&Case::square(5, 4, 128, 20, 4, 1, 0));
    check(&Case { large: [2, 3], kernel: [2, 3], ..Case::square(5, 4, 300, 7, 4, 1, 0) });
}

#[test]
fn masked_kernels() {
    let base = Case::square(2, 9, 16, 32, 3, 1, 1);
    for active_taps in 0..=9 {
        check(&Case { active_taps: Some(active_taps), ..base.clone() });
    }
    check(&Case { active_taps: Some(24), ..Case::square(2, 12, 3, 16, 7, 1, 3) });
    check(&Case { active_taps: Some(25), ..Case::square(1, 9, 64, 64, 7, 1, 3) });
    check(&Case { active_taps: Some(7), ..Case::square(2, 8, 16, 16, 4, 2, 1) });
    check(&Case { active_taps: Some(5), channels: 40, out: 48, groups: 2, dilation: [2, 2], ..base });
}

#[test]
#[should_panic(expected = "[3, 3, 4, 8] has fewer taps than the Some(10)")]
fn a_mask_beyond_the_kernel_panics() {
    let device = flex_device();
    let options = ConvOptions { active_taps: Some(10), ..ConvOptions::default() };
    conv2d(Tensor::ones([1, 4, 4, 4], &device), Tensor::ones([3, 3, 4, 8], &device), None, &options);
}

#[test]
fn empty_batch() {
    check(&Case::square(0, 8, 16, 16, 4, 2, 1));
    check(&Case::square(0, 8, 3, 5, 3, 1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn generated_shapes(
        batch in 1usize..4,
        large in [1usize..12, 1usize..12],
        groups in 1usize..4,
        channels in 1usize..6,
        out in 1usize..6,
        kernel in [1usize..6, 1usize..6],
        stride in [1usize..5, 1usize..5],
        padding in [[0usize..4, 0usize..4], [0usize..4, 0usize..4]],
        dilation in [1usize..4, 1usize..4],
        active_taps in proptest::option::weighted(0.2, 0usize..25),
    ) {
        let active_taps = active_taps.map(|active_taps| active_taps.min(kernel[0] * kernel[1]));
        let case = Case {
            batch, large, channels: channels * groups, out: out * groups, kernel, stride,
            padding, dilation, groups, active_taps,
        };
        prop_assume!(case.small().is_some());
        check(&case);
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    for case in [
        Case::square(7, 16, 32, 48, 4, 2, 1),
        Case::square(7, 12, 40, 72, 3, 1, 1),
        Case::square(9, 12, 3, 24, 5, 2, 2),
    ] {
        let large = numbers(case.large_len(), 1);
        let small = numbers(case.small_len(), 2);
        let weight = numbers(case.weights(), 3);
        let bias = numbers(case.out, 4);
        assert_same_for_any_threads(|| convolve(&case, &large, &weight, &bias, &small));
        let bias = numbers(case.channels, 4);
        assert_same_for_any_threads(|| convolve_transposed(&case, &small, &weight, &bias, &large));
    }
}

#[test]
fn views_are_read_in_their_own_order() {
    let device = flex_device();
    let x = tensor(&numbers(2 * 6 * 5 * 16, 1), [2, 16, 6, 5], &device).permute([0, 2, 3, 1]);
    let weight = tensor(&numbers(3 * 3 * 16 * 8, 2), [8, 3, 3, 16], &device).permute([1, 2, 3, 0]);
    let options = ConvOptions::new([1, 1], [1, 1]);
    let copy = |t: Tensor<4>| {
        let shape = t.dims();
        tensor(&values(t), shape, &device)
    };
    let expected = conv2d(copy(x.clone()), copy(weight.clone()), None, &options);
    assert_eq!(values(conv2d(x, weight, None, &options)), values(expected));
}

#[test]
fn frozen_weights_take_no_gradient() {
    let device = autodiff_device();
    let x = tensor(&numbers(2 * 8 * 8 * 16, 1), [2, 8, 8, 16], &device).require_grad();
    let weight = tensor(&numbers(16 * 16 * 16, 2), [4, 4, 16, 16], &flex_device());
    let y = conv2d(x.clone(), weight.clone(), None, &ConvOptions::new([2, 2], [1, 1]));
    let gradients = y.sum().backward();
    assert!(x.grad(&gradients).is_some());
    assert!(weight.grad(&gradients).is_none());
}
