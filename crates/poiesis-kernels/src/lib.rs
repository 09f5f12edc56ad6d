//! Training operations for [Burn](burn), channels last, with hand-written forward and backward
//! passes for its Flex backend on the CPU.
//!
//! # Use
//!
//! Every function takes and returns ordinary [`burn::Tensor`]s and can be mixed freely with Burn's own operations:
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
//! f32 tensors of the Flex backend, with or without autodiff, use the hand-written implementation. Other devices, other
//! number types and gradient checkpointing use a default implementation in Burn's own operations, which computes the
//! same, so a model is written once. If some arguments have autodiff and others do not, the others count as constants.
//!
//! Results do not depend on the number of threads. Training steps are fastest on one of rayon's threads:
//! `rayon::scope(|_| …)`. The instruction set (AVX-512, AVX2 with FMA, NEON or plain code) is chosen at run time;
//! [`limit_simd`] restricts it. [`set_precision`] lets matrix products round their factors to bf16.
//!
//! # Operations
//!
//! | operation | algorithm on the CPU |
//! |---|---|
//! | [`conv2d`], [`conv_transpose2d`] | Winograd where it is faster, else matrix products over windows of the image; masked kernels cost time only for their active taps |
//! | [`linear`], [`Mlp`] | matrix product with fused bias and activation; `Mlp` evaluates single inputs in control loops |
//! | [`batch_norm`], [`layer_norm`], [`rms_norm`], [`group_norm`] | one pass for the statistics, one for the result; normalised values are not stored |
//! | [`attention`], [`attention_packed`], [`attention_step`] | blocks of keys with a running softmax, no matrix of scores in memory; a cache for single steps |
//! | [`lstm`], [`gru`], [`lstm_step`], [`gru_step`] | a whole sequence as one operation, weights packed once |
//! | [`conv_lstm`] | an LSTM over the rows or diagonals of images, without copying them |
//! | [`categorical_log_prob`], [`bernoulli_log_prob`], [`logistic_mixture_log_prob`], [`logistic_mixture_log_probs`], [`logistic_mixture_byte_log_probs`] | one pass; probabilities are not stored |
//! | [`embedding`] | gather; its gradient is summed in a fixed layout |
//! | [`gate`], [`gate_halves`], [`rotary`], [`rotary_packed`], [`add`], [`fork`] | one pass each; halves are not copied apart |
//! | [`inference`] | for generation, on plain slices: layers, functions and rows whose bits do not depend on how many are computed at once |
//! | [`activate`], [`concat_elu`] | vector code without branches, errors stated in units in the last place |
//! | [`update`], [`adam`], [`ema`], [`squared_norm`] | SGD, RMSProp, Adam, AdamW and AdaMax, with the moving average of the weights, in one pass over memory |
//! | [`uniform`], [`normal`] | counter-based noise: ChaCha8, each value a function of key, stream and position |
//!
//! # Adding an operation
//!
//! 1. Write the public function in `src/<operation>.rs`: check the shapes, handle empty tensors, and write `default`, the
//!    same in Burn's own operations. Types that the Flex implementation needs too go to `src/types`.
//! 2. Write the implementation in `src/flex/<operation>.rs`: a function that returns `None` for tensors that are not on
//!    Flex, and a type that implements `flex::autodiff::BackwardPass`. Split the work with `flex::parallel`, and run
//!    loops through `flex::simd`.
//! 3. Test in `tests/it/<operation>.rs` against `default`, against plain loops in f64 or a PyTorch fixture (`fixtures/*.py`), and for
//!    any number of threads. Tests use the library as it is compiled for all; what they need of it and the API does not offer,
//!    such as `default`, is listed in `src/internals.rs`.
//!
//! Design notes and measurements: `docs/kernels.md` in the repository. Comparison with PyTorch: `bench/RESULTS.md`.

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
#[doc(hidden)]
pub mod internals;
mod key_value_cache;
mod layer_norm;
mod linear;
mod logistic_mixture;
mod lstm;
mod mlp;
mod noise;
mod optimizer;
mod precision;
mod recurrent;
mod resample;
mod rotary;
mod types;

pub use activation::{activate, activation_tangent};
pub use adam::{AdamStep, adam};
pub use add::add;
pub use attention::{attention, attention_packed};
pub use batch_norm::{batch_norm, batch_norm_eval};
pub use bernoulli::bernoulli_log_prob;
pub use categorical::categorical_log_prob;
pub use concat_elu::concat_elu;
pub use conv_lstm::conv_lstm;
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
    logistic_mixture_byte_log_probs, logistic_mixture_log_prob, logistic_mixture_log_probs,
};
pub use lstm::{lstm, lstm_step};
pub use mlp::Mlp;
pub use noise::{normal, uniform};
pub use optimizer::{squared_norm, update};
pub use precision::{Precision, precision, set_precision};
pub use resample::{downsample, upsample};
pub use rotary::{rotary, rotary_packed};
pub use types::{Activation, AttentionOptions, Grid, Lines, Normalized, OptimizerKind, UpdateStep, Updated};
