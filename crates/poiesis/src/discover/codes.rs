//! Codes of a latent in the layout of InfoGAN's paper (Chen et al. 2016, Figure 2): the columns go through a code, and each row is another
//! sample.

use burn::tensor::Device;
use serde::Serialize;

use super::{class_of, decode_as, latent};
use crate::abilities::{LatentPart, Latents, Prior};
use crate::error::{Error, Result};

/// Continuous codes go this far to both sides, twice as far as in training, as in the paper.
const REACH: f32 = 2.0;

/// Images in which one code changes from column to column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CodeGrid {
    /// The code's name, such as `c1`.
    pub code: String,
    /// The value of each column: the number of a category, or a value of a continuous code.
    pub columns: Vec<f32>,
    /// The category of the first categorical code in each row, where it does not change from column to column.
    pub categories: Option<Vec<usize>>,
    /// 8-bit images, row by row.
    #[serde(skip)]
    pub images: Vec<u8>,
}

/// The codes of a latent: its categorical parts, and continuous ones of a single value.
pub fn codes(latents: &dyn Latents) -> Vec<LatentPart> {
    latents.parts().into_iter().filter(is_code).collect()
}

fn is_code(part: &LatentPart) -> bool {
    part.prior == Prior::Categorical || part.size == 1
}

/// Changes the code called `code` from column to column: a categorical one goes through its categories in `rows` samples of `seed`, a
/// continuous one from −2 to 2 in `steps` steps. The rows of a continuous code go through the categories of the first categorical code, if
/// there is one.
///
/// # Errors
///
/// [`Error::UnknownName`] when the latents have no such code.
///
/// # Panics
///
/// When `steps` is below 2.
pub fn code_grid(
    latents: &dyn Latents,
    code: &str,
    seed: u64,
    rows: usize,
    steps: usize,
    device: &Device,
) -> Result<CodeGrid> {
    assert!(steps >= 2, "a code goes from one end to the other, not in {steps} steps");
    let mut places = Vec::new();
    let mut first = 0;
    for part in latents.parts() {
        places.push((first, part.clone()));
        first += part.size;
    }
    let found = places.iter().find(|(_, part)| part.name == code && is_code(part));
    let Some((at, part)) = found else {
        let known = codes(latents);
        return Err(Error::unknown("code", code, known.iter().map(|part| part.name.as_str())));
    };
    let categorical = places.iter().find(|(_, part)| part.prior == Prior::Categorical);
    let is_categorical = part.prior == Prior::Categorical;
    let columns: Vec<f32> = match is_categorical {
        true => (0..part.size).map(|category| category as f32).collect(),
        false => (0..steps).map(|step| REACH * (2.0 * step as f32 / (steps - 1) as f32 - 1.0)).collect(),
    };
    let fixed = categorical.filter(|_| !is_categorical);
    let mut all = Vec::new();
    for row in 0..rows {
        let mut base = latent(latents, seed, row as u64, device);
        if let Some((first, part)) = fixed {
            choose(&mut base[*first..first + part.size], row % part.size);
        }
        for &value in &columns {
            let mut moved = base.clone();
            match is_categorical {
                true => choose(&mut moved[*at..at + part.size], value as usize),
                false => moved[*at] = value,
            }
            all.push(moved);
        }
    }
    let categories = fixed.map(|(_, part)| (0..rows).map(|row| row % part.size).collect());
    let class = |place: usize| class_of(latents, None, (place / columns.len()) as u64);
    let classes: Vec<_> = (0..all.len()).map(class).collect();
    let images = decode_as(latents, &all, &classes, device);
    Ok(CodeGrid { code: code.to_owned(), columns, categories, images })
}

/// Makes a categorical part one category.
fn choose(part: &mut [f32], category: usize) {
    part.fill(0.0);
    part[category] = 1.0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::testing::Codes;

    /// Its images are the latents halved, so that codes of ±2 fit.
    const HALVES: Codes = Codes { scale: 0.5 };

    #[test]
    fn a_categorical_code_has_a_column_for_each_category_and_a_row_for_each_sample() {
        let found = code_grid(&HALVES, "c1", 1, 4, 9, &Device::flex()).unwrap();
        assert_eq!((found.columns, found.categories), (vec![0.0, 1.0, 2.0], None));
        let images: Vec<&[u8]> = found.images.chunks(6).collect();
        assert_eq!(images.len(), 4 * 3);
        for (at, image) in images.iter().enumerate() {
            // 0 is grey level 128 and ½ is 191.
            let expected = [0, 1, 2].map(|category| if category == at % 3 { 191 } else { 128 });
            assert_eq!(image[2..5], expected);
            assert_eq!(image[..2], images[at / 3 * 3][..2], "the noise stays in a row");
        }
        assert_ne!(images[0][..2], images[3][..2], "another row has other noise");
    }

    #[test]
    fn a_continuous_code_goes_from_minus_2_to_2_with_a_category_in_each_row() {
        let found = code_grid(&HALVES, "c2", 1, 5, 3, &Device::flex()).unwrap();
        assert_eq!((found.columns, found.categories), (vec![-2.0, 0.0, 2.0], Some(vec![0, 1, 2, 0, 1])));
        let images: Vec<&[u8]> = found.images.chunks(6).collect();
        assert_eq!([images[0], images[1], images[2]].map(|image| image[5]), [0, 128, 255]);
        assert_eq!([images[0], images[3], images[6]].map(|image| image[2]), [191, 128, 128]);
        let error = code_grid(&HALVES, "z", 1, 5, 3, &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("`z`"));
    }
}
