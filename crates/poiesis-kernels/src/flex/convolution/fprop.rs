//! Large image to small image by direct sums.

use super::Geometry;
use super::product::{Target, TiledProduct, Weights};
use crate::flex::gemm::Gemm;
use crate::flex::parallel::Shared;
use crate::flex::pool::Buffer;

/// [`super::fprop`] by direct sums.
pub fn direct(g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let mut y = Buffer::take(g.small_len());
    let gather = g.gather();
    let blocks = gather.blocks(g.group_channels() * g.out);
    let (channel, out, group) = g.weight_strides();
    let product = TiledProduct {
        gemm: Gemm::current(),
        gather,
        target: Target { size: g.small, channels: g.out, start: [0, 0], step: [1, 1] },
        batch: g.batch,
        groups: g.groups,
        inputs: g.group_channels(),
        outputs: g.group_out(),
    };
    let packed = product.pack(weight, &blocks, [channel, out, group]);
    product.run(x, Weights { packed: &packed, bias }, &Shared::new(&mut y));
    y
}
