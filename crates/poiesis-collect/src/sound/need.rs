//! How much memory a clip takes, by its header, and which sample rates there are.

use std::io::Read as _;

use crate::card::Reason;
use crate::memory::too_much;
use crate::options::Options;
use crate::regular;
use crate::source::Payload;

/// Sample rates of clips that are read, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 100..=1_000_000;
/// Bytes at the beginning of a file that are looked at.
pub(super) const HEAD: u64 = 4096;

/// What the header of a clip says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Samples of all channels.
    samples: u64,
    pub(super) channels: u64,
    pub(super) rate: u32,
}

/// Refuses sample rates that no recording has.
pub(super) fn check_rate(rate: u32) -> Result<(), Reason> {
    let (low, high) = (RATES.start(), RATES.end());
    match RATES.contains(&rate) {
        true => Ok(()),
        false => Err(format!("its sample rate is {rate} Hz, and {low} to {high} are read").into()),
    }
}

/// Bytes that it takes to decode a clip and bring it to the rate of the data set. One that takes more than is allowed at all is
/// an error, for the list of skipped files.
pub(super) fn need(payload: &Payload, options: &Options) -> Result<u64, Reason> {
    let allowed = options.limits.for_decoding();
    let (head, length) = match payload {
        // What cannot be read takes nothing; reading it says why.
        Payload::File(path) => beginning(path).unwrap_or_default(),
        Payload::Encoded(bytes) => (bytes[..bytes.len().min(HEAD as usize)].to_vec(), bytes.len() as u64),
        Payload::Pixels(_)
        | Payload::Made(..)
        | Payload::Scene(..)
        | Payload::Episode(_)
        | Payload::Refused(_) => return Ok(0),
    };
    let Some(header) = header(&head, length) else {
        // Several times as much as a compressed file usually becomes.
        return Ok(length.saturating_mul(100).min(allowed));
    };
    check_rate(header.rate)?;
    let need = length.saturating_add(memory(header, options));
    if need > allowed { Err(too_much(need, allowed)) } else { Ok(need) }
}

/// Bytes for the samples at the worst moment.
fn memory(header: Header, options: &Options) -> u64 {
    let Header { samples, channels, rate } = header;
    // The decoder stops at that many.
    let samples = samples.min(options.limits.file_bytes / 2);
    let mixed = if options.mono { samples / channels.max(1) } else { samples };
    let to = options.sample_rate.unwrap_or(rate);
    let out = (u128::from(mixed) * u128::from(to)).div_ceil(u128::from(rate));
    let out = u64::try_from(out).unwrap_or(u64::MAX);
    // A vector that grows has the old samples and room for twice as many, 16 bits each.
    let decoding = 6 * samples;
    // Samples of 64 bits on both sides, those of 16 bits that they come from and become, and the transforms.
    let resampling = if to == rate {
        0
    } else {
        let common = gcd(rate, to);
        let transforms = 64 * u64::from(rate / common + to / common) * channels;
        (10 * mixed).saturating_add(out.saturating_mul(12)).saturating_add(transforms)
    };
    // What is left is written as bytes.
    decoding.max(resampling).saturating_add(out.saturating_mul(4))
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// The first bytes of a file, and its length.
fn beginning(path: &std::path::Path) -> std::io::Result<(Vec<u8>, u64)> {
    let file = regular::open(path)?;
    let length = file.metadata()?.len();
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    Ok((head, length))
}

/// Reads the header of a WAV or FLAC file of so many bytes.
pub(super) fn header(head: &[u8], length: u64) -> Option<Header> {
    match head.first_chunk()? {
        b"RIFF" | b"RF64" => wav(head, length),
        b"fLaC" => flac(head, length),
        _ => None,
    }
}

fn wav(head: &[u8], length: u64) -> Option<Header> {
    let mut rest = head.get(12..)?;
    loop {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (size, content) = after.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        if name == b"fmt " {
            let number =
                |at: usize| Some(u64::from(u16::from_le_bytes([*content.get(at)?, *content.get(at + 1)?])));
            let (channels, rate) = (number(2)?, (number(4)? | number(6)? << 16) as u32);
            // A sample takes at least a byte, whatever the header says.
            let container = number(12)?.checked_div(channels).unwrap_or(0).max(1);
            return Some(Header { samples: length / container, channels, rate });
        }
        rest = content.get(size.checked_add(size % 2)?..)?;
    }
}

fn flac(head: &[u8], length: u64) -> Option<Header> {
    let facts = head.get(18..26)?.iter().fold(0_u64, |all, &byte| all << 8 | u64::from(byte));
    let (rate, channels, frames) = ((facts >> 44) as u32, (facts >> 41 & 7) + 1, facts & ((1 << 36) - 1));
    // The number of frames may be left out.
    let samples = if frames == 0 { length.saturating_mul(8) } else { frames * channels };
    Some(Header { samples, channels, rate })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Limits;

    fn wav(rate: u32, samples: usize) -> Payload {
        let mut file = b"RIFF\0\0\0\0WAVEjunk\x01\0\0\0a\0fmt \x10\0\0\0\x01\0\x02\0".to_vec();
        file.extend(rate.to_le_bytes());
        file.extend([0, 0, 0, 0, 4, 0, 16, 0]);
        file.extend(b"data\0\0\0\0");
        file.resize(file.len() + 2 * samples, 0);
        Payload::Encoded(file)
    }

    #[test]
    fn the_header_tells_what_a_clip_takes() {
        let Payload::Encoded(file) = wav(8000, 1000) else { unreachable!() };
        let found = header(&file, file.len() as u64).unwrap();
        assert_eq!((found.channels, found.rate), (2, 8000));
        assert!((1000..1040).contains(&found.samples), "{found:?}");

        let options = Options::default();
        let header = Header { samples: 1000, channels: 2, rate: 8000 };
        assert_eq!(memory(header, &options), 6 * 1000 + 4 * 1000);
        let options = Options { sample_rate: Some(16_000), ..options };
        assert_eq!(memory(header, &options), 10 * 1000 + 12 * 2000 + 64 * 3 * 2 + 4 * 2000);
        let options = Options { mono: true, ..options };
        assert_eq!(memory(header, &options), 10 * 500 + 12 * 1000 + 64 * 3 * 2 + 4 * 1000);

        let facts = 44_100_u64 << 44 | 1 << 41 | 15 << 36 | 5000;
        let flac = [&b"fLaC\x80\0\0\x22"[..], &[0; 10], &facts.to_be_bytes()].concat();
        let found = super::header(&flac, 100);
        assert_eq!(found, Some(Header { samples: 10_000, channels: 2, rate: 44_100 }));
    }

    #[test]
    fn what_takes_too_much_and_rates_of_no_recording_are_refused() {
        let options = Options { sample_rate: Some(384_000), ..Options::default() };
        // 1 MB at 100 Hz would become 3840 times as much.
        let refused = need(&wav(100, 500_000), &options).unwrap_err();
        assert_eq!(refused.option, Some("max_memory"));
        let limits = Limits { max_memory: 64 << 30, ..Limits::default() };
        assert!(need(&wav(100, 500_000), &Options { limits, ..options.clone() }).is_ok());
        let refused = need(&wav(1, 10), &options).unwrap_err();
        assert_eq!(refused.text, "its sample rate is 1 Hz, and 100 to 1000000 are read");
        assert!(need(&wav(1_000_001, 10), &options).is_err());
    }
}
