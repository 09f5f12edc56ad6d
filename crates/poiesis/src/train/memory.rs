//! The memory that training needs, by arithmetic alone: nothing is made to find out.

use crate::config::{RunConfig, TrainConfig};
use crate::data::{Content, DataSpec};
use crate::device;
use crate::error::{Error, Result};
use crate::model::Entry;

/// Returns an error when training on data of `spec` needs more memory than is free, naming the setting that needs most of it.
///
/// The weights are counted with what is kept for each, and a lower bound of what a step, or drawing samples, holds beside them. Only
/// the memory of the CPU is known; for other devices there is no error.
///
/// # Errors
///
/// [`Error::OutOfMemory`]; those of [`Entry::parameters`].
pub fn expect_memory(entry: &dyn Entry, config: &RunConfig, spec: &DataSpec) -> Result<()> {
    match device::free_memory().filter(|_| device::is_cpu(&config.device)) {
        Some(available) => expect_room(entry, config, spec, available),
        None => Ok(()),
    }
}

/// The same where `available` bytes are free.
fn expect_room(entry: &dyn Entry, config: &RunConfig, spec: &DataSpec, available: u64) -> Result<()> {
    let needed = needed(entry, config, spec)?;
    if needed <= available {
        return Ok(());
    }
    let (key, value) = largest(entry, config, spec, needed)?;
    let remedy = match key.as_str() {
        "data.source" => "choose smaller images, or a smaller model".to_owned(),
        key => format!("lower {key}, or choose a smaller model or smaller examples"),
    };
    Err(Error::OutOfMemory { key, value, needed, available, remedy })
}

/// A lower bound of the bytes that training needs; `u64::MAX` for more than can be counted.
fn needed(entry: &dyn Entry, config: &RunConfig, spec: &DataSpec) -> Result<u64> {
    let train = &config.train;
    let parameters: f64 = entry.parameters(config, spec)?.iter().map(|&(_, count)| count as f64).sum();
    // A weight, its gradient, two moments and an average.
    let of_weights = parameters * if train.ema_decay > 0.0 { 5.0 } else { 4.0 };
    let of_batch = train.batch_size as f64 * entry.held_values(config, spec)?;
    let samples = of_samples(train, spec);
    // A conversion to whole numbers takes the nearest of those there are.
    let of_source = entry.held_by_source(config, spec)?;
    Ok((4.0 * (of_weights + of_batch.max(samples) + of_source)) as u64)
}

/// The values of the samples that are drawn at once.
fn of_samples(train: &TrainConfig, spec: &DataSpec) -> f64 {
    let each = match &spec.content {
        Content::Images(shape) => shape.dims(),
        Content::Points(shape) => shape.dims,
        Content::Text(_) => train.sample_length,
        Content::Sound(shape) => train.sample_length * usize::from(shape.channels),
        // Agents draw no samples.
        Content::Experience(_) => 0,
    };
    train.sample_count as f64 * each as f64
}

/// The setting whose default would save most, and its value; the data where none would save much.
fn largest(entry: &dyn Entry, config: &RunConfig, spec: &DataSpec, needed: u64) -> Result<(String, String)> {
    let defaults = entry.defaults()?;
    let mut best = (0.7 * needed as f64, "data.source".to_owned(), config.data.source.clone());
    for (key, value, with_default) in config.with_each_default(&defaults) {
        // A default need not fit to the other settings.
        let Ok(left) = self::needed(entry, &with_default, spec) else { continue };
        if (left as f64) < best.0 {
            best = (left as f64, key, value);
        }
    }
    Ok((best.1, best.2))
}

/// The peak memory of this process in bytes, where the system reports it.
pub(super) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{self, CATALOGUE};
    use crate::config::{Layer, resolve};
    use crate::testing::{image_spec, one_spec_of_each_kind};

    /// 16 GiB.
    const ROOM: u64 = 1 << 34;

    fn config(entry: &dyn Entry, settings: &[String]) -> RunConfig {
        try_config(entry, settings).unwrap()
    }

    fn try_config(entry: &dyn Entry, settings: &[String]) -> Result<RunConfig> {
        let layers: Result<Vec<Layer>> =
            settings.iter().map(|text| Layer::assignment("test", text)).collect();
        Ok(resolve(&entry.defaults()?, &layers?)?.config)
    }

    #[test]
    fn weights_are_counted_with_what_is_kept_for_each() {
        let entry = catalogue::find("vae").unwrap();
        let settings = ["vae.body='mlp'", "latent_dim=2", "hidden_dim=3", "layers=1", "sample_count=1"];
        let settings: Vec<String> =
            settings.iter().chain(&["batch_size=7"]).map(|text| (*text).into()).collect();
        let config = config(entry, &settings);
        // 4 → 3 → 4 and 2 → 3 → 8 with biases; each example has 4 values, and 2 · 3 features.
        let parameters = (5 * 3 + 4 * 4) + (3 * 3 + 4 * 8);
        let expected = 4 * (5 * parameters + 7 * (4 + 6));
        assert_eq!(needed(entry, &config, &image_spec([2, 2, 1], 0)).unwrap(), expected);
    }

    #[test]
    fn defaults_fit_and_the_setting_that_needs_most_is_named() {
        let spec = image_spec([64, 64, 3], 0);
        let entry = catalogue::find("dcgan").unwrap();
        assert!(expect_room(entry, &config(entry, &[]), &spec, ROOM).is_ok());
        for (key, value) in
            [("dcgan.width", 20_000), ("train.batch_size", 1 << 30), ("train.sample_count", 1 << 30)]
        {
            let error =
                expect_room(entry, &config(entry, &[format!("{key}={value}")]), &spec, ROOM).unwrap_err();
            let (message, hint) = (error.to_string(), error.hint().unwrap());
            assert!(
                message.contains(&format!("`{key}` = {value}")) && message.contains("17.2 GB"),
                "{message}"
            );
            assert!(hint.contains(key), "{hint}");
        }
        let large = image_spec([8192, 8192, 3], 0);
        let error = expect_room(entry, &config(entry, &[]), &large, ROOM).unwrap_err();
        assert!(error.to_string().contains("`data.source`"), "{error}");
    }

    /// Every whole number of every configuration, at values that no machine has room for: refused, or counted without being made.
    #[test]
    fn no_setting_makes_what_it_asks_for() {
        for entry in CATALOGUE {
            let defaults = config(*entry, &[]);
            let keys: Vec<String> = defaults.whole_numbers();
            assert!(
                keys.iter().any(|key| key.starts_with(entry.name()))
                    && keys.contains(&"data.size".to_owned())
            );
            let learned = |spec: &DataSpec| entry.about().media.contains(&spec.media());
            let specs: Vec<DataSpec> = one_spec_of_each_kind().into_iter().filter(learned).collect();
            let mut settings: Vec<Vec<String>> = Vec::new();
            for value in [0, 1, 20_000, 1_000_000_000, i64::MAX] {
                settings.extend(keys.iter().map(|key| vec![format!("{key}={value}")]));
            }
            // All sizes at once, as large as each may be alone.
            let of_model = |key: &&String| key.starts_with(entry.name());
            for value in [1000, 20_000, 1 << 20] {
                settings.push(keys.iter().filter(of_model).map(|key| format!("{key}={value}")).collect());
            }
            let before = peak();
            for settings in settings {
                let config = match try_config(*entry, &settings) {
                    Ok(config) => config,
                    // The number does not fit into the type of its key.
                    Err(error) => {
                        let key = settings[0].split('=').next().unwrap();
                        assert!(error.to_string().contains(key), "{error}");
                        continue;
                    }
                };
                let checked = entry.check(&config);
                for spec in &specs {
                    let room = expect_room(*entry, &config, spec, ROOM);
                    assert!(checked.is_ok() || room.is_err(), "{} {settings:?}", entry.name());
                }
                if checked.is_ok() {
                    crate::train::sample_steps(&config.train);
                }
            }
            let grown = peak().zip(before).map_or(0, |(after, before)| after.saturating_sub(before));
            // Other tests of this process take memory too, but far less than any of these settings would.
            assert!(grown < 1 << 32, "{} took {grown} bytes to count", entry.name());
        }
    }

    #[test]
    fn the_experience_of_an_agent_is_counted() {
        let [.., spec] = one_spec_of_each_kind();
        let entry = catalogue::find("ppo").unwrap();
        assert!(expect_room(entry, &config(entry, &[]), &spec, ROOM).is_ok());
        for (key, value, other) in [
            ("ppo.rollout_steps", 600_000, "data.environments=1000"),
            ("data.environments", 60_000, "ppo.rollout_steps=9000"),
        ] {
            let settings = [format!("{key}={value}"), other.to_owned()];
            let error = expect_room(entry, &config(entry, &settings), &spec, ROOM).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}` = {value}")), "{error}");
        }
    }

    #[test]
    fn this_process_holds_memory() {
        if cfg!(target_os = "linux") {
            assert!(peak().unwrap() > 1 << 20);
        }
    }
}
