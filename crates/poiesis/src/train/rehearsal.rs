//! What training would take, found out without making a run: all its checks, and the time of three steps.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::Serialize;

use super::samples::draw;
use super::start::{Prepared, Request, expect_continuable, in_pool, prepare};
use super::time::Pace;
use super::{Ema, Existing, Remaining, Spent};
use crate::error::Result;
use crate::evaluate;
use crate::generate::can_generate;
use crate::optim::learning_rate_factor;
use crate::run::{Run, checkpoint};

/// How many steps are timed, after one that is not.
const TIMED: u64 = 3;

/// After how many seconds the drawing of samples ends, and its time is estimated from how far it came.
const DRAWN: f64 = 3.0;

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
    /// Seconds that what is left will take. Writing checkpoints is not counted, for nothing is written.
    pub estimate: Spent,
}

/// Checks all that [`train`](super::train) checks, and takes a few steps in memory to estimate its time. No run is made or
/// changed.
///
/// # Errors
///
/// Those of [`train`](super::train) that come before its first step.
pub fn rehearse(request: &Request) -> Result<Rehearsal> {
    in_pool(&request.config, || rehearse_here(request))
}

fn rehearse_here(request: &Request) -> Result<Rehearsal> {
    let Prepared { entry, device, parameters, mut session, notes } = prepare(request)?;
    let done = steps_done(request)?;
    let Request { config, data, .. } = request;
    let mut averages = Ema::new(config.train.ema_decay, session.state_dict());
    let mut step = |number: u64| -> Result<()> {
        let factor = learning_rate_factor(&config.optimizer, number, config.train.steps);
        let metrics = session.step(number, factor)?;
        if config.train.ema_decay > 0.0 {
            averages.update(&session.state_dict(), number + 1);
        }
        metrics.read();
        Ok(())
    };
    step(0)?;
    let began = Instant::now();
    (1..=TIMED).try_for_each(&mut step)?;
    let seconds = began.elapsed().as_secs_f64();

    let place = device.inner();
    let began = Instant::now();
    let model = entry.load(config, &data.spec, averages.weights(), &place)?;
    let abilities = model.abilities();
    let mut sampling = 0.0;
    if can_generate(&abilities) {
        let mut part = 1.0;
        draw(&abilities, &data.spec, &config.train, &place, &mut |at| {
            let total = at.total.unwrap_or(at.done).max(1);
            part = at.done as f64 / total as f64;
            let enough = at.done > 0 && began.elapsed().as_secs_f64() > DRAWN;
            if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        sampling = began.elapsed().as_secs_f64() / if part > 0.0 { part } else { 1.0 };
    }
    let began = Instant::now();
    let mut evaluating = 0.0;
    if let (Some(held_out), Some(likelihood)) = (&data.held_out, abilities.likelihood) {
        evaluate::validation(likelihood, held_out, &data.spec, &place)?;
        evaluating = began.elapsed().as_secs_f64();
    }
    let mut left = Remaining::after(done, &config.train);
    // Samples are also drawn before the first step.
    left.samplings += u64::from(done == 0);
    let pace = Pace { step: seconds / TIMED as f64, sampling, evaluating, saving: 0.0 };
    Ok(Rehearsal { parameters, notes, done, left, timed: TIMED, seconds, estimate: pace.of(&left) })
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
