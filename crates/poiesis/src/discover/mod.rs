//! Shows what a model has learned: one file per verb, each written against abilities.
//!
//! A verb that makes a picture returns 8-bit images, concatenated, for a grid.

mod attribute;
mod clusters;
mod codes;
mod directions;
mod embed;
mod factors;
mod interpolate;
mod manifold;
mod neighbors;
mod objects;
mod probe;
mod represent;
mod states;
mod traverse;

pub use attribute::{FEWEST_IMAGES, attribute};
pub use clusters::{ClassAgreement, Cluster, ClusterMethod, ClusterOptions, ImageClusters, clusters};
pub use codes::{CodeGrid, code_grid, codes};
pub use directions::{Direction, DirectionMethod, DirectionOptions, Directions, directions};
pub use embed::{EmbedOptions, Embedded, Map, Represented, embed};
pub use factors::{FactorScores, Factors, FactorsProtocol, factors};
pub use interpolate::{interpolate, interpolate_along};
pub use manifold::manifold;
pub use neighbors::{Neighbors, neighbors};
pub use objects::{objects, with_boxes};
pub use probe::{ProbeCurve, ProbeOptions, ProbePoint, ProbeReport, probe};
pub use states::{States, StatesAxis, StatesOptions, VisitedStates, states};
pub use traverse::{Traversal, traverse};

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::{Dataset, Split, View};

use crate::abilities::Latents;
use crate::data::to_bytes;
use crate::error::{Error, Result};

/// Latents are decoded in batches of this size, to bound memory.
const GROUP: usize = 64;

/// Decodes latents given as rows of values, each with its class.
fn decode_as(latents: &dyn Latents, rows: &[Vec<f32>], classes: &[Option<u32>], device: &Device) -> Vec<u8> {
    let group = |(rows, classes): (&[Vec<f32>], &[Option<u32>])| {
        let data = TensorData::new(rows.concat(), [rows.len(), latents.latent_dim()]);
        to_bytes(latents.decode(Tensor::from_data(data, device), classes))
    };
    rows.chunks(GROUP).zip(classes.chunks(GROUP)).flat_map(group).collect()
}

/// The class of sample `index`: the one asked for, or each in turn, as samples have them.
fn class_of(latents: &dyn Latents, class: Option<u32>, index: u64) -> Option<u32> {
    let count = latents.num_classes() as u64;
    class.or_else(|| (count > 0).then(|| (index % count) as u32))
}

/// Draws one latent as values.
fn latent(latents: &dyn Latents, seed: u64, index: u64, device: &Device) -> Vec<f32> {
    latents.draw(seed, index..index + 1, device).into_data().iter::<f32>().collect()
}

/// The images of the requested split, or of the held-out one.
fn held_out(dataset: &Dataset, wanted: Option<Split>) -> Result<(Split, View)> {
    if let Some(split) = wanted {
        return Ok((split, dataset.require(split)?));
    }
    let found =
        [Split::Test, Split::Validation].into_iter().find_map(|split| Some((split, dataset.split(split)?)));
    found.ok_or_else(|| Error::NothingHeldOut { data: dataset.card().name.clone() })
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::abilities::{LatentPart, Prior};

    /// Two values of noise, a code of three categories and a uniform one; its images are the scaled latents, in grey levels.
    pub(super) struct Codes {
        pub(super) scale: f64,
    }

    impl Latents for Codes {
        fn parts(&self) -> Vec<LatentPart> {
            let part = |name: &str, size, prior| LatentPart { name: name.into(), size, prior };
            vec![
                part("z", 2, Prior::Normal),
                part("c1", 3, Prior::Categorical),
                part("c2", 1, Prior::Uniform),
            ]
        }

        fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
            latents * self.scale
        }
    }
}
