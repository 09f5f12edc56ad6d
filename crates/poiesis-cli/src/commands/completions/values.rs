//! What can be written for a value. The name that the help gives to the value says of what kind it is: `RUN`, `MODEL`, `FOLDER`.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, ValueHint};
use poiesis::apply::anomaly::Score;
use poiesis::catalogue::{self, CATALOGUE};
use poiesis::config::resolve;
use poiesis::data::known::KNOWN;
use poiesis::data::{DataSpec, MediaKind};
use poiesis::device;
use poiesis::model::Entry;
use poiesis::run::{Run, metrics};
use poiesis_collect::{Builtin, Split};

use super::line::{Line, value_name};
use crate::commands::man;
use crate::commands::sample::NO_CLASS;

/// A word that can be written, with what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) word: String,
    /// Empty where the word says it all.
    pub(super) about: String,
}

impl Candidate {
    pub(super) fn new(word: impl Into<String>, about: impl Into<String>) -> Candidate {
        Candidate { word: word.into(), about: about.into() }
    }
}

/// The paths that the shell adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Paths {
    None,
    Folders,
    Files,
}

/// What can be written for `arg`.
pub(super) fn values(arg: &Arg, line: &Line<'_>) -> (Vec<Candidate>, Paths) {
    let possible: Vec<Candidate> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| {
            Candidate::new(value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default())
        })
        .collect();
    if !possible.is_empty() {
        return (possible, Paths::None);
    }
    let mut all = (Vec::new(), Paths::None);
    for name in value_name(arg).split('|') {
        let (candidates, paths) = of_kind(name, arg, line);
        all.0.extend(candidates);
        all.1 = all.1.max(paths);
    }
    all
}

/// What can be written for a value with the name `kind`.
fn of_kind(kind: &str, arg: &Arg, line: &Line<'_>) -> (Vec<Candidate>, Paths) {
    match (kind, arg.get_id().as_str()) {
        ("MODEL", _) => (models(), Paths::None),
        ("ENV", _) | (_, "env") => (environments(), Paths::None),
        ("RUN" | "RUNS", _) => runs(&line.typed),
        ("random" | "others" | "none", _) => (vec![Candidate::new(kind, "")], Paths::None),
        ("SOURCE" | "DATA", _) => (data(line), Paths::Files),
        ("SPLIT", _) => (words(Split::ALL.map(Split::as_str)), Paths::None),
        ("DEVICE", _) => (words(device::kinds()), Paths::None),
        ("CLASS", _) => (classes(line), Paths::None),
        ("KEY=VALUE", _) => (keys(line), Paths::None),
        ("PAGE", _) => (words(man::names()), Paths::None),
        ("NAME", "score") => (words(Score::ALL.map(Score::name)), Paths::None),
        ("NAME" | "RECIPE", "recipe") => (recipes(line), Paths::None),
        ("NAME", "name") if line.command.get_name() == "recipes" => (recipes(line), Paths::None),
        ("METRIC", _) => (metrics(line), Paths::None),
        _ if line.command.get_name() == "fetch" && arg.is_positional() => (published(), Paths::None),
        ("FOLDER" | "ROOT" | "OUT" | "DIR", _) => (Vec::new(), Paths::Folders),
        ("FILE" | "IMAGES", _) => (Vec::new(), Paths::Files),
        _ => (Vec::new(), paths(arg.get_value_hint())),
    }
}

/// Arguments that are paths have this hint of themselves.
fn paths(hint: ValueHint) -> Paths {
    match hint {
        ValueHint::AnyPath | ValueHint::FilePath => Paths::Files,
        ValueHint::DirPath => Paths::Folders,
        _ => Paths::None,
    }
}

fn words<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Vec<Candidate> {
    words.into_iter().map(|word| Candidate::new(word, "")).collect()
}

fn models() -> Vec<Candidate> {
    CATALOGUE.iter().map(|entry| Candidate::new(entry.name(), entry.about().summary)).collect()
}

/// The recipes of the model that was named.
fn recipes(line: &Line<'_>) -> Vec<Candidate> {
    let entry = line.value("MODEL").and_then(|name| catalogue::find(name).ok());
    let recipes = entry.map_or(&[][..], |entry| entry.about().recipes);
    recipes.iter().map(|recipe| Candidate::new(recipe.name, recipe.summary())).collect()
}

fn environments() -> Vec<Candidate> {
    poiesis_envs::list().iter().map(|listed| Candidate::new(listed.name, listed.about)).collect()
}

/// Runs below `runs`; below other folders, and where there are none, the shell shows folders.
fn runs(typed: &str) -> (Vec<Candidate>, Paths) {
    let found: Vec<Candidate> = match typed.contains(['/', '\\']) {
        true => Vec::new(),
        false => holders(Path::new("runs"), "run.json")
            .into_iter()
            .filter_map(|path| Some(Candidate::new(path.to_str()?, run_about(&path))))
            .collect(),
    };
    let paths =
        if found.iter().any(|run| run.word.starts_with(typed)) { Paths::None } else { Paths::Folders };
    (found, paths)
}

fn run_about(path: &Path) -> String {
    Run::open(path).map(|run| format!("{} on {}", run.info().model, run.info().data.name)).unwrap_or_default()
}

/// The folders in `folder` that hold a file of that name, sorted.
fn holders(folder: &Path, file: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.join(file).is_file()).collect();
    found.sort();
    found
}

/// Data sets: those made by code, those known by name, and packed ones in the folder of data sets.
fn data(line: &Line<'_>) -> Vec<Candidate> {
    let mut all: Vec<Candidate> =
        Builtin::ALL.iter().map(|made| Candidate::new(made.name(), made.about())).collect();
    let folder = data_dir(line);
    all.extend(KNOWN.iter().map(|known| {
        let mut places = known.places.iter().chain([&known.name]);
        let is_there = places.any(|place| folder.join(place).exists());
        let about = if is_there {
            "published data set"
        } else {
            "published data set, not in the folder of data sets"
        };
        Candidate::new(known.name, about)
    }));
    for path in holders(&folder, "dataset.json") {
        let name = path.file_name().and_then(OsStr::to_str);
        if let Some(name) = name.filter(|name| all.iter().all(|other| other.word != *name)) {
            all.push(Candidate::new(name, "packed data set"));
        }
    }
    all
}

/// The folder of data sets: as given, of the environment, or `data`.
fn data_dir(line: &Line<'_>) -> PathBuf {
    let given =
        line.given.iter().find(|(arg, _)| arg.get_id() == "data_dir").map(|(_, folder)| folder.into());
    given.or_else(|| env::var_os("POIESIS_DATA").map(PathBuf::from)).unwrap_or_else(|| "data".into())
}

fn published() -> Vec<Candidate> {
    poiesis_fetch::published().iter().map(|set| Candidate::new(&set.name, &set.title)).collect()
}

/// The run that was named, by its folder or by its name in `runs`.
fn run(line: &Line<'_>) -> Option<Run> {
    let named = Path::new(line.value("RUN").or_else(|| line.value("RUNS"))?);
    Run::open(named).or_else(|_| Run::open(&Path::new("runs").join(named))).ok()
}

/// The metrics that the run was trained with.
fn metrics(line: &Line<'_>) -> Vec<Candidate> {
    let rows = run(line).and_then(|run| metrics::read(&run.metrics_path()).ok()).unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for (name, _) in rows.into_iter().flat_map(|row| row.values) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    words(names)
}

/// The classes of the run that was named, and for samples the word for none where it has learned documents without a class.
fn classes(line: &Line<'_>) -> Vec<Candidate> {
    let Some(run) = run(line) else { return Vec::new() };
    let data = &run.info().data;
    let mut all = words(data.classes.clone());
    let has_documents = |spec: &DataSpec| matches!(spec.media(), MediaKind::Text | MediaKind::Sound);
    let knows_none = data.spec.as_ref().is_some_and(|spec| spec.unlabelled && has_documents(spec));
    if knows_none
        && line.command.get_name() == "sample"
        && !data.classes.iter().any(|class| class == NO_CLASS)
    {
        all.push(Candidate::new(NO_CLASS, "without a class"));
    }
    all
}

/// The keys of the model that was named, or of that of the run, each with `=` and its default. The section is left out where the key
/// is the only one of its name.
fn keys(line: &Line<'_>) -> Vec<Candidate> {
    let origins =
        model(line).and_then(|entry| resolve(&entry.defaults().ok()?, &[]).ok()).map(|all| all.origins);
    let origins = origins.unwrap_or_default();
    let short = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for (key, value, _) in &origins {
        let name = short(key);
        let is_alone = origins.iter().filter(|(other, ..)| short(other) == name).count() == 1;
        if is_alone && name != *key {
            all.push(Candidate::new(format!("{name}="), value));
        }
        // Otherwise each key would be listed twice.
        if !is_alone || name == *key || !line.typed.is_empty() {
            all.push(Candidate::new(format!("{key}="), value));
        }
    }
    all.retain(|candidate| candidate.word != line.typed);
    all
}

fn model(line: &Line<'_>) -> Option<&'static dyn Entry> {
    let named = line.value("MODEL").map(str::to_owned);
    let of_run = || run(line).map(|run| run.info().model.clone());
    catalogue::find(&named.or_else(of_run)?).ok()
}
