//! Winograd's short convolutions for square kernels of stride 1 and 2 with up to ten taps an axis: 3×3, 5×5, 7×7 and 4×4 of
//! stride 2 (DCGAN) among them.
//!
//! With stride 2 the pixels of even and odd rows and columns are four *phases*; over each of them the convolution
//! is one of stride 1 with `taps` = 2 to 5 taps an axis. A kernel of more than five taps at stride 1 is cut into four, which see
//! phases that begin `taps` pixels after one another. `results` results of `taps` taps take `results + taps − 1 = points`
//! products along an axis instead of `results · taps`: `y = Aᵀ ((G g) ⊙ (Bᵀ d))`, and their squares for a tile of two
//! axes. Summed over the channels and phases each of the `points²` products is a matrix product. The gradients are the exact
//! adjoints with the same matrix products.
//!
//! | scheme | multiplications of the direct sum | greatest error, relative to the largest result (256 channels, f32) |
//! |---|---|---|
//! | F(2, 2) | 9/16 | 7e-7 |
//! | F(4, 2) | 25/64 | 4e-6 |
//! | F(2, 3) | 16/36 | 7e-7 |
//! | F(4, 3) | 36/144 | 4e-6 |
//! | F(3, 4) | 36/144 | 3e-6 |
//! | F(2, 5) | 36/100 | 3e-6 |
//!
//! The direct sum itself has 1e-6 to 2e-6. The points are 0, ±1, −1/2, ∞ and 0, ±1, 1/2, −2, ∞; the usual
//! ±2 instead would have four times the error.
//!
//! Where [`crate::set_precision`] says bf16, F(2, 2) and F(2, 3) round their transformed factors, if the channels of both images
//! are multiples of 32: their mean error is then twice that of rounded direct sums, 4.5e-3 and 3.9e-3 of the results' spread instead
//! of 2.1e-3 (256 channels). The transforms write pairs of bf16, so the matrix products have nothing left to round. The other
//! schemes multiply in f32: rounded, they would have eight times the error of direct sums (1.6e-2 to 1.9e-2).
//!
//! Memory: with many tiles, transformed weights (`points²` matrices) and some megabytes per thread; with few
//! tiles, the transformed image and one panel of transformed weights per thread. The gradient of few weights: at most 16 MiB of
//! sums and some megabytes per thread; of many: their sums and at most about 16 MiB of transformed images.
//!
//! Source: Winograd 1980; Lavin & Gray 2016 for convolutions; Barabasz et al. 2020 for the points.

#![expect(unsafe_code, reason = "tasks write to parts of one buffer")]

mod grid;
mod scheme;
mod transform;

use std::marker::PhantomData;
use std::ops::Range;

use self::grid::{Grid, Pairs, Phases, Slab};
use self::scheme::{F22, F23, F25, F34, F42, F43, Scheme};
use self::transform::{
    LargeToTiles, SmallToTiles, SumsToWeights, TilesToLarge, TilesToSmall, WeightsToPanel,
};
use super::convolution::{FEW_WEIGHTS, Geometry, parts_of_sum, sum_of_parts};
use super::gemm::{self, Gemm, Left, Write};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Most tiles that a task transforms and multiplies at once.
const TILES: usize = 128;

/// Most floats of transformed pixels that a task holds.
const TASK_FLOATS: usize = 1 << 20;

/// Transformed images of up to this many floats may be held whole, and tasks take panels of the weights.
const WHOLE_FLOATS: usize = 1 << 22;

/// Channels come in groups of this many, a multiple of every vector's length.
const GROUP: usize = 16;

/// How a convolution is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    name: Name,
    gemm: Gemm,
}

/// The scheme of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    F22,
    F42,
    F23,
    F43,
    F34,
    F25,
}

/// Calls a function with the scheme of a name and its numbers of results, taps and points.
macro_rules! with_scheme {
    ($name:expr, $function:ident($($argument:expr),*)) => {
        match $name {
            Name::F22 => $function::<F22, 2, 2, 3>($($argument),*),
            Name::F42 => $function::<F42, 4, 2, 5>($($argument),*),
            Name::F23 => $function::<F23, 2, 3, 4>($($argument),*),
            Name::F43 => $function::<F43, 4, 3, 6>($($argument),*),
            Name::F34 => $function::<F34, 3, 4, 6>($($argument),*),
            Name::F25 => $function::<F25, 2, 5, 6>($($argument),*),
        }
    };
}

impl Name {
    /// In which precision the scheme would multiply: rounded where it may be and where channels make pairs.
    fn gemm(self, g: &Geometry) -> Gemm {
        let rounds = match self {
            Name::F22 => F22::ROUNDS,
            Name::F23 => F23::ROUNDS,
            Name::F42 | Name::F43 | Name::F34 | Name::F25 => false,
        };
        let pairs = g.channels.is_multiple_of(2 * GROUP) && g.out.is_multiple_of(2 * GROUP);
        if rounds && pairs { Gemm::in_force() } else { Gemm::F32 }
    }
}

/// How the factors of forward products and of input gradients share entries.
fn pairs_of_channels(gemm: Gemm) -> Pairs {
    if gemm.rounds() { Pairs::Channels } else { Pairs::None }
}

/// How those of weights' gradients do.
fn pairs_of_tiles(gemm: Gemm) -> Pairs {
    if gemm.rounds() { Pairs::Tiles } else { Pairs::None }
}

/// The scheme that is expected to be fastest for this convolution; `None` where direct sums are.
///
/// The choice does not depend on the batch, so that results do not either.
pub(crate) fn choose(g: &Geometry) -> Option<Choice> {
    best(g, |_| 14.0)
}

/// [`choose`] for the weights' gradient, whose transformed images do not stay in the cache where the weights are many.
pub(crate) fn choose_for_weights(g: &Geometry) -> Option<Choice> {
    let of_many = if simd::multiplies_fast() { 50.0 } else { 20.0 };
    best(g, |weights| if weights <= FEW_WEIGHTS { 17.0 } else { of_many })
}

/// The fastest scheme where transforming a number takes as long as `moving` multiplications, which depends on how many transformed
/// weights there are; measured on Zen 5, the 20 of many also on Zen 4.
fn best(g: &Geometry, moving: impl Fn(usize) -> f64) -> Option<Choice> {
    let [kernel, width] = g.kernel;
    let stride = g.stride[0];
    let fits = simd::has_vectors()
        && kernel == width
        && g.stride == [stride; 2]
        && (stride == 1 || stride == 2)
        && g.dilation == [1, 1]
        && g.groups == 1
        && g.live == g.taps()
        && g.channels.is_multiple_of(GROUP)
        && g.out.is_multiple_of(GROUP);
    if !fits {
        return None;
    }
    let phases = Phases::of(g);
    let taps = kernel.div_ceil(phases.count);
    // Every pixel of the large image must lie in a tile, and in that of one phase alone.
    let covered = |axis: usize| {
        let reach = stride * (g.small[axis] - 1 + taps);
        g.large[axis] + g.padding[axis] <= reach && phases.step == phases.count
    };
    if mirrored(g).is_none() && !(covered(0) && covered(1)) {
        return None;
    }
    let candidates: &[_] = match taps {
        2 => &[(Name::F22, 2, 3), (Name::F42, 4, 5)],
        3 => &[(Name::F23, 2, 4), (Name::F43, 4, 6)],
        4 => &[(Name::F34, 3, 6)],
        5 => &[(Name::F25, 2, 6)],
        _ => return None,
    };
    let pairs = (g.channels * g.out) as f64;
    let depth = phases.depth(g.channels);
    // Times in multiplications, for a batch of 64; rounded ones as measured on Zen 4.
    let of_pair = if Gemm::in_force().rounds() { 0.8 } else { 1.0 };
    let direct = (64 * g.small[0] * g.small[1] * kernel * kernel) as f64 * pairs * of_pair;
    candidates
        .iter()
        .map(|&(name, results, points)| {
            let gemm = name.gemm(g);
            let tiles = 64 * g.small[0].div_ceil(results) * g.small[1].div_ceil(results);
            let products = points * points;
            let moving = moving(products * depth * g.out);
            let (tiles, products, depth) = (tiles as f64, products as f64, depth as f64);
            let of_pair = if gemm.rounds() { 0.55 } else { 1.0 };
            let multiplying = tiles * depth * g.out as f64 * of_pair;
            let moving = moving * tiles * (depth + g.out as f64);
            let weights = 60.0 * depth * g.out as f64;
            (Choice { name, gemm }, products * (multiplying + moving + weights))
        })
        .filter(|&(_, time)| time < direct)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(choice, _)| choice)
}

/// See [`super::convolution::shrink`].
pub(crate) fn shrink(
    choice: Choice,
    g: &Geometry,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Buffer {
    with_scheme!(choice.name, shrink_by(choice.gemm, g, x, weight, bias))
}

/// See [`super::convolution::grow`].
pub(crate) fn grow(choice: Choice, g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    if let Some(mirrored) = mirrored(g) {
        return shrink(choice, &mirrored, y, &mirrored_taps(g, weight), bias);
    }
    with_scheme!(choice.name, grow_by(choice.gemm, g, y, weight, bias))
}

/// The convolution with the mirrored kernel that does the same as [`grow`] does, if the stride is 1: its tiles do not
/// overlap, so nothing has to be added up in memory.
fn mirrored(g: &Geometry) -> Option<Geometry> {
    let reach = g.kernel[0] - 1;
    // Every pixel of its large image, our small one, must lie in a tile.
    let covered = |axis: usize| g.padding[axis] <= reach && g.small[axis] <= g.large[axis] + g.padding[axis];
    (g.stride == [1, 1] && covered(0) && covered(1)).then(|| Geometry {
        large: g.small,
        channels: g.out,
        small: g.large,
        out: g.channels,
        padding: g.padding.map(|padding| reach - padding),
        transposed: !g.transposed,
        ..g.clone()
    })
}

/// The weights with the taps in the opposite order.
fn mirrored_taps(g: &Geometry, weight: &[f32]) -> Buffer {
    let mut mirrored = Buffer::take(weight.len());
    let (taps, len) = (g.taps(), weight.len() / g.taps());
    let shared = Shared::new(&mut mirrored);
    parallel::tasks(taps, |tap| {
        // SAFETY: every task writes a tap of its own.
        let to = unsafe { shared.part(tap * len..(tap + 1) * len) };
        to.copy_from_slice(&weight[(taps - 1 - tap) * len..][..len]);
    });
    mirrored
}

/// See [`super::convolution::weight_gradient`].
pub(crate) fn weight_gradient(choice: Choice, g: &Geometry, x: &[f32], y: &[f32]) -> Buffer {
    with_scheme!(choice.name, weight_gradient_by(choice.gemm, g, x, y))
}

fn shrink_by<
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
    // Entries of a row of tiles.
    let depth = pairs.columns(grid.depth());
    let mut y = Buffer::take(g.small_len());
    let result = Shared::new(&mut y);
    let to_tiles = |tiles: Range<usize>, slab: &Slab, at: usize, inputs: &Shared<'_>| {
        simd::dispatch_vectors(LargeToTiles::<W, RESULTS, TAPS, POINTS> {
            grid: &grid,
            tiles,
            image: x,
            slab,
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
    let pack = |columns: Range<usize>, slab: &Slab, packed: &Shared<'_>| {
        simd::dispatch_vectors(WeightsToPanel::<W, RESULTS, TAPS, POINTS> {
            g,
            weight,
            forward: true,
            columns,
            slab,
            result: packed,
            scheme: PhantomData,
        });
    };
    if by_weights(products, grid.tiles(), depth, g.out) {
        let slab = Slab::rows(grid.tiles(), grid.depth(), pairs);
        let inputs = transform_whole(products, &slab, to_tiles);
        by_panels(products, (grid.depth(), g.out), pairs, pack, |columns, weights| {
            multiply_out(0..grid.tiles(), (&inputs, &slab), weights, columns);
        });
    } else {
        let panels = Slab::panels(grid.depth(), g.out, pairs);
        let weights = pack_all(products, &panels, pack);
        let size = task_tiles(grid.tiles(), products * depth);
        parallel::tasks(parallel::parts(grid.tiles(), size), |task| {
            let tiles = parallel::part(grid.tiles(), size, task);
            let slab = Slab::rows(tiles.len(), grid.depth(), pairs);
            let mut inputs = Buffer::take(products * slab.product());
            to_tiles(tiles.clone(), &slab, 0, &Shared::new(&mut inputs));
            multiply_out(tiles, (&inputs, &slab), (&weights, &panels), 0..g.out);
        });
    }
    y
}

fn grow_by<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize>(
    gemm: Gemm,
    g: &Geometry,
    y: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Buffer {
    let grid = Grid::new(g, RESULTS);
    let pairs = pairs_of_channels(gemm);
    let (products, width) = (POINTS * POINTS, grid.depth());
    // Entries of a row of tiles.
    let depth = pairs.columns(g.out);
    let mut x = Buffer::take(g.large_len());
    let result = Shared::new(&mut x);
    let to_tiles = |tiles: Range<usize>, slab: &Slab, at: usize, inputs: &Shared<'_>| {
        simd::dispatch_vectors(SmallToTiles::<W, RESULTS, TAPS, POINTS> {
            grid: &grid,
            tiles,
            image: y,
            slab,
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
    let pack = |columns: Range<usize>, slab: &Slab, packed: &Shared<'_>| {
        simd::dispatch_vectors(WeightsToPanel::<W, RESULTS, TAPS, POINTS> {
            g,
            weight,
            forward: false,
            columns,
            slab,
            result: packed,
            scheme: PhantomData,
        });
    };
    if by_weights(products, grid.tiles(), width.max(depth), width) {
        let slab = Slab::rows(grid.tiles(), g.out, pairs);
        let inputs = transform_whole(products, &slab, to_tiles);
        // Panels have their own phases and channels, so they never write to the same place.
        by_panels(products, (g.out, width), pairs, pack, |columns, weights| {
            multiply_out(0..grid.tiles(), (&inputs, &slab), weights, columns);
        });
    } else {
        let panels = Slab::panels(g.out, width, pairs);
        let weights = pack_all(products, &panels, pack);
        // A task has whole images, because neighbouring tiles add to the same pixels.
        let size = task_tiles(grid.tiles(), products * width.max(depth));
        let images = (size / grid.image_tiles().max(1)).min(g.batch.div_ceil(8)).max(1);
        parallel::tasks(parallel::parts(g.batch, images), |task| {
            let images = parallel::part(g.batch, images, task);
            let first = images.start * grid.image_tiles();
            let count = images.len() * grid.image_tiles();
            for part in 0..parallel::parts(count, size) {
                let part = parallel::part(count, size, part);
                let tiles = first + part.start..first + part.end;
                let slab = Slab::rows(tiles.len(), g.out, pairs);
                let mut inputs = Buffer::take(products * slab.product());
                to_tiles(tiles.clone(), &slab, 0, &Shared::new(&mut inputs));
                multiply_out(tiles, (&inputs, &slab), (&weights, &panels), 0..width);
            }
        });
    }
    x
}

fn weight_gradient_by<
    W: Scheme<RESULTS, TAPS, POINTS>,
    const RESULTS: usize,
    const TAPS: usize,
    const POINTS: usize,
>(
    gemm: Gemm,
    g: &Geometry,
    x: &[f32],
    y: &[f32],
) -> Buffer {
    let pairs = pairs_of_tiles(gemm);
    let grid = Grid::new(g, RESULTS);
    let (products, large) = (POINTS * POINTS, grid.depth());
    // The channels that lie side by side in the weights become the columns of the product.
    let (rows, columns) = if g.transposed { (g.out, large) } else { (large, g.out) };
    let slabs = |count: usize| {
        if g.transposed {
            [Slab::panels(count, large, pairs), Slab::rows(count, g.out, pairs)]
        } else {
            [Slab::rows(count, large, pairs), Slab::panels(count, g.out, pairs)]
        }
    };
    let row_tiles = pairs.tiles_of_row();
    // Transforms the tiles of both images, `at` tiles from the first of the slabs.
    let transform = |tiles: Range<usize>, at: usize, slabs: &[Slab; 2], [large, small]: [&Shared<'_>; 2]| {
        simd::dispatch_vectors(LargeToTiles::<W, RESULTS, TAPS, POINTS> {
            grid: &grid,
            tiles: tiles.clone(),
            image: x,
            slab: &slabs[0],
            at: at / row_tiles,
            result: large,
            scheme: PhantomData,
        });
        simd::dispatch_vectors(SmallToTiles::<W, RESULTS, TAPS, POINTS> {
            grid: &grid,
            tiles,
            image: y,
            slab: &slabs[1],
            at: at / row_tiles,
            result: small,
            scheme: PhantomData,
        });
    };
    let multiply =
        |p: usize, block: Range<usize>, slabs: &[Slab; 2], images: [&[f32]; 2], sums: &mut [f32], write| {
            let [left, right] = if g.transposed { [1, 0] } else { [0, 1] };
            let depth = slabs[left].rows;
            let (left, right) =
                (&images[left][slabs[left].entries(p)], &images[right][slabs[right].entries(p)]);
            multiply(gemm, &left[block.start..], (1, rows), block.len(), depth, right, columns, sums, write);
        };
    let sums_slab = Slab::rows(rows, columns, Pairs::None);
    let mut sums = Buffer::take(products * sums_slab.product());
    if products * rows * columns <= FEW_WEIGHTS {
        // Every part of the tiles has sums of its own, and what it transforms stays in its cache.
        let step = 48;
        let count = parts_of_sum(grid.tiles(), 256, sums.len());
        let size = grid.tiles().div_ceil(count).next_multiple_of(row_tiles).max(1);
        sum_of_parts(parallel::parts(grid.tiles(), size), &mut sums, |part, sums| {
            let part = parallel::part(grid.tiles(), size, part);
            let mut images = slabs(step).map(|slab| Buffer::take(products * slab.product()));
            for index in 0..parallel::parts(part.len(), step) {
                let tiles = parallel::part(part.len(), step, index);
                let slabs = slabs(tiles.len());
                let [large, small] = images.each_mut().map(|image| Shared::new(image));
                transform(part.start + tiles.start..part.start + tiles.end, 0, &slabs, [&large, &small]);
                for p in 0..products {
                    let sums = &mut sums[sums_slab.entries(p)];
                    multiply(p, 0..rows, &slabs, images.each_ref().map(|image| &image[..]), sums, Write::Add);
                }
            }
        });
    } else {
        let chunk = (row_tiles * (1 << 22) / (products * (large + g.out))).clamp(64, grid.tiles().max(64));
        let chunk = chunk.next_multiple_of(row_tiles);
        let mut images = slabs(chunk).map(|slab| Buffer::take(products * slab.product()));
        if grid.tiles() == 0 {
            sums.fill(0.0);
        }
        for index in 0..parallel::parts(grid.tiles(), chunk) {
            let tiles = parallel::part(grid.tiles(), chunk, index);
            let slabs = slabs(tiles.len());
            let [large, small] = images.each_mut().map(|image| Shared::new(image));
            parallel::tasks(parallel::parts(tiles.len(), 16), |task| {
                let part = parallel::part(tiles.len(), 16, task);
                transform(
                    tiles.start + part.start..tiles.start + part.end,
                    part.start,
                    &slabs,
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
                let start = sums_slab.entries(p).start;
                let range = start + block.start * columns..start + block.end * columns;
                // SAFETY: products and blocks of rows are disjoint.
                let sums = unsafe { shared_sums.part(range) };
                let write = if index == 0 { Write::Replace } else { Write::Add };
                multiply(p, block, &slabs, images, sums, write);
            });
        }
    }
    let mut gradient = Buffer::take(g.weights());
    let shared = Shared::new(&mut gradient);
    parallel::tasks(parallel::parts(rows, 8), |task| {
        simd::dispatch_vectors(SumsToWeights::<W, RESULTS, TAPS, POINTS> {
            g,
            sums: &sums,
            rows: parallel::part(rows, 8, task),
            result: &shared,
            scheme: PhantomData,
        });
    });
    gradient
}

/// Whether tasks share out the `columns` of the weights, with the transformed image held whole, and not the tiles: where
/// there are fewer tiles than columns.
fn by_weights(products: usize, tiles: usize, depth: usize, columns: usize) -> bool {
    tiles <= columns && products * tiles * depth <= WHOLE_FLOATS
}

/// Tiles of a task: few enough that it holds at most [`TASK_FLOATS`] floats of them, each of `floats`, and that there
/// are tasks enough.
fn task_tiles(tiles: usize, floats: usize) -> usize {
    let fitting = (TASK_FLOATS / floats.max(1)).clamp(24, TILES);
    fitting.min(tiles.div_ceil(8).max(24))
}

/// Matrices for every product, and how they lie in memory.
type Products<'a> = (&'a [f32], &'a Slab);

/// The matrix products of tiles' inputs with one or all panels of the weights, together of `columns` columns; they lie as
/// [`Slab::rows`] says.
fn multiply_all(
    gemm: Gemm,
    products: usize,
    (inputs, tiles): Products<'_>,
    (weights, panels): Products<'_>,
    columns: usize,
) -> Buffer {
    let (rows, depth) = (tiles.rows, tiles.columns);
    let results = Slab::rows(rows, columns, Pairs::None);
    let mut outputs = Buffer::take(products * results.product());
    for p in 0..products {
        let left = &inputs[tiles.entries(p)];
        let weights = &weights[panels.entries(p)];
        let outputs = &mut outputs[results.entries(p)];
        multiply(gemm, left, (depth, 1), rows, depth, weights, columns, outputs, Write::Replace);
    }
    outputs
}

/// A matrix product over `depth` entries, values or pairs of them; those of the left matrix lie `row` and `column` apart.
#[expect(clippy::too_many_arguments, reason = "the geometry of a matrix product")]
fn multiply(
    gemm: Gemm,
    left: &[f32],
    (row, column): (usize, usize),
    rows: usize,
    depth: usize,
    packed: &[f32],
    columns: usize,
    result: &mut [f32],
    write: Write,
) {
    let rounded = gemm.rounds();
    let left = Left { rounded, ..Left::new(left, row, column) };
    let depth = if rounded { 2 * depth } else { depth };
    gemm.multiply(left, rows, depth, packed, columns, result, columns, write);
}

/// All tiles' inputs, transformed on all threads.
fn transform_whole(
    products: usize,
    slab: &Slab,
    to_tiles: impl Fn(Range<usize>, &Slab, usize, &Shared<'_>) + Send + Sync,
) -> Buffer {
    let mut inputs = Buffer::take(products * slab.product());
    let shared = Shared::new(&mut inputs);
    parallel::tasks(parallel::parts(slab.rows, 16), |task| {
        let part = parallel::part(slab.rows, 16, task);
        to_tiles(part.clone(), slab, part.start, &shared);
    });
    inputs
}

/// Lets tasks transform a panel of the weights each and multiply with it, so that the transformed weights never
/// leave the cache.
fn by_panels(
    products: usize,
    (rows, columns): (usize, usize),
    pairs: Pairs,
    pack: impl Fn(Range<usize>, &Slab, &Shared<'_>) + Send + Sync,
    multiply: impl Fn(Range<usize>, Products<'_>) + Send + Sync,
) {
    let width = gemm::panel_width();
    parallel::tasks(parallel::parts(columns, width), |task| {
        let columns = parallel::part(columns, width, task);
        let slab = Slab::panels(rows, columns.len(), pairs);
        let mut packed = Buffer::take(products * slab.product());
        pack(columns.clone(), &slab, &Shared::new(&mut packed));
        multiply(columns, (&packed, &slab));
    });
}

/// All transformed weights, packed.
fn pack_all(
    products: usize,
    slab: &Slab,
    pack: impl Fn(Range<usize>, &Slab, &Shared<'_>) + Send + Sync,
) -> Buffer {
    let mut packed = Buffer::take(products * slab.product());
    let shared = Shared::new(&mut packed);
    parallel::tasks(slab.columns / GROUP, |task| {
        pack(task * GROUP..(task + 1) * GROUP, slab, &shared);
    });
    packed
}

#[cfg(test)]
mod tests {
    use super::super::convolution;
    use super::*;
    use crate::precision::Precision;
    use crate::testing::{assert_close, numbers};

    fn geometry(batch: usize, size: usize, kernel: usize, stride: usize, channels: usize) -> Geometry {
        let padding = (kernel - 1) / 2;
        Geometry {
            batch,
            large: [size, size + 1],
            channels,
            small: [size, size + 1].map(|size| (size + 2 * padding - kernel) / stride + 1),
            out: 48,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1; 2],
            groups: 1,
            live: kernel * kernel,
            transposed: false,
        }
    }

    /// Every scheme, whether it would be chosen or not, against direct sums.
    #[test]
    fn every_scheme_equals_direct_sums() {
        let cases = [
            (Name::F22, 4, 2),
            (Name::F42, 4, 2),
            (Name::F22, 2, 1),
            (Name::F42, 2, 1),
            (Name::F23, 3, 1),
            (Name::F43, 3, 1),
            (Name::F23, 5, 2),
            (Name::F43, 5, 2),
            (Name::F34, 4, 1),
            (Name::F34, 7, 2),
            (Name::F25, 5, 1),
            (Name::F25, 9, 2),
            (Name::F43, 6, 1),
            (Name::F34, 7, 1),
            (Name::F25, 10, 1),
        ];
        for (name, kernel, stride) in cases {
            // The last has too many tiles to be transformed whole.
            for (batch, size, channels) in [(2, 9, 32), (1, 14, 80), (1, 3, 16), (2, 150, 32)] {
                if size > 100 && name != Name::F23 && name != Name::F42 {
                    continue;
                }
                for transposed in [false, true] {
                    let mut g = geometry(batch, size, kernel, stride, channels);
                    g.transposed = transposed;
                    check(Choice { name, gemm: Gemm::F32 }, &g);
                }
            }
        }
    }

    /// Small whole numbers, which rounding leaves as they are, have exact sums.
    #[test]
    fn rounded_schemes_equal_direct_sums_of_whole_numbers() {
        if !Precision::Bf16.is_supported() {
            println!("skipped: this processor has no AVX512-BF16");
            return;
        }
        let whole =
            |len, seed| -> Vec<f32> { numbers(len, seed).iter().map(|x| (2.0 * x).round()).collect() };
        for (name, kernel, stride) in
            [(Name::F22, 4, 2), (Name::F22, 2, 1), (Name::F23, 3, 1), (Name::F23, 5, 2), (Name::F23, 6, 1)]
        {
            let choice = Choice { name, gemm: Gemm::BF16 };
            for (batch, size, channels) in [(2, 9, 32), (1, 14, 96), (1, 3, 32), (2, 40, 32)] {
                for transposed in [false, true] {
                    let g =
                        Geometry { out: 64, transposed, ..geometry(batch, size, kernel, stride, channels) };
                    let (x, y) = (whole(g.large_len(), 1), whole(g.small_len(), 2));
                    let (weight, bias) = (whole(g.weights(), 3), whole(g.out, 4));
                    let small = convolution::shrink_directly(&g, &x, &weight, Some(&bias));
                    assert_eq!(shrink(choice, &g, &x, &weight, Some(&bias))[..], small[..], "{name:?} {g:?}");
                    let large = convolution::grow_directly(&g, &y, &weight, None);
                    assert_eq!(grow(choice, &g, &y, &weight, None)[..], large[..], "{name:?} {g:?}");
                    let gradient = convolution::weight_gradient_directly(&g, &x, &y);
                    assert_eq!(weight_gradient(choice, &g, &x, &y)[..], gradient[..], "{name:?} {g:?}");
                }
            }
        }
    }

    /// The mean error of rounded factors, which for direct sums is 2.1e-3 of the results' spread.
    #[test]
    fn rounding_doubles_the_error() {
        if !Precision::Bf16.is_supported() {
            println!("skipped: this processor has no AVX512-BF16");
            return;
        }
        for (name, kernel, stride) in [(Name::F22, 4, 2), (Name::F23, 3, 1)] {
            let choice = Choice { name, gemm: Gemm::BF16 };
            let g = Geometry { out: 64, ..geometry(1, 16, kernel, stride, 256) };
            let (x, y, weight) =
                (numbers(g.large_len(), 1), numbers(g.small_len(), 2), numbers(g.weights(), 3));
            let pairs = [
                (shrink(choice, &g, &x, &weight, None), convolution::shrink_directly(&g, &x, &weight, None)),
                (grow(choice, &g, &y, &weight, None), convolution::grow_directly(&g, &y, &weight, None)),
                (weight_gradient(choice, &g, &x, &y), convolution::weight_gradient_directly(&g, &x, &y)),
            ];
            for (got, expected) in pairs {
                let squares =
                    |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>();
                let errors =
                    squares(&mut got.iter().zip(expected.iter()).map(|(got, expected)| got - expected));
                let error = (errors / squares(&mut expected.iter().copied())).sqrt();
                println!("{name:?}: {error:.1e}");
                assert!((3e-3..5e-3).contains(&error), "{name:?}: {error}");
            }
        }
    }

    fn check(choice: Choice, g: &Geometry) {
        let x = numbers(g.large_len(), 1);
        let y = numbers(g.small_len(), 2);
        let weight = numbers(g.weights(), 3);
        let small_bias = numbers(g.out, 4);
        let large_bias = numbers(g.channels, 5);
        // Without vectors no scheme is ever chosen.
        if !simd::has_vectors() {
            return;
        }
        let close = |got: Buffer, expected: Buffer, what: &str| {
            let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
            assert_close(&got, &expected, 1e-5, &format!("{what} of {choice:?} {g:?}"));
        };
        close(
            shrink(choice, g, &x, &weight, Some(&small_bias)),
            convolution::shrink_directly(g, &x, &weight, Some(&small_bias)),
            "small image",
        );
        close(
            grow(choice, g, &y, &weight, Some(&large_bias)),
            convolution::grow_directly(g, &y, &weight, Some(&large_bias)),
            "large image",
        );
        close(
            weight_gradient(choice, g, &x, &y),
            convolution::weight_gradient_directly(g, &x, &y),
            "weights' gradient",
        );
    }
}
