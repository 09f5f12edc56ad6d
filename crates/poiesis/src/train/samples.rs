//! The samples drawn during training, from noise that stays the same over the run.

use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use super::Event;
use super::trainer::Training;
use super::watchdog::collapse;
use crate::atomic;
use crate::data::{Content, DataSpec};
use crate::error::Result;
use crate::generate::{Chunk, Request, can_generate, generate};
use crate::media::{Media, files};
use crate::picture::Picture;
use crate::run::samples;

/// The seed of the samples during training, whatever the run's seed.
const SEED: u64 = 0;

/// The parameters in a picture of samples, so that they can be drawn again.
#[derive(Clone, Debug, Serialize)]
struct Note {
    /// The run's name.
    run: String,
    /// Steps the model was trained for.
    step: u64,
    seed: u64,
    /// Number of the first image.
    first: u64,
    count: usize,
}

impl Training {
    /// Draws samples and writes them to the run.
    pub(super) fn sample(&mut self, watch: &mut dyn FnMut(Event)) -> Result<()> {
        let model = self.model()?;
        let abilities = model.abilities();
        if !can_generate(&abilities) {
            return Ok(());
        }
        let count = self.config.train.sample_count;
        let of_stream = matches!(self.spec.content, Content::Text(_) | Content::Sound(_));
        let request = Request {
            seed: SEED,
            count: count as u64,
            max_len: of_stream.then_some(self.config.train.sample_length),
            ..Request::default()
        };
        let mut drawn = Vec::new();
        let device = self.device.clone().inner();
        generate(&abilities, &self.spec, &device, &request, &mut |_, chunk| {
            if let Chunk::Whole(media) = chunk {
                drawn.push(media);
            }
            ControlFlow::Continue(())
        })?;
        drop(model);
        let path = samples::path_of(&self.run.samples_path(), self.step, files::sheet_extension(&self.spec));
        let sheet = Media::sheet(&drawn, &self.spec);
        if let Some(picture) = write_sheet(sheet, &self.spec, &path, &self.note(count))? {
            if let Some(events) = &mut self.events {
                events.image(self.step, "samples", &picture)?;
            }
            if let Content::Images(_) = self.spec.content {
                self.look_for_collapse(&drawn, watch)?;
            }
        }
        self.samples = Some(path.clone());
        watch(Event::Sampled { step: self.step, path });
        Ok(())
    }

    fn note(&self, count: usize) -> serde_json::Value {
        let run = self.run.info().id.clone();
        serde_json::json!(Note { run, step: self.step, seed: SEED, first: 0, count })
    }

    /// Warns when samples of images are nearly equal.
    fn look_for_collapse(&mut self, drawn: &[Media], watch: &mut dyn FnMut(Event)) -> Result<()> {
        // At the beginning all samples are grey, which is not a collapse.
        if self.step < (self.config.train.steps / 20).max(200) {
            return Ok(());
        }
        let (train, dims) = (self.train.images()?, self.spec.images()?.dims());
        let data: Vec<u8> =
            (0..drawn.len().min(train.len())).flat_map(|index| train.image(index)).copied().collect();
        let images: Vec<u8> =
            drawn.iter().filter_map(Media::picture).flat_map(Picture::data).copied().collect();
        if let Some(warning) = collapse(&images, &data, dims) {
            self.warn(warning, watch);
        }
        Ok(())
    }
}

/// Writes a sheet of samples to its file; returns the picture of images and points.
fn write_sheet(
    sheet: Option<Media>,
    spec: &DataSpec,
    path: &Path,
    note: &serde_json::Value,
) -> Result<Option<Picture>> {
    match sheet {
        Some(Media::Image(grid)) => {
            grid.write_png(path, Some(note))?;
            Ok(Some(grid))
        }
        Some(other) => {
            atomic::write(path, &files::to_bytes(&other, spec, path)?)?;
            Ok(None)
        }
        None => Ok(None),
    }
}
