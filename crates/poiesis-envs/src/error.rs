//! What can go wrong. Every message names the environment and the reason; its [`hint`](EnvError::hint) is the remedy.

use crate::mujoco::MujocoError;

/// What a user or a program did wrong. A slice of the wrong size for an observation is a bug and panics instead.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// No environment has this name.
    #[error("there is no environment called `{name}`")]
    UnknownEnvironment {
        /// The name that was given.
        name: String,
        /// Names like it, the nearest first; none when nothing is like it.
        nearest: Vec<String>,
    },

    /// An action is none of the environment's.
    #[error("{environment} does not take this action: {reason}")]
    WrongAction {
        /// The name of the environment.
        environment: String,
        /// What is wrong with the action.
        reason: String,
    },

    /// A step was asked for while no episode runs.
    #[error("{environment} has no episode to go on with: it has ended, or none was started")]
    NoEpisode {
        /// The name of the environment.
        environment: String,
    },

    /// A reward or an observation is infinite or not a number.
    #[error("{environment} gave a number that cannot be used in step {step} of an episode: {what}")]
    NotFinite {
        /// The name of the environment.
        environment: String,
        /// The step of the episode, from 1; 0 is its start.
        step: usize,
        /// Which number it is.
        what: String,
    },

    /// Numbers are no state of the environment.
    #[error("this is no state of {environment}: {reason}")]
    WrongState {
        /// The name of the environment.
        environment: String,
        /// What is wrong with the numbers.
        reason: String,
    },

    /// The environment cannot continue an episode from saved numbers, as its state is in another process. Start a new episode.
    #[error("{environment} runs in another process, so its episodes cannot be continued")]
    CannotRestore {
        /// The name of the environment.
        environment: String,
    },

    /// MuJoCo is missing, or is not the one that is needed.
    #[error(transparent)]
    Mujoco(#[from] MujocoError),

    /// A process that is an environment failed.
    #[error("the environment `{command}` {fault}{}", said(stderr))]
    Process {
        /// The command that started it.
        command: String,
        /// What it did.
        fault: ProcessFault,
        /// The last lines that it wrote to its error output.
        stderr: Vec<String>,
    },

    /// One of several environments failed.
    #[error("environment {index}, episode {episode}, step {step}: {reason}")]
    InEnvironment {
        /// Which environment, from 0.
        index: usize,
        /// Its episode, from 0.
        episode: u64,
        /// The step of the episode, from 1; 0 is its start.
        step: usize,
        /// What went wrong.
        reason: Box<EnvError>,
    },
}

/// What a process did instead of answering.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessFault {
    /// The command cannot be split into a program and its arguments.
    #[error("is no command: {0}")]
    NoCommand(String),
    /// The program could not be started; what the system said.
    #[error("could not be started: {0}")]
    NotStarted(String),
    /// It ended while an answer was due; how.
    #[error("ended while {doing}: {status}")]
    Ended {
        /// What it was to do.
        doing: &'static str,
        /// How it ended, such as `exit status: 1`.
        status: String,
    },
    /// No answer came in time. It was killed.
    #[error("did not answer within {seconds} s while {doing}, and was killed")]
    Hung {
        /// What it was to do.
        doing: &'static str,
        /// The time that it had.
        seconds: f64,
    },
    /// An answer is not of the protocol.
    #[error("answered with something else than the protocol while {doing}: {reason}; the line is `{line}`")]
    Garbage {
        /// What it was to do.
        doing: &'static str,
        /// What is wrong.
        reason: String,
        /// The line, shortened.
        line: String,
    },
    /// It wrote a line that nothing asked for.
    #[error("wrote a line that nothing asked for: `{0}`")]
    Unasked(String),
    /// It speaks another version of the protocol.
    #[error("speaks version {theirs} of the protocol, and version {ours} is needed")]
    Version {
        /// The version that it gave.
        theirs: u64,
        /// The version of this crate.
        ours: u64,
    },
    /// A space cannot be used.
    #[error("has a space that cannot be used: {0}")]
    Space(String),
    /// An observation has the wrong size.
    #[error("gave an observation of {given} numbers while {doing}, and its space has {expected}")]
    Size {
        /// What it was to do.
        doing: &'static str,
        /// The size of the observation.
        given: usize,
        /// The size of its space.
        expected: usize,
    },
    /// A number is infinite or not a number.
    #[error("gave a number that cannot be used while {doing}: {what} is not finite")]
    NotFinite {
        /// What it was to do.
        doing: &'static str,
        /// Which number.
        what: String,
    },
    /// It reported an error of its own.
    #[error("reports an error while {doing}: {message}")]
    Reported {
        /// What it was to do.
        doing: &'static str,
        /// What it reports.
        message: String,
    },
}

/// The last lines of a program's error output, below a message.
fn said(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("; the last lines of its error output:\n  {}", lines.join("\n  "))
}

impl EnvError {
    /// What can be done about it, if something is known to help: one line, without a full stop.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            EnvError::UnknownEnvironment { nearest, .. } => return Some(meant(nearest)),
            EnvError::WrongAction { .. } => "give an action of the environment's action space",
            EnvError::NoEpisode { .. } => "reset the environment first",
            EnvError::NotFinite { .. } => {
                "look for a division by zero or an overflow in the environment in this step"
            }
            EnvError::WrongState { .. } => "give a state that the same environment has saved",
            EnvError::CannotRestore { .. } => "start a new episode",
            EnvError::Mujoco(reason) => return reason.hint(),
            EnvError::Process { fault, .. } => fault.hint()?,
            EnvError::InEnvironment { reason, .. } => return reason.hint(),
        };
        Some(fixed.into())
    }
}

impl ProcessFault {
    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            ProcessFault::NoCommand(_) => "write the program and its arguments, such as `python my_env.py`",
            ProcessFault::NotStarted(_) => {
                "check that the program exists and may be run; a script is given to its interpreter, such as `python my_env.py`"
            }
            ProcessFault::Ended { .. } => "run the command by hand to see its error",
            ProcessFault::Hung { .. } => "find out what it waits for, or make it answer faster",
            ProcessFault::Garbage { .. } | ProcessFault::Unasked(_) => {
                "let the program write one line of JSON for each request to its output, and everything else to its error output"
            }
            ProcessFault::Version { .. } => "use the adapter that belongs to this version",
            ProcessFault::Space(_) | ProcessFault::Size { .. } => {
                "let the spaces of the first line describe what the environment gives and takes"
            }
            ProcessFault::NotFinite { .. } => "look for a division by zero or an overflow in the environment",
            ProcessFault::Reported { .. } => return None,
        })
    }
}

fn meant(nearest: &[String]) -> String {
    match nearest {
        [] => "`poiesis envs` lists them; a program of your own is given as a command, such as `python my_env.py`".into(),
        names => format!("did you mean {}?", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")),
    }
}
