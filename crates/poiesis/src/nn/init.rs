//! The first values of parameters, drawn from the keyed generator, or left blank where they will be loaded.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use crate::rng;

/// The distribution that a weight's first values are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform on ± this.
    Uniform(f64),
    /// Normal with mean 0 and a standard deviation of this over √fan-in.
    FanInNormal(f64),
    /// Uniform on ±1/√fan-in, the usual choice for linear and convolutional layers.
    FanIn,
    /// Uniform on ±√(6 / (fan-in + fan-out)) (Glorot and Bengio 2010).
    Glorot,
}

/// Draws the first values of a network's parameters, one stream of the generator for each parameter in the
/// order of their making.
#[derive(Debug)]
pub struct Init {
    /// No values are drawn without a seed.
    seed: Option<u64>,
    made: u64,
    device: Device,
}

impl Init {
    /// Starts the parameters of one network. Networks of one run take different `seed`s or one `Init` in turn.
    pub fn new(seed: u64, device: &Device) -> Init {
        Init { seed: Some(seed), made: 0, device: device.clone() }
    }

    /// Makes all parameters zero, without drawing: for a network whose values are loaded, or that is only counted.
    pub fn blank(device: &Device) -> Init {
        Init { seed: None, made: 0, device: device.clone() }
    }

    /// The device parameters are made on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Draws a weight of `shape` that maps `fan_in` inputs to each output and each input to `fan_out` outputs.
    pub fn weight<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
        fan_out: usize,
        initializer: Initializer,
    ) -> Param<Tensor<D>> {
        match initializer {
            Initializer::Normal(std) => self.normal(shape, 0.0, std),
            Initializer::Uniform(bound) => self.uniform(shape, bound),
            Initializer::FanInNormal(gain) => self.normal(shape, 0.0, gain / (fan_in as f64).sqrt()),
            Initializer::FanIn => self.uniform(shape, 1.0 / (fan_in as f64).sqrt()),
            Initializer::Glorot => self.uniform(shape, (6.0 / (fan_in + fan_out) as f64).sqrt()),
        }
    }

    /// Draws from a normal distribution.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D], mean: f64, std: f64) -> Param<Tensor<D>> {
        let Some(mut generator) = self.generator() else { return self.constant(shape, 0.0) };
        let mut draws = rng::normal(&mut generator, shape.iter().product());
        draws.iter_mut().for_each(|x| *x = (mean + std * f64::from(*x)) as f32);
        self.parameter(draws, shape)
    }

    /// Draws uniformly from `[-bound, bound)`.
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        let Some(mut generator) = self.generator() else { return self.constant(shape, 0.0) };
        let mut draws = rng::uniform(&mut generator, shape.iter().product());
        draws.iter_mut().for_each(|x| *x = (bound * (2.0 * f64::from(*x) - 1.0)) as f32);
        self.parameter(draws, shape)
    }

    /// Makes a parameter that is `value` everywhere.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D], value: f64) -> Param<Tensor<D>> {
        self.parameter(vec![value as f32; shape.iter().product()], shape)
    }

    fn generator(&mut self) -> Option<rng::Generator> {
        self.made += 1;
        self.seed.map(|seed| rng::generator(seed, "init", self.made - 1))
    }

    fn parameter<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), &self.device);
        // A model that is only used is made without autodiff, where nothing has gradients.
        let tensor = if tensor.is_autodiff() { tensor.require_grad() } else { tensor };
        Param::initialized(ParamId::new(), tensor)
    }
}
