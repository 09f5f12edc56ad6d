//! Files that were made to do harm, or that rot on disk: nothing hangs, nothing takes memory out of proportion, and a flipped bit
//! is never taken for data where the container has a checksum.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crate::common::*;
use image::{DynamicImage, ImageFormat};
use poiesis_collect::{Dataset, Error, Limits, Options};

fn refusal(path: &Path, options: &Options) -> String {
    told(&packed(path, options).expect_err("this source must be refused"))
}

/// The reasons why files were skipped, by their names.
fn skipped(dataset: &Dataset) -> Vec<(String, String)> {
    let list = &dataset.card().skipped.list;
    list.iter().map(|file| (file.name.clone(), file.reason.clone())).collect()
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_named_and_never_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let fifo = |name: &str| {
        let path = root.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    write(root.path(), "a.png", &png(8, 8, 1));
    fifo("b.png");
    std::os::unix::fs::symlink("/dev/zero", root.path().join("c.png")).unwrap();
    fifo("d.parquet");
    fifo("notes");
    let dataset = packed(root.path(), &Options::default()).unwrap();
    assert_eq!(dataset.card().total(), 1);
    let expected = [("b.png", "it is a FIFO, not a file"), ("c.png", "it is a device, not a file")];
    assert_eq!(skipped(&dataset), expected.map(|(name, reason)| (name.to_owned(), reason.to_owned())));
    let notes = dataset.card().notes.join("\n");
    assert!(notes.contains("2 in the source are not files, such as d.parquet (a FIFO)"), "{notes}");
    for name in ["b.png", "c.png", "d.parquet", "notes"] {
        let text = refusal(&root.path().join(name), &Options::default());
        assert!(
            text.contains(name) && text.contains("not a file") && text.contains("write its output to a file"),
            "{text}"
        );
    }
    // A packed data set with one in it.
    let out = root.path().join("out");
    write(root.path(), "x/a.png", &png(8, 8, 1));
    poiesis_collect::collect(&root.path().join("x"), &out, &Options::default(), &|_| ()).unwrap();
    fs::remove_file(out.join("train-00000.safetensors")).unwrap();
    fifo("out/train-00000.safetensors");
    let text = Dataset::open(&out).unwrap_err().to_string();
    assert!(text.contains("train-00000.safetensors is a FIFO"), "{text}");
}

#[cfg(unix)]
#[test]
fn doubled_links_are_no_maze() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    for i in 0..30 {
        write(outside.path(), &format!("{i}/{i}.png"), &png(8, 8, i));
        for side in ["left", "right"] {
            let next = outside.path().join((i + 1).to_string());
            std::os::unix::fs::symlink(next, outside.path().join(format!("{i}/{side}"))).unwrap();
        }
    }
    std::os::unix::fs::symlink(outside.path().join("0"), root.path().join("all")).unwrap();
    let dataset = packed(root.path(), &Options::default()).unwrap();
    assert_eq!(dataset.card().total(), 30);
    let notes = dataset.card().notes.join("\n");
    assert!(notes.contains("29 links lead to folders that are read anyway"), "{notes}");
    // Also where it is looked up whether a cached data set is still that of its source.
    let cache = root.path().join(".cache");
    let source = root.path().to_str().unwrap();
    let cached = poiesis_collect::open_or_collect(source, &Options::default(), &cache, &|_| ()).unwrap();
    assert_eq!(cached.card().fingerprint, dataset.card().fingerprint);
}

#[test]
fn what_would_take_more_memory_than_is_allowed_is_skipped_with_the_remedy() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.png", &png(8, 8, 1));
    // A few bytes that claim 100 million pixels of 16 bits.
    let mut huge = encoded(&DynamicImage::new_rgba16(8, 8), ImageFormat::Png);
    let (header, sum) = (16..24, 29..33);
    huge[header].copy_from_slice(&[10_000_u32, 10_000].map(u32::to_be_bytes).concat());
    let crc = crc32(&huge[12..29]).to_be_bytes();
    huge[sum].copy_from_slice(&crc);
    write(root.path(), "b.png", &huge);
    let options = |max_memory| {
        let limits = Limits { max_memory, ..Limits::default() };
        Options { limits, ..sized(8) }
    };
    let dataset = packed(root.path(), &options(1 << 30)).unwrap();
    let list = &dataset.card().skipped.list;
    assert_eq!((list[0].name.as_str(), list[0].option.as_deref()), ("b.png", Some("max_memory")));
    let expected = "decoding it takes about 1202 MB of memory, above the 805 MB that are left for that";
    assert_eq!(list[0].reason, expected);
    assert_eq!(list[0].hint().unwrap(), "allow more memory with `max_memory`");
    // With more memory, what is wrong is that it ends early.
    let dataset = packed(root.path(), &options(8 << 30)).unwrap();
    assert!(!skipped(&dataset)[0].1.contains("memory"), "{:?}", skipped(&dataset));
    let text = refusal(root.path(), &options(1 << 20));
    assert!(text.contains("`max_memory` cannot be 1048576") && text.contains("at least 16 MiB"), "{text}");
}

#[test]
fn images_that_wait_for_memory_come_out_the_same() {
    let root = tempfile::tempdir().unwrap();
    (0..12).for_each(|i| write(root.path(), &format!("{i:02}.png"), &png(600, 500, i)));
    let limits = Limits { max_memory: 16 << 20, ..Limits::default() };
    let tight = Options { limits, ..sized(64) };
    let whole = files_with_threads(root.path(), &sized(64), 4);
    assert!(whole == files_with_threads(root.path(), &tight, 4));
    assert!(whole == files_with_threads(root.path(), &tight, 1));
}

#[test]
fn sound_that_would_grow_without_measure_is_refused() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.wav", &wav(1, 1, 16, &[0; 1000]));
    let text = refusal(&root.path().join("a.wav"), &Options::default());
    assert!(text.contains("its sample rate is 1 Hz, and 100 to 1000000 are read"), "{text}");
    write(root.path(), "b.wav", &wav(100, 1, 16, &vec![0; 500_000]));
    let options = Options { sample_rate: Some(384_000), ..Options::default() };
    let text = refusal(&root.path().join("b.wav"), &options);
    assert!(text.contains("MB of memory") && text.contains("`max_memory`"), "{text}");
    // Several at once wait for each other.
    (0..6).for_each(|i| write(root.path(), &format!("c/{i}.wav"), &wav(8000, 1, 16, &vec![i; 100_000])));
    let limits = Limits { max_memory: 16 << 20, ..Limits::default() };
    let options = Options { sample_rate: Some(16_000), ..Options::default() };
    let tight = Options { limits, ..options.clone() };
    let path = root.path().join("c");
    assert!(files_with_threads(&path, &options, 2) == files_with_threads(&path, &tight, 2));
}

#[test]
fn arrays_that_claim_more_than_they_hold_take_nothing() {
    let root = tempfile::tempdir().unwrap();
    let lie = npy("|u1", &[1, 65_535, 65_535, 4], &[0; 64]);
    write(root.path(), "a.npz", &zip(&[("x.npy", &lie)]));
    let text = refusal(&root.path().join("a.npz"), &Options::default());
    assert!(text.contains("x.npy") && text.contains("17179344900 bytes"), "{text}");
    write(root.path(), "x-images-idx3-ubyte", &idx(&[1, 65_535, 65_535], &[0; 64]));
    let text = refusal(&root.path().join("x-images-idx3-ubyte"), &Options::default());
    assert!(text.contains("promises 1 images of 65535x65535x1, but the file ends early"), "{text}");
}

/// A tar header of GNU with a checksum.
fn tar_header(name: &str, kind: u8, size: u64, fill: &dyn Fn(&mut [u8])) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    fill(header.as_mut_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn names_in_archives_are_not_read_without_end() {
    let root = tempfile::tempdir().unwrap();
    let long = (3 << 20) as u64;
    let mut bytes = tar_header("././@LongLink", b'L', long, &|_| ());
    bytes.extend(vec![b'a'; long as usize]);
    bytes.extend(tar_header("a.png", b'0', 0, &|_| ()));
    bytes.extend([0; 1024]);
    write(root.path(), "a.tar", &bytes);
    write(root.path(), "a.tar.gz", &gzip(&bytes));
    for name in ["a.tar", "a.tar.gz"] {
        let text = refusal(&root.path().join(name), &Options::default());
        assert!(text.contains("take more than 1048576 bytes"), "{name}: {text}");
    }
    // Long names as they are used are read, also behind a large file.
    let name = format!("{}/b.png", "long-".repeat(60));
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [("a.bin", vec![7; 2 << 20]), (name.as_str(), png(8, 8, 1))] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, &content[..]).unwrap();
    }
    let bytes = archive.into_inner().unwrap();
    write(root.path(), "b.tar", &bytes);
    write(root.path(), "b.tar.gz", &gzip(&bytes));
    for name in ["b.tar", "b.tar.gz"] {
        assert_eq!(packed(&root.path().join(name), &Options::default()).unwrap().card().total(), 1, "{name}");
    }
}

#[test]
fn a_sparse_file_in_an_archive_is_read() {
    let root = tempfile::tempdir().unwrap();
    // A bitmap of which only the first block of 512 bytes and the last one are stored.
    let mut image = encoded(&DynamicImage::new_rgb8(64, 64), ImageFormat::Bmp);
    image.resize(image.len().next_multiple_of(512), 0);
    let last = image.len() - 512;
    let octal = |number: usize| format!("{number:011o}\0").into_bytes();
    let sparse = |header: &mut [u8]| {
        for (at, number) in [(386, 0), (398, 512), (410, last), (422, 512), (483, image.len())] {
            header[at..at + 12].copy_from_slice(&octal(number));
        }
    };
    let mut bytes = tar_header("a.bmp", b'S', 1024, &sparse);
    bytes.extend(&image[..512]);
    bytes.extend(&image[last..]);
    bytes.extend([0; 1024]);
    write(root.path(), "a.tar", &bytes);
    write(root.path(), "b/a.bmp", &image);
    let whole = packed(&root.path().join("b"), &Options::default()).unwrap();
    let found = packed(&root.path().join("a.tar"), &Options::default()).unwrap();
    assert_eq!(found.card().fingerprint, whole.card().fingerprint);
    // One that claims 8 EB beside it is skipped.
    let endless =
        |header: &mut [u8]| header[483..495].copy_from_slice(&[&[0x80, 0, 0, 0][..], &[0x7f; 8]].concat());
    let mut hostile = tar_header("b.bmp", b'S', 0, &endless);
    hostile.extend(&bytes);
    write(root.path(), "c.tar", &hostile);
    match packed(&root.path().join("c.tar"), &Options::default()) {
        Ok(dataset) => assert_eq!(skipped(&dataset)[0].0, "b.bmp"),
        Err(error) => assert!(error.to_string().contains("c.tar"), "{error}"),
    }
}

/// The checksum of zip, gzip and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

/// A zip archive whose files are stored as they are, so that a flipped bit changes nothing but its own byte.
fn stored(files: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write as _;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in files {
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Flips the lowest bit of a byte a little before the end of `inner`, which lies somewhere in `outer`.
fn flipped(outer: &[u8], inner: &[u8]) -> Vec<u8> {
    let at = outer.windows(inner.len()).position(|window| window == inner).unwrap();
    let mut bytes = outer.to_vec();
    bytes[at + inner.len() - 3] ^= 1;
    bytes
}

#[test]
fn every_container_is_read_to_its_checksum() {
    let root = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        write(root.path(), name, bytes);
        let text = refusal(&root.path().join(name), &Options::default());
        assert!(text.contains(name), "{text}");
    };
    // Arrays, whose values hide a flipped bit: images and labels.
    let pixels: Vec<u8> = (0..200).collect();
    let images = npy("|u1", &[2, 10, 10], &pixels);
    let numbers = [0_i64, 1].map(i64::to_le_bytes).concat();
    let labels = npy("<i8", &[2], &numbers);
    let whole = stored(&[("x.npy", &images), ("y.npy", &labels)]);
    write(root.path(), "whole.npz", &whole);
    assert_eq!(packed(&root.path().join("whole.npz"), &Options::default()).unwrap().card().total(), 2);
    refused("images.npz", &flipped(&whole, &images));
    refused("labels.npz", &flipped(&whole, &labels));
    // A bitmap and a text in a zip.
    let bitmap = encoded(&DynamicImage::from(picture(8, 8, 1)), ImageFormat::Bmp);
    refused("image.zip", &flipped(&stored(&[("a.bmp", &bitmap)]), &bitmap));
    let text = b"the quick brown fox jumps over the lazy dog";
    refused("text.zip", &flipped(&stored(&[("a.txt", text)]), text));
    // The sums of gzip are the last eight bytes.
    let wrong_sum = |mut bytes: Vec<u8>| {
        let at = bytes.len() - 8;
        bytes[at] ^= 1;
        bytes
    };
    refused("images.tar.gz", &wrong_sum(gzip(&tar(&[("a.bmp", &bitmap)]))));
    refused("text.txt.gz", &wrong_sum(gzip(text)));
    refused("points.csv.gz", &wrong_sum(gzip(b"1,2\n3,4\n")));
    refused("x-images-idx3-ubyte.gz", &wrong_sum(gzip(&idx(&[2, 10, 10], &pixels))));
    // Chunks of PNG have sums of their own.
    let image = png(8, 8, 1);
    let idat = image.windows(4).position(|window| window == b"IDAT").unwrap();
    let mut damaged = image.clone();
    let length =
        u32::from_be_bytes([image[idat - 4], image[idat - 3], image[idat - 2], image[idat - 1]]) as usize;
    damaged[idat + 4 + length] ^= 1;
    write(root.path(), "png/a.png", &damaged);
    assert!(refusal(&root.path().join("png"), &Options::default()).contains("a.png"));
    // A frame of FLAC has a sum, and the header one of all samples.
    let sound = flac(8000, 1, 16, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let mut damaged = sound.clone();
    let at = damaged.len() - 5;
    damaged[at] ^= 1;
    write(root.path(), "flac/a.flac", &damaged);
    assert!(refusal(&root.path().join("flac"), &Options::default()).contains("a.flac"));
}

#[test]
fn an_output_that_cannot_be_made_is_seen_before_the_work() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "file", b"mine");
    let begun = std::sync::atomic::AtomicBool::new(false);
    let progress = |_| begun.store(true, std::sync::atomic::Ordering::Relaxed);
    let out = root.path().join("file/set");
    let error =
        poiesis_collect::collect("shapes".as_ref(), &out, &Options::default(), &progress).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert!(!begun.into_inner(), "nothing was made in vain");
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"mine");
}
