//! Finds the files of a source that hold episodes, and reads them one after another.
//!
//! Arrays of one folder that are called observations and actions are a set. So are such arrays in an archive `.npz`, a parquet table
//! with such columns, and a file `.jsonl` whose first record has such fields.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::arrays::Arrays;
use super::assemble::Outcome;
use super::column::{Place, members};
use super::names::roles;
use super::{lines, table};
use crate::card::Kind;
use crate::error::{Error, Result};
use crate::options::{Limits, Options};
use crate::source::parquet::About;
use crate::source::{Halt, Item, Media, Payload, Plan, Sink, Source, source_name, split_of_name};
use crate::split::Split;

/// A set of episodes in a source.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Its path in the source; empty where it is the whole source.
    name: String,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Arrays(Arrays),
    Table(PathBuf),
    Lines(PathBuf),
}

impl Part {
    /// The set in an archive of arrays or a file of records, whose path in the source is `name`; `None` where it is not experience.
    /// What cannot be read is none.
    pub(crate) fn of_file(path: &Path, name: &str) -> Option<Part> {
        let lower = name.to_ascii_lowercase();
        let form = if lower.ends_with(".npz") {
            Form::Arrays(in_archive(path)?)
        } else if is_lines(name) {
            Form::Lines(lines::is_experience(path).then(|| path.to_owned())?)
        } else {
            return None;
        };
        Some(Part { name: name.to_owned(), form })
    }

    /// The sets among loose arrays, each given by its path in the source and on disk, and which of the arrays belong to one.
    pub(crate) fn of_arrays(arrays: &[(&str, &Path)]) -> (Vec<Part>, BTreeSet<usize>) {
        let mut folders: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
        for (at, (name, _)) in arrays.iter().enumerate() {
            let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
            if let Some((stem, ending)) = file.rsplit_once('.')
                && ending.eq_ignore_ascii_case("npy")
            {
                folders.entry(folder).or_default().push((at, stem));
            }
        }
        let (mut parts, mut taken) = (Vec::new(), BTreeSet::new());
        for (folder, files) in folders {
            let Some(found) = roles(&files.iter().map(|(_, stem)| *stem)) else { continue };
            let mut places = Vec::new();
            for (role, stem) in found {
                if let Some((at, _)) = files.iter().find(|(_, known)| *known == stem) {
                    places.push((role, Place::File(arrays[*at].1.to_owned())));
                    taken.insert(*at);
                }
            }
            parts.push(Part { name: folder.to_owned(), form: Form::Arrays(Arrays { places }) });
        }
        (parts, taken)
    }

    /// The sets in tables, each given by its path in the source and on disk, of which the first says `about` itself that it is
    /// experience; `None` where it does not.
    pub(crate) fn of_tables<'a>(
        about: &About,
        tables: impl IntoIterator<Item = (&'a str, &'a Path)>,
    ) -> Option<Vec<Part>> {
        table::played(about)?;
        let part =
            |(name, path): (&str, &Path)| Part { name: name.to_owned(), form: Form::Table(path.to_owned()) };
        Some(tables.into_iter().map(part).collect())
    }

    /// Why an archive of arrays cannot be read, if it cannot.
    pub(crate) fn expect_readable(archive: &Path) -> Result<()> {
        members(archive).map(drop)
    }

    /// Its path in the source; empty where it is the whole source.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The split that its path names: the file or the nearest folder that does.
    fn split(&self) -> Option<Split> {
        self.name.rsplit('/').find_map(split_of_name)
    }

    /// The name of an episode: where it lies in the part, after the part if there are others.
    fn episode(&self, at: u64, several: bool) -> String {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        let part = if several { self.name.as_str() } else { file };
        match (&self.form, part) {
            (Form::Lines(_), part) => format!("{part}:{at}"),
            (_, "") => format!("episode {at}"),
            (_, part) => format!("{part} episode {at}"),
        }
    }

    /// Reads its episodes, each with its number or line.
    fn read<E: From<Error>>(
        &self,
        limits: &Limits,
        visit: &mut dyn FnMut(u64, Outcome) -> Result<(), E>,
    ) -> Result<(), E> {
        // Two batches are in memory at a time, one of them being written.
        let most = limits.file_bytes;
        let mut at = 0;
        let mut counted = |outcome: Outcome| {
            at += 1;
            visit(at - 1, outcome)
        };
        match &self.form {
            Form::Arrays(arrays) => arrays.read(most, &mut counted),
            Form::Table(path) => table::read(path, limits, most, &mut counted),
            Form::Lines(path) => lines::read(path, limits, most, visit),
        }
    }
}

/// Whether a file name is that of records by line, compressed or not.
pub(crate) fn is_lines(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let stem = ["gz", "bz2", "xz", "zst"].iter().find_map(|ending| lower.strip_suffix(&format!(".{ending}")));
    let stem = stem.unwrap_or(&lower);
    stem.ends_with(".jsonl") || stem.ends_with(".ndjson")
}

/// The arrays of an archive that are a set.
fn in_archive(path: &Path) -> Option<Arrays> {
    let names = members(path).ok()?;
    let found = roles(&names.iter().map(String::as_str))?;
    let place = |name: &str| Place::Member(path.to_owned(), name.to_owned());
    Some(Arrays { places: found.into_iter().map(|(role, name)| (role, place(name))).collect() })
}

/// Whether a source may be taken for experience.
pub(crate) fn is_wanted(options: &Options) -> bool {
    options.kind.is_none_or(|kind| kind == Kind::Experience)
}

/// A source of episodes.
pub(crate) struct Experience {
    parts: Vec<Part>,
    limits: Limits,
    plan: Plan,
}

impl Experience {
    /// Opens the parts of the source at `path`, at least one.
    pub(crate) fn open(path: &Path, parts: Vec<Part>, options: &Options) -> Result<Experience> {
        let held = |part: &Part| part.split().unwrap_or(Split::Train);
        let mut total = Some(0);
        for part in &parts {
            let count = match &part.form {
                Form::Arrays(arrays) => arrays.count()?,
                Form::Table(_) | Form::Lines(_) => None,
            };
            total = total.zip(count).map(|(sum, count): (u64, u64)| sum.saturating_add(count));
        }
        let mut notes = Vec::new();
        if parts.len() > 1 {
            notes.push(format!("{} sets of episodes are one data set", parts.len()));
        }
        let plan = Plan {
            name: source_name(path),
            media: Media::Experience,
            has_splits: parts.iter().any(|part| held(part) != held(&parts[0])),
            total,
            notes,
            ..Plan::default()
        };
        Ok(Experience { parts, limits: options.limits, plan })
    }
}

impl Source for Experience {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        let several = self.parts.len() > 1;
        for part in &self.parts {
            let split = part.split();
            part.read(&self.limits, &mut |at, outcome| {
                let payload = match outcome {
                    Ok(found) => Payload::Episode(Box::new(found)),
                    Err(reason) => Payload::Refused(reason),
                };
                sink.send(Item { name: part.episode(at, several), split, label: None, payload })
            })?;
        }
        Ok(())
    }
}
