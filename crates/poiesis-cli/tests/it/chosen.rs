//! Settings that are chosen where someone gives data and nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use poiesis::picture::Picture;
use serde_json::Value;

use crate::support::{Place, parse, text, words};

/// A folder of drawings: white paper with a black line somewhere, of these sizes, in grey or in colour.
fn draw(place: &Place, folder: &str, sizes: &[usize], channels: usize) {
    fs::create_dir_all(place.path(folder)).unwrap();
    for number in 0..40 {
        let side = sizes[number % sizes.len()];
        let black = |pixel: usize| (pixel / side).abs_diff(side / 4 + number % (side / 2)) < side / 8;
        let pixels =
            (0..side * side * channels).map(|at| if black(at / channels) { 0 } else { 255 }).collect();
        let picture = Picture::new(side, side, channels, pixels);
        picture.write_png(&place.path(folder).join(format!("{number:02}.png")), None).unwrap();
    }
}

/// The value of a setting and where it came from, as a dry run shows them.
fn setting<'a>(shown: &'a Value, key: &str) -> (&'a Value, &'a str) {
    let settings = shown["settings"].as_array().unwrap();
    let found = settings.iter().find(|setting| setting["key"] == key).unwrap();
    (&found["value"], found["origin"].as_str().unwrap())
}

const SMALL: &str = "--set vae.width=4 --set blocks=0";

#[test]
fn collect_chooses_size_and_channels_and_proposes_what_fits() {
    let place = Place::new();
    draw(&place, "drawings", &[70, 90], 3);
    let output = place.run(&words("collect drawings packed"));
    assert!(output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("chosen: --size 32 (images of 70×70 to 90×90);"), "{said}");
    assert!(said.contains("chosen: --channels 1 (all images are grey);"), "{said}");
    let summary = text(&output.stdout);
    assert!(summary.contains("32×32 grey") && summary.contains(" train vae --data packed"), "{summary}");
    assert!(summary.contains(" train gated-pixelcnn --data packed"), "drawings\n{summary}");
    let given = place.run(&words("collect drawings given --size 40 --channels 3"));
    assert!(!text(&given.stderr).contains("chosen"), "{}", text(&given.stderr));
    assert!(text(&given.stdout).contains("40×40 RGB"));

    fs::write(place.path("a.py"), "def f(x):\n    return x + 1\n".repeat(200)).unwrap();
    fs::create_dir(place.path("code")).unwrap();
    fs::rename(place.path("a.py"), place.path("code/a.py")).unwrap();
    let code = place.ok("collect code source");
    assert!(code.contains("read as text") && code.contains(" train transformer --data source"), "{code}");
}

#[test]
fn pictures_in_a_repository_get_a_size_where_the_model_learns_images() {
    let place = Place::new();
    draw(&place, "repo/pictures", &[36, 40], 1);
    fs::create_dir(place.path("repo/.git")).unwrap();
    for number in 0..50 {
        let code = format!("fn f{number}() {{}}\n").repeat(20);
        fs::write(place.path(&format!("repo/{number}.rs")), code).unwrap();
    }
    let shown = parse(&place.ok(&format!("train vae --data repo {SMALL} --dry-run --json")));
    let (size, why) = setting(&shown, "data.size");
    assert_eq!(size, 32);
    assert!(why.starts_with("chosen: images of 36×36 to 40×40"), "{why}");
}

#[test]
fn settings_that_nobody_gave_are_chosen_from_the_data() {
    let place = Place::new();
    draw(&place, "drawings", &[40], 1);
    let dry =
        |more: &str| parse(&place.ok(&format!("train vae --data drawings {SMALL} {more} --dry-run --json")));
    let shown = dry("");
    assert_eq!(setting(&shown, "vae.likelihood").0, "bernoulli");
    assert!(setting(&shown, "vae.likelihood").1.starts_with("chosen: nearly all pixels"), "{shown}");
    assert_eq!(setting(&shown, "vae.width"), (&Value::from(4), "--set"), "what is given stays");
    let (steps, why) = setting(&shown, "train.steps");
    assert!(steps.as_u64().unwrap() >= 200 && why.starts_with("chosen: "), "{steps} {why}");
    assert_eq!(setting(&dry("--steps 7"), "train.checkpoint_every").0, 7);
    assert_eq!(setting(&dry("--epochs 2"), "train.steps").1, "--epochs 2");
    let paper = dry("--paper-defaults");
    assert_eq!(setting(&paper, "vae.likelihood"), (&Value::from("discretized_logistic"), "default"));
}

#[test]
fn a_run_keeps_what_was_chosen_for_it() {
    let place = Place::new();
    draw(&place, "drawings", &[36, 40], 1);
    let train = |more: &str| {
        let output = place.run(&words(&format!("train vae --data drawings {SMALL} --out run {more}")));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let said = train("--steps 6");
    assert!(said.contains("taking a few steps") && said.contains("vae.likelihood"), "{said}");
    assert!(said.contains("data.size") && said.contains("images of 36×36 to 40×40"), "{said}");
    let chosen = |place: &Place| {
        let about = parse(&fs::read_to_string(place.path("run/run.json")).unwrap());
        about["chosen"].as_array().unwrap().clone()
    };
    let before = chosen(&place);
    assert!(before.iter().any(|choice| choice["key"] == "vae.latent_dim" && choice["value"] == 32));
    assert!(before.iter().all(|choice| choice["key"] != "vae.width" && choice["key"] != "train.steps"));
    // Nothing is measured or chosen anew, so the run goes on as it began.
    let said = train("--steps 9");
    assert!(!said.contains("taking a few steps"), "{said}");
    assert_eq!(chosen(&place), before);
    let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
    assert!(config.contains("likelihood = \"bernoulli\"") && config.contains("steps = 9"), "{config}");
    let other = place.fails("train vae --data drawings --set vae.width=8 --set blocks=0 --steps 9 --out run");
    assert!(other.contains("vae.width"), "{other}");
}

#[test]
fn what_was_chosen_is_the_first_event() {
    let place = Place::new();
    draw(&place, "drawings", &[16], 1);
    let first_events = |steps: u32| {
        let said = place.ok(&format!("train vae --data drawings {SMALL} --steps {steps} --out run --json"));
        let mut events = said.lines().map(parse);
        let (chosen, next) = (events.next().unwrap(), events.next().unwrap());
        assert_eq!((&chosen["event"], &next["event"]), (&"chosen".into(), &"started".into()), "{said}");
        chosen
    };
    let chosen = first_events(6);
    let settings = chosen["settings"].as_array().unwrap();
    let likelihood = settings.iter().find(|setting| setting["key"] == "vae.likelihood").unwrap();
    assert_eq!(likelihood["value"], "bernoulli");
    assert!(likelihood["reason"].as_str().unwrap().starts_with("nearly all pixels"), "{likelihood}");
    assert!(chosen["seconds"].as_f64().unwrap() > 0.0, "{chosen}");
    // A run that is continued keeps what was chosen, and no steps are timed.
    let again = first_events(9);
    assert_eq!((&again["settings"], &again["seconds"]), (&chosen["settings"], &Value::Null));
}

#[test]
fn the_length_of_fine_tuning_is_chosen_and_the_model_is_that_of_the_other_run() {
    let place = Place::new();
    draw(&place, "drawings", &[16], 1);
    place.ok(&format!("train vae --data drawings {SMALL} --steps 6 --out first --quiet"));
    let dry = |more: &str| parse(&place.ok(&format!("train vae --init-from first {more} --dry-run --json")));
    let shown = dry("");
    assert!(setting(&shown, "train.steps").1.starts_with("chosen: "), "{shown}");
    for (key, value) in [("vae.width", 4.into()), ("vae.likelihood", "bernoulli".into())] {
        assert_eq!(setting(&shown, key), (&value, "run first"), "{key}");
    }
    assert_eq!(setting(&dry("--steps 7"), "train.steps"), (&7.into(), "--steps"));
    assert_eq!(setting(&dry("--paper-defaults"), "train.steps").1, "default");
}
