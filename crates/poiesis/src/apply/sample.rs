//! Drawing new images.

use serde::Serialize;

use crate::capability::Sample;
use crate::data::to_bytes;

/// Images are drawn in groups of this many, the last one whole too, so that each is computed in the same company
/// whatever the number asked for: image *i* has the same bytes in every request.
const GROUP: u64 = 16;

/// Draws `count` images of the sequence that `seed` starts, from number `first`: 8-bit, one after another.
pub fn images(sampler: &dyn Sample, seed: u64, first: u64, count: usize) -> Vec<u8> {
    let end = first + count as u64;
    let mut bytes = Vec::new();
    for group in first / GROUP..end.div_ceil(GROUP) {
        let start = group * GROUP;
        let images = to_bytes(sampler.sample(seed, start..start + GROUP));
        let dims = images.len() / GROUP as usize;
        let from = first.saturating_sub(start) as usize;
        let to = (end - start).min(GROUP) as usize;
        bytes.extend_from_slice(&images[from * dims..to * dims]);
    }
    bytes
}

/// The columns of a grid of `count` images: as many as the rows of the smallest square that holds them.
pub fn columns(count: usize) -> usize {
    (1..).find(|side| side * side >= count).unwrap_or(1)
}

/// What is written into the picture of samples, so that they can be drawn again.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// The run's name.
    pub run: String,
    /// Steps the model was trained for.
    pub step: u64,
    /// The seed.
    pub seed: u64,
    /// Number of the first image.
    pub first: u64,
    /// How many there are.
    pub count: usize,
}

impl Note {
    /// The note as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}
