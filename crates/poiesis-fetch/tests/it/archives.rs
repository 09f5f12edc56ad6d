//! Sets that are published as the archive of a repository.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use poiesis_fetch::{Fault, Options, Place, Published};
use tar::{Builder, EntryType, Header};

use crate::server::{Reply, Server};
use crate::support::{bytes, faults, names, of, quick, run, run_told, sha256};

/// An entry of a tar.
fn entry(name: &str, kind: EntryType, size: u64, mode: u32, time: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    header
}

/// The archive of a repository, as a host makes it: compressed, everything below one folder, a comment before all.
fn archive(members: &[(&str, &[u8])], level: u32) -> Vec<u8> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::new(level)));
    let comment = b"52 comment=0123456789012345678901234567890123456789\n";
    let global = entry("pax_global_header", EntryType::XGlobalHeader, comment.len() as u64, 0o666, 1);
    tar.append(&global, &comment[..]).unwrap();
    tar.append(&entry("repository-1a2b3c/", EntryType::Directory, 0, 0o775, 7), &[][..]).unwrap();
    for (name, content) in members {
        let name = format!("repository-1a2b3c/{name}");
        let header = entry(&name, EntryType::Regular, content.len() as u64, 0o664, 7);
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// The tar that is made of members.
fn kept(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, content) in members {
        tar.append(&entry(name, EntryType::Regular, content.len() as u64, 0o644, 0), *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A set whose file is made of an archive at this address.
fn set(url: &str, file: &[u8]) -> Published {
    of(&format!(
        "[[set.file]]\nname = \"kept.tar\"\nbytes = {}\nsha256 = {:?}\nurls = [{url:?}]\n[set.file.archive]\n\
         name = \"repository.tar.gz\"\nbytes = 100000\nmembers = [\"LICENSE\", \"sounds/\"]\n",
        file.len(),
        sha256(file)
    ))
}

const MEMBERS: [(&str, &[u8]); 6] = [
    ("sounds/b.wav", b"bbb"),
    ("sounds.txt", b"not kept"),
    ("LICENSE", b"free"),
    ("pictures/LICENSE", b"not kept"),
    ("sounds/a.wav", b"a"),
    ("README.md", b"not kept"),
];

const KEPT: [(&str, &[u8]); 3] = [("LICENSE", b"free"), ("sounds/a.wav", b"a"), ("sounds/b.wav", b"bbb")];

#[test]
fn members_become_a_tar_that_depends_on_them_alone() {
    let data = tempfile::tempdir().unwrap();
    // Other bytes each time.
    let server = Server::start(|request| {
        Reply::unmeasured(&archive(&MEMBERS, if request.earlier == 0 { 1 } else { 9 }))
    });
    let set = set(&server.url("/archive"), &kept(&KEPT));
    assert_eq!(set.transferred(), 100_000);
    for _ in 0..2 {
        let (fetched, told) = run_told(&set, data.path(), &Options { again: true, ..quick() });
        assert_eq!(fetched.unwrap().files[0].from, Some(server.url("/archive")));
        assert_eq!(told, ["begins kept.tar at 0", "unpacking kept.tar", "done kept.tar"]);
        assert_eq!(fs::read(data.path().join("tiny/kept.tar")).unwrap(), kept(&KEPT));
        assert_eq!(names(data.path()), ["tiny/kept.tar"]);
    }
}

#[test]
fn other_members_are_refused() {
    for (members, said) in [
        (vec![("LICENSE", &b"free"[..]), ("sounds/a.wav", b"x"), ("sounds/b.wav", b"bbb")], "its sha256 is"),
        (vec![("LICENSE", &b"free"[..])], "its sha256 is"),
        (vec![("README.md", &b"x"[..])], "holds nothing of the data set"),
        (vec![("sounds/a.wav", &[0; 5000][..])], "holds more than 4096 bytes of the data set"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let content = archive(&members, 6);
        let server = Server::start(move |_| Reply::whole(&content));
        let set = set(&server.url("/archive"), &kept(&KEPT));
        let error = run(&set, data.path(), &quick()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(names(data.path()).is_empty(), "{:?}", names(data.path()));
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let whole = archive(&MEMBERS, 6);
    for content in [b"<html>not an archive</html>".to_vec(), whole[..whole.len() / 2].to_vec()] {
        let data = tempfile::tempdir().unwrap();
        let server = Server::start(move |_| Reply::whole(&content));
        let set = set(&server.url("/archive"), &kept(&KEPT));
        let faults = faults(run(&set, data.path(), &quick()));
        assert!(matches!(faults[..], [Fault::Archive(_)]), "{faults:?}");
        assert!(names(data.path()).is_empty());
    }
}

#[test]
fn an_archive_that_unpacks_to_very_much_is_not_unpacked() {
    let data = tempfile::tempdir().unwrap();
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![0; 1 << 26]).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 100_000);
    // Zeros end a tar, so they come as a member that is not kept.
    let content = archive(&[("big", &vec![0; 1 << 26]), ("sounds/a.wav", b"a")], 9);
    let server = Server::start(move |_| Reply::whole(&content));
    let set = set(&server.url("/archive"), &kept(&KEPT));
    let faults = faults(run(&set, data.path(), &quick()));
    assert!(matches!(faults[..], [Fault::Archive(_)]), "{faults:?}");
}

#[test]
fn an_archive_that_was_begun_continues_and_starts_over_where_that_was_wrong() {
    let content = archive(&MEMBERS, 6);
    let server = Server::start({
        let content = content.clone();
        move |request| Reply::file(&content, request)
    });
    let set = set(&server.url("/archive"), &kept(&KEPT));
    for (begun, ranges) in [
        (content[..100].to_vec(), vec![Some(100)]),
        (bytes(1, 100), vec![Some(100), None]),
        // It is whole, and what made a file of it was killed.
        (content.clone(), vec![Some(content.len()), None]),
    ] {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("tiny")).unwrap();
        fs::write(data.path().join("tiny/repository.tar.gz.part"), begun).unwrap();
        fs::write(data.path().join("tiny/kept.tar.part"), b"left over").unwrap();
        let before = server.asked().len();
        run(&set, data.path(), &quick()).unwrap();
        assert_eq!(server.ranges()[before..], ranges);
        assert_eq!(names(data.path()), ["tiny/kept.tar"]);
    }
}

#[test]
fn a_folder_may_have_the_file_or_the_archive() {
    let set = set("http://127.0.0.1:9/", &kept(&KEPT));
    for (name, content) in [("kept.tar", kept(&KEPT)), ("repository.tar.gz", archive(&MEMBERS, 6))] {
        let (place, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(place.path().join(name), content).unwrap();
        let from = Some(Place::Folder(place.path().to_owned()));
        run(&set, data.path(), &Options { from, ..quick() }).unwrap();
        assert_eq!(fs::read(data.path().join("tiny/kept.tar")).unwrap(), kept(&KEPT));
        assert_eq!(names(data.path()), ["tiny/kept.tar"]);
    }
}
