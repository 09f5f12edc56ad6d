//! Images as rows of values: their pixels, and what a model makes of them.

use burn::tensor::{Device, Tensor};
use poiesis_collect::View;

use crate::data::{ImageShape, images};
use crate::evaluate::Progress;
use crate::fitting::Rows;

/// Images in a batch.
const BATCH: usize = 64;

/// Reports how many of a known number are done.
pub(super) struct Report<'a> {
    what: &'static str,
    unit: &'static str,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Report<'a> {
    /// Starts with a report of none.
    pub(super) fn new(
        what: &'static str,
        unit: &'static str,
        total: usize,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Report<'a> {
        let mut report = Report { what, unit, done: 0, total: total as u64, progress };
        report.at(0);
        report
    }

    /// So many are done.
    pub(super) fn at(&mut self, done: usize) {
        self.done = done as u64;
        let Report { what, unit, done, total, .. } = *self;
        (self.progress)(Progress { what, unit, done, total: Some(total) });
    }

    /// So many more are done.
    pub(super) fn add(&mut self, more: usize) {
        self.at(self.done as usize + more);
    }
}

/// What `function` makes of the images at `indices`, one row for each. It receives batches in [-1, 1] and their
/// classes.
pub(super) fn each_batch(
    view: &View,
    indices: &[usize],
    shape: ImageShape,
    device: &Device,
    report: &mut Report<'_>,
    mut function: impl FnMut(Tensor<4>, &[Option<u32>]) -> Tensor<2>,
) -> Rows {
    let (mut values, mut dims) = (Vec::new(), 1);
    for batch in indices.chunks(BATCH) {
        let classes: Vec<_> = batch.iter().map(|&index| view.label(index)).collect();
        let made = function(images(view, batch, shape, device), &classes);
        dims = made.dims()[1];
        values.extend(made.into_data().iter::<f32>());
        report.add(batch.len());
    }
    Rows::new(values, dims)
}

/// The pixels of the images at `indices`, in [-1, 1].
pub(super) fn pixels(view: &View, indices: &[usize], shape: ImageShape) -> Rows {
    let values =
        indices.iter().flat_map(|&index| view.image(index)).map(|&pixel| f32::from(pixel) / 127.5 - 1.0);
    Rows::new(values.collect(), shape.dims())
}
