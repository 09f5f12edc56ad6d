//! Many environments at a time.

use std::sync::LazyLock;

use poiesis_envs::{
    Action, Actions, EnvError, Environment, Finished, Outcome, Scene, Space, Spec, Transition, Vectorized,
    episode_seed, make,
};

/// Counts its steps and ends after as many as its seed says. It gives its seed as observation, and NaN where it is told to.
struct Counter {
    seed: u64,
    steps: usize,
    bad: Option<u64>,
    restorable: bool,
}

static SPEC: LazyLock<Spec> = LazyLock::new(|| Spec {
    name: "counter".into(),
    observation: Space::Box { low: vec![0.0; 2], high: vec![f64::INFINITY; 2] },
    action: Space::Discrete(1),
    time_limit: None,
    reward_threshold: None,
    seconds: 0.0,
});

impl Counter {
    fn length(&self) -> usize {
        3 + (self.seed % 5) as usize
    }

    fn show(&self, observation: &mut [f64]) {
        observation.copy_from_slice(&[(self.seed >> 32) as f64, self.steps as f64]);
    }
}

impl Environment for Counter {
    fn spec(&self) -> &Spec {
        &SPEC
    }

    fn reset(&mut self, seed: u64, observation: &mut [f64]) -> Result<(), EnvError> {
        (self.seed, self.steps) = (seed, 0);
        self.show(observation);
        Ok(())
    }

    fn step(&mut self, _: Action<'_>, observation: &mut [f64]) -> Result<Transition, EnvError> {
        self.steps += 1;
        self.show(observation);
        let end = self.steps == self.length();
        let bad = self.bad == Some(self.seed) && self.steps == 2;
        let reward = if bad { f64::NAN } else { self.steps as f64 };
        Ok(Transition {
            reward,
            terminated: end && self.seed.is_multiple_of(2),
            truncated: end && !self.seed.is_multiple_of(2),
        })
    }

    fn state(&self) -> Vec<f64> {
        vec![(self.seed >> 32) as f64, (self.seed & 0xffff_ffff) as f64, self.steps as f64]
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvError> {
        if !self.restorable {
            return Err(EnvError::CannotRestore { environment: "counter".into() });
        }
        self.seed = ((state[0] as u64) << 32) | state[1] as u64;
        self.steps = state[2] as usize;
        Ok(())
    }

    fn scene(&self) -> Scene {
        Scene::default()
    }
}

fn counters(seed: u64, count: usize, bad: Option<u64>, restorable: bool) -> Vectorized {
    let counter = |_| Box::new(Counter { seed: 0, steps: 0, bad, restorable }) as Box<dyn Environment>;
    Vectorized::new(seed, (0..count).map(counter).collect()).unwrap()
}

fn named(name: &str, seed: u64, count: usize) -> Vectorized {
    Vectorized::new(seed, (0..count).map(|_| make(name).unwrap()).collect()).unwrap()
}

/// Acts, with actions that depend on the step and the environment.
fn act(all: &mut Vectorized, step: usize) -> Outcome {
    let count = all.len();
    match &all.spec().action {
        Space::Discrete(choices) => {
            let chosen: Vec<usize> = (0..count).map(|index| (step + index) % choices).collect();
            all.step(Actions::Discrete(&chosen)).unwrap().clone()
        }
        Space::Box { high, .. } => {
            let width = high.len();
            let number = |at: usize| high[at % width] * ((step * 7 + at) as f64).sin();
            let numbers: Vec<f64> = (0..count * width).map(number).collect();
            all.step(Actions::Continuous(&numbers)).unwrap().clone()
        }
    }
}

#[test]
fn episodes_follow_each_other_and_are_reported() {
    let mut all = counters(9, 4, None, true);
    let mut episodes = [0_u64; 4];
    let mut lengths = [0_usize; 4];
    for step in 0..100 {
        let outcome = act(&mut all, step);
        let mut finished = outcome.finished.iter();
        for index in 0..4 {
            lengths[index] += 1;
            let seed = episode_seed(9, index, episodes[index]);
            let shown = &all.observations()[2 * index..][..2];
            let length = 3 + (seed % 5) as usize;
            let last = [(seed >> 32) as f64, lengths[index] as f64];
            assert_eq!(outcome.observations[2 * index..][..2], last);
            if lengths[index] < length {
                assert_eq!(shown, last);
                continue;
            }
            let expected = Finished {
                index,
                episode: episodes[index],
                episode_return: (length * (length + 1)) as f64 / 2.0,
                length,
                terminated: seed.is_multiple_of(2),
            };
            assert_eq!(finished.next(), Some(&expected));
            episodes[index] += 1;
            lengths[index] = 0;
            assert_eq!(shown, [(episode_seed(9, index, episodes[index]) >> 32) as f64, 0.0]);
        }
        assert_eq!(finished.next(), None);
    }
}

/// What is seen, earned and reported is that of the same environments one by one.
#[test]
fn many_environments_are_as_single_ones() {
    let mut all = named("cartpole", 5, 3);
    let mut single = make("cartpole").unwrap();
    let (mut seen, mut episode) = ([0.0; 4], 0);
    single.reset(episode_seed(5, 1, 0), &mut seen).unwrap();
    for step in 0..100 {
        assert_eq!(all.observations()[4..8], seen);
        let outcome = act(&mut all, step);
        let transition = single.step(Action::Discrete((step + 1) % 2), &mut seen).unwrap();
        assert_eq!((outcome.transitions[1], &outcome.observations[4..8]), (transition, &seen[..]));
        if transition.ended() {
            episode += 1;
            single.reset(episode_seed(5, 1, episode), &mut seen).unwrap();
        }
    }
    assert!(episode > 1);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    // Cheap and expensive ones, of which rayon gets other shares.
    for (name, count) in [("cartpole", 2000), ("double-pendulum", 40)] {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut all = named(name, 3, count);
                let outcomes: Vec<Outcome> = (0..60).map(|step| act(&mut all, step)).collect();
                (outcomes, all.save())
            })
        };
        assert!(run(1) == run(4), "{name}");
    }
}

#[test]
fn saved_environments_continue_exactly() {
    for name in ["cartpole", "pendulum", "double-pendulum-sparse"] {
        let mut whole = named(name, 8, 5);
        (0..137).for_each(|step| _ = act(&mut whole, step));
        let saved = whole.save();
        // Of another seed, and in the middle of other episodes.
        let mut other = named(name, 1, 5);
        (0..10).for_each(|step| _ = act(&mut other, step));
        assert!(other.restore(&saved).unwrap().is_empty());
        assert_eq!(other.observations(), whole.observations());
        for step in 137..400 {
            assert_eq!(act(&mut whole, step), act(&mut other, step), "{name}");
        }
        assert_eq!(whole.save(), other.save());
    }
}

#[test]
fn what_cannot_be_restored_starts_its_next_episode() {
    let mut all = counters(2, 3, None, false);
    (0..20).for_each(|step| _ = act(&mut all, step));
    let saved = all.save();
    let mut other = counters(2, 3, None, false);
    assert_eq!(other.restore(&saved).unwrap(), [0, 1, 2]);
    for (index, (now, before)) in other.save().environments.iter().zip(&saved.environments).enumerate() {
        assert_eq!(now.episode, before.episode + 1);
        assert_eq!((now.length, now.episode_return), (0, 0.0));
        assert_eq!(now.observation[0], (episode_seed(2, index, now.episode) >> 32) as f64);
    }
}

#[test]
fn what_does_not_fit_is_not_restored() {
    let saved = named("cartpole", 0, 2).save();
    let error = named("cartpole", 0, 3).restore(&saved).unwrap_err();
    assert_eq!(error.to_string(), "this is no state of cartpole: it is of 2 environments, and there are 3");
    let error = named("pendulum", 0, 2).restore(&saved).unwrap_err();
    assert!(error.to_string().contains("4 numbers instead of 3"), "{error}");
}

/// The first of several failures is reported, whichever thread is faster.
#[test]
fn a_number_that_is_not_finite_names_environment_and_step() {
    let bad = episode_seed(6, 2, 1);
    let mut all = counters(6, 5, Some(bad), true);
    let failed = (0..50).find_map(|_| all.step(Actions::Discrete(&[0; 5])).err()).unwrap();
    let reason =
        EnvError::NotFinite { environment: "counter".into(), step: 2, what: "the reward is NaN".into() };
    let expected = EnvError::InEnvironment { index: 2, episode: 1, step: 2, reason: Box::new(reason) };
    assert_eq!(failed, expected);
    assert_eq!(
        failed.to_string(),
        "environment 2, episode 1, step 2: counter gave a number that cannot be used in step 2 of an episode: the \
         reward is NaN"
    );
}

#[test]
fn a_wrong_action_names_its_environment() {
    let mut all = named("cartpole", 0, 3);
    let error = all.step(Actions::Discrete(&[0, 1, 2])).unwrap_err();
    assert!(matches!(error, EnvError::InEnvironment { index: 2, episode: 0, step: 1, .. }), "{error}");
}

#[test]
#[should_panic(expected = "3 environments take 3 numbers, 2 are given")]
fn too_few_actions_are_a_bug() {
    _ = named("pendulum", 0, 3).step(Actions::Continuous(&[0.0, 0.0]));
}

#[test]
#[should_panic(expected = "of one kind")]
fn different_environments_are_a_bug() {
    _ = Vectorized::new(0, vec![make("cartpole").unwrap(), make("acrobot").unwrap()]);
}
