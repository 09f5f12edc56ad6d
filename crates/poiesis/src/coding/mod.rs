//! Entropy coding with a model's probabilities: the fewer nats data have under the model, the fewer bytes they take.
//!
//! Models that give the distribution of each value given those before it code sequences of values ([`encode`], [`decode`]); models that
//! give the distribution of an image given its latents code images by [`bits_back`].

pub mod bits_back;
mod buckets;
mod levels;
mod sequences;
mod stack;

pub use sequences::{Coded, can_code, decode, decode_uniform, encode, encode_uniform, most_values};
