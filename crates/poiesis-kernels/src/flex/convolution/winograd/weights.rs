//! The gradient of the weights, `wgrad`.

#![expect(unsafe_code, reason = "tasks write to parts of one buffer")]

use std::ops::Range;

use super::grid::{Grid, Pairs, TransformLayout};
use super::plan::pairs_of_tiles;
use super::products::multiply;
use super::scheme::Scheme;
use super::transform::{ImageTiles, LargeToTiles, SmallToTiles, SumsToWeights, transform};
use crate::flex::convolution::Geometry;
use crate::flex::gemm::{Gemm, Left, Product, Right, Write};
use crate::flex::parallel::{self, Shared};
use crate::flex::partial_sums::{FEW_WEIGHTS, count_of_parts, sum_parts};
use crate::flex::pool::Buffer;

pub(super) fn wgrad_by<W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(
    gemm: Gemm,
    g: &Geometry,
    x: &[f32],
    y: &[f32],
) -> Buffer {
    let pairs = pairs_of_tiles(gemm);
    let grid = Grid::new(g, R);
    let (products, large) = (P * P, grid.depth());
    // The channels that are adjacent in the weights become the columns of the product.
    let (rows, columns) = if g.transposed { (g.out, large) } else { (large, g.out) };
    let layouts = |count: usize| {
        if g.transposed {
            [TransformLayout::panels(count, large, pairs), TransformLayout::rows(count, g.out, pairs)]
        } else {
            [TransformLayout::rows(count, large, pairs), TransformLayout::panels(count, g.out, pairs)]
        }
    };
    let row_tiles = pairs.tiles_of_row();
    // Transforms the tiles of both images, `at` tiles from the first of the layouts.
    let to_tiles =
        |tiles: Range<usize>, at: usize, layouts: &[TransformLayout; 2], [large, small]: [&Shared<'_>; 2]| {
            let at = at / row_tiles;
            let (image, layout) = (x, &layouts[0]);
            let large = ImageTiles { grid: &grid, tiles: tiles.clone(), image, layout, at, result: large };
            transform::<W, R, T, P>(LargeToTiles(large));
            let (image, layout) = (y, &layouts[1]);
            let small = ImageTiles { grid: &grid, tiles, image, layout, at, result: small };
            transform::<W, R, T, P>(SmallToTiles(small));
        };
    let multiply = |p: usize,
                    block: Range<usize>,
                    layouts: &[TransformLayout; 2],
                    images: [&[f32]; 2],
                    sums: &mut [f32],
                    write| {
        let [left, right] = if g.transposed { [1, 0] } else { [0, 1] };
        let depth = layouts[left].rows;
        let (left, right) =
            (&images[left][layouts[left].entries(p)], &images[right][layouts[right].entries(p)]);
        let left = Left::new(&left[block.start..], 1, rows);
        let right = Right::Packed(right);
        multiply(gemm, Product { left, right, rows: block.len(), depth, columns, write }, sums);
    };
    let sums_layout = TransformLayout::rows(rows, columns, Pairs::None);
    let mut sums = Buffer::take(products * sums_layout.product());
    if products * rows * columns <= FEW_WEIGHTS {
        // Every part of the tiles has its own sums, and its transformed tiles stay in the cache.
        let step = 48;
        let count = count_of_parts(grid.tiles(), 256, sums.len());
        let size = grid.tiles().div_ceil(count).next_multiple_of(row_tiles).max(1);
        sum_parts(parallel::parts(grid.tiles(), size), &mut sums, |part, sums| {
            let part = parallel::part(grid.tiles(), size, part);
            let mut images = layouts(step).map(|layout| Buffer::take(products * layout.product()));
            for index in 0..parallel::parts(part.len(), step) {
                let tiles = parallel::part(part.len(), step, index);
                let layouts = layouts(tiles.len());
                let [large, small] = images.each_mut().map(|image| Shared::new(image));
                to_tiles(part.start + tiles.start..part.start + tiles.end, 0, &layouts, [&large, &small]);
                for p in 0..products {
                    let sums = &mut sums[sums_layout.entries(p)];
                    multiply(
                        p,
                        0..rows,
                        &layouts,
                        images.each_ref().map(|image| &image[..]),
                        sums,
                        Write::Add,
                    );
                }
            }
        });
    } else {
        let chunk = (row_tiles * (1 << 22) / (products * (large + g.out))).clamp(64, grid.tiles().max(64));
        let chunk = chunk.next_multiple_of(row_tiles);
        let mut images = layouts(chunk).map(|layout| Buffer::take(products * layout.product()));
        if grid.tiles() == 0 {
            sums.fill(0.0);
        }
        for index in 0..parallel::parts(grid.tiles(), chunk) {
            let tiles = parallel::part(grid.tiles(), chunk, index);
            let layouts = layouts(tiles.len());
            let [large, small] = images.each_mut().map(|image| Shared::new(image));
            parallel::tasks(parallel::parts(tiles.len(), 16), |task| {
                let part = parallel::part(tiles.len(), 16, task);
                to_tiles(
                    tiles.start + part.start..tiles.start + part.end,
                    part.start,
                    &layouts,
                    [&large, &small],
                );
            });
            let block = rows.div_ceil(4).next_multiple_of(24);
            let blocks = parallel::parts(rows, block);
            let shared_sums = Shared::new(&mut sums);
            let images = images.each_ref().map(|image| &image[..]);
            parallel::tasks(products * blocks, |task| {
                let (p, block_index) = (task / blocks, task % blocks);
                let block = parallel::part(rows, block, block_index);
                let start = sums_layout.entries(p).start;
                let range = start + block.start * columns..start + block.end * columns;
                // SAFETY: products and blocks of rows are disjoint.
                let sums = unsafe { shared_sums.part(range) };
                let write = if index == 0 { Write::Replace } else { Write::Add };
                multiply(p, block, &layouts, images, sums, write);
            });
        }
    }
    let mut gradient = Buffer::take(g.weights());
    let shared = Shared::new(&mut gradient);
    parallel::tasks(parallel::parts(rows, 8), |task| {
        let rows = parallel::part(rows, 8, task);
        transform::<W, R, T, P>(SumsToWeights { g, sums: &sums, rows, result: &shared });
    });
    gradient
}
