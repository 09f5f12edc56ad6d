//! Coding of sequences by the distribution of each value given those before it.
//!
//! A range coder (Martin 1979; the crate `constriction`) spends −log₂ p bits on each value. The decoder needs bit-identical
//! probabilities, so they are rounded to multiples of 2⁻²⁴, and [`Autoregressive`] guarantees the same bits however
//! sequences are read. Sequences are coded in groups, because a model reads several in parallel faster than one by one; the
//! probabilities of a value do not depend on the other sequences.

use std::f64::consts::LN_2;

use constriction::BitArray;
use constriction::stream::model::{DecoderModel, DefaultUniformModel, EncoderModel, EntropyModel};
use constriction::stream::queue::{DefaultRangeDecoder, DefaultRangeEncoder};
use constriction::stream::{Decode as _, Encode as _};

use crate::abilities::Autoregressive;

/// Precision of the rounded probabilities in bits.
const PRECISION: usize = 24;
/// The sum of the rounded probabilities of a distribution.
const WHOLE: u32 = 1 << PRECISION;
/// Sequences that are coded in parallel.
const GROUP: usize = 64;

/// Sequences as code words.
#[derive(Clone, Debug, PartialEq)]
pub struct Coded {
    /// The words of the range coder.
    pub words: Vec<u32>,
    /// −Σ log₂ p of all values under the model's probabilities before rounding: a lower bound for any code, in bits.
    pub bits: f64,
}

/// Whether the values of a model with `num_values` of them can be coded.
pub fn can_code(num_values: usize) -> bool {
    num_values > 1 && num_values < WHOLE as usize / 256
}

/// Codes `sequences` of classes `classes`; `progress` receives the number of values done.
///
/// `None` when the model gives something that is not a number for a probability, as one with broken weights does.
///
/// # Panics
///
/// When there is not one class for each sequence, a value is not one of the model's, or there are so many that [`can_code`] is false.
pub fn encode(
    model: &dyn Autoregressive,
    sequences: &[Vec<u32>],
    classes: &[Option<u32>],
    progress: &mut dyn FnMut(usize),
) -> Option<Coded> {
    assert_eq!(sequences.len(), classes.len(), "{} classes for {} sequences", classes.len(), sequences.len());
    let mut coder =
        Encoder { coder: DefaultRangeEncoder::new(), bits: 0.0, rounded: Rounded::new(model.num_values()) };
    let mut done = 0;
    for (sequences, classes) in sequences.chunks(GROUP).zip(classes.chunks(GROUP)) {
        let length = longest(sequences.iter().map(Vec::len));
        let all: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let equal = all.iter().all(|sequence| sequence.len() == length);
        match if equal { model.all_log_probs(&all, classes) } else { None } {
            Some(log_probs) => {
                coder.group(&all, length, |row, t| {
                    log_probs_at(&log_probs, row * length + t, model.num_values())
                });
            }
            None => coder.read_group(model, &all, classes, length),
        }
        done += sequences.iter().map(Vec::len).sum::<usize>();
        progress(done);
    }
    let words = coder.coder.into_compressed().unwrap_or_else(|never| match never {});
    coder.rounded.sound.then_some(Coded { words, bits: coder.bits })
}

/// Decodes sequences of `lengths` and `classes` that [`encode`] coded; `progress` receives the number of values done.
///
/// `None` when the words end early or fit no value: they are damaged, or were made with another model; also where [`encode`] gives
/// `None`. Other damage is not detected here and gives wrong values.
///
/// # Panics
///
/// When there is not one class for each sequence.
pub fn decode(
    model: &dyn Autoregressive,
    lengths: &[usize],
    classes: &[Option<u32>],
    words: &[u32],
    progress: &mut dyn FnMut(usize),
) -> Option<Vec<Vec<u32>>> {
    assert_eq!(lengths.len(), classes.len(), "{} classes for {} sequences", classes.len(), lengths.len());
    let mut coder = DefaultRangeDecoder::from_compressed(words.to_vec()).ok()?;
    let mut rounded = Rounded::new(model.num_values());
    let (mut sequences, mut done) = (Vec::with_capacity(lengths.len()), 0);
    for (lengths, classes) in lengths.chunks(GROUP).zip(classes.chunks(GROUP)) {
        let mut group: Vec<Vec<u32>> = lengths.iter().map(|&length| Vec::with_capacity(length)).collect();
        let mut decoder = model.decoder(classes);
        let length = longest(lengths.iter().copied());
        for t in 0..length {
            let log_probs = decoder.log_probs();
            for (row, sequence) in group.iter_mut().enumerate().filter(|&(row, _)| t < lengths[row]) {
                rounded.round(log_probs_at(log_probs, row, model.num_values()));
                sequence.push(coder.decode_symbol(&rounded).ok()? as u32);
                done += 1;
            }
            if t + 1 < length {
                decoder.append(&values_at(group.iter().map(Vec::as_slice), t));
            }
            progress(done);
        }
        sequences.append(&mut group);
    }
    rounded.sound.then_some(sequences)
}

/// How many values, of a model with `num_values`, can be in so many words. The likeliest of them costs a little too, since the others
/// keep a part of the interval.
pub fn most_values(num_values: usize, words: usize) -> u64 {
    let others = num_values.saturating_sub(1).max(1) as f64 / f64::from(WHOLE);
    // Two words more than are written, and twice as many values for what is rounded.
    (2.0 * 32.0 * (words as f64 + 2.0) / -(-others).ln_1p() * LN_2) as u64
}

/// Codes numbers that are uniformly distributed: each is `(number, how many there could be)`.
///
/// # Panics
///
/// When a number is not below how many there are, or there are more than 2²³.
pub fn encode_uniform(numbers: impl IntoIterator<Item = (u32, u32)>) -> Coded {
    let mut coder = DefaultRangeEncoder::new();
    let mut bits = 0.0;
    for (number, many) in numbers.into_iter().filter(|&(_, many)| many > 1) {
        bits += f64::from(many).log2();
        if let Err(fault) = coder.encode_symbol(number as usize, DefaultUniformModel::new(many as usize)) {
            panic!("{number} of {many} could not be coded: {fault:?}");
        }
    }
    let words = coder.into_compressed().unwrap_or_else(|never| match never {});
    Coded { words, bits }
}

/// Decodes numbers that [`encode_uniform`] coded, given how many there could be of each; `None` when the words end early.
pub fn decode_uniform(many: impl IntoIterator<Item = u32>, words: &[u32]) -> Option<Vec<u32>> {
    let mut coder = DefaultRangeDecoder::from_compressed(words.to_vec()).ok()?;
    let mut number = |many: u32| match many {
        1 => Some(0),
        _ => coder.decode_symbol(DefaultUniformModel::new(many as usize)).ok().map(|number| number as u32),
    };
    many.into_iter().map(&mut number).collect()
}

fn longest(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.max().unwrap_or(0)
}

fn log_probs_at(log_probs: &[f32], row: usize, num_values: usize) -> &[f32] {
    &log_probs[row * num_values..(row + 1) * num_values]
}

/// Value `t` of each sequence; those that have ended continue with zeros, which are not coded.
fn values_at<'a>(sequences: impl Iterator<Item = &'a [u32]>, t: usize) -> Vec<u32> {
    sequences.map(|sequence| sequence.get(t).copied().unwrap_or(0)).collect()
}

struct Encoder {
    coder: DefaultRangeEncoder,
    bits: f64,
    rounded: Rounded,
}

impl Encoder {
    /// Codes a group whose probabilities are known: value 0 of each sequence, then value 1 of each, and so on.
    fn group<'a>(
        &mut self,
        sequences: &[&[u32]],
        length: usize,
        log_probs: impl Fn(usize, usize) -> &'a [f32],
    ) {
        for t in 0..length {
            for (row, sequence) in sequences.iter().enumerate() {
                self.value(sequence[t], log_probs(row, t));
            }
        }
    }

    /// Codes a group by reading it.
    fn read_group(
        &mut self,
        model: &dyn Autoregressive,
        sequences: &[&[u32]],
        classes: &[Option<u32>],
        length: usize,
    ) {
        let mut decoder = model.decoder(classes);
        for t in 0..length {
            let log_probs = decoder.log_probs();
            for (row, sequence) in sequences.iter().enumerate().filter(|(_, sequence)| t < sequence.len()) {
                self.value(sequence[t], log_probs_at(log_probs, row, model.num_values()));
            }
            if t + 1 < length {
                decoder.append(&values_at(sequences.iter().copied(), t));
            }
        }
    }

    fn value(&mut self, value: u32, log_probs: &[f32]) {
        assert!((value as usize) < log_probs.len(), "value {value} of {}", log_probs.len());
        self.bits -= f64::from(log_probs[value as usize]) / LN_2;
        self.rounded.round(log_probs);
        // Every value has an interval of positive width, and writing words to memory does not fail.
        if let Err(fault) = self.coder.encode_symbol(value as usize, &self.rounded) {
            panic!("value {value} could not be coded: {fault:?}");
        }
    }
}

/// A distribution rounded to whole numbers, at least one for each value, as the start of each value's interval.
struct Rounded {
    starts: Vec<u32>,
    /// Whether all distributions so far were ones.
    sound: bool,
}

impl Rounded {
    fn new(num_values: usize) -> Rounded {
        assert!(can_code(num_values), "{num_values} values cannot be coded");
        Rounded { starts: vec![0; num_values + 1], sound: true }
    }

    /// Rounds log-probabilities. The remainder goes to the likeliest value. What is no distribution counts as an even one.
    fn round(&mut self, log_probs: &[f32]) {
        let best = log_probs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |l: f32| f64::from(l - best).exp();
        let total: f64 = log_probs.iter().map(|&l| weight(l)).sum();
        if !best.is_finite() || !total.is_finite() {
            self.sound = false;
            let each = WHOLE / log_probs.len() as u32;
            self.starts.iter_mut().enumerate().for_each(|(value, start)| *start = value as u32 * each);
            self.starts[log_probs.len()] = WHOLE;
            return;
        }
        let scale = f64::from(WHOLE - log_probs.len() as u32) / total;
        let mut start = 0;
        for (slot, &l) in self.starts.iter_mut().zip(log_probs) {
            *slot = start;
            start += 1 + (weight(l) * scale) as u32;
        }
        let likeliest = log_probs.iter().position(|&l| l == best).unwrap_or(0);
        let left = WHOLE - start;
        self.starts[likeliest + 1..log_probs.len()].iter_mut().for_each(|start| *start += left);
        self.starts[log_probs.len()] = WHOLE;
    }
}

impl EntropyModel<PRECISION> for &Rounded {
    type Symbol = usize;
    type Probability = u32;
}

impl EncoderModel<PRECISION> for &Rounded {
    fn left_cumulative_and_probability(
        &self,
        symbol: impl std::borrow::Borrow<usize>,
    ) -> Option<(u32, <u32 as BitArray>::NonZero)> {
        let value = *symbol.borrow();
        let (start, end) = (*self.starts.get(value)?, *self.starts.get(value + 1)?);
        Some((start, <u32 as BitArray>::NonZero::new(end - start)?))
    }
}

impl DecoderModel<PRECISION> for &Rounded {
    fn quantile_function(&self, quantile: u32) -> (usize, u32, <u32 as BitArray>::NonZero) {
        let value = self.starts.partition_point(|&start| start <= quantile).saturating_sub(1);
        let value = value.min(self.starts.len() - 2);
        let width = self.starts[value + 1] - self.starts[value];
        let width = <u32 as BitArray>::NonZero::new(width).expect("every value has a width");
        (value, self.starts[value], width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abilities::IncrementalDecoder;
    use crate::rng;

    /// Each value repeats the one before it with probability 0.9, plus its class.
    struct Sticky {
        num_values: usize,
    }

    struct StickyDecoder {
        num_values: usize,
        log_probs: Vec<f32>,
    }

    impl Sticky {
        fn log_probs(&self, before: usize) -> Vec<f32> {
            let other = (0.1 / (self.num_values - 1) as f64).ln() as f32;
            (0..self.num_values).map(|value| if value == before { 0.9f32.ln() } else { other }).collect()
        }
    }

    impl Autoregressive for Sticky {
        fn num_values(&self) -> usize {
            self.num_values
        }

        fn num_classes(&self) -> usize {
            2
        }

        fn decoder(&self, classes: &[Option<u32>]) -> Box<dyn IncrementalDecoder + '_> {
            let log_probs =
                classes.iter().flat_map(|class| self.log_probs(class.unwrap_or(0) as usize)).collect();
            Box::new(StickyDecoder { num_values: self.num_values, log_probs })
        }
    }

    impl IncrementalDecoder for StickyDecoder {
        fn log_probs(&mut self) -> &[f32] {
            &self.log_probs
        }

        fn append(&mut self, values: &[u32]) {
            let code = Sticky { num_values: self.num_values };
            self.log_probs = values.iter().flat_map(|&value| code.log_probs(value as usize)).collect();
        }
    }

    #[test]
    fn sequences_come_back_and_take_what_their_probabilities_say() {
        for num_values in [2, 3, 256, 5000] {
            let code = Sticky { num_values };
            let mut generator = rng::generator(0, "test", num_values as u64);
            let mut sequence = |length: usize| {
                let mut value = 0;
                let mut next = || {
                    if rng::unit_f64(&mut generator) > 0.9 {
                        value = rng::below(&mut generator, num_values as u64) as u32;
                    }
                    value
                };
                (0..length).map(|_| next()).collect::<Vec<_>>()
            };
            let sequences: Vec<_> = (0..70).map(|i| sequence(i * 7 % 301)).collect();
            let classes: Vec<_> = (0..70).map(|i| Some(i % 2)).collect();
            let coded = encode(&code, &sequences, &classes, &mut |_| ()).unwrap();
            let lengths: Vec<_> = sequences.iter().map(Vec::len).collect();
            let decoded = decode(&code, &lengths, &classes, &coded.words, &mut |_| ());
            assert_eq!(decoded.as_ref(), Some(&sequences), "{num_values} values");
            let taken = 32.0 * coded.words.len() as f64;
            assert!(taken < coded.bits * 1.001 + 64.0, "{taken} bits for {}", coded.bits);
        }
    }

    #[test]
    fn uniform_numbers_come_back_and_take_their_logarithm() {
        let mut generator = rng::generator(1, "test", 0);
        let mut draw = |bound| rng::below(&mut generator, bound) as u32;
        let numbers: Vec<(u32, u32)> =
            (0..10_000).map(|_| 1 + draw(700)).map(|many| (many - 1, many)).collect();
        let coded = encode_uniform(numbers.iter().copied());
        let decoded = decode_uniform(numbers.iter().map(|&(_, many)| many), &coded.words);
        assert_eq!(decoded, Some(numbers.iter().map(|&(number, _)| number).collect()));
        assert!(32.0 * (coded.words.len() as f64) < coded.bits * 1.001 + 64.0);
    }

    #[test]
    fn certain_and_impossible_values_can_be_coded() {
        let mut rounded = Rounded::new(4);
        rounded.round(&[f32::NEG_INFINITY, 0.0, -200.0, f32::NEG_INFINITY]);
        assert_eq!(rounded.starts, [0, 1, WHOLE - 2, WHOLE - 1, WHOLE]);
    }

    #[test]
    fn what_is_no_distribution_codes_nothing() {
        struct Broken(f32);
        impl Autoregressive for Broken {
            fn num_values(&self) -> usize {
                3
            }
            fn num_classes(&self) -> usize {
                0
            }
            fn decoder(&self, classes: &[Option<u32>]) -> Box<dyn IncrementalDecoder + '_> {
                Box::new(Constant(vec![self.0; 3 * classes.len()]))
            }
        }
        struct Constant(Vec<f32>);
        impl IncrementalDecoder for Constant {
            fn log_probs(&mut self) -> &[f32] {
                &self.0
            }
            fn append(&mut self, _: &[u32]) {}
        }
        let encoded = |value| encode(&Broken(value), &[vec![2, 0, 1]], &[None], &mut |_| ());
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(encoded(value).is_none());
            assert!(decode(&Broken(value), &[3], &[None], &[7, 7], &mut |_| ()).is_none());
        }
        assert!(encoded(-1.0).is_some());
    }

    #[test]
    fn as_many_values_fit_into_words_as_are_coded() {
        // A model that is certain of value 0: the cheapest there are.
        for num_values in [2, 3, 256] {
            let mut rounded = Rounded::new(num_values);
            let mut log_probs = vec![f32::NEG_INFINITY; num_values];
            log_probs[0] = 0.0;
            rounded.round(&log_probs);
            let mut coder = DefaultRangeEncoder::new();
            let count = 3_000_000_u64;
            (0..count).for_each(|_| coder.encode_symbol(0, &rounded).unwrap());
            let words = coder.into_compressed().unwrap_or_else(|never| match never {});
            assert!(
                most_values(num_values, words.len()) >= count,
                "{num_values} values, {} words",
                words.len()
            );
        }
        // Two words and two more are 128 bits, and a value costs 255 of 2^24 parts: 128 · ln 2 / (255 / 2^24), twice for rounding.
        let expected = 2.0 * 128.0 * LN_2 / (255.0 / f64::from(WHOLE));
        assert!((most_values(256, 2) as f64 / expected - 1.0).abs() < 1e-4);
    }

    #[test]
    fn words_that_end_early_are_no_sequences() {
        let code = Sticky { num_values: 256 };
        let sequence = vec![(0..=255).collect::<Vec<u32>>()];
        let words = encode(&code, &sequence, &[None], &mut |_| ()).unwrap().words;
        let decoded = decode(&code, &[256], &[None], &words[..words.len() / 2], &mut |_| ());
        assert_ne!(decoded, Some(sequence));
    }
}
