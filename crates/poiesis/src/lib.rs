//! Poiesis trains generative models on your data, shows what they learned, and puts them to work.
//!
//! The library has four steps. **Collect**: `poiesis_collect` packs images, text or sound into a data set. **Train**:
//! [`train::train`] trains any model of the [`catalogue`] on it and writes a [`run`]. **Discover** and **apply**:
//! a [`Trained`] model is opened from a run, and [`discover`], [`apply`] and [`evaluate`] use its [`abilities`].
//! All of them sample through [`generate`].
//!
//! Images are `[batch, height, width, channels]` in [-1, 1], binarised ones in {0, 1}. Likelihoods are in nats per
//! example. Randomness is keyed ([`rng`]): the same numbers for any batch size and any number of threads.
//! The library never prints, never reads the environment and never exits.

pub mod abilities;
pub mod agents;
pub mod apply;
pub mod atomic;
pub mod catalogue;
pub mod coding;
pub mod config;
pub mod data;
pub mod device;
pub mod discover;
pub mod dist;
pub mod error;
pub mod evaluate;
pub mod features;
pub mod fitting;
pub mod generate;
pub mod media;
pub mod model;
pub mod models;
pub mod nn;
pub mod optim;
pub mod picture;
pub mod rng;
pub mod run;
#[cfg(test)]
mod testing;
pub mod train;
mod trained;

pub use error::{Error, Result};
pub use trained::{Open, Trained, Weights};
