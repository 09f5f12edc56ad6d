//! Arrays and files without a header as people save them: real numbers, channels before pixels, rows of pixels.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common::*;
use poiesis_collect::{Dataset, Error, Options, Split};

/// Collects the bytes of one file.
fn single(name: &str, bytes: &[u8], shape: Option<(u32, u32, u8)>) -> Result<Dataset, Error> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), name, bytes);
    packed(&root.path().join(name), &Options { holdout: 0.0, shape, ..Options::default() })
}

/// The shape of the images, and all of them.
fn images(dataset: &Dataset) -> (Vec<usize>, Vec<Vec<u8>>) {
    let view = dataset.require(Split::Train).unwrap();
    (dataset.card().shape.clone(), (0..view.len()).map(|i| view.image(i).to_vec()).collect())
}

fn noted(dataset: &Dataset, part: &str) {
    let notes = &dataset.card().notes;
    assert!(notes.iter().any(|note| note.contains(part)), "{notes:?} do not say {part:?}");
}

#[test]
fn real_numbers_are_scaled_by_the_range_that_is_meant() {
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let read = |values: &[f32]| single("x.npy", &npy("<f4", &[2, 1, 2], &floats(values)), None).unwrap();
    let dataset = read(&[0.0, 0.5, 0.25, 0.75]);
    assert_eq!(images(&dataset), (vec![1, 2, 1], vec![vec![0, 128], vec![64, 191]]));
    noted(&dataset, "the values are from 0 to 0.75; they were taken for a scale of 0 to 1");
    let dataset = read(&[-1.0, 0.0, 0.5, 1.0]);
    assert_eq!(images(&dataset).1, [[0, 128], [191, 255]]);
    noted(&dataset, "a scale of -1 to 1");
    let dataset = read(&[0.0, 17.4, 254.6, 255.0]);
    assert_eq!(images(&dataset).1, [[0, 17], [255, 255]]);
    noted(&dataset, "a scale of 0 to 255");
    // An image with a value that is no number is left out by name.
    let dataset = read(&[0.0, f32::NAN, 0.25, 1.0]);
    assert_eq!(images(&dataset).1, [[64, 255]]);
    let skipped = &dataset.card().skipped;
    assert_eq!((skipped.count, &skipped.list[0].name[..]), (1, "x.npy image 0"));
    assert_eq!(skipped.list[0].reason, "one of its values is NaN");
    // Doubles, the other byte order and halves; the arrays of an archive have one scale.
    let doubles = npy(">f8", &[1, 1, 2], &[0.0_f64, 2.0].map(f64::to_be_bytes).concat());
    let halves = npy("<f2", &[1, 1, 2], &[0, 0x3c, 0, 0]);
    let dataset = single("x.npz", &zip(&[("x_train.npy", &doubles), ("x_test.npy", &halves)]), None).unwrap();
    assert_eq!(images(&dataset).1, [[0, 255]]);
    assert_eq!(dataset.require(Split::Test).unwrap().image(0), [128, 0]);
}

#[test]
fn axes_in_other_orders() {
    let values: Vec<u8> = (1..=24).map(|i| i * 10).collect();
    let dataset = single("x.npy", &npy("|u1", &[2, 3, 1, 3], &values[..18]), None).unwrap();
    // The last axis may be channels, and then it is.
    assert_eq!(images(&dataset), (vec![3, 1, 3], vec![values[..9].to_vec(), values[9..18].to_vec()]));
    let values: Vec<u8> = (1..=30).map(|i| i * 8).collect();
    let dataset = single("x.npy", &npy("|u1", &[1, 3, 2, 5], &values), None).unwrap();
    let (shape, read) = images(&dataset);
    assert_eq!((&shape[..], &read[0][..6]), (&[2, 5, 3][..], &[8, 88, 168, 16, 96, 176][..]));
    noted(
        &dataset,
        "the array of shape [1, 3, 2, 5] was read as 1 images of 5x2 pixels with the channels before",
    );
    let dataset = single("x.npy", &npy("|u1", &[3, 9], &values[..27]), None).unwrap();
    assert_eq!((images(&dataset).0, images(&dataset).1[1][0]), (vec![3, 3, 1], 80));
    noted(&dataset, "3 grey images of 3x3 pixels, a row each");
    let picture = picture(6, 5, 1).into_raw();
    let dataset = single("x.npy", &npy("|u1", &[5, 6, 3], &picture), None).unwrap();
    assert_eq!(images(&dataset), (vec![5, 6, 3], vec![picture]));
    noted(&dataset, "read as one image of 6x5 pixels with 3 channels");
    // What the user says comes first.
    let dataset = single("x.npy", &npy("|u1", &[2, 12], &values[..24]), Some((2, 2, 3))).unwrap();
    assert_eq!(images(&dataset).1, [&values[..12], &values[12..24]]);
    let dataset = single("x.npy", &npy("|u1", &[5, 6], &values), Some((5, 6, 1))).unwrap();
    assert_eq!(images(&dataset), (vec![5, 6, 1], vec![values.clone()]));
    let error = single("x.npy", &npy("|u1", &[5, 6], &values), None).unwrap_err();
    assert_eq!(error.option(), Some("shape"));
    assert!(told(&error).contains("rows of 6 values are no square images"), "{}", told(&error));
}

#[test]
fn a_file_without_a_header_needs_a_shape() {
    let values: Vec<u8> = (0..36).map(|i| i * 7).collect();
    let dataset = single("x.bin", &values, Some((2, 3, 3))).unwrap();
    assert_eq!(images(&dataset), (vec![2, 3, 3], vec![values[..18].to_vec(), values[18..].to_vec()]));
    assert_eq!(dataset.card().name, "x");
    noted(&dataset, "the file has no header");
    // Also where its name is that of a known format.
    assert_eq!(images(&single("train.bin", &values, Some((6, 6, 1))).unwrap()).1, [&values[..]]);
    for (shape, part) in [
        (
            Some((2, 5, 1)),
            "36 bytes are not a whole number of images of 2 x 5 x 1 = 10 bytes; 6 are left over",
        ),
        (None, "no header that says how large its images are; give their `shape`"),
    ] {
        let error = single("x.bin", &values, shape).unwrap_err();
        assert_eq!(error.option(), Some("shape"));
        assert!(told(&error).contains(part), "{}", told(&error));
    }
    for (name, bytes, shape, part) in [
        ("a.png", png(4, 4, 1), (4, 4, 3), "`shape` cannot be 4,4,3"),
        ("x.bin", values.clone(), (6, 6, 5), "no image is like that"),
    ] {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &format!("set/{name}"), &bytes);
        let source = root.path().join(if name == "a.png" { "set" } else { "set/x.bin" });
        let error = packed(&source, &Options { shape: Some(shape), ..Options::default() }).unwrap_err();
        assert!(told(&error).contains(part), "{}", told(&error));
    }
}

#[test]
fn an_array_is_read_to_its_checksum() {
    let mut bytes = zip(&[("x.npy", &npy("|u1", &[2, 5, 5], &[77; 50]))]);
    // Stored, so that a flipped bit is one of a value.
    let stored = {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let plain =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file("x.npy", plain).unwrap();
        std::io::Write::write_all(&mut archive, &npy("|u1", &[2, 5, 5], &[77; 50])).unwrap();
        archive.finish().unwrap().into_inner()
    };
    assert!(single("x.npz", &bytes, None).is_ok() && single("x.npz", &stored, None).is_ok());
    bytes = stored;
    let at = bytes.windows(50).position(|window| window == [77; 50]).unwrap();
    bytes[at + 49] ^= 1;
    let error = single("x.npz", &bytes, None).unwrap_err();
    assert!(told(&error).contains("checksum"), "{}", told(&error));
}

#[test]
fn only_a_single_array_of_rows_may_be_a_table() {
    let root = tempfile::tempdir().unwrap();
    let rows = npy("|u1", &[5, 6], &[7; 30]);
    write(root.path(), "set/x.npy", &rows);
    write(root.path(), "x.npz", &zip(&[("x.npy", &rows)]));
    let error = |name: &str| told(&packed(&root.path().join(name), &Options::default()).unwrap_err());
    let (single, table) =
        (error("set/x.npy"), "take it for a table of the `kind` points, or give the `shape`");
    assert!(single.contains(table), "{single}");
    for name in ["set", "x.npz"] {
        let error = error(name);
        assert!(error.contains("give the `shape`") && !error.contains("table"), "{error}");
    }
}
