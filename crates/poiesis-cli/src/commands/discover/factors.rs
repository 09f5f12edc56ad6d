//! `poiesis discover factors`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::discover::{FactorScores, Factors as Found, FactorsProtocol, factors};
use serde_json::{Value, json};

use super::OfData;
use crate::args::WhichWeights;
use crate::commands::evaluate::Meters;
use crate::commands::pictures::several;
use crate::render::{count, failure, json, number, result, table};

/// Compare what models encode with the factors that made the images
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover factors runs/vae-shapes
  poiesis discover factors runs/infogan-shapes runs/vae-shapes runs/vae-beta4 --json

The factors must be known, as those of the built-in `shapes` are. Below each model are the scores of the same network \
with random weights; at the end those of random codes (the floor) and of the factors themselves (the ceiling). \
Continuous factors are cut into 10 bins. MIG is the gap in mutual information between the two codes that tell most about a \
factor, D, C and I are disentanglement, completeness and informativeness by gradient-boosted trees (DCI[gbt]), SAP is the \
gap in accuracy of a linear machine on one code, FACTORVAE how often the code that varies least names the factor that is \
fixed. MODULARITY alone is high for random codes: see EXPLICITNESS, which is 0.5 for them.")]
pub(super) struct Factors {
    /// Folders of runs.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    which: WhichWeights,
    #[command(flatten)]
    data: OfData,
    /// Training images that predictors are fitted to.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = several)]
    images: usize,
    /// Held-out images that they are tested on.
    #[arg(long, value_name = "N", default_value = "5000", value_parser = several)]
    test_images: usize,
    /// Seed of votes, random codes and random weights.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

impl Factors {
    pub(super) fn run(self) -> Result<()> {
        let protocol = FactorsProtocol { fitted: self.images, tested: self.test_images, seed: self.seed };
        let mut all: Vec<(String, String, Found)> = Vec::new();
        for run in &self.runs {
            let trained = self.which.open(run)?;
            trained.encoder()?;
            let dataset = self.data.open(&trained)?;
            let mut meters = Meters::new(self.json);
            let found = factors(&trained, &dataset, &protocol, &mut |at| meters.show(at))?;
            meters.end();
            if let Some((first, _, other)) = all.first()
                && (other.factors != found.factors || other.tested != found.tested)
            {
                let what = format!("{first} and {} were trained on data with other factors", trained.info.id);
                return Err(failure(what, "give runs that were trained on the same data"));
            }
            all.push((trained.info.id.clone(), trained.entry.name().to_owned(), found));
        }
        if self.json {
            let runs: Vec<Value> = all
                .iter()
                .map(|(run, model, found)| json!({ "run": run, "model": model, "found": found }))
                .collect();
            return json(&json!({ "protocol": protocol, "runs": runs }));
        }
        result(&render(&all))
    }
}

fn render(all: &[(String, String, Found)]) -> String {
    let (_, _, first) = &all[0];
    let factors: Vec<String> =
        first.factors.iter().zip(&first.values).map(|(name, values)| format!("{name} ({values})")).collect();
    let mut text = format!(
        "factors and their values: {}\npredictors fitted to {} training images, tested on {} held-out images\n",
        factors.join(", "),
        count(first.fitted as u64),
        count(first.tested as u64)
    );
    let mut rows = Vec::new();
    for (run, model, found) in all {
        for scores in found.scores.iter().filter(|scores| ["trained", "untrained"].contains(&scores.codes)) {
            let name = if scores.codes == "trained" {
                format!("{run} ({model})")
            } else {
                "  random weights".to_owned()
            };
            rows.push(row(&name, scores));
        }
    }
    for scores in &first.scores {
        match scores.codes {
            "random" => rows.push(row("random codes (floor)", scores)),
            "factors" => rows.push(row("the factors (ceiling)", scores)),
            _ => (),
        }
    }
    let header =
        ["CODES", ">NUMBER", ">MIG", ">D", ">C", ">I", ">SAP", ">FACTORVAE", ">MODULARITY", ">EXPLICITNESS"];
    text.push_str(&table(&header, &rows));
    for (run, _, found) in all {
        let constant = found.scores.first().map_or(0, |scores| scores.constant);
        if constant > 0 {
            text.push_str(&format!("{run}: {constant} codes are the same for all images\n"));
        }
    }
    text
}

fn row(name: &str, scores: &FactorScores) -> Vec<String> {
    let FactorScores { mig, disentanglement, completeness, informativeness, sap, .. } = *scores;
    let values = [
        mig,
        disentanglement,
        completeness,
        informativeness,
        sap,
        scores.factor_vae,
        scores.modularity,
        scores.explicitness,
    ];
    [name.to_owned(), scores.count.to_string()].into_iter().chain(values.map(number)).collect()
}
