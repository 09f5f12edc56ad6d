//! Generative adversarial networks: a generator that turns noise into images, and a discriminator that is
//! trained to tell them from data and teaches the generator to deceive it (Goodfellow et al. 2014).

pub mod dcgan;

pub use dcgan::{Dcgan, DcganConfig};
