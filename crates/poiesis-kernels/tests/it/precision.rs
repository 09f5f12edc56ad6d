//! Matrix products with factors of bf16, in a process of their own because the precision applies to the whole process.

use burn::tensor::Tensor;
use poiesis_kernels::{
    Activation, AttentionOptions, ConvOptions, Precision, attention, conv2d, gru, linear, lstm, precision,
    set_precision,
};

use crate::common::{
    assert_close, assert_same_for_any_threads, autodiff_device, limit_instruction_set, numbers, runs_alone,
    tensor, values, wide,
};

/// Rows, inputs and outputs of layers: odd depths, blocks that are not full, more than one block of depth.
const SIZES: [[usize; 3]; 11] = [
    [1200, 40, 600],
    [16, 1, 1],
    [17, 3, 17],
    [100, 129, 64],
    [97, 128, 70],
    [200, 257, 130],
    [31, 500, 33],
    [193, 64, 16],
    [33, 31, 79],
    [64, 47, 95],
    [5, 40, 40],
];

/// The nearest bf16, ties to even.
fn rounded(x: f32) -> f64 {
    let bits = x.to_bits();
    let bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    f64::from(f32::from_bits(bits))
}

/// A layer and both its gradients for the gradient `dy`, and the same sums of the rounded factors in f64.
fn layer([rows, inputs, outputs]: [usize; 3]) -> (Vec<Vec<f32>>, Vec<Vec<f64>>) {
    let (x, w, dy) = (numbers(rows * inputs, 1), numbers(inputs * outputs, 2), numbers(rows * outputs, 3));
    let device = autodiff_device();
    let x_tensor = tensor(&x, [rows, inputs], &device).require_grad();
    let w_tensor = tensor(&w, [inputs, outputs], &device).require_grad();
    let y = linear(x_tensor.clone(), w_tensor.clone(), None, Activation::Identity);
    let gradients = (y.clone() * tensor(&dy, [rows, outputs], &device)).sum().backward();
    let got = vec![
        values(y.inner()),
        values(x_tensor.grad(&gradients).unwrap()),
        values(w_tensor.grad(&gradients).unwrap()),
    ];
    let (mut y, mut dx) = (vec![0.0; rows * outputs], vec![0.0; rows * inputs]);
    let mut dw = vec![0.0; inputs * outputs];
    for i in 0..rows {
        for p in 0..inputs {
            for j in 0..outputs {
                let (x, w, dy) =
                    (rounded(x[i * inputs + p]), rounded(w[p * outputs + j]), rounded(dy[i * outputs + j]));
                y[i * outputs + j] += x * w;
                dx[i * inputs + p] += dy * w;
                dw[p * outputs + j] += x * dy;
            }
        }
    }
    (got, vec![y, dx, dw])
}

/// The values of `y` and the gradients of the sum of their squares.
fn with_gradients<const D: usize>(
    y: Tensor<D>,
    leaves: &[Tensor<D>],
    weights: &[Tensor<2>],
) -> Vec<Vec<f32>> {
    let gradients = y.clone().powi_scalar(2).sum().backward();
    let mut all = vec![values(y.inner())];
    all.extend(leaves.iter().map(|leaf| values(leaf.grad(&gradients).unwrap())));
    all.extend(weights.iter().map(|leaf| values(leaf.grad(&gradients).unwrap())));
    all
}

/// Convolutions by direct sums and by Winograd's algorithms, attention and recurrent layers, with gradients.
fn other_operations() -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let random = |shape: [usize; 4], seed| {
        tensor(&numbers(shape.iter().product(), seed), shape, &device).require_grad()
    };
    let mut all = Vec::new();
    for (image, kernel, stride, padding) in [
        ([2, 9, 11, 3], [1, 5, 3, 20], [2, 1], [0, 2]),
        ([3, 12, 14, 64], [4, 4, 64, 96], [2, 2], [1, 1]),
        ([3, 9, 14, 64], [3, 3, 64, 64], [1, 1], [1, 1]),
    ] {
        let (image, kernel) = (random(image, 4), random(kernel, 5));
        let y = conv2d(image.clone(), kernel.clone(), None, &ConvOptions::new(stride, padding));
        all.extend(with_gradients(y, &[image, kernel], &[]));
    }

    let [q, k, v] = [6, 7, 8].map(|seed| random([2, 70, 2, 24], seed));
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let y = attention(q.clone(), k.clone(), v.clone(), &options);
    all.extend(with_gradients(y, &[q, k, v], &[]));

    let (batch, time, inputs, hidden) = (17, 3, 40, 48);
    let x = tensor(&numbers(batch * time * inputs, 9), [batch, time, inputs], &device).require_grad();
    let weight = |shape: [usize; 2], seed| {
        let numbers: Vec<f32> = numbers(shape.iter().product(), seed).iter().map(|x| 0.2 * x).collect();
        tensor(&numbers, shape, &device).require_grad()
    };
    let zeros = |gates: usize| Tensor::<1>::zeros([gates * hidden], &device);
    let weights = |gates: usize| [weight([inputs, gates * hidden], 10), weight([hidden, gates * hidden], 11)];
    let [w, u] = weights(4);
    let (y, _) = lstm(x.clone(), w.clone(), u.clone(), zeros(4), None);
    all.extend(with_gradients(y, std::slice::from_ref(&x), &[w, u]));
    let [w, u] = weights(3);
    let (y, _) = gru(x.clone(), w.clone(), u.clone(), zeros(3), zeros(3), None);
    all.extend(with_gradients(y, &[x], &[w, u]));
    all
}

/// Convolutions by direct sums of small whole numbers, which rounding leaves as they are, with gradients: even and odd channels
/// and widths, strides, kernels cut short.
fn convolutions_of_whole_numbers() -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let random = |shape: [usize; 4], seed| {
        let numbers = numbers(shape.iter().product(), seed);
        tensor(&numbers.iter().map(|x| (2.0 * x).round()).collect::<Vec<_>>(), shape, &device).require_grad()
    };
    let mut all = Vec::new();
    for (image, kernel, stride, active_taps) in [
        ([2, 12, 14, 6], [3, 5, 6, 20], [1, 1], None),
        ([2, 12, 14, 6], [3, 5, 6, 20], [1, 1], Some(8)),
        ([2, 11, 13, 6], [3, 3, 6, 70], [1, 1], Some(5)),
        ([1, 40, 24, 34], [2, 3, 34, 33], [1, 1], None),
        ([2, 24, 28, 4], [3, 3, 4, 24], [2, 2], Some(4)),
        ([2, 12, 14, 5], [3, 5, 5, 20], [1, 1], Some(8)),
    ] {
        let (x, w) = (random(image, 14), random(kernel, 15));
        let padding = [kernel[0] / 2, kernel[1] / 2];
        let options = ConvOptions { active_taps, ..ConvOptions::new(stride, padding) };
        let y = conv2d(x.clone(), w.clone(), None, &options);
        let slopes = random(y.dims(), 16);
        let gradients = (y.clone() * slopes).sum().backward();
        all.push(values(y.inner()));
        all.extend([x, w].map(|leaf| values(leaf.grad(&gradients).unwrap())));
    }
    all
}

#[test]
fn products_of_bf16() {
    if !runs_alone("precision::products_of_bf16") {
        return;
    }
    limit_instruction_set();
    if !Precision::Bf16.is_supported() {
        println!("skipped: this processor has no AVX512-BF16");
        return;
    }
    let in_full = other_operations();
    let whole = convolutions_of_whole_numbers();
    set_precision(Precision::Bf16);
    assert_eq!(precision(), Precision::Bf16);
    for size in SIZES {
        let (got, expected) = layer(size);
        for (what, (got, expected)) in ["y", "dx", "dw"].iter().zip(got.iter().zip(&expected)) {
            assert_close(got, expected, 2e-6, &format!("{what} of {size:?}"));
        }
    }
    // Rounding of factors to 2⁻⁹ changes results by about as much, but no more.
    for (index, (in_bf16, in_full)) in other_operations().iter().zip(&in_full).enumerate() {
        assert_close(in_bf16, &wide(in_full), 1e-2, &format!("operation {index}"));
        assert_ne!(in_bf16, in_full, "operation {index} is not in bf16");
    }
    for (index, (in_bf16, in_full)) in convolutions_of_whole_numbers().iter().zip(&whole).enumerate() {
        assert_eq!(in_bf16, in_full, "whole numbers {index}");
    }
    assert_same_for_any_threads(|| {
        let mut all = other_operations();
        all.extend(SIZES.into_iter().flat_map(|size| layer(size).0));
        all
    });
    set_precision(Precision::F32);
    assert_eq!(other_operations(), in_full);
}
