//! An environment that runs as a program of its own, such as a script in Python: one line of JSON each way.

mod child;
mod wire;

use std::time::Duration;

use child::{Child, Silence};
use serde::Deserialize;
use wire::{Hello, PROTOCOL, Reported, Request, Started, Stepped, Version};

use crate::environment::{Action, Environment, Spec, Transition};
use crate::episode::{check_action, check_width};
use crate::error::{EnvError, ProcessFault};
use crate::scene::Scene;

/// How much of a line is shown in a message, in characters.
const SHOWN: usize = 120;

/// How long a program may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeouts {
    /// Until its first line. Large libraries take long to load.
    pub start: Duration,
    /// For each answer.
    pub answer: Duration,
}

impl Default for Timeouts {
    /// A minute to start, and ten seconds for each answer.
    fn default() -> Self {
        Timeouts { start: Duration::from_secs(60), answer: Duration::from_secs(10) }
    }
}

/// An environment that runs as a program of its own.
///
/// The program says in its first line what it is, and then answers one line of JSON with another; the README of this crate
/// describes them. What it writes to its error output is kept for messages. It is ended, with all that it has started, when
/// this is dropped or an answer does not come in time.
///
/// An episode cannot be continued from saved numbers: [`state`](Environment::state) is empty, and
/// [`restore`](Environment::restore) answers [`EnvError::CannotRestore`]. It draws nothing.
pub struct Process {
    command: String,
    child: Child,
    spec: Spec,
    timeouts: Timeouts,
    steps: usize,
    running: bool,
}

impl Process {
    /// Starts a program. The command is split into words as a shell does, with quotes, but no shell runs it.
    ///
    /// # Errors
    ///
    /// [`EnvError::Process`].
    pub fn start(command: &str, timeouts: Timeouts) -> Result<Self, EnvError> {
        let early = |fault| EnvError::Process { command: command.into(), fault, stderr: Vec::new() };
        let words = shlex::split(command)
            .ok_or_else(|| early(ProcessFault::NoCommand("a quotation mark is missing".into())))?;
        let (program, arguments) =
            words.split_first().ok_or_else(|| early(ProcessFault::NoCommand("it is empty".into())))?;
        let mut child = Child::start(program, arguments)
            .map_err(|error| early(ProcessFault::NotStarted(error.to_string())))?;
        match greeted(&mut child, timeouts.start) {
            Ok(spec) => {
                Ok(Process { command: command.into(), child, spec, timeouts, steps: 0, running: false })
            }
            Err(fault) => Err(failed(command, &mut child, fault)),
        }
    }

    /// Asks for something and waits for the answer.
    fn ask<T: for<'a> Deserialize<'a>>(
        &mut self,
        request: &Request<'_>,
        doing: &'static str,
    ) -> Result<T, EnvError> {
        let answer = match self.child.waiting() {
            Some(line) => Err(ProcessFault::Unasked(shown(&String::from_utf8_lossy(&line)))),
            None => {
                let mut line = serde_json::to_string(request).expect("requests are finite numbers");
                line.push('\n');
                self.child.send(line);
                line_of(&mut self.child, self.timeouts.answer, doing)
                    .and_then(|line| understood(&line, doing))
            }
        };
        answer.map_err(|fault| self.failed(fault))
    }

    fn failed(&mut self, fault: ProcessFault) -> EnvError {
        self.running = false;
        failed(&self.command, &mut self.child, fault)
    }

    /// Writes an observation if it fits.
    fn take(
        &mut self,
        given: &[Option<f64>],
        observation: &mut [f64],
        doing: &'static str,
    ) -> Result<(), EnvError> {
        if given.len() != observation.len() {
            let fault = ProcessFault::Size { doing, given: given.len(), expected: observation.len() };
            return Err(self.failed(fault));
        }
        for (at, (number, place)) in given.iter().zip(observation).enumerate() {
            match number {
                Some(number) if number.is_finite() => *place = *number,
                _ => {
                    let what = format!("number {at} of the observation");
                    return Err(self.failed(ProcessFault::NotFinite { doing, what }));
                }
            }
        }
        Ok(())
    }
}

impl Environment for Process {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The program gets the upper 53 bits of the seed, which every reader of JSON holds exactly.
    fn reset(&mut self, seed: u64, observation: &mut [f64]) -> Result<(), EnvError> {
        check_width(&self.spec, observation);
        let doing = "starting an episode";
        let started: Started = self.ask(&Request::Reset { seed: seed >> 11 }, doing)?;
        self.take(&started.observation, observation, doing)?;
        (self.steps, self.running) = (0, true);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Transition, EnvError> {
        check_width(&self.spec, observation);
        if !self.running {
            return Err(EnvError::NoEpisode { environment: self.spec.name.clone() });
        }
        check_action(&self.spec, action)?;
        let doing = "taking a step";
        let stepped: Stepped = self.ask(&Request::Step { action: action.into() }, doing)?;
        self.take(&stepped.observation, observation, doing)?;
        let Some(reward) = stepped.reward.filter(|reward| reward.is_finite()) else {
            return Err(self.failed(ProcessFault::NotFinite { doing, what: "the reward".into() }));
        };
        self.steps += 1;
        let truncated = stepped.truncated || self.spec.time_limit.is_some_and(|limit| self.steps >= limit);
        let transition = Transition { reward, terminated: stepped.terminated, truncated };
        self.running = !transition.ended();
        Ok(transition)
    }

    fn state(&self) -> Vec<f64> {
        Vec::new()
    }

    fn restore(&mut self, _: &[f64]) -> Result<(), EnvError> {
        Err(EnvError::CannotRestore { environment: self.spec.name.clone() })
    }

    fn scene(&self) -> Scene {
        Scene::default()
    }
}

impl Drop for Process {
    /// Tells the program to end. What is left of it is killed when its child is dropped.
    fn drop(&mut self) {
        let mut line = serde_json::to_string(&Request::Close).expect("it has no numbers");
        line.push('\n');
        self.child.send(line);
    }
}

/// Reads the first line.
fn greeted(child: &mut Child, timeout: Duration) -> Result<Spec, ProcessFault> {
    let doing = "saying what it is";
    let line = line_of(child, timeout, doing)?;
    let Version { protocol } = understood(&line, doing)?;
    if protocol != PROTOCOL {
        return Err(ProcessFault::Version { theirs: protocol, ours: PROTOCOL });
    }
    understood::<Hello>(&line, doing)?.spec()
}

/// The next line as text.
fn line_of(child: &mut Child, timeout: Duration, doing: &'static str) -> Result<String, ProcessFault> {
    let line = child.receive(timeout).map_err(|silence| match silence {
        Silence::Timeout => ProcessFault::Hung { doing, seconds: timeout.as_secs_f64() },
        Silence::Ended => ProcessFault::Ended { doing, status: child.status() },
    })?;
    String::from_utf8(line).map_err(|error| ProcessFault::Garbage {
        doing,
        reason: "it is not UTF-8".into(),
        line: shown(&String::from_utf8_lossy(error.as_bytes())),
    })
}

/// An answer, or the error that is reported instead.
fn understood<T: for<'a> Deserialize<'a>>(line: &str, doing: &'static str) -> Result<T, ProcessFault> {
    let mut spare = String::new();
    wire::read(line, &mut spare).map_err(|reason| match wire::read(line, &mut String::new()) {
        Ok(Reported { error }) => ProcessFault::Reported { doing, message: error },
        Err(_) => ProcessFault::Garbage { doing, reason, line: shown(line) },
    })
}

/// Ends a program that has failed, and collects what it said.
fn failed(command: &str, child: &mut Child, fault: ProcessFault) -> EnvError {
    child.kill();
    EnvError::Process { command: command.into(), fault, stderr: child.last_words() }
}

/// The beginning of a line that is safe to print.
fn shown(line: &str) -> String {
    let mut short: String = line.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if line.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}
