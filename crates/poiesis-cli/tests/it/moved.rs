//! Runs whose data have moved, and runs that are given other data: what `resume` takes, saves and says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use poiesis::picture::Picture;
use serde_json::Value;

use crate::support::{Place, expect_failure, parse, text, words};

/// A folder of small drawings.
fn draw(place: &Place, folder: &str) {
    fs::create_dir(place.path(folder)).unwrap();
    for number in 0..20 {
        let pixels = (0..64).map(|at| if at % 8 == number % 8 { 0 } else { 255 }).collect();
        let picture = Picture::new(8, 8, 1, pixels);
        picture.write_png(&place.path(folder).join(format!("{number:02}.png")), None).unwrap();
    }
}

const SMALL: &str = "--paper-defaults --set vae.width=4 --set blocks=0 --set latent_dim=2 --batch-size 8 --set sample_frames=2 \
                     --set sample_count=4 --quiet";

/// A setting of the section `[data]` that a run has saved.
fn saved(place: &Place, run: &str, key: &str) -> String {
    let config = fs::read_to_string(place.path(run).join("config.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    config["data"][key].as_str().unwrap().to_owned()
}

/// An absolute path that ends so.
#[track_caller]
fn expect_absolute(path: &str, end: &str) {
    assert!(Path::new(path).is_absolute() && path.ends_with(end), "{path}");
}

/// What a command says that must fail: the event on standard output that it ends with, and its error.
fn failed_event(place: &Place, arguments: &str) -> (Value, String) {
    let output = place.run(&words(arguments));
    let error = expect_failure(arguments, &output);
    (parse(text(&output.stdout).lines().last().unwrap()), error)
}

#[test]
fn a_raw_folder_and_its_labels_may_move() {
    let place = Place::new();
    draw(&place, "drawings");
    let classes: String = (0..20).map(|number| format!("{number:02}.png,{}\n", number % 2)).collect();
    fs::write(place.path("classes.csv"), classes).unwrap();
    place.ok(&format!("train vae --data drawings --labels classes.csv {SMALL} --steps 2 --out run"));
    fs::create_dir(place.path("elsewhere")).unwrap();
    for name in ["drawings", "classes.csv"] {
        fs::rename(place.path(name), place.path("elsewhere").join(name)).unwrap();
    }
    let said = place.fails("resume run --steps 3 --quiet");
    assert!(said.contains("cannot open the data of run"), "{said}");
    // Relative paths are saved as what they mean here.
    let set = "--set data.source=elsewhere/drawings --set data.labels_file=elsewhere/classes.csv";
    place.ok(&format!("resume run {set} --steps 3 --quiet"));
    expect_absolute(&saved(&place, "run", "source"), "/elsewhere/drawings");
    expect_absolute(&saved(&place, "run", "labels_file"), "/elsewhere/classes.csv");
    fs::rename(place.path("elsewhere/drawings"), place.path("back")).unwrap();
    place.ok("resume run --data back --steps 4 --quiet");
    expect_absolute(&saved(&place, "run", "source"), "/back");
    place.ok("resume run --steps 5 --quiet");
}

#[test]
fn demonstrations_may_move_and_others_are_refused() {
    let place = Place::new();
    let agent = "--envs 2 --set rollout_steps=32 --set hidden_dims=[8] --batch-size 32 --steps 4 --quiet";
    place.ok(&format!("train ppo --env cartpole {agent} --out agent"));
    place.ok("record agent --episodes 4 --policy sample --out demos");
    place.ok("record agent --episodes 3 --policy sample --out others");
    place.ok("train bc --demos demos --steps 4 --checkpoint-every 2 --out clone --quiet");
    let environment = saved(&place, "clone", "source");
    fs::rename(place.path("demos"), place.path("moved")).unwrap();
    let said = place.fails("resume clone --steps 5 --quiet");
    assert!(
        said.contains("cannot open the data of clone") && said.ends_with("resume clone --data FOLDER"),
        "{said}"
    );
    place.ok("resume clone --data moved --steps 5 --quiet");
    expect_absolute(&saved(&place, "clone", "demonstrations"), "/moved");
    fs::rename(place.path("moved"), place.path("again")).unwrap();
    place.ok("resume clone --set data.demonstrations=again --steps 6 --quiet");
    expect_absolute(&saved(&place, "clone", "demonstrations"), "/again");
    assert_eq!(saved(&place, "clone", "source"), environment, "it is no path");

    let said = place.fails("resume clone --data others --steps 7 --quiet");
    assert!(said.contains("the data set of clone has changed") && !said.contains("moved"), "{said}");
    let other = "train bc --config clone/config.toml --demos DATA --out FOLDER";
    assert!(
        said.contains("a run keeps its demonstrations; another run: ") && said.ends_with(other),
        "{said}"
    );
    place.ok(&other.replace("DATA", "others").replace("FOLDER", "second"));
    // An environment is a setting.
    let said = place.fails("resume agent --set data.source=pendulum --steps 5");
    assert!(said.contains("data.source is \"cartpole\" there and \"pendulum\" here"), "{said}");
    assert!(said.ends_with("train ppo --config agent/config.toml --set KEY=VALUE --out FOLDER"), "{said}");
}

#[test]
fn other_data_end_in_an_event_with_the_same_hint() {
    let place = Place::new();
    let shapes = "--data shapes --size 16 --set data.count=300";
    place.ok(&format!("train vae {shapes} {SMALL} --steps 2 --out first"));
    place.ok(&format!("train vae --init-from first {SMALL} --steps 2 --out tuned"));
    let first = place.path("first").canonicalize().unwrap().display().to_string();
    let from = format!("train vae --config tuned/config.toml --init-from {first} --init-step 2");
    place.ok("collect shapes others --size 16 --count 300 --seed 1");
    for (arguments, keeps, other) in [
        ("--data others", "data", format!("{from} --data SOURCE --out FOLDER")),
        ("--set data.source=others", "data", format!("{from} --data SOURCE --out FOLDER")),
        ("--set vae.width=5", "settings", format!("{from} --set KEY=VALUE --out FOLDER")),
    ] {
        let (event, error) = failed_event(&place, &format!("resume tuned {arguments} --steps 3 --json"));
        let (reason, hint) = (event["reason"].as_str().unwrap(), event["hint"].as_str().unwrap());
        assert_eq!(event["event"], "failed");
        assert_eq!(error, format!("error: {reason}\nhint: {hint}"));
        assert_eq!(reason.contains("data set of tuned has changed"), keeps == "data", "{reason}");
        assert!(hint.starts_with(&format!("a run keeps its {keeps}; another run: ")), "{hint}");
        assert!(hint.ends_with(&other), "{hint}");
    }
    place.ok(&format!("{from} --data others --steps 2 --quiet --out second"));
    let about = parse(&fs::read_to_string(place.path("second/run.json")).unwrap());
    assert_eq!(about["parent"]["run"], Value::from(first));

    // The data are another set where they were.
    place.ok("collect shapes packed --size 16 --count 300");
    place.ok(&format!("train vae --data packed {SMALL} --steps 2 --out run"));
    fs::remove_dir_all(place.path("packed")).unwrap();
    fs::rename(place.path("others"), place.path("packed")).unwrap();
    let (event, error) = failed_event(&place, "resume run --steps 3 --json");
    let hint = event["hint"].as_str().unwrap();
    assert!(hint.starts_with("if they have moved, say where they are with --data; another run: "), "{hint}");
    assert!(error.ends_with(hint), "{error}");
}
