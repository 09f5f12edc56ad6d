//! `poiesis discover traverse`.

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::abilities::Prior;
use poiesis::discover::{code_grid, codes, traverse};
use serde_json::json;

use super::expect_class;
use crate::args::{OfRun, Out};
use crate::commands::pictures;
use crate::render::{expect_none, failure, number, result, table};

/// Images per row, unless another number is given.
const STEPS: usize = 9;

/// Change one latent dimension at a time, one per row, to see what it means
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover traverse runs/vae-shapes                   the dimensions that change the image most
  poiesis discover traverse runs/vae-shapes --dims 0,3 --index 5
  poiesis discover traverse runs/infogan-mnist --code c1      a column for each category of InfoGAN's first code
  poiesis discover traverse runs/infogan-mnist --code c2      a continuous code from -2 to 2

With --code the columns go through a code and each row is another sample: of a categorical code, --rows samples of \
--seed; of a continuous code, a sample of each category of the first categorical code.")]
pub(super) struct Traverse {
    #[command(flatten)]
    of: OfRun,
    /// Dimensions to change, counted from 0 [default: those that change the image most].
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    dims: Vec<usize>,
    /// Code whose columns are shown, such as `c1` of an InfoGAN.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["dims", "index"])]
    code: Option<String>,
    /// Number of dimensions to show without --dims; with --code, number of samples.
    #[arg(long, value_name = "N", default_value = "10", value_parser = pictures::positive, conflicts_with = "dims")]
    rows: usize,
    /// Images per row [default: 9].
    #[arg(long, value_name = "N", value_parser = pictures::several)]
    steps: Option<usize>,
    /// Seed of the sample.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Number of the sample.
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u64).range(..1 << 40))]
    index: u64,
    /// Class of all images, for a model conditioned on classes: its name or number [default: that of the sample].
    #[arg(long, value_name = "CLASS", conflicts_with = "code")]
    class: Option<String>,
    #[command(flatten)]
    out: Out,
}

impl Traverse {
    pub(super) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        trained.spec.images()?;
        if let Some(code) = &self.code {
            return self.show_code(&trained, code);
        }
        let steps = self.steps.unwrap_or(STEPS);
        let latents = trained.latents()?;
        if let Some(dim) = self.dims.iter().find(|&&dim| dim >= latents.latent_dim()) {
            let last = latents.latent_dim() - 1;
            let what = format!("{} has no latent dimension {dim}", trained.info.id);
            return Err(failure(what, format!("give --dims from 0 to {last}")));
        }
        let class = expect_class(&trained, self.class.as_deref())?;
        let out = self.out.resolve(&trained, "traverse", "png")?;
        let (dims, device) = (&self.dims, &trained.device);
        let moved = traverse(latents, self.seed, self.index, dims, self.rows, steps, class, device);
        let mut made = json!({
            "verb": "discover traverse", "seed": self.seed, "index": self.index,
            "dims": moved.dims, "values": moved.values, "effects": moved.effects,
        });
        pictures::name_class(&mut made, &trained, class);
        let rows: Vec<Vec<String>> = moved
            .dims
            .iter()
            .zip(&moved.effects)
            .enumerate()
            .map(|(row, (dim, effect))| vec![(row + 1).to_string(), dim.to_string(), number(*effect)])
            .collect();
        // Shown first: what was measured is not lost when the picture cannot be saved.
        result(&table(&[">ROW", ">DIMENSION", ">MOVES THE IMAGE BY (GREY LEVELS)"], &rows))?;
        let picture = pictures::grid(&moved.images, trained.spec.images()?, steps, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        result(&format!("{}\n", out.display()))
    }

    /// Makes a picture whose columns go through a code.
    fn show_code(&self, trained: &Trained, code: &str) -> Result<()> {
        let (shape, latents) = (trained.spec.images()?, trained.latents()?);
        let all = codes(latents);
        if all.is_empty() {
            let what = format!("the latents of {} have no codes", trained.entry.name());
            return Err(failure(what, "give --dims"));
        }
        let is_categorical = all.iter().any(|part| part.name == code && part.prior == Prior::Categorical);
        let unused = is_categorical && self.steps.is_some();
        expect_none(&format!("{code}, which has a column for each category"), &[("--steps", unused)])?;
        let out = self.out.resolve(trained, &format!("traverse-{code}"), "png")?;
        let grid =
            code_grid(latents, code, self.seed, self.rows, self.steps.unwrap_or(STEPS), &trained.device)?;
        let columns: Vec<String> = grid.columns.iter().map(|value| format!("{value}")).collect();
        let categories = match &grid.categories {
            Some(categories) => {
                let rows: Vec<String> = categories.iter().map(usize::to_string).collect();
                format!("\nrows: the first categorical code is {}", rows.join(", "))
            }
            None => "\nrows: different samples".to_owned(),
        };
        result(&format!("columns: {code} is {}{categories}\n", columns.join(", ")))?;
        let made = json!({
            "verb": "discover traverse", "seed": self.seed, "code": code, "columns": grid.columns,
            "categories": grid.categories,
        });
        let picture = pictures::grid(&grid.images, shape, grid.columns.len(), self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(trained, made)))?;
        result(&format!("{}\n", out.display()))
    }
}
