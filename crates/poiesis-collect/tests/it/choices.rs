//! What a source is taken for, and how its files, classes and splits are chosen.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common::*;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
use parquet::basic::Compression;
use poiesis_collect::{Dataset, Error, Kind, Options, Split, meant_for};

fn all() -> Options {
    Options { holdout: 0.0, ..Options::default() }
}

fn of(kind: Kind) -> Options {
    Options { kind: Some(kind), ..all() }
}

fn including(patterns: &[&str]) -> Options {
    Options { include: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(), ..all() }
}

fn noted(dataset: &Dataset, part: &str) {
    let notes = &dataset.card().notes;
    assert!(notes.iter().any(|note| note.contains(part)), "{part:?} is not in {notes:?}");
}

fn says(error: &Error, parts: &[&str]) {
    let told = told(error);
    parts.iter().for_each(|part| assert!(told.contains(part), "{told:?} does not say {part:?}"));
}

/// Kind and number of all examples.
fn what(dataset: &Dataset) -> (Kind, usize) {
    (dataset.card().kind, dataset.card().total())
}

/// The class of each example of the train split, `-` for none.
fn classes(dataset: &Dataset) -> Vec<String> {
    let card = dataset.card();
    let name = |label: Option<u32>| label.map_or("-".to_owned(), |l| card.classes[l as usize].clone());
    match dataset.split(Split::Train) {
        Some(view) => (0..view.len()).map(|i| name(view.label(i))).collect(),
        None => {
            let stream = dataset.require_stream(Split::Train).unwrap();
            (0..stream.documents()).map(|i| name(stream.label(i))).collect()
        }
    }
}

/// Records of CIFAR-10 with the labels 0, 1, …
fn cifar(records: u8) -> Vec<u8> {
    (0..records).flat_map(|label| [vec![label], vec![label * 9; 3072]].concat()).collect()
}

fn gray(values: &[u8], width: u32) -> Vec<u8> {
    let image = GrayImage::from_fn(width, values.len() as u32 / width, |x, y| {
        Luma([values[(y * width + x) as usize]])
    });
    encoded(&DynamicImage::from(image), ImageFormat::Png)
}

#[test]
fn a_stray_file_does_not_decide() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    let table = plain_table(&[png(8, 8, 90)], Compression::UNCOMPRESSED);
    for i in 0..4 {
        write(path, &format!("photos/cat/{i}.png"), &png(8, 8, i));
        write(path, &format!("photos/dog/{i}.png"), &png(8, 8, 10 + i));
        write(path, &format!("books/book{i}.txt"), format!("{i} {}", "a line\n".repeat(3000)).as_bytes());
    }
    write(path, "photos/metadata.parquet", &table);
    let photos = packed(&path.join("photos"), &all()).unwrap();
    assert_eq!((what(&photos), photos.card().classes.len()), ((Kind::Images, 8), 2));
    noted(&photos, "1 parquet table was left alone; choose with `kind` or `include`");

    write(path, "books/cover.png", &png(60, 60, 1));
    write(path, "books/README", b"about");
    let books = packed(&path.join("books"), &all()).unwrap();
    assert_eq!(what(&books), (Kind::Text, 4));
    noted(&books, "1 image and 1 other file were left alone");

    for i in 0..2_u32 {
        let name = |ending: &str| format!("laion/0000{i}{ending}");
        let files = [0, 1, 2].map(|k| (format!("{i}{k}.jpg"), png(20, 20, i * 3 + k)));
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
        write(path, &name(".tar"), &tar(&files));
        write(path, &name(".parquet"), &table);
        write(path, &name("_stats.json"), b"{}");
    }
    let laion = packed(&path.join("laion"), &all()).unwrap();
    assert_eq!(what(&laion), (Kind::Images, 6));
    noted(&laion, "2 parquet tables and 2 other files were left alone");

    write(path, "gpt/input.txt", "to be or not\n".repeat(1500).as_bytes());
    write(path, "gpt/train.bin", &[1, 0].repeat(18_051));
    write(path, "gpt/val.bin", &[0; 4000]);
    let gpt = packed(&path.join("gpt"), &all()).unwrap();
    assert_eq!(what(&gpt), (Kind::Text, 1));
    noted(&gpt, "2 other files were left alone");
    // Even when it is as long as records of CIFAR-100 are, its labels are none.
    write(path, "gpt/train.bin", &vec![200; 3074 * 20]);
    assert_eq!(what(&packed(&path.join("gpt"), &all()).unwrap()), (Kind::Text, 1));

    for (name, bytes) in [("data_batch_1.bin", cifar(3)), ("test_batch.bin", cifar(1))] {
        write(path, &format!("cifar/cifar-10-batches-bin/{name}"), &bytes);
    }
    write(path, "cifar/README.txt", b"CIFAR");
    write(path, "cifar/example.png", &png(32, 32, 1));
    let small = packed(&path.join("cifar"), &all()).unwrap();
    assert_eq!((small.card().count(Split::Train), small.card().count(Split::Test)), (3, 1));
    noted(&small, "1 image and 1 text were left alone");
}

#[test]
fn features_of_images_are_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    (0..3).for_each(|i| write(path, &format!("{i}.png"), &png(8, 8, i)));
    // Twice as large as the images, on disk.
    let features = npy("|S8", &[3, 1000], &[1; 24_000]);
    write(path, "features.npy", &features);
    let images = packed(path, &all()).unwrap();
    assert_eq!(what(&images), (Kind::Images, 3));
    noted(&images, "1 file of NumPy arrays was left alone");
    noted(&images, "features.npy was left alone: its values are of type |S8");
    // A preview beside large arrays does not replace them.
    write(path, "features.npy", &npy("|S8", &[1, 20_000], &[1; 160_000]));
    says(&packed(path, &all()).unwrap_err(), &["features.npy", "type |S8"]);
}

#[test]
fn texts_that_are_about_others_do_not_count() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    for i in 0..3 {
        write(path, &format!("captions/images/{i}.png"), &png(8, 8, i));
        write(path, &format!("captions/labels/{i}.txt"), b"0 0.5 0.5 1 1");
        write(path, &format!("speech/{i}.wav"), &wav(8000, 1, 16, &[i as i32 + 1; 50]));
        write(path, &format!("speech/{i}.txt"), b"spoken");
    }
    write(path, "captions/classes.txt", b"cat");
    write(path, "captions/README.txt", b"about");
    write(path, "captions/LICENSE.txt", b"free");
    assert_eq!(what(&packed(&path.join("captions"), &all()).unwrap()), (Kind::Images, 3));
    assert_eq!(what(&packed(&path.join("speech"), &all()).unwrap()), (Kind::Sound, 3));
    write(path, "only/README.txt", b"all there is");
    assert_eq!(what(&packed(&path.join("only"), &all()).unwrap()), (Kind::Text, 1));
    // The same holds in an archive.
    let files: [(&str, &[u8]); 3] = [("cover.png", &png(8, 8, 1)), ("a.txt", b"one"), ("b.txt", b"two")];
    write(path, "books.zip", &zip(&files));
    let books = packed(&path.join("books.zip"), &all()).unwrap();
    assert_eq!(what(&books), (Kind::Text, 2));
    noted(&books, "1 image was left alone");
}

#[test]
fn the_user_or_the_model_decides() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    for i in 0..5 {
        write(path, &format!("{i}.png"), &png(8, 8, i));
    }
    write(path, "book.txt", b"a book");
    write(path, "notes.md", b"# notes");
    write(path, "main.rs", b"fn main() {}");
    write(path, "noise.dat", b"\xff\xfe\x00");
    write(path, "clip.wav", &wav(8000, 1, 16, &[5; 90]));
    write(path, "points.csv", b"1,2\n3,4\n");
    assert_eq!(what(&packed(path, &all()).unwrap()), (Kind::Images, 5));
    assert_eq!(what(&packed(path, &of(Kind::Sound)).unwrap()), (Kind::Sound, 1));
    assert_eq!(what(&packed(path, &of(Kind::Points)).unwrap()), (Kind::Points, 2));

    // Everything is text that is UTF-8 and whose name does not say otherwise.
    let text = packed(path, &of(Kind::Text)).unwrap();
    assert_eq!(what(&text), (Kind::Text, 4));
    noted(&text, "5 images and 1 sound file were left alone");
    let skipped = &text.card().skipped;
    assert_eq!((skipped.count, skipped.list[0].name.as_str()), (1, "noise.dat"));
    let single = packed(&path.join("notes.md"), &of(Kind::Text)).unwrap();
    assert_eq!(what(&single), (Kind::Text, 1));
    let files: [(&str, &[u8]); 2] = [("src/a.py", b"print()"), ("src/b.png", &png(8, 8, 1))];
    write(path, "code.tar", &tar(&files));
    assert_eq!(what(&packed(&path.join("code.tar"), &of(Kind::Text)).unwrap()), (Kind::Text, 1));
    assert_eq!(what(&packed(&path.join("code.tar"), &all()).unwrap()), (Kind::Images, 1));

    says(&packed(&path.join("book.txt"), &of(Kind::Sound)).unwrap_err(), &["`kind` cannot be sound", "none"]);
    says(&packed("rings".as_ref(), &of(Kind::Images)).unwrap_err(), &["`kind` cannot be images"]);
    says(&packed(&path.join("code.tar"), &of(Kind::Points)).unwrap_err(), &["`kind` cannot be points"]);

    let folder = path.to_str().unwrap();
    let meant = |kinds: &[Kind]| meant_for(folder, kinds, &all()).unwrap();
    assert_eq!(meant(&[Kind::Text, Kind::Sound, Kind::Images]), Some(Kind::Text));
    assert_eq!(meant(&[Kind::Sound]), Some(Kind::Sound));
    assert_eq!(meant(&[Kind::Images]), None);
    assert_eq!(meant_for(folder, &[Kind::Sound], &of(Kind::Points)).unwrap(), None, "it is chosen already");
    assert_eq!(meant_for("shapes", &[Kind::Text], &all()).unwrap(), None);
}

#[test]
fn patterns_choose_the_files() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    for name in ["src/a.rs", "src/deep/b.rs", "docs/c.md", "d.toml"] {
        write(path, name, name.as_bytes());
    }
    let code = packed(path, &Options { kind: Some(Kind::Text), ..including(&["*.rs"]) }).unwrap();
    assert_eq!(what(&code), (Kind::Text, 2));
    noted(&code, "2 files match no pattern of `include` and were left alone");
    let both = Options { kind: Some(Kind::Text), ..including(&["docs/*", "*.toml"]) };
    assert_eq!(what(&packed(path, &both).unwrap()), (Kind::Text, 2));
    says(
        &packed(path, &Options { kind: Some(Kind::Text), ..including(&["*.cc", "*.c"]) }).unwrap_err(),
        &["`include` cannot be *.cc, *.c: no file"],
    );
    says(&packed(path, &including(&["*.jpg"])).unwrap_err(), &["`include` cannot be *.jpg"]);
    says(&packed(path, &including(&["["])).unwrap_err(), &["`include` cannot be [", "pattern"]);

    // In a folder the patterns choose archives, in an archive its entries.
    let shards = [0, 1].map(|i| {
        let (one, two) = (png(8, 8, i), png(8, 8, 7 + i));
        tar(&[("a.png", &one), ("a.cls", b"1"), ("b.png", &two), ("b.cls", b"0")])
    });
    write(path, "sets/0.tar", &shards[0]);
    write(path, "sets/1.tar", &shards[1]);
    assert_eq!(what(&packed(&path.join("sets"), &including(&["1.tar"])).unwrap()), (Kind::Images, 2));
    let one = packed(&path.join("sets/0.tar"), &including(&["a.*"])).unwrap();
    assert_eq!((what(&one), classes(&one)), ((Kind::Images, 1), vec!["1".to_owned()]));
    write(path, "x.npy", &npy("|u1", &[1, 4, 4], &[90; 16]));
    says(&packed(&path.join("x.npy"), &including(&["x*"])).unwrap_err(), &["no files to choose from"]);
}

#[test]
fn data_files_in_subfolders_are_found() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    let pixels: Vec<u8> = (0..64).collect();
    write(path, "mnist/MNIST/raw/train-images-idx3-ubyte", &idx(&[4, 4, 4], &pixels));
    write(path, "mnist/MNIST/raw/train-labels-idx1-ubyte", &idx(&[4], &[3, 1, 0, 1]));
    let mnist = packed(&path.join("mnist"), &all()).unwrap();
    assert_eq!(classes(&mnist), ["3", "1", "0", "1"]);
    assert!(mnist.card().notes.is_empty(), "{:?}", mnist.card().notes);
    // Two sets in two folders are not one, and labels are never taken from another folder.
    write(path, "mnist/fashion/train-images-idx3-ubyte.gz", &gzip(&idx(&[4, 4, 4], &pixels)));
    says(
        &packed(&path.join("mnist"), &all()).unwrap_err(),
        &["several data sets", "fashion", "give one of them"],
    );
    assert!(packed(&path.join("mnist/fashion"), &all()).unwrap().card().classes.is_empty());
    // Splits may have folders of their own.
    write(path, "apart/a/train-images-idx3-ubyte", &idx(&[4, 4, 4], &pixels));
    write(path, "apart/b/t10k-images-idx3-ubyte", &idx(&[2, 4, 4], &pixels[..32]));
    let apart = packed(&path.join("apart"), &all()).unwrap();
    assert_eq!((apart.card().count(Split::Train), apart.card().count(Split::Test)), (4, 2));
}

#[test]
fn several_archives_are_one_data_set() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    let image = |seed: u32| png(8, 8, seed);
    let zipped = |class: &str, seed: u32| {
        zip(&[(&format!("{class}/0.png"), &image(seed)), (&format!("{class}/1.png"), &image(seed + 1))])
    };
    // Each archive by itself has one folder, which is no class.
    write(path, "flat/part1.zip", &zipped("x", 0));
    write(path, "flat/part2.zip", &zipped("x", 10));
    write(path, "flat/notes.zip", &zip(&[("a.md", b"nothing to read")]));
    let flat = packed(&path.join("flat"), &all()).unwrap();
    assert_eq!(what(&flat), (Kind::Images, 4));
    noted(&flat, "2 files are one data set");
    noted(&flat, "1 zip archive holds nothing of that kind");

    let two = |seed: u32| zip(&[("cat/0.png", &image(seed)), ("dog/1.png", &image(seed + 1))]);
    write(path, "splits/train.zip", &two(20));
    write(path, "splits/test.zip", &zip(&[("dog/0.png", &image(40)), ("owl/1.png", &image(41))]));
    let splits = packed(&path.join("splits"), &all()).unwrap();
    assert_eq!(splits.card().classes, ["cat", "dog", "owl"]);
    assert_eq!((classes(&splits), splits.card().count(Split::Test)), (vec!["cat".into(), "dog".into()], 2));
    let test = splits.require(Split::Test).unwrap();
    assert_eq!((test.label(0), test.label(1)), (Some(1), Some(2)));

    let shard = |seed: u32| tar(&[("0.png", &image(seed)), ("1.png", &image(seed + 1))]);
    write(path, "tars/train/0.tar", &shard(50));
    write(path, "tars/train/1.tar", &shard(52));
    write(path, "tars/test/0.tar", &shard(54));
    let tars = packed(&path.join("tars"), &all()).unwrap();
    assert_eq!((tars.card().count(Split::Train), tars.card().count(Split::Test)), (4, 2));
    // A damaged one is an error and not left out.
    write(path, "flat/part2.zip", b"PK");
    says(&packed(&path.join("flat"), &all()).unwrap_err(), &["part2.zip", "fetch it again"]);
}

#[test]
fn one_array_per_class_is_one_data_set() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    let array = |values: &[u8]| npy("|u1", &[2, 4, 4], &values.repeat(16));
    write(path, "draw/dog.npy", &array(&[1, 90]));
    write(path, "draw/cat.npy", &array(&[2, 91]));
    let draw = packed(&path.join("draw"), &all()).unwrap();
    assert_eq!(
        (&draw.card().classes[..], classes(&draw)),
        (&["cat".to_owned(), "dog".to_owned()][..], ["cat", "cat", "dog", "dog"].map(str::to_owned).to_vec(),)
    );
    noted(&draw, "classes are the names of the files");

    // Names that differ in numbers are parts, names of splits are splits.
    write(path, "parts/part_0.npy", &array(&[3, 93]));
    write(path, "parts/part_1.npy", &array(&[4, 94]));
    let parts = packed(&path.join("parts"), &all()).unwrap();
    assert_eq!((what(&parts), parts.card().classes.len()), ((Kind::Images, 4), 0));
    let labelled = |labels: &[u8], shade: u8| {
        let images = npy("|u1", &[2, 4, 4], &[shade, shade + 99].repeat(16));
        zip(&[("x.npy", &images), ("y.npy", &npy("|u1", &[2], labels))])
    };
    write(path, "sets/train.npz", &labelled(&[0, 10], 5));
    write(path, "sets/test.npz", &labelled(&[2, 2], 6));
    let sets = packed(&path.join("sets"), &all()).unwrap();
    assert_eq!((sets.card().count(Split::Train), sets.card().count(Split::Test)), (2, 2));
    assert_eq!(classes(&sets), ["0", "10"]);
    let test = sets.require(Split::Test).unwrap();
    assert_eq!(test.label(0).map(|label| sets.card().classes[label as usize].as_str()), Some("2"));
    write(path, "tree/cat/0.npy", &array(&[7, 97]));
    write(path, "tree/dog/0.npy", &array(&[8, 98]));
    assert_eq!(packed(&path.join("tree"), &all()).unwrap().card().classes, ["cat", "dog"]);
}

#[test]
fn names_with_braces_stand_for_files_of_every_kind() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    for i in 0..4 {
        write(path, &format!("p/{i:02}.png"), &png(8, 8, i));
        write(path, &format!("t/{i}.txt"), format!("text {i}").as_bytes());
    }
    let (one, two) = (png(8, 8, 1), png(8, 8, 2));
    write(path, "x/train.zip", &zip(&[("a/0.png", &one)]));
    write(path, "x/test.zip", &zip(&[("a/0.png", &two)]));
    let collected = |pattern: &str| packed(&path.join(pattern), &all());
    assert_eq!(what(&collected("p/{01..03}.png").unwrap()), (Kind::Images, 3));
    assert_eq!(what(&collected("t/{0,3}.txt").unwrap()), (Kind::Text, 2));
    let zips = collected("x/{train,test}.zip").unwrap();
    assert_eq!((zips.card().count(Split::Train), zips.card().count(Split::Test)), (1, 1));
    assert_eq!((zips.card().name.as_str(), collected("t/t{0,3}.txt").is_err()), ("files", true));
    let folders = collected("{p,t}").unwrap();
    assert_eq!(what(&folders), (Kind::Images, 4));
    noted(&folders, "4 texts were left alone");
    says(&collected("p/{11..13}.png").unwrap_err(), &["does not exist"]);
}

#[test]
fn a_table_beside_the_files_gives_their_classes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    for i in 0..3 {
        write(path, &format!("in/{i}.png"), &png(8, 8, i));
    }
    write(path, "labels.csv", b"id,breed,weight\n0,pug,3\n1.png,\"corgi, old\",4\n7,dingo,9\n");
    let dogs = packed(path, &all()).unwrap();
    assert_eq!(dogs.card().classes, ["corgi, old", "pug"]);
    assert_eq!(classes(&dogs), ["pug", "corgi, old", "-"]);
    noted(&dogs, "classes come from labels.csv");
    noted(&dogs, "1 file is not in labels.csv and has no class");
    noted(&dogs, "further columns of labels.csv are not kept: weight");
    // A table that names none of the files is one of points.
    write(path, "labels.csv", b"11,2\n13,4\n");
    let plain = packed(path, &all()).unwrap();
    assert!(plain.card().classes.is_empty());
    noted(&plain, "1 table of points was left alone");
}

#[test]
fn a_level_of_folders_is_the_class() {
    let root = tempfile::tempdir().unwrap();
    for (i, name) in ["a/cat/0.png", "a/dog/1.png", "b/cat/2.png"].iter().enumerate() {
        write(root.path(), name, &png(8, 8, i as u32));
    }
    let level = |level| packed(root.path(), &Options { class_level: Some(level), ..all() });
    assert_eq!(classes(&level(1).unwrap()), ["a", "a", "b"]);
    assert_eq!(classes(&level(2).unwrap()), ["cat", "dog", "cat"]);
    assert_eq!(classes(&packed(root.path(), &all()).unwrap()), ["a", "a", "b"]);
    says(&level(3).unwrap_err(), &["`class_level` cannot be 3", "that many folders"]);
    says(&level(0).unwrap_err(), &["`class_level` cannot be 0", "counted from 1"]);
}

#[test]
fn values_are_inverted_and_binarized() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "g/a.png", &gray(&[0, 127, 128, 255], 2));
    let folder = root.path().join("g");
    let values = |binarize, invert| {
        let dataset = packed(&folder, &Options { binarize, invert, ..all() }).unwrap();
        dataset.require(Split::Train).unwrap().image(0).to_vec()
    };
    assert_eq!(values(true, false), [0, 0, 255, 255]);
    assert_eq!(values(false, true), [255, 128, 127, 0]);
    assert_eq!(values(true, true), [255, 255, 0, 0]);
    let both = Options { binarize: true, invert: true, ..all() };
    let dataset = packed(&folder, &both).unwrap();
    noted(&dataset, "are inverted");
    noted(&dataset, "are 0 or 255");
    let alpha = RgbaImage::from_pixel(1, 1, Rgba([10, 200, 130, 77]));
    write(root.path(), "c/a.png", &encoded(&DynamicImage::from(alpha), ImageFormat::Png));
    let dataset = packed(&root.path().join("c"), &Options { channels: Some(4), ..both.clone() }).unwrap();
    assert_eq!(dataset.require(Split::Train).unwrap().image(0), [255, 0, 0, 77], "alpha is kept");
    write(root.path(), "t.txt", b"text");
    says(
        &packed(&root.path().join("t.txt"), &both).unwrap_err(),
        &["`binarize` cannot be true", "no images"],
    );
}

#[test]
fn an_array_that_may_be_one_image_or_many_is_one() {
    let root = tempfile::tempdir().unwrap();
    let collected = |shape: &[usize]| {
        write(root.path(), "a.npy", &npy("|u1", shape, &vec![99; shape.iter().product()]));
        packed(&root.path().join("a.npy"), &all()).unwrap()
    };
    // Transparency is laid on the background.
    for (channels, kept) in [(1, 1), (3, 3), (4, 3)] {
        let dataset = collected(&[16, 16, channels]);
        assert_eq!((dataset.card().total(), &dataset.card().shape[..]), (1, &[16, 16, kept][..]));
        noted(&dataset, "read as one image of 16x16 pixels");
    }
    assert_eq!(collected(&[1, 16, 16, 3]).card().shape, [16, 16, 3]);
    assert_eq!(collected(&[16, 16, 3, 1]).card().total(), 16);
    assert_eq!(collected(&[3, 16, 16]).card().total(), 3);
    assert_eq!(collected(&[16, 4, 4]).card().total(), 16, "square images are meant");
}

#[test]
fn another_field_of_a_record_is_the_text() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x.jsonl");
    let records = b"{\"id\": 1, \"content\": \"one\"}\n{\"content\": \"tw\\u00f6\", \"title\": \"b\"}\n";
    write(root.path(), "x.jsonl", records);
    let of = |field: &str| packed(&path, &Options { text_field: Some(field.to_owned()), ..all() });
    let dataset = of("content").unwrap();
    let vocabulary = &dataset.card().text.as_ref().unwrap().vocabulary;
    let stream = dataset.require_stream(Split::Train).unwrap();
    assert_eq!(vocabulary.decode(&stream.tokens(0..stream.len())), "onetwö".as_bytes());
    says(
        &packed(&path, &all()).unwrap_err(),
        &["missing field `text`", "the only text in all of them is `content`", "`text_field`"],
    );
    assert_eq!(packed(&path, &all()).unwrap_err().option(), Some("text_field"));
    says(&of("body").unwrap_err(), &["missing field `body`", "`content`"]);
    says(&of("").unwrap_err(), &["`text_field` cannot be empty"]);
    assert_eq!(of("title").unwrap().card().skipped.count, 1);
    // Where two fields hold text, none is suggested.
    write(root.path(), "x.jsonl", b"{\"a\": \"one\", \"b\": \"two\"}\n{\"a\": \"one\", \"b\": \"two\"}\n");
    assert_eq!(packed(&path, &all()).unwrap_err().option(), None);
    says(
        &packed("shapes".as_ref(), &Options { text_field: Some("a".into()), ..Options::default() })
            .unwrap_err(),
        &["`text_field` cannot be a", "no text"],
    );
}
