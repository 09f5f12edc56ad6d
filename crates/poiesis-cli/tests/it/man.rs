//! Manual pages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::support::{Place, text};

/// The page as it is read, by the program of this machine that formats it, with every complaint; none where there is no such program.
fn formatted(place: &Place, file: &str) -> Option<String> {
    let arguments = ["-man", "-Tutf8", "-P-c", "-P-b", "-P-u", "-rLL=100n", file];
    match Command::new("groff").args(arguments).current_dir(place.path(".")).output() {
        Ok(output) => {
            assert!(output.status.success() && output.stderr.is_empty(), "{file}\n{}", text(&output.stderr));
            Some(text(&output.stdout))
        }
        Err(error) => {
            println!("pages are not formatted: groff: {error}");
            None
        }
    }
}

#[test]
fn each_verb_has_a_page_that_refers_to_pages() {
    let place = Place::new();
    let said = place.ok("man pages/");
    let files: BTreeSet<String> = fs::read_dir(place.path("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(said.starts_with(&format!("{} pages in pages", files.len())), "{said}");
    for file in ["poiesis.1", "poiesis-train.1", "poiesis-discover.1", "poiesis-discover-probe.1"] {
        assert!(files.contains(file), "{file}: {files:?}");
    }
    assert!(!files.contains("poiesis-read-table.1") && !files.contains("poiesis-help.1"));

    for file in &files {
        let source = fs::read_to_string(place.path(&format!("pages/{file}"))).unwrap();
        // Names of pages are words before (1).
        for (at, _) in source.match_indices("(1)") {
            let name: String = source[..at].replace("\\-", "-").replace("\\fR", "");
            let name = name.rsplit(|c: char| !c.is_alphanumeric() && c != '-').next().unwrap();
            let name = name.strip_prefix("fB").unwrap_or(name);
            assert!(files.contains(&format!("{name}.1")), "{file} refers to {name}(1)");
        }
        if formatted(&place, &format!("pages/{file}")).is_none() {
            break;
        }
    }
    if let Some(page) = formatted(&place, "pages/poiesis-train.1") {
        for line in [
            "poiesis train [OPTIONS] <MODEL>",
            "poiesis train vae --recipe mnist --set kl_weight=4 --seed 1 --out runs/beta4",
            "--batch-size <N>",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }
}

#[test]
fn one_page_is_printed_and_pages_that_differ_are_not_replaced() {
    let place = Place::new();
    let root = place.ok("man");
    assert!(root.contains(".TH POIESIS 1 "), "{root}");
    let probe = place.ok("man --page discover-probe");
    assert!(probe.contains(".TH POIESIS-DISCOVER-PROBE 1 "));
    assert_eq!(text(&place.run(&["man", "--page", "discover probe"]).stdout), probe);
    assert_eq!(place.ok("man --page poiesis-discover-probe"), probe);
    let said = place.fails("man --page trian");
    assert!(
        said.contains("no manual page called `trian`") && said.contains("did you mean `train`?"),
        "{said}"
    );

    // The name of a verb is its page, and no folder is made for it.
    assert_eq!(place.ok("man discover probe"), probe);
    assert_eq!(place.ok("man poiesis-discover-probe"), probe);
    assert!(place.ok("man train").contains(".TH POIESIS-TRAIN 1 "));
    let said = place.fails("man trian");
    assert!(said.contains("did you mean `train`?") && said.contains("./trian"), "{said}");
    assert!(place.fails("man discover prob").contains("did you mean `discover-probe`?"));
    assert!(place.fails("man train --force").contains("--force cannot be given for a page"));
    // Nor for a word that is no verb, unless it is written as a folder.
    let said = place.fails("man nosuch");
    assert!(said.contains("no manual page called `nosuch`") && said.contains("./nosuch"), "{said}");
    for word in ["train", "trian", "nosuch"] {
        assert!(!place.path(word).exists(), "{word}");
    }
    place.ok("man ./train");
    assert!(place.path("train/poiesis-train.1").exists());

    place.ok("man pages/");
    assert_eq!(fs::read_to_string(place.path("pages/poiesis.1")).unwrap(), root);
    place.ok("man pages");
    fs::write(place.path("pages/poiesis-train.1"), "mine").unwrap();
    let said = place.fails("man pages");
    assert!(said.contains("poiesis-train.1 exists") && said.contains("--force"), "{said}");
    assert_eq!(fs::read_to_string(place.path("pages/poiesis-train.1")).unwrap(), "mine");
    place.ok("man pages --force");
    assert!(fs::read_to_string(place.path("pages/poiesis-train.1")).unwrap().contains(".TH POIESIS-TRAIN"));

    fs::write(place.path("file"), "").unwrap();
    assert!(place.fails("man file").contains("file"));
    for wrong in [&["man", "pages", "--page", "train"][..], &["man", "--force"]] {
        assert_eq!(place.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
