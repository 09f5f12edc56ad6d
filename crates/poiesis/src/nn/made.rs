//! Autoregressive networks: all outputs of a group depend on the values before it alone, and are computed at once.
//!
//! Germain, Gregor, Murray and Larochelle, "MADE: masked autoencoder for distribution estimation", 2015, arXiv:1502.03509, for
//! vectors; for maps with the masked convolutions of van den Oord et al. 2016, arXiv:1601.06759, §3.4, as Kingma et al. 2016,
//! arXiv:1606.04934, §5.2, do. The order is that of the values in memory: row by row, and the maps of a pixel one after another.

use burn::module::Module;
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, ConvOptions, activate, add, conv2d, linear};

use super::{FirstValues, GroupMask, Init, NormedLinear, NormedWeight};

/// Sizes of a [`Made`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeSizes {
    /// Maps, or values of a vector: those of a pixel.
    pub values: usize,
    /// Features of the context.
    pub context: usize,
    /// Features of a hidden layer.
    pub width: usize,
    /// Hidden layers, at least 1.
    pub layers: usize,
    /// Outputs for each value.
    pub parts: usize,
    /// Side of the kernels, odd; 1 for a vector.
    pub kernel: usize,
}

/// A weight-normalised autoregressive network with ELU between its layers.
#[derive(Module, Debug)]
pub struct Made {
    input: Masked,
    /// What the context adds to the features of the first layer. Every output may depend on it.
    context: NormedLinear,
    /// All hidden layers but the first.
    hidden: Vec<Masked>,
    output: Masked,
}

impl Made {
    /// Makes a network. First values give the outputs the deviation `deviation`.
    ///
    /// # Panics
    ///
    /// When it has no hidden layer, or kernels have an even side.
    pub fn new(sizes: MadeSizes, deviation: f64, init: &mut Init) -> Made {
        let MadeSizes { values, context, width, layers, parts, kernel } = sizes;
        assert!(layers > 0 && kernel % 2 == 1, "{sizes:?}");
        let masked = |mask, features: [usize; 2], parts, init: &mut Init| {
            Masked::new(mask, features, Groups { count: values, parts }, kernel, init)
        };
        Made {
            input: masked(GroupMask::Before, [values, width], 1, init),
            context: NormedLinear::new(context, width, init),
            hidden: (1..layers).map(|_| masked(GroupMask::Own, [width, width], 1, init)).collect(),
            output: masked(GroupMask::Own, [width, parts * values], parts, init).with_deviation(deviation),
        }
    }

    /// The outputs of each value, which depend on the values before it and on the context.
    ///
    /// # Shapes
    ///
    /// `z` is `[batch, height, width, values]`, 1×1 for a vector, and `context` `[batch, height, width, context]`; the result is
    /// `[batch, height, width, parts · values]`, one part after another.
    ///
    /// # Panics
    ///
    /// When the shapes are others.
    pub fn forward(&self, z: Tensor<4>, context: Tensor<4>, found: &mut Option<FirstValues>) -> Tensor<4> {
        let h = add(self.input.forward(z, found), self.context.forward(context, found));
        let h = self.hidden.iter().fold(h, |h, layer| layer.forward(activate(h, Activation::Elu), found));
        self.output.forward(activate(h, Activation::Elu), found)
    }
}

/// How the features of a layer are divided.
#[derive(Clone, Copy, Debug)]
struct Groups {
    count: usize,
    /// How often the outputs repeat the groups.
    parts: usize,
}

/// A convolution that reads the pixels before its own, and of its own the groups that the mask lets through.
#[derive(Module, Debug)]
struct Masked {
    normed: NormedWeight<4>,
    #[module(skip)]
    options: ConvOptions,
}

impl Masked {
    fn new(
        mask: GroupMask,
        [inputs, outputs]: [usize; 2],
        groups: Groups,
        kernel: usize,
        init: &mut Init,
    ) -> Masked {
        let (centre, element) = (kernel * kernel / 2, inputs * outputs);
        let shape = [kernel, kernel, inputs, outputs];
        let mask = init.fixed(shape, || {
            let mut factors = vec![1.0; centre * element];
            factors.extend(mask.factors([inputs, outputs], groups.parts, groups.count));
            factors.resize(kernel * kernel * element, 0.0);
            factors
        });
        let options = ConvOptions::new([1, 1], [kernel / 2; 2]);
        Masked {
            normed: NormedWeight::new(shape, init).with_mask(mask),
            options: ConvOptions { active_taps: Some(centre + 1), ..options },
        }
    }

    fn with_deviation(self, deviation: f64) -> Masked {
        Masked { normed: self.normed.with_deviation(deviation), ..self }
    }

    fn forward(&self, x: Tensor<4>, found: &mut Option<FirstValues>) -> Tensor<4> {
        self.normed.apply(found, |weight, bias| {
            let [kernel, _, inputs, outputs] = weight.dims();
            if kernel == 1 {
                return linear(x, weight.reshape([inputs, outputs]), bias, Activation::Identity);
            }
            conv2d(x, weight, bias, &self.options)
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::rng;

    /// Maps and vectors, with fewer features than values too: `[height, width]` and sizes.
    const CASES: [([usize; 2], MadeSizes); 3] = [
        ([1, 1], MadeSizes { values: 5, context: 2, width: 12, layers: 2, parts: 2, kernel: 1 }),
        ([3, 4], MadeSizes { values: 2, context: 3, width: 7, layers: 2, parts: 2, kernel: 3 }),
        ([3, 2], MadeSizes { values: 1, context: 1, width: 4, layers: 1, parts: 1, kernel: 3 }),
    ];

    fn draw(shape: [usize; 4], index: u64, device: &Device) -> Tensor<4> {
        let values = rng::normal(&mut rng::generator(2, "test", index), shape.iter().product());
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn an_output_changes_only_with_the_values_before_it() {
        let device = Device::flex();
        for ([height, width], sizes) in CASES {
            let made = Made::new(sizes, 1.0, &mut Init::new(4, &device));
            let (shape, dims) = ([1, height, width, sizes.values], height * width * sizes.values);
            let (z, context) = (draw(shape, 0, &device), draw([1, height, width, sizes.context], 1, &device));
            let before = values(made.forward(z.clone(), context.clone(), &mut None));
            // Of each value, all its parts.
            let of = |outputs: &[f32], value: usize| -> Vec<f32> {
                let (pixel, map) = (value / sizes.values, value % sizes.values);
                let place = |part| (pixel * sizes.parts + part) * sizes.values + map;
                (0..sizes.parts).map(|part| outputs[place(part)]).collect()
            };
            for changed in 0..dims {
                let mut moved = values(z.clone());
                moved[changed] += 1.0;
                let moved = Tensor::from_data(TensorData::new(moved, shape), &device);
                let after = values(made.forward(moved, context.clone(), &mut None));
                for output in 0..dims {
                    let same = of(&before, output) == of(&after, output);
                    assert!(same || output > changed, "{sizes:?}: output {output} sees value {changed}");
                }
                // The next one sees it, or a later one where the features are few.
                let seen = (changed + 1..dims).any(|output| of(&before, output) != of(&after, output));
                assert!(seen || changed + 1 == dims, "{sizes:?}: no output sees value {changed}");
            }
            let other = values(made.forward(z, context + 1.0, &mut None));
            assert_ne!(of(&before, 0), of(&other, 0), "{sizes:?}: the first output sees the context");
        }
    }

    #[test]
    fn the_gradient_of_an_output_is_zero_from_its_own_value_on() {
        let device = Device::flex().autodiff();
        for ([height, width], sizes) in CASES {
            let made = Made::new(sizes, 1.0, &mut Init::new(4, &device));
            let (shape, dims) = ([1, height, width, sizes.values], height * width * sizes.values);
            let context = draw([1, height, width, sizes.context], 1, &device);
            for output in 0..dims {
                let z = draw(shape, 0, &device).require_grad();
                let outputs = made.forward(z.clone(), context.clone(), &mut None);
                let outputs = outputs.reshape([height * width, sizes.parts, sizes.values]);
                let (pixel, map) = (output / sizes.values, output % sizes.values);
                let parts = outputs.narrow(0, pixel, 1).narrow(2, map, 1).sum();
                let gradient = z.grad(&parts.backward()).unwrap();
                let gradient: Vec<f32> = gradient.into_data().iter::<f32>().collect();
                assert!(gradient[output..].iter().all(|&g| g == 0.0), "{sizes:?}: {output}: {gradient:?}");
                assert!(output == 0 || gradient[..output].iter().any(|&g| g != 0.0), "{sizes:?}: {output}");
            }
        }
    }

    #[test]
    fn weights_without_inputs_have_finite_gradients() {
        let device = Device::flex().autodiff();
        let made = Made::new(CASES[0].1, 1.0, &mut Init::new(4, &device));
        let outputs = made.forward(draw([2, 1, 1, 5], 0, &device), draw([2, 1, 1, 2], 1, &device), &mut None);
        let gradients = crate::testing::gradients_of("made", &made, &outputs.sum().backward());
        assert!(gradients.contains_key("made.input.normed.direction"));
        for (name, gradient) in gradients {
            assert!(gradient.data.iter().all(|g| g.is_finite()), "{name}");
        }
    }
}
