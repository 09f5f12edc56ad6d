//! `poiesis complete`: what is missing of an image, or comes after a text or a sound, drawn by a model.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use poiesis::Trained;
use poiesis::apply::complete;
use poiesis::data::{Content, ImageShape};
use poiesis::generate::Choice;
use poiesis::picture::Picture;
use poiesis_collect::Split;
use serde_json::json;

use super::discover::OfData;
use super::inspect::split;
use super::pictures;
use super::sample::Sample;
use crate::args::{Chosen, OfRun, Out};
use crate::render::{Meter, result};

/// Fill in what is missing of images, or go on with a text or a sound
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis complete runs/gated-pixelcnn-mnist                            held-out images without their lower halves
  poiesis complete runs/gated-pixelcnn-mnist --missing 10,10,8,8 --images 4 --count 6
  poiesis complete runs/pixelcnn-pp-cifar10 --image photo.png --mask hole.png
  poiesis complete runs/transformer-tinyshakespeare --text 'ROMEO:' --length 400
  poiesis complete runs/wavenet-fsdd --sound begun.wav --length 1

A row of the picture holds an image, what the model sees of it, and its completions. Known pixels are never altered. An
autoregressive model draws row by row, so it knows what lies above and left of a missing pixel. A text or sound is begun as
given, to the last byte or frame, and goes on as `poiesis sample --prime` and `--prime-sound` do.")]
pub(crate) struct Complete {
    #[command(flatten)]
    of: OfRun,
    /// A PNG image of the model's size [default: images of --split].
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Split that images come from [default: test if there is one, else validation].
    #[arg(long, value_name = "SPLIT", value_parser = split, conflicts_with = "image")]
    split: Option<Split>,
    /// How many images of the split.
    #[arg(long, value_name = "N", default_value = "8", value_parser = pictures::positive)]
    images: usize,
    /// Number of the first of them, which the others follow [default: spread over the split].
    #[arg(long, value_name = "N")]
    first: Option<usize>,
    /// What is missing: `lower`, `upper`, `left` or `right` half, or a rectangle LEFT,TOP,WIDTH,HEIGHT.
    #[arg(long, value_name = "PART", default_value = "lower")]
    missing: String,
    /// A PNG image of the model's size that is white where pixels are missing.
    #[arg(long, value_name = "FILE", conflicts_with = "missing")]
    mask: Option<PathBuf>,
    /// Text to go on with, of a model of text.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["image", "split", "mask", "sound"])]
    text: Option<String>,
    /// WAV file to go on with, of a model of sound.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "split", "mask"])]
    sound: Option<PathBuf>,
    /// Tokens of a text, at most [default: 1000]; seconds of a sound, at most [default: 2].
    #[arg(long, value_name = "N")]
    length: Option<f64>,
    /// Completions of each image, or of the text or sound [default: 8 of an image, 1 of a text, 4 of a sound].
    #[arg(long, short = 'n', value_name = "N", value_parser = pictures::positive)]
    count: Option<usize>,
    /// Class of the images, for a model conditioned on classes: its name or number.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Seed of the completions.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    data: OfData,
    #[command(flatten)]
    out: Out,
}

impl Complete {
    pub(crate) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        match &trained.spec.content {
            Content::Images(_) if self.text.is_some() || self.sound.is_some() || self.length.is_some() => {
                bail!("{} is a model of images; leave out --text, --sound and --length", trained.info.id)
            }
            Content::Images(shape) => self.images(&trained, *shape),
            Content::Text(_) if self.text.is_none() => bail!("give the text to go on with by --text"),
            Content::Sound(_) if self.sound.is_none() => bail!("give a WAV file to go on with by --sound"),
            Content::Text(_) | Content::Sound(_) => self.go_on(&trained),
        }
    }

    /// A text or a sound, begun as given.
    fn go_on(self, trained: &Trained) -> Result<()> {
        let sample = Sample {
            of: self.of,
            count: self.count,
            seed: self.seed,
            first: 0,
            class: self.class,
            prime: self.text,
            prime_sound: self.sound,
            length: self.length,
            chosen: self.chosen,
            columns: None,
            no_metadata: false,
            out: self.out,
        };
        sample.of_model(trained)
    }

    fn images(&self, trained: &Trained, shape: ImageShape) -> Result<()> {
        let code = trained.code()?;
        let count = self.count.unwrap_or(8);
        let out = self.out.resolve(trained, "completed", "png")?;
        let known = self.known(shape)?;
        let class = self.class.as_deref().map(|class| trained.class(class)).transpose()?;
        let images = self.originals(trained, shape)?;
        let choice: Choice = self.chosen.choice()?;
        let meter = Meter::new("completing", "images", Some(images.len() as u64), false);
        let mut row = Vec::new();
        for (done, image) in images.iter().enumerate() {
            row.extend_from_slice(image);
            row.extend(occluded(image, &known, shape.channels));
            let seed = self.seed + done as u64;
            row.extend(complete::image(code, shape, image, &known, class, (seed, count), choice));
            meter.at(done as u64 + 1, Some(images.len() as u64));
        }
        meter.end();
        let made = json!({ "verb": "complete", "seed": self.seed, "count": count });
        let picture = pictures::grid(&row, shape, count + 2, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(trained, made)))?;
        result(&format!("{}\n", out.display()))
    }

    fn originals(&self, trained: &Trained, shape: ImageShape) -> Result<Vec<Vec<u8>>> {
        if let Some(file) = &self.image {
            return Ok(vec![read(file, shape)?]);
        }
        let dataset = self.data.open(trained)?;
        let wanted = self.split.map_or(vec![Split::Test, Split::Validation], |split| vec![split]);
        let Some(view) = wanted.iter().find_map(|&split| dataset.split(split)) else {
            bail!("{} has nothing held out; give --split train, or --image", dataset.card().name);
        };
        let indices: Vec<usize> = match self.first {
            None => view.spread(self.images).collect(),
            Some(first) => (first..view.len()).take(self.images).collect(),
        };
        if indices.is_empty() {
            bail!("the split has {} images; give a smaller --first", view.len());
        }
        Ok(indices.into_iter().map(|index| view.image(index).to_vec()).collect())
    }

    /// For each pixel, whether it is known.
    fn known(&self, shape: ImageShape) -> Result<Vec<bool>> {
        if let Some(mask) = &self.mask {
            let (picture, _) = Picture::read_png(mask)?;
            if (picture.width(), picture.height()) != (shape.width, shape.height) {
                let (width, height) = (picture.width(), picture.height());
                bail!(
                    "{} is {width}×{height}; give a mask of the model's {}×{}",
                    mask.display(),
                    shape.width,
                    shape.height
                );
            }
            let channels = picture.channels();
            return Ok(picture.data().chunks_exact(channels).map(|pixel| pixel[0] < 128).collect());
        }
        let (width, height) = (shape.width, shape.height);
        let [left, top, wide, high] = match self.missing.as_str() {
            "lower" => [0, height / 2, width, height - height / 2],
            "upper" => [0, 0, width, height / 2],
            "left" => [0, 0, width / 2, height],
            "right" => [width / 2, 0, width - width / 2, height],
            other => rectangle(other)?,
        };
        if left + wide > width || top + high > height || wide * high == 0 {
            bail!("--missing {} does not lie in images of {width}×{height}", self.missing);
        }
        let missing = |place: usize| {
            (left..left + wide).contains(&(place % width)) && (top..top + high).contains(&(place / width))
        };
        Ok((0..width * height).map(|place| !missing(place)).collect())
    }
}

fn rectangle(text: &str) -> Result<[usize; 4]> {
    let numbers: Option<Vec<usize>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[left, top, width, height]) => Ok([left, top, width, height]),
        _ => bail!("--missing is lower, upper, left, right or LEFT,TOP,WIDTH,HEIGHT in pixels, not {text}"),
    }
}

/// The image with grey where pixels are missing.
fn occluded(image: &[u8], known: &[bool], channels: usize) -> Vec<u8> {
    image.iter().enumerate().map(|(place, &byte)| if known[place / channels] { byte } else { 128 }).collect()
}

fn read(file: &Path, shape: ImageShape) -> Result<Vec<u8>> {
    let (picture, _) = Picture::read_png(file)?;
    let found = (picture.width(), picture.height(), picture.channels());
    if found != (shape.width, shape.height, shape.channels) {
        bail!(
            "{} is {}×{} with {} channels; give an image of the model's {}×{} with {}",
            file.display(),
            found.0,
            found.1,
            found.2,
            shape.width,
            shape.height,
            shape.channels
        );
    }
    Ok(picture.data().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_are_four_numbers() {
        assert_eq!(rectangle("1, 2,3,4").unwrap(), [1, 2, 3, 4]);
        assert!(rectangle("1,2,3").is_err() && rectangle("low").is_err());
    }
}
