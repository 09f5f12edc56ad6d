//! `poiesis discover`: shows what a model has learned. One file for each verb.

mod attribute;
mod clusters;
mod directions;
mod embed;
mod factors;
mod interpolate;
mod manifold;
mod neighbors;
mod objects;
mod probe;
mod states;
mod traverse;

use anyhow::Result;
use clap::{Args, Subcommand};
use poiesis::Trained;
use poiesis::data::Places;
use poiesis::evaluate::NeighbourStatistics;
use poiesis_collect::Dataset;

use crate::args::{DataDir, class_of, how_to_condition};
use crate::render::{failure, number};

/// Show what a model has learned: directions, attributes, maps, clusters, factors, features, objects, nearest training images, visited
/// states
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover interpolate runs/vae-shapes --rows 4
  poiesis discover traverse runs/vae-shapes --dims 0,3,7
  poiesis discover directions runs/dcgan-shapes
  poiesis discover attribute runs/vae-faces --with smiling/ --without serious/ --out smile.json
  poiesis discover embed runs/vae-mnist --thumbnails
  poiesis discover clusters runs/infogan-mnist --method code
  poiesis discover factors runs/infogan-shapes runs/vae-shapes
  poiesis discover probe runs/dcgan-mnist
  poiesis discover neighbors runs/dcgan-shapes --count 16
  poiesis discover objects runs/air-scenes
  poiesis discover states runs/vime-mountain-car-sparse --against random")]
pub(crate) struct Discover {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Interpolate(interpolate::Interpolate),
    Traverse(traverse::Traverse),
    Manifold(manifold::Manifold),
    Directions(directions::Directions),
    Attribute(attribute::Attribute),
    Embed(embed::Embed),
    Clusters(clusters::Clusters),
    Factors(factors::Factors),
    Probe(probe::Probe),
    Neighbors(neighbors::Neighbors),
    Objects(objects::Objects),
    States(states::StatesVerb),
}

impl Discover {
    pub(crate) fn run(self) -> Result<()> {
        match self.verb {
            Verb::Interpolate(verb) => verb.run(),
            Verb::Traverse(verb) => verb.run(),
            Verb::Manifold(verb) => verb.run(),
            Verb::Directions(verb) => verb.run(),
            Verb::Attribute(verb) => verb.run(),
            Verb::Embed(verb) => verb.run(),
            Verb::Clusters(verb) => verb.run(),
            Verb::Factors(verb) => verb.run(),
            Verb::Probe(verb) => verb.run(),
            Verb::Neighbors(verb) => verb.run(),
            Verb::Objects(verb) => verb.run(),
            Verb::States(verb) => verb.run(),
        }
    }
}

/// The class that was asked for; refused for a model that is not conditioned on classes.
pub(crate) fn expect_class(trained: &Trained, class: Option<&str>) -> Result<Option<u32>> {
    if class.is_some() && trained.num_classes() == 0 {
        let (run, model) = (&trained.info.id, trained.entry.name());
        let how = how_to_condition(trained).map(|how| format!("; {how}")).unwrap_or_default();
        return Err(failure(
            format!("--class cannot be given for {run}, a {model} that is not conditioned on classes"),
            format!("leave it out{how}"),
        ));
    }
    class_of(trained, class)
}

/// The verdict on copying, in words.
pub(crate) fn verdict(statistics: &NeighbourStatistics) -> String {
    format!(
        "samples are {} grey levels from their nearest training image, held-out images {}\n{} of {} samples are closer \
         than 99 % of the held-out images: {}",
        number(statistics.sample_distance),
        number(statistics.held_out_distance),
        statistics.near(),
        statistics.samples,
        statistics.verdict()
    )
}

/// The data that a run was trained on.
#[derive(Args, Clone, Debug)]
pub(crate) struct OfData {
    /// Where the run's data are now, if they have moved.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
}

impl OfData {
    /// Whether it says where the data are.
    pub(crate) fn is_given(&self) -> bool {
        self.data.is_some()
    }

    /// Where it says that the data are.
    pub(crate) fn source(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// The flags with which the data of the run are found again.
    pub(crate) fn flags(&self, trained: &Trained) -> String {
        self.data_dir.flags(&trained.config.data.source)
    }

    /// The folders for data on this machine.
    pub(crate) fn places(&self) -> Result<Places> {
        self.data_dir.places()
    }

    /// Opens the data and checks that they are those of the run.
    pub(crate) fn open(&self, trained: &Trained) -> Result<Dataset> {
        self.data_dir.of_run(trained, self.data.as_deref())
    }
}
