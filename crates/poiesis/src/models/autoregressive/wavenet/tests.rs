//! WaveNet against PyTorch, against itself read sample by sample, and on a small problem.

use super::*;
use crate::data::Tokens;
use crate::generate::{Choice, Writer};
use crate::rng;
use crate::testing::{Fixture, change, expect_all_close, expect_close, gradients_of};

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

/// `rows` sequences of `length` tokens, beginnings among them.
fn sequences(rows: usize, length: usize) -> Vec<Vec<u32>> {
    let mut generator = rng::generator(5, "test", 0);
    let mut token = || rng::below(&mut generator, TOKENS.vocabulary() as u64) as u32;
    (0..rows).map(|_| (0..length).map(|_| token()).collect()).collect()
}

fn tensor(rows: &[Vec<u32>], device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = rows.iter().flatten().map(|&token| token as i32).collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), rows[0].len()]), device)
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
    let mut training = Training { adam: Optimizer::new(small().adam()), model, windows: windows_of };
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
    let rows = sequences(1, 24);
    let logits = |rows: &[Vec<u32>]| -> Vec<f32> {
        model.forward(tensor(rows, &device)).into_data().iter::<f32>().collect()
    };
    let before = logits(&rows);
    for place in 0..24 {
        let mut changed = rows.clone();
        changed[0][place] = (changed[0][place] + 1) % 15;
        let after = logits(&changed);
        let first = before.iter().zip(&after).position(|(a, b)| a != b).map(|at| at / 15);
        assert_eq!(first, Some(place), "token {place} is first felt there");
    }
}

#[test]
fn gradients_reach_back_as_far_as_the_receptive_field_and_not_forward() {
    let device = Device::flex().autodiff();
    let model = small().init(TOKENS, 1, &device).unwrap();
    let field = small().receptive_field();
    assert_eq!(field, 15);
    // Every place has a token of its own, so that the table's rows tell places apart.
    let length = 15;
    let tokens = tensor(&[(0..length).collect()], &device);
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
    let sequences = sequences(rows, length);
    let classes: Vec<Option<u32>> = (0..rows).map(|row| Some(row as u32 % 3)).collect();
    let laws = |rows: std::ops::Range<usize>| {
        let mut reader = model.reader(&classes[rows.clone()]);
        let mut all = vec![Vec::new(); rows.len()];
        for t in 0..length {
            let laws = reader.laws().chunks_exact(15).map(<[f32]>::to_vec);
            all.iter_mut().zip(laws).for_each(|(all, law)| all.push(law));
            reader.push(&sequences[rows.clone()].iter().map(|sequence| sequence[t]).collect::<Vec<_>>());
        }
        all
    };
    let together = laws(0..rows);
    for (row, law) in together.iter().enumerate() {
        assert_eq!(laws(row..row + 1)[0], *law, "row {row} alone");
    }
    assert_eq!(laws(3..6), together[3..6]);

    let whole: Vec<Vec<u32>> = sequences
        .iter()
        .zip(&classes)
        .map(|(sequence, class)| [&[TOKENS.beginning(*class).unwrap()], &sequence[..]].concat())
        .collect();
    let log_prob = model.log_prob(tensor(&whole, &device));
    let log_prob: Vec<f32> = log_prob.into_data().iter::<f32>().collect();
    for (row, laws) in together.iter().enumerate() {
        for (t, law) in laws.iter().enumerate() {
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
    let mut writer = Writer::new(&model, 7, 0..2, &[Some(1), None], choice);
    let cached: Vec<Vec<u32>> = (0..60).map(|_| writer.next(&[None, None])).collect();
    for (row, beginning) in [13, 12].into_iter().enumerate() {
        let mut generator = rng::generator(7, "value", row as u64);
        let mut sequence = vec![beginning];
        for (t, values) in cached.iter().enumerate() {
            let logits = model.forward(tensor(&[sequence.clone()], &device)).narrow(1, t, 1);
            let law: Vec<f32> = logits.into_data().iter::<f32>().collect();
            sequence.push(choice.choose(&law, rng::unit_f64(&mut generator)));
            assert_eq!(sequence[t + 1], values[row], "row {row}, token {t}");
        }
    }
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
    Training { adam: Optimizer::new(config.adam()), model, windows }
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
fn an_interrupted_training_ends_with_the_same_bytes() {
    let device = Device::flex().autodiff();
    let bytes =
        |training: &Training| (training.weights().to_arrays(), training.optimizer_state().to_arrays());
    let mut unbroken = learner(&device);
    (0..6).for_each(|step| drop(unbroken.step(step, 1.0)));
    let mut first = learner(&device);
    (0..3).for_each(|step| drop(first.step(step, 1.0)));
    let saved = (first.weights(), first.optimizer_state());
    let mut second = learner(&device);
    second.restore(&saved.0, &saved.1).unwrap();
    (3..6).for_each(|step| drop(second.step(step, 1.0)));
    assert_eq!(bytes(&second), bytes(&unbroken));
}
