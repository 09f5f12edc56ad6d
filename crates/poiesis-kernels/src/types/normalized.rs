//! The result of batch normalisation.

use burn::tensor::Tensor;

/// The result of [`batch_norm`](crate::batch_norm()), with the statistics that it used.
#[derive(Clone, Debug)]
pub struct Normalized<const D: usize> {
    /// The normalised, scaled, shifted and activated input, of its shape.
    pub y: Tensor<D>,
    /// Mean of each channel over all other axes, `[channels]`, without a gradient.
    pub mean: Tensor<1>,
    /// Biased variance (divided by `count`) of each channel, `[channels]`, without a gradient.
    /// The running statistics of PyTorch use `var · count / (count − 1)`.
    pub var: Tensor<1>,
    /// Number of values of each channel.
    pub count: usize,
}
