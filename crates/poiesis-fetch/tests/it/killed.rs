//! A real process, killed in the middle, and another that continues.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{Reply, Server};
use crate::support::{bytes, names, quick, run, set};

const LENGTH: usize = 3_000_000;

/// The variable that tells this program, started once more, what it is to fetch, and where to.
const TASK: &str = "POIESIS_FETCH_TEST";

#[test]
fn a_killed_process_is_continued() {
    let content = bytes(1, LENGTH);
    let server = Server::start({
        let content = content.clone();
        move |request| Reply::file(&content, request).slowly(100_000, Duration::from_millis(10))
    });
    let data = tempfile::tempdir().unwrap();
    let part = data.path().join("tiny/a.part");
    let mut lengths = Vec::new();
    for kill in 1..=2 {
        let mut child = start(&server.url("/"), data.path());
        wait_for(&part, kill * LENGTH as u64 / 4, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        let kept = fs::read(&part).unwrap();
        assert_eq!(kept, content[..kept.len()], "what is kept is the beginning of the file");
        lengths.push(kept.len());
    }
    let set = set(&[server.url("/")], &[("a", &content)]);
    run(&set, data.path(), &quick()).unwrap();
    assert_eq!(server.ranges(), [None, Some(lengths[0]), Some(lengths[1])]);
    assert_eq!(fs::read(data.path().join("tiny/a")).unwrap(), content);
    assert_eq!(names(data.path()), ["tiny/a"]);
}

/// Starts this program again, with the task of fetching from that address.
fn start(url: &str, data: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "killed::the_process_that_is_killed", "--ignored", "--nocapture"])
        .env(TASK, format!("{url} {}", data.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_for(part: &Path, length: u64, child: &mut Child) {
    let began = Instant::now();
    while fs::metadata(part).map_or(0, |part| part.len()) < length {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing comes");
        assert!(child.try_wait().unwrap().is_none(), "the process has ended by itself");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
#[ignore = "it is what another test starts as a process of its own"]
fn the_process_that_is_killed() {
    let Ok(task) = env::var(TASK) else { return };
    let (url, data) = task.split_once(' ').unwrap();
    let set = set(&[url.to_owned()], &[("a", &bytes(1, LENGTH))]);
    run(&set, Path::new(data), &quick()).unwrap();
}
