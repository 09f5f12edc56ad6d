//! A configuration built from layers: defaults, a recipe, the user's settings.

use super::unknown::unknown_key;
use super::{Defaults, RunConfig};
use crate::error::{Error, Result};

/// Values from one place, with the name of that place.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Where the values come from, such as `recipe dcgan/emoji64` or a flag.
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

    /// Reads `key=value`, given at `origin`; a value that is not TOML is taken as text.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when there is no `=`.
    pub fn assignment(origin: &str, text: &str) -> Result<Layer> {
        let Some((key, value)) = text.split_once('=') else {
            let remedy = "write a key and its value: train.steps=1000";
            return Err(Error::invalid_value("settings", text, "it has no `=`", remedy));
        };
        let (key, value) = (key.trim(), value.trim());
        let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
        Ok(Layer::single(origin, key, parsed.unwrap_or_else(|| value.into())))
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

impl Resolved {
    /// Where the value of a dotted key came from.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.origins.iter().find(|(known, ..)| known == key).map(|(_, _, origin)| origin.as_str())
    }

    /// Sets the number of steps where it is known only after the data were opened; `origin` says what it was computed from.
    pub fn set_steps(&mut self, steps: u64, origin: &str) {
        self.config.train.steps = steps;
        if let Some(slot) = self.origins.iter_mut().find(|(key, ..)| key == "train.steps") {
            (slot.1, slot.2) = (steps.to_string(), origin.to_owned());
        }
    }
}

/// Keys of earlier versions, each with the keys that took its place.
const OLD_KEYS: &[(&str, &[&str])] = &[
    ("train.schedule", &["optimizer.schedule"]),
    ("train.warmup_steps", &["optimizer.warmup_steps"]),
    ("train.final_factor", &["optimizer.final_factor"]),
    ("train.cooldown", &["optimizer.cooldown"]),
];

/// The same within the section of any model.
const OLD_MODEL_KEYS: &[(&str, &[&str])] = &[
    ("optimizer", &["optimizer.kind"]),
    ("learning_rate", &["optimizer.learning_rate"]),
    ("beta1", &["optimizer.betas.0"]),
    ("beta2", &["optimizer.betas.1"]),
    ("alpha", &["optimizer.alpha"]),
    ("weight_decay", &["optimizer.weight_decay"]),
    ("clip_norm", &["optimizer.clip"]),
    ("clip_value", &["optimizer.clip_value"]),
    ("muon_learning_rate", &["optimizer.muon_learning_rate"]),
];

/// Applies `layers` to the defaults of a model, later ones last.
///
/// # Errors
///
/// [`Error::UnknownName`] for a key that the defaults lack; [`Error::InvalidValue`] for a value of the wrong type
/// or out of range.
pub fn resolve(defaults: &Defaults, layers: &[Layer]) -> Result<Resolved> {
    let mut values = Vec::new();
    flatten("", &RunConfig::of(defaults).to_table(), "default", &mut values);
    for layer in layers {
        let mut given = Vec::new();
        flatten("", &layer.values, &layer.origin, &mut given);
        for (key, value, origin) in given {
            for key in present_keys(defaults, &values, &key)? {
                assign(&mut values, &key, value.clone(), &origin)?;
            }
        }
    }
    if let Some((_, model, origin)) = values.iter().find(|(key, ..)| key == "model")
        && model.as_str() != Some(defaults.model)
    {
        let value = model.to_string();
        let reason = format!("{origin} is for another model than `{}`", defaults.model);
        return Err(Error::invalid_value("model", &value, &reason, "name the model it is for"));
    }
    let mut table = toml::Table::new();
    for (key, value, _) in &values {
        insert(&mut table, key, value.clone());
    }
    let config = RunConfig::from_table(table)?;
    let origins = values.into_iter().map(|(key, value, origin)| (key, value.to_string(), origin)).collect();
    Ok(Resolved { config, origins })
}

/// The keys of this version that `key` stands for: itself; the only key with that name, if the section is left out; those
/// that replaced a key of an earlier version.
fn present_keys(
    defaults: &Defaults,
    values: &[(String, toml::Value, String)],
    key: &str,
) -> Result<Vec<String>> {
    let known = || values.iter().map(|(known, ..)| known.as_str());
    if known().any(|known| known == key) {
        return Ok(vec![key.to_owned()]);
    }
    if !key.contains('.') {
        let mut matches = known().filter(|known| known.rsplit_once('.').is_some_and(|(_, last)| last == key));
        if let (Some(only), None) = (matches.next(), matches.next()) {
            return Ok(vec![only.to_owned()]);
        }
    }
    let own = key.strip_prefix(defaults.model).and_then(|rest| rest.strip_prefix('.')).unwrap_or(key);
    let old = |table: &'static [(&str, &[&str])], key: &str| table.iter().find(|(old, _)| *old == key);
    let found = old(defaults.old_keys, own)
        .or_else(|| old(OLD_MODEL_KEYS, own))
        .or_else(|| old(OLD_KEYS, key))
        .or_else(|| old(OLD_KEYS, &format!("train.{key}")));
    match found {
        Some((_, keys)) => Ok(keys.iter().map(|&key| key.to_owned()).collect()),
        None => Err(unknown_key(key, known())),
    }
}

/// Sets a key, or an element of it such as `optimizer.betas.0`.
fn assign(
    values: &mut [(String, toml::Value, String)],
    key: &str,
    value: toml::Value,
    origin: &str,
) -> Result<()> {
    let (name, element) = match key.rsplit_once('.') {
        Some((name, element)) if element.parse::<usize>().is_ok() => (name, element.parse::<usize>().ok()),
        _ => (key, None),
    };
    let Some(slot) = values.iter_mut().find(|(known, ..)| known == name) else {
        return Err(unknown_key(key, values.iter().map(|(known, ..)| known.as_str())));
    };
    let default = match (&mut slot.1, element) {
        (toml::Value::Array(elements), Some(element)) if element < elements.len() => &mut elements[element],
        (whole, _) => whole,
    };
    let fault = wrong_kind(key, default);
    *default = same_type(default, value).ok_or(fault)?;
    slot.2 = origin.to_owned();
    Ok(())
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

/// Converts `value` to the type of `default`, if it can be.
fn same_type(default: &toml::Value, value: toml::Value) -> Option<toml::Value> {
    use toml::Value::{Array, Boolean, Float, Integer, String};
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
        // A list of sizes may have any length, as its settings check.
        (Array(default), Array(value))
            if default.len() == value.len() || default.iter().all(toml::Value::is_integer) =>
        {
            let place = |at: usize| default.get(at).or(default.last());
            let each = value.into_iter().enumerate();
            each.map(|(at, value)| place(at).map_or(Some(value.clone()), |default| same_type(default, value)))
                .collect::<Option<_>>()
                .map(Array)
        }
        _ => None,
    }
}

fn wrong_kind(key: &str, default: &toml::Value) -> Error {
    let kind = match default {
        toml::Value::Float(_) => "number",
        toml::Value::Integer(_) => "whole number",
        toml::Value::Boolean(_) => "true or false",
        toml::Value::Array(_) => "list of numbers",
        _ => "text",
    };
    Error::invalid_value(key, "of that type", &format!("it is a {kind}"), &format!("write it like {default}"))
}
