//! Time of a whole training step of a character model: two LSTM layers of 512 on segments of 50 characters, of which there are
//! 65, one-hot; linear head, cross-entropy, Adam; the state is carried to the next segment without its
//! gradient: `cargo run --release --example lstm_step -- --batch 50`.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use poiesis_kernels::{Activation, categorical_log_prob, linear, lstm};

#[path = "common/mod.rs"]
mod common;
use common::{Arguments, Parameter, adam_step};

const CHARACTERS: usize = 65;
const TIME: usize = 50;
const HIDDEN: usize = 512;

struct Layer {
    w_input: Parameter<2>,
    w_hidden: Parameter<2>,
    bias: Parameter<1>,
    state: Option<(Tensor<2>, Tensor<2>)>,
}

impl Layer {
    fn new(inputs: usize, device: &Device) -> Self {
        let std = (1.0 / (3.0 * HIDDEN as f64)).sqrt();
        Self {
            w_input: Parameter::normal([inputs, 4 * HIDDEN], std, device),
            w_hidden: Parameter::normal([HIDDEN, 4 * HIDDEN], std, device),
            bias: Parameter::new(Tensor::zeros([4 * HIDDEN], device)),
            state: None,
        }
    }

    fn forward(&mut self, x: Tensor<3>) -> Tensor<3> {
        let state = self.state.take();
        let (y, (h, c)) = lstm(x, self.w_input.val(), self.w_hidden.val(), self.bias.val(), state);
        self.state = Some((h.inner(), c.inner()));
        y
    }
}

fn one_hot(characters: &[usize], batch: usize, device: &Device) -> Tensor<3> {
    let mut values = vec![0.0f32; characters.len() * CHARACTERS];
    for (row, &character) in values.chunks_exact_mut(CHARACTERS).zip(characters) {
        row[character] = 1.0;
    }
    Tensor::from_data(TensorData::new(values, [batch, TIME, CHARACTERS]), device)
}

fn main() {
    let arguments = Arguments::read(50, 20);
    let batch = arguments.batch;
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut layers = [Layer::new(CHARACTERS, &device), Layer::new(HIDDEN, &device)];
    let mut weight = Parameter::normal([HIDDEN, CHARACTERS], (1.0 / HIDDEN as f64).sqrt(), &device);
    let mut bias = Parameter::new(Tensor::zeros([CHARACTERS], &device));
    let text =
        Tensor::<1>::random([batch * (TIME + 1)], Distribution::Uniform(0.0, 65.0), &device.clone().inner());
    let text: Vec<usize> = text.into_data().iter::<f32>().map(|c| c as usize % CHARACTERS).collect();
    arguments.measure(|i| {
        let inputs = &text[..batch * TIME];
        let targets: Vec<i64> = text[batch..].iter().map(|&c| c as i64).collect();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [batch * TIME]), &device);
        let mut y = one_hot(inputs, batch, &device);
        for layer in &mut layers {
            y = layer.forward(y);
        }
        let y = y.reshape([batch * TIME, HIDDEN]);
        let logits = linear(y, weight.val(), Some(bias.val()), Activation::Identity);
        let loss = -categorical_log_prob(logits, targets).mean();
        let mut gradients = loss.clone().backward();
        let settings = adam_step(i);
        for layer in &mut layers {
            layer.w_input.update(&mut gradients, &settings);
            layer.w_hidden.update(&mut gradients, &settings);
            layer.bias.update(&mut gradients, &settings);
        }
        weight.update(&mut gradients, &settings);
        bias.update(&mut gradients, &settings);
        loss.into_scalar::<f32>()
    });
}
