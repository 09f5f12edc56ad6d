//! The transformer against PyTorch, as a model of probabilities, its decoder against the whole network, on sources whose
//! entropy is known, and across a break.

use burn::tensor::Device;
use burn::tensor::activation::log_softmax;

use super::*;
use crate::data::{Tokens, Windows};
use crate::evaluate::token_nll;
use crate::generate::SamplingParams;
use crate::model::Learner;
use crate::models::autoregressive::testing::sequences::{
    draw, echo, entropy_of_echo, expect_first, expect_images_to_sum_to_one, expect_naive_writing,
    expect_no_gradient_ahead, expect_no_look_ahead, expect_same_bits_in_any_batch, expect_ten_steps,
    late_nll, read_all, started, tokens_of,
};
use crate::nn::StateDict;
use crate::rng;
use crate::testing::{Fixture, expect_conforms, expect_exact_resume, settings};

/// The cases of `parity.py`.
const CASES: [&str; 2] = ["adamw", "muon"];
/// What ten steps changed, relative to the largest change of an array: Adam divides each gradient by its own size at first,
/// and Muon each direction, so that the rounding of small ones is felt in full.
const CHANGE: f64 = 1e-3;

const TEXT: TokenShape = TokenShape { values: 11, beginnings: 0, length: None, unlabelled: false };

fn windows(documents: &[Vec<u32>], shape: TokenShape, batch: usize, context: usize) -> Windows {
    let tokens = Tokens::of_documents(documents, None, shape);
    Windows::new(tokens, batch, context, 5, &Device::flex().autodiff()).unwrap()
}

/// A model in training with the first weights of `case`, and the tokens of its steps. Its windows are not used.
fn training(fixture: &Fixture, case: &str) -> (Learner<Transformer>, Vec<Tensor<2, Int>>) {
    let device = Device::flex().autodiff();
    let (config, optimizer) = settings::<Transformer>(fixture.case(case));
    let model = Transformer::for_tokens(&config, TEXT, &mut Init::new(0, &device));
    let windows = windows(&[vec![0; 20]], TEXT, 1, config.context);
    started(Learner::of(model, &config, &optimizer, windows.into(), 1, &device), fixture, case)
}

#[test]
fn first_log_probabilities_and_gradients_are_those_of_pytorch() {
    let fixture = Fixture::read("autoregressive/transformer");
    for case in CASES {
        let (training, tokens) = training(&fixture, case);
        let log_probs = training.model.log_probs(tokens[0].clone(), &mut Dropout::none());
        expect_first(&fixture, case, &training.model.network, log_probs, 1.0);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let fixture = Fixture::read("autoregressive/transformer");
    for case in CASES {
        expect_ten_steps(&fixture, case, training(&fixture, case), CHANGE, |model, _, tokens, step| {
            model.update(tokens, &mut Dropout::none(), step)
        });
    }
}

fn small() -> TransformerConfig {
    TransformerConfig {
        context: 12,
        width: 24,
        layers: 2,
        heads: 3,
        kv_heads: 1,
        hidden_dim: 20,
        levels: 2,
        ..TransformerConfig::default()
    }
}

/// A network whose layers all matter: first weights, but larger ones where they begin small.
fn lively(config: &TransformerConfig, shape: TokenShape, device: &Device) -> Transformer {
    let model = Transformer::for_tokens(config, shape, &mut Init::new(3, device));
    let mut arrays = StateDict::of(&model).to_arrays();
    for (number, (_, array)) in arrays.iter_mut().enumerate().filter(|(_, (_, array))| array.shape.len() == 2)
    {
        let fan_in = array.shape[0] as f32;
        let draws = rng::normal(&mut rng::generator(4, "test", number as u64), array.data.len());
        array.data = draws.iter().map(|x| x * 1.5 / fan_in.sqrt()).collect();
    }
    StateDict::from_arrays(arrays, device).load_into(model).unwrap()
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
    let logits = |tokens| model.network.forward(tokens, &mut Dropout::none());
    expect_no_gradient_ahead(&model.network, "network.embedding", 10, logits);
}

#[test]
fn all_images_of_four_pixels_have_a_probability_of_one() {
    expect_images_to_sum_to_one(|shape| lively(&small(), shape, &Device::flex()));
}

#[test]
fn dropout_drops_its_part_and_keeps_the_mean() {
    let ones = Tensor::<3>::ones([10, 100, 50], &Device::flex());
    let (device, mut optimizers) = (Device::flex(), std::collections::BTreeMap::new());
    let mut dropped = |number| {
        let step = Step::for_test(number, 1, &device, &mut optimizers);
        Dropout::of_step(0.3, &step, 2).apply(ones.clone())
    };
    let values: Vec<f32> = dropped(0).into_data().iter::<f32>().collect();
    let zeros = values.iter().filter(|&&x| x == 0.0).count() as f64 / 5e4;
    assert!((zeros - 0.3).abs() < 0.01, "{zeros}");
    assert!(values.iter().all(|&x| x == 0.0 || (x - 1.0 / 0.7).abs() < 1e-6));
    assert_ne!(values, dropped(1).into_data().iter::<f32>().collect::<Vec<_>>());
}

/// The log-probabilities of the next token by the whole network on the whole sequence.
fn naive_log_probs(model: &Transformer, tokens: &[u32], device: &Device) -> Vec<f32> {
    let logits =
        model.network.forward(tokens_of(tokens.to_vec(), tokens.len(), device), &mut Dropout::none());
    let last = logits.dims()[0] - 1;
    log_softmax(logits.narrow(0, last, 1), 1).into_data().iter::<f32>().collect()
}

#[test]
fn cached_sampling_is_naive_sampling() {
    let device = Device::flex();
    let image = TokenShape { values: 2, beginnings: 3, length: Some(12), unlabelled: false };
    let text = TokenShape { values: 10, beginnings: 1, length: None, unlabelled: false };
    let grouped = TransformerConfig { kv_heads: 3, tied: true, ..small() };
    for (config, shape) in [(small(), image), (small(), text), (grouped, text)] {
        let model = lively(&config, shape, &device);
        expect_naive_writing(&model, shape, SamplingParams::default(), 12, |tokens| {
            naive_log_probs(&model, tokens, &device)
        });
    }
}

#[test]
fn log_probs_have_the_same_bits_in_any_batch_and_with_any_threads() {
    let device = Device::flex();
    let model = lively(&small(), TEXT, &device);
    // Longer than the context, so that decoders start again.
    let sequences: Vec<Vec<u32>> = (0..16).map(|i| draw(40 + i, 11)[i..].to_vec()).collect();
    let alone = expect_same_bits_in_any_batch(&model, &sequences, &[None; 16]);
    // Values that are read at once give what values read one after another do.
    let mut decoder = model.decoder(&[None]);
    for &value in &sequences[0][..39] {
        decoder.append(&[value]);
    }
    assert_eq!(decoder.log_probs(), &alone[0][39 * 11..]);
}

#[test]
fn all_log_probs_of_images_are_those_of_the_decoder_to_the_bit() {
    let shape = TokenShape { values: 4, beginnings: 1, length: Some(60), unlabelled: false };
    let model = lively(&small(), shape, &Device::flex());
    let images: Vec<Vec<u32>> = (0..5).map(|i| draw(60 + i, 4)[i..].to_vec()).collect();
    let each: Vec<&[u32]> = images.iter().map(Vec::as_slice).collect();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let log_probs = pool.install(|| model.all_log_probs(&each, &[None; 5]).unwrap());
        assert!(log_probs == read_all(&model, &images, &[None; 5]).concat());
    }
}

#[test]
fn a_decoder_sees_what_windows_of_validation_see() {
    let device = Device::flex();
    let model = lively(&small(), TEXT, &device);
    let values = draw(60, 11);
    let log_probs = &read_all(&model, std::slice::from_ref(&values), &[None])[0];
    // All windows but the last end with the text.
    let counted = 12 + 6 * 7;
    let read: f64 =
        (1..=counted).map(|place| f64::from(log_probs[place * 11 + values[place] as usize])).sum();
    let tokens = Tokens::of_documents(&[values], None, TEXT);
    let windows = token_nll(&model, &tokens, u64::MAX, &device, &mut |_| ());
    assert_eq!(windows.tokens, counted as u64);
    assert!((windows.nats + read / counted as f64).abs() < 1e-5, "{} {}", windows.nats, read);
}

fn learner(kind: OptimizerKind, dropout: f64) -> Learner<Transformer> {
    let (shape, device) =
        (TokenShape { values: 3, beginnings: 0, length: None, unlabelled: false }, Device::flex().autodiff());
    let config = TransformerConfig { context: 16, dropout, ..small() };
    let defaults = (Transformer::ABOUT.optimizer)();
    let optimizer = OptimizerConfig { kind, weight_decay: 0.0, muon_weight_decay: 0.0, ..defaults };
    let windows = windows(&[echo(20_000)], shape, 16, 16);
    let model = Transformer::for_tokens(&config, shape, &mut Init::new(1, &device));
    Learner::of(model, &config, &optimizer, windows.into(), 2, &device)
}

#[test]
fn an_echo_is_learned_to_its_entropy_of_echo() {
    for optimizer in [OptimizerKind::AdamW, OptimizerKind::Muon] {
        let late = late_nll(&mut learner(optimizer, 0.0), 150);
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
    // Muon, the default, is resumed where the model conforms.
    expect_exact_resume(|| Box::new(learner(OptimizerKind::AdamW, 0.1)), &device);
}

#[test]
fn it_conforms() {
    expect_conforms::<Transformer>(
        "width=16 layers=1 heads=2 context=16 dropout=0.1",
        &["heads=5", "kv_heads=3", "layers=0", "dropout=1.0", "levels=1"],
    );
}
