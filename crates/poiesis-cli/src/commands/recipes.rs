//! `poiesis recipes`: lists configurations that are known to reach a result.

use anyhow::Result;
use clap::Args;
use poiesis::catalogue::{self, CATALOGUE};
use poiesis::model::{Entry, Recipe};
use serde_json::json;

use crate::render::{json, program, result, table};

/// List recipes, or print one as TOML
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis recipes
  poiesis recipes vae
  poiesis recipes vae mnist > mine.toml      a start for your own configuration")]
pub(crate) struct Recipes {
    /// Only list those of this model.
    model: Option<String>,
    /// Print this recipe.
    name: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Recipes {
    pub(crate) fn run(self) -> Result<()> {
        let entries: Vec<&dyn Entry> = match &self.model {
            Some(model) => vec![catalogue::find(model)?],
            None => CATALOGUE.to_vec(),
        };
        if let (Some(name), [entry]) = (&self.name, entries.as_slice()) {
            let recipe = catalogue::find_recipe(*entry, name)?;
            if !self.json {
                return result(recipe.toml);
            }
            return json(&json!({
                "model": entry.name(), "name": recipe.name, "summary": recipe.summary(), "toml": recipe.toml,
            }));
        }
        let all = entries
            .iter()
            .flat_map(|entry| entry.about().recipes.iter().map(move |recipe| (entry.name(), recipe)));
        if self.json {
            let object = |(model, recipe): (&str, &Recipe)| json!({ "model": model, "name": recipe.name, "summary": recipe.summary() });
            return json(&all.map(object).collect());
        }
        let rows: Vec<Vec<String>> = all
            .map(|(model, recipe)| {
                vec![model.to_owned(), recipe.name.to_owned(), recipe.summary().to_owned()]
            })
            .collect();
        let table = table(&["MODEL", "RECIPE", "WHAT IT DOES"], &rows);
        result(&format!("{table}\nuse one with {} train MODEL --recipe RECIPE\n", program()))
    }
}
