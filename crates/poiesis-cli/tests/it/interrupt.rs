//! Ctrl-C: once saves and says how to go on, twice ends at once.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Place, expect_equal_files, text, tiny, words};

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Starts training that prints events, and reads them up to the first of this kind.
fn start(place: &Place, arguments: &str, until: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = place
        .command(&words(&format!("{arguments} --json")))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let found = lines.any(|line| line.contains(&format!(r#""event":"{until}""#)));
    assert!(found, "no event `{until}`");
    (child, lines)
}

#[test]
fn once_saves_and_says_how_to_go_on() {
    let place = Place::new();
    let long = tiny("vae", "run", "").replace("--steps 60", "--steps 100000");
    let (child, lines) = start(&place, &long, "report");
    interrupt(&child);
    let last: serde_json::Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!((last["event"].as_str(), last["state"].as_str()), (Some("finished"), Some("stopped")));
    assert!(last["resume"].as_str().unwrap().ends_with("resume run"), "{last}");
    let step = last["step"].as_u64().unwrap();
    let saved = place.path(&format!("run/checkpoints/step-{step:09}"));
    assert!(saved.join("COMPLETE").exists(), "step {step} was not saved");
    assert!(place.ok("runs .").contains("stopped"));
}

/// Stops a run by `stop`, resumes it, and compares it with one that was never stopped.
fn expect_exact_after(stop: impl Fn(&Child)) {
    let place = Place::new();
    place.ok(&tiny("dcgan", "whole/run", "--quiet"));
    let (child, lines) = start(&place, &tiny("dcgan", "part/run", ""), "report");
    stop(&child);
    assert!(lines.last().unwrap().contains("finished"));
    assert!(child.wait_with_output().unwrap().status.success());
    place.ok("resume part/run --quiet");
    expect_equal_files(&place.path("whole/run/samples"), &place.path("part/run/samples"));
    let last = "checkpoints/step-000000060";
    expect_equal_files(&place.path("whole/run").join(last), &place.path("part/run").join(last));
}

#[test]
fn stopping_changes_nothing_in_what_comes_out() {
    expect_exact_after(interrupt);
}

#[test]
fn two_signals_at_once_are_taken_for_one() {
    // `timeout` sends its own to the program, and to the group that it is in. Two of one kind may become one before they are seen.
    expect_exact_after(|child| {
        let twice = "kill -TERM $0; kill -INT $0";
        assert!(Command::new("sh").args(["-c", twice, &child.id().to_string()]).status().unwrap().success());
    });
}

#[test]
fn twice_ends_at_once() {
    let place = Place::new();
    // More than 10¹² operations, so that one thread takes seconds for a step, also on a fast machine.
    let slow = "--threads 1 train dcgan --data shapes --size 32 --set data.count=600 --batch-size 512 --steps 50 \
                --paper-defaults --out run --set sample_frames=0 --set sample_count=1 --set width=192";
    let (child, _lines) = start(&place, slow, "started");
    interrupt(&child);
    // One that comes at once would be taken for the same.
    std::thread::sleep(Duration::from_millis(1300));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("press Ctrl-C again after a second to stop at once"));
}
