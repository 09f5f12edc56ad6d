//! Classic control against trajectories of Gymnasium (`tests/fixtures/classic.py`).

use std::path::Path;

use poiesis_envs::{Action, Environment, Space, make};
use safetensors::{Dtype, SafeTensors};

const NAMES: [&str; 5] = ["cartpole", "acrobot", "mountain-car", "mountain-car-continuous", "pendulum"];

/// Of one step, relative to a state of size 1: sines of NumPy and of the system's library differ in the last bit.
const STEP: f64 = 2e-14;

/// Of a state after up to 500 steps, in which such differences grow.
const TRAJECTORY: f64 = 1e-8;

/// Observations that are rounded to f32 may differ by one unit in the last place.
const ROUNDED: f32 = 1.2e-7;

struct Fixture(Vec<u8>);

impl Fixture {
    fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        Fixture(std::fs::read(folder.join("classic.safetensors")).unwrap())
    }

    /// An array as rows of f64.
    fn rows(&self, name: &str, key: &str) -> Vec<Vec<f64>> {
        let arrays = SafeTensors::deserialize(&self.0).unwrap();
        let array = arrays.tensor(&format!("{name}.{key}")).unwrap();
        let bytes = array.data();
        let numbers: Vec<f64> = match array.dtype() {
            Dtype::F64 => bytes.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::F32 => bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
            Dtype::U8 => bytes.iter().map(|&b| b.into()).collect(),
            other => panic!("{other:?}"),
        };
        let width = array.shape().get(1).copied().unwrap_or(1);
        numbers.chunks(width).map(<[f64]>::to_vec).collect()
    }
}

/// Acts with numbers from a fixture.
fn step(
    environment: &mut dyn Environment,
    numbers: &[f64],
    observation: &mut [f64],
) -> poiesis_envs::Transition {
    let discrete = matches!(environment.spec().action, Space::Discrete(_));
    let action = if discrete { Action::Discrete(numbers[0] as usize) } else { Action::Continuous(numbers) };
    environment.step(action, observation).unwrap()
}

/// Sets the inner state, at the start of an episode.
fn set(environment: &mut dyn Environment, physics: &[f64]) {
    environment.restore(&[&[0.0, 1.0], physics].concat()).unwrap();
}

fn inner(environment: &dyn Environment) -> Vec<f64> {
    environment.state()[2..].to_vec()
}

#[track_caller]
fn expect_near(ours: &[f64], theirs: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}: {ours:?}, Gymnasium has {theirs:?}");
    }
}

#[track_caller]
fn expect_rounded(ours: &[f64], theirs: &[f64], what: &str) {
    for (&a, &b) in ours.iter().zip(theirs) {
        let (a, b) = (a as f32, b as f32);
        assert!((a - b).abs() <= ROUNDED * b.abs().max(1e-30), "{what}: {ours:?}, Gymnasium has {theirs:?}");
    }
}

#[test]
fn single_steps_are_those_of_gymnasium() {
    let fixture = Fixture::read();
    for name in NAMES {
        let mut environment = make(name).unwrap();
        let rows = |key| fixture.rows(name, key);
        let (before, actions, after) = (rows("before"), rows("action"), rows("after"));
        let (observations, rewards, ends) = (rows("observation"), rows("reward"), rows("terminated"));
        let mut observation = vec![0.0; environment.spec().observation.width()];
        assert!(before.len() > 20, "{name}");
        for at in 0..before.len() {
            let what = format!("{name}, row {at}");
            set(&mut *environment, &before[at]);
            let transition = step(&mut *environment, &actions[at], &mut observation);
            expect_near(&inner(&*environment), &after[at], STEP, &what);
            expect_rounded(&observation, &observations[at], &what);
            expect_near(&[transition.reward], &rewards[at], STEP, &what);
            assert_eq!(f64::from(u8::from(transition.terminated)), ends[at][0], "{what}");
        }
    }
}

/// The arithmetic of the continuous car is f32, and equal in every bit.
#[test]
fn the_continuous_car_is_bit_identical() {
    let fixture = Fixture::read();
    let name = "mountain-car-continuous";
    let mut environment = make(name).unwrap();
    let mut observation = [0.0; 2];
    let (before, actions) = (fixture.rows(name, "before"), fixture.rows(name, "action"));
    for (at, after) in fixture.rows(name, "after").iter().enumerate() {
        set(&mut *environment, &before[at]);
        step(&mut *environment, &actions[at], &mut observation);
        assert_eq!(&observation[..], after, "row {at}");
    }
}

#[test]
fn trajectories_are_those_of_gymnasium() {
    let fixture = Fixture::read();
    for name in NAMES {
        let mut environment = make(name).unwrap();
        let (before, actions, after) =
            (fixture.rows(name, "before"), fixture.rows(name, "action"), fixture.rows(name, "after"));
        let mut observation = vec![0.0; environment.spec().observation.width()];
        for at in 0..before.len() {
            if at == 0 || before[at] != after[at - 1] {
                set(&mut *environment, &before[at]);
            }
            step(&mut *environment, &actions[at], &mut observation);
            expect_near(&inner(&*environment), &after[at], TRAJECTORY, &format!("{name}, row {at}"));
        }
    }
}

/// Whole episodes end in the same step, by the task or by the time limit.
#[test]
fn episodes_end_as_those_of_gymnasium() {
    let fixture = Fixture::read();
    let mut truncated = 0;
    for name in NAMES {
        let mut environment = make(name).unwrap();
        let mut observation = vec![0.0; environment.spec().observation.width()];
        set(&mut *environment, &fixture.rows(name, "before")[0]);
        let ends = fixture.rows(name, "ends");
        for (at, (numbers, end)) in fixture.rows(name, "whole").iter().zip(&ends).enumerate() {
            let transition = step(&mut *environment, numbers, &mut observation);
            let ours = u8::from(transition.terminated) + 2 * u8::from(transition.truncated);
            assert_eq!(f64::from(ours), end[0], "{name}, step {at}");
            truncated += usize::from(transition.truncated);
        }
        let last: Vec<f64> = fixture.rows(name, "final").concat();
        expect_near(&inner(&*environment), &last, TRAJECTORY, name);
    }
    assert_eq!(truncated, 3);
}

#[test]
fn spaces_and_limits_are_those_of_gymnasium() {
    let fixture = Fixture::read();
    for name in NAMES {
        let environment = make(name).unwrap();
        let spec = environment.spec();
        let rounded =
            |numbers: &[f64]| -> Vec<f64> { numbers.iter().map(|&x| f64::from(x as f32)).collect() };
        let Space::Box { low, high } = &spec.observation else { panic!("{name}") };
        assert_eq!(rounded(low), fixture.rows(name, "low").concat(), "{name}");
        assert_eq!(rounded(high), fixture.rows(name, "high").concat(), "{name}");
        let limits = match &spec.action {
            Space::Discrete(count) => vec![*count as f64],
            Space::Box { low, high } => [low.clone(), high.clone()].concat(),
        };
        assert_eq!(limits, fixture.rows(name, "act").concat(), "{name}");
        let limit = fixture.rows(name, "limit").concat();
        assert_eq!(spec.time_limit, Some(limit[0] as usize), "{name}");
        assert_eq!(spec.reward_threshold.is_none(), limit[1].is_nan(), "{name}");
        assert!(spec.reward_threshold.is_none_or(|threshold| threshold == limit[1]), "{name}");
    }
}
