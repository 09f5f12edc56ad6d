//! Collects points: each row of a table of numbers is one. Tables are read one after another, row by row, and none is held in
//! memory. The first decides how many columns there are.

mod columns;
mod dialect;
mod fields;
mod lines;
mod read;
mod table;

use std::path::Path;

use crate::card::{Kind, Reason, SplitBy};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::pack::{self, About, Collected, Packer};
use crate::progress::Progress;
use crate::shard::Layout;
use crate::source::{Item, Plan, Source, each_batch};
use crate::split::{Moved, Split};
pub(crate) use columns::{Columns, short};
use dialect::Choice;
pub(crate) use fields::{Separator, Splitter};
pub use read::read_points;
use table::{Row, Table};

/// Collects a source of points into an empty folder.
pub(crate) fn collect_points(
    path: &Path,
    source: &mut dyn Source,
    folder: &Path,
    options: &Options,
    moved: Option<Moved>,
    report: &(dyn Fn(Progress) + Sync),
) -> Result<Collected> {
    let plan = source.plan();
    let mut collector = Collector {
        folder,
        options,
        report,
        classes: plan.classes.len(),
        split_by: if plan.has_splits { SplitBy::Source } else { SplitBy::Content },
        about: About::new(path, plan, options),
        moved,
        first: None,
        names: Vec::new(),
        written: Vec::new(),
        rounded: 0,
        flags: 0,
        others: Others::default(),
        progress: Progress::default(),
    };
    each_batch(source, |batches| batches.iter().flatten().try_for_each(|item| collector.file(item)))?;
    collector.finish(path, source.plan())
}

/// Writes rows in the order of the source.
struct Collector<'a> {
    folder: &'a Path,
    options: &'a Options,
    report: &'a (dyn Fn(Progress) + Sync),
    classes: usize,
    split_by: SplitBy,
    about: About,
    /// What is moved to another split than its content says.
    moved: Option<Moved>,
    /// The first table, which decided how many columns there are.
    first: Option<First>,
    /// The names of the columns, by the first table that names them.
    names: Vec<String>,
    /// How tables are written, each way once, with how many are written so.
    written: Vec<(String, u64)>,
    rounded: u64,
    flags: u64,
    others: Others,
    progress: Progress,
}

struct First {
    name: String,
    columns: usize,
    packer: Packer,
    layout: Layout,
}

/// Rows that are not rows of numbers, and the first of them.
#[derive(Default)]
struct Others {
    count: u64,
    first: Option<(String, String)>,
}

impl Collector<'_> {
    /// Reads one file.
    fn file(&mut self, item: Item) -> Result<()> {
        let Item { name, split, label, payload } = item;
        let mut reader = match payload.open() {
            Ok(reader) => reader,
            Err(reason) => {
                self.skip(name, reason);
                return Ok(());
            }
        };
        let choice = match self.options.columns.as_slice() {
            [] => Choice::All,
            names => Choice::Named(names),
        };
        match Table::open(&mut *reader, choice) {
            Ok(Some(table)) => self.table(&name, split, label, table)?,
            Ok(None) => self.skip(name, "it has no rows".to_owned()),
            Err(reason) => self.skip(name, reason),
        }
        (self.report)(self.progress);
        Ok(())
    }

    /// Reads one table.
    fn table(
        &mut self,
        name: &str,
        split: Option<Split>,
        label: Option<u32>,
        mut table: Table,
    ) -> Result<()> {
        /// Rows between two reports.
        const PAUSE: u64 = 1 << 14;
        self.begin(name, &table)?;
        loop {
            let (number, bytes, row) = match table.next() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err((number, reason)) => {
                    self.skip(format!("{name}:{number}"), reason);
                    break;
                }
            };
            self.progress.bytes += bytes as u64;
            let place = || format!("{name}:{number}");
            match row {
                Row::Point(point) => self.push(&point, split, label)?,
                Row::Missing(reason) => self.skip(place(), reason),
                Row::Other(reason) => {
                    self.others.count += 1;
                    self.others.first.get_or_insert_with(|| (place(), reason.clone()));
                    self.skip(place(), reason);
                }
            }
            if (self.progress.done + self.progress.skipped).is_multiple_of(PAUSE) {
                (self.report)(self.progress);
            }
        }
        self.rounded += table.rounded;
        self.flags += table.flags;
        Ok(())
    }

    fn skip(&mut self, name: String, reason: impl Into<Reason>) {
        self.progress.skipped += 1;
        self.about.skipped.push(name, reason);
    }

    /// Compares a table with those before it. The first opens the data set.
    fn begin(&mut self, name: &str, table: &Table) -> Result<()> {
        let described = match is_array(name) {
            true => "an array of NumPy does not name its columns".to_owned(),
            false => table.dialect.describe(),
        };
        match self.written.iter_mut().find(|(known, _)| *known == described) {
            Some((_, count)) => *count += 1,
            None => self.written.push((described, 1)),
        }
        let (columns, names) = (table.dialect.columns.len(), &table.dialect.names());
        if let Some(first) = &self.first
            && (first.columns != columns
                || !(names.is_empty() || self.names.is_empty() || *names == self.names))
        {
            return Err(Error::MixedColumns {
                first: first.name.clone(),
                first_columns: in_words(first.columns, &self.names),
                other: name.to_owned(),
                other_columns: in_words(columns, names),
            });
        }
        if self.names.is_empty() {
            self.names.clone_from(names);
        }
        if self.first.is_none() {
            let layout = Layout {
                kind: Kind::Points,
                shape: vec![columns],
                labelled: self.classes > 0,
                factors: 0,
                objects: 0,
            };
            let packer = Packer::new(
                self.folder,
                layout.clone(),
                self.classes,
                self.split_by,
                self.moved,
                self.options,
            )?;
            self.first = Some(First { name: name.to_owned(), columns, packer, layout });
        }
        Ok(())
    }

    fn push(&mut self, point: &[f32], split: Option<Split>, label: Option<u32>) -> Result<()> {
        let First { packer, layout, .. } = self.first.as_mut().expect("a table has begun");
        let bytes = point.iter().flat_map(|value| value.to_le_bytes()).collect();
        let row = pack::Row { split, label, ..pack::Row::new(layout, bytes) };
        self.progress.done += 1;
        packer.push(&row)
    }

    /// Completes the data set.
    fn finish(mut self, path: &Path, plan: &Plan) -> Result<Collected> {
        let rows = self.progress.done + self.progress.skipped;
        // What is mostly not numbers is not a table of points that has a few faults.
        if let (true, Some((name, reason))) = (self.others.count * 2 > rows, self.others.first) {
            return Err(Error::NotPoints {
                path: path.to_owned(),
                count: self.others.count,
                rows,
                name,
                reason,
            });
        }
        let packer = match self.first {
            Some(first) if self.progress.done > 0 => first.packer,
            _ if self.progress.skipped == 0 => {
                return Err(Error::malformed(path, "it has no rows of numbers"));
            }
            _ => return Err(plan.nothing_usable(path, Kind::Points, self.about.skipped)),
        };
        if let Some(moved) = packer.missing() {
            return Ok(Collected::Again(moved));
        }
        self.about.notes.extend(notes(&self.written, self.rounded, self.flags));
        self.about.columns = Some(self.names);
        Ok(Collected::Done(Box::new(packer.finish(self.about)?), self.progress))
    }
}

/// What is to be known of the tables.
fn notes(written: &[(String, u64)], rounded: u64, flags: u64) -> Vec<String> {
    let files = |count: u64| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let mut notes: Vec<String> = match written {
        [(described, _)] => vec![described.clone()],
        several => {
            several.iter().map(|(described, count)| format!("in {}, {described}", files(*count))).collect()
        }
    };
    if rounded > 0 {
        notes.push(format!("{rounded} values have more digits than an f32 keeps, about 7, and were rounded"));
    }
    if flags > 0 {
        notes.push(format!("{flags} times true or yes was read as 1, or false or no as 0"));
    }
    notes
}

/// Whether a file of this name is an array of NumPy.
fn is_array(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".npy")
}

/// Columns for a message: their number and the first of their names.
fn in_words(columns: usize, names: &[String]) -> String {
    const NAMED: usize = 8;
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMED { ", …" } else { "" };
    match names {
        [] => format!("{columns} columns"),
        [name] => format!("1 column ({name})"),
        _ => format!("{columns} columns ({shown}{more})"),
    }
}
