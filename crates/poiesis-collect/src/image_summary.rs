//! What the images of a source are like, looked at before it is packed, so that one size and one kind of colour can be chosen for all.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::card::Kind;
use crate::decode::{Header, header};
use crate::error::Result;
use crate::images::decode_payload;
use crate::memory::Memory;
use crate::options::{Limits, Options};
use crate::prepare::{Pixels, over_background};
use crate::progress::Progress;
use crate::regular;
use crate::source::{self, Item, Payload, each_batch};
use crate::summary::kept_or_found;
use crate::tones::Tones;

/// At most so many images are decoded, drawn from all of the source: of more than these, about half as many or more.
const DECODED: usize = 192;
/// The beginnings of a file, in bytes, of which the first has the header of nearly any image, and the second one that follows a preview.
const STARTS: [u64; 2] = [4 << 10, 64 << 10];
/// By so much the channels of a grey pixel may differ, as those of a photograph of a page do.
const COLOURLESS: u8 = 8;
/// Images are grey if at least so many of a hundred have no colour.
const MOSTLY: usize = 95;

/// What the images of a source are like.
///
/// Sizes and stored channels are read from the header of every image. Colours and tones are those of some of them, drawn from all of
/// the source: a source may be sorted by class, so its beginning does not represent it. An image whose header can be read counts even if
/// its pixels are damaged, though [`collect`](crate::collect) will skip it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageSummary {
    /// Width and height of the smallest, by the shorter side.
    pub smallest: (u32, u32),
    /// The largest, likewise.
    pub largest: (u32, u32),
    /// Whether all have one size.
    pub uniform: bool,
    /// The shorter side in the middle of all.
    pub median_side: u32,
    /// How many images there are.
    pub count: u64,
    /// How many of them are stored as grey.
    pub stored_grey: u64,
    /// How many were decoded to look at their colours.
    pub looked_at: usize,
    /// How many of these have no colour, whether they are stored as grey or not.
    pub without_colour: usize,
    /// Whether they are drawings: without colour, and next to all values are dark or bright.
    pub drawings: bool,
    /// How many of those that were decoded are of one colour in all pixels, over the background.
    pub blank: usize,
    /// How many would be over black.
    pub blank_on_black: usize,
    /// The shorter side by the longer one, in the middle of all: 1 for squares, near 0 for strips.
    pub median_ratio: f64,
}

impl ImageSummary {
    /// Looks at the images of a source; `None` where it holds something else, is packed already, or no image can be read. `progress`
    /// counts the images looked at, on the calling thread.
    ///
    /// What was found is kept in the folder `cache`, where one is given, and is read from there as long as the paths, sizes and times of
    /// the source's files and the options are the same. There is no progress then.
    ///
    /// # Errors
    ///
    /// [`crate::Error`] when the source cannot be opened. An image that cannot be read is left to [`collect`](crate::collect).
    pub fn of(
        path: &Path,
        options: &Options,
        cache: Option<&Path>,
        progress: &dyn Fn(Progress),
    ) -> Result<Option<ImageSummary>> {
        kept_or_found(path, options, cache, cache::OF_IMAGES, || {
            let (kind, found) = ImageSummary::look(path, options, progress)?;
            // That it is sound is kept too: an archive is read to its end to find that out.
            Ok((found.is_some() || kind == Kind::Sound, found))
        })
    }

    /// Looks at the images, and says of which kind the source is.
    fn look(
        path: &Path,
        options: &Options,
        progress: &dyn Fn(Progress),
    ) -> Result<(Kind, Option<ImageSummary>)> {
        let options = &Options { limits: options.limits.within_memory(), ..options.clone() };
        let mut source = source::open(path, options)?;
        let kind = source.plan().kind();
        if kind != Kind::Images || source.plan().made.is_some() {
            return Ok((kind, None));
        }
        let memory = Memory::new(&options.limits);
        let total = source.plan().total;
        let mut found = Found::new(total);
        each_batch(&mut *source, |batches| {
            batches.iter().for_each(|batch| {
                found.add(batch, options, &memory);
                progress(Progress { done: found.next, total, ..Progress::default() });
            });
            Ok(())
        })?;
        Ok((kind, found.summary()))
    }

    /// Whether nearly all images have no colour.
    pub fn is_grey(&self) -> bool {
        self.looked_at > 0 && self.without_colour * 100 >= self.looked_at * MOSTLY
    }

    /// Whether nearly nothing is left of the images over their background, and most would be seen over black: white drawings on
    /// transparency.
    pub fn are_lost_in_background(&self) -> bool {
        let Self { looked_at, blank, blank_on_black, .. } = *self;
        looked_at > 0 && blank * 100 >= looked_at * MOSTLY && blank_on_black * 2 < looked_at
    }

    /// Whether some images are stored as grey and others are not.
    pub fn mixes_channels(&self) -> bool {
        self.stored_grey > 0 && self.stored_grey < self.count
    }
}

/// What has been seen so far.
struct Found {
    /// How many images there are of each size.
    sizes: BTreeMap<Size, u64>,
    stored_grey: u64,
    /// The number of the next item of the source.
    next: u64,
    /// An item is decoded if the place of its number is below this.
    below: u64,
    decoded: Vec<Seen>,
}

/// A size, ordered by its shorter side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    short: u32,
    long: u32,
    width: u32,
}

impl Size {
    fn of(width: u32, height: u32) -> Size {
        Size { short: width.min(height), long: width.max(height), width }
    }

    /// Width and height.
    fn sides(self) -> (u32, u32) {
        (self.width, if self.width == self.short { self.long } else { self.short })
    }

    /// The shorter side by the longer one.
    fn ratio(self) -> f64 {
        f64::from(self.short) / f64::from(self.long.max(1))
    }
}

impl Found {
    /// Begins; with `total` items, fewer are decoded in vain.
    fn new(total: Option<u64>) -> Found {
        let parts = total.unwrap_or(1).div_ceil(DECODED as u64).max(1);
        Found {
            sizes: BTreeMap::new(),
            stored_grey: 0,
            next: 0,
            below: u64::MAX / parts,
            decoded: Vec::new(),
        }
    }

    /// Looks at the next items of the source.
    fn add(&mut self, batch: Vec<Item>, options: &Options, memory: &Memory) {
        let (first, below) = (self.next, self.below);
        self.next += batch.len() as u64;
        let look = |(at, item): (usize, Item)| {
            let place = place(first + at as u64);
            let header = header_of(&item.payload, &options.limits, memory)?;
            let seen = (place < below).then(|| seen(item.payload, place, options, memory)).flatten();
            Some((header, seen))
        };
        let looked: Vec<_> = batch.into_par_iter().enumerate().filter_map(look).collect();
        for (Header { width, height, channels }, seen) in looked {
            *self.sizes.entry(Size::of(width, height)).or_default() += 1;
            self.stored_grey += u64::from(channels == 1);
            self.decoded.extend(seen);
        }
        while self.decoded.len() > DECODED {
            self.below /= 2;
            let below = self.below;
            self.decoded.retain(|seen| seen.place < below);
        }
    }

    fn summary(&self) -> Option<ImageSummary> {
        let count: u64 = self.sizes.values().sum();
        let (smallest, largest) = (self.sizes.keys().next()?, self.sizes.keys().next_back()?);
        let mut before = 0;
        let middle = self.sizes.iter().find(|(_, number)| {
            before += **number;
            before > count / 2
        });
        let mut ratios: Vec<(f64, u64)> =
            self.sizes.iter().map(|(size, count)| (size.ratio(), *count)).collect();
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut before = 0;
        let ratio = ratios.iter().find(|(_, number)| {
            before += *number;
            before > count / 2
        });
        let tones = self.decoded.iter().map(|image| image.tones).sum::<Tones>();
        let summary = ImageSummary {
            smallest: smallest.sides(),
            largest: largest.sides(),
            uniform: self.sizes.len() == 1,
            median_side: middle.map_or(smallest.short, |(size, _)| size.short),
            count,
            stored_grey: self.stored_grey,
            looked_at: self.decoded.len(),
            without_colour: self.decoded.iter().filter(|image| image.colourless).count(),
            drawings: false,
            blank: self.decoded.iter().filter(|image| image.blank).count(),
            blank_on_black: self.decoded.iter().filter(|image| image.blank_on_black).count(),
            median_ratio: ratio.map_or(1.0, |(ratio, _)| *ratio),
        };
        // A photograph in the dark may be black and white in each pixel alone, but has a colour.
        Some(ImageSummary { drawings: summary.is_grey() && tones.are_two(), ..summary })
    }
}

/// A place of each number among all 64-bit numbers, by the finalizer of SplitMix64 (Steele, Lea and Flood 2014): numbers below a
/// bound are spread over all, and do not come in turns as classes may.
fn place(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Size and channels of an item, by its header alone where that is enough.
fn header_of(payload: &Payload, limits: &Limits, memory: &Memory) -> Option<Header> {
    match payload {
        Payload::Pixels(Pixels { width, height, channels, .. }) => {
            Some(Header { width: *width, height: *height, channels: *channels })
        }
        Payload::Encoded(bytes) => header(bytes, limits),
        Payload::File(path) => {
            let read = |most: u64| {
                let mut start = Vec::new();
                regular::open(path).ok()?.take(most).read_to_end(&mut start).ok()?;
                Some(start)
            };
            for most in STARTS {
                let start = read(most)?;
                let is_all = (start.len() as u64) < most;
                if is_all || !has_more_at_its_end(&start) {
                    let header = header(&start, limits);
                    if is_all || header.is_some() {
                        return header;
                    }
                }
            }
            // The header of a TIFF may be at its end, and that of a JPEG behind a large preview.
            let bytes = payload.bytes_to_read().min(limits.file_bytes);
            let _share = memory.files.take(bytes).ok()?;
            header(&read(bytes)?, limits)
        }
        Payload::Made(..) | Payload::Scene(..) | Payload::Episode(_) | Payload::Refused(_) => None,
    }
}

/// Whether a file is a WebP with EXIF, which says how the image is turned and lies behind its pixels.
fn has_more_at_its_end(start: &[u8]) -> bool {
    const EXIF: u8 = 1 << 3;
    start.get(8..16) == Some(b"WEBPVP8X") && start.get(20).is_some_and(|flags| flags & EXIF != 0)
}

/// What is remembered of an image that was decoded.
struct Seen {
    place: u64,
    /// Whether no pixel has a colour.
    colourless: bool,
    tones: Tones,
    /// Whether all pixels are the same, and whether they would be over black.
    blank: bool,
    blank_on_black: bool,
}

fn seen(payload: Payload, place: u64, options: &Options, memory: &Memory) -> Option<Seen> {
    let (pixels, _share) = decode_payload(payload, &options.limits, memory).1.ok()?;
    Some(Seen::of(pixels, place, options.background))
}

impl Seen {
    fn of(image: Pixels, place: u64, background: [u8; 3]) -> Seen {
        let (image, blank_on_black) = match image.channels {
            2 | 4 => (over_background(&image, background), Some(is_blank(&over_background(&image, [0; 3])))),
            _ => (image, None),
        };
        let blank = is_blank(&image);
        let channels = usize::from(image.channels);
        let colourless = |pixel: &[u8]| {
            let (low, high) = pixel.iter().fold((255, 0), |(low, high), &v| (v.min(low), v.max(high)));
            high - low <= COLOURLESS
        };
        Seen {
            place,
            colourless: channels == 1 || image.bytes.chunks_exact(channels).all(colourless),
            tones: Tones::of_pixels(&image.bytes, channels),
            blank,
            blank_on_black: blank_on_black.unwrap_or(blank),
        }
    }
}

/// Whether all pixels of an image are the same.
fn is_blank(image: &Pixels) -> bool {
    is_of_one_pixel(&image.bytes, usize::from(image.channels))
}

/// Whether all pixels are the same, by their bytes; each has so many channels.
pub(crate) fn is_of_one_pixel(bytes: &[u8], channels: usize) -> bool {
    // Each byte is that of the pixel before.
    bytes.iter().zip(bytes.iter().skip(channels)).all(|(before, byte)| before == byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width, height, channels and the value of each byte.
    type Image<'a> = (u32, u32, u8, &'a dyn Fn(usize) -> u8);

    fn found(images: &[Image<'_>]) -> ImageSummary {
        let item = |&(width, height, channels, value): &Image<'_>| {
            let len = (width * height) as usize * usize::from(channels);
            let pixels = Pixels { width, height, channels, bytes: (0..len).map(value).collect() };
            Item { name: String::new(), split: None, label: None, payload: Payload::Pixels(pixels) }
        };
        let options = Options::default();
        let mut found = Found::new(Some(images.len() as u64));
        for batch in images.chunks(7) {
            found.add(batch.iter().map(item).collect(), &options, &Memory::new(&options.limits));
        }
        found.summary().unwrap()
    }

    #[test]
    fn sizes_are_those_of_the_shorter_sides() {
        let grey = |_: usize| 128;
        let seen = found(&[(300, 200, 3, &grey), (64, 128, 3, &grey), (100, 90, 3, &grey)]);
        assert_eq!((seen.smallest, seen.largest, seen.median_side), ((64, 128), (300, 200), 90));
        assert!(!seen.uniform && !seen.mixes_channels() && !seen.drawings);
        assert!((seen.median_ratio - 2.0 / 3.0).abs() < 1e-9, "of 0.5, 0.67 and 0.9");
        assert!(Found::new(None).summary().is_none());
        let seen = found(&[(9, 8, 1, &grey), (9, 8, 3, &grey)]);
        assert!(seen.uniform && seen.mixes_channels() && seen.is_grey());
    }

    #[test]
    fn drawings_are_black_and_white_in_any_channels() {
        let drawn = |at: usize| if at.is_multiple_of(7) { 20 } else { 250 };
        assert!(found(&[(8, 8, 1, &drawn)]).drawings);
        assert!(found(&[(8, 8, 3, &|at| drawn(at / 3))]).drawings);
        assert!(!found(&[(8, 8, 3, &drawn)]).drawings, "coloured dots");
        assert!(!found(&[(8, 8, 1, &|at| (at * 4) as u8)]).drawings);
        // Black ink on a transparent ground is ink on paper.
        assert!(
            found(&[(8, 8, 4, &|at| if at % 4 == 3 && at / 4 > 9 { 0 } else { at as u8 % 4 / 3 * 255 })])
                .drawings
        );
    }

    #[test]
    fn white_drawings_on_transparency_are_lost_on_white() {
        // White, opaque in some pixels and clear in the others.
        let white = |at: usize| if at % 4 == 3 && !(at / 4).is_multiple_of(3) { 0 } else { 255 };
        let black = |at: usize| if at % 4 == 3 { white(at) } else { 0 };
        let clear = |at: usize| if at % 4 == 3 { 0 } else { 7 };
        let seen = found(&[(8, 8, 4, &white), (8, 8, 4, &white)]);
        assert_eq!((seen.blank, seen.blank_on_black), (2, 0));
        assert!(seen.are_lost_in_background());
        assert!(!found(&[(8, 8, 4, &black)]).are_lost_in_background());
        assert!(!found(&[(8, 8, 4, &white), (8, 8, 4, &black)]).are_lost_in_background(), "half of them");
        let nothing = found(&[(8, 8, 4, &clear), (8, 8, 3, &|_| 9)]);
        assert_eq!((nothing.blank, nothing.blank_on_black), (2, 2));
        assert!(!nothing.are_lost_in_background(), "nor is there anything on black");
        assert_eq!(found(&[(2, 1, 3, &|at| [1, 2, 3, 1, 2, 4][at])]).blank, 0);
    }

    #[test]
    fn a_night_in_colour_is_no_drawing() {
        // Black, lamps that are too bright, and a warm shine that is dark enough to count as black.
        let night = |at: usize| match at / 3 % 10 {
            0 => 255,
            1 => [45, 20, 5][at % 3],
            _ => 3,
        };
        let seen = found(&[(40, 30, 3, &night)]);
        assert!(!seen.is_grey() && !seen.drawings, "{seen:?}");
        assert!(
            Tones::of_pixels(&(0..3600).map(night).collect::<Vec<_>>(), 3).are_two(),
            "by its tones alone"
        );
    }

    #[test]
    fn a_few_coloured_images_among_grey_ones_are_an_exception() {
        let grey = |at: usize| (at / 3) as u8;
        let red = |at: usize| if at.is_multiple_of(3) { 255 } else { 0 };
        let of = |coloured: usize| {
            let image = |i: usize| {
                let value: &dyn Fn(usize) -> u8 = if i < coloured { &red } else { &grey };
                (6, 6, 3, value)
            };
            found(&(0..40).map(image).collect::<Vec<_>>())
        };
        assert_eq!([0, 2, 3, 40].map(|coloured| of(coloured).is_grey()), [true, true, false, false]);
        assert_eq!((of(2).looked_at, of(2).without_colour), (40, 38));
    }

    #[test]
    fn what_is_decoded_is_drawn_from_all_of_a_source() {
        let item = |_| Item {
            name: String::new(),
            split: None,
            label: None,
            payload: Payload::Pixels(Pixels { width: 1, height: 1, channels: 1, bytes: vec![0] }),
        };
        let options = Options::default();
        let memory = Memory::new(&options.limits);
        for total in [Some(10_000), None] {
            let mut found = Found::new(total);
            (0..100).for_each(|_| found.add((0..100).map(item).collect(), &options, &memory));
            let decoded = found.decoded.len();
            assert!((DECODED * 2 / 5..=DECODED).contains(&decoded), "{decoded}");
            let chosen: Vec<u64> = (0..10_000).filter(|&number| place(number) < found.below).collect();
            assert_eq!(chosen.len(), decoded);
            let late = chosen.iter().filter(|&&number| number >= 5000).count();
            assert!((decoded / 3..decoded * 2 / 3).contains(&late), "{late} of {decoded} in the second half");
            assert_eq!(found.summary().unwrap().count, 10_000);
        }
    }
}
