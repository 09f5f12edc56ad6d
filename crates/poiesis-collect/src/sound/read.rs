//! Reads the clips of a source one after another, without packing them.

use std::path::Path;

use super::need::need;
use super::{Prepared, PreparedItem, prepare, several};
use crate::card::Kind;
use crate::error::Result;
use crate::options::Options;
use crate::read::{ReadExample, class_of, open_examples};
use crate::source::each_batch;

/// Reads all clips of a source: a sound file, or any source that [`collect`](crate::collect()) packs as sound. Each is brought to
/// `sample_rate`, and mixed where `channels` is 1. The samples, 16-bit with those of a frame interleaved, are passed to `take` in the order
/// of the source.
///
/// # Errors
///
/// [`Error::NotFound`]; [`Error::BadOption`] with the option `kind` for a source without sound; those of a source that cannot be read. A
/// clip that cannot be used is no error.
pub fn read_sounds(
    path: &Path,
    sample_rate: u32,
    channels: u16,
    take: &mut dyn FnMut(ReadExample<Vec<i16>>),
) -> Result<()> {
    let options = Options {
        kind: Some(Kind::Sound),
        sample_rate: Some(sample_rate),
        mono: channels == 1,
        ..Options::default()
    };
    let options = Options { limits: options.limits.within_memory(), ..options };
    let Some((mut source, classes)) = open_examples(path, &options, take)? else { return Ok(()) };
    each_batch(&mut *source, |batches| {
        for item in batches.iter().flatten() {
            let fits = need(&item.payload, &options).map(drop);
            let PreparedItem { name, label, prepared, .. } = prepare(item, fits, &options);
            let content = prepared.map_err(|reason| reason.text).and_then(|clip| samples(&clip, channels));
            take(ReadExample { name, class: class_of(label, &classes), content });
        }
        Ok(())
    })
}

/// The samples of a clip with so many channels.
fn samples(prepared: &Prepared, channels: u16) -> Result<Vec<i16>, String> {
    let found = prepared.clip.channels;
    if found != channels {
        let found = several(found.into(), "channel");
        let read = if channels == 1 { "1 is" } else { "2 are" };
        return Err(format!("it has {found}, and {read} read"));
    }
    Ok(prepared.bytes.as_chunks::<2>().0.iter().map(|&bytes| i16::from_le_bytes(bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAV file of 16-bit samples.
    fn wav(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn clips_come_at_the_wanted_rate_and_with_the_wanted_channels() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(root.path().join(name), bytes).unwrap();
        write("a.wav", wav(8000, 1, &[5, -6, 7]));
        write("b.wav", wav(8000, 2, &[2, 4, -8, -10]));
        write("c.wav", wav(16_000, 1, &[100; 400]));
        write("d.wav", b"RIFF but no more".to_vec());
        let read = |channels: u16| {
            let mut all = Vec::new();
            read_sounds(root.path(), 8000, channels, &mut |clip| all.push(clip)).unwrap();
            all
        };
        let mono = read(1);
        assert_eq!(
            mono.iter().map(|clip| clip.name.as_str()).collect::<Vec<_>>(),
            ["a.wav", "b.wav", "c.wav", "d.wav"]
        );
        assert_eq!(mono[0].content, Ok(vec![5, -6, 7]));
        assert_eq!(mono[1].content, Ok(vec![3, -9]), "the channels are mixed");
        assert_eq!(mono[2].content.as_ref().map(Vec::len), Ok(200), "half as many at half the rate");
        assert!(mono[3].content.is_err());
        let stereo = read(2);
        assert_eq!(stereo[0].content, Err("it has 1 channel, and 2 are read".to_owned()));
        assert_eq!(stereo[1].content, Ok(vec![2, 4, -8, -10]));
    }
}
