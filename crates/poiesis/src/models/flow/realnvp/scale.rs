//! The layers of one size of Real NVP (§3.6).

use burn::module::Module;
use burn::tensor::Tensor;

use super::super::Mapped;
use super::super::actnorm::ActNorm;
use super::super::coupling::{Coupling, Kept};
use super::super::network::{Mlp, Network, Residual};
use super::super::squeeze::{squeeze, unsqueeze};
use super::RealNvpConfig;
use crate::nn::Init;

/// What couplings of channels keep in turn.
const HALVES: [Kept; 2] = [Kept::FirstHalf, Kept::SecondHalf];

/// A coupling of a normalised batch.
#[derive(Module, Debug)]
struct Layer {
    norm: ActNorm,
    coupling: Coupling,
}

impl Layer {
    fn forward(&self, x: Tensor<4>) -> Mapped {
        let (x, of_norm) = self.norm.forward(x);
        let (y, of_coupling) = self.coupling.forward(x, None);
        (y, of_coupling + of_norm)
    }

    fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        self.norm.inverse(self.coupling.inverse(y, None))
    }

    fn set_first_values(&mut self, x: Tensor<4>) -> Tensor<4> {
        self.norm.set_first_values(x.clone());
        self.coupling.set_first_values(self.norm.forward(x.clone()).0, None);
        self.forward(x).0
    }
}

/// f⁽ⁱ⁾ of §3.6.
#[derive(Module, Debug)]
pub(super) struct Scale {
    /// Before the squeeze, or of the last scale, which has none.
    before: Vec<Layer>,
    /// Behind the squeeze.
    after: Vec<Layer>,
}

impl Scale {
    /// A scale of images with `channels`.
    pub(super) fn of_images(
        last: bool,
        channels: usize,
        width: usize,
        blocks: usize,
        init: &mut Init,
    ) -> Scale {
        let residual = |width: usize| {
            move |features: [usize; 2], init: &mut Init| {
                Network::Residual(Residual::new(features, width, blocks, init))
            }
        };
        let checkerboards = [Kept::Even, Kept::Odd];
        if last {
            let before = layers(checkerboards, 4, channels, residual(width), init);
            return Scale { before, after: Vec::new() };
        }
        let before = layers(checkerboards, 3, channels, residual(width), init);
        Scale { before, after: layers(HALVES, 3, 4 * channels, residual(2 * width), init) }
    }

    /// The only scale of points of `dims` coordinates.
    pub(super) fn of_points(dims: usize, config: &RealNvpConfig, init: &mut Init) -> Scale {
        let mlp = |features: [usize; 2], init: &mut Init| {
            Network::Mlp(Mlp::new(features, config.hidden_dim, config.layers, init))
        };
        Scale { before: layers(HALVES, config.couplings, dims, mlp, init), after: Vec::new() }
    }

    pub(super) fn is_last(&self) -> bool {
        self.after.is_empty()
    }

    /// All that the scale makes of `x`; only the last has the shape of `x`.
    pub(super) fn forward(&self, x: Tensor<4>) -> Mapped {
        let (x, log_det) = through(&self.before, x);
        if self.is_last() {
            return (x, log_det);
        }
        let (x, of_channels) = through(&self.after, squeeze(x));
        (x, log_det + of_channels)
    }

    pub(super) fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        let back = |layers: &[Layer], y| layers.iter().rev().fold(y, |y, layer| layer.inverse(y));
        if self.is_last() {
            return back(&self.before, y);
        }
        back(&self.before, unsqueeze(back(&self.after, y)))
    }

    pub(super) fn set_first_values(&mut self, x: Tensor<4>) -> Tensor<4> {
        let x = self.before.iter_mut().fold(x, |x, layer| layer.set_first_values(x));
        if self.is_last() {
            return x;
        }
        self.after.iter_mut().fold(squeeze(x), |x, layer| layer.set_first_values(x))
    }
}

/// `count` layers of `channels`, whose couplings keep the one and the other in turn.
fn layers(
    kept: [Kept; 2],
    count: usize,
    channels: usize,
    network: impl Fn([usize; 2], &mut Init) -> Network,
    init: &mut Init,
) -> Vec<Layer> {
    let layer = |number: usize| Layer {
        norm: ActNorm::new(channels, init),
        coupling: Coupling::new(kept[number % 2], channels, &network, init),
    };
    (0..count).map(layer).collect()
}

/// One layer after another.
fn through(layers: &[Layer], x: Tensor<4>) -> Mapped {
    let start = Tensor::zeros([x.dims()[0]], &x.device());
    layers.iter().fold((x, start), |(x, log_det), layer| {
        let (x, of_layer) = layer.forward(x);
        (x, log_det + of_layer)
    })
}
