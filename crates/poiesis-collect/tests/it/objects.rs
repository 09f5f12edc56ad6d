//! Scenes with a box around each object: made by code, and of scattered images.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use poiesis_collect::{Dataset, Error, Options, Split, View, collect, preview, scatter};

fn scenes(out: &Path, options: &Options) -> Dataset {
    collect(Path::new("scenes"), out, options, &|_| ()).unwrap();
    Dataset::open(out).unwrap()
}

/// Checks that all that is bright in image `i` lies in a box, and that each box has something bright at each of its sides, within `room`
/// pixels.
fn expect_boxes_around_what_is_bright(
    view: &View,
    i: usize,
    [height, width, channels]: [usize; 3],
    room: f32,
) {
    let boxes = view.boxes(i).unwrap();
    let mut seen = vec![[f32::INFINITY, f32::INFINITY, 0.0, 0.0]; boxes.len()];
    for (place, pixel) in view.image(i).chunks_exact(channels).enumerate() {
        if pixel.iter().all(|&value| value < 128) {
            continue;
        }
        let at = [(place % width) as f32, (place / width) as f32];
        let holds = |sides: &[f32; 4]| {
            [width, height].iter().enumerate().all(|(axis, &side)| {
                let (first, end) = (sides[axis] * side as f32, (sides[axis] + sides[axis + 2]) * side as f32);
                at[axis] + 0.5 >= first - 0.01 && at[axis] + 0.5 <= end + 0.01
            })
        };
        let owner = boxes
            .iter()
            .position(holds)
            .unwrap_or_else(|| panic!("image {i}: {at:?} is in none of {boxes:?}"));
        let [left, top, right, bottom] = &mut seen[owner];
        (*left, *top) = (left.min(at[0]), top.min(at[1]));
        (*right, *bottom) = (right.max(at[0] + 1.0), bottom.max(at[1] + 1.0));
    }
    for (sides, seen) in boxes.iter().zip(&seen) {
        let (w, h) = (width as f32, height as f32);
        let told = [sides[0] * w, sides[1] * h, (sides[0] + sides[2]) * w, (sides[1] + sides[3]) * h];
        assert!(
            told.iter().zip(seen).all(|(a, b)| (a - b).abs() <= room),
            "image {i}: {told:?}, seen {seen:?}"
        );
    }
}

#[test]
fn scenes_have_as_many_boxes_as_their_class_says_around_what_is_bright() {
    let folder = tempfile::tempdir().unwrap();
    for (name, channels, shape) in [("grey", 1, [40, 56, 1]), ("colour", 3, [40, 56, 3])] {
        let options = Options {
            count: Some(120),
            size: Some((40, 56)),
            channels: Some(channels),
            objects: Some((0, 3)),
            ..Options::default()
        };
        let dataset = scenes(&folder.path().join(name), &options);
        dataset.verify().unwrap();
        let card = dataset.card();
        assert_eq!((card.objects, &card.shape[..]), (Some(3), &shape[..]));
        assert_eq!(card.classes, ["no object", "1 object", "2 objects", "3 objects"]);
        let train = dataset.require(Split::Train).unwrap();
        for i in 0..train.len() {
            assert_eq!(train.boxes(i).unwrap().len(), train.label(i).unwrap() as usize);
            // Corners of a shape are thinner than a pixel.
            expect_boxes_around_what_is_bright(&train, i, shape, 2.5);
        }
        // A quarter of about 108 each, with a deviation of 4.5.
        assert!(card.splits[0].class_counts.iter().all(|n| (12..45).contains(n)), "{:?}", card.splits[0]);
    }
}

#[test]
fn without_objects_there_are_none_to_two_and_other_data_have_no_boxes() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { count: Some(60), ..Options::default() };
    let dataset = scenes(&folder.path().join("scenes"), &options);
    assert_eq!((dataset.card().objects, dataset.card().classes.len()), (Some(2), 3));
    let out = folder.path().join("shapes");
    collect(Path::new("shapes"), &out, &options, &|_| ()).unwrap();
    let shapes = Dataset::open(&out).unwrap();
    assert!(shapes.card().objects.is_none() && shapes.require(Split::Train).unwrap().boxes(0).is_none());
    assert!(!fs::read_to_string(out.join("dataset.json")).unwrap().contains("objects"));
}

#[test]
fn numbers_of_objects_are_checked_and_only_scenes_have_them() {
    let folder = tempfile::tempdir().unwrap();
    for (source, objects) in [("scenes", (0, 0)), ("scenes", (3, 2)), ("scenes", (0, 5)), ("shapes", (0, 2))]
    {
        let options = Options { count: Some(5), objects: Some(objects), ..Options::default() };
        let out = folder.path().join("out");
        let error = collect(Path::new(source), &out, &options, &|_| ()).unwrap_err();
        assert!(matches!(error, Error::BadOption { option: "objects", .. }), "{source} {objects:?}: {error}");
        assert!(!out.exists());
    }
}

#[test]
fn scattered_images_are_found_in_their_boxes() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { count: Some(80), size: Some((16, 16)), channels: Some(1), ..Options::default() };
    let out = folder.path().join("shapes");
    collect(Path::new("shapes"), &out, &options, &|_| ()).unwrap();
    let shapes = Dataset::open(&out).unwrap();
    let options = Options { count: Some(100), size: Some((40, 32)), seed: 3, ..Options::default() };
    let [out, again] = ["scattered", "again"].map(|name| folder.path().join(name));
    let card = scatter(&shapes, &out, &options, &|_| ()).unwrap().card;
    assert_eq!(
        (card.name.as_str(), &card.shape[..], card.objects),
        ("scattered-shapes", &[40, 32, 1][..], Some(2))
    );
    let scattered = Dataset::open(&out).unwrap();
    scattered.verify().unwrap();
    let (view, train) = (shapes.require(Split::Train).unwrap(), scattered.require(Split::Train).unwrap());
    assert_eq!(train.len(), 100);
    let ink = |image: &[u8]| image.iter().map(|&value| u64::from(value)).sum::<u64>();
    let known: Vec<u64> = (0..view.len()).map(|j| ink(view.image(j))).collect();
    for i in 0..train.len() {
        assert_eq!(train.boxes(i).unwrap().len(), train.label(i).unwrap() as usize);
        expect_boxes_around_what_is_bright(&train, i, [40, 32, 1], 0.01);
        // A scene of one object has all of its ink, except where the faint rim of it is cut off.
        if train.label(i) == Some(1) {
            let found = ink(train.image(i));
            assert!(known.iter().any(|&ink| found <= ink && ink - found < 1500), "scene {i}");
        }
    }
    assert_eq!(scatter(&shapes, &again, &options, &|_| ()).unwrap().card.fingerprint, card.fingerprint);
    let narrow = Options { size: Some((16, 16)), objects: Some((4, 4)), ..options.clone() };
    let error = scatter(&shapes, &folder.path().join("narrow"), &narrow, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::BadOption { option: "size", .. }), "{error}");
    let small = Options { size: Some((12, 40)), ..options };
    assert!(scatter(&shapes, &folder.path().join("small"), &small, &|_| ()).is_err());
}

#[test]
fn boxes_that_are_changed_are_noticed_and_nonsense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { count: Some(30), holdout: 0.0, objects: Some((1, 2)), ..Options::default() };
    let dataset = scenes(folder.path(), &options);
    let shard = folder.path().join("train-00000.safetensors");
    let whole = fs::read(&shard).unwrap();
    // Boxes are the last tensor: 30 rows of two boxes of 16 bytes.
    let first = whole.len() - 30 * 2 * 16;
    let first_box = dataset.require(Split::Train).unwrap().boxes(0).unwrap()[0];
    assert_eq!(whole[first..first + 4], first_box[0].to_le_bytes());
    drop(dataset);
    let with = |at: usize, value: f32| {
        let mut bytes = whole.clone();
        bytes[first + 4 * at..first + 4 * at + 4].copy_from_slice(&value.to_le_bytes());
        fs::write(&shard, bytes).unwrap();
        Dataset::open(folder.path())
    };
    let moved = with(0, first_box[0] / 2.0).unwrap();
    assert!(matches!(moved.verify(), Err(Error::FingerprintMismatch { .. })));
    drop(moved);
    for (at, value) in [(0, -0.1), (0, f32::NAN), (2, 1.5), (2, f32::NAN), (2, 0.0), (3, f32::INFINITY)] {
        let error = with(at, value).unwrap_err();
        assert!(error.to_string().contains("the boxes of example 0"), "{at} {value}: {error}");
    }
}

#[test]
fn the_preview_draws_boxes() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        count: Some(10),
        size: Some((64, 64)),
        holdout: 0.0,
        objects: Some((1, 1)),
        ..Options::default()
    };
    let dataset = scenes(folder.path(), &options);
    let view = dataset.require(Split::Train).unwrap();
    let picture = preview(&dataset, Split::Train, 1).unwrap();
    let [left, top, width, height] = view.boxes(0).unwrap()[0].map(|side| (side * 64.0).round() as usize);
    let at = |x: usize, y: usize| &picture.pixels[(y * picture.width as usize + x) * 3..][..3];
    for (x, y) in [(left, top), (left + width / 2, top), (left, top + height / 2)] {
        assert_eq!(at(2 + x, 2 + y), [230, 60, 50], "({x}, {y})");
    }
}
