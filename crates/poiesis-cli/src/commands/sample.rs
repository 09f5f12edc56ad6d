//! `poiesis sample`: new images, texts and sounds from a trained model.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use poiesis::Trained;
use poiesis::apply::{sample, sound, text};
use poiesis::data::{Content, SoundShape, TextShape};
use poiesis::picture::{self, Picture, waveform_and_spectrogram};
use serde_json::{Value, json};

use super::pictures;
use crate::args::{Chosen, OfRun, Out};
use crate::render::{Meter, count, note, result};

/// Clips that are shown as pictures.
const DRAWN: usize = 16;
/// Images drawn between two looks at the clock.
const PIECE: usize = 64;

/// Draw new images, texts or sounds from a trained model
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis sample runs/dcgan-shapes
  poiesis sample runs/dcgan-shapes --count 16 --seed 7 --out grid.png
  poiesis sample runs/dcgan-shapes --count 10000 --out samples/      a folder of single files
  poiesis sample runs/transformer-tinyshakespeare --prime 'ROMEO:' --length 2000 --temperature 0.8
  poiesis sample runs/char-rnn-names --count 20
  poiesis sample runs/wavenet-fsdd --class 7 --count 4 --out seven.wav

Sample i of a seed is the same whatever --count is. Text goes to the terminal as it comes, or to --out; sound becomes one WAV
file with pauses between clips, and a picture of it beside. The PNG of a grid holds what it was made with; --no-metadata
leaves it out.")]
pub(crate) struct Sample {
    #[command(flatten)]
    pub(crate) of: OfRun,
    /// How many [default: 64 images, 1 text, 4 sounds].
    #[arg(long, short = 'n', value_name = "N", value_parser = pictures::positive)]
    pub(crate) count: Option<usize>,
    /// Seed of the sequence they come from.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) seed: u64,
    /// Number of the first image in that sequence.
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u64).range(..1 << 40))]
    pub(crate) first: u64,
    /// Class to draw, for a model conditioned on classes: its name or number [default: each in turn].
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// Text to go on with.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prime: Option<String>,
    /// WAV file to go on with.
    #[arg(long, value_name = "FILE", conflicts_with = "prime")]
    pub(crate) prime_sound: Option<PathBuf>,
    /// Tokens of a text, at most [default: 1000]; seconds of a sound, at most [default: 2].
    #[arg(long, value_name = "N")]
    pub(crate) length: Option<f64>,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Columns of the grid [default: as many as rows].
    #[arg(long, value_name = "N", value_parser = pictures::positive)]
    pub(crate) columns: Option<usize>,
    /// Leave out of the PNG what it was made with.
    #[arg(long)]
    pub(crate) no_metadata: bool,
    #[command(flatten)]
    pub(crate) out: Out,
}

impl Sample {
    pub(crate) fn run(self) -> Result<()> {
        self.of_model(&self.of.open()?)
    }

    /// Samples of a model that is open.
    pub(crate) fn of_model(&self, trained: &Trained) -> Result<()> {
        match &trained.spec.content {
            Content::Images(_) => self.images(trained),
            Content::Text(shape) => self.texts(trained, shape),
            Content::Sound(shape) => self.sounds(trained, *shape),
        }
    }

    /// The class of sample `index`: the asked one, or each in turn.
    fn class(&self, trained: &Trained, index: u64) -> Result<Option<u32>> {
        let classes = trained.spec.classes as u64;
        match &self.class {
            Some(class) => Ok(Some(trained.class(class)?)),
            None => Ok((classes > 0).then(|| (index % classes) as u32)),
        }
    }

    fn texts(&self, trained: &Trained, shape: &TextShape) -> Result<()> {
        let code = trained.code()?;
        let mut out: Box<dyn Write> = match &self.out.out {
            Some(path) if path.exists() && !self.out.force => {
                bail!("{} exists; give another --out, or --force to replace it", path.display())
            }
            Some(path) => {
                Box::new(fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
            }
            None => Box::new(std::io::stdout()),
        };
        let count = self.count.unwrap_or(1) as u64;
        for index in self.first..self.first + count {
            let request = text::Request {
                prime: self.prime.as_deref().unwrap_or_default().as_bytes(),
                length: self.length.unwrap_or(1000.0) as usize,
                class: self.class(trained, index)?,
                seed: self.seed,
                index,
                choice: self.chosen.choice()?,
            };
            let mut written = Ok(());
            text::write(code, shape, trained.spec.tokens(0), &request, &mut |part| {
                if written.is_ok() {
                    written = out.write_all(part).and_then(|()| out.flush());
                }
            })?;
            written?;
            out.write_all(if index + 1 < self.first + count { shape.separator() } else { b"\n" })?;
        }
        if let Some(path) = &self.out.out {
            result(&format!("{}\n", path.display()))?;
        }
        Ok(())
    }

    fn sounds(&self, trained: &Trained, shape: SoundShape) -> Result<()> {
        let code = trained.code()?;
        let out = self.out.resolve(trained, &format!("seed{}", self.seed), "wav")?;
        let picture = out.with_extension("png");
        if picture.exists() && !self.out.force {
            bail!("{} exists; give another --out, or --force to replace it", picture.display());
        }
        let prime = self.prime_sound.as_ref().map(|path| sound::read_wav(path, shape)).transpose()?;
        let count = self.count.unwrap_or(4) as u64;
        let classes = (self.first..self.first + count).map(|index| self.class(trained, index));
        let frames = (self.length.unwrap_or(2.0) * f64::from(shape.sample_rate)) as usize;
        let request = sound::Request {
            prime: prime.as_deref().unwrap_or_default(),
            frames,
            classes: &classes.collect::<Result<Vec<_>>>()?,
            seed: self.seed,
            first: self.first,
            choice: self.chosen.choice()?,
        };
        let meter = Meter::new("sampling", "frames", Some(frames as u64), false);
        let clips = sound::make(code, shape, &request, &mut |done| {
            meter.at(done as u64, Some(frames as u64));
        });
        meter.end();
        let all = sound::joined(&clips, shape);
        sound::write_wav(&out, shape, &all)?;
        let drawn = |clip: &Vec<i16>| waveform_and_spectrogram(&sound::mono(clip, shape), shape.sample_rate);
        let drawn: Vec<Picture> = clips.iter().take(DRAWN).map(drawn).collect();
        let each: Vec<&[u8]> = drawn.iter().map(Picture::data).collect();
        let (width, height) = (drawn[0].width(), drawn[0].height());
        let columns = self.columns.unwrap_or_else(|| sample::columns(each.len()));
        picture::grid(&each, height, width, drawn[0].channels(), columns)
            .write_png(&picture, self.note(trained, self.first, clips.len()).as_ref())?;
        result(&format!("{}\n{}\n", out.display(), picture.display()))
    }

    fn images(&self, trained: &Trained) -> Result<()> {
        trained.sampler()?;
        match &self.out.out {
            Some(folder) if folder.extension().is_none() || folder.is_dir() => self.folder(trained, folder),
            _ => self.grid(trained),
        }
    }

    /// How many images.
    fn count(&self) -> usize {
        self.count.unwrap_or(64)
    }

    fn grid(&self, trained: &Trained) -> Result<()> {
        let out = self.out.resolve(trained, &format!("samples-seed{}", self.seed), "png")?;
        let mut images = Vec::new();
        self.draw(trained, |_, piece| {
            images.extend_from_slice(piece);
            Ok(())
        })?;
        let columns = self.columns.unwrap_or_else(|| sample::columns(self.count()));
        let picture = pictures::grid(&images, trained.spec.images()?, columns, self.out.scale);
        picture.write_png(&out, self.note(trained, self.first, self.count()).as_ref())?;
        result(&format!("{}\n", out.display()))
    }

    fn folder(&self, trained: &Trained, folder: &Path) -> Result<()> {
        let occupied = folder.exists()
            && fs::read_dir(folder)
                .with_context(|| format!("cannot read {}", folder.display()))?
                .next()
                .is_some();
        if occupied && !self.out.force {
            bail!("{} is not empty; give another --out, or --force to write into it", folder.display());
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let shape = trained.spec.images()?;
        self.draw(trained, |index, piece| {
            for (number, image) in (index..).zip(piece.chunks_exact(shape.dims())) {
                let picture = Picture::new(shape.width, shape.height, shape.channels, image.to_vec());
                let path = folder.join(format!("{number:06}.png"));
                let picture = picture.enlarged(self.out.scale.map_or(1, usize::from));
                picture.write_png(&path, self.note(trained, number, 1).as_ref())?;
            }
            Ok(())
        })?;
        note(&format!("{} images of {}", count(self.count() as u64), trained.info.id));
        result(&format!("{}\n", folder.display()))
    }

    /// Draws the images piece by piece, each handed over with the number of its first.
    fn draw(&self, trained: &Trained, mut take: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let sampler = trained.sampler()?;
        let meter = Meter::new("sampling", "images", Some(self.count() as u64), false);
        for done in (0..self.count()).step_by(PIECE) {
            let first = self.first + done as u64;
            take(first, &sample::images(sampler, self.seed, first, PIECE.min(self.count() - done)))?;
            meter.at((done + PIECE).min(self.count()) as u64, Some(self.count() as u64));
        }
        meter.end();
        Ok(())
    }

    /// What a picture of `count` images from number `first` says of itself.
    fn note(&self, trained: &Trained, first: u64, count: usize) -> Option<Value> {
        let made = json!({ "verb": "sample", "seed": self.seed, "first": first, "count": count });
        (!self.no_metadata).then(|| pictures::parameters(trained, made))
    }
}

impl Out {
    /// The file to write, with this ending; it is told if it may not be replaced.
    pub(crate) fn resolve(&self, trained: &Trained, what: &str, ending: &str) -> Result<PathBuf> {
        let Some(out) = &self.out else {
            return Ok(crate::render::free(&format!("{}-{what}", trained.info.id), ending));
        };
        if !out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending)) {
            let kind = ending.to_uppercase();
            bail!("{} is not the name of a {kind} file; give one that ends in .{ending}", out.display());
        }
        if out.exists() && !self.force {
            bail!("{} exists; give another --out, or --force to replace it", out.display());
        }
        Ok(out.clone())
    }
}
