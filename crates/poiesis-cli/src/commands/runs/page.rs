//! The page of a run as text.

use std::path::PathBuf;

use poiesis::catalogue::Setting;
use poiesis::data::{Content, DataSpec};
use poiesis::error::in_bytes;
use poiesis::run::contents::Part;
use poiesis::run::{DataInfo, RunInfo, State, utc};

use super::super::train::parent_line;
use super::measures::{sentence, value};
use super::show::{Page, best};
use super::{curves, state_name};
use crate::render::{count, duration, facts, number, program, quoted, shape, table};
use crate::watch::networks;

/// How many metrics are shown besides those of held-out examples.
const METRICS: usize = 5;
/// How many files that no run has are named.
const NAMED: usize = 8;
/// Columns beside a curve: the last value, the best and its step, and the gaps.
const BESIDE: usize = 2 + 3 * 12;

/// The parts of a run's folder in the order in which they are listed.
pub(super) const PARTS: [(&str, Part); 7] = [
    ("checkpoints", Part::Checkpoints),
    ("samples", Part::Samples),
    ("metrics", Part::Metrics),
    ("evaluations", Part::Evaluations),
    ("description", Part::Description),
    ("temporary", Part::Temporary),
    ("other", Part::Other),
];

/// The page; `all` adds the settings that are defaults and the metrics that are left out otherwise.
pub(super) fn text(page: &Page, all: bool) -> String {
    let parts = [
        head(page),
        settings(page, all),
        metrics(page, all),
        evaluations(page),
        checkpoints(page),
        files(page),
        next(page),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn head(page: &Page) -> String {
    let info = page.run.info();
    let is_agent = matches!(info.data.spec(), Ok(DataSpec { content: Content::Experience(_), .. }));
    let model = match page.summary {
        Some(summary) => format!("{}  {summary}", info.model),
        None => format!("{}  (this version has no such model)", info.model),
    };
    let (files, bytes) = page.contents.total();
    let mut lines = vec![
        ("run", page.run.path().display().to_string()),
        ("model", model),
        (if is_agent { "environment" } else { "data" }, data(&info.data)),
        ("state", state(page)),
    ];
    lines.extend(info.parent.as_ref().map(|parent| ("starts from", parent_line(parent))));
    if !page.parameters.is_empty() {
        lines.push(("parameters", parameters(&page.parameters)));
    }
    lines.push(("measure", page.measure.as_ref().map_or_else(|| "none yet".to_owned(), sentence)));
    lines.push(("on disk", format!("{}, {}", number_of(files, "file"), in_bytes(bytes))));
    lines.push(("made", made(info)));
    if !info.command.is_empty() {
        let words: Vec<String> = info.command.iter().map(|word| quoted(word)).collect();
        lines.push(("command", words.join(" ")));
    }
    facts(&lines)
}

/// The data with their counts, what they are, and their fingerprint.
fn data(data: &DataInfo) -> String {
    let spec = data.spec().ok();
    let mut of: Vec<String> =
        data.counts.iter().map(|(split, number)| format!("{} {split}", count(*number))).collect();
    let form = match spec.map(|spec| spec.content) {
        Some(Content::Images(images)) => shape(&[images.height, images.width, images.channels]),
        Some(Content::Points(points)) => shape(&[points.dims]),
        Some(Content::Text(text)) => {
            format!("text of {} different tokens", count(text.vocabulary.len() as u64))
        }
        Some(Content::Sound(sound)) => format!("sound, {} Hz", count(u64::from(sound.sample_rate))),
        Some(Content::Experience(task)) => {
            // What is counted are the demonstrations.
            of = data
                .counts
                .iter()
                .map(|(_, number)| format!("{} demonstrated steps", count(*number)))
                .collect();
            task.describe()
        }
        None => shape(&data.shape),
    };
    let classes = match data.classes.len() {
        0 => String::new(),
        number => format!("; {} classes", count(number as u64)),
    };
    let counts = if of.is_empty() { String::new() } else { format!(": {}", of.join(", ")) };
    let short = data.fingerprint.get(..16).unwrap_or(&data.fingerprint);
    let fingerprint = if short.is_empty() { String::new() } else { format!("\nfingerprint {short}…") };
    format!("{}{counts}; {form}{classes}{fingerprint}", data.name)
}

/// The state with progress, time and speed.
fn state(page: &Page) -> String {
    let (info, step, elapsed) = (page.run.info(), page.step, page.elapsed);
    let name = state_name(info.state, page.in_use);
    let of = format!("{} of {} steps", count(step), count(info.steps));
    let progress = match (info.state, step >= info.steps) {
        (State::Done, true) => format!("{name}: {} steps", count(step)),
        (State::Done, false) => format!("{name} early: {of}"),
        _ => format!("{name}: {of}, {} %", 100 * step / info.steps.max(1)),
    };
    let mut parts = vec![progress, format!("{} of training", duration(elapsed))];
    if step > 0 && elapsed > 0.0 {
        let rate = step as f64 / elapsed;
        parts.push(if rate >= 1.0 {
            format!("{} steps/s", number(rate))
        } else {
            format!("{} s a step", number(1.0 / rate))
        });
        if page.in_use {
            let left = info.steps.saturating_sub(step) as f64 / rate;
            parts.push(format!("about {} left", duration(left)));
        }
    }
    let reason = info.reason.as_ref().map(|reason| format!("\n{reason}")).unwrap_or_default();
    format!("{}{reason}", parts.join(", "))
}

fn parameters(parts: &[(String, usize)]) -> String {
    let total: u64 = parts.iter().map(|(_, size)| *size as u64).sum();
    let all = if parts.len() > 1 { format!("  ({} in all)", count(total)) } else { String::new() };
    format!("{}{all}", networks(parts))
}

/// When, by which version and on which machine.
fn made(info: &RunInfo) -> String {
    let machine = &info.machine;
    let mut on = vec![format!("{}, changed {}", utc(info.created), utc(info.updated))];
    let named = [format!("version {}", info.version), machine.cpu.clone(), machine.system.clone()];
    let mut by: Vec<String> = named.into_iter().filter(|part| !part.is_empty()).collect();
    if machine.threads > 0 {
        by.push(number_of(machine.threads, "thread"));
    }
    if !info.device.is_empty() {
        by.push(format!("device {}", info.device));
    }
    on.push(by.join(", "));
    on.join("\n")
}

/// `1 file`, `12 files`.
pub(super) fn number_of(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number as u64))
}

fn settings(page: &Page, all: bool) -> String {
    let settings = page.settings.iter().filter(|setting| setting.key != "model");
    let (usual, own): (Vec<_>, Vec<_>) = settings.partition(|setting| setting.is_default() && !all);
    let row = |setting: &&Setting| {
        let default = setting.default.as_ref().filter(|default| **default != setting.value);
        vec![setting.key.clone(), setting.value.clone(), default.cloned().unwrap_or_default()]
    };
    let rows: Vec<Vec<String>> = own.iter().map(row).collect();
    let mut text = if rows.is_empty() {
        "every setting has its default\n".to_owned()
    } else {
        table(&["SETTING", "VALUE", "DEFAULT"], &rows)
    };
    if !usual.is_empty() {
        let are = if usual.len() == 1 { "setting has its default" } else { "settings have their defaults" };
        text.push_str(&format!("{} more {are}; --all lists them\n", count(usual.len() as u64)));
    }
    text
}

fn metrics(page: &Page, all: bool) -> String {
    let (held_out, others): (Vec<_>, Vec<_>) = page.curves.iter().partition(|curve| curve.is_held_out());
    let shown = if all { others.len() } else { METRICS.min(others.len()) };
    let more = others.len() - shown;
    let curves: Vec<_> = held_out.into_iter().chain(others.into_iter().take(shown)).collect();
    if curves.is_empty() {
        return String::new();
    }
    let name = curves.iter().map(|curve| curve.name.chars().count()).max().unwrap_or(0).max(6);
    let width = curves::width(name + BESIDE);
    let rows: Vec<Vec<String>> = curves
        .iter()
        .map(|curve| {
            let (_, last) = curve.last().unwrap_or_default();
            let best = best(curve).map(|(step, value)| (number(value), count(step)));
            let (value, step) = best.unwrap_or_default();
            vec![curve.name.clone(), curves::line(curve, width), number(last), value, step]
        })
        .collect();
    let mut text = table(&["METRIC", "OVER THE STEPS", ">LAST", ">BEST", ">AT STEP"], &rows);
    if more > 0 {
        text.push_str(&format!("{} more metrics; --all shows them\n", count(more as u64)));
    }
    text
}

/// The values of the latest evaluation, and the files of the others.
fn evaluations(page: &Page) -> String {
    let Some(((file, latest), earlier)) = page.evaluations.split_last() else { return String::new() };
    let on = match latest.split {
        Some(split) => format!("the {split} split of {}", latest.data),
        None => latest.data.clone(),
    };
    let mut text = format!(
        "evaluated at step {} on {on}, {} weights, seed {} ({file})\n",
        count(latest.step),
        latest.weights.name(),
        latest.seed
    );
    let values: Vec<(String, String)> = latest
        .values()
        .into_iter()
        .map(|found| (format!("  {}", found.name), value(found.value, found.unit)))
        .collect();
    text.push_str(&facts(
        &values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect::<Vec<_>>(),
    ));
    if !earlier.is_empty() {
        let files: Vec<&str> = earlier.iter().map(|(file, _)| file.as_str()).collect();
        text.push_str(&format!("earlier evaluations: {}\n", files.join(", ")));
    }
    text
}

fn checkpoints(page: &Page) -> String {
    let measured = |step: u64| {
        let best = page.run.info().best.as_ref().filter(|best| best.step == step);
        best.map(|best| format!(" ({} {})", best.metric, number(best.value))).unwrap_or_default()
    };
    let rows: Vec<Vec<String>> = page
        .checkpoints
        .iter()
        .map(|saved| {
            let newest = saved.newest.then(|| "newest".to_owned());
            let best = saved.best.then(|| format!("best{}", measured(saved.step)));
            let marks: Vec<String> = newest.into_iter().chain(best).collect();
            vec![count(saved.step), in_bytes(saved.bytes), marks.join(", ")]
        })
        .collect();
    let mut text = match rows.is_empty() {
        true => "no checkpoint yet\n".to_owned(),
        false => table(&[">CHECKPOINT AT STEP", ">SIZE", ""], &rows),
    };
    page.findings.iter().for_each(|finding| text.push_str(&format!("note: {finding}\n")));
    text
}

fn files(page: &Page) -> String {
    let about = |part: Part| match part {
        Part::Samples => page.newest_samples.as_ref().map(|newest| format!("newest: samples/{newest}")),
        Part::Metrics => Some("metrics.jsonl, TensorBoard".to_owned()),
        Part::Description => Some("run.json, config.toml, lock".to_owned()),
        Part::Temporary => Some("left by processes that were killed".to_owned()),
        Part::Other => Some(format!("not of the run: {}", named(page))),
        Part::Checkpoints | Part::Evaluations => None,
    };
    let rows: Vec<Vec<String>> = PARTS
        .iter()
        .map(|(name, part)| (name, part, page.contents.of_part(*part)))
        .filter(|(_, _, (files, _))| *files > 0)
        .map(|(name, part, (files, bytes))| {
            let about = about(*part).unwrap_or_default();
            vec![(*name).to_owned(), count(files as u64), in_bytes(bytes), about]
        })
        .collect();
    table(&["PART", ">FILES", ">SIZE", ""], &rows)
}

/// The first files that no run has.
fn named(page: &Page) -> String {
    paths(&page.contents.others())
}

/// The first of some paths, and how many more there are.
pub(super) fn paths(paths: &[PathBuf]) -> String {
    let mut names: Vec<String> = paths.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    if paths.len() > NAMED {
        names.push(format!("and {} more", count((paths.len() - NAMED) as u64)));
    }
    names.join(", ")
}

fn next(page: &Page) -> String {
    if page.next.is_empty() {
        return String::new();
    }
    let program = program();
    let lines: String = page.next.iter().map(|command| format!("  {program} {command}\n")).collect();
    format!("what to try next\n{lines}")
}
