//! Log probabilities under mixtures of discretised logistic distributions.

use std::ops::Range;

use burn::tensor::Tensor;
use poiesis_kernels::internals::default_logistic_mixture_log_prob as default;
use poiesis_kernels::{
    Grid, logistic_mixture_byte_log_probs, logistic_mixture_log_prob, logistic_mixture_log_probs,
};

use crate::common::{
    Fixture, assert_all_close, assert_close, assert_same_for_any_threads, autodiff_device, flex_device,
    numbers, tensor, values,
};

type LogProb = fn(Tensor<2>, Tensor<2>, Grid) -> Tensor<1>;

/// Number of log probabilities in a row.
const LEVELS: usize = 256;

/// The parameters of a pixel, as the page of `logistic_mixture_log_prob` lists them.
#[derive(Clone, Copy, Debug)]
struct Layout {
    grid: Grid,
    mixtures: usize,
    channels: usize,
}

impl Layout {
    /// Number of parameters.
    fn parameters(self) -> usize {
        self.mixtures * (1 + 2 * self.channels + self.channels * (self.channels - 1) / 2)
    }

    /// The logarithms of the scales: after the logits and the means.
    fn log_scales(self) -> Range<usize> {
        self.mixtures * (1 + self.channels)..self.mixtures * (1 + 2 * self.channels)
    }

    /// Their bound: the scale that has as many bins of this grid as e⁻⁷ has of 8 bits.
    fn min_log_scale(self) -> f64 {
        -7.0 + (255.0 / (self.grid.levels() - 1) as f64).ln()
    }
}

/// The values of `count` levels, the first and the last among them.
fn levels(grid: Grid, count: usize) -> Vec<f32> {
    let step = (grid.levels() - 1) / 51;
    (0..count).map(|i| grid.value((i * 5 % 52 * step) as f32)).collect()
}

/// Parameters with log-scales up to 3, some of them below the bound.
fn parameters(pixels: usize, layout: Layout) -> Vec<f32> {
    let columns = layout.parameters();
    let mut values = numbers(pixels * columns, 1);
    let scales = layout.log_scales();
    let center = (layout.min_log_scale() + 1.0) as f32 / 2.0;
    for (i, value) in values.iter_mut().enumerate() {
        if scales.contains(&(i % columns)) {
            *value = *value * (3.0 - center) + center;
        }
    }
    values
}

/// Result and the parameters' gradient.
fn run(log_prob: LogProb, pixels: usize, layout: Layout, transposed: bool) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let columns = layout.parameters();
    let memory = if transposed { [columns, pixels] } else { [pixels, columns] };
    let numbers_of = parameters(pixels, layout);
    let numbers_of = if transposed {
        (0..numbers_of.len()).map(|i| numbers_of[i % pixels * columns + i / pixels]).collect()
    } else {
        numbers_of
    };
    let leaf = tensor(&numbers_of, memory, &device).require_grad();
    let parameters = if transposed { leaf.clone().transpose() } else { leaf.clone() };
    let x = tensor(&levels(layout.grid, pixels * layout.channels), [pixels, layout.channels], &device);
    let y = log_prob(parameters, x, layout.grid);
    let dy = tensor(&numbers(pixels, 3), [pixels], &device);
    let gradients = (y.clone() * dy).sum().backward();
    vec![values(y), values(leaf.grad(&gradients).unwrap())]
}

const LAYOUTS: [Layout; 5] = [
    Layout { grid: Grid::Bits8, mixtures: 1, channels: 1 },
    Layout { grid: Grid::Bits8, mixtures: 10, channels: 3 },
    Layout { grid: Grid::Bits8, mixtures: 5, channels: 1 },
    Layout { grid: Grid::Bits8, mixtures: 3, channels: 2 },
    Layout { grid: Grid::Bits8, mixtures: 2, channels: 4 },
];

const SOUND: Layout = Layout { grid: Grid::Bits16, mixtures: 10, channels: 1 };

#[test]
fn equals_the_default_implementation() {
    for layout in LAYOUTS.into_iter().chain([SOUND]) {
        for pixels in [1, 16, 53, 300] {
            for transposed in [false, true] {
                let expected = run(default, pixels, layout, transposed);
                let got = run(logistic_mixture_log_prob, pixels, layout, transposed);
                assert_all_close(&got, &expected, 2e-6, &format!("{pixels} {layout:?}"));
            }
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(logistic_mixture_log_prob, 999, LAYOUTS[1], false));
}

/// The log probabilities of all channels of pixels: `[channels][pixels, 256]`.
fn log_probs_of(parameters: &[f32], x: &[f32], channels: usize) -> Vec<Vec<f32>> {
    let pixels = x.len() / channels;
    let row = |channel: usize| {
        let earlier: Vec<f32> = x.chunks_exact(channels).flat_map(|x| x[..channel].to_vec()).collect();
        let mut log_probs = vec![0.5; pixels * LEVELS];
        logistic_mixture_log_probs(parameters, &earlier, channels, &mut log_probs);
        log_probs
    };
    (0..channels).map(row).collect()
}

#[test]
fn laws_add_up_to_one_and_multiply_to_the_probability() {
    for layout in LAYOUTS {
        let pixels = 40;
        let parameters = parameters(pixels, layout);
        let x = levels(Grid::Bits8, pixels * layout.channels);
        let log_probs = log_probs_of(&parameters, &x, layout.channels);
        for row in log_probs.iter().flat_map(|log_probs| log_probs.chunks_exact(LEVELS)) {
            let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
            assert!((sum - 1.0).abs() < 2e-5 && row.iter().all(|l| l.is_finite()), "{layout:?}: {sum}");
        }
        let device = flex_device();
        let expected = logistic_mixture_log_prob(
            tensor(&parameters, [pixels, layout.parameters()], &device),
            tensor(&x, [pixels, layout.channels], &device),
            Grid::Bits8,
        );
        let expected: Vec<f64> = values(expected).into_iter().map(f64::from).collect();
        let value = |pixel: usize, channel: usize| {
            let level = ((x[pixel * layout.channels + channel] + 1.0) * 127.5).round() as usize;
            log_probs[channel][pixel * LEVELS + level]
        };
        let got: Vec<f32> = (0..pixels)
            .map(|pixel| (0..layout.channels).map(|channel| value(pixel, channel)).sum())
            .collect();
        assert_close(&got, &expected, 5e-6, &format!("{layout:?}"));
    }
}

#[test]
fn laws_do_not_depend_on_company_or_threads() {
    let layout = LAYOUTS[1];
    let parameters = parameters(70, layout);
    let x = levels(Grid::Bits8, 70 * layout.channels);
    let all = log_probs_of(&parameters, &x, layout.channels);
    let columns = layout.parameters();
    for pixel in [0, 3, 69] {
        let alone = log_probs_of(
            &parameters[pixel * columns..][..columns],
            &x[pixel * layout.channels..][..layout.channels],
            layout.channels,
        );
        for (alone, all) in alone.iter().zip(&all) {
            assert_eq!(alone[..], all[pixel * LEVELS..][..LEVELS]);
        }
    }
    assert_same_for_any_threads(|| log_probs_of(&parameters, &x, layout.channels));
}

#[test]
fn laws_of_bytes_add_up_to_one_and_multiply_to_the_probability() {
    let samples = 52;
    let parameters = parameters(samples, SOUND);
    let x = levels(Grid::Bits16, samples);
    let level = |x: &f32| ((f64::from(*x) + 1.0) * 32_767.5).round() as u32;
    let high: Vec<u32> = x.iter().map(|x| level(x) >> 8).collect();
    let mut log_probs = [vec![0.5; samples * LEVELS], vec![0.5; samples * LEVELS]];
    logistic_mixture_byte_log_probs(&parameters, None, &mut log_probs[0]);
    logistic_mixture_byte_log_probs(&parameters, Some(&high), &mut log_probs[1]);
    for row in log_probs.iter().flat_map(|log_probs| log_probs.chunks_exact(LEVELS)) {
        let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
        assert!((sum - 1.0).abs() < 2e-5 && row.iter().all(|l| l.is_finite()), "{sum}");
    }
    let device = flex_device();
    let columns = SOUND.parameters();
    let log_prob = logistic_mixture_log_prob(
        tensor(&parameters, [samples, columns], &device),
        tensor(&x, [samples, 1], &device),
        Grid::Bits16,
    );
    for (sample, expected) in values(log_prob).into_iter().enumerate() {
        let low = level(&x[sample]) & 255;
        let got = log_probs[0][sample * LEVELS + high[sample] as usize]
            + log_probs[1][sample * LEVELS + low as usize];
        assert!((got - expected).abs() < 1e-3 + 1e-5 * expected.abs(), "{sample}: {got} {expected}");
        let mut alone = vec![0.5; LEVELS];
        let parameters = &parameters[sample * columns..][..columns];
        logistic_mixture_byte_log_probs(parameters, Some(&high[sample..=sample]), &mut alone);
        assert_eq!(alone[..], log_probs[1][sample * LEVELS..][..LEVELS]);
    }
}

#[test]
#[should_panic(
    expected = "parameters [3] and earlier values [1] of 1 channels do not fit log probabilities [256]"
)]
fn laws_of_no_channel_panic() {
    logistic_mixture_log_probs(&[0.0; 3], &[0.0], 1, &mut [0.0; 256]);
}

#[test]
fn equals_pytorch() {
    let device = autodiff_device();
    let fixture = Fixture::read("logistic_mixture");
    for (case, grid) in [("1", Grid::Bits8), ("3", Grid::Bits8), ("sound", Grid::Bits16)] {
        let array = |name: &str| format!("{case}.{name}");
        let parameters = fixture.tensor::<2>(&array("parameters"), &device).require_grad();
        let y = logistic_mixture_log_prob(parameters.clone(), fixture.tensor(&array("x"), &device), grid);
        let gradients = (y.clone() * fixture.tensor(&array("dy"), &device)).sum().backward();
        fixture.assert_close(&array("y"), y, 1e-6);
        fixture.assert_close(&array("dparameters"), parameters.grad(&gradients).unwrap(), 2e-6);
    }
}

#[test]
fn probabilities_of_all_values_sum_to_one() {
    let device = flex_device();
    let x: Vec<f32> = (0..256).map(|k| k as f32 * 2.0 / 255.0 - 1.0).collect();
    let x = tensor(&x, [256, 1], &device);
    // Two mixtures: logits, means, log-scales; the last has a scale far wider than the pixels.
    for row in [[0.0, 1.0, -0.2, 0.99, -3.0, -9.0], [2.0, 0.0, -1.4, 0.3, 0.0, 12.0]] {
        let parameters = tensor(&row, [1, 6], &device).repeat_dim(0, 256);
        let log_prob = values(logistic_mixture_log_prob(parameters, x.clone(), Grid::Bits8));
        let total: f64 = log_prob.iter().map(|&l| f64::from(l).exp()).sum();
        assert!((total - 1.0).abs() < 1e-5, "{row:?}: {total}");
    }
}

#[test]
fn extreme_parameters_give_finite_numbers() {
    let device = autodiff_device();
    let rows = [[5.0, -20.0, -0.9, 0.9, -7.0, -30.0], [0.0, 0.0, 40.0, 0.5, 90.0, 60.0]];
    let parameters = tensor(&rows.concat(), [2, 6], &device).require_grad();
    let x = tensor(&[51.0 / 255.0, -51.0 / 255.0], [2, 1], &device);
    let y = logistic_mixture_log_prob(parameters.clone(), x, Grid::Bits8);
    let gradients = y.clone().sum().backward();
    let all = [values(y), values(parameters.grad(&gradients).unwrap())].concat();
    assert!(all.iter().all(|x| x.is_finite()), "{all:?}");
}

#[test]
fn an_empty_batch() {
    let device = flex_device();
    let parameters = Tensor::<2>::zeros([0, 20], &device);
    assert_eq!(
        logistic_mixture_log_prob(parameters, Tensor::zeros([0, 3], &device), Grid::Bits8).dims(),
        [0]
    );
}

#[test]
#[should_panic(expected = "parameters [4, 12] do not fit data [4, 3]: they must be [4, mixtures · 10]")]
fn wrong_shapes_panic_with_both() {
    let device = flex_device();
    logistic_mixture_log_prob(Tensor::ones([4, 12], &device), Tensor::ones([4, 3], &device), Grid::Bits8);
}
