//! Packed data as tensors: images and points in batches, text and sound in windows of tokens, all in a computed order.

pub mod classes;
mod examples;
mod images;
pub mod known;
mod labelled;
pub mod mu_law;
pub mod open;
mod points;
mod sample_format;
mod source;
mod spec;
mod tokens;
mod vectors;
mod windows;

pub use examples::Examples;
pub use images::{ImageBatches, ImageNeeds, ImageShape, PixelEncoding, binarized, images, to_bytes};
pub use labelled::{LabelledImages, LabelledNeeds, Labels};
pub use open::{Places, open};
pub use points::{PointBatches, points};
pub use sample_format::SampleFormat;
pub use source::{Amount, Source, SourceOptions};
pub use spec::{Content, DataSpec, MediaKind, PointShape, SoundShape, TextShape};
pub use tokens::{TokenShape, Tokens};
pub use vectors::Vectors;
pub use windows::{TokenStreams, TokenWindows, WindowNeeds, Windows};
