//! Windows of tokens for training, random or consecutive.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{Amount, MediaKind, Source, SourceOptions, TokenShape, Tokens};
use crate::error::{Error, Result};
use crate::nn::{StateDict, StateTensor};
use crate::rng;

/// Windows of a split in the order of training, computed and not stored, so that the windows of a step do not depend on
/// earlier steps.
#[derive(Clone)]
pub struct Windows {
    tokens: Tokens,
    batch_size: usize,
    context: usize,
    seed: u64,
    device: Device,
    /// What the tokens are.
    unit: &'static str,
}

impl Windows {
    /// Prepares batches of `batch_size` windows of `context` tokens and the next one.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when there are fewer tokens than a window has.
    pub fn new(
        tokens: Tokens,
        batch_size: usize,
        context: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Windows> {
        if tokens.len() <= context as u64 {
            return Err(Error::InvalidValue {
                key: "data.source".into(),
                value: format!("{} tokens for training", tokens.len()),
                reason: format!("a window of {context} tokens and the next one does not fit"),
                remedy: "give more data, or a smaller context".into(),
            });
        }
        Ok(Windows { tokens, batch_size, context, seed, device: device.clone(), unit: "tokens" })
    }

    /// Windows in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The context: tokens of a window, without the last, which is only predicted.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The alphabet.
    pub fn shape(&self) -> TokenShape {
        self.tokens.shape()
    }

    /// The windows of step `step`, `[batch, context + 1]`: whole documents in permuted order where each fills a window,
    /// otherwise windows from uniformly drawn positions.
    pub fn random(&self, step: u64) -> Tensor<2, Int> {
        let width = self.context as u64 + 1;
        if self.tokens.shape().length == Some(self.context) && self.tokens.shape().beginnings > 0 {
            let len = self.tokens.documents() as u64;
            let first = step * self.batch_size as u64;
            let document = |place: u64| rng::permute(self.seed, place / len, place % len, len) * width;
            return self.gather((first..first + self.batch_size as u64).map(document));
        }
        let mut generator = rng::generator(self.seed, "window", step);
        let places = self.tokens.len() - width + 1;
        let starts: Vec<u64> = (0..self.batch_size).map(|_| rng::below(&mut generator, places)).collect();
        self.gather(starts.into_iter())
    }

    /// The windows of step `step`, `[batch, context + 1]`, when the sequence is cut into one stream per row of the batch and
    /// each step continues where the last one ended. Also returns whether the streams start again, as they do every
    /// [`Windows::steps_of_streams`] steps.
    pub fn consecutive(&self, step: u64) -> (Tensor<2, Int>, bool) {
        let stream = (self.tokens.len() - 1) / self.batch_size as u64;
        let within = step % self.steps_of_streams();
        let start = |row: u64| row * stream + within * self.context as u64;
        (self.gather((0..self.batch_size as u64).map(start)), within == 0)
    }

    /// Steps in which all streams are read to the end; at least one.
    pub fn steps_of_streams(&self) -> u64 {
        let stream = (self.tokens.len() - 1) / self.batch_size as u64;
        (stream / self.context as u64).max(1)
    }

    fn gather(&self, starts: impl Iterator<Item = u64>) -> Tensor<2, Int> {
        let width = self.context as u64 + 1;
        let last = self.tokens.len() - width;
        let tokens: Vec<i32> = starts
            .flat_map(|start| self.tokens.read(start.min(last)..start.min(last) + width))
            .map(|token| token as i32)
            .collect();
        let rows = tokens.len() / width as usize;
        Tensor::from_data(TensorData::new(tokens, [rows, width as usize]), &self.device)
    }
}

/// What a model of sequences needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowNeeds {
    /// Levels of an image's values or of a sample of sound; see [`super::DataSpec::tokens`].
    pub levels: usize,
    /// The context: tokens of a window, without the last, which is only predicted.
    pub context: usize,
}

impl Windows {
    fn of(needs: &WindowNeeds, options: &SourceOptions<'_>) -> Result<Windows> {
        let SourceOptions { examples, spec, batch_size, seed, device } = *options;
        let windows =
            Windows::new(examples.tokens(spec, needs.levels)?, batch_size, needs.context, seed, device)?;
        let unit = match spec.media() {
            MediaKind::Images => "values",
            MediaKind::Sound => "samples",
            MediaKind::Text | MediaKind::Points | MediaKind::Experience => "tokens",
        };
        Ok(Windows { unit, ..windows })
    }

    fn amount(&self) -> Amount {
        Amount { count: (self.batch_size * self.context) as u64, unit: self.unit }
    }
}

/// Windows drawn at random.
#[derive(Clone)]
pub struct TokenWindows(Windows);

impl From<Windows> for TokenWindows {
    fn from(windows: Windows) -> TokenWindows {
        TokenWindows(windows)
    }
}

impl TokenWindows {
    /// The windows of step `step`; see [`Windows::random`].
    pub fn windows(&self, step: u64) -> Tensor<2, Int> {
        self.0.random(step)
    }
}

impl Source for TokenWindows {
    type Needs = WindowNeeds;

    fn open(needs: &WindowNeeds, options: &SourceOptions<'_>) -> Result<TokenWindows> {
        Windows::of(needs, options).map(TokenWindows)
    }

    fn amount(&self) -> Amount {
        self.0.amount()
    }
}

/// Consecutive windows of streams, with the states that a recurrent network carries from one to the next.
pub struct TokenStreams {
    windows: Windows,
    /// The states of each layer at the end of the last window, each part `[batch, features]`; empty where the streams start.
    pub states: Vec<Vec<Tensor<2>>>,
}

impl From<Windows> for TokenStreams {
    fn from(windows: Windows) -> TokenStreams {
        TokenStreams { windows, states: Vec::new() }
    }
}

impl TokenStreams {
    /// The windows of step `step`; see [`Windows::consecutive`]. The states are cleared where the streams start again.
    pub fn windows(&mut self, step: u64) -> Tensor<2, Int> {
        let (tokens, begins) = self.windows.consecutive(step);
        if begins {
            self.states.clear();
        }
        tokens
    }

    /// How often the streams have been read to the end before step `step`.
    pub fn epoch(&self, step: u64) -> u64 {
        step / self.windows.steps_of_streams()
    }
}

impl Source for TokenStreams {
    type Needs = WindowNeeds;

    fn open(needs: &WindowNeeds, options: &SourceOptions<'_>) -> Result<TokenStreams> {
        Windows::of(needs, options).map(TokenStreams::from)
    }

    fn amount(&self) -> Amount {
        self.windows.amount()
    }

    fn state(&self) -> StateDict {
        let mut all = StateDict::default();
        for (layer, parts) in self.states.iter().enumerate() {
            for (part, values) in parts.iter().enumerate() {
                let shape = values.dims();
                let values = values.clone().reshape([shape[0] * shape[1]]);
                all.insert(format!("streams.{layer}.{part}"), StateTensor { shape: shape.to_vec(), values });
            }
        }
        all
    }

    fn restore(&mut self, saved: &StateDict) -> Result<(), String> {
        let rows = self.windows.batch_size;
        let misfit = |shape: &[usize]| !matches!(*shape, [batch, _] if batch == rows);
        let mut streams = saved.iter().filter(|(name, _)| name.starts_with("streams."));
        if let Some((name, state)) = streams.find(|(_, state)| misfit(&state.shape)) {
            return Err(format!("`{name}` has shape {:?}, and there are {rows} streams", state.shape));
        }
        let part = |layer: usize, part: usize| {
            let tensor = saved.get(&format!("streams.{layer}.{part}"))?;
            Some(tensor.values.clone().reshape([tensor.shape[0], tensor.shape[1]]))
        };
        let parts = |layer| (0..).map_while(|index| part(layer, index)).collect::<Vec<_>>();
        self.states = (0..).map(parts).take_while(|parts| !parts.is_empty()).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokens::tests::three_documents;

    #[test]
    fn windows_are_functions_of_the_step_and_fit() {
        let device = Device::flex();
        let windows = Windows::new(three_documents(), 4, 3, 7, &device).unwrap();
        let read = |step| windows.random(step).into_data().iter::<i32>().collect::<Vec<_>>();
        assert_eq!(read(3), read(3));
        assert_ne!(read(3), read(4));
        assert_eq!(read(0).len(), 4 * 4);
        assert!(Windows::new(three_documents(), 4, 8, 7, &device).is_err());
    }

    #[test]
    fn streams_go_on_where_they_ended() {
        let shape = TokenShape { values: 100, beginnings: 0, length: None, unlabelled: false };
        let tokens = Tokens::of_documents(&[(0..21).collect()], None, shape);
        let windows = Windows::new(tokens, 2, 5, 0, &Device::flex()).unwrap();
        let read = |step| {
            let (tokens, begins) = windows.consecutive(step);
            (tokens.into_data().iter::<i32>().collect::<Vec<_>>(), begins)
        };
        assert_eq!(read(0), (vec![0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15], true));
        assert_eq!(read(1), (vec![5, 6, 7, 8, 9, 10, 15, 16, 17, 18, 19, 20], false));
        assert_eq!(read(2), read(0));
    }
}
