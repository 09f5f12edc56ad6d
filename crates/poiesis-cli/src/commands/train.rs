//! `poiesis train`: trains a model.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use poiesis::abilities::Ability;
use poiesis::catalogue;
use poiesis::config::{Layer, Resolved, RunConfig, resolve};
use poiesis::data::{Content, DataSpec, ImageShape, open};
use poiesis::model::{Entry, Recipe};
use poiesis::run::{Run, State};
use poiesis::train::{self, Existing, Outcome, Request, Stop, TrainingData, sample_steps};
use poiesis_collect::{Dataset, Kind, Split};
use serde_json::json;

use crate::args::DataDir;
use crate::flags::{flag, hint};
use crate::render::{count, duration, facts, failure, json, note, program, result, shape, table};
use crate::watch::{Show, Watch, networks};

/// Train a model; running it again with the same --out continues it
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis train dcgan
      the first recipe of the model, on built-in data
  poiesis train vae --recipe mnist --data-dir ../shared/data
      another recipe, on a data set looked up by name
  poiesis train dcgan --data photos/ --size 64 --channels 3 --steps 5000
      the model's defaults on your own images
  poiesis train vae --recipe mnist --set kl_weight=4 --seed 1 --out runs/beta4
      a recipe with a value changed
  poiesis train dcgan --recipe emoji64 --dry-run
      every setting and where it comes from, and the number of parameters

Values are taken from the model's defaults, then the recipe or --config, then --set, then other flags.
Ctrl-C once finishes the step, saves and prints the command that continues; twice stops at once.")]
pub(crate) struct Train {
    /// The model to train; `poiesis models` lists them.
    model: String,
    /// Recipe to use; `poiesis recipes MODEL` lists them [default: the first, unless --data is given].
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,
    /// Read settings from this TOML file instead of a recipe.
    #[arg(long, value_name = "FILE", conflicts_with = "recipe")]
    config: Option<PathBuf>,
    /// Packed data set, raw source (folder, archive, data file), built-in name or name below --data-dir.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// Height and width to resize raw images to, in pixels.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=8192))]
    size: Option<u32>,
    /// Channels of raw images: 1 grey, 3 RGB, 4 RGBA.
    #[arg(long, value_name = "N")]
    channels: Option<u8>,
    /// Folder of the run [default: runs/MODEL-DATA].
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Total number of steps.
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Examples in a batch.
    #[arg(long, value_name = "N")]
    batch_size: Option<u32>,
    /// Seed of all random numbers.
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Steps between checkpoints.
    #[arg(long, value_name = "N")]
    checkpoint_every: Option<u32>,
    /// Change any setting; can be given several times. The section can be left out where the key is unambiguous.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Device: `cpu`, or in a build with that feature `vulkan` for a GPU and `vulkan:1` for the second one.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Rename an existing run to NAME.old-1 (the first free number) and start over.
    #[arg(long)]
    new: bool,
    /// Show every setting with its origin, and the size of the model, without training.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    how: How,
}

/// What `train` and `resume` share: data, memory and output.
#[derive(Args, Debug)]
pub(crate) struct How {
    #[command(flatten)]
    pub(crate) data_dir: DataDir,
    /// Print events as JSON, one object per line.
    #[arg(long)]
    json: bool,
    /// Print only warnings and errors.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Train even if there may not be enough memory.
    #[arg(long)]
    ignore_memory: bool,
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
        let entry = catalogue::find(&self.model)?;
        let recipe = self.recipe(entry)?;
        let resolved = resolve(&entry.defaults()?, &self.layers(entry, recipe)?)?;
        entry.check(&resolved.config)?;
        let out = self.out(entry, recipe, &resolved.config);
        if self.dry_run {
            return self.describe(entry, &resolved, &out);
        }
        let mut config = resolved.config;
        let dataset = self.how.data_dir.open(&config.data, self.how.hidden())?;
        config.data.source = open::lasting(&config.data.source);
        self.mention_recipe(entry);
        let existing = if self.new { Existing::SetAside } else { Existing::Resume };
        train(&out, config, &dataset, existing, &self.how)
    }

    /// The recipe to use: the one named, or the first when neither data nor a file is given.
    fn recipe(&self, entry: &'static dyn Entry) -> Result<Option<&'static Recipe>> {
        Ok(match &self.recipe {
            Some(name) if Path::new(name).is_file() => {
                let hint = format!("give the file with --config {name}");
                return Err(failure(
                    format!("`{name}` is a file, and --recipe takes the name of a recipe"),
                    hint,
                ));
            }
            Some(name) => Some(catalogue::find_recipe(entry, name)?),
            None if self.data.is_none() && self.config.is_none() => entry.about().recipes.first(),
            None => None,
        })
    }

    fn layers(&self, entry: &dyn Entry, recipe: Option<&Recipe>) -> Result<Vec<Layer>> {
        let mut layers = Vec::new();
        if let Some(recipe) = recipe {
            layers.push(Layer::parse(&format!("recipe {}/{}", entry.name(), recipe.name), recipe.toml)?);
        }
        if let Some(file) = &self.config {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the configuration {}", file.display()))?;
            layers.push(Layer::parse(&file.display().to_string(), &text)?);
        }
        for assignment in &self.set {
            layers.push(Layer::assignment("--set", assignment)?);
        }
        let numbers = [
            ("data.size", self.size),
            ("data.channels", self.channels.map(u32::from)),
            ("train.steps", self.steps),
            ("train.batch_size", self.batch_size),
            ("seed", self.seed),
            ("train.checkpoint_every", self.checkpoint_every),
        ];
        let words = [("data.source", &self.data), ("device", &self.device)];
        for (key, value) in numbers {
            layers.extend(value.map(|value| Layer::single(flag(key), key, i64::from(value))));
        }
        for (key, value) in words {
            layers.extend(value.clone().map(|value| Layer::single(flag(key), key, value)));
        }
        Ok(layers)
    }

    fn out(&self, entry: &dyn Entry, recipe: Option<&Recipe>, config: &RunConfig) -> PathBuf {
        let name = match recipe {
            Some(recipe) if self.data.is_none() => recipe.name.to_owned(),
            _ => open::short_name(&config.data.source),
        };
        let default = || Path::new("runs").join(format!("{}-{name}", entry.name()));
        self.out.clone().unwrap_or_else(default)
    }

    /// Prints a note when there is a recipe for the given data.
    fn mention_recipe(&self, entry: &dyn Entry) {
        let Some(source) = self.data.as_ref().filter(|_| self.recipe.is_none() && self.config.is_none())
        else {
            return;
        };
        if entry.about().recipes.iter().any(|recipe| recipe.name == source) && !self.how.hidden() {
            note(&format!("note: there is a recipe for these data: --recipe {source}"));
        }
    }

    /// Prints what would be done.
    fn describe(&self, entry: &dyn Entry, resolved: &Resolved, out: &Path) -> Result<()> {
        let config = &resolved.config;
        poiesis::device::device(&config.device)?;
        open::options(&config.data)?;
        let known = open::expected_shape(&config.data, &self.how.data_dir.data_dir);
        let parameters = match known {
            Some(shape) => {
                let content = Content::Images(ImageShape::from_slice(&shape)?);
                let spec = DataSpec { content, classes: 0 };
                catalogue::expect_media(entry, &spec)?;
                Some(entry.parameters(config, &spec)?)
            }
            None => None,
        };
        let samples = sample_steps(&config.train);
        if self.how.json {
            let settings = resolved.origins.iter().map(
                |(key, value, origin)| json!({ "key": key, "value": from_toml(value), "origin": origin }),
            );
            let parameters = parameters.map(|parts| {
                parts.into_iter().map(|(name, size)| (name, json!(size))).collect::<serde_json::Value>()
            });
            return json(&json!({
                "model": entry.name(), "run": out, "shape": known, "parameters": parameters,
                "sample_steps": samples, "settings": settings.collect::<Vec<_>>(),
            }));
        }
        let unknown = || "unknown until the data are packed; give --size and --channels".to_owned();
        let about = entry.about();
        let paper = about.paper;
        let head = facts(&[
            ("model", format!("{}  {}", about.name, about.summary)),
            ("paper", format!("{} ({} {}, arXiv:{})", paper.title, paper.authors, paper.year, paper.arxiv)),
            (
                "data",
                match known {
                    Some(known) => format!("{}, {}", config.data.source, shape(&known)),
                    None => config.data.source.clone(),
                },
            ),
            ("parameters", parameters.map_or_else(unknown, |parts| networks(&parts))),
            ("samples", format!("{} at steps {}", config.train.sample_count, first_and_last(&samples))),
            (
                "run",
                match Run::exists(out) && !self.new {
                    true => format!("{} exists: it would be continued", out.display()),
                    false => out.display().to_string(),
                },
            ),
        ]);
        let rows: Vec<Vec<String>> = resolved
            .origins
            .iter()
            .map(|(key, value, origin)| vec![key.clone(), value.clone(), origin.clone()])
            .collect();
        result(&format!("{head}\n{}", table(&["SETTING", "VALUE", "FROM"], &rows)))
    }
}

/// A value written as TOML, for JSON.
fn from_toml(value: &str) -> serde_json::Value {
    let table: Option<toml::Table> = format!("value = {value}").parse().ok();
    json!(table.and_then(|mut table| table.remove("value")))
}

/// The first numbers of a schedule, and the last.
fn first_and_last(steps: &[u64]) -> String {
    let text = |steps: &[u64]| steps.iter().map(|&step| count(step)).collect::<Vec<_>>().join(", ");
    match steps {
        [first @ .., last] if first.len() > 5 => format!("{}, …, {}", text(&first[..4]), count(*last)),
        all => text(all),
    }
}

/// Trains, showing progress and what to do next.
pub(crate) fn train(
    out: &Path,
    config: RunConfig,
    dataset: &Dataset,
    existing: Existing,
    how: &How,
) -> Result<()> {
    let show = how.show();
    let mut watch = Watch::new(show, config.train.batch_size);
    let steps = config.train.steps;
    let flags = how.data_dir.flags(&config.data.source);
    let (entry, of_images) = (catalogue::find(&config.model)?, dataset.card().kind == Kind::Images);
    if show == Show::Progress {
        note(
            facts(&[
                ("model     ", config.model.clone()),
                ("data", data_line(dataset)),
                ("run", out.display().to_string()),
            ])
            .trim_end(),
        );
    }
    let request = Request {
        out: out.to_owned(),
        config,
        data: TrainingData::of(dataset)?,
        existing,
        command: std::env::args().collect(),
        ignore_memory: how.ignore_memory,
    };
    let stop = Arc::new(Stop::default());
    stop_on_signals(&stop)?;
    let outcome = train::train(request, &stop, &mut |event| watch.see(&event));
    watch.end();
    match outcome {
        Ok(outcome) => conclude(out, &outcome, (entry, of_images), steps, &watch, how.show(), &flags),
        Err(error) => {
            if show == Show::Json {
                let event = json!({ "event": "failed", "reason": error.to_string(), "hint": hint(&error) });
                result(&format!("{event}\n"))?;
            }
            Err(error.into())
        }
    }
}

/// Lets the first Ctrl-C (or SIGTERM) finish the step and save, and the second end at once.
fn stop_on_signals(stop: &Arc<Stop>) -> Result<()> {
    let stop = Arc::clone(stop);
    ctrlc::set_handler(move || {
        if stop.requested() {
            process::exit(130);
        }
        stop.request();
        note("\nfinishing the step and saving; once more stops at once, without saving");
    })
    .context("cannot watch for Ctrl-C")
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

/// Prints how training ended and what can be done next; `flags` are those that find the data again.
fn conclude(
    out: &Path,
    outcome: &Outcome,
    (entry, of_images): (&dyn Entry, bool),
    steps: u64,
    watch: &Watch,
    show: Show,
    flags: &str,
) -> Result<()> {
    let program = program();
    let run = out.display();
    let resume = format!("{program} resume {run}{flags}");
    match show {
        Show::Json => {
            return result(&format!(
                "{}\n",
                json!({
                    "event": "finished", "state": outcome.state, "step": outcome.step, "steps": steps,
                    "elapsed": outcome.elapsed, "checkpoint": watch.checkpoint, "samples": outcome.samples,
                    "resume": (outcome.state == State::Stopped).then_some(resume),
                })
            ));
        }
        Show::Quiet if outcome.state == State::Stopped => {
            note(&format!("stopped and saved after step {}; continue with: {resume}", outcome.step));
            return Ok(());
        }
        Show::Quiet => return Ok(()),
        Show::Progress => {}
    }
    let took = duration(outcome.elapsed);
    let mut text = match (outcome.state, &watch.checkpoint) {
        (State::Stopped, _) => {
            format!("stopped and saved after step {} of {}, {took}\n", count(outcome.step), count(steps))
        }
        (_, None) => format!("the run is done already: {} steps in {took}\n", count(outcome.step)),
        _ => format!("done: {} steps in {took}\n", count(outcome.step)),
    };
    let mut places = Vec::new();
    places.extend(watch.checkpoint.as_ref().map(|path| ("checkpoint", path.display().to_string())));
    places.extend(outcome.samples.as_ref().map(|path| ("samples", path.display().to_string())));
    text.push_str(&facts(&places));
    if outcome.state == State::Stopped {
        text.push_str(&format!("continue with\n  {resume}\n"));
    } else {
        let mut next = vec![format!("sample {run} --seed 1")];
        if entry.about().abilities.contains(&Ability::Decode) {
            next.push(format!("discover interpolate {run}"));
        }
        if of_images {
            next.push(format!("discover neighbors {run}{flags}"));
        }
        if of_images && entry.about().abilities.contains(&Ability::Complete) {
            next.push(format!("complete {run}{flags}"));
        }
        next.push(format!("evaluate {run}{flags}"));
        if of_images {
            next.push(format!("animate {run}"));
        }
        let next: Vec<String> = next.iter().map(|command| format!("  {program} {command}\n")).collect();
        text.push_str(&format!("what to try next\n{}", next.concat()));
    }
    result(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_values_in_json() {
        assert_eq!(from_toml("\"cpu\""), json!("cpu"));
        assert_eq!([from_toml("3"), from_toml("0.5")], [json!(3), json!(0.5)]);
    }

    #[test]
    fn long_schedules_are_shortened() {
        assert_eq!(first_and_last(&[0, 10, 20]), "0, 10, 20");
        assert_eq!(first_and_last(&[0, 1, 2, 3, 4, 5, 1000]), "0, 1, 2, 3, …, 1,000");
    }
}
