//! Collects text. The source is read two times, three for BPE: a survey checks every text, counts characters and
//! decides the splits; BPE is learned from the train split; then the tokens are written. Only a byte for each
//! document stays in memory in between.

mod documents;
mod learn;
mod read;
mod survey;

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};

use crate::bpe::{Bpe, whole_pieces};
use crate::card::{Kind, TextCard};
use crate::error::{Error, Result};
use crate::options::{Options, VocabularyKind};
use crate::pack::{About, Collected};
use crate::progress::Progress;
use crate::source::{Item, Source, each_batch};
use crate::split::{Moved, Split};
use crate::stream::StreamLayout;
use crate::stream_pack::StreamPacker;
use crate::vocabulary::Vocabulary;
pub use documents::read_texts;
use learn::owned_pieces;
use read::{Changes, Pass, Place, Reading, TEXT_FIELD, read_item};
use survey::{Division, Survey};

/// Up to this many distinct characters, characters are the vocabulary unless another is asked for.
const FEW_CHARACTERS: usize = 1024;
/// Tokens of a BPE vocabulary unless another number is asked for.
const VOCABULARY_SIZE: u32 = 4096;
/// How much of the train split a BPE vocabulary is learned from, in bytes, so that its counts fit in memory.
const LEARNED_FROM: u64 = 256 << 20;
/// How much text is encoded at a time, in bytes.
const AT_A_TIME: usize = 1 << 20;

/// Collects a source of text into an empty folder.
pub(crate) fn collect_text(
    path: &Path,
    source: &mut dyn Source,
    folder: &Path,
    options: &Options,
    // The survey knows the splits before anything is written.
    _moved: Option<Moved>,
    report: &(dyn Fn(Progress) + Sync),
) -> Result<Collected> {
    let collector = Collector { path, options, report };
    let mut survey = Survey::new(source.plan(), options);
    let mut changes = Changes::default();
    collector.pass(source, &mut survey, &mut changes)?;
    let mut progress = Progress { skipped: survey.skipped.count, ..Progress::default() };
    if survey.splits.is_empty() {
        return Err(match survey.skipped.count {
            0 => Error::malformed(path, "it holds no text that is not empty"),
            _ => changes.instead(source.plan().nothing_usable(path, Kind::Text, survey.skipped)),
        });
    }
    let mut notes = source.plan().notes.clone();
    let division = survey.division(options);
    notes.extend(change_notes(&changes, &survey));
    let vocabulary = collector.vocabulary(source, &survey, &division, &mut notes)?;
    let labelled = !source.plan().classes.is_empty();
    let layout = StreamLayout { kind: Kind::Text, channels: 1, width: vocabulary.token_bytes(), labelled };
    let packer = StreamPacker::new(folder, layout, source.plan().classes.len(), options)?;
    let mut writer = Writer::new(&vocabulary, &survey, &division, packer);
    collector.pass(source, &mut writer, &mut Changes::default())?;
    progress.done = writer.documents.next as u64;
    progress.bytes = writer.bytes;
    let skipped = survey.skipped.clone();
    let about = About { skipped, notes, ..About::new(path, source.plan(), options) };
    let packer = writer.packer;
    let text = TextCard { vocabulary: vocabulary.clone(), lines: options.lines };
    let card = packer.finish(about, division.split_by, Some(text), None)?;
    Ok(Collected::Done(Box::new(card), progress))
}

/// What all passes over a source share.
struct Collector<'a> {
    path: &'a Path,
    options: &'a Options,
    report: &'a (dyn Fn(Progress) + Sync),
}

impl Collector<'_> {
    /// Runs one pass over all texts.
    fn pass(&self, source: &mut dyn Source, pass: &mut dyn Counted, changes: &mut Changes) -> Result<()> {
        let reading = Reading {
            lines: self.options.lines,
            longest_record: self.options.limits.file_bytes,
            field: self.options.text_field.as_deref().unwrap_or(TEXT_FIELD),
        };
        each_batch(source, |batches: &Receiver<Vec<Item>>| {
            for item in batches.iter().flatten() {
                let mut reported = Reported { pass: &mut *pass, report: self.report, read: 0 };
                read_item(item, reading, changes, &mut reported)?;
                (self.report)(pass.progress());
            }
            Ok(())
        })
    }

    /// Chooses or learns the vocabulary.
    fn vocabulary(
        &self,
        source: &mut dyn Source,
        survey: &Survey,
        division: &Division,
        notes: &mut Vec<String>,
    ) -> Result<Vocabulary> {
        let characters = survey.characters.all();
        let distinct = characters.len();
        let kind = self.options.vocabulary.unwrap_or_else(|| {
            let (kind, chosen) = match distinct <= FEW_CHARACTERS {
                true => (VocabularyKind::Characters, "these are the vocabulary"),
                false => (VocabularyKind::Bytes, "the vocabulary is the 256 bytes"),
            };
            notes.push(format!("{distinct} distinct characters occur: {chosen}"));
            kind
        });
        Ok(match kind {
            VocabularyKind::Bytes => Vocabulary::Bytes,
            VocabularyKind::Characters => Vocabulary::Characters { characters },
            VocabularyKind::Bpe => Vocabulary::Bpe(self.learn(source, survey, division, notes)?),
        })
    }

    /// Learns BPE from the train split, on a thread that counts while this one reads.
    fn learn(
        &self,
        source: &mut dyn Source,
        survey: &Survey,
        division: &Division,
        notes: &mut Vec<String>,
    ) -> Result<Bpe> {
        let size = self.options.vocabulary_size.unwrap_or(VOCABULARY_SIZE);
        let (sender, receiver) = learn::channel();
        let mut learner = Learner::new(survey, division, sender);
        let learned = std::thread::scope(|scope| {
            let learned = scope.spawn(move || learn::learn(&receiver, size));
            let passed = self.pass(source, &mut learner, &mut Changes::default());
            let whole = learner.sent <= LEARNED_FROM;
            drop(learner);
            match learned.join() {
                Ok(learned) => passed.map(|()| (learned, whole)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })?;
        let (learned, whole) = learned;
        let bpe = learned.map_err(|reason| Error::Vocabulary { path: self.path.to_owned(), reason })?;
        if !whole {
            notes.push(format!("the vocabulary was learned from the first {} MiB", LEARNED_FROM >> 20));
        }
        let found = Vocabulary::Bpe(bpe.clone()).len();
        if found < size as usize {
            notes.push(format!("the text is worth {found} tokens, fewer than the {size} asked for"));
        }
        Ok(bpe)
    }
}

/// A pass that counts its progress.
trait Counted: Pass {
    fn progress(&self) -> Progress;
}

/// A pass that reports its progress within a text too, because a source may be a single large one.
struct Reported<'a> {
    pass: &'a mut dyn Counted,
    report: &'a (dyn Fn(Progress) + Sync),
    /// Bytes read since the last report.
    read: usize,
}

impl Pass for Reported<'_> {
    fn begin(&mut self, place: Place) -> bool {
        self.pass.begin(place)
    }

    fn piece(&mut self, text: &str) -> Result<()> {
        const PAUSE: usize = 8 << 20;
        self.read += text.len();
        if self.read >= PAUSE {
            self.read = 0;
            (self.report)(self.pass.progress());
        }
        self.pass.piece(text)
    }

    fn end_document(&mut self) -> Result<()> {
        self.pass.end_document()
    }

    fn empty_document(&mut self) {
        self.pass.empty_document();
    }

    fn end(&mut self, fault: Option<(String, String)>) -> Result<()> {
        self.pass.end(fault)
    }
}

fn change_notes(changes: &Changes, survey: &Survey) -> Vec<String> {
    let Changes { marks, line_ends, .. } = *changes;
    let note = |count: u64, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    [
        note(marks, "byte order mark was removed", "byte order marks were removed"),
        note(line_ends, "line end CRLF was made LF", "line ends CRLF were made LF"),
        note(survey.empty, "empty document was left out", "empty documents were left out"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Follows the survey through the same source: which texts to read, and where each document belongs.
struct Documents<'a> {
    survey: &'a Survey,
    cut: Option<u64>,
    /// The next text, and the document that is being read or comes next.
    text: usize,
    next: usize,
    /// Characters of the document that have gone by, counted where it is to be cut.
    gone: u64,
    place: Place,
}

impl<'a> Documents<'a> {
    fn new(survey: &'a Survey, division: &Division) -> Documents<'a> {
        let place = Place::default();
        Documents { survey, cut: division.cut, text: 0, next: 0, gone: 0, place }
    }

    fn begin(&mut self, place: Place) -> bool {
        self.place = place;
        self.text += 1;
        self.survey.usable.get(self.text - 1).copied().unwrap_or(false)
    }

    /// Cuts a piece into parts, each with its split: two where the division of a single document lies within it.
    fn parts<'t>(&mut self, text: &'t str) -> [(Split, &'t str); 2] {
        // More documents than before go with the train split; `end` notices that something has changed.
        let split = self.survey.splits.get(self.next).copied().unwrap_or(Split::Train);
        let Some(cut) = self.cut else { return [(split, text), (split, "")] };
        let left = cut.saturating_sub(self.gone);
        self.gone += text.chars().count() as u64;
        let at = text.char_indices().nth(left as usize).map_or(text.len(), |(at, _)| at);
        [(Split::Train, &text[..at]), (Split::Validation, &text[at..])]
    }

    fn end_document(&mut self) {
        self.next += 1;
    }

    /// A text that was good before must still be.
    fn end(&self, fault: Option<(String, String)>) -> Result<()> {
        let usable = self.survey.usable.get(self.text - 1).copied().unwrap_or(false);
        match fault {
            Some((name, reason)) if usable => {
                let reason = format!("it changed while it was collected: {reason}");
                Err(Error::malformed(Path::new(&name), reason))
            }
            _ => Ok(()),
        }
    }
}

/// The second pass: sends the train split to the thread that learns the vocabulary.
struct Learner<'a> {
    documents: Documents<'a>,
    sender: SyncSender<Vec<String>>,
    buffer: String,
    sent: u64,
}

impl<'a> Learner<'a> {
    fn new(survey: &'a Survey, division: &Division, sender: SyncSender<Vec<String>>) -> Learner<'a> {
        Learner { documents: Documents::new(survey, division), sender, buffer: String::new(), sent: 0 }
    }

    fn send(&mut self, length: usize) {
        let later = self.buffer.split_off(length);
        let now = std::mem::replace(&mut self.buffer, later);
        if self.sent <= LEARNED_FROM && !now.is_empty() {
            self.sent += now.len() as u64;
            // The receiver is gone only if learning has failed, which is reported there.
            let _ = self.sender.send(owned_pieces(&now));
        }
    }
}

impl Pass for Learner<'_> {
    fn begin(&mut self, place: Place) -> bool {
        self.documents.begin(place) && self.sent <= LEARNED_FROM
    }

    fn piece(&mut self, text: &str) -> Result<()> {
        for (split, part) in self.documents.parts(text) {
            if split == Split::Train {
                self.buffer.push_str(part);
            }
        }
        if self.buffer.len() >= AT_A_TIME {
            self.send(whole_pieces(self.buffer.as_bytes()));
        }
        Ok(())
    }

    fn end_document(&mut self) -> Result<()> {
        self.documents.end_document();
        self.send(self.buffer.len());
        Ok(())
    }

    fn empty_document(&mut self) {}

    fn end(&mut self, fault: Option<(String, String)>) -> Result<()> {
        self.documents.end(fault)
    }
}

impl Counted for Learner<'_> {
    fn progress(&self) -> Progress {
        Progress { bytes: self.sent, ..Progress::default() }
    }
}

/// The last pass: encodes and writes.
struct Writer<'a> {
    vocabulary: &'a Vocabulary,
    documents: Documents<'a>,
    packer: StreamPacker,
    /// The split of the document, or of the part of it, that is being written.
    open: Option<Split>,
    buffer: String,
    bytes: u64,
}

impl<'a> Writer<'a> {
    fn new(
        vocabulary: &'a Vocabulary,
        survey: &'a Survey,
        division: &Division,
        packer: StreamPacker,
    ) -> Writer<'a> {
        let documents = Documents::new(survey, division);
        Writer { vocabulary, documents, packer, open: None, buffer: String::new(), bytes: 0 }
    }

    /// Encodes and writes the first `length` bytes of what is waiting.
    fn write(&mut self, split: Split, length: usize) -> Result<()> {
        let tokens = self.vocabulary.encode(&self.buffer.as_bytes()[..length])?;
        self.buffer.drain(..length);
        let bytes: Vec<u8> = match self.vocabulary.token_bytes() {
            1 => tokens.iter().map(|&token| token as u8).collect(),
            2 => tokens.iter().flat_map(|&token| (token as u16).to_le_bytes()).collect(),
            _ => tokens.iter().flat_map(|token| token.to_le_bytes()).collect(),
        };
        self.packer.push(split, &bytes)
    }

    /// Ends the document, or its part of one split.
    fn close(&mut self) -> Result<()> {
        let Some(split) = self.open.take() else { return Ok(()) };
        self.write(split, self.buffer.len())?;
        self.packer.end(split)
    }
}

impl Pass for Writer<'_> {
    fn begin(&mut self, place: Place) -> bool {
        self.documents.begin(place)
    }

    fn piece(&mut self, text: &str) -> Result<()> {
        self.bytes += text.len() as u64;
        for (split, part) in self.documents.parts(text).into_iter().filter(|(_, part)| !part.is_empty()) {
            if self.open.is_some_and(|open| open != split) {
                self.close()?;
            }
            if self.open.is_none() {
                self.open = Some(split);
                self.packer.begin(split, self.documents.place.label)?;
            }
            self.buffer.push_str(part);
            if self.buffer.len() >= AT_A_TIME {
                self.write(split, whole_pieces(self.buffer.as_bytes()))?;
            }
        }
        Ok(())
    }

    fn end_document(&mut self) -> Result<()> {
        self.documents.end_document();
        self.close()
    }

    fn empty_document(&mut self) {}

    fn end(&mut self, fault: Option<(String, String)>) -> Result<()> {
        self.documents.end(fault)
    }
}

impl Counted for Writer<'_> {
    fn progress(&self) -> Progress {
        let skipped = self.documents.survey.skipped.count;
        Progress { done: self.documents.next as u64, skipped, bytes: self.bytes, total: None }
    }
}
