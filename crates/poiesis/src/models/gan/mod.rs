//! Generative adversarial networks: a generator that turns noise into images, and a discriminator that is
//! trained to tell them from data and teaches the generator to deceive it (Goodfellow et al. 2014).

pub mod dcgan;
#[expect(clippy::module_inception, reason = "the first GAN is called that")]
pub mod gan;
pub mod improved_gan;
pub mod infogan;
mod minibatch;
pub mod r3gan;

use burn::tensor::Tensor;
use poiesis_kernels::{Activation, activate};

pub use dcgan::{Dcgan, DcganConfig};
pub use gan::{Gan, GanConfig};
pub use improved_gan::{ImprovedGan, ImprovedGanConfig};
pub use infogan::{InfoGan, InfoGanConfig};
pub use r3gan::{R3Gan, R3GanConfig};

/// log(1 + exp x), finite for logits of any size.
fn softplus(x: Tensor<1>) -> Tensor<1> {
    activate(x, Activation::Softplus)
}
