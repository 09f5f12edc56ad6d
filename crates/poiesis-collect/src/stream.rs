//! Streams: text and sound of a split as one long sequence of elements, cut into documents (clips). A document can
//! continue in the next shard, so it can be larger than a shard.
//!
//! A shard holds `tokens` (u8, u16 or u32, `[n]`) or `samples` (i16, `[n, channels]`), then `starts` (u64), the offsets
//! in the shard at which documents begin, and `labels` (u32) of these documents where there are classes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::tensor::Dtype;

use crate::card::{Card, Kind, ShardCard};
use crate::error::{Error, Result};
use crate::shard::{NO_LABEL, Tensors, check_labels, create_shard, finish_shard, open_shard};
use crate::split::Split;

/// What all shards of a stream have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamLayout {
    pub(crate) kind: Kind,
    /// Samples in a frame of sound; 1 for text.
    pub(crate) channels: usize,
    /// Bytes of a token or sample.
    pub(crate) width: usize,
    pub(crate) labelled: bool,
}

impl StreamLayout {
    /// The layout that a card promises, for kinds that are streams.
    pub(crate) fn of(card: &Card) -> Option<StreamLayout> {
        let labelled = !card.classes.is_empty();
        let (channels, width) = match card.kind {
            Kind::Text => (1, card.text.as_ref()?.vocabulary.token_bytes()),
            Kind::Sound => (usize::from(card.sound.as_ref()?.channels), 2),
            Kind::Images | Kind::Points | Kind::Experience => return None,
        };
        Some(StreamLayout { kind: card.kind, channels, width, labelled })
    }

    /// Bytes of one element: a token, or a frame of samples.
    pub(crate) fn element_bytes(&self) -> usize {
        self.channels * self.width
    }

    /// Bytes that a document takes in addition to its elements.
    fn document_bytes(&self) -> usize {
        8 + if self.labelled { 4 } else { 0 }
    }

    /// The tensors of a shard, in the order in which they lie in the file.
    fn tensors(&self, elements: u64, documents: usize) -> Tensors {
        let mut tensors = Tensors::default();
        let elements = elements as usize;
        match (self.kind, self.width) {
            (Kind::Sound, _) => tensors.push("samples", Dtype::I16, vec![elements, self.channels]),
            (_, 1) => tensors.push("tokens", Dtype::U8, vec![elements]),
            (_, 2) => tensors.push("tokens", Dtype::U16, vec![elements]),
            _ => tensors.push("tokens", Dtype::U32, vec![elements]),
        }
        tensors.push("starts", Dtype::U64, vec![documents]);
        if self.labelled {
            tensors.push("labels", Dtype::U32, vec![documents]);
        }
        tensors
    }
}

/// Writes the stream of one split, beginning a new shard whenever one is full.
pub(crate) struct StreamWriter {
    folder: PathBuf,
    split: Split,
    layout: StreamLayout,
    shard_bytes: u64,
    current: Option<ShardWriter>,
    finished: Vec<ShardCard>,
}

impl StreamWriter {
    pub(crate) fn new(folder: &Path, split: Split, layout: &StreamLayout, shard_bytes: u64) -> Self {
        let (folder, layout) = (folder.to_owned(), layout.clone());
        Self { folder, split, layout, shard_bytes, current: None, finished: Vec::new() }
    }

    /// Begins a document. At least one element must follow before the next begins.
    pub(crate) fn begin(&mut self, label: Option<u32>) -> Result<()> {
        // A document begins in the shard that holds its first element.
        let full = |shard: &ShardWriter| shard.elements > 0 && shard.room(1, self.shard_bytes) == 0;
        if self.current.as_ref().is_some_and(full) {
            self.end_shard()?;
        }
        self.shard()?.begin(label.unwrap_or(NO_LABEL));
        Ok(())
    }

    /// Appends elements, as bytes, to the document that was begun last.
    pub(crate) fn push(&mut self, mut elements: &[u8]) -> Result<()> {
        let element = self.layout.element_bytes();
        assert_eq!(elements.len() % element, 0, "{} bytes are not whole elements", elements.len());
        while !elements.is_empty() {
            let shard_bytes = self.shard_bytes;
            // A shard that holds nothing but the start of this document takes at least one element.
            let shard = self.shard()?;
            let least = usize::from(shard.elements == 0);
            let room = shard.room(0, shard_bytes).max(least);
            if room == 0 {
                self.end_shard()?;
                continue;
            }
            let (now, later) = elements.split_at(elements.len().min(room * element));
            shard.push(now)?;
            elements = later;
        }
        Ok(())
    }

    /// Completes the last shard and returns the list of all.
    pub(crate) fn finish(mut self) -> Result<Vec<ShardCard>> {
        self.end_shard()?;
        Ok(self.finished)
    }

    /// Gives all that was written so far, and all that follows, to another split.
    pub(crate) fn rename(&mut self, split: Split) -> Result<()> {
        self.end_shard()?;
        self.split = split;
        crate::shard::rename(&self.folder, &mut self.finished, split)
    }

    fn shard(&mut self) -> Result<&mut ShardWriter> {
        match &mut self.current {
            Some(shard) => Ok(shard),
            none => {
                let name = crate::shard::shard_name(self.split, self.finished.len());
                Ok(none.insert(ShardWriter::create(&self.folder, name, &self.layout)?))
            }
        }
    }

    fn end_shard(&mut self) -> Result<()> {
        if let Some(shard) = self.current.take() {
            self.finished.push(shard.finish()?);
        }
        Ok(())
    }
}

struct ShardWriter {
    path: PathBuf,
    name: String,
    file: BufWriter<File>,
    layout: StreamLayout,
    elements: u64,
    documents: usize,
    starts: Vec<u8>,
    labels: Vec<u8>,
}

impl ShardWriter {
    fn create(folder: &Path, name: String, layout: &StreamLayout) -> Result<Self> {
        let path = folder.join(&name);
        let file = create_shard(&path)?;
        let (starts, labels) = (Vec::new(), Vec::new());
        Ok(Self { path, name, file, layout: layout.clone(), elements: 0, documents: 0, starts, labels })
    }

    /// How many more elements fit after this many more documents have begun. Starts count too, so that they are
    /// bounded in memory.
    fn room(&self, documents: usize, shard_bytes: u64) -> usize {
        let element = self.layout.element_bytes() as u64;
        let starts = (self.documents + documents) * self.layout.document_bytes();
        let used = self.elements * element + starts as u64;
        (shard_bytes.saturating_sub(used) / element) as usize
    }

    fn begin(&mut self, label: u32) {
        self.documents += 1;
        self.starts.extend(self.elements.to_le_bytes());
        if self.layout.labelled {
            self.labels.extend(label.to_le_bytes());
        }
    }

    fn push(&mut self, elements: &[u8]) -> Result<()> {
        self.file.write_all(elements).map_err(|e| Error::write(&self.path, e))?;
        self.elements += (elements.len() / self.layout.element_bytes()) as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<ShardCard> {
        let tensors = self.layout.tensors(self.elements, self.documents);
        let bytes = finish_shard(&mut self.file, tensors, &[&self.starts, &self.labels])
            .map_err(|e| Error::write(&self.path, e))?;
        Ok(ShardCard { file: self.name, count: self.documents, elements: self.elements, bytes })
    }
}

/// A shard of a stream opened for reading.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
    elements: Range<usize>,
    starts: Range<usize>,
    labels: Option<Range<usize>>,
    /// Position of its first element in the stream.
    first: u64,
    /// Documents that begin in earlier shards.
    documents_before: usize,
    documents: usize,
}

impl Shard {
    /// The offset in the shard at which a document begins, counted within the shard.
    fn start(&self, document: usize) -> u64 {
        u64::from_le_bytes(array(&self.map[self.starts.clone()], document))
    }
}

/// The number at an index of packed little-endian numbers, as bytes.
fn array<const N: usize>(bytes: &[u8], index: usize) -> [u8; N] {
    std::array::from_fn(|byte| bytes[index * N + byte])
}

/// The stream of one split: elements (tokens, or frames of sound) from 0 up to [`Stream::len`], cut without gaps into
/// [`Stream::documents`]. It is memory-mapped; clones are cheap.
#[derive(Clone, Debug)]
pub struct Stream {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: StreamLayout,
    shards: Vec<Shard>,
    len: u64,
    documents: usize,
    /// Set once all tokens are known to be below a number.
    checked: OnceLock<usize>,
}

impl Stream {
    /// Opens the shards of a split and checks sizes, headers and the order of the documents.
    pub(crate) fn open(
        folder: &Path,
        cards: &[ShardCard],
        layout: &StreamLayout,
        classes: usize,
    ) -> Result<Stream> {
        let (mut shards, mut len, mut documents) = (Vec::new(), 0, 0);
        for card in cards {
            let path = folder.join(&card.file);
            let (map, ranges) = open_shard(&path, card.bytes, &layout.tensors(card.elements, card.count))?;
            let mut ranges = ranges.into_iter();
            let shard = Shard {
                path,
                map,
                elements: ranges.next().unwrap_or_default(),
                starts: ranges.next().unwrap_or_default(),
                labels: ranges.next(),
                first: len,
                documents_before: documents,
                documents: card.count,
            };
            check_starts(&shard, card.elements).map_err(|reason| Error::corrupt(&shard.path, reason))?;
            if let Some(labels) = shard.labels.clone() {
                check_labels(&shard.path, &shard.map[labels], classes)?;
            }
            len += card.elements;
            documents += card.count;
            shards.push(shard);
        }
        let checked = OnceLock::new();
        Ok(Stream { inner: Arc::new(Inner { layout: layout.clone(), shards, len, documents, checked }) })
    }

    /// Number of elements: tokens of text, frames of sound.
    pub fn len(&self) -> u64 {
        self.inner.len
    }

    /// Whether there are none; a split that exists has at least one.
    pub fn is_empty(&self) -> bool {
        self.inner.len == 0
    }

    /// Number of documents or clips.
    pub fn documents(&self) -> usize {
        self.inner.documents
    }

    /// The elements of document `i`; it ends where the next begins.
    ///
    /// # Panics
    ///
    /// When `i` is not below [`Stream::documents`].
    pub fn document(&self, i: usize) -> Range<u64> {
        let end = if i + 1 < self.documents() { self.start(i + 1) } else { self.len() };
        self.start(i)..end
    }

    /// The label of document `i`, an index into [`Card::classes`]; `None` when it has none.
    ///
    /// # Panics
    ///
    /// When `i` is not below [`Stream::documents`].
    pub fn label(&self, i: usize) -> Option<u32> {
        let (shard, document) = self.locate(i);
        let labels = &shard.map[shard.labels.clone()?];
        Some(u32::from_le_bytes(array(labels, document))).filter(|&label| label != NO_LABEL)
    }

    /// The document that holds the element at `position`.
    ///
    /// # Panics
    ///
    /// When `position` is not below [`Stream::len`].
    pub fn document_at(&self, position: u64) -> usize {
        assert!(position < self.len(), "element {position} of a stream of {}", self.len());
        let shard = &self.inner.shards[self.shard_at(position)];
        let offset = position - shard.first;
        let (mut low, mut high) = (0, shard.documents);
        while low < high {
            let middle = low.midpoint(high);
            match shard.start(middle) <= offset {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        // None of this shard means the last of those before.
        shard.documents_before + low - 1
    }

    /// The tokens at these positions.
    ///
    /// # Panics
    ///
    /// When the range ends beyond [`Stream::len`], or the stream is not text.
    pub fn tokens(&self, range: Range<u64>) -> Vec<u32> {
        assert_eq!(self.inner.layout.kind, Kind::Text, "tokens of a stream that is not text");
        let mut tokens = Vec::with_capacity(length(&range));
        self.each_slice(range, |bytes| match self.inner.layout.width {
            1 => tokens.extend(bytes.iter().map(|&token| u32::from(token))),
            2 => tokens.extend(bytes.as_chunks().0.iter().map(|&b| u32::from(u16::from_le_bytes(b)))),
            _ => tokens.extend(bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b))),
        });
        tokens
    }

    /// The samples of the frames at these positions, channels interleaved: `[frames, channels]`, row by row.
    ///
    /// # Panics
    ///
    /// When the range ends beyond [`Stream::len`], or the stream is not sound.
    pub fn samples(&self, range: Range<u64>) -> Vec<i16> {
        assert_eq!(self.inner.layout.kind, Kind::Sound, "samples of a stream that is not sound");
        let mut samples = Vec::with_capacity(length(&range) * self.inner.layout.channels);
        self.each_slice(range, |bytes| {
            samples.extend(bytes.as_chunks().0.iter().map(|&b| i16::from_le_bytes(b)));
        });
        samples
    }

    /// Checks that all tokens are below `vocabulary`, so that what is looked up by them is there. They are read once; clones of the
    /// stream know the result.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] with the file, the position and the token.
    ///
    /// # Panics
    ///
    /// When the stream is not text.
    pub fn check_tokens(&self, vocabulary: usize) -> Result<()> {
        const STEP: u64 = 1 << 20;
        let bits = 8 * self.inner.layout.width as u32;
        let all_fit = vocabulary as u64 >= 1 << bits;
        if all_fit || self.inner.checked.get().is_some_and(|&checked| checked <= vocabulary) {
            return Ok(());
        }
        let outside = |part: u64| {
            let start = part * STEP;
            let tokens = self.tokens(start..self.len().min(start + STEP));
            let found = tokens.iter().position(|&token| token as usize >= vocabulary)?;
            Some((start + found as u64, tokens[found]))
        };
        if let Some((position, token)) =
            (0..self.len().div_ceil(STEP)).into_par_iter().find_map_first(outside)
        {
            let reason = format!("token {position} is {token}, and the vocabulary has {vocabulary}");
            return Err(Error::corrupt(&self.inner.shards[self.shard_at(position)].path, reason));
        }
        // Another thread may have found the same.
        let _ = self.inner.checked.set(vocabulary);
        Ok(())
    }

    /// Calls `visit` with the bytes of these elements, shard by shard.
    pub(crate) fn each_slice(&self, range: Range<u64>, mut visit: impl FnMut(&[u8])) {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "elements {range:?} of a stream of {}",
            self.len()
        );
        let element = self.inner.layout.element_bytes();
        let mut position = range.start;
        let mut shard = if range.is_empty() { 0 } else { self.shard_at(position) };
        while position < range.end {
            let Shard { map, elements, first, .. } = &self.inner.shards[shard];
            let held = (elements.len() / element) as u64;
            let end = range.end.min(first + held);
            let byte = |position: u64| elements.start + (position - first) as usize * element;
            visit(&map[byte(position)..byte(end)]);
            (position, shard) = (end, shard + 1);
        }
    }

    fn start(&self, i: usize) -> u64 {
        let (shard, document) = self.locate(i);
        shard.first + shard.start(document)
    }

    /// The shard in which a document begins, and its number there.
    fn locate(&self, i: usize) -> (&Shard, usize) {
        assert!(i < self.documents(), "document {i} of a stream with {}", self.documents());
        let shard = self.inner.shards.partition_point(|shard| shard.documents_before <= i) - 1;
        let shard = &self.inner.shards[shard];
        (shard, i - shard.documents_before)
    }

    fn shard_at(&self, position: u64) -> usize {
        self.inner.shards.partition_point(|shard| shard.first <= position) - 1
    }
}

fn length(range: &Range<u64>) -> usize {
    range.end.saturating_sub(range.start) as usize
}

/// Documents begin one after another, each with an element, and the first of all at the very beginning.
fn check_starts(shard: &Shard, elements: u64) -> Result<(), String> {
    let mut least = 0;
    for document in 0..shard.documents {
        let start = shard.start(document);
        if start < least || start >= elements {
            return Err(format!("document {document} cannot begin at {start} of {elements}"));
        }
        least = start + 1;
    }
    if shard.first == 0 && (shard.documents == 0 || shard.start(0) != 0) {
        return Err("the first document does not begin at the beginning".to_owned());
    }
    Ok(())
}
