//! Products of rows, in any number and from any layout.

use poiesis_kernels::inference::{PackedLinear, Rows, RowsMut, Window, activate};
use poiesis_kernels::{Activation, ConvOptions};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::bits;
use crate::common::{assert_close, flex_device, numbers, tensor, values};

fn settings(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(5), ..ProptestConfig::default() }
}

#[derive(Clone, Debug)]
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Values between the rows of the input and of the output.
    pub(super) gaps: [usize; 2],
    pub(super) bias: bool,
    pub(super) add: bool,
}

impl Product {
    pub(super) fn layer(&self) -> PackedLinear {
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
    fn a_row_does_not_depend_on_the_others(
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
    let device = flex_device();
    let expected = poiesis_kernels::linear(
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
        ([3, 5], ConvOptions { active_taps: Some(8), ..plain.clone() }),
        ([2, 3], ConvOptions { padding: [[2, 0], [1, 1]], ..plain.clone() }),
        ([3, 2], ConvOptions { stride: [2, 1], dilation: [1, 3], ..plain }),
    ];
    let (images, [height, width, channels], outputs) = (3, [7, 9, 5], 20);
    let device = flex_device();
    let x = numbers(images * height * width * channels, 1);
    for (kernel, options) in cases {
        let weight = numbers(kernel[0] * kernel[1] * channels * outputs, 2);
        let bias = numbers(outputs, 3);
        let expected = poiesis_kernels::conv2d(
            tensor(&x, [images, height, width, channels], &device),
            tensor(&weight, [kernel[0], kernel[1], channels, outputs], &device),
            Some(tensor(&bias, [outputs], &device)),
            &options,
        );
        let [_, out_height, out_width, _] = expected.dims();
        let inputs = options.active_taps.unwrap_or(kernel[0] * kernel[1]) * channels;
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
