//! What the tests of this crate share: small images, files around them, and a data set collected from a path.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use poiesis_collect::{Dataset, Error, Options, collect};

/// Collects a source into a folder of its own and opens what came out.
pub(crate) fn packed(source: &Path, options: &Options) -> Result<Dataset, Error> {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let root = std::env::temp_dir().join(format!("poiesis-collect-test-{}-{number}", std::process::id()));
    let out = root.join("set");
    let report = collect(source, &out, options, &|_| ());
    let opened = report.and_then(|report| {
        let dataset = Dataset::open(&out)?;
        let written = serde_json::to_string(&report.card).expect("a card is plain values");
        let read = serde_json::to_string(dataset.card()).expect("a card is plain values");
        assert_eq!(written, read, "the card reads back as it was written");
        dataset.verify()?;
        Ok(dataset)
    });
    // The maps stay valid after the files are gone; nothing is left behind, whatever the outcome.
    let left: Vec<_> =
        fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name == "set"), "left behind: {left:?}");
    let _ = fs::remove_dir_all(&root);
    opened
}

/// Options with a square size.
pub(crate) fn sized(side: u32) -> Options {
    Options { size: Some((side, side)), ..Options::default() }
}

/// A smooth picture that differs for every seed.
pub(crate) fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave =
            |a: u32, b: u32| ((f64::from(x * a + y * b + seed * 37) * 0.05).sin() * 100.0 + 127.0) as u8;
        Rgb([wave(3, 1), wave(1, 4), wave(2, 5)])
    })
}

/// A file of a given format.
pub(crate) fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("an image can be encoded");
    bytes.into_inner()
}

/// A PNG of [`picture`].
pub(crate) fn png(width: u32, height: u32, seed: u32) -> Vec<u8> {
    encoded(&picture(width, height, seed).into(), ImageFormat::Png)
}

/// Writes a file and the folders above it.
pub(crate) fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("the file is in a folder")).expect("a folder can be made");
    fs::write(path, bytes).expect("a file can be written");
}

/// A tar archive. Names are written as they are, also those that lead out of the archive.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, *bytes).expect("memory takes it");
    }
    archive.into_inner().expect("memory takes it")
}

/// Bytes compressed with gzip.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A zip archive, compressed.
pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("memory takes it");
        archive.write_all(bytes).expect("memory takes it");
    }
    archive.finish().expect("memory takes it").into_inner()
}

/// An array as NumPy saves it.
pub(crate) fn npy(kind: &str, shape: &[usize], values: &[u8]) -> Vec<u8> {
    let shape = shape.iter().map(|n| format!("{n},")).collect::<String>();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

/// An IDX file.
pub(crate) fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    bytes.extend(values);
    bytes
}
