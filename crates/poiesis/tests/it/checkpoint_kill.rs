//! Checkpoints against the real world: a process killed while it writes them, and a disk that takes no more.
//!
//! The process that is killed is this test program itself, started again with an environment variable that tells one of
//! the tests to be the child.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use poiesis::Error;
use poiesis::run::checkpoint::{self, Array, Arrays, Checkpoint, Retention, State};
use poiesis::run::metrics::{self, Log, Row};

const ROLE: &str = "POIESIS_TEST_FOLDER";

/// A checkpoint of about 1 MB whose content follows from its step, so that any mixture is noticed.
fn checkpoint_at(step: u64) -> Checkpoint {
    let arrays = |part: u64, size: usize| {
        let value = |i: usize| (step * 31 + part * 7 + i as u64) as f32;
        Arrays::from([
            ("a.weight".to_owned(), Array::new(vec![size, 16], (0..size * 16).map(value).collect())),
            ("b.bias".to_owned(), Array::new(vec![size], (0..size).map(value).collect())),
        ])
    };
    Checkpoint {
        model: arrays(1, 1000),
        ema: arrays(2, 1000),
        train: arrays(3, 12_000),
        state: State { model: "vae".into(), step, scalars: BTreeMap::from([("seed".into(), step)]) },
    }
}

/// Starts this program again as the child that `test` describes. A shell first runs `before`.
fn start(test: &str, folder: &Path, before: &str) -> Child {
    let module = "checkpoint_kill";
    Command::new("sh")
        .args(["-c", &format!("{before} exec \"$0\" --exact {module}::{test} --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn role() -> Option<PathBuf> {
    std::env::var_os(ROLE).map(PathBuf::from)
}

fn all_bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// The child: goes on from the newest checkpoint until it is killed.
#[test]
fn save_until_killed() {
    let Some(folder) = role() else { return };
    checkpoint::sweep(&folder).unwrap();
    let mut step = match checkpoint::newest(&folder) {
        Ok(found) => found.content.state.step,
        Err(Error::NoCheckpoint { .. }) => 0,
        Err(error) => panic!("{error}"),
    };
    loop {
        step += 1;
        checkpoint::save(&folder, &checkpoint_at(step)).unwrap();
        checkpoint::prune(&folder, Retention { last: 2, every: 10, best: &[] }).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_leaves_the_newest_checkpoint_loadable() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut reached = 0;
    let mut cut_short = 0;
    for round in 0..24 {
        let mut child = start("save_until_killed", folder, "");
        wait_until(|| newest_step(folder) > reached);
        // Moments spread over a few milliseconds, the same in every run of the test.
        thread::sleep(Duration::from_micros(round * 7919 % 9000));
        child.kill().unwrap();
        child.wait().unwrap();

        let found = checkpoint::newest(folder).unwrap();
        let step = found.content.state.step;
        assert!(step > reached, "step {step} after {reached}: a saved checkpoint was lost");
        for (step, path) in checkpoint::survey(folder).unwrap().complete {
            assert_eq!(checkpoint::read(&path).unwrap(), checkpoint_at(step));
        }
        cut_short += found.findings.len();
        reached = step;
    }
    assert!(cut_short > 0, "no kill fell into the middle of writing, so this proved nothing");
    checkpoint::sweep(folder).unwrap();
    assert_eq!(checkpoint::newest(folder).unwrap().findings, []);
}

fn newest_step(folder: &Path) -> u64 {
    checkpoint::survey(folder).unwrap().complete.last().map_or(0, |&(step, _)| step)
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "the child got nowhere");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The child: may not write files beyond 512 or 1024 kB, by the shell's unit, which the third file of a checkpoint does.
#[test]
fn save_on_a_full_disk() {
    let Some(folder) = role() else { return };
    let mut large = checkpoint_at(2);
    large.train.insert("c".into(), Array::new(vec![1 << 20], vec![1.0; 1 << 20]));
    let error = checkpoint::save(&folder, &large).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Io { .. }), "{message}");
    assert!(message.contains("step-000000002") && message.contains("train.safetensors"), "{message}");
    assert!(error.hint().is_some(), "{message} has a remedy");

    let path = folder.join("metrics.jsonl");
    let mut log = Log::open(&path).unwrap();
    let row = |step| Row { step, elapsed: 0.0, values: vec![("x".repeat(999), 0.5)] };
    let mut step = 1;
    while log.append(&row(step)).is_ok() {
        step += 1;
        assert!(step < 3000, "the limit was never reached");
    }
    let rows = metrics::read(&path).unwrap();
    assert_eq!(rows.len() as u64, step - 1);
    assert!(fs::read(&path).unwrap().ends_with(b"}\n"), "no part of the failed row may stay");

    let file = folder.join("run.json");
    fs::write(&file, "old").unwrap();
    assert!(poiesis::atomic::write(&file, &vec![0; 1 << 21]).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint_intact_and_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let last = checkpoint::save(folder, &checkpoint_at(1)).unwrap();
    let before = all_bytes(&last);
    // The write then fails with an error instead of ending the process by a signal.
    let status = start("save_on_a_full_disk", folder, "trap '' XFSZ; ulimit -f 1024;").wait().unwrap();
    assert!(status.success());

    assert_eq!(all_bytes(&last), before);
    let found = checkpoint::newest(folder).unwrap();
    assert_eq!((found.content, found.findings), (checkpoint_at(1), vec![]));
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["metrics.jsonl", "run.json", "step-000000001"]);
    // With space again, the same save succeeds.
    checkpoint::save(folder, &checkpoint_at(2)).unwrap();
    assert_eq!(newest_step(folder), 2);
}
