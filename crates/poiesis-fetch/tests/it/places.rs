//! Files from a place that the user names: a folder of this machine, or another server.

use std::fs;
use std::path::Path;

use poiesis_fetch::{Error, Fault, Options, Place};

use crate::server::{Reply, Server};
use crate::support::{bytes, faults, names, quick, run, run_told, set};

#[test]
fn places_are_folders_and_addresses() {
    let folder = |path: &str| Ok::<Place, String>(Place::Folder(path.into()));
    let web = |address: &str| Ok::<Place, String>(Place::Web(address.into()));
    let parse = |text: &str| Place::parse(text).map_err(|error| error.to_string());
    assert_eq!(parse("/mnt/usb stick"), folder("/mnt/usb stick"));
    assert_eq!(parse("data"), folder("data"));
    assert_eq!(parse("file:///mnt/usb%20stick"), folder("/mnt/usb stick"));
    assert_eq!(parse("file://localhost/mnt/100%"), folder("/mnt/100%"));
    assert_eq!(parse("https://example.com/sets"), web("https://example.com/sets/"));
    assert_eq!(parse("HTTP://example.com/sets//"), web("HTTP://example.com/sets/"));
    for (text, reason) in [
        ("", "it is empty"),
        ("https:///sets", "it names no host"),
        ("file://server/sets", "begins with a third slash"),
        ("ftp://example.com/", "no such kind of address"),
    ] {
        let error = Place::parse(text).unwrap_err();
        assert!(error.to_string().ends_with(reason) && error.hint().is_some(), "{error}");
        assert!(matches!(error, Error::BadOption { option: "from", .. }));
    }
}

fn from(place: &Path) -> Options {
    Options { from: Some(Place::Folder(place.to_owned())), ..quick() }
}

#[test]
fn a_folder_may_have_the_layout_of_data_sets_or_hold_the_files() {
    let (a, b) = (bytes(1, 200_000), bytes(2, 10));
    let server = Server::start(|_| Reply::status(500));
    let set = set(&[server.url("/")], &[("a", &a), ("b", &b)]);
    let root = tempfile::tempdir().unwrap();
    for layout in ["sets/tiny", "flat"] {
        fs::create_dir_all(root.path().join(layout)).unwrap();
        fs::write(root.path().join(layout).join("a"), &a).unwrap();
        fs::write(root.path().join(layout).join("b"), &b).unwrap();
    }
    for (place, layout) in [("sets", "sets/tiny"), ("flat", "flat")] {
        let data = root.path().join(format!("data-of-{place}"));
        let fetched = run(&set, &data, &from(&root.path().join(place))).unwrap();
        let expected = root.path().join(layout).join("a").display().to_string();
        assert_eq!(fetched.files[0].from.as_ref(), Some(&expected));
        assert_eq!(fs::read(data.join("tiny/a")).unwrap(), a);
        assert_eq!(names(&data), ["tiny/a", "tiny/b"]);
    }
    // A copy that was stopped continues too.
    let data = root.path().join("data");
    fs::create_dir_all(data.join("tiny")).unwrap();
    fs::write(data.join("tiny/a.part"), &a[..70_000]).unwrap();
    let (fetched, told) = run_told(&set, &data, &from(&root.path().join("sets")));
    fetched.unwrap();
    assert_eq!(told[0], "begins a at 70000");
    assert_eq!(fs::read(data.join("tiny/a")).unwrap(), a);
    assert!(server.asked().is_empty(), "the published addresses are not used");
}

#[test]
fn a_folder_is_checked_like_any_place() {
    let set = set(&[], &[("a", b"123456")]);
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let faults = faults(run(&set, &data, &from(&root.path().join("nowhere"))));
    assert!(matches!(faults[..], [Fault::NotFound, Fault::NotFound]), "{faults:?}");
    fs::write(root.path().join("a"), b"654321").unwrap();
    let error = run(&set, &data, &from(root.path())).unwrap_err();
    assert!(error.to_string().contains("its sha256 is"), "{error}");
    fs::write(root.path().join("a"), b"12345").unwrap();
    let error = run(&set, &data, &from(root.path())).unwrap_err();
    assert!(error.to_string().contains("it has 5 bytes, and the published file 6"), "{error}");
    assert!(names(&data).is_empty());
    fs::remove_file(root.path().join("a")).unwrap();
    fs::create_dir(root.path().join("a")).unwrap();
    let error = run(&set, &data, &from(root.path())).unwrap_err();
    assert!(error.to_string().contains("it is no file"), "{error}");
}

#[test]
fn another_server_takes_the_place_of_the_published_addresses() {
    let content = bytes(3, 1000);
    let published = Server::start(|_| Reply::status(500));
    let other = Server::start({
        let content = content.clone();
        move |request| if request.path == "/mirror/a" { Reply::whole(&content) } else { Reply::status(404) }
    });
    let set = set(&[published.url("/")], &[("a", &content)]);
    let data = tempfile::tempdir().unwrap();
    let place = Place::parse(&other.url("/mirror")).unwrap();
    run(&set, data.path(), &Options { from: Some(place), ..quick() }).unwrap();
    assert_eq!(other.paths(), ["/mirror/tiny/a", "/mirror/a"]);
    assert!(published.asked().is_empty());
}
