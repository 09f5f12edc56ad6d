//! What only the tests in `tests/it` use. It is no part of the API and may change at any time.
//!
//! The tests are a program of their own, so that the library is compiled once. Most of them need public functions alone.

use burn::tensor::{Device, Tensor};

use crate::key_value_cache::KeyValueCache;
use crate::types::{Grid, ParameterLayout};

// The default implementations: hand-written ones are compared with them on the same f32 tensors of Flex, for which the public
// functions never choose them.
pub use crate::activation::{default as default_activate, default_tangent as default_activation_tangent};
pub use crate::attention::default as default_attention;
pub use crate::batch_norm::{default as default_batch_norm, default_eval as default_batch_norm_eval};
pub use crate::bernoulli::default as default_bernoulli_log_prob;
pub use crate::categorical::default as default_categorical_log_prob;
pub use crate::concat_elu::default as default_concat_elu;
pub use crate::conv_lstm::default as default_conv_lstm;
pub use crate::conv2d::default as default_conv2d;
pub use crate::embedding::default as default_embedding;
pub use crate::gate::{default as default_gate, default_halves as default_gate_halves};
pub use crate::group_norm::default as default_group_norm;
pub use crate::gru::default as default_gru;
pub use crate::layer_norm::{default as default_layer_norm, default_rms as default_rms_norm};
pub use crate::linear::default as default_linear;
pub use crate::lstm::default as default_lstm;
pub use crate::optimizer::default as default_update;
pub use crate::resample::{default_downsample, default_upsample};
pub use crate::rotary::{default as default_rotary, default_packed as default_rotary_packed};

/// The default implementation of [`crate::logistic_mixture_log_prob`], as above.
pub fn default_logistic_mixture_log_prob(parameters: Tensor<2>, x: Tensor<2>, grid: Grid) -> Tensor<1> {
    let layout = ParameterLayout::of(parameters.dims(), x.dims(), grid);
    crate::logistic_mixture::default(parameters, x, layout)
}

/// A cache of the default implementation of [`crate::attention_step`], as above.
pub fn key_value_cache_of_tensors(shape: [usize; 4], device: &Device) -> KeyValueCache {
    KeyValueCache::of_tensors(shape, device)
}

// The hand-written implementations alone: that they take integers of both widths cannot be seen from results, as the default ones
// would give about the same.
pub use crate::flex::categorical::log_prob as flex_categorical_log_prob;
pub use crate::flex::embedding::embedding as flex_embedding;

// Errors of these over all floats; operations use them on few values.
pub use crate::flex::function::{exp, log, sin_cos};
// Tasks that start tasks: no operation does that by itself, but callers may.
pub use crate::flex::parallel::tasks;
// Rows with gaps and remainders of every width: operations choose it for few of their sizes.
pub use crate::flex::row::product as row_product;
// Gaps between rows that must stay as they are: operations have none.
pub use crate::flex::transpose::transpose;

/// Products of matrices: every layout, and sizes for which no operation packs.
pub mod gemm {
    pub use crate::flex::gemm::{Gemm, Left, Matrix, Product, Right, Strides, Write};
}

/// The memory that buffers come from: addresses, and what a thread keeps for itself.
pub mod pool {
    pub use crate::flex::pool::{Buffer, Line, OWN_LINES, Own};
}

/// Every scheme of Winograd's algorithm against direct sums, whether it would be chosen for a size or not.
pub mod winograd {
    pub use crate::flex::convolution::Geometry;
    pub use crate::flex::convolution::dgrad::direct as direct_dgrad;
    pub use crate::flex::convolution::fprop::direct as direct_fprop;
    pub use crate::flex::convolution::wgrad::direct as direct_wgrad;
    pub use crate::flex::convolution::winograd::{Plan, SchemeName, dgrad, fprop, wgrad};
}
