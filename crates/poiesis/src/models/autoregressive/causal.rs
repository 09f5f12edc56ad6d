//! Convolutions whose results depend on earlier numbers of an image alone (van den Oord et al. 2016, arXiv:1601.06759, §3.4).
//!
//! An image is read row by row, and the channels of a pixel one after another. So that the features of a pixel know which
//! channels they may depend on, they are divided into as many groups as there are channels, in that order.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use poiesis_kernels::{ConvOptions, conv2d};

use crate::nn::Init;

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

/// The group, of `channels`, that feature `index` of `features` belongs to: each group is contiguous.
pub(crate) fn group(index: usize, features: usize, channels: usize) -> usize {
    index * channels / features
}

/// A convolution under a [`Mask`].
#[derive(Module, Debug)]
pub(crate) struct MaskedConv2d {
    /// `[kernel_height, kernel_width, inputs, outputs]`; what is masked stays as it was drawn and is never read.
    pub(crate) weight: Param<Tensor<4>>,
    /// `[outputs]`.
    pub(crate) bias: Param<Tensor<1>>,
    /// The factor, 0 or 1, of each number of the weight from the centre on; none where whole elements are masked.
    #[module(skip)]
    mask: Option<Vec<f32>>,
    #[module(skip)]
    options: ConvOptions,
}

impl MaskedConv2d {
    /// Makes a convolution with a kernel of the given height and width and its centre at `[row, column]`, for images of
    /// `channels` channels. The outputs are `parts` times as many as the features that are divided into groups: a gate has two
    /// parts, of which each is divided. Weights are drawn from N(0, `gain`² / inputs of an output), biases are zero.
    pub(crate) fn new(
        kernel: [usize; 2],
        centre: [usize; 2],
        [inputs, outputs]: [usize; 2],
        parts: usize,
        mask: Mask,
        gain: f64,
        channels: usize,
        init: &mut Init,
    ) -> MaskedConv2d {
        let [above, before] = [centre[0] * kernel[1], centre[0] * kernel[1] + centre[1]];
        let passes = |input: usize, output: usize| {
            let features = outputs / parts;
            let (from, to) = (group(input, inputs, channels), group(output % features, features, channels));
            from < to || (from == to && mask == Mask::B)
        };
        // With one channel the centre is read wholly or not at all.
        let (live, mask) = match (channels, mask) {
            (_, Mask::Above) => (above, None),
            (_, Mask::Row) => (above + kernel[1], None),
            (1, Mask::A) => (before, None),
            (1, Mask::B) => (before + 1, None),
            _ => {
                let pairs = (0..inputs).flat_map(|input| (0..outputs).map(move |output| (input, output)));
                let centre = pairs.map(|(input, output)| f32::from(passes(input, output)));
                let ones = std::iter::repeat_n(1.0, before * inputs * outputs);
                let rest = (kernel[0] * kernel[1] - before - 1) * inputs * outputs;
                (before + 1, Some(ones.chain(centre).chain(std::iter::repeat_n(0.0, rest)).collect()))
            }
        };
        let fan_in = live.max(1) * inputs;
        let shape = [kernel[0], kernel[1], inputs, outputs];
        let weight = init.normal(shape, 0.0, gain / (fan_in as f64).sqrt());
        let padding = [0, 1].map(|axis| [centre[axis], kernel[axis] - 1 - centre[axis]]);
        let options = ConvOptions { padding, live: Some(live), ..ConvOptions::default() };
        MaskedConv2d { weight, bias: init.constant([outputs], 0.0), mask, options }
    }

    /// Applies the convolution, `[batch, height, width, inputs]` to `[batch, height, width, outputs]`.
    ///
    /// # Panics
    ///
    /// When `x` does not have `inputs` channels.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv2d(x, self.masked_weight(), Some(self.bias.val()), &self.options)
    }

    /// The weight with zeros where it is masked.
    pub(crate) fn masked_weight(&self) -> Tensor<4> {
        let weight = self.weight.val();
        let Some(mask) = &self.mask else { return weight };
        let mask = TensorData::new(mask.clone(), weight.dims());
        let device = weight.device();
        weight * Tensor::from_data(mask, &device)
    }
}
