//! The memory that training needs.

use crate::config::TrainConfig;
use crate::data::{Content, DataSpec};
use crate::error::{Error, Result};

/// Returns an error when the weights, with what is kept for each, and one batch of images alone need more memory than is
/// free. Activations are not known before the first step.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub(super) fn expect_room_for(parameters: usize, config: &TrainConfig, spec: &DataSpec) -> Result<()> {
    // A weight, its gradient, two moments and an average.
    let of_weights = (parameters as u64).saturating_mul(if config.ema_decay > 0.0 { 5 } else { 4 });
    let of_example = match &spec.content {
        Content::Images(shape) => shape.dims(),
        Content::Text(_) | Content::Sound(_) | Content::Points(_) => 1,
    };
    let of_batch = (config.batch_size as u64).saturating_mul(of_example as u64);
    let needed = of_weights.saturating_add(of_batch).saturating_mul(4);
    // Where the system does not report free memory, there is no error.
    let Ok(mut system) = sysinfo::System::new() else { return Ok(()) };
    system.refresh_memory();
    let available = system.available_memory();
    if available == 0 || needed <= available {
        return Ok(());
    }
    let remedy = "lower train.batch_size, or choose a smaller model or smaller images".to_owned();
    Err(Error::OutOfMemory { needed, available, remedy })
}

/// The peak memory of this process in bytes, where the system reports it.
pub(super) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_into_no_machine_is_refused() {
        let spec = crate::testing::image_spec([16, 16, 3], 0);
        let config = |batch_size| TrainConfig { batch_size, ..TrainConfig::default() };
        assert!(expect_room_for(1000, &config(8), &spec).is_ok());
        for (parameters, batch_size) in [(1 << 50, 8), (1000, 1 << 50)] {
            let error = expect_room_for(parameters, &config(batch_size), &spec).unwrap_err();
            assert!(error.to_string().contains("memory"), "{error}");
            assert!(error.hint().unwrap().contains("train.batch_size"), "{error}");
        }
    }

    #[test]
    fn this_process_holds_memory() {
        if cfg!(target_os = "linux") {
            assert!(peak().unwrap() > 1 << 20);
        }
    }
}
