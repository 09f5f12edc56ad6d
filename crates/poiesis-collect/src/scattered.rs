//! Scatters images over larger black ones: scenes of a few objects whose boxes are known, such as those of digits (Eslami et al. 2016,
//! arXiv:1603.08575, §3.1).

use std::path::Path;

use rand_chacha::ChaCha8Rng;

use crate::builtin::scenes::{OBJECTS, all_apart, counts};
use crate::builtin::{below, random};
use crate::card::Kind;
use crate::collect::{Output, Report, collect_source};
use crate::dataset::{Dataset, View};
use crate::drawn;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::progress::Progress;
use crate::source::{Halt, Item, Payload, Plan, Sink, Source};
use crate::split::Split;

/// A pixel of which a channel is at least this bright is part of an object.
const BRIGHT: u8 = 128;
/// Pixels between two boxes.
const ROOM: usize = 1;
/// How often a scene is drawn before its objects are said to have no room.
const TRIES: usize = 10_000;

/// Packs scenes into the new folder `out`: black images with objects from the images of the data set `images`, which must have a dark
/// ground. Objects are drawn by chance from one split and put down at random, upright, in their own size and apart from each other. The class
/// of a scene is the number of its objects, each number as likely as another, and the box around each is stored.
///
/// Of `options`, `size` is that of the scenes (twice that of the images, by default), `objects` the fewest and the most objects (none to
/// two), `count` the number of training scenes (as many as the data set has images), `seed` decides what is drawn, and `name`, `licence` and
/// `limits` are as for any other data. Held-out splits get as many scenes as they have images.
///
/// # Errors
///
/// [`Error::BadOption`] when the data set is not of grey or RGB images, and for a size in which the objects have no room;
/// [`Error::OutputExists`]; see [`Error`] for those of writing.
pub fn scatter(
    images: &Dataset,
    out: &Path,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    options.check()?;
    // Values were changed when the images were packed.
    let limits = options.limits.within_memory();
    let options = &Options { limits, binarize: false, invert: false, ..options.clone() };
    let mut source = Scattered::new(images, options)?;
    collect_source(images.folder(), &mut source, Output::begin(out, false)?, options, progress)
}

struct Scattered {
    /// Splits, their images, and how many scenes are made of them.
    splits: Vec<(Split, View, usize)>,
    /// Height, width and channels of an image.
    from: [usize; 3],
    /// Height and width of a scene.
    size: [usize; 2],
    objects: (u32, u32),
    seed: u64,
    plan: Plan,
}

/// An object on its way into a scene: an image, where its object is in it, and where in the scene that is put. Left and top, then width and
/// height, in pixels.
struct Object<'a> {
    image: &'a [u8],
    inside: [usize; 4],
    at: [usize; 2],
}

impl Scattered {
    fn new(images: &Dataset, options: &Options) -> Result<Scattered> {
        let card = images.card();
        let (&[height, width, channels @ (1 | 3)], Kind::Images) = (&card.shape[..], card.kind) else {
            return Err(not_plain(images));
        };
        let size = options
            .size
            .map_or([2 * height, 2 * width], |(height, width)| [height, width].map(|side| side as usize));
        if size[0] < height || size[1] < width {
            return Err(Error::BadOption {
                option: "size",
                value: format!("{}x{}", size[1], size[0]),
                reason: "a scene cannot be smaller than the images that are scattered over it",
                remedy: "give at least their size",
            });
        }
        let objects = options.objects.unwrap_or(OBJECTS);
        let splits = drawn::splits(images, options.count);
        let plan = Plan {
            name: format!("scattered-{}", card.name),
            classes: counts(objects.1),
            has_splits: true,
            total: Some(splits.iter().map(|(_, _, count)| *count as u64).sum()),
            made: Some((Kind::Images, vec![size[0], size[1], channels], Vec::new())),
            objects: objects.1 as usize,
            notes: vec![format!(
                "{} to {} images of {} on each, drawn by chance (seed {})",
                objects.0, objects.1, card.name, options.seed
            )],
            ..Plan::default()
        };
        Ok(Scattered { splits, from: [height, width, channels], size, objects, seed: options.seed, plan })
    }

    /// Scene `index` of a split, made of images of `view`.
    fn scene(&self, split: Split, view: &View, index: usize) -> Result<Item> {
        let mut rng = random(self.seed, &format!("scatter {split}"), index as u64);
        let (fewest, most) = self.objects;
        let count = fewest + below(&mut rng, (most - fewest + 1) as usize) as u32;
        let [height, width] = self.size;
        let room = [width, height].map(|side| ROOM as f32 / side as f32);
        for _ in 0..TRIES {
            // Scenes whose boxes meet are drawn anew as a whole, so that all others are as likely as each other.
            let objects: Vec<Object> = (0..count).map(|_| self.object(view, &mut rng)).collect();
            let boxes: Vec<[f32; 4]> = objects.iter().map(|object| object.sides(self.size)).collect();
            if all_apart(&boxes, room) {
                let mut scene = vec![0; height * width * self.from[2]];
                objects.iter().for_each(|object| self.put(object, &mut scene));
                return Ok(Item {
                    name: format!("{split} {index}"),
                    split: Some(split),
                    label: Some(count),
                    payload: Payload::Scene(scene, boxes),
                });
            }
        }
        Err(Error::BadOption {
            option: "size",
            value: format!("{width}x{height}"),
            reason: "so many objects have no room beside each other",
            remedy: "give a larger one, or fewer objects",
        })
    }

    /// An image by chance, and a place by chance at which its object lies in the scene.
    fn object<'a>(&self, view: &'a View, rng: &mut ChaCha8Rng) -> Object<'a> {
        let image = view.image(below(rng, view.len()));
        let inside = bright(image, self.from);
        let [height, width] = self.size;
        let at = [below(rng, width - inside[2] + 1), below(rng, height - inside[3] + 1)];
        Object { image, inside, at }
    }

    /// Puts the image of an object into a scene, where it is brighter; what lies outside is cut off.
    fn put(&self, object: &Object, scene: &mut [u8]) {
        let ([rows, columns, channels], [height, width]) = (self.from, self.size);
        let place = |pixel: usize, axis: usize, side: usize| {
            (pixel + object.at[axis]).checked_sub(object.inside[axis]).filter(|&place| place < side)
        };
        for row in 0..rows {
            let Some(y) = place(row, 1, height) else { continue };
            for column in 0..columns {
                let Some(x) = place(column, 0, width) else { continue };
                let (from, to) = ((row * columns + column) * channels, (y * width + x) * channels);
                let pixels = scene[to..to + channels].iter_mut().zip(&object.image[from..from + channels]);
                pixels.for_each(|(to, from)| *to = (*to).max(*from));
            }
        }
    }
}

impl Object<'_> {
    /// Left, top, width and height in a scene of this height and width, as fractions of its sides.
    fn sides(&self, [height, width]: [usize; 2]) -> [f32; 4] {
        let [left, top] = self.at;
        let [_, _, across, down] = self.inside;
        [(left, width), (top, height), (across, width), (down, height)]
            .map(|(pixels, side)| pixels as f32 / side as f32)
    }
}

impl Source for Scattered {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for (split, view, count) in &self.splits {
            for index in 0..*count {
                sink.send(self.scene(*split, view, index)?)?;
            }
        }
        Ok(())
    }
}

/// Left, top, width and height of what is bright in an image of `[height, width, channels]`, in pixels; the whole where nothing is.
fn bright(image: &[u8], [height, width, channels]: [usize; 3]) -> [usize; 4] {
    let is_bright = |row: usize, column: usize| {
        let start = (row * width + column) * channels;
        image[start..start + channels].iter().any(|&value| value >= BRIGHT)
    };
    let bounds = |length: usize, has: &dyn Fn(usize) -> bool| {
        let first = (0..length).find(|&at| has(at)).unwrap_or(0);
        let last = (0..length).rfind(|&at| has(at)).unwrap_or(length - 1);
        (first, last - first + 1)
    };
    let (top, down) = bounds(height, &|row| (0..width).any(|column| is_bright(row, column)));
    let (left, across) = bounds(width, &|column| (0..height).any(|row| is_bright(row, column)));
    [left, top, across, down]
}

fn not_plain(dataset: &Dataset) -> Error {
    let shape: Vec<String> = dataset.card().shape.iter().map(usize::to_string).collect();
    Error::BadOption {
        option: "scatter",
        value: format!("{} of shape {}", dataset.card().name, shape.join("×")),
        reason: "only grey and RGB images are scattered",
        remedy: "give images, with channels 1 or 3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bright_has_bounds_and_darkness_is_a_whole() {
        let mut image = vec![0; 5 * 4 * 3];
        assert_eq!(bright(&image, [5, 4, 3]), [0, 0, 4, 5]);
        for (row, column) in [(1, 2), (3, 3)] {
            image[(row * 4 + column) * 3 + 1] = BRIGHT;
        }
        image[0] = BRIGHT - 1;
        assert_eq!(bright(&image, [5, 4, 3]), [2, 1, 2, 3]);
    }
}
