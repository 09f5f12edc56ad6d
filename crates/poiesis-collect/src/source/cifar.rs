//! CIFAR-10 and CIFAR-100 in their binary version: records of one or two label bytes and 3072 bytes of pixels in
//! planes (red, green, blue), 32 by 32, as `.bin` files in a folder or in the published `.tar.gz`.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::tar::each_entry;
use super::{FETCH, Halt, Item, Payload, Plan, Sink, Source, file_name, source_name};
use crate::error::{Error, Result};
use crate::prepare::Pixels;
use crate::regular;
use crate::split::Split;

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE * 3;

pub(crate) struct Cifar {
    /// The folder, or the archive.
    path: PathBuf,
    /// Files of the folder; empty for an archive.
    batches: Vec<PathBuf>,
    format: Format,
    plan: Plan,
}

/// Whether a file name is one of the published batches: `data_batch_1.bin`, `test_batch.bin`, `train.bin`, `test.bin`.
pub(crate) fn is_batch(path: &Path) -> bool {
    Format::of(&file_name(path)).is_some()
}

/// Whether a file name is that of the names of classes.
pub(crate) fn is_names(path: &Path) -> bool {
    let name = file_name(path);
    [Format::Cifar10, Format::Cifar100].iter().any(|format| format.names_files().contains(&name.as_str()))
}

/// Whether files that are called like batches are some. `train.bin` and `test.bin` are names that others use too: one of them must
/// have the length of CIFAR-100 and labels where they belong.
pub(crate) fn are_batches<'a>(files: impl Iterator<Item = &'a Path>) -> bool {
    let mut batches = files.filter(|file| is_batch(file));
    batches.any(|file| match Format::of(&file_name(file)) {
        Some(Format::Cifar100) => begins_like_100(file).unwrap_or(false),
        _ => true,
    })
}

/// Whether a file is as long as a whole number of records of CIFAR-100, and the first of them have such labels.
fn begins_like_100(file: &Path) -> io::Result<bool> {
    const RECORDS: u64 = 16;
    let format = Format::Cifar100;
    let records = file.metadata()?.len() / format.record();
    if !is_whole(format, file.metadata()?.len()) {
        return Ok(false);
    }
    let mut reader = BufReader::new(regular::open(file)?);
    let mut record = vec![0; format.record() as usize];
    for _ in 0..records.min(RECORDS) {
        reader.read_exact(&mut record)?;
        if record[0] >= 20 || record[1] >= 100 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a file of that many bytes holds whole records.
fn is_whole(format: Format, size: u64) -> bool {
    size > 0 && size.is_multiple_of(format.record())
}

/// Whether an entry of an archive is a batch, by its name and size.
pub(crate) fn is_batch_of(path: &Path, size: u64) -> bool {
    match Format::of(&file_name(path)) {
        Some(format @ Format::Cifar100) => is_whole(format, size),
        format => format.is_some(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Cifar10,
    Cifar100,
}

impl Format {
    fn of(name: &str) -> Option<Format> {
        let stem = name.strip_suffix(".bin")?;
        match stem {
            "train" | "test" => Some(Format::Cifar100),
            "test_batch" => Some(Format::Cifar10),
            _ => stem.strip_prefix("data_batch_")?.parse::<u32>().ok().map(|_| Format::Cifar10),
        }
    }

    /// Label bytes before the pixels. CIFAR-100 has the coarse label first, then the fine one.
    fn label_bytes(self) -> usize {
        match self {
            Format::Cifar10 => 1,
            Format::Cifar100 => 2,
        }
    }

    fn record(self) -> u64 {
        (self.label_bytes() + PIXELS) as u64
    }

    fn classes(self) -> usize {
        match self {
            Format::Cifar10 => 10,
            Format::Cifar100 => 100,
        }
    }

    /// The file of class names that is published with the batches.
    fn names_files(self) -> [&'static str; 2] {
        match self {
            Format::Cifar10 => ["batches.meta.txt", "batches.meta"],
            Format::Cifar100 => ["fine_label_names.txt", "fine_label_names"],
        }
    }
}

/// Test batches come last.
fn split_of(name: &str) -> Split {
    if name.starts_with("test") { Split::Test } else { Split::Train }
}

impl Cifar {
    /// All batches among the files of a folder.
    pub(crate) fn open(folder: &Path, files: &[PathBuf]) -> Result<Cifar> {
        let mut batches: Vec<_> = files.iter().filter(|file| is_batch(file)).cloned().collect();
        batches.sort_by_key(|file| (split_of(&file_name(file)), file.clone()));
        let mut survey = Batches::default();
        for batch in &batches {
            let size = batch.metadata().map_err(|e| Error::read(batch, e))?.len();
            survey.add(batch, &file_name(batch), size)?;
        }
        let format = survey.format(folder)?;
        let names = files.iter().find(|file| format.names_files().contains(&file_name(file).as_str()));
        let names = names.and_then(|file| regular::read_to_string(file).ok());
        let plan = survey.plan(folder, format, names.as_deref());
        Ok(Cifar { path: folder.to_owned(), batches, format, plan })
    }

    /// The published archive.
    pub(crate) fn open_tar(archive: &Path) -> Result<Cifar> {
        let mut survey = Batches::default();
        let mut texts = Vec::new();
        each_entry(archive, &mut |entry| {
            let name = file_name(Path::new(&entry.path));
            if Format::of(&name).is_some() {
                survey.add(&archive.join(&entry.path), &name, entry.size)?;
            } else if entry.size < 1 << 16 {
                let mut text = String::new();
                if entry.reader.read_to_string(&mut text).is_ok() {
                    texts.push((name, text));
                }
            }
            Ok::<(), Error>(())
        })?;
        let format = survey.format(archive)?;
        let names = texts.iter().find(|(name, _)| format.names_files().contains(&name.as_str()));
        let plan = survey.plan(archive, format, names.map(|(_, text)| text.as_str()));
        Ok(Cifar { path: archive.to_owned(), batches: Vec::new(), format, plan })
    }
}

/// What the sizes and names of the batches tell.
#[derive(Default)]
struct Batches {
    formats: Vec<Format>,
    records: u64,
    splits: Vec<Split>,
}

impl Batches {
    fn add(&mut self, path: &Path, name: &str, size: u64) -> Result<()> {
        let Some(format) = Format::of(name) else { return Ok(()) };
        let record = format.record();
        if !is_whole(format, size) {
            let reason = format!("its {size} bytes are not a whole number of records of {record} bytes");
            return Err(Error::damaged(path, reason, FETCH));
        }
        self.records += size / record;
        self.formats.push(format);
        self.splits.push(split_of(name));
        Ok(())
    }

    fn format(&self, path: &Path) -> Result<Format> {
        match self.formats.first() {
            Some(&first) if self.formats.iter().all(|&format| format == first) => Ok(first),
            Some(_) => Err(Error::damaged(path, "it mixes files of CIFAR-10 and CIFAR-100", "separate them")),
            None => Err(Error::Empty { path: path.to_owned() }),
        }
    }

    fn plan(&self, path: &Path, format: Format, names: Option<&str>) -> Plan {
        let lines = names.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
        let mut classes: Vec<String> = lines.map(str::to_owned).collect();
        if classes.len() != format.classes() {
            classes = (0..format.classes()).map(|class| class.to_string()).collect();
        }
        let notes = match format {
            Format::Cifar10 => Vec::new(),
            Format::Cifar100 => {
                vec!["labels are the 100 fine ones; the 20 coarse ones are left out".to_owned()]
            }
        };
        Plan {
            name: source_name(path),
            classes,
            has_splits: self.splits.contains(&Split::Test) && self.splits.contains(&Split::Train),
            total: Some(self.records),
            notes,
            ..Plan::default()
        }
    }
}

impl Source for Cifar {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        let format = self.format;
        if self.batches.is_empty() {
            let path = self.path.clone();
            return each_entry(&self.path, &mut |entry| {
                let name = file_name(Path::new(&entry.path));
                match Format::of(&name) {
                    Some(_) => {
                        read_batch(&path.join(&entry.path), &name, entry.reader, entry.size, format, sink)
                    }
                    None => Ok(()),
                }
            });
        }
        for batch in &self.batches {
            let file = regular::open(batch).map_err(|e| Error::read(batch, e))?;
            let size = file.metadata().map_err(|e| Error::read(batch, e))?.len();
            let mut reader = BufReader::with_capacity(1 << 18, file);
            read_batch(batch, &file_name(batch), &mut reader, size, format, sink)?;
        }
        Ok(())
    }
}

fn read_batch(
    path: &Path,
    name: &str,
    reader: &mut dyn Read,
    size: u64,
    format: Format,
    sink: &mut Sink,
) -> Result<(), Halt> {
    let mut record = vec![0; format.record() as usize];
    for index in 0..size / format.record() {
        reader.read_exact(&mut record).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Error::damaged(path, "it ends early", FETCH),
            _ => Error::read(path, e),
        })?;
        let (labels, planes) = record.split_at(format.label_bytes());
        let label = labels[labels.len() - 1];
        if usize::from(label) >= format.classes() {
            let reason =
                format!("record {index} has label {label} where there are {} classes", format.classes());
            return Err(Error::malformed(path, reason).into());
        }
        sink.send(Item {
            name: format!("{name} image {index}"),
            split: Some(split_of(name)),
            label: Some(u32::from(label)),
            payload: Payload::Pixels(Pixels {
                width: SIDE as u32,
                height: SIDE as u32,
                channels: 3,
                bytes: interleave(planes),
            }),
        })?;
    }
    Ok(())
}

/// Three planes to one list of RGB pixels.
fn interleave(planes: &[u8]) -> Vec<u8> {
    let plane = planes.len() / 3;
    (0..plane).flat_map(|i| [planes[i], planes[plane + i], planes[2 * plane + i]]).collect()
}
