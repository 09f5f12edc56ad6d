//! The network value by value: the features of new pixels are computed from those that are kept of earlier ones.

use std::ops::Range;

use poiesis_kernels::inference;

use super::{PixelCnnNetwork, Residual};
use crate::data::ImageShape;
use crate::models::autoregressive::causal::features_of;
use crate::models::autoregressive::columns::{Columns, PackedConv, PackedHead, Places, columns};
use crate::models::autoregressive::image_model::rows_of_classes;
use crate::models::autoregressive::pixels::Pixels;
use crate::nn::Activation;

/// The network for some images side by side, with the features it keeps of them.
pub struct Cached {
    first: PackedConv,
    /// What a class adds to each channel's group of the first features, `[images, features of the group]`; empty without classes.
    class: Vec<Vec<f32>>,
    blocks: Vec<CachedResidual>,
    head: PackedHead,
    /// The features of each group between blocks, at the pixels that are computed.
    h: Vec<Vec<f32>>,
}

/// A residual block, with the features it keeps.
struct CachedResidual {
    narrow: PackedConv,
    around: PackedConv,
    widen: PackedConv,
    width: usize,
    groups: usize,
    /// What the 1×1 convolutions read of a row, `[images, width, features]`.
    before: Vec<f32>,
    after: Vec<f32>,
    /// What the convolution under the mask reads, `[images, height, width, h]`.
    inside: Vec<f32>,
    rows: Vec<f32>,
}

impl Cached {
    pub(super) fn new(network: &PixelCnnNetwork, pixels: &Pixels, classes: &[Option<u32>]) -> Cached {
        let ImageShape { height, width: row, channels: groups } = pixels.shape;
        let images = classes.len();
        let class = network.class.as_ref().map(|table| {
            let (rows, features) = (rows_of_classes(table, classes), table.dims()[1]);
            let of_group =
                |group| rows.chunks_exact(features).flat_map(|row| columns(row, 1, group, groups)).collect();
            (0..groups).map(of_group).collect()
        });
        let blocks = network.blocks.iter().map(|block| CachedResidual::new(block, pixels, images));
        Cached {
            first: PackedConv::new(&network.first, [height, row], 1, groups),
            class: class.unwrap_or_default(),
            blocks: blocks.collect(),
            head: PackedHead::new([&network.hidden, &network.output], images, row, groups),
            h: vec![Vec::new(); groups],
        }
    }
}

impl Columns for Cached {
    fn begin_row(&mut self, _x: &[f32], _y: usize) {}

    fn logits(&mut self, x: &[f32], places: &Places, channels: Range<usize>, logits: &mut Vec<f32>) {
        for channel in channels.clone() {
            let h = &mut self.h[channel];
            self.first.forward(x, places, channel, h);
            if let Some(class) = self.class.get(channel) {
                let features = class.len() / places.maps;
                for (number, row) in h.chunks_exact_mut(features).enumerate() {
                    let image = number / places.xs.len();
                    inference::add(row, &class[image * features..(image + 1) * features]);
                }
            }
        }
        for block in &mut self.blocks {
            channels.clone().for_each(|channel| block.read(places, channel, &self.h[channel]));
            channels.clone().for_each(|channel| block.add(places, channel, &mut self.h[channel]));
        }
        for channel in channels {
            self.head.forward(&mut self.h[channel], places, channel, logits);
        }
    }
}

impl CachedResidual {
    fn new(block: &Residual, pixels: &Pixels, images: usize) -> CachedResidual {
        let ImageShape { height, width: row, channels: groups } = pixels.shape;
        let width = block.around.weight.dims()[2];
        let zeros = |pixels: usize, features: usize| vec![0.0; images * pixels * features];
        CachedResidual {
            narrow: PackedConv::new(&block.narrow, [1, row], 1, groups),
            around: PackedConv::new(&block.around, [height, row], 1, groups),
            widen: PackedConv::new(&block.widen, [1, row], 1, groups),
            width,
            groups,
            before: zeros(row, 2 * width),
            after: zeros(row, width),
            inside: zeros(height * row, width),
            rows: Vec::new(),
        }
    }

    /// Keeps what the convolution under the mask reads, from the features `h` of a group.
    fn read(&mut self, places: &Places, group: usize, h: &[f32]) {
        let (row, rows, both) = (places.in_row(), &mut self.rows, 2 * self.width);
        rows.clear();
        rows.extend_from_slice(h);
        inference::activate(rows, Activation::Relu);
        row.scatter(rows, &mut self.before, both, features_of(group, both, self.groups));
        self.narrow.forward(&self.before, &row, group, rows);
        inference::activate(rows, Activation::Relu);
        places.scatter(rows, &mut self.inside, self.width, features_of(group, self.width, self.groups));
    }

    /// Adds what the block adds to the features of a group.
    fn add(&mut self, places: &Places, group: usize, h: &mut [f32]) {
        let (row, rows) = (places.in_row(), &mut self.rows);
        self.around.forward(&self.inside, places, group, rows);
        inference::activate(rows, Activation::Relu);
        row.scatter(rows, &mut self.after, self.width, features_of(group, self.width, self.groups));
        self.widen.forward(&self.after, &row, group, rows);
        inference::add(h, rows);
    }
}
