//! Arrays of NumPy: `.npy` with images, and `.npz` with such arrays and their labels, named as is usual: `arr_0` and `arr_1`,
//! `images` and `labels`, or `x_train`, `y_train`, `x_test`, `y_test`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::array::{Header, SAVE, read_error};
use super::array_labels::read_labels;
use super::labels::{Classes, Found, LabelSurvey};
use super::layout::Layout;
use super::reals::{Number, Ranges};
use super::{Halt, Item, Payload, Plan, Sink, Source, source_name};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::prepare::Pixels;
use crate::regular;
use crate::split::Split;

/// The remedy for an array whose shape does not say how its images lie in it.
const SHAPE: &str = "give the `shape` of one image, such as 28,28,1";

pub(crate) struct Npy {
    path: PathBuf,
    parts: Vec<Part>,
    /// The values of all images, which are scaled alike.
    ranges: Ranges,
    classes: Classes,
    plan: Plan,
}

/// One array of images with its labels.
struct Part {
    /// The array in the archive; none for a plain `.npy`.
    member: Option<String>,
    split: Option<Split>,
    images: Images,
    labels: Option<Vec<Found>>,
}

impl Npy {
    /// A single array of images.
    pub(crate) fn open_npy(path: &Path, options: &Options) -> Result<Npy> {
        let mut reader = BufReader::new(regular::open(path).map_err(|e| Error::read(path, e))?);
        let header = Header::read(&mut reader, path)?;
        let size = reader.get_ref().metadata().map_err(|e| Error::read(path, e))?.len();
        let images = Images::of(&header, size, path, options)?;
        let mut ranges = Ranges::default();
        ranges.add(images.number, &mut reader).map_err(|e| read_error(path, &e))?;
        let part = Part { member: None, split: None, images, labels: None };
        Ok(Self::new(path, vec![part], ranges, Vec::new()))
    }

    /// An archive of arrays.
    pub(crate) fn open_npz(path: &Path, options: &Options) -> Result<Npy> {
        let mut archive = open_archive(path)?;
        let members: Vec<String> = archive
            .file_names_raw()
            .filter_map(|name| String::from_utf8_lossy(name).strip_suffix(".npy").map(str::to_owned))
            .collect();
        let roles: Vec<_> = members.iter().filter_map(|member| Some((member, role(member)?))).collect();
        let (mut parts, mut ranges, mut notes) = (Vec::new(), Ranges::default(), Vec::new());
        for (member, (split, _)) in roles.iter().filter(|(_, (_, role))| *role == Role::Images) {
            let inside = path.join(format!("{member}.npy"));
            let mut entry = open_member(&mut archive, member, path)?;
            let size = entry.size();
            let header = Header::read(&mut entry, &inside)?;
            let images = Images::of(&header, size, &inside, options)?;
            ranges.add(images.number, &mut entry).map_err(|e| read_error(&inside, &e))?;
            drop(entry);
            let companion = roles.iter().find(|(_, (other, role))| other == split && *role == Role::Labels);
            let mut labels = None;
            if let Some((member, _)) = companion {
                let inside = path.join(format!("{member}.npy"));
                let mut entry = open_member(&mut archive, member, path)?;
                match read_labels(&mut entry, &inside, images.layout.count, &options.limits)? {
                    Ok(found) => labels = Some(found),
                    Err(reason) => notes.push(format!(
                        "the {} labels of {member} {reason}, and were left out",
                        images.layout.count
                    )),
                }
            }
            parts.push(Part { member: Some((*member).clone()), split: *split, images, labels });
        }
        if parts.is_empty() {
            let reason = format!("none of its arrays ({}) is called like images", members.join(", "));
            return Err(Error::damaged(path, reason, "rename one to arr_0, images, x or x_train"));
        }
        parts.sort_by_key(|part| part.split);
        Ok(Self::new(path, parts, ranges, notes))
    }

    fn new(path: &Path, parts: Vec<Part>, ranges: Ranges, mut notes: Vec<String>) -> Npy {
        let mut survey = LabelSurvey::default();
        for part in &parts {
            let name = part.member.as_deref().unwrap_or_default();
            for (i, found) in part.labels.iter().flatten().enumerate() {
                survey.add_found(found.clone(), || format!("that of {name} image {i}"));
            }
        }
        notes.extend(parts.iter().filter_map(|part| part.images.layout.note.clone()));
        notes.extend(ranges.notes());
        notes.extend(survey.note());
        let classes = survey.classes();
        let held = |part: &Part| part.split.unwrap_or(Split::Train);
        let plan = Plan {
            name: source_name(path),
            classes: classes.names.clone(),
            has_splits: parts.iter().any(|part| held(part) != held(&parts[0])),
            total: Some(parts.iter().map(|part| part.images.layout.count as u64).sum()),
            shaped: true,
            notes,
            ..Plan::default()
        };
        Npy { path: path.to_owned(), parts, ranges, classes, plan }
    }

    fn send(&self, part: &Part, name: &str, reader: &mut dyn Read, sink: &mut Sink) -> Result<(), Halt> {
        let mut reader = reader;
        // Where the values begin.
        Header::read(&mut reader, &self.path)?;
        let Images { number, layout } = &part.images;
        let &Layout { count, height, width, channels, .. } = layout;
        let size = layout.values() * number.bytes() as u64;
        for i in 0..count {
            // What the file claims is not trusted before it is there.
            let mut bytes = Vec::new();
            (&mut reader).take(size).read_to_end(&mut bytes).map_err(|e| read_error(&self.path, &e))?;
            if bytes.len() as u64 != size {
                return Err(read_error(&self.path, &io::ErrorKind::UnexpectedEof.into()).into());
            }
            let payload = match self.ranges.pixels(*number, bytes) {
                Ok(bytes) => {
                    Payload::Pixels(Pixels { width, height, channels, bytes: layout.channels_last(bytes) })
                }
                Err(reason) => Payload::Refused(reason),
            };
            let label = part.labels.as_ref().and_then(|labels| labels[i].clone().ok().flatten());
            let label = label.and_then(|label| self.classes.index(label));
            sink.send(Item { name: format!("{name} image {i}"), split: part.split, label, payload })?;
        }
        // Reading on to the end lets the archive check its sum over everything.
        io::copy(&mut reader, &mut io::sink()).map_err(|e| read_error(&self.path, &e))?;
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
                    let file = regular::open(&self.path).map_err(|e| Error::read(&self.path, e))?;
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

/// An array of images.
struct Images {
    number: Number,
    layout: Layout,
}

impl Images {
    /// Checks the header of an array, in a file of `size` bytes.
    fn of(header: &Header, size: u64, path: &Path, options: &Options) -> Result<Images> {
        let save = |reason: String, remedy: &str| Err(Error::damaged(path, reason, remedy));
        let Some(number) = Number::parse(&header.kind) else {
            return save(format!("its values are of type {}", header.kind), "save them as uint8 in 0 to 255");
        };
        if header.fortran {
            let reason = "its values are in Fortran order".to_owned();
            return save(reason, "save it with numpy.ascontiguousarray");
        }
        let layout = Layout::of(&header.shape, options.shape).map_err(|reason| Error::Malformed {
            path: path.to_owned(),
            reason,
            remedy: SHAPE.to_owned(),
            option: Some("shape".to_owned()),
        })?;
        let found = size.saturating_sub(header.start);
        let expected = layout.count as u128 * u128::from(layout.values()) * number.bytes() as u128;
        if expected != u128::from(found) {
            let reason = format!("its header promises {expected} bytes of images, but it holds {found}");
            return save(reason, SAVE);
        }
        let (pixels, limits) = (layout.values() / u64::from(layout.channels), &options.limits);
        let bytes = layout.values() * number.bytes() as u64;
        if pixels > limits.pixels || bytes > limits.file_bytes {
            let reason = format!(
                "its images have {pixels} pixels of {bytes} bytes, above the limit of {} pixels or {} bytes",
                limits.pixels, limits.file_bytes
            );
            return Err(Error::malformed(path, reason));
        }
        Ok(Images { number, layout })
    }
}

fn open_archive(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    let file = regular::open(path).map_err(|e| Error::read(path, e))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_arrays_tell_what_they_are() {
        assert_eq!(role("x_train"), Some((Some(Split::Train), Role::Images)));
        assert_eq!(role("val_labels"), Some((Some(Split::Validation), Role::Labels)));
        assert_eq!(role("arr_0"), Some((None, Role::Images)));
        assert_eq!(role("weights"), None);
    }
}
