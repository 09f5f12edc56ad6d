//! The first pass over a source of text: which texts can be used, which characters occur, and how the documents are divided
//! into splits.

use std::cmp::Ordering;

use super::Counted;
use super::read::{Pass, Place};
use crate::card::{Skipped, SplitBy};
use crate::error::Result;
use crate::options::Options;
use crate::progress::Progress;
use crate::source::Plan;
use crate::split::{Order, Split};

/// Which characters have occurred. Those of a text that cannot be used are removed again.
pub(super) struct Characters {
    seen: Vec<bool>,
    fresh: Vec<char>,
}

impl Characters {
    pub(super) fn new() -> Characters {
        Characters { seen: vec![false; char::MAX as usize + 1], fresh: Vec::new() }
    }

    fn add(&mut self, text: &str) {
        for character in text.chars() {
            let seen = &mut self.seen[character as usize];
            if !*seen {
                *seen = true;
                self.fresh.push(character);
            }
        }
    }

    fn keep(&mut self) {
        self.fresh.clear();
    }

    fn take_back(&mut self) {
        for character in self.fresh.drain(..) {
            self.seen[character as usize] = false;
        }
    }

    /// All of them, sorted.
    pub(super) fn all(&self) -> Vec<char> {
        let seen = self.seen.iter().enumerate().filter(|(_, seen)| **seen);
        seen.filter_map(|(code, _)| char::from_u32(code as u32)).collect()
    }
}

/// The first pass over a source.
pub(super) struct Survey {
    has_splits: bool,
    holdout: f64,
    place: Place,
    hasher: blake3::Hasher,
    pub(super) characters: Characters,
    /// Whether each text can be used.
    pub(super) usable: Vec<bool>,
    /// The split of each document of the texts that can be used.
    pub(super) splits: Vec<Split>,
    /// Characters of all these documents; when there is one, where to cut it is counted in them.
    length: u64,
    /// Documents without a character.
    pub(super) empty: u64,
    /// Documents, characters and empty documents before the text that is being read.
    before: (usize, u64, u64),
    pub(super) skipped: Skipped,
    bytes: u64,
    /// The ends of all documents, and of those of the text that is being read.
    ends: Ends,
    ends_here: Ends,
}

impl Survey {
    pub(super) fn new(plan: &Plan, options: &Options) -> Survey {
        Survey {
            has_splits: plan.has_splits,
            holdout: options.holdout,
            place: Place::default(),
            hasher: blake3::Hasher::new(),
            characters: Characters::new(),
            usable: Vec::new(),
            splits: Vec::new(),
            length: 0,
            empty: 0,
            before: (0, 0, 0),
            skipped: Skipped::default(),
            bytes: 0,
            ends: Ends::default(),
            ends_here: Ends::default(),
        }
    }

    /// Moves the documents to an empty split that are nearest to it, unless all are equal.
    fn give(&mut self, to: Split) {
        if let (Some((first, low)), Some((last, high))) = (&self.ends.first, &self.ends.last)
            && first != last
        {
            let moved = if to == Split::Validation { low } else { high };
            moved.iter().for_each(|&document| self.splits[document] = to);
        }
    }

    /// How the documents are divided into splits.
    pub(super) fn division(&mut self, options: &Options) -> Division {
        if self.has_splits {
            return Division { split_by: SplitBy::Source, cut: None };
        }
        if self.splits.len() == 1 {
            let cut = (self.length as f64 * (1.0 - options.holdout)) as u64;
            self.splits[0] = Split::Train;
            // A text of one character has nothing to hold out.
            let cut = if cut == 0 { self.length } else { cut };
            return Division { split_by: SplitBy::Position, cut: Some(cut) };
        }
        if options.holdout > 0.0 && !self.splits.contains(&Split::Validation) {
            self.give(Split::Validation);
        }
        if !self.splits.contains(&Split::Train) {
            self.give(Split::Train);
        }
        if !self.splits.contains(&Split::Train) {
            self.splits.fill(Split::Train);
        }
        Division { split_by: SplitBy::Content, cut: None }
    }
}

/// The documents that come first and last in the order in which they are held out: equal documents are one.
#[derive(Default)]
struct Ends {
    first: Option<(Order, Vec<usize>)>,
    last: Option<(Order, Vec<usize>)>,
}

impl Ends {
    fn add(&mut self, order: Order, documents: &[usize]) {
        for (end, wanted) in [(&mut self.first, Ordering::Less), (&mut self.last, Ordering::Greater)] {
            match end {
                Some((known, list)) if *known == order => list.extend(documents),
                Some((known, _)) if order.cmp(known) != wanted => {}
                end => *end = Some((order, documents.to_vec())),
            }
        }
    }

    fn append(&mut self, other: Ends) {
        let one = matches!((&other.first, &other.last), (Some(first), Some(last)) if first.0 == last.0);
        for (order, documents) in other.first.into_iter().chain(other.last.filter(|_| !one)) {
            self.add(order, &documents);
        }
    }
}

/// How documents are divided into splits.
pub(super) struct Division {
    pub(super) split_by: SplitBy,
    /// For a single document, how many characters of it are for training.
    pub(super) cut: Option<u64>,
}

impl Pass for Survey {
    fn begin(&mut self, place: Place) -> bool {
        self.place = place;
        self.before = (self.splits.len(), self.length, self.empty);
        true
    }

    fn piece(&mut self, text: &str) -> Result<()> {
        self.hasher.update(text.as_bytes());
        self.characters.add(text);
        self.length += text.chars().count() as u64;
        self.bytes += text.len() as u64;
        Ok(())
    }

    fn end_document(&mut self) -> Result<()> {
        let hash = *self.hasher.finalize().as_bytes();
        self.hasher.reset();
        if self.has_splits {
            self.splits.push(self.place.split.unwrap_or(Split::Train));
        } else {
            self.ends_here.add(Order::of(&hash), &[self.splits.len()]);
            self.splits.push(Split::by_content(&hash, self.holdout));
        }
        Ok(())
    }

    fn empty_document(&mut self) {
        self.empty += 1;
    }

    fn end(&mut self, fault: Option<(String, String)>) -> Result<()> {
        self.usable.push(fault.is_none());
        let ends = std::mem::take(&mut self.ends_here);
        let Some((name, reason)) = fault else {
            self.characters.keep();
            self.ends.append(ends);
            return Ok(());
        };
        self.skipped.push(name, reason);
        self.characters.take_back();
        self.hasher.reset();
        let (documents, length, empty) = self.before;
        self.splits.truncate(documents);
        (self.length, self.empty) = (length, empty);
        Ok(())
    }
}

impl Counted for Survey {
    fn progress(&self) -> Progress {
        Progress { skipped: self.skipped.count, bytes: self.bytes, ..Progress::default() }
    }
}
