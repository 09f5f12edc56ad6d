//! The command line: one variant per verb, and the arguments that several verbs share.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Error, Result};
use clap::{Args, Parser, Subcommand};
use poiesis::generate::SamplingParams;
use poiesis::{Trained, Weights, catalogue};

use crate::commands::{
    animate, anomaly, cache, classify, collect, compare, complete,
    completions::{self, suggest},
    compress, decode, decompress, denoise, discover, doctor, edit, encode, envs, evaluate, export, features,
    fetch, inspect, man, models, play, read_table, recipes, reconstruct, record, resume, runs, sample, score,
    train,
};
use crate::render::{error_with_hint, failure};

/// Train generative models on your data and agents in environments, discover what they learned, and put them to work.
#[derive(Debug, Parser)]
#[command(name = "poiesis", version, propagate_version = true, max_term_width = 100)]
#[command(after_long_help = "Examples:
  poiesis collect photos/ data/photos                   pack a folder of your own
  poiesis train vae --data data/photos                  train on it, with settings chosen for it
  poiesis sample runs/vae-photos --seed 7               draw from what was learned
  poiesis reconstruct runs/vae-photos me.png            what the model keeps of an image
  poiesis evaluate runs/vae-photos                      measure it
  poiesis train dcgan                                   built-in data, a few minutes
  poiesis fetch mnist                                   a published data set
  poiesis train vae --recipe mnist                      a recipe that trains on it
  poiesis train ppo --env cartpole                      an agent in an environment
  poiesis play runs/ppo-cartpole --record cartpole.gif  see it act
  poiesis doctor                                        what this machine has, and what is wrong")]
pub(crate) struct Cli {
    /// Number of threads [default: one per core]. Results do not depend on it.
    #[arg(
        long,
        global = true,
        display_order = 900,
        value_name = "N",
        env = "POIESIS_THREADS",
        hide_env_values = true,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    threads: Option<u16>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Collect(collect::Collect),
    Fetch(fetch::Fetch),
    Inspect(inspect::Inspect),
    Export(export::Export),
    Train(train::Train),
    Resume(resume::Resume),
    Sample(sample::Sample),
    Complete(complete::Complete),
    Encode(encode::Encode),
    Decode(decode::Decode),
    Reconstruct(reconstruct::Reconstruct),
    Score(score::ScoreVerb),
    Edit(edit::Edit),
    Denoise(denoise::Denoise),
    Compress(compress::Compress),
    Decompress(decompress::Decompress),
    Discover(discover::Discover),
    Evaluate(evaluate::Evaluate),
    Compare(compare::Compare),
    Classify(classify::Classify),
    Anomaly(anomaly::Anomaly),
    Features(features::Features),
    Play(play::Play),
    Record(record::Record),
    Animate(animate::Animate),
    Runs(runs::Runs),
    Models(models::Models),
    Recipes(recipes::Recipes),
    Envs(envs::Envs),
    Cache(cache::Cache),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Man(man::Man),
    #[command(hide = true)]
    ReadTable(read_table::ReadTable),
    #[command(hide = true)]
    Suggest(suggest::Suggest),
}

impl Cli {
    /// Runs the command; the exit status is 0, unless the command has something to say by it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        // A table is read by one thread, whose memory is limited.
        if let Some(threads) = self.threads.filter(|_| !matches!(self.command, Command::ReadTable(_))) {
            rayon::ThreadPoolBuilder::new()
                .num_threads(usize::from(threads))
                .build_global()
                .with_context(|| format!("cannot start {threads} threads; give a smaller --threads"))?;
        }
        let done = match self.command {
            Command::Anomaly(command) => return command.run(),
            Command::Fetch(command) => return command.run(),
            Command::Doctor(command) => return command.run(),
            Command::Collect(command) => command.run(),
            Command::Inspect(command) => command.run(),
            Command::Export(command) => command.run(),
            Command::Train(command) => command.run(),
            Command::Resume(command) => command.run(),
            Command::Sample(command) => command.run(),
            Command::Complete(command) => command.run(),
            Command::Encode(command) => command.run(),
            Command::Decode(command) => command.run(),
            Command::Reconstruct(command) => command.run(),
            Command::Score(command) => command.run(),
            Command::Edit(command) => command.run(),
            Command::Denoise(command) => command.run(),
            Command::Compress(command) => command.run(),
            Command::Decompress(command) => command.run(),
            Command::Discover(command) => command.run(),
            Command::Evaluate(command) => command.run(),
            Command::Compare(command) => command.run(),
            Command::Classify(command) => command.run(),
            Command::Features(command) => command.run(),
            Command::Play(command) => command.run(),
            Command::Record(command) => command.run(),
            Command::Animate(command) => command.run(),
            Command::Runs(command) => command.run(),
            Command::Models(command) => command.run(),
            Command::Recipes(command) => command.run(),
            Command::Envs(command) => command.run(),
            Command::Cache(command) => command.run(),
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
            Command::ReadTable(command) => command.run(),
            Command::Suggest(command) => command.run(),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// The folder of data sets.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataDir {
    /// Folder in which data sets are looked up by name, such as `mnist`, `fashion-mnist`, `binarized-mnist`,
    /// `noto-emoji`, `cifar10`, `tinyshakespeare`, `names`, `novels` and `fsdd`; `poiesis fetch` downloads these into it.
    #[arg(long, value_name = "FOLDER", env = "POIESIS_DATA", default_value = "data", hide_env_values = true)]
    pub(crate) data_dir: PathBuf,
}

/// The trained model to use.
#[derive(Args, Clone, Debug)]
pub(crate) struct OfRun {
    /// Folder of the run.
    pub(crate) run: PathBuf,
    #[command(flatten)]
    which: WhichWeights,
}

impl OfRun {
    /// Opens the model and prints which checkpoints were skipped.
    pub(crate) fn open(&self) -> Result<Trained> {
        self.which.open(&self.run)
    }

    /// The weights to use of it, and of another run that it is shown beside.
    pub(crate) fn which(&self) -> &WhichWeights {
        &self.which
    }
}

/// The weights of a run to use, and the device.
#[derive(Args, Clone, Debug)]
pub(crate) struct WhichWeights {
    /// Use the checkpoint of this step [default: the newest].
    #[arg(long, value_name = "N")]
    step: Option<u64>,
    /// Use the checkpoint with the best value of what training measures on held-out examples.
    #[arg(long, conflicts_with = "step")]
    best: bool,
    /// Use the trained weights, not their moving averages.
    #[arg(long)]
    raw: bool,
    /// Device: `cpu`, or in a build with that feature `vulkan` for a GPU and `vulkan:1` for the second one.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
}

impl WhichWeights {
    /// The flags that choose weights, and whether they were given.
    pub(crate) fn given(&self) -> [(&'static str, bool); 3] {
        [("--step", self.step.is_some()), ("--best", self.best), ("--raw", self.raw)]
    }

    /// Opens the model of a run and prints which checkpoints were skipped.
    pub(crate) fn open(&self, run: &Path) -> Result<Trained> {
        let mut open = Trained::builder().device(&self.device);
        if let Some(step) = self.step {
            open = open.step(step);
        }
        if self.best {
            open = open.best();
        }
        if self.raw {
            open = open.weights(Weights::Raw);
        }
        let trained = open.open(run)?;
        for note in &trained.notes {
            crate::render::note(&format!("note: {note}"));
        }
        Ok(trained)
    }
}

/// The class that was asked for. Where a model knows none, there is a number, which is then refused together with what else the model
/// does not accept.
pub(crate) fn class_of(trained: &Trained, class: Option<&str>) -> Result<Option<u32>> {
    match class {
        Some(_) if trained.num_classes() == 0 => Ok(Some(0)),
        class => Ok(class.map(|class| trained.class(class)).transpose()?),
    }
}

/// How to train a model that takes a class on the data of one that takes none; `None` where the data have no classes, or the model has no
/// setting for it.
pub(crate) fn how_to_condition(trained: &Trained) -> Option<String> {
    let classes = !trained.info.data.classes.is_empty() && trained.num_classes() == 0;
    let key = catalogue::conditional_key(trained.entry).filter(|_| classes)?;
    Some(format!("a model that takes a class is trained with --set {key}=true"))
}

/// An error that says how to train a model that takes a class, where one was refused because this one takes none.
pub(crate) fn with_condition(error: Error, trained: &Trained) -> Error {
    let refused = matches!(
        error.downcast_ref(),
        Some(poiesis::Error::NotAccepted { what, .. }) if what.split(", ").any(|part| part == "class")
    );
    match how_to_condition(trained).filter(|_| refused) {
        Some(how) => {
            let (said, hint) = error_with_hint(&error);
            failure(said, format!("{}; {how}", hint.unwrap_or_default()))
        }
        None => error,
    }
}

/// Sampling parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct Chosen {
    /// Sampling temperature; below 1 favours likely values, 0 always takes the likeliest [default: 1].
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Sample among this many of the likeliest values [default: all].
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Sample among the fewest likeliest values that together have this probability [default: 1].
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
}

impl Chosen {
    pub(crate) fn params(&self) -> SamplingParams {
        let Chosen { temperature, top_k, top_p } = *self;
        SamplingParams { temperature, top_k, top_p, ..SamplingParams::default() }
    }
}

/// A picture to write.
#[derive(Args, Clone, Debug)]
pub(crate) struct Out {
    /// File to write [default: a new one in the current folder, named after the run].
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long)]
    pub(crate) force: bool,
    /// Enlarge pixels by this factor [default: small images are enlarged].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) scale: Option<u8>,
}
