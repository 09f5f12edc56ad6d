//! The positions of tiles in images, and the layout of transformed values in memory.

use std::ops::Range;

use super::GROUP;
use crate::flex::convolution::Geometry;
use crate::flex::gemm;

/// How the pixels of an axis of the large image, and with them the taps, are divided into phases: those of a phase are `step`
/// apart, and the next phase begins `apart` after the previous one.
#[derive(Clone, Copy)]
pub(super) struct Phases {
    pub(super) count: usize,
    pub(super) step: usize,
    pub(super) apart: usize,
}

impl Phases {
    pub(super) fn of(g: &Geometry) -> Phases {
        match (g.stride[0], g.kernel[0]) {
            (2, _) => Phases { count: 2, step: 2, apart: 1 },
            (_, 0..=5) => Phases { count: 1, step: 1, apart: 0 },
            (_, kernel) => Phases { count: 2, step: 1, apart: kernel.div_ceil(2) },
        }
    }

    /// Channels of all phases of both axes.
    pub(super) fn depth(self, channels: usize) -> usize {
        self.count.pow(2) * channels
    }

    /// The position of pixel or tap `i` of a phase.
    #[inline(always)]
    pub(super) fn position(self, phase: usize, i: usize) -> usize {
        self.apart * phase + self.step * i
    }
}

/// Image, row and column of a tile.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    image: usize,
    pub(super) y: usize,
    pub(super) x: usize,
}

/// The tiles of a batch.
pub(super) struct Grid {
    pub(super) large: [usize; 2],
    pub(super) channels: usize,
    pub(super) small: [usize; 2],
    pub(super) out: usize,
    pub(super) batch: usize,
    pub(super) phases: Phases,
    pub(super) padding: [usize; 2],
    /// Small pixels of a tile along an axis.
    pub(super) results: usize,
    /// Tiles of an image, down and across.
    pub(super) tiles: [usize; 2],
}

impl Grid {
    pub(super) fn new(g: &Geometry, results: usize) -> Self {
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
        }
    }

    pub(super) fn phases(&self) -> usize {
        self.phases.count.pow(2)
    }

    /// Channels of all phases.
    pub(super) fn depth(&self) -> usize {
        self.phases.depth(self.channels)
    }

    pub(super) fn image_tiles(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    pub(super) fn tiles(&self) -> usize {
        self.batch * self.image_tiles()
    }

    /// The tiles with these indices. A division for each tile would take as long as transforming a few of its channels.
    #[inline(always)]
    pub(super) fn walk(&self, tiles: Range<usize>) -> impl Iterator<Item = Tile> + use<> {
        let [height, width] = self.tiles;
        let (mut image, mut y, mut x) =
            (tiles.start / (height * width), tiles.start / width % height, tiles.start % width);
        tiles.map(move |_| {
            let tile = Tile { image, y, x };
            x += 1;
            if x == width {
                (x, y) = (0, y + 1);
            }
            if y == height {
                (y, image) = (0, image + 1);
            }
            tile
        })
    }

    /// The offset of the large pixel `(j, i)` of a phase of a tile.
    #[inline(always)]
    pub(super) fn large_pixel(&self, tile: Tile, phase: usize, (j, i): (usize, usize)) -> Option<usize> {
        Some(self.large_line(tile, phase, j)? + self.large_column(tile, phase, i)?)
    }

    /// The offset in the large image of line `j` of a phase of a tile.
    #[inline(always)]
    pub(super) fn large_line(&self, tile: Tile, phase: usize, j: usize) -> Option<usize> {
        let Tile { image, y, .. } = tile;
        let y = self.phases.position(phase / self.phases.count, self.results * y + j);
        let y = y.wrapping_sub(self.padding[0]);
        (y < self.large[0]).then(|| (image * self.large[0] + y) * self.large[1] * self.channels)
    }

    /// The offset in a line of the large image of column `i` of a phase of a tile.
    #[inline(always)]
    pub(super) fn large_column(&self, tile: Tile, phase: usize, i: usize) -> Option<usize> {
        let Tile { x, .. } = tile;
        let x = self.phases.position(phase % self.phases.count, self.results * x + i);
        let x = x.wrapping_sub(self.padding[1]);
        (x < self.large[1]).then(|| x * self.channels)
    }

    /// The offset of the small pixel `(j, i)` of a tile.
    #[inline(always)]
    pub(super) fn small_pixel(&self, tile: Tile, at: (usize, usize)) -> Option<usize> {
        let Tile { image, y, x } = tile;
        let y = self.results * y + at.0;
        let x = self.results * x + at.1;
        (y < self.small[0] && x < self.small[1])
            .then(|| ((image * self.small[0] + y) * self.small[1] + x) * self.out)
    }
}

/// Which transformed values share an entry, rounded to bf16: pairs in the order of the sum of the matrix product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pairs {
    /// None; entries are values.
    None,
    /// Columns, or rows, `c` and `c + GROUP` of every two groups of channels.
    Channels,
    /// Rows of neighbouring tiles.
    Tiles,
}

impl Pairs {
    /// Tiles in a row of entries.
    pub(super) fn tiles_of_row(self) -> usize {
        if self == Pairs::Tiles { 2 } else { 1 }
    }

    /// Columns of entries for this many channels, where rows are tiles.
    pub(super) fn columns(self, channels: usize) -> usize {
        if self == Pairs::Channels { channels / 2 } else { channels }
    }
}

/// The layout of transformed values in memory: product after product, each a matrix of entries, by rows or packed in panels for
/// the right side of a matrix product.
pub(super) struct TransformLayout {
    pub(super) rows: usize,
    pub(super) columns: usize,
    panel: usize,
    pub(super) pairs: Pairs,
}

impl TransformLayout {
    /// Rows of tiles and columns of channels; those that the products sum over may share entries.
    pub(super) fn rows(rows: usize, columns: usize, pairs: Pairs) -> Self {
        let (rows, columns) = (rows.div_ceil(pairs.tiles_of_row()), pairs.columns(columns));
        Self { rows, columns, panel: columns, pairs }
    }

    /// Rows that the products sum over, and columns of channels in panels.
    pub(super) fn panels(rows: usize, columns: usize, pairs: Pairs) -> Self {
        let rows = if pairs == Pairs::None { rows } else { rows.div_ceil(2) };
        Self { rows, columns, panel: gemm::panel_width(), pairs }
    }

    /// The offset of the entry of `row` and `column` of the first product; columns up to the next multiple of
    /// [`GROUP`] follow it.
    #[inline(always)]
    pub(super) fn offset(&self, row: usize, column: usize) -> usize {
        let first = column / self.panel * self.panel;
        let width = self.panel.min(self.columns - first);
        first * self.rows + row * width + column - first
    }

    /// The distance of products: an odd number of cache lines, because a tile has an entry in each product, and a power of two
    /// would put all of them into the same few sets of the cache.
    #[inline(always)]
    pub(super) fn product(&self) -> usize {
        ((self.rows * self.columns).div_ceil(GROUP) | 1) * GROUP
    }

    /// The entries of product `p`.
    pub(super) fn entries(&self, p: usize) -> Range<usize> {
        let start = p * self.product();
        start..start + self.rows * self.columns
    }
}
