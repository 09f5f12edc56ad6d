//! Which pixels each cell of a grid reads, and copying them side by side.

use std::ops::Range;

use super::window::Window;
use crate::flex::gemm::Strides;

/// The pixels of a source image that each cell of a grid reads: tap `t` of cell `c` is the pixel `c · step +
/// offset(t)`, or zeros outside the image.
pub(super) struct Gather {
    /// Height and width of the source image.
    pub(super) source: [usize; 2],
    pub(super) channels: usize,
    /// Height and width of the grid.
    pub(super) grid: [usize; 2],
    pub(super) step: [isize; 2],
    /// Taps in the order of their pixels.
    pub(super) taps: Vec<usize>,
    pub(super) runs: Vec<Run>,
}

/// Taps whose pixels are adjacent in memory.
pub(super) struct Run {
    pub(super) y: isize,
    pub(super) x: isize,
    pub(super) taps: usize,
}

impl Gather {
    /// `taps` are indices of kernel elements and the offsets of their pixels from a cell.
    pub(super) fn new(
        source: [usize; 2],
        channels: usize,
        grid: [usize; 2],
        step: [usize; 2],
        mut taps: Vec<(usize, [isize; 2])>,
    ) -> Self {
        taps.sort_unstable_by_key(|&(_, offset)| offset);
        let mut runs: Vec<Run> = Vec::new();
        for &(_, [y, x]) in &taps {
            match runs.last_mut() {
                Some(run) if run.y == y && run.x + run.taps as isize == x => run.taps += 1,
                _ => runs.push(Run { y, x, taps: 1 }),
            }
        }
        let taps = taps.into_iter().map(|(tap, _)| tap).collect();
        Self { source, channels, grid, step: step.map(|s| s as isize), taps, runs }
    }

    pub(super) fn cells(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Where the weights of each tap start, if every tap has `len` weights.
    pub(super) fn blocks(&self, len: usize) -> Vec<usize> {
        self.taps.iter().map(|tap| tap * len).collect()
    }

    /// Where the gathered rows begin in the source, if they need no copy.
    pub(super) fn in_place(&self, inputs: usize) -> Option<Strides> {
        let [height, width] = self.source;
        let whole = self.grid == [1, 1]
            && inputs == self.channels
            && self.runs.len() == height
            && self.runs.iter().zip(0..).all(|(run, y)| run.y == y && run.x == 0 && run.taps == width);
        if whole {
            return Some(Strides::even(height * width * self.channels));
        }
        if !matches!(self.runs[..], [Run { y: 0, x: 0, taps: 1 }]) {
            return None;
        }
        let step = self.step.map(|step| step as usize);
        if self.grid == self.source && step == [1, 1] {
            return Some(Strides::even(self.channels));
        }
        // Lines continue at the same distance from one image to the next.
        let even = height == self.grid[0] * step[0] && (self.grid[1] - 1) * step[1] < width;
        even.then(|| Strides {
            first: 0,
            step: step[1] * self.channels,
            run: self.grid[1],
            jump: step[0] * width * self.channels,
        })
    }

    /// The taps as a rectangle, if they form one and lines of cells are long enough to be processed one by one.
    pub(super) fn window(&self) -> Option<Window<'_>> {
        let (first, last) = (self.runs.first()?, self.runs.last()?);
        let left = self.runs.iter().map(|run| run.x).min()?;
        let right = self.runs.iter().map(|run| run.x + run.taps as isize).max()?;
        let rectangle = self.runs.iter().zip(first.y..).enumerate().all(|(i, (run, y))| {
            let begins = run.x == left || i == 0;
            let ends = run.x + run.taps as isize == right || i + 1 == self.runs.len();
            run.y == y && begins && ends
        });
        (rectangle && self.grid[1] >= 4).then(|| Window {
            gather: self,
            corner: [first.y, left],
            taps: [(last.y - first.y + 1) as usize, (right - left) as usize],
            skipped: (first.x - left) as usize,
        })
    }

    /// Writes the rows of `cells` (counted through the batch): the values of `channels` of every tap.
    pub(super) fn rows(&self, source: &[f32], cells: Range<usize>, channels: Range<usize>, rows: &mut [f32]) {
        let count = channels.len();
        let depth = self.taps.len() * count;
        if depth == 0 {
            return;
        }
        let [height, width] = self.source;
        let mut image = cells.start / self.cells();
        let mut y = cells.start / self.grid[1] % self.grid[0];
        let mut x = cells.start % self.grid[1];
        for row in rows.chunks_exact_mut(depth).take(cells.len()) {
            let top = y as isize * self.step[0];
            let left = x as isize * self.step[1];
            let mut rest = row;
            for run in &self.runs {
                let (row, after) = rest.split_at_mut(run.taps * count);
                rest = after;
                let y = top + run.y;
                if y < 0 || y >= height as isize {
                    row.fill(0.0);
                    continue;
                }
                let start = (image * height + y as usize) * width;
                let left = left + run.x;
                let inside = (width as isize - left).clamp(0, run.taps as isize) as usize;
                let before = (-left).clamp(0, inside as isize) as usize;
                row[..before * count].fill(0.0);
                row[inside * count..].fill(0.0);
                if inside == before {
                    continue;
                }
                let row = &mut row[before * count..inside * count];
                let first = start + (left + before as isize) as usize;
                if count == self.channels {
                    row.copy_from_slice(&source[first * count..][..row.len()]);
                } else {
                    for (row, pixel) in row.chunks_exact_mut(count).zip(first..) {
                        let at = pixel * self.channels;
                        row.copy_from_slice(&source[at + channels.start..at + channels.end]);
                    }
                }
            }
            x += 1;
            if x == self.grid[1] {
                (x, y) = (0, y + 1);
                if y == self.grid[0] {
                    (y, image) = (0, image + 1);
                }
            }
        }
    }
}
