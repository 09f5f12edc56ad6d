//! What the tests of this crate share: small images, files around them, and a data set collected from a path.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod demos;

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
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

/// What an error says, then what its hint says to do. Neither may name a flag of the command line.
pub(crate) fn told(error: &Error) -> String {
    let told = format!("{error}; {}", error.hint().unwrap_or_default());
    assert!(!told.contains("--"), "a flag is named: {told}");
    told
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

/// The labels of a table.
pub(crate) enum Labels {
    Numbers(Vec<i64>),
    Words(Vec<&'static str>),
}

/// A parquet table as the Hugging Face hub stores it: images as `{bytes, path}`, some without bytes, and a named column
/// of labels.
pub(crate) fn table(
    images: &[Option<Vec<u8>>],
    label: (&str, Labels),
    features: Option<&str>,
    codec: Compression,
) -> Vec<u8> {
    let (name, labels) = label;
    let kind = match labels {
        Labels::Numbers(_) => format!("optional int64 {name}"),
        Labels::Words(_) => format!("optional binary {name} (UTF8)"),
    };
    let image = "optional group image { optional binary bytes; optional binary path (UTF8); }";
    parquet(&format!("message table {{ {image} {kind}; }}"), features, codec, |group| {
        let bytes: Vec<_> = images.iter().flatten().map(|bytes| ByteArray::from(bytes.clone())).collect();
        let levels: Vec<i16> = images.iter().map(|bytes| 1 + i16::from(bytes.is_some())).collect();
        column::<ByteArrayType>(group, &bytes, Some(&levels));
        column::<ByteArrayType>(
            group,
            &vec![ByteArray::from("x.png"); images.len()],
            Some(&vec![2; images.len()]),
        );
        let levels = Some(&vec![1; images.len()][..]);
        match labels {
            Labels::Numbers(numbers) => column::<Int64Type>(group, &numbers, levels),
            Labels::Words(words) => {
                let words: Vec<_> = words.into_iter().map(ByteArray::from).collect();
                column::<ByteArrayType>(group, &words, levels);
            }
        }
    })
}

/// A parquet table with one column, `image`, of plain bytes.
pub(crate) fn plain_table(images: &[Vec<u8>], codec: Compression) -> Vec<u8> {
    parquet("message table { required binary image; }", None, codec, |group| {
        let bytes: Vec<_> = images.iter().map(|bytes| ByteArray::from(bytes.clone())).collect();
        column::<ByteArrayType>(group, &bytes, None);
    })
}

/// A parquet table whose columns are written by `write`.
pub(crate) fn parquet(
    schema: &str,
    features: Option<&str>,
    codec: Compression,
    write: impl FnOnce(&mut SerializedRowGroupWriter<'_, &mut Vec<u8>>),
) -> Vec<u8> {
    let metadata = features.map(|text| vec![KeyValue::new("huggingface".to_owned(), text.to_owned())]);
    let properties =
        WriterProperties::builder().set_key_value_metadata(metadata).set_compression(codec).build();
    let schema = Arc::new(parse_message_type(schema).expect("the schema is good"));
    let mut file = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut file, schema, Arc::new(properties)).expect("memory takes it");
    let mut group = writer.next_row_group().expect("memory takes it");
    write(&mut group);
    group.close().expect("memory takes it");
    writer.close().expect("memory takes it");
    file
}

/// Writes the next column of a table; `levels` say where a value is missing.
pub(crate) fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) {
    let mut column = group.next_column().expect("memory takes it").expect("the schema has the column");
    column.typed::<T>().write_batch(values, levels, None).expect("memory takes it");
    column.close().expect("memory takes it");
}

/// An IDX file.
pub(crate) fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// A WAV file of whole numbers of `bits` bits.
pub(crate) fn wav(rate: u32, channels: u16, bits: u16, samples: &[i32]) -> Vec<u8> {
    let format = hound::SampleFormat::Int;
    write_wav(
        hound::WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: format },
        samples,
    )
}

/// A WAV file of floating-point numbers.
pub(crate) fn wav_float(rate: u32, samples: &[f32]) -> Vec<u8> {
    let sample_format = hound::SampleFormat::Float;
    write_wav(hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 32, sample_format }, samples)
}

fn write_wav<S: hound::Sample + Copy>(spec: hound::WavSpec, samples: &[S]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).expect("memory takes it");
    samples.iter().for_each(|&sample| writer.write_sample(sample).expect("memory takes it"));
    writer.finalize().expect("memory takes it");
    bytes.into_inner()
}

/// A FLAC file of 16 or 24 bits that stores its samples as they are, in frames of up to 100.
pub(crate) fn flac(rate: u32, channels: u8, bits: u8, samples: &[i32]) -> Vec<u8> {
    const BLOCK: usize = 100;
    let count = samples.len() / usize::from(channels);
    let mut file = b"fLaC\x80\0\0\x22".to_vec();
    file.extend([0, BLOCK as u8, 0, BLOCK as u8, 0, 0, 0, 0, 0, 0]);
    let facts =
        u64::from(rate) << 44 | u64::from(channels - 1) << 41 | u64::from(bits - 1) << 36 | count as u64;
    file.extend(facts.to_be_bytes());
    file.extend([0; 16]);
    for (number, block) in samples.chunks(BLOCK * usize::from(channels)).enumerate() {
        let length = block.len() / usize::from(channels);
        let mut frame = vec![0xff, 0xf8, 0x70, (channels - 1) << 4, number as u8];
        frame.extend((length as u16 - 1).to_be_bytes());
        frame.push(crc(&frame, 8, 0x07) as u8);
        for channel in 0..usize::from(channels) {
            frame.push(0b0000_0010);
            for sample in block.iter().skip(channel).step_by(usize::from(channels)) {
                frame.extend(&sample.to_be_bytes()[4 - usize::from(bits / 8)..]);
            }
        }
        frame.extend((crc(&frame, 16, 0x8005) as u16).to_be_bytes());
        file.extend(frame);
    }
    file
}

/// The checksums of FLAC and Ogg: no reflection, nothing added.
pub(crate) fn crc(bytes: &[u8], bits: u32, polynomial: u32) -> u32 {
    let (top, mask) = (1 << (bits - 1), ((1_u64 << bits) - 1) as u32);
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << (bits - 8), |crc, _| {
            (if crc & top != 0 { crc << 1 ^ polynomial } else { crc << 1 }) & mask
        })
    })
}

/// Every file of a packed data set with its bytes, in order of the names.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut all: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be read"))
        .map(|entry| {
            let bytes = fs::read(entry.path()).expect("a packed file can be read");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    all.sort();
    all
}

/// Collects into a folder that is looked at byte by byte, on a number of threads.
pub(crate) fn files_with_threads(source: &Path, options: &Options, threads: usize) -> Vec<(String, Vec<u8>)> {
    let root = tempfile::tempdir().expect("a folder can be made");
    let out = root.path().join("set");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    pool.install(|| collect(source, &out, options, &|_| ())).expect("the source is good");
    files(&out)
}
