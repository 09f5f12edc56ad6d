//! Transfers that end before all is there are continued, from the byte at which they ended.

use std::fs;
use std::time::Duration;

use poiesis_fetch::{Error, Fault, State};

use crate::server::{Reply, Server};
use crate::support::{bytes, faults, names, quick, run, run_told, set, stopped};

#[test]
fn a_stopped_transfer_continues_where_it_ended() {
    let content = bytes(1, 500_000);
    let server = Server::start({
        let content = content.clone();
        move |request| Reply::file(&content, request).slowly(50_000, Duration::from_millis(2))
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content), ("b", b"")]);
    let kept = stopped(&set, data.path(), &quick(), 100_000);
    assert!((100_000..500_000).contains(&kept), "{kept}");
    assert_eq!(set.state(data.path()), State::Partly);
    assert_eq!(fs::read(data.path().join("tiny/a.part")).unwrap(), content[..kept as usize]);
    let (fetched, told) = run_told(&set, data.path(), &quick());
    fetched.unwrap();
    assert_eq!(told, [format!("begins a at {kept}"), "done a".into(), "done b".into()]);
    assert_eq!(server.ranges(), [None, Some(kept as usize)], "an empty file needs no request");
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
    assert_eq!(names(data.path()), ["tiny/a", "tiny/b"]);
}

#[test]
fn a_broken_connection_is_made_anew() {
    let content = bytes(2, 400_000);
    let server = Server::start({
        let content = content.clone();
        // Each answer breaks off, more often than a connection is tried again without anything that comes.
        move |request| Reply::file(&content, request).cut(80_000)
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    let (fetched, told) = run_told(&set, data.path(), &quick());
    fetched.unwrap();
    assert_eq!(server.ranges(), [None, Some(80_000), Some(160_000), Some(240_000), Some(320_000)]);
    assert_eq!(told[1], "again: the connection broke");
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
}

#[test]
fn a_server_without_ranges_starts_over() {
    let content = bytes(3, 100_000);
    let server = Server::start({
        let content = content.clone();
        move |_| Reply::whole(&content)
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    fs::create_dir(data.path().join("tiny")).unwrap();
    fs::write(data.path().join("tiny/a.part"), &content[..60_000]).unwrap();
    let (fetched, told) = run_told(&set, data.path(), &quick());
    fetched.unwrap();
    assert_eq!(told, ["begins a at 0", "done a"]);
    assert_eq!(server.ranges(), [Some(60_000)]);
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
}

#[test]
fn the_beginning_of_another_file_is_thrown_away_once_that_is_known() {
    let content = bytes(4, 50_000);
    let server = Server::start({
        let content = content.clone();
        move |request| Reply::file(&content, request)
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    fs::create_dir(data.path().join("tiny")).unwrap();
    for (length, ranges) in [(20_000, vec![Some(20_000), None]), (50_000, vec![None]), (60_000, vec![None])] {
        fs::write(data.path().join("tiny/a.part"), bytes(99, length)).unwrap();
        let before = server.asked().len();
        run(&set, data.path(), &quick()).unwrap();
        assert_eq!(server.ranges()[before..], ranges, "{length}");
        assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
        fs::remove_file(data.path().join("tiny/a")).unwrap();
    }
}

#[test]
fn a_part_that_is_whole_needs_no_request() {
    let content = bytes(5, 1000);
    let server = Server::start(|_| Reply::status(500));
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    fs::create_dir(data.path().join("tiny")).unwrap();
    fs::write(data.path().join("tiny/a.part"), &content).unwrap();
    run(&set, data.path(), &quick()).unwrap();
    assert!(server.asked().is_empty());
    assert_eq!(names(data.path()), ["tiny/a"]);
}

#[test]
fn what_has_come_is_kept_when_the_addresses_give_out() {
    let content = bytes(6, 100_000);
    let server = Server::start({
        let content = content.clone();
        move |request| {
            if request.from.is_none() { Reply::whole(&content).cut(30_000) } else { Reply::status(503) }
        }
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    let faults = faults(run(&set, data.path(), &quick()));
    assert!(matches!(faults[..], [Fault::Status { code: 503, .. }]), "{faults:?}");
    assert_eq!(fs::read(data.path().join("tiny/a.part")).unwrap(), content[..30_000]);
}

#[test]
fn the_part_of_one_address_is_continued_from_the_next() {
    let content = bytes(7, 100_000);
    let server = Server::start({
        let content = content.clone();
        move |request| match (request.path.as_str(), request.from) {
            ("/one/a", None) => Reply::whole(&content).cut(30_000),
            ("/one/a", _) => Reply::status(404),
            _ => Reply::file(&content, request),
        }
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/one/"), server.url("/two/")], &[("a", &content)]);
    run(&set, data.path(), &quick()).unwrap();
    assert_eq!(server.paths(), ["/one/a", "/one/a", "/two/a"]);
    assert_eq!(server.ranges(), [None, Some(30_000), Some(30_000)]);
}

#[test]
fn a_file_is_not_written_by_two_at_once() {
    let content = bytes(8, 300_000);
    let server = Server::start({
        let content = content.clone();
        move |request| Reply::file(&content, request)
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    let mut second = None;
    poiesis_fetch::fetch(&set, data.path(), &quick(), &mut |event| {
        if matches!(event, poiesis_fetch::Event::Progress { .. }) && second.is_none() {
            second = Some(run(&set, data.path(), &quick()));
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert!(matches!(second, Some(Err(Error::Busy { .. }))), "{second:?}");
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
}

#[test]
fn a_set_that_is_not_whole_says_so_by_its_files() {
    let (a, b) = (bytes(9, 1000), bytes(10, 1000));
    let server = Server::start({
        let a = a.clone();
        move |request| if request.path == "/a" { Reply::whole(&a) } else { Reply::status(404) }
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &a), ("b", &b)]);
    run(&set, data.path(), &quick()).unwrap_err();
    assert_eq!(names(data.path()), ["tiny/a", "tiny/b.part"]);
    assert_eq!(set.state(data.path()), State::Partly);
}
