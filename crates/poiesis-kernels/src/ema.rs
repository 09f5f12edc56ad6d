//! Exponential moving average of a flat array.

use burn::tensor::Tensor;

use crate::flex::optimizer;

/// `decay · average + (1 − decay) · value` of two flat tensors without autodiff; `average` is updated in
/// place if it is not shared.
///
/// # Panics
///
/// When the shapes differ.
pub fn ema(average: Tensor<1>, value: Tensor<1>, decay: f64) -> Tensor<1> {
    assert!(
        average.dims() == value.dims(),
        "ema: average {:?} does not fit value {:?}",
        average.dims(),
        value.dims(),
    );
    if optimizer::fits(&average) && optimizer::fits(&value) {
        optimizer::ema(average, value, decay)
    } else {
        default(average, value, decay)
    }
}

pub(crate) fn default(average: Tensor<1>, value: Tensor<1>, decay: f64) -> Tensor<1> {
    average * decay + value * (1.0 - decay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn moves_by_one_minus_decay() {
        let device = Device::flex();
        let average = ema(Tensor::zeros([3], &device), Tensor::ones([3], &device), 0.9);
        assert!((average.max().into_scalar::<f32>() - 0.1).abs() < 1e-6);
    }

    #[test]
    fn leaves_shared_tensors_unchanged() {
        let device = Device::flex();
        let average = Tensor::<1>::from_data([1.0, 2.0], &device);
        let other = average.clone();
        ema(average, Tensor::zeros([2], &device), 0.5);
        assert_eq!(crate::testing::values(other), [1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "[3] does not fit value [4]")]
    fn wrong_shapes_panic_with_both() {
        let device = Device::flex();
        ema(Tensor::zeros([3], &device), Tensor::ones([4], &device), 0.9);
    }
}
