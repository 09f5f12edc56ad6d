//! One evaluation for all models: one file per metric, all listed in [`METRICS`]. Every number has the protocol it was
//! measured with.

mod bound;
mod class_coverage;
mod classification;
mod compare;
mod detection;
mod episodes;
mod evaluation;
mod feature_sets;
mod frechet_distance;
mod image_nll;
mod image_set;
mod inception_score;
mod kernel_distance;
mod known;
mod likelihood_unit;
mod main_measure;
mod manifold;
mod memorisation;
mod metric;
mod mode_coverage;
mod nearest;
mod objects;
mod point_nll;
mod predictions;
mod run_comparison;
mod sets;
mod similarity;
mod sliced_wasserstein;
mod token_nll;

use std::collections::BTreeMap;

use burn::tensor::Device;
use poiesis_collect::Dataset;

pub(crate) use bound::bounds;
pub use bound::{Bound, BoundProtocol, bound};
pub use class_coverage::ClassCoverage;
pub use classification::{Calibrated, Classification, classification};
pub use compare::{Compared, Comparison, Row};
pub use detection::{Detection, detection};
pub use episodes::{AgentReturns, Returns, expert_return, normalised, returns};
pub use evaluation::{Evaluation, Protocol};
pub use frechet_distance::FrechetDistance;
pub use image_nll::{ImageNll, image_nll};
pub(crate) use image_nll::{image_log_probs, measured_images};
pub(crate) use image_set::ImageSet;
pub use inception_score::{InceptionScore, inception_score};
pub use kernel_distance::{KernelDistance, squared_mmd};
pub use known::{Better, ComparedValue, NamedValue};
pub use main_measure::{MainMeasure, MeasuredBy, better_of};
pub use manifold::{DensityCoverage, Manifold, PrecisionRecall, expected_coverage, manifold};
pub use memorisation::{Memorisation, Pair};
pub use metric::{Measure, Measured, Metric, Progress, Subject};
pub use mode_coverage::ModeCoverage;
pub use nearest::{Nearest, NeighbourStatistics, Verdict, nearest, nearest_others, neighbour_statistics};
pub use objects::{ObjectsFound, known_objects};
pub(crate) use point_nll::{BATCH as POINT_BATCH, point_log_probs};
pub use point_nll::{PointNll, point_nll};
pub use predictions::{Counted, FEWEST, Predictions, labelled, likeliest, scaled};
pub use run_comparison::{ComparedRun, ComparedSetting, RunComparison, parameters};
pub use sets::Chosen;
pub use sliced_wasserstein::{SlicedWasserstein, sliced_wasserstein};
pub use token_nll::{TokenNll, token_nll};
pub(crate) use token_nll::{WindowPlan, each_log_prob};

use crate::abilities::Likelihood;
use crate::data::{DataSpec, Examples, Experience};
use crate::error::Result;
use crate::run::Machine;
use crate::trained::Trained;

/// All metrics, in the order in which they are measured and shown.
pub static METRICS: &[Metric] = &[
    Metric { name: "bound", measure: bound::measure },
    Metric { name: "image_nll", measure: image_nll::measure },
    Metric { name: "point_nll", measure: point_nll::measure },
    Metric { name: "token_nll", measure: token_nll::measure },
    Metric { name: "mode_coverage", measure: mode_coverage::measure },
    Metric { name: "classification", measure: classification::measure },
    Metric { name: "objects", measure: objects::measure },
    Metric { name: "return", measure: episodes::measure_mode },
    Metric { name: "sampled_return", measure: episodes::measure_sample },
    Metric { name: "sliced_wasserstein", measure: sliced_wasserstein::measure },
    Metric { name: "frechet_distance", measure: frechet_distance::measure },
    Metric { name: "kernel_distance", measure: kernel_distance::measure },
    Metric { name: "inception_score", measure: inception_score::measure },
    Metric { name: "class_coverage", measure: class_coverage::measure },
    Metric { name: "precision_recall", measure: manifold::measure_precision },
    Metric { name: "density_coverage", measure: manifold::measure_density },
    Metric { name: "neighbours", measure: nearest::measure },
    Metric { name: "memorisation", measure: memorisation::measure },
];

/// Measures every metric that applies to the model and the data; `progress` receives the progress of each. An agent is measured by
/// [`evaluate_agent`].
///
/// # Errors
///
/// Those of [`Protocol::check`] and [`Subject::new`], and of the metrics.
pub fn evaluate(
    trained: &Trained,
    dataset: &Dataset,
    protocol: &Protocol,
    progress: &mut dyn FnMut(Progress),
) -> Result<Evaluation> {
    protocol.check()?;
    let subject = Subject::new(trained, dataset, protocol)?;
    let card = dataset.card();
    measure_all(subject, &card.name, &card.fingerprint, progress)
}

/// Measures an agent in the environment of `experience`, whose demonstrations, where there are any, are the expert that it is compared
/// with.
///
/// # Errors
///
/// Those of [`Protocol::check`] and [`Subject::of_agent`], and of playing.
pub fn evaluate_agent(
    trained: &Trained,
    experience: Experience,
    protocol: &Protocol,
    progress: &mut dyn FnMut(Progress),
) -> Result<Evaluation> {
    protocol.check()?;
    let environment = experience.environment.name().to_owned();
    let subject = Subject::of_agent(trained, experience, protocol)?;
    measure_all(subject, &environment, "", progress)
}

fn measure_all(
    subject: Subject<'_>,
    data: &str,
    fingerprint: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<Evaluation> {
    let mut results = BTreeMap::new();
    for metric in METRICS {
        let measured = (metric.measure)(&subject, progress)?;
        results.extend(measured.map(|measured| (metric.name.to_owned(), measured)));
    }
    let trained = subject.trained;
    Ok(Evaluation {
        run: trained.info.id.clone(),
        model: trained.entry.name().to_owned(),
        step: trained.step,
        weights: trained.weights(),
        data: data.to_owned(),
        fingerprint: fingerprint.to_owned(),
        split: subject.split,
        seed: subject.protocol.seed,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: Machine::this(),
        results,
        closest: subject.closest.into_inner().unwrap_or_default(),
    })
}

/// Images or points, and tokens, of the held-out metric during training.
const VALIDATION_IMAGES: usize = 1000;
const VALIDATION_TOKENS: u64 = 1 << 16;

/// A held-out metric that is cheap enough to measure during training: its name and its value in nats, per image, point or
/// token. `None` where a model is conditioned on classes and no image has one.
///
/// # Errors
///
/// [`crate::Error::InvalidValue`] when the examples are not of the kind that the likelihood needs.
pub fn validation(
    likelihood: Likelihood,
    examples: &Examples,
    spec: &DataSpec,
    device: &Device,
) -> Result<Option<(&'static str, f64)>> {
    validation_of(likelihood, examples, spec, 1, device)
}

/// The same on about a `share`-th of the examples, to find out how long it takes.
pub(crate) fn validation_of(
    likelihood: Likelihood,
    examples: &Examples,
    spec: &DataSpec,
    share: usize,
    device: &Device,
) -> Result<Option<(&'static str, f64)>> {
    let mut silent = |_| ();
    let images = (VALIDATION_IMAGES.min(examples.len() as usize) / share).max(1);
    Ok(Some(match likelihood {
        Likelihood::Bound(model) => {
            let protocol = BoundProtocol { images, samples: 1, seed: 0 };
            let measured = bound(model, examples.images()?, spec.images()?, protocol, device, &mut silent);
            ("validation_bound", measured.nats)
        }
        Likelihood::Images(model) => {
            let (view, shape) = (examples.images()?, spec.images()?);
            if !image_nll::has_images(model, view) {
                return Ok(None);
            }
            let measured = image_nll(model, view, shape, images, 0, device, &mut silent);
            ("validation_nll", measured.nats)
        }
        Likelihood::Points(model) => {
            let measured = point_nll(model, examples.images()?, images, device, &mut silent);
            ("validation_nll", measured.nats)
        }
        Likelihood::Tokens(model) => {
            let tokens = examples.tokens(spec, model.levels())?;
            let limit = VALIDATION_TOKENS.min(tokens.len()).div_ceil(share as u64);
            let measured = token_nll(model, &tokens, limit, device, &mut |_| ());
            ("validation_nll", measured.nats)
        }
    }))
}

/// Whether [`validation`] has anything to measure.
///
/// # Errors
///
/// As for [`validation`].
pub fn can_validate(likelihood: Likelihood, examples: &Examples) -> Result<bool> {
    match likelihood {
        Likelihood::Images(model) => Ok(image_nll::has_images(model, examples.images()?)),
        Likelihood::Bound(_) | Likelihood::Points(_) | Likelihood::Tokens(_) => Ok(true),
    }
}

/// The mean, and its standard error, which one value does not have.
pub(crate) fn mean_and_error(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt()))
}

/// The standard error of a fraction of `n` examples, which one example does not have.
fn error_of_fraction(fraction: f64, n: usize) -> Option<f64> {
    (n > 1).then(|| (fraction * (1.0 - fraction) / n as f64).sqrt())
}
