//! The trait that every model implements, and what is written once for all models.

mod entry;
mod learner;
mod metrics;
mod step;

use std::ops::Deref;

use burn::module::Module;

pub use entry::{Entry, Of, Start, TrainedModel};
pub use learner::{Learner, Session};
pub use metrics::{MetricValues, Metrics};
pub use step::{Draw, Step, draws};

use crate::abilities::{Abilities, Ability};
use crate::config::{Choice, Settings, TrainConfig};
use crate::data::{Content, DataFacts, DataSpec, MediaKind, Source};
use crate::error::Result;
use crate::nn::Init;
use crate::optim::{Optimizer, OptimizerConfig};

/// A model: its networks as one Burn module, and how they are made, trained and used.
///
/// Weights are saved under the names of the struct's fields, so these are part of the checkpoint format. Everything that is not
/// written here is written once for all models: averages, checkpoints, schedules, resuming, loading, counting, listing.
pub trait Model: Module + Sync + 'static {
    /// What lists and help show.
    const ABOUT: About;

    /// Its section of the configuration.
    type Config: Settings;

    /// Where its training examples come from.
    type Data: Source;

    /// What it needs from its data, such as the encoding of pixels or the length of windows.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidValue`] when the data cannot give it.
    fn needs(config: &Self::Config, spec: &DataSpec) -> Result<<Self::Data as Source>::Needs>;

    /// Makes the model for data of `spec`, its parameters drawn or left blank by `init`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidValue`] when the configuration does not fit the data.
    fn new(config: &Self::Config, spec: &DataSpec, init: &mut Init) -> Result<Self>;

    /// At least so many values are held for each example while a step computes its gradients, such as the features of each layer. A
    /// batch that fits into no memory is refused by this number before anything is made; by default it is the values of the example.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Model::new).
    fn held_values(config: &Self::Config, spec: &DataSpec) -> Result<f64> {
        let _ = config;
        Ok(match &spec.content {
            Content::Images(shape) => shape.dims() as f64,
            Content::Points(shape) => shape.dims as f64,
            Content::Text(_) | Content::Sound(_) => 1.0,
            Content::Experience(task) => (task.observation + task.actions.inputs()) as f64,
        })
    }

    /// Settings that suit the data better than the defaults, which are those of its paper: what someone gets who gives data and nothing
    /// else. They are for training of some minutes on a few cores, whose length is chosen elsewhere.
    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        let _ = facts;
        Vec::new()
    }

    /// Checks what is known of the data before a new run begins. A run that exists is resumed without it.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidValue`] when the model cannot learn such data.
    fn expect_learnable(facts: &DataFacts) -> Result<()> {
        let _ = facts;
        Ok(())
    }

    /// Its optimizers by name, made from the `[optimizer]` section: one called `optimizer`, unless it says otherwise. The names are part
    /// of the checkpoint format.
    fn optimizers(_config: &Self::Config, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        vec![("optimizer", Optimizer::new(shared))]
    }

    /// Initialises parameters that depend on data, before the first step of a new run.
    fn initialize(&mut self, data: &mut Self::Data) {
        let _ = data;
    }

    /// Checks that the restored state of its data fits the model.
    ///
    /// # Errors
    ///
    /// A sentence naming what does not fit.
    fn expect_data(&self, data: &Self::Data) -> Result<(), String> {
        let _ = data;
        Ok(())
    }

    /// Does one training step. All its random numbers depend only on the run's seed and the number of the step.
    fn train_step(&mut self, data: &mut Self::Data, step: &mut Step<'_>) -> Metrics;

    /// Signs in its metrics that training goes wrong.
    fn warnings(config: &Self::Config) -> Vec<WarningRule> {
        let _ = config;
        Vec::new()
    }

    /// What a trained model can do.
    fn abilities(&self) -> Abilities<'_>;
}

/// What lists and help show about a model.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name, the word after `train`.
    pub name: &'static str,
    /// What it is, in half a line.
    pub summary: &'static str,
    /// Where it was published.
    pub paper: Paper,
    /// The kinds of data it learns.
    pub media: &'static [MediaKind],
    /// What a trained model can do.
    pub abilities: &'static [Ability],
    /// Its recipes; the first is used when none is named.
    pub recipes: &'static [Recipe],
    /// Defaults of the `[train]` section.
    pub train: fn() -> TrainConfig,
    /// Defaults of the `[optimizer]` section.
    pub optimizer: fn() -> OptimizerConfig,
    /// Keys of earlier versions in its section, each with the keys that replaced it.
    pub old_keys: &'static [(&'static str, &'static [&'static str])],
}

impl About {
    /// What a model leaves out of its own: it learns images, with the defaults of `[train]` and `[optimizer]`. It must say the rest.
    pub const BASE: About = About {
        name: "",
        summary: "",
        paper: Paper { title: "", authors: "", year: 0, arxiv: "" },
        media: &[MediaKind::Images],
        abilities: &[],
        recipes: &[],
        train: TrainConfig::default,
        optimizer: OptimizerConfig::default,
        old_keys: &[],
    };
}

/// A publication.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// Its title.
    pub title: &'static str,
    /// Family names of its authors.
    pub authors: &'static str,
    /// Year of its first version.
    pub year: u16,
    /// Its arXiv identifier; empty for a paper that is not there.
    pub arxiv: &'static str,
}

impl Paper {
    /// Who published it where: authors, year and arXiv identifier.
    pub fn published(&self) -> String {
        let Paper { authors, year, arxiv, .. } = self;
        if arxiv.is_empty() {
            format!("{authors} {year}")
        } else {
            format!("{authors} {year}, arXiv:{arxiv}")
        }
    }
}

/// A configuration known to reach a result.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Its name, such as `emoji64`, unique among the model's recipes.
    pub name: &'static str,
    /// TOML with comments.
    pub toml: &'static str,
}

impl Recipe {
    /// The first line of its comment, which says what it does and how long it takes.
    pub fn summary(&self) -> &'static str {
        self.toml.lines().next().unwrap_or_default().trim_start_matches('#').trim()
    }
}

/// Embeds the recipes of a model, TOML files in the folder `recipes` beside the file that names them: `recipes!("shapes", "mnist")`.
macro_rules! recipes {
    ($($name:literal),+) => {
        &[$($crate::model::Recipe { name: $name, toml: include_str!(concat!("recipes/", $name, ".toml")) }),+]
    };
}
pub(crate) use recipes;

/// How many consecutive reports must look wrong before a warning is given.
const REPORTS: usize = 20;

/// A sign in the metrics of a model that training goes wrong.
pub struct WarningRule {
    /// The warning to give.
    pub warning: Warning,
    /// Whether the metrics of one report look wrong.
    pub when: Box<dyn Fn(&MetricValues) -> bool + Send>,
}

impl WarningRule {
    /// Gives a warning of this name, and says what was seen and what to try, when the metrics of a report look wrong.
    pub fn new(
        name: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
        when: impl Fn(&MetricValues) -> bool + Send + 'static,
    ) -> WarningRule {
        let warning = Warning { name, what: what.into(), remedy: remedy.into() };
        WarningRule { warning, when: Box::new(when) }
    }

    /// The warning, if the last twenty reports all look wrong; `recent` has the oldest first.
    pub fn apply(&self, recent: &[MetricValues]) -> Option<Warning> {
        let last = recent.get(recent.len().checked_sub(REPORTS)?..)?;
        last.iter().all(self.when.deref()).then(|| self.warning.clone())
    }
}

/// Something that looks wrong in training, and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// A name to look it up by, such as `discriminator-saturated`.
    pub name: &'static str,
    /// What was seen.
    pub what: String,
    /// What to try.
    pub remedy: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_needs_twenty_reports_in_a_row() {
        let rule = WarningRule::new("high", "x is high", "lower it", |values| values["x"] > 1.0);
        let warning = rule.warning.clone();
        let report = |x: f64| MetricValues::from([("x", x)]);
        let mut recent: Vec<_> = (0..19).map(|_| report(2.0)).collect();
        assert_eq!(rule.apply(&recent), None);
        recent.insert(0, report(0.0));
        assert_eq!(rule.apply(&recent), None);
        recent.push(report(2.0));
        assert_eq!(rule.apply(&recent), Some(warning));
    }
}
