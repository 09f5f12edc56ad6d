//! Lossless compression by a model: data that are likely to it become small.
//!
//! An archive is a header in JSON (the model's fingerprint, what is inside, a checksum of each content), then the words of
//! one range coder. The laws behind the words come from the model, so an archive can only be opened with the very weights it
//! was made with, on a processor with the same vector instructions; both are checked first, and the checksum of the content
//! last, so that nothing wrong is ever given out.

use std::path::{Path, PathBuf};

use poiesis_collect::Vocabulary;
use poiesis_kernels::instruction_set;
use serde::{Deserialize, Serialize};

use super::sound;
use crate::coding;
use crate::data::{Content, DataSpec, Depth, ImageShape, mu_law};
use crate::error::{Error, Result};
use crate::picture::Picture;
use crate::run::atomic;
use crate::trained::Trained;

/// The first bytes of an archive.
const MAGIC: &[u8; 8] = b"POIESIS\n";
/// The version of the format, which is read and written.
const FORMAT: u32 = 1;

/// One thing that is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name, that of a file.
    pub name: String,
    /// Its bytes: a text as it is; the 8-bit numbers of one or several images of the model's shape, row by row; the 16-bit
    /// samples of a clip, low byte first.
    pub content: Vec<u8>,
}

impl Document {
    /// Reads a file of the kind that `spec` says: a PNG image, a text, a 16-bit WAV file.
    ///
    /// # Errors
    ///
    /// [`Error::Picture`], [`Error::Sound`] and [`Error::Io`] when it cannot be read, [`Error::NotOfTheModel`] when an image
    /// is of another size.
    pub fn read(path: &Path, spec: &DataSpec) -> Result<Document> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        match &spec.content {
            Content::Images(shape) => {
                let (picture, _) = Picture::read_png(path)?;
                let size = |width, height, channels| format!("{width}×{height} with {channels} channels");
                let found = [picture.width(), picture.height(), picture.channels()];
                if found != [shape.width, shape.height, shape.channels] {
                    return Err(Error::NotOfTheModel {
                        name,
                        reason: format!("it is {}", size(found[0], found[1], found[2])),
                        remedy: format!("give images of {}", size(shape.width, shape.height, shape.channels)),
                    });
                }
                Ok(Document { name, content: picture.data().to_vec() })
            }
            Content::Text(_) => {
                let content = std::fs::read(path).map_err(Error::io("read", path))?;
                Ok(Document { name, content })
            }
            Content::Sound(shape) => {
                let samples = sound::read_wav(path, *shape)?;
                Ok(Document {
                    name,
                    content: samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
                })
            }
        }
    }

    /// The files that the document becomes below `folder`: one, or a folder of them for several images.
    ///
    /// # Errors
    ///
    /// [`Error::Picture`] when a picture cannot be made.
    pub fn files(&self, folder: &Path, spec: &DataSpec) -> Result<Vec<OutputFile>> {
        // A name with folders in it would lead out of the one that was asked for.
        let name = Path::new(&self.name).file_name().unwrap_or("document".as_ref());
        match &spec.content {
            Content::Images(shape) => {
                let images = self.content.chunks_exact(shape.dims());
                let single = images.len() == 1;
                let file = |(index, image): (usize, &[u8])| {
                    let picture = Picture::new(shape.width, shape.height, shape.channels, image.to_vec());
                    let several = || folder.join(name).join(format!("{index:06}.png"));
                    let path = if single { folder.join(name).with_extension("png") } else { several() };
                    Ok(OutputFile { path, bytes: picture.to_png(None)? })
                };
                images.enumerate().map(file).collect()
            }
            Content::Text(_) => Ok(vec![OutputFile { path: folder.join(name), bytes: self.content.clone() }]),
            Content::Sound(shape) => {
                let path = folder.join(name).with_extension("wav");
                let bytes = sound::to_wav(&path, *shape, &samples_of(&self.content))?;
                Ok(vec![OutputFile { path, bytes }])
            }
        }
    }
}

/// A file that is to be written.
#[derive(Clone, Debug)]
pub struct OutputFile {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub bytes: Vec<u8>,
}

impl OutputFile {
    /// Writes it, whole or not at all, and the folders it lies in.
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

/// What compressing gave.
#[derive(Clone, Debug)]
pub struct Compressed {
    /// The archive.
    pub bytes: Vec<u8>,
    /// Bytes of all but its code words.
    pub header: usize,
    /// Bytes of the documents.
    pub original: u64,
    /// −Σ log₂ p of all values under the model: what the code words should take.
    pub bits: f64,
}

/// What an archive says of itself.
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
    /// The vector instructions that the laws were computed with.
    pub instructions: String,
    /// How many of the words are of values that the model codes; the others tell what it does not know.
    pub words: u64,
    /// What is inside.
    pub entries: Vec<EntryHeader>,
}

/// What an archive says of one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryHeader {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// CRC-32C of its bytes.
    pub crc32c: u32,
    /// Class that it was said to be of, for a model conditioned on classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<u32>,
    /// Of a text: what is around its characters.
    #[serde(default, flatten)]
    pub framing: Framing,
    /// Lengths of the sequences it was read as: how many, and of how many values.
    pub sequences: Vec<(u32, u32)>,
}

/// What a text file may have that collecting takes away, so that no model knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Framing {
    /// Whether it begins with a byte order mark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mark: bool,
    /// Whether each of its lines ends with CRLF.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crlf: bool,
}

/// U+FEFF in UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

impl Framing {
    fn of(content: &[u8]) -> Framing {
        let count = |byte| content.iter().filter(|&&other| other == byte).count();
        let pairs = content.windows(2).filter(|&pair| pair == b"\r\n").count();
        let crlf = pairs > 0 && [count(b'\r'), count(b'\n')] == [pairs, pairs];
        Framing { mark: content.starts_with(MARK), crlf }
    }

    fn take_off(self, content: &[u8]) -> Vec<u8> {
        let begin = if self.mark { MARK.len() } else { 0 };
        content[begin..].iter().copied().filter(|&byte| !(self.crlf && byte == b'\r')).collect()
    }

    fn put_back(self, text: &[u8]) -> Vec<u8> {
        let mut content = if self.mark { MARK.to_vec() } else { Vec::new() };
        for &byte in text {
            content.extend((self.crlf && byte == b'\n').then_some(b'\r'));
            content.push(byte);
        }
        content
    }
}

/// An archive that was read and whose checksums are right.
#[derive(Clone, Debug)]
pub struct Archive {
    /// What it says of itself.
    pub header: Header,
    words: Vec<u32>,
}

/// Compresses `documents`, all of class `class` to a model conditioned on classes; `progress` is told how many values of how many
/// are done.
///
/// # Errors
///
/// [`Error::MissingCapability`] when the model has no laws of single values; [`Error::NotOfTheModel`] when a document is not
/// of the kind it knows.
pub fn compress(
    trained: &Trained,
    documents: &[Document],
    class: Option<u32>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Compressed> {
    let code = trained.code()?;
    let form = Form::of(trained)?;
    let (mut sequences, mut places, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        let framing = form.framing(document);
        let read = form.read(document, framing)?;
        entries.push(EntryHeader {
            name: document.name.clone(),
            bytes: document.content.len() as u64,
            crc32c: crc32c::crc32c(&document.content),
            class,
            framing,
            sequences: runs(read.iter().map(Vec::len)),
        });
        places.extend(form.places(document));
        sequences.extend(read);
    }
    let total: u64 = sequences.iter().map(|sequence| sequence.len() as u64).sum();
    let classes = vec![class; sequences.len()];
    let values = coding::encode(code, &sequences, &classes, &mut |done| progress(done as u64, total));
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

/// Gives back the documents of `archive`; `progress` is told how many values of how many are done.
///
/// # Errors
///
/// [`Error::ArchiveOfAnotherModel`] when it was made with other weights or needs vector instructions that this processor
/// lacks; [`Error::ArchiveDamaged`] when what comes out is not what went in.
pub fn decompress(
    trained: &Trained,
    archive: &Archive,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Document>> {
    let code = trained.code()?;
    let form = Form::of(trained)?;
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
    let decoded = coding::decode(code, &all, &classes, words, &mut |done| progress(done as u64, total));
    let decoded = decoded.ok_or_else(early)?;
    let many = decoded.iter().flatten().filter_map(|&value| form.many(value));
    let places = coding::decode_uniform(many, beside).ok_or_else(early)?;
    let (mut decoded, mut places) = (decoded.into_iter(), places.into_iter());
    let mut documents = Vec::new();
    for (entry, lengths) in archive.header.entries.iter().zip(&each) {
        let sequences: Vec<Vec<u32>> = decoded.by_ref().take(lengths.len()).collect();
        let content = form.write(&sequences.concat(), entry.framing, &mut places);
        if content.len() as u64 != entry.bytes || crc32c::crc32c(&content) != entry.crc32c {
            return Err(damaged(&format!("the content of `{}` does not have its checksum", entry.name)));
        }
        documents.push(Document { name: entry.name.clone(), content });
    }
    Ok(documents)
}

/// Numbers that follow one another, as how often and which.
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

/// Values of a stream of text or sound: a long document is cut into streams that are coded side by side, which the
/// model does faster. Each costs what the model does not yet know at its beginning.
const STREAM: usize = 16_384;
/// Streams of one document at most.
const STREAMS: usize = 64;

/// Cuts a document into streams of almost equal length; of `each` values that belong together none are parted.
fn streams(values: &[u32], each: usize) -> Vec<Vec<u32>> {
    let count = (values.len() / STREAM).clamp(1, STREAMS);
    let length = values.len().div_ceil(count * each).max(1) * each;
    values.chunks(length).map(<[u32]>::to_vec).collect()
}

/// The 16-bit samples of bytes, low byte first.
fn samples_of(content: &[u8]) -> Vec<i16> {
    content.as_chunks().0.iter().map(|&two| i16::from_le_bytes(two)).collect()
}

/// How documents of the model's kind become sequences.
enum Form<'a> {
    /// Images of one shape, whose numbers have so many levels.
    Images { shape: ImageShape, levels: usize },
    /// Texts.
    Text(&'a Vocabulary),
    /// Clips. Of the μ-law's levels the model codes the level of a sample, and its place among the samples of that level is
    /// kept beside.
    Sound(Depth),
}

impl Form<'_> {
    fn of(trained: &Trained) -> Result<Form<'_>> {
        let levels = trained.code()?.alphabet();
        Ok(match &trained.spec.content {
            Content::Images(shape) => Form::Images { shape: *shape, levels },
            Content::Text(text) => Form::Text(&text.vocabulary),
            Content::Sound(_) => Form::Sound(trained.code()?.depth()),
        })
    }

    fn framing(&self, document: &Document) -> Framing {
        match self {
            Form::Images { .. } | Form::Sound(_) => Framing::default(),
            Form::Text(_) => Framing::of(&document.content),
        }
    }

    fn read(&self, document: &Document, framing: Framing) -> Result<Vec<Vec<u32>>> {
        let refuse = |reason: String, remedy: &str| Error::NotOfTheModel {
            name: document.name.clone(),
            reason,
            remedy: remedy.to_owned(),
        };
        match self {
            Form::Images { shape, levels } => {
                if document.content.is_empty() || !document.content.len().is_multiple_of(shape.dims()) {
                    let reason = format!("it has {} bytes, not a number of images", document.content.len());
                    return Err(refuse(reason, "give images of the model's size"));
                }
                let value = |&byte: &u8| {
                    level_of(byte, *levels).ok_or_else(|| {
                        let reason =
                            format!("it holds the value {byte}, and the model knows {levels} values only");
                        refuse(reason, "give images of black (0) and white (255) pixels")
                    })
                };
                let image = |image: &[u8]| image.iter().map(value).collect::<Result<Vec<u32>>>();
                document.content.chunks_exact(shape.dims()).map(image).collect()
            }
            Form::Text(vocabulary) => {
                let tokens = vocabulary.encode(&framing.take_off(&document.content)).map_err(|error| {
                    refuse(error.to_string(), "train a model on bytes, which knows every file")
                })?;
                Ok(streams(&tokens, 1))
            }
            Form::Sound(depth) => {
                let values = samples_of(&document.content).into_iter().flat_map(|sample| depth.split(sample));
                Ok(streams(&values.collect::<Vec<_>>(), depth.values()))
            }
        }
    }

    /// What the model does not know of a document: for each value, which of how many things it stands for.
    fn places(&self, document: &Document) -> Vec<(u32, u32)> {
        match self {
            Form::Images { .. } | Form::Text(_) | Form::Sound(Depth::Bits16) => Vec::new(),
            Form::Sound(Depth::MuLaw) => samples_of(&document.content).into_iter().map(place).collect(),
        }
    }

    /// How many things a value stands for, where that is kept beside.
    fn many(&self, value: u32) -> Option<u32> {
        match self {
            Form::Images { .. } | Form::Text(_) | Form::Sound(Depth::Bits16) => None,
            // A value that is no level comes from a damaged archive, which its checksum will tell.
            Form::Sound(Depth::MuLaw) => {
                Some(if (value as usize) < mu_law::LEVELS { many(value) } else { 1 })
            }
        }
    }

    /// The document that was read as `values`; `places` are those of this and the documents after it.
    fn write(&self, values: &[u32], framing: Framing, places: &mut dyn Iterator<Item = u32>) -> Vec<u8> {
        match self {
            Form::Images { levels, .. } => values.iter().map(|&value| byte_of(value, *levels)).collect(),
            Form::Text(vocabulary) => {
                let known = values.iter().copied().filter(|&value| (value as usize) < vocabulary.len());
                framing.put_back(&vocabulary.decode(&known.collect::<Vec<_>>()))
            }
            Form::Sound(Depth::Bits16) => {
                // A value that is no byte comes from a damaged archive, which its checksum will tell.
                let byte = |value: u32| value.min(255);
                let sample = |two: &[u32]| Depth::Bits16.join(&[byte(two[0]), byte(two[1])]).to_le_bytes();
                values.chunks_exact(2).flat_map(sample).collect()
            }
            Form::Sound(Depth::MuLaw) => {
                let sample = |(&level, place): (&u32, u32)| {
                    let first =
                        if (level as usize) < mu_law::LEVELS { *mu_law::samples(level).start() } else { 0 };
                    first.wrapping_add(place as i16).to_le_bytes()
                };
                values.iter().zip(places).flat_map(sample).collect()
            }
        }
    }
}

/// The place of a sample among those of its level, and how many those are.
fn place(sample: i16) -> (u32, u32) {
    let level = mu_law::level(sample);
    ((i32::from(sample) - i32::from(*mu_law::samples(level).start())) as u32, many(level))
}

fn many(level: u32) -> u32 {
    mu_law::samples(level).count() as u32
}

/// The level that a byte stands for, if it is exactly one of `levels`, spread over 0 to 255.
fn level_of(byte: u8, levels: usize) -> Option<u32> {
    let level = (usize::from(byte) * (levels - 1) + 127) / 255;
    (byte_of(level as u32, levels) == byte).then_some(level as u32)
}

/// The byte of a level: `levels` of them, spread over 0 to 255.
pub(crate) fn byte_of(level: u32, levels: usize) -> u8 {
    ((level as usize * 255 + (levels - 1) / 2) / (levels - 1)) as u8
}

impl Header {
    /// Refuses a model that would compute other laws.
    fn expect_model(&self, trained: &Trained) -> Result<()> {
        let other = |reason: String, remedy: String| Error::ArchiveOfAnotherModel { reason, remedy };
        if self.fingerprint != trained.fingerprint() {
            let reason = format!(
                "it was made with {} weights of `{}` at step {} ({}…), and these are others",
                if self.averaged { "averaged" } else { "trained" },
                self.run,
                self.step,
                self.fingerprint.get(..12).unwrap_or(&self.fingerprint),
            );
            let raw = if self.averaged { "" } else { " --raw" };
            let remedy = format!("give --model {} --step {}{raw}", self.run, self.step);
            return Err(other(reason, remedy));
        }
        if self.instructions != instruction_set() {
            let reason = format!(
                "it was made with {} instructions, and this process computes with {}, which round differently",
                self.instructions,
                instruction_set()
            );
            return Err(other(reason, "open it on a processor of the kind it was made on".into()));
        }
        Ok(())
    }
}

fn damaged(reason: &str) -> Error {
    Error::ArchiveDamaged { reason: reason.to_owned() }
}

impl Archive {
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
        if header.format != FORMAT {
            let reason = format!("it has format {}, and this version reads format {FORMAT}", header.format);
            return Err(damaged(&reason));
        }
        let word = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        Ok(Archive { header, words: words.chunks_exact(4).map(word).collect() })
    }

    /// The archive as bytes: magic, length of the header, header, words, CRC-32C of all before it.
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = serde_json::to_vec(&self.header).map_err(|error| damaged(&error.to_string()))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header);
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_a_byte_of_its_own() {
        for levels in 2..=256 {
            for level in 0..levels as u32 {
                assert_eq!(level_of(byte_of(level, levels), levels), Some(level));
            }
            let known = (0..=255).filter(|&byte| level_of(byte, levels).is_some()).count();
            assert_eq!(known, levels);
        }
    }

    #[test]
    fn a_damaged_archive_is_never_read() {
        let header = Header {
            format: FORMAT,
            model: "m".into(),
            run: "r".into(),
            step: 1,
            averaged: true,
            fingerprint: "f".into(),
            instructions: "portable".into(),
            words: 3,
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

    #[test]
    fn what_is_around_a_text_is_taken_off_and_put_back() {
        let framing = |mark, crlf| Framing { mark, crlf };
        for (content, expected, text) in [
            ("\u{feff}a\r\nb\r\n", framing(true, true), "a\nb\n"),
            ("a\r\nb\n", framing(false, false), "a\r\nb\n"),
            ("a\r\r\n", framing(false, false), "a\r\r\n"),
            ("\r\n", framing(false, true), "\n"),
            ("\u{feff}", framing(true, false), ""),
            ("", framing(false, false), ""),
        ] {
            let found = Framing::of(content.as_bytes());
            assert_eq!(found, expected, "{content:?}");
            let taken = found.take_off(content.as_bytes());
            assert_eq!(taken, text.as_bytes(), "{content:?}");
            assert_eq!(found.put_back(&taken), content.as_bytes());
        }
    }

    #[test]
    fn runs_tell_lengths() {
        assert_eq!(runs([3, 3, 1].into_iter()), [(2, 3), (1, 1)]);
    }
}
