//! Labels as people save them: numbers of any type, one 1 among zeros, text. What cannot be read is named and counted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common::*;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType};
use poiesis_collect::{Dataset, Options, Split};

/// Collects the bytes of one file.
fn single(name: &str, bytes: &[u8]) -> Dataset {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), name, bytes);
    packed(&root.path().join(name), &Options { holdout: 0.0, ..Options::default() }).unwrap()
}

/// The names of the classes of all images, in order.
fn labels(dataset: &Dataset) -> Vec<String> {
    let view = dataset.require(Split::Train).unwrap();
    let classes = &dataset.card().classes;
    let name = |label: Option<u32>| label.map_or("-".to_owned(), |label| classes[label as usize].clone());
    (0..view.len()).map(|i| name(view.label(i))).collect()
}

fn noted(dataset: &Dataset, part: &str) {
    let notes = &dataset.card().notes;
    assert!(notes.iter().any(|note| note.contains(part)), "{notes:?} do not say {part:?}");
}

/// Three images with an array of labels.
fn npz(kind: &str, shape: &[usize], values: &[u8]) -> Dataset {
    let images: Vec<u8> = (0..27).map(|i| i * 9).collect();
    single(
        "x.npz",
        &zip(&[("x.npy", &npy("|u1", &[3, 3, 3], &images)), ("y.npy", &npy(kind, shape, values))]),
    )
}

#[test]
fn arrays_of_labels() {
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let points = |text: &str| text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect::<Vec<_>>();
    for (kind, shape, values, expected) in [
        ("|b1", &[3][..], vec![1, 0, 1], ["1", "0", "1"]),
        ("<f4", &[3], floats(&[2.0, 0.0, f32::NAN]), ["2", "0", "-"]),
        ("<f4", &[3, 1], floats(&[2.0, 0.0, 1.0]), ["2", "0", "1"]),
        ("|u1", &[3, 4], vec![0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0], ["2", "0", "1"]),
        ("<f4", &[3, 2], floats(&[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]), ["1", "0", "1"]),
        ("|S3", &[3], b"dogox\0cat".to_vec(), ["dog", "ox", "cat"]),
        ("<U3", &[3], points("dogox\0Ã\u{df}\0"), ["dog", "ox", "Ã\u{df}"]),
    ] {
        let dataset = npz(kind, shape, &values);
        assert_eq!(labels(&dataset), expected, "{kind} {shape:?}");
        let notes = &dataset.card().notes;
        assert!(!notes.iter().any(|note| note.contains("left out")), "{notes:?}");
    }
    let dataset = npz("<f4", &[3], &floats(&[0.5, 1.0, 0.25]));
    assert_eq!(labels(&dataset), ["-", "1", "-"]);
    noted(
        &dataset,
        "2 labels cannot be read and were left out; the first, that of x image 0: 0.5 is not a whole",
    );
    let dataset = npz("|O", &[3], &[0; 24]);
    assert!(dataset.card().classes.is_empty());
    noted(&dataset, "the 3 labels of y are of type |O; numbers and text are read, and were left out");
}

#[test]
fn clips_of_webdataset_have_labels_too() {
    let clip = |seed: i32| wav(8000, 1, 16, &[seed, 100, -seed, 7]);
    let clips: Vec<_> = (1..=4).map(clip).collect();
    let archive = tar(&[
        ("0.wav", &clips[0]),
        ("0.cls", b"dog"),
        ("1.cls", b"cat\n"),
        ("1.wav", &clips[1]),
        ("2.wav", &clips[2]),
        ("2.cls", b"\xff"),
        ("3.wav", &clips[3]),
        ("3.json", b"{\"label\": [0.5]}"),
        ("4.cls", b"cat"),
    ]);
    let dataset = single("x.tar", &archive);
    let stream = dataset.require_stream(Split::Train).unwrap();
    let read: Vec<_> = (0..4).map(|i| (stream.samples(stream.document(i))[0], stream.label(i))).collect();
    assert_eq!(dataset.card().classes, ["cat", "dog"]);
    assert_eq!(read, [(1, Some(1)), (2, Some(0)), (3, None), (4, None)]);
    noted(&dataset, "2 clips have no label");
    noted(&dataset, "2 labels cannot be read and were left out; the first, 2.cls: it is not text");
    assert_eq!(dataset.card().skipped.list[0].reason, "there is a label but no sound");
}

#[test]
fn labels_of_images_that_cannot_be_read_are_named() {
    let (one, two) = (png(9, 9, 1), png(9, 9, 2));
    let archive = tar(&[("0.png", &one), ("0.cls", b"4000000000"), ("1.png", &two), ("1.cls", b"1")]);
    let dataset = single("x.tar", &archive);
    assert_eq!(labels(&dataset), ["-", "1"]);
    noted(&dataset, "1 label cannot be read and was left out, 0.cls: 4000000000 is too large");
    // Also where none of them can be.
    let dataset = single("y.tar", &tar(&[("0.png", &one), ("0.cls", b"\xff")]));
    noted(&dataset, "1 label cannot be read and was left out, 0.cls: it is not text");
}

#[test]
fn columns_of_labels_in_tables() {
    let table =
        |kind: &str,
         write: &dyn Fn(&mut parquet::file::writer::SerializedRowGroupWriter<'_, &mut Vec<u8>>)| {
            let schema = format!("message table {{ required binary image; {kind} }}");
            let bytes = parquet(&schema, None, Compression::UNCOMPRESSED, |group| {
                let images: Vec<_> = (0..3).map(|seed| ByteArray::from(png(5, 5, seed))).collect();
                column::<ByteArrayType>(group, &images, None);
                write(group);
            });
            single("x.parquet", &bytes)
        };
    let dataset =
        table("required float label;", &|group| column::<FloatType>(group, &[2.0, 0.0, -1.0], None));
    assert_eq!(labels(&dataset), ["2", "0", "-"]);
    let dataset =
        table("required boolean label;", &|group| column::<BoolType>(group, &[true, false, true], None));
    assert_eq!(labels(&dataset), ["1", "0", "1"]);
    let words: Vec<_> = ["dog", "cat", "dog"].map(ByteArray::from).into();
    let dataset = table("required binary label;", &|group| column::<ByteArrayType>(group, &words, None));
    assert_eq!(labels(&dataset), ["dog", "cat", "dog"]);
    let list = "required group label (LIST) { repeated group list { required double element; } }";
    let lists = |values: &[f64], starts: &[i16]| {
        table(list, &|group| {
            let mut column = group.next_column().unwrap().unwrap();
            let levels = vec![1; values.len()];
            column.typed::<DoubleType>().write_batch(values, Some(&levels), Some(starts)).unwrap();
            column.close().unwrap();
        })
    };
    assert_eq!(labels(&lists(&[4.0, 0.0, 2.0], &[0, 0, 0])), ["4", "0", "2"]);
    let hot = lists(&[0.0, 1.0, 1.0, 0.0, 1.0, 1.0], &[0, 1, 0, 1, 0, 1]);
    assert_eq!(labels(&hot), ["1", "0", "-"]);
    noted(
        &hot,
        "1 label cannot be read and was left out, that of x.parquet row 2: its 2 values are not one 1",
    );
}
