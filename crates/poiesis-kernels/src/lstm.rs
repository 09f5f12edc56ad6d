//! Long short-term memory.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::Activation;

/// A long short-term memory over sequences `x [batch, time, in]`. Returns the hidden states `y [batch, time, hidden]`, and
/// hidden state and cell after the last step, `[batch, hidden]` each.
///
/// Weights are `w_input [in, 4 · hidden]`, `w_hidden [hidden, 4 · hidden]` and `bias [4 · hidden]`, whose columns are
/// those of the gates i, f, g, o in this order. Without `state`, the initial hidden state and cell are zero. Each step is
///
/// `i, f, o = σ(x · W + h · U + b)`, `g = tanh(x · W + h · U + b)`, `c ← f ∘ c + i ∘ g`, `h ← o ∘ tanh(c)`.
///
/// Differentiable in every argument, and through all three results. To carry the state from one segment of a long
/// sequence to the next without its gradient (truncated backpropagation through time), take its
/// [`inner`](Tensor::inner) tensors.
///
/// Memory: until the backward pass, gates and cells of all steps, `5 · batch · time · hidden` values, besides the
/// arguments and `y`.
///
/// Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn lstm(
    x: Tensor<3>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias: Tensor<1>,
    state: Option<(Tensor<2>, Tensor<2>)>,
) -> (Tensor<3>, (Tensor<2>, Tensor<2>)) {
    let [batch, time, inputs] = x.dims();
    check([batch, inputs], w_input.dims(), w_hidden.dims(), bias.dims(), state.as_ref());
    if batch * time * w_hidden.dims()[0] == 0 {
        return default(x, w_input, w_hidden, bias, state);
    }
    flex::lstm::lstm(&x, &w_input, &w_hidden, &bias, state.as_ref())
        .unwrap_or_else(|| default(x, w_input, w_hidden, bias, state))
}

/// One step of [`lstm`] for `x [batch, in]`: hidden state and cell after it, from those before it, with the same bits as
/// that step of a whole sequence. Differentiable, but intended for inference step by step: without autodiff, small
/// batches use the weights without packing them.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn lstm_step(
    x: Tensor<2>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias: Tensor<1>,
    state: (Tensor<2>, Tensor<2>),
) -> (Tensor<2>, Tensor<2>) {
    check(x.dims(), w_input.dims(), w_hidden.dims(), bias.dims(), Some(&state));
    if x.dims()[0] * w_hidden.dims()[0] == 0 {
        return state;
    }
    flex::lstm::step(&x, &w_input, &w_hidden, &bias, (&state.0, &state.1))
        .unwrap_or_else(|| lstm(x.unsqueeze_dim::<3>(1), w_input, w_hidden, bias, Some(state)).1)
}

fn check(
    [batch, inputs]: [usize; 2],
    w_input: [usize; 2],
    w_hidden: [usize; 2],
    bias: [usize; 1],
    state: Option<&(Tensor<2>, Tensor<2>)>,
) {
    let hidden = w_hidden[0];
    assert!(
        w_hidden[1] == 4 * hidden,
        "lstm: recurrent weights {w_hidden:?} must be [hidden, 4 · hidden], here [{hidden}, {}]",
        4 * hidden,
    );
    assert!(
        w_input == [inputs, 4 * hidden],
        "lstm: input weights {w_input:?} do not fit {inputs} inputs and recurrent weights {w_hidden:?}",
    );
    assert!(
        bias == [4 * hidden],
        "lstm: bias {bias:?} does not fit recurrent weights {w_hidden:?}: it must be [{}]",
        4 * hidden,
    );
    if let Some((h, c)) = state {
        assert!(
            h.dims() == [batch, hidden] && c.dims() == [batch, hidden],
            "lstm: state {:?} and {:?} must be [{batch}, {hidden}]",
            h.dims(),
            c.dims(),
        );
    }
}

#[expect(clippy::needless_pass_by_value, reason = "takes what `lstm` takes")]
pub(crate) fn default(
    x: Tensor<3>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias: Tensor<1>,
    state: Option<(Tensor<2>, Tensor<2>)>,
) -> (Tensor<3>, (Tensor<2>, Tensor<2>)) {
    let [batch, time, inputs] = x.dims();
    let hidden = w_hidden.dims()[0];
    let device = x.device();
    let zeros = || Tensor::zeros([batch, hidden], &device);
    let (mut h, mut c) = state.unwrap_or_else(|| (zeros(), zeros()));
    if batch * time * hidden == 0 {
        return (Tensor::zeros([batch, time, hidden], &device), (h, c));
    }
    let mut states = Vec::with_capacity(time);
    for step in 0..time {
        let x = x.clone().narrow(1, step, 1).reshape([batch, inputs]);
        let z = x.matmul(w_input.clone()) + h.matmul(w_hidden.clone()) + bias.clone().unsqueeze::<2>();
        let gate = |index: usize, function| {
            activation::default(z.clone().narrow(1, index * hidden, hidden), function)
        };
        let (input, forget) = (gate(0, Activation::Sigmoid), gate(1, Activation::Sigmoid));
        let (new, output) = (gate(2, Activation::Tanh), gate(3, Activation::Sigmoid));
        c = forget * c + input * new;
        h = output * c.clone().tanh();
        states.push(h.clone().unsqueeze_dim::<3>(1));
    }
    (Tensor::cat(states, 1), (h, c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, assert_close, assert_same_for_any_threads, numbers, tensor, values};
    use burn::tensor::Device;

    type Output = (Tensor<3>, (Tensor<2>, Tensor<2>));
    type Lstm = fn(Tensor<3>, Tensor<2>, Tensor<2>, Tensor<1>, Option<(Tensor<2>, Tensor<2>)>) -> Output;

    /// Sizes of batch, time, inputs, hidden units.
    type Size = [usize; 4];

    struct Arguments {
        x: Tensor<3>,
        w_input: Tensor<2>,
        w_hidden: Tensor<2>,
        bias: Tensor<1>,
        h: Tensor<2>,
        c: Tensor<2>,
    }

    impl Arguments {
        fn new([batch, time, inputs, hidden]: Size, device: &Device) -> Self {
            let scaled = |count: usize, seed: u64, scale: f32| -> Vec<f32> {
                numbers(count, seed).iter().map(|x| x * scale).collect()
            };
            let width = 4 * hidden;
            let scale = 1.5 / (hidden as f32).sqrt();
            Self {
                x: tensor(&numbers(batch * time * inputs, 1), [batch, time, inputs], device),
                w_input: tensor(&scaled(inputs * width, 2, scale), [inputs, width], device),
                w_hidden: tensor(&scaled(hidden * width, 3, scale), [hidden, width], device),
                bias: tensor(&numbers(width, 4), [width], device),
                h: tensor(&numbers(batch * hidden, 5), [batch, hidden], device),
                c: tensor(&numbers(batch * hidden, 6), [batch, hidden], device),
            }
        }

        fn require_grad(self) -> Self {
            Self {
                x: self.x.require_grad(),
                w_input: self.w_input.require_grad(),
                w_hidden: self.w_hidden.require_grad(),
                bias: self.bias.require_grad(),
                h: self.h.require_grad(),
                c: self.c.require_grad(),
            }
        }

        fn run(&self, lstm: Lstm) -> Output {
            let state = Some((self.h.clone(), self.c.clone()));
            lstm(self.x.clone(), self.w_input.clone(), self.w_hidden.clone(), self.bias.clone(), state)
        }

        /// Results and every gradient, with weights `parts` on the three results.
        fn run_backward(self, lstm: Lstm, parts: [f32; 3]) -> Vec<Vec<f32>> {
            let all = self.require_grad();
            let (y, (h, c)) = all.run(lstm);
            let [batch, time, hidden] = y.dims();
            let device = y.device();
            let dy = tensor(&numbers(batch * time * hidden, 7), y.dims(), &device);
            let dh = tensor(&numbers(batch * hidden, 8), h.dims(), &device);
            let dc = tensor(&numbers(batch * hidden, 9), c.dims(), &device);
            let mut loss = (y.clone() * dy).sum() * parts[0] + (h.clone() * dh).sum() * parts[1];
            if parts[2] != 0.0 {
                loss = loss + (c.clone() * dc).sum() * parts[2];
            }
            let gradients = loss.backward();
            vec![
                values(y),
                values(h),
                values(c),
                values(all.x.grad(&gradients).unwrap()),
                values(all.w_input.grad(&gradients).unwrap()),
                values(all.w_hidden.grad(&gradients).unwrap()),
                values(all.bias.grad(&gradients).unwrap()),
                values(all.h.grad(&gradients).unwrap()),
                values(all.c.grad(&gradients).unwrap()),
            ]
        }
    }

    fn assert_all_close(got: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f64, what: &str) {
        assert_eq!(got.len(), expected.len());
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
            assert_close(got, &expected, tolerance, &format!("{what}, number {i}"));
        }
    }

    const SIZES: [Size; 6] =
        [[1, 1, 1, 1], [3, 5, 7, 66], [50, 4, 20, 128], [2, 9, 1, 17], [130, 2, 5, 30], [1, 3, 40, 300]];

    #[test]
    fn equals_the_default_implementation() {
        let device = Device::flex().autodiff();
        for size in SIZES {
            for parts in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]] {
                let expected = Arguments::new(size, &device).run_backward(default, parts);
                let got = Arguments::new(size, &device).run_backward(lstm, parts);
                assert_all_close(&got, &expected, 2e-5, &format!("{size:?} {parts:?}"));
            }
        }
    }

    #[test]
    fn the_gradient_of_the_cell_alone() {
        let device = Device::flex().autodiff();
        let gradient = |lstm: Lstm| {
            let all = Arguments::new([3, 4, 5, 20], &device).require_grad();
            let gradients = all.run(lstm).1.1.powi_scalar(2).sum().backward();
            vec![values(all.x.grad(&gradients).unwrap()), values(all.w_hidden.grad(&gradients).unwrap())]
        };
        assert_all_close(&gradient(lstm), &gradient(default), 2e-5, "cell");
    }

    /// The definition in f64, one number at a time.
    fn plain(all: &Arguments) -> Vec<f64> {
        let wide = |values: Vec<f32>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let [batch, time, inputs] = all.x.dims();
        let hidden = all.w_hidden.dims()[0];
        let (x, w, u) = (
            wide(values(all.x.clone())),
            wide(values(all.w_input.clone())),
            wide(values(all.w_hidden.clone())),
        );
        let bias = wide(values(all.bias.clone()));
        let (mut h, mut c) = (wide(values(all.h.clone())), wide(values(all.c.clone())));
        let mut y = vec![0.0; batch * time * hidden];
        for row in 0..batch {
            for step in 0..time {
                let z: Vec<f64> = (0..4 * hidden)
                    .map(|j| {
                        let from_x =
                            (0..inputs).map(|k| x[(row * time + step) * inputs + k] * w[k * 4 * hidden + j]);
                        let from_h = (0..hidden).map(|k| h[row * hidden + k] * u[k * 4 * hidden + j]);
                        bias[j] + from_x.sum::<f64>() + from_h.sum::<f64>()
                    })
                    .collect();
                for j in 0..hidden {
                    let at = row * hidden + j;
                    c[at] = sigmoid(z[hidden + j]) * c[at] + sigmoid(z[j]) * z[2 * hidden + j].tanh();
                    h[at] = sigmoid(z[3 * hidden + j]) * c[at].tanh();
                    y[(row * time + step) * hidden + j] = h[at];
                }
            }
        }
        y
    }

    #[test]
    fn equals_the_definition() {
        for size in SIZES {
            let all = Arguments::new(size, &Device::flex());
            assert_close(&values(all.run(lstm).0), &plain(&all), 3e-6, &format!("{size:?}"));
        }
    }

    #[test]
    fn equals_pytorch() {
        let fixture = Fixture::read("lstm");
        let device = Device::flex().autodiff();
        let all = Arguments {
            x: fixture.tensor("x", &device),
            w_input: fixture.tensor("w_input", &device),
            w_hidden: fixture.tensor("w_hidden", &device),
            bias: fixture.tensor("bias", &device),
            h: fixture.tensor("h", &device),
            c: fixture.tensor("c", &device),
        }
        .require_grad();
        let (y, (h, c)) = all.run(lstm);
        let loss = (y.clone() * fixture.tensor("dy", &device)).sum()
            + (h.clone() * fixture.tensor("dh", &device)).sum()
            + (c.clone() * fixture.tensor("dc", &device)).sum();
        let gradients = loss.backward();
        fixture.assert_close("y", y, 1e-6);
        fixture.assert_close("last_h", h, 1e-6);
        fixture.assert_close("last_c", c, 1e-6);
        fixture.assert_close("x.grad", all.x.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("w_input.grad", all.w_input.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("w_hidden.grad", all.w_hidden.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("bias.grad", all.bias.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("h.grad", all.h.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("c.grad", all.c.grad(&gradients).unwrap(), 2e-6);
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        assert_same_for_any_threads(|| {
            let device = Device::flex().autodiff();
            let mut all = Arguments::new([30, 5, 20, 150], &device).run_backward(lstm, [1.0; 3]);
            all.extend(Arguments::new([130, 3, 20, 40], &device).run_backward(lstm, [1.0; 3]));
            all
        });
    }

    #[test]
    fn two_halves_make_the_whole() {
        let device = Device::flex();
        let all = Arguments::new([3, 6, 5, 20], &device);
        let (y, (h, c)) = all.run(lstm);
        let half = |start, state| {
            let x = all.x.clone().narrow(1, start, 3);
            lstm(x, all.w_input.clone(), all.w_hidden.clone(), all.bias.clone(), Some(state))
        };
        let (first, state) = half(0, (all.h.clone(), all.c.clone()));
        let (second, (half_h, half_c)) = half(3, state);
        assert_eq!(values(Tensor::cat(vec![first, second], 1)), values(y));
        assert_eq!((values(half_h), values(half_c)), (values(h), values(c)));
    }

    #[test]
    fn steps_equal_the_sequence_bit_by_bit() {
        for size in [[1, 3, 5, 20], [5, 2, 7, 66], [3, 2, 400, 500]] {
            for device in [Device::flex(), Device::flex().autodiff()] {
                let all = Arguments::new(size, &device);
                let [batch, time, inputs, hidden] = size;
                let y = all.run(lstm).0;
                let mut state = (all.h.clone(), all.c.clone());
                for step in 0..time {
                    let x = all.x.clone().narrow(1, step, 1).reshape([batch, inputs]);
                    state = lstm_step(x, all.w_input.clone(), all.w_hidden.clone(), all.bias.clone(), state);
                    let expected = y.clone().narrow(1, step, 1).reshape([batch, hidden]);
                    assert_eq!(values(state.0.clone()), values(expected), "{size:?}, step {step}");
                }
                assert_eq!(values(state.1), values(all.run(lstm).1.1), "{size:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "state [3, 4] and [2, 4] must be [2, 4]")]
    fn a_wrong_state_of_a_step_panics_with_both_shapes() {
        let device = Device::flex();
        lstm_step(
            Tensor::zeros([2, 5], &device),
            Tensor::zeros([5, 16], &device),
            Tensor::zeros([4, 16], &device),
            Tensor::zeros([16], &device),
            (Tensor::zeros([3, 4], &device), Tensor::zeros([2, 4], &device)),
        );
    }

    #[test]
    fn begins_with_zeros() {
        let device = Device::flex();
        let all = Arguments::new([3, 6, 5, 20], &device);
        let run =
            |state| lstm(all.x.clone(), all.w_input.clone(), all.w_hidden.clone(), all.bias.clone(), state).0;
        let zeros = || Tensor::zeros([3, 20], &device);
        assert_eq!(values(run(None)), values(run(Some((zeros(), zeros())))));
    }

    #[test]
    fn weights_without_a_gradient_are_constants() {
        let device = Device::flex().autodiff();
        let all = Arguments::new([3, 4, 5, 20], &device);
        let x = all.x.clone().require_grad();
        let constant = |tensor: &Tensor<2>| tensor.clone().inner();
        let (y, _) = lstm(
            x.clone(),
            constant(&all.w_input),
            constant(&all.w_hidden),
            all.bias.clone().inner(),
            Some((constant(&all.h), constant(&all.c))),
        );
        let expected = {
            let all = Arguments::new([3, 4, 5, 20], &device).require_grad();
            let gradients = all.run(lstm).0.sum().backward();
            all.x.grad(&gradients).unwrap()
        };
        let gradients = y.sum().backward();
        assert_eq!(values(x.grad(&gradients).unwrap()), values(expected));
    }

    #[test]
    fn transposed_arguments() {
        let device = Device::flex();
        let all = Arguments::new([3, 4, 5, 20], &device);
        let flip = |matrix: &Tensor<2>| {
            let [rows, columns] = matrix.dims();
            let flipped = values(matrix.clone().transpose());
            tensor(&flipped, [columns, rows], &device).transpose()
        };
        let x = tensor(&values(all.x.clone().swap_dims(0, 1)), [4, 3, 5], &device).swap_dims(0, 1);
        let state = Some((flip(&all.h), flip(&all.c)));
        let (y, _) = lstm(x, flip(&all.w_input), flip(&all.w_hidden), all.bias.clone(), state);
        assert_eq!(values(y), values(all.run(lstm).0));
    }

    #[test]
    fn empty_batches_and_sequences() {
        let device = Device::flex();
        let all = Arguments::new([2, 3, 5, 4], &device);
        let run = |x, state| lstm(x, all.w_input.clone(), all.w_hidden.clone(), all.bias.clone(), state);
        let (y, (h, _)) = run(Tensor::zeros([0, 3, 5], &device), None);
        assert_eq!((y.dims(), h.dims()), ([0, 3, 4], [0, 4]));
        let (y, (h, c)) = run(Tensor::zeros([2, 0, 5], &device), Some((all.h.clone(), all.c.clone())));
        assert_eq!(y.dims(), [2, 0, 4]);
        assert_eq!((values(h), values(c)), (values(all.h.clone()), values(all.c.clone())));
    }

    #[test]
    #[should_panic(expected = "input weights [5, 12] do not fit 5 inputs and recurrent weights [4, 16]")]
    fn wrong_weights_panic_with_both_shapes() {
        let device = Device::flex();
        lstm(
            Tensor::zeros([2, 3, 5], &device),
            Tensor::zeros([5, 12], &device),
            Tensor::zeros([4, 16], &device),
            Tensor::zeros([16], &device),
            None,
        );
    }

    #[test]
    #[should_panic(expected = "state [3, 4] and [2, 4] must be [2, 4]")]
    fn a_wrong_state_panics_with_both_shapes() {
        let device = Device::flex();
        lstm(
            Tensor::zeros([2, 3, 5], &device),
            Tensor::zeros([5, 16], &device),
            Tensor::zeros([4, 16], &device),
            Tensor::zeros([16], &device),
            Some((Tensor::zeros([3, 4], &device), Tensor::zeros([2, 4], &device))),
        );
    }
}
