//! Several archives or arrays as one data set: their classes are merged, and the names of the files, or of the folders they
//! are in, may say to which split or class everything in them belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::names::{ClassBy, Names, Place};
use super::{Halt, Item, Plan, Sink, Source, source_name, split_of};
use crate::error::Result;
use crate::split::Split;

pub(crate) struct Several {
    parts: Vec<(Box<dyn Source>, Arc<Within>)>,
    plan: Plan,
}

/// A file that is one of several: its path in the source, its path on disk, and what it was opened as.
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) source: Box<dyn Source>,
}

/// What the examples of one file become as part of the whole.
pub(crate) struct Within {
    name: String,
    /// Whether the splits that the file itself names count.
    has_splits: bool,
    split: Option<Split>,
    /// The classes of the whole for those of the file.
    labels: Vec<u32>,
    /// The class of all examples without one.
    label: Option<u32>,
}

impl Within {
    pub(crate) fn place(&self, item: Item) -> Item {
        let own = item.label.and_then(|label| self.labels.get(label as usize).copied());
        Item {
            name: format!("{}: {}", self.name, item.name),
            split: item.split.filter(|_| self.has_splits).or(self.split),
            label: own.or(self.label),
            ..item
        }
    }
}

impl Several {
    /// Makes one data set of several files. With `named`, the name of a file without classes is the class of all that is in it.
    pub(crate) fn new(name: String, opened: Vec<Opened>, named: bool) -> Result<Several> {
        let mut names = Names::new(ClassBy::Folders);
        opened.iter().for_each(|file| names.add(&file.name));
        let rules = names.rules(false, Vec::new());
        let labelled = opened.iter().any(|file| !file.source.plan().classes.is_empty());
        let placed = opened.iter().map(|file| match rules.place(&file.name) {
            Place::Inside { split, label } => (split, label.map(|label| &rules.classes[label as usize])),
            Place::Outside => (None, None),
        });
        let own: Vec<Own> = placed
            .zip(&opened)
            .map(|((split, class), file)| Own {
                split: split.or_else(|| split_of(&file.path)),
                class: class.cloned().filter(|_| !labelled),
            })
            .collect();
        let splits: BTreeSet<Split> = own.iter().map(|own| own.split.unwrap_or(Split::Train)).collect();
        let mut notes = vec![format!("{} files are one data set", opened.len())];
        let own = match named && !labelled && splits.len() < 2 && own.iter().all(|own| own.class.is_none()) {
            true => named_classes(&opened, own, &mut notes),
            false => own,
        };
        let parts = opened.iter().map(|file| &file.source.plan().classes);
        let classes = merged(parts.flatten().chain(own.iter().flat_map(|own| &own.class)));
        let index = |class: &String| classes.iter().position(|known| known == class).map(|at| at as u32);
        let plan = Plan {
            name,
            media: opened.first().map(|file| file.source.plan().media).unwrap_or_default(),
            has_splits: splits.len() > 1 || opened.iter().any(|file| file.source.plan().has_splits),
            total: opened.iter().map(|file| file.source.plan().total).sum(),
            ..Plan::default()
        };
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        let mut parts = Vec::new();
        for (Opened { name, source, .. }, own) in opened.into_iter().zip(own) {
            let of = source.plan();
            of.notes.iter().for_each(|note| *told.entry(note.clone()).or_default() += 1);
            let within = Within {
                name,
                has_splits: of.has_splits,
                split: own.split,
                labels: of.classes.iter().filter_map(index).collect(),
                label: own.class.as_ref().and_then(index),
            };
            parts.push((source, Arc::new(within)));
        }
        let many = parts.len() as u64;
        notes.extend(told.into_iter().map(|(note, count)| match count {
            count if count == many => note,
            1 => format!("in one of the files: {note}"),
            count => format!("in {count} of the files: {note}"),
        }));
        Ok(Several { parts, plan: Plan { classes, notes, ..plan } })
    }
}

/// What the name of a file says about all that is in it.
struct Own {
    split: Option<Split>,
    class: Option<String>,
}

/// Names of files as classes, unless they differ in their numbers only: then they are parts of one set.
fn named_classes(opened: &[Opened], own: Vec<Own>, notes: &mut Vec<String>) -> Vec<Own> {
    let stems: Vec<String> = opened.iter().map(|file| source_name(&file.path)).collect();
    let words = stems.iter().map(|stem| stem.replace(|c: char| c.is_ascii_digit(), ""));
    if words.collect::<BTreeSet<_>>().len() < stems.len() {
        return own;
    }
    notes.push("classes are the names of the files".to_owned());
    own.into_iter().zip(stems).map(|(own, stem)| Own { class: Some(stem), ..own }).collect()
}

/// All classes once, numbers by their size.
fn merged<'a>(classes: impl Iterator<Item = &'a String>) -> Vec<String> {
    let all: BTreeSet<&String> = classes.collect();
    let mut all: Vec<String> = all.into_iter().cloned().collect();
    if all.iter().all(|class| class.parse::<u32>().is_ok()) {
        all.sort_by_key(|class| class.parse::<u32>().unwrap_or(0));
    }
    all
}

impl Source for Several {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for (source, within) in &mut self.parts {
            sink.within(within, |sink| source.read(sink))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_merged_and_numbers_sorted_by_size() {
        let merged = |classes: &[&str]| {
            let classes: Vec<String> = classes.iter().map(|class| (*class).to_owned()).collect();
            merged(classes.iter())
        };
        assert_eq!(merged(&["10", "9", "9", "0"]), ["0", "9", "10"]);
        assert_eq!(merged(&["dog", "10", "9"]), ["10", "9", "dog"]);
    }
}
