//! A fully connected layer with its bias and activation.

use burn::tensor::Tensor;

use crate::activation::{self, Activation};

/// `activation(x · weight + bias)` over the last axis of `x [..., in]`, with `weight [in, out]` and
/// `bias [out]`; the result is `[..., out]`.
///
/// # Panics
///
/// When the shapes do not fit one another.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<D> {
    check(&x.dims(), weight.dims(), bias.as_ref().map(Tensor::dims));
    default(x, weight, bias, activation)
}

fn check(x: &[usize], weight: [usize; 2], bias: Option<[usize; 1]>) {
    let [inputs, out] = weight;
    assert!(
        x.last() == Some(&inputs),
        "linear: input {x:?} does not fit weight {weight:?}: the weight is [in, out]",
    );
    assert!(
        bias.is_none_or(|bias| bias == [out]),
        "linear: bias {bias:?} does not fit weight {weight:?}: it must be [{out}]",
    );
}

pub(crate) fn default<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<D> {
    let [inputs, out] = weight.dims();
    let mut shape = x.dims();
    let rows = shape[..D - 1].iter().product::<usize>();
    shape[D - 1] = out;
    if rows == 0 || out == 0 {
        return Tensor::zeros(shape, &x.device());
    }
    let mut y = x.reshape([rows, inputs]).matmul(weight);
    if let Some(bias) = bias {
        y = y + bias.unsqueeze::<2>();
    }
    activation::default(y.reshape(shape), activation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn keeps_leading_axes() {
        let device = Device::flex();
        let x = Tensor::<3>::ones([2, 3, 4], &device);
        let bias = Some(Tensor::ones([5], &device));
        let y = linear(x, Tensor::ones([4, 5], &device), bias, Activation::Relu);
        assert_eq!(y.dims(), [2, 3, 5]);
        assert_eq!(y.max().into_scalar::<f32>(), 5.0);
    }

    #[test]
    #[should_panic(expected = "[2, 3] does not fit weight [4, 5]")]
    fn wrong_inputs_panic_with_both_shapes() {
        let device = Device::flex();
        let x = Tensor::<2>::ones([2, 3], &device);
        linear(x, Tensor::ones([4, 5], &device), None, Activation::Identity);
    }
}
