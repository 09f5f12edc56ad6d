//! One shard of experience: `observations` (f32, `[n + m, O]`, one more than transitions for each of `m` episodes), `actions` (f32,
//! `[n, A]`), `rewards` (f32, `[n]`, zeros where they are not known), `starts` (u64, `[m]`, the first transition of each episode),
//! `terminated` and `rewarded` (u8, `[m]`, 0 or 1). An episode lies in one shard.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::Dtype;

use super::{ActionsCard, EpisodeView};
use crate::card::ShardCard;
use crate::error::{Error, Result};
use crate::shard::{Tensors, create_shard, finish_shard, open_shard, rename, shard_name};
use crate::split::Split;

/// The tensors of a shard, in the order in which they lie in the file.
fn tensors(observation: usize, width: usize, transitions: usize, episodes: usize) -> Tensors {
    let mut tensors = Tensors::default();
    tensors.push("observations", Dtype::F32, vec![transitions + episodes, observation]);
    tensors.push("actions", Dtype::F32, vec![transitions, width]);
    tensors.push("rewards", Dtype::F32, vec![transitions]);
    tensors.push("starts", Dtype::U64, vec![episodes]);
    tensors.push("terminated", Dtype::U8, vec![episodes]);
    tensors.push("rewarded", Dtype::U8, vec![episodes]);
    tensors
}

/// Least bytes of a shard with so many transitions and episodes, without overflow.
pub(crate) fn least_bytes(observation: usize, width: usize, transitions: u64, episodes: usize) -> u128 {
    let (observation, width, episodes) = (observation as u128, width as u128, episodes as u128);
    let transitions = u128::from(transitions);
    // Neither size is above 2^40, which the check of a card has seen to.
    ((transitions + episodes) * observation + transitions * (width + 1)) * 4 + episodes * 10
}

/// Writes one split, beginning a new shard whenever one is full.
pub(super) struct Writer {
    folder: PathBuf,
    split: Split,
    observation: usize,
    width: usize,
    shard_bytes: u64,
    current: Option<ShardWriter>,
    finished: Vec<ShardCard>,
}

impl Writer {
    pub(super) fn new(
        folder: &Path,
        split: Split,
        observation: usize,
        width: usize,
        shard_bytes: u64,
    ) -> Writer {
        let folder = folder.to_owned();
        Writer { folder, split, observation, width, shard_bytes, current: None, finished: Vec::new() }
    }

    /// Appends one episode of the right sizes.
    pub(super) fn push(&mut self, episode: EpisodeView<'_>) -> Result<()> {
        let shard = match &mut self.current {
            Some(shard) => shard,
            none => {
                let name = shard_name(self.split, self.finished.len());
                none.insert(ShardWriter::create(&self.folder, name)?)
            }
        };
        shard.push(episode)?;
        let bytes = least_bytes(self.observation, self.width, shard.transitions, shard.episodes());
        if bytes >= u128::from(self.shard_bytes) {
            self.end_shard()?;
        }
        Ok(())
    }

    /// Gives all that was written so far, and all that follows, to another split.
    pub(super) fn rename(&mut self, split: Split) -> Result<()> {
        self.end_shard()?;
        self.split = split;
        rename(&self.folder, &mut self.finished, split)
    }

    /// Completes the last shard and returns the list of all.
    pub(super) fn finish(mut self) -> Result<Vec<ShardCard>> {
        self.end_shard()?;
        Ok(self.finished)
    }

    fn end_shard(&mut self) -> Result<()> {
        if let Some(shard) = self.current.take() {
            self.finished.push(shard.finish(self.observation, self.width)?);
        }
        Ok(())
    }
}

/// A shard being written. Observations go to the file; the rest, which is smaller, waits in memory until the shard is full.
struct ShardWriter {
    path: PathBuf,
    name: String,
    file: BufWriter<File>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    starts: Vec<u64>,
    terminated: Vec<u8>,
    rewarded: Vec<u8>,
    transitions: u64,
}

impl ShardWriter {
    fn create(folder: &Path, name: String) -> Result<ShardWriter> {
        let path = folder.join(&name);
        let file = create_shard(&path)?;
        Ok(ShardWriter {
            path,
            name,
            file,
            actions: Vec::new(),
            rewards: Vec::new(),
            starts: Vec::new(),
            terminated: Vec::new(),
            rewarded: Vec::new(),
            transitions: 0,
        })
    }

    fn episodes(&self) -> usize {
        self.starts.len()
    }

    fn push(&mut self, episode: EpisodeView<'_>) -> Result<()> {
        let observations = bytemuck::cast_slice(episode.observations);
        self.file.write_all(observations).map_err(|e| Error::write(&self.path, e))?;
        self.actions.extend(episode.actions);
        match episode.rewards {
            [] => self.rewards.extend(std::iter::repeat_n(0.0, episode.transitions)),
            rewards => self.rewards.extend(rewards),
        }
        self.starts.push(self.transitions);
        self.terminated.push(u8::from(episode.terminated));
        self.rewarded.push(u8::from(!episode.rewards.is_empty()));
        self.transitions += episode.transitions as u64;
        Ok(())
    }

    fn finish(mut self, observation: usize, width: usize) -> Result<ShardCard> {
        let episodes = self.episodes();
        let others: [&[u8]; 5] = [
            bytemuck::cast_slice(&self.actions),
            bytemuck::cast_slice(&self.rewards),
            bytemuck::cast_slice(&self.starts),
            &self.terminated,
            &self.rewarded,
        ];
        let tensors = tensors(observation, width, self.transitions as usize, episodes);
        let bytes =
            finish_shard(&mut self.file, tensors, &others).map_err(|e| Error::write(&self.path, e))?;
        Ok(ShardCard { file: self.name, count: episodes, elements: self.transitions, bytes })
    }
}

/// A shard opened for reading.
#[derive(Debug)]
pub(super) struct Shard {
    map: Mmap,
    observation: usize,
    width: usize,
    observations: Range<usize>,
    actions: Range<usize>,
    rewards: Range<usize>,
    /// The first transition of each episode, and the end of the last.
    starts: Vec<usize>,
    terminated: Range<usize>,
    rewarded: Range<usize>,
}

impl Shard {
    /// Opens a shard and checks it against the card, whose sizes are known to fit its bytes.
    pub(super) fn open(
        folder: &Path,
        card: &ShardCard,
        observation: usize,
        kind: ActionsCard,
    ) -> Result<Shard> {
        let path = folder.join(&card.file);
        let bad = |reason: String| Err(Error::corrupt(&path, reason));
        let (width, transitions) = (kind.width(), card.elements as usize);
        let expected = tensors(observation, width, transitions, card.count);
        let (map, ranges) = open_shard(&path, card.bytes, &expected)?;
        let [observations, actions, rewards, places, terminated, rewarded] = &ranges[..] else {
            return bad("its tensors are not those of experience".to_owned());
        };
        for (range, what) in [(observations, "observations"), (actions, "actions"), (rewards, "rewards")] {
            if bytemuck::try_cast_slice::<u8, f32>(&map[range.clone()]).is_err() {
                return bad(format!("its {what} do not begin at a multiple of four bytes"));
            }
        }
        let place = |bytes: &[u8; 8]| usize::try_from(u64::from_le_bytes(*bytes)).unwrap_or(usize::MAX);
        let mut starts: Vec<usize> = map[places.clone()].as_chunks().0.iter().map(place).collect();
        starts.push(transitions);
        if starts[0] != 0 || !starts.is_sorted_by(|a, b| a < b) {
            return bad("its episodes do not follow one another".to_owned());
        }
        if map[terminated.clone()].iter().chain(&map[rewarded.clone()]).any(|&flag| flag > 1) {
            return bad("whether its episodes terminated is neither 0 nor 1".to_owned());
        }
        if let ActionsCard::Discrete { choices } = kind {
            let numbers: &[f32] = bytemuck::cast_slice(&map[actions.clone()]);
            if let Some(other) = numbers.iter().find(|&&number| !is_choice(number, choices)) {
                return bad(format!("one of its actions is {other}, and there are {choices} choices"));
            }
        }
        let (observations, actions, rewards) = (observations.clone(), actions.clone(), rewards.clone());
        let (terminated, rewarded) = (terminated.clone(), rewarded.clone());
        Ok(Shard { map, observation, width, observations, actions, rewards, starts, terminated, rewarded })
    }

    pub(super) fn episode(&self, i: usize) -> EpisodeView<'_> {
        let (start, end) = (self.starts[i], self.starts[i + 1]);
        let numbers = |range: &Range<usize>, rows: Range<usize>, width: usize| -> &[f32] {
            let all: &[f32] = bytemuck::cast_slice(&self.map[range.clone()]);
            &all[rows.start * width..rows.end * width]
        };
        let rewarded = self.map[self.rewarded.start + i] == 1;
        EpisodeView {
            transitions: end - start,
            // Each earlier episode has one observation more than transitions.
            observations: numbers(&self.observations, start + i..end + i + 1, self.observation),
            actions: numbers(&self.actions, start..end, self.width),
            rewards: if rewarded { numbers(&self.rewards, start..end, 1) } else { &[] },
            terminated: self.map[self.terminated.start + i] == 1,
        }
    }
}

/// Whether a number is the index of one of so many choices.
pub(super) fn is_choice(number: f32, choices: usize) -> bool {
    number >= 0.0 && number.fract() == 0.0 && (number as usize) < choices
}
