//! Differentiable augmentation whose strength follows the data: every image that the discriminator sees is changed at random, real or
//! generated, so that it cannot learn a small set of images by heart.
//!
//! The changes are those of Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training", arXiv:2006.10738: colour,
//! translation, cutout. Each is applied to an image with a probability p, which is raised while the discriminator tells the two apart
//! too easily, and lowered otherwise (Karras et al. 2020, "Training generative adversarial networks with limited data",
//! arXiv:2006.06676, §3.1).

use burn::module::{Module, RunningState};
use burn::tensor::{Device, Tensor, TensorData};

use super::R3GanConfig;
use crate::nn::Init;

/// Random numbers for each image.
pub(super) const DRAWS: usize = 10;

/// Changes images with a probability that adapts.
#[derive(Module, Debug)]
pub struct Augmentation {
    /// p.
    probability: RunningState<Tensor<1>>,
    #[module(skip)]
    target: f64,
    #[module(skip)]
    images: f64,
}

impl Augmentation {
    pub(super) fn new(config: &R3GanConfig, init: &mut Init) -> Augmentation {
        let device = init.device().clone().inner();
        Augmentation {
            probability: RunningState::new(Tensor::zeros([1], &device)),
            target: config.augment_target,
            images: config.augment_images as f64,
        }
    }

    /// The probability of each change.
    pub fn probability(&self) -> f64 {
        self.probability.value().into_scalar::<f64>()
    }

    /// Changes each image by its [`DRAWS`] numbers of `uniform`, from [0, 1).
    ///
    /// # Shapes
    ///
    /// `[batch, height, width, channels]` in [-1, 1] to the same.
    pub(super) fn apply(&self, x: Tensor<4>, uniform: &[f32]) -> Tensor<4> {
        let p = self.probability() as f32;
        if p == 0.0 {
            return x;
        }
        let [batch, height, width, _] = x.dims();
        assert_eq!(uniform.len(), batch * DRAWS, "random numbers for {batch} images");
        let changes: Vec<Change> =
            uniform.chunks(DRAWS).map(|draws| Change::drawn(draws, p, [height, width])).collect();
        let x = recoloured(x, &changes);
        let x = moved(x, &changes);
        cut(x, &changes)
    }

    /// Raises p when real images get the higher logit in so many more pairs than not, on average of `excess`, that it is above the
    /// target, and lowers it otherwise: from 0 to 1 in `augment_images` images.
    pub(super) fn adapt(&self, excess: f64, batch: usize) {
        if self.target == 0.0 {
            return;
        }
        let change = (excess - self.target).signum() * batch as f64 / self.images;
        let p = (self.probability() + change).clamp(0.0, 1.0);
        let device = self.probability.value().device();
        self.probability.update(Tensor::from_data(TensorData::new(vec![p as f32], [1]), &device));
        // The running state returns an update only after it was read once, so read it here.
        self.probability.value_sync();
    }
}

/// How an image is changed.
struct Change {
    /// Added to all values.
    brightness: f32,
    /// Multiplies the distance of a pixel's values from their mean.
    saturation: f32,
    /// Multiplies the distance of all values from their mean.
    contrast: f32,
    /// Rows and columns by which it moves down and right.
    shift: [isize; 2],
    /// The first row and column, and those after the last, that are set to grey.
    cutout: Option<[[isize; 2]; 2]>,
}

impl Change {
    fn drawn(u: &[f32], p: f32, sides: [usize; 2]) -> Change {
        let (colour, move_it, cut_it) = (u[0] < p, u[4] < p, u[7] < p);
        let when = |on: bool, value: f32, otherwise: f32| if on { value } else { otherwise };
        // Up to an eighth of each side, either way.
        let shift = |u: f32, side: usize| {
            let most = (side / 8) as isize;
            if move_it { (u * (2 * most + 1) as f32) as isize - most } else { 0 }
        };
        // Half of each side, around any pixel.
        let from_to = |u: f32, side: usize| {
            let first = (u * side as f32) as isize - (side / 4) as isize;
            [first, first + (side / 2) as isize]
        };
        Change {
            brightness: when(colour, u[1] - 0.5, 0.0),
            saturation: when(colour, 2.0 * u[2], 1.0),
            contrast: when(colour, u[3] + 0.5, 1.0),
            shift: [shift(u[5], sides[0]), shift(u[6], sides[1])],
            cutout: cut_it.then(|| [from_to(u[8], sides[0]), from_to(u[9], sides[1])]),
        }
    }
}

/// One number for each image, for all its values.
fn each(changes: &[Change], number: impl Fn(&Change) -> f32, device: &Device) -> Tensor<4> {
    let values = changes.iter().map(number).collect();
    Tensor::from_data(TensorData::new(values, [changes.len(), 1, 1, 1]), device)
}

fn recoloured(x: Tensor<4>, changes: &[Change]) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let device = x.device();
    let each = |number: fn(&Change) -> f32| each(changes, number, &device);
    let x = x + each(|change| change.brightness);
    let grey = x.clone().mean_dim(3);
    let x = (x - grey.clone()) * each(|change| change.saturation) + grey;
    let mean = x.clone().reshape([batch, height * width * channels]).mean_dim(1).reshape([batch, 1, 1, 1]);
    (x - mean.clone()) * each(|change| change.contrast) + mean
}

fn moved(x: Tensor<4>, changes: &[Change]) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let device = x.device();
    let matrices = |axis: usize, side: usize| {
        let matrix = |change: &Change| {
            let entry =
                move |to: usize, from: usize| f32::from(to as isize - from as isize == change.shift[axis]);
            (0..side).flat_map(move |to| (0..side).map(move |from| entry(to, from))).collect::<Vec<_>>()
        };
        TensorData::new(changes.iter().flat_map(matrix).collect(), [batch, side, side])
    };
    let rows = Tensor::<3>::from_data(matrices(0, height), &device);
    let x = rows.matmul(x.reshape([batch, height, width * channels]));
    let columns = Tensor::<3>::from_data(matrices(1, width), &device).unsqueeze_dim::<4>(1);
    columns.expand([batch, height, width, width]).matmul(x.reshape([batch, height, width, channels]))
}

fn cut(x: Tensor<4>, changes: &[Change]) -> Tensor<4> {
    let [batch, height, width, _] = x.dims();
    let mut kept = Vec::with_capacity(batch * height * width);
    for change in changes {
        let inside = |at: usize, [first, end]: [isize; 2]| (first..end).contains(&(at as isize));
        let is_cut = |row, column| {
            change.cutout.is_some_and(|[rows, columns]| inside(row, rows) && inside(column, columns))
        };
        for row in 0..height {
            kept.extend((0..width).map(|column| f32::from(!is_cut(row, column))));
        }
    }
    let kept = Tensor::from_data(TensorData::new(kept, [batch, height, width, 1]), &x.device());
    x * kept
}
