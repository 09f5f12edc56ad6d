//! Turns folders, archives and published data files into packed, memory-mapped data sets.
//!
//! [`collect`] reads a source once, prepares every example (orientation, transparency, crop, size, channels) on all
//! cores and writes a folder: `dataset.json`, which is a [`Card`], and safetensors shards. [`Dataset::open`] maps
//! such a folder into memory. [`open_or_collect`] does whichever is needed, and [`export`](export()) writes a data set out as files again.
//!
//! Images and points are examples of one shape, seen through a [`View`]. Points are made by code, or are the rows of a CSV. Text and sound are streams of tokens or samples
//! cut into documents, read through a [`Stream`]; a [`Vocabulary`] says what tokens stand for. Experience is [`Episodes`] of an
//! agent, from files or written by [`write_experience`].
//!
//! ```
//! use poiesis_collect::{Dataset, Options, Split, collect};
//!
//! # fn main() -> poiesis_collect::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let out = folder.path().join("shapes");
//! let options = Options { count: Some(100), size: Some((16, 16)), ..Options::default() };
//! collect("shapes".as_ref(), &out, &options, &|_| ())?;
//! let train = Dataset::open(&out)?.require(Split::Train)?;
//! assert_eq!(train.image(0).len(), 16 * 16 * 3);
//! # Ok(())
//! # }
//! ```

mod bpe;
mod builtin;
mod cache;
mod card;
mod caught;
mod collect;
mod dataset;
mod decode;
mod drawn;
mod duplicates;
mod error;
mod experience;
mod export;
mod fingerprint;
mod image_summary;
mod images;
pub mod isolation;
mod memory;
mod options;
mod pack;
mod points;
mod prepare;
mod preview;
mod progress;
mod read;
pub mod regular;
mod scattered;
mod shard;
mod sound;
mod source;
mod split;
mod stacked;
mod staging;
mod stored_card;
mod stream;
mod stream_pack;
mod summary;
mod text;
mod tones;
mod vocabulary;

pub use bpe::Bpe;
pub use builtin::{Builtin, builtin};
pub use cache::{Cache, Cached, CachedState};
pub use card::{
    Card, FORMAT, Factor, Kind, PointsCard, ShardCard, Skipped, SkippedFile, SoundCard, SplitBy, SplitCard,
    TextCard,
};
pub use caught::panics_are_caught;
pub use collect::{Report, collect, is_source, meant_for, open_or_collect};
pub use dataset::{Dataset, View};
pub use error::{Error, Result, io_remedy};
pub use experience::{
    ActionsCard, Episode, EpisodeView, Episodes, ExperienceCard, ExperienceWriter, write_experience,
};
pub use export::{ExportOptions, Exported, export};
pub use image_summary::ImageSummary;
pub use options::{ActionKind, Crop, Limits, Options, VocabularyKind};
pub use points::read_points;
pub use preview::{Preview, preview};
pub use progress::Progress;
pub use read::{ReadExample, ReadImage, read_images, read_labelled_images};
pub use scattered::scatter;
pub use sound::{SoundSummary, read_sounds};
pub use source::ArrayHeader;
pub use split::Split;
pub use stacked::stack;
pub use stream::Stream;
pub use text::read_texts;
pub use tones::Tones;
pub use vocabulary::Vocabulary;

/// The formats that are read, for messages.
pub const FORMATS: &str = "PNG, JPEG, WebP, BMP, GIF and TIFF images in folders, zip or tar archives, WebDataset \
                           shards, Hugging Face parquet, IDX, CIFAR binary, .amat, npy and npz; text as .txt and .jsonl, \
                           and any other with the `kind` text; sound as WAV, FLAC, MP3 and Ogg Vorbis, points as \
                           rows of numbers in .csv, .tsv and npy; experience as observations and actions in npy, npz, \
                           parquet and .jsonl";
