//! What every environment of the crate promises.

use poiesis_envs::{Action, EnvError, Environment, Listed, Shape, Space, make, mujoco};
use proptest::prelude::*;

/// The environments that need nothing but this crate. Those on MuJoCo have tests of their own, which skip where it is absent.
fn complete() -> Vec<Listed> {
    let mut listed = poiesis_envs::list();
    listed.retain(|one| !mujoco::names().contains(&one.name));
    listed
}

/// The `number`-th action of a sequence that covers the space and passes its limits.
fn numbers(environment: &dyn Environment, number: usize) -> Vec<f64> {
    let turn = (number as f64 * 0.7).sin();
    match &environment.spec().action {
        Space::Discrete(count) => vec![(number % count) as f64],
        Space::Box { high, .. } => high.iter().map(|limit| 1.3 * limit * turn).collect(),
    }
}

/// Acts, and starts the next episode when one is over. Returns what was seen and earned.
fn act(environment: &mut dyn Environment, number: usize) -> Vec<f64> {
    let numbers = numbers(environment, number);
    let mut observation = vec![0.0; environment.spec().observation.width()];
    let discrete = matches!(environment.spec().action, Space::Discrete(_));
    let action = if discrete { Action::Discrete(numbers[0] as usize) } else { Action::Continuous(&numbers) };
    let transition = environment.step(action, &mut observation).unwrap();
    observation.push(transition.reward);
    if transition.ended() {
        let mut first = vec![0.0; environment.spec().observation.width()];
        environment.reset(number as u64, &mut first).unwrap();
        observation.extend(first);
    }
    observation
}

fn started(name: &str, seed: u64) -> (Box<dyn Environment>, Vec<f64>) {
    let mut environment = make(name).unwrap();
    let mut observation = vec![0.0; environment.spec().observation.width()];
    environment.reset(seed, &mut observation).unwrap();
    (environment, observation)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// A restored environment continues with the same numbers, wherever it was saved.
    #[test]
    fn a_restored_environment_continues_exactly(seed in any::<u64>(), before in 0_usize..120) {
        for listed in complete() {
            let (mut whole, _) = started(listed.name, seed);
            (0..before).for_each(|number| _ = act(&mut *whole, number));
            let saved = whole.state();
            let mut restored = make(listed.name).unwrap();
            restored.restore(&saved).unwrap();
            for number in before..before + 40 {
                prop_assert_eq!(act(&mut *whole, number), act(&mut *restored, number), "{}", listed.name);
            }
        }
    }

    /// Observations stay finite and within their space.
    #[test]
    fn observations_are_of_their_space(seed in any::<u64>()) {
        for listed in complete() {
            let (mut environment, _) = started(listed.name, seed);
            let Space::Box { low, high } = environment.spec().observation.clone() else { panic!() };
            for number in 0..300 {
                let seen = act(&mut *environment, number);
                for ((x, low), high) in seen.iter().zip(&low).zip(&high) {
                    // The continuous car is f32, whose limits are rounded.
                    prop_assert!(*x >= low - 1e-7 && *x <= high + 1e-7, "{}: {x}", listed.name);
                }
            }
        }
    }
}

#[test]
fn an_episode_depends_on_its_seed_alone() {
    for listed in complete() {
        let (mut used, first) = started(listed.name, 11);
        (0..10).for_each(|number| _ = act(&mut *used, number));
        let mut again = vec![0.0; first.len()];
        used.reset(11, &mut again).unwrap();
        assert_eq!(first, again, "{}", listed.name);
        assert_ne!(first, started(listed.name, 12).1, "{}", listed.name);
    }
}

/// The ranges of the starts, from many of them: each end is approached, and none is passed.
#[test]
fn starts_fill_their_ranges() {
    use std::f64::consts::PI;
    let ranges: [(&str, &[(f64, f64)]); 7] = [
        ("cartpole", &[(-0.05, 0.05); 4]),
        ("acrobot", &[(-0.1, 0.1); 4]),
        ("mountain-car", &[(-0.6, -0.4), (0.0, 0.0)]),
        ("mountain-car-continuous", &[(-0.6, -0.4), (0.0, 0.0)]),
        ("pendulum", &[(-PI, PI), (-1.0, 1.0)]),
        ("mountain-car-sparse", &[(0.0, 0.0), (-1.0, 1.0)]),
        ("cartpole-swingup-sparse", &[(-1.0, 1.0), (-2.0, 2.0), (PI - 1.0, PI + 1.0), (-3.0, 3.0)]),
    ];
    for (name, ranges) in ranges {
        let starts: Vec<Vec<f64>> =
            (0..400).map(|seed| started(name, seed).0.state()[2..].to_vec()).collect();
        for (at, &(low, high)) in ranges.iter().enumerate() {
            let drawn = starts.iter().map(|start| start[at]);
            let (least, most) = drawn.fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
            let slack = 0.03 * (high - low);
            assert!(least >= low - 1e-8 && least <= low + slack, "{name} {at}: {least}");
            assert!(most <= high + 1e-8 && most >= high - slack, "{name} {at}: {most}");
        }
    }
}

#[test]
fn the_double_pendulum_starts_near_hanging() {
    let starts: Vec<Vec<f64>> =
        (0..2000).map(|seed| started("double-pendulum", seed).0.state()[2..].to_vec()).collect();
    for (at, expected) in [0.1, 0.1, 0.01, 0.01].into_iter().enumerate() {
        let square = starts.iter().map(|start| start[at] * start[at]).sum::<f64>() / 2000.0;
        // The relative deviation of this estimate is 1.6 %.
        assert!((square.sqrt() / expected - 1.0).abs() < 0.08, "{at}: {}", square.sqrt());
    }
}

/// The rule of each ending and each sparse reward, at both sides of its limit.
#[test]
fn sparse_rewards_are_given_at_success_only() {
    let step = |name: &str, physics: &[f64], action: f64| {
        let (mut environment, mut observation) = started(name, 0);
        environment.restore(&[&[0.0, 1.0], physics].concat()).unwrap();
        let transition = environment.step(Action::Continuous(&[action]), &mut observation).unwrap();
        (transition.reward, transition.terminated)
    };
    assert_eq!(step("mountain-car-sparse", &[0.595, 2.0], 1.0), (1.0, true));
    assert_eq!(step("mountain-car-sparse", &[0.3, 1.0], 1.0), (0.0, false));
    assert_eq!(step("mountain-car-sparse", &[-1.99, -3.0], 0.0), (0.0, true));
    let swingup = "cartpole-swingup-sparse";
    assert_eq!(step(swingup, &[0.0, 0.0, 0.6, 0.0], 0.0), (1.0, false));
    assert_eq!(step(swingup, &[0.0, 0.0, 0.7, 0.0], 0.0), (0.0, false));
    assert_eq!(step(swingup, &[2.99, 3.0, 0.1, 0.0], 0.0), (0.0, true));
    assert_eq!(step("cartpole-swingup", &[2.99, 3.0, 0.1, 0.0], 0.0), (-100.0, true));
    let (reward, ended) = step("cartpole-swingup", &[0.0, 0.0, 0.0, 0.0], 0.0);
    assert_eq!((reward, ended), (1.0, false));
    let up = std::f64::consts::PI;
    assert_eq!(step("double-pendulum-sparse", &[up, up, 0.0, 0.0], 0.0), (1.0, false));
    assert_eq!(step("double-pendulum-sparse", &[up, up - 1.2, 0.0, 0.0], 0.0).0, 0.0);
    assert!((step("double-pendulum", &[0.0, 0.0, 0.0, 0.0], 0.0).0 + 4.0).abs() < 1e-12);
}

#[test]
fn actions_that_do_not_fit_are_refused() {
    let refused = |name: &str, action: Action<'_>| {
        let (mut environment, mut observation) = started(name, 0);
        environment.step(action, &mut observation).unwrap_err().to_string()
    };
    assert_eq!(
        refused("cartpole", Action::Discrete(2)),
        "cartpole does not take this action: it is choice 2 of 0 to 1"
    );
    assert!(refused("cartpole", Action::Continuous(&[0.1])).contains("one of 2 choices"));
    assert!(refused("pendulum", Action::Discrete(0)).contains("actions have 1 numbers"));
    assert!(refused("pendulum", Action::Continuous(&[0.0, 1.0])).contains("2 numbers instead of 1"));
    assert!(refused("pendulum", Action::Continuous(&[f64::NAN])).contains("number 0 is NaN"));
}

#[test]
fn a_step_needs_an_episode() {
    let mut environment = make("mountain-car").unwrap();
    let mut observation = [0.0; 2];
    let none = EnvError::NoEpisode { environment: "mountain-car".into() };
    assert_eq!(environment.step(Action::Discrete(1), &mut observation).unwrap_err(), none);
    environment.reset(0, &mut observation).unwrap();
    let steps = (0..200).map(|_| environment.step(Action::Discrete(1), &mut observation).unwrap());
    assert!(steps.last().unwrap().truncated);
    assert_eq!(environment.step(Action::Discrete(1), &mut observation).unwrap_err(), none);
}

#[test]
fn what_is_no_state_is_refused_and_changes_nothing() {
    let (mut environment, _) = started("cartpole", 3);
    let before = environment.state();
    for (wrong, reason) in [
        (vec![0.0; 5], "5 numbers instead of 6"),
        (vec![0.0, 1.0, f64::NAN, 0.0, 0.0, 0.0], "number 2 is NaN"),
        (vec![0.5, 1.0, 0.0, 0.0, 0.0, 0.0], "its number of steps is 0.5"),
        (vec![0.0, 2.0, 0.0, 0.0, 0.0, 0.0], "not 0 or 1"),
    ] {
        let error = environment.restore(&wrong).unwrap_err();
        assert!(
            matches!(error, EnvError::WrongState { .. }) && error.to_string().contains(reason),
            "{error}"
        );
        assert_eq!(environment.state(), before);
    }
}

#[test]
#[should_panic(expected = "an observation of cartpole has 4 numbers, the slice has 3")]
fn a_slice_of_the_wrong_size_is_a_bug() {
    _ = make("cartpole").unwrap().reset(0, &mut [0.0; 3]);
}

/// Drawings have finite shapes, are not all outside, and change with the state.
#[test]
fn scenes_show_the_state() {
    for listed in complete() {
        let (mut environment, _) = started(listed.name, 4);
        let scene = environment.scene();
        (0..20).for_each(|number| _ = act(&mut *environment, number));
        assert_ne!(scene, environment.scene(), "{}", listed.name);
        assert!(scene.low[0] < scene.high[0] && scene.low[1] < scene.high[1], "{}", listed.name);
        let points: Vec<[f64; 2]> = scene.shapes.iter().flat_map(corners).collect();
        assert!(points.iter().flatten().all(|x| x.is_finite()), "{}", listed.name);
        let inside = points.iter().filter(|p| (0..2).all(|i| (scene.low[i]..=scene.high[i]).contains(&p[i])));
        assert!(inside.count() * 10 >= points.len() * 9, "{}", listed.name);
    }
}

fn corners(shape: &Shape) -> Vec<[f64; 2]> {
    match shape {
        Shape::Line { from, to, .. } => vec![*from, *to],
        Shape::Circle { centre, .. } => vec![*centre],
        Shape::Polygon { corners, .. } => corners.clone(),
    }
}
