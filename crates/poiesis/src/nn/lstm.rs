//! The layer of long short-term memory.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{lstm, lstm_step};

use super::Init;

/// Hidden state and cell, `[batch, width]` each.
pub type LstmState = (Tensor<2>, Tensor<2>);

/// A layer of long short-term memory (Hochreiter and Schmidhuber 1997) with forget gates (Gers et al. 2000); see
/// [`poiesis_kernels::lstm`]. Columns are in the order of the gates i, f, g, o.
#[derive(Module, Debug)]
pub struct Lstm {
    /// `[inputs, 4 · width]`.
    pub w_input: Param<Tensor<2>>,
    /// `[width, 4 · width]`.
    pub w_hidden: Param<Tensor<2>>,
    /// `[4 · width]`.
    pub bias: Param<Tensor<1>>,
}

impl Lstm {
    /// Makes a layer whose parameters are uniform on ± `bound`, but for the bias of forget gates, which is 1.
    pub fn new(inputs: usize, width: usize, bound: f64, init: &mut Init) -> Lstm {
        let w_input = init.uniform([inputs, 4 * width], bound);
        let w_hidden = init.uniform([width, 4 * width], bound);
        let bias = init.uniform::<1>([4 * width], bound);
        if !init.draws() {
            return Lstm { w_input, w_hidden, bias };
        }
        let forget = Tensor::ones([width], &init.device().clone().inner());
        let bias = bias.map(|bias| {
            let drawn = bias.clone().inner();
            let (input, rest) = (drawn.clone().narrow(0, 0, width), drawn.narrow(0, 2 * width, 2 * width));
            let start = Tensor::cat(vec![input, forget, rest], 0);
            if bias.is_autodiff() { start.autodiff().require_grad() } else { start }
        });
        Lstm { w_input, w_hidden, bias }
    }

    /// Reads sequences from a state, zeros where there is none.
    ///
    /// # Shapes
    ///
    /// `[batch, time, inputs]` to `[batch, time, width]`, and the state behind the last.
    ///
    /// # Panics
    ///
    /// When the shapes do not fit each other.
    pub fn forward(&self, x: Tensor<3>, state: Option<LstmState>) -> (Tensor<3>, LstmState) {
        lstm(x, self.w_input.val(), self.w_hidden.val(), self.bias.val(), state)
    }

    /// The state after one more input, `[batch, inputs]`.
    ///
    /// # Panics
    ///
    /// When the shapes do not fit each other.
    pub fn step(&self, x: Tensor<2>, state: LstmState) -> LstmState {
        lstm_step(x, self.w_input.val(), self.w_hidden.val(), self.bias.val(), state)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::values;

    #[test]
    fn forget_gates_begin_open_and_steps_are_those_of_a_sequence() {
        let device = Device::flex();
        let layer = Lstm::new(3, 2, 0.1, &mut Init::new(1, &device));
        let bias = values(&layer.bias);
        assert_eq!(bias[2..4], [1.0; 2]);
        assert!(bias[..2].iter().chain(&bias[4..]).all(|b| b.abs() <= 0.1));
        let x = Tensor::<3>::from_data([[[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]]], &device);
        let zeros = || Tensor::zeros([1, 2], &device);
        let (_, (h, _)) = layer.forward(x.clone(), None);
        let at = |t: usize| x.clone().narrow(1, t, 1).reshape([1, 3]);
        let (stepped, _) = layer.step(at(1), layer.step(at(0), (zeros(), zeros())));
        assert_eq!(
            h.into_data().try_to_vec::<f32>().unwrap(),
            stepped.into_data().try_to_vec::<f32>().unwrap()
        );
    }
}
