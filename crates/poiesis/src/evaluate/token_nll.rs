//! The exact negative log-likelihood of held-out tokens: of text, of sound, or of the values of images.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::mean_and_error;
use super::metric::{Measured, Progress, Subject};
use crate::abilities::{Likelihood, TokenLikelihood};
use crate::data::Tokens;
use crate::error::Result;

/// About how many tokens are in a batch.
const TOKENS: usize = 8192;

/// −log p of held-out tokens, each given those before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenNll {
    /// Number of predicted tokens.
    pub tokens: u64,
    /// Tokens in a window: the context of a prediction, and the token that is predicted.
    pub window: usize,
    /// Windows begin at multiples of this many tokens. Tokens that a window `stride` before has predicted are not counted
    /// again, so all predictions but those of the first window have a context of at least `window - stride` tokens.
    pub stride: usize,
    /// Mean of −log p, in nats per token, start tokens of documents included.
    pub nats: f64,
    /// Its standard error, treating windows as independent; `None` for one window.
    pub nats_error: Option<f64>,
}

/// Measures about `limit` tokens in windows that overlap by half. Where there are more tokens, some of these windows are
/// used, evenly spread from the beginning to the end. `progress` receives the number done.
///
/// Where each document fills exactly one window, windows are documents.
///
/// # Panics
///
/// When there are fewer than two tokens.
pub fn token_nll(
    model: &dyn TokenLikelihood,
    tokens: &Tokens,
    limit: u64,
    device: &Device,
    progress: &mut dyn FnMut(u64),
) -> TokenNll {
    let plan = WindowPlan::of(model, tokens);
    let skip = (plan.windows * plan.stride).div_ceil(limit.max(1));
    let indices: Vec<u64> = (0..plan.windows).step_by(skip as usize).collect();
    let (mut sums, mut counted) = (Vec::new(), 0);
    for indices in indices.chunks(plan.batch()) {
        let windows: Vec<Window> = indices.iter().map(|&index| plan.window(index)).collect();
        predict(model, tokens, plan.length, &windows, device, &mut |_, row| {
            sums.push((row.iter().map(|&x| f64::from(x)).sum::<f64>(), row.len()));
            counted += row.len() as u64;
        });
        progress(counted);
    }
    let total: f64 = sums.iter().map(|(sum, _)| sum).sum();
    let means: Vec<f64> = sums.iter().map(|(sum, count)| sum / *count as f64).collect();
    let (_, nats_error) = mean_and_error(&means);
    let (window, stride) = (plan.length as usize, plan.stride as usize);
    TokenNll { tokens: counted, window, stride, nats: -total / counted as f64, nats_error }
}

/// How tokens are read: in windows that overlap by half, or one after another where each document fills a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowPlan {
    /// Tokens in a window.
    pub(crate) length: u64,
    /// Windows begin at multiples of this many tokens.
    pub(crate) stride: u64,
    /// How many windows there are. Tokens that are left at the end make no further one.
    windows: u64,
    /// Whether each is a document.
    whole: bool,
}

impl WindowPlan {
    /// The windows that `model` reads `tokens` in.
    ///
    /// # Panics
    ///
    /// When there are fewer than two tokens.
    pub(crate) fn of(model: &dyn TokenLikelihood, tokens: &Tokens) -> WindowPlan {
        assert!(tokens.len() >= 2, "a likelihood needs two tokens");
        let length = (model.window() as u64).clamp(2, tokens.len());
        let whole = tokens.shape().beginnings > 0 && tokens.shape().length == Some(length as usize - 1);
        let stride = if whole { length } else { (length / 2).max(1) };
        WindowPlan { length, stride, windows: 1 + (tokens.len() - length) / stride, whole }
    }

    /// The window of this number. What it shares with the window before was predicted there.
    fn window(&self, index: u64) -> Window {
        let seen = if index == 0 || self.whole { 0 } else { self.length - self.stride - 1 };
        Window { start: index * self.stride, seen: seen as usize }
    }

    /// The window that ends with the last of `count` tokens, where some are left behind the others.
    fn last(&self, count: u64) -> Option<Window> {
        let end = (self.windows - 1) * self.stride + self.length;
        let start = count - self.length;
        (end < count).then(|| Window { start, seen: (end - start - 1) as usize })
    }

    /// Windows in a batch.
    fn batch(&self) -> usize {
        (TOKENS / self.length as usize).max(1)
    }
}

/// A window, and how many of its predictions another one has made.
struct Window {
    start: u64,
    seen: usize,
}

impl Window {
    /// The first token that it predicts and no window before it.
    fn first(&self) -> u64 {
        self.start + 1 + self.seen as u64
    }
}

/// Calls `visit` for each of these windows of `length` tokens, with the place of the first token that it predicts and no other one before,
/// and log p of that token and those after it.
fn predict(
    model: &dyn TokenLikelihood,
    tokens: &Tokens,
    length: u64,
    windows: &[Window],
    device: &Device,
    visit: &mut dyn FnMut(u64, &[f32]),
) {
    let values = windows.iter().flat_map(|window| tokens.read(window.start..window.start + length));
    let values: Vec<i32> = values.map(|token| token as i32).collect();
    let data = TensorData::new(values, [windows.len(), length as usize]);
    let log_prob = model.log_prob(Tensor::<2, Int>::from_data(data, device));
    let log_prob: Vec<f32> = log_prob.into_data().iter::<f32>().collect();
    for (row, window) in log_prob.chunks_exact(length as usize - 1).zip(windows) {
        visit(window.first(), &row[window.seen..]);
    }
}

/// Calls `visit` with log p of the tokens before `end`, in order: the place of the first of some, and log p of each. They are the
/// predictions that [`token_nll`] averages without a limit, and those of the tokens at the end that are too few for one more of its windows.
/// The first token of all is not predicted, and where each document fills a window, none of their first tokens is.
///
/// # Panics
///
/// When there are fewer than two tokens, or `end` is beyond them.
pub(crate) fn each_log_prob(
    model: &dyn TokenLikelihood,
    tokens: &Tokens,
    end: u64,
    device: &Device,
    visit: &mut dyn FnMut(u64, &[f32]),
) -> WindowPlan {
    assert!(end <= tokens.len(), "token {end} of {}", tokens.len());
    let plan = WindowPlan::of(model, tokens);
    let mut until_end = |place: u64, row: &[f32]| {
        let within = end.saturating_sub(place).min(row.len() as u64) as usize;
        if within > 0 {
            visit(place, &row[..within]);
        }
    };
    let windows: Vec<Window> =
        (0..plan.windows).map(|index| plan.window(index)).take_while(|window| window.first() < end).collect();
    for windows in windows.chunks(plan.batch()) {
        predict(model, tokens, plan.length, windows, device, &mut until_end);
    }
    // By itself, so that the batches are those of an evaluation.
    if let Some(last) = plan.last(tokens.len()).filter(|last| last.first() < end) {
        predict(model, tokens, plan.length, &[last], device, &mut until_end);
    }
    plan
}

/// Measures −log p of a model that gives it for tokens.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let likelihood = subject.trained.abilities().likelihood;
    let Some(model) = likelihood.and_then(Likelihood::tokens) else { return Ok(None) };
    let tokens = subject.held_out.tokens(&subject.trained.spec, model.levels())?;
    // For images, as many tokens as the requested number of images has.
    let limit = subject.protocol.images.map_or(tokens.len(), |images| {
        let images = images.min(tokens.documents());
        if images == 0 { 0 } else { tokens.document(images - 1).end }
    });
    let mut report = Progress::reporter("likelihood", "tokens", limit, progress);
    let device = &subject.trained.device;
    Ok(Some(Measured::timed(|| token_nll(model, &tokens, limit, device, &mut report))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TokenShape;

    /// Says of each token that it has as many nats as its number, and a hundredth for each token of its context.
    struct ByNumber {
        window: usize,
    }

    impl TokenLikelihood for ByNumber {
        fn window(&self) -> usize {
            self.window
        }

        fn log_prob(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
            let [rows, length] = tokens.dims();
            let context = TensorData::new((1..length).map(|i| i as f32 / 100.0).collect(), [1, length - 1]);
            let context = Tensor::<2>::from_data(context, &tokens.device()).repeat_dim(0, rows);
            tokens.narrow(1, 1, length - 1).float().neg() - context
        }
    }

    fn all(model: &ByNumber, tokens: &Tokens, end: u64) -> Vec<(u64, f32)> {
        let mut found = Vec::new();
        each_log_prob(model, tokens, end, &Device::flex(), &mut |place, row| {
            found.extend((place..).zip(row.iter().copied()));
        });
        found
    }

    #[test]
    fn every_token_but_the_first_is_predicted_once_and_in_order() {
        let shape = TokenShape { values: 100, beginnings: 0, length: None, unlabelled: false };
        for count in 2..40_u32 {
            let tokens = Tokens::of_documents(&[(0..count).collect()], None, shape);
            for window in [2, 3, 8, 9] {
                let found = all(&ByNumber { window }, &tokens, u64::from(count));
                assert!(found.iter().map(|(place, _)| *place).eq(1..u64::from(count)), "{count} {window}");
                // Each token has the context of its window, and at least half a window of it after the first.
                for &(place, log_prob) in &found {
                    let context = ((-log_prob - place as f32) * 100.0).round() as usize;
                    assert!((window / 2).min(place as usize) <= context && context < window, "{place}");
                }
                let few = all(&ByNumber { window }, &tokens, u64::from(count / 2));
                assert_eq!(few, found[..(count as usize / 2).saturating_sub(1)], "{count} {window}");
            }
        }
    }

    #[test]
    fn an_evaluation_averages_the_same_predictions_up_to_its_last_window() {
        let shape = TokenShape { values: 100, beginnings: 0, length: None, unlabelled: false };
        let tokens = Tokens::of_documents(&[(0..60).map(|i| i * i % 97).collect()], None, shape);
        let model = ByNumber { window: 16 };
        let nll = token_nll(&model, &tokens, u64::MAX, &Device::flex(), &mut |_| ());
        let found = all(&model, &tokens, 60);
        assert!(nll.tokens < 59, "some tokens are left over: {nll:?}");
        let sum: f64 = found[..nll.tokens as usize].iter().map(|(_, log_prob)| f64::from(*log_prob)).sum();
        assert!((nll.nats + sum / nll.tokens as f64).abs() < 1e-9, "{nll:?} {sum}");
    }

    #[test]
    fn documents_that_fill_a_window_are_read_alone() {
        let shape = TokenShape { values: 10, beginnings: 1, length: Some(3), unlabelled: false };
        let tokens = Tokens::of_documents(&[vec![1, 2, 3], vec![4, 5, 6]], None, shape);
        let found = all(&ByNumber { window: 4 }, &tokens, 8);
        let places: Vec<u64> = found.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [1, 2, 3, 5, 6, 7], "the tokens at which documents begin are not predicted");
    }
}
