//! The discriminator's features: each layer's, max-pooled to 4×4 and flattened, one after another (§5.1).

use burn::tensor::Tensor;

use super::{Dcgan, Discriminator, LEAK};
use crate::abilities::Features;
use crate::nn::{Activation, Mode, activate, flatten};

/// Rows and columns that the maps of features are pooled to.
const CELLS: usize = 4;

impl Features for Dcgan {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.discriminator.features(images)
    }
}

impl Discriminator {
    fn features(&self, x: Tensor<4>) -> Tensor<2> {
        let leaky = Activation::LeakyRelu(LEAK);
        let mut h = activate(self.input.forward(x), leaky);
        let mut all = vec![flatten(max_pooled(&h))];
        for down in &self.down {
            h = down.norm.forward(down.conv.forward(h), leaky, Mode::Eval);
            all.push(flatten(max_pooled(&h)));
        }
        Tensor::cat(all, 1)
    }
}

/// The largest value of each feature in each of 4×4 cells, `[batch, 4, 4, features]`. Where sides do not divide evenly, cells overlap.
fn max_pooled(maps: &Tensor<4>) -> Tensor<4> {
    let [_, height, width, _] = maps.dims();
    let cells = |side: usize| (0..CELLS).map(move |i| (i * side / CELLS, ((i + 1) * side).div_ceil(CELLS)));
    let row = |(top, bottom): (usize, usize)| {
        let rows = maps.clone().narrow(1, top, bottom - top).max_dim(1);
        let cell = |(left, right): (usize, usize)| rows.clone().narrow(2, left, right - left).max_dim(2);
        Tensor::cat(cells(width).map(cell).collect(), 2)
    };
    Tensor::cat(cells(height).map(row).collect(), 1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn maps_are_pooled_to_the_largest_values_of_16_cells() {
        // 7 rows of 6 columns, whose values rise from left to right and from top to bottom.
        let values: Vec<f32> = (0..42).map(|i| i as f32).collect();
        let maps = Tensor::from_data(TensorData::new(values, [1, 7, 6, 1]), &Device::flex());
        let pooled = max_pooled(&maps);
        assert_eq!(pooled.dims(), [1, 4, 4, 1]);
        // Cells end before rows 2, 4, 6 and 7, and before columns 2, 3, 5 and 6.
        let corner = |row: usize, column: usize| (6 * (row - 1) + column - 1) as f32;
        let expected: Vec<f32> =
            [2, 4, 6, 7].iter().flat_map(|&row| [2, 3, 5, 6].map(|column| corner(row, column))).collect();
        assert_eq!(pooled.into_data().iter::<f32>().collect::<Vec<_>>(), expected);
    }
}
