//! What a folder is taken for where most of it has other names, and what is said of the rest.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use crate::common::*;
use poiesis_collect::{Dataset, Kind, Options, meant_for, open_or_collect};

fn of(root: &Path) -> Dataset {
    packed(root, &Options::default()).unwrap()
}

fn notes(dataset: &Dataset) -> String {
    dataset.card().notes.join("\n")
}

/// Writes `count` files of source code.
fn code(root: &Path, count: usize) {
    for i in 0..count {
        let lines = format!("fn f{i}(x: u32) -> u32 {{\n    x + {i}\n}}\n").repeat(30);
        write(root, &format!("src/{i:02}.rs"), lines.as_bytes());
    }
}

#[test]
fn source_code_with_a_text_beside_it_is_text() {
    for beside in ["requirements.txt", "LICENSE.txt", "CMakeLists.txt"] {
        let root = tempfile::tempdir().unwrap();
        code(root.path(), 12);
        write(root.path(), beside, b"numpy\ntorch\n");
        let dataset = of(root.path());
        assert_eq!((dataset.card().kind, dataset.card().total()), (Kind::Text, 13), "{beside}");
        assert!(notes(&dataset).contains("read as text, as most of them are"), "{}", notes(&dataset));
    }
}

#[test]
fn a_picture_among_source_code_is_left_alone_and_named() {
    let root = tempfile::tempdir().unwrap();
    code(root.path(), 12);
    write(root.path(), "docs/logo.png", &png(40, 40, 1));
    let dataset = of(root.path());
    assert_eq!((dataset.card().kind, dataset.card().total()), (Kind::Text, 12));
    assert!(notes(&dataset).contains("1 image was left alone"), "{}", notes(&dataset));
    let source = root.path().to_string_lossy();
    let meant = |kinds: &[Kind]| meant_for(&source, kinds, &Options::default()).unwrap();
    assert_eq!(meant(&[Kind::Text, Kind::Images]), None, "text by itself");
    assert_eq!(meant(&[Kind::Images]), Some(Kind::Images), "a model of images gets the picture");
}

#[test]
fn a_repository_is_text_without_what_its_tools_have_made() {
    let root = tempfile::tempdir().unwrap();
    code(root.path(), 12);
    (0..8).for_each(|i| write(root.path(), &format!("docs/{i}.png"), &png(20, 20, i)));
    (0..60).for_each(|i| write(root.path(), &format!("target/debug/{i}.o"), &[0, 1, 255, i]));
    assert_eq!(of(root.path()).card().kind, Kind::Images, "nothing says that it is a repository");
    write(root.path(), "target/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n# by cargo\n");
    write(root.path(), ".git/HEAD", b"ref: refs/heads/main\n");
    let dataset = of(root.path());
    assert_eq!((dataset.card().kind, dataset.card().total()), (Kind::Text, 12));
    assert!(notes(&dataset).contains("8 images were left alone"), "{}", notes(&dataset));
    assert!(notes(&dataset).contains("the folder target was made by a tool"), "{}", notes(&dataset));
    assert!(!notes(&dataset).contains("other file"), "{}", notes(&dataset));
    // What is given by itself is read.
    write(root.path(), "node_modules/a/b.txt", b"a text\n");
    let modules = packed(&root.path().join("node_modules"), &Options::default()).unwrap();
    assert_eq!(modules.card().kind, Kind::Text);
    let notes = notes(&of(root.path()));
    assert!(notes.contains("2 folders that tools have made, such as node_modules, were left out"), "{notes}");
    // What a tool makes anew does not change what is in the cache.
    let cache = tempfile::tempdir().unwrap();
    let source = root.path().to_string_lossy();
    let cached = || {
        let opened = open_or_collect(&source, &Options::default(), cache.path(), &|_| ()).unwrap();
        opened.folder().to_owned()
    };
    let before = cached();
    write(root.path(), "target/debug/new.o", &[0, 1, 255]);
    assert_eq!(cached(), before);
    write(root.path(), "src/new.rs", b"fn main() {}\n");
    assert_ne!(cached(), before);
    // Published pictures come in repositories too.
    (8..30).for_each(|i| write(root.path(), &format!("docs/{i}.png"), &png(20, 20, i)));
    assert_eq!(of(root.path()).card().kind, Kind::Images);
}

#[test]
fn where_all_is_in_folders_of_tools_the_error_says_so() {
    let root = tempfile::tempdir().unwrap();
    (0..8).for_each(|i| write(root.path(), &format!("target/{i}.png"), &png(20, 20, i)));
    write(root.path(), "target/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n");
    let error = || told(&packed(root.path(), &Options::default()).unwrap_err());
    let one = error();
    assert!(one.contains("nothing to read outside the folder target, which a tool has made"), "{one}");
    assert!(one.ends_with("; give that folder by itself if it is meant"), "{one}");
    write(root.path(), "node_modules/a.png", &png(20, 20, 1));
    let two = error();
    assert!(two.contains("outside folders that tools have made, such as node_modules"), "{two}");
    assert_eq!(of(&root.path().join("target")).card().total(), 8);
}

#[test]
fn files_that_are_included_are_text_if_they_hold_text() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "src/a.rs", b"fn main() {}\n");
    write(root.path(), "src/a.o", &[0xff, 0xfe, 0, 1]);
    (0..8).for_each(|i| write(root.path(), &format!("docs/{i}.png"), &png(20, 20, i)));
    let including = |pattern: &str| {
        packed(
            root.path(),
            &Options { include: vec![pattern.to_owned()], holdout: 0.0, ..Options::default() },
        )
    };
    let dataset = including("*.rs").unwrap();
    assert_eq!((dataset.card().kind, dataset.card().total()), (Kind::Text, 1));
    assert!(notes(&dataset).contains("9 files match no pattern of `include`"), "{}", notes(&dataset));
    assert!(!notes(&dataset).contains("as most of them are"), "{}", notes(&dataset));
    assert_eq!(including("*.png").unwrap().card().kind, Kind::Images);
    assert!(told(&including("*.o").unwrap_err()).contains("no file of the source that is read matches it"));
}

#[test]
fn texts_and_images_with_a_few_other_files_stay_what_they_are() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..6 {
        write(root.path(), &format!("texts/{i}.txt"), "words and words\n".repeat(400).as_bytes());
        write(root.path(), &format!("pictures/{i}.png"), &png(12, 12, i));
        write(root.path(), &format!("pictures/{i}.xml"), "<box>1 2 3 4</box>\n".repeat(100).as_bytes());
    }
    write(root.path(), "texts/notes.md", "about\n".repeat(300).as_bytes());
    let texts = of(&root.path().join("texts"));
    assert_eq!(texts.card().total(), 6);
    assert!(notes(&texts).contains("1 other file was left alone"), "{}", notes(&texts));
    let pictures = of(&root.path().join("pictures"));
    assert_eq!((pictures.card().kind, pictures.card().total()), (Kind::Images, 6));
    // Three long recordings with a sheet for each verse are sound.
    for i in 0..3 {
        write(root.path(), &format!("songs/{i}.wav"), &wav(8000, 1, 16, &vec![i * 99; 300_000]));
    }
    (0..40)
        .for_each(|i| write(root.path(), &format!("songs/{i}.lrc"), "[00:01] la la\n".repeat(20).as_bytes()));
    assert_eq!(of(&root.path().join("songs")).card().kind, Kind::Sound);
    // A table with a long description is a table.
    write(root.path(), "table/a.csv", "1,2\n3,4\n".repeat(20).as_bytes());
    write(root.path(), "table/README.md", "about\n".repeat(3000).as_bytes());
    assert_eq!(of(&root.path().join("table")).card().kind, Kind::Points);
}

#[test]
fn annotations_beside_texts_are_left_alone() {
    for (endings, tables) in
        [(&["ann"][..], 0), (&["txt.xml"], 0), (&["ann", "xml", "json"], 0), (&["tsv"], 40)]
    {
        let root = tempfile::tempdir().unwrap();
        for i in 0..40 {
            write(
                root.path(),
                &format!("corpus/{i:02}.txt"),
                format!("The patient {i} sleeps.\n").as_bytes(),
            );
            for ending in endings {
                let entities = format!("T{i}\tName 4 11\tpatient\n").repeat(3);
                write(root.path(), &format!("corpus/{i:02}.{ending}"), entities.as_bytes());
            }
        }
        write(root.path(), "corpus/annotation.conf", "[entities]\nName\n".repeat(90).as_bytes());
        let dataset = of(root.path());
        assert_eq!((dataset.card().kind, dataset.card().total()), (Kind::Text, 40), "{endings:?}");
        let said = match tables {
            0 => format!("{} other files were left alone", 40 * endings.len() + 1),
            tables => format!("{tables} tables of points"),
        };
        assert!(notes(&dataset).contains(&said), "{}", notes(&dataset));
    }
}

#[test]
fn options_that_only_one_kind_of_data_has_say_what_a_folder_is() {
    let root = tempfile::tempdir().unwrap();
    code(root.path(), 30);
    (0..3).for_each(|i| write(root.path(), &format!("icons/icon-{i}.png"), &png(20, 20, i)));
    assert_eq!(of(root.path()).card().kind, Kind::Text, "ten to one");
    let sized = Options { size: Some((16, 16)), ..Options::default() };
    let images = packed(root.path(), &sized).unwrap();
    assert_eq!((images.card().kind, images.card().total()), (Kind::Images, 3));
    // Among as many pictures, the code is meant by what only text has.
    (3..30).for_each(|i| write(root.path(), &format!("icons/icon-{i}.png"), &png(20, 20, i)));
    assert_eq!(of(root.path()).card().kind, Kind::Images);
    let lines = Options { lines: true, ..Options::default() };
    assert_eq!(packed(root.path(), &lines).unwrap().card().kind, Kind::Text);
    // A text about the pictures is none of those that are meant.
    write(root.path(), "icons/README.md", "about\n".repeat(300).as_bytes());
    let error = packed(&root.path().join("icons"), &lines).unwrap_err().to_string();
    assert!(error.contains("only text has it"), "{error}");
}

#[test]
fn files_of_formats_that_are_not_read_are_counted_and_named() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..4 {
        write(root.path(), &format!("in/{i}.png"), &png(12, 12, i));
        write(root.path(), &format!("in/{i}.HEIC"), b"\0\0\0\x18ftypheic");
        write(root.path(), &format!("phone/{i}.heic"), b"\0\0\0\x18ftypheic");
        write(
            root.path(),
            &format!("icons/{i}.svg"),
            "<svg><path d=\"M 0 0\"/></svg>\n".repeat(90).as_bytes(),
        );
    }
    write(root.path(), "in/logo.svg", b"<svg/>");
    let dataset = of(&root.path().join("in"));
    let expected = "4 .heic files and 1 .svg file were left alone, because they are not supported: convert them to \
                    JPEG or PNG";
    assert!(notes(&dataset).contains(expected), "{}", notes(&dataset));
    assert!(!notes(&dataset).contains("other file"), "{}", notes(&dataset));
    for (folder, ending) in [("phone", "heic"), ("icons", "svg")] {
        let error = told(&packed(&root.path().join(folder), &Options::default()).unwrap_err());
        assert!(error.contains(&format!("it holds 4 .{ending} files, which are not supported")), "{error}");
        assert!(error.ends_with("; convert them to JPEG or PNG"), "{error}");
    }
    let sized = Options { size: Some((64, 64)), ..Options::default() };
    let error = told(&packed(&root.path().join("phone"), &sized).unwrap_err());
    assert!(error.contains("it holds 4 .heic files, which are not supported"), "{error}");
    let as_text = Options { kind: Some(Kind::Text), ..Options::default() };
    assert_eq!(packed(&root.path().join("icons"), &as_text).unwrap().card().total(), 4);
}

#[test]
fn a_single_image_is_told_from_a_file_of_no_format() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "photo.png", &png(12, 12, 1));
    write(root.path(), "photo", &png(12, 12, 1));
    write(root.path(), "photo.heic", b"\0\0\0\x18ftypheic");
    write(root.path(), "readme.md", b"# Title\n");
    let error = |name: &str| told(&packed(&root.path().join(name), &Options::default()).unwrap_err());
    for name in ["photo.png", "photo"] {
        let error = error(name);
        assert!(error.contains("it is a single image, and a data set needs more than one"), "{error}");
        assert!(error.ends_with("; give a folder of images, or an archive of them"), "{error}");
    }
    assert!(error("photo.heic").contains(".heic files are not supported; convert it to JPEG or PNG"));
    assert!(error("readme.md").contains("is of no known format"));
}
