//! What the tests of the real program share: a place of its own for each, tiny models, and how to look at results.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder to run the program in, with a cache and nothing else.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program in this place, with these arguments.
    pub(crate) fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_poiesis"));
        command
            .args(arguments.iter().map(AsRef::as_ref))
            .current_dir(self.folder.path())
            .env("POIESIS_CACHE", self.path("cache"))
            .env_remove("POIESIS_DATA")
            .env_remove("POIESIS_THREADS")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program, which must succeed, and returns what it printed as a result.
    pub(crate) fn ok(&self, arguments: &str) -> String {
        let output = self.run(&words(arguments));
        assert!(output.status.success(), "{arguments}\n{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs the program, which must fail with one clear message, and returns that.
    pub(crate) fn fails(&self, arguments: &str) -> String {
        let output = self.run(&words(arguments));
        expect_failure(arguments, &output)
    }
}

/// Checks that the program failed as it should: exit 1, the last words an error, no trace of a panic.
pub(crate) fn expect_failure(what: &str, output: &Output) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}\n{said}\n{}", text(&output.stdout));
    assert!(!said.contains("panicked") && !said.contains("has a bug"), "{what}\n{said}");
    let place = said.rfind("error: ").unwrap_or_else(|| panic!("{what} names no error\n{said}"));
    let error = said[place..].trim_end();
    assert!(!error.ends_with('.'), "a message has no final full stop: {error}");
    error.to_owned()
}

pub(crate) fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Training of a model small enough to take milliseconds a step.
pub(crate) fn tiny(model: &str, out: &str, more: &str) -> String {
    let own = match model {
        "dcgan" => "--set width=4 --set latent_dim=8",
        _ => "--set width=4 --set latent_dim=8 --set blocks=0",
    };
    format!(
        "train {model} --data shapes --size 16 --set data.count=300 {own} --batch-size 8 --steps 60 \
         --checkpoint-every 6 --set log_every=4 --set sample_frames=5 --set sample_count=4 --out {out} {more}"
    )
}

/// Every file below a folder with its content.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                all.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// Fails with the names of the files that differ between two folders.
pub(crate) fn expect_equal_files(a: &Path, b: &Path) {
    let (of_a, of_b) = (files(a), files(b));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&of_a), names(&of_b), "{} and {}", a.display(), b.display());
    assert!(!of_a.is_empty(), "{} is empty", a.display());
    let differing: Vec<_> =
        of_a.iter().filter(|(name, bytes)| &of_b[*name] != *bytes).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "{} and {} differ in {differing:?}", a.display(), b.display());
}
