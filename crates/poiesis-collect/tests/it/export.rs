//! Data sets written out as files: collected again, they are the same examples.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crate::common::*;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
use poiesis_collect::{Dataset, Error, ExportOptions, Exported, Options, Split, VocabularyKind, export};

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
fn with_the_options_that_are_returned_nothing_is_chosen_anew() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..20_u8 {
        let shade = |x, y| Luma([(u32::from(i) * 9 + x * y) as u8]);
        let grey: DynamicImage = GrayImage::from_fn(30, 20, shade).into();
        let name = format!("grey/{i:02}.png");
        write(root.path(), &name, &encoded(&grey.to_rgb8().into(), ImageFormat::Png));
        // One class, which is the only folder, and classes that are called like splits.
        write(root.path(), &format!("one/x/cat/{i:02}.png"), &png(9, 7, i.into()));
        let class = ["train", "test", "Valid"][usize::from(i) / 7];
        write(root.path(), &format!("named/{class}/{i:02}.png"), &png(9, 7, i.into()));
    }
    let lines: String = (0..300).map(|i| format!("name {i} of {}\n", i % 7)).collect();
    write(root.path(), "lines.txt", lines.as_bytes());
    let few = "one text with a few letters\n".repeat(60);
    write(root.path(), "few.txt", few.as_bytes());
    let usual = Options::default();
    let bpe = (Some(VocabularyKind::Bpe), Some(280));
    let level = |class_level| Options { class_level: Some(class_level), holdout: 0.0, ..usual.clone() };
    let lined = Options { lines: true, vocabulary: bpe.0, vocabulary_size: bpe.1, ..usual.clone() };
    let sets = [
        ("grey", Options { channels: Some(3), ..usual.clone() }),
        ("grey", Options { size: Some((10, 12)), holdout: 0.0, ..usual.clone() }),
        ("one", level(2)),
        ("one", Options { holdout: 0.3, ..level(2) }),
        ("lines.txt", lined.clone()),
        ("lines.txt", Options { holdout: 0.0, ..lined }),
        ("few.txt", Options { vocabulary: Some(VocabularyKind::Bytes), ..usual.clone() }),
        ("few.txt", Options { licence: Some("CC0".to_owned()), holdout: 0.0, ..usual.clone() }),
    ];
    for (number, (source, options)) in sets.into_iter().enumerate() {
        let dataset = packed(&root.path().join(source), &options).unwrap();
        let out = root.path().join(format!("out-{number}"));
        let exported = export(&dataset, &out, &ExportOptions::default(), &|_| ()).unwrap();
        assert_eq!(exported.left_out, [""; 0], "{source} {options:?}");
        let back = packed(&out, &exported.collect).unwrap();
        let (back, card) = (back.card(), dataset.card());
        assert_eq!(back.fingerprint, card.fingerprint, "{source} {options:?}\n{:?}", exported.collect);
        assert_eq!((&back.classes, &back.licence), (&card.classes, &card.licence));
        assert_eq!(back.text, card.text);
    }
    // Without folders of splits, folders of classes must not be taken for such.
    let patterns = vec!["*0.png".to_owned()];
    let dataset =
        packed(&root.path().join("named"), &Options { validation_files: patterns, ..level(1) }).unwrap();
    assert_eq!(dataset.card().classes, ["Valid", "test", "train"]);
    let some = ExportOptions { split: Some(Split::Validation), count: None };
    let out = root.path().join("out");
    let exported = export(&dataset, &out, &some, &|_| ()).unwrap();
    let said = exported.left_out.join("\n");
    assert!(said.contains("the validation split") && said.contains("class Valid is called _Valid"), "{said}");
    let back = packed(&out, &exported.collect).unwrap();
    assert_eq!(back.card().classes, ["_Valid", "_test", "_train"]);
    assert_eq!(back.card().count(Split::Train), dataset.card().count(Split::Validation));
}

#[test]
fn what_collecting_changes_is_named() {
    let root = tempfile::tempdir().unwrap();
    let records = "{\"text\": \"one\\r\\r\\ntwo\"}\n{\"text\": \"\\ufeff\\ufeffthree\"}\n{\"text\": \"four\\r\\nfive\"}\n";
    write(root.path(), "x.jsonl", records.as_bytes());
    let options = Options { holdout: 0.0, ..Options::default() };
    let dataset = packed(&root.path().join("x.jsonl"), &options).unwrap();
    let (exported, _) = again(&dataset, root.path(), &options);
    assert_eq!(
        exported.left_out,
        ["2 documents have CRLF line ends or a byte order mark, which collecting changes"]
    );
    let out = root.path().join("part");
    let part = ExportOptions { split: None, count: Some(1) };
    let said = export(&dataset, &out, &part, &|_| ()).unwrap().left_out.join("\n");
    assert!(said.contains("another vocabulary"), "{said}");
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
