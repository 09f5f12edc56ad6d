//! Generates examples: the one way to sample, complete and continue them, for every kind of data and every model.

mod episodes;
mod request;
mod steps;
mod writer;

use std::ops::{ControlFlow, Range};

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use episodes::{EpisodeSink, EpisodesRequest, LONGEST, PlayedEpisode, Player, Playing, episodes};
pub use request::{Condition, Request, Turns};
pub use steps::{StepsSink, steps};
pub use writer::Writer;

pub use crate::abilities::SamplingParams;
use crate::abilities::{Abilities, Accepts, Autoregressive, Draws, Latents, OnStep, Prior, Sampler};
use crate::data::DataSpec;
use crate::error::Result;
use crate::media::{Codec, Media};

/// Samplers and latents compute examples in batches of this size, the last one included, so that the bytes of an example
/// do not depend on how many are requested.
const GROUP: u64 = 16;

/// Draws the images of `seed` with the numbers `indices`: 8-bit, concatenated.
///
/// # Errors
///
/// Those of [`generate`].
pub fn images(
    abilities: &Abilities,
    spec: &DataSpec,
    device: &Device,
    seed: u64,
    indices: Range<u64>,
) -> Result<Vec<u8>> {
    let request =
        Request { seed, first: indices.start, count: indices.end - indices.start, ..Request::default() };
    let mut bytes = Vec::new();
    generate(abilities, spec, device, &request, &mut |_, chunk| {
        if let Chunk::Whole(Media::Image(picture)) = chunk {
            bytes.extend_from_slice(picture.data());
        }
        ControlFlow::Continue(())
    })?;
    Ok(bytes)
}

/// Something that was generated, or how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chunk {
    /// How far a sampler has come with this example, and with those that are computed in the same batch.
    Progress {
        /// Steps of the sampler, or values of the example.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// The next part of an example that is generated piece by piece.
    Part(Media),
    /// A whole example.
    Whole(Media),
}

/// Receives each piece as soon as it is generated, with the number of its example; it can stop the generation, even before the first
/// example is complete.
pub type Sink<'s> = dyn FnMut(u64, Chunk) -> ControlFlow<()> + 's;

/// How a model generates.
enum Way<'a> {
    Sampler(&'a dyn Sampler),
    Latents(&'a dyn Latents),
    Autoregressive(&'a dyn Autoregressive),
}

impl<'a> Way<'a> {
    /// Its own sampler, else by latents, else value by value.
    fn of(abilities: &Abilities<'a>) -> Option<Way<'a>> {
        let sampler = abilities.sampler.map(Way::Sampler);
        let latents = || abilities.latents.map(Way::Latents);
        let autoregressive = || abilities.autoregressive.map(Way::Autoregressive);
        sampler.or_else(latents).or_else(autoregressive)
    }

    fn accepts(&self, codec: &Codec) -> Accepts {
        match self {
            Way::Sampler(sampler) => sampler.accepts(),
            Way::Latents(latents) => Accepts {
                class: latents.num_classes() > 0,
                temperature: latents.priors().iter().all(|&prior| prior == Prior::Normal),
                ..Accepts::default()
            },
            Way::Autoregressive(model) => codec.accepts(model.num_classes() > 0),
        }
    }

    /// What takes turns where no class is named, for data of `spec`.
    fn turns(&self, spec: &DataSpec) -> Turns {
        match self {
            Way::Sampler(sampler) if sampler.accepts().class => Turns::of_classes(spec.classes),
            Way::Sampler(_) => Turns::default(),
            Way::Latents(latents) => Turns::of_classes(latents.num_classes()),
            Way::Autoregressive(model) => {
                Turns { classes: model.num_classes(), no_class: model.knows_no_class() }
            }
        }
    }
}

/// Whether a model can generate at all.
pub fn can_generate(abilities: &Abilities) -> bool {
    Way::of(abilities).is_some()
}

/// What takes turns where a request to a model for data of `spec` names no class; nothing where it cannot name one.
pub fn turns(abilities: &Abilities, spec: &DataSpec) -> Turns {
    let codec = Codec::new(spec, abilities.autoregressive);
    let way = Way::of(abilities).filter(|way| way.accepts(&codec).class);
    way.map_or(Turns::default(), |way| way.turns(spec))
}

/// How many classes a model for data of `spec` is conditioned on; 0 where a request cannot have a class.
pub fn num_classes(abilities: &Abilities, spec: &DataSpec) -> usize {
    turns(abilities, spec).classes
}

/// How many rows a sheet of the images of `request` has that has one for each of `turns`: as many as there are, where none is named and
/// each has at least two images; else `None`.
pub fn rows_by_class(turns: usize, request: &Request) -> Option<usize> {
    let in_turn = request.takes_turns() && turns > 1;
    (in_turn && request.count >= 2 * turns as u64).then_some(turns)
}

/// Generates the examples that `request` asks for, in the order of their numbers, and passes them to `sink`. Example *i*
/// of a seed depends on `(seed, i)` and the request's condition alone, not on the number of examples or the size of a
/// batch. Memory does not grow with the number of examples.
///
/// A model that cannot generate produces nothing; see [`can_generate`].
///
/// # Errors
///
/// [`crate::Error::NotAccepted`] when the model does not accept something in the request; [`crate::Error::InvalidValue`] for an invalid
/// value, such as a class that the model does not know; [`crate::Error::Data`] when a prompt cannot be encoded.
pub fn generate(
    abilities: &Abilities,
    spec: &DataSpec,
    device: &Device,
    request: &Request,
    sink: &mut Sink,
) -> Result<()> {
    let codec = Codec::new(spec, abilities.autoregressive);
    let Some(way) = Way::of(abilities) else { return Ok(()) };
    let turns = way.turns(spec);
    request.check(&way.accepts(&codec), turns, &codec)?;
    let Request { seed, params, .. } = *request;
    match way {
        Way::Sampler(sampler) => {
            in_groups(request, turns, &codec, sink, |indices, classes, on_step| {
                sampler.sample(&Draws { seed, indices, classes, params, device }, on_step)
            });
        }
        Way::Latents(latents) => {
            in_groups(request, turns, &codec, sink, |indices, classes, _| {
                let draws = Draws { seed, indices, classes, params, device };
                ControlFlow::Continue(latents.decode(draws.latents(latents), classes))
            });
        }
        Way::Autoregressive(model) => value_by_value(model, request, turns, &codec, sink)?,
    }
    Ok(())
}

/// Generates examples in whole batches, and passes on those that were requested.
fn in_groups(
    request: &Request,
    turns: Turns,
    codec: &Codec,
    sink: &mut Sink,
    draw: impl Fn(Range<u64>, &[Option<u32>], &mut OnStep<'_>) -> ControlFlow<(), Tensor<2>>,
) {
    let wanted = request.indices();
    for (indices, classes) in groups(request, turns) {
        let mut on_step =
            |done, total| sink(wanted.start.max(indices.start), Chunk::Progress { done, total });
        let ControlFlow::Continue(values) = draw(indices.clone(), &classes, &mut on_step) else { return };
        for (index, media) in indices.zip(media_of(values, codec)) {
            if wanted.contains(&index) && sink(index, Chunk::Whole(media)).is_break() {
                return;
            }
        }
    }
}

/// The whole batches that the examples of a request are computed in, and the class of each example.
fn groups(request: &Request, turns: Turns) -> impl Iterator<Item = (Range<u64>, Vec<Option<u32>>)> {
    let Range { start, end } = request.indices();
    (start / GROUP..end.div_ceil(GROUP)).map(move |group| {
        let indices = group * GROUP..(group + 1) * GROUP;
        let classes = indices.clone().map(|index| request.class_of(index, turns)).collect();
        (indices, classes)
    })
}

/// The examples of `[batch, values]`.
fn media_of(values: Tensor<2>, codec: &Codec) -> Vec<Media> {
    let width = values.dims()[1];
    let values: Vec<f32> = values.into_data().iter::<f32>().collect();
    values.chunks_exact(width).map(|row| codec.media_of(row)).collect()
}

/// Generates examples value by value, `request.batch_size` in parallel.
fn value_by_value(
    model: &dyn Autoregressive,
    request: &Request,
    turns: Turns,
    codec: &Codec,
    sink: &mut Sink,
) -> Result<()> {
    let prompt = request.condition.prompt.as_ref().map(|prompt| codec.values(prompt)).transpose()?;
    let prompt = prompt.filter(|values| !values.is_empty()).unwrap_or_else(|| codec.start_values());
    let kept = request.condition.keep.as_ref().map(|keep| codec.kept_values(keep));
    let Range { start, end } = request.indices();
    let mut first = start;
    while first < end {
        let indices = first..end.min(first.saturating_add(request.batch_size.max(1) as u64));
        first = indices.end;
        let classes: Vec<Option<u32>> = indices.clone().map(|index| request.class_of(index, turns)).collect();
        let mut writer = Writer::new(model, request.seed, indices.clone(), &classes, request.params);
        writer.read(&prompt);
        let mut group = Group::new(indices.clone());
        let length = codec.num_values(request.max_len);
        if group.hand_over_prompt(request.condition.prompt.as_ref(), sink).is_break() {
            return Ok(());
        }
        for place in 0..length {
            let kept = kept.as_ref().and_then(|kept| kept[place]);
            let known: Vec<Option<u32>> = group
                .ended
                .iter()
                .map(|&ended| if ended { Some(codec.filler(place)) } else { kept })
                .collect();
            let values = writer.next(&known);
            if group.take(&values, place, codec, sink).is_break() {
                return Ok(());
            }
            let progress = Chunk::Progress { done: place + 1, total: length };
            if !codec.comes_in_parts() && sink(indices.start, progress).is_break() {
                return Ok(());
            }
            if group.ended.iter().all(|&ended| ended) {
                break;
            }
        }
        for (index, values) in indices.zip(&group.values) {
            let media =
                codec.media(values, request.condition.prompt.as_ref(), request.condition.keep.as_ref());
            if sink(index, Chunk::Whole(media)).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Examples that are generated in parallel.
struct Group {
    indices: Range<u64>,
    /// The values generated so far, without the prompt.
    values: Vec<Vec<u32>>,
    ended: Vec<bool>,
}

impl Group {
    fn new(indices: Range<u64>) -> Group {
        let count = (indices.end - indices.start) as usize;
        Group { indices, values: vec![Vec::new(); count], ended: vec![false; count] }
    }

    fn hand_over_prompt(&self, prompt: Option<&Media>, sink: &mut Sink) -> ControlFlow<()> {
        let Some(prompt) = prompt else { return ControlFlow::Continue(()) };
        self.indices.clone().try_for_each(|index| sink(index, Chunk::Part(prompt.clone())))
    }

    /// Takes the values at `place`, and passes on what they complete.
    fn take(&mut self, values: &[u32], place: usize, codec: &Codec, sink: &mut Sink) -> ControlFlow<()> {
        for (row, &value) in values.iter().enumerate() {
            if self.ended[row] {
                continue;
            }
            if codec.ends(value, place) {
                self.ended[row] = true;
                continue;
            }
            self.values[row].push(value);
            if let Some(part) = codec.part(&self.values[row]) {
                sink(self.indices.start + row as u64, Chunk::Part(part))?;
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
