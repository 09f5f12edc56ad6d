//! Training data as tensors: images and points in batches, text and sound in windows of tokens, all in a computed order; and the
//! environments of agents, with what they learn from.

pub mod classes;
mod demonstrations;
mod environments;
mod examples;
mod experience;
mod facts;
mod images;
mod imitation;
pub mod known;
mod labelled;
mod locate;
mod moments;
pub mod mu_law;
pub mod open;
mod points;
mod prepared;
mod replay;
mod sample_format;
mod source;
mod spec;
mod task;
mod tokens;
mod vectors;
mod windows;

pub use demonstrations::{Demonstrations, Subsample};
pub use environments::{EnvironmentNeeds, Environments};
pub use examples::Examples;
pub use experience::{EnvironmentSource, Experience};
pub use facts::DataFacts;
pub use images::{ImageBatches, ImageNeeds, ImageShape, PixelEncoding, binarized, images, to_bytes};
pub use imitation::{CloningNeeds, DemonstrationBatches, Imitation, ImitationNeeds};
pub use labelled::{LabelledImages, LabelledNeeds, Labels};
pub use moments::Moments;
pub use open::{Places, open};
pub use points::{Column, PointBatches, Values, points};
pub use prepared::{choose_preparation, fitting_side, image_settings};
pub use replay::{Replay, Scaling, Transitions};
pub use sample_format::SampleFormat;
pub use source::{Amount, Source, SourceOptions};
pub use spec::{Content, DataSpec, MediaKind, PointShape, SoundShape, TextShape};
pub use task::{ActionShape, TaskShape};
pub use tokens::{TokenShape, Tokens};
pub use vectors::Vectors;
pub use windows::{TokenStreams, TokenWindows, WindowNeeds, Windows};
