//! Writing text, and going on with it.

use crate::capability::Code;
use crate::data::{TextShape, TokenShape};
use crate::error::Result;
use crate::generate::{Choice, Writer};

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Text that the model reads first.
    pub prime: &'a [u8],
    /// Tokens to write at most, those of `prime` not counted.
    pub length: usize,
    /// Class of the text, for a model conditioned on classes.
    pub class: Option<u32>,
    /// Seed of the sequence of samples.
    pub seed: u64,
    /// Number of the sample in that sequence.
    pub index: u64,
    /// How tokens are chosen.
    pub choice: Choice,
}

/// Writes one text, handing over its bytes as they come, `prime` first. It ends where the model ends a document, or after
/// `length` tokens. Text *i* of a seed depends on `(seed, i)` and the request alone.
///
/// A model of one long text without documents has no beginning to start from: where `prime` is empty, it reads a line break
/// first, if it knows one.
///
/// # Errors
///
/// [`crate::Error::Data`] when `prime` has characters that are not in the vocabulary.
pub fn write(
    code: &dyn Code,
    shape: &TextShape,
    tokens: TokenShape,
    request: &Request,
    take: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let prime = shape.vocabulary.encode(request.prime)?;
    let indices = request.index..request.index + 1;
    let mut writer = Writer::new(code, request.seed, indices, &[request.class], request.choice);
    if prime.is_empty() && tokens.beginnings == 0 {
        writer.read(&shape.vocabulary.encode(b"\n").unwrap_or_default());
    }
    writer.read(&prime);
    take(request.prime);
    for _ in 0..request.length {
        let token = writer.next(&[None])[0];
        if token as usize >= tokens.values {
            break;
        }
        take(&shape.vocabulary.decode(&[token]));
    }
    Ok(())
}
