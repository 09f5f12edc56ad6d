//! Columns in units of their own, for networks that want values around 0.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};

use super::{Init, values};

/// A fixed map of each column of points to mean 0 and deviation 1, and back. Its arrays are saved with the weights, but they are neither
/// trained nor averaged; see [`is_fixed`](super::is_fixed).
#[derive(Module, Debug)]
pub struct Standardize {
    /// `[columns]`.
    column_mean: Param<Tensor<1>>,
    /// `[columns]`; 0 for a column of one value.
    column_std: Param<Tensor<1>>,
}

impl Standardize {
    /// The identity of so many columns, until [`set`](Standardize::set) is called or weights are loaded.
    pub fn new(columns: usize, init: &mut Init) -> Standardize {
        let [column_mean, column_std] = [0.0, 1.0].map(|value| init.constant([columns], value));
        Standardize { column_mean, column_std }.no_grad()
    }

    /// Takes the mean and the standard deviation of each column, in the units of the data.
    ///
    /// # Panics
    ///
    /// When there are more or fewer than columns.
    pub fn set(&mut self, mean: &[f64], std: &[f64]) {
        for (param, values) in [(&mut self.column_mean, mean), (&mut self.column_std, std)] {
            assert_eq!(param.dims(), [values.len()], "statistics of as many columns");
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            *param = param.clone().map(|old| {
                let shape = old.dims();
                Tensor::from_data(TensorData::new(values, shape), &old.device())
            });
        }
    }

    /// (x − mean) / std. A column of one value is only moved to 0.
    ///
    /// # Shapes
    ///
    /// `[batch, columns]` to the same.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let std = self.column_std.val();
        let divisor = std.clone() + std.equal_elem(0.0).float();
        (x - self.column_mean.val().unsqueeze()) / divisor.unsqueeze()
    }

    /// z with 0 in columns of one value, which have that in what [`forward`](Standardize::forward) gives.
    ///
    /// # Shapes
    ///
    /// `[batch, columns]` to the same.
    pub fn without_constants(&self, z: Tensor<2>) -> Tensor<2> {
        z * self.column_std.val().not_equal_elem(0.0).float().unsqueeze()
    }

    /// The value of each column that has only one.
    pub fn constants(&self) -> Vec<Option<f32>> {
        let [means, stds] = [&self.column_mean, &self.column_std].map(values);
        means.into_iter().zip(stds).map(|(mean, std)| (std == 0.0).then_some(mean)).collect()
    }

    /// z · std + mean: what it makes of a column of one value is that value, whatever z is.
    ///
    /// # Shapes
    ///
    /// `[batch, columns]` to the same.
    pub fn inverse(&self, z: Tensor<2>) -> Tensor<2> {
        z * self.column_std.val().unsqueeze() + self.column_mean.val().unsqueeze()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::{StateDict, is_fixed, num_parameters};

    fn floats(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn columns_get_mean_0_and_deviation_1_and_come_back() {
        let device = Device::flex();
        let mut map = Standardize::new(3, &mut Init::new(1, &device));
        let rows =
            |values: [f32; 6]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 3]), &device);
        let x = rows([180.0, 3e-5, 7.0, 160.0, 1e-5, 7.0]);
        assert_eq!(floats(map.forward(x.clone())), floats(x.clone()), "the identity at first");
        map.set(&[170.0, 2e-5, 7.0], &[10.0, 1e-5, 0.0]);
        let z = map.forward(x.clone());
        (z.clone() - rows([1.0, 1.0, 0.0, -1.0, -1.0, 0.0])).abs().into_data().iter::<f32>().for_each(
            |away| {
                assert!(away < 1e-5, "{away}");
            },
        );
        let again = floats(map.inverse(z));
        for (again, x) in again.iter().zip(floats(x)) {
            assert!((again - x).abs() <= 1e-6 * x, "{again} {x}");
        }
        assert_eq!(map.constants(), [None, None, Some(7.0)]);
        let z = rows([1.0, 2.0, 5.0, -1.0, 0.5, -9.0]);
        assert_eq!(floats(map.without_constants(z)), [1.0, 2.0, 0.0, -1.0, 0.5, 0.0]);
        // A column of one value has it, whatever a network gives.
        assert_eq!(floats(map.inverse(rows([0.0, 0.0, 5.0, 0.0, 0.0, -9.0])).narrow(1, 2, 1)), [7.0; 2]);
    }

    #[test]
    fn its_arrays_are_saved_and_are_no_parameters() {
        let device = Device::flex().autodiff();
        let mut map = Standardize::new(2, &mut Init::new(1, &device));
        map.set(&[5.0, -2.0], &[0.5, 3.0]);
        assert_eq!(num_parameters(&map), 0);
        let saved = StateDict::of(&map);
        assert!(saved.iter().count() == 2 && saved.iter().all(|(name, _)| is_fixed(name)));
        let loaded = saved.load_into(Standardize::new(2, &mut Init::blank(&device))).unwrap();
        let x = Tensor::<2>::ones([1, 2], &device).require_grad();
        let y = loaded.forward(x.clone());
        assert_eq!(floats(y.clone()), [-8.0, 1.0]);
        let gradients = y.sum().backward();
        assert_eq!(floats(x.grad(&gradients).unwrap()), [2.0, 1.0 / 3.0]);
        assert!(loaded.column_mean.val().grad(&gradients).is_none(), "it is not trained");
    }
}
