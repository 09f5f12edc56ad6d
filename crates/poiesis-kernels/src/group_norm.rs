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

fn default<const D: usize>(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, assert_all_close, assert_same_for_any_threads, run_norm};
    use burn::tensor::Device;

    type GroupNorm = fn(Tensor<3>, usize, Tensor<1>, Tensor<1>, f64, Activation) -> Tensor<3>;

    const BY_DEFAULT: GroupNorm =
        |x, groups, gamma, beta, epsilon, activation| default(x, groups, [gamma, beta], epsilon, activation);

    /// Result and every gradient.
    fn run(
        norm: GroupNorm,
        shape: [usize; 3],
        groups: usize,
        activation: Activation,
        transposed: bool,
    ) -> Vec<Vec<f32>> {
        run_norm(|x, gamma, beta| norm(x, groups, gamma, beta, 1e-3, activation), shape, transposed)
    }

    #[test]
    fn equals_the_default_implementation() {
        let cases = [
            ([3, 700, 16], 4),
            ([1, 1, 1], 1),
            ([2, 5, 37], 37),
            ([2, 5, 37], 1),
            ([70, 9, 6], 2),
            ([2, 999, 33], 11),
        ];
        for (shape, groups) in cases {
            for activation in [Activation::Identity, Activation::LeakyRelu(0.2), Activation::Silu] {
                for transposed in [false, true] {
                    let expected = run(BY_DEFAULT, shape, groups, activation, transposed);
                    let got = run(group_norm, shape, groups, activation, transposed);
                    assert_all_close(&got, &expected, 3e-5, &format!("{shape:?} in {groups} {activation:?}"));
                }
            }
        }
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        assert_same_for_any_threads(|| run(group_norm, [9, 1000, 36], 4, Activation::Silu, false));
    }

    #[test]
    fn equals_pytorch() {
        let names = ["x", "gamma", "beta"];
        let fixture = Fixture::read("norm");
        fixture.assert_operation(["group."; 2], names, [1e-6, 2e-6], |x: Tensor<4>, gamma, beta| {
            group_norm(x, 3, gamma, beta, 1e-5, Activation::Silu)
        });
    }

    #[test]
    fn an_empty_batch() {
        let device = Device::flex();
        let (gamma, beta) = (Tensor::ones([4], &device), Tensor::ones([4], &device));
        let x = Tensor::<3>::zeros([0, 5, 4], &device);
        assert_eq!(group_norm(x, 2, gamma, beta, 1e-5, Activation::Relu).dims(), [0, 5, 4]);
    }

    #[test]
    #[should_panic(expected = "4 groups do not divide the channels of input [2, 5, 6]")]
    fn groups_that_do_not_divide_panic() {
        let device = Device::flex();
        let (gamma, beta) = (Tensor::ones([6], &device), Tensor::ones([6], &device));
        group_norm(Tensor::<3>::ones([2, 5, 6], &device), 4, gamma, beta, 1e-5, Activation::Identity);
    }

    #[test]
    #[should_panic(expected = "[2, 3] does not fit gamma [3] and beta [2]")]
    fn wrong_parameters_panic_with_all_shapes() {
        let device = Device::flex();
        let (gamma, beta) = (Tensor::ones([3], &device), Tensor::ones([2], &device));
        group_norm(Tensor::<2>::ones([2, 3], &device), 1, gamma, beta, 1e-5, Activation::Identity);
    }
}
