//! `poiesis complete`: fills in missing parts of images, or continues a text or a sound.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::apply::infill::{Infill, infill};
use poiesis::data::{ImageShape, MediaKind};
use poiesis::generate::{Condition, Request};
use poiesis::media::Keep;
use poiesis::picture::{Mask, Picture, occluded};
use poiesis_collect::Split;
use serde_json::json;

use super::discover::OfData;
use super::inspect::split;
use super::pictures;
use super::sample::Sample;
use crate::args::{Chosen, OfRun, Out, class_of};
use crate::render::{Meter, counted, expect_none, failure, result};

/// How many images of a split are completed.
const IMAGES: usize = 8;

/// Fill in missing parts of images, or continue a text or a sound
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis complete runs/gated-pixelcnn-mnist                            the lower halves of held-out images
  poiesis complete runs/gated-pixelcnn-mnist --missing 10,10,8,8 --images 4 --count 6
  poiesis complete runs/pixelcnn-pp-cifar10 --image photo.png --mask hole.png
  poiesis complete runs/vae-mnist --missing right                       by its latents, approximately
  poiesis complete runs/transformer-tinyshakespeare --text 'ROMEO:' --length 400
  poiesis complete runs/wavenet-fsdd --sound begun.wav --length 1

A row of the picture has an image, the part that the model sees, and its completions. Known pixels are never \
changed. An autoregressive model generates row by row, so it uses only the known pixels above and left of a \
missing one. A model with latents (a VAE, a GAN, a flow) has no exact completions: latents are searched whose images \
agree with the known pixels, each from another draw of the prior, so completions differ where these leave them \
free, and there may be a seam at the edge of the missing part. A text or sound begins exactly as given and continues as with `poiesis sample --prime` and \
`--prime-sound`.")]
pub(crate) struct Complete {
    #[command(flatten)]
    of: OfRun,
    /// A PNG image of the model's size [default: images of --split].
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Split that images come from [default: test if there is one, else validation].
    #[arg(long, value_name = "SPLIT", value_parser = split, conflicts_with = "image")]
    split: Option<Split>,
    /// Number of images of the split [default: 8].
    #[arg(long, value_name = "N", value_parser = pictures::positive, conflicts_with = "image")]
    images: Option<usize>,
    /// Number of the first image; the others follow it [default: spread over the split].
    #[arg(long, value_name = "N", conflicts_with = "image")]
    first: Option<usize>,
    /// Missing part: the `lower`, `upper`, `left` or `right` half, or a rectangle LEFT,TOP,WIDTH,HEIGHT [default: lower].
    #[arg(long, value_name = "PART")]
    missing: Option<String>,
    /// A PNG image of the model's size that is white where pixels are missing.
    #[arg(long, value_name = "FILE", conflicts_with = "missing")]
    mask: Option<PathBuf>,
    /// Text to continue, for a model of text.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["image", "split", "mask", "sound"])]
    text: Option<String>,
    /// WAV file to continue, for a model of sound.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "split", "mask"])]
    sound: Option<PathBuf>,
    /// Maximum tokens of a text [default: 1000], or seconds of a sound [default: 2].
    #[arg(long, value_name = "N", value_parser = pictures::length)]
    length: Option<f64>,
    /// Completions of each image, or of the text or sound [default: 8 for an image, 1 for a text, 4 for a sound].
    #[arg(long, short = 'n', value_name = "N", value_parser = pictures::positive)]
    count: Option<usize>,
    /// Class of the images, for a model conditioned on classes: its name or number [default: that of each image of the split].
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
        if !by_latents(&trained) {
            trained.autoregressive()?;
        }
        self.expect_flags_apply(&trained)?;
        match (trained.spec.media(), &self.text, &self.sound) {
            (MediaKind::Images, ..) => self.images(&trained, trained.spec.images()?),
            (MediaKind::Sound, _, None) => {
                Err(failure("there is no sound to continue", "give its beginning, a WAV file, with --sound"))
            }
            (_, None, None) => Err(failure("there is no text to continue", "give its beginning with --text")),
            _ => self.continue_stream(&trained),
        }
    }

    /// Refuses flags that mean nothing for what the model completes.
    fn expect_flags_apply(&self, trained: &Trained) -> Result<()> {
        let media = trained.spec.media();
        let (images, text, sound) =
            (media == MediaKind::Images, media == MediaKind::Text, media == MediaKind::Sound);
        let of_images = [
            ("--image", self.image.is_some()),
            ("--split", self.split.is_some()),
            ("--images", self.images.is_some()),
            ("--first", self.first.is_some()),
            ("--missing", self.missing.is_some()),
            ("--mask", self.mask.is_some()),
            ("--data", self.data.is_given()),
            ("--scale", self.out.scale.is_some()),
        ];
        let mut flags: Vec<(&str, bool)> =
            of_images.into_iter().map(|(flag, given)| (flag, given && !images)).collect();
        flags.extend([
            ("--text", self.text.is_some() && !text),
            ("--sound", self.sound.is_some() && !sound),
            ("--length", self.length.is_some() && images),
        ]);
        expect_none(&format!("a model of {}", media.name()), &flags)?;
        let chosen = self.chosen.params();
        let name = trained.entry.name();
        let sampling = [
            ("--temperature", chosen.temperature.is_some() && by_latents(trained)),
            ("--top-k", chosen.top_k.is_some() && by_latents(trained)),
            ("--top-p", chosen.top_p.is_some() && by_latents(trained)),
            ("--class", self.class.is_some() && by_latents(trained) && trained.num_classes() == 0),
        ];
        expect_none(&format!("{name}, which completes images by its latents"), &sampling)?;
        expect_none("an image of your own", &[("--data", self.image.is_some() && self.data.is_given())])
    }

    /// A text or a sound that begins as given.
    fn continue_stream(self, trained: &Trained) -> Result<()> {
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
            steps: false,
            columns: None,
            no_metadata: false,
            out: self.out,
        };
        sample.of_model(trained)
    }

    fn images(&self, trained: &Trained, shape: ImageShape) -> Result<()> {
        let count = self.count.unwrap_or(8);
        let out = self.out.resolve(trained, "completed", "png")?;
        let known = self.mask()?.known(shape.height, shape.width)?;
        let class = class_of(trained, self.class.as_deref())?;
        let images = self.originals(trained, shape)?;
        let params = self.chosen.params();
        let meter = Meter::new("completing", "images", Some(images.len() as u64), false);
        let mut row = Vec::new();
        for (done, (image, label)) in images.iter().enumerate() {
            row.extend_from_slice(image.data());
            row.extend(occluded(image.data(), &known, shape.channels));
            if by_latents(trained) {
                let wanted = Infill {
                    image,
                    known: &known,
                    class: class.or(*label),
                    seed: self.seed + done as u64,
                    count: count as u64,
                };
                for completed in infill(trained, &wanted, &mut |_, _| ())? {
                    row.extend(completed.data());
                }
                meter.at(done as u64 + 1, Some(images.len() as u64));
                continue;
            }
            let keep = Some(Keep { image: image.clone(), mask: known.clone() });
            let request = Request {
                seed: self.seed + done as u64,
                count: count as u64,
                // An image from a split has its own class.
                condition: Condition { class: class.or(*label), keep, ..Condition::default() },
                params,
                ..Request::default()
            };
            for completed in trained.generate_all(&request)? {
                row.extend(completed.picture().map(Picture::data).unwrap_or_default());
            }
            meter.at(done as u64 + 1, Some(images.len() as u64));
        }
        meter.end();
        let made = json!({ "verb": "complete", "seed": self.seed, "count": count });
        let picture = pictures::grid(&row, shape, count + 2, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(trained, made)))?;
        result(&format!("{}\n", out.display()))
    }

    /// The images to complete, each with its class if the model is conditioned on classes.
    fn originals(&self, trained: &Trained, shape: ImageShape) -> Result<Vec<(Picture, Option<u32>)>> {
        if let Some(file) = &self.image {
            return Ok(vec![(read(file, shape)?, None)]);
        }
        let dataset = self.data.open(trained)?;
        let wanted = self.split.map_or(vec![Split::Test, Split::Validation], |split| vec![split]);
        let Some(view) = wanted.iter().find_map(|&split| dataset.split(split)) else {
            let what = format!("{} has no held-out examples", dataset.card().name);
            return Err(failure(what, "give --image FILE, or --split train"));
        };
        let indices: Vec<usize> = match self.first {
            None => view.spread(self.images.unwrap_or(IMAGES)).collect(),
            Some(first) => (first..view.len()).take(self.images.unwrap_or(IMAGES)).collect(),
        };
        if indices.is_empty() {
            return Err(failure(
                format!("the split has {}", counted(view.len() as u64, "image")),
                "give a smaller --first",
            ));
        }
        let conditional = trained.num_classes() > 0;
        let ImageShape { height, width, channels } = shape;
        let original = |index| {
            let image = Picture::new(width, height, channels, view.image(index).to_vec());
            (image, view.label(index).filter(|_| conditional))
        };
        Ok(indices.into_iter().map(original).collect())
    }

    /// The missing part of the images.
    fn mask(&self) -> Result<Mask> {
        Ok(match &self.mask {
            Some(file) => Mask::from_picture(&Picture::read_png(file)?.0),
            None => Mask::parse(self.missing.as_deref().unwrap_or("lower"))?,
        })
    }
}

/// Whether images are completed by latents: the model has no exact conditionals.
fn by_latents(trained: &Trained) -> bool {
    let abilities = trained.abilities();
    let images = trained.spec.media() == MediaKind::Images;
    images && abilities.autoregressive.is_none() && abilities.latents.is_some()
}

fn read(file: &Path, shape: ImageShape) -> Result<Picture> {
    let (picture, _) = Picture::read_png(file)?;
    let found = (picture.width(), picture.height(), picture.channels());
    if found != (shape.width, shape.height, shape.channels) {
        let what = format!("{} is {}×{} with {} channels", file.display(), found.0, found.1, found.2);
        let ImageShape { height, width, channels } = shape;
        return Err(failure(what, format!("give an image of the model's {width}×{height} with {channels}")));
    }
    Ok(picture)
}
