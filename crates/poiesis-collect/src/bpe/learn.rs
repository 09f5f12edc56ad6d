//! Learns a byte-level BPE: the pair of neighbouring tokens that is most frequent within words becomes a token, again and
//! again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use rayon::prelude::*;

use super::pieces::words;
use super::stored::{Tokenizer, byte_character};
use super::{Bpe, Pair};

/// Pairs that occur once are not worth a token.
const LEAST: i64 = 2;

/// How often each word occurs.
#[derive(Default)]
pub(crate) struct WordCounts(HashMap<String, i64>);

impl WordCounts {
    /// Counts the words of some pieces of text.
    pub(crate) fn add(&mut self, pieces: &[String]) {
        let counted = pieces.par_chunks(256).map(|pieces| {
            let mut counts: HashMap<&str, i64> = HashMap::new();
            pieces
                .iter()
                .flat_map(|piece| words(piece))
                .for_each(|word| *counts.entry(word).or_default() += 1);
            counts
        });
        for (word, count) in counted.collect::<Vec<_>>().into_iter().flatten() {
            match self.0.get_mut(word) {
                Some(known) => *known += count,
                None => {
                    self.0.insert(word.to_owned(), count);
                }
            }
        }
    }
}

/// Learns a vocabulary of at most `size` tokens. Equally frequent pairs come in the order of their tokens, so the result
/// depends on the counts alone.
pub(crate) fn learn(counts: &WordCounts, size: u32) -> Result<Bpe, String> {
    let mut learner = Learner::new(counts);
    while learner.tokens.len() < size as usize && learner.merge_next() {}
    Bpe::from_json(&Tokenizer::new(&learner.tokens, &learner.merges).to_json()?)
}

/// A pair with words in which it occurs. The most frequent pair is the greatest, of equals that with the lowest tokens.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    count: i64,
    pair: Reverse<Pair>,
    /// Indices of words, ascending.
    words: Vec<usize>,
}

struct Learner {
    /// The words as tokens, and how often each occurs.
    words: Vec<Vec<u32>>,
    counts: Vec<i64>,
    /// How often each pair occurs.
    pairs: HashMap<Pair, i64>,
    queue: BinaryHeap<Candidate>,
    /// The bytes of each token, and its number by them.
    tokens: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, u32>,
    merges: Vec<Pair>,
}

impl Learner {
    fn new(counts: &WordCounts) -> Learner {
        let mut alphabet: Vec<u8> = (0..=255).collect();
        // As the `tokenizers` library numbers them.
        alphabet.sort_by_key(|&byte| byte_character(byte));
        let tokens: Vec<Vec<u8>> = alphabet.into_iter().map(|byte| vec![byte]).collect();
        let numbers: HashMap<Vec<u8>, u32> = tokens.iter().cloned().zip(0..).collect();
        let single = |byte: u8| numbers[&[byte][..]];
        // The order of the words decides nothing, but with one order a run repeats exactly.
        let mut sorted: Vec<(&String, i64)> = counts.0.iter().map(|(word, &count)| (word, count)).collect();
        sorted.sort_unstable();
        let words = sorted.iter().map(|(word, _)| word.bytes().map(single).collect()).collect();
        let counts = sorted.iter().map(|&(_, count)| count).collect();
        let (pairs, queue, merges) = (HashMap::new(), BinaryHeap::new(), Vec::new());
        let mut learner = Learner { words, counts, pairs, queue, tokens, numbers, merges };
        learner.count_pairs();
        learner
    }

    fn count_pairs(&mut self) {
        let mut places = HashMap::new();
        for (index, word) in self.words.iter().enumerate() {
            for pair in word.windows(2) {
                let pair = (pair[0], pair[1]);
                *self.pairs.entry(pair).or_default() += self.counts[index];
                remember(&mut places, pair, index);
            }
        }
        self.enqueue(places);
    }

    fn enqueue(&mut self, places: HashMap<Pair, Vec<usize>>) {
        for (pair, words) in places {
            let count = self.pairs[&pair];
            if count > 0 {
                self.queue.push(Candidate { count, pair: Reverse(pair), words });
            }
        }
    }

    /// Makes a token of the most frequent pair. Returns whether there was one that occurs often enough.
    fn merge_next(&mut self) -> bool {
        let Some(mut candidate) = self.queue.pop() else { return false };
        let pair = candidate.pair.0;
        let count = self.pairs[&pair];
        if candidate.count != count {
            // Other merges have made it rarer since it was counted.
            candidate.count = count;
            self.queue.push(candidate);
            return true;
        }
        if count < LEAST {
            return false;
        }
        let token = self.token(pair);
        self.merges.push(pair);
        let mut places = HashMap::new();
        for index in candidate.words {
            let count = self.counts[index];
            merge(&mut self.words[index], pair, token, &mut |pair, change| {
                *self.pairs.entry(pair).or_default() += change * count;
                if change > 0 {
                    remember(&mut places, pair, index);
                }
            });
        }
        self.enqueue(places);
        true
    }

    /// The number of the token that a pair becomes. Another pair may have become the same token before.
    fn token(&mut self, (first, second): Pair) -> u32 {
        let bytes = [&self.tokens[first as usize][..], &self.tokens[second as usize]].concat();
        *self.numbers.entry(bytes).or_insert_with_key(|bytes| {
            self.tokens.push(bytes.clone());
            self.tokens.len() as u32 - 1
        })
    }
}

/// Notes that a pair occurs in a word.
fn remember(places: &mut HashMap<Pair, Vec<usize>>, pair: Pair, word: usize) {
    let words = places.entry(pair).or_default();
    if words.last() != Some(&word) {
        words.push(word);
    }
}

/// Replaces a pair with `token` everywhere in a word, and returns the neighbouring pairs that are gone (-1) and those that
/// are new (1).
fn merge(word: &mut Vec<u32>, pair: Pair, token: u32, change: &mut dyn FnMut(Pair, i64)) {
    let (mut read, mut written) = (0, 0);
    while read < word.len() {
        if word[read..].get(..2) != Some(&[pair.0, pair.1]) {
            word[written] = word[read];
            (read, written) = (read + 1, written + 1);
            continue;
        }
        if written > 0 {
            change((word[written - 1], pair.0), -1);
            change((word[written - 1], token), 1);
        }
        if let Some(&next) = word.get(read + 2) {
            change((pair.1, next), -1);
            change((token, next), 1);
        }
        word[written] = token;
        (read, written) = (read + 2, written + 1);
    }
    word.truncate(written);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_reports_the_pairs_around_it() {
        let mut word = vec![1, 2, 3, 1, 2, 1, 2];
        let mut changes: HashMap<Pair, i64> = HashMap::new();
        merge(&mut word, (1, 2), 9, &mut |pair, change| *changes.entry(pair).or_default() += change);
        assert_eq!(word, [9, 3, 9, 9]);
        changes.retain(|_, change| *change != 0);
        let expected = [((2, 3), -1), ((9, 3), 1), ((3, 1), -1), ((3, 9), 1), ((2, 1), -1), ((9, 9), 1)];
        assert_eq!(changes, HashMap::from(expected));
        let mut word = vec![5, 5, 5];
        merge(&mut word, (5, 5), 6, &mut |_, _| ());
        assert_eq!(word, [6, 5]);
    }

    #[test]
    fn counts_do_not_depend_on_how_the_text_came() {
        let text = "the cat sat on the mat; the end\n".repeat(400);
        let pieces: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let (mut whole, mut parts) = (WordCounts::default(), WordCounts::default());
        whole.add(&pieces);
        pieces.chunks(7).for_each(|pieces| parts.add(pieces));
        assert_eq!(whole.0, parts.0);
        assert_eq!(whole.0[" the"], 800);
    }
}
