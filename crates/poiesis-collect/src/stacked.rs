//! Stacks grey images into colour images, whose modes can be counted (Metz et al. 2017, arXiv:1611.02163, §3.3): three digits make one
//! of 1,000 numbers.

use std::path::Path;

use crate::builtin::{below, random};
use crate::card::Kind;
use crate::collect::{Output, Report, collect_source};
use crate::dataset::{Dataset, View};
use crate::drawn;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::prepare::Pixels;
use crate::progress::Progress;
use crate::source::{Halt, Item, Payload, Plan, Sink, Source};
use crate::split::Split;

/// Grey images in one stacked image.
const CHANNELS: usize = 3;
/// Most classes of the stacked images.
const MOST_CLASSES: usize = 100_000;

/// Packs colour images into the new folder `out`, each made of three images of the grey data set `grey`, drawn by chance from one split
/// of it: red, green and blue. Its class is those of the three, such as `4-0-7`, where all three have one.
///
/// Of `options`, `count` is the number of training images (as many as the data set has, by default), `seed` decides which are drawn,
/// and `name`, `licence` and `limits` are as for any other data. Held-out splits get as many images as they have.
///
/// # Errors
///
/// [`Error::WrongKind`] and [`Error::BadOption`] when the data set is not of grey images, or has too many classes;
/// [`Error::OutputExists`]; see [`Error`] for those of writing.
pub fn stack(
    grey: &Dataset,
    out: &Path,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    options.check()?;
    let options = &Options { limits: options.limits.within_memory(), ..options.clone() };
    let mut source = Stacked::new(grey, options)?;
    collect_source(grey.folder(), &mut source, Output::begin(out, false)?, options, progress)
}

struct Stacked {
    /// Splits, their images, and how many are made of them.
    splits: Vec<(Split, View, usize)>,
    /// Height and width.
    size: [u32; 2],
    /// Classes of the grey images.
    classes: usize,
    seed: u64,
    plan: Plan,
}

impl Stacked {
    fn new(grey: &Dataset, options: &Options) -> Result<Stacked> {
        let card = grey.card();
        let [height, width, 1] = card.shape[..] else { return Err(not_grey(grey)) };
        if card.kind != Kind::Images {
            return Err(not_grey(grey));
        }
        let classes = combined(&card.classes);
        if classes.len() > MOST_CLASSES {
            return Err(Error::BadOption {
                option: "stack",
                value: format!("{} classes", card.classes.len()),
                reason: "three of them together are too many classes",
                remedy: "stack images of at most 46 classes",
            });
        }
        let splits = drawn::splits(grey, options.count);
        let plan = Plan {
            name: format!("stacked-{}", card.name),
            classes,
            has_splits: true,
            total: Some(splits.iter().map(|(_, _, count)| *count as u64).sum()),
            notes: vec![format!(
                "three images of {} as red, green and blue, drawn by chance (seed {})",
                card.name, options.seed
            )],
            ..Plan::default()
        };
        let size = [height, width].map(|side| side as u32);
        Ok(Stacked { splits, size, classes: card.classes.len(), seed: options.seed, plan })
    }

    /// Image `index` of a split, made of three of `view`.
    fn image(&self, split: Split, view: &View, index: usize) -> Item {
        let mut rng = random(self.seed, &format!("stack {split}"), index as u64);
        let drawn: [usize; CHANNELS] = std::array::from_fn(|_| below(&mut rng, view.len()));
        let mut bytes = vec![0; CHANNELS * view.image(0).len()];
        for (channel, &i) in drawn.iter().enumerate() {
            bytes
                .iter_mut()
                .skip(channel)
                .step_by(CHANNELS)
                .zip(view.image(i))
                .for_each(|(to, from)| *to = *from);
        }
        let label =
            drawn.iter().try_fold(0, |label, &i| Some(label * self.classes + view.label(i)? as usize));
        let [height, width] = self.size;
        Item {
            name: format!("{split} {index}"),
            split: Some(split),
            label: label.filter(|_| self.classes > 0).map(|label| label as u32),
            payload: Payload::Pixels(Pixels { width, height, channels: CHANNELS as u8, bytes }),
        }
    }
}

impl Source for Stacked {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for (split, view, count) in &self.splits {
            for index in 0..*count {
                sink.send(self.image(*split, view, index))?;
            }
        }
        Ok(())
    }
}

/// The classes of three images, in the order of their labels: the last changes first.
fn combined(classes: &[String]) -> Vec<String> {
    let one = |before: &str, class: &String| match before {
        "" => class.clone(),
        before => format!("{before}-{class}"),
    };
    (0..CHANNELS).fold(vec![String::new()], |all, _| {
        all.iter().flat_map(|before| classes.iter().map(move |class| one(before, class))).collect()
    })
}

fn not_grey(dataset: &Dataset) -> Error {
    let shape: Vec<String> = dataset.card().shape.iter().map(usize::to_string).collect();
    Error::BadOption {
        option: "stack",
        value: format!("{} of shape {}", dataset.card().name, shape.join("×")),
        reason: "only grey images are stacked, one for each colour",
        remedy: "give grey images, or make them grey with channels 1",
    }
}
