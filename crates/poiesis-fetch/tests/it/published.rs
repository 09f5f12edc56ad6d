//! The list of published sets, and copies of them that are at hand.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write as _};
use std::path::{Component, Path};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use poiesis_fetch::{File, Options, Place, Published, find, published, read};
use tar::{Archive, Builder, Header};

use crate::support::{names, quick, run, sha256, shared};

#[test]
fn every_set_has_all_that_belongs_to_it() {
    let names: Vec<&str> = published().iter().map(|set| set.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "mnist",
            "fashion-mnist",
            "binarized-mnist",
            "cifar10",
            "tinyshakespeare",
            "names",
            "novels",
            "noto-emoji",
            "fsdd"
        ]
    );
    let is_below = |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let mut paths = HashSet::new();
    for set in published() {
        let name = &set.name;
        assert!(std::ptr::eq(find(name).unwrap(), set));
        for text in [&set.title, &set.home, &set.licence, &set.cite, &set.train] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{name}: {text}");
        }
        assert!(set.home.starts_with("http") && !set.files.is_empty() && is_below(&set.folder), "{name}");
        assert!(set.mirrors.iter().all(|mirror| mirror.ends_with('/')), "{name}");
        for file in &set.files {
            let hexadecimal = file.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            assert!(file.sha256.len() == 64 && hexadecimal, "{name}: {}", file.name);
            assert!(
                file.bytes > 0 && is_below(&file.name) && !file.name.contains('/'),
                "{name}: {}",
                file.name
            );
            assert!(paths.insert(set.path(Path::new("data"), file)), "{name}: {} is there twice", file.name);
            let addresses: Vec<&String> = set.mirrors.iter().chain(&file.urls).collect();
            assert!(addresses.len() >= 2, "{name}: {} has one address", file.name);
            assert!(addresses[0].starts_with("https://"), "{name}: what is not secure comes later");
            assert!(addresses.iter().all(|address| Place::parse(address).is_ok()), "{name}: {addresses:?}");
            if let Some(archive) = &file.archive {
                assert!(
                    !archive.members.is_empty() && archive.bytes > 0 && archive.name != file.name,
                    "{name}"
                );
                assert!(set.mirrors.is_empty(), "{name}: the addresses are those of the archive");
            }
        }
    }
    assert!(find("mnits").is_none());
}

#[test]
fn keys_that_are_not_known_are_errors() {
    let list = include_str!("../../src/published.toml");
    assert!(read(list).is_ok());
    let error = read(&list.replacen("licence = ", "license = ", 1)).unwrap_err();
    assert!(error.to_string().contains("license"), "{error}");
}

/// A file of `../shared/data` by the place that it has there.
fn copy(set: &Published, file: &File) -> Option<Vec<u8>> {
    shared(&format!("{}/{}", set.folder, file.name)).map(|path| fs::read(path).unwrap())
}

#[test]
fn copies_at_hand_are_what_the_list_says() {
    for name in ["mnist", "fashion-mnist", "tinyshakespeare", "names"] {
        let set = find(name).unwrap();
        for file in &set.files {
            let Some(content) = copy(set, file) else { continue };
            assert_eq!(content.len() as u64, file.bytes, "{name}: {}", file.name);
            assert_eq!(sha256(&content), file.sha256, "{name}: {}", file.name);
        }
    }
}

#[test]
fn the_novels_at_hand_are_what_the_list_says() {
    let Some(path) = shared("text/novels.tar.gz") else { return };
    let set = find("novels").unwrap();
    let mut found = 0;
    let mut archive = Archive::new(GzDecoder::new(fs::File::open(path).unwrap()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(file) = set.files.iter().find(|file| file.name == name) else { continue };
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!((content.len() as u64, sha256(&content)), (file.bytes, file.sha256.clone()), "{name}");
        found += 1;
    }
    assert_eq!(found, set.files.len());
}

#[test]
fn the_binarised_digits_at_hand_are_the_published_text() {
    let set = find("binarized-mnist").unwrap();
    for (file, part) in set.files.iter().zip(["train", "valid", "test"]) {
        let name = format!("binarized-mnist/binarized-{part}-images-idx3-ubyte.gz");
        let Some(path) = shared(&name) else { continue };
        let mut pixels = Vec::new();
        GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut pixels).unwrap();
        let mut text = Vec::with_capacity(2 * pixels.len());
        for row in pixels[16..].chunks(28 * 28) {
            row.iter().for_each(|pixel| text.extend([b'0' + pixel, b' ']));
            *text.last_mut().unwrap() = b'\n';
        }
        assert!(file.name.contains(part));
        assert_eq!((text.len() as u64, sha256(&text)), (file.bytes, file.sha256.clone()), "{part}");
    }
}

/// An archive of a repository with the files of an archive at hand.
fn as_repository(path: &Path) -> Vec<u8> {
    let mut archive = Archive::new(GzDecoder::new(fs::File::open(path).unwrap()));
    let mut repository = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut add = |name: &str, content: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o664);
        header.set_cksum();
        repository.append_data(&mut header, format!("repository-1a2b3c/{name}"), content).unwrap();
    };
    add("README.md", b"not kept");
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            add(&entry.path().unwrap().to_string_lossy(), &content);
        }
    }
    repository.into_inner().unwrap().finish().unwrap()
}

#[test]
fn archives_of_the_copies_at_hand_become_the_files_of_the_list() {
    for (name, path) in
        [("fsdd", "fsdd/recordings.tar.gz"), ("noto-emoji", "noto-emoji/noto-emoji-png72.tar.gz")]
    {
        let Some(path) = shared(path) else { continue };
        let set = find(name).unwrap();
        let archive = set.files[0].archive.as_ref().unwrap();
        let (place, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::File::create(place.path().join(&archive.name)).unwrap().write_all(&as_repository(&path)).unwrap();
        let from = Some(Place::Folder(place.path().to_owned()));
        run(set, data.path(), &Options { from, ..quick() }).unwrap();
        assert_eq!(names(data.path()), [format!("{}/{}", set.folder, set.files[0].name)]);
    }
}
