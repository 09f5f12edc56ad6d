//! The environments of a run as a source of training data, with a state that is saved exactly.

use burn::tensor::Device;
use poiesis_envs::{Actions, EnvError, Outcome, Saved, SavedEnvironment, Spec, Transition, Vectorized};

use super::{Amount, DataSpec, Source, SourceOptions, TaskShape};
use crate::config::DataConfig;
use crate::error::{Error, Result};
use crate::nn::{StateDict, StateTensor};

/// The name under which the state is saved.
const NAME: &str = "environments";

/// Several environments that are stepped together.
///
/// A training step cannot fail, an environment can. The first failure is kept for [`Source::failure`]; until it is asked for, steps
/// give zeros, which nothing learns from, as the run then ends.
pub struct Environments {
    all: Vectorized,
    task: TaskShape,
    steps: usize,
    batch_size: usize,
    lengths: Vec<usize>,
    device: Device,
    failure: Option<EnvError>,
    /// What is returned after a failure.
    nothing: Outcome,
}

/// What an agent needs of its environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvironmentNeeds {
    /// Steps that each environment takes in one step of training.
    pub steps: usize,
}

impl Environments {
    /// What they are.
    pub fn spec(&self) -> &Spec {
        self.all.spec()
    }

    /// What an agent sees and does in them.
    pub fn task(&self) -> &TaskShape {
        &self.task
    }

    /// How many there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Steps of experience in a batch, `train.batch_size`.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Where tensors of experience go.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What each environment shows now, which is what to act on: `[environments, observation]`.
    pub fn observations(&self) -> &[f64] {
        self.all.observations()
    }

    /// How many steps the running episode of each environment has had.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Acts once in every environment.
    ///
    /// # Panics
    ///
    /// When the number of actions does not fit the number of environments.
    pub fn step(&mut self, actions: Actions<'_>) -> &Outcome {
        if self.failure.is_some() {
            return &self.nothing;
        }
        match self.all.step(actions) {
            Err(error) => {
                self.failure = Some(error);
                &self.nothing
            }
            Ok(outcome) => {
                for (length, transition) in self.lengths.iter_mut().zip(&outcome.transitions) {
                    *length = if transition.ended() { 0 } else { *length + 1 };
                }
                outcome
            }
        }
    }
}

impl Source for Environments {
    type Needs = EnvironmentNeeds;

    fn held_values(needs: &EnvironmentNeeds, spec: &DataSpec, config: &DataConfig) -> f64 {
        let Ok(task) = spec.task() else { return 0.0 };
        // Observations before and after each step in f64, and once more as they are read; actions; eight numbers of each row.
        let row = 5.0 * task.observation as f64 + 2.0 * task.actions.inputs() as f64 + 8.0;
        row * needs.steps as f64 * config.environments as f64
    }

    fn open(needs: &EnvironmentNeeds, options: &SourceOptions<'_>) -> Result<Environments> {
        let experience = options.examples.experience()?;
        let made = experience.environment.make_all(experience.environments.max(1))?;
        let all = Vectorized::new(options.seed, made)?;
        let found = TaskShape::of(experience.environment.name(), all.spec());
        if found != experience.task {
            let reason =
                format!("it has {}, and {} were expected", found.describe(), experience.task.describe());
            let remedy = "give the environment of the run";
            return Err(Error::invalid_value("data.source", &found.environment, &reason, remedy));
        }
        let (count, width) = (all.len(), all.spec().observation.width());
        let nothing = Outcome {
            transitions: vec![Transition::default(); count],
            observations: vec![0.0; count * width],
            finished: Vec::new(),
        };
        Ok(Environments {
            all,
            task: found,
            steps: needs.steps,
            batch_size: options.batch_size,
            lengths: vec![0; count],
            device: options.device.clone(),
            failure: None,
            nothing,
        })
    }

    fn amount(&self) -> Amount {
        Amount { count: (self.all.len() * self.steps) as u64, unit: "steps" }
    }

    fn can_fail(&self) -> bool {
        true
    }

    fn failure(&mut self) -> Option<Error> {
        self.failure.take().map(Error::from)
    }

    fn state(&self) -> StateDict {
        let saved = self.all.save();
        let mut words = vec![saved.seed, saved.environments.len() as u64];
        for one in &saved.environments {
            let (state, observation) = (&one.state, &one.observation);
            words.extend([one.episode, one.episode_return.to_bits(), one.length as u64]);
            for numbers in [state, observation] {
                words.push(numbers.len() as u64);
                words.extend(numbers.iter().map(|number| number.to_bits()));
            }
        }
        let mut state = StateDict::default();
        state.insert(NAME.into(), StateTensor::of_words(&words, &self.device));
        state
    }

    fn restore(&mut self, saved: &StateDict) -> Result<(), String> {
        let Some(array) = saved.get(NAME) else { return Err(format!("`{NAME}` is missing")) };
        let words = array.to_words();
        let read = read(&words).ok_or_else(|| format!("`{NAME}` is no state of environments"))?;
        self.all.restore(&read).map_err(|error| format!("`{NAME}`: {error}"))?;
        // An environment that cannot be restored has begun a new episode.
        self.lengths = self.all.save().environments.iter().map(|one| one.length).collect();
        self.failure = None;
        Ok(())
    }
}

/// Reads what [`Environments::state`] wrote; `None` where it ends too early or does not end.
fn read(words: &[u64]) -> Option<Saved> {
    let mut words = words.iter().copied();
    let (seed, count) = (words.next()?, words.next()?);
    let mut environments = Vec::new();
    for _ in 0..count {
        let (episode, episode_return, length) = (words.next()?, words.next()?, words.next()?);
        let mut numbers = || -> Option<Vec<f64>> {
            let len = words.next()?;
            (0..len).map(|_| words.next().map(f64::from_bits)).collect()
        };
        environments.push(SavedEnvironment {
            state: numbers()?,
            observation: numbers()?,
            episode,
            episode_return: f64::from_bits(episode_return),
            length: usize::try_from(length).ok()?,
        });
    }
    words.next().is_none().then_some(Saved { seed, environments })
}
