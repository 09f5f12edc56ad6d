//! Results and every gradient against numbers that PyTorch computed in f64 (`fixtures/*.py`).

use burn::tensor::{Int, Tensor, TensorData};
use poiesis_kernels::{
    Activation, ConvOptions, ConvTransposeOptions, Normalized, batch_norm, batch_norm_eval, conv_transpose2d,
    conv2d, embedding, linear,
};

use crate::common::{ACTIVATIONS, Fixture, autodiff_device, flex_device, values};

/// Largest error, relative to the largest value.
const CLOSE: f64 = 2e-6;

#[test]
fn linear_with_every_activation() {
    let fixture = Fixture::read("linear");
    let names = ["identity", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "elu", "silu", "gelu"];
    for (name, activation) in names.into_iter().zip(ACTIVATIONS) {
        let prefixes = ["", &format!("{name}.")];
        fixture.assert_operation(
            prefixes,
            ["x", "weight", "bias"],
            [CLOSE; 2],
            |x: Tensor<3>, weight, bias| linear(x, weight, Some(bias), activation),
        );
    }
}

#[test]
fn batch_norm_in_training_and_evaluation() {
    let fixture = Fixture::read("batch_norm");
    let (epsilon, momentum) = (1e-3, 0.1);
    let activation = Activation::LeakyRelu(0.2);
    let [mean, var] = ["running_mean", "running_var"].map(|name| fixture.tensor::<1>(name, &flex_device()));
    let names = ["x", "gamma", "beta"];
    fixture.assert_operation(["", "training."], names, [CLOSE; 2], |x: Tensor<4>, gamma, beta| {
        let batch = batch_norm(x, gamma, beta, epsilon, activation);
        let Normalized { y, mean: batch_mean, var: batch_var, count } = batch;
        // The running variance is the unbiased one.
        let batch_var = batch_var.inner() * (count as f64 / (count as f64 - 1.0));
        let follow = |old: &Tensor<1>, new: Tensor<1>| old.clone() * (1.0 - momentum) + new * momentum;
        fixture.assert_close("training.running_mean", follow(&mean, batch_mean.inner()), CLOSE);
        fixture.assert_close("training.running_var", follow(&var, batch_var), CLOSE);
        y
    });
    fixture.assert_operation(["", "evaluation."], names, [CLOSE; 2], |x: Tensor<4>, gamma, beta| {
        batch_norm_eval(x, gamma, beta, mean.clone(), var.clone(), epsilon, activation)
    });
}

#[test]
fn embeddings() {
    let device = autodiff_device();
    let fixture = Fixture::read("embedding");
    let weight = fixture.tensor::<2>("weight", &device).require_grad();
    let indices = fixture.tensor::<2>("indices", &flex_device());
    let shape = indices.dims();
    let indices: Vec<i64> = values(indices).into_iter().map(|index| index as i64).collect();
    let y = embedding(weight.clone(), Tensor::<2, Int>::from_data(TensorData::new(indices, shape), &device));
    let gradients = (y.clone() * fixture.tensor("dy", &device)).sum().backward();
    fixture.assert_close("y", y, 0.0);
    fixture.assert_close("dweight", weight.grad(&gradients).unwrap(), 1e-6);
}

#[test]
fn convolutions() {
    let none = ConvOptions::default();
    let cases = [
        ("strided", ConvOptions { stride: [2, 1], padding: [[1, 0], [0, 2]], ..none.clone() }),
        (
            "dilated",
            ConvOptions { stride: [1, 2], padding: [[2, 1], [1, 0]], dilation: [2, 3], groups: 2, ..none },
        ),
        ("square", ConvOptions::new([1, 1], [1, 1])),
        ("masked", ConvOptions { active_taps: Some(4), ..ConvOptions::new([1, 1], [1, 1]) }),
    ];
    for (name, options) in cases {
        assert_convolution(name, |x, weight, bias| conv2d(x, weight, Some(bias), &options));
    }
}

#[test]
fn transposed_convolutions() {
    let none = ConvTransposeOptions::default();
    let cases = [
        (
            "transposed_strided",
            ConvTransposeOptions {
                stride: [2, 2],
                padding: [[1, 2], [0, 1]],
                output_padding: [1, 0],
                ..none.clone()
            },
        ),
        (
            "transposed_dilated",
            ConvTransposeOptions {
                stride: [1, 3],
                padding: [[0, 1], [2, 1]],
                output_padding: [0, 2],
                dilation: [3, 1],
                groups: 2,
            },
        ),
    ];
    for (name, options) in cases {
        assert_convolution(name, |x, weight, bias| conv_transpose2d(x, weight, Some(bias), &options));
    }
}

/// Result and all gradients of a convolution of the fixture's case `name`.
fn assert_convolution(name: &str, convolve: impl Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>) {
    let prefix = format!("{name}.");
    let names = ["x", "weight", "bias"];
    Fixture::read("convolution").assert_operation([&prefix; 2], names, [CLOSE; 2], convolve);
}
