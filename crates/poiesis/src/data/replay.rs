//! A pool of past transitions that a model learns from again, and its saved form.

use std::collections::VecDeque;

use burn::tensor::{Device, Tensor, TensorData};

use crate::nn::{StateDict, StateTensor};
use crate::rng::{self, Generator};

/// The last transitions that agents made, as paths: runs of observations with the actions between them.
///
/// A row is an observation and the action taken on it, and the row after it is what followed. The last row of a path has no
/// action. So each observation is stored once, in memory and on disk. Once the pool is full, the oldest rows are dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The most rows.
    capacity: usize,
    /// Numbers in an observation.
    observation: usize,
    /// Numbers that hold an action.
    action: usize,
    /// `[rows, observation]`.
    observations: VecDeque<f32>,
    /// `[rows, action]`; zeros in the last row of a path.
    actions: VecDeque<f32>,
    /// Whether a row is the last of its path.
    ends: VecDeque<bool>,
}

/// Transitions drawn from a [`Replay`], row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transitions {
    /// `[count, observation]`.
    pub observations: Vec<f32>,
    /// `[count, action]`.
    pub actions: Vec<f32>,
    /// `[count, observation]`.
    pub next_observations: Vec<f32>,
}

/// Mean and standard deviation of each of several numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// The means.
    pub mean: Vec<f64>,
    /// The standard deviations; 1 for a number that never varied.
    pub sd: Vec<f64>,
}

impl Scaling {
    /// Of rows of `width` numbers, one after another.
    fn of<'a>(rows: &(impl Iterator<Item = &'a f32> + Clone), width: usize) -> Scaling {
        let column_means = |value: &dyn Fn(f64, usize) -> f64| {
            let (mut sums, mut count) = (vec![0.0; width], 0_usize);
            for (&number, column) in rows.clone().zip((0..width).cycle()) {
                sums[column] += value(f64::from(number), column);
                count += 1;
            }
            let rows = (count / width.max(1)).max(1) as f64;
            sums.into_iter().map(|sum| sum / rows).collect::<Vec<f64>>()
        };
        let mean = column_means(&|number, _| number);
        let variance = column_means(&|number, column| (number - mean[column]).powi(2));
        let sd = variance.into_iter().map(f64::sqrt).map(|sd| if sd > NEVER_VARIED { sd } else { 1.0 });
        Scaling { sd: sd.collect(), mean }
    }

    /// Rows of numbers with the mean subtracted and divided by the standard deviation.
    ///
    /// # Panics
    ///
    /// When the numbers do not fill whole rows.
    pub fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let width = self.mean.len();
        assert!(rows.len().is_multiple_of(width), "{} numbers are no rows of {width}", rows.len());
        let scaled = |(column, &number): (usize, &f32)| {
            ((f64::from(number) - self.mean[column % width]) / self.sd[column % width]) as f32
        };
        rows.iter().enumerate().map(scaled).collect()
    }
}

/// A number with a standard deviation up to this never varied but for rounding.
const NEVER_VARIED: f64 = 1e-8;

impl Replay {
    /// An empty pool for up to `capacity` rows of `observation` and `action` numbers.
    pub fn new(capacity: usize, observation: usize, action: usize) -> Replay {
        let (observations, actions, ends) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Replay { capacity, observation, action, observations, actions, ends }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a path of `t` steps: the observations on which the agent acted, its actions, and the observation after the last step.
    ///
    /// # Shapes
    ///
    /// `[t, observation]`, `[t, action]`, `[observation]`.
    ///
    /// # Panics
    ///
    /// When the lengths do not fit each other.
    pub fn add_path(&mut self, observations: &[f32], actions: &[f32], last: &[f32]) {
        let (o, a) = (self.observation, self.action);
        let steps = actions.len() / a;
        assert!(
            observations.len() == steps * o && actions.len() == steps * a && last.len() == o,
            "a path of {} numbers of observations, {} of actions and {} of the last observation does not fit rows of {o} and {a}",
            observations.len(),
            actions.len(),
            last.len(),
        );
        self.observations.extend(observations.iter().chain(last));
        self.actions.extend(actions);
        self.actions.extend(std::iter::repeat_n(0.0, a));
        self.ends.extend((0..=steps).map(|step| step == steps));
        let surplus = self.len().saturating_sub(self.capacity);
        self.observations.drain(..surplus * o);
        self.actions.drain(..surplus * a);
        self.ends.drain(..surplus);
    }

    /// Means and standard deviations of the observations and of the actions in the pool.
    pub fn scalings(&self) -> [Scaling; 2] {
        let taken =
            self.actions.iter().zip(self.ends.iter().flat_map(|&end| std::iter::repeat_n(end, self.action)));
        let taken = taken.filter(|(_, end)| !end).map(|(number, _)| number);
        [Scaling::of(&self.observations.iter(), self.observation), Scaling::of(&taken, self.action)]
    }

    /// Draws `count` transitions uniformly, with replacement.
    ///
    /// # Panics
    ///
    /// When the pool is empty.
    pub fn sample(&self, generator: &mut Generator, count: usize) -> Transitions {
        assert!(!self.is_empty(), "transitions are drawn from an empty pool");
        let mut drawn = Transitions::default();
        for _ in 0..count {
            // The newest row always ends a path, so there is a row after each that does not.
            let row = loop {
                let row = rng::below(generator, self.len() as u64) as usize;
                if !self.ends[row] {
                    break row;
                }
            };
            let (o, a) = (self.observation, self.action);
            drawn.observations.extend(self.observations.range(row * o..(row + 1) * o));
            drawn.actions.extend(self.actions.range(row * a..(row + 1) * a));
            drawn.next_observations.extend(self.observations.range((row + 1) * o..(row + 2) * o));
        }
        drawn
    }

    /// What is in the pool, oldest first, as arrays whose names begin with `replay`; none while it is empty.
    pub fn state(&self, device: &Device) -> StateDict {
        let mut state = StateDict::default();
        if self.is_empty() {
            return state;
        }
        let mut insert = |name: &str, width: usize, values: Vec<f32>| {
            let len = values.len();
            let values = Tensor::from_data(TensorData::new(values, [len]), &device.clone().inner());
            state.insert(format!("replay.{name}"), StateTensor { shape: vec![len / width, width], values });
        };
        insert("observations", self.observation, self.observations.iter().copied().collect());
        insert("actions", self.action, self.actions.iter().copied().collect());
        insert("ends", 1, self.ends.iter().map(|&end| f32::from(u8::from(end))).collect());
        state
    }

    /// Restores what [`state`](Replay::state) returned, from all saved arrays.
    ///
    /// # Errors
    ///
    /// A sentence naming the array that does not fit.
    pub fn restore(&mut self, saved: &StateDict) -> Result<(), String> {
        let mut restored = Replay::new(self.capacity, self.observation, self.action);
        if let Some(ends) = saved.get("replay.ends") {
            let rows = ends.shape.first().copied().unwrap_or_default();
            if rows > self.capacity {
                return Err(format!("`replay.ends` has {rows} rows, and the pool holds {}", self.capacity));
            }
            restored.observations = rows_of(saved, "replay.observations", [rows, self.observation])?;
            restored.actions = rows_of(saved, "replay.actions", [rows, self.action])?;
            restored.ends =
                rows_of(saved, "replay.ends", [rows, 1])?.into_iter().map(|end| end != 0.0).collect();
            if restored.ends.back() != Some(&true) {
                return Err("`replay.ends` does not end with the end of a path".into());
            }
        }
        *self = restored;
        Ok(())
    }
}

/// The values of a saved array of this shape.
fn rows_of(saved: &StateDict, name: &str, shape: [usize; 2]) -> Result<VecDeque<f32>, String> {
    match saved.get(name) {
        Some(array) if array.shape == shape => Ok(array.values.to_data().iter::<f32>().collect()),
        Some(array) => Err(format!("`{name}` has shape {:?}, the pool wants {shape:?}", array.shape)),
        None => Err(format!("`{name}` is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::generator;

    /// A path of `steps` that starts at `first`: observation `[x, -x]`, action `[x / 10]`, and x rises by 1.
    fn add(replay: &mut Replay, first: usize, steps: usize) {
        let observation = |x: usize| [x as f32, -(x as f32)];
        let observations: Vec<f32> = (first..first + steps).flat_map(observation).collect();
        let actions: Vec<f32> = (first..first + steps).map(|x| x as f32 / 10.0).collect();
        replay.add_path(&observations, &actions, &observation(first + steps));
    }

    fn expect_transitions(drawn: &Transitions, count: usize) {
        assert_eq!(drawn.actions.len(), count);
        for row in 0..count {
            let x = drawn.observations[2 * row];
            assert_eq!(drawn.observations[2 * row + 1], -x);
            assert_eq!(drawn.actions[row], x / 10.0);
            assert_eq!(drawn.next_observations[2 * row..2 * row + 2], [x + 1.0, -x - 1.0]);
        }
    }

    #[test]
    fn transitions_never_cross_paths_and_all_are_drawn() {
        let mut replay = Replay::new(100, 2, 1);
        [(0, 3), (50, 1), (70, 4)].into_iter().for_each(|(first, steps)| add(&mut replay, first, steps));
        assert_eq!(replay.len(), 3 + 1 + 4 + 3);
        let drawn = replay.sample(&mut generator(1, "test", 0), 400);
        expect_transitions(&drawn, 400);
        let mut seen: Vec<usize> = drawn.observations.chunks(2).map(|row| row[0] as usize).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2, 50, 70, 71, 72, 73]);
    }

    #[test]
    fn a_full_pool_drops_the_oldest() {
        let mut replay = Replay::new(6, 2, 1);
        (0..5).for_each(|path| add(&mut replay, 10 * path, 3));
        assert_eq!(replay.len(), 6);
        let drawn = replay.sample(&mut generator(1, "test", 0), 200);
        expect_transitions(&drawn, 200);
        // The last path has four rows, and two are left of the one before: its last step and its end.
        assert!(drawn.observations.chunks(2).all(|row| row[0] == 32.0 || row[0] >= 40.0));
        assert!(drawn.observations.chunks(2).any(|row| row[0] == 32.0));
    }

    #[test]
    fn scalings_are_those_of_the_pool() {
        let mut replay = Replay::new(100, 2, 1);
        add(&mut replay, 0, 3);
        let [observations, actions] = replay.scalings();
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(&observations.mean, &[1.5, -1.5]), "{observations:?}");
        assert!(close(&observations.sd, &[1.25_f64.sqrt(), 1.25_f64.sqrt()]), "{observations:?}");
        // The end of the path has no action.
        assert!(
            close(&actions.mean, &[0.1]) && close(&actions.sd, &[(2.0_f64 / 300.0).sqrt()]),
            "{actions:?}"
        );
        let scaled = observations.apply(&[1.5, -1.5, 1.5 + 1.25_f32.sqrt(), 0.0]);
        assert!(scaled[..2] == [0.0, 0.0] && (scaled[2] - 1.0).abs() < 1e-6, "{scaled:?}");
        let constant = Scaling::of(&[3.0_f32; 4].iter(), 1);
        assert_eq!(constant.apply(&[3.5]), [0.5], "a number that never varied is not divided by zero");
    }

    #[test]
    fn a_restored_pool_draws_the_same_and_only_what_is_filled_is_saved() {
        let device = Device::flex();
        for capacity in [6, 1000] {
            let mut replay = Replay::new(capacity, 2, 1);
            assert_eq!(replay.state(&device).numel(), 0);
            (0..3).for_each(|path| add(&mut replay, 10 * path, 3));
            let saved = replay.state(&device);
            assert_eq!(saved.numel(), replay.len() * 4);
            let mut restored = Replay::new(capacity, 2, 1);
            restored.restore(&saved).unwrap();
            assert_eq!(restored, replay);
            [&mut replay, &mut restored].into_iter().for_each(|pool| add(pool, 90, 2));
            let draw = |pool: &Replay| pool.sample(&mut generator(2, "test", 0), 20);
            assert_eq!(draw(&restored), draw(&replay));
        }
    }

    #[test]
    fn saved_arrays_that_do_not_fit_are_named() {
        let mut replay = Replay::new(100, 2, 1);
        add(&mut replay, 0, 3);
        let saved = replay.state(&Device::flex());
        let refusal = |capacity, observation, action| {
            Replay::new(capacity, observation, action).restore(&saved).unwrap_err()
        };
        assert!(refusal(100, 3, 1).contains("`replay.observations` has shape [4, 2]"));
        assert!(refusal(100, 2, 2).contains("`replay.actions` has shape [4, 1]"));
        assert!(refusal(3, 2, 1).contains("4 rows, and the pool holds 3"));
    }
}
