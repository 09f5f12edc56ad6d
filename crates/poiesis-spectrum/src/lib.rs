//! Fourier transforms and resampling.
//!
//! The transforms of `rustfft` are generic, so every crate that uses one compiles all of them. This crate compiles them
//! once, so that the crates that use it are quick to rebuild.

use std::sync::Arc;

use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft as Transforms, FixedSync, Resampler};
use rustfft::FftPlanner;

pub use rustfft::Fft;
pub use rustfft::num_complex::Complex;

/// Frames that are resampled at a time.
const CHUNK: usize = 1024;

/// Returns the forward transform of `size` complex numbers, in place and without a factor.
///
/// # Panics
///
/// The transform panics when the length of a buffer is not a multiple of `size`.
pub fn forward(size: usize) -> Arc<dyn Fft<f64>> {
    FftPlanner::new().plan_fft_forward(size)
}

/// Resamples sound from one sample rate, in Hz, to another in the frequency domain, which needs no choice of a filter. Its
/// duration stays the same to within a frame.
///
/// # Shapes
///
/// `samples`: `[time, channels]`, as is the result.
///
/// # Errors
///
/// The reason, when a rate or the number of channels is 0 or the samples do not fill whole frames.
pub fn resample(samples: Vec<f64>, channels: usize, from: u32, to: u32) -> Result<Vec<f64>, String> {
    let frames = samples.len().checked_div(channels).ok_or("it has no channels")?;
    let input = InterleavedOwned::new_from(samples, channels, frames).map_err(|e| e.to_string())?;
    let resampler = Transforms::<f64>::new(from as usize, to as usize, CHUNK, channels, FixedSync::Both);
    let mut resampler = resampler.map_err(|e| e.to_string())?;
    let output = resampler.process_all(&input, frames, None).map_err(|e| e.to_string())?;
    Ok(output.take_data())
}
