//! The recurrent network against PyTorch, as a model of probabilities, its decoder against the whole network, on a source whose
//! entropy is known, and across a break.

use burn::tensor::Device;
use burn::tensor::activation::log_softmax;

use super::*;
use crate::data::{Tokens, Windows};
use crate::generate::SamplingParams;
use crate::model::{Learner, Session as _};
use crate::models::autoregressive::testing::sequences::{
    draw, echo, entropy_of_echo, expect_first, expect_images_to_sum_to_one, expect_naive_writing,
    expect_no_gradient_ahead, expect_no_look_ahead, expect_same_bits_in_any_batch, expect_ten_steps,
    late_nll, started, tokens_of,
};
use crate::nn::StateDict;
use crate::testing::{Fixture, expect_conforms, expect_exact_resume, settings};

/// The cases of `parity.py`.
const CASES: [&str; 2] = ["lstm", "gru"];
/// What ten steps changed, relative to the largest change of an array: both rules divide each gradient by its own size at
/// first, so that the rounding of small ones is felt in full.
const CHANGE: f64 = 5e-4;

const TEXT: TokenShape = TokenShape { values: 9, beginnings: 0, length: None, unlabelled: false };

fn init(config: &CharRnnConfig, shape: TokenShape, device: &Device) -> CharRnn {
    CharRnn::for_tokens(config, shape, &mut Init::new(0, device))
}

fn start(
    (config, optimizer): &(CharRnnConfig, OptimizerConfig),
    text: Vec<u32>,
    shape: TokenShape,
    batch: usize,
) -> Learner<CharRnn> {
    let device = Device::flex().autodiff();
    let tokens = Tokens::of_documents(&[text], None, shape);
    let windows = Windows::new(tokens, batch, config.context, 5, &device).unwrap();
    let model = CharRnn::for_tokens(config, shape, &mut Init::new(1, &device));
    Learner::of(model, config, optimizer, windows.into(), 2, &device)
}

/// A model in training with the first weights of `case`, and the tokens of its steps. Its windows are not used.
fn training(fixture: &Fixture, case: &str) -> (Learner<CharRnn>, Vec<Tensor<2, Int>>) {
    started(start(&settings::<CharRnn>(fixture.case(case)), vec![0; 20], TEXT, 1), fixture, case)
}

#[test]
fn first_log_probabilities_and_gradients_are_those_of_pytorch() {
    let fixture = Fixture::read("autoregressive/char_rnn");
    for case in CASES {
        let (training, tokens) = training(&fixture, case);
        let (log_probs, _) = training.model.log_probs(tokens[0].clone(), &[], &mut Dropout::none());
        let time = training.model.config.context as f64;
        expect_first(&fixture, case, &training.model.network, log_probs, time);
    }
}

#[test]
fn ten_steps_that_go_on_from_one_another_are_those_of_pytorch() {
    let fixture = Fixture::read("autoregressive/char_rnn");
    for case in CASES {
        expect_ten_steps(&fixture, case, training(&fixture, case), CHANGE, |model, data, tokens, step| {
            let (metrics, states) = model.update(tokens, &data.states, &mut Dropout::none(), step);
            data.states = states;
            metrics
        });
    }
}

fn small(cell: CellKind, embedding: usize) -> CharRnnConfig {
    CharRnnConfig { cell, embedding, width: 14, context: 8, init: 0.8, levels: 2, ..CharRnnConfig::default() }
}

const BOTH: [(CellKind, usize); 2] = [(CellKind::Lstm, 0), (CellKind::Gru, 6)];

fn logits(model: &CharRnn, tokens: Tensor<2, Int>) -> Tensor<2> {
    model.network.forward(tokens, &[], &mut Dropout::none()).0
}

#[test]
fn forget_gates_begin_open() {
    let model = init(&small(CellKind::Lstm, 0), TEXT, &Device::flex().autodiff());
    let weights = StateDict::of(&model).to_arrays();
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
        let model = init(&small(cell, embedding), TEXT, &device);
        let values = draw(12, 9);
        let of = |values: &[u32]| {
            let tokens = tokens_of(values.to_vec(), values.len(), &device);
            logits(&model, tokens).into_data().iter::<f32>().collect::<Vec<_>>()
        };
        expect_no_look_ahead(&values, 9, 12, of);
    }
}

#[test]
fn no_gradient_flows_to_a_later_token() {
    let device = Device::flex().autodiff();
    let model = init(&small(CellKind::Gru, 6), TEXT, &device);
    expect_no_gradient_ahead(&model.network, "network.table", 9, |tokens| logits(&model, tokens));
}

#[test]
fn all_images_of_four_pixels_have_a_probability_of_one() {
    for (cell, embedding) in BOTH {
        expect_images_to_sum_to_one(|shape| init(&small(cell, embedding), shape, &Device::flex()));
    }
}

#[test]
fn cached_sampling_is_naive_sampling() {
    let device = Device::flex();
    let image = TokenShape { values: 2, beginnings: 3, length: Some(12), unlabelled: false };
    let text = TokenShape { values: 8, beginnings: 1, length: None, unlabelled: false };
    for ((cell, embedding), shape) in BOTH.into_iter().zip([image, text]) {
        let model = init(&small(cell, embedding), shape, &device);
        expect_naive_writing(&model, shape, SamplingParams::default(), 12, |tokens| {
            let logits = logits(&model, tokens_of(tokens.to_vec(), tokens.len(), &device));
            log_softmax(logits.narrow(0, tokens.len() - 1, 1), 1).into_data().iter::<f32>().collect()
        });
    }
}

#[test]
fn log_probs_have_the_same_bits_in_any_batch_and_with_any_threads() {
    for (cell, embedding) in BOTH {
        let model = init(&small(cell, embedding), TEXT, &Device::flex());
        let sequences: Vec<Vec<u32>> = (0..16).map(|i| draw(40 + i, 9)[i..].to_vec()).collect();
        expect_same_bits_in_any_batch(&model, &sequences, &[None; 16]);
    }
}

#[test]
fn the_learning_rate_falls_epoch_by_epoch_from_the_tenth_on() {
    let config = CharRnnConfig::default();
    let factors = [0, 9, 10, 12].map(|epoch| config.decay(epoch));
    assert_eq!(factors, [1.0, 1.0, 0.97, 0.97f64.powi(3)]);
}

fn learner(cell: CellKind, kind: OptimizerKind, dropout: f64) -> Learner<CharRnn> {
    let shape = TokenShape { values: 3, beginnings: 0, length: None, unlabelled: false };
    let config = CharRnnConfig { context: 16, dropout, init: 0.2, decay_after: 1, ..small(cell, 0) };
    let optimizer = OptimizerConfig { kind, learning_rate: 0.01, ..(CharRnn::ABOUT.optimizer)() };
    start(&(config, optimizer), echo(16 * 16 * 100), shape, 16)
}

#[test]
fn an_echo_is_learned_to_its_entropy_of_echo() {
    for (cell, optimizer) in [(CellKind::Lstm, OptimizerKind::RmsProp), (CellKind::Gru, OptimizerKind::AdamW)]
    {
        let late = late_nll(&mut learner(cell, optimizer, 0.0), 200);
        // 20 × 256 tokens: a standard error of about 0.01.
        assert!((late - entropy_of_echo()).abs() < 0.04, "{cell:?}: {late}, entropy {}", entropy_of_echo());
    }
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    let device = Device::flex().autodiff();
    for (cell, optimizer) in [(CellKind::Lstm, OptimizerKind::RmsProp), (CellKind::Gru, OptimizerKind::AdamW)]
    {
        expect_exact_resume(|| Box::new(learner(cell, optimizer, 0.1)), &device);
        let mut training = learner(cell, optimizer, 0.1);
        training.step(0, 1.0).unwrap();
        let saved = training.training_state().to_arrays();
        assert!(saved.keys().any(|name| name.starts_with("streams.")), "the states of streams are saved");
    }
}

#[test]
fn it_conforms() {
    expect_conforms::<CharRnn>("width=16 context=16 dropout=0.1", &["layers=0", "dropout=1.0", "levels=1"]);
}
