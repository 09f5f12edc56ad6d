//! `poiesis discover interpolate`.

use anyhow::Result;
use clap::Args;
use poiesis::discover::interpolate;
use serde_json::json;

use super::expect_class;
use crate::args::{OfRun, Out};
use crate::commands::pictures;
use crate::render::result;

/// Interpolate between samples: smooth changes mean that the model has learned features, not examples
#[derive(Args, Debug)]
#[command(after_long_help = "Example:
  poiesis discover interpolate runs/dcgan-shapes --rows 8 --steps 12 --seed 3 --out path.png")]
pub(super) struct Interpolate {
    #[command(flatten)]
    of: OfRun,
    /// Number of interpolations, each between two samples.
    #[arg(long, value_name = "N", default_value = "8", value_parser = pictures::positive)]
    rows: usize,
    /// Images per interpolation.
    #[arg(long, value_name = "N", default_value = "10", value_parser = pictures::several)]
    steps: usize,
    /// Seed of the samples.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Class of all images, for a model conditioned on classes: its name or number [default: each in turn, one per row].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    out: Out,
}

impl Interpolate {
    pub(super) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let latents = trained.latents()?;
        let class = expect_class(&trained, self.class.as_deref())?;
        let out = self.out.resolve(&trained, "interpolate", "png")?;
        let images = interpolate(latents, self.seed, self.rows, self.steps, class, &trained.device);
        let mut made = json!({
            "verb": "discover interpolate", "seed": self.seed, "rows": self.rows, "steps": self.steps,
        });
        pictures::name_class(&mut made, &trained, class);
        let picture = pictures::grid(&images, trained.spec.images()?, self.steps, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        result(&format!("{}\n", out.display()))
    }
}
