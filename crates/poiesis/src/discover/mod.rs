//! What a model learned, one verb a file, written against capabilities.
//!
//! Each verb returns 8-bit images one after another, to be laid out as a grid.

mod interpolate;
mod neighbors;
mod traverse;

pub use interpolate::interpolate;
pub use neighbors::{Neighbors, neighbors};
pub use traverse::{Traversal, traverse};

use burn::tensor::{Tensor, TensorData};

use crate::capability::Decode;
use crate::data::to_bytes;

/// Latents are decoded in groups of this many, to bound memory.
const GROUP: usize = 64;

/// Decodes latents given as rows of numbers.
fn decode_rows(decoder: &dyn Decode, rows: &[Vec<f32>]) -> Vec<u8> {
    let device = decoder.draw_latents(0, 0..1).device();
    let group = |rows: &[Vec<f32>]| {
        let data = TensorData::new(rows.concat(), [rows.len(), decoder.latent_dim()]);
        to_bytes(decoder.decode(Tensor::from_data(data, &device)))
    };
    rows.chunks(GROUP).flat_map(group).collect()
}

/// Draws one latent as numbers.
fn latent(decoder: &dyn Decode, seed: u64, index: u64) -> Vec<f32> {
    decoder.draw_latents(seed, index..index + 1).into_data().iter::<f32>().collect()
}
