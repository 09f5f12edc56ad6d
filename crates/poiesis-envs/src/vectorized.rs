//! Many environments of one kind, stepped on all cores.

use std::time::Instant;

use rayon::prelude::*;

use crate::environment::{Action, Environment, Spec, Transition};
use crate::episode::check_finite;
use crate::error::EnvError;
use crate::random::episode_seed;
use crate::scene::Scene;

/// A task for another thread should take at least this long, in nanoseconds; to hand it over costs some microseconds.
const TASK: u64 = 20_000;

/// The actions of all environments of a [`Vectorized`].
#[derive(Clone, Copy, Debug)]
pub enum Actions<'a> {
    /// A choice for each environment.
    Discrete(&'a [usize]),
    /// `[environments, width of the action space]`.
    Continuous(&'a [f64]),
}

impl<'a> Actions<'a> {
    fn len(self) -> usize {
        match self {
            Actions::Discrete(choices) => choices.len(),
            Actions::Continuous(numbers) => numbers.len(),
        }
    }

    fn of(self, index: usize, width: usize) -> Action<'a> {
        match self {
            Actions::Discrete(choices) => Action::Discrete(choices[index]),
            Actions::Continuous(numbers) => Action::Continuous(&numbers[index * width..][..width]),
        }
    }
}

/// What a step of all environments brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Reward and end of each environment.
    pub transitions: Vec<Transition>,
    /// What each environment showed after the step, before an episode that ended was replaced: `[environments, width of the
    /// observation space]`. From it a learner estimates what a truncated episode would still have earned.
    pub observations: Vec<f64>,
    /// The episodes that ended in this step, by index.
    pub finished: Vec<Finished>,
}

/// An episode that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finished {
    /// Of which environment, from 0.
    pub index: usize,
    /// Which of its episodes, from 0.
    pub episode: u64,
    /// The sum of its rewards.
    pub episode_return: f64,
    /// Its number of steps.
    pub length: usize,
    /// Whether it ended by a rule of the task and not by its time limit alone.
    pub terminated: bool,
}

/// Everything that later steps of a [`Vectorized`] depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// The seed of the run.
    pub seed: u64,
    /// Each environment.
    pub environments: Vec<SavedEnvironment>,
}

/// One environment of a [`Saved`].
#[derive(Clone, Debug, PartialEq)]
pub struct SavedEnvironment {
    /// Its [`state`](Environment::state).
    pub state: Vec<f64>,
    /// What it showed last.
    pub observation: Vec<f64>,
    /// The number of its episode, from 0.
    pub episode: u64,
    /// The sum of the rewards of its episode so far.
    pub episode_return: f64,
    /// The number of steps of its episode so far.
    pub length: usize,
}

/// Several environments of one kind that are stepped together.
///
/// An episode that ends is followed by the next one in the same step. Its start is drawn from [`episode_seed`], so what
/// happens depends on the seed and the actions, and not on the number of threads.
///
/// After an error some environments have stepped and others have not: [`restore`](Self::restore) it, or make it anew.
pub struct Vectorized {
    seed: u64,
    spec: Spec,
    slots: Vec<Slot>,
    observations: Vec<f64>,
    outcome: Outcome,
}

/// One environment with its running episode.
struct Slot {
    environment: Box<dyn Environment>,
    index: usize,
    episode: u64,
    episode_return: f64,
    length: usize,
    finished: Option<Finished>,
    failed: Option<EnvError>,
    /// How long its last step took.
    nanoseconds: u64,
}

impl Vectorized {
    /// Starts the first episode of each environment.
    ///
    /// # Errors
    ///
    /// [`EnvError::InEnvironment`], of the first environment that failed.
    ///
    /// # Panics
    ///
    /// When there is no environment, or they differ in their [`Spec`].
    pub fn new(seed: u64, environments: Vec<Box<dyn Environment>>) -> Result<Self, EnvError> {
        let first = environments.first().expect("at least one environment");
        let spec = first.spec().clone();
        for other in &environments {
            assert_eq!(*other.spec(), spec, "environments that are stepped together are of one kind");
        }
        let slots: Vec<Slot> = environments.into_iter().enumerate().map(Slot::new).collect();
        let (count, width) = (slots.len(), spec.observation.width());
        let outcome = Outcome {
            transitions: vec![Transition::default(); count],
            observations: vec![0.0; count * width],
            finished: Vec::new(),
        };
        let mut all = Vectorized { seed, spec, slots, observations: vec![0.0; count * width], outcome };
        let observations = all.observations.par_chunks_mut(width.max(1));
        all.slots.par_iter_mut().zip(observations).for_each(|(slot, observation)| {
            slot.failed = slot.reset(seed, observation).err();
        });
        all.first_failure()?;
        Ok(all)
    }

    /// What the environments are.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// How many environments there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// What each environment shows now, which is what to act on: `[environments, width of the observation space]`.
    pub fn observations(&self) -> &[f64] {
        &self.observations
    }

    /// Draws one environment.
    pub fn scene(&self, index: usize) -> Scene {
        self.slots[index].environment.scene()
    }

    /// Acts once in every environment.
    ///
    /// # Errors
    ///
    /// [`EnvError::InEnvironment`], of the first environment that failed, also when a reward or an observation is not finite.
    ///
    /// # Panics
    ///
    /// When the number of actions does not fit the number of environments.
    pub fn step(&mut self, actions: Actions<'_>) -> Result<&Outcome, EnvError> {
        let width = match actions {
            Actions::Discrete(_) => 1,
            Actions::Continuous(_) => self.spec.action.width(),
        };
        let (count, given) = (self.slots.len() * width, actions.len());
        assert_eq!(given, count, "{} environments take {count} numbers, {given} are given", self.slots.len());
        let seed = self.seed;
        let each = |slot: &mut Slot, shown: &mut [f64], last: &mut [f64], transition: &mut Transition| {
            let action = actions.of(slot.index, width);
            match slot.step(seed, action, shown, last) {
                Ok(brought) => *transition = brought,
                Err(error) => slot.failed = Some(error),
            }
        };
        let share = self.share();
        let size = self.spec.observation.width().max(1);
        let (shown, last) = (&mut self.observations, &mut self.outcome.observations);
        let transitions = &mut self.outcome.transitions;
        if share >= self.slots.len() {
            let places = shown.chunks_mut(size).zip(last.chunks_mut(size)).zip(transitions);
            for (slot, ((shown, last), transition)) in self.slots.iter_mut().zip(places) {
                each(slot, shown, last, transition);
            }
        } else {
            let places = shown.par_chunks_mut(size).zip(last.par_chunks_mut(size)).zip(transitions);
            let all = self.slots.par_iter_mut().zip(places).with_min_len(share);
            all.for_each(|(slot, ((shown, last), transition))| each(slot, shown, last, transition));
        }
        self.first_failure()?;
        self.outcome.finished.clear();
        self.outcome.finished.extend(self.slots.iter_mut().filter_map(|slot| slot.finished.take()));
        Ok(&self.outcome)
    }

    /// Everything that later steps depend on.
    pub fn save(&self) -> Saved {
        let width = self.spec.observation.width();
        let saved = |slot: &Slot| SavedEnvironment {
            state: slot.environment.state(),
            observation: self.observations[slot.index * width..][..width].to_vec(),
            episode: slot.episode,
            episode_return: slot.episode_return,
            length: slot.length,
        };
        Saved { seed: self.seed, environments: self.slots.iter().map(saved).collect() }
    }

    /// Continues from what [`save`](Self::save) returned. An environment that cannot be restored, as it runs in another
    /// process, starts its next episode instead; the result lists those.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongState`] when another number or another kind of environments was saved, and what goes wrong at the start
    /// of a new episode.
    pub fn restore(&mut self, saved: &Saved) -> Result<Vec<usize>, EnvError> {
        let wrong = |reason| EnvError::WrongState { environment: self.spec.name.clone(), reason };
        let (count, given) = (self.slots.len(), saved.environments.len());
        if given != count {
            return Err(wrong(format!("it is of {given} environments, and there are {count}")));
        }
        let width = self.spec.observation.width();
        if let Some(other) = saved.environments.iter().find(|other| other.observation.len() != width) {
            let size = other.observation.len();
            return Err(wrong(format!("its observations have {size} numbers instead of {width}")));
        }
        self.seed = saved.seed;
        let mut anew = Vec::new();
        for (slot, saved) in self.slots.iter_mut().zip(&saved.environments) {
            let observation = &mut self.observations[slot.index * width..][..width];
            observation.copy_from_slice(&saved.observation);
            slot.episode = saved.episode;
            (slot.episode_return, slot.length) = (saved.episode_return, saved.length);
            (slot.finished, slot.failed) = (None, None);
            match slot.environment.restore(&saved.state) {
                Ok(()) => {}
                Err(EnvError::CannotRestore { .. }) => {
                    slot.episode += 1;
                    slot.reset(self.seed, observation)?;
                    anew.push(slot.index);
                }
                Err(reason) => return Err(slot.error(slot.length, reason)),
            }
        }
        Ok(anew)
    }

    /// How many environments one task steps at least. It changes how fast a step is, not what it brings.
    fn share(&self) -> usize {
        (TASK / self.slots[0].nanoseconds.max(1)).max(1) as usize
    }

    fn first_failure(&mut self) -> Result<(), EnvError> {
        self.slots.iter_mut().find_map(|slot| slot.failed.take()).map_or(Ok(()), Err)
    }
}

impl Slot {
    fn new((index, environment): (usize, Box<dyn Environment>)) -> Self {
        Slot {
            environment,
            index,
            episode: 0,
            episode_return: 0.0,
            length: 0,
            finished: None,
            failed: None,
            nanoseconds: TASK,
        }
    }

    fn error(&self, step: usize, reason: EnvError) -> EnvError {
        EnvError::InEnvironment { index: self.index, episode: self.episode, step, reason: Box::new(reason) }
    }

    /// Starts its episode.
    fn reset(&mut self, seed: u64, observation: &mut [f64]) -> Result<(), EnvError> {
        (self.episode_return, self.length) = (0.0, 0);
        let seed = episode_seed(seed, self.index, self.episode);
        self.environment
            .reset(seed, observation)
            .and_then(|()| check_finite(self.environment.spec(), 0, 0.0, observation))
            .map_err(|reason| self.error(0, reason))
    }

    /// Acts once. `last` is the observation after it, and `shown` that on which to act next.
    fn step(
        &mut self,
        seed: u64,
        action: Action<'_>,
        shown: &mut [f64],
        last: &mut [f64],
    ) -> Result<Transition, EnvError> {
        // One is enough to know how long a step takes.
        let start = (self.index == 0).then(Instant::now);
        let step = self.length + 1;
        let transition = self
            .environment
            .step(action, last)
            .and_then(|brought| {
                check_finite(self.environment.spec(), step, brought.reward, last).map(|()| brought)
            })
            .map_err(|reason| self.error(step, reason))?;
        self.length = step;
        self.episode_return += transition.reward;
        if transition.ended() {
            self.finished = Some(Finished {
                index: self.index,
                episode: self.episode,
                episode_return: self.episode_return,
                length: self.length,
                terminated: transition.terminated,
            });
            self.episode += 1;
            self.reset(seed, shown)?;
        } else {
            shown.copy_from_slice(last);
        }
        if let Some(start) = start {
            self.nanoseconds = start.elapsed().as_nanos() as u64;
        }
        Ok(transition)
    }
}
