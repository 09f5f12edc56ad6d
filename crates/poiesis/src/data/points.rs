//! Points as batches.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::View;

use super::{Source, SourceOptions};
use crate::error::{Error, Result};
use crate::rng;

/// Training points in the order of their use: keyed permutations, computed and not stored.
#[derive(Clone)]
pub struct PointBatches {
    view: View,
    batch_size: usize,
    seed: u64,
    device: Device,
}

impl PointBatches {
    /// Points in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The points of step `step`, `[batch, 2]`.
    pub fn points(&self, step: u64) -> Tensor<2> {
        let len = self.view.len() as u64;
        let first = step * self.batch_size as u64;
        let index = |place: u64| rng::permute(self.seed, place / len, place % len, len) as usize;
        let indices: Vec<usize> = (first..first + self.batch_size as u64).map(index).collect();
        points(&self.view, &indices, &self.device)
    }
}

/// Gathers points, `[indices, dims]`.
pub fn points(view: &View, indices: &[usize], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = indices.iter().flat_map(|&index| view.point(index).to_vec()).collect();
    let dims = values.len() / indices.len().max(1);
    Tensor::from_data(TensorData::new(values, [indices.len(), dims]), device)
}

impl Source for PointBatches {
    type Needs = ();

    fn open((): &(), options: &SourceOptions<'_>) -> Result<PointBatches> {
        options.spec.points()?;
        let view = options.examples.images()?.clone();
        if view.is_empty() {
            return Err(Error::invalid_value(
                "data.source",
                "no training examples",
                "a model needs examples to train on",
                "give a data set with a train split",
            ));
        }
        let SourceOptions { batch_size, seed, device, .. } = *options;
        Ok(PointBatches { view, batch_size, seed, device: device.clone() })
    }
}
