//! Small image to large image by direct sums.

#![expect(unsafe_code, reason = "tasks write interleaved pixels of one image through `Shared`")]

use std::ops::Range;

use super::Geometry;
use super::algorithm::DirectDgrad;
use super::phases::Phase;
use super::product::{TiledProduct, Weights};
use crate::flex::gemm::{self, Gemm, Left, Matrix, Product, Right, Strides, Write};
use crate::flex::parallel::{self, Shared};
use crate::flex::partial_sums::add;
use crate::flex::pool::Buffer;
use crate::flex::simd;

/// [`super::dgrad`] by direct sums.
pub fn direct(g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    match DirectDgrad::choose(g) {
        DirectDgrad::Pixels => by_pixels(g, y, weight, bias),
        DirectDgrad::Scatter => by_scatter(g, y, weight, bias),
        DirectDgrad::Phases(phases) => by_phases(g, phases, y, weight, bias),
    }
}

/// See [`DirectDgrad::Phases`].
fn by_phases(g: &Geometry, phases: Vec<Phase>, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let mut x = Buffer::take(g.large_len());
    let shared = Shared::new(&mut x);
    let (channel, out, group) = g.weight_strides();
    for phase in phases {
        let blocks = phase.gather.blocks(g.group_channels() * g.out);
        let product = TiledProduct {
            gemm: Gemm::current(),
            gather: phase.gather,
            target: phase.target,
            batch: g.batch,
            groups: g.groups,
            inputs: g.group_out(),
            outputs: g.group_channels(),
        };
        let packed = product.pack(weight, &blocks, [out, channel, group]);
        product.run(y, Weights { packed: &packed, bias }, &shared);
    }
    x
}

/// See [`DirectDgrad::Pixels`].
fn by_pixels(g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let mut x = Buffer::take(g.large_len());
    let result = Shared::new(&mut x);
    let gemm = Gemm::current();
    let (channel, out, _) = g.weight_strides();
    // Several panels, so that a task reads the small images several times.
    let width = 4 * gemm::panel_width();
    let blocks = parallel::parts(g.channels, width);
    parallel::tasks(g.taps() * blocks, |task| {
        let (tap, channels) = (task / blocks, parallel::part(g.channels, width, task % blocks));
        let columns = channels.len();
        let weight = &weight[tap * g.channels * g.out + channels.start * channel..];
        let mut packed = Buffer::take(0);
        let right = if channel == 1 && gemm.reads_in_place(columns) {
            Right::InPlace(weight, out)
        } else {
            packed = Buffer::take(gemm.packed_len(g.out, columns));
            gemm.pack(&mut packed, &Matrix::strided(weight, [g.out, columns], [out, channel]));
            Right::Packed(&packed)
        };
        let at = tap * g.channels + channels.start;
        let stride = g.taps() * g.channels;
        let product = Product {
            left: Left::new(y, g.out, 1),
            right,
            rows: g.batch,
            depth: g.out,
            columns,
            write: Write::Replace,
        };
        // SAFETY: every tap has its own pixel, and the tasks' channels are disjoint.
        unsafe { gemm.multiply_shared(product, &result, at, Strides::even(stride)) };
        drop(packed);
        if let Some(bias) = bias {
            for image in 0..g.batch {
                // SAFETY: as above.
                let pixel = unsafe { result.part(at + image * stride..at + image * stride + columns) };
                add(pixel, &bias[channels.clone()]);
            }
        }
    });
    x
}

/// See [`DirectDgrad::Scatter`].
fn by_scatter(g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let depth = g.group_out();
    let width = g.active_taps * g.group_channels();
    let (channel, out, group) = g.weight_strides();
    // The packed matrix is out × (taps · channels), so each tap has a block of its columns.
    let mut ordered = Buffer::take(g.groups * depth * width);
    let shared = Shared::new(&mut ordered);
    parallel::tasks(g.groups * parallel::parts(depth, 16), |task| {
        let (group_index, block) = (task % g.groups, task / g.groups);
        let weight = &weight[group_index * group..];
        for o in parallel::part(depth, 16, block) {
            let start = (group_index * depth + o) * width;
            // SAFETY: every row is written by one task.
            let row = unsafe { shared.part(start..start + width) };
            for (tap, row) in row.chunks_exact_mut(g.group_channels()).enumerate() {
                let weight = &weight[tap * g.group_channels() * g.out + o * out..];
                for (c, value) in row.iter_mut().enumerate() {
                    *value = weight[c * channel];
                }
            }
        }
    });
    let gemm = Gemm::current();
    let len = gemm.packed_len(depth, width);
    let mut packed = Buffer::take(len * g.groups);
    let shared = Shared::new(&mut packed);
    let panels = width.div_ceil(gemm::panel_width());
    parallel::tasks(g.groups * panels, |task| {
        let (group, panel) = (task / panels, task % panels);
        let range = gemm.panel_range(depth, width, panel);
        // SAFETY: panels and groups are disjoint.
        let packed = unsafe { shared.part(group * len + range.start..group * len + range.end) };
        let matrix = Matrix::strided(&ordered[group * depth * width..], [depth, width], [width, 1]);
        gemm.pack_panel(packed, &matrix, panel);
    });

    let mut x = Buffer::take(g.large_len());
    let image_len = g.large[0] * g.large[1] * g.channels;
    let shared = Shared::new(&mut x);
    let pixels = g.small[0] * g.small[1];
    parallel::tasks(g.batch, |image| {
        // SAFETY: every task has its own image.
        let x = unsafe { shared.part(image * image_len..(image + 1) * image_len) };
        match bias {
            Some(bias) => x.chunks_exact_mut(g.channels).for_each(|pixel| pixel.copy_from_slice(bias)),
            None => x.fill(0.0),
        }
        let size = (65_536 / width.max(1)).clamp(24, 512).min(pixels.max(1));
        let mut products = Buffer::take(size * width);
        for group in 0..g.groups {
            for tile in 0..parallel::parts(pixels, size) {
                let tile = parallel::part(pixels, size, tile);
                let left = Left::new(&y[(image * pixels + tile.start) * g.out + group * depth..], g.out, 1);
                let product = Product {
                    left,
                    right: Right::Packed(&packed[group * len..][..len]),
                    rows: tile.len(),
                    depth,
                    columns: width,
                    write: Write::Replace,
                };
                gemm.multiply(product, &mut products, width);
                simd::run(
                    #[inline(always)]
                    || add_products(g, &products, tile.clone(), group * g.group_channels(), x),
                );
            }
        }
    });
    x
}

/// Adds the products of the small pixels `tile` to the pixels of one large image, from channel `first` on.
#[inline(always)]
fn add_products(g: &Geometry, products: &[f32], tile: Range<usize>, first: usize, x: &mut [f32]) {
    let channels = g.group_channels();
    let line = g.kernel[1] * channels;
    let [height, width] = g.large;
    let runs = g.dilation[1] == 1 && g.groups == 1;
    for (pixel, products) in tile.zip(products.chunks_exact(g.active_taps * channels)) {
        let (small_y, small_x) = (pixel / g.small[1], pixel % g.small[1]);
        let left = (small_x * g.stride[1]) as isize - g.padding[1] as isize;
        // The last row of the kernel may be cut short.
        for (tap, products) in products.chunks(line).enumerate() {
            let y = small_y * g.stride[0] + tap * g.dilation[0];
            if y < g.padding[0] || y - g.padding[0] >= height {
                continue;
            }
            let start = (y - g.padding[0]) * width;
            if runs {
                let taps = (products.len() / channels) as isize;
                let before = (-left).clamp(0, taps) as usize;
                let inside = (width as isize - left).clamp(0, taps) as usize;
                if inside > before {
                    let at = (start + (left + before as isize) as usize) * channels;
                    let products = &products[before * channels..inside * channels];
                    add(&mut x[at..at + products.len()], products);
                }
            } else {
                for (tap, products) in products.chunks_exact(channels).enumerate() {
                    let x_at = left + (tap * g.dilation[1]) as isize;
                    if x_at >= 0 && x_at < width as isize {
                        let at = (start + x_at as usize) * g.channels + first;
                        add(&mut x[at..at + channels], products);
                    }
                }
            }
        }
    }
}
