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
        if !on_flex {
            return Self::of_tensors(shape, device);
        }
        Self { shape, len: 0, storage: Storage::Flex(flex::attention::Cache::new(shape)) }
    }

    /// The same in Burn's own operations.
    pub(crate) fn of_tensors(shape: [usize; 4], device: &Device) -> Self {
        let tensors = [Tensor::zeros(shape, device), Tensor::zeros(shape, device)];
        Self { shape, len: 0, storage: Storage::Tensors(Box::new(tensors)) }
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
