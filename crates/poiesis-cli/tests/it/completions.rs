//! Completions, in the shells that are on this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Place, parse, text, tiny, words};

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// A path of programs on which this one comes first.
fn path() -> OsString {
    let own = Path::new(env!("CARGO_BIN_EXE_poiesis")).parent().unwrap().to_owned();
    let others = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(own).chain(env::split_paths(&others))).unwrap()
}

/// Runs a shell in a place; prints why not where it is not on this machine.
fn shell(place: &Place, name: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(place.path(".")).env("PATH", path());
    command.env("HOME", place.path(".")).env_remove("POIESIS_DATA").env_remove("POIESIS_THREADS");
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("not tested in {name}: {error}");
            None
        }
    }
}

/// What bash completes the last word to, as the programs that are completed in it see words.
fn bash(place: &Place, line: &[&str]) -> Option<Vec<String>> {
    const CODE: &str = r#"
        source poiesis.bash
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _poiesis "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
    "#;
    fs::write(place.path("poiesis.bash"), place.ok("completions bash")).unwrap();
    let arguments = [&["--norc", "--noprofile", "-c", CODE, "bash"], line].concat();
    let output = shell(place, "bash", &arguments)?;
    assert!(output.status.success() && output.stderr.is_empty(), "{line:?}\n{}", text(&output.stderr));
    Some(text(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn every_shell_has_a_script() {
    let place = Place::new();
    for name in SHELLS {
        let script = place.ok(&format!("completions {name}"));
        assert!(script.starts_with('#') && script.contains("suggest") && script.is_ascii(), "{script}");
    }
    let output = place.run(&["completions", "csh"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("possible values: bash, elvish, fish, powershell, zsh"));
}

#[test]
fn bash_completes_verbs_models_options_and_settings() {
    let place = Place::new();
    let expect = |line: &[&str], expected: &[&str]| {
        if let Some(found) = bash(&place, line) {
            assert_eq!(found, expected, "{line:?}");
        }
    };
    expect(&["poiesis", "tr"], &["train"]);
    expect(&["poiesis", "train", "dc"], &["dcgan"]);
    expect(&["poiesis", "discover", "neigh"], &["neighbors"]);
    expect(&["poiesis", "train", "dcgan", "--recipe", "emo"], &["emoji64"]);
    expect(&["poiesis", "train", "dcgan", "--batch"], &["--batch-size"]);
    expect(&["poiesis", "train", "ppo", "--env", "hop"], &["hopper"]);
    expect(&["poiesis", "train", "vae", "--set", "vae.kl_we"], &["vae.kl_weight="]);
    // Words that readline has cut at = and :.
    expect(&["poiesis", "train", "dcgan", "--data", "=", "sha"], &["shapes"]);
    expect(&["poiesis", "train", "dcgan", "--set", "width", "=", "8", "--batch"], &["--batch-size"]);
    // The program by its path.
    expect(&[env!("CARGO_BIN_EXE_poiesis"), "train", "dc"], &["dcgan"]);
    // Nothing, and no message, where the line is wrong.
    expect(&["poiesis", "trian", "x"], &[]);
    expect(&["poiesis", "train", "nothing-like-this"], &[]);
}

#[test]
fn bash_completes_data_sets_files_runs_and_classes() {
    let place = Place::new();
    fs::create_dir_all(place.path("shelf")).unwrap();
    fs::write(place.path("shot.png"), "").unwrap();
    place.ok("collect shapes data/shapes-small --size 16 --count 60");
    place.ok(&tiny("dcgan", "runs/first", "--quiet"));
    if let Some(found) = bash(&place, &["poiesis", "train", "dcgan", "--data", "sh"]) {
        assert_eq!(found[..2], ["shapes", "shapes-small"], "{found:?}");
        assert!(found.contains(&"shelf".to_owned()) && found.contains(&"shot.png".to_owned()), "{found:?}");
    }
    if let Some(found) = bash(&place, &["poiesis", "sample", ""]) {
        assert_eq!(found, ["runs/first"]);
    }
    if let Some(found) = bash(&place, &["poiesis", "features", ""]) {
        assert!(["shapes", "runs/first"].iter().all(|word| found.iter().any(|f| f == word)), "{found:?}");
    }
    if let Some(found) = bash(&place, &["poiesis", "sample", "runs/first", "--class", "c"]) {
        let run = parse(&fs::read_to_string(place.path("runs/first/run.json")).unwrap());
        let classes: Vec<&str> =
            run["data"]["classes"].as_array().unwrap().iter().filter_map(serde_json::Value::as_str).collect();
        let expected: Vec<&str> = classes.into_iter().filter(|class| class.starts_with('c')).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn scripts_of_other_shells_are_read_without_errors() {
    let place = Place::new();
    for name in SHELLS {
        fs::write(place.path(name), place.ok(&format!("completions {name}"))).unwrap();
    }
    for (name, arguments) in
        [("bash", &["-n", "bash"][..]), ("zsh", &["-n", "zsh"]), ("fish", &["--no-execute", "fish"])]
    {
        if let Some(output) = shell(&place, name, arguments) {
            assert!(output.status.success() && output.stderr.is_empty(), "{name}\n{}", text(&output.stderr));
        }
    }
    let code = "source fish; complete -C 'poiesis train dc'; complete -C 'poiesis tr'";
    if let Some(output) = shell(&place, "fish", &["--no-config", "-c", code]) {
        let found = text(&output.stdout);
        assert!(
            found.starts_with("dcgan\t") && found.contains("\ntrain\t"),
            "{found}\n{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn what_is_suggested_is_the_same_for_all_shells() {
    let place = Place::new();
    let suggested = |arguments: &str| {
        let output = place.run(&words(arguments));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let models = suggested("suggest --new-word -- train");
    assert!(models.starts_with("none\ngan\tthe first GAN"), "{models}");
    assert_eq!(suggested("suggest -- train dcgan --out runs"), "folders\n");
    assert!(suggested("suggest").contains("\ntrain\tTrain a model"));
    assert!(!place.ok("--help").contains("\n  suggest"), "it is hidden");
}
