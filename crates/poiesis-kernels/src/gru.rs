//! Gated recurrent unit.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::Activation;

/// A gated recurrent unit over sequences `x [batch, time, in]`. Returns the hidden states `y [batch, time, hidden]`, and the
/// state after the last step, `[batch, hidden]`.
///
/// Weights are `w_input [in, 3 · hidden]`, `w_hidden [hidden, 3 · hidden]`, `bias_input` and `bias_hidden
/// [3 · hidden]`, whose columns are those of r, z, n in this order. Without `state`, the initial hidden state is
/// zero. Each step is
///
/// `r, z = σ(x · W + b + h · U + d)`, `n = tanh(x · W + b + r ∘ (h · U + d))`, `h ← (1 − z) ∘ n + z ∘ h`
///
/// with `W, U, b, d` the weights in the order of the arguments. The reset gate multiplies the product with the recurrent
/// weights, as in cuDNN and PyTorch, and not the state before that product.
///
/// Differentiable in every argument, and through both results. To carry the state from one segment of a long
/// sequence to the next without its gradient (truncated backpropagation through time), take its
/// [`inner`](Tensor::inner) tensor.
///
/// Memory: until the backward pass, `4 · batch · time · hidden` values, besides the arguments and `y`.
///
/// Source: Cho et al. 2014; this form: Chung et al. 2014 with the reset gate after the product.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn gru(
    x: Tensor<3>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias_input: Tensor<1>,
    bias_hidden: Tensor<1>,
    state: Option<Tensor<2>>,
) -> (Tensor<3>, Tensor<2>) {
    let [batch, time, inputs] = x.dims();
    let state_shape = state.as_ref().map(Tensor::dims);
    let biases = [bias_input.dims(), bias_hidden.dims()];
    check([batch, inputs], w_input.dims(), w_hidden.dims(), biases, state_shape);
    if batch * time * w_hidden.dims()[0] == 0 {
        return default(x, w_input, w_hidden, bias_input, bias_hidden, state);
    }
    flex::gru::gru(&x, &w_input, &w_hidden, &bias_input, &bias_hidden, state.as_ref())
        .unwrap_or_else(|| default(x, w_input, w_hidden, bias_input, bias_hidden, state))
}

/// One step of [`gru`] for `x [batch, in]`: the hidden state after it, from the one before it, with the same bits as that
/// step of a whole sequence. Differentiable, but intended for inference step by step: without autodiff, small
/// batches use the weights without packing them.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn gru_step(
    x: Tensor<2>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias_input: Tensor<1>,
    bias_hidden: Tensor<1>,
    state: Tensor<2>,
) -> Tensor<2> {
    let biases = [bias_input.dims(), bias_hidden.dims()];
    check(x.dims(), w_input.dims(), w_hidden.dims(), biases, Some(state.dims()));
    if x.dims()[0] * w_hidden.dims()[0] == 0 {
        return state;
    }
    flex::gru::step(&x, &w_input, &w_hidden, &bias_input, &bias_hidden, &state).unwrap_or_else(|| {
        gru(x.unsqueeze_dim::<3>(1), w_input, w_hidden, bias_input, bias_hidden, Some(state)).1
    })
}

fn check(
    [batch, inputs]: [usize; 2],
    w_input: [usize; 2],
    w_hidden: [usize; 2],
    biases: [[usize; 1]; 2],
    state: Option<[usize; 2]>,
) {
    let hidden = w_hidden[0];
    assert!(
        w_hidden[1] == 3 * hidden,
        "gru: recurrent weights {w_hidden:?} must be [hidden, 3 · hidden], here [{hidden}, {}]",
        3 * hidden,
    );
    assert!(
        w_input == [inputs, 3 * hidden],
        "gru: input weights {w_input:?} do not fit {inputs} inputs and recurrent weights {w_hidden:?}",
    );
    let [input, recurrent] = biases;
    assert!(
        biases == [[3 * hidden]; 2],
        "gru: biases {input:?} and {recurrent:?} do not fit recurrent weights {w_hidden:?}: each must be [{}]",
        3 * hidden,
    );
    assert!(
        state.is_none_or(|state| state == [batch, hidden]),
        "gru: state {state:?} must be [{batch}, {hidden}]",
    );
}

#[expect(clippy::needless_pass_by_value, reason = "takes what `gru` takes")]
pub(crate) fn default(
    x: Tensor<3>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias_input: Tensor<1>,
    bias_hidden: Tensor<1>,
    state: Option<Tensor<2>>,
) -> (Tensor<3>, Tensor<2>) {
    let [batch, time, inputs] = x.dims();
    let hidden = w_hidden.dims()[0];
    let device = x.device();
    let mut h = state.unwrap_or_else(|| Tensor::zeros([batch, hidden], &device));
    if batch * time * hidden == 0 {
        return (Tensor::zeros([batch, time, hidden], &device), h);
    }
    let mut states = Vec::with_capacity(time);
    for step in 0..time {
        let x = x.clone().narrow(1, step, 1).reshape([batch, inputs]);
        let from_x = x.matmul(w_input.clone()) + bias_input.clone().unsqueeze::<2>();
        let from_h = h.clone().matmul(w_hidden.clone()) + bias_hidden.clone().unsqueeze::<2>();
        let part = |sums: &Tensor<2>, index: usize| sums.clone().narrow(1, index * hidden, hidden);
        let sigmoid =
            |index| activation::default(part(&from_x, index) + part(&from_h, index), Activation::Sigmoid);
        let (reset, update) = (sigmoid(0), sigmoid(1));
        let new = (part(&from_x, 2) + reset * part(&from_h, 2)).tanh();
        h = new.clone() + update * (h - new);
        states.push(h.clone().unsqueeze_dim::<3>(1));
    }
    (Tensor::cat(states, 1), h)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, assert_close, assert_same_for_any_threads, numbers, tensor, values};
    use burn::tensor::Device;

    type Gru = fn(
        Tensor<3>,
        Tensor<2>,
        Tensor<2>,
        Tensor<1>,
        Tensor<1>,
        Option<Tensor<2>>,
    ) -> (Tensor<3>, Tensor<2>);

    /// Sizes of batch, time, inputs, hidden units.
    type Size = [usize; 4];

    struct Arguments {
        x: Tensor<3>,
        w_input: Tensor<2>,
        w_hidden: Tensor<2>,
        bias_input: Tensor<1>,
        bias_hidden: Tensor<1>,
        h: Tensor<2>,
    }

    impl Arguments {
        fn new([batch, time, inputs, hidden]: Size, device: &Device) -> Self {
            let scale = 1.5 / (hidden as f32).sqrt();
            let scaled = |count: usize, seed: u64| -> Vec<f32> {
                numbers(count, seed).iter().map(|x| x * scale).collect()
            };
            let width = 3 * hidden;
            Self {
                x: tensor(&numbers(batch * time * inputs, 1), [batch, time, inputs], device),
                w_input: tensor(&scaled(inputs * width, 2), [inputs, width], device),
                w_hidden: tensor(&scaled(hidden * width, 3), [hidden, width], device),
                bias_input: tensor(&numbers(width, 4), [width], device),
                bias_hidden: tensor(&numbers(width, 5), [width], device),
                h: tensor(&numbers(batch * hidden, 6), [batch, hidden], device),
            }
        }

        fn require_grad(self) -> Self {
            Self {
                x: self.x.require_grad(),
                w_input: self.w_input.require_grad(),
                w_hidden: self.w_hidden.require_grad(),
                bias_input: self.bias_input.require_grad(),
                bias_hidden: self.bias_hidden.require_grad(),
                h: self.h.require_grad(),
            }
        }

        fn run_from(&self, gru: Gru, x: Tensor<3>, state: Option<Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
            let (w_input, w_hidden) = (self.w_input.clone(), self.w_hidden.clone());
            gru(x, w_input, w_hidden, self.bias_input.clone(), self.bias_hidden.clone(), state)
        }

        fn run(&self, gru: Gru) -> (Tensor<3>, Tensor<2>) {
            self.run_from(gru, self.x.clone(), Some(self.h.clone()))
        }

        /// Results and every gradient, with weights `parts` on the two results.
        fn run_backward(self, gru: Gru, parts: [f32; 2]) -> Vec<Vec<f32>> {
            let all = self.require_grad();
            let (y, h) = all.run(gru);
            let [batch, time, hidden] = y.dims();
            let device = y.device();
            let dy = tensor(&numbers(batch * time * hidden, 7), y.dims(), &device);
            let dh = tensor(&numbers(batch * hidden, 8), h.dims(), &device);
            let loss = (y.clone() * dy).sum() * parts[0] + (h.clone() * dh).sum() * parts[1];
            let gradients = loss.backward();
            vec![
                values(y),
                values(h),
                values(all.x.grad(&gradients).unwrap()),
                values(all.w_input.grad(&gradients).unwrap()),
                values(all.w_hidden.grad(&gradients).unwrap()),
                values(all.bias_input.grad(&gradients).unwrap()),
                values(all.bias_hidden.grad(&gradients).unwrap()),
                values(all.h.grad(&gradients).unwrap()),
            ]
        }
    }

    const SIZES: [Size; 6] =
        [[1, 1, 1, 1], [3, 5, 7, 66], [50, 4, 20, 128], [2, 9, 1, 17], [130, 2, 5, 30], [1, 3, 40, 300]];

    #[test]
    fn equals_the_default_implementation() {
        let device = Device::flex().autodiff();
        for size in SIZES {
            for parts in [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]] {
                let expected = Arguments::new(size, &device).run_backward(default, parts);
                let got = Arguments::new(size, &device).run_backward(gru, parts);
                for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
                    assert_close(got, &expected, 2e-5, &format!("{size:?} {parts:?}, number {i}"));
                }
            }
        }
    }

    /// The definition in f64, one number at a time.
    fn plain(all: &Arguments) -> Vec<f64> {
        fn wide<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
            values(tensor.clone()).into_iter().map(f64::from).collect()
        }
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let [batch, time, inputs] = all.x.dims();
        let hidden = all.w_hidden.dims()[0];
        let (x, w, u) = (wide(&all.x), wide(&all.w_input), wide(&all.w_hidden));
        let (b, d) = (wide(&all.bias_input), wide(&all.bias_hidden));
        let mut h = wide(&all.h);
        let mut y = vec![0.0; batch * time * hidden];
        for row in 0..batch {
            for step in 0..time {
                let old = h[row * hidden..][..hidden].to_vec();
                let from_x = |j: usize| {
                    let terms =
                        (0..inputs).map(|k| x[(row * time + step) * inputs + k] * w[k * 3 * hidden + j]);
                    b[j] + terms.sum::<f64>()
                };
                let from_h = |j: usize| {
                    let terms = (0..hidden).map(|k| old[k] * u[k * 3 * hidden + j]);
                    d[j] + terms.sum::<f64>()
                };
                for j in 0..hidden {
                    let r = sigmoid(from_x(j) + from_h(j));
                    let z = sigmoid(from_x(hidden + j) + from_h(hidden + j));
                    let n = (from_x(2 * hidden + j) + r * from_h(2 * hidden + j)).tanh();
                    h[row * hidden + j] = (1.0 - z) * n + z * old[j];
                    y[(row * time + step) * hidden + j] = h[row * hidden + j];
                }
            }
        }
        y
    }

    #[test]
    fn equals_the_definition() {
        for size in SIZES {
            let all = Arguments::new(size, &Device::flex());
            assert_close(&values(all.run(gru).0), &plain(&all), 3e-6, &format!("{size:?}"));
        }
    }

    #[test]
    fn equals_pytorch() {
        let fixture = Fixture::read("gru");
        let device = Device::flex().autodiff();
        let all = Arguments {
            x: fixture.tensor("x", &device),
            w_input: fixture.tensor("w_input", &device),
            w_hidden: fixture.tensor("w_hidden", &device),
            bias_input: fixture.tensor("bias_input", &device),
            bias_hidden: fixture.tensor("bias_hidden", &device),
            h: fixture.tensor("h", &device),
        }
        .require_grad();
        let (y, h) = all.run(gru);
        let loss = (y.clone() * fixture.tensor("dy", &device)).sum()
            + (h.clone() * fixture.tensor("dh", &device)).sum();
        let gradients = loss.backward();
        fixture.assert_close("y", y, 1e-6);
        fixture.assert_close("last_h", h, 1e-6);
        fixture.assert_close("x.grad", all.x.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("w_input.grad", all.w_input.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("w_hidden.grad", all.w_hidden.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("bias_input.grad", all.bias_input.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("bias_hidden.grad", all.bias_hidden.grad(&gradients).unwrap(), 2e-6);
        fixture.assert_close("h.grad", all.h.grad(&gradients).unwrap(), 2e-6);
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        assert_same_for_any_threads(|| {
            let device = Device::flex().autodiff();
            let mut all = Arguments::new([30, 5, 20, 150], &device).run_backward(gru, [1.0; 2]);
            all.extend(Arguments::new([130, 3, 20, 40], &device).run_backward(gru, [1.0; 2]));
            all
        });
    }

    #[test]
    fn two_halves_make_the_whole() {
        let all = Arguments::new([3, 6, 5, 20], &Device::flex());
        let (y, h) = all.run(gru);
        let half = |start, state| all.run_from(gru, all.x.clone().narrow(1, start, 3), Some(state));
        let (first, state) = half(0, all.h.clone());
        let (second, half_h) = half(3, state);
        assert_eq!(values(Tensor::cat(vec![first, second], 1)), values(y));
        assert_eq!(values(half_h), values(h));
    }

    #[test]
    fn steps_equal_the_sequence_bit_by_bit() {
        for size in [[1, 3, 5, 20], [5, 2, 7, 66], [3, 2, 400, 500]] {
            for device in [Device::flex(), Device::flex().autodiff()] {
                let all = Arguments::new(size, &device);
                let [batch, time, inputs, hidden] = size;
                let y = all.run(gru).0;
                let mut state = all.h.clone();
                for step in 0..time {
                    let x = all.x.clone().narrow(1, step, 1).reshape([batch, inputs]);
                    let (w_input, w_hidden) = (all.w_input.clone(), all.w_hidden.clone());
                    let (bias_input, bias_hidden) = (all.bias_input.clone(), all.bias_hidden.clone());
                    state = gru_step(x, w_input, w_hidden, bias_input, bias_hidden, state);
                    let expected = y.clone().narrow(1, step, 1).reshape([batch, hidden]);
                    assert_eq!(values(state.clone()), values(expected), "{size:?}, step {step}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "state Some([3, 4]) must be [2, 4]")]
    fn a_wrong_state_of_a_step_panics_with_both_shapes() {
        let all = Arguments::new([2, 1, 5, 4], &Device::flex());
        let x = all.x.reshape([2, 5]);
        let state = Tensor::zeros([3, 4], &Device::flex());
        gru_step(x, all.w_input, all.w_hidden, all.bias_input, all.bias_hidden, state);
    }

    #[test]
    fn begins_with_zeros() {
        let device = Device::flex();
        let all = Arguments::new([3, 6, 5, 20], &device);
        let run = |state| values(all.run_from(gru, all.x.clone(), state).0);
        assert_eq!(run(None), run(Some(Tensor::zeros([3, 20], &device))));
    }

    #[test]
    fn transposed_arguments() {
        let device = Device::flex();
        let all = Arguments::new([3, 4, 5, 20], &device);
        let flip = |matrix: &Tensor<2>| {
            let [rows, columns] = matrix.dims();
            tensor(&values(matrix.clone().transpose()), [columns, rows], &device).transpose()
        };
        let x = tensor(&values(all.x.clone().swap_dims(0, 1)), [4, 3, 5], &device).swap_dims(0, 1);
        let (w_input, w_hidden) = (flip(&all.w_input), flip(&all.w_hidden));
        let (bias_input, bias_hidden) = (all.bias_input.clone(), all.bias_hidden.clone());
        let (y, _) = gru(x, w_input, w_hidden, bias_input, bias_hidden, Some(flip(&all.h)));
        assert_eq!(values(y), values(all.run(gru).0));
    }

    #[test]
    fn empty_batches_and_sequences() {
        let device = Device::flex();
        let all = Arguments::new([2, 3, 5, 4], &device);
        let (y, h) = all.run_from(gru, Tensor::zeros([0, 3, 5], &device), None);
        assert_eq!((y.dims(), h.dims()), ([0, 3, 4], [0, 4]));
        let (y, h) = all.run_from(gru, Tensor::zeros([2, 0, 5], &device), Some(all.h.clone()));
        assert_eq!((y.dims(), values(h)), ([2, 0, 4], values(all.h.clone())));
    }

    #[test]
    #[should_panic(expected = "input weights [5, 16] do not fit 5 inputs and recurrent weights [4, 12]")]
    fn wrong_weights_panic_with_both_shapes() {
        let device = Device::flex();
        gru(
            Tensor::zeros([2, 3, 5], &device),
            Tensor::zeros([5, 16], &device),
            Tensor::zeros([4, 12], &device),
            Tensor::zeros([12], &device),
            Tensor::zeros([12], &device),
            None,
        );
    }

    #[test]
    #[should_panic(expected = "state Some([3, 4]) must be [2, 4]")]
    fn a_wrong_state_panics_with_both_shapes() {
        let all = Arguments::new([2, 3, 5, 4], &Device::flex());
        all.run_from(gru, all.x.clone(), Some(Tensor::zeros([3, 4], &Device::flex())));
    }
}
