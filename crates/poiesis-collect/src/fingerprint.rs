//! The fingerprint of a data set: one blake3 hash over everything a model could learn from, independent of how
//! the examples are cut into shards.

use crate::card::{Factor, Kind};
use crate::shard::NO_LABEL;
use crate::split::Split;

/// The hash of one example's content, which also decides its split and finds duplicates.
pub(crate) fn example_hash(example: &[u8]) -> [u8; 32] {
    *blake3::hash(example).as_bytes()
}

/// Gathers the examples of one split in order.
#[derive(Clone, Default)]
pub(crate) struct SplitHasher {
    count: u64,
    examples: blake3::Hasher,
    labels: blake3::Hasher,
    factors: blake3::Hasher,
}

impl SplitHasher {
    /// Takes an example; `boxes` are those of its objects, where the data set has any.
    pub(crate) fn push(
        &mut self,
        example: &[u8; 32],
        label: Option<u32>,
        factors: &[f32],
        boxes: Option<&[[f32; 4]]>,
    ) {
        self.count += 1;
        self.examples.update(example);
        self.labels.update(&label.unwrap_or(NO_LABEL).to_le_bytes());
        for factor in factors {
            self.factors.update(&factor.to_le_bytes());
        }
        if let Some(boxes) = boxes {
            self.factors.update(&(boxes.len() as u32).to_le_bytes());
            for side in boxes.as_flattened() {
                self.factors.update(&side.to_le_bytes());
            }
        }
    }
}

/// The fingerprint of a whole data set, in hexadecimal. Splits without examples leave no trace. `meaning` is what gives
/// the numbers their meaning, such as vocabulary, sample rate or kind of actions.
pub(crate) fn fingerprint<'a>(
    kind: Kind,
    shape: &[usize],
    classes: &[String],
    factors: &[Factor],
    meaning: Option<&str>,
    splits: impl IntoIterator<Item = (Split, &'a SplitHasher)>,
) -> String {
    let mut hasher = blake3::Hasher::new();
    // Every part is preceded by its length, so that no two different data sets feed the same bytes.
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    text("poiesis data set 1");
    text(kind.name());
    text(&format!("{shape:?}"));
    text(&classes.len().to_string());
    classes.iter().for_each(|class| text(class));
    text(&factors.len().to_string());
    factors.iter().for_each(|factor| text(&factor.name));
    if let Some(meaning) = meaning {
        text(meaning);
    }
    for (split, content) in splits {
        if content.count == 0 {
            continue;
        }
        hasher.update(split.as_str().as_bytes());
        hasher.update(&content.count.to_le_bytes());
        for part in [&content.examples, &content.labels, &content.factors] {
            hasher.update(part.finalize().as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
