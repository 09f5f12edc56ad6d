//! The images of a convolution, `fprop` and `dgrad`.

use std::marker::PhantomData;
use std::ops::Range;

use super::grid::{Grid, TransformLayout};
use super::plan::pairs_of_channels;
use super::products::{
    Products, by_panels, multiply_all, pack_all, shares_weights, task_tiles, transform_whole,
};
use super::scheme::Scheme;
use super::transform::{LargeToTiles, SmallToTiles, TilesToLarge, TilesToSmall, WeightsToPanel};
use crate::flex::convolution::Geometry;
use crate::flex::gemm::Gemm;
use crate::flex::parallel::{self, Shared};
use crate::flex::pool::Buffer;
use crate::flex::simd;

pub(super) fn fprop_by<
    W: Scheme<RESULTS, TAPS, POINTS>,
    const RESULTS: usize,
    const TAPS: usize,
    const POINTS: usize,
>(
    gemm: Gemm,
    g: &Geometry,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Buffer {
    let grid = Grid::new(g, RESULTS);
    let pairs = pairs_of_channels(gemm);
    let products = POINTS * POINTS;
    // Entries in the row of a tile.
    let depth = pairs.columns(grid.depth());
    let mut y = Buffer::take(g.small_len());
    let result = Shared::new(&mut y);
    let to_tiles = |tiles: Range<usize>, layout: &TransformLayout, at: usize, inputs: &Shared<'_>| {
        simd::dispatch_vectors(LargeToTiles::<W, RESULTS, TAPS, POINTS> {
            grid: &grid,
            tiles,
            image: x,
            layout,
            at,
            result: inputs,
            scheme: PhantomData,
        });
    };
    let multiply_out =
        |tiles: Range<usize>, inputs: Products<'_>, weights: Products<'_>, columns: Range<usize>| {
            simd::dispatch_vectors(TilesToSmall::<W, RESULTS, TAPS, POINTS> {
                grid: &grid,
                tiles,
                products: &multiply_all(gemm, products, inputs, weights, columns.len()),
                columns,
                bias,
                result: &result,
                scheme: PhantomData,
            });
        };
    let pack = weights_to_panels::<W, RESULTS, TAPS, POINTS>(g, weight, true);
    if shares_weights(products, grid.tiles(), depth, g.out) {
        let layout = TransformLayout::rows(grid.tiles(), grid.depth(), pairs);
        let inputs = transform_whole(products, &layout, to_tiles);
        by_panels(products, (grid.depth(), g.out), pairs, pack, |columns, weights| {
            multiply_out(0..grid.tiles(), (&inputs, &layout), weights, columns);
        });
    } else {
        let panels = TransformLayout::panels(grid.depth(), g.out, pairs);
        let weights = pack_all(products, &panels, pack);
        let size = task_tiles(grid.tiles(), products * depth);
        parallel::tasks(parallel::parts(grid.tiles(), size), |task| {
            let tiles = parallel::part(grid.tiles(), size, task);
            let layout = TransformLayout::rows(tiles.len(), grid.depth(), pairs);
            let mut inputs = Buffer::take(products * layout.product());
            to_tiles(tiles.clone(), &layout, 0, &Shared::new(&mut inputs));
            multiply_out(tiles, (&inputs, &layout), (&weights, &panels), 0..g.out);
        });
    }
    y
}

pub(super) fn dgrad_by<
    W: Scheme<RESULTS, TAPS, POINTS>,
    const RESULTS: usize,
    const TAPS: usize,
    const POINTS: usize,
>(
    gemm: Gemm,
    g: &Geometry,
    y: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Buffer {
    let grid = Grid::new(g, RESULTS);
    let pairs = pairs_of_channels(gemm);
    let (products, width) = (POINTS * POINTS, grid.depth());
    // Entries in the row of a tile.
    let depth = pairs.columns(g.out);
    let mut x = Buffer::take(g.large_len());
    let result = Shared::new(&mut x);
    let to_tiles = |tiles: Range<usize>, layout: &TransformLayout, at: usize, inputs: &Shared<'_>| {
        simd::dispatch_vectors(SmallToTiles::<W, RESULTS, TAPS, POINTS> {
            grid: &grid,
            tiles,
            image: y,
            layout,
            at,
            result: inputs,
            scheme: PhantomData,
        });
    };
    let multiply_out =
        |tiles: Range<usize>, inputs: Products<'_>, weights: Products<'_>, columns: Range<usize>| {
            simd::dispatch_vectors(TilesToLarge::<W, RESULTS, TAPS, POINTS> {
                grid: &grid,
                tiles,
                products: &multiply_all(gemm, products, inputs, weights, columns.len()),
                columns,
                bias,
                result: &result,
                scheme: PhantomData,
            });
        };
    let pack = weights_to_panels::<W, RESULTS, TAPS, POINTS>(g, weight, false);
    if shares_weights(products, grid.tiles(), width.max(depth), width) {
        let layout = TransformLayout::rows(grid.tiles(), g.out, pairs);
        let inputs = transform_whole(products, &layout, to_tiles);
        // Panels have their own phases and channels, so they never write the same values.
        by_panels(products, (g.out, width), pairs, pack, |columns, weights| {
            multiply_out(0..grid.tiles(), (&inputs, &layout), weights, columns);
        });
    } else {
        let panels = TransformLayout::panels(g.out, width, pairs);
        let weights = pack_all(products, &panels, pack);
        // A task processes whole images, because neighbouring tiles add to the same pixels.
        let size = task_tiles(grid.tiles(), products * width.max(depth));
        let images = (size / grid.image_tiles().max(1)).min(g.batch.div_ceil(8)).max(1);
        parallel::tasks(parallel::parts(g.batch, images), |task| {
            let images = parallel::part(g.batch, images, task);
            let first = images.start * grid.image_tiles();
            let count = images.len() * grid.image_tiles();
            for part in 0..parallel::parts(count, size) {
                let part = parallel::part(count, size, part);
                let tiles = first + part.start..first + part.end;
                let layout = TransformLayout::rows(tiles.len(), g.out, pairs);
                let mut inputs = Buffer::take(products * layout.product());
                to_tiles(tiles.clone(), &layout, 0, &Shared::new(&mut inputs));
                multiply_out(tiles, (&inputs, &layout), (&weights, &panels), 0..width);
            }
        });
    }
    x
}

/// Transforms and packs columns of the weights; see [`WeightsToPanel`].
fn weights_to_panels<
    'a,
    W: Scheme<RESULTS, TAPS, POINTS>,
    const RESULTS: usize,
    const TAPS: usize,
    const POINTS: usize,
>(
    g: &'a Geometry,
    weight: &'a [f32],
    forward: bool,
) -> impl Fn(Range<usize>, &TransformLayout, &Shared<'_>) + Send + Sync {
    move |columns, layout, result| {
        simd::dispatch_vectors(WeightsToPanel::<W, RESULTS, TAPS, POINTS> {
            g,
            weight,
            forward,
            columns,
            layout,
            result,
            scheme: PhantomData,
        });
    }
}
