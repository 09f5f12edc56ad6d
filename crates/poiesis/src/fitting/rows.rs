//! Vectors of one length, one per row, and how they are brought to a common scale.

use burn::tensor::{Device, Tensor, TensorData};

/// Vectors of one length, one per row.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    values: Vec<f32>,
    dims: usize,
}

impl Rows {
    /// Rows of `dims` values each, one after another.
    ///
    /// # Panics
    ///
    /// When `dims` is 0 or the values do not make whole rows.
    pub fn new(values: Vec<f32>, dims: usize) -> Rows {
        assert!(dims > 0 && values.len().is_multiple_of(dims), "{} values in rows of {dims}", values.len());
        Rows { values, dims }
    }

    /// The rows of a tensor, `[rows, values]`.
    pub fn of_tensor(tensor: Tensor<2>) -> Rows {
        let dims = tensor.dims()[1];
        Rows::new(tensor.into_data().iter::<f32>().collect(), dims)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dims
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Values in a row.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// One row.
    ///
    /// # Panics
    ///
    /// When `index` is not below the number of rows.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dims..(index + 1) * self.dims]
    }

    /// All rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dims)
    }

    /// The rows at `indices`.
    ///
    /// # Panics
    ///
    /// When an index is not below the number of rows.
    pub fn select(&self, indices: &[usize]) -> Rows {
        Rows::new(indices.iter().flat_map(|&index| self.row(index)).copied().collect(), self.dims)
    }

    /// Adds the rows of `other` behind these.
    ///
    /// # Panics
    ///
    /// When their rows are of another length.
    pub fn extend(&mut self, other: &Rows) {
        assert_eq!(self.dims, other.dims, "rows of another length");
        self.values.extend_from_slice(&other.values);
    }

    /// The rows as a tensor on the CPU, `[rows, values]`.
    pub fn tensor(&self) -> Tensor<2> {
        Tensor::from_data(TensorData::new(self.values.clone(), [self.len(), self.dims]), &Device::flex())
    }

    /// The mean of each value.
    ///
    /// # Panics
    ///
    /// When there are no rows.
    pub fn means(&self) -> Vec<f64> {
        assert!(!self.is_empty(), "the mean of no rows");
        let mut sums = vec![0.0; self.dims];
        for row in self.iter() {
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        sums.iter().map(|sum| sum / self.len() as f64).collect()
    }

    /// The variance of each value (divided by the number of rows) around `means`.
    ///
    /// # Panics
    ///
    /// When there are no rows.
    pub fn variances(&self, means: &[f64]) -> Vec<f64> {
        assert!(!self.is_empty(), "the variance of no rows");
        let mut sums = vec![0.0; self.dims];
        for row in self.iter() {
            for ((sum, &value), mean) in sums.iter_mut().zip(row).zip(means) {
                *sum += (f64::from(value) - mean).powi(2);
            }
        }
        sums.iter().map(|sum| sum / self.len() as f64).collect()
    }
}

/// Brings each value to mean 0 and deviation 1 by the statistics of given rows. A value that is the same in all of them becomes 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardizer {
    /// What is taken away from each value, as exact 32-bit floats.
    pub means: Vec<f64>,
    /// What each value is then multiplied by, likewise; 0 for a value that does not vary.
    pub scales: Vec<f64>,
}

impl Standardizer {
    /// That of `rows`.
    ///
    /// # Panics
    ///
    /// When there are no rows.
    pub fn of(rows: &Rows) -> Standardizer {
        let means = rows.means();
        let scale = |(variance, mean): (f64, &f64)| {
            // What is only rounding is no variation.
            let deviation = variance.sqrt();
            if deviation > 1e-6 * mean.abs().max(1e-6) { to_f32(1.0 / deviation) } else { 0.0 }
        };
        let scales = rows.variances(&means).into_iter().zip(&means).map(scale).collect();
        Standardizer { means: means.into_iter().map(to_f32).collect(), scales }
    }

    /// The same, but a value that varies less than `part` of the one that varies most is not stretched more than if it varied that
    /// much: what hardly varies, such as a latent dimension that is not used, is mostly noise.
    pub fn gentle(self, part: f64) -> Standardizer {
        let least = self.scales.iter().copied().filter(|&scale| scale > 0.0).fold(f64::INFINITY, f64::min);
        let scales = self.scales.iter().map(|&scale| scale.min(to_f32(least / part))).collect();
        Standardizer { scales, ..self }
    }

    /// The rows in the common scale.
    ///
    /// # Panics
    ///
    /// When they are not as long as those that it was made from.
    pub fn apply(&self, rows: &Rows) -> Rows {
        assert_eq!(rows.dims(), self.means.len(), "rows of another length");
        let scaled = |row: &[f32]| {
            let values = row.iter().zip(&self.means).zip(&self.scales);
            values.map(|((&x, mean), scale)| ((f64::from(x) - mean) * scale) as f32).collect::<Vec<_>>()
        };
        Rows::new(rows.iter().flat_map(scaled).collect(), rows.dims())
    }
}

/// The nearest value that can be saved as a 32-bit float.
pub(super) fn to_f32(value: f64) -> f64 {
    f64::from(value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardised_rows_have_mean_0_and_deviation_1_and_constants_become_0() {
        let rows = Rows::new(vec![1.0, 7.0, 3.0, 7.0, 5.0, 7.0], 2);
        let standard = Standardizer::of(&rows).apply(&rows);
        let root = 1.5_f32.sqrt();
        for (row, expected) in standard.iter().zip([-root, 0.0, root]) {
            assert!((row[0] - expected).abs() < 1e-6 && row[1] == 0.0, "{row:?}");
        }
        assert_eq!(rows.select(&[2, 0]).row(0), [5.0, 7.0]);
    }

    #[test]
    fn what_hardly_varies_is_not_stretched_to_the_full_scale() {
        // Deviations 100, 50 and 1.
        let rows = Rows::new(vec![-100.0, -50.0, -1.0, 100.0, 50.0, 1.0], 3);
        let gentle = Standardizer::of(&rows).gentle(0.1).apply(&rows);
        assert!(gentle.row(1).iter().zip([1.0, 1.0, 0.1]).all(|(a, b)| (a - b).abs() < 1e-6), "{gentle:?}");
    }
}
