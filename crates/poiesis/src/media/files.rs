//! Examples as files: PNG for images, plain text, 16-bit WAV for sound, CSV for points; several of them as an array of NumPy.

use std::io::Cursor;
use std::path::Path;

use poiesis_collect::{ArrayHeader, regular};

use super::{Clip, Media};
use crate::atomic;
use crate::data::{Content, DataSpec, PointShape, SoundShape};
use crate::error::{Error, Result};
use crate::picture::Picture;

/// The extension of a file with one example of `spec`.
pub fn extension(spec: &DataSpec) -> &'static str {
    match spec.content {
        Content::Images(_) => "png",
        Content::Text(_) => "txt",
        Content::Sound(_) => "wav",
        Content::Points(_) | Content::Experience(_) => "csv",
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
/// [`Error::Picture`], [`Error::Sound`] and [`Error::Io`] when it cannot be read, [`Error::NotOfTheModel`] for points and experience.
pub fn read(path: &Path, spec: &DataSpec) -> Result<Media> {
    from_bytes(&regular::read(path).map_err(Error::io("read", path))?, path, spec)
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
        Content::Points(_) | Content::Experience(_) => Err(Error::NotOfTheModel {
            name: path.display().to_string(),
            reason: format!("{} cannot be read from a file for each example", spec.media().name()),
            remedy: "collect them into a data set".into(),
        }),
    }
}

/// The bytes of a file with this example of `spec`; `path` is for messages.
///
/// # Errors
///
/// [`Error::Picture`] and [`Error::Sound`] when the format cannot hold it.
pub fn to_bytes(media: &Media, spec: &DataSpec, path: &Path) -> Result<Vec<u8>> {
    match media {
        Media::Image(picture) => picture.to_png(None),
        Media::Text(text) => Ok(text.clone()),
        Media::Sound(clip) => to_wav(path, clip),
        Media::Point(_) => Ok(to_csv(std::slice::from_ref(media), spec.points()?)),
    }
}

/// The bytes of a CSV of points, one a row, below the names of the columns where there are names. Numbers are written with the
/// digits that are needed to read the same f32 again. Examples of other kinds are left out.
pub fn to_csv(points: &[Media], shape: &PointShape) -> Vec<u8> {
    let mut text = String::new();
    if !shape.columns.is_empty() {
        let names: Vec<String> = shape.columns.iter().map(|name| quoted(name)).collect();
        text.push_str(&names.join(","));
        text.push('\n');
    }
    for point in points {
        let Media::Point(values) = point else { continue };
        let values: Vec<String> = values.iter().map(f32::to_string).collect();
        text.push_str(&values.join(","));
        text.push('\n');
    }
    text.into_bytes()
}

/// The bytes of a NumPy array of examples of `spec`: images `[examples, height, width, channels]` as u8, points `[examples, coordinates]` as
/// f32, clips `[examples, frames, channels]` as i16, of which shorter ones end with silence. `path` is for messages.
///
/// # Errors
///
/// [`Error::Unusable`] for texts, which are no array.
///
/// # Panics
///
/// When an example is of another kind or shape than `spec` says.
pub fn to_npy(examples: &[Media], spec: &DataSpec, path: &Path) -> Result<Vec<u8>> {
    let count = examples.len();
    let array = |kind: &str, width: usize, shape: &[usize], values: Vec<u8>| {
        let wanted = width * shape.iter().product::<usize>();
        assert_eq!(values.len(), wanted, "bytes of values for an array {shape:?} of {kind}");
        [ArrayHeader::new(kind, shape).to_bytes(), values].concat()
    };
    match &spec.content {
        Content::Images(shape) => {
            let pixels = examples.iter().filter_map(Media::picture).flat_map(Picture::data).copied();
            Ok(array("|u1", 1, &[count, shape.height, shape.width, shape.channels], pixels.collect()))
        }
        Content::Points(shape) => {
            let points = examples.iter().filter_map(|example| match example {
                Media::Point(point) => Some(point),
                _ => None,
            });
            let values = points.flatten().flat_map(|value| value.to_le_bytes()).collect();
            Ok(array("<f4", 4, &[count, shape.dims], values))
        }
        Content::Sound(shape) => {
            let clips = examples.iter().filter_map(|example| match example {
                Media::Sound(clip) => Some(&clip.samples),
                _ => None,
            });
            let longest = clips.clone().map(Vec::len).max().unwrap_or(0);
            let whole = |clip: &Vec<i16>| {
                let silence = std::iter::repeat_n(0, longest - clip.len());
                clip.iter().copied().chain(silence).flat_map(i16::to_le_bytes).collect::<Vec<u8>>()
            };
            let channels = usize::from(shape.channels);
            Ok(array("<i2", 2, &[count, longest / channels, channels], clips.flat_map(whole).collect()))
        }
        Content::Text(_) | Content::Experience(_) => Err(Error::Unusable {
            path: path.to_owned(),
            reason: format!("{} is no array of numbers", spec.media().name()),
            remedy: "give a file that ends in .txt or .jsonl".into(),
        }),
    }
}

/// A name as a field of a CSV: in quotes where it has a mark that would end it, or could be read as a number or a comment.
fn quoted(name: &str) -> String {
    let plain = !name.is_empty()
        && name.trim() == name
        && !name.contains(['"', ',', ';', '\n', '\r', '\t'])
        && !name.starts_with('#');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageShape, TextShape};

    #[test]
    fn points_are_written_below_the_names_of_their_columns() {
        let points = [Media::Point(vec![0.1, -2.0, 3e-7]), Media::Point(vec![1e10, 16_777_216.0, 0.0])];
        let columns = ["x", "a \"b\", c", ""].map(str::to_owned).to_vec();
        let named =
            String::from_utf8(to_csv(&points, &PointShape { columns, ..PointShape::new(3) })).unwrap();
        assert_eq!(named, "x,\"a \"\"b\"\", c\",\"\"\n0.1,-2,0.0000003\n10000000000,16777216,0\n");
        let plain = to_csv(&points, &PointShape::new(3));
        assert_eq!(plain, b"0.1,-2,0.0000003\n10000000000,16777216,0\n");
        let values = named.lines().nth(1).unwrap().split(',').map(|value| value.parse().unwrap());
        assert_eq!(Media::Point(values.collect()), points[0], "the digits suffice");
    }

    #[test]
    fn examples_become_arrays_that_numpy_reads() {
        let path = Path::new("a.npy");
        let read = |examples: &[Media], content: Content| {
            let bytes = to_npy(examples, &DataSpec { content, classes: 0, unlabelled: false }, path).unwrap();
            let mut rest = bytes.as_slice();
            let header = ArrayHeader::read(&mut rest, path).unwrap();
            assert_eq!(header.start as usize + rest.len(), bytes.len());
            (header.kind, header.shape, rest.to_vec())
        };
        let image = |first: u8| Media::Image(Picture::new(2, 1, 3, (first..first + 6).collect()));
        let images = Content::Images(ImageShape { height: 1, width: 2, channels: 3 });
        let expected = ("|u1".to_owned(), vec![2, 1, 2, 3], (0..12).collect());
        assert_eq!(read(&[image(0), image(6)], images), expected);

        let points = [Media::Point(vec![1.0, -2.5])];
        let bytes = [1.0_f32, -2.5].map(f32::to_le_bytes).concat();
        let shape = PointShape::new(2);
        assert_eq!(read(&points, Content::Points(shape)), ("<f4".to_owned(), vec![1, 2], bytes));

        let shape = SoundShape { sample_rate: 8000, channels: 2 };
        let clip = |samples: &[i16]| Media::Sound(Clip { shape, samples: samples.to_vec() });
        let (kind, sizes, bytes) = read(&[clip(&[1, -2]), clip(&[3, 4, 5, 6])], Content::Sound(shape));
        assert_eq!((kind.as_str(), sizes), ("<i2", vec![2, 2, 2]));
        assert_eq!(
            bytes,
            [1, -2, 0, 0, 3, 4, 5, 6_i16].map(i16::to_le_bytes).concat(),
            "filled with silence"
        );

        let text =
            TextShape { vocabulary: poiesis_collect::Vocabulary::Bytes, documents: false, lines: false };
        let text = DataSpec { content: Content::Text(text), classes: 0, unlabelled: false };
        let error = to_npy(&[], &text, path).unwrap_err();
        assert!(error.to_string().contains("a.npy") && error.hint().unwrap().contains(".jsonl"));
    }
}
