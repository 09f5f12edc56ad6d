//! Log probability of 8-bit pixels under a mixture of discretised logistic distributions.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::{Activation, Grid, LEVELS, ParameterLayout};

/// `log p(x)` of each pixel in nats, `[pixels]`, under a mixture of logistic distributions cut into the bins of a grid's
/// levels. `x [pixels, channels]` holds values of levels, see [`Grid::value`]; the first and the last bin extend to infinity.
/// Differentiable in `parameters` only; `x` is data.
///
/// With `C` channels and `K` mixtures, each row of `parameters [pixels, K · (1 + 2 C + C (C − 1) / 2)]` holds in
/// blocks of `K`, one value for each mixture component:
///
/// 1. the logits of the mixture weights (1 block),
/// 2. the means of each channel in turn (`C` blocks),
/// 3. the logarithms of the scales of each channel in turn (`C` blocks), raised to −7 where below (16 bits: −12.55),
/// 4. the coefficients of each channel on every earlier one: (1, 0), (2, 0), (2, 1), … (`C (C − 1) / 2` blocks).
///
/// The mean of channel `c` is shifted by `Σ tanh(coefficient(c, j)) · x(j)` over the earlier channels `j`.
///
/// A bin's mass σ(a) − σ(b) is taken as σ(a) σ(−b) (1 − e^(b−a)), whose logarithm never cancels, so no lower bound and no
/// density at the middle of the bin is needed as a replacement. On Flex one pass over the parameters forward and one backward;
/// only the parameters are kept.
///
/// Source: Salimans et al. 2017, §2.1 and 2.2.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn logistic_mixture_log_prob(parameters: Tensor<2>, x: Tensor<2>, grid: Grid) -> Tensor<1> {
    let layout = ParameterLayout::of(parameters.dims(), x.dims(), grid);
    if x.dims()[0] == 0 {
        return Tensor::zeros([0], &parameters.device());
    }
    flex::logistic_mixture::log_prob(&parameters, &x, layout)
        .unwrap_or_else(|| default(parameters, x, layout))
}

/// The log probabilities of all 256 levels of one channel of each pixel given the earlier channels, in nats, under the
/// distribution of [`logistic_mixture_log_prob`]; written to `log_probs [pixels, 256]`. `parameters [pixels, K · (1 + 2 C + C (C − 1) / 2)]` are those of pixels of `C = channels`
/// channels, `earlier [pixels, channel]` the values of the earlier channels, in [-1, 1]; their number determines the
/// channel.
///
/// Each pixel is computed independently, so the bits of its row do not depend on the number of pixels or threads. One pass over
/// slices, for generating and for coding.
///
/// Source: Salimans et al. 2017, §2.1 and 2.2.
///
/// # Panics
///
/// When the lengths do not fit each other, or no channel is left.
pub fn logistic_mixture_log_probs(
    parameters: &[f32],
    earlier: &[f32],
    channels: usize,
    log_probs: &mut [f32],
) {
    let pixels = log_probs.len() / LEVELS;
    if pixels == 0 && log_probs.is_empty() {
        return;
    }
    let fits = log_probs.len() == pixels * LEVELS
        && pixels > 0
        && parameters.len().is_multiple_of(pixels)
        && earlier.len().is_multiple_of(pixels)
        && earlier.len() / pixels < channels;
    assert!(
        fits,
        "logistic_mixture_log_probs: parameters [{}] and earlier values [{}] of {channels} channels do not fit log probabilities [{}]",
        parameters.len(),
        earlier.len(),
        log_probs.len(),
    );
    let layout = ParameterLayout::of([pixels, parameters.len() / pixels], [pixels, channels], Grid::Bits8);
    flex::logistic_mixture::log_probs(parameters, earlier, layout, earlier.len() / pixels, log_probs);
}

/// The log probabilities of the high byte of each 16-bit level, or of the low byte given the high ones, in nats; written to
/// `log_probs [samples, 256]`. The distribution is that of [`logistic_mixture_log_prob`] for one channel on
/// [`Grid::Bits16`]; `parameters [samples, 3 K]` are in its layout. The product of the two probabilities is that of the level, except
/// for rounding; two rows of 256 are less work than one of 65,536.
///
/// Each sample is computed independently, so the bits of its row do not depend on the number of samples or threads. One pass over
/// slices, for generating and for coding.
///
/// Source: Salimans et al. 2017, §2.1; for sound, van den Oord et al. 2018, "Parallel WaveNet", §2.1.
///
/// # Panics
///
/// When the lengths do not fit each other, or a high byte is not below 256.
pub fn logistic_mixture_byte_log_probs(parameters: &[f32], high: Option<&[u32]>, log_probs: &mut [f32]) {
    let samples = log_probs.len() / LEVELS;
    let fits = log_probs.len() == samples * LEVELS && parameters.len().is_multiple_of(3 * samples.max(1));
    assert!(
        fits && high.is_none_or(|high| high.len() == samples),
        "logistic_mixture_byte_log_probs: parameters [{}] and high bytes [{:?}] do not fit log probabilities [{}]",
        parameters.len(),
        high.map(<[u32]>::len),
        log_probs.len(),
    );
    if let Some(byte) = high.and_then(|high| high.iter().find(|&&byte| byte > 255)) {
        panic!("logistic_mixture_byte_log_probs: {byte} is not a byte");
    }
    if samples > 0 {
        let layout = ParameterLayout::of([samples, parameters.len() / samples], [samples, 1], Grid::Bits16);
        flex::logistic_mixture::byte_log_probs(parameters, high, layout, log_probs);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "takes what `logistic_mixture_log_prob` takes")]
pub(crate) fn default(parameters: Tensor<2>, x: Tensor<2>, layout: ParameterLayout) -> Tensor<1> {
    let pixels = x.dims()[0];
    let block = |first: usize| parameters.clone().narrow(1, first, layout.mixtures);
    let x = x.inner();
    let mut terms = block(0);
    let denominator = log_sum_exp(terms.clone());
    for channel in 0..layout.channels {
        let mut mean = block(layout.mean(0, channel));
        for earlier in 0..channel {
            let coefficient = block(layout.coefficient(0, channel, earlier)).tanh();
            mean = mean + coefficient * x.clone().narrow(1, earlier, 1);
        }
        let log_scale = block(layout.log_scale(0, channel)).clamp_min(layout.grid.min_log_scale());
        terms = terms + log_mass(layout.grid, x.clone().narrow(1, channel, 1), mean, log_scale);
    }
    (log_sum_exp(terms) - denominator).reshape([pixels])
}

/// The logarithm of the mass of the bin of `x [pixels, 1]`, `[pixels, mixtures]`.
fn log_mass(grid: Grid, x: Tensor<2>, mean: Tensor<2>, log_scale: Tensor<2>) -> Tensor<2> {
    let half = grid.half_bin();
    let softplus = |x| activation::default(x, Activation::Softplus);
    let inverse_scale = log_scale.neg().exp();
    let centered = mean.neg() + x.clone();
    let below_upper = softplus((centered.clone() + half).neg() * inverse_scale.clone()).neg();
    let above_lower = softplus((centered - half) * inverse_scale.clone()).neg();
    // With t = tanh(width / 2), 1 − exp(−width) = 2t / (1 + t), exact for narrow bins too.
    let t = (inverse_scale * half).tanh();
    let between = t.clone().log() - (t + 1.0).log() + std::f64::consts::LN_2;
    let not_first = x.clone().greater_equal_elem(half - 1.0).float();
    let not_last = x.lower_equal_elem(1.0 - half).float();
    below_upper * not_last.clone() + above_lower * not_first.clone() + between * (not_first * not_last)
}

/// The logarithm of the sum of exponentials over the last axis, `[rows, 1]`.
fn log_sum_exp(x: Tensor<2>) -> Tensor<2> {
    // The largest, which only keeps the exponential in range, takes no gradient.
    let max = x.clone().inner().max_dim(1);
    (x - max.clone()).exp().sum_dim(1).log() + max
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Fixture, assert_all_close, assert_close, assert_same_for_any_threads, numbers, tensor, values,
    };
    use burn::tensor::Device;

    type LogProb = fn(Tensor<2>, Tensor<2>, Grid) -> Tensor<1>;

    fn by_default(parameters: Tensor<2>, x: Tensor<2>, grid: Grid) -> Tensor<1> {
        let layout = ParameterLayout::of(parameters.dims(), x.dims(), grid);
        default(parameters, x, layout)
    }

    /// The values of `count` levels, the first and the last among them.
    fn levels(grid: Grid, count: usize) -> Vec<f32> {
        let step = (grid.levels() - 1) / 51;
        (0..count).map(|i| grid.value((i * 5 % 52 * step) as f32)).collect()
    }

    /// Parameters with log-scales up to 3, some of them below the bound.
    fn parameters(pixels: usize, layout: ParameterLayout) -> Vec<f32> {
        let columns = layout.parameters();
        let mut values = numbers(pixels * columns, 1);
        let scales = layout.log_scale(0, 0)..layout.log_scale(0, layout.channels);
        let center = (layout.grid.min_log_scale() + 1.0) as f32 / 2.0;
        for (i, value) in values.iter_mut().enumerate() {
            if scales.contains(&(i % columns)) {
                *value = *value * (3.0 - center) + center;
            }
        }
        values
    }

    /// Result and the parameters' gradient.
    fn run(log_prob: LogProb, pixels: usize, layout: ParameterLayout, transposed: bool) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
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

    const LAYOUTS: [ParameterLayout; 5] = [
        ParameterLayout { grid: Grid::Bits8, mixtures: 1, channels: 1 },
        ParameterLayout { grid: Grid::Bits8, mixtures: 10, channels: 3 },
        ParameterLayout { grid: Grid::Bits8, mixtures: 5, channels: 1 },
        ParameterLayout { grid: Grid::Bits8, mixtures: 3, channels: 2 },
        ParameterLayout { grid: Grid::Bits8, mixtures: 2, channels: 4 },
    ];

    const SOUND: ParameterLayout = ParameterLayout { grid: Grid::Bits16, mixtures: 10, channels: 1 };

    #[test]
    fn equals_the_default_implementation() {
        for layout in LAYOUTS.into_iter().chain([SOUND]) {
            for pixels in [1, 16, 53, 300] {
                for transposed in [false, true] {
                    let expected = run(by_default, pixels, layout, transposed);
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
            let device = Device::flex();
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
        let device = Device::flex();
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
        let device = Device::flex().autodiff();
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
        let device = Device::flex();
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
        let device = Device::flex().autodiff();
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
        let device = Device::flex();
        let parameters = Tensor::<2>::zeros([0, 20], &device);
        assert_eq!(
            logistic_mixture_log_prob(parameters, Tensor::zeros([0, 3], &device), Grid::Bits8).dims(),
            [0]
        );
    }

    #[test]
    #[should_panic(expected = "parameters [4, 12] do not fit data [4, 3]: they must be [4, mixtures · 10]")]
    fn wrong_shapes_panic_with_both() {
        let device = Device::flex();
        logistic_mixture_log_prob(Tensor::ones([4, 12], &device), Tensor::ones([4, 3], &device), Grid::Bits8);
    }
}
