//! The matrix products between the transforms, and how they are split among tasks.

use std::ops::Range;

use super::GROUP;
use super::grid::{Pairs, TransformLayout};
use crate::flex::gemm::{self, Gemm, Left, Product, Right, Write};
use crate::flex::parallel::{self, Shared};
use crate::flex::pool::Buffer;

/// Most tiles that a task transforms and multiplies at once.
const TILES: usize = 128;

/// Most floats of transformed pixels that a task holds.
const TASK_FLOATS: usize = 1 << 20;

/// A transformed image of up to this many floats may be held as a whole, with tasks that divide the weights.
const WHOLE_FLOATS: usize = 1 << 22;

/// Whether tasks divide the `columns` of the weights among them, with the whole transformed image in memory, instead of the
/// tiles: where there are fewer tiles than columns.
pub(super) fn shares_weights(products: usize, tiles: usize, depth: usize, columns: usize) -> bool {
    tiles <= columns && products * tiles * depth <= WHOLE_FLOATS
}

/// Tiles of a task: few enough that its tiles, of `floats` floats each, are at most [`TASK_FLOATS`] floats, and that there
/// are enough tasks.
pub(super) fn task_tiles(tiles: usize, floats: usize) -> usize {
    let fitting = (TASK_FLOATS / floats.max(1)).clamp(24, TILES);
    fitting.min(tiles.div_ceil(8).max(24))
}

/// The matrices of all products, and their layout in memory.
pub(super) type Products<'a> = (&'a [f32], &'a TransformLayout);

/// The matrix products of the inputs of tiles with one or all panels of the weights, of `columns` columns in total; the layout is
/// that of [`TransformLayout::rows`].
pub(super) fn multiply_all(
    gemm: Gemm,
    products: usize,
    (inputs, tiles): Products<'_>,
    (weights, panels): Products<'_>,
    columns: usize,
) -> Buffer {
    let (rows, depth) = (tiles.rows, tiles.columns);
    let results = TransformLayout::rows(rows, columns, Pairs::None);
    let mut outputs = Buffer::take(products * results.product());
    for p in 0..products {
        let left = Left::new(&inputs[tiles.entries(p)], depth, 1);
        let right = Right::Packed(&weights[panels.entries(p)]);
        let product = Product { left, right, rows, depth, columns, write: Write::Replace };
        multiply(gemm, product, &mut outputs[results.entries(p)]);
    }
    outputs
}

/// Writes a matrix product whose depth counts entries, values or pairs of them; the rows of the result have no gaps.
pub(super) fn multiply(gemm: Gemm, product: Product<'_>, result: &mut [f32]) {
    let rounded = gemm.rounds();
    let left = Left { rounded, ..product.left };
    let depth = if rounded { 2 * product.depth } else { product.depth };
    gemm.multiply(Product { left, depth, ..product }, result, product.columns);
}

/// The inputs of all tiles, transformed on all threads.
pub(super) fn transform_whole(
    products: usize,
    layout: &TransformLayout,
    to_tiles: impl Fn(Range<usize>, &TransformLayout, usize, &Shared<'_>) + Send + Sync,
) -> Buffer {
    let mut inputs = Buffer::take(products * layout.product());
    let shared = Shared::new(&mut inputs);
    parallel::tasks(parallel::parts(layout.rows, 16), |task| {
        let part = parallel::part(layout.rows, 16, task);
        to_tiles(part.clone(), layout, part.start, &shared);
    });
    inputs
}

/// Lets every task transform a panel of the weights and multiply with it, so that the transformed weights never
/// leave the cache.
pub(super) fn by_panels(
    products: usize,
    (rows, columns): (usize, usize),
    pairs: Pairs,
    pack: impl Fn(Range<usize>, &TransformLayout, &Shared<'_>) + Send + Sync,
    multiply: impl Fn(Range<usize>, Products<'_>) + Send + Sync,
) {
    let width = gemm::panel_width();
    parallel::tasks(parallel::parts(columns, width), |task| {
        let columns = parallel::part(columns, width, task);
        let layout = TransformLayout::panels(rows, columns.len(), pairs);
        let mut packed = Buffer::take(products * layout.product());
        pack(columns.clone(), &layout, &Shared::new(&mut packed));
        multiply(columns, (&packed, &layout));
    });
}

/// All transformed weights, packed.
pub(super) fn pack_all(
    products: usize,
    layout: &TransformLayout,
    pack: impl Fn(Range<usize>, &TransformLayout, &Shared<'_>) + Send + Sync,
) -> Buffer {
    let mut packed = Buffer::take(products * layout.product());
    let shared = Shared::new(&mut packed);
    parallel::tasks(layout.columns / GROUP, |task| {
        pack(task * GROUP..(task + 1) * GROUP, layout, &shared);
    });
    packed
}
