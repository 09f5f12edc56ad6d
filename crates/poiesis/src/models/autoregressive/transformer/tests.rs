//! The transformer against PyTorch, as a model of probabilities, its reader against the whole network, on sources whose
//! entropy is known, and across a break.

use burn::tensor::activation::log_softmax;

use super::*;
use crate::data::Tokens;
use crate::evaluate::token_nll;
use crate::generate::Choice;
use crate::models::autoregressive::testing::sequences::{
    draw, echo, entropy_of_echo, expect_images_to_sum_to_one, expect_naive_writing, expect_no_look_ahead,
    expect_same_bits_in_any_company, expect_ten_steps, read_all, tokens_of, tokens_of_steps,
};
use crate::rng;
use crate::testing::{Fixture, config, expect_all_close, expect_close, expect_exact_resume, gradients_of};

/// The cases of `parity.py`.
const CASES: [&str; 2] = ["adamw", "muon"];
/// Log-probabilities and losses relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients: more roundings.
const GRADIENT: f64 = 2e-5;
/// What ten steps changed, relative to the largest change of an array: Adam divides each gradient by its own size at first,
/// and Muon each direction, so that the rounding of small ones is felt in full.
const CHANGE: f64 = 1e-3;

const TEXT: TokenShape = TokenShape { values: 11, beginnings: 0, length: None };

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
    (training, tokens_of_steps(fixture, case, &device))
}

#[test]
fn first_log_probabilities_and_gradients_are_those_of_pytorch() {
    let fixture = Fixture::read("autoregressive/transformer");
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
    let fixture = Fixture::read("autoregressive/transformer");
    for case in CASES {
        let (mut training, tokens) = training(&fixture, case);
        let step = |tokens| training.learn(tokens, &mut Dropout::none(), 1.0).read()[0].1 as f32;
        let losses: Vec<f32> = tokens.into_iter().map(step).collect();
        expect_ten_steps(&fixture, case, losses, &training, [FORWARD, CHANGE]);
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

#[test]
fn no_logit_depends_on_a_later_token() {
    let device = Device::flex();
    let model = lively(&small(), TEXT, &device);
    let values = draw(12, 11);
    let logits = |values: &[u32]| {
        let tokens = tokens_of(values.to_vec(), values.len(), &device);
        model.network.forward(tokens, &mut Dropout::none()).into_data().iter::<f32>().collect::<Vec<_>>()
    };
    expect_no_look_ahead(&values, 11, 12, logits);
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
    expect_images_to_sum_to_one(&model, &device);
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
        expect_naive_writing(&model, shape, Choice::default(), 12, |tokens| {
            naive_law(&model, tokens, &device)
        });
    }
}

#[test]
fn laws_are_the_same_to_the_bit_in_any_company_and_with_any_threads() {
    let device = Device::flex();
    let model = lively(&small(), TEXT, &device);
    // Longer than the context, so that readers begin anew.
    let sequences: Vec<Vec<u32>> = (0..16).map(|i| draw(40 + i, 11)[i..].to_vec()).collect();
    let alone = expect_same_bits_in_any_company(&model, &sequences, &[None; 16]);
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
        assert!(laws == read_all(&model, &images, &[None; 5]).concat());
    }
}

#[test]
fn a_reader_sees_what_windows_of_validation_see() {
    let device = Device::flex();
    let model = lively(&small(), TEXT, &device);
    let values = draw(60, 11);
    let laws = &read_all(&model, std::slice::from_ref(&values), &[None])[0];
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

fn learner(optimizer: Rate, dropout: f64) -> Training {
    let shape = TokenShape { values: 3, beginnings: 0, length: None };
    let config = TransformerConfig { context: 16, optimizer, dropout, weight_decay: 0.0, ..small() };
    let windows = windows(&[echo(20_000)], shape, 16, 16);
    Training::new(config.init(shape, 1, &Device::flex().autodiff()).unwrap(), windows, 2)
}

#[test]
fn an_echo_is_learned_to_its_entropy_of_echo() {
    for optimizer in [Rate::AdamW, Rate::Muon] {
        let mut training = learner(optimizer, 0.0);
        let mut late = 0.0;
        for step in 0..150 {
            let nll = training.step(step, 1.0 - step as f64 / 150.0).read()[0].1;
            late += if step >= 130 { nll / 20.0 } else { 0.0 };
        }
        // 20 × 256 tokens: a standard error of about 0.01. The first token of a window has no token before last.
        let first = (3.0f64.ln() - entropy_of_echo()) / 16.0;
        assert!(
            (late - entropy_of_echo() - first).abs() < 0.04,
            "{optimizer:?}: {late}, entropy {}",
            entropy_of_echo()
        );
    }
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    let device = Device::flex().autodiff();
    for optimizer in [Rate::AdamW, Rate::Muon] {
        expect_exact_resume(|| learner(optimizer, 0.1), &device);
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
