//! `poiesis discover directions`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use poiesis::discover::{DirectionMethod, DirectionOptions, directions};
use serde_json::json;

use crate::args::{OfRun, Out};
use crate::commands::evaluate::Meters;
use crate::commands::pictures;
use crate::render::{expect_none, json, number, result, table};

/// Samples whose features are used, unless another number is given.
const SAMPLES: usize = 4000;

/// Find directions of the latents along which samples change most
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover directions runs/dcgan-shapes
  poiesis discover directions runs/dcgan-mnist --rows 5 --steps 11 --range 5
  poiesis discover directions runs/dcgan-mnist --method pca --samples 10000

Each row of the picture moves one sample along a direction, from -RANGE to RANGE; the sample itself is in the middle. \
`sefa` takes the directions that move the outputs of the first layer most, without any data. `pca` takes the principal \
components of the features of samples, and the latents that go with them. A change is the root mean square difference \
in grey levels that a step of 1 makes. When the changes do not fall with the eigenvalues, the directions mean little.")]
pub(super) struct Directions {
    #[command(flatten)]
    of: OfRun,
    /// How directions are found.
    #[arg(long, value_name = "METHOD", value_enum, default_value = "sefa")]
    method: Method,
    /// Number of directions.
    #[arg(long, value_name = "N", default_value = "8", value_parser = pictures::positive)]
    rows: usize,
    /// Images per direction.
    #[arg(long, value_name = "N", default_value = "7", value_parser = pictures::several)]
    steps: usize,
    /// How far each direction goes to both sides, in units of the latents.
    #[arg(long, value_name = "X", default_value = "3", value_parser = range)]
    range: f64,
    /// Samples whose features are used with --method pca [default: 4000].
    #[arg(long, value_name = "N", value_parser = pictures::several)]
    samples: Option<usize>,
    /// Seed of the samples.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Number of the sample that is moved.
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u64).range(..1 << 40))]
    index: u64,
    #[command(flatten)]
    out: Out,
    /// Print the results, with the directions, as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Factors of the first weights in closed form
    Sefa,
    /// Principal components of features of samples
    Pca,
}

fn range(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(range) if range > 0.0 && range <= 100.0 => Ok(range),
        _ => Err("give a number above 0, at most 100".to_owned()),
    }
}

impl Directions {
    pub(super) fn run(self) -> Result<()> {
        let unused = self.method == Method::Sefa && self.samples.is_some();
        expect_none("--method sefa, which needs no samples", &[("--samples", unused)])?;
        let trained = self.of.open()?;
        let out = self.out.resolve(&trained, "directions", "png")?;
        let options = DirectionOptions {
            method: match self.method {
                Method::Sefa => DirectionMethod::Sefa,
                Method::Pca => DirectionMethod::Pca,
            },
            rows: self.rows,
            steps: self.steps,
            range: self.range,
            seed: self.seed,
            index: self.index,
            samples: self.samples.unwrap_or(SAMPLES),
        };
        let mut meters = Meters::new(self.json);
        let found = directions(&trained, &options, &mut |at| meters.show(at))?;
        meters.end();
        let cell = |linear: f64| format!("{:.0} %", linear * 100.0);
        let with_linear = found.directions.iter().all(|direction| direction.linear.is_some());
        let rows: Vec<Vec<String>> = found
            .directions
            .iter()
            .enumerate()
            .map(|(row, direction)| {
                let mut cells =
                    vec![(row + 1).to_string(), number(direction.eigenvalue), number(direction.change)];
                cells.extend(direction.linear.map(cell));
                cells
            })
            .collect();
        let header = [">ROW", ">EIGENVALUE", ">CHANGE (GREY LEVELS)", ">LINEAR IN LATENTS"];
        let mut text = table(&header[..if with_linear { 4 } else { 3 }], &rows);
        if let Some(random) = found.random_spread {
            text.push_str(&format!(
                "the largest eigenvalue is {} times the mean; that of random weights would be {}\n",
                number(found.spread),
                number(random)
            ));
        }
        text.push_str(&format!(
            "rank correlation of eigenvalues and changes {}\n",
            number(found.rank_correlation)
        ));
        if found.is_flat() {
            text.push_str(
                "the first layer stretches all directions about alike, as random weights do: these directions mean nothing; \
                 try --method pca\n",
            );
        } else if found.rank_correlation < 0.3 {
            text.push_str("the changes do not fall with the eigenvalues: these directions mean little\n");
        }
        let made = json!({ "verb": "discover directions", "options": options });
        if self.json {
            json(
                &json!({ "run": trained.info.id, "options": options, "found": found, "flat": found.is_flat() }),
            )?;
        } else {
            result(&text)?;
        }
        let picture = pictures::grid(&found.images, trained.spec.images()?, self.steps, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        if self.json { Ok(()) } else { result(&format!("{}\n", out.display())) }
    }
}
