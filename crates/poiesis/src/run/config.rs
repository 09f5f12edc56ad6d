//! `config.toml`: compares the configuration of a run with another, and changes keys in it.

use std::path::Path;

use super::Run;
use crate::atomic;
use crate::error::{Error, Result};

impl Run {
    /// Checks that `given` is the configuration of the run, except for the dotted keys in `free` (and all keys below them),
    /// which may change between starts; returns those that have changed. `saved` is [`Run::config`], with defaults for keys that
    /// the version that made the run did not have.
    ///
    /// # Errors
    /// [`Error::ConfigDiffers`] with every key that differs and may not, [`Error::Config`] when either is not TOML.
    pub fn expect_config(
        &self,
        saved: &str,
        given: &str,
        free: &[&str],
    ) -> Result<Vec<(String, String, String)>> {
        let saved = parse(saved, &self.config_path())?;
        let given = parse(given, Path::new("the configuration given"))?;
        let is_free = |(key, _, _): &(String, String, String)| {
            free.iter().any(|free| {
                key.strip_prefix(free).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let (changed, fixed): (Vec<_>, Vec<_>) = differences(&saved, &given).into_iter().partition(is_free);
        if fixed.is_empty() {
            return Ok(changed);
        }
        Err(Error::ConfigDiffers { run: self.path.clone(), differences: fixed })
    }

    /// Writes changed keys, each with its old and its new value as TOML, to `config.toml`; all other keys stay the same.
    ///
    /// # Errors
    /// [`Error::Config`] when the file is not TOML, [`Error::Io`]; the file is then as it was.
    pub fn change_config(&self, changes: &[(String, String, String)]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut table = parse(&self.config()?, &self.config_path())?;
        for (key, _, value) in changes {
            let parsed = parse(&format!("value = {value}"), &self.config_path())?;
            let (section, name) =
                key.split_once('.').map_or((None, key.as_str()), |(s, name)| (Some(s), name));
            let target = match section {
                Some(section) => table.get_mut(section).and_then(toml::Value::as_table_mut),
                None => Some(&mut table),
            };
            if let (Some(target), Some(value)) = (target, parsed.get("value")) {
                target.insert(name.to_owned(), value.clone());
            }
        }
        atomic::write_in_folder(&self.config_path(), table.to_string().as_bytes())
    }
}

/// Returns every dotted key whose value differs between two configurations, with both values in TOML; `nothing` stands for
/// an absent key.
pub fn differences(saved: &toml::Table, given: &toml::Table) -> Vec<(String, String, String)> {
    let (saved, given) = (flat(saved), flat(given));
    let value = |table: &[(String, String)], key: &str| {
        table.iter().find(|(k, _)| k == key).map_or_else(|| "nothing".to_owned(), |(_, value)| value.clone())
    };
    let mut keys: Vec<&String> = saved.iter().chain(&given).map(|(key, _)| key).collect();
    let mut seen = std::collections::HashSet::new();
    keys.retain(|key| seen.insert(key.as_str()));
    keys.into_iter()
        .map(|key| (key.clone(), value(&saved, key), value(&given, key)))
        .filter(|(_, saved, given)| saved != given)
        .collect()
}

fn parse(text: &str, path: &Path) -> Result<toml::Table> {
    toml::from_str(text).map_err(|source| Error::Config { path: path.to_owned(), source: Box::new(source) })
}

/// Returns a table as dotted keys and values in TOML, in the table's order.
pub fn flat(table: &toml::Table) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                pairs.extend(flat(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            value => pairs.push((key.clone(), value.to_string())),
        }
    }
    pairs
}
