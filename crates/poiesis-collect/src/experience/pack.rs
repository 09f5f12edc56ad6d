//! Writes episodes, in order, into the shards of a data set, and collects what the card records.

use std::path::{Path, PathBuf};

use super::card::Statistics;
use super::shard::Writer;
use super::{ActionsCard, EpisodeView};
use crate::card::{Card, FORMAT, Kind, SplitBy, SplitCard};
use crate::duplicates::Duplicates;
use crate::error::Result;
use crate::fingerprint::{SplitHasher, fingerprint};
use crate::options::Options;
use crate::pack::{About, nothing_held, write_card};
use crate::points::Columns;
use crate::split::Split;

/// A data set of episodes being written.
pub(super) struct Packer {
    folder: PathBuf,
    observation: usize,
    actions: ActionsCard,
    options: Options,
    duplicates: Duplicates,
    splits: [SplitState; 3],
    statistics: Statistics,
}

struct SplitState {
    writer: Writer,
    episodes: usize,
    transitions: u64,
    hasher: SplitHasher,
    /// The numbers of the observations.
    columns: Columns,
}

impl Packer {
    /// Begins to write into an empty folder.
    pub(super) fn new(
        folder: &Path,
        observation: usize,
        actions: ActionsCard,
        options: &Options,
    ) -> Result<Packer> {
        let splits = Split::ALL.map(|split| SplitState {
            writer: Writer::new(folder, split, observation, actions.width(), options.shard_bytes),
            episodes: 0,
            transitions: 0,
            hasher: SplitHasher::default(),
            columns: Columns::default(),
        });
        let duplicates = Duplicates::create(folder)?;
        let (folder, options) = (folder.to_owned(), options.clone());
        let statistics = Statistics::default();
        Ok(Packer { folder, observation, actions, options, duplicates, splits, statistics })
    }

    /// Appends an episode with that hash to a split.
    pub(super) fn push(&mut self, episode: EpisodeView<'_>, hash: &[u8; 32], split: Split) -> Result<()> {
        self.duplicates.push(hash, split)?;
        let state = &mut self.splits[split.index()];
        state.writer.push(episode)?;
        state.hasher.push(hash, None, &[], None);
        state.episodes += 1;
        state.transitions += episode.transitions as u64;
        episode.observations.chunks_exact(self.observation).for_each(|row| state.columns.add(row));
        self.statistics.add(episode);
        Ok(())
    }

    /// Completes the shards and writes `dataset.json`. At least one episode must have been pushed.
    pub(super) fn finish(mut self, mut about: About, split_by: SplitBy) -> Result<Card> {
        if split_by == SplitBy::Content && self.splits[Split::Train.index()].episodes == 0 {
            // A handful of episodes may all have been held out.
            self.splits.swap(Split::Train.index(), Split::Validation.index());
            self.splits[Split::Train.index()].writer.rename(Split::Train)?;
        }
        let held = self.splits[Split::Validation.index()].episodes;
        about.notes.extend(nothing_held(split_by, held, &self.options, Kind::Experience));
        let (duplicates, duplicates_across_splits) = self.duplicates.finish()?;
        if duplicates_across_splits > 0 {
            about.notes.push(format!(
                "{duplicates_across_splits} episodes also occur in another split of the source"
            ));
        }
        let experience =
            self.statistics.card(self.options.environment.clone(), self.observation, self.actions);
        let first = self.splits.iter().find(|split| split.episodes > 0).expect("at least one episode");
        let (channel_mean, channel_std) = first.columns.mean_and_deviation();
        let shape = vec![self.observation];
        let meaning = self.actions.meaning();
        let hashers = Split::ALL.into_iter().zip(self.splits.iter().map(|split| &split.hasher));
        let fingerprint = fingerprint(Kind::Experience, &shape, &[], &[], Some(&meaning), hashers);
        let mut splits = Vec::new();
        for (split, state) in Split::ALL.into_iter().zip(self.splits) {
            if state.episodes > 0 {
                let SplitState { episodes: count, transitions: elements, .. } = state;
                let shards = state.writer.finish()?;
                splits.push(SplitCard { split, count, elements, class_counts: Vec::new(), shards });
            }
        }
        let card = Card {
            poiesis_dataset: FORMAT,
            name: about.name,
            kind: Kind::Experience,
            shape,
            classes: Vec::new(),
            factors: Vec::new(),
            splits,
            split_by,
            fingerprint,
            channel_mean,
            channel_std,
            duplicates,
            duplicates_across_splits,
            sources: about.sources,
            licence: self.options.licence.clone(),
            options: self.options,
            resize_filter: None,
            skipped: about.skipped,
            notes: about.notes,
            text: None,
            sound: None,
            points: None,
            experience: Some(experience),
            objects: None,
        };
        write_card(&self.folder, &card)?;
        Ok(card)
    }
}
