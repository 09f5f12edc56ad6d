//! From the bytes of text files to documents: gzip is unpacked, UTF-8 checked, byte order marks removed, CRLF made LF.
//! A file is a document, or each of its lines is, or, in a `.jsonl` file, each record. Nothing is held in memory but
//! the piece that is being read.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead, Read};

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::source::Item;
use crate::split::Split;

/// What the source says about a text before it is read.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) split: Option<Split>,
    pub(crate) label: Option<u32>,
    /// The line of its file on which a record stands, from 1; 0 for a text that is a whole file.
    pub(crate) line: u64,
}

/// One pass over all texts of a source. A text is a file, or a record of a file of records.
pub(crate) trait Pass {
    /// A text begins. Returns whether it is to be read at all.
    fn begin(&mut self, place: Place) -> bool;

    /// A piece of the document that is being read, not empty.
    fn piece(&mut self, text: &str) -> Result<()>;

    /// The document, which had at least one piece, is over.
    fn end_document(&mut self) -> Result<()>;

    /// There was a document without a character.
    fn empty_document(&mut self);

    /// The text that was begun is over, if `fault` is given because it cannot be used: its name and the reason.
    fn end(&mut self, fault: Option<(String, String)>) -> Result<()>;
}

/// What was changed in texts that are used, and where else text was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Byte order marks that were removed.
    pub(crate) marks: u64,
    /// Line ends CRLF that were made LF.
    pub(crate) line_ends: u64,
    /// The fields that hold text in all records without the wanted one; `None` where no record lacks it.
    pub(crate) fields: Option<BTreeSet<String>>,
}

/// The field of a record that holds its text, unless another is named.
pub(crate) const TEXT_FIELD: &str = "text";

/// How texts are read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// Whether each line is a document.
    pub(crate) lines: bool,
    /// Longest record of a `.jsonl` file, in bytes.
    pub(crate) longest_record: u64,
    /// The field of a record that holds its text.
    pub(crate) field: &'a str,
}

/// Why a text ended early.
enum Fault {
    /// It cannot be used, and why.
    Text(String),
    /// Something else failed that ends everything.
    Fatal(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Fatal(error)
    }
}

impl Changes {
    fn add(&mut self, other: &Changes) {
        self.marks += other.marks;
        self.line_ends += other.line_ends;
    }

    /// Takes note of the fields with text of a record that lacks the wanted one.
    fn lacking(&mut self, line: &[u8]) {
        let record: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(line).unwrap_or_default();
        let texts = record.into_iter().filter(|(_, value)| value.is_string()).map(|(name, _)| name);
        let texts: BTreeSet<String> = texts.collect();
        self.fields = Some(match self.fields.take() {
            Some(known) => known.intersection(&texts).cloned().collect(),
            None => texts,
        });
    }

    /// The error where no text can be used: if all records have text in another field, and in one only, it names that.
    pub(crate) fn instead(&self, error: Error) -> Error {
        let Some(field) = self.fields.as_ref().filter(|fields| fields.len() == 1).and_then(BTreeSet::first)
        else {
            return error;
        };
        match error {
            Error::NothingUsable { path, example, count, name, reason, option: None } => {
                let reason = format!("{reason}; the only text in all of them is `{field}`");
                let option = Some("text_field".to_owned());
                Error::NothingUsable { path, example, count, name, reason, option }
            }
            Error::Malformed { path, reason, option: None, .. } => {
                let reason = format!("{reason}; its only text is `{field}`");
                let remedy = format!("name {field} as the `text_field`");
                Error::Malformed { path, reason, remedy, option: Some("text_field".to_owned()) }
            }
            other => other,
        }
    }
}

/// Reads one file of a source. `changes` grows by what was changed in texts that can be used.
pub(crate) fn read_item(
    item: Item,
    reading: Reading<'_>,
    changes: &mut Changes,
    pass: &mut dyn Pass,
) -> Result<()> {
    let Item { name, split, label, payload } = item;
    let place = Place { split, label, line: 0 };
    let mut reader = match payload.open() {
        Ok(reader) => reader,
        Err(reason) => {
            pass.begin(place);
            return pass.end(Some((name, reason)));
        }
    };
    if is_records(&name) {
        return read_records(&name, place, &mut reader, reading, changes, pass);
    }
    if !pass.begin(place) {
        return Ok(());
    }
    let mut documents = Documents { lines: reading.lines, begun: false, pass };
    let mut here = Changes::default();
    let read = read_text(&mut reader, &mut here, &mut |text| documents.text(text));
    match read.and_then(|()| Ok(documents.finish()?)) {
        Ok(()) => {
            changes.add(&here);
            pass.end(None)
        }
        Err(Fault::Text(reason)) => pass.end(Some((name, reason))),
        Err(Fault::Fatal(error)) => Err(error),
    }
}

/// Whether a file holds records of JSON, one a line.
fn is_records(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.ends_with(".jsonl") || name.ends_with(".ndjson")
}

/// Cuts a text into documents.
struct Documents<'a> {
    lines: bool,
    /// Whether a document has a piece already.
    begun: bool,
    pass: &'a mut dyn Pass,
}

impl Documents<'_> {
    fn text(&mut self, text: &str) -> Result<()> {
        if !self.lines {
            return self.piece(text);
        }
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => {
                    self.piece(line)?;
                    self.end()?;
                }
                None => self.piece(line)?,
            }
        }
        Ok(())
    }

    fn piece(&mut self, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.begun = true;
        self.pass.piece(text)
    }

    /// Ends a document.
    fn end(&mut self) -> Result<()> {
        if std::mem::take(&mut self.begun) {
            return self.pass.end_document();
        }
        self.pass.empty_document();
        Ok(())
    }

    /// Ends the text. After the end of the last line there is no further one.
    fn finish(&mut self) -> Result<()> {
        if self.lines && !self.begun { Ok(()) } else { self.end() }
    }
}

/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads UTF-8 piece by piece.
fn read_text(
    reader: &mut dyn Read,
    changes: &mut Changes,
    visit: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<(), Fault> {
    let mut buffer = vec![0; 1 << 16];
    // Bytes at the beginning of the buffer that wait for more, and their position in the file.
    let (mut held, mut offset) = (0, 0_u64);
    loop {
        let read = reader.read(&mut buffer[held..]);
        let read = match read {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(|e| Fault::Text(format!("it cannot be read: {e}")))?,
        };
        let (at_end, mut bytes) = (read == 0, &buffer[..held + read]);
        let start = offset;
        if offset == 0 {
            if !at_end && bytes.len() < MARK.len() {
                held = bytes.len();
                continue;
            }
            if let Some(rest) = bytes.strip_prefix(MARK) {
                changes.marks += 1;
                (bytes, offset) = (rest, MARK.len() as u64);
            }
        }
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            Err(error) if error.error_len().is_none() && !at_end => error.valid_up_to(),
            Err(error) => return Err(not_utf8(bytes, offset, error.valid_up_to())),
        };
        // A carriage return waits for what follows it.
        let waits = !at_end && bytes[..valid].last() == Some(&b'\r');
        let ready = valid - usize::from(waits);
        // The part was checked, and it ends where a character does.
        let text = std::str::from_utf8(&bytes[..ready]).unwrap_or_default();
        if !text.is_empty() {
            visit(&plain_line_ends(text, changes))?;
        }
        if at_end {
            return Ok(());
        }
        let end = held + read;
        let used = (offset - start) as usize + ready;
        offset += ready as u64;
        buffer.copy_within(used..end, 0);
        held = end - used;
    }
}

fn not_utf8(bytes: &[u8], offset: u64, at: usize) -> Fault {
    let place = offset + at as u64;
    let hint = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] if place == 0 => "it looks like UTF-16; convert it to UTF-8",
        _ => "convert the text to UTF-8",
    };
    Fault::Text(format!("byte {place} (0x{:02x}) is not UTF-8; {hint}", bytes[at]))
}

/// Makes CRLF LF.
fn plain_line_ends<'a>(text: &'a str, changes: &mut Changes) -> Cow<'a, str> {
    let crlfs = if text.contains('\r') { text.matches("\r\n").count() } else { 0 };
    changes.line_ends += crlfs as u64;
    if crlfs == 0 { Cow::Borrowed(text) } else { Cow::Owned(text.replace("\r\n", "\n")) }
}

/// Reads the text of a record; other fields are passed over.
struct TextOf<'a>(&'a str);

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for TextOf<'_> {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TextOf<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut record: A) -> Result<Self::Value, A::Error> {
        let mut text = None;
        while let Some(Borrowed(name)) = record.next_key()? {
            if name != self.0 {
                record.next_value::<IgnoredAny>()?;
            } else if text.is_none() {
                text = Some(record.next_value::<Borrowed>()?.0);
            } else {
                return Err(A::Error::custom(format!("duplicate field `{}`", self.0)));
            }
        }
        Ok(text)
    }
}

/// The text of a record, or why there is none. `None` where the field is missing.
fn text_of<'a>(line: &'a [u8], field: &str) -> Result<Option<Cow<'a, str>>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let text = TextOf(field).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(text)
}

fn read_records(
    name: &str,
    place: Place,
    reader: &mut dyn BufRead,
    reading: Reading<'_>,
    changes: &mut Changes,
    pass: &mut dyn Pass,
) -> Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = (&mut *reader).take(reading.longest_record).read_until(b'\n', &mut line);
        let cut = line.len() as u64 == reading.longest_record && !line.ends_with(b"\n");
        let place = Place { line: number, ..place };
        let fault = match read {
            Ok(0) => break,
            Ok(_) if cut => {
                skip_line(reader);
                Some(format!("the record has more bytes than the limit of {}", reading.longest_record))
            }
            Ok(_) => None,
            Err(error) => {
                pass.begin(place);
                return pass.end(Some((format!("{name}:{number}"), format!("it cannot be read: {error}"))));
            }
        };
        let marked = if number == 1 { line.strip_prefix(MARK) } else { None };
        changes.marks += u64::from(marked.is_some());
        let content = marked.unwrap_or(&line);
        if content.trim_ascii().is_empty() && fault.is_none() {
            continue;
        }
        if !pass.begin(place) {
            continue;
        }
        let fault = match fault {
            Some(fault) => Some(fault),
            None => read_record(content, reading, changes, pass)?,
        };
        pass.end(fault.map(|reason| (format!("{name}:{number}"), reason)))?;
    }
    Ok(())
}

/// Reads one record; returns why it cannot be used.
fn read_record(
    line: &[u8],
    reading: Reading<'_>,
    changes: &mut Changes,
    pass: &mut dyn Pass,
) -> Result<Option<String>> {
    if let Err(error) = std::str::from_utf8(line) {
        return Ok(Some(format!("byte {} of the line is not UTF-8", error.valid_up_to())));
    }
    let field = reading.field;
    let record = match text_of(line, field) {
        Ok(Some(text)) => text,
        Ok(None) => {
            changes.lacking(line);
            return Ok(Some(format!("it is not a record with a `{field}`: missing field `{field}`")));
        }
        Err(error) => return Ok(Some(format!("it is not a record with a `{field}`: {error}"))),
    };
    let mut documents = Documents { lines: reading.lines, begun: false, pass };
    let text = record.strip_prefix('\u{feff}').unwrap_or(&record);
    changes.marks += u64::from(text.len() < record.len());
    documents.text(&plain_line_ends(text, changes))?;
    documents.finish()?;
    Ok(None)
}

/// Passes over the rest of a line; a fault shows at the next one.
fn skip_line(reader: &mut dyn BufRead) {
    while let Ok(buffer) = reader.fill_buf() {
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        if used == 0 {
            return;
        }
        reader.consume(used);
        if end.is_some() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of one size.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let take = self.1.min(buffer.len()).min(self.0.len());
            buffer[..take].copy_from_slice(&self.0[..take]);
            self.0 = &self.0[take..];
            Ok(take)
        }
    }

    fn read(bytes: &[u8], step: usize) -> (Result<String, String>, Changes) {
        let (mut text, mut changes) = (String::new(), Changes::default());
        let result = read_text(&mut Slow(bytes, step), &mut changes, &mut |piece| {
            text.push_str(piece);
            Ok(())
        });
        let result = result.map_err(|fault| match fault {
            Fault::Text(reason) => reason,
            Fault::Fatal(error) => error.to_string(),
        });
        (result.map(|()| text), changes)
    }

    #[test]
    fn marks_and_line_ends_are_changed_wherever_the_reads_end() {
        let bytes = "\u{feff}é\r\n\r\r\n€ \u{feff}🦀\r".as_bytes();
        for step in 1..20 {
            let (text, changes) = read(bytes, step);
            assert_eq!(text.unwrap(), "é\n\r\n€ \u{feff}🦀\r", "steps of {step}");
            assert_eq!(changes, Changes { marks: 1, line_ends: 2, fields: None });
        }
        assert_eq!(read(b"", 1).0.unwrap(), "");
        assert_eq!(read(MARK, 2).0.unwrap(), "");
        assert_eq!(read(b"ab", 1).0.unwrap(), "ab");
    }

    #[test]
    fn the_byte_that_is_no_utf8_is_named() {
        let long = ["x".repeat(70_000).as_bytes(), b"\xff!"].concat();
        for step in [1, 7, 100_000] {
            let fault = |bytes| read(bytes, step).0.unwrap_err();
            assert!(fault(b"\xef\xbb\xbfab\xe9t\xe9").starts_with("byte 5 (0xe9) is not UTF-8"));
            assert!(fault(b"ab\xe2\x82").starts_with("byte 2 (0xe2)"), "cut within a character");
            assert!(fault(b"\xff\xfea\0").contains("UTF-16"));
            assert!(fault(&long).starts_with("byte 70000 (0xff)"));
        }
    }
}
