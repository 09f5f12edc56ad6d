//! `poiesis anomaly`: images that are unlike those a model was trained on, with p-values.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::apply::anomaly::{
    Detector, Found, Measures, Score, Scorer, draw, scores, some_images, split_images, training_images,
};
use poiesis::data::MediaKind;
use poiesis::fitting::conformal::{benjamini_hochberg, false_alarm_deviation};
use poiesis_collect::{Dataset, Split};
use serde_json::{Map, Value, json};

use super::classify::field;
use super::discover::OfData;
use super::evaluate::Meters;
use super::given_images::{self, Given, expect_existing};
use super::pictures::{self, positive};
use super::score::ranked_by_score;
use crate::args::{OfRun, Out};
use crate::render::{count, expect_none, failure, note, number, result, table};

/// The exit status when something is anomalous.
const ANOMALOUS: u8 = 3;

/// Find images that are unlike those a model was trained on
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis anomaly runs/vae-photos new-photos/
  poiesis anomaly runs/vae-photos camera.zip --alpha 0.01 --out odd.png
  poiesis anomaly runs/vae-parts today/ --calibrate good-parts/ --json > today.json || echo 'look at them'
  poiesis anomaly runs/vae-photos new-photos/ --fdr 0.1 --csv > odd.csv
  poiesis anomaly runs/vae-photos photo.jpg --calibrate none

Each ability of the model gives a score: `likelihood` (how far −log p or its bound is from the usual, to both sides), \
`complexity` (−log p less the size as PNG), `reconstruction` (how far the image is from what the decoder makes of its \
latents) and `neighbours` (how far the 5 nearest training images are in the model's features). By default they are \
`combined` (−2 Σ ln p, Fisher). A low likelihood alone decides nothing: models rate images that are simpler than all \
they were trained on as likelier, digits as likelier than clothes.

A p-value is the share of usual images that are at least as odd. Usual images are the run's held-out split, or those of \
--calibrate: one half fixes the combination, the other gives the p-values, so at least 2 (1/α − 1) are needed. Of usual \
images at most α are called anomalous, as long as new ones are like those; how many anomalies are found is not promised. \
With --fdr, of the images that are called anomalous, at most that share is expected to be usual.

The exit status is 0 when no image is anomalous, 3 when one is, and 1 when something failed.")]
pub(crate) struct Anomaly {
    #[command(flatten)]
    of: OfRun,
    /// Files, folders or archives of images.
    #[arg(value_name = "IMAGES", required = true)]
    images: Vec<PathBuf>,
    /// Usual images that the model was not trained on: a folder, an archive, a split of the run's data, or `none` for scores
    /// without p-values [default: the test split if there is one, else validation].
    #[arg(long, value_name = "FOLDER|SPLIT")]
    calibrate: Option<String>,
    /// Usual images that are used, drawn at random [default: 2000].
    #[arg(long, value_name = "N", value_parser = positive)]
    calibration_images: Option<usize>,
    /// Share of usual images that may be called anomalous [default: 0.05].
    #[arg(long, value_name = "ALPHA", value_parser = share, conflicts_with = "fdr")]
    alpha: Option<f64>,
    /// Share of usual images that may be among those called anomalous (Benjamini and Hochberg).
    #[arg(long, value_name = "Q", value_parser = share)]
    fdr: Option<f64>,
    /// Score that decides: `combined`, `likelihood`, `complexity`, `reconstruction` or `neighbours` [default: combined].
    #[arg(long, value_name = "NAME")]
    score: Option<String>,
    /// Draw the most anomalous images into this PNG, each with what the model expects and a map of the differences, or with the
    /// bits of each pixel.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Number of images in the picture [default: 16].
    #[arg(long, value_name = "N", value_parser = positive, requires = "out")]
    show: Option<usize>,
    /// Replace the picture if it exists.
    #[arg(long, requires = "out")]
    force: bool,
    /// Enlarge pixels by this factor [default: small images are enlarged].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32), requires = "out")]
    scale: Option<u8>,
    /// Seed of what is drawn: usual images, noise, the order of ties.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    data: OfData,
    /// Print the scores as JSON.
    #[arg(long)]
    json: bool,
    /// Print the scores as CSV.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// Where usual images come from.
enum Usual {
    None,
    Split(Option<Split>),
    Files(PathBuf),
}

/// The scores of all images, and the verdicts where there are p-values.
struct Verdicts {
    /// The score that decides, first in each row.
    decides: Score,
    /// A row for each image; without p-values the p are not numbers.
    rows: Vec<Vec<Found>>,
    anomalous: Vec<bool>,
    /// How many p-values could be, and what they came from.
    calibration: Option<(usize, String)>,
    /// α or the share of false discoveries.
    level: f64,
}

impl Anomaly {
    pub(crate) fn run(self) -> Result<ExitCode> {
        // Before anything long is done.
        expect_existing(&self.images)?;
        let usual = self.usual()?;
        let wanted = self.score.as_deref().map(Score::parse).transpose()?;
        if matches!(usual, Usual::None) {
            self.expect_no_calibration(wanted)?;
        }
        let trained = self.of.open()?;
        if trained.spec.media() == MediaKind::Points {
            return Err(ranked_by_score(&trained));
        }
        let scores = scores(&trained, wanted)?;
        let out = match &self.out {
            Some(out) => {
                let out = Out { out: Some(out.clone()), force: self.force, scale: self.scale };
                Some(out.resolve(&trained, "anomalous", "png")?)
            }
            None => None,
        };
        let quiet = self.json || self.csv;
        let dataset = self.dataset(&trained, &usual, &scores)?;
        let mut meters = Meters::new(quiet);
        let training = match &dataset {
            Some(dataset) if scores.contains(&Score::Neighbours) => training_images(dataset, self.seed)?,
            _ => Vec::new(),
        };
        let (shape, device) = (trained.spec.images()?, &trained.device);
        let scorer =
            Scorer::new(trained.abilities(), shape, device, &scores, &training, self.seed, &mut |at| {
                meters.show(at);
            });
        meters.end();
        let calibrated = self.calibrate(&trained, &scorer, dataset.as_ref(), &usual, quiet)?;
        let given = given_images::read(&self.images, &trained, &self.data, quiet)?;
        let mut meters = Meters::new(quiet);
        let measures = scorer.measure(&given.pixels, "scoring", &mut |at| meters.show(at));
        meters.end();
        let verdicts = self.verdicts(&measures, calibrated);
        let text = match (self.json, self.csv) {
            (true, _) => format!("{:#}\n", self.json_of(&trained, &given, &verdicts)),
            (_, true) => csv_of(&given, &verdicts),
            _ => self.table_of(&given, &verdicts),
        };
        result(&text)?;
        if let Some(out) = out {
            let odd = verdicts.oddest(self.show.unwrap_or(16));
            let size = shape.dims();
            let pixels: Vec<u8> =
                odd.iter().flat_map(|&row| &given.pixels[row * size..(row + 1) * size]).copied().collect();
            let drawn = draw(&scorer, &pixels, &training);
            let factor = self
                .scale
                .map_or_else(|| poiesis::picture::viewing_factor(shape.height, shape.width), usize::from);
            let made = json!({
                "verb": "anomaly", "shown": drawn.shown, "brightest": drawn.brightest, "seed": self.seed,
                "images": odd.iter().map(|&row| &given.names[row]).collect::<Vec<_>>(),
            });
            let parameters = pictures::parameters(&trained, made);
            drawn.picture.enlarged(factor).write_png(&out, Some(&parameters))?;
            note(&format!("the most anomalous images are drawn in {}", out.display()));
        }
        let found = verdicts.anomalous.iter().any(|&anomalous| anomalous);
        Ok(if found { ExitCode::from(ANOMALOUS) } else { ExitCode::SUCCESS })
    }

    /// Where usual images come from.
    fn usual(&self) -> Result<Usual> {
        let Some(what) = self.calibrate.as_deref() else { return Ok(Usual::Split(None)) };
        let path = PathBuf::from(what);
        match super::inspect::split(what) {
            _ if what == "none" => Ok(Usual::None),
            Ok(split) => Ok(Usual::Split(Some(split))),
            Err(_) if path.exists() => Ok(Usual::Files(path)),
            Err(_) => Err(failure(
                format!("{what} is neither a folder nor a split"),
                "give --calibrate a folder or an archive, train, validation, test or none",
            )),
        }
    }

    /// Refuses flags that mean nothing without p-values.
    fn expect_no_calibration(&self, wanted: Option<Score>) -> Result<()> {
        let flags = [
            ("--alpha", self.alpha.is_some()),
            ("--fdr", self.fdr.is_some()),
            ("--calibration-images", self.calibration_images.is_some()),
            ("--score combined", wanted == Some(Score::Combined)),
        ];
        expect_none("scores that are not calibrated", &flags)
    }

    /// The data of the run, where they are needed.
    fn dataset(&self, trained: &Trained, usual: &Usual, scores: &[Score]) -> Result<Option<Dataset>> {
        let needed = matches!(usual, Usual::Split(_)) || scores.contains(&Score::Neighbours);
        Ok(if needed { Some(self.data.open(trained)?) } else { None })
    }

    /// The detector, and the usual images that it was calibrated on, in words.
    fn calibrate(
        &self,
        trained: &Trained,
        scorer: &Scorer<'_>,
        dataset: Option<&Dataset>,
        usual: &Usual,
        quiet: bool,
    ) -> Result<Option<(Detector, String)>> {
        let most = self.calibration_images.unwrap_or(2000);
        let (pixels, from) = match (usual, dataset) {
            (Usual::None, _) | (Usual::Split(_), None) => return Ok(None),
            (Usual::Files(path), _) => {
                let given = given_images::read(std::slice::from_ref(path), trained, &self.data, quiet)?;
                let pixels = some_images(&given.pixels, trained.spec.images()?.dims(), self.seed, most);
                (pixels, path.display().to_string())
            }
            (Usual::Split(wanted), Some(dataset)) => {
                let held_out = [Split::Test, Split::Validation];
                let there = held_out.into_iter().find(|&split| dataset.split(split).is_some());
                let Some(split) = wanted.or(there) else {
                    let what = format!("{} has no held-out images to calibrate on", dataset.card().name);
                    let hint = "give usual images that the model was not trained on with --calibrate";
                    return Err(failure(what, hint));
                };
                if split == Split::Train {
                    note(
                        "note: the model has seen the training images, so new usual ones look odder than these: more than α of them are called anomalous",
                    );
                }
                (split_images(dataset, split, self.seed, most)?, format!("the {split} split"))
            }
        };
        let mut meters = Meters::new(quiet);
        let measures = scorer.measure(&pixels, "calibrating", &mut |at| meters.show(at));
        meters.end();
        let level = self.fdr.or(self.alpha).unwrap_or(0.05);
        let detector = Detector::calibrate(&measures, level, self.seed).map_err(|error| match error {
            poiesis::Error::InvalidValue { reason, .. } => failure(
                format!("{} of {level}: {reason}", if self.fdr.is_some() { "--fdr" } else { "--alpha" }),
                "give more usual images with --calibrate, or a larger share",
            ),
            other => other.into(),
        })?;
        Ok(Some((detector, from)))
    }

    fn verdicts(&self, measures: &Measures, calibrated: Option<(Detector, String)>) -> Verdicts {
        let level = self.fdr.or(self.alpha).unwrap_or(0.05);
        let Some((detector, from)) = calibrated else {
            let found = |row: usize| {
                let of = |(score, values): &(Score, Vec<f64>)| Found {
                    score: *score,
                    value: values[row],
                    p: f64::NAN,
                };
                measures.values.iter().map(of).collect::<Vec<_>>()
            };
            let rows: Vec<Vec<Found>> = (0..measures.len()).map(found).collect();
            let decides = measures.values[0].0;
            return Verdicts { decides, anomalous: vec![false; rows.len()], rows, calibration: None, level };
        };
        let rows = detector.examine(measures);
        let p: Vec<f64> = rows.iter().map(|row| row[0].p).collect();
        let anomalous = match self.fdr {
            Some(q) => benjamini_hochberg(&p, q),
            None => p.iter().map(|&p| p <= level).collect(),
        };
        let size = detector.calibration_size();
        if self.fdr.is_some_and(|q| q / (rows.len() as f64) < 1.0 / (size + 1) as f64) {
            note(&format!(
                "note: with {} p-values from {} usual images, a single anomaly cannot be found by --fdr; give more usual images",
                count(rows.len() as u64),
                count(size as u64)
            ));
        }
        Verdicts { decides: rows[0][0].score, rows, anomalous, calibration: Some((size, from)), level }
    }

    fn table_of(&self, given: &Given, verdicts: &Verdicts) -> String {
        let Some((size, from)) = &verdicts.calibration else {
            let scores: Vec<Score> = verdicts.rows[0].iter().map(|found| found.score).collect();
            let named: Vec<String> =
                scores.iter().map(|score| format!(">{} ({})", score.name(), score.unit())).collect();
            let header: Vec<&str> = std::iter::once("FILE").chain(named.iter().map(String::as_str)).collect();
            let row = |(name, row): (&String, &Vec<Found>)| {
                let values = row.iter().map(|found| number(found.value));
                std::iter::once(name.clone()).chain(values).collect::<Vec<String>>()
            };
            let rows: Vec<Vec<String>> = given.names.iter().zip(&verdicts.rows).map(row).collect();
            return table(&header, &rows);
        };
        let row = |(at, name): (usize, &String)| {
            let verdict = if verdicts.anomalous[at] { "anomalous" } else { "usual" };
            let fired = verdicts.fired(at);
            let fired = fired.iter().map(|(score, p)| format!("{} {p:.3}", score.name()));
            let fired = fired.collect::<Vec<_>>().join(", ");
            vec![name.clone(), format!("{:.4}", verdicts.rows[at][0].p), verdict.to_owned(), fired]
        };
        let rows: Vec<Vec<String>> = given.names.iter().enumerate().map(row).collect();
        let mut text = table(&["FILE", ">P", "VERDICT", "BY"], &rows);
        let found = verdicts.anomalous.iter().filter(|&&anomalous| anomalous).count();
        text.push_str(&format!(
            "{} of {} are anomalous by `{}`, ",
            count(found as u64),
            count(rows.len() as u64),
            verdicts.decides.name()
        ));
        text.push_str(&match self.fdr {
            Some(q) => {
                format!(
                    "at most {} % of which are expected to be usual; p-values from {} images of {from}\n",
                    percent(q),
                    count(*size as u64)
                )
            }
            None => format!(
                "as {} ± {:.1} % of usual images would be; p-values from {} images of {from}\n",
                percent(verdicts.level),
                100.0 * false_alarm_deviation(*size, verdicts.level),
                count(*size as u64)
            ),
        });
        text
    }

    fn json_of(&self, trained: &Trained, given: &Given, verdicts: &Verdicts) -> Value {
        let with_p = verdicts.calibration.is_some();
        let image = |(at, name): (usize, &String)| {
            let row = &verdicts.rows[at];
            let one = |found: &Found| {
                let mut value = json!({ "value": found.value, "unit": found.score.unit() });
                if with_p {
                    value["p"] = found.p.into();
                }
                (found.score.name().to_owned(), value)
            };
            let scores: Map<String, Value> = row.iter().map(one).collect();
            let mut value = json!({ "file": name, "scores": scores });
            if with_p {
                let fired: Vec<&str> =
                    verdicts.fired(at).into_iter().map(|(score, _)| score.name()).collect();
                value["p"] = row[0].p.into();
                value["anomalous"] = verdicts.anomalous[at].into();
                value["by"] = json!(fired);
            }
            value
        };
        let skipped = |(file, reason): &(String, String)| json!({ "file": file, "reason": reason });
        let calibration = verdicts.calibration.as_ref().map(|(size, from)| {
            let deviation = false_alarm_deviation(*size, verdicts.level);
            json!({ "from": from, "images": size, "false_alarm_deviation": deviation })
        });
        json!({
            "run": trained.info.id,
            "model": trained.entry.name(),
            "step": trained.step,
            "weights": trained.weights().name(),
            "score": with_p.then(|| verdicts.decides.name()),
            "alpha": (with_p && self.fdr.is_none()).then_some(verdicts.level),
            "fdr": self.fdr,
            "calibration": calibration,
            "seed": self.seed,
            "anomalous": verdicts.anomalous.iter().filter(|&&anomalous| anomalous).count(),
            "images": given.names.iter().enumerate().map(image).collect::<Vec<_>>(),
            "skipped": given.skipped.iter().map(skipped).collect::<Vec<_>>(),
        })
    }
}

impl Verdicts {
    /// The single scores that call an image odd, with their p-values, the least first; where it is anomalous and none does by itself, the
    /// one with the least.
    fn fired(&self, row: usize) -> Vec<(Score, f64)> {
        let single = self.rows[row].iter().filter(|found| found.score != Score::Combined);
        let mut all: Vec<(Score, f64)> = single.map(|found| (found.score, found.p)).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        let fired = all.iter().filter(|(_, p)| *p <= self.level).count();
        all.truncate(fired.max(usize::from(self.anomalous[row])));
        all
    }

    /// The images with the least p-values, and among these those with the highest scores.
    fn oddest(&self, most: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        let key = |row: usize| (self.rows[row][0].p, -self.rows[row][0].value);
        order.sort_by(|&a, &b| {
            let (a, b) = (key(a), key(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        order.truncate(most);
        order
    }
}

fn csv_of(given: &Given, verdicts: &Verdicts) -> String {
    let with_p = verdicts.calibration.is_some();
    let mut text = "file".to_owned();
    if with_p {
        text.push_str(",p,anomalous");
    }
    for found in &verdicts.rows[0] {
        text.push_str(&format!(",{}", found.score.name()));
        if with_p {
            text.push_str(&format!(",{} p", found.score.name()));
        }
    }
    text.push('\n');
    for (at, name) in given.names.iter().enumerate() {
        text.push_str(&field(name));
        if with_p {
            text.push_str(&format!(",{:.6},{}", verdicts.rows[at][0].p, verdicts.anomalous[at]));
        }
        for found in &verdicts.rows[at] {
            text.push_str(&format!(",{:.6}", found.value));
            if with_p {
                text.push_str(&format!(",{:.6}", found.p));
            }
        }
        text.push('\n');
    }
    text
}

/// Reads a share between 0 and 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("give a number between 0 and 1, such as 0.05".to_owned()),
    }
}

/// A share in percent, without digits that mean nothing.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(score: Score, value: f64, p: f64) -> Found {
        Found { score, value, p }
    }

    #[test]
    fn what_fired_is_named_and_the_oddest_come_first() {
        let rows = vec![
            vec![
                found(Score::Combined, 9.0, 0.04),
                found(Score::Likelihood, 1.0, 0.3),
                found(Score::Complexity, 1.0, 0.06),
            ],
            vec![
                found(Score::Combined, 20.0, 0.04),
                found(Score::Likelihood, 1.0, 0.01),
                found(Score::Complexity, 1.0, 0.002),
            ],
            vec![
                found(Score::Combined, 2.0, 0.6),
                found(Score::Likelihood, 1.0, 0.5),
                found(Score::Complexity, 1.0, 0.4),
            ],
        ];
        let anomalous = vec![true, true, false];
        let verdicts = Verdicts { decides: Score::Combined, rows, anomalous, calibration: None, level: 0.05 };
        assert_eq!(verdicts.fired(0), [(Score::Complexity, 0.06)]);
        assert_eq!(verdicts.fired(1), [(Score::Complexity, 0.002), (Score::Likelihood, 0.01)]);
        assert_eq!(verdicts.fired(2), []);
        assert_eq!(verdicts.oddest(2), [1, 0]);
        assert_eq!(verdicts.oddest(9), [1, 0, 2]);
    }

    #[test]
    fn shares_are_between_0_and_1() {
        assert_eq!(share("0.05"), Ok(0.05));
        assert!(["0", "1", "-1", "NaN", "x"].iter().all(|text| share(text).is_err()));
    }
}
