//! The configuration of a run: four sections of TOML, put together from defaults, a recipe and flags.
//!
//! ```toml
//! model = "dcgan"
//! seed = 0
//! device = "cpu"
//! [data]      # where examples come from and how they are prepared
//! [train]     # how long, how often
//! [dcgan]     # the model's own settings, under its name
//! ```
//!
//! Every key has a default, so a resolved configuration has every key, and a key that the defaults lack is an
//! error that names the nearest valid one. Each value remembers where it came from.

use serde::{Deserialize, Serialize};

use crate::catalogue::{self, Entry};
use crate::error::{Error, Result};

/// A resolved configuration: every key has a value.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// Name of the model in the catalogue.
    pub model: String,
    /// Seed of all randomness of the run.
    pub seed: u64,
    /// Where it is trained, such as `cpu`.
    pub device: String,
    /// Where examples come from.
    pub data: DataConfig,
    /// How it is trained.
    pub train: TrainConfig,
    /// The section named after the model.
    section: toml::Table,
}

/// Where examples come from and how they are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A packed data set, a raw source, a built-in name (`shapes`) or the name of a known data set (`mnist`).
    pub source: String,
    /// Sides of the square that raw images are resized to, in pixels; 0 keeps theirs.
    pub size: u32,
    /// What is done with images that are not square: `center` cuts, `none` stretches.
    pub crop: String,
    /// 1 grey, 3 RGB, 4 RGBA; 0 keeps what the source has.
    pub channels: u8,
    /// Colour that transparent pixels are laid over, as `#rrggbb`.
    pub background: String,
    /// Part of the examples that is held out for validation when the source has no splits, in [0, 1).
    pub holdout: f64,
    /// Number of examples of built-in data; 0 is its own default.
    pub count: usize,
    /// Tokens of raw text: `bytes`, `characters` or `bpe`; empty chooses characters where there are few and bytes
    /// otherwise.
    pub vocabulary: String,
    /// Most tokens of a `bpe` vocabulary; 0 is 4,096.
    pub vocabulary_size: u32,
    /// What of raw text is a document: `files` (in `.jsonl`, records) or `lines`; empty is what a known data set is,
    /// otherwise files.
    pub documents: String,
    /// Sample rate that raw sound is brought to, in Hz; 0 keeps its own.
    pub sample_rate: u32,
    /// Whether the channels of raw sound are mixed into one.
    pub mono: bool,
    /// What gives raw files their class: `folders`, or `names` up to the first `_`; empty is what a known data set has,
    /// otherwise folders.
    pub labels: String,
    /// Files held out for validation, as patterns such as `Stevenson*`, several with commas between them; empty is what a
    /// known data set has.
    pub validation_files: String,
    /// Files held out for the test, likewise.
    pub test_files: String,
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig {
            source: "shapes".into(),
            size: 0,
            crop: "center".into(),
            channels: 0,
            background: "#ffffff".into(),
            holdout: 0.1,
            count: 0,
            vocabulary: String::new(),
            vocabulary_size: 0,
            documents: String::new(),
            sample_rate: 0,
            mono: false,
            labels: String::new(),
            validation_files: String::new(),
            test_files: String::new(),
        }
    }
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Steps in all.
    pub steps: u64,
    /// Examples in a batch.
    pub batch_size: usize,
    /// How matrix products round their factors: `f32` not at all, `bf16` to 8 bits of precision, up to twice as fast on
    /// processors with AVX512-BF16.
    pub precision: Precision,
    /// How the learning rate moves: `constant`, `linear`, `cosine` or `trapezoid`.
    pub schedule: Decay,
    /// Steps over which the learning rate rises from 0 before that.
    pub warmup_steps: u64,
    /// Part of its height that the learning rate has left at the end, unless it is constant.
    pub final_factor: f64,
    /// `trapezoid`: part of the run, at its end, over which the learning rate falls.
    pub cooldown: f64,
    /// How much of the averaged weights a step keeps; 0 does not average.
    pub ema_decay: f64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept, the newest always among them.
    pub keep_checkpoints: usize,
    /// Steps between lines of metrics.
    pub log_every: u64,
    /// When grids of samples are drawn: `linear` or `logarithmic` in the steps.
    pub sample_schedule: SampleSchedule,
    /// How many grids are drawn over the whole run.
    pub sample_frames: u64,
    /// Images in a grid; texts; clips.
    pub sample_count: usize,
    /// Tokens of a text and frames of a clip among the samples; images have their own size.
    pub sample_length: usize,
}

impl Default for TrainConfig {
    fn default() -> TrainConfig {
        TrainConfig {
            steps: 10_000,
            batch_size: 64,
            precision: Precision::F32,
            schedule: Decay::Constant,
            warmup_steps: 0,
            final_factor: 0.0,
            cooldown: 0.2,
            ema_decay: 0.999,
            checkpoint_every: 500,
            keep_checkpoints: 3,
            log_every: 20,
            sample_schedule: SampleSchedule::Linear,
            sample_frames: 40,
            sample_count: 64,
            sample_length: 1000,
        }
    }
}

/// How matrix products round their factors; see [`poiesis_kernels::Precision`]. Weights, gradients and sums are f32 with
/// either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Not at all.
    F32,
    /// To bf16.
    Bf16,
}

impl Precision {
    /// Makes it the precision of all operations of this process, which computes on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the processor has no instructions for it, and for bf16 on a GPU.
    pub fn set(self, device: &str) -> Result<()> {
        if self == Precision::Bf16 && !crate::device::is_cpu(device) {
            let reason = format!("only products on the CPU round their factors, and this is {device}");
            return Err(invalid("train.precision", "bf16", &reason, "use f32"));
        }
        let precision = match self {
            Precision::F32 => poiesis_kernels::Precision::F32,
            Precision::Bf16 => poiesis_kernels::Precision::Bf16,
        };
        if !precision.is_supported() {
            let reason = "this processor has no instructions for it (AVX512-BF16)";
            return Err(invalid("train.precision", "bf16", reason, "use f32"));
        }
        poiesis_kernels::set_precision(precision);
        Ok(())
    }
}

/// How the learning rate moves over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// It stays.
    Constant,
    /// It falls in a straight line over the run.
    Linear,
    /// It falls along half a cosine (Loshchilov and Hutter 2017).
    Cosine,
    /// It stays, then falls in a straight line (Hägele et al. 2024).
    Trapezoid,
}

/// When grids of samples are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleSchedule {
    /// At equal distances: a GAN changes to the end.
    Linear,
    /// At equal ratios: a likelihood model changes most at the beginning.
    Logarithmic,
}

impl RunConfig {
    /// Reads the model's own settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a value of the wrong type.
    pub fn model<'de, C: Deserialize<'de>>(&self) -> Result<C> {
        toml::Value::Table(self.section.clone()).try_into().map_err(|error| wrong_type(&self.model, &error))
    }

    /// The configuration as TOML, every key written out.
    pub fn to_toml(&self) -> String {
        self.to_table().to_string()
    }

    /// The model's name and its own settings as TOML.
    pub fn model_toml(&self) -> String {
        format!("model = {:?}\n{}", self.model, self.section)
    }

    /// Reads what [`to_toml`](RunConfig::to_toml) wrote.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] and [`Error::InvalidValue`] when keys or values are not those of this version.
    pub fn from_toml(text: &str) -> Result<RunConfig> {
        let layer = Layer::parse("the run", text)?;
        let name = layer.values.get("model").and_then(toml::Value::as_str).unwrap_or_default();
        Ok(resolve(catalogue::find(name)?, &[layer])?.config)
    }

    fn to_table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        table.insert("model".into(), self.model.clone().into());
        table.insert("seed".into(), toml::Value::Integer(self.seed as i64));
        table.insert("device".into(), self.device.clone().into());
        let section = |value| toml::Table::try_from(value).map(toml::Value::Table);
        table.extend(section(&self.data).map(|data| ("data".to_owned(), data)));
        let train = toml::Table::try_from(&self.train).map(toml::Value::Table);
        table.extend(train.map(|train| ("train".to_owned(), train)));
        table.insert(self.model.clone(), toml::Value::Table(self.section.clone()));
        table
    }

    fn from_table(mut table: toml::Table) -> Result<RunConfig> {
        let model: String = take(&mut table, "model")?;
        Ok(RunConfig {
            seed: take(&mut table, "seed")?,
            device: take(&mut table, "device")?,
            data: take(&mut table, "data")?,
            train: take(&mut table, "train")?,
            section: take(&mut table, &model)?,
            model,
        })
    }

    /// Refuses values that no run can have.
    fn validate(&self) -> Result<()> {
        let train = &self.train;
        let positive = [
            ("train.steps", train.steps),
            ("train.batch_size", train.batch_size as u64),
            ("train.checkpoint_every", train.checkpoint_every),
            ("train.keep_checkpoints", train.keep_checkpoints as u64),
            ("train.log_every", train.log_every),
            ("train.sample_count", train.sample_count as u64),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(invalid(key, "0", "it counts something that has to happen", "give at least 1"));
        }
        if !(0.0..1.0).contains(&train.ema_decay) {
            let value = train.ema_decay.to_string();
            return Err(invalid(
                "train.ema_decay",
                &value,
                "an average keeps part of itself",
                "give 0 to 0.9999",
            ));
        }
        let parts = [("train.final_factor", train.final_factor), ("train.cooldown", train.cooldown)];
        if let Some((key, value)) = parts.iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return Err(invalid(key, &value.to_string(), "it is a part of a whole", "give 0 to 1"));
        }
        if !(0.0..1.0).contains(&self.data.holdout) {
            let value = self.data.holdout.to_string();
            return Err(invalid("data.holdout", &value, "it is a part of the examples", "give 0 to 0.5"));
        }
        Ok(())
    }
}

/// Writes a section of defaults as TOML.
///
/// # Errors
///
/// [`Error::InvalidValue`] when a value has no form in TOML, which is a bug.
pub fn to_table<C: Serialize>(config: &C) -> Result<toml::Table> {
    toml::Table::try_from(config)
        .map_err(|error| invalid("defaults", "written as TOML", &error.to_string(), "report this as a bug"))
}

/// Values from one place, with the name of that place.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Where the values come from, such as `recipe dcgan/emoji64` or `--steps`.
    pub origin: String,
    /// Some of the keys of a configuration.
    pub values: toml::Table,
}

impl Layer {
    /// Reads TOML.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with line and caret.
    pub fn parse(origin: &str, text: &str) -> Result<Layer> {
        let values =
            text.parse().map_err(|source| Error::Config { path: origin.into(), source: Box::new(source) })?;
        Ok(Layer { origin: origin.to_owned(), values })
    }

    /// Makes a layer of one dotted key.
    pub fn single(origin: &str, key: &str, value: impl Into<toml::Value>) -> Layer {
        let mut names = key.rsplit('.');
        let mut values = toml::Table::new();
        values.insert(names.next().unwrap_or_default().to_owned(), value.into());
        for name in names {
            let inner = std::mem::take(&mut values);
            values.insert(name.to_owned(), toml::Value::Table(inner));
        }
        Layer { origin: origin.to_owned(), values }
    }

    /// Reads `key=value` as it follows `--set`; a value that is not TOML is taken as text.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when there is no `=`.
    pub fn assignment(text: &str) -> Result<Layer> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(invalid("--set", text, "it has no `=`", "write --set train.steps=1000"));
        };
        let (key, value) = (key.trim(), value.trim());
        let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
        Ok(Layer::single("--set", key, parsed.unwrap_or_else(|| value.into())))
    }
}

/// A configuration with the origin of each value.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The configuration.
    pub config: RunConfig,
    /// Dotted key, value as TOML, and where it came from, in the order of the file.
    pub origins: Vec<(String, String, String)>,
}

/// Lays `layers` over the defaults of `entry`, each over those before it.
///
/// # Errors
///
/// [`Error::UnknownName`] for a key that the defaults lack; [`Error::InvalidValue`] for a value of the wrong type
/// or out of range.
pub fn resolve(entry: &dyn Entry, layers: &[Layer]) -> Result<Resolved> {
    let defaults = RunConfig {
        model: entry.name().to_owned(),
        seed: 0,
        device: "cpu".into(),
        data: DataConfig::default(),
        train: entry.train_defaults(),
        section: entry.model_defaults()?,
    };
    let mut values = Vec::new();
    flatten("", &defaults.to_table(), "default", &mut values);
    for layer in layers {
        let mut given = Vec::new();
        flatten("", &layer.values, &layer.origin, &mut given);
        for (key, value, origin) in given {
            let key = full_key(&values, &key).to_owned();
            let Some(slot) = values.iter_mut().find(|(known, ..)| *known == key) else {
                return Err(Error::unknown("key", &key, values.iter().map(|(known, ..)| known.as_str())));
            };
            let value = same_type(&slot.1, value).ok_or_else(|| wrong_kind(&key, &slot.1))?;
            (slot.1, slot.2) = (value, origin);
        }
    }
    if let Some((_, model, origin)) = values.iter().find(|(key, ..)| key == "model")
        && model.as_str() != Some(entry.name())
    {
        let value = model.to_string();
        let reason = format!("{origin} is for another model than `{}`", entry.name());
        return Err(invalid("model", &value, &reason, "name the model it is for"));
    }
    let mut table = toml::Table::new();
    for (key, value, _) in &values {
        insert(&mut table, key, value.clone());
    }
    let config = RunConfig::from_table(table)?;
    config.validate()?;
    let origins = values.into_iter().map(|(key, value, origin)| (key, value.to_string(), origin)).collect();
    Ok(Resolved { config, origins })
}

/// A key without its section stands for the one key that ends so.
fn full_key<'a>(values: &'a [(String, toml::Value, String)], key: &'a str) -> &'a str {
    let ends_so = |known: &&str| known.rsplit_once('.').is_some_and(|(_, last)| last == key);
    let mut matches = values.iter().map(|(known, ..)| known.as_str()).filter(ends_so);
    match (matches.next(), matches.next()) {
        (Some(only), None) if !key.contains('.') => only,
        _ => key,
    }
}

fn flatten(prefix: &str, table: &toml::Table, origin: &str, into: &mut Vec<(String, toml::Value, String)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, origin, into),
            value => into.push((key, value.clone(), origin.to_owned())),
        }
    }
}

fn insert(table: &mut toml::Table, key: &str, value: toml::Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((name, rest)) => {
            let inner = table.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Gives `value` the type of `default`, if it has a form of that type.
fn same_type(default: &toml::Value, value: toml::Value) -> Option<toml::Value> {
    use toml::Value::{Boolean, Float, Integer, String};
    match (default, value) {
        (Float(_), Integer(value)) => Some(Float(value as f64)),
        (Integer(_), Float(value)) if value.fract() == 0.0 && value.abs() < 9e15 => {
            Some(Integer(value as i64))
        }
        (Float(_), value @ Float(_)) => Some(value),
        (Integer(_), value @ Integer(_)) => Some(value),
        (String(_), value @ String(_)) => Some(value),
        (String(_), value @ (Integer(_) | Float(_))) => Some(String(value.to_string())),
        (Boolean(_), value @ Boolean(_)) => Some(value),
        _ => None,
    }
}

fn take<'de, T: Deserialize<'de>>(table: &mut toml::Table, key: &str) -> Result<T> {
    let value = table.remove(key).ok_or_else(|| Error::unknown("section", key, std::iter::empty()))?;
    value.try_into().map_err(|error| wrong_type(key, &error))
}

fn wrong_kind(key: &str, default: &toml::Value) -> Error {
    let kind = match default {
        toml::Value::Float(_) => "number",
        toml::Value::Integer(_) => "whole number",
        toml::Value::Boolean(_) => "true or false",
        _ => "text",
    };
    invalid(key, "of that type", &format!("it is a {kind}"), &format!("write it like {default}"))
}

fn wrong_type(section: &str, error: &toml::de::Error) -> Error {
    let key = error.message().split('`').nth(1).unwrap_or("a value");
    invalid(
        section,
        key,
        error.message().trim(),
        "see `poiesis train MODEL --dry-run` for every key and its value",
    )
}

fn invalid(key: &str, value: &str, reason: &str, remedy: &str) -> Error {
    Error::InvalidValue { key: key.into(), value: value.into(), reason: reason.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::CATALOGUE;

    fn dcgan() -> &'static dyn Entry {
        catalogue::find("dcgan").unwrap()
    }

    fn origin<'a>(resolved: &'a Resolved, key: &str) -> (&'a str, &'a str) {
        let (_, value, origin) = resolved.origins.iter().find(|(k, ..)| k == key).unwrap();
        (value, origin)
    }

    #[test]
    fn later_layers_win_and_every_value_knows_its_origin() {
        let recipe = Layer::parse("recipe", "[train]\nsteps = 10\nbatch_size = 8").unwrap();
        let flag = Layer::single("--steps", "train.steps", 20);
        let resolved = resolve(dcgan(), &[recipe, flag]).unwrap();
        assert_eq!((resolved.config.train.steps, resolved.config.train.batch_size), (20, 8));
        assert_eq!(origin(&resolved, "train.steps"), ("20", "--steps"));
        assert_eq!(origin(&resolved, "train.batch_size"), ("8", "recipe"));
        assert_eq!(origin(&resolved, "seed"), ("0", "default"));
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_valid_one() {
        let error = resolve(dcgan(), &[Layer::assignment("train.stesp=3").unwrap()]).unwrap_err();
        assert!(error.to_string().contains("train.steps"), "{error}");
    }

    #[test]
    fn a_key_may_leave_out_its_section_when_that_is_clear() {
        let resolved = resolve(dcgan(), &[Layer::assignment("latent_dim=7").unwrap()]).unwrap();
        assert_eq!(origin(&resolved, "dcgan.latent_dim"), ("7", "--set"));
    }

    #[test]
    fn values_of_the_wrong_type_name_their_key() {
        let error = resolve(dcgan(), &[Layer::assignment("train.steps=many").unwrap()]).unwrap_err();
        assert!(error.to_string().contains("train.steps"), "{error}");
        let error = resolve(dcgan(), &[Layer::assignment("dcgan.prior=cauchy").unwrap()]).unwrap();
        let error = error.config.model::<crate::models::gan::DcganConfig>().unwrap_err();
        assert!(error.to_string().contains("cauchy"), "{error}");
        let error = resolve(dcgan(), &[Layer::assignment("train.batch_size=0").unwrap()]).unwrap_err();
        assert!(error.to_string().contains("train.batch_size"), "{error}");
    }

    #[test]
    fn a_resolved_config_survives_its_file() {
        for entry in CATALOGUE {
            let config = resolve(*entry, &[]).unwrap().config;
            assert_eq!(RunConfig::from_toml(&config.to_toml()).unwrap(), config);
        }
    }

    #[test]
    fn every_recipe_resolves_and_starts_with_a_summary() {
        for entry in CATALOGUE {
            for recipe in entry.recipes() {
                let layer = Layer::parse(recipe.name, recipe.toml).unwrap();
                resolve(*entry, &[layer]).unwrap_or_else(|error| panic!("{}: {error}", recipe.name));
                assert!(!recipe.summary().is_empty(), "{}", recipe.name);
            }
        }
    }

    #[test]
    fn a_recipe_for_another_model_is_refused() {
        let error = resolve(dcgan(), &[Layer::parse("x.toml", "model = \"vae\"").unwrap()]).unwrap_err();
        assert!(error.to_string().contains("x.toml"), "{error}");
    }
}
