//! Devices: the one place that turns the text of `--device` into a Burn device, and what is known of this machine.

pub mod machine;
pub mod speed;

use burn::tensor::{Device, DeviceType};
use poiesis_kernels::{SimdLimit, limit_simd};

use crate::error::{Error, Result};

/// The kinds of device in this build: always the CPU, and GPUs with the feature `vulkan`.
const KINDS: &[(&str, DeviceType)] = &[
    ("cpu", DeviceType::Flex),
    #[cfg(feature = "vulkan")]
    ("vulkan", DeviceType::Vulkan),
];

/// The kinds of device in this build, as they are written after `--device`.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(kind, _)| *kind)
}

/// The devices of a kind that this machine has, as they are written after `--device`, such as `vulkan:0`; none for a kind that is not in
/// this build.
pub fn of_kind(kind: &str) -> Vec<String> {
    let found =
        KINDS.iter().find(|(known, _)| *known == kind).map(|(_, which)| Device::enumerate(which.clone()));
    (0..found.map_or(0, |found| found.len())).map(|number| format!("{kind}:{number}")).collect()
}

/// Returns the device called `name`, without autodiff: `cpu`, or a kind of GPU and the number of the one meant, such as
/// `vulkan:1`; the first without a number.
///
/// # Errors
///
/// [`Error::NoDevice`] when this build has no such kind, or the machine has none of that number.
pub fn device(name: &str) -> Result<Device> {
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    let Some((_, which)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        return Err(not_built(name));
    };
    let found = Device::enumerate(which.clone());
    let wanted = number.parse().ok().and_then(|number: usize| found.get(number));
    wanted.cloned().ok_or_else(|| not_found(name, kind, found.len()))
}

/// Whether the device with this name is the CPU.
pub fn is_cpu(name: &str) -> bool {
    name.split(':').next() == Some("cpu")
}

fn not_built(name: &str) -> Error {
    let has_gpu = kinds().any(|kind| kind != "cpu");
    let (reason, remedy) = if has_gpu {
        ("this build computes on the CPU or on a GPU with Vulkan", "write cpu or vulkan")
    } else {
        (
            "this build computes on the CPU only",
            "write cpu; for a GPU, build with `--features vulkan` and write vulkan",
        )
    };
    Error::NoDevice { name: name.into(), reason: reason.into(), remedy: remedy.into() }
}

fn not_found(name: &str, kind: &str, count: usize) -> Error {
    let reason = match count {
        0 => format!("this machine has no {kind} device"),
        1 => format!("this machine has one {kind} device, number 0"),
        _ => format!("this machine has {count} {kind} devices, numbers 0 to {}", count - 1),
    };
    let remedy = match count {
        0 => "check that its driver is installed, or use cpu".into(),
        _ => format!("write {kind}:0"),
    };
    Error::NoDevice { name: name.into(), reason, remedy }
}

/// Limits this process to the vector instructions with that name (see [`poiesis_kernels::instruction_set`]), so that it
/// computes the same numbers as on a processor that has no better ones. Does nothing for an unknown name.
///
/// # Panics
///
/// When something has already been computed with other instructions.
pub fn compute_with(instructions: &str) {
    match instructions {
        "avx2" => limit_simd(SimdLimit::Avx2),
        "portable" => limit_simd(SimdLimit::Portable),
        _ => {}
    }
}

/// The memory in bytes that this process can still take, where the system reports it.
pub(crate) fn free_memory() -> Option<u64> {
    machine::Memory::this().map(|memory| memory.available).filter(|&free| free > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        for name in ["cpu", "cpu:0"] {
            assert!(device(name).is_ok() && is_cpu(name), "{name}");
        }
        assert!(!is_cpu("vulkan"));
        assert_eq!(of_kind("cpu"), ["cpu:0"]);
        assert!(of_kind("abacus").is_empty());
    }

    #[test]
    fn errors_say_what_there_is() {
        let message = |name| {
            let error = device(name).unwrap_err();
            format!("{error}; {}", error.hint().unwrap())
        };
        assert_eq!(
            message("cpu:1"),
            "there is no device `cpu:1`: this machine has one cpu device, number 0; write cpu:0"
        );
        let on_cpu = "this build computes on the CPU only; write cpu; for a GPU, build with `--features vulkan` and write vulkan";
        for name in ["vulkan:1", "cuda", "gpu"] {
            if !cfg!(feature = "vulkan") {
                assert_eq!(message(name), format!("there is no device `{name}`: {on_cpu}"));
            }
        }
        assert!(message("tpu").contains("write cpu"), "{}", message("tpu"));
    }
}
