//! A packed data set opened for reading. Images stay on disk and are memory-mapped; opening costs a few headers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::builtin::{below, random};
use crate::card::{Card, PointsCard, SoundCard, SplitCard, TextCard};
use crate::error::{Error, Result};
use crate::experience::Episodes;
use crate::fingerprint::{SplitHasher, example_hash, fingerprint};
use crate::shard::{Layout, Shard};
use crate::split::Split;
use crate::stored_card::read_card;
use crate::stream::{Stream, StreamLayout};

/// The name of the file that describes a data set.
pub(crate) const CARD_FILE: &str = "dataset.json";

/// An opened data set. Clones are cheap and share the memory maps.
#[derive(Clone, Debug)]
pub struct Dataset {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    card: Card,
    splits: [Arc<Vec<Shard>>; 3],
    streams: [Option<Stream>; 3],
    episodes: [Option<Episodes>; 3],
    /// The examples of each split that belong to it, where only a part of the files does.
    rows: Option<[Arc<[usize]>; 3]>,
    /// The fingerprint of all that is in the files.
    of_files: String,
}

impl Dataset {
    /// Opens a packed folder and checks `dataset.json` against the sizes, headers and labels of the shards. The content
    /// itself is not read; [`Stream::check_tokens`] and [`Dataset::verify`] do that.
    ///
    /// # Errors
    ///
    /// [`Error::NotADataset`] when there is no `dataset.json`, [`Error::Corrupt`] when it or a shard is damaged or
    /// missing, and [`Error::Read`] when a file cannot be read.
    pub fn open(folder: &Path) -> Result<Dataset> {
        let card = read_card(folder)?;
        let classes = card.classes.len();
        let mut splits = [const { Vec::new() }; 3];
        let mut streams = [const { None }; 3];
        let mut episodes = [const { None }; 3];
        for SplitCard { split, shards, .. } in &card.splits {
            if let Some(layout) = StreamLayout::of(&card) {
                streams[split.index()] = Some(Stream::open(folder, shards, &layout, classes)?);
                continue;
            }
            if let Some(experience) = &card.experience {
                episodes[split.index()] = Some(Episodes::open(folder, shards, experience)?);
                continue;
            }
            let layout = Layout::of(&card);
            for shard in shards {
                splits[split.index()].push(Shard::open(folder, shard, &layout, classes)?);
            }
        }
        let splits = splits.map(Arc::new);
        let of_files = card.fingerprint.clone();
        let folder = folder.to_owned();
        let inner = Inner { folder, card, splits, streams, episodes, rows: None, of_files };
        Ok(Dataset { inner: Arc::new(inner) })
    }

    /// The images or points of these classes alone, in the same order and on the same files. Classes keep their numbers and names;
    /// images without a class are left out. The card counts what is left, and its fingerprint is that of the files together with the
    /// classes. A split of which nothing is left is not there.
    ///
    /// # Panics
    ///
    /// When a class is not one of the data set, or the data set is a stream or experience.
    pub fn of_classes(&self, classes: &[u32]) -> Dataset {
        let Inner { folder, card, splits, of_files, .. } = &*self.inner;
        let known = card.classes.len();
        assert!(!card.kind.has_elements(), "{} has no examples of a class", card.kind.name());
        assert!(classes.iter().all(|&class| (class as usize) < known), "{classes:?} of {known} classes");
        let rows = Split::ALL.map(|split| -> Arc<[usize]> {
            let Some(view) = self.split(split) else { return Arc::new([]) };
            let is_wanted = |&i: &usize| view.label(i).is_some_and(|label| classes.contains(&label));
            (0..view.len()).filter(is_wanted).map(|i| view.place(i)).collect()
        });
        let mut card = card.clone();
        for split in &mut card.splits {
            split.count = rows[split.split.index()].len();
            let unwanted = |class: usize| !classes.contains(&(class as u32));
            let counts = split.class_counts.iter_mut().enumerate();
            counts.filter(|(class, _)| unwanted(*class)).for_each(|(_, count)| *count = 0);
        }
        card.splits.retain(|split| split.count > 0);
        card.fingerprint = part_fingerprint(&card.fingerprint, classes);
        let (folder, splits, of_files) = (folder.clone(), splits.clone(), of_files.clone());
        let (streams, episodes) = Default::default();
        let inner = Inner { folder, card, splits, streams, episodes, rows: Some(rows), of_files };
        Dataset { inner: Arc::new(inner) }
    }

    /// What the data set says about itself.
    pub fn card(&self) -> &Card {
        &self.inner.card
    }

    /// The folder that was opened.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// The examples of one split, or `None` when the data set does not have it, or is a stream or experience.
    pub fn split(&self, split: Split) -> Option<View> {
        let whole = self.whole_split(split)?;
        let Some(rows) = &self.inner.rows else { return Some(whole) };
        let rows = rows[split.index()].clone();
        (!rows.is_empty()).then(|| View { len: rows.len(), rows: Some(rows), ..whole })
    }

    /// All examples of one split that are in the files.
    fn whole_split(&self, split: Split) -> Option<View> {
        let shards = self.inner.splits[split.index()].clone();
        (!shards.is_empty()).then(|| View::new(shards))
    }

    /// Like [`Dataset::split`], for callers that cannot continue without it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSplit`] when the data set does not have the split, [`Error::WrongKind`] when it is a stream or experience.
    pub fn require(&self, split: Split) -> Result<View> {
        self.split(split).ok_or_else(|| self.lacking(split, "images or points"))
    }

    /// The stream of one split, or `None` when the data set does not have it or is not a stream.
    pub fn stream(&self, split: Split) -> Option<Stream> {
        self.inner.streams[split.index()].clone()
    }

    /// Like [`Dataset::stream`], for callers that cannot continue without it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSplit`] when the data set does not have the split, [`Error::WrongKind`] when it is not a stream.
    pub fn require_stream(&self, split: Split) -> Result<Stream> {
        self.stream(split).ok_or_else(|| self.lacking(split, "text or sound"))
    }

    /// The episodes of one split, or `None` when the data set does not have it or is not experience.
    pub fn episodes(&self, split: Split) -> Option<Episodes> {
        self.inner.episodes[split.index()].clone()
    }

    /// Like [`Dataset::episodes`], for callers that cannot continue without it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSplit`] when the data set does not have the split, [`Error::WrongKind`] when it is not experience.
    pub fn require_episodes(&self, split: Split) -> Result<Episodes> {
        self.episodes(split).ok_or_else(|| self.lacking(split, "experience"))
    }

    /// Why a split cannot be read as `wanted`.
    fn lacking(&self, split: Split, wanted: &'static str) -> Error {
        let Card { name, kind, .. } = self.card();
        let (name, found) = (name.clone(), kind.name());
        match wanted.contains(found) {
            true => Error::NoSplit { name, split },
            false => Error::WrongKind { name, found, wanted },
        }
    }

    /// Reads all that is in the files of the data set and compares its fingerprint with the one in `dataset.json`.
    ///
    /// # Errors
    ///
    /// [`Error::FingerprintMismatch`] when the content has changed.
    pub fn verify(&self) -> Result<()> {
        let card = self.card();
        let hashers = Split::ALL.map(|split| {
            let view = self.whole_split(split).map(|view| hash_view(&view));
            let stream = || self.stream(split).map(|stream| hash_stream(&stream));
            let episodes = || self.episodes(split).map(|episodes| episodes.hash());
            view.or_else(stream).or_else(episodes).unwrap_or_default()
        });
        let splits = Split::ALL.into_iter().zip(&hashers);
        let meaning = match &card.experience {
            Some(experience) => Some(experience.actions.meaning()),
            None => meaning(card.text.as_ref(), card.sound.as_ref(), card.points.as_ref(), card.objects),
        };
        let found =
            fingerprint(card.kind, &card.shape, &card.classes, &card.factors, meaning.as_deref(), splits);
        if found == self.inner.of_files {
            return Ok(());
        }
        Err(Error::FingerprintMismatch {
            path: self.inner.folder.clone(),
            expected: self.inner.of_files.clone(),
            found,
        })
    }
}

/// What the fingerprint covers in addition to the elements of a stream, the coordinates of points, or images and boxes.
pub(crate) fn meaning(
    text: Option<&TextCard>,
    sound: Option<&SoundCard>,
    points: Option<&PointsCard>,
    objects: Option<usize>,
) -> Option<String> {
    let vocabulary = text.and_then(|text| serde_json::to_string(&text.vocabulary).ok());
    let rate = sound.map(|sound| sound.sample_rate.to_string());
    let names = points.filter(|points| !points.columns.is_empty());
    let names = names.and_then(|points| serde_json::to_string(&points.columns).ok());
    let boxes = objects.map(|most| format!("boxes of {most} objects"));
    vocabulary.or(rate).or(names).or(boxes)
}

/// The fingerprint of the examples of some classes of a data set.
fn part_fingerprint(whole: &str, classes: &[u32]) -> String {
    let mut classes = classes.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let mut hasher = blake3::Hasher::new();
    hasher.update(whole.as_bytes());
    classes.iter().for_each(|class| {
        hasher.update(&class.to_le_bytes());
    });
    hasher.finalize().to_hex().to_string()
}

/// Hashes the documents of a split in parallel and gathers the hashes in order.
fn hash_stream(stream: &Stream) -> SplitHasher {
    const CHUNK: usize = 4096;
    let mut hasher = SplitHasher::default();
    for start in (0..stream.documents()).step_by(CHUNK) {
        let documents = start..stream.documents().min(start + CHUNK);
        let hash = |i: usize| {
            let mut hasher = blake3::Hasher::new();
            stream.each_slice(stream.document(i), |bytes| {
                hasher.update(bytes);
            });
            *hasher.finalize().as_bytes()
        };
        let hashes: Vec<_> = documents.clone().into_par_iter().map(hash).collect();
        for (i, hash) in documents.zip(&hashes) {
            hasher.push(hash, stream.label(i), &[], None);
        }
    }
    hasher
}

/// Hashes the examples of a split in parallel, chunk by chunk, and gathers the hashes in order.
fn hash_view(view: &View) -> SplitHasher {
    const CHUNK: usize = 4096;
    let mut hasher = SplitHasher::default();
    for start in (0..view.len()).step_by(CHUNK) {
        let rows = start..view.len().min(start + CHUNK);
        let hashes: Vec<_> = rows.clone().into_par_iter().map(|i| example_hash(view.example(i))).collect();
        for (i, hash) in rows.zip(&hashes) {
            hasher.push(hash, view.label(i), view.factors(i).unwrap_or_default(), view.boxes(i));
        }
    }
    hasher
}

/// One split of a data set. Clones are cheap.
#[derive(Clone, Debug)]
pub struct View {
    shards: Arc<Vec<Shard>>,
    /// Index of the first example of each shard.
    starts: Arc<[usize]>,
    /// The examples in the shards that belong to it, where not all do.
    rows: Option<Arc<[usize]>>,
    len: usize,
}

impl View {
    fn new(shards: Arc<Vec<Shard>>) -> View {
        let mut len = 0;
        let mut start_of = |shard: &Shard| {
            let start = len;
            len += shard.rows();
            start
        };
        let starts = shards.iter().map(&mut start_of).collect();
        View { shards, starts, rows: None, len }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none; a split that exists has at least one.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Indices of `count` examples, or of all if there are fewer, in ascending order: one from each of as many equal stretches
    /// of the split, drawn by chance, the same at each call. A split may be sorted by class, so its beginning does not represent
    /// it; or the classes may take turns, so every tenth example does not either.
    pub fn spread(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        spread(self.len, count)
    }

    /// The pixels of image `i`: u8, `[height, width, channels]`, row by row.
    ///
    /// # Panics
    ///
    /// When `i` is not below [`View::len`].
    pub fn image(&self, i: usize) -> &[u8] {
        self.example(i)
    }

    /// The coordinates of point `i`, `[dimensions]`.
    ///
    /// # Panics
    ///
    /// When `i` is not below [`View::len`] or the examples are not points.
    pub fn point(&self, i: usize) -> &[f32] {
        let (shard, row) = self.locate(i);
        shard.point(row)
    }

    /// The label of example `i`, an index into [`Card::classes`]; `None` when it has none.
    ///
    /// # Panics
    ///
    /// When `i` is not below [`View::len`].
    pub fn label(&self, i: usize) -> Option<u32> {
        let (shard, row) = self.locate(i);
        shard.label(row)
    }

    /// The factors that made example `i`, in the order of [`Card::factors`]; `None` when they are not known.
    ///
    /// # Panics
    ///
    /// When `i` is not below [`View::len`].
    pub fn factors(&self, i: usize) -> Option<&[f32]> {
        let (shard, row) = self.locate(i);
        shard.factors(row)
    }

    /// The boxes around the objects of image `i`, as many as it has: left, top, width and height, as fractions of the image's width and
    /// height. `None` when they are not known.
    ///
    /// # Panics
    ///
    /// When `i` is not below [`View::len`].
    pub fn boxes(&self, i: usize) -> Option<&[[f32; 4]]> {
        let (shard, row) = self.locate(i);
        shard.boxes(row)
    }

    fn example(&self, i: usize) -> &[u8] {
        let (shard, row) = self.locate(i);
        shard.example(row)
    }

    fn locate(&self, i: usize) -> (&Shard, usize) {
        assert!(i < self.len, "example {i} of a split with {}", self.len);
        let i = self.place(i);
        let shard = self.starts.partition_point(|&start| start <= i) - 1;
        (&self.shards[shard], i - self.starts[shard])
    }

    /// Where example `i` is in the shards.
    fn place(&self, i: usize) -> usize {
        self.rows.as_ref().map_or(i, |rows| rows[i])
    }
}

/// One index from each of `count` equal stretches of `0..len`, or all if there are fewer.
pub(crate) fn spread(len: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(len);
    (0..count).map(move |i| {
        let (start, end) = (i * len / count, (i + 1) * len / count);
        start + below(&mut random(0, "spread", i as u64), end - start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_indices_come_from_all_over_and_from_all_classes() {
        let indices: Vec<usize> = spread(10_000, 1000).collect();
        assert!(indices.iter().enumerate().all(|(i, index)| (10 * i..10 * (i + 1)).contains(index)));
        // Ten classes that take turns: a hundred of each are expected, with a deviation of 9.5.
        for class in 0..10 {
            let count = indices.iter().filter(|&index| index % 10 == class).count();
            assert!((60..140).contains(&count), "{count} of class {class}");
        }
        assert_eq!(indices, spread(10_000, 1000).collect::<Vec<_>>());
        assert_eq!(spread(5, 9).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(spread(0, 3).count(), 0);
    }
}
