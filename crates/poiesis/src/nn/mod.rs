//! Layers shared by the models, channels last: parameters, with the operations of `poiesis_kernels`.
//!
//! A layer is made by `new(.., &mut Init)`, which initialises its parameters, and applied by `forward`.

mod array;
mod classes;
mod conv;
mod init;
mod linear;
mod lstm;
mod made;
mod masks;
mod named;
mod norm;
mod normed;
mod standardize;
mod state_dict;
mod weight_norm;

pub use array::{Array, Arrays};
use burn::tensor::Tensor;
pub use classes::{one_hot, with_classes};
pub use conv::{Conv2d, ConvTranspose2d, SquareKernel};
pub use init::{Init, Initializer};
pub use linear::Linear;
pub use lstm::{Lstm, LstmState};
pub use made::{Made, MadeSizes};
pub use masks::{GroupMask, group};
pub use named::{NamedMapper, NamedVisitor, map_named, visit_named};
pub use norm::{BatchNorm, Mode};
pub use normed::{NormedConv2d, NormedConvTranspose2d, NormedLinear, NormedWeight};
pub use poiesis_kernels::{Activation, activate};
pub use standardize::Standardize;
pub use state_dict::{StateDict, StateTensor, is_fixed, num_parameters, parameters_by_part, values};
pub use weight_norm::{FirstValues, weight_norm};

/// Sets the values of `x` to zero where `noise`, uniform on [0, 1), is below `part`, and scales up the others (Srivastava et al. 2014).
pub fn dropout<const D: usize>(x: Tensor<D>, noise: Tensor<D>, part: f64) -> Tensor<D> {
    x * (noise.greater_equal_elem(part).float() / (1.0 - part))
}

/// Flattens images, `[batch, height, width, channels]` to `[batch, height · width · channels]`.
pub fn flatten(images: Tensor<4>) -> Tensor<2> {
    let [batch, height, width, channels] = images.dims();
    images.reshape([batch, height * width * channels])
}
