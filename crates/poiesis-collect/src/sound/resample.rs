//! Another sample rate for a clip.

use poiesis_spectrum::resample;

use super::clip::Clip;

/// Resamples a clip. Its duration stays the same to within a frame.
pub(crate) fn resampled(clip: &Clip, rate: u32) -> Result<Clip, String> {
    let samples = clip.samples.iter().map(|&sample| f64::from(sample)).collect();
    let output = resample(samples, usize::from(clip.channels), clip.rate, rate)
        .map_err(|reason| format!("it cannot be brought to {rate} Hz: {reason}"))?;
    let beyond = |value: &&f64| value.round() > f64::from(i16::MAX) || value.round() < f64::from(i16::MIN);
    let limited = clip.limited + output.iter().filter(beyond).count() as u64;
    // The conversion saturates.
    let samples = output.iter().map(|value| value.round() as i16).collect();
    Ok(Clip { rate, samples, limited, channels: clip.channels, clipped: clip.clipped })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, frames: usize, hertz: f64) -> Vec<i16> {
        delayed_tone(rate, frames, hertz, 0.0)
    }

    /// A tone that comes `delay` frames late.
    fn delayed_tone(rate: u32, frames: usize, hertz: f64, delay: f64) -> Vec<i16> {
        let angle = |i| (i as f64 - delay) * hertz * std::f64::consts::TAU / f64::from(rate);
        (0..frames).map(|i| (angle(i).sin() * 10_000.0).round() as i16).collect()
    }

    #[test]
    fn a_tone_stays_the_tone_it_was() {
        for (from, to) in [(44_100, 8_000), (8_000, 16_000), (16_000, 11_025)] {
            let samples = tone(from, from as usize, 440.0);
            let clip = Clip { rate: from, channels: 1, samples, clipped: false, limited: 0 };
            let clip = resampled(&clip, to).unwrap();
            assert_eq!((clip.rate, clip.limited), (to, 0));
            assert!(clip.samples.len().abs_diff(to as usize) <= 1, "{from} to {to}: {}", clip.samples.len());
            // The ends, where the tone begins out of nothing, ring; the filter may be late by a part of a frame.
            let inner = to as usize / 10..to as usize * 9 / 10;
            let worst = |delay: i32| {
                let expected = delayed_tone(to, to as usize, 440.0, f64::from(delay) / 50.0);
                let off = |i: usize| i32::from(clip.samples[i]) - i32::from(expected[i]);
                inner.clone().map(|i| off(i).abs()).max()
            };
            let best = (-50..=50).map(worst).min().flatten();
            assert!(best < Some(60), "{from} to {to}: {best:?} of 10000");
        }
    }

    #[test]
    fn what_the_new_rate_cannot_hold_is_filtered_out() {
        let samples = tone(44_100, 44_100, 6_000.0);
        let clip = Clip { rate: 44_100, channels: 1, samples, clipped: false, limited: 0 };
        let clip = resampled(&clip, 8_000).unwrap();
        let loudest = clip.samples[800..7_200].iter().map(|sample| sample.unsigned_abs()).max();
        assert!(loudest < Some(50), "no alias of the tone is left: {loudest:?}");
    }

    #[test]
    fn channels_are_kept_apart() {
        let left = tone(8_000, 8_000, 300.0);
        let samples = left.iter().flat_map(|&sample| [sample, 0]).collect();
        let clip = Clip { rate: 8_000, channels: 2, samples, clipped: false, limited: 0 };
        let clip = resampled(&clip, 16_000).unwrap();
        assert!(
            clip.samples.len().is_multiple_of(2) && clip.samples.iter().skip(1).step_by(2).all(|s| *s == 0)
        );
        assert!(clip.samples.iter().step_by(2).any(|sample| *sample > 9_000));
    }
}
