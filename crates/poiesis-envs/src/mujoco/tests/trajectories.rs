//! Trajectories that Gymnasium recorded, see tests/fixtures/mujoco/record.py.

use std::path::Path;

use safetensors::SafeTensors;

use super::super::simulation::Simulation;
use super::super::tasks::find;
use super::library;
use crate::environment::Action;
use crate::episode::Dynamics;

/// The largest difference, relative where numbers are above 1. Most tasks are equal to the last bit on one machine. Hopper and
/// Walker2d differ in the last digits, as our lengths are round numbers where Gymnasium's are differences of two, and in
/// rewards sums are in another order. The rest is room for the mathematical library of another system, whose last digits
/// contacts amplify.
const TOLERANCE: f64 = 1e-9;

/// One array of a fixture.
struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Array {
    fn of(file: &SafeTensors<'_>, name: &str) -> Self {
        let view = file.tensor(name).unwrap();
        let values = view.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
        Self { shape: view.shape().to_vec(), values: values.collect() }
    }

    /// A row of the last axis, by its index among all rows.
    fn row(&self, index: usize) -> &[f64] {
        let width = *self.shape.last().unwrap();
        &self.values[index * width..(index + 1) * width]
    }
}

/// Compares one task to its file.
fn compare(name: &str) {
    let Some(library) = library() else { return };
    let file = name.replace('-', "_") + ".safetensors";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mujoco").join(file);
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let [qpos, qvel, actions, observations, rewards, terminated] =
        ["qpos", "qvel", "actions", "observations", "rewards", "terminated"]
            .map(|name| Array::of(&file, name));
    let (episodes, steps) = (actions.shape[0], actions.shape[1]);

    let task = find(name).unwrap();
    let mut simulation = Simulation::new(&library, task).unwrap();
    let mut seen = vec![0.0; task.about().observation];
    let mut worst = 0.0_f64;
    for episode in 0..episodes {
        simulation.begin(qpos.row(episode), qvel.row(episode));
        simulation.observe(&mut seen);
        worst = worst.max(difference(&seen, observations.row(episode * (steps + 1))));
        for step in 0..steps {
            let at = episode * steps + step;
            let (reward, ended) = simulation.advance(Action::Continuous(actions.row(at)));
            simulation.observe(&mut seen);
            let step_worst = difference(&seen, observations.row(episode * (steps + 1) + step + 1))
                .max(difference(&[reward], &rewards.values[at..=at]));
            worst = worst.max(step_worst);
            assert!(step_worst < TOLERANCE, "{name}: {step_worst} in step {step} of episode {episode}");
            assert_eq!(ended, terminated.values[at] == 1.0, "{name}: step {step} of episode {episode}");
        }
    }
    println!("{name}: largest difference {worst:e}");
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max)
}

#[test]
fn hopper() {
    compare("hopper");
}

#[test]
fn walker2d() {
    compare("walker2d");
}

#[test]
fn half_cheetah() {
    compare("half-cheetah");
}

#[test]
fn ant() {
    compare("ant");
}

#[test]
fn humanoid() {
    compare("humanoid");
}

#[test]
fn reacher() {
    compare("reacher");
}

#[test]
fn swimmer() {
    compare("swimmer");
}

#[test]
fn inverted_pendulum() {
    compare("inverted-pendulum");
}

#[test]
fn inverted_double_pendulum() {
    compare("inverted-double-pendulum");
}
