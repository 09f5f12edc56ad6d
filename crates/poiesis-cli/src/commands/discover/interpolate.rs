//! `poiesis discover interpolate`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::data::ImageShape;
use poiesis::discover::{interpolate, interpolate_along};
use poiesis::picture::{self, Timing, animation};
use serde_json::json;

use super::{OfData, expect_class};
use crate::args::{OfRun, Out};
use crate::commands::given_images::expect_existing;
use crate::commands::pictures;
use crate::commands::sources::{Images, Inverting, encoded};
use crate::render::{expect_none, failure, number, result, table};

/// Rows between samples, unless another number is given.
const ROWS: usize = 8;

/// Interpolate between samples, or between your own images: smooth changes mean that the model has learned features, not examples
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover interpolate runs/dcgan-shapes --rows 8 --steps 12 --seed 3 --out path.png
  poiesis discover interpolate runs/vae-faces --from me.png --to you.png
  poiesis discover interpolate runs/vae-faces --from a.png --to b.png c.png d.png --out walk.gif
  poiesis discover interpolate runs/dcgan-shapes --from a.png --to b.png      latents are searched

Between images of your own, each row goes from one image to the next: the image as the model reads it, what the decoder \
makes of the latents on the way, and the next image. PSNR says how near a decoded image is to the image, in dB; where it is \
low, the model cannot show the image, and the way to it means little. A GIF shows the decoded images one after another, \
of samples all rows at once.")]
pub(super) struct Interpolate {
    #[command(flatten)]
    of: OfRun,
    /// Image to begin with.
    #[arg(long, value_name = "FILE", requires = "to")]
    from: Option<PathBuf>,
    /// Image to end with, or several to pass one after another.
    #[arg(long, value_name = "FILE", requires = "from", num_args = 1..)]
    to: Vec<PathBuf>,
    /// Number of interpolations, each between two samples [default: 8].
    #[arg(long, value_name = "N", value_parser = pictures::positive, conflicts_with = "from")]
    rows: Option<usize>,
    /// Images per interpolation.
    #[arg(long, value_name = "N", default_value = "10", value_parser = pictures::several)]
    steps: usize,
    /// Seed of the samples, or of a search of latents [default: 0].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Class of all images, for a model conditioned on classes: its name or number [default: of samples each in turn, one per
    /// row; of your own images none].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    inverting: Inverting,
    #[command(flatten)]
    data: OfData,
    #[command(flatten)]
    out: Out,
}

impl Interpolate {
    pub(super) fn run(self) -> Result<()> {
        let stops: Vec<PathBuf> = self.from.iter().chain(&self.to).cloned().collect();
        expect_existing(&stops)?;
        let trained = self.of.open()?;
        let shape = trained.spec.images()?;
        trained.latents()?;
        let class = expect_class(&trained, self.class.as_deref())?;
        let ending = if self.is_animation() { "gif" } else { "png" };
        let out = self.out.resolve(&trained, "interpolate", ending)?;
        match stops.is_empty() {
            true => self.between_samples(&trained, shape, class, &out)?,
            false => self.between_images(&trained, shape, class, &stops, &out)?,
        }
        result(&format!("{}\n", out.display()))
    }

    /// Whether an animation is asked for.
    fn is_animation(&self) -> bool {
        let extension = self.out.out.as_deref().and_then(Path::extension);
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case("gif"))
    }

    fn between_samples(
        &self,
        trained: &Trained,
        shape: ImageShape,
        class: Option<u32>,
        out: &Path,
    ) -> Result<()> {
        let flags = [&self.inverting.given()[..], &[("--data", self.data.is_given())]].concat();
        expect_none("samples, without --from and --to", &flags)?;
        let (seed, rows) = (self.seed.unwrap_or(0), self.rows.unwrap_or(ROWS));
        let images = interpolate(trained.latents()?, seed, rows, self.steps, class, &trained.device);
        if self.is_animation() {
            // Step by step, all rows at once.
            let frame = |step: usize| (0..rows).map(|row| row * self.steps + step).collect::<Vec<_>>();
            return self.animate(out, &images, shape, self.steps, &frame);
        }
        let mut made = json!({
            "verb": "discover interpolate", "seed": seed, "rows": rows, "steps": self.steps,
        });
        pictures::name_class(&mut made, trained, class);
        let picture = pictures::grid(&images, shape, self.steps, self.out.scale);
        Ok(picture.write_png(out, Some(&pictures::parameters(trained, made)))?)
    }

    fn between_images(
        &self,
        trained: &Trained,
        shape: ImageShape,
        class: Option<u32>,
        stops: &[PathBuf],
        out: &Path,
    ) -> Result<()> {
        let inversion = self.inverting.of(trained, self.seed)?;
        let mut given = Images::default();
        for path in stops {
            let one = Images::of_files(trained, std::slice::from_ref(path), &self.data, class, false)?;
            if one.len() != 1 {
                let what = format!("{} holds {} images", path.display(), one.len());
                return Err(failure(what, "give files of one image each: --from A.png --to B.png C.png"));
            }
            given.names.extend(one.names);
            given.pixels.extend(one.pixels);
            given.classes.extend(one.classes);
        }
        let found = encoded(trained, &given, inversion.as_ref(), false)?;
        let rows: Vec<Vec<String>> = given
            .names
            .iter()
            .zip(&found.fits)
            .map(|(name, fit)| vec![name.clone(), number(fit.psnr)])
            .collect();
        result(&table(&["IMAGE", ">PSNR OF THE DECODED IMAGE (DB)"], &rows))?;
        let (latents, device) = (trained.latents()?, &trained.device);
        let walks = interpolate_along(latents, &found.latents, self.steps, class, device);
        if self.is_animation() {
            // Where one row ends the next begins, with the same image.
            let frames: Vec<usize> = (0..walks.len() / shape.dims())
                .filter(|frame| *frame == 0 || frame % self.steps != 0)
                .collect();
            return self.animate(out, &walks, shape, frames.len(), &|frame| vec![frames[frame]]);
        }
        let ends = given.pixels.chunks_exact(shape.dims());
        let of_row = walks.chunks_exact(self.steps * shape.dims()).zip(ends.clone().zip(ends.skip(1)));
        let all: Vec<u8> = of_row.flat_map(|(walk, (from, to))| [from, walk, to].concat()).collect();
        let mut made = json!({
            "verb": "discover interpolate", "images": given.names, "steps": self.steps,
            "seed": inversion.map(|inversion| inversion.seed),
        });
        pictures::name_class(&mut made, trained, class);
        let picture = pictures::grid(&all, shape, self.steps + 2, self.out.scale);
        Ok(picture.write_png(out, Some(&pictures::parameters(trained, made)))?)
    }

    /// Writes an animation whose frames show some of the images each.
    fn animate(
        &self,
        out: &Path,
        images: &[u8],
        shape: ImageShape,
        count: usize,
        shown: &dyn Fn(usize) -> Vec<usize>,
    ) -> Result<()> {
        let size = shape.dims();
        let mut frame = |number: usize| {
            let shown = shown(number);
            let pixels: Vec<u8> =
                shown.iter().flat_map(|&image| &images[image * size..(image + 1) * size]).copied().collect();
            Ok(pictures::grid(&pixels, shape, picture::columns(shown.len()), self.out.scale))
        };
        Ok(animation::write_gif(out, count, Timing::default(), &mut frame)?)
    }
}
