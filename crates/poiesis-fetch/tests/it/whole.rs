//! Whole sets from servers that do what they should.

use std::fs;
use std::ops::ControlFlow;

use poiesis_fetch::{Error, Event, State, fetch};

use crate::server::{Reply, Server};
use crate::support::{bytes, names, quick, run, run_told, set};

#[test]
fn all_files_come_and_nothing_else_is_left() {
    let (a, b) = (bytes(1, 300_000), bytes(2, 5));
    let server = Server::start({
        let (a, b) = (a.clone(), b.clone());
        move |request| Reply::file(if request.path.ends_with('a') { &a } else { &b }, request)
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/base/")], &[("a", &a), ("b", &b)]);
    assert_eq!((set.bytes(), set.transferred(), set.state(data.path())), (300_005, 300_005, State::Absent));
    let (mut seen, mut parts_from_the_start) = (Vec::new(), false);
    let fetched = fetch(&set, data.path(), &quick(), &mut |event| {
        match event {
            Event::Begins { .. } => parts_from_the_start |= data.path().join("tiny/b.part").exists(),
            Event::Progress { file, done, total } => seen.push((file.name.clone(), done, total)),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    let fetched = fetched.unwrap();
    assert_eq!(server.paths(), ["/base/a", "/base/b"]);
    assert_eq!(fetched.files[0].path, data.path().join("tiny/a"));
    assert_eq!(fetched.files[1].from.as_deref(), Some(server.url("/base/b").as_str()));
    assert_eq!(names(data.path()), ["tiny/a", "tiny/b"]);
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), a);
    assert_eq!(fs::read(data.path().join("tiny/b")).unwrap(), b);
    assert!(parts_from_the_start, "while a set is not whole, that can be seen");
    assert!(seen.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1), "{seen:?}");
    assert!(seen.contains(&("a".into(), 300_000, Some(300_000))), "{seen:?}");
    assert_eq!(set.state(data.path()), State::There);
}

#[test]
fn what_is_there_is_left_alone_and_nothing_is_asked() {
    let content = bytes(3, 1000);
    let server = Server::start(|_| Reply::status(500));
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    fs::create_dir(data.path().join("tiny")).unwrap();
    fs::write(data.path().join("tiny/a"), &content).unwrap();
    // Left by a process that was killed after it had renamed the file.
    fs::write(data.path().join("tiny/a.part"), "").unwrap();
    let (fetched, told) = run_told(&set, data.path(), &quick());
    assert_eq!(fetched.unwrap().files[0].from, None);
    assert_eq!(told, ["there a"]);
    assert!(server.asked().is_empty());
    assert_eq!(names(data.path()), ["tiny/a"]);
}

#[test]
fn only_what_is_missing_is_fetched() {
    let (a, b) = (bytes(4, 100), bytes(5, 200));
    let server = Server::start({
        let b = b.clone();
        move |request| Reply::file(&b, request)
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &a), ("b", &b)]);
    fs::create_dir(data.path().join("tiny")).unwrap();
    fs::write(data.path().join("tiny/a"), &a).unwrap();
    assert_eq!(set.state(data.path()), State::Partly);
    run(&set, data.path(), &quick()).unwrap();
    assert_eq!(server.paths(), ["/b"]);
}

#[test]
fn another_file_is_never_overwritten_unless_that_is_asked_for() {
    let content = bytes(6, 1000);
    let server = Server::start({
        let content = content.clone();
        move |request| Reply::file(&content, request)
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    fs::create_dir(data.path().join("tiny")).unwrap();
    fs::write(data.path().join("tiny/a"), "years of work").unwrap();
    let error = run(&set, data.path(), &quick()).unwrap_err();
    assert!(matches!(&error, Error::OtherContent { .. }), "{error}");
    assert!(error.to_string().contains(&set.files[0].sha256) && error.hint().is_some(), "{error}");
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), b"years of work");
    assert!(server.asked().is_empty());
    let again = poiesis_fetch::Options { again: true, ..quick() };
    run(&set, data.path(), &again).unwrap();
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
    run(&set, data.path(), &again).unwrap();
    assert_eq!(server.asked().len(), 2, "what is right is fetched again too");
}

#[test]
fn fetching_again_keeps_the_old_file_until_the_new_one_is_whole() {
    let content = bytes(7, 1000);
    let server = Server::start(|_| Reply::status(404));
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    fs::create_dir(data.path().join("tiny")).unwrap();
    fs::write(data.path().join("tiny/a"), &content).unwrap();
    run(&set, data.path(), &poiesis_fetch::Options { again: true, ..quick() }).unwrap_err();
    assert_eq!(names(data.path()), ["tiny/a"], "nothing says that the set is not whole");
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
}

#[test]
fn a_file_without_a_length_is_taken_to_its_end() {
    let content = bytes(8, 70_000);
    let server = Server::start({
        let content = content.clone();
        move |_| Reply::unmeasured(&content)
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    run(&set, data.path(), &quick()).unwrap();
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
}

#[test]
fn redirects_are_followed_and_keep_the_range() {
    let content = bytes(9, 10_000);
    let server = Server::start({
        let content = content.clone();
        move |request| match request.path.as_str() {
            "/old/a" => Reply::redirect(302, "/new/a"),
            "/new/a" => Reply::redirect(301, "a?final"),
            _ => Reply::file(&content, request),
        }
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/old/")], &[("a", &content)]);
    fs::create_dir(data.path().join("tiny")).unwrap();
    fs::write(data.path().join("tiny/a.part"), &content[..4000]).unwrap();
    run(&set, data.path(), &quick()).unwrap();
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
    assert_eq!(server.paths(), ["/old/a", "/new/a", "/new/a?final"]);
    assert_eq!(server.ranges(), [Some(4000); 3]);
}
