//! Attention step by step.

use burn::tensor::Tensor;
use poiesis_kernels::internals::key_value_cache_of_tensors;
use poiesis_kernels::{AttentionOptions, KeyValueCache, attention, attention_step};

use crate::common::{assert_close, assert_same_for_any_threads, flex_device, numbers, tensor, values};

const OPTIONS: AttentionOptions = AttentionOptions { causal: true, scale: None };

fn inputs([batch, time, heads, kv_heads, dim]: [usize; 5]) -> [Tensor<4>; 3] {
    let device = flex_device();
    let array = |heads: usize, seed| {
        tensor(&numbers(batch * time * heads * dim, seed), [batch, time, heads, dim], &device)
    };
    [array(heads, 1), array(kv_heads, 2), array(kv_heads, 3)]
}

/// The rows of all steps after the first `known` positions.
fn steps(shape: [usize; 5], known: usize, cache: &mut KeyValueCache) -> Vec<Vec<f32>> {
    let [q, k, v] = inputs(shape);
    if known > 0 {
        cache.append(&k.clone().narrow(1, 0, known), &v.clone().narrow(1, 0, known));
    }
    (known..shape[1])
        .map(|i| {
            let at = |x: &Tensor<4>| x.clone().narrow(1, i, 1);
            values(attention_step(&at(&q), &at(&k), &at(&v), cache, &OPTIONS))
        })
        .collect()
}

fn new_cache([batch, time, _, kv_heads, dim]: [usize; 5]) -> KeyValueCache {
    KeyValueCache::new([batch, time, kv_heads, dim], &flex_device())
}

#[test]
fn equals_the_whole_pass_bit_by_bit() {
    for shape in [[2, 530, 4, 2, 24], [1, 70, 3, 1, 70], [1, 1, 1, 1, 1], [3, 270, 6, 6, 130]] {
        let [q, k, v] = inputs(shape);
        let known = shape[1] / 3;
        let all = attention(q, k, v, &OPTIONS);
        let mut cache = new_cache(shape);
        for (i, row) in steps(shape, known, &mut cache).into_iter().enumerate() {
            assert_eq!(row, values(all.clone().narrow(1, known + i, 1)), "{shape:?}, position {i}");
        }
        assert_eq!(cache.len(), shape[1]);
    }
}

#[test]
fn equals_the_default_implementation() {
    let shape = [2, 40, 4, 2, 24];
    let [batch, time, _, kv_heads, dim] = shape;
    let mut plain = key_value_cache_of_tensors([batch, time, kv_heads, dim], &flex_device());
    let expected = steps(shape, 3, &mut plain).concat();
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    assert_close(&steps(shape, 3, &mut new_cache(shape)).concat(), &expected, 2e-6, "steps");
}

#[test]
fn the_same_for_any_number_of_threads() {
    let shape = [2, 700, 8, 8, 64];
    assert_same_for_any_threads(|| steps(shape, 695, &mut new_cache(shape)));
}

#[test]
#[should_panic(expected = "keys [1, 3, 2, 4] do not fit after 0 positions of a cache of [1, 2, 2, 4]")]
fn a_full_cache_panics() {
    let x = Tensor::<4>::ones([1, 3, 2, 4], &flex_device());
    KeyValueCache::new([1, 2, 2, 4], &flex_device()).append(&x, &x);
}

#[test]
#[should_panic(expected = "queries [1, 2, 2, 4] and keys [1, 1, 2, 4] do not fit")]
fn more_than_one_query_panics() {
    let k = Tensor::<4>::ones([1, 1, 2, 4], &flex_device());
    let mut cache = KeyValueCache::new([1, 2, 2, 4], &flex_device());
    let q = Tensor::ones([1, 2, 2, 4], &flex_device());
    attention_step(&q, &k, &k, &mut cache, &OPTIONS);
}
