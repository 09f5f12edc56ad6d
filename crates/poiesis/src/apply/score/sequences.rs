//! Scores of what a model reads as tokens: texts, sounds, and images value by value.

use super::examples::in_words;
use super::mixture::{ClassPrior, Condition, mixed_tokens};
use super::{Example, Score, Scores, TokenScore, TokenSink, Unit, misfit, pixels, reporter, unusable};
use crate::abilities::TokenLikelihood;
use crate::data::{Content, DataSpec, SampleFormat, TokenShape, Tokens};
use crate::error::{Error, Result};
use crate::evaluate::{Progress, WindowPlan, each_log_prob};
use crate::media::Media;
use crate::trained::Trained;

/// Scores examples one by one, each read from its beginning: once, or once for each class in a mixture.
pub(super) fn of_examples(
    trained: &Trained,
    model: &dyn TokenLikelihood,
    examples: &[Example],
    classes: &[Option<u32>],
    sink: &mut TokenSink<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Scores> {
    let (spec, shape) = (&trained.spec, trained.spec.tokens(model.levels()));
    // All of them before the first is scored, so that what is wrong with one is known at once.
    let sequences = examples.iter().map(|example| sequence(spec, shape, example));
    let sequences: Vec<Vec<u32>> = sequences.collect::<Result<_>>()?;
    let prior = ClassPrior::of(&trained.info.data);
    let each: Vec<Vec<_>> = classes.iter().map(|&class| beginnings(shape, class, &prior)).collect();
    let total =
        sequences.iter().zip(&each).map(|(sequence, each)| (sequence.len() * each.len()) as u64).sum();
    let mut report = reporter("tokens", total, progress);
    let (mut scores, mut windows, mut done) = (Vec::new(), Windows::default(), 0);
    for (index, mut sequence) in sequences.into_iter().enumerate() {
        let mut read = Vec::with_capacity(each[index].len());
        for &(beginning, log_share) in &each[index] {
            sequence[..usize::from(beginning.is_some())].copy_from_slice(beginning.as_slice());
            let (nats, plan) = nats_after_first(trained, model, shape, &sequence);
            windows.add(&plan);
            read.push((log_share, nats));
            done += sequence.len() as u64;
            report(done);
        }
        let mut tally = Tally::default();
        for ((at, &token), nats) in (1..).zip(&sequence[1..]).zip(mixed_tokens(&read)) {
            sink(index, TokenScore { place: place_in(shape, at), token, nats });
            tally.add(spec, shape, token, nats);
        }
        scores.push(Score { condition: Condition::of_tokens(shape, classes[index]), ..tally.score(spec) });
    }
    let mixed = scores.iter().any(|score| score.condition == Some(Condition::Mixture));
    Ok(Scores { shares: mixed.then_some(prior.shares), ..finished(spec, &windows, scores) })
}

/// The tokens after which an example of `class` is read, each with log p of its class: one, or one for each class of a mixture. `None`
/// where documents do not begin with a token.
fn beginnings(shape: TokenShape, class: Option<u32>, prior: &ClassPrior) -> Vec<(Option<u32>, f64)> {
    match Condition::of_tokens(shape, class) {
        None => vec![(shape.beginning(None), 0.0)],
        Some(Condition::Mixture) => {
            let of_class = |(class, log_share)| (shape.beginning(Some(class)), log_share);
            prior.with(None).into_iter().map(of_class).collect()
        }
        Some(_) => vec![(shape.beginning(class), 0.0)],
    }
}

/// −log p of each token of a sequence but the first, which is not predicted, and the windows that it was read in.
fn nats_after_first(
    trained: &Trained,
    model: &dyn TokenLikelihood,
    shape: TokenShape,
    sequence: &[u32],
) -> (Vec<f64>, WindowPlan) {
    // Read as one text without a beginning, whose first token is like any other.
    let alone = TokenShape { values: shape.vocabulary(), beginnings: 0, length: None, unlabelled: false };
    let tokens = Tokens::of_documents(&[sequence.to_vec()], None, alone);
    let mut nats = Vec::with_capacity(sequence.len());
    let mut visit = |_: u64, log_probs: &[f32]| {
        nats.extend(log_probs.iter().map(|&log_prob| -f64::from(log_prob)));
    };
    let plan = each_log_prob(model, &tokens, tokens.len(), &trained.device, &mut visit);
    (nats, plan)
}

/// Scores the first `count` documents of a split, read one after another.
pub(super) fn of_documents(
    trained: &Trained,
    model: &dyn TokenLikelihood,
    tokens: &Tokens,
    count: usize,
    sink: &mut TokenSink<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Scores> {
    let (spec, shape) = (&trained.spec, tokens.shape());
    let end = if count == 0 { 0 } else { tokens.document(count - 1).end };
    if end < 2 {
        let (value, reason) = (format!("{end} tokens"), "there is nothing to predict");
        return Err(Error::invalid_value(
            "data.source",
            &value,
            reason,
            "choose another split, or more of it",
        ));
    }
    let mut report = reporter("tokens", end, progress);
    let (mut scores, mut windows) = (Vec::with_capacity(count), Windows::default());
    // Without a token of their own, documents without a class begin with that of the first.
    let condition_of = |index: usize| match Condition::of_tokens(shape, tokens.class(index)) {
        Some(Condition::Mixture) => Some(Condition::FirstClass),
        condition => condition,
    };
    let (mut here, mut tally) = (tokens.document(0), Tally::default());
    let mut visit = |first: u64, log_probs: &[f32]| {
        for (at, token, nats) in each(tokens, first, log_probs) {
            while at >= here.end {
                let condition = condition_of(scores.len());
                scores.push(Score { condition, ..std::mem::take(&mut tally).score(spec) });
                here = tokens.document(scores.len());
            }
            sink(scores.len(), TokenScore { place: place_in(shape, at - here.start), token, nats });
            tally.add(spec, shape, token, nats);
        }
        report(first);
    };
    windows.add(&each_log_prob(model, tokens, end, &trained.device, &mut visit));
    let condition = condition_of(scores.len());
    scores.push(Score { condition, ..tally.score(spec) });
    Ok(finished(spec, &windows, scores))
}

/// Tokens from place `first` on, each with its place and −log p.
fn each(tokens: &Tokens, first: u64, log_probs: &[f32]) -> impl Iterator<Item = (u64, u32, f64)> {
    let read = tokens.read(first..first + log_probs.len() as u64);
    let nats: Vec<f64> = log_probs.iter().map(|&log_prob| -f64::from(log_prob)).collect();
    (first..).zip(read).zip(nats).map(|((at, token), nats)| (at, token, nats))
}

/// The place of a value in its document, whose token `at` it is; `None` for the token at which the document begins.
fn place_in(shape: TokenShape, at: u64) -> Option<u64> {
    if shape.beginnings > 0 { at.checked_sub(1) } else { Some(at) }
}

fn finished(spec: &DataSpec, windows: &Windows, scores: Vec<Score>) -> Scores {
    let window = windows.longest;
    let unit = Unit::of(spec);
    Scores { exact: true, unit, importance_samples: None, window, shares: None, scores }
}

/// The longest windows that were read: a short document has one of its own length.
#[derive(Default)]
struct Windows {
    longest: Option<[u64; 2]>,
}

impl Windows {
    fn add(&mut self, plan: &WindowPlan) {
        self.longest = self.longest.max(Some([plan.length, plan.stride]));
    }
}

/// The tokens of an example, after one at which a document begins, where there is one.
fn sequence(spec: &DataSpec, shape: TokenShape, example: &Example) -> Result<Vec<u32>> {
    let mut tokens: Vec<u32> = shape.beginning(None).into_iter().collect();
    match (&spec.content, &example.media) {
        (Content::Text(text), Media::Text(bytes)) => {
            let encoded = text.vocabulary.encode(bytes).map_err(|error| outside(example, error))?;
            tokens.extend(encoded);
        }
        (Content::Sound(sound), Media::Sound(clip)) if clip.shape == *sound => {
            let format = SampleFormat::of(shape.values);
            tokens.extend(clip.samples.iter().map(|&sample| format.level(sample)));
        }
        (Content::Images(_), Media::Image(_)) => {
            tokens.extend(pixels(example, spec.images()?)?.iter().map(|&pixel| shape.level(pixel)));
        }
        _ => return Err(misfit(example, &in_words(spec))),
    }
    if tokens.len() < 2 {
        let reason = match shape.beginnings {
            0 => "it has a single token, and the model predicts those after the first",
            _ => "it is empty",
        };
        return Err(unusable(example, reason.into(), "leave it out".into()));
    }
    Ok(tokens)
}

/// The error for a text with a character that the vocabulary lacks.
fn outside(example: &Example, error: poiesis_collect::Error) -> Error {
    match error {
        poiesis_collect::Error::NotInVocabulary { character, offset, size } => {
            let reason = format!(
                "the character {character} at byte {offset} is not in the model's vocabulary of {size} characters"
            );
            let remedy = "take it out of the text, or train a model whose vocabulary has it";
            unusable(example, reason, remedy.into())
        }
        other => other.into(),
    }
}

/// What was predicted of a document.
#[derive(Default)]
struct Tally {
    nats: f64,
    tokens: u64,
    /// Its values, without the token at which it begins.
    values: u64,
    /// The same as text, of a text.
    text: Vec<u8>,
}

impl Tally {
    fn add(&mut self, spec: &DataSpec, shape: TokenShape, token: u32, nats: f64) {
        self.nats += nats;
        self.tokens += 1;
        if (token as usize) < shape.values {
            self.values += 1;
            if let Content::Text(text) = &spec.content {
                self.text.extend(text.vocabulary.decode(&[token]));
            }
        }
    }

    fn score(self, spec: &DataSpec) -> Score {
        let characters = || String::from_utf8_lossy(&self.text).chars().count() as u64;
        let size = if Unit::of(spec) == Unit::Character { characters() } else { self.values };
        Score { nats: self.nats, weighted_nats: None, size, tokens: Some(self.tokens), condition: None }
    }
}
