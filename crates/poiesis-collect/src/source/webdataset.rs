//! WebDataset: tar shards in which neighbouring files with the same name up to the first dot make one sample, an
//! image with its label in `.cls` (a number or a name) or `.json` (`label`, `class`, `cls` or `target`).
//!
//! Names like `scan.2023.01.png` would make one sample of many images. Where images share a key and none of them is the sample's own,
//! called by its key alone, each is a sample by its name up to the last dot.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::labels::{Classes, Label, LabelSurvey};
use super::tar::each_entry;
use super::{Halt, Item, Payload, Plan, Sink, Source, file_name, source_name, split_of};
use crate::decode::is_image_name;
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
    ) -> Self {
        let classes = survey.labels.classes();
        let mut notes: Vec<String> = notes.into_iter().collect();
        if survey.unlabelled > 0 {
            notes.push(format!("{} images have no label", survey.unlabelled));
        }
        if survey.apart > 0 {
            notes.push(format!(
                "{} images have names with dots that would make one sample of several; each is a sample by its name up to \
                 the last dot",
                survey.apart
            ));
        }
        if let Some(example) = &survey.beside_example {
            notes.push(format!(
                "{} images stand beside the image of their sample, such as {example}, and were left out",
                survey.beside
            ));
        }
        let plan = Plan {
            name: source_name(name),
            classes: classes.names.clone(),
            has_splits: by_shard,
            total: Some(survey.images + survey.orphans),
            notes,
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
                let (first, _) = cut_at_first(&entry.path);
                let (own, ending) = cut_at_last(&entry.path);
                let key = if self.shared.contains(first) { own } else { first };
                if key != sample.key {
                    let next = Sample { key: key.to_owned(), ..Sample::default() };
                    self.send(std::mem::replace(&mut sample, next), shard, split, sink)?;
                }
                if is_image_name(&entry.path) {
                    // Next to `0001.jpg` there may be `0001.mask.png`: the image of the sample is called by its key alone.
                    if sample.image.is_none() || (own == key && sample.own != key) {
                        own.clone_into(&mut sample.own);
                        sample.image = Some(entry.payload(&self.limits));
                    }
                } else if let Some(label) = read_label(ending, entry.reader) {
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

/// What a first pass over the shards finds.
#[derive(Default)]
pub(crate) struct Survey {
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
    /// Takes note of one file; reads it only when it may hold a label.
    pub(crate) fn add(&mut self, path: &str, reader: &mut dyn Read) {
        let (key, _) = cut_at_first(path);
        if key != self.key {
            self.end_sample();
            key.clone_into(&mut self.key);
        }
        let (own, ending) = cut_at_last(path);
        if is_image_name(path) {
            self.here.entry(own.to_owned()).or_default().images.push(path.to_owned());
        } else if let Some(label) = read_label(ending, reader) {
            self.here.entry(own.to_owned()).or_default().label = Some(label);
        }
    }

    /// A sample never continues in the next shard.
    pub(crate) fn end_shard(&mut self) {
        self.end_sample();
        self.key.clear();
    }

    /// Whether images come with labels in files next to them.
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

/// The label in a `.cls` or `.json` file; other files have none.
fn read_label(ending: &str, reader: &mut dyn Read) -> Option<Label> {
    let json = ending.eq_ignore_ascii_case("json");
    if !json && !ending.eq_ignore_ascii_case("cls") {
        return None;
    }
    let mut text = String::new();
    // What cannot be read as text is not a label; a broken archive shows itself at the next file.
    reader.take(MAX_TEXT).read_to_string(&mut text).ok()?;
    if !json {
        return Label::text(&text);
    }
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    let field = ["label", "class", "cls", "target"].iter().find_map(|name| value.get(name))?;
    match field {
        serde_json::Value::String(text) => Label::text(text),
        serde_json::Value::Number(number) => number.as_i64().and_then(Label::number),
        _ => None,
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
        assert_eq!(read("cls", "7\n"), Some(Label::Number(7)));
        assert_eq!(read("cls", "cat"), Some(Label::Name("cat".to_owned())));
        assert_eq!(read("json", r#"{"label": 3}"#), Some(Label::Number(3)));
        assert_eq!(read("json", r#"{"class": "dog", "x": [1]}"#), Some(Label::Name("dog".to_owned())));
        for (ending, text) in
            [("cls", ""), ("cls", "4000000000"), ("json", "{"), ("json", "[]"), ("txt", "1")]
        {
            assert_eq!(read(ending, text), None, "{ending} {text}");
        }
    }
}
