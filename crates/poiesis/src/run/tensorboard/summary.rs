//! The values of a summary (`tensorflow/core/framework/summary.proto`): what TensorBoard shows of a step under a tag.
//!
//! Scalars and images are in the fields made for them. Everything else is a tensor, whose metadata name the plugin that shows it.

use super::message::Message;

/// Fields of `Summary.Value`.
mod field {
    pub(super) const TAG: u64 = 1;
    pub(super) const SIMPLE_VALUE: u64 = 2;
    pub(super) const IMAGE: u64 = 4;
    pub(super) const TENSOR: u64 = 8;
    pub(super) const METADATA: u64 = 9;
}

/// `DT_FLOAT` and `DT_STRING` of `tensorflow/core/framework/types.proto`.
const FLOAT: u64 = 1;
const STRING: u64 = 7;

/// `AudioPluginData.WAV`.
const WAV: u64 = 11;

/// A scalar.
pub(super) fn scalar(tag: &str, number: f64) -> Message {
    let mut value = tagged(tag);
    value.float(field::SIMPLE_VALUE, number as f32);
    value
}

/// An image of `[height, width, channels]` as PNG.
pub(super) fn image(tag: &str, [height, width, channels]: [usize; 3], png: &[u8]) -> Message {
    let mut image = Message::default();
    image.varint(1, height as u64);
    image.varint(2, width as u64);
    image.varint(3, channels as u64);
    image.bytes(4, png);
    let mut value = tagged(tag);
    value.bytes(field::IMAGE, &image.0);
    value
}

/// A text in Markdown.
pub(super) fn markdown(tag: &str, text: &str) -> Message {
    of_plugin(tag, "text", &Message::default(), &strings(&[], &[text.as_bytes()]))
}

/// Several texts in Markdown, each a row of a table.
pub(super) fn markdown_rows(tag: &str, texts: &[String]) -> Message {
    let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    of_plugin(tag, "text", &Message::default(), &strings(&[texts.len()], &texts))
}

/// Sounds, each the bytes of a WAV file and an empty label.
pub(super) fn sounds(tag: &str, wavs: &[Vec<u8>]) -> Message {
    let mut plugin = Message::default();
    plugin.varint(2, WAV);
    let labelled: Vec<&[u8]> = wavs.iter().flat_map(|wav| [wav.as_slice(), &[]]).collect();
    of_plugin(tag, "audio", &plugin, &strings(&[wavs.len(), 2], &labelled))
}

/// What a plugin reads from the metadata alone. Readers want a value too: an array of no floats.
pub(super) fn metadata_alone(tag: &str, plugin: &str, data: &Message) -> Message {
    let mut none = Message::default();
    none.varint(1, FLOAT);
    none.bytes(2, &shape(&[0]).0);
    of_plugin(tag, plugin, data, &none)
}

/// Text that Markdown shows letter by letter: between two lines of more backticks than any run of them in it.
pub(super) fn letter_by_letter(text: &str, language: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}{language}\n{text}\n{fence}\n")
}

fn tagged(tag: &str) -> Message {
    let mut value = Message::default();
    value.bytes(field::TAG, tag.as_bytes());
    value
}

fn of_plugin(tag: &str, name: &str, data: &Message, tensor: &Message) -> Message {
    let mut plugin = Message::default();
    plugin.bytes(1, name.as_bytes());
    plugin.bytes(2, &data.0);
    let mut metadata = Message::default();
    metadata.bytes(1, &plugin.0);
    let mut value = tagged(tag);
    value.bytes(field::METADATA, &metadata.0);
    value.bytes(field::TENSOR, &tensor.0);
    value
}

/// A tensor of this shape, row by row (`tensorflow/core/framework/tensor.proto`).
fn strings(lengths: &[usize], values: &[&[u8]]) -> Message {
    let mut tensor = Message::default();
    tensor.varint(1, STRING);
    tensor.bytes(2, &shape(lengths).0);
    for value in values {
        tensor.bytes(8, value);
    }
    tensor
}

fn shape(lengths: &[usize]) -> Message {
    let mut shape = Message::default();
    for &length in lengths {
        let mut dim = Message::default();
        dim.varint(1, length as u64);
        shape.bytes(2, &dim.0);
    }
    shape
}
