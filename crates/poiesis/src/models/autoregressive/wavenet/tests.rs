//! WaveNet against PyTorch, against itself read sample by sample, and on a small problem.

use super::*;
use crate::data::{Tokens, Windows};
use crate::generate::SamplingParams;
use crate::model::{Learner, Session as _};
use crate::models::autoregressive::testing::sequences::{
    draw, expect_naive_writing, expect_no_look_ahead, expect_same_bits_in_any_batch, tokens_of,
    tokens_of_steps,
};
use crate::testing::{Fixture, expect_all_close, expect_change, expect_close, expect_conforms, gradients_of};

/// Single precision against PyTorch's double, relative to the largest value.
const FORWARD: f64 = 2e-6;
const GRADIENT: f64 = 1e-5;
/// Adam divides each gradient by its own size at first, and tokens that windows seldom hold have very small ones.
const CHANGE: f64 = 1e-4;

/// Nats for each token of lines: within about two hundred levels.
const LINES: f64 = 6.0;

const TOKENS: TokenShape = TokenShape { values: 12, beginnings: 3, length: None, unlabelled: false };

fn small() -> WaveNetConfig {
    WaveNetConfig { stacks: 2, layers: 3, width: 6, skip: 7, context: 20, ..WaveNetConfig::default() }
}

/// A network whose classes say something, which they do not at first.
fn told_of(config: &WaveNetConfig, shape: TokenShape, seed: u64, device: &Device) -> WaveNet {
    let mut model = WaveNet::for_tokens(config, shape, &mut Init::new(seed, device));
    let mut init = Init::new(seed + 1, device);
    for layer in &mut model.network.layers {
        layer.classes = init.normal([4, 12], 0.0, 1.0);
    }
    model
}

fn told(seed: u64, device: &Device) -> WaveNet {
    told_of(&small(), TOKENS, seed, device)
}

/// 16-bit samples, of a mixture of two.
const EXACT: TokenShape = TokenShape { values: 1 << 16, beginnings: 3, length: None, unlabelled: false };

fn small_exact() -> WaveNetConfig {
    WaveNetConfig { levels: 1 << 16, mixtures: 2, ..small() }
}

#[test]
fn outputs_gradients_and_ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("autoregressive/wavenet"), Device::flex().autodiff());
    for (case, config, shape) in [("levels", small(), TOKENS), ("exact", small_exact(), EXACT)] {
        let name = |part: &str| format!("{case}.{part}");
        let model = WaveNet::for_tokens(&config, shape, &mut Init::new(0, &device));
        let model = fixture.weights(&name("initial"), &device).load_into(model).unwrap();
        let steps = tokens_of_steps(&fixture, case, &device);

        let outputs = model.forward(steps[0].clone().narrow(1, 0, 20));
        expect_close("outputs", outputs, fixture.array(&name("outputs")), FORWARD);
        let loss = model.loss(steps[0].clone());
        expect_close("loss", loss.clone(), fixture.array(&name("loss")), FORWARD);
        let gradients = gradients_of("network", &model.network, &loss.backward());
        expect_all_close(&gradients, &fixture.arrays(&name("gradient")), GRADIENT);

        let tokens = Tokens::of_documents(&[vec![0; 50]], None, shape);
        let windows = Windows::new(tokens, 1, 20, 0, &device).unwrap();
        let optimizer = (WaveNet::ABOUT.optimizer)();
        let mut training = Learner::of(model, &config, &optimizer, windows.into(), 0, &device);
        for (number, windows) in (0..).zip(steps) {
            training.with_step(number, 1.0, |model, _, step| model.update(windows, step));
        }
        expect_change(&fixture, case, &training, CHANGE);
    }
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
    let model = WaveNet::for_tokens(&small(), TOKENS, &mut Init::new(1, &device));
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
fn reading_gives_the_log_probs_of_the_whole_network_in_any_batch() {
    let device = Device::flex();
    let model = told(2, &device);
    let (rows, length) = (16, 40);
    let sequences: Vec<Vec<u32>> = (0..rows).map(|i| draw(length + i, 15)[i..].to_vec()).collect();
    let classes: Vec<Option<u32>> = (0..rows).map(|row| Some(row as u32 % 3)).collect();
    let log_probs = expect_same_bits_in_any_batch(&model, &sequences, &classes);

    let whole: Vec<Vec<u32>> = sequences
        .iter()
        .zip(&classes)
        .map(|(sequence, class)| [&[TOKENS.beginning(*class).unwrap()], &sequence[..]].concat())
        .collect();
    let log_prob = model.log_prob(tokens_of(whole.concat(), length + 1, &device));
    let log_prob: Vec<f32> = log_prob.into_data().iter::<f32>().collect();
    for (row, log_probs) in log_probs.iter().enumerate() {
        for (t, of_token) in log_probs.chunks_exact(15).enumerate() {
            let (read, naive) = (of_token[sequences[row][t] as usize], log_prob[row * length + t]);
            assert!((read - naive).abs() < 1e-4, "row {row}, token {t}: {read} {naive}");
        }
    }
}

/// 16-bit tokens of sequences of bytes, each behind the beginning of its class.
fn tokens_of_bytes(bytes: &[u32], class: Option<u32>) -> Vec<u32> {
    let samples = bytes.chunks_exact(2).map(|two| two[0] << 8 | two[1]);
    EXACT.beginning(class).into_iter().chain(samples).collect()
}

fn told_exact(device: &Device) -> WaveNet {
    told_of(&small_exact(), EXACT, 4, device)
}

#[test]
fn laws_of_bytes_in_any_company_multiply_to_the_probabilities_of_samples() {
    let device = Device::flex();
    let model = told_exact(&device);
    let (rows, samples) = (16, 12);
    // Quiet samples and the edges, where bins are open to their side.
    let bytes = |row: usize| {
        let draws = draw(2 * samples + row, 256)[row..].to_vec();
        let quiet = draws.chunks_exact(2).map(|two| [127 + two[0] % 2, two[1]]);
        let mut bytes: Vec<u32> = quiet.flatten().collect();
        bytes[..4].copy_from_slice(&[0, 0, 255, 255]);
        bytes
    };
    let sequences: Vec<Vec<u32>> = (0..rows).map(bytes).collect();
    let classes: Vec<Option<u32>> = (0..rows).map(|row| Some(row as u32 % 3)).collect();
    let log_probs = expect_same_bits_in_any_batch(&model, &sequences, &classes);
    let each = sequences.iter().zip(&classes);
    let whole: Vec<u32> = each.flat_map(|(bytes, class)| tokens_of_bytes(bytes, *class)).collect();
    let log_prob = model.log_prob(tokens_of(whole, samples + 1, &device));
    let log_prob: Vec<f32> = log_prob.into_data().iter::<f32>().collect();
    for (row, log_probs) in log_probs.iter().enumerate() {
        let log_probs: Vec<&[f32]> = log_probs.chunks_exact(259).collect();
        for of_token in &log_probs {
            let sum: f64 = of_token.iter().map(|&l| f64::from(l).exp()).sum();
            assert!((sum - 1.0).abs() < 2e-5, "{sum}");
        }
        for t in 0..samples {
            let of = |byte: usize| log_probs[byte][sequences[row][byte] as usize];
            let (read, naive) = (of(2 * t) + of(2 * t + 1), log_prob[row * samples + t]);
            assert!((read - naive).abs() < 1e-4 * naive.abs().max(1.0), "row {row}, {t}: {read} {naive}");
        }
    }
    // A clip can end only where a sample would begin.
    assert!(log_probs[0][259..2 * 259][256..].iter().all(|&l| l == f32::NEG_INFINITY));
}

#[test]
fn a_beginning_in_place_of_a_high_byte_is_read_as_one() {
    let model = told_exact(&Device::flex());
    let mut begun = model.decoder(&[Some(2)]);
    begun.append(&[128]);
    begun.append(&[7]);
    begun.append(&[256 + 1]);
    begun.append(&[99]);
    let device = Device::flex();
    let outputs = model.forward(tokens_of(vec![65_538, 128 << 8 | 7, 65_537], 3, &device));
    let outputs: Vec<f32> = outputs.narrow(1, 2, 1).narrow(2, 0, 4).into_data().iter::<f32>().collect();
    let total = outputs.iter().map(|x| x.exp()).sum::<f32>().ln();
    for (row, output) in begun.log_probs()[256..].iter().zip(&outputs[1..]) {
        assert!((row - (output - total)).abs() < 1e-5, "{row} {output}");
    }
}

#[test]
fn cached_writing_equals_writing_with_the_whole_network() {
    let device = Device::flex();
    let model = told(3, &device);
    let params = SamplingParams { temperature: Some(0.8), ..SamplingParams::default() };
    expect_naive_writing(&model, TOKENS, params, 60, |tokens| {
        let logits = model.forward(tokens_of(tokens.to_vec(), tokens.len(), &device));
        logits.narrow(1, tokens.len() - 1, 1).into_data().iter::<f32>().collect()
    });
}

/// Clips of one class rise and those of the other fall, each value repeated three times: a network that knows the class
/// and has seen three values knows the next for certain.
fn stairs() -> Tokens {
    let shape = TokenShape { values: 8, beginnings: 2, length: None, unlabelled: false };
    let clip = |index: u32| {
        let value = move |t: u32| {
            if index.is_multiple_of(2) { (t / 3 + index) % 8 } else { (index + 80 - t / 3) % 8 }
        };
        (0..30).map(value).collect::<Vec<u32>>()
    };
    let classes = (0..40).map(|index| Some(index % 2)).collect();
    Tokens::of_documents(&(0..40).map(clip).collect::<Vec<_>>(), Some(classes), shape)
}

/// A model in training on clips of its own.
fn start(config: &WaveNetConfig, tokens: Tokens, device: &Device) -> Learner<WaveNet> {
    let optimizer = OptimizerConfig { learning_rate: 0.01, ..(WaveNet::ABOUT.optimizer)() };
    let windows = Windows::new(tokens, 8, config.context, 0, device).unwrap();
    let model = WaveNet::for_tokens(config, windows.shape(), &mut Init::new(0, device));
    Learner::of(model, config, &optimizer, windows.into(), 0, device)
}

fn learner(device: &Device) -> Learner<WaveNet> {
    let config =
        WaveNetConfig { stacks: 1, layers: 3, width: 16, skip: 16, context: 62, ..WaveNetConfig::default() };
    start(&config, stairs(), device)
}

#[test]
fn rising_and_falling_stairs_are_learned() {
    let device = Device::flex().autodiff();
    let mut training = learner(&device);
    let terms = (0..300).map(|step| training.step(step, 1.0).unwrap().read()[0].1);
    let losses: Vec<f64> = terms.collect();
    let last = losses[280..].iter().sum::<f64>() / 20.0;
    // The first value of a clip is one of eight and its class one of two: (ln 8 + ln 2) / 31 nats at least.
    assert!(last < 0.2 && last > 0.08, "{last} nats");
}

/// Clips that fall or rise by 1,000 levels from sample to sample: known exactly from the third on.
#[test]
fn rising_and_falling_lines_of_16_bit_samples_are_learned() {
    let device = Device::flex().autodiff();
    let shape = TokenShape { values: 1 << 16, beginnings: 2, length: None, unlabelled: false };
    let clip = |index: u32| {
        let value = move |t: u32| {
            if index.is_multiple_of(2) {
                20_000 + 1000 * t + 37 * index
            } else {
                45_000 - 1000 * t - 41 * index
            }
        };
        (0..25).map(value).collect::<Vec<u32>>()
    };
    let classes = (0..40).map(|index| Some(index % 2)).collect();
    let tokens = Tokens::of_documents(&(0..40).map(clip).collect::<Vec<_>>(), Some(classes), shape);
    let config = WaveNetConfig {
        stacks: 1,
        layers: 3,
        width: 16,
        skip: 16,
        context: 52,
        levels: 1 << 16,
        mixtures: 3,
    };
    let mut training = start(&config, tokens, &device);
    let schedule = |step| 1.0 - step as f64 / 600.0;
    let losses: Vec<f64> =
        (0..600).map(|step| training.step(step, schedule(step)).unwrap().read()[0].1).collect();
    let last = losses[580..].iter().sum::<f64>() / 20.0;
    // Samples drawn evenly from 65,536 cost 11.1 nats each.
    assert!(last < LINES, "{last} nats, from {}", losses[0]);
}

#[test]
fn it_conforms() {
    expect_conforms::<WaveNet>(
        "stacks=1 layers=3 width=8 skip=8 context=64",
        &["stacks=0", "layers=21", "levels=100"],
    );
}
