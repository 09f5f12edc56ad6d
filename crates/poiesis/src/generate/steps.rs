//! Examples after each step in which they are made.

use std::ops::ControlFlow;

use burn::tensor::Device;

use super::{Request, Way, groups, media_of};
use crate::abilities::{Abilities, Draws};
use crate::data::DataSpec;
use crate::error::Result;
use crate::media::{Codec, Media};

/// Receives an example after each of its steps, from the first to the last, with its number; it can stop the generation.
pub type StepsSink<'s> = dyn FnMut(u64, Vec<Media>) -> ControlFlow<()> + 's;

/// Generates the examples that `request` asks for as [`generate`](super::generate) does, and passes each to `sink` as it was after
/// every step; after the last it is the example itself. A model that cannot show its steps produces nothing.
///
/// # Errors
///
/// As [`generate`](super::generate).
pub fn steps(
    abilities: &Abilities,
    spec: &DataSpec,
    device: &Device,
    request: &Request,
    sink: &mut StepsSink,
) -> Result<()> {
    let codec = Codec::new(spec, abilities.autoregressive);
    let (Some(model), Some(way)) = (abilities.steps, Way::of(abilities)) else { return Ok(()) };
    let turns = way.turns(spec);
    request.check(&way.accepts(&codec), turns, &codec)?;
    let Request { seed, params, .. } = *request;
    let wanted = request.indices();
    for (indices, classes) in groups(request, turns) {
        let draws = Draws { seed, indices: indices.clone(), classes: &classes, params, device };
        let mut of_examples = vec![Vec::new(); draws.count()];
        for step in model.steps(&draws) {
            of_examples.iter_mut().zip(media_of(step, &codec)).for_each(|(all, media)| all.push(media));
        }
        for (index, steps) in indices.zip(of_examples) {
            if wanted.contains(&index) && sink(index, steps).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
