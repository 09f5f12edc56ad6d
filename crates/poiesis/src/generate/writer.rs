//! Sequences generated in parallel, value by value.

use std::ops::Range;

use crate::abilities::{Autoregressive, IncrementalDecoder, SamplingParams};
use crate::rng::{self, Generator};

/// Generates sequences in parallel. Value *t* of sequence *i* depends on `(seed, i, t)` and the values before it alone.
pub struct Writer<'a> {
    decoder: Box<dyn IncrementalDecoder + 'a>,
    generators: Vec<Generator>,
    num_values: usize,
    params: SamplingParams,
}

impl<'a> Writer<'a> {
    /// Begins the sequences of `seed` with the numbers `indices`, one for each of `classes`.
    ///
    /// # Panics
    ///
    /// When there is not one class for each sequence.
    pub fn new(
        model: &'a dyn Autoregressive,
        seed: u64,
        indices: Range<u64>,
        classes: &[Option<u32>],
        params: SamplingParams,
    ) -> Writer<'a> {
        let count = (indices.end - indices.start) as usize;
        assert_eq!(classes.len(), count, "{} classes for {count} sequences", classes.len());
        let generators = indices.map(|index| rng::generator(seed, "value", index)).collect();
        Writer { decoder: model.decoder(classes), generators, num_values: model.num_values(), params }
    }

    /// Generates the next value of each sequence: the known one, or a sampled one. A known value advances the generator too.
    ///
    /// # Panics
    ///
    /// When there is not one entry of `known` for each sequence.
    pub fn next(&mut self, known: &[Option<u32>]) -> Vec<u32> {
        assert_eq!(known.len(), self.generators.len(), "known values for another number of sequences");
        let log_probs = self.decoder.log_probs().chunks_exact(self.num_values);
        let draws = self.generators.iter_mut().zip(log_probs).zip(known);
        let values = draws.map(|((generator, log_probs), known)| {
            let u = rng::unit_f64(generator);
            known.unwrap_or_else(|| self.params.sample(log_probs, u))
        });
        let values: Vec<u32> = values.collect();
        self.decoder.append(&values);
        values
    }

    /// Feeds values that all sequences share, without sampling.
    pub fn read(&mut self, values: &[u32]) {
        for &value in values {
            self.decoder.append(&vec![value; self.generators.len()]);
        }
    }
}
