//! What this machine has for computing: its processor, its memory and the space on its disks.

use std::path::Path;
use std::thread;

use poiesis_kernels::{Precision, instruction_set};
use serde::Serialize;
use sysinfo::{CGroupLimits, CpuRefreshKind, Process, ProcessRefreshKind, ProcessesToUpdate, System};

/// The processor, and how much of it computes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Processor {
    /// Its name; empty where the system does not report it.
    pub name: String,
    /// Cores, where the system reports them.
    pub cores: Option<usize>,
    /// Hardware threads, of which a core may have several; 0 where the system does not report them.
    pub hardware_threads: usize,
    /// Hardware threads that this process may use: fewer than there are where its affinity or a limit of its container says so.
    pub usable_threads: usize,
    /// Threads that compute.
    pub threads: usize,
    /// Vector instructions that the kernels use, see [`poiesis_kernels::instruction_set`].
    pub instructions: &'static str,
    /// Whether matrix products can round to bf16, see [`poiesis_kernels::Precision`].
    pub has_bf16: bool,
}

impl Processor {
    /// The processor of this machine. The number of threads that compute and the instructions are those of this process.
    pub fn this() -> Processor {
        let mut cpus = Vec::new();
        if let Ok(mut system) = System::new() {
            system.refresh_cpu_list(CpuRefreshKind::nothing());
            cpus = system.cpus().iter().map(|cpu| cpu.brand().trim().to_owned()).collect();
        }
        Processor {
            name: cpus.first().cloned().unwrap_or_default(),
            cores: System::physical_core_count().ok().filter(|&cores| cores > 0),
            hardware_threads: cpus.len(),
            usable_threads: thread::available_parallelism().map_or(1, usize::from),
            threads: rayon::current_num_threads(),
            instructions: instruction_set(),
            has_bf16: Precision::Bf16.is_supported(),
        }
    }
}

/// What other processes take of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Load {
    /// The part of all hardware threads that is busy, from 0 to 1.
    pub busy: f64,
    /// The mean number of processes that were running or waiting over the last minute, where the system reports it.
    pub average: Option<f64>,
}

impl Load {
    /// Measures for a fifth of a second, in which this thread sleeps; `None` where the system does not report it.
    pub fn now() -> Option<Load> {
        let mut system = System::new().ok()?;
        system.refresh_cpu_usage();
        thread::sleep(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL);
        system.refresh_cpu_usage();
        let busy = (f64::from(system.global_cpu_usage()) / 100.0).clamp(0.0, 1.0);
        let average = System::load_average().ok().map(|average| average.one);
        (!system.cpus().is_empty()).then_some(Load { busy, average })
    }
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All of the machine.
    pub total: u64,
    /// What can still be taken: what is free and what the system would free, and within the limit.
    pub available: u64,
    /// The limit of the container or the control group that this process is in, where it is less than all.
    pub limit: Option<u64>,
}

impl Memory {
    /// The memory of this machine; `None` where the system does not report it.
    pub fn this() -> Option<Memory> {
        let mut system = System::new().ok()?;
        system.refresh_memory();
        let (total, free) = (system.total_memory(), system.available_memory());
        let limits = limits(&mut system);
        let available = limits.as_ref().map_or(free, |limits| within(free, limits));
        (total > 0).then_some(Memory { total, available, limit: limits.map(|limits| limits.total_memory) })
    }
}

/// What a group can still take of `free` bytes. Its files in memory do not count, as the system gives them up.
fn within(free: u64, limits: &CGroupLimits) -> u64 {
    free.min(limits.total_memory.saturating_sub(limits.rss))
}

/// The limits on memory of the group that this process is in.
fn limits(system: &mut System) -> Option<CGroupLimits> {
    let own = sysinfo::get_current_pid().ok()?;
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), true, ProcessRefreshKind::nothing());
    let of_process = system.process(own).and_then(Process::cgroup_limits);
    of_process.or_else(|| system.cgroup_limits())
}

/// The bytes that this user can still write at `path`, or where that will be made; `None` where the system does not report it.
pub fn free_disk(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let place = path.ancestors().find(|place| place.exists())?;
    free_at(place)
}

#[cfg(unix)]
fn free_at(place: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(place).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
fn free_at(_place: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_computes() {
        let processor = Processor::this();
        assert!(processor.threads >= 1 && processor.usable_threads >= 1);
        assert!(["avx512", "avx2", "neon", "portable"].contains(&processor.instructions));
        assert!(processor.instructions == "avx512" || !processor.has_bf16);
    }

    #[test]
    fn memory_is_within_what_there_is() {
        let Some(memory) = Memory::this() else { return };
        assert!(memory.available <= memory.total && memory.available > 0, "{memory:?}");
        assert!(
            memory.limit.is_none_or(|limit| limit <= memory.total && memory.available <= limit),
            "{memory:?}"
        );
    }

    #[test]
    fn a_limit_counts_without_the_files_in_memory() {
        let limits = CGroupLimits { total_memory: 1000, free_memory: 50, free_swap: 0, rss: 300 };
        assert_eq!([within(2000, &limits), within(600, &limits)], [700, 600]);
        assert_eq!(within(2000, &CGroupLimits { rss: 1200, ..limits }), 0);
    }

    #[test]
    fn the_disk_of_a_folder_that_will_be_made_is_known() {
        let here = tempfile::tempdir().unwrap();
        let [there, later] = [here.path().to_owned(), here.path().join("a/b/c")].map(|path| free_disk(&path));
        assert_eq!(there.is_some(), cfg!(unix));
        assert_eq!(there.is_some(), later.is_some());
    }

    #[test]
    fn the_load_is_a_part() {
        let Some(load) = Load::now() else { return };
        assert!((0.0..=1.0).contains(&load.busy), "{load:?}");
    }
}
