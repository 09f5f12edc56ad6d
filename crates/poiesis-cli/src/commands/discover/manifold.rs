//! `poiesis discover manifold`.

use anyhow::Result;
use clap::Args;
use poiesis::discover::manifold;
use serde_json::json;

use super::expect_class;
use crate::args::{OfRun, Out};
use crate::commands::pictures;
use crate::render::result;

/// Show all that a model with two latent values can make, as one grid
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis train vae --recipe mnist --set latent_dim=2 --out runs/plane
  poiesis discover manifold runs/plane --steps 20

Both latent values go through the quantiles of their prior, the first from left to right and the second from the bottom \
to the top, so that each image stands for the same probability (Kingma and Welling 2013, Figure 4). `discover embed` \
maps the images of a model with more values.")]
pub(super) struct Manifold {
    #[command(flatten)]
    of: OfRun,
    /// Images in a row and in a column.
    #[arg(long, value_name = "N", default_value = "20", value_parser = pictures::several)]
    steps: usize,
    /// Class of all images, for a model conditioned on classes: its name or number [default: the first].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    out: Out,
}

impl Manifold {
    pub(super) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let (shape, latents) = (trained.spec.images()?, trained.latents()?);
        let class = expect_class(&trained, self.class.as_deref())?;
        let out = self.out.resolve(&trained, "manifold", "png")?;
        let images = manifold(latents, self.steps, class, &trained.device)?;
        let mut made = json!({ "verb": "discover manifold", "steps": self.steps });
        pictures::name_class(&mut made, &trained, class);
        let picture = pictures::grid(&images, shape, self.steps, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        result(&format!("{}\n", out.display()))
    }
}
