//! Initialisation of parameters: drawn from the keyed generator, or zero where they will be loaded.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use crate::rng;

/// The distribution that a weight is initialised from.
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
    /// A random orthogonal matrix times this (Saxe et al. 2014): the axes but the last are its rows, and its rows or its columns,
    /// whichever are fewer, are orthogonal.
    Orthogonal(f64),
}

/// Initialises the parameters of a network. Each parameter has its own stream of the generator, in the order in which they
/// are made.
#[derive(Debug)]
pub struct Init {
    /// Without a seed nothing is drawn.
    seed: Option<u64>,
    /// Whether the network will only be counted.
    counting: bool,
    /// Whether the network that is counted has an array with more values than can be counted.
    uncountable: bool,
    made: u64,
    device: Device,
}

impl Init {
    /// Initialises from `seed`. Networks of the same run use different seeds, or share one `Init`.
    pub fn new(seed: u64, device: &Device) -> Init {
        Init { seed: Some(seed), counting: false, uncountable: false, made: 0, device: device.clone() }
    }

    /// Makes all parameters zero, without memory for their values: for a network whose parameters will be loaded.
    pub fn blank(device: &Device) -> Init {
        Init { seed: None, counting: false, uncountable: false, made: 0, device: device.clone() }
    }

    /// Makes no values at all: for a network that will only be counted, of any size.
    pub fn counting() -> Init {
        Init { counting: true, ..Init::blank(&Device::flex()) }
    }

    /// Whether an array had more values than can be counted. It is counted with fewer.
    pub fn is_uncountable(&self) -> bool {
        self.uncountable
    }

    /// Whether parameters get values; otherwise what is computed from them would be lost.
    pub fn draws(&self) -> bool {
        self.seed.is_some()
    }

    /// The device on which parameters are made.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Makes a weight of `shape` with the given fan-in and fan-out.
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
            Initializer::Glorot => self.uniform(shape, (6.0 / (fan_in as f64 + fan_out as f64)).sqrt()),
            Initializer::Orthogonal(gain) => self.orthogonal(shape, gain),
        }
    }

    /// Draws from a normal distribution.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D], mean: f64, std: f64) -> Param<Tensor<D>> {
        let Some(mut generator) = self.generator() else { return self.constant(shape, 0.0) };
        let mut draws = rng::normal(&mut generator, shape.iter().product());
        draws.iter_mut().for_each(|x| *x = (mean + std * f64::from(*x)) as f32);
        self.parameter(draws, shape)
    }

    /// Draws a matrix of orthogonal rows or columns, each of length `gain`.
    fn orthogonal<const D: usize>(&mut self, shape: [usize; D], gain: f64) -> Param<Tensor<D>> {
        let Some(mut generator) = self.generator() else { return self.constant(shape, 0.0) };
        let columns = shape.last().copied().unwrap_or(1);
        let rows = shape[..D - 1].iter().product::<usize>();
        let (count, length) = (rows.min(columns), rows.max(columns));
        let mut vectors: Vec<Vec<f64>> = (0..count)
            .map(|_| rng::normal(&mut generator, length).into_iter().map(f64::from).collect())
            .collect();
        orthogonalise(&mut vectors);
        let at = |row: usize, column: usize| {
            if rows <= columns { vectors[row][column] } else { vectors[column][row] }
        };
        let values = (0..rows * columns).map(|i| (gain * at(i / columns, i % columns)) as f32).collect();
        self.parameter(values, shape)
    }

    /// Draws uniformly from `[-bound, bound)`.
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        let Some(mut generator) = self.generator() else { return self.constant(shape, 0.0) };
        let mut draws = rng::uniform(&mut generator, shape.iter().product());
        draws.iter_mut().for_each(|x| *x = (bound * (2.0 * f64::from(*x) - 1.0)) as f32);
        self.parameter(draws, shape)
    }

    /// Makes a parameter filled with `value`.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D], value: f64) -> Param<Tensor<D>> {
        if self.seed.is_none() {
            return self.blank_parameter(shape);
        }
        self.parameter(vec![value as f32; shape.iter().product()], shape)
    }

    /// Makes a tensor that is no parameter, such as a mask, from its values.
    pub fn fixed<const D: usize>(
        &mut self,
        shape: [usize; D],
        values: impl FnOnce() -> Vec<f32>,
    ) -> Tensor<D> {
        if self.counting {
            let shape = self.countable(shape);
            return Tensor::<D>::zeros([1; D], &self.device).expand(shape);
        }
        Tensor::from_data(TensorData::new(values(), shape), &self.device)
    }

    fn generator(&mut self) -> Option<rng::Generator> {
        self.made += 1;
        self.seed.map(|seed| rng::generator(seed, "init", self.made - 1))
    }

    /// Zeros that share one place in memory.
    fn blank_parameter<const D: usize>(&mut self, shape: [usize; D]) -> Param<Tensor<D>> {
        let shape = self.countable(shape);
        let zero = Tensor::<D>::zeros([1; D], &self.device);
        Param::initialized(ParamId::new(), zero.expand(shape))
    }

    /// A shape with no more values than can be counted: the first axes of `shape`, and 1 instead of those that are too many.
    fn countable<const D: usize>(&mut self, shape: [usize; D]) -> [usize; D] {
        const MOST: usize = 1 << 60;
        let mut values = 1_usize;
        shape.map(|length| match values.checked_mul(length).filter(|&values| values <= MOST) {
            Some(product) => {
                values = product;
                length
            }
            None => {
                self.uncountable = true;
                1
            }
        })
    }

    fn parameter<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), &self.device);
        // A model for inference is made without autodiff, where nothing has gradients.
        let tensor = if tensor.is_autodiff() { tensor.require_grad() } else { tensor };
        Param::initialized(ParamId::new(), tensor)
    }
}

/// Makes vectors orthogonal and of length one, each by what those before it leave of it (Gram and Schmidt, twice, so that nothing is
/// left of them in f64 either).
fn orthogonalise(vectors: &mut [Vec<f64>]) {
    for i in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(i);
        let own = &mut rest[0];
        for _ in 0..2 {
            for other in before.iter() {
                let shared: f64 = own.iter().zip(other).map(|(a, b)| a * b).sum();
                own.iter_mut().zip(other).for_each(|(a, b)| *a -= shared * b);
            }
        }
        let length = own.iter().map(|a| a * a).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        own.iter_mut().for_each(|a| *a /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orthogonal_matrices_keep_lengths() {
        for shape in [[3, 7], [7, 3], [4, 4]] {
            let weight =
                Init::new(5, &Device::flex()).weight(shape, 3, 7, Initializer::Orthogonal(2.0)).val();
            let weight = if shape[0] > shape[1] { weight.transpose() } else { weight };
            let products: Vec<f32> =
                weight.clone().matmul(weight.transpose()).into_data().iter::<f32>().collect();
            let side = shape[0].min(shape[1]);
            for (i, product) in products.iter().enumerate() {
                let expected = if i / side == i % side { 4.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-5, "{shape:?}: {products:?}");
            }
        }
    }
}
