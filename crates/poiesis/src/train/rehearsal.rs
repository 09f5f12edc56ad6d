//! What training would take, found out without making a run: all its checks, and the time of a few steps.

use std::ops::ControlFlow;
use std::time::Instant;

use burn::tensor::Device;
use serde::Serialize;

use super::samples::draw;
use super::start::{Prepared, Request, expect_continuable, in_pool, prepare};
use super::time::Pace;
use super::{Ema, Existing, Remaining, Spent};
use crate::abilities::Abilities;
use crate::config::TrainConfig;
use crate::error::Result;
use crate::evaluate;
use crate::generate::can_generate;
use crate::model::Entry;
use crate::optim::learning_rate_factor;
use crate::run::{Run, checkpoint};

/// Steps are timed, after one that is not unless it is long, until there are so many and so many seconds have passed.
const TIMED: u64 = 3;
const SECONDS: f64 = 1.0;

/// After so many seconds no step is begun any more.
const MOST_SECONDS: f64 = 5.0;

/// A first step of so many seconds is timed itself, and no other is taken.
const LONG: f64 = 15.0;

/// After how many seconds the drawing of samples ends, and its time is estimated from how far it came.
const DRAWN: f64 = 3.0;

/// Bytes of a checkpoint for each parameter (the weight, two moments and an average), and how many are written in a second.
const SAVED: f64 = 16.0;
const BYTES_PER_SECOND: f64 = 2e8;

/// Held-out examples are measured where that takes about so many seconds; a longer time is estimated from a sixteenth of them.
const EVALUATED: f64 = 2.0;
const SHARE: usize = 16;

/// What a run would be and take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rehearsal {
    /// Parameters of each network.
    pub parameters: Vec<(String, usize)>,
    /// What fits of the initial weights and means something else.
    pub notes: Vec<String>,
    /// Steps that are done already, where a run would be continued.
    pub done: u64,
    /// What is left to do.
    pub left: Remaining,
    /// How many steps were timed.
    pub timed: u64,
    /// Seconds that those steps took.
    pub seconds: f64,
    /// Seconds of a step in the estimate: the mean of those that were timed; where settings were chosen, the lower quartile, which hardly
    /// depends on what else the machine has to do for a moment.
    pub step: f64,
    /// Seconds that what is left will take. Nothing is written, so the time of writing checkpoints follows from their size.
    pub estimate: Spent,
}

/// Checks all that [`train`](super::train) checks, and takes a few steps in memory to estimate its time. No run is made or
/// changed.
///
/// # Errors
///
/// Those of [`train`](super::train) that come before its first step.
pub fn rehearse(request: &Request) -> Result<Rehearsal> {
    in_pool(&request.config, || {
        let steps = take_steps(request)?;
        let pace = steps.pace(steps.mean())?;
        Ok(steps.rehearsal(&pace, &request.config.train))
    })
}

/// A few steps that were taken.
pub(super) struct Steps {
    request: Request,
    entry: &'static dyn Entry,
    /// Without autodiff.
    device: Device,
    parameters: Vec<(String, usize)>,
    notes: Vec<String>,
    done: u64,
    averages: Ema,
    /// Seconds of each step that was timed.
    seconds: Vec<f64>,
}

/// Checks a request, and takes a few steps in memory.
pub(super) fn take_steps(request: &Request) -> Result<Steps> {
    let Prepared { entry, data, device, parameters, mut session, notes } = prepare(request)?;
    let done = steps_done(request)?;
    let config = &request.config;
    let mut averages = Ema::new(config.train.ema_decay, session.state_dict());
    let mut step = |number: u64| -> Result<f64> {
        let began = Instant::now();
        let factor = learning_rate_factor(&config.optimizer, number, config.train.steps);
        let metrics = session.step(number, factor)?;
        if config.train.ema_decay > 0.0 {
            averages.update(&session.state_dict(), number + 1);
        }
        metrics.read();
        Ok(began.elapsed().as_secs_f64())
    };
    // What only a first step takes is little of one that is very long.
    let first = step(0)?;
    let mut seconds: Vec<f64> = if first > LONG { vec![first] } else { Vec::new() };
    let began = Instant::now();
    while first <= LONG && !are_enough(seconds.len() as u64, began.elapsed().as_secs_f64()) {
        seconds.push(step(seconds.len() as u64 + 1)?);
    }
    drop(session);
    let request = Request { data, ..request.clone() };
    Ok(Steps { request, entry, device: device.inner(), parameters, notes, done, averages, seconds })
}

/// Whether no further step is timed after so many, which took so many seconds.
fn are_enough(timed: u64, seconds: f64) -> bool {
    timed > 0 && (seconds > MOST_SECONDS || (timed >= TIMED && seconds > SECONDS))
}

impl Steps {
    /// Seconds of a step on average.
    pub(super) fn mean(&self) -> f64 {
        self.seconds.iter().sum::<f64>() / self.seconds.len() as f64
    }

    /// Seconds of a step that nothing else has slowed down: the lower quartile.
    pub(super) fn undisturbed(&self) -> f64 {
        lower_quartile(&self.seconds)
    }

    /// The time of all kinds of work, with steps that take so many seconds: samples are drawn, and held-out examples measured.
    pub(super) fn pace(&self, step: f64) -> Result<Pace> {
        let Request { config, data, .. } = &self.request;
        let model = self.entry.load(config, &data.spec, self.averages.weights(), &self.device)?;
        let abilities = model.abilities();
        let (sampling, evaluating) = (self.sampling(&abilities)?, self.evaluating(&abilities)?);
        let parameters: usize = self.parameters.iter().map(|(_, count)| count).sum();
        Ok(Pace { step, sampling, evaluating, saving: SAVED * parameters as f64 / BYTES_PER_SECOND })
    }

    /// Seconds that drawing the samples of a grid takes.
    fn sampling(&self, abilities: &Abilities<'_>) -> Result<f64> {
        if !can_generate(abilities) {
            return Ok(0.0);
        }
        let Request { config, data, .. } = &self.request;
        let (began, mut part) = (Instant::now(), 1.0);
        draw(abilities, &data.spec, &config.train, &self.device, &mut |at| {
            let total = at.total.unwrap_or(at.done).max(1);
            part = at.done as f64 / total as f64;
            let enough = at.done > 0 && began.elapsed().as_secs_f64() > DRAWN;
            if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(began.elapsed().as_secs_f64() / if part > 0.0 { part } else { 1.0 })
    }

    /// Seconds that measuring held-out examples takes.
    fn evaluating(&self, abilities: &Abilities<'_>) -> Result<f64> {
        let data = &self.request.data;
        let (Some(held_out), Some(likelihood)) = (&data.held_out, abilities.likelihood) else {
            return Ok(0.0);
        };
        let measured_in = |share: usize| -> Result<f64> {
            let began = Instant::now();
            evaluate::validation_of(likelihood, held_out, &data.spec, share, &self.device)?;
            Ok(began.elapsed().as_secs_f64())
        };
        let share = SHARE.min(held_out.len() as usize).max(1);
        let all = measured_in(share)? * share as f64;
        if all > EVALUATED { Ok(all) } else { measured_in(1) }
    }

    /// What a run with this schedule takes at this pace.
    pub(super) fn rehearsal(&self, pace: &Pace, train: &TrainConfig) -> Rehearsal {
        let mut left = Remaining::after(self.done, train);
        // Samples are also drawn before the first step.
        left.samplings += u64::from(self.done == 0);
        Rehearsal {
            parameters: self.parameters.clone(),
            notes: self.notes.clone(),
            done: self.done,
            timed: self.seconds.len() as u64,
            seconds: self.seconds.iter().sum(),
            step: pace.step,
            estimate: pace.of(&left),
            left,
        }
    }
}

/// A value that a quarter of these do not reach.
fn lower_quartile(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 4]
}

/// The steps of the run that would be continued; 0 for a new one.
fn steps_done(request: &Request) -> Result<u64> {
    let Request { out, config, data, initial, existing, .. } = request;
    if *existing == Existing::SetAside {
        return Ok(0);
    }
    if !Run::exists(out) {
        Run::expect_free(out)?;
        return Ok(0);
    }
    let run = Run::open(out)?;
    drop(run.lock()?);
    expect_continuable(&run, config, &data.info, initial.as_ref())?;
    let complete = checkpoint::survey(&run.checkpoints_path())?.complete;
    Ok(complete.last().map_or(0, |&(step, _)| step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_steps_are_timed_for_a_second_and_slow_ones_seldom() {
        let timed = |step: f64| (0..).find(|&timed| are_enough(timed, timed as f64 * step)).unwrap();
        assert_eq!([0.01, 0.3, 0.6, 2.0, 3.0, 60.0].map(timed), [101, 4, 3, 3, 2, 1]);
    }

    #[test]
    fn steps_that_were_disturbed_do_not_count() {
        assert_eq!(lower_quartile(&[1.0, 9.0, 1.1, 7.0, 1.2, 8.0, 1.3, 1.4]), 1.1);
        assert_eq!((lower_quartile(&[3.0]), lower_quartile(&[2.0, 1.0, 4.0])), (3.0, 1.0));
    }
}
