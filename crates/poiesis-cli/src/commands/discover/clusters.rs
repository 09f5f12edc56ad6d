//! `poiesis discover clusters`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use poiesis::discover::{ClusterMethod, ClusterOptions, ImageClusters, clusters};
use poiesis_collect::Split;
use serde_json::json;

use super::OfData;
use crate::args::{OfRun, Out};
use crate::commands::evaluate::Meters;
use crate::commands::inspect::split;
use crate::commands::pictures;
use crate::render::{count, expect_none, json, number, result, table};

/// Divide held-out images into clusters by what a model has learned, with exemplars
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover clusters runs/dcgan-mnist
  poiesis discover clusters runs/vae-photos --method gmm
  poiesis discover clusters runs/infogan-mnist --method code     InfoGAN's own categories

Each row of the picture is a cluster: the image in its middle, then typical images, images at the border to another \
cluster, and outliers. Features are standardised and reduced to at most 50 principal components. Where the classes of \
images are known, clusters and classes are matched one to one, and the error is the part of the images outside the \
matching. The silhouette says how far clusters are apart, the stability how little they depend on the choice of images; \
both are at most 1.")]
pub(super) struct Clusters {
    #[command(flatten)]
    of: OfRun,
    #[command(flatten)]
    data: OfData,
    /// What images are divided by.
    #[arg(long, visible_alias = "by", value_name = "METHOD", value_enum, default_value = "kmeans")]
    method: Method,
    /// Number of clusters [default: that of the classes, else 10; gmm chooses by the Bayesian information criterion].
    #[arg(long, short = 'k', value_name = "N", value_parser = pictures::positive)]
    clusters: Option<usize>,
    /// Number of images, evenly spread over the split.
    #[arg(long, value_name = "N", default_value = "5000", value_parser = pictures::several)]
    images: usize,
    /// Split to divide [default: test if there is one, else validation].
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Exemplars of each kind in a row.
    #[arg(long, value_name = "N", default_value = "4", value_parser = pictures::positive)]
    exemplars: usize,
    /// Seed of first centres and resampling [default: 0].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    out: Out,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// k-means on features
    #[value(alias = "features")]
    Kmeans,
    /// A mixture of normal distributions on features
    Gmm,
    /// The model's own categorical code
    Code,
}

impl Clusters {
    pub(super) fn run(self) -> Result<()> {
        let by_code = self.method == Method::Code;
        let flags = [("--clusters", self.clusters.is_some()), ("--seed", self.seed.is_some())];
        let unused = flags.map(|(flag, given)| (flag, given && by_code));
        expect_none("--method code, whose categories are the model's", &unused)?;
        let trained = self.of.open()?;
        trained.features()?;
        let out = self.out.resolve(&trained, "clusters", "png")?;
        let dataset = self.data.open(&trained)?;
        let options = ClusterOptions {
            method: match self.method {
                Method::Kmeans => ClusterMethod::Kmeans,
                Method::Gmm => ClusterMethod::Gmm,
                Method::Code => ClusterMethod::Code,
            },
            clusters: self.clusters,
            images: self.images,
            split: self.split,
            exemplars: self.exemplars,
            seed: self.seed.unwrap_or(0),
        };
        let mut meters = Meters::new(self.json);
        let found = clusters(&trained, &dataset, &options, &mut |at| meters.show(at))?;
        meters.end();
        if self.json {
            let classes = &dataset.card().classes;
            json(
                &json!({ "run": trained.info.id, "options": options, "class_names": classes, "found": found }),
            )?;
        } else {
            result(&render(&found, &dataset.card().classes))?;
        }
        let made = json!({ "verb": "discover clusters", "options": options });
        let picture = pictures::grid(&found.picture, trained.spec.images()?, found.columns, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        if self.json { Ok(()) } else { result(&format!("{}\n", out.display())) }
    }
}

fn render(found: &ImageClusters, classes: &[String]) -> String {
    let mut text = format!(
        "{} images of the {} split, {} features reduced to {}\n",
        count(found.images as u64),
        found.split,
        count(found.features[0] as u64),
        found.features[1]
    );
    let labelled = found.classes.as_ref();
    let rows: Vec<Vec<String>> = found
        .clusters
        .iter()
        .enumerate()
        .map(|(row, cluster)| {
            let exemplar = cluster.medoid.map_or_else(|| "-".into(), |image| image.to_string());
            let mut cells = vec![(row + 1).to_string(), cluster.size.to_string(), exemplar];
            if labelled.is_some() {
                let (class, right) = match cluster.class {
                    Some((class, right)) => {
                        let name = classes.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
                        (name, right.to_string())
                    }
                    None => ("-".into(), "-".into()),
                };
                cells.extend([class, right]);
            }
            cells
        })
        .collect();
    let header = [">ROW", ">IMAGES", ">EXEMPLAR", "CLASS", ">OF IT"];
    text.push_str(&table(&header[..if labelled.is_some() { 5 } else { 3 }], &rows));
    if let Some(classes) = labelled {
        text.push_str(&format!(
            "class error {:.2} % of {} labelled images, by the best matching of clusters and classes   NMI {}   ARI {}\n",
            classes.error * 100.0,
            count(classes.images as u64),
            number(classes.nmi),
            number(classes.ari)
        ));
    }
    let part = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {}", number(value)));
    let parts: Vec<String> = [part("silhouette", found.silhouette), part("stability", found.stability)]
        .into_iter()
        .flatten()
        .collect();
    if !parts.is_empty() {
        text.push_str(&format!("{}\n", parts.join("   ")));
    }
    if !found.criterion.is_empty() {
        let tried: Vec<String> =
            found.criterion.iter().map(|(clusters, bic)| format!("{clusters}: {bic:.0}")).collect();
        text.push_str(&format!(
            "Bayesian information criterion by number of clusters   {}\n",
            tried.join("   ")
        ));
    }
    text
}
