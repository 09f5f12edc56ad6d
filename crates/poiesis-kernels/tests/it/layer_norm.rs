//! Layer normalisation and its form without means.

use burn::tensor::Tensor;
use poiesis_kernels::internals::{default_layer_norm as default, default_rms_norm as default_rms};
use poiesis_kernels::{layer_norm, rms_norm};

use crate::common::{
    Fixture, assert_all_close, assert_close, assert_same_for_any_threads, autodiff_device, flex_device,
    numbers, run_norm, tensor, values,
};

type Norm = fn(Tensor<3>, Tensor<1>, Tensor<1>) -> Tensor<3>;

const LAYER: [Norm; 2] = [
    |x, gamma, beta| layer_norm(x, gamma, Some(beta), 1e-3),
    |x, gamma, beta| default(x, gamma, Some(beta), 1e-3),
];
// The sum with beta, which the norm does not use, gives it a gradient to compare.
const WITHOUT_BETA: [Norm; 2] = [
    |x, gamma, beta| layer_norm(x, gamma, None, 1e-3) + beta.unsqueeze(),
    |x, gamma, beta| default(x, gamma, None, 1e-3) + beta.unsqueeze(),
];
const RMS: [Norm; 2] = [
    |x, gamma, beta| rms_norm(x, gamma, 1e-3) + beta.unsqueeze(),
    |x, gamma, beta| default_rms(x, gamma, 1e-3) + beta.unsqueeze(),
];

#[test]
fn equals_the_default_implementation() {
    for [norm, default] in [LAYER, WITHOUT_BETA, RMS] {
        for shape in [[3, 70, 128], [1, 1, 1], [2, 5, 37], [1, 300, 3], [40, 30, 33], [1, 3, 9001]] {
            for transposed in [false, true] {
                let expected = run_norm(default, shape, transposed);
                assert_all_close(&run_norm(norm, shape, transposed), &expected, 1e-5, &format!("{shape:?}"));
            }
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    for [norm, _] in [LAYER, RMS] {
        assert_same_for_any_threads(|| run_norm(norm, [9, 333, 130], false));
    }
}

#[test]
fn equals_pytorch() {
    let device = autodiff_device();
    let fixture = Fixture::read("norm");
    for name in ["layer", "rms"] {
        let array = |what: &str| format!("{name}.{what}");
        let x = fixture.tensor::<3>("rows.x", &device).require_grad();
        let gamma = fixture.tensor::<1>("rows.gamma", &device).require_grad();
        let beta = fixture.tensor::<1>("rows.beta", &device).require_grad();
        let y = match name {
            "layer" => layer_norm(x.clone(), gamma.clone(), Some(beta.clone()), 1e-5),
            _ => rms_norm(x.clone(), gamma.clone(), 1e-5),
        };
        let gradients = (y.clone() * fixture.tensor("rows.dy", &device)).sum().backward();
        fixture.assert_close(&array("y"), y, 1e-6);
        fixture.assert_close(&array("dx"), x.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close(&array("dgamma"), gamma.grad(&gradients).unwrap(), 2e-6);
        if name == "layer" {
            fixture.assert_close(&array("dbeta"), beta.grad(&gradients).unwrap(), 2e-6);
        }
    }
}

#[test]
fn a_large_mean_leaves_the_variance_exact() {
    let device = flex_device();
    let x: Vec<f32> = numbers(1000, 1).iter().map(|x| x + 1000.0).collect();
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e3;
    let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 1e3;
    let expected: Vec<f64> = x.iter().map(|&x| (f64::from(x) - mean) / variance.sqrt()).collect();
    let y = layer_norm(tensor(&x, [1, 1000], &device), Tensor::ones([1000], &device), None, 0.0);
    assert_close(&values(y), &expected, 1e-4, "normalised");
}

#[test]
fn constants_take_no_gradient() {
    let device = autodiff_device();
    let x = tensor(&numbers(12, 1), [3, 4], &device);
    let gamma = Tensor::ones([4], &flex_device());
    let beta = tensor(&numbers(4, 2), [4], &device).require_grad();
    let y = layer_norm(x.clone(), gamma, Some(beta.clone()), 1e-5);
    let gradients = y.sum().backward();
    assert_eq!(values(beta.grad(&gradients).unwrap()), [3.0; 4]);
    assert!(x.grad(&gradients).is_none());
}

#[test]
fn an_empty_batch() {
    let device = autodiff_device();
    let gamma = Tensor::<1>::ones([4], &device).require_grad();
    let y = layer_norm(Tensor::<2>::zeros([0, 4], &device), gamma.clone(), None, 1e-5);
    assert_eq!(y.dims(), [0, 4]);
    let y = layer_norm(Tensor::<2>::zeros([3, 0], &device), Tensor::ones([0], &device), None, 1e-5);
    assert_eq!(y.dims(), [3, 0]);
}

#[test]
#[should_panic(expected = "[2, 3] does not fit beta [2]")]
fn a_wrong_beta_panics_with_both_shapes() {
    let device = flex_device();
    let beta = Some(Tensor::ones([2], &device));
    layer_norm(Tensor::<2>::ones([2, 3], &device), Tensor::ones([3], &device), beta, 1e-5);
}

#[test]
#[should_panic(expected = "[2, 3] does not fit gamma [2]")]
fn a_wrong_gamma_panics_with_both_shapes() {
    let device = flex_device();
    rms_norm(Tensor::<2>::ones([2, 3], &device), Tensor::ones([2], &device), 1e-5);
}
