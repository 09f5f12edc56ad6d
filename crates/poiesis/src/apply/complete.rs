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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Reader;

    /// Four values, each as probable as another.
    struct Even;

    struct EvenReader(Vec<f32>);

    impl Code for Even {
        fn alphabet(&self) -> usize {
            4
        }

        fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_> {
            Box::new(EvenReader(vec![0.25f32.ln(); 4 * classes.len()]))
        }
    }

    impl Reader for EvenReader {
        fn laws(&mut self) -> &[f32] {
            &self.0
        }

        fn push(&mut self, values: &[u32]) {
            assert!(values.len() == self.0.len() / 4 && values.iter().all(|&value| value < 4));
        }
    }

    #[test]
    fn known_bytes_stay_and_missing_ones_are_drawn() {
        let shape = ImageShape { height: 4, width: 5, channels: 3 };
        // Bytes between levels too.
        let original: Vec<u8> = (0..60).map(|i| (i * 37) as u8).collect();
        let known: Vec<bool> = (0..20).map(|pixel| pixel % 3 != 0).collect();
        let draw = |seed| image(&Even, shape, &original, &known, None, (seed, 50), Choice::default());
        let completions = draw(1);
        let mut drawn = std::collections::BTreeSet::new();
        for completion in completions.chunks_exact(60) {
            for (place, (&byte, &before)) in completion.iter().zip(&original).enumerate() {
                if known[place / 3] {
                    assert_eq!(byte, before, "byte {place}");
                } else {
                    drawn.insert(byte);
                }
            }
        }
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [0, 85, 170, 255]);
        assert_eq!(draw(1), completions);
        assert_ne!(draw(2), completions);
    }
}
