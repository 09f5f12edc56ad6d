//! Layers shared by the models, channels last, each a thin shell of parameters over `poiesis_kernels`.
//!
//! A layer is made by `new(.., &mut Init)`, which draws its parameters, and applied by `forward`.

mod conv;
mod init;
mod linear;
mod norm;
mod weights;

pub use conv::{Conv2d, ConvTranspose2d};
pub use init::{Init, Law};
pub use linear::Linear;
pub use norm::{BatchNorm, Mode};
pub use poiesis_kernels::{Activation, activate};
pub use weights::{Weight, Weights, num_parameters, values};
