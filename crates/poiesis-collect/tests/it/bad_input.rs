//! What users and the world do wrong: every case ends in an error that names the file, the reason and the remedy,
//! or in a skipped file that is counted and listed. Nothing half-written is left behind; `packed` checks that.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::*;
use image::{DynamicImage, GrayImage, ImageFormat, Luma};
use poiesis_collect::{Dataset, Error, Limits, Options, Split, collect, open_or_collect};

/// The message of the error that collecting must end in.
fn message(source: &Path, options: &Options) -> String {
    told(&packed(source, options).expect_err("this source must be refused"))
}

/// Asserts that a message speaks of everything it should.
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    assert!(!message.ends_with('.'), "{message:?} ends in a full stop");
}

/// A folder with `count` good images, named `000.png` and so on.
fn good(root: &Path, count: u32) {
    for i in 0..count {
        write(root, &format!("{i:03}.png"), &png(8, 8, i));
    }
}

#[test]
fn sources_that_hold_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    says(
        &message(&path.join("absent"), &Options::default()),
        &["absent does not exist", "shapes, rings, grid"],
    );
    fs::create_dir(path.join("empty")).unwrap();
    says(&message(&path.join("empty"), &Options::default()), &["empty holds no image", "PNG, JPEG"]);
    write(path, "text/readme.md", b"hello");
    says(&message(&path.join("text"), &Options::default()), &["text holds no image"]);
    says(
        &message(&path.join("text/readme.md"), &Options::default()),
        &["readme.md is of no known format", "npz"],
    );
    write(path, "x.zip", &zip(&[("readme.md", b"hello")]));
    says(&message(&path.join("x.zip"), &Options::default()), &["x.zip holds no image"]);
    write(path, "x.tar", &tar(&[("readme.md", b"hello")]));
    says(&message(&path.join("x.tar"), &Options::default()), &["x.tar holds no image"]);
    write(path, "two/a.zip", b"PK");
    write(path, "two/b.zip", b"PK");
    says(&message(&path.join("two"), &Options::default()), &["a.zip", "fetch it again"]);
}

#[test]
fn a_folder_without_one_usable_image() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.png", b"");
    write(root.path(), "b.jpg", b"hello");
    let text = message(root.path(), &Options::default());
    says(&text, &["none of the 2 images could be used", "a.png", "the file is empty"]);
}

#[test]
fn one_bad_file_among_thousands_is_skipped_counted_and_listed() {
    let root = tempfile::tempdir().unwrap();
    let jpeg = encoded(&DynamicImage::from(picture(40, 40, 1)), ImageFormat::Jpeg);
    for i in 0..1500 {
        write(root.path(), &format!("{i:04}.jpg"), &jpeg);
    }
    write(root.path(), "0700.jpg", &jpeg[..jpeg.len() / 2]);
    write(root.path(), "0900.png", &png(9, 9, 1)[..60]);
    write(root.path(), "1000.gif", b"GIF89a");
    let dataset = packed(root.path(), &sized(8)).unwrap();
    let skipped = &dataset.card().skipped;
    assert_eq!((dataset.card().total(), skipped.count), (1499, 3));
    let names: Vec<_> = skipped.list.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["0700.jpg", "0900.png", "1000.gif"]);
    assert!(skipped.list[0].reason.contains("ends early"), "{:?}", skipped.list[0]);
    assert_eq!(dataset.card().duplicates, 1498);
}

#[test]
fn a_jpeg_cut_anywhere_is_never_taken_for_whole() {
    let root = tempfile::tempdir().unwrap();
    let jpeg = encoded(&DynamicImage::from(picture(64, 64, 1)), ImageFormat::Jpeg);
    for cut in (0..jpeg.len() - jpeg.len() / 8).step_by(jpeg.len() / 40) {
        write(root.path(), &format!("{cut:05}.jpg"), &jpeg[..cut]);
    }
    let text = message(root.path(), &Options::default());
    says(&text, &["none of the"]);
}

#[test]
fn images_that_do_not_fit_together() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "size/a.png", &png(8, 8, 1));
    write(root.path(), "size/b.png", &png(9, 7, 1));
    let text = message(&root.path().join("size"), &Options::default());
    says(&text, &["a.png is 8x8", "b.png is 9x7", "one `size` for all"]);

    let grey = DynamicImage::from(GrayImage::from_pixel(8, 8, Luma([1])));
    write(root.path(), "colour/a.png", &encoded(&grey, ImageFormat::Png));
    write(root.path(), "colour/b.png", &png(8, 8, 1));
    let text = message(&root.path().join("colour"), &Options::default());
    says(&text, &["a.png is grey", "b.png is in colour", "3 `channels`"]);
    let three = Options { channels: Some(3), ..Options::default() };
    assert_eq!(packed(&root.path().join("colour"), &three).unwrap().card().total(), 2);
}

#[test]
fn options_out_of_range() {
    let refused = |options: Options, parts: &[&str]| says(&message("shapes".as_ref(), &options), parts);
    let default = Options::default;
    refused(
        Options { channels: Some(2), ..default() },
        &["`channels` cannot be 2", "1 (grey), 3 (RGB) or 4"],
    );
    refused(Options { channels: Some(4), ..default() }, &["`channels` cannot be 4", "no transparency"]);
    refused(Options { size: Some((0, 8)), ..default() }, &["`size` cannot be 8x0"]);
    refused(Options { size: Some((8, 10_000)), ..default() }, &["`size` cannot be 10000x8"]);
    refused(Options { holdout: 1.0, ..default() }, &["`holdout` cannot be 1"]);
    refused(Options { holdout: f64::NAN, ..default() }, &["`holdout` cannot be NaN"]);
    refused(Options { count: Some(0), ..default() }, &["`count` cannot be 0"]);
}

#[test]
fn idx_files_that_lie() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    let refused = |name: &str, bytes: &[u8], parts: &[&str]| {
        write(path, name, bytes);
        says(&message(&path.join(name), &Options::default()), parts);
        fs::remove_file(path.join(name)).unwrap();
    };
    let name = "x-images-idx3-ubyte";
    let values = [7; 24];
    refused(name, b"", &[name, "is empty or too short"]);
    refused(name, &[0, 0, 8], &["too short"]);
    refused(name, &idx(&[3, 2, 4], &values[..23]), &[name, "promises 3 images of 4x2x1", "ends early"]);
    refused(name, &idx(&[2, 2, 4], &values), &["promises 2 images", "holds more"]);
    refused(name, &idx(&[u32::MAX, 60_000, 60_000], &values), &["promises 4294967295 images", "ends early"]);
    refused(name, &idx(&[0, 2, 4], &[]), &["hold no images"]);
    refused(name, &idx(&[24], &values), &["dimensions [24] are not those of images"]);
    refused(name, &[0, 0, 13, 3, 0, 0, 0, 1], &["type 0xd", "only bytes"]);
    refused(name, b"hello, world", &["does not begin like an IDX file"]);
    let zipped = gzip(&idx(&[3, 2, 4], &values));
    refused(
        "x-images-idx3-ubyte.gz",
        &zipped[..zipped.len() - 9],
        &["x-images-idx3-ubyte.gz", "fetch it again"],
    );

    write(path, name, &idx(&[3, 2, 4], &values));
    write(path, "x-labels-idx1-ubyte", &idx(&[4], &[1, 2, 3, 4]));
    says(&message(path, &Options::default()), &["x-labels-idx1-ubyte", "do not fit the 3 images"]);
    write(path, "x-labels-idx1-ubyte", &idx(&[3], &[1, 2]));
    says(&message(path, &Options::default()), &["promises 3 labels"]);
}

#[test]
fn other_data_files_that_lie() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    let refused = |name: &str, bytes: &[u8], parts: &[&str]| {
        write(path, name, bytes);
        says(&message(&path.join(name), &Options::default()), &[&[name], parts].concat());
    };
    refused("data_batch_1.bin", &[0; 3072], &["not a whole number of records of 3073 bytes"]);
    refused("test_batch.bin", &[77; 3073], &["record 0 has label 77"]);
    refused("train.bin", b"", &["not a whole number of records"]);

    refused("a.npy", &npy("<c8", &[1, 2, 2], &[0; 32]), &["type <c8", "uint8"]);
    refused("b.npy", &npy("|u1", &[1, 2, 2, 5], &[0; 20]), &["5 channels"]);
    refused("c.npy", &npy("|u1", &[3, 2, 2], &[0; 11]), &["promises 12 bytes", "holds 11"]);
    refused("d.npy", &npy("|u1", &[usize::MAX, 65_535, 65_535], &[0; 11]), &["promises"]);
    refused("e.npy", &npy("|u1", &[12], &[0; 12]), &["[n, height, width]"]);
    refused("f.npy", b"\x93NUMPY\x01\x00", &["ends early"]);
    refused("g.npz", &zip(&[("weights.npy", &npy("|u1", &[1, 2, 2], &[0; 4]))]), &["weights", "rename one"]);
    let labels = npy("|u1", &[2], &[0; 2]);
    let images = npy("|u1", &[1, 2, 2], &[0; 4]);
    refused("h.npz", &zip(&[("x.npy", &images), ("y.npy", &labels)]), &["does not fit the 1 images"]);
    refused("i.npz", &zip(&[("x.npy", &images)])[..50], &["save it again"]);

    refused("a.parquet", b"PAR1 and nothing else", &["fetch it again"]);
    refused("empty.zip", b"", &["it is empty"]);
}

#[test]
fn archives_that_end_early() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    let images: Vec<_> = (0..20).map(|i| (format!("{i}.png"), png(30, 30, i))).collect();
    let files: Vec<(&str, &[u8])> =
        images.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let whole = [("a.tar", tar(&files)), ("b.tar.gz", gzip(&tar(&files))), ("c.zip", zip(&files))];
    for (name, bytes) in &whole {
        for cut in [bytes.len() / 3, bytes.len() / 2, bytes.len() - bytes.len() / 10] {
            write(path, name, &bytes[..cut]);
            says(&message(&path.join(name), &Options::default()), &[name, "fetch it again"]);
        }
    }
}

#[test]
fn entries_that_lead_out_of_the_archive_or_are_links_are_not_read() {
    let root = tempfile::tempdir().unwrap();
    let image = png(8, 8, 1);
    let names = ["ok/a.png", "../../evil.png", "/etc/evil.png", "ok/../../evil.png"];
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, image.as_slice())).collect();
    let mut linked = tar::Builder::new(tar(&files[..0]));
    linked.append_data(&mut header(&image), "ok/a.png", image.as_slice()).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    linked.append_link(&mut link, "ok/link.png", "/etc/passwd").unwrap();
    write(root.path(), "box/inner/a.tar", &tar(&files));
    write(root.path(), "box/inner/b.zip", &zip(&files));
    for name in ["a.tar", "b.zip"] {
        let dataset = packed(&root.path().join("box/inner").join(name), &Options::default()).unwrap();
        let skipped = &dataset.card().skipped;
        assert_eq!((dataset.card().total(), skipped.count), (1, 3), "{name}");
        assert!(skipped.list.iter().all(|file| file.reason.contains("out of the archive")), "{skipped:?}");
    }
    assert!(!root.path().join("evil.png").exists() && !root.path().join("box/evil.png").exists());
    fs::write(root.path().join("c.tar"), &linked.into_inner().unwrap()[1024..]).unwrap();
    let dataset = packed(&root.path().join("c.tar"), &Options::default()).unwrap();
    assert_eq!(dataset.card().skipped.list[0].name, "ok/link.png");
    assert!(dataset.card().skipped.list[0].reason.contains("link"));
}

fn header(bytes: &[u8]) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header
}

#[test]
fn bombs_are_skipped() {
    let root = tempfile::tempdir().unwrap();
    let image = png(8, 8, 1);
    let zeros = vec![0; 4 << 20];
    write(root.path(), "a.zip", &zip(&[("ok.png", &image), ("zeros.png", &zeros)]));
    write(root.path(), "b.tgz", &gzip(&tar(&[("ok.png", &image), ("zeros.png", &zeros)])));
    let limits = Limits { file_bytes: 1 << 20, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    for name in ["a.zip", "b.tgz"] {
        let dataset = packed(&root.path().join(name), &options).unwrap();
        assert!(dataset.card().skipped.list[0].reason.contains("above the limit of 1048576"), "{name}");
    }

    // A tiny PNG that claims 60,000 x 60,000 pixels: only its header is read.
    let mut huge = image.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let sum = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&sum.to_be_bytes());
    write(root.path(), "c/huge.png", &huge);
    write(root.path(), "c/ok.png", &image);
    let dataset = packed(&root.path().join("c"), &Options::default()).unwrap();
    let reason = &dataset.card().skipped.list[0].reason;
    assert!(reason.contains("60000x60000") && reason.contains("limit"), "{reason}");
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn outputs_that_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    good(&root.path().join("source"), 3);
    let source = root.path().join("source");
    let fails = |out: &Path, parts: &[&str]| {
        says(&told(&collect(&source, out, &Options::default(), &|_| ()).unwrap_err()), parts);
    };
    write(root.path(), "taken/precious.txt", b"data");
    fails(&root.path().join("taken"), &["taken exists and is not empty", "choose another"]);
    assert_eq!(fs::read(root.path().join("taken/precious.txt")).unwrap(), b"data");
    write(root.path(), "file", b"data");
    fails(&root.path().join("file"), &["file exists and is not empty"]);
    fails(&root.path().join("file/inside"), &["cannot write", "file"]);
    if cfg!(target_os = "linux") {
        fails(
            Path::new("/proc/nothing/here"),
            &["cannot write /proc/nothing", "choose another output folder"],
        );
    }
    // An empty folder is no obstacle.
    fs::create_dir(root.path().join("empty")).unwrap();
    collect(&source, &root.path().join("empty"), &Options::default(), &|_| ()).unwrap();
    says(&message(&root.path().join("empty"), &Options::default()), &["is a packed data set already"]);
}

/// Run by the next test in a process of its own, where files may not grow beyond 64 KiB.
#[test]
#[ignore = "only means something with a limit on the size of files"]
fn collect_onto_a_full_disk() {
    let out = std::env::var("POIESIS_TEST_OUT").unwrap();
    let options = Options { count: Some(500), ..Options::default() };
    let error = collect("shapes".as_ref(), Path::new(&out), &options, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    says(&told(&error), &["cannot write", "train-00000.safetensors", "raise the limit on file sizes"]);
}

#[test]
#[cfg(unix)]
fn a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    // Writing beyond the limit then fails like writing to a full disk, instead of ending the process.
    let status = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 64; exec "$0" --ignored --exact collect_onto_a_full_disk"#])
        .arg(test)
        .env("POIESIS_TEST_OUT", root.path().join("set"))
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

/// A packed set of shapes in several shards.
fn shapes(out: &Path) {
    let options = Options { count: Some(60), size: Some((8, 8)), shard_bytes: 4000, ..Options::default() };
    collect("shapes".as_ref(), out, &options, &|_| ()).unwrap();
}

#[test]
fn packed_data_sets_that_are_damaged() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("set");
    shapes(&path);
    let shard = path.join("train-00001.safetensors");
    let (bytes, card) = (fs::read(&shard).unwrap(), fs::read_to_string(path.join("dataset.json")).unwrap());
    let refused = |parts: &[&str]| says(&told(&Dataset::open(&path).unwrap_err()), parts);

    fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    refused(&[
        "train-00001.safetensors is damaged",
        "bytes where dataset.json says",
        "collect the data set again",
    ]);
    fs::write(&shard, b"").unwrap();
    refused(&["train-00001.safetensors is damaged", "it has 0 bytes"]);
    let mut broken = bytes.clone();
    broken[10] = 0xff;
    fs::write(&shard, &broken).unwrap();
    refused(&["train-00001.safetensors is damaged", "not valid safetensors"]);
    let mut renamed = bytes.clone();
    renamed[10..16].copy_from_slice(b"others");
    fs::write(&shard, &renamed).unwrap();
    refused(&["tensor images should be U8"]);
    fs::remove_file(&shard).unwrap();
    refused(&["train-00001.safetensors is damaged", "missing"]);

    let mut changed = bytes.clone();
    *changed.get_mut(2000).unwrap() ^= 1;
    fs::write(&shard, &changed).unwrap();
    let error = Dataset::open(&path).unwrap().verify().unwrap_err();
    says(&error.to_string(), &["set has changed since it was packed", "fingerprint"]);

    fs::write(&shard, &bytes).unwrap();
    let tampered = |from: &str, to: &str, parts: &[&str]| {
        assert!(card.contains(from), "{from}");
        fs::write(path.join("dataset.json"), card.replacen(from, to, 1)).unwrap();
        refused(&[&["dataset.json is damaged"], parts].concat());
    };
    tampered("\"poiesis_dataset\": 1", "\"poiesis_dataset\": 99", &["format 99"]);
    tampered("train-00001.safetensors", "../other.safetensors", &["not a plain file name"]);
    tampered("\"kind\": \"images\"", "\"kind\": \"smells\"", &["smells"]);
    tampered("\"count\": ", "\"count\": 1", &["do not add up"]);
    tampered("{", "", &["line"]);
    fs::write(path.join("dataset.json"), &card).unwrap();
    Dataset::open(&path).unwrap().verify().unwrap();
    fs::remove_file(path.join("dataset.json")).unwrap();
    refused(&["is not a packed data set", "no dataset.json", "collect"]);
    says(&Dataset::open(&root.path().join("no")).unwrap_err().to_string(), &["no does not exist"]);
}

#[test]
fn a_missing_split_is_named() {
    let root = tempfile::tempdir().unwrap();
    shapes(&root.path().join("set"));
    let dataset = Dataset::open(&root.path().join("set")).unwrap();
    assert!(dataset.split(Split::Test).is_none());
    says(&dataset.require(Split::Test).unwrap_err().to_string(), &["shapes has no test split"]);
    let cache = root.path().join("cache");
    let error = open_or_collect("no-such-thing", &Options::default(), &cache, &|_| ()).unwrap_err();
    says(&told(&error), &["no-such-thing does not exist", "shapes, rings, grid"]);
    assert!(!cache.exists(), "a wrong name leaves no cache behind");
}

#[test]
fn a_handful_of_images_is_never_held_out_whole() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "only.png", &png(8, 8, 1));
    let dataset = packed(root.path(), &Options { holdout: 0.999_999, ..Options::default() }).unwrap();
    assert_eq!((dataset.card().count(Split::Train), dataset.card().count(Split::Validation)), (1, 0));
    assert!(dataset.card().notes.iter().any(|note| note.contains("too few different examples")));
    assert!(dataset.folder().ends_with("set"));
}
