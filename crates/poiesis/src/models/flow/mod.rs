//! Flows: invertible networks between examples and normally distributed latents. The density of an example follows from that of its
//! latents by the change of variables, log p(x) = log N(f(x)) + log |det ∂f/∂x|, and is trained as it is.

mod actnorm;
mod coupling;
mod dequantize;
pub mod glow;
mod network;
pub mod realnvp;
mod squeeze;

use burn::module::Param;
use burn::tensor::Tensor;

pub use dequantize::Dequantization;
pub use glow::{Glow, GlowConfig};
pub use realnvp::{RealNvp, RealNvpConfig};

use crate::abilities::{LatentPart, Prior};

/// Where a layer takes a batch, `[batch, height, width, channels]`, and the log-determinant of its Jacobian in nats: `[batch]`, or `[1]`
/// where it is the same for all examples. Points are images of one pixel.
type Mapped = (Tensor<4>, Tensor<1>);

/// The sum of the values of each example, `[batch, ..]` to `[batch]`.
fn sum_values(values: Tensor<4>) -> Tensor<1> {
    let [batch, height, width, channels] = values.dims();
    values.reshape([batch, height * width * channels]).sum_dim(1).reshape([batch])
}

/// Latents as the parts that are left one after another, of these heights, widths and channels.
fn in_parts(z: Tensor<2>, shapes: &[[usize; 3]]) -> Vec<Tensor<4>> {
    let batch = z.dims()[0];
    let sizes = shapes.iter().map(|shape| shape.iter().product()).collect();
    let parts = z.split_with_sizes(sizes, 1).into_iter().zip(shapes);
    parts.map(|(part, &[height, width, channels])| part.reshape([batch, height, width, channels])).collect()
}

/// The same as parts with names: `z1`, `z2` and so on, each from N(0, 1).
fn named_parts(shapes: &[[usize; 3]]) -> Vec<LatentPart> {
    let part = |(number, shape): (usize, &[usize; 3])| LatentPart {
        name: format!("z{}", number + 1),
        size: shape.iter().product(),
        prior: Prior::Normal,
    };
    shapes.iter().enumerate().map(part).collect()
}

/// Gives a parameter other values, of the same shape.
fn set_values<const D: usize>(parameter: &mut Param<Tensor<D>>, values: Tensor<D>) {
    assert_eq!(values.dims(), parameter.dims(), "values of another shape than their parameter");
    *parameter = parameter.clone().map(|old| {
        let values = if values.is_autodiff() { values.inner() } else { values };
        if old.is_autodiff() { values.autodiff().set_require_grad(old.is_require_grad()) } else { values }
    });
}

#[cfg(test)]
mod testing;
