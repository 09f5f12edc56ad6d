//! What a user gets out of a model for examples of his own: scores, reconstructions, latents, features and arrays of NumPy, with the real
//! program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Place, parse, text, tiny, wav, words};
use poiesis::Trained;
use poiesis::apply::latents_file;
use poiesis::picture::{Picture, viewing_factor};
use poiesis_collect::{ArrayHeader, Dataset, Split};
use serde_json::Value;

/// Equal up to what JSON loses.
#[track_caller]
fn same(a: &Value, b: &Value) {
    near(a.as_f64().unwrap(), b.as_f64().unwrap());
}

/// Equal up to what numbers lose in a file.
#[track_caller]
fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * b.abs(), "{a} and {b}");
}

/// The records of a CSV, whose fields may have commas, quotes and line ends in quotes.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => field.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    records
}

/// The columns of a CSV by their names.
fn columns(path: &Path) -> Vec<(String, Vec<String>)> {
    let mut all = records(&fs::read_to_string(path).unwrap()).into_iter();
    let header = all.next().unwrap();
    let rows: Vec<Vec<String>> = all.collect();
    let column = |at: usize| rows.iter().map(|row| row[at].clone()).collect();
    header.into_iter().enumerate().map(|(at, name)| (name, column(at))).collect()
}

fn column(path: &Path, name: &str) -> Vec<String> {
    let all = columns(path);
    let found = all.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("there is no column {name} in {}", path.display())).1.clone()
}

fn numbers(path: &Path, name: &str) -> Vec<f64> {
    column(path, name).iter().map(|number| number.parse().unwrap()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The header and the values of an array of NumPy.
fn array(path: &Path) -> (ArrayHeader, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let header = ArrayHeader::read(&mut rest, path).unwrap();
    assert_eq!(header.start % 64, 0);
    (header, rest.to_vec())
}

/// A nearly flat image of 16×16 pixels.
fn flat(path: &Path, level: u8, number: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixel = |i: usize| level + ((i * 7 + number * 13) % 30) as u8;
    Picture::new(16, 16, 1, (0..256).map(pixel).collect()).write_png(path, None).unwrap();
}

/// Forty grey images in folders of two classes, and a model of those.
fn photos(place: &Place, model: &str, settings: &str) {
    for number in 0..40 {
        let (name, level) = if number % 2 == 0 { ("dark", 20) } else { ("bright", 180) };
        flat(&place.path(&format!("photos/{name}/{number:02}.png")), level, number);
    }
    place.ok(&format!(
        "train {model} --data photos {settings} --batch-size 8 --steps 20 --set sample_frames=0 --quiet --out run"
    ));
}

const SMALL_VAE: &str = "--set width=4 --set latent_dim=4 --set blocks=0";

#[test]
fn the_mean_of_scores_is_what_evaluate_measures() {
    let place = Place::new();
    place.ok(&tiny("vae", "vae", "--quiet"));
    let evaluated = parse(
        &place.ok("evaluate vae --importance-samples 3 --images 17 --samples 20 --directions 4 --json"),
    );
    let scored = parse(&place.ok("score vae --importance-samples 3 --count 17 --csv vae.csv --json"));
    assert_eq!((&scored["measure"]["name"], &scored["measure"]["exact"]), (&"bound".into(), &false.into()));
    assert_eq!(scored["protocol"]["as_evaluate"], true);
    assert_eq!(scored["examples"].as_array().unwrap().len(), 17);
    same(&scored["mean"]["nats"], &evaluated["bound"]["nats"]);
    same(&scored["mean"]["nats_error"], &evaluated["bound"]["nats_error"]);
    same(&scored["mean"]["bits_per_dim"], &evaluated["bound"]["bits_per_dim"]);
    let csv = place.path("vae.csv");
    assert!((mean(&numbers(&csv, "bound_nats")) - scored["mean"]["nats"].as_f64().unwrap()).abs() < 1e-6);
    let weighted = evaluated["bound"]["weighted_nats"].as_f64().unwrap();
    assert!((mean(&numbers(&csv, "weighted_bound_nats")) - weighted).abs() < 1e-6);
    let first = &scored["examples"][0];
    assert!(first["name"].as_str().unwrap().starts_with("validation "), "{first}");
    assert!(first["class"].is_string() && column(&csv, "class")[0] == first["class"], "{first}");

    place.ok(&tiny("gated-pixelcnn", "pixels", "--quiet"));
    let evaluated = parse(&place.ok("evaluate pixels --samples 2 --directions 2 --images 9 --json"));
    let scored = parse(&place.ok("score pixels --count 9 --json"));
    assert_eq!((&scored["measure"]["name"], &scored["measure"]["exact"]), (&"nll".into(), &true.into()));
    same(&scored["mean"]["nats"], &evaluated["image_nll"]["nats"]);
    same(&scored["mean"]["bits_per_dim"], &evaluated["image_nll"]["bits_per_dim"]);

    place.ok(
        "train realnvp --data rings --set data.count=300 --set hidden_dim=8 --set couplings=2 --batch-size 8 \
              --steps 20 --quiet --out points",
    );
    let evaluated = parse(&place.ok("evaluate points --json"));
    let scored = parse(&place.ok("score points --json"));
    same(&scored["mean"]["nats"], &evaluated["point_nll"]["nats"]);
    assert!(place.ok("score points").contains("bits/dim"));
}

/// The mean of the first scores of tokens is what `evaluate` measures, which leaves out what does not fill a window.
#[track_caller]
fn expect_tokens_as_evaluated(place: &Place, run: &str) {
    let evaluated = parse(&place.ok(&format!("evaluate {run} --split validation --json")));
    let scored = parse(&place.ok(&format!("score {run} --split validation --per-token {run}.csv --json")));
    let nll = &evaluated["token_nll"];
    let (tokens, nats) = (nll["tokens"].as_u64().unwrap() as usize, nll["nats"].as_f64().unwrap());
    let each = numbers(&place.path(&format!("{run}.csv")), "nats");
    assert!(each.len() >= tokens && each.len() - tokens <= nll["stride"].as_u64().unwrap() as usize);
    assert!((mean(&each[..tokens]) - nats).abs() < 1e-9 * nats, "{} {nats}", mean(&each[..tokens]));
    // The scores of the examples are the sums.
    let total: f64 = scored["examples"].as_array().unwrap().iter().map(|e| e["nats"].as_f64().unwrap()).sum();
    assert!((total - each.iter().sum::<f64>()).abs() < 1e-6 * total.abs());
    let per_token = scored["mean"]["nats_per_token"].as_f64().unwrap();
    assert!((per_token - mean(&each)).abs() < 1e-9 * per_token);
    assert_eq!(scored["protocol"]["window"], nll["window"]);
}

#[test]
fn tokens_are_scored_as_evaluate_reads_them() {
    let place = Place::new();
    place.provide();
    place.ok(&tiny("transformer", "text", "--quiet"));
    expect_tokens_as_evaluated(&place, "text");
    place.ok(&tiny("wavenet", "sound", "--quiet"));
    expect_tokens_as_evaluated(&place, "sound");
    // Several documents, with classes.
    for number in 0..24 {
        let class = if number % 2 == 0 { "even" } else { "odd" };
        fs::create_dir_all(place.path(&format!("texts/{class}"))).unwrap();
        let words = format!("{class} number {number} of some texts").repeat(1 + number % 3);
        fs::write(place.path(&format!("texts/{class}/{number:02}.txt")), words).unwrap();
    }
    place.ok(
        "train transformer --data texts --set width=16 --set layers=1 --set heads=2 --set context=16 \
         --set data.vocabulary=characters --set data.holdout=0.3 --batch-size 8 --steps 10 --set sample_frames=0 --set sample_count=1 --quiet --out texts-run",
    );
    expect_tokens_as_evaluated(&place, "texts-run");
    let read = |more: &str| parse(&place.ok(&format!("score texts-run --split validation {more} --json")));
    let (running, alone) = (read(""), read("--alone"));
    assert_eq!(running["examples"].as_array().unwrap().len(), alone["examples"].as_array().unwrap().len());
    assert_eq!(alone["protocol"]["as_evaluate"], false);
    assert_ne!(running["mean"]["nats"], alone["mean"]["nats"], "a document sees the one before it");
    let tokens = |scored: &Value| scored["examples"][1]["tokens"].as_u64().unwrap();
    assert_eq!(tokens(&running), tokens(&alone) + 1, "the token at which a document begins is predicted too");
    assert_eq!(running["examples"][1]["characters"], alone["examples"][1]["characters"]);

    // Files have the class of their folder, or that of --class; a document is scored by itself.
    let folder = parse(&place.ok("score texts-run texts --json"));
    assert_eq!(folder["examples"].as_array().unwrap().len(), 24);
    assert_eq!([&folder["examples"][0]["class"], &folder["examples"][12]["class"]], ["even", "odd"]);
    let alone = parse(&place.ok("score texts-run texts/odd/01.txt --json"));
    let named = parse(&place.ok("score texts-run texts/odd/01.txt --class odd --json"));
    let other = parse(&place.ok("score texts-run texts/odd/01.txt --class even --json"));
    assert_eq!(alone["mean"]["nats"], named["mean"]["nats"], "the class is that of the folder");
    assert_ne!(named["mean"]["nats"], other["mean"]["nats"]);
    place.ok("score texts-run texts/odd/03.txt texts/odd/01.txt --class odd --csv two.csv");
    let names = column(&place.path("two.csv"), "name");
    assert_eq!(names, ["texts/odd/03.txt", "texts/odd/01.txt"], "in the order given");
    let second = numbers(&place.path("two.csv"), "nll_nats")[1];
    near(named["mean"]["nats"].as_f64().unwrap(), second);
    same(&folder["examples"][12]["nats"], &named["mean"]["nats"]);

    fs::write(place.path("outside.txt"), "even é").unwrap();
    let said = place.fails("score texts-run outside.txt --class even");
    assert!(said.contains("outside.txt cannot be used") && said.contains("'é' (U+00E9) at byte 5"), "{said}");
    fs::write(place.path("empty.txt"), "").unwrap();
    let output = place.run(&words("score texts-run empty.txt texts/odd/01.txt --class odd"));
    assert!(text(&output.stderr).contains("skipped empty.txt: it is empty"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("1 skipped\n"), "{}", text(&output.stdout));
    let said = place.fails("score texts-run clips");
    assert!(said.contains("clips holds no text") && said.contains("files, folders"), "{said}");
}

#[test]
fn lines_records_and_tables_are_scored_one_by_one() {
    let place = Place::new();
    let names: String =
        (0..60).map(|i| format!("name{}\n", ["a", "bb", "cab"][i % 3].repeat(1 + i % 4))).collect();
    fs::write(place.path("names.txt"), names).unwrap();
    place.ok(
        "train char-rnn --data names.txt --set data.documents=lines --set data.vocabulary=characters --set width=8 \
         --set context=8 --batch-size 8 --steps 10 --set sample_frames=0 --set sample_count=1 --quiet --out run",
    );
    fs::write(place.path("few.txt"), "namea\n\nnamebb\n").unwrap();
    fs::write(place.path("few.jsonl"), "{\"text\": \"namebb\"}\n").unwrap();
    place.ok("score run few.txt few.jsonl --csv few.csv");
    let csv = place.path("few.csv");
    assert_eq!(column(&csv, "name"), ["few.txt:1", "few.txt:3", "few.jsonl:1:1"]);
    assert_eq!(column(&csv, "characters"), ["5", "6", "6"]);
    let nats = numbers(&csv, "nll_nats");
    assert_eq!(nats[1], nats[2], "the same text");
    assert_ne!(nats[0], nats[1]);
    let bits = numbers(&csv, "bits_per_character");
    assert!((bits[0] - nats[0] / (5.0 * std::f64::consts::LN_2)).abs() < 1e-9);

    let rows: String = (0..60).map(|i| format!("{}.5,{}\n", i % 7, i % 5)).collect();
    fs::write(place.path("table.csv"), format!("x,y\n{rows}")).unwrap();
    place.ok("train realnvp --data table.csv --set hidden_dim=8 --set couplings=2 --batch-size 8 --steps 10 --quiet --out points");
    fs::write(place.path("mine.csv"), "x,y\n1,2\n1,much\n3,4\n").unwrap();
    let scored = parse(&place.ok("score points mine.csv --json"));
    let names: Vec<&str> =
        scored["examples"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["mine.csv:2", "mine.csv:4"]);
    assert!(scored["skipped"][0]["reason"].as_str().unwrap().contains("`much`"), "{scored}");
    fs::write(place.path("wide.csv"), "1,2,3\n4,5,6\n").unwrap();
    let said = text(&place.run(&words("score points wide.csv")).stderr);
    assert!(said.contains("it has 3 columns, and a point of the model has 2 columns (x, y)"), "{said}");
    // Alone and beside others.
    fs::write(place.path("one.csv"), "x,y\n3,4\n").unwrap();
    let one = parse(&place.ok("score points one.csv --json"));
    assert_eq!(one["examples"][0]["nats"], scored["examples"][1]["nats"]);
}

#[test]
fn images_and_data_sets_of_ones_own_are_scored_and_what_is_wrong_is_said() {
    let place = Place::new();
    photos(&place, "vae", SMALL_VAE);
    let scored = parse(&place.ok("score run photos/bright photos/dark/00.png --csv own.csv --json"));
    let names = column(&place.path("own.csv"), "name");
    assert_eq!(
        (names.len(), names[0].as_str(), names[20].as_str()),
        (21, "photos/bright/01.png", "photos/dark/00.png")
    );
    assert_eq!(scored["protocol"]["split"], Value::Null);
    // The noise of an image depends on its content, so the order does not matter.
    place.ok("score run photos/dark/00.png photos/bright/01.png --csv turned.csv");
    let (own, turned) =
        (numbers(&place.path("own.csv"), "bound_nats"), numbers(&place.path("turned.csv"), "bound_nats"));
    assert_eq!([own[20], own[0]], turned[..]);
    assert_ne!(
        parse(&place.ok("score run photos/dark/00.png --seed 1 --json"))["mean"]["nats"].as_f64(),
        Some(turned[0])
    );
    let classes = parse(&place.ok("score run photos --json"));
    assert_eq!(classes["examples"][0]["class"], "bright", "that of its folder");

    place.ok("collect photos packed");
    place.ok("collect photos small --size 8");
    let all = parse(&place.ok("score run packed --json"));
    assert_eq!(all["examples"].as_array().unwrap().len(), 40, "all splits");
    let some = parse(&place.ok("score run packed --split train --count 5 --json"));
    assert_eq!(some["examples"].as_array().unwrap().len(), 5);
    assert!(some["examples"][0]["name"].as_str().unwrap().starts_with("packed: train "), "{some}");

    place.ok(&tiny("dcgan", "gan", "--quiet"));
    fs::write(place.path("broken.png"), b"\x89PNG but no more").unwrap();
    let output = place.run(&words("score run broken.png photos/dark/00.png"));
    assert!(output.status.success() && text(&output.stderr).contains("skipped broken.png"));
    for (arguments, parts) in [
        ("score gan", vec!["gives no likelihood", "vae"]),
        ("score run small", vec!["small cannot be used", "images of 8×8 with 1 channels", "16×16"]),
        ("score run none.png", vec!["none.png does not exist", "packed data sets"]),
        ("score run broken.png", vec!["no images to score", "files, folders"]),
        ("score run packed --split test", vec!["test", "--split"]),
        ("score run --split test", vec!["test"]),
        ("score run photos --count 3", vec!["--count", "files"]),
        ("score run photos --class dark", vec!["--class"]),
        ("score run --alone", vec!["--alone"]),
        ("score run --per-token t.csv", vec!["--per-token"]),
        ("score run photos --csv own.csv", vec!["own.csv exists", "--force"]),
    ] {
        let said = text(&place.run(&words(arguments)).stderr);
        place.fails(arguments);
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments}\n{said}");
    }
    place.ok("score run photos --csv own.csv --force");
    assert_eq!(numbers(&place.path("own.csv"), "bound_nats").len(), 40);
}

#[test]
fn an_image_without_a_class_is_no_image_of_a_class() {
    let place = Place::new();
    photos(
        &place,
        "gated-pixelcnn",
        "--set width=6 --set layers=2 --set head=6 --set levels=8 --set conditional=true",
    );
    let folder = parse(&place.ok("score run photos --json"));
    assert_eq!(folder["examples"].as_array().unwrap().len(), 40);
    let named = |class: &str| {
        parse(&place.ok(&format!("score run photos/dark/00.png --class {class} --json")))["mean"]["nats"]
            .clone()
    };
    assert_ne!(named("dark"), named("bright"));
    let twentieth = &folder["examples"][20];
    assert!(twentieth["name"].as_str().unwrap().ends_with("photos/dark/00.png"), "{twentieth}");
    same(&named("dark"), &twentieth["nats"]);
    same(&parse(&place.ok("score run photos/dark/00.png --json"))["mean"]["nats"], &named("dark"));

    fs::copy(place.path("photos/dark/00.png"), place.path("any.png")).unwrap();
    let scored = parse(&place.ok("score run any.png photos/dark/00.png --json"));
    let conditions = [0, 1].map(|at| scored["examples"][at]["condition"].as_str().unwrap());
    assert_eq!(conditions, ["mixture", "class"]);
    same(&scored["examples"][1]["nats"], &named("dark"));
    let run = parse(&fs::read_to_string(place.path("run/run.json")).unwrap());
    let counts = [0, 1].map(|class| run["data"]["class_counts"][class].as_f64().unwrap());
    let log_joint = ["bright", "dark"].map(|class| -named(class).as_f64().unwrap());
    let most = log_joint[0].max(log_joint[1]);
    let sum: f64 =
        (0..2).map(|class| counts[class] / (counts[0] + counts[1]) * (log_joint[class] - most).exp()).sum();
    let expected = -(most + sum.ln());
    assert!(
        (scored["examples"][0]["nats"].as_f64().unwrap() - expected).abs() < 1e-9 * expected.abs(),
        "{scored}"
    );
    assert!(place.fails("score run any.png --class bird").contains("bird"));
    place.ok("collect photos packed");
    assert!(place.ok("score run packed --split validation").contains("CLASS"));
}

#[test]
fn images_stand_above_their_reconstructions() {
    let place = Place::new();
    photos(&place, "vae", SMALL_VAE);
    let said = place.ok("reconstruct run photos/dark/00.png photos/bright/01.png --scale 1 --out pair.png");
    assert!(said.contains("DIFFERENCE") && said.contains("NATS") && said.ends_with("pair.png\n"), "{said}");
    let (picture, parameters) = Picture::read_png(&place.path("pair.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (2 * 18 + 2, 2 * 18 + 2), "a row of images, a row below");
    assert_eq!(parameters.unwrap()["verb"], "reconstruct");
    let original = Picture::read_png(&place.path("photos/bright/01.png")).unwrap().0;
    let cell = |column: usize, row: usize| -> Vec<u8> {
        let at = |y: usize, x: usize| picture.pixel(2 + 18 * column + x, 2 + 18 * row + y)[0];
        (0..16).flat_map(|y| (0..16).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect()
    };
    assert_eq!(cell(1, 0), original.data());
    // What is below is what encode and decode make, and the numbers are those of the picture.
    place.ok("encode run photos/dark/00.png photos/bright/01.png --out z.npy");
    place.ok("decode run z.npy --out again");
    for index in 0..2 {
        let again = Picture::read_png(&place.path(&format!("again/{index:06}.png"))).unwrap().0;
        assert_eq!(cell(index, 1), again.data(), "{index}");
    }
    let found =
        parse(&place.ok("reconstruct run photos/dark/00.png photos/bright/01.png --json --out other.png"));
    let differences = cell(1, 0).iter().zip(cell(1, 1)).map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>();
    let difference = found["images"][1]["difference"].as_f64().unwrap();
    assert!((difference - differences / 256.0).abs() < 1e-9, "{difference}");
    let scored = parse(&place.ok("score run photos/bright/01.png --json"));
    assert_eq!(found["images"][1]["nats"], scored["examples"][0]["nats"], "as score gives it");

    // Draws of the posterior are rows of their own, and the same for the same seed.
    let draw = |seed: u32, out: &str| {
        place.ok(&format!("reconstruct run --count 4 --draws 2 --seed {seed} --scale 1 --out {out}"));
        fs::read(place.path(out)).unwrap()
    };
    assert_eq!(draw(1, "a.png"), {
        place.ok("reconstruct run --count 4 --draws 2 --seed 1 --scale 1 --threads 1 --out b.png");
        fs::read(place.path("b.png")).unwrap()
    });
    draw(2, "c.png");
    let pixels = |name: &str| Picture::read_png(&place.path(name)).unwrap().0;
    assert_ne!(pixels("a.png"), pixels("c.png"), "another seed draws other latents");
    let drawn = pixels("a.png");
    assert_eq!(
        (drawn.width(), drawn.height()),
        (4 * 18 + 2, 4 * 18 + 2),
        "images, reconstructions and two draws"
    );

    // A model without an encoder: its own samples are found again.
    place.ok(&tiny("dcgan", "gan", "--quiet --set ema_decay=0.0"));
    place.ok("sample gan --count 2 --out drawn/");
    let found = parse(&place.ok("reconstruct gan drawn --json --out gan.png"));
    assert_eq!((&found["inverted"], &found["images"][0]["nats"]), (&true.into(), &Value::Null));
    assert!(found["images"][0]["difference"].as_f64().unwrap() < 2.0, "{found}");
    assert!(!place.ok("reconstruct gan drawn --out again.png").contains("NATS"));
    place.ok(&tiny("pixelcnn", "pixels", "--quiet"));
    for (arguments, parts) in [
        ("reconstruct pixels", ["cannot decode", "vae"]),
        ("reconstruct gan drawn --draws 2", ["--draws", "no posterior"]),
        ("reconstruct run --class dark", ["--class", "own data"]),
        ("reconstruct gan drawn --importance-samples 2", ["--importance-samples", "no bound"]),
        ("reconstruct run --starts 2", ["--starts", "--invert"]),
        ("reconstruct run --out pair.png", ["pair.png exists", "--force"]),
        ("reconstruct run none.png", ["none.png", "does not exist"]),
    ] {
        let said = text(&place.run(&words(arguments)).stderr);
        place.fails(arguments);
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments}\n{said}");
    }
}

#[test]
fn latents_and_features_have_the_names_of_their_images_beside_them() {
    let place = Place::new();
    photos(&place, "vae", SMALL_VAE);
    place.ok("encode run photos --out z.npy");
    let csv = place.path("z.csv");
    assert_eq!(
        columns(&csv).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["row", "name", "class", "psnr", "norm"]
    );
    assert_eq!(column(&csv, "name")[0], "photos/bright/01.png");
    assert_eq!(numbers(&csv, "row"), (0..40).map(f64::from).collect::<Vec<_>>());
    let (header, values) = array(&place.path("z.npy"));
    assert_eq!((header.kind.as_str(), header.shape, values.len()), ("<f4", vec![40, 4], 40 * 4 * 4));
    // Python's own file, without anything beside it, is decoded alike.
    fs::copy(place.path("z.npy"), place.path("mine.npy")).unwrap();
    place.ok("decode run z.npy --out a.png");
    place.ok("decode run mine.npy --out b.png");
    let pixels = |name: &str| Picture::read_png(&place.path(name)).unwrap().0;
    assert_eq!(pixels("a.png"), pixels("b.png"));
    // A packed data set is given like files.
    place.ok("collect photos packed --holdout 0");
    place.ok("encode run packed --out packed.npy");
    assert_eq!(array(&place.path("packed.npy")).0.shape, [40, 4]);
    assert!(column(&place.path("packed.csv"), "name")[0].starts_with("packed: train 0"));
    let said = place.fails("encode run packed --out packed.npy");
    assert!(said.contains("packed.npy exists"), "{said}");
    fs::rename(place.path("packed.npy"), place.path("kept.npy")).unwrap();
    fs::remove_file(place.path("packed.json")).unwrap();
    assert!(place.fails("encode run packed --out packed.npy").contains("packed.csv exists"));
    place.ok("collect photos small --size 8");
    let said = place.fails("encode run small --out small.npy");
    assert!(said.contains("small holds images of 8×8 grey") && said.contains("16×16 grey"), "{said}");

    let said = place.ok("encode run photos --of features --out f.safetensors");
    assert!(said.starts_with("40 images as features of 4 values\n"), "{said}");
    let said = place.fails("decode run f.safetensors");
    assert!(said.contains("holds features"), "{said}");
    place.ok("encode run photos --of features --out f.npy");
    assert!(place.fails("decode run f.npy").contains("holds features"));
    assert!(place.fails("encode run photos --of features --invert --out g.npy").contains("--invert"));
    place.ok(&tiny("dcgan", "gan", "--quiet"));
    place.ok("sample gan --count 3 --out drawn/");
    let found = parse(&place.ok("encode gan drawn --of features --out gan.npy --json"));
    assert_eq!(array(&place.path("gan.npy")).0.shape[1] as u64, found["features"].as_u64().unwrap());
    place.ok(&tiny("pixelcnn", "pixels", "--quiet"));
    assert!(place.fails("encode pixels photos --of features").contains("features"));
    // The latents of the file are those in memory.
    let trained = Trained::open(place.path("run")).unwrap();
    let read = latents_file::read(&place.path("z.npy"), trained.latents().unwrap().latent_dim()).unwrap();
    assert_eq!(read.of.unwrap().fingerprint, trained.fingerprint());
}

#[test]
fn samples_are_arrays_of_numpy() {
    let place = Place::new();
    place.provide();
    place.ok(&tiny("dcgan", "gan", "--quiet"));
    place.ok("sample gan --count 5 --seed 3 --out s.npy");
    place.ok("sample gan --count 5 --seed 3 --out folder/");
    let (header, values) = array(&place.path("s.npy"));
    assert_eq!((header.kind.as_str(), header.fortran, header.shape), ("|u1", false, vec![5, 16, 16, 3]));
    for (index, image) in values.chunks(16 * 16 * 3).enumerate() {
        let picture = Picture::read_png(&place.path(&format!("folder/{index:06}.png"))).unwrap().0;
        assert_eq!(image, picture.data(), "{index}");
    }
    assert!(place.fails("sample gan --count 5 --out s.npy").contains("s.npy exists"));
    for flag in ["--columns 2", "--scale 2", "--no-metadata", "--steps"] {
        let said = place.fails(&format!("sample gan {flag} --out t.npy"));
        assert!(said.contains(flag.split(' ').next().unwrap()) && said.contains("NumPy"), "{said}");
    }
    // What is sampled can be collected again.
    assert!(place.ok("collect s.npy again --holdout 0").contains("16×16 RGB"));

    place.ok(&tiny("gan", "points", "--quiet"));
    place.ok("sample points --count 7 --out p.npy");
    place.ok("sample points --count 7 --out p.csv");
    let (header, values) = array(&place.path("p.npy"));
    assert_eq!((header.kind.as_str(), header.shape), ("<f4", vec![7, 2]));
    let floats: Vec<f32> = values.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let text = fs::read_to_string(place.path("p.csv")).unwrap();
    let written: Vec<f32> = text.split([',', '\n']).filter_map(|number| number.parse().ok()).collect();
    assert_eq!(floats, written);

    place.ok(&tiny("wavenet", "sound", "--quiet"));
    place.ok("sample sound --count 2 --length 0.02 --out w.npy");
    let (header, values) = array(&place.path("w.npy"));
    assert_eq!((header.kind.as_str(), header.shape[0], header.shape[2]), ("<i2", 2, 1));
    assert_eq!(values.len(), 2 * 2 * header.shape[1]);

    place.ok(&tiny("transformer", "text", "--quiet"));
    let said = place.fails("sample text --count 2 --out t.npy");
    assert!(said.contains("t.npy") && said.contains(".txt or .jsonl"), "{said}");
    place.ok("sample text --count 3 --length 20 --out t.jsonl");
    let lines = fs::read_to_string(place.path("t.jsonl")).unwrap();
    let records: Vec<Value> = lines.lines().map(parse).collect();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record["text"].is_string()), "{lines}");

    expect_numpy_reads(&place, &["s.npy", "p.npy", "w.npy"]);
}

/// NumPy reads the arrays as what they are, where there is one.
fn expect_numpy_reads(place: &Place, names: &[&str]) {
    let listed = std::env::var_os("POIESIS_PYTHON");
    let usual = || ["python3", "python"].map(PathBuf::from).to_vec();
    let candidates = listed.map_or_else(usual, |listed| std::env::split_paths(&listed).collect());
    let has = |python: &PathBuf| {
        let output = Command::new(python).args(["-c", "import numpy"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(python) = candidates.into_iter().find(has) else {
        println!("left out: no Python with numpy here; POIESIS_PYTHON names one");
        return;
    };
    let script = "import numpy, sys\n\
                  for name in sys.argv[1:]:\n    a = numpy.load(name)\n    print(a.dtype, *a.shape, a.ravel()[-1])";
    let output = Command::new(python)
        .args(["-c", script])
        .args(names.iter().map(|name| place.path(name)))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    for (line, name) in said.lines().zip(names) {
        let (header, values) = array(&place.path(name));
        let last = match header.kind.as_str() {
            "|u1" => f64::from(values[values.len() - 1]),
            "<i2" => f64::from(i16::from_le_bytes(values[values.len() - 2..].try_into().unwrap())),
            _ => f64::from(f32::from_le_bytes(values[values.len() - 4..].try_into().unwrap())),
        };
        let found: Vec<&str> = line.split(' ').collect();
        let kind = match header.kind.as_str() {
            "|u1" => "uint8",
            "<i2" => "int16",
            _ => "float32",
        };
        let shape: Vec<String> = header.shape.iter().map(usize::to_string).collect();
        assert_eq!(
            (found[0], &found[1..found.len() - 1]),
            (kind, &shape.iter().map(String::as_str).collect::<Vec<_>>()[..])
        );
        let read: f64 = found[found.len() - 1].parse().unwrap();
        assert!((read - last).abs() <= 1e-6 * last.abs().max(1.0), "{read} {last}");
    }
    assert_eq!(said.lines().count(), names.len());
}

#[test]
fn the_way_between_ones_own_images_is_shown() {
    let place = Place::new();
    photos(&place, "vae", SMALL_VAE);
    let (a, b, c) = ("photos/dark/00.png", "photos/bright/01.png", "photos/dark/02.png");
    let said = place
        .ok(&format!("discover interpolate run --from {a} --to {b} {c} --steps 4 --scale 1 --out walk.png"));
    assert!(said.contains("PSNR") && said.contains(b) && said.ends_with("walk.png\n"), "{said}");
    let (picture, parameters) = Picture::read_png(&place.path("walk.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (6 * 18 + 2, 2 * 18 + 2), "two rows from image to image");
    assert_eq!(parameters.unwrap()["images"].as_array().unwrap().len(), 3);
    let cell = |column: usize, row: usize| -> Vec<u8> {
        let at = |y: usize, x: usize| picture.pixel(2 + 18 * column + x, 2 + 18 * row + y)[0];
        (0..16).flat_map(|y| (0..16).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect()
    };
    for (column, row, file) in [(0, 0, a), (5, 0, b), (0, 1, b), (5, 1, c)] {
        let original = Picture::read_png(&place.path(file)).unwrap().0;
        assert_eq!(cell(column, row), original.data(), "{file}");
    }
    // The ends of a way are the reconstructions.
    place.ok(&format!("reconstruct run {a} {b} {c} --scale 1 --out sheet.png"));
    let sheet = Picture::read_png(&place.path("sheet.png")).unwrap().0;
    assert_eq!(sheet.width(), 3 * 18 + 2);
    let below = |column: usize| -> Vec<u8> {
        let at = |y: usize, x: usize| sheet.pixel(2 + 18 * column + x, 20 + y)[0];
        (0..16).flat_map(|y| (0..16).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect()
    };
    for (column, row, image) in [(1, 0, 0), (4, 0, 1), (1, 1, 1), (4, 1, 2)] {
        let apart = cell(column, row).iter().zip(below(image)).map(|(a, b)| a.abs_diff(b)).max();
        assert!(apart <= Some(1), "{column} {row} {apart:?}");
    }
    place.ok(&format!("discover interpolate run --from {a} --to {b} {c} --steps 4 --out walk.gif"));
    place.ok("discover interpolate run --rows 3 --steps 4 --out samples.gif");
    for name in ["walk.gif", "samples.gif"] {
        let bytes = fs::read(place.path(name)).unwrap();
        assert!(bytes.starts_with(b"GIF89a") && bytes.len() > 500, "{name}");
    }
    // A GAN finds the latents by a search.
    place.ok(&tiny("dcgan", "gan", "--quiet"));
    place.ok("sample gan --count 2 --out drawn/");
    place.ok("discover interpolate gan --from drawn/000000.png --to drawn/000001.png --iterations 20 --out gan.png");
    let factor = viewing_factor(16, 16);
    assert_eq!(Picture::read_png(&place.path("gan.png")).unwrap().0.width(), factor * (12 * 18 + 2));
    for (arguments, parts) in [
        (
            "discover interpolate run --from photos/dark --to photos/bright/01.png",
            ["holds 20 images", "--from A.png"],
        ),
        (
            "discover interpolate run --from none.png --to photos/bright/01.png",
            ["none.png", "does not exist"],
        ),
        ("discover interpolate run --starts 3", ["--starts", "--from"]),
        ("discover interpolate run --from run/run.json --to photos/bright/01.png", ["could be read", "PNG"]),
    ] {
        let said = text(&place.run(&words(arguments)).stderr);
        place.fails(arguments);
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments}\n{said}");
    }
    for arguments in
        ["discover interpolate run --from a.png", "discover interpolate run --from a.png --to b.png --rows 2"]
    {
        assert_eq!(place.run(&words(arguments)).status.code(), Some(2), "{arguments}");
    }
}

#[test]
fn clips_of_ones_own_are_brought_to_the_rate_of_the_model() {
    let place = Place::new();
    place.provide();
    place.ok(&tiny("wavenet", "sound", "--quiet"));
    let said = place.ok("score sound clips --csv clips.csv");
    assert!(said.contains("bits/sample"), "{said}");
    let csv = place.path("clips.csv");
    assert_eq!(column(&csv, "samples")[..2], ["400".to_owned(), "410".to_owned()]);
    fs::write(place.path("mine.wav"), wav(&[1000; 300])).unwrap();
    let mine = parse(&place.ok("score sound mine.wav --json"));
    assert_eq!(mine["examples"][0]["samples"], 300);
    // Whatever else is scored with it.
    let first = numbers(&csv, "nll_nats")[0];
    let alone = parse(&place.ok("score sound clips/00.wav --json"));
    near(alone["examples"][0]["nats"].as_f64().unwrap(), first);
    let said = place.fails("score sound text.txt");
    assert!(said.contains("text.txt holds no sound"), "{said}");
    let dataset = place.ok("collect clips packed --holdout 0");
    assert!(dataset.contains("12"), "{dataset}");
    let packed = parse(&place.ok("score sound packed --json"));
    near(packed["examples"][0]["nats"].as_f64().unwrap(), first);
    let view = Dataset::open(&place.path("packed")).unwrap().stream(Split::Train).unwrap();
    assert_eq!(view.documents(), 12);
}
