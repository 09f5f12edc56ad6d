//! WaveNet against PyTorch, against itself read sample by sample, and on a small problem.

use super::*;
use crate::data::Tokens;
use crate::generate::Choice;
use crate::models::autoregressive::testing::sequences::{
    draw, expect_naive_writing, expect_no_look_ahead, expect_same_bits_in_any_company, tokens_of,
};
use crate::testing::{Fixture, change, expect_all_close, expect_close, expect_exact_resume, gradients_of};

/// Single precision against PyTorch's double, relative to the largest value.
const FORWARD: f64 = 2e-6;
const GRADIENT: f64 = 1e-5;
/// Adam divides each gradient by its own size at first, and tokens that windows seldom hold have very small ones.
const CHANGE: f64 = 1e-4;

const TOKENS: TokenShape = TokenShape { values: 12, beginnings: 3, length: None };

fn small() -> WaveNetConfig {
    WaveNetConfig { stacks: 2, layers: 3, width: 6, skip: 7, context: 20, ..WaveNetConfig::default() }
}

/// A network whose classes say something, which they do not at first.
fn told(seed: u64, device: &Device) -> WaveNet {
    let mut model = small().init(TOKENS, seed, device).unwrap();
    let mut init = Init::new(seed + 1, device);
    for layer in &mut model.network.layers {
        layer.classes = init.normal([4, 12], 0.0, 1.0);
    }
    model
}

#[test]
fn first_outputs_gradients_and_ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("wavenet"), Device::flex().autodiff());
    let mut model = small().init(TOKENS, 0, &device).unwrap();
    model.network = fixture.weights("initial", &device).put_into("network", model.network).unwrap();
    let windows = |step: usize| fixture.step::<2>("tokens", step, |token| token, &device).int();

    let logits = model.forward(windows(0).narrow(1, 0, 20));
    expect_close("logits", logits, fixture.array("first.logits"), FORWARD);
    let loss = model.loss(windows(0));
    expect_close("loss", loss.clone(), fixture.array("first.loss"), FORWARD);
    let gradients = gradients_of("network", &model.network, &loss.backward());
    expect_all_close(&gradients, &fixture.arrays("gradient"), GRADIENT);

    let tokens = Tokens::of_documents(&[vec![0; 50]], None, TOKENS);
    let windows_of = Windows::new(tokens, 1, 20, 0, &device).unwrap();
    let mut training = Training { optimizer: small().optimizer(), model, windows: windows_of };
    for step in 0..10 {
        training.learn(windows(step), 1.0);
    }
    let (initial, theirs) = (fixture.arrays("initial"), fixture.arrays("final"));
    let ours = training.weights().to_arrays();
    expect_all_close(&change(&initial, &ours), &change(&initial, &theirs), CHANGE);
}

#[test]
fn no_logits_depend_on_a_later_token() {
    let device = Device::flex();
    let model = told(1, &device);
    let logits = |tokens: &[u32]| -> Vec<f32> {
        model.forward(tokens_of(tokens.to_vec(), tokens.len(), &device)).into_data().iter::<f32>().collect()
    };
    expect_no_look_ahead(&draw(24, 15), 15, 1, logits);
}

#[test]
fn gradients_reach_back_as_far_as_the_receptive_field_and_not_forward() {
    let device = Device::flex().autodiff();
    let model = small().init(TOKENS, 1, &device).unwrap();
    let field = small().receptive_field();
    assert_eq!(field, 15);
    // Every place has a token of its own, so that the table's rows tell places apart.
    let length = 15;
    let tokens = tokens_of((0..length).collect(), length as usize, &device);
    let at = 12;
    let logits = model.forward(tokens);
    let gradients = logits.narrow(1, at, 1).powi_scalar(2).sum().backward();
    let table = gradients_of("network", &model.network, &gradients);
    let reached =
        |row: usize| table["network.embedding"].data[row * 6..(row + 1) * 6].iter().any(|g| *g != 0.0);
    for row in 0..length as usize {
        assert_eq!(reached(row), row <= at, "token {row}");
    }
}

#[test]
fn reading_gives_the_laws_of_the_whole_network_in_any_company() {
    let device = Device::flex();
    let model = told(2, &device);
    let (rows, length) = (16, 40);
    let sequences: Vec<Vec<u32>> = (0..rows).map(|i| draw(length + i, 15)[i..].to_vec()).collect();
    let classes: Vec<Option<u32>> = (0..rows).map(|row| Some(row as u32 % 3)).collect();
    let laws = expect_same_bits_in_any_company(&model, &sequences, &classes);

    let whole: Vec<Vec<u32>> = sequences
        .iter()
        .zip(&classes)
        .map(|(sequence, class)| [&[TOKENS.beginning(*class).unwrap()], &sequence[..]].concat())
        .collect();
    let log_prob = model.log_prob(tokens_of(whole.concat(), length + 1, &device));
    let log_prob: Vec<f32> = log_prob.into_data().iter::<f32>().collect();
    for (row, laws) in laws.iter().enumerate() {
        for (t, law) in laws.chunks_exact(15).enumerate() {
            let (read, naive) = (law[sequences[row][t] as usize], log_prob[row * length + t]);
            assert!((read - naive).abs() < 1e-4, "row {row}, token {t}: {read} {naive}");
        }
    }
}

#[test]
fn cached_writing_equals_writing_with_the_whole_network() {
    let device = Device::flex();
    let model = told(3, &device);
    let choice = Choice { temperature: 0.8, ..Choice::default() };
    expect_naive_writing(&model, TOKENS, choice, 60, |tokens| {
        let logits = model.forward(tokens_of(tokens.to_vec(), tokens.len(), &device));
        logits.narrow(1, tokens.len() - 1, 1).into_data().iter::<f32>().collect()
    });
}

/// Clips of one class rise and those of the other fall, each value repeated three times: a network that knows the class
/// and has seen three values knows the next for certain.
fn stairs() -> Tokens {
    let shape = TokenShape { values: 8, beginnings: 2, length: None };
    let clip = |index: u32| {
        let value = move |t: u32| {
            if index.is_multiple_of(2) { (t / 3 + index) % 8 } else { (index + 80 - t / 3) % 8 }
        };
        (0..30).map(value).collect::<Vec<u32>>()
    };
    let classes = (0..40).map(|index| index % 2).collect();
    Tokens::of_documents(&(0..40).map(clip).collect::<Vec<_>>(), Some(classes), shape)
}

fn learner(device: &Device) -> Training {
    let config = WaveNetConfig {
        stacks: 1,
        layers: 3,
        width: 16,
        skip: 16,
        context: 62,
        learning_rate: 0.01,
        ..WaveNetConfig::default()
    };
    let windows = Windows::new(stairs(), 8, config.context, 0, device).unwrap();
    let model = config.init(windows.shape(), 0, device).unwrap();
    Training { optimizer: config.optimizer(), model, windows }
}

#[test]
fn rising_and_falling_stairs_are_learned() {
    let device = Device::flex().autodiff();
    let mut training = learner(&device);
    let terms = (0..300).map(|step| training.step(step, 1.0).read()[0].1);
    let losses: Vec<f64> = terms.collect();
    let last = losses[280..].iter().sum::<f64>() / 20.0;
    // The first value of a clip is one of eight and its class one of two: (ln 8 + ln 2) / 31 nats at least.
    assert!(last < 0.2 && last > 0.08, "{last} nats");
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    let device = Device::flex().autodiff();
    expect_exact_resume(|| learner(&device), &device);
}
