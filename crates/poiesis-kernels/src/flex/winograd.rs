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
//! Memory: with many tiles, transformed weights (`points²` matrices) and some megabytes per thread; with few
//! tiles, the transformed image and one panel of transformed weights per thread.
//!
//! Source: Winograd 1980; Lavin & Gray 2016 for convolutions; Barabasz et al. 2020 for the points.

#![expect(unsafe_code, reason = "the transforms run through dozens of pointers at once")]
#![expect(clippy::needless_range_loop, reason = "indices over registers, the same for several arrays")]

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::convolution::Geometry;
use super::gemm::{self, Left, Write};
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

/// The block for each index below a constant of at most 6, one after the other: the compiler would keep loops
/// this long, and the registers' arrays in memory.
macro_rules! unrolled {
    ($index:ident < $count:expr => $block:block) => {
        unrolled!(@ $index, $count, $block, 0, 1, 2, 3, 4, 5)
    };
    (@ $index:ident, $count:expr, $block:block, $($number:literal),*) => {
        $(if $number < $count {
            let $index: usize = $number;
            $block
        })*
    };
}

/// Which scheme does a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    F22,
    F42,
    F23,
    F43,
    F34,
    F25,
}

/// The scheme that is expected to be fastest for this convolution; `None` where direct sums are.
///
/// The choice does not depend on the batch, so that results do not either.
pub(crate) fn choose(g: &Geometry) -> Option<Choice> {
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
        2 => &[(Choice::F22, 2, 3), (Choice::F42, 4, 5)],
        3 => &[(Choice::F23, 2, 4), (Choice::F43, 4, 6)],
        4 => &[(Choice::F34, 3, 6)],
        5 => &[(Choice::F25, 2, 6)],
        _ => return None,
    };
    let pairs = (g.channels * g.out) as f64;
    let depth = (phases.count.pow(2) * g.channels) as f64;
    // Times in nanoseconds of one thread, about those of a Zen 5 core, for a batch of 64.
    let direct = (64 * g.small[0] * g.small[1] * kernel * kernel) as f64 * pairs / 120.0;
    candidates
        .iter()
        .map(|&(choice, results, points)| {
            let tiles = 64 * g.small[0].div_ceil(results) * g.small[1].div_ceil(results);
            let (tiles, products) = (tiles as f64, (points * points) as f64);
            let multiplying = tiles * depth * g.out as f64 / 120.0;
            let moving = 0.17 * tiles * (depth + g.out as f64);
            let weights = 0.5 * depth * g.out as f64;
            (choice, products * (multiplying + moving + weights))
        })
        .filter(|&(_, time)| time < direct)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(choice, _)| choice)
}

/// [`choose`] for the weights' gradient, whose matrix products are as small as the channels are few.
pub(crate) fn choose_for_weights(g: &Geometry) -> Option<Choice> {
    let depth = Phases::of(g).count.pow(2) * g.channels;
    choose(g).filter(|_| depth.min(g.out) >= 2 * GROUP)
}

/// See [`super::convolution::shrink`].
pub(crate) fn shrink(
    choice: Choice,
    g: &Geometry,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Buffer {
    match choice {
        Choice::F22 => shrink_by::<F22, 2, 2, 3>(g, x, weight, bias),
        Choice::F42 => shrink_by::<F42, 4, 2, 5>(g, x, weight, bias),
        Choice::F23 => shrink_by::<F23, 2, 3, 4>(g, x, weight, bias),
        Choice::F43 => shrink_by::<F43, 4, 3, 6>(g, x, weight, bias),
        Choice::F34 => shrink_by::<F34, 3, 4, 6>(g, x, weight, bias),
        Choice::F25 => shrink_by::<F25, 2, 5, 6>(g, x, weight, bias),
    }
}

/// See [`super::convolution::grow`].
pub(crate) fn grow(choice: Choice, g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    if let Some(mirrored) = mirrored(g) {
        return shrink(choice, &mirrored, y, &mirrored_taps(g, weight), bias);
    }
    match choice {
        Choice::F22 => grow_by::<F22, 2, 2, 3>(g, y, weight, bias),
        Choice::F42 => grow_by::<F42, 4, 2, 5>(g, y, weight, bias),
        Choice::F23 => grow_by::<F23, 2, 3, 4>(g, y, weight, bias),
        Choice::F43 => grow_by::<F43, 4, 3, 6>(g, y, weight, bias),
        Choice::F34 => grow_by::<F34, 3, 4, 6>(g, y, weight, bias),
        Choice::F25 => grow_by::<F25, 2, 5, 6>(g, y, weight, bias),
    }
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
    match choice {
        Choice::F22 => weight_gradient_by::<F22, 2, 2, 3>(g, x, y),
        Choice::F42 => weight_gradient_by::<F42, 4, 2, 5>(g, x, y),
        Choice::F23 => weight_gradient_by::<F23, 2, 3, 4>(g, x, y),
        Choice::F43 => weight_gradient_by::<F43, 4, 3, 6>(g, x, y),
        Choice::F34 => weight_gradient_by::<F34, 3, 4, 6>(g, x, y),
        Choice::F25 => weight_gradient_by::<F25, 2, 5, 6>(g, x, y),
    }
}

/// The matrices of `y = Aᵀ ((G g) ⊙ (Bᵀ d))`.
trait Scheme<const RESULTS: usize, const TAPS: usize, const POINTS: usize>: 'static {
    /// `Bᵀ`
    const DATA: [[f32; POINTS]; POINTS];
    /// `G`
    const KERNEL: [[f32; TAPS]; POINTS];
    /// `Aᵀ`
    const RESULT: [[f32; POINTS]; RESULTS];
}

struct F22;

impl Scheme<2, 2, 3> for F22 {
    const DATA: [[f32; 3]; 3] = [[1.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 1.0]];
    const KERNEL: [[f32; 2]; 3] = [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    const RESULT: [[f32; 3]; 2] = [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]];
}

struct F42;

impl Scheme<4, 2, 5> for F42 {
    const DATA: [[f32; 5]; 5] = [
        [1.0, 2.0, -1.0, -2.0, 0.0],
        [0.0, 0.5, 1.5, 1.0, 0.0],
        [0.0, -0.5, -0.5, 1.0, 0.0],
        [0.0, -1.0, 0.0, 1.0, 0.0],
        [0.0, -0.5, -1.0, 0.5, 1.0],
    ];
    const KERNEL: [[f32; 2]; 5] =
        [[1.0, 0.0], [1.0 / 3.0, 1.0 / 3.0], [-1.0, 1.0], [8.0 / 3.0, -4.0 / 3.0], [0.0, 1.0]];
    const RESULT: [[f32; 5]; 4] = [
        [1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, -1.0, -0.5, 0.0],
        [0.0, 1.0, 1.0, 0.25, 0.0],
        [0.0, 1.0, -1.0, -0.125, 1.0],
    ];
}

struct F23;

impl Scheme<2, 3, 4> for F23 {
    const DATA: [[f32; 4]; 4] =
        [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]];
    const KERNEL: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    const RESULT: [[f32; 4]; 2] = [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, 1.0]];
}

/// The five finite points of the schemes of six, and what the kernel's value at each is multiplied with.
const SIX: [(f32, f32); 5] =
    [(0.0, 1.0), (1.0, 1.0 / 3.0), (-1.0, -1.0 / 3.0), (0.5, -16.0 / 15.0), (-2.0, 1.0 / 15.0)];

/// `Bᵀ` of six points.
const SIX_DATA: [[f32; 6]; 6] = [
    [1.0, -1.5, -2.0, 1.5, 1.0, 0.0],
    [0.0, -1.0, 0.5, 2.5, 1.0, 0.0],
    [0.0, 1.0, -2.5, 0.5, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 0.5, -1.0, -0.5, 1.0, 0.0],
    [0.0, 1.0, -1.5, -2.0, 1.5, 1.0],
];

/// `G` of six points: the kernel as a polynomial at each of them, and its last tap at ∞.
const fn six_kernel<const TAPS: usize>() -> [[f32; TAPS]; 6] {
    let mut kernel = [[0.0; TAPS]; 6];
    let mut point = 0;
    while point < 5 {
        let mut power = SIX[point].1;
        let mut tap = 0;
        while tap < TAPS {
            kernel[point][tap] = power;
            power *= SIX[point].0;
            tap += 1;
        }
        point += 1;
    }
    kernel[5][TAPS - 1] = 1.0;
    kernel
}

/// `Aᵀ` of six points.
const fn six_result<const RESULTS: usize>() -> [[f32; 6]; RESULTS] {
    let mut result = [[0.0; 6]; RESULTS];
    let mut point = 0;
    while point < 5 {
        let mut power = 1.0;
        let mut row = 0;
        while row < RESULTS {
            result[row][point] = power;
            power *= SIX[point].0;
            row += 1;
        }
        point += 1;
    }
    result[RESULTS - 1][5] = 1.0;
    result
}

struct F43;

impl Scheme<4, 3, 6> for F43 {
    const DATA: [[f32; 6]; 6] = SIX_DATA;
    const KERNEL: [[f32; 3]; 6] = six_kernel();
    const RESULT: [[f32; 6]; 4] = six_result();
}

struct F34;

impl Scheme<3, 4, 6> for F34 {
    const DATA: [[f32; 6]; 6] = SIX_DATA;
    const KERNEL: [[f32; 4]; 6] = six_kernel();
    const RESULT: [[f32; 6]; 3] = six_result();
}

struct F25;

impl Scheme<2, 5, 6> for F25 {
    const DATA: [[f32; 6]; 6] = SIX_DATA;
    const KERNEL: [[f32; 5]; 6] = six_kernel();
    const RESULT: [[f32; 6]; 2] = six_result();
}

fn shrink_by<
    W: Scheme<RESULTS, TAPS, POINTS>,
    const RESULTS: usize,
    const TAPS: usize,
    const POINTS: usize,
>(
    g: &Geometry,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Buffer {
    let grid = Grid::new(g, RESULTS);
    let (products, depth) = (POINTS * POINTS, grid.depth());
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
            scheme: std::marker::PhantomData,
        });
    };
    let multiply_out = |tiles: Range<usize>, inputs: &[f32], packed: &[f32], columns: Range<usize>| {
        let (count, width) = (tiles.len(), columns.len());
        let mut outputs = Buffer::take(products * count * width);
        multiply_all(products, count, depth, width, inputs, packed, &mut outputs);
        simd::dispatch_vectors(TilesToSmall::<W, RESULTS, TAPS, POINTS> {
            grid: &grid,
            tiles,
            products: &outputs,
            columns,
            bias,
            result: &result,
            scheme: std::marker::PhantomData,
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
            scheme: std::marker::PhantomData,
        });
    };
    if by_weights(products, grid.tiles(), depth, g.out) {
        let inputs = transform_whole(products, grid.tiles(), depth, to_tiles);
        by_panels(products, depth, g.out, pack, |columns, packed| {
            multiply_out(0..grid.tiles(), &inputs, packed, columns);
        });
    } else {
        let packed = pack_all(products, depth, g.out, pack);
        let size = task_tiles(grid.tiles(), products * depth);
        parallel::tasks(parallel::parts(grid.tiles(), size), |task| {
            let tiles = parallel::part(grid.tiles(), size, task);
            let slab = Slab::rows(tiles.len(), depth);
            let mut inputs = Buffer::take(products * tiles.len() * depth);
            to_tiles(tiles.clone(), &slab, 0, &Shared::new(&mut inputs));
            multiply_out(tiles, &inputs, &packed, 0..g.out);
        });
    }
    y
}

fn grow_by<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize>(
    g: &Geometry,
    y: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Buffer {
    let grid = Grid::new(g, RESULTS);
    let (products, width) = (POINTS * POINTS, grid.depth());
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
            scheme: std::marker::PhantomData,
        });
    };
    let multiply_out = |tiles: Range<usize>, inputs: &[f32], packed: &[f32], columns: Range<usize>| {
        let (count, width) = (tiles.len(), columns.len());
        let mut outputs = Buffer::take(products * count * width);
        multiply_all(products, count, g.out, width, inputs, packed, &mut outputs);
        simd::dispatch_vectors(TilesToLarge::<W, RESULTS, TAPS, POINTS> {
            grid: &grid,
            tiles,
            products: &outputs,
            columns,
            bias,
            result: &result,
            scheme: std::marker::PhantomData,
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
            scheme: std::marker::PhantomData,
        });
    };
    if by_weights(products, grid.tiles(), width.max(g.out), width) {
        let inputs = transform_whole(products, grid.tiles(), g.out, to_tiles);
        // Panels have their own phases and channels, so they never write to the same place.
        by_panels(products, g.out, width, pack, |columns, packed| {
            multiply_out(0..grid.tiles(), &inputs, packed, columns);
        });
    } else {
        let packed = pack_all(products, g.out, width, pack);
        // A task has whole images, because neighbouring tiles add to the same pixels.
        let size = task_tiles(grid.tiles(), products * width.max(g.out));
        let images = (size / grid.image_tiles().max(1)).min(g.batch.div_ceil(8)).max(1);
        parallel::tasks(parallel::parts(g.batch, images), |task| {
            let images = parallel::part(g.batch, images, task);
            let first = images.start * grid.image_tiles();
            let count = images.len() * grid.image_tiles();
            for part in 0..parallel::parts(count, size) {
                let part = parallel::part(count, size, part);
                let tiles = first + part.start..first + part.end;
                let slab = Slab::rows(tiles.len(), g.out);
                let mut inputs = Buffer::take(products * tiles.len() * g.out);
                to_tiles(tiles.clone(), &slab, 0, &Shared::new(&mut inputs));
                multiply_out(tiles, &inputs, &packed, 0..width);
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
    g: &Geometry,
    x: &[f32],
    y: &[f32],
) -> Buffer {
    let grid = Grid::new(g, RESULTS);
    let (products, large) = (POINTS * POINTS, grid.depth());
    // The channels that lie side by side in the weights become the columns of the product.
    let (rows, columns) = if g.transposed { (g.out, large) } else { (large, g.out) };
    let chunk = ((1 << 22) / (products * (large + g.out))).clamp(64, grid.tiles().max(64));
    let mut large_tiles = Buffer::take(products * chunk * large);
    let mut small_tiles = Buffer::take(products * chunk * g.out);
    let mut sums = Buffer::take(products * rows * columns);
    if grid.tiles() == 0 {
        sums.fill(0.0);
    }
    for index in 0..parallel::parts(grid.tiles(), chunk) {
        let tiles = parallel::part(grid.tiles(), chunk, index);
        let count = tiles.len();
        let (large_slab, small_slab) = if g.transposed {
            (Slab::panels(count, large), Slab::rows(count, g.out))
        } else {
            (Slab::rows(count, large), Slab::panels(count, g.out))
        };
        let shared_large = Shared::new(&mut large_tiles);
        let shared_small = Shared::new(&mut small_tiles);
        parallel::tasks(parallel::parts(count, 16), |task| {
            let part = parallel::part(count, 16, task);
            let part_tiles = tiles.start + part.start..tiles.start + part.end;
            simd::dispatch_vectors(LargeToTiles::<W, RESULTS, TAPS, POINTS> {
                grid: &grid,
                tiles: part_tiles.clone(),
                image: x,
                slab: &large_slab,
                at: part.start,
                result: &shared_large,
                scheme: std::marker::PhantomData,
            });
            simd::dispatch_vectors(SmallToTiles::<W, RESULTS, TAPS, POINTS> {
                grid: &grid,
                tiles: part_tiles,
                image: y,
                slab: &small_slab,
                at: part.start,
                result: &shared_small,
                scheme: std::marker::PhantomData,
            });
        });
        let (left, right): (&[f32], &[f32]) =
            if g.transposed { (&small_tiles, &large_tiles) } else { (&large_tiles, &small_tiles) };
        let block = rows.div_ceil(4).next_multiple_of(24);
        let blocks = parallel::parts(rows, block);
        let shared_sums = Shared::new(&mut sums);
        parallel::tasks(products * blocks, |task| {
            let (p, block_index) = (task / blocks, task % blocks);
            let block = parallel::part(rows, block, block_index);
            let start = p * rows * columns;
            let range = start + block.start * columns..start + block.end * columns;
            // SAFETY: products and blocks of rows are disjoint.
            let sums = unsafe { shared_sums.part(range) };
            let write = if index == 0 { Write::Replace } else { Write::Add };
            gemm::multiply(
                Left::new(&left[p * count * rows + block.start..], 1, rows),
                block.len(),
                count,
                &right[p * count * columns..(p + 1) * count * columns],
                columns,
                sums,
                columns,
                write,
            );
        });
    }
    let mut gradient = Buffer::take(g.weights());
    let shared = Shared::new(&mut gradient);
    parallel::tasks(parallel::parts(rows, 8), |task| {
        simd::dispatch_vectors(SumsToWeights::<W, RESULTS, TAPS, POINTS> {
            g,
            sums: &sums,
            rows: parallel::part(rows, 8, task),
            result: &shared,
            scheme: std::marker::PhantomData,
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

/// The matrix products of `count` tiles' inputs with one or all panels of the weights.
fn multiply_all(
    products: usize,
    count: usize,
    depth: usize,
    width: usize,
    inputs: &[f32],
    packed: &[f32],
    outputs: &mut [f32],
) {
    let packed_len = gemm::packed_len(depth, width);
    for p in 0..products {
        gemm::multiply(
            Left::new(&inputs[p * count * depth..], depth, 1),
            count,
            depth,
            &packed[p * packed_len..][..packed_len],
            width,
            &mut outputs[p * count * width..],
            width,
            Write::Replace,
        );
    }
}

/// All tiles' inputs, transformed on all threads.
fn transform_whole(
    products: usize,
    tiles: usize,
    depth: usize,
    to_tiles: impl Fn(Range<usize>, &Slab, usize, &Shared<'_>) + Send + Sync,
) -> Buffer {
    let mut inputs = Buffer::take(products * tiles * depth);
    let slab = Slab::rows(tiles, depth);
    let shared = Shared::new(&mut inputs);
    parallel::tasks(parallel::parts(tiles, 16), |task| {
        let part = parallel::part(tiles, 16, task);
        to_tiles(part.clone(), &slab, part.start, &shared);
    });
    inputs
}

/// Lets tasks transform a panel of the weights each and multiply with it, so that the transformed weights never
/// leave the cache.
fn by_panels(
    products: usize,
    rows: usize,
    columns: usize,
    pack: impl Fn(Range<usize>, &Slab, &Shared<'_>) + Send + Sync,
    multiply: impl Fn(Range<usize>, &[f32]) + Send + Sync,
) {
    let width = gemm::panel_width();
    parallel::tasks(parallel::parts(columns, width), |task| {
        let columns = parallel::part(columns, width, task);
        let slab = Slab::panels(rows, columns.len());
        let mut packed = Buffer::take(products * rows * columns.len());
        pack(columns.clone(), &slab, &Shared::new(&mut packed));
        multiply(columns, &packed);
    });
}

/// All transformed weights, packed.
fn pack_all(
    products: usize,
    rows: usize,
    columns: usize,
    pack: impl Fn(Range<usize>, &Slab, &Shared<'_>) + Send + Sync,
) -> Buffer {
    let mut packed = Buffer::take(products * rows * columns);
    let slab = Slab::panels(rows, columns);
    let shared = Shared::new(&mut packed);
    parallel::tasks(columns / GROUP, |task| {
        pack(task * GROUP..(task + 1) * GROUP, &slab, &shared);
    });
    packed
}

/// How the pixels of an axis of the large image, and with them the taps, are shared out: those of a phase lie `step` apart, and
/// the next phase begins `apart` after the one before.
#[derive(Clone, Copy)]
struct Phases {
    count: usize,
    step: usize,
    apart: usize,
}

impl Phases {
    fn of(g: &Geometry) -> Phases {
        match (g.stride[0], g.kernel[0]) {
            (2, _) => Phases { count: 2, step: 2, apart: 1 },
            (_, 0..=5) => Phases { count: 1, step: 1, apart: 0 },
            (_, kernel) => Phases { count: 2, step: 1, apart: kernel.div_ceil(2) },
        }
    }

    /// The place of pixel or tap `i` of a phase.
    #[inline(always)]
    fn place(self, phase: usize, i: usize) -> usize {
        self.apart * phase + self.step * i
    }
}

/// The tiles of a batch.
struct Grid {
    large: [usize; 2],
    channels: usize,
    small: [usize; 2],
    out: usize,
    batch: usize,
    phases: Phases,
    padding: [usize; 2],
    /// Small pixels of a tile along an axis.
    results: usize,
    /// Tiles of an image, down and across.
    tiles: [usize; 2],
    /// What lies outside an image.
    zeros: Vec<f32>,
}

impl Grid {
    fn new(g: &Geometry, results: usize) -> Self {
        Self {
            large: g.large,
            channels: g.channels,
            small: g.small,
            out: g.out,
            batch: g.batch,
            phases: Phases::of(g),
            padding: g.padding,
            results,
            tiles: g.small.map(|size| size.div_ceil(results)),
            zeros: vec![0.0; g.channels.max(g.out)],
        }
    }

    fn phases(&self) -> usize {
        self.phases.count.pow(2)
    }

    /// Channels of all phases.
    fn depth(&self) -> usize {
        self.phases() * self.channels
    }

    fn image_tiles(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    fn tiles(&self) -> usize {
        self.batch * self.image_tiles()
    }

    /// Image, row and column of a tile.
    fn tile(&self, index: usize) -> (usize, usize, usize) {
        let [height, width] = self.tiles;
        (index / (height * width), index / width % height, index % width)
    }

    /// Where the values of the large pixel `(i, j)` of a tile's phase lie.
    #[inline(always)]
    fn large_pixel(&self, tile: (usize, usize, usize), phase: usize, at: (usize, usize)) -> Option<usize> {
        let (image, y, x) = tile;
        let place = |tile: usize, phase: usize, at: usize, axis: usize| {
            self.phases.place(phase, self.results * tile + at).wrapping_sub(self.padding[axis])
        };
        let y = place(y, phase / self.phases.count, at.0, 0);
        let x = place(x, phase % self.phases.count, at.1, 1);
        (y < self.large[0] && x < self.large[1])
            .then(|| ((image * self.large[0] + y) * self.large[1] + x) * self.channels)
    }

    /// Where the values of the small pixel `(i, j)` of a tile lie.
    #[inline(always)]
    fn small_pixel(&self, tile: (usize, usize, usize), at: (usize, usize)) -> Option<usize> {
        let (image, y, x) = tile;
        let y = self.results * y + at.0;
        let x = self.results * x + at.1;
        (y < self.small[0] && x < self.small[1])
            .then(|| ((image * self.small[0] + y) * self.small[1] + x) * self.out)
    }
}

/// How transformed values lie in memory: product after product, each a matrix, by rows or packed in panels for
/// the right side of a matrix product.
struct Slab {
    rows: usize,
    columns: usize,
    panel: usize,
}

impl Slab {
    fn rows(rows: usize, columns: usize) -> Self {
        Self { rows, columns, panel: columns }
    }

    fn panels(rows: usize, columns: usize) -> Self {
        Self { rows, columns, panel: gemm::panel_width() }
    }

    /// Where the value of `row` and `column` of the first product lies; columns up to the next multiple of
    /// [`GROUP`] follow it.
    #[inline(always)]
    fn offset(&self, row: usize, column: usize) -> usize {
        let first = column / self.panel * self.panel;
        let width = self.panel.min(self.columns - first);
        first * self.rows + row * width + column - first
    }

    /// Distance of the products.
    fn product(&self) -> usize {
        self.rows * self.columns
    }
}

/// Transforms the large image's phases, `Bᵀ d B`.
struct LargeToTiles<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    grid: &'a Grid,
    tiles: Range<usize>,
    image: &'a [f32],
    slab: &'a Slab,
    /// Row of the slab for the first of `tiles`.
    at: usize,
    result: &'a Shared<'a>,
    scheme: std::marker::PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for LargeToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.grid.channels;
        for (row, index) in self.tiles.clone().enumerate() {
            let tile = self.grid.tile(index);
            for phase in 0..self.grid.phases() {
                let mut pixels = [[self.grid.zeros.as_ptr(); POINTS]; POINTS];
                unrolled!(j < POINTS => {
                    unrolled!(i < POINTS => {
                        if let Some(at) = self.grid.large_pixel(tile, phase, (j, i)) {
                            pixels[j][i] = self.image[at..at + channels].as_ptr();
                        }
                    });
                });
                for group in (0..channels).step_by(GROUP) {
                    let at = self.slab.offset(self.at + row, phase * channels + group);
                    for c in (group..group + GROUP).step_by(S::F32_LANES) {
                        let mut d = [[simd.splat_f32s(0.0); POINTS]; POINTS];
                        unrolled!(j < POINTS => {
                            unrolled!(i < POINTS => {
                                // SAFETY: a pixel has `channels` values, of which a multiple of `GROUP`
                                // and hence of the lanes; `zeros` are as many.
                                d[j][i] = unsafe { load::<S>(pixels[j][i].wrapping_add(c)) };
                            });
                        });
                        let values = both_axes(simd, const { &W::DATA }, d);
                        // SAFETY: every row, product and column has a place of its own.
                        unsafe { self.slab.store(simd, self.result, at + c - group, values) };
                    }
                }
            }
        }
    }
}

/// Transforms the small image, `A y Aᵀ`.
struct SmallToTiles<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    grid: &'a Grid,
    tiles: Range<usize>,
    image: &'a [f32],
    slab: &'a Slab,
    /// Row of the slab for the first of `tiles`.
    at: usize,
    result: &'a Shared<'a>,
    scheme: std::marker::PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for SmallToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let out = self.grid.out;
        for (row, index) in self.tiles.clone().enumerate() {
            let tile = self.grid.tile(index);
            let mut pixels = [[self.grid.zeros.as_ptr(); RESULTS]; RESULTS];
            unrolled!(j < RESULTS => {
                unrolled!(i < RESULTS => {
                    if let Some(at) = self.grid.small_pixel(tile, (j, i)) {
                        pixels[j][i] = self.image[at..at + out].as_ptr();
                    }
                });
            });
            for group in (0..out).step_by(GROUP) {
                let at = self.slab.offset(self.at + row, group);
                for c in (group..group + GROUP).step_by(S::F32_LANES) {
                    let mut y = [[simd.splat_f32s(0.0); RESULTS]; RESULTS];
                    unrolled!(j < RESULTS => {
                        unrolled!(i < RESULTS => {
                            // SAFETY: a pixel has `out` values, a multiple of `GROUP`; `zeros` are as many.
                            y[j][i] = unsafe { load::<S>(pixels[j][i].wrapping_add(c)) };
                        });
                    });
                    let values = both_axes(simd, const { &transpose(W::RESULT) }, y);
                    // SAFETY: every row, product and column has a place of its own.
                    unsafe { self.slab.store(simd, self.result, at + c - group, values) };
                }
            }
        }
    }
}

impl Slab {
    /// Stores the vectors of all products from `at` in the first product on.
    ///
    /// # Safety
    ///
    /// Nothing else may use these places at the same time.
    #[inline(always)]
    unsafe fn store<S: Simd, const POINTS: usize>(
        &self,
        _simd: S,
        result: &Shared<'_>,
        at: usize,
        values: [[S::f32s; POINTS]; POINTS],
    ) {
        unrolled!(j < POINTS => {
            unrolled!(i < POINTS => {
                let at = at + (POINTS * j + i) * self.product();
                // SAFETY: the caller's promise; the part has a vector's values.
                unsafe { store(result.part(at..at + S::F32_LANES), values[j][i]) };
            });
        });
    }
}

/// Puts the tiles' products together to small pixels: `Aᵀ m A`.
struct TilesToSmall<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    grid: &'a Grid,
    tiles: Range<usize>,
    products: &'a [f32],
    /// The channels that the products have.
    columns: Range<usize>,
    bias: Option<&'a [f32]>,
    result: &'a Shared<'a>,
    scheme: std::marker::PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for TilesToSmall<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.columns.len();
        let slab = Slab::rows(self.tiles.len(), width);
        for (row, index) in self.tiles.clone().enumerate() {
            let tile = self.grid.tile(index);
            for c in (0..width).step_by(S::F32_LANES) {
                // SAFETY: `multiply_all` filled the products.
                let m: [[S::f32s; POINTS]; POINTS] =
                    unsafe { slab.load(simd, self.products, row * width + c) };
                let bias = bias_vector(simd, self.bias, self.columns.start + c);
                let values = both_axes(simd, const { &W::RESULT }, m);
                unrolled!(j < RESULTS => {
                    unrolled!(i < RESULTS => {
                        if let Some(at) = self.grid.small_pixel(tile, (j, i)) {
                            let at = at + self.columns.start + c;
                            let value = simd.add_f32s(values[j][i], bias);
                            // SAFETY: every tile has pixels of its own, every task channels or tiles.
                            unsafe { store(self.result.part(at..at + S::F32_LANES), value) };
                        }
                    });
                });
            }
        }
    }
}

impl Slab {
    /// The vectors of all products from `at` in the first product on.
    ///
    /// # Safety
    ///
    /// They must lie inside `products`, which is checked.
    #[inline(always)]
    unsafe fn load<S: Simd, const POINTS: usize>(
        &self,
        simd: S,
        products: &[f32],
        at: usize,
    ) -> [[S::f32s; POINTS]; POINTS] {
        let mut values = [[simd.splat_f32s(0.0); POINTS]; POINTS];
        unrolled!(j < POINTS => {
            unrolled!(i < POINTS => {
                let at = at + (POINTS * j + i) * self.product();
                // SAFETY: the slice has as many values as are read.
                values[j][i] = unsafe { load::<S>(products[at..at + S::F32_LANES].as_ptr()) };
            });
        });
        values
    }
}

#[inline(always)]
fn bias_vector<S: Simd>(simd: S, bias: Option<&[f32]>, at: usize) -> S::f32s {
    match bias {
        // SAFETY: the slice has as many values as are read.
        Some(bias) => unsafe { load::<S>(bias[at..at + S::F32_LANES].as_ptr()) },
        None => simd.splat_f32s(0.0),
    }
}

/// Puts the tiles' products together to large pixels, `B v Bᵀ`; neighbouring tiles add up where they overlap.
struct TilesToLarge<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    grid: &'a Grid,
    tiles: Range<usize>,
    products: &'a [f32],
    /// The columns (phase and channel) that the products have.
    columns: Range<usize>,
    bias: Option<&'a [f32]>,
    result: &'a Shared<'a>,
    scheme: std::marker::PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for TilesToLarge<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.grid.channels;
        let width = self.columns.len();
        let slab = Slab::rows(self.tiles.len(), width);
        let overlap = POINTS - RESULTS;
        for (row, index) in self.tiles.clone().enumerate() {
            let tile = self.grid.tile(index);
            let mut pixels = [[None; POINTS]; POINTS];
            let mut current = usize::MAX;
            for column in (0..width).step_by(S::F32_LANES) {
                let (phase, channel) =
                    ((self.columns.start + column) / channels, (self.columns.start + column) % channels);
                if phase != current {
                    current = phase;
                    unrolled!(j < POINTS => {
                        unrolled!(i < POINTS => {
                            pixels[j][i] = self.grid.large_pixel(tile, phase, (j, i));
                        });
                    });
                }
                // SAFETY: `multiply_all` filled the products.
                let v: [[S::f32s; POINTS]; POINTS] =
                    unsafe { slab.load(simd, self.products, row * width + column) };
                let bias = bias_vector(simd, self.bias, channel);
                let values = both_axes(simd, const { &transpose(W::DATA) }, v);
                unrolled!(j < POINTS => {
                                    unrolled!(i < POINTS => {
                                        if let Some(at) = pixels[j][i] {
                                        let at = at + channel;
                                        // SAFETY: a task's images, phases or channels are its own.
                                        let pixel = unsafe { self.result.part(at..at + S::F32_LANES) };
                                        // The tile above or to the left was here before.
                                        let seen = (j < overlap && tile.1 > 0) || (i < overlap && tile.2 > 0);
                                        let old = if seen {
                                            // SAFETY: the slice has as many values as are read.
                                            unsafe { load::<S>(pixel.as_ptr()) }
                                        } else {
                                            bias
                                        };
                                        // SAFETY: the slice has as many values as are written.
                                        unsafe { store(pixel, simd.add_f32s(old, values[j][i])) };
                }
                                    });
                                });
            }
        }
    }
}

/// Transforms the weights, `G g Gᵀ`, and packs `(phase, channel) × out` if `forward`, else
/// `out × (phase, channel)`.
struct WeightsToPanel<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    g: &'a Geometry,
    weight: &'a [f32],
    forward: bool,
    columns: Range<usize>,
    /// Has either all columns or only these.
    slab: &'a Slab,
    result: &'a Shared<'a>,
    scheme: std::marker::PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for WeightsToPanel<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let straight = self.forward != self.g.transposed;
        let first = if self.slab.columns == self.columns.len() { self.columns.start } else { 0 };
        for row in (0..self.slab.rows).step_by(GROUP) {
            for column in self.columns.clone().step_by(GROUP) {
                let (large, out) = if self.forward { (row, column) } else { (column, row) };
                let mut taps = [[[[0.0; GROUP]; GROUP]; TAPS]; TAPS];
                unrolled!(j < TAPS => {
                    unrolled!(i < TAPS => {
                        weight_block(self.g, self.weight, (large, out), (j, i), straight, &mut taps[j][i]);
                    });
                });
                for r in 0..GROUP {
                    let at = self.slab.offset(row + r, column - first);
                    for c in (0..GROUP).step_by(S::F32_LANES) {
                        let mut w = [[simd.splat_f32s(0.0); TAPS]; TAPS];
                        unrolled!(j < TAPS => {
                            unrolled!(i < TAPS => {
                                let values = &taps[j][i][r][c..c + S::F32_LANES];
                                // SAFETY: the slice has as many values as are read.
                                w[j][i] = unsafe { load::<S>(values.as_ptr()) };
                            });
                        });
                        let values = both_axes(simd, const { &W::KERNEL }, w);
                        // SAFETY: every row, column and product has a place of its own.
                        unsafe { self.slab.store(simd, self.result, at + c, values) };
                    }
                }
            }
        }
    }
}

/// The place in the weights of tap `(j, i)` of a phase, a channel of the large and one of the small image;
/// `large` counts phases and channels. `None` beyond the kernel.
#[inline(always)]
fn weight_offset(g: &Geometry, large: usize, out: usize, tap: (usize, usize)) -> Option<usize> {
    let phases = Phases::of(g);
    let (phase, channel) = (large / g.channels, large % g.channels);
    let y = phases.place(phase / phases.count, tap.0);
    let x = phases.place(phase % phases.count, tap.1);
    let tap = y * g.kernel[1] + x;
    (y < g.kernel[0] && x < g.kernel[1]).then(|| {
        if g.transposed {
            (tap * g.out + out) * g.channels + channel
        } else {
            (tap * g.channels + channel) * g.out + out
        }
    })
}

/// One tap of a phase for a group of channels of the large image and a group of channels of the small one.
/// The inner index runs over those that lie side by side in the weights if `straight`, else over the others.
#[inline(always)]
fn weight_block(
    g: &Geometry,
    weight: &[f32],
    (large, out): (usize, usize),
    tap: (usize, usize),
    straight: bool,
    block: &mut [[f32; GROUP]; GROUP],
) {
    let Some(start) = weight_offset(g, large, out, tap) else {
        return;
    };
    let distance = if g.transposed { g.channels } else { g.out };
    for i in 0..GROUP {
        let values = &weight[start + i * distance..][..GROUP];
        if straight {
            block[i].copy_from_slice(values);
        } else {
            for j in 0..GROUP {
                block[j][i] = values[j];
            }
        }
    }
}

/// The weights' gradient from that of the transformed weights, `Gᵀ u G`.
struct SumsToWeights<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    g: &'a Geometry,
    /// Products of rows (phase, channel) and columns out, or the other way if the weights are transposed.
    sums: &'a [f32],
    rows: Range<usize>,
    result: &'a Shared<'a>,
    scheme: std::marker::PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for SumsToWeights<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let g = self.g;
        let large = Phases::of(g).count.pow(2) * g.channels;
        let slab = if g.transposed { Slab::rows(g.out, large) } else { Slab::rows(large, g.out) };
        for row in self.rows {
            for column in (0..slab.columns).step_by(S::F32_LANES) {
                // SAFETY: the loads are checked.
                let u: [[S::f32s; POINTS]; POINTS] =
                    unsafe { slab.load(simd, self.sums, row * slab.columns + column) };
                let values = both_axes(simd, const { &transpose(W::KERNEL) }, u);
                let (large, out) = if g.transposed { (column, row) } else { (row, column) };
                unrolled!(j < TAPS => {
                    unrolled!(i < TAPS => {
                        if let Some(at) = weight_offset(g, large, out, (j, i)) {
                            // SAFETY: every tap and pair of channels has a place of its own.
                            unsafe {
                                store(self.result.part(at..at + S::F32_LANES), values[j][i]);
                            }
                        }
                    });
                });
            }
        }
    }
}

/// # Safety
///
/// A vector's values must be readable from `source` on.
#[inline(always)]
unsafe fn load<S: Simd>(source: *const f32) -> S::f32s {
    // SAFETY: the caller's promise; vectors need no alignment here.
    unsafe { source.cast::<S::f32s>().read_unaligned() }
}

/// # Safety
///
/// `target` must have a vector's values.
#[inline(always)]
unsafe fn store<V>(target: &mut [f32], value: V) {
    // SAFETY: the caller's promise; vectors need no alignment here.
    unsafe { target.as_mut_ptr().cast::<V>().write_unaligned(value) }
}

const fn transpose<const I: usize, const O: usize>(matrix: [[f32; I]; O]) -> [[f32; O]; I] {
    let mut transposed = [[0.0; O]; I];
    let mut o = 0;
    while o < O {
        let mut i = 0;
        while i < I {
            transposed[i][o] = matrix[o][i];
            i += 1;
        }
        o += 1;
    }
    transposed
}

/// `matrix · x · matrixᵀ`
#[inline(always)]
fn both_axes<S: Simd, const I: usize, const O: usize>(
    simd: S,
    matrix: &'static [[f32; I]; O],
    x: [[S::f32s; I]; I],
) -> [[S::f32s; O]; O] {
    let zero = simd.splat_f32s(0.0);
    let mut rows = [[zero; O]; I];
    unrolled!(j < I => {
        rows[j] = one_axis(simd, matrix, x[j]);
    });
    let mut result = [[zero; O]; O];
    unrolled!(i < O => {
        let mut column = [zero; I];
        unrolled!(j < I => {
            column[j] = rows[j][i];
        });
        let column = one_axis(simd, matrix, column);
        unrolled!(j < O => {
            result[j][i] = column[j];
        });
    });
    result
}

/// `matrix · x`; the compiler sees the factors and leaves out zeros and ones.
#[inline(always)]
fn one_axis<S: Simd, const I: usize, const O: usize>(
    simd: S,
    matrix: &'static [[f32; I]; O],
    x: [S::f32s; I],
) -> [S::f32s; O] {
    let mut result = [simd.splat_f32s(0.0); O];
    unrolled!(o < O => {
        let mut empty = true;
        unrolled!(i < I => {
            let factor = matrix[o][i];
            if factor != 0.0 {
                let factors = simd.splat_f32s(factor);
                result[o] = if empty && factor == 1.0 {
                    x[i]
                } else if empty && factor == -1.0 {
                    simd.neg_f32s(x[i])
                } else if empty {
                    simd.mul_f32s(factors, x[i])
                } else if factor == 1.0 {
                    simd.add_f32s(result[o], x[i])
                } else if factor == -1.0 {
                    simd.sub_f32s(result[o], x[i])
                } else {
                    simd.mul_add_e_f32s(factors, x[i], result[o])
                };
                empty = false;
            }
        });
        let _ = empty;
    });
    result
}

#[cfg(test)]
mod tests {
    use super::super::convolution;
    use super::*;
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
            (Choice::F22, 4, 2),
            (Choice::F42, 4, 2),
            (Choice::F22, 2, 1),
            (Choice::F42, 2, 1),
            (Choice::F23, 3, 1),
            (Choice::F43, 3, 1),
            (Choice::F23, 5, 2),
            (Choice::F43, 5, 2),
            (Choice::F34, 4, 1),
            (Choice::F34, 7, 2),
            (Choice::F25, 5, 1),
            (Choice::F25, 9, 2),
            (Choice::F43, 6, 1),
            (Choice::F34, 7, 1),
            (Choice::F25, 10, 1),
        ];
        for (choice, kernel, stride) in cases {
            // The last has too many tiles to be transformed whole.
            for (batch, size, channels) in [(2, 9, 32), (1, 14, 80), (1, 3, 16), (2, 150, 32)] {
                if size > 100 && choice != Choice::F23 && choice != Choice::F42 {
                    continue;
                }
                for transposed in [false, true] {
                    let mut g = geometry(batch, size, kernel, stride, channels);
                    g.transposed = transposed;
                    check(choice, &g);
                }
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
