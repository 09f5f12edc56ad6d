//! A BPE as the JSON of the `tokenizers` library. Other tools read it; data sets of earlier versions hold it.

use std::collections::HashMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::{Merges, Pair};

/// The whole document. Fields are in the order in which the library writes them.
#[derive(Serialize, Deserialize)]
pub(super) struct Tokenizer {
    version: String,
    truncation: (),
    padding: (),
    added_tokens: [(); 0],
    normalizer: (),
    pre_tokenizer: ByteLevel,
    post_processor: (),
    decoder: ByteLevel,
    model: Model,
}

#[derive(Serialize, Deserialize)]
struct ByteLevel {
    r#type: String,
    add_prefix_space: bool,
    trim_offsets: bool,
    use_regex: bool,
}

#[derive(Serialize, Deserialize)]
struct Model {
    r#type: String,
    dropout: (),
    unk_token: (),
    continuing_subword_prefix: (),
    end_of_word_suffix: (),
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    #[serde(serialize_with = "in_order")]
    vocab: HashMap<String, u32>,
    merges: Vec<(String, String)>,
}

/// Tokens in the order of their numbers.
fn in_order<S: Serializer>(vocab: &HashMap<String, u32>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut tokens: Vec<_> = vocab.iter().collect();
    tokens.sort_unstable_by_key(|(_, id)| **id);
    let mut map = serializer.serialize_map(Some(tokens.len()))?;
    tokens.into_iter().try_for_each(|(token, id)| map.serialize_entry(token, id))?;
    map.end()
}

impl Tokenizer {
    /// A byte-level BPE with these tokens, by their bytes, and merges, the first first.
    pub(super) fn new(tokens: &[Vec<u8>], merges: &[Pair]) -> Tokenizer {
        let spelt: Vec<String> =
            tokens.iter().map(|bytes| bytes.iter().copied().map(byte_character).collect()).collect();
        let spell = |id: u32| spelt[id as usize].clone();
        let merges = merges.iter().map(|&(first, second)| (spell(first), spell(second))).collect();
        let byte_level = || ByteLevel {
            r#type: "ByteLevel".to_owned(),
            add_prefix_space: false,
            trim_offsets: true,
            use_regex: true,
        };
        let model = Model {
            r#type: "BPE".to_owned(),
            dropout: (),
            unk_token: (),
            continuing_subword_prefix: (),
            end_of_word_suffix: (),
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: false,
            vocab: spelt.into_iter().zip(0..).collect(),
            merges,
        };
        Tokenizer {
            version: "1.0".to_owned(),
            truncation: (),
            padding: (),
            added_tokens: [],
            normalizer: (),
            pre_tokenizer: byte_level(),
            post_processor: (),
            decoder: byte_level(),
            model,
        }
    }

    pub(super) fn from_json(json: &str) -> Result<Tokenizer, String> {
        let read: Tokenizer =
            serde_json::from_str(json).map_err(|e| format!("its BPE cannot be read: {e}"))?;
        let Tokenizer { pre_tokenizer: words, model, .. } = &read;
        let plain = words.r#type == "ByteLevel" && words.use_regex && !words.add_prefix_space;
        if !plain || model.r#type != "BPE" || model.ignore_merges {
            return Err("its BPE is not one that works on bytes as that of GPT-2 does".to_owned());
        }
        Ok(read)
    }

    pub(super) fn to_json(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|e| e.to_string())
    }

    /// The bytes of each token.
    pub(super) fn tokens(&self) -> Result<Vec<Box<[u8]>>, String> {
        let byte_of: HashMap<char, u8> = (0..=255).map(|byte| (byte_character(byte), byte)).collect();
        let mut tokens = vec![None; self.model.vocab.len()];
        for (token, &id) in &self.model.vocab {
            let spelt: Option<Box<[u8]>> = token.chars().map(|c| byte_of.get(&c).copied()).collect();
            let spelt = spelt.ok_or_else(|| format!("token {id} of its BPE is not made of bytes"))?;
            *tokens.get_mut(id as usize).ok_or("the tokens of its BPE are not numbered one by one")? =
                Some(spelt);
        }
        let lacks = |id: usize| format!("its BPE lacks token {id}");
        tokens.into_iter().enumerate().map(|(id, token)| token.ok_or_else(|| lacks(id))).collect()
    }

    pub(super) fn merges(&self) -> Result<Merges, String> {
        let id = |token: &str| {
            self.model
                .vocab
                .get(token)
                .copied()
                .ok_or_else(|| format!("its BPE merges to {token:?}, which is no token"))
        };
        let merge = |(rank, (first, second)): (u32, &(String, String))| {
            Ok(((id(first)?, id(second)?), (rank, id(&format!("{first}{second}"))?)))
        };
        (0..).zip(&self.model.merges).map(merge).collect()
    }
}

/// The visible character that stands for a byte in byte-level BPE: printable ones for themselves, the other 68
/// numbered from U+0100.
pub(super) fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let number = (0..byte).filter(|&other| !printable(other)).count() as u32;
    char::from_u32(0x100 + number).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_that_of_the_library() {
        let stored = Tokenizer::new(&[b"a".to_vec(), b"\n".to_vec(), b"a\n".to_vec()], &[(0, 1)]);
        let json = stored.to_json().unwrap();
        let level = r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#;
        let expected = [
            r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":"#,
            level,
            r#","post_processor":null,"decoder":"#,
            level,
            r#","model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"#,
            r#""end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"#,
            r#""vocab":{"a":0,"Ċ":1,"aĊ":2},"merges":[["a","Ċ"]]}}"#,
        ];
        assert_eq!(json, expected.concat());
        let read = Tokenizer::from_json(&json).unwrap();
        assert_eq!(*read.tokens().unwrap()[2], *b"a\n");
        assert_eq!(read.merges().unwrap(), HashMap::from([((0, 1), (0, 2))]));
        let other = json.replace("\"use_regex\":true", "\"use_regex\":false");
        assert!(Tokenizer::from_json(&other).is_err());
        assert!(Tokenizer::from_json(&json.replace("null", "0.5")).is_err());
        let gap = Tokenizer::from_json(&json.replace(":2}", ":7}")).unwrap();
        assert!(gap.tokens().unwrap_err().contains("not numbered"));
        assert!(
            Tokenizer::from_json(&json.replace("[\"a\",\"Ċ\"]", "[\"Ċ\",\"a\"]")).unwrap().merges().is_err()
        );
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
}
