//! Attention of one new position to all previous ones, whose keys and values are cached.

use burn::tensor::{Device, Tensor};

use crate::attention;
use crate::flex;
use crate::types::AttentionOptions;

/// Keys and values of the positions of a sequence so far, in memory for `capacity` positions that is allocated once.
pub struct KeyValueCache {
    shape: [usize; 4],
    len: usize,
    storage: Storage,
}

enum Storage {
    Flex(flex::attention::Cache),
    Tensors(Box<[Tensor<4>; 2]>),
}

impl KeyValueCache {
    /// An empty cache of `[batch, capacity, kv_heads, dim]`.
    pub fn new(shape: [usize; 4], device: &Device) -> Self {
        let on_flex = flex::operand::Operand::new(&Tensor::<1>::zeros([1], device)).is_some();
        let storage = if on_flex {
            Storage::Flex(flex::attention::Cache::new(shape))
        } else {
            Storage::Tensors(Box::new([Tensor::zeros(shape, device), Tensor::zeros(shape, device)]))
        };
        Self { shape, len: 0, storage }
    }

    /// Number of positions so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no position yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends the keys and values `[batch, count, kv_heads, dim]` of the next positions, as constants.
    ///
    /// # Panics
    ///
    /// When the shapes do not fit, or the capacity is too small.
    pub fn append(&mut self, k: &Tensor<4>, v: &Tensor<4>) {
        let [batch, capacity, kv_heads, dim] = self.shape;
        let count = k.dims()[1];
        assert!(
            k.dims() == [batch, count, kv_heads, dim],
            "KeyValueCache: keys {:?} do not fit a cache of {:?}",
            k.dims(),
            self.shape,
        );
        assert!(
            k.dims() == v.dims(),
            "KeyValueCache: keys {:?} do not fit values {:?}: they must have one shape",
            k.dims(),
            v.dims(),
        );
        assert!(
            self.len + count <= capacity,
            "KeyValueCache: keys {:?} do not fit after {} positions of a cache of {:?}",
            k.dims(),
            self.len,
            self.shape,
        );
        match &mut self.storage {
            Storage::Flex(cache) => {
                let written = cache.write(k, v, self.len);
                assert!(
                    written.is_some(),
                    "KeyValueCache: keys and values must be f32 on the cache's device"
                );
            }
            Storage::Tensors(kept) => {
                let place = [0..batch, self.len..self.len + count, 0..kv_heads, 0..dim];
                for (kept, new) in kept.iter_mut().zip([k, v]) {
                    *kept = kept.clone().slice_assign(place.clone(), constant(new));
                }
            }
        }
        self.len += count;
    }
}

fn constant(x: &Tensor<4>) -> Tensor<4> {
    if x.is_autodiff() { x.clone().inner() } else { x.clone() }
}

/// The next row of causal [`crate::attention`]: appends `k` and `v [batch, 1, kv_heads, dim]` to the cache, then
/// `q [batch, 1, heads, dim]` attends to everything in the cache. The result has the shape of `q` and no gradient.
///
/// On Flex the row has the same bits as in a pass over the whole sequence. `options.causal` is ignored.
///
/// Source: Shazeer 2019, §2.4, arXiv:1911.02150 (the incremental form).
///
/// # Panics
///
/// When the shapes do not fit each other, or the cache is full.
pub fn attention_step(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    cache: &mut KeyValueCache,
    options: &AttentionOptions,
) -> Tensor<4> {
    let [batch, _, kv_heads, dim] = cache.shape;
    let heads = q.dims()[2];
    assert!(
        q.dims() == [batch, 1, heads, dim]
            && kv_heads > 0
            && heads.is_multiple_of(kv_heads)
            && k.dims()[1] == 1,
        "attention_step: queries {:?} and keys {:?} do not fit a cache of {:?}: there must be one position, and \
         heads a multiple of the cache's",
        q.dims(),
        k.dims(),
        cache.shape,
    );
    cache.append(k, v);
    if q.dims().contains(&0) {
        return constant(q);
    }
    let attended = match &cache.storage {
        Storage::Flex(storage) => storage.attend(q, cache.len, options),
        Storage::Tensors(kept) => {
            let [keys, values] = &**kept;
            let seen = |x: &Tensor<4>| x.clone().narrow(1, 0, cache.len);
            let options = AttentionOptions { causal: false, ..options.clone() };
            Some(attention::default(constant(q), seen(keys), seen(values), &options))
        }
    };
    attended.unwrap_or_else(|| panic!("attention_step: queries must be f32 on the cache's device"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention;
    use crate::testing::{assert_close, assert_same_for_any_threads, numbers, tensor, values};

    const OPTIONS: AttentionOptions = AttentionOptions { causal: true, scale: None };

    fn inputs([batch, time, heads, kv_heads, dim]: [usize; 5]) -> [Tensor<4>; 3] {
        let device = Device::flex();
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
        KeyValueCache::new([batch, time, kv_heads, dim], &Device::flex())
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
        let zeros = || Tensor::zeros([batch, time, kv_heads, dim], &Device::flex());
        let mut plain =
            KeyValueCache { storage: Storage::Tensors(Box::new([zeros(), zeros()])), ..new_cache(shape) };
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
        let x = Tensor::<4>::ones([1, 3, 2, 4], &Device::flex());
        KeyValueCache::new([1, 2, 2, 4], &Device::flex()).append(&x, &x);
    }

    #[test]
    #[should_panic(expected = "queries [1, 2, 2, 4] and keys [1, 1, 2, 4] do not fit")]
    fn more_than_one_query_panics() {
        let k = Tensor::<4>::ones([1, 1, 2, 4], &Device::flex());
        let mut cache = KeyValueCache::new([1, 2, 2, 4], &Device::flex());
        let q = Tensor::ones([1, 2, 2, 4], &Device::flex());
        attention_step(&q, &k, &k, &mut cache, &OPTIONS);
    }
}
