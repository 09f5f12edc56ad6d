//! Runs of version 0.1.0: this version opens them, draws the same examples, trains them on to the same bytes and reads their
//! archives.
//!
//! `old_runs` holds three small runs of 20 steps with checkpoints after 10 and 20, trained by 0.1.0 with AVX2, what `sample --seed 3`
//! drew from each, and `text.txt` as `compress` made it with the transformer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::fs;
use std::path::{Path, PathBuf};

use poiesis::apply::compress::{Archive, decompress};
use poiesis::config::DataConfig;
use poiesis::data::{self, Places};
use poiesis::generate::Request;
use poiesis::media::Media;
use poiesis::picture::{self, Picture};
use poiesis::run::checkpoint::{self, Arrays, Checkpoint};
use poiesis::train::{self, Stop, TrainingData, train};
use poiesis::{Trained, catalogue};
use poiesis_collect::Dataset;
use poiesis_kernels::instruction_set;

const RUNS: [&str; 3] = ["dcgan", "vae", "transformer"];

/// Results of other instruction sets differ by rounding, which 20 steps make larger.
const TOLERANCE: f32 = 1e-3;

fn saved(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_runs").join(name)
}

/// Whether this process computes as the one that made the runs did.
fn same_instructions() -> bool {
    crate::compute_as_old_runs();
    if instruction_set() == "avx2" {
        return true;
    }
    println!(
        "compared within {TOLERANCE}: this processor has {}, the runs were made with avx2",
        instruction_set()
    );
    false
}

/// Whether this process trains as the one that made the runs did. On processors with AVX-512 the run with Muon, which multiplies by
/// Burn's own products, ends with other last bits, whatever our kernels are limited to.
fn same_training() -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        println!(
            "compared within {TOLERANCE}: products of Burn may round otherwise on this processor, which has AVX-512"
        );
        return false;
    }
    same_instructions()
}

fn open(name: &str) -> Trained {
    Trained::open(saved(name)).unwrap()
}

fn pictures(media: &[Media]) -> Picture {
    let images: Vec<&[u8]> = media.iter().map(|media| media.picture().unwrap().data()).collect();
    picture::grid(&images, 8, 8, 3, picture::columns(images.len()))
}

#[test]
fn samples_are_those_that_were_drawn_then() {
    let same = same_instructions();
    for name in ["dcgan", "vae"] {
        let drawn = open(name).generate_all(&Request { seed: 3, count: 4, ..Request::default() }).unwrap();
        let (grid, (then, _)) =
            (pictures(&drawn), Picture::read_png(&saved(&format!("{name}.png"))).unwrap());
        let most = if same { 0 } else { 2 };
        let near = grid.data().iter().zip(then.data()).all(|(&now, &then)| now.abs_diff(then) <= most);
        assert!(grid.data().len() == then.data().len() && near, "{name}");
    }
    let request = Request { seed: 3, count: 2, max_len: Some(40), ..Request::default() };
    let drawn = open("transformer").generate_all(&request).unwrap();
    let texts = drawn.iter().map(|media| match media {
        Media::Text(text) => text.as_slice(),
        other => panic!("{other:?} is no text"),
    });
    let all = texts.collect::<Vec<_>>().join(b"\n\n".as_slice());
    let then = fs::read(saved("transformer.txt")).unwrap();
    if same {
        assert_eq!(String::from_utf8_lossy(&all) + "\n", String::from_utf8_lossy(&then));
    } else {
        println!("texts are not compared: a draw can fall on the other side of a rounding");
    }
}

#[test]
fn an_archive_gives_back_its_text() {
    if !same_instructions() {
        println!("nothing is decompressed: archives need the instruction set that made them");
        return;
    }
    let archive = Archive::from_bytes(&fs::read(saved("text.poi")).unwrap()).unwrap();
    let documents = decompress(&open("transformer"), &archive, &mut |_, _| ()).unwrap();
    assert_eq!(documents[0].content, fs::read(saved("text.txt")).unwrap());
}

/// Copies a run as it was after ten steps.
fn after_ten(name: &str, to: &Path) {
    let step = "checkpoints/step-000000010";
    fs::create_dir_all(to.join(step)).unwrap();
    for entry in fs::read_dir(saved(name).join(step)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(step).join(entry.file_name())).unwrap();
    }
    fs::create_dir(to.join("samples")).unwrap();
    for file in ["config.toml", "metrics.jsonl", "run.json"] {
        fs::copy(saved(name).join(file), to.join(file)).unwrap();
    }
}

fn dataset_of(config: &DataConfig, root: &Path) -> Dataset {
    let places = Places { data_dir: root.to_owned(), cache: root.join("cache") };
    let text = config.source.ends_with("text.txt");
    let here = DataConfig { source: saved("text.txt").to_string_lossy().into_owned(), ..config.clone() };
    data::open(if text { &here } else { config }, &places, &|_| ()).unwrap()
}

#[test]
fn a_run_trained_on_ends_with_the_bytes_that_it_ended_with_then() {
    let same = same_training();
    for name in RUNS {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join(name);
        after_ten(name, &run);
        let config = catalogue::read_config(&fs::read_to_string(run.join("config.toml")).unwrap()).unwrap();
        let dataset = dataset_of(&config.data, root.path());
        let request = train::Request {
            ignore_memory: true,
            ..train::Request::new(run.clone(), config, TrainingData::of(&dataset).unwrap())
        };
        train(request, &Stop::default(), &mut |_| ()).unwrap();
        let last = |run: &Path| checkpoint::read(&run.join("checkpoints/step-000000020")).unwrap();
        expect_equal(name, &last(&run), &last(&saved(name)), same);
    }
}

fn expect_equal(name: &str, ours: &Checkpoint, theirs: &Checkpoint, same: bool) {
    // This version also says which checkpoint is the best.
    let about = |checkpoint: &Checkpoint| (checkpoint.state.model.clone(), checkpoint.state.step);
    assert_eq!(about(ours), about(theirs), "{name}");
    for (part, ours, theirs) in [
        ("model", &ours.model, &theirs.model),
        ("ema", &ours.ema, &theirs.ema),
        ("train", &ours.train, &theirs.train),
    ] {
        let names = |arrays: &Arrays| arrays.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(ours), names(theirs), "{name}: {part}");
        for (array, values) in ours {
            let then = &theirs[array].data;
            let largest = then.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * largest;
            let equal = if same { &values.data == then } else { values.data.iter().zip(then).all(near) };
            assert!(equal, "{name}: {array} of {part}");
        }
    }
}
