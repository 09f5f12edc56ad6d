//! Writes prepared examples, in order, into the shards of a data set, and collects what the card records.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::card::{Card, FORMAT, Factor, Kind, PointsCard, Skipped, SplitBy, SplitCard};
use crate::dataset::{CARD_FILE, meaning};
use crate::duplicates::Duplicates;
use crate::error::{Error, Result};
use crate::fingerprint::{SplitHasher, example_hash, fingerprint};
use crate::options::Options;
use crate::points::Columns;
use crate::prepare::FILTER;
use crate::progress::Progress;
use crate::shard::{Layout, SplitWriter, floats};
use crate::source::Plan;
use crate::split::{ByContent, Moved, Split};

/// An example as it will be stored.
pub(crate) struct Row {
    pub(crate) example: Vec<u8>,
    pub(crate) hash: [u8; 32],
    pub(crate) moments: Moments,
    /// The split that the source gives it.
    pub(crate) split: Option<Split>,
    pub(crate) label: Option<u32>,
    pub(crate) factors: Vec<f32>,
    /// Left, top, width and height of each object.
    pub(crate) boxes: Vec<[f32; 4]>,
}

impl Row {
    /// Does the part of the work that needs no order, so that it can be done by many threads.
    pub(crate) fn new(layout: &Layout, example: Vec<u8>) -> Row {
        let hash = example_hash(&example);
        let moments = Moments::of(layout, &example);
        Row { example, hash, moments, split: None, label: None, factors: Vec::new(), boxes: Vec::new() }
    }
}

/// Sums over the values of each channel. Sums over images are whole numbers and exact up to 2^53.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moments {
    values: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn of(layout: &Layout, example: &[u8]) -> Moments {
        let channels = *layout.shape.last().expect("an example has a shape");
        let values = (layout.shape.iter().product::<usize>() / channels) as f64;
        if layout.kind == Kind::Points {
            let point: Vec<f64> = floats(example).into_iter().map(f64::from).collect();
            let squares = point.iter().map(|v| v * v).collect();
            return Moments { values: 1.0, sums: point, squares };
        }
        let (sums, squares) = byte_sums(example, channels);
        Moments { values, sums, squares }
    }

    fn add(&mut self, other: &Moments) {
        if self.sums.is_empty() {
            *self = other.clone();
            return;
        }
        self.values += other.values;
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.squares.iter_mut().zip(&other.squares).for_each(|(a, b)| *a += b);
    }

    /// Mean and standard deviation of each channel after division by `scale`.
    fn mean_and_deviation(&self, scale: f64) -> (Vec<f64>, Vec<f64>) {
        let of = |(sum, square): (&f64, &f64)| {
            let mean = sum / self.values;
            // Twelve decimals are read back from JSON exactly.
            let short = |v: f64| (v / scale * 1e12).round() / 1e12;
            (short(mean), short((square / self.values - mean * mean).max(0.0).sqrt()))
        };
        self.sums.iter().zip(&self.squares).map(of).unzip()
    }
}

/// Sums of the values and of their squares for each of `channels` interleaved channels.
fn byte_sums(bytes: &[u8], channels: usize) -> (Vec<f64>, Vec<f64>) {
    // Whole pixels of 1, 3 or 4 channels fit into 48 bytes, so every lane keeps its channel.
    const LANES: usize = 48;
    // As many squares of bytes as 32 bits hold.
    const BLOCK: usize = LANES * 60_000;
    assert_eq!(LANES % channels, 0, "{channels} channels do not fill {LANES} lanes");
    let (mut sums, mut squares) = (vec![0_u64; channels], vec![0_u64; channels]);
    for block in bytes.chunks(BLOCK) {
        let (mut lane_sums, mut lane_squares) = ([0_u32; LANES], [0_u32; LANES]);
        let (whole, rest) = block.as_chunks::<LANES>();
        for chunk in whole {
            for lane in 0..LANES {
                let value = u32::from(chunk[lane]);
                lane_sums[lane] += value;
                lane_squares[lane] += value * value;
            }
        }
        for (lane, &value) in rest.iter().enumerate() {
            lane_sums[lane] += u32::from(value);
            lane_squares[lane] += u32::from(value) * u32::from(value);
        }
        for lane in 0..LANES {
            sums[lane % channels] += u64::from(lane_sums[lane]);
            squares[lane % channels] += u64::from(lane_squares[lane]);
        }
    }
    let exact = |sums: Vec<u64>| sums.into_iter().map(|sum| sum as f64).collect();
    (exact(sums), exact(squares))
}

/// What the card says that is not counted while packing.
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) classes: Vec<String>,
    pub(crate) factors: Vec<Factor>,
    pub(crate) sources: Vec<String>,
    pub(crate) skipped: Skipped,
    pub(crate) notes: Vec<String>,
    /// For points from files, the names of their columns, none if the files have none.
    pub(crate) columns: Option<Vec<String>>,
}

impl About {
    /// What is known of a source before its examples are read.
    pub(crate) fn new(path: &Path, plan: &Plan, options: &Options) -> About {
        About {
            name: options.name.clone().unwrap_or_else(|| plan.name.clone()),
            classes: plan.classes.clone(),
            factors: plan.made.as_ref().map(|(_, _, factors)| factors.clone()).unwrap_or_default(),
            sources: vec![path.display().to_string()],
            skipped: Skipped::default(),
            notes: plan.notes.clone(),
            columns: None,
        }
    }
}

/// What came of a pass over a source.
pub(crate) enum Collected {
    /// A data set.
    Done(Box<Card>, Progress),
    /// A split is empty, and would not be with this moved: the source is to be collected again.
    Again(Moved),
}

/// A data set being written.
pub(crate) struct Packer {
    folder: PathBuf,
    layout: Layout,
    options: Options,
    split_by: SplitBy,
    by_content: ByContent,
    duplicates: Duplicates,
    splits: [SplitState; 3],
}

struct SplitState {
    writer: SplitWriter,
    count: usize,
    hasher: SplitHasher,
    moments: Moments,
    columns: Columns,
    class_counts: Vec<u64>,
}

impl Packer {
    /// Begins to write into an empty folder.
    pub(crate) fn new(
        folder: &Path,
        layout: Layout,
        classes: usize,
        split_by: SplitBy,
        moved: Option<Moved>,
        options: &Options,
    ) -> Result<Packer> {
        let splits = Split::ALL.map(|split| SplitState {
            writer: SplitWriter::new(folder, split, &layout, options.shard_bytes),
            count: 0,
            hasher: SplitHasher::default(),
            moments: Moments::default(),
            columns: Columns::default(),
            class_counts: vec![0; classes],
        });
        let duplicates = Duplicates::create(folder)?;
        let by_content = ByContent::new(options.holdout, moved);
        let (folder, options) = (folder.to_owned(), options.clone());
        Ok(Packer { folder, layout, options, split_by, by_content, duplicates, splits })
    }

    /// What must be moved so that no split is empty.
    pub(crate) fn missing(&self) -> Option<Moved> {
        self.by_content.missing()
    }

    /// Appends one example to its split.
    pub(crate) fn push(&mut self, row: &Row) -> Result<()> {
        let split = match self.split_by {
            SplitBy::Source => row.split.unwrap_or(Split::Train),
            SplitBy::Content => self.by_content.split(&row.hash),
            SplitBy::Position => unreachable!("only streams are cut by position"),
        };
        self.duplicates.push(&row.hash, split)?;
        let state = &mut self.splits[split.index()];
        state.writer.push(&row.example, row.label, &row.factors, &row.boxes)?;
        let boxes = (self.layout.objects > 0).then_some(row.boxes.as_slice());
        state.hasher.push(&row.hash, row.label, &row.factors, boxes);
        state.moments.add(&row.moments);
        if self.layout.kind == Kind::Points {
            state.columns.add(&floats(&row.example));
        }
        state.count += 1;
        if let Some(label) = row.label {
            state.class_counts[label as usize] += 1;
        }
        Ok(())
    }

    /// Completes the shards and writes `dataset.json`. At least one example must have been pushed.
    pub(crate) fn finish(mut self, mut about: About) -> Result<Card> {
        if self.split_by == SplitBy::Content && self.splits[Split::Train.index()].count == 0 {
            self.train_on_everything()?;
        }
        let held = self.splits[Split::Validation.index()].count;
        about.notes.extend(nothing_held(self.split_by, held, &self.options, self.layout.kind));
        let (duplicates, duplicates_across_splits) = self.duplicates.finish()?;
        if duplicates_across_splits > 0 {
            let occur =
                if duplicates_across_splits == 1 { "example also occurs" } else { "examples also occur" };
            about.notes.push(format!("{duplicates_across_splits} {occur} in another split of the source"));
        }
        let statistics = self.splits.iter().find(|s| s.count > 0).expect("at least one example");
        let scale = if self.layout.kind == Kind::Images { 255.0 } else { 1.0 };
        let (channel_mean, channel_std) = match about.columns {
            Some(_) => statistics.columns.mean_and_deviation(),
            None => statistics.moments.mean_and_deviation(scale),
        };
        let points = about.columns.take().map(|columns| {
            let (low, high) = Columns::range(self.splits.iter().map(|split| &split.columns));
            PointsCard { columns, low, high }
        });
        let hashers = Split::ALL.into_iter().zip(self.splits.iter().map(|s| &s.hasher));
        let objects = (self.layout.objects > 0).then_some(self.layout.objects);
        let meaning = meaning(None, None, points.as_ref(), objects);
        let (kind, shape) = (self.layout.kind, &self.layout.shape);
        let fingerprint =
            fingerprint(kind, shape, &about.classes, &about.factors, meaning.as_deref(), hashers);
        let mut splits = Vec::new();
        for (split, state) in Split::ALL.into_iter().zip(self.splits) {
            if state.count > 0 {
                let (count, class_counts) = (state.count, state.class_counts);
                let shards = state.writer.finish()?;
                splits.push(SplitCard { split, count, elements: 0, class_counts, shards });
            }
        }
        let card = Card {
            poiesis_dataset: FORMAT,
            name: about.name,
            kind: self.layout.kind,
            shape: self.layout.shape,
            classes: about.classes,
            factors: about.factors,
            splits,
            split_by: self.split_by,
            fingerprint,
            channel_mean,
            channel_std,
            duplicates,
            duplicates_across_splits,
            sources: about.sources,
            licence: self.options.licence.clone(),
            resize_filter: self
                .options
                .size
                .filter(|_| self.layout.kind == Kind::Images)
                .map(|_| FILTER.to_owned()),
            options: self.options,
            skipped: about.skipped,
            notes: about.notes,
            text: None,
            sound: None,
            points,
            experience: None,
            objects,
        };
        write_card(&self.folder, &card)?;
        Ok(card)
    }

    /// A handful of examples may all have been held out; a data set without a train split would be of no use.
    fn train_on_everything(&mut self) -> Result<()> {
        self.splits.swap(Split::Train.index(), Split::Validation.index());
        self.splits[Split::Train.index()].writer.rename(Split::Train)
    }
}

/// The note where examples were to be held out and none is.
pub(crate) fn nothing_held(split_by: SplitBy, held: usize, options: &Options, kind: Kind) -> Option<String> {
    let wanted = split_by != SplitBy::Source && options.holdout > 0.0;
    let example = if kind.has_elements() { kind.example() } else { "example" };
    (wanted && held == 0).then(|| format!("too few different {example}s to hold any out for validation"))
}

pub(crate) fn write_card(folder: &Path, card: &Card) -> Result<()> {
    let path = folder.join(CARD_FILE);
    let write = || {
        let mut text = serde_json::to_vec_pretty(card)?;
        text.push(b'\n');
        let mut file = File::create_new(&path)?;
        file.write_all(&text)?;
        file.sync_all()
    };
    write().map_err(|e: std::io::Error| Error::write(&path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_any_length_are_exact() {
        for channels in [1, 3, 4] {
            for pixels in [1, 5, 16, 1000, 3_000_000] {
                let bytes: Vec<u8> =
                    (0..pixels * channels).map(|i| 255 - (i % 7) as u8 * u8::from(pixels < 2000)).collect();
                let (sums, squares) = byte_sums(&bytes, channels);
                for channel in 0..channels {
                    let values = || bytes.iter().skip(channel).step_by(channels).map(|&v| f64::from(v));
                    assert_eq!(sums[channel], values().sum::<f64>(), "{channels} channels, {pixels} pixels");
                    assert_eq!(squares[channel], values().map(|v| v * v).sum::<f64>());
                }
            }
        }
    }
}
