//! Collects images, and data made by code: examples are decoded and prepared on all cores and written in the order of
//! the source. The first image decides size and channels for all, unless the user asks for others.

use std::path::Path;
use std::sync::mpsc::Receiver;

use rayon::prelude::*;

use crate::builtin::Builtin;
use crate::card::{Kind, Reason, SplitBy};
use crate::decode::{Decoded as Image, decode};
use crate::error::{Error, Result};
use crate::image_summary::is_of_one_pixel;
use crate::memory::{Memory, Share};
use crate::options::{Crop, Limits, Options};
use crate::pack::{About, Collected, Packer, Row};
use crate::prepare::{Pixels, Target, prepare};
use crate::progress::Progress;
use crate::shard::Layout;
use crate::source::{Item, Payload, Plan, Source, each_batch};
use crate::split::{Moved, Split};

/// Collects a source of images into an empty folder.
pub(crate) fn collect_images(
    path: &Path,
    source: &mut dyn Source,
    folder: &Path,
    options: &Options,
    moved: Option<Moved>,
    report: &(dyn Fn(Progress) + Sync),
) -> Result<Collected> {
    let mut collector = Collector::new(path, folder, source.plan(), options, report);
    collector.moved = moved;
    each_batch(source, |batches| collector.run(batches))?;
    collector.finish(path, source.plan())
}

/// Decodes examples and writes them in the order of the source.
struct Collector<'a> {
    folder: &'a Path,
    options: &'a Options,
    report: &'a (dyn Fn(Progress) + Sync),
    memory: Memory,
    about: About,
    split_by: SplitBy,
    /// Kind, shape and factors are known before the first example only for data made by code.
    format: Option<Format>,
    packer: Option<Packer>,
    /// What is moved to another split than its content says.
    moved: Option<Moved>,
    progress: Progress,
    enlarged: u64,
    /// Images of one colour.
    blank: u64,
    /// The parts of the images that were not cropped, added up.
    kept: f64,
}

/// What all examples become, and the first of them, which decided.
struct Format {
    layout: Layout,
    target: Option<Target>,
    first: String,
}

/// An item after decoding.
struct Decoded {
    name: String,
    /// Bytes that were read for it.
    bytes: u64,
    outcome: Outcome,
}

/// What became of one item.
enum Outcome {
    Ready(Row, Size),
    Skipped(Reason),
    Fatal(Error),
}

impl Outcome {
    /// Adds what the source said about the example.
    fn with(self, split: Option<Split>, label: Option<u32>) -> Outcome {
        match self {
            Outcome::Ready(row, size) => Outcome::Ready(Row { split, label, ..row }, size),
            other => other,
        }
    }
}

/// What is said where no image shows anything.
const BLANK: &str = "every image is of a single colour, so there is nothing to learn; if they are drawn in white on transparency, \
                     choose a dark `background`";

/// Where less than this is kept of images that are cropped, it is said.
const MUCH: f64 = 0.5;

/// How a prepared image relates to its original.
#[derive(Clone, Copy)]
struct Size {
    /// Whether it was smaller.
    enlarged: bool,
    /// The part of its pixels that was not cropped.
    kept: f64,
}

impl Size {
    /// That of an image that stays as it is.
    const SAME: Size = Size { enlarged: false, kept: 1.0 };

    fn of(pixels: &Pixels, target: &Target) -> Size {
        let (width, height) = (f64::from(pixels.width), f64::from(pixels.height));
        let (across, down) = (width / f64::from(target.width), height / f64::from(target.height));
        let kept = match target.crop {
            Crop::Center => across.min(down) / across.max(down),
            Crop::None => 1.0,
        };
        Size { enlarged: pixels.width < target.width || pixels.height < target.height, kept }
    }
}

impl<'a> Collector<'a> {
    fn new(
        path: &'a Path,
        folder: &'a Path,
        plan: &Plan,
        options: &'a Options,
        report: &'a (dyn Fn(Progress) + Sync),
    ) -> Self {
        let labelled = !plan.classes.is_empty();
        let format = plan.made.as_ref().map(|(kind, shape, factors)| Format {
            layout: Layout {
                kind: *kind,
                shape: shape.clone(),
                labelled,
                factors: factors.len(),
                objects: plan.objects,
            },
            target: None,
            first: plan.name.clone(),
        });
        let about = About::new(path, plan, options);
        let split_by = if plan.has_splits { SplitBy::Source } else { SplitBy::Content };
        let progress = Progress { total: plan.total, ..Progress::default() };
        let memory = Memory::new(&options.limits);
        Self {
            folder,
            options,
            report,
            memory,
            about,
            split_by,
            format,
            packer: None,
            moved: None,
            progress,
            enlarged: 0,
            blank: 0,
            kept: 0.0,
        }
    }

    /// Takes batches until the reader is done.
    fn run(&mut self, batches: &Receiver<Vec<Item>>) -> Result<()> {
        for batch in batches {
            let mut items = batch.into_iter().peekable();
            // The first image that can be decoded decides the format; until then, one at a time.
            while self.format.is_none() && items.peek().is_some() {
                let first = items.next().map(|item| self.first(item));
                self.take(first)?;
            }
            let items: Vec<_> = items.collect();
            let mut items = items.into_iter();
            while items.len() > 0 {
                let chunk: Vec<_> = items.by_ref().take(self.chunk_rows()).collect();
                let outcomes: Vec<_> = chunk.into_par_iter().map(|item| self.decode(item)).collect();
                self.take(outcomes)?;
            }
        }
        Ok(())
    }

    /// How many examples are prepared at a time: as many as 32 MiB hold, and enough to keep all cores busy unless they are huge.
    fn chunk_rows(&self) -> usize {
        let example = self.format.as_ref().map_or(1, |format| format.layout.example_bytes());
        let most = (self.options.limits.max_memory / 4 / example as u64).max(1);
        ((32 << 20) / example).max((2 * rayon::current_num_threads()).min(most as usize))
    }

    /// Decodes an item before the format is known and lets it decide.
    fn first(&mut self, item: Item) -> Decoded {
        let Item { name, split, label, payload } = item;
        let (bytes, pixels) = decode_payload(payload, &self.options.limits, &self.memory);
        let (pixels, _share) = match pixels {
            Ok(pixels) => pixels,
            Err(reason) => return Decoded { name, bytes, outcome: Outcome::Skipped(reason) },
        };
        let (height, width) = self.options.size.unwrap_or((pixels.height, pixels.width));
        let channels = self.options.channels.unwrap_or(if pixels.channels == 1 { 1 } else { 3 });
        let Options { crop, background, .. } = *self.options;
        let target = Target { width, height, channels, crop, background };
        let labelled = !self.about.classes.is_empty();
        let layout = Layout { kind: Kind::Images, shape: target.shape(), labelled, factors: 0, objects: 0 };
        let format = Format { layout, target: Some(target), first: name.clone() };
        let outcome = image_outcome(pixels, &name, &format, &target, self.options).with(split, label);
        self.format = Some(format);
        Decoded { name, bytes, outcome }
    }

    /// Decodes and prepares one item; called by many threads.
    fn decode(&self, item: Item) -> Decoded {
        let format = self.format.as_ref().expect("the format is known after the first image");
        let Item { name, split, label, payload } = item;
        if let Payload::Made(builtin, index) = payload {
            let outcome = made_outcome(builtin, index, &format.layout, self.options);
            return Decoded { name, bytes: 0, outcome };
        }
        let payload = match payload {
            Payload::Scene(pixels, boxes) => {
                let row = Row { boxes, ..Row::new(&format.layout, pixels) };
                return Decoded {
                    name,
                    bytes: 0,
                    outcome: Outcome::Ready(row, Size::SAME).with(split, label),
                };
            }
            other => other,
        };
        let (bytes, pixels) = decode_payload(payload, &self.options.limits, &self.memory);
        let outcome = match (pixels, &format.target) {
            (Ok((pixels, _share)), Some(target)) => {
                image_outcome(pixels, &name, format, target, self.options).with(split, label)
            }
            (Ok(_), None) => unreachable!("built-in data sends no images to decode"),
            (Err(reason), _) => Outcome::Skipped(reason),
        };
        Decoded { name, bytes, outcome }
    }

    /// Writes what was prepared, in order.
    fn take(&mut self, decoded: impl IntoIterator<Item = Decoded>) -> Result<()> {
        for Decoded { name, bytes, outcome } in decoded {
            self.progress.bytes += bytes;
            match outcome {
                Outcome::Ready(row, size) => {
                    self.blank += u64::from(self.is_blank(&row));
                    self.packer()?.push(&row)?;
                    self.progress.done += 1;
                    self.enlarged += u64::from(size.enlarged);
                    self.kept += size.kept;
                }
                Outcome::Skipped(reason) => {
                    self.progress.skipped += 1;
                    self.about.skipped.push(name, reason);
                }
                Outcome::Fatal(error) => return Err(error),
            }
        }
        (self.report)(self.progress);
        Ok(())
    }

    /// Whether an example is an image of one colour.
    fn is_blank(&self, row: &Row) -> bool {
        let layout = &self.format.as_ref().expect("an example has a format").layout;
        let channels = *layout.shape.last().expect("an example has a shape");
        layout.kind == Kind::Images && is_of_one_pixel(&row.example, channels)
    }

    fn packer(&mut self) -> Result<&mut Packer> {
        if self.packer.is_none() {
            let layout = self.format.as_ref().expect("an example has a format").layout.clone();
            let classes = self.about.classes.len();
            self.packer =
                Some(Packer::new(self.folder, layout, classes, self.split_by, self.moved, self.options)?);
        }
        Ok(self.packer.as_mut().expect("it was just made"))
    }

    /// Completes the data set.
    fn finish(mut self, path: &Path, plan: &Plan) -> Result<Collected> {
        let Some(packer) = self.packer else {
            return Err(plan.nothing_usable(path, Kind::Images, self.about.skipped));
        };
        if let Some(moved) = packer.missing() {
            return Ok(Collected::Again(moved));
        }
        match self.enlarged {
            0 => {}
            1 => self.about.notes.push("1 image was smaller than the size and was enlarged".to_owned()),
            n => self.about.notes.push(format!("{n} images were smaller than the size and were enlarged")),
        }
        let kept = self.kept / self.progress.done.max(1) as f64;
        if kept < MUCH {
            let percent = kept * 100.0;
            self.about
                .notes
                .push(format!("cropping keeps {percent:.0} % of an image on average; `crop` none keeps all"));
        }
        if self.blank > 1 && self.blank == self.progress.done {
            self.about.notes.push(BLANK.to_owned());
        }
        self.about.notes.extend(value_notes(self.options));
        Ok(Collected::Done(Box::new(packer.finish(self.about)?), self.progress))
    }
}

/// The number of bytes that the pixels of an item were read from, and the pixels with the memory for them; those that the source has
/// decoded have theirs already.
pub(crate) fn decode_payload<'a>(
    payload: Payload,
    limits: &Limits,
    memory: &'a Memory,
) -> (u64, Result<(Pixels, Option<Share<'a>>), Reason>) {
    let bytes = payload.bytes();
    let file = match payload {
        Payload::Pixels(pixels) => return (bytes, Ok((pixels, None))),
        file => file,
    };
    let share = memory.files.take(file.bytes_to_read().min(limits.file_bytes));
    match share.and_then(|share| Ok((file.read(limits)?, share))) {
        Ok((encoded, _share)) => {
            let decoded = decode(&encoded, limits, memory);
            (encoded.len() as u64, decoded.map(|Image { pixels, share }| (pixels, Some(share))))
        }
        Err(reason) => (bytes, Err(reason)),
    }
}

fn made_outcome(builtin: Builtin, index: u64, layout: &Layout, options: &Options) -> Outcome {
    let mut made = builtin.make(index, options);
    if layout.kind == Kind::Images {
        change_values(&mut made.example, layout, options);
    }
    let row = Row::new(layout, made.example);
    Outcome::Ready(
        Row { label: Some(made.label), factors: made.factors, boxes: made.boxes, ..row },
        Size::SAME,
    )
}

fn image_outcome(pixels: Pixels, name: &str, format: &Format, target: &Target, options: &Options) -> Outcome {
    if options.size.is_none() && (pixels.width, pixels.height) != (target.width, target.height) {
        return Outcome::Fatal(Error::MixedSizes {
            first: format.first.clone(),
            first_size: (target.width, target.height),
            other: name.to_owned(),
            other_size: (pixels.width, pixels.height),
        });
    }
    if options.channels.is_none() && target.channels == 1 && pixels.channels > 2 {
        return Outcome::Fatal(Error::MixedChannels { first: format.first.clone(), other: name.to_owned() });
    }
    let size = Size::of(&pixels, target);
    let mut image = prepare(pixels, target);
    change_values(&mut image, &format.layout, options);
    Outcome::Ready(Row::new(&format.layout, image), size)
}

/// Inverts and binarizes the values of a prepared image where that is asked for; alpha stays as it is.
pub(crate) fn change_values(image: &mut [u8], layout: &Layout, options: &Options) {
    if !options.invert && !options.binarize {
        return;
    }
    let channels = *layout.shape.last().expect("an image has channels");
    let colours = if channels == 4 { 3 } else { channels };
    for value in image.chunks_exact_mut(channels).flat_map(|pixel| &mut pixel[..colours]) {
        if options.invert {
            *value = 255 - *value;
        }
        if options.binarize {
            *value = if *value < 128 { 0 } else { 255 };
        }
    }
}

/// What was done to all values.
fn value_notes(options: &Options) -> Vec<String> {
    let mut notes = Vec::new();
    if options.invert {
        notes.push("the values of all images are inverted".to_owned());
    }
    if options.binarize {
        notes.push("the values of all images are 0 or 255: those from 128 on became 255".to_owned());
    }
    notes
}
