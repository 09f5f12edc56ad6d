//! Time of a training step of a small decoder (nanoGPT's shape: learned positions, norms in front, GELU, no dropout):
//! `cargo run --release --example transformer_step -- --batch 12 --layers 4 --width 128 --heads 4 --context 64`.
#![expect(clippy::unwrap_used, reason = "a measurement for people, which may simply stop")]

use burn::tensor::{Device, Distribution, Gradients, Int, Tensor};
use poiesis_kernels::{
    Activation, AdamStep, AttentionOptions, attention_packed, categorical_log_prob, embedding, layer_norm,
    linear,
};

#[path = "common/mod.rs"]
mod common;
use common::{Arguments, Parameter, adam_step};

const VOCABULARY: usize = 65;

struct Norm(Parameter<1>, Parameter<1>);

impl Norm {
    fn new(width: usize, device: &Device) -> Self {
        Self(Parameter::new(Tensor::ones([width], device)), Parameter::new(Tensor::zeros([width], device)))
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        layer_norm(x, self.0.val(), Some(self.1.val()), 1e-5)
    }

    fn update(&mut self, gradients: &mut Gradients, step: &AdamStep) {
        self.0.update(gradients, step);
        self.1.update(gradients, step);
    }
}

struct Linear(Parameter<2>, Parameter<1>);

impl Linear {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        let bias = Parameter::new(Tensor::zeros([outputs], device));
        Self(Parameter::normal([inputs, outputs], 0.02, device), bias)
    }

    fn forward(&self, x: Tensor<3>, activation: Activation) -> Tensor<3> {
        linear(x, self.0.val(), Some(self.1.val()), activation)
    }

    fn update(&mut self, gradients: &mut Gradients, step: &AdamStep) {
        self.0.update(gradients, step);
        self.1.update(gradients, step);
    }
}

struct Block {
    norms: [Norm; 2],
    qkv: Linear,
    attended: Linear,
    up: Linear,
    down: Linear,
}

impl Block {
    fn new(width: usize, device: &Device) -> Self {
        Self {
            norms: [Norm::new(width, device), Norm::new(width, device)],
            qkv: Linear::new(width, 3 * width, device),
            attended: Linear::new(width, width, device),
            up: Linear::new(width, 4 * width, device),
            down: Linear::new(4 * width, width, device),
        }
    }

    fn forward(&self, x: Tensor<3>, heads: usize) -> Tensor<3> {
        let [batch, time, width] = x.dims();
        let options = AttentionOptions { causal: true, scale: None };
        let qkv = self.qkv.forward(self.norms[0].forward(x.clone()), Activation::Identity);
        let y = attention_packed(qkv.reshape([batch, time, 3 * heads, width / heads]), heads, &options);
        let x = x + self.attended.forward(y.reshape([batch, time, width]), Activation::Identity);
        let hidden = self.up.forward(self.norms[1].forward(x.clone()), Activation::Gelu);
        x + self.down.forward(hidden, Activation::Identity)
    }

    fn update(&mut self, gradients: &mut Gradients, step: &AdamStep) {
        for norm in &mut self.norms {
            norm.update(gradients, step);
        }
        for linear in [&mut self.qkv, &mut self.attended, &mut self.up, &mut self.down] {
            linear.update(gradients, step);
        }
    }
}

/// The number after `name` on the command line.
fn option(words: &[String], name: &str, default: usize) -> usize {
    words.iter().position(|word| word == name).map_or(default, |i| words[i + 1].parse().unwrap())
}

fn main() {
    let arguments = Arguments::read(12, 20);
    let layers = option(&arguments.words, "--layers", 4);
    let width = option(&arguments.words, "--width", 128);
    let heads = option(&arguments.words, "--heads", 4);
    let context = option(&arguments.words, "--context", 64);
    let batch = arguments.batch;
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    device.seed(1);
    let mut tokens = Parameter::normal([VOCABULARY, width], 1.0, &device);
    let mut positions = Parameter::normal([context, width], 0.02, &device);
    let mut blocks: Vec<Block> = (0..layers).map(|_| Block::new(width, &device)).collect();
    let mut norm = Norm::new(width, &device);
    let mut head = Linear::new(width, VOCABULARY, &device);
    arguments.measure(|i| {
        let shape = [batch * context];
        let draw = || -> Tensor<1, Int> {
            Tensor::random(shape, Distribution::Uniform(0.0, VOCABULARY as f64), &device)
        };
        let (inputs, targets) = (draw(), draw());
        let x = embedding(tokens.val(), inputs.reshape([batch, context]));
        let mut x = x + positions.val().unsqueeze();
        for block in &blocks {
            x = block.forward(x, heads);
        }
        let logits = head.forward(norm.forward(x), Activation::Identity);
        let logits = logits.reshape([batch * context, VOCABULARY]);
        let loss = -categorical_log_prob(logits, targets).mean();
        let mut gradients = loss.clone().backward();
        let step = AdamStep { decoupled_weight_decay: 0.1, ..adam_step(i) };
        tokens.update(&mut gradients, &step);
        positions.update(&mut gradients, &step);
        for block in &mut blocks {
            block.update(&mut gradients, &step);
        }
        norm.update(&mut gradients, &step);
        head.update(&mut gradients, &step);
        loss.into_scalar::<f32>()
    });
}
