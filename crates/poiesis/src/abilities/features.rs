//! Features of images.

use burn::tensor::Tensor;

/// Describes images by features that it has learned.
pub trait Features: Sync {
    /// The features of each image, `[batch, features]`; those of an image do not depend on the others.
    ///
    /// `images` is `[batch, height, width, channels]` in [-1, 1].
    fn features(&self, images: Tensor<4>) -> Tensor<2>;
}
