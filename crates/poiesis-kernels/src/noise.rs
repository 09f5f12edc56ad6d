//! Random tensors whose values depend on a key and their position alone.

use burn::tensor::{Device, Tensor, TensorData};
use burn_backend::DType;

use crate::flex;

/// Values uniform in `[0, 1)`, each a multiple of 2⁻²⁴: value `i` is computed from word `i` of the ChaCha8 stream with
/// this `key` and stream number, for any number of threads. Computed on the CPU and copied to `device`.
///
/// Source: Bernstein 2008 (ChaCha); Salmon et al. 2011 for counter-based random numbers.
pub fn uniform<const D: usize>(shape: [usize; D], key: &[u8; 32], stream: u64, device: &Device) -> Tensor<D> {
    tensor(flex::noise::uniform(shape.iter().product(), key, stream), shape, device)
}

/// Values of the standard normal distribution, from the words of the ChaCha8 stream with this `key` and stream number, the
/// same for any number of threads. Computed on the CPU and copied to `device`.
///
/// In each block of 32 values, values `i` and `16 + i` are computed by Box and Muller's method from the words at the same two
/// positions: radius `√(−2 ln u)` with `u` from the first word, angle from all 32 bits of the second. The error is below
/// 1e-6 of the radius; no value exceeds 6.77 in magnitude, which one in 7e10 would.
///
/// Source: Box & Muller 1958; Bernstein 2008 (ChaCha).
pub fn normal<const D: usize>(shape: [usize; D], key: &[u8; 32], stream: u64, device: &Device) -> Tensor<D> {
    tensor(flex::noise::normal(shape.iter().product(), key, stream), shape, device)
}

fn tensor<const D: usize>(buffer: flex::pool::Buffer, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::from_bytes(buffer.into_bytes(), shape, DType::F32), device)
}
