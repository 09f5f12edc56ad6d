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

pub(crate) fn default(x: Tensor<4>, weight: Tensor<3>, lines: Lines) -> Tensor<4> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Fixture, assert_all_close, assert_close, assert_same_for_any_threads, numbers, tensor, values,
    };
    use burn::tensor::Device;

    const ALL: [Lines; 3] = [Lines::Rows, Lines::Diagonals, Lines::MirroredDiagonals];

    /// Batch, height, width, hidden units, taps.
    type Size = [usize; 5];

    const SIZES: [Size; 7] = [
        [1, 1, 1, 1, 1],
        [2, 4, 7, 16, 2],
        [3, 7, 4, 20, 3],
        [2, 1, 6, 5, 2],
        [2, 6, 1, 3, 3],
        [1, 5, 5, 70, 4],
        [5, 6, 9, 35, 5],
    ];

    fn arguments([batch, height, width, hidden, taps]: Size, device: &Device) -> (Tensor<4>, Tensor<3>) {
        let scale = 1.5 / ((taps * hidden) as f32).sqrt();
        let weight: Vec<f32> = numbers(taps * hidden * 4 * hidden, 2).iter().map(|w| w * scale).collect();
        let x: Vec<f32> = numbers(batch * height * width * 4 * hidden, 1).iter().map(|x| 2.0 * x).collect();
        (
            tensor(&x, [batch, height, width, 4 * hidden], device),
            tensor(&weight, [taps, hidden, 4 * hidden], device),
        )
    }

    type ConvLstm = fn(Tensor<4>, Tensor<3>, Lines) -> Tensor<4>;

    /// The result and both gradients.
    fn run(conv_lstm: ConvLstm, size: Size, lines: Lines) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let (x, weight) = arguments(size, &device);
        let (x, weight) = (x.require_grad(), weight.require_grad());
        let y = conv_lstm(x.clone(), weight.clone(), lines);
        let dy = tensor(&numbers(y.shape().num_elements(), 3), y.dims(), &device);
        let gradients = (y.clone() * dy).sum().backward();
        vec![values(y), values(x.grad(&gradients).unwrap()), values(weight.grad(&gradients).unwrap())]
    }

    #[test]
    fn equals_the_default_implementation() {
        for size in SIZES {
            for lines in ALL {
                let expected = run(default, size, lines);
                let got = run(conv_lstm, size, lines);
                assert_all_close(&got, &expected, 1e-5, &format!("{size:?} {lines:?}"));
            }
        }
    }

    /// The definition in f64, one position at a time, from a map of positions to their lines.
    fn plain([batch, height, width, hidden, taps]: Size, lines: Lines) -> Vec<f64> {
        let (x, weight) = arguments([batch, height, width, hidden, taps], &Device::flex());
        let wide = |values: Vec<f32>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
        let (x, weight) = (wide(values(x)), wide(values(weight)));
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let line_and_place = |row: usize, column: usize| match lines {
            Lines::Rows => (row, column),
            Lines::Diagonals => (row + column, row),
            Lines::MirroredDiagonals => (row + width - 1 - column, row),
        };
        let mut order: Vec<_> = (0..height).flat_map(|r| (0..width).map(move |c| (r, c))).collect();
        order.sort_by_key(|&(row, column)| line_and_place(row, column));
        let mut y = vec![0.0; batch * height * width * hidden];
        for image in 0..batch {
            let mut states = std::collections::BTreeMap::new();
            for &(row, column) in &order {
                let (line, place) = line_and_place(row, column);
                let at = (image * height + row) * width + column;
                let mut z = x[at * 4 * hidden..][..4 * hidden].to_vec();
                let before = |place: Option<usize>| {
                    let key = (line.checked_sub(1)?, place?);
                    states.get(&key).cloned() as Option<(Vec<f64>, Vec<f64>)>
                };
                for tap in 0..taps {
                    let Some((h, _)) = before((place + tap).checked_sub(taps / 2)) else { continue };
                    for (j, z) in z.iter_mut().enumerate() {
                        let w = |u: usize| weight[(tap * hidden + u) * 4 * hidden + j];
                        *z += (0..hidden).map(|u| h[u] * w(u)).sum::<f64>();
                    }
                }
                let previous = before(Some(place)).map_or(vec![0.0; hidden], |(_, c)| c);
                let c: Vec<f64> = (0..hidden)
                    .map(|u| sigmoid(z[hidden + u]) * previous[u] + sigmoid(z[u]) * z[2 * hidden + u].tanh())
                    .collect();
                let h: Vec<f64> = (0..hidden).map(|u| sigmoid(z[3 * hidden + u]) * c[u].tanh()).collect();
                y[at * hidden..][..hidden].copy_from_slice(&h);
                states.insert((line, place), (h, c));
            }
        }
        y
    }

    #[test]
    fn equals_the_definition() {
        for size in SIZES {
            for lines in ALL {
                let (x, weight) = arguments(size, &Device::flex());
                let y = values(conv_lstm(x, weight, lines));
                assert_close(&y, &plain(size, lines), 3e-6, &format!("{size:?} {lines:?}"));
            }
        }
    }

    #[test]
    fn the_same_with_and_without_autodiff() {
        for lines in ALL {
            let (x, weight) = arguments([2, 4, 7, 16, 2], &Device::flex());
            let y = values(conv_lstm(x, weight, lines));
            assert_eq!(y, run(conv_lstm, [2, 4, 7, 16, 2], lines)[0]);
        }
    }

    #[test]
    fn an_image_is_the_same_alone_and_in_a_batch() {
        for lines in ALL {
            let (x, weight) = arguments([5, 6, 9, 35, 2], &Device::flex());
            let all = conv_lstm(x.clone(), weight.clone(), lines).narrow(0, 3, 1);
            assert_eq!(values(conv_lstm(x.narrow(0, 3, 1), weight, lines)), values(all));
        }
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        assert_same_for_any_threads(|| {
            ALL.iter().flat_map(|&lines| run(conv_lstm, [7, 12, 9, 24, 2], lines)).collect()
        });
    }

    #[test]
    fn a_constant_argument_needs_no_gradient() {
        let device = Device::flex().autodiff();
        let (x, weight) = arguments([2, 4, 7, 16, 2], &device);
        let x = x.require_grad();
        let gradients = conv_lstm(x.clone(), weight.clone(), Lines::Diagonals).sum().backward();
        let (y, z) = arguments([2, 4, 7, 16, 2], &device);
        let (y, z) = (y.require_grad(), z.require_grad());
        let both = conv_lstm(y.clone(), z, Lines::Diagonals).sum().backward();
        assert_eq!(values(x.grad(&gradients).unwrap()), values(y.grad(&both).unwrap()));
        assert!(weight.grad(&gradients).is_none());
    }

    #[test]
    fn transposed_arguments() {
        let (x, weight) = arguments([3, 5, 4, 6, 3], &Device::flex());
        let flipped =
            tensor(&values(x.clone().swap_dims(1, 2)), [3, 4, 5, 24], &Device::flex()).swap_dims(1, 2);
        let got = conv_lstm(flipped, weight.clone(), Lines::Diagonals);
        assert_eq!(values(got), values(conv_lstm(x, weight, Lines::Diagonals)));
    }

    #[test]
    fn empty_maps() {
        let device = Device::flex();
        let weight = Tensor::zeros([2, 3, 12], &device);
        let y = conv_lstm(Tensor::zeros([0, 2, 3, 12], &device), weight, Lines::Rows);
        assert_eq!(y.dims(), [0, 2, 3, 3]);
    }

    #[test]
    fn equals_pytorch() {
        let fixture = Fixture::read("conv_lstm");
        let device = Device::flex().autodiff();
        for (name, lines) in
            [("rows", Lines::Rows), ("diagonals", Lines::Diagonals), ("mirrored", Lines::MirroredDiagonals)]
        {
            let array = |key: &str| format!("{name}.{key}");
            let x = fixture.tensor::<4>(&array("x"), &device).require_grad();
            let weight = fixture.tensor::<3>(&array("weight"), &device).require_grad();
            let y = conv_lstm(x.clone(), weight.clone(), lines);
            let gradients = (y.clone() * fixture.tensor(&array("dy"), &device)).sum().backward();
            fixture.assert_close(&array("y"), y, 1e-6);
            fixture.assert_close(&array("x.grad"), x.grad(&gradients).unwrap(), 2e-6);
            fixture.assert_close(&array("weight.grad"), weight.grad(&gradients).unwrap(), 2e-6);
        }
    }

    #[test]
    #[should_panic(expected = "input [1, 2, 3, 8] does not fit weight [2, 3, 12]")]
    fn wrong_shapes_panic_with_both() {
        let device = Device::flex();
        conv_lstm(Tensor::zeros([1, 2, 3, 8], &device), Tensor::zeros([2, 3, 12], &device), Lines::Rows);
    }
}
