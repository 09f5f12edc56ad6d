//! Chooses what nobody has given: settings that suit the data, and a length that fits the machine.
//!
//! Someone who gives data and nothing else wants to see something within minutes. The settings come from the model, which looks at the
//! data; how long it is trained comes from a few steps taken here, so a fast machine trains for as long as a slow one, and further.

use super::{Epochs, Rehearsal, Remaining, Request, rehearse};
use crate::catalogue;
use crate::config::{Choice, Defaults, Layer, Resolved, TrainConfig, is_open, resolve};
use crate::data::{DataFacts, MediaKind};
use crate::error::Result;

/// How long a run takes at most whose length nobody has given, in minutes.
pub const MINUTES: f64 = 8.0;
const BUDGET: f64 = 60.0 * MINUTES;
/// The part of it that drawing samples may take.
const SAMPLING: f64 = 0.1;
/// How often samples are drawn: at most, and at least.
const FRAMES: [f64; 2] = [40.0, 4.0];
/// Samples of a grid where drawing them is slow. A batch of samples is computed in groups of sixteen, so fewer save nothing.
const FEW_SAMPLES: f64 = 16.0;
/// How often the run is measured and saved.
const SAVES: f64 = 10.0;
/// Fewer steps teach nothing, and a run of more can be resumed.
const STEPS: [f64; 2] = [200.0, 20_000.0];
/// The smallest batch that is chosen where steps are slow.
const SMALLEST_BATCH: usize = 8;
/// How often all images or points are seen at most, and all of a text or a sound.
const EPOCHS: [f64; 2] = [250.0, 30.0];
/// The averages of weights reach back over this part of the steps.
const AVERAGED: f64 = 0.05;

/// What was chosen, and what the run will take.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The settings.
    pub choices: Vec<Choice>,
    /// Seconds that the run will take on this machine.
    pub seconds: f64,
}

/// Chooses the settings that `layers` leave open. `request` has the configuration that results from `layers` alone, and the data; `epochs`
/// decides the number of steps where it is given.
///
/// # Errors
///
/// Those of [`rehearse`], which takes a few steps to find out how long they are.
pub fn choose(
    request: &Request,
    defaults: &Defaults,
    layers: &[Layer],
    epochs: Option<f64>,
) -> Result<Chosen> {
    let entry = catalogue::find(&request.config.model)?;
    let data = &request.data;
    catalogue::expect_media(entry, &data.spec)?;
    let mut choices = entry.settings_for(&DataFacts::of(&data.spec, &data.train));
    let resolved = |choices: &[Choice]| -> Result<Resolved> {
        let chosen: Vec<Layer> = choices.iter().map(Choice::layer).chain(layers.iter().cloned()).collect();
        let mut resolved = resolve(defaults, &chosen)?;
        // Its source is where the data were found.
        resolved.config.data = request.config.data.clone();
        Ok(resolved)
    };
    let rehearsed = |choices: &[Choice]| -> Result<(Resolved, Pace)> {
        let resolved = resolved(choices)?;
        let rehearsal = rehearse(&Request { config: resolved.config.clone(), ..request.clone() })?;
        let samples = resolved.config.train.sample_count;
        Ok((resolved, Pace::of(&rehearsal, samples)))
    };
    let (mut now, mut pace) = rehearsed(&choices)?;
    while BUDGET / pace.step < STEPS[0]
        && is_free(&now, "train.batch_size")
        && now.config.train.batch_size > SMALLEST_BATCH
    {
        let half = (now.config.train.batch_size / 2).max(SMALLEST_BATCH);
        choices.retain(|choice| choice.key != "train.batch_size");
        choices.push(Choice::new("train.batch_size", half as i64, "steps are slow here"));
        (now, pace) = rehearsed(&choices)?;
    }
    let most_epochs = match data.spec.media() {
        MediaKind::Images | MediaKind::Points => EPOCHS[0],
        _ => EPOCHS[1],
    };
    let steps_of = |epochs: f64| Epochs::of(epochs, &now.config, data).map(|epochs| epochs.steps());
    let length = match epochs {
        Some(epochs) => Length::Given(steps_of(epochs)?),
        None if is_free(&now, "train.steps") => Length::Free { most: steps_of(most_epochs)?, most_epochs },
        None => Length::Given(now.config.train.steps),
    };
    let (schedule, steps) = pace.schedule(&now, &length);
    choices.extend(schedule);
    let mut last = resolved(&choices)?;
    choices.retain(|choice| is_free(&last, &choice.key));
    last.config.train.steps = steps;
    Ok(Chosen { choices, seconds: pace.seconds(&last.config.train) })
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

/// Seconds that each kind of work takes once.
struct Pace {
    step: f64,
    /// Drawing one sample.
    sampling: f64,
    evaluating: f64,
}

impl Pace {
    fn of(rehearsal: &Rehearsal, samples: usize) -> Pace {
        let Rehearsal { left, timed, seconds, estimate, .. } = rehearsal;
        let each = |seconds: f64, count: u64| seconds / count.max(1) as f64;
        Pace {
            step: (seconds / *timed as f64).max(1e-6),
            sampling: each(estimate.sampling, left.samplings) / samples.max(1) as f64,
            evaluating: each(estimate.evaluating, left.saves),
        }
    }

    /// Seconds of a run.
    fn seconds(&self, train: &TrainConfig) -> f64 {
        let left = Remaining::after(0, train);
        let samples = (left.samplings + 1) as f64 * train.sample_count as f64;
        self.step * train.steps as f64 + self.sampling * samples + self.evaluating * left.saves as f64
    }

    /// How long to train, and how often to draw samples and to save; and the number of steps.
    fn schedule(&self, now: &Resolved, length: &Length) -> (Vec<Choice>, u64) {
        let mut choices = Vec::new();
        let train = &now.config.train;
        let mut samples = train.sample_count as f64;
        let for_samples = SAMPLING * BUDGET;
        let slow = samples * self.sampling * FRAMES[1] > for_samples;
        if slow && samples > FEW_SAMPLES && is_free(now, "train.sample_count") {
            samples = FEW_SAMPLES;
            choices.push(Choice::new("train.sample_count", samples as i64, "drawing them is slow"));
        }
        let grid = (samples * self.sampling).max(1e-6);
        let mut frames = train.sample_frames as f64;
        if is_free(now, "train.sample_frames") && grid * frames > for_samples {
            frames = (for_samples / grid).floor().clamp(FRAMES[1], FRAMES[0]);
            choices.push(Choice::new("train.sample_frames", frames as i64, "drawing samples is slow"));
        }
        let steps = match length {
            Length::Given(steps) => *steps as f64,
            Length::Free { most, most_epochs } => {
                let for_steps = BUDGET - grid * (frames + 1.0) - self.evaluating * SAVES;
                let in_time = (for_steps.max(BUDGET / 2.0) / self.step).clamp(STEPS[0], STEPS[1]);
                let most = (*most as f64).max(STEPS[0]);
                let steps = rounded(in_time.min(most));
                let reason = match () {
                    () if most < in_time => format!("{most_epochs} epochs"),
                    () if in_time == STEPS[1] => "enough for a first look".to_owned(),
                    () => format!("{:.0} ms a step here", 1000.0 * self.step),
                };
                choices.push(Choice::new("train.steps", steps as i64, reason));
                steps
            }
        };
        let save = (steps / SAVES).ceil().max(1.0);
        choices.push(Choice::new("train.checkpoint_every", save as i64, "saved and measured ten times"));
        if train.ema_decay > 0.0 {
            let decay = 1.0 - (1.0 / (AVERAGED * steps)).clamp(0.001, 0.05);
            let decay = (decay * 1000.0).round() / 1000.0;
            choices.push(Choice::new(
                "train.ema_decay",
                decay,
                "averages over the last twentieth of the steps",
            ));
        }
        (choices, steps as u64)
    }
}

/// A number with two digits and zeros.
fn rounded(number: f64) -> f64 {
    let unit = 10_f64.powf((number.log10().floor() - 1.0).max(0.0));
    (number / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Defaults;

    fn resolved(layers: &[Layer]) -> Resolved {
        resolve(&defaults(), layers).unwrap()
    }

    fn defaults() -> Defaults {
        catalogue::find("vae").unwrap().defaults().unwrap()
    }

    fn chosen(pace: &Pace, now: &Resolved, length: &Length) -> Vec<(String, String, String)> {
        let (choices, _) = pace.schedule(now, length);
        choices.into_iter().map(|choice| (choice.key, choice.value.to_string(), choice.reason)).collect()
    }

    fn value(choices: &[(String, String, String)], key: &str) -> Option<String> {
        choices.iter().find(|(known, ..)| known == key).map(|(_, value, _)| value.clone())
    }

    const FREE: Length = Length::Free { most: 1_000_000, most_epochs: 400.0 };

    #[test]
    fn a_run_takes_as_long_as_there_is_time() {
        let now = resolved(&[]);
        for step in [0.05, 0.2, 1.0] {
            let pace = Pace { step, sampling: 0.001, evaluating: 0.5 };
            let choices = chosen(&pace, &now, &FREE);
            let all: Vec<_> = pace.schedule(&now, &FREE).0.iter().map(Choice::layer).collect();
            let seconds = pace.seconds(&resolved(&all).config.train);
            assert!((0.9 * BUDGET..1.06 * BUDGET).contains(&seconds), "{seconds} s at {step} s a step");
            assert_eq!(value(&choices, "train.sample_count"), None);
        }
    }

    #[test]
    fn few_images_are_not_seen_without_end_and_slow_steps_are_not_too_few() {
        let now = resolved(&[]);
        let pace = Pace { step: 0.05, sampling: 0.001, evaluating: 0.5 };
        let few = chosen(&pace, &now, &Length::Free { most: 1234, most_epochs: 400.0 });
        assert_eq!(value(&few, "train.steps").as_deref(), Some("1200"));
        assert!(few.iter().any(|(key, _, reason)| key == "train.steps" && reason == "400 epochs"));
        let slow = chosen(&Pace { step: 30.0, ..pace }, &now, &FREE);
        assert_eq!(value(&slow, "train.steps").as_deref(), Some("200"));
    }

    #[test]
    fn slow_samples_are_drawn_seldom_and_few() {
        let now = resolved(&[]);
        let pace = Pace { step: 0.1, sampling: 1.0, evaluating: 0.0 };
        let choices = chosen(&pace, &now, &FREE);
        assert_eq!(value(&choices, "train.sample_count").as_deref(), Some("16"));
        assert_eq!(value(&choices, "train.sample_frames").as_deref(), Some("4"));
        let given = resolved(&[Layer::single("--set", "train.sample_count", 64)]);
        assert_eq!(value(&chosen(&pace, &given, &FREE), "train.sample_count"), None);
    }

    #[test]
    fn a_length_that_is_given_stays() {
        let now = resolved(&[]);
        let pace = Pace { step: 0.1, sampling: 0.001, evaluating: 0.0 };
        let choices = chosen(&pace, &now, &Length::Given(70));
        assert_eq!(value(&choices, "train.steps"), None);
        assert_eq!(value(&choices, "train.checkpoint_every").as_deref(), Some("7"));
        assert_eq!(pace.schedule(&now, &Length::Given(70)).1, 70);
    }

    #[test]
    fn numbers_are_rounded_to_two_digits() {
        assert_eq!([3.0, 42.0, 347.0, 8951.0, 20_000.0].map(rounded), [3.0, 42.0, 350.0, 9000.0, 20_000.0]);
    }
}
