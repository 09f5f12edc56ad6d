//! Writes episodes that the program has made as a data set.

use std::path::Path;

use super::pack::Packer;
use super::shard::is_choice;
use super::{ActionsCard, Episode, MOST_CHOICES};
use crate::card::{Skipped, SplitBy};
use crate::collect::{Output, Report};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::pack::About;
use crate::progress::Progress;
use crate::source::source_name;
use crate::split::ByContent;

/// What a data set of recorded episodes says about itself, and how it is written.
#[derive(Clone, Debug)]
pub struct ExperienceWriter {
    /// The name of the data set; `None` takes that of the folder.
    pub name: Option<String>,
    /// The environment, for the card.
    pub environment: Option<String>,
    /// Numbers of an observation.
    pub observation: usize,
    /// What an action is.
    pub actions: ActionsCard,
    /// The fraction of episodes held out for validation, in [0, 1); 0 for none. Their content decides which, as for other data.
    pub holdout: f64,
    /// Where the episodes came from, for the card, such as `ppo after 100,000 steps, runs/ppo-hopper`.
    pub sources: Vec<String>,
    /// The licence of the data, for the card.
    pub licence: Option<String>,
    /// Remarks for the reader of the card.
    pub notes: Vec<String>,
    /// The size above which a new shard is begun, in bytes.
    pub shard_bytes: u64,
}

impl ExperienceWriter {
    /// A data set of episodes with these sizes, of which nothing else is known and nothing is held out.
    pub fn new(observation: usize, actions: ActionsCard) -> ExperienceWriter {
        ExperienceWriter {
            name: None,
            environment: None,
            observation,
            actions,
            holdout: 0.0,
            sources: Vec::new(),
            licence: None,
            notes: Vec::new(),
            shard_bytes: Options::default().shard_bytes,
        }
    }
}

/// Writes episodes into the new folder `out`, one after another as they are made; only the shard that is being written is partly
/// in memory. The folder appears under its name only when it is whole, and not at all when an episode is an error.
///
/// # Errors
///
/// The first error among `episodes`, at which writing ends. [`Error::OutputExists`] when there is something in `out`, and
/// [`Error::Write`] when it cannot be written. [`Error::BadEpisode`] for a number that is not finite or a choice that does not
/// exist, and [`Error::NoEpisodes`] without any. [`Error::BadOption`] for a `holdout` outside its range.
///
/// # Panics
///
/// When the arrays of an episode do not fit the sizes of `writer` or each other, or it has no transition; and when an observation or
/// an action has no number, or there are more than 65,536 choices.
pub fn write_experience<E: From<Error>>(
    out: &Path,
    writer: &ExperienceWriter,
    episodes: impl IntoIterator<Item = Result<Episode, E>>,
) -> Result<Report, E> {
    let options = Options {
        holdout: writer.holdout,
        environment: writer.environment.clone(),
        licence: writer.licence.clone(),
        shard_bytes: writer.shard_bytes,
        ..Options::default()
    };
    options.check()?;
    let is_there = match writer.actions {
        ActionsCard::Discrete { choices } => (1..=MOST_CHOICES).contains(&choices),
        ActionsCard::Continuous { dims } => dims > 0,
    };
    assert!(
        is_there && writer.observation > 0,
        "observations of {} numbers and actions {:?}",
        writer.observation,
        writer.actions
    );
    let output = Output::begin(out, false)?;
    let by_content = &mut ByContent::new(writer.holdout, None);
    let mut packer = Packer::new(output.staging_folder(), writer.observation, writer.actions, &options)?;
    let mut progress = Progress::default();
    for episode in episodes {
        let episode = episode?;
        expect_sizes(&episode, writer);
        if let Some(reason) = fault(&episode, writer.actions) {
            let (path, episode) = (out.to_owned(), progress.done);
            return Err(Error::BadEpisode { path, episode, reason }.into());
        }
        let view = episode.view(writer.actions.width());
        let hash = view.hash();
        packer.push(view, &hash, by_content.split(&hash))?;
        progress.done += 1;
    }
    if progress.done == 0 {
        return Err(Error::NoEpisodes { path: out.to_owned() }.into());
    }
    let about = About {
        name: writer.name.clone().unwrap_or_else(|| source_name(out)),
        classes: Vec::new(),
        factors: Vec::new(),
        sources: writer.sources.clone(),
        skipped: Skipped::default(),
        notes: writer.notes.clone(),
        columns: None,
    };
    let card = packer.finish(about, SplitBy::Content)?;
    Ok(output.complete(card, progress)?)
}

/// Panics where the arrays of an episode do not fit each other.
fn expect_sizes(episode: &Episode, writer: &ExperienceWriter) {
    let (observation, width) = (writer.observation, writer.actions.width());
    let Episode { observations, actions, rewards, .. } = episode;
    let transitions = actions.len() / width;
    let fits = transitions > 0
        && transitions * width == actions.len()
        && observations.len() == (transitions + 1) * observation
        && (rewards.is_empty() || rewards.len() == transitions);
    assert!(
        fits,
        "an episode of {} numbers of observations, {} of actions and {} rewards, where an observation has {observation} and an \
         action {width}",
        observations.len(),
        actions.len(),
        rewards.len()
    );
}

/// Why an episode cannot be saved.
fn fault(episode: &Episode, actions: ActionsCard) -> Option<String> {
    let other = match actions {
        ActionsCard::Discrete { choices } => {
            let other = episode.actions.iter().find(|&&action| !is_choice(action, choices));
            other.map(|action| format!("one of its actions is {action}, and there are {choices} choices"))
        }
        ActionsCard::Continuous { .. } => None,
    };
    episode.fault().or(other)
}
