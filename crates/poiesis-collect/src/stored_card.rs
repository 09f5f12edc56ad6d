//! `dataset.json` of a packed folder: reads it and checks what its types do not express.

use std::path::Path;

use crate::card::{Card, FORMAT, Kind, SplitCard};
use crate::dataset::CARD_FILE;
use crate::error::{Error, Result};
use crate::experience::{ActionsCard, MOST_CHOICES, least_bytes};
use crate::options::MOST_OBJECTS;
use crate::regular;

/// Whether a folder holds a packed data set (as opposed to a `dataset.json` of another program).
pub(crate) fn is_packed(folder: &Path) -> bool {
    let version = |text: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&text).ok();
    regular::read(&folder.join(CARD_FILE))
        .ok()
        .and_then(version)
        .is_some_and(|v| v.get("poiesis_dataset").is_some())
}

/// Reads and checks the card of a packed folder.
pub(crate) fn read_card(folder: &Path) -> Result<Card> {
    let path = folder.join(CARD_FILE);
    let text = regular::read(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound if folder.exists() => Error::NotADataset { path: folder.to_owned() },
        std::io::ErrorKind::NotFound => Error::NotFound { path: folder.to_owned() },
        std::io::ErrorKind::NotADirectory => Error::NotADataset { path: folder.to_owned() },
        _ => Error::read(&path, e),
    })?;
    let card: Card = serde_json::from_slice(&text).map_err(|e| Error::corrupt(&path, e.to_string()))?;
    check_card(&card).map_err(|reason| Error::corrupt(&path, reason))?;
    Ok(card)
}

/// What the types of the card do not express.
fn check_card(card: &Card) -> Result<(), String> {
    if card.poiesis_dataset != FORMAT {
        return Err(format!(
            "it is of format {}, and this version reads format {FORMAT}",
            card.poiesis_dataset
        ));
    }
    let ranks = match card.kind {
        Kind::Images => 3,
        Kind::Points | Kind::Sound | Kind::Experience => 1,
        Kind::Text => 0,
    };
    let elements = card.shape.iter().try_fold(1_usize, |n, &length| n.checked_mul(length));
    if card.shape.len() != ranks || elements.is_none_or(|n| n == 0 || n > 1 << 40) {
        return Err(format!("an example cannot have shape {:?}", card.shape));
    }
    if card.kind == Kind::Images && !matches!(card.shape[2], 1 | 3 | 4) {
        return Err(format!("images cannot have {} channels", card.shape[2]));
    }
    check_stream(card)?;
    check_points(card)?;
    check_experience(card)?;
    if card
        .objects
        .is_some_and(|most| card.kind != Kind::Images || !(1..=MOST_OBJECTS as usize).contains(&most))
    {
        return Err("its kind and what it says of objects do not fit together".to_owned());
    }
    for split in &card.splits {
        let rows = split.shards.iter().try_fold(0_usize, |n, shard| n.checked_add(shard.count));
        if rows != Some(split.count) || split.count == 0 {
            return Err(format!(
                "the shards of split {} do not add up to {} examples",
                split.split, split.count
            ));
        }
        let elements_in_shards =
            split.shards.iter().try_fold(0_u64, |n, shard| n.checked_add(shard.elements));
        if elements_in_shards != Some(split.elements) || (split.elements == 0) == card.kind.has_elements() {
            return Err(format!(
                "the shards of split {} do not add up to {} elements",
                split.split, split.elements
            ));
        }
        for shard in &split.shards {
            let plain = Path::new(&shard.file).file_name().is_some_and(|name| name == shard.file.as_str());
            if !plain {
                return Err(format!("shard {:?} is not a plain file name", shard.file));
            }
            let count = if card.kind.has_elements() { shard.elements } else { shard.count as u64 };
            let least = match &card.experience {
                Some(about) => {
                    least_bytes(about.observation, about.actions.width(), shard.elements, shard.count)
                }
                None => elements.unwrap_or(0) as u128 * u128::from(count),
            };
            if least > u128::from(shard.bytes) {
                return Err(format!("shard {} is too small for {count} examples", shard.file));
            }
        }
    }
    Ok(())
}

/// What a card of text or sound must say, and no other.
fn check_stream(card: &Card) -> Result<(), String> {
    if card.text.is_some() != (card.kind == Kind::Text) || card.sound.is_some() != (card.kind == Kind::Sound)
    {
        return Err("its kind and what it says of text and sound do not fit together".to_owned());
    }
    if let Some(text) = &card.text {
        text.vocabulary.check()?;
    }
    if let Some(sound) = &card.sound
        && (sound.sample_rate == 0 || card.shape != [usize::from(sound.channels)])
    {
        return Err(format!(
            "{} channels at {} Hz are not valid for sound",
            sound.channels, sound.sample_rate
        ));
    }
    Ok(())
}

/// What a card of points must say, and no other.
fn check_points(card: &Card) -> Result<(), String> {
    let Some(points) = &card.points else { return Ok(()) };
    let dims: usize = card.shape.iter().product();
    let named = points.columns.is_empty() || points.columns.len() == dims;
    if card.kind != Kind::Points || !named || points.low.len() != dims || points.high.len() != dims {
        return Err("its kind and what it says of columns do not fit together".to_owned());
    }
    Ok(())
}

/// What a card of experience must say, and no other.
fn check_experience(card: &Card) -> Result<(), String> {
    if card.experience.is_some() != (card.kind == Kind::Experience) {
        return Err("its kind and what it says of experience do not fit together".to_owned());
    }
    let Some(about) = &card.experience else { return Ok(()) };
    if card.shape != [about.observation] {
        return Err(format!(
            "observations of {} numbers do not have shape {:?}",
            about.observation, card.shape
        ));
    }
    let is_there = match about.actions {
        ActionsCard::Discrete { choices } => (1..=MOST_CHOICES).contains(&choices),
        ActionsCard::Continuous { dims } => (1..=1 << 40).contains(&dims),
    };
    if !is_there || !card.classes.is_empty() {
        return Err("its actions are not those of experience".to_owned());
    }
    let short = |split: &SplitCard| split.shards.iter().any(|shard| shard.elements < shard.count as u64);
    match card.splits.iter().find(|split| short(split)) {
        Some(split) => Err(format!("a shard of split {} has fewer transitions than episodes", split.split)),
        None => Ok(()),
    }
}
