//! Observations, rewards and endings from made-up quantities, without the library.

use super::super::scene;
use super::super::tasks::{Task, find, names};
use super::super::view::{Shape as Solid, View};
use crate::random;
use crate::scene::{Shape, colours};

fn task(name: &str) -> &'static dyn Task {
    find(name).unwrap()
}

fn observe(name: &str, view: &View<'_>) -> Vec<f64> {
    let task = task(name);
    let mut observation = vec![f64::NAN; task.about().observation];
    task.observe(view, &mut observation);
    observation
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} is not {b}");
}

#[test]
fn walkers_earn_their_velocity_and_a_bonus_until_they_fall() {
    let outcome = |name: &str, qpos: &[f64], qvel: &[f64]| {
        task(name).outcome(&View { qpos, qvel, ..View::default() }, &[1.0, -2.0, 0.0], 0.5)
    };
    let (reward, ended) = outcome("hopper", &[9.0, 1.2, 0.1, 0.0, 0.0, 0.0], &[0.0; 6]);
    close(reward, 0.5 + 1.0 - 0.005);
    assert!(!ended);
    let (reward, ended) = outcome("hopper", &[9.0, 0.7, 0.1, 0.0, 0.0, 0.0], &[0.0; 6]);
    close(reward, 0.5 - 0.005);
    assert!(ended);
    // Too much lean, a joint too far, a velocity too high; the place and the height may be anything.
    assert!(outcome("hopper", &[9.0, 1.2, -0.2, 0.0, 0.0, 0.0], &[0.0; 6]).1);
    assert!(outcome("hopper", &[9.0, 1.2, 0.0, 0.0, 0.0, 101.0], &[0.0; 6]).1);
    assert!(outcome("hopper", &[9.0, 1.2, 0.0, 0.0, 0.0, 0.0], &[-100.0, 0.0, 0.0, 0.0, 0.0, 0.0]).1);
    assert!(!outcome("hopper", &[900.0, 900.0, 0.0, 0.0, 0.0, 0.0], &[0.0; 6]).1);
    assert!(!outcome("walker2d", &[9.0, 1.9, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 101.0], &[0.0; 9]).1);
    assert!(outcome("walker2d", &[9.0, 2.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &[0.0; 9]).1);
    assert!(outcome("walker2d", &[9.0, 0.8, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &[0.0; 9]).1);
    assert!(outcome("walker2d", &[9.0, 1.2, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &[0.0; 9]).1);
}

#[test]
fn what_walkers_see_leaves_out_the_place_and_clips_velocities() {
    let qpos = [9.0, 1.2, 0.1, 0.2, 0.3, 0.4];
    let seen = observe(
        "hopper",
        &View { qpos: &qpos, qvel: &[1.0, -2.0, 30.0, -40.0, 5.0, 6.0], ..View::default() },
    );
    assert_eq!(seen, [1.2, 0.1, 0.2, 0.3, 0.4, 1.0, -2.0, 10.0, -10.0, 5.0, 6.0]);
}

#[test]
fn the_cheetah_pays_for_control_and_the_sparse_one_earns_only_far_out() {
    let view = |qpos| View { qpos, qvel: &[20.0; 9], ..View::default() };
    let place = [5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let farther = [5.001, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let (reward, ended) = task("half-cheetah").outcome(&view(&place), &[1.0, 2.0, 0.0, 0.0, 0.0, 0.0], 3.0);
    close(reward, 3.0 - 0.5);
    assert!(!ended);
    assert_eq!(task("half-cheetah-sparse").outcome(&view(&place), &[1.0; 6], 3.0), (0.0, false));
    assert_eq!(task("half-cheetah-sparse").outcome(&view(&farther), &[1.0; 6], -3.0), (1.0, false));
    // Velocities are not clipped.
    assert_eq!(observe("half-cheetah", &view(&place))[16], 20.0);
}

#[test]
fn the_ant_pays_for_clipped_forces_and_ends_beyond_its_heights() {
    let mut forces = [0.0; 84];
    (forces[5], forces[6], forces[83]) = (3.0, -0.5, -2.0);
    let outcome = |height: f64| {
        let mut qpos = [0.0; 15];
        qpos[2] = height;
        let view = View { qpos: &qpos, qvel: &[0.0; 14], cfrc_ext: &forces, ..View::default() };
        task("ant").outcome(&view, &[1.0; 8], 2.0)
    };
    let (reward, ended) = outcome(1.0);
    // The force on the world costs, too, though it is not seen.
    close(reward, 2.0 + 1.0 - 0.5 * 8.0 - 5e-4 * (1.0 + 0.25 + 1.0));
    assert!(!ended && !outcome(0.2).1);
    assert!(outcome(1.001).1 && outcome(0.199).1 && outcome(f64::NAN).1);
    let view = View { qpos: &[4.0; 15], qvel: &[5.0; 14], cfrc_ext: &forces, ..View::default() };
    let seen = observe("ant", &view);
    assert_eq!((seen[12], seen[13], seen[27], seen[104]), (4.0, 5.0, -0.5, -1.0));
}

#[test]
fn the_humanoid_moves_its_centre_of_mass_and_its_contact_cost_is_limited() {
    let centres = [100.0, 0.0, 0.0, 1.0, 5.0, 6.0, 4.0, 5.0, 6.0];
    let view = View { body_mass: &[0.0, 2.0, 1.0], xipos: &centres, ..View::default() };
    close(task("humanoid").place(&view), 2.0);
    let outcome = |height: f64, force: f64| {
        let mut qpos = [0.0; 24];
        qpos[2] = height;
        task("humanoid").outcome(
            &View { qpos: &qpos, cfrc_ext: &[force], ..View::default() },
            &[0.2; 17],
            2.0,
        )
    };
    close(outcome(1.5, 1000.0).0, 2.5 + 5.0 - 0.1 * 17.0 * 0.04 - 0.5);
    close(outcome(1.5, 1e6).0, 2.5 + 5.0 - 0.1 * 17.0 * 0.04 - 10.0);
    assert!(!outcome(1.5, 0.0).1 && outcome(1.0, 0.0).1 && outcome(2.0, 0.0).1);
}

#[test]
fn what_the_humanoid_sees_is_in_gymnasiums_order() {
    let seen = observe(
        "humanoid",
        &View {
            qpos: &[1.0; 24],
            qvel: &[2.0; 23],
            cinert: &[3.0; 140],
            cvel: &[4.0; 84],
            qfrc_actuator: &[5.0; 23],
            cfrc_ext: &[6.0; 84],
            ..View::default()
        },
    );
    let counts = [22, 23, 130, 78, 17, 78];
    let expected = counts.into_iter().enumerate().flat_map(|(i, count)| vec![i as f64 + 1.0; count]);
    assert!(expected.eq(seen));
}

#[test]
fn the_reacher_pays_for_distance_and_control() {
    let mut xpos = [0.0; 15];
    xpos[9..12].copy_from_slice(&[0.1, 0.2, 0.01]);
    xpos[12..15].copy_from_slice(&[-0.2, 0.6, 0.01]);
    let view =
        View { qpos: &[0.0, 1.0, -0.2, 0.6], qvel: &[7.0, 8.0, 9.0, 9.0], xpos: &xpos, ..View::default() };
    let (reward, ended) = task("reacher").outcome(&view, &[1.0, -1.0], 0.0);
    close(reward, -0.5 - 2.0);
    assert!(!ended);
    let seen = observe("reacher", &view);
    let expected = [1.0, 1.0_f64.cos(), 0.0, 1.0_f64.sin(), -0.2, 0.6, 7.0, 8.0, 0.1 + 0.2, 0.2 - 0.6];
    seen.iter().zip(expected).for_each(|(&a, b)| close(a, b));
}

#[test]
fn the_goal_of_the_reacher_is_within_reach_and_at_rest() {
    for seed in 0..200 {
        let (mut qpos, mut qvel) = ([0.0, 0.0, 0.1, -0.1], [0.0; 4]);
        task("reacher").start(&mut random::start(seed), &mut qpos, &mut qvel);
        assert!(qpos[2].hypot(qpos[3]) < 0.2);
        assert_eq!(qvel[2..], [0.0, 0.0]);
        assert!(qpos[..2].iter().all(|angle| angle.abs() <= 0.1) && qvel.iter().all(|v| v.abs() <= 0.005));
    }
}

#[test]
fn poles_end_when_they_fall() {
    let outcome = |angle: f64| {
        task("inverted-pendulum").outcome(
            &View { qpos: &[0.5, angle], qvel: &[0.0; 2], ..View::default() },
            &[3.0],
            9.0,
        )
    };
    assert_eq!(outcome(-0.2), (1.0, false));
    assert_eq!(outcome(0.201), (0.0, true));
    assert_eq!(outcome(f64::NAN), (0.0, true));
    let double = |height: f64| {
        let view = View { qvel: &[9.0, 2.0, 3.0], site_xpos: &[0.5, 9.0, height], ..View::default() };
        task("inverted-double-pendulum").outcome(&view, &[1.0], 9.0)
    };
    let cost = |height: f64| 0.01 * 0.25 + (height - 2.0) * (height - 2.0) + 1e-3 * 4.0 + 5e-3 * 9.0;
    close(double(1.1).0, 10.0 - cost(1.1));
    close(double(1.0).0, -cost(1.0));
    assert!(!double(1.1).1 && double(1.0).1);
}

#[test]
fn what_is_seen_of_two_poles_has_the_force_on_the_cart_alone() {
    let view = View {
        qpos: &[0.5, 0.0, 1.0],
        qvel: &[1.0, -20.0, 3.0],
        qfrc_constraint: &[40.0, 5.0, 6.0],
        ..View::default()
    };
    let (sin, cos) = 1.0_f64.sin_cos();
    assert_eq!(observe("inverted-double-pendulum", &view), [0.5, 0.0, sin, 1.0, cos, 1.0, -10.0, 3.0, 10.0]);
}

#[test]
fn starts_are_spread_as_gymnasiums_are() {
    // Task, largest noise of positions, and the deviation of velocities where they are normal.
    let expected = [
        ("hopper", 0.005, None),
        ("walker2d", 0.005, None),
        ("half-cheetah", 0.1, Some(0.1)),
        ("half-cheetah-sparse", 0.1, Some(0.1)),
        ("ant", 0.1, Some(0.1)),
        ("humanoid", 0.01, None),
        ("swimmer", 0.1, None),
        ("inverted-pendulum", 0.01, None),
        ("inverted-double-pendulum", 0.1, Some(0.1)),
    ];
    for (name, scale, deviation) in expected {
        let (mut qpos, mut qvel) = (vec![2.0; 4000], vec![0.0; 4000]);
        task(name).start(&mut random::start(1), &mut qpos, &mut qvel);
        let positions: Vec<f64> = qpos.iter().map(|position| position - 2.0).collect();
        let spread =
            |values: &[f64]| (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt();
        let largest = |values: &[f64]| values.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let uniform = |values: &[f64]| {
            assert!(largest(values) <= scale + 1e-12 && largest(values) > 0.99 * scale, "{name}");
            assert!((spread(values) * 3.0_f64.sqrt() / scale - 1.0).abs() < 0.04, "{name}");
        };
        uniform(&positions);
        match deviation {
            None => uniform(&qvel),
            Some(deviation) => {
                assert!(
                    (spread(&qvel) / deviation - 1.0).abs() < 0.04 && largest(&qvel) > 3.0 * deviation,
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn a_drawing_has_each_shape_with_its_outline_from_back_to_front() {
    let near = Solid { ends: [[1.0, -0.5, 0.2], [1.0, -0.5, 0.9]], radius: 0.1 };
    let far = Solid { ends: [[1.5, 0.5, 0.4], [1.5, 0.5, 0.4]], radius: 0.2 };
    let scene = scene::draw(task("hopper").about(), [1.0, 0.0, 1.25], vec![near, far]);
    assert!(scene.low[0] < 1.0 && scene.high[0] > 1.0 && scene.high[1] > 1.25);
    let [ground, marks @ .., _, circle, _, line] = &scene.shapes[..] else {
        panic!("{} shapes", scene.shapes.len())
    };
    assert!(matches!(ground, Shape::Line { colour: colours::GROUND, .. }));
    let metres = marks.iter().map(|mark| match mark {
        Shape::Line { from, colour: colours::GROUND, .. } => from[0],
        other => panic!("{other:?} is no mark"),
    });
    assert_eq!(metres.collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
    assert_eq!(*circle, Shape::Circle { centre: [1.5, 0.4], radius: 0.2, colour: colours::LIMB });
    assert_eq!(*line, Shape::Line { from: [1.0, 0.2], to: [1.0, 0.9], width: 0.2, colour: colours::LIMB });
}

#[test]
fn the_goal_of_the_reacher_is_drawn_in_its_own_colour() {
    let arm = Solid { ends: [[0.0, 0.0, 0.01], [0.1, 0.0, 0.01]], radius: 0.01 };
    let goal = Solid { ends: [[0.1, 0.1, 0.01]; 2], radius: 0.009 };
    let scene = scene::draw(task("reacher").about(), [0.0; 3], vec![arm, goal]);
    assert!(scene.shapes.contains(&Shape::Circle {
        centre: [0.1, 0.1],
        radius: 0.009,
        colour: colours::GOAL
    }));
    assert_eq!((scene.low, scene.high), ([-0.3; 2], [0.3; 2]));
}

#[test]
fn the_list_has_every_task_and_its_steps() {
    let listed = super::super::ENVIRONMENTS.map(|listed| listed.name);
    assert_eq!(listed, names());
    let limit = |name: &str| task(name).about().time_limit;
    assert_eq!((limit("hopper"), limit("reacher"), limit("half-cheetah-sparse")), (1000, 50, 500));
}
