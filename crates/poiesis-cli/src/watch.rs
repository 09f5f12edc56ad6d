//! Shows training: a bar on a terminal, plain lines elsewhere, JSON events for programs, or only warnings.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use poiesis::error::in_bytes;
use poiesis::train::Event;
use serde_json::{Value, json};

use crate::render::{PAUSE, can_draw, count, duration, note, number, result};

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
    batch_size: u64,
    steps: u64,
    /// Examples per second, smoothed.
    rate: f64,
    metrics: String,
    /// The last held-out metric.
    measured: String,
    /// The last checkpoint: its step, and when it was written.
    saved: Option<(u64, Instant)>,
    last_line: Option<Instant>,
    /// The last checkpoint's folder.
    pub(crate) checkpoint: Option<PathBuf>,
}

impl Watch {
    pub(crate) fn new(show: Show, batch_size: usize) -> Watch {
        let drawn = show == Show::Progress && can_draw();
        let target = if drawn { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:16} {human_pos}/{human_len} {percent:>3}%  {wide_msg}")
        {
            bar.set_style(style);
        }
        Watch {
            show,
            bar,
            drawn,
            batch_size: batch_size as u64,
            steps: 0,
            rate: 0.0,
            metrics: String::new(),
            measured: String::new(),
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
            Event::Report { metrics, examples_per_second, .. } => {
                let smoothed = 0.8 * self.rate + 0.2 * examples_per_second;
                self.rate = if self.rate == 0.0 { *examples_per_second } else { smoothed };
                let named: Vec<String> =
                    metrics.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
                self.metrics = named.join("  ");
            }
            Event::Evaluated { name, value, .. } => self.measured = format!("  {name} {}", number(*value)),
            Event::Checkpoint { step, path } => {
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
                self.bar.set_message(self.summary(*step));
            }
            Event::Report { step, .. } => {
                let due = self.last_line.is_none_or(|last| last.elapsed() >= PAUSE);
                if !self.drawn && (due || *step == self.steps) {
                    self.last_line = Some(Instant::now());
                    note(&format!("step {}/{}  {}", count(*step), count(self.steps), self.summary(*step)));
                }
            }
            _ => {}
        }
    }

    /// Time left, speed, metrics, last held-out metric and last checkpoint.
    fn summary(&self, step: u64) -> String {
        if self.rate == 0.0 {
            return String::new();
        }
        let left = (self.steps.saturating_sub(step) * self.batch_size) as f64 / self.rate;
        let saved = match self.saved {
            Some((at, when)) => format!("  saved at {}{}", count(at), ago(when.elapsed())),
            None => String::new(),
        };
        let left = duration(left);
        format!("{left} left  {}/s  {}{}{saved}", count(self.rate as u64), self.metrics, self.measured)
    }

    /// Prints a line above the bar.
    fn say(&self, line: &str) {
        self.bar.suspend(|| note(line));
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
                "event": "started", "run": run, "step": step, "steps": steps,
                "parameters": parameters, "notes": notes,
            })
        }
        Event::Step { .. } => return None,
        Event::Memory { peak } => json!({ "event": "memory", "peak": peak }),
        Event::Report { step, metrics, examples_per_second } => json!({
            "event": "report", "step": step, "metrics": object(metrics), "examples_per_second": examples_per_second,
        }),
        Event::Evaluated { step, name, value } => {
            json!({ "event": "evaluated", "step": step, "name": name, "value": value })
        }
        Event::Sampled { step, path } => json!({ "event": "sampled", "step": step, "path": path }),
        Event::Checkpoint { step, path } => json!({ "event": "checkpoint", "step": step, "path": path }),
        Event::Warning { step, warning } => json!({
            "event": "warning", "step": step,
            "name": warning.name, "what": warning.what, "remedy": warning.remedy,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_for_programs_are_one_object_a_line() {
        let event = Event::Report { step: 3, metrics: vec![("loss", 0.5)], examples_per_second: 10.0 };
        let line = to_json(&event).unwrap().to_string();
        assert_eq!(line, r#"{"event":"report","step":3,"metrics":{"loss":0.5},"examples_per_second":10.0}"#);
        assert!(to_json(&Event::Step { step: 1 }).is_none());
    }
}
