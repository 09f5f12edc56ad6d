//! Reading images value by value: of each layer the features of the new pixel alone are computed, from those that are kept of
//! the pixels before it.
//!
//! All pixels of a row at once, where their values are known, go through the same code; as each result is one chain of operations
//! whatever is computed beside it, they have the same bits.

use std::ops::Range;

use burn::tensor::Tensor;
use poiesis_kernels::Activation;
use poiesis_kernels::inference::{PackedLinear, Rows, Window, activate, log_softmax};
use rayon::prelude::*;

use super::causal::{MaskedConv2d, features_of};
use super::pixels::{PixelDistribution, Pixels};
use crate::abilities::IncrementalDecoder;

/// Sequences that are computed together on a thread.
const TOGETHER: usize = 8;

/// Pixels of one row, the same ones of several maps that lie one after another.
#[derive(Clone, Debug)]
pub struct Places {
    /// How many maps there are.
    pub maps: usize,
    /// Rows of a map, and pixels in a row.
    pub size: [usize; 2],
    /// The row.
    pub y: usize,
    /// The pixels in it.
    pub xs: Range<usize>,
}

impl Places {
    /// How many pixels there are in all.
    pub(crate) fn count(&self) -> usize {
        self.maps * self.xs.len()
    }

    /// The map and the column of each.
    fn each(&self) -> impl Iterator<Item = (usize, usize)> {
        let xs = self.xs.clone();
        (0..self.maps).flat_map(move |map| xs.clone().map(move |x| (map, x)))
    }

    /// The number of each among all pixels of all maps.
    fn numbers(&self) -> impl Iterator<Item = usize> {
        let ([height, width], y) = (self.size, self.y);
        self.each().map(move |(map, x)| (map * height + y) * width + x)
    }

    /// For each pixel the numbers of those that are so many rows above it and columns to its right; none outside of its map.
    pub(crate) fn neighbours(&self, offsets: &[[isize; 2]]) -> impl Iterator<Item = Option<usize>> {
        let ([height, width], y) = (self.size, self.y);
        self.each().flat_map(move |(map, x)| {
            offsets.iter().map(move |&[above, right]| {
                let row = y.checked_add_signed(-above).filter(|&row| row < height)?;
                let column = x.checked_add_signed(right).filter(|&column| column < width)?;
                Some((map * height + row) * width + column)
            })
        })
    }

    /// The same pixels of maps that keep one row.
    pub(crate) fn in_row(&self) -> Places {
        Places { size: [1, self.size[1]], y: 0, ..self.clone() }
    }

    /// Copies the features `columns` of these pixels from `map`, of `features` features, to `rows`.
    pub(crate) fn gather(&self, map: &[f32], features: usize, columns: Range<usize>, rows: &mut Vec<f32>) {
        rows.clear();
        for number in self.numbers() {
            rows.extend_from_slice(&map[number * features..][columns.clone()]);
        }
    }

    /// Copies `rows` to the features `columns` of these pixels of `map`, of `features` features.
    pub(crate) fn scatter(&self, rows: &[f32], map: &mut [f32], features: usize, columns: Range<usize>) {
        for (number, row) in self.numbers().zip(rows.chunks_exact(columns.len())) {
            map[number * features..][columns.clone()].copy_from_slice(row);
        }
    }
}

/// A convolution for the features of a group at some pixels.
#[derive(Clone, Debug)]
pub(crate) struct PackedConv {
    window: Window,
    inputs: usize,
    groups: Vec<PackedLinear>,
    starts: Vec<Option<usize>>,
}

impl PackedConv {
    /// Packs `conv` for maps of `size` rows and columns, its outputs divided into `groups` as they were made.
    pub(crate) fn new(conv: &MaskedConv2d, size: [usize; 2], parts: usize, groups: usize) -> PackedConv {
        let [height, width, inputs, outputs] = conv.weight.dims();
        let window = Window::new([size[0], size[1], inputs], [height, width], conv.options());
        let active = conv.options().active_taps.unwrap_or(height * width) * inputs;
        let (weight, bias) = (tensor_values(conv.masked_weight()), tensor_values(conv.bias.val()));
        let group =
            |group| pack(&weight[..active * outputs], Some(&bias), [active, outputs], parts, group, groups);
        PackedConv { window, inputs, groups: (0..groups).map(group).collect(), starts: Vec::new() }
    }

    /// The outputs of `group` at `places` of `map`, one row after another: all parts' features side by side.
    pub(crate) fn forward(&mut self, map: &[f32], places: &Places, group: usize, out: &mut Vec<f32>) {
        out.clear();
        out.resize(places.count() * self.groups[group].outputs(), 0.0);
        self.gather(places);
        self.groups[group].forward(Rows::pieces(map, self.inputs, &self.starts), out.as_mut_slice());
    }

    /// Adds them, without the bias, to what is in `out`.
    pub(crate) fn forward_add(&mut self, map: &[f32], places: &Places, group: usize, out: &mut [f32]) {
        self.gather(places);
        self.groups[group].forward_add(Rows::pieces(map, self.inputs, &self.starts), out);
    }

    fn gather(&mut self, places: &Places) {
        self.starts.clear();
        for (map, x) in places.each() {
            self.starts.extend(self.window.starts(map, [places.y, x]));
        }
    }
}

/// Packs those columns of a weight `[inputs, outputs]` that belong to `group` of `groups`, of all parts.
pub(crate) fn pack(
    weight: &[f32],
    bias: Option<&[f32]>,
    [inputs, outputs]: [usize; 2],
    parts: usize,
    group: usize,
    groups: usize,
) -> PackedLinear {
    let weight: Vec<f32> =
        weight.chunks_exact(outputs).flat_map(|row| columns(row, parts, group, groups)).collect();
    let bias: Option<Vec<f32>> = bias.map(|bias| columns(bias, parts, group, groups).collect());
    let outputs = weight.len() / inputs;
    PackedLinear::new(&weight, bias.as_deref(), inputs, outputs)
}

/// Those of a row's numbers that belong to `group` of `groups`, of all parts.
pub(crate) fn columns(row: &[f32], parts: usize, group: usize, groups: usize) -> impl Iterator<Item = f32> {
    let features = row.len() / parts;
    let own = features_of(group, features, groups);
    row.chunks_exact(features).flat_map(move |part| part[own.clone()].iter().copied())
}

/// The values of a tensor.
pub(crate) fn tensor_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The two 1×1 layers at the end, each behind a ReLU.
#[derive(Clone, Debug)]
pub(crate) struct PackedHead {
    hidden: PackedConv,
    output: PackedConv,
    width: usize,
    features: usize,
    groups: usize,
    /// What both layers read of a row, `[maps, pixels, features]`.
    maps: [Vec<f32>; 2],
    rows: Vec<f32>,
}

impl PackedHead {
    /// Packs both layers for `maps` images with rows of `width` pixels and `groups` channels.
    pub(crate) fn new(
        [hidden, output]: [&MaskedConv2d; 2],
        maps: usize,
        width: usize,
        groups: usize,
    ) -> PackedHead {
        let [_, _, inputs, features] = hidden.weight.dims();
        let pack = |conv| PackedConv::new(conv, [1, width], 1, groups);
        let (hidden, output) = (pack(hidden), pack(output));
        let maps = [inputs, features].map(|features| vec![0.0; maps * width * features]);
        PackedHead { hidden, output, width: inputs, features, groups, maps, rows: Vec::new() }
    }

    /// Adds the logits of a channel, from its group of features `h` at pixels of a row, which are used up.
    pub(crate) fn forward(&mut self, h: &mut [f32], places: &Places, group: usize, logits: &mut Vec<f32>) {
        let places = places.in_row();
        let [first, second] = &mut self.maps;
        activate(h, Activation::Relu);
        places.scatter(h, first, self.width, features_of(group, self.width, self.groups));
        self.hidden.forward(first, &places, group, &mut self.rows);
        activate(&mut self.rows, Activation::Relu);
        places.scatter(&self.rows, second, self.features, features_of(group, self.features, self.groups));
        self.output.forward(second, &places, group, &mut self.rows);
        logits.extend_from_slice(&self.rows);
    }
}

/// What a network computes for the pixels of a row, given those before: of several images side by side.
pub trait Columns: Send {
    /// Prepares row `y` of all images, whose earlier rows are in `x [maps, height, width, channels]`.
    fn begin_row(&mut self, x: &[f32], y: usize);

    /// Adds to `logits` those of `channels` at pixels of that row, channel by channel, one pixel after another. Whatever is before
    /// the first of them is in `x` and has been asked for; of several pixels all channels are asked for at once, and are in `x`.
    fn logits(&mut self, x: &[f32], places: &Places, channels: Range<usize>, logits: &mut Vec<f32>);
}

/// Images that are read side by side.
pub(crate) struct PixelDecoder<C> {
    pixels: Pixels,
    parts: Vec<Part<C>>,
    place: usize,
    log_probs: Vec<f32>,
    known: bool,
}

/// Images that are computed together.
struct Part<C> {
    columns: C,
    maps: usize,
    x: Vec<f32>,
    logits: Vec<f32>,
    log_probs: Vec<f32>,
}

impl<C: Columns> Part<C> {
    fn new(pixels: &Pixels, maps: usize, columns: C) -> Part<C> {
        let x = vec![0.0; maps * pixels.shape.dims()];
        Part { columns, maps, x, logits: Vec::new(), log_probs: Vec::new() }
    }

    fn places(&self, pixels: &Pixels, y: usize, xs: Range<usize>) -> Places {
        Places { maps: self.maps, size: [pixels.shape.height, pixels.shape.width], y, xs }
    }

    /// The log_probs of value number `place` of each image.
    fn read(&mut self, pixels: &Pixels, place: usize) {
        let (pixel, channel) = (place / pixels.shape.channels, place % pixels.shape.channels);
        let (y, x) = (pixel / pixels.shape.width, pixel % pixels.shape.width);
        if x == 0 && channel == 0 {
            self.columns.begin_row(&self.x, y);
        }
        let places = self.places(pixels, y, x..x + 1);
        self.logits.clear();
        self.columns.logits(&self.x, &places, channel..channel + 1, &mut self.logits);
        self.log_probs.clear();
        log_probs(pixels, &self.logits, &mut self.log_probs);
    }

    /// The log_probs of all values of images that are in `x`: `[maps, dims, levels]`.
    fn read_all(&mut self, pixels: &Pixels, out: &mut [f32]) {
        let shape = pixels.shape;
        let levels = pixels.levels();
        for y in 0..shape.height {
            self.columns.begin_row(&self.x, y);
            let places = self.places(pixels, y, 0..shape.width);
            // All channels of a layer come before the next layer, which reads those of neighbours.
            self.logits.clear();
            self.columns.logits(&self.x, &places, 0..shape.channels, &mut self.logits);
            self.log_probs.clear();
            log_probs(pixels, &self.logits, &mut self.log_probs);
            let each = self.log_probs.chunks_exact(places.count() * levels).enumerate();
            for (channel, of_channel) in each {
                for (number, row) in places.numbers().zip(of_channel.chunks_exact(levels)) {
                    out[(number * shape.channels + channel) * levels..][..levels].copy_from_slice(row);
                }
            }
        }
    }
}

impl<C: Columns> PixelDecoder<C> {
    /// Begins `count` images; `columns` makes the network for a range of them.
    pub(crate) fn new(pixels: Pixels, count: usize, columns: impl Fn(Range<usize>) -> C) -> PixelDecoder<C> {
        let part = |first: usize| {
            let range = first..count.min(first + TOGETHER);
            Part::new(&pixels, range.len(), columns(range))
        };
        let parts = (0..count).step_by(TOGETHER).map(part).collect();
        PixelDecoder { pixels, parts, place: 0, log_probs: Vec::new(), known: false }
    }
}

impl<C: Columns> IncrementalDecoder for PixelDecoder<C> {
    fn log_probs(&mut self) -> &[f32] {
        let (pixels, place) = (self.pixels, self.place);
        assert!(place < pixels.shape.dims(), "an image of {} values has no more", pixels.shape.dims());
        if !self.known {
            match self.parts.as_mut_slice() {
                [one] => one.read(&pixels, place),
                parts => parts.par_iter_mut().for_each(|part| part.read(&pixels, place)),
            }
            self.log_probs.clear();
            self.parts.iter().for_each(|part| self.log_probs.extend_from_slice(&part.log_probs));
            self.known = true;
        }
        &self.log_probs
    }

    fn append(&mut self, values: &[u32]) {
        let (pixels, dims) = (self.pixels, self.pixels.shape.dims());
        let count: usize = self.parts.iter().map(|part| part.maps).sum();
        assert_eq!(values.len(), count, "{} values for {count} images", values.len());
        // Features that were not asked for would be missing at later pixels.
        self.log_probs();
        let mut values = values.iter();
        for part in &mut self.parts {
            for (image, &value) in part.x.chunks_exact_mut(dims).zip(&mut values) {
                assert!((value as usize) < pixels.levels(), "value {value} of {} levels", pixels.levels());
                image[self.place] = pixels.input(value);
            }
        }
        self.place += 1;
        self.known = false;
    }
}

/// The log_probs of all values of whole images, `[images, dims, levels]`.
pub(crate) fn all_log_probs<C: Columns>(
    pixels: Pixels,
    images: &[&[u32]],
    columns: impl Fn(Range<usize>) -> C + Sync,
) -> Vec<f32> {
    let dims = pixels.shape.dims();
    let mut log_probs = vec![0.0; images.len() * dims * pixels.levels()];
    let parts = log_probs.par_chunks_mut(TOGETHER * dims * pixels.levels()).zip(images.par_chunks(TOGETHER));
    parts.enumerate().for_each(|(part, (log_probs, images))| {
        let first = part * TOGETHER;
        let mut part = Part::new(&pixels, images.len(), columns(first..first + images.len()));
        for (x, image) in part.x.chunks_exact_mut(dims).zip(images) {
            assert_eq!(image.len(), dims, "an image of {} values has {dims}", image.len());
            x.iter_mut().zip(*image).for_each(|(x, &value)| *x = pixels.input(value));
        }
        part.read_all(&pixels, log_probs);
    });
    log_probs
}

/// Adds the log-probabilities of the levels, given the logits of some values.
fn log_probs(pixels: &Pixels, logits: &[f32], log_probs: &mut Vec<f32>) {
    match pixels.distribution() {
        PixelDistribution::Binary => {
            // log p(0) = −softplus(logit), log p(1) = −softplus(−logit).
            log_probs.extend(logits.iter().flat_map(|&logit| [logit, -logit]));
            activate(log_probs, Activation::Softplus);
            log_probs.iter_mut().for_each(|log_prob| *log_prob = -*log_prob);
        }
        PixelDistribution::Softmax => {
            log_probs.extend_from_slice(logits);
            log_softmax(log_probs, pixels.levels());
        }
    }
}
