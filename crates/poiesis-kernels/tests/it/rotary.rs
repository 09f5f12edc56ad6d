//! Rotary positions.

use burn::tensor::Tensor;
use poiesis_kernels::internals::{default_rotary as default, default_rotary_packed as default_packed};
use poiesis_kernels::{rotary, rotary_packed};

use crate::common::{
    Fixture, assert_all_close, assert_close, assert_same_for_any_threads, autodiff_device, flex_device,
    numbers, tensor, values,
};

type Rotary = fn(Tensor<4>, usize, f64) -> Tensor<4>;

const SHAPES: [[usize; 4]; 5] = [[2, 37, 4, 64], [1, 1, 1, 2], [3, 5, 2, 6], [1, 300, 3, 34], [70, 1, 5, 10]];

/// Result and gradient.
fn run(rotary: Rotary, shape: [usize; 4], first: usize) -> Vec<Vec<f32>> {
    let device = autodiff_device();
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
    let device = autodiff_device();
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
    let device = flex_device();
    let x = tensor(&numbers(2 * 9 * 3 * 8, 1), [2, 9, 3, 8], &device);
    let all = rotary(x.clone(), 4, 100.0).narrow(1, 6, 3);
    assert_eq!(values(rotary(x.narrow(1, 6, 3), 10, 100.0)), values(all));
}

#[test]
fn other_angles_than_those_of_the_last_call() {
    let device = flex_device();
    let x = tensor(&numbers(2 * 6 * 3 * 12, 1), [2, 6, 3, 12], &device);
    let shapes = [[2, 6, 3, 12], [1, 12, 3, 12], [2, 9, 3, 8], [4, 9, 2, 6], [2, 6, 3, 12]];
    for (shape, first, base) in
        shapes.into_iter().flat_map(|shape| [(shape, 0, 100.0), (shape, 1, 100.0), (shape, 1, 90.0)])
    {
        let x = x.clone().reshape(shape);
        let expected: Vec<f64> = values(default(x.clone(), first, base)).into_iter().map(f64::from).collect();
        assert_close(&values(rotary(x, first, base)), &expected, 2e-7, &format!("{shape:?} from {first}"));
    }
}

#[test]
fn views_are_read_in_their_own_order() {
    let device = flex_device();
    let x = tensor(&numbers(2 * 3 * 5 * 8, 1), [2, 3, 5, 8], &device).swap_dims(1, 2);
    let copy = tensor(&values(x.clone()), [2, 5, 3, 8], &device);
    assert_eq!(values(rotary(x, 1, 10_000.0)), values(rotary(copy, 1, 10_000.0)));
}

#[test]
fn an_empty_batch() {
    let x = Tensor::<4>::zeros([0, 3, 2, 4], &flex_device());
    assert_eq!(rotary(x, 0, 10_000.0).dims(), [0, 3, 2, 4]);
}

#[test]
#[should_panic(expected = "input [1, 2, 3, 5] has no pairs")]
fn an_odd_axis_has_no_pairs() {
    rotary(Tensor::ones([1, 2, 3, 5], &flex_device()), 0, 10_000.0);
}
