//! The format of an archive: magic, length of the header, header in JSON, code words, CRC-32C of everything before it.

use poiesis_kernels::instruction_set;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::media::{Chunk, Framing};
use crate::trained::Trained;

/// The first bytes of an archive.
const MAGIC: &[u8; 8] = b"POIESIS\n";
/// Versions of the format that are read. Version 2 has chunks and names with folders, version 3 initial words; an archive is written as the
/// first version that can hold it.
const FORMATS: [u32; 3] = [1, 2, 3];

/// The first version of the format that can hold `entries`, with or without initial words.
pub(super) fn format_of(entries: &[EntryHeader], initial: Option<u64>) -> u32 {
    let second = |entry: &EntryHeader| !entry.chunks.is_empty() || entry.name.contains('/');
    match initial {
        Some(_) => 3,
        None => FORMATS[usize::from(entries.iter().any(second))],
    }
}

/// The header of an archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub format: u32,
    /// The model's name in the catalogue.
    pub model: String,
    /// The run it comes from.
    pub run: String,
    /// Steps it was trained for.
    pub step: u64,
    /// Whether its weights are averages.
    pub averaged: bool,
    /// The model's fingerprint.
    pub fingerprint: String,
    /// The vector instructions that the log_probs were computed with.
    pub instructions: String,
    /// How many of the words code values of the model; the others code what the model does not know.
    pub words: u64,
    /// How many of the words are initial bits, for a model with latents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_words: Option<u64>,
    /// The documents in the archive.
    pub entries: Vec<EntryHeader>,
}

/// One document in the header of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryHeader {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// CRC-32C of its bytes.
    pub crc32c: u32,
    /// The class given for it, for a model conditioned on classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<u32>,
    /// For a text: its byte order mark and line ends.
    #[serde(default, flatten)]
    pub framing: Framing,
    /// For an image or a sound: what else its file holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Chunk>,
    /// The lengths of the sequences it was split into, as pairs: how many sequences, and how many values each has.
    pub sequences: Vec<(u32, u32)>,
}

/// An archive that was read and whose checksum is right.
#[derive(Clone, Debug)]
pub struct Archive {
    /// Its header.
    pub header: Header,
    pub(super) words: Vec<u32>,
}

impl Header {
    /// Refuses a model that would compute other probabilities.
    pub(super) fn expect_model(&self, trained: &Trained) -> Result<()> {
        let other = |reason: String, remedy: String| Error::ArchiveOfAnotherModel { reason, remedy };
        if self.fingerprint != trained.fingerprint() {
            let which = if self.averaged { "averaged" } else { "trained" };
            let reason = format!(
                "it was made with {} weights of `{}` at step {} ({}…), and these are others",
                which,
                self.run,
                self.step,
                self.fingerprint.get(..12).unwrap_or(&self.fingerprint),
            );
            let remedy = format!("open run {} at step {} with its {which} weights", self.run, self.step);
            return Err(other(reason, remedy));
        }
        if self.instructions != instruction_set() {
            let reason = format!(
                "it was made with {} instructions, and this process computes with {}, which round differently",
                self.instructions,
                instruction_set()
            );
            return Err(other(reason, "open it on the same kind of processor".into()));
        }
        Ok(())
    }
}

impl Archive {
    /// Whether these bytes begin as those of an archive do.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Reads an archive.
    ///
    /// # Errors
    ///
    /// [`Error::ArchiveDamaged`] when it is not one, of another version, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Archive> {
        let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
            return Err(damaged("it is too short"));
        };
        let Some(rest) = body.strip_prefix(MAGIC) else {
            return Err(damaged("it does not begin like an archive of Poiesis"));
        };
        if crc32c::crc32c(body).to_le_bytes() != *sum {
            return Err(damaged("its checksum is wrong"));
        }
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Err(damaged("it ends within its header"));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((header, words)) = rest.split_at_checked(length) else {
            return Err(damaged("it ends within its header"));
        };
        let header: Header =
            serde_json::from_slice(header).map_err(|error| damaged(&format!("its header: {error}")))?;
        if !FORMATS.contains(&header.format) {
            let reason = format!("it has format {}, and this version reads formats 1 to 3", header.format);
            return Err(damaged(&reason));
        }
        let word = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        Ok(Archive { header, words: words.chunks_exact(4).map(word).collect() })
    }

    /// The archive as bytes.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = serde_json::to_vec(&self.header).map_err(|error| damaged(&error.to_string()))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header);
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        Ok(bytes)
    }
}

pub(super) fn damaged(reason: &str) -> Error {
    Error::ArchiveDamaged { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_archive_is_never_read() {
        let header = Header {
            format: 1,
            model: "m".into(),
            run: "r".into(),
            step: 1,
            averaged: true,
            fingerprint: "f".into(),
            instructions: "portable".into(),
            words: 3,
            initial_words: None,
            entries: Vec::new(),
        };
        let bytes = Archive { header: header.clone(), words: vec![1, 2, 3] }.to_bytes().unwrap();
        let read = Archive::from_bytes(&bytes).unwrap();
        assert_eq!((read.header, read.words), (header, vec![1, 2, 3]));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            assert!(Archive::from_bytes(&damaged).is_err(), "byte {place}");
            assert!(Archive::from_bytes(&bytes[..place]).is_err(), "cut at {place}");
        }
    }
}
