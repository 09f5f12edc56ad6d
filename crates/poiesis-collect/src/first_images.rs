//! What the first images of a source are like, seen before it is packed, so that a size can be chosen for all.

use std::path::Path;

use rayon::prelude::*;

use crate::card::Kind;
use crate::error::Result;
use crate::images::decode_payload;
use crate::memory::Memory;
use crate::options::Options;
use crate::prepare::Pixels;
use crate::source::{self, Item, Payload, Source, each_batch};
use crate::stored_card::is_packed;
use crate::tones::{NEAR, Tones};

/// How many images are looked at.
const LOOKED_AT: usize = 48;
/// Whether all images are grey is found out for sources of up to this many.
const ALL: usize = 20_000;
/// By so much the channels of a grey pixel may differ, as those of a photograph of a page do.
const COLOURLESS: u8 = 8;

/// What the first images of a source are like.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstImages {
    /// Width and height of the smallest, by the shorter side.
    pub smallest: (u32, u32),
    /// The largest, likewise.
    pub largest: (u32, u32),
    /// Whether all have one size.
    pub uniform: bool,
    /// The shorter side in the middle of all.
    pub median_side: u32,
    /// Whether their channels differ, as those of grey images among coloured ones.
    pub mixed_channels: bool,
    /// Whether all images of the source, not only the first, are stored in colour and have none.
    pub grey_in_colour: bool,
    /// Whether they are drawings: next to all values are dark or bright.
    pub drawings: bool,
}

impl FirstImages {
    /// Looks at the first images of a source; `None` where it holds something else, is packed already, or no image can be read.
    ///
    /// # Errors
    ///
    /// [`crate::Error`] when the source cannot be opened. An image that cannot be read is left to [`collect`](crate::collect).
    pub fn of(path: &Path, options: &Options) -> Result<Option<FirstImages>> {
        options.check()?;
        if path.is_dir() && is_packed(path) {
            return Ok(None);
        }
        let options = &Options { limits: options.limits.within_memory(), ..options.clone() };
        let mut source = source::open(path, options)?;
        if source.plan().kind() != Kind::Images || source.plan().made.is_some() {
            return Ok(None);
        }
        let first = look(&mut *source, options, LOOKED_AT, |_| true)?;
        let Some(summary) = summary(&first) else { return Ok(None) };
        // That all images are grey matters only where the channels are to be chosen.
        let mut grey_in_colour = options.channels.is_none() && first.iter().all(Seen::is_grey_in_colour);
        if grey_in_colour && first.len() == LOOKED_AT {
            let mut source = source::open(path, options)?;
            let all = look(&mut *source, options, ALL + 1, Seen::is_grey_in_colour)?;
            grey_in_colour = all.len() <= ALL && all.iter().all(Seen::is_grey_in_colour);
        }
        Ok(Some(FirstImages { grey_in_colour, ..summary }))
    }
}

/// Looks at up to `most` images, and no further than the batch with one that is not `expected`.
fn look(
    source: &mut dyn Source,
    options: &Options,
    most: usize,
    expected: impl Fn(&Seen) -> bool,
) -> Result<Vec<Seen>> {
    let memory = Memory::new(&options.limits);
    let seen = |item: Item| match item.payload {
        Payload::Made(..) | Payload::Scene(..) => None,
        payload => {
            let (pixels, _share) = decode_payload(payload, &options.limits, &memory).1.ok()?;
            Some(Seen::of(&pixels))
        }
    };
    each_batch(source, |batches| {
        let mut found: Vec<Seen> = Vec::new();
        for batch in batches {
            let items: Vec<Item> = batch.into_iter().take(most - found.len()).collect();
            found.par_extend(items.into_par_iter().filter_map(seen));
            if found.len() >= most || !found.iter().all(&expected) {
                break;
            }
        }
        Ok(found)
    })
}

/// What is remembered of an image.
struct Seen {
    width: u32,
    height: u32,
    grey: bool,
    /// Whether no pixel has a colour.
    colourless: bool,
    tones: Tones,
}

impl Seen {
    fn of(image: &Pixels) -> Seen {
        let channels = usize::from(image.channels);
        let colours = if channels.is_multiple_of(2) { channels - 1 } else { channels };
        // Without a colour where the channels differ by less than dark and bright do.
        let tone = |pixel: &[u8]| {
            let first = pixel[0];
            pixel[..colours].iter().all(|value| value.abs_diff(first) <= NEAR).then_some(first)
        };
        let colourless = |pixel: &[u8]| {
            let (low, high) =
                pixel[..colours].iter().fold((255, 0), |(low, high), &v| (v.min(low), v.max(high)));
            high - low <= COLOURLESS
        };
        Seen {
            width: image.width,
            height: image.height,
            grey: channels <= 2,
            colourless: image.bytes.chunks_exact(channels).all(colourless),
            tones: Tones::of_each(image.bytes.chunks_exact(channels).map(tone)),
        }
    }

    fn is_grey_in_colour(&self) -> bool {
        self.colourless && !self.grey
    }
}

fn summary(images: &[Seen]) -> Option<FirstImages> {
    let mut sizes: Vec<(u32, u32)> = images.iter().map(|image| (image.width, image.height)).collect();
    sizes.sort_by_key(|&(width, height)| (width.min(height), width.max(height)));
    let (&smallest, &largest) = (sizes.first()?, sizes.last()?);
    let middle = sizes[sizes.len() / 2];
    let some_grey = images.iter().filter(|image| image.grey).count();
    Some(FirstImages {
        smallest,
        largest,
        uniform: sizes.iter().all(|&size| size == smallest),
        median_side: middle.0.min(middle.1),
        grey_in_colour: false,
        mixed_channels: some_grey > 0 && some_grey < images.len(),
        drawings: images.iter().map(|image| image.tones).sum::<Tones>().are_two(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u32, height: u32, channels: u8, value: impl Fn(usize) -> u8) -> Seen {
        let len = (width * height) as usize * usize::from(channels);
        Seen::of(&Pixels { width, height, channels, bytes: (0..len).map(value).collect() })
    }

    #[test]
    fn sizes_are_those_of_the_shorter_sides() {
        let sizes = [(300, 200), (64, 128), (100, 90)];
        let images: Vec<_> = sizes.iter().map(|&(w, h)| image(w, h, 3, |_| 128)).collect();
        let seen = summary(&images).unwrap();
        assert_eq!((seen.smallest, seen.largest, seen.median_side), ((64, 128), (300, 200), 90));
        assert!(!seen.uniform && !seen.mixed_channels && !seen.drawings);
        assert_eq!(summary(&[]), None);
        assert!(summary(&[image(9, 8, 1, |_| 128), image(9, 8, 3, |_| 128)]).unwrap().uniform);
    }

    #[test]
    fn drawings_are_black_and_white_in_any_channels() {
        let drawn = |at: usize| if at.is_multiple_of(7) { 20 } else { 250 };
        assert!(summary(&[image(8, 8, 1, drawn)]).unwrap().drawings);
        assert!(summary(&[image(8, 8, 3, |at| drawn(at / 3))]).unwrap().drawings);
        assert!(!summary(&[image(8, 8, 3, drawn)]).unwrap().drawings, "coloured dots");
        assert!(!summary(&[image(8, 8, 1, |at| (at * 4) as u8)]).unwrap().drawings);
        assert!(image(4, 4, 3, |at| (at / 3 * 9) as u8 + (at % 3) as u8).is_grey_in_colour());
        assert!(!image(4, 4, 3, |at| (at * 9) as u8).is_grey_in_colour());
        assert!(!image(4, 4, 1, |_| 7).is_grey_in_colour(), "grey as it is");
        let mixed = summary(&[image(8, 8, 1, drawn), image(8, 8, 3, |_| 9)]).unwrap();
        assert!(mixed.mixed_channels);
    }
}
