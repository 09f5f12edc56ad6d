//! Rows of a table.

use burn::tensor::{DType, Int, Tensor};
use poiesis_kernels::embedding;
use poiesis_kernels::internals::{default_embedding as default, flex_embedding};

use crate::common::{
    assert_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor, values, wide,
};

type Embedding = fn(Tensor<2>, Tensor<2, Int>) -> Tensor<3>;

fn indices(n: usize, [rows, columns]: [usize; 2]) -> Vec<i64> {
    // Some rows of the table come often and some never.
    (0..rows * columns).map(|i| (i * i % n.div_ceil(2)) as i64).collect()
}

/// Result and the gradient of the weight, which may be transposed in memory.
fn run(embedding: Embedding, [n, dim]: [usize; 2], shape: [usize; 2], transposed: bool) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let leaf = tensor(&numbers(n * dim, 1), if transposed { [dim, n] } else { [n, dim] }, &device);
    let leaf = leaf.require_grad();
    let indices = Tensor::<1, Int>::from_data(indices(n, shape).as_slice(), &device);
    let (weight, indices) = if transposed {
        (leaf.clone().transpose(), indices.reshape([shape[1], shape[0]]).transpose())
    } else {
        (leaf.clone(), indices.reshape(shape))
    };
    let y = embedding(weight, indices);
    let dy = tensor(&numbers(shape[0] * shape[1] * dim, 2), y.dims(), &device);
    let gradients = (y.clone() * dy).sum().backward();
    vec![values(y), values(leaf.grad(&gradients).unwrap())]
}

const CASES: [([usize; 2], [usize; 2]); 4] =
    [([10, 128], [64, 7]), ([1, 1], [1, 1]), ([3, 33], [500, 1]), ([5000, 3], [7, 300])];

#[test]
fn equals_the_default_implementation() {
    for (weight, shape) in CASES {
        for transposed in [false, true] {
            let expected = run(default, weight, shape, transposed);
            let got = run(embedding, weight, shape, transposed);
            assert_eq!(got[0], expected[0], "{weight:?} {shape:?}");
            assert_close(&got[1], &wide(&expected[1]), 1e-6, &format!("{weight:?} {shape:?}"));
        }
    }
}

#[test]
fn equals_plain_loops() {
    for ([n, dim], shape) in CASES {
        let (weight, dy) = (numbers(n * dim, 1), numbers(shape[0] * shape[1] * dim, 2));
        let (mut y, mut gradient) = (Vec::new(), vec![0.0; n * dim]);
        for (i, index) in indices(n, shape).into_iter().enumerate() {
            for c in 0..dim {
                let place = index as usize * dim + c;
                y.push(weight[place]);
                gradient[place] += f64::from(dy[i * dim + c]);
            }
        }
        let got = run(embedding, [n, dim], shape, false);
        assert_eq!(got[0], y);
        assert_close(&got[1], &gradient, 1e-6, "gradient");
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(embedding, [300, 129], [77, 50], false));
}

#[test]
fn takes_integers_of_both_widths() {
    let device = flex_device();
    let weight = tensor(&numbers(12, 1), [4, 3], &device);
    let indices = Tensor::<2, Int>::from_data([[0, 3], [2, 2]], &device);
    let run = |dtype| flex_embedding(&weight, &indices.clone().cast(dtype)).map(values);
    assert!(run(DType::I64).is_some());
    assert_eq!(run(DType::I64), run(DType::I32));
}

#[test]
fn no_indices() {
    let device = flex_device();
    let y = embedding(Tensor::ones([4, 3], &device), Tensor::zeros([0, 2], &device));
    assert_eq!(y.dims(), [0, 2, 3]);
}

#[test]
#[should_panic(expected = "index 4 is outside of weight [4, 3]")]
fn an_index_beyond_the_table_panics() {
    let device = flex_device();
    embedding(Tensor::ones([4, 3], &device), Tensor::from_data([[0, 4]], &device));
}

#[test]
#[should_panic(expected = "index -1 is outside of weight [4, 3]")]
fn a_negative_index_panics_in_the_default_implementation() {
    let device = flex_device();
    default(Tensor::ones([4, 3], &device), Tensor::from_data([[0, -1]], &device));
}
