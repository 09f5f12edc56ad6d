//! Rotation of pairs: forward by the angles, backward by their negatives.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use std::sync::{Mutex, PoisonError};

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd::{self, Loops};

/// Values of a task, about.
const PART: usize = 1 << 14;

/// Angles of a task, about.
const ANGLES: usize = 1 << 9;

/// [`crate::rotary`] of the first `rotated` heads of a tensor on Flex and is not empty; `None` for others.
pub(crate) fn rotary(x: &Tensor<4>, rotated: usize, first_position: usize, base: f64) -> Option<Tensor<4>> {
    let shape = x.dims();
    let inputs = Inputs::new([Operand::new(x)?]);
    let table = table(shape, first_position, base);
    let [x] = inputs.values();
    let y = operand::tensor(rotate(shape, rotated, x, values(&table), 1.0), &shape);
    Some(inputs.finish(y, |_, _| Rotary { shape, rotated, table }))
}

/// Cosines followed by sines of the angles at one position, one of each per pair.
pub(crate) fn angles(row: &mut [f32], position: usize, base: f64) {
    let dim = row.len() as f64;
    let (cosines, sines) = row.split_at_mut(row.len() / 2);
    for (i, (cosine, sine)) in cosines.iter_mut().zip(sines).enumerate() {
        let angle = position as f64 * base.powf(-2.0 * i as f64 / dim);
        *cosine = angle.cos() as f32;
        *sine = angle.sin() as f32;
    }
}

/// The arguments that a table depends on: time steps, size of a head, first position, and the bits of the base.
type Key = [u64; 4];

/// The last table: queries and keys of all layers and steps use the same one.
static LAST: Mutex<Option<(Key, FlexTensor)>> = Mutex::new(None);

/// The [`angles`] of every time step, computed again only if the last call had others.
fn table([_, time, _, dim]: [usize; 4], first_position: usize, base: f64) -> FlexTensor {
    let key = [time as u64, dim as u64, first_position as u64, base.to_bits()];
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, table)) = &*last
        && *known == key
    {
        return table.clone();
    }
    // The tasks may run other work of this thread's pool, so the lock must not be held.
    drop(last);
    let table = compute_table(time, dim, first_position, base);
    last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    *last = Some((key, table.clone()));
    table
}

fn compute_table(time: usize, dim: usize, first_position: usize, base: f64) -> FlexTensor {
    let mut table = Buffer::take(time * dim);
    let shared = Shared::new(&mut table);
    let step = ANGLES.div_ceil(dim);
    parallel::tasks(parallel::parts(time, step), |task| {
        for t in parallel::part(time, step, task) {
            // SAFETY: every time step has its own row.
            angles(unsafe { shared.part(t * dim..(t + 1) * dim) }, first_position + t, base);
        }
    });
    operand::tensor(table, &[time, dim])
}

/// Rotates the first `rotated` heads by the angles of `table` times `sign`; the others stay as they are.
fn rotate(
    [batch, time, heads, dim]: [usize; 4],
    rotated: usize,
    x: &[f32],
    table: &[f32],
    sign: f32,
) -> Buffer {
    let mut y = Buffer::take(x.len());
    let shared = Shared::new(&mut y);
    let width = heads * dim;
    let step = PART.div_ceil(width);
    parallel::tasks(parallel::parts(batch * time, step), |task| {
        let rows = parallel::part(batch * time, step, task);
        let range = rows.start * width..rows.end * width;
        let x = &x[range.clone()];
        // SAFETY: the tasks' ranges are disjoint.
        let y = unsafe { shared.part(range) };
        simd::run_loops(Rotate { first: rows.start, time, heads, rotated, dim, x, table, sign, y });
    });
    y
}

/// Rows of all heads, starting with row `first`.
struct Rotate<'a> {
    first: usize,
    time: usize,
    heads: usize,
    rotated: usize,
    dim: usize,
    x: &'a [f32],
    table: &'a [f32],
    sign: f32,
    y: &'a mut [f32],
}

impl Loops for Rotate<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { first, time, heads, rotated, dim, x, table, sign, y } = self;
        let rows = y.chunks_exact_mut(heads * dim).zip(x.chunks_exact(heads * dim));
        for (row, (y, x)) in rows.enumerate() {
            let angles = &table[(first + row) % time * dim..][..dim];
            let (y, y_rest) = y.split_at_mut(rotated * dim);
            let (x, x_rest) = x.split_at(rotated * dim);
            for (y, x) in y.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
                rotate_head(y, x, angles, sign);
            }
            y_rest.copy_from_slice(x_rest);
        }
    }
}

#[inline(always)]
fn rotate_head(y: &mut [f32], x: &[f32], angles: &[f32], sign: f32) {
    let half = y.len() / 2;
    let (y_first, y_second) = y.split_at_mut(half);
    let (x_first, x_second) = (&x[..half], &x[half..][..half]);
    let (cosines, sines) = (&angles[..half], &angles[half..][..half]);
    let y_second = &mut y_second[..half];
    for i in 0..half {
        let angle = [cosines[i], sign * sines[i]];
        [y_first[i], y_second[i]] = rotate_pair([x_first[i], x_second[i]], angle);
    }
}

#[inline(always)]
fn rotate_pair([first, second]: [f32; 2], [cosine, sine]: [f32; 2]) -> [f32; 2] {
    [first * cosine - second * sine, second * cosine + first * sine]
}

/// Rotates heads in place by one position's [`angles`].
pub(crate) fn rotate_in_place(heads: &mut [f32], angles: &[f32]) {
    let half = angles.len() / 2;
    let (cosines, sines) = angles.split_at(half);
    simd::run(
        #[inline(always)]
        || {
            for head in heads.chunks_exact_mut(2 * half) {
                let (first, second) = head.split_at_mut(half);
                for i in 0..half {
                    [first[i], second[i]] = rotate_pair([first[i], second[i]], [cosines[i], sines[i]]);
                }
            }
        },
    );
}

#[derive(Clone, Debug)]
struct Rotary {
    shape: [usize; 4],
    rotated: usize,
    table: FlexTensor,
}

impl BackwardPass<1> for Rotary {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self { shape, rotated, table } = self;
        [Some(operand::tensor(rotate(shape, rotated, values(&dy), values(&table), -1.0), &shape))]
    }
}
