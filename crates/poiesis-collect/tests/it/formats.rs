//! Archives and arrays as people have them: names with dots or backslashes, files next to their own .gz, arrays of few levels. Each
//! is read as intended, with a note.

use crate::common::*;
use poiesis_collect::{Dataset, Options, Split};

/// Options that hold nothing out where the source has no splits.
fn all() -> Options {
    Options { holdout: 0.0, ..Options::default() }
}

fn noted(dataset: &Dataset, part: &str) -> bool {
    dataset.card().notes.iter().any(|note| note.contains(part))
}

#[test]
fn whole_numbers_of_any_range_are_scaled_to_bytes_alike() {
    let root = tempfile::tempdir().unwrap();
    let read = |name: &str, bytes: &[u8]| {
        write(root.path(), name, bytes);
        packed(&root.path().join(name), &all()).unwrap()
    };
    // Shapes of 0 and 1, as dSprites has them.
    let binary = read("a.npz", &zip(&[("imgs.npy", &npy("|u1", &[2, 2, 2], &[0, 1, 1, 0, 1, 1, 0, 0]))]));
    let view = binary.require(Split::Train).unwrap();
    assert_eq!([view.image(0), view.image(1)], [[0, 255, 255, 0], [255, 255, 0, 0]]);
    assert!(noted(&binary, "values from 0 to 1 are stored as 0 to 255"), "{:?}", binary.card().notes);
    // Twelve bits in 16, in both splits by the larger range of the two.
    let wide = |values: [u16; 4]| values.map(u16::to_le_bytes).concat();
    let (train, test) = (wide([0, 4095, 2048, 1]), wide([0, 100, 200, 300]));
    let arrays =
        [("x_train.npy", npy("<u2", &[1, 2, 2], &train)), ("x_test.npy", npy("<u2", &[1, 2, 2], &test))];
    let arrays = read("b.npz", &zip(&arrays.each_ref().map(|(name, bytes)| (*name, &bytes[..]))));
    assert_eq!(arrays.require(Split::Train).unwrap().image(0), [0, 255, 128, 0]);
    assert_eq!(arrays.require(Split::Test).unwrap().image(0), [0, 6, 12, 19]);
    assert!(noted(&arrays, "values from 0 to 4095 are stored as 0 to 255"));
    // Bytes that are stored wide, and bytes as they should be, stay what they are.
    let long = read(
        "c.npy",
        &npy("<i8", &[1, 1, 2], &[[200, 0, 0, 0, 0, 0, 0, 0], [7, 0, 0, 0, 0, 0, 0, 0]].concat()),
    );
    assert_eq!(long.require(Split::Train).unwrap().image(0), [200, 7]);
    let plain = read("d.npy", &npy("|u1", &[1, 1, 2], &[90, 3]));
    assert_eq!(plain.require(Split::Train).unwrap().image(0), [90, 3]);
    assert!(!noted(&long, "stored as") && !noted(&plain, "stored as"));
}

#[test]
fn backslashes_in_a_zip_are_folders() {
    let root = tempfile::tempdir().unwrap();
    let images: Vec<Vec<u8>> = (0..8).map(|seed| png(9, 9, seed)).collect();
    let names = |slash: &str| -> Vec<String> {
        let folders = ["train/cat", "train/dog", "test/cat", "test/dog"];
        let name = |i: usize| format!("set/{}/{i}.png", folders[i / 2]).replace('/', slash);
        (0..8).map(name).collect()
    };
    let sets = ["/", "\\"].map(|slash| {
        let names = names(slash);
        let files: Vec<(&str, &[u8])> =
            names.iter().map(String::as_str).zip(images.iter().map(Vec::as_slice)).collect();
        write(root.path(), "x.zip", &zip(&files));
        packed(&root.path().join("x.zip"), &all()).unwrap()
    });
    for dataset in &sets {
        let card = dataset.card();
        assert_eq!(card.classes, ["cat", "dog"]);
        assert_eq!((card.count(Split::Train), card.count(Split::Test), card.skipped.count), (4, 4, 0));
        let test = dataset.require(Split::Test).unwrap();
        assert_eq!((test.image(3), test.label(3)), (&picture(9, 9, 7).into_raw()[..], Some(1)));
    }
    assert!(
        noted(&sets[1], "8 names in the archive have \\ between folders")
            && !noted(&sets[0], "between folders")
    );
    // A path out of the archive is one with either.
    write(root.path(), "bad.zip", &zip(&[("..\\evil.png", &images[0]), ("ok.png", &images[1])]));
    let dataset = packed(&root.path().join("bad.zip"), &all()).unwrap();
    assert!(
        dataset.card().skipped.list[0].reason.contains("out of the archive"),
        "{:?}",
        dataset.card().skipped
    );
}

#[test]
fn names_with_dots_are_samples_of_their_own() {
    let root = tempfile::tempdir().unwrap();
    let image = |seed| png(9, 9, seed);
    let archive = tar(&[
        ("scan.2023.01.png", &image(1)),
        ("scan.2023.01.cls", b"0"),
        ("scan.2023.02.cls", b"1"),
        ("scan.2023.02.png", &image(2)),
        ("scan.2023.03.png", &image(3)),
        ("photo.png", &image(4)),
        ("photo.mask.png", &image(5)),
        ("photo.cls", b"1"),
        ("a.b.png", &image(6)),
        ("a.b.cls", b"0"),
    ]);
    write(root.path(), "x.tar", &archive);
    let dataset = packed(&root.path().join("x.tar"), &all()).unwrap();
    let view = dataset.require(Split::Train).unwrap();
    assert_eq!((view.len(), dataset.card().skipped.count), (5, 0), "{:?}", dataset.card());
    let seeds = [1, 2, 3, 4, 6];
    assert!((0..5).all(|i| view.image(i) == picture(9, 9, seeds[i]).as_raw()));
    let labels: Vec<_> = (0..5).map(|i| view.label(i)).collect();
    assert_eq!(labels, [Some(0), Some(1), None, Some(1), Some(0)]);
    assert!(noted(&dataset, "3 images have names with dots"), "{:?}", dataset.card().notes);
    assert!(noted(&dataset, "1 images stand beside the image of their sample, such as photo.mask.png"));
    assert!(noted(&dataset, "1 images have no label"));
}

#[test]
fn files_beside_themselves_packed_are_read_once() {
    let root = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..4 * 6 * 6).map(|i| (i * 7) as u8).collect();
    for name in ["train", "t10k"] {
        let (images, labels) = (idx(&[4, 6, 6], &pixels), idx(&[4], &[0, 1, 1, 0]));
        for (kind, bytes) in [("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)] {
            write(root.path(), &format!("idx/{name}-{kind}"), &bytes);
            write(root.path(), &format!("idx/{name}-{kind}.gz"), &gzip(&bytes));
        }
    }
    let dataset = packed(&root.path().join("idx"), &all()).unwrap();
    let card = dataset.card();
    assert_eq!((card.count(Split::Train), card.count(Split::Test), card.classes.len()), (4, 4, 2));
    assert!(
        noted(&dataset, "2 files are compressed copies of others and are not read twice"),
        "{:?}",
        card.notes
    );

    for (name, bytes) in [("a.txt", "hello"), ("b/a.txt", "you"), ("c.txt", "there")] {
        write(root.path(), &format!("text/{name}"), bytes.as_bytes());
    }
    write(root.path(), "text/a.txt.gz", &gzip(b"hello"));
    write(root.path(), "text/b/c.txt.gz", &gzip(b"world"));
    let dataset = packed(&root.path().join("text"), &all()).unwrap();
    assert_eq!((dataset.card().total(), dataset.card().duplicates), (4, 0));
    assert!(
        noted(&dataset, "1 file is a compressed copy of another and is not read twice"),
        "{:?}",
        dataset.card().notes
    );

    write(root.path(), "points/a.csv", b"1,2\n3,4\n");
    write(root.path(), "points/a.csv.gz", &gzip(b"1,2\n3,4\n"));
    assert_eq!(packed(&root.path().join("points"), &all()).unwrap().card().total(), 2);

    let images: Vec<Vec<u8>> = (0..4).map(|seed| png(9, 9, seed)).collect();
    let shards = [
        tar(&[("0.png", &images[0]), ("1.png", &images[1])]),
        tar(&[("2.png", &images[2]), ("2.cls", b"1")]),
    ];
    write(root.path(), "tars/a.tar", &shards[0]);
    write(root.path(), "tars/a.tar.gz", &gzip(&shards[0]));
    write(root.path(), "tars/b.tgz", &gzip(&shards[1]));
    let dataset = packed(&root.path().join("tars"), &all()).unwrap();
    assert_eq!((dataset.card().total(), dataset.card().duplicates), (3, 0));
    assert!(noted(&dataset, "1 file is a compressed copy of another"), "{:?}", dataset.card().notes);
}
