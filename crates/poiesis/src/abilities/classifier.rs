//! Classifying images.

use burn::tensor::Tensor;

/// Gives the classes of images.
pub trait Classifier: Sync {
    /// log p(class|x) of each image in nats, `[batch, classes]`.
    ///
    /// `images` is `[batch, height, width, channels]` in [-1, 1]; the classes are those of the training data, in their order.
    fn class_log_probs(&self, images: Tensor<4>) -> Tensor<2>;
}
