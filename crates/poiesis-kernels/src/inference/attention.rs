//! Attention over kept keys and values, and rotary positions.

use super::rows::{Rows, RowsMut, StridedRows};
use crate::flex::attention::{Cache, Queries};
use crate::flex::rotary::{angles, rotate_in_place};

/// Keys and values of the positions so far of a batch of sequences, in memory that is allocated once.
///
/// The bits of a row of the result of [`KeyValueCache::attend`] do not depend on the capacity, on the other sequences, or on how
/// many positions were added and read at once; they are those of [`crate::attention`] with `causal`.
///
/// ```
/// use poiesis_kernels::inference::KeyValueCache;
///
/// // A sequence of up to 8 positions, one head of 2 values for keys and values, two heads for queries.
/// let mut cache = KeyValueCache::new([1, 8, 1, 2]);
/// let mut y = [0.0; 4];
/// cache.append(1, &[1.0, 0.0], &[3.0, 5.0]);
/// cache.attend(1, 2, &[0.1, 0.2, 0.3, 0.4], None, &mut y);
/// assert_eq!(y, [3.0, 5.0, 3.0, 5.0]);
/// ```
pub struct KeyValueCache {
    shape: [usize; 4],
    len: usize,
    cache: Cache,
}

impl KeyValueCache {
    /// An empty cache of `[batch, capacity, kv_heads, dim]`.
    ///
    /// # Panics
    ///
    /// When `kv_heads` or `dim` is 0.
    pub fn new(shape: [usize; 4]) -> Self {
        assert!(shape[2] * shape[3] > 0, "KeyValueCache: heads and their size must not be 0 in {shape:?}");
        Self { shape, len: 0, cache: Cache::new(shape) }
    }

    /// Number of positions so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no position yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes all positions; the memory stays allocated.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends the keys and values of the next `count` positions of every sequence: rows of `kv_heads · dim` values, first
    /// all positions of the first sequence, then those of the second, and so on.
    ///
    /// # Panics
    ///
    /// When the rows do not fit, or the capacity is too small.
    pub fn append<'k, 'v>(&mut self, count: usize, k: impl Into<Rows<'k>>, v: impl Into<Rows<'v>>) {
        let [batch, capacity, kv_heads, dim] = self.shape;
        assert!(
            self.len + count <= capacity,
            "KeyValueCache: {count} positions do not fit after {} positions of a cache of {:?}",
            self.len,
            self.shape,
        );
        let width = kv_heads * dim;
        let [k, v] = [k.into(), v.into()].map(|rows| {
            rows.check(batch * count, width, "KeyValueCache");
            rows.strided_values(width, "KeyValueCache")
        });
        for row in 0..batch * count {
            let (b, position) = (row / count, self.len + row % count);
            let [k, v] = [k, v].map(|(values, stride)| values[row * stride..][..width].chunks_exact(dim));
            for (head, (k, v)) in k.zip(v).enumerate() {
                self.cache.write_row(b * kv_heads + head, position, k, v);
            }
        }
        self.len += count;
    }

    /// The attention of the queries of the last `count` positions of every sequence to all positions up to their own:
    /// `out = softmax(scale · q kᵀ) v` for rows of `heads · dim` values in the order of [`KeyValueCache::append`]. The default
    /// `scale` is `1 / √dim`. Neighbouring `heads / kv_heads` heads of queries share one head of keys and values.
    ///
    /// Source: Vaswani et al. 2017, §3.2.1, arXiv:1706.03762; Shazeer 2019, §2.4, arXiv:1911.02150.
    ///
    /// # Panics
    ///
    /// When the rows do not fit, there are fewer positions than `count`, or `kv_heads` does not divide `heads`.
    pub fn attend<'q, 'out>(
        &self,
        count: usize,
        heads: usize,
        q: impl Into<Rows<'q>>,
        scale: Option<f64>,
        out: impl Into<RowsMut<'out>>,
    ) {
        let [batch, _, kv_heads, dim] = self.shape;
        assert!(
            count <= self.len && heads > 0 && heads.is_multiple_of(kv_heads),
            "KeyValueCache: queries of {count} positions and {heads} heads do not fit {} positions of a cache of {:?}",
            self.len,
            self.shape,
        );
        let q = q.into();
        let StridedRows { values: out, rows, stride: out_stride } =
            out.into().strided_rows(heads * dim, "KeyValueCache");
        q.check(batch * count, heads * dim, "KeyValueCache");
        assert!(
            rows == batch * count,
            "KeyValueCache: {rows} rows of output do not fit {count} positions of {batch} sequences",
        );
        if rows == 0 {
            return;
        }
        let (values, stride) = q.strided_values(heads * dim, "KeyValueCache");
        let queries = Queries { values, stride, batch, count, heads };
        let scale = scale.unwrap_or(1.0 / (dim as f64).sqrt()) as f32;
        self.cache.attend_rows(&queries, self.len, scale, out, out_stride);
    }
}

/// Rotary position embedding with the angles of all positions computed once, `positions · dim` values.
///
/// Source: Su et al. 2021 (arXiv:2104.09864), equation 34; see [`crate::rotary()`].
#[derive(Clone, Debug)]
pub struct Rotary {
    table: Vec<f32>,
    dim: usize,
}

impl Rotary {
    /// Angles of the positions `0..positions` for heads of `dim` values; the usual `base` is 10 000.
    ///
    /// # Panics
    ///
    /// When `dim` is odd or 0.
    pub fn new(positions: usize, dim: usize, base: f64) -> Self {
        assert!(dim > 0 && dim.is_multiple_of(2), "Rotary: heads of [{dim}] have no pairs");
        let mut table = vec![0.0; positions * dim];
        for (position, row) in table.chunks_exact_mut(dim).enumerate() {
            angles(row, position, base);
        }
        Self { table, dim }
    }

    /// Rotates all heads in `x`, which are at `position`; same bits as [`crate::rotary()`].
    ///
    /// # Panics
    ///
    /// When `x` does not consist of whole heads, or the position is after the last one.
    pub fn apply(&self, position: usize, x: &mut [f32]) {
        let positions = self.table.len() / self.dim;
        assert!(
            x.len().is_multiple_of(self.dim) && position < positions,
            "Rotary: [{}] at position {position} does not fit heads of [{}] at {positions} positions",
            x.len(),
            self.dim,
        );
        rotate_in_place(x, &self.table[position * self.dim..][..self.dim]);
    }
}
