//! Matrix product of a strided left matrix with a right matrix that is packed into panels of columns or read where it lies.
//!
//! The inner kernel holds a tile of the result in registers (6×64 with AVX-512, 6×16 with AVX2, more rows for fewer columns) and
//! broadcasts the left elements from memory, so that the left matrix is never packed. Every element of the
//! result is one chain of fused multiply-adds in the order of `k`, cut at fixed multiples of
//! [`DEPTH`]; it does not depend on the other rows, on the tile it falls into, or on the threads.

#![expect(unsafe_code, reason = "the inner kernel reads and writes through raw pointers")]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::arch::asm;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::parallel::Shared;
use super::simd;
use super::transpose::transpose;
use crate::precision::{Precision, precision};

/// Columns of the right matrix are worked off in stretches of this many rows, of which a panel stays in the L1 cache.
const DEPTH: usize = 128;

/// The left matrix: element `(i, p)` is `values[rows.at(i) + columns.at(p)]`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: Steps,
    pub(crate) columns: Steps,
    /// Whether the values are pairs of bf16, neighbours in the order of the sum with the first as the lower half, and `columns`
    /// those of pairs. A last column without a neighbour is paired with zero.
    pub(crate) rounded: bool,
}

impl<'a> Left<'a> {
    /// Element `(i, p)` is `values[i · row + p · column]`.
    pub(crate) fn new(values: &'a [f32], row: usize, column: usize) -> Self {
        Self { values, rows: Steps::even(row), columns: Steps::even(column), rounded: false }
    }

    /// Rows without gaps that begin at `rows`.
    pub(crate) fn of_rows(values: &'a [f32], rows: Steps) -> Self {
        Self { values, rows, columns: Steps::even(1), rounded: false }
    }

    /// Columns without gaps that begin at `columns`.
    pub(crate) fn of_columns(values: &'a [f32], columns: Steps) -> Self {
        Self { values, rows: Steps::even(1), columns, rounded: false }
    }
}

/// The right matrix.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// As [`Gemm::pack`] lays it out.
    Packed(&'a [f32]),
    /// Rows so far apart, where [`Gemm::reads_in_place`]. Packing takes longer than it looks where threads share the work: each
    /// fetches from the others what they packed.
    InPlace(&'a [f32], usize),
}

/// Where the entries along an axis lie: runs of `run` entries `step` apart, whose beginnings are `jump` apart. The first
/// entry may be in the middle of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub(crate) first: usize,
    pub(crate) step: usize,
    pub(crate) run: usize,
    pub(crate) jump: usize,
}

impl Steps {
    /// One run without end.
    pub(crate) fn even(step: usize) -> Self {
        Self { first: 0, step, run: usize::MAX, jump: 0 }
    }

    /// Runs of `run` entries `step` apart that begin `jump` apart.
    pub(crate) fn runs(step: usize, run: usize, jump: usize) -> Self {
        match run {
            1 => Self::even(jump),
            _ if jump == run * step => Self::even(step),
            _ => Self { first: 0, step, run, jump },
        }
    }

    /// The entries from `count` on.
    pub(crate) fn skip(self, count: usize) -> Self {
        Self { first: self.first + count, ..self }
    }

    #[inline(always)]
    pub(crate) fn at(self, index: usize) -> usize {
        let index = self.first + index;
        index / self.run * self.jump + index % self.run * self.step
    }

    /// How many entries from this one on lie in its run.
    #[inline(always)]
    fn left_in_run(self, index: usize) -> usize {
        self.run - (self.first + index) % self.run
    }

    /// The greatest place of the first `count` entries.
    fn last(self, count: usize) -> usize {
        let last = self.at(count - 1);
        // The end of the run before may lie further.
        let in_run = (self.first + count - 1) % self.run + 1;
        if count > in_run { last.max(self.at(count - 1 - in_run)) } else { last }
    }
}

/// What happens to the old result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Replace,
    Add,
}

/// Number of columns in a panel on this machine.
pub(crate) fn panel_width() -> usize {
    simd::dispatch(PanelWidth).0
}

/// Matrix products whose factors are rounded in one way.
///
/// A product must be multiplied as its right matrix was packed; whoever does both asks once for the precision in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gemm(Precision);

impl Gemm {
    /// Products of factors as they are.
    pub(crate) const F32: Self = Self(Precision::F32);

    /// Products of rounded factors, for tests; the processor must have them.
    #[cfg(test)]
    pub(crate) const BF16: Self = Self(Precision::Bf16);

    /// As [`crate::set_precision`] says.
    pub(crate) fn in_force() -> Self {
        Self(precision())
    }

    /// Whether factors are rounded to bf16.
    pub(crate) fn rounds(self) -> bool {
        self.0 == Precision::Bf16
    }

    /// Whether so many columns of a right matrix whose columns lie side by side can be read without packing.
    pub(crate) fn reads_in_place(self, columns: usize) -> bool {
        !self.rounds() && columns.is_multiple_of(simd::dispatch(PanelWidth).1)
    }

    /// `matrix` with `columns` columns without gaps, if that is what packing it would give.
    pub(crate) fn packed_already(self, matrix: &[f32], columns: usize) -> Option<&[f32]> {
        (columns <= panel_width() && self.reads_in_place(columns)).then_some(matrix)
    }

    /// Rows of entries that `rows` rows of a right matrix are packed to.
    fn packed_rows(self, rows: usize) -> usize {
        if self.rounds() { rows.div_ceil(2) } else { rows }
    }

    /// Number of floats that a packed matrix of `rows × columns` takes.
    pub(crate) fn packed_len(self, rows: usize, columns: usize) -> usize {
        let (panel, lanes) = simd::dispatch(PanelWidth);
        let last = (columns % panel).next_multiple_of(lanes);
        (columns / panel * panel + last) * self.packed_rows(rows)
    }

    /// The floats of panel `panel` inside a packed matrix of `rows × columns`.
    pub(crate) fn panel_range(self, rows: usize, columns: usize, panel: usize) -> Range<usize> {
        let (full, lanes) = simd::dispatch(PanelWidth);
        let start = panel * full;
        let width = full.min(columns - start).next_multiple_of(lanes);
        let rows = self.packed_rows(rows);
        start * rows..(start + width) * rows
    }

    /// Packs panel `panel` of a matrix given by blocks of rows: row `b · rows_per_block + r`, column `j` is
    /// `source[blocks[b] + r · row + j · column]`. `packed` is the part of the whole packed matrix that
    /// [`Gemm::panel_range`] says.
    #[expect(clippy::too_many_arguments, reason = "the geometry of a strided matrix")]
    pub(crate) fn pack_panel(
        self,
        packed: &mut [f32],
        source: &[f32],
        blocks: &[usize],
        block_rows: usize,
        columns: usize,
        row: usize,
        column: usize,
        panel: usize,
    ) {
        let (full, lanes) = simd::dispatch(PanelWidth);
        let first = panel * full;
        let width = full.min(columns - first);
        let stride = width.next_multiple_of(lanes);
        let rows = Rows { source, blocks, block_rows, row, column, first, width, stride };
        assert_eq!(packed.len(), self.packed_rows(rows.count()) * stride);
        match self.0 {
            Precision::F32 => rows.copy(0..rows.count(), packed),
            // SAFETY: `Bf16` is only chosen where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Precision::Bf16 => unsafe { bf16::pack_panel(&rows, packed) },
            #[cfg(not(target_arch = "x86_64"))]
            Precision::Bf16 => unreachable!("no processor of this kind has bf16"),
        }
    }

    /// Packs a whole matrix on this thread; row `r`, column `j` is `source[r · row + j · column]`.
    pub(crate) fn pack(
        self,
        packed: &mut [f32],
        source: &[f32],
        rows: usize,
        columns: usize,
        row: usize,
        column: usize,
    ) {
        for panel in 0..columns.div_ceil(panel_width()) {
            let range = self.panel_range(rows, columns, panel);
            self.pack_panel(&mut packed[range], source, &[0], rows, columns, row, column, panel);
        }
    }

    /// `result (+)= left · packed` for `rows` rows, `depth` columns of `left` and `columns` columns of the packed
    /// matrix, on this thread. Row `i` of the result starts at `result[i · stride]`.
    #[expect(clippy::too_many_arguments, reason = "the geometry of a matrix product")]
    pub(crate) fn multiply(
        self,
        left: Left<'_>,
        rows: usize,
        depth: usize,
        packed: &[f32],
        columns: usize,
        result: &mut [f32],
        stride: usize,
        write: Write,
    ) {
        if rows == 0 || columns == 0 {
            return;
        }
        assert!((rows - 1) * stride + columns <= result.len());
        let (right, result, places) = (Right::Packed(packed), result.as_mut_ptr(), Steps::even(stride));
        let work = Product { gemm: self, left, rows, depth, right, columns, result, places, write };
        // SAFETY: the result is borrowed mutably and reaches to the last column of the last row.
        unsafe { work.run() }
    }

    /// [`Gemm::multiply`] by a right matrix of either kind, whose result begins at element `at` of an array that other tasks
    /// write too; its rows lie at `places` from there.
    ///
    /// # Safety
    ///
    /// Nothing else reads or writes the `columns` columns of the `rows` rows of the result at the same time.
    #[expect(clippy::too_many_arguments, reason = "the geometry of a matrix product")]
    pub(crate) unsafe fn multiply_shared(
        self,
        left: Left<'_>,
        rows: usize,
        depth: usize,
        right: Right<'_>,
        columns: usize,
        result: &Shared<'_>,
        at: usize,
        places: Steps,
        write: Write,
    ) {
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(at + places.last(rows) + columns <= result.len());
        let result = result.pointer(at);
        let work = Product { gemm: self, left, rows, depth, right, columns, result, places, write };
        // SAFETY: the result reaches to the last column of the last row, and the caller promises that nothing else uses it.
        unsafe { work.run() }
    }
}

/// Rounds numbers to half as many pairs of neighbours, for a [`Left`] of a product that [rounds](Gemm::rounds).
pub(crate) fn round_neighbours(values: &[f32], pairs: &mut [f32]) {
    assert!(Precision::Bf16.is_supported() && values.len() == 2 * pairs.len());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the features.
    unsafe {
        bf16::round(values, bytemuck::cast_slice_mut(pairs));
    }
}

/// Rounds numbers to pairs of each with the one `distance` behind it, for a [`Left`] of a product that [rounds](Gemm::rounds).
pub(crate) fn round_with_distant(values: &[f32], distance: usize, pairs: &mut [f32]) {
    assert!(Precision::Bf16.is_supported() && values.len() == distance + pairs.len());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the features.
    unsafe {
        bf16::interleave(&values[..pairs.len()], &values[distance..], bytemuck::cast_slice_mut(pairs));
    }
}

/// The columns of a panel of a matrix in blocks of rows; see [`Gemm::pack_panel`].
struct Rows<'a> {
    source: &'a [f32],
    blocks: &'a [usize],
    block_rows: usize,
    row: usize,
    column: usize,
    /// The first column of the panel, how many it has, and how far apart packed rows lie.
    first: usize,
    width: usize,
    stride: usize,
}

impl Rows<'_> {
    fn count(&self) -> usize {
        self.blocks.len() * self.block_rows
    }

    /// Copies the rows `rows`, with zeros behind the last column.
    fn copy(&self, rows: Range<usize>, packed: &mut [f32]) {
        let Self { width, stride, .. } = *self;
        let mut at = rows.start;
        while at < rows.end {
            let (block, first_row) = (at / self.block_rows, at % self.block_rows);
            let count = (self.block_rows - first_row).min(rows.end - at);
            let source = &self.source[self.blocks[block] + first_row * self.row + self.first * self.column..];
            let packed = &mut packed[(at - rows.start) * stride..][..count * stride];
            if self.column == 1 {
                for (r, packed) in packed.chunks_exact_mut(stride).enumerate() {
                    packed[..width].copy_from_slice(&source[r * self.row..][..width]);
                }
            } else {
                assert_eq!(self.row, 1, "either a row or a column of a matrix lies without gaps");
                transpose(source, self.column, [width, count], packed, stride);
            }
            if width < stride {
                packed.chunks_exact_mut(stride).for_each(|packed| packed[width..].fill(0.0));
            }
            at += count;
        }
    }
}

struct PanelWidth;

impl WithSimd for PanelWidth {
    type Output = (usize, usize);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> (usize, usize) {
        (vectors::<S>() * S::F32_LANES, S::F32_LANES)
    }
}

/// Vectors in a row of a tile.
const fn vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 4 } else { 2 }
}

/// Rows of a tile that has `vectors` vectors in a row, so that the registers suffice.
fn tile_rows<S: Simd>(vectors: usize) -> usize {
    match vectors {
        4 => 6,
        3 => 8,
        2 if S::REGISTER_COUNT < 32 => 6,
        1 if S::REGISTER_COUNT >= 32 => 24,
        _ => 12,
    }
}

/// Tiles that lie one below the other and have the same number of rows.
struct Tiles {
    /// The first row of the first tile.
    first: usize,
    count: usize,
    /// Rows of each.
    rows: usize,
}

/// Cuts `count` rows into tiles of at most `most`, whose sizes hardly differ within a run of both sides' rows, because small tiles
/// are slow.
#[inline(always)]
fn tiles(rows: Steps, places: Steps, count: usize, most: usize) -> impl Iterator<Item = Tiles> {
    let mut row = 0;
    let mut smaller: Option<Tiles> = None;
    std::iter::from_fn(move || {
        if smaller.is_some() {
            return smaller.take();
        }
        if row == count {
            return None;
        }
        let first = row;
        let run = rows.left_in_run(first).min(places.left_in_run(first)).min(count - first);
        row += run;
        let tiles = run.div_ceil(most);
        let (rows, larger) = (run / tiles, run % tiles);
        if larger == 0 {
            return Some(Tiles { first, count: tiles, rows });
        }
        smaller = Some(Tiles { first: first + larger * (rows + 1), count: tiles - larger, rows });
        Some(Tiles { first, count: larger, rows: rows + 1 })
    })
}

struct Product<'a> {
    gemm: Gemm,
    left: Left<'a>,
    rows: usize,
    depth: usize,
    right: Right<'a>,
    columns: usize,
    result: *mut f32,
    /// Where the rows of the result begin.
    places: Steps,
    write: Write,
}

impl Product<'_> {
    /// # Safety
    ///
    /// `result` points to `columns` numbers in each of `rows` rows, at least one, that nothing else reads or writes.
    unsafe fn run(self) {
        let Self { left, rows, depth, columns, .. } = self;
        if depth > 0 {
            assert!(self.gemm.rounds() || !left.rounded);
            let left_depth = if left.rounded { depth.div_ceil(2) } else { depth };
            assert!(left.rows.last(rows) + left.columns.last(left_depth) < left.values.len());
            match self.right {
                Right::Packed(packed) => assert!(packed.len() >= self.gemm.packed_len(depth, columns)),
                Right::InPlace(values, row) => {
                    assert!(self.gemm.reads_in_place(columns) && values.len() >= (depth - 1) * row + columns);
                }
            }
            #[cfg(target_arch = "x86_64")]
            if self.gemm.rounds() {
                // SAFETY: both matrices are complete and the caller promises the result; `Bf16` is only chosen where the
                // processor has it.
                return unsafe { bf16::multiply(&self) };
            }
            simd::dispatch(self);
        } else if self.write == Write::Replace {
            for row in 0..rows {
                // SAFETY: the caller promises this row.
                let row = unsafe {
                    std::slice::from_raw_parts_mut(self.result.wrapping_add(self.places.at(row)), columns)
                };
                row.fill(0.0);
            }
        }
    }

    /// The right matrix from row `start` on, the panel of `width` columns from `first` on, and how far apart its rows lie.
    #[inline(always)]
    fn panel(&self, first: usize, start: usize, width: usize) -> (&[f32], usize) {
        match self.right {
            Right::Packed(packed) => (&packed[first * self.depth + start * width..], width),
            Right::InPlace(values, row) => (&values[start * row + first..], row),
        }
    }
}

/// Calls the macro `run` with the literals of rows and vectors that `key` names.
macro_rules! tile {
    ($key:expr, $run:ident) => {
        tile!($key, $run, [
            (1, 4), (2, 4), (3, 4), (4, 4), (5, 4), (6, 4),
            (1, 3), (2, 3), (3, 3), (4, 3), (5, 3), (6, 3), (7, 3), (8, 3),
            (1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (7, 2), (8, 2), (9, 2), (10, 2), (11, 2), (12, 2),
            (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1), (10, 1), (11, 1), (12, 1),
            (13, 1), (14, 1), (15, 1), (16, 1), (17, 1), (18, 1), (19, 1), (20, 1), (21, 1), (22, 1), (23, 1), (24, 1),
        ])
    };
    ($key:expr, $run:ident, [$(($rows:literal, $vectors:literal)),* $(,)?]) => {
        match $key {
            $(($rows, $vectors) => $run!($rows, $vectors),)*
            _ => unreachable!("no tile has so many numbers"),
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod bf16;

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        let full = vectors::<S>() * lanes;
        for start in (0..self.depth).step_by(DEPTH) {
            let depth = DEPTH.min(self.depth - start);
            for first in (0..self.columns).step_by(full) {
                let width = full.min(self.columns - first);
                let count = width.div_ceil(lanes);
                let (right, right_row) = self.panel(first, start, count * lanes);
                let columns = self.left.columns;
                for tiles in tiles(self.left.rows, self.places, self.rows, tile_rows::<S>(count)) {
                    let left = self.left.rows.at(tiles.first) + columns.at(start);
                    let tile = Pointers {
                        tiles: tiles.count,
                        left: self.left.values[left..].as_ptr(),
                        left_row: self.left.rows.step,
                        left_column: columns.step,
                        run: columns.run,
                        left_in_run: columns.left_in_run(start),
                        jump: columns.jump.wrapping_sub(columns.run.wrapping_mul(columns.step)),
                        right: right.as_ptr(),
                        right_row,
                        depth,
                        result: self.result.wrapping_add(self.places.at(tiles.first) + first),
                        stride: self.places.step,
                        last: width - (count - 1) * lanes,
                        add: start > 0 || self.write == Write::Add,
                    };
                    macro_rules! run {
                        ($rows:literal, $vectors:literal) => {
                            simd.vectorize(Column::<$rows, $vectors>(tile))
                        };
                    }
                    tile!((tiles.rows, count), run);
                }
            }
        }
    }
}

/// Where tiles lie one below the other; [`Product::run`] has checked that all of them are inside the arrays.
struct Pointers {
    tiles: usize,
    left: *const f32,
    left_row: usize,
    left_column: usize,
    /// Columns in a run, those of them from the first one on, and what is added behind a run.
    run: usize,
    left_in_run: usize,
    jump: usize,
    right: *const f32,
    right_row: usize,
    depth: usize,
    result: *mut f32,
    stride: usize,
    /// Columns in the last vector, at least 1.
    last: usize,
    add: bool,
}

/// Tiles of so many rows and vectors, one below the other.
struct Column<const ROWS: usize, const VECTORS: usize>(Pointers);

impl<const ROWS: usize, const VECTORS: usize> WithSimd for Column<ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for tile in 0..self.0.tiles {
            self.tile(simd, tile * ROWS);
        }
    }
}

impl<const ROWS: usize, const VECTORS: usize> Column<ROWS, VECTORS> {
    /// The tile from row `first` on.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "indices over registers")]
    fn tile<S: Simd>(&self, simd: S, first: usize) {
        let at = &self.0;
        let (first_left, first_result) =
            (at.left.wrapping_add(first * at.left_row), at.result.wrapping_add(first * at.stride));
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        // SAFETY: `Product::run` has checked that the first and the last element of the left matrix lie inside its slice and
        // that the right matrix is complete, and its caller promises the result; `Product` cuts tiles that stay within `rows`,
        // `depth` and `columns`. Vectors that reach over the last column are read and written in part.
        unsafe {
            if at.add {
                for i in 0..ROWS {
                    let result = first_result.wrapping_add(i * at.stride);
                    for v in 0..VECTORS - 1 {
                        sums[i][v] = result.wrapping_add(v * lanes).cast::<S::f32s>().read_unaligned();
                    }
                    let last = result.wrapping_add((VECTORS - 1) * lanes);
                    sums[i][VECTORS - 1] = if at.last == lanes {
                        last.cast::<S::f32s>().read_unaligned()
                    } else {
                        simd.partial_load_f32s(std::slice::from_raw_parts(last, at.last))
                    };
                }
            }
            // Every fourth row has a pointer of its own.
            let row = at.left_row;
            let three_rows = row.wrapping_mul(3);
            let mut left = [first_left; 6];
            for (i, left) in left.iter_mut().enumerate() {
                *left = first_left.wrapping_add(row.wrapping_mul(4 * i));
            }
            let mut row_of_right = at.right;
            let mut depth = at.depth;
            let mut run = at.left_in_run.min(depth);
            loop {
                for _ in 0..run {
                    // The compiler must not know how the pointers are related: it would give every row one of its own, more than
                    // there are registers, or reach row after row by a chain of additions.
                    for left in &mut left[..ROWS.div_ceil(4)] {
                        *left = opaque(*left);
                    }
                    let mut right = [simd.splat_f32s(0.0); VECTORS];
                    for v in 0..VECTORS {
                        right[v] = row_of_right.wrapping_add(v * lanes).cast::<S::f32s>().read_unaligned();
                    }
                    for (group, left) in left.iter().enumerate() {
                        for (j, distance) in [0, row, row.wrapping_mul(2), three_rows].into_iter().enumerate()
                        {
                            let i = 4 * group + j;
                            if i < ROWS {
                                let factor = simd.splat_f32s(left.wrapping_add(distance).read_unaligned());
                                for v in 0..VECTORS {
                                    sums[i][v] = simd.mul_add_e_f32s(factor, right[v], sums[i][v]);
                                }
                            }
                        }
                    }
                    for left in &mut left[..ROWS.div_ceil(4)] {
                        *left = left.wrapping_add(at.left_column);
                    }
                    row_of_right = row_of_right.wrapping_add(at.right_row);
                }
                depth -= run;
                if depth == 0 {
                    break;
                }
                for left in &mut left[..ROWS.div_ceil(4)] {
                    *left = left.wrapping_add(at.jump);
                }
                run = at.run.min(depth);
            }
            for i in 0..ROWS {
                let result = first_result.wrapping_add(i * at.stride);
                for v in 0..VECTORS - 1 {
                    result.wrapping_add(v * lanes).cast::<S::f32s>().write_unaligned(sums[i][v]);
                }
                let last = result.wrapping_add((VECTORS - 1) * lanes);
                if at.last == lanes {
                    last.cast::<S::f32s>().write_unaligned(sums[i][VECTORS - 1]);
                } else {
                    let last = std::slice::from_raw_parts_mut(last, at.last);
                    simd.partial_store_f32s(last, sums[i][VECTORS - 1]);
                }
            }
        }
    }
}

/// The pointer, of which the compiler then knows nothing.
#[inline(always)]
#[cfg_attr(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read or written through it")
)]
fn opaque(pointer: *const f32) -> *const f32 {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut pointer = pointer;
        // SAFETY: no instruction.
        unsafe { asm!("/* {} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
        pointer
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(i: usize) -> f32 {
        ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0
    }

    #[test]
    fn equals_the_plain_loops() {
        for (rows, depth, columns) in
            [(1, 1, 1), (5, 3, 17), (13, 400, 64), (7, 20, 130), (25, 9, 33), (6, 0, 5), (3, 2, 100)]
        {
            for transposed in [false, true] {
                for write in [Write::Replace, Write::Add] {
                    let left: Vec<f32> = (0..rows * depth).map(number).collect();
                    let right: Vec<f32> = (0..depth * columns).map(|i| number(i + 5)).collect();
                    let (row, column) = if transposed { (1, rows) } else { (depth, 1) };
                    let mut packed = vec![0.0; Gemm::F32.packed_len(depth, columns)];
                    Gemm::F32.pack(&mut packed, &right, depth, columns, columns, 1);
                    let stride = columns + 3;
                    let mut result = vec![0.5; rows * stride];
                    let values = &left;
                    let left_matrix = Left::new(values, row, column);
                    Gemm::F32.multiply(
                        left_matrix,
                        rows,
                        depth,
                        &packed,
                        columns,
                        &mut result,
                        stride,
                        write,
                    );
                    for i in 0..rows {
                        for j in 0..columns {
                            let start = if write == Write::Add { 0.5 } else { 0.0 };
                            let expected = (0..depth).fold(start, |sum, p| {
                                sum + f64::from(left[i * row + p * column])
                                    * f64::from(right[p * columns + j])
                            });
                            let got = f64::from(result[i * stride + j]);
                            assert!((got - expected).abs() < 1e-4, "{rows}x{depth}x{columns}");
                        }
                        assert!(result[i * stride + columns..(i + 1) * stride].iter().all(|&x| x == 0.5));
                    }
                }
            }
        }
    }

    #[test]
    fn rows_and_columns_in_runs() {
        // A convolution of 3×4 taps over an image of 7×11 pixels of 2 values, from its second tap on.
        let (pitch, width, channels, columns) = (22, 8, 2, 70);
        let image: Vec<f32> = (0..7 * pitch).map(number).collect();
        for (stride, rows) in [(1, 5 * 8), (1, 13), (2, 2 * 4)] {
            let width = width / stride;
            let depth = 11 * channels;
            let right: Vec<f32> = (0..depth * columns).map(|i| number(i + 5)).collect();
            let mut packed = vec![0.0; Gemm::F32.packed_len(depth, columns)];
            Gemm::F32.pack(&mut packed, &right, depth, columns, columns, 1);
            let left = Left {
                values: &image,
                rows: Steps { first: 0, step: stride * channels, run: width, jump: stride * pitch },
                columns: Steps { first: channels, step: 1, run: 4 * channels, jump: pitch },
                rounded: false,
            };
            let mut result = vec![0.0; rows * columns];
            Gemm::F32.multiply(left, rows, depth, &packed, columns, &mut result, columns, Write::Replace);
            for i in 0..rows {
                let corner = i / width * stride * pitch + i % width * stride * channels;
                for j in 0..columns {
                    let expected: f64 = (0..depth)
                        .map(|p| {
                            let tap = p + channels;
                            let x = image[corner + tap / (4 * channels) * pitch + tap % (4 * channels)];
                            f64::from(x) * f64::from(right[p * columns + j])
                        })
                        .sum();
                    let got = f64::from(result[i * columns + j]);
                    assert!((got - expected).abs() < 1e-4, "row {i}, column {j}: {got} {expected}");
                }
            }
        }
    }

    #[test]
    fn packs_transposed_matrices() {
        let (rows, columns) = (35, 70);
        let source: Vec<f32> = (0..rows * columns).map(number).collect();
        let transposed: Vec<f32> =
            (0..rows * columns).map(|i| source[i % rows * columns + i / rows]).collect();
        let mut a = vec![0.0; Gemm::F32.packed_len(rows, columns)];
        let mut b = vec![1.0; Gemm::F32.packed_len(rows, columns)];
        Gemm::F32.pack(&mut a, &source, rows, columns, columns, 1);
        Gemm::F32.pack(&mut b, &transposed, rows, columns, 1, rows);
        assert_eq!(a, b);
    }
}
