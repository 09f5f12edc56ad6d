//! What of a machine makes training slow or impossible, and what to do.

use poiesis::error::in_bytes;

use super::found::{Disk, Found};

/// Bytes of memory and of disk without which nothing can be trained, and with less than which only small things can.
const TOO_LITTLE: u64 = 200_000_000;
const LITTLE: u64 = 2_000_000_000;

/// The part of the processor that others may use without a word.
const BUSY: f64 = 0.25;

/// A core is slow if it multiplies matrices at less than a tenth of the speed of one of the two cores of reference.
const SLOW: f64 = 0.1 / 2.0;

/// Something that is wrong.
pub(super) struct Finding {
    pub(super) prevents_training: bool,
    pub(super) what: String,
    pub(super) remedy: String,
}

fn problem(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { prevents_training: true, what: what.into(), remedy: remedy.into() }
}

fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { prevents_training: false, what: what.into(), remedy: remedy.into() }
}

/// All that is wrong: first what prevents training.
pub(super) fn findings(found: &Found) -> Vec<Finding> {
    let mut all = Vec::new();
    all.extend(memory(found));
    all.extend(found.disks.iter().filter_map(disk));
    all.extend(threads(found));
    let slow = slow_build(found).or_else(|| busy(found)).or_else(|| slow(found));
    all.extend(slow);
    all.extend(others(found));
    all.sort_by_key(|finding| !finding.prevents_training);
    all
}

fn memory(found: &Found) -> Option<Finding> {
    let available = found.memory?.available;
    let only = format!("only {} of memory is available", in_bytes(available));
    let close = "close other programs, or raise the limit of the container";
    match available {
        0..TOO_LITTLE => Some(problem(only, close)),
        TOO_LITTLE..LITTLE => Some(warning(
            only,
            format!(
                "{close}; --size and --batch-size lower what training needs, and --dry-run says whether it fits"
            ),
        )),
        _ => None,
    }
}

fn disk(disk: &Disk) -> Option<Finding> {
    let is_cache = disk.what.contains("cache");
    let elsewhere = match is_cache {
        true => "set POIESIS_CACHE to a folder elsewhere",
        false => "go to another folder, or give --out",
    };
    if let Some(fault) = &disk.fault {
        return Some(problem(format!("{} cannot be written: {fault}", disk.what), elsewhere));
    }
    let free = disk.free.filter(|&free| free < LITTLE)?;
    let what = format!("only {} of disk space is left for {}", in_bytes(free), disk.what);
    let remedy =
        format!("`poiesis cache --clear` removes packed data, `poiesis runs` lists runs; or {elsewhere}");
    Some(if free < TOO_LITTLE { problem(what, remedy) } else { warning(what, remedy) })
}

fn threads(found: &Found) -> Option<Finding> {
    let processor = &found.processor;
    let (threads, usable, there) = (processor.threads, processor.usable_threads, processor.hardware_threads);
    let named = "leave out --threads, POIESIS_THREADS and RAYON_NUM_THREADS";
    match threads {
        _ if threads > usable => Some(warning(
            format!("{threads} threads share {usable} hardware threads, which is slower"),
            named,
        )),
        _ if threads < usable => {
            Some(warning(format!("{threads} of {usable} threads that could compute are in use"), named))
        }
        _ if usable < there => Some(warning(
            format!("this process may use only {usable} of {there} hardware threads"),
            "raise the limit of the container (docker run --cpus), of the batch system, or the affinity (taskset)",
        )),
        1 => Some(warning(
            "there is one hardware thread",
            "the recipes say what they take on one or two cores: begin with one that takes minutes",
        )),
        _ => None,
    }
}

/// What of the program or the processor makes it slow.
fn slow_build(found: &Found) -> Option<Finding> {
    if found.is_debug {
        return Some(warning("this is a debug build, which is slower", "build with `cargo build --release`"));
    }
    (found.processor.instructions == "portable").then(|| {
        warning(
            "without vector instructions training is several times as slow",
            "use a processor with AVX2 and FMA or with NEON; a virtual machine must pass them on (such as -cpu host)",
        )
    })
}

fn busy(found: &Found) -> Option<Finding> {
    let load = found.load.filter(|load| load.busy > BUSY)?;
    Some(warning(
        format!("other processes use {:.0} % of the processor", 100.0 * load.busy),
        "training beside them takes longer than said, and speeds that are measured now are too low",
    ))
}

fn slow(found: &Found) -> Option<Finding> {
    let (speed, processor) = (found.speed?, &found.processor);
    let cores = processor.threads.min(processor.cores.unwrap_or(processor.threads)).max(1);
    (speed.product.relative < SLOW * cores as f64).then(|| {
        warning(
            "the processor is slower than its instructions let expect",
            "look for other virtual machines on the host, for power saving and for heat; then report it with this output",
        )
    })
}

fn others(found: &Found) -> Vec<Finding> {
    let mut all = Vec::new();
    if found.gpus.as_ref().is_some_and(Vec::is_empty) {
        all.push(warning(
            "this build can use a GPU with Vulkan, and none was found",
            "install the driver of the card with Vulkan (`vulkaninfo` lists what there is), or use --device cpu",
        ));
    }
    if found.terminal.size.is_some() && !found.terminal.is_utf8 {
        all.push(warning(
            "the locale of this terminal is not UTF-8: signs such as × are shown wrongly",
            "set LANG to one such as C.UTF-8",
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::found::example;
    use super::*;

    /// What is found after a change to a machine without faults: whether it prevents training, and a part of what is said.
    #[track_caller]
    fn expect(change: impl FnOnce(&mut Found), prevents: bool, says: &str) {
        let mut found = example();
        change(&mut found);
        let all = findings(&found);
        assert_eq!(all.len(), 1, "{:?}", all.iter().map(|finding| &finding.what).collect::<Vec<_>>());
        assert_eq!(all[0].prevents_training, prevents);
        assert!(all[0].what.contains(says) && !all[0].remedy.is_empty(), "{}", all[0].what);
    }

    #[test]
    fn a_machine_without_faults_has_none() {
        assert!(findings(&example()).is_empty());
    }

    #[test]
    fn each_fault_is_found() {
        let memory = |bytes| move |found: &mut Found| found.memory.as_mut().unwrap().available = bytes;
        expect(memory(100_000_000), true, "only 100.0 MB of memory");
        expect(memory(1_500_000_000), false, "only 1.5 GB of memory");
        expect(|found| found.disks[0].free = Some(1000), true, "1.0 kB of disk space is left for runs/");
        expect(|found| found.disks[1].free = Some(1_000_000_000), false, "left for the cache");
        expect(
            |found| found.disks[0].fault = Some("read-only".into()),
            true,
            "runs/ cannot be written: read-only",
        );
        expect(|found| found.processor.usable_threads = 2, false, "8 threads share 2 hardware threads");
        expect(|found| found.processor.threads = 2, false, "2 of 8 threads that could compute");
        expect(|found| found.is_debug = true, false, "debug build");
        expect(|found| found.processor.instructions = "portable", false, "without vector instructions");
        expect(|found| found.load.as_mut().unwrap().busy = 0.6, false, "use 60 % of the processor");
        expect(|found| found.speed.as_mut().unwrap().product.relative = 0.1, false, "slower than");
        expect(|found| found.gpus = Some(Vec::new()), false, "GPU with Vulkan");
        expect(|found| found.terminal.is_utf8 = false, false, "not UTF-8");
        let limited = |found: &mut Found| (found.processor.threads, found.processor.usable_threads) = (2, 2);
        expect(limited, false, "only 2 of 8 hardware threads");
    }

    #[test]
    fn what_prevents_training_comes_first_and_slowness_has_one_reason() {
        let mut found = example();
        found.is_debug = true;
        found.load.as_mut().unwrap().busy = 0.9;
        found.speed.as_mut().unwrap().product.relative = 0.01;
        found.disks[1].fault = Some("read-only".into());
        let prevents: Vec<bool> = findings(&found).iter().map(|finding| finding.prevents_training).collect();
        assert_eq!(prevents, [true, false]);
    }
}
