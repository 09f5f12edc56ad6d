//! The affine coupling layer (Dinh et al. 2016, arXiv:1605.08803, §3.2 to §3.4): some values are kept, and say how the others are scaled
//! and shifted.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, activate};

use super::network::Network;
use super::squeeze::{checkerboard, halves};
use super::{Mapped, sum_values};
use crate::nn::Init;

/// y = x ⊙ exp(log s) + t, each of the shape of x.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    /// log s.
    pub(super) log_scale: Tensor<4>,
    /// t.
    pub(super) shift: Tensor<4>,
}

impl Affine {
    /// y and Σ log s (Eq. 6).
    pub(super) fn forward(&self, x: Tensor<4>) -> Mapped {
        let y = x * self.log_scale.clone().exp() + self.shift.clone();
        (y, sum_values(self.log_scale.clone()))
    }

    /// x of y (Eq. 8).
    pub(super) fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        (y - self.shift.clone()) * self.log_scale.clone().neg().exp()
    }
}

/// The values that a coupling keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The first half of the channels.
    FirstHalf,
    /// The second half.
    SecondHalf,
    /// Pixels whose row plus column is even.
    Even,
    /// The other pixels.
    Odd,
}

impl Kept {
    /// Channels that the network reads and channels that it transforms, of `channels`.
    fn features(self, channels: usize) -> [usize; 2] {
        let half = channels / 2;
        match self {
            Kept::FirstHalf => [half, channels - half],
            Kept::SecondHalf => [channels - half, half],
            Kept::Even | Kept::Odd => [channels; 2],
        }
    }
}

/// An affine coupling with log s = a tanh(·), where a is learned (§4.1).
#[derive(Module, Debug)]
pub(super) struct Coupling {
    /// The kept values to tanh⁻¹(log s / a) and t.
    network: Network,
    /// a, `[channels that are transformed]`.
    amplitude: Param<Tensor<1>>,
    #[module(skip)]
    kept: Kept,
}

impl Coupling {
    /// A coupling of `channels`. `network` makes one for so many inputs and so many channels that it transforms.
    pub(super) fn new(
        kept: Kept,
        channels: usize,
        network: impl FnOnce([usize; 2], &mut Init) -> Network,
        init: &mut Init,
    ) -> Coupling {
        let features = kept.features(channels);
        let network = network(features, init);
        Coupling { network, amplitude: init.constant([features[1]], 1.0), kept }
    }

    /// y, of which the kept values are those of x, and the log-determinant. The network reads `context` beside the kept values.
    pub(super) fn forward(&self, x: Tensor<4>, context: Option<&Tensor<4>>) -> Mapped {
        let (kept, moved) = self.split(x);
        let (moved, log_det) = self.affine(kept.clone(), context).forward(moved);
        (self.join(kept, moved), log_det)
    }

    /// x of y.
    pub(super) fn inverse(&self, y: Tensor<4>, context: Option<&Tensor<4>>) -> Tensor<4> {
        let (kept, moved) = self.split(y);
        let moved = self.affine(kept.clone(), context).inverse(moved);
        self.join(kept, moved)
    }

    /// Gives the network its first values, from the batch `x`.
    pub(super) fn set_first_values(&mut self, x: Tensor<4>, context: Option<&Tensor<4>>) {
        let (kept, _) = self.split(x);
        self.network.set_first_values(with(kept, context));
    }

    fn affine(&self, kept: Tensor<4>, context: Option<&Tensor<4>>) -> Affine {
        let [_, height, width, _] = kept.dims();
        let device = kept.device();
        let outputs = self.network.forward(with(kept, context));
        let moved = outputs.dims()[3] / 2;
        let amplitude = self.amplitude.val().reshape([1, 1, 1, moved]);
        let log_scale = activate(outputs.clone().narrow(3, 0, moved), Activation::Tanh) * amplitude;
        let shift = outputs.narrow(3, moved, moved);
        match self.kept {
            Kept::FirstHalf | Kept::SecondHalf => Affine { log_scale, shift },
            // Kept pixels are transformed by the identity.
            Kept::Even | Kept::Odd => {
                let mask = checkerboard([height, width], self.kept == Kept::Even, &device);
                Affine { log_scale: log_scale * mask.clone(), shift: shift * mask }
            }
        }
    }

    /// What the network reads and what is transformed: of a checkerboard the image without the other pixels, and the image.
    fn split(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [_, height, width, _] = x.dims();
        match self.kept {
            Kept::FirstHalf => halves(x).into(),
            Kept::SecondHalf => {
                let [first, second] = halves(x);
                (second, first)
            }
            Kept::Even | Kept::Odd => {
                let mask = checkerboard([height, width], self.kept == Kept::Odd, &x.device());
                (x.clone() * mask, x)
            }
        }
    }

    fn join(&self, kept: Tensor<4>, moved: Tensor<4>) -> Tensor<4> {
        match self.kept {
            Kept::FirstHalf => Tensor::cat(vec![kept, moved], 3),
            Kept::SecondHalf => Tensor::cat(vec![moved, kept], 3),
            Kept::Even | Kept::Odd => moved,
        }
    }
}

/// The channels of `context` behind those of `x`.
fn with(x: Tensor<4>, context: Option<&Tensor<4>>) -> Tensor<4> {
    match context {
        Some(context) => Tensor::cat(vec![x, context.clone()], 3),
        None => x,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::network::{Mlp, Residual};
    use super::super::testing::{expect_inverse, expect_log_det, floats, noise, shaken};
    use super::*;

    fn couplings(channels: usize) -> Vec<Coupling> {
        let mut init = Init::new(1, &Device::flex());
        let made = [Kept::FirstHalf, Kept::SecondHalf, Kept::Even, Kept::Odd].map(|kept| {
            let residual = |features, init: &mut Init| Network::Residual(Residual::new(features, 4, 1, init));
            Coupling::new(kept, channels, residual, &mut init)
        });
        made.iter().map(|coupling| shaken(coupling, 0.3, 2)).collect()
    }

    #[test]
    fn couplings_are_inverted_and_their_log_determinants_are_those_of_their_jacobians() {
        let device = Device::flex();
        for coupling in couplings(3) {
            let x = noise([2, 3, 2, 3], 3, &device);
            expect_inverse(x, |x| coupling.forward(x, None).0, |y| coupling.inverse(y, None));
            expect_log_det(noise([1, 3, 2, 3], 4, &device), |x| coupling.forward(x, None));
        }
    }

    #[test]
    fn a_coupling_of_points_with_a_context_is_inverted_too() {
        let device = Device::flex();
        let mlp = |[kept, moved]: [usize; 2], init: &mut Init| {
            Network::Mlp(Mlp::new([kept + 2, moved], 5, 2, init))
        };
        let made = Coupling::new(Kept::SecondHalf, 3, mlp, &mut Init::new(1, &device));
        let coupling = shaken(&made, 0.5, 2);
        let context = noise([4, 1, 1, 2], 5, &device);
        let forward = |x| coupling.forward(x, Some(&context)).0;
        expect_inverse(noise([4, 1, 1, 3], 3, &device), forward, |y| coupling.inverse(y, Some(&context)));
    }

    #[test]
    fn kept_values_stay_and_are_all_that_the_others_are_moved_by() {
        let device = Device::flex();
        let x = noise([1, 4, 4, 2], 3, &device);
        for coupling in couplings(2) {
            let ones = Tensor::<4>::ones([1, 4, 4, 2], &device);
            let is_kept = match coupling.kept {
                Kept::FirstHalf => {
                    Tensor::cat(vec![ones.clone().narrow(3, 0, 1), ones.narrow(3, 1, 1) * 0.0], 3)
                }
                Kept::SecondHalf => {
                    Tensor::cat(vec![ones.clone().narrow(3, 0, 1) * 0.0, ones.narrow(3, 1, 1)], 3)
                }
                kept => checkerboard([4, 4], kept == Kept::Odd, &device) * ones,
            };
            let (y, log_det) = coupling.forward(x.clone(), None);
            let moved = floats((y - x.clone()) * is_kept.clone());
            assert!(moved.iter().all(|&moved| moved == 0.0), "{:?}", coupling.kept);
            // Other values that are not kept: the same scales.
            let other = x.clone() * is_kept.clone() + (is_kept.neg() + 1.0) * 5.0;
            assert_eq!(floats(coupling.forward(other, None).1), floats(log_det));
        }
    }

    #[test]
    fn it_starts_as_the_identity() {
        let device = Device::flex();
        let residual = |features, init: &mut Init| Network::Residual(Residual::new(features, 4, 2, init));
        let coupling = Coupling::new(Kept::Even, 3, residual, &mut Init::new(1, &device));
        let x = noise([2, 4, 4, 3], 3, &device);
        let (y, log_det) = coupling.forward(x.clone(), None);
        assert_eq!((floats(y), floats(log_det)), (floats(x), vec![0.0, 0.0]));
    }
}
