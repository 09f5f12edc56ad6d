//! Byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) on bytes, as in GPT-2: how a text becomes tokens, and how
//! the merges are stored.

mod learn;
mod pieces;
mod stored;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use learn::{WordCounts, learn};
use pieces::words;
pub(crate) use pieces::{pieces, whole_pieces};
use stored::Tokenizer;

/// Two neighbouring tokens.
type Pair = (u32, u32);

/// Which pairs are merged: the rank of the merge, lowest first, and the token that the pair becomes.
type Merges = HashMap<Pair, (u32, u32)>;

/// The tokens of words that were encoded before.
type Known<'t> = HashMap<&'t [u8], Vec<u32>>;

/// A vocabulary learned by byte-pair encoding: the 256 bytes and merges of them.
///
/// In `dataset.json` it is the JSON of the `tokenizers` library, as text.
#[derive(Clone)]
pub struct Bpe {
    json: Arc<str>,
    merges: Arc<Merges>,
    /// The bytes of each token.
    bytes: Arc<[Box<[u8]>]>,
    /// The token of each single byte.
    singles: Arc<[u32]>,
}

impl Bpe {
    /// Reads the JSON of a byte-level BPE of the `tokenizers` library.
    pub(crate) fn from_json(json: &str) -> Result<Bpe, String> {
        let stored = Tokenizer::from_json(json)?;
        let bytes = stored.tokens()?;
        let merges = stored.merges()?;
        let mut singles = [None; 256];
        for (id, token) in bytes.iter().enumerate() {
            if let [byte] = **token {
                singles[usize::from(byte)] = Some(id as u32);
            }
        }
        let singles: Option<Arc<[u32]>> = singles.into_iter().collect();
        let singles = singles.ok_or("its BPE lacks a byte")?;
        Ok(Bpe { json: json.into(), merges: Arc::new(merges), bytes: bytes.into(), singles })
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of a token.
    pub(crate) fn token(&self, token: usize) -> &[u8] {
        &self.bytes[token]
    }

    /// The tokens of a text, the same whatever the number of threads.
    pub(crate) fn encode(&self, text: &[u8]) -> Vec<u32> {
        // Short texts are not worth waking other threads for.
        const ALONE: usize = 1 << 14;
        let pieces: Vec<&[u8]> = pieces(text).collect();
        if text.len() <= ALONE {
            return self.encode_pieces(&mut Known::new(), &pieces);
        }
        let encoded =
            pieces.par_chunks(64).map_init(Known::new, |known, pieces| self.encode_pieces(known, pieces));
        encoded.collect::<Vec<_>>().concat()
    }

    fn encode_pieces<'t>(&self, known: &mut Known<'t>, pieces: &[&'t [u8]]) -> Vec<u32> {
        let mut tokens = Vec::new();
        pieces.iter().for_each(|piece| self.encode_piece(piece, known, &mut tokens));
        tokens
    }

    fn encode_piece<'t>(&self, piece: &'t [u8], known: &mut Known<'t>, tokens: &mut Vec<u32>) {
        for chunk in piece.utf8_chunks() {
            for word in words(chunk.valid()) {
                let found = known.entry(word.as_bytes()).or_insert_with(|| self.encode_word(word.as_bytes()));
                tokens.extend_from_slice(found);
            }
            tokens.extend(chunk.invalid().iter().map(|&byte| self.singles[usize::from(byte)]));
        }
    }

    /// Merges the pairs of a word, those of the lowest rank first and from left to right.
    fn encode_word(&self, word: &[u8]) -> Vec<u32> {
        let mut chain = Chain::new(word.iter().map(|&byte| self.singles[usize::from(byte)]).collect());
        let mut waiting = BinaryHeap::new();
        let wait = |waiting: &mut BinaryHeap<_>, chain: &Chain, at: usize| {
            let merge = chain.pair(at).and_then(|pair| self.merges.get(&pair));
            waiting.extend(merge.map(|&(rank, token)| Reverse((rank, at, token))));
        };
        (0..word.len()).for_each(|at| wait(&mut waiting, &chain, at));
        while let Some(Reverse((rank, at, token))) = waiting.pop() {
            // A merge to its left or right may have taken the pair away.
            let still = chain.pair(at).and_then(|pair| self.merges.get(&pair));
            if still != Some(&(rank, token)) {
                continue;
            }
            chain.merge(at, token);
            if let Some(before) = chain.before(at) {
                wait(&mut waiting, &chain, before);
            }
            wait(&mut waiting, &chain, at);
        }
        chain.tokens()
    }
}

/// The tokens of a word as a list in which a token can take the place of two in constant time.
struct Chain {
    /// The token that begins at each byte, if one does.
    tokens: Vec<Option<u32>>,
    /// Where the next token begins, and where the one before it.
    next: Vec<usize>,
    before: Vec<usize>,
}

impl Chain {
    fn new(tokens: Vec<u32>) -> Chain {
        let next = (1..=tokens.len()).collect();
        let before = (0..tokens.len()).map(|at| at.wrapping_sub(1)).collect();
        Chain { tokens: tokens.into_iter().map(Some).collect(), next, before }
    }

    /// The token that begins at a byte and the one after it.
    fn pair(&self, at: usize) -> Option<Pair> {
        let first = self.tokens[at]?;
        let second = *self.tokens.get(self.next[at])?;
        Some((first, second?))
    }

    fn before(&self, at: usize) -> Option<usize> {
        Some(self.before[at]).filter(|&before| before < self.tokens.len())
    }

    /// Puts `token` in the place of the token at a byte and the one after it.
    fn merge(&mut self, at: usize, token: u32) {
        let second = self.next[at];
        self.tokens[at] = Some(token);
        self.tokens[second] = None;
        self.next[at] = self.next[second];
        if let Some(before) = self.before.get_mut(self.next[second]) {
            *before = at;
        }
    }

    fn tokens(self) -> Vec<u32> {
        self.tokens.into_iter().flatten().collect()
    }
}

impl PartialEq for Bpe {
    fn eq(&self, other: &Bpe) -> bool {
        self.json == other.json
    }
}

impl fmt::Debug for Bpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bpe[{}]", self.bytes.len())
    }
}

/// How a BPE is stored in `dataset.json`.
#[derive(Serialize, Deserialize)]
struct InCard {
    tokenizer: String,
}

impl Serialize for Bpe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        InCard { tokenizer: self.json.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bpe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bpe, D::Error> {
        let stored = InCard::deserialize(deserializer)?;
        Bpe::from_json(&stored.tokenizer).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(text: &str, size: u32) -> Bpe {
        let mut counts = WordCounts::default();
        counts.add(&[text.to_owned()]);
        learn(&counts, size).unwrap()
    }

    #[test]
    fn the_most_frequent_pairs_become_tokens() {
        let bpe = learned("low low low lower lowest newest newest", 262);
        let tokens: Vec<&str> =
            (256..bpe.len()).map(|id| std::str::from_utf8(bpe.token(id)).unwrap()).collect();
        assert_eq!(tokens, ["lo", "low", " low", "es", "est", "ew"]);
        let spelt = |text: &str| {
            let tokens = bpe.encode(text.as_bytes());
            tokens
                .iter()
                .map(|&id| String::from_utf8_lossy(bpe.token(id as usize)).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(spelt("slow lowest"), ["s", "low", " low", "est"]);
    }

    #[test]
    fn a_long_word_is_merged_as_a_short_one() {
        let bpe = learned(&"abab ".repeat(50), 260);
        let long = "ab".repeat(20_000);
        let tokens = bpe.encode(long.as_bytes());
        assert_eq!(tokens.iter().map(|&id| bpe.token(id as usize).len()).sum::<usize>(), long.len());
        assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]), "{tokens:?}");
    }
}
