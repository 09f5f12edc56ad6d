//! The layers of Inception and how they are put together. Images are channels last.

use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use poiesis_kernels::{Activation, ConvOptions, activate, conv2d};

use crate::error::Result;
use crate::features::weights::Weights;

/// Added to the variances of batch normalisation.
const EPSILON: f64 = 1e-3;

/// A layer.
pub(super) enum Layer {
    /// A convolution with batch normalisation, which is part of its weights here, and ReLU.
    Conv(Box<Conv>),
    /// The maximum of 3×3 pixels, with this stride and padding.
    Max(usize, usize),
    /// The mean of those of 3×3 pixels that are not padding.
    Mean,
    /// Several rows of layers side by side; their channels are put one after another.
    Branches(Vec<Vec<Layer>>),
}

pub(super) struct Conv {
    weight: Tensor<4>,
    bias: Tensor<1>,
    options: ConvOptions,
}

/// Applies layers one after another, `[batch, height, width, channels]`.
pub(super) fn forward(layers: &[Layer], x: Tensor<4>) -> Tensor<4> {
    layers.iter().fold(x, |x, layer| match layer {
        Layer::Conv(conv) => {
            let y = conv2d(x, conv.weight.clone(), Some(conv.bias.clone()), &conv.options);
            activate(y, Activation::Relu)
        }
        Layer::Max(stride, padding) => {
            let options = MaxPoolOptions::new([3, 3]).with_stride([*stride; 2]).with_padding([*padding; 2]);
            channels_first(x, |x| max_pool2d(x, options))
        }
        Layer::Mean => {
            let mut options = AvgPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]);
            options.count_include_pad = false;
            channels_first(x, |x| avg_pool2d(x, options))
        }
        Layer::Branches(branches) => {
            Tensor::cat(branches.iter().map(|branch| forward(branch, x.clone())).collect(), 3)
        }
    })
}

fn channels_first(x: Tensor<4>, work: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    work(x.permute([0, 3, 1, 2])).permute([0, 2, 3, 1])
}

/// All layers up to the last mean over the image.
pub(super) fn network(weights: &mut Weights, device: &Device) -> Result<Vec<Layer>> {
    let mut make = Make { weights, device };
    let mut layers = vec![
        make.conv("Conv2d_1a_3x3", [3, 32], [3, 3], 2, [0, 0])?,
        make.conv("Conv2d_2a_3x3", [32, 32], [3, 3], 1, [0, 0])?,
        make.conv("Conv2d_2b_3x3", [32, 64], [3, 3], 1, [1, 1])?,
        Layer::Max(2, 0),
        make.conv("Conv2d_3b_1x1", [64, 80], [1, 1], 1, [0, 0])?,
        make.conv("Conv2d_4a_3x3", [80, 192], [3, 3], 1, [0, 0])?,
        Layer::Max(2, 0),
    ];
    for (name, inputs, pooled) in [("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)] {
        layers.push(make.block_35(name, inputs, pooled)?);
    }
    layers.push(make.reduction_17("Mixed_6a", 288)?);
    for (name, inner) in [("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)] {
        layers.push(make.block_17(name, 768, inner)?);
    }
    layers.push(make.reduction_8("Mixed_7a", 768)?);
    layers.push(make.block_8("Mixed_7b", 1280, Layer::Mean)?);
    layers.push(make.block_8("Mixed_7c", 2048, Layer::Max(1, 1))?);
    Ok(layers)
}

struct Make<'a> {
    weights: &'a mut Weights,
    device: &'a Device,
}

impl Make<'_> {
    /// A convolution and its normalisation as one: γ / √(variance + ε) scales the kernel, the rest is a bias.
    fn conv(
        &mut self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        [height, width]: [usize; 2],
        stride: usize,
        padding: [usize; 2],
    ) -> Result<Layer> {
        let kernel = self.weights.take(&format!("{name}.conv.weight"), &[outputs, inputs, height, width])?;
        let mut norm = |part: &str| self.weights.take(&format!("{name}.bn.{part}"), &[outputs]);
        let (gamma, beta) = (norm("weight")?, norm("bias")?);
        let (mean, variance) = (norm("running_mean")?, norm("running_var")?);
        let scales: Vec<f64> = gamma
            .iter()
            .zip(&variance)
            .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance).max(0.0) + EPSILON).sqrt())
            .collect();
        let bias = |o: usize| (f64::from(beta[o]) - f64::from(mean[o]) * scales[o]) as f32;
        let bias: Vec<f32> = (0..outputs).map(bias).collect();
        let mut weight = vec![0.0; kernel.len()];
        // From [outputs, inputs, height, width] to [height, width, inputs, outputs].
        let area = height * width;
        for (at, &value) in kernel.iter().enumerate() {
            let (o, i, tap) = (at / (inputs * area), at / area % inputs, at % area);
            weight[(tap * inputs + i) * outputs + o] = (f64::from(value) * scales[o]) as f32;
        }
        let shape = [height, width, inputs, outputs];
        Ok(Layer::Conv(Box::new(Conv {
            weight: Tensor::from_data(TensorData::new(weight, shape), self.device),
            bias: Tensor::from_data(TensorData::new(bias, [outputs]), self.device),
            options: ConvOptions::new([stride; 2], padding),
        })))
    }

    /// A convolution of one pixel.
    fn point(&mut self, name: &str, channels: [usize; 2]) -> Result<Layer> {
        self.conv(name, channels, [1, 1], 1, [0, 0])
    }

    /// A convolution along the width.
    fn across(&mut self, name: &str, channels: [usize; 2], size: usize) -> Result<Layer> {
        self.conv(name, channels, [1, size], 1, [0, size / 2])
    }

    /// A convolution along the height.
    fn down(&mut self, name: &str, channels: [usize; 2], size: usize) -> Result<Layer> {
        self.conv(name, channels, [size, 1], 1, [size / 2, 0])
    }

    /// A block at 35×35 pixels (Figure 5).
    fn block_35(&mut self, name: &str, inputs: usize, pooled: usize) -> Result<Layer> {
        let at = |part: &str| format!("{name}.{part}");
        Ok(Layer::Branches(vec![
            vec![self.point(&at("branch1x1"), [inputs, 64])?],
            vec![
                self.point(&at("branch5x5_1"), [inputs, 48])?,
                self.conv(&at("branch5x5_2"), [48, 64], [5, 5], 1, [2, 2])?,
            ],
            vec![
                self.point(&at("branch3x3dbl_1"), [inputs, 64])?,
                self.conv(&at("branch3x3dbl_2"), [64, 96], [3, 3], 1, [1, 1])?,
                self.conv(&at("branch3x3dbl_3"), [96, 96], [3, 3], 1, [1, 1])?,
            ],
            vec![Layer::Mean, self.point(&at("branch_pool"), [inputs, pooled])?],
        ]))
    }

    /// The block from 35×35 to 17×17 pixels.
    fn reduction_17(&mut self, name: &str, inputs: usize) -> Result<Layer> {
        let at = |part: &str| format!("{name}.{part}");
        Ok(Layer::Branches(vec![
            vec![self.conv(&at("branch3x3"), [inputs, 384], [3, 3], 2, [0, 0])?],
            vec![
                self.point(&at("branch3x3dbl_1"), [inputs, 64])?,
                self.conv(&at("branch3x3dbl_2"), [64, 96], [3, 3], 1, [1, 1])?,
                self.conv(&at("branch3x3dbl_3"), [96, 96], [3, 3], 2, [0, 0])?,
            ],
            vec![Layer::Max(2, 0)],
        ]))
    }

    /// A block at 17×17 pixels (Figure 6).
    fn block_17(&mut self, name: &str, inputs: usize, inner: usize) -> Result<Layer> {
        let at = |part: &str| format!("{name}.{part}");
        Ok(Layer::Branches(vec![
            vec![self.point(&at("branch1x1"), [inputs, 192])?],
            vec![
                self.point(&at("branch7x7_1"), [inputs, inner])?,
                self.across(&at("branch7x7_2"), [inner, inner], 7)?,
                self.down(&at("branch7x7_3"), [inner, 192], 7)?,
            ],
            vec![
                self.point(&at("branch7x7dbl_1"), [inputs, inner])?,
                self.down(&at("branch7x7dbl_2"), [inner, inner], 7)?,
                self.across(&at("branch7x7dbl_3"), [inner, inner], 7)?,
                self.down(&at("branch7x7dbl_4"), [inner, inner], 7)?,
                self.across(&at("branch7x7dbl_5"), [inner, 192], 7)?,
            ],
            vec![Layer::Mean, self.point(&at("branch_pool"), [inputs, 192])?],
        ]))
    }

    /// The block from 17×17 to 8×8 pixels.
    fn reduction_8(&mut self, name: &str, inputs: usize) -> Result<Layer> {
        let at = |part: &str| format!("{name}.{part}");
        Ok(Layer::Branches(vec![
            vec![
                self.point(&at("branch3x3_1"), [inputs, 192])?,
                self.conv(&at("branch3x3_2"), [192, 320], [3, 3], 2, [0, 0])?,
            ],
            vec![
                self.point(&at("branch7x7x3_1"), [inputs, 192])?,
                self.across(&at("branch7x7x3_2"), [192, 192], 7)?,
                self.down(&at("branch7x7x3_3"), [192, 192], 7)?,
                self.conv(&at("branch7x7x3_4"), [192, 192], [3, 3], 2, [0, 0])?,
            ],
            vec![Layer::Max(2, 0)],
        ]))
    }

    /// A block at 8×8 pixels (Figure 7), with this pooling.
    fn block_8(&mut self, name: &str, inputs: usize, pooling: Layer) -> Result<Layer> {
        let at = |part: &str| format!("{name}.{part}");
        let both = |make: &mut Self, first: &str, second: &str| {
            let across = make.across(&at(first), [384, 384], 3)?;
            Ok::<_, crate::Error>(Layer::Branches(vec![
                vec![across],
                vec![make.down(&at(second), [384, 384], 3)?],
            ]))
        };
        Ok(Layer::Branches(vec![
            vec![self.point(&at("branch1x1"), [inputs, 320])?],
            vec![self.point(&at("branch3x3_1"), [inputs, 384])?, both(self, "branch3x3_2a", "branch3x3_2b")?],
            vec![
                self.point(&at("branch3x3dbl_1"), [inputs, 448])?,
                self.conv(&at("branch3x3dbl_2"), [448, 384], [3, 3], 1, [1, 1])?,
                both(self, "branch3x3dbl_3a", "branch3x3dbl_3b")?,
            ],
            vec![pooling, self.point(&at("branch_pool"), [inputs, 192])?],
        ]))
    }
}
