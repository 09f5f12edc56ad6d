//! Data as sequences of tokens: characters of text, levels of sound, the numbers of an image row by row.
//!
//! Documents (texts, clips, images) lie one after another. Where there are several, each begins with a token of its
//! own, which tells its class where the data have classes; so a model learns where documents end and can be asked for
//! one of a class.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_collect::{Stream, View};

use super::Depth;
use crate::error::{Error, Result};
use crate::rng;

/// The alphabet of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenShape {
    /// Tokens that stand for values: characters, levels of sound, levels of a pixel; numbered from 0.
    pub values: usize,
    /// Tokens that begin a document: one for each class, or one without classes, numbered after the values. 0 where all
    /// is one document without a beginning.
    pub beginnings: usize,
    /// Values in each document, where all have the same.
    pub length: Option<usize>,
}

impl TokenShape {
    /// How many different tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.values + self.beginnings
    }

    /// The token that begins a document of `class`; documents without a class begin with the first.
    ///
    /// # Panics
    ///
    /// When there is no such class.
    pub fn beginning(&self, class: Option<u32>) -> Option<u32> {
        let class = class.unwrap_or(0) as usize;
        assert!(class < self.beginnings.max(1), "class {class} of {}", self.beginnings);
        (self.beginnings > 0).then_some((self.values + class) as u32)
    }
}

/// A split read as one sequence of tokens, the beginnings of documents included.
#[derive(Clone)]
pub struct Tokens {
    source: Source,
    shape: TokenShape,
}

#[derive(Clone)]
enum Source {
    /// Values of all documents, where each starts, and their classes if they have any.
    Memory { values: Arc<Vec<u32>>, starts: Arc<Vec<u64>>, classes: Option<Arc<Vec<u32>>> },
    /// Images, each a document.
    Images(View),
    /// Texts.
    Text(Stream),
    /// Clips of sound; samples of a frame follow one another.
    Sound { stream: Stream, channels: u64 },
}

impl Tokens {
    /// Documents given as values, with their classes if they have any.
    ///
    /// # Panics
    ///
    /// When a value is not below `shape.values`, or there are several documents without beginnings.
    pub fn of_documents(documents: &[Vec<u32>], classes: Option<Vec<u32>>, shape: TokenShape) -> Tokens {
        let values = documents.concat();
        assert!(values.iter().all(|&value| (value as usize) < shape.values), "a value outside of {shape:?}");
        assert!(shape.beginnings > 0 || documents.len() == 1, "several documents need beginnings");
        let starts = documents.iter().scan(0, |end, document| {
            let start = *end;
            *end += document.len() as u64;
            Some(start)
        });
        let starts = Arc::new(starts.collect());
        let source = Source::Memory { values: Arc::new(values), starts, classes: classes.map(Arc::new) };
        Tokens { source, shape }
    }

    /// Images read row by row, the channels of a pixel one after another; 256 levels are cut to those of `shape`, so with
    /// two the upper half is 1.
    pub fn of_images(view: View, shape: TokenShape) -> Tokens {
        Tokens { source: Source::Images(view), shape }
    }

    /// Texts.
    pub fn of_text(stream: Stream, shape: TokenShape) -> Tokens {
        Tokens { source: Source::Text(stream), shape }
    }

    /// Clips of sound, as levels of the depth that has the values of `shape`, the channels of a frame one after another.
    pub fn of_sound(stream: Stream, channels: u16, shape: TokenShape) -> Tokens {
        Tokens { source: Source::Sound { stream, channels: u64::from(channels) }, shape }
    }

    /// Their alphabet.
    pub fn shape(&self) -> TokenShape {
        self.shape
    }

    /// How many tokens there are, beginnings included.
    pub fn len(&self) -> u64 {
        self.values() + if self.shape.beginnings > 0 { self.documents() as u64 } else { 0 }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        match &self.source {
            Source::Memory { starts, .. } => starts.len(),
            Source::Images(view) => view.len(),
            Source::Text(stream) | Source::Sound { stream, .. } => stream.documents(),
        }
    }

    /// How many values there are in all documents.
    fn values(&self) -> u64 {
        match &self.source {
            Source::Memory { values, .. } => values.len() as u64,
            Source::Images(view) => (view.len() * self.shape.length.unwrap_or(0)) as u64,
            Source::Text(stream) => stream.len(),
            Source::Sound { stream, channels } => stream.len() * channels,
        }
    }

    /// The places of document `index` among the tokens, its beginning included.
    pub fn document(&self, index: usize) -> Range<u64> {
        let extra = u64::from(self.shape.beginnings > 0);
        let start = |index: usize| {
            let values = if index == self.documents() { self.values() } else { self.start(index) };
            values + index as u64 * extra
        };
        start(index)..start(index + 1)
    }

    /// Where the values of document `index` start among the values.
    fn start(&self, index: usize) -> u64 {
        match &self.source {
            Source::Memory { starts, .. } => starts[index],
            Source::Images(_) => (index * self.shape.length.unwrap_or(0)) as u64,
            Source::Text(stream) => stream.document(index).start,
            Source::Sound { stream, channels } => stream.document(index).start * channels,
        }
    }

    /// The tokens at `places`.
    ///
    /// # Panics
    ///
    /// When the places are not all below [`Tokens::len`].
    pub fn read(&self, places: Range<u64>) -> Vec<u32> {
        assert!(places.end <= self.len(), "tokens {places:?} of {}", self.len());
        if self.shape.beginnings == 0 {
            return self.read_values(places);
        }
        let mut tokens = Vec::with_capacity((places.end - places.start) as usize);
        let mut index = self.document_at(places.start);
        let mut place = places.start;
        while place < places.end {
            let document = self.document(index);
            if place == document.start {
                tokens.extend(self.shape.beginning(self.class(index)));
                place += 1;
            }
            // Before the values of document `index` lie as many beginnings as documents, its own included.
            let end = document.end.min(places.end);
            let before = index as u64 + 1;
            if place < end {
                tokens.extend(self.read_values(place - before..end - before));
            }
            (place, index) = (end, index + 1);
        }
        tokens
    }

    /// The document that the token at `place` belongs to.
    fn document_at(&self, place: u64) -> usize {
        let (mut low, mut high) = (0, self.documents());
        while low + 1 < high {
            let middle = (low + high) / 2;
            if self.document(middle).start <= place { low = middle } else { high = middle }
        }
        low
    }

    fn class(&self, index: usize) -> Option<u32> {
        match &self.source {
            Source::Memory { classes, .. } => classes.as_ref().map(|classes| classes[index]),
            Source::Images(view) => view.label(index),
            Source::Text(stream) | Source::Sound { stream, .. } => stream.label(index),
        }
    }

    fn read_values(&self, places: Range<u64>) -> Vec<u32> {
        match &self.source {
            Source::Memory { values, .. } => values[places.start as usize..places.end as usize].to_vec(),
            Source::Images(view) => {
                let length = self.shape.length.unwrap_or(1);
                let level = |byte: u8| u32::from(byte) * self.shape.values as u32 / 256;
                let value = |place: u64| {
                    let place = place as usize;
                    level(view.image(place / length)[place % length])
                };
                places.map(value).collect()
            }
            Source::Text(stream) => stream.tokens(places),
            Source::Sound { stream, channels } => {
                let frames = places.start / channels..places.end.div_ceil(*channels);
                let skipped = (places.start - frames.start * channels) as usize;
                let samples = stream.samples(frames);
                let wanted = &samples[skipped..skipped + (places.end - places.start) as usize];
                let depth = Depth::of(self.shape.values);
                wanted.iter().map(|&sample| depth.level(sample)).collect()
            }
        }
    }
}

/// Windows of a split in the order of their use, computed and not stored, so that the windows of a step are known
/// without those of the steps before.
#[derive(Clone)]
pub struct Windows {
    tokens: Tokens,
    batch_size: usize,
    context: usize,
    seed: u64,
    device: Device,
}

impl Windows {
    /// Prepares batches of `batch_size` windows of `context` tokens and the one that follows them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when there are fewer tokens than a window has.
    pub fn new(
        tokens: Tokens,
        batch_size: usize,
        context: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Windows> {
        if tokens.len() <= context as u64 {
            return Err(Error::InvalidValue {
                key: "data.source".into(),
                value: format!("{} tokens for training", tokens.len()),
                reason: format!("a window of {context} tokens and the next one does not fit"),
                remedy: "give more data, or a smaller context".into(),
            });
        }
        Ok(Windows { tokens, batch_size, context, seed, device: device.clone() })
    }

    /// Windows in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Tokens of a window that have one after them.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The alphabet.
    pub fn shape(&self) -> TokenShape {
        self.tokens.shape
    }

    /// The windows of step `step`, `[batch, context + 1]`: whole documents in permuted order where each fills a window,
    /// else from places drawn uniformly.
    pub fn random(&self, step: u64) -> Tensor<2, Int> {
        let width = self.context as u64 + 1;
        if self.tokens.shape.length == Some(self.context) && self.tokens.shape.beginnings > 0 {
            let len = self.tokens.documents() as u64;
            let first = step * self.batch_size as u64;
            let document = |place: u64| rng::permute(self.seed, place / len, place % len, len) * width;
            return self.gather((first..first + self.batch_size as u64).map(document));
        }
        let mut generator = rng::generator(self.seed, "window", step);
        let places = self.tokens.len() - width + 1;
        let starts: Vec<u64> = (0..self.batch_size).map(|_| rng::below(&mut generator, places)).collect();
        self.gather(starts.into_iter())
    }

    /// The windows of step `step` when the sequence is cut into as many streams as a batch has rows and each step goes
    /// on where the last one ended: `[batch, context + 1]`, and whether the streams begin anew, which they do once in
    /// [`Windows::steps_of_streams`].
    pub fn consecutive(&self, step: u64) -> (Tensor<2, Int>, bool) {
        let stream = (self.tokens.len() - 1) / self.batch_size as u64;
        let within = step % self.steps_of_streams();
        let start = |row: u64| row * stream + within * self.context as u64;
        (self.gather((0..self.batch_size as u64).map(start)), within == 0)
    }

    /// Steps until every stream is read to its end; at least one.
    pub fn steps_of_streams(&self) -> u64 {
        let stream = (self.tokens.len() - 1) / self.batch_size as u64;
        (stream / self.context as u64).max(1)
    }

    fn gather(&self, starts: impl Iterator<Item = u64>) -> Tensor<2, Int> {
        let width = self.context as u64 + 1;
        let last = self.tokens.len() - width;
        let tokens: Vec<i32> = starts
            .flat_map(|start| self.tokens.read(start.min(last)..start.min(last) + width))
            .map(|token| token as i32)
            .collect();
        let rows = tokens.len() / width as usize;
        Tensor::from_data(TensorData::new(tokens, [rows, width as usize]), &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_documents() -> Tokens {
        let shape = TokenShape { values: 10, beginnings: 2, length: None };
        Tokens::of_documents(&[vec![1, 2], vec![], vec![3, 4, 5]], Some(vec![0, 1, 1]), shape)
    }

    #[test]
    fn every_document_begins_with_the_token_of_its_class() {
        let tokens = three_documents();
        let all = [10, 1, 2, 11, 11, 3, 4, 5];
        assert_eq!(tokens.len(), 8);
        for start in 0..8 {
            for end in start..=8 {
                assert_eq!(tokens.read(start..end), all[start as usize..end as usize], "{start}..{end}");
            }
        }
        assert_eq!((0..3).map(|i| tokens.document(i)).collect::<Vec<_>>(), [0..3, 3..4, 4..8]);
    }

    #[test]
    fn windows_are_functions_of_the_step_and_fit() {
        let device = Device::flex();
        let windows = Windows::new(three_documents(), 4, 3, 7, &device).unwrap();
        let read = |step| windows.random(step).into_data().iter::<i32>().collect::<Vec<_>>();
        assert_eq!(read(3), read(3));
        assert_ne!(read(3), read(4));
        assert_eq!(read(0).len(), 4 * 4);
        assert!(Windows::new(three_documents(), 4, 8, 7, &device).is_err());
    }

    #[test]
    fn streams_go_on_where_they_ended() {
        let shape = TokenShape { values: 100, beginnings: 0, length: None };
        let tokens = Tokens::of_documents(&[(0..21).collect()], None, shape);
        let windows = Windows::new(tokens, 2, 5, 0, &Device::flex()).unwrap();
        let read = |step| {
            let (tokens, begins) = windows.consecutive(step);
            (tokens.into_data().iter::<i32>().collect::<Vec<_>>(), begins)
        };
        assert_eq!(read(0), (vec![0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15], true));
        assert_eq!(read(1), (vec![5, 6, 7, 8, 9, 10, 15, 16, 17, 18, 19, 20], false));
        assert_eq!(read(2), read(0));
    }
}
