//! How the factors of matrix products are rounded.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::flex::simd;

/// How matrix products round their factors. Sums are f32 with either, and so is everything that is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// No rounding.
    #[default]
    F32,
    /// To bf16, the upper half of an f32: its range with 8 bits of precision, an error of up to 2⁻⁹ of the factor. Values below
    /// 2⁻¹²⁶ count as zero.
    Bf16,
}

impl Precision {
    /// Whether this processor supports it: for [`Precision::Bf16`] it must have AVX512-BF16 (AMD from Zen 4 on, Intel's servers from
    /// Sapphire Rapids on), and [`limit_simd`](crate::limit_simd) must allow AVX-512.
    pub fn is_supported(self) -> bool {
        self == Precision::F32 || has_bf16()
    }
}

#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    simd::instruction_set() == "avx512"
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}

static BF16: AtomicBool = AtomicBool::new(false);

/// Chooses the precision of all operations of this process from now on, on Flex.
///
/// [`Precision::Bf16`] makes matrix products up to twice as fast: those of [`linear`](crate::linear), of attention, of
/// recurrent layers and of convolutions ([`conv2d`](crate::conv2d)), and their gradients. Winograd's algorithms with more than two
/// results per tile, layers over up to four rows, cached steps of attention, [`inference`](crate::inference) and default
/// implementations are not affected. Results are the same for any number of threads with either.
///
/// # Panics
///
/// When the processor does not [support](Precision::is_supported) it.
pub fn set_precision(precision: Precision) {
    assert!(precision.is_supported(), "set_precision: this processor has no instructions for {precision:?}");
    BF16.store(precision == Precision::Bf16, Ordering::Relaxed);
}

/// The current precision.
pub fn precision() -> Precision {
    if BF16.load(Ordering::Relaxed) { Precision::Bf16 } else { Precision::F32 }
}
