//! How finely samples of sound are told apart.

use super::mu_law;

/// How finely samples of sound are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// By the 256 levels of the μ-law.
    MuLaw,
    /// As they are, 16 bits.
    Bits16,
}

impl Depth {
    /// The depth that has so many levels; [`Depth::MuLaw`] where none has.
    pub fn of(levels: usize) -> Depth {
        if levels == Depth::Bits16.levels() { Depth::Bits16 } else { Depth::MuLaw }
    }

    /// How many levels a sample has.
    pub fn levels(self) -> usize {
        match self {
            Depth::MuLaw => mu_law::LEVELS,
            Depth::Bits16 => 1 << 16,
        }
    }

    /// The level of a sample; a lower sample has no higher level.
    pub fn level(self, sample: i16) -> u32 {
        match self {
            Depth::MuLaw => mu_law::level(sample),
            Depth::Bits16 => (i32::from(sample) - i32::from(i16::MIN)) as u32,
        }
    }

    /// How many values a [`Reader`](crate::capability::Reader) takes for a sample, each below 256.
    pub fn values(self) -> usize {
        match self {
            Depth::MuLaw => 1,
            Depth::Bits16 => 2,
        }
    }

    /// Those values: the level of the μ-law, or the high and the low byte of the level.
    pub fn split(self, sample: i16) -> Vec<u32> {
        let level = self.level(sample);
        match self {
            Depth::MuLaw => vec![level],
            Depth::Bits16 => vec![level >> 8, level & 255],
        }
    }

    /// The sample that has `values`: of the μ-law that in the middle of its level.
    ///
    /// # Panics
    ///
    /// When there are more or fewer values than a sample has, or one is not below 256.
    pub fn join(self, values: &[u32]) -> i16 {
        let bytes = values.iter().all(|&value| value < 256);
        assert!(bytes && values.len() == self.values(), "{values:?} are no sample of {self:?}");
        match self {
            Depth::MuLaw => mu_law::sample(values[0]),
            Depth::Bits16 => ((values[0] << 8 | values[1]) as i32 + i32::from(i16::MIN)) as i16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_comes_back_or_one_of_its_level() {
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(Depth::Bits16.join(&Depth::Bits16.split(sample)), sample);
            let near = Depth::MuLaw.join(&Depth::MuLaw.split(sample));
            assert_eq!(mu_law::level(near), mu_law::level(sample));
        }
        assert_eq!(Depth::Bits16.split(i16::MIN), [0, 0]);
        assert_eq!(Depth::Bits16.split(0), [128, 0]);
    }

    #[test]
    fn depths_are_known_by_their_levels() {
        for depth in [Depth::MuLaw, Depth::Bits16] {
            assert_eq!(Depth::of(depth.levels()), depth);
        }
        assert_eq!(Depth::of(2), Depth::MuLaw);
    }
}
