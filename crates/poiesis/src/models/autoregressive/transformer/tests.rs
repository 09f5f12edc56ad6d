//! The transformer against PyTorch, as a model of probabilities, its reader against the whole network, on sources whose
//! entropy is known, and across a break.

use burn::tensor::TensorData;
use burn::tensor::activation::log_softmax;

use super::*;
use crate::data::Tokens;
use crate::evaluate::token_nll;
use crate::generate::{Choice, Writer};
use crate::rng;
use crate::testing::{Fixture, change, config, expect_all_close, expect_close, gradients_of};

/// The cases of `fixtures/transformer.py`.
const CASES: [&str; 2] = ["adamw", "muon"];
/// Log-probabilities and losses relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients: more roundings.
const GRADIENT: f64 = 2e-5;
/// What ten steps changed, relative to the largest change of an array: Adam divides each gradient by its own size at first,
/// and Muon each direction, so that the rounding of small ones is felt in full.
const CHANGE: f64 = 1e-3;

const TEXT: TokenShape = TokenShape { values: 11, beginnings: 0, length: None };

fn tokens_of(values: Vec<u32>, columns: usize, device: &Device) -> Tensor<2, Int> {
    let rows = values.len() / columns;
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

fn windows(documents: &[Vec<u32>], shape: TokenShape, batch: usize, context: usize) -> Windows {
    let tokens = Tokens::of_documents(documents, None, shape);
    Windows::new(tokens, batch, context, 5, &Device::flex().autodiff()).unwrap()
}

/// A model in training with the first weights of `case`, and the tokens of its steps. Its windows are not used.
fn training(fixture: &Fixture, case: &str) -> (Training, Vec<Tensor<2, Int>>) {
    let device = Device::flex().autodiff();
    let config: TransformerConfig = config(fixture.case(case));
    let model = config.init(TEXT, 0, &device).unwrap();
    let mut training = Training::new(model, windows(&[vec![0; 20]], TEXT, 1, config.context), 1);
    training.restore(&fixture.weights(&format!("{case}.initial"), &device), &Weights::default()).unwrap();
    let all = fixture.array(&format!("{case}.tokens"));
    let values: Vec<u32> = all.data.iter().map(|&value| value as u32).collect();
    let size = all.shape[1] * all.shape[2];
    let steps = values.chunks_exact(size).map(|step| tokens_of(step.to_vec(), all.shape[2], &device));
    (training, steps.collect())
}

#[test]
fn first_log_probabilities_and_gradients_are_those_of_pytorch() {
    let fixture = Fixture::read("transformer");
    for case in CASES {
        let (training, tokens) = training(&fixture, case);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
        let log_probs = training.model.log_probs(tokens[0].clone(), &mut Dropout::none());
        expect_close("log p", log_probs.clone(), theirs("log_probs"), FORWARD);
        let loss = log_probs.mean().neg();
        expect_close("loss", loss.clone(), theirs("loss"), FORWARD);
        let ours = gradients_of("network", &training.model.network, &loss.backward());
        expect_all_close(&ours, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let fixture = Fixture::read("transformer");
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

fn small() -> TransformerConfig {
    TransformerConfig {
        context: 12,
        width: 24,
        layers: 2,
        heads: 3,
        kv_heads: 1,
        hidden: 20,
        levels: 2,
        ..TransformerConfig::default()
    }
}

/// A network whose layers all matter: first weights, but larger ones where they begin small.
fn lively(config: &TransformerConfig, shape: TokenShape, device: &Device) -> Transformer {
    let mut model = config.init(shape, 3, device).unwrap();
    let mut arrays = Weights::of("network", &model.network).to_arrays();
    for (number, (_, array)) in arrays.iter_mut().enumerate().filter(|(_, (_, array))| array.shape.len() == 2)
    {
        let fan_in = array.shape[0] as f32;
        let draws = rng::normal(&mut rng::generator(4, "test", number as u64), array.data.len());
        array.data = draws.iter().map(|x| x * 1.5 / fan_in.sqrt()).collect();
    }
    let weights = Weights::from_arrays(arrays, device);
    model.network = weights.put_into("network", model.network).unwrap();
    model
}

fn draw(count: usize, below: u64) -> Vec<u32> {
    let mut generator = rng::generator(8, "test", below);
    (0..count).map(|_| rng::below(&mut generator, below) as u32).collect()
}

#[test]
fn no_logit_depends_on_a_later_token() {
    let device = Device::flex();
    let model = lively(&small(), TEXT, &device);
    let values = draw(12, 11);
    let logits = |values: &[u32]| {
        let tokens = tokens_of(values.to_vec(), values.len(), &device);
        model.network.forward(tokens, &mut Dropout::none()).into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let all = logits(&values);
    for changed in 0..12 {
        let mut other = values.clone();
        other[changed] = (other[changed] + 1) % 11;
        let other = logits(&other);
        for place in 0..12 {
            let same = all[place * 11..][..11] == other[place * 11..][..11];
            assert_eq!(same, place < changed, "logits {place} after a change of token {changed}");
        }
    }
}

#[test]
fn no_gradient_flows_to_a_later_token() {
    let device = Device::flex().autodiff();
    let model = lively(&small(), TEXT, &device);
    for place in 0..10 {
        // Each token comes once, so that its row of the table is its own.
        let tokens = tokens_of((0..10).collect(), 10, &device);
        let logits = model.network.forward(tokens, &mut Dropout::none());
        let gradients = logits.narrow(0, place, 1).sum().backward();
        let table = &gradients_of("network", &model.network, &gradients)["network.embedding"];
        for (token, row) in table.data.chunks_exact(24).enumerate() {
            assert_eq!(row.iter().any(|&g| g != 0.0), token <= place, "logits {place}, token {token}");
        }
    }
}

#[test]
fn all_images_of_four_pixels_have_a_probability_of_one() {
    let device = Device::flex();
    let shape = TokenShape { values: 2, beginnings: 2, length: Some(4) };
    let model = lively(&small(), shape, &device);
    for class in 0..2 {
        let image = |bits: u32| [2 + class].into_iter().chain((0..4).map(move |place| bits >> place & 1));
        let tokens = tokens_of((0..16).flat_map(image).collect(), 5, &device);
        let log_probs = TokenLikelihood::log_prob(&model, tokens).sum_dim(1);
        let total: f64 = log_probs.into_data().iter::<f64>().map(f64::exp).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
    }
}

#[test]
fn dropout_drops_its_part_and_keeps_the_mean() {
    let ones = Tensor::<3>::ones([10, 100, 50], &Device::flex());
    let dropped = |step| Dropout::of_step(0.3, 1, step, 2).apply(ones.clone());
    let values: Vec<f32> = dropped(0).into_data().iter::<f32>().collect();
    let zeros = values.iter().filter(|&&x| x == 0.0).count() as f64 / 5e4;
    assert!((zeros - 0.3).abs() < 0.01, "{zeros}");
    assert!(values.iter().all(|&x| x == 0.0 || (x - 1.0 / 0.7).abs() < 1e-6));
    assert_ne!(values, dropped(1).into_data().iter::<f32>().collect::<Vec<_>>());
}

/// The law of the next token by the whole network on the whole sequence.
fn naive_law(model: &Transformer, tokens: &[u32], device: &Device) -> Vec<f32> {
    let logits =
        model.network.forward(tokens_of(tokens.to_vec(), tokens.len(), device), &mut Dropout::none());
    let last = logits.dims()[0] - 1;
    log_softmax(logits.narrow(0, last, 1), 1).into_data().iter::<f32>().collect()
}

#[test]
fn cached_sampling_is_naive_sampling() {
    let device = Device::flex();
    let image = TokenShape { values: 2, beginnings: 3, length: Some(12) };
    let text = TokenShape { values: 10, beginnings: 1, length: None };
    let grouped = TransformerConfig { kv_heads: 3, tied: true, ..small() };
    for (config, shape) in [(small(), image), (small(), text), (grouped, text)] {
        let model = lively(&config, shape, &device);
        let classes = [Some(0), Some(shape.beginnings as u32 - 1), None];
        let mut writer = Writer::new(&model, 9, 20..23, &classes, Choice::default());
        let written: Vec<Vec<u32>> = (0..12).map(|_| writer.next(&[None; 3])).collect();
        for (row, &class) in classes.iter().enumerate() {
            let mut generator = rng::generator(9, "value", 20 + row as u64);
            let mut tokens: Vec<u32> = shape.beginning(class).into_iter().collect();
            for values in &written {
                let law = naive_law(&model, &tokens, &device);
                let value = Choice::default().choose(&law, rng::unit_f64(&mut generator));
                assert_eq!(values[row], value, "value {}", tokens.len());
                tokens.push(value);
            }
        }
    }
}

/// All laws along `sequences` as their reader gives them, `[time, sequences, alphabet]`.
fn read_all(model: &Transformer, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
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
    let device = Device::flex();
    let model = lively(&small(), TEXT, &device);
    // Longer than the context, so that readers begin anew.
    let sequences: Vec<Vec<u32>> = (0..16).map(|i| draw(40 + i, 11)[i..].to_vec()).collect();
    let alone: Vec<Vec<f32>> =
        sequences.iter().flat_map(|one| read_all(&model, std::slice::from_ref(one))).collect();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| read_all(&model, &sequences[..3])), alone[..3]);
        assert_eq!(pool.install(|| read_all(&model, &sequences)), alone);
    }
    // Values that are read at once give what values read one after another do.
    let mut reader = model.reader(&[None]);
    for &value in &sequences[0][..39] {
        reader.push(&[value]);
    }
    assert_eq!(reader.laws(), &alone[0][39 * 11..]);
}

#[test]
fn all_laws_of_images_are_those_of_the_reader_to_the_bit() {
    let shape = TokenShape { values: 4, beginnings: 1, length: Some(60) };
    let model = lively(&small(), shape, &Device::flex());
    let images: Vec<Vec<u32>> = (0..5).map(|i| draw(60 + i, 4)[i..].to_vec()).collect();
    let each: Vec<&[u32]> = images.iter().map(Vec::as_slice).collect();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let laws = pool.install(|| model.all_laws(&each, &[None; 5]).unwrap());
        assert!(laws == read_all(&model, &images).concat());
    }
}

#[test]
fn a_reader_sees_what_windows_of_validation_see() {
    let device = Device::flex();
    let model = lively(&small(), TEXT, &device);
    let values = draw(60, 11);
    let laws = &read_all(&model, std::slice::from_ref(&values))[0];
    // All windows but the last end with the text.
    let counted = 12 + 6 * 7;
    let read: f64 = (1..=counted).map(|place| f64::from(laws[place * 11 + values[place] as usize])).sum();
    let tokens = Tokens::of_documents(&[values], None, TEXT);
    let windows = token_nll(&model, &tokens, u64::MAX, &device, &mut |_| ());
    assert_eq!(windows.tokens, counted as u64);
    assert!((windows.nats + read / counted as f64).abs() < 1e-5, "{} {}", windows.nats, read);
}

#[test]
fn images_are_drawn_by_number_and_class() {
    let device = Device::flex();
    let shape = TokenShape { values: 2, beginnings: 2, length: Some(12) };
    let mut model = lively(&small(), shape, &device);
    model.image = Some(ImageShape { height: 3, width: 4, channels: 1 });
    let draw = |range| Sample::sample(&model, 1, range).into_data().iter::<f32>().collect::<Vec<_>>();
    let all = draw(0..4);
    assert_eq!(all.len(), 48);
    assert!(all.iter().all(|&x| x == 1.0 || x == -1.0));
    assert_eq!(draw(2..4), all[24..]);
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

fn learner(optimizer: Rate, dropout: f64) -> Training {
    let shape = TokenShape { values: 3, beginnings: 0, length: None };
    let config = TransformerConfig { context: 16, optimizer, dropout, weight_decay: 0.0, ..small() };
    let windows = windows(&[echo(20_000)], shape, 16, 16);
    Training::new(config.init(shape, 1, &Device::flex().autodiff()).unwrap(), windows, 2)
}

#[test]
fn an_echo_is_learned_to_its_entropy() {
    for optimizer in [Rate::AdamW, Rate::Muon] {
        let mut training = learner(optimizer, 0.0);
        let mut late = 0.0;
        for step in 0..150 {
            let nll = training.step(step, 1.0 - step as f64 / 150.0).read()[0].1;
            late += if step >= 130 { nll / 20.0 } else { 0.0 };
        }
        // 20 × 256 tokens: a standard error of about 0.01. The first token of a window has no token before last.
        let first = (3.0f64.ln() - entropy()) / 16.0;
        assert!((late - entropy() - first).abs() < 0.04, "{optimizer:?}: {late}, entropy {}", entropy());
    }
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    for optimizer in [Rate::AdamW, Rate::Muon] {
        let mut unbroken = learner(optimizer, 0.1);
        (0..6).for_each(|step| drop(unbroken.step(step, 1.0)));
        let mut first = learner(optimizer, 0.1);
        (0..3).for_each(|step| drop(first.step(step, 1.0)));
        let saved = (first.weights().to_arrays(), first.optimizer_state().to_arrays());
        let mut second = learner(optimizer, 0.1);
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
    let refused = |config: TransformerConfig| config.init(TEXT, 0, &Device::flex()).unwrap_err().to_string();
    assert!(refused(TransformerConfig { heads: 5, ..small() }).contains("transformer.heads"));
    assert!(refused(TransformerConfig { kv_heads: 2, ..small() }).contains("transformer.kv_heads"));
    assert!(refused(TransformerConfig { layers: 0, ..small() }).contains("transformer.layers"));
    assert!(refused(TransformerConfig { dropout: 1.0, ..small() }).contains("transformer.dropout"));
    assert!(refused(TransformerConfig { levels: 1, ..small() }).contains("transformer.levels"));
}
