//! What the tokens of a text stand for: bytes, characters, or sequences of bytes learned from the text (byte-pair
//! encoding, Sennrich et al. 2016, arXiv 1508.07909, on bytes as in GPT-2).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokenizers::Tokenizer;

use crate::error::{Error, Result};

/// What the tokens of a text stand for.
///
/// No vocabulary has a token for the boundary between documents: [`Stream`](crate::Stream) says where they begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Vocabulary {
    /// Token = byte, 256 of them.
    Bytes,
    /// Token = index of the character.
    Characters {
        /// The characters, sorted and each once.
        #[serde(with = "characters")]
        characters: Vec<char>,
    },
    /// Token = a sequence of bytes that was frequent where the vocabulary was learned, or a single byte.
    Bpe(Bpe),
}

impl Vocabulary {
    /// Number of tokens.
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary is never empty")]
    pub fn len(&self) -> usize {
        match self {
            Vocabulary::Bytes => 256,
            Vocabulary::Characters { characters } => characters.len(),
            Vocabulary::Bpe(bpe) => bpe.bytes.len(),
        }
    }

    /// The tokens of a text, the same whatever the number of threads.
    ///
    /// BPE works on one line at a time (at most 64 KiB of it), and bytes that are no UTF-8 become tokens of single bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NotInVocabulary`] for the first character that is not among the [`Vocabulary::Characters`], or the first
    /// byte there that is no UTF-8. The other vocabularies take any bytes.
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u32>> {
        match self {
            Vocabulary::Bytes => Ok(text.iter().map(|&byte| u32::from(byte)).collect()),
            Vocabulary::Characters { characters } => encode_characters(characters, text),
            Vocabulary::Bpe(bpe) => Ok(bpe.encode(text)),
        }
    }

    /// The text of some tokens. It is UTF-8 when all tokens of a whole text are given; bytes and BPE may also be cut
    /// within a character.
    ///
    /// # Panics
    ///
    /// When a token is not below [`Vocabulary::len`].
    pub fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        let mut text = Vec::with_capacity(tokens.len());
        for &token in tokens {
            let index = token as usize;
            assert!(index < self.len(), "token {token} of a vocabulary of {}", self.len());
            match self {
                Vocabulary::Bytes => text.push(token as u8),
                Vocabulary::Characters { characters } => {
                    text.extend(characters[index].encode_utf8(&mut [0; 4]).as_bytes());
                }
                Vocabulary::Bpe(bpe) => text.extend(&*bpe.bytes[index]),
            }
        }
        text
    }

    /// Bytes that a token takes on disk: 1, 2 or 4.
    pub(crate) fn token_bytes(&self) -> usize {
        match self.len() {
            ..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        }
    }

    /// What the types do not express: characters are sorted and each there once.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Vocabulary::Characters { characters } if characters.is_empty() => {
                Err("the vocabulary has no characters".to_owned())
            }
            Vocabulary::Characters { characters } if !characters.is_sorted_by(|a, b| a < b) => {
                Err("the characters of the vocabulary are not sorted".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn encode_characters(characters: &[char], text: &[u8]) -> Result<Vec<u32>> {
    let outside =
        |character: String, offset| Error::NotInVocabulary { character, offset, size: characters.len() };
    // Below 128 a table answers; 255 means that the character is not there.
    let ascii: [u8; 128] = std::array::from_fn(|byte| {
        characters.binary_search(&char::from(byte as u8)).map_or(255, |index| index as u8)
    });
    let mut tokens = Vec::with_capacity(text.len());
    let mut offset = 0;
    for chunk in text.utf8_chunks() {
        for (at, character) in chunk.valid().char_indices() {
            let index = match ascii.get(character as usize) {
                Some(255) => None,
                Some(&index) => Some(u32::from(index)),
                None => characters.binary_search(&character).ok().map(|index| index as u32),
            };
            let Some(index) = index else {
                let shown = format!("{character:?} (U+{:04X})", character as u32);
                return Err(outside(shown, offset + at));
            };
            tokens.push(index);
        }
        offset += chunk.valid().len();
        if let Some(byte) = chunk.invalid().first() {
            return Err(outside(format!("0x{byte:02x}, no UTF-8,"), offset));
        }
    }
    Ok(tokens)
}

/// A vocabulary learned by byte-pair encoding: the 256 bytes and merges of them.
///
/// In `dataset.json` it is the JSON of the `tokenizers` library, as text.
#[derive(Clone)]
pub struct Bpe {
    json: Arc<str>,
    tokenizer: Arc<Tokenizer>,
    /// The bytes of each token.
    bytes: Arc<[Box<[u8]>]>,
    /// The token of each single byte.
    singles: Arc<[u32]>,
}

impl Bpe {
    /// Reads the JSON of a byte-level BPE of the `tokenizers` library.
    pub(crate) fn from_json(json: &str) -> Result<Bpe, String> {
        let tokenizer = Tokenizer::from_bytes(json).map_err(|e| format!("its BPE cannot be read: {e}"))?;
        let byte_of: HashMap<char, u8> = (0..=255).map(|byte| (byte_character(byte), byte)).collect();
        let count = tokenizer.get_vocab_size(false);
        let mut bytes = Vec::with_capacity(count);
        for id in 0..count as u32 {
            let token = tokenizer.id_to_token(id).ok_or_else(|| format!("its BPE lacks token {id}"))?;
            let spelt: Option<Box<[u8]>> = token.chars().map(|c| byte_of.get(&c).copied()).collect();
            bytes.push(spelt.ok_or_else(|| format!("token {id} of its BPE is not made of bytes"))?);
        }
        let mut singles = [None; 256];
        for (id, token) in bytes.iter().enumerate() {
            if let [byte] = **token {
                singles[usize::from(byte)] = Some(id as u32);
            }
        }
        let singles: Option<Arc<[u32]>> = singles.into_iter().collect();
        let singles = singles.ok_or("its BPE lacks a byte")?;
        Ok(Bpe { json: json.into(), tokenizer: Arc::new(tokenizer), bytes: bytes.into(), singles })
    }

    fn encode(&self, text: &[u8]) -> Vec<u32> {
        // Short texts are not worth waking other threads for.
        const ALONE: usize = 1 << 14;
        if text.len() <= ALONE {
            let mut tokens = Vec::new();
            pieces(text).for_each(|piece| self.encode_piece(piece, &mut tokens));
            return tokens;
        }
        let pieces: Vec<&[u8]> = pieces(text).collect();
        let encoded: Vec<Vec<u32>> = pieces
            .par_chunks(64)
            .map(|pieces| {
                let mut tokens = Vec::new();
                pieces.iter().for_each(|piece| self.encode_piece(piece, &mut tokens));
                tokens
            })
            .collect();
        encoded.concat()
    }

    fn encode_piece(&self, piece: &[u8], tokens: &mut Vec<u32>) {
        for chunk in piece.utf8_chunks() {
            if !chunk.valid().is_empty() {
                match self.tokenizer.encode_fast(chunk.valid(), false) {
                    Ok(encoding) => tokens.extend(encoding.get_ids()),
                    // Whatever a tokenizer trips over can still be spelt out.
                    Err(_) => tokens.extend(chunk.valid().bytes().map(|byte| self.singles[byte as usize])),
                }
            }
            tokens.extend(chunk.invalid().iter().map(|&byte| self.singles[byte as usize]));
        }
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

impl Serialize for Bpe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored { tokenizer: self.json.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bpe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bpe, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        Bpe::from_json(&stored.tokenizer).map_err(serde::de::Error::custom)
    }
}

/// How a BPE stands in `dataset.json`.
#[derive(Serialize, Deserialize)]
struct Stored {
    tokenizer: String,
}

/// Longest piece of a line that BPE sees at once, in bytes.
pub(crate) const LONGEST_PIECE: usize = 1 << 16;

/// Cuts a text into what BPE sees at once: lines with their ends, and long lines into parts. A text may be given in
/// several parts with the same result, as long as each ends where a piece does; see [`whole_pieces`].
pub(crate) fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(first_piece(rest));
        rest = after;
        Some(piece)
    })
}

/// Length of the first piece of a text that is not empty.
fn first_piece(text: &[u8]) -> usize {
    let window = &text[..text.len().min(LONGEST_PIECE)];
    match window.iter().position(|&byte| byte == b'\n') {
        Some(end) => end + 1,
        None if window.len() < LONGEST_PIECE => window.len(),
        // Back to where a character begins, if it is text at all.
        None => {
            (0..4).map(|back| LONGEST_PIECE - back).find(|&at| is_boundary(text, at)).unwrap_or(LONGEST_PIECE)
        }
    }
}

fn is_boundary(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| byte & 0xc0 != 0x80)
}

/// How much of a text ends where a piece ends whatever follows: up to the last end of a line, or, within a very long
/// line, up to the last part of it.
pub(crate) fn whole_pieces(text: &[u8]) -> usize {
    let lines = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut end = lines;
    // One byte more than a piece shows whether the piece ends within a character.
    while text.len() - end > LONGEST_PIECE {
        end += first_piece(&text[end..]);
    }
    end
}

/// The visible character that stands for a byte in byte-level BPE: printable ones for themselves, the other 68
/// numbered from U+0100.
pub(crate) fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let number = (0..byte).filter(|&other| !printable(other)).count() as u32;
    char::from_u32(0x100 + number).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Characters as one string, which reads better than a list.
mod characters {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(characters: &[char], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&characters.iter().collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<char>, D::Error> {
        Ok(String::deserialize(deserializer)?.chars().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_parts_has_the_pieces_of_the_whole() {
        let long = "é€x".repeat(60_000);
        let texts =
            ["", "a", "one\ntwo\n\n\nthree", &long, &format!("a\n{long}\n{long}b\nc"), &"\n".repeat(5000)];
        for text in texts.map(str::as_bytes) {
            let whole: Vec<&[u8]> = pieces(text).collect();
            assert_eq!(whole.concat(), text);
            assert!(
                whole.iter().all(|piece| std::str::from_utf8(piece).is_ok() && piece.len() <= LONGEST_PIECE)
            );
            for step in [1_000, 65_536, 100_001] {
                let (mut waiting, mut found) = (Vec::new(), Vec::new());
                for part in text.chunks(step) {
                    waiting.extend(part);
                    let rest = waiting.split_off(whole_pieces(&waiting));
                    found.extend(pieces(&waiting).map(<[u8]>::to_vec));
                    waiting = rest;
                }
                found.extend(pieces(&waiting).map(<[u8]>::to_vec));
                assert_eq!(found, whole, "{} bytes in steps of {step}", text.len());
            }
        }
    }

    #[test]
    fn bytes_have_visible_characters_each_its_own() {
        let all: Vec<char> = (0..=255).map(byte_character).collect();
        // As in GPT-2: a space is Ġ, the end of a line Ċ.
        assert_eq!([all[32], all[10], all[65], all[173]], ['Ġ', 'Ċ', 'A', 'Ń']);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 256);
        assert!(all.iter().all(|c| !c.is_whitespace() && !c.is_control()));
    }

    #[test]
    fn tokens_take_as_few_bytes_as_hold_them() {
        let of = |count: u32| {
            let characters = (0x4e00..0x4e00 + count).filter_map(char::from_u32).collect();
            Vocabulary::Characters { characters }.token_bytes()
        };
        assert_eq!([of(1), of(256), of(257)], [1, 1, 2]);
        assert_eq!(Vocabulary::Bytes.token_bytes(), 1);
        let all: Vec<char> = (0..=0x1_2000).filter_map(char::from_u32).collect();
        assert_eq!(Vocabulary::Characters { characters: all }.token_bytes(), 4);
    }

    #[test]
    fn characters_stand_in_the_card_as_one_text() {
        let vocabulary = Vocabulary::Characters { characters: vec!['\n', '"', 'a', '🦀'] };
        let json = serde_json::to_string(&vocabulary).unwrap();
        assert_eq!(json, r#"{"kind":"characters","characters":"\n\"a🦀"}"#);
        assert_eq!(serde_json::from_str::<Vocabulary>(&json).unwrap(), vocabulary);
        assert!(Vocabulary::Characters { characters: vec!['b', 'a'] }.check().is_err());
        assert!(Vocabulary::Characters { characters: vec!['a', 'a'] }.check().is_err());
        assert!(Vocabulary::Characters { characters: Vec::new() }.check().is_err());
    }
}
