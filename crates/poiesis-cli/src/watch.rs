//! Shows training: a bar on a terminal, plain lines elsewhere, JSON events for programs, or only warnings.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use poiesis::error::in_bytes;
use poiesis::evaluate::Progress;
use poiesis::train::Event;
use serde_json::{Value, json};

use crate::line::{Part, fit};
use crate::render::{PAUSE, can_draw, count, duration, in_json, note, number, result};

/// The columns that the bar and its numbers take of the first line.
const BAR: usize = 48;

/// How training is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// A bar, or lines where there is no terminal.
    Progress,
    /// One JSON object per line on standard output.
    Json,
    /// Only warnings.
    Quiet,
}

/// Shows the events of training.
pub(crate) struct Watch {
    show: Show,
    bar: ProgressBar,
    drawn: bool,
    steps: u64,
    /// Units per second, smoothed, and their name.
    rate: Option<(f64, &'static str)>,
    /// When the last report came, and how many seconds were left then.
    left: Option<(Instant, f64)>,
    /// The last metrics, each with its name.
    metrics: Vec<String>,
    /// The last held-out metric.
    measured: String,
    /// What is being done besides steps.
    working: String,
    /// The last checkpoint: its step, and when it was written.
    saved: Option<(u64, Instant)>,
    last_line: Option<Instant>,
    /// The last checkpoint's folder.
    pub(crate) checkpoint: Option<PathBuf>,
}

impl Watch {
    pub(crate) fn new(show: Show) -> Watch {
        let drawn = show == Show::Progress && can_draw();
        let target = if drawn { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:16} {human_pos}/{human_len} {percent:>3}%  {prefix}\n{msg}")
        {
            bar.set_style(style);
        }
        Watch {
            show,
            bar,
            drawn,
            steps: 0,
            rate: None,
            left: None,
            metrics: Vec::new(),
            measured: String::new(),
            working: String::new(),
            saved: None,
            last_line: None,
            checkpoint: None,
        }
    }

    /// Shows one event.
    pub(crate) fn see(&mut self, event: &Event) {
        self.remember(event);
        match self.show {
            Show::Json => {
                if let Some(object) = to_json(event) {
                    // Training continues when the output is closed.
                    let _ = result(&format!("{object}\n"));
                }
            }
            Show::Progress => self.render(event),
            Show::Quiet => {}
        }
        if let (Event::Warning { step, warning }, false) = (event, self.show == Show::Json) {
            self.say(&format!(
                "warning at step {} [{}]: {}\n  what to try: {}",
                count(*step),
                warning.name,
                warning.what,
                warning.remedy
            ));
        }
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn remember(&mut self, event: &Event) {
        match event {
            Event::Started { steps, .. } => self.steps = *steps,
            // What was being done is over.
            Event::Step { .. } | Event::Sampled { .. } => self.working.clear(),
            Event::Working { progress, .. } => self.working = work(progress),
            Event::Report { metrics, per_second, unit, left, .. } => {
                let smoothed = self.rate.map_or(*per_second, |(before, _)| 0.8 * before + 0.2 * per_second);
                self.rate = Some((smoothed, unit));
                self.left = Some((Instant::now(), *left));
                self.metrics = metrics.iter().map(|(name, value)| named(name, *value)).collect();
            }
            Event::Evaluated { name, value, better, .. } => {
                self.working.clear();
                self.measured = named(name, *value);
                if *better {
                    self.measured.push_str(" (best)");
                }
            }
            Event::Checkpoint { step, path } => {
                self.working.clear();
                self.saved = Some((*step, Instant::now()));
                self.checkpoint = Some(path.clone());
            }
            _ => {}
        }
    }

    fn render(&mut self, event: &Event) {
        match event {
            Event::Started { step, steps, parameters, notes, .. } => {
                for line in notes {
                    self.say(&format!("note: {line}"));
                }
                self.say(&format!("parameters  {}", networks(parameters)));
                if *step > 0 && step < steps {
                    self.say(&format!("continuing  after step {} of {}", count(*step), count(*steps)));
                }
                self.bar.set_length(*steps);
                self.bar.set_position(*step);
                self.bar.reset_eta();
            }
            Event::Memory { peak } => self.say(&format!("memory      {}", in_bytes(*peak))),
            Event::Step { step } => {
                self.bar.set_position(*step);
                self.draw();
            }
            Event::Working { step, .. } => {
                self.draw();
                self.line(*step, false);
            }
            Event::Report { step, .. } => self.line(*step, *step == self.steps),
            _ => {}
        }
    }

    /// Draws the two lines of the bar, fitted to the terminal.
    fn draw(&self) {
        if self.drawn {
            let columns = usize::from(console::Term::stderr().size().1);
            self.bar.set_prefix(fit(&self.pace(), Some(columns.saturating_sub(BAR))));
            self.bar.set_message(fit(&self.measures(), Some(columns)));
        }
    }

    /// Prints a line where there is no bar, unless one was printed a moment ago.
    fn line(&mut self, step: u64, last: bool) {
        let due = self.last_line.is_none_or(|before| before.elapsed() >= PAUSE);
        if !self.drawn && (due || last) {
            self.last_line = Some(Instant::now());
            let parts = [self.pace(), self.measures()].concat();
            note(&format!("step {}/{}  {}", count(step), count(self.steps), fit(&parts, None)));
        }
    }

    /// What is being done, the time left, the speed and the last checkpoint.
    fn pace(&self) -> Vec<Part> {
        let left =
            self.left.map(|(then, left)| format!("{} left", duration(left - then.elapsed().as_secs_f64())));
        let rate = self.rate.map(|(rate, unit)| format!("{} {unit}/s", count(rate as u64)));
        let saved = self.saved.map(|(at, when)| format!("saved at {}{}", count(at), ago(when.elapsed())));
        vec![
            Part::new(0, self.working.clone()),
            Part::new(1, left.unwrap_or_default()),
            Part::new(2, rate.unwrap_or_default()),
            Part::new(3, saved.unwrap_or_default()),
        ]
    }

    /// The metrics; the held-out one is never left out.
    fn measures(&self) -> Vec<Part> {
        let metrics = self.metrics.iter().map(|metric| Part::new(1, metric.clone()));
        metrics.chain([Part::new(0, self.measured.clone())]).collect()
    }

    /// Prints a line above the bar.
    fn say(&self, line: &str) {
        self.bar.suspend(|| note(line));
    }
}

/// A metric with its value.
pub(crate) fn named(name: &str, value: f64) -> String {
    format!("{name} {}", number(value))
}

/// What is being done: `sampling 24 of 64 images`.
fn work(progress: &Progress) -> String {
    match progress.total {
        Some(total) => {
            format!("{} {} of {} {}", progress.what, count(progress.done), count(total), progress.unit)
        }
        None => progress.what.to_owned(),
    }
}

/// The age of a checkpoint, unless it is recent.
fn ago(age: Duration) -> String {
    if age < Duration::from_secs(60) {
        String::new()
    } else {
        format!(" ({} ago)", duration(age.as_secs_f64()))
    }
}

/// The sizes of a model's networks: `generator 1,234,567  discriminator 234,567`.
pub(crate) fn networks(parameters: &[(String, usize)]) -> String {
    let each: Vec<String> =
        parameters.iter().map(|(name, size)| format!("{name} {}", count(*size as u64))).collect();
    each.join("  ")
}

/// An event for programs; steps that are not reported are left out.
fn to_json(event: &Event) -> Option<Value> {
    let object = |pairs: &[(&'static str, f64)]| -> Value {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
    };
    Some(match event {
        Event::Started { run, step, steps, parameters, notes } => {
            let parameters: Value =
                parameters.iter().map(|(name, size)| ((*name).to_owned(), Value::from(*size))).collect();
            json!({
                "event": "started", "run": in_json(run), "step": step, "steps": steps,
                "parameters": parameters, "notes": notes,
            })
        }
        Event::Step { .. } => return None,
        Event::Memory { peak } => json!({ "event": "memory", "peak": peak }),
        // Only that it begins.
        Event::Working { progress, .. } if progress.done > 0 => return None,
        Event::Working { step, progress } => {
            json!({ "event": "working", "step": step, "what": progress.what, "unit": progress.unit, "total": progress.total })
        }
        Event::Report { step, metrics, examples_per_second, per_second, unit, elapsed, left } => json!({
            "event": "report", "step": step, "metrics": object(metrics), "examples_per_second": examples_per_second,
            "per_second": per_second, "unit": unit, "elapsed": elapsed, "left": left,
        }),
        Event::Evaluated { step, name, value, better } => {
            json!({ "event": "evaluated", "step": step, "name": name, "value": value, "better": better })
        }
        Event::Sampled { step, path } => json!({ "event": "sampled", "step": step, "path": in_json(path) }),
        Event::Checkpoint { step, path } => {
            json!({ "event": "checkpoint", "step": step, "path": in_json(path) })
        }
        Event::Warning { step, warning } => json!({
            "event": "warning", "step": step,
            "name": warning.name, "what": warning.what, "remedy": warning.remedy,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(step: u64) -> Event {
        Event::Report {
            step,
            metrics: vec![("nll", 0.5), ("bits_per_dim", 2.25)],
            examples_per_second: 10.0,
            per_second: 640.0,
            unit: "tokens",
            elapsed: 7.0,
            left: 90.0,
        }
    }

    #[test]
    fn the_held_out_metric_and_what_is_being_done_are_shown_at_any_width() {
        let mut watch = Watch::new(Show::Quiet);
        let progress = Progress { what: "sampling", unit: "images", done: 24, total: Some(64) };
        for event in [
            report(500),
            Event::Evaluated { step: 500, name: "validation_nll", value: 1.25, better: false },
            Event::Checkpoint { step: 500, path: "run/step".into() },
            Event::Working { step: 500, progress },
        ] {
            watch.see(&event);
        }
        let all = fit(&[watch.pace(), watch.measures()].concat(), None);
        assert_eq!(
            all,
            "sampling 24 of 64 images  1 min 30 s left  640 tokens/s  saved at 500  nll 0.500  bits_per_dim 2.250  \
             validation_nll 1.250"
        );
        for width in 20..120 {
            assert!(fit(&watch.measures(), Some(width)).contains("validation_nll 1.250"), "{width}");
            assert!(fit(&watch.pace(), Some(width)).contains("sampling 24 of 64 images"), "{width}");
        }
        assert_eq!(fit(&watch.measures(), Some(40)), "nll 0.500  validation_nll 1.250");
        watch.see(&Event::Sampled { step: 500, path: "run/samples/500.png".into() });
        assert_eq!(fit(&watch.pace(), Some(20)), "1 min 30 s left");
        watch.see(&Event::Working { step: 500, progress });
        watch.see(&Event::Step { step: 501 });
        assert_eq!(fit(&watch.pace(), Some(20)), "1 min 30 s left");
    }

    #[test]
    fn events_for_programs_are_one_object_a_line() {
        let event = report(3);
        let line = to_json(&event).unwrap().to_string();
        let expected = r#"{"event":"report","step":3,"metrics":{"nll":0.5,"bits_per_dim":2.25},"examples_per_second":10.0,"#;
        assert_eq!(
            line,
            format!(r#"{expected}"per_second":640.0,"unit":"tokens","elapsed":7.0,"left":90.0}}"#)
        );
        assert!(to_json(&Event::Step { step: 1 }).is_none());
    }
}
