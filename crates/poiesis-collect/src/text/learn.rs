//! Learns a byte-level BPE vocabulary from pieces of text as they come.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::bpe::{Bpe, WordCounts, pieces};

/// Takes pieces of text on one side while [`learn`] counts them on the other.
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
pub(crate) fn learn(texts: &Receiver<Vec<String>>, size: u32) -> Result<Bpe, String> {
    let mut counts = WordCounts::default();
    texts.iter().for_each(|pieces| counts.add(&pieces));
    crate::bpe::learn(&counts, size)
}
