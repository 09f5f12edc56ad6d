//! Writes a data set out again as files of their own: images as PNG, documents as text, clips as WAV and points as CSV, in folders of
//! their splits and classes. Collecting that folder gives the same examples.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;

use crate::card::{Card, Kind};
use crate::dataset::{Dataset, View, spread};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::split::Split;
use crate::staging::Staging;
use crate::stream::Stream;
use crate::vocabulary::Vocabulary;

/// Files that are written between two reports of progress.
const CHUNK: usize = 1024;
/// Tokens or frames that are read at a time.
const PIECE: u64 = 1 << 20;
/// Longest name of a folder, in characters.
const LONGEST_NAME: usize = 80;

/// What of a data set is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// The split; `None` writes all of them, each in a folder of its name where there are several.
    pub split: Option<Split>,
    /// At most so many examples of each split, drawn from all of it, the same ones each time; `None` writes all.
    pub count: Option<usize>,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The number of examples of each split.
    pub splits: Vec<(Split, usize)>,
    /// The number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the data set has and files cannot say, in words.
    pub left_out: Vec<String>,
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
    let (folders, renamed) = folder_names(&card.classes);
    let total = chosen.iter().map(|(_, indices)| indices.len() as u64).sum();
    let mut writer =
        Writer { dataset, folders, report: progress, total, done: 0, exported: Exported::default() };
    for (split, indices) in &chosen {
        let folder = match chosen.len() {
            1 => staging.folder().to_owned(),
            _ => staging.folder().join(split.as_str()),
        };
        writer.split(*split, indices, &folder)?;
        writer.exported.splits.push((*split, indices.len()));
    }
    let mut exported = writer.exported;
    exported.left_out = left_out(card, &renamed);
    staging.commit()?;
    Ok(exported)
}

/// What a data set has and files cannot say.
fn left_out(card: &Card, renamed: &[(String, String)]) -> Vec<String> {
    let mut left = Vec::new();
    if card.objects.is_some() {
        left.push("the boxes of objects are not written".to_owned());
    }
    if !card.factors.is_empty() {
        left.push("the factors that the examples were made with are not written".to_owned());
    }
    if let Some((class, folder)) = renamed.first() {
        let others = match renamed.len() {
            1 => String::new(),
            all => format!(", and {} more like it", all - 1),
        };
        left.push(format!("the folder of the class {class} is called {folder}{others}"));
    }
    left
}

struct Writer<'a> {
    dataset: &'a Dataset,
    /// The folder of each class.
    folders: Vec<String>,
    report: &'a dyn Fn(Progress),
    total: u64,
    done: u64,
    exported: Exported,
}

/// An example of a split: its index, and the folder that it is written into.
type Placed = (usize, PathBuf);

impl Writer<'_> {
    fn split(&mut self, split: Split, indices: &[usize], folder: &Path) -> Result<()> {
        let card = self.dataset.card();
        match (card.kind, &card.text, &card.sound) {
            (Kind::Text, Some(text), _) => {
                let stream = self.dataset.require_stream(split)?;
                let placed = self.placed(indices, folder, |i| stream.label(i))?;
                self.each(&placed, "txt", &|i, file| document(&stream, i, &text.vocabulary, file))
            }
            (Kind::Sound, _, Some(sound)) => {
                let stream = self.dataset.require_stream(split)?;
                let placed = self.placed(indices, folder, |i| stream.label(i))?;
                let format = (sound.sample_rate, sound.channels);
                self.each(&placed, "wav", &|i, file| clip(&stream, i, format, file))
            }
            (Kind::Points, ..) => {
                let view = self.dataset.require(split)?;
                let placed = self.placed(indices, folder, |i| view.label(i))?;
                self.tables(&view, &placed)
            }
            _ => {
                let view = self.dataset.require(split)?;
                let placed = self.placed(indices, folder, |i| view.label(i))?;
                let shape = card.shape.clone();
                self.each(&placed, "png", &|i, file| png(view.image(i), &shape, file))
            }
        }
    }

    /// Makes the folders of the classes, and says in which of them each example is.
    fn placed(
        &self,
        indices: &[usize],
        folder: &Path,
        label: impl Fn(usize) -> Option<u32>,
    ) -> Result<Vec<Placed>> {
        let place = |i: usize| match label(i).and_then(|label| self.folders.get(label as usize)) {
            Some(class) => folder.join(class),
            None => folder.to_owned(),
        };
        let placed: Vec<Placed> = indices.iter().map(|&i| (i, place(i))).collect();
        let folders: HashSet<&PathBuf> = placed.iter().map(|(_, folder)| folder).collect();
        folders
            .into_iter()
            .try_for_each(|folder| fs::create_dir_all(folder).map_err(|e| Error::write(folder, e)))?;
        Ok(placed)
    }

    /// Writes a file for each example, named by its number in the split.
    fn each(
        &mut self,
        placed: &[Placed],
        ending: &str,
        write: &(dyn Fn(usize, &mut BufWriter<File>) -> io::Result<()> + Sync),
    ) -> Result<()> {
        let one = |(i, folder): &Placed| {
            let path = folder.join(format!("{i:06}.{ending}"));
            written(&path, |file| write(*i, file))
        };
        for chunk in placed.chunks(CHUNK) {
            let bytes: Vec<u64> = chunk.par_iter().map(one).collect::<Result<_>>()?;
            self.exported.files += bytes.len() as u64;
            self.exported.bytes += bytes.iter().sum::<u64>();
            self.report(chunk.len());
        }
        Ok(())
    }

    /// Writes a table of the points of each class.
    fn tables(&mut self, view: &View, placed: &[Placed]) -> Result<()> {
        let mut folders: Vec<&PathBuf> = placed.iter().map(|(_, folder)| folder).collect();
        folders.sort();
        folders.dedup();
        let names = self.dataset.card().points.as_ref().map(|points| points.columns.clone());
        for folder in folders {
            let rows: Vec<usize> =
                placed.iter().filter(|(_, own)| own == folder).map(|(index, _)| *index).collect();
            self.exported.bytes += written(&folder.join("points.csv"), |file| {
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

fn document(
    stream: &Stream,
    i: usize,
    vocabulary: &Vocabulary,
    file: &mut BufWriter<File>,
) -> io::Result<()> {
    let range = stream.document(i);
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + PIECE);
        file.write_all(&vocabulary.decode(&stream.tokens(at..end)))?;
        at = end;
    }
    Ok(())
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

/// A name of a folder for each class, each once, and the classes whose folders are called otherwise.
fn folder_names(classes: &[String]) -> (Vec<String>, Vec<(String, String)>) {
    let (mut names, mut taken, mut renamed) = (Vec::new(), HashSet::new(), Vec::new());
    for class in classes {
        let own = folder_name(class);
        let mut name = own.clone();
        let mut number = 1;
        // Some systems do not tell small letters from capitals.
        while !taken.insert(name.to_lowercase()) {
            number += 1;
            name = format!("{own}-{number}");
        }
        if name != *class {
            renamed.push((class.clone(), name.clone()));
        }
        names.push(name);
    }
    (names, renamed)
}

/// A name of a folder on any system: what may not be in one becomes `_`.
fn folder_name(class: &str) -> String {
    const RESERVED: [char; 9] = ['/', '\\', ':', '*', '?', '"', '<', '>', '|'];
    let part = |c: char| if c.is_control() || RESERVED.contains(&c) { '_' } else { c };
    let name: String = class.chars().take(LONGEST_NAME).map(part).collect();
    let name = name.trim_end_matches([' ', '.']);
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if name.is_empty() => "_".to_owned(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_folder_of_its_own() {
        let classes = ["cat", "Cat", "a/b", "a_b", "..", "", ".x", "é"].map(str::to_owned);
        let (names, renamed) = folder_names(&classes);
        assert_eq!(names, ["cat", "Cat-2", "a_b", "a_b-2", "_", "_-2", "_x", "é"]);
        assert_eq!(renamed.len(), 6);
        assert_eq!(renamed[0], ("Cat".to_owned(), "Cat-2".to_owned()));
    }

    #[test]
    fn cells_with_separators_are_quoted() {
        assert_eq!([quoted("x"), quoted("a,b"), quoted("5\"")], ["x", "\"a,b\"", "\"5\"\"\""]);
    }
}
