//! Writes the documents of a stream, in order, into shards, and collects what the card records.

use std::path::{Path, PathBuf};

use crate::card::{Card, FORMAT, Kind, SoundCard, SplitBy, SplitCard, TextCard};
use crate::dataset::meaning;
use crate::duplicates::Duplicates;
use crate::error::Result;
use crate::fingerprint::{SplitHasher, fingerprint};
use crate::options::Options;
use crate::pack::{About, nothing_held, write_card};
use crate::split::Split;
use crate::stream::{StreamLayout, StreamWriter};

/// A stream being written. Every document is begun, pushed in any number of parts, and ended.
pub(crate) struct StreamPacker {
    folder: PathBuf,
    layout: StreamLayout,
    options: Options,
    duplicates: Duplicates,
    splits: [SplitState; 3],
}

struct SplitState {
    writer: StreamWriter,
    documents: usize,
    elements: u64,
    hasher: SplitHasher,
    moments: Moments,
    class_counts: Vec<u64>,
    /// The hash and label of the document that is being written.
    open: Option<(blake3::Hasher, Option<u32>)>,
}

impl StreamPacker {
    /// Begins to write into an empty folder.
    pub(crate) fn new(
        folder: &Path,
        layout: StreamLayout,
        classes: usize,
        options: &Options,
    ) -> Result<StreamPacker> {
        let splits = Split::ALL.map(|split| SplitState {
            writer: StreamWriter::new(folder, split, &layout, options.shard_bytes),
            documents: 0,
            elements: 0,
            hasher: SplitHasher::default(),
            moments: Moments::new(&layout),
            class_counts: vec![0; classes],
            open: None,
        });
        let duplicates = Duplicates::create(folder)?;
        Ok(StreamPacker { folder: folder.to_owned(), layout, options: options.clone(), duplicates, splits })
    }

    /// Begins a document. At least one element must follow.
    pub(crate) fn begin(&mut self, split: Split, label: Option<u32>) -> Result<()> {
        let state = &mut self.splits[split.index()];
        assert!(state.open.is_none(), "a document begins before the last has ended");
        state.open = Some((blake3::Hasher::new(), label));
        state.writer.begin(label)
    }

    /// Appends elements, as bytes, to the document that was begun.
    pub(crate) fn push(&mut self, split: Split, elements: &[u8]) -> Result<()> {
        let state = &mut self.splits[split.index()];
        let (hasher, _) = state.open.as_mut().expect("a document was begun");
        hasher.update(elements);
        state.moments.add(elements);
        state.elements += (elements.len() / self.layout.element_bytes()) as u64;
        state.writer.push(elements)
    }

    /// Ends the document that was begun.
    pub(crate) fn end(&mut self, split: Split) -> Result<()> {
        let state = &mut self.splits[split.index()];
        let (hasher, label) = state.open.take().expect("a document was begun");
        let hash = *hasher.finalize().as_bytes();
        state.hasher.push(&hash, label, &[], None);
        state.documents += 1;
        if let Some(label) = label {
            state.class_counts[label as usize] += 1;
        }
        self.duplicates.push(&hash, split)
    }

    /// Completes the shards and writes `dataset.json`. At least one document must have been written.
    pub(crate) fn finish(
        mut self,
        mut about: About,
        split_by: SplitBy,
        text: Option<TextCard>,
        sound: Option<SoundCard>,
    ) -> Result<Card> {
        if split_by == SplitBy::Content && self.splits[Split::Train.index()].documents == 0 {
            self.train_on_everything()?;
        }
        let held = self.splits[Split::Validation.index()].documents;
        about.notes.extend(nothing_held(split_by, held, &self.options, self.layout.kind));
        let example = self.layout.kind.example();
        let (duplicates, duplicates_across_splits) = self.duplicates.finish()?;
        if duplicates_across_splits > 0 {
            about.notes.push(format!(
                "{duplicates_across_splits} {example}s also occur in another split of the source"
            ));
        }
        let shape = if self.layout.kind == Kind::Sound { vec![self.layout.channels] } else { Vec::new() };
        let statistics = self.splits.iter().find(|s| s.documents > 0).expect("at least one document");
        let (channel_mean, channel_std) = statistics.moments.mean_and_deviation();
        let hashers = Split::ALL.into_iter().zip(self.splits.iter().map(|s| &s.hasher));
        let meaning = meaning(text.as_ref(), sound.as_ref(), None, None);
        let fingerprint =
            fingerprint(self.layout.kind, &shape, &about.classes, &[], meaning.as_deref(), hashers);
        let mut splits = Vec::new();
        for (split, state) in Split::ALL.into_iter().zip(self.splits) {
            if state.documents > 0 {
                let SplitState { documents: count, elements, class_counts, .. } = state;
                splits.push(SplitCard {
                    split,
                    count,
                    elements,
                    class_counts,
                    shards: state.writer.finish()?,
                });
            }
        }
        let card = Card {
            poiesis_dataset: FORMAT,
            name: about.name,
            kind: self.layout.kind,
            shape,
            classes: about.classes,
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
            text,
            sound,
            points: None,
            experience: None,
            objects: None,
        };
        write_card(&self.folder, &card)?;
        Ok(card)
    }

    /// A handful of documents may all have been held out; a data set without a train split would be of no use.
    fn train_on_everything(&mut self) -> Result<()> {
        self.splits.swap(Split::Train.index(), Split::Validation.index());
        self.splits[Split::Train.index()].writer.rename(Split::Train)
    }
}

/// Exact sums over the samples of each channel; nothing for text.
struct Moments {
    channels: usize,
    frames: u64,
    sums: Vec<i64>,
    squares: Vec<u128>,
}

impl Moments {
    fn new(layout: &StreamLayout) -> Moments {
        let channels = if layout.kind == Kind::Sound { layout.channels } else { 0 };
        Moments { channels, frames: 0, sums: vec![0; channels], squares: vec![0; channels] }
    }

    fn add(&mut self, elements: &[u8]) {
        if self.channels == 0 {
            return;
        }
        let (samples, _) = elements.as_chunks();
        self.frames += (samples.len() / self.channels) as u64;
        for frame in samples.chunks_exact(self.channels) {
            for (channel, &sample) in frame.iter().enumerate() {
                let sample = i64::from(i16::from_le_bytes(sample));
                self.sums[channel] += sample;
                self.squares[channel] += (sample * sample) as u128;
            }
        }
    }

    /// Mean and standard deviation of each channel, with 1 as full scale.
    fn mean_and_deviation(&self) -> (Vec<f64>, Vec<f64>) {
        const FULL_SCALE: f64 = 32_768.0;
        let of = |(&sum, &square): (&i64, &u128)| {
            let frames = self.frames as f64;
            let mean = sum as f64 / frames;
            // Twelve decimals are read back from JSON exactly.
            let short = |v: f64| (v / FULL_SCALE * 1e12).round() / 1e12;
            (short(mean), short((square as f64 / frames - mean * mean).max(0.0).sqrt()))
        };
        self.sums.iter().zip(&self.squares).map(of).unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;
    use crate::vocabulary::Vocabulary;

    fn about(classes: &[&str]) -> About {
        About {
            name: "x".to_owned(),
            classes: classes.iter().map(|class| (*class).to_owned()).collect(),
            factors: Vec::new(),
            sources: Vec::new(),
            skipped: crate::card::Skipped::default(),
            notes: Vec::new(),
            columns: None,
        }
    }

    fn text(folder: &Path, shard_bytes: u64, documents: &[&str]) -> Dataset {
        let options = Options { shard_bytes, ..Options::default() };
        let layout = StreamLayout { kind: Kind::Text, channels: 1, width: 1, labelled: true };
        let mut packer = StreamPacker::new(folder, layout, 2, &options).unwrap();
        for (i, document) in documents.iter().enumerate() {
            packer.begin(Split::Train, (i != 1).then_some(i as u32 % 2)).unwrap();
            document.as_bytes().chunks(3).for_each(|part| packer.push(Split::Train, part).unwrap());
            packer.end(Split::Train).unwrap();
        }
        let text = TextCard { vocabulary: Vocabulary::Bytes, lines: false };
        packer.finish(about(&["a", "b"]), SplitBy::Source, Some(text), None).unwrap();
        Dataset::open(folder).unwrap()
    }

    #[test]
    fn documents_go_on_in_the_next_shard_and_shards_leave_no_trace() {
        let documents = ["hello", "x", "a longer document than a shard holds", "yz", "!"];
        let whole: String = documents.concat();
        let mut fingerprints = Vec::new();
        for shard_bytes in [1, 13, 25, 40, 1 << 20] {
            let folder = tempfile::tempdir().unwrap();
            let dataset = text(folder.path(), shard_bytes, &documents);
            dataset.verify().unwrap();
            fingerprints.push(dataset.card().fingerprint.clone());
            let stream = dataset.require_stream(Split::Train).unwrap();
            assert_eq!((stream.len(), stream.documents()), (whole.len() as u64, documents.len()));
            let bytes = |range| stream.tokens(range).iter().map(|&t| t as u8).collect::<Vec<u8>>();
            assert_eq!(bytes(0..stream.len()), whole.as_bytes(), "shards of {shard_bytes}");
            assert!(bytes(7..7).is_empty() && bytes(stream.len()..stream.len()).is_empty());
            for (i, document) in documents.iter().enumerate() {
                let range = stream.document(i);
                assert_eq!(bytes(range.clone()), document.as_bytes());
                assert_eq!(stream.label(i), (i != 1).then_some(i as u32 % 2));
                range.for_each(|position| assert_eq!(stream.document_at(position), i));
            }
            assert!(dataset.split(Split::Train).is_none() && dataset.stream(Split::Test).is_none());
            let error = dataset.require(Split::Train).unwrap_err().to_string();
            assert!(error.contains("kind text, where images or points"), "{error}");
            let error = dataset.require_stream(Split::Test).unwrap_err().to_string();
            assert!(error.contains("no test split"), "{error}");
        }
        assert!(fingerprints.iter().all(|print| *print == fingerprints[0]));
    }

    #[test]
    fn frames_keep_their_channels_together() {
        let folder = tempfile::tempdir().unwrap();
        let layout = StreamLayout { kind: Kind::Sound, channels: 2, width: 2, labelled: false };
        let options = Options { shard_bytes: 30, ..Options::default() };
        let mut packer = StreamPacker::new(folder.path(), layout, 0, &options).unwrap();
        let samples: Vec<i16> = (0..50).map(|i| if i % 2 == 0 { i * 100 } else { -i }).collect();
        packer.begin(Split::Train, None).unwrap();
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        packer.push(Split::Train, &bytes).unwrap();
        packer.end(Split::Train).unwrap();
        let sound = SoundCard { sample_rate: 8000, channels: 2, clipped: 0, silent: 0, limited: 0 };
        let card = packer.finish(about(&[]), SplitBy::Source, None, Some(sound)).unwrap();
        assert!(card.splits[0].shards.len() > 2);
        assert_eq!((&card.shape[..], card.elements(Split::Train)), (&[2][..], 25));
        // 0, 200, … 4800 and -1, -3, … -49.
        for (mean, expected) in card.channel_mean.iter().zip([2400.0 / 32768.0, -25.0 / 32768.0]) {
            assert!((mean - expected).abs() < 1e-11, "{mean} {expected}");
        }
        let dataset = Dataset::open(folder.path()).unwrap();
        dataset.verify().unwrap();
        let stream = dataset.require_stream(Split::Train).unwrap();
        assert_eq!((stream.len(), stream.documents(), stream.label(0)), (25, 1, None));
        assert_eq!(stream.samples(0..25), samples);
        assert_eq!(stream.samples(7..19), samples[14..38]);
        assert!(std::panic::catch_unwind(|| stream.samples(20..26)).is_err());
    }
}
