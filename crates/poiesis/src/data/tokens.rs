//! Data as sequences of tokens: characters of text, levels of sound, the values of an image row by row.
//!
//! Documents (texts, clips, images) are concatenated. Where there are several, each begins with a start token, which
//! depends on its class where the data have classes. So a model learns where documents end, and can generate one of a
//! given class. Where some documents for training have a class and others have none, those without one begin with a
//! token of their own.

use std::ops::Range;
use std::sync::Arc;

use poiesis_collect::{Stream, View};

use super::SampleFormat;

/// The alphabet of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenShape {
    /// Number of tokens for values: characters, levels of sound, levels of a pixel; numbered from 0.
    pub values: usize,
    /// Number of start tokens: one for each class, or one without classes, numbered after the values, then that of documents
    /// without a class, if there is one. 0 for a single document without a start token.
    pub beginnings: usize,
    /// Values in each document, where all have the same number.
    pub length: Option<usize>,
    /// Whether the last start token is that of documents without a class, beside those of classes.
    pub unlabelled: bool,
}

impl TokenShape {
    /// How many different tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.values + self.beginnings
    }

    /// How many start tokens are those of classes; 1 where documents begin and there are no classes.
    pub fn classes(&self) -> usize {
        self.beginnings - usize::from(self.unlabelled)
    }

    /// The level of a value of an image, of 256 levels that are reduced to those of the alphabet.
    pub(crate) fn level(&self, byte: u8) -> u32 {
        u32::from(byte) * self.values as u32 / 256
    }

    /// The start token of a document of `class`, or of one without a class. Where those have none of their own, it is the first:
    /// the only one without classes, otherwise that of the first class.
    ///
    /// # Panics
    ///
    /// When there is no such class.
    pub fn beginning(&self, class: Option<u32>) -> Option<u32> {
        let place = match class {
            None if self.unlabelled => self.beginnings - 1,
            None => 0,
            Some(class) => {
                assert!((class as usize) < self.classes().max(1), "class {class} of {}", self.classes());
                class as usize
            }
        };
        (self.beginnings > 0).then_some((self.values + place) as u32)
    }
}

/// A split read as one sequence of tokens, start tokens included.
#[derive(Clone)]
pub struct Tokens {
    source: Source,
    shape: TokenShape,
}

#[derive(Clone)]
enum Source {
    /// Values of all documents, where each starts, and their classes if they have any.
    Memory { values: Arc<Vec<u32>>, starts: Arc<Vec<u64>>, classes: Option<Arc<Vec<Option<u32>>>> },
    /// Images, each a document.
    Images(View),
    /// Texts.
    Text(Stream),
    /// Clips of sound, with the samples of a frame interleaved.
    Sound { stream: Stream, channels: u64 },
}

impl Tokens {
    /// Documents given as values, with the class of each if there are classes.
    ///
    /// # Panics
    ///
    /// When a value is not below `shape.values`, or there are several documents without start tokens.
    pub fn of_documents(
        documents: &[Vec<u32>],
        classes: Option<Vec<Option<u32>>>,
        shape: TokenShape,
    ) -> Tokens {
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

    /// Images read row by row, with the channels of a pixel next to each other. The 256 levels are reduced to those of
    /// `shape`; with two levels, the upper half becomes 1.
    pub fn of_images(view: View, shape: TokenShape) -> Tokens {
        Tokens { source: Source::Images(view), shape }
    }

    /// Texts.
    pub fn of_text(stream: Stream, shape: TokenShape) -> Tokens {
        Tokens { source: Source::Text(stream), shape }
    }

    /// Clips of sound, as levels of the format with the values of `shape`, with the channels of a frame interleaved.
    pub fn of_sound(stream: Stream, channels: u16, shape: TokenShape) -> Tokens {
        Tokens { source: Source::Sound { stream, channels: u64::from(channels) }, shape }
    }

    /// Their alphabet.
    pub fn shape(&self) -> TokenShape {
        self.shape
    }

    /// The number of tokens, start tokens included.
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

    /// The positions of document `index` among the tokens, its start token included.
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
            // The values of document `index` come after the start tokens of all documents up to and including this one.
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

    /// The class of document `index`, if it has one.
    pub fn class(&self, index: usize) -> Option<u32> {
        match &self.source {
            Source::Memory { classes, .. } => classes.as_ref().and_then(|classes| classes[index]),
            Source::Images(view) => view.label(index),
            Source::Text(stream) | Source::Sound { stream, .. } => stream.label(index),
        }
    }

    fn read_values(&self, places: Range<u64>) -> Vec<u32> {
        match &self.source {
            Source::Memory { values, .. } => values[places.start as usize..places.end as usize].to_vec(),
            Source::Images(view) => {
                let length = self.shape.length.unwrap_or(1);
                let value = |place: u64| {
                    let place = place as usize;
                    self.shape.level(view.image(place / length)[place % length])
                };
                places.map(value).collect()
            }
            Source::Text(stream) => stream.tokens(places),
            Source::Sound { stream, channels } => {
                let frames = places.start / channels..places.end.div_ceil(*channels);
                let skipped = (places.start - frames.start * channels) as usize;
                let samples = stream.samples(frames);
                let wanted = &samples[skipped..skipped + (places.end - places.start) as usize];
                let format = SampleFormat::of(self.shape.values);
                wanted.iter().map(|&sample| format.level(sample)).collect()
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::data) fn three_documents() -> Tokens {
        let shape = TokenShape { values: 10, beginnings: 2, length: None, unlabelled: false };
        let classes = vec![Some(0), Some(1), Some(1)];
        Tokens::of_documents(&[vec![1, 2], vec![], vec![3, 4, 5]], Some(classes), shape)
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
    fn a_document_without_a_class_is_of_none() {
        let shape = TokenShape { values: 10, beginnings: 3, length: None, unlabelled: true };
        assert_eq!((shape.classes(), shape.vocabulary()), (2, 13));
        assert_eq!(
            [Some(0), Some(1), None].map(|class| shape.beginning(class)),
            [Some(10), Some(11), Some(12)]
        );
        let documents = [vec![1, 2], vec![3], vec![4], vec![]];
        let tokens = Tokens::of_documents(&documents, Some(vec![None, Some(0), Some(1), None]), shape);
        let all = [12, 1, 2, 10, 3, 11, 4, 12];
        for start in 0..8 {
            assert_eq!(tokens.read(start..8), all[start as usize..], "{start}");
        }
        assert_eq!((0..4).map(|i| tokens.document(i)).collect::<Vec<_>>(), [0..3, 3..5, 5..7, 7..8]);
    }

    #[test]
    fn runs_without_a_token_for_no_class_read_as_they_did() {
        let shape = TokenShape { values: 10, beginnings: 2, length: None, unlabelled: false };
        assert_eq!([None, Some(1)].map(|class| shape.beginning(class)), [Some(10), Some(11)]);
        let one_text = TokenShape { beginnings: 0, ..shape };
        assert_eq!(one_text.beginning(None), None);
    }

    #[test]
    #[should_panic(expected = "class 2 of 2")]
    fn the_token_for_no_class_is_that_of_no_number() {
        TokenShape { values: 10, beginnings: 3, length: None, unlabelled: true }.beginning(Some(2));
    }
}
