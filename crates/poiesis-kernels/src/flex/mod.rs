//! Hand-written bodies for Burn's Flex backend: plain slices of `f32`, SIMD chosen at run time, rayon.

pub(crate) mod attention;
pub(crate) mod bernoulli;
pub(crate) mod categorical;
pub(crate) mod convolution;
pub(crate) mod convolve;
pub(crate) mod elementwise;
pub(crate) mod function;
pub(crate) mod gemm;
pub(crate) mod group_norm;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod logistic_mixture;
pub(crate) mod norm;
pub(crate) mod operand;
pub(crate) mod optimizer;
pub(crate) mod parallel;
pub(crate) mod pool;
pub(crate) mod sums;
pub(crate) mod winograd;
