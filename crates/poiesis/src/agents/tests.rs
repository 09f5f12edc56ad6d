//! Policies, distributions and rollouts.

use std::f64::consts::{E, PI};

use burn::tensor::{Device, Tensor, TensorData};

use super::testing::{Known, session, task_of};
use super::{ActionDistribution, Policy, PolicyActor, Rollout, flat_parameters, with_flat_parameters};
use crate::abilities::{Act, Acting, Chosen};
use crate::catalogue;
use crate::config::{Layer, resolve};
use crate::data::{
    ActionShape, DataSpec, EnvironmentNeeds, Environments, Examples, Experience, Source as _, SourceOptions,
};
use crate::model::Session;
use crate::nn::{Init, StateDict};
use crate::rng;
use crate::run::{Run, State, checkpoint};
use crate::train::{Request, Stop, TrainingData, train};

/// f32 here against f64 there.
const CLOSE: f64 = 1e-5;

fn environments(known: Known, count: usize, device: &Device) -> Environments {
    let experience = Experience::of(known.source(), count).unwrap();
    let spec = DataSpec {
        content: crate::data::Content::Experience(experience.task.clone()),
        classes: 0,
        unlabelled: false,
    };
    let examples = Examples::Experience(experience);
    let options = SourceOptions { examples: &examples, spec: &spec, batch_size: 8, seed: 4, device };
    Environments::open(&EnvironmentNeeds { steps: 20 }, &options).unwrap()
}

/// A policy with weights far from where it begins, that has seen observations.
fn policy(actions: ActionShape, observation: usize, device: &Device) -> Policy {
    let policy = Policy::new(&task_of(actions, observation), &[6, 5], &mut Init::new(1, device));
    let parameters = rng::normal(&mut rng::generator(1, "test", 0), flat_parameters(&policy).len());
    let parameters: Vec<f64> = parameters.iter().map(|&x| 0.7 * f64::from(x)).collect();
    let mut policy = with_flat_parameters(policy, &parameters);
    policy.observe(&numbers(2, 40 * observation).iter().map(|x| 3.0 + 2.0 * x).collect::<Vec<f64>>());
    policy
}

fn numbers(index: u64, len: usize) -> Vec<f64> {
    rng::normal(&mut rng::generator(9, "test", index), len).into_iter().map(f64::from).collect()
}

fn matrix(values: &[f64], width: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    let rows = values.len() / width;
    Tensor::from_data(TensorData::new(values, [rows, width]), device)
}

fn read(values: Tensor<1>) -> Vec<f64> {
    values.into_data().iter::<f32>().map(f64::from).collect()
}

fn expect_near(ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len());
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance * b.abs().max(1.0);
    assert!(ours.iter().zip(theirs).all(near), "{ours:?} {theirs:?}");
}

#[test]
fn a_categorical_distribution_has_the_numbers_of_its_definition() {
    let device = Device::flex();
    let logits = [[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]];
    let other = [[0.1, 0.2, -0.3], [1.0, 0.0, -1.0]];
    let of = |rows: [[f64; 3]; 2]| ActionDistribution::Categorical {
        logits: matrix(rows.as_flattened(), 3, &device),
    };
    let probs = |row: &[f64; 3]| {
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        row.map(|x| x.exp() / sum)
    };
    let log_probs = read(of(logits).log_probs(matrix(&[2.0, 1.0], 1, &device)));
    expect_near(&log_probs, &[probs(&logits[0])[2].ln(), probs(&logits[1])[1].ln()], CLOSE);
    let entropy: Vec<f64> =
        logits.iter().map(|row| -probs(row).iter().map(|p| p * p.ln()).sum::<f64>()).collect();
    expect_near(&read(of(logits).entropy()), &entropy, CLOSE);
    let kl = logits
        .iter()
        .zip(&other)
        .map(|(old, new)| probs(old).iter().zip(probs(new)).map(|(p, q)| p * (p / q).ln()).sum::<f64>());
    expect_near(&read(of(other).kl(&of(logits))), &kl.collect::<Vec<f64>>(), CLOSE);
    assert_eq!(of(logits).mode().into_data().iter::<f32>().collect::<Vec<f32>>()[0], 2.0);
}

#[test]
fn a_gaussian_distribution_has_the_numbers_of_its_definition() {
    let device = Device::flex();
    let of = |mean: [f64; 2], log_std: [f32; 2]| ActionDistribution::Gaussian {
        mean: matrix(&mean, 2, &device),
        log_std: Tensor::from_floats(log_std, &device),
    };
    let (old, new) = (of([0.5, -1.0], [-0.5, 0.25]), of([0.0, 0.3], [0.1, -0.2]));
    let action = [0.2, 0.4];
    let density = (0..2).map(|i| {
        let (mean, log_std) = ([0.5, -1.0][i], [-0.5_f64, 0.25][i]);
        let z = (action[i] - mean) / log_std.exp();
        -0.5 * z * z - log_std - 0.5 * (2.0 * PI).ln()
    });
    expect_near(&read(old.log_probs(matrix(&action, 2, &device))), &[density.sum()], CLOSE);
    let entropy = -0.5 + 0.25 + (2.0 * PI * E).ln();
    expect_near(&read(old.entropy()), &[entropy], CLOSE);
    let kl = (0..2).map(|i| {
        let (s, t) = ([-0.5_f64, 0.25][i], [0.1_f64, -0.2][i]);
        let shift = [0.5_f64, -1.0][i] - [0.0, 0.3][i];
        t - s + ((2.0 * s).exp() + shift * shift) / (2.0 * (2.0 * t).exp()) - 0.5
    });
    expect_near(&read(new.kl(&old)), &[kl.sum()], CLOSE);
    expect_near(&read(new.kl(&new)), &[0.0], CLOSE);
}

#[test]
fn draws_have_the_probabilities_of_the_distribution() {
    let device = Device::flex();
    let draws = 4000;
    let noise = rng::uniform(&mut rng::generator(5, "test", 0), 3 * draws);
    let logits = matrix(&[1.0, 0.0, -1.0].repeat(draws), 3, &device);
    let noise = Tensor::from_data(TensorData::new(noise, [draws, 3]), &device);
    let drawn = ActionDistribution::Categorical { logits }.sample(noise);
    let drawn: Vec<f32> = drawn.into_data().iter::<f32>().collect();
    let sum = 1.0_f64.exp() + 1.0 + (-1.0_f64).exp();
    for (choice, expected) in [1.0_f64.exp() / sum, 1.0 / sum, (-1.0_f64).exp() / sum].into_iter().enumerate()
    {
        let part = drawn.iter().filter(|&&x| x == choice as f32).count() as f64 / draws as f64;
        assert!((part - expected).abs() < 0.03, "{choice}: {part} {expected}");
    }
}

#[test]
fn an_actor_has_the_distribution_of_its_policy() {
    let device = Device::flex();
    for actions in [ActionShape::Discrete { choices: 4 }, ActionShape::Continuous { dims: 2 }] {
        let policy = policy(actions, 3, &device);
        let observations = numbers(3, 3 * 50);
        let mut actor = PolicyActor::new(&policy);
        let mut chosen = actor.blank(50);
        let log_probs: Vec<f64> = observations
            .chunks_exact(3)
            .enumerate()
            .map(|(row, observation)| {
                let mut noise = rng::generator(2, "test", row as u64);
                f64::from(actor.sample(observation, &mut noise, row, &mut chosen))
            })
            .collect();
        let numbers: Vec<f64> = chosen.to_numbers().into_iter().map(f64::from).collect();
        let distribution = policy.distribution(matrix(&observations, 3, &device));
        let theirs = read(distribution.log_probs(matrix(&numbers, actions.width(), &device)));
        expect_near(&log_probs, &theirs, 1e-4);

        let mut mode = Chosen::default();
        policy.actor().act(&observations, Acting::Mode, &mut mode);
        let theirs: Vec<f64> = distribution.mode().into_data().iter::<f32>().map(f64::from).collect();
        let ours: Vec<f64> = mode.to_numbers().into_iter().map(f64::from).collect();
        expect_near(&ours, &theirs, 1e-4);
    }
}

#[test]
fn moments_are_saved_with_the_weights_to_the_bit() {
    let device = Device::flex();
    let policy = policy(ActionShape::Discrete { choices: 2 }, 3, &device);
    let observations = numbers(4, 30);
    let inputs = policy.inputs(&observations);
    let saved = StateDict::of(&policy).to_arrays();
    let blank = Policy::new(policy.task(), &[6, 5], &mut Init::new(8, &device));
    assert_ne!(blank.inputs(&observations), inputs);
    let mut loaded = StateDict::from_arrays(saved, &device).load_into(blank).unwrap();
    assert_eq!(loaded.inputs(&observations), inputs);
    // And they go on as those that were never saved.
    let mut unbroken = policy;
    unbroken.observe(&observations);
    loaded.observe(&observations);
    assert_eq!(StateDict::of(&loaded).to_arrays(), StateDict::of(&unbroken).to_arrays());
}

#[test]
fn normalised_observations_have_mean_zero_and_deviation_one() {
    let device = Device::flex();
    let mut policy =
        Policy::new(&task_of(ActionShape::Discrete { choices: 2 }, 1), &[4], &mut Init::new(0, &device));
    let observations: Vec<f64> = numbers(5, 500).iter().map(|x| 100.0 + 7.0 * x).collect();
    policy.observe(&observations[..200]);
    policy.observe(&observations[200..]);
    let inputs: Vec<f64> = policy.inputs(&observations).into_iter().map(f64::from).collect();
    let mean = inputs.iter().sum::<f64>() / 500.0;
    let var = inputs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 500.0;
    assert!(mean.abs() < 1e-5 && (var - 1.0).abs() < 1e-5, "{mean} {var}");
    assert_eq!(policy.inputs(&[1e9])[0], 10.0, "what is far away is clipped");
}

#[test]
fn the_rows_of_a_rollout_follow_each_other_in_each_environment() {
    let device = Device::flex();
    let mut environments = environments(Known::Identity, 3, &device);
    let policy = policy(ActionShape::Continuous { dims: 1 }, 1, &device);
    let mut actor = PolicyActor::new(&policy);
    let rollout = Rollout::collect(&mut actor, &mut environments, 20, 4, 0);
    assert_eq!((rollout.rows(), rollout.finished.len()), (60, 6), "episodes of 8 steps");
    for row in 0..60 {
        let step = row % 20;
        assert_eq!(rollout.times[row], step % 8, "row {row}");
        assert_eq!(rollout.truncated[row], step % 8 == 7, "row {row}");
        let (action, shown) = (f64::from(rollout.actions[row]), rollout.observations[row]);
        assert_eq!(rollout.rewards[row], -(action - shown).powi(2), "row {row}");
        if !rollout.is_last(row) {
            assert_eq!(rollout.next_observations[row], rollout.observations[row + 1], "row {row}");
        }
    }
    let parts: Vec<_> = rollout.episodes();
    assert_eq!(parts[..4], [0..8, 8..16, 16..20, 20..28]);
    let first: f64 = rollout.rewards[..8].iter().sum();
    assert!(rollout.finished.iter().any(|episode| (episode.episode_return - first).abs() < 1e-12));
    // The next rollout begins where this one ended.
    let next = Rollout::collect(&mut actor, &mut environments, 20, 4, 1);
    assert_eq!((next.times[0], next.observations[0]), (4, rollout.next_observations[19]));
}

#[test]
fn environments_are_saved_in_the_middle_of_their_episodes() {
    let device = Device::flex();
    let actor = || PolicyActor::new(&policy(ActionShape::Continuous { dims: 1 }, 1, &device));
    let mut unbroken = environments(Known::Identity, 3, &device);
    Rollout::collect(&mut actor(), &mut unbroken, 11, 4, 0);
    let saved = unbroken.state();
    let mut resumed = environments(Known::Identity, 3, &device);
    resumed.restore(&StateDict::from_arrays(saved.to_arrays(), &device)).unwrap();
    let rollouts = [&mut unbroken, &mut resumed].map(|all| Rollout::collect(&mut actor(), all, 11, 4, 1));
    assert_eq!(rollouts[0].observations, rollouts[1].observations);
    assert_eq!((&rollouts[0].rewards, &rollouts[0].times), (&rollouts[1].rewards, &rollouts[1].times));
    assert_eq!(rollouts[0].finished, rollouts[1].finished);

    let mut other = environments(Known::Identity, 2, &device);
    let reason = other.restore(&saved).unwrap_err();
    assert!(reason.contains("3 environments"), "{reason}");
    assert!(other.restore(&StateDict::default()).unwrap_err().contains("missing"));
}

#[test]
fn after_a_failure_nothing_more_is_done() {
    let device = Device::flex();
    let mut environments = environments(Known::NotANumber, 2, &device);
    let policy = policy(ActionShape::Continuous { dims: 1 }, 1, &device);
    let rollout = Rollout::collect(&mut PolicyActor::new(&policy), &mut environments, 6, 4, 0);
    assert!(rollout.rewards.iter().all(|reward| reward.is_finite()));
    let error = environments.failure().unwrap();
    assert!(error.to_string().contains("episode 0, step 3"), "{error}");
    assert!(environments.failure().is_none(), "it is told once");
}

#[test]
fn a_step_reports_its_rollout_before_what_was_learned() {
    let mut session = session::<super::ppo::Ppo>("hidden_dims=[4] rollout_steps=4", Known::Bandit, 0);
    let metrics = session.step(0, 1.0).unwrap().read();
    let names: Vec<&str> = metrics.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "return",
            "length",
            "policy_loss",
            "value_loss",
            "entropy",
            "kl",
            "clip_fraction",
            "explained_variance"
        ]
    );
}

#[test]
fn a_step_that_failed_leaves_no_trace() {
    // Two steps of each environment in an iteration: the third is in the second.
    let mut session = session::<super::ppo::Ppo>("hidden_dims=[4] rollout_steps=2", Known::NotANumber, 0);
    session.step(0, 1.0).unwrap();
    let state =
        |session: &dyn Session| (session.state_dict().to_arrays(), session.training_state().to_arrays());
    let before = state(&*session);
    session.step(1, 1.0).unwrap_err();
    assert!(state(&*session) == before);
}

#[test]
fn a_run_whose_environment_fails_keeps_what_it_learned() {
    let entry = catalogue::find("ppo").unwrap();
    let settings = ["hidden_dims=[4]", "rollout_steps=2", "train.steps=5"];
    let layers: Vec<Layer> = settings.iter().map(|text| Layer::assignment("a test", text).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let request = || {
        let config = resolve(&entry.defaults().unwrap(), &layers).unwrap().config;
        let data = TrainingData::of_experience(&Experience::of(Known::NotANumber.source(), 2).unwrap());
        Request { ignore_memory: true, ..Request::new(folder.path().join("run"), config, data) }
    };
    for _ in 0..2 {
        // Resumed it fails again in the same step, and nothing more is written.
        let error = train(request(), &Stop::default(), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("step 3"), "{error}");
        let run = Run::open(&folder.path().join("run")).unwrap();
        assert_eq!((run.info().state, run.info().last_step), (State::Failed, 1));
        assert!(run.info().reason.as_ref().unwrap().contains("step 3"));
        let kept = checkpoint::survey(&run.checkpoints_path()).unwrap().complete;
        assert_eq!(kept.iter().map(|&(step, _)| step).collect::<Vec<_>>(), [1]);
    }
}
