//! `poiesis classify`: the classes of images, with calibrated probabilities.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::apply::classify::{Calibration, OfModel, classifier, classify, fit_probe, preparation};
use poiesis::data::ImageShape;
use poiesis::evaluate::likeliest;
use poiesis_collect::{Dataset, ReadImage, Split, read_images};
use serde_json::{Value, json};

use super::discover::OfData;
use super::evaluate::Meters;
use super::given_images::{expect_existing, none_readable};
use super::inspect::split;
use super::pictures::positive;
use crate::args::OfRun;
use crate::render::{Meter, count, failure, in_json, note, result, table};

/// Images that are classified at a time.
const BATCH: usize = 256;
/// How many files that cannot be read are named.
const NAMED: usize = 5;

/// Tell the classes of images, with calibrated probabilities
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis classify runs/improved-gan-photos new-photos/ portrait.jpg
  poiesis classify runs/improved-gan-photos new.zip --top 3 --csv > classes.csv
  poiesis classify runs/improved-gan-mnist --split test --json

Images are cropped, resized and changed as those that the model was trained on. A model without a classifier of its own \
classifies by a linear probe on its features, which is fitted to the labels of its training data the first time. \
Probabilities are calibrated by a temperature that is fitted to held-out labelled images of the run's data the first \
time. Both are kept in the run. Without such images the probabilities are not calibrated, which is said.")]
pub(crate) struct Classify {
    #[command(flatten)]
    of: OfRun,
    /// Files, folders or archives of images.
    #[arg(value_name = "IMAGES", required_unless_present = "split")]
    images: Vec<PathBuf>,
    /// Classify the images of this split of the run's own data, beside their labels.
    #[arg(long, value_name = "SPLIT", value_parser = split, conflicts_with = "images")]
    split: Option<Split>,
    /// Number of classes to show for each image, the likeliest first.
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive)]
    top: usize,
    #[command(flatten)]
    data: OfData,
    /// Print the classes as JSON.
    #[arg(long)]
    json: bool,
    /// Print the classes as CSV: a line for each image and class.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// An image with its classes.
struct Classified {
    name: String,
    /// The class that its data set says it is of.
    label: Option<u32>,
    /// log p(class|image).
    log_probs: Vec<f64>,
}

/// What was classified, and what could not be read, with the reasons.
#[derive(Default)]
struct Found {
    images: Vec<Classified>,
    skipped: Vec<(String, String)>,
}

impl Classify {
    pub(crate) fn run(self) -> Result<()> {
        // Before anything long is done.
        expect_existing(&self.images)?;
        let trained = self.of.open()?;
        let shape = trained.spec.images()?;
        let quiet = self.json || self.csv;
        let mut meters = Meters::new(quiet);
        let mut dataset = OneDataset { data: &self.data, trained: &trained, opened: None };
        let model = match classifier(&trained)? {
            Some(model) => model,
            None => fit_probe(&trained, &dataset.open()?, &mut |at| meters.show(at))?,
        };
        meters.end();
        let calibration = self.calibration(&trained, &model, &mut dataset, quiet)?;
        let temperature = calibration.as_ref().map_or(1.0, |found| found.temperature);
        let found = match self.split {
            Some(split) => of_split(&trained, &model, &dataset.open()?, split, temperature, quiet)?,
            None => self.of_files(&trained, &model, shape, temperature, quiet)?,
        };
        tell_skipped(&found.skipped);
        if found.images.is_empty() {
            return Err(none_readable());
        }
        let names = &trained.info.data.classes;
        let text = match (self.json, self.csv) {
            (true, _) => format!("{:#}\n", self.json_of(&trained, &model, calibration.as_ref(), &found)),
            (_, true) => self.csv_of(names, &found),
            _ => self.table_of(names, calibration.is_some(), &found),
        };
        result(&text)
    }

    /// The calibration that is kept in the run, or one that is made and kept now; none where nothing that is labelled was held out, or the
    /// data are not there.
    fn calibration(
        &self,
        trained: &Trained,
        model: &OfModel<'_>,
        dataset: &mut OneDataset<'_>,
        quiet: bool,
    ) -> Result<Option<Calibration>> {
        if let Some(kept) = Calibration::kept(trained, model)? {
            return Ok(Some(kept));
        }
        let opened = match dataset.open() {
            Ok(opened) => opened,
            // The classes are known without.
            Err(error) => {
                note(&format!("note: probabilities are not calibrated: {error:#}"));
                return Ok(None);
            }
        };
        let mut meters = Meters::new(quiet);
        let found = Calibration::fit(trained, model, &opened, &mut |at| meters.show(at))?;
        meters.end();
        match &found {
            Some(calibration) => {
                calibration.keep(trained.path())?;
            }
            None => {
                note("note: probabilities are not calibrated: fewer than 20 labelled images were held out");
            }
        }
        Ok(found)
    }

    fn of_files(
        &self,
        trained: &Trained,
        model: &OfModel<'_>,
        shape: ImageShape,
        temperature: f64,
        quiet: bool,
    ) -> Result<Found> {
        let (options, known) = preparation(trained, self.data.source(), &self.data.places()?)?;
        if !known {
            note(
                "note: the run's data are not there, so images are cropped and resized as its configuration says",
            );
        }
        let meter = Meter::new("classifying", "images", None, quiet);
        let (mut found, mut pixels, mut names) = (Found::default(), Vec::new(), Vec::new());
        for path in &self.images {
            let classify_all = |pixels: &mut Vec<u8>, names: &mut Vec<String>, found: &mut Found| {
                let rows = classify(model, pixels, shape, temperature, &trained.device);
                let rows = names.drain(..).zip(rows);
                found.images.extend(rows.map(|(name, log_probs)| Classified {
                    name,
                    label: None,
                    log_probs,
                }));
                pixels.clear();
                meter.at(found.images.len() as u64, None);
            };
            read_images(path, &options, &mut |ReadImage { name, pixels: read }| {
                let name = name_of(path, &name);
                match read {
                    Ok(read) => {
                        pixels.extend(read);
                        names.push(name);
                    }
                    Err(reason) => found.skipped.push((name, reason)),
                }
                if names.len() >= BATCH {
                    classify_all(&mut pixels, &mut names, &mut found);
                }
            })?;
            classify_all(&mut pixels, &mut names, &mut found);
        }
        meter.end();
        Ok(found)
    }

    /// The classes that are shown of an image: their numbers and probabilities.
    fn shown(&self, image: &Classified) -> Vec<(usize, f64)> {
        let mut classes: Vec<usize> = (0..image.log_probs.len()).collect();
        classes.sort_by(|&a, &b| image.log_probs[b].total_cmp(&image.log_probs[a]));
        classes.truncate(self.top);
        classes.into_iter().map(|class| (class, image.log_probs[class].exp())).collect()
    }

    fn table_of(&self, names: &[String], calibrated: bool, found: &Found) -> String {
        let labelled = self.split.is_some();
        let probability = if calibrated { ">PROBABILITY" } else { ">PROBABILITY (NOT CALIBRATED)" };
        let mut header = vec!["FILE", "CLASS", probability];
        if labelled {
            header.push("LABEL");
        }
        let mut rows = Vec::new();
        for image in &found.images {
            for (rank, (class, probability)) in self.shown(image).into_iter().enumerate() {
                let first = |text: String| if rank == 0 { text } else { String::new() };
                let mut row =
                    vec![first(image.name.clone()), named(names, class), format!("{probability:.3}")];
                if labelled {
                    let label = image.label.map_or("-".to_owned(), |label| named(names, label as usize));
                    row.push(first(label));
                }
                rows.push(row);
            }
        }
        let mut text = table(&header, &rows);
        let labels: Vec<&Classified> = found.images.iter().filter(|image| image.label.is_some()).collect();
        if !labels.is_empty() {
            let right = |image: &&&Classified| image.label == Some(likeliest(&image.log_probs) as u32);
            let right = labels.iter().filter(right).count();
            text.push_str(&format!("{} of {} are right\n", count(right as u64), count(labels.len() as u64)));
        }
        text
    }

    fn csv_of(&self, names: &[String], found: &Found) -> String {
        let mut text = match self.split {
            Some(_) => "file,class,probability,label\n".to_owned(),
            None => "file,class,probability\n".to_owned(),
        };
        for image in &found.images {
            for (class, probability) in self.shown(image) {
                text.push_str(&format!(
                    "{},{},{probability:.6}",
                    field(&image.name),
                    field(&named(names, class))
                ));
                if self.split.is_some() {
                    let label = image.label.map(|label| field(&named(names, label as usize)));
                    text.push_str(&format!(",{}", label.unwrap_or_default()));
                }
                text.push('\n');
            }
        }
        text
    }

    fn json_of(
        &self,
        trained: &Trained,
        model: &OfModel<'_>,
        calibration: Option<&Calibration>,
        found: &Found,
    ) -> Value {
        let names = &trained.info.data.classes;
        let image = |image: &Classified| {
            let classes = self.shown(image).into_iter();
            let classes: Vec<Value> = classes
                .map(|(class, probability)| json!({ "class": named(names, class), "probability": probability }))
                .collect();
            let mut value = json!({ "file": image.name, "classes": classes });
            if let Some(label) = image.label {
                value["label"] = named(names, label as usize).into();
            }
            value
        };
        let skipped = |(file, reason): &(String, String)| json!({ "file": file, "reason": reason });
        json!({
            "run": trained.info.id,
            "model": trained.entry.name(),
            "step": trained.step,
            "weights": trained.weights().name(),
            "classifier": model.name(),
            "calibration": calibration,
            "images": found.images.iter().map(image).collect::<Vec<_>>(),
            "skipped": found.skipped.iter().map(skipped).collect::<Vec<_>>(),
        })
    }
}

/// The data set of a run, opened at most once.
struct OneDataset<'a> {
    data: &'a OfData,
    trained: &'a Trained,
    opened: Option<Dataset>,
}

impl OneDataset<'_> {
    fn open(&mut self) -> Result<Dataset> {
        if self.opened.is_none() {
            self.opened = Some(self.data.open(self.trained)?);
        }
        self.opened.clone().ok_or_else(|| failure("the data were not opened", "report this as a bug"))
    }
}

/// Classifies a split of the run's own data.
fn of_split(
    trained: &Trained,
    model: &OfModel<'_>,
    dataset: &Dataset,
    split: Split,
    temperature: f64,
    quiet: bool,
) -> Result<Found> {
    let view = dataset.require(split)?;
    let shape = trained.spec.images()?;
    let meter = Meter::new("classifying", "images", Some(view.len() as u64), quiet);
    let mut found = Found::default();
    let all: Vec<usize> = (0..view.len()).collect();
    for indices in all.chunks(BATCH) {
        let pixels: Vec<u8> = indices.iter().flat_map(|&index| view.image(index)).copied().collect();
        let rows = classify(model, &pixels, shape, temperature, &trained.device);
        found.images.extend(indices.iter().zip(rows).map(|(&index, log_probs)| Classified {
            name: format!("{split} {index}"),
            label: view.label(index),
            log_probs,
        }));
        meter.at(found.images.len() as u64, Some(view.len() as u64));
    }
    meter.end();
    Ok(found)
}

/// How an image is named: a file by its path, one in an archive by that and its path inside.
pub(super) fn name_of(source: &Path, inside: &str) -> String {
    if source.is_dir() {
        return in_json(&source.join(inside));
    }
    let own = source.file_name().map(|name| name.to_string_lossy().into_owned());
    if own.as_deref() == Some(inside) { in_json(source) } else { format!("{}: {inside}", in_json(source)) }
}

fn named(names: &[String], class: usize) -> String {
    names.get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// A text as a field of a CSV.
pub(super) fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Says which files could not be read, and why.
pub(super) fn tell_skipped(skipped: &[(String, String)]) {
    skipped.iter().take(NAMED).for_each(|(name, reason)| note(&format!("skipped {name}: {reason}")));
    let more = skipped.len().saturating_sub(NAMED);
    if more > 0 {
        note(&format!("and {} more; --json lists them all", count(more as u64)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_an_image_is() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(name_of(&folder, "b/c.png"), in_json(&folder.join("b/c.png")));
        assert_eq!(name_of(Path::new("x/c.png"), "c.png"), "x/c.png");
        assert_eq!(name_of(Path::new("x/a.zip"), "b/c.png"), "x/a.zip: b/c.png");
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!([field("a b"), field("a,b"), field("a\"b")], ["a b", "\"a,b\"", "\"a\"\"b\""]);
    }
}
