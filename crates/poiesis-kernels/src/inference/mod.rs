//! Building blocks on plain slices for generating one value at a time.
//!
//! An autoregressive model computes a little for each pixel, token or sample of sound, and again for the next. Through tensors each
//! operation costs microseconds, more than its arithmetic. These functions work on slices of `f32` that the caller owns, on the CPU,
//! without graph and without gradients, and are fast for 1 to 64 rows on a thread or two:
//!
//! ```
//! use poiesis_kernels::Activation;
//! use poiesis_kernels::inference::{PackedLinear, activate, log_softmax};
//!
//! let hidden = PackedLinear::new(&[0.5; 3 * 8], Some(&[0.1; 8]), 3, 8);
//! let logits = PackedLinear::new(&[0.25; 8 * 4], None, 8, 4);
//! let x = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]; // two rows
//! let (mut h, mut y) = ([0.0; 2 * 8], [0.0; 2 * 4]);
//! hidden.forward(&x, &mut h);
//! activate(&mut h, Activation::Relu);
//! logits.forward(&h, &mut y);
//! log_softmax(&mut y, 4);
//! assert!((y[0] - 0.25f32.ln()).abs() < 1e-6);
//! ```
//!
//! # The same numbers in any company
//!
//! **Every row's result is the same to the bit** whatever the number of rows computed beside it, its place among them, where its
//! values lie in memory, and the number of threads. So an encoder that computes all pixels of many images at once and a decoder that
//! computes one pixel at a time have the same probabilities, which lossless compression depends on. It holds because each result is
//! one chain of operations in an order that only the width of a row decides:
//!
//! - an element of a matrix product is a chain of fused multiply-adds over the inputs, first to last, that begins with the bias (or with
//!   what is there, see [`PackedLinear::forward_add`]);
//! - functions of single values are the same instructions in a full vector and in a rest;
//! - sums over a row run in a fixed number of sums side by side, added up in a fixed order;
//! - attention takes positions in blocks counted from the first one.
//!
//! Different instruction sets (AVX-512, AVX2, NEON, none) round differently; compare and compress on the same kind of
//! processor, or with [`crate::limit_simd`]. Many rows are shared among rayon's threads, by sizes only.

mod attention;
mod cells;
mod elementwise;
mod linear;
mod rows;
mod window;

pub use attention::{KeyValueCache, Rotary};
pub use cells::{gru_cell, lstm_cell};
pub use elementwise::{activate, add, gate, gate_halves, layer_norm, log_softmax, rms_norm, softmax};
pub use linear::PackedLinear;
pub use rows::{Rows, RowsMut};
pub use window::Window;

#[cfg(test)]
mod tests;
