//! How training ended, and what can be done next.

use std::path::Path;

use anyhow::Result;
use poiesis::abilities::Ability;
use poiesis::model::Entry;
use poiesis::run::{BestStep, State};
use poiesis::train::{Outcome, Spent, Summary};
use poiesis_collect::Split;
use serde_json::json;

use crate::render::{count, counted, duration, facts, in_json, note, number, program, quoted, result};
use crate::watch::{Show, Watch, named};

/// What decides which commands are proposed.
pub(super) struct NextSteps {
    pub(super) entry: &'static dyn Entry,
    pub(super) of_images: bool,
    /// The split that is measured on: the test split if there is one, else the validation split.
    pub(super) held_out: Option<Split>,
    /// Whether the environment of an agent can be drawn.
    pub(super) drawn: bool,
    /// The flags that find the data again.
    pub(super) flags: String,
}

/// The held-out split of a data set that is measured on, if it has any.
pub(super) fn held_out(has: impl Fn(Split) -> bool) -> Option<Split> {
    [Split::Test, Split::Validation].into_iter().find(|&split| has(split))
}

impl NextSteps {
    /// Commands for a finished run, without the name of the program.
    pub(super) fn commands(&self, run: &str) -> Vec<String> {
        let NextSteps { entry, of_images, held_out, drawn, flags } = self;
        let can = |ability| entry.about().abilities.contains(&ability);
        if can(Ability::Act) {
            return vec![
                format!("play {run}{}", if *drawn { " --record episodes.gif" } else { "" }),
                format!("evaluate {run}{flags}"),
                format!("discover states {run} --against random"),
                format!("record {run} --episodes 10 --out demonstrations"),
            ];
        }
        let split = if held_out.is_some() { "" } else { " --split train" };
        let mut next = vec![format!("sample {run} --seed 1")];
        if *of_images && can(Ability::Decode) {
            next.push(format!("discover interpolate {run}"));
        }
        if *of_images {
            next.push(format!("discover neighbors {run}{flags}"));
        }
        if *of_images && can(Ability::Objects) {
            next.push(format!("discover objects {run}{split}{flags}"));
        }
        if *of_images && can(Ability::Complete) {
            next.push(format!("complete {run}{split}{flags}"));
        }
        if *of_images && can(Ability::Encode) {
            next.push(format!("reconstruct {run}{split}{flags}"));
        }
        if *of_images && can(Ability::Classify) {
            let split = held_out.unwrap_or(Split::Train);
            next.push(format!("classify {run} --split {split}{flags}"));
        }
        next.push(format!("evaluate {run}{split}{flags}"));
        if *of_images {
            next.push(format!("animate {run}"));
        }
        next
    }
}

/// Prints how training ended and what can be done next.
pub(super) fn conclude(
    out: &Path,
    outcome: &Outcome,
    next: &NextSteps,
    steps: u64,
    watch: &Watch,
    show: Show,
) -> Result<()> {
    let (program, run) = (program(), quoted(&out.display().to_string()));
    let resume = format!("{program} resume {run}{}", next.flags);
    match show {
        Show::Json => {
            let Summary { training, validation, overfitting } = &outcome.summary;
            let training: serde_json::Map<_, _> =
                training.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            return result(&format!(
                "{}\n",
                json!({
                    "event": "finished", "state": outcome.state, "step": outcome.step, "steps": steps,
                    "elapsed": outcome.elapsed, "spent": outcome.spent, "training": training,
                    "validation": validation.as_ref().map(|(name, value)| json!({ "name": name, "value": value })),
                    "overfitting": overfitting, "best": outcome.best, "early": outcome.early, "checkpoint": watch.checkpoint.as_deref().map(in_json),
                    "samples": outcome.samples.as_deref().map(in_json),
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
        (_, checkpoint) if outcome.early.is_some() => {
            let already = if checkpoint.is_none() { "the run has ended already" } else { "ended early" };
            format!("{already}, after step {} of {}, {took}\n", count(outcome.step), count(steps))
        }
        (_, None) => format!("the run is done already: {} in {took}\n", counted(outcome.step, "step")),
        _ => format!("done: {} in {took}\n", counted(outcome.step, "step")),
    };
    let mut lines = Vec::new();
    let times = times(&outcome.spent, outcome.elapsed);
    if watch.checkpoint.is_some() && !times.is_empty() {
        lines.push(("time", times));
    }
    lines.extend(outcome.early.as_ref().map(|reason| ("because", reason.clone())));
    lines.extend(measures(&outcome.summary));
    lines.extend(outcome.best.as_ref().map(|best| ("best", best_line(best, outcome.step))));
    lines.extend(watch.checkpoint.as_ref().map(|path| ("checkpoint", path.display().to_string())));
    lines.extend(outcome.samples.as_ref().map(|path| ("samples", path.display().to_string())));
    text.push_str(&facts(&lines));
    if outcome.state == State::Stopped {
        text.push_str(&format!("continue with\n  {resume}\n"));
    } else {
        let mut commands = next.commands(&run);
        if watch.checkpoint.is_none() && outcome.early.is_none() {
            commands.insert(0, format!("resume {run} --steps {}{}", 2 * outcome.step, next.flags));
        }
        let next: String = commands.iter().map(|command| format!("  {program} {command}\n")).collect();
        text.push_str(&format!("what to try next\n{next}"));
    }
    result(&text)
}

/// The best checkpoint: `validation_nll 1.750 after step 2,000 (--best)`.
fn best_line(best: &BestStep, last: u64) -> String {
    let measure = named(&best.metric, best.value);
    match best.step == last {
        true => format!("{measure}, after the last step"),
        false => format!("{measure}, after step {}; the flag --best uses it", count(best.step)),
    }
}

/// What the time was spent on: `steps 4 min 10 s, sampling 20 s`. Of a resumed run only this start is known.
fn times(spent: &Spent, elapsed: f64) -> String {
    let parts = [
        ("steps", spent.steps),
        ("sampling", spent.sampling),
        ("evaluating", spent.evaluating),
        ("saving", spent.saving),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, seconds)| *seconds >= 0.05)
        .map(|(name, seconds)| format!("{name} {}", duration(seconds)))
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    let since = if elapsed > 1.1 * spent.total() + 1.0 { "since it was resumed: " } else { "" };
    format!("{since}{}", parts.join(", "))
}

/// The last measures, and what is to be seen in them.
fn measures(summary: &Summary) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if !summary.training.is_empty() {
        let each: Vec<String> = summary.training.iter().map(|(name, value)| named(name, *value)).collect();
        lines.push(("training", each.join("  ")));
    }
    let Some((name, value)) = &summary.validation else { return lines };
    lines.push(("validation", named(name, *value)));
    if let Some(found) = &summary.overfitting {
        lines.push((
            "overfitting",
            format!(
                "{name} was best after step {}, {}, and has risen while the training loss kept falling;\nfewer steps, more \
                 data, more dropout or a smaller network would do better",
                count(found.best_step),
                number(found.best)
            ),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use poiesis::train::Overfitting;

    use super::*;

    #[test]
    fn a_classifier_is_proposed_to_classify_what_was_held_out() {
        let next = |model: &str, held_out| {
            let entry = poiesis::catalogue::find(model).unwrap();
            let flags = " --data-dir sets".to_owned();
            NextSteps { entry, of_images: true, held_out, drawn: false, flags }.commands("runs/a").join("\n")
        };
        let text = next("improved-gan", Some(Split::Test));
        assert!(text.contains("classify runs/a --split test --data-dir sets"), "{text}");
        assert!(next("improved-gan", None).contains("classify runs/a --split train"));
        assert!(!next("dcgan", None).contains("classify"));
        assert_eq!(held_out(|_| true), Some(Split::Test));
        assert_eq!(held_out(|split| split != Split::Test), Some(Split::Validation));
        assert_eq!(held_out(|_| false), None);
    }

    #[test]
    fn the_parts_of_the_time_are_named() {
        let spent = Spent { steps: 104.0, sampling: 190.0, evaluating: 6.04, saving: 0.01 };
        assert_eq!(times(&spent, 303.0), "steps 1 min 44 s, sampling 3 min 10 s, evaluating 6.0 s");
        assert!(times(&spent, 900.0).starts_with("since it was resumed: steps"));
    }

    #[test]
    fn the_best_step_is_named_with_its_value() {
        let best = BestStep { metric: "validation_nll".into(), value: 1.75, step: 2000 };
        assert_eq!(best_line(&best, 2000), "validation_nll 1.750, after the last step");
        let said = "validation_nll 1.750, after step 2,000; the flag --best uses it";
        assert_eq!(best_line(&best, 5000), said);
    }

    #[test]
    fn the_end_shows_both_measures_and_says_overfitting() {
        let summary = |overfitting| Summary {
            training: vec![("nll".into(), 0.5)],
            validation: Some(("validation_nll".into(), 2.25)),
            overfitting,
        };
        let lines = [("training", "nll 0.500".to_owned()), ("validation", "validation_nll 2.250".to_owned())];
        assert_eq!(measures(&summary(None)), lines);
        let found = measures(&summary(Some(Overfitting { best_step: 2000, best: 1.75, last: 2.25 })));
        assert_eq!(found[2].0, "overfitting");
        assert!(found[2].1.contains("best after step 2,000, 1.750"), "{found:?}");
        assert_eq!(measures(&Summary::default()), []);
    }
}
