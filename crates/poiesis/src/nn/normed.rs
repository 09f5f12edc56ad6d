//! Weight-normalised layers: y = x (g v / ‖v‖) + b, with data-dependent first values (Salimans and Kingma 2016, arXiv:1602.07868).
//!
//! `found` of a forward pass is `None`, or collects the first values of gains and biases while a batch goes through layers that have
//! none yet.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, ConvOptions, ConvTransposeOptions, conv_transpose2d, conv2d, linear};

use super::{FirstValues, Init, SquareKernel, weight_norm};

/// Deviation of the first values of directions (§3).
const DIRECTION: f64 = 0.05;

/// Direction, gain and bias of a layer.
#[derive(Module, Debug)]
pub struct NormedWeight<const D: usize> {
    /// v, `[.., outputs]`; what is masked stays as it was drawn and is never read.
    direction: Param<Tensor<D>>,
    /// g, `[outputs]`.
    gain: Param<Tensor<1>>,
    /// b, `[outputs]`.
    bias: Param<Tensor<1>>,
    /// The factor, 0 or 1, of each number of the direction.
    #[module(skip)]
    mask: Option<Tensor<D>>,
    /// What data-dependent first values make of the deviation of the result.
    #[module(skip)]
    first_deviation: f64,
}

impl<const D: usize> NormedWeight<D> {
    /// Draws a direction of this shape, `[.., outputs]`; gains are 1 and biases 0 until they get their first values.
    pub fn new(shape: [usize; D], init: &mut Init) -> NormedWeight<D> {
        let outputs = [shape[D - 1]];
        NormedWeight {
            direction: init.normal(shape, 0.0, DIRECTION),
            gain: init.constant(outputs, 1.0),
            bias: init.constant(outputs, 0.0),
            mask: None,
            first_deviation: 1.0,
        }
    }

    /// Keeps the weight at zero where `mask` is zero.
    #[must_use]
    pub fn with_mask(self, mask: Tensor<D>) -> NormedWeight<D> {
        NormedWeight { mask: Some(mask), ..self }
    }

    /// Lets the first values give the result this deviation instead of 1.
    #[must_use]
    pub fn with_deviation(self, first_deviation: f64) -> NormedWeight<D> {
        NormedWeight { first_deviation, ..self }
    }

    /// The features that `product` computes with a weight and a bias.
    pub fn apply<const E: usize>(
        &self,
        found: &mut Option<FirstValues>,
        product: impl FnOnce(Tensor<D>, Option<Tensor<1>>) -> Tensor<E>,
    ) -> Tensor<E> {
        let Some(found) = found else { return product(self.weight(), Some(self.bias.val())) };
        let unit = weight_norm(self.masked_direction(), self.gain.val().ones_like());
        found.find(product(unit, None), self.first_deviation, &self.gain, &self.bias)
    }

    /// g v / ‖v‖.
    pub fn weight(&self) -> Tensor<D> {
        weight_norm(self.masked_direction(), self.gain.val())
    }

    fn masked_direction(&self) -> Tensor<D> {
        match &self.mask {
            Some(mask) => self.direction.val() * mask.clone(),
            None => self.direction.val(),
        }
    }
}

/// A fully connected layer.
#[derive(Module, Debug)]
pub struct NormedLinear {
    normed: NormedWeight<2>,
}

impl NormedLinear {
    /// Makes a layer.
    pub fn new(inputs: usize, outputs: usize, init: &mut Init) -> NormedLinear {
        NormedLinear { normed: NormedWeight::new([inputs, outputs], init) }
    }

    /// As [`NormedWeight::with_deviation`].
    #[must_use]
    pub fn with_deviation(self, deviation: f64) -> NormedLinear {
        NormedLinear { normed: self.normed.with_deviation(deviation) }
    }

    /// The weight, `[inputs, outputs]`.
    pub fn weight(&self) -> Tensor<2> {
        self.normed.weight()
    }

    /// Applies the layer to the last axis: `[.., inputs]` to `[.., outputs]`.
    ///
    /// # Panics
    ///
    /// When the last axis of `x` is not `inputs` long.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, found: &mut Option<FirstValues>) -> Tensor<D> {
        self.normed.apply(found, |weight, bias| linear(x, weight, bias, Activation::Identity))
    }
}

/// A convolution with a square kernel, padded by `(size - 1) / 2`.
#[derive(Module, Debug)]
pub struct NormedConv2d {
    /// Its direction is `[size, size, inputs, outputs]`.
    normed: NormedWeight<4>,
    #[module(skip)]
    options: ConvOptions,
}

impl NormedConv2d {
    /// Makes a convolution that divides height and width by the stride, which must divide them.
    pub fn new(features: [usize; 2], kernel: SquareKernel, init: &mut Init) -> NormedConv2d {
        let [inputs, outputs] = features;
        NormedConv2d {
            normed: NormedWeight::new([kernel.size, kernel.size, inputs, outputs], init),
            options: ConvOptions::new([kernel.stride; 2], [kernel.padding(); 2]),
        }
    }

    /// As [`NormedWeight::with_deviation`].
    #[must_use]
    pub fn with_deviation(self, deviation: f64) -> NormedConv2d {
        NormedConv2d { normed: self.normed.with_deviation(deviation), ..self }
    }

    /// `[batch, height, width, inputs]` to `[batch, height / stride, width / stride, outputs]`.
    ///
    /// # Panics
    ///
    /// When `x` does not have `inputs` channels.
    pub fn forward(&self, x: Tensor<4>, found: &mut Option<FirstValues>) -> Tensor<4> {
        self.normed.apply(found, |weight, bias| conv2d(x, weight, bias, &self.options))
    }
}

/// A transposed convolution with a square kernel: the adjoint of [`NormedConv2d`], which multiplies height and width.
#[derive(Module, Debug)]
pub struct NormedConvTranspose2d {
    /// Its direction is `[size, size, inputs, outputs]`.
    normed: NormedWeight<4>,
    #[module(skip)]
    options: ConvTransposeOptions,
}

impl NormedConvTranspose2d {
    /// Makes a transposed convolution that multiplies height and width by the stride.
    ///
    /// # Panics
    ///
    /// When the size is below the stride, which would leave gaps in the output.
    pub fn new(features: [usize; 2], kernel: SquareKernel, init: &mut Init) -> NormedConvTranspose2d {
        let ([inputs, outputs], SquareKernel { size, stride }) = (features, kernel);
        assert!(size >= stride, "a kernel of {size} leaves gaps at stride {stride}");
        // out = (in - 1) stride - 2 padding + size + output padding, which must be stride · in.
        let output_padding = [stride + 2 * kernel.padding() - size; 2];
        let options = ConvTransposeOptions::new([stride; 2], [kernel.padding(); 2]);
        NormedConvTranspose2d {
            normed: NormedWeight::new([size, size, inputs, outputs], init),
            options: ConvTransposeOptions { output_padding, ..options },
        }
    }

    /// As [`NormedWeight::with_deviation`].
    #[must_use]
    pub fn with_deviation(self, deviation: f64) -> NormedConvTranspose2d {
        NormedConvTranspose2d { normed: self.normed.with_deviation(deviation), ..self }
    }

    /// `[batch, height, width, inputs]` to `[batch, stride · height, stride · width, outputs]`.
    ///
    /// # Panics
    ///
    /// When `x` does not have `inputs` channels.
    pub fn forward(&self, x: Tensor<4>, found: &mut Option<FirstValues>) -> Tensor<4> {
        self.normed.apply(found, |weight, bias| conv_transpose2d(x, weight, bias, &self.options))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::rng;

    /// Each feature of `y`, `[.., features]`, has mean 0 and this deviation.
    fn expect_deviation<const D: usize>(y: Tensor<D>, deviation: f64) {
        let features = y.dims()[D - 1];
        let values: Vec<f64> = y.into_data().iter::<f64>().collect();
        for feature in 0..features {
            let of_feature: Vec<f64> = values.iter().skip(feature).step_by(features).copied().collect();
            let mean = of_feature.iter().sum::<f64>() / of_feature.len() as f64;
            let var = of_feature.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / of_feature.len() as f64;
            assert!(mean.abs() < 1e-4 && (var.sqrt() - deviation).abs() < 1e-3, "{mean} {}", var.sqrt());
        }
    }

    #[test]
    fn first_values_give_features_their_deviation_and_stay_when_they_are_set() {
        let device = Device::flex().autodiff();
        let mut init = Init::new(3, &device);
        let x = rng::normal(&mut rng::generator(1, "images", 0), 4 * 8 * 6 * 3);
        let x = Tensor::<4>::from_data(TensorData::new(x, [4, 8, 6, 3]), &device) * 3.0 + 1.0;
        let conv = NormedConv2d::new([3, 5], SquareKernel { size: 3, stride: 2 }, &mut init);
        let up = NormedConvTranspose2d::new([5, 2], SquareKernel { size: 4, stride: 2 }, &mut init)
            .with_deviation(0.1);
        let forward = |conv: &NormedConv2d, up: &NormedConvTranspose2d, found: &mut Option<FirstValues>| {
            let y = conv.forward(x.clone(), found);
            let z = up.forward(y.clone(), found);
            [y, z]
        };
        let mut found = Some(FirstValues::default());
        let [y, z] = forward(&conv, &up, &mut found);
        expect_deviation(y, 1.0);
        expect_deviation(z, 0.1);
        let mut found = found.unwrap();
        let (conv, up) = (conv.map(&mut found), up.map(&mut found));
        let [y, z] = forward(&conv, &up, &mut None);
        assert_eq!((y.dims(), z.dims()), ([4, 4, 3, 5], [4, 8, 6, 2]));
        expect_deviation(y, 1.0);
        expect_deviation(z, 0.1);
    }
}
