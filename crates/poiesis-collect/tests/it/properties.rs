//! What must hold for any input: packing loses nothing, and no bytes make a reader panic.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crate::common::*;
use image::{DynamicImage, ImageFormat};
use parquet::basic::Compression;
use poiesis_collect::{Dataset, Options, Split, collect};
use proptest::prelude::*;

/// Shape and pixels of a small data set, with labels.
fn arrays() -> impl Strategy<Value = ([usize; 4], Vec<u8>, Vec<u8>)> {
    (1..40_usize, 1..9_usize, 1..9_usize, prop_oneof![Just(1_usize), Just(3), Just(4)]).prop_flat_map(
        |(n, h, w, c)| {
            let values = proptest::collection::vec(any::<u8>(), n * h * w * c);
            let labels = proptest::collection::vec(0..5_u8, n);
            (Just([n, h, w, c]), values, labels)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_packed_comes_back((shape, values, labels) in arrays(), held in 0..90_u8, shard in 1..2000_u64) {
        let root = tempfile::tempdir().unwrap();
        let file = zip(&[
            ("images.npy", &npy("|u1", &shape, &values)),
            ("labels.npy", &npy("|u1", &[shape[0]], &labels)),
        ]);
        write(root.path(), "x.npz", &file);
        let options =
            Options { holdout: f64::from(held) / 100.0, shard_bytes: shard, channels: Some(shape[3] as u8), ..Options::default() };
        let dataset = packed(&root.path().join("x.npz"), &options).unwrap();
        // Train and validation together are the source, each in its order.
        let mut expected: Vec<_> = values.chunks_exact(shape[1..].iter().product()).zip(&labels).collect();
        for split in Split::ALL {
            let Some(view) = dataset.split(split) else { continue };
            let mut rest = expected.iter();
            for i in 0..view.len() {
                let found = (view.image(i), view.label(i).unwrap());
                prop_assert!(rest.any(|&(image, &label)| (image, u32::from(label)) == found), "{split} {i}");
            }
            let seen: Vec<_> = (0..view.len()).map(|i| view.image(i)).collect();
            expected.retain(|(image, _)| !seen.contains(image));
        }
        prop_assert!(expected.is_empty(), "{} examples are in no split", expected.len());
        prop_assert_eq!(dataset.card().total(), shape[0]);
    }

    #[test]
    fn no_bytes_make_a_source_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..WHOLE) {
        let (name, _) = &whole()[kind];
        collect_bytes(name, &bytes);
    }

    #[test]
    fn no_damage_makes_a_source_panic(kind in 0..WHOLE, cut in 0.2..1.0, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let (name, mut bytes) = whole().swap_remove(kind);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        collect_bytes(name, &bytes);
        bytes.truncate((bytes.len() as f64 * cut) as usize);
        collect_bytes(name, &bytes);
    }

    #[test]
    fn no_damage_makes_a_packed_set_panic(card in any::<bool>(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("set");
        let options = Options { count: Some(20), size: Some((4, 4)), holdout: 0.0, ..Options::default() };
        collect("shapes".as_ref(), &out, &options, &|_| ()).unwrap();
        let file = out.join(if card { "dataset.json" } else { "train-00000.safetensors" });
        let mut bytes = fs::read(&file).unwrap();
        // In a shard, damage to the header is what matters.
        let end = if card { bytes.len() } else { 400 };
        bytes[at.index(end)] = value;
        fs::write(&file, &bytes).unwrap();
        if let Ok(dataset) = Dataset::open(&out) {
            let _ = dataset.verify();
            for view in Split::ALL.into_iter().filter_map(|split| dataset.split(split)) {
                for i in 0..view.len() {
                    let _ = (view.image(i), view.label(i), view.factors(i));
                }
            }
        }
    }
}

/// How many files [`whole`] has.
const WHOLE: usize = 19;

/// A small good file of every format.
fn whole() -> Vec<(&'static str, Vec<u8>)> {
    let image = png(6, 5, 1);
    let picture = DynamicImage::from(picture(16, 16, 2));
    let files: [(&str, &[u8]); 4] =
        [("a/1.png", &image), ("a/1.cls", b"3"), ("b/2.png", &image), ("b/2.cls", b"1")];
    let array = npy("|u1", &[2, 2, 2], &[1; 8]);
    vec![
        ("x.tar", tar(&files)),
        ("x.tar.gz", gzip(&tar(&files))),
        ("x.zip", zip(&files)),
        ("x.npz", zip(&[("x.npy", &array), ("y.npy", &npy("<i4", &[2], &[1; 8]))])),
        ("x.npy", array),
        (
            "x.parquet",
            table(
                &[Some(image.clone()), None],
                ("label", Labels::Numbers(vec![1, 0])),
                None,
                Compression::SNAPPY,
            ),
        ),
        ("images-idx3-ubyte", idx(&[2, 2, 2], &[1; 8])),
        ("images-idx3-ubyte.gz", gzip(&idx(&[2, 2, 2], &[1; 8]))),
        ("folder/x.png", image),
        ("folder/x.jpg", encoded(&picture, ImageFormat::Jpeg)),
        ("folder/x.webp", encoded(&picture, ImageFormat::WebP)),
        ("folder/x.gif", encoded(&picture, ImageFormat::Gif)),
        ("folder/x.tiff", encoded(&picture, ImageFormat::Tiff)),
        ("x.txt", "one\r\ntwo \u{e9}\n".into()),
        ("x.jsonl", b"{\"text\": \"one\"}\n{\"text\": \"two\"}\n".to_vec()),
        ("x.wav", wav(8000, 2, 16, &[1, -2, 300, -400, 5, 6])),
        ("y.wav", wav_float(8000, &[0.5, -0.25, 1.5])),
        ("x.flac", flac(8000, 1, 16, &[1; 250])),
        ("folder/x.flac", flac(44_100, 2, 24, &[-70_000; 250])),
    ]
}

/// Collects a file of these bytes; any result will do.
fn collect_bytes(name: &str, bytes: &[u8]) {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), name, bytes);
    let source = root.path().join(name);
    let source = if name.starts_with("folder/") { source.parent().unwrap() } else { Path::new(&source) };
    let _ = packed(source, &Options::default());
}
