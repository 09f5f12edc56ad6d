//! What can go wrong with MuJoCo.

use std::path::PathBuf;

use super::places::{LIBRARY_FILE, VERSION};

/// What is missing or wrong on this machine.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MujocoError {
    /// No file of MuJoCo's library is where it was looked for.
    #[error("{LIBRARY_FILE}, the library of MuJoCo {VERSION}, is not there; looked in {}", listed(.looked))]
    NotFound {
        /// Where it was looked for, in this order.
        looked: Vec<PathBuf>,
    },

    /// The file is there, but cannot be loaded, or lacks a function.
    #[error("cannot load {path}: {reason}")]
    NotLoaded {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },

    /// The library is of another version, whose memory is laid out in another way.
    #[error("{path} is MuJoCo {found}, but {VERSION} is needed")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },

    /// The library says that it is of the right version, but its memory is laid out in another way.
    #[error("{path} is not MuJoCo {VERSION} as published: {field} is not where it should be")]
    Layout {
        /// The file.
        path: PathBuf,
        /// The field that differs.
        field: &'static str,
    },

    /// MuJoCo refuses a body.
    #[error("MuJoCo cannot build {body}: {reason}")]
    Body {
        /// Its name.
        body: String,
        /// What MuJoCo said.
        reason: String,
    },
}

impl MujocoError {
    /// Returns the remedy, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } | Self::Version { .. } | Self::Layout { .. } => Some(get()),
            Self::NotLoaded { .. } => {
                Some(format!("it may be of another kind of machine, or damaged; {}", get()))
            }
            Self::Body { .. } => None,
        }
    }
}

/// The one command that gets the library.
fn get() -> String {
    format!(
        "`pip install --no-deps --target ~/.local/lib mujoco=={VERSION}` puts it into ~/.local/lib/mujoco"
    )
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if paths.is_empty() { "no folder".to_owned() } else { paths.join(", ") }
}
