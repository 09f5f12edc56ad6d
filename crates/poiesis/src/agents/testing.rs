//! What tests of agents share: environments whose best returns are known, and checks that every learner must pass.

use burn::tensor::{Device, Tensor};
use poiesis_envs::{Action, EnvError, Environment, Scene, Space, Spec, Transition};

use super::base::Minibatch;
use super::{AgentConfig, Base, Learning, Rollout};
use crate::config::{Layer, resolve};
use crate::data::{ActionShape, EnvironmentSource, Experience, TaskShape};
use crate::model::{Entry as _, Model, Of, Session, Start};
use crate::nn::Init;
use crate::train::TrainingData;

/// A rollout of observations 0, 1, 2 … with these rows terminated and truncated; everything else is zero.
pub(crate) fn rollout(
    environments: usize,
    steps: usize,
    terminated: &[usize],
    truncated: &[usize],
) -> Rollout {
    let rows = environments * steps;
    let marked = |rows_marked: &[usize]| (0..rows).map(|row| rows_marked.contains(&row)).collect();
    Rollout {
        task: TaskShape {
            environment: "a test".into(),
            observation: 1,
            actions: ActionShape::Discrete { choices: 2 },
        },
        environments,
        steps,
        batch_size: rows,
        observations: (0..rows).map(|row| row as f64).collect(),
        next_observations: (0..rows).map(|row| row as f64 + 1.0).collect(),
        actions: vec![0.0; rows],
        rewards: vec![0.0; rows],
        log_probs: vec![0.0; rows],
        terminated: marked(terminated),
        truncated: marked(truncated),
        times: vec![0; rows],
        finished: Vec::new(),
    }
}

/// An environment of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Known {
    /// One step, four choices, of which the third earns 1. The best return is 1.
    Bandit,
    /// Five places in a row, one-hot. The agent begins at the first and goes to one side or the other; the last one earns 1 and ends
    /// the episode, every step before it costs 0.1, and after twelve steps it is truncated. The best return is 0.7.
    Chain,
    /// Eight steps in which a number is shown and must be repeated; the squared error is the cost. The best return is 0.
    Identity,
    /// As the identity, but the third step of an episode earns NaN.
    NotANumber,
    /// As the identity, but actions of another size than it says are wanted.
    OtherActions,
}

/// How far an episode of a [`Known`] is: its seed, its steps and its place.
struct Running {
    known: Known,
    spec: Spec,
    phase: f64,
    steps: usize,
    place: usize,
}

impl Known {
    pub(crate) fn source(self) -> EnvironmentSource {
        EnvironmentSource::own("a test", move || Ok(self.make()))
    }

    fn make(self) -> Box<dyn Environment> {
        let (observation, action, limit) = match self {
            Known::Bandit => (Space::symmetric(&[1.0]), Space::Discrete(4), None),
            Known::Chain => (Space::symmetric(&[1.0; 5]), Space::Discrete(2), Some(12)),
            _ => (Space::symmetric(&[1.0]), Space::symmetric(&[f64::INFINITY]), Some(8)),
        };
        let spec = Spec {
            name: "a test".into(),
            observation,
            action,
            time_limit: limit,
            reward_threshold: None,
            seconds: 0.0,
        };
        Box::new(Running { known: self, spec, phase: 0.0, steps: 0, place: 0 })
    }
}

impl Running {
    fn show(&self, observation: &mut [f64]) {
        match self.known {
            Known::Bandit => observation[0] = 1.0,
            Known::Chain => {
                observation.fill(0.0);
                observation[self.place] = 1.0;
            }
            _ => observation[0] = self.shown(),
        }
    }

    fn shown(&self) -> f64 {
        (self.phase + 2.4 * self.steps as f64).sin()
    }
}

impl Environment for Running {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: u64, observation: &mut [f64]) -> Result<(), EnvError> {
        (self.phase, self.steps, self.place) = ((seed % 1000) as f64, 0, 0);
        self.show(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Transition, EnvError> {
        let shown = self.shown();
        self.steps += 1;
        let (reward, terminated) = match (self.known, action) {
            (Known::Bandit, Action::Discrete(choice)) => (f64::from(u8::from(choice == 2)), true),
            (Known::Chain, Action::Discrete(choice)) => {
                self.place = if choice == 1 { self.place + 1 } else { self.place.saturating_sub(1) };
                let there = self.place == 4;
                (if there { 1.0 } else { -0.1 }, there)
            }
            (Known::OtherActions, _) => {
                let reason = "it has 1 number, and 2 are wanted".into();
                return Err(EnvError::WrongAction { environment: "a test".into(), reason });
            }
            (Known::NotANumber, _) if self.steps == 3 => (f64::NAN, false),
            (_, Action::Continuous(numbers)) => (-(numbers[0] - shown).powi(2), false),
            (known, action) => panic!("{action:?} in {known:?}"),
        };
        self.show(observation);
        let truncated = self.spec.time_limit.is_some_and(|limit| self.steps >= limit);
        Ok(Transition { reward, terminated, truncated })
    }

    fn state(&self) -> Vec<f64> {
        vec![self.phase, self.steps as f64, self.place as f64]
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvError> {
        (self.phase, self.steps, self.place) = (state[0], state[1] as usize, state[2] as usize);
        Ok(())
    }

    fn scene(&self) -> Scene {
        Scene::default()
    }
}

/// A learner with these settings, such as `"rollout_steps=8 train.batch_size=16"`, in four environments.
pub(crate) fn session<M: Model>(settings: &str, known: Known, seed: u64) -> Box<dyn Session> {
    let entry = &Of::<M>::NEW;
    let seed = format!("seed={seed}");
    let all = settings.split_whitespace().chain([seed.as_str()]);
    let layers: Vec<Layer> = all.map(|text| Layer::assignment("a test", text).unwrap()).collect();
    let config = resolve(&entry.defaults().unwrap(), &layers).unwrap().config;
    let TrainingData { spec, train, .. } =
        TrainingData::of_experience(&Experience::of(known.source(), 4).unwrap());
    let device = Device::flex().autodiff();
    entry.start(Start { config: &config, spec: &spec, examples: train, device }).unwrap()
}

/// The mean return of the last five of `iterations`.
fn learned<M: Model>(settings: &str, known: Known, iterations: u64) -> f64 {
    let mut session = session::<M>(settings, known, 1);
    let mut returns = Vec::new();
    for iteration in 0..iterations {
        let metrics = session.step(iteration, 1.0).unwrap().read();
        returns.extend(metrics.into_iter().filter(|(name, _)| *name == "return").map(|(_, value)| value));
    }
    returns[returns.len() - 5..].iter().sum::<f64>() / 5.0
}

/// A learner finds nearly the best behaviour in each environment whose answer is known.
pub(crate) fn solves_what_is_known<M: Model>(settings: &str, iterations: u64) {
    for (known, enough) in [(Known::Bandit, 0.9), (Known::Chain, 0.6), (Known::Identity, -1.0)] {
        let found = learned::<M>(settings, known, iterations);
        assert!(found > enough, "{known:?}: a return of {found} after {iterations} iterations");
    }
}

/// Training gives the same bytes with one thread and with two.
pub(crate) fn is_the_same_for_any_threads<M: Model>(settings: &str) {
    let trained = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut session = session::<M>(settings, Known::Identity, 3);
            (0..4).for_each(|iteration| drop(session.step(iteration, 1.0).unwrap()));
            (session.state_dict().to_arrays(), session.training_state().to_arrays())
        })
    };
    assert!(trained(1) == trained(2), "the number of threads changes what is learned");
}

/// What an environment does wrong ends the step with an error that says what and where.
pub(crate) fn reports_failures<M: Model>(settings: &str) {
    for (known, said) in [(Known::NotANumber, "step 3"), (Known::OtherActions, "2 are wanted")] {
        let error = session::<M>(settings, known, 0).step(0, 1.0).unwrap_err();
        assert!(error.to_string().contains(said), "{known:?}: {error}");
        assert!(error.hint().is_some(), "{known:?}: no hint");
    }
}

/// A task of a test.
pub(crate) fn task_of(actions: ActionShape, observation: usize) -> TaskShape {
    TaskShape { environment: "a test".into(), observation, actions }
}

/// The task of a case of a fixture.
pub(crate) fn task(case: &serde_json::Value) -> TaskShape {
    let count = case["actions"].as_u64().unwrap() as usize;
    let discrete = case["discrete"].as_bool().unwrap();
    let actions = if discrete {
        ActionShape::Discrete { choices: count }
    } else {
        ActionShape::Continuous { dims: count }
    };
    task_of(actions, 3)
}

/// An agent of two choices and a batch of one row.
pub(crate) fn one_row(agent: &AgentConfig, learning: Learning, device: &Device) -> (Base, Minibatch) {
    let task = task_of(ActionShape::Discrete { choices: 2 }, 3);
    let base = Base::of(agent, learning, &task, &mut Init::new(2, device));
    let vector = || Tensor::zeros([1], device);
    let batch = Minibatch {
        inputs: Tensor::from_floats([[0.5, -1.0, 0.3]], device),
        actions: Tensor::from_floats([[1.0]], device),
        log_probs: vector(),
        advantages: vector(),
        returns: vector(),
        values: vector(),
    };
    (base, batch)
}
