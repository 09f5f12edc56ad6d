//! Dequantisation: noise that turns values of 256 levels into a density on [0, 1), and the bound on their probability that follows.
//!
//! With v = 256 y the probability of an image is P(x) = ∫ p(x + u) du over u in [0, 1) in each value, so that
//! log P(x) ≥ E_q [log p(x + u) − log q(u|x)]. Uniform noise has log q = 0 (Theis et al. 2015, arXiv:1511.01844, §3.1). Variational
//! noise is made by a flow that sees the image, trained on the same bound (Ho et al. 2019, arXiv:1902.00275, Eq. 12).

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use poiesis_kernels::{Activation, activate, normal, uniform};
use serde::{Deserialize, Serialize};

use super::coupling::{Coupling, Kept};
use super::network::{Network, Residual};
use super::squeeze::{squeeze, unsqueeze};
use super::sum_values;
use crate::abilities::LogWeights;
use crate::dist::standard_normal_log_prob;
use crate::model::Draw;
use crate::nn::{Init, flatten};
use crate::rng;

/// Levels of a value.
const LEVELS: f64 = 256.0;
/// Couplings of the flow that makes variational noise, as in Flow++.
const COUPLINGS: usize = 4;
/// Residual blocks in each of them.
const BLOCKS: usize = 1;

/// The noise that is added to the levels of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dequantization {
    /// Uniform on [0, 1).
    Uniform,
    /// Learned: by a flow that depends on the image.
    Variational,
}

/// Adds noise to the levels of images.
#[derive(Module, Debug)]
pub(super) struct Dequantizer {
    /// The flow of variational noise, over squeezed images; none for uniform noise.
    couplings: Vec<Coupling>,
}

impl Dequantizer {
    /// For images of `channels`; `width` is that of the networks of variational noise.
    pub(super) fn new(kind: Dequantization, channels: usize, width: usize, init: &mut Init) -> Dequantizer {
        let count = if kind == Dequantization::Variational { COUPLINGS } else { 0 };
        let couplings = (0..count).map(|number| {
            let kept = if number.is_multiple_of(2) { Kept::FirstHalf } else { Kept::SecondHalf };
            // The networks see the squeezed image too.
            let residual = |[inputs, moved]: [usize; 2], init: &mut Init| {
                Network::Residual(Residual::new([inputs + 4 * channels, moved], width, BLOCKS, init))
            };
            Coupling::new(kept, 4 * channels, residual, init)
        });
        Dequantizer { couplings: couplings.collect() }
    }

    fn is_uniform(&self) -> bool {
        self.couplings.is_empty()
    }

    /// How its noise is drawn: uniform on [0, 1), or from N(0, 1).
    pub(super) fn draw(&self) -> Draw<4> {
        if self.is_uniform() { uniform } else { normal }
    }

    /// y = (x + u) / 256 in [0, 1], and log q(u|x) in nats, `[batch]`.
    ///
    /// # Shapes
    ///
    /// `images` is `[batch, height, width, channels]` in [-1, 1], and so are `noise`, drawn as [`draw`](Dequantizer::draw) says, and y.
    pub(super) fn forward(&self, images: &Tensor<4>, noise: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        assert_eq!(images.dims(), noise.dims(), "noise for images of another shape");
        let levels = ((images.clone() + 1.0) * 127.5).round();
        let (u, log_q) = match self.is_uniform() {
            true => (noise, Tensor::zeros([images.dims()[0]], &images.device())),
            false => self.variational(images, noise),
        };
        ((levels + u) / LEVELS, log_q)
    }

    /// u = sigmoid(v), where a flow makes v of ε, and log q(u|x) = log N(ε) − log |det ∂u/∂ε|.
    fn variational(&self, images: &Tensor<4>, eps: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        let context = squeeze(images.clone());
        let log_eps = standard_normal_log_prob(flatten(eps.clone()));
        let start = (squeeze(eps), log_eps);
        let (v, log_q) = self.couplings.iter().fold(start, |(v, log_q), coupling| {
            let (v, log_det) = coupling.forward(v, Some(&context));
            (v, log_q - log_det)
        });
        // −log sigmoid′(v) = softplus(v) + softplus(−v).
        let softplus = |v| activate(v, Activation::Softplus);
        let log_q = log_q + sum_values(softplus(v.clone()) + softplus(v.clone().neg()));
        (unsqueeze(activate(v, Activation::Sigmoid)), log_q)
    }

    /// Gives the networks of variational noise their first values.
    pub(super) fn set_first_values(&mut self, images: Tensor<4>, eps: Tensor<4>) {
        let (context, mut v) = (squeeze(images), squeeze(eps));
        for coupling in &mut self.couplings {
            coupling.set_first_values(v.clone(), Some(&context));
            v = coupling.forward(v, Some(&context)).0;
        }
    }

    /// log w = log p(x + u) − log q(u|x) of each image in nats, `[batch]`: the bound on log P(x) with one draw of noise. `log_prob` is
    /// the density of y.
    ///
    /// # Shapes
    ///
    /// As [`forward`](Dequantizer::forward).
    pub(super) fn log_weight(
        &self,
        images: &Tensor<4>,
        noise: Tensor<4>,
        log_prob: impl Fn(Tensor<4>) -> Tensor<1>,
    ) -> Tensor<1> {
        let [_, height, width, channels] = images.dims();
        let (y, log_q) = self.forward(images, noise);
        // Density of v = 256 y.
        let log_p = log_prob(y) - (height * width * channels) as f64 * LEVELS.ln();
        log_p - log_q
    }

    /// The same for many draws, each of which depends on `seed`, the number of the image and its own number alone. With y in the place
    /// of a latent, p(x|y) is 1: the bound has no reconstruction, and all of it is KL(q(y|x) ‖ p(y)), here of the first draw.
    pub(super) fn log_weights(
        &self,
        images: &Tensor<4>,
        seed: u64,
        indices: &[u64],
        samples: Range<u64>,
        log_prob: impl Fn(Tensor<4>) -> Tensor<1>,
    ) -> LogWeights {
        let [batch, height, width, channels] = images.dims();
        let mut log_w = vec![Vec::new(); batch];
        for draw in samples {
            let noise = |&index: &u64| {
                let mut generator = rng::generator(seed, "dequantize", index << 24 | draw);
                let len = height * width * channels;
                if self.is_uniform() {
                    rng::uniform(&mut generator, len)
                } else {
                    rng::normal(&mut generator, len)
                }
            };
            let noise = TensorData::new(indices.iter().flat_map(noise).collect(), images.dims());
            let noise = Tensor::from_data(noise, &images.device());
            let weights = self.log_weight(images, noise, &log_prob);
            log_w.iter_mut().zip(weights.into_data().iter::<f64>()).for_each(|(all, w)| all.push(w));
        }
        let kl = log_w.iter().map(|w| -w.first().copied().unwrap_or_default()).collect();
        LogWeights { log_w, reconstruction: vec![0.0; batch], kl }
    }
}

/// y in the middle of its level, for images in [-1, 1].
pub(super) fn middle(images: Tensor<4>) -> Tensor<4> {
    ((images + 1.0) * 127.5 + 0.5) / LEVELS
}

/// Images in [-1, 1] whose nearest levels are those that y in [0, 1) is in: the inverse of [`middle`], cut to its range.
pub(super) fn to_images(y: Tensor<4>) -> Tensor<4> {
    ((y * LEVELS - 0.5) / 127.5 - 1.0).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::testing::{expect_log_det, floats, noise, shaken};
    use super::*;
    use crate::data::to_bytes;

    /// Images of all 256 levels, `[4, 4, 4, 4]`.
    fn all_levels(device: &Device) -> Tensor<4> {
        let levels = (0..256).map(|level| level as f32 / 127.5 - 1.0).collect::<Vec<f32>>();
        Tensor::from_data(TensorData::new(levels, [4, 4, 4, 4]), device)
    }

    #[test]
    fn every_level_comes_back_whatever_the_noise() {
        let device = Device::flex();
        let dequantizer = Dequantizer::new(Dequantization::Uniform, 4, 2, &mut Init::new(1, &device));
        let x = all_levels(&device);
        let levels: Vec<u8> = (0..=255).collect();
        // Closer to a bound, f32 may round to the next level.
        for u in [0.001, 0.3, 0.999] {
            let (y, log_q) = dequantizer.forward(&x, Tensor::full([4, 4, 4, 4], u, &device));
            assert_eq!(to_bytes(to_images(y)), levels);
            assert_eq!(floats(log_q), [0.0; 4]);
        }
        assert_eq!(to_bytes(to_images(middle(x))), levels);
    }

    #[test]
    fn the_bound_of_a_uniform_density_is_eight_bits_a_value() {
        let device = Device::flex();
        let dequantizer = Dequantizer::new(Dequantization::Uniform, 4, 2, &mut Init::new(1, &device));
        let density = |y: Tensor<4>| Tensor::<1>::zeros([y.dims()[0]], &y.device());
        let weights = dequantizer.log_weights(&all_levels(&device), 1, &[0, 1, 2, 3], 0..3, density);
        let expected = -64.0 * 256f64.ln();
        assert!(weights.log_w.iter().flatten().all(|w| (w - expected).abs() < 1e-3));
        assert_eq!(weights.log_w[0].len(), 3);
    }

    #[test]
    fn variational_noise_has_the_density_that_its_flow_gives_it() {
        let device = Device::flex();
        let made = Dequantizer::new(Dequantization::Variational, 1, 3, &mut Init::new(1, &device));
        let dequantizer = shaken(&made, 0.3, 2);
        let images = noise([1, 2, 4, 1], 3, &device).clamp(-1.0, 1.0);
        let noise_and_log_det = |eps: Tensor<4>| {
            let batch = eps.dims()[0];
            let (u, log_q) = dequantizer.variational(&images.clone().repeat_dim(0, batch), eps.clone());
            (u, standard_normal_log_prob(flatten(eps)) - log_q)
        };
        expect_log_det(noise([1, 2, 4, 1], 4, &device), noise_and_log_det);
    }

    #[test]
    fn variational_noise_stays_in_its_level() {
        let device = Device::flex();
        let made = Dequantizer::new(Dequantization::Variational, 4, 3, &mut Init::new(1, &device));
        let dequantizer = shaken(&made, 0.3, 2);
        let (y, _) = dequantizer.forward(&all_levels(&device), noise([4, 4, 4, 4], 4, &device));
        assert_eq!(to_bytes(to_images(y)), (0..=255).collect::<Vec<u8>>());
    }
}
