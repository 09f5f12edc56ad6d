//! `poiesis discover embed`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use poiesis::atomic;
use poiesis::discover::{EmbedOptions, Embedded, Represented, embed};
use poiesis::picture::{Panel, Thumbnails, scatter};
use poiesis_collect::Split;
use serde_json::json;

use super::OfData;
use crate::args::OfRun;
use crate::commands::classify::field;
use crate::commands::evaluate::Meters;
use crate::commands::inspect::split;
use crate::commands::pictures;
use crate::render::{count, exists, json, result, table};

/// Map images in the plane by their latents or features: principal components and t-SNE
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover embed runs/vae-mnist                                 dots in the colours of classes
  poiesis discover embed runs/vae-mnist --thumbnails --images 4000      the images themselves
  poiesis discover embed runs/dcgan-photos --of features --split train --out map.png

The left map has the first two principal components, in which distances mean something; the right one is t-SNE, which \
keeps neighbours together and nothing else: sizes of clusters and distances between them mean little. NEIGHBOURS KEPT is \
the part of the ten nearest images that are also among the ten nearest on the map. With --thumbnails no image covers \
another, and where several are in one place, the nearest to its middle is shown. The coordinates are in a CSV beside the \
picture.")]
pub(super) struct Embed {
    #[command(flatten)]
    of: OfRun,
    /// What of an image is mapped [default: latents where the model has an encoder, else features].
    #[arg(long = "of", value_name = "WHAT", value_enum)]
    what: Option<What>,
    /// Number of images, evenly spread over the split.
    #[arg(long, value_name = "N", default_value = "2000", value_parser = pictures::several)]
    images: usize,
    /// Split to map [default: test if there is one, else validation].
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// About how many neighbours each image has for t-SNE; at most a third of the images.
    #[arg(long, value_name = "X", default_value = "30", value_parser = perplexity)]
    perplexity: f64,
    /// Show the images instead of dots.
    #[arg(long)]
    thumbnails: bool,
    #[command(flatten)]
    data: OfData,
    /// File to write [default: a new one in the current folder, named after the run]; a CSV is written beside it.
    #[arg(long, short, value_name = "FILE")]
    out: Option<std::path::PathBuf>,
    /// Replace the files if they exist.
    #[arg(long)]
    force: bool,
    /// Print the results, with the coordinates, as JSON.
    #[arg(long)]
    json: bool,
}

/// What of an image is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The latents that the model encodes it as
    Latents,
    /// The model's features of it, standardised
    Features,
}

fn perplexity(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(perplexity) if (2.0..=1000.0).contains(&perplexity) => Ok(perplexity),
        _ => Err("give a number from 2 to 1000".to_owned()),
    }
}

impl Embed {
    pub(super) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let shape = trained.spec.images()?;
        let out = crate::args::Out { out: self.out.clone(), force: self.force, scale: None };
        let out = out.resolve(&trained, "map", "png")?;
        let csv = out.with_extension("csv");
        if csv.exists() && !self.force {
            return Err(exists(&csv, "--out"));
        }
        let dataset = self.data.open(&trained)?;
        let options = EmbedOptions {
            of: self.what.map(|what| match what {
                What::Latents => Represented::Latents,
                What::Features => Represented::Features,
            }),
            images: self.images,
            split: self.split,
            perplexity: self.perplexity,
        };
        let mut meters = Meters::new(self.json);
        let found = embed(&trained, &dataset, &options, &mut |at| meters.show(at))?;
        meters.end();
        let classes = &dataset.card().classes;
        match self.json {
            true => json(
                &json!({ "run": trained.info.id, "options": options, "class_names": classes, "found": found }),
            )?,
            false => result(&render(&found))?,
        }
        let names = [
            format!("PCA, {:.0} % of the variance", 100.0 * found.variance),
            format!("t-SNE, perplexity {}", found.perplexity),
        ];
        let panels = [
            Panel { title: &names[0], points: &found.pca.points },
            Panel { title: &names[1], points: &found.tsne.points },
        ];
        let thumbnails = self.thumbnails.then_some(Thumbnails {
            images: &found.images,
            height: shape.height,
            width: shape.width,
            channels: shape.channels,
        });
        let (picture, shown) = scatter(&panels, &found.labels, classes, thumbnails);
        let made = json!({ "verb": "discover embed", "options": options });
        atomic::write(&csv, rows(&found, classes).as_bytes())?;
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        if self.json {
            return Ok(());
        }
        let total = count(found.indices.len() as u64);
        let said = match shown.as_slice() {
            [pca, tsne] if self.thumbnails => {
                format!(
                    "{} of {total} images fit on the left map, {} on the right\n",
                    count(*pca as u64),
                    count(*tsne as u64)
                )
            }
            _ => String::new(),
        };
        result(&format!("{said}{}\n{}\n", out.display(), csv.display()))
    }
}

fn render(found: &Embedded) -> String {
    let of = if found.of == Represented::Latents { "latents" } else { "features" };
    let percent = |part: f64| format!("{:.0} %", 100.0 * part);
    let rows = [
        vec!["principal components".to_owned(), percent(found.pca.neighbors_kept)],
        vec!["t-SNE".to_owned(), percent(found.tsne.neighbors_kept)],
        vec!["by chance".to_owned(), percent(found.neighbors_by_chance)],
    ];
    format!(
        "{} images of the {} split by {of} of {} values\n{}",
        count(found.indices.len() as u64),
        found.split,
        count(found.dims as u64),
        table(&["MAP", ">NEIGHBOURS KEPT"], &rows)
    )
}

/// A line for each image.
fn rows(found: &Embedded, classes: &[String]) -> String {
    let mut text = "image,class,pc1,pc2,tsne1,tsne2\n".to_owned();
    let points = found.pca.points.iter().zip(&found.tsne.points);
    for ((index, label), ([x, y], [u, v])) in found.indices.iter().zip(&found.labels).zip(points) {
        let name = label.map_or_else(String::new, |label| {
            classes.get(label as usize).cloned().unwrap_or_else(|| label.to_string())
        });
        text.push_str(&format!("{} {index},{},{x},{y},{u},{v}\n", found.split, field(&name)));
    }
    text
}
