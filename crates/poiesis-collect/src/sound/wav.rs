//! WAV: whole numbers of up to 32 bits in containers of 8, 16, 24 and 32, and floating point of 32.

use hound::{SampleFormat, WavReader};

use super::clip::{Clip, Samples};

/// Decodes a WAV file of at most `most` samples.
pub(crate) fn decode(mut encoded: Vec<u8>, most: usize) -> Result<Clip, String> {
    let valid = fill_containers(&mut encoded);
    let reader = WavReader::new(encoded.as_slice()).map_err(|e| reason(&e))?;
    let spec = reader.spec();
    let bits = u32::from(spec.bits_per_sample);
    if spec.sample_format == SampleFormat::Int && !(2..=32).contains(&bits) {
        return Err(format!("its samples have {bits} bits; 8, 16, 24 and 32 are read"));
    }
    let mut samples = Samples::new(spec.channels, most)?;
    match spec.sample_format {
        SampleFormat::Int => {
            let valid = valid.unwrap_or(bits);
            for sample in reader.into_samples::<i32>() {
                samples.push_whole(sample.map_err(|e| reason(&e))? >> (bits - valid), valid)?;
            }
        }
        SampleFormat::Float => {
            for sample in reader.into_samples::<f32>() {
                samples.push_float(sample.map_err(|e| reason(&e))?)?;
            }
        }
    }
    samples.clip(spec.sample_rate)
}

/// Makes the header say that samples fill their containers, and returns how many bits they had before where those are fewer.
///
/// By the format the valid bits are the highest of a container, and those below are 0; hound takes the lowest.
fn fill_containers(encoded: &mut [u8]) -> Option<u32> {
    const WHOLE: u16 = 1;
    const EXTENSIBLE: u16 = 0xfffe;
    let format = format_chunk(encoded)?;
    let number =
        |at: usize| encoded.get(format + at..format + at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    let (tag, channels, frame, bits) = (number(0)?, number(2)?, number(12)?, number(14)?);
    // The first two bytes of a subformat are the tag that a plain header would have.
    let extended = tag == EXTENSIBLE && number(24)? == WHOLE;
    let valid = if extended { number(18)? } else { bits };
    let container = frame.checked_div(channels)?.checked_mul(8)?;
    let plain = matches!(container, 8 | 16 | 24 | 32) && (extended || tag == WHOLE);
    if !plain || valid == 0 || valid >= container {
        return None;
    }
    let full = container.to_le_bytes();
    encoded[format + 14..format + 16].copy_from_slice(&full);
    if extended {
        encoded[format + 18..format + 20].copy_from_slice(&full);
    }
    Some(u32::from(valid))
}

/// Where the content of the chunk `fmt ` begins.
fn format_chunk(encoded: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        let (name, size) = (encoded.get(at..at + 4)?, encoded.get(at + 4..at + 8)?);
        if name == b"fmt " {
            return Some(at + 8);
        }
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        // Chunks of an odd size are followed by a byte of padding.
        at += 8 + size + size % 2;
    }
}

fn reason(error: &hound::Error) -> String {
    match error {
        // All bytes are in memory: the only failure of reading them is their end.
        hound::Error::IoError(_) => "the file ends early".to_owned(),
        hound::Error::FormatError(what) => format!("it is not a WAV file: {what}"),
        hound::Error::Unsupported => {
            "it is a kind of WAV that is not read; 8, 16, 24 and 32 bits and floating point of 32 are"
                .to_owned()
        }
        other => other.to_string(),
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
            let clip = decode(wav(valid, container, extended, &values), 100).unwrap();
            // A part of full scale, rounded to 16 bits.
            let scaled = |&value: &i32| {
                let scaled = f64::from(value) / f64::from(full / 2 + 1) * 16_384.0;
                (scaled + 0.5).floor().min(32_767.0) as i16
            };
            let expected: Vec<i16> = values.iter().map(scaled).collect();
            assert_eq!(clip.samples, expected, "{valid} bits in {container} bytes");
            assert!(!clip.clipped, "two in a row at full scale");
            let clip = decode(wav(valid, container, extended, &[full; 3]), 100).unwrap();
            assert!(clip.clipped, "{valid} bits in {container} bytes");
        }
    }

    #[test]
    fn headers_that_end_early_are_no_panic() {
        let whole = wav(24, 4, true, &[1, 2, 3]);
        (0..whole.len()).for_each(|length| drop(decode(whole[..length].to_vec(), 100)));
        let mut endless = whole;
        endless[16..20].copy_from_slice(&[0xff; 4]);
        assert!(decode(endless, 100).is_err());
    }
}
