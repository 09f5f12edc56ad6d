//! Rectangles of taps: a copy of the source with zeros around it contains the gathered rows, overlapping for neighbouring
//! cells. Where all taps are inside the source, not even the copy is needed.

use std::ops::Range;

use super::gather::Gather;
use crate::flex::gemm::{self, Gemm, Left, Strides};
use crate::flex::pool::Buffer;

/// A rectangle of taps.
pub(super) struct Window<'a> {
    pub(super) gather: &'a Gather,
    /// The first pixel that cell 0 reads.
    pub(super) corner: [isize; 2],
    pub(super) taps: [usize; 2],
    /// Inactive taps at the beginning of the rectangle; there may be others at its end.
    pub(super) skipped: usize,
}

impl Window<'_> {
    /// Lines of cells for a task whose products have `outputs` columns: their copy and their products stay in the L2 cache.
    pub(super) fn lines(&self, batch: usize, outputs: usize) -> usize {
        let [height, width] = self.gather.grid;
        let copied = 49_152 / (self.pitch(width) * self.gather.step[0] as usize);
        let fitting = copied.min(24_576 / (width * outputs.max(1)));
        fitting.min((batch * height).div_ceil(8)).clamp(1, height)
    }

    /// The lines, and the cells of a line, whose windows are inside the source; `None` if there are too few to be worth
    /// reading without a copy.
    pub(super) fn inside(&self) -> Option<[Range<usize>; 2]> {
        let inside = [0, 1].map(|axis| {
            let (step, corner) = (self.gather.step[axis], self.corner[axis]);
            let (cells, size) = (self.gather.grid[axis] as isize, self.gather.source[axis] as isize);
            let start = ((step - 1 - corner).max(0) / step).min(cells);
            let room = size - corner - self.taps[axis] as isize;
            let end = if room < 0 { start } else { (room / step + 1).clamp(start, cells) };
            start as usize..end as usize
        });
        let width = self.gather.grid[1];
        let outside = width - inside[1].len();
        let worthwhile = inside[1].len() >= 8 && 2 * outside * self.taps[1] <= width;
        worthwhile.then_some(inside)
    }

    /// Floats in a line of the copy for this many cells.
    fn pitch(&self, cells: usize) -> usize {
        ((cells - 1) * self.gather.step[1] as usize + self.taps[1]) * self.gather.channels
    }

    /// Lines of the copy for `lines` of cells.
    fn copied_lines(&self, lines: usize) -> usize {
        (lines - 1) * self.gather.step[0] as usize + self.taps[0]
    }

    /// Floats of the copy for `cells` of each of `lines`.
    pub(super) fn len(&self, lines: usize, cells: usize) -> usize {
        self.copied_lines(lines) * self.pitch(cells)
    }

    /// Copies the pixels that the cells `cells` of the lines `lines` of an image read.
    pub(super) fn copy(
        &self,
        source: &[f32],
        image: usize,
        lines: Range<usize>,
        cells: Range<usize>,
        copy: &mut [f32],
    ) {
        let Gather { source: [height, width], channels, step, .. } = *self.gather;
        let [top, left] = self.corner;
        let top = top + lines.start as isize * step[0];
        let left = left + cells.start as isize * step[1];
        let pitch = self.pitch(cells.len());
        let pixels = (pitch / channels) as isize;
        let end = (width as isize - left).clamp(0, pixels) as usize;
        let start = (-left).clamp(0, end as isize) as usize;
        for (y, line) in (top..).zip(copy.chunks_exact_mut(pitch)) {
            if y < 0 || y >= height as isize || start == end {
                line.fill(0.0);
                continue;
            }
            let first = (image * height + y as usize) * width + (left + start as isize) as usize;
            line[..start * channels].fill(0.0);
            line[start * channels..end * channels]
                .copy_from_slice(&source[first * channels..][..(end - start) * channels]);
            line[end * channels..].fill(0.0);
        }
    }

    /// The gathered rows of a copy with `cells` cells per line. Where factors are rounded, the copy is rounded here, once and not
    /// for every tap.
    pub(super) fn left<'b>(&self, gemm: Gemm, copy: &'b mut Buffer, cells: usize) -> Left<'b> {
        let channels = self.gather.channels;
        let values_of_entry = if gemm.rounds() && channels.is_multiple_of(2) { 2 } else { 1 };
        if values_of_entry == 2 {
            let mut pairs = Buffer::take(copy.len() / 2);
            gemm::round_neighbours(copy, &mut pairs);
            *copy = pairs;
        }
        let rounded = values_of_entry == 2;
        Left { rounded, ..self.rows_of(copy, self.pitch(cells), cells, values_of_entry) }
    }

    /// The gathered rows of the cells `cells` from line `line` of an image on, which are inside the source.
    pub(super) fn left_in_place<'b>(
        &self,
        source: &'b [f32],
        image: usize,
        line: usize,
        cells: &Range<usize>,
    ) -> Left<'b> {
        let Gather { source: [height, width], channels, step, .. } = *self.gather;
        let y = (line as isize * step[0] + self.corner[0]) as usize;
        let x = (cells.start as isize * step[1] + self.corner[1]) as usize;
        let source = &source[((image * height + y) * width + x) * channels..];
        self.rows_of(source, width * channels, cells.len(), 1)
    }

    /// The gathered rows of cells whose lines of pixels are `pitch` values apart.
    fn rows_of<'b>(&self, pixels: &'b [f32], pitch: usize, cells: usize, values_of_entry: usize) -> Left<'b> {
        let Gather { channels, step, .. } = *self.gather;
        let pixel = channels / values_of_entry;
        let pitch = pitch / values_of_entry;
        let columns =
            Strides { first: self.skipped * pixel, step: 1, run: self.taps[1] * pixel, jump: pitch };
        let rows = Strides::runs(step[1] as usize * pixel, cells, step[0] as usize * pitch);
        Left { columns, ..Left::of_rows(pixels, rows) }
    }

    /// The gathered rows of a copy, transposed, from a line of taps on; rounded as in [`Window::left`].
    pub(super) fn left_transposed<'b>(
        &self,
        copy: &'b [f32],
        pairs: Option<&'b [f32]>,
        tap_line: usize,
    ) -> Left<'b> {
        let cells = self.cells();
        let (values, columns) = match pairs {
            Some(pairs) => (pairs, Strides { step: 2 * cells.step, run: cells.run / 2, ..cells }),
            None => (copy, cells),
        };
        let values = &values[tap_line * self.pitch(self.gather.grid[1])..];
        Left { values, rows: Strides::even(1), columns, rounded: pairs.is_some() }
    }

    /// Where the cells are in the copy.
    pub(super) fn cells(&self) -> Strides {
        let Gather { grid, channels, step, .. } = *self.gather;
        Strides {
            first: 0,
            step: step[1] as usize * channels,
            run: grid[1],
            jump: step[0] as usize * self.pitch(grid[1]),
        }
    }
}
