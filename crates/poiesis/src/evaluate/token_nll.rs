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
    /// Its standard error, treating windows as independent.
    pub nats_error: f64,
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
    assert!(tokens.len() >= 2, "a likelihood needs two tokens");
    let window = (model.window() as u64).clamp(2, tokens.len());
    let whole = tokens.shape().beginnings > 0 && tokens.shape().length == Some(window as usize - 1);
    let stride = if whole { window } else { (window / 2).max(1) };
    let windows = 1 + (tokens.len() - window) / stride;
    let skip = (windows * stride).div_ceil(limit.max(1));
    let starts: Vec<u64> = (0..windows).step_by(skip as usize).map(|index| index * stride).collect();
    let (mut sums, mut counted) = (Vec::new(), 0);
    for starts in starts.chunks((TOKENS / window as usize).max(1)) {
        let values = starts.iter().flat_map(|&start| tokens.read(start..start + window));
        let values: Vec<i32> = values.map(|token| token as i32).collect();
        let data = TensorData::new(values, [starts.len(), window as usize]);
        let log_prob = model.log_prob(Tensor::<2, Int>::from_data(data, device));
        let log_prob: Vec<f32> = log_prob.into_data().iter::<f32>().collect();
        for (row, &start) in log_prob.chunks_exact(window as usize - 1).zip(starts) {
            // The overlap was predicted in the window before.
            let seen = if start == 0 || whole { 0 } else { (window - stride - 1) as usize };
            sums.push((row[seen..].iter().map(|&x| f64::from(x)).sum::<f64>(), row.len() - seen));
            counted += (row.len() - seen) as u64;
        }
        progress(counted);
    }
    let total: f64 = sums.iter().map(|(sum, _)| sum).sum();
    let means: Vec<f64> = sums.iter().map(|(sum, count)| sum / *count as f64).collect();
    let (_, nats_error) = mean_and_error(&means);
    let (window, stride) = (window as usize, stride as usize);
    TokenNll { tokens: counted, window, stride, nats: -total / counted as f64, nats_error }
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
