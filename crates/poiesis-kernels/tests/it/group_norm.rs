//! Group normalisation.

use burn::tensor::Tensor;
use poiesis_kernels::internals::default_group_norm as default;
use poiesis_kernels::{Activation, group_norm};

use crate::common::{Fixture, assert_all_close, assert_same_for_any_threads, flex_device, run_norm};

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
    let device = flex_device();
    let (gamma, beta) = (Tensor::ones([4], &device), Tensor::ones([4], &device));
    let x = Tensor::<3>::zeros([0, 5, 4], &device);
    assert_eq!(group_norm(x, 2, gamma, beta, 1e-5, Activation::Relu).dims(), [0, 5, 4]);
}

#[test]
#[should_panic(expected = "4 groups do not divide the channels of input [2, 5, 6]")]
fn groups_that_do_not_divide_panic() {
    let device = flex_device();
    let (gamma, beta) = (Tensor::ones([6], &device), Tensor::ones([6], &device));
    group_norm(Tensor::<3>::ones([2, 5, 6], &device), 4, gamma, beta, 1e-5, Activation::Identity);
}

#[test]
#[should_panic(expected = "[2, 3] does not fit gamma [3] and beta [2]")]
fn wrong_parameters_panic_with_all_shapes() {
    let device = flex_device();
    let (gamma, beta) = (Tensor::ones([3], &device), Tensor::ones([2], &device));
    group_norm(Tensor::<2>::ones([2, 3], &device), 1, gamma, beta, 1e-5, Activation::Identity);
}
