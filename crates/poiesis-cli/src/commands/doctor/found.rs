//! What is found on this machine.

use std::env;
use std::path::Path;

use anyhow::Result;
use poiesis::atomic;
use poiesis::data::known::KNOWN;
use poiesis::data::open::locate;
use poiesis::device;
use poiesis::device::machine::{Load, Memory, Processor, free_disk};
use poiesis::device::speed::{self, Speed};
use poiesis_collect::Cache;
use poiesis_envs::mujoco;
use poiesis_envs::mujoco::MujocoError;

use crate::args::DataDir;
use crate::data::cache;
use crate::render::{Meter, can_draw};

/// The library of MuJoCo, or what is wrong and what to do.
pub(super) type Mujoco = Result<String, (String, Option<String>)>;

/// What is found on this machine. Paths are as they are shown, see [`shown`].
pub(super) struct Found {
    pub(super) version: &'static str,
    pub(super) is_debug: bool,
    pub(super) system: String,
    pub(super) processor: Processor,
    pub(super) load: Option<Load>,
    pub(super) memory: Option<Memory>,
    pub(super) disks: Vec<Disk>,
    /// The folder of packed data, with how many there are and their bytes where it can be read.
    pub(super) cache: (String, Option<(usize, u64)>),
    /// The GPUs; none where this build can use none.
    pub(super) gpus: Option<Vec<String>>,
    pub(super) mujoco: Mujoco,
    /// The folder of data sets, and which of the published ones are there.
    pub(super) data: (String, Vec<(&'static str, bool)>),
    pub(super) terminal: Terminal,
    pub(super) speed: Option<Speed>,
}

/// A place that is written.
pub(super) struct Disk {
    /// What is written there.
    pub(super) what: String,
    /// Free bytes, where the system reports them.
    pub(super) free: Option<u64>,
    /// Why it cannot be written.
    pub(super) fault: Option<String>,
}

/// What the terminal can show.
#[derive(Clone, Copy)]
pub(super) struct Terminal {
    /// Rows and columns; none where there is no terminal.
    pub(super) size: Option<(u16, u16)>,
    pub(super) has_colors: bool,
    pub(super) is_utf8: bool,
    pub(super) can_draw: bool,
}

impl Found {
    pub(super) fn here(data_dir: &DataDir, is_quick: bool, quiet: bool) -> Result<Found> {
        // First of all: later this process computes itself.
        let load = Load::now();
        let cache = cache()?;
        let folder = &data_dir.data_dir;
        let sets = KNOWN.iter().map(|known| (known.name, locate(known.name, folder).is_ok())).collect();
        let content = Cache::open(&cache).ok().map(|content| (content.entries.len(), content.bytes()));
        Ok(Found {
            version: env!("CARGO_PKG_VERSION"),
            is_debug: cfg!(debug_assertions),
            system: system(),
            processor: Processor::this(),
            load,
            memory: Memory::this(),
            disks: vec![Disk::at("runs/", Path::new("runs")), Disk::at("the cache", &cache)],
            cache: (shown(&cache.to_string_lossy()), content),
            gpus: gpus(),
            mujoco: mujoco::library()
                .map(|library| shown(&library.path().to_string_lossy()))
                .map_err(|problem| (said(&problem), problem.hint())),
            data: (shown(&folder.to_string_lossy()), sets),
            terminal: Terminal::this(),
            speed: (!is_quick).then(|| measure(quiet)),
        })
    }
}

impl Disk {
    fn at(what: &str, folder: &Path) -> Disk {
        let fault = atomic::expect_writable(&folder.join(".writable")).err();
        let fault = fault.map(|fault| shown(&fault.to_string()));
        Disk { what: what.to_owned(), free: free_disk(folder), fault }
    }
}

impl Terminal {
    fn this() -> Terminal {
        Terminal {
            size: console::Term::stderr().size_checked(),
            has_colors: console::colors_enabled_stderr(),
            is_utf8: cfg!(windows) || is_utf8(&["LC_ALL", "LC_CTYPE", "LANG"].map(env::var_os)),
            can_draw: can_draw(),
        }
    }
}

/// Whether a locale is UTF-8; of its variables, the first that is set and not empty counts.
fn is_utf8(variables: &[Option<std::ffi::OsString>]) -> bool {
    let set = variables.iter().flatten().find(|value| !value.is_empty());
    let name = set.map(|value| value.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.contains("utf-8") || name.contains("utf8")
}

/// The operating system, its version and the kind of processor.
fn system() -> String {
    let kind = format!("{} {}", env::consts::OS, env::consts::ARCH);
    let version = sysinfo::System::long_os_version().ok().filter(|version| !version.is_empty());
    version.map_or(kind.clone(), |version| format!("{kind}, {version}"))
}

fn gpus() -> Option<Vec<String>> {
    device::kinds().any(|kind| kind == "vulkan").then(|| device::of_kind("vulkan"))
}

fn measure(quiet: bool) -> Speed {
    let meter = Meter::working("measuring the speed", quiet);
    let speed = speed::measure();
    meter.end();
    speed
}

/// What is wrong with MuJoCo, without the list of places in which it was looked for.
fn said(problem: &MujocoError) -> String {
    match problem {
        MujocoError::NotFound { .. } => format!("version {} was not found", mujoco::VERSION),
        problem => shown(&problem.to_string()),
    }
}

/// A text with `~` in place of the home folder, whose name is nobody's business.
pub(super) fn shown(text: &str) -> String {
    let home = directories::BaseDirs::new().map(|folders| folders.home_dir().to_owned());
    without_home(text, home.as_deref())
}

fn without_home(text: &str, home: Option<&Path>) -> String {
    match home.and_then(Path::to_str).map(|home| home.trim_end_matches(['/', '\\'])) {
        Some(home) if !home.is_empty() => text.replace(home, "~"),
        _ => text.to_owned(),
    }
}

/// A machine without faults, for tests.
#[cfg(test)]
pub(super) fn example() -> Found {
    use poiesis::device::speed::Rate;
    let disk = |what: &str| Disk { what: what.into(), free: Some(50_000_000_000), fault: None };
    Found {
        version: "1.2.3",
        is_debug: false,
        system: "linux x86_64".into(),
        processor: Processor {
            name: "Some processor".into(),
            cores: Some(4),
            hardware_threads: 8,
            usable_threads: 8,
            threads: 8,
            instructions: "avx2",
            has_bf16: false,
        },
        load: Some(Load { busy: 0.05, average: Some(0.3) }),
        memory: Some(Memory { total: 16_000_000_000, available: 8_000_000_000, limit: None }),
        disks: vec![disk("runs/"), disk("the cache")],
        cache: ("~/.cache/poiesis/data".into(), Some((1, 2_000_000))),
        gpus: None,
        mujoco: Ok("~/.local/lib/mujoco/libmujoco.so.3.17.0".into()),
        data: ("data".into(), vec![("mnist", true), ("cifar10", false)]),
        terminal: Terminal { size: Some((40, 120)), has_colors: true, is_utf8: true, can_draw: true },
        speed: Some(Speed {
            product: Rate { gflops: 200.0, relative: 0.53 },
            convolution: Rate { gflops: 500.0, relative: 0.58 },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder_is_not_shown() {
        let home = Some(Path::new("/home/ada"));
        assert_eq!(without_home("cannot write /home/ada/runs", home), "cannot write ~/runs");
        assert_eq!(without_home("/srv/data", home), "/srv/data");
        // That would take each slash for it.
        assert_eq!(without_home("/srv/data", Some(Path::new("/"))), "/srv/data");
        assert_eq!(without_home("/srv/data", None), "/srv/data");
    }

    #[test]
    fn the_first_variable_of_the_locale_counts() {
        let of =
            |values: &[&str]| is_utf8(&values.iter().map(|value| Some((*value).into())).collect::<Vec<_>>());
        assert!(of(&["", "en_GB.UTF-8"]) && of(&["C.utf8", "C"]));
        assert!(!of(&["C", "en_GB.UTF-8"]) && !of(&[]));
    }
}
