//! A stack of symbols, each of which takes −log₂ of its probability in bits: asymmetric numeral systems (Duda 2013, arXiv:1311.2540),
//! with ranges of integers, a state of 64 bits and words of 32.
//!
//! The symbol that was pushed last is popped first. Popping under a distribution is the exact inverse of pushing, and the other way
//! round, so what is popped under one distribution can be pushed back later: bits-back coding rests on that.

use rand::Rng as _;

use crate::rng;

/// The state is never below this, but for a damaged archive.
const SMALLEST: u64 = 1 << 32;

/// The interval of a symbol: it has `width` of the 2^`precision` places, from `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start: u32,
    pub(super) width: u32,
    /// At most 28, so that the state has digits to spare for rounding.
    pub(super) precision: u32,
}

/// A stack of symbols.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    /// The top of the stack.
    state: u64,
    /// The rest, the last one next to the state.
    words: Vec<u32>,
    initial: Option<Initial>,
}

/// Random words below the first symbol, drawn when they are needed.
#[derive(Clone, Debug)]
struct Initial {
    generator: rng::Generator,
    drawn: u64,
}

/// The generator of the initial words. They carry no information, so one key serves all archives.
fn initial_words() -> rng::Generator {
    rng::generator(0, "bits-back", 0)
}

/// The state over the first initial word.
fn first_state(word: u32) -> u64 {
    SMALLEST | u64::from(word)
}

impl Stack {
    /// A stack without symbols, from which random ones can be popped without end.
    pub(super) fn begin() -> Stack {
        let mut generator = initial_words();
        let state = first_state(generator.next_u32());
        Stack { state, words: Vec::new(), initial: Some(Initial { generator, drawn: 1 }) }
    }

    /// The stack that [`into_words`](Stack::into_words) gave; `None` for words that it cannot give.
    pub(super) fn from_words(words: &[u32]) -> Option<Stack> {
        let (words, &[low, high]) = words.split_last_chunk()?;
        let state = u64::from(high) << 32 | u64::from(low);
        (state >= SMALLEST).then(|| Stack { state, words: words.to_vec(), initial: None })
    }

    /// The whole stack as words, with the initial ones that were drawn.
    pub(super) fn into_words(mut self) -> Vec<u32> {
        self.words.extend([self.state as u32, (self.state >> 32) as u32]);
        self.words
    }

    /// Initial words that were drawn so far.
    pub(super) fn drawn(&self) -> u64 {
        self.initial.as_ref().map_or(0, |initial| initial.drawn)
    }

    /// Whether nothing but the first `drawn` initial words is left.
    pub(super) fn is_initial(&self, drawn: u64) -> bool {
        if self.words.len() as u64 + 1 != drawn {
            return false;
        }
        let mut generator = initial_words();
        let first = generator.next_u32();
        self.state == first_state(first) && self.words.iter().rev().all(|&word| word == generator.next_u32())
    }

    /// Pushes a symbol.
    ///
    /// # Panics
    ///
    /// When the interval is empty.
    pub(super) fn push(&mut self, Interval { start, width, precision }: Interval) {
        assert!(width > 0, "a symbol without a place cannot be pushed");
        let width = u64::from(width);
        if self.state >> (64 - precision) >= width {
            self.words.push(self.state as u32);
            self.state >>= 32;
        }
        self.state = (self.state / width) << precision | (self.state % width + u64::from(start));
    }

    /// The place, below 2^`precision`, in whose interval the last symbol is.
    pub(super) fn place(&self, precision: u32) -> u32 {
        (self.state & ((1 << precision) - 1)) as u32
    }

    /// Pops the symbol whose interval has the [`place`](Stack::place); `None` when the words end early.
    pub(super) fn pop(&mut self, Interval { start, width, precision }: Interval) -> Option<()> {
        let within = u64::from(self.place(precision)) - u64::from(start);
        self.state = u64::from(width) * (self.state >> precision) + within;
        if self.state < SMALLEST {
            self.state = self.state << 32 | u64::from(self.next_word()?);
        }
        Some(())
    }

    fn next_word(&mut self) -> Option<u32> {
        self.words.pop().or_else(|| {
            let initial = self.initial.as_mut()?;
            initial.drawn += 1;
            Some(initial.generator.next_u32())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A distribution in whole numbers that sum to 2^precision, some of them 0, and a stream of symbols that have it.
    fn streams() -> impl Strategy<Value = (u32, Vec<u32>, Vec<usize>)> {
        let weights = prop::collection::vec(0..1000_u32, 2..40).prop_map(|mut weights| {
            weights[0] += 1;
            weights
        });
        (8..=28_u32, weights, any::<u64>(), 0..3000_usize).prop_map(|(precision, weights, seed, count)| {
            let sum: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            let mut below = 0;
            let mut starts: Vec<u64> = Vec::new();
            for weight in weights {
                starts.push((below << precision) / sum);
                below += u64::from(weight);
            }
            starts.push(1 << precision);
            let mut generator = rng::generator(seed, "test", 0);
            let symbol = |place: u64| starts.partition_point(|&start| start <= place) - 1;
            let stream = (0..count).map(|_| symbol(rng::below(&mut generator, 1 << precision))).collect();
            let widths = starts.windows(2).map(|two| (two[1] - two[0]) as u32).collect();
            (precision, widths, stream)
        })
    }

    fn intervals(precision: u32, widths: &[u32]) -> Vec<Interval> {
        let mut start = 0;
        let mut next = |&width: &u32| {
            start += width;
            Interval { start: start - width, width, precision }
        };
        widths.iter().map(&mut next).collect()
    }

    fn pop(stack: &mut Stack, intervals: &[Interval]) -> Option<usize> {
        let place = stack.place(intervals[0].precision);
        let has = |interval: &Interval| interval.start <= place && place - interval.start < interval.width;
        let symbol = intervals.iter().position(has)?;
        stack.pop(intervals[symbol])?;
        Some(symbol)
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_popped_and_takes_its_information((precision, widths, stream) in streams()) {
            let intervals = intervals(precision, &widths);
            let mut stack = Stack::begin();
            stream.iter().for_each(|&symbol| stack.push(intervals[symbol]));
            prop_assert_eq!(stack.drawn(), 1);
            let words = stack.into_words();
            let bits: f64 =
                stream.iter().map(|&symbol| f64::from(precision) - f64::from(widths[symbol]).log2()).sum();
            let taken = 32.0 * words.len() as f64;
            // The state has two words, and one of them need not be full.
            prop_assert!(taken <= 1.01 * bits + 96.0, "{} bits for {}", taken, bits);
            prop_assert!(taken >= 0.99 * bits, "{} bits for {}", taken, bits);
            let mut stack = Stack::from_words(&words).unwrap();
            for &symbol in stream.iter().rev() {
                prop_assert_eq!(pop(&mut stack, &intervals), Some(symbol));
            }
            prop_assert!(stack.is_initial(1));
        }

        #[test]
        fn what_is_popped_can_be_pushed_back((precision, widths, stream) in streams()) {
            let intervals = intervals(precision, &widths);
            let mut stack = Stack::begin();
            let popped: Vec<usize> = stream.iter().map(|_| pop(&mut stack, &intervals).unwrap()).collect();
            let drawn = stack.drawn();
            let mut stack = Stack::from_words(&stack.into_words()).unwrap();
            popped.iter().rev().for_each(|&symbol| stack.push(intervals[symbol]));
            prop_assert!(stack.is_initial(drawn));
            prop_assert!(!stack.is_initial(drawn + 1));
        }
    }

    #[test]
    fn a_certain_symbol_takes_nothing() {
        let certain = Interval { start: 0, width: 1 << 28, precision: 28 };
        let mut stack = Stack::begin();
        let before = stack.clone().into_words();
        (0..1000).for_each(|_| stack.push(certain));
        assert_eq!(stack.clone().into_words(), before);
        (0..1000).for_each(|_| stack.pop(certain).unwrap());
        assert_eq!(stack.into_words(), before);
    }

    #[test]
    fn words_that_end_early_or_are_no_stack_give_nothing() {
        let mut stack = Stack::from_words(&[7, 0, 1]).unwrap();
        let mut bit = || stack.pop(Interval { start: stack.place(1), width: 1, precision: 1 });
        // One word below a state without digits.
        assert!((0..32).all(|_| bit().is_some()));
        assert!(bit().is_none());
        for words in [&[][..], &[1], &[5, 0]] {
            assert!(Stack::from_words(words).is_none(), "{words:?}");
        }
    }
}
