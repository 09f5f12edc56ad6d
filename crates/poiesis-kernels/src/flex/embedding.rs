//! Rows of a table by index: a copy forward; backward each row of the table sums the gradients of its copies, in a fixed order.

#![expect(unsafe_code, reason = "tasks write their own rows of one array through `Shared`")]

use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;

/// Values of a task, about.
const PART: usize = 1 << 14;

/// [`crate::embedding`] of tensors on Flex; `None` for others. Nothing may be empty.
pub fn embedding(weight: &Tensor<2>, indices: &Tensor<2, Int>) -> Option<Tensor<3>> {
    let [n, dim] = weight.dims();
    let [rows, columns] = indices.dims();
    let operand = Operand::new(weight)?;
    let indices = operand::integers(indices)?;
    indices.iter().for_each(|&index| check(index, [n, dim]));
    let indices: Vec<usize> = indices.into_iter().map(|index| index as usize).collect();
    let inputs = Inputs::new([operand]);
    let [weight] = inputs.values();
    let y = operand::tensor(gather(weight, &indices, dim), &[rows, columns, dim]);
    Some(inputs.finish(y, |_, _| Embedding { weight: [n, dim], indices: indices.into() }))
}

/// Panics if an index is outside of the table.
pub(crate) fn check(index: i64, weight: [usize; 2]) {
    assert!(
        usize::try_from(index).is_ok_and(|index| index < weight[0]),
        "embedding: index {index} is outside of weight {weight:?}",
    );
}

fn gather(weight: &[f32], indices: &[usize], dim: usize) -> Buffer {
    let mut y = Buffer::take(indices.len() * dim);
    let shared = Shared::new(&mut y);
    let size = PART.div_ceil(dim);
    parallel::tasks(parallel::parts(indices.len(), size), |task| {
        let range = parallel::part(indices.len(), size, task);
        // SAFETY: the tasks' ranges are disjoint.
        let y = unsafe { shared.part(range.start * dim..range.end * dim) };
        for (y, &index) in y.chunks_exact_mut(dim).zip(&indices[range]) {
            y.copy_from_slice(&weight[index * dim..(index + 1) * dim]);
        }
    });
    y
}

#[derive(Clone, Debug)]
struct Embedding {
    weight: [usize; 2],
    indices: Arc<[usize]>,
}

impl BackwardPass<1> for Embedding {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(operand::tensor(scatter(values(&dy), &self.indices, self.weight), &self.weight))]
    }
}

/// For each row of the table the sum of the rows of `dy` at its positions.
fn scatter(dy: &[f32], indices: &[usize], [n, dim]: [usize; 2]) -> Buffer {
    let (starts, positions) = positions(indices, n);
    let mut result = Buffer::take(n * dim);
    let shared = Shared::new(&mut result);
    let size = PART.div_ceil(dim);
    parallel::tasks(parallel::parts(n, size), |task| {
        for row in parallel::part(n, size, task) {
            // SAFETY: every row belongs to one task.
            let sum = unsafe { shared.part(row * dim..(row + 1) * dim) };
            sum.fill(0.0);
            for &position in &positions[starts[row]..starts[row + 1]] {
                for (sum, value) in sum.iter_mut().zip(&dy[position * dim..(position + 1) * dim]) {
                    *sum += value;
                }
            }
        }
    });
    result
}

/// The positions of each of `0..n` in `indices`, ascending: those of `i` are `positions[starts[i]..starts[i + 1]]`.
fn positions(indices: &[usize], n: usize) -> (Vec<usize>, Vec<usize>) {
    let mut starts = vec![0; n + 1];
    for &index in indices {
        starts[index + 1] += 1;
    }
    for i in 0..n {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut positions = vec![0; indices.len()];
    for (position, &index) in indices.iter().enumerate() {
        positions[next[index]] = position;
        next[index] += 1;
    }
    (starts, positions)
}
