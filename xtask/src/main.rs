//! Tasks of the repository that need more than one command. See [`HELP`].
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const HELP: &str = "\
Tasks of the repository.

Usage: cargo xtask <TASK>

Tasks:
  dist   Builds the release program for Linux x86-64 and packs it with the README and the licences into
         dist/poiesis-VERSION-x86_64-unknown-linux-gnu.tar.gz, with its SHA-256 checksum in a file next to it
  help   Prints this text

`dist` must run on Linux x86-64 and needs the programs strip, tar, gzip and sha256sum. The same commit and compiler
give the same archive.";

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What goes into the archive with the program.
const TEXTS: [&str; 3] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["dist"] => dist(),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(format!("there is no task `{}`; see cargo xtask help", arguments.join(" ")).into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the program and packs the archive.
fn dist() -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        return Err(format!("dist runs only on {TARGET}").into());
    }
    let root = root()?;
    run(cargo(&root).args(["build", "--release", "--locked", "--package", "poiesis-cli"]))?;
    let name = format!("poiesis-{}-{TARGET}", env!("CARGO_PKG_VERSION"));
    let dist = root.join("dist");
    let folder = fill(&root, &dist.join(&name))?;
    let archive = format!("{name}.tar.gz");
    pack(&root, &dist, &name, &archive)?;
    let checksum = output(Command::new("sha256sum").arg(&archive).current_dir(&dist))?;
    fs::write(dist.join(format!("{archive}.sha256")), &checksum)?;
    println!("program  {}", megabytes(&folder.join("poiesis"))?);
    println!("archive  {}  dist/{archive}", megabytes(&dist.join(&archive))?);
    println!("sha256   {}", checksum.split_whitespace().next().unwrap_or_default());
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Puts everything that the archive holds into a new folder.
fn fill(root: &Path, folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let program = folder.join("poiesis");
    let built = target(root).join("release/poiesis");
    fs::copy(&built, &program).map_err(|error| format!("cannot copy {}: {error}", built.display()))?;
    // The release profile strips already, unless the user's configuration says otherwise.
    run(Command::new("strip").arg(&program))?;
    for text in TEXTS {
        fs::copy(root.join(text), folder.join(text))?;
    }
    Ok(folder.to_owned())
}

/// Packs a folder. Names are sorted and times are that of the commit, so that the archive depends on nothing else.
fn pack(root: &Path, dist: &Path, name: &str, archive: &str) -> Result<()> {
    let commit = output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root));
    let seconds = commit.ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
    // Without -n, gzip writes the current time into the archive.
    tar.args([&format!("--mtime=@{seconds}"), "--use-compress-program=gzip -9n", "-cf", archive, name]);
    run(tar.current_dir(dist))
}

/// The root of the workspace.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().ok_or("xtask lies outside the workspace")?.to_owned())
}

/// Cargo's target folder.
fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}

/// Runs a program whose output the user sees.
fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| failed(command, &error))?;
    if status.success() { Ok(()) } else { Err(failed(command, &status)) }
}

/// Runs a program and returns what it prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| failed(command, &error))?;
    if !output.status.success() {
        return Err(failed(command, &output.status));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn failed(command: &Command, reason: &dyn std::fmt::Display) -> Box<dyn Error> {
    format!("{} failed: {reason}", command.get_program().display()).into()
}

fn megabytes(file: &Path) -> Result<String> {
    Ok(format!("{:6.1} MB", fs::metadata(file)?.len() as f64 / 1e6))
}
