//! How samples of sound are stored.

use super::mu_law;

/// How samples of sound are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleFormat {
    /// As one of the 256 levels of the μ-law.
    MuLaw,
    /// As 16-bit values, unchanged.
    Pcm16,
}

impl SampleFormat {
    /// The format with that many levels; [`SampleFormat::MuLaw`] if there is none.
    pub fn of(levels: usize) -> SampleFormat {
        if levels == SampleFormat::Pcm16.levels() { SampleFormat::Pcm16 } else { SampleFormat::MuLaw }
    }

    /// How many levels a sample has.
    pub fn levels(self) -> usize {
        match self {
            SampleFormat::MuLaw => mu_law::LEVELS,
            SampleFormat::Pcm16 => 1 << 16,
        }
    }

    /// The level of a sample; levels never fall as samples rise.
    pub fn level(self, sample: i16) -> u32 {
        match self {
            SampleFormat::MuLaw => mu_law::level(sample),
            SampleFormat::Pcm16 => (i32::from(sample) - i32::from(i16::MIN)) as u32,
        }
    }

    /// How many values, each below 256, an [`IncrementalDecoder`](crate::abilities::IncrementalDecoder) takes per sample.
    pub fn values(self) -> usize {
        match self {
            SampleFormat::MuLaw => 1,
            SampleFormat::Pcm16 => 2,
        }
    }

    /// Those values: the level of the μ-law, or the high and the low byte of the level.
    pub fn split(self, sample: i16) -> Vec<u32> {
        let level = self.level(sample);
        match self {
            SampleFormat::MuLaw => vec![level],
            SampleFormat::Pcm16 => vec![level >> 8, level & 255],
        }
    }

    /// The sample with these `values`; for the μ-law, the one in the middle of its level.
    ///
    /// # Panics
    ///
    /// When there are more or fewer values than a sample has, or one is not below 256.
    pub fn join(self, values: &[u32]) -> i16 {
        let bytes = values.iter().all(|&value| value < 256);
        assert!(bytes && values.len() == self.values(), "{values:?} are not a sample of {self:?}");
        match self {
            SampleFormat::MuLaw => mu_law::sample(values[0]),
            SampleFormat::Pcm16 => ((values[0] << 8 | values[1]) as i32 + i32::from(i16::MIN)) as i16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_comes_back_or_one_of_its_level() {
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(SampleFormat::Pcm16.join(&SampleFormat::Pcm16.split(sample)), sample);
            let near = SampleFormat::MuLaw.join(&SampleFormat::MuLaw.split(sample));
            assert_eq!(mu_law::level(near), mu_law::level(sample));
        }
        assert_eq!(SampleFormat::Pcm16.split(i16::MIN), [0, 0]);
        assert_eq!(SampleFormat::Pcm16.split(0), [128, 0]);
    }

    #[test]
    fn depths_are_known_by_their_levels() {
        for format in [SampleFormat::MuLaw, SampleFormat::Pcm16] {
            assert_eq!(SampleFormat::of(format.levels()), format);
        }
        assert_eq!(SampleFormat::of(2), SampleFormat::MuLaw);
    }
}
