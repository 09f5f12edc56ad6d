//! Exponential, logarithm and related functions without branches.

/// `1 / (1 + exp(−x))`
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let top = if x >= 0.0 { 1.0 } else { e };
    top / (1.0 + e)
}

/// `log(1 + exp(x))`
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    let high = if x < 0.0 { 0.0 } else { x };
    high + log_one_plus(exp(-x.abs()))
}

#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let t = exp_minus_one(-2.0 * x.abs());
    (-t / (2.0 + t)).copysign(x)
}

/// `x` above 0, `exp(x) − 1` below.
#[inline(always)]
pub(super) fn elu(x: f32) -> f32 {
    let low = exp_minus_one(if x > 0.0 { 0.0 } else { x });
    if x > 0.0 { x } else { low }
}

/// `x · sigmoid(x)`
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    // −∞ times 0 would be NaN; the limit is 0.
    let y = x * sigmoid(x);
    if x < -200.0 { -0.0 } else { y }
}

#[inline(always)]
pub(super) fn silu_derivative(x: f32) -> f32 {
    let s = sigmoid(x);
    let x = if x < -200.0 { -200.0 } else { x };
    s * (1.0 + x * (1.0 - s))
}

/// Adding this rounds to an integer, in the low bits of the sum: 1.5 · 2²³.
const ROUND: f32 = 12_582_912.0;

const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// The natural logarithm of 2 in two parts; multiples of the first up to ±2⁸ are exact.
const LN_2_HIGH: f32 = 0.693_359_4;

const LN_2_LOW: f32 = -2.121_944_4e-4;

/// The nearest integer to `x / ln 2`, and `exp(rest) − 1` of the rest, by the Taylor series: `|rest| ≤ 0.3466`, so
/// the first omitted term, of degree 8, is below 6e-9.
#[inline(always)]
fn exp_parts(x: f32) -> (i32, f32) {
    let rounded = x * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let power = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    (power, r + r * r * p)
}

/// `2ⁿ` for `−126 ≤ n ≤ 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `exp(x)`, subnormal results and overflow to infinity included.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let low = if x < -105.0 { -105.0 } else { x };
    let inside = if low > 90.0 { 90.0 } else { low };
    let (n, rest) = exp_parts(inside);
    // Two factors, because 2ⁿ itself may be outside the range of normal numbers.
    let half = n >> 1;
    (1.0 + rest) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `exp(x) − 1` for `x ≤ 0`.
#[inline(always)]
pub(crate) fn exp_minus_one(x: f32) -> f32 {
    let inside = if x < -30.0 { -30.0 } else { x };
    let (n, rest) = exp_parts(inside);
    let power = power_of_two(n);
    power * rest + (power - 1.0)
}

/// The natural logarithm: `n ln 2 + 2 artanh z` with `x = 2ⁿ m`, `√½ ≤ m < √2` and `z = (m − 1) / (m + 1)` by its
/// series, whose first omitted term is below 3e-9 of the sum.
#[inline(always)]
pub fn log(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let bits = if subnormal { x * 8_388_608.0 } else { x }.to_bits() as i32;
    let n = bits.wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(n << 23) as u32);
    let z = (m - 1.0) / (m + 1.0);
    let q = z * z;
    let p = 1.0 / 9.0;
    let p = p * q + 1.0 / 7.0;
    let p = p * q + 1.0 / 5.0;
    let p = p * q + 1.0 / 3.0;
    let n = n as f32 - if subnormal { 23.0 } else { 0.0 };
    let value = n * LN_2_HIGH + (2.0 * z + (2.0 * z * q * p + n * LN_2_LOW));
    let value = if x < f32::INFINITY { value } else { x };
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    if x < 0.0 { f32::NAN } else { value }
}

/// Sine and cosine of `turns · 2π / 2³²`, absolute error 2e-7, by the series around the nearest quarter turn.
#[inline(always)]
pub fn sin_cos(turns: u32) -> (f32, f32) {
    const UNIT: f32 = std::f32::consts::FRAC_PI_2 / 1_073_741_824.0;
    let quarter = turns.wrapping_add(1 << 29) >> 30;
    let x = turns.wrapping_sub(quarter << 30) as i32 as f32 * UNIT;
    let q = x * x;
    let p = 1.0 / 362_880.0;
    let p = p * q - 1.0 / 5040.0;
    let p = p * q + 1.0 / 120.0;
    let p = p * q - 1.0 / 6.0;
    let near = x + x * q * p;
    let p = 1.0 / 40_320.0;
    let p = p * q - 1.0 / 720.0;
    let p = p * q + 1.0 / 24.0;
    let p = p * q - 0.5;
    let far = 1.0 + q * p;
    let (sin, cos) = if quarter & 1 == 1 { (far, near) } else { (near, far) };
    let sin = if quarter & 2 == 2 { -sin } else { sin };
    let cos = if quarter.wrapping_add(1) & 2 == 2 { -cos } else { cos };
    (sin, cos)
}

/// `log(1 + t)` for `0 ≤ t ≤ 1`: `2 artanh z` with `z = t / (2 + t) ≤ 1/3` by its series.
#[inline(always)]
fn log_one_plus(t: f32) -> f32 {
    let z = t / (2.0 + t);
    let q = z * z;
    let p = 1.0 / 17.0;
    let p = p * q + 1.0 / 15.0;
    let p = p * q + 1.0 / 13.0;
    let p = p * q + 1.0 / 11.0;
    let p = p * q + 1.0 / 9.0;
    let p = p * q + 1.0 / 7.0;
    let p = p * q + 1.0 / 5.0;
    let p = p * q + 1.0 / 3.0;
    2.0 * z + 2.0 * z * q * p
}

/// The normal distribution function Φ, by `Φ(−|x|) = exp(−x²/2) · w(|x|)` with a polynomial for `w` in
/// `1 / (1 + 0.3 |x|)`.
#[inline(always)]
fn normal_distribution(x: f32) -> f32 {
    let size = x.abs();
    let near = if size > 20.0 { 20.0 } else { size };
    let u = 1.0 / (1.0 + 0.3 * near);
    let mut w = NORMAL_TAIL[NORMAL_TAIL.len() - 1];
    let mut i = NORMAL_TAIL.len() - 1;
    while i > 0 {
        i -= 1;
        w = w * u + NORMAL_TAIL[i];
    }
    let tail = exp(-0.5 * near * near) * w;
    let value = if x > 0.0 { 1.0 - tail } else { tail };
    if x.is_nan() { x } else { value }
}

#[inline(always)]
pub(super) fn gelu_derivative(x: f32) -> f32 {
    const ROOT: f32 = 0.398_942_3;
    let near = if x < -20.0 { -20.0 } else { x };
    let near = if near > 20.0 { 20.0 } else { near };
    normal_distribution(x) + near * ROOT * exp(-0.5 * near * near)
}

/// `x · Φ(x)`
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    let y = x * normal_distribution(x);
    if x < -20.0 { -0.0 } else { y }
}

/// Coefficients of `w(u)` in ascending powers, fitted at Chebyshev nodes over `0 ≤ |x| ≤ 20`; absolute error 1e-7.
const NORMAL_TAIL: [f32; 9] = [
    5.341_299e-6,
    0.119_527_65,
    0.121_567_63,
    0.096_334_4,
    0.138_022_42,
    -0.069_075_1,
    0.221_413_66,
    -0.165_316_76,
    0.037_520_77,
];
