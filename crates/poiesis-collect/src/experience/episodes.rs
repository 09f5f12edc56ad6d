//! The episodes of one split, memory-mapped.

use std::path::Path;
use std::sync::Arc;

use super::shard::Shard;
use super::{ActionsCard, EpisodeView, ExperienceCard};
use crate::card::ShardCard;
use crate::error::Result;
use crate::fingerprint::SplitHasher;

/// The episodes of one split, in the order of the source. They are memory-mapped; clones are cheap.
#[derive(Clone, Debug)]
pub struct Episodes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    observation: usize,
    actions: ActionsCard,
    shards: Vec<Shard>,
    /// Index of the first episode of each shard.
    starts: Vec<usize>,
    len: usize,
    transitions: u64,
}

impl Episodes {
    /// Opens the shards of a split and checks sizes, headers, the places of episodes and choices.
    pub(crate) fn open(folder: &Path, cards: &[ShardCard], card: &ExperienceCard) -> Result<Episodes> {
        let (mut shards, mut starts, mut len, mut transitions) = (Vec::new(), Vec::new(), 0, 0);
        for shard in cards {
            shards.push(Shard::open(folder, shard, card.observation, card.actions)?);
            starts.push(len);
            len += shard.count;
            transitions += shard.elements;
        }
        let inner =
            Inner { observation: card.observation, actions: card.actions, shards, starts, len, transitions };
        Ok(Episodes { inner: Arc::new(inner) })
    }

    /// Number of episodes.
    pub fn len(&self) -> usize {
        self.inner.len
    }

    /// Whether there are none; a split that exists has at least one.
    pub fn is_empty(&self) -> bool {
        self.inner.len == 0
    }

    /// Number of transitions of all episodes together.
    pub fn transitions(&self) -> u64 {
        self.inner.transitions
    }

    /// Numbers of an observation, `O`.
    pub fn observation(&self) -> usize {
        self.inner.observation
    }

    /// What an action is.
    pub fn actions(&self) -> ActionsCard {
        self.inner.actions
    }

    /// Episode `i`, in place.
    ///
    /// # Panics
    ///
    /// When `i` is not below [`Episodes::len`].
    pub fn episode(&self, i: usize) -> EpisodeView<'_> {
        let Inner { shards, starts, len, .. } = &*self.inner;
        assert!(i < *len, "episode {i} of a split with {len}");
        let shard = starts.partition_point(|&start| start <= i) - 1;
        shards[shard].episode(i - starts[shard])
    }

    /// All episodes, in order.
    pub fn iter(&self) -> impl Iterator<Item = EpisodeView<'_>> {
        (0..self.len()).map(|i| self.episode(i))
    }

    /// Hashes all that is in the files.
    pub(crate) fn hash(&self) -> SplitHasher {
        let mut hasher = SplitHasher::default();
        self.iter().for_each(|episode| hasher.push(&episode.hash(), None, &[], None));
        hasher
    }
}
