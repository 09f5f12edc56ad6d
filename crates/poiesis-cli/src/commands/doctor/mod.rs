//! `poiesis doctor`: what this machine has for training, how fast it is, and what to improve.

mod findings;
mod found;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use poiesis::device::machine::{Load, Memory, Processor};
use poiesis::device::speed::{Rate, SIDE, Speed};
use poiesis::error::in_bytes;
use poiesis_envs::mujoco;
use serde_json::{Value, json};

use crate::args::DataDir;
use crate::render::{count, facts, json, number, result};
use findings::{Finding, findings};
use found::{Disk, Found, Mujoco, Terminal};

/// Show what this machine has for training, how fast it is, and what is wrong
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis doctor
  poiesis doctor --quick          without the measurement of speed
  poiesis doctor --json
  poiesis doctor --threads 1      what one thread does

Vectors are the instructions that the kernels use; bf16 is what `--set precision=bf16` needs. Available memory is what training can \
take: what is free, what the system would free, and within the limit of a container. The load is what other processes use at this \
moment. The speed is measured for a second and a half, with all threads: a product of two matrices, and training steps of a convolution of DCGAN, \
beside the two cores that docs/performance.md names. It counts the operations of a direct convolution, of which the kernels \
need fewer, and is lower while other processes compute.

The output can be pasted into a bug report: of paths below your home folder it shows ~ instead of that folder, and it \
names no files of yours.

The exit status is 0 when nothing prevents training, even if there are warnings, and 1 when something does: hardly any memory, \
no space on the disk, or folders that cannot be written.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    data_dir: DataDir,
    /// Do not measure the speed.
    #[arg(long)]
    quick: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let found = Found::here(&self.data_dir, self.quick, self.json)?;
        let findings = findings(&found);
        if self.json {
            json(&to_json(&found, &findings))?;
        } else {
            result(&to_text(&found, &findings))?;
        }
        let is_prevented = findings.iter().any(|finding| finding.prevents_training);
        Ok(if is_prevented { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn to_text(found: &Found, findings: &[Finding]) -> String {
    let build = if found.is_debug { "debug build" } else { "release build" };
    let mut all = vec![
        ("poiesis", format!("{}, {build}", found.version)),
        ("system", found.system.clone()),
        ("processor", processor(&found.processor)),
        ("vectors", vectors(&found.processor)),
    ];
    all.extend(found.load.as_ref().map(|load| ("load", load_line(load))));
    all.extend(found.memory.as_ref().map(|memory| ("memory", memory_line(memory))));
    all.push(("disk", found.disks.iter().map(disk_line).collect::<Vec<_>>().join("\n")));
    all.push(("cache", cache_line(found)));
    all.push(("GPU", gpu(found)));
    all.push(("MuJoCo", mujoco_line(&found.mujoco)));
    all.push(("data", data(found)));
    all.push(("terminal", terminal(&found.terminal)));
    all.push(("Python", "not needed, and neither are OpenSSL and CUDA".into()));
    all.extend(found.speed.as_ref().map(|speed| ("speed", speed_lines(speed))));
    let mut text = facts(&all);
    text.push('\n');
    for finding in findings {
        let kind = if finding.prevents_training { "problem" } else { "warning" };
        text.push_str(&format!("{kind}: {}\n  {}\n", finding.what, finding.remedy));
    }
    let problems = findings.iter().filter(|finding| finding.prevents_training).count();
    text.push_str(&match (problems, findings.len()) {
        (0, 0) => "no problem was found\n".to_owned(),
        (0, _) => "nothing here prevents training\n".to_owned(),
        (1, _) => "one problem prevents training\n".to_owned(),
        (problems, _) => format!("{problems} problems prevent training\n"),
    });
    text
}

fn several(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{} {what}s", count(number as u64)) }
}

fn processor(processor: &Processor) -> String {
    let Processor { name, cores, hardware_threads, usable_threads, threads, .. } = processor;
    let mut parts: Vec<String> = Vec::new();
    parts.extend((!name.is_empty()).then(|| name.clone()));
    parts.extend(cores.map(|cores| several(cores, "core")));
    parts.extend((*hardware_threads > 0).then(|| several(*hardware_threads, "hardware thread")));
    if usable_threads < hardware_threads {
        parts.push(format!("of which this process may use {}", count(*usable_threads as u64)));
    }
    parts.push(format!("{} in use", several(*threads, "thread")));
    parts.join(", ")
}

fn vectors(processor: &Processor) -> String {
    let instructions = match processor.instructions {
        "avx512" => "AVX-512",
        "avx2" => "AVX2 with FMA",
        "neon" => "NEON",
        _ => "none",
    };
    format!("{instructions}, {}", if processor.has_bf16 { "bf16" } else { "no bf16" })
}

fn load_line(load: &Load) -> String {
    let average = load.average.map(|average| format!(", {average:.1} processes on average over a minute"));
    format!("{:.0} % of the processor in use{}", 100.0 * load.busy, average.unwrap_or_default())
}

fn memory_line(memory: &Memory) -> String {
    let limit =
        memory.limit.map(|limit| format!(", limited to {} by a container or control group", in_bytes(limit)));
    format!(
        "{}, {} available{}",
        in_bytes(memory.total),
        in_bytes(memory.available),
        limit.unwrap_or_default()
    )
}

fn disk_line(disk: &Disk) -> String {
    let free = disk.free.map_or_else(|| "unknown".to_owned(), in_bytes);
    let fault = disk.fault.as_ref().map(|_| ", which cannot be written");
    format!("{free} free for {}{}", disk.what, fault.unwrap_or_default())
}

fn cache_line(found: &Found) -> String {
    let (folder, content) = &found.cache;
    match content {
        Some((sets, bytes)) => format!("{folder}: {}, {}", several(*sets, "data set"), in_bytes(*bytes)),
        None => format!("{folder}, which cannot be read"),
    }
}

fn gpu(found: &Found) -> String {
    match &found.gpus {
        None => "not in this build; with `cargo install --path crates/poiesis-cli --features vulkan` for one with Vulkan".into(),
        Some(devices) if devices.is_empty() => "none was found; this build can use one with Vulkan".into(),
        Some(devices) => format!("{}; --device {} trains on it", devices.join(", "), devices[0]),
    }
}

fn mujoco_line(mujoco: &Mujoco) -> String {
    match mujoco {
        Ok(library) => format!("{}, {library}", mujoco::VERSION),
        Err((problem, remedy)) => {
            let remedy = remedy.as_ref().map(|remedy| format!("\n{remedy}")).unwrap_or_default();
            format!("{problem}; only some environments need it (see `poiesis envs`){remedy}")
        }
    }
}

fn data(found: &Found) -> String {
    let (folder, sets) = &found.data;
    let list = |present: bool| {
        let names: Vec<&str> =
            sets.iter().filter(|(_, there)| *there == present).map(|(name, _)| *name).collect();
        names.join(", ")
    };
    let lines = [("in", list(true)), ("not in", list(false))];
    let lines = lines.iter().filter(|(_, names)| !names.is_empty());
    lines.map(|(where_, names)| format!("{where_} {folder}: {names}")).collect::<Vec<_>>().join("\n")
}

fn terminal(terminal: &Terminal) -> String {
    let Terminal { size, has_colors, is_utf8, can_draw } = terminal;
    let yes = |has: bool, what: &str| if has { what.to_owned() } else { format!("no {what}") };
    let size = size.map_or_else(|| "none".to_owned(), |(rows, columns)| format!("{columns}×{rows}"));
    let progress = if *can_draw { "progress as bars" } else { "progress as lines" };
    format!("{size}, {}, {}, {progress}", yes(*has_colors, "colours"), yes(*is_utf8, "UTF-8"))
}

fn speed_lines(speed: &Speed) -> String {
    let line = |what: String, Rate { gflops, relative }: Rate| {
        format!(
            "{what}: {} GFLOP/s, {relative:.2} times the two cores of docs/performance.md",
            number(gflops)
        )
    };
    let product = line(format!("product of {SIDE}×{SIDE} matrices"), speed.product);
    format!("{product}\n{}", line("training step of a convolution".into(), speed.convolution))
}

fn to_json(found: &Found, findings: &[Finding]) -> Value {
    let (cache, content) = &found.cache;
    let (data_dir, sets) = &found.data;
    let disk = |disk: &Disk| json!({ "for": disk.what, "free": disk.free, "fault": disk.fault });
    let finding = |finding: &Finding| {
        json!({
            "prevents_training": finding.prevents_training, "what": finding.what, "remedy": finding.remedy,
        })
    };
    let Terminal { size, has_colors, is_utf8, can_draw } = found.terminal;
    json!({
        "version": found.version,
        "debug_build": found.is_debug,
        "system": found.system,
        "processor": found.processor,
        "load": found.load,
        "memory": found.memory,
        "disks": found.disks.iter().map(disk).collect::<Vec<_>>(),
        "cache": {
            "folder": cache,
            "data_sets": content.map(|(sets, _)| sets), "bytes": content.map(|(_, bytes)| bytes),
        },
        "gpu": { "in_this_build": found.gpus.is_some(), "devices": found.gpus },
        "mujoco": {
            "version": mujoco::VERSION, "library": found.mujoco.as_ref().ok(),
            "problem": found.mujoco.as_ref().err().map(|(problem, _)| problem),
            "remedy": found.mujoco.as_ref().err().and_then(|(_, remedy)| remedy.as_ref()),
        },
        "data": {
            "folder": data_dir,
            "sets": sets.iter().map(|(name, there)| ((*name).to_owned(), json!(there))).collect::<Value>(),
        },
        "terminal": {
            "rows": size.map(|(rows, _)| rows), "columns": size.map(|(_, columns)| columns),
            "colours": has_colors, "utf8": is_utf8, "draws_progress": can_draw,
        },
        "speed": found.speed,
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_in_plain_words() {
        let text = to_text(&found::example(), &[]);
        for line in [
            "processor  Some processor, 4 cores, 8 hardware threads, 8 threads in use\n",
            "vectors    AVX2 with FMA, no bf16\n",
            "load       5 % of the processor in use, 0.3 processes on average over a minute\n",
            "memory     16.0 GB, 8.0 GB available\n",
            "disk       50.0 GB free for runs/\n",
            "cache      ~/.cache/poiesis/data: 1 data set, 2.0 MB\n",
            "data       in data: mnist\n           not in data: cifar10\n",
            "Python     not needed",
            "speed      product of 512×512 matrices: 200.0 GFLOP/s, 0.53 times",
            "\nno problem was found\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_is_wrong_stands_below() {
        let finding = |prevents_training, what: &str| Finding {
            prevents_training,
            what: what.into(),
            remedy: "do something".into(),
        };
        let text = to_text(&found::example(), &[finding(false, "a"), finding(true, "b")]);
        assert!(
            text.ends_with(
                "\nwarning: a\n  do something\nproblem: b\n  do something\none problem prevents training\n"
            ),
            "{text}"
        );
        assert!(
            to_text(&found::example(), &[finding(false, "a")]).ends_with("nothing here prevents training\n")
        );
    }
}
