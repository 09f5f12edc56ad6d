//! The exact negative log-likelihood of held-out points.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::View;
use serde::{Deserialize, Serialize};

use super::mean_and_error;
use super::metric::{Measured, Progress, Subject};
use crate::abilities::{Likelihood, PointLikelihood};
use crate::error::Result;
use crate::fitting::Rows;

/// Points in a batch.
pub(crate) const BATCH: usize = 1000;

/// −log p(x) of held-out points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointNll {
    /// How many of the split's points were measured, evenly spread over it.
    pub points: usize,
    /// Mean of −log p(x), a density, in nats per point.
    pub nats: f64,
    /// Its standard error over points; `None` for one point.
    pub nats_error: Option<f64>,
}

/// Measures `count` points of `view`, evenly spread over it; `progress` receives the number done.
///
/// # Panics
///
/// When there are no points.
pub fn point_nll(
    model: &dyn PointLikelihood,
    view: &View,
    count: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> PointNll {
    let count = count.min(view.len());
    assert!(count > 0, "a likelihood needs points");
    let indices: Vec<usize> = view.spread(count).collect();
    let values: Vec<f32> = indices.iter().flat_map(|&index| view.point(index)).copied().collect();
    let points = Rows::new(values, view.point(0).len());
    let classes: Vec<Option<u32>> = indices.iter().map(|&index| view.label(index)).collect();
    let log_probs = point_log_probs(model, &points, &classes, device, progress);
    let (mean, nats_error) = mean_and_error(&log_probs);
    PointNll { points: count, nats: -mean, nats_error }
}

/// log p(x) of points, one per row, in nats, each with its class. `progress` receives the number done.
///
/// # Panics
///
/// When there is not one class for each.
pub(crate) fn point_log_probs(
    model: &dyn PointLikelihood,
    points: &Rows,
    classes: &[Option<u32>],
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Vec<f64> {
    assert_eq!(classes.len(), points.len(), "one class for each point");
    let mut log_probs = Vec::with_capacity(points.len());
    for first in (0..points.len()).step_by(BATCH) {
        let batch: Vec<usize> = (first..points.len().min(first + BATCH)).collect();
        let values = batch.iter().flat_map(|&index| points.row(index)).copied().collect();
        let batch_of = Tensor::from_data(TensorData::new(values, [batch.len(), points.dims()]), device);
        let classes: Vec<u32> = batch.iter().map(|&index| classes[index].unwrap_or(0)).collect();
        log_probs.extend(model.log_prob(batch_of, &classes));
        progress(log_probs.len());
    }
    log_probs
}

/// Measures −log p of a model that gives it for points.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let likelihood = subject.trained.abilities().likelihood;
    let Some(model) = likelihood.and_then(Likelihood::points) else { return Ok(None) };
    let view = subject.held_out.images()?;
    let count = subject.images(view);
    let mut report = Progress::reporter("likelihood", "points", count as u64, progress);
    let device = &subject.trained.device;
    let mut done = |done: usize| report(done as u64);
    Ok(Some(Measured::timed(|| point_nll(model, view, count, device, &mut done))))
}

#[cfg(test)]
mod tests {
    use poiesis_collect::{Dataset, Options, Split, collect};

    use super::super::validation;
    use super::*;
    use crate::dist::standard_normal_log_prob;
    use crate::train::TrainingData;

    /// N(0, 1) in each coordinate.
    struct Normal;

    impl PointLikelihood for Normal {
        fn log_prob(&self, points: Tensor<2>, _classes: &[u32]) -> Vec<f64> {
            standard_normal_log_prob(points).into_data().iter::<f64>().collect()
        }
    }

    #[test]
    fn a_ring_under_a_normal_distribution_has_the_nats_of_its_radius() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("rings");
        collect("rings".as_ref(), &out, &Options { count: Some(2000), ..Options::default() }, &|_| ())
            .unwrap();
        let dataset = Dataset::open(&out).unwrap();
        let view = dataset.split(Split::Train).unwrap();
        let mut done = 0;
        let nll = point_nll(&Normal, &view, usize::MAX, &Device::flex(), &mut |count| done = count);
        assert_eq!((nll.points, done), (view.len(), view.len()));
        // Modes at radius 2, of deviation 0.02: log 2π + (2² + 2 · 0.02²) / 2 on average.
        let expected = std::f64::consts::TAU.ln() + (4.0 + 2.0 * 0.0004) / 2.0;
        assert!((nll.nats - expected).abs() < 0.01, "{nll:?}");
        assert!(nll.nats_error.is_some_and(|error| error < 0.002), "{nll:?}");

        let data = TrainingData::of(&dataset).unwrap();
        let of_points = Likelihood::Points(&Normal);
        let (name, nats) = validation(of_points, &data.train, &data.spec, &Device::flex()).unwrap().unwrap();
        assert_eq!(name, "validation_nll");
        assert!((nats - expected).abs() < 0.01, "{nats}");
    }
}
