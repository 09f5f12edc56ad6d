//! Collects episodes. The source is read two times: a survey checks every episode and finds out what the actions are and whether
//! enough episodes are there to hold some out; then they are written.

use std::path::Path;

use super::assemble::Found;
use super::pack::Packer;
use super::shard::is_choice;
use super::{ActionsCard, MOST_CHOICES};
use crate::card::{Kind, Skipped, SplitBy};
use crate::error::{Error, Result};
use crate::options::{ActionKind, Options};
use crate::pack::{About, Collected};
use crate::progress::Progress;
use crate::source::{Item, Payload, Source, each_batch};
use crate::split::{ByContent, Moved, Split};

/// Collects a source of episodes into an empty folder.
pub(crate) fn collect_experience(
    path: &Path,
    source: &mut dyn Source,
    folder: &Path,
    options: &Options,
    // The survey knows the splits before anything is written.
    _moved: Option<Moved>,
    report: &(dyn Fn(Progress) + Sync),
) -> Result<Collected> {
    let mut survey = Survey::new(options.holdout);
    each_batch(source, |batches| batches.iter().flatten().try_for_each(|item| survey.item(item)))?;
    let Some(sizes) = &survey.sizes else {
        return Err(match survey.skipped.count {
            0 => Error::malformed(path, "it holds no episode"),
            _ => source.plan().nothing_usable(path, Kind::Experience, survey.skipped),
        });
    };
    let actions = survey.actions(path, sizes, options.actions)?;
    let plan = source.plan();
    let split_by = if plan.has_splits { SplitBy::Source } else { SplitBy::Content };
    let mut writer = Writer {
        packer: Packer::new(folder, sizes.observation, actions, options)?,
        actions,
        split_by,
        by_content: survey.tally(actions).division(options.holdout),
        about: About::new(path, plan, options),
        shortened: 0,
        wide: false,
        progress: Progress { total: plan.total, ..Progress::default() },
    };
    each_batch(source, |batches| {
        for batch in batches {
            batch.into_iter().try_for_each(|item| writer.item(item))?;
            report(writer.progress);
        }
        Ok(())
    })?;
    let Writer { packer, mut about, shortened, wide, progress, .. } = writer;
    if progress.done == 0 {
        return Err(source.plan().nothing_usable(path, Kind::Experience, about.skipped));
    }
    about.notes.extend(notes(shortened, wide));
    Ok(Collected::Done(Box::new(packer.finish(about, split_by)?), progress))
}

fn notes(shortened: u64, wide: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if shortened > 0 {
        let episodes = if shortened == 1 { "1 episode".to_owned() } else { format!("{shortened} episodes") };
        notes.push(format!(
            "the source does not have the observation after the last action of {episodes}; that action and its reward \
             were left out"
        ));
    }
    if wide {
        notes.push("numbers of 64 bits are stored with 32, which keep about 7 digits".to_owned());
    }
    notes
}

/// The sizes of all episodes, by the first.
struct Sizes {
    name: String,
    observation: usize,
    width: usize,
}

impl Sizes {
    fn in_words(observation: usize, width: usize) -> String {
        format!("observations of {observation} and actions of {width} numbers")
    }
}

/// What is found in the first pass.
struct Survey {
    sizes: Option<Sizes>,
    /// Whether the types of all actions have whole numbers only.
    whole: bool,
    /// All episodes, and those whose actions are choices.
    all: Tally,
    choices: Tally,
    /// The largest choice.
    largest: f32,
    skipped: Skipped,
}

/// Episodes that may be used.
struct Tally {
    episodes: u64,
    by_content: ByContent,
}

impl Tally {
    fn new(holdout: f64) -> Tally {
        Tally { episodes: 0, by_content: ByContent::new(holdout, None) }
    }

    fn add(&mut self, hash: &[u8; 32]) {
        self.episodes += 1;
        self.by_content.split(hash);
    }

    /// How they are divided. A few demonstrations are too precious to be held out: there must be enough for one at that fraction.
    fn division(&self, holdout: f64) -> ByContent {
        match self.episodes as f64 * holdout < 1.0 {
            true => ByContent::new(0.0, None),
            false => ByContent::new(holdout, self.by_content.missing()),
        }
    }
}

impl Survey {
    fn new(holdout: f64) -> Survey {
        Survey {
            sizes: None,
            whole: true,
            all: Tally::new(holdout),
            choices: Tally::new(holdout),
            largest: 0.0,
            skipped: Skipped::default(),
        }
    }

    fn item(&mut self, item: Item) -> Result<()> {
        let Item { name, payload, .. } = item;
        let found = match usable(payload) {
            Ok(found) => found,
            Err(reason) => {
                self.skipped.push(name, reason);
                return Ok(());
            }
        };
        let Found { observation, width, whole, episode, .. } = &found;
        let (observation, width) = (*observation, *width);
        let sizes = self.sizes.get_or_insert_with(|| Sizes { name: name.clone(), observation, width });
        if (sizes.observation, sizes.width) != (observation, width) {
            return Err(Error::MixedEpisodes {
                first: sizes.name.clone(),
                first_sizes: Sizes::in_words(sizes.observation, sizes.width),
                other: name,
                other_sizes: Sizes::in_words(observation, width),
            });
        }
        self.whole &= whole;
        let hash = episode.view(width).hash();
        self.all.add(&hash);
        if width == 1 && not_a_choice(&episode.actions, MOST_CHOICES).is_none() {
            self.choices.add(&hash);
            self.largest = episode.actions.iter().fold(self.largest, |largest, &action| largest.max(action));
        }
        Ok(())
    }

    /// The episodes that may be used with actions of that kind.
    fn tally(&self, actions: ActionsCard) -> &Tally {
        match actions {
            ActionsCard::Discrete { .. } => &self.choices,
            ActionsCard::Continuous { .. } => &self.all,
        }
    }

    /// What the actions are: what the user says, or what their type and values say.
    fn actions(&self, path: &Path, sizes: &Sizes, given: Option<ActionKind>) -> Result<ActionsCard> {
        let width = sizes.width;
        let unclear = |reason: String| Err(Error::UnclearActions { path: path.to_owned(), reason });
        let discrete = ActionsCard::Discrete { choices: self.largest as usize + 1 };
        let continuous = ActionsCard::Continuous { dims: width };
        match given {
            Some(ActionKind::Discrete) if width > 1 => Err(Error::BadOption {
                option: "actions",
                value: "discrete".to_owned(),
                reason: "an action of the source has several numbers, and a choice is one",
                remedy: "take them as continuous, or save the index of each choice",
            }),
            Some(ActionKind::Discrete) => Ok(discrete),
            Some(ActionKind::Continuous) => Ok(continuous),
            None if self.whole && width > 1 => unclear(format!("each is {width} whole numbers")),
            None if self.whole => Ok(discrete),
            None if width == 1 && self.choices.episodes == self.all.episodes => {
                unclear("all are whole numbers, stored as numbers with decimals".to_owned())
            }
            None => Ok(continuous),
        }
    }
}

/// What is written in the second pass.
struct Writer {
    packer: Packer,
    actions: ActionsCard,
    split_by: SplitBy,
    by_content: ByContent,
    about: About,
    /// Episodes whose last action was left out.
    shortened: u64,
    wide: bool,
    progress: Progress,
}

impl Writer {
    fn item(&mut self, item: Item) -> Result<()> {
        let Item { name, split, payload, .. } = item;
        let found = usable(payload).and_then(|found| match self.actions {
            ActionsCard::Discrete { choices } => {
                not_a_choice(&found.episode.actions, choices).map_or(Ok(found), Err)
            }
            ActionsCard::Continuous { .. } => Ok(found),
        });
        let found = match found {
            Ok(found) => found,
            Err(reason) => {
                self.progress.skipped += 1;
                self.about.skipped.push(name, reason);
                return Ok(());
            }
        };
        let view = found.episode.view(self.actions.width());
        let hash = view.hash();
        let split = match self.split_by {
            SplitBy::Source => split.unwrap_or(Split::Train),
            _ => self.by_content.split(&hash),
        };
        self.packer.push(view, &hash, split)?;
        self.shortened += u64::from(found.shortened);
        self.wide |= found.wide;
        self.progress.done += 1;
        self.progress.bytes += found.bytes();
        Ok(())
    }
}

/// The episode of an item, or why it has none that can be used.
fn usable(payload: Payload) -> Result<Found, String> {
    match payload {
        Payload::Episode(found) => match found.episode.fault() {
            Some(reason) => Err(reason),
            None => Ok(*found),
        },
        Payload::Refused(reason) => Err(reason),
        _ => unreachable!("a source of experience sends episodes"),
    }
}

/// Why actions are not choices, where one of them is none.
fn not_a_choice(actions: &[f32], choices: usize) -> Option<String> {
    let other = actions.iter().find(|&&action| !is_choice(action, choices))?;
    Some(format!("one of its actions is {other}, and choices are whole numbers from 0 to {}", choices - 1))
}
