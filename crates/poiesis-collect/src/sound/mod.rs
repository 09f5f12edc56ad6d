//! Collects sound: clips are decoded and converted on all cores and written in the order of the source. The first
//! decides sample rate and channels for all, unless the user asks for one.

mod clip;
mod flac;
mod lossy;
mod need;
mod read;
mod resample;
mod summary;
mod wav;

use std::fs;
use std::path::Path;
use std::sync::mpsc::Receiver;

use rayon::prelude::*;

use crate::card::{Kind, Reason, Skipped, SoundCard, SplitBy};
use crate::error::Result;
use crate::fingerprint::example_hash;
use crate::options::Options;
use crate::pack::{About, Collected};
use crate::progress::Progress;
use crate::source::{Item, Payload, Plan, Source, each_batch};
use crate::split::{ByContent, Moved, Split};
use crate::stream::StreamLayout;
use crate::stream_pack::StreamPacker;
pub(crate) use clip::is_sound;
use clip::{Clip, decode};
use need::{check_rate, need};
pub use read::read_sounds;
use resample::resampled;
pub use summary::SoundSummary;

/// Encoded clips that are decoded at a time: as many as come to this many bytes.
const AT_A_TIME: u64 = 32 << 20;
/// And no more than this many clips.
const MANY: usize = 1024;

/// Collects a source of sound into an empty folder.
pub(crate) fn collect_sound(
    path: &Path,
    source: &mut dyn Source,
    folder: &Path,
    options: &Options,
    moved: Option<Moved>,
    report: &(dyn Fn(Progress) + Sync),
) -> Result<Collected> {
    let Plan { has_splits, total, ref classes, .. } = *source.plan();
    let split_by = match (has_splits, total) {
        (true, _) => SplitBy::Source,
        (false, Some(1)) => SplitBy::Position,
        (false, _) => SplitBy::Content,
    };
    let mut collector = Collector {
        folder,
        options,
        split_by,
        by_content: ByContent::new(options.holdout, moved),
        classes: classes.len(),
        packed: None,
        skipped: Skipped::default(),
        unlike: 0,
        progress: Progress { total, ..Progress::default() },
    };
    each_batch(source, |batches| collector.run(batches, report))?;
    collector.finish(path, source.plan())
}

/// Writes clips in the order of the source.
struct Collector<'a> {
    folder: &'a Path,
    options: &'a Options,
    split_by: SplitBy,
    by_content: ByContent,
    classes: usize,
    /// There is something to write to from the first good clip on.
    packed: Option<Packed>,
    skipped: Skipped,
    /// How many clips were skipped because the first has another format.
    unlike: u64,
    progress: Progress,
}

/// What the clips are written to, and what the first of them decided.
struct Packed {
    packer: StreamPacker,
    first: String,
    card: SoundCard,
    resampled: u64,
}

/// A clip with what can be found out without an order.
struct Prepared {
    clip: Clip,
    bytes: Vec<u8>,
    hash: [u8; 32],
    silent: bool,
    resampled: bool,
}

impl Collector<'_> {
    fn run(&mut self, batches: &Receiver<Vec<Item>>, report: &(dyn Fn(Progress) + Sync)) -> Result<()> {
        for batch in batches {
            let mut items = batch.into_iter().peekable();
            while items.peek().is_some() {
                let (mut chunk, mut bytes, mut memory) = (Vec::new(), 0, 0);
                let allowed = self.options.limits.for_decoding();
                while bytes < AT_A_TIME && chunk.len() < MANY {
                    let Some(item) = items.peek() else { break };
                    let need = need(&item.payload, self.options);
                    memory += *need.as_ref().unwrap_or(&0);
                    if memory > allowed && !chunk.is_empty() {
                        break;
                    }
                    bytes += size(&item.payload);
                    chunk.extend(items.next().map(|item| (item, need.map(drop))));
                }
                let options = self.options;
                let prepare = |(item, fits)| prepare(item, fits, options);
                let prepared: Vec<_> = chunk.into_par_iter().map(prepare).collect();
                for clip in prepared {
                    self.take(clip)?;
                }
                report(self.progress);
            }
        }
        Ok(())
    }

    /// Writes a clip, or lists it with the reason why not.
    fn take(&mut self, item: PreparedItem) -> Result<()> {
        let PreparedItem { name, split, label, bytes, prepared } = item;
        self.progress.bytes += bytes;
        let prepared = match prepared.map(|prepared| (self.fits(&prepared.clip), prepared)) {
            Ok((Ok(()), prepared)) => prepared,
            Ok((Err(reason), _)) => {
                self.unlike += 1;
                self.progress.skipped += 1;
                self.skipped.push(name, reason);
                return Ok(());
            }
            Err(reason) => {
                self.progress.skipped += 1;
                self.skipped.push(name, reason);
                return Ok(());
            }
        };
        let (split_by, holdout) = (self.split_by, self.options.holdout);
        let split = match split_by {
            SplitBy::Source => split.unwrap_or(Split::Train),
            SplitBy::Content => self.by_content.split(&prepared.hash),
            SplitBy::Position => Split::Train,
        };
        let packed = self.packed(&name, &prepared.clip)?;
        packed.card.clipped += u64::from(prepared.clip.clipped);
        packed.card.silent += u64::from(prepared.silent);
        packed.card.limited += prepared.clip.limited;
        packed.resampled += u64::from(prepared.resampled);
        let frame = usize::from(prepared.clip.channels) * 2;
        let frames = prepared.bytes.len() / frame;
        let cut = match split_by {
            // A clip of one frame has nothing to hold out.
            SplitBy::Position => ((frames as f64 * (1.0 - holdout)) as usize).max(1),
            SplitBy::Source | SplitBy::Content => frames,
        };
        let (now, later) = prepared.bytes.split_at(cut * frame);
        for (split, part) in [(split, now), (Split::Validation, later)] {
            if !part.is_empty() {
                packed.packer.begin(split, label)?;
                packed.packer.push(split, part)?;
                packed.packer.end(split)?;
            }
        }
        self.progress.done += 1;
        Ok(())
    }

    /// Whether a clip has the format of those before it.
    fn fits(&self, clip: &Clip) -> Result<(), Reason> {
        let Some(Packed { first, card, .. }) = &self.packed else { return Ok(()) };
        let SoundCard { sample_rate, channels, .. } = *card;
        if clip.rate != sample_rate {
            let text = format!(
                "its sample rate is {} Hz, that of the first clip, {first}, {sample_rate} Hz",
                clip.rate
            );
            return Err(Reason::mended_by("sample_rate", text));
        }
        if clip.channels != channels {
            let own = several(clip.channels.into(), "channel");
            let text = format!("it has {own}, the first clip, {first}, has {channels}");
            return Err(Reason::mended_by("mono", text));
        }
        Ok(())
    }

    /// What is written to; the first clip decides its format.
    fn packed(&mut self, name: &str, clip: &Clip) -> Result<&mut Packed> {
        if self.packed.is_none() {
            let (channels, labelled) = (usize::from(clip.channels), self.classes > 0);
            let layout = StreamLayout { kind: Kind::Sound, channels, width: 2, labelled };
            let packer = StreamPacker::new(self.folder, layout, self.classes, self.options)?;
            let card = SoundCard {
                sample_rate: clip.rate,
                channels: clip.channels,
                clipped: 0,
                silent: 0,
                limited: 0,
            };
            self.packed = Some(Packed { packer, first: name.to_owned(), card, resampled: 0 });
        }
        Ok(self.packed.as_mut().expect("it was just made"))
    }

    fn finish(self, path: &Path, plan: &Plan) -> Result<Collected> {
        let Some(Packed { packer, card, resampled, .. }) = self.packed else {
            return Err(plan.nothing_usable(path, Kind::Sound, self.skipped));
        };
        if let Some(moved) = self.by_content.missing() {
            return Ok(Collected::Again(moved));
        }
        let mut about = About { skipped: self.skipped, ..About::new(path, plan, self.options) };
        let counts = [
            (
                self.unlike,
                "clip differs from the first one in its format and was skipped; `sample_rate` and `mono` bring all to one",
                "clips differ from the first one in their format and were skipped; `sample_rate` and `mono` bring all to one",
            ),
            (
                card.clipped,
                "clip has three or more samples in a row at full scale: it was recorded too loud",
                "clips have three or more samples in a row at full scale: they were recorded too loud",
            ),
            (
                card.silent,
                "clip is silent, without a sample beyond -60 dB",
                "clips are silent, without a sample beyond -60 dB",
            ),
            (
                card.limited,
                "sample was beyond full scale and was brought to it",
                "samples were beyond full scale and were brought to it",
            ),
            (
                resampled,
                "clip was brought to another sample rate",
                "clips were brought to another sample rate",
            ),
        ];
        about.notes.extend(counts.iter().filter(|(count, ..)| *count > 0).map(|(count, one, many)| {
            let what = if *count == 1 { one } else { many };
            format!("{count} {what}")
        }));
        let card = packer.finish(about, self.split_by, None, Some(card))?;
        Ok(Collected::Done(Box::new(card), self.progress))
    }
}

/// An item after decoding.
struct PreparedItem {
    name: String,
    split: Option<Split>,
    label: Option<u32>,
    /// Bytes that were read for it.
    bytes: u64,
    prepared: Result<Prepared, Reason>,
}

/// Does the part of the work that needs no order; called by many threads.
fn prepare(item: Item, fits: Result<(), Reason>, options: &Options) -> PreparedItem {
    let Item { name, split, label, payload } = item;
    if let Err(reason) = fits {
        return PreparedItem { name, split, label, bytes: 0, prepared: Err(reason) };
    }
    let (bytes, clip) = decode(payload, &options.limits);
    let prepared = clip.map_err(Reason::from).and_then(|clip| prepare_clip(clip, options));
    PreparedItem { name, split, label, bytes, prepared }
}

fn prepare_clip(clip: Clip, options: &Options) -> Result<Prepared, Reason> {
    check_rate(clip.rate)?;
    if clip.samples.is_empty() {
        return Err("it holds no samples".to_owned().into());
    }
    let clip = if options.mono { clip.mixed() } else { clip };
    if clip.channels > 2 {
        let text = format!("it has {} channels, and 1 or 2 are read", clip.channels);
        return Err(Reason::mended_by("mono", text));
    }
    let rate = options.sample_rate.unwrap_or(clip.rate);
    let differs = rate != clip.rate;
    let mut clip = if differs { resampled(&clip, rate)? } else { clip };
    let silent = clip.is_silent();
    let bytes: Vec<u8> = clip.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    // Until it is written, a clip is kept once.
    clip.samples = Vec::new();
    Ok(Prepared { hash: example_hash(&bytes), silent, clip, bytes, resampled: differs })
}

/// `1 clip`, `2 clips`.
fn several(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Bytes of an item before decoding.
fn size(payload: &Payload) -> u64 {
    match payload {
        Payload::File(path) => fs::metadata(path).map_or(0, |file| file.len()),
        other => other.bytes(),
    }
}
