//! Every format that is read, in small.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common::*;
use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, Rgba, RgbaImage};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use poiesis_collect::{Crop, Dataset, Options, Split, SplitBy, open_or_collect};

/// The names of the classes of all examples of a split, in order.
fn labels(dataset: &Dataset, split: Split) -> Vec<String> {
    let view = dataset.require(split).unwrap();
    let name =
        |label: Option<u32>| label.map_or("-".to_owned(), |l| dataset.card().classes[l as usize].clone());
    (0..view.len()).map(|i| name(view.label(i))).collect()
}

#[test]
fn folders_of_folders_give_splits_and_classes() {
    let root = tempfile::tempdir().unwrap();
    for (i, name) in
        ["train/dog/b.png", "train/cat/a.png", "valid/dog/c.png", "train/cat/z.PNG"].iter().enumerate()
    {
        write(root.path(), name, &png(12, 12, i as u32));
    }
    write(root.path(), "train/notes.txt", b"not an image");
    write(root.path(), "train/.thumbs/x.png", b"hidden");
    let dataset = packed(root.path(), &Options::default()).unwrap();
    let card = dataset.card();
    assert_eq!(
        (&card.shape[..], &card.classes[..]),
        (&[12, 12, 3][..], &["cat", "dog"].map(String::from)[..])
    );
    assert_eq!(card.split_by, SplitBy::Source);
    assert_eq!(labels(&dataset, Split::Train), ["cat", "cat", "dog"]);
    assert_eq!(labels(&dataset, Split::Validation), ["dog"]);
    assert_eq!(card.splits[0].class_counts, [2, 1]);
    assert!(card.notes[0].starts_with("1 text was left alone"));
    // Without a resize, lossless images arrive as they were.
    assert_eq!(dataset.split(Split::Train).unwrap().image(2), picture(12, 12, 0).as_raw());
}

#[test]
fn a_folder_and_its_archives_are_the_same_data() {
    let root = tempfile::tempdir().unwrap();
    let images: Vec<_> = (0..30).map(|i| (format!("set/c{}/{i:02}.png", i / 10), png(16, 12, i))).collect();
    let files: Vec<(&str, &[u8])> =
        images.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    files.iter().for_each(|(name, bytes)| write(root.path(), &format!("folder/{name}"), bytes));
    write(root.path(), "a.tar", &tar(&files));
    write(root.path(), "b.tgz", &gzip(&tar(&files)));
    write(root.path(), "c.zip", &zip(&files));
    write(root.path(), "lonely/d.zip", &zip(&files));
    let options = sized(8);
    let fingerprint =
        |name: &str| packed(&root.path().join(name), &options).unwrap().card().fingerprint.clone();
    let expected = fingerprint("folder");
    for name in ["a.tar", "b.tgz", "c.zip", "lonely"] {
        assert_eq!(fingerprint(name), expected, "{name}");
    }
}

#[test]
fn all_formats_of_images_and_all_kinds_of_pixels() {
    let root = tempfile::tempdir().unwrap();
    let colour = DynamicImage::from(picture(20, 20, 1));
    let formats = [
        (ImageFormat::Png, "png", 0),
        (ImageFormat::Bmp, "bmp", 0),
        (ImageFormat::Tiff, "tiff", 0),
        (ImageFormat::WebP, "webp", 0),
        (ImageFormat::Jpeg, "jpg", 24),
        (ImageFormat::Gif, "gif", 64),
    ];
    for (format, ending, _) in formats {
        write(root.path(), &format!("{ending}/x.{ending}"), &encoded(&colour, format));
    }
    let dataset = packed(root.path(), &Options { holdout: 0.0, ..Options::default() }).unwrap();
    let view = dataset.require(Split::Train).unwrap();
    assert_eq!((view.len(), dataset.card().classes.len()), (6, 6));
    assert_eq!(view.spread(3).map(|index| index / 2).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(view.spread(9).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    for i in 0..6 {
        let name = &dataset.card().classes[view.label(i).unwrap() as usize];
        let (.., tolerance) = formats.iter().find(|(_, ending, _)| ending == name).unwrap();
        let worst = view.image(i).iter().zip(colour.as_bytes()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= *tolerance, "{name} differs by {worst}");
    }
}

/// Collects one image and returns its pixels.
fn single(image: &DynamicImage, options: &Options) -> Vec<u8> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x.png", &encoded(image, ImageFormat::Png));
    packed(root.path(), options).unwrap().require(Split::Train).unwrap().image(0).to_vec()
}

fn channels(channels: u8) -> Options {
    Options { channels: Some(channels), ..Options::default() }
}

#[test]
fn channels_are_converted_as_documented() {
    let grey: DynamicImage = GrayImage::from_pixel(2, 2, Luma([77])).into();
    assert_eq!(single(&grey, &Options::default()), [77; 4]);
    assert_eq!(single(&grey, &channels(3)), [77; 12]);
    assert_eq!(single(&grey, &channels(4)), [77, 77, 77, 255].repeat(4));

    let deep: DynamicImage = ImageBuffer::<Luma<u16>, _>::from_pixel(1, 1, Luma([32_896_u16 + 120])).into();
    assert_eq!(single(&deep, &Options::default()), [128], "16 bits are rounded, not cut");
    let deep: DynamicImage = ImageBuffer::<Rgb<u16>, _>::from_pixel(1, 1, Rgb([65_535_u16, 200, 128])).into();
    assert_eq!(single(&deep, &Options::default()), [255, 1, 0]);

    let red: DynamicImage = RgbaImage::from_pixel(2, 1, Rgba([255, 0, 0, 51])).into();
    assert_eq!(single(&red, &Options::default()), [255, 204, 204, 255, 204, 204], "over white by default");
    let black = Options { background: [0; 3], ..channels(3) };
    assert_eq!(single(&red, &black), [51, 0, 0, 51, 0, 0]);
    assert_eq!(single(&red, &channels(4)), [255, 0, 0, 51, 255, 0, 0, 51]);
    assert_eq!(single(&red, &Options { background: [0; 3], ..channels(1) }), [15, 15], "BT.601");

    let faint: DynamicImage = GrayAlphaImage::from_pixel(1, 1, image::LumaA([0, 51])).into();
    assert_eq!(single(&faint, &channels(1)), [204]);
    assert_eq!(single(&faint, &channels(4)), [0, 0, 0, 51]);
}

#[test]
fn transparent_pixels_do_not_bleed_when_resized() {
    // Invisible red beside visible blue: the mean must be blue, half transparent.
    let image =
        RgbaImage::from_fn(
            64,
            64,
            |x, _| if x % 2 == 0 { Rgba([255, 0, 0, 0]) } else { Rgba([0, 0, 255, 255]) },
        );
    let small = single(&image.into(), &Options { size: Some((8, 8)), ..channels(4) });
    for pixel in small.chunks_exact(4) {
        assert!(pixel[0] < 3 && pixel[2] > 252 && (120..136).contains(&pixel[3]), "{pixel:?}");
    }
}

#[test]
fn resizing_is_antialiased_and_crops_the_centre() {
    let fine = GrayImage::from_fn(64, 64, |x, y| Luma([if (x + y) % 2 == 0 { 0 } else { 255 }]));
    let small = single(&fine.into(), &sized(16));
    assert!(small.iter().all(|v| (120..136).contains(v)), "a fine chequerboard becomes grey: {small:?}");

    // Left third dark, middle grey, right third bright.
    let wide: DynamicImage =
        GrayImage::from_fn(96, 32, |x, _| Luma([[10, 120, 240][(x / 32) as usize]])).into();
    let cropped = single(&wide, &sized(16));
    assert!(cropped.chunks_exact(16).all(|row| row[4..12].iter().all(|v| *v == 120)), "the middle is kept");
    let stretched = single(&wide, &Options { crop: Crop::None, ..sized(16) });
    assert!(
        stretched.chunks_exact(16).all(|row| row[0] < 25 && row[8].abs_diff(120) < 15 && row[15] > 225),
        "all is kept"
    );
    let oblong = single(&wide, &Options { size: Some((8, 24)), ..Options::default() });
    assert_eq!(oblong.len(), 8 * 24);
}

/// A JPEG whose EXIF header says how it was held.
fn jpeg_held(image: &DynamicImage, orientation: u8) -> Vec<u8> {
    let plain = encoded(image, ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut bytes = plain[..2].to_vec();
    bytes.extend([0xff, 0xe1]);
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&plain[2..]);
    bytes
}

#[test]
fn exif_orientation_is_applied() {
    // Bright on the left as stored; orientation 6 means: turn clockwise, so bright at the top.
    let stored: DynamicImage = GrayImage::from_fn(32, 16, |x, _| Luma([if x < 16 { 250 } else { 5 }])).into();
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x.jpg", &jpeg_held(&stored, 6));
    let dataset = packed(root.path(), &Options::default()).unwrap();
    assert_eq!(dataset.card().shape, [32, 16, 1]);
    let image = dataset.require(Split::Train).unwrap().image(0).to_vec();
    assert!(image[..16 * 14].iter().all(|v| *v > 200) && image[16 * 18..].iter().all(|v| *v < 50));
}

#[test]
fn webdataset_shards_with_numbers_names_and_orphans() {
    let root = tempfile::tempdir().unwrap();
    let image = |seed| png(10, 10, seed);
    let a = tar(&[
        ("s/0001.png", &image(1)),
        ("s/0001.cls", b"2"),
        ("s/0002.json", br#"{"label": 0, "caption": "x"}"#),
        ("s/0002.png", &image(2)),
        ("s/0002.mask.png", &image(9)),
        ("s/0003.cls", b"1"),
    ]);
    let b = tar(&[("s/0004.png", &image(4)), ("s/0005.jpg", &image(5)), ("s/0005.cls", b"1\n")]);
    write(root.path(), "shards/part-000.tar", &a);
    write(root.path(), "shards/part-001.tar", &gzip(&b));
    let options = Options { holdout: 0.0, ..Options::default() };
    for source in ["shards", "shards/part-{000..001}.tar"] {
        let dataset = packed(&root.path().join(source), &options).unwrap();
        assert_eq!(dataset.card().classes, ["0", "1", "2"]);
        assert_eq!(labels(&dataset, Split::Train), ["2", "0", "-", "1"]);
        assert_eq!(
            dataset.require(Split::Train).unwrap().image(1),
            picture(10, 10, 2).as_raw(),
            "not the mask"
        );
        let skipped = &dataset.card().skipped;
        assert_eq!((skipped.count, skipped.list[0].name.as_str()), (1, "part-000.tar: s/0003"));
        assert!(skipped.list[0].reason.contains("no image"));
        assert!(dataset.card().notes.iter().any(|note| note.starts_with("1 images have no label")));
    }

    let named = tar(&[("1.png", &image(1)), ("1.cls", b"dog"), ("2.png", &image(2)), ("2.cls", b"cat")]);
    write(root.path(), "named/train.tar", &named);
    write(root.path(), "named/test.tar", &tar(&[("3.png", &image(3)), ("3.cls", b"cat")]));
    let dataset = packed(&root.path().join("named"), &options).unwrap();
    assert_eq!(labels(&dataset, Split::Train), ["dog", "cat"]);
    assert_eq!(labels(&dataset, Split::Test), ["cat"]);
}

#[test]
fn tables_of_the_hugging_face_hub() {
    let root = tempfile::tempdir().unwrap();
    let images = |seeds: std::ops::Range<u32>| seeds.map(|i| Some(png(9, 9, i))).collect::<Vec<_>>();
    let features = r#"{"info": {"features": {"image": {"_type": "Image"},
        "label": {"names": ["zebra", "ape"], "_type": "ClassLabel"}}}}"#;
    let plain = Compression::UNCOMPRESSED;
    let labelled = |images: &[Option<Vec<u8>>], labels| {
        table(images, ("label", Labels::Numbers(labels)), Some(features), plain)
    };
    let train = labelled(&images(0..70), (0..70).map(|i| i % 2).collect());
    write(root.path(), "hub/data/train-00000-of-00001.parquet", &train);
    let mut held = images(70..73);
    held[1] = None;
    write(root.path(), "hub/data/test-00000-of-00001.parquet", &labelled(&held, vec![1, 1, -1]));
    let dataset = packed(&root.path().join("hub"), &Options::default()).unwrap();
    assert_eq!(dataset.card().classes, ["zebra", "ape"]);
    assert_eq!(labels(&dataset, Split::Train).len(), 70);
    assert_eq!(labels(&dataset, Split::Test), ["ape", "-"]);
    let skipped = &dataset.card().skipped.list[0];
    assert_eq!(skipped.name, "test-00000-of-00001.parquet row 1");
    assert_eq!(skipped.reason, "the table holds no bytes for it");
    assert_eq!(dataset.require(Split::Train).unwrap().image(69), picture(9, 9, 69).as_raw());

    write(root.path(), "odd.parquet", &labelled(&images(0..4), vec![0, 2, 1, 7]));
    let whole = Options { holdout: 0.0, ..Options::default() };
    let dataset = packed(&root.path().join("odd.parquet"), &whole).unwrap();
    assert_eq!(labels(&dataset, Split::Train), ["zebra", "-", "ape", "-"]);
    let note = "2 labels cannot be read and were left out; the first, that of odd.parquet row 1: 2 is none of the 2 \
                classes that the metadata names";
    assert!(dataset.card().notes.iter().any(|found| found == note), "{:?}", dataset.card().notes);

    let words = Labels::Words(vec!["dog", "cat", "dog"]);
    write(root.path(), "bare.parquet", &table(&images(0..3), ("class", words), None, plain));
    let options = Options { holdout: 0.0, ..Options::default() };
    let dataset = packed(&root.path().join("bare.parquet"), &options).unwrap();
    assert_eq!(labels(&dataset, Split::Train), ["dog", "cat", "dog"]);
}

#[test]
fn tables_of_plain_bytes_and_of_every_compression() {
    let root = tempfile::tempdir().unwrap();
    let images: Vec<_> = (0..200).map(|i| png(9, 9, i)).collect();
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        write(root.path(), "plain.parquet", &plain_table(&images, codec));
        let options = Options { holdout: 0.0, ..Options::default() };
        let dataset = packed(&root.path().join("plain.parquet"), &options).unwrap();
        let view = dataset.require(Split::Train).unwrap();
        assert_eq!((view.len(), dataset.card().skipped.count), (200, 0), "{codec}");
        assert_eq!(view.image(199), picture(9, 9, 199).as_raw(), "{codec}");
        assert!(dataset.card().classes.is_empty());
    }
}

#[test]
fn idx_with_labels_and_splits() {
    let root = tempfile::tempdir().unwrap();
    let values: Vec<u8> = (0..60).collect();
    write(root.path(), "train-images-idx3-ubyte.gz", &gzip(&idx(&[5, 3, 4], &values)));
    write(root.path(), "train-labels-idx1-ubyte", &idx(&[5], &[3, 1, 0, 1, 2]));
    write(root.path(), "t10k-images-idx3-ubyte", &idx(&[1, 3, 4], &values[..12]));
    write(root.path(), "t10k-labels-idx1-ubyte.gz", &gzip(&idx(&[1], &[1])));
    let dataset = packed(root.path(), &Options::default()).unwrap();
    assert_eq!(labels(&dataset, Split::Train), ["3", "1", "0", "1", "2"]);
    assert_eq!(labels(&dataset, Split::Test), ["1"]);
    assert_eq!(dataset.require(Split::Train).unwrap().image(4), &values[48..]);
    let card = dataset.card();
    assert_eq!(
        (card.duplicates, card.duplicates_across_splits),
        (1, 1),
        "the test image is the first of train"
    );
    assert!(card.notes[0].contains("1 example also occurs in another split"));
    // One file alone has nothing held out but what its content says.
    let alone = packed(&root.path().join("train-images-idx3-ubyte.gz"), &Options::default()).unwrap();
    assert_eq!((alone.card().total(), alone.card().split_by), (5, SplitBy::Content));
}

#[test]
fn pixels_of_zero_and_one_are_spread() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x.idx", &idx(&[2, 1, 2], &[0, 1, 1, 0]));
    let dataset = packed(root.path(), &Options { holdout: 0.0, ..Options::default() }).unwrap();
    assert_eq!(dataset.require(Split::Train).unwrap().image(0), [0, 255]);
    assert!(dataset.card().notes[0].contains("0 or 1"));
}

#[test]
fn cifar_in_a_folder_and_in_its_archive() {
    let root = tempfile::tempdir().unwrap();
    let record = |labels: &[u8], shade: u8| {
        let planes = [[shade; 1024], [shade + 1; 1024], [shade + 2; 1024]].concat();
        [labels, &planes].concat()
    };
    let train = [record(&[3], 10), record(&[9], 20)].concat();
    let test = record(&[0], 30);
    let names = b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n";
    let files: [(&str, &[u8]); 3] =
        [("c/data_batch_1.bin", &train), ("c/test_batch.bin", &test), ("c/batches.meta.txt", names)];
    files.iter().for_each(|(name, bytes)| write(root.path(), name, bytes));
    write(root.path(), "c.tar.gz", &gzip(&tar(&files)));
    for source in ["c", "c.tar.gz"] {
        let dataset = packed(&root.path().join(source), &Options::default()).unwrap();
        assert_eq!(labels(&dataset, Split::Train), ["d", "j"], "{source}");
        assert_eq!(labels(&dataset, Split::Test), ["a"]);
        assert_eq!(dataset.require(Split::Train).unwrap().image(1)[..6], [20, 21, 22, 20, 21, 22]);
    }
    write(root.path(), "hundred/train.bin", &[record(&[19, 99], 1), record(&[0, 5], 2)].concat());
    write(root.path(), "hundred/test.bin", &record(&[1, 7], 3));
    let dataset = packed(&root.path().join("hundred"), &Options::default()).unwrap();
    assert_eq!(labels(&dataset, Split::Train), ["99", "5"]);
}

#[test]
fn arrays_of_numpy() {
    let root = tempfile::tempdir().unwrap();
    let values: Vec<u8> = (0..48).collect();
    write(root.path(), "a.npy", &npy("|u1", &[2, 2, 4, 3], &values));
    let options = Options { holdout: 0.0, ..Options::default() };
    let dataset = packed(&root.path().join("a.npy"), &options).unwrap();
    assert_eq!(dataset.card().shape, [2, 4, 3]);
    assert_eq!(dataset.require(Split::Train).unwrap().image(1), &values[24..]);

    let longs: Vec<u8> = [7_i64, 0, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
    let keras = zip(&[
        ("x_train.npy", &npy("|u1", &[3, 4, 4], &values)),
        ("y_train.npy", &npy("<i8", &[3], &longs)),
        ("x_test.npy", &npy("|u1", &[1, 4, 4], &values[..16])),
        ("y_test.npy", &npy("|u1", &[1, 1], &[2])),
    ]);
    write(root.path(), "keras/mnist.npz", &keras);
    let dataset = packed(&root.path().join("keras"), &options).unwrap();
    assert_eq!(labels(&dataset, Split::Train), ["7", "0", "-"]);
    assert_eq!(labels(&dataset, Split::Test), ["2"]);
    assert_eq!(dataset.card().name, "mnist");
}

#[test]
fn order_and_bytes_do_not_depend_on_threads() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..400 {
        let (width, height) = (20 + i % 7, 20 + i % 11);
        let image = DynamicImage::from(picture(width, height, i % 390));
        write(root.path(), &format!("{i:03}.jpg"), &encoded(&image, ImageFormat::Jpeg));
    }
    let at = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| packed(root.path(), &sized(16)).unwrap())
    };
    let (one, five) = (at(1), at(5));
    assert_eq!(one.card(), five.card());
    for split in [Split::Train, Split::Validation] {
        let (one, five) = (one.require(split).unwrap(), five.require(split).unwrap());
        assert!((0..one.len()).all(|i| one.image(i) == five.image(i)));
    }
    // Duplicates never straddle the splits that the content decides.
    assert!(one.card().duplicates_across_splits == 0);
    let (train, held) = (one.require(Split::Train).unwrap(), one.require(Split::Validation).unwrap());
    let seen: std::collections::HashSet<_> = (0..train.len()).map(|i| train.image(i)).collect();
    assert!((0..held.len()).all(|i| !seen.contains(held.image(i))));
}

#[test]
fn a_raw_source_is_packed_once_and_again_when_it_changes() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for i in 0..5 {
        write(root.path(), &format!("{i}.png"), &png(8, 8, i));
    }
    let source = root.path().to_str().unwrap();
    let options = Options { name: Some("five".to_owned()), ..Options::default() };
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let open = |options: &Options| {
        let count = |_| _ = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        open_or_collect(source, options, cache.path(), &count).unwrap()
    };
    let first = open(&options);
    let packed = calls.load(std::sync::atomic::Ordering::Relaxed);
    assert!(packed > 0);
    assert_eq!(open(&options).folder(), first.folder());
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), packed, "nothing is packed the second time");
    // The packed folder itself is opened in place.
    let again = open_or_collect(first.folder().to_str().unwrap(), &options, cache.path(), &|_| ()).unwrap();
    assert_eq!(again.folder(), first.folder());
    assert_ne!(open(&Options { size: Some((4, 4)), ..options.clone() }).folder(), first.folder());
    write(root.path(), "5.png", &png(8, 8, 5));
    assert_eq!(open(&options).card().total(), 6);
}

#[test]
fn progress_counts_everything() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..600 {
        write(root.path(), &format!("{i:03}.png"), &png(4, 4, i));
    }
    write(root.path(), "bad.png", b"");
    let last = std::sync::Mutex::new(Vec::new());
    let out = root.path().join("out");
    poiesis_collect::collect(root.path(), &out, &Options::default(), &|p| last.lock().unwrap().push(p))
        .unwrap();
    let seen = last.into_inner().unwrap();
    assert!(seen.len() > 2 && seen.windows(2).all(|pair| pair[0].done <= pair[1].done));
    let end = seen[seen.len() - 1];
    assert_eq!((end.done, end.skipped, end.total), (600, 1, Some(601)));
    assert!(end.bytes > 600 * 60);
}
