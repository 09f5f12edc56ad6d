//! The network: two streams through three sizes and back (§2.3).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{add, concat_elu, embedding, gate_halves};

use super::weight_norm::{Mode, Normed, Pass, Stream};
use super::{HALVINGS, PixelCnnPpConfig};
use crate::nn::{Activation, Init};

/// Deviation that data-dependent first values give to what a residual block adds, before its gate; 1 elsewhere.
const RESIDUAL: f64 = 0.1;
/// Deviation of the first values of class biases.
const CLASS: f64 = 0.05;

/// The streams through three sizes and back (§2.3).
#[derive(Module, Debug)]
pub struct Network {
    pub(super) input: Input,
    /// From the image to the smallest size.
    pub(super) shrinking: Vec<Size>,
    /// From the smallest size to the image.
    pub(super) growing: Vec<Size>,
    /// 1×1, to the parameters of the pixels.
    pub(super) output: Normed,
}

/// The first layers, in which a pixel begins to see those before it, and not itself.
#[derive(Module, Debug)]
pub(super) struct Input {
    /// Two rows above.
    pub(super) above: Normed,
    /// One row above.
    pub(super) row: Normed,
    /// The column to the left.
    pub(super) column: Normed,
}

/// What happens at one size on the way down or back.
#[derive(Module, Debug)]
pub(super) struct Size {
    pub(super) blocks: Vec<Pair>,
    /// To the next size.
    pub(super) next: Option<Resize>,
}

/// A residual block of each stream.
#[derive(Module, Debug)]
pub(super) struct Pair {
    pub(super) above: Residual,
    pub(super) before: Residual,
}

/// A strided or a transposed convolution of each stream.
#[derive(Module, Debug)]
pub(super) struct Resize {
    pub(super) above: Normed,
    pub(super) before: Normed,
}

/// Features at one size.
#[derive(Clone)]
struct Streams {
    pub(super) above: Features,
    pub(super) before: Features,
}

/// Features of one stream, as residual blocks add to them, and as layers read them.
#[derive(Clone)]
struct Features {
    /// `[batch, height, width, width of the stream]`.
    plain: Tensor<4>,
    /// The same and their negatives, through an ELU.
    active: Tensor<4>,
}

impl Features {
    fn new(plain: Tensor<4>) -> Features {
        Features { active: concat_elu(plain.clone()), plain }
    }
}

impl Network {
    pub(super) fn new(
        config: &PixelCnnPpConfig,
        channels: usize,
        classes: usize,
        init: &mut Init,
    ) -> Network {
        let width = config.width;
        let mut input = |stream, kernel| Normed::conv(stream, kernel, 1, channels + 1, width, init);
        let input = Input {
            above: input(Stream::Above, [2, 3]),
            row: input(Stream::Above, [1, 3]),
            column: input(Stream::Before, [2, 1]),
        };
        let mut blocks = |count, short_cuts: [usize; 2]| -> Vec<Pair> {
            let mut block = |stream, short_cut| Residual::new(stream, width, short_cut, classes, init);
            let pair = |_| Pair {
                above: block(Stream::Above, short_cuts[0]),
                before: block(Stream::Before, short_cuts[1]),
            };
            (0..count).map(pair).collect()
        };
        let mut shrinking: Vec<Size> = (0..=HALVINGS)
            .map(|_| Size { blocks: blocks(config.blocks, [0, 2 * width]), next: None })
            .collect();
        let mut growing: Vec<Size> = (0..=HALVINGS)
            .map(|size| {
                let count = config.blocks + usize::from(size > 0);
                Size { blocks: blocks(count, [2 * width, 4 * width]), next: None }
            })
            .collect();
        for size in 0..HALVINGS {
            let mut halve = |stream, kernel| Normed::conv(stream, kernel, 2, width, width, init);
            shrinking[size].next =
                Some(Resize { above: halve(Stream::Above, [2, 3]), before: halve(Stream::Before, [2, 2]) });
            let mut double = |stream, kernel| Normed::transposed(stream, kernel, width, init);
            growing[size].next =
                Some(Resize { above: double(Stream::Above, [2, 3]), before: double(Stream::Before, [2, 2]) });
        }
        let parameters = config.mixtures * (1 + 2 * channels + channels * (channels - 1) / 2);
        let output = Normed::conv(Stream::Above, [1, 1], 1, width, parameters, init);
        Network { input, shrinking, growing, output }
    }

    /// How many classes it is conditioned on.
    pub(super) fn classes(&self) -> usize {
        let class = &self.shrinking[0].blocks[0].above.class;
        class.as_ref().map_or(0, |table| table.dims()[0])
    }

    /// `[batch, height, width, channels]` to `[batch, height, width, parameters]`.
    pub(super) fn forward(&self, x: &Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let mut features = self.input.forward(x, pass);
        let mut passed = vec![features.clone()];
        for size in &self.shrinking {
            for pair in &size.blocks {
                features = pair.forward(&features, None, pass);
                passed.push(features.clone());
            }
            if let Some(halve) = &size.next {
                features = halve.forward(features, pass);
                passed.push(features.clone());
            }
        }
        // The smallest size goes back from where it is; everything before it comes in again as a short-cut.
        passed.pop();
        for size in &self.growing {
            for pair in &size.blocks {
                features = pair.forward(&features, passed.pop(), pass);
            }
            if let Some(double) = &size.next {
                features = double.forward(features, pass);
            }
        }
        let width = features.before.plain.dims()[3];
        // The first half of the active features is their ELU.
        self.output.forward(features.before.active.narrow(3, 0, width), pass)
    }
}

impl Input {
    fn forward(&self, x: &Tensor<4>, pass: &mut Pass) -> Streams {
        let [batch, height, width, channels] = x.dims();
        // A channel of ones tells the image from what lies around it.
        let x = Tensor::cat(vec![x.clone(), Tensor::ones([batch, height, width, 1], &x.device())], 3);
        let nothing = |shape| Tensor::zeros(shape, &x.device());
        let row = nothing([batch, 1, width, channels + 1]);
        let down = Tensor::cat(vec![row, x.clone().narrow(1, 0, height - 1)], 1);
        let column = nothing([batch, height, 1, channels + 1]);
        let right = Tensor::cat(vec![column, x.clone().narrow(2, 0, width - 1)], 2);
        let above = self.above.forward(down.clone(), pass);
        let before = add(self.row.forward(down, pass), self.column.forward(right, pass));
        Streams { above: Features::new(above), before: Features::new(before) }
    }
}

impl Pair {
    /// `passed` is what the mirror layer on the way down had.
    fn forward(&self, features: &Streams, passed: Option<Streams>, pass: &mut Pass) -> Streams {
        let (mirror_above, mirror_before) = passed.map(|p| (p.above.active, p.before.active)).unzip();
        let above = self.above.forward(&features.above, mirror_above.into_iter().collect(), pass);
        let beside = std::iter::once(above.active.clone()).chain(mirror_before).collect();
        let before = self.before.forward(&features.before, beside, pass);
        Streams { above, before }
    }
}

impl Resize {
    fn forward(&self, features: Streams, pass: &mut Pass) -> Streams {
        Streams {
            above: Features::new(self.above.forward(features.above.plain, pass)),
            before: Features::new(self.before.forward(features.before.plain, pass)),
        }
    }
}

/// x + a ⊙ σ(b), where a and b come from two convolutions with a dropout between them (§2.4).
#[derive(Module, Debug)]
pub(super) struct Residual {
    pub(super) first: Normed,
    /// 1×1, from active features that come in by a short-cut.
    pub(super) short_cut: Option<Normed>,
    /// To a and b.
    pub(super) second: Normed,
    /// What a class adds to a and b, `[classes, 2 · width]`.
    pub(super) class: Option<Param<Tensor<2>>>,
}

impl Residual {
    fn new(stream: Stream, width: usize, short_cut: usize, classes: usize, init: &mut Init) -> Residual {
        let kernel = match stream {
            Stream::Above => [2, 3],
            Stream::Before => [2, 2],
        };
        Residual {
            first: Normed::conv(stream, kernel, 1, 2 * width, width, init),
            short_cut: (short_cut > 0).then(|| Normed::conv(stream, [1, 1], 1, short_cut, width, init)),
            second: Normed {
                first_deviation: RESIDUAL,
                ..Normed::conv(stream, kernel, 1, 2 * width, 2 * width, init)
            },
            class: (classes > 0).then(|| init.normal([classes, 2 * width], 0.0, CLASS)),
        }
    }

    /// `short_cuts` are the active features that come in, if any do.
    fn forward(&self, x: &Features, short_cuts: Vec<Tensor<4>>, pass: &mut Pass) -> Features {
        let mut h = self.first.forward(x.active.clone(), pass);
        if let Some(layer) = &self.short_cut {
            h = add(h, layer.forward_side_by_side(short_cuts, pass));
        }
        let mut h = concat_elu(h);
        if let Mode::Dropout { part, noise } = &mut pass.mode {
            let kept = noise(h.dims()).greater_equal_elem(*part).float();
            h = h * (kept * (1.0 / (1.0 - *part)));
        }
        let mut h = self.second.forward(h, pass);
        if let (Some(table), Some(classes)) = (&self.class, &pass.classes) {
            let bias = embedding(table.val(), classes.clone());
            let [batch, _, width] = bias.dims();
            h = h + bias.reshape([batch, 1, 1, width]);
        }
        Features::new(add(x.plain.clone(), gate_halves(h, Activation::Identity, Activation::Sigmoid)))
    }
}
