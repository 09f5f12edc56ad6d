//! Counter-based random numbers: every task starts at its own position of one ChaCha8 stream.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::function::{log, sin_cos};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Values of a task.
const PART: usize = 1 << 14;

/// Words that are read from the stream at once; divides [`PART`].
const RUN: usize = 1 << 10;

/// Number of pairs of values in a block; twice this divides [`RUN`].
const PAIRS: usize = 16;

/// [`crate::uniform`]
pub(crate) fn uniform(len: usize, key: &[u8; 32], stream: u64) -> Buffer {
    fill(len, key, stream, |words, numbers| {
        for (number, word) in numbers.iter_mut().zip(words) {
            *number = (word >> 8) as f32 * (1.0 / 16_777_216.0);
        }
    })
}

/// [`crate::normal`]
pub(crate) fn normal(len: usize, key: &[u8; 32], stream: u64) -> Buffer {
    fill(len, key, stream, |words, numbers| {
        let blocks = numbers.chunks_exact_mut(2 * PAIRS).zip(words.chunks_exact(2 * PAIRS));
        for (numbers, words) in blocks {
            let (first, second) = numbers.split_at_mut(PAIRS);
            let (sizes, angles) = words.split_at(PAIRS);
            for i in 0..PAIRS {
                let radius = (-2.0 * log((sizes[i] as f32 + 0.5) * (1.0 / 4_294_967_296.0))).sqrt();
                let (sin, cos) = sin_cos(angles[i]);
                first[i] = radius * cos;
                second[i] = radius * sin;
            }
        }
    })
}

/// `len` values from a stream; `make(words, numbers)` computes [`RUN`] values at a time.
#[inline(always)]
fn fill(
    len: usize,
    key: &[u8; 32],
    stream: u64,
    make: impl Fn(&[u32; RUN], &mut [f32; RUN]) + Sync,
) -> Buffer {
    let mut result = Buffer::take(len);
    let shared = Shared::new(&mut result);
    parallel::tasks(parallel::parts(len, PART), |task| {
        let range = parallel::part(len, PART, task);
        let mut generator = ChaCha8Rng::from_seed(*key);
        generator.set_stream(stream);
        generator.set_word_pos(range.start as u128);
        let (mut words, mut numbers) = ([0u32; RUN], [0.0f32; RUN]);
        // SAFETY: the tasks' ranges are disjoint.
        let result = unsafe { shared.part(range) };
        for result in result.chunks_mut(RUN) {
            generator.fill_bytes(bytemuck::cast_slice_mut(&mut words));
            words = words.map(u32::from_le);
            simd::run(
                #[inline(always)]
                || make(&words, &mut numbers),
            );
            result.copy_from_slice(&numbers[..result.len()]);
        }
    });
    result
}
