//! Scores of what a model reads as tokens: texts, sounds, and images value by value.

use super::examples::in_words;
use super::{Example, Score, Scores, TokenScore, TokenSink, Unit, misfit, pixels, reporter, unusable};
use crate::abilities::TokenLikelihood;
use crate::data::{Content, DataSpec, SampleFormat, TokenShape, Tokens};
use crate::error::{Error, Result};
use crate::evaluate::{Progress, WindowPlan, each_log_prob};
use crate::media::Media;
use crate::trained::Trained;

/// Scores examples one by one, each read from its beginning.
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
    let sequences =
        examples.iter().zip(classes).map(|(example, &class)| sequence(spec, shape, example, class));
    let sequences: Vec<Vec<u32>> = sequences.collect::<Result<_>>()?;
    let total = sequences.iter().map(|sequence| sequence.len() as u64).sum();
    let mut report = reporter("tokens", total, progress);
    let (mut scores, mut windows, mut done) = (Vec::new(), Windows::default(), 0);
    // Read as one text without a beginning, whose first token is like any other.
    let alone = TokenShape { values: shape.vocabulary(), beginnings: 0, length: None };
    for (index, sequence) in sequences.into_iter().enumerate() {
        done += sequence.len() as u64;
        let tokens = Tokens::of_documents(&[sequence], None, alone);
        let mut tally = Tally::default();
        let mut visit = |first: u64, log_probs: &[f32]| {
            for (at, token, nats) in each(&tokens, first, log_probs) {
                sink(index, TokenScore { place: place_in(shape, at), token, nats });
                tally.add(spec, shape, token, nats);
            }
        };
        windows.add(&each_log_prob(model, &tokens, tokens.len(), &trained.device, &mut visit));
        scores.push(tally.score(spec));
        report(done);
    }
    Ok(finished(spec, &windows, scores))
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
    let (mut here, mut tally) = (tokens.document(0), Tally::default());
    let mut visit = |first: u64, log_probs: &[f32]| {
        for (at, token, nats) in each(tokens, first, log_probs) {
            while at >= here.end {
                scores.push(std::mem::take(&mut tally).score(spec));
                here = tokens.document(scores.len());
            }
            sink(scores.len(), TokenScore { place: place_in(shape, at - here.start), token, nats });
            tally.add(spec, shape, token, nats);
        }
        report(first);
    };
    windows.add(&each_log_prob(model, tokens, end, &trained.device, &mut visit));
    scores.push(tally.score(spec));
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
    Scores { exact: true, unit: Unit::of(spec), importance_samples: None, window, scores }
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

/// The tokens of an example, with the one at which a document of its class begins, where there is one.
fn sequence(spec: &DataSpec, shape: TokenShape, example: &Example, class: Option<u32>) -> Result<Vec<u32>> {
    let class = class.filter(|_| shape.beginnings > 1);
    let mut tokens: Vec<u32> = shape.beginning(class).into_iter().collect();
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
        Score { nats: self.nats, weighted_nats: None, size, tokens: Some(self.tokens) }
    }
}
