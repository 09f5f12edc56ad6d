//! Long short-term memory over the lines of an image.

use burn::tensor::{Tensor, TensorData};

use crate::activation;
use crate::flex;
use crate::types::{Activation, Lines};

/// A long short-term memory over the lines of a feature map, with a convolution along the previous line as its recurrent
/// product. Returns the hidden states `[batch, height, width, hidden]` for `x [batch, height, width, 4 · hidden]`, the
/// inputs' part of the pre-activations with the bias, and `weight [taps, hidden, 4 · hidden]`, the recurrent weights. The
/// columns of both are those of the gates i, f, g, o in this order.
///
/// With `h[t, p]` and `c[t, p]` at place `p` of line `t`, zero outside of the image,
///
/// `z = x[t, p] + Σₖ h[t − 1, p + k − ⌊taps / 2⌋] · weight[k]`, `i, f, o = σ(z)`, `g = tanh(z)`,
/// `c[t, p] = f ∘ c[t − 1, p] + i ∘ g`, `h[t, p] = o ∘ tanh(c[t, p])`.
///
/// Three taps along [`Lines::Rows`] make the Row LSTM, two along [`Lines::Diagonals`] and [`Lines::MirroredDiagonals`]
/// the two halves of the Diagonal BiLSTM, which read the position above and the one to the left or right; one tap along rows
/// is an LSTM down each column. Diagonals are read in place: the map is not skewed, and nothing is computed outside of the
/// image.
///
/// On Flex the images of a batch are processed in parallel, each line of an image by one matrix product whose left
/// matrix is the previous line with its neighbours, and one pass over its gates. Differentiable in both arguments. Memory: until
/// the backward pass, gates and cells, `5 · batch · height · width · hidden` values, besides the result.
///
/// Source: van den Oord et al. 2016, arXiv:1601.06759, §3.1, §3.2 and equation 3.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn conv_lstm(x: Tensor<4>, weight: Tensor<3>, lines: Lines) -> Tensor<4> {
    let [batch, height, width, gates] = x.dims();
    let [taps, hidden, columns] = weight.dims();
    assert!(
        columns == 4 * hidden && taps > 0,
        "conv_lstm: weight {:?} must be [taps, hidden, 4 · hidden] with at least one tap",
        weight.dims(),
    );
    assert!(
        gates == columns,
        "conv_lstm: input {:?} does not fit weight {:?}: both hold the four gates of each unit",
        x.dims(),
        weight.dims(),
    );
    if batch * height * width * hidden == 0 {
        return Tensor::zeros([batch, height, width, hidden], &x.device());
    }
    flex::conv_lstm::conv_lstm(&x, &weight, lines).unwrap_or_else(|| default(x, weight, lines))
}

/// The same in Burn's own operations.
pub fn default(x: Tensor<4>, weight: Tensor<3>, lines: Lines) -> Tensor<4> {
    let [_, height, width, _] = x.dims();
    match lines {
        Lines::Rows => over_rows(x, weight, None),
        Lines::MirroredDiagonals => default(x.flip([2]), weight, Lines::Diagonals).flip([2]),
        Lines::Diagonals => {
            // The skewed map: row `row + column` of it holds the diagonal, whose places are its columns.
            let inside: Vec<f32> = (0..height + width - 1)
                .flat_map(|line| {
                    (0..height).map(move |place| f32::from(place <= line && line - place < width))
                })
                .collect();
            let inside = TensorData::new(inside, [1, height + width - 1, height, 1]);
            let inside = Tensor::from_data(inside, &x.device());
            let skewed = skew(x, width - 1).swap_dims(1, 2);
            let states = over_rows(skewed, weight, Some(&inside)).swap_dims(1, 2);
            unskew(states, width)
        }
    }
}

/// Row by row; cells are multiplied by `mask [1, rows, places, 1]`, so that where it is 0 states are too.
#[expect(clippy::needless_pass_by_value, reason = "used up")]
fn over_rows(x: Tensor<4>, weight: Tensor<3>, mask: Option<&Tensor<4>>) -> Tensor<4> {
    let [batch, rows, places, _] = x.dims();
    let [taps, hidden, _] = weight.dims();
    let device = x.device();
    let zeros = |places| Tensor::<3>::zeros([batch, places, hidden], &device);
    let (mut h, mut c) = (zeros(places), zeros(places));
    let mut states = Vec::with_capacity(rows);
    for row in 0..rows {
        let padded = Tensor::cat(vec![zeros(taps / 2), h, zeros(taps - 1 - taps / 2)], 1);
        let mut z = x.clone().narrow(1, row, 1).reshape([batch, places, 4 * hidden]);
        for tap in 0..taps {
            z = z + padded.clone().narrow(1, tap, places).matmul(weight.clone().narrow(0, tap, 1));
        }
        let gate = |index: usize, function| {
            activation::default(z.clone().narrow(2, index * hidden, hidden), function)
        };
        let (input, forget) = (gate(0, Activation::Sigmoid), gate(1, Activation::Sigmoid));
        let (new, output) = (gate(2, Activation::Tanh), gate(3, Activation::Sigmoid));
        c = forget * c + input * new;
        if let Some(mask) = mask {
            c = c * mask.clone().narrow(1, row, 1).reshape([1, places, 1]);
        }
        h = output * c.clone().tanh();
        states.push(h.clone().unsqueeze_dim::<4>(1));
    }
    Tensor::cat(states, 1)
}

/// `[batch, height, width, n]` to `[batch, height, height + extra, n]` with `extra = width − 1`: every row one further to
/// the right than the one above, zeros around.
fn skew(x: Tensor<4>, extra: usize) -> Tensor<4> {
    let [batch, height, width, n] = x.dims();
    let long = height + extra;
    // Rows of one more than the skewed ones, read as rows of the skewed length.
    let padding = Tensor::zeros([batch, height, long + 1 - width, n], &x.device());
    let padded = Tensor::cat(vec![x, padding], 2).reshape([batch, height * (long + 1), n]);
    padded.narrow(1, 0, height * long).reshape([batch, height, long, n])
}

/// The image inside a skewed map.
fn unskew(x: Tensor<4>, width: usize) -> Tensor<4> {
    let [batch, height, long, n] = x.dims();
    let flat = x.reshape([batch, height * long, n]);
    let padding = Tensor::zeros([batch, height, n], &flat.device());
    let rows = Tensor::cat(vec![flat, padding], 1).reshape([batch, height, long + 1, n]);
    rows.narrow(2, 0, width)
}
