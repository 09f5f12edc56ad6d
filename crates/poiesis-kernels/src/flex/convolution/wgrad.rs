//! The gradient of the weights by direct sums.

#![expect(unsafe_code, reason = "tasks write parts of one array through `Shared`")]

use super::Geometry;
use super::algorithm::DirectWgrad;
use super::gather::Gather;
use super::window::Window;
use crate::flex::gemm::{self, Gemm, Left, Matrix, Product, Right, Strides, Write};
use crate::flex::parallel::{self, Shared};
use crate::flex::partial_sums::sum_parts;
use crate::flex::pool::Buffer;
use crate::flex::transpose::transpose;

/// [`super::wgrad`] by direct sums.
pub fn direct(g: &Geometry, x: &[f32], y: &[f32]) -> Buffer {
    let rows = g.active_taps * g.group_channels();
    let mut gradient = Buffer::take(g.weights());
    let (active, rest) = gradient.split_at_mut(rows * g.out);
    rest.fill(0.0);
    let gather = g.gather();
    match DirectWgrad::choose(g, &gather) {
        DirectWgrad::Lines(window) => by_lines(g, &window, x, y, active),
        DirectWgrad::Parts(parts) => by_parts(g, &gather, x, y, parts, active),
        DirectWgrad::Rows => by_rows(g, &gather, x, y, active),
    }
    if g.transposed { transpose_weights(g, &gradient) } else { gradient }
}

/// The gradient of few weights from padded copies of the large image: parts of its lines are summed separately and
/// added in order. The result is `[active_taps, channels, out]`.
fn by_lines(g: &Geometry, window: &Window<'_>, x: &[f32], y: &[f32], total: &mut [f32]) {
    let [height, width] = g.small;
    let lines = g.batch * height;
    // A power of two, so that threads have equal work.
    let most = ((1 << 20) / total.len().max(1)).clamp(4, 16);
    let count = 1 << (lines * width).div_ceil(1024).clamp(1, most).ilog2();
    let size = lines.div_ceil(count).max(1);
    let gemm = Gemm::current();
    let step = window.lines(g.batch, g.out);
    sum_parts(parallel::parts(lines, size), total, |part, sum| {
        let part = parallel::part(lines, size, part);
        let mut copy = Buffer::take(window.len(step, width));
        let mut packed = Buffer::take(gemm.packed_len(step * width, g.out));
        // Pairs are neighbouring cells of a line.
        let cell = window.cells().step;
        let rounds = gemm.rounds() && width.is_multiple_of(2);
        let mut pairs = Buffer::take(if rounds { copy.len() - cell } else { 0 });
        let mut start = part.start;
        while start < part.end {
            let (image, line) = (start / height, start % height);
            let count = step.min(part.end - start).min(height - line);
            let depth = count * width;
            let copy = &mut copy[..window.len(count, width)];
            window.copy(x, image, line..line + count, 0..width, copy);
            let pairs = rounds.then(|| {
                let pairs = &mut pairs[..copy.len() - cell];
                gemm::round_with_distant(copy, cell, pairs);
                &*pairs
            });
            let right = &y[start * width * g.out..];
            let packed = gemm.packed_already(right, g.out).unwrap_or_else(|| {
                let packed = &mut packed[..gemm.packed_len(depth, g.out)];
                gemm.pack(packed, &Matrix::strided(right, [depth, g.out], [g.out, 1]));
                packed
            });
            let run = g.kernel[1] * g.channels;
            for (tap_line, sum) in sum.chunks_mut(run * g.out).enumerate() {
                let left = window.left_transposed(copy, pairs, tap_line);
                let product = Product {
                    left,
                    right: Right::Packed(packed),
                    rows: sum.len() / g.out,
                    depth,
                    columns: g.out,
                    write: Write::Add,
                };
                gemm.multiply(product, sum, g.out);
            }
            start += count;
        }
    });
}

/// The gradient of few weights from many pixels: `parts` of the pixels are summed separately and added in order. A thread then
/// reads the pixels that it wrote, and not those in the cache of another. The result is
/// `[active_taps, channels / groups, out]`.
fn by_parts(g: &Geometry, gather: &Gather, x: &[f32], y: &[f32], parts: usize, total: &mut [f32]) {
    let rows = g.active_taps * g.group_channels();
    let pixels = g.small_pixels();
    let size = pixels.div_ceil(parts).max(1);
    let gemm = Gemm::current();
    let parts = parallel::parts(pixels, size).max(1);
    // If there are more threads than parts, the threads of a part share its weights.
    let block =
        if rayon::current_num_threads() > parts { rows.div_ceil(4).next_multiple_of(24) } else { rows };
    let blocks = parallel::parts(rows, block.max(1));
    sum_parts(parts, total, |part, sum| {
        let range = parallel::part(pixels, size, part);
        let tile_size = (32_768 / rows.max(1)).clamp(32, 384);
        let in_place = gather.in_place(g.group_channels());
        let mut columns = Buffer::take(if in_place.is_some() { 0 } else { tile_size * rows });
        let mut packed = Buffer::take(gemm.packed_len(tile_size, g.group_out()));
        let sum = Shared::new(sum);
        for tile in 0..parallel::parts(range.len(), tile_size) {
            let tile = parallel::part(range.len(), tile_size, tile);
            let tile = range.start + tile.start..range.start + tile.end;
            for group in 0..g.groups {
                let first = group * g.group_channels();
                let left = match in_place {
                    Some(pixels) => Left::of_columns(&x[first..], pixels.skip(tile.start)),
                    None => {
                        let channels = first..first + g.group_channels();
                        gather.rows(x, tile.clone(), channels, &mut columns);
                        Left::new(&columns, 1, rows)
                    }
                };
                let right = &y[tile.start * g.out + group * g.group_out()..];
                let already = if g.groups == 1 { gemm.packed_already(right, g.out) } else { None };
                let packed = already.unwrap_or_else(|| {
                    let packed = &mut packed[..gemm.packed_len(tile.len(), g.group_out())];
                    gemm.pack(packed, &Matrix::strided(right, [tile.len(), g.group_out()], [g.out, 1]));
                    packed
                });
                parallel::tasks(blocks, |index| {
                    let block = parallel::part(rows, block, index);
                    let columns = g.group_out();
                    let at = block.start * g.out + group * columns;
                    let product = Product {
                        left: Left { rows: left.rows.skip(block.start), ..left },
                        right: Right::Packed(packed),
                        rows: block.len(),
                        depth: tile.len(),
                        columns,
                        write: Write::Add,
                    };
                    // SAFETY: blocks of rows and groups of columns are disjoint.
                    unsafe { gemm.multiply_shared(product, &sum, at, Strides::even(g.out)) };
                });
            }
        }
    });
}

/// The gradient of many weights, or from few pixels: a chunk of pixels is gathered, then blocks of weights are multiplied. The
/// result is `[active_taps, channels / groups, out]`.
fn by_rows(g: &Geometry, gather: &Gather, x: &[f32], y: &[f32], total: &mut [f32]) {
    let rows = g.active_taps * g.group_channels();
    let pixels = g.small_pixels();
    if pixels == 0 {
        return total.fill(0.0);
    }
    let result = Shared::new(total);
    let in_place = gather.in_place(g.group_channels());
    let row_len = if in_place.is_some() { 0 } else { rows };
    let chunk = ((1 << 21) / (row_len * g.groups + g.out)).clamp(64, pixels.max(64));
    let gemm = Gemm::current();
    let packed_len = gemm.packed_len(chunk, g.group_out());
    let mut columns = Buffer::take(g.groups * chunk * row_len);
    let mut packed = Buffer::take(g.groups * packed_len);
    let panels = g.group_out().div_ceil(gemm::panel_width());
    // A power of two of blocks, so that threads have equal work.
    let block = rows.div_ceil(1 << (rows / 24).clamp(1, 16).ilog2()).min(192);
    let blocks = parallel::parts(rows, block);
    for index in 0..parallel::parts(pixels, chunk) {
        let cells = parallel::part(pixels, chunk, index);
        let depth = cells.len();
        let tiles = if in_place.is_some() { 0 } else { parallel::parts(depth, 64) };
        let shared_columns = Shared::new(&mut columns);
        let shared_packed = Shared::new(&mut packed);
        parallel::tasks((tiles + panels) * g.groups, |task| {
            let (group, task) = (task % g.groups, task / g.groups);
            if task < tiles {
                let tile = parallel::part(depth, 64, task);
                let start = (group * chunk + tile.start) * rows;
                // SAFETY: tiles and groups are disjoint.
                let columns = unsafe { shared_columns.part(start..start + tile.len() * rows) };
                let channels = group * g.group_channels()..(group + 1) * g.group_channels();
                let tile = cells.start + tile.start..cells.start + tile.end;
                gather.rows(x, tile, channels, columns);
            } else {
                let panel = task - tiles;
                let range = gemm.panel_range(depth, g.group_out(), panel);
                let start = group * packed_len;
                // SAFETY: panels and groups are disjoint.
                let packed = unsafe { shared_packed.part(start + range.start..start + range.end) };
                let right = &y[cells.start * g.out + group * g.group_out()..];
                gemm.pack_panel(packed, &Matrix::strided(right, [depth, g.group_out()], [g.out, 1]), panel);
            }
        });
        parallel::tasks(blocks * g.groups, |task| {
            let (group, task) = (task % g.groups, task / g.groups);
            let block = parallel::part(rows, block, task);
            let left = match in_place {
                Some(pixels) => {
                    let first = group * g.group_channels() + block.start;
                    Left::of_columns(&x[first..], pixels.skip(cells.start))
                }
                None => Left::new(&columns[group * chunk * rows + block.start..], 1, rows),
            };
            let at = block.start * g.out + group * g.group_out();
            let packed = &packed[group * packed_len..][..packed_len];
            let product = Product {
                left,
                right: Right::Packed(packed),
                rows: block.len(),
                depth,
                columns: g.group_out(),
                write: if index == 0 { Write::Replace } else { Write::Add },
            };
            // SAFETY: blocks of rows and groups of columns are disjoint.
            unsafe { gemm.multiply_shared(product, &result, at, Strides::even(g.out)) };
        });
    }
}

/// `[taps, channels, out]` as `[taps, out, channels]`, in every group.
fn transpose_weights(g: &Geometry, weight: &[f32]) -> Buffer {
    let (channels, out) = (g.group_channels(), g.out);
    let mut transposed = Buffer::take(weight.len());
    let shared = Shared::new(&mut transposed);
    parallel::tasks(g.taps(), |tap| {
        let range = tap * channels * out..(tap + 1) * channels * out;
        let weight = &weight[range.clone()];
        // SAFETY: every task has its own tap.
        let transposed = unsafe { shared.part(range) };
        transpose(weight, out, [channels, out], transposed, channels);
    });
    transposed
}
