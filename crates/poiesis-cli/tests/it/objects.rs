//! Scenes whose objects are known, and models that find them, with the real program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, tiny};
use poiesis::picture::{Picture, viewing_factor};
use serde_json::Value;

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn objects_are_found_and_drawn_beside_those_that_are_there() {
    let place = Place::new();
    place.ok(&tiny("air", "run", "--quiet"));
    let table = place.ok("discover objects run --count 6");
    assert!(
        table.starts_with("IMAGE") && table.contains("THERE") && table.contains("of 6 are counted"),
        "{table}"
    );
    let (picture, note) = Picture::read_png(&place.path(table.lines().last().unwrap())).unwrap();
    let cell = 2 * viewing_factor(12, 12) * 12 + 2;
    assert_eq!((picture.width(), picture.height()), (8 * cell + 2, 2 * cell + 2), "pairs of six images");
    let note = note.unwrap();
    assert!(note["verb"] == "discover objects" && note["boxes"] == "red: there, green: found", "{note}");

    // The same images as files, and one that is no image.
    let held = place.ok("discover objects run --count 1 --json --out one.png --scale 1");
    let held = parse(&held);
    assert_eq!(held["images"][0]["there"].as_array().unwrap().len() as u64, {
        let split = held["images"][0]["image"].as_str().unwrap();
        assert!(split.starts_with("validation "), "{split}");
        (held["measured"]["objects"].as_f64().unwrap()) as u64
    });
    Picture::new(12, 12, 1, (0..144).map(|i| if i % 12 > 5 { 250 } else { 0 }).collect())
        .write_png(&place.path("a.png"), None)
        .unwrap();
    fs::create_dir(place.path("images")).unwrap();
    fs::write(place.path("images/broken.png"), "no image").unwrap();
    let found = parse(&place.ok("discover objects run a.png images --json --out files.png"));
    assert_eq!(
        (found["images"].as_array().unwrap().len(), found["images"][0]["image"].as_str()),
        (1, Some("a.png"))
    );
    assert_eq!(found["skipped"][0]["file"], "images/broken.png");
    assert!(found["images"][0].get("there").is_none() && found["measured"].is_null(), "{found}");

    let said = place.ok("evaluate run --images 12 --samples 40");
    for part in ["objects (12 images", "% counted right", "intersection over union of boxes"] {
        assert!(said.contains(part), "{said}");
    }
    let said = place.fails("discover objects run nothing.png");
    assert!(said.contains("nothing.png does not exist"), "{said}");
    let said = place.fails("discover objects run --out one.png");
    assert!(said.contains("one.png exists"), "{said}");

    place.ok(&tiny("vae", "other", "--quiet"));
    let said = place.fails("discover objects other");
    assert!(said.contains("vae") && said.contains("objects") && said.contains("air"), "{said}");
}

#[test]
fn scenes_are_made_of_other_images_and_show_their_boxes() {
    let place = Place::new();
    place.ok("collect shapes small --size 10 --channels 1 --count 60");
    let summary = place.ok("collect small scattered --scatter --size 28 --objects 1..3 --count 50");
    for part in ["up to 3 in an image", "1 object ", "train air --data scattered"] {
        assert!(summary.contains(part), "{part}\n{summary}");
    }
    let card = parse(&place.ok("inspect scattered --json --verify --preview scattered.png"));
    assert_eq!((&card["shape"], &card["objects"]), (&serde_json::json!([28, 28, 1]), &serde_json::json!(3)));
    let (picture, _) = Picture::read_png(&place.path("scattered.png")).unwrap();
    let red = (0..picture.height())
        .flat_map(|y| (0..picture.width()).map(move |x| (x, y)))
        .filter(|&(x, y)| picture.pixel(x, y) == [230, 60, 50])
        .count();
    assert!(red > 1000, "{red} pixels of boxes");
    // Raw images are packed into the cache first, in their own size.
    let summary = place.ok("collect shapes others --scatter --size 70 --count 20");
    assert!(summary.contains("70×70") && summary.contains("up to 2 in an image"), "{summary}");

    for (arguments, part) in [
        ("collect shapes a --objects 0..2", "--objects"),
        ("collect small a --scatter --size 8", "--size"),
        ("collect small a --scatter --channels 3", "packed already"),
        ("collect small a --stack --objects 0..2", "packed already"),
        ("collect scenes a --objects 0..9", "--objects"),
        ("train air --data shapes --set data.objects=0..2 --dry-run", "data.objects"),
        ("train air --data scenes --set data.objects=two --dry-run", "data.objects"),
    ] {
        let said = place.fails(arguments);
        assert!(said.contains(part), "{arguments}: {said}");
    }
    assert!(!place.path("a").exists());
}
