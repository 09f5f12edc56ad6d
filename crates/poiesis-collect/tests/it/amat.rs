//! Matrices as text, in which binarised MNIST is published.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::*;
use poiesis_collect::{Dataset, Options, Split};

/// Rows of values as text, with a space between two.
fn text<T: ToString>(rows: &[&[T]]) -> Vec<u8> {
    let row = |row: &&[T]| row.iter().map(T::to_string).collect::<Vec<_>>().join(" ") + "\n";
    rows.iter().map(row).collect::<String>().into_bytes()
}

/// Binary images of 3 × 3, nine values each.
fn digits(count: usize, seed: usize) -> Vec<u8> {
    (0..9 * count).map(|i| u8::from((i * i + seed * i / 3 + i / 9) % 5 < 2)).collect()
}

fn rows(values: &[u8]) -> Vec<u8> {
    text(&values.chunks(9).collect::<Vec<_>>())
}

#[test]
fn text_becomes_the_same_data_set_as_idx() {
    let root = tempfile::tempdir().unwrap();
    for (part, count, seed) in [("train", 7, 1), ("valid", 3, 2), ("test", 4, 3)] {
        let values = digits(count, seed);
        let published = format!("text/binarized_mnist_{part}.amat");
        write(root.path(), &published, &rows(&values));
        let images = format!("idx/binarized-{part}-images-idx3-ubyte.gz");
        write(root.path(), &images, &gzip(&idx(&[count as u32, 3, 3], &values)));
    }
    let read = |name: &str| packed(&root.path().join(name), &Options::default()).unwrap();
    let (text, idx) = (read("text"), read("idx"));
    let card = text.card();
    assert_eq!(Split::ALL.map(|split| card.count(split)), [7, 3, 4]);
    assert_eq!((card.shape.as_slice(), card.classes.len(), card.skipped.count), (&[3, 3, 1][..], 0, 0));
    assert_eq!(card.fingerprint, idx.card().fingerprint);
    let view = text.require(Split::Validation).unwrap();
    assert_eq!(view.image(2), digits(3, 2)[18..].iter().map(|v| v * 255).collect::<Vec<_>>());
    // Both at once are one data set too, and so is a file beside its compressed copy.
    write(root.path(), "text/binarized_mnist_test.amat.gz", &gzip(&rows(&digits(4, 3))));
    let both = read("text");
    assert_eq!(both.card().fingerprint, card.fingerprint);
    assert!(both.card().notes.iter().any(|note| note.contains("compressed copy")), "{:?}", both.card().notes);
}

fn alone(name: &str, content: &[u8]) -> Result<Dataset, poiesis_collect::Error> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), name, content);
    packed(&root.path().join(name), &Options { holdout: 0.0, ..Options::default() })
}

#[test]
fn a_last_number_is_the_class_and_values_have_a_scale() {
    let rows: [&[f64]; 3] = [&[0.0, 0.2, 1.0, 0.5, 2.0], &[0.1, 0.0, 0.0, 1.0, 0.0], &[1.0; 5]];
    // Columns of a fixed width, as NumPy aligns them, and an empty line at the end.
    let content =
        text(&rows).iter().flat_map(|&b| if b == b' ' { vec![b' '; 3] } else { vec![b] }).collect::<Vec<_>>();
    let dataset = alone("mnist_rotation_train.amat", &[content, b"\n".to_vec()].concat()).unwrap();
    let view = dataset.require(Split::Train).unwrap();
    assert_eq!(dataset.card().classes, ["0", "1", "2"]);
    assert_eq!(dataset.card().name, "mnist_rotation_train");
    assert_eq!((view.image(0), view.label(0)), (&[0, 51, 255, 128][..], Some(2)));
    assert_eq!((view.image(1), view.label(1)), (&[26, 0, 0, 255][..], Some(0)));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (content, reason) in [
        (&b"0 1 1 0\n0 1 1\n"[..], "line 2 has 3 numbers where the first has 4"),
        (b"0 1 1 0\n\n0 one 1 0\n", "line 3 has `one`, which is no number"),
        (b"0 1 1 0 1.5\n", "line 1 ends with `1.5`, which is no class"),
        (b"0 1 1 0 -1\n", "line 1 ends with `-1`, which is no class"),
        (b"0 1 1\n", "its rows of 3 numbers are no square images"),
        (b"0 1 1 \xff\n", "line 1 is no text"),
        (b"\n \n", "no image"),
    ] {
        let told = told(&alone("a.amat", content).unwrap_err());
        assert!(told.contains(reason), "{told}");
    }
    let half = gzip(&rows(&digits(500, 1)));
    let told = told(&alone("a.amat.gz", &half[..half.len() / 2]).unwrap_err());
    assert!(told.contains("fetch it again"), "{told}");
    // A value that is no number of a picture costs one image.
    let dataset = alone("a.amat", b"0 1 1 0\n0 nan 1 0\n1 1 0 0\n").unwrap();
    assert_eq!((dataset.card().total(), dataset.card().skipped.count), (2, 1));
}
