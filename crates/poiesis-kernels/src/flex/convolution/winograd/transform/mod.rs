//! The transforms of tiles and weights, a vector of channels at a time.

mod inputs;
mod results;
mod vectors;
mod weights;

pub(super) use inputs::{LargeToTiles, SmallToTiles};
pub(super) use results::{TilesToLarge, TilesToSmall};
pub(super) use weights::{SumsToWeights, WeightsToPanel};
