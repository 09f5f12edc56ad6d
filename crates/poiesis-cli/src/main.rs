//! The binary `poiesis`: parses the command line, calls the library, shows the results.
//!
//! It exits with 0 when the work is done (or stopped on request and saved), 1 when it failed, 2 when the command line was
//! wrong, 3 when `anomaly` has found something anomalous and 130 when it was stopped at once.

mod args;
mod commands;
mod data;
mod flags;
mod line;
mod parse;
mod render;
mod signals;
mod watch;

use std::any::Any;
use std::env;
use std::ffi::OsString;
use std::panic::{self, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use poiesis_collect::isolation;
use poiesis_envs::mujoco;

fn main() -> ExitCode {
    let cli = match parse::parse(env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    isolation::set_reader(commands::read_table::reader());
    mujoco::look_in(places_of_mujoco());
    make_size_limits_errors();
    panic::set_hook(Box::new(report_bug));
    match panic::catch_unwind(|| cli.run()) {
        Ok(Ok(code)) => code,
        // The reader of the output has closed it.
        Ok(Err(error)) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            render::error(&error);
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// Where the library of MuJoCo is looked for: the places in `POIESIS_MUJOCO`, and without these among Python packages, beside the
/// program and in the home folder. Nothing is opened before it is needed.
fn places_of_mujoco() -> Vec<PathBuf> {
    if let Some(named) = env::var_os("POIESIS_MUJOCO").filter(|places| !places.is_empty()) {
        return env::split_paths(&named).collect();
    }
    let home = directories::BaseDirs::new().map(|folders| folders.home_dir().to_owned());
    let program = env::current_exe().ok();
    let own = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    let prefixes: Vec<PathBuf> = own.chain(["/usr/local", "/usr"].map(PathBuf::from)).collect();
    let folder = program.as_deref().and_then(Path::parent);
    mujoco::usual_places(home.as_deref(), folder, &prefixes)
}

/// Prints help, or what is wrong with the command line. A message repeats arguments, which may have control characters; without any
/// it is in colour, unless its words are our own.
fn refuse(error: &clap::Error) -> ExitCode {
    let is_plain = |argument: OsString| !argument.to_string_lossy().contains(char::is_control);
    let in_words = parse::in_words(error);
    if !error.use_stderr() || (in_words.is_none() && env::args_os().all(is_plain)) {
        error.exit();
    }
    render::note(in_words.unwrap_or_else(|| error.render().to_string()).trim_end());
    ExitCode::from(2)
}

/// Makes a write beyond the limit on file sizes an error, as a full disk is; by default it ends the process.
fn make_size_limits_errors() {
    // Where it fails, the default stays.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Reports a panic in one sentence; `RUST_BACKTRACE=1` adds where it came from.
fn report_bug(info: &PanicHookInfo) {
    if poiesis_collect::panics_are_caught() {
        return;
    }
    let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
    render::note(&format!(
        "error: Poiesis has a bug: {}{}; please report it with the command you gave",
        message(info.payload()),
        place.unwrap_or_default()
    ));
    if env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        render::note(&std::backtrace::Backtrace::force_capture().to_string());
    }
}

fn message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
