//! Building blocks on plain slices for generating one value at a time.
//!
//! An autoregressive model computes a little for each pixel, token or sample of sound, then for the next. With tensors each
//! operation costs microseconds, more than its arithmetic. These functions work on slices of `f32` that the caller owns, on the
//! CPU, without a graph and without gradients, and are fast for 1 to 64 rows on one or two threads:
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
//! # Reproducible bits
//!
//! **The bits of the result of a row do not depend** on the number of rows computed together with it, its position among them,
//! the layout of its values in memory, or the number of threads. So an encoder that computes all pixels of many images at once and
//! a decoder that computes one pixel at a time get the same probabilities, which lossless compression depends on. This holds
//! because each result is one chain of operations in an order that depends on the width of a row alone:
//!
//! - an element of a matrix product is a chain of fused multiply-adds over the inputs, first to last, that begins with the bias (or
//!   with the old value, see [`PackedLinear::forward_add`]);
//! - functions of single values use the same instructions in a full vector and in a remainder;
//! - a sum over a row is a fixed number of partial sums, added in a fixed order;
//! - attention takes positions in blocks counted from the first one.
//!
//! Different instruction sets (AVX-512, AVX2, NEON, none) round differently; compare and compress on the same kind of
//! processor, or with [`crate::limit_simd`]. Many rows are divided among rayon's threads, by sizes only.

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
