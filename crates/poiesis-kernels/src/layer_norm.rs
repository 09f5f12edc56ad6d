//! Layer norm and RMS norm: normalisation of each position by its own channels.

use burn::tensor::Tensor;

use crate::flex;

/// Normalises each row (last axis) of `x [.., channels]` by its own mean and biased variance:
/// `gamma · (x − mean) / √(variance + epsilon) + beta`, with `gamma` and `beta` `[channels]`.
///
/// On Flex one pass over memory forward and one backward; two values per row are kept besides the input.
///
/// Source: Ba, Kiros & Hinton 2016, §3.
///
/// # Panics
///
/// When `gamma` or `beta` is not `[channels]`.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    check("layer_norm", &x.dims(), "gamma", gamma.dims());
    if let Some(beta) = &beta {
        check("layer_norm", &x.dims(), "beta", beta.dims());
    }
    if gamma.dims() == [0] {
        return x;
    }
    flex::layer_norm::layer_norm(&x, &gamma, beta.as_ref(), epsilon, true)
        .unwrap_or_else(|| default(x, gamma, beta, epsilon))
}

/// Scales each row (last axis) of `x [.., channels]` by its root mean square:
/// `gamma · x / √(mean(x²) + epsilon)`, with `gamma` `[channels]`.
///
/// On Flex one pass over memory forward and one backward; two values per row are kept besides the input.
///
/// Source: Zhang & Sennrich 2019, equation 4.
///
/// # Panics
///
/// When `gamma` is not `[channels]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    check("rms_norm", &x.dims(), "gamma", gamma.dims());
    if gamma.dims() == [0] {
        return x;
    }
    flex::layer_norm::layer_norm(&x, &gamma, None, epsilon, false)
        .unwrap_or_else(|| default_rms(x, gamma, epsilon))
}

fn check(name: &str, x: &[usize], parameter: &str, shape: [usize; 1]) {
    let last = x.last().copied().unwrap_or(0);
    assert!(shape == [last], "{name}: input {x:?} does not fit {parameter} {shape:?}: it must be [{last}]",);
}

pub(crate) fn default<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    if x.dims().contains(&0) {
        return x;
    }
    let centered = x.clone() - x.mean_dim(D - 1);
    let y = default_rms(centered, gamma, epsilon);
    match beta {
        Some(beta) => y + beta.unsqueeze(),
        None => y,
    }
}

pub(crate) fn default_rms<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    if x.dims().contains(&0) {
        return x;
    }
    let mean_square = (x.clone() * x.clone()).mean_dim(D - 1);
    x / (mean_square + epsilon).sqrt() * gamma.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Fixture, assert_all_close, assert_close, assert_same_for_any_threads, numbers, run_norm, tensor,
        values,
    };
    use burn::tensor::Device;

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
                    assert_all_close(
                        &run_norm(norm, shape, transposed),
                        &expected,
                        1e-5,
                        &format!("{shape:?}"),
                    );
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
        let device = Device::flex().autodiff();
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
        let device = Device::flex();
        let x: Vec<f32> = numbers(1000, 1).iter().map(|x| x + 1000.0).collect();
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e3;
        let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 1e3;
        let expected: Vec<f64> = x.iter().map(|&x| (f64::from(x) - mean) / variance.sqrt()).collect();
        let y = layer_norm(tensor(&x, [1, 1000], &device), Tensor::ones([1000], &device), None, 0.0);
        assert_close(&values(y), &expected, 1e-4, "normalised");
    }

    #[test]
    fn constants_take_no_gradient() {
        let device = Device::flex().autodiff();
        let x = tensor(&numbers(12, 1), [3, 4], &device);
        let gamma = Tensor::ones([4], &Device::flex());
        let beta = tensor(&numbers(4, 2), [4], &device).require_grad();
        let y = layer_norm(x.clone(), gamma, Some(beta.clone()), 1e-5);
        let gradients = y.sum().backward();
        assert_eq!(values(beta.grad(&gradients).unwrap()), [3.0; 4]);
        assert!(x.grad(&gradients).is_none());
    }

    #[test]
    fn an_empty_batch() {
        let device = Device::flex().autodiff();
        let gamma = Tensor::<1>::ones([4], &device).require_grad();
        let y = layer_norm(Tensor::<2>::zeros([0, 4], &device), gamma.clone(), None, 1e-5);
        assert_eq!(y.dims(), [0, 4]);
        let y = layer_norm(Tensor::<2>::zeros([3, 0], &device), Tensor::ones([0], &device), None, 1e-5);
        assert_eq!(y.dims(), [3, 0]);
    }

    #[test]
    #[should_panic(expected = "[2, 3] does not fit beta [2]")]
    fn a_wrong_beta_panics_with_both_shapes() {
        let device = Device::flex();
        let beta = Some(Tensor::ones([2], &device));
        layer_norm(Tensor::<2>::ones([2, 3], &device), Tensor::ones([3], &device), beta, 1e-5);
    }

    #[test]
    #[should_panic(expected = "[2, 3] does not fit gamma [2]")]
    fn a_wrong_gamma_panics_with_both_shapes() {
        let device = Device::flex();
        rms_norm(Tensor::<2>::ones([2, 3], &device), Tensor::ones([2], &device), 1e-5);
    }
}
