//! Which sample rates and channels the clips of a source have, looked at before it is packed, so that one format can be chosen for all.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::clip::tags;
use super::need::{HEAD, check_rate, header};
use crate::cache;
use crate::card::Kind;
use crate::error::Result;
use crate::options::{MAX_RATE, MIN_RATE, Options};
use crate::progress::Progress;
use crate::regular;
use crate::source::{self, Payload, each_batch};
use crate::summary::kept_or_found;

/// Which sample rates and channels the clips of a source have, by their headers. A clip whose header cannot be read does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundSummary {
    /// How many clips there are.
    pub count: u64,
    /// Sample rates in Hz, each with its number of clips.
    pub rates: BTreeMap<u32, u64>,
    /// Numbers of channels, each with its number of clips.
    pub channels: BTreeMap<u16, u64>,
    /// The channels of the first clip, which decides for all where `mono` is not chosen.
    pub first_channels: u16,
}

impl SoundSummary {
    /// Looks at the clips of a source; `None` where it holds something else, is packed already, or no header can be read. `progress`
    /// counts the clips looked at, on the calling thread.
    ///
    /// What was found is kept in the folder `cache`, where one is given, and is read from there as long as the source and the options are
    /// the same. There is no progress then.
    ///
    /// # Errors
    ///
    /// [`crate::Error`] when the source cannot be opened. A clip that cannot be read is left to [`collect`](crate::collect()).
    pub fn of(
        path: &Path,
        options: &Options,
        cache: Option<&Path>,
        progress: &dyn Fn(Progress),
    ) -> Result<Option<SoundSummary>> {
        kept_or_found(path, options, cache, cache::OF_SOUND, || {
            let found = SoundSummary::look(path, options, progress)?;
            Ok((found.is_some(), found))
        })
    }

    fn look(path: &Path, options: &Options, progress: &dyn Fn(Progress)) -> Result<Option<SoundSummary>> {
        let options = &Options { limits: options.limits.within_memory(), ..options.clone() };
        let mut source = source::open(path, options)?;
        if source.plan().kind() != Kind::Sound {
            return Ok(None);
        }
        let total = source.plan().total;
        let (mut found, mut done) = (SoundSummary::default(), 0);
        each_batch(&mut *source, |batches| {
            for item in batches.iter().flatten() {
                done += 1;
                if let Some((rate, channels)) = format_of(&item.payload) {
                    found.add(rate, channels);
                }
                progress(Progress { done, total, ..Progress::default() });
            }
            Ok(())
        })?;
        Ok(Some(found).filter(|found| found.count > 0))
    }

    fn add(&mut self, rate: u32, channels: u16) {
        if self.count == 0 {
            self.first_channels = channels;
        }
        self.count += 1;
        *self.rates.entry(rate).or_default() += 1;
        *self.channels.entry(channels).or_default() += 1;
    }

    /// The sample rate that most clips have, of those to which sound may be resampled; of two that are as frequent, the lower one.
    pub fn usual_rate(&self) -> Option<u32> {
        let usable = self.rates.range(MIN_RATE..=MAX_RATE).rev();
        usable.max_by_key(|(_, count)| **count).map(|(rate, _)| *rate)
    }
}

/// Sample rate and channels of a clip by its header.
fn format_of(payload: &Payload) -> Option<(u32, u16)> {
    let (head, length) = match payload {
        Payload::File(path) => beginning(path)?,
        Payload::Encoded(bytes) => {
            let start = bytes.get(tags(bytes)..)?;
            (start[..start.len().min(HEAD as usize)].to_vec(), bytes.len() as u64)
        }
        _ => return None,
    };
    let (rate, channels) = match header(&head, length) {
        Some(header) => (header.rate, u16::try_from(header.channels).ok()?),
        None => vorbis(&head).or_else(|| mp3(&head))?,
    };
    (check_rate(rate).is_ok() && channels > 0).then_some((rate, channels))
}

/// The first bytes of a file after its tags, and its length.
fn beginning(path: &Path) -> Option<(Vec<u8>, u64)> {
    let mut file = regular::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut read = |from: u64| {
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(from)).ok()?;
        file.by_ref().take(HEAD).read_to_end(&mut head).ok()?;
        Some(head)
    };
    let head = read(0)?;
    let head = match tags(&head) {
        0 => head,
        after => read(after as u64)?,
    };
    Some((head, length))
}

/// The identification header of Vorbis (Vorbis I, 4.2.2), in the first page of Ogg.
fn vorbis(head: &[u8]) -> Option<(u32, u16)> {
    const START: &[u8] = b"\x01vorbis\0\0\0\0";
    if !head.starts_with(b"OggS") {
        return None;
    }
    let at = head.windows(START.len()).position(|bytes| bytes == START)? + START.len();
    let channels = *head.get(at)?;
    let rate = head.get(at + 1..)?.first_chunk()?;
    Some((u32::from_le_bytes(*rate), u16::from(channels)))
}

/// The header of a frame of MPEG-1, 2 or 2.5, layer III (ISO/IEC 11172-3, 2.4.2.3).
fn mp3(head: &[u8]) -> Option<(u32, u16)> {
    let [0xff, second, third, fourth, ..] = *head else { return None };
    if second & 0xe6 != 0xe2 {
        return None;
    }
    let base = *[44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?;
    let rate = match second >> 3 & 3 {
        3 => base,
        2 => base / 2,
        0 => base / 4,
        _ => return None,
    };
    Some((rate, if fourth >> 6 == 3 { 1 } else { 2 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_rate_and_channels() {
        let of = |bytes: &[u8]| format_of(&Payload::Encoded(bytes.to_vec()));
        let wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x40\x1f\0\0\0\x7d\0\0\x04\0\x10\0data\0\0\0\0";
        assert_eq!(of(wav), Some((8000, 2)));
        let tagged = [&b"ID3\x04\0\0\0\0\0\x02ab"[..], wav].concat();
        assert_eq!(of(&tagged), Some((8000, 2)));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wav"), &tagged).unwrap();
        assert_eq!(format_of(&Payload::File(folder.path().join("a.wav"))), Some((8000, 2)));
        // MPEG-1 at 44,100 Hz in mono, MPEG-2 at 24,000 Hz in joint stereo.
        assert_eq!(of(&[0xff, 0xfb, 0x90, 0xc4, 0]), Some((44_100, 1)));
        assert_eq!(of(&[0xff, 0xf3, 0x94, 0x44, 0]), Some((24_000, 2)));
        assert_eq!([of(&[0xff, 0xfb, 0x9c, 0xc4]), of(b"text"), of(b"")], [None; 3]);
        let page = [&b"OggS\0\x02"[..], &[0; 20], b"\x01\x1e\x01vorbis\0\0\0\0\x01\x22\x56\0\0\0\0"].concat();
        assert_eq!(of(&page), Some((22_050, 1)));
    }

    #[test]
    fn the_usual_rate_is_the_most_frequent() {
        let mut seen = SoundSummary::default();
        assert_eq!(seen.usual_rate(), None);
        [44_100, 22_050, 48_000, 22_050, 44_100].iter().for_each(|&rate| seen.add(rate, 1));
        assert_eq!(seen.usual_rate(), Some(22_050), "of two, the lower one");
        seen.add(48_000, 2);
        seen.add(48_000, 2);
        (0..9).for_each(|_| seen.add(500, 1));
        assert_eq!((seen.usual_rate(), seen.channels.len()), (Some(48_000), 2));
    }
}
