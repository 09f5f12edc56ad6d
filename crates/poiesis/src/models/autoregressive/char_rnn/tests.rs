//! The recurrent network against PyTorch, as a model of probabilities, its reader against the whole network, on a source whose
//! entropy is known, and across a break.

use burn::tensor::TensorData;
use burn::tensor::activation::log_softmax;

use super::*;
use crate::data::Tokens;
use crate::generate::{Choice, Writer};
use crate::rng;
use crate::testing::{Fixture, change, config, expect_all_close, expect_close, gradients_of};

/// The cases of `fixtures/char_rnn.py`.
const CASES: [&str; 2] = ["lstm", "gru"];
/// Log-probabilities and losses relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients: more roundings.
const GRADIENT: f64 = 2e-5;
/// What ten steps changed, relative to the largest change of an array: both rules divide each gradient by its own size at
/// first, so that the rounding of small ones is felt in full.
const CHANGE: f64 = 5e-4;

const TEXT: TokenShape = TokenShape { values: 9, beginnings: 0, length: None };

fn tokens_of(values: Vec<u32>, columns: usize, device: &Device) -> Tensor<2, Int> {
    let rows = values.len() / columns;
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

fn start(config: &CharRnnConfig, text: Vec<u32>, shape: TokenShape, batch: usize) -> Training {
    let device = Device::flex().autodiff();
    let tokens = Tokens::of_documents(&[text], None, shape);
    let windows = Windows::new(tokens, batch, config.context, 5, &device).unwrap();
    Training::new(config.init(shape, 1, &device).unwrap(), windows, 2)
}

/// A model in training with the first weights of `case`, and the tokens of its steps. Its windows are not used.
fn training(fixture: &Fixture, case: &str) -> (Training, Vec<Tensor<2, Int>>) {
    let device = Device::flex().autodiff();
    let config: CharRnnConfig = config(fixture.case(case));
    let mut training = start(&config, vec![0; 20], TEXT, 1);
    training.restore(&fixture.weights(&format!("{case}.initial"), &device), &Weights::default()).unwrap();
    let all = fixture.array(&format!("{case}.tokens"));
    let values: Vec<u32> = all.data.iter().map(|&value| value as u32).collect();
    let size = all.shape[1] * all.shape[2];
    let steps = values.chunks_exact(size).map(|step| tokens_of(step.to_vec(), all.shape[2], &device));
    (training, steps.collect())
}

#[test]
fn first_log_probabilities_and_gradients_are_those_of_pytorch() {
    let fixture = Fixture::read("char_rnn");
    for case in CASES {
        let (training, tokens) = training(&fixture, case);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
        let (log_probs, _) = training.model.log_probs(tokens[0].clone(), &[], &mut Dropout::none());
        expect_close("log p", log_probs.clone(), theirs("log_probs"), FORWARD);
        let loss = log_probs.mean().neg();
        expect_close("loss", loss.clone(), theirs("loss"), FORWARD);
        let time = training.model.config.context as f64;
        let ours = gradients_of("network", &training.model.network, &(loss * time).backward());
        expect_all_close(&ours, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_that_go_on_from_one_another_are_those_of_pytorch() {
    let fixture = Fixture::read("char_rnn");
    for case in CASES {
        let (mut training, tokens) = training(&fixture, case);
        let step = |tokens| training.learn(tokens, &mut Dropout::none(), 1.0).read()[0].1 as f32;
        let losses: Vec<f32> = tokens.into_iter().map(step).collect();
        let losses = Tensor::<1>::from_data(TensorData::new(losses, [10]), &Device::flex());
        expect_close("losses", losses, fixture.array(&format!("{case}.losses")), FORWARD);
        let (initial, theirs) =
            (fixture.arrays(&format!("{case}.initial")), fixture.arrays(&format!("{case}.final")));
        let ours = training.weights().to_arrays();
        expect_all_close(&change(&initial, &ours), &change(&initial, &theirs), CHANGE);
    }
}

fn small(cell: CellKind, embedding: usize) -> CharRnnConfig {
    CharRnnConfig { cell, embedding, width: 14, context: 8, init: 0.8, levels: 2, ..CharRnnConfig::default() }
}

const BOTH: [(CellKind, usize); 2] = [(CellKind::Lstm, 0), (CellKind::Gru, 6)];

fn draw(count: usize, below: u64) -> Vec<u32> {
    let mut generator = rng::generator(8, "test", below);
    (0..count).map(|_| rng::below(&mut generator, below) as u32).collect()
}

fn logits(model: &CharRnn, tokens: Tensor<2, Int>) -> Tensor<2> {
    model.network.forward(tokens, &[], &mut Dropout::none()).0
}

#[test]
fn forget_gates_begin_open() {
    let model = small(CellKind::Lstm, 0).init(TEXT, 0, &Device::flex().autodiff()).unwrap();
    let weights = Weights::of("network", &model.network).to_arrays();
    for layer in 0..2 {
        let bias = &weights[&format!("network.layers.{layer}.Lstm.bias")].data;
        assert!(bias[14..28].iter().all(|&x| x == 1.0));
        assert!(bias[..14].iter().chain(&bias[28..]).all(|&x| x.abs() <= 0.8 && x != 1.0));
    }
}

#[test]
fn no_logit_depends_on_a_later_token() {
    let device = Device::flex();
    for (cell, embedding) in BOTH {
        let model = small(cell, embedding).init(TEXT, 0, &device).unwrap();
        let values = draw(12, 9);
        let of = |values: &[u32]| {
            let tokens = tokens_of(values.to_vec(), values.len(), &device);
            logits(&model, tokens).into_data().iter::<f32>().collect::<Vec<_>>()
        };
        let all = of(&values);
        for changed in 0..12 {
            let mut other = values.clone();
            other[changed] = (other[changed] + 1) % 9;
            let other = of(&other);
            for place in 0..12 {
                let same = all[place * 9..][..9] == other[place * 9..][..9];
                assert_eq!(same, place < changed, "{cell:?}: logits {place}, change of token {changed}");
            }
        }
    }
}

#[test]
fn no_gradient_flows_to_a_later_token() {
    let device = Device::flex().autodiff();
    let model = small(CellKind::Gru, 6).init(TEXT, 0, &device).unwrap();
    for place in 0..9 {
        // Each token comes once, so that its row of the table is its own.
        let logits = logits(&model, tokens_of((0..9).collect(), 9, &device));
        let gradients = logits.narrow(0, place, 1).sum().backward();
        let table = &gradients_of("network", &model.network, &gradients)["network.table"];
        for (token, row) in table.data.chunks_exact(6).enumerate() {
            assert_eq!(row.iter().any(|&g| g != 0.0), token <= place, "logits {place}, token {token}");
        }
    }
}

#[test]
fn all_images_of_four_pixels_have_a_probability_of_one() {
    let device = Device::flex();
    let shape = TokenShape { values: 2, beginnings: 2, length: Some(4) };
    for (cell, embedding) in BOTH {
        let model = small(cell, embedding).init(shape, 0, &device).unwrap();
        for class in 0..2 {
            let image = |bits: u32| [2 + class].into_iter().chain((0..4).map(move |place| bits >> place & 1));
            let tokens = tokens_of((0..16).flat_map(image).collect(), 5, &device);
            let log_probs = TokenLikelihood::log_prob(&model, tokens).sum_dim(1);
            let total: f64 = log_probs.into_data().iter::<f64>().map(f64::exp).sum();
            assert!((total - 1.0).abs() < 1e-5, "{total}");
        }
    }
}

#[test]
fn cached_sampling_is_naive_sampling() {
    let device = Device::flex();
    let image = TokenShape { values: 2, beginnings: 3, length: Some(12) };
    let text = TokenShape { values: 8, beginnings: 1, length: None };
    for ((cell, embedding), shape) in BOTH.into_iter().zip([image, text]) {
        let model = small(cell, embedding).init(shape, 0, &device).unwrap();
        let classes = [Some(0), Some(shape.beginnings as u32 - 1), None];
        let mut writer = Writer::new(&model, 9, 20..23, &classes, Choice::default());
        let written: Vec<Vec<u32>> = (0..12).map(|_| writer.next(&[None; 3])).collect();
        for (row, &class) in classes.iter().enumerate() {
            let mut generator = rng::generator(9, "value", 20 + row as u64);
            let mut tokens: Vec<u32> = shape.beginning(class).into_iter().collect();
            for values in &written {
                let length = tokens.len();
                let law = logits(&model, tokens_of(tokens.clone(), length, &device));
                let law = log_softmax(law.narrow(0, length - 1, 1), 1);
                let law: Vec<f32> = law.into_data().iter::<f32>().collect();
                let value = Choice::default().choose(&law, rng::unit_f64(&mut generator));
                assert_eq!(values[row], value, "{cell:?}: value {length}");
                tokens.push(value);
            }
        }
    }
}

/// All laws along each of `sequences` as their reader gives them.
fn read_all(model: &CharRnn, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let mut reader = model.reader(&vec![None; sequences.len()]);
    let alphabet = model.alphabet();
    let mut laws = vec![Vec::new(); sequences.len()];
    for place in 0..sequences[0].len() {
        for (all, law) in laws.iter_mut().zip(reader.laws().chunks_exact(alphabet)) {
            all.extend_from_slice(law);
        }
        reader.push(&sequences.iter().map(|values| values[place]).collect::<Vec<_>>());
    }
    laws
}

#[test]
fn laws_are_the_same_to_the_bit_in_any_company_and_with_any_threads() {
    for (cell, embedding) in BOTH {
        let model = small(cell, embedding).init(TEXT, 0, &Device::flex()).unwrap();
        let sequences: Vec<Vec<u32>> = (0..16).map(|i| draw(40 + i, 9)[i..].to_vec()).collect();
        let alone: Vec<Vec<f32>> =
            sequences.iter().flat_map(|one| read_all(&model, std::slice::from_ref(one))).collect();
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| read_all(&model, &sequences[..3])), alone[..3]);
            assert_eq!(pool.install(|| read_all(&model, &sequences)), alone);
        }
    }
}

#[test]
fn the_learning_rate_falls_epoch_by_epoch_from_the_tenth_on() {
    let config = CharRnnConfig::default();
    let factors = [0, 9, 10, 12].map(|epoch| config.decay(epoch));
    assert_eq!(factors, [1.0, 1.0, 0.97, 0.97f64.powi(3)]);
}

/// A source of three symbols: the next is the one before last, or else, with a probability of 1/4, one of the three by chance.
fn echo(count: usize) -> Vec<u32> {
    let mut generator = rng::generator(6, "test", 0);
    let mut values = vec![0, 1];
    while values.len() < count {
        let chance = rng::below(&mut generator, 4) == 0;
        let drawn = rng::below(&mut generator, 3) as u32;
        values.push(if chance { drawn } else { values[values.len() - 2] });
    }
    values
}

/// Its entropy: the echo has 3/4 + 1/12, the two others 1/12 each.
fn entropy() -> f64 {
    let (echo, other) = (10.0f64 / 12.0, 1.0f64 / 12.0);
    -(echo * echo.ln() + 2.0 * other * other.ln())
}

fn learner(cell: CellKind, optimizer: Mover, dropout: f64) -> Training {
    let shape = TokenShape { values: 3, beginnings: 0, length: None };
    let config = CharRnnConfig {
        context: 16,
        optimizer,
        dropout,
        init: 0.2,
        learning_rate: 0.01,
        decay_after: 1,
        ..small(cell, 0)
    };
    start(&config, echo(16 * 16 * 100), shape, 16)
}

#[test]
fn an_echo_is_learned_to_its_entropy() {
    for (cell, optimizer) in [(CellKind::Lstm, Mover::RmsProp), (CellKind::Gru, Mover::AdamW)] {
        let mut training = learner(cell, optimizer, 0.0);
        let mut late = 0.0;
        for step in 0..200 {
            let nll = training.step(step, 1.0 - step as f64 / 200.0).read()[0].1;
            late += if step >= 180 { nll / 20.0 } else { 0.0 };
        }
        // 20 × 256 tokens: a standard error of about 0.01.
        assert!((late - entropy()).abs() < 0.04, "{cell:?}: {late}, entropy {}", entropy());
    }
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    for (cell, optimizer) in [(CellKind::Lstm, Mover::RmsProp), (CellKind::Gru, Mover::AdamW)] {
        let mut unbroken = learner(cell, optimizer, 0.1);
        (0..6).for_each(|step| drop(unbroken.step(step, 1.0)));
        let mut first = learner(cell, optimizer, 0.1);
        (0..3).for_each(|step| drop(first.step(step, 1.0)));
        let saved = (first.weights().to_arrays(), first.optimizer_state().to_arrays());
        assert!(saved.1.keys().any(|name| name.starts_with("streams.")), "the states of streams are saved");
        let mut second = learner(cell, optimizer, 0.1);
        let place = Device::flex();
        let (weights, state) = (Weights::from_arrays(saved.0, &place), Weights::from_arrays(saved.1, &place));
        second.restore(&weights, &state).unwrap();
        (3..6).for_each(|step| drop(second.step(step, 1.0)));
        assert_eq!(second.weights().to_arrays(), unbroken.weights().to_arrays());
        assert_eq!(second.optimizer_state().to_arrays(), unbroken.optimizer_state().to_arrays());
    }
}

#[test]
fn settings_that_do_not_fit_are_refused_by_name() {
    let refused = |config: CharRnnConfig| config.init(TEXT, 0, &Device::flex()).unwrap_err().to_string();
    let small = || small(CellKind::Lstm, 0);
    assert!(refused(CharRnnConfig { layers: 0, ..small() }).contains("char-rnn.layers"));
    assert!(refused(CharRnnConfig { dropout: 1.0, ..small() }).contains("char-rnn.dropout"));
    assert!(refused(CharRnnConfig { levels: 1, ..small() }).contains("char-rnn.levels"));
}
