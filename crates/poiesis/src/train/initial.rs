//! Fine-tuning: a new run that starts from the weights of another one.

mod columns;

use std::path::Path;

use burn::tensor::Device;

use super::TrainingData;
use crate::catalogue;
use crate::config::{Layer, RunConfig};
use crate::data::{Content, DataSpec, open};
use crate::error::{Error, Result};
use crate::model::Session;
use crate::nn::{Arrays, StateDict};
use crate::run::{DataInfo, Parent, differences};
use crate::trained::Trained;

/// How many of the arrays that do not fit are named.
const NAMED: usize = 8;

/// The weights that a new run starts from: those of a checkpoint of another run of the same model.
///
/// Only weights are taken over. The optimizers start anew, and so do the number of steps and the learning rate schedule.
#[derive(Clone)]
pub struct InitialWeights {
    parent: Parent,
    /// The name of that run.
    name: String,
    config: RunConfig,
    spec: DataSpec,
    data: DataInfo,
    arrays: Arrays,
}

impl InitialWeights {
    /// The weights of a model as it was opened: averaged ones by default.
    pub fn of(trained: &Trained) -> InitialWeights {
        InitialWeights {
            parent: Parent {
                run: open::lasting(&trained.path().to_string_lossy()),
                step: trained.step,
                weights: trained.weights().name().to_owned(),
                fingerprint: trained.fingerprint(),
            },
            name: trained.info.id.clone(),
            config: trained.config.clone(),
            spec: trained.spec.clone(),
            data: trained.info.data.clone(),
            arrays: trained.arrays(),
        }
    }

    /// Where they are from, as `run.json` of the new run says it.
    pub fn parent(&self) -> &Parent {
        &self.parent
    }

    /// The name of the run that they are from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the new run takes over of the settings of that run, where nothing else is given: the model's own section, and how data are
    /// prepared, so that they have the same shape. With `same_data`, everything that says what the data are. Warm-ups of the model are over.
    pub fn settings(&self, same_data: bool) -> Layer {
        let mut all = self.config.to_table();
        let mut values = toml::Table::new();
        let model = self.config.model.as_str();
        if let Some(toml::Value::Table(mut section)) = all.remove(model) {
            // To begin one again would undo what was learned.
            for (_, value) in section.iter_mut().filter(|(key, _)| is_warmup(key)) {
                *value = 0.into();
            }
            values.insert(model.to_owned(), toml::Value::Table(section));
        }
        let data = match all.remove("data") {
            Some(toml::Value::Table(data)) if same_data => data,
            Some(toml::Value::Table(data)) => self.preparation(&data),
            _ => toml::Table::new(),
        };
        values.insert("data".to_owned(), toml::Value::Table(data));
        Layer { origin: format!("run {}", self.name), values }
    }

    /// The keys of `[data]` that decide the shape of examples and the range of their values. What that run left to its data is taken from
    /// what they were.
    fn preparation(&self, data: &toml::Table) -> toml::Table {
        let keys: &[&str] = match &self.spec.content {
            Content::Images(_) => &["size", "crop", "channels", "background", "binarize", "invert"],
            Content::Text(_) => &["vocabulary", "vocabulary_size"],
            Content::Sound(_) => &["sample_rate", "mono"],
            Content::Points(_) | Content::Experience(_) => &[],
        };
        let given = keys.iter().filter_map(|&key| Some((key.to_owned(), data.get(key)?.clone())));
        let mut kept: toml::Table = given.collect();
        let mut set = |key: &str, value: toml::Value| drop(kept.insert(key.to_owned(), value));
        match &self.spec.content {
            Content::Images(shape) => {
                set("channels", (shape.channels as i64).into());
                if shape.height == shape.width {
                    set("size", (shape.height as i64).into());
                }
            }
            Content::Text(text) if text.vocabulary == poiesis_collect::Vocabulary::Bytes => {
                set("vocabulary", "bytes".into());
            }
            Content::Sound(sound) => {
                set("sample_rate", i64::from(sound.sample_rate).into());
                set("mono", (sound.channels == 1).into());
            }
            _ => {}
        }
        kept
    }

    /// Checks that the weights are of this model.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStart`].
    pub fn expect_model(&self, model: &str) -> Result<()> {
        if self.config.model == model {
            return Ok(());
        }
        let reason =
            format!("it is a run of the model `{}`, and `{model}` is to be trained", self.config.model);
        let remedy = format!("train {}, or start from a run of {model}", self.config.model);
        Err(self.refusal(reason, remedy))
    }

    /// Checks that the weights are not those of the run that is to be trained.
    pub(super) fn expect_other_than(&self, out: &Path) -> Result<()> {
        if open::lasting(&out.to_string_lossy()) != self.parent.run {
            return Ok(());
        }
        let remedy = "give another folder for the new run, or resume that run";
        Err(self.refusal("it is the run that is to be trained".to_owned(), remedy.to_owned()))
    }

    /// The data of a new run, read as that run reads them: with a token for examples without a class if it has one, also where all of these
    /// have a class; and its own data as it was trained on them. Other data with examples without a class keep theirs, and are refused by
    /// [`InitialWeights::load_into`] where that run has no token for these.
    pub(super) fn reading(&self, data: TrainingData) -> TrainingData {
        let own = self.data.fingerprint == data.info.fingerprint;
        match self.spec.classes == data.spec.classes && (self.spec.unlabelled || own) {
            true => data.with_unlabelled(self.spec.unlabelled),
            false => data,
        }
    }

    /// Puts the weights into a model that is about to be trained on data of `info`, with `config`. Returns notes about what fits and means
    /// something else.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStart`] with all that differs, and the arrays that do not fit.
    pub(super) fn load_into(
        &self,
        session: &mut dyn Session,
        config: &RunConfig,
        spec: &DataSpec,
        info: &DataInfo,
        device: &Device,
    ) -> Result<Vec<String>> {
        self.expect_model(&config.model)?;
        let own = session.state_dict();
        let arrays = misfits(&self.arrays, &own);
        // Tokens with other meanings are refused though the arrays fit.
        let (tokens, classes) = (self.other_tokens(spec), self.other_classes(config, spec));
        if !arrays.is_empty() || tokens.is_some() || classes.is_some() {
            return Err(self.misfit(&arrays, tokens, config, spec));
        }
        let weights = StateDict::from_arrays(self.arrays.clone(), &device.clone().inner());
        session.start_from(&weights).map_err(|reason| {
            self.refusal(reason, "give data like those that run was trained on".to_owned())
        })?;
        let mut notes = self.notes(spec, info);
        if let Content::Points(shape) = &spec.content {
            notes.extend(columns::elsewhere(&self.arrays, &own, shape, &self.name));
        }
        Ok(notes)
    }

    /// Says that the tokens of text stand for something else, if they do.
    fn other_tokens(&self, spec: &DataSpec) -> Option<(String, String)> {
        let (Content::Text(there), Content::Text(here)) = (&self.spec.content, &spec.content) else {
            return None;
        };
        (there.vocabulary != here.vocabulary).then(|| {
            (
                format!(
                    "its {} tokens and the {} of these data stand for different text",
                    there.vocabulary.len(),
                    here.vocabulary.len()
                ),
                "collect both with `vocabulary` bytes, whose tokens are the same for every text".to_owned(),
            )
        })
    }

    /// The error for weights that do not fit, with what it comes from.
    fn misfit(
        &self,
        arrays: &[String],
        tokens: Option<(String, String)>,
        config: &RunConfig,
        spec: &DataSpec,
    ) -> Error {
        let mut causes: Vec<(String, String)> = tokens.into_iter().chain(self.other_data(spec)).collect();
        if causes.is_empty() {
            causes.extend(self.other_classes(config, spec));
            // Settings that do not change the size of the model are no cause beside classes that do.
            if causes.is_empty() || parameters(&self.config, spec) != parameters(config, spec) {
                causes.extend(self.other_settings(config));
            }
        }
        let (mut reasons, remedies): (Vec<String>, Vec<String>) = causes.into_iter().unzip();
        if !arrays.is_empty() {
            let more = arrays.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            let named = &arrays[..arrays.len().min(NAMED)];
            reasons.push(format!("these arrays differ: {}{more}", named.join(", ")));
        }
        let remedy = match remedies.first() {
            Some(remedy) => remedy.clone(),
            None => "start from a run whose model has the same size".to_owned(),
        };
        self.refusal(reasons.join("; "), remedy)
    }

    /// How the data differ in shape, and what to do about it.
    fn other_data(&self, spec: &DataSpec) -> Vec<(String, String)> {
        let mut found = Vec::new();
        match (&self.spec.content, &spec.content) {
            (Content::Images(there), Content::Images(here)) if there != here => {
                let [there, here] =
                    [there, here].map(|shape| format!("{}×{}×{}", shape.width, shape.height, shape.channels));
                found.push((
                    format!("its images are {there} and these {here}"),
                    format!("prepare the data with the size and the channels of that run, {there}"),
                ));
            }
            (Content::Points(there), Content::Points(here)) if there.dims != here.dims => found.push((
                format!("its points have {} coordinates and these {}", there.dims, here.dims),
                "give points with as many coordinates".to_owned(),
            )),
            (Content::Text(there), Content::Text(here)) if there.documents != here.documents => {
                let [there, here] = [there, here].map(|text| match text.documents {
                    true => "several documents",
                    false => "one text",
                });
                found.push((
                    format!("its data are {there} and these {here}"),
                    format!("collect these data as {there}"),
                ));
            }
            (Content::Experience(there), Content::Experience(here))
                if (there.observation, there.actions) != (here.observation, here.actions) =>
            {
                found.push((
                    format!("its environment has {} and this one {}", there.describe(), here.describe()),
                    "give an environment with the same observations and actions".to_owned(),
                ));
            }
            (there, here) if std::mem::discriminant(there) != std::mem::discriminant(here) => found.push((
                format!("it learned {} and these data are {}", self.spec.media().name(), spec.media().name()),
                format!("give data of {}", self.spec.media().name()),
            )),
            _ => {}
        }
        found
    }

    /// How the classes of the data differ in number, or in whether there are examples outside of them, and what to do about it; `None` where
    /// that changes nothing in one of the two models.
    fn other_classes(&self, config: &RunConfig, spec: &DataSpec) -> Option<(String, String)> {
        let both = |read: fn(&RunConfig, &DataSpec) -> bool| read(&self.config, spec) && read(config, spec);
        let classes = |count: usize| match count {
            0 => "no classes".to_owned(),
            1 => "1 class".to_owned(),
            count => format!("{count} classes"),
        };
        // A single class is read like none.
        if self.spec.classes.max(1) != spec.classes.max(1) {
            let (there, here) = (classes(self.spec.classes), classes(spec.classes));
            let reason = format!("its data have {there} and these {here}");
            let remedy =
                format!("give data with {there}, or start from a run that is not conditioned on classes");
            return both(reads_classes).then_some((reason, remedy));
        }
        // Where that run has the token, these data are read with it.
        let without = !self.spec.unlabelled && spec.unlabelled && both(reads_unlabelled);
        without.then(|| {
            (
                "that run has no token for examples without a class, and these data have such examples"
                    .to_owned(),
                "give each example a class, or train a new run".to_owned(),
            )
        })
    }

    /// The model's own settings that differ, without warm-ups, which are over in a new run.
    fn other_settings(&self, config: &RunConfig) -> Vec<(String, String)> {
        let section = |config: &RunConfig| match config.to_table().remove(&config.model) {
            Some(toml::Value::Table(section)) => section,
            _ => toml::Table::new(),
        };
        let changed = differences(&section(&self.config), &section(config));
        let lasting = changed.into_iter().filter(|(key, ..)| !is_warmup(key));
        let each = lasting.map(|(key, there, here)| {
            let key = format!("{}.{key}", config.model);
            (
                format!("`{key}` is {there} there and {here} here"),
                format!("leave out `{key}`, so that it is that of the run"),
            )
        });
        each.collect()
    }

    /// What fits and means something else.
    fn notes(&self, spec: &DataSpec, info: &DataInfo) -> Vec<String> {
        let mut notes = Vec::new();
        let run = &self.name;
        if self.spec.classes == spec.classes && self.data.classes != info.classes {
            notes.push(format!("the classes of {run} have other names than these"));
        }
        match (&self.spec.content, &spec.content) {
            (Content::Sound(there), Content::Sound(here)) if there != here => notes.push(format!(
                "the sound of {run} has {} Hz and {} channels, this has {} Hz and {}",
                there.sample_rate, there.channels, here.sample_rate, here.channels
            )),
            (Content::Points(there), Content::Points(here)) if there.columns != here.columns => {
                notes.push(format!("the coordinates of {run} have other names than these"));
            }
            (Content::Experience(there), Content::Experience(here))
                if there.environment != here.environment =>
            {
                let (there, here) = (&there.environment, &here.environment);
                notes.push(format!("{run} acted in {there}, and this run acts in {here}"));
            }
            (Content::Images(there), Content::Images(here)) if there != here => notes.push(format!(
                "the images of {run} are {}×{}, and these {}×{}",
                there.width, there.height, here.width, here.height
            )),
            _ => {}
        }
        notes
    }

    fn refusal(&self, reason: String, remedy: String) -> Error {
        Error::NotAStart { run: Path::new(&self.parent.run).to_owned(), reason, remedy }
    }
}

/// Whether a key of a model's own section says how long something is introduced little by little.
fn is_warmup(key: &str) -> bool {
    key.ends_with("warmup_steps")
}

/// The number of parameters of each part of a model; `None` where it cannot be made for such data.
fn parameters(config: &RunConfig, spec: &DataSpec) -> Option<Vec<(String, usize)>> {
    catalogue::find(&config.model).ok()?.parameters(config, spec).ok()
}

/// Whether a model for data like these has other parameters with one class more.
fn reads_classes(config: &RunConfig, spec: &DataSpec) -> bool {
    let of = |classes: usize| parameters(config, &DataSpec { classes, ..spec.clone() });
    let classes = spec.classes.max(1);
    of(classes) != of(classes + 1)
}

/// Whether it has others where some examples have no class.
fn reads_unlabelled(config: &RunConfig, spec: &DataSpec) -> bool {
    let of = |unlabelled: bool| parameters(config, &DataSpec { unlabelled, ..spec.clone() });
    of(false) != of(true)
}

/// What a run that exists was started from, and what is now given, where these differ: as a setting that has changed.
pub(super) fn other_parent(
    saved: Option<&Parent>,
    given: Option<&InitialWeights>,
) -> Option<(String, String, String)> {
    let given = given?.parent().run.as_str();
    let saved = saved.map_or("nothing", |parent| parent.run.as_str());
    (saved != given).then(|| ("the run to start from".to_owned(), saved.to_owned(), given.to_owned()))
}

/// The arrays that only one of two models has, or that have another shape, each in words.
fn misfits(there: &Arrays, here: &StateDict) -> Vec<String> {
    let own = here.iter().filter_map(|(name, array)| match there.get(name) {
        None => Some(format!("`{name}` is missing there")),
        Some(other) if other.shape != array.shape => {
            Some(format!("`{name}` is {:?} there and {:?} here", other.shape, array.shape))
        }
        Some(_) => None,
    });
    let only_there = there.keys().filter(|name| here.get(name).is_none());
    own.chain(only_there.map(|name| format!("`{name}` is missing here"))).collect()
}

#[cfg(test)]
mod tests;
