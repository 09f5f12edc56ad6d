//! The network value by value, with all inputs and states of its recurrent layers kept.

use std::ops::Range;

use poiesis_kernels::Lines;
use poiesis_kernels::inference::{self, PackedLinear, Rows};

use super::{Layer, PixelRnnNetwork, Recurrence};
use crate::models::autoregressive::causal::features_of;
use crate::models::autoregressive::columns::{Columns, PackedConv, PackedHead, Places, tensor_values};
use crate::models::autoregressive::image_model::rows_of_classes;
use crate::models::autoregressive::pixels::Pixels;
use crate::nn::values;

/// The network for some images side by side, with what it keeps of them: of each layer all that went into it, and all states.
/// The half of a Diagonal BiLSTM that comes from the right passes over a row when the row below begins.
pub struct Cached {
    first: PackedConv,
    /// What a class adds to the features of the first layer, `[images, 2h]`; empty without classes.
    class: Vec<f32>,
    layers: Vec<CachedLayer>,
    /// What comes out of the last layer at the pixels that are computed, `[images, pixels, 2h]`.
    maps: Vec<f32>,
    head: PackedHead,
    groups: usize,
    rows: Vec<f32>,
}

/// A layer, with what went into it.
struct CachedLayer {
    images: usize,
    size: [usize; 2],
    recurrences: Vec<CachedRecurrence>,
    up: PackedLinear,
    /// `[images, height, width, 2h]`.
    below: Vec<f32>,
    sums: Vec<f32>,
    rows: Vec<f32>,
}

/// A recurrence, with its states and cells, both `[images, height, width, hidden]`.
struct CachedRecurrence {
    input: PackedConv,
    state: PackedLinear,
    lines: Lines,
    hidden: Vec<f32>,
    cells: Vec<f32>,
    gates: Vec<f32>,
}

impl Cached {
    pub(super) fn new(network: &PixelRnnNetwork, pixels: &Pixels, classes: &[Option<u32>]) -> Cached {
        let (images, shape) = (classes.len(), pixels.shape);
        let size = [shape.height, shape.width];
        let class = network.class.as_ref().map(|table| rows_of_classes(table, classes));
        Cached {
            first: PackedConv::new(&network.first, size, 1, 1),
            class: class.unwrap_or_default(),
            layers: network.layers.iter().map(|layer| CachedLayer::new(layer, images, size)).collect(),
            maps: Vec::new(),
            head: PackedHead::new([&network.hidden, &network.output], images, shape.width, shape.channels),
            groups: shape.channels,
            rows: Vec::new(),
        }
    }
}

impl Columns for Cached {
    fn begin_row(&mut self, _x: &[f32], y: usize) {
        if let Some(above) = y.checked_sub(1) {
            self.layers.iter_mut().for_each(|layer| layer.pass_back(above));
        }
    }

    fn logits(&mut self, x: &[f32], places: &Places, channels: Range<usize>, logits: &mut Vec<f32>) {
        // All groups at once: of those that are not asked for, what is not known yet is computed again later.
        self.first.forward(x, places, 0, &mut self.maps);
        let features = self.maps.len() / places.count();
        for (maps, class) in
            self.maps.chunks_exact_mut(places.xs.len() * features).zip(self.class.chunks_exact(features))
        {
            maps.chunks_exact_mut(features).for_each(|row| inference::add(row, class));
        }
        self.layers.iter_mut().for_each(|layer| layer.forward(places, &mut self.maps));
        for channel in channels {
            let own = features_of(channel, features, self.groups);
            self.rows.clear();
            self.maps.chunks_exact(features).for_each(|row| self.rows.extend_from_slice(&row[own.clone()]));
            self.head.forward(&mut self.rows, places, channel, logits);
        }
    }
}

impl CachedLayer {
    fn new(layer: &Layer, images: usize, size: [usize; 2]) -> CachedLayer {
        let [_, _, hidden, features] = layer.up.weight.dims();
        let up = tensor_values(layer.up.masked_weight());
        let recurrence = |recurrence: &Recurrence| CachedRecurrence::new(recurrence, images, size);
        CachedLayer {
            images,
            size,
            recurrences: layer.recurrences.iter().map(recurrence).collect(),
            up: PackedLinear::new(&up, Some(&values(&layer.up.bias)), hidden, features),
            below: vec![0.0; images * size[0] * size[1] * features],
            sums: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds what the layer adds to `maps` at `places`, whose predecessors it has passed.
    fn forward(&mut self, places: &Places, maps: &mut [f32]) {
        let (hidden, features) = (self.up.inputs(), self.up.outputs());
        places.scatter(maps, &mut self.below, features, 0..features);
        let [first, others @ ..] = self.recurrences.as_mut_slice() else {
            unreachable!("a layer has a recurrence")
        };
        first.pass(&self.below, places);
        places.gather(&first.hidden, hidden, 0..hidden, &mut self.sums);
        for (other, y) in others.iter().zip(places.y.checked_sub(1)) {
            let above = Places { y, ..places.clone() };
            above.gather(&other.hidden, hidden, 0..hidden, &mut self.rows);
            inference::add(&mut self.sums, &self.rows);
        }
        self.rows.resize(maps.len(), 0.0);
        self.up.forward(self.sums.as_slice(), &mut self.rows);
        inference::add(maps, &self.rows);
    }

    /// The half from the right over row `y`, which is complete.
    fn pass_back(&mut self, y: usize) {
        let places = Places { maps: self.images, size: self.size, y, xs: 0..self.size[1] };
        for recurrence in &mut self.recurrences[1..] {
            recurrence.pass(&self.below, &places);
        }
    }
}

impl CachedRecurrence {
    fn new(recurrence: &Recurrence, images: usize, size: [usize; 2]) -> CachedRecurrence {
        let [taps, hidden, gates] = recurrence.state.dims();
        let zeros = vec![0.0; images * size[0] * size[1] * hidden];
        CachedRecurrence {
            input: PackedConv::new(&recurrence.input, size, 1, 1),
            state: PackedLinear::new(&values(&recurrence.state), None, taps * hidden, gates),
            lines: recurrence.lines,
            hidden: zeros.clone(),
            cells: zeros,
            gates: Vec::new(),
        }
    }

    /// States and cells at `places`, in the order of the lines.
    fn pass(&mut self, below: &[f32], places: &Places) {
        let at = |x: usize| Places { xs: x..x + 1, ..places.clone() };
        match self.lines {
            Lines::Rows => self.step(below, places),
            Lines::Diagonals => places.xs.clone().for_each(|x| self.step(below, &at(x))),
            Lines::MirroredDiagonals => places.xs.clone().rev().for_each(|x| self.step(below, &at(x))),
        }
    }

    /// States and cells at `places`, none of which is before another.
    fn step(&mut self, below: &[f32], places: &Places) {
        let hidden = self.state.outputs() / 4;
        self.input.forward(below, places, 0, &mut self.gates);
        // The pixel whose cell goes on, then those whose states are seen, tap by tap.
        let (before, seen): (_, &[_]) = match self.lines {
            Lines::Rows => ([1, 0], &[[1, -1], [1, 0], [1, 1]]),
            Lines::Diagonals => ([0, -1], &[[1, 0], [0, -1]]),
            Lines::MirroredDiagonals => ([0, 1], &[[1, 0], [0, 1]]),
        };
        let starts: Vec<Option<usize>> = places.neighbours(seen).map(|at| at.map(|at| at * hidden)).collect();
        self.state.forward_add(Rows::pieces(&self.hidden, hidden, &starts), self.gates.as_mut_slice());
        let mut cells = Vec::with_capacity(places.count() * hidden);
        for before in places.neighbours(&[before]) {
            match before {
                Some(before) => cells.extend_from_slice(&self.cells[before * hidden..][..hidden]),
                None => cells.resize(cells.len() + hidden, 0.0),
            }
        }
        let mut states = vec![0.0; cells.len()];
        inference::lstm_cell(&mut self.gates, &mut cells, &mut states, hidden);
        places.scatter(&cells, &mut self.cells, hidden, 0..hidden);
        places.scatter(&states, &mut self.hidden, hidden, 0..hidden);
    }
}
