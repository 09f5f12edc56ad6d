//! Whether images are drawings: next to all values dark or bright.

/// Values up to this are dark, and those from 255 less this are bright: a fifth of the range.
const NEAR: u8 = 51;
/// The part of the values of a drawing that are dark or bright.
const OF_TWO_TONES: f64 = 0.85;
/// The least part of the ink that is fully so, and not the soft edge of a stroke: on white paper, where thin strokes become grey when
/// they are made smaller, and on black, where a photograph in the dark is no drawing.
const SOLID_ON_WHITE: f64 = 0.05;
const SOLID_ON_BLACK: f64 = 0.3;

/// How many values of grey images, or pixels of others, are dark, and how many are bright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tones {
    dark: u64,
    bright: u64,
    all: u64,
}

impl Tones {
    /// Those of a grey image.
    pub fn of(values: &[u8]) -> Tones {
        Tones::of_each(values.iter().map(|value| Some(*value)))
    }

    /// Those of pixels of so many channels, without alpha. A pixel with a colour, whose channels differ by more than dark and bright do,
    /// is neither dark nor bright.
    pub(crate) fn of_pixels(bytes: &[u8], channels: usize) -> Tones {
        let tone = |pixel: &[u8]| {
            let first = pixel[0];
            pixel.iter().all(|value| value.abs_diff(first) <= NEAR).then_some(first)
        };
        Tones::of_each(bytes.chunks_exact(channels).map(tone))
    }

    /// Those of values; `None` for a pixel with a colour.
    fn of_each(values: impl Iterator<Item = Option<u8>>) -> Tones {
        let mut tones = Tones::default();
        for value in values {
            tones.all += 1;
            tones.dark += u64::from(value.is_some_and(|value| value <= NEAR));
            tones.bright += u64::from(value.is_some_and(|value| value >= 255 - NEAR));
        }
        tones
    }

    /// Whether images are black on white or white on black, but for soft edges. A photograph in the dark is mostly black too, but what
    /// is not black there is not white.
    pub fn are_two(&self) -> bool {
        let part = |count: u64| count as f64 / self.all.max(1) as f64;
        let (paper, ink, solid) = match self.dark > self.bright {
            true => (part(self.dark), part(self.bright), SOLID_ON_BLACK),
            false => (part(self.bright), part(self.dark), SOLID_ON_WHITE),
        };
        paper + ink >= OF_TWO_TONES && ink >= solid * (1.0 - paper) && ink > 0.0
    }
}

impl std::iter::Sum for Tones {
    fn sum<I: Iterator<Item = Tones>>(all: I) -> Tones {
        all.fold(Tones::default(), |a, b| Tones {
            dark: a.dark + b.dark,
            bright: a.bright + b.bright,
            all: a.all + b.all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with so many values of each, of 100.
    fn drawn(parts: &[(u8, usize)]) -> bool {
        let values: Vec<u8> = parts.iter().flat_map(|&(value, count)| vec![value; count]).collect();
        assert_eq!(values.len(), 100);
        Tones::of(&values).are_two()
    }

    #[test]
    fn ink_on_paper_is_a_drawing_and_a_night_is_none() {
        assert!(drawn(&[(255, 90), (0, 10)]) && drawn(&[(0, 90), (255, 10)]));
        assert!(drawn(&[(255, 88), (120, 11), (10, 1)]), "thin strokes that were made smaller");
        assert!(!drawn(&[(0, 88), (120, 11), (250, 1)]), "a lamp in the dark");
        assert!(!drawn(&[(255, 50), (0, 20), (120, 30)]) && !drawn(&[(0, 100)]) && !drawn(&[(255, 100)]));
    }

    #[test]
    fn tones_of_several_images_are_added() {
        let (white, black) = (Tones::of(&[255; 9]), Tones::of(&[0; 3]));
        assert!(!white.are_two() && !black.are_two());
        assert!([white, black].into_iter().sum::<Tones>().are_two());
    }
}
