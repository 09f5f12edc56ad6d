//! Rotary position embedding of queries and keys.

use burn::tensor::{Tensor, TensorData};

use crate::flex;
use crate::flex::rotary::angles;

/// Rotates pairs of the last axis of `x [batch, time, heads, dim]` by angles proportional to the position: the pair
/// `(i, i + dim / 2)` at time `t` by `(first_position + t) · base^(−2 i / dim)`, so that products of rotated queries and
/// keys depend on their distance only. `first_position` is the position of the first time step, for generation with cached
/// keys; the usual `base` is 10 000.
///
/// On Flex one pass over memory forward and one backward; only sine and cosine of the angles are kept,
/// `time · dim` values; those of the last call are reused by the next one.
///
/// Source: Su et al. 2021 (arXiv:2104.09864), equation 34, with the halves of the axis as the members of the pairs.
///
/// # Panics
///
/// When `dim` is odd.
pub fn rotary(x: Tensor<4>, first_position: usize, base: f64) -> Tensor<4> {
    let shape = x.dims();
    assert!(shape[3].is_multiple_of(2), "rotary: input {shape:?} has no pairs: its last axis must be even",);
    if shape.contains(&0) {
        return x;
    }
    flex::rotary::rotary(&x, shape[2], first_position, base)
        .unwrap_or_else(|| default(x, first_position, base))
}

/// [`rotary`] of the queries and keys of `qkv [batch, time, heads + 2 · kv_heads, dim]`, packed as
/// [`attention_packed`](crate::attention_packed) takes them; the values, which are the last `kv_heads` heads, are not
/// changed.
///
/// # Panics
///
/// When `dim` is odd, or there are no more than `kv_heads` heads.
pub fn rotary_packed(qkv: Tensor<4>, kv_heads: usize, first_position: usize, base: f64) -> Tensor<4> {
    let shape = qkv.dims();
    assert!(
        shape[3].is_multiple_of(2) && shape[2] > kv_heads,
        "rotary_packed: input {shape:?} has no pairs, or no heads besides {kv_heads} of values",
    );
    if shape.contains(&0) {
        return qkv;
    }
    flex::rotary::rotary(&qkv, shape[2] - kv_heads, first_position, base)
        .unwrap_or_else(|| default_packed(qkv, kv_heads, first_position, base))
}

pub(crate) fn default_packed(qkv: Tensor<4>, kv_heads: usize, first_position: usize, base: f64) -> Tensor<4> {
    let turned = qkv.dims()[2] - kv_heads;
    let values = qkv.clone().narrow(2, turned, kv_heads);
    Tensor::cat(vec![default(qkv.narrow(2, 0, turned), first_position, base), values], 2)
}

pub(crate) fn default(x: Tensor<4>, first_position: usize, base: f64) -> Tensor<4> {
    let [_, time, _, dim] = x.dims();
    let half = dim / 2;
    let mut table = vec![0.0; time * dim];
    for (t, row) in table.chunks_exact_mut(dim).enumerate() {
        angles(row, first_position + t, base);
    }
    let table = Tensor::<4>::from_data(TensorData::new(table, [1, time, 1, dim]), &x.device());
    let (cosine, sine) = (table.clone().narrow(3, 0, half), table.narrow(3, half, half));
    let (first, second) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    Tensor::cat(
        vec![first.clone() * cosine.clone() - second.clone() * sine.clone(), second * cosine + first * sine],
        3,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Fixture, assert_all_close, assert_close, assert_same_for_any_threads, numbers, tensor, values,
    };
    use burn::tensor::Device;

    type Rotary = fn(Tensor<4>, usize, f64) -> Tensor<4>;

    const SHAPES: [[usize; 4]; 5] =
        [[2, 37, 4, 64], [1, 1, 1, 2], [3, 5, 2, 6], [1, 300, 3, 34], [70, 1, 5, 10]];

    /// Result and gradient.
    fn run(rotary: Rotary, shape: [usize; 4], first: usize) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let count = shape.iter().product();
        let x = tensor(&numbers(count, 1), shape, &device).require_grad();
        let y = rotary(x.clone(), first, 10_000.0);
        let gradients = (y.clone() * tensor(&numbers(count, 2), shape, &device)).sum().backward();
        vec![values(y), values(x.grad(&gradients).unwrap())]
    }

    #[test]
    fn equals_the_default_implementation() {
        for shape in SHAPES {
            let expected = run(default, shape, 11);
            assert_all_close(&run(rotary, shape, 11), &expected, 2e-7, &format!("{shape:?}"));
        }
    }

    #[test]
    fn packed_equals_its_default_implementation() {
        let ours: Rotary = |x, first, base| rotary_packed(x, 1, first, base);
        let theirs: Rotary = |x, first, base| default_packed(x, 1, first, base);
        for shape in SHAPES.into_iter().filter(|shape| shape[2] > 1) {
            let expected = run(theirs, shape, 11);
            assert_all_close(&run(ours, shape, 11), &expected, 2e-7, &format!("{shape:?}"));
        }
    }

    #[test]
    fn equals_plain_loops() {
        for shape in SHAPES {
            let [batch, time, heads, dim] = shape;
            let count = shape.iter().product();
            let (x, dy) = (numbers(count, 1), numbers(count, 2));
            let (mut y, mut dx) = (vec![0.0; count], vec![0.0; count]);
            for row in 0..batch * time * heads {
                for i in 0..dim / 2 {
                    let position = (7 + row / heads % time) as f64;
                    let (sine, cosine) = (position / 10_000f64.powf(2.0 * i as f64 / dim as f64)).sin_cos();
                    let (j, k) = (row * dim + i, row * dim + i + dim / 2);
                    let [a, b, da, db] = [x[j], x[k], dy[j], dy[k]].map(f64::from);
                    (y[j], y[k]) = (a * cosine - b * sine, b * cosine + a * sine);
                    (dx[j], dx[k]) = (da * cosine + db * sine, db * cosine - da * sine);
                }
            }
            let got = run(rotary, shape, 7);
            assert_close(&got[0], &y, 2e-7, &format!("y of {shape:?}"));
            assert_close(&got[1], &dx, 2e-7, &format!("dx of {shape:?}"));
        }
    }

    #[test]
    fn equals_pytorch() {
        let device = Device::flex().autodiff();
        let fixture = Fixture::read("rotary");
        let x = fixture.tensor::<4>("x", &device).require_grad();
        let y = rotary(x.clone(), 5, 10_000.0);
        let gradients = (y.clone() * fixture.tensor("dy", &device)).sum().backward();
        fixture.assert_close("y", y, 3e-7);
        fixture.assert_close("dx", x.grad(&gradients).unwrap(), 3e-7);
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        assert_same_for_any_threads(|| run(rotary, [9, 130, 5, 18], 3));
    }

    #[test]
    fn a_later_start_continues_the_positions() {
        let device = Device::flex();
        let x = tensor(&numbers(2 * 9 * 3 * 8, 1), [2, 9, 3, 8], &device);
        let all = rotary(x.clone(), 4, 100.0).narrow(1, 6, 3);
        assert_eq!(values(rotary(x.narrow(1, 6, 3), 10, 100.0)), values(all));
    }

    #[test]
    fn other_angles_than_those_of_the_last_call() {
        let device = Device::flex();
        let x = tensor(&numbers(2 * 6 * 3 * 12, 1), [2, 6, 3, 12], &device);
        let shapes = [[2, 6, 3, 12], [1, 12, 3, 12], [2, 9, 3, 8], [4, 9, 2, 6], [2, 6, 3, 12]];
        for (shape, first, base) in
            shapes.into_iter().flat_map(|shape| [(shape, 0, 100.0), (shape, 1, 100.0), (shape, 1, 90.0)])
        {
            let x = x.clone().reshape(shape);
            let expected: Vec<f64> =
                values(default(x.clone(), first, base)).into_iter().map(f64::from).collect();
            assert_close(
                &values(rotary(x, first, base)),
                &expected,
                2e-7,
                &format!("{shape:?} from {first}"),
            );
        }
    }

    #[test]
    fn views_are_read_in_their_own_order() {
        let device = Device::flex();
        let x = tensor(&numbers(2 * 3 * 5 * 8, 1), [2, 3, 5, 8], &device).swap_dims(1, 2);
        let copy = tensor(&values(x.clone()), [2, 5, 3, 8], &device);
        assert_eq!(values(rotary(x, 1, 10_000.0)), values(rotary(copy, 1, 10_000.0)));
    }

    #[test]
    fn an_empty_batch() {
        let x = Tensor::<4>::zeros([0, 3, 2, 4], &Device::flex());
        assert_eq!(rotary(x, 0, 10_000.0).dims(), [0, 3, 2, 4]);
    }

    #[test]
    #[should_panic(expected = "input [1, 2, 3, 5] has no pairs")]
    fn an_odd_axis_has_no_pairs() {
        rotary(Tensor::ones([1, 2, 3, 5], &Device::flex()), 0, 10_000.0);
    }
}
