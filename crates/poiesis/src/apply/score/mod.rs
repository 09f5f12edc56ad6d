//! How likely each of some examples is: −log p(x) under a model, or the bound on it, in nats. The higher, the more surprising.
//!
//! Examples of a split of the run's own data get the numbers that `evaluate` averages: the same batches, noise and windows. Every other
//! example is scored by itself: the noise of an image depends on its content, and a text is read from its beginning, so its score is the
//! same whatever else is scored with it. Where the likelihood depends on the class and that of an example is not known, it is scored as a
//! mixture of all classes.

mod examples;
mod mixture;
mod sequences;

use std::f64::consts::LN_2;

use poiesis_collect::View;
use serde::Serialize;

pub use examples::examples_of;
use examples::in_words;
use mixture::of_images_with_classes;
pub use mixture::{Condition, Shares};

use super::anomaly::number_of;
use crate::abilities::{Likelihood, PointLikelihood};
use crate::data::{Content, DataSpec, Examples, ImageShape};
use crate::error::{Error, Result};
use crate::evaluate::{
    ImageSet, POINT_BATCH, Progress, bounds, image_log_probs, mean_and_error, measured_images,
    point_log_probs,
};
use crate::fitting::Rows;
use crate::media::Media;
use crate::trained::Trained;

/// An example to score.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// How it is called, for messages.
    pub name: String,
    /// The name of its class, where it has one.
    pub class: Option<String>,
    /// The example: an image or a sound of the shape that the model reads, a text, or a point.
    pub media: Media,
}

/// How examples are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ScoreProtocol {
    /// Draws for each image of a bound, at least 1.
    pub importance_samples: u64,
    /// Seed of binarisation and noise.
    pub seed: u64,
}

impl Default for ScoreProtocol {
    fn default() -> ScoreProtocol {
        ScoreProtocol { importance_samples: 16, seed: 0 }
    }
}

/// What bits are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A value of an image, or a coordinate of a point.
    Dim,
    /// A character of a text.
    Character,
    /// A sample of sound.
    Sample,
}

impl Unit {
    /// Its name in the singular, as in `bits/dim`.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Dim => "dim",
            Unit::Character => "character",
            Unit::Sample => "sample",
        }
    }

    /// What the examples of a model are measured in.
    fn of(spec: &DataSpec) -> Unit {
        match spec.content {
            Content::Text(_) => Unit::Character,
            Content::Sound(_) => Unit::Sample,
            Content::Images(_) | Content::Points(_) | Content::Experience(_) => Unit::Dim,
        }
    }
}

/// The score of one example.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// −log p(x) in nats, or the negative evidence lower bound; of points −log of a density, which may be negative.
    pub nats: f64,
    /// The importance-weighted bound, which is tighter; `None` where `nats` is exact.
    pub weighted_nats: Option<f64>,
    /// How many dimensions, characters or samples were predicted.
    pub size: u64,
    /// How many tokens were, where the model reads tokens, those at which documents begin included.
    pub tokens: Option<u64>,
    /// How the class of the example entered the score; `None` where the likelihood does not depend on it.
    pub condition: Option<Condition>,
}

impl Score {
    /// `nats` in bits for each dimension, character or sample.
    pub fn bits(&self) -> f64 {
        self.nats / (self.size as f64 * LN_2)
    }
}

/// The scores of some examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Whether the scores are −log p(x) itself. Otherwise they are not below it.
    pub exact: bool,
    /// What bits are counted for.
    pub unit: Unit,
    /// Draws for each image, where the scores are a bound.
    pub importance_samples: Option<u64>,
    /// Tokens in a window, and between the beginnings of two, where the model reads tokens.
    pub window: Option<[u64; 2]>,
    /// Where the shares of classes are from, where a score is that of a mixture.
    pub shares: Option<Shares>,
    /// That of each example, in order.
    pub scores: Vec<Score>,
}

impl Scores {
    /// The mean of the scores in nats for each example, and its standard error, which one example does not have; `None` without any.
    pub fn mean(&self) -> Option<(f64, Option<f64>)> {
        let nats: Vec<f64> = self.scores.iter().map(|score| score.nats).collect();
        (!nats.is_empty()).then(|| mean_and_error(&nats))
    }

    /// All nats for each token, where the model reads tokens.
    pub fn per_token(&self) -> Option<f64> {
        let tokens: u64 = self.scores.iter().map(|score| score.tokens).sum::<Option<u64>>()?;
        (tokens > 0).then(|| self.nats() / tokens as f64)
    }

    /// All nats in bits for each dimension, character or sample.
    pub fn bits(&self) -> f64 {
        self.nats() / (self.scores.iter().map(|score| score.size).sum::<u64>() as f64 * LN_2)
    }

    /// How many examples were scored in this way.
    pub fn count(&self, condition: Condition) -> usize {
        self.scores.iter().filter(|score| score.condition == Some(condition)).count()
    }

    fn nats(&self) -> f64 {
        self.scores.iter().map(|score| score.nats).sum()
    }
}

/// The score of one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenScore {
    /// Where it stands in its document, from 0; `None` for the token at which the document begins.
    pub place: Option<u64>,
    /// Its number; see [`token_text`].
    pub token: u32,
    /// −log p in nats, given the tokens before it.
    pub nats: f64,
}

/// Receives the number of an example, and each of its tokens in order.
pub type TokenSink<'a> = dyn FnMut(usize, TokenScore) + 'a;

/// What a token stands for: a piece of text, else its number, which is the level of a sample or of a value. Where a piece is no whole
/// character, it is replaced. Empty for a token at which documents begin.
pub fn token_text(spec: &DataSpec, token: &TokenScore) -> String {
    match (&spec.content, token.place) {
        (_, None) => String::new(),
        (Content::Text(text), _) => {
            String::from_utf8_lossy(&text.vocabulary.decode(&[token.token])).into_owned()
        }
        _ => token.token.to_string(),
    }
}

/// Whether the likelihood of a model depends on the class, so that the class of an example changes its score.
///
/// # Errors
///
/// [`Error::MissingCapability`] for a model without a likelihood.
pub fn reads_classes(trained: &Trained) -> Result<bool> {
    Ok(match trained.likelihood()? {
        Likelihood::Images(model) => model.reads_classes(),
        Likelihood::Tokens(model) => trained.spec.tokens(model.levels()).beginnings > 1,
        Likelihood::Points(_) | Likelihood::Bound(_) => false,
    })
}

/// Whether a model reads tokens, so that each of them has a score.
///
/// # Errors
///
/// [`Error::MissingCapability`] for a model without a likelihood.
pub fn reads_tokens(trained: &Trained) -> Result<bool> {
    Ok(trained.likelihood()?.tokens().is_some())
}

/// Scores examples, each by itself. `tokens` receives the scores of single tokens, where the model reads tokens; `progress` the progress.
///
/// Where a model [reads classes](reads_classes), an example without a class that it knows is scored as one without a class if the model has
/// learned such examples, and otherwise as a mixture of all classes, which takes as long as an example of each class; see [`Condition`].
///
/// # Errors
///
/// [`Error::MissingCapability`] for a model without a likelihood; [`Error::Unusable`], with the name of the example, for one of another
/// kind or shape than the model reads, and for a character that the vocabulary does not have.
///
/// # Panics
///
/// When the protocol has no draws.
pub fn score(
    trained: &Trained,
    examples: &[Example],
    protocol: ScoreProtocol,
    tokens: &mut TokenSink<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Scores> {
    let likelihood = trained.likelihood()?;
    let classes: Vec<Option<u32>> = examples.iter().map(|example| class_of(trained, example)).collect();
    match likelihood {
        Likelihood::Images(_) | Likelihood::Bound(_) => {
            let shape = trained.spec.images()?;
            let pixels = examples.iter().map(|example| pixels(example, shape));
            let pixels: Vec<&[u8]> = pixels.collect::<Result<_>>()?;
            let numbers: Vec<u64> = pixels.iter().map(|image| number_of(image)).collect();
            if reads_classes(trained)? {
                let images = (&pixels[..], &classes[..], &numbers[..]);
                return Ok(of_images_with_classes(trained, likelihood, images, shape, protocol, progress));
            }
            let set = ImageSet::of_images(pixels, classes, numbers);
            Ok(of_images(trained, likelihood, &set, shape, protocol, progress))
        }
        Likelihood::Points(model) => of_points(trained, model, examples, &classes, progress),
        Likelihood::Tokens(model) => {
            sequences::of_examples(trained, model, examples, &classes, tokens, progress)
        }
    }
}

/// Scores examples of a split of the data that the model was trained on: all of them or `count`, spread evenly as `evaluate` spreads them;
/// of text and sound the first `count`. Documents are read one after another, as `evaluate` does. Returns their numbers in the split too.
///
/// For a likelihood of a class, images without one are left out.
///
/// # Errors
///
/// [`Error::MissingCapability`] for a model without a likelihood; [`Error::InvalidValue`] when the examples are of another kind, or there
/// is nothing to predict.
///
/// # Panics
///
/// When the protocol has no draws.
pub fn score_split(
    trained: &Trained,
    examples: &Examples,
    count: Option<usize>,
    protocol: ScoreProtocol,
    tokens: &mut TokenSink<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<usize>, Scores)> {
    let likelihood = trained.likelihood()?;
    let spread = |view: &View| view.spread(count.unwrap_or(view.len())).collect::<Vec<usize>>();
    match likelihood {
        Likelihood::Images(_) | Likelihood::Bound(_) => {
            let (view, shape) = (examples.images()?, trained.spec.images()?);
            let indices = match likelihood {
                Likelihood::Images(model) => measured_images(model, view, count.unwrap_or(view.len())),
                _ => spread(view),
            };
            let set = ImageSet::of_split(view, &indices);
            let mut scores = of_images(trained, likelihood, &set, shape, protocol, progress);
            if reads_classes(trained)? {
                scores.scores.iter_mut().for_each(|score| score.condition = Some(Condition::Class));
            }
            Ok((indices, scores))
        }
        Likelihood::Points(model) => {
            let view = examples.images()?;
            let indices = spread(view);
            let dims = trained.spec.points()?.dims;
            let values = indices.iter().flat_map(|&index| view.point(index)).copied().collect();
            let classes: Vec<Option<u32>> = indices.iter().map(|&index| view.label(index)).collect();
            let scores = points_scored(trained, model, &Rows::new(values, dims), &classes, progress);
            Ok((indices, scores))
        }
        Likelihood::Tokens(model) => {
            let all = examples.tokens(&trained.spec, model.levels())?;
            let count = count.unwrap_or(all.documents()).min(all.documents());
            let scores = sequences::of_documents(trained, model, &all, count, tokens, progress)?;
            Ok(((0..count).collect(), scores))
        }
    }
}

/// The scores of images as [`score`] gives them: 8-bit pixels, one image after another, each with its class. `None` for a model that gives
/// no likelihood of whole images, or one of a class only.
pub(super) fn nats_of_images(
    trained: &Trained,
    pixels: &[u8],
    classes: &[Option<u32>],
    protocol: ScoreProtocol,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Scores>> {
    let shape = trained.spec.images()?;
    let unconditional = |likelihood: &Likelihood<'_>| match likelihood {
        Likelihood::Images(model) => !model.reads_classes(),
        Likelihood::Bound(_) => true,
        Likelihood::Points(_) | Likelihood::Tokens(_) => false,
    };
    let Some(likelihood) = trained.abilities().likelihood.filter(unconditional) else { return Ok(None) };
    let images: Vec<&[u8]> = pixels.chunks_exact(shape.dims()).collect();
    let numbers = images.iter().map(|image| number_of(image)).collect();
    let set = ImageSet::of_images(images, classes.to_vec(), numbers);
    Ok(Some(of_images(trained, likelihood, &set, shape, protocol, progress)))
}

fn of_images(
    trained: &Trained,
    likelihood: Likelihood<'_>,
    set: &ImageSet<'_>,
    shape: ImageShape,
    protocol: ScoreProtocol,
    progress: &mut dyn FnMut(Progress),
) -> Scores {
    let ScoreProtocol { importance_samples, seed } = protocol;
    let mut report = reporter("images", set.len() as u64, progress);
    let mut done = |done: usize| report(done as u64);
    let (device, size) = (&trained.device, shape.dims() as u64);
    let (scores, draws) = match likelihood {
        Likelihood::Bound(model) => {
            let found = bounds(model, set, shape, importance_samples, seed, device, &mut done);
            let scores = found.into_iter().map(|bound| Score {
                nats: bound.nats,
                weighted_nats: Some(bound.weighted_nats),
                size,
                tokens: None,
                condition: None,
            });
            (scores.collect(), Some(importance_samples))
        }
        Likelihood::Images(model) => {
            let found = image_log_probs(model, set, shape, seed, device, &mut done);
            (found.into_iter().map(|log_prob| exact(log_prob, size)).collect(), None)
        }
        Likelihood::Points(_) | Likelihood::Tokens(_) => panic!("no likelihood of whole images"),
    };
    let exact = draws.is_none();
    Scores { exact, unit: Unit::Dim, importance_samples: draws, window: None, shares: None, scores }
}

/// Points by themselves: the batch is filled up with the last of them, so that no score depends on how many there are.
fn of_points(
    trained: &Trained,
    model: &dyn PointLikelihood,
    examples: &[Example],
    classes: &[Option<u32>],
    progress: &mut dyn FnMut(Progress),
) -> Result<Scores> {
    let dims = trained.spec.points()?.dims;
    let mut values = Vec::with_capacity(examples.len() * dims);
    for example in examples {
        match &example.media {
            Media::Point(point) if point.len() == dims => values.extend_from_slice(point),
            _ => return Err(misfit(example, &in_words(&trained.spec))),
        }
    }
    let (count, mut classes) = (examples.len(), classes.to_vec());
    let whole = count.next_multiple_of(POINT_BATCH);
    for _ in count..whole {
        values.extend_from_within(values.len() - dims..);
        classes.push(classes[count - 1]);
    }
    let mut scores = points_scored(trained, model, &Rows::new(values, dims), &classes, progress);
    scores.scores.truncate(count);
    Ok(scores)
}

fn points_scored(
    trained: &Trained,
    model: &dyn PointLikelihood,
    points: &Rows,
    classes: &[Option<u32>],
    progress: &mut dyn FnMut(Progress),
) -> Scores {
    let mut report = reporter("points", points.len() as u64, progress);
    let mut done = |done: usize| report(done as u64);
    let found = point_log_probs(model, points, classes, &trained.device, &mut done);
    let scores = found.into_iter().map(|log_prob| exact(log_prob, points.dims() as u64)).collect();
    Scores { exact: true, unit: Unit::Dim, importance_samples: None, window: None, shares: None, scores }
}

fn exact(log_prob: f64, size: u64) -> Score {
    Score { nats: -log_prob, weighted_nats: None, size, tokens: None, condition: None }
}

/// Reports how many of `total` are done, starting with none.
fn reporter(unit: &'static str, total: u64, progress: &mut dyn FnMut(Progress)) -> impl FnMut(u64) {
    let mut report = move |done| progress(Progress { what: "scoring", unit, done, total: Some(total) });
    report(0);
    report
}

/// The pixels of an image of this shape.
fn pixels(example: &Example, shape: ImageShape) -> Result<&[u8]> {
    let ImageShape { height, width, channels } = shape;
    match &example.media {
        Media::Image(picture)
            if [picture.height(), picture.width(), picture.channels()] == [height, width, channels] =>
        {
            Ok(picture.data())
        }
        _ => Err(misfit(example, &describe_images(shape))),
    }
}

/// The class of an example, by its name; `None` without one that the model knows.
fn class_of(trained: &Trained, example: &Example) -> Option<u32> {
    let known = &trained.info.data.classes;
    let class = example.class.as_ref().and_then(|name| known.iter().position(|class| class == name));
    class.map(|class| class as u32)
}

fn misfit(example: &Example, wanted: &str) -> Error {
    let reason = format!("it is {}, and the model reads {wanted}", describe(&example.media));
    unusable(example, reason, "give examples prepared like those that the model was trained on".into())
}

fn unusable(example: &Example, reason: String, remedy: String) -> Error {
    Error::Unusable { path: example.name.clone().into(), reason, remedy }
}

/// An example in words, with its shape.
fn describe(media: &Media) -> String {
    match media {
        Media::Image(picture) => {
            let (width, height) = (picture.width(), picture.height());
            format!("an image of {width}×{height} with {} channels", picture.channels())
        }
        Media::Text(_) => "a text".to_owned(),
        Media::Sound(clip) => {
            format!("a sound of {} Hz with {} channels", clip.shape.sample_rate, clip.shape.channels)
        }
        Media::Point(point) => format!("a point of {} coordinates", point.len()),
    }
}

fn describe_images(shape: ImageShape) -> String {
    let ImageShape { height, width, channels } = shape;
    format!("images of {width}×{height} with {channels} channels")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(tokens: Option<u64>) -> Scores {
        let score = |nats, size| Score { nats, weighted_nats: None, size, tokens, condition: None };
        let unit = if tokens.is_some() { Unit::Character } else { Unit::Dim };
        let scores = vec![score(2.0, 4), score(4.0, 4), score(6.0, 12)];
        Scores { exact: true, unit, importance_samples: None, window: None, shares: None, scores }
    }

    #[test]
    fn means_are_of_examples_and_of_tokens() {
        let found = scores(None);
        // Variance 4, divided by 3 examples.
        assert_eq!(found.mean(), Some((4.0, Some((4.0_f64 / 3.0).sqrt()))));
        assert_eq!(found.per_token(), None);
        assert!((found.bits() - 12.0 / (20.0 * LN_2)).abs() < 1e-12);
        assert!((found.scores[0].bits() - 0.5 / LN_2).abs() < 1e-12);
        assert_eq!(scores(Some(3)).per_token(), Some(12.0 / 9.0));
        let none = Scores { scores: Vec::new(), ..found };
        assert_eq!((none.mean(), none.per_token()), (None, None));
    }
}
