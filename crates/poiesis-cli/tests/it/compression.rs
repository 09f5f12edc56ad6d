//! Compression with real processes: what is compressed comes back, and only from its own model.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, parse, tiny};

#[test]
fn a_compressed_text_comes_back_byte_for_byte_and_only_from_its_own_model() {
    let place = Place::new();
    place.provide();
    place.ok(&tiny("char-rnn", "run", "--quiet"));
    place.ok(&tiny("char-rnn", "other", "--quiet --seed 1"));
    // Every byte there is, more than one stream long.
    let original: Vec<u8> = (0..40_000u32).map(|i| (i * i / 7) as u8).chain(0..=255).collect();
    fs::write(place.path("a.bin"), &original).unwrap();
    fs::write(place.path("windows.txt"), "\u{feff}one\r\ntwo\r\n").unwrap();
    place.ok("compress a.bin text.txt windows.txt --model run --out one.poi --threads 1");
    place.ok("compress a.bin text.txt windows.txt --model run --out two.poi --threads 2");
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert_eq!(read("one.poi"), read("two.poi"));
    place.ok("decompress one.poi --model run --out there");
    assert!(read("there/a.bin") == original && read("there/text.txt") == read("text.txt"));
    assert!(read("there/windows.txt") == read("windows.txt"));
    assert!(place.ok("decompress one.poi --list").contains("text.txt"));

    for folder in ["x", "y"] {
        fs::create_dir(place.path(folder)).unwrap();
        fs::write(place.path(&format!("{folder}/same.txt")), folder).unwrap();
    }
    place.ok("compress x/same.txt y/same.txt --model run --out both.poi");
    place.ok("decompress both.poi --model run --out apart");
    assert_eq!([read("apart/x/same.txt"), read("apart/y/same.txt")], [b"x", b"y"]);
    assert!(place.fails("compress x/same.txt ./x/same.txt --model run --out no.poi").contains("x/same.txt"));

    assert!(place.fails("decompress one.poi --model other --out elsewhere").contains("these are others"));
    assert!(place.fails("decompress one.poi --model run --out there").contains("exists"));
    let mut damaged = read("one.poi");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(place.path("bad.poi"), damaged).unwrap();
    assert!(place.fails("decompress bad.poi --model run --out elsewhere").contains("damaged"));
    assert!(!place.path("elsewhere").exists(), "nothing is written when something is wrong");
}

#[test]
fn compressed_sounds_and_images_come_back() {
    let place = Place::new();
    place.provide();
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    place.ok(&tiny("wavenet", "sound", "--quiet"));
    place.ok("compress clips/03.wav clips/07.wav --model sound --out clips.poi");
    place.ok("decompress clips.poi --model sound --out there");
    assert!(
        read("there/clips/03.wav") == read("clips/03.wav")
            && read("there/clips/07.wav") == read("clips/07.wav")
    );

    place.ok(&tiny("wavenet", "exact", "--quiet --set levels=65536"));
    place.ok("compress clips/03.wav clips/07.wav --model exact --out exact.poi");
    place.ok("decompress exact.poi --model exact --out exactly");
    assert!(
        read("exactly/clips/03.wav") == read("clips/03.wav")
            && read("exactly/clips/07.wav") == read("clips/07.wav")
    );
    assert!(place.fails("decompress exact.poi --model sound --out no").contains("exact"));

    place.ok(&tiny("pixelrnn", "images", "--quiet --set conditional=true"));
    place.ok("compress --split validation --images 3 --model images --out images.poi");
    place.ok("decompress images.poi --model images --out there");
    place.ok("compress there/validation/000001.png --model images --out one.poi");
    place.ok("decompress one.poi --model images --out again");
    assert_eq!(read("again/there/validation/000001.png"), read("there/validation/000001.png"));
    place.ok("compress there/validation/000001.png --class 2 --model images --out two.poi");
    assert_ne!(read("two.poi"), read("one.poi"));
    place.ok("decompress two.poi --model images --out third");
    assert_eq!(read("third/there/validation/000001.png"), read("again/there/validation/000001.png"));
    let said = place.fails("compress there/validation/000001.png --class 9 --model images --out no.poi");
    assert!(said.contains("called `9`"), "{said}");

    place.ok(&tiny("gated-pixelcnn", "levels", "--quiet"));
    let said = place.fails("compress there/validation/000001.png --model levels --out no.poi");
    assert!(said.contains("8 values only"), "{said}");
    for (what, hint) in [
        ("text.txt --model sound", "text.txt"),
        ("clips --model sound", "clips is a folder, and this model compresses 16-bit WAV files"),
        ("clips/ --model sound", "give the files in it: clips/*.wav"),
        ("there --model images", "give the files in it: there/*.png"),
        ("text.txt --model images", "this model compresses PNG images of 16×16 RGB"),
        ("sound clips/03.wav --model sound", "--model sound names the run with the model"),
    ] {
        let said = place.fails(&format!("compress {what} --out no.poi"));
        assert!(said.contains(hint), "{what}: {said}");
    }
    assert!(!place.path("no.poi").exists());
}

#[test]
fn images_compressed_by_latents_come_back_and_take_the_bound() {
    let place = Place::new();
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    place.ok(&tiny("vae", "run", "--quiet"));
    place.ok(&tiny("vae", "other", "--quiet --seed 1"));
    let told = parse(&place.ok("compress --split validation --model run --out all.poi --json --threads 1"));
    place.ok("compress --split validation --model run --out two.poi --threads 2");
    assert_eq!(read("all.poi"), read("two.poi"));
    let value = |key: &str| told[key].as_f64().unwrap();
    let taken = value("compressed_bytes") - value("header_bytes") - value("initial_bytes");
    let evaluate =
        "evaluate run --split validation --importance-samples 4 --samples 50 --directions 8 --json";
    let bound = parse(&place.ok(evaluate))["bound"]["bits_per_dim"].as_f64().unwrap();
    let taken = 8.0 * taken / value("original_bytes");
    assert!((taken / bound - 1.0).abs() < 0.01, "{taken} bits/dim for {bound}");
    let told = value("model_bits") / value("original_bytes");
    assert!((told / bound - 1.0).abs() < 0.01, "{told} bits/dim told for {bound}");
    let report = place.ok("compress --split validation --images 9 --model run --out nine.poi");
    assert!(report.contains("initial bits") && report.contains("bits/dim, the model's"), "{report}");

    place.ok("decompress all.poi --model run --out there --threads 2");
    let files = ["000000", "000007"].map(|name| format!("there/validation/{name}.png"));
    place.ok(&format!("compress {} {} --model run --out files.poi", files[0], files[1]));
    place.ok("decompress files.poi --model run --out again");
    for file in &files {
        assert_eq!(read(&format!("again/{file}")), read(file));
    }
    // The same images from their files take the same archive, but for the names.
    place.ok("decompress nine.poi --model run --out nine");
    assert_eq!(read("nine/validation/000007.png"), read(&files[1]));

    assert!(place.fails("decompress all.poi --model other --out no").contains("these are others"));
    let mut damaged = read("all.poi");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(place.path("bad.poi"), damaged).unwrap();
    assert!(place.fails("decompress bad.poi --model run --out no").contains("damaged"));
    assert!(place.fails("compress all.poi --model run --out no.poi").contains("all.poi"));
    assert!(!place.path("no").exists() && !place.path("no.poi").exists());
}

#[test]
fn a_model_that_lacks_a_part_of_compression_says_which() {
    let place = Place::new();
    place.ok(&tiny("vae", "planar", "--quiet --set flow=planar"));
    let said = place.fails("compress --split validation --model planar --out no.poi");
    assert!(said.contains("its posterior is a flow") && said.contains("vae.flow=none"), "{said}");
    place.ok(
        "train realnvp --data shapes --size 16 --set data.count=300 --set width=4 --set blocks=1 --batch-size 8 --steps 4 --out flow --quiet",
    );
    let said = place.fails("compress --split validation --model flow --out no.poi");
    assert!(said.contains("is not enough") && said.contains("gated-pixelcnn"), "{said}");
    place.ok(&tiny("draw", "draw", "--quiet"));
    let said = place.fails("compress --split validation --model draw --out no.poi");
    assert!(said.contains("2 values only"), "{said}");
    assert!(!place.path("no.poi").exists());
}
