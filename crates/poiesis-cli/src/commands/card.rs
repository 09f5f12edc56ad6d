//! The card of a packed data set as text, for the commands that make or show one.

use std::fs;
use std::path::Path;

use poiesis_collect::{ActionsCard, Card, ExperienceCard, Kind, PointsCard, SplitBy, Vocabulary};

use crate::flags;
use crate::render::{count, duration, facts, number, shape};
use poiesis::error::in_bytes;

/// A summary of a packed data set.
pub(crate) fn summary(card: &Card, folder: &Path) -> String {
    let splits: Vec<String> =
        card.splits.iter().map(|split| format!("{} {}", count(split.count as u64), split.split)).collect();
    let split_by = match card.split_by {
        SplitBy::Source => "as the source has them",
        SplitBy::Content => "validation chosen by content",
        SplitBy::Position => "validation cut from the end",
    };
    let numbers = |values: &[f64]| {
        // Observations may have hundreds of numbers.
        const SHOWN: usize = 12;
        let mut each: Vec<String> = values.iter().take(SHOWN).map(|value| format!("{value:.4}")).collect();
        if values.len() > SHOWN {
            each.push(format!("and {} more", values.len() - SHOWN));
        }
        each.join(" ")
    };
    let duplicates = match (card.duplicates, card.duplicates_across_splits) {
        (0, _) => "none".to_owned(),
        (all, 0) => format!("{}, none across splits", count(all)),
        (all, across) => format!("{}, of which {} across splits", count(all), count(across)),
    };
    let mut all = vec![
        ("name", card.name.clone()),
        (plural(card.kind), format!("{}: {} ({split_by})", count(card.total() as u64), splits.join(", "))),
    ];
    if let Some(text) = &card.text {
        all.push(("tokens", elements(card, count)));
        all.push(("vocabulary", vocabulary(&text.vocabulary)));
    } else if let Some(sound) = &card.sound {
        let rate = f64::from(sound.sample_rate);
        let channels = if sound.channels == 1 { "mono" } else { "stereo" };
        all.push(("length", elements(card, |frames| duration(frames as f64 / rate))));
        all.push(("format", format!("{} Hz {channels}, 16 bits", count(u64::from(sound.sample_rate)))));
        all.push(("clipped", count(sound.clipped)));
        all.push(("silent", count(sound.silent)));
    } else if let Some(about) = &card.experience {
        all.extend(experience(card, about));
    } else {
        all.push(("shape", shape(&card.shape)));
    }
    let at = all.len();
    if let Some(points) = &card.points {
        all.push(("columns", columns(card, points)));
    } else if !card.channel_mean.is_empty() {
        all.push(("mean", numbers(&card.channel_mean)));
        all.push(("deviation", numbers(&card.channel_std)));
    }
    all.extend([
        ("duplicates", duplicates),
        (
            "skipped",
            match (card.skipped.count, card.kind) {
                (0, _) => "none".into(),
                (number, Kind::Points) => several(number, "row"),
                (number, Kind::Experience) => several(number, "episode"),
                (number, _) => several(number, "file"),
            },
        ),
        ("source", card.sources.join("\n")),
        ("licence", card.licence.clone().unwrap_or_else(|| "not stated".into())),
        ("on disk", in_bytes(size_on_disk(folder))),
        ("fingerprint", card.fingerprint.clone()),
    ]);
    if !card.classes.is_empty() {
        all.insert(at, ("classes", classes(card)));
    }
    if let Some(most) = card.objects {
        all.insert(at, ("objects", format!("up to {most} in an image, each with its box")));
    }
    if !card.factors.is_empty() {
        let factors: Vec<String> = card
            .factors
            .iter()
            .map(|factor| format!("{} {} to {} {}", factor.name, factor.low, factor.high, factor.unit))
            .collect();
        all.insert(at + 1, ("factors", factors.join("\n")));
    }
    all.extend(card.notes.iter().map(|note| ("note", note.clone())));
    facts(&all)
}

/// Whether the usual digits tell the ends of a range apart.
fn is_told(low: f32, high: f32) -> bool {
    low == high || number(f64::from(low)) != number(f64::from(high))
}

/// Each column of points with its range, and its mean and deviation in the first split; the first of them where there are many.
fn columns(card: &Card, points: &PointsCard) -> String {
    const SHOWN: usize = 20;
    let name = |at: usize| points.columns.get(at).map_or_else(|| (at + 1).to_string(), Clone::clone);
    let width = (0..points.low.len().min(SHOWN)).map(|at| name(at).chars().count()).max().unwrap_or(0);
    let statistics = card.channel_mean.iter().zip(&card.channel_std);
    let ranges = points.low.iter().zip(&points.high);
    let mut each: Vec<String> = ranges
        .zip(statistics)
        .enumerate()
        .take(SHOWN)
        .map(|(at, ((&low, &high), (&mean, &deviation)))| {
            let name = name(at);
            let shown = |value: f32| match is_told(low, high) {
                true => number(f64::from(value)),
                false => value.to_string(),
            };
            let (low, high, mean) = (shown(low), shown(high), shown(mean as f32));
            format!("{name:<width$}  {low} to {high}, mean {mean}, deviation {}", number(deviation))
        })
        .collect();
    if points.low.len() > SHOWN {
        each.push(format!("and {} more, listed in dataset.json", points.low.len() - SHOWN));
    }
    each.join("\n")
}

/// What there is to say of experience.
fn experience(card: &Card, about: &ExperienceCard) -> Vec<(&'static str, String)> {
    let episodes = card.total() as u64;
    let actions = match about.actions {
        ActionsCard::Discrete { choices } => format!("discrete, {} choices", count(choices as u64)),
        ActionsCard::Continuous { dims } => format!("continuous, {}", numbers(dims)),
    };
    let lengths = match (about.min_length, about.max_length) {
        (low, high) if low == high => count(low),
        (low, high) => format!("mean {}, {} to {}", number(about.mean_length), count(low), count(high)),
    };
    let terminated = match about.terminated {
        all if all == episodes => "all".to_owned(),
        some => format!("{}; the others were cut off, as by a time limit", count(some)),
    };
    vec![
        ("transitions", elements(card, count)),
        ("environment", about.environment.clone().unwrap_or_else(|| "not stated".into())),
        ("observation", numbers(about.observation)),
        ("actions", actions),
        ("returns", returns(about)),
        ("lengths", lengths),
        ("terminated", terminated),
    ]
}

fn numbers(length: usize) -> String {
    if length == 1 { "1 number".to_owned() } else { format!("{} numbers", count(length as u64)) }
}

/// Mean, spread and range of the returns of all episodes.
fn returns(about: &ExperienceCard) -> String {
    let (Some(mean), Some(deviation), Some(low), Some(high)) =
        (about.mean_return, about.std_return, about.min_return, about.max_return)
    else {
        return "not known: there are no rewards".to_owned();
    };
    let unknown = match about.without_rewards {
        0 => String::new(),
        some => format!("; {} episodes without rewards do not count", count(some)),
    };
    format!(
        "mean {} ± {} (standard deviation), {} to {}{unknown}",
        number(mean),
        number(deviation),
        number(low),
        number(high)
    )
}

/// `1 file`, `2 files`.
fn several(number: u64, what: &str) -> String {
    let many = if number == 1 { "" } else { "s" };
    format!("{} {what}{many}", count(number))
}

/// The word for the examples of a kind.
pub(crate) fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "documents",
        Kind::Sound => "clips",
        Kind::Experience => "episodes",
        Kind::Points => "points",
        _ => "examples",
    }
}

/// The number of elements of a stream, in total and in each split.
fn elements(card: &Card, show: impl Fn(u64) -> String) -> String {
    let total = card.splits.iter().map(|split| split.elements).sum();
    let each: Vec<String> =
        card.splits.iter().map(|split| format!("{} {}", show(split.elements), split.split)).collect();
    format!("{}: {}", show(total), each.join(", "))
}

fn vocabulary(vocabulary: &Vocabulary) -> String {
    let size = count(vocabulary.len() as u64);
    match vocabulary {
        Vocabulary::Bytes => format!("{size} bytes"),
        Vocabulary::Characters { characters } => {
            let shown: String = characters.iter().take(120).flat_map(|c| c.escape_debug()).collect();
            let more = if characters.len() > 120 { "…" } else { "" };
            format!("{size} characters\n{shown}{more}")
        }
        Vocabulary::Bpe(_) => format!("{size} sequences of bytes (BPE)"),
    }
}

/// The classes with their counts in all splits; only the first ones where there are many.
fn classes(card: &Card) -> String {
    const SHOWN: usize = 20;
    let count_of =
        |class: usize| -> u64 { card.splits.iter().filter_map(|split| split.class_counts.get(class)).sum() };
    let mut each: Vec<String> = card
        .classes
        .iter()
        .enumerate()
        .take(SHOWN)
        .map(|(class, name)| format!("{name} {}", count(count_of(class))))
        .collect();
    if card.classes.len() > SHOWN {
        each.push(format!("and {} more", card.classes.len() - SHOWN));
    }
    let labelled: u64 = (0..card.classes.len()).map(count_of).sum();
    let without = (card.total() as u64).saturating_sub(labelled);
    if without > 0 {
        each.push(format!("no class {}", count(without)));
    }
    each.join(", ")
}

/// The first skipped files with their reasons.
pub(crate) fn skipped(card: &Card, shown: usize) -> String {
    let listed = card.skipped.list.iter().take(shown);
    let mut text: String = listed
        .map(|file| {
            let flag = file.option.as_deref().and_then(flags::of_collect);
            let remedy = file.hint().zip(flag).map(|(hint, flag)| format!("; {hint} ({flag})"));
            format!("  skipped {}: {}{}\n", file.name, file.reason, remedy.unwrap_or_default())
        })
        .collect();
    let more = card.skipped.count.saturating_sub(shown as u64);
    if more > 0 {
        text.push_str(&format!("  and {} more, listed in dataset.json\n", count(more)));
    }
    text
}

fn size_on_disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}
