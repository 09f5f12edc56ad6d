//! `poiesis train`: trains a model.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use poiesis::config::{Choice, RunConfig};
use poiesis::run::Parent;
use poiesis::train::{self, Epochs, Existing, InitialWeights, Request, Stop};
use poiesis::{Error, catalogue};
use poiesis_collect::{Dataset, Kind, Split};
use serde_json::json;

use super::dry_run::dry_run;
use super::ending::{NextSteps, conclude, held_out};
use super::learned::opened_line;
use super::settings::{InitialStep, Ready, epochs};
use crate::args::DataDir;
use crate::data::{Opened, is_agent};
use crate::render::{count, error, error_with_hint, facts, note, result, shape};
use crate::signals;
use crate::watch::{Show, Watch};

/// Train a model; running it again with the same --out continues it
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis train dcgan
      the first recipe of the model, on built-in data
  poiesis train vae --recipe mnist
      another recipe, on a data set that `poiesis fetch mnist` has downloaded
  poiesis train vae --data photos/
      your own images: what is not given is chosen from them and from the speed of this machine
  poiesis train dcgan --data photos/ --size 64 --steps 20000
      the same with a size and a number of steps of your own
  poiesis train vae --recipe mnist --set kl_weight=4 --seed 1 --out runs/beta4
      a recipe with a value changed
  poiesis train improved-gan --data photos/ --size 32 --set body=conv --labels few.csv
      a classifier from a few labelled images among many without a label
  poiesis train improved-gan --recipe mnist100 --labels-per-class 5
      the same with labels drawn from those of the data
  poiesis train ppo --env cartpole
      an agent in an environment; `poiesis envs` lists them
  poiesis train vime --env mountain-car-sparse --steps 200 --envs 16
      with curiosity, where rewards are rare; 16 environments are stepped together
  poiesis train gail --env hopper --demos data/hopper-expert
      from what an expert did, recorded by `poiesis record` or collected from files
  poiesis train ppo --env 'python gymnasium_env.py LunarLander-v3'
      in a program of your own; docs/agents.md shows how
  poiesis train vae --data faces/ --init-from runs/vae-photos --set optimizer.learning_rate=1e-4
      fine-tuning: from the weights of another run, with its size and settings; the number of steps is chosen
  poiesis train transformer --data book.txt --epochs 20 --until-no-better 5
      until five evaluations on held-out text in a row were no better; `sample RUN --best` uses the best
  poiesis train dcgan --recipe emoji64 --dry-run
      every setting and where it comes from, the number of parameters and the time it would take

Values are taken from the model's defaults, then the run of --init-from, then the recipe or --config, then --set, then
other flags.
With --data or --init-from and without a recipe or --config, settings that suit the data take the place of the model's
defaults, and steps are chosen so that training takes a few minutes on this machine. They are shown with their reasons and
kept in the run. --paper-defaults keeps the model's defaults, which are those of its paper.
--dry-run reports all that is wrong at once; raw data are packed into the cache, as for training.
Ctrl-C once finishes the step, saves and prints the command that continues; pressed again after a
second, it stops at once without saving.")]
pub(crate) struct Train {
    /// The model to train; `poiesis models` lists them.
    pub(super) model: String,
    /// Recipe to use; `poiesis recipes MODEL` lists them [default: the first; with --data, --demos or --init-from none, with
    /// --env that of the environment].
    #[arg(long, value_name = "NAME")]
    pub(super) recipe: Option<String>,
    /// Read settings from this TOML file instead of a recipe.
    #[arg(long, value_name = "FILE", conflicts_with = "recipe")]
    pub(super) config: Option<PathBuf>,
    /// Packed data set, raw source (folder, archive, data file), built-in name or name below --data-dir.
    #[arg(long, value_name = "SOURCE")]
    pub(super) data: Option<String>,
    /// Agents: environment to act in, a name that `poiesis envs` lists or the command of a program.
    #[arg(long, value_name = "ENV")]
    pub(super) env: Option<String>,
    /// Agents: environments that are stepped together [default: 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(super) envs: Option<u32>,
    /// Agents that imitate: what an expert did, as a data set that `record` or `collect` wrote, or as files.
    #[arg(long, value_name = "DATA")]
    pub(super) demos: Option<String>,
    /// Height and width to resize raw images to, in pixels [default: that of the images, or a smaller one that is chosen].
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub(super) size: Option<u32>,
    /// Channels of raw images: 1 grey, 3 RGB, 4 RGBA.
    #[arg(long, value_name = "N")]
    pub(super) channels: Option<u8>,
    /// CSV of the raw images that have a class: a file and its class on each line, in UTF-8; all others have none.
    #[arg(long, value_name = "FILE")]
    pub(super) labels: Option<PathBuf>,
    /// Labels of each class that a model of few labels learns from, drawn by the seed; 0 for all [default: 0].
    #[arg(long, value_name = "N")]
    pub(super) labels_per_class: Option<u32>,
    /// Start from the weights of this run of the same model (averaged ones, where it kept them), with its model settings and the size
    /// of its data, and without --data on the same data.
    #[arg(long, value_name = "RUN")]
    pub(super) init_from: Option<PathBuf>,
    /// Step of the checkpoint to start from, or `best` [default: the newest].
    #[arg(long, value_name = "N|best", requires = "init_from")]
    pub(super) init_step: Option<InitialStep>,
    /// Folder of the run [default: runs/MODEL-DATA, with --init-from runs/MODEL-DATA-from-RUN].
    #[arg(long, short, value_name = "FOLDER")]
    pub(super) out: Option<PathBuf>,
    /// Total number of steps [default: that of the recipe; with --data or --init-from as many as take a few minutes].
    #[arg(long, value_name = "N", value_parser = crate::parse::steps)]
    pub(super) steps: Option<u32>,
    /// How often the train split is read, instead of a number of steps; can be a fraction.
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = epochs)]
    pub(super) epochs: Option<f64>,
    /// End early after N evaluations on held-out examples in a row without a better value; one is made with each checkpoint
    /// [default: 0, never].
    #[arg(long, value_name = "N")]
    pub(super) until_no_better: Option<u32>,
    /// Examples in a batch.
    #[arg(long, value_name = "N")]
    pub(super) batch_size: Option<u32>,
    /// Seed of all random numbers.
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u32>,
    /// Steps between checkpoints.
    #[arg(long, value_name = "N")]
    pub(super) checkpoint_every: Option<u32>,
    /// Take what is not given from the model's published settings, instead of choosing what suits the data and the machine.
    #[arg(long)]
    pub(super) paper_defaults: bool,
    /// Change any setting; can be given several times. The section can be left out where the key is unambiguous.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Device: `cpu`, or in a build with that feature `vulkan` for a GPU and `vulkan:1` for the second one.
    #[arg(long, value_name = "DEVICE")]
    pub(super) device: Option<String>,
    /// Rename an existing run to NAME.old-1 (the first free number) and start over.
    #[arg(long)]
    pub(super) new: bool,
    /// Check everything, show every setting with its origin, and estimate the time from a few steps, without making a run.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) how: How,
}

/// What `train` and `resume` share: data, memory and output.
#[derive(Args, Debug)]
pub(crate) struct How {
    #[command(flatten)]
    pub(crate) data_dir: DataDir,
    /// Print events as JSON, one object per line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only warnings and errors.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Train even if there may not be enough memory.
    #[arg(long)]
    pub(super) ignore_memory: bool,
}

impl How {
    /// Whether progress is hidden.
    pub(crate) fn hidden(&self) -> bool {
        self.json || self.quiet
    }

    fn show(&self) -> Show {
        match (self.json, self.quiet) {
            (true, _) => Show::Json,
            (_, true) => Show::Quiet,
            _ => Show::Progress,
        }
    }
}

impl Train {
    pub(crate) fn run(self) -> Result<()> {
        let mut settings = self.settings()?;
        let existing = if self.new { Existing::SetAside } else { Existing::Resume };
        if self.dry_run {
            return dry_run(&mut settings, existing, &self.how);
        }
        all_of(std::mem::take(&mut settings.faults))?;
        let out = settings.out.clone();
        // Packing the data can take long, so whether the run can be written is found out before.
        let place = if out.is_dir() { out.join("run.json") } else { out.clone() };
        poiesis::atomic::expect_writable(&place)
            .with_context(|| format!("cannot write the run {}", out.display()))?;
        let Ready { config, opened, epochs } = settings.open(existing, &self.how)?;
        self.mention_recipe(settings.entry);
        settings.chosen.tell(&self.how)?;
        let chosen = settings.chosen.all;
        let job = Job { out, config, initial: settings.initial, epochs, chosen, existing };
        train(job, &opened, &self.how, anyhow::Error::from)
    }
}

/// A run to train, once its data are opened.
pub(super) struct Job {
    pub(super) out: PathBuf,
    pub(super) config: RunConfig,
    /// The weights to start from.
    pub(super) initial: Option<InitialWeights>,
    /// What the number of steps was computed from.
    pub(super) epochs: Option<Epochs>,
    /// What was chosen from the data.
    pub(super) chosen: Vec<Choice>,
    pub(super) existing: Existing,
}

/// Shows all errors but the last, which is returned.
pub(super) fn all_of(mut faults: Vec<anyhow::Error>) -> Result<()> {
    let last = faults.pop();
    faults.iter().for_each(error);
    last.map_or(Ok(()), Err)
}

/// The request that the command line makes.
pub(super) fn request(job: Job, opened: &Opened, how: &How) -> Result<Request> {
    Ok(Request {
        out: job.out,
        config: job.config,
        data: opened.training_data()?,
        initial: job.initial,
        chosen: job.chosen,
        existing: job.existing,
        command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        ignore_memory: how.ignore_memory,
    })
}

/// Trains, showing progress and what to do next. `explained` makes the error of the library one that says what to do about it here.
pub(super) fn train(
    job: Job,
    opened: &Opened,
    how: &How,
    explained: impl FnOnce(Error) -> anyhow::Error,
) -> Result<()> {
    let show = how.show();
    let mut watch = Watch::new(show);
    let (config, out) = (&job.config, job.out.clone());
    let steps = config.train.steps;
    let entry = catalogue::find(&config.model)?;
    let kind = if is_agent(entry) { "environment" } else { "data" };
    if show == Show::Progress {
        let mut lines = vec![("model     ", config.model.clone()), (kind, opened_line(opened))];
        lines.extend(job.initial.as_ref().map(|initial| ("starts from", parent_line(initial.parent()))));
        lines.extend(job.epochs.as_ref().map(|epochs| ("steps", epochs_line(epochs))));
        lines.push(("run", out.display().to_string()));
        note(facts(&lines).trim_end());
    }
    let next = match opened {
        Opened::Dataset(dataset) => NextSteps {
            entry,
            of_images: dataset.card().kind == Kind::Images,
            held_out: held_out(|split| dataset.card().count(split) > 0),
            drawn: false,
            flags: how.data_dir.flags(&config.data.source),
        },
        Opened::Experience(experience) => NextSteps {
            entry,
            of_images: false,
            held_out: None,
            // Programs draw nothing.
            drawn: poiesis_envs::list().iter().any(|listed| listed.name == experience.environment.name()),
            flags: how.data_dir.flags(&config.data.demonstrations),
        },
    };
    let request = request(job, opened, how)?;
    let stop = Arc::new(Stop::default());
    stop_on_signals(&stop)?;
    let outcome = train::train(request, &stop, &mut |event| watch.see(&event));
    watch.end();
    match outcome {
        Ok(outcome) => conclude(&out, &outcome, &next, steps, &watch, how.show()),
        Err(error) => {
            let error = explained(error);
            if show == Show::Json {
                let (reason, hint) = error_with_hint(&error);
                let event = json!({ "event": "failed", "reason": reason, "hint": hint });
                result(&format!("{event}\n"))?;
            }
            Err(error)
        }
    }
}

/// Lets the first Ctrl-C (or SIGTERM) finish the step and save, and the second end at once.
fn stop_on_signals(stop: &Arc<Stop>) -> Result<()> {
    let stop = Arc::clone(stop);
    signals::on_first(move || {
        stop.request();
        note(
            "\nfinishing the step and saving; press Ctrl-C again after a second to stop at once, without saving",
        );
    })
}

/// Where initial weights are from, in one line.
pub(super) fn parent_line(parent: &Parent) -> String {
    let Parent { run, step, weights, fingerprint } = parent;
    let short: String = fingerprint.chars().take(12).collect();
    format!("{run}, step {}, {weights} weights, fingerprint {short}…", count(*step))
}

/// What a number of steps was computed from, in one line: `2,344: 3 epochs of 50,000 images, 64 a step`.
pub(super) fn epochs_line(epochs: &Epochs) -> String {
    let Epochs { epochs: number, examples, step } = epochs;
    let times = if *number == 1.0 { "epoch" } else { "epochs" };
    let (steps, all, each) = (count(epochs.steps()), count(examples.count), count(step.count));
    format!("{steps}: {number} {times} of {all} {}, {each} a step", examples.unit)
}

/// A data set in one line.
pub(crate) fn data_line(dataset: &Dataset) -> String {
    let card = dataset.card();
    let splits: Vec<String> = Split::ALL
        .into_iter()
        .filter(|&split| card.count(split) > 0)
        .map(|split| format!("{} {split}", count((card.count(split) as u64).max(card.elements(split)))))
        .collect();
    let classes = match card.classes.len() {
        0 => String::new(),
        number => format!("; {number} classes"),
    };
    let form = match (&card.text, &card.sound) {
        (Some(text), _) => format!("text of {} different tokens", count(text.vocabulary.len() as u64)),
        (_, Some(sound)) => format!("sound, {} Hz", count(u64::from(sound.sample_rate))),
        _ => shape(&card.shape),
    };
    format!("{}: {}; {form}{classes}", card.name, splits.join(", "))
}

#[cfg(test)]
mod tests {
    use poiesis::data::Amount;

    use super::*;

    #[test]
    fn what_a_run_starts_from_and_how_long_it_is_are_said_in_a_line() {
        let parent = Parent {
            run: "/runs/a".into(),
            step: 5000,
            weights: "averaged".into(),
            fingerprint: "0123456789abcdef".into(),
        };
        let said = "/runs/a, step 5,000, averaged weights, fingerprint 0123456789ab…";
        assert_eq!(parent_line(&parent), said);
        let amount = |count| Amount { count, unit: "images" };
        let epochs = Epochs { epochs: 3.0, examples: amount(50_000), step: amount(64) };
        assert_eq!(epochs_line(&epochs), "2,344: 3 epochs of 50,000 images, 64 a step");
        let epochs = Epochs { epochs: 1.0, examples: amount(100), step: amount(8) };
        assert_eq!(epochs_line(&epochs), "13: 1 epoch of 100 images, 8 a step");
    }
}
