//! Labels from a table, classifying, and images of a class, with the real program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use crate::support::{Place, parse, text, words};
use poiesis::picture::{Picture, viewing_factor};

/// Writes a nearly flat image.
fn flat(path: &Path, level: u8, number: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixel = |i: usize| level + ((i * 7 + number * 13) % 30) as u8;
    Picture::new(8, 8, 1, (0..64).map(pixel).collect()).write_png(path, None).unwrap();
}

/// Dark and bright images, those for training without classes, and a table with some of their labels.
fn provide(place: &Place) {
    for number in 0..60 {
        let (name, level) = if number % 2 == 0 { ("dark", 20) } else { ("bright", 180) };
        flat(&place.path(&format!("photos/train/{number}.png")), level, number);
        if number < 40 {
            flat(&place.path(&format!("photos/test/{name}/t{number}.png")), level, number + 100);
        }
    }
    let row = |number: usize| {
        format!("{number}.png,{}\n", if number.is_multiple_of(2) { "dark" } else { "bright" })
    };
    fs::write(place.path("few.csv"), format!("file,class\n{}", (0..20).map(row).collect::<String>()))
        .unwrap();
}

const TINY: &str =
    "--set generator_hidden_dims=[16] --set discriminator_hidden_dims=[32,16] --set latent_dim=4";

#[test]
fn few_labels_make_a_classifier_with_calibrated_probabilities() {
    let place = Place::new();
    provide(&place);
    place.ok(&format!("train improved-gan --data photos --labels few.csv {TINY} --batch-size 20 --steps 60 --out run --quiet"));
    let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
    assert!(config.contains("few.csv"), "{config}");

    let classify = "classify run photos/test/bright/t1.png photos/test/dark";
    let table = place.ok(classify);
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("FILE  ") && table.contains("PROBABILITY\n"), "{table}");
    assert!(lines.next().unwrap().starts_with("photos/test/bright/t1.png  bright"), "{table}");
    assert!(lines.next().unwrap().starts_with("photos/test/dark/t0.png    dark"), "{table}");
    let kept = parse(&fs::read_to_string(place.path("run/calibration-000000060.json")).unwrap());
    assert_eq!((kept["split"].as_str(), kept["images"].as_u64()), (Some("test"), Some(40)));
    assert_eq!(place.ok(classify), table, "with the calibration that was kept");
    assert!(!place.path("run/calibration-000000060-2.json").exists());

    fs::write(place.path("photos/broken.png"), "no image").unwrap();
    let output = place.run(&words("classify run photos/broken.png photos/test/dark/t2.png --top 2 --json"));
    let found = parse(&text(&output.stdout));
    assert_eq!(found["skipped"][0]["file"], "photos/broken.png");
    assert!(text(&output.stderr).contains("skipped photos/broken.png: "));
    let classes = &found["images"][0]["classes"];
    assert_eq!((classes[0]["class"].as_str(), classes[1]["class"].as_str()), (Some("dark"), Some("bright")));
    let sum: f64 = (0..2).map(|i| classes[i]["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    assert_eq!(found["calibration"]["temperature"], kept["temperature"]);
    fs::remove_file(place.path("photos/broken.png")).unwrap();

    let csv = place.ok("classify run --split test --csv");
    assert!(csv.starts_with("file,class,probability,label\ntest 0,bright,"), "{csv}");
    assert_eq!(csv.lines().count(), 41);

    let text = place.ok("evaluate run --samples 20 --directions 8");
    for part in ["classification (40 images", "calibrated: ", "  CLASS   bright  dark  ERROR\n", "0.0 %"] {
        assert!(text.contains(part), "{text}");
    }
    let evaluation = parse(&fs::read_to_string(place.path("run/evaluation-000000060.json")).unwrap());
    assert_eq!(evaluation["classification"]["classes"], serde_json::json!(["bright", "dark"]));
    assert!(place.path("run/evaluation-000000060-confusions.png").exists());
}

#[test]
fn what_is_wrong_with_labels_is_said_with_file_and_line() {
    let place = Place::new();
    provide(&place);
    let train = |model: &str, rest: &str| format!("train {model} --data photos {rest} --steps 2 --out run");
    fs::write(place.path("bad.csv"), "1.png,bright\nnone.png,dark\n").unwrap();
    let said = place.fails(&train("improved-gan", "--labels bad.csv"));
    assert!(said.contains("bad.csv, line 2: no image of the source is called none.png"), "{said}");
    let said = place.fails(&train("improved-gan", "--labels missing.csv"));
    assert!(said.contains("missing.csv does not exist"), "{said}");
    let said = place.fails(&train("dcgan", "--labels-per-class 3"));
    assert!(
        said.contains("--labels-per-class cannot be given for dcgan") && said.contains("improved-gan"),
        "{said}"
    );
    let said = place.fails("train improved-gan --data photos/train --labels-per-class 3 --steps 2 --out run");
    assert!(said.contains("improved-gan.labels_per_class") && said.contains("no classes"), "{said}");
    assert!(said.contains("(--labels-per-class N)"), "{said}");
    let said = place.fails("train dcgan --data photos/train --set conditional=true --steps 2 --out run");
    assert!(said.contains("`dcgan.conditional` cannot be true: train has no classes"), "{said}");
    assert!(said.contains("--labels FILE, --set dcgan.conditional=VALUE"), "{said}");
    place.ok("collect photos packed --labels few.csv");
    let said = place.fails("train improved-gan --data packed --labels few.csv --steps 2 --out run");
    assert!(said.contains("--labels") && said.contains("packed already"), "{said}");
    assert!(!place.path("run").exists());
    let said = place.fails("classify nothing photos/none.png");
    assert!(said.contains("photos/none.png does not exist"), "{said}");
}

#[test]
fn a_conditioned_model_draws_each_class_in_a_row_and_any_on_demand() {
    let place = Place::new();
    let tiny = "--set width=4 --set latent_dim=4 --set conditional=true --batch-size 8 --steps 4 --quiet";
    place.ok(&format!(
        "train dcgan --data shapes --size 16 --set data.count=60 {tiny} --set sample_count=20 --out run"
    ));
    let notes = |name: &str| {
        Picture::read_png(&place.path(name)).map(|(picture, note)| (picture, note.unwrap())).unwrap()
    };
    let (sheet, note) = notes("run/samples/step-000000004.png");
    let classes = note["classes"].as_array().unwrap().clone();
    assert_eq!(classes.len(), 5);
    // Five rows of four, each class in one.
    let factor = viewing_factor(16, 16);
    assert_eq!((sheet.width(), sheet.height()), (factor * (4 * 18 + 2), factor * (5 * 18 + 2)));

    place.ok("sample run --out all.png --scale 1");
    let (all, note) = notes("all.png");
    assert_eq!((note["count"].as_u64(), all.height()), (Some(60), 5 * 18 + 2));
    let second = classes[1].as_str().unwrap();
    place.ok(&format!("sample run --class {second} --count 4 --columns 4 --out one.png --scale 1"));
    let (one, note) = notes("one.png");
    assert_eq!(note["class"], classes[1]);
    // Image 1 of a request for all is of class 1 too, and the same as image 1 of the request for that class.
    let image = |picture: &Picture, x: usize, y: usize| {
        let pixel = |i: usize| picture.pixel(x + i % 16, y + i / 16).to_vec();
        (0..256).flat_map(pixel).collect::<Vec<u8>>()
    };
    assert_eq!(image(&one, 2 + 18, 2), image(&all, 2, 2 + 18));
    assert!(place.fails("sample run --class Klingon").contains("no class called `Klingon`"));

    place.ok(&format!("discover interpolate run --class {second} --rows 1 --steps 3 --out walk.png"));
    assert_eq!(notes("walk.png").1["class"], classes[1]);
    place.ok("discover traverse run --rows 2 --steps 3 --class 0 --out moved.png");

    // It has no classifier, so a probe on its features classifies, from labels that the data have.
    place.ok(&format!("sample run --class {second} --count 3 --out drawn"));
    let found = parse(&place.ok("classify run drawn --json"));
    assert_eq!((found["classifier"].as_str(), found["images"].as_array().unwrap().len()), (Some("probe"), 3));
    assert!(found["calibration"].is_null(), "too few images were held out");
    assert_eq!(parse(&place.ok("classify run drawn --json")), found, "with the probe that was kept");

    // What has neither names every model that has one of them.
    place.ok(&crate::support::tiny("realnvp", "flow", "--quiet"));
    let refused = place.fails("classify flow drawn");
    let able = refused.split_once("these can: ").unwrap_or_else(|| panic!("{refused}")).1;
    assert!(["improved-gan", "dcgan", "vae"].iter().all(|model| able.contains(model)), "{refused}");

    place.ok(&format!("train vae --data shapes --size 16 --set data.count=60 {tiny} --out vae"));
    place.ok("sample vae --class 2 --count 4 --out vae.png");
    let bound = parse(&place.ok("evaluate vae --importance-samples 2 --samples 8 --directions 4 --json"));
    assert!(bound["bound"]["nats"].as_f64().unwrap().is_finite());
    let refused = place.fails("discover interpolate vae --class 9");
    assert!(refused.contains("no class called `9`"), "{refused}");
}
