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

use crate::model::WarningRule;

pub use dcgan::{Dcgan, DcganConfig};
pub use gan::{Gan, GanConfig};
pub use improved_gan::{ImprovedGan, ImprovedGanConfig};
pub use infogan::{InfoGan, InfoGanConfig};
pub use r3gan::{R3Gan, R3GanConfig};

/// log(1 + exp x), finite for logits of any size.
fn softplus(x: Tensor<1>) -> Tensor<1> {
    activate(x, Activation::Softplus)
}

/// Warns of a discriminator that is certain of real and of generated images, by the mean probabilities `d_real` and `d_fake`.
fn discriminator_saturated() -> WarningRule {
    let what = "the discriminator has told real from generated images with certainty for 20 reports: the generator learns \
                little from it";
    let remedy = "lower optimizer.learning_rate, or give more data";
    WarningRule::new("discriminator-saturated", what, remedy, |values| {
        let at = |name| values.get(name).copied().unwrap_or(0.5);
        at("d_real") > 0.995 && at("d_fake") < 0.005
    })
}
