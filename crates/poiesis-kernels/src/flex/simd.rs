//! Which instruction set the bodies use: the best that the processor has, chosen at run time.

use std::sync::atomic::{AtomicU8, Ordering};

use pulp::{Arch, WithSimd};

/// A bound on the instruction set, for tests and comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimdLimit {
    /// The best the processor has.
    Best,
    /// AVX2 with FMA at most.
    Avx2,
    /// No vectors of its own; what the compiler makes of plain code.
    Portable,
}

static LIMIT: AtomicU8 = AtomicU8::new(SimdLimit::Best as u8);

/// Keeps all later operations of this process from using more than `limit`. Results differ by rounding. Processors that
/// are not x86 know `Best` and `Portable` only.
pub fn limit_simd(limit: SimdLimit) {
    LIMIT.store(limit as u8, Ordering::Relaxed);
}

/// Runs `operation` with the instruction set in force.
#[inline(always)]
pub(crate) fn dispatch<O: WithSimd>(operation: O) -> O::Output {
    arch().dispatch(operation)
}

/// Runs plain loops, compiled for the instruction set in force. `work` must be marked `#[inline(always)]`.
#[inline(always)]
pub(crate) fn run<R>(work: impl FnMut() -> R) -> R {
    dispatch(Loops(work))
}

/// Called through `FnMut`: the call of a closure through `FnOnce` may go by way of a function that the compiler does not
/// inline and therefore compiles without SIMD.
struct Loops<F>(F);

impl<R, F: FnMut() -> R> WithSimd for Loops<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, _simd: S) -> R {
        (self.0)()
    }
}

/// Whether there are vectors, without which [`dispatch_vectors`] cannot run.
pub(crate) fn has_vectors() -> bool {
    !matches!(arch(), Arch::Scalar)
}

/// Runs an operation of very long code, which is worth compiling for vectors only.
///
/// # Panics
///
/// Without [`has_vectors`].
#[inline(always)]
pub(crate) fn dispatch_vectors<O: WithSimd>(operation: O) -> O::Output {
    match arch() {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V4(simd) => pulp::Simd::vectorize(simd, operation),
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V3(simd) => pulp::Simd::vectorize(simd, operation),
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(simd) => pulp::Simd::vectorize(simd, operation),
        _ => panic!("this operation needs vectors"),
    }
}

#[inline(always)]
fn arch() -> Arch {
    let limit = LIMIT.load(Ordering::Relaxed);
    if limit == SimdLimit::Best as u8 { Arch::new() } else { limited(limit) }
}

#[cold]
fn limited(limit: u8) -> Arch {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if limit == SimdLimit::Avx2 as u8
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        return Arch::V3(simd);
    }
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    if limit == SimdLimit::Avx2 as u8 {
        return Arch::new();
    }
    Arch::Scalar
}

#[cfg(test)]
mod tests {
    #[test]
    fn right_with_every_instruction_set() {
        crate::testing::assert_right_with_every_instruction_set("right_with_every_instruction_set");
    }
}
