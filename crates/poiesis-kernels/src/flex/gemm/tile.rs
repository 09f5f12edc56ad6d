//! Tiles of the result, which the inner kernel holds in registers.

#![expect(unsafe_code, reason = "the inner kernel reads and writes through raw pointers")]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::arch::asm;

use pulp::{Simd, WithSimd};

use super::Strides;

/// Vectors in a row of a tile.
pub(super) const fn vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 4 } else { 2 }
}

/// Rows of a tile that has `vectors` vectors in a row, so that the registers suffice.
pub(super) const fn tile_rows<S: Simd>(vectors: usize) -> usize {
    match vectors {
        4 => 6,
        3 => 8,
        2 if S::REGISTER_COUNT < 32 => 6,
        1 if S::REGISTER_COUNT >= 32 => 24,
        _ => 12,
    }
}

/// Adjacent tiles with the same number of rows, one below the other.
pub(super) struct Tiles {
    /// The first row of the first tile.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Rows of each tile.
    pub(super) rows: usize,
}

/// Cuts `count` rows into tiles of at most `most` rows. Within a run of the rows of both the left matrix and the result, the
/// sizes of the tiles differ by at most one, because small tiles are slow.
#[inline(always)]
pub(super) fn tiles(
    rows: Strides,
    result_rows: Strides,
    count: usize,
    most: usize,
) -> impl Iterator<Item = Tiles> {
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
        let run = rows.left_in_run(first).min(result_rows.left_in_run(first)).min(count - first);
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

/// Calls the macro `run` with the rows and vectors of `key` as literals.
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
            _ => unreachable!("no tile has this size"),
        }
    };
}
pub(super) use tile;

/// Tiles one below the other in memory; the caller has checked that all of them are inside the arrays.
pub(super) struct Pointers {
    pub(super) tiles: usize,
    pub(super) left: *const f32,
    pub(super) left_row: usize,
    pub(super) left_column: usize,
    /// Columns in a run, columns of the first run, and the distance added after a run.
    pub(super) run: usize,
    pub(super) left_in_run: usize,
    pub(super) jump: usize,
    pub(super) right: *const f32,
    pub(super) right_row: usize,
    pub(super) depth: usize,
    pub(super) result: *mut f32,
    pub(super) stride: usize,
    /// Columns in the last vector, at least 1.
    pub(super) last: usize,
    pub(super) add: bool,
}

/// Tiles of this many rows and vectors, one below the other.
pub(super) struct Column<const ROWS: usize, const VECTORS: usize>(pub(super) Pointers);

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
        // SAFETY: `Call::run` has checked that the first and the last element of the left matrix are inside its slice and
        // that the right matrix is complete, and its caller promises the result; `Call` cuts tiles that stay within `rows`,
        // `depth` and `columns`. Of a vector that reaches past the last column only a part is read and written.
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
            // Every fourth row has its own pointer.
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
                    // The compiler must not know how the pointers are related: it would keep a pointer for every row, more than
                    // there are registers, or compute each row's pointer from the one before.
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

/// Returns the pointer in a way that hides its origin from the compiler.
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
