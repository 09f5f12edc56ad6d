//! Classes as the input of a network that is conditioned on them.

use burn::tensor::{Device, Tensor, TensorData};

/// A row for each class: 1 at its number, 0 elsewhere; all 0 for an example without a class. `[batch, count]`.
///
/// # Panics
///
/// When a class is not below `count`.
pub fn one_hot(classes: &[Option<u32>], count: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![0.0_f32; classes.len() * count];
    for (row, class) in classes.iter().enumerate() {
        if let Some(class) = *class {
            assert!((class as usize) < count, "class {class} of {count}");
            values[row * count + class as usize] = 1.0;
        }
    }
    Tensor::from_data(TensorData::new(values, [classes.len(), count]), device)
}

/// `x` with the [`one_hot`] classes behind its values, `[batch, values]` to `[batch, values + count]`; `x` itself where `count` is 0.
///
/// # Panics
///
/// When there is not one class for each row and `count` is not 0, or a class is not below `count`.
pub fn with_classes(x: Tensor<2>, classes: &[Option<u32>], count: usize) -> Tensor<2> {
    if count == 0 {
        return x;
    }
    let batch = x.dims()[0];
    assert_eq!(classes.len(), batch, "{} classes for a batch of {batch}", classes.len());
    let device = x.device();
    Tensor::cat(vec![x, one_hot(classes, count, &device)], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_stand_behind_the_values_and_no_class_is_zero() {
        let device = Device::flex();
        let x = Tensor::<2>::from_data([[5.0, 6.0], [7.0, 8.0]], &device);
        let values = |x: Tensor<2>| x.into_data().iter::<f32>().collect::<Vec<_>>();
        let both = with_classes(x.clone(), &[Some(2), None], 3);
        assert_eq!(values(both), [5.0, 6.0, 0.0, 0.0, 1.0, 7.0, 8.0, 0.0, 0.0, 0.0]);
        assert_eq!(values(with_classes(x, &[], 0)), [5.0, 6.0, 7.0, 8.0]);
    }

    #[test]
    #[should_panic(expected = "class 3 of 3")]
    fn a_class_that_is_not_there_is_a_bug() {
        let _ = one_hot(&[Some(3)], 3, &Device::flex());
    }
}
