//! The μ-law: 16-bit samples as 256 levels, which are closer together for quiet sound (ITU-T G.711; van den Oord et al.
//! 2016, "WaveNet", §2.2).

use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// Levels of a sample.
pub const LEVELS: usize = 256;
const MU: f64 = 255.0;

/// The level of every sample, and the first sample of every level.
static TABLE: LazyLock<(Vec<u8>, Vec<i16>)> = LazyLock::new(|| {
    let levels: Vec<u8> = (i16::MIN..=i16::MAX).map(compress).collect();
    let first = |level: usize| {
        let place = levels.partition_point(|&l| usize::from(l) < level);
        (place as i32 + i32::from(i16::MIN)) as i16
    };
    let firsts = (0..LEVELS).map(first).collect();
    (levels, firsts)
});

/// f(x) = sign(x) ln(1 + μ|x|) / ln(1 + μ), cut into 256 equal parts.
fn compress(sample: i16) -> u8 {
    let x = (f64::from(sample) + 0.5) / 32768.0;
    let y = x.signum() * (MU * x.abs()).ln_1p() / MU.ln_1p();
    ((y + 1.0) / 2.0 * LEVELS as f64).clamp(0.0, MU) as u8
}

/// The level of a sample.
pub fn level(sample: i16) -> u32 {
    u32::from(TABLE.0[(i32::from(sample) - i32::from(i16::MIN)) as usize])
}

/// The samples of a level.
///
/// # Panics
///
/// When `level` is not below [`LEVELS`].
pub fn samples(level: u32) -> RangeInclusive<i16> {
    let level = level as usize;
    let last = if level + 1 < LEVELS { TABLE.1[level + 1] - 1 } else { i16::MAX };
    TABLE.1[level]..=last
}

/// The sample in the middle of a level.
///
/// # Panics
///
/// When `level` is not below [`LEVELS`].
pub fn sample(level: u32) -> i16 {
    let samples = samples(level);
    ((i32::from(*samples.start()) + i32::from(*samples.end())) / 2) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_lies_among_those_of_its_level() {
        let mut next = i32::from(i16::MIN);
        for l in 0..LEVELS as u32 {
            let all = samples(l);
            assert_eq!(i32::from(*all.start()), next, "level {l}");
            assert!([*all.start(), *all.end(), sample(l)].iter().all(|&sample| level(sample) == l));
            next = i32::from(*all.end()) + 1;
        }
        assert_eq!(next, 32768);
    }

    #[test]
    fn quiet_sound_is_told_apart_finely() {
        assert!(samples(128).count() < 8 && samples(255).count() > 500);
        assert_eq!([level(i16::MIN), level(-1), level(0), level(i16::MAX)], [0, 127, 128, 255]);
    }
}
