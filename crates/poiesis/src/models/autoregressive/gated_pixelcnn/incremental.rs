//! The network value by value: the vertical stack is computed a row at a time, the horizontal one a pixel at a time, from the features
//! that are kept of earlier pixels.

use std::ops::Range;

use poiesis_kernels::inference::{self, PackedLinear};

use super::{GatedPixelCnnNetwork, Layer};
use crate::data::ImageShape;
use crate::models::autoregressive::causal::features_of;
use crate::models::autoregressive::columns::{
    Columns, PackedConv, PackedHead, Places, columns, pack, tensor_values,
};
use crate::models::autoregressive::image_model::rows_of_classes;
use crate::models::autoregressive::pixels::Pixels;
use crate::nn::Activation;

/// The network for some images side by side, with the features it keeps of them.
pub struct Cached {
    layers: Vec<CachedLayer>,
    head: PackedHead,
    /// The horizontal stack's features of each group, at the pixels that are computed.
    h: Vec<Vec<f32>>,
}

/// A layer, with the features it keeps.
struct CachedLayer {
    first: bool,
    /// Images, and their shape.
    maps: usize,
    shape: ImageShape,
    width: usize,
    vertical: PackedConv,
    /// For each group.
    link: Vec<PackedLinear>,
    horizontal: PackedConv,
    merge: PackedConv,
    /// What a class adds to the vertical stack, `[maps, 2 p]`; nothing without classes.
    class: Vec<f32>,
    /// For each group what the horizontal stack begins with, bias and class: `[maps, outputs of the group]`.
    begin: Vec<Vec<f32>>,
    /// The vertical stack's features, `[maps, height, width, p]`.
    v: Vec<f32>,
    /// For each group what the vertical stack adds to a row of the horizontal one, `[maps, width, outputs of the group]`.
    linked: Vec<Vec<f32>>,
    /// The horizontal stack's gated features and its outputs in a row, `[maps, width, p]`.
    gated: Vec<f32>,
    h: Vec<f32>,
    rows: Vec<f32>,
    gate: Vec<f32>,
}

impl Cached {
    pub(super) fn new(network: &GatedPixelCnnNetwork, pixels: &Pixels, classes: &[Option<u32>]) -> Cached {
        let layers = network.layers.iter().map(|layer| CachedLayer::new(layer, pixels, classes)).collect();
        let (maps, shape) = (classes.len(), pixels.shape);
        let head = PackedHead::new([&network.hidden, &network.output], maps, shape.width, shape.channels);
        Cached { layers, head, h: vec![Vec::new(); shape.channels] }
    }
}

impl Columns for Cached {
    fn begin_row(&mut self, x: &[f32], y: usize) {
        let mut v = x;
        for layer in &mut self.layers {
            layer.begin_row(v, y);
            v = &layer.v;
        }
    }

    fn logits(&mut self, x: &[f32], places: &Places, channels: Range<usize>, logits: &mut Vec<f32>) {
        let (row, mut input, mut place) = (places.in_row(), x, places);
        for layer in &mut self.layers {
            for channel in channels.clone() {
                layer.columns(input, place, channel, &mut self.h[channel]);
            }
            (input, place) = (&layer.h, &row);
        }
        for channel in channels {
            self.head.forward(&mut self.h[channel], places, channel, logits);
        }
    }
}

impl CachedLayer {
    fn new(layer: &Layer, pixels: &Pixels, classes: &[Option<u32>]) -> CachedLayer {
        let ImageShape { height, width: row, channels: groups } = pixels.shape;
        let (maps, width) = (classes.len(), layer.merge.weight.dims()[2]);
        let both = 2 * width;
        let mut left = tensor_values(layer.horizontal.bias.val()).repeat(maps);
        let mut class = Vec::new();
        if let Some(bias) = &layer.class {
            inference::add(&mut left, &rows_of_classes(&bias.horizontal, classes));
            class = rows_of_classes(&bias.vertical, classes);
        }
        let of_group =
            |group| left.chunks_exact(both).flat_map(|row| columns(row, 2, group, groups)).collect();
        let begin: Vec<Vec<f32>> = (0..groups).map(of_group).collect();
        let link = tensor_values(layer.link.weight());
        // The first layer reads the image, later ones a row of features.
        let rows = if layer.first { height } else { 1 };
        CachedLayer {
            first: layer.first,
            maps,
            shape: pixels.shape,
            width,
            vertical: PackedConv::new(&layer.vertical, [height, row], 1, 1),
            link: (0..groups).map(|group| pack(&link, None, [both, both], 2, group, groups)).collect(),
            horizontal: PackedConv::new(&layer.horizontal, [rows, row], 2, groups),
            merge: PackedConv::new(&layer.merge, [1, row], 1, groups),
            class,
            linked: begin.iter().map(|begin| vec![0.0; begin.len() * row]).collect(),
            begin,
            v: vec![0.0; maps * height * row * width],
            gated: vec![0.0; maps * row * width],
            h: vec![0.0; maps * row * width],
            rows: Vec::new(),
            gate: Vec::new(),
        }
    }

    /// The vertical stack's features of row `y`, from those of the layer below, and what they add to the horizontal stack.
    fn begin_row(&mut self, below: &[f32], y: usize) {
        let ImageShape { height, width: row, .. } = self.shape;
        let places = Places { maps: self.maps, size: [height, row], y, xs: 0..row };
        self.vertical.forward(below, &places, 0, &mut self.rows);
        for ((linked, begin), link) in self.linked.iter_mut().zip(&self.begin).zip(&self.link) {
            spread(begin, link.outputs(), row, |at, begin| linked[at].copy_from_slice(begin));
            link.forward_add(self.rows.as_slice(), linked.as_mut_slice());
        }
        if !self.class.is_empty() {
            let rows = &mut self.rows;
            spread(&self.class, 2 * self.width, row, |at, class| inference::add(&mut rows[at], class));
        }
        self.gate(self.width);
        if !self.first {
            places.gather(below, self.width, 0..self.width, &mut self.rows);
            inference::add(&mut self.gate, &self.rows);
        }
        places.scatter(&self.gate, &mut self.v, self.width, 0..self.width);
    }

    /// The horizontal stack's features of a group, added to those of the layer below in `h`. `below` is what the layer below
    /// keeps of the row, or the image.
    fn columns(&mut self, below: &[f32], places: &Places, group: usize, h: &mut Vec<f32>) {
        let (row, own) = (places.in_row(), features_of(group, self.width, self.shape.channels));
        let outputs = self.link[group].outputs();
        row.gather(&self.linked[group], outputs, 0..outputs, &mut self.rows);
        self.horizontal.forward_add(below, places, group, &mut self.rows);
        self.gate(own.len());
        row.scatter(&self.gate, &mut self.gated, self.width, own.clone());
        self.merge.forward(&self.gated, &row, group, &mut self.rows);
        if self.first {
            h.clear();
            h.extend_from_slice(&self.rows);
        } else {
            inference::add(h, &self.rows);
        }
        row.scatter(h, &mut self.h, self.width, own);
    }

    /// Gates `rows`, of twice `width` features.
    fn gate(&mut self, width: usize) {
        self.gate.resize(self.rows.len() / 2, 0.0);
        inference::gate_halves(&self.rows, width, Activation::Tanh, Activation::Sigmoid, &mut self.gate);
    }
}

/// Gives each of the `times` pixels of a map its row of `width` numbers: where the pixel's numbers are, and the row.
fn spread(rows: &[f32], width: usize, times: usize, mut give: impl FnMut(Range<usize>, &[f32])) {
    for (map, row) in rows.chunks_exact(width).enumerate() {
        for pixel in map * times..(map + 1) * times {
            give(pixel * width..(pixel + 1) * width, row);
        }
    }
}
