//! TensorBoard event files.
//!
//! A file is a sequence of records: length (8 bytes, little endian), masked CRC-32C of those, the event, masked
//! CRC-32C of the event. An event is a protocol-buffer message (`tensorflow/core/util/event.proto`), of which only
//! the fields needed here are encoded: wall time, step, file version, scalar and image summaries, session log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::picture::Picture;

/// Writes one event file.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
    length: u64,
}

impl EventWriter {
    /// Opens a new event file in `folder`, next to those of earlier starts.
    ///
    /// With `resumed_at`, the last step that is kept, TensorBoard drops later steps from earlier files.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path, resumed_at: Option<u64>) -> Result<Self> {
        let path = new_path(folder)?;
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&path)
            .map_err(Error::io("write", &path))?;
        let mut writer = Self { path, file, length: 0 };
        let mut event = Message::event(wall_time(), 0);
        event.bytes(event_field::FILE_VERSION, b"brain.Event:2");
        writer.record(&event.0)?;
        if let Some(step) = resumed_at {
            let mut session = Message::default();
            session.varint(1, SESSION_START);
            // The step from which TensorBoard drops.
            let mut event = Message::event(wall_time(), step + 1);
            event.bytes(event_field::SESSION_LOG, &session.0);
            writer.record(&event.0)?;
        }
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes scalars of a step under their tags, such as `loss/generator`. Charts are grouped by the part before `/`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn scalars<'a>(&mut self, step: u64, values: impl IntoIterator<Item = (&'a str, f64)>) -> Result<()> {
        let mut summary = Message::default();
        for (tag, number) in values {
            let mut value = Message::default();
            value.bytes(value_field::TAG, tag.as_bytes());
            value.float(value_field::SIMPLE_VALUE, number as f32);
            summary.bytes(SUMMARY_VALUE, &value.0);
        }
        self.summary(step, &summary)
    }

    /// Writes the picture of a step under a tag.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Picture`] when it cannot be encoded.
    pub fn image(&mut self, step: u64, tag: &str, picture: &Picture) -> Result<()> {
        let mut image = Message::default();
        image.varint(1, picture.height() as u64);
        image.varint(2, picture.width() as u64);
        image.varint(3, picture.channels() as u64);
        image.bytes(4, &picture.to_png(None)?);
        let mut value = Message::default();
        value.bytes(value_field::TAG, tag.as_bytes());
        value.bytes(value_field::IMAGE, &image.0);
        let mut summary = Message::default();
        summary.bytes(SUMMARY_VALUE, &value.0);
        self.summary(step, &summary)
    }

    fn summary(&mut self, step: u64, summary: &Message) -> Result<()> {
        let mut event = Message::event(wall_time(), step);
        event.bytes(event_field::SUMMARY, &summary.0);
        self.record(&event.0)
    }

    /// Writes a whole record at once, so that a kill does not leave a part of it.
    fn record(&mut self, event: &[u8]) -> Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.len() + 16);
        record.extend(length);
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(event);
        record.extend(masked_crc(event).to_le_bytes());
        if let Err(error) = self.file.write_all(&record) {
            // The error of the write is the one to report.
            let _ = self.file.set_len(self.length);
            return Err(Error::io("write", &self.path)(error));
        }
        self.length += record.len() as u64;
        Ok(())
    }
}

mod event_field {
    pub(super) const WALL_TIME: u64 = 1;
    pub(super) const STEP: u64 = 2;
    pub(super) const FILE_VERSION: u64 = 3;
    pub(super) const SUMMARY: u64 = 5;
    pub(super) const SESSION_LOG: u64 = 7;
}

mod value_field {
    pub(super) const TAG: u64 = 1;
    pub(super) const SIMPLE_VALUE: u64 = 2;
    pub(super) const IMAGE: u64 = 4;
}

const SUMMARY_VALUE: u64 = 1;
const SESSION_START: u64 = 1;

/// A protocol-buffer message being encoded.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn event(wall_time: f64, step: u64) -> Self {
        let mut event = Self::default();
        event.key(event_field::WALL_TIME, 1);
        event.0.extend(wall_time.to_le_bytes());
        event.varint(event_field::STEP, step);
        event
    }

    /// A field's number and wire type: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
    fn key(&mut self, field: u64, wire_type: u64) {
        self.raw_varint(field << 3 | wire_type);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// The checksum of the format: CRC-32C, masked so that checksums of data with checksums in it stay good.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A name that sorts after those of all earlier event files in the folder, since TensorBoard reads them in that order.
fn new_path(folder: &Path) -> Result<PathBuf> {
    const PREFIX: &str = "events.out.tfevents.";
    let mut newest = 0;
    let mut count = 0;
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let name = entry.map_err(Error::io("read", folder))?.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        count += 1;
        newest = newest.max(rest.split('.').next().and_then(|time| time.parse().ok()).unwrap_or(0));
    }
    let time = (wall_time() as u64).max(newest);
    loop {
        let path = folder.join(format!("{PREFIX}{time:010}.{count:05}.poiesis"));
        match fs::symlink_metadata(&path) {
            Ok(_) => count += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(Error::io("read", &path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field in wire format.
    #[derive(Debug, PartialEq)]
    enum Field<'a> {
        Varint(u64),
        Eight([u8; 8]),
        Bytes(&'a [u8]),
        Four([u8; 4]),
    }

    fn varint<'a>(bytes: &mut std::slice::Iter<'a, u8>) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = *bytes.next().unwrap();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn take<'a>(bytes: &mut std::slice::Iter<'a, u8>, count: usize) -> &'a [u8] {
        let (head, tail) = bytes.as_slice().split_at(count);
        *bytes = tail.iter();
        head
    }

    fn fields(message: &[u8]) -> Vec<(u64, Field<'_>)> {
        let mut bytes = message.iter();
        let mut fields = Vec::new();
        while !bytes.as_slice().is_empty() {
            let key = varint(&mut bytes);
            let field = match key & 7 {
                0 => Field::Varint(varint(&mut bytes)),
                1 => Field::Eight(take(&mut bytes, 8).try_into().unwrap()),
                2 => {
                    let length = varint(&mut bytes);
                    Field::Bytes(take(&mut bytes, length as usize))
                }
                5 => Field::Four(take(&mut bytes, 4).try_into().unwrap()),
                other => panic!("wire type {other}"),
            };
            fields.push((key >> 3, field));
        }
        fields
    }

    /// The checksum bit by bit, independent of the writer.
    fn slow_masked_crc(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
    }

    fn events(path: &Path) -> Vec<Vec<u8>> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(u32::from_le_bytes(rest[8..12].try_into().unwrap()), slow_masked_crc(&rest[..8]));
            let event = &rest[12..12 + length];
            let crc = u32::from_le_bytes(rest[12 + length..16 + length].try_into().unwrap());
            assert_eq!(crc, slow_masked_crc(event));
            events.push(event.to_vec());
            rest = &rest[16 + length..];
        }
        events
    }

    fn bytes_of<'a>(fields: &[(u64, Field<'a>)], number: u64) -> Vec<&'a [u8]> {
        fields
            .iter()
            .filter(|(field, _)| *field == number)
            .map(|(_, field)| if let Field::Bytes(bytes) = field { *bytes } else { panic!("not bytes") })
            .collect()
    }

    #[test]
    fn an_independent_reader_finds_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), None).unwrap();
        writer.scalars(300, [("loss/generator", 1.5), ("loss/discriminator", -0.25)]).unwrap();
        let picture = Picture::new(3, 2, 1, vec![0, 50, 100, 150, 200, 250]);
        writer.image(u64::from(u32::MAX), "samples", &picture).unwrap();

        let events = events(writer.path());
        assert_eq!(events.len(), 3);
        let first = fields(&events[0]);
        assert_eq!(bytes_of(&first, 3), [b"brain.Event:2"]);
        let Field::Eight(time) = first[0].1 else { panic!("wall time") };
        assert!((wall_time() - f64::from_le_bytes(time)).abs() < 60.0);

        let scalars = fields(&events[1]);
        assert!(scalars.contains(&(2, Field::Varint(300))));
        let summary = fields(bytes_of(&scalars, 5)[0]);
        let values: Vec<_> = bytes_of(&summary, 1).into_iter().map(fields).collect();
        assert_eq!(values[0], [(1, Field::Bytes(b"loss/generator")), (2, Field::Four(1.5f32.to_le_bytes()))]);
        assert_eq!(
            values[1],
            [(1, Field::Bytes(b"loss/discriminator")), (2, Field::Four((-0.25f32).to_le_bytes()))]
        );

        let image = fields(&events[2]);
        assert!(image.contains(&(2, Field::Varint(u64::from(u32::MAX)))));
        let value = fields(bytes_of(&fields(bytes_of(&image, 5)[0]), 1)[0]);
        let image = fields(bytes_of(&value, 4)[0]);
        assert_eq!(image[..3], [(1, Field::Varint(2)), (2, Field::Varint(3)), (3, Field::Varint(1))]);
        let decoded = Picture::from_png(bytes_of(&image, 4)[0], Path::new("image")).unwrap().0;
        assert_eq!(decoded, picture);
    }

    #[test]
    fn a_resumed_run_drops_what_earlier_files_say_of_later_steps() {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = vec![EventWriter::create(folder.path(), None).unwrap().path().to_owned()];
        for step in [100, 200, 300] {
            let writer = EventWriter::create(folder.path(), Some(step)).unwrap();
            let events = events(writer.path());
            let session = fields(&events[1]);
            assert!(session.contains(&(2, Field::Varint(step + 1))));
            assert_eq!(fields(bytes_of(&session, 7)[0]), [(1, Field::Varint(1))]);
            paths.push(writer.path().to_owned());
        }
        let mut sorted = paths.clone();
        sorted.sort();
        assert_eq!(sorted, paths, "names sort in the order of the starts");
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, B.4: 32 bytes of zero.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked_crc(&[0; 32]), slow_masked_crc(&[0; 32]));
    }
}
