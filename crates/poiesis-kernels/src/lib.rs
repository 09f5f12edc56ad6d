//! Training operations for [Burn](burn), channels last, with hand-written forward and backward
//! passes for its Flex backend on the CPU.
//!
//! Burn's Flex backend has a fast matrix product; these operations add what surrounds it in
//! training. Every function takes and returns ordinary [`burn::Tensor`]s and may be mixed freely with
//! Burn's own operations:
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use poiesis_kernels::{Activation, ConvOptions, conv2d, activate};
//!
//! let device = Device::flex().autodiff();
//! let images = Tensor::<4>::random([2, 28, 28, 1], Distribution::Default, &device);
//! let weight = Tensor::<4>::random([4, 4, 1, 8], Distribution::Default, &device).require_grad();
//! let y = conv2d(images, weight.clone(), None, &ConvOptions::new([2, 2], [1, 1]));
//! let y = activate(y, Activation::LeakyRelu(0.2));
//! assert_eq!(y.dims(), [2, 14, 14, 8]);
//! let gradients = y.sum().backward();
//! assert_eq!(weight.grad(&gradients).unwrap().dims(), [4, 4, 1, 8]);
//! ```
//!
//! Layouts: images are `[batch, height, width, channels]`, convolution weights `[kernel_height,
//! kernel_width, in / groups, out]`, weights of transposed convolutions `[kernel_height,
//! kernel_width, in, out / groups]`, linear weights `[in, out]`.
//!
//! | operation | algorithm on the CPU |
//! |---|---|
//! | [`conv2d`], [`conv_transpose2d`] | Winograd's short convolutions where they win, else matrix products over windows of the image; masked kernels pay for their live elements only |
//! | [`linear`], [`Mlp`] | matrix product with bias and activation on the way to memory; `Mlp` answers single inputs in control loops |
//! | [`batch_norm`], [`layer_norm`], [`rms_norm`], [`group_norm`] | statistics and result in a pass each, nothing normalised is stored |
//! | [`attention`], [`attention_packed`], [`attention_step`] | blocks of keys with a running softmax, no matrix of scores in memory; a cache for one step |
//! | [`lstm`], [`gru`], [`lstm_step`], [`gru_step`] | a whole sequence as one operation, weights packed once |
//! | [`conv_lstm`] | an LSTM over the rows or diagonals of images, read where they lie |
//! | [`categorical_log_prob`], [`bernoulli_log_prob`], [`logistic_mixture_log_prob`], [`logistic_mixture_laws`], [`logistic_mixture_byte_laws`] | one pass; probabilities are not stored |
//! | [`embedding`] | gather; its gradient adds up in a fixed order |
//! | [`gate`], [`gate_halves`], [`rotary`], [`rotary_packed`], [`add`], [`fork`] | one pass each; halves are read where they lie |
//! | [`inference`] | for generating, on plain slices: layers, functions and rows whose bits do not depend on how many are computed at once |
//! | [`activate`], [`concat_elu`] | vector code without branches, errors stated in units in the last place |
//! | [`update`], [`adam`], [`ema`], [`squared_norm`] | SGD, RMSProp, Adam, AdamW, AdaMax with the average of the weights in one pass over memory |
//! | [`uniform`], [`normal`] | counter-based noise: ChaCha8, each number a function of key, stream and place |
//!
//! On f32 tensors of the Flex backend, with or without autodiff, the hand-written body runs. On any other
//! device, with gradient checkpointing, or for other number types, a default body of Burn's own
//! operations computes the same, so a model is written once. Tensors without autodiff count as
//! constants beside those with it.
//!
//! Results do not depend on the number of threads: work is split by sizes only, and partial sums
//! are combined in a fixed order. Steps of training run fastest on one of rayon's threads (`rayon::scope(|_| …)`), which
//! then works along instead of being woken by the others: 18 instead of 22 ms for a small transformer on two cores. For 200 µs after an
//! operation the other threads look for the next one's tasks instead of going to sleep, from which they would need tens of microseconds to
//! wake.
//!
//! AVX-512, AVX2 with FMA, NEON or plain code are chosen at run time, so one binary is fast everywhere; [`limit_simd`] compares
//! them. Measured against PyTorch: `bench/RESULTS.md` in the repository.
//!
//! Cores that share no cache fetch what the others have written from theirs. So every thread keeps its scratch and takes it again, and
//! sums up the gradient of weights from the rows that it wrote itself: a quarter of the time of small convolutions, a tenth of that of
//! a training step of a small transformer, on two Zen 5 cores that seemed to share none.
//!
//! Tried and left: prefetching the packed side of matrix products (no gain); closures for vector code called through `FnOnce`, which
//! the compiler may build without SIMD (a tenth of a transformer's step); huge pages (3 %); fewer tiles for a task of a short convolution (no
//! gain); transforming an image on each thread where all need it whole (a tenth slower); folding four pixels of three channels into
//! one of 16, so that DCGAN's first layer is a short convolution (5 % slower, its weights' gradient a quarter). Not built: transforms of
//! images shared between the forward pass and the gradients, which would have to be kept until then, at 1.6 to 2.3 times the images
//! (all transforms together are a sixth of a DCGAN step); statistics of a norm taken while the convolution writes (the pass that takes
//! them is half a per cent of it).
//!
//! [`set_precision`] lets matrix products round their factors to bf16, on processors that have instructions for it. On two Zen 4
//! cores a training step of a transformer of 6 × 384 then takes two thirds of its time, of 4 × 128 seven tenths; 500 steps of the latter
//! on tinyshakespeare end at 1.745 instead of 1.741 nats a character. A step of DCGAN takes four fifths: Winograd's F(2, 2) and
//! F(2, 3) round too, and win over schemes of larger tiles, which stay f32. 2,000 steps of a convolutional VAE on MNIST end at 99.89
//! nats with either.

mod activation;
mod adam;
mod add;
mod attention;
mod batch_norm;
mod bernoulli;
mod categorical;
mod concat_elu;
mod conv2d;
mod conv_lstm;
mod conv_transpose2d;
mod ema;
mod embedding;
mod flex;
mod fork;
mod gate;
mod group_norm;
mod gru;
pub mod inference;
mod key_value_cache;
mod layer_norm;
mod linear;
mod logistic_mixture;
mod lstm;
mod mlp;
mod noise;
mod optimizer;
mod precision;
mod rotary;
// What the tests share speaks of this crate by its name.
#[cfg(test)]
extern crate self as poiesis_kernels;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod testing;

pub use activation::{Activation, activate};
pub use adam::{AdamStep, adam};
pub use add::add;
pub use attention::{AttentionOptions, attention, attention_packed};
pub use batch_norm::{Normalized, batch_norm, batch_norm_eval};
pub use bernoulli::bernoulli_log_prob;
pub use categorical::categorical_log_prob;
pub use concat_elu::concat_elu;
pub use conv_lstm::{Lines, conv_lstm};
pub use conv_transpose2d::{ConvTransposeOptions, conv_transpose2d};
pub use conv2d::{ConvOptions, conv2d};
pub use ema::ema;
pub use embedding::embedding;
pub use flex::simd::{SimdLimit, instruction_set, limit_simd};
pub use fork::fork;
pub use gate::{gate, gate_halves};
pub use group_norm::group_norm;
pub use gru::{gru, gru_step};
pub use key_value_cache::{KeyValueCache, attention_step};
pub use layer_norm::{layer_norm, rms_norm};
pub use linear::linear;
pub use logistic_mixture::{
    Grid, logistic_mixture_byte_laws, logistic_mixture_laws, logistic_mixture_log_prob,
};
pub use lstm::{lstm, lstm_step};
pub use mlp::Mlp;
pub use noise::{normal, uniform};
pub use optimizer::{Rule, UpdateStep, Updated, squared_norm, update};
pub use precision::{Precision, precision, set_precision};
pub use rotary::{rotary, rotary_packed};
