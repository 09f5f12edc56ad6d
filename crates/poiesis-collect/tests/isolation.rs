//! Tables that are read in a separate process: the same data sets, and processes that never end, overflow their stack, take too
//! much memory, fall over or talk nonsense are errors that name the table. This program is that process, too.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "it reports like the test harness that it does without")]

mod common;

use std::env;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use parquet::basic::Compression;
use poiesis_collect::isolation::{Reader, serve, set_reader};
use poiesis_collect::{Error, Limits, Options};

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, mark, mode, table] = &arguments[..]
        && mark == "read-table"
    {
        return read(mode, table.as_ref());
    }
    if arguments.iter().any(|argument| argument == "--list") {
        println!("isolation: test");
        return;
    }
    the_same_data_set();
    every_way_to_fail();
    too_much_memory();
    set_reader(None);
    println!("tables in a separate process: ok");
}

/// What the process does that reads a table, as it should or not.
fn read(mode: &str, table: &Path) {
    match mode {
        "well" => serve(table, &mut io::stdin(), &mut io::stdout()).unwrap(),
        "never" => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        "deeply" => drop(black_box(deeper(0))),
        "falling" => std::process::abort(),
        "nonsense" => drop(io::stdout().write_all(&[b'R'; 1000])),
        _ => {}
    }
}

fn deeper(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return 0;
    }
    let here = black_box([depth; 128]);
    deeper(black_box(here[7] + 1)) + here[3]
}

fn use_reader(mode: &str) {
    let arguments = vec!["read-table".into(), mode.into()];
    set_reader(Some(Reader {
        program: env::current_exe().unwrap(),
        arguments,
        timeout: Duration::from_secs(3),
    }));
}

fn a_table() -> Vec<u8> {
    let features = r#"{"info": {"features": {"image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": ["no", "yes"]}}}}"#;
    let images: Vec<_> = (0..150).map(|i| (i % 7 != 3).then(|| png(8, 8, i))).collect();
    let labels = Labels::Numbers((0..150).map(|i| i % 2).collect());
    table(&images, ("label", labels), Some(features), Compression::SNAPPY)
}

fn the_same_data_set() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.parquet", &a_table());
    let path = root.path().join("a.parquet");
    set_reader(None);
    let here = files_with_threads(&path, &Options::default(), 2);
    use_reader("well");
    assert!(here == files_with_threads(&path, &Options::default(), 2), "the same bytes");
    // Lists of numbers come through as well.
    let demos = demos::demos(&[3, 5], 2);
    write(root.path(), "e.parquet", &demos::transitions_table(&demos, 2));
    let episodes = root.path().join("e.parquet");
    let there = files_with_threads(&episodes, &Options::default(), 1);
    set_reader(None);
    assert!(there == files_with_threads(&episodes, &Options::default(), 1), "the same episodes");
    use_reader("well");
    // What is wrong with a table is said in the same words.
    write(root.path(), "b.parquet", b"PAR1 and nothing else");
    let told = |()| told(&packed(&root.path().join("b.parquet"), &Options::default()).unwrap_err());
    let there = told(());
    set_reader(None);
    assert_eq!(there, told(()));
}

fn every_way_to_fail() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.parquet", &a_table());
    for (mode, says) in [
        ("never", "no row could be read for 3 s"),
        ("deeply", "it is nested too deeply"),
        ("falling", "its reader was ended by signal 6"),
        ("nonsense", "its reader"),
        ("gone", "its reader was ended exit status: 0"),
    ] {
        use_reader(mode);
        let begun = Instant::now();
        let error = packed(&root.path().join("a.parquet"), &Options::default()).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(30), "{mode}");
        let text = told(&error);
        assert!(text.contains("a.parquet") && text.contains(says), "{mode}: {text}");
    }
}

/// 400 MB of zeros in one small page, where 32 MiB are allowed for a table.
fn too_much_memory() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let file = plain_table(&[vec![0; 400_000_000]], Compression::ZSTD(Default::default()));
    assert!(file.len() < 1_000_000);
    write(root.path(), "a.parquet", &file);
    use_reader("well");
    let limits = Limits { max_memory: 64 << 20, ..Limits::default() };
    let error =
        packed(&root.path().join("a.parquet"), &Options { limits, ..Options::default() }).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("memory"), "{error}");
}
