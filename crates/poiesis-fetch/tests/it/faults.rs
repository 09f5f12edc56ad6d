//! What servers, disks and networks do wrong.

use std::fs;
use std::time::{Duration, Instant};

use poiesis_fetch::{Error, Fault, Options, Proxies};

use crate::server::{Reply, Server};
use crate::support::{bytes, faults, names, quick, run, run_told, set};

#[test]
fn a_wrong_checksum_keeps_nothing_and_says_both() {
    let (right, wrong) = (bytes(1, 10_000), bytes(2, 10_000));
    let server = Server::start(move |request| Reply::file(&wrong, request));
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &right)]);
    let error = run(&set, data.path(), &quick()).unwrap_err();
    let got = crate::support::sha256(&bytes(2, 10_000));
    let said = format!(
        "cannot fetch tiny/a from {}: its sha256 is {got}, and that of the published file {}",
        server.url("/a"),
        set.files[0].sha256
    );
    assert_eq!(error.to_string(), said);
    assert_eq!(server.asked().len(), 1, "it is not asked twice");
    assert!(names(data.path()).is_empty() && !data.path().join("tiny").exists());
}

#[test]
fn the_next_address_is_tried_and_remembered() {
    let (a, b) = (bytes(3, 1000), bytes(4, 1000));
    let server = Server::start({
        let (a, b) = (a.clone(), b.clone());
        move |request| match request.path.as_str() {
            "/two/a" => Reply::whole(&b),
            "/three/a" => Reply::whole(&a),
            "/three/b" => Reply::whole(&b),
            _ => Reply::status(404),
        }
    });
    let data = tempfile::tempdir().unwrap();
    let mirrors = ["/one/", "/two/", "/three/"].map(|path| server.url(path));
    let set = set(&mirrors, &[("a", &a), ("b", &b)]);
    let (fetched, told) = run_told(&set, data.path(), &quick());
    assert_eq!(fetched.unwrap().files[0].from, Some(server.url("/three/a")));
    assert_eq!(server.paths(), ["/one/a", "/two/a", "/three/a", "/three/b"]);
    assert_eq!(told[0], "failed: there is no such file");
    assert!(told[2].starts_with("failed: its sha256 is"), "{told:?}");
}

#[test]
fn all_addresses_are_named_where_none_has_it() {
    let content = bytes(5, 1000);
    let server = Server::start(|request| match request.path.as_str() {
        "/one/a" => Reply::status(404),
        "/two/a" => Reply::status(403),
        _ => Reply::whole(b"<html>moved</html>"),
    });
    let data = tempfile::tempdir().unwrap();
    let mirrors = ["/one/", "/two/", "/three/"].map(|path| server.url(path));
    let set = set(&mirrors, &[("a", &content)]);
    let error = run(&set, data.path(), &quick()).unwrap_err();
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "cannot fetch tiny/a from any of 3 addresses");
    assert!(lines[1].ends_with("/one/a: there is no such file"), "{lines:?}");
    assert!(lines[2].ends_with("/two/a: the server answers with status 403"), "{lines:?}");
    assert!(lines[3].ends_with("/three/a: it has 18 bytes, and the published file 1000"), "{lines:?}");
    assert!(error.hint().unwrap().contains("another address"));
}

#[test]
fn what_may_pass_is_waited_for() {
    let content = bytes(6, 1000);
    let server = Server::start({
        let content = content.clone();
        move |request| match request.earlier {
            0 => Reply::status(503).header("Retry-After: 0"),
            1 => Reply::status(500),
            _ => Reply::whole(&content),
        }
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    let (fetched, told) = run_told(&set, data.path(), &quick());
    fetched.unwrap();
    let again = |code| format!("again: the server answers with status {code}");
    assert_eq!(told, [again(503), again(500), "begins a at 0".into(), "done a".into()]);
}

#[test]
fn waits_grow_and_can_be_ended() {
    let server = Server::start(|_| Reply::status(500));
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", b"123")]);
    let mut waits = Vec::new();
    let options = Options { retries: 4, ..quick() };
    poiesis_fetch::fetch(&set, data.path(), &options, &mut |event| {
        if let poiesis_fetch::Event::Again { wait, .. } = event {
            waits.push(wait.as_millis());
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap_err();
    assert_eq!(waits, [5, 10, 20, 40]);
    let options = Options { pause: Duration::from_secs(60), ..quick() };
    let began = Instant::now();
    let ended = poiesis_fetch::fetch(&set, data.path(), &options, &mut |event| match event {
        poiesis_fetch::Event::Waiting => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    });
    assert!(matches!(ended, Err(Error::Stopped { kept: 0, .. })), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_body_that_ends_early_is_named() {
    let content = bytes(7, 1000);
    let server = Server::start({
        let content = content.clone();
        move |_| Reply::unmeasured(&content[..700])
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", &content)]);
    let faults = faults(run(&set, data.path(), &quick()));
    assert!(matches!(faults[..], [Fault::EndsEarly { got: 700, expected: 1000 }]), "{faults:?}");
    assert_eq!(names(data.path()), ["tiny/a.part"], "what has come is kept");
}

#[test]
fn silence_is_not_waited_for_without_end() {
    let content = bytes(8, 100_000);
    let long = Duration::from_secs(30);
    let server = Server::start({
        let content = content.clone();
        move |request| match request.path.as_str() {
            "/mute/a" => {
                std::thread::sleep(Duration::from_secs(30));
                Reply::status(500)
            }
            _ => Reply::file(&content, request).stall(40_000, long),
        }
    });
    let data = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let options = Options { timeout: Duration::from_secs(1), retries: 0, ..quick() };
    let set = set(&[server.url("/mute/"), server.url("/stalls/")], &[("a", &content)]);
    let faults = faults(run(&set, data.path(), &options));
    assert!(matches!(faults[..], [Fault::Silent(_), Fault::Silent(_)]), "{faults:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(fs::read(data.path().join("tiny/a.part")).unwrap(), content[..40_000]);
    // A slow server is not a silent one.
    let slow = Server::start({
        let content = content.clone();
        move |request| Reply::file(&content, request).slowly(10_000, Duration::from_millis(200))
    });
    let set = crate::support::set(&[slow.url("/")], &[("a", &content)]);
    run(&set, data.path(), &options).unwrap();
}

#[test]
fn a_refused_connection_is_named() {
    let server = Server::start(|_| Reply::status(500));
    let url = server.url("/");
    drop(server);
    let data = tempfile::tempdir().unwrap();
    let set = set(&[url], &[("a", b"123")]);
    let error = run(&set, data.path(), &quick()).unwrap_err();
    assert!(error.to_string().ends_with(": the connection was refused"), "{error}");
    assert!(error.hint().unwrap().contains("network"), "{:?}", error.hint());
}

#[test]
fn redirects_in_a_circle_end() {
    let server = Server::start(|_| Reply::redirect(302, "/a"));
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", b"123")]);
    let faults = faults(run(&set, data.path(), &quick()));
    assert!(matches!(faults[..], [Fault::Redirects]), "{faults:?}");
    assert!(server.asked().len() <= 12, "{}", server.asked().len());
}

#[test]
fn what_is_too_large_is_not_taken() {
    let content = bytes(9, 1000);
    let server = Server::start(|request| match request.path.as_str() {
        "/long/a" => Reply::whole(&bytes(9, 2_000_000)),
        _ => Reply::flood(1 << 30),
    });
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/long/"), server.url("/endless/")], &[("a", &content)]);
    let began = Instant::now();
    let faults = faults(run(&set, data.path(), &quick()));
    assert!(
        matches!(
            faults[..],
            [Fault::WrongSize { got: 2_000_000, expected: 1000 }, Fault::TooLarge { limit: 1000 }]
        ),
        "{faults:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(names(data.path()).is_empty());
}

#[test]
fn a_disk_that_cannot_be_written_to_is_known_before_anything_is_asked() {
    let server = Server::start(|_| Reply::status(500));
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", b"123")]);
    fs::write(data.path().join("tiny"), "a file in the place of the folder").unwrap();
    let error = run(&set, data.path(), &quick()).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }) && error.hint().is_some(), "{error}");
    assert!(error.to_string().contains("tiny"), "{error}");
    if cfg!(target_os = "linux") {
        let error = run(&set, std::path::Path::new("/proc/poiesis"), &quick()).unwrap_err();
        assert!(error.to_string().starts_with("cannot make the folder /proc/poiesis/tiny"), "{error}");
    }
    assert!(server.asked().is_empty());
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_a_part_is_not_followed() {
    let server = Server::start(|_| Reply::whole(b"123"));
    let data = tempfile::tempdir().unwrap();
    let set = set(&[server.url("/")], &[("a", b"123")]);
    fs::create_dir(data.path().join("tiny")).unwrap();
    fs::write(data.path().join("mine"), "years of work").unwrap();
    std::os::unix::fs::symlink(data.path().join("mine"), data.path().join("tiny/a.part")).unwrap();
    let error = run(&set, data.path(), &quick()).unwrap_err();
    assert!(error.to_string().contains("no regular file"), "{error}");
    assert_eq!(fs::read(data.path().join("mine")).unwrap(), b"years of work");
}

#[test]
fn proxies_are_gone_through_unless_the_host_is_excepted() {
    let content = bytes(10, 1000);
    let reply = {
        let content = content.clone();
        move |request: &crate::server::Request| Reply::file(&content, request)
    };
    let (server, proxy) = (Server::start(reply.clone()), Server::start(reply));
    let set = set(&[server.url("/")], &[("a", &content)]);
    let through = |except: &[&str]| {
        let data = tempfile::tempdir().unwrap();
        let except = except.iter().map(|host| (*host).to_owned()).collect();
        let proxies = Proxies { http: Some(proxy.url("")), https: None, except };
        run(&set, data.path(), &Options { proxies, ..quick() }).unwrap();
        (proxy.asked().len(), server.asked().len())
    };
    assert_eq!(through(&["example.com"]), (2, 0), "CONNECT and what goes through it");
    assert_eq!(proxy.asked()[0].method, "CONNECT");
    assert_eq!(through(&["example.com", " 127.0.0.1"]), (2, 1));
    assert_eq!(through(&["*"]), (2, 2));
}

#[test]
fn options_that_cannot_be_used_are_named() {
    let data = tempfile::tempdir().unwrap();
    let set = set(&["http://127.0.0.1:9/".to_owned()], &[("a", b"123")]);
    let proxies = Proxies { https: Some("socks5://me:secret@there:1".into()), ..Proxies::default() };
    let error = run(&set, data.path(), &Options { proxies, ..quick() }).unwrap_err();
    assert_eq!(error.to_string(), "proxies cannot be there:1: it is no address of a proxy");
    assert_eq!(error.hint().as_deref(), Some("give it as http://HOST:PORT"));
    let empty = data.path().join("none.pem");
    let with = |path: &std::path::Path| Options { certificates: Some(path.to_owned()), ..quick() };
    let error = run(&set, data.path(), &with(&empty)).unwrap_err();
    assert!(matches!(error, Error::BadOption { option: "certificates", .. }), "{error}");
    fs::write(&empty, "no certificate").unwrap();
    let error = run(&set, data.path(), &with(&empty)).unwrap_err();
    assert!(error.to_string().ends_with("it holds no certificate"), "{error}");
    assert!(!data.path().join("tiny").exists());
}
