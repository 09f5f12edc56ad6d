//! Lossless compression with a model: the likelier the data, the smaller the archive.
//!
//! An archive is a header in JSON (the model's fingerprint, the documents, a checksum of each), then the words of one coder: a range
//! coder for models that give the distribution of each value, bits-back for models with latents. The model gives the probabilities for the
//! words, so an archive can only be opened with exactly the weights it was made with, on a processor with the same vector instructions.
//! Both are checked first, and the checksum of the content last, so that wrong content is never returned.

mod archive;
mod document;

use std::collections::BTreeSet;

use poiesis_kernels::instruction_set;

pub use archive::{Archive, EntryHeader, Header};
pub use document::{Document, OutputFile, output_files};

use archive::damaged;

use crate::abilities::Coding;
use crate::coding::{self, bits_back};
use crate::data::DataSpec;
use crate::device;
use crate::error::{Error, Result, in_bytes};
use crate::media::Codec;
use crate::trained::Trained;

/// The result of compressing.
#[derive(Clone, Debug)]
pub struct Compressed {
    /// The archive.
    pub bytes: Vec<u8>,
    /// Bytes of everything but the code words.
    pub header: usize,
    /// Bytes of the documents.
    pub original: u64,
    /// −Σ log₂ p of all values under the model: the ideal length of the code words in bits. For a model with latents the negative evidence
    /// lower bound, with the latents that were coded.
    pub bits: f64,
    /// For a model with latents, how many bytes of the code words are initial bits: they are random, and the first image is coded with them.
    pub initial: Option<usize>,
}

/// Compresses `documents`, all of class `class` for a model conditioned on classes. `progress` receives the number of
/// values done and their total.
///
/// # Errors
///
/// Those of [`Trained::coding`]; [`Error::NotOfTheModel`] when a document is not of the model's kind, or the model has a single value or very
/// many; [`Error::SameName`] when two documents have one name; [`Error::CheckpointMismatch`] when the weights give no probabilities.
pub fn compress(
    trained: &Trained,
    documents: &[Document],
    class: Option<u32>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Compressed> {
    let model = trained.coding()?;
    let codec = codec_for(model, &trained.spec);
    expect_codable(model, trained)?;
    expect_different_names(documents)?;
    let class = or_first(class, model);
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
            chunks: document.chunks.clone(),
            sequences: runs(read.iter().map(Vec::len)),
        });
        places.extend(codec.side_values(&document.content));
        sequences.extend(read);
    }
    let total: u64 = sequences.iter().map(|sequence| sequence.len() as u64).sum();
    let classes = vec![class; sequences.len()];
    let progress = &mut |done: usize| progress(done as u64, total);
    let CodeWords { words, bits, initial } =
        encode(model, trained, &sequences, &classes, progress)?.ok_or_else(|| no_probabilities(trained))?;
    let beside = coding::encode_uniform(places);
    let header = Header {
        format: archive::format_of(&entries, initial),
        model: trained.entry.name().to_owned(),
        run: trained.info.id.clone(),
        step: trained.step,
        averaged: trained.averaged,
        fingerprint: trained.fingerprint(),
        instructions: instruction_set().to_owned(),
        words: words.len() as u64,
        initial_words: initial,
        entries,
    };
    let bits = bits + beside.bits;
    let words = [words, beside.words].concat();
    let words_bytes = 4 * words.len();
    let bytes = Archive { header, words }.to_bytes()?;
    let header = bytes.len() - words_bytes;
    let original = documents.iter().map(|document| document.content.len() as u64).sum();
    let initial = initial.map(|words| 4 * words as usize);
    Ok(Compressed { bytes, header, original, bits, initial })
}

/// Code words, and what is known of them.
struct CodeWords {
    words: Vec<u32>,
    bits: f64,
    initial: Option<u64>,
}

/// Codes sequences of values; `None` when the weights give no probabilities.
fn encode(
    model: Coding<'_>,
    trained: &Trained,
    sequences: &[Vec<u32>],
    classes: &[Option<u32>],
    progress: &mut dyn FnMut(usize),
) -> Result<Option<CodeWords>> {
    Ok(match model {
        Coding::Values(model) => coding::encode(model, sequences, classes, progress)
            .map(|coding::Coded { words, bits }| CodeWords { words, bits, initial: None }),
        Coding::Latents(model) => {
            let shape = trained.spec.images()?;
            bits_back::encode(model, shape, sequences, classes, &trained.device, progress)
                .map(|coded| CodeWords { words: coded.words, bits: coded.bits, initial: Some(coded.initial) })
        }
    })
}

/// How `model` reads documents.
fn codec_for<'a>(model: Coding<'_>, spec: &'a DataSpec) -> Codec<'a> {
    match model {
        Coding::Values(model) => Codec::new(spec, Some(model)),
        Coding::Latents(model) => Codec::new(spec, None).with_levels(model.encoding().levels()),
    }
}

/// Refuses a model whose values are too many.
fn expect_codable(model: Coding<'_>, trained: &Trained) -> Result<()> {
    match model {
        Coding::Values(model) if !coding::can_code(model.num_values()) => Err(Error::NotOfTheModel {
            name: trained.info.data.name.clone(),
            reason: format!("it has {} different values, and 2 to 65,535 can be coded", model.num_values()),
            remedy: "use a model with another vocabulary".into(),
        }),
        _ => Ok(()),
    }
}

/// The class that a model with latents is given where none was chosen: the first. Others know that themselves.
fn or_first(class: Option<u32>, model: Coding<'_>) -> Option<u32> {
    match model {
        Coding::Latents(model) if model.num_classes() > 0 => class.or(Some(0)),
        _ => class,
    }
}

/// Returns the documents of `archive`. `progress` receives the number of values done and their total.
///
/// # Errors
///
/// Those of [`Trained::coding`]; [`Error::ArchiveOfAnotherModel`] when it was made with other weights or needs vector instructions that this processor
/// lacks; [`Error::ArchiveDamaged`] when a document does not have its checksum.
pub fn decompress(
    trained: &Trained,
    archive: &Archive,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Document>> {
    let model = trained.coding()?;
    let codec = codec_for(model, &trained.spec);
    archive.header.expect_model(trained)?;
    if expect_codable(model, trained).is_err() {
        return Err(damaged("it was made with a model whose values cannot be coded"));
    }
    let early = || damaged("its code words end early");
    if archive.header.words > archive.words.len() as u64 {
        return Err(early());
    }
    let unknown =
        |entry: &EntryHeader| entry.class.is_some_and(|class| class as usize >= trained.spec.classes);
    if archive.header.entries.iter().any(unknown) {
        return Err(damaged("it names a class that the model does not know"));
    }
    let total = expect_lengths(&archive.header, &codec)?;
    expect_room(model, &archive.header, total)?;
    let lengths = |entry: &EntryHeader| {
        let runs = entry.sequences.iter();
        runs.flat_map(|&(count, length)| std::iter::repeat_n(length as usize, count as usize)).collect()
    };
    let each: Vec<Vec<usize>> = archive.header.entries.iter().map(lengths).collect();
    let all = each.concat();
    let classes_of = archive.header.entries.iter().zip(&each);
    let classes: Vec<_> =
        classes_of.flat_map(|(entry, lengths)| std::iter::repeat_n(entry.class, lengths.len())).collect();
    let words = archive.words.split_at_checked(archive.header.words as usize);
    let (words, beside) = words.ok_or_else(early)?;
    let progress = &mut |done: usize| progress(done as u64, total);
    let decoded = match model {
        Coding::Values(model) => coding::decode(model, &all, &classes, words, progress).ok_or_else(early)?,
        Coding::Latents(model) => {
            let (shape, initial) = (trained.spec.images()?, archive.header.initial_words.unwrap_or(0));
            bits_back::decode(model, shape, &classes, (words, initial), &trained.device, progress)
                .ok_or_else(|| damaged("its code words are not those of its images"))?
        }
    };
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
        documents.push(Document { name: entry.name.clone(), content, chunks: entry.chunks.clone() });
    }
    Ok(documents)
}

fn no_probabilities(trained: &Trained) -> Error {
    Error::CheckpointMismatch {
        path: trained.path().join("checkpoints"),
        model: trained.entry.name().to_owned(),
        reason: "its probabilities are not numbers".into(),
    }
}

/// Checks that the lengths in an archive are those of its documents; returns the number of values.
fn expect_lengths(header: &Header, codec: &Codec) -> Result<u64> {
    let mut total = 0_u64;
    for entry in &header.entries {
        let mut values = 0_u64;
        for &(count, length) in &entry.sequences {
            let all = u64::from(count) * u64::from(length);
            values = values.checked_add(all).filter(|_| count > 0 && length > 0).unwrap_or(u64::MAX);
        }
        let lengths = entry.sequences.iter().map(|&(_, length)| length);
        if !codec.can_have(entry.bytes, values, lengths) {
            let name = &entry.name;
            return Err(damaged(&format!("`{name}` of {} bytes cannot have {values} values", entry.bytes)));
        }
        total = total.saturating_add(values);
    }
    Ok(total)
}

/// Checks that `total` values can be in the words of an archive and in memory, before any is taken for them.
fn expect_room(model: Coding<'_>, header: &Header, total: u64) -> Result<()> {
    let words = usize::try_from(header.words).unwrap_or(usize::MAX);
    let most = match model {
        Coding::Values(model) => coding::most_values(model.num_values(), words),
        // An image may give back more bits than it takes.
        Coding::Latents(_) => u64::MAX,
    };
    if total > most {
        return Err(damaged(&format!("{total} values cannot be in {} code words", header.words)));
    }
    // Each value is held in four bytes, and then as content.
    let needed = total.saturating_mul(8);
    match device::free_memory() {
        Some(free) if free < needed => Err(Error::ArchiveOfAnotherModel {
            reason: format!(
                "its documents need {} of memory, and {} are free",
                in_bytes(needed),
                in_bytes(free)
            ),
            remedy: "open it on a machine with more memory".into(),
        }),
        _ => Ok(()),
    }
}

/// Returns an error for two documents of one name, before anything is computed: only one of them would come back.
fn expect_different_names(documents: &[Document]) -> Result<()> {
    let mut seen = BTreeSet::new();
    match documents.iter().find(|document| !seen.insert(&document.name)) {
        Some(document) => Err(Error::SameName { name: document.name.clone() }),
        None => Ok(()),
    }
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
