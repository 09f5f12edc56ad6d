//! Scaled dot-product attention.

use burn::tensor::{Tensor, TensorData, activation};

use crate::flex;
use crate::types::AttentionOptions;

/// `softmax(scale · q kᵀ) v` in each head: `q [batch, queries, heads, dim]`, `k` and `v [batch, keys, kv_heads,
/// dim]`; the result has the shape of `q`. Neighbouring `heads / kv_heads` heads of queries share one head of keys
/// and values (grouped queries).
///
/// On Flex the matrix of scores is never stored as a whole: blocks of keys are processed with a running maximum and sum, and
/// one value per row is kept for the backward pass, which computes the scores again. The bits of a row of the result do not
/// depend on the other queries.
///
/// Source: Vaswani et al. 2017, §3.2.1, arXiv:1706.03762; Rabe & Staats 2021, arXiv:2112.05682; Dao et al. 2022,
/// algorithms 1 and 4, arXiv:2205.14135; Ainslie et al. 2023, arXiv:2305.13245, for grouped queries.
///
/// # Panics
///
/// When the shapes do not fit each other, when `kv_heads` does not divide `heads`, or when a causal mask leaves a
/// query without keys.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, options: &AttentionOptions) -> Tensor<4> {
    check(q.dims(), k.dims(), v.dims(), options);
    if q.dims().contains(&0) || k.dims()[1] == 0 {
        return Tensor::zeros(q.dims(), &q.device());
    }
    flex::attention::attention(&q, &k, &v, options).unwrap_or_else(|| default(q, k, v, options))
}

/// [`attention`] of a sequence to itself, with queries, keys and values side by side as one product computes them:
/// `qkv [batch, time, heads + 2 · kv_heads, dim]`, first the heads of the queries, then those of the keys, then
/// those of the values; the result is `[batch, time, heads, dim]`.
///
/// On Flex the parts are not copied, and the gradient is one tensor.
///
/// # Panics
///
/// When `qkv` has no heads for queries besides `2 · kv_heads`, or `kv_heads` does not divide them.
pub fn attention_packed(qkv: Tensor<4>, kv_heads: usize, options: &AttentionOptions) -> Tensor<4> {
    let [batch, time, all, dim] = qkv.dims();
    assert!(
        kv_heads > 0 && all > 2 * kv_heads && all % kv_heads == 0,
        "attention_packed: {:?} does not fit {kv_heads} heads of keys and values: it must be [batch, time, heads + 2 \
         kv_heads, dim] with heads a multiple of kv_heads",
        qkv.dims(),
    );
    let heads = all - 2 * kv_heads;
    if batch * time * dim == 0 {
        return Tensor::zeros([batch, time, heads, dim], &qkv.device());
    }
    flex::attention::packed(&qkv, kv_heads, options).unwrap_or_else(|| {
        let q = qkv.clone().narrow(2, 0, heads);
        let k = qkv.clone().narrow(2, heads, kv_heads);
        default(q, k, qkv.narrow(2, heads + kv_heads, kv_heads), options)
    })
}

fn check(q: [usize; 4], k: [usize; 4], v: [usize; 4], options: &AttentionOptions) {
    let [batch, queries, heads, dim] = q;
    let [_, keys, kv_heads, _] = k;
    assert!(
        k == [batch, keys, kv_heads, dim],
        "attention: queries {q:?} do not fit keys {k:?}: keys must be [{batch}, keys, kv_heads, {dim}]",
    );
    assert!(k == v, "attention: keys {k:?} do not fit values {v:?}: they must have one shape");
    assert!(
        heads == 0 || (kv_heads > 0 && heads % kv_heads == 0),
        "attention: queries {q:?} do not fit keys {k:?}: {kv_heads} must divide {heads} heads",
    );
    assert!(
        !options.causal || queries <= keys,
        "attention: queries {q:?} do not fit keys {k:?}: a causal mask needs as many keys as queries",
    );
}

/// The same in Burn's own operations.
pub fn default(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, options: &AttentionOptions) -> Tensor<4> {
    let [_, queries, heads, dim] = q.dims();
    let [batch, keys, kv_heads, _] = k.dims();
    let group = heads / kv_heads;
    let shared = |x: Tensor<4>| {
        let x: Tensor<5> = x.swap_dims(1, 2).unsqueeze_dim(2);
        x.repeat_dim(2, group).reshape([batch, heads, keys, dim])
    };
    let scale = options.scale.unwrap_or(1.0 / (dim as f64).sqrt());
    let device = q.device();
    let mut scores = q.swap_dims(1, 2).matmul(shared(k).swap_dims(2, 3)) * scale;
    if options.causal {
        let mask = (0..queries * keys)
            .map(|i| if i % keys + queries <= keys + i / keys { 0.0 } else { f32::NEG_INFINITY });
        let mask = TensorData::new(mask.collect::<Vec<f32>>(), [1, 1, queries, keys]);
        scores = scores + Tensor::from_data(mask, &device);
    }
    activation::softmax(scores, 3).matmul(shared(v)).swap_dims(1, 2)
}
