//! Convolution and transposed convolution as differentiable operations.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::{Geometry, dgrad, fprop, wgrad};
use crate::flex::autodiff::{BackwardPass, Inputs};
use crate::flex::operand::{self, Operand, values};
use crate::flex::pool::Buffer;
use crate::flex::sums;

/// The convolution or transposed convolution of tensors on Flex; `None` for others.
pub(crate) fn convolve(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    geometry: Geometry,
) -> Option<Tensor<4>> {
    let has_bias = bias.is_some();
    let inputs = Inputs::new([Operand::new(x)?, Operand::new(weight)?, Operand::optional(bias)?]);
    let [x, weight, bias] = inputs.values();
    let y = forward(&geometry, x, weight, has_bias.then_some(bias));
    let [x_tracked, weight_tracked, _] = inputs.tracked();
    Some(inputs.finish(y, |[x, weight, _], _| Convolution {
        geometry,
        // Each gradient needs the other argument.
        x: weight_tracked.then_some(x),
        weight: x_tracked.then_some(weight),
    }))
}

fn forward(g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> FlexTensor {
    if g.transposed {
        large_tensor(g, dgrad(g, x, weight, bias))
    } else {
        small_tensor(g, fprop(g, x, weight, bias))
    }
}

#[derive(Clone, Debug)]
struct Convolution {
    geometry: Geometry,
    x: Option<FlexTensor>,
    weight: Option<FlexTensor>,
}

impl BackwardPass<3> for Convolution {
    fn gradients(self, dy: FlexTensor, [_, _, bias_needed]: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let Self { geometry: g, x, weight } = self;
        let dy = values(&dy);
        let dweight = x.map(|x| {
            let (large, small) = if g.transposed { (dy, values(&x)) } else { (values(&x), dy) };
            let shape = if g.transposed {
                [g.kernel[0], g.kernel[1], g.out, g.channels / g.groups]
            } else {
                [g.kernel[0], g.kernel[1], g.channels / g.groups, g.out]
            };
            operand::tensor(wgrad(&g, large, small), &shape)
        });
        let dbias = bias_needed.then(|| {
            let channels = if g.transposed { g.channels } else { g.out };
            operand::tensor(sums::columns(dy, channels), &[channels])
        });
        let dx = weight.map(|weight| {
            if g.transposed {
                small_tensor(&g, fprop(&g, dy, values(&weight), None))
            } else {
                large_tensor(&g, dgrad(&g, dy, values(&weight), None))
            }
        });
        [dx, dweight, dbias]
    }
}

fn large_tensor(g: &Geometry, values: Buffer) -> FlexTensor {
    operand::tensor(values, &[g.batch, g.large[0], g.large[1], g.channels])
}

fn small_tensor(g: &Geometry, values: Buffer) -> FlexTensor {
    operand::tensor(values, &[g.batch, g.small[0], g.small[1], g.out])
}
