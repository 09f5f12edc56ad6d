//! Finds the folders for data on this machine, and shows the progress of packing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use poiesis::Trained;
use poiesis::config::DataConfig;
use poiesis::data::open::short_name;
use poiesis::data::{Experience, MediaKind, Places};
use poiesis::error::in_bytes;
use poiesis::model::Entry;
use poiesis::train::TrainingData;
use poiesis_collect::{Dataset, Options, Progress, Report, builtin, open_or_collect, scatter, stack};

use crate::args::DataDir;
use crate::render::{Meter, failure, note, program, quoted};

/// What a run learns from.
pub(crate) enum Opened {
    /// A data set.
    Dataset(Dataset),
    /// An environment, with demonstrations where there are any.
    Experience(Experience),
}

impl Opened {
    /// As training takes it.
    pub(crate) fn training_data(&self) -> poiesis::Result<TrainingData> {
        match self {
            Opened::Dataset(dataset) => TrainingData::of(dataset),
            Opened::Experience(experience) => Ok(TrainingData::of_experience(experience)),
        }
    }
}

/// Whether a model is an agent, which learns in an environment.
pub(crate) fn is_agent(entry: &dyn Entry) -> bool {
    entry.about().media.contains(&MediaKind::Experience)
}

impl DataDir {
    /// Opens what a model learns from: the environment and the demonstrations of an agent, the data set of any other.
    pub(crate) fn open_for(&self, entry: &dyn Entry, config: &DataConfig, quiet: bool) -> Result<Opened> {
        if !is_agent(entry) {
            return Ok(Opened::Dataset(self.open(config, quiet)?));
        }
        let places = self.places()?;
        let open = |progress: &(dyn Fn(Progress) + Sync)| Experience::open(config, &places, progress);
        let meter = Meter::new(
            &format!("packing {}", short_name(&config.demonstrations)),
            "episodes",
            None,
            quiet || config.demonstrations.is_empty(),
        );
        let opened = open(&|progress| meter.at(progress.done, progress.total));
        meter.end();
        Ok(Opened::Experience(opened.map_err(crate::flags::of_agent)?))
    }

    /// The folders in which the library looks for data.
    pub(crate) fn places(&self) -> Result<Places> {
        Ok(Places { data_dir: self.data_dir.clone(), cache: cache()? })
    }

    /// Opens the data set that a configuration names, packing it into the cache if it is not packed yet.
    pub(crate) fn open(&self, config: &DataConfig, quiet: bool) -> Result<Dataset> {
        let places = self.places()?;
        packing(&config.source, quiet, |progress| poiesis::data::open(config, &places, progress))
    }

    /// Opens the data of a run, at `source` if they have moved.
    pub(crate) fn of_run(&self, trained: &Trained, source: Option<&str>) -> Result<Dataset> {
        if trained.spec.task().is_ok() {
            let what = format!("{} is the run of an agent, which has no data set", trained.info.id);
            return Err(failure(what, "give the run of a model of images"));
        }
        let places = self.places()?;
        let name = source.unwrap_or(&trained.config.data.source);
        packing(name, false, |progress| trained.dataset(source, &places, progress))
    }

    /// The flags that are needed to find a run's data again; none for a path, built-in data, or no data.
    pub(crate) fn flags(&self, source: &str) -> String {
        let found = source.is_empty() || Path::new(source).exists() || builtin(source).is_some();
        if found || self.data_dir == Path::new("data") {
            return String::new();
        }
        format!(" --data-dir {}", quoted(&self.data_dir.display().to_string()))
    }
}

/// Shows the progress of packing.
fn packing(
    source: &str,
    quiet: bool,
    open: impl FnOnce(&(dyn Fn(Progress) + Sync)) -> poiesis::Result<Dataset>,
) -> Result<Dataset> {
    let meter = Meter::new(&format!("packing {}", short_name(source)), "examples", None, quiet);
    let packed = AtomicBool::new(false);
    let dataset = open(&|progress| {
        packed.store(true, Ordering::Relaxed);
        meter.at(progress.done, progress.total);
    });
    meter.end();
    let dataset = dataset?;
    if packed.into_inner() && !quiet {
        let size: u64 = fs::read_dir(dataset.folder()).map_or(0, |files| {
            files.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
        });
        let place = dataset.folder().display();
        note(&format!(
            "packed into {place}, {}; `{} cache` lists and clears these",
            in_bytes(size),
            program()
        ));
    }
    Ok(dataset)
}

/// The folder into which raw sources are packed: `POIESIS_CACHE`, or the cache folder of this system.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("POIESIS_CACHE").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    match directories::ProjectDirs::from("", "", "poiesis") {
        Some(folders) => Ok(folders.cache_dir().join("data")),
        None => bail!("this system names no folder for caches; set POIESIS_CACHE to one"),
    }
}

/// What is made of the images of a source.
#[derive(Clone, Copy)]
pub(crate) enum Made {
    /// Colour images of three grey ones each.
    Stacked,
    /// Scenes with some of them.
    Scattered,
}

impl Made {
    /// The option that asks for it.
    fn option(self) -> &'static str {
        match self {
            Made::Stacked => "stack",
            Made::Scattered => "scatter",
        }
    }
}

/// Packs the images of a source into the folder `cache`, unless they are packed already, and makes other images of them.
pub(crate) fn made_of(
    made: Made,
    source: &str,
    cache: &Path,
    out: &Path,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> poiesis_collect::Result<Report> {
    let usual = Options::default();
    let mut source_options = Options { count: None, seed: 0, name: None, licence: None, ..options.clone() };
    // The size of scenes is not that of the images on them.
    if let Made::Scattered = made {
        source_options = Options { size: None, objects: None, ..source_options };
    }
    let images = match Dataset::open(Path::new(source)) {
        Ok(_) if (Options { limits: usual.limits, ..source_options.clone() }) != usual => {
            return Err(poiesis_collect::Error::BadOption {
                option: made.option(),
                value: source.to_owned(),
                reason: "it is packed already: how its images are prepared cannot change",
                remedy: "leave out the other options, or give the images themselves",
            });
        }
        Ok(packed) => packed,
        Err(_) => open_or_collect(source, &source_options, cache, progress)?,
    };
    match made {
        Made::Stacked => stack(&images, out, options, progress),
        Made::Scattered => scatter(&images, out, options, progress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_need_the_folder_of_data_sets() {
        let flags = |source: &str, folder: &str| DataDir { data_dir: folder.into() }.flags(source);
        assert_eq!(flags("mnist", "/my/sets"), " --data-dir /my/sets");
        assert_eq!(flags("mnist", "my sets"), " --data-dir 'my sets'");
        assert_eq!(flags("mnist", "data"), "");
        assert_eq!(flags("shapes", "/my/sets"), "");
        assert_eq!(flags("/", "/my/sets"), "");
    }
}
