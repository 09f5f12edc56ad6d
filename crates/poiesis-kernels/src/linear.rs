//! A fully connected layer with its bias and activation.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::Activation;

/// `activation(x · weight + bias)` over the last axis of `x [..., in]`, with `weight [in, out]` and
/// `bias [out]`; the result is `[..., out]`.
///
/// On Flex: a matrix product by register tiles with fused bias and activation; the weight is packed once per call (a copy of
/// it), or read in place for up to four rows. The result of a row does not depend on the other rows. Kept for the backward pass:
/// input, weight and, with an activation, the result; silu and gelu run as a separate operation, which keeps its argument.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<D> {
    check(&x.dims(), weight.dims(), bias.as_ref().map(Tensor::dims));
    flex::linear::linear(&x, &weight, bias.as_ref(), activation)
        .unwrap_or_else(|| default(x, weight, bias, activation))
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

/// The same in Burn's own operations.
pub fn default<const D: usize>(
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
