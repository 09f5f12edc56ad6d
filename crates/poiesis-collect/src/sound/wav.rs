//! WAV: whole numbers of 8, 16, 24 and 32 bits and floating point of 32.

use hound::{SampleFormat, WavReader};

use super::clip::{Clip, Samples};

/// Decodes a WAV file of at most `most` samples.
pub(crate) fn decode(encoded: &[u8], most: usize) -> Result<Clip, String> {
    let reader = WavReader::new(encoded).map_err(|e| reason(&e))?;
    let spec = reader.spec();
    let bits = u32::from(spec.bits_per_sample);
    if spec.sample_format == SampleFormat::Int && !(2..=32).contains(&bits) {
        return Err(format!("its samples have {bits} bits; 8, 16, 24 and 32 are read"));
    }
    let mut samples = Samples::new(spec.channels, most)?;
    match spec.sample_format {
        SampleFormat::Int => {
            for sample in reader.into_samples::<i32>() {
                samples.push_whole(sample.map_err(|e| reason(&e))?, bits)?;
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
