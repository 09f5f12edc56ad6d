//! A decoder that is a known linear map, to see what is found in its latents.

use burn::tensor::{Device, Tensor, TensorData};

use crate::abilities::{LatentPart, Latents, Prior};
use crate::rng;

/// Decodes latents by a matrix of random weights, `[latent_dim, values]`.
pub(crate) struct LinearLatents {
    parts: Vec<LatentPart>,
    pub(crate) weights: Vec<f32>,
    values: usize,
}

impl LinearLatents {
    /// `dims` normal values; `values` in an example.
    pub(crate) fn normal(dims: usize, values: usize) -> LinearLatents {
        LinearLatents::new(&[("z", dims, Prior::Normal)], values)
    }

    /// A normal value, two uniform ones and three categories.
    pub(crate) fn mixed(values: usize) -> LinearLatents {
        let parts = [("z", 1, Prior::Normal), ("u", 2, Prior::Uniform), ("c", 3, Prior::Categorical)];
        LinearLatents::new(&parts, values)
    }

    fn new(parts: &[(&str, usize, Prior)], values: usize) -> LinearLatents {
        let part =
            |&(name, size, prior): &(&str, usize, Prior)| LatentPart { name: name.into(), size, prior };
        let parts: Vec<LatentPart> = parts.iter().map(part).collect();
        let dims: usize = parts.iter().map(|part| part.size).sum();
        let weights = rng::normal(&mut rng::generator(11, "linear", 0), dims * values);
        LinearLatents { parts, weights: weights.iter().map(|weight| 0.3 * weight).collect(), values }
    }

    fn matrix(&self, device: &Device) -> Tensor<2> {
        let dims = self.weights.len() / self.values;
        Tensor::from_data(TensorData::new(self.weights.clone(), [dims, self.values]), device)
    }
}

impl Latents for LinearLatents {
    fn parts(&self) -> Vec<LatentPart> {
        self.parts.clone()
    }

    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        let matrix = self.matrix(&latents.device());
        latents.matmul(matrix)
    }
}
