//! Tests with MuJoCo, which say so and pass where it is absent, and tests without it.

mod missing;
mod outcomes;
mod simulated;
mod trajectories;

use std::path::PathBuf;
use std::sync::Arc;

use super::{Library, usual_places};

/// MuJoCo, where `POIESIS_MUJOCO` says that it is or in a usual place; `None`, with the reason printed, without it.
fn library() -> Option<Arc<Library>> {
    let named: Option<PathBuf> = std::env::var_os("POIESIS_MUJOCO").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let prefixes: Vec<PathBuf> = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from).into_iter().collect();
    let places = named.clone().into_iter().chain(usual_places(home.as_deref(), None, &prefixes));
    match Library::open(&places.collect::<Vec<_>>()) {
        Ok(library) => Some(library),
        Err(reason) if named.is_some() => panic!("{reason}"),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}
