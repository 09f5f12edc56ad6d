//! Shows what a model has learned: one file per verb, each written against abilities.
//!
//! Each verb returns 8-bit images, concatenated, for a grid.

mod interpolate;
mod neighbors;
mod traverse;

pub use interpolate::interpolate;
pub use neighbors::{Neighbors, neighbors};
pub use traverse::{Traversal, traverse};

use burn::tensor::{Device, Tensor, TensorData};

use crate::abilities::Latents;
use crate::data::to_bytes;

/// Latents are decoded in batches of this size, to bound memory.
const GROUP: usize = 64;

/// Decodes latents given as rows of values.
fn decode_rows(latents: &dyn Latents, rows: &[Vec<f32>], device: &Device) -> Vec<u8> {
    let group = |rows: &[Vec<f32>]| {
        let data = TensorData::new(rows.concat(), [rows.len(), latents.latent_dim()]);
        to_bytes(latents.decode(Tensor::from_data(data, device), &vec![None; rows.len()]))
    };
    rows.chunks(GROUP).flat_map(group).collect()
}

/// Draws one latent as values.
fn latent(latents: &dyn Latents, seed: u64, index: u64, device: &Device) -> Vec<f32> {
    latents.draw(seed, index..index + 1, device).into_data().iter::<f32>().collect()
}
