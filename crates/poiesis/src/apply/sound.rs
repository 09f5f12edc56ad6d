//! Making sound, and going on with it.

use std::io::Cursor;
use std::path::Path;

use crate::capability::Code;
use crate::data::SoundShape;
use crate::error::{Error, Result};
use crate::generate::{Choice, Writer};
use crate::run::atomic;

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Samples that the model hears first, the channels of a frame one after another.
    pub prime: &'a [i16],
    /// Frames to make at most, those of `prime` not counted.
    pub frames: usize,
    /// Class of each clip, for a model conditioned on classes: as many as clips.
    pub classes: &'a [Option<u32>],
    /// Seed of the sequence of samples.
    pub seed: u64,
    /// Number of the first clip in that sequence.
    pub first: u64,
    /// How values are chosen.
    pub choice: Choice,
}

/// Makes clips side by side, each ending where the model ends it or after `frames`; `prime` comes first and is not altered.
/// Clip *i* of a seed depends on `(seed, i)` and the request alone. `progress` is told how many frames are done.
pub fn make(
    code: &dyn Code,
    shape: SoundShape,
    request: &Request,
    progress: &mut dyn FnMut(usize),
) -> Vec<Vec<i16>> {
    let (count, channels) = (request.classes.len(), usize::from(shape.channels));
    let indices = request.first..request.first + count as u64;
    let mut writer = Writer::new(code, request.seed, indices, request.classes, request.choice);
    let depth = code.depth();
    for &sample in request.prime {
        writer.read(&depth.split(sample));
    }
    let mut clips = vec![request.prime.to_vec(); count];
    let mut going = vec![true; count];
    // What a clip that has ended would go on with is silence that nobody hears.
    let silence = depth.split(0);
    for step in 0..request.frames * channels {
        let mut samples = vec![Vec::new(); count];
        for &silent in &silence {
            let known: Vec<_> = going.iter().map(|&going| (!going).then_some(silent)).collect();
            for (clip, value) in writer.next(&known).into_iter().enumerate() {
                // Values behind those of samples begin another clip.
                going[clip] &= value < 256;
                samples[clip].push(value);
            }
        }
        for clip in (0..count).filter(|&clip| going[clip]) {
            clips[clip].push(depth.join(&samples[clip]));
        }
        if !going.contains(&true) {
            break;
        }
        progress(step / channels + 1);
    }
    clips
}

/// Clips one after another with an eighth of a second of silence between.
pub fn joined(clips: &[Vec<i16>], shape: SoundShape) -> Vec<i16> {
    let pause = vec![0; shape.sample_rate as usize / 8 * usize::from(shape.channels)];
    clips.join(&pause[..])
}

/// The mean of the channels of each frame.
pub fn mono(samples: &[i16], shape: SoundShape) -> Vec<i16> {
    let channels = i32::from(shape.channels);
    let mean = |frame: &[i16]| (frame.iter().map(|&sample| i32::from(sample)).sum::<i32>() / channels) as i16;
    samples.chunks_exact(usize::from(shape.channels)).map(mean).collect()
}

/// Writes samples as a 16-bit WAV file, whole or not at all.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Sound`].
pub fn write_wav(path: &Path, shape: SoundShape, samples: &[i16]) -> Result<()> {
    atomic::write(path, &to_wav(path, shape, samples)?)
}

/// The bytes of a 16-bit WAV file; `path` is for messages.
///
/// # Errors
///
/// [`Error::Sound`] when there are more samples than the format can hold.
pub fn to_wav(path: &Path, shape: SoundShape, samples: &[i16]) -> Result<Vec<u8>> {
    let fail = |error: hound::Error| Error::Sound {
        path: path.to_owned(),
        doing: "write",
        reason: error.to_string(),
    };
    let spec = hound::WavSpec {
        channels: shape.channels,
        sample_rate: shape.sample_rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).map_err(fail)?;
    for &sample in samples {
        writer.write_sample(sample).map_err(fail)?;
    }
    writer.finalize().map_err(fail)?;
    Ok(bytes.into_inner())
}

/// Reads a 16-bit WAV file of the model's rate and channels.
///
/// # Errors
///
/// [`Error::Sound`] when it cannot be read or is of another form.
pub fn read_wav(path: &Path, shape: SoundShape) -> Result<Vec<i16>> {
    let fail = |reason: String| Error::Sound { path: path.to_owned(), doing: "read", reason };
    let mut reader = hound::WavReader::open(path).map_err(|error| fail(error.to_string()))?;
    let spec = reader.spec();
    if spec.bits_per_sample != 16 || spec.sample_format != hound::SampleFormat::Int {
        return Err(fail("it does not have 16-bit samples".into()));
    }
    if (spec.sample_rate, spec.channels) != (shape.sample_rate, shape.channels) {
        let form = |rate, channels| format!("{rate} Hz with {channels} channels");
        let (found, wanted) =
            (form(spec.sample_rate, spec.channels), form(shape.sample_rate, shape.channels));
        return Err(fail(format!("it has {found}, and the model knows {wanted}")));
    }
    reader.samples::<i16>().collect::<Result<_, _>>().map_err(|error| fail(error.to_string()))
}
