//! What a trained model can do: latents, encoding, features and the bound.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use super::prior::log_prior;
use super::{Decoder, Flow, LatentPrior, Vae};
use crate::abilities::{
    BitsBack, Bound, Encoder as Encodes, Features, LatentPart, Latents, LogWeights, Prior, Refusal,
};
use crate::data::{ImageShape, PixelEncoding};
use crate::dist::{DiagonalNormal, Pixels};
use crate::nn::flatten;
use crate::rng;

impl Latents for Vae {
    fn parts(&self) -> Vec<LatentPart> {
        let prior = match self.config.prior {
            LatentPrior::Normal => Prior::Normal,
            LatentPrior::Vamp => Prior::Learned,
        };
        vec![LatentPart { name: "z".into(), size: self.config.latent_dim, prior }]
    }

    fn draw_learned(&self, seed: u64, indices: Range<u64>, device: &Device) -> Option<Tensor<2>> {
        Some(self.mixture()?.draw(seed, indices, device))
    }

    fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// The expected images of latents.
    fn decode(&self, latents: Tensor<2>, classes: &[Option<u32>]) -> Tensor<2> {
        self.pixels(latents, classes).mean()
    }

    fn first_weights(&self) -> Option<Tensor<2>> {
        let first = match &self.decoder {
            Decoder::Mlp(mlp) => mlp.first(),
            Decoder::Conv(conv) => conv.first(),
        };
        // Those of the classes stand behind.
        Some(first.weight().transpose().narrow(1, 0, self.config.latent_dim))
    }
}

impl Features for Vae {
    /// The latents of images whose classes are not known, as [`Encodes::encode`] gives them.
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let classes = vec![None; images.dims()[0]];
        self.encode(flatten(images), &classes)
    }
}

impl Encodes for Vae {
    /// The posterior's means; with a flow, what its steps make of the means before them.
    fn encode(&self, values: Tensor<2>, classes: &[Option<u32>]) -> Tensor<2> {
        let ImageShape { height, width, channels } = self.shape;
        let batch = values.dims()[0];
        let images = values.reshape([batch, height, width, channels]);
        let posterior = self.posterior(self.config.likelihood.encode(images), classes);
        match self.config.flow {
            Flow::None => posterior.normal.mean,
            Flow::Planar | Flow::Radial => {
                let middle = posterior.normal.mean.zeros_like();
                posterior.draw(middle).z
            }
        }
    }
}

impl Bound for Vae {
    fn encoding(&self) -> PixelEncoding {
        Vae::encoding(self)
    }

    fn log_weights(
        &self,
        images: Tensor<4>,
        classes: &[Option<u32>],
        seed: u64,
        indices: &[u64],
        samples: Range<u64>,
    ) -> LogWeights {
        let [batch, dim] = [images.dims()[0], self.config.latent_dim];
        let (posterior, mixture) = (self.posterior(images.clone(), classes), self.mixture());
        let x = flatten(images);
        let (mut log_w, mut kl) = (vec![Vec::new(); batch], vec![0.0; batch]);
        let (mut reconstruction, count) = (Vec::new(), (samples.end - samples.start) as f64);
        for draw in samples {
            let noise = |&index| rng::normal(&mut rng::generator(seed, "posterior", index << 24 | draw), dim);
            let eps = TensorData::new(indices.iter().flat_map(noise).collect(), [batch, dim]);
            let eps = Tensor::from_data(eps, &x.device());
            let drawn = posterior.draw(eps.clone());
            let log_x = self.pixels(drawn.z.clone(), classes).log_prob(x.clone());
            let log_p = log_prior(mixture.as_ref(), drawn.z.clone());
            let log_q = posterior.log_prob(&drawn, eps.clone());
            let weights = to_f64(log_x.clone() + log_p.clone() - log_q.clone());
            log_w.iter_mut().zip(weights).for_each(|(all, w)| all.push(w));
            let of_draw = to_f64(match mixture {
                None => posterior.kl(&drawn, eps).sum_dim(1).reshape([batch]),
                Some(_) => log_q - log_p,
            });
            kl.iter_mut().zip(of_draw).for_each(|(mean, of_draw)| *mean += of_draw / count);
            if reconstruction.is_empty() {
                reconstruction = to_f64(log_x);
            }
        }
        LogWeights { log_w, reconstruction, kl }
    }
}

impl BitsBack for Vae {
    fn encoding(&self) -> PixelEncoding {
        Vae::encoding(self)
    }

    fn num_classes(&self) -> usize {
        self.num_classes
    }

    fn refusal(&self) -> Option<Refusal> {
        let refusal =
            |reason: &str, remedy: &str| Some(Refusal { reason: reason.into(), remedy: remedy.into() });
        if self.config.flow != Flow::None {
            let reason =
                "its posterior is a flow, and only latents that are independent given the image can be coded";
            return refusal(reason, "train a model with vae.flow=none");
        }
        if self.config.prior == LatentPrior::Vamp {
            let reason = "its prior is a mixture, and only latents whose values are independent can be coded";
            return refusal(reason, "train a model with vae.prior=normal");
        }
        None
    }

    fn latent_dim(&self) -> usize {
        self.config.latent_dim
    }

    fn infer(
        &self,
        images: Tensor<4>,
        classes: &[Option<u32>],
        draw: &mut dyn FnMut(DiagonalNormal) -> Tensor<2>,
    ) {
        draw(self.posterior(images, classes).normal);
    }

    fn pixels(&self, latents: Tensor<2>, classes: &[Option<u32>]) -> Pixels {
        Vae::pixels(self, latents, classes)
    }
}

fn to_f64(values: Tensor<1>) -> Vec<f64> {
    values.into_data().iter::<f64>().collect()
}
