//! What the program says where something else was meant than what was given, and what it says of classes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, parse, text, tiny, words};
use poiesis::picture::Picture;

/// What the program says of arguments that it refuses before it looks at anything.
#[track_caller]
fn refused(place: &Place, arguments: &str) -> String {
    let output = place.run(&words(arguments));
    assert_eq!(output.status.code(), Some(2), "{arguments}\n{}", text(&output.stderr));
    text(&output.stderr)
}

#[track_caller]
fn contains(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not said in: {said}");
    }
}

/// Texts in folders of two classes.
fn pets(place: &Place) {
    for (class, word) in [("cats", "meow"), ("dogs", "woof")] {
        fs::create_dir_all(place.path(&format!("pets/{class}"))).unwrap();
        for number in 0..24 {
            let words = vec![word; 2 + number % 5].join(" ");
            fs::write(place.path(&format!("pets/{class}/{number}.txt")), format!("{words} {number}"))
                .unwrap();
        }
    }
}

#[test]
fn lengths_of_samples_have_a_range() {
    let place = Place::new();
    for length in ["-1", "0", "nan", "inf"] {
        contains(&refused(&place, &format!("sample run --length {length}")), &["--length", "above 0"]);
        contains(&refused(&place, &format!("complete run --length {length}")), &["--length", "above 0"]);
    }
    place.provide();
    place.ok(&tiny("char-rnn", "text", "--quiet"));
    contains(&place.fails("sample text --length 1.5"), &["tokens", "1.5", "whole number"]);
    place.ok("sample text --length 3");
    place.ok(&tiny("wavenet", "sound", "--quiet"));
    contains(&place.fails("sample sound --length 0.000001"), &["no frame", "give at least"]);
    contains(&place.fails("sample sound --prime abc"), &["trained on sound", "--prime-sound"]);
    contains(&place.fails("sample text --prime-sound clips/00.wav"), &["trained on text", "--prime"]);
    for run in ["text", "sound"] {
        contains(&place.fails(&format!("sample {run} --out -")), &["--out -"]);
    }
    assert!(!place.path("-").exists());

    // What is of another kind.
    Picture::new(8, 8, 1, vec![0; 64]).write_png(&place.path("p.png"), None).unwrap();
    contains(&place.fails("score sound p.png"), &["p.png holds no sound", "sound was trained on"]);
    contains(&place.fails("decompress text.txt"), &["text.txt is no archive of Poiesis"]);
    fs::write(place.path("small.txt"), "a").unwrap();
    contains(&place.ok("compress small.txt --model text -o small.poi"), &["times as large as before"]);
}

#[test]
fn each_text_says_which_class_it_is_of() {
    let place = Place::new();
    pets(&place);
    place.ok(
        "train transformer --data pets --paper-defaults --set width=16 --set layers=1 --set heads=2 --set context=24 \
         --batch-size 8 --steps 2 --set sample_frames=0 --set sample_count=1 --set sample_length=5 --quiet --out run",
    );
    let output = place.run(&words("sample run --count 3 --length 4"));
    let said = text(&output.stderr);
    assert_eq!(said.matches("class cats:").count(), 2, "{said}");
    assert_eq!(said.matches("class dogs:").count(), 1, "{said}");
    assert!(!text(&output.stdout).contains("class "), "{}", text(&output.stdout));
    let alone = place.run(&words("sample run --class dogs --length 4"));
    assert!(!text(&alone.stderr).contains("class dogs:"), "what was asked for is known");
    place.ok("sample run --count 3 --length 4 --out drawn.jsonl");
    let lines = fs::read_to_string(place.path("drawn.jsonl")).unwrap();
    let classes: Vec<serde_json::Value> = lines.lines().map(|line| parse(line)["class"].clone()).collect();
    assert_eq!(classes, ["cats", "dogs", "cats"]);

    // A class that no training example was of.
    let path = place.path("run/run.json");
    let mut info = parse(&fs::read_to_string(&path).unwrap());
    info["data"]["class_counts"] = serde_json::json!([20, 0]);
    fs::write(&path, info.to_string()).unwrap();
    let note = "no training example was of class dogs";
    for (arguments, is_told) in [("--class dogs", true), ("--class cats", false), ("--count 2", true)] {
        let output = place.run(&words(&format!("sample run --length 4 {arguments}")));
        assert_eq!(text(&output.stderr).contains(note), is_told, "{arguments}: {}", text(&output.stderr));
    }
}

#[test]
fn data_with_classes_propose_a_model_of_classes() {
    let place = Place::new();
    let said = place.ok("collect shapes packed --size 16 --count 300");
    let proposed = said.lines().find(|line| line.contains("vae.conditional=true"));
    contains(proposed.unwrap_or(&said), &["train vae --data packed --set vae.conditional=true", "--class"]);
    fs::create_dir(place.path("plain")).unwrap();
    for number in 0..40_u8 {
        let picture = Picture::new(16, 16, 1, (0..=255_u8).map(|at| at.wrapping_mul(number)).collect());
        picture.write_png(&place.path(&format!("plain/{number}.png")), None).unwrap();
    }
    let said = place.ok("collect plain without");
    assert!(said.contains("train vae --data without") && !said.contains("conditional"), "{said}");

    // A run that takes no class says how one is trained that does.
    place.ok(&tiny("vae", "run", "--quiet"));
    let with_class = "is trained with --set vae.conditional=true";
    contains(&place.fails("sample run --class circle"), &["does not accept class", "--class", with_class]);
    contains(&place.fails("discover traverse run --class circle"), &["not conditioned", with_class]);
    // Points have no classes.
    place.ok(&tiny("gan", "points", "--quiet"));
    assert!(!place.fails("sample points --class a").contains("conditional"));
}

#[test]
fn one_decoded_image_is_that_image_and_neighbours_are_given_as_json() {
    let place = Place::new();
    place.ok(&tiny("vae", "run", "--quiet"));
    place.ok("sample run --count 1 --out drawn/");
    place.ok("encode run drawn --out z.npy");
    place.ok("decode run z.npy --out one.png");
    let (one, _) = Picture::read_png(&place.path("one.png")).unwrap();
    assert_eq!((one.width(), one.height()), (16, 16));
    place.ok("decode run z.npy --out folder/");
    assert_eq!(Picture::read_png(&place.path("folder/000000.png")).unwrap().0.data(), one.data());

    let found = parse(&place.ok("discover neighbors run --count 3 --out near.png --json"));
    assert_eq!((found["nearest"].as_array().unwrap().len(), found["out"].as_str()), (3, Some("near.png")));
    assert!(found["statistics"]["sample_distance"].as_f64().unwrap() > 0.0, "{found}");
    assert!(place.path("near.png").exists());

    // Too few images for a feature network: the other way is named.
    let output = place.run(&words("evaluate run --importance-samples 2 --samples 8 --directions 4"));
    let said = text(&output.stderr);
    assert!(said.contains("--inception-weights FILE") && !said.contains(" features run"), "{said}");
}

#[test]
fn a_run_whose_data_have_fewer_files_says_how_many() {
    let place = Place::new();
    fs::create_dir(place.path("photos")).unwrap();
    for number in 0..40_u8 {
        let picture = Picture::new(16, 16, 1, (0..=255_u8).map(|at| at.wrapping_mul(number)).collect());
        picture.write_png(&place.path(&format!("photos/{number:02}.png")), None).unwrap();
    }
    let shapes = "--data shapes --size 16 --set data.count=300";
    place.ok(&tiny("vae", "run", "--quiet").replace(shapes, "--data photos"));
    for number in 1..5 {
        fs::remove_file(place.path(&format!("photos/{number:02}.png"))).unwrap();
    }
    let said = place.fails("resume run --steps 70 --quiet");
    contains(&said, &["has changed since the run began", " then, ", " now; fingerprint "]);
}
