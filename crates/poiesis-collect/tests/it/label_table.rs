//! Labels from a table that the user gives, and images that are read without packing them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use crate::common::*;
use poiesis_collect::{
    Dataset, Options, ReadImage, Split, open_or_collect, read_images, read_labelled_images,
};

/// Options with a table of labels.
fn labelled(table: &Path) -> Options {
    Options { labels: Some(table.to_owned()), holdout: 0.0, ..sized(8) }
}

/// The class of each training image, in order.
fn classes(dataset: &Dataset, split: Split) -> Vec<Option<String>> {
    let view = dataset.require(split).unwrap();
    let name = |label: u32| dataset.card().classes[label as usize].clone();
    (0..view.len()).map(|i| view.label(i).map(name)).collect()
}

#[test]
fn a_folder_and_an_archive_get_the_classes_of_a_table() {
    let root = tempfile::tempdir().unwrap();
    let images: Vec<_> = (0..6).map(|i| (format!("set/{i}.png"), png(8, 8, i))).collect();
    let files: Vec<(&str, &[u8])> =
        images.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    files.iter().for_each(|(name, bytes)| write(root.path(), name, bytes));
    write(root.path(), "a.zip", &zip(&files));
    write(root.path(), "a.tgz", &gzip(&tar(&files)));
    let table = root.path().join("set/few.csv");
    std::fs::write(&table, "\u{feff}file,class\r\n1.png,dog\r\nset/4.png,cat\r\n").unwrap();
    let some = |name: &str| Some(name.to_owned());
    let expected = [None, some("dog"), None, None, some("cat"), None];
    for source in ["a.zip", "a.tgz"] {
        let dataset = packed(&root.path().join(source), &labelled(&table)).unwrap();
        assert_eq!(dataset.card().classes, ["cat", "dog"]);
        assert_eq!(classes(&dataset, Split::Train), expected, "{source}");
        assert_eq!(dataset.card().notes, ["few.csv gives 2 of 6 images a class"]);
        assert_eq!(dataset.card().splits[0].class_counts, [1, 1]);
    }
    // In the folder itself the paths begin below it, and the table is none of its files.
    std::fs::write(&table, "1.png,dog\n4,cat\n").unwrap();
    let dataset = packed(&root.path().join("set"), &labelled(&table)).unwrap();
    assert_eq!(classes(&dataset, Split::Train), expected);
    assert_eq!(dataset.card().notes, ["few.csv gives 2 of 6 images a class"]);
}

#[test]
fn folders_name_the_classes_and_label_what_is_held_out() {
    let root = tempfile::tempdir().unwrap();
    for (i, name) in
        ["train/1.png", "train/2.png", "train/3.png", "test/cat/4.png", "test/dog/5.png"].iter().enumerate()
    {
        write(root.path(), &format!("set/{name}"), &png(8, 8, i as u32));
    }
    let table = root.path().join("l.csv");
    std::fs::write(&table, "2.png,dog\n").unwrap();
    let dataset = packed(&root.path().join("set"), &labelled(&table)).unwrap();
    assert_eq!(dataset.card().classes, ["cat", "dog"]);
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(classes(&dataset, Split::Train), [None, some("dog"), None]);
    assert_eq!(classes(&dataset, Split::Test), [some("cat"), some("dog")]);
    std::fs::write(&table, "2.png,dgo\n").unwrap();
    let told = told(&packed(&root.path().join("set"), &labelled(&table)).unwrap_err());
    assert!(
        told.contains("l.csv, line 1: dgo is not a class of the source; give one of its classes: cat, dog"),
        "{told}"
    );
}

#[test]
fn a_table_that_cannot_be_followed_is_refused() {
    let root = tempfile::tempdir().unwrap();
    (0..3).for_each(|i| write(root.path(), &format!("set/{i}.png"), &png(8, 8, i)));
    let set = root.path().join("set");
    let table = root.path().join("l.csv");
    for (bytes, said) in [
        (
            &b"0.png,a\n9.png,b\n"[..],
            "l.csv, line 2: no image of the source is called 9.png; correct the name",
        ),
        (b"0.png,a\n0.png,b\n", "line 2: 0.png is in line 1 already, as a; keep one of the two lines"),
        (b"0.png,a\n0,b\n", "line 2: 0.png is in line 1 already, as a"),
        (b"\n", "l.csv: it has no labels"),
        (b"0.png,\xe9t\xe9\n", "line 1: it is not UTF-8"),
        (b"0.png,a,b\n", "line 1: it has 3 columns"),
    ] {
        std::fs::write(&table, bytes).unwrap();
        let told = told(&packed(&set, &labelled(&table)).unwrap_err());
        assert!(told.contains(said), "{told:?} should say {said:?}");
    }
    let none = told(&packed(&set, &labelled(&root.path().join("none.csv"))).unwrap_err());
    assert!(none.contains("none.csv does not exist"), "{none}");
    std::fs::write(&table, "0.png,a\n").unwrap();
    write(root.path(), "x.npy", &npy("|u1", &[2, 8, 8], &[7; 128]));
    let array = told(&packed(&root.path().join("x.npy"), &labelled(&table)).unwrap_err());
    assert!(array.contains("`labels` cannot be") && array.contains("no single files"), "{array}");
    let options = Options { label_from_name: true, ..labelled(&table) };
    assert!(told(&packed(&set, &options).unwrap_err()).contains("leave out one of them"));
    write(root.path(), "texts/0.txt", b"a text");
    let options = Options { labels: Some(table.clone()), ..Options::default() };
    let text = told(&packed(&root.path().join("texts"), &options).unwrap_err());
    assert!(text.contains("only images are labelled by a table") || text.contains("0.png"), "{text}");
}

#[test]
fn the_cache_knows_a_changed_table() {
    let root = tempfile::tempdir().unwrap();
    (0..3).for_each(|i| write(root.path(), &format!("set/{i}.png"), &png(8, 8, i)));
    let (set, table) = (root.path().join("set"), root.path().join("l.csv"));
    let open = |text: &str| {
        std::fs::write(&table, text).unwrap();
        let cache = root.path().join("cache");
        open_or_collect(set.to_str().unwrap(), &labelled(&table), &cache, &|_| ()).unwrap()
    };
    let (one, two) = (open("0.png,a\n1.png,b\n"), open("0.png,a\n1.png,b\n2.png,b\n"));
    assert_ne!(one.card().fingerprint, two.card().fingerprint);
    assert_eq!(two.card().splits[0].class_counts, [1, 2]);
}

#[test]
fn images_are_read_as_they_would_be_packed() {
    let root = tempfile::tempdir().unwrap();
    (0..3).for_each(|i| write(root.path(), &format!("set/{i}.png"), &png(20, 12, i)));
    write(root.path(), "set/broken.png", b"\x89PNG but no more");
    let options = Options { invert: true, channels: Some(1), holdout: 0.0, ..sized(8) };
    let read = |path: &str| {
        let mut all: Vec<ReadImage> = Vec::new();
        read_images(&root.path().join(path), &options, &mut |image| all.push(image)).unwrap();
        all
    };
    let (all, dataset) = (read("set"), packed(&root.path().join("set"), &options).unwrap());
    let view = dataset.require(Split::Train).unwrap();
    let names: Vec<&str> = all.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(names, ["0.png", "1.png", "2.png", "broken.png"]);
    for (i, image) in all[..3].iter().enumerate() {
        assert_eq!(image.pixels.as_deref().unwrap(), view.image(i), "{i}");
    }
    assert!(all[3].pixels.is_err());
    assert_eq!(read("set/1.png"), [ReadImage { name: "1.png".into(), ..all[1].clone() }]);
    // Without an ending, and what is no image at all.
    std::fs::copy(root.path().join("set/2.png"), root.path().join("picture")).unwrap();
    assert_eq!(read("picture")[0].pixels, all[2].pixels);
    write(root.path(), "words.md", b"# no image");
    assert!(read("words.md")[0].pixels.is_err());
    let without = Options { size: None, ..options.clone() };
    assert!(read_images(&root.path().join("set"), &without, &mut |_| ()).is_err());
}

#[test]
fn images_have_the_class_of_their_folder() {
    let root = tempfile::tempdir().unwrap();
    for (i, name) in ["a/0.png", "a/1.png", "b/2.png"].iter().enumerate() {
        write(root.path(), &format!("set/{name}"), &png(8, 8, i as u32));
    }
    let options = Options { channels: Some(1), ..sized(8) };
    let read = |path: &str| {
        let mut all = Vec::new();
        let take = &mut |image: poiesis_collect::ReadExample<Vec<u8>>| all.push((image.name, image.class));
        read_labelled_images(&root.path().join(path), &options, take).unwrap();
        all
    };
    let expected = [("a/0.png", "a"), ("a/1.png", "a"), ("b/2.png", "b")];
    assert_eq!(read("set"), expected.map(|(name, class)| (name.to_owned(), Some(class.to_owned()))));
    assert_eq!(read("set/b/2.png"), [("2.png".to_owned(), None)]);
}
