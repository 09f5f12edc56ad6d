//! The instruction set of the Flex implementations: the best that the processor has, chosen at run time.

use std::mem::discriminant;
use std::sync::OnceLock;

use pulp::{Arch, WithSimd};

/// A bound on the instruction set, for tests and comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimdLimit {
    /// The best the processor has.
    Best,
    /// AVX2 with FMA at most.
    Avx2,
    /// No explicit vectors; plain code as the compiler translates it.
    Portable,
}

/// Chosen once: data packed for one instruction set must not be used with another.
static CHOSEN: OnceLock<Arch> = OnceLock::new();

/// Keeps all operations of this process from using more than `limit`. Results differ by rounding. Processors that are not x86
/// support `Best` and `Portable` only.
///
/// # Panics
///
/// When an operation has already run with another instruction set, or an earlier call has chosen another one.
pub fn limit_simd(limit: SimdLimit) {
    let wanted = limited(limit);
    let chosen = *CHOSEN.get_or_init(|| wanted);
    assert!(
        discriminant(&chosen) == discriminant(&wanted),
        "limit_simd: {limit:?} is too late, {chosen:?} is in use: call it before the first operation",
    );
}

/// The current instruction set: `avx512`, `avx2`, `neon` or `portable`. Results of different sets differ by rounding.
pub fn instruction_set() -> &'static str {
    match arch() {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V4(_) => "avx512",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V3(_) => "avx2",
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(_) => "neon",
        _ => "portable",
    }
}

/// Runs `operation` with the current instruction set.
#[inline(always)]
pub(crate) fn dispatch<O: WithSimd>(operation: O) -> O::Output {
    arch().dispatch(operation)
}

/// Runs plain loops, compiled for the current instruction set. `work` must be marked `#[inline(always)]`.
#[inline(always)]
pub(crate) fn run<R>(work: impl FnMut() -> R) -> R {
    dispatch(Closure(work))
}

/// Called through `FnMut`: the call of a closure through `FnOnce` may use a function that the compiler does not
/// inline and therefore compiles without SIMD.
struct Closure<F>(F);

impl<R, F: FnMut() -> R> WithSimd for Closure<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, _simd: S) -> R {
        (self.0)()
    }
}

/// Plain loops that are a type and not a closure: the call of a closure is only inlined if it is small, and otherwise
/// compiled without SIMD.
pub(crate) trait Loops {
    /// Must be marked `#[inline(always)]`.
    fn run(self);
}

/// Runs loops, compiled for the current instruction set.
#[inline(always)]
pub(crate) fn run_loops(loops: impl Loops) {
    dispatch(Plain(loops));
}

struct Plain<L>(L);

impl<L: Loops> WithSimd for Plain<L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _simd: S) {
        self.0.run();
    }
}

/// Whether there are vectors, without which [`dispatch_vectors`] cannot run.
pub(crate) fn has_vectors() -> bool {
    !matches!(arch(), Arch::Scalar)
}

/// Whether the processor starts two multiplications of 512 bits per cycle, so that memory and data movement matter more in
/// comparison: AMD's do from Zen 5 on, Intel's where they have AVX-512.
#[cfg(target_arch = "x86_64")]
pub(crate) fn multiplies_fast() -> bool {
    use std::arch::x86_64::__cpuid;
    static FAST: OnceLock<bool> = OnceLock::new();
    *FAST.get_or_init(|| {
        let amd = __cpuid(0).ebx == u32::from_le_bytes(*b"Auth");
        let version = __cpuid(1).eax;
        let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
        matches!(arch(), Arch::V4(_)) && !(amd && family < 0x1a)
    })
}

/// Only known for x86.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn multiplies_fast() -> bool {
    false
}

/// Runs an operation with a lot of code, which is only compiled for vectors.
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
        _ => panic!("this operation needs a vector instruction set"),
    }
}

/// The token of AVX2 if it or something better is in use.
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx2() -> Option<pulp::x86::V3> {
    match arch() {
        Arch::V4(simd) => Some(*simd),
        Arch::V3(simd) => Some(simd),
        _ => None,
    }
}

#[inline(always)]
fn arch() -> Arch {
    *CHOSEN.get_or_init(|| limited(SimdLimit::Best))
}

fn limited(limit: SimdLimit) -> Arch {
    match limit {
        SimdLimit::Best => Arch::new(),
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        SimdLimit::Avx2 => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
        SimdLimit::Avx2 => Arch::new(),
        SimdLimit::Portable => Arch::Scalar,
    }
}
