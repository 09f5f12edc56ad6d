//! The settings that `train` chooses where someone gives data and nothing else: how they come about, and how they are shown.

use std::path::Path;

use anyhow::Result;
use poiesis::config::{Choice, Layer, RunConfig, is_open, resolve};
use poiesis::data::{image_settings, open};
use poiesis::run::Run;
use poiesis::train::{Existing, choose};
use poiesis_collect::FirstImages;

use super::settings::Settings;
use super::train::{How, Job, request};
use crate::data::Opened;
use crate::render::{duration, note};

/// What was chosen.
#[derive(Debug, Default)]
pub(super) struct Choices {
    pub(super) all: Vec<Choice>,
    /// Seconds that the run will take, where that was measured.
    seconds: Option<f64>,
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
        } else {
            let config = &self.resolved.config.data;
            let source = open::locate(&config.source, &how.data_dir.data_dir)?;
            let first = match open::is_named(&config.source) {
                true => None,
                false => FirstImages::of(Path::new(&source), &open::options(config)?)?,
            };
            let given = |choice: &Choice| !self.resolved.origin(&choice.key).is_some_and(is_open);
            let mut chosen = first.map(|first| image_settings(&first)).unwrap_or_default();
            chosen.retain(|choice| !given(choice));
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
        if !how.hidden() {
            note("taking a few steps to see how long they are on this machine");
        }
        let job = Job {
            out: self.out.clone(),
            config: config.clone(),
            initial: None,
            epochs: None,
            chosen: Vec::new(),
            existing,
        };
        let layers = self.layers_with_choices();
        let chosen = choose(&request(job, opened, how)?, &self.entry.defaults()?, &layers, self.epochs)?;
        self.chosen.all.extend(chosen.choices);
        self.chosen.seconds = Some(chosen.seconds);
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
        let time = self.seconds.map(|seconds| format!(", {}", about(seconds))).unwrap_or_default();
        format!(
            "chosen for these data and this machine{time}; --set KEY=VALUE changes a setting\n{}",
            lines.collect::<String>()
        )
    }
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
    use super::*;

    #[test]
    fn choices_are_shown_with_their_reasons_and_the_time() {
        let all = vec![
            Choice::new("vae.width", 16, "images of 64×64"),
            Choice::new("vae.likelihood", "bernoulli", "nearly all pixels are black or white"),
        ];
        let text = Choices { all, seconds: Some(500.0) }.text();
        assert_eq!(
            text,
            "chosen for these data and this machine, about 8 minutes; --set KEY=VALUE changes a setting\n\
             \x20 vae.width       16           images of 64×64\n\
             \x20 vae.likelihood  \"bernoulli\"  nearly all pixels are black or white\n"
        );
        assert_eq!(Choices::default().text(), "");
        assert_eq!(about(40.2), "about 41 s");
    }
}
