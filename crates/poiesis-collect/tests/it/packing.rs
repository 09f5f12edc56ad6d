//! Archives and files under every packing, and names that are not UTF-8.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use crate::common::*;
use lzma_rust2::{LzmaOptions, LzmaWriter, XzOptions, XzWriter};
use poiesis_collect::{Dataset, Options, Split};

fn all() -> Options {
    Options { holdout: 0.0, ..Options::default() }
}

fn noted(dataset: &Dataset, part: &str) {
    let notes = &dataset.card().notes;
    assert!(notes.iter().any(|note| note.contains(part)), "{notes:?} do not say {part:?}");
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = XzWriter::new(Vec::new(), XzOptions::with_preset(0)).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// LZMA as a zip archive has it: a version and the length of what follows before the settings, then the data.
fn lzma(bytes: &[u8]) -> Vec<u8> {
    let options = LzmaOptions::with_preset(0);
    let mut encoder = LzmaWriter::new_use_header(Vec::new(), &options, Some(bytes.len() as u64)).unwrap();
    encoder.write_all(bytes).unwrap();
    let packed = encoder.finish().unwrap();
    [&[9, 20, 5, 0], &packed[..5], &packed[13..]].concat()
}

/// Deflate64 without compression: blocks as they are, which are the same in both versions of deflate.
fn deflate64(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), bytes].concat()
}

/// A file of a zip archive: its name as bytes, its extra field, its method and its packed content.
struct Member<'a> {
    name: &'a [u8],
    extra: Vec<u8>,
    method: u16,
    packed: Vec<u8>,
    content: &'a [u8],
}

impl<'a> Member<'a> {
    fn stored(name: &'a [u8], content: &'a [u8]) -> Member<'a> {
        Member { name, extra: Vec::new(), method: 0, packed: content.to_vec(), content }
    }
}

/// A zip archive byte by byte, without the flag for names in UTF-8.
fn raw_zip(members: &[Member]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for Member { name, extra, method, packed, content } in members {
        let mut sum = flate2::Crc::new();
        sum.update(content);
        let facts = [
            &[63, 0, 0, 0][..],
            &method.to_le_bytes(),
            &[0, 0, 0x21, 0],
            &sum.sum().to_le_bytes(),
            &(packed.len() as u32).to_le_bytes(),
            &(content.len() as u32).to_le_bytes(),
            &(name.len() as u16).to_le_bytes(),
            &(extra.len() as u16).to_le_bytes(),
        ]
        .concat();
        let start = (file.len() as u32).to_le_bytes();
        directory.extend([b"PK\x01\x02\x3f\0", &facts[..], &[0; 10], &start, name, extra].concat());
        file.extend([b"PK\x03\x04", &facts[..], name, extra, packed].concat());
    }
    let (count, start) = ((members.len() as u16).to_le_bytes(), (file.len() as u32).to_le_bytes());
    let size = (directory.len() as u32).to_le_bytes();
    [&file[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &start, &[0, 0]].concat()
}

#[test]
fn archives_are_the_same_data_under_every_packing() {
    let root = tempfile::tempdir().unwrap();
    let images: Vec<_> = (0..6).map(|i| (format!("c{}/{i}.png", i % 2), png(9, 9, i))).collect();
    let files: Vec<(&str, &[u8])> = images.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
    let plain = tar(&files);
    let fingerprint = |name: &str, bytes: &[u8]| {
        write(root.path(), name, bytes);
        packed(&root.path().join(name), &all()).unwrap().card().fingerprint.clone()
    };
    let expected = fingerprint("x.tar", &plain);
    let (bz, xz, zst) = (bzip2(&plain), xz(&plain), zstd(&plain));
    for (name, bytes) in [
        ("a.tar.bz2", &bz),
        ("b.tbz2", &bz),
        ("c.tar.xz", &xz),
        ("d.txz", &xz),
        ("e.tar.zst", &zst),
        ("f", &zst),
    ] {
        assert_eq!(fingerprint(name, bytes), expected, "{name}");
        write(root.path(), name, &bytes[..bytes.len() - bytes.len() / 3]);
        let error = told(&packed(&root.path().join(name), &all()).unwrap_err());
        assert!(error.contains("fetch it again") || name == "f", "{name}: {error}");
    }
    let one = &files[..1];
    for (method, pack) in
        [(9, deflate64 as fn(&[u8]) -> Vec<u8>), (12, bzip2), (14, lzma), (93, zstd), (95, self::xz)]
    {
        let members: Vec<_> = files
            .iter()
            .map(|&(name, content)| Member {
                name: name.as_bytes(),
                extra: Vec::new(),
                method,
                packed: pack(content),
                content,
            })
            .collect();
        assert_eq!(fingerprint("x.zip", &raw_zip(&members)), expected, "method {method}");
    }
    let odd = Member {
        name: one[0].0.as_bytes(),
        extra: Vec::new(),
        method: 97,
        packed: vec![1],
        content: one[0].1,
    };
    write(root.path(), "y.zip", &raw_zip(&[odd]));
    let error = told(&packed(&root.path().join("y.zip"), &all()).unwrap_err());
    assert!(error.contains("none of the 1 images"), "{error}");
}

#[test]
fn sparse_files_in_tar_are_longer_than_what_is_stored() {
    let picture = image::DynamicImage::from(image::RgbImage::new(100, 80));
    let whole = encoded(&picture, image::ImageFormat::Bmp);
    assert!(whole.len() > 20_000 && whole[512..].iter().all(|&byte| byte == 0));
    let octal = |number: usize| -> [u8; 12] { format!("{number:011o}\0").into_bytes().try_into().unwrap() };
    let mut header = tar::Header::new_gnu();
    header.set_path("a.bmp").unwrap();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(512);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.sparse[0].offset = octal(0);
    gnu.sparse[0].numbytes = octal(512);
    gnu.sparse[1].offset = octal(whole.len());
    gnu.sparse[1].numbytes = octal(0);
    gnu.realsize = octal(whole.len());
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, &whole[..512]).unwrap();
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x.tar", &archive.into_inner().unwrap());
    let dataset = packed(&root.path().join("x.tar"), &all()).unwrap();
    assert_eq!(dataset.require(Split::Train).unwrap().image(0), picture.as_bytes());
}

#[test]
fn text_and_points_are_read_under_every_packing() {
    let root = tempfile::tempdir().unwrap();
    let text = "one line\nand another\n";
    write(root.path(), "plain/a.txt", text.as_bytes());
    let expected = packed(&root.path().join("plain"), &all()).unwrap().card().fingerprint.clone();
    for (ending, bytes) in [
        ("gz", gzip(text.as_bytes())),
        ("bz2", bzip2(text.as_bytes())),
        ("xz", xz(text.as_bytes())),
        ("zst", zstd(text.as_bytes())),
    ] {
        write(root.path(), &format!("{ending}/a.txt.{ending}"), &bytes);
        let folder = packed(&root.path().join(ending), &all()).unwrap();
        assert_eq!(folder.card().fingerprint, expected, "{ending}");
        // Beside itself it is read once.
        write(root.path(), &format!("{ending}/a.txt"), text.as_bytes());
        let both = packed(&root.path().join(ending), &all()).unwrap();
        assert_eq!(both.card().fingerprint, expected, "{ending}");
        noted(&both, "1 file is a compressed copy of another");
    }
    write(root.path(), "p.csv.xz", &xz(b"1,2\n3,4\n"));
    assert_eq!(packed(&root.path().join("p.csv.xz"), &all()).unwrap().card().total(), 2);
}

#[test]
fn names_in_zip_archives_are_read_by_their_code_page() {
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (png(9, 9, 1), png(9, 9, 2));
    let read = |names: [&[u8]; 2], extra: Vec<u8>| {
        let mut members = [Member::stored(names[0], &one), Member::stored(names[1], &two)];
        members[0].extra = extra;
        write(root.path(), "x.zip", &raw_zip(&members));
        packed(&root.path().join("x.zip"), &all()).unwrap()
    };
    let dataset = read([b"K\x84se/1.png", b"M\x94we/2.png"], Vec::new());
    assert_eq!(dataset.card().classes, ["Käse", "Möwe"]);
    noted(&dataset, "2 names in the archive are not UTF-8 and were read as code page 437");
    let dataset = read([b"\x82\xcb\x82\xb1/1.png", b"\x8c\xa2/2.png"], Vec::new());
    assert_eq!(dataset.card().classes, ["ねこ", "犬"]);
    noted(&dataset, "2 names in the archive are not UTF-8 and were read as Shift-JIS");
    // UTF-8 without a flag, and a field with the name in UTF-8, whose checksum is that of the other name.
    let mut sum = flate2::Crc::new();
    sum.update(b"K?se/1.png");
    let unicode = [&[1][..], &sum.sum().to_le_bytes(), "Käse/1.png".as_bytes()].concat();
    let field = [&b"up"[..], &(unicode.len() as u16).to_le_bytes(), &unicode].concat();
    let dataset = read([b"K?se/1.png", "Möwe/2.png".as_bytes()], field);
    assert_eq!(dataset.card().classes, ["Käse", "Möwe"]);
    assert!(!dataset.card().notes.iter().any(|note| note.contains("UTF-8")), "{:?}", dataset.card().notes);
}

#[test]
fn names_that_differ_in_bytes_are_different_classes() {
    let root = tempfile::tempdir().unwrap();
    let images: Vec<_> = (0..2).map(|seed| png(9, 9, seed)).collect();
    let names = [&b"caf\xe8/1.png"[..], b"caf\xe9/2.png"];
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in names.iter().zip(&images) {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        archive.append(&header, &bytes[..]).unwrap();
    }
    write(root.path(), "x.tar", &archive.into_inner().unwrap());
    let check = |dataset: &Dataset| {
        let view = dataset.require(Split::Train).unwrap();
        assert_eq!(dataset.card().classes, ["caf\\xE8", "caf\\xE9"]);
        assert_eq!([view.label(0), view.label(1)], [Some(0), Some(1)]);
        noted(dataset, "2 names are not UTF-8; their other bytes are written as \\xNN");
    };
    check(&packed(&root.path().join("x.tar"), &all()).unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        for (name, bytes) in names.iter().zip(&images) {
            let path = root.path().join("set").join(std::ffi::OsStr::from_bytes(name));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        check(&packed(&root.path().join("set"), &all()).unwrap());
    }
}
