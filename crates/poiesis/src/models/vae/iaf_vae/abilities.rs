//! What a trained model can do: latents, encoding, features and the bound.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};

use super::top_down::Draws;
use super::{IafVae, Posterior};
use crate::abilities::{BitsBack, Bound, Encoder, Features, LatentPart, Latents, LogWeights, Prior, Refusal};
use crate::data::{ImageShape, PixelEncoding};
use crate::dist::{DiagonalNormal, Pixels};
use crate::nn::flatten;
use crate::rng;

impl IafVae {
    /// Values of all stochastic layers.
    fn num_latents(&self) -> usize {
        self.noise_shapes(1).map(|shape| shape.iter().product::<usize>()).sum()
    }

    /// Divides `[batch, latents]` into the stochastic layers, the top first.
    fn layers_of(&self, latents: &Tensor<2>) -> Vec<Tensor<4>> {
        let mut first = 0;
        let next = |shape: [usize; 4]| {
            let size = shape[1] * shape[2] * shape[3];
            first += size;
            latents.clone().narrow(1, first - size, size).reshape(shape)
        };
        self.noise_shapes(latents.dims()[0]).map(next).collect()
    }
}

/// Latents are standardised: each is N(0, 1) under the prior given those of the layers above.
impl Latents for IafVae {
    fn parts(&self) -> Vec<LatentPart> {
        let part = |(layer, [height, width, maps]): (usize, [usize; 3])| LatentPart {
            name: format!("z{}", layer + 1),
            size: height * width * maps,
            prior: Prior::Normal,
        };
        self.config.latent_shapes(self.shape).into_iter().enumerate().map(part).collect()
    }

    /// The expected images of latents.
    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        self.generate(&self.layers_of(&latents)).mean()
    }

    fn first_weights(&self) -> Option<Tensor<2>> {
        let only_a_vector = self.config.maps == 0;
        self.top_down.first().filter(|_| only_a_vector).map(|first| first.weight().transpose())
    }
}

impl Encoder for IafVae {
    /// The latents of the middle of each posterior, ε = 0, standardised.
    fn encode(&self, values: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        let ImageShape { height, width, channels } = self.shape;
        let (batch, device) = (values.dims()[0], values.device());
        let x = self.config.likelihood.encode(values.reshape([batch, height, width, channels]));
        let middle: Vec<Tensor<4>> =
            self.noise_shapes(batch).map(|shape| Tensor::zeros(shape, &device)).collect();
        let mut found = None;
        let mut draws = Draws::new(&middle, Some(self.bottom_up.forward(x, &mut None)), &mut found);
        self.top_down.forward(&mut draws);
        Tensor::cat(draws.drawn.into_iter().map(|layer| flatten(layer.standardized)).collect(), 1)
    }
}

impl Features for IafVae {
    /// The latents of images, as [`Encoder::encode`] gives them.
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.encode(flatten(images), &[])
    }
}

impl Bound for IafVae {
    fn encoding(&self) -> PixelEncoding {
        self.config.likelihood.encoding()
    }

    /// The bottom-up pass is the same for all draws.
    fn log_weights(
        &self,
        images: Tensor<4>,
        _classes: &[Option<u32>],
        seed: u64,
        indices: &[u64],
        samples: Range<u64>,
    ) -> LogWeights {
        let (batch, size) = (images.dims()[0], self.num_latents());
        let evidence = self.bottom_up.forward(images.clone(), &mut None);
        let x = flatten(images);
        let (mut log_w, mut kl) = (vec![Vec::new(); batch], vec![0.0; batch]);
        let (mut reconstruction, count) = (Vec::new(), (samples.end - samples.start) as f64);
        for draw in samples {
            let row = |&index| rng::normal(&mut rng::generator(seed, "posterior", index << 24 | draw), size);
            let noise = TensorData::new(indices.iter().flat_map(row).collect(), [batch, size]);
            let noise = self.layers_of(&Tensor::from_data(noise, &x.device()));
            let mut found = None;
            let mut draws = Draws::new(&noise, Some(evidence.clone()), &mut found);
            let log_x = to_f64(self.top_down.forward(&mut draws).log_prob(x.clone()));
            let of_layers =
                draws.drawn.into_iter().map(|layer| flatten(layer.kl).sum_dim(1).reshape([batch]));
            let of_draw = to_f64(of_layers.reduce(|a, b| a + b).expect("there are latents"));
            for image in 0..batch {
                log_w[image].push(log_x[image] - of_draw[image]);
                kl[image] += of_draw[image] / count;
            }
            if reconstruction.is_empty() {
                reconstruction = log_x;
            }
        }
        LogWeights { log_w, reconstruction, kl }
    }
}

/// The parts are the stochastic layers, standardised as in [`Latents`]. So is the posterior of a layer, given those above it.
impl BitsBack for IafVae {
    fn encoding(&self) -> PixelEncoding {
        self.config.likelihood.encoding()
    }

    fn refusal(&self) -> Option<Refusal> {
        (self.config.posterior != Posterior::Diagonal).then(|| Refusal {
            reason: "its posterior is a flow, and only latents that are independent given the image and the layers above can be coded"
                .into(),
            remedy: "train a model with iaf-vae.posterior=diagonal".into(),
        })
    }

    fn latent_dim(&self) -> usize {
        self.num_latents()
    }

    fn infer(
        &self,
        images: Tensor<4>,
        _classes: &[Option<u32>],
        draw: &mut dyn FnMut(DiagonalNormal) -> Tensor<2>,
    ) {
        let (batch, mut found) = (images.dims()[0], None);
        let evidence = self.bottom_up.forward(images, &mut None);
        self.top_down.forward(&mut Draws::given(batch, evidence, draw, &mut found));
    }

    fn pixels(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Pixels {
        self.generate(&self.layers_of(&latents))
    }
}

fn to_f64(values: Tensor<1>) -> Vec<f64> {
    values.into_data().iter::<f64>().collect()
}
