//! Shows files on their way: a bar on a terminal, lines elsewhere, and what servers do wrong.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use poiesis::error::in_bytes;
use poiesis_fetch::Event;

use crate::render::{PAUSE, can_draw, duration, note};

/// Shows the events of a download.
pub(crate) struct Transfer {
    quiet: bool,
    drawn: bool,
    bar: ProgressBar,
    /// The file that is on its way: its name, when it began, and how much of it was there.
    file: Option<(String, Instant, u64)>,
    last_line: Instant,
}

impl Transfer {
    /// Without progress if `quiet`; what goes wrong is said all the same.
    pub(crate) fn new(quiet: bool) -> Transfer {
        let drawn = !quiet && can_draw();
        let target = if drawn { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:16} {wide_msg}") {
            bar.set_style(style);
        }
        Transfer { quiet, drawn, bar, file: None, last_line: Instant::now() }
    }

    /// Shows one event.
    pub(crate) fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Begins { file, address, kept } => {
                self.file = Some((file.name.clone(), Instant::now(), *kept));
                self.last_line = Instant::now();
                self.bar.set_prefix(file.name.clone());
                self.bar.set_message("");
                if !self.quiet && !self.drawn {
                    let after =
                        if *kept > 0 { format!(", after {}", in_bytes(*kept)) } else { String::new() };
                    note(&format!("{} from {address}{after}", file.name));
                }
            }
            Event::Progress { done, total, .. } => self.progress(*done, *total),
            Event::Again { address, fault, wait, .. } => {
                let wait = duration(wait.as_secs_f64());
                self.say(&format!("{address}: {fault}; trying again in {wait}"));
            }
            Event::Failed { address, fault, next: Some(next), .. } => {
                self.say(&format!("{address}: {fault}; trying {next}"));
            }
            Event::Unpacking { file } => {
                self.bar.set_message("taking it out of the archive");
                if !self.quiet && !self.drawn {
                    note(&format!("taking {} out of the archive", file.name));
                }
            }
            _ => {}
        }
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn progress(&mut self, done: u64, total: Option<u64>) {
        let Some((name, began, kept)) = &self.file else { return };
        let pace = pace(done, total, done.saturating_sub(*kept), began.elapsed().as_secs_f64());
        if self.drawn {
            self.bar.set_length(total.unwrap_or(done).max(1));
            self.bar.set_position(done);
            self.bar.set_message(pace);
        } else if !self.quiet && self.last_line.elapsed() >= PAUSE {
            self.last_line = Instant::now();
            note(&format!("{name}: {pace}"));
        }
    }

    /// Prints a line above the bar.
    fn say(&self, line: &str) {
        self.bar.suspend(|| note(&format!("note: {line}")));
    }
}

/// How much is there, how fast it comes, and how long the rest takes at that speed. `new` bytes have come in so many seconds.
fn pace(done: u64, total: Option<u64>, new: u64, seconds: f64) -> String {
    let speed = new as f64 / seconds.max(1e-3);
    let of = total.map(|total| format!(" of {}", in_bytes(total))).unwrap_or_default();
    let left = total.filter(|_| speed > 0.0).map(|total| total.saturating_sub(done) as f64 / speed);
    let left = left.map(|left| format!(", {} left", duration(left))).unwrap_or_default();
    format!("{}{of}, {}/s{left}", in_bytes(done), in_bytes(speed as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_what_has_come_now() {
        assert_eq!(
            pace(6_000_000, Some(10_000_000), 2_000_000, 4.0),
            "6.0 MB of 10.0 MB, 500.0 kB/s, 8.0 s left"
        );
        assert_eq!(pace(2_000_000, None, 2_000_000, 1.0), "2.0 MB, 2.0 MB/s");
        assert_eq!(pace(5, Some(10), 0, 0.0), "5 B of 10 B, 0 B/s");
    }
}
