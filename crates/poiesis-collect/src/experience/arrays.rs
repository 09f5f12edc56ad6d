//! Episodes in arrays of NumPy, in one of three layouts.
//!
//! - Episodes of one length: `observations` `[E, T + 1, O]` or `[E, T, O]`, `actions` `[E, T]` or `[E, T, A]`, `rewards` `[E, T]`.
//!   Flags `[E, T]` end an episode early; a flag `[E]` is of the whole episode.
//! - Episodes one after another with `indices` at which to cut the actions, as the package `imitation` saves them: observations are
//!   one more for each episode, and `terminal` is `[E]`.
//! - Transitions one after another, told apart by flags or by numbers of episodes, all of the same length.

use super::assemble::{Assembler, Numbers, Outcome, Row};
use super::column::{Array, Column, Place};
use super::names::Role;
use crate::error::{Error, Result};

/// The arrays of one set of episodes.
#[derive(Clone, Debug)]
pub(super) struct Arrays {
    pub(super) places: Vec<(Role, Place)>,
}

impl Arrays {
    /// Reads all episodes in order. Those of more than `most` bytes cannot be used.
    pub(super) fn read<E: From<Error>>(
        &self,
        most: u64,
        visit: &mut dyn FnMut(Outcome) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut columns = self.open()?;
        let mut assembler = Assembler::new(most);
        let mut push = |row: Row| assembler.push(row).map_or(Ok(()), &mut *visit);
        match columns.order {
            Order::Even { episodes, steps } => {
                (0..episodes).try_for_each(|episode| columns.episode(episode, steps, &mut push))?;
            }
            Order::Cut { episodes } => {
                let mut start = 0;
                for episode in 0..episodes {
                    let end = columns.end_of(episode, episodes, start)?;
                    columns.episode(episode, end - start, &mut push)?;
                    start = end;
                }
            }
            Order::Told => {
                for _ in 0..columns.actions.rows {
                    let observation = columns.observations.next()?;
                    push(columns.transition(observation)?)?;
                }
            }
        }
        assembler.end().map_or(Ok(()), visit)?;
        Ok(columns.finish()?)
    }

    /// How many episodes there are, where the shapes of the arrays say so. Shapes that do not fit together are found here already.
    pub(super) fn count(&self) -> Result<Option<u64>> {
        Ok(self.open()?.order.episodes())
    }

    /// Opens all arrays and finds out how they are laid out.
    fn open(&self) -> Result<Columns> {
        let required = |role: Role| Ok::<Array, Error>(self.array(role)?.expect("a set has both"));
        let (observations, actions) = (required(Role::Observations)?, required(Role::Actions)?);
        let cuts = self.array(Role::Cuts)?;
        let axes = axes(&observations, &actions, cuts.as_ref())?;
        let (order, last) = match (axes, &cuts) {
            (2, _) => even(&observations, &actions)?,
            (_, Some(cuts)) => cut(&observations, &actions, cuts)?,
            (_, None) => told(&observations, &actions)?,
        };
        let fit = Fit { axes, actions: actions.shape.clone(), episodes: order.episodes() };
        let rows = |role: Role| {
            let is_flag = matches!(role, Role::Terminated | Role::Truncated);
            let array = self.array(role)?.filter(|array| !(is_flag && fit.is_of_episodes(array)));
            array.map(|array| fit.rows(array)).transpose()
        };
        let one = |role: Role| rows(role)?.map(Column::single).transpose();
        let terminal = self.array(Role::Terminated)?.filter(|array| fit.is_of_episodes(array));
        let columns = Columns {
            order,
            last,
            next: rows(Role::Next)?,
            rewards: one(Role::Rewards)?,
            terminated: one(Role::Terminated)?,
            // Of a whole episode it says no more than that it did not terminate, and is left out.
            truncated: one(Role::Truncated)?,
            terminal: terminal.map(|array| array.rows(1)).transpose()?,
            numbers: if matches!(order, Order::Told) { one(Role::Episode)? } else { None },
            // An array without a row cannot be read, and one episode has nothing to cut.
            cuts: cuts.filter(|_| fit.episodes != Some(1)).map(|cuts| cuts.rows(1)).transpose()?,
            observations: observations.rows(axes)?,
            actions: actions.rows(axes)?,
        };
        columns.expect_ends()?;
        Ok(columns)
    }

    fn array(&self, role: Role) -> Result<Option<Array>> {
        let found = self.places.iter().find(|(known, _)| *known == role);
        found.map(|(_, place)| place.open()).transpose()
    }
}

/// How rows become episodes.
#[derive(Clone, Copy)]
enum Order {
    /// So many episodes of so many transitions.
    Even { episodes: u64, steps: u64 },
    /// So many episodes, cut where `indices` say.
    Cut { episodes: u64 },
    /// By flags or numbers of episodes.
    Told,
}

impl Order {
    /// How many episodes there are, where that is known.
    fn episodes(self) -> Option<u64> {
        match self {
            Order::Even { episodes, .. } | Order::Cut { episodes } => Some(episodes),
            Order::Told => None,
        }
    }
}

/// What the other arrays must fit.
struct Fit {
    axes: usize,
    /// The shape of the actions.
    actions: Vec<usize>,
    episodes: Option<u64>,
}

impl Fit {
    /// Whether an array has a number for each episode and not for each action.
    fn is_of_episodes(&self, array: &Array) -> bool {
        let differ = self.axes == 2 || self.actions.first() != array.shape.first();
        differ && self.episodes.is_some_and(|episodes| array.shape == [episodes as usize])
    }

    /// The rows of an array with one for each action.
    fn rows(&self, array: Array) -> Result<Column> {
        if array.shape.get(..self.axes) != self.actions.get(..self.axes) {
            return Err(array.wrong(format!("it does not go with actions of {:?}", self.actions)));
        }
        array.rows(self.axes)
    }
}

/// How many of the first axes are of episodes and steps, and not of one observation.
fn axes(observations: &Array, actions: &Array, cuts: Option<&Array>) -> Result<usize> {
    let axes = match (observations.shape.len(), cuts) {
        (3, None) => 2,
        (1 | 2, _) => 1,
        _ => {
            let reason =
                "observations are [episodes, steps + 1, numbers], or [steps, numbers] of all episodes";
            return Err(observations.wrong(reason));
        }
    };
    let fits = (axes..=axes + 1).contains(&actions.shape.len())
        && (axes == 1 || actions.shape[0] == observations.shape[0]);
    match fits {
        true => Ok(axes),
        false => Err(actions.wrong(format!("it does not go with observations of {:?}", observations.shape))),
    }
}

/// Episodes of one length, and whether there is an observation after the last action of each.
fn even(observations: &Array, actions: &Array) -> Result<(Order, bool)> {
    let [episodes, seen, steps] = [observations.shape[0], observations.shape[1], actions.shape[1]];
    if steps == 0 {
        return Err(actions.wrong("there are no actions"));
    }
    if !(seen == steps || steps.checked_add(1) == Some(seen)) {
        return Err(actions.wrong(format!("{seen} observations of an episode go with one action fewer")));
    }
    Ok((Order::Even { episodes: episodes as u64, steps: steps as u64 }, seen != steps))
}

/// Episodes that `indices` tell apart.
fn cut(observations: &Array, actions: &Array, cuts: &Array) -> Result<(Order, bool)> {
    let (seen, steps) = (observations.rows_along(1), actions.rows_along(1));
    if cuts.shape.len() != 1 || !cuts.is_whole() {
        return Err(cuts.wrong("where to cut is a list of whole numbers"));
    }
    let episodes = cuts.rows_along(1).saturating_add(1);
    let expected = steps.saturating_add(episodes);
    if seen != expected {
        let reason = format!("{steps} actions in {episodes} episodes go with {expected} observations");
        return Err(observations.wrong(reason));
    }
    Ok((Order::Cut { episodes }, true))
}

/// Transitions that flags or numbers tell apart, or a single episode.
fn told(observations: &Array, actions: &Array) -> Result<(Order, bool)> {
    let (seen, steps) = (observations.rows_along(1), actions.rows_along(1));
    match steps.checked_add(1) == Some(seen) {
        true => Ok((Order::Even { episodes: 1, steps }, true)),
        false if seen == steps => Ok((Order::Told, false)),
        false => {
            let reason =
                format!("{steps} actions go with as many observations, or with one more in one episode");
            Err(observations.wrong(reason))
        }
    }
}

/// The arrays, read in step.
struct Columns {
    order: Order,
    observations: Column,
    actions: Column,
    /// Whether there is an observation after the last action of each episode.
    last: bool,
    next: Option<Column>,
    rewards: Option<Column>,
    /// A flag of each transition.
    terminated: Option<Column>,
    truncated: Option<Column>,
    /// A flag of each episode.
    terminal: Option<Column>,
    numbers: Option<Column>,
    cuts: Option<Column>,
}

impl Columns {
    /// Refuses transitions of which nothing says where episodes end.
    fn expect_ends(&self) -> Result<()> {
        let told = self.terminated.is_some() || self.truncated.is_some() || self.numbers.is_some();
        if told || !matches!(self.order, Order::Told) {
            return Ok(());
        }
        let reason =
            "nothing says where episodes end: add `terminated` and `truncated`, `episode` or `indices`";
        Err(self.actions.wrong(reason))
    }

    /// Reads an episode of so many transitions. What follows a flag is padding, but for the observation right after it.
    fn episode<E: From<Error>>(
        &mut self,
        episode: u64,
        steps: u64,
        push: &mut dyn FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let key = Some(episode as i64);
        let terminal = flag(&mut self.terminal)?;
        let after =
            |observation: Numbers| Row { observation, terminated: terminal, episode: key, ..Row::default() };
        let (mut ended, mut complete) = (false, false);
        for step in 0..steps {
            let observation = self.observations.next()?;
            let mut row = self.transition(observation)?;
            if ended {
                if self.last && !complete {
                    push(after(row.observation))?;
                    complete = true;
                }
                continue;
            }
            row.terminated |= terminal && step + 1 == steps;
            row.episode = key;
            ended = row.terminated || row.truncated;
            push(row)?;
        }
        if self.last {
            let observation = self.observations.next()?;
            if !complete {
                push(after(observation))?;
            }
        }
        Ok(())
    }

    /// The rest of a transition from `observation`.
    fn transition(&mut self, mut observation: Numbers) -> Result<Row> {
        observation.wide |= self.rewards.as_ref().is_some_and(Column::is_wide);
        Ok(Row {
            observation,
            action: Some(self.actions.next()?),
            reward: self.rewards.as_mut().map(Column::next_number).transpose()?,
            next: self.next.as_mut().map(Column::next).transpose()?,
            terminated: flag(&mut self.terminated)?,
            truncated: flag(&mut self.truncated)?,
            episode: self.numbers.as_mut().map(Column::next_number).transpose()?.map(|number| number as i64),
        })
    }

    /// The transition with which an episode that begins at `start` ends.
    fn end_of(&mut self, episode: u64, episodes: u64, start: u64) -> Result<u64> {
        let steps = self.actions.rows;
        let Some(cuts) = self.cuts.as_mut().filter(|_| episode + 1 < episodes) else { return Ok(steps) };
        let end = cuts.next_number()?;
        if !(start as f64..=steps as f64).contains(&end) {
            let reason = format!("it cuts at {end} after {start}, and there are {steps} actions");
            return Err(cuts.wrong(reason));
        }
        Ok(end as u64)
    }

    /// Reads all arrays on to their ends.
    fn finish(self) -> Result<()> {
        let Columns { observations, actions, next, rewards, .. } = self;
        let others = [next, rewards, self.terminated, self.truncated, self.terminal, self.numbers, self.cuts];
        let mut all = [Some(observations), Some(actions)].into_iter().chain(others).flatten();
        all.try_for_each(Column::finish)
    }
}

/// The next flag, which is false where there are none.
fn flag(column: &mut Option<Column>) -> Result<bool> {
    column.as_mut().map_or(Ok(false), |column| Ok(column.next_number()? != 0.0))
}
