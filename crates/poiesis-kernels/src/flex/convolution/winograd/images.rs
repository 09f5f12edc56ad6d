//! The images of a convolution, `fprop` and `dgrad`.

use std::ops::Range;

use super::grid::{Grid, TransformLayout};
use super::plan::pairs_of_channels;
use super::products::{
    Products, by_panels, multiply_all, pack_all, shares_weights, task_tiles, transform_whole,
};
use super::scheme::Scheme;
use super::transform::{
    ImageTiles, LargeToTiles, SmallToTiles, TileProducts, TilesToLarge, TilesToSmall, WeightsToPanel,
    transform,
};
use crate::flex::convolution::Geometry;
use crate::flex::gemm::Gemm;
use crate::flex::parallel::{self, Shared};
use crate::flex::pool::Buffer;

/// The image that a convolution reads, its weights and its bias.
pub(super) struct Factors<'a> {
    pub(super) gemm: Gemm,
    pub(super) g: &'a Geometry,
    pub(super) image: &'a [f32],
    pub(super) weight: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
}

pub(super) fn fprop_by<W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(
    factors: &Factors<'_>,
) -> Buffer {
    let grid = Grid::new(factors.g, R);
    let mut y = Buffer::take(factors.g.small_len());
    let pass = Pass {
        factors,
        products: P * P,
        channels: [grid.depth(), factors.g.out],
        floats: pairs_of_channels(factors.gemm).columns(grid.depth()),
        blocks: Blocks { count: grid.tiles(), tiles: 1, of_task: usize::MAX },
        result: &Shared::new(&mut y),
        grid: &grid,
    };
    pass.run(
        |tiles| transform::<W, R, T, P>(LargeToTiles(tiles)),
        weights_to_panels::<W, R, T, P>(factors, true),
        |tiles| transform::<W, R, T, P>(TilesToSmall(tiles)),
    );
    y
}

pub(super) fn dgrad_by<W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(
    factors: &Factors<'_>,
) -> Buffer {
    let g = factors.g;
    let grid = Grid::new(g, R);
    let mut x = Buffer::take(g.large_len());
    let pass = Pass {
        factors,
        products: P * P,
        channels: [g.out, grid.depth()],
        floats: pairs_of_channels(factors.gemm).columns(g.out).max(grid.depth()),
        result: &Shared::new(&mut x),
        grid: &grid,
        // A task processes whole images, because neighbouring tiles add to the same pixels.
        blocks: Blocks { count: g.batch, tiles: grid.image_tiles(), of_task: g.batch.div_ceil(8) },
    };
    // Panels have their own phases and channels, so they never write the same values.
    pass.run(
        |tiles| transform::<W, R, T, P>(SmallToTiles(tiles)),
        weights_to_panels::<W, R, T, P>(factors, false),
        |tiles| transform::<W, R, T, P>(TilesToLarge(tiles)),
    );
    x
}

/// A convolution from one image to the other, in either direction.
struct Pass<'a> {
    factors: &'a Factors<'a>,
    grid: &'a Grid,
    products: usize,
    /// Channels of a tile that are read and written, in all phases.
    channels: [usize; 2],
    /// The most floats of a product that a task holds for a tile.
    floats: usize,
    blocks: Blocks,
    result: &'a Shared<'a>,
}

/// Tiles that a task processes together.
struct Blocks {
    count: usize,
    /// Tiles of a block.
    tiles: usize,
    /// Blocks of a task, at most.
    of_task: usize,
}

impl Pass<'_> {
    /// Writes the result, with the three transforms of a scheme.
    fn run(
        &self,
        to_tiles: impl Fn(ImageTiles<'_>) + Send + Sync,
        pack: impl Fn(Range<usize>, &TransformLayout, &Shared<'_>) + Send + Sync,
        from_tiles: impl Fn(TileProducts<'_>) + Send + Sync,
    ) {
        let Self { factors, grid, products, channels: [read, written], floats, .. } = *self;
        let Factors { gemm, image, bias, .. } = *factors;
        let pairs = pairs_of_channels(gemm);
        let to_tiles = |tiles: Range<usize>, layout: &TransformLayout, at: usize, result: &Shared<'_>| {
            to_tiles(ImageTiles { grid, tiles, image, layout, at, result });
        };
        let multiply_out =
            |tiles: Range<usize>, inputs: Products<'_>, weights: Products<'_>, columns: Range<usize>| {
                let products = &multiply_all(gemm, products, inputs, weights, columns.len());
                from_tiles(TileProducts { grid, tiles, products, columns, bias, result: self.result });
            };
        if shares_weights(products, grid.tiles(), floats, written) {
            let layout = TransformLayout::rows(grid.tiles(), read, pairs);
            let inputs = transform_whole(products, &layout, to_tiles);
            by_panels(products, (read, written), pairs, pack, |columns, weights| {
                multiply_out(0..grid.tiles(), (&inputs, &layout), weights, columns);
            });
            return;
        }
        let panels = TransformLayout::panels(read, written, pairs);
        let weights = pack_all(products, &panels, pack);
        self.blocks.run(task_tiles(grid.tiles(), products * floats), |tiles| {
            let layout = TransformLayout::rows(tiles.len(), read, pairs);
            let mut inputs = Buffer::take(products * layout.product());
            to_tiles(tiles.clone(), &layout, 0, &Shared::new(&mut inputs));
            multiply_out(tiles, (&inputs, &layout), (&weights, &panels), 0..written);
        });
    }
}

impl Blocks {
    /// Runs `work` on all tiles, at most `size` at once; tasks divide the blocks.
    fn run(&self, size: usize, work: impl Fn(Range<usize>) + Send + Sync) {
        let of_task = (size / self.tiles.max(1)).min(self.of_task).max(1);
        parallel::tasks(parallel::parts(self.count, of_task), |task| {
            let blocks = parallel::part(self.count, of_task, task);
            let (first, count) = (blocks.start * self.tiles, blocks.len() * self.tiles);
            for part in 0..parallel::parts(count, size) {
                let part = parallel::part(count, size, part);
                work(first + part.start..first + part.end);
            }
        });
    }
}

/// Transforms and packs columns of the weights; see [`WeightsToPanel`].
fn weights_to_panels<W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(
    &Factors { g, weight, .. }: &Factors<'_>,
    forward: bool,
) -> impl Fn(Range<usize>, &TransformLayout, &Shared<'_>) + Send + Sync {
    move |columns, layout, result| {
        transform::<W, R, T, P>(WeightsToPanel { g, weight, forward, columns, layout, result });
    }
}
