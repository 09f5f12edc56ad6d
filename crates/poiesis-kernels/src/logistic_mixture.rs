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
