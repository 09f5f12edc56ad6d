//! The total correlation of the latents, KL(q(z) ‖ ∏ q(z_j)), by a discriminator (Kim and Mnih, "Disentangling by factorising", 2018,
//! arXiv:1802.05983).

use burn::module::Module;
use burn::tensor::activation::softplus;
use burn::tensor::{Int, Tensor, TensorData};

use crate::model::Step;
use crate::nn::{Activation, Init, Initializer, Linear};
use crate::rng;

/// The slope of the leaky ReLU below zero.
const LEAK: f32 = 0.2;

/// D(z): the probability that latents are of q(z), and not of the product of the distributions of their dimensions.
#[derive(Module, Debug)]
pub struct Discriminator {
    hidden: Vec<Linear>,
    output: Linear,
}

impl Discriminator {
    pub(super) fn new(latent_dim: usize, hidden_dims: &[usize], init: &mut Init) -> Discriminator {
        let mut inputs = latent_dim;
        let mut layer = |outputs| {
            let layer = Linear::with_bias(inputs, outputs, Initializer::FanIn, init);
            inputs = outputs;
            layer
        };
        let hidden = hidden_dims.iter().map(|&outputs| layer(outputs)).collect();
        Discriminator { hidden, output: layer(1) }
    }

    /// log D(z) − log(1 − D(z)), `[batch, latent_dim]` to `[batch]`. Its mean over q(z) estimates the total correlation in nats (Eq. 3).
    pub fn logits(&self, z: Tensor<2>) -> Tensor<1> {
        let batch = z.dims()[0];
        let h = self.hidden.iter().fold(z, |h, layer| layer.forward(h, Activation::LeakyRelu(LEAK)));
        self.output.forward(h, Activation::Identity).reshape([batch])
    }

    /// −(E log D(z) + E log(1 − D(z′))) / 2 of latents z and of permuted ones z′ (Algorithm 2), `[1]`.
    pub fn loss(&self, z: Tensor<2>, permuted: Tensor<2>) -> Tensor<1> {
        let of_joint = softplus(self.logits(z).neg(), 1.0).mean();
        let of_product = softplus(self.logits(permuted), 1.0).mean();
        (of_joint + of_product) * 0.5
    }
}

/// Each dimension of a batch permuted on its own (Algorithm 1): row `i` takes dimension `j` from row `orders[i][j]`.
///
/// # Shapes
///
/// All are `[batch, latent_dim]`.
///
/// # Panics
///
/// When the shapes differ.
pub fn permuted(z: Tensor<2>, orders: Tensor<2, Int>) -> Tensor<2> {
    assert_eq!(z.dims(), orders.dims(), "one order for each dimension of the latents");
    z.gather(0, orders)
}

/// Draws a permutation of the batch for each dimension, `[batch, latent_dim]`.
pub(super) fn draw_orders(step: &Step<'_>, [batch, dims]: [usize; 2]) -> Tensor<2, Int> {
    let mut generator = step.generator("permute latents");
    let mut orders = vec![0_i32; batch * dims];
    for dim in 0..dims {
        let mut order: Vec<i32> = (0..batch as i32).collect();
        for last in (1..batch).rev() {
            order.swap(last, rng::below(&mut generator, last as u64 + 1) as usize);
        }
        order.into_iter().enumerate().for_each(|(row, from)| orders[row * dims + dim] = from);
    }
    Tensor::from_data(TensorData::new(orders, [batch, dims]), step.device)
}
