//! TensorBoard event files.
//!
//! A file is a sequence of records: length (8 bytes, little endian), masked CRC-32C of those, the event, masked
//! CRC-32C of the event. An event is a protocol-buffer message (`tensorflow/core/util/event.proto`), of which only
//! the fields needed here are encoded: wall time, step, file version, session log, and summaries of scalars, images,
//! texts, sounds and hyperparameters.
//!
//! A resumed run has a file for each start. TensorBoard reads them in the order of their names, as one run. It drops the steps
//! that were done after the last checkpoint and are done again, and keeps the first hyperparameters of a run.

mod hyperparameters;
mod message;
mod summary;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::picture::Picture;
use message::{Message, masked_crc};

/// Fields of an event.
mod field {
    pub(super) const WALL_TIME: u64 = 1;
    pub(super) const STEP: u64 = 2;
    pub(super) const FILE_VERSION: u64 = 3;
    pub(super) const SUMMARY: u64 = 5;
    pub(super) const SESSION_LOG: u64 = 7;
}

/// The values of a summary.
const VALUE: u64 = 1;

/// `SessionLog.START`.
const START: u64 = 1;

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
    /// With `resumed_at`, the last step that is kept, TensorBoard drops later steps from earlier files. A run that is resumed at step 0
    /// has kept nothing, so all steps are dropped.
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
        writer.event(0, field::FILE_VERSION, b"brain.Event:2")?;
        if let Some(step) = resumed_at {
            let first_dropped = if step == 0 { 0 } else { step + 1 };
            let mut session = Message::default();
            session.varint(1, START);
            writer.event(first_dropped, field::SESSION_LOG, &session.0)?;
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
        self.summary(step, values.into_iter().map(|(tag, number)| summary::scalar(tag, number)))
    }

    /// Writes the picture of a step under a tag.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Picture`] when it cannot be encoded.
    pub fn image(&mut self, step: u64, tag: &str, picture: &Picture) -> Result<()> {
        let shape = [picture.height(), picture.width(), picture.channels()];
        self.summary(step, [summary::image(tag, shape, &picture.to_png(None)?)])
    }

    /// Writes the texts of a step under a tag, each a row of a table. They are shown letter by letter, whatever they mean in Markdown.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn texts(&mut self, step: u64, tag: &str, texts: &[String]) -> Result<()> {
        let rows: Vec<String> = texts.iter().map(|text| summary::letter_by_letter(text, "")).collect();
        self.summary(step, [summary::markdown_rows(tag, &rows)])
    }

    /// Writes the sounds of a step under a tag, each the bytes of a WAV file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sounds(&mut self, step: u64, tag: &str, wavs: &[Vec<u8>]) -> Result<()> {
        self.summary(step, [summary::sounds(tag, wavs)])
    }

    /// Writes the settings of the run as a text under the tag `settings`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn settings(&mut self, step: u64, settings: &toml::Table) -> Result<()> {
        let text = summary::letter_by_letter(settings.to_string().trim_end(), "toml");
        self.summary(step, [summary::markdown("settings", &text)])
    }

    /// Writes the settings of the run as hyperparameters, by which TensorBoard lists and compares runs. The measures beside them are the
    /// last scalars. TensorBoard keeps those that it reads first, so a start may write them again.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn hyperparameters(&mut self, step: u64, settings: &toml::Table) -> Result<()> {
        self.summary(step, [hyperparameters::session_start(settings, wall_time())])
    }

    /// Writes that the run is done. One that has stopped or failed can be resumed, and TensorBoard would not forget it, so nothing is
    /// written then.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn done(&mut self, step: u64) -> Result<()> {
        self.summary(step, [hyperparameters::session_end(wall_time())])
    }

    fn summary(&mut self, step: u64, values: impl IntoIterator<Item = Message>) -> Result<()> {
        let mut summary = Message::default();
        for value in values {
            summary.bytes(VALUE, &value.0);
        }
        self.event(step, field::SUMMARY, &summary.0)
    }

    fn event(&mut self, step: u64, what: u64, content: &[u8]) -> Result<()> {
        let mut event = Message::default();
        event.double(field::WALL_TIME, wall_time());
        event.varint(field::STEP, step);
        event.bytes(what, content);
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
