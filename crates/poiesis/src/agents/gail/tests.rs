//! The discriminator against PyTorch, rewards and their signs, and an agent that imitates where cloning fails.

use std::collections::BTreeMap;

use burn::tensor::{Device, TensorData};

use super::*;
use crate::agents::bc::{Bc, BcConfig};
use crate::data::{ActionShape, Content, TaskShape};
use crate::model::{Learner, MetricValues, Session};
use crate::nn::StateDict;
use crate::rng;
use crate::testing::{
    Fixture, Line, change_of, expect_all_close, expect_close, expect_conforms, expect_exact_resume,
    gradients_of, settings,
};

/// The cases of `parity.py`.
const CASES: [&str; 2] = ["continuous", "discrete"];
/// Outputs and losses relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients, twice as many roundings.
const GRADIENT: f64 = 1e-5;
/// Reports of ten steps, relative to the largest.
const REPORTS: f64 = 2e-5;
/// What ten steps changed, relative to the largest change of an array.
const CHANGE: f64 = 1e-3;

fn spec(observation: usize, actions: ActionShape) -> DataSpec {
    let task = TaskShape { environment: "a test".into(), observation, actions };
    DataSpec { content: Content::Experience(task), classes: 0, unlabelled: false }
}

/// The model of `case` with its first weights, its settings, and its optimizers.
fn model(
    fixture: &Fixture,
    case: &str,
    device: &Device,
) -> (Gail, GailConfig, BTreeMap<&'static str, Optimizer>) {
    let described = fixture.case(case);
    let number = |key: &str| described[key].as_u64().unwrap() as usize;
    let actions = if described["discrete"] == serde_json::Value::Bool(true) {
        ActionShape::Discrete { choices: number("actions") }
    } else {
        ActionShape::Continuous { dims: number("actions") }
    };
    let (config, optimizer) = settings::<Gail>(&described["config"]);
    let model = Gail::new(&config, &spec(number("observation"), actions), &mut Init::new(1, device)).unwrap();
    let weights = StateDict::of(&model).with(fixture.weights(&format!("{case}.initial"), device));
    let optimizers = Gail::optimizers(&config, &optimizer).into_iter().collect();
    (weights.load_into(model).unwrap(), config, optimizers)
}

/// Standardised pairs of the expert and of the policy in a step, which are added to the moments.
fn pairs(model: &mut Gail, fixture: &Fixture, case: &str, step: usize, device: &Device) -> [Tensor<2>; 2] {
    let pairs = ["expert", "policy"].map(|whose| {
        let part = |name: &str| fixture.step(&format!("{case}.{whose}.{name}"), step, |x| x, device);
        model.pairs(part("observations"), part("actions"))
    });
    model.standardize(pairs)
}

#[test]
fn first_logits_losses_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gail"), Device::flex().autodiff());
    for case in CASES {
        let (mut model, config, _) = model(&fixture, case, &device);
        let [expert, policy] = pairs(&mut model, &fixture, case, 0, &device);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
        expect_close("pairs of the expert", expert.clone(), theirs("expert"), FORWARD);
        expect_close("pairs of the policy", policy.clone(), theirs("policy"), FORWARD);
        let discriminator = model.discriminator.unwrap();
        let [expert, policy] = [expert, policy].map(|pairs| logits(&discriminator, pairs));
        expect_close("logits of the expert", expert.clone(), theirs("expert_logits"), FORWARD);
        expect_close("logits of the policy", policy.clone(), theirs("policy_logits"), FORWARD);
        let loss = discriminator_loss(expert, policy, config.discriminator_entropy_weight);
        expect_close("loss", loss.clone(), theirs("loss"), FORWARD);
        let gradients = gradients_of("discriminator", &discriminator, &loss.backward());
        expect_all_close(&gradients, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gail"), Device::flex().autodiff());
    for case in CASES {
        let (mut model, config, mut optimizers) = model(&fixture, case, &device);
        let mut reports: Vec<f32> = Vec::new();
        for number in 0..10 {
            let pairs = pairs(&mut model, &fixture, case, number, &device);
            let mut step = Step::for_test(number as u64, 1, &device, &mut optimizers);
            let found = discriminate(model.discriminator.as_mut().unwrap(), &pairs, &config, &mut step);
            let Discrimination { loss, prob_expert, prob_policy, accuracy_expert, accuracy_policy } = found;
            let all = [loss, prob_expert, prob_policy, accuracy_expert, accuracy_policy];
            reports.extend(all.map(|value| value.into_scalar::<f32>()));
        }
        let reports = Tensor::<2>::from_data(TensorData::new(reports, [10, 5]), &device);
        expect_close("reports", reports, fixture.array(&format!("{case}.reports")), REPORTS);
        let [initial, theirs] = ["initial", "final"].map(|name| fixture.arrays(&format!("{case}.{name}")));
        let all = StateDict::of(&model).to_arrays();
        let ours = all.into_iter().filter(|(name, _)| initial.contains_key(name)).collect();
        expect_all_close(&change_of(&initial, &ours), &change_of(&initial, &theirs), CHANGE);
    }
}

/// `count` pairs of an observation and an action around `centre`.
fn cloud(count: usize, centre: f32, index: u64, device: &Device) -> Tensor<2> {
    let noise = rng::normal(&mut rng::generator(2, "cloud", index), 2 * count);
    let values: Vec<f32> = noise.into_iter().map(|noise| centre + 0.3 * noise).collect();
    Tensor::from_data(TensorData::new(values, [count, 2]), device)
}

/// What a model with these settings gives to pairs that are like the expert's and to others, after it has compared the expert with a
/// policy of the others.
fn rewards_of_likes_and_others(config: &GailConfig) -> [Vec<f64>; 2] {
    const COUNT: usize = 40;
    let device = Device::flex().autodiff();
    let spec = spec(1, ActionShape::Continuous { dims: 1 });
    let mut model = Gail::new(config, &spec, &mut Init::new(1, &device)).unwrap();
    let mut optimizers = Gail::optimizers(config, &OptimizerConfig::default()).into_iter().collect();
    for number in 0..60 {
        let mut step = Step::for_test(number, 1, &device, &mut optimizers);
        let pairs = model
            .standardize([cloud(COUNT, 1.0, number, &device), cloud(COUNT, -1.0, 100 + number, &device)]);
        model.compare(&pairs, &mut step);
    }
    let both = Tensor::cat(vec![cloud(COUNT, 1.0, 300, &device), cloud(COUNT, -1.0, 301, &device)], 0);
    let pairs = model.standardize([cloud(2 * COUNT, 1.0, 302, &device), both]);
    let mut step = Step::for_test(60, 1, &device, &mut optimizers);
    let mut likes = model.compare(&pairs, &mut step).rewards;
    let others = likes.split_off(COUNT);
    [likes, others]
}

#[test]
fn what_is_like_the_expert_earns_more_with_the_sign_that_was_asked_for() {
    for objective in [Objective::Gail, Objective::FeatureMatching, Objective::GameTheoretic] {
        for reward in [RewardForm::Bonus, RewardForm::Penalty, RewardForm::Logit] {
            let config = GailConfig {
                objective,
                reward,
                discriminator_hidden_dims: vec![16],
                discriminator_steps: 2,
                ..GailConfig::default()
            };
            let [likes, others] = rewards_of_likes_and_others(&config);
            let smallest = likes.iter().copied().fold(f64::INFINITY, f64::min);
            let largest = others.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let all = || likes.iter().chain(&others);
            let fits = match reward {
                RewardForm::Bonus => all().all(|&reward| reward >= 0.0),
                RewardForm::Penalty => all().all(|&reward| reward <= 0.0),
                RewardForm::Logit => all().any(|&reward| reward > 0.0) && all().any(|&reward| reward < 0.0),
            };
            assert!(fits, "{objective:?} {reward:?}: {likes:?} {others:?}");
            assert!(smallest > largest, "{objective:?} {reward:?}: {smallest} is not above {largest}");
        }
    }
}

/// Settings for a task of a few places.
fn small() -> GailConfig {
    let defaults = GailConfig::default().learner;
    let agent = AgentConfig { rollout_steps: 60, hidden_dims: vec![32], ..defaults.agent };
    let trpo = TrpoSettings { kl_limit: 0.03, fisher_fraction: 1.0, ..defaults.trpo };
    GailConfig {
        learner: BaseConfig { agent, trpo, ..GailConfig::default().learner },
        discriminator_hidden_dims: vec![32, 32],
        discriminator_steps: 10,
        ..GailConfig::default()
    }
}

/// A model in training that imitates the expert's episodes from `starts`; the folder goes when the first value is dropped.
fn imitator(config: &GailConfig, starts: &[i32], device: &Device) -> (tempfile::TempDir, Learner<Gail>) {
    let (folder, experience) = Line::experience(starts, 8);
    let data = Line::open(&Gail::needs(config, &Line::spec()).unwrap(), &experience, 64, device).unwrap();
    let optimizer = (Gail::ABOUT.optimizer)();
    (folder, Learner::new(config, &optimizer, &Line::spec(), data, 3, device).unwrap())
}

fn read(metrics: Metrics) -> MetricValues {
    metrics.read().into_iter().collect()
}

#[test]
fn it_imitates_where_cloning_does_not_know_what_to_do() {
    let device = Device::flex().autodiff();
    // The expert was only seen on one side of its home.
    let (demonstrations, starts) = ([5, 4, 3], Line::starts());
    let expert = Line::earned_by_expert(&starts);

    let config = BcConfig { hidden_dims: vec![32], held_out: 0.0, ..BcConfig::default() };
    let (_folder, experience) = Line::experience(&demonstrations, 1);
    let data = Line::open(&Bc::needs(&config, &Line::spec()).unwrap(), &experience, 32, &device).unwrap();
    let optimizer = OptimizerConfig { learning_rate: 5e-3, ..OptimizerConfig::default() };
    let mut cloning = Learner::<Bc>::new(&config, &optimizer, &Line::spec(), data, 3, &device).unwrap();
    (0..400).for_each(|step| drop(cloning.step(step, 1.0).unwrap()));
    let (known, unknown): (Vec<i32>, Vec<i32>) = starts.iter().partition(|&&start| start > 0);
    let cloned = |starts: &[i32]| Line::earned_by(&cloning.model.policy, starts);
    assert_eq!(cloned(&known), Line::earned_by_expert(&known));
    assert!(cloned(&unknown) < 0.5 * Line::earned_by_expert(&unknown), "{}", cloned(&unknown));

    let (_folder, mut training) = imitator(&small(), &demonstrations, &device);
    let first = read(training.step(0, 1.0).unwrap());
    let last = (1..40).map(|step| read(training.step(step, 1.0).unwrap())).last().unwrap();
    let ours = Line::earned_by(&training.model.base.policy, &starts);
    assert!(ours > 0.9 * expert, "{ours} where the expert earns {expert}: {first:?}, {last:?}");
    assert!(last["return"] > first["return"] + 5.0, "{first:?}, {last:?}");
    assert_eq!(last["length_ratio"], 1.0);
}

#[test]
fn the_baselines_report_how_far_the_features_are_apart() {
    let device = Device::flex().autodiff();
    for objective in [Objective::FeatureMatching, Objective::GameTheoretic] {
        let config = GailConfig { objective, ..small() };
        let (_folder, mut training) = imitator(&config, &[5, -4, 3], &device);
        let found = read(training.step(0, 1.0).unwrap());
        assert!(found["feature_gap"] > 0.0 && !found.contains_key("d_loss"), "{found:?}");
        assert!(found["imitation_reward"] >= 0.0, "a bonus: {found:?}");
        assert!(training.model.discriminator.is_none());
    }
}

#[test]
fn every_objective_and_learner_resumes_exactly() {
    let device = Device::flex().autodiff();
    let base = small();
    let ppo = BaseConfig { base: LearningKind::Ppo, ..base.learner.clone() };
    let (_folder, experience) = Line::experience(&[5, -4], 2);
    for config in [
        GailConfig { learner: ppo, discriminator_steps: 2, ..base.clone() },
        GailConfig { objective: Objective::FeatureMatching, mask_termination: true, ..base },
    ] {
        let start = || -> Box<dyn Session> {
            let needs = Gail::needs(&config, &Line::spec()).unwrap();
            let data = Line::open(&needs, &experience, 64, &device).unwrap();
            let optimizer = (Gail::ABOUT.optimizer)();
            Box::new(Learner::<Gail>::new(&config, &optimizer, &Line::spec(), data, 3, &device).unwrap())
        };
        expect_exact_resume(start, &device);
    }
}

#[test]
fn weights_do_not_depend_on_the_number_of_threads() {
    let trained = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (_folder, mut training) = imitator(&small(), &[5, -4], &Device::flex().autodiff());
            (0..3).for_each(|step| drop(training.step(step, 1.0).unwrap()));
            (training.state_dict().to_arrays(), training.training_state().to_arrays())
        })
    };
    assert!(trained(1) == trained(2), "weights differ between one and two threads");
}

#[test]
fn masked_ends_are_treated_as_time_limits() {
    let rollout = Rollout {
        task: Line::task(),
        environments: 1,
        steps: 3,
        batch_size: 3,
        observations: vec![0.0; 3],
        next_observations: vec![0.0; 3],
        actions: vec![1.0; 3],
        rewards: vec![0.0; 3],
        log_probs: vec![0.0; 3],
        terminated: vec![false, true, false],
        truncated: vec![true, false, false],
        times: vec![0; 3],
        finished: Vec::new(),
    };
    let episodes = rollout.episodes();
    let masked = without_terminations(rollout);
    assert_eq!((&masked.terminated, &masked.truncated), (&vec![false; 3], &vec![true, true, false]));
    assert_eq!(masked.episodes(), episodes, "episodes end where they ended");
}

#[test]
fn a_certain_discriminator_is_warned_of() {
    let report = |expert, policy| MetricValues::from([("d_expert", expert), ("d_policy", policy)]);
    let rule = discriminator_saturated();
    assert!(rule.apply(&vec![report(0.999, 0.001); 20]).is_some());
    assert!(rule.apply(&vec![report(0.999, 0.4); 20]).is_none());
    assert!(rule.apply(&vec![MetricValues::new(); 20]).is_none(), "without a discriminator");
}

#[test]
fn a_reward_of_the_wrong_sign_is_warned_of() {
    let report = |ratio| MetricValues::from([("length_ratio", ratio), ("accuracy_policy", 0.9)]);
    let warned = |form, ratio| {
        survival_bias(form)
            .and_then(|rule| rule.apply(&vec![report(ratio); 20]))
            .map(|warning| warning.remedy)
    };
    assert!(warned(RewardForm::Bonus, 4.0).unwrap().contains("penalty"));
    assert!(warned(RewardForm::Penalty, 0.2).unwrap().contains("bonus"));
    for (form, ratio) in [
        (RewardForm::Bonus, 0.1),
        (RewardForm::Bonus, 1.1),
        (RewardForm::Penalty, 5.0),
        (RewardForm::Penalty, 0.9),
        (RewardForm::Logit, 5.0),
    ] {
        assert_eq!(warned(form, ratio), None, "{form:?} {ratio}");
    }
    // An agent that cannot be told from the expert has nothing to be warned of.
    let fooled = MetricValues::from([("length_ratio", 4.0), ("accuracy_policy", 0.3)]);
    assert!(survival_bias(RewardForm::Bonus).unwrap().apply(&vec![fooled; 20]).is_none());
}

#[test]
fn it_conforms() {
    expect_conforms::<Gail>(
        "rollout_steps=8 hidden_dims=[8] discriminator_hidden_dims=[8] fisher_fraction=1.0 value_epochs=1",
        &[
            "discriminator_steps=0",
            "discriminator_hidden_dims=[8,0]",
            "discriminator_learning_rate=0.0",
            "discriminator_entropy_weight=-1.0",
            "demonstration_stride=0",
            "rollout_steps=0",
        ],
    );
}
