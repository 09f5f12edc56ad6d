//! The matrices of the schemes, and their products with vectors.

use pulp::Simd;

/// Runs the block for each index below a constant of at most 6, without a loop: the compiler would not unroll loops
/// of this length, and would keep the arrays of registers in memory.
macro_rules! unrolled {
    ($index:ident < $count:expr => $block:block) => {
        unrolled!(@ $index, $count, $block, 0, 1, 2, 3, 4, 5)
    };
    (@ $index:ident, $count:expr, $block:block, $($number:literal),*) => {
        $(if $number < $count {
            let $index: usize = $number;
            $block
        })*
    };
}

pub(super) use unrolled;

/// The matrices of `y = Aᵀ ((G g) ⊙ (Bᵀ d))`, for `R` results of `T` taps by `P` points.
pub(super) trait Scheme<const R: usize, const T: usize, const P: usize>: 'static {
    /// `Bᵀ`
    const DATA: [[f32; P]; P];
    /// `G`
    const KERNEL: [[f32; T]; P];
    /// `Aᵀ`
    const RESULT: [[f32; P]; R];
    /// Whether transformed factors may be rounded to bf16.
    const ROUNDS: bool = false;
}

pub(super) struct F22;

impl Scheme<2, 2, 3> for F22 {
    const DATA: [[f32; 3]; 3] = [[1.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 1.0]];
    const KERNEL: [[f32; 2]; 3] = [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    const RESULT: [[f32; 3]; 2] = [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]];
    const ROUNDS: bool = true;
}

pub(super) struct F42;

impl Scheme<4, 2, 5> for F42 {
    const DATA: [[f32; 5]; 5] = [
        [1.0, 2.0, -1.0, -2.0, 0.0],
        [0.0, 0.5, 1.5, 1.0, 0.0],
        [0.0, -0.5, -0.5, 1.0, 0.0],
        [0.0, -1.0, 0.0, 1.0, 0.0],
        [0.0, -0.5, -1.0, 0.5, 1.0],
    ];
    const KERNEL: [[f32; 2]; 5] =
        [[1.0, 0.0], [1.0 / 3.0, 1.0 / 3.0], [-1.0, 1.0], [8.0 / 3.0, -4.0 / 3.0], [0.0, 1.0]];
    const RESULT: [[f32; 5]; 4] = [
        [1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, -1.0, -0.5, 0.0],
        [0.0, 1.0, 1.0, 0.25, 0.0],
        [0.0, 1.0, -1.0, -0.125, 1.0],
    ];
}

pub(super) struct F23;

impl Scheme<2, 3, 4> for F23 {
    const DATA: [[f32; 4]; 4] =
        [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]];
    const KERNEL: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    const RESULT: [[f32; 4]; 2] = [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, 1.0]];
    const ROUNDS: bool = true;
}

/// The five finite points of the schemes with six points, and the factor of the kernel at each.
const SIX: [(f32, f32); 5] =
    [(0.0, 1.0), (1.0, 1.0 / 3.0), (-1.0, -1.0 / 3.0), (0.5, -16.0 / 15.0), (-2.0, 1.0 / 15.0)];

/// `Bᵀ` of six points.
const SIX_DATA: [[f32; 6]; 6] = [
    [1.0, -1.5, -2.0, 1.5, 1.0, 0.0],
    [0.0, -1.0, 0.5, 2.5, 1.0, 0.0],
    [0.0, 1.0, -2.5, 0.5, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 0.5, -1.0, -0.5, 1.0, 0.0],
    [0.0, 1.0, -1.5, -2.0, 1.5, 1.0],
];

/// `G` of six points: the kernel as a polynomial at each of them, and its last tap at ∞.
const fn six_kernel<const T: usize>() -> [[f32; T]; 6] {
    let mut kernel = [[0.0; T]; 6];
    let mut point = 0;
    while point < 5 {
        let (x, factor) = SIX[point];
        kernel[point] = powers(x, factor);
        point += 1;
    }
    kernel[5][T - 1] = 1.0;
    kernel
}

/// `Aᵀ` of six points.
const fn six_result<const R: usize>() -> [[f32; 6]; R] {
    let mut result = [[0.0; R]; 6];
    let mut point = 0;
    while point < 5 {
        result[point] = powers(SIX[point].0, 1.0);
        point += 1;
    }
    result[5][R - 1] = 1.0;
    transpose(result)
}

/// `first`, `first · x`, `first · x²` …
const fn powers<const N: usize>(x: f32, first: f32) -> [f32; N] {
    let mut powers = [first; N];
    let mut n = 1;
    while n < N {
        powers[n] = powers[n - 1] * x;
        n += 1;
    }
    powers
}

pub(super) struct F43;

impl Scheme<4, 3, 6> for F43 {
    const DATA: [[f32; 6]; 6] = SIX_DATA;
    const KERNEL: [[f32; 3]; 6] = six_kernel();
    const RESULT: [[f32; 6]; 4] = six_result();
}

pub(super) struct F34;

impl Scheme<3, 4, 6> for F34 {
    const DATA: [[f32; 6]; 6] = SIX_DATA;
    const KERNEL: [[f32; 4]; 6] = six_kernel();
    const RESULT: [[f32; 6]; 3] = six_result();
}

pub(super) struct F25;

impl Scheme<2, 5, 6> for F25 {
    const DATA: [[f32; 6]; 6] = SIX_DATA;
    const KERNEL: [[f32; 5]; 6] = six_kernel();
    const RESULT: [[f32; 6]; 2] = six_result();
}

pub(super) const fn transpose<const I: usize, const O: usize>(matrix: [[f32; I]; O]) -> [[f32; O]; I] {
    let mut transposed = [[0.0; O]; I];
    let mut o = 0;
    while o < O {
        let mut i = 0;
        while i < I {
            transposed[i][o] = matrix[o][i];
            i += 1;
        }
        o += 1;
    }
    transposed
}

/// `matrix · x · matrixᵀ`
#[inline(always)]
pub(super) fn both_axes<S: Simd, const I: usize, const O: usize>(
    simd: S,
    matrix: &'static [[f32; I]; O],
    x: [[S::f32s; I]; I],
) -> [[S::f32s; O]; O] {
    let zero = simd.splat_f32s(0.0);
    let mut rows = [[zero; O]; I];
    unrolled!(j < I => {
        rows[j] = one_axis(simd, matrix, x[j]);
    });
    let mut result = [[zero; O]; O];
    unrolled!(i < O => {
        let mut column = [zero; I];
        unrolled!(j < I => {
            column[j] = rows[j][i];
        });
        let column = one_axis(simd, matrix, column);
        unrolled!(j < O => {
            result[j][i] = column[j];
        });
    });
    result
}

/// `matrix · x`; the factors are constants, so the compiler leaves out zeros and adds without multiplying for ones.
#[inline(always)]
pub(super) fn one_axis<S: Simd, const I: usize, const O: usize>(
    simd: S,
    matrix: &'static [[f32; I]; O],
    x: [S::f32s; I],
) -> [S::f32s; O] {
    let mut result = [simd.splat_f32s(0.0); O];
    unrolled!(o < O => {
        // A sum that begins with a one takes one instruction less.
        let mut first = I;
        unrolled!(i < I => {
            if matrix[o][i] == 1.0 && first == I {
                first = i;
                result[o] = x[i];
            }
        });
        let mut empty = first == I;
        unrolled!(i < I => {
            let factor = matrix[o][i];
            if factor != 0.0 && i != first {
                let factors = simd.splat_f32s(factor);
                result[o] = if empty {
                    simd.mul_f32s(factors, x[i])
                } else if factor == 1.0 {
                    simd.add_f32s(result[o], x[i])
                } else if factor == -1.0 {
                    simd.sub_f32s(result[o], x[i])
                } else {
                    simd.mul_add_e_f32s(factors, x[i], result[o])
                };
                empty = false;
            }
        });
        let _ = empty;
    });
    result
}
