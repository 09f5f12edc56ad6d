//! `poiesis edit`: changes an attribute of images.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use poiesis::apply::attribute::{Attribute, AttributeMethod};
use poiesis::apply::edit::{Render, edit};
use serde_json::json;

use super::discover::{OfData, expect_class};
use super::given_images::expect_existing;
use super::pictures;
use super::sources::{Images, Inverting, encoded};
use crate::args::{OfRun, Out};
use crate::render::{expect_none, in_json, number, result, table};

/// Images in a row, unless another number is given.
const STEPS: usize = 9;
/// How far an image can be moved.
const FARTHEST: f64 = 100.0;

/// Change an attribute of images, such as a smile, along a direction of latents
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover attribute runs/vae-faces --with smiling/ --without serious/ --out smile.json
  poiesis edit runs/vae-faces me.png --along smile.json                            a strip from -2 to 2
  poiesis edit runs/vae-faces me.png --along smile.json --amount 1.5 --out edited.png
  poiesis edit runs/vae-faces a.png b.png --along smile.json --amount 0..3 --steps 4   a row for each image

An amount of 1 is the way from a typical image without the attribute to a typical one with it; below 0 there is less of \
it. The change that the step makes to the decoded image is added to the image itself, so that the rest stays as it is, and \
an amount of 0 changes nothing. --decoded shows what the model decodes instead, behind the image. PLACE says where an image \
is on that way, before it is changed: about 0 for those without the attribute and 1 for those with it.")]
pub(crate) struct Edit {
    #[command(flatten)]
    of: OfRun,
    /// Files, folders or archives of images.
    #[arg(value_name = "IMAGES", required = true)]
    files: Vec<PathBuf>,
    /// Direction that `discover attribute` has found with this model.
    #[arg(long, value_name = "FILE")]
    along: PathBuf,
    /// One amount, such as 1.5, or the first and the last of a row, such as -2..2.
    #[arg(long, value_name = "X|X..Y", default_value = "-2..2", value_parser = amount, allow_hyphen_values = true)]
    amount: Amount,
    /// Images in a row [default: 9].
    #[arg(long, value_name = "N", value_parser = pictures::several)]
    steps: Option<usize>,
    /// Which direction of the file is used.
    #[arg(long, value_name = "METHOD", value_enum, default_value = "logistic")]
    method: Method,
    /// Show what the model decodes, not the image with the difference.
    #[arg(long)]
    decoded: bool,
    /// Class that images are encoded as, for a model conditioned on classes: its name or number [default: none].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    inverting: Inverting,
    /// Seed of a search [default: 0].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    data: OfData,
    #[command(flatten)]
    out: Out,
}

/// How far images are moved.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    One(f64),
    Row(f64, f64),
}

fn amount(text: &str) -> Result<Amount, String> {
    let number = |text: &str| text.parse().ok().filter(|x: &f64| x.abs() <= FARTHEST);
    let found = match text.split_once("..") {
        None => number(text).map(Amount::One),
        Some((from, to)) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from < to => Some(Amount::Row(from, to)),
            _ => None,
        },
    };
    found.ok_or_else(|| {
        "give a number from -100 to 100, or two with .. between them, the smaller first".into()
    })
}

/// Which direction of an attribute is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// The weights of the logistic regression
    Logistic,
    /// The difference of the means of both sets
    Means,
}

impl Edit {
    pub(crate) fn run(self) -> Result<()> {
        expect_existing(&self.files)?;
        let one = matches!(self.amount, Amount::One(_));
        expect_none("one --amount", &[("--steps", one && self.steps.is_some())])?;
        let trained = self.of.open()?;
        let (shape, latents) = (trained.spec.images()?, trained.latents()?);
        let inversion = self.inverting.of(&trained, self.seed)?;
        let class = expect_class(&trained, self.class.as_deref())?;
        let attribute = Attribute::load(&self.along, &trained)?;
        let along = attribute.along(match self.method {
            Method::Logistic => AttributeMethod::Logistic,
            Method::Means => AttributeMethod::Means,
        });
        let out = self.out.resolve(&trained, "edited", "png")?;
        let images = Images::of_files(&trained, &self.files, &self.data, class, false)?;
        let found = encoded(&trained, &images, inversion.as_ref(), false)?;
        let rows: Vec<Vec<String>> = images
            .names
            .iter()
            .zip(found.latents.iter())
            .zip(&found.fits)
            .map(|((name, z), fit)| vec![name.clone(), number(along.place(z)), number(fit.psnr)])
            .collect();
        result(&table(&["IMAGE", ">PLACE", ">PSNR OF THE DECODED IMAGE (DB)"], &rows))?;
        let amounts = self.amounts();
        let render = if self.decoded { Render::Decoded } else { Render::Difference };
        let device = &trained.device;
        let edited =
            edit(latents, &images.pixels, &found.latents, &images.classes, along, &amounts, render, device);
        // A picture of one image alone can be used further.
        let single = amounts.len() == 1 && images.len() == 1;
        let with_original = !single && (one || self.decoded);
        let columns = amounts.len() + usize::from(with_original);
        let of_row =
            edited.chunks_exact(amounts.len() * shape.dims()).zip(images.pixels.chunks_exact(shape.dims()));
        let all: Vec<u8> = of_row
            .flat_map(|(edited, original)| [if with_original { original } else { &[] }, edited].concat())
            .collect();
        let mut made = json!({
            "verb": "edit", "along": in_json(&self.along), "with": attribute.with, "without": attribute.without,
            "method": if self.method == Method::Logistic { "logistic" } else { "means" }, "amounts": amounts,
            "decoded": self.decoded, "images": images.names,
        });
        pictures::name_class(&mut made, &trained, class);
        let picture = match single {
            true => {
                let picture = poiesis::picture::Picture::new(shape.width, shape.height, shape.channels, all);
                picture.enlarged(self.out.scale.map_or(1, usize::from))
            }
            false => pictures::grid(&all, shape, columns, self.out.scale),
        };
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        result(&format!("{}\n", out.display()))
    }

    /// Each amount from left to right.
    fn amounts(&self) -> Vec<f64> {
        match self.amount {
            Amount::One(amount) => vec![amount],
            Amount::Row(from, to) => row(from, to, self.steps.unwrap_or(STEPS)),
        }
    }
}

/// `steps` equal steps from one number to another, both included.
pub(super) fn row(from: f64, to: f64, steps: usize) -> Vec<f64> {
    let last = (steps - 1) as f64;
    (0..steps).map(|step| (from * (last - step as f64) + to * step as f64) / last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_one_or_a_row() {
        assert_eq!(amount("1.5"), Ok(Amount::One(1.5)));
        assert_eq!(
            [amount("-2..2"), amount("-2..-1")],
            [Ok(Amount::Row(-2.0, 2.0)), Ok(Amount::Row(-2.0, -1.0))]
        );
        for wrong in ["2..1", "..", "a", "nan", "1..", "1e9", "1..inf", "0..0"] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
        assert_eq!(row(-2.0, 2.0, 5), [-2.0, -1.0, 0.0, 1.0, 2.0]);
        assert_eq!(row(-2.0, 2.0, 9)[4], 0.0, "the middle is exact");
    }
}
