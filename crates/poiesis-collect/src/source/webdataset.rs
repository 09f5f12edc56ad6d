//! WebDataset: tar shards in which neighbouring files with the same name up to the first dot make one sample, an
//! image with its label in `.cls` (a number or a name) or `.json` (`label`, `class`, `cls` or `target`).

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
}

impl WebDataset {
    pub(crate) fn new(
        name: &Path,
        shards: &[PathBuf],
        by_shard: bool,
        survey: Survey,
        limits: &Limits,
    ) -> Self {
        let classes = survey.labels.classes();
        let mut notes = Vec::new();
        if survey.unlabelled > 0 {
            notes.push(format!("{} images have no label", survey.unlabelled));
        }
        let plan = Plan {
            name: source_name(name),
            classes: classes.names.clone(),
            has_splits: by_shard,
            total: Some(survey.images + survey.orphans),
            notes,
            ..Plan::default()
        };
        WebDataset { shards: shards.to_vec(), by_shard, classes, limits: *limits, plan }
    }

    fn send(&self, sample: Sample, shard: &Path, split: Option<Split>, sink: &mut Sink) -> Result<(), Halt> {
        let name = format!("{}: {}", file_name(shard), sample.key);
        let payload = match (sample.image, &sample.label) {
            (Some(payload), _) => payload,
            (None, Some(_)) => Payload::Refused("there is a label but no image".to_owned()),
            (None, None) => return Ok(()),
        };
        let label = sample.label.and_then(|label| self.classes.index(label));
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
                let (key, ending) = key_and_ending(&entry.path);
                if key != sample.key {
                    let next = Sample { key: key.to_owned(), ..Sample::default() };
                    self.send(std::mem::replace(&mut sample, next), shard, split, sink)?;
                }
                if is_image_name(&entry.path) {
                    // Next to `0001.jpg` there may be `0001.mask.png`: the shorter ending is the picture.
                    let plain = !ending.contains('.');
                    if sample.image.is_none() || (plain && !sample.plain) {
                        sample.image = Some(entry.payload(&self.limits));
                        sample.plain = plain;
                    }
                } else if let Some(label) = read_label(ending, entry.reader) {
                    sample.label = Some(label);
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
    plain: bool,
    label: Option<Label>,
}

/// What a first pass over the shards finds.
#[derive(Default)]
pub(crate) struct Survey {
    key: String,
    here: Here,
    /// Samples with an image.
    images: u64,
    /// Samples with an image and a label.
    labelled: u64,
    unlabelled: u64,
    /// Labels without an image.
    orphans: u64,
    labels: LabelSurvey,
}

/// What the sample at hand has.
#[derive(Default)]
struct Here {
    image: bool,
    label: Option<Label>,
}

impl Survey {
    /// Takes note of one file; reads it only when it may hold a label.
    pub(crate) fn add(&mut self, path: &str, reader: &mut dyn Read) {
        let (key, ending) = key_and_ending(path);
        if key != self.key {
            self.end_sample();
            key.clone_into(&mut self.key);
        }
        if is_image_name(path) {
            self.here.image = true;
        } else if let Some(label) = read_label(ending, reader) {
            self.here.label = Some(label);
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
        let Here { image, label } = std::mem::take(&mut self.here);
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
}

/// The name of a sample and what follows: a path is cut at the first dot of its last part.
fn key_and_ending(path: &str) -> (&str, &str) {
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[start..].find('.') {
        Some(dot) => (&path[..start + dot], &path[start + dot + 1..]),
        None => (path, ""),
    }
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
        assert_eq!(key_and_ending("a.b/0001.seg.png"), ("a.b/0001", "seg.png"));
        assert_eq!(key_and_ending("0001.cls"), ("0001", "cls"));
        assert_eq!(key_and_ending("README"), ("README", ""));
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
