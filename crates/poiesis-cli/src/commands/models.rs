//! `poiesis models`: lists the models.

use anyhow::Result;
use clap::Args;
use poiesis::catalogue::CATALOGUE;
use poiesis::model::About;
use serde_json::{Value, json};

use crate::render::{facts, json, program, result};

/// List the models that can be trained
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis models
  poiesis models --json")]
pub(crate) struct Models {
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Models {
    pub(crate) fn run(self) -> Result<()> {
        if self.json {
            return json(&CATALOGUE.iter().map(|entry| to_json(entry.about())).collect());
        }
        let mut text: Vec<String> = CATALOGUE.iter().map(|entry| to_text(entry.about())).collect();
        let program = program();
        text.push(format!(
            "train one with {program} train MODEL; {program} recipes MODEL lists its recipes\n"
        ));
        result(&text.join("\n"))
    }
}

fn to_text(about: &About) -> String {
    let paper = about.paper;
    let facts = facts(&[
        ("paper", format!("{}\n{}", paper.title, paper.published())),
        ("learns", media(about).join(", ")),
        ("can", abilities(about).join(", ")),
        ("recipes", recipes(about).join(", ")),
    ]);
    let indented: Vec<String> = facts.lines().map(|line| format!("  {line}\n")).collect();
    format!("{}  {}\n{}", about.name, about.summary, indented.concat())
}

fn to_json(about: &About) -> Value {
    let paper = about.paper;
    json!({
        "name": about.name,
        "summary": about.summary,
        "paper": {
            "title": paper.title, "authors": paper.authors, "year": paper.year, "arxiv": paper.arxiv,
        },
        "media": media(about),
        "abilities": abilities(about),
        "recipes": recipes(about),
    })
}

fn media(about: &About) -> Vec<&'static str> {
    about.media.iter().map(|kind| kind.name()).collect()
}

fn abilities(about: &About) -> Vec<&'static str> {
    about.abilities.iter().map(|ability| ability.name()).collect()
}

fn recipes(about: &About) -> Vec<&'static str> {
    about.recipes.iter().map(|recipe| recipe.name).collect()
}
