//! Learns a byte-level BPE vocabulary from pieces of text as they come.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokenizers::Tokenizer;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::vocabulary::{Bpe, byte_character, pieces};

/// Pairs that occur once are not worth a token.
const LEAST: u64 = 2;

/// Takes pieces of text on one side while `learn` counts them on the other.
pub(crate) fn channel() -> (SyncSender<Vec<String>>, Receiver<Vec<String>>) {
    sync_channel(4)
}

/// The pieces of a text, as they are sent.
pub(crate) fn owned_pieces(text: &str) -> Vec<String> {
    // Pieces of UTF-8 end where characters end.
    pieces(text.as_bytes()).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}

/// Learns a vocabulary of at most `size` tokens from everything that is sent. The result does not depend on how the text
/// was cut into messages, nor on the number of threads: words are counted, and merges chosen by count.
pub(crate) fn learn(texts: Receiver<Vec<String>>, size: u32) -> Result<Bpe, String> {
    let alphabet = (0..=255).map(byte_character).collect();
    let trainer = BpeTrainer::builder()
        .vocab_size(size as usize)
        .min_frequency(LEAST)
        .show_progress(false)
        .initial_alphabet(alphabet)
        .build();
    let mut tokenizer = Tokenizer::new(BPE::default());
    // No space before the text; words are cut as in GPT-2.
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::new(false, true, true)));
    tokenizer
        .train(&mut TrainerWrapper::BpeTrainer(trainer), texts.into_iter().flatten())
        .map_err(|e| e.to_string())?;
    Bpe::from_json(&tokenizer.to_string(false).map_err(|e| e.to_string())?)
}
