//! `poiesis features`: trains the feature network of a data set.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use poiesis::config::DataConfig;
use poiesis::device::device;
use poiesis::features::{FeatureNetwork as _, OwnNetwork, Task, train_network};
use poiesis::run::Run;
use poiesis::{Error, Trained};
use poiesis_collect::{Dataset, Split};
use serde_json::json;

use super::export::unprepared;
use crate::args::DataDir;
use crate::render::{Meter, can_draw, count, facts, failure, in_json, json, note, number, result};

/// Train the feature network of a data set, in which evaluate compares images
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis features shapes
  poiesis features cifar10
  poiesis features data/photos --json
  poiesis features runs/vae-photos                     the data of a run, prepared as for the run
  poiesis features data/photos --again --seed 1        instead of the one that is there

A small convolutional network learns the classes of the training images or, where they have none, to predict rotations by \
quarter turns. It is kept with the packed data, and evaluate then measures the Fréchet and the kernel distance, \
precision, recall, density and coverage in its features; their names say so, as they are comparable only with the same \
network. It takes a minute or two and gives the same network for the same data and seed.

Shown are its accuracy on held-out images, and how the Fréchet distance from real images reacts to blur, to noise, to \
missing kinds of images and to duplicates. A network that does not notice missing kinds is refused.")]
pub(crate) struct Features {
    /// Packed data set, raw source (folder, archive, data file), built-in name or name below --data-dir; or a run, for its data.
    #[arg(value_name = "DATA|RUN")]
    data: String,
    /// Seed of weights and batches.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Train it again and replace the one that is there.
    #[arg(long)]
    again: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data_dir: DataDir,
}

impl Features {
    pub(crate) fn run(self) -> Result<()> {
        let dataset = self.dataset()?;
        let there = if self.again { None } else { OwnNetwork::open(&dataset, &device("cpu")?)? };
        let network = match there {
            Some(network) => {
                note("trained before; --again trains another");
                network
            }
            None => self.train(&dataset)?,
        };
        if self.json {
            let path = in_json(&OwnNetwork::path(&dataset));
            return json(&json!({ "name": network.name(), "path": path, "info": network.info() }));
        }
        result(&shown(&network, &dataset))
    }

    fn dataset(&self) -> Result<Dataset> {
        if Run::exists(Path::new(&self.data)) {
            return self.data_dir.of_run(&Trained::open(&self.data)?, None);
        }
        // A raw source is prepared with the default options.
        let config = DataConfig { source: self.data.clone(), ..DataConfig::default() };
        self.data_dir.open(&config, self.json).map_err(|error| unprepared(error, &self.data))
    }

    fn train(&self, dataset: &Dataset) -> Result<OwnNetwork> {
        let told = |line: String| {
            if !self.json {
                note(&line);
            }
        };
        let card = dataset.card();
        let images = count(card.count(Split::Train) as u64);
        told(format!("training a network on the {images} images of {}, then measuring it", card.name));
        let meter = Meter::new("training features", "steps", None, self.json);
        let network = train_network(dataset, self.seed, &mut |done, all| {
            meter.at(done, Some(all));
            // On a terminal the whole bar stays until it is measured.
            if done == all && !can_draw() {
                told("measuring how the distance in its features reacts".to_owned());
            }
        });
        meter.end();
        network.map_err(|error| match &error {
            Error::NotComparable { .. } => failure(
                error.to_string(),
                format!(
                    "{} (poiesis evaluate RUN --inception-weights FILE)",
                    error.hint().unwrap_or_default()
                ),
            ),
            _ => error.into(),
        })
    }
}

fn shown(network: &OwnNetwork, dataset: &Dataset) -> String {
    let found = network.info();
    let learned = match found.task {
        Task::Classes => format!("{} classes", count(found.outputs as u64)),
        Task::Rotations => "rotations by quarter turns, as most images have no class".to_owned(),
    };
    let distances = &found.sensitivity;
    let reactions = format!(
        "{} real images (floor), {} with blur, {} with noise, {} with duplicates, {} without {} of images",
        number(distances.floor),
        number(distances.blur),
        number(distances.noise),
        number(distances.duplicates),
        number(distances.dropped),
        match distances.dropped_kinds {
            1 => "a kind".to_owned(),
            kinds => format!("{} kinds", count(kinds as u64)),
        },
    );
    facts(&[
        ("name", network.name().to_owned()),
        (
            "learned",
            format!("{learned}, from {} images in {} steps", count(found.images as u64), count(found.steps)),
        ),
        (
            "accuracy",
            format!("{:.1} % of {} held-out images", found.accuracy * 100.0, count(found.held_out as u64)),
        ),
        ("Fréchet distance", format!("{reactions}; {} images each", count(distances.images as u64))),
        ("kept in", OwnNetwork::path(dataset).display().to_string()),
    ])
}
