//! What a model with latents must give, so that images can be coded with it.

use burn::tensor::Tensor;

use crate::data::PixelEncoding;
use crate::dist::{DiagonalNormal, Pixels};

/// Gives the distributions that bits-back coding needs (Townsend, Bird and Barber 2019, arXiv:1901.04866): the prior of the latents, their
/// posterior given an image, and the distribution of the image given them.
///
/// Latents are N(0, 1) under the prior, each independent of the others; a latent with another normal prior is given in units of it. They
/// come in one or several parts, and the posterior of a part may depend on the parts before it.
///
/// What is computed depends on the arguments alone, to the last bit, for any number of threads.
pub trait BitsBack: Sync {
    /// How it reads pixels.
    fn encoding(&self) -> PixelEncoding;

    /// How many classes it is conditioned on; 0 for none.
    fn num_classes(&self) -> usize {
        0
    }

    /// Why its posterior cannot be coded with the settings it has, and what to do instead; `None` where it can.
    fn refusal(&self) -> Option<Refusal> {
        None
    }

    /// Values in a latent, all parts together.
    fn latent_dim(&self) -> usize;

    /// Infers the latents of images: calls `draw` with the posterior of each part in order, `[batch, values]`, and continues with the latents
    /// that it returns, of the same shape.
    ///
    /// `images` is `[batch, height, width, channels]` in the model's [`PixelEncoding`]; `classes` has one for each, read by a model that is
    /// conditioned on classes.
    fn infer(
        &self,
        images: Tensor<4>,
        classes: &[Option<u32>],
        draw: &mut dyn FnMut(DiagonalNormal) -> Tensor<2>,
    );

    /// p(x|z) of latents, `[batch, latent_dim]`.
    fn pixels(&self, latents: Tensor<2>, classes: &[Option<u32>]) -> Pixels;
}

/// Why something cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: String,
    /// What to do instead.
    pub remedy: String,
}
