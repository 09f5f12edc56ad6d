//! Results and every gradient against numbers that PyTorch computed in f64 (`fixtures/*.py`).

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{Fixture, assert_right_with_every_instruction_set, numbers, values};
use poiesis_kernels::{
    Activation, ConvOptions, ConvTransposeOptions, Normalized, batch_norm, batch_norm_eval, conv_transpose2d,
    conv2d, embedding, linear,
};

#[test]
fn linear_with_every_activation() {
    let device = device();
    let fixture = Fixture::read("linear");
    let activations = [
        ("identity", Activation::Identity),
        ("relu", Activation::Relu),
        ("leaky_relu", Activation::LeakyRelu(0.2)),
        ("tanh", Activation::Tanh),
        ("sigmoid", Activation::Sigmoid),
        ("softplus", Activation::Softplus),
        ("elu", Activation::Elu),
        ("silu", Activation::Silu),
        ("gelu", Activation::Gelu),
    ];
    for (name, activation) in activations {
        let x = fixture.tensor::<3>("x", &device).require_grad();
        let weight = fixture.tensor::<2>("weight", &device).require_grad();
        let bias = fixture.tensor::<1>("bias", &device).require_grad();
        let y = linear(x.clone(), weight.clone(), Some(bias.clone()), activation);
        let gradients = (y.clone() * fixture.tensor("dy", &device)).sum().backward();
        let close = 2e-6;
        fixture.assert_close(&format!("{name}.y"), y, close);
        fixture.assert_close(&format!("{name}.dx"), x.grad(&gradients).unwrap(), close);
        fixture.assert_close(&format!("{name}.dweight"), weight.grad(&gradients).unwrap(), close);
        fixture.assert_close(&format!("{name}.dbias"), bias.grad(&gradients).unwrap(), close);
    }
}

#[test]
fn batch_norm_in_training_and_evaluation() {
    let device = device();
    let fixture = Fixture::read("batch_norm");
    let (epsilon, momentum) = (1e-3, 0.1);
    let activation = Activation::LeakyRelu(0.2);
    let running = ["running_mean", "running_var"].map(|name| fixture.tensor::<1>(name, &Device::flex()));
    for name in ["training", "evaluation"] {
        let x = fixture.tensor::<4>("x", &device).require_grad();
        let gamma = fixture.tensor::<1>("gamma", &device).require_grad();
        let beta = fixture.tensor::<1>("beta", &device).require_grad();
        let (mean, var) = (running[0].clone(), running[1].clone());
        let close = 2e-6;
        let y = if name == "training" {
            let batch = batch_norm(x.clone(), gamma.clone(), beta.clone(), epsilon, activation);
            let Normalized { y, mean: batch_mean, var: batch_var, count } = batch;
            // The running variance is the unbiased one.
            let batch_var = batch_var.inner() * (count as f64 / (count as f64 - 1.0));
            let follow = |old: Tensor<1>, new: Tensor<1>| old * (1.0 - momentum) + new * momentum;
            fixture.assert_close("training.running_mean", follow(mean, batch_mean.inner()), close);
            fixture.assert_close("training.running_var", follow(var, batch_var), close);
            y
        } else {
            batch_norm_eval(x.clone(), gamma.clone(), beta.clone(), mean, var, epsilon, activation)
        };
        let gradients = (y.clone() * fixture.tensor("dy", &device)).sum().backward();
        fixture.assert_close(&format!("{name}.y"), y, close);
        fixture.assert_close(&format!("{name}.dx"), x.grad(&gradients).unwrap(), close);
        fixture.assert_close(&format!("{name}.dgamma"), gamma.grad(&gradients).unwrap(), close);
        fixture.assert_close(&format!("{name}.dbeta"), beta.grad(&gradients).unwrap(), close);
    }
}

#[test]
fn embeddings() {
    let device = device();
    let fixture = Fixture::read("embedding");
    let weight = fixture.tensor::<2>("weight", &device).require_grad();
    let indices = fixture.tensor::<2>("indices", &Device::flex());
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
    let device = device();
    let fixture = Fixture::read("convolution");
    let key = |array: &str| format!("{name}.{array}");
    let x = fixture.tensor::<4>(&key("x"), &device).require_grad();
    let weight = fixture.tensor::<4>(&key("weight"), &device).require_grad();
    let bias = fixture.tensor::<1>(&key("bias"), &device).require_grad();
    let y = convolve(x.clone(), weight.clone(), bias.clone());
    let gradients = (y.clone() * fixture.tensor(&key("dy"), &device)).sum().backward();
    let close = 2e-6;
    fixture.assert_close(&key("y"), y, close);
    fixture.assert_close(&key("dx"), x.grad(&gradients).unwrap(), close);
    fixture.assert_close(&key("dweight"), weight.grad(&gradients).unwrap(), close);
    fixture.assert_close(&key("dbias"), bias.grad(&gradients).unwrap(), close);
}

#[test]
fn right_with_every_instruction_set() {
    assert_right_with_every_instruction_set("right_with_every_instruction_set");
}

/// Also limits the instruction set of this process, if the test asks for it, before anything is computed.
fn device() -> Device {
    numbers(0, 0);
    Device::flex().autodiff()
}
