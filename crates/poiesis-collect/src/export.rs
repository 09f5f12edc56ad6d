//! Writes a data set out again as files of their own: images as PNG, documents as text, clips as WAV and points as CSV, in folders of
//! their splits and classes. Collecting that folder with the options that are returned gives the same examples.

mod names;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;

use crate::card::{Card, Kind};
use crate::dataset::{Dataset, View, spread};
use crate::error::{Error, Result};
use crate::options::{Options, VocabularyKind};
use crate::progress::Progress;
use crate::split::Split;
use crate::staging::Staging;
use crate::stream::Stream;
use crate::vocabulary::Vocabulary;
use names::Folders;

/// Files that are written between two reports of progress.
const CHUNK: usize = 1024;
/// Tokens or frames that are read at a time.
const PIECE: u64 = 1 << 20;
/// Digits of the number of an example in a name, unless the split has more examples.
const DIGITS: usize = 6;

/// What of a data set is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// The split; `None` writes all of them, each in a folder of its name where there are several.
    pub split: Option<Split>,
    /// At most so many examples of each split, drawn from all of it, the same ones each time; `None` writes all.
    pub count: Option<usize>,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// The number of examples of each split.
    pub splits: Vec<(Split, usize)>,
    /// The number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the data set has and files cannot say, in words.
    pub left_out: Vec<String>,
    /// The options with which [`collect`](crate::collect) makes the same examples of the folder.
    pub collect: Options,
}

/// Writes a data set into the new folder `out`, which appears under its name only when it is whole. `progress` counts examples.
///
/// # Errors
///
/// [`Error::OutputExists`] for a folder that has something in it; [`Error::NoSplit`]; [`Error::WrongKind`] for experience;
/// [`Error::Write`] and the others of an output folder.
pub fn export(
    dataset: &Dataset,
    out: &Path,
    options: &ExportOptions,
    progress: &dyn Fn(Progress),
) -> Result<Exported> {
    let card = dataset.card();
    if card.kind == Kind::Experience {
        let (name, found) = (card.name.clone(), card.kind.name());
        return Err(Error::WrongKind { name, found, wanted: "images, text, sound or points" });
    }
    let splits = match options.split {
        Some(split) if card.count(split) == 0 => {
            return Err(Error::NoSplit { name: card.name.clone(), split });
        }
        Some(split) => vec![split],
        None => Split::ALL.into_iter().filter(|split| card.count(*split) > 0).collect(),
    };
    let chosen: Vec<(Split, Vec<usize>)> = splits
        .into_iter()
        .map(|split| (split, spread(card.count(split), options.count.unwrap_or(usize::MAX)).collect()))
        .collect();
    let staging = Staging::begin(out, false)?;
    let has_split_folders = chosen.len() > 1;
    let folders = Folders::of(&card.classes, has_split_folders);
    let total = chosen.iter().map(|(_, indices)| indices.len() as u64).sum();
    let mut writer = Writer {
        dataset,
        folders: &folders.names,
        written: vec![false; folders.names.len()],
        changed: 0,
        report: progress,
        total,
        done: 0,
        exported: Exported::default(),
    };
    for (split, indices) in &chosen {
        let folder = match has_split_folders {
            true => staging.folder().join(split.as_str()),
            false => staging.folder().to_owned(),
        };
        writer.split(*split, indices, &folder)?;
        writer.exported.splits.push((*split, indices.len()));
    }
    let Writer { written, changed, mut exported, .. } = writer;
    exported.left_out = left_out(card, &folders, &exported, &written, changed);
    exported.collect = options_of(card, has_split_folders, written.contains(&true));
    staging.commit()?;
    Ok(exported)
}

/// The options with which the written folder becomes the same examples: what collecting would else choose anew.
fn options_of(card: &Card, has_split_folders: bool, has_classes: bool) -> Options {
    let size = match (card.kind, &card.shape[..]) {
        (Kind::Images, &[height, width, _]) => u32::try_from(height).ok().zip(u32::try_from(width).ok()),
        _ => None,
    };
    let channels = match (card.kind, card.shape.last()) {
        (Kind::Images, Some(&channels)) => u8::try_from(channels).ok(),
        _ => None,
    };
    let vocabulary = card.text.as_ref().map(|text| match &text.vocabulary {
        Vocabulary::Bytes => VocabularyKind::Bytes,
        Vocabulary::Characters { .. } => VocabularyKind::Characters,
        Vocabulary::Bpe(_) => VocabularyKind::Bpe,
    });
    Options {
        size,
        channels,
        vocabulary,
        vocabulary_size: card.options.vocabulary_size,
        lines: card.text.as_ref().is_some_and(|text| text.lines),
        // A folder of one split names none, and all of it is for training.
        holdout: if has_split_folders { Options::default().holdout } else { 0.0 },
        // A folder that has everything in it would name no class.
        class_level: has_classes.then_some(1 + u32::from(has_split_folders)),
        licence: card.licence.clone(),
        ..Options::default()
    }
}

/// What a data set has and files cannot say. `written` are the classes of which examples were, and `changed` is how many documents
/// have line ends or beginnings that collecting changes.
fn left_out(
    card: &Card,
    folders: &Folders,
    exported: &Exported,
    written: &[bool],
    changed: u64,
) -> Vec<String> {
    let mut left = Vec::new();
    if card.objects.is_some() {
        left.push("the boxes of objects are not written".to_owned());
    }
    if !card.factors.is_empty() {
        left.push("the factors that the examples were made with are not written".to_owned());
    }
    if let [(split, _)] = exported.splits[..]
        && split != Split::Train
    {
        left.push(format!(
            "the folder does not say that this is the {split} split: collected, it is for training"
        ));
    }
    if let Some((class, folder)) = folders.renamed.first() {
        let others = match folders.renamed.len() {
            1 => String::new(),
            all => format!(", and {} more have another name too", all - 1),
        };
        left.push(format!("the folder of the class {class} is called {folder}{others}"));
    }
    let empty = written.iter().filter(|written| !**written).count();
    if empty > 0 {
        let (classes, have) = if empty == 1 { ("class", "has") } else { ("classes", "have") };
        left.push(format!("{empty} {classes} without an example {have} no folder"));
    }
    if !folders.names.is_sorted() {
        left.push("collected, classes are numbered in the order of their names".to_owned());
    }
    let all: usize = card.splits.iter().map(|split| split.count).sum();
    let is_part = exported.splits.iter().map(|(_, number)| number).sum::<usize>() < all;
    if let Some(text) = card.text.as_ref().filter(|_| is_part)
        && text.vocabulary != Vocabulary::Bytes
    {
        left.push("collected, a part of the text may have another vocabulary than all of it".to_owned());
    }
    if changed > 0 {
        let (documents, have) = if changed == 1 { ("document", "has") } else { ("documents", "have") };
        left.push(format!(
            "{changed} {documents} {have} CRLF line ends or a byte order mark, which collecting changes"
        ));
    }
    left
}

struct Writer<'a> {
    dataset: &'a Dataset,
    /// The folder of each class.
    folders: &'a [String],
    /// The classes of which an example was written.
    written: Vec<bool>,
    /// Documents that collecting changes.
    changed: u64,
    report: &'a dyn Fn(Progress),
    total: u64,
    done: u64,
    exported: Exported,
}

/// An example of a split: its index, and its class where it has one.
type Placed = (usize, Option<usize>);

impl Writer<'_> {
    fn split(&mut self, split: Split, indices: &[usize], folder: &Path) -> Result<()> {
        let card = self.dataset.card();
        match (card.kind, &card.text, &card.sound) {
            (Kind::Text, Some(text), _) => {
                let stream = self.dataset.require_stream(split)?;
                let placed = self.placed(indices, folder, |i| stream.label(i))?;
                let changed = AtomicU64::new(0);
                self.each(folder, &placed, "txt", &|i, file| {
                    let is_changed = document(&stream, i, &text.vocabulary, file)?;
                    changed.fetch_add(u64::from(is_changed), Ordering::Relaxed);
                    Ok(())
                })?;
                self.changed += changed.into_inner();
                Ok(())
            }
            (Kind::Sound, _, Some(sound)) => {
                let stream = self.dataset.require_stream(split)?;
                let placed = self.placed(indices, folder, |i| stream.label(i))?;
                let format = (sound.sample_rate, sound.channels);
                self.each(folder, &placed, "wav", &|i, file| clip(&stream, i, format, file))
            }
            (Kind::Points, ..) => {
                let view = self.dataset.require(split)?;
                let placed = self.placed(indices, folder, |i| view.label(i))?;
                self.tables(folder, &view, &placed)
            }
            _ => {
                let view = self.dataset.require(split)?;
                let placed = self.placed(indices, folder, |i| view.label(i))?;
                let shape = card.shape.clone();
                self.each(folder, &placed, "png", &|i, file| png(view.image(i), &shape, file))
            }
        }
    }

    /// Makes the folders of the classes in that of a split, and says of which class each example is.
    fn placed(
        &mut self,
        indices: &[usize],
        folder: &Path,
        label: impl Fn(usize) -> Option<u32>,
    ) -> Result<Vec<Placed>> {
        let class = |i: usize| label(i).map(|label| label as usize).filter(|&at| at < self.folders.len());
        let placed: Vec<Placed> = indices.iter().map(|&i| (i, class(i))).collect();
        let classes: HashSet<Option<usize>> = placed.iter().map(|(_, class)| *class).collect();
        for class in classes {
            let folder = place(self.folders, folder, class);
            fs::create_dir_all(&folder).map_err(|e| Error::write(&folder, e))?;
            class.into_iter().for_each(|class| self.written[class] = true);
        }
        Ok(placed)
    }

    /// Writes a file for each example, named by its number in the split.
    fn each(
        &mut self,
        folder: &Path,
        placed: &[Placed],
        ending: &str,
        write: &(dyn Fn(usize, &mut BufWriter<File>) -> io::Result<()> + Sync),
    ) -> Result<()> {
        // Names come in the order of the numbers.
        let digits = placed.last().map_or(0, |(last, _)| last.to_string().len()).max(DIGITS);
        let folders = self.folders;
        for chunk in placed.chunks(CHUNK) {
            let one = |(i, class): &Placed| {
                let path = place(folders, folder, *class).join(format!("{i:0digits$}.{ending}"));
                written(&path, |file| write(*i, file))
            };
            let bytes: Vec<u64> = chunk.par_iter().map(one).collect::<Result<_>>()?;
            self.exported.files += bytes.len() as u64;
            self.exported.bytes += bytes.iter().sum::<u64>();
            self.report(chunk.len());
        }
        Ok(())
    }

    /// Writes a table of the points of each class.
    fn tables(&mut self, folder: &Path, view: &View, placed: &[Placed]) -> Result<()> {
        let mut rows: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        placed.iter().for_each(|(row, class)| rows.entry(*class).or_default().push(*row));
        let names = self.dataset.card().points.as_ref().map(|points| points.columns.clone());
        for (class, rows) in rows {
            self.exported.bytes += written(&place(self.folders, folder, class).join("points.csv"), |file| {
                table(view, &rows, names.as_deref().unwrap_or_default(), file)
            })?;
            self.exported.files += 1;
            self.report(rows.len());
        }
        Ok(())
    }

    fn report(&mut self, more: usize) {
        self.done += more as u64;
        (self.report)(Progress { done: self.done, total: Some(self.total), ..Progress::default() });
    }
}

/// The folder of a class, or of examples without one, in that of a split.
fn place(folders: &[String], split: &Path, class: Option<usize>) -> PathBuf {
    class.map_or_else(|| split.to_owned(), |class| split.join(&folders[class]))
}

/// Writes a new file, and returns its bytes.
fn written(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<u64> {
    let all = || {
        let mut file = BufWriter::new(File::create_new(path)?);
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.metadata().map(|file| file.len())
    };
    all().map_err(|e: io::Error| Error::write(path, e))
}

fn png(pixels: &[u8], shape: &[usize], file: &mut BufWriter<File>) -> io::Result<()> {
    let (colours, sides) = match *shape {
        [height, width, 1] => (ExtendedColorType::L8, [width, height]),
        [height, width, 4] => (ExtendedColorType::Rgba8, [width, height]),
        [height, width, _] => (ExtendedColorType::Rgb8, [width, height]),
        _ => unreachable!("an image has a height, a width and channels"),
    };
    let [width, height] = sides.map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    PngEncoder::new(file).write_image(pixels, width, height, colours).map_err(io::Error::other)
}

/// Writes a document, and says whether collecting changes how it begins or how its lines end.
fn document(
    stream: &Stream,
    i: usize,
    vocabulary: &Vocabulary,
    file: &mut BufWriter<File>,
) -> io::Result<bool> {
    let range = stream.document(i);
    let (mut at, mut last, mut is_changed) = (range.start, 0, false);
    while at < range.end {
        let end = range.end.min(at + PIECE);
        let bytes = vocabulary.decode(&stream.tokens(at..end));
        is_changed |= at == range.start && bytes.starts_with("\u{feff}".as_bytes());
        for &byte in &bytes {
            is_changed |= (last, byte) == (b'\r', b'\n');
            last = byte;
        }
        file.write_all(&bytes)?;
        at = end;
    }
    Ok(is_changed)
}

/// A clip as WAV with 16 bits (RIFF, PCM): its header has 44 bytes.
fn clip(
    stream: &Stream,
    i: usize,
    (rate, channels): (u32, u16),
    file: &mut BufWriter<File>,
) -> io::Result<()> {
    let range = stream.document(i);
    let frame = 2 * u32::from(channels);
    let bytes = u32::try_from((range.end - range.start) * u64::from(frame))
        .ok()
        .filter(|bytes| *bytes < u32::MAX - 36)
        .ok_or_else(|| io::Error::other("the clip is longer than a WAV file can be"))?;
    file.write_all(b"RIFF")?;
    file.write_all(&(bytes + 36).to_le_bytes())?;
    file.write_all(b"WAVEfmt ")?;
    file.write_all(&16_u32.to_le_bytes())?;
    file.write_all(&1_u16.to_le_bytes())?;
    file.write_all(&channels.to_le_bytes())?;
    file.write_all(&rate.to_le_bytes())?;
    file.write_all(&(rate * frame).to_le_bytes())?;
    file.write_all(&(frame as u16).to_le_bytes())?;
    file.write_all(&16_u16.to_le_bytes())?;
    file.write_all(b"data")?;
    file.write_all(&bytes.to_le_bytes())?;
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + PIECE);
        let samples = stream.samples(at..end);
        file.write_all(&samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<_>>())?;
        at = end;
    }
    Ok(())
}

/// Rows of numbers, each with as many digits as tell it from all others, below the names of the columns where they have any.
fn table(view: &View, rows: &[usize], names: &[String], file: &mut BufWriter<File>) -> io::Result<()> {
    let line = |cells: Vec<String>| format!("{}\n", cells.join(","));
    if !names.is_empty() {
        file.write_all(line(names.iter().map(|name| quoted(name)).collect()).as_bytes())?;
    }
    for &row in rows {
        file.write_all(line(view.point(row).iter().map(f32::to_string).collect()).as_bytes())?;
    }
    Ok(())
}

/// A cell of a table, in quotes where it has a separator in it.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r', ';', '\t']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_separators_are_quoted() {
        assert_eq!([quoted("x"), quoted("a,b"), quoted("5\"")], ["x", "\"a,b\"", "\"5\"\"\""]);
    }
}
