//! Chooses what nobody has given: settings that suit the data, and a length that fits the machine.
//!
//! Someone who gives data and nothing else wants to see something within minutes. The settings come from the model, which looks at the
//! data; how long it is trained comes from a few steps taken here, so a run takes as long on a slow machine as on a fast one, which does more steps.

use super::rehearsal::{Steps, take_steps};
use super::start::in_pool;
use super::time::Pace;
use super::{Epochs, Rehearsal, Request};
use crate::abilities::Ability;
use crate::catalogue;
use crate::config::{Choice, Defaults, Layer, Resolved, is_open, resolve};
use crate::data::{DataFacts, MediaKind};
use crate::error::{Error, Result};
use crate::model::Entry;

/// How long a run takes at most whose length nobody has given, in minutes.
pub const MINUTES: f64 = 8.0;
const BUDGET: f64 = 60.0 * MINUTES;
/// The part of it that drawing samples may take.
const SAMPLING: f64 = 0.1;
/// How often samples are drawn: at most, and at least.
const FRAMES: [f64; 2] = [40.0, 4.0];
/// The same of a run whose length is given, which may be short: after its first and its last step.
const ENDS: f64 = 2.0;
/// Samples of a grid where drawing them is slow. A batch of samples is computed in groups of sixteen, so fewer save nothing.
const FEW_SAMPLES: f64 = 16.0;
/// How often the run is measured and saved.
const SAVES: f64 = 10.0;
/// The fewest steps, without which nothing is learned, and the most; a run can be trained further.
const STEPS: [f64; 2] = [200.0, 20_000.0];
/// Seconds of a step above which a smaller batch is tried.
const SLOW: f64 = BUDGET / STEPS[0];
/// The smallest batch that is chosen where steps are slow, and the part of the time that half a batch takes where it helps.
const SMALLEST_BATCH: usize = 8;
const HELPS: f64 = 0.8;
/// The part of the time that measuring held-out examples, and saving, may take.
const EVALUATING: f64 = 0.15;
/// Seconds between two checkpoints: of a short run at least, and of a long one at most.
const BETWEEN_SAVES: [f64; 2] = [10.0, 120.0];
/// The default number of steps between checkpoints; where steps are quick, fewer are not chosen.
const USUAL_SAVE: f64 = 500.0;
/// How often all examples are seen at most: images, and points whose density is learned; points of which only samples are; all of a text or
/// a sound. A density of few points is soon learned by heart.
const EPOCHS: [f64; 3] = [250.0, 2000.0, 30.0];
/// The averages of weights reach back over this part of the steps.
const AVERAGED: f64 = 0.05;

/// What was chosen, and what the run will take.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The settings.
    pub choices: Vec<Choice>,
    /// What the run will take on this machine.
    pub rehearsal: Rehearsal,
}

/// What was found out about a size of batch, while a smaller one is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trial {
    /// It is too large.
    TooLarge {
        /// Examples in the batch.
        batch_size: usize,
        /// Seconds of a step, which are too many; `None` where it does not fit into memory.
        seconds: Option<f64>,
        /// Examples in the batch that is tried next.
        next: usize,
    },
    /// It is hardly faster than a larger one, which is kept.
    HelpsLittle {
        /// Examples in the batch.
        batch_size: usize,
        /// Seconds of a step.
        seconds: f64,
        /// Examples in the larger one.
        kept: usize,
    },
}

/// Chooses the settings that `layers` leave open. `request` has the configuration that results from `layers` alone, and the data; `epochs`
/// decides the number of steps where it is given. `tried` receives what is found out about batches that are too large.
///
/// # Errors
///
/// Those of [`rehearse`](super::rehearse): a few steps are taken to find out how long they are.
pub fn choose(
    request: &Request,
    defaults: &Defaults,
    layers: &[Layer],
    epochs: Option<f64>,
    tried: &mut (dyn FnMut(Trial) + Send),
) -> Result<Chosen> {
    let choosing = Choosing { request, defaults, layers, entry: catalogue::find(&request.config.model)? };
    catalogue::expect_media(choosing.entry, &request.data.spec)?;
    in_pool(&request.config, || choosing.choose(epochs, tried))
}

/// What is given, and for which model.
struct Choosing<'a> {
    request: &'a Request,
    defaults: &'a Defaults,
    layers: &'a [Layer],
    entry: &'static dyn Entry,
}

impl Choosing<'_> {
    fn choose(&self, epochs: Option<f64>, tried: &mut dyn FnMut(Trial)) -> Result<Chosen> {
        let data = &self.request.data;
        let mut choices = self.suitable()?;
        let length_is_free = epochs.is_none() && is_free(&self.resolved(&choices)?, "train.steps");
        let steps = self.with_a_batch_that_fits(&mut choices, length_is_free, tried)?;
        let now = self.resolved(&choices)?;
        let most_epochs = match data.spec.media() {
            MediaKind::Images => EPOCHS[0],
            MediaKind::Points if self.entry.about().abilities.contains(&Ability::Likelihood) => EPOCHS[0],
            MediaKind::Points => EPOCHS[1],
            _ => EPOCHS[2],
        };
        let steps_of = |epochs: f64| Epochs::of(epochs, &now.config, data).map(|epochs| epochs.steps());
        let length = match epochs {
            Some(epochs) => Length::Given(steps_of(epochs)?),
            None if length_is_free => Length::Free { most: steps_of(most_epochs)?, most_epochs },
            None => Length::Given(now.config.train.steps),
        };
        let pace = steps.pace(steps.undisturbed())?;
        let (schedule, number) = schedule(&pace, &now, &length);
        choices.extend(schedule);
        shorten_warmups(&mut choices, number);
        let mut last = self.resolved(&choices)?;
        choices.retain(|choice| is_free(&last, &choice.key));
        last.config.train.steps = number;
        let samples = [&now, &last].map(|resolved| resolved.config.train.sample_count);
        let rehearsal = steps.rehearsal(&pace.with_samples(samples[0], samples[1]), &last.config.train);
        Ok(Chosen { choices, rehearsal })
    }

    /// The configuration with these choices below what is given.
    fn resolved(&self, choices: &[Choice]) -> Result<Resolved> {
        let given = self.layers.iter().cloned();
        let all: Vec<Layer> = choices.iter().map(Choice::layer).chain(given).collect();
        let mut resolved = resolve(self.defaults, &all)?;
        // Its source is where the data were found.
        resolved.config.data = self.request.config.data.clone();
        Ok(resolved)
    }

    /// What the model chooses for the data, less what does not go with what is given.
    fn suitable(&self) -> Result<Vec<Choice>> {
        let data = &self.request.data;
        let mut choices = self.entry.settings_for(&DataFacts::of(&data.spec, &data.train));
        // Rates are chosen for an optimizer.
        if !is_free(&self.resolved(&[])?, "optimizer.kind") {
            choices.retain(|choice| !choice.key.ends_with("learning_rate"));
        }
        if self.is_valid(&choices) {
            return Ok(choices);
        }
        let own = format!("{}.", self.entry.name());
        let without = |left_out: &dyn Fn(&Choice) -> bool| -> Vec<Choice> {
            choices.iter().filter(|choice| !left_out(choice)).cloned().collect()
        };
        let one_less = (0..choices.len()).map(|at| without(&|choice| choice.key == choices[at].key));
        let mut fewer = one_less.chain([without(&|choice| choice.key.starts_with(&own))]);
        // Where nothing helps, it is what is given that cannot be, and training says so.
        Ok(fewer.find(|choices| self.is_valid(choices)).unwrap_or(choices))
    }

    fn is_valid(&self, choices: &[Choice]) -> bool {
        let spec = &self.request.data.spec;
        self.resolved(choices).is_ok_and(|resolved| {
            let config = &resolved.config;
            self.entry.check(config).is_ok() && self.entry.parameters(config, spec).is_ok()
        })
    }

    /// Times a few steps; the batch becomes smaller while it does not fit into memory, and while steps are so slow that there would be too
    /// few of them.
    fn with_a_batch_that_fits(
        &self,
        choices: &mut Vec<Choice>,
        length_is_free: bool,
        tried: &mut dyn FnMut(Trial),
    ) -> Result<Steps> {
        let mut larger: Option<(Vec<Choice>, usize, Steps)> = None;
        loop {
            let now = self.resolved(choices)?;
            let batch_size = now.config.train.batch_size;
            let can_shrink = is_free(&now, "train.batch_size") && batch_size > SMALLEST_BATCH;
            let request = Request { config: now.config, ..self.request.clone() };
            let (seconds, reason) = match take_steps(&request) {
                Err(Error::OutOfMemory { .. }) if can_shrink => (None, "a larger one needs too much memory"),
                Err(error) => return Err(error),
                Ok(steps) => {
                    let seconds = steps.undisturbed();
                    if let Some((before, more, slow)) = larger.take()
                        && seconds > slow.undisturbed() * HELPS.powf((more as f64 / batch_size as f64).log2())
                    {
                        tried(Trial::HelpsLittle { batch_size, seconds, kept: more });
                        *choices = before;
                        return Ok(slow);
                    }
                    if !(length_is_free && can_shrink && seconds > SLOW) {
                        return Ok(steps);
                    }
                    larger = Some((choices.clone(), batch_size, steps));
                    (Some(seconds), "steps are slow here")
                }
            };
            let next = smaller(batch_size, seconds);
            tried(Trial::TooLarge { batch_size, seconds, next });
            choices.retain(|choice| choice.key != "train.batch_size");
            choices.push(Choice::new("train.batch_size", next as i64, reason));
        }
    }
}

/// Half a batch, or less where that would still be slow.
fn smaller(batch_size: usize, seconds: Option<f64>) -> usize {
    let mut next = batch_size / 2;
    while seconds.is_some_and(|seconds| seconds * next as f64 / batch_size as f64 > SLOW) {
        next /= 2;
    }
    next.max(SMALLEST_BATCH)
}

/// Warm-ups that were chosen take a quarter of the run at most.
fn shorten_warmups(choices: &mut [Choice], steps: u64) {
    let most = (steps / 4) as i64;
    for choice in choices.iter_mut().filter(|choice| choice.key.ends_with("warmup_steps")) {
        if choice.value.as_integer().is_some_and(|chosen| chosen > most) {
            choice.value = most.into();
        }
    }
}

/// How long a run may be.
enum Length {
    /// So many steps.
    Given(u64),
    /// As long as there is time, but not more steps than make so many epochs.
    Free { most: u64, most_epochs: f64 },
}

/// Whether nobody has given a value for this key.
fn is_free(resolved: &Resolved, key: &str) -> bool {
    resolved.origin(key).is_some_and(is_open)
}

/// How long to train, and how often to draw samples and to save; and the number of steps.
fn schedule(pace: &Pace, now: &Resolved, length: &Length) -> (Vec<Choice>, u64) {
    let mut choices = Vec::new();
    let train = &now.config.train;
    let (budget, fewest_frames) = match length {
        Length::Given(steps) => (pace.step * *steps as f64, ENDS),
        Length::Free { .. } => (BUDGET, FRAMES[1]),
    };
    let mut samples = train.sample_count as f64;
    let (for_samples, each) = (SAMPLING * budget, pace.sampling / samples.max(1.0));
    let slow = samples * each * FRAMES[1] > SAMPLING * BUDGET.max(budget);
    if slow && samples > FEW_SAMPLES && is_free(now, "train.sample_count") {
        samples = FEW_SAMPLES;
        choices.push(Choice::new("train.sample_count", samples as i64, "drawing them is slow"));
    }
    let grid = (samples * each).max(1e-6);
    let mut frames = train.sample_frames as f64;
    if is_free(now, "train.sample_frames") && grid * frames > for_samples {
        frames = (for_samples / grid).floor().clamp(fewest_frames, FRAMES[0]);
        choices.push(Choice::new("train.sample_frames", frames as i64, "drawing samples is slow"));
    }
    let each_save = pace.evaluating + pace.saving;
    let saves = (EVALUATING * budget / each_save.max(1e-6)).floor().clamp(2.0, SAVES);
    let steps = match length {
        Length::Given(steps) => *steps as f64,
        Length::Free { most, most_epochs } => {
            let for_steps = budget - grid * (frames + 1.0) - each_save * saves;
            let in_time = (for_steps.max(budget / 2.0) / pace.step).clamp(STEPS[0], STEPS[1]);
            let most = (*most as f64).max(STEPS[0]);
            let steps = rounded(in_time.min(most));
            let reason = if most < in_time {
                format!("{most_epochs} epochs")
            } else if in_time == STEPS[1] {
                "enough for a first look".to_owned()
            } else {
                format!("{:.0} ms a step here", 1000.0 * pace.step)
            };
            choices.push(Choice::new("train.steps", steps as i64, reason));
            steps
        }
    };
    let every = steps_between_saves(pace, steps, saves);
    choices.push(Choice::new("train.checkpoint_every", every as i64, "saved and measured now and then"));
    if train.ema_decay > 0.0 {
        let decay = 1.0 - (1.0 / (AVERAGED * steps)).clamp(0.001, 0.05);
        let decay = (decay * 1000.0).round() / 1000.0;
        choices.push(Choice::new("train.ema_decay", decay, "averages over the last twentieth of the steps"));
    }
    (choices, steps as u64)
}

/// So many steps that a run is saved about `saves` times, but neither all the time nor so seldom that much can be lost.
fn steps_between_saves(pace: &Pace, steps: f64, saves: f64) -> f64 {
    let least = (BETWEEN_SAVES[0] / pace.step).min(USUAL_SAVE);
    let most = (BETWEEN_SAVES[1].max((pace.evaluating + pace.saving) / EVALUATING) / pace.step).max(least);
    (steps / saves).clamp(least, most).min(steps).ceil().max(1.0)
}

/// A number with two digits and zeros.
fn rounded(number: f64) -> f64 {
    let unit = 10_f64.powf((number.log10().floor() - 1.0).max(0.0));
    (number / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Defaults, TrainConfig};
    use crate::data::{Content, DataSpec, ImageShape};
    use crate::train::Remaining;

    fn resolved(layers: &[Layer]) -> Resolved {
        resolve(&defaults(), layers).unwrap()
    }

    fn defaults() -> Defaults {
        catalogue::find("vae").unwrap().defaults().unwrap()
    }

    fn chosen(pace: &Pace, now: &Resolved, length: &Length) -> Vec<(String, String, String)> {
        let (choices, _) = schedule(pace, now, length);
        choices.into_iter().map(|choice| (choice.key, choice.value.to_string(), choice.reason)).collect()
    }

    fn value(choices: &[(String, String, String)], key: &str) -> Option<String> {
        choices.iter().find(|(known, ..)| known == key).map(|(_, value, _)| value.clone())
    }

    /// A pace at which each sample of a grid takes `sample` seconds.
    fn paced(step: f64, sample: f64, evaluating: f64) -> Pace {
        let count = resolved(&[]).config.train.sample_count;
        Pace { step, sampling: sample * count as f64, evaluating, saving: 0.0 }
    }

    /// What a run takes at a pace that was found with the usual number of samples.
    fn seconds(pace: &Pace, train: &TrainConfig) -> f64 {
        let mut left = Remaining::after(0, train);
        left.samplings += 1;
        let usual = resolved(&[]).config.train.sample_count;
        pace.with_samples(usual, train.sample_count).of(&left).total()
    }

    const FREE: Length = Length::Free { most: 1_000_000, most_epochs: 400.0 };

    #[test]
    fn a_run_takes_as_long_as_there_is_time() {
        let now = resolved(&[]);
        for step in [0.05, 0.2, 1.0] {
            let pace = paced(step, 0.001, 0.5);
            let choices = chosen(&pace, &now, &FREE);
            let all: Vec<_> = schedule(&pace, &now, &FREE).0.iter().map(Choice::layer).collect();
            let seconds = seconds(&pace, &resolved(&all).config.train);
            assert!((0.9 * BUDGET..1.06 * BUDGET).contains(&seconds), "{seconds} s at {step} s a step");
            assert_eq!(value(&choices, "train.sample_count"), None);
        }
    }

    #[test]
    fn few_images_are_not_seen_without_end_and_slow_steps_are_not_too_few() {
        let now = resolved(&[]);
        let pace = paced(0.05, 0.001, 0.5);
        let few = chosen(&pace, &now, &Length::Free { most: 1234, most_epochs: 400.0 });
        assert_eq!(value(&few, "train.steps").as_deref(), Some("1200"));
        assert!(few.iter().any(|(key, _, reason)| key == "train.steps" && reason == "400 epochs"));
        let slow = chosen(&Pace { step: 30.0, ..pace }, &now, &FREE);
        assert_eq!(value(&slow, "train.steps").as_deref(), Some("200"));
    }

    #[test]
    fn slow_samples_are_drawn_seldom_and_few() {
        let now = resolved(&[]);
        let pace = paced(0.1, 1.0, 0.0);
        let choices = chosen(&pace, &now, &FREE);
        assert_eq!(value(&choices, "train.sample_count").as_deref(), Some("16"));
        assert_eq!(value(&choices, "train.sample_frames").as_deref(), Some("4"));
        let given = resolved(&[Layer::single("--set", "train.sample_count", 64)]);
        assert_eq!(value(&chosen(&pace, &given, &FREE), "train.sample_count"), None);
    }

    #[test]
    fn large_models_are_saved_seldom_and_short_runs_draw_few_samples() {
        let large = Pace { saving: 60.0, ..paced(1.0, 0.001, 0.0) };
        assert_eq!(steps_between_saves(&large, 1000.0, 2.0), 400.0, "a seventh of the time");
        let short = chosen(&paced(0.1, 0.01, 0.0), &resolved(&[]), &Length::Given(100));
        assert_eq!(value(&short, "train.sample_frames").as_deref(), Some("2"));
        assert_eq!(value(&short, "train.sample_count"), None);
    }

    #[test]
    fn a_length_that_is_given_stays() {
        let now = resolved(&[]);
        let pace = paced(0.1, 0.001, 0.0);
        let choices = chosen(&pace, &now, &Length::Given(70));
        assert_eq!(value(&choices, "train.steps"), None);
        assert_eq!(value(&choices, "train.checkpoint_every").as_deref(), Some("70"));
        assert_eq!(schedule(&pace, &now, &Length::Given(70)).1, 70);
    }

    #[test]
    fn a_run_is_saved_neither_all_the_time_nor_seldom() {
        let pace = paced(0.1, 0.001, 0.5);
        assert_eq!(steps_between_saves(&pace, 5000.0, 10.0), 500.0);
        assert_eq!(steps_between_saves(&pace, 5.0, 10.0), 5.0);
        assert_eq!(steps_between_saves(&pace, 400.0, 10.0), 100.0, "ten seconds");
        assert_eq!(steps_between_saves(&pace, 1e6, 10.0), 1200.0, "two minutes");
        let quick = Pace { step: 0.001, ..pace };
        assert_eq!(steps_between_saves(&quick, 20_000.0, 10.0), 2000.0);
        let slow = paced(0.1, 0.001, 60.0);
        assert_eq!(steps_between_saves(&slow, 1e6, 10.0), 4000.0, "a seventh of the time");
    }

    #[test]
    fn a_batch_becomes_so_small_that_steps_are_quick_enough() {
        assert_eq!(smaller(64, None), 32, "memory");
        assert_eq!(smaller(64, Some(1.9 * SLOW)), 32);
        assert_eq!(smaller(64, Some(2.1 * SLOW)), 16);
        assert_eq!(smaller(64, Some(100.0 * SLOW)), SMALLEST_BATCH);
        assert_eq!(smaller(12, None), SMALLEST_BATCH);
    }

    #[test]
    fn measuring_held_out_examples_is_part_of_the_time() {
        let now = resolved(&[]);
        let pace = paced(0.5, 0.001, 60.0);
        let all: Vec<_> = schedule(&pace, &now, &FREE).0.iter().map(Choice::layer).collect();
        let seconds = seconds(&pace, &resolved(&all).config.train);
        assert!((0.8 * BUDGET..1.15 * BUDGET).contains(&seconds), "{seconds} s");
    }

    #[test]
    fn choices_are_valid_wherever_the_defaults_are() {
        let valid = |entry: &dyn Entry, choices: &[Choice], spec: &DataSpec| {
            let layers: Vec<Layer> = choices.iter().map(Choice::layer).collect();
            let config = resolve(&entry.defaults().unwrap(), &layers).unwrap().config;
            entry.check(&config).and_then(|()| entry.parameters(&config, spec).map(drop))
        };
        let sizes = [8, 12, 14, 16, 20, 25, 28, 30, 32, 36, 44, 48, 52, 64, 72];
        for entry in
            catalogue::CATALOGUE.iter().filter(|entry| entry.about().media.contains(&MediaKind::Images))
        {
            for (height, width) in sizes.into_iter().map(|side| (side, side)).chain([(32, 48), (64, 40)]) {
                for (channels, two_tones) in [(1, false), (1, true), (3, false)] {
                    let content = Content::Images(ImageShape { height, width, channels });
                    let spec = DataSpec { content, classes: 0, unlabelled: false };
                    let facts = DataFacts { spec: spec.clone(), len: 300, two_tones, columns: Vec::new() };
                    let found = valid(*entry, &entry.settings_for(&facts), &spec);
                    if valid(*entry, &[], &spec).is_ok() {
                        let name = entry.name();
                        assert!(found.is_ok(), "{name}, {width}×{height}×{channels}: {}", found.unwrap_err());
                    }
                }
            }
        }
    }

    #[test]
    fn warmups_end_before_the_run_does() {
        let choice = |key: &str, value: i64| Choice::new(key, value, "");
        let mut choices = vec![choice("vae.kl_warmup_steps", 1000), choice("optimizer.warmup_steps", 50)];
        shorten_warmups(&mut choices, 400);
        assert_eq!(choices, [choice("vae.kl_warmup_steps", 100), choice("optimizer.warmup_steps", 50)]);
    }

    #[test]
    fn numbers_are_rounded_to_two_digits() {
        assert_eq!([3.0, 42.0, 347.0, 8951.0, 20_000.0].map(rounded), [3.0, 42.0, 350.0, 9000.0, 20_000.0]);
    }
}
