//! Every row by itself against many at once, to the bit; against plain loops in f64; against the operations on tensors.

use burn::tensor::{Device, Int, Tensor, TensorData};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::testing::{assert_close, assert_same_for_any_threads, numbers, tensor, values};
use crate::{Activation, ConvOptions};

fn settings(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(5), ..ProptestConfig::default() }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[derive(Clone, Debug)]
struct Product {
    rows: usize,
    inputs: usize,
    outputs: usize,
    /// What lies between the rows of the input and of the output.
    gaps: [usize; 2],
    bias: bool,
    add: bool,
}

impl Product {
    fn layer(&self) -> PackedLinear {
        let weight = numbers(self.inputs * self.outputs, 1);
        let bias = self.bias.then(|| numbers(self.outputs, 2));
        PackedLinear::new(&weight, bias.as_deref(), self.inputs, self.outputs)
    }

    fn run(&self, layer: &PackedLinear, x: Rows<'_>, out: RowsMut<'_>) {
        if self.add { layer.forward_add(x, out) } else { layer.forward(x, out) }
    }

    /// One row by itself.
    fn row(&self, layer: &PackedLinear, x: &[f32], old: &[f32]) -> Vec<f32> {
        let mut out = old.to_vec();
        self.run(layer, x.into(), (&mut out).into());
        out
    }

    fn expected(&self, x: &[f32], old: &[f32]) -> Vec<f64> {
        let weight = numbers(self.inputs * self.outputs, 1);
        let bias = if self.bias { numbers(self.outputs, 2) } else { vec![0.0; self.outputs] };
        let begin = if self.add { old } else { &bias };
        let column = |j: usize| {
            let terms = x.iter().zip(weight[j..].iter().step_by(self.outputs));
            terms.fold(f64::from(begin[j]), |sum, (&x, &w)| sum + f64::from(x) * f64::from(w))
        };
        (0..self.outputs).map(column).collect()
    }

    /// All rows at once give what each gives alone, and nothing is written between them.
    fn check(&self) {
        let Self { rows, inputs, outputs, gaps, .. } = *self;
        let layer = self.layer();
        let strides = [inputs + gaps[0], outputs + gaps[1]];
        let x = numbers(rows * strides[0], 3);
        let old = numbers(rows * strides[1], 4);
        let mut out = old.clone();
        self.run(&layer, Rows::strided(&x, strides[0]), RowsMut::strided(&mut out, rows, strides[1]));
        for i in 0..rows {
            let x = &x[i * strides[0]..][..inputs];
            let (old, gap) = old[i * strides[1]..][..strides[1]].split_at(outputs);
            let (got, got_gap) = out[i * strides[1]..][..strides[1]].split_at(outputs);
            assert_eq!(bits(got), bits(&self.row(&layer, x, old)), "row {i} of {self:?}");
            assert_eq!(got_gap, gap, "between the rows: {self:?}");
            if i == 0 {
                assert_close(
                    got,
                    &self.expected(x, old),
                    2e-6 * (inputs as f64).sqrt(),
                    &format!("{self:?}"),
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(settings(120))]

    #[test]
    fn a_row_is_the_same_in_any_company(
        rows in 1usize..70, inputs in 1usize..600, outputs in 1usize..300,
        gaps in [0usize..9, 0usize..9], bias: bool, add: bool,
    ) {
        Product { rows, inputs, outputs, gaps, bias, add }.check();
    }

    #[test]
    fn pieces_are_the_rows_they_make(
        rows in 1usize..70, pieces in 1usize..10, length in 1usize..60, outputs in 1usize..140, seed: u64,
    ) {
        let inputs = pieces * length;
        let case = Product { rows, inputs, outputs, gaps: [0, 0], bias: true, add: false };
        let x = numbers(500, 3);
        // A quarter of the pieces is missing.
        let starts: Vec<Option<usize>> = numbers(rows * pieces, seed)
            .iter()
            .map(|&u| (u > -0.5).then(|| ((u + 0.5) / 1.5 * (500 - length) as f32) as usize))
            .collect();
        let dense: Vec<f32> = starts
            .iter()
            .flat_map(|start| start.map_or(vec![0.0; length], |start| x[start..start + length].to_vec()))
            .collect();
        let layer = case.layer();
        let mut out = vec![0.5; rows * outputs];
        layer.forward(Rows::pieces(&x, length, &starts), &mut out);
        for (i, (x, got)) in dense.chunks_exact(inputs).zip(out.chunks_exact(outputs)).enumerate() {
            let expected = case.row(&layer, x, &vec![0.0; outputs]);
            prop_assert_eq!(bits(got), bits(&expected), "row {} of {:?}", i, &case);
        }
    }
}

#[test]
fn large_products() {
    for [rows, inputs, outputs] in
        [[16, 576, 128], [1, 512, 2048], [47, 300, 1000], [1000, 576, 128], [300, 40, 70]]
    {
        for add in [false, true] {
            Product { rows, inputs, outputs, gaps: [0, 5], bias: true, add }.check();
        }
    }
}

#[test]
fn inputs_one_after_another_are_inputs_side_by_side() {
    let (rows, first, second, outputs) = (19, 130, 41, 77);
    let weight = numbers((first + second) * outputs, 1);
    let bias = numbers(outputs, 2);
    let x = numbers(rows * (first + second), 3);
    let whole = PackedLinear::new(&weight, Some(&bias), first + second, outputs);
    let mut expected = vec![0.0; rows * outputs];
    whole.forward(&x, &mut expected);
    let (top, bottom) = weight.split_at(first * outputs);
    let mut got = vec![0.0; rows * outputs];
    let stride = first + second;
    PackedLinear::new(top, Some(&bias), first, outputs).forward(Rows::strided(&x, stride), &mut got);
    PackedLinear::new(bottom, None, second, outputs)
        .forward_add(Rows::strided(&x[first..], stride), &mut got);
    assert_eq!(bits(&got), bits(&expected));
}

#[test]
fn equals_linear() {
    let (rows, inputs, outputs) = (33, 257, 130);
    let [x, weight, bias] = [numbers(rows * inputs, 1), numbers(inputs * outputs, 2), numbers(outputs, 3)];
    let device = Device::flex();
    let expected = crate::linear(
        tensor(&x, [rows, inputs], &device),
        tensor(&weight, [inputs, outputs], &device),
        Some(tensor(&bias, [outputs], &device)),
        Activation::Gelu,
    );
    let mut got = vec![0.0; rows * outputs];
    PackedLinear::new(&weight, Some(&bias), inputs, outputs).forward(&x, &mut got);
    activate(&mut got, Activation::Gelu);
    let expected: Vec<f64> = values(expected).into_iter().map(f64::from).collect();
    assert_close(&got, &expected, 2e-6, "linear");
}

#[test]
fn windows_are_convolutions() {
    let plain = ConvOptions::new([1, 1], [2, 1]);
    let cases = [
        ([3, 5], ConvOptions { live: Some(8), ..plain.clone() }),
        ([2, 3], ConvOptions { padding: [[2, 0], [1, 1]], ..plain.clone() }),
        ([3, 2], ConvOptions { stride: [2, 1], dilation: [1, 3], ..plain }),
    ];
    let (images, [height, width, channels], outputs) = (3, [7, 9, 5], 20);
    let device = Device::flex();
    let x = numbers(images * height * width * channels, 1);
    for (kernel, options) in cases {
        let weight = numbers(kernel[0] * kernel[1] * channels * outputs, 2);
        let bias = numbers(outputs, 3);
        let expected = crate::conv2d(
            tensor(&x, [images, height, width, channels], &device),
            tensor(&weight, [kernel[0], kernel[1], channels, outputs], &device),
            Some(tensor(&bias, [outputs], &device)),
            &options,
        );
        let [_, out_height, out_width, _] = expected.dims();
        let inputs = options.live.unwrap_or(kernel[0] * kernel[1]) * channels;
        let layer = PackedLinear::new(&weight[..inputs * outputs], Some(&bias), inputs, outputs);
        let window = Window::new([height, width, channels], kernel, &options);
        let pixels: Vec<[usize; 2]> =
            (0..out_height * out_width).map(|i| [i / out_width, i % out_width]).collect();
        let everywhere = (0..images).flat_map(|n| pixels.iter().map(move |&pixel| (n, pixel)));
        let starts: Vec<_> = everywhere.flat_map(|(n, pixel)| window.starts(n, pixel)).collect();
        let mut all = vec![0.0; images * pixels.len() * outputs];
        layer.forward(Rows::pieces(&x, channels, &starts), &mut all);
        let expected: Vec<f64> = values(expected).into_iter().map(f64::from).collect();
        assert_close(&all, &expected, 2e-6, &format!("{options:?}"));
        // A pixel of all images at a time, into its place.
        let stride = pixels.len() * outputs;
        let mut one = vec![0.0; images * stride];
        for (i, &pixel) in pixels.iter().enumerate() {
            let starts: Vec<_> = (0..images).flat_map(|n| window.starts(n, pixel)).collect();
            let out = RowsMut::strided(&mut one[i * outputs..], images, stride);
            layer.forward(Rows::pieces(&x, channels, &starts), out);
        }
        assert_eq!(bits(&one), bits(&all));
    }
}

const ACTIVATIONS: [Activation; 9] = [
    Activation::Identity,
    Activation::Relu,
    Activation::LeakyRelu(0.2),
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Softplus,
    Activation::Elu,
    Activation::Silu,
    Activation::Gelu,
];

/// Numbers in (−8, 8).
fn wide(count: usize, seed: u64) -> Vec<f32> {
    numbers(count, seed).iter().map(|x| 8.0 * x).collect()
}

#[test]
fn functions_are_those_of_tensors_and_the_same_in_a_rest() {
    let device = Device::flex();
    for activation in ACTIVATIONS {
        for count in [1, 15, 16, 17, 63, 1000, 40_000] {
            let (x, z) = (wide(count, 1), wide(count, 2));
            let expected = values(crate::activate(tensor(&x, [count], &device), activation));
            let mut got = x.clone();
            activate(&mut got, activation);
            assert_eq!(bits(&got), bits(&expected), "{activation:?} of {count}");
            for i in [0, count / 2, count - 1] {
                let mut one = [x[i]];
                activate(&mut one, activation);
                assert_eq!(one[0].to_bits(), expected[i].to_bits(), "{activation:?} of {}", x[i]);
            }
            let pair = [&x, &z].map(|x| tensor(x, [count], &device));
            let [a, b] = pair;
            let expected = values(crate::gate(a, b, activation, Activation::Sigmoid));
            let mut got = x.clone();
            gate(&mut got, &z, activation, Activation::Sigmoid);
            assert_eq!(bits(&got), bits(&expected), "gate of {activation:?} of {count}");
        }
    }
}

#[test]
fn halves_are_those_of_tensors() {
    for [rows, width] in [[1, 1], [7, 33], [3, 3000], [500, 64]] {
        let x = wide(rows * 2 * width, 1);
        let y = crate::gate_halves(
            tensor(&x, [rows, 2 * width], &Device::flex()),
            Activation::Tanh,
            Activation::Sigmoid,
        );
        let mut got = vec![0.0; rows * width];
        gate_halves(&x, width, Activation::Tanh, Activation::Sigmoid, &mut got);
        assert_eq!(bits(&got), bits(&values(y)), "{rows} of {width}");
    }
}

#[test]
fn norms_are_those_of_tensors() {
    let device = Device::flex();
    for [rows, width] in [[1, 1], [7, 33], [3, 5000], [900, 64]] {
        let (x, gamma, beta) = (wide(rows * width, 1), numbers(width, 2), numbers(width, 3));
        let array = || tensor(&x, [rows, width], &device);
        let vector = |x: &[f32]| tensor(x, [width], &device);
        let mut got = vec![0.0; x.len()];
        rms_norm(&x, &gamma, 1e-5, &mut got);
        assert_eq!(bits(&got), bits(&values(crate::rms_norm(array(), vector(&gamma), 1e-5))));
        for beta in [None, Some(&beta[..])] {
            let expected = crate::layer_norm(array(), vector(&gamma), beta.map(vector), 1e-5);
            layer_norm(&x, &gamma, beta, 1e-5, &mut got);
            assert_eq!(bits(&got), bits(&values(expected)), "{rows} of {width}");
        }
    }
}

#[test]
fn probabilities() {
    for [rows, width] in [[1, 1], [5, 3], [7, 256], [300, 40], [2, 9000]] {
        let x = wide(rows * width, 1);
        let (mut logs, mut probabilities) = (x.clone(), x.clone());
        log_softmax(&mut logs, width);
        softmax(&mut probabilities, width);
        for row in 0..rows {
            let range = row * width..(row + 1) * width;
            let exact: Vec<f64> = x[range.clone()].iter().map(|&x| f64::from(x)).collect();
            let log_sum = exact.iter().map(|x| x.exp()).sum::<f64>().ln();
            let expected: Vec<f64> = exact.iter().map(|x| x - log_sum).collect();
            assert_close(&logs[range.clone()], &expected, 3e-7, "log_softmax");
            let expected: Vec<f64> = expected.into_iter().map(f64::exp).collect();
            assert_close(&probabilities[range.clone()], &expected, 2e-6, "softmax");
            let mut alone = x[range.clone()].to_vec();
            log_softmax(&mut alone, width);
            assert_eq!(bits(&alone), bits(&logs[range.clone()]));
            alone.copy_from_slice(&x[range.clone()]);
            softmax(&mut alone, width);
            assert_eq!(bits(&alone), bits(&probabilities[range]));
        }
        let targets: Vec<i64> = (0..rows).map(|i| (i * 7 % width) as i64).collect();
        let taken: Vec<f32> =
            targets.iter().zip(logs.chunks_exact(width)).map(|(&t, row)| row[t as usize]).collect();
        let device = Device::flex();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [rows]), &device);
        let expected = crate::categorical_log_prob(tensor(&x, [rows, width], &device), targets);
        assert_eq!(bits(&taken), bits(&values(expected)));
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| {
        let products = [[16, 576, 200], [1, 600, 2048], [1000, 300, 70]].map(|[rows, inputs, outputs]| {
            let case = Product { rows, inputs, outputs, gaps: [0, 0], bias: true, add: false };
            let mut out = vec![0.0; rows * outputs];
            case.layer().forward(&numbers(rows * inputs, 3), &mut out);
            out
        });
        let x = wide(90_000, 1);
        let mut results = products.to_vec();
        for function in [
            |x: &mut [f32]| activate(x, Activation::Tanh),
            |x: &mut [f32]| softmax(x, 300),
            |x: &mut [f32]| log_softmax(x, 300),
            |x: &mut [f32]| gate(x, &wide(x.len(), 2), Activation::Silu, Activation::Identity),
        ] {
            let mut x = x.clone();
            function(&mut x);
            results.push(x);
        }
        let mut out = vec![0.0; x.len()];
        rms_norm(&x, &numbers(300, 2), 1e-5, &mut out);
        results.push(out.clone());
        gate_halves(&x, 150, Activation::Tanh, Activation::Sigmoid, &mut out[..45_000]);
        results.push(out);
        results
    });
}

#[test]
fn nothing() {
    let layer = PackedLinear::new(&[1.0; 6], None, 2, 3);
    layer.forward(&[], &mut []);
    layer.forward_add(Rows::strided(&[], 5), RowsMut::strided(&mut [], 0, 7));
    activate(&mut [], Activation::Tanh);
    softmax(&mut [], 3);
    rms_norm(&[], &[1.0], 1e-5, &mut []);
}

#[test]
#[should_panic(expected = "input [5] does not fit 2 rows of [2]")]
fn a_wrong_input_panics_with_both() {
    PackedLinear::new(&[1.0; 6], None, 2, 3).forward(&[0.0; 5], &mut [0.0; 6]);
}

#[test]
#[should_panic(expected = "output [5] does not fit rows of [3]")]
fn a_wrong_output_panics_with_both() {
    PackedLinear::new(&[1.0; 6], None, 2, 3).forward(&[0.0; 4], &mut [0.0; 5]);
}

#[test]
#[should_panic(expected = "2 pieces of [3] do not fit 1 rows of [2]")]
fn wrong_pieces_panic_with_both() {
    let layer = PackedLinear::new(&[1.0; 6], None, 2, 3);
    layer.forward(Rows::pieces(&[0.0; 9], 3, &[None, Some(1)]), &mut [0.0; 3]);
}

#[test]
#[should_panic(expected = "weight [5] does not fit [2, 3]")]
fn a_wrong_weight_panics_with_both() {
    PackedLinear::new(&[1.0; 5], None, 2, 3);
}
