//! A chain of places with a reward at its far end, which is not found by chance.

use burn::tensor::Device;
use poiesis_envs::{Action, EnvError, Environment, Scene, Space, Spec, Transition};

use crate::config::{Layer, resolve};
use crate::data::{Content, DataSpec, EnvironmentSource, Examples, Experience, Source as _, SourceOptions};
use crate::model::{Entry as _, Learner, Model, Of, Session as _};

/// The last place, as many steps from the first.
pub(crate) const END: usize = 21;

/// Steps after which an episode is truncated.
const LIMIT: usize = 24;

/// Settings of an agent that has to walk it: ten environments, two episodes each in an iteration.
pub(crate) const SETTINGS: &str = "data.environments=10 rollout_steps=48 hidden_dims=[32] kl_limit=0.02 \
    gae_lambda=1.0 normalize_observations=false";

/// Choice 1 is a step ahead, choice 0 a step back. The end gives a reward of 1 and ends the episode; all other steps give none. An
/// observation is one-hot. Of random walks, a few in a million reach the end in time.
pub(crate) struct Chain {
    spec: Spec,
    place: usize,
    steps: usize,
}

impl Chain {
    pub(crate) fn new() -> Chain {
        let spec = Spec {
            name: "chain".into(),
            observation: Space::Box { low: vec![0.0; END + 1], high: vec![1.0; END + 1] },
            action: Space::Discrete(2),
            time_limit: Some(LIMIT),
            reward_threshold: None,
            seconds: 0.0,
        };
        Chain { spec, place: 0, steps: 0 }
    }

    fn show(&self, observation: &mut [f64]) {
        observation.fill(0.0);
        observation[self.place] = 1.0;
    }
}

impl Environment for Chain {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, _seed: u64, observation: &mut [f64]) -> Result<(), EnvError> {
        (self.place, self.steps) = (0, 0);
        self.show(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Transition, EnvError> {
        self.place = match action {
            Action::Discrete(1) => self.place + 1,
            _ => self.place.saturating_sub(1),
        };
        self.steps += 1;
        self.show(observation);
        let terminated = self.place == END;
        let reward = f64::from(u8::from(terminated));
        Ok(Transition { reward, terminated, truncated: self.steps >= LIMIT })
    }

    fn state(&self) -> Vec<f64> {
        vec![self.place as f64, self.steps as f64]
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvError> {
        (self.place, self.steps) = (state[0] as usize, state[1] as usize);
        Ok(())
    }

    fn scene(&self) -> Scene {
        Scene::default()
    }
}

/// A model in training on the chain, with settings such as `"rollout_steps=48 bonus_weight=0"`.
pub(crate) fn on_the_chain<M: Model>(settings: &str, seed: u64) -> Learner<M> {
    let layers: Vec<Layer> =
        settings.split_whitespace().map(|text| Layer::assignment("a test", text).unwrap()).collect();
    let config = resolve(&Of::<M>::NEW.defaults().unwrap(), &layers).unwrap().config;
    let own: M::Config = config.model().unwrap();
    config.check(&own).unwrap();
    let source = EnvironmentSource::own("chain", || Ok(Box::new(Chain::new())));
    let experience = Experience::of(source, config.data.environments).unwrap();
    let spec =
        DataSpec { content: Content::Experience(experience.task.clone()), classes: 0, unlabelled: false };
    let (examples, device) = (Examples::Experience(experience), Device::flex().autodiff());
    let batch_size = config.train.batch_size;
    let options = SourceOptions { examples: &examples, spec: &spec, batch_size, seed, device: &device };
    let data = M::Data::open(&M::needs(&own, &spec).unwrap(), &options).unwrap();
    Learner::new(&own, &config.optimizer, &spec, data, seed, &device).unwrap()
}

/// The best mean return of an iteration, of `iterations`, with more settings than [`SETTINGS`].
pub(crate) fn best_return<M: Model>(settings: &str, iterations: u64) -> f64 {
    let mut learner = on_the_chain::<M>(&format!("{SETTINGS} {settings}"), 1);
    let returns = (0..iterations).flat_map(|number| {
        let metrics = learner.step(number, 1.0).unwrap().read();
        metrics.into_iter().filter(|(name, _)| *name == "return").map(|(_, value)| value)
    });
    returns.fold(0.0, f64::max)
}
