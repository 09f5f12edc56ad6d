//! Convolutions whose results depend on earlier values of an image alone (van den Oord et al. 2016, arXiv:1601.06759, §3.4).
//!
//! An image is read row by row, and the channels of a pixel one after another. So that the features of a pixel know which
//! channels they may depend on, they are divided into as many groups as there are channels, in that order.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{ConvOptions, conv2d, linear};

use crate::nn::{Activation, GroupMask, Init, Initializer, activate};

/// What a kernel may read, beside the rows above the one it is centred on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// Nothing else.
    Above,
    /// All of its centre's row: the features read there must see earlier rows alone.
    Row,
    /// What is left of the centre, and of the centre the groups before the one that is computed: the mask of a first layer,
    /// which reads the image.
    A,
    /// The same and its own group: the mask of all later layers.
    B,
}

/// The features of group `group`, of `channels`, out of `features`.
pub(crate) fn features_of(group: usize, features: usize, channels: usize) -> Range<usize> {
    let first = |group: usize| (group * features).div_ceil(channels);
    first(group)..first(group + 1)
}

/// A kernel: its height and width, its centre `[row, column]` in it, and its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    size: [usize; 2],
    centre: [usize; 2],
    mask: Mask,
}

impl Kernel {
    /// `size` rows and columns around the pixel.
    pub(crate) fn around(size: [usize; 2], mask: Mask) -> Kernel {
        Kernel { size, centre: size.map(|side| side / 2), mask }
    }

    /// `side` × `side` around the pixel.
    pub(crate) fn square(side: usize, mask: Mask) -> Kernel {
        Kernel::around([side; 2], mask)
    }

    /// The rows of a square of `side` up to that of the pixel.
    pub(crate) fn rows(side: usize, mask: Mask) -> Kernel {
        Kernel { size: [side / 2 + 1, side], centre: [side / 2; 2], mask }
    }

    /// The pixels of a square of `side` in the row of the pixel and up to it.
    pub(crate) fn row(side: usize, mask: Mask) -> Kernel {
        Kernel { size: [1, side / 2 + 1], centre: [0, side / 2], mask }
    }

    /// Elements that take part, counted row by row, where the centre is read at all or in part.
    fn active_taps(self, channels: usize) -> usize {
        let Kernel { size: [_, width], centre: [row, column], mask } = self;
        match mask {
            Mask::Above => row * width,
            Mask::Row => (row + 1) * width,
            // With one channel the centre is not read at all.
            Mask::A if channels == 1 => row * width + column,
            Mask::A | Mask::B => row * width + column + 1,
        }
    }
}

/// A convolution under a [`Mask`].
#[derive(Module, Debug)]
pub(crate) struct MaskedConv2d {
    /// `[kernel_height, kernel_width, inputs, outputs]`; what is masked stays as it was drawn and is never read.
    pub(crate) weight: Param<Tensor<4>>,
    /// `[outputs]`.
    pub(crate) bias: Param<Tensor<1>>,
    /// The factor, 0 or 1, of each number of the weight; none where whole elements are masked.
    #[module(skip)]
    mask: Option<Tensor<4>>,
    #[module(skip)]
    options: ConvOptions,
}

impl MaskedConv2d {
    /// Makes a convolution for images of `channels` channels. The outputs are `parts` times as many as the features that are divided
    /// into groups: a gate has two parts, of which each is divided. Weights are drawn from `initializer`, for the inputs that are read;
    /// biases are zero.
    pub(crate) fn new(
        kernel: Kernel,
        [inputs, outputs]: [usize; 2],
        parts: usize,
        initializer: Initializer,
        channels: usize,
        init: &mut Init,
    ) -> MaskedConv2d {
        let active = kernel.active_taps(channels);
        let [height, width] = kernel.size;
        let (shape, read) = ([height, width, inputs, outputs], active.max(1));
        let weight = init.weight(shape, read * inputs, read * outputs, initializer);
        let padding = [0, 1].map(|axis| [kernel.centre[axis], kernel.size[axis] - 1 - kernel.centre[axis]]);
        let options = ConvOptions { padding, active_taps: Some(active), ..ConvOptions::default() };
        let groups = match kernel.mask {
            Mask::A if channels > 1 => Some(GroupMask::Before),
            Mask::B if channels > 1 => Some(GroupMask::Own),
            _ => None,
        };
        let mask = groups.map(|groups| {
            let element = inputs * outputs;
            init.fixed(shape, || {
                let mut mask = vec![1.0; height * width * element];
                mask[(active - 1) * element..active * element].copy_from_slice(&groups.factors(
                    [inputs, outputs],
                    parts,
                    channels,
                ));
                mask
            })
        });
        MaskedConv2d { weight, bias: init.constant([outputs], 0.0), mask, options }
    }

    /// Applies the convolution, then `activation`: `[batch, height, width, inputs]` to `[batch, height, width, outputs]`.
    ///
    /// # Panics
    ///
    /// When `x` does not have `inputs` channels.
    pub(crate) fn forward(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        let [height, width, inputs, outputs] = self.weight.dims();
        let (weight, bias) = (self.masked_weight(), Some(self.bias.val()));
        if [height, width] == [1, 1] {
            return linear(x, weight.reshape([inputs, outputs]), bias, activation);
        }
        activate(conv2d(x, weight, bias, &self.options), activation)
    }

    /// How its kernel moves, and how many of its taps are active.
    pub(crate) fn options(&self) -> &ConvOptions {
        &self.options
    }

    /// The weight with zeros where it is masked.
    pub(crate) fn masked_weight(&self) -> Tensor<4> {
        match &self.mask {
            Some(mask) => self.weight.val() * mask.clone(),
            None => self.weight.val(),
        }
    }
}
