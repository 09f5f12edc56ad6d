//! Attention by blocks of keys, with a running maximum and sum for each row of queries.
//!
//! Keys come in blocks of [`KEYS`] counted from the first one, and every sum of a row runs over all keys of a block in a
//! fixed order, with weight 0 for those that the row does not see. So a row does not depend on the other queries.

mod backward;
mod cache;
mod forward;
mod layout;
mod tile;

pub(crate) use cache::{Cache, Queries};

use std::ops::Range;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use self::backward::{Saved, backward};
use self::forward::forward;
use self::layout::{HeadLayout, View, packed_layouts};
use super::autodiff::{BackwardPass, Inputs};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use crate::types::AttentionOptions;

/// Keys of a block, a multiple of the width of every panel.
const KEYS: usize = 256;

/// Queries of a tile of scores.
const ROWS: usize = 32;

/// Queries of a task of the forward pass.
const QUERIES: usize = 512;

/// Distance of the rows of a tile of scores; not a power of two, so that a column does not fall into few sets of
/// the cache.
const STRIDE: usize = KEYS + 16;

/// Sums that run side by side, so that the loop vectorises and its order is fixed.
const SUMS: usize = 16;

/// [`crate::attention`] of tensors on Flex; `None` for others. None of them may be empty.
pub(crate) fn attention(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    options: &AttentionOptions,
) -> Option<Tensor<4>> {
    let q_shape = q.dims();
    let size = Size::new(q_shape, k.dims(), options);
    let layouts = [q_shape, k.dims(), k.dims()].map(HeadLayout::whole);
    let inputs = Inputs::new([Operand::new(q)?, Operand::new(k)?, Operand::new(v)?]);
    let (y, log_sums) = forward(size, views(inputs.values(), layouts));
    let y = operand::tensor(y, &q_shape);
    Some(inputs.finish(y, |arrays, y| Attention(State::new(size, arrays, y, log_sums))))
}

/// [`crate::attention_packed`] of a tensor on Flex; `None` for others. It must not be empty.
pub(crate) fn packed(qkv: &Tensor<4>, kv_heads: usize, options: &AttentionOptions) -> Option<Tensor<4>> {
    let [batch, time, all, dim] = qkv.dims();
    let y_shape = [batch, time, all - 2 * kv_heads, dim];
    let size = Size::new(y_shape, [batch, time, kv_heads, dim], options);
    let inputs = Inputs::new([Operand::new(qkv)?]);
    let [qkv] = inputs.values();
    let (y, log_sums) = forward(size, views([qkv; 3], packed_layouts(&size)));
    let y = operand::tensor(y, &y_shape);
    Some(inputs.finish(y, |arrays, y| Packed(State::new(size, arrays, y, log_sums))))
}

fn views<'a>(arrays: [&'a [f32]; 3], layouts: [HeadLayout; 3]) -> [View<'a>; 3] {
    std::array::from_fn(|i| View { values: arrays[i], layout: layouts[i] })
}

#[derive(Clone, Copy, Debug)]
struct Size {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
    causal: bool,
    scale: f32,
}

impl Size {
    fn new(q: [usize; 4], k: [usize; 4], options: &AttentionOptions) -> Self {
        let [batch, queries, heads, dim] = q;
        let [_, keys, kv_heads, _] = k;
        Self {
            batch,
            queries,
            keys,
            heads,
            kv_heads,
            dim,
            causal: options.causal,
            scale: scale(options, dim),
        }
    }

    /// Heads of queries that share one of keys and values.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The number of keys, from the first one on, that a query sees.
    fn seen(&self, query: usize) -> usize {
        if self.causal { self.keys - self.queries + query + 1 } else { self.keys }
    }

    /// The index of the row of a query of a head among all rows.
    fn row(&self, batch: usize, query: usize, head: usize) -> usize {
        (batch * self.queries + query) * self.heads + head
    }
}

/// The factor on the products of queries and keys.
fn scale(options: &AttentionOptions, dim: usize) -> f32 {
    options.scale.unwrap_or(1.0 / (dim as f64).sqrt()) as f32
}

/// The heads of a group and, in each, the tiles of `0..queries`.
fn tiles(group: usize, queries: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let count = parallel::parts(queries, ROWS);
    (0..group * count).map(move |i| (i / count, parallel::part(queries, ROWS, i % count)))
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct State<const N: usize> {
    size: Size,
    arrays: [FlexTensor; N],
    y: FlexTensor,
    log_sums: FlexTensor,
}

impl<const N: usize> State<N> {
    fn new(size: Size, arrays: [FlexTensor; N], y: &FlexTensor, log_sums: Buffer) -> Self {
        let shape = [log_sums.len()];
        Self { size, arrays, y: y.clone(), log_sums: operand::tensor(log_sums, &shape) }
    }

    fn saved<'a>(&'a self, views: [View<'a>; 3], dy: &'a FlexTensor) -> Saved<'a> {
        let Size { batch, queries, heads, dim, .. } = self.size;
        let layout = HeadLayout::whole([batch, queries, heads, dim]);
        Saved {
            size: self.size,
            views,
            y: View { values: values(&self.y), layout },
            dy: View { values: values(dy), layout },
            log_sums: values(&self.log_sums),
        }
    }
}

#[derive(Clone, Debug)]
struct Attention(State<3>);

impl BackwardPass<3> for Attention {
    fn gradients(self, dy: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let Self(state) = self;
        let Size { batch, queries, keys, heads, kv_heads, dim, .. } = state.size;
        let shapes =
            [[batch, queries, heads, dim], [batch, keys, kv_heads, dim], [batch, keys, kv_heads, dim]];
        let layouts = shapes.map(HeadLayout::whole);
        let mut buffers = [0, 1, 2].map(|i| needed[i].then(|| Buffer::take(shapes[i].iter().product())));
        let shared = buffers.each_mut().map(|buffer| buffer.as_mut().map(|buffer| Shared::new(buffer)));
        let targets = [0, 1, 2].map(|i| shared[i].as_ref().map(|shared| (shared, layouts[i])));
        let views = views(state.arrays.each_ref().map(values), layouts);
        backward(&state.saved(views, &dy), targets);
        let mut shapes = shapes.iter();
        buffers.map(|buffer| {
            let shape = shapes.next()?;
            buffer.map(|buffer| operand::tensor(buffer, shape))
        })
    }
}

#[derive(Clone, Debug)]
struct Packed(State<1>);

impl BackwardPass<1> for Packed {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self(state) = self;
        let [qkv] = &state.arrays;
        let layouts = packed_layouts(&state.size);
        let mut result = Buffer::take(values(qkv).len());
        let shared = Shared::new(&mut result);
        let views = views([values(qkv); 3], layouts);
        backward(&state.saved(views, &dy), layouts.map(|layout| Some((&shared, layout))));
        [Some(operand::tensor(result, qkv.layout().shape()))]
    }
}
