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
