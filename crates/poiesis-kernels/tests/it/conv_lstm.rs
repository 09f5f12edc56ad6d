//! LSTMs over the lines of images.

use burn::tensor::{Device, Tensor};
use poiesis_kernels::internals::default_conv_lstm as default;
use poiesis_kernels::{Lines, conv_lstm};

use crate::common::{
    Fixture, assert_all_close, assert_close, assert_same_for_any_threads, autodiff_device, flex_device,
    numbers, tensor, values,
};

const ALL: [Lines; 3] = [Lines::Rows, Lines::Diagonals, Lines::MirroredDiagonals];

/// Batch, height, width, hidden units, taps.
type Size = [usize; 5];

const SIZES: [Size; 7] = [
    [1, 1, 1, 1, 1],
    [2, 4, 7, 16, 2],
    [3, 7, 4, 20, 3],
    [2, 1, 6, 5, 2],
    [2, 6, 1, 3, 3],
    [1, 5, 5, 70, 4],
    [5, 6, 9, 35, 5],
];

fn arguments([batch, height, width, hidden, taps]: Size, device: &Device) -> (Tensor<4>, Tensor<3>) {
    let scale = 1.5 / ((taps * hidden) as f32).sqrt();
    let weight: Vec<f32> = numbers(taps * hidden * 4 * hidden, 2).iter().map(|w| w * scale).collect();
    let x: Vec<f32> = numbers(batch * height * width * 4 * hidden, 1).iter().map(|x| 2.0 * x).collect();
    (
        tensor(&x, [batch, height, width, 4 * hidden], device),
        tensor(&weight, [taps, hidden, 4 * hidden], device),
    )
}

type ConvLstm = fn(Tensor<4>, Tensor<3>, Lines) -> Tensor<4>;

/// The result and both gradients.
fn run(conv_lstm: ConvLstm, size: Size, lines: Lines) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let (x, weight) = arguments(size, &device);
    let (x, weight) = (x.require_grad(), weight.require_grad());
    let y = conv_lstm(x.clone(), weight.clone(), lines);
    let dy = tensor(&numbers(y.shape().num_elements(), 3), y.dims(), &device);
    let gradients = (y.clone() * dy).sum().backward();
    vec![values(y), values(x.grad(&gradients).unwrap()), values(weight.grad(&gradients).unwrap())]
}

#[test]
fn equals_the_default_implementation() {
    for size in SIZES {
        for lines in ALL {
            let expected = run(default, size, lines);
            let got = run(conv_lstm, size, lines);
            assert_all_close(&got, &expected, 1e-5, &format!("{size:?} {lines:?}"));
        }
    }
}

/// The definition in f64, one position at a time, from a map of positions to their lines.
fn plain([batch, height, width, hidden, taps]: Size, lines: Lines) -> Vec<f64> {
    let (x, weight) = arguments([batch, height, width, hidden, taps], &flex_device());
    let wide = |values: Vec<f32>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
    let (x, weight) = (wide(values(x)), wide(values(weight)));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let line_and_place = |row: usize, column: usize| match lines {
        Lines::Rows => (row, column),
        Lines::Diagonals => (row + column, row),
        Lines::MirroredDiagonals => (row + width - 1 - column, row),
    };
    let mut order: Vec<_> = (0..height).flat_map(|r| (0..width).map(move |c| (r, c))).collect();
    order.sort_by_key(|&(row, column)| line_and_place(row, column));
    let mut y = vec![0.0; batch * height * width * hidden];
    for image in 0..batch {
        let mut states = std::collections::BTreeMap::new();
        for &(row, column) in &order {
            let (line, place) = line_and_place(row, column);
            let at = (image * height + row) * width + column;
            let mut z = x[at * 4 * hidden..][..4 * hidden].to_vec();
            let before = |place: Option<usize>| {
                let key = (line.checked_sub(1)?, place?);
                states.get(&key).cloned() as Option<(Vec<f64>, Vec<f64>)>
            };
            for tap in 0..taps {
                let Some((h, _)) = before((place + tap).checked_sub(taps / 2)) else { continue };
                for (j, z) in z.iter_mut().enumerate() {
                    let w = |u: usize| weight[(tap * hidden + u) * 4 * hidden + j];
                    *z += (0..hidden).map(|u| h[u] * w(u)).sum::<f64>();
                }
            }
            let previous = before(Some(place)).map_or(vec![0.0; hidden], |(_, c)| c);
            let c: Vec<f64> = (0..hidden)
                .map(|u| sigmoid(z[hidden + u]) * previous[u] + sigmoid(z[u]) * z[2 * hidden + u].tanh())
                .collect();
            let h: Vec<f64> = (0..hidden).map(|u| sigmoid(z[3 * hidden + u]) * c[u].tanh()).collect();
            y[at * hidden..][..hidden].copy_from_slice(&h);
            states.insert((line, place), (h, c));
        }
    }
    y
}

#[test]
fn equals_the_definition() {
    for size in SIZES {
        for lines in ALL {
            let (x, weight) = arguments(size, &flex_device());
            let y = values(conv_lstm(x, weight, lines));
            assert_close(&y, &plain(size, lines), 3e-6, &format!("{size:?} {lines:?}"));
        }
    }
}

#[test]
fn the_same_with_and_without_autodiff() {
    for lines in ALL {
        let (x, weight) = arguments([2, 4, 7, 16, 2], &flex_device());
        let y = values(conv_lstm(x, weight, lines));
        assert_eq!(y, run(conv_lstm, [2, 4, 7, 16, 2], lines)[0]);
    }
}

#[test]
fn an_image_is_the_same_alone_and_in_a_batch() {
    for lines in ALL {
        let (x, weight) = arguments([5, 6, 9, 35, 2], &flex_device());
        let all = conv_lstm(x.clone(), weight.clone(), lines).narrow(0, 3, 1);
        assert_eq!(values(conv_lstm(x.narrow(0, 3, 1), weight, lines)), values(all));
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| {
        ALL.iter().flat_map(|&lines| run(conv_lstm, [7, 12, 9, 24, 2], lines)).collect()
    });
}

#[test]
fn a_constant_argument_needs_no_gradient() {
    let device = autodiff_device();
    let (x, weight) = arguments([2, 4, 7, 16, 2], &device);
    let x = x.require_grad();
    let gradients = conv_lstm(x.clone(), weight.clone(), Lines::Diagonals).sum().backward();
    let (y, z) = arguments([2, 4, 7, 16, 2], &device);
    let (y, z) = (y.require_grad(), z.require_grad());
    let both = conv_lstm(y.clone(), z, Lines::Diagonals).sum().backward();
    assert_eq!(values(x.grad(&gradients).unwrap()), values(y.grad(&both).unwrap()));
    assert!(weight.grad(&gradients).is_none());
}

#[test]
fn transposed_arguments() {
    let (x, weight) = arguments([3, 5, 4, 6, 3], &flex_device());
    let flipped = tensor(&values(x.clone().swap_dims(1, 2)), [3, 4, 5, 24], &flex_device()).swap_dims(1, 2);
    let got = conv_lstm(flipped, weight.clone(), Lines::Diagonals);
    assert_eq!(values(got), values(conv_lstm(x, weight, Lines::Diagonals)));
}

#[test]
fn empty_maps() {
    let device = flex_device();
    let weight = Tensor::zeros([2, 3, 12], &device);
    let y = conv_lstm(Tensor::zeros([0, 2, 3, 12], &device), weight, Lines::Rows);
    assert_eq!(y.dims(), [0, 2, 3, 3]);
}

#[test]
fn equals_pytorch() {
    let fixture = Fixture::read("conv_lstm");
    let device = autodiff_device();
    for (name, lines) in
        [("rows", Lines::Rows), ("diagonals", Lines::Diagonals), ("mirrored", Lines::MirroredDiagonals)]
    {
        let array = |key: &str| format!("{name}.{key}");
        let x = fixture.tensor::<4>(&array("x"), &device).require_grad();
        let weight = fixture.tensor::<3>(&array("weight"), &device).require_grad();
        let y = conv_lstm(x.clone(), weight.clone(), lines);
        let gradients = (y.clone() * fixture.tensor(&array("dy"), &device)).sum().backward();
        fixture.assert_close(&array("y"), y, 1e-6);
        fixture.assert_close(&array("x.grad"), x.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close(&array("weight.grad"), weight.grad(&gradients).unwrap(), 2e-6);
    }
}

#[test]
#[should_panic(expected = "input [1, 2, 3, 8] does not fit weight [2, 3, 12]")]
fn wrong_shapes_panic_with_both() {
    let device = flex_device();
    conv_lstm(Tensor::zeros([1, 2, 3, 8], &device), Tensor::zeros([2, 3, 12], &device), Lines::Rows);
}
