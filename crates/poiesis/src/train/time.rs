//! Where the time of training goes, and how much is left.

use std::time::Instant;

use serde::Serialize;

use super::sample_steps;
use crate::config::TrainConfig;

/// The part of the time that drawing samples may take before a warning says so.
const SAMPLING_SHARE: f64 = 0.1;

/// Drawing samples for less than this is not worth a warning, in seconds.
const NOTICED: f64 = 60.0;

/// Seconds, by what they were spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spent {
    /// Steps of training.
    pub steps: f64,
    /// Drawing samples.
    pub sampling: f64,
    /// Measuring the held-out metric.
    pub evaluating: f64,
    /// Writing checkpoints.
    pub saving: f64,
}

impl Spent {
    /// All together.
    pub fn total(&self) -> f64 {
        self.steps + self.sampling + self.evaluating + self.saving
    }

    /// The sum of two.
    pub(super) fn plus(&self, other: &Spent) -> Spent {
        Spent {
            steps: self.steps + other.steps,
            sampling: self.sampling + other.sampling,
            evaluating: self.evaluating + other.evaluating,
            saving: self.saving + other.saving,
        }
    }

    /// Whether drawing samples takes more of the time than it should.
    pub(super) fn samples_too_much(&self) -> bool {
        self.sampling > NOTICED && self.sampling > SAMPLING_SHARE * self.total()
    }
}

/// What is left to do of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Remaining {
    /// Steps.
    pub steps: u64,
    /// How often samples are drawn.
    pub samplings: u64,
    /// How often the model is measured and saved.
    pub saves: u64,
}

impl Remaining {
    /// What is left after `step` steps, whose own samples and checkpoint are done.
    pub fn after(step: u64, config: &TrainConfig) -> Remaining {
        let (steps, every) = (config.steps, config.checkpoint_every.max(1));
        let at_the_end = u64::from(step < steps && !steps.is_multiple_of(every));
        Remaining {
            steps: steps.saturating_sub(step),
            samplings: sample_steps(config).into_iter().filter(|&at| at > step).count() as u64,
            saves: (steps / every).saturating_sub(step / every) + at_the_end,
        }
    }
}

/// Seconds that each kind of work takes once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    pub(super) step: f64,
    pub(super) sampling: f64,
    pub(super) evaluating: f64,
    pub(super) saving: f64,
}

impl Pace {
    /// The same where a grid has `now` samples, and had `before`.
    pub(super) fn with_samples(&self, before: usize, now: usize) -> Pace {
        Pace { sampling: self.sampling * now as f64 / before.max(1) as f64, ..*self }
    }

    /// Seconds that the work takes at this pace.
    pub(super) fn of(&self, left: &Remaining) -> Spent {
        let times = |seconds: f64, count: u64| seconds * count as f64;
        Spent {
            steps: times(self.step, left.steps),
            sampling: times(self.sampling, left.samplings),
            evaluating: times(self.evaluating, left.saves),
            saving: times(self.saving, left.saves),
        }
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Step,
    Sampling,
    Evaluating,
    Saving,
}

/// The clock of a run: all of its time, whatever it was spent on.
#[derive(Debug)]
pub(super) struct Clock {
    /// Seconds of earlier starts.
    earlier: f64,
    began: Instant,
    pub(super) spent: Spent,
    pace: Pace,
    steps: u64,
}

impl Clock {
    /// Starts the clock of a run that has taken `earlier` seconds so far.
    pub(super) fn after(earlier: f64) -> Clock {
        let (spent, pace) = (Spent::default(), Pace::default());
        Clock { earlier, began: Instant::now(), spent, pace, steps: 0 }
    }

    /// Seconds over all starts of the run.
    pub(super) fn elapsed(&self) -> f64 {
        self.earlier + self.began.elapsed().as_secs_f64()
    }

    /// Adds the time since `began`.
    pub(super) fn add(&mut self, work: Work, began: Instant) {
        self.add_seconds(work, began.elapsed().as_secs_f64());
    }

    /// Adds the time since `began` to the last step.
    pub(super) fn add_to_step(&mut self, began: Instant) {
        self.spent.steps += began.elapsed().as_secs_f64();
    }

    fn add_seconds(&mut self, work: Work, seconds: f64) {
        match work {
            Work::Step => {
                self.spent.steps += seconds;
                self.steps += 1;
                // The mean of the first hundred steps, then one that follows the machine. The first step is slower than
                // the others and is forgotten with the second.
                let part = if self.steps <= 2 { 1.0 } else { (1.0 / (self.steps - 1) as f64).max(0.01) };
                self.pace.step += part * (seconds - self.pace.step);
            }
            Work::Sampling => {
                self.spent.sampling += seconds;
                self.pace.sampling = seconds;
            }
            Work::Evaluating => {
                self.spent.evaluating += seconds;
                self.pace.evaluating = seconds;
            }
            Work::Saving => {
                self.spent.saving += seconds;
                self.pace.saving = seconds;
            }
        }
    }

    /// How long what is left will take.
    pub(super) fn left(&self, left: &Remaining) -> Spent {
        self.pace.of(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_left_is_counted() {
        let config =
            TrainConfig { steps: 100, checkpoint_every: 30, sample_frames: 4, ..TrainConfig::default() };
        let after = |step| {
            let Remaining { steps, samplings, saves } = Remaining::after(step, &config);
            (steps, samplings, saves)
        };
        // Samples after 0, 25, 50, 75 and 100 steps; checkpoints after 30, 60, 90 and 100.
        assert_eq!(
            [after(0), after(25), after(60), after(99)],
            [(100, 4, 4), (75, 3, 4), (40, 2, 2), (1, 1, 1)]
        );
        assert_eq!(after(100), (0, 0, 0));
        let even = TrainConfig { steps: 90, ..config };
        assert_eq!(Remaining::after(0, &even).saves, 3);
    }

    #[test]
    fn the_time_left_includes_samples_and_checkpoints() {
        let mut clock = Clock::after(50.0);
        for seconds in [9.0, 2.0, 2.0] {
            clock.add_seconds(Work::Step, seconds);
        }
        clock.add_seconds(Work::Sampling, 5.0);
        clock.add_seconds(Work::Evaluating, 3.0);
        clock.add_seconds(Work::Saving, 1.0);
        assert_eq!(clock.spent, Spent { steps: 13.0, sampling: 5.0, evaluating: 3.0, saving: 1.0 });
        let left = clock.left(&Remaining { steps: 10, samplings: 2, saves: 1 });
        assert_eq!(left, Spent { steps: 20.0, sampling: 10.0, evaluating: 3.0, saving: 1.0 });
        assert_eq!(left.total(), 34.0);
        assert!(clock.elapsed() >= 50.0);
    }

    #[test]
    fn a_tenth_of_the_time_is_enough_for_samples() {
        let spent = |sampling: f64| Spent { steps: 900.0, sampling, ..Spent::default() };
        assert!(!spent(99.0).samples_too_much());
        assert!(spent(101.0).samples_too_much());
        // Of a run of seconds it does not matter.
        assert!(!Spent { steps: 5.0, sampling: 59.0, ..Spent::default() }.samples_too_much());
    }
}
