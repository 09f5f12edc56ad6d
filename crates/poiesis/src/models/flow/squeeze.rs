//! Sides become channels, and checkerboards (Dinh et al. 2016, arXiv:1605.08803, §3.4 and §3.6).

use burn::tensor::{Device, Tensor, TensorData};

/// Each block of 2×2 pixels becomes one pixel with four times the channels: those of the upper two pixels, then those of the lower two.
///
/// # Shapes
///
/// `[batch, height, width, channels]` to `[batch, height / 2, width / 2, 4 · channels]`.
///
/// # Panics
///
/// When a side is odd.
pub(super) fn squeeze(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    assert!(height % 2 == 0 && width % 2 == 0, "a squeeze of {height}×{width}");
    let blocks = x.reshape([batch, height / 2, 2, width / 2, 2, channels]).permute([0, 1, 3, 2, 4, 5]);
    blocks.reshape([batch, height / 2, width / 2, 4 * channels])
}

/// The inverse of [`squeeze`].
///
/// # Panics
///
/// When 4 does not divide the channels.
pub(super) fn unsqueeze(y: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = y.dims();
    assert!(channels % 4 == 0, "{channels} channels are not those of 2×2 pixels");
    let blocks = y.reshape([batch, height, width, 2, 2, channels / 4]).permute([0, 1, 3, 2, 4, 5]);
    blocks.reshape([batch, 2 * height, 2 * width, channels / 4])
}

/// The first half of the channels and the others, which are one more where the number is odd.
pub(super) fn halves(x: Tensor<4>) -> [Tensor<4>; 2] {
    let channels = x.dims()[3];
    [x.clone().narrow(3, 0, channels / 2), x.narrow(3, channels / 2, channels - channels / 2)]
}

/// 1 where row plus column has the parity of `odd`, else 0: `[1, height, width, 1]`.
pub(super) fn checkerboard([height, width]: [usize; 2], odd: bool, device: &Device) -> Tensor<4> {
    let row = |row: usize| (0..width).map(move |column| f32::from(((row + column) % 2 == 1) == odd));
    let values = (0..height).flat_map(row).collect::<Vec<f32>>();
    Tensor::from_data(TensorData::new(values, [1, height, width, 1]), device)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{expect_inverse, noise};
    use super::*;

    fn values(x: Tensor<4>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    #[test]
    fn pixels_of_a_block_become_channels_and_pixels_again() {
        let device = Device::flex();
        let x =
            Tensor::from_data(TensorData::new((0..16).map(|i| i as f32).collect(), [1, 2, 4, 2]), &device);
        let y = squeeze(x);
        assert_eq!(y.dims(), [1, 1, 2, 8]);
        assert_eq!(
            values(y),
            [0.0, 1.0, 2.0, 3.0, 8.0, 9.0, 10.0, 11.0, 4.0, 5.0, 6.0, 7.0, 12.0, 13.0, 14.0, 15.0]
        );
        expect_inverse(noise([2, 4, 6, 3], 1, &device), squeeze, unsqueeze);
    }

    #[test]
    fn a_checkerboard_alternates_and_its_opposite_is_the_rest() {
        let device = Device::flex();
        let even = checkerboard([2, 3], false, &device);
        assert_eq!(values(even.clone()), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(values(even + checkerboard([2, 3], true, &device)), [1.0; 6]);
    }
}
