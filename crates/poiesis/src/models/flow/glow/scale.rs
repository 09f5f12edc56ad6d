//! The layers of one size of Glow (§3 and Table 1).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, ConvOptions, activate, conv2d};

use super::super::actnorm::{ActNorm, first_values};
use super::super::coupling::Affine;
use super::super::squeeze::{halves, squeeze, unsqueeze};
use super::super::{Mapped, set_values};
use super::one_by_one::OneByOne;
use crate::nn::{Conv2d, Init, Initializer, SquareKernel};

/// Deviation of the first weights of hidden layers (the paper's code).
const WEIGHT: f64 = 0.05;
/// What is added before the sigmoid that makes scales, so that they start near 1 (the paper's code).
const NEAR_ONE: f64 = 2.0;

/// A squeeze and steps of the flow, behind which half of the channels are latents: what the paper calls a level.
#[derive(Module, Debug)]
pub(super) struct Scale {
    steps: Vec<FlowStep>,
    prior: ScalePrior,
}

/// The normal distribution of the latents of a scale.
#[derive(Module, Debug)]
enum ScalePrior {
    /// Of half of the channels, given the others, by a convolution that starts at zero.
    Half(Conv2d),
    /// Of all channels of the last scale: a mean and a deviation of each channel.
    All(ActNorm),
}

impl Scale {
    /// For `channels` before the squeeze.
    pub(super) fn new(last: bool, channels: usize, depth: usize, width: usize, init: &mut Init) -> Scale {
        let channels = 4 * channels;
        let steps = (0..depth).map(|_| FlowStep::new(channels, width, init)).collect();
        let prior = match last {
            true => ScalePrior::All(ActNorm::new(channels, init)),
            false => ScalePrior::Half(zero_conv(channels / 2, channels, init)),
        };
        Scale { steps, prior }
    }

    /// The latents of the scale, what goes to the next one, which is nothing for the last, and the log-determinant.
    pub(super) fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Option<Tensor<4>>, Tensor<1>) {
        let zero = Tensor::zeros([x.dims()[0]], &x.device());
        let start = (squeeze(x), zero);
        let (h, log_det) = self.steps.iter().fold(start, |(h, log_det), step| {
            let (h, of_step) = step.forward(h);
            (h, log_det + of_step)
        });
        match &self.prior {
            ScalePrior::All(normalize) => {
                let (z, of_prior) = normalize.forward(h);
                (z, None, log_det + of_prior)
            }
            ScalePrior::Half(conv) => {
                let [passed, left] = halves(h);
                let (z, of_prior) = normalization(conv, &passed).forward(left);
                (z, Some(passed), log_det + of_prior)
            }
        }
    }

    /// x of latents, and of what went to the next scale.
    pub(super) fn inverse(&self, z: Tensor<4>, passed: Option<Tensor<4>>) -> Tensor<4> {
        let h = match (&self.prior, passed) {
            (ScalePrior::All(normalize), None) => normalize.inverse(z),
            (ScalePrior::Half(conv), Some(passed)) => {
                let left = normalization(conv, &passed).inverse(z);
                Tensor::cat(vec![passed, left], 3)
            }
            _ => panic!("only the last scale passes nothing on"),
        };
        unsqueeze(self.steps.iter().rev().fold(h, |h, step| step.inverse(h)))
    }

    /// Gives the steps their first values, and returns what goes to the next scale.
    pub(super) fn set_first_values(&mut self, x: Tensor<4>) -> Option<Tensor<4>> {
        let h = self.steps.iter_mut().fold(squeeze(x), |h, step| step.set_first_values(h));
        match &self.prior {
            ScalePrior::All(_) => None,
            ScalePrior::Half(_) => {
                let [passed, _] = halves(h);
                Some(passed)
            }
        }
    }
}

/// (x − μ) / σ, with −log σ and −μ / σ computed from what was passed on.
fn normalization(conv: &Conv2d, passed: &Tensor<4>) -> Affine {
    let outputs = conv.forward(passed.clone());
    let channels = outputs.dims()[3] / 2;
    Affine { log_scale: outputs.clone().narrow(3, 0, channels), shift: outputs.narrow(3, channels, channels) }
}

/// One step of the flow: actnorm, 1×1 convolution, affine coupling.
#[derive(Module, Debug)]
struct FlowStep {
    norm: ActNorm,
    mix: OneByOne,
    coupling: GlowCoupling,
}

impl FlowStep {
    fn new(channels: usize, width: usize, init: &mut Init) -> FlowStep {
        FlowStep {
            norm: ActNorm::new(channels, init),
            mix: OneByOne::new(channels, init),
            coupling: GlowCoupling::new(channels, width, init),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Mapped {
        let (x, of_norm) = self.norm.forward(x);
        let (x, of_mix) = self.mix.forward(x);
        let (y, of_coupling) = self.coupling.forward(x);
        (y, of_coupling + of_mix + of_norm)
    }

    fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        self.norm.inverse(self.mix.inverse(self.coupling.inverse(y)))
    }

    fn set_first_values(&mut self, x: Tensor<4>) -> Tensor<4> {
        self.norm.set_first_values(x.clone());
        let (x, _) = self.mix.forward(self.norm.forward(x).0);
        self.coupling.set_first_values(x.clone());
        self.coupling.forward(x).0
    }
}

/// The affine coupling (§3.3): the second half of the channels is kept, and moves the first.
#[derive(Module, Debug)]
pub(super) struct GlowCoupling {
    input: NormedConv,
    hidden: NormedConv,
    output: Conv2d,
}

impl GlowCoupling {
    pub(super) fn new(channels: usize, width: usize, init: &mut Init) -> GlowCoupling {
        let moved = channels / 2;
        GlowCoupling {
            input: NormedConv::new([channels - moved, width], 3, init),
            hidden: NormedConv::new([width; 2], 1, init),
            output: zero_conv(width, 2 * moved, init),
        }
    }

    /// s = sigmoid(· + 2) and t.
    fn affine(&self, kept: Tensor<4>) -> Affine {
        let h = relu(self.hidden.forward(relu(self.input.forward(kept))));
        let outputs = self.output.forward(h);
        let moved = outputs.dims()[3] / 2;
        let logit = outputs.clone().narrow(3, 0, moved) + NEAR_ONE;
        let log_scale = activate(logit.neg(), Activation::Softplus).neg();
        Affine { log_scale, shift: outputs.narrow(3, moved, moved) }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Mapped {
        let [moved, kept] = halves(x);
        let (moved, log_det) = self.affine(kept.clone()).forward(moved);
        (Tensor::cat(vec![moved, kept], 3), log_det)
    }

    pub(super) fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        let [moved, kept] = halves(y);
        let moved = self.affine(kept.clone()).inverse(moved);
        Tensor::cat(vec![moved, kept], 3)
    }

    fn set_first_values(&mut self, x: Tensor<4>) {
        let [_, kept] = halves(x);
        self.input.set_first_values(kept.clone());
        self.hidden.set_first_values(relu(self.input.forward(kept)));
    }
}

/// A convolution with actnorm behind it, which scales the weight instead of the features.
#[derive(Module, Debug)]
struct NormedConv {
    /// `[size, size, inputs, outputs]`.
    weight: Param<Tensor<4>>,
    /// log s, `[outputs]`.
    log_scale: Param<Tensor<1>>,
    /// b, `[outputs]`.
    bias: Param<Tensor<1>>,
}

impl NormedConv {
    fn new([inputs, outputs]: [usize; 2], size: usize, init: &mut Init) -> NormedConv {
        NormedConv {
            weight: init.normal([size, size, inputs, outputs], 0.0, WEIGHT),
            log_scale: init.constant([outputs], 0.0),
            bias: init.constant([outputs], 0.0),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [size, _, _, outputs] = self.weight.dims();
        let weight = self.weight.val() * self.log_scale.val().exp().reshape([1, 1, 1, outputs]);
        conv2d(x, weight, Some(self.bias.val()), &ConvOptions::new([1, 1], [size / 2; 2]))
    }

    fn set_first_values(&mut self, x: Tensor<4>) {
        let size = self.weight.dims()[0];
        let y = conv2d(x, self.weight.val(), None, &ConvOptions::new([1, 1], [size / 2; 2]));
        let (log_scale, bias) = first_values(y);
        set_values(&mut self.log_scale, log_scale);
        set_values(&mut self.bias, bias);
    }
}

/// A convolution by kernels of 3×3 that starts at zero.
fn zero_conv(inputs: usize, outputs: usize, init: &mut Init) -> Conv2d {
    let kernel = SquareKernel { size: 3, stride: 1 };
    Conv2d::new([inputs, outputs], kernel, Initializer::Normal(0.0), init).with_bias(init)
}

fn relu(h: Tensor<4>) -> Tensor<4> {
    activate(h, Activation::Relu)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::super::testing::{expect_inverse, expect_log_det, noise, shaken};
    use super::*;

    #[test]
    fn couplings_steps_and_scales_are_inverted_with_the_log_determinants_of_their_jacobians() {
        let (device, mut init) = (Device::flex(), Init::new(1, &Device::flex()));
        let coupling = shaken(&GlowCoupling::new(3, 4, &mut init), 0.2, 2);
        expect_inverse(noise([2, 2, 3, 3], 3, &device), |x| coupling.forward(x).0, |y| coupling.inverse(y));
        expect_log_det(noise([1, 2, 3, 3], 4, &device), |x| coupling.forward(x));

        let step = shaken(&FlowStep::new(4, 4, &mut init), 0.2, 5);
        expect_inverse(noise([2, 2, 3, 4], 3, &device), |x| step.forward(x).0, |y| step.inverse(y));
        expect_log_det(noise([1, 2, 3, 4], 4, &device), |x| step.forward(x));

        for last in [false, true] {
            let scale = shaken(&Scale::new(last, 1, 2, 4, &mut init), 0.1, 6);
            let forward = |x: Tensor<4>| {
                let (z, passed, log_det) = scale.forward(x);
                (Tensor::cat(passed.into_iter().chain([z]).collect(), 3), log_det)
            };
            let inverse = |all: Tensor<4>| match last {
                true => scale.inverse(all, None),
                false => {
                    let [passed, z] = halves(all);
                    scale.inverse(z, Some(passed))
                }
            };
            expect_inverse(noise([2, 4, 2, 1], 3, &device), |x| forward(x).0, inverse);
            // The Jacobian of what lies beside one another, in whatever order.
            expect_log_det(noise([1, 4, 2, 1], 4, &device), forward);
        }
    }

    #[test]
    fn after_the_first_batch_all_steps_begin_with_mean_0_and_deviation_1() {
        let device = Device::flex();
        let mut scale = Scale::new(true, 1, 2, 4, &mut Init::new(1, &device));
        let x = noise([16, 4, 4, 1], 3, &device) * 0.2 - 3.0;
        scale.set_first_values(x.clone());
        let mut h = squeeze(x);
        for step in &scale.steps {
            let normed = step.norm.forward(h.clone()).0;
            let mean = normed.clone().mean().into_scalar::<f64>();
            let var = normed.square().mean().into_scalar::<f64>();
            assert!(mean.abs() < 1e-4 && (var - 1.0).abs() < 1e-3, "{mean} {var}");
            h = step.forward(h).0;
        }
    }
}
