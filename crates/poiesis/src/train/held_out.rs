//! The metric that is measured on held-out examples during training: the best value so far, and whether to end early.

use std::time::Instant;

use super::Event;
use super::time::Work;
use super::trainer::Training;
use crate::abilities::Ability;
use crate::catalogue::CATALOGUE;
use crate::config::RunConfig;
use crate::data::Examples;
use crate::error::{Error, Result};
use crate::evaluate::{self, Progress};
use crate::model::{Entry, TrainedModel};
use crate::run::BestStep;
use crate::run::checkpoint::Counts;

/// Checks that training can end early where it is asked to, as far as that is known without the data: something must be measured on
/// held-out examples.
///
/// # Errors
///
/// [`Error::InvalidValue`] for `train.patience`.
pub fn expect_measured(entry: &dyn Entry, config: &RunConfig) -> Result<()> {
    if config.train.patience == 0 || is_measured(entry) {
        return Ok(());
    }
    let able: Vec<&str> = CATALOGUE.iter().filter(|other| is_measured(**other)).map(|e| e.name()).collect();
    let reason = format!("training `{}` measures nothing on held-out examples", entry.name());
    let remedy = format!("leave it 0 and choose the number of steps; it works for {}", able.join(", "));
    Err(refusal(config, &reason, &remedy))
}

/// Whether a model has a likelihood, which is what is measured.
fn is_measured(entry: &dyn Entry) -> bool {
    entry.about().abilities.contains(&Ability::Likelihood)
}

/// The same where the data and the model are there.
pub(super) fn expect_measured_on(
    held_out: Option<&Examples>,
    model: &dyn TrainedModel,
    entry: &dyn Entry,
    config: &RunConfig,
) -> Result<()> {
    expect_measured(entry, config)?;
    let Some(held_out) = held_out else {
        let remedy = "leave it 0, or collect the data with a part held out";
        return Err(refusal(config, "the data have no held-out examples", remedy));
    };
    let Some(likelihood) = model.abilities().likelihood else {
        let reason =
            format!("`{}` has no likelihood with these settings, which would be measured", entry.name());
        return Err(refusal(config, &reason, "leave it 0, or change the settings of the model"));
    };
    if !evaluate::can_validate(likelihood, held_out)? {
        let reason = "the model is conditioned on classes, and no held-out example has one";
        return Err(refusal(config, reason, "leave it 0, or give labels to the held-out examples"));
    }
    Ok(())
}

fn refusal(config: &RunConfig, reason: &str, remedy: &str) -> Error {
    Error::invalid_value("train.patience", &config.train.patience.to_string(), reason, remedy)
}

impl Training {
    /// Measures the held-out metric, if there is one, and writes it.
    pub(super) fn evaluate(&mut self, counts: Counts, watch: &mut dyn FnMut(Event)) -> Result<()> {
        let Some(held_out) = &self.held_out else { return Ok(()) };
        let model = self.model()?;
        let Some(likelihood) = model.abilities().likelihood else { return Ok(()) };
        let (began, step) = (Instant::now(), self.step);
        watch(Event::Working { step, progress: Progress::working("evaluating") });
        let device = self.device.clone().inner();
        let measured = evaluate::validation(likelihood, held_out, &self.spec, &device)?;
        drop(model);
        self.clock.add(Work::Evaluating, began);
        let Some((name, value)) = measured else { return Ok(()) };
        // Of a run that was killed before its first checkpoint, the weights that it starts from are measured once more.
        if step > 0 || self.metric.is_none() {
            self.write("validation", &[(name.to_owned(), value)])?;
        }
        self.metric = Some(name.to_owned());
        let better = self.best.count(step, value, counts);
        watch(Event::Evaluated { step, name, value, better });
        Ok(())
    }

    /// Whether training ends early: the held-out metric was measured often enough without becoming better.
    pub(super) fn is_out_of_patience(&self) -> bool {
        let patience = self.config.train.patience;
        patience > 0 && self.best.regular.is_some_and(|best| best.since >= patience)
    }

    /// The best checkpoint so far, with the name of the metric.
    pub(super) fn best_step(&self) -> Option<BestStep> {
        let (best, metric) = (self.best.best()?, self.metric.clone()?);
        best.value.is_finite().then_some(BestStep { metric, value: best.value, step: best.step })
    }

    /// Why training ended before its last step.
    pub(super) fn why_early(&self) -> Option<String> {
        let (best, metric) = (self.best.regular?, self.metric.as_ref()?);
        let times = if best.since == 1 { "evaluation" } else { "evaluations" };
        Some(format!("{metric} became no better in {} {times}; best after step {}", best.since, best.step))
    }
}
