//! Verbs that hold an image against what a model has learned: `anomaly`, `evaluate --anomalies`, `denoise`, and `complete` by latents.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, text, tiny, words};
use poiesis::picture::Picture;
use serde_json::Value;

const SIDE: usize = 16;
/// Settings of a small flow.
const FLOW: &str = "--set width=2 --set blocks=0";

/// Writes grey images of `SIDE` pixels into a folder.
fn write_images(place: &Place, folder: &str, count: usize, pixel: impl Fn(usize, usize, usize) -> u8) {
    fs::create_dir_all(place.path(folder)).unwrap();
    for i in 0..count {
        let data = (0..SIDE * SIDE).map(|at| pixel(i, at / SIDE, at % SIDE)).collect();
        let picture = Picture::new(SIDE, SIDE, 1, data);
        picture.write_png(&place.path(&format!("{folder}/{i:03}.png")), None).unwrap();
    }
}

/// A number from 0 to 1 that looks drawn.
fn noise(a: usize, b: usize) -> f64 {
    let of = |x: usize, factor: u64| (x as u64 + 1).wrapping_mul(factor);
    let mixed =
        (of(a, 0x9e37_79b9_7f4a_7c15) ^ of(b, 0xbf58_476d_1ce4_e5b9)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ mixed >> 31).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 40) as f64 / (1 << 24) as f64
}

/// Images with much in them: stripes of any direction, width and contrast, with noise.
fn busy(i: usize, y: usize, x: usize) -> u8 {
    let (angle, width) = (noise(i, 1000) * 3.1, 0.6 + 1.2 * noise(i, 1001));
    let wave = ((y as f64 * angle.cos() + x as f64 * angle.sin()) * width + 6.0 * noise(i, 1002)).sin();
    (128.0 + 90.0 * wave + 60.0 * (noise(i, y * SIDE + x) - 0.5)).clamp(0.0, 255.0) as u8
}

/// A VAE of such images, half of which are held out.
fn train_on_busy(place: &Place) {
    write_images(place, "busy", 1000, busy);
    write_images(place, "blank", 30, |i, _, _| (108 + i) as u8);
    place.ok(
        "train vae --data busy --set data.holdout=0.5 --set width=8 --set latent_dim=4 --set blocks=0 --batch-size 16 --steps 300 \
         --set train.ema_decay=0 --set sample_frames=0 --quiet --out run",
    );
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn simple_images_are_likelier_and_are_found_all_the_same() {
    let place = Place::new();
    train_on_busy(&place);
    let found = json(&place.ok("evaluate run --anomalies blank --json --out result.json"));
    assert_eq!(json(&fs::read_to_string(place.path("result.json")).unwrap()), found);
    assert!(place.path("run/anomalies-000000300.json").exists());
    let auroc = |name: &str| {
        let scores = found["scores"].as_array().unwrap();
        let score = scores.iter().find(|score| score["score"].as_str().unwrap().starts_with(name));
        score.unwrap_or_else(|| panic!("{name} in {found}"))["auroc"].as_f64().unwrap()
    };
    // The trap, and the way out.
    assert!(auroc("−log p alone") < 0.1, "{found}");
    assert!(auroc("likelihood") > 0.9 && auroc("complexity") > 0.9 && auroc("combined") > 0.9, "{found}");
    assert_eq!(found["images"][1], 30);
    let table = place.ok("evaluate run --anomalies blank --images 20");
    assert!(
        table.contains("AUROC") && table.contains("(control)") && table.contains("20 anomalies"),
        "{table}"
    );

    let output = place.run(&words("anomaly run blank --json --out odd.png"));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let found = json(&text(&output.stdout));
    assert_eq!((found["anomalous"].as_u64(), found["score"].as_str()), (Some(30), Some("combined")));
    let image = &found["images"][0];
    assert!(image["p"].as_f64().unwrap() <= 0.05 && image["file"] == "blank/000.png", "{image}");
    assert!(!image["by"].as_array().unwrap().is_empty(), "{image}");
    assert_eq!(image["scores"].as_object().unwrap().len(), 5);
    let (picture, note) = Picture::read_png(&place.path("odd.png")).unwrap();
    let note = note.unwrap();
    assert_eq!(
        (note["shown"].as_str(), note["images"].as_array().unwrap().len()),
        (Some("reconstruction"), 16)
    );
    assert_eq!(picture.channels(), 3);

    // Of new usual images few are called anomalous, by p-values that are those of the table.
    write_images(&place, "new", 60, |i, y, x| busy(i + 5000, y, x));
    let output = place.run(&words("anomaly run new --csv"));
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("file,p,anomalous,combined,combined p,likelihood"), "{}", lines[0]);
    let alarms = lines.iter().filter(|line| line.contains(",true,")).count();
    assert!(lines.len() == 61 && alarms <= 12, "{alarms} of 60");
    assert_eq!(output.status.code(), Some(if alarms > 0 { 3 } else { 0 }));
    let output = place.run(&words("anomaly run new blank --calibrate busy --fdr 0.2"));
    assert!(text(&output.stdout).contains("expected to be usual"), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(3));
    // Without p-values there is no verdict.
    let table = place.ok("anomaly run blank/000.png --calibrate none");
    assert!(table.contains("complexity (nats beyond PNG)") && !table.contains("VERDICT"), "{table}");
    let again = place.run(&words("anomaly run blank --score neighbours --alpha 0.1"));
    assert!(text(&again.stdout).contains("by `neighbours`"), "{}", text(&again.stdout));
}

#[test]
fn what_does_not_apply_is_refused_by_name() {
    let place = Place::new();
    train_on_busy(&place);
    let fails = |arguments: &str, parts: &[&str]| {
        let error = place.fails(arguments);
        parts.iter().for_each(|part| assert!(error.contains(part), "`{part}` is not said in: {error}"));
    };
    fails("anomaly run nowhere", &["nowhere does not exist"]);
    fails("anomaly run blank --calibrate nowhere", &["nowhere", "--calibrate"]);
    fails("anomaly run blank --score knn", &["`knn`"]);
    fails("anomaly run blank --alpha 0.001", &["--alpha", "1998", "--calibrate"]);
    fails(
        "anomaly run blank --calibrate none --alpha 0.1 --score combined",
        &["--alpha", "--score combined"],
    );
    fs::write(place.path("notes.png"), "no image").unwrap();
    fails("anomaly run notes.png", &["none of the images"]);
    fs::write(place.path("there.png"), "x").unwrap();
    fails("anomaly run blank --out there.png", &["there.png exists", "--force"]);
    fails("evaluate run --anomalies others", &["others", "data.classes"]);
    fails("evaluate run --anomalies nothing", &["nothing"]);
    place.ok("collect shapes other --size 8 --count 40");
    fails("evaluate run --anomalies other", &["8×8", "16×16"]);
    fails("complete run --top-k 3", &["--top-k", "latents"]);
    fails("complete run --class 0", &["--class"]);
    for wrong in ["--alpha 0", "--alpha 1", "--fdr x", "--alpha 0.1 --fdr 0.1"] {
        let output = place.run(&words(&format!("anomaly run blank {wrong}")));
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
    place.ok(&tiny("dcgan", "gan", "--quiet"));
    fails("anomaly gan blank --score likelihood --calibrate none", &["dcgan", "likelihood", "vae"]);
    let output = place.run(&words("anomaly gan blank --alpha 0.2 --out near.png"));
    assert!(text(&output.stdout).contains("by `neighbours`"), "{}", text(&output.stderr));
    let (_, note) = Picture::read_png(&place.path("near.png")).unwrap();
    assert_eq!(note.unwrap()["shown"], "neighbour");
    fails("denoise gan blank --noise 0.1 --out x", &["dcgan", "encode"]);
}

#[test]
fn a_run_of_one_class_is_tested_on_the_others() {
    let place = Place::new();
    let train = "train vae --data shapes --size 16 --set data.count=400 --set width=4 --set latent_dim=4 --set blocks=0 \
                 --batch-size 16 --steps 20 --quiet";
    let refused = place.fails(&format!("{train} --set data.classes=hexagon --out no"));
    assert!(refused.contains("data.classes") && refused.contains("hexagon"), "{refused}");
    place.ok(&format!("{train} --set data.classes=1 --out one"));
    place.ok("resume one --steps 24 --quiet");
    let found = json(&place.ok("evaluate one --anomalies others --json"));
    let [usual, odd] = [0, 1].map(|i| found["images"][i].as_u64().unwrap());
    // A tenth is held out: about 8 of the class and 32 of the four others.
    assert!(usual + odd < 60 && odd > 2 * usual && usual > 0, "{usual} {odd}");
    let info = json(&fs::read_to_string(place.path("one/run.json")).unwrap());
    place.ok(&format!("{train} --out all"));
    let all = json(&fs::read_to_string(place.path("all/run.json")).unwrap());
    assert_ne!(info["data"]["fingerprint"], all["data"]["fingerprint"]);
    assert_eq!(info["data"]["classes"], all["data"]["classes"]);
    place.ok("evaluate one --samples 20 --directions 8 --importance-samples 1");
}

#[test]
fn noise_is_taken_out_by_latents_and_pixel_by_pixel() {
    let place = Place::new();
    train_on_busy(&place);
    let found =
        json(&place.ok("denoise run --split validation --add-noise 0.3 --images 20 --out clean --json"));
    let psnr = |name: &str| found["psnr"][name].as_f64().unwrap();
    assert!(psnr("denoised") > psnr("noisy") + 0.5, "{found}");
    let weight = found["weight_of_noisy"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&weight), "{weight}");
    assert_eq!(fs::read_dir(place.path("clean")).unwrap().count(), 21);
    assert!(place.fails("denoise run blank --noise 0.1 --out clean").contains("clean is not empty"));
    // Weak noise is mostly left.
    let weak =
        json(&place.ok("denoise run --split validation --add-noise 0.02 --images 4 --out weak --json"));
    assert!(weak["weight_of_noisy"].as_f64().unwrap() > weight, "{weak}");
    let table = place.ok("denoise run blank --noise 0.1 --clean blank --out own");
    assert!(table.contains("3×3 median") && place.path("own/003.png").exists(), "{table}");
    assert!(
        place
            .fails("denoise run blank --noise 0.1 --clean blank/000.png --out no")
            .contains("no clean image")
    );
    assert!(place.fails("denoise run blank --noise 0 --out no").contains("--noise cannot be 0"));
    assert!(place.fails("denoise run blank --noise 0.1 --class 1 --out no").contains("--class"));
    place.ok("anomaly run blank/000.png --calibrate none");

    place.ok(&tiny("gated-pixelcnn", "pixels", "--quiet"));
    let table = place.ok("denoise pixels --split validation --add-noise 0.2 --images 3 --out by-pixel");
    assert!(table.contains("denoised"), "{table}");
    let output = place.run(&words("anomaly pixels blank --alpha 0.2 --out bits.png --show 3"));
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", text(&output.stderr));
    let (_, note) = Picture::read_png(&place.path("bits.png")).unwrap();
    assert_eq!(note.unwrap()["shown"], "bits");
}

#[test]
fn images_are_completed_by_latents_and_known_pixels_stay() {
    let place = Place::new();
    for (model, settings) in [
        ("vae", "--set width=4 --set latent_dim=4 --set blocks=0"),
        (
            "infogan",
            "--set noise_dim=4 --set generator_widths=[8,4] --set discriminator_widths=[4,8] --set hidden_dim=8 --set q_dim=8 --set ema_decay=0.0",
        ),
        ("realnvp", FLOW),
    ] {
        place.ok(&format!(
            "train {model} --data shapes --size 16 --set data.count=200 {settings} --batch-size 8 --steps 40 --quiet --out {model}"
        ));
        let complete = |more: &str, out: &str| {
            place
                .ok(&format!("complete {model} --missing right --images 2 --scale 1 {more} --out {out}.png"));
            Picture::read_png(&place.path(&format!("{out}.png"))).unwrap().0
        };
        let sheet = complete("--count 3", &format!("{model}-3"));
        let image = |column: usize, row: usize, columns: std::ops::Range<usize>| -> Vec<u8> {
            let at = |x: usize, y: usize| sheet.pixel(2 + 18 * column + x, 2 + 18 * row + y).to_vec();
            (0..16).flat_map(|y| columns.clone().flat_map(move |x| at(x, y))).collect()
        };
        for row in 0..2 {
            for column in 2..5 {
                assert_eq!(image(column, row, 0..8), image(0, row, 0..8), "{model}");
            }
            assert_ne!(image(2, row, 8..16), image(3, row, 8..16), "{model}: completions differ");
        }
        assert_eq!(complete("--count 3", &format!("{model}-again")), sheet);
        assert_ne!(complete("--count 3 --seed 9", &format!("{model}-other")), sheet);
    }
    place.ok("collect shapes packed --size 16 --count 40");
    assert!(place.fails("denoise realnvp realnvp-3.png --noise 0.1 --out x").contains("invertible"));
}
