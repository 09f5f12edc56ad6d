//! How well a model counts and places the objects of images whose objects are known.

use poiesis_collect::View;
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use crate::abilities::{Bounds, Objects};
use crate::data::images;
use crate::error::Result;
use crate::fitting::best_matching;

/// Images in a batch.
const BATCH: usize = 100;

/// The objects that a model finds, compared with those that are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectsFound {
    /// Images whose objects were counted.
    pub images: usize,
    /// Fraction of the images in which as many objects are found as there are.
    pub count_accuracy: f64,
    /// Standard error of `count_accuracy` over images; `None` for one image.
    pub standard_error: Option<f64>,
    /// Fraction of the images that have the commonest number of objects: what one would get by always giving that number.
    pub chance: f64,
    /// Objects found in an image, averaged.
    pub found: f64,
    /// Objects that are in an image, averaged.
    pub objects: f64,
    /// Intersection over union of each object's box with the one found for it, by the best matching within an image, averaged over all
    /// objects; 0 for an object that was not found.
    pub iou: f64,
}

impl ObjectsFound {
    /// Compares boxes found with those that are there, image by image.
    ///
    /// # Panics
    ///
    /// When there is no image, or not as many of both.
    pub fn of(found: &[Vec<Bounds>], known: &[Vec<Bounds>]) -> ObjectsFound {
        assert!(!known.is_empty() && found.len() == known.len(), "{} of {} images", found.len(), known.len());
        let images = known.len() as f64;
        let right = found.iter().zip(known).filter(|(found, known)| found.len() == known.len()).count();
        let count_accuracy = right as f64 / images;
        let most = known.iter().map(Vec::len).max().unwrap_or(0);
        let with_count = |count: usize| known.iter().filter(|known| known.len() == count).count();
        let all = |of: &[Vec<Bounds>]| of.iter().map(Vec::len).sum::<usize>() as f64;
        let iou: f64 = found.iter().zip(known).map(|(found, known)| matched_iou(found, known)).sum();
        ObjectsFound {
            images: known.len(),
            count_accuracy,
            standard_error: super::error_of_fraction(count_accuracy, known.len()),
            chance: (0..=most).map(with_count).max().unwrap_or(0) as f64 / images,
            found: all(found) / images,
            objects: all(known) / images,
            iou: iou / all(known).max(1.0),
        }
    }
}

/// The largest sum of intersections over unions of boxes matched one to one.
fn matched_iou(found: &[Bounds], known: &[Bounds]) -> f64 {
    let of_known = |known: &Bounds| found.iter().map(|found| found.intersection_over_union(known)).collect();
    let values: Vec<Vec<f64>> = known.iter().map(of_known).collect();
    let matched = best_matching(&values).into_iter().enumerate();
    matched.filter_map(|(object, found)| Some(values[object][found?])).sum()
}

/// The boxes of the objects of image `i`; `None` where they are not known.
pub fn known_objects(view: &View, i: usize) -> Option<Vec<Bounds>> {
    Some(view.boxes(i)?.iter().map(|&sides| Bounds::from(sides)).collect())
}

/// Measures a model that finds objects, on images whose objects are known.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let Some(model) = subject.trained.abilities().objects else { return Ok(None) };
    if subject.dataset.is_none_or(|data| data.card().objects.is_none()) {
        return Ok(None);
    }
    let (view, shape) = (subject.held_out.images()?, subject.trained.spec.images()?);
    let indices: Vec<usize> = view.spread(subject.images(view)).collect();
    let mut report = Progress::reporter("finding objects", "images", indices.len() as u64, progress);
    Ok(Some(Measured::timed(|| {
        let find = |batch| find(model, images(view, batch, shape, &subject.trained.device));
        let mut found = Vec::with_capacity(indices.len());
        for batch in indices.chunks(BATCH) {
            found.extend(find(batch));
            report(found.len() as u64);
        }
        let known: Vec<_> = indices.iter().filter_map(|&i| known_objects(view, i)).collect();
        ObjectsFound::of(&found, &known)
    })))
}

fn find(model: &dyn Objects, images: burn::tensor::Tensor<4>) -> Vec<Vec<Bounds>> {
    let count = images.dims()[0];
    let found = model.find(images);
    assert_eq!(found.len(), count, "boxes of other images than were given");
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_counted_and_boxes_matched_in_any_order() {
        let [a, b] = [[0.1, 0.2, 0.2, 0.2], [0.6, 0.5, 0.2, 0.2]].map(Bounds::from);
        let known = [vec![a, b], vec![], vec![a], vec![b]];
        let found = [vec![b, a], vec![], vec![a, b], vec![]];
        let measured = ObjectsFound::of(&found, &known);
        assert_eq!((measured.images, measured.count_accuracy, measured.chance), (4, 0.5, 0.5));
        assert_eq!((measured.found, measured.objects, measured.standard_error), (1.0, 1.0, Some(0.25)));
        // Three of four objects are found exactly.
        assert!((measured.iou - 0.75).abs() < 1e-6, "{}", measured.iou);
        let none = ObjectsFound::of(&[vec![a]], &[vec![]]);
        assert_eq!((none.count_accuracy, none.iou), (0.0, 0.0));
    }

    #[test]
    fn the_matching_is_the_best_and_not_the_first() {
        // Each found box overlaps both; taking the best pair first would leave nothing for the other.
        let known = [[0.0, 0.0, 0.4, 0.1], [0.3, 0.0, 0.4, 0.1]].map(Bounds::from);
        let found = [[0.2, 0.0, 0.4, 0.1], [0.4, 0.0, 0.4, 0.1]].map(Bounds::from);
        let iou = |shared: f64| shared / (0.8 - shared);
        let expected = iou(0.2) + iou(0.3);
        assert!((matched_iou(&found, &known) - expected).abs() < 1e-6);
        assert!((iou(0.3) + iou(0.0)) < expected);
    }
}
