//! Rows of a table by number: a copy forward; backward each row of the table sums what it gave, in a fixed order.

#![expect(unsafe_code, reason = "tasks write their own rows of one array through `Shared`")]

use std::sync::Arc;

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Int, Tensor};
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use crate::embedding::check;

/// Values of a task, about.
const PART: usize = 1 << 14;

/// [`crate::embedding`] of tensors that live on Flex; `None` for others. Nothing is empty.
pub(crate) fn embedding(weight: &Tensor<2>, indices: &Tensor<2, Int>) -> Option<Tensor<3>> {
    let [n, dim] = weight.dims();
    let [rows, columns] = indices.dims();
    let operand = Operand::new(weight)?;
    let indices = operand::integers(indices)?;
    indices.iter().for_each(|&index| check(index, [n, dim]));
    let indices: Vec<usize> = indices.into_iter().map(|index| index as usize).collect();
    let with_autodiff = operand.is_autodiff();
    let (weight, node) = operand.into_parts();
    let y = operand::tensor(gather(values(&weight), &indices, dim), &[rows, columns, dim]);
    if !with_autodiff {
        return Some(Tensor::from_primitive::<Flex>(y));
    }
    let y = match Embedding.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(State { weight: [n, dim], indices: indices.into() }, y),
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
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

#[derive(Debug)]
struct Embedding;

#[derive(Clone, Debug)]
struct State {
    weight: [usize; 2],
    indices: Arc<[usize]>,
}

impl Backward<Flex, 1> for Embedding {
    type State = State;

    fn backward(self, ops: Ops<State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let [node] = ops.parents;
        let Some(node) = node else { return };
        let State { weight, indices } = ops.state;
        let result = scatter(values(&gradient), &indices, weight);
        gradients.register::<Flex>(node.id, operand::tensor(result, &weight));
    }
}

/// For each row of the table the sum of the rows of `dy` at its places.
fn scatter(dy: &[f32], indices: &[usize], [n, dim]: [usize; 2]) -> Buffer {
    let (starts, places) = places(indices, n);
    let mut result = Buffer::take(n * dim);
    let shared = Shared::new(&mut result);
    let size = PART.div_ceil(dim);
    parallel::tasks(parallel::parts(n, size), |task| {
        for row in parallel::part(n, size, task) {
            // SAFETY: every row belongs to one task.
            let sum = unsafe { shared.part(row * dim..(row + 1) * dim) };
            sum.fill(0.0);
            for &place in &places[starts[row]..starts[row + 1]] {
                for (sum, value) in sum.iter_mut().zip(&dy[place * dim..(place + 1) * dim]) {
                    *sum += value;
                }
            }
        }
    });
    result
}

/// The places at which each of `0..n` stands, ascending: those of `i` are `places[starts[i]..starts[i + 1]]`.
fn places(indices: &[usize], n: usize) -> (Vec<usize>, Vec<usize>) {
    let mut starts = vec![0; n + 1];
    for &index in indices {
        starts[index + 1] += 1;
    }
    for i in 0..n {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut places = vec![0; indices.len()];
    for (place, &index) in indices.iter().enumerate() {
        places[next[index]] = place;
        next[index] += 1;
    }
    (starts, places)
}
