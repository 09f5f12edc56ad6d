//! Names of any bytes, folders that go away, lines that are damaged, and limits of the system.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, expect_failure, text, tiny, words};

/// No byte that moves a cursor or colours a terminal.
#[track_caller]
fn is_harmless(said: &[u8]) {
    let harms = |&byte: &u8| (byte < 0x20 && byte != b'\n' && byte != b'\t') || byte == 0x7f;
    assert!(!said.iter().any(harms), "{:?}", String::from_utf8_lossy(said));
}

#[cfg(unix)]
#[test]
fn control_characters_in_names_are_shown_as_escapes() {
    let place = Place::new();
    let name = "pic\u{1b}[31mtures\r";
    fs::create_dir(place.path(name)).unwrap();
    fs::write(place.path(name).join("a\u{7}\nb.png"), "no picture").unwrap();
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["collect", name, "out"],
        vec!["inspect", name],
        vec!["train", "dcgan", "--data", name, "--size", "16"],
        vec!["train", name],
        vec!["sample", name],
        vec!["resume", name],
        vec!["animate", name],
        vec!["runs", name],
        vec!["decompress", name],
        vec!["recipes", "dcgan", name],
        vec!["nothing\u{1b}[31m"],
        vec!["sample", "run", "--count", "\u{1b}[2J"],
    ];
    for arguments in &commands {
        let output = place.run(arguments);
        is_harmless(&output.stderr);
        is_harmless(&output.stdout);
        assert!(!text(&output.stderr).contains("has a bug"), "{arguments:?}");
    }
    let said = text(&place.run(&commands[4]).stderr);
    assert!(said.contains("pic\\u001b[31mtures\\u000d is not a run"), "{said}");

    // A run of that name works.
    let own = format!("runs/{name}");
    let mut arguments = words(
        "train dcgan --data shapes --size 16 --set data.count=100 --set width=4 --steps 2 --batch-size 4",
    );
    arguments.extend(["--out", &own]);
    commands = vec![
        arguments,
        vec!["runs", "runs"],
        vec!["runs", "runs", "--json"],
        vec!["sample", &own, "--count", "2"],
        vec!["evaluate", &own, "--samples", "4", "--directions", "4"],
    ];
    for arguments in &commands {
        let output = place.run(arguments);
        assert!(output.status.success(), "{arguments:?}\n{}", text(&output.stderr));
        is_harmless(&output.stderr);
        is_harmless(&output.stdout);
    }
    let listed: serde_json::Value = serde_json::from_slice(&place.run(&commands[2]).stdout).unwrap();
    assert_eq!(listed[0]["path"], own, "JSON has the name as it is");
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_utf8_work_or_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    let odd = OsStr::from_bytes(b"r\xffun");
    let run = |before: &str, after: &str| {
        place.command(&words(before)).arg(odd).args(words(after)).output().unwrap()
    };
    let train = tiny("dcgan", "", "");
    let train = train.trim_end().trim_end_matches("--out");
    for more in ["", "--new --json", "--dry-run --json"] {
        let output = run(&format!("{train} --out"), more);
        assert!(output.status.success(), "{more}: {}", text(&output.stderr));
    }
    for (before, after) in [("sample", "--count 2"), ("animate", ""), ("resume", ""), ("runs --json", "")] {
        let output = run(before, after);
        assert!(output.status.success(), "{before}: {}", text(&output.stderr));
    }
    assert!(text(&place.run(&["runs", ".", "--json"]).stdout).contains("\"done\""));
    // Names that are looked up are text.
    for before in ["train dcgan --data", "train", "sample runs/x --class", "train dcgan --set"] {
        let output = run(before, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{before}: {said}");
        assert!(said.to_lowercase().contains("utf-8"), "{before}: {said}");
    }
    place.provide();
    place.ok(&tiny("char-rnn", "text", "--quiet"));
    let file = OsStr::from_bytes(b"t\xffext.txt");
    fs::copy(place.path("text.txt"), place.path(".").join(file)).unwrap();
    let compress = words("--model text -o a.poi");
    let output = place.command(&["compress"]).arg(file).args(compress).output().unwrap();
    assert!(expect_failure("a name that cannot be kept", &output).contains("not UTF-8"));
}

#[test]
fn a_damaged_line_of_metrics_does_not_stop_a_run() {
    let place = Place::new();
    place.ok(&tiny("dcgan", "run", "--quiet"));
    let path = place.path("run/metrics.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = whole.lines().collect();
    lines.insert(2, "{\"step\":8,\"d_lo");
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let output = place.run(&words("resume run --steps 64"));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("metrics.jsonl: 1 line is not metrics") && said.contains("line 3"), "{said}");
    let after = fs::read_to_string(&path).unwrap();
    assert!(after.starts_with(&(lines.join("\n") + "\n")) && after.contains("\"step\":64"), "{after}");
}

#[test]
fn a_run_whose_folder_is_removed_ends_with_an_error() {
    let place = Place::new();
    let endless = tiny("dcgan", "run", "").replace("--steps 60", "--steps 1000000");
    let mut child = place.command(&words(&endless)).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while !place.path("run/checkpoints/step-000000006/COMPLETE").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended before its first checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    fs::rename(place.path("run"), place.path("moved")).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = expect_failure("the folder is gone", &output);
    assert!(said.contains("run was removed or replaced"), "{said}");
    assert!(!place.path("run").exists(), "{:?}", crate::support::files(&place.path("run")).keys());
    // What was saved before is whole.
    place.ok("sample moved --count 2 --out after.png");
}

/// Without `trap`, which the shell would set to ignore the signal.
#[cfg(unix)]
#[test]
fn a_limit_on_file_sizes_is_an_error_that_says_so() {
    let place = Place::new();
    let command = place.command(&words(&tiny("dcgan", "run", "--quiet")));
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg("ulimit -f 8; exec \"$@\"").arg("sh");
    shell.arg(command.get_program()).args(command.get_args()).current_dir(place.path("."));
    shell.env("POIESIS_CACHE", place.path("cache"));
    let said = expect_failure("a limit of 4 KiB", &shell.output().unwrap());
    assert!(said.contains("cannot write") && said.contains("limit on file sizes"), "{said}");
}
