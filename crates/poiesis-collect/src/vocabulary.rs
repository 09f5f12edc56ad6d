//! What the tokens of a text stand for: bytes, characters, or sequences of bytes learned from the text (byte-pair
//! encoding, Sennrich et al. 2016, arXiv 1508.07909, on bytes as in GPT-2).

use serde::{Deserialize, Serialize};

use crate::bpe::Bpe;
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
            Vocabulary::Bpe(bpe) => bpe.len(),
        }
    }

    /// The tokens of a text, the same whatever the number of threads.
    ///
    /// BPE works on one line at a time (at most 64 KiB of it), and bytes that are not UTF-8 become tokens of single bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NotInVocabulary`] for the first character that is not among the [`Vocabulary::Characters`], or the first
    /// byte there that is not UTF-8. The other vocabularies take any bytes.
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
                Vocabulary::Bpe(bpe) => text.extend(bpe.token(index)),
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
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
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
            return Err(outside(format!("0x{byte:02x}, not UTF-8,"), offset));
        }
    }
    Ok(tokens)
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
