//! `poiesis inspect`: shows a data set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use poiesis::config::DataConfig;
use poiesis::data::open::short_name;
use poiesis::picture::{Picture, grid, waveform_and_spectrogram};
use poiesis_collect::{Dataset, Kind, Split, Stream, Vocabulary, preview};

use super::card::{skipped, summary};
use super::experience;
use super::prepare::prepare_as_collect;
use crate::args::DataDir;
use crate::flags;
use crate::render::{count, duration, exists, facts, failure, json, note, program, quoted, result};

/// Number of examples in a preview, of points in a plot, and of episodes with a curve.
const PREVIEWED: usize = 64;
const PLOTTED: usize = 2000;
const CURVES: usize = 16;
/// How many skipped files are named.
const NAMED: usize = 20;

/// Show a data set
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis inspect data/photos
  poiesis inspect data/photos --preview photos.png --split validation
  poiesis inspect tinyshakespeare             text: its beginning and its characters
  poiesis inspect fsdd --preview digits.png   sound: waveforms and spectrograms
  poiesis inspect data/hopper --preview hopper.png      experience: returns, actions, and rewards over time
  poiesis inspect mnist                       a raw source, packed into the cache first as collect would
  poiesis inspect data/photos --verify        read all of it and compare its fingerprint")]
pub(crate) struct Inspect {
    /// Packed data set, raw source (folder, archive, data file), built-in name or name below --data-dir.
    data: String,
    /// Print dataset.json.
    #[arg(long)]
    json: bool,
    /// Write a picture of examples: a grid of images, waveforms and spectrograms of clips, a plot of points, or the rewards of episodes
    /// over time.
    #[arg(long, visible_alias = "out", value_name = "FILE")]
    preview: Option<PathBuf>,
    /// Split for the preview.
    #[arg(long, value_name = "SPLIT", default_value = "train", value_parser = split)]
    split: Split,
    /// Replace the preview if it exists.
    #[arg(long, requires = "preview")]
    force: bool,
    /// Read everything and check that nothing has changed since it was packed.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    data_dir: DataDir,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<()> {
        let mut config = DataConfig { source: self.data.clone(), ..DataConfig::default() };
        prepare_as_collect(&mut config, &self.data_dir, self.json).map_err(with_collect)?;
        let dataset = self.data_dir.open(&config, self.json).map_err(with_collect)?;
        let (card, folder) = (dataset.card(), dataset.folder());
        if self.json {
            json(&serde_json::to_value(card)?)?;
        } else {
            let content = match dataset.episodes(self.split) {
                Some(episodes) => experience::content(&episodes, self.split),
                None => stream(&dataset, self.split)?,
            };
            result(&format!("{}{}{content}", summary(card, folder), skipped(card, NAMED)))?;
        }
        if self.verify {
            dataset.verify()?;
            note("verified: the fingerprint is that of the content");
        }
        match &self.preview {
            Some(file) => self.write_preview(&dataset, file),
            // The beginning of a text has been shown already.
            None if card.kind == Kind::Text => Ok(()),
            None => {
                let (data, picture) = (&self.data, format!("{}-preview.png", short_name(&self.data)));
                note(&format!(
                    "see it: {} inspect {} --preview {}",
                    program(),
                    quoted(data),
                    quoted(&picture)
                ));
                Ok(())
            }
        }
    }

    fn write_preview(&self, dataset: &Dataset, file: &Path) -> Result<()> {
        if file.exists() && !self.force {
            return Err(exists(file, "--preview"));
        }
        let picture = match dataset.card().kind {
            Kind::Text => {
                return Err(failure("text has no picture", "leave out --preview to see how it begins"));
            }
            Kind::Sound => clips(dataset, self.split)?,
            _ => {
                let drawn_at_most = match dataset.card().kind {
                    Kind::Points => PLOTTED,
                    Kind::Experience => CURVES,
                    _ => PREVIEWED,
                };
                let drawn = preview(dataset, self.split, drawn_at_most)?;
                Picture::new(drawn.width as usize, drawn.height as usize, 3, drawn.pixels)
            }
        };
        picture.write_png(file, None)?;
        note(&format!("preview: {}", file.display()));
        Ok(())
    }
}

/// Adds the flag of `collect` to errors for which this command has no flag.
fn with_collect(error: anyhow::Error) -> anyhow::Error {
    let hint = match error.downcast_ref::<poiesis::Error>() {
        Some(poiesis::Error::Data(error)) if error.option().is_some() => flags::collect_hint(error),
        _ => None,
    };
    match hint {
        Some(hint) => failure(error.to_string(), format!("collect it first: {hint}")),
        None => error,
    }
}

/// Clips in a picture, and how many are side by side.
const CLIPS: usize = 8;
const COLUMNS: usize = 2;
/// Seconds of a clip that are drawn.
const DRAWN: u64 = 30;

/// Waveforms and spectrograms of clips spread evenly over a split.
fn clips(dataset: &Dataset, split: Split) -> Result<Picture> {
    let stream = dataset.require_stream(split)?;
    let Some(sound) = &dataset.card().sound else { bail!("the data set is no sound") };
    let rate = sound.sample_rate;
    let drawn: Vec<Picture> = spread(stream.documents(), CLIPS)
        .map(|i| {
            let clip = stream.document(i);
            let end = clip.end.min(clip.start + DRAWN * u64::from(rate));
            let samples = mono(&stream.samples(clip.start..end), usize::from(sound.channels));
            waveform_and_spectrogram(&samples, rate)
        })
        .collect();
    let Some(first) = drawn.first() else { bail!("the split has no clips") };
    let pixels: Vec<&[u8]> = drawn.iter().map(Picture::data).collect();
    Ok(grid(&pixels, first.height(), first.width(), first.channels(), COLUMNS))
}

/// Up to `wanted` evenly spaced numbers below `count`.
fn spread(count: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let wanted = wanted.min(count);
    (0..wanted).map(move |i| i * count / wanted)
}

/// The mean of interleaved channels.
fn mono(samples: &[i16], channels: usize) -> Vec<i16> {
    let mean = |frame: &[i16]| {
        (frame.iter().map(|&sample| i32::from(sample)).sum::<i32>() / frame.len() as i32) as i16
    };
    samples.chunks_exact(channels.max(1)).map(mean).collect()
}

/// Statistics of a split of text or sound; empty for other kinds.
fn stream(dataset: &Dataset, split: Split) -> Result<String> {
    let card = dataset.card();
    let Some(stream) = dataset.stream(split) else { return Ok(String::new()) };
    Ok(match (&card.text, &card.sound) {
        (Some(text), _) => {
            stream.check_tokens(text.vocabulary.len())?;
            text_facts(&stream, &text.vocabulary, split)
        }
        (None, Some(sound)) => {
            sound_facts(&stream, f64::from(sound.sample_rate), usize::from(sound.channels))
        }
        (None, None) => String::new(),
    })
}

/// How many tokens are read to count characters.
const COUNTED: u64 = 8 << 20;
/// How many characters are named.
const FREQUENT: usize = 16;
/// How many lines of the beginning are shown, and how many characters of each.
const LINES: usize = 8;
const LINE: usize = 100;

fn text_facts(stream: &Stream, vocabulary: &Vocabulary, split: Split) -> String {
    let (counts, bytes) = characters(stream, vocabulary);
    let all: u64 = counts.iter().map(|(_, number)| number).sum();
    let looked_at = stream.len().min(COUNTED);
    let frequent: Vec<String> = counts
        .iter()
        .take(FREQUENT)
        .map(|&(character, number)| {
            let shown = match character {
                ' ' => "space".to_owned(),
                other => other.escape_debug().to_string(),
            };
            format!("{shown} {:.1} %", number as f64 / all as f64 * 100.0)
        })
        .collect();
    let lengths: Vec<u64> = lengths(stream);
    let mut all = vec![
        ("lengths", format!("{} tokens", spread_of(&lengths, count))),
        ("frequent", frequent.join(", ")),
    ];
    if matches!(vocabulary, Vocabulary::Bpe(_)) {
        all.push(("a token", format!("{:.2} bytes", bytes as f64 / looked_at as f64)));
    }
    let begins = stream.tokens(0..stream.len().min(4096));
    let mut text = facts(&all);
    text.push_str(&format!("the {split} split begins\n"));
    let shown: Vec<String> = first_lines(stream, vocabulary, &begins);
    shown.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    text
}

/// The beginning of the split: its first lines, or its first documents if they are shorter.
fn first_lines(stream: &Stream, vocabulary: &Vocabulary, begins: &[u32]) -> Vec<String> {
    let mut lines = Vec::new();
    for document in 0..stream.documents() {
        let range = stream.document(document);
        let (start, end) = (range.start as usize, (range.end as usize).min(begins.len()));
        if start >= end || lines.len() >= LINES {
            break;
        }
        let text = vocabulary.decode(&begins[start..end]);
        let text = String::from_utf8_lossy(&text);
        for line in text.lines().take(LINES - lines.len()) {
            let short: String =
                line.chars().take(LINE).map(|c| if c.is_control() { '·' } else { c }).collect();
            let cut = line.chars().nth(LINE).is_some();
            lines.push(if cut { format!("{short}…") } else { short });
        }
    }
    lines
}

/// Characters of the first part of a stream with how often they occur, most frequent first, and its bytes.
fn characters(stream: &Stream, vocabulary: &Vocabulary) -> (Vec<(char, u64)>, u64) {
    const STEP: u64 = 1 << 20;
    let end = stream.len().min(COUNTED);
    let mut counts: HashMap<char, u64> = HashMap::new();
    let mut bytes = 0;
    let mut carried: Vec<u8> = Vec::new();
    for start in (0..end).step_by(STEP as usize) {
        let mut text = std::mem::take(&mut carried);
        let part = vocabulary.decode(&stream.tokens(start..end.min(start + STEP)));
        bytes += part.len() as u64;
        text.extend(part);
        // A character may be cut between two parts.
        let whole = match std::str::from_utf8(&text) {
            Ok(_) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => text.len(),
        };
        carried = text.split_off(whole);
        for character in String::from_utf8_lossy(&text).chars() {
            *counts.entry(character).or_default() += 1;
        }
    }
    let mut counts: Vec<(char, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|&(character, number)| (std::cmp::Reverse(number), character));
    (counts, bytes)
}

/// How many documents or clips are measured.
const MEASURED: usize = 10_000;

/// Lengths of documents spread evenly over a split, sorted.
fn lengths(stream: &Stream) -> Vec<u64> {
    let length = |i| {
        let document = stream.document(i);
        document.end - document.start
    };
    let mut lengths: Vec<u64> = spread(stream.documents(), MEASURED).map(length).collect();
    lengths.sort_unstable();
    lengths
}

/// Smallest, median and largest of sorted numbers; a single number where they are equal.
fn spread_of<T: PartialOrd + Copy>(sorted: &[T], show: impl Fn(T) -> String) -> String {
    let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else { return "none".into() };
    if low < high {
        format!("{} to {}, half of them up to {}", show(low), show(high), show(sorted[sorted.len() / 2]))
    } else {
        show(low)
    }
}

fn sound_facts(stream: &Stream, rate: f64, channels: usize) -> String {
    let seconds = |frames: u64| {
        let seconds = frames as f64 / rate;
        if seconds < 10.0 { format!("{seconds:.2} s") } else { duration(seconds) }
    };
    let mut loudness: Vec<f64> = spread(stream.documents(), MEASURED / 10)
        .map(|i| level(&stream.samples(stream.document(i))))
        .collect();
    loudness.sort_by(f64::total_cmp);
    let decibels = |level: f64| format!("{:.0} dB", level.max(-120.0));
    let mut all = vec![
        ("lengths", spread_of(&lengths(stream), seconds)),
        ("loudness", format!("{} of full scale (RMS)", spread_of(&loudness, decibels))),
    ];
    if channels > 1 {
        all.push(("channels", channels.to_string()));
    }
    facts(&all)
}

/// Root mean square in decibels of full scale.
fn level(samples: &[i16]) -> f64 {
    let squares: f64 = samples.iter().map(|&sample| f64::from(sample) * f64::from(sample)).sum();
    10.0 * (squares / samples.len().max(1) as f64 / (32_768.0 * 32_768.0)).log10()
}

/// Reads the name of a split.
pub(crate) fn split(text: &str) -> Result<Split, String> {
    Split::parse(text).ok_or_else(|| "give train, validation or test".into())
}
