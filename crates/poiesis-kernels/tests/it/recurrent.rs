//! Tests that every recurrent layer passes.

use burn::tensor::{Device, Tensor};

use crate::common::{
    Fixture, assert_all_close, assert_close, assert_same_for_any_threads, autodiff_device, flex_device,
    gradient, numbers, tensor, values, wide,
};

/// Sizes of batch, time, inputs, hidden units.
type Sizes = [usize; 4];

/// States of all steps and the state after the last one, of `S` tensors.
type Output<const S: usize> = (Tensor<3>, [Tensor<2>; S]);

/// The arguments of a layer with `B` biases and a state of `S` tensors.
#[derive(Clone)]
pub(crate) struct Arguments<const B: usize, const S: usize> {
    pub(crate) x: Tensor<3>,
    pub(crate) w_input: Tensor<2>,
    pub(crate) w_hidden: Tensor<2>,
    pub(crate) biases: [Tensor<1>; B],
    pub(crate) state: Option<[Tensor<2>; S]>,
}

/// A step in plain arithmetic: from the two parts of the pre-activations, without biases, the biases and the state.
pub(crate) type PlainStep<const B: usize, const S: usize> = fn([&[f64]; 2], [&[f64]; B], [&mut [f64]; S]);

/// A layer, as its tests call it.
pub(crate) struct Layer<const B: usize, const S: usize> {
    pub(crate) name: &'static str,
    pub(crate) gates: usize,
    /// Names of biases and states in the fixture.
    pub(crate) biases: [&'static str; B],
    pub(crate) states: [&'static str; S],
    pub(crate) run: fn(Arguments<B, S>) -> Output<S>,
    pub(crate) default: fn(Arguments<B, S>) -> Output<S>,
    /// The state after one step from the input `[batch, in]` and the state before it.
    pub(crate) step: fn(Tensor<2>, Arguments<B, S>) -> [Tensor<2>; S],
    /// The new state of a row in f64, from the two parts of the pre-activations, without biases.
    pub(crate) plain: PlainStep<B, S>,
}

impl<const B: usize, const S: usize> Arguments<B, S> {
    fn map(
        self,
        three: impl Fn(Tensor<3>) -> Tensor<3>,
        two: impl Fn(Tensor<2>) -> Tensor<2>,
        one: impl Fn(Tensor<1>) -> Tensor<1>,
    ) -> Self {
        Self {
            x: three(self.x),
            w_input: two(self.w_input),
            w_hidden: two(self.w_hidden),
            biases: self.biases.map(one),
            state: self.state.map(|state| state.map(two)),
        }
    }

    fn require_grad(self) -> Self {
        self.map(Tensor::require_grad, Tensor::require_grad, Tensor::require_grad)
    }

    fn state(&self) -> [Tensor<2>; S] {
        self.state.clone().unwrap()
    }

    /// The arguments' gradients: of input, weights, biases and state.
    fn gradients(&self, loss: &Tensor<1>) -> Vec<Vec<f32>> {
        let gradients = loss.backward();
        let mut all = vec![
            gradient(&self.x, &gradients),
            gradient(&self.w_input, &gradients),
            gradient(&self.w_hidden, &gradients),
        ];
        all.extend(self.biases.iter().map(|bias| gradient(bias, &gradients)));
        all.extend(self.state().iter().map(|state| gradient(state, &gradients)));
        all
    }
}

/// The tests of a layer, each under its name.
macro_rules! tests_of {
    ($layer:expr) => {
        tests_of! {
            $layer;
            equals_the_default_implementation,
            equals_the_definition,
            equals_pytorch,
            the_same_for_any_number_of_threads,
            two_halves_make_the_whole,
            steps_equal_the_sequence_bit_by_bit,
            begins_with_zeros,
            transposed_arguments,
            weights_without_a_gradient_are_constants,
            empty_batches_and_sequences
        }
    };
    ($layer:expr; $($test:ident),*) => {
        $(
            #[test]
            fn $test() {
                $layer.$test();
            }
        )*
    };
}
pub(crate) use tests_of;

/// The sum of a tensor's values with weights that depend on `seed`.
fn weighted<const D: usize>(x: &Tensor<D>, seed: u64) -> Tensor<1> {
    let shape = x.dims();
    (x.clone() * tensor(&numbers(shape.iter().product(), seed), shape, &x.device())).sum()
}

const SIZES: [Sizes; 6] =
    [[1, 1, 1, 1], [3, 5, 7, 66], [50, 4, 20, 128], [2, 9, 1, 17], [130, 2, 5, 30], [1, 3, 40, 300]];

impl<const B: usize, const S: usize> Layer<B, S> {
    pub(crate) fn arguments(&self, [batch, time, inputs, hidden]: Sizes, device: &Device) -> Arguments<B, S> {
        let scale = 1.5 / (hidden as f32).sqrt();
        let width = self.gates * hidden;
        let weight = |inputs: usize, seed: u64| {
            let values: Vec<f32> = numbers(inputs * width, seed).iter().map(|x| x * scale).collect();
            tensor(&values, [inputs, width], device)
        };
        let mut seeds = 4..;
        let mut numbers_of = |count: usize| numbers(count, seeds.next().unwrap());
        Arguments {
            x: tensor(&numbers(batch * time * inputs, 1), [batch, time, inputs], device),
            w_input: weight(inputs, 2),
            w_hidden: weight(hidden, 3),
            biases: [(); B].map(|()| tensor(&numbers_of(width), [width], device)),
            state: Some([(); S].map(|()| tensor(&numbers_of(batch * hidden), [batch, hidden], device))),
        }
    }

    /// Results and every gradient of `layer`, with weights `parts` on the states of all steps and on the last ones.
    fn run_backward(
        &self,
        layer: fn(Arguments<B, S>) -> Output<S>,
        sizes: Sizes,
        parts: &[f32],
    ) -> Vec<Vec<f32>> {
        let all = self.arguments(sizes, &autodiff_device()).require_grad();
        let (y, last) = layer(all.clone());
        let sums =
            std::iter::once(weighted(&y, 7)).chain(last.iter().zip(8..).map(|(x, seed)| weighted(x, seed)));
        // A result of weight 0 has no gradient at all.
        let used = sums.zip(parts).filter(|&(_, &part)| part != 0.0);
        let loss = used.map(|(sum, &part)| sum * part).reduce(|a, b| a + b).unwrap();
        let gradients = all.gradients(&loss);
        std::iter::once(values(y)).chain(last.map(values)).chain(gradients).collect()
    }

    pub(crate) fn equals_the_default_implementation(&self) {
        // The states of all steps alone, each last state alone, and everything.
        let alone = (0..=S).map(|part| (0..=S).map(|i| f32::from(u8::from(i == part))).collect());
        let cases: Vec<Vec<f32>> = alone.chain([vec![1.0; S + 1]]).collect();
        for size in SIZES {
            for parts in &cases {
                let expected = self.run_backward(self.default, size, parts);
                let got = self.run_backward(self.run, size, parts);
                assert_all_close(&got, &expected, 2e-5, &format!("{} {size:?} {parts:?}", self.name));
            }
        }
    }

    /// The definition in f64, one number at a time.
    fn exact(&self, all: &Arguments<B, S>) -> Vec<f64> {
        let [batch, time, inputs] = all.x.dims();
        let [hidden, width] = all.w_hidden.dims();
        let [x, w, u] = [values(all.x.clone()), values(all.w_input.clone()), values(all.w_hidden.clone())]
            .map(|x| wide(&x));
        let biases = all.biases.clone().map(|bias| wide(&values(bias)));
        let mut state = all.state().map(|state| wide(&values(state)));
        let mut y = Vec::new();
        let product = |row: &[f64], weight: &[f64]| -> Vec<f64> {
            let column = |j: usize| row.iter().zip(weight[j..].iter().step_by(width)).map(|(x, w)| x * w);
            (0..width).map(|j| column(j).sum()).collect()
        };
        for row in 0..batch {
            for step in 0..time {
                let here = row * hidden..(row + 1) * hidden;
                let from_input = product(&x[(row * time + step) * inputs..][..inputs], &w);
                let from_state = product(&state[0][here.clone()], &u);
                let sums = [&from_input[..], &from_state];
                (self.plain)(
                    sums,
                    biases.each_ref().map(|bias| &bias[..]),
                    state.each_mut().map(|state| &mut state[here.clone()]),
                );
                y.extend_from_slice(&state[0][here]);
            }
        }
        y
    }

    pub(crate) fn equals_the_definition(&self) {
        for size in SIZES {
            let all = self.arguments(size, &flex_device());
            let expected = self.exact(&all);
            assert_close(&values((self.run)(all).0), &expected, 3e-6, &format!("{} {size:?}", self.name));
        }
    }

    pub(crate) fn equals_pytorch(&self) {
        let fixture = Fixture::read(self.name);
        let device = autodiff_device();
        let all = Arguments {
            x: fixture.tensor("x", &device),
            w_input: fixture.tensor("w_input", &device),
            w_hidden: fixture.tensor("w_hidden", &device),
            biases: self.biases.map(|name| fixture.tensor(name, &device)),
            state: Some(self.states.map(|name| fixture.tensor(name, &device))),
        }
        .require_grad();
        let (y, last) = (self.run)(all.clone());
        let mut loss = (y.clone() * fixture.tensor("dy", &device)).sum();
        for (name, last) in self.states.iter().zip(&last) {
            loss = loss + (last.clone() * fixture.tensor(&format!("d{name}"), &device)).sum();
        }
        fixture.assert_close("y", y, 1e-6);
        for (name, last) in self.states.iter().zip(last) {
            fixture.assert_close(&format!("last_{name}"), last, 1e-6);
        }
        let gradients = loss.backward();
        fixture.assert_close("x.grad", all.x.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("w_input.grad", all.w_input.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("w_hidden.grad", all.w_hidden.grad(&gradients).unwrap(), 2e-6);
        for (name, bias) in self.biases.iter().zip(&all.biases) {
            fixture.assert_close(&format!("{name}.grad"), bias.grad(&gradients).unwrap(), 2e-6);
        }
        for (name, state) in self.states.iter().zip(all.state()) {
            fixture.assert_close(&format!("{name}.grad"), state.grad(&gradients).unwrap(), 2e-6);
        }
    }

    pub(crate) fn the_same_for_any_number_of_threads(&self) {
        assert_same_for_any_threads(|| {
            let mut all = self.run_backward(self.run, [30, 5, 20, 150], &vec![1.0; S + 1]);
            all.extend(self.run_backward(self.run, [130, 3, 20, 40], &vec![1.0; S + 1]));
            all
        });
    }

    pub(crate) fn two_halves_make_the_whole(&self) {
        let all = self.arguments([3, 6, 5, 20], &flex_device());
        let (y, last) = (self.run)(all.clone());
        let half = |start, state| {
            (self.run)(Arguments { x: all.x.clone().narrow(1, start, 3), state: Some(state), ..all.clone() })
        };
        let (first, state) = half(0, all.state());
        let (second, state) = half(3, state);
        assert_eq!(values(Tensor::cat(vec![first, second], 1)), values(y));
        assert_eq!(state.map(values), last.map(values));
    }

    pub(crate) fn steps_equal_the_sequence_bit_by_bit(&self) {
        for size in [[1, 3, 5, 20], [5, 2, 7, 66], [3, 2, 400, 500]] {
            for device in [flex_device(), autodiff_device()] {
                let mut all = self.arguments(size, &device);
                let [batch, time, inputs, hidden] = size;
                let (y, last) = (self.run)(all.clone());
                for step in 0..time {
                    let x = all.x.clone().narrow(1, step, 1).reshape([batch, inputs]);
                    all.state = Some((self.step)(x, all.clone()));
                    let expected = y.clone().narrow(1, step, 1).reshape([batch, hidden]);
                    let [h, ..] = &all.state()[..] else { panic!("no state") };
                    assert_eq!(values(h.clone()), values(expected), "{} {size:?}, step {step}", self.name);
                }
                assert_eq!(all.state().map(values), last.map(values), "{} {size:?}", self.name);
            }
        }
    }

    pub(crate) fn begins_with_zeros(&self) {
        let all = self.arguments([3, 6, 5, 20], &flex_device());
        let run = |state| values((self.run)(Arguments { state, ..all.clone() }).0);
        let zeros = all.state().map(|state| state.zeros_like());
        assert_eq!(run(None), run(Some(zeros)));
    }

    pub(crate) fn transposed_arguments(&self) {
        let all = self.arguments([3, 4, 5, 20], &flex_device());
        let flip = |matrix: Tensor<2>| {
            let [rows, columns] = matrix.dims();
            tensor(&values(matrix.transpose()), [columns, rows], &flex_device()).transpose()
        };
        let flip_sequence =
            |x: Tensor<3>| tensor(&values(x.swap_dims(0, 1)), [4, 3, 5], &flex_device()).swap_dims(0, 1);
        let flipped = all.clone().map(flip_sequence, flip, |bias| bias);
        assert_eq!(values((self.run)(flipped).0), values((self.run)(all).0));
    }

    pub(crate) fn weights_without_a_gradient_are_constants(&self) {
        let all = self.arguments([3, 4, 5, 20], &autodiff_device());
        let of_input = |all: Arguments<B, S>| {
            let gradients = (self.run)(all.clone()).0.sum().backward();
            gradient(&all.x, &gradients)
        };
        let constants = all.clone().map(Tensor::require_grad, Tensor::inner, Tensor::inner);
        assert_eq!(of_input(constants), of_input(all.require_grad()));
    }

    pub(crate) fn empty_batches_and_sequences(&self) {
        let device = flex_device();
        let all = self.arguments([2, 3, 5, 4], &device);
        let (y, last) =
            (self.run)(Arguments { x: Tensor::zeros([0, 3, 5], &device), state: None, ..all.clone() });
        assert_eq!((y.dims(), last.map(|state| state.dims())), ([0, 3, 4], [[0, 4]; S]));
        let (y, last) = (self.run)(Arguments { x: Tensor::zeros([2, 0, 5], &device), ..all.clone() });
        assert_eq!((y.dims(), last.map(values)), ([2, 0, 4], all.state().map(values)));
    }
}
