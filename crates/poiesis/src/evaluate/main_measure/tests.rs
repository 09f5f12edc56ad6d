//! Which measure is chosen, on runs made for it.

use std::f64::consts::LN_2;
use std::fs;

use serde_json::json;

use super::*;
use crate::catalogue;
use crate::config::resolve;
use crate::data::{Content, ImageShape};
use crate::error::Error;
use crate::run::{DataInfo, RunInfo};

/// A run of `model` on images of 8×8×3, with these metrics.
fn run(root: &Path, model: &str, metrics: &str) -> Run {
    let content = Content::Images(ImageShape { height: 8, width: 8, channels: 3 });
    let data = DataInfo {
        name: "shapes".into(),
        spec: Some(DataSpec { content, classes: 0, unlabelled: false }),
        ..DataInfo::default()
    };
    let defaults = catalogue::find(model).unwrap().defaults().unwrap();
    let config = resolve(&defaults, &[]).unwrap().config.to_toml();
    let info = RunInfo { model: model.into(), data, ..RunInfo::default() };
    let run = Run::create(&root.join(model), &config, info).unwrap();
    fs::write(run.metrics_path(), metrics).unwrap();
    run
}

/// Keeps an evaluation of the run.
fn evaluate(run: &Run, step: u64, results: &Value) {
    let mut evaluation = json!({
        "run": "a", "model": "a", "step": step, "weights": "averaged", "data": "shapes", "fingerprint": "0123",
        "split": "test", "seed": 0, "version": "0.1.0",
        "machine": { "system": "linux", "cpu": "some", "threads": 2, "memory": 1000 },
    });
    evaluation.as_object_mut().unwrap().extend(results.as_object().unwrap().clone());
    fs::write(run.path().join(format!("evaluation-{step:09}.json")), evaluation.to_string()).unwrap();
}

fn main_of(run: &Run) -> (String, f64, &'static str, MeasuredBy, u64) {
    let found = MainMeasure::of(run).unwrap().unwrap();
    (found.name, found.value, found.unit, found.by, found.step)
}

#[test]
fn the_likelihood_of_held_out_examples_says_most_and_the_later_measurement_of_it() {
    let root = tempfile::tempdir().unwrap();
    let metrics =
        "{\"step\":10,\"bound\":500,\"bits_per_dim\":3.75}\n{\"step\":10,\"validation_bound\":400}\n";
    let flow = run(root.path(), "realnvp", metrics);
    let per_dim = 192.0 * LN_2;
    let expect = |nats: f64, by: MeasuredBy, step: u64| {
        let found = MainMeasure::of(&flow).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.unit, found.by, found.step), ("bits/dim", "", by, step));
        assert!((found.value - nats / per_dim).abs() < 1e-12, "{found:?}");
        found
    };
    expect(400.0, MeasuredBy::Validation, 10);
    // Of the same step, so the evaluation is the better measurement.
    let bound = json!({ "scale": "eightbit", "nats": 390.0, "nats_error": 2.0, "seconds": 1.0 });
    evaluate(&flow, 10, &json!({ "bound": bound, "frechet_distance": { "distance": 3.0, "seconds": 1.0 } }));
    let found = expect(390.0, MeasuredBy::Evaluation, 10);
    assert_eq!(found.split, Some(Split::Test));
    assert!((found.error.unwrap() - 2.0 / per_dim).abs() < 1e-12);
    // Trained further since.
    fs::write(flow.metrics_path(), format!("{metrics}{{\"step\":20,\"validation_bound\":380}}\n")).unwrap();
    expect(380.0, MeasuredBy::Validation, 20);
}

#[test]
fn binarised_images_are_measured_in_nats() {
    let root = tempfile::tempdir().unwrap();
    let draw = run(root.path(), "draw", "{\"step\":10,\"validation_bound\":82.5}\n");
    assert_eq!(main_of(&draw), ("bound".to_owned(), 82.5, "nats", MeasuredBy::Validation, 10));
    // Without a configuration that can be read nothing is known of the unit.
    fs::write(draw.config_path(), "model = \"of tomorrow\"").unwrap();
    assert_eq!(main_of(&draw).0, "validation_bound");
}

#[test]
fn without_a_likelihood_it_is_the_main_number_of_the_evaluation() {
    let root = tempfile::tempdir().unwrap();
    let gan = run(root.path(), "dcgan", "{\"step\":10,\"d_loss\":1.25,\"g_loss\":0.75}\n");
    assert_eq!(main_of(&gan), ("d_loss".to_owned(), 1.25, "", MeasuredBy::Training, 10));
    assert_eq!(MainMeasure::of(&gan).unwrap().unwrap().better, None, "it says nothing by itself");
    let distance = |value: f64| json!({ "distance": value, "seconds": 1.0 });
    evaluate(&gan, 10, &json!({ "sliced_wasserstein": distance(16.5) }));
    assert_eq!(main_of(&gan), ("SWD".to_owned(), 16.5, "grey levels", MeasuredBy::Evaluation, 10));
    let mut frechet = distance(12.0);
    frechet["name"] = "FD[features-of-mnist]".into();
    evaluate(&gan, 20, &json!({ "sliced_wasserstein": distance(16.5), "frechet_distance": frechet }));
    assert_eq!(main_of(&gan), ("FD".to_owned(), 12.0, "", MeasuredBy::Evaluation, 20));
    let errors = json!({ "error": 0.0135, "standard_error": 0.001, "seconds": 1.0 });
    evaluate(&gan, 30, &json!({ "classification": errors, "sliced_wasserstein": distance(16.5) }));
    assert_eq!(main_of(&gan).0, "error");
    assert!((main_of(&gan).1 - 1.35).abs() < 1e-12);
}

#[test]
fn an_agent_is_measured_by_its_return() {
    let root = tempfile::tempdir().unwrap();
    let metrics = "{\"step\":1,\"return\":20,\"policy_loss\":0.5}\n{\"step\":2,\"policy_loss\":0.25}\n";
    let agent = run(root.path(), "ppo", metrics);
    assert_eq!(main_of(&agent), ("return".to_owned(), 20.0, "", MeasuredBy::Training, 2));
    let returns = json!({ "mean": 500.0, "standard_error": 1.5, "seconds": 1.0 });
    evaluate(&agent, 2, &json!({ "return": returns }));
    let found = MainMeasure::of(&agent).unwrap().unwrap();
    assert_eq!((found.value, found.error, found.better), (500.0, Some(1.5), Some(Better::Higher)));
    // As earlier versions saved one episode.
    let returns = json!({ "episodes": 1, "mean": 500.0, "standard_error": 0.0, "seconds": 1.0 });
    evaluate(&agent, 3, &json!({ "return": returns }));
    let found = MainMeasure::of(&agent).unwrap().unwrap();
    assert_eq!((found.value, found.error), (500.0, None));
}

#[test]
fn nothing_measured_is_nothing_and_a_damaged_evaluation_is_named() {
    let root = tempfile::tempdir().unwrap();
    let new = run(root.path(), "vae", "");
    assert_eq!(MainMeasure::of(&new).unwrap(), None);
    fs::write(new.path().join("evaluation-000000010.json"), "{}").unwrap();
    let error = MainMeasure::of(&new).unwrap_err();
    assert!(matches!(&error, Error::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("evaluation-000000010.json"), "{error}");
}
