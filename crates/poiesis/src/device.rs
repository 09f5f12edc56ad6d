//! Where tensors live: the one place that turns the text of `--device` into a Burn device.

use burn::tensor::Device;
use poiesis_kernels::{SimdLimit, limit_simd};

use crate::error::{Error, Result};

/// The devices this build knows, as they are written after `--device`.
pub const DEVICES: &[&str] = &["cpu"];

/// Returns the device called `name`, without autodiff.
///
/// # Errors
///
/// [`Error::UnknownName`] when this build has no device of that name.
pub fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::flex()),
        _ => Err(Error::unknown("device", name, DEVICES.iter().copied())),
    }
}

/// Keeps the processor to the vector instructions of that name (see [`poiesis_kernels::instruction_set`]), where it would
/// otherwise use better ones, so that it computes the same numbers as one that has no better. Does nothing for a name it
/// does not know.
///
/// # Panics
///
/// When something was computed already with other instructions.
pub fn compute_with(instructions: &str) {
    match instructions {
        "avx2" => limit_simd(SimdLimit::Avx2),
        "portable" => limit_simd(SimdLimit::Portable),
        _ => {}
    }
}
