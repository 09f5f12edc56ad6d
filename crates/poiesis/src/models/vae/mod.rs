//! Variational autoencoders: a decoder that turns latents into images, and an encoder that guesses the latents
//! of an image, trained together on a lower bound of the data's log-probability.

pub mod air;
pub mod draw;
mod flows;
pub mod iaf_vae;
mod pixels;
mod separable;
#[expect(clippy::module_inception, reason = "the family and its first member share a name")]
pub mod vae;

pub use air::{Air, AirConfig};
pub use draw::{Draw, DrawConfig};
pub use iaf_vae::{IafVae, IafVaeConfig};
pub use pixels::PixelDistribution;
pub use vae::{Vae, VaeConfig};
