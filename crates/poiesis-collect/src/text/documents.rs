//! Reads the documents of a source one after another, without packing them.

use std::path::Path;

use super::read::{Changes, Pass, Place, Reading, TEXT_FIELD, read_item};
use crate::card::Kind;
use crate::error::Result;
use crate::options::Options;
use crate::read::{ReadExample, class_of, open_examples};
use crate::source::each_batch;

/// Reads all documents of a source: a text file, or any source that [`collect`](crate::collect()) packs as text. A file is a document;
/// with the option `lines` each of its lines is, and each record of a `.jsonl` file. They are passed to `take` in the order of the
/// source, with the line where a file holds several: `names.txt:12`, of a record `some.jsonl:3` and of a line in it `some.jsonl:3:1`.
///
/// Of the options `lines`, `text_field` and `limits` count.
///
/// # Errors
///
/// [`Error::NotFound`]; [`Error::BadOption`] with the option `kind` for a source without text; those of a source that cannot be read. A
/// document that cannot be used, or is empty, is no error.
pub fn read_texts(path: &Path, options: &Options, take: &mut dyn FnMut(ReadExample<String>)) -> Result<()> {
    let Options { lines, text_field, limits, .. } = options.clone();
    let options = Options { lines, text_field, limits, kind: Some(Kind::Text), ..Options::default() };
    let reading = Reading {
        lines,
        longest_record: limits.within_memory().file_bytes,
        field: options.text_field.as_deref().unwrap_or(TEXT_FIELD),
    };
    let Some((mut source, classes)) = open_examples(path, &options, take)? else { return Ok(()) };
    each_batch(&mut *source, |batches| {
        for item in batches.iter().flatten() {
            let mut whole = Whole {
                file: item.name.clone(),
                place: Place::default(),
                lines,
                line: 0,
                text: String::new(),
                classes: &classes,
                take: &mut *take,
            };
            read_item(item, reading, &mut Changes::default(), &mut whole)?;
        }
        Ok(())
    })
}

/// Puts the pieces of each document together.
struct Whole<'a> {
    file: String,
    place: Place,
    /// Whether each line is a document, and how many lines of the text have been read.
    lines: bool,
    line: u64,
    text: String,
    classes: &'a [String],
    take: &'a mut dyn FnMut(ReadExample<String>),
}

impl Whole<'_> {
    fn give(&mut self, name: String, content: Result<String, String>) {
        let class = class_of(self.place.label, self.classes);
        (self.take)(ReadExample { name, class, content });
    }

    /// What the document is called that has just ended.
    fn name(&self) -> String {
        let Whole { file, place, lines, line, .. } = self;
        match (place.line, lines) {
            (0, false) => file.clone(),
            (0, true) => format!("{file}:{line}"),
            (record, false) => format!("{file}:{record}"),
            (record, true) => format!("{file}:{record}:{line}"),
        }
    }
}

impl Pass for Whole<'_> {
    fn begin(&mut self, place: Place) -> bool {
        self.place = place;
        self.line = 0;
        self.text.clear();
        true
    }

    fn piece(&mut self, text: &str) -> Result<()> {
        self.text.push_str(text);
        Ok(())
    }

    fn end_document(&mut self) -> Result<()> {
        self.line += 1;
        let text = std::mem::take(&mut self.text);
        self.give(self.name(), Ok(text));
        Ok(())
    }

    fn empty_document(&mut self) {
        self.line += 1;
        self.give(self.name(), Err("it is empty".to_owned()));
    }

    fn end(&mut self, fault: Option<(String, String)>) -> Result<()> {
        if let Some((name, reason)) = fault {
            self.text.clear();
            self.give(name, Err(reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn read(path: &Path, options: &Options) -> Vec<(String, Option<String>, Result<String, String>)> {
        let mut all = Vec::new();
        read_texts(path, options, &mut |ReadExample { name, class, content }| {
            all.push((name, class, content));
        })
        .unwrap();
        all
    }

    #[test]
    fn documents_come_whole_with_their_lines_and_classes() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        for (folder, text) in [("a", "one\r\ntwo\n"), ("b", "three")] {
            std::fs::create_dir(place(folder)).unwrap();
            std::fs::write(place(folder).join("x.txt"), text).unwrap();
        }
        std::fs::write(place("b/y.txt"), [b'o', b'k', b'\n', 0xff]).unwrap();
        std::fs::write(place("b/z.jsonl"), "{\"text\": \"four\"}\n\n{\"no\": 1}\n{\"text\": \"\"}\n")
            .unwrap();
        let some = |name: &str, class: &str, content: Result<&str, &str>| {
            let content = content.map(str::to_owned).map_err(str::to_owned);
            (name.to_owned(), Some(class.to_owned()), content)
        };
        let found = read(root.path(), &Options::default());
        assert_eq!(found[0], some("a/x.txt", "a", Ok("one\ntwo\n")));
        assert_eq!(found[1], some("b/x.txt", "b", Ok("three")));
        assert_eq!((found[2].0.as_str(), found[2].1.as_deref()), ("b/y.txt", Some("b")));
        assert!(found[2].2.as_ref().unwrap_err().starts_with("byte 3 (0xff) is not UTF-8"));
        assert_eq!(found[3], some("b/z.jsonl:1", "b", Ok("four")));
        assert!(found[4].0 == "b/z.jsonl:3" && found[4].2.as_ref().unwrap_err().contains("missing field"));
        assert_eq!(found[5], some("b/z.jsonl:4", "b", Err("it is empty")));
        assert_eq!(found.len(), 6);

        let lines = Options { lines: true, ..Options::default() };
        let found = read(&place("a/x.txt"), &lines);
        let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["x.txt:1", "x.txt:2"]);
        assert_eq!(found[1].2, Ok("two".to_owned()));
        assert_eq!(read(&place("b/z.jsonl"), &lines)[0].0, "z.jsonl:1:1");

        std::fs::write(place("empty.txt"), "").unwrap();
        let found = read(&place("empty.txt"), &Options::default());
        assert_eq!(found, [("empty.txt".to_owned(), None, Err("it is empty".to_owned()))]);
    }

    #[test]
    fn a_source_without_text_is_refused_by_the_option() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.png"), "no text").unwrap();
        for path in [root.path().to_owned(), root.path().join("a.png")] {
            let error = read_texts(&path, &Options::default(), &mut |_| ()).unwrap_err();
            assert!(matches!(error, Error::BadOption { option: "kind", .. }), "{error}");
        }
        let missing = read_texts(&root.path().join("none"), &Options::default(), &mut |_| ());
        assert!(matches!(missing, Err(Error::NotFound { .. })));
    }
}
