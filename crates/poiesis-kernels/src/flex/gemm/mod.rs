//! Matrix products of a strided left matrix with a right matrix that is packed into panels of columns, or read without packing.
//!
//! The inner kernel (`tile`) holds a tile of the result in registers: 6×64 with AVX-512, 6×16 with AVX2, more rows for
//! fewer columns. It broadcasts the left elements from memory, so the left matrix is never packed. Every element of the
//! result is one chain of fused multiply-adds in the order of the depth, cut at fixed multiples of [`product::DEPTH`]. It
//! does not depend on the other rows, on the tile it falls into, or on the threads.

#[cfg(target_arch = "x86_64")]
mod bf16;
mod matrix;
mod packing;
mod product;
mod strides;
mod tile;

pub use matrix::{Left, Matrix, Right, Write};
pub(crate) use packing::{panel_width, round_neighbours, round_with_distant};
pub use product::Product;
pub use strides::Strides;

use crate::precision::{Precision, precision};

/// Matrix products whose factors are rounded in one way.
///
/// A product must use the precision that its right matrix was packed with, so code that packs and multiplies asks for
/// the precision once.
#[derive(Clone, Copy, Debug)]
pub struct Gemm(Precision);

impl Gemm {
    /// Products of unrounded factors.
    pub const F32: Self = Self(Precision::F32);

    /// Products of factors rounded to bf16, for tests; the processor must support them.
    pub const BF16: Self = Self(Precision::Bf16);

    /// The precision set by [`crate::set_precision`].
    pub(crate) fn current() -> Self {
        Self(precision())
    }

    /// Whether factors are rounded to bf16.
    pub(crate) fn rounds(self) -> bool {
        self.0 == Precision::Bf16
    }
}
