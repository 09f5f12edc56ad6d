//! The values of evaluations that are compared: what they are called, their units, and which of them are better.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Evaluation;

/// Which values are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Smaller ones.
    Lower,
    /// Larger ones.
    Higher,
}

impl Better {
    /// The direction in a word.
    pub fn name(self) -> &'static str {
        match self {
            Better::Lower => "lower",
            Better::Higher => "higher",
        }
    }

    /// The order of two values, the better one first.
    pub fn order(self, a: f64, b: f64) -> std::cmp::Ordering {
        match self {
            Better::Lower => a.total_cmp(&b),
            Better::Higher => b.total_cmp(&a),
        }
    }
}

/// A value that is compared.
pub(super) struct Known {
    pub(super) metric: &'static str,
    key: &'static str,
    /// The key of its standard error or deviation.
    error: Option<&'static str>,
    title: &'static str,
    pub(super) unit: &'static str,
    pub(super) better: Better,
}

const fn known(
    metric: &'static str,
    key: &'static str,
    error: Option<&'static str>,
    title: &'static str,
    unit: &'static str,
    better: Better,
) -> Known {
    Known { metric, key, error, title, unit, better }
}

/// What is compared, in the order in which it is shown. A title that is empty is the name that the result has.
pub(super) static KNOWN: &[Known] = &[
    known("bound", "nats", Some("nats_error"), "negative log-likelihood, bound", "nats", Better::Lower),
    known("bound", "weighted_nats", None, "negative log-likelihood, weighted", "nats", Better::Lower),
    known("image_nll", "nats", Some("nats_error"), "negative log-likelihood", "nats", Better::Lower),
    known("point_nll", "nats", Some("nats_error"), "negative log-likelihood", "nats", Better::Lower),
    known(
        "token_nll",
        "nats",
        Some("nats_error"),
        "negative log-likelihood",
        "nats per token",
        Better::Lower,
    ),
    known("mode_coverage", "found", None, "modes found", "modes", Better::Higher),
    known("mode_coverage", "near", None, "samples near a mode", "fraction", Better::Higher),
    known("classification", "error", None, "classification error", "fraction", Better::Lower),
    known("classification", "calibration_error", None, "calibration error", "probability", Better::Lower),
    known(
        "objects",
        "count_accuracy",
        Some("standard_error"),
        "images counted right",
        "fraction",
        Better::Higher,
    ),
    known("objects", "iou", None, "intersection over union of boxes", "fraction", Better::Higher),
    known("return", "mean", Some("standard_error"), "return, most probable actions", "", Better::Higher),
    known(
        "return",
        "normalised",
        None,
        "of the way to the expert, most probable actions",
        "",
        Better::Higher,
    ),
    known("sampled_return", "mean", Some("standard_error"), "return, drawn actions", "", Better::Higher),
    known(
        "sampled_return",
        "normalised",
        None,
        "of the way to the expert, drawn actions",
        "",
        Better::Higher,
    ),
    known(
        "sliced_wasserstein",
        "distance",
        None,
        "sliced Wasserstein distance",
        "grey levels",
        Better::Lower,
    ),
    known("frechet_distance", "distance", None, "", "", Better::Lower),
    known("kernel_distance", "distance", Some("deviation"), "", "", Better::Lower),
    known("inception_score", "score", Some("deviation"), "", "classes", Better::Higher),
    known("class_coverage", "found", None, "classes found", "classes", Better::Higher),
    known("class_coverage", "kl", None, "divergence of classes", "nats", Better::Lower),
    known("precision_recall", "precision", None, "precision", "fraction", Better::Higher),
    known("precision_recall", "recall", None, "recall", "fraction", Better::Higher),
    known("density_coverage", "density", None, "density", "", Better::Higher),
    known("density_coverage", "coverage", None, "coverage", "fraction", Better::Higher),
    known("neighbours", "copied", None, "samples too close to training images", "fraction", Better::Lower),
    known("memorisation", "authentic", None, "authentic samples", "fraction", Better::Higher),
];

/// An interval reaches this many errors to either side of a value: 95 % of a normal distribution.
const REACH: f64 = 1.96;

/// A value of one run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ComparedValue {
    /// The value.
    pub value: f64,
    /// Its standard error, or its deviation over subsets, where that is known.
    pub error: Option<f64>,
}

impl ComparedValue {
    fn interval(self) -> (f64, f64) {
        let reach = REACH * self.error.unwrap_or(0.0);
        (self.value - reach, self.value + reach)
    }

    /// Whether errors are known and the intervals of both overlap.
    pub(super) fn may_equal(self, other: ComparedValue) -> bool {
        let ((low, high), (other_low, other_high)) = (self.interval(), other.interval());
        self.error.is_some() && other.error.is_some() && low <= other_high && other_low <= high
    }
}

/// A value of an evaluation with its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedValue {
    /// The metric.
    pub metric: &'static str,
    /// What it is called.
    pub name: String,
    /// Its unit; empty where it has none.
    pub unit: &'static str,
    /// Which values are better.
    pub better: Better,
    /// The value, and its error where that is known.
    #[serde(flatten)]
    pub value: ComparedValue,
}

impl Known {
    /// The value in an evaluation; `None` where it was not measured. One example has no error, though earlier versions saved 0.
    pub(super) fn value(&self, evaluation: &Evaluation) -> Option<ComparedValue> {
        let values = &evaluation.results.get(self.metric)?.values;
        let number = |key: &str| values.get(key).and_then(Value::as_f64);
        let error = self.error.filter(|_| !self.is_of_one(evaluation)).and_then(number);
        Some(ComparedValue { value: number(self.key)?, error })
    }

    /// Whether it was measured on one example, which says nothing of others.
    pub(super) fn is_of_one(&self, evaluation: &Evaluation) -> bool {
        evaluation.results.get(self.metric).is_some_and(|measured| is_of_one(&measured.values))
    }

    /// What it is called, in the first of these evaluations that has a name for it.
    pub(super) fn name<'a>(&self, evaluations: impl IntoIterator<Item = &'a Evaluation>) -> String {
        if !self.title.is_empty() {
            return self.title.to_owned();
        }
        let named = |evaluation: &Evaluation| {
            evaluation.results.get(self.metric)?.values.get("name")?.as_str().map(str::to_owned)
        };
        evaluations.into_iter().find_map(named).unwrap_or_default()
    }
}

/// Whether results are of one image, point, window or episode, or of one sample where only samples are counted.
pub(super) fn is_of_one(values: &Map<String, Value>) -> bool {
    const COUNTS: [&str; 4] = ["images", "points", "episodes", "samples"];
    let number = |key: &str| values.get(key).and_then(Value::as_u64);
    if let (Some(tokens), Some(window)) = (number("tokens"), number("window")) {
        // All tokens of the first window are predicted but its first, and two windows predict more than one has.
        return tokens < window;
    }
    // The protocol of a bound has its images, and samples that are draws for each.
    let protocol = || COUNTS.into_iter().find_map(|key| values.get("protocol")?.get(key)?.as_u64());
    COUNTS.into_iter().find_map(number).or_else(protocol) == Some(1)
}

impl Evaluation {
    /// The values that evaluations are compared by, in the order in which they are shown.
    pub fn values(&self) -> Vec<NamedValue> {
        let named = |known: &Known| {
            let Known { metric, unit, better, .. } = *known;
            Some(NamedValue { metric, name: known.name([self]), unit, better, value: known.value(self)? })
        };
        KNOWN.iter().filter_map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_value_comes_first() {
        let sorted = |better: Better| {
            let mut values = [2.0, -1.0, 3.0];
            values.sort_by(|a, b| better.order(*a, *b));
            values
        };
        assert_eq!(sorted(Better::Lower), [-1.0, 2.0, 3.0]);
        assert_eq!(sorted(Better::Higher), [3.0, 2.0, -1.0]);
    }

    #[test]
    fn one_example_is_told_by_its_count() {
        let one = |values: Value| is_of_one(values.as_object().unwrap());
        for key in ["images", "points", "episodes", "samples"] {
            assert!(one(serde_json::json!({ key: 1 })) && !one(serde_json::json!({ key: 2 })), "{key}");
        }
        let bound = |images: u64, samples: u64| {
            one(serde_json::json!({ "protocol": { "images": images, "samples": samples }, "nats": 98.5 }))
        };
        assert!(bound(1, 16) && !bound(500, 1), "draws of an image are not examples");
        let tokens = |tokens: u64| one(serde_json::json!({ "tokens": tokens, "window": 16, "stride": 8 }));
        assert!(tokens(15) && !tokens(23));
        assert!(!one(serde_json::json!({ "nats": 98.5, "nats_error": null })), "nothing is counted");
    }

    #[test]
    fn an_evaluation_gives_its_values_with_names_units_and_errors() {
        let evaluation: Evaluation = serde_json::from_value(serde_json::json!({
            "run": "a", "model": "vae", "step": 60, "weights": "averaged", "data": "mnist", "fingerprint": "0123",
            "split": "test", "seed": 3, "version": "0.1.0",
            "machine": { "system": "linux", "cpu": "some", "threads": 2, "memory": 1000 },
            "bound": { "nats": 98.5, "nats_error": 0.25, "seconds": 1.5 },
            "frechet_distance": { "name": "FD[x-01234567]", "distance": 12.5, "seconds": 0.5 },
            "unheard_of": { "value": 3.0, "seconds": 0.5 },
        }))
        .unwrap();
        let found: Vec<_> = evaluation
            .values()
            .into_iter()
            .map(|found| (found.name, found.unit, found.better, found.value.value, found.value.error))
            .collect();
        assert_eq!(
            found,
            [
                ("negative log-likelihood, bound".to_owned(), "nats", Better::Lower, 98.5, Some(0.25)),
                ("FD[x-01234567]".to_owned(), "", Better::Lower, 12.5, None),
            ]
        );
    }
}
