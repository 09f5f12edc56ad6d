//! One clip of sound: decoded to 16 bits whatever its format, with what was found on the way.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{flac, wav};
use crate::options::Limits;
use crate::source::Payload;

/// Samples at full scale in a row that make a clip count as clipped: fewer are peaks that just fit.
const CLIPPED_RUN: u32 = 3;
/// A clip without a sample beyond this counts as silent: -60 dB of full scale.
const SILENCE: u16 = 32;

/// A decoded clip.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Clip {
    /// Frames in a second.
    pub(crate) rate: u32,
    /// Samples in a frame.
    pub(crate) channels: u16,
    /// Frames one after another.
    pub(crate) samples: Vec<i16>,
    /// Whether the recording was too loud: runs of samples at full scale.
    pub(crate) clipped: bool,
    /// Samples beyond full scale that were clipped to it.
    pub(crate) limited: u64,
}

impl Clip {
    /// The mean of the channels.
    pub(crate) fn mixed(self) -> Clip {
        if self.channels == 1 {
            return self;
        }
        let channels = usize::from(self.channels);
        let mean = |frame: &[i16]| {
            let sum: i32 = frame.iter().map(|&sample| i32::from(sample)).sum();
            (f64::from(sum) / channels as f64).round() as i16
        };
        let samples = self.samples.chunks_exact(channels).map(mean).collect();
        Clip { channels: 1, samples, ..self }
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.samples.iter().all(|sample| sample.unsigned_abs() <= SILENCE)
    }
}

/// Decodes a file; also returns how many bytes were read. The error is a reason for the list of skipped files.
pub(crate) fn decode(payload: Payload, limits: &Limits) -> (u64, Result<Clip, String>) {
    match payload.read(limits) {
        // A malformed file on which the decoder panics must not stop the collection.
        Ok(encoded) => {
            let bytes = encoded.len() as u64;
            let decoded = catch_unwind(AssertUnwindSafe(|| decode_any(encoded, limits)));
            (bytes, decoded.unwrap_or_else(|_| Err("its decoder gave up on it".to_owned())))
        }
        Err(reason) => (0, Err(reason)),
    }
}

fn decode_any(encoded: Vec<u8>, limits: &Limits) -> Result<Clip, String> {
    // 16-bit samples of a file need no more room than the file may have, unless it is very well packed.
    let most = (limits.file_bytes / 2) as usize;
    match encoded.first_chunk() {
        Some(b"RIFF" | b"RF64") => wav::decode(&encoded, most),
        Some(b"fLaC") => flac::decode(encoded, most),
        _ if encoded.is_empty() => Err("the file is empty".to_owned()),
        _ => Err("it begins neither like WAV nor like FLAC".to_owned()),
    }
}

/// Gathers the samples of a clip as 16 bits and watches over full scale on the way.
pub(crate) struct Samples {
    channels: usize,
    most: usize,
    samples: Vec<i16>,
    /// Samples at full scale at the end of each channel.
    runs: Vec<u32>,
    clipped: bool,
    limited: u64,
}

impl Samples {
    /// Begins a clip that may have at most `most` samples.
    pub(crate) fn new(channels: u16, most: usize) -> Result<Samples, String> {
        if channels == 0 {
            return Err("it has no channels".to_owned());
        }
        let channels = usize::from(channels);
        Ok(Samples {
            channels,
            most,
            samples: Vec::new(),
            runs: vec![0; channels],
            clipped: false,
            limited: 0,
        })
    }

    /// Appends a whole number of `bits` bits, which is rounded to 16.
    pub(crate) fn push_whole(&mut self, value: i32, bits: u32) -> Result<(), String> {
        let (value, full) = (i64::from(value), (1_i64 << (bits - 1)) - 1);
        let sample = match bits {
            ..=16 => value << (16 - bits),
            _ => (value + (1 << (bits - 17))) >> (bits - 16),
        };
        self.push(
            sample.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16,
            value >= full || value < -full,
        )
    }

    /// Appends a number with 1 as full scale.
    pub(crate) fn push_float(&mut self, value: f64) -> Result<(), String> {
        if !value.is_finite() {
            return Err(format!("sample {} is {value}, not a number", self.samples.len()));
        }
        self.limited += u64::from(value.abs() > 1.0);
        // The conversion saturates.
        self.push((value * 32_768.0).round() as i16, value.abs() >= 1.0)
    }

    fn push(&mut self, sample: i16, full: bool) -> Result<(), String> {
        if self.samples.len() == self.most {
            return Err(format!("it decodes to more than the limit of {} samples", self.most));
        }
        let run = &mut self.runs[self.samples.len() % self.channels];
        *run = if full { *run + 1 } else { 0 };
        self.clipped |= *run >= CLIPPED_RUN;
        self.samples.push(sample);
        Ok(())
    }

    pub(crate) fn clip(self, rate: u32) -> Result<Clip, String> {
        if rate == 0 {
            return Err("its sample rate is 0".to_owned());
        }
        if !self.samples.len().is_multiple_of(self.channels) {
            return Err("it ends within a frame".to_owned());
        }
        let Samples { channels, samples, clipped, limited, .. } = self;
        Ok(Clip { rate, channels: channels as u16, samples, clipped, limited })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bits: u32, values: &[i32]) -> Clip {
        let mut samples = Samples::new(1, 100).unwrap();
        values.iter().for_each(|&value| samples.push_whole(value, bits).unwrap());
        samples.clip(8000).unwrap()
    }

    #[test]
    fn all_widths_become_16_bits_by_rounding() {
        assert_eq!(whole(16, &[-32768, -1, 0, 1, 32767]).samples, [-32768, -1, 0, 1, 32767]);
        assert_eq!(whole(8, &[-128, -1, 0, 127]).samples, [-32768, -256, 0, 32512]);
        assert_eq!(
            whole(24, &[-8_388_608, 127, 128, -128, -129, 8_388_607]).samples,
            [-32768, 0, 1, 0, -1, 32767]
        );
        assert_eq!(whole(32, &[i32::MIN, 32_767, 32_768, i32::MAX]).samples, [-32768, 0, 1, 32767]);
        assert_eq!(whole(12, &[-2048, 2047]).samples, [-32768, 32752]);
    }

    #[test]
    fn floats_are_limited_and_counted() {
        let mut samples = Samples::new(1, 100).unwrap();
        let values = [-1.5, -1.0, 0.0, 0.5, 0.999_99, 1.0, 1.000_1];
        values.iter().for_each(|&value| samples.push_float(value).unwrap());
        assert!(samples.push_float(f64::NAN).unwrap_err().contains("sample 7 is NaN"));
        let clip = samples.clip(8000).unwrap();
        assert_eq!(clip.samples, [-32768, -32768, 0, 16384, 32767, 32767, 32767]);
        assert_eq!((clip.limited, clip.clipped), (2, false));
    }

    #[test]
    fn three_samples_at_full_scale_in_one_channel_are_clipping() {
        assert!(!whole(16, &[32767, 32767, 0, 32767, 32767]).clipped);
        assert!(whole(16, &[0, 32767, 32767, 32767]).clipped);
        assert!(whole(16, &[-32768, -32768, -32768]).clipped);
        assert!(whole(8, &[127, 127, 127]).clipped);
        let mut stereo = Samples::new(2, 100).unwrap();
        [32767, 0, 32767, 0, 32767, 0].iter().for_each(|&value| stereo.push_whole(value, 16).unwrap());
        assert!(stereo.clip(8000).unwrap().clipped);
        let mut stereo = Samples::new(2, 100).unwrap();
        [32767, 32767, 32767, 32767, 0, 0].iter().for_each(|&value| stereo.push_whole(value, 16).unwrap());
        assert!(!stereo.clip(8000).unwrap().clipped);
    }

    #[test]
    fn channels_are_mixed_to_their_mean() {
        let samples = vec![100, 200, -3, -4, 32767, 32767, -32768, 32767];
        let clip = Clip { rate: 1, channels: 2, samples, clipped: false, limited: 0 };
        assert_eq!(clip.mixed().samples, [150, -4, 32767, -1]);
    }
}
