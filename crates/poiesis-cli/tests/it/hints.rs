//! What a hint says to do works: each hint is taken from what was printed, and followed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, tiny, words};

/// The command that an error tells to give, where `command` failed with it.
///
/// A hint names the right word in backticks, a whole command, or a flag. The flag's value is in the hint, or `value` where only the
/// user can know it.
fn followed(command: &str, error: &str, value: &str) -> String {
    let (said, hint) =
        error.split_once("\nhint: ").unwrap_or_else(|| panic!("{command} has no hint: {error}"));
    if let Some((_, whole)) = hint.split_once(&format!("{} ", env!("CARGO_BIN_EXE_poiesis"))) {
        return whole.split('`').next().unwrap().to_owned();
    }
    if let Some((_, rest)) = hint.split_once("did you mean `") {
        let right = rest.split('`').next().unwrap();
        // The wrong word is in backticks, or the path that begins the message.
        let wrong =
            said.split('`').nth(1).or_else(|| said.strip_prefix("error: ")?.split(' ').next()).unwrap();
        let same =
            |word: &str| word == wrong || word.strip_prefix(wrong).is_some_and(|rest| rest.starts_with('='));
        let swapped = |word: &str| if same(word) { word.replacen(wrong, right, 1) } else { word.to_owned() };
        return words(command).into_iter().map(swapped).collect::<Vec<_>>().join(" ");
    }
    let place = hint.rfind("--").unwrap_or_else(|| panic!("{command} has no flag in its hint: {hint}"));
    let flag: Vec<&str> = hint[place..].split([')', ',', ';']).next().unwrap().split(' ').collect();
    // More than one word after it is what the hint says of it.
    let (name, placeholder) = (flag[0], (flag.len() == 2).then(|| flag[1]));
    match placeholder {
        None => format!("{command} {name}"),
        Some(literal) if literal.chars().all(char::is_lowercase) => format!("{command} {name} {literal}"),
        Some(key) if key.ends_with("=VALUE") => {
            format!("{command} {name} {}", key.replace("VALUE", &value_in(hint, value)))
        }
        Some(_) => with_flag(command, name, &value_in(hint, value)),
    }
}

/// The value that a hint names: the first of a list, the first number, or the word after `write`.
fn value_in(hint: &str, value: &str) -> String {
    if !value.is_empty() {
        return value.to_owned();
    }
    let after =
        |words: &str| hint.split_once(words).map(|(_, rest)| rest.split([' ', ',', ';']).next().unwrap());
    let found = after("one of the steps ").or_else(|| after("one of ")).or_else(|| after("write "));
    let number = || hint.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
    found.or_else(number).unwrap_or_else(|| panic!("there is no value in: {hint}")).to_owned()
}

/// The command with this flag, in place of one that it has already.
fn with_flag(command: &str, name: &str, value: &str) -> String {
    let mut all: Vec<String> = words(command).into_iter().map(str::to_owned).collect();
    match all.iter().position(|word| word == name) {
        Some(place) => all[place + 1] = value.to_owned(),
        None => all.extend([name.to_owned(), value.to_owned()]),
    }
    all.join(" ")
}

/// The command fails, and works as its hint says.
#[track_caller]
fn follow(place: &Place, command: &str, value: &str) {
    let error = place.fails(command);
    let mended = followed(command, &error, value);
    let output = place.run(&words(&mended));
    assert!(
        output.status.success(),
        "{command}\n{error}\n{mended}\n{}",
        crate::support::text(&output.stderr)
    );
}

#[test]
fn hints_of_training_work() {
    let place = Place::new();
    place.provide();
    let train = tiny("dcgan", "run", "--steps 2 --quiet --new").replace("--steps 60 ", "");
    follow(&place, &train.replace("train dcgan", "train dcgn"), "");
    follow(&place, &train.replace("width=4", "widht=4"), "");
    follow(&place, &train.replace("--data shapes", "--data shpaes"), "");
    follow(&place, &train.replace("--steps 2", "--steps 0"), "");
    follow(&place, &train.replace("width=4", "width=0"), "");
    follow(&place, &format!("{train} --device cuda"), "");
    follow(&place, &format!("{train} --device vulkan:1"), "");
    follow(&place, &format!("{train} --set dcgan.prior=cauchy"), "");
    follow(&place, "recipes dcgan shpaes", "");
    // A known data set that is elsewhere.
    fs::create_dir_all(place.path("my/sets/text")).unwrap();
    fs::copy(place.path("text.txt"), place.path("my/sets/text/tinyshakespeare.txt")).unwrap();
    let known = tiny("transformer", "known", "--quiet").replace("text.txt", "tinyshakespeare");
    follow(&place, &known, "my/sets");
}

#[test]
fn hints_about_runs_work() {
    let place = Place::new();
    place.provide();
    place.ok(&tiny("dcgan", "runs/tiny", "--quiet"));
    follow(&place, "sample tiny --out a.png", "");
    follow(&place, "sample runs/tiny --step 5 --out b.png", "");
    follow(&place, "sample runs/tiny --out b.png", "");
    follow(&place, "sample runs/tiny --device gpu --out c.png", "");

    // Nothing is held out.
    place.ok(&tiny("vae", "all", "--quiet --set holdout=0"));
    follow(&place, "evaluate all --importance-samples 1 --samples 20 --directions 8", "");
    place.ok(&tiny("pixelcnn", "pixels", "--quiet --set holdout=0"));
    follow(&place, "complete pixels --images 1 --count 1", "");

    // An archive of another run.
    place.ok(&tiny("char-rnn", "runs/letters", "--quiet"));
    place.ok(&tiny("char-rnn", "other", "--quiet --seed 1"));
    place.ok("compress text.txt --model runs/letters --step 54 --raw --out text.poi");
    follow(&place, "decompress text.poi --model other --out there", "");
    assert_eq!(fs::read(place.path("there/text.txt")).unwrap(), fs::read(place.path("text.txt")).unwrap());
    fs::rename(place.path("runs"), place.path("moved")).unwrap();
    let lost = place.fails("decompress text.poi --out again");
    assert!(lost.ends_with("hint: give the folder of the run called `letters` (--model RUN)"), "{lost}");
}

#[test]
fn hints_about_data_work() {
    let place = Place::new();
    // The cache is cleared only where somebody can be asked, or with --yes.
    place.ok(&tiny("dcgan", "run", "--quiet"));
    assert!(place.ok("cache").contains("shapes"));
    follow(&place, "cache --clear", "");
    assert_eq!(fs::read_dir(place.path("cache")).unwrap().count(), 0);
}

/// Gives a command to a shell, which must succeed, and returns what it said beside its result.
fn in_shell(place: &Place, command: &str) -> String {
    let output = std::process::Command::new("sh")
        .args(["-c", command])
        .current_dir(place.path("."))
        .env("POIESIS_CACHE", place.path("cache"))
        .output()
        .unwrap();
    let said = crate::support::text(&output.stderr);
    assert!(output.status.success(), "{command}\n{said}");
    said
}

#[test]
fn what_a_finished_run_proposes_works() {
    let place = Place::new();
    fs::create_dir_all(place.path("my sets")).unwrap();
    // Enough for a feature network to be proposed.
    place.ok("collect shapes packed --size 16 --count 1300");
    fs::rename(place.path("packed"), place.path("my sets/pictures")).unwrap();
    // A name that is looked up in a folder whose name has a space, and so has that of the run.
    let train =
        tiny("vae", "RUN", "").replace("--data shapes --size 16 --set data.count=300", "--data pictures");
    let mut arguments = words(&train);
    let place_of_run = arguments.iter().position(|word| *word == "RUN").unwrap();
    arguments[place_of_run] = "my runs/a";
    arguments.extend(["--data-dir", "my sets"]);
    let output = place.run(&arguments);
    assert!(output.status.success(), "{}", crate::support::text(&output.stderr));
    let said = crate::support::text(&output.stdout);
    let (_, proposed) = said.split_once("what to try next\n").unwrap();
    assert!(said.contains("\nvalidation  validation_bound "), "{said}");
    assert!(said.contains("\ntraining    bound "), "{said}");
    for command in proposed.lines() {
        assert!(command.contains("'my runs/a'"), "{command}");
        let said = in_shell(&place, command);
        if command.contains(" evaluate ") {
            assert!(said.trim_end().ends_with(" features 'my runs/a' --data-dir 'my sets'"), "{said}");
        }
    }
    // A run that is done is proposed to be trained further.
    let output = place.run(&["resume", "my runs/a", "--data-dir", "my sets"]);
    let said = crate::support::text(&output.stdout);
    let (_, proposed) = said.split_once("what to try next\n").unwrap();
    let further = proposed.lines().next().unwrap();
    assert!(further.ends_with(" resume 'my runs/a' --steps 120 --data-dir 'my sets'"), "{further}");
    in_shell(&place, further);
    let about = crate::support::parse(&fs::read_to_string(place.path("my runs/a/run.json")).unwrap());
    assert_eq!(about["last_step"], 120);
}
