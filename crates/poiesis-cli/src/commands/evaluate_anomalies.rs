//! How well anomalies are found: the part of `poiesis evaluate` behind `--anomalies`.

use anyhow::Result;
use poiesis::Trained;
use poiesis::apply::anomaly::{
    AnomalyEvaluation, AnomalyProtocol, ScoreDetection, anomalies, evaluate_anomalies,
};

use super::discover::OfData;
use super::evaluate::Meters;
use crate::render::{Meter, count, table};

/// Measures how well the images that `what` names are told from held-out ones.
pub(super) fn measure(
    trained: &Trained,
    data: &OfData,
    what: &str,
    protocol: &AnomalyProtocol,
    quiet: bool,
) -> Result<AnomalyEvaluation> {
    let places = data.places()?;
    let meter = Meter::new(&format!("packing {what}"), "images", None, quiet);
    let odd = anomalies(trained, what, data.source(), &places, protocol, &|progress| {
        meter.at(progress.done, progress.total);
    });
    meter.end();
    let (name, odd) = odd?;
    let dataset = data.open(trained)?;
    let mut meters = Meters::new(quiet);
    let found = evaluate_anomalies(trained, &dataset, (&name, &odd), protocol, &mut |at| meters.show(at));
    meters.end();
    Ok(found?)
}

/// The evaluation as text.
pub(super) fn render(found: &AnomalyEvaluation) -> String {
    let mut text = format!(
        "{}, step {}, {} weights: {} anomalies ({}) among {} usual images ({} split of {}), seed {}\n\n",
        found.run,
        count(found.step),
        found.weights.name(),
        count(found.images[1] as u64),
        found.anomalies,
        count(found.images[0] as u64),
        found.split,
        found.data,
        found.seed,
    );
    let row = |one: &ScoreDetection| {
        let [low, high] = one.detection.auroc_interval;
        let control = if one.control { "  (control)" } else { "" };
        vec![
            format!("{}{control}", one.score),
            format!("{:.4}", one.detection.auroc),
            format!("{low:.4} to {high:.4}"),
            format!("{:.4}", one.detection.aupr),
            format!("{:.4}", one.detection.false_alarms),
        ]
    };
    let rows: Vec<Vec<String>> = found.scores.iter().map(row).collect();
    let header = ["SCORE", ">AUROC", ">95 % INTERVAL", ">AVERAGE PRECISION", ">FALSE ALARMS AT 95 % FOUND"];
    text.push_str(&table(&header, &rows));
    let share = found.images[1] as f64 / (found.images[0] + found.images[1]) as f64;
    text.push_str(&format!("chance: AUROC 0.5, average precision {share:.4}; anomalies are the positives\n"));
    text.push_str(&format!(
        "the combination is fitted to {} images of the {} split; neighbours and components are of {} training images\n",
        count(found.fitted.1 as u64),
        found.fitted.0,
        count(found.training_images as u64),
    ));
    text
}
