//! Small valid files of every kind, a little damaged in many ways: each is read, or refused by an error that names it. The damage
//! comes from a fixed seed. `fuzz/` looks for more, for as long as one likes.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::common::*;
use image::{DynamicImage, ImageFormat};
use parquet::basic::Compression;
use poiesis_collect::{Limits, Options, collect};

/// Mutants of each file.
const MUTANTS: u64 = 24;

/// Numbers by a linear congruence: the same for every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end.max(1) as u64) as usize
    }
}

/// A file with one to four bytes changed, cut short, with a part twice, or with a number made huge.
fn mutant(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes.truncate(at + 1),
            1 => {
                let part = bytes[at..(at + 1 + random.below(40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            2 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            3 => bytes[at] = 0,
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes
}

/// Valid files with the names that they are known by.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let image = |format| encoded(&DynamicImage::from(picture(9, 7, 1)), format);
    let numbers = [0_i64, 1].map(i64::to_le_bytes).concat();
    let pixels: Vec<u8> = (0..200).collect();
    let array = npy("|u1", &[2, 10, 10], &pixels);
    let shard: Vec<(&str, Vec<u8>)> =
        vec![("0.png", png(8, 8, 1)), ("0.cls", b"1".to_vec()), ("1.png", png(8, 8, 2))];
    let shard: Vec<(&str, &[u8])> = shard.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
    let labels = Labels::Numbers(vec![0, 1, 0]);
    let rows: Vec<_> = (0..3).map(|i| Some(png(8, 8, i))).collect();
    vec![
        ("a.png", image(ImageFormat::Png)),
        ("a.jpg", image(ImageFormat::Jpeg)),
        ("a.webp", image(ImageFormat::WebP)),
        ("a.bmp", image(ImageFormat::Bmp)),
        ("a.gif", image(ImageFormat::Gif)),
        ("a.tiff", image(ImageFormat::Tiff)),
        ("a.wav", wav(8000, 2, 24, &[1, -2, 3, 4, 5, 6])),
        ("a.flac", flac(8000, 1, 16, &[1, -2, 3, 4, 5, 6, 7, 8])),
        ("a.npy", array.clone()),
        ("a.npz", zip(&[("x.npy", &array), ("y.npy", &npy("<i8", &[2], &numbers))])),
        ("a.zip", zip(&[("a/0.png", &png(8, 8, 1)), ("b/1.png", &png(8, 8, 2))])),
        ("a.tar", tar(&[("a/0.png", &png(8, 8, 1)), ("b/1.png", &png(8, 8, 2))])),
        ("b.tar", tar(&shard)),
        ("a.tar.gz", gzip(&tar(&shard))),
        ("a-images-idx3-ubyte", idx(&[2, 10, 10], &pixels)),
        ("a.parquet", table(&rows, ("label", labels), None, Compression::SNAPPY)),
        ("e.npz", demos::npz(&demos::cut(&demos::demos(&[3, 4], 0), 0))),
        ("f.npz", demos::npz(&demos::transitions(&demos::demos(&[3, 4], 2), 2))),
        ("e.parquet", demos::transitions_table(&demos::demos(&[3, 4], 2), 2)),
        ("e.jsonl", demos::episode_lines(&demos::demos(&[3, 4], 2), 2).into_bytes()),
        ("f.jsonl", demos::transition_lines(&demos::demos(&[3, 4], 0), 0).into_bytes()),
        ("a.csv", b"x,y\n1,2\n3,4.5e1\n-1,\"7\"\n".to_vec()),
        ("a.jsonl", b"{\"text\": \"one\"}\n{\"text\": \"t\\u00f6\"}\n".to_vec()),
        ("a.txt", "a text with an \u{e9}\r\nand a line\n".into()),
    ]
}

#[test]
fn every_damaged_file_is_read_or_refused_by_its_name() {
    let root = tempfile::tempdir().unwrap();
    let limits = Limits { max_memory: 64 << 20, ..Limits::default() };
    let mut random = Random(1);
    for (name, whole) in files() {
        let is_image =
            ["png", "jpg", "webp", "bmp", "gif", "tiff"].iter().any(|ending| name.ends_with(ending));
        let mut refused = 0;
        for number in 0..=MUTANTS {
            let bytes = if number == 0 { whole.clone() } else { mutant(&whole, &mut random) };
            let (folder, out) = (root.path().join("in"), root.path().join("out"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(name), &bytes).unwrap();
            // Single images are not collected by themselves.
            let source = if is_image { folder.clone() } else { folder.join(name) };
            let options = Options { limits, holdout: 0.0, ..Options::default() };
            let done = catch_unwind(AssertUnwindSafe(|| collect(&source, &out, &options, &|_| ())));
            match done {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    refused += 1;
                    assert!(number > 0, "{name}: {error}");
                    let text = told(&error);
                    assert!(
                        text.contains(name) || text.contains(&*folder.to_string_lossy()),
                        "{name}: {text}"
                    );
                }
                Err(_) => {
                    fs::write(std::env::temp_dir().join(format!("poiesis-mutant-{name}")), &bytes).unwrap();
                    panic!("mutant {number} of {name} is kept in the folder of temporary files");
                }
            }
            fs::remove_dir_all(&folder).unwrap();
            let _ = fs::remove_dir_all(&out);
        }
        // Damage to text is text.
        assert!(refused > 0 || name.ends_with("txt"), "{name}");
    }
}
