//! `poiesis doctor` on this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use crate::support::{Place, parse, text, words};

fn home(place: &Place) -> PathBuf {
    place.path("cache").parent().unwrap().to_owned()
}

/// Runs the program with a home folder that is the place itself.
fn run(place: &Place, arguments: &str) -> Output {
    place.command(&words(arguments)).env("HOME", home(place)).output().unwrap()
}

#[test]
fn the_report_names_what_there_is_and_no_private_folder() {
    let place = Place::new();
    let output = run(&place, "doctor --quick");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    for what in [
        "poiesis ",
        "processor ",
        "vectors ",
        "memory ",
        "disk ",
        "cache ",
        "GPU ",
        "MuJoCo ",
        "data ",
        "Python ",
    ] {
        assert!(said.lines().any(|line| line.starts_with(what)), "{what} is not in\n{said}");
    }
    assert!(said.contains("not in data: mnist") && !said.contains("\nspeed"), "{said}");
    if cfg!(unix) {
        let private = home(&place).to_string_lossy().into_owned();
        assert!(said.contains("~/cache") && !said.contains(&private), "{said}");
    }
    assert!(!place.path("runs").exists() && !place.path("cache").exists(), "nothing is made");
}

#[test]
fn json_has_the_speed_and_the_data_sets() {
    let place = Place::new();
    fs::create_dir_all(place.path("sets/mnist")).unwrap();
    let output = run(&place, "doctor --json --data-dir sets --threads 1");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found = parse(&text(&output.stdout));
    assert_eq!(found["processor"]["threads"], 1);
    assert_eq!(found["data"]["sets"]["mnist"], true);
    assert_eq!(found["data"]["sets"]["cifar10"], false);
    for work in ["product", "convolution"] {
        assert!(found["speed"][work]["gflops"].as_f64().unwrap() > 0.1, "{found}");
    }
    assert_eq!(found["gpu"]["in_this_build"], cfg!(feature = "vulkan"));
    let findings = found["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["prevents_training"] == false), "{found}");
}

#[test]
fn what_prevents_training_is_said_and_is_the_exit_status() {
    let place = Place::new();
    fs::write(place.path("runs"), "no folder").unwrap();
    let output = run(&place, "doctor --quick");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("problem: runs/ cannot be written") && said.contains("give --out"), "{said}");
    assert!(said.ends_with("one problem prevents training\n"), "{said}");
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}
