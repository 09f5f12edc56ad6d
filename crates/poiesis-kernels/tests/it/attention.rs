//! Attention, of separate and of packed tensors.

use burn::tensor::Tensor;
use poiesis_kernels::internals::default_attention as default;
use poiesis_kernels::{AttentionOptions, attention, attention_packed};

use crate::common::{
    Fixture, assert_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor, values,
};

type Attention = fn(Tensor<4>, Tensor<4>, Tensor<4>, &AttentionOptions) -> Tensor<4>;

const CAUSAL: AttentionOptions = AttentionOptions { causal: true, scale: None };
const FULL: AttentionOptions = AttentionOptions { causal: false, scale: Some(0.7) };

/// Batch, queries, keys, heads, kv_heads, dim.
const SHAPES: [[usize; 6]; 8] = [
    [2, 70, 70, 4, 4, 32],
    [1, 1, 1, 1, 1, 1],
    [3, 5, 9, 6, 2, 7],
    [1, 1, 300, 2, 1, 16],
    [1, 600, 610, 1, 1, 5],
    [2, 33, 257, 3, 1, 70],
    [1, 40, 40, 2, 2, 130],
    [1, 64, 64, 4, 2, 64],
];

fn inputs([batch, queries, keys, heads, kv_heads, dim]: [usize; 6]) -> [(Vec<f32>, [usize; 4]); 4] {
    let array = |shape: [usize; 4], seed, factor: f32| {
        let numbers = numbers(shape.iter().product(), seed).iter().map(|x| x * factor).collect();
        (numbers, shape)
    };
    let (many, few) = ([batch, queries, heads, dim], [batch, keys, kv_heads, dim]);
    // Scores of a few units: the relative error of a weight is the absolute one of its score.
    [array(many, 1, 1.2), array(few, 2, 1.2), array(few, 3, 1.0), array(many, 4, 1.0)]
}

/// Result and every gradient.
fn run(attention: Attention, shape: [usize; 6], options: &AttentionOptions) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let [q, k, v, dy] = inputs(shape).map(|(numbers, shape)| tensor(&numbers, shape, &device));
    let [q, k, v] = [q, k, v].map(Tensor::require_grad);
    let y = attention(q.clone(), k.clone(), v.clone(), options);
    let gradients = (y.clone() * dy).sum().backward();
    let gradient = |x: Tensor<4>| values(x.grad(&gradients).unwrap());
    vec![values(y), gradient(q), gradient(k), gradient(v)]
}

/// Result and every gradient by plain loops in f64.
fn plain(shape: [usize; 6], options: &AttentionOptions) -> Vec<Vec<f64>> {
    let [batch, queries, keys, heads, kv_heads, dim] = shape;
    let wide = |x: &Vec<f32>| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let [q, k, v, dy] = inputs(shape).map(|(numbers, _)| wide(&numbers));
    let [mut y, mut dq] = [(); 2].map(|()| vec![0.0; q.len()]);
    let [mut dk, mut dv] = [(); 2].map(|()| vec![0.0; k.len()]);
    let scale = options.scale.unwrap_or(1.0 / (dim as f64).sqrt());
    for (b, i, h) in
        (0..batch * queries * heads).map(|n| (n / heads / queries, n / heads % queries, n % heads))
    {
        let row = ((b * queries + i) * heads + h) * dim;
        let seen = if options.causal { keys - queries + i + 1 } else { keys };
        let key = |j: usize| ((b * keys + j) * kv_heads + h * kv_heads / heads) * dim;
        let dot = |a: &[f64], b: &[f64]| a[..dim].iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let scores: Vec<f64> = (0..seen).map(|j| scale * dot(&q[row..], &k[key(j)..])).collect();
        let max = scores.iter().fold(f64::NEG_INFINITY, |m, &s| m.max(s));
        let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
        let p: Vec<f64> = scores.iter().map(|s| (s - max).exp() / sum).collect();
        let dp: Vec<f64> = (0..seen).map(|j| dot(&dy[row..], &v[key(j)..])).collect();
        let mean = dot_all(&p, &dp);
        for j in 0..seen {
            let ds = scale * p[j] * (dp[j] - mean);
            for d in 0..dim {
                y[row + d] += p[j] * v[key(j) + d];
                dv[key(j) + d] += p[j] * dy[row + d];
                dq[row + d] += ds * k[key(j) + d];
                dk[key(j) + d] += ds * q[row + d];
            }
        }
    }
    vec![y, dq, dk, dv]
}

fn dot_all(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn equals_plain_loops() {
    for shape in SHAPES {
        for options in [&CAUSAL, &FULL] {
            let expected = plain(shape, options);
            for (name, attention) in [("flex", attention as Attention), ("default", default)] {
                for (i, got) in run(attention, shape, options).iter().enumerate() {
                    let what = format!("{name} {shape:?} {options:?}, output {i}");
                    assert_close(got, &expected[i], 3e-6, &what);
                }
            }
        }
    }
}

#[test]
fn equals_pytorch() {
    let fixture = Fixture::read("attention");
    let device = autodiff_device();
    for (name, options) in [("causal", &CAUSAL), ("full", &FULL)] {
        let read = |array: &str| fixture.tensor::<4>(&format!("{name}.{array}"), &device);
        let [q, k, v] = ["q", "k", "v"].map(|array| read(array).require_grad());
        let y = attention(q.clone(), k.clone(), v.clone(), options);
        let gradients = (y.clone() * read("dy")).sum().backward();
        let check = |array: &str, got| fixture.assert_close(&format!("{name}.{array}"), got, 2e-6);
        check("y", y.inner());
        check("dq", q.grad(&gradients).unwrap());
        check("dk", k.grad(&gradients).unwrap());
        check("dv", v.grad(&gradients).unwrap());
    }
}

#[test]
fn packed_equals_the_parts() {
    let device = autodiff_device();
    let (heads, kv_heads, dim) = (6, 2, 20);
    let shape = [2, 75, heads + 2 * kv_heads, dim];
    let numbers_of = |seed, shape: [usize; 4]| tensor(&numbers(shape.iter().product(), seed), shape, &device);
    for options in [&CAUSAL, &FULL] {
        let qkv = numbers_of(1, shape).require_grad();
        let part = |start, len| qkv.clone().narrow(2, start, len);
        let apart =
            attention(part(0, heads), part(heads, kv_heads), part(heads + kv_heads, kv_heads), options);
        let dy = numbers_of(2, apart.dims());
        let expected = (apart.clone() * dy.clone()).sum().backward();
        let packed = attention_packed(qkv.clone(), kv_heads, options);
        let gradients = (packed.clone() * dy).sum().backward();
        assert_eq!(values(packed), values(apart));
        let gradient = |gradients| values(qkv.grad(gradients).unwrap());
        assert_eq!(gradient(&gradients), gradient(&expected));
    }
}

#[test]
fn rows_do_not_depend_on_other_queries() {
    for shape in [[2, 600, 600, 4, 2, 24], [1, 90, 300, 1, 1, 70]] {
        let device = flex_device();
        let [batch, queries, keys, heads, _, dim] = shape;
        let [q, k, v, _] = inputs(shape).map(|(numbers, shape)| tensor(&numbers, shape, &device));
        let all = attention(q.clone(), k.clone(), v.clone(), &CAUSAL);
        for i in [0, 1, queries / 3, queries - 1] {
            let seen = keys - queries + i + 1;
            let first = |x: &Tensor<4>| x.clone().narrow(1, 0, seen);
            let one = attention(q.clone().narrow(1, i, 1), first(&k), first(&v), &CAUSAL);
            assert_eq!(one.dims(), [batch, 1, heads, dim]);
            assert_eq!(values(one), values(all.clone().narrow(1, i, 1)), "{shape:?}, query {i}");
        }
    }
}

#[test]
fn views_and_constants() {
    let device = autodiff_device();
    let [q, k, v, dy] = inputs([2, 9, 9, 3, 3, 8]).map(|(numbers, shape)| tensor(&numbers, shape, &device));
    let turn = |x: &Tensor<4>| x.clone().swap_dims(1, 2);
    let q = turn(&q).require_grad();
    let y = attention(turn(&q), k.clone().inner(), v.clone().inner(), &CAUSAL);
    let gradients = (y * dy.clone()).sum().backward();
    let straight = turn(&q).detach().inner().autodiff().require_grad();
    let y = attention(straight.clone(), k, v, &CAUSAL);
    let expected = (y * dy).sum().backward();
    let (got, expected) = (q.grad(&gradients).unwrap(), straight.grad(&expected).unwrap());
    assert_eq!(values(got.swap_dims(1, 2)), values(expected));
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(attention, [2, 600, 610, 4, 2, 24], &CAUSAL));
}

#[test]
fn large_scores_do_not_overflow() {
    let device = flex_device();
    let x = tensor(&[300.0, -300.0], [1, 2, 1, 1], &device);
    let y = attention(x.clone(), x.clone(), x, &FULL);
    assert_eq!(values(y), [300.0, -300.0]);
}

#[test]
fn an_empty_batch() {
    let device = flex_device();
    let x = Tensor::<4>::zeros([0, 3, 2, 4], &device);
    assert_eq!(attention(x.clone(), x.clone(), x, &CAUSAL).dims(), [0, 3, 2, 4]);
}

#[test]
#[should_panic(expected = "[1, 2, 4, 8] do not fit keys [1, 2, 3, 8]: 3 must divide 4 heads")]
fn wrong_heads_panic_with_both_shapes() {
    let device = flex_device();
    let k = Tensor::ones([1, 2, 3, 8], &device);
    attention(Tensor::ones([1, 2, 4, 8], &device), k.clone(), k, &FULL);
}

#[test]
#[should_panic(expected = "keys [1, 2, 4, 8] do not fit values [1, 3, 4, 8]")]
fn wrong_values_panic_with_both_shapes() {
    let device = flex_device();
    let k = Tensor::<4>::ones([1, 2, 4, 8], &device);
    attention(k.clone(), k, Tensor::ones([1, 3, 4, 8], &device), &FULL);
}

#[test]
#[should_panic(expected = "a causal mask needs as many keys as queries")]
fn queries_without_keys_panic() {
    let device = flex_device();
    let k = Tensor::<4>::ones([1, 2, 4, 8], &device);
    attention(Tensor::ones([1, 3, 4, 8], &device), k.clone(), k, &CAUSAL);
}
