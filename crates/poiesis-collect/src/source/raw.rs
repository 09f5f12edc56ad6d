//! A file without a header: images of bytes one after another, whose size the user gives.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::{Halt, Item, Payload, Plan, Sink, Source, file_name, source_name};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::prepare::Pixels;

pub(crate) struct Raw {
    path: PathBuf,
    height: u32,
    width: u32,
    channels: u8,
    plan: Plan,
}

impl Raw {
    /// Checks that the file is a whole number of images.
    pub(crate) fn open(path: &Path, options: &Options) -> Result<Raw> {
        let fault = |reason: String, remedy: &str| Error::Malformed {
            path: path.to_owned(),
            reason,
            remedy: remedy.to_owned(),
            option: Some("shape".to_owned()),
        };
        let Some((height, width, channels)) = options.shape else {
            let reason = "it has no header that says how large its images are".to_owned();
            return Err(fault(reason, "give their `shape`, such as 28,28,1 for height, width and channels"));
        };
        let size = path.metadata().map_err(|e| Error::read(path, e))?.len();
        let image = u64::from(height) * u64::from(width) * u64::from(channels);
        let over = size % image;
        if over != 0 || size == 0 {
            let reason = format!(
                "its {size} bytes are not a whole number of images of {height} x {width} x {channels} = {image} bytes; \
                 {over} are left over"
            );
            return Err(fault(reason, "give the `shape` that its images have"));
        }
        let plan = Plan {
            name: source_name(path),
            total: Some(size / image),
            shaped: true,
            notes: vec![
                "the file has no header: its images are bytes, by row and with channels last".to_owned(),
            ],
            ..Plan::default()
        };
        Ok(Raw { path: path.to_owned(), height, width, channels, plan })
    }
}

impl Source for Raw {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        let Raw { height, width, channels, .. } = *self;
        let file = File::open(&self.path).map_err(|e| Error::read(&self.path, e))?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let size = height as usize * width as usize * usize::from(channels);
        for i in 0..self.plan.total.unwrap_or(0) {
            let mut bytes = vec![0; size];
            reader.read_exact(&mut bytes).map_err(|e| Error::read(&self.path, e))?;
            let payload = Payload::Pixels(Pixels { width, height, channels, bytes });
            let name = format!("{} image {i}", file_name(&self.path));
            sink.send(Item { name, split: None, label: None, payload })?;
        }
        Ok(())
    }
}
