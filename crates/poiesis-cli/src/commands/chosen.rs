//! The settings that `train` chooses where someone gives data and nothing else: how they come about, and how they are shown.

use std::path::Path;

use anyhow::Result;
use poiesis::config::{Choice, Layer, RunConfig, is_open, resolve};
use poiesis::data::{DataFacts, choose_preparation, open};
use poiesis::run::Run;
use poiesis::train::{Existing, MINUTES, Rehearsal, Trial, choose};
use poiesis_collect::Progress;
use serde_json::{Value, json};

use super::settings::Settings;
use super::train::{How, Job, request};
use crate::data::Opened;
use crate::render::{Meter, count, duration, note, result};

/// A run that takes so many times as long as wanted is worth a note.
const LONG: f64 = 1.5;

/// What was chosen.
#[derive(Debug, Default)]
pub(super) struct Choices {
    pub(super) all: Vec<Choice>,
    /// What the run will take, where that was found out.
    pub(super) rehearsal: Option<Rehearsal>,
}

impl Settings {
    /// Chooses how images are prepared, before they are. A run that exists keeps what was chosen for it.
    pub(super) fn choose_preparation(&mut self, existing: Existing, how: &How) -> Result<()> {
        if !self.choosing {
            return Ok(());
        }
        if existing == Existing::Resume && Run::exists(&self.out) {
            let run = Run::open(&self.out)?;
            // That of another model is refused later.
            if run.info().model == self.entry.name() {
                self.chosen.all = run.info().chosen.clone();
                self.layers.insert(0, length_of(&run)?);
            }
        } else if self.initial.is_none() {
            // With initial weights, examples are prepared as for that run.
            let mut config = self.resolved.config.data.clone();
            let places = how.data_dir.places()?;
            // What is looked at is what the model will learn.
            open::choose_kind(&mut config, self.entry.about().media, &places)?;
            let source = open::locate(&config.source, &places.data_dir)?;
            let options = open::options(&config)?;
            let meter = Meter::new(
                &format!("looking at {}", open::short_name(&config.source)),
                "images",
                None,
                how.hidden(),
            );
            let progress = |progress: Progress| meter.at(progress.done, progress.total);
            let is_given = |key: &str| !self.resolved.origin(key).is_some_and(is_open);
            let (path, cache) = (Path::new(&source), Some(places.cache.as_path()));
            let chosen = choose_preparation(&config.source, path, &options, &is_given, cache, &progress);
            meter.end();
            let mut chosen = chosen?;
            chosen.retain(|choice| !is_given(&choice.key));
            self.chosen.all = chosen;
        }
        self.apply_choices()
    }

    /// Chooses the rest, with the data at hand. `config` has the place at which they were found.
    pub(super) fn choose(
        &mut self,
        config: &mut RunConfig,
        opened: &Opened,
        existing: Existing,
        how: &How,
    ) -> Result<()> {
        if !self.choosing || (existing == Existing::Resume && Run::exists(&self.out)) {
            return Ok(());
        }
        let job = Job {
            out: self.out.clone(),
            config: config.clone(),
            initial: self.initial.clone(),
            epochs: None,
            chosen: Vec::new(),
            existing,
        };
        let hidden = how.hidden();
        let mut tried = |tried| {
            if !hidden {
                note(&in_words(tried));
            }
        };
        let (request, defaults) = (request(job, opened, how)?, self.entry.defaults()?);
        let too_little = DataFacts::of(&request.data.spec, &request.data.train).too_little();
        if !hidden {
            too_little.iter().for_each(|said| note(&format!("note: {said}")));
            note("taking a few steps to see how long they are on this machine");
        }
        let layers = self.layers_with_choices();
        let chosen = choose(&request, &defaults, &layers, self.epochs, &mut tried)?;
        if !hidden && let Some(said) = too_long(&chosen.rehearsal) {
            note(&format!("note: {said}"));
        }
        self.chosen.all.extend(chosen.choices);
        self.chosen.rehearsal = Some(chosen.rehearsal);
        let data = config.data.clone();
        self.apply_choices()?;
        *config = self.resolved.config.clone();
        config.data = data;
        Ok(())
    }

    /// The choices, and what is given over them.
    fn layers_with_choices(&self) -> Vec<Layer> {
        self.chosen.all.iter().map(Choice::layer).chain(self.layers.iter().cloned()).collect()
    }

    fn apply_choices(&mut self) -> Result<()> {
        self.resolved = resolve(&self.entry.defaults()?, &self.layers_with_choices())?;
        Ok(())
    }
}

/// The `[train]` section of a run, so that its length stays where none is given.
fn length_of(run: &Run) -> Result<Layer> {
    let mut layer = Layer::parse("the run", &run.config()?)?;
    layer.values.retain(|section, _| section == "train");
    Ok(layer)
}

impl Choices {
    /// Says what was chosen: as an event where a program reads.
    pub(super) fn tell(&self, how: &How) -> Result<()> {
        if self.all.is_empty() {
            return Ok(());
        }
        if how.json {
            return result(&format!("{}\n", self.event()));
        }
        if !how.hidden() {
            note(self.text().trim_end());
        }
        Ok(())
    }

    fn event(&self) -> Value {
        let settings = self
            .all
            .iter()
            .map(|Choice { key, value, reason }| json!({ "key": key, "value": value, "reason": reason }));
        let seconds = self.rehearsal.as_ref().map(|rehearsal| rehearsal.estimate.total());
        json!({ "event": "chosen", "settings": settings.collect::<Vec<_>>(), "seconds": seconds })
    }

    /// What was chosen and why, a setting on each line; empty where nothing was.
    pub(super) fn text(&self) -> String {
        if self.all.is_empty() {
            return String::new();
        }
        let values: Vec<String> = self.all.iter().map(|choice| choice.value.to_string()).collect();
        let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
        let key = width(&mut self.all.iter().map(|choice| choice.key.len()));
        let value = width(&mut values.iter().map(String::len));
        let lines = self
            .all
            .iter()
            .zip(&values)
            .map(|(choice, text)| format!("  {:key$}  {text:value$}  {}\n", choice.key, choice.reason));
        let seconds = self.rehearsal.as_ref().map(|rehearsal| rehearsal.estimate.total());
        let time = seconds.map(|seconds| format!(", {}", about(seconds))).unwrap_or_default();
        format!(
            "chosen for these data and this machine{time}; --set KEY=VALUE changes a setting\n{}",
            lines.collect::<String>()
        )
    }
}

/// What was found out about a size of batch.
fn in_words(trial: Trial) -> String {
    match trial {
        Trial::TooLarge { batch_size, seconds: Some(seconds), next } => {
            format!("a step of {batch_size} takes {}; trying batches of {next}", duration(seconds))
        }
        Trial::TooLarge { batch_size, seconds: None, next } => {
            format!("batches of {batch_size} do not fit into memory; trying batches of {next}")
        }
        Trial::HelpsLittle { batch_size, seconds, kept } => {
            format!("a step of {batch_size} takes {}; keeping batches of {kept}", duration(seconds))
        }
    }
}

/// What is said of a run that cannot be as short as it should be.
fn too_long(rehearsal: &Rehearsal) -> Option<String> {
    let (seconds, steps) = (rehearsal.estimate.total(), rehearsal.left.steps);
    (seconds > LONG * 60.0 * MINUTES).then(|| {
        let (time, steps) = (about(seconds), count(steps));
        format!("{steps} steps take {time} here; smaller examples, fewer --steps or another model take less")
    })
}

/// A time that was estimated: `about 8 minutes`.
fn about(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("about {}", duration(seconds.ceil())),
        seconds => format!("about {:.0} minutes", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use poiesis::train::{Remaining, Spent};

    use super::*;

    #[test]
    fn choices_are_shown_with_their_reasons_and_the_time() {
        let all = vec![
            Choice::new("vae.width", 16, "images of 64×64"),
            Choice::new("vae.likelihood", "bernoulli", "nearly all pixels are black or white"),
        ];
        let estimate = Spent { steps: 400.0, sampling: 60.0, evaluating: 40.0, saving: 0.0 };
        let rehearsal = Rehearsal {
            parameters: Vec::new(),
            notes: Vec::new(),
            done: 0,
            left: Remaining { steps: 4000, samplings: 11, saves: 10 },
            timed: 10,
            seconds: 1.0,
            step: 0.1,
            estimate,
        };
        let choices = Choices { all, rehearsal: Some(rehearsal) };
        let event = choices.event();
        assert_eq!((&event["event"], &event["seconds"]), (&json!("chosen"), &json!(500.0)));
        let width = json!({ "key": "vae.width", "value": 16, "reason": "images of 64×64" });
        assert_eq!(event["settings"][0], width);
        let text = choices.text();
        assert_eq!(
            text,
            "chosen for these data and this machine, about 8 minutes; --set KEY=VALUE changes a setting\n\
             \x20 vae.width       16           images of 64×64\n\
             \x20 vae.likelihood  \"bernoulli\"  nearly all pixels are black or white\n"
        );
        assert_eq!(Choices::default().text(), "");
        assert_eq!(about(40.2), "about 41 s");
        let mut rehearsal = choices.rehearsal.unwrap();
        assert_eq!(too_long(&rehearsal), None);
        rehearsal.estimate.steps = 3600.0;
        assert!(too_long(&rehearsal).unwrap().starts_with("4,000 steps take about 62 minutes here"));
    }
}
