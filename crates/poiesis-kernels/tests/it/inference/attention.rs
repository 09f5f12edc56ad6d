//! Attention to cached positions, and rotary positions.

use poiesis_kernels::inference::{KeyValueCache, Rotary, Rows, RowsMut};

use super::bits;
use crate::common::{assert_close, flex_device, numbers, tensor, values};

/// Sizes of a cache and its queries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    batch: usize,
    time: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
}

impl Attention {
    /// A case large enough for all threads.
    pub(super) const LARGE: Self = Self { batch: 2, time: 700, heads: 8, kv_heads: 4, dim: 64 };

    const CASES: [Self; 5] = [
        Self { batch: 2, time: 530, heads: 4, kv_heads: 2, dim: 24 },
        Self { batch: 1, time: 70, heads: 3, kv_heads: 1, dim: 70 },
        Self { batch: 3, time: 1, heads: 1, kv_heads: 1, dim: 1 },
        Self { batch: 3, time: 300, heads: 6, kv_heads: 6, dim: 32 },
        Self { batch: 1, time: 40, heads: 40, kv_heads: 1, dim: 16 },
    ];

    fn widths(&self) -> [usize; 3] {
        [self.heads, self.kv_heads, self.kv_heads].map(|heads| heads * self.dim)
    }

    fn arrays(&self) -> [Vec<f32>; 3] {
        let widths = self.widths();
        [0, 1, 2].map(|i| numbers(self.batch * self.time * widths[i], i as u64 + 1))
    }

    /// All positions through a cache of `capacity`, in parts whose lengths cycle through `counts`.
    pub(super) fn run(&self, capacity: usize, counts: &[usize]) -> Vec<f32> {
        let Self { batch, time, heads, kv_heads, dim } = *self;
        let (arrays, widths) = (self.arrays(), self.widths());
        let mut cache = KeyValueCache::new([batch, capacity, kv_heads, dim]);
        let mut y = vec![0.0; batch * time * widths[0]];
        for &count in counts.iter().cycle() {
            let start = cache.len();
            let count = count.min(time - start);
            if count == 0 {
                break;
            }
            let [q, k, v] = [0, 1, 2].map(|i| {
                let examples = arrays[i].chunks_exact(time * widths[i]);
                examples
                    .flat_map(|x| x[start * widths[i]..][..count * widths[i]].to_vec())
                    .collect::<Vec<f32>>()
            });
            cache.append(count, &k, &v);
            let mut part = vec![0.0; q.len()];
            cache.attend(count, heads, &q, None, &mut part);
            let examples = y.chunks_exact_mut(time * widths[0]).zip(part.chunks_exact(count * widths[0]));
            examples.for_each(|(y, part)| y[start * widths[0]..][..part.len()].copy_from_slice(part));
        }
        y
    }
}

#[test]
fn attention_does_not_depend_on_how_positions_are_split() {
    let device = flex_device();
    for case in Attention::CASES {
        let Attention { batch, time, heads, kv_heads, dim } = case;
        let [q, k, v] = case.arrays();
        let shape = |heads: usize| [batch, time, heads, dim];
        let options = poiesis_kernels::AttentionOptions { causal: true, scale: None };
        let expected = poiesis_kernels::attention(
            tensor(&q, shape(heads), &device),
            tensor(&k, shape(kv_heads), &device),
            tensor(&v, shape(kv_heads), &device),
            &options,
        );
        let expected = bits(&values(expected));
        for (capacity, counts) in
            [(time, &[1][..]), (time + 777, &[1]), (time, &[time]), (time + 5, &[200, 1, 3, 70])]
        {
            assert_eq!(bits(&case.run(capacity, counts)), expected, "{case:?} in {counts:?} of {capacity}");
        }
    }
}

#[test]
fn attention_equals_plain_loops_and_reads_packed_rows() {
    let Attention { batch, time, heads, kv_heads, dim } =
        Attention { batch: 2, time: 9, heads: 4, kv_heads: 2, dim: 6 };
    // Queries, keys and values side by side, as one layer computes them.
    let all = heads + 2 * kv_heads;
    let stride = all * dim;
    let x = numbers(batch * time * stride, 1);
    let mut cache = KeyValueCache::new([batch, 20, kv_heads, dim]);
    let part = |head: usize| Rows::strided(&x[head * dim..], stride);
    let mut y = vec![0.5; batch * time * (heads * dim + 3)];
    for again in 0..2 {
        cache.append(time, part(heads), part(heads + kv_heads));
        let out = RowsMut::strided(&mut y, batch * time, heads * dim + 3);
        cache.attend(time, heads, part(0), Some(0.7), out);
        for row in 0..batch * time {
            for h in 0..heads {
                let at = |row: usize, head: usize| {
                    x[row * stride + head * dim..][..dim].iter().map(|&x| f64::from(x))
                };
                let kv = h / (heads / kv_heads);
                let seen = row / time * time..row + 1;
                let weights: Vec<f64> = seen
                    .clone()
                    .map(|key| {
                        (0.7 * at(row, h).zip(at(key, heads + kv)).map(|(q, k)| q * k).sum::<f64>()).exp()
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                let expected: Vec<f64> = (0..dim)
                    .map(|d| {
                        let values =
                            seen.clone().map(|key| at(key, heads + kv_heads + kv).nth(d).unwrap_or(f64::NAN));
                        weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / sum
                    })
                    .collect();
                let got = &y[row * (heads * dim + 3) + h * dim..][..dim];
                assert_close(got, &expected, 2e-6, &format!("row {row}, head {h}, pass {again}"));
            }
            assert_eq!(y[row * (heads * dim + 3) + heads * dim..][..3], [0.5; 3]);
        }
        cache.clear();
    }
}

#[test]
fn rotations_are_those_of_tensors() {
    let (time, heads, dim) = (40, 3, 22);
    let x = numbers(time * heads * dim, 1);
    let expected = poiesis_kernels::rotary(tensor(&x, [1, time, heads, dim], &flex_device()), 0, 10_000.0);
    let rotary = Rotary::new(time, dim, 10_000.0);
    let mut got = x.clone();
    for (position, x) in got.chunks_exact_mut(heads * dim).enumerate() {
        rotary.apply(position, x);
    }
    assert_eq!(bits(&got), bits(&values(expected)));
}
