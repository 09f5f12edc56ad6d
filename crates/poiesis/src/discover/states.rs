//! Which states are visited: how often two numbers of the observations fall into each cell of a grid, of several players on the same
//! axes. With and without curiosity, the maps show what curiosity is for (Houthooft et al. 2016, Figure 2).

use std::ops::ControlFlow;

use poiesis_envs::{Space, Spec, observation_names};
use serde::{Deserialize, Serialize};

use crate::data::EnvironmentSource;
use crate::error::{Error, Result};
use crate::generate::{EpisodesRequest, Player, Playing, episodes};
use crate::picture::{HeatAxis, HeatPanel, Picture, heat_map};

/// A limit of an observation at least this far from zero is none.
const UNLIMITED: f64 = 1e6;

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatesOptions {
    /// The two numbers of an observation, by their names or from 0: `position,velocity`, `0,1`.
    pub dims: String,
    /// Steps of each player.
    pub steps: u64,
    /// Cells along each axis.
    pub bins: usize,
    /// Steps after which an episode is cut off; 0 for the limit of the environment.
    pub max_steps: usize,
    /// Seed of the episodes and of drawn actions.
    pub seed: u64,
}

/// An axis of the maps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatesAxis {
    /// Which number of an observation, from 0.
    pub dim: usize,
    /// Its name.
    pub name: String,
    /// The lowest value: the limit of the environment, or where there is none the lowest that was visited.
    pub low: f64,
    /// The highest value, likewise.
    pub high: f64,
}

/// The states that one player visited.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VisitedStates {
    /// What it is called.
    pub name: String,
    /// How it chooses actions.
    pub policy: Playing,
    /// Steps that were taken.
    pub steps: u64,
    /// Episodes that they are of.
    pub episodes: u64,
    /// The fraction of cells that were visited.
    pub coverage: f64,
    /// How often each cell was visited, `[bins, bins]`: rows from the lowest value of the second axis.
    pub visits: Vec<u64>,
}

/// Maps of visited states on common axes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct States {
    /// The environment.
    pub environment: String,
    /// The first axis, then the second.
    pub axes: [StatesAxis; 2],
    /// Cells along each axis.
    pub bins: usize,
    /// One for each player.
    pub players: Vec<VisitedStates>,
}

/// Lets each player take `options.steps` steps in whole episodes but the last, and counts the states that it visits; `progress`
/// receives how many steps all have taken.
///
/// # Errors
///
/// [`Error::InvalidValue`] or [`Error::UnknownName`] for dims that the observations do not have, and the errors of [`episodes`].
///
/// # Panics
///
/// When there is no player, step or cell.
pub fn states(
    players: &[(String, Player<'_>)],
    environment: &EnvironmentSource,
    options: &StatesOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<States> {
    assert!(!players.is_empty() && options.steps > 0 && options.bins > 0, "maps of nothing: {options:?}");
    let spec = environment.make()?.spec().clone();
    let dims = chosen_dims(environment.name(), &spec, &options.dims)?;
    let mut walked = Vec::new();
    let mut before = 0;
    for (_, player) in players {
        let walk = walk(*player, environment, dims, options, &mut |steps| progress(before + steps))?;
        before += options.steps;
        walked.push(walk);
    }
    let axes = [0, 1].map(|axis| {
        let visited = walked.iter().flat_map(|(points, _)| points.iter().map(move |point| point[axis]));
        let (low, high) = range(&spec.observation, dims[axis], visited);
        StatesAxis { dim: dims[axis], name: name_of(environment.name(), dims[axis]), low, high }
    });
    let visited = |(name, player): &(String, Player<'_>), (points, episodes): &Walk| {
        let visits = counted(points, &axes, options.bins);
        VisitedStates {
            name: name.clone(),
            policy: player.playing(),
            steps: points.len() as u64,
            episodes: *episodes,
            coverage: visits.iter().filter(|&&visits| visits > 0).count() as f64 / visits.len() as f64,
            visits,
        }
    };
    let players = players.iter().zip(&walked).map(|(player, walk)| visited(player, walk)).collect();
    Ok(States { environment: environment.name().to_owned(), axes, bins: options.bins, players })
}

impl States {
    /// Draws the maps side by side.
    pub fn picture(&self) -> Picture {
        let panels: Vec<HeatPanel<'_>> = self
            .players
            .iter()
            .map(|player| HeatPanel { title: &player.name, visits: &player.visits })
            .collect();
        let axis = |at: usize| {
            let StatesAxis { name, low, high, .. } = &self.axes[at];
            HeatAxis { name, low: *low, high: *high }
        };
        heat_map(&panels, self.bins, [axis(0), axis(1)])
    }
}

/// The points that were visited, and the number of episodes.
type Walk = (Vec<[f64; 2]>, u64);

/// The places that a player visits, and how many episodes it has begun.
fn walk(
    player: Player<'_>,
    environment: &EnvironmentSource,
    dims: [usize; 2],
    options: &StatesOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Walk> {
    let request = EpisodesRequest {
        seed: options.seed,
        first: 0,
        // An episode has at least one step.
        count: options.steps,
        max_steps: options.max_steps,
        transitions: true,
        scenes: false,
    };
    let (most, mut points, mut begun) = (options.steps as usize, Vec::new(), 0);
    episodes(player, environment, &request, &mut |spec, episode| {
        let width = spec.observation.width();
        // The first observation is where the episode began, and was not visited by a step.
        let steps = episode.observations.chunks_exact(width).skip(1);
        points.extend(steps.take(most - points.len()).map(|row| dims.map(|dim| row[dim])));
        begun += 1;
        progress(points.len() as u64);
        Ok(if points.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok((points, begun))
}

/// The name of a number of an observation.
fn name_of(environment: &str, dim: usize) -> String {
    let named = observation_names(environment).map(|names| names[dim].to_owned());
    named.unwrap_or_else(|| format!("number {dim}"))
}

/// Reads two numbers of an observation, by names or from 0.
fn chosen_dims(environment: &str, spec: &Spec, text: &str) -> Result<[usize; 2]> {
    let width = spec.observation.width();
    let invalid = |reason: &str, remedy: &str| Err(Error::invalid_value("dims", text, reason, remedy));
    if width < 2 {
        return invalid(&format!("{environment} shows one number"), "take an environment that shows more");
    }
    let [first, second] = text.split(',').map(str::trim).collect::<Vec<_>>()[..] else {
        return invalid("a map has two axes", "give two with a comma between them, such as 0,1");
    };
    let names = observation_names(environment).unwrap_or_default();
    let read = |text: &str| -> Result<usize> {
        if let Some(dim) = names.iter().position(|name| *name == text) {
            return Ok(dim);
        }
        match text.parse() {
            Ok(dim) if dim < width => Ok(dim),
            Ok(dim) => {
                let reason =
                    format!("an observation of {environment} has {width} numbers, and {dim} is none of them");
                Err(Error::invalid_value(
                    "dims",
                    text,
                    &reason,
                    &format!("give numbers from 0 to {}", width - 1),
                ))
            }
            Err(_) if names.is_empty() => {
                let remedy = format!("give numbers from 0 to {}", width - 1);
                Err(Error::invalid_value(
                    "dims",
                    text,
                    "the numbers of these observations have no names",
                    &remedy,
                ))
            }
            Err(_) => Err(Error::unknown("number of an observation", text, names.iter().copied())),
        }
    };
    let dims = [read(first)?, read(second)?];
    if dims[0] == dims[1] {
        return invalid("a map has two different axes", "give two different ones");
    }
    Ok(dims)
}

/// From where to where an axis goes.
fn range(space: &Space, dim: usize, visited: impl Iterator<Item = f64>) -> (f64, f64) {
    let limits = match space {
        Space::Box { low, high } => [low[dim], high[dim]],
        Space::Discrete(count) => [0.0, *count as f64],
    };
    let [least, most] = visited
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)]);
    let low = if limits[0].abs() < UNLIMITED { limits[0] } else { least };
    let high = if limits[1].abs() < UNLIMITED { limits[1] } else { most };
    if low < high { (low, high) } else { (low - 0.5, high + 0.5) }
}

/// How often each cell was visited. What lies beyond an axis counts for its last cell.
fn counted(points: &[[f64; 2]], axes: &[StatesAxis; 2], bins: usize) -> Vec<u64> {
    let mut visits = vec![0; bins * bins];
    for point in points {
        let [column, row] = [0, 1].map(|axis| {
            let part = (point[axis] - axes[axis].low) / (axes[axis].high - axes[axis].low);
            // Casts saturate at 0.
            ((part * bins as f64) as usize).min(bins - 1)
        });
        visits[row * bins + column] += 1;
    }
    visits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Balancer;

    fn options(dims: &str) -> StatesOptions {
        StatesOptions { dims: dims.into(), steps: 2000, bins: 16, max_steps: 0, seed: 5 }
    }

    fn source(name: &str) -> EnvironmentSource {
        EnvironmentSource::parse(name).unwrap()
    }

    #[test]
    fn each_step_is_counted_once_on_common_axes() {
        let balancer = Balancer::new();
        let players =
            [("chance".to_owned(), Player::Random), ("balancer".to_owned(), Player::Mode(&balancer))];
        let mut done = Vec::new();
        let found =
            states(&players, &source("cartpole"), &options("angle, 3"), &mut |steps| done.push(steps))
                .unwrap();
        for player in &found.players {
            assert_eq!((player.steps, player.visits.iter().sum::<u64>()), (2000, 2000));
            let visited = player.visits.iter().filter(|&&visits| visits > 0).count();
            assert_eq!(player.coverage, visited as f64 / 256.0);
        }
        let [chance, balancer] = &found.players[..] else { panic!("two players") };
        // It stays near the middle, in fewer and longer episodes.
        assert!(balancer.coverage < chance.coverage && balancer.episodes < chance.episodes, "{found:?}");
        let [angle, turning] = &found.axes;
        assert_eq!((angle.dim, angle.name.as_str(), turning.dim), (2, "angle", 3));
        // The angle has limits, and its velocity has those that were visited.
        assert!((angle.high - 24.0_f64.to_radians()).abs() < 1e-3 && turning.high < 20.0, "{:?}", found.axes);
        assert_eq!(done.last(), Some(&4000));
        assert!(found.picture().width() > 1000);
    }

    #[test]
    fn cells_begin_at_the_lowest_value() {
        let axis = |low, high| StatesAxis { dim: 0, name: String::new(), low, high };
        let points = [[0.0, 0.0], [0.9, 0.1], [1.0, 2.0], [5.0, -3.0]];
        let found = counted(&points, &[axis(0.0, 1.0), axis(0.0, 2.0)], 2);
        assert_eq!(found, [1, 2, 0, 1]);
    }

    #[test]
    fn axes_without_limits_or_extent_have_some() {
        let space = Space::Box { low: vec![f64::NEG_INFINITY, -3.4e38], high: vec![2.0, 3.4e38] };
        assert_eq!(range(&space, 0, [-1.0, 1.5].into_iter()), (-1.0, 2.0));
        assert_eq!(range(&space, 1, [4.0, 4.0].into_iter()), (3.5, 4.5));
    }

    #[test]
    fn dims_are_names_or_numbers() {
        let dims = |text| {
            let spec = poiesis_envs::make("mountain-car").unwrap().spec().clone();
            chosen_dims("mountain-car", &spec, text)
        };
        assert_eq!(dims("velocity,position").unwrap(), [1, 0]);
        let said = |text| {
            let error = dims(text).unwrap_err();
            format!("{error}; {}", error.hint().unwrap_or_default())
        };
        for (text, part) in [
            ("velocty,0", "did you mean `velocity`?"),
            ("0,2", "numbers from 0 to 1"),
            ("0", "two with a comma"),
            ("1,1", "two different"),
        ] {
            assert!(said(text).contains(part), "{}", said(text));
        }
        let spec = poiesis_envs::make("cartpole").unwrap().spec().clone();
        let error = chosen_dims("python my_env.py", &spec, "position,1").unwrap_err();
        assert!(error.to_string().contains("have no names"), "{error}");
    }
}
