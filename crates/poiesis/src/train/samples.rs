//! The samples drawn during training, from noise that stays the same over the run.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;

use super::Event;
use super::time::Work;
use super::trainer::Training;
use super::watchdog::collapse;
use crate::abilities::{Abilities, Likelihood};
use crate::atomic;
use crate::config::TrainConfig;
use crate::data::{Content, DataSpec, PointShape};
use crate::error::Result;
use crate::evaluate::Progress;
use crate::generate::{Chunk, Request, can_generate, generate, num_classes, rows_by_class};
use crate::media::plane::{CELLS, Fields, Frame, ROOM, plane};
use crate::media::{Media, files};
use crate::picture::Picture;
use crate::run::samples;
use crate::run::tensorboard::EventWriter;

/// The seed of the samples during training, whatever the run's seed.
const SEED: u64 = 0;

/// What the event file calls the samples.
const TAG: &str = "samples";

/// Points of the data in a picture of the plane.
const PLOTTED: usize = 500;

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
    /// The class of each row, where rows are classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
}

impl Training {
    /// Draws samples and writes them to the run.
    pub(super) fn sample(&mut self, watch: &mut dyn FnMut(Event)) -> Result<()> {
        let (began, step) = (Instant::now(), self.step);
        let model = self.model()?;
        let abilities = model.abilities();
        if !can_generate(&abilities) {
            return Ok(());
        }
        let drawn = draw(
            &abilities,
            &self.spec,
            &self.config.train,
            &self.device.clone().inner(),
            &mut |progress| {
                watch(Event::Working { step, progress });
                ControlFlow::Continue(())
            },
        )?;
        // Sheets of autoregressive models stay as they were, so that all of an earlier run have one size.
        let classes = match abilities.autoregressive {
            Some(_) => 0,
            None => num_classes(&abilities, &self.spec),
        };
        let by_class = rows_by_class(classes, &request(&self.spec, &self.config.train));
        let sheet = match &self.spec.content {
            Content::Points(shape) if shape.dims == 2 => Some(self.plane(&abilities, &drawn, shape)?),
            _ => Media::sheet(&drawn, &self.spec, by_class),
        };
        drop(model);
        // Drawing took a while.
        self.expect_folder()?;
        let path = samples::path_of(&self.run.samples_path(), self.step, files::sheet_extension(&self.spec));
        if let Some(events) = &mut self.events {
            log_examples(events, self.step, &drawn, &path)?;
        }
        if let Some(picture) = write_sheet(sheet, &self.spec, &path, &self.note(by_class.is_some()))? {
            if let Some(events) = &mut self.events {
                events.image(self.step, TAG, &picture)?;
            }
            if let Content::Images(_) = self.spec.content {
                self.look_for_collapse(&drawn, watch)?;
            }
        }
        self.clock.add(Work::Sampling, began);
        self.samples = Some(path.clone());
        watch(Event::Sampled { step: self.step, path });
        Ok(())
    }

    /// Samples of the plane among as many points of the data, in the same frame at every step.
    fn plane(&self, abilities: &Abilities<'_>, drawn: &[Media], shape: &PointShape) -> Result<Media> {
        let train = self.train.images()?;
        let data: Vec<&[f32]> = (0..train.len().min(PLOTTED)).map(|index| train.point(index)).collect();
        let samples: Vec<&[f32]> = drawn.iter().filter_map(Media::point).collect();
        let frame = Frame::around(data.iter().map(|point| [point[0], point[1]]), ROOM);
        let centres = || {
            let centres = TensorData::new(frame.centres(), [CELLS * CELLS, 2]);
            Tensor::from_data(centres, &self.device.clone().inner())
        };
        let prob_real =
            abilities.critic.map(|critic| critic.prob_real(centres()).into_data().iter::<f32>().collect());
        let density = abilities.likelihood.and_then(Likelihood::points).map(|model| {
            let log_probs = model.log_prob(centres(), &[0; CELLS * CELLS]);
            log_probs.into_iter().map(|log_prob| log_prob.exp() as f32).collect()
        });
        let names = [shape.column(0), shape.column(1)];
        let fields = Fields { density, prob_real };
        Ok(Media::Image(plane(frame, names.each_ref().map(String::as_str), &data, &samples, &fields)))
    }

    fn note(&self, by_class: bool) -> serde_json::Value {
        let (info, count) = (self.run.info(), self.config.train.sample_count);
        let classes = if by_class { info.data.classes.clone() } else { Vec::new() };
        serde_json::json!(Note {
            run: info.id.clone(),
            step: self.step,
            seed: SEED,
            first: 0,
            count,
            classes
        })
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

/// The request for the samples that `config` asks for.
fn request(spec: &DataSpec, config: &TrainConfig) -> Request {
    let in_parts = matches!(spec.content, Content::Text(_) | Content::Sound(_));
    let max_len = in_parts.then_some(config.sample_length);
    Request { seed: SEED, count: config.sample_count as u64, max_len, ..Request::default() }
}

/// Draws the samples that `config` asks for; `on_progress` hears how far they are, and can end the drawing.
pub(super) fn draw(
    abilities: &Abilities<'_>,
    spec: &DataSpec,
    config: &TrainConfig,
    device: &Device,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<Media>> {
    let (unit, in_parts) = match spec.content {
        Content::Images(_) => ("images", false),
        Content::Points(_) => ("points", false),
        Content::Text(_) => ("tokens", true),
        Content::Sound(_) => ("frames", true),
        Content::Experience(_) => ("episodes", false),
    };
    let count = config.sample_count as u64;
    let length = if in_parts { config.sample_length as u64 } else { 1 };
    let total = Some(count.saturating_mul(length));
    let request = request(spec, config);
    let (mut drawn, mut done) = (Vec::new(), 0);
    let report = |done| Progress { what: "sampling", unit, done, total };
    if on_progress(report(0)).is_break() {
        return Ok(drawn);
    }
    generate(abilities, spec, device, &request, &mut |index, chunk| {
        done = match chunk {
            Chunk::Whole(media) => {
                drawn.push(media);
                done.max(drawn.len() as u64 * length)
            }
            Chunk::Part(_) => done + 1,
            // Of the examples that are computed together.
            Chunk::Progress { done: values, total } => {
                let together = (request.batch_size as u64).min(count.saturating_sub(index));
                done.max(index + together * values as u64 / total.max(1) as u64)
            }
        };
        on_progress(report(done))
    })?;
    Ok(drawn)
}

/// Writes texts and sounds to the event file one by one; images and points are in it as one picture. `path` is for messages.
fn log_examples(events: &mut EventWriter, step: u64, drawn: &[Media], path: &Path) -> Result<()> {
    let (mut texts, mut sounds) = (Vec::new(), Vec::new());
    for media in drawn {
        match media {
            Media::Text(text) => texts.push(String::from_utf8_lossy(text).into_owned()),
            Media::Sound(clip) => sounds.push(files::to_wav(path, clip)?),
            Media::Image(_) | Media::Point(_) => {}
        }
    }
    if !texts.is_empty() {
        events.texts(step, TAG, &texts)?;
    }
    if !sounds.is_empty() {
        events.sounds(step, TAG, &sounds)?;
    }
    Ok(())
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
            atomic::write_in_folder(path, &grid.to_png(Some(note))?)?;
            Ok(Some(grid))
        }
        Some(other) => {
            atomic::write_in_folder(path, &files::to_bytes(&other, spec, path)?)?;
            Ok(None)
        }
        None => Ok(None),
    }
}
