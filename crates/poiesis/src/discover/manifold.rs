//! The manifold of two latent values: the examples of a grid over the prior (Kingma and Welling 2013, Figure 4).

use burn::tensor::Device;

use super::decode_as;
use crate::abilities::{Latents, Prior};
use crate::error::{Error, Result};

/// Decodes a grid of `steps` × `steps` latents, each value going through the quantiles of its prior in the middle of equal steps, so that
/// every image stands for the same probability: the first from left to right, the second from the bottom to the top. Of a model that is
/// conditioned on classes, all images are of `class`, or of the first. 8-bit images, row by row.
///
/// # Errors
///
/// [`Error::InvalidValue`] when the latents are not exactly two values with normal or uniform priors.
///
/// # Panics
///
/// When there are no steps, or the model knows no such class.
pub fn manifold(latents: &dyn Latents, steps: usize, class: Option<u32>, device: &Device) -> Result<Vec<u8>> {
    assert!(steps > 0, "a grid of no images");
    let priors = latents.priors();
    let [first, second] = priors.as_slice() else {
        let remedy = "train a model with latent_dim=2, or use a traversal or a map";
        let value = format!("{} values", priors.len());
        return Err(Error::invalid_value("latents", &value, "a plane has two", remedy));
    };
    if priors.contains(&Prior::Categorical) {
        let reason = "categories have no values in between";
        return Err(Error::invalid_value("latents", "categories", reason, "use a traversal of codes"));
    }
    if priors.contains(&Prior::Learned) {
        let reason = "values of a learned prior depend on each other, so they have no quantiles of their own";
        return Err(Error::invalid_value("latents", "a learned prior", reason, "use a traversal or a map"));
    }
    let value = |prior: Prior, step: usize| {
        let part = (step as f64 + 0.5) / steps as f64;
        (if prior == Prior::Normal { normal_quantile(part) } else { 2.0 * part - 1.0 }) as f32
    };
    let row = |row: usize| {
        (0..steps).map(move |column| vec![value(*first, column), value(*second, steps - 1 - row)])
    };
    let grid: Vec<Vec<f32>> = (0..steps).flat_map(row).collect();
    let class = class.or_else(|| (latents.num_classes() > 0).then_some(0));
    Ok(decode_as(latents, &grid, &vec![class; grid.len()], device))
}

/// The value below which a standard normal number lies with this probability, to 4.5 · 10⁻⁴ (Abramowitz and Stegun 1964, 26.2.23).
fn normal_quantile(probability: f64) -> f64 {
    let tail = probability.min(1.0 - probability);
    let t = (-2.0 * tail.ln()).sqrt();
    let numerator = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let denominator = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    (t - numerator / denominator).copysign(probability - 0.5)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::abilities::LatentPart;
    use crate::discover::testing::Codes;

    /// Its examples are the latents, a quarter of them.
    struct Plane([Prior; 2]);

    impl Latents for Plane {
        fn parts(&self) -> Vec<LatentPart> {
            let part = |&prior: &Prior| LatentPart { name: "z".into(), size: 1, prior };
            self.0.iter().map(part).collect()
        }

        fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
            latents * 0.25
        }
    }

    #[test]
    fn quantiles_are_those_of_tables() {
        for (probability, quantile) in [(0.5, 0.0), (0.975, 1.959_964), (0.01, -2.326_348), (0.75, 0.674_49)]
        {
            assert!((normal_quantile(probability) - quantile).abs() < 4.5e-4, "{probability}");
        }
    }

    #[test]
    fn the_grid_goes_through_both_values_from_the_bottom_left() {
        let found = manifold(&Plane([Prior::Normal, Prior::Uniform]), 3, None, &Device::flex()).unwrap();
        let byte = |z: f64| ((z / 4.0 + 1.0) * 127.5).round() as u8;
        // Quantiles of 1/6, 1/2 and 5/6.
        let (across, up) = ([-0.9674, 0.0, 0.9674].map(byte), [-2.0 / 3.0, 0.0, 2.0 / 3.0].map(byte));
        let expected: Vec<u8> =
            [2, 1, 0].iter().flat_map(|&row| across.map(|x| [x, up[row]])).flatten().collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn more_than_a_plane_is_refused() {
        let error = manifold(&Codes { scale: 1.0 }, 3, None, &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("6 values") && error.hint().unwrap().contains("latent_dim=2"));
        let error = manifold(&Plane([Prior::Learned; 2]), 3, None, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("learned") && error.contains("quantiles"), "{error}");
    }
}
