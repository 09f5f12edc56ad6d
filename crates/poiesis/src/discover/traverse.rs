//! Latent traversal: changes one latent dimension at a time, which shows what it means.

use burn::tensor::Device;

use super::{class_of, decode_as, latent};
use crate::abilities::{Latents, Prior};

/// Images that change along latent dimensions.
#[derive(Clone, Debug)]
pub struct Traversal {
    /// The dimension of each row.
    pub dims: Vec<usize>,
    /// The value of each column, for the prior of the first row; with a learned prior, what is added to the sample's value.
    pub values: Vec<f32>,
    /// How much each row's dimension changes the image: root mean square difference of its ends, in grey levels.
    pub effects: Vec<f64>,
    /// 8-bit images, row by row.
    pub images: Vec<u8>,
}

/// Changes latent dimensions of sample `index` of `seed` over `steps` values.
///
/// The dimensions are `dims`, or, where that is empty, the `rows` that change the image most. Values range over ±2 for a
/// normal prior and over ±1 for a uniform one, and with a learned prior ±2 is added to the sample's value. Of a categorical part, every dimension stands for the whole part, which goes through its
/// categories; the first one is listed. Of a model that is conditioned on classes, all images are of `class`, or of the sample's.
///
/// # Panics
///
/// When `steps` is below 2, a dimension is not below the latent's, or the model knows no such class.
#[expect(clippy::too_many_arguments, reason = "each is one choice of the user")]
pub fn traverse(
    latents: &dyn Latents,
    seed: u64,
    index: u64,
    dims: &[usize],
    rows: usize,
    steps: usize,
    class: Option<u32>,
    device: &Device,
) -> Traversal {
    assert!(steps >= 2, "a traversal has two ends, not {steps}");
    let axes = Axis::all(latents);
    let base = latent(latents, seed, index, device);
    let class = class_of(latents, class, index);
    let decode = |rows: &[Vec<f32>]| decode_as(latents, rows, &vec![class; rows.len()], device);
    let at = |step: usize| step as f32 / (steps - 1) as f32;
    let candidates: Vec<&Axis> = match dims {
        [] => axes.iter().collect(),
        dims => dims.iter().map(|&dim| Axis::of(&axes, dim)).collect(),
    };
    let ends: Vec<Vec<f32>> =
        candidates.iter().flat_map(|axis| [axis.moved(&base, 0.0), axis.moved(&base, 1.0)]).collect();
    let ends = decode(&ends);
    let size = ends.len() / (2 * candidates.len());
    let effect = |pair: &[u8]| {
        let (low, high) = pair.split_at(size);
        let squares = low.iter().zip(high).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        (squares.sum::<f64>() / size as f64).sqrt()
    };
    let mut ranked: Vec<(&Axis, f64)> =
        candidates.into_iter().zip(ends.chunks_exact(2 * size).map(effect)).collect();
    if dims.is_empty() {
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(rows);
    }
    let (axes, effects): (Vec<&Axis>, Vec<f64>) = ranked.into_iter().unzip();
    let rows: Vec<Vec<f32>> =
        axes.iter().flat_map(|axis| (0..steps).map(|step| axis.moved(&base, at(step)))).collect();
    let images = decode(&rows);
    let values =
        axes.first().map_or_else(Vec::new, |axis| (0..steps).map(|step| axis.value(at(step))).collect());
    Traversal { images, dims: axes.iter().map(|axis| axis.first).collect(), values, effects }
}

/// What is changed along a row: a dimension, or all those of a categorical part.
struct Axis {
    first: usize,
    size: usize,
    prior: Prior,
}

impl Axis {
    /// Those of a latent, in order.
    fn all(latents: &dyn Latents) -> Vec<Axis> {
        let (mut axes, mut first) = (Vec::new(), 0);
        for part in latents.parts() {
            let size = if part.prior == Prior::Categorical { part.size } else { 1 };
            for _ in 0..part.size / size {
                axes.push(Axis { first, size, prior: part.prior });
                first += size;
            }
        }
        axes
    }

    /// The one with dimension `dim`.
    fn of(axes: &[Axis], dim: usize) -> &Axis {
        let found = axes.iter().find(|axis| (axis.first..axis.first + axis.size).contains(&dim));
        found.unwrap_or_else(|| panic!("there is no latent dimension {dim}"))
    }

    /// Its value at a place from 0 to 1 on the row; of a categorical part, the number of the category; with a learned prior, what is
    /// added to the latent's own value.
    fn value(&self, place: f32) -> f32 {
        match self.prior {
            Prior::Normal | Prior::Learned => 2.0 * (2.0 * place - 1.0),
            Prior::Uniform => 2.0 * place - 1.0,
            Prior::Categorical => (place * (self.size - 1) as f32).round(),
        }
    }

    /// `latent` with this value.
    fn moved(&self, latent: &[f32], place: f32) -> Vec<f32> {
        let (mut moved, value) = (latent.to_vec(), self.value(place));
        match self.prior {
            Prior::Normal | Prior::Uniform => moved[self.first] = value,
            // Its scale is not known, so the sample itself is in the middle.
            Prior::Learned => moved[self.first] += value,
            Prior::Categorical => {
                moved[self.first..self.first + self.size].fill(0.0);
                moved[self.first + value as usize] = 1.0;
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::testing::Codes;

    const CODES: Codes = Codes { scale: 1.0 };

    #[test]
    fn a_categorical_part_goes_through_its_categories() {
        let codes: &dyn Latents = &CODES;
        let found = traverse(codes, 1, 0, &[4, 5], 0, 3, None, &Device::flex());
        assert_eq!((found.dims, found.values), (vec![2, 5], vec![0.0, 1.0, 2.0]));
        let rows: Vec<&[u8]> = found.images.chunks(6).collect();
        // 0 is grey level 128 and 1 is 255.
        assert_eq!(
            [rows[0], rows[1], rows[2]].map(|row| [row[2], row[3], row[4]]),
            [[255, 128, 128], [128, 255, 128], [128, 128, 255]]
        );
        assert_eq!([rows[3], rows[4], rows[5]].map(|row| row[5]), [0, 128, 255]);
        assert!(rows.iter().all(|row| row[..2] == rows[0][..2]), "the noise stays");
    }

    #[test]
    fn a_categorical_part_is_one_row() {
        let codes: &dyn Latents = &CODES;
        let found = traverse(codes, 1, 0, &[], 9, 2, None, &Device::flex());
        let mut dims = found.dims.clone();
        dims.sort_unstable();
        assert_eq!(dims, [0, 1, 2, 5]);
        assert!(found.effects.is_sorted_by(|a, b| a >= b));
    }
}
