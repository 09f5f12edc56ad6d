//! How many modes of labelled points a model's samples reach, and how many samples are near one (Srivastava et al. 2017,
//! arXiv:1705.07761, §4.1).

use poiesis_collect::{Split, View};
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use crate::data::Content;
use crate::error::Result;
use crate::generate::{Request, can_generate};
use crate::media::Media;

/// A point is near a mode within this many standard deviations of its centre.
const NEAR: f64 = 3.0;

/// How samples are spread over the modes of the data. Samples are taken as `generate` gives them, with the values that the columns of
/// the data have ([`ColumnValues`](crate::data::ColumnValues)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeCoverage {
    /// Samples drawn from the model.
    pub samples: usize,
    /// Seed of the samples.
    pub seed: u64,
    /// Modes of the data: its classes.
    pub modes: usize,
    /// Modes with at least one sample near them.
    pub found: usize,
    /// Fraction of the samples that are near a mode.
    pub near: f64,
    /// The same of held-out points.
    pub near_held_out: f64,
}

/// A mode: the points of one class.
struct Mode {
    centre: Vec<f64>,
    /// Root of the variance, averaged over coordinates.
    deviation: f64,
}

impl Mode {
    /// Those of the classes that have points, in order.
    fn all(view: &View, classes: usize) -> Vec<Mode> {
        let mut of_class: Vec<Vec<&[f32]>> = vec![Vec::new(); classes];
        for i in 0..view.len() {
            if let Some(label) = view.label(i) {
                of_class[label as usize].push(view.point(i));
            }
        }
        of_class.iter().filter(|points| !points.is_empty()).map(|points| Mode::of(points)).collect()
    }

    fn of(points: &[&[f32]]) -> Mode {
        let (count, dims) = (points.len() as f64, points[0].len());
        let mean = |of: &dyn Fn(&[f32]) -> f64| points.iter().map(|point| of(point)).sum::<f64>() / count;
        let centre: Vec<f64> = (0..dims).map(|d| mean(&|point| f64::from(point[d]))).collect();
        let deviation = (mean(&|point| squared_distance(point, &centre)) / dims as f64).sqrt();
        Mode { centre, deviation }
    }

    fn is_near(&self, point: &[f32]) -> bool {
        squared_distance(point, &self.centre) <= (NEAR * self.deviation).powi(2)
    }
}

fn squared_distance(point: &[f32], centre: &[f64]) -> f64 {
    point.iter().zip(centre).map(|(&x, centre)| (f64::from(x) - centre).powi(2)).sum()
}

/// Which modes have a point near them, and the fraction of the points that are near one.
fn coverage<'a>(modes: &[Mode], points: impl Iterator<Item = &'a [f32]>) -> (Vec<bool>, f64) {
    let mut found = vec![false; modes.len()];
    let (mut near, mut all) = (0, 0);
    for point in points {
        let mut is_near = false;
        for (mode, found) in modes.iter().zip(&mut found) {
            if mode.is_near(point) {
                (is_near, *found) = (true, true);
            }
        }
        near += usize::from(is_near);
        all += 1;
    }
    (found, near as f64 / f64::from(all.max(1)))
}

/// Measures a model of labelled points that can sample.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let (trained, protocol) = (subject.trained, subject.protocol);
    let is_of_points =
        matches!(trained.spec.content, Content::Points(_)) && can_generate(&trained.abilities());
    let train = subject
        .dataset
        .and_then(|data| data.split(Split::Train))
        .filter(|_| is_of_points && trained.spec.classes > 0);
    let Some(train) = train else { return Ok(None) };
    let modes = Mode::all(&train, trained.spec.classes);
    if modes.is_empty() {
        return Ok(None);
    }
    progress(Progress::working("sampling"));
    let request = Request { seed: protocol.seed, count: protocol.samples as u64, ..Request::default() };
    let samples = trained.generate_all(&request)?;
    let held_out = subject.held_out.images()?;
    Ok(Some(Measured::timed(|| {
        let points = samples.iter().filter_map(|media| match media {
            Media::Point(point) => Some(&point[..]),
            _ => None,
        });
        let (found, near) = coverage(&modes, points);
        let (_, near_held_out) = coverage(&modes, (0..held_out.len()).map(|i| held_out.point(i)));
        ModeCoverage {
            samples: samples.len(),
            seed: protocol.seed,
            modes: modes.len(),
            found: found.iter().filter(|found| **found).count(),
            near,
            near_held_out,
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_has_the_mean_and_the_deviation_of_its_points() {
        let mode = Mode::of(&[&[1.0, 5.0], &[3.0, 5.0]]);
        assert_eq!(mode.centre, [2.0, 5.0]);
        // The variances are 1 and 0.
        assert!((mode.deviation - 0.5f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn modes_without_a_sample_are_missed_and_samples_between_modes_are_far() {
        let mode = |x: f64| Mode { centre: vec![x, 0.0], deviation: 0.1 };
        let modes = [mode(-1.0), mode(0.0), mode(1.0)];
        let points = [[-1.0, 0.29], [-0.9, 0.0], [1.2, -0.2], [0.5, 0.0], [0.0, 0.31]];
        let (found, near) = coverage(&modes, points.iter().map(|point| &point[..]));
        assert_eq!((found, near), (vec![true, false, true], 0.6));
    }
}
