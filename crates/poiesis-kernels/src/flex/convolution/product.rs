//! Products of gathered pixels with weights, by tiles of cells.

#![expect(unsafe_code, reason = "tasks write interleaved pixels of one image through `Shared`")]

use std::ops::Range;

use super::gather::Gather;
use super::window::Window;
use crate::flex::gemm::{self, Gemm, Left, Matrix, Product, Right, Strides, Write};
use crate::flex::parallel::{self, Shared};
use crate::flex::partial_sums::add;
use crate::flex::pool::Buffer;
use crate::flex::simd;

/// Packed weights of all groups, and the bias.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) packed: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
}

/// A product of the pixels that each cell of a grid reads with weights, one matrix product per tile of cells.
pub(super) struct TiledProduct {
    pub(super) gemm: Gemm,
    pub(super) gather: Gather,
    pub(super) target: Target,
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Channels that a group reads.
    pub(super) inputs: usize,
    /// Channels that a group writes.
    pub(super) outputs: usize,
}

impl TiledProduct {
    fn depth(&self) -> usize {
        self.gather.taps.len() * self.inputs
    }

    /// Packs the weights of every group; `strides` are those of input channel, output channel and group.
    pub(super) fn pack(&self, weight: &[f32], blocks: &[usize], strides: [usize; 3]) -> Buffer {
        let len = self.gemm.packed_len(self.depth(), self.outputs);
        let mut packed = Buffer::take(len * self.groups);
        let shared = Shared::new(&mut packed);
        let panels = self.outputs.div_ceil(gemm::panel_width());
        let pack = |task: usize| {
            let (group, panel) = (task / panels, task % panels);
            let range = self.gemm.panel_range(self.depth(), self.outputs, panel);
            // SAFETY: panels and groups are disjoint.
            let packed = unsafe { shared.part(group * len + range.start..group * len + range.end) };
            let source = &weight[group * strides[2]..];
            let matrix = Matrix::strided(source, [self.inputs, self.outputs], [strides[0], strides[1]]);
            self.gemm.pack_panel(packed, &matrix.in_blocks(blocks), panel);
        };
        if len * self.groups < 1 << 14 {
            (0..panels * self.groups).for_each(pack);
        } else {
            parallel::tasks(panels * self.groups, pack);
        }
        packed
    }

    /// Writes the products to their pixels of `result`, plus the bias.
    pub(super) fn run(&self, source: &[f32], weights: Weights<'_>, result: &Shared<'_>) {
        if self.groups == 1
            && self.gather.in_place(self.inputs).is_none()
            && self.gather.cells() >= 64
            && let Some(window) = self.gather.window()
        {
            return self.run_windows(&window, source, weights, result);
        }
        let pixels = self.batch * self.gather.cells();
        let size = tile_pixels(self.depth(), pixels);
        let len = self.gemm.packed_len(self.depth(), self.outputs);
        let in_place = self.gather.in_place(self.inputs);
        parallel::tasks(parallel::parts(pixels, size), |task| {
            let tile = parallel::part(pixels, size, task);
            for group in 0..self.groups {
                let channels = group * self.inputs..(group + 1) * self.inputs;
                let weights = Weights { packed: &weights.packed[group * len..][..len], ..weights };
                let mut gathered = Buffer::take(0);
                let left = match in_place {
                    Some(rows) => Left::of_rows(&source[channels.start..], rows.skip(tile.start)),
                    None => {
                        gathered = Buffer::take(tile.len() * self.depth());
                        self.gather.rows(source, tile.clone(), channels, &mut gathered);
                        Left::new(&gathered, self.depth(), 1)
                    }
                };
                for part in self.target.parts(&self.gather, tile.clone()) {
                    let left = Left { rows: left.rows.skip(part.first - tile.start), ..left };
                    self.multiply(left, weights, result, &part, group);
                }
                drop(gathered);
            }
        });
    }

    /// Multiplies the source without a copy where windows are inside it, and padded copies elsewhere.
    fn run_windows(&self, window: &Window<'_>, source: &[f32], weights: Weights<'_>, result: &Shared<'_>) {
        let [height, width] = self.gather.grid;
        let size = window.lines(self.batch, self.outputs);
        let blocks = parallel::parts(height, size);
        let inside = if self.gemm.rounds() { None } else { window.inside() };
        parallel::tasks(self.batch * blocks, |task| {
            let (image, block) = (task / blocks, task % blocks);
            let lines = parallel::part(height, size, block);
            let copied = |lines: Range<usize>, cells: Range<usize>| {
                if lines.is_empty() {
                    return;
                }
                let mut copy = Buffer::take(window.len(lines.len(), cells.len()));
                window.copy(source, image, lines.clone(), cells.clone(), &mut copy);
                let left = window.left(self.gemm, &mut copy, cells.len());
                let part = self.target.rectangle(&self.gather, image, lines, cells);
                self.multiply(left, weights, result, &part, 0);
            };
            let Some([inner, cells]) = &inside else { return copied(lines, 0..width) };
            let inner = inner.start.clamp(lines.start, lines.end)..inner.end.clamp(lines.start, lines.end);
            copied(lines.start..inner.start, 0..width);
            copied(inner.end..lines.end, 0..width);
            if inner.is_empty() {
                return;
            }
            for cell in (0..cells.start).chain(cells.end..width) {
                copied(inner.clone(), cell..cell + 1);
            }
            let left = window.left_in_place(source, image, inner.start, cells);
            let part = self.target.rectangle(&self.gather, image, inner, cells.clone());
            self.multiply(left, weights, result, &part, 0);
        });
    }

    /// Writes the products of gathered rows to the pixels of their cells.
    fn multiply(&self, left: Left<'_>, weights: Weights<'_>, result: &Shared<'_>, part: &Part, group: usize) {
        let Part { count, at, pixels, .. } = *part;
        let outputs = group * self.outputs..(group + 1) * self.outputs;
        let (at, columns) = (at + outputs.start, outputs.len());
        let product = Product {
            left,
            right: Right::Packed(weights.packed),
            rows: count,
            depth: self.depth(),
            columns,
            write: Write::Replace,
        };
        // SAFETY: every cell of a grid has its own pixel, every group its own channels, and the tasks' cells are disjoint.
        unsafe { self.gemm.multiply_shared(product, result, at, pixels) };
        if let Some(bias) = weights.bias {
            simd::run(
                #[inline(always)]
                || {
                    for row in 0..count {
                        let at = at + pixels.at(row);
                        // SAFETY: as above.
                        add(unsafe { result.part(at..at + columns) }, &bias[outputs.clone()]);
                    }
                },
            );
        }
    }
}

/// Pixels in a tile, so that the gathered values stay in the L2 cache and there are enough tasks.
fn tile_pixels(depth: usize, pixels: usize) -> usize {
    let fitting = (65_536 / depth.max(1)).clamp(48, 768);
    fitting.min(pixels.div_ceil(8).max(24)).next_multiple_of(24)
}

/// The pixels that a grid writes: cell `(y, x)` writes pixel `start + step · (y, x)`.
pub(super) struct Target {
    /// Height and width of the image.
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
    pub(super) start: [usize; 2],
    pub(super) step: [usize; 2],
}

impl Target {
    /// Whether the grid's cells are the image's pixels in order.
    fn is_dense(&self, gather: &Gather) -> bool {
        gather.grid == self.size && self.start == [0, 0] && self.step == [1, 1]
    }

    /// The cells `cells` of the lines `lines` of an image.
    fn rectangle(&self, gather: &Gather, image: usize, lines: Range<usize>, cells: Range<usize>) -> Part {
        let y = self.start[0] + lines.start * self.step[0];
        let x = self.start[1] + cells.start * self.step[1];
        let [height, width] = self.size;
        let jump = self.step[0] * width * self.channels;
        Part {
            first: (image * gather.grid[0] + lines.start) * gather.grid[1] + cells.start,
            count: lines.len() * cells.len(),
            at: ((image * height + y) * width + x) * self.channels,
            pixels: Strides::runs(self.step[1] * self.channels, cells.len(), jump),
        }
    }

    /// `cells`, counted through the batch, in parts whose pixels have regular distances: all of them, or those of each image.
    fn parts(&self, gather: &Gather, cells: Range<usize>) -> impl Iterator<Item = Part> {
        let dense = self.is_dense(gather);
        let [height, width] = gather.grid;
        let mut start = cells.start;
        std::iter::from_fn(move || {
            let image = start / (height * width);
            let end = if dense { cells.end } else { cells.end.min((image + 1) * height * width) };
            let (first, count) = (start, end - start);
            start = end;
            if count == 0 {
                None
            } else if dense {
                let (at, pixels) = (first * self.channels, Strides::even(self.channels));
                Some(Part { first, count, at, pixels })
            } else {
                let line = first / width % height;
                let part = self.rectangle(gather, image, line..height, 0..width);
                Some(Part { first, count, pixels: part.pixels.skip(first % width), ..part })
            }
        })
    }
}

/// Cells and the pixels that they write.
struct Part {
    /// The first cell, counted through the batch.
    first: usize,
    count: usize,
    /// Offset of the first line in the result.
    at: usize,
    /// Offsets of the pixels from there.
    pixels: Strides,
}
