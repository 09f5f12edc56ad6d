//! `poiesis models`: what can be trained.

use anyhow::Result;
use clap::Args;
use poiesis::catalogue::{CATALOGUE, Entry};
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
            return json(&CATALOGUE.iter().map(|entry| to_json(*entry)).collect());
        }
        let mut text: Vec<String> = CATALOGUE.iter().map(|entry| to_text(*entry)).collect();
        let program = program();
        text.push(format!(
            "train one with {program} train MODEL; {program} recipes MODEL lists settings tried\n"
        ));
        result(&text.join("\n"))
    }
}

fn to_text(entry: &dyn Entry) -> String {
    let paper = entry.paper();
    let facts = facts(&[
        ("paper", format!("{}\n{} {}, arXiv:{}", paper.title, paper.authors, paper.year, paper.arxiv)),
        ("learns", domains(entry).join(", ")),
        ("can", capabilities(entry).join(", ")),
        ("recipes", recipes(entry).join(", ")),
    ]);
    let indented: Vec<String> = facts.lines().map(|line| format!("  {line}\n")).collect();
    format!("{}  {}\n{}", entry.name(), entry.summary(), indented.concat())
}

fn to_json(entry: &dyn Entry) -> Value {
    let paper = entry.paper();
    json!({
        "name": entry.name(),
        "summary": entry.summary(),
        "paper": {
            "title": paper.title, "authors": paper.authors, "year": paper.year, "arxiv": paper.arxiv,
        },
        "domains": domains(entry),
        "capabilities": capabilities(entry),
        "recipes": recipes(entry),
    })
}

fn domains(entry: &dyn Entry) -> Vec<&'static str> {
    entry.domains().iter().map(|domain| domain.name()).collect()
}

fn capabilities(entry: &dyn Entry) -> Vec<&'static str> {
    entry.capabilities().iter().map(|capability| capability.name()).collect()
}

fn recipes(entry: &dyn Entry) -> Vec<&'static str> {
    entry.recipes().iter().map(|recipe| recipe.name).collect()
}
