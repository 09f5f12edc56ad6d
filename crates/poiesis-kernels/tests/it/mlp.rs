//! Layers for single inputs.

use burn::tensor::Tensor;
use poiesis_kernels::{Activation, Mlp, linear};

use crate::common::{flex_device, numbers, tensor, values};

fn layers(sizes: &[usize], activation: Activation) -> Vec<(Tensor<2>, Tensor<1>, Activation)> {
    let device = flex_device();
    sizes
        .windows(2)
        .enumerate()
        .map(|(i, pair)| {
            let weight = numbers(pair[0] * pair[1], i as u64 + 1);
            let bias = numbers(pair[1], i as u64 + 50);
            let weight = tensor(&weight, [pair[0], pair[1]], &device);
            (weight, tensor(&bias, [pair[1]], &device), activation)
        })
        .collect()
}

#[test]
fn equals_linear_bit_by_bit() {
    for sizes in [&[17, 64, 64, 6][..], &[1, 1], &[5, 300, 7, 130], &[500, 33]] {
        for activation in [Activation::Tanh, Activation::Relu, Activation::Gelu, Activation::Identity] {
            let layers = layers(sizes, activation);
            let x = numbers(3 * sizes[0], 9);
            let mut expected = tensor(&x, [3, sizes[0]], &flex_device());
            for (weight, bias, activation) in &layers {
                expected = linear(expected, weight.clone(), Some(bias.clone()), *activation);
            }
            let expected = values(expected);
            let mut mlp = Mlp::new(&layers);
            let mut y = vec![0.5; sizes[sizes.len() - 1]];
            for (x, expected) in x.chunks_exact(sizes[0]).zip(expected.chunks_exact(y.len())) {
                mlp.forward(x, &mut y);
                assert_eq!(y, expected, "{sizes:?} {activation:?}");
            }
        }
    }
}

#[test]
fn transposed_weights() {
    let weight = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2], &flex_device()).transpose();
    let bias = Tensor::zeros([3], &flex_device());
    let mut y = [0.0; 3];
    Mlp::new(&[(weight, bias, Activation::Identity)]).forward(&[1.0, 10.0], &mut y);
    assert_eq!(y, [21.0, 43.0, 65.0]);
}

#[test]
#[should_panic(expected = "weight [6, 2] does not fit weight [4, 5] before it")]
fn wrong_layers_panic_with_both_shapes() {
    let mut both = layers(&[4, 5], Activation::Tanh);
    both.extend(layers(&[6, 2], Activation::Tanh));
    Mlp::new(&both);
}

#[test]
#[should_panic(expected = "input [3] and output [2] do not fit layers from [4] to [2]")]
fn a_wrong_input_panics_with_both_shapes() {
    Mlp::new(&layers(&[4, 5, 2], Activation::Tanh)).forward(&[0.0; 3], &mut [0.0; 2]);
}
