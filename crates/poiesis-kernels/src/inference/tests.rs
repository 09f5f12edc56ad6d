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
fn cells_are_those_of_the_recurrent_layers() {
    let device = Device::flex();
    for [rows, inputs, hidden] in [[1, 3, 5], [7, 20, 64], [33, 70, 130]] {
        let (x, h, c) = (numbers(rows * inputs, 1), numbers(rows * hidden, 2), numbers(rows * hidden, 3));
        let array = |x: &[f32], width: usize| tensor(x, [rows, width], &device);
        let weight = |inputs: usize, gates: usize, seed| {
            // As large as a layer begins with.
            let scale = 1.0 / (inputs as f32).sqrt();
            let values: Vec<f32> =
                numbers(inputs * gates * hidden, seed).into_iter().map(|w| w * scale).collect();
            (values.clone(), tensor(&values, [inputs, gates * hidden], &device))
        };
        let bias = |gates: usize, seed| {
            let values = numbers(gates * hidden, seed);
            (values.clone(), tensor(&values, [gates * hidden], &device))
        };
        let layer = |weight: &[f32], bias: Option<&[f32]>, inputs: usize, gates: usize| {
            PackedLinear::new(weight, bias, inputs, gates * hidden)
        };
        let close = |got: &[f32], expected: Tensor<2>, what: &str| {
            let expected: Vec<f64> = values(expected).into_iter().map(f64::from).collect();
            assert_close(got, &expected, 2e-6, &format!("{what} of {hidden} units"));
        };

        let ((w, w_tensor), (u, u_tensor), (b, b_tensor)) =
            (weight(inputs, 4, 4), weight(hidden, 4, 5), bias(4, 6));
        let state = (array(&h, hidden), array(&c, hidden));
        let expected = crate::lstm_step(array(&x, inputs), w_tensor, u_tensor, b_tensor, state);
        let mut gates = vec![0.0; rows * 4 * hidden];
        layer(&w, Some(&b), inputs, 4).forward(&x, &mut gates);
        layer(&u, None, hidden, 4).forward_add(&h, &mut gates);
        let (mut new_c, mut new_h) = (c.clone(), vec![f32::NAN; rows * hidden]);
        lstm_cell(&mut gates, &mut new_c, &mut new_h, hidden);
        close(&new_h, expected.0, "h");
        close(&new_c, expected.1, "c");

        let ((w, w_tensor), (u, u_tensor)) = (weight(inputs, 3, 7), weight(hidden, 3, 8));
        let ((b, b_tensor), (d, d_tensor)) = (bias(3, 9), bias(3, 10));
        let expected =
            crate::gru_step(array(&x, inputs), w_tensor, u_tensor, b_tensor, d_tensor, array(&h, hidden));
        let [mut from_input, mut from_state] = [(); 2].map(|()| vec![0.0; rows * 3 * hidden]);
        layer(&w, Some(&b), inputs, 3).forward(&x, &mut from_input);
        layer(&u, Some(&d), hidden, 3).forward(&h, &mut from_state);
        let row = rows / 2;
        let range = |width: usize| row * width..(row + 1) * width;
        let (mut alone, mut alone_h) = (from_input[range(3 * hidden)].to_vec(), h[range(hidden)].to_vec());
        gru_cell(&mut alone, &from_state[range(3 * hidden)], &mut alone_h, hidden);
        let mut new_h = h.clone();
        gru_cell(&mut from_input, &from_state, &mut new_h, hidden);
        close(&new_h, expected, "h of the GRU");
        assert_eq!(bits(&alone_h), bits(&new_h[range(hidden)]));
    }
}

/// Sizes of a cache and its queries.
#[derive(Clone, Copy, Debug)]
struct Attention {
    batch: usize,
    time: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
}

impl Attention {
    const CASES: [Self; 5] = [
        Self { batch: 2, time: 530, heads: 4, kv_heads: 2, dim: 24 },
        Self { batch: 1, time: 70, heads: 3, kv_heads: 1, dim: 70 },
        Self { batch: 3, time: 1, heads: 1, kv_heads: 1, dim: 1 },
        Self { batch: 3, time: 300, heads: 6, kv_heads: 6, dim: 32 },
        Self { batch: 1, time: 40, heads: 40, kv_heads: 1, dim: 16 },
    ];

    fn widths(&self) -> [usize; 3] {
        [self.heads, self.kv_heads, self.kv_heads].map(|heads| heads * self.dim)
    }

    fn arrays(&self) -> [Vec<f32>; 3] {
        let widths = self.widths();
        [0, 1, 2].map(|i| numbers(self.batch * self.time * widths[i], i as u64 + 1))
    }

    /// All positions in stretches of the lengths `counts`, again and again, through a cache of `capacity`.
    fn run(&self, capacity: usize, counts: &[usize]) -> Vec<f32> {
        let Self { batch, time, heads, kv_heads, dim } = *self;
        let (arrays, widths) = (self.arrays(), self.widths());
        let mut cache = KeyValueCache::new([batch, capacity, kv_heads, dim]);
        let mut y = vec![0.0; batch * time * widths[0]];
        for &count in counts.iter().cycle() {
            let start = cache.len();
            let count = count.min(time - start);
            if count == 0 {
                break;
            }
            let [q, k, v] = [0, 1, 2].map(|i| {
                let examples = arrays[i].chunks_exact(time * widths[i]);
                examples
                    .flat_map(|x| x[start * widths[i]..][..count * widths[i]].to_vec())
                    .collect::<Vec<f32>>()
            });
            cache.append(count, &k, &v);
            let mut part = vec![0.0; q.len()];
            cache.attend(count, heads, &q, None, &mut part);
            let examples = y.chunks_exact_mut(time * widths[0]).zip(part.chunks_exact(count * widths[0]));
            examples.for_each(|(y, part)| y[start * widths[0]..][..part.len()].copy_from_slice(part));
        }
        y
    }
}

#[test]
fn attention_is_the_same_however_positions_come() {
    let device = Device::flex();
    for case in Attention::CASES {
        let Attention { batch, time, heads, kv_heads, dim } = case;
        let [q, k, v] = case.arrays();
        let shape = |heads: usize| [batch, time, heads, dim];
        let options = crate::AttentionOptions { causal: true, scale: None };
        let expected = crate::attention(
            tensor(&q, shape(heads), &device),
            tensor(&k, shape(kv_heads), &device),
            tensor(&v, shape(kv_heads), &device),
            &options,
        );
        let expected = bits(&values(expected));
        for (capacity, counts) in
            [(time, &[1][..]), (time + 777, &[1]), (time, &[time]), (time + 5, &[200, 1, 3, 70])]
        {
            assert_eq!(bits(&case.run(capacity, counts)), expected, "{case:?} in {counts:?} of {capacity}");
        }
    }
}

#[test]
fn attention_equals_plain_loops_and_reads_packed_rows() {
    let Attention { batch, time, heads, kv_heads, dim } =
        Attention { batch: 2, time: 9, heads: 4, kv_heads: 2, dim: 6 };
    // Queries, keys and values side by side, as one layer makes them.
    let all = heads + 2 * kv_heads;
    let stride = all * dim;
    let x = numbers(batch * time * stride, 1);
    let mut cache = KeyValueCache::new([batch, 20, kv_heads, dim]);
    let part = |head: usize| Rows::strided(&x[head * dim..], stride);
    let mut y = vec![0.5; batch * time * (heads * dim + 3)];
    for again in 0..2 {
        cache.append(time, part(heads), part(heads + kv_heads));
        let out = RowsMut::strided(&mut y, batch * time, heads * dim + 3);
        cache.attend(time, heads, part(0), Some(0.7), out);
        for row in 0..batch * time {
            for h in 0..heads {
                let at = |row: usize, head: usize| {
                    x[row * stride + head * dim..][..dim].iter().map(|&x| f64::from(x))
                };
                let kv = h / (heads / kv_heads);
                let seen = row / time * time..row + 1;
                let weights: Vec<f64> = seen
                    .clone()
                    .map(|key| {
                        (0.7 * at(row, h).zip(at(key, heads + kv)).map(|(q, k)| q * k).sum::<f64>()).exp()
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                let expected: Vec<f64> = (0..dim)
                    .map(|d| {
                        let values =
                            seen.clone().map(|key| at(key, heads + kv_heads + kv).nth(d).unwrap_or(f64::NAN));
                        weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / sum
                    })
                    .collect();
                let got = &y[row * (heads * dim + 3) + h * dim..][..dim];
                assert_close(got, &expected, 2e-6, &format!("row {row}, head {h}, pass {again}"));
            }
            assert_eq!(y[row * (heads * dim + 3) + heads * dim..][..3], [0.5; 3]);
        }
        cache.clear();
    }
}

#[test]
fn rotations_are_those_of_tensors() {
    let (time, heads, dim) = (40, 3, 22);
    let x = numbers(time * heads * dim, 1);
    let expected = crate::rotary(tensor(&x, [1, time, heads, dim], &Device::flex()), 0, 10_000.0);
    let rotary = Rotary::new(time, dim, 10_000.0);
    let mut got = x.clone();
    for (position, x) in got.chunks_exact_mut(heads * dim).enumerate() {
        rotary.apply(position, x);
    }
    assert_eq!(bits(&got), bits(&values(expected)));
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
        let attention = Attention { batch: 2, time: 700, heads: 8, kv_heads: 4, dim: 64 };
        results.push(attention.run(700, &[600, 1]));
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

#[test]
#[should_panic(expected = "3 positions do not fit behind 0 positions of a cache of [1, 2, 2, 4]")]
fn a_full_cache_panics() {
    KeyValueCache::new([1, 2, 2, 4]).append(3, &[0.0; 24], &[0.0; 24]);
}

#[test]
#[should_panic(expected = "input [7] does not fit 1 rows of [8]")]
fn wrong_keys_panic_with_both() {
    KeyValueCache::new([1, 2, 2, 4]).append(1, &[0.0; 7], &[0.0; 8]);
}

#[test]
#[should_panic(expected = "gates [9], cells [2] and states [2] do not fit rows of 2 hidden units")]
fn wrong_gates_panic_with_all() {
    lstm_cell(&mut [0.0; 9], &mut [0.0; 2], &mut [0.0; 2], 2);
}
