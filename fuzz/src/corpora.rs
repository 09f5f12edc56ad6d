//! Writes the files that fuzzing begins with: small valid ones of every kind, made by code.

#[path = "../../crates/poiesis-collect/tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::*;
use image::{DynamicImage, ImageFormat};
use parquet::basic::Compression;
use poiesis_collect::{Options, collect};

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| write(&corpus, &format!("{target}/{name}"), bytes);
    let images = [
        ("png", ImageFormat::Png),
        ("jpg", ImageFormat::Jpeg),
        ("webp", ImageFormat::WebP),
        ("bmp", ImageFormat::Bmp),
        ("gif", ImageFormat::Gif),
        ("tiff", ImageFormat::Tiff),
    ];
    for (name, format) in images {
        put("images", name, &encoded(&DynamicImage::from(picture(9, 7, 1)), format));
    }
    let pixels: Vec<u8> = (0..200).collect();
    let array = npy("|u1", &[2, 10, 10], &pixels);
    let numbers = [0_i64, 1].map(i64::to_le_bytes).concat();
    let labels = npy("<i8", &[2], &numbers);
    put("npy", "bytes", &array);
    put("npz", "labelled", &zip(&[("x_train.npy", &array), ("y_train.npy", &labels)]));
    let (one, two) = (png(8, 8, 1), png(8, 8, 2));
    let files: [(&str, &[u8]); 2] = [("cat/0.png", &one), ("dog/1.png", &two)];
    put("zip", "classes", &zip(&files));
    put("tar", "classes", &tar(&files));
    put("tar", "gzip", &gzip(&tar(&files)));
    put("webdataset", "labels", &tar(&[("0.png", &one), ("0.cls", b"1"), ("1.a.png", &two), ("1.json", b"{\"label\":2}")]));
    put("idx", "images", &idx(&[2, 10, 10], &pixels));
    put("idx", "gzip", &gzip(&idx(&[2, 10, 10], &pixels)));
    put("cifar", "record", &vec![3; 3073]);
    let rows: Vec<_> = (0..3).map(|i| (i != 1).then(|| png(8, 8, i))).collect();
    for (name, codec) in [("plain", Compression::UNCOMPRESSED), ("snappy", Compression::SNAPPY)] {
        put("parquet", name, &table(&rows, ("label", Labels::Numbers(vec![0, 1, 0])), None, codec));
    }
    put("parquet", "words", &table(&rows, ("label", Labels::Words(vec!["a", "b", "a"])), None, Compression::SNAPPY));
    for (bits, channels) in [(8, 1), (16, 2), (24, 1), (32, 1)] {
        put("wav", &bits.to_string(), &wav(8000, channels, bits, &[1, -2, 3, 4, 5, -6]));
    }
    put("wav", "float", &wav_float(8000, &[0.5, -1.0, 2.0]));
    put("flac", "mono", &flac(8000, 1, 16, &[1, -2, 3, 4, 5, 6, 7, 8]));
    put("flac", "stereo", &flac(8000, 2, 24, &[1, -2, 3, 4, 5, 6, 7, 8]));
    put("csv", "named", b"x,y\n1,2\n3,4.5e1\n-1,\"7\"\n");
    put("csv", "decimals", b"1,5;2\n2;3,25\n");
    put("jsonl", "records", b"{\"text\": \"one\"}\n{\"text\": \"t\\u00f6\"}\n");
    let choices = demos::demos(&[3, 4], 0);
    let vectors = demos::demos(&[4, 4], 2);
    put("npz", "episodes", &demos::npz(&demos::cut(&choices, 0)));
    put("npz", "even-episodes", &demos::npz(&demos::even(&vectors, 2)));
    put("npz", "transitions", &demos::npz(&demos::transitions(&vectors, 2)));
    put("parquet", "transitions", &demos::transitions_table(&vectors, 2));
    put("jsonl", "episodes", demos::episode_lines(&vectors, 2).as_bytes());
    put("jsonl", "transitions", demos::transition_lines(&choices, 0).as_bytes());
    write_own(&put);
}

/// Files of Poiesis itself.
fn write_own(put: &dyn Fn(&str, &str, &[u8])) {
    let root = tempfile::tempdir().expect("a folder can be made");
    let out = root.path().join("set");
    let options = Options { count: Some(20), size: Some((8, 8)), ..Options::default() };
    collect("shapes".as_ref(), &out, &options, &|_| ()).expect("built-in data can be made");
    let read = |name: &str| fs::read(out.join(name)).expect("a packed file can be read");
    put("dataset_json", "shapes", &read("dataset.json"));
    put("checkpoint", "shard", &read("train-00000.safetensors"));
    put("run_json", "least", br#"{"id": "a", "model": "vae", "state": "done"}"#);
    put("archive", "magic", b"POIESIS\n");
}
