//! Experience: episodes of an agent in an environment, from arrays of NumPy, parquet tables and `.jsonl`, or recorded by this
//! program.
//!
//! Whatever the format, it becomes the same: observations, one more than there are transitions, actions, rewards where they are
//! known, and whether the last state was terminal. All episodes of a data set have the same sizes.

mod arrays;
mod assemble;
mod card;
mod collect;
mod column;
mod episode;
mod episodes;
mod lines;
mod names;
mod pack;
mod picture;
mod shard;
mod source;
mod table;
mod write;

pub(crate) use assemble::Found;
pub use card::{ActionsCard, ExperienceCard};
pub(crate) use collect::collect_experience;
pub use episode::{Episode, EpisodeView};
pub use episodes::Episodes;
pub(crate) use picture::curves;
pub(crate) use shard::least_bytes;
pub(crate) use source::{Experience, Part, is_lines, is_wanted};
pub use write::{ExperienceWriter, write_experience};

/// Most choices that a discrete action may be of.
pub(crate) const MOST_CHOICES: usize = 1 << 16;
