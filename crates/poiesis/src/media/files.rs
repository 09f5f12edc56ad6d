//! Examples as files: PNG for images, plain text, 16-bit WAV for sound.

use std::io::Cursor;
use std::path::Path;

use super::{Clip, Media};
use crate::atomic;
use crate::data::{Content, DataSpec, SoundShape};
use crate::error::{Error, Result};
use crate::picture::Picture;

/// The extension of a file with one example of `spec`.
pub fn extension(spec: &DataSpec) -> &'static str {
    match spec.content {
        Content::Images(_) => "png",
        Content::Text(_) => "txt",
        Content::Sound(_) => "wav",
        Content::Points(_) => "csv",
    }
}

/// The extension of a file with several examples of `spec` as one sheet.
pub fn sheet_extension(spec: &DataSpec) -> &'static str {
    match spec.content {
        Content::Points(_) => "png",
        _ => extension(spec),
    }
}

/// Reads the example in a file of the kind in `spec`.
///
/// # Errors
///
/// [`Error::Picture`], [`Error::Sound`] and [`Error::Io`] when it cannot be read, [`Error::NotOfTheModel`] for points.
pub fn read(path: &Path, spec: &DataSpec) -> Result<Media> {
    from_bytes(&std::fs::read(path).map_err(Error::io("read", path))?, path, spec)
}

/// Reads the example in the bytes of a file of the kind that `spec` says; `path` is for messages.
///
/// # Errors
///
/// As for [`read`].
pub fn from_bytes(bytes: &[u8], path: &Path, spec: &DataSpec) -> Result<Media> {
    match &spec.content {
        Content::Images(_) => Ok(Media::Image(Picture::from_png(bytes, path)?.0)),
        Content::Text(_) => Ok(Media::Text(bytes.to_vec())),
        Content::Sound(shape) => Ok(Media::Sound(from_wav(bytes, path, *shape)?)),
        Content::Points(_) => Err(Error::NotOfTheModel {
            name: path.display().to_string(),
            reason: "points are not read from files of their own".into(),
            remedy: "collect them into a data set".into(),
        }),
    }
}

/// The bytes of a file with this example; `path` is for messages.
///
/// # Errors
///
/// [`Error::Picture`] and [`Error::Sound`] when the format cannot hold it.
pub fn to_bytes(media: &Media, path: &Path) -> Result<Vec<u8>> {
    match media {
        Media::Image(picture) => picture.to_png(None),
        Media::Text(text) => Ok(text.clone()),
        Media::Sound(clip) => to_wav(path, clip),
        Media::Point(values) => {
            let values: Vec<String> = values.iter().map(f32::to_string).collect();
            Ok(format!("{}\n", values.join(",")).into_bytes())
        }
    }
}

/// Writes a 16-bit WAV file atomically.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Sound`].
pub fn write_wav(path: &Path, clip: &Clip) -> Result<()> {
    atomic::write(path, &to_wav(path, clip)?)
}

/// The bytes of a 16-bit WAV file; `path` is for messages.
///
/// # Errors
///
/// [`Error::Sound`] when there are more samples than the format can hold.
pub fn to_wav(path: &Path, clip: &Clip) -> Result<Vec<u8>> {
    let fail = |error: hound::Error| Error::Sound {
        path: path.to_owned(),
        doing: "write",
        reason: error.to_string(),
    };
    let spec = hound::WavSpec {
        channels: clip.shape.channels,
        sample_rate: clip.shape.sample_rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).map_err(fail)?;
    for &sample in &clip.samples {
        writer.write_sample(sample).map_err(fail)?;
    }
    writer.finalize().map_err(fail)?;
    Ok(bytes.into_inner())
}

/// Reads the bytes of a 16-bit WAV file of the model's rate and channels; `path` is for messages.
///
/// # Errors
///
/// [`Error::Sound`] when it cannot be read or has another format.
pub fn from_wav(bytes: &[u8], path: &Path, shape: SoundShape) -> Result<Clip> {
    let fail = |reason: String| Error::Sound { path: path.to_owned(), doing: "read", reason };
    let mut reader = hound::WavReader::new(bytes).map_err(|error| fail(error.to_string()))?;
    let spec = reader.spec();
    if spec.bits_per_sample != 16 || spec.sample_format != hound::SampleFormat::Int {
        return Err(fail("it does not have 16-bit samples".into()));
    }
    if (spec.sample_rate, spec.channels) != (shape.sample_rate, shape.channels) {
        let form = |rate, channels| format!("{rate} Hz with {channels} channels");
        let (found, wanted) =
            (form(spec.sample_rate, spec.channels), form(shape.sample_rate, shape.channels));
        return Err(fail(format!("it has {found}, and the model needs {wanted}")));
    }
    let samples: Result<Vec<i16>, _> = reader.samples::<i16>().collect();
    Ok(Clip { shape, samples: samples.map_err(|error| fail(error.to_string()))? })
}
