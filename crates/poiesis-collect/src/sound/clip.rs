//! One clip of sound: decoded to 16 bits whatever its format, with what was found on the way.

use super::{flac, lossy, wav};
use crate::caught::caught;
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
            let decoded = caught(|| decode_any(encoded, limits));
            (bytes, decoded.unwrap_or_else(|| Err("its decoder gave up on it".to_owned())))
        }
        Err(reason) => (0, Err(reason)),
    }
}

/// A format of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Wav,
    Flac,
    Mp3,
    Ogg,
}

impl Format {
    /// By the first bytes after tags.
    fn of(head: &[u8]) -> Option<Format> {
        match head {
            head if head.starts_with(&wav::WAVE64) => Some(Format::Wav),
            [b'R', b'I', b'F', b'F', ..] | [b'R', b'F', b'6', b'4', ..] | [b'B', b'W', b'6', b'4', ..] => {
                Some(Format::Wav)
            }
            [b'f', b'L', b'a', b'C', ..] => Some(Format::Flac),
            [b'O', b'g', b'g', b'S', ..] => Some(Format::Ogg),
            // The sync word of a frame of layer III.
            [0xff, second, ..] if second & 0xe6 == 0xe2 => Some(Format::Mp3),
            _ => None,
        }
    }
}

/// Whether a file begins like sound. Other files may begin like MP3 by chance, and RIFF holds pictures and films too.
pub(crate) fn is_sound(head: &[u8]) -> bool {
    let wave = head.get(8..12).is_none_or(|kind| kind == b"WAVE");
    match Format::of(head) {
        Some(Format::Wav) => wave || head.starts_with(&wav::WAVE64),
        Some(Format::Flac | Format::Ogg) => true,
        Some(Format::Mp3) => false,
        None => head.starts_with(b"ID3"),
    }
}

/// The length of the tags that some programs write before sound: a head of ten bytes whose last four have seven bits of the length
/// each, and perhaps a foot like it.
pub(super) fn tags(encoded: &[u8]) -> usize {
    match encoded {
        [b'I', b'D', b'3', _, _, flags, length @ ..] if length.len() >= 4 => {
            let length = length[..4].iter().fold(0, |sum, &byte| sum << 7 | usize::from(byte & 0x7f));
            10 + length + if flags & 0x10 == 0 { 0 } else { 10 }
        }
        _ => 0,
    }
}

fn decode_any(mut encoded: Vec<u8>, limits: &Limits) -> Result<Clip, String> {
    // 16-bit samples of a file need no more room than the file may have, unless it is very well packed.
    let most = (limits.file_bytes / 2) as usize;
    if encoded.is_empty() {
        return Err("the file is empty".to_owned());
    }
    // There may be several.
    let mut start = 0;
    while let Some(length) = encoded.get(start..).map(tags).filter(|&length| length > 0) {
        start += length;
    }
    if start > encoded.len() {
        return Err("it ends within its tags".to_owned());
    }
    encoded.drain(..start);
    match Format::of(&encoded) {
        Some(Format::Wav) => wav::decode(&encoded, most),
        Some(Format::Flac) => flac::decode(encoded, most),
        Some(Format::Mp3) => lossy::decode_mp3(encoded, most),
        Some(Format::Ogg) => lossy::decode_ogg(encoded, most),
        None => Err("it begins like none of WAV, FLAC, MP3 and Ogg".to_owned()),
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
    fn tags_are_stepped_over() {
        assert_eq!(tags(b"ID3\x04\0\0\0\0\x01\x02rest"), 10 + 130);
        assert_eq!(tags(b"ID3\x04\0\x10\0\0\0\x05rest"), 10 + 5 + 10);
        assert_eq!([tags(b"fLaC"), tags(b"ID3\x04\0")], [0; 2]);
        let mut wav = b"ID3\x03\0\0\0\0\0\x02abID3\x03\0\0\0\0\0\0".to_vec();
        wav.extend(b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x02\0\0\0\x07\0");
        assert_eq!(decode_any(wav.clone(), &Limits::default()).unwrap().samples, [7]);
        let refusal = |bytes: &[u8]| decode_any(bytes.to_vec(), &Limits::default()).unwrap_err();
        assert!(refusal(&wav[..11]).contains("ends within its tags"));
        assert!(refusal(b"ID3\x03\0\0\0\0\0\0text").contains("none of WAV"));
        assert!(is_sound(&wav) && is_sound(&wav[22..]) && !is_sound(b"RIFF\0\0\0\0WEBP"));
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
