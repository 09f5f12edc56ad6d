//! What the repository promises about itself: which module may use which, what every model folder holds, the tables of models in
//! the documentation, and the words of the glossary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use poiesis::catalogue::CATALOGUE;
use poiesis::model::{Entry, Paper};

/// The modules of the library from the bottom up: each may use those before it and no others.
const MODULES: [&str; 26] = [
    "error",
    "device",
    "atomic",
    "rng",
    "nn",
    "fitting",
    "picture",
    "optim",
    "config",
    "data",
    "run",
    "dist",
    "abilities",
    "model",
    "models",
    "agents",
    "catalogue",
    "media",
    "generate",
    "trained",
    "coding",
    "features",
    "evaluate",
    "apply",
    "discover",
    "train",
];

/// The crates from the bottom up, likewise.
const CRATES: [&str; 7] = [
    "poiesis-spectrum",
    "poiesis-envs",
    "poiesis-fetch",
    "poiesis-kernels",
    "poiesis-collect",
    "poiesis",
    "poiesis-cli",
];

/// Longest file that needs no reason.
const LINES: usize = 500;

/// Longer files, and why each is not divided.
const LONGER: [(&str, &str); 1] = [(
    "crates/poiesis/src/models/autoregressive/pixelcnn_pp/incremental.rs",
    "one pass over one network, part by part",
)];

/// Words of earlier versions that no page and no comment uses any more. Words that mean something else too are not listed.
const RETIRED: [&str; 9] = [
    "law",
    "laws",
    "belief",
    "judge",
    "goes on with",
    "gone on with",
    "in any company",
    "writes value by value",
    "numbers of an image",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` with this ending, as paths from the root, sorted.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![root().join(folder)];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.insert(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.into_iter().collect()
}

fn expect_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn modules_use_only_those_below_them() {
    let place = |module: &str| MODULES.iter().position(|&known| known == module);
    let mut faults = Vec::new();
    for path in files("crates/poiesis/src", "rs") {
        let inside = path.strip_prefix("crates/poiesis/src").unwrap();
        let tests = inside.components().any(|part| part.as_os_str().to_string_lossy().starts_with("test"));
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs");
        if tests || module == "lib" {
            continue;
        }
        let own = place(module).unwrap_or_else(|| panic!("MODULES does not list `{module}`"));
        let text = read(&path);
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for used in lines.flat_map(|line| line.split("crate::").skip(1)) {
            let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if place(&name).is_some_and(|used| used > own) {
                faults.push(format!("{} uses crate::{name}, which is above it", path.display()));
            }
        }
    }
    expect_none(&faults);
}

#[test]
fn crates_use_only_those_below_them() {
    let mut faults = Vec::new();
    for (own, name) in CRATES.iter().enumerate() {
        let manifest: toml::Table = toml::from_str(&read(format!("crates/{name}/Cargo.toml"))).unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let above = CRATES[own..].iter().filter(|other| dependencies.contains_key(**other));
        faults.extend(above.map(|other| format!("{name} depends on {other}")));
    }
    expect_none(&faults);
}

/// What only `poiesis-fetch` may use: everything that opens a connection.
const CONNECTIONS: [&str; 6] = ["std::net", "::net::", "TcpStream", "UdpSocket", "UnixStream", "ureq::"];

#[test]
fn only_one_crate_opens_connections_and_only_one_verb_calls_it() {
    let mut faults = Vec::new();
    let manifests = CRATES.iter().map(|name| format!("crates/{name}/Cargo.toml"));
    for path in manifests.chain(["xtask/Cargo.toml".to_owned()]) {
        let manifest: toml::Table = toml::from_str(&read(&path)).unwrap();
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let uses = |name: &str| manifest.get(table).is_some_and(|table| table.get(name).is_some());
            if uses("ureq") && !path.contains("poiesis-fetch") {
                faults.push(format!("{path} depends on ureq"));
            }
            if uses("poiesis-fetch") && !path.contains("poiesis-cli") {
                faults.push(format!("{path} depends on poiesis-fetch"));
            }
        }
    }
    for path in files("crates", "rs").into_iter().chain(files("xtask", "rs")) {
        let name = path.to_string_lossy().into_owned();
        // Tests may have servers of their own.
        if name.starts_with("crates/poiesis-fetch/") || name.contains("/tests/") {
            continue;
        }
        let text = read(&path);
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            faults.extend(
                CONNECTIONS.iter().filter(|word| line.contains(**word)).map(|word| format!("{name}: {word}")),
            );
            if line.contains("poiesis_fetch::fetch(") && !name.ends_with("commands/fetch.rs") {
                faults.push(format!("{name} calls poiesis_fetch::fetch"));
            }
        }
    }
    expect_none(&faults);
}

#[test]
fn every_file_says_what_it_is_and_is_short_or_has_a_reason() {
    let mut faults = Vec::new();
    for path in files("crates", "rs").into_iter().chain(files("xtask", "rs")) {
        let (text, name) = (read(&path), path.to_string_lossy().into_owned());
        if !text.starts_with("//!") {
            faults.push(format!("{name} does not begin with what it is (`//! …`)"));
        }
        let lines = text.lines().count();
        let listed = LONGER.iter().any(|(longer, _)| *longer == name);
        let test = name.contains("tests");
        if lines > LINES && !listed && !test {
            faults.push(format!("{name} has {lines} lines: divide it, or list it with a reason"));
        }
        if lines <= LINES && listed {
            faults.push(format!("{name} has {lines} lines and needs no reason any more"));
        }
    }
    expect_none(&faults);
}

/// The folder of a model: below `crates/poiesis/src/models` with its family, or that of an agent.
fn folder_of(entry: &dyn Entry) -> String {
    let name = entry.name().replace('-', "_");
    let models = root().join("crates/poiesis/src/models");
    let families = fs::read_dir(&models).unwrap().map(|family| family.unwrap().path());
    let places = families.chain([root().join("crates/poiesis/src/agents")]);
    let found: Vec<PathBuf> =
        places.map(|place| place.join(&name)).filter(|folder| folder.is_dir()).collect();
    assert_eq!(found.len(), 1, "a folder of the name `{name}` in one family of models, or among the agents");
    found[0].strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_model_is_a_folder_with_all_that_belongs_to_it() {
    let mut faults = Vec::new();
    for entry in CATALOGUE {
        let folder = folder_of(*entry);
        for file in ["mod.rs", "tests.rs", "README.md", "parity.py", "parity.safetensors"] {
            if !root().join(&folder).join(file).exists() {
                faults.push(format!("{folder} has no {file}"));
            }
        }
        if !read(format!("{folder}/tests.rs")).contains("expect_conforms::<") {
            faults.push(format!("{folder}/tests.rs does not call expect_conforms"));
        }
        let on_disk: BTreeSet<String> = files(&format!("{folder}/recipes"), "toml")
            .iter()
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        let listed: BTreeSet<String> =
            entry.about().recipes.iter().map(|recipe| recipe.name.to_owned()).collect();
        if on_disk != listed {
            faults.push(format!("{folder}/recipes holds {on_disk:?}, and recipes!(…) lists {listed:?}"));
        }
        for recipe in entry.about().recipes {
            let keys: toml::Table = toml::from_str(recipe.toml).unwrap();
            let own = keys.get(entry.name()).and_then(toml::Value::as_table);
            let old = |key: &&str| own.is_some_and(|own| own.contains_key(*key));
            let used: Vec<&str> = entry.about().old_keys.iter().map(|(key, _)| *key).filter(old).collect();
            if !used.is_empty() {
                faults.push(format!("{folder}/recipes/{}.toml uses old keys: {used:?}", recipe.name));
            }
        }
    }
    expect_none(&faults);
}

/// How the table cites a paper: `Graves 2013`, `Kingma and Welling 2013`, `Radford et al. 2015`.
fn citation(paper: &Paper) -> String {
    let authors: Vec<&str> = paper.authors.split(", ").collect();
    let who = match authors.as_slice() {
        [one] => (*one).to_owned(),
        [one, other] => format!("{one} and {other}"),
        all => format!("{} et al.", all[0]),
    };
    format!("{who} {}", paper.year)
}

/// The rows of the table of models, with links that begin with `up`.
fn model_table(up: &str) -> String {
    let mut table = String::from("| model | paper | learns | can | a result |\n|---|---|---|---|---|\n");
    for entry in CATALOGUE {
        let (about, page) = (entry.about(), format!("{}/README.md", folder_of(*entry)));
        let text = read(&page);
        let result = text.lines().find_map(|line| line.strip_prefix("Result: "));
        let result = result.unwrap_or_else(|| panic!("{page} has no line that begins with `Result: `"));
        let media: Vec<&str> = about.media.iter().map(|media| media.name()).collect();
        let abilities: Vec<&str> = about.abilities.iter().map(|ability| ability.name()).collect();
        table.push_str(&format!(
            "| [`{}`]({up}{page}) | {} | {} | {} | {result} |\n",
            about.name,
            citation(&about.paper),
            media.join(", "),
            abilities.join(", ")
        ));
    }
    table
}

/// Set this to write the tables instead of comparing them.
const UPDATE: &str = "POIESIS_UPDATE_TABLES";

#[test]
fn the_tables_of_models_are_those_of_the_catalogue() {
    const BEGIN: &str = "<!-- models: begin -->\n";
    for (page, up) in [("README.md", ""), ("docs/models.md", "../")] {
        let (text, table) = (read(page), model_table(up));
        let (before, rest) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{page} has no {BEGIN}"));
        let (found, after) = rest.split_once("<!-- models: end -->").unwrap();
        if std::env::var_os(UPDATE).is_some() {
            fs::write(root().join(page), format!("{before}{BEGIN}{table}<!-- models: end -->{after}"))
                .unwrap();
        } else {
            assert_eq!(found, table, "the table of {page} is old: run this test again with {UPDATE}=1");
        }
    }
}

#[test]
fn retired_words_are_not_used() {
    let mut faults = Vec::new();
    let sources = ["rs", "toml", "md", "trycmd"].iter().flat_map(|ending| files("crates", ending));
    let pages = files("docs", "md").into_iter().filter(|page| !page.ends_with("glossary.md"));
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(PathBuf::from);
    for path in sources.chain(pages).chain(top).filter(|path| !path.ends_with("tests/tidy.rs")) {
        for (number, line) in read(&path).lines().enumerate() {
            // The companding law of sound, and old keys of configurations, which are still read.
            let line = ["μ-law", "µ-law", "(\"law\","]
                .iter()
                .fold(line.to_lowercase(), |line, other| line.replace(other, ""));
            for word in RETIRED.iter().filter(|word| has_word(&line, word)) {
                faults.push(format!("{}:{}: `{word}`", path.display(), number + 1));
            }
        }
    }
    expect_none(&faults);
}

/// Whether `line` has `word` with no letter, digit or `_` beside it.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}
