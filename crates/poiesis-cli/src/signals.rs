//! Ctrl-C and SIGTERM: the first asks the work to end, a later one ends the program.

use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Signals that follow the first within this time are taken for the same one: `timeout` sends its signal to the program and once more to
/// the group that the program is in.
const SAME: Duration = Duration::from_secs(1);

/// Calls `ask` at the first signal, and exits with 130 at one that comes later.
pub(crate) fn on_first(mut ask: impl FnMut() + Send + 'static) -> Result<()> {
    let mut asked: Option<Instant> = None;
    let handler = move || match asked {
        None => {
            ask();
            // What is printed can take a while; only then is the next signal read.
            asked = Some(Instant::now());
        }
        Some(at) if at.elapsed() < SAME => {}
        Some(_) => process::exit(130),
    };
    ctrlc::set_handler(handler).context("cannot watch for Ctrl-C")
}
