//! What is seen of images before they are packed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::Cell;
use std::path::Path;

use crate::common::*;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use poiesis_collect::{Cache, ImageSummary, Options, Progress, SoundSummary, collect, open_or_collect};

fn seen_in(source: &Path) -> ImageSummary {
    ImageSummary::of(source, &Options::default(), None, &|_| ()).unwrap().unwrap()
}

fn grey(width: u32, height: u32, seed: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| Luma([((x * 7 + y * 5 + seed * 31) % 200) as u8]))
}

/// A grey image that is stored in colour.
fn grey_in_colour(seed: u32) -> Vec<u8> {
    let grey = grey(12, 12, seed);
    let image: DynamicImage = RgbImage::from_fn(12, 12, |x, y| Rgb([grey.get_pixel(x, y)[0]; 3])).into();
    encoded(&image, ImageFormat::Png)
}

#[test]
fn an_image_of_another_size_is_seen_wherever_it_is() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..300 {
        // Sorted by class: the second has other sizes and is grey, from the 250th on.
        let (name, bytes) = match i < 250 {
            true => (format!("in/a/{i:03}.png"), png(12, 12, i)),
            false => (format!("in/b/{i:03}.png"), encoded(&grey(20, 16, i).into(), ImageFormat::Png)),
        };
        write(root.path(), &name, &bytes);
    }
    let source = root.path().join("in");
    let seen = seen_in(&source);
    assert_eq!((seen.count, seen.stored_grey), (300, 50));
    assert_eq!((seen.smallest, seen.largest, seen.uniform), ((12, 12), (20, 16), false));
    assert!(seen.mixes_channels() && !seen.is_grey(), "{seen:?}");
    assert!(collect(&source, &root.path().join("out"), &Options::default(), &|_| ()).is_err());
    // What is chosen by it fits all of them.
    let chosen = Options { size: Some((12, 12)), channels: Some(3), ..Options::default() };
    assert_eq!(packed(&source, &chosen).unwrap().card().total(), 300);
    // An archive is looked at as far as its end too.
    let files: Vec<(String, Vec<u8>)> = (0..60)
        .map(|i| (format!("{i:02}.png"), if i < 59 { png(12, 12, i) } else { png(30, 30, i) }))
        .collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
    write(root.path(), "a.tar.gz", &gzip(&tar(&files)));
    let seen = seen_in(&root.path().join("a.tar.gz"));
    assert_eq!((seen.count, seen.largest), (60, (30, 30)));
}

#[test]
fn grey_images_stored_in_colour_are_grey_though_a_few_have_colours() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..60 {
        let bytes = if i == 3 { png(12, 12, i) } else { grey_in_colour(i) };
        write(root.path(), &format!("{i:02}.png"), &bytes);
    }
    let seen = seen_in(root.path());
    assert!(seen.is_grey() && seen.uniform && !seen.mixes_channels(), "{seen:?}");
    assert_eq!((seen.looked_at, seen.without_colour, seen.stored_grey), (60, 59, 0));
}

#[test]
fn the_header_tells_what_decoding_will_give() {
    // JPEG with an orientation: 20 wide and 10 high, to be turned by 90 degrees (EXIF, 6).
    let picture: DynamicImage = RgbImage::from_pixel(20, 10, Rgb([9, 99, 199])).into();
    let plain = encoded(&picture, ImageFormat::Jpeg);
    let tiff = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let mut turned = vec![0xff, 0xd8, 0xff, 0xe1];
    turned.extend((2 + 6 + tiff.len() as u16).to_be_bytes());
    turned.extend(b"Exif\0\0");
    turned.extend(tiff);
    turned.extend(&plain[2..]);
    let seen = |name: &str, bytes: &[u8]| {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), name, bytes);
        let seen = seen_in(root.path());
        let shape = packed(root.path(), &Options::default()).unwrap().card().shape.clone();
        let (width, height) = seen.smallest;
        assert_eq!(shape[..2], [height as usize, width as usize], "{name}");
        assert_eq!(shape[2] == 1, seen.stored_grey == 1, "{name}");
        (width, height)
    };
    assert_eq!(seen("plain.jpg", &plain), (20, 10));
    assert_eq!(seen("turned.jpg", &turned), (10, 20));
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Gif]
    {
        let name = format!("x.{}", format.extensions_str()[0]);
        assert_eq!(seen(&name, &encoded(&picture, format)), (20, 10));
    }
    assert_eq!(seen("grey.jpg", &encoded(&grey(16, 8, 1).into(), ImageFormat::Jpeg)), (16, 8));
    // The directory of a large TIFF is at its end, behind what is read first.
    let large: DynamicImage = RgbImage::from_fn(200, 150, |x, y| Rgb([x as u8, y as u8, 7])).into();
    assert_eq!(seen("large.tiff", &encoded(&large, ImageFormat::Tiff)), (200, 150));
    // Of a WebP, what says how it is turned is behind the pixels.
    let noise = |x: u32, y: u32| {
        let mixed = (x * 60 + y + 1).wrapping_mul(0x9e37_79b9);
        Rgb([24, 16, 8].map(|shift| ((mixed ^ (mixed >> 13)).wrapping_mul(0x85eb_ca6b) >> shift) as u8))
    };
    let noise: DynamicImage = RgbImage::from_fn(60, 40, noise).into();
    let plain = encoded(&noise, ImageFormat::WebP);
    assert!(plain.len() > 4 << 10, "longer than what is read first");
    let chunk = |name: &[u8; 4], bytes: &[u8]| {
        let padding = vec![0; bytes.len() % 2];
        [&name[..], &(bytes.len() as u32).to_le_bytes(), bytes, &padding].concat()
    };
    let extended = [0x08, 0, 0, 0, 59, 0, 0, 39, 0, 0];
    let parts = [&b"WEBP"[..], &chunk(b"VP8X", &extended), &plain[12..], &chunk(b"EXIF", tiff)].concat();
    assert_eq!(seen("turned.webp", &chunk(b"RIFF", &parts)), (40, 60));
}

#[test]
fn what_was_seen_is_kept_until_the_source_changes() {
    let root = tempfile::tempdir().unwrap();
    let (source, cache) = (root.path().join("in"), root.path().join("cache"));
    (0..30).for_each(|i| write(&source, &format!("{i:02}.png"), &png(12, 12, i)));
    let look = || {
        let told = Cell::new(0);
        let tell = |progress: Progress| {
            assert_eq!(progress.total.is_some(), progress.done > 0);
            told.set(progress.done);
        };
        let seen = ImageSummary::of(&source, &Options::default(), Some(&cache), &tell).unwrap().unwrap();
        (seen, told.get())
    };
    let (first, told) = look();
    assert_eq!((first.count, told), (30, 30));
    assert_eq!(look(), (first, 0), "nothing is read again");
    assert!(Cache::open(&cache).unwrap().foreign.is_empty());
    write(&source, "30.png", &png(20, 20, 30));
    let (changed, told) = look();
    assert_eq!((changed.count, changed.largest, told), (31, (20, 20), 31));
    // It goes with the data set.
    let sized = Options { size: Some((12, 12)), ..Options::default() };
    open_or_collect(&source.to_string_lossy(), &sized, &cache, &|_| ()).unwrap();
    let content = Cache::open(&cache).unwrap();
    assert_eq!((content.entries.len(), content.foreign.len()), (1, 0));
    content.entries[0].remove().unwrap();
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0);
    // What is not whole counts for nothing, and a wrong name leaves no folder behind.
    let (_, told) = look();
    assert_eq!(told, 31);
    let kept = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&kept, "{\"count\": 3").unwrap();
    assert_eq!(look().1, 31);
    let nowhere = root.path().join("nowhere");
    assert!(ImageSummary::of(&nowhere, &Options::default(), Some(&nowhere), &|_| ()).is_err());
    assert!(!nowhere.exists());
}

#[test]
fn what_was_seen_of_sound_is_kept_too() {
    let root = tempfile::tempdir().unwrap();
    let (source, cache) = (root.path().join("in.tar"), root.path().join("cache"));
    let (stereo, mono) = (wav(8000, 2, 16, &[1, 2, 3, 4]), wav(8000, 1, 16, &[5, 6]));
    write(root.path(), "in.tar", &tar(&[("a.wav", &stereo), ("b.wav", &mono)]));
    let look = || {
        let told = Cell::new(0);
        let tell = |progress: Progress| told.set(progress.done);
        let options = Options::default();
        assert_eq!(ImageSummary::of(&source, &options, Some(&cache), &tell).unwrap(), None);
        let seen = SoundSummary::of(&source, &options, Some(&cache), &tell).unwrap().unwrap();
        (seen, told.get())
    };
    let (first, told) = look();
    assert_eq!((first.count, first.channels.len(), first.first_channels, told), (2, 2, 2, 2));
    assert_eq!(look(), (first, 0), "nothing is read again");
    assert!(Cache::open(&cache).unwrap().foreign.is_empty());
    write(root.path(), "in.tar", &tar(&[("b.wav", &mono), ("a.wav", &stereo), ("c.wav", &mono)]));
    let (changed, told) = look();
    assert_eq!((changed.count, changed.first_channels, told), (3, 1, 3));
}
