//! `poiesis resume`: a run goes on where it was.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::config::RunConfig;
use poiesis::run::Run;
use poiesis::train::Existing;

use super::train::{How, train};
use crate::data;

/// Go on with a run that was stopped or killed
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis resume runs/dcgan-shapes
  poiesis resume runs/dcgan-photos --data /new/place/photos     the data have moved

The run's own configuration is used; `poiesis train … --out RUN` with the same settings does the same.")]
pub(crate) struct Resume {
    /// Folder of the run.
    run: PathBuf,
    /// Where the data are now, if not where they were.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// Where to compute [default: as before].
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    #[command(flatten)]
    how: How,
}

impl Resume {
    pub(crate) fn run(self) -> Result<()> {
        let mut config = RunConfig::from_toml(&Run::open(&self.run)?.config()?)?;
        let source = self.data.clone().unwrap_or_else(|| config.data.source.clone());
        let dataset =
            data::open_source(&source, &config.data, &self.how.data_dir.data_dir, self.how.hidden())?;
        if let Some(device) = self.device {
            config.device = device;
        }
        train(&self.run, config, &dataset, Existing::Resume, &self.how)
    }
}
