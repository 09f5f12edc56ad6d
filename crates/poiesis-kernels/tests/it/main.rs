//! Every operation against other implementations of it: one program for all, as the library takes minutes to compile a second time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activation;
mod adam;
mod add;
mod attention;
mod batch_norm;
mod bernoulli;
mod categorical;
mod common;
mod concat_elu;
mod conv2d;
mod conv_lstm;
mod conv_transpose2d;
mod convolution;
mod ema;
mod embedding;
mod fork;
mod function;
mod gate;
mod gemm;
mod gradients;
mod group_norm;
mod gru;
mod inference;
mod key_value_cache;
mod layer_norm;
mod linear;
mod logistic_mixture;
mod lstm;
mod mlp;
mod noise;
mod optimizer;
mod parallel;
mod pool;
mod precision;
mod pytorch;
mod recurrent;
mod resample;
mod rotary;
mod row;
mod simd;
mod transpose;
mod winograd;
