//! Log probabilities of classes.

use burn::tensor::{DType, Device, Int, Tensor};
use poiesis_kernels::categorical_log_prob;
use poiesis_kernels::internals::{default_categorical_log_prob as default, flex_categorical_log_prob};

use crate::common::{
    Fixture, assert_all_close, assert_close, assert_same_for_any_threads, autodiff_device, flex_device,
    numbers, tensor, values,
};

type LogProb = fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1>;

fn targets(rows: usize, classes: usize, device: &Device) -> Tensor<1, Int> {
    let targets: Vec<i64> = (0..rows).map(|i| (i * 7919 % classes) as i64).collect();
    Tensor::from_data(targets.as_slice(), device)
}

/// Result and the logits' gradient; logits are in (−30, 30).
fn run(log_prob: LogProb, [rows, classes]: [usize; 2], transposed: bool) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let logits: Vec<f32> = numbers(rows * classes, 1).iter().map(|x| x * 30.0).collect();
    let memory = if transposed { [classes, rows] } else { [rows, classes] };
    let leaf = tensor(&logits, memory, &device).require_grad();
    let logits = if transposed { leaf.clone().transpose() } else { leaf.clone() };
    let y = log_prob(logits, targets(rows, classes, &device));
    let gradients = (y.clone() * tensor(&numbers(rows, 3), [rows], &device)).sum().backward();
    vec![values(y), values(leaf.grad(&gradients).unwrap())]
}

/// The same in f64, without transposing.
fn exact([rows, classes]: [usize; 2]) -> [Vec<f64>; 2] {
    let logits: Vec<f64> = numbers(rows * classes, 1).iter().map(|x| f64::from(x * 30.0)).collect();
    let dy = numbers(rows, 3);
    let mut result = [Vec::new(), Vec::new()];
    for (i, row) in logits.chunks_exact(classes).enumerate() {
        let target = i * 7919 % classes;
        let denominator = row.iter().map(|x| x.exp()).sum::<f64>();
        result[0].push(row[target] - denominator.ln());
        for (c, x) in row.iter().enumerate() {
            let hit = if c == target { 1.0 } else { 0.0 };
            result[1].push(f64::from(dy[i]) * (hit - x.exp() / denominator));
        }
    }
    result
}

const SHAPES: [[usize; 2]; 7] = [[1, 1], [3, 256], [300, 10], [7, 33], [5, 31], [2, 9000], [65, 2]];

#[test]
fn equals_f64() {
    for shape in SHAPES {
        for (got, expected) in run(categorical_log_prob, shape, false).iter().zip(exact(shape)) {
            assert_close(got, &expected, 1e-6, &format!("{shape:?}"));
        }
    }
}

#[test]
fn equals_the_default_implementation() {
    for shape in SHAPES {
        for transposed in [false, true] {
            let expected = run(default, shape, transposed);
            let got = run(categorical_log_prob, shape, transposed);
            assert_all_close(&got, &expected, 2e-6, &format!("{shape:?}"));
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(categorical_log_prob, [999, 130], false));
}

#[test]
fn equals_pytorch() {
    let device = autodiff_device();
    let fixture = Fixture::read("categorical");
    let logits = fixture.tensor::<2>("logits", &device).require_grad();
    let targets = fixture.tensor::<1>("targets", &device).int();
    let y = categorical_log_prob(logits.clone(), targets);
    let gradients = (y.clone() * fixture.tensor("dy", &device)).sum().backward();
    fixture.assert_close("y", y, 1e-6);
    fixture.assert_close("dlogits", logits.grad(&gradients).unwrap(), 1e-6);
}

#[test]
fn takes_integers_of_both_widths() {
    let device = flex_device();
    let logits = tensor(&numbers(12, 1), [4, 3], &device);
    let wide = targets(4, 3, &device).cast(DType::I64);
    let narrow = targets(4, 3, &device).cast(DType::I32);
    for targets in [&wide, &narrow] {
        assert!(flex_categorical_log_prob(&logits, targets).is_some(), "{:?}", targets.dtype());
    }
    let expected = values(categorical_log_prob(logits.clone(), wide));
    assert_eq!(values(categorical_log_prob(logits, narrow)), expected);
}

#[test]
fn an_empty_batch() {
    let device = flex_device();
    let logits = Tensor::<2>::zeros([0, 4], &device);
    let targets = Tensor::<1, Int>::zeros([0], &device);
    assert_eq!(categorical_log_prob(logits, targets).dims(), [0]);
}

#[test]
#[should_panic(expected = "target 3 is outside of 3 classes")]
fn a_target_beyond_the_classes_panics() {
    let device = flex_device();
    let targets = Tensor::<1, Int>::from_data([0, 3], &device);
    categorical_log_prob(Tensor::ones([2, 3], &device), targets);
}

#[test]
#[should_panic(expected = "target -1 is outside of 3 classes")]
fn a_negative_target_panics_in_the_default_implementation() {
    let device = flex_device();
    let targets = Tensor::<1, Int>::from_data([0, -1], &device);
    default(Tensor::ones([2, 3], &device), targets);
}

#[test]
#[should_panic(expected = "[2, 3] do not fit targets [3]")]
fn wrong_shapes_panic_with_both() {
    let device = flex_device();
    categorical_log_prob(Tensor::ones([2, 3], &device), Tensor::zeros([3], &device));
}
