//! The Adam and AdamW update of one parameter tensor.

use burn::tensor::Tensor;

use crate::flex::optimizer;

/// The settings of one update.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the second moment, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// L2 penalty, added to the gradient as `weight_decay · parameter`.
    pub weight_decay: f64,
    /// Decoupled weight decay (AdamW): the parameter shrinks by `learning_rate · decoupled_weight_decay`.
    pub decoupled_weight_decay: f64,
    /// Number of this update, counted from 1, for the correction of the moments' bias.
    pub step: u64,
    /// Factor on the gradient, as clipping by the global norm gives it; 1 leaves it as it is.
    pub gradient_scale: f64,
}

/// One Adam update; returns the new parameter and the new moments.
///
/// `first` and `second` are the moments, flat, `[number of elements of the parameter]`, zero before the
/// first step. All tensors are without autodiff. Buffers that nothing else holds are updated in place.
///
/// With `g = gradient_scale · gradient + weight_decay · parameter`:
/// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
/// `θ ← (1 − lr · decoupled) θ − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)`.
///
/// Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
///
/// # Panics
///
/// When the shapes do not fit one another, or `step.step` is 0.
pub fn adam<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first: Tensor<1>,
    second: Tensor<1>,
    step: &AdamStep,
) -> (Tensor<D>, Tensor<1>, Tensor<1>) {
    let count = parameter.dims().iter().product::<usize>();
    assert!(
        parameter.dims() == gradient.dims(),
        "adam: parameter {:?} does not fit gradient {:?}",
        parameter.dims(),
        gradient.dims(),
    );
    assert!(
        first.dims() == [count] && second.dims() == [count],
        "adam: parameter {:?} does not fit moments {:?} and {:?}: each must be [{count}]",
        parameter.dims(),
        first.dims(),
        second.dims(),
    );
    assert!(step.step > 0, "adam: steps are counted from 1");
    let on_flex = optimizer::fits(&parameter)
        && optimizer::fits(&gradient)
        && optimizer::fits(&first)
        && optimizer::fits(&second);
    if on_flex {
        optimizer::adam(parameter, gradient, first, second, step)
    } else {
        default(parameter, gradient, first, second, step)
    }
}

pub(crate) fn default<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first: Tensor<1>,
    second: Tensor<1>,
    step: &AdamStep,
) -> (Tensor<D>, Tensor<1>, Tensor<1>) {
    let shape = parameter.dims();
    let count = shape.iter().product::<usize>();
    if count == 0 {
        return (parameter, first, second);
    }
    let parameter = parameter.reshape([count]);
    let mut gradient = gradient.reshape([count]) * step.gradient_scale;
    if step.weight_decay != 0.0 {
        gradient = gradient + parameter.clone() * step.weight_decay;
    }
    let first = first * step.beta1 + gradient.clone() * (1.0 - step.beta1);
    let second = second * step.beta2 + gradient.clone() * gradient * (1.0 - step.beta2);
    let steps = step.step as f64;
    let size = step.learning_rate / (1.0 - step.beta1.powf(steps));
    let correction = 1.0 / (1.0 - step.beta2.powf(steps)).sqrt();
    let denominator = second.clone().sqrt() * correction + step.epsilon;
    let kept = 1.0 - step.learning_rate * step.decoupled_weight_decay;
    let parameter = parameter * kept - first.clone() * size / denominator;
    (parameter.reshape(shape), first, second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_same_for_any_threads, numbers, tensor, values};
    use burn::tensor::Device;

    type Adam =
        fn(Tensor<2>, Tensor<2>, Tensor<1>, Tensor<1>, &AdamStep) -> (Tensor<2>, Tensor<1>, Tensor<1>);

    /// Three steps from the same start.
    fn steps(adam: Adam) -> Vec<Vec<f32>> {
        let device = Device::flex();
        let count = 50 * 1501;
        let mut parameter = tensor(&numbers(count, 1), [50, 1501], &device);
        let (mut first, mut second) = (Tensor::zeros([count], &device), Tensor::zeros([count], &device));
        for step in 1..4 {
            let settings = AdamStep {
                learning_rate: 0.01,
                beta1: 0.5,
                beta2: 0.99,
                epsilon: 1e-8,
                weight_decay: 0.1,
                decoupled_weight_decay: 0.2,
                step,
                gradient_scale: 0.7,
            };
            let gradient = tensor(&numbers(count, step + 1), [50, 1501], &device);
            (parameter, first, second) = adam(parameter, gradient, first, second, &settings);
        }
        vec![values(parameter), values(first), values(second)]
    }

    #[test]
    fn equals_the_default_body() {
        for (got, expected) in steps(adam).iter().zip(&steps(default)) {
            let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
            assert_close(got, &expected, 1e-6, "adam");
        }
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        assert_same_for_any_threads(|| steps(adam));
    }

    #[test]
    fn leaves_tensors_that_others_hold() {
        let device = Device::flex();
        let average = tensor(&[1.0, 2.0], [2], &device);
        let other = average.clone();
        crate::ema(average, Tensor::zeros([2], &device), 0.5);
        assert_eq!(values(other), [1.0, 2.0]);
    }

    #[test]
    fn first_step_moves_by_the_learning_rate() {
        let device = Device::flex();
        let step = AdamStep {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: 0.0,
            step: 1,
            gradient_scale: 1.0,
        };
        let (parameter, first, second) = adam(
            Tensor::<2>::ones([2, 3], &device),
            Tensor::ones([2, 3], &device) * 7.0,
            Tensor::zeros([6], &device),
            Tensor::zeros([6], &device),
            &step,
        );
        assert_eq!((parameter.dims(), first.dims(), second.dims()), ([2, 3], [6], [6]));
        assert!((parameter.max().into_scalar::<f32>() - 0.9).abs() < 1e-6);
    }
}
