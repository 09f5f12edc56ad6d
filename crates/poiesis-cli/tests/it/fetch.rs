//! Published data sets, from folders and from a server of this test's own: nothing here uses a network.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Place, expect_failure, parse, text, words};

/// A folder of the data that Poiesis was developed with; `None`, with a reason printed, where it is not at hand.
#[allow(clippy::print_stderr, reason = "what is passed over is named")]
fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(path);
    if !path.exists() {
        eprintln!("passed over: {} is not there", path.display());
        return None;
    }
    Some(path.canonicalize().unwrap())
}

/// The program without the proxies of this machine.
fn fetch(place: &Place, arguments: &str) -> Command {
    let mut command = place.command(&words(arguments));
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    command
}

#[test]
fn the_list_says_what_there_is() {
    let place = Place::new();
    let list = place.ok("fetch");
    assert_eq!(list, place.ok("fetch --list"));
    for part in ["mnist ", "CC BY-SA 3.0", "novels", "into data;"] {
        assert!(list.contains(part), "{list}");
    }
    let sets = parse(&place.ok("fetch --list names cifar10 --json"));
    let names: Vec<&str> = sets.as_array().unwrap().iter().map(|set| set["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["names", "cifar10"]);
    assert_eq!((&sets[0]["bytes"], &sets[0]["here"]), (&228_145.into(), &"no".into()));
    assert_eq!(sets[0]["files"][0]["path"], "data/text/names.txt");
    assert!(sets[1]["files"][0]["addresses"][0].as_str().unwrap().starts_with("https://"), "{sets}");
    assert!(!place.path("data").exists(), "a list makes nothing");

    // What is there in another form than that in which it is fetched.
    fs::create_dir_all(place.path("data/cifar10")).unwrap();
    fs::write(place.path("data/cifar10/data_batch_1.bin"), "").unwrap();
    fs::create_dir_all(place.path("data/mnist")).unwrap();
    fs::write(place.path("data/mnist/train-images-idx3-ubyte.gz.part"), "").unwrap();
    let sets = parse(&place.ok("fetch --list mnist cifar10 fsdd --json"));
    let here: Vec<&str> = sets.as_array().unwrap().iter().map(|set| set["here"].as_str().unwrap()).collect();
    assert_eq!(here, ["in part", "in another form", "no"]);
}

#[test]
fn missing_data_name_the_command_that_fetches_them() {
    let place = Place::new();
    let error = place.fails("inspect tinyshakespeare");
    assert!(error.contains("(poiesis fetch tinyshakespeare, --data-dir FOLDER)"), "{error}");
    let error = place.fails("train vae --recipe mnist --data-dir sets");
    assert!(error.contains("(poiesis fetch mnist --data-dir sets, --data-dir FOLDER)"), "{error}");
    fs::create_dir_all(place.path("data/mnist")).unwrap();
    fs::write(place.path("data/mnist/train-images-idx3-ubyte.gz"), "").unwrap();
    fs::write(place.path("data/mnist/t10k-images-idx3-ubyte.gz.part"), "").unwrap();
    let error = place.fails("train vae --recipe mnist");
    assert!(error.contains("no complete data set `mnist`"), "{error}");
    assert!(error.ends_with("hint: fetch the rest of it (poiesis fetch mnist)"), "{error}");
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    let place = Place::new();
    fs::create_dir(place.path("usb")).unwrap();
    let fails = |arguments: &str| {
        let output = fetch(&place, arguments).output().unwrap();
        expect_failure(arguments, &output)
    };
    let error = fails("fetch mnits");
    assert!(error.contains("`mnits`") && error.ends_with("hint: did you mean `mnist`?"), "{error}");
    let error = fails("fetch names --from ftp://example.com");
    assert!(error.ends_with("(--from FOLDER|URL)") && error.contains("ftp://example.com"), "{error}");
    let error = fails("fetch names --from usb");
    assert!(error.contains("usb/text/names.txt: there is no such file"), "{error}");
    assert!(error.contains("hint: give a folder that has the files") && !error.contains("later"), "{error}");
    assert!(error.ends_with("(--from FOLDER|URL)"), "{error}");
    let error = fails("fetch names --from usbb");
    assert!(error.contains("usbb does not exist\nhint: check the path"), "{error}");
    assert!(error.ends_with("(--from FOLDER|URL)"), "{error}");
    fs::write(place.path("usb/names.txt"), "emma\n").unwrap();
    let error = fails("fetch names --from usb");
    assert!(error.contains("it has 5 bytes, and the published file 228145"), "{error}");
    assert!(!place.path("data/text/names.txt").exists() && !place.path("data/text").exists());
    let output =
        fetch(&place, "fetch names --from http://127.0.0.1:1/").env("SSL_CERT_FILE", "none.pem").output();
    let error = expect_failure("a certificate that is not there", &output.unwrap());
    assert!(error.contains("none.pem") && error.ends_with("(SSL_CERT_FILE)"), "{error}");

    fs::create_dir_all(place.path("data/text")).unwrap();
    fs::write(place.path("data/text/names.txt"), "years of work").unwrap();
    let error = fails("fetch names --from usb");
    assert!(error.contains("is not the published file") && error.ends_with("(--again)"), "{error}");
    assert_eq!(fs::read(place.path("data/text/names.txt")).unwrap(), b"years of work");
    assert_eq!(fetch(&place, "fetch --again").status().unwrap().code(), Some(2), "of what?");
    assert_eq!(fetch(&place, "fetch names --timeout 0").status().unwrap().code(), Some(2));
}

#[test]
fn fetched_data_are_found_by_name() {
    let Some(shared) = shared("text/names.txt") else { return };
    let place = Place::new();
    let from = shared.parent().unwrap().parent().unwrap().to_str().unwrap().to_owned();
    let output = fetch(&place, &format!("fetch names tinyshakespeare --from {from}")).output().unwrap();
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    for part in ["licence", "MIT (Andrej Karpathy)", "228.1 kB in 1 file, into data/text"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let program = env!("CARGO_BIN_EXE_poiesis");
    assert!(said.starts_with("fetched: names, 1 file, 228.1 kB in data/text\n"), "{said}");
    let next = format!(
        "what to try next\n  {program} train transformer --recipe names\n  {program} train transformer --recipe \
         tinyshakespeare-fast\n"
    );
    assert!(said.ends_with(&next), "{said}");
    let card = parse(&place.ok("inspect names --json"));
    assert_eq!(card["name"], "names");

    // Once more: nothing is done, and another folder is named in what to try next.
    assert!(place.ok("fetch names").starts_with("already there: names, 1 file"));
    let sets = parse(&place.ok(&format!("fetch names --data-dir sets --from {from} --json")));
    assert_eq!(sets[0]["files"][0]["path"], "sets/text/names.txt");
    assert!(sets[0]["files"][0]["from"].as_str().unwrap().ends_with("text/names.txt"), "{sets}");
    assert!(sets[0]["next"].as_str().unwrap().ends_with("train transformer --recipe names --data-dir sets"));
    assert_eq!(parse(&place.ok("fetch --list names --data-dir sets --json"))[0]["here"], "yes");
}

/// Serves a file from the byte on that is asked for, in pieces with a pause after each; returns the address.
fn serve(file: Vec<u8>, pieces: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let file = file.clone();
            thread::spawn(move || -> std::io::Result<()> {
                let mut from = None;
                for line in BufReader::new(stream.try_clone()?).lines() {
                    let line = line?.to_ascii_lowercase();
                    if let Some(range) = line.strip_prefix("range: bytes=") {
                        from = range.trim_end_matches('-').parse::<usize>().ok();
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                let rest = &file[from.unwrap_or(0)..];
                let (status, range) = match from {
                    None => (200, String::new()),
                    Some(from) => {
                        (206, format!("Content-Range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len()))
                    }
                };
                let length = rest.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} Said\r\nConnection: close\r\nContent-Length: {length}\r\n{range}\r\n"
                )?;
                for piece in rest.chunks(file.len() / pieces + 1) {
                    stream.write_all(piece)?;
                    thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            });
        }
    });
    format!("http://{address}")
}

/// Starts a download and waits until some of it is there.
fn begun(place: &Place, arguments: &str, part: &Path) -> Child {
    let mut child = fetch(place, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while fs::metadata(part).map_or(0, |part| part.len()) < 20_000 {
        assert!(child.try_wait().unwrap().is_none(), "it has ended by itself");
        assert!(began.elapsed() < Duration::from_secs(60), "nothing comes");
        thread::sleep(Duration::from_millis(2));
    }
    child
}

#[cfg(unix)]
#[test]
fn a_download_that_is_stopped_or_killed_continues() {
    let Some(shared) = shared("text/names.txt") else { return };
    let content = fs::read(shared).unwrap();
    let place = Place::new();
    let part = place.path("data/text/names.txt.part");
    let arguments = format!("fetch names --from {}", serve(content.clone(), 40));

    let child = begun(&place, &arguments, &part);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("stopped with ") && told.contains("fetch names` continues"), "{told}");
    let kept = fs::metadata(&part).unwrap().len();
    assert!(kept < content.len() as u64);

    let mut child = begun(&place, &arguments, &part);
    while fs::metadata(&part).unwrap().len() == kept {
        thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(part.exists());

    let output = fetch(&place, &arguments).output().unwrap();
    let told = text(&output.stderr);
    assert!(output.status.success() && told.contains(", after "), "{told}");
    assert_eq!(fs::read(place.path("data/text/names.txt")).unwrap(), content);
    assert!(!part.exists());
}
