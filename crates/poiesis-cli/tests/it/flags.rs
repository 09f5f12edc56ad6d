//! Every flag that would do nothing is refused by its name, for every verb.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::support::{Place, expect_failure, text, tiny, words};

/// Runs the program, which must refuse `flags` by name, be it while it parses (exit 2) or once it knows the model (exit 1).
#[track_caller]
fn refused(place: &Place, arguments: &str, flags: &[&str]) {
    let output = place.run(&words(arguments));
    let said = text(&output.stderr);
    let code = output.status.code();
    assert!(matches!(code, Some(1 | 2)), "{arguments}: exit {code:?}\n{said}");
    if code == Some(1) {
        expect_failure(arguments, &output);
    }
    flags
        .iter()
        .for_each(|flag| assert!(said.contains(flag), "`{flag}` is not named by {arguments}\n{said}"));
}

#[test]
fn a_model_of_images_refuses_what_is_for_texts_and_sounds() {
    let place = Place::new();
    place.ok(&tiny("dcgan", "gan", "--quiet"));
    for flag in [
        "--class Klingon",
        "--class 0",
        "--temperature 0.5",
        "--top-k 3",
        "--top-p 0.5",
        "--length 9",
        "--prime a",
    ] {
        let name = flag.split(' ').next().unwrap();
        refused(&place, &format!("sample gan {flag} --out a.png"), &[name]);
    }
    refused(&place, "sample gan --columns 2 --out folder", &["--columns"]);
    assert!(!place.path("a.png").exists() && !place.path("folder").exists());
    refused(&place, "compress a.png --model gan -o a.poi", &["compress"]);
    refused(&place, "evaluate gan --images 3", &["--images"]);
    refused(&place, "evaluate gan --importance-samples 3 --images 4", &["--images, --importance-samples"]);
    refused(&place, "discover traverse gan --dims 1 --rows 2", &["--dims", "--rows"]);

    place.ok(&tiny("vae", "vae", "--quiet"));
    refused(&place, "sample vae --top-k 3 --class 0", &["--class, --top-k"]);
    place.ok("sample vae --temperature 0.5 --out warm.png");

    place.ok(&tiny("gated-pixelcnn", "pixels", "--quiet"));
    refused(&place, "sample pixels --prime a", &["--prime"]);
    refused(&place, "sample pixels --length 5", &["--length"]);
    refused(&place, "sample pixels --class circle", &["--class"]);
    refused(&place, "complete pixels --text a --length 4", &["--text, --length"]);
    refused(&place, "complete pixels --class circle", &["--class"]);
    refused(&place, "complete pixels --image a.png --images 2", &["--image", "--images"]);
    refused(&place, "complete pixels --image a.png --data shapes", &["--data"]);
    refused(&place, "evaluate pixels --importance-samples 3", &["--importance-samples"]);
    refused(&place, "compress --split validation --class circle --model pixels -o a.poi", &["--class"]);
    refused(&place, "compress gan/run.json --data shapes --model pixels -o a.poi", &["--data"]);
    place.provide();
    place.ok(&tiny("char-rnn", "text", "--quiet"));
    place.ok("compress text.txt --model text -o a.poi");
    refused(&place, "decompress a.poi --list --out there", &["--list", "--out"]);
    refused(&place, "decompress a.poi --list --step 3", &["--list", "--step"]);
}

#[test]
fn models_of_text_and_sound_refuse_what_is_for_images() {
    let place = Place::new();
    place.provide();
    place.ok(&tiny("char-rnn", "text", "--quiet"));
    refused(
        &place,
        "sample text --scale 2 --columns 3 --no-metadata",
        &["--columns, --scale, --no-metadata"],
    );
    refused(&place, "sample text --class 0", &["--class"]);
    refused(&place, "complete text --text a --missing lower --images 3", &["--images, --missing"]);
    refused(&place, "complete text --text a --scale 2 --first 1", &["--first, --scale"]);
    refused(&place, "evaluate text --samples 3 --directions 4", &["--samples, --directions"]);
    refused(&place, "compress text.txt --class 0 --model text -o a.poi", &["--class"]);
    place.ok(&tiny("wavenet", "sound", "--quiet"));
    refused(&place, "sample sound --scale 2", &["--scale"]);
    refused(&place, "complete sound --text a", &["--text"]);
    refused(&place, "evaluate sound --directions 4", &["--directions"]);
    place.ok("inspect clips");
    refused(&place, "inspect clips --force", &["--preview"]);
}

#[test]
fn packed_data_are_not_collected_again() {
    let place = Place::new();
    place.ok("collect shapes packed --size 16 --count 100");
    let train = "train dcgan --data packed --set width=4 --set latent_dim=8 --batch-size 8 --steps 1 --quiet --out run";
    for (flag, name) in [
        ("--size 64", "--size"),
        ("--channels 1", "--channels"),
        ("--size 16 --channels 1", "--size, --channels"),
    ] {
        refused(&place, &format!("{train} {flag}"), &[name, "packed already"]);
        refused(&place, &format!("{train} {flag} --dry-run"), &[name]);
    }
    let settings = [
        "crop=none",
        "background='#000000'",
        "holdout=0.3",
        "count=9",
        "vocabulary=bpe",
        "vocabulary_size=300",
        "documents=lines",
        "sample_rate=8000",
        "mono=true",
        "labels=names",
        "validation_files=a*",
        "test_files=b*",
    ];
    for setting in settings {
        let key = setting.split('=').next().unwrap();
        refused(&place, &format!("{train} --set data.{setting}"), &[&format!("--set {key}")]);
    }
    assert!(!place.path("run").exists());
    // What a file says of how they were collected does not stand in the way.
    std::fs::write(place.path("own.toml"), "[data]\nsize = 16\n").unwrap();
    place.ok(&format!("{train} --config own.toml"));
}

#[test]
fn options_of_other_kinds_of_data_are_refused_when_collecting() {
    let place = Place::new();
    place.provide();
    std::fs::write(place.path("points.csv"), "1,2\n3,4\n5,6\n").unwrap();
    let images = ["--size 8", "--channels 1", "--crop none", "--background #000000"];
    let (text, sound) = (["--vocabulary bytes", "--lines"], ["--sample-rate 8000", "--mono"]);
    for (source, flags) in [
        ("text.txt", [&images[..], &sound].concat()),
        ("clips", [&images[..], &text].concat()),
        ("points.csv", [&images[..], &text, &sound].concat()),
        ("shapes", [&text[..], &sound].concat()),
        ("text.txt", vec!["--count 3", "--seed 3"]),
    ] {
        for flag in flags {
            let name = flag.split(' ').next().unwrap();
            refused(&place, &format!("collect {source} out {flag}"), &[name, "leave it out"]);
            assert!(!place.path("out").exists());
        }
    }
    place.ok("collect text.txt text --vocabulary bytes --lines");
    place.ok("collect clips sound --sample-rate 8000 --mono");
}

#[test]
fn what_fits_into_no_memory_is_refused_with_its_key_before_anything_is_made() {
    let place = Place::new();
    let began = std::time::Instant::now();
    for (setting, key) in [
        ("--set dcgan.width=20000", "dcgan.width"),
        ("--batch-size 400000000", "train.batch_size"),
        ("--set sample_count=4000000000", "train.sample_count"),
    ] {
        for more in ["--dry-run", "", "--dry-run --json"] {
            let said = place.fails(&format!("train dcgan {setting} {more} --out run"));
            assert!(
                said.contains(key) && said.contains("B of memory") && said.contains("--ignore-memory"),
                "{said}"
            );
        }
    }
    for setting in
        ["dcgan.width=1000000000", "sample_frames=1000000000", "batch_size=0", "data.size=1000000000"]
    {
        let key = setting.split('=').next().unwrap();
        assert!(place.fails(&format!("train dcgan --set {setting} --dry-run")).contains(key), "{setting}");
    }
    refused(&place, "models --threads 100000", &["--threads"]);
    refused(&place, "models --threads 0", &["--threads"]);
    assert!(began.elapsed().as_secs() < 60);
    assert!(!place.path("run").exists() && !place.path("cache").exists(), "nothing was packed");
}
