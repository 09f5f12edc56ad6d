//! Edits images along a direction of latents. The difference that a step in the latents makes to what the model decodes is added to the
//! image itself, so that what the model does not describe stays as it is.

use burn::tensor::Device;

use super::attribute::Along;
use super::encode::decode_values;
use crate::abilities::{Latents, Prior};
use crate::fitting::Rows;

/// What an edited image is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Render {
    /// The image plus the difference G(z + αn) − G(z), clipped.
    Difference,
    /// G(z + αn) alone.
    Decoded,
}

/// Moves images along a direction by each of `amounts`, in units of [`Along::unit`]: 8-bit pixels, a row of images for each image.
/// `pixels` are the images and `codes` their latents. Values with a uniform prior are kept in [-1, 1].
///
/// An amount of 0 gives the pixels of the image exactly with [`Render::Difference`].
///
/// # Panics
///
/// When there are no images or amounts, not one latent and class for each image, or a length is not that of the model.
#[expect(clippy::too_many_arguments, reason = "images come with their latents and classes")]
pub fn edit(
    latents: &dyn Latents,
    pixels: &[u8],
    codes: &Rows,
    classes: &[Option<u32>],
    along: &Along,
    amounts: &[f64],
    render: Render,
    device: &Device,
) -> Vec<u8> {
    let dims = pixels.len() / codes.len();
    assert_eq!(along.direction.len(), codes.dims(), "a direction of another length than the latents");
    let priors = latents.priors();
    let step = |z: &[f32], amount: f64| moved(z, &along.direction, amount * along.unit, &priors);
    // Each image as it is, then its steps.
    let row = |z: &[f32]| {
        let steps = amounts.iter().flat_map(|&amount| step(z, amount));
        z.iter().copied().chain(steps).collect::<Vec<f32>>()
    };
    let all = Rows::new(codes.iter().flat_map(row).collect(), codes.dims());
    let of_row: Vec<_> = classes.iter().flat_map(|&class| vec![class; 1 + amounts.len()]).collect();
    let made = decode_values(latents, &all, &of_row, device);
    assert_eq!(made.dims(), dims, "images of another size than the model's");
    let mut edited = Vec::with_capacity(codes.len() * amounts.len() * dims);
    for (index, image) in pixels.chunks_exact(dims).enumerate() {
        let first = index * (1 + amounts.len());
        for at in 1..=amounts.len() {
            let value = |((&pixel, &from), &to): ((&u8, &f32), &f32)| match render {
                Render::Difference => f32::from(pixel) + 127.5 * (to - from),
                Render::Decoded => 127.5 * (to + 1.0),
            };
            let values = image.iter().zip(made.row(first)).zip(made.row(first + at)).map(value);
            edited.extend(values.map(|value| value.round().clamp(0.0, 255.0) as u8));
        }
    }
    edited
}

/// Latents after a step along a direction.
fn moved(z: &[f32], direction: &[f32], step: f64, priors: &[Prior]) -> Vec<f32> {
    let values = z.iter().zip(direction).zip(priors);
    let value = |((&z, &d), prior): ((&f32, &f32), &Prior)| {
        let moved = (f64::from(z) + step * f64::from(d)) as f32;
        // A code that is outside already stays where it is.
        if *prior == Prior::Uniform { moved.clamp(z.min(-1.0), z.max(1.0)) } else { moved }
    };
    values.map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::attribute::Spread;
    use crate::testing::LinearLatents;

    fn along(direction: Vec<f32>) -> Along {
        let spread = Spread { mean: 0.0, deviation: 1.0 };
        Along { direction, unit: 0.5, with: spread, without: spread, accuracy: 1.0, standard_error: 0.0 }
    }

    #[test]
    fn an_image_changes_by_what_the_model_says_and_an_amount_of_0_changes_nothing() {
        let model = LinearLatents::normal(2, 3);
        let pixels = [100, 150, 200, 7, 255, 0];
        let codes = Rows::new(vec![0.3, -0.4, 9.0, -7.0], 2);
        let moves = |amounts: &[f64], render| {
            let along = along(vec![0.0, 1.0]);
            edit(&model, &pixels, &codes, &[None; 2], &along, amounts, render, &Device::flex())
        };
        assert_eq!(moves(&[0.0], Render::Difference), pixels);
        let found = moves(&[0.0, 0.4, -0.4], Render::Difference);
        // A step of 0.4 × 0.5 in the second value.
        let change = |value: usize| 127.5 * 0.2 * model.weights[3 + value];
        for value in 0..3 {
            let expected =
                |sign: f32| (f32::from(pixels[value]) + sign * change(value)).round().clamp(0.0, 255.0);
            assert_eq!(
                [f32::from(found[3 + value]), f32::from(found[6 + value])],
                [expected(1.0), expected(-1.0)]
            );
        }
        assert_eq!(found[9..12], pixels[3..], "the second row begins with the second image");
        let decoded = moves(&[0.0], Render::Decoded);
        let expected = 127.5 * (1.0 + 0.3 * model.weights[0] - 0.4 * model.weights[3]);
        assert_eq!(f32::from(decoded[0]), expected.round());
    }

    #[test]
    fn uniform_values_stay_in_their_range() {
        let priors = [Prior::Uniform, Prior::Normal, Prior::Uniform];
        assert_eq!(moved(&[0.5, 0.5, 1.5], &[1.0, 1.0, 1.0], 2.0, &priors), [1.0, 2.5, 1.5]);
        assert_eq!(moved(&[0.5, 0.5, 1.5], &[1.0, 1.0, 1.0], -2.0, &priors), [-1.0, -1.5, -0.5]);
    }
}
