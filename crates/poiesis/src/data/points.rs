//! Points as batches.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::View;

use super::{Amount, Source, SourceOptions};
use crate::error::{Error, Result};
use crate::rng;

/// Training points in the order of their use: keyed permutations, computed and not stored.
#[derive(Clone)]
pub struct PointBatches {
    view: View,
    dims: usize,
    batch_size: usize,
    seed: u64,
    device: Device,
}

impl PointBatches {
    /// Points in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Coordinates of a point.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// The points of step `step`, `[batch, dims]`.
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
    let values: Vec<f32> = indices.iter().flat_map(|&index| view.point(index)).copied().collect();
    let dims = values.len() / indices.len().max(1);
    Tensor::from_data(TensorData::new(values, [indices.len(), dims]), device)
}

impl Source for PointBatches {
    type Needs = ();

    fn open((): &(), options: &SourceOptions<'_>) -> Result<PointBatches> {
        let dims = options.spec.points()?.dims;
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
        Ok(PointBatches { view, dims, batch_size, seed, device: device.clone() })
    }

    fn amount(&self) -> Amount {
        Amount { count: self.batch_size as u64, unit: "points" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataConfig;
    use crate::data::{DataSpec, Examples, Places, open};
    use poiesis_collect::Split;

    #[test]
    fn the_rows_of_a_table_come_as_batches() {
        let root = tempfile::tempdir().unwrap();
        let row = |i: usize| format!("{i};{};-1e-3\n", i as f32 * 0.5).replace('.', ",");
        let rows: String = (0..40).map(row).collect();
        let path = root.path().join("table.csv");
        std::fs::write(&path, format!("a;b;c\n{rows}x;y;z\n")).unwrap();
        let config = DataConfig { source: path.to_string_lossy().into_owned(), ..DataConfig::default() };
        let places = Places { data_dir: root.path().into(), cache: root.path().join("cache") };
        let dataset = open(&config, &places, &|_| ()).unwrap();
        assert_eq!((dataset.card().total(), dataset.card().skipped.count), (40, 1));
        let spec = DataSpec::of(&dataset).unwrap();
        let shape = spec.points().unwrap();
        assert_eq!((shape.dims, &shape.columns[..]), (3, &["a", "b", "c"].map(str::to_owned)[..]));
        let examples = Examples::of(&dataset, Split::Train).unwrap();
        let count = examples.len() as usize;
        let options = SourceOptions {
            examples: &examples,
            spec: &spec,
            batch_size: count,
            seed: 3,
            device: &Device::flex(),
        };
        let batches = PointBatches::open(&(), &options).unwrap();
        assert_eq!((batches.batch_size(), batches.dims()), (count, 3));
        // A step is an epoch, so that each row comes exactly once, with the values of the file.
        let points = batches.points(0);
        assert_eq!(points.dims(), [count, 3]);
        let values: Vec<f32> = points.into_data().iter::<f32>().collect();
        let mut seen: Vec<usize> = values.chunks(3).map(|point| point[0] as usize).collect();
        assert!(values.chunks(3).all(|point| point[1..] == [point[0] * 0.5, -1e-3]), "{values:?}");
        seen.sort_unstable();
        seen.dedup();
        let validation = Examples::of(&dataset, Split::Validation).unwrap();
        assert_eq!((seen.len(), count + validation.len() as usize), (count, 40));
    }
}
