//! Applies trained models: one file per verb, each written against abilities.

pub mod anomaly;
pub mod attribute;
pub mod classify;
pub mod compress;
pub mod denoise;
pub mod edit;
pub mod encode;
pub mod infill;
pub mod inversion;
pub mod latents_file;
pub mod play;
pub mod reconstruct;
pub mod record;
pub mod score;
