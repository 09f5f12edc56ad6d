//! WebDataset: tar shards in which neighbouring files with the same name up to the first dot make one sample, an
//! image or a clip of sound with its label in `.cls` (a number or a name) or `.json` (`label`, `class`, `cls` or `target`).
//! What is said of images below holds for clips.
//!
//! Names like `scan.2023.01.png` would make one sample of many images. Where images share a key and none of them is the sample's own,
//! called by its key alone, each is a sample by its name up to the last dot.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::contents::Filter;
use super::encoding::{escaped_note, is_escaped};
use super::labels::{Classes, Found, Label, LabelSurvey};
use super::tar::each_entry;
use super::{Halt, Item, Media, Payload, Plan, Sink, Source, file_name, source_name, split_of};
use crate::options::Limits;
use crate::split::Split;

/// Longest `.cls` or `.json` file that is looked at, in bytes.
const MAX_TEXT: u64 = 1 << 20;

pub(crate) struct WebDataset {
    shards: Vec<PathBuf>,
    by_shard: bool,
    classes: Classes,
    limits: Limits,
    plan: Plan,
    /// Keys up to the first dot that several images share, which are cut at the last instead.
    shared: BTreeSet<String>,
}

impl WebDataset {
    pub(crate) fn new(
        name: &Path,
        shards: &[PathBuf],
        by_shard: bool,
        survey: Survey,
        notes: Option<String>,
        limits: &Limits,
        filter: Filter,
    ) -> Self {
        let mut notes: Vec<String> = notes.into_iter().chain(survey.labels.note()).collect();
        let classes = survey.labels.classes();
        let (examples, example) = match survey.media {
            Media::Sound => ("clips", "clip"),
            _ => ("images", "image"),
        };
        if survey.unlabelled > 0 {
            notes.push(format!("{} {examples} have no label", survey.unlabelled));
        }
        if survey.apart > 0 {
            notes.push(format!(
                "{} {examples} have names with dots that would make one sample of several; each is a sample by its name up to \
                 the last dot",
                survey.apart
            ));
        }
        notes.extend(escaped_note(survey.escaped));
        if let Some(first) = &survey.beside_example {
            notes.push(format!(
                "{} {examples} stand beside the {example} of their sample, such as {first}, and were left out",
                survey.beside
            ));
        }
        let plan = Plan {
            name: source_name(name),
            media: survey.media,
            classes: classes.names.clone(),
            has_splits: by_shard,
            total: Some(survey.images + survey.orphans),
            notes,
            filter,
            ..Plan::default()
        };
        let shared = survey.shared;
        WebDataset { shards: shards.to_vec(), by_shard, classes, limits: *limits, plan, shared }
    }

    fn send(&self, sample: Sample, shard: &Path, split: Option<Split>, sink: &mut Sink) -> Result<(), Halt> {
        let name = format!("{}: {}", file_name(shard), sample.key);
        let label = sample.label();
        let payload = match (sample.image, &label) {
            (Some(payload), _) => payload,
            (None, Some(_)) if self.plan.media == Media::Sound => {
                Payload::Refused("there is a label but no sound".to_owned())
            }
            (None, Some(_)) => Payload::Refused("there is a label but no image".to_owned()),
            (None, None) => return Ok(()),
        };
        let label = label.and_then(|label| self.classes.index(label));
        sink.send(Item { name, split, label, payload })
    }
}

impl Source for WebDataset {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for shard in &self.shards {
            let split = if self.by_shard { split_of(shard) } else { None };
            let mut sample = Sample::default();
            each_entry(shard, &mut |mut entry| {
                if !self.plan.filter.includes(&entry.path) {
                    return Ok(());
                }
                let (first, _) = cut_at_first(&entry.path);
                let (own, ending) = cut_at_last(&entry.path);
                let key = if self.shared.contains(first) { own } else { first };
                if key != sample.key {
                    let next = Sample { key: key.to_owned(), ..Sample::default() };
                    self.send(std::mem::replace(&mut sample, next), shard, split, sink)?;
                }
                if Media::of(&entry.path) == Some(self.plan.media) {
                    // Next to `0001.jpg` there may be `0001.mask.png`: the image of the sample is called by its key alone.
                    if sample.image.is_none() || (own == key && sample.own != key) {
                        own.clone_into(&mut sample.own);
                        sample.image = Some(entry.payload(&self.limits));
                    }
                } else if let Some(Ok(Some(label))) = read_label(ending, entry.reader) {
                    // The survey has counted the labels that cannot be read.
                    sample.labels.insert(own.to_owned(), label);
                }
                Ok::<(), Halt>(())
            })?;
            self.send(sample, shard, split, sink)?;
        }
        Ok(())
    }
}

/// The files of one sample gathered so far.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<Payload>,
    /// The name of the image up to the last dot.
    own: String,
    /// Labels by their names up to the last dot.
    labels: BTreeMap<String, Label>,
}

impl Sample {
    /// The label called by the key alone, else the one called like the image.
    fn label(&self) -> Option<Label> {
        label_of(&self.key, &self.own, |name| self.labels.get(name)).cloned()
    }
}

/// The label of a sample: the one called by its key, else the one called like its image.
fn label_of<'a>(key: &str, own: &str, get: impl Fn(&str) -> Option<&'a Label>) -> Option<&'a Label> {
    get(key).or_else(|| get(own))
}

/// What a first pass over the shards finds, if their samples are of one kind.
#[derive(Default)]
pub(crate) struct Survey {
    media: Media,
    key: String,
    /// The files with that key, by their names up to the last dot.
    here: BTreeMap<String, Here>,
    /// Samples with an image.
    images: u64,
    /// Samples with an image and a label.
    labelled: u64,
    unlabelled: u64,
    /// Labels without an image.
    orphans: u64,
    /// Keys that several images share.
    shared: BTreeSet<String>,
    /// Images with such keys.
    apart: u64,
    /// Images that are not the image of their sample, and the first of them.
    beside: u64,
    beside_example: Option<String>,
    /// Files whose names are not UTF-8.
    escaped: u64,
    labels: LabelSurvey,
}

/// The files with one name up to the last dot.
#[derive(Default)]
struct Here {
    /// The paths of images.
    images: Vec<String>,
    label: Option<Label>,
}

impl Survey {
    /// Begins a survey of samples with an image, or with sound.
    pub(crate) fn of(media: Media) -> Survey {
        Survey { media, ..Survey::default() }
    }

    /// Takes note of one file, with its label if it is a file of one.
    pub(crate) fn add(&mut self, path: &str, label: Option<Found>) {
        self.escaped += u64::from(is_escaped(path));
        let (key, _) = cut_at_first(path);
        if key != self.key {
            self.end_sample();
            key.clone_into(&mut self.key);
        }
        let (own, _) = cut_at_last(path);
        match label {
            _ if Media::of(path) == Some(self.media) => {
                self.here.entry(own.to_owned()).or_default().images.push(path.to_owned());
            }
            Some(Ok(Some(label))) => self.here.entry(own.to_owned()).or_default().label = Some(label),
            Some(found) => self.labels.add_found(found, || path.to_owned()),
            None => {}
        }
    }

    /// A sample never continues in the next shard.
    pub(crate) fn end_shard(&mut self) {
        self.end_sample();
        self.key.clear();
    }

    /// What to say about labels that cannot be read.
    pub(crate) fn note(&self) -> Option<String> {
        self.labels.note()
    }

    /// The kind of its samples.
    pub(crate) fn media(&self) -> Media {
        self.media
    }

    /// Whether its samples come with labels in files next to them.
    pub(crate) fn is_webdataset(&self) -> bool {
        self.labelled > 0
    }

    fn end_sample(&mut self) {
        let here = std::mem::take(&mut self.here);
        let own_image = here.get(&self.key).is_some_and(|here| !here.images.is_empty());
        let with_image = here.values().filter(|here| !here.images.is_empty()).count();
        if with_image > 1 && !own_image {
            self.apart += with_image as u64;
            self.shared.insert(self.key.clone());
            for Here { images, label } in here.into_values() {
                self.leave_out(images.get(1..).unwrap_or_default());
                self.count(!images.is_empty(), label);
            }
            return;
        }
        let first = here.iter().find(|(_, here)| !here.images.is_empty()).map(|(own, _)| own.clone());
        let own = if own_image { self.key.clone() } else { first.unwrap_or_else(|| self.key.clone()) };
        let label = label_of(&self.key, &own, |name| here.get(name)?.label.as_ref()).cloned();
        for (name, Here { images, .. }) in &here {
            self.leave_out(images.get(usize::from(*name == own)..).unwrap_or_default());
        }
        self.count(with_image > 0, label);
    }

    /// Counts one sample.
    fn count(&mut self, image: bool, label: Option<Label>) {
        self.images += u64::from(image);
        match (image, label) {
            (true, Some(label)) => {
                self.labelled += 1;
                self.labels.add(label);
            }
            (true, None) => self.unlabelled += 1,
            (false, Some(_)) => self.orphans += 1,
            (false, None) => {}
        }
    }

    /// Counts images that are not the image of their sample.
    fn leave_out(&mut self, images: &[String]) {
        self.beside += images.len() as u64;
        if self.beside_example.is_none() {
            self.beside_example = images.first().cloned();
        }
    }
}

/// The name of a sample and what follows: a path is cut at the first dot of its last part.
fn cut_at_first(path: &str) -> (&str, &str) {
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    cut(path, path[start..].find('.').map(|dot| start + dot))
}

/// The name of a file and its ending: a path is cut at the last dot of its last part.
fn cut_at_last(path: &str) -> (&str, &str) {
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    cut(path, path[start..].rfind('.').map(|dot| start + dot))
}

fn cut(path: &str, dot: Option<usize>) -> (&str, &str) {
    dot.map_or((path, ""), |dot| (&path[..dot], &path[dot + 1..]))
}

/// The label in the file of an archive.
pub(crate) fn label_in(path: &str, reader: &mut dyn Read) -> Option<Found> {
    read_label(cut_at_last(path).1, reader)
}

/// The label in a `.cls` or `.json` file; other files have none.
fn read_label(ending: &str, reader: &mut dyn Read) -> Option<Found> {
    let json = ending.eq_ignore_ascii_case("json");
    if !json && !ending.eq_ignore_ascii_case("cls") {
        return None;
    }
    let mut bytes = Vec::new();
    // A broken archive shows itself at the next file.
    reader.take(MAX_TEXT).read_to_end(&mut bytes).ok()?;
    if !json {
        return Some(Label::bytes(&bytes));
    }
    if bytes.len() as u64 == MAX_TEXT {
        return Some(Err(format!("it has {MAX_TEXT} bytes or more")));
    }
    let value: serde_json::Value = match serde_json::from_slice(&bytes) {
        Ok(value) => value,
        Err(error) => return Some(Err(format!("it is not valid JSON: {error}"))),
    };
    let field = ["label", "class", "cls", "target"].iter().find_map(|name| value.get(name))?;
    Some(of_json(field))
}

/// The label in a field of JSON.
fn of_json(field: &serde_json::Value) -> Found {
    use serde_json::Value;
    let number =
        |value: &Value| value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes))));
    match field {
        Value::Null => Ok(None),
        Value::String(text) => Label::text(text),
        Value::Bool(yes) => Label::number(i128::from(*yes)),
        Value::Number(number) => match number.as_i128() {
            Some(number) => Label::number(number),
            None => Label::real(number.as_f64().unwrap_or(f64::INFINITY)),
        },
        Value::Array(values) => match values.as_slice() {
            [Value::String(text)] => Label::text(text),
            values => match values.iter().map(number).collect::<Option<Vec<f64>>>() {
                Some(values) => Label::list(&values),
                None => Err("its values are not numbers".to_owned()),
            },
        },
        Value::Object(_) => Err("it is an object, not a number or a name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_at_the_first_dot_of_the_file_name() {
        assert_eq!(cut_at_first("a.b/0001.seg.png"), ("a.b/0001", "seg.png"));
        assert_eq!(cut_at_last("a.b/0001.seg.png"), ("a.b/0001.seg", "png"));
        assert_eq!([cut_at_first("0001.cls"), cut_at_last("0001.cls")], [("0001", "cls"); 2]);
        assert_eq!([cut_at_first("a.b/README"), cut_at_last("a.b/README")], [("a.b/README", ""); 2]);
    }

    #[test]
    fn labels_are_numbers_or_names_in_either_kind_of_file() {
        let read = |ending: &str, text: &str| read_label(ending, &mut text.as_bytes());
        let (number, name) =
            (|n| Some(Ok(Some(Label::Number(n)))), |name: &str| Some(Ok(Some(Label::Name(name.to_owned())))));
        assert_eq!(read("cls", "7\n"), number(7));
        assert_eq!(read("cls", "cat"), name("cat"));
        for text in ["3", "3.0", "[3]", "[0, 0, 0, 1]", "[false, false, false, true]"] {
            assert_eq!(read("json", &format!(r#"{{"label": {text}}}"#)), number(3), "{text}");
        }
        assert_eq!(read("json", r#"{"class": "dog", "x": [1]}"#), name("dog"));
        assert_eq!(read("json", r#"{"cls": ["dog"]}"#), name("dog"));
        for (ending, text) in [("cls", ""), ("cls", "-1"), ("json", r#"{"label": null}"#)] {
            assert_eq!(read(ending, text), Some(Ok(None)), "{ending} {text}");
        }
        for (ending, text) in [("json", "[]"), ("json", r#"{"caption": "a dog"}"#), ("txt", "1")] {
            assert_eq!(read(ending, text), None, "{ending} {text}");
        }
        for (ending, text) in [
            ("cls", "4000000000"),
            ("json", "{"),
            ("json", r#"{"label": {}}"#),
            ("json", r#"{"label": 0.5}"#),
        ] {
            assert!(read(ending, text).unwrap().is_err(), "{ending} {text}");
        }
    }
}
