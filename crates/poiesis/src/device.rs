//! Where tensors live: the one place that turns the text of `--device` into a Burn device.

use burn::tensor::Device;

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
