//! Data sets written out as files: collected again, they are the same examples.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crate::common::*;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
use poiesis_collect::{Dataset, Error, ExportOptions, Exported, Options, Split, export};

/// Writes a data set out below `root`, and collects that again.
fn again(dataset: &Dataset, root: &Path, options: &Options) -> (Exported, Dataset) {
    let out = root.join("written/out");
    let exported = export(dataset, &out, &ExportOptions::default(), &|_| ()).unwrap();
    (exported, packed(&out, options).unwrap())
}

/// The pixels of all images of a split with the names of their classes, in an order that does not depend on that of the data set.
fn images(dataset: &Dataset, split: Split) -> Vec<(String, Vec<u8>)> {
    let view = dataset.require(split).unwrap();
    let class = |label: Option<u32>| {
        label.map_or("none".to_owned(), |label| dataset.card().classes[label as usize].clone())
    };
    let mut all: Vec<_> = (0..view.len()).map(|i| (class(view.label(i)), view.image(i).to_vec())).collect();
    all.sort();
    all
}

#[test]
fn images_keep_their_pixels_their_splits_and_their_classes() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..30 {
        let split = ["train", "train", "train", "valid", "test"][i % 5];
        let class = ["cat/", "dog/", ""][i % 3];
        write(root.path(), &format!("in/{split}/{class}{i}.png"), &png(9, 7, i as u32));
    }
    let dataset = packed(&root.path().join("in"), &Options::default()).unwrap();
    let (exported, back) = again(&dataset, root.path(), &Options::default());
    assert_eq!(exported.splits, [(Split::Train, 18), (Split::Validation, 6), (Split::Test, 6)]);
    assert_eq!((exported.files, exported.left_out.len()), (30, 0));
    assert_eq!((&back.card().classes, &back.card().shape), (&dataset.card().classes, &dataset.card().shape));
    for split in Split::ALL {
        assert_eq!(images(&back, split), images(&dataset, split), "{split}");
    }
    let on_disk: u64 = fs::read_dir(root.path().join("written/out/test/cat"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk > 0 && on_disk < exported.bytes);
    let left: Vec<_> = fs::read_dir(root.path().join("written")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else is left beside the folder");
}

#[test]
fn without_classes_the_data_set_is_the_same_to_the_byte() {
    for transparent in [false, true] {
        let root = tempfile::tempdir().unwrap();
        for i in 0..20_u8 {
            let image: DynamicImage = match transparent {
                true => RgbaImage::from_fn(6, 5, |x, y| Rgba([i, x as u8, y as u8, 200 + i])).into(),
                false => GrayImage::from_fn(6, 5, |x, y| Luma([i * 9 + (x * y) as u8])).into(),
            };
            write(root.path(), &format!("in/{i:02}.png"), &encoded(&image, ImageFormat::Png));
        }
        let options = Options { channels: transparent.then_some(4), ..Options::default() };
        let dataset = packed(&root.path().join("in"), &options).unwrap();
        let (_, back) = again(&dataset, root.path(), &options);
        assert_eq!(back.card().fingerprint, dataset.card().fingerprint);
    }
}

#[test]
fn texts_sounds_and_points_come_back_as_they_were() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..25 {
        let text = format!("Ein Text über {i}.\n\n  „Etwas“ – {}\n", "und mehr ".repeat(i));
        write(root.path(), &format!("texts/{i:02}.txt"), text.as_bytes());
        let samples: Vec<i32> =
            (0..50 + i as i32).map(|at| (at * 997 + i as i32) % 30_000 - 15_000).collect();
        write(
            root.path(),
            &format!("clips/{i:02}.wav"),
            &wav(8000, 2, 16, &[&samples[..], &samples[..]].concat()),
        );
    }
    let row = |i: i32| format!("{},{},{}\n", i, f64::from(i) * 0.1 - 3.0, 1e-7 / f64::from(i + 1));
    let table = format!("n,\"height, in m\",small\n{}", (0..40).map(row).collect::<String>());
    write(root.path(), "points/table.csv", table.as_bytes());
    for (kind, files) in [("texts", 25), ("clips", 25), ("points", 2)] {
        let dataset = packed(&root.path().join(kind), &Options::default()).unwrap();
        let out = root.path().join(format!("out/{kind}"));
        let exported = export(&dataset, &out, &ExportOptions::default(), &|_| ()).unwrap();
        assert_eq!(exported.files, files, "{kind}");
        let back = packed(&out, &Options::default()).unwrap();
        assert_eq!(back.card().fingerprint, dataset.card().fingerprint, "{kind}");
        assert_eq!(back.card().points, dataset.card().points, "{kind}");
    }
    // One text that is cut becomes a file for each split.
    let book = "It was the best of times, it was the worst of times. ".repeat(50);
    write(root.path(), "book.txt", book.as_bytes());
    let dataset = packed(&root.path().join("book.txt"), &Options::default()).unwrap();
    let out = root.path().join("out/book");
    export(&dataset, &out, &ExportOptions::default(), &|_| ()).unwrap();
    let read = |split: &str| fs::read_to_string(out.join(split).join("000000.txt")).unwrap();
    assert_eq!(read("train") + &read("validation"), book);
}

#[test]
fn a_split_and_a_number_can_be_chosen_and_nothing_is_written_over() {
    let root = tempfile::tempdir().unwrap();
    let options = Options { count: Some(200), size: Some((8, 8)), ..Options::default() };
    let dataset = packed(Path::new("shapes"), &options).unwrap();
    let out = root.path().join("out");
    let some = ExportOptions { split: Some(Split::Validation), count: Some(3) };
    let told = std::sync::atomic::AtomicU64::new(0);
    let report = |progress: poiesis_collect::Progress| {
        assert_eq!(progress.total, Some(3));
        told.store(progress.done, std::sync::atomic::Ordering::Relaxed);
    };
    let exported = export(&dataset, &out, &some, &report).unwrap();
    assert_eq!((exported.splits, exported.files), (vec![(Split::Validation, 3)], 3));
    assert_eq!(told.into_inner(), 3);
    assert!(exported.left_out[0].contains("factors"), "{:?}", exported.left_out);
    assert!(!out.join("validation").exists(), "a single split needs no folder");
    let before = fs::read_dir(&out).unwrap().count();
    let refused = export(&dataset, &out, &ExportOptions::default(), &|_| ()).unwrap_err();
    assert!(matches!(refused, Error::OutputExists { .. }), "{refused}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), before);
    let none = ExportOptions { split: Some(Split::Test), count: None };
    let refused = export(&dataset, &root.path().join("other"), &none, &|_| ()).unwrap_err();
    assert!(matches!(refused, Error::NoSplit { .. }), "{refused}");
    assert!(!root.path().join("other").exists());
}
