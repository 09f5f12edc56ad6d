//! WAV: integers and floating point in containers of 8 to 64 bits; RF64 and Sony Wave64, whose lengths have 64 bits, too. Common
//! deviations from the format are accepted: unknown lengths from a pipe, odd chunks without padding, a cut last frame.

use super::clip::{Clip, Samples};

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    channels: u16,
    rate: u32,
    /// Bytes of a sample.
    container: usize,
    /// The highest bits of a container that are used.
    valid: u32,
    float: bool,
}

/// Decodes a WAV file of at most `most` samples.
pub(crate) fn decode(encoded: &[u8], most: usize) -> Result<Clip, String> {
    let Chunks { format, data } = match encoded.starts_with(&WAVE64) {
        true => Chunks::of_wave64(encoded)?,
        false => Chunks::of(encoded)?,
    };
    let format = Format::of(format)?;
    let mut samples = Samples::new(format.channels, most)?;
    let frame = format.container * usize::from(format.channels);
    // A partial frame at the end is left out.
    let whole = &data[..data.len() / frame * frame];
    for bytes in whole.chunks_exact(format.container) {
        let number = low_first(bytes);
        match (format.float, bytes.len()) {
            (true, 4) => samples.push_float(f64::from(f32::from_bits(number as u32)))?,
            (true, _) => samples.push_float(f64::from_bits(number))?,
            (false, length) => {
                // A single byte has no sign; its middle is 128.
                let number = if length == 1 { number ^ 0x80 } else { number };
                let highest = (number << (32 - 8 * length)) as u32 as i32;
                samples.push_whole(highest >> (32 - format.valid), format.valid)?;
            }
        }
    }
    samples.clip(format.rate)
}

/// Bytes as a number, the lowest first.
fn low_first(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The chunks that are needed.
struct Chunks<'a> {
    format: &'a [u8],
    data: &'a [u8],
}

/// The length that programs write when they do not know it, as they write to a pipe.
const UNKNOWN: u64 = u32::MAX as u64;
/// From here on a length is of the same kind: some programs write the largest that older ones can read.
const UNLIKELY: u64 = 0x7fff_0000;

/// How Sony Wave64 begins; where WAV has a name of four letters, it has one of 16 bytes.
pub(crate) const WAVE64: [u8; 16] = *b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0";
/// The end of its other names.
const WAVE64_NAME: [u8; 12] = *b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a";

const EARLY: &str = "the file ends early";

impl<'a> Chunks<'a> {
    fn of(encoded: &'a [u8]) -> Result<Chunks<'a>, String> {
        let (head, mut rest) = encoded.split_first_chunk::<12>().ok_or(EARLY)?;
        if &head[8..] != b"WAVE" {
            return Err("it is not a WAV file: no WAVE follows RIFF".to_owned());
        }
        // A length of nothing is meant only where that of the file is known.
        let streamed = matches!(low_first(&head[4..8]), 0 | UNLIKELY..);
        // In RF64, whose lengths have 64 bits, the first chunk has that of the data.
        let (mut format, mut long) = (None, None);
        loop {
            let (name, after) = rest.split_first_chunk::<4>().ok_or(EARLY)?;
            let (length, after) = after.split_first_chunk::<4>().ok_or(EARLY)?;
            let length = match (name, u64::from(u32::from_le_bytes(*length))) {
                (b"data", UNKNOWN) => long.unwrap_or(after.len() as u64),
                (b"data", 0) if streamed => after.len() as u64,
                (b"data", UNLIKELY..) => after.len() as u64,
                (_, length) => length,
            };
            let (content, next) = after.split_at_checked(length as usize).ok_or(EARLY)?;
            match (name, format) {
                (b"fmt ", _) => format = Some(content),
                (b"ds64", _) => long = content.get(8..16).map(low_first),
                (b"data", Some(format)) => return Ok(Chunks { format, data: content }),
                (b"data", None) => {
                    return Err("it is not a WAV file: samples come before their format".to_owned());
                }
                _ => {}
            }
            // Chunks of an odd length are followed by a byte of padding, which some programs forget.
            let forgotten = [b"fmt ", b"data", b"LIST"].iter().any(|name| next.starts_with(*name));
            let padding = if forgotten { 0 } else { content.len() % 2 };
            rest = next.get(padding..).unwrap_or_default();
        }
    }

    /// Lengths include their names, and each chunk begins at a multiple of 8 bytes.
    fn of_wave64(encoded: &'a [u8]) -> Result<Chunks<'a>, String> {
        const HEAD: usize = 24;
        let name = |name: &[u8; 4]| [&name[..], &WAVE64_NAME].concat();
        if encoded.get(HEAD..HEAD + 16).ok_or(EARLY)? != name(b"wave") {
            return Err("it is not a Wave64 file: no wave follows riff".to_owned());
        }
        let (mut format, mut at) = (None, HEAD + 16);
        loop {
            let head = encoded.get(at..).and_then(|rest| rest.get(..HEAD)).ok_or(EARLY)?;
            let (start, length) = (at + HEAD, low_first(&head[16..]));
            let left = (encoded.len() - start) as u64;
            let length = length.checked_sub(HEAD as u64).unwrap_or(left);
            let is_data = head[..16] == name(b"data");
            // A length that no file has is that of a pipe.
            let length = if is_data && length >= i64::MAX as u64 - HEAD as u64 { left } else { length };
            let length = usize::try_from(length).map_err(|_| EARLY)?;
            let content = start.checked_add(length).and_then(|end| encoded.get(start..end)).ok_or(EARLY)?;
            match format {
                Some(format) if is_data => return Ok(Chunks { format, data: content }),
                None if is_data => {
                    return Err("it is not a Wave64 file: samples come before their format".to_owned());
                }
                _ if head[..16] == name(b"fmt ") => format = Some(content),
                _ => {}
            }
            at = (start + length).next_multiple_of(8);
        }
    }
}

impl Format {
    fn of(content: &[u8]) -> Result<Format, String> {
        const WHOLE: u64 = 1;
        const FLOAT: u64 = 3;
        const EXTENSIBLE: u64 = 0xfffe;
        let number = |at: usize, bytes: usize| {
            content.get(at..at + bytes).map(low_first).ok_or("it is not a WAV file: its format ends early")
        };
        let (channels, rate) = (number(2, 2)? as u16, number(4, 4)? as u32);
        let (frame, bits) = (number(12, 2)?, number(14, 2)? as u32);
        // The first two bytes of a subformat are the tag that a plain header would have.
        let (tag, valid) = match number(0, 2)? {
            EXTENSIBLE => (number(24, 2)?, number(18, 2)? as u32),
            tag => (tag, bits),
        };
        let container = match frame.checked_div(u64::from(channels)) {
            None => return Err("it has no channels".to_owned()),
            Some(0) => bits.div_ceil(8) as usize,
            Some(bytes) => bytes as usize,
        };
        // Some programs leave the valid bits out.
        let valid = if valid == 0 { bits } else { valid };
        let fits = match tag {
            WHOLE => (1..=4).contains(&container) && (2..=8 * container as u32).contains(&valid),
            FLOAT => matches!((container, valid), (4, 32) | (8, 64)),
            tag => {
                return Err(format!("its samples are compressed (tag {tag}), and only plain ones are read"));
            }
        };
        if !fits {
            let bytes = container;
            return Err(format!(
                "its samples have {valid} bits in {bytes} bytes; up to 32 are read, and floating point of 32 or 64"
            ));
        }
        Ok(Format { channels, rate, container, valid, float: tag == FLOAT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAV file of samples of `valid` bits, which are the highest of containers of so many bytes.
    fn wav(valid: u16, container: usize, extended: bool, values: &[i32]) -> Vec<u8> {
        let bits = container as u16 * 8;
        let mut format = Vec::new();
        let numbers = |format: &mut Vec<u8>, numbers: &[u16]| {
            numbers.iter().for_each(|number| format.extend(number.to_le_bytes()));
        };
        numbers(&mut format, &[if extended { 0xfffe } else { 1 }, 1]);
        format.extend(8000_u32.to_le_bytes());
        format.extend((8000 * container as u32).to_le_bytes());
        numbers(&mut format, &[container as u16, if extended { bits } else { valid }]);
        if extended {
            numbers(&mut format, &[22, valid, 4, 0, 1]);
            format.extend(b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71");
        }
        let mut data = Vec::new();
        for value in values {
            let shifted = value << (bits - valid);
            // Containers of one byte have no sign: their middle is 128.
            let shifted = if container == 1 { shifted + 128 } else { shifted };
            data.extend(&shifted.to_le_bytes()[..container]);
        }
        // An odd chunk before the format, as some programs write it.
        let mut file = b"RIFF\0\0\0\0WAVEjunk\x03\0\0\0abc\0".to_vec();
        for (name, content) in [(b"fmt ", &format), (b"data", &data)] {
            file.extend(name);
            file.extend((content.len() as u32).to_le_bytes());
            file.extend(content);
        }
        let size = file.len() as u32 - 8;
        file[4..8].copy_from_slice(&size.to_le_bytes());
        file
    }

    #[test]
    fn valid_bits_are_the_highest_of_their_container() {
        for (valid, container, extended) in [
            (24, 4, true),
            (20, 4, true),
            (16, 4, true),
            (20, 3, true),
            (18, 3, true),
            (12, 2, true),
            (12, 2, false),
            (20, 3, false),
            (6, 1, true),
            (32, 4, true),
            (24, 3, true),
            (16, 2, false),
            (8, 1, false),
        ] {
            let full = ((1_i64 << (valid - 1)) - 1) as i32;
            let values = [0, full / 2, -full / 2, 1, -1, full, -full - 1, 0, full, full];
            let clip = decode(&wav(valid, container, extended, &values), 100).unwrap();
            // A part of full scale, rounded to 16 bits.
            let scaled = |&value: &i32| {
                let scaled = f64::from(value) / f64::from(full / 2 + 1) * 16_384.0;
                (scaled + 0.5).floor().min(32_767.0) as i16
            };
            let expected: Vec<i16> = values.iter().map(scaled).collect();
            assert_eq!(clip.samples, expected, "{valid} bits in {container} bytes");
            assert!(!clip.clipped, "two in a row at full scale");
            let clip = decode(&wav(valid, container, extended, &[full; 3]), 100).unwrap();
            assert!(clip.clipped, "{valid} bits in {container} bytes");
        }
    }

    #[test]
    fn headers_that_end_early_are_no_panic() {
        let whole = wav(24, 4, true, &[1, 2, 3]);
        (0..whole.len()).for_each(|length| drop(decode(&whole[..length], 100)));
        let mut endless = whole;
        endless[16..20].copy_from_slice(&[0xff; 4]);
        assert!(decode(&endless, 100).is_err());
    }

    /// A file of one channel with the chunks before its samples, and with `length` said of these.
    fn mono(before: &[u8], tag: u16, bits: u16, length: u32, data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\xff\xff\xff\xffWAVE".to_vec();
        file.extend(before);
        file.extend(b"fmt \x10\0\0\0");
        file.extend([tag, 1].map(u16::to_le_bytes).concat());
        file.extend([8000, 8000 * u32::from(bits) / 8].map(u32::to_le_bytes).concat());
        file.extend([bits / 8, bits].map(u16::to_le_bytes).concat());
        file.extend(b"data");
        file.extend(length.to_le_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn everyday_files_are_read() {
        let data = [1, 0, 2, 0, 0xff, 0xff];
        let samples = |file: &[u8]| decode(file, 100).map(|clip| clip.samples);
        let whole = mono(b"", 1, 16, 6, &data);
        assert_eq!(samples(&whole).unwrap(), [1, 2, -1]);
        // From a pipe, whose length is not known when the header is written.
        assert_eq!(samples(&mono(b"", 1, 16, u32::MAX, &data)).unwrap(), [1, 2, -1]);
        // A list of an odd length, padded; tags of a tagger and a broadcaster.
        let lists = b"LIST\x03\0\0\0abc\0id3 \x02\0\0\0abbext\x01\0\0\0a\0";
        assert_eq!(samples(&mono(lists, 1, 16, 6, &data)).unwrap(), [1, 2, -1]);
        // A recording that ends within a frame.
        assert_eq!(samples(&mono(b"", 1, 16, 5, &data)).unwrap(), [1, 2]);
        let doubles = [-1.0_f64, 0.25, 2.0].map(f64::to_le_bytes).concat();
        assert_eq!(samples(&mono(b"", 3, 64, 24, &doubles)).unwrap(), [-32768, 8192, 32767]);
        // From a pipe of other programs, which write nothing, or the largest length that older ones can read.
        for length in [0, 0x7fff_f000] {
            assert_eq!(samples(&mono(b"", 1, 16, length, &data)).unwrap(), [1, 2, -1]);
        }
        let mut known = mono(b"", 1, 16, 0, b"LIST\x02\0\0\0ab");
        known[4..8].copy_from_slice(&46_u32.to_le_bytes());
        assert_eq!(
            samples(&known).unwrap(),
            [0_i16; 0],
            "nothing is nothing where the length of the file is known"
        );
        // An odd chunk whose padding was forgotten.
        assert_eq!(samples(&mono(b"LIST\x03\0\0\0abc", 1, 16, 6, &data)).unwrap(), [1, 2, -1]);
        let mut long =
            mono(b"ds64\x18\0\0\0\0\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1, 16, u32::MAX, &data);
        long[..4].copy_from_slice(b"RF64");
        long.extend(b"LIST\x02\0\0\0ab");
        assert_eq!(samples(&long).unwrap(), [1, 2, -1]);
    }

    /// A Wave64 file: a chunk of an odd length, the format, then samples of which `length` is said.
    fn wave64(length: u64, data: &[u8]) -> Vec<u8> {
        let plain = mono(b"", 1, 16, 0, b"");
        let mut file = [&WAVE64[..], &[0; 8], b"wave", &WAVE64_NAME].concat();
        for (name, length, content) in
            [(b"bext", 24 + 3, &b"abc"[..]), (b"fmt ", 24 + 16, &plain[20..36]), (b"data", length, data)]
        {
            file.extend([&name[..], &WAVE64_NAME, &u64::to_le_bytes(length), content].concat());
            file.resize(file.len().next_multiple_of(8), 0);
        }
        file
    }

    #[test]
    fn wave64_is_read_as_wav_is() {
        let data = [1, 0, 2, 0, 0xff, 0xff];
        let samples = |file: &[u8]| decode(file, 100).map(|clip| (clip.rate, clip.samples));
        assert_eq!(samples(&wave64(24 + 6, &data)).unwrap(), (8000, vec![1, 2, -1]));
        // The length of a pipe is up to the end of the file, padded here to a multiple of 8.
        for unknown in [u64::MAX, i64::MAX as u64] {
            assert_eq!(samples(&wave64(unknown, &data)).unwrap().1, [1, 2, -1, 0]);
        }
        assert!(samples(&wave64(24 + 60, &data)).unwrap_err().contains("ends early"));
        let whole = wave64(24 + 6, &data);
        (0..whole.len() - 2).for_each(|length| assert!(decode(&whole[..length], 100).is_err(), "{length}"));
        let mut other = whole;
        other[24] = b'x';
        assert!(samples(&other).unwrap_err().contains("no wave follows"));
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let refusal = |file: &[u8]| decode(file, 100).unwrap_err();
        assert!(refusal(&mono(b"", 1, 16, 8, &[0; 6])).contains("ends early"));
        assert!(refusal(&mono(b"", 2, 4, 6, &[0; 6])).contains("compressed"));
        assert!(refusal(&mono(b"", 3, 16, 6, &[0; 6])).contains("16 bits in 2 bytes"));
        assert!(refusal(b"RIFF\0\0\0\0WAVEdata\0\0\0\0").contains("before their format"));
    }
}
