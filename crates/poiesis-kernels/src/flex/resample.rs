//! Halving and doubling of images by a filter of three taps, on all threads.
//!
//! Both are one sum in each direction, or its adjoint: `y[i] = Σₖ taps[k] · x[2 i + offset + k]` with zeros around the image. Doubling is
//! the adjoint of such a sum, and so are the gradients of both.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::operand::{self, Operand, values};
use super::parallel;
use super::pool::Buffer;
use super::simd;

/// Values of a task, about.
const PART: usize = 1 << 14;

/// The sum that both directions share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter {
    pub(crate) taps: [f32; 3],
    pub(crate) offset: isize,
}

/// The images with half the sides; `None` for tensors that are not on Flex.
pub(crate) fn halve(x: &Tensor<4>, filter: Filter) -> Option<Tensor<4>> {
    let [batch, height, width, channels] = x.dims();
    let small = [batch, height / 2, width / 2, channels];
    let inputs = Inputs::new([Operand::new(x)?]);
    let [x] = inputs.values();
    let y = operand::tensor(gathered(filter, x, small), &small);
    Some(inputs.finish(y, |_, _| Halved { filter, small }))
}

/// The images with twice the sides, by the adjoint of the sum; `None` for tensors that are not on Flex.
pub(crate) fn double(x: &Tensor<4>, filter: Filter) -> Option<Tensor<4>> {
    let small = x.dims();
    let inputs = Inputs::new([Operand::new(x)?]);
    let [x] = inputs.values();
    let y = operand::tensor(scattered(filter, x, small), &large(small));
    Some(inputs.finish(y, |_, _| Doubled { filter, small }))
}

fn large([batch, height, width, channels]: [usize; 4]) -> [usize; 4] {
    [batch, 2 * height, 2 * width, channels]
}

/// The small images `[batch, height, width, channels]` of large ones.
fn gathered(filter: Filter, x: &[f32], [batch, height, width, channels]: [usize; 4]) -> Buffer {
    let (small, wide) = (width * channels, 2 * width * channels);
    let mut y = Buffer::take(batch * height * small);
    each_row(&mut y, small, wide, |row, y, line| {
        let (image, i) = (row / height, row % height);
        let rows = &x[image * 2 * height * wide..][..2 * height * wide];
        line.fill(0.0);
        for (place, tap) in filter.read_by(i, 2 * height) {
            add_scaled(line, &rows[place * wide..][..wide], tap);
        }
        y.fill(0.0);
        for (j, y) in y.chunks_exact_mut(channels).enumerate() {
            for (place, tap) in filter.read_by(j, 2 * width) {
                add_scaled(y, &line[place * channels..][..channels], tap);
            }
        }
    });
    y
}

/// The large images of small ones `[batch, height, width, channels]`, the adjoint of [`gathered`].
fn scattered(filter: Filter, x: &[f32], [batch, height, width, channels]: [usize; 4]) -> Buffer {
    let (small, wide) = (width * channels, 2 * width * channels);
    let mut y = Buffer::take(batch * 2 * height * wide);
    each_row(&mut y, wide, small, |row, y, line| {
        let (image, p) = (row / (2 * height), row % (2 * height));
        let rows = &x[image * height * small..][..height * small];
        line.fill(0.0);
        for (place, tap) in filter.readers_of(p, height) {
            add_scaled(line, &rows[place * small..][..small], tap);
        }
        y.fill(0.0);
        for (q, y) in y.chunks_exact_mut(channels).enumerate() {
            for (place, tap) in filter.readers_of(q, width) {
                add_scaled(y, &line[place * channels..][..channels], tap);
            }
        }
    });
    y
}

/// Runs `work` on every row of `len` values of `array` with its number and a line of `line_len` values to work with.
fn each_row(
    array: &mut [f32],
    len: usize,
    line_len: usize,
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Send + Sync,
) {
    let rows = (PART / len).max(1);
    parallel::chunks(array, rows * len, |part, chunk| {
        let mut line = Buffer::take(line_len);
        for (i, row) in chunk.chunks_exact_mut(len).enumerate() {
            simd::run(
                #[inline(always)]
                || work(part * rows + i, &mut *row, &mut line),
            );
        }
    });
}

#[inline(always)]
fn add_scaled(into: &mut [f32], from: &[f32], factor: f32) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += factor * from;
    }
}

impl Filter {
    /// The large places, below `len`, that small place `i` reads, each with its tap.
    #[inline(always)]
    fn read_by(self, i: usize, len: usize) -> impl Iterator<Item = (usize, f32)> {
        (0..3).filter_map(move |k| {
            let place = 2 * i as isize + self.offset + k as isize;
            (0..len as isize).contains(&place).then(|| (place as usize, self.taps[k]))
        })
    }

    /// The small places, below `len`, that read large place `p`, each with its tap.
    #[inline(always)]
    fn readers_of(self, p: usize, len: usize) -> impl Iterator<Item = (usize, f32)> {
        (0..3).rev().filter_map(move |k| {
            let twice = p as isize - self.offset - k as isize;
            let is_one = twice % 2 == 0 && (0..len as isize).contains(&(twice / 2));
            is_one.then(|| ((twice / 2) as usize, self.taps[k]))
        })
    }
}

#[derive(Clone, Debug)]
struct Halved {
    filter: Filter,
    small: [usize; 4],
}

impl BackwardPass<1> for Halved {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let dx = scattered(self.filter, values(&dy), self.small);
        [Some(operand::tensor(dx, &large(self.small)))]
    }
}

#[derive(Clone, Debug)]
struct Doubled {
    filter: Filter,
    small: [usize; 4],
}

impl BackwardPass<1> for Doubled {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let dx = gathered(self.filter, values(&dy), self.small);
        [Some(operand::tensor(dx, &self.small))]
    }
}
