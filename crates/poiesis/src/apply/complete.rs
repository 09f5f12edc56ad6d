//! Filling in what is missing of an image.

use super::compress::byte_of;
use crate::capability::Code;
use crate::data::ImageShape;
use crate::generate::{Choice, Writer};

/// Draws `count` completions of `image`, 8-bit, one after another.
///
/// `known` says for each pixel, row by row, whether it is kept: kept bytes come back as they are, and the model sees those
/// before a missing number when it draws it. Completion *i* depends on `(seed, i)` and the image alone. `class` is read by a
/// model that is conditioned on classes.
///
/// # Panics
///
/// When the image or the mask is not of `shape`.
pub fn image(
    code: &dyn Code,
    shape: ImageShape,
    image: &[u8],
    known: &[bool],
    class: Option<u32>,
    (seed, count): (u64, usize),
    choice: Choice,
) -> Vec<u8> {
    let pixels = shape.height * shape.width;
    assert_eq!(image.len(), shape.dims(), "an image of {} bytes for {shape:?}", image.len());
    assert_eq!(known.len(), pixels, "a mask of {} pixels for {shape:?}", known.len());
    let levels = code.alphabet();
    let mut writer = Writer::new(code, seed, 0..count as u64, &vec![class; count], choice);
    let mut completions = vec![Vec::with_capacity(image.len()); count];
    for (place, &byte) in image.iter().enumerate() {
        let keep = known[place / shape.channels];
        // A kept byte between two levels is read as the nearest.
        let level = (usize::from(byte) * (levels - 1) + 127) / 255;
        let values = writer.next(&vec![keep.then_some(level as u32); count]);
        for (completion, value) in completions.iter_mut().zip(values) {
            completion.push(if keep { byte } else { byte_of(value, levels) });
        }
    }
    completions.concat()
}
