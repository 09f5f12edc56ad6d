//! Properties of the environments with MuJoCo.

use super::super::{make_with, names, outline};
use super::library;
use crate::environment::{Action, Environment, Space};
use crate::error::EnvError;
use crate::random::{self, uniform};

/// A random action within the bounds.
fn action(environment: &dyn Environment, step: u64) -> Vec<f64> {
    let Space::Box { low, high } = &environment.spec().action else { panic!("actions are numbers") };
    let mut random = random::start(step);
    low.iter().zip(high).map(|(&low, &high)| uniform(&mut random, low, high)).collect()
}

/// Steps and returns all that was seen, as bits. Where an episode ends, the next begins.
fn run(environment: &mut dyn Environment, steps: std::ops::Range<u64>) -> Vec<u64> {
    let mut observation = vec![0.0; environment.spec().observation.width()];
    let mut bits = Vec::new();
    for step in steps {
        let action = action(environment, step);
        let transition = environment.step(Action::Continuous(&action), &mut observation).unwrap();
        bits.extend(observation.iter().map(|value| value.to_bits()));
        bits.extend([transition.reward.to_bits(), u64::from(transition.terminated)]);
        if transition.ended() {
            environment.reset(step, &mut observation).unwrap();
        }
    }
    bits
}

fn started(library: &std::sync::Arc<super::super::Library>, name: &str) -> Box<dyn Environment> {
    let mut environment = make_with(library, name).unwrap();
    let mut observation = vec![0.0; environment.spec().observation.width()];
    environment.reset(3, &mut observation).unwrap();
    environment
}

#[test]
fn a_restored_environment_goes_on_with_the_same_bits() {
    let Some(library) = library() else { return };
    for name in names() {
        let mut first = started(&library, name);
        run(first.as_mut(), 0..17);
        let state = first.state();
        let expected = run(first.as_mut(), 17..40);
        let mut other = started(&library, name);
        run(other.as_mut(), 90..95);
        other.restore(&state).unwrap();
        assert_eq!(other.state(), state, "{name}");
        assert_eq!(run(other.as_mut(), 17..40), expected, "{name}");
    }
}

#[test]
fn drawing_and_saving_change_nothing() {
    let Some(library) = library() else { return };
    for name in names() {
        let (mut looked_at, mut alone) = (started(&library, name), started(&library, name));
        for step in 0..15 {
            assert!(!looked_at.scene().shapes.is_empty());
            looked_at.state();
            assert_eq!(
                run(looked_at.as_mut(), step..step + 1),
                run(alone.as_mut(), step..step + 1),
                "{name}"
            );
        }
    }
}

#[test]
fn an_episode_depends_on_its_seed_alone() {
    let Some(library) = library() else { return };
    for name in names() {
        let mut environment = make_with(&library, name).unwrap();
        let mut start = |seed: u64| {
            let mut observation = vec![0.0; environment.spec().observation.width()];
            environment.reset(seed, &mut observation).unwrap();
            let bits = run(environment.as_mut(), 0..5);
            (observation, bits)
        };
        let (first, other, again) = (start(7), start(8), start(7));
        assert_eq!(first, again, "{name}");
        assert_ne!(first.0, other.0, "{name}");
    }
}

#[test]
fn threads_share_a_body_and_give_the_same_bits() {
    let Some(library) = library() else { return };
    let alone = run(started(&library, "ant").as_mut(), 0..30);
    let mut environments: Vec<_> = (0..4).map(|_| started(&library, "ant")).collect();
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            environments.iter_mut().map(|one| scope.spawn(|| run(one.as_mut(), 0..30))).collect();
        for run in runs {
            assert_eq!(run.join().unwrap(), alone);
        }
    });
}

#[test]
fn the_sparse_cheetah_moves_as_the_other() {
    let Some(library) = library() else { return };
    let (mut dense, mut sparse) =
        (started(&library, "half-cheetah"), started(&library, "half-cheetah-sparse"));
    let act = [0.5; 6];
    let (mut a, mut b) = (vec![0.0; 17], vec![0.0; 17]);
    for _ in 0..20 {
        dense.step(Action::Continuous(&act), &mut a).unwrap();
        let transition = sparse.step(Action::Continuous(&act), &mut b).unwrap();
        assert_eq!(a, b);
        assert_eq!(transition.reward, 0.0);
    }
    // The place along x is the fifth number of the state: steps, whether it runs, the place before, time, positions.
    let mut state = sparse.state();
    state[4] = 6.0;
    sparse.restore(&state).unwrap();
    assert_eq!(sparse.step(Action::Continuous(&act), &mut b).unwrap().reward, 1.0);
}

#[test]
fn the_time_limit_truncates_and_does_not_terminate() {
    let Some(library) = library() else { return };
    let mut environment = started(&library, "reacher");
    let mut observation = [0.0; 10];
    for step in 1..=50 {
        let transition = environment.step(Action::Continuous(&[0.1, 0.1]), &mut observation).unwrap();
        assert_eq!((transition.terminated, transition.truncated), (false, step == 50));
    }
    let error = environment.step(Action::Continuous(&[0.1, 0.1]), &mut observation).unwrap_err();
    assert!(matches!(error, EnvError::NoEpisode { .. }));
}

#[test]
fn physics_that_break_are_an_error_and_a_reset_mends_them() {
    let Some(library) = library() else { return };
    let mut environment = started(&library, "hopper");
    let mut state = environment.state();
    // The first velocity: after two numbers of the episode, the place, the time and six positions.
    state[10] = 1e11;
    environment.restore(&state).unwrap();
    let mut observation = [0.0; 11];
    let error = environment.step(Action::Continuous(&[0.0; 3]), &mut observation).unwrap_err();
    assert!(matches!(error, EnvError::NotFinite { step: 1, .. }), "{error}");
    environment.reset(3, &mut observation).unwrap();
    assert_eq!(run(environment.as_mut(), 0..5), run(started(&library, "hopper").as_mut(), 0..5));
    assert!(!std::path::Path::new("MUJOCO_LOG.TXT").exists(), "MuJoCo wrote a log");
}

#[test]
fn wrong_states_and_actions_are_errors_and_change_nothing() {
    let Some(library) = library() else { return };
    let (mut tried, mut alone) = (started(&library, "swimmer"), started(&library, "swimmer"));
    let mut observation = [0.0; 8];
    let state = tried.state();
    assert!(matches!(tried.restore(&state[1..]), Err(EnvError::WrongState { .. })));
    for action in [&[f64::NAN, 0.0][..], &[0.0; 3]] {
        let error = tried.step(Action::Continuous(action), &mut observation).unwrap_err();
        assert!(matches!(error, EnvError::WrongAction { .. }), "{error}");
    }
    assert_eq!(run(tried.as_mut(), 0..5), run(alone.as_mut(), 0..5));
}

#[test]
fn an_outline_is_that_of_the_environment() {
    let Some(library) = library() else { return };
    for name in names() {
        let (outline, made) = (outline(name).unwrap(), make_with(&library, name).unwrap());
        let spec = made.spec();
        let found = (spec.observation.width(), spec.action.width(), spec.time_limit, spec.reward_threshold);
        let said = (outline.observation, outline.action, Some(outline.time_limit), outline.reward_threshold);
        assert_eq!(said, found, "{name}");
    }
}

#[test]
fn spaces_are_those_of_the_body() {
    let Some(library) = library() else { return };
    let environment = make_with(&library, "humanoid").unwrap();
    let spec = environment.spec();
    assert_eq!((spec.observation.width(), spec.time_limit, spec.seconds), (348, Some(1000), 0.015));
    assert_eq!(spec.action, Space::symmetric(&[0.4; 17]));
    let unknown = make_with(&library, "cartpole").err().unwrap();
    assert!(matches!(unknown, EnvError::UnknownEnvironment { .. }));
}

/// Asks MuJoCo for parts of a state that there are not, which is an error of its own.
#[test]
#[ignore = "ends the process; the next test runs it"]
fn an_error_of_mujoco() {
    let Some(library) = library() else { return };
    let task = super::super::tasks::find("hopper").unwrap();
    let model = library.model("hopper", task.about().body).unwrap();
    super::super::library::Data::new(&model).unwrap().state_size(1 << 30);
}

#[test]
fn an_error_of_mujoco_ends_the_program_with_its_message() {
    if library().is_none() {
        return;
    }
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "--ignored", "--nocapture", "mujoco::tests::simulated::an_error_of_mujoco"]);
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("MuJoCo cannot go on: "), "{said}");
}
