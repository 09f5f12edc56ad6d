//! Group norm with a following activation.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::Activation;

/// Normalises each example of `x [batch, .., channels]` in `groups` groups of neighbouring channels, each by its mean
/// and biased variance over its channels and all positions:
/// `activation(gamma · (x − mean) / √(variance + epsilon) + beta)`, with `gamma` and `beta` `[channels]`.
/// One group is layer norm over a whole image, as many groups as channels is instance norm.
///
/// On Flex two passes over the input forward and two backward; two values per group are kept besides the input.
///
/// Source: Wu & He 2018, equation 7.
///
/// # Panics
///
/// When `gamma` or `beta` is not `[channels]`, `x` has no batch axis, or `groups` does not divide the channels.
pub fn group_norm<const D: usize>(
    x: Tensor<D>,
    groups: usize,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    activation: Activation,
) -> Tensor<D> {
    check(&x.dims(), groups, gamma.dims(), beta.dims());
    if x.dims().contains(&0) {
        return x;
    }
    flex::group_norm::group_norm(&x, groups, [&gamma, &beta], epsilon, activation)
        .unwrap_or_else(|| default(x, groups, [gamma, beta], epsilon, activation))
}

fn check(x: &[usize], groups: usize, gamma: [usize; 1], beta: [usize; 1]) {
    assert!(x.len() > 1, "group_norm: input {x:?} must be [batch, .., channels]");
    let channels = x[x.len() - 1];
    assert!(
        gamma == [channels] && beta == [channels],
        "group_norm: input {x:?} does not fit gamma {gamma:?} and beta {beta:?}: each must be [{channels}]",
    );
    assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "group_norm: {groups} groups do not divide the channels of input {x:?}",
    );
}

/// The same in Burn's own operations.
pub fn default<const D: usize>(
    x: Tensor<D>,
    groups: usize,
    [gamma, beta]: [Tensor<1>; 2],
    epsilon: f64,
    activation: Activation,
) -> Tensor<D> {
    let shape = x.dims();
    let (batch, channels) = (shape[0], shape[D - 1]);
    let positions = shape[1..D - 1].iter().product::<usize>();
    let over_group = |x: Tensor<4>| x.mean_dim(1).mean_dim(3);
    let x = x.reshape([batch, positions, groups, channels / groups]);
    let centered = x.clone() - over_group(x);
    let variance = over_group(centered.clone() * centered.clone());
    let normal = (centered / (variance + epsilon).sqrt()).reshape(shape);
    activation::default(normal * gamma.unsqueeze() + beta.unsqueeze(), activation)
}
