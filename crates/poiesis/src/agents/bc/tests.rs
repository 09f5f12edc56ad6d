//! Behavioural cloning against PyTorch, and of experts that can be cloned exactly.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorData};
use poiesis_envs::Action;

use super::*;
use crate::abilities::{Act, Acting, Chosen};
use crate::config::DataConfig;
use crate::data::{Content, Examples, Experience, Places, Source as _, SourceOptions, TaskShape};
use crate::model::{Learner, MetricValues, Session as _};
use crate::nn::StateDict;
use crate::optim::Optimizer;
use crate::rng;
use crate::testing::{
    Fixture, Line, change_of, expect_all_close, expect_close, expect_conforms, gradients_of, refusal,
    settings,
};

/// The cases of `parity.py`.
const CASES: [&str; 3] = ["gaussian", "squared-error", "discrete"];
/// Gradients relative to the largest, f32 here against f64 there.
const GRADIENT: f64 = 5e-6;
/// Losses of ten steps, relative to the largest.
const LOSSES: f64 = 1e-5;
/// What ten steps changed, relative to the largest change of an array.
const CHANGE: f64 = 1e-3;

fn spec(observation: usize, actions: ActionShape) -> DataSpec {
    let task = TaskShape { environment: "a test".into(), observation, actions };
    DataSpec { content: Content::Experience(task), classes: 0, unlabelled: false }
}

fn spec_of(case: &serde_json::Value) -> DataSpec {
    let number = |key: &str| case[key].as_u64().unwrap() as usize;
    let actions = if case["discrete"] == serde_json::Value::Bool(true) {
        ActionShape::Discrete { choices: number("actions") }
    } else {
        ActionShape::Continuous { dims: number("actions") }
    };
    spec(number("observation"), actions)
}

/// A model in training with the first weights of `case` and the moments of its observations. Its batches are not used.
fn training(fixture: &Fixture, case: &str, device: &Device) -> Learner<Bc> {
    let (config, optimizer) = settings::<Bc>(&fixture.case(case)["config"]);
    let spec = spec_of(fixture.case(case));
    let mut model = Bc::new(&config, &spec, &mut Init::new(1, device)).unwrap();
    let observations = &fixture.array(&format!("{case}.observations")).data;
    model.policy.observe(&observations.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
    let weights = StateDict::of(&model).with(fixture.weights(&format!("{case}.initial"), device));
    let model = weights.load_into(model).unwrap();
    let (_folder, experience) = Line::experience(&[2], 1);
    let data = Line::open(&Bc::needs(&config, &spec).unwrap(), &experience, 4, device).unwrap();
    Learner::of(model, &config, &optimizer, data, 1, device)
}

fn batch(fixture: &Fixture, case: &str, step: usize, device: &Device) -> [Tensor<2>; 2] {
    ["observations", "actions"].map(|name| fixture.step(&format!("{case}.{name}"), step, |x| x, device))
}

#[test]
fn first_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("bc"), Device::flex().autodiff());
    for case in CASES {
        let model = training(&fixture, case, &device).model;
        let [observations, actions] = batch(&fixture, case, 0, &device);
        let loss = model.compare(observations, actions).loss;
        let gradients = gradients_of("policy", &model.policy, &loss.backward());
        expect_all_close(&gradients, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("bc"), Device::flex().autodiff());
    for case in CASES {
        let mut training = training(&fixture, case, &device);
        let mut reports: Vec<f32> = Vec::new();
        for number in 0..10 {
            let [observations, actions] = batch(&fixture, case, number, &device);
            training.with_step(number as u64, 1.0, |model, _, step| {
                let Cloning { loss, nll, entropy } = model.compare(observations.clone(), actions.clone());
                reports.extend([loss, nll, entropy].map(|value| value.into_scalar::<f32>()));
                model.update(observations, actions, step)
            });
        }
        let reports = Tensor::<2>::from_data(TensorData::new(reports, [10, 3]), &device);
        expect_close("reports", reports, fixture.array(&format!("{case}.reports")), LOSSES);
        // The moments of observations are not in the fixture.
        let own = training.state_dict().to_arrays();
        let [initial, theirs] = ["initial", "final"].map(|name| fixture.arrays(&format!("{case}.{name}")));
        let ours = own.into_iter().filter(|(name, _)| initial.contains_key(name)).collect();
        expect_all_close(&change_of(&initial, &ours), &change_of(&initial, &theirs), CHANGE);
    }
}

/// Trains on pairs that `expert` makes of uniform observations from −1 to 1, a batch at a time.
fn clone_of(
    config: &BcConfig,
    [observation, width]: [usize; 2],
    actions: ActionShape,
    expert: impl Fn(&[f32]) -> Vec<f32>,
) -> Bc {
    const BATCH: usize = 64;
    let device = Device::flex().autodiff();
    let mut model = Bc::new(config, &spec(observation, actions), &mut Init::new(4, &device)).unwrap();
    let optimizer = OptimizerConfig { learning_rate: 3e-3, ..(Bc::ABOUT.optimizer)() };
    let mut optimizers = BTreeMap::from([("optimizer", Optimizer::new(&optimizer))]);
    for number in 0..800 {
        let drawn = rng::uniform(&mut rng::generator(9, "observations", number), BATCH * observation);
        let observations: Vec<f32> = drawn.into_iter().map(|u| 2.0 * u - 1.0).collect();
        let actions: Vec<f32> = observations.chunks(observation).flat_map(&expert).collect();
        let mut step = Step::for_test(number, 4, &device, &mut optimizers);
        let observations = step.tensor(observations, [BATCH, observation]);
        let actions = step.tensor(actions, [BATCH, width]);
        model.update(observations, actions, &mut step);
    }
    model
}

/// What the policy does most probably in these observations.
fn modes(model: &Bc, observations: &[f32], width: usize) -> Vec<f32> {
    let rows = Tensor::from_data(
        TensorData::new(observations.to_vec(), [observations.len() / width, width]),
        &Device::flex().autodiff(),
    );
    model.policy.distribution(rows).mode().into_data().iter::<f32>().collect()
}

#[test]
fn a_linear_expert_is_cloned() {
    let expert = |x: &[f32]| vec![0.8 * x[0] - 0.5 * x[1] + 0.1];
    let observations = [0.5, -0.5, -0.9, 0.2, 0.0, 0.0, 0.7, 0.7];
    for loss in [CloningLoss::Likelihood, CloningLoss::SquaredError] {
        let config = BcConfig { hidden_dims: vec![16], loss, ..BcConfig::default() };
        let model = clone_of(&config, [2, 1], ActionShape::Continuous { dims: 1 }, expert);
        for (x, ours) in observations.chunks(2).zip(modes(&model, &observations, 2)) {
            assert!((ours - expert(x)[0]).abs() < 0.05, "{loss:?} in {x:?}: {ours} for {:?}", expert(x));
        }
        let log_std = model.policy.log_std().unwrap().into_scalar::<f32>();
        match loss {
            // A certain expert: the likelihood is highest without any spread.
            CloningLoss::Likelihood => assert!(log_std < -1.5, "{log_std}"),
            CloningLoss::SquaredError => assert_eq!(log_std, 0.0),
        }
    }
}

#[test]
fn choices_are_cloned() {
    let choice = |x: f32| {
        if x < -0.3 {
            0.0
        } else if x < 0.3 {
            1.0
        } else {
            2.0
        }
    };
    let config = BcConfig { hidden_dims: vec![16], ..BcConfig::default() };
    let model = clone_of(&config, [1, 1], ActionShape::Discrete { choices: 3 }, |x| vec![choice(x[0])]);
    let observations = [-0.9, -0.45, -0.1, 0.15, 0.5, 0.95];
    assert_eq!(modes(&model, &observations, 1), observations.map(choice));
}

#[test]
fn held_out_pairs_are_measured_without_being_learned_from() {
    let device = Device::flex().autodiff();
    let starts = [5, -5, 4, -4, 3, -3, 2, -2, 5, -5, 1, -1];
    let (_folder, experience) = Line::experience(&starts, 1);
    let config = BcConfig { hidden_dims: vec![32], ..BcConfig::default() };
    let needs = Bc::needs(&config, &Line::spec()).unwrap();
    let data = Line::open(&needs, &experience, 32, &device).unwrap();
    let optimizer = OptimizerConfig { learning_rate: 5e-3, ..(Bc::ABOUT.optimizer)() };
    let mut training = Learner::<Bc>::new(&config, &optimizer, &Line::spec(), data, 5, &device).unwrap();
    let read = |metrics: Metrics| metrics.read().into_iter().collect::<MetricValues>();
    let first = read(training.step(0, 1.0).unwrap());
    assert!((first["nll"] - 3f64.ln()).abs() < 0.2, "three choices about as probable: {first:?}");
    let last = (1..400).map(|step| read(training.step(step, 1.0).unwrap())).last().unwrap();
    assert!(last["nll"] < 0.3 && last["held_out_nll"] < 0.3 && last["entropy"] < 0.4, "{last:?}");
    let starts = Line::starts();
    assert_eq!(Line::earned_by(&training.model.policy, &starts), Line::earned_by_expert(&starts));
}

#[test]
fn published_demonstrations_of_a_balanced_pole_are_cloned() {
    let data_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !data_dir.join("demos/cartpole").is_dir() {
        eprintln!("skipped: {} is not there", data_dir.join("demos/cartpole").display());
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let places = Places { data_dir, cache: cache.path().join("cache") };
    let config = DataConfig {
        source: "cartpole".into(),
        demonstrations: "demos/cartpole".into(),
        ..DataConfig::default()
    };
    let experience = Experience::open(&config, &places, &|_| ()).unwrap();
    let spec =
        DataSpec { content: Content::Experience(experience.task.clone()), classes: 0, unlabelled: false };
    let examples = Examples::Experience(experience);

    let device = Device::flex().autodiff();
    let config = BcConfig { hidden_dims: vec![32], ..BcConfig::default() };
    let options =
        SourceOptions { examples: &examples, spec: &spec, batch_size: 128, seed: 1, device: &device };
    let data = DemonstrationBatches::open(&Bc::needs(&config, &spec).unwrap(), &options).unwrap();
    let optimizer = OptimizerConfig { learning_rate: 3e-3, ..(Bc::ABOUT.optimizer)() };
    let mut training = Learner::<Bc>::new(&config, &optimizer, &spec, data, 1, &device).unwrap();
    let last = (0..400).map(|step| training.step(step, 1.0).unwrap()).last().unwrap();
    let last: MetricValues = last.read().into_iter().collect();
    // The expert's choices are drawn, and not certain; a coin has 0.69 nats.
    assert!(last["held_out_nll"] < 0.6, "{last:?}");
    let lengths: Vec<usize> = (0..5).map(|seed| balanced(&training.model.policy, seed)).collect();
    assert!(lengths.iter().sum::<usize>() > 5 * 300, "steps until the pole fell, of 500: {lengths:?}");
}

/// For how many steps the most probable actions of `agent` balance the pole.
fn balanced(agent: &dyn Act, seed: u64) -> usize {
    let (mut actor, mut chosen) = (agent.actor(), Chosen::default());
    let mut cartpole = poiesis_envs::make("cartpole").unwrap();
    let mut observation = vec![0.0; 4];
    cartpole.reset(seed, &mut observation).unwrap();
    for step in 1.. {
        actor.act(&observation, Acting::Mode, &mut chosen);
        let Chosen::Discrete(choices) = &chosen else { panic!("choices, not {chosen:?}") };
        if cartpole.step(Action::Discrete(choices[0]), &mut observation).unwrap().ended() {
            return step;
        }
    }
    unreachable!("an episode has a time limit")
}

#[test]
fn the_squared_error_of_a_choice_is_refused() {
    let config = BcConfig { loss: CloningLoss::SquaredError, ..BcConfig::default() };
    let refused = refusal::<Bc>(&config, &spec(3, ActionShape::Discrete { choices: 2 }));
    assert!(refused.contains("bc.loss") && refused.contains("likelihood"), "{refused}");
}

#[test]
fn learning_by_heart_is_warned_of() {
    let report =
        |nll: f64, held_out_nll: f64| MetricValues::from([("nll", nll), ("held_out_nll", held_out_nll)]);
    let rule = memorised();
    assert!(rule.apply(&vec![report(0.1, 1.5); 20]).is_some());
    assert!(rule.apply(&vec![report(0.1, 0.5); 20]).is_none());
    assert!(rule.apply(&vec![MetricValues::from([("nll", 0.1)]); 20]).is_none(), "nothing is held out");
}

#[test]
fn it_conforms() {
    expect_conforms::<Bc>(
        "hidden_dims=[8] entropy_weight=0.01 demonstration_stride=2",
        &[
            "hidden_dims=[0]",
            "held_out=1.0",
            "entropy_weight=-1.0",
            "loss=squared-error entropy_weight=0.1",
            "demonstration_stride=0",
        ],
    );
}
