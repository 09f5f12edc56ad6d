//! Arrays of NumPy: `.npy` with images `[n, height, width]` or `[n, height, width, channels]` of whole numbers, and `.npz`
//! with such arrays and their labels, named as is usual: `arr_0` and `arr_1`, `images` and `labels`, or
//! `x_train`, `y_train`, `x_test`, `y_test`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::labels::{Classes, Label, LabelSurvey};
use super::levels::{Integer, Levels};
use super::{Halt, Item, Payload, Plan, Sink, Source, source_name};
use crate::error::{Error, Result};
use crate::options::Limits;
use crate::prepare::Pixels;
use crate::split::Split;

/// What helps with a damaged file.
const SAVE: &str = "save it again";

pub(crate) struct Npy {
    path: PathBuf,
    parts: Vec<Part>,
    /// The values of all images, which are scaled alike.
    levels: Levels,
    classes: Classes,
    plan: Plan,
}

/// One array of images with its labels.
struct Part {
    /// The array in the archive; none for a plain `.npy`.
    member: Option<String>,
    split: Option<Split>,
    labels: Option<Vec<Option<Label>>>,
}

impl Npy {
    /// A single array of images.
    pub(crate) fn open_npy(path: &Path) -> Result<Npy> {
        let mut reader = BufReader::new(File::open(path).map_err(|e| Error::read(path, e))?);
        let header = Header::read(&mut reader, path)?;
        let size = reader.get_ref().metadata().map_err(|e| Error::read(path, e))?.len();
        let images = Images::of(&header, path)?;
        check_length(&images, size.saturating_sub(header.start), path)?;
        let mut levels = Levels::default();
        levels.add(images.integer, &mut reader).map_err(|e| read_error(path, &e))?;
        let part = Part { member: None, split: None, labels: None };
        Ok(Self::new(path, vec![part], images.count as u64, levels))
    }

    /// An archive of arrays.
    pub(crate) fn open_npz(path: &Path, limits: &Limits) -> Result<Npy> {
        let mut archive = open_archive(path)?;
        let members: Vec<String> = archive
            .file_names_raw()
            .filter_map(|name| String::from_utf8_lossy(name).strip_suffix(".npy").map(str::to_owned))
            .collect();
        let roles: Vec<_> = members.iter().filter_map(|member| Some((member, role(member)?))).collect();
        let mut parts = Vec::new();
        let mut count = 0;
        let mut levels = Levels::default();
        for (member, (split, _)) in roles.iter().filter(|(_, (_, role))| *role == Role::Images) {
            let inside = path.join(format!("{member}.npy"));
            let mut entry = open_member(&mut archive, member, path)?;
            let size = entry.size();
            let header = Header::read(&mut entry, &inside)?;
            let images = Images::of(&header, &inside)?;
            check_length(&images, size.saturating_sub(header.start), &inside)?;
            levels.add(images.integer, &mut entry).map_err(|e| read_error(&inside, &e))?;
            drop(entry);
            let companion = roles.iter().find(|(_, (other, role))| other == split && *role == Role::Labels);
            let labels = match companion {
                Some((labels, _)) => Some(read_labels(&mut archive, labels, images.count, path, limits)?),
                None => None,
            };
            count += images.count as u64;
            parts.push(Part { member: Some((*member).clone()), split: *split, labels });
        }
        if parts.is_empty() {
            let reason = format!("none of its arrays ({}) is called like images", members.join(", "));
            return Err(Error::damaged(path, reason, "rename one to arr_0, images, x or x_train"));
        }
        parts.sort_by_key(|part| part.split);
        Ok(Self::new(path, parts, count, levels))
    }

    fn new(path: &Path, parts: Vec<Part>, count: u64, levels: Levels) -> Npy {
        let mut survey = LabelSurvey::default();
        parts
            .iter()
            .flat_map(|p| p.labels.iter().flatten().flatten())
            .for_each(|label| survey.add(label.clone()));
        let classes = survey.classes();
        let held = |part: &Part| part.split.unwrap_or(Split::Train);
        let plan = Plan {
            name: source_name(path),
            classes: classes.names.clone(),
            has_splits: parts.iter().any(|part| held(part) != held(&parts[0])),
            total: Some(count),
            notes: levels.note().into_iter().collect(),
            ..Plan::default()
        };
        Npy { path: path.to_owned(), parts, levels, classes, plan }
    }

    fn send(&self, part: &Part, name: &str, reader: &mut dyn Read, sink: &mut Sink) -> Result<(), Halt> {
        let mut reader = reader;
        let header = Header::read(&mut reader, &self.path)?;
        let Images { count, height, width, channels, integer } = Images::of(&header, &self.path)?;
        for i in 0..count {
            let values = height as usize * width as usize * usize::from(channels);
            let mut bytes = vec![0; values * integer.bytes];
            reader.read_exact(&mut bytes).map_err(|e| read_error(&self.path, &e))?;
            let bytes = self.levels.pixels(integer, bytes);
            let label = part.labels.as_ref().and_then(|labels| labels[i].clone());
            let label = label.and_then(|label| self.classes.index(label));
            let payload = Payload::Pixels(Pixels { width, height, channels, bytes });
            sink.send(Item { name: format!("{name} image {i}"), split: part.split, label, payload })?;
        }
        Ok(())
    }
}

impl Source for Npy {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for part in &self.parts {
            match &part.member {
                None => {
                    let file = File::open(&self.path).map_err(|e| Error::read(&self.path, e))?;
                    let mut reader = BufReader::with_capacity(1 << 18, file);
                    self.send(part, &super::file_name(&self.path), &mut reader, sink)?;
                }
                Some(member) => {
                    let mut archive = open_archive(&self.path)?;
                    let mut entry = open_member(&mut archive, member, &self.path)?;
                    self.send(part, member, &mut entry, sink)?;
                }
            }
        }
        Ok(())
    }
}

/// What an array is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Images,
    Labels,
}

/// `x_train`, `train_images`, `labels_test`, `arr_0`: a word for the role and perhaps one for the split.
fn role(member: &str) -> Option<(Option<Split>, Role)> {
    let name = member.to_ascii_lowercase();
    match name.as_str() {
        "arr_0" => return Some((None, Role::Images)),
        "arr_1" => return Some((None, Role::Labels)),
        _ => {}
    }
    let words: Vec<&str> = name.split(['_', '-', '.', '/']).collect();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    let split = words.iter().find_map(|word| Split::parse(word));
    if has(&["x", "images", "image", "imgs", "data", "samples"]) {
        return Some((split, Role::Images));
    }
    has(&["y", "labels", "label", "targets", "classes"]).then_some((split, Role::Labels))
}

/// The header of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    /// The type of the values as NumPy writes it, `|u1` or `<i8`.
    kind: String,
    fortran: bool,
    shape: Vec<usize>,
    /// Where the values begin.
    start: u64,
}

impl Header {
    fn read(reader: &mut impl Read, path: &Path) -> Result<Header> {
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            reader.read_exact(&mut bytes).map(|()| bytes).map_err(|e| read_error(path, &e))
        };
        let magic = read(8)?;
        let length_bytes = match (&magic[..6], magic[6]) {
            (b"\x93NUMPY", 1) => 2,
            (b"\x93NUMPY", 2 | 3) => 4,
            _ => return Err(Error::malformed(path, "it does not begin like an array of NumPy")),
        };
        let length =
            read(length_bytes)?.iter().rev().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
        if length > 1 << 16 {
            return Err(Error::malformed(path, format!("its header claims to be {length} bytes long")));
        }
        let text = String::from_utf8_lossy(&read(length)?).into_owned();
        let header = parse_header(&text, (8 + length_bytes + length) as u64);
        header.ok_or_else(|| Error::malformed(path, format!("its header cannot be read: {}", text.trim())))
    }
}

/// Reads the one kind of Python dictionary that NumPy writes:
/// `{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28), }`.
fn parse_header(text: &str, start: u64) -> Option<Header> {
    let after = |key: &str| {
        let at = text.find(&format!("'{key}'"))? + key.len() + 2;
        text[at..].trim_start().strip_prefix(':').map(str::trim_start)
    };
    let kind = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0.to_owned();
    let fortran = match after("fortran_order")? {
        value if value.starts_with("False") => false,
        value if value.starts_with("True") => true,
        _ => return None,
    };
    let shape = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Option<Vec<usize>> = sizes.map(|size| size.parse().ok()).collect();
    Some(Header { kind, fortran, shape: shape?, start })
}

/// An array of images.
struct Images {
    count: usize,
    height: u32,
    width: u32,
    channels: u8,
    integer: Integer,
}

impl Images {
    fn of(header: &Header, path: &Path) -> Result<Images> {
        let bad = |reason: String| Err(Error::malformed(path, reason));
        let save = |reason: String, remedy: &str| Err(Error::damaged(path, reason, remedy));
        let Some(integer) = Integer::parse(&header.kind) else {
            let kind = &header.kind;
            return save(format!("its values are of type {kind}"), "save them as uint8 in 0 to 255");
        };
        if header.fortran {
            let reason = "its values are in Fortran order".to_owned();
            return save(reason, "save it with numpy.ascontiguousarray");
        }
        let (count, height, width, channels) = match header.shape[..] {
            [count, height, width] => (count, height, width, 1),
            [count, height, width, channels] => (count, height, width, channels),
            _ => {
                return bad(format!(
                    "its shape {:?} is not [n, height, width] or [n, height, width, channels]",
                    header.shape
                ));
            }
        };
        if !(1..=4).contains(&channels) {
            return bad(format!(
                "its shape {:?} has {channels} channels; 1 to 4 can be read, as the last axis",
                header.shape
            ));
        }
        let allowed = 1..=65_535;
        if count == 0 || !allowed.contains(&height) || !allowed.contains(&width) {
            return bad(format!("its shape {:?} holds no images of a usable size", header.shape));
        }
        let (height, width, channels) = (height as u32, width as u32, channels as u8);
        Ok(Images { count, height, width, channels, integer })
    }
}

/// The values must be exactly as many as the header says.
fn check_length(images: &Images, found: u64, path: &Path) -> Result<()> {
    let pixels = u128::from(images.height) * u128::from(images.width) * u128::from(images.channels);
    let expected = images.count as u128 * pixels * images.integer.bytes as u128;
    if expected == u128::from(found) {
        return Ok(());
    }
    let reason = format!("its header promises {expected} bytes of images, but it holds {found}");
    Err(Error::damaged(path, reason, SAVE))
}

fn read_labels(
    archive: &mut ZipArchive<BufReader<File>>,
    member: &str,
    images: usize,
    path: &Path,
    limits: &Limits,
) -> Result<Vec<Option<Label>>> {
    let inside = path.join(format!("{member}.npy"));
    let mut entry = open_member(archive, member, path)?;
    let header = Header::read(&mut entry, &inside)?;
    let fits = matches!(header.shape[..], [n] | [n, 1] if n == images);
    if !fits {
        let reason = format!("its shape {:?} does not fit the {images} images of the archive", header.shape);
        return Err(Error::malformed(&inside, reason));
    }
    let Some(integer) = Integer::parse(&header.kind) else {
        let reason = format!("labels of type {} are not read", header.kind);
        return Err(Error::damaged(&inside, reason, "save them as whole numbers"));
    };
    let expected = images.saturating_mul(integer.bytes);
    if expected as u64 > limits.file_bytes {
        return Err(Error::malformed(&inside, "it is above the limit of size for one entry"));
    }
    let mut bytes = Vec::new();
    entry.take(expected as u64 + 1).read_to_end(&mut bytes).map_err(|e| read_error(&inside, &e))?;
    if bytes.len() != expected {
        return Err(Error::malformed(
            &inside,
            format!("its header promises {images} labels, but it holds another number"),
        ));
    }
    // What an i64 cannot hold is no class, and neither is -1.
    let number = |value: &[u8]| Label::number(i64::try_from(integer.read(value)).unwrap_or(-1));
    Ok(bytes.chunks_exact(integer.bytes).map(number).collect())
}

fn open_archive(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    let file = File::open(path).map_err(|e| Error::read(path, e))?;
    ZipArchive::new(BufReader::with_capacity(1 << 17, file))
        .map_err(|e| Error::damaged(path, e.to_string(), SAVE))
}

fn open_member<'a>(
    archive: &'a mut ZipArchive<BufReader<File>>,
    member: &str,
    path: &Path,
) -> Result<zip::read::ZipFile<'a, BufReader<File>>> {
    archive
        .by_name(&format!("{member}.npy"))
        .map_err(|e| Error::damaged(path, format!("{member}: {e}"), SAVE))
}

fn read_error(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::damaged(path, "it ends early", SAVE),
        _ => Error::damaged(path, error.to_string(), SAVE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_arrays_tell_what_they_are() {
        assert_eq!(role("x_train"), Some((Some(Split::Train), Role::Images)));
        assert_eq!(role("val_labels"), Some((Some(Split::Validation), Role::Labels)));
        assert_eq!(role("arr_0"), Some((None, Role::Images)));
        assert_eq!(role("weights"), None);
    }

    #[test]
    fn a_header_as_numpy_writes_it() {
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28), }          \n";
        let header = parse_header(text, 128).unwrap();
        assert_eq!(
            header,
            Header { kind: "|u1".into(), fortran: false, shape: vec![60_000, 28, 28], start: 128 }
        );
        assert_eq!(
            parse_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 0),
            None
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_header_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), tail in ".{0,120}") {
            let _ = Header::read(&mut bytes.as_slice(), Path::new("x.npy"));
            let mut close = b"\x93NUMPY\x01\x00\x78\x00".to_vec();
            close.extend(tail.bytes().chain(std::iter::repeat(b' ')).take(120));
            if let Ok(header) = Header::read(&mut close.as_slice(), Path::new("x.npy")) {
                let _ = Images::of(&header, Path::new("x.npy")).map(|images| check_length(&images, 7, Path::new("x.npy")));
            }
        }
    }
}
