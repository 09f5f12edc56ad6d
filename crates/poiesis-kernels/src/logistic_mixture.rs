//! Log probability of 8-bit pixels under a mixture of discretised logistic distributions.

use burn::tensor::Tensor;

use crate::activation::{self, Activation};
use crate::flex;

/// How many values a pixel has.
pub(crate) const LEVELS: usize = 256;

/// Half the width of a bin when 256 values are spread over [-1, 1].
pub(crate) const HALF_BIN: f64 = 1.0 / 255.0;

/// Values beyond this, or below its negative, lie in the last or first bin, which is open to its side.
pub(crate) const EDGE: f64 = 1.0 - HALF_BIN;

/// Logarithms of scales are at least this.
pub(crate) const MIN_LOG_SCALE: f32 = -7.0;

/// `log p(x)` of each pixel in nats, `[pixels]`, under a mixture of logistic distributions cut into the 256 bins of
/// 8-bit values. `x [pixels, channels]` holds values `2 k / 255 − 1` for `k` in `0..=255`; the first and the last bin
/// reach to infinity. Differentiable in `parameters` only; `x` is data.
///
/// With `C` channels and `K` mixtures, each row of `parameters [pixels, K · (1 + 2 C + C (C − 1) / 2)]` holds in
/// blocks of `K`, mixtures side by side:
///
/// 1. the logits of the mixture's weights (1 block),
/// 2. the means of each channel in turn (`C` blocks),
/// 3. the logarithms of the scales of each channel in turn (`C` blocks), raised to −7 where below,
/// 4. the coefficients of each channel on every earlier one: (1, 0), (2, 0), (2, 1), … (`C (C − 1) / 2` blocks).
///
/// The mean of channel `c` is moved by `Σ tanh(coefficient(c, j)) · x(j)` over the earlier channels `j`.
///
/// A bin's mass σ(a) − σ(b) is taken as σ(a) σ(−b) (1 − e^(b−a)), whose logarithm never cancels, so that no bound or
/// density at the bin's middle has to stand in for it. On Flex one pass over the parameters forward and one backward;
/// only they are kept.
///
/// Source: Salimans et al. 2017, §2.1 and 2.2.
///
/// # Panics
///
/// When the shapes do not fit one another.
pub fn logistic_mixture_log_prob(parameters: Tensor<2>, x: Tensor<2>) -> Tensor<1> {
    let order = Order::of(parameters.dims(), x.dims());
    if x.dims()[0] == 0 {
        return Tensor::zeros([0], &parameters.device());
    }
    flex::logistic_mixture::log_prob(&parameters, &x, order).unwrap_or_else(|| default(parameters, x, order))
}

/// The law of one channel of each pixel given the channels before it, under the distribution of
/// [`logistic_mixture_log_prob`]: the logarithm of the probability of each of the 256 levels, in nats, into
/// `laws [pixels, 256]`. `parameters [pixels, K · (1 + 2 C + C (C − 1) / 2)]` are those of pixels of `C = channels`
/// channels, `earlier [pixels, channel]` the values of the channels before, as above in [-1, 1]; how many these are says which
/// channel is meant.
///
/// Each pixel is computed alone, so its law is the same to the bit whatever the number of pixels and of threads. One pass over
/// slices, for generating and for coding.
///
/// Source: Salimans et al. 2017, §2.1 and 2.2.
///
/// # Panics
///
/// When the lengths do not fit one another, or no channel is left.
pub fn logistic_mixture_laws(parameters: &[f32], earlier: &[f32], channels: usize, laws: &mut [f32]) {
    let pixels = laws.len() / LEVELS;
    if pixels == 0 && laws.is_empty() {
        return;
    }
    let fits = laws.len() == pixels * LEVELS
        && pixels > 0
        && parameters.len().is_multiple_of(pixels)
        && earlier.len().is_multiple_of(pixels)
        && earlier.len() / pixels < channels;
    assert!(
        fits,
        "logistic_mixture_laws: parameters [{}] and earlier values [{}] of {channels} channels do not fit laws [{}]",
        parameters.len(),
        earlier.len(),
        laws.len(),
    );
    let order = Order::of([pixels, parameters.len() / pixels], [pixels, channels]);
    flex::logistic_mixture::laws(parameters, earlier, order, earlier.len() / pixels, laws);
}

/// Where a pixel's parameters lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) mixtures: usize,
    pub(crate) channels: usize,
}

impl Order {
    fn of(parameters: [usize; 2], x: [usize; 2]) -> Self {
        let channels = x[1];
        let blocks = 1 + 2 * channels + channels * channels.saturating_sub(1) / 2;
        assert!(
            parameters[0] == x[0]
                && parameters[1] > 0
                && parameters[1].is_multiple_of(blocks)
                && channels > 0,
            "logistic_mixture_log_prob: parameters {parameters:?} do not fit data {x:?}: they must be \
             [{}, mixtures · {blocks}]",
            x[0],
        );
        Self { mixtures: parameters[1] / blocks, channels }
    }

    /// How many there are.
    pub(crate) fn parameters(self) -> usize {
        self.coefficient(0, self.channels, 0)
    }

    pub(crate) fn mean(self, mixture: usize, channel: usize) -> usize {
        (1 + channel) * self.mixtures + mixture
    }

    pub(crate) fn log_scale(self, mixture: usize, channel: usize) -> usize {
        (1 + self.channels + channel) * self.mixtures + mixture
    }

    /// Of `channel` on the `earlier` one.
    pub(crate) fn coefficient(self, mixture: usize, channel: usize, earlier: usize) -> usize {
        let pair = channel * channel.saturating_sub(1) / 2 + earlier;
        (1 + 2 * self.channels + pair) * self.mixtures + mixture
    }
}

#[expect(clippy::needless_pass_by_value, reason = "takes what `logistic_mixture_log_prob` takes")]
pub(crate) fn default(parameters: Tensor<2>, x: Tensor<2>, order: Order) -> Tensor<1> {
    let pixels = x.dims()[0];
    let block = |first: usize| parameters.clone().narrow(1, first, order.mixtures);
    let x = x.inner();
    let mut terms = block(0);
    let denominator = log_sum_exp(terms.clone());
    for channel in 0..order.channels {
        let mut mean = block(order.mean(0, channel));
        for earlier in 0..channel {
            let coefficient = block(order.coefficient(0, channel, earlier)).tanh();
            mean = mean + coefficient * x.clone().narrow(1, earlier, 1);
        }
        let log_scale = block(order.log_scale(0, channel)).clamp_min(MIN_LOG_SCALE);
        terms = terms + log_mass(x.clone().narrow(1, channel, 1), mean, log_scale);
    }
    (log_sum_exp(terms) - denominator).reshape([pixels])
}

/// The logarithm of the mass of the bin of `x [pixels, 1]`, `[pixels, mixtures]`.
fn log_mass(x: Tensor<2>, mean: Tensor<2>, log_scale: Tensor<2>) -> Tensor<2> {
    let softplus = |x| activation::default(x, Activation::Softplus);
    let inverse_scale = log_scale.neg().exp();
    let centered = mean.neg() + x.clone();
    let below_upper = softplus((centered.clone() + HALF_BIN).neg() * inverse_scale.clone()).neg();
    let above_lower = softplus((centered - HALF_BIN) * inverse_scale.clone()).neg();
    // With t = tanh(width / 2), 1 − exp(−width) = 2t / (1 + t), exact for narrow bins too.
    let t = (inverse_scale * HALF_BIN).tanh();
    let between = t.clone().log() - (t + 1.0).log() + std::f64::consts::LN_2;
    let not_first = x.clone().greater_equal_elem(-EDGE).float();
    let not_last = x.lower_equal_elem(EDGE).float();
    below_upper * not_last.clone() + above_lower * not_first.clone() + between * (not_first * not_last)
}

/// Over the last axis, `[rows, 1]`.
fn log_sum_exp(x: Tensor<2>) -> Tensor<2> {
    // The greatest, which only keeps the exponential in range, takes no gradient.
    let greatest = x.clone().inner().max_dim(1);
    (x - greatest.clone()).exp().sum_dim(1).log() + greatest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, assert_close, assert_same_for_any_threads, numbers, tensor, values};
    use burn::tensor::Device;

    type LogProb = fn(Tensor<2>, Tensor<2>) -> Tensor<1>;

    fn by_default(parameters: Tensor<2>, x: Tensor<2>) -> Tensor<1> {
        let order = Order::of(parameters.dims(), x.dims());
        default(parameters, x, order)
    }

    /// `count` of the 256 levels, the first and the last among them.
    fn levels(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 5 % 52 * 5) as f32) * 2.0 / 255.0 - 1.0).collect()
    }

    /// Parameters with log-scales in (−9, 3), some of them below the bound.
    fn parameters(pixels: usize, order: Order) -> Vec<f32> {
        let columns = order.parameters();
        let mut values = numbers(pixels * columns, 1);
        let scales = order.log_scale(0, 0)..order.log_scale(0, order.channels);
        for (i, value) in values.iter_mut().enumerate() {
            if scales.contains(&(i % columns)) {
                *value = *value * 6.0 - 3.0;
            }
        }
        values
    }

    /// Result and the parameters' gradient.
    fn run(log_prob: LogProb, pixels: usize, order: Order, transposed: bool) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let columns = order.parameters();
        let memory = if transposed { [columns, pixels] } else { [pixels, columns] };
        let numbers_of = parameters(pixels, order);
        let numbers_of = if transposed {
            (0..numbers_of.len()).map(|i| numbers_of[i % pixels * columns + i / pixels]).collect()
        } else {
            numbers_of
        };
        let leaf = tensor(&numbers_of, memory, &device).require_grad();
        let parameters = if transposed { leaf.clone().transpose() } else { leaf.clone() };
        let x = tensor(&levels(pixels * order.channels), [pixels, order.channels], &device);
        let y = log_prob(parameters, x);
        let dy = tensor(&numbers(pixels, 3), [pixels], &device);
        let gradients = (y.clone() * dy).sum().backward();
        vec![values(y), values(leaf.grad(&gradients).unwrap())]
    }

    const ORDERS: [Order; 5] = [
        Order { mixtures: 1, channels: 1 },
        Order { mixtures: 10, channels: 3 },
        Order { mixtures: 5, channels: 1 },
        Order { mixtures: 3, channels: 2 },
        Order { mixtures: 2, channels: 4 },
    ];

    #[test]
    fn equals_the_default_body() {
        for order in ORDERS {
            for pixels in [1, 16, 53, 300] {
                for transposed in [false, true] {
                    let expected = run(by_default, pixels, order, transposed);
                    let got = run(logistic_mixture_log_prob, pixels, order, transposed);
                    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                        let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
                        assert_close(got, &expected, 2e-6, &format!("{pixels} {order:?}, output {i}"));
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        assert_same_for_any_threads(|| run(logistic_mixture_log_prob, 999, ORDERS[1], false));
    }

    /// The laws of all channels of pixels, one after another: `[channels][pixels, 256]`.
    fn laws_of(parameters: &[f32], x: &[f32], channels: usize) -> Vec<Vec<f32>> {
        let pixels = x.len() / channels;
        let law = |channel: usize| {
            let earlier: Vec<f32> = x.chunks_exact(channels).flat_map(|x| x[..channel].to_vec()).collect();
            let mut laws = vec![0.5; pixels * LEVELS];
            logistic_mixture_laws(parameters, &earlier, channels, &mut laws);
            laws
        };
        (0..channels).map(law).collect()
    }

    #[test]
    fn laws_add_up_to_one_and_multiply_to_the_probability() {
        for order in ORDERS {
            let pixels = 40;
            let parameters = parameters(pixels, order);
            let x = levels(pixels * order.channels);
            let laws = laws_of(&parameters, &x, order.channels);
            for law in laws.iter().flat_map(|laws| laws.chunks_exact(LEVELS)) {
                let sum: f64 = law.iter().map(|&l| f64::from(l).exp()).sum();
                assert!((sum - 1.0).abs() < 2e-5 && law.iter().all(|l| l.is_finite()), "{order:?}: {sum}");
            }
            let device = Device::flex();
            let expected = logistic_mixture_log_prob(
                tensor(&parameters, [pixels, order.parameters()], &device),
                tensor(&x, [pixels, order.channels], &device),
            );
            let expected: Vec<f64> = values(expected).into_iter().map(f64::from).collect();
            let value = |pixel: usize, channel: usize| {
                let level = ((x[pixel * order.channels + channel] + 1.0) * 127.5).round() as usize;
                laws[channel][pixel * LEVELS + level]
            };
            let got: Vec<f32> = (0..pixels)
                .map(|pixel| (0..order.channels).map(|channel| value(pixel, channel)).sum())
                .collect();
            assert_close(&got, &expected, 5e-6, &format!("{order:?}"));
        }
    }

    #[test]
    fn laws_do_not_depend_on_company_or_threads() {
        let order = ORDERS[1];
        let parameters = parameters(70, order);
        let x = levels(70 * order.channels);
        let all = laws_of(&parameters, &x, order.channels);
        let columns = order.parameters();
        for pixel in [0, 3, 69] {
            let alone = laws_of(
                &parameters[pixel * columns..][..columns],
                &x[pixel * order.channels..][..order.channels],
                order.channels,
            );
            for (alone, all) in alone.iter().zip(&all) {
                assert_eq!(alone[..], all[pixel * LEVELS..][..LEVELS]);
            }
        }
        assert_same_for_any_threads(|| laws_of(&parameters, &x, order.channels));
    }

    #[test]
    #[should_panic(expected = "parameters [3] and earlier values [1] of 1 channels do not fit laws [256]")]
    fn laws_of_no_channel_panic() {
        logistic_mixture_laws(&[0.0; 3], &[0.0], 1, &mut [0.0; 256]);
    }

    #[test]
    fn equals_pytorch() {
        let device = Device::flex().autodiff();
        let fixture = Fixture::read("logistic_mixture");
        for channels in ["1", "3"] {
            let array = |name: &str| format!("{channels}.{name}");
            let parameters = fixture.tensor::<2>(&array("parameters"), &device).require_grad();
            let y = logistic_mixture_log_prob(parameters.clone(), fixture.tensor(&array("x"), &device));
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
            let log_prob = values(logistic_mixture_log_prob(parameters, x.clone()));
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
        let y = logistic_mixture_log_prob(parameters.clone(), x);
        let gradients = y.clone().sum().backward();
        let all = [values(y), values(parameters.grad(&gradients).unwrap())].concat();
        assert!(all.iter().all(|x| x.is_finite()), "{all:?}");
    }

    #[test]
    fn an_empty_batch() {
        let device = Device::flex();
        let parameters = Tensor::<2>::zeros([0, 20], &device);
        assert_eq!(logistic_mixture_log_prob(parameters, Tensor::zeros([0, 3], &device)).dims(), [0]);
    }

    #[test]
    #[should_panic(expected = "parameters [4, 12] do not fit data [4, 3]: they must be [4, mixtures · 10]")]
    fn wrong_shapes_panic_with_both() {
        let device = Device::flex();
        logistic_mixture_log_prob(Tensor::ones([4, 12], &device), Tensor::ones([4, 3], &device));
    }
}
