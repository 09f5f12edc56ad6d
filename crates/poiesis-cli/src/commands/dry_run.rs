//! `poiesis train --dry-run`: what would be done, what is wrong, and how long it would take.

use std::path::Path;

use anyhow::Result;
use poiesis::catalogue;
use poiesis::config::{Resolved, RunConfig};
use poiesis::data::{Content, DataSpec, ImageShape, open};
use poiesis::model::Entry;
use poiesis::run::Run;
use poiesis::train::{Epochs, Existing, InitialWeights, Rehearsal, rehearse, sample_steps};
use serde_json::{Value, json};

use super::settings::{Ready, Settings};
use super::train::{How, Job, all_of, epochs_line, parent_line, request};
use crate::data::is_agent;
use crate::render::{count, duration, error_with_hint, facts, in_json, json, result, shape, table};
use crate::watch::networks;

/// Prints what would be done; returns what is wrong as an error.
pub(super) fn dry_run(settings: &mut Settings, existing: Existing, how: &How) -> Result<()> {
    let mut faults = std::mem::take(&mut settings.faults);
    let mut epochs = None;
    let mut rehearsal = None;
    if faults.is_empty() {
        match rehearsed(settings, existing, how, &mut epochs) {
            Ok(done) => rehearsal = Some(done),
            Err(error) => faults.push(error),
        }
    }
    let Settings { entry, resolved, initial, out, .. } = &*settings;
    let parameters = match &rehearsal {
        Some(rehearsal) => Some(rehearsal.parameters.clone()),
        None => parameters(*entry, resolved, how),
    };
    let known = open::expected_shape(&resolved.config.data, &how.data_dir.data_dir);
    let initial = initial.as_ref();
    let shown =
        Shown { entry: *entry, resolved, initial, epochs, out, existing, known, parameters, rehearsal };
    if how.json {
        json(&shown.to_json(&faults))?;
    } else {
        result(&shown.to_text())?;
    }
    all_of(faults)
}

/// Opens the data, which say how many steps `epochs` are, and takes a few steps.
fn rehearsed(
    settings: &mut Settings,
    existing: Existing,
    how: &How,
    epochs: &mut Option<Epochs>,
) -> Result<Rehearsal> {
    let ready = settings.open(existing, how)?;
    *epochs = ready.epochs;
    // Where settings were chosen, steps were taken already.
    if let Some(rehearsal) = settings.chosen.rehearsal.take() {
        return Ok(rehearsal);
    }
    let Ready { config, opened, epochs } = ready;
    let (out, initial) = (settings.out.clone(), settings.initial.clone());
    let chosen = settings.chosen.all.clone();
    Ok(rehearse(&request(Job { out, config, initial, epochs, chosen, existing }, &opened, how)?)?)
}

/// What is learned from, in a line.
fn source_of(entry: &dyn Entry, config: &RunConfig, known: Option<[usize; 3]>) -> String {
    let data = &config.data;
    match known {
        _ if is_agent(entry) => {
            let demonstrations = match data.demonstrations.as_str() {
                "" => String::new(),
                demonstrations => format!(", demonstrations {demonstrations}"),
            };
            let environment = match data.source.as_str() {
                "" => "that of the demonstrations",
                source => source,
            };
            format!("{environment}, {} at a time{demonstrations}", count(data.environments as u64))
        }
        Some(known) => format!("{}, {}", data.source, shape(&known)),
        None => data.source.clone(),
    }
}

/// The number of parameters where it is known without the data.
fn parameters(entry: &dyn Entry, resolved: &Resolved, how: &How) -> Option<Vec<(String, usize)>> {
    let shape = open::expected_shape(&resolved.config.data, &how.data_dir.data_dir)?;
    let content = Content::Images(ImageShape::from_slice(&shape).ok()?);
    let spec = DataSpec { content, classes: 0, unlabelled: false };
    catalogue::expect_media(entry, &spec).ok()?;
    entry.parameters(&resolved.config, &spec).ok()
}

struct Shown<'a> {
    entry: &'a dyn Entry,
    resolved: &'a Resolved,
    initial: Option<&'a InitialWeights>,
    epochs: Option<Epochs>,
    out: &'a Path,
    existing: Existing,
    known: Option<[usize; 3]>,
    parameters: Option<Vec<(String, usize)>>,
    rehearsal: Option<Rehearsal>,
}

impl Shown<'_> {
    fn to_json(&self, faults: &[anyhow::Error]) -> Value {
        let settings =
            self.resolved.origins.iter().map(
                |(key, value, origin)| json!({ "key": key, "value": from_toml(value), "origin": origin }),
            );
        let parameters = self
            .parameters
            .as_ref()
            .map(|parts| parts.iter().map(|(name, size)| (name.clone(), json!(size))).collect::<Value>());
        let time = self.rehearsal.as_ref().map(|rehearsal| {
            json!({
                "timed_steps": rehearsal.timed, "timed_seconds": rehearsal.seconds,
                "seconds_per_step": rehearsal.step,
                "steps_done": rehearsal.done, "left": rehearsal.left, "seconds": rehearsal.estimate,
                "total_seconds": rehearsal.estimate.total(),
            })
        });
        let epochs = self.epochs.map(|epochs| {
            json!({
                "epochs": epochs.epochs, "examples": epochs.examples.count, "unit": epochs.examples.unit,
                "each_step": epochs.step.count, "steps": epochs.steps(),
            })
        });
        let faults: Vec<Value> = faults
            .iter()
            .map(error_with_hint)
            .map(|(error, hint)| json!({ "error": error, "hint": hint }))
            .collect();
        json!({
            "model": self.entry.name(), "run": in_json(self.out), "shape": self.known, "parameters": parameters,
            "starts_from": self.initial.map(InitialWeights::parent), "epochs": epochs,
            "notes": self.rehearsal.as_ref().map(|rehearsal| &rehearsal.notes),
            "sample_steps": sample_steps(&self.resolved.config.train), "estimate": time, "faults": faults,
            "settings": settings.collect::<Vec<_>>(),
        })
    }

    fn to_text(&self) -> String {
        let (config, about) = (&self.resolved.config, self.entry.about());
        let paper = about.paper;
        let unknown = || match is_agent(self.entry) {
            true => "unknown until the environment can be used".to_owned(),
            false => "unknown until the data are packed; give --size and --channels".to_owned(),
        };
        let agent = is_agent(self.entry);
        let parameters = self.parameters.as_ref().map_or_else(unknown, |parts| networks(parts));
        let samples = sample_steps(&config.train);
        let run = match Run::exists(self.out) && self.existing == Existing::Resume {
            true => format!("{} exists: it would be continued", self.out.display()),
            false => self.out.display().to_string(),
        };
        let mut head = vec![
            ("model", format!("{}  {}", about.name, about.summary)),
            ("paper", format!("{} ({})", paper.title, paper.published())),
            (if agent { "environment" } else { "data" }, source_of(self.entry, config, self.known)),
            ("parameters", parameters),
        ];
        if let Some(initial) = self.initial {
            let notes = self.rehearsal.iter().flat_map(|rehearsal| &rehearsal.notes);
            let notes: String = notes.map(|said| format!("\n{said}")).collect();
            head.push(("starts from", format!("{}{notes}", parent_line(initial.parent()))));
        }
        head.extend(self.epochs.as_ref().map(|epochs| ("steps", epochs_line(epochs))));
        if !agent {
            let samples = format!("{} at steps {}", config.train.sample_count, first_and_last(&samples));
            head.push(("samples", samples));
        }
        head.push(("run", run));
        let patience = config.train.patience;
        head.extend(self.rehearsal.as_ref().map(|rehearsal| ("time", time(rehearsal, patience))));
        let rows: Vec<Vec<String>> = self
            .resolved
            .origins
            .iter()
            .map(|(key, value, origin)| vec![key.clone(), value.clone(), origin.clone()])
            .collect();
        format!("{}\n{}", facts(&head), table(&["SETTING", "VALUE", "FROM"], &rows))
    }
}

/// The estimate in words: `about 12 min 0 s for 3,000 steps of 220 ms (4 timed), of which sampling 40 s`.
fn time(rehearsal: &Rehearsal, patience: u64) -> String {
    let Rehearsal { left, timed, step, estimate, .. } = rehearsal;
    let parts = [("sampling", estimate.sampling), ("evaluating", estimate.evaluating)].into_iter();
    let saving = Some(("saving", estimate.saving)).filter(|(_, seconds)| *seconds >= 1.0);
    let parts: Vec<String> = parts
        .filter(|(_, seconds)| *seconds > 0.0)
        .chain(saving)
        .map(|(name, seconds)| format!("{name} {}", duration(seconds)))
        .collect();
    let of_which = if parts.is_empty() { String::new() } else { format!(", of which {}", parts.join(", ")) };
    let early = match patience {
        0 => "",
        1 => "; less if one evaluation is no better",
        _ => "; less if evaluations become no better",
    };
    let (total, each) = (duration(estimate.total()), short(*step));
    let steps = if left.steps == 1 { "1 step".to_owned() } else { format!("{} steps", count(left.steps)) };
    format!("about {total} for {steps} of {each} ({} timed){of_which}{early}", count(*timed))
}

/// Seconds, or milliseconds of less than one.
fn short(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.1 => format!("{:.1} ms", 1000.0 * seconds),
        seconds if seconds < 1.0 => format!("{:.0} ms", 1000.0 * seconds),
        seconds => duration(seconds),
    }
}

/// A value written as TOML, for JSON.
fn from_toml(value: &str) -> Value {
    let table: Option<toml::Table> = format!("value = {value}").parse().ok();
    json!(table.and_then(|mut table| table.remove("value")))
}

/// The first numbers of a schedule, and the last.
fn first_and_last(steps: &[u64]) -> String {
    let text = |steps: &[u64]| steps.iter().map(|&step| count(step)).collect::<Vec<_>>().join(", ");
    match steps {
        [first @ .., last] if first.len() > 5 => format!("{}, …, {}", text(&first[..4]), count(*last)),
        all => text(all),
    }
}

#[cfg(test)]
mod tests {
    use poiesis::train::{Remaining, Spent};

    use super::*;

    #[test]
    fn settings_are_values_in_json() {
        assert_eq!(from_toml("\"cpu\""), json!("cpu"));
        assert_eq!([from_toml("3"), from_toml("0.5")], [json!(3), json!(0.5)]);
    }

    #[test]
    fn an_estimate_is_said_in_one_line() {
        let estimate = Spent { steps: 660.0, sampling: 40.0, evaluating: 20.0, saving: 0.0 };
        let rehearsal = Rehearsal {
            parameters: Vec::new(),
            notes: Vec::new(),
            done: 0,
            left: Remaining { steps: 3000, samplings: 41, saves: 6 },
            timed: 4,
            seconds: 0.88,
            step: 0.22,
            estimate,
        };
        assert_eq!(
            time(&rehearsal, 0),
            "about 12 min 0 s for 3,000 steps of 220 ms (4 timed), of which sampling 40 s, evaluating 20 s"
        );
        assert!(time(&rehearsal, 5).ends_with("evaluating 20 s; less if evaluations become no better"));
        let one = Rehearsal { left: Remaining { steps: 1, samplings: 1, saves: 1 }, ..rehearsal };
        assert!(time(&one, 0).contains(" for 1 step of 220 ms"), "{}", time(&one, 0));
    }

    #[test]
    fn long_schedules_are_shortened() {
        assert_eq!(first_and_last(&[0, 10, 20]), "0, 10, 20");
        assert_eq!(first_and_last(&[0, 1, 2, 3, 4, 5, 1000]), "0, 1, 2, 3, …, 1,000");
    }
}
