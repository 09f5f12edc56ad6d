//! p(z): N(0, 1), or the VampPrior, a mixture of the posteriors of learned pseudo-inputs (Tomczak and Welling, "VAE with a VampPrior", 2017,
//! arXiv:1705.07120, Eq. 9).

use std::f64::consts::TAU;
use std::ops::Range;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::data::{ImageBatches, ImageShape, PixelEncoding};
use crate::dist::{DiagonalNormal, standard_normal_log_prob};
use crate::nn::Init;
use crate::rng;

/// Standard deviation of the noise by which the first pseudo-inputs differ from training images.
const FIRST_DEVIATION: f64 = 0.01;
/// Contrast of the first pseudo-inputs: no value begins where the clamp has no gradient.
const FIRST_CONTRAST: f64 = 0.9;

/// Distribution of the latents, as a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LatentPrior {
    /// N(0, 1).
    Normal,
    /// The VampPrior.
    Vamp,
}

/// log p(z), `[batch, dims]` to `[batch]`, in nats: by a learned mixture, or by N(0, 1) without one.
pub(super) fn log_prior(mixture: Option<&NormalMixture>, z: Tensor<2>) -> Tensor<1> {
    match mixture {
        None => standard_normal_log_prob(z),
        Some(mixture) => mixture.log_prob(z),
    }
}

/// A mixture of normal distributions with independent dimensions and equal weights.
#[derive(Clone, Debug)]
pub struct NormalMixture {
    /// The components, `[components, dims]`.
    pub components: DiagonalNormal,
}

impl NormalMixture {
    /// log density of each row, `[batch, dims]` to `[batch]`, in nats.
    pub fn log_prob(&self, z: Tensor<2>) -> Tensor<1> {
        let DiagonalNormal { mean, log_var } = self.components.clone();
        let [batch, dims] = z.dims();
        // Squares around the middle of all components lose fewer digits; the densities are the same.
        let middle = mean.clone().detach().mean_dim(0);
        let (z, mean) = (z - middle.clone(), mean - middle);
        // (z − μ)² / σ² written out, so that no tensor has batch × components × dims values.
        let precision = log_var.clone().neg().exp();
        let cross = z.clone().matmul((mean.clone() * precision.clone()).transpose());
        let of_component = (mean.square() * precision.clone() + log_var).sum_dim(1).transpose();
        let squares = z.square().matmul(precision.transpose()) - cross * 2.0 + of_component;
        let log_probs = squares * -0.5 - 0.5 * dims as f64 * TAU.ln();
        super::log_mean_exp(log_probs.transpose()).reshape([batch])
    }

    /// Draws rows by their numbers, `[indices, dims]`: first the component, then from it. Row *i* depends on `(seed, i)` alone.
    pub fn draw(&self, seed: u64, indices: Range<u64>, device: &Device) -> Tensor<2> {
        let [components, dims] = self.components.mean.dims();
        let values = |tensor: &Tensor<2>| tensor.clone().into_data().iter::<f32>().collect::<Vec<_>>();
        let (mean, log_var) = (values(&self.components.mean), values(&self.components.log_var));
        let row = |index| {
            let mut generator = rng::generator(seed, "latent", index);
            let first = rng::below(&mut generator, components as u64) as usize * dims;
            let eps = rng::normal(&mut generator, dims);
            let value =
                |(dim, eps): (usize, f32)| mean[first + dim] + (0.5 * log_var[first + dim]).exp() * eps;
            eps.into_iter().enumerate().map(value).collect::<Vec<f32>>()
        };
        let count = (indices.end - indices.start) as usize;
        Tensor::from_data(TensorData::new(indices.flat_map(row).collect(), [count, dims]), device)
    }
}

/// Parameters of pseudo-inputs, `[count, height, width, channels]`, around the middle of the range.
pub(super) fn new_pseudo_inputs(count: usize, shape: ImageShape, init: &mut Init) -> Param<Tensor<4>> {
    init.normal([count, shape.height, shape.width, shape.channels], 0.5, FIRST_DEVIATION)
}

/// Images from their parameters: a hard tanh keeps the values in [0, 1], and they are encoded as training images are.
pub(super) fn pseudo_images(parameters: Tensor<4>, encoding: PixelEncoding) -> Tensor<4> {
    let images = parameters.clamp(0.0, 1.0);
    match encoding {
        PixelEncoding::Binary => images,
        PixelEncoding::EightBit => images * 2.0 - 1.0,
    }
}

/// The first pseudo-inputs: training images of less contrast, with the noise that `parameters` have around the middle.
pub(super) fn first_pseudo_inputs(
    parameters: Param<Tensor<4>>,
    data: &ImageBatches,
    encoding: PixelEncoding,
) -> Param<Tensor<4>> {
    let shape = parameters.dims();
    let batches = shape[0].div_ceil(data.batch_size()) as u64;
    let images = Tensor::cat((0..batches).map(|batch| data.images(batch)).collect(), 0);
    let images = without_autodiff(images).narrow(0, 0, shape[0]);
    let from_middle = match encoding {
        PixelEncoding::Binary => images - 0.5,
        PixelEncoding::EightBit => images * 0.5,
    };
    parameters.map(|old| {
        let first = without_autodiff(old.clone()) + from_middle * FIRST_CONTRAST;
        if old.is_autodiff() { first.autodiff().set_require_grad(old.is_require_grad()) } else { first }
    })
}

fn without_autodiff(x: Tensor<4>) -> Tensor<4> {
    if x.is_autodiff() { x.inner() } else { x }
}
