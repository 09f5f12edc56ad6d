//! Where tiles lie in images, and transformed values in memory.

use std::ops::Range;

use super::super::convolution::Geometry;
use super::super::gemm;
use super::GROUP;

/// How the pixels of an axis of the large image, and with them the taps, are shared out: those of a phase lie `step` apart, and
/// the next phase begins `apart` after the one before.
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

    /// The place of pixel or tap `i` of a phase.
    #[inline(always)]
    pub(super) fn place(self, phase: usize, i: usize) -> usize {
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

    /// The tiles of these numbers. A division for each would take as long as to transform a few channels of it.
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

    /// Where the values of the large pixel `(j, i)` of a tile's phase lie.
    #[inline(always)]
    pub(super) fn large_pixel(&self, tile: Tile, phase: usize, (j, i): (usize, usize)) -> Option<usize> {
        Some(self.large_line(tile, phase, j)? + self.large_column(tile, phase, i)?)
    }

    /// Where line `j` of a tile's phase begins in the large image.
    #[inline(always)]
    pub(super) fn large_line(&self, tile: Tile, phase: usize, j: usize) -> Option<usize> {
        let Tile { image, y, .. } = tile;
        let y = self.phases.place(phase / self.phases.count, self.results * y + j);
        let y = y.wrapping_sub(self.padding[0]);
        (y < self.large[0]).then(|| (image * self.large[0] + y) * self.large[1] * self.channels)
    }

    /// Where column `i` of a tile's phase begins in a line of the large image.
    #[inline(always)]
    pub(super) fn large_column(&self, tile: Tile, phase: usize, i: usize) -> Option<usize> {
        let Tile { x, .. } = tile;
        let x = self.phases.place(phase % self.phases.count, self.results * x + i);
        let x = x.wrapping_sub(self.padding[1]);
        (x < self.large[1]).then(|| x * self.channels)
    }

    /// Where the values of the small pixel `(j, i)` of a tile lie.
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
    /// Columns `c` and `c + GROUP`, or rows, of each two groups of channels.
    Channels,
    /// Rows of neighbouring tiles.
    Tiles,
}

impl Pairs {
    /// Tiles that a row of entries stands for.
    pub(super) fn tiles_of_row(self) -> usize {
        if self == Pairs::Tiles { 2 } else { 1 }
    }

    /// Columns of entries for so many of channels, where rows are tiles.
    pub(super) fn columns(self, channels: usize) -> usize {
        if self == Pairs::Channels { channels / 2 } else { channels }
    }
}

/// How transformed values lie in memory: product after product, each a matrix of entries, by rows or packed in panels for
/// the right side of a matrix product.
pub(super) struct Slab {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) panel: usize,
    pub(super) pairs: Pairs,
}

impl Slab {
    /// Rows of tiles and columns of channels, of which those share entries that are the terms of sums.
    pub(super) fn rows(rows: usize, columns: usize, pairs: Pairs) -> Self {
        let (rows, columns) = (rows.div_ceil(pairs.tiles_of_row()), pairs.columns(columns));
        Self { rows, columns, panel: columns, pairs }
    }

    /// Rows of terms of sums, and columns of channels in panels.
    pub(super) fn panels(rows: usize, columns: usize, pairs: Pairs) -> Self {
        let rows = if pairs == Pairs::None { rows } else { rows.div_ceil(2) };
        Self { rows, columns, panel: gemm::panel_width(), pairs }
    }

    /// Where the entry of `row` and `column` of the first product lies; columns up to the next multiple of
    /// [`GROUP`] follow it.
    #[inline(always)]
    pub(super) fn offset(&self, row: usize, column: usize) -> usize {
        let first = column / self.panel * self.panel;
        let width = self.panel.min(self.columns - first);
        first * self.rows + row * width + column - first
    }

    /// How far apart products lie: an odd number of cache lines, because a tile has an entry in each product, and a power of two
    /// would put all of them into the same few places of the cache.
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
