//! One training step as a model sees it: its number, its noise and its optimizers.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::optim::Optimizer;
use crate::rng::{self, Generator};

/// Draws noise of a shape by key and stream number: [`poiesis_kernels::normal`] or [`poiesis_kernels::uniform`].
pub type Draw<const D: usize> = fn([usize; D], &[u8; 32], u64, &Device) -> Tensor<D>;

/// Noise of any shape, one tensor after another: each has its own stream of the generator of `index`, of which there are 2²⁴.
pub fn draws<const D: usize>(
    seed: u64,
    purpose: &str,
    index: u64,
    draw: Draw<D>,
    device: &Device,
) -> impl FnMut([usize; D]) -> Tensor<D> + use<D> {
    let (key, mut stream, device) = (rng::key(seed, purpose), index << 24, device.clone());
    move |shape| {
        let noise = draw(shape, &key, stream, &device);
        stream += 1;
        noise
    }
}

/// One training step.
pub struct Step<'a> {
    /// Its number in the run, from 0.
    pub number: u64,
    /// The run's seed.
    pub seed: u64,
    /// Where the model is, with autodiff.
    pub device: &'a Device,
    pub(super) schedule: f64,
    pub(super) optimizers: &'a mut BTreeMap<&'static str, Optimizer>,
}

impl<'a> Step<'a> {
    /// A step outside of a run.
    #[cfg(test)]
    pub(crate) fn for_test(
        number: u64,
        seed: u64,
        device: &'a Device,
        optimizers: &'a mut BTreeMap<&'static str, Optimizer>,
    ) -> Step<'a> {
        Step { number, seed, device, schedule: 1.0, optimizers }
    }

    /// The random generator of this step for a purpose.
    pub fn generator(&self, purpose: &str) -> Generator {
        rng::generator(self.seed, purpose, self.number)
    }

    /// Noise from N(0, 1), a separate stream for each purpose.
    pub fn normal<const D: usize>(&self, purpose: &str, shape: [usize; D]) -> Tensor<D> {
        self.tensor(rng::normal(&mut self.generator(purpose), shape.iter().product()), shape)
    }

    /// Uniform noise on [0, 1), a separate stream for each purpose.
    pub fn uniform<const D: usize>(&self, purpose: &str, shape: [usize; D]) -> Tensor<D> {
        self.tensor(rng::uniform(&mut self.generator(purpose), shape.iter().product()), shape)
    }

    /// Noise of any shape, one tensor after another; see [`draws`].
    pub fn draws<const D: usize>(
        &self,
        purpose: &str,
        draw: Draw<D>,
    ) -> impl FnMut([usize; D]) -> Tensor<D> + use<D> {
        draws(self.seed, purpose, self.number, draw, self.device)
    }

    /// Values as a tensor on the model's device.
    ///
    /// # Panics
    ///
    /// When there are more or fewer values than `shape` has.
    pub fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }

    /// Multiplies the learning rates of this step by `factor`, for the model's own schedule.
    pub fn scale_learning_rate(&mut self, factor: f64) {
        self.schedule *= factor;
    }

    /// Updates the parameters of `network` to reduce `loss`, with the optimizer of that name.
    ///
    /// # Panics
    ///
    /// When the model has no optimizer of that name.
    pub fn minimize<N: Module>(&mut self, optimizer: &str, network: &mut N, loss: &Tensor<1>) {
        let Some(optimizer) = self.optimizers.get_mut(optimizer) else {
            panic!("the model has no optimizer called `{optimizer}`")
        };
        let mut gradients = loss.backward();
        *network = optimizer.step(network.clone(), &mut gradients, self.schedule);
    }
}
