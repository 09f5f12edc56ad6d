//! What models of sequences must have in common.

use std::slice::from_ref;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::abilities::{Autoregressive, TokenLikelihood};
use crate::data::TokenShape;
use crate::generate::{SamplingParams, Writer};
use crate::model::{Learner, Metrics, Model, Session, Step};
use crate::nn::StateDict;
use crate::rng;
use crate::testing::{Fixture, expect_all_close, expect_change, expect_close, gradients_of};

/// Log-probabilities and losses relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients: more roundings.
const GRADIENT: f64 = 2e-5;

/// Rows of `columns` tokens.
pub(crate) fn tokens_of(values: Vec<u32>, columns: usize, device: &Device) -> Tensor<2, Int> {
    let rows = values.len() / columns;
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// The tokens of the steps of `case`.
pub(crate) fn tokens_of_steps(fixture: &Fixture, case: &str, device: &Device) -> Vec<Tensor<2, Int>> {
    let all = fixture.array(&format!("{case}.tokens"));
    let values: Vec<u32> = all.data.iter().map(|&value| value as u32).collect();
    let size = all.shape[1] * all.shape[2];
    values.chunks_exact(size).map(|step| tokens_of(step.to_vec(), all.shape[2], device)).collect()
}

/// A training brought to the first weights of `case`, and the tokens of its steps.
pub(crate) fn started<M: Model>(
    mut training: Learner<M>,
    fixture: &Fixture,
    case: &str,
) -> (Learner<M>, Vec<Tensor<2, Int>>) {
    let device = Device::flex().autodiff();
    training.restore(&fixture.weights(&format!("{case}.initial"), &device), &StateDict::default()).unwrap();
    (training, tokens_of_steps(fixture, case, &device))
}

/// The log-probabilities of the first tokens are those of `case`, and so are their loss and its gradients, which are those of the loss
/// times `factor`.
pub(crate) fn expect_first<M: Module>(
    fixture: &Fixture,
    case: &str,
    network: &M,
    log_probs: Tensor<1>,
    factor: f64,
) {
    let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
    expect_close("log p", log_probs.clone(), theirs("log_probs"), FORWARD);
    let loss = log_probs.mean().neg();
    expect_close("loss", loss.clone(), theirs("loss"), FORWARD);
    let ours = gradients_of("network", network, &(loss * factor).backward());
    expect_all_close(&ours, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
}

/// Ten steps of `update` on their tokens have the losses of `case`, and move the weights as far, but for `tolerance`.
pub(crate) fn expect_ten_steps<M: Model>(
    fixture: &Fixture,
    case: &str,
    (mut training, tokens): (Learner<M>, Vec<Tensor<2, Int>>),
    tolerance: f64,
    update: impl Fn(&mut M, &mut M::Data, Tensor<2, Int>, &mut Step<'_>) -> Metrics,
) {
    let mut step = |(number, tokens)| {
        let metrics = training.with_step(number, 1.0, |model, data, step| update(model, data, tokens, step));
        metrics.read()[0].1 as f32
    };
    let losses: Vec<f32> = (0..).zip(tokens).map(&mut step).collect();
    let losses = Tensor::<1>::from_data(TensorData::new(losses, [10]), &Device::flex());
    expect_close("losses", losses, fixture.array(&format!("{case}.losses")), FORWARD);
    expect_change(fixture, case, &training, tolerance);
}

/// The mean of the last twenty losses of `steps` steps, whose learning rate falls to zero.
pub(crate) fn late_nll(training: &mut impl Session, steps: u64) -> f64 {
    let mut nll = |step: u64| training.step(step, 1.0 - step as f64 / steps as f64).unwrap().read()[0].1;
    let all: Vec<f64> = (0..steps).map(&mut nll).collect();
    all[all.len() - 20..].iter().map(|nll| nll / 20.0).sum()
}

/// `count` tokens below `below`.
pub(crate) fn draw(count: usize, below: u64) -> Vec<u32> {
    let mut generator = rng::generator(8, "test", below);
    (0..count).map(|_| rng::below(&mut generator, below) as u32).collect()
}

/// A change of a token is first seen in the logits after it, and in those after the `seen - 1` next ones. `logits` gives
/// those after each token of a sequence.
pub(crate) fn expect_no_look_ahead(
    values: &[u32],
    vocabulary: usize,
    seen: usize,
    logits: impl Fn(&[u32]) -> Vec<f32>,
) {
    let before = logits(values);
    for changed in 0..values.len() {
        let mut other = values.to_vec();
        other[changed] = (other[changed] + 1) % vocabulary as u32;
        let after = logits(&other);
        for place in 0..values.len().min(changed + seen) {
            let same =
                before[place * vocabulary..][..vocabulary] == after[place * vocabulary..][..vocabulary];
            assert_eq!(same, place < changed, "logits {place}, change of token {changed}");
        }
    }
}

/// By gradients, logits depend on the tokens up to their own and on no later one: on the rows of `table`, an array of `network`, for the
/// tokens below `count`, each of which comes once.
pub(crate) fn expect_no_gradient_ahead<M: Module>(
    network: &M,
    table: &str,
    count: u32,
    logits: impl Fn(Tensor<2, Int>) -> Tensor<2>,
) {
    for place in 0..count as usize {
        let logits = logits(tokens_of((0..count).collect(), count as usize, &Device::flex().autodiff()));
        let gradients = logits.narrow(0, place, 1).sum().backward();
        let table = &gradients_of("network", network, &gradients)[table];
        for (token, row) in table.data.chunks_exact(table.shape[1]).enumerate() {
            assert_eq!(row.iter().any(|&g| g != 0.0), token <= place, "logits {place}, token {token}");
        }
    }
}

/// The probabilities of all 2×2 images of black and white add up to one, in each of two classes; `model` is made for their tokens.
pub(crate) fn expect_images_to_sum_to_one<M: TokenLikelihood>(model: impl Fn(TokenShape) -> M) {
    let (device, model) =
        (&Device::flex(), model(TokenShape { values: 2, beginnings: 2, length: Some(4), unlabelled: false }));
    for class in 0..2 {
        let image = |bits: u32| [2 + class].into_iter().chain((0..4).map(move |place| bits >> place & 1));
        let tokens = tokens_of((0..16).flat_map(image).collect(), 5, device);
        let log_probs = model.log_prob(tokens).sum_dim(1);
        let total: f64 = log_probs.into_data().iter::<f64>().map(f64::exp).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
    }
}

/// What is written value by value is what the whole network writes with the same draws; `log_probs` gives those after all of a
/// sequence's tokens by the whole network.
pub(crate) fn expect_naive_writing(
    model: &dyn Autoregressive,
    shape: TokenShape,
    params: SamplingParams,
    length: usize,
    log_probs: impl Fn(&[u32]) -> Vec<f32>,
) {
    let classes = [Some(0), Some(shape.classes() as u32 - 1), None];
    let mut writer = Writer::new(model, 9, 20..23, &classes, params);
    let written: Vec<Vec<u32>> = (0..length).map(|_| writer.next(&[None; 3])).collect();
    for (row, &class) in classes.iter().enumerate() {
        let mut generator = rng::generator(9, "value", 20 + row as u64);
        let mut tokens: Vec<u32> = shape.beginning(class).into_iter().collect();
        for values in &written {
            let value = params.sample(&log_probs(&tokens), rng::unit_f64(&mut generator));
            assert_eq!(values[row], value, "row {row}, value {}", tokens.len());
            tokens.push(value);
        }
    }
}

/// All log-probabilities along each of `sequences`, of equal length, as a decoder gives them.
pub(crate) fn read_all(
    model: &dyn Autoregressive,
    sequences: &[Vec<u32>],
    classes: &[Option<u32>],
) -> Vec<Vec<f32>> {
    let mut decoder = model.decoder(classes);
    let num_values = model.num_values();
    let mut all = vec![Vec::new(); sequences.len()];
    for place in 0..sequences[0].len() {
        for (all, log_probs) in all.iter_mut().zip(decoder.log_probs().chunks_exact(num_values)) {
            all.extend_from_slice(log_probs);
        }
        decoder.append(&sequences.iter().map(|values| values[place]).collect::<Vec<_>>());
    }
    all
}

/// The log-probabilities of sixteen sequences have the same bits for each alone, three of them and all, on one, two and three threads;
/// returns them.
pub(crate) fn expect_same_bits_in_any_batch(
    model: &dyn Autoregressive,
    sequences: &[Vec<u32>],
    classes: &[Option<u32>],
) -> Vec<Vec<f32>> {
    assert_eq!((sequences.len(), classes.len()), (16, 16));
    let each = sequences.iter().zip(classes);
    let alone: Vec<Vec<f32>> =
        each.flat_map(|(one, class)| read_all(model, from_ref(one), from_ref(class))).collect();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| read_all(model, &sequences[..3], &classes[..3])) == alone[..3]);
        assert!(pool.install(|| read_all(model, sequences, classes)) == alone);
    }
    alone
}

/// A source of three symbols: the next is the one before last, or else, with a probability of 1/4, one of the three by chance.
pub(crate) fn echo(count: usize) -> Vec<u32> {
    let mut generator = rng::generator(6, "test", 0);
    let mut values = vec![0, 1];
    while values.len() < count {
        let chance = rng::below(&mut generator, 4) == 0;
        let drawn = rng::below(&mut generator, 3) as u32;
        values.push(if chance { drawn } else { values[values.len() - 2] });
    }
    values
}

/// The entropy of [`echo`]: the echo has 3/4 + 1/12, the two others 1/12 each.
pub(crate) fn entropy_of_echo() -> f64 {
    let (echo, other) = (10.0f64 / 12.0, 1.0f64 / 12.0);
    -(echo * echo.ln() + 2.0 * other * other.ln())
}
