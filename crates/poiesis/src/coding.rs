//! Entropy coding of sequences by a model's laws: the fewer nats a model gives to data, the fewer bytes they take.
//!
//! A range coder (Martin 1979; the crate `constriction`) narrows an interval by the law of each value, −log₂ p bits at a time. The decoder
//! must know the same laws to the last bit, so laws are rounded to whole numbers of 2⁻²⁴, and [`Code`] promises the same
//! numbers however sequences are read. Sequences are coded side by side, in groups, because a model reads many sooner
//! than one; a value's law knows nothing of the sequences beside its own.

use std::f64::consts::LN_2;

use constriction::BitArray;
use constriction::stream::model::{DecoderModel, DefaultUniformModel, EncoderModel, EntropyModel};
use constriction::stream::queue::{DefaultRangeDecoder, DefaultRangeEncoder};
use constriction::stream::{Decode as _, Encode as _};

use crate::capability::Code;

/// Bits of the rounded probabilities.
const PRECISION: usize = 24;
/// All of them together.
const WHOLE: u32 = 1 << PRECISION;
/// Sequences that are coded side by side.
const GROUP: usize = 64;

/// Sequences as code words.
#[derive(Clone, Debug, PartialEq)]
pub struct Coded {
    /// The words of the range coder.
    pub words: Vec<u32>,
    /// −Σ log₂ p of all values under the model's own laws, before they are rounded: what no code could do without.
    pub bits: f64,
}

/// Codes `sequences` of classes `classes`; `progress` is told how many values are done.
///
/// # Panics
///
/// When there is not one class for each sequence, a value is not below the alphabet, or a law is not one of probabilities.
pub fn encode(
    code: &dyn Code,
    sequences: &[Vec<u32>],
    classes: &[Option<u32>],
    progress: &mut dyn FnMut(usize),
) -> Coded {
    assert_eq!(sequences.len(), classes.len(), "{} classes for {} sequences", classes.len(), sequences.len());
    let mut coder = Encoder { coder: DefaultRangeEncoder::new(), bits: 0.0, law: Law::new(code.alphabet()) };
    let mut done = 0;
    for (sequences, classes) in sequences.chunks(GROUP).zip(classes.chunks(GROUP)) {
        let length = longest(sequences.iter().map(Vec::len));
        let all: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let equal = all.iter().all(|sequence| sequence.len() == length);
        match if equal { code.all_laws(&all, classes) } else { None } {
            Some(laws) => {
                coder.group(&all, length, |row, t| law_at(&laws, row * length + t, code.alphabet()));
            }
            None => coder.read_group(code, &all, classes, length),
        }
        done += sequences.iter().map(Vec::len).sum::<usize>();
        progress(done);
    }
    let words = coder.coder.into_compressed().unwrap_or_else(|never| match never {});
    Coded { words, bits: coder.bits }
}

/// Decodes sequences of `lengths` and `classes` that [`encode`] made; `progress` is told how many values are done.
///
/// `None` when the words end early or lie outside of every law: they are damaged, or of another model. Words that are
/// damaged otherwise decode to other values.
///
/// # Panics
///
/// When there is not one class for each sequence.
pub fn decode(
    code: &dyn Code,
    lengths: &[usize],
    classes: &[Option<u32>],
    words: &[u32],
    progress: &mut dyn FnMut(usize),
) -> Option<Vec<Vec<u32>>> {
    assert_eq!(lengths.len(), classes.len(), "{} classes for {} sequences", classes.len(), lengths.len());
    let mut coder = DefaultRangeDecoder::from_compressed(words.to_vec()).ok()?;
    let mut law = Law::new(code.alphabet());
    let (mut sequences, mut done) = (Vec::with_capacity(lengths.len()), 0);
    for (lengths, classes) in lengths.chunks(GROUP).zip(classes.chunks(GROUP)) {
        let mut group: Vec<Vec<u32>> = lengths.iter().map(|&length| Vec::with_capacity(length)).collect();
        let mut reader = code.reader(classes);
        let length = longest(lengths.iter().copied());
        for t in 0..length {
            let laws = reader.laws();
            for (row, sequence) in group.iter_mut().enumerate().filter(|&(row, _)| t < lengths[row]) {
                law.round(law_at(laws, row, code.alphabet()));
                sequence.push(coder.decode_symbol(&law).ok()? as u32);
                done += 1;
            }
            if t + 1 < length {
                reader.push(&values_at(group.iter().map(Vec::as_slice), t));
            }
            progress(done);
        }
        sequences.append(&mut group);
    }
    Some(sequences)
}

/// Codes numbers that nothing is known of but how many they could be: each is `(number, how many)`.
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

/// Decodes numbers that [`encode_uniform`] coded, given how many each could be; `None` when the words end early.
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

fn law_at(laws: &[f32], row: usize, alphabet: usize) -> &[f32] {
    &laws[row * alphabet..(row + 1) * alphabet]
}

/// Value `t` of each sequence; those that have ended go on with zeros, which are not coded.
fn values_at<'a>(sequences: impl Iterator<Item = &'a [u32]>, t: usize) -> Vec<u32> {
    sequences.map(|sequence| sequence.get(t).copied().unwrap_or(0)).collect()
}

struct Encoder {
    coder: DefaultRangeEncoder,
    bits: f64,
    law: Law,
}

impl Encoder {
    /// Codes a group whose laws are known: value 0 of each sequence, then value 1 of each, and so on.
    fn group<'a>(&mut self, sequences: &[&[u32]], length: usize, law: impl Fn(usize, usize) -> &'a [f32]) {
        for t in 0..length {
            for (row, sequence) in sequences.iter().enumerate() {
                self.value(sequence[t], law(row, t));
            }
        }
    }

    /// Codes a group by reading it.
    fn read_group(&mut self, code: &dyn Code, sequences: &[&[u32]], classes: &[Option<u32>], length: usize) {
        let mut reader = code.reader(classes);
        for t in 0..length {
            let laws = reader.laws();
            for (row, sequence) in sequences.iter().enumerate().filter(|(_, sequence)| t < sequence.len()) {
                self.value(sequence[t], law_at(laws, row, code.alphabet()));
            }
            if t + 1 < length {
                reader.push(&values_at(sequences.iter().copied(), t));
            }
        }
    }

    fn value(&mut self, value: u32, law: &[f32]) {
        assert!((value as usize) < law.len(), "value {value} of an alphabet of {}", law.len());
        self.bits -= f64::from(law[value as usize]) / LN_2;
        self.law.round(law);
        // The interval of every value has a width, and memory does not refuse words.
        if let Err(fault) = self.coder.encode_symbol(value as usize, &self.law) {
            panic!("value {value} could not be coded: {fault:?}");
        }
    }
}

/// A law rounded to whole numbers, every value with at least one: where the interval of each value begins.
struct Law {
    starts: Vec<u32>,
}

impl Law {
    fn new(alphabet: usize) -> Law {
        assert!(alphabet > 1 && alphabet < WHOLE as usize / 256, "an alphabet of {alphabet} cannot be coded");
        Law { starts: vec![0; alphabet + 1] }
    }

    /// Takes a law of log-probabilities. What rounding leaves over goes to the likeliest value.
    fn round(&mut self, law: &[f32]) {
        let best = law.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(best.is_finite(), "a law without a likeliest value: {law:?}");
        let weight = |l: f32| f64::from(l - best).exp();
        let total: f64 = law.iter().map(|&l| weight(l)).sum();
        let scale = f64::from(WHOLE - law.len() as u32) / total;
        let mut start = 0;
        for (slot, &l) in self.starts.iter_mut().zip(law) {
            *slot = start;
            start += 1 + (weight(l) * scale) as u32;
        }
        let likeliest = law.iter().position(|&l| l == best).unwrap_or(0);
        let left = WHOLE - start;
        self.starts[likeliest + 1..law.len()].iter_mut().for_each(|start| *start += left);
        self.starts[law.len()] = WHOLE;
    }
}

impl EntropyModel<PRECISION> for &Law {
    type Symbol = usize;
    type Probability = u32;
}

impl EncoderModel<PRECISION> for &Law {
    fn left_cumulative_and_probability(
        &self,
        symbol: impl std::borrow::Borrow<usize>,
    ) -> Option<(u32, <u32 as BitArray>::NonZero)> {
        let value = *symbol.borrow();
        let (start, end) = (*self.starts.get(value)?, *self.starts.get(value + 1)?);
        Some((start, <u32 as BitArray>::NonZero::new(end - start)?))
    }
}

impl DecoderModel<PRECISION> for &Law {
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
    use crate::capability::Reader;
    use crate::rng;

    /// Each value repeats the one before it with probability 0.9, plus its class.
    struct Sticky {
        alphabet: usize,
    }

    struct StickyReader {
        alphabet: usize,
        laws: Vec<f32>,
    }

    impl Sticky {
        fn law(&self, before: usize) -> Vec<f32> {
            let other = (0.1 / (self.alphabet - 1) as f64).ln() as f32;
            (0..self.alphabet).map(|value| if value == before { 0.9f32.ln() } else { other }).collect()
        }
    }

    impl Code for Sticky {
        fn alphabet(&self) -> usize {
            self.alphabet
        }

        fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_> {
            let laws = classes.iter().flat_map(|class| self.law(class.unwrap_or(0) as usize)).collect();
            Box::new(StickyReader { alphabet: self.alphabet, laws })
        }
    }

    impl Reader for StickyReader {
        fn laws(&mut self) -> &[f32] {
            &self.laws
        }

        fn push(&mut self, values: &[u32]) {
            let code = Sticky { alphabet: self.alphabet };
            self.laws = values.iter().flat_map(|&value| code.law(value as usize)).collect();
        }
    }

    #[test]
    fn sequences_come_back_and_take_what_their_laws_say() {
        for alphabet in [2, 3, 256, 5000] {
            let code = Sticky { alphabet };
            let mut generator = rng::generator(0, "test", alphabet as u64);
            let mut sequence = |length: usize| {
                let mut value = 0;
                let mut next = || {
                    if rng::unit_f64(&mut generator) > 0.9 {
                        value = rng::below(&mut generator, alphabet as u64) as u32;
                    }
                    value
                };
                (0..length).map(|_| next()).collect::<Vec<_>>()
            };
            let sequences: Vec<_> = (0..70).map(|i| sequence(i * 7 % 301)).collect();
            let classes: Vec<_> = (0..70).map(|i| Some(i % 2)).collect();
            let coded = encode(&code, &sequences, &classes, &mut |_| ());
            let lengths: Vec<_> = sequences.iter().map(Vec::len).collect();
            let decoded = decode(&code, &lengths, &classes, &coded.words, &mut |_| ());
            assert_eq!(decoded.as_ref(), Some(&sequences), "alphabet {alphabet}");
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
        let mut law = Law::new(4);
        law.round(&[f32::NEG_INFINITY, 0.0, -200.0, f32::NEG_INFINITY]);
        assert_eq!(law.starts, [0, 1, WHOLE - 2, WHOLE - 1, WHOLE]);
    }

    #[test]
    fn words_that_end_early_are_no_sequences() {
        let code = Sticky { alphabet: 256 };
        let sequence = vec![(0..=255).collect::<Vec<u32>>()];
        let words = encode(&code, &sequence, &[None], &mut |_| ()).words;
        let decoded = decode(&code, &[256], &[None], &words[..words.len() / 2], &mut |_| ());
        assert_ne!(decoded, Some(sequence));
    }
}
