//! Lossless compression with a model: the likelier the data, the smaller the archive.
//!
//! An archive is a header in JSON (the model's fingerprint, the documents, a checksum of each), then the words of one range
//! coder. The model gives the probabilities for the words, so an archive can only be opened with exactly the weights it was
//! made with, on a processor with the same vector instructions. Both are checked first, and the checksum of the content last,
//! so that wrong content is never returned.

mod archive;

use std::path::{Path, PathBuf};

use poiesis_kernels::instruction_set;

pub use archive::{Archive, EntryHeader, Header};

use archive::{FORMAT, damaged};

use crate::atomic;
use crate::coding;
use crate::data::DataSpec;
use crate::error::{Error, Result};
use crate::media::{Codec, Media, files};
use crate::trained::Trained;

/// A document to compress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The name of its file.
    pub name: String,
    /// Its bytes: a text as it is; the 8-bit values of one or several images of the model's shape, row by row; the 16-bit
    /// samples of a clip, low byte first.
    pub content: Vec<u8>,
}

impl Document {
    /// Reads a file of the kind in `spec`: a PNG image, a text or a 16-bit WAV file.
    ///
    /// # Errors
    ///
    /// Those of [`media::files::read`](files::read), and [`crate::Error::NotOfTheModel`] when an image is of another size.
    pub fn read(path: &Path, spec: &DataSpec) -> Result<Document> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let media = files::read(path, spec)?;
        let content = Codec::new(spec, None).content(&media, &name)?;
        Ok(Document { name, content })
    }

    /// The files of the document in `folder`: one, or a folder of files for several images.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Picture`] and [`crate::Error::Sound`] when a file cannot be made.
    pub fn files(&self, folder: &Path, spec: &DataSpec) -> Result<Vec<OutputFile>> {
        // A name with folders in it could point outside `folder`.
        let name = Path::new(&self.name).file_name().unwrap_or("document".as_ref());
        let all = Codec::new(spec, None).media_of_content(&self.content);
        let single = all.len() == 1;
        let ending = files::extension(spec);
        let file = |(index, media): (usize, Media)| {
            let path = match &media {
                Media::Text(_) => folder.join(name),
                _ if single => folder.join(name).with_extension(ending),
                _ => folder.join(name).join(format!("{index:06}.{ending}")),
            };
            Ok(OutputFile { bytes: files::to_bytes(&media, spec, &path)?, path })
        };
        all.into_iter().enumerate().map(file).collect()
    }
}

/// A file to write.
#[derive(Clone, Debug)]
pub struct OutputFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl OutputFile {
    /// Writes it atomically, making its parent folders.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn write(&self) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        }
        atomic::write(&self.path, &self.bytes)
    }
}

/// The result of compressing.
#[derive(Clone, Debug)]
pub struct Compressed {
    /// The archive.
    pub bytes: Vec<u8>,
    /// Bytes of everything but the code words.
    pub header: usize,
    /// Bytes of the documents.
    pub original: u64,
    /// −Σ log₂ p of all values under the model: the ideal length of the code words in bits.
    pub bits: f64,
}

/// Compresses `documents`, all of class `class` for a model conditioned on classes. `progress` receives the number of
/// values done and their total.
///
/// # Errors
///
/// [`Error::MissingCapability`] when the model is not autoregressive; [`Error::NotOfTheModel`] when a document is not of
/// the model's kind.
pub fn compress(
    trained: &Trained,
    documents: &[Document],
    class: Option<u32>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Compressed> {
    let model = trained.autoregressive()?;
    let codec = Codec::new(&trained.spec, Some(model));
    let (mut sequences, mut places, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        let framing = codec.framing(&document.content);
        let read = codec.sequences(&document.content, framing, &document.name)?;
        entries.push(EntryHeader {
            name: document.name.clone(),
            bytes: document.content.len() as u64,
            crc32c: crc32c::crc32c(&document.content),
            class,
            framing,
            sequences: runs(read.iter().map(Vec::len)),
        });
        places.extend(codec.side_values(&document.content));
        sequences.extend(read);
    }
    let total: u64 = sequences.iter().map(|sequence| sequence.len() as u64).sum();
    let classes = vec![class; sequences.len()];
    let values = coding::encode(model, &sequences, &classes, &mut |done| progress(done as u64, total));
    let beside = coding::encode_uniform(places);
    let header = Header {
        format: FORMAT,
        model: trained.entry.name().to_owned(),
        run: trained.info.id.clone(),
        step: trained.step,
        averaged: trained.averaged,
        fingerprint: trained.fingerprint(),
        instructions: instruction_set().to_owned(),
        words: values.words.len() as u64,
        entries,
    };
    let bits = values.bits + beside.bits;
    let words = [values.words, beside.words].concat();
    let words_bytes = 4 * words.len();
    let bytes = Archive { header, words }.to_bytes()?;
    let header = bytes.len() - words_bytes;
    let original = documents.iter().map(|document| document.content.len() as u64).sum();
    Ok(Compressed { bytes, header, original, bits })
}

/// Returns the documents of `archive`. `progress` receives the number of values done and their total.
///
/// # Errors
///
/// [`Error::ArchiveOfAnotherModel`] when it was made with other weights or needs vector instructions that this processor
/// lacks; [`Error::ArchiveDamaged`] when a document does not have its checksum.
pub fn decompress(
    trained: &Trained,
    archive: &Archive,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Document>> {
    let model = trained.autoregressive()?;
    let codec = Codec::new(&trained.spec, Some(model));
    archive.header.expect_model(trained)?;
    let unknown =
        |entry: &EntryHeader| entry.class.is_some_and(|class| class as usize >= trained.spec.classes);
    if archive.header.entries.iter().any(unknown) {
        return Err(damaged("it names a class that the model does not know"));
    }
    let lengths = |entry: &EntryHeader| {
        let runs = entry.sequences.iter();
        runs.flat_map(|&(count, length)| std::iter::repeat_n(length as usize, count as usize)).collect()
    };
    let each: Vec<Vec<usize>> = archive.header.entries.iter().map(lengths).collect();
    let all = each.concat();
    let total: u64 = all.iter().map(|&length| length as u64).sum();
    let classes_of = archive.header.entries.iter().zip(&each);
    let classes: Vec<_> =
        classes_of.flat_map(|(entry, lengths)| std::iter::repeat_n(entry.class, lengths.len())).collect();
    let early = || damaged("its code words end early");
    let words = archive.words.split_at_checked(archive.header.words as usize);
    let (words, beside) = words.ok_or_else(early)?;
    let decoded = coding::decode(model, &all, &classes, words, &mut |done| progress(done as u64, total));
    let decoded = decoded.ok_or_else(early)?;
    let many = decoded.iter().flatten().filter_map(|&value| codec.side_choices(value));
    let places = coding::decode_uniform(many, beside).ok_or_else(early)?;
    let (mut decoded, mut places) = (decoded.into_iter(), places.into_iter());
    let mut documents = Vec::new();
    for (entry, lengths) in archive.header.entries.iter().zip(&each) {
        let sequences: Vec<Vec<u32>> = decoded.by_ref().take(lengths.len()).collect();
        let content = codec.restore(&sequences.concat(), entry.framing, &mut places);
        if content.len() as u64 != entry.bytes || crc32c::crc32c(&content) != entry.crc32c {
            return Err(damaged(&format!("the content of `{}` does not match its checksum", entry.name)));
        }
        documents.push(Document { name: entry.name.clone(), content });
    }
    Ok(documents)
}

/// Run-length encoding: each pair is a count and the number that is repeated.
fn runs(lengths: impl Iterator<Item = usize>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for length in lengths {
        match runs.last_mut() {
            Some((count, same)) if *same as usize == length => *count += 1,
            _ => runs.push((1, length as u32)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_tell_lengths() {
        assert_eq!(runs([3, 3, 1].into_iter()), [(2, 3), (1, 1)]);
    }
}
