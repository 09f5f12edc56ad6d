//! Environments on the physics of MuJoCo 3.17.0: the tasks of Gymnasium's v5 with the same observations, rewards and endings.
//!
//! # The library
//!
//! MuJoCo is looked for when the first of these environments is made, in the places that [`look_in`] was given. Nothing is
//! linked, so a program without it starts and runs everything else. Exactly this version is needed, as the fields of its
//! structures are read where they lie there; [`Library::open`] proves that on a small model before anything else is computed.
//! [`usual_places`] gives places where people have it.
//!
//! # Bodies and tasks
//!
//! The bodies are models of our own with the lengths, masses, ranges and gears of Gymnasium's. Trajectories recorded from
//! Gymnasium come out the same within 1e-9. Two things differ on purpose: the sparse half cheetah, which is VIME's, and the
//! start of an episode, which is drawn from the same distribution by our own generator.
//!
//! MuJoCo clamps controls to their ranges. Costs of control count the action as it was given, as Gymnasium's do.
//!
//! # When physics fail
//!
//! Where positions, velocities or accelerations become infinite, huge or not a number, MuJoCo starts again from the initial
//! positions and goes on. Here that is [`EnvError::NotFinite`]: the reward of that step is not a number. An error of MuJoCo
//! itself aborts the program, see [`Library::open`].

mod error;
mod layout;
mod library;
mod places;
mod probe;
mod scene;
mod simulation;
mod tasks;
#[cfg(test)]
mod tests;
mod view;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

pub use error::MujocoError;
pub use library::Library;
pub use places::{LIBRARY_FILE, VERSION, usual_places};
pub use tasks::{Outline, names, outline};

pub(crate) use tasks::ENVIRONMENTS;

use crate::environment::Environment;
use crate::error::EnvError;
use simulation::Simulation;

/// Where to look for the library, and the library once it was found.
static SHARED: Mutex<Shared> = Mutex::new(Shared { places: Vec::new(), library: None });

struct Shared {
    places: Vec<PathBuf>,
    library: Option<Arc<Library>>,
}

/// Says where [`make`](crate::make) looks for the library: as [`Library::open`] does, in this order. Without it there is no
/// place. A library that was found already is kept.
pub fn look_in(places: Vec<PathBuf>) {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).places = places;
}

/// Returns the library that [`make`](crate::make) uses, which is opened now if it was not yet.
///
/// # Errors
///
/// As [`Library::open`].
pub fn library() -> Result<Arc<Library>, MujocoError> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.library.is_none() {
        shared.library = Some(Library::open(&shared.places)?);
    }
    Ok(shared.library.clone().expect("it was just opened"))
}

/// Makes an environment with a given library.
///
/// # Errors
///
/// [`EnvError::UnknownEnvironment`] when `name` is not one of [`names`], and [`MujocoError::Body`] when MuJoCo refuses the
/// body or has no memory for it.
pub fn make_with(library: &Arc<Library>, name: &str) -> Result<Box<dyn Environment>, EnvError> {
    let unknown = || EnvError::UnknownEnvironment { name: name.into(), nearest: Vec::new() };
    let task = tasks::find(name).ok_or_else(unknown)?;
    Ok(Box::new(Simulation::environment(library, task)?))
}

/// Makes an environment with the shared library.
fn make(name: &str) -> Result<Box<dyn Environment>, EnvError> {
    make_with(&library()?, name)
}
