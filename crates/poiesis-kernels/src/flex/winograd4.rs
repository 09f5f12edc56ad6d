//! Winograd F(2×2, 2×2) for 4×4 kernels of stride 2 and padding 1, the convolutions of DCGAN.
//!
//! The pixels of even and odd rows and columns are four *phases*; over them the convolution is a 2×2 one of
//! stride 1. Along each axis two results of two taps take three products instead of four, `m = [(d₀ − d₁) g₀, d₁ (g₀ +
//! g₁), (d₁ − d₂) g₁]`, `y = [m₀ + m₁, m₁ − m₂]`, so that a tile of 2×2 small pixels takes 9 products per pair
//! of channels and phase instead of 16. The gradients are the exact adjoints with the same 9 matrix products.
//! All factors are 0 and ±1, so the error stays near that of the direct sum.
//!
//! Source: Winograd 1980; Lavin & Gray 2016 for convolutions.

#![expect(unsafe_code, reason = "the transforms run through up to eighteen pointers at once")]
#![expect(clippy::needless_range_loop, reason = "indices over registers, the same for several arrays")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::convolution::Geometry;
use super::gemm::{self, Left, Write};
use super::parallel::{self, Shared};
use super::pool::Buffer;

/// Tiles that are transformed and multiplied at once.
const TILES: usize = 128;

/// Products per tile, phase and pair of channels.
const PRODUCTS: usize = 9;

/// Channels come in groups of this many, a multiple of every vector's length.
const GROUP: usize = 16;

/// Whether this convolution is done here.
pub(crate) fn fits(g: &Geometry) -> bool {
    g.kernel == [4, 4]
        && g.stride == [2, 2]
        && g.padding == [1, 1]
        && g.dilation == [1, 1]
        && g.groups == 1
        && g.channels.is_multiple_of(GROUP)
        && g.out.is_multiple_of(GROUP)
        && g.small == g.large.map(|size| size / 2)
}

/// See [`super::convolution::shrink`].
pub(crate) fn shrink(g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let grid = Grid::new(g);
    let depth = 4 * g.channels;
    let packed = pack_weights(g, weight, true);
    let packed_len = gemm::packed_len(depth, g.out);
    let mut y = Buffer::take(g.small_len());
    let result = Shared::new(&mut y);
    let size = task_tiles(grid.tiles());
    parallel::tasks(parallel::parts(grid.tiles(), size), |task| {
        let tiles = parallel::part(grid.tiles(), size, task);
        let count = tiles.len();
        let mut inputs = Buffer::take(PRODUCTS * count * depth);
        let slab = Slab::rows(count, depth);
        Arch::new().dispatch(LargeToTiles {
            grid: &grid,
            tiles: tiles.clone(),
            image: x,
            slab: &slab,
            at: 0,
            result: &Shared::new(&mut inputs),
        });
        let mut products = Buffer::take(PRODUCTS * count * g.out);
        for p in 0..PRODUCTS {
            gemm::multiply(
                Left { values: &inputs[p * count * depth..], row: depth, column: 1 },
                count,
                depth,
                &packed[p * packed_len..][..packed_len],
                g.out,
                &mut products[p * count * g.out..],
                g.out,
                Write::Replace,
            );
        }
        Arch::new().dispatch(TilesToSmall { grid: &grid, tiles, products: &products, bias, result: &result });
    });
    y
}

/// See [`super::convolution::grow`].
pub(crate) fn grow(g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let grid = Grid::new(g);
    let width = 4 * g.channels;
    let packed = pack_weights(g, weight, false);
    let packed_len = gemm::packed_len(g.out, width);
    let mut x = Buffer::take(g.large_len());
    let result = Shared::new(&mut x);
    let image_len = g.large[0] * g.large[1] * g.channels;
    // A task has whole images, because neighbouring tiles add to the same pixels.
    let images = TILES.div_ceil(grid.image_tiles().max(1)).min(g.batch.div_ceil(8)).max(1);
    parallel::tasks(parallel::parts(g.batch, images), |task| {
        let images = parallel::part(g.batch, images, task);
        // SAFETY: tasks have different images.
        let x = unsafe { result.part(images.start * image_len..images.end * image_len) };
        let all = images.start * grid.image_tiles()..images.end * grid.image_tiles();
        let size = TILES.min(all.len().max(1));
        let mut inputs = Buffer::take(PRODUCTS * size * g.out);
        let mut products = Buffer::take(PRODUCTS * size * width);
        for part in 0..parallel::parts(all.len(), size) {
            let tiles = parallel::part(all.len(), size, part);
            let tiles = all.start + tiles.start..all.start + tiles.end;
            let count = tiles.len();
            let slab = Slab::rows(count, g.out);
            Arch::new().dispatch(SmallToTiles {
                grid: &grid,
                tiles: tiles.clone(),
                image: y,
                slab: &slab,
                at: 0,
                result: &Shared::new(&mut inputs),
            });
            for p in 0..PRODUCTS {
                gemm::multiply(
                    Left { values: &inputs[p * count * g.out..], row: g.out, column: 1 },
                    count,
                    g.out,
                    &packed[p * packed_len..][..packed_len],
                    width,
                    &mut products[p * count * width..],
                    width,
                    Write::Replace,
                );
            }
            Arch::new().dispatch(TilesToLarge {
                grid: &grid,
                tiles,
                first_image: images.start,
                products: &products,
                bias,
                images: x,
            });
        }
    });
    x
}

/// See [`super::convolution::weight_gradient`].
pub(crate) fn weight_gradient(g: &Geometry, x: &[f32], y: &[f32]) -> Buffer {
    let grid = Grid::new(g);
    let large = 4 * g.channels;
    // The channels that lie side by side in the weights become the columns of the product.
    let (rows, columns) = if g.transposed { (g.out, large) } else { (large, g.out) };
    let chunk = ((1 << 22) / (PRODUCTS * (large + g.out))).clamp(64, grid.tiles().max(64));
    let mut large_tiles = Buffer::take(PRODUCTS * chunk * large);
    let mut small_tiles = Buffer::take(PRODUCTS * chunk * g.out);
    let mut sums = Buffer::take(PRODUCTS * rows * columns);
    if grid.tiles() == 0 {
        sums.fill(0.0);
    }
    for index in 0..parallel::parts(grid.tiles(), chunk) {
        let tiles = parallel::part(grid.tiles(), chunk, index);
        let count = tiles.len();
        let (large_slab, small_slab) = if g.transposed {
            (Slab::panels(count, large), Slab::rows(count, g.out))
        } else {
            (Slab::rows(count, large), Slab::panels(count, g.out))
        };
        let shared_large = Shared::new(&mut large_tiles);
        let shared_small = Shared::new(&mut small_tiles);
        let parts = parallel::parts(count, 16);
        parallel::tasks(parts, |task| {
            let part = parallel::part(count, 16, task);
            let part_tiles = tiles.start + part.start..tiles.start + part.end;
            Arch::new().dispatch(LargeToTiles {
                grid: &grid,
                tiles: part_tiles.clone(),
                image: x,
                slab: &large_slab,
                at: part.start,
                result: &shared_large,
            });
            Arch::new().dispatch(SmallToTiles {
                grid: &grid,
                tiles: part_tiles,
                image: y,
                slab: &small_slab,
                at: part.start,
                result: &shared_small,
            });
        });
        let (left, right): (&[f32], &[f32]) =
            if g.transposed { (&small_tiles, &large_tiles) } else { (&large_tiles, &small_tiles) };
        let block = rows.div_ceil(4).next_multiple_of(24);
        let blocks = parallel::parts(rows, block);
        let shared_sums = Shared::new(&mut sums);
        parallel::tasks(PRODUCTS * blocks, |task| {
            let (p, block_index) = (task / blocks, task % blocks);
            let block = parallel::part(rows, block, block_index);
            let start = p * rows * columns;
            let range = start + block.start * columns..start + block.end * columns;
            // SAFETY: products and blocks of rows are disjoint.
            let sums = unsafe { shared_sums.part(range) };
            let write = if index == 0 { Write::Replace } else { Write::Add };
            gemm::multiply(
                Left { values: &left[p * count * rows + block.start..], row: 1, column: rows },
                block.len(),
                count,
                &right[p * count * columns..(p + 1) * count * columns],
                columns,
                sums,
                columns,
                write,
            );
        });
    }
    unpack_gradient(g, &sums)
}

/// Tiles of a task: at most [`TILES`], fewer where there would be too few tasks.
fn task_tiles(tiles: usize) -> usize {
    TILES.min(tiles.div_ceil(8).max(24))
}

/// The tiles of 2×2 small pixels of a batch.
struct Grid {
    large: [usize; 2],
    channels: usize,
    small: [usize; 2],
    out: usize,
    batch: usize,
    /// Tiles of an image, down and across.
    tiles: [usize; 2],
    /// What lies outside an image.
    zeros: Vec<f32>,
}

impl Grid {
    fn new(g: &Geometry) -> Self {
        Self {
            large: g.large,
            channels: g.channels,
            small: g.small,
            out: g.out,
            batch: g.batch,
            tiles: g.small.map(|size| size.div_ceil(2)),
            zeros: vec![0.0; g.channels.max(g.out)],
        }
    }

    fn image_tiles(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    fn tiles(&self) -> usize {
        self.batch * self.image_tiles()
    }

    /// Image, row and column of a tile.
    fn tile(&self, index: usize) -> (usize, usize, usize) {
        let [height, width] = self.tiles;
        (index / (height * width), index / width % height, index % width)
    }

    /// The pixel of an image, or zeros outside it.
    #[inline(always)]
    fn pixel(
        &self,
        image: &[f32],
        size: [usize; 2],
        channels: usize,
        at: (usize, isize, isize),
    ) -> *const f32 {
        let (index, y, x) = at;
        if y < 0 || x < 0 || y >= size[0] as isize || x >= size[1] as isize {
            return self.zeros.as_ptr();
        }
        let at = ((index * size[0] + y as usize) * size[1] + x as usize) * channels;
        image[at..at + channels].as_ptr()
    }

    /// The 3×3 pixels of phase `(a, b)` of a tile in the large image.
    #[inline(always)]
    fn large_pixels(
        &self,
        image: &[f32],
        tile: (usize, usize, usize),
        phase: (usize, usize),
    ) -> [[*const f32; 3]; 3] {
        let (index, y, x) = tile;
        let mut pixels = [[std::ptr::null(); 3]; 3];
        for (j, row) in pixels.iter_mut().enumerate() {
            for (i, pixel) in row.iter_mut().enumerate() {
                let y = (4 * y + phase.0 + 2 * j) as isize - 1;
                let x = (4 * x + phase.1 + 2 * i) as isize - 1;
                *pixel = self.pixel(image, self.large, self.channels, (index, y, x));
            }
        }
        pixels
    }
}

/// How transformed tiles lie in memory: product after product, each a matrix of tiles × columns, by rows
/// or packed in panels for the right side of a matrix product.
struct Slab {
    tiles: usize,
    columns: usize,
    panel: usize,
}

impl Slab {
    fn rows(tiles: usize, columns: usize) -> Self {
        Self { tiles, columns, panel: columns }
    }

    fn panels(tiles: usize, columns: usize) -> Self {
        Self { tiles, columns, panel: gemm::panel_width() }
    }

    /// Where the value of `tile` and `column` of the first product lies; columns up to the next multiple of
    /// [`GROUP`] follow it.
    #[inline(always)]
    fn offset(&self, tile: usize, column: usize) -> usize {
        let first = column / self.panel * self.panel;
        let width = self.panel.min(self.columns - first);
        first * self.tiles + tile * width + column - first
    }

    /// Distance of the products.
    fn product(&self) -> usize {
        self.tiles * self.columns
    }
}

/// Transforms the large image's phases: `B d Bᵀ` of every 3×3 patch.
struct LargeToTiles<'a> {
    grid: &'a Grid,
    tiles: Range<usize>,
    image: &'a [f32],
    slab: &'a Slab,
    /// Row of the slab for the first of `tiles`.
    at: usize,
    result: &'a Shared<'a>,
}

impl WithSimd for LargeToTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.grid.channels;
        for (row, index) in self.tiles.clone().enumerate() {
            let tile = self.grid.tile(index);
            for phase in 0..4 {
                let pixels = self.grid.large_pixels(self.image, tile, (phase / 2, phase % 2));
                for group in (0..channels).step_by(GROUP) {
                    let at = self.slab.offset(self.at + row, phase * channels + group);
                    for c in (group..group + GROUP).step_by(S::F32_LANES) {
                        let mut d = [[simd.splat_f32s(0.0); 3]; 3];
                        for j in 0..3 {
                            for i in 0..3 {
                                // SAFETY: a pixel has `channels` values, of which a multiple of `GROUP`
                                // and hence of the lanes; `zeros` are as many.
                                d[j][i] = unsafe { load::<S>(pixels[j][i].wrapping_add(c)) };
                            }
                        }
                        let rows = [spread(simd, d[0]), spread(simd, d[1]), spread(simd, d[2])];
                        for i in 0..3 {
                            let column = spread(simd, [rows[0][i], rows[1][i], rows[2][i]]);
                            for (j, value) in column.into_iter().enumerate() {
                                let at = at + c - group + (3 * j + i) * self.slab.product();
                                // SAFETY: every tile, product and column has a place of its own.
                                unsafe { store(self.result.part(at..at + S::F32_LANES), value) };
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Transforms the small image: `A y Aᵀ` of every tile.
struct SmallToTiles<'a> {
    grid: &'a Grid,
    tiles: Range<usize>,
    image: &'a [f32],
    slab: &'a Slab,
    /// Row of the slab for the first of `tiles`.
    at: usize,
    result: &'a Shared<'a>,
}

impl WithSimd for SmallToTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let grid = self.grid;
        for (row, index) in self.tiles.clone().enumerate() {
            let (image, y, x) = grid.tile(index);
            let mut pixels = [[std::ptr::null(); 2]; 2];
            for (j, row) in pixels.iter_mut().enumerate() {
                for (i, pixel) in row.iter_mut().enumerate() {
                    let at = (image, (2 * y + j) as isize, (2 * x + i) as isize);
                    *pixel = grid.pixel(self.image, grid.small, grid.out, at);
                }
            }
            for group in (0..grid.out).step_by(GROUP) {
                let at = self.slab.offset(self.at + row, group);
                for c in (group..group + GROUP).step_by(S::F32_LANES) {
                    let mut y = [[simd.splat_f32s(0.0); 2]; 2];
                    for j in 0..2 {
                        for i in 0..2 {
                            // SAFETY: a pixel has `out` values, a multiple of `GROUP`; `zeros` are as many.
                            y[j][i] = unsafe { load::<S>(pixels[j][i].wrapping_add(c)) };
                        }
                    }
                    let rows = [widen(simd, y[0]), widen(simd, y[1])];
                    for i in 0..3 {
                        let column = widen(simd, [rows[0][i], rows[1][i]]);
                        for (j, value) in column.into_iter().enumerate() {
                            let at = at + c - group + (3 * j + i) * self.slab.product();
                            // SAFETY: every tile, product and column has a place of its own.
                            unsafe { store(self.result.part(at..at + S::F32_LANES), value) };
                        }
                    }
                }
            }
        }
    }
}

/// Puts the tiles' products together to small pixels: `Aᵀ m A`.
struct TilesToSmall<'a> {
    grid: &'a Grid,
    tiles: Range<usize>,
    products: &'a [f32],
    bias: Option<&'a [f32]>,
    result: &'a Shared<'a>,
}

impl WithSimd for TilesToSmall<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let out = self.grid.out;
        let [height, width] = self.grid.small;
        let distance = self.tiles.len() * out;
        for (row, index) in self.tiles.clone().enumerate() {
            let (image, tile_y, tile_x) = self.grid.tile(index);
            for c in (0..out).step_by(S::F32_LANES) {
                let mut m = [[simd.splat_f32s(0.0); 3]; 3];
                for j in 0..3 {
                    for i in 0..3 {
                        let at = (3 * j + i) * distance + row * out + c;
                        // SAFETY: the slice has as many values as are read.
                        m[j][i] = unsafe { load::<S>(self.products[at..at + S::F32_LANES].as_ptr()) };
                    }
                }
                let bias = match self.bias {
                    // SAFETY: the slice has as many values as are read.
                    Some(bias) => unsafe { load::<S>(bias[c..c + S::F32_LANES].as_ptr()) },
                    None => simd.splat_f32s(0.0),
                };
                let rows = [narrow(simd, m[0]), narrow(simd, m[1]), narrow(simd, m[2])];
                for i in 0..2 {
                    let column = narrow(simd, [rows[0][i], rows[1][i], rows[2][i]]);
                    for (j, value) in column.into_iter().enumerate() {
                        let (y, x) = (2 * tile_y + j, 2 * tile_x + i);
                        if y < height && x < width {
                            let at = ((image * height + y) * width + x) * out + c;
                            let value = simd.add_f32s(value, bias);
                            // SAFETY: every tile has pixels of its own.
                            unsafe { store(self.result.part(at..at + S::F32_LANES), value) };
                        }
                    }
                }
            }
        }
    }
}

/// Puts the tiles' products together to large pixels, `Bᵀ v B`; neighbouring tiles add up where they overlap.
struct TilesToLarge<'a> {
    grid: &'a Grid,
    tiles: Range<usize>,
    first_image: usize,
    products: &'a [f32],
    bias: Option<&'a [f32]>,
    images: &'a mut [f32],
}

impl WithSimd for TilesToLarge<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.grid.channels;
        let [height, width] = self.grid.large;
        let distance = self.tiles.len() * 4 * channels;
        for (row, index) in self.tiles.clone().enumerate() {
            let (image, tile_y, tile_x) = self.grid.tile(index);
            for phase in 0..4 {
                let (a, b) = (phase / 2, phase % 2);
                for c in (0..channels).step_by(S::F32_LANES) {
                    let mut v = [[simd.splat_f32s(0.0); 3]; 3];
                    for j in 0..3 {
                        for i in 0..3 {
                            let at = (3 * j + i) * distance + (row * 4 + phase) * channels + c;
                            // SAFETY: the slice has as many values as are read.
                            v[j][i] = unsafe { load::<S>(self.products[at..at + S::F32_LANES].as_ptr()) };
                        }
                    }
                    let bias = match self.bias {
                        // SAFETY: the slice has as many values as are read.
                        Some(bias) => unsafe { load::<S>(bias[c..c + S::F32_LANES].as_ptr()) },
                        None => simd.splat_f32s(0.0),
                    };
                    let rows = [gather(simd, v[0]), gather(simd, v[1]), gather(simd, v[2])];
                    for i in 0..3 {
                        let column = gather(simd, [rows[0][i], rows[1][i], rows[2][i]]);
                        for (j, value) in column.into_iter().enumerate() {
                            let y = (4 * tile_y + a + 2 * j).wrapping_sub(1);
                            let x = (4 * tile_x + b + 2 * i).wrapping_sub(1);
                            if y >= height || x >= width {
                                continue;
                            }
                            let image = image - self.first_image;
                            let at = ((image * height + y) * width + x) * channels + c;
                            let pixel = &mut self.images[at..at + S::F32_LANES];
                            // The tile above or to the left was here before.
                            let seen = (j == 0 && tile_y > 0) || (i == 0 && tile_x > 0);
                            let old = if seen {
                                // SAFETY: the slice has as many values as are read.
                                unsafe { load::<S>(pixel.as_ptr()) }
                            } else {
                                bias
                            };
                            // SAFETY: the slice has as many values as are written.
                            unsafe { store(pixel, simd.add_f32s(old, value)) };
                        }
                    }
                }
            }
        }
    }
}

/// # Safety
///
/// A vector's values must be readable from `source` on.
#[inline(always)]
unsafe fn load<S: Simd>(source: *const f32) -> S::f32s {
    // SAFETY: the caller's promise; vectors need no alignment here.
    unsafe { source.cast::<S::f32s>().read_unaligned() }
}

/// # Safety
///
/// `target` must have a vector's values.
#[inline(always)]
unsafe fn store<V>(target: &mut [f32], value: V) {
    // SAFETY: the caller's promise; vectors need no alignment here.
    unsafe { target.as_mut_ptr().cast::<V>().write_unaligned(value) }
}

/// Data to products along one axis: `[d₀ − d₁, d₁, d₁ − d₂]`.
#[inline(always)]
fn spread<S: Simd>(simd: S, d: [S::f32s; 3]) -> [S::f32s; 3] {
    [simd.sub_f32s(d[0], d[1]), d[1], simd.sub_f32s(d[1], d[2])]
}

/// The adjoint of [`spread`].
#[inline(always)]
fn gather<S: Simd>(simd: S, v: [S::f32s; 3]) -> [S::f32s; 3] {
    let middle = simd.add_f32s(simd.sub_f32s(v[1], v[0]), v[2]);
    [v[0], middle, simd.neg_f32s(v[2])]
}

/// Products to results along one axis: `[m₀ + m₁, m₁ − m₂]`.
#[inline(always)]
fn narrow<S: Simd>(simd: S, m: [S::f32s; 3]) -> [S::f32s; 2] {
    [simd.add_f32s(m[0], m[1]), simd.sub_f32s(m[1], m[2])]
}

/// The adjoint of [`narrow`].
#[inline(always)]
fn widen<S: Simd>(simd: S, y: [S::f32s; 2]) -> [S::f32s; 3] {
    [y[0], simd.add_f32s(y[0], y[1]), simd.neg_f32s(y[1])]
}

/// One value for each channel of a group.
type Group = [f32; GROUP];

/// Transforms the weights, `G g Gᵀ` with `[g₀, g₀ + g₁, g₁]` along each axis, and packs the nine matrices:
/// `(phase, channel) × out` if `forward`, else `out × (phase, channel)`.
fn pack_weights(g: &Geometry, weight: &[f32], forward: bool) -> Buffer {
    let large = 4 * g.channels;
    let (rows, columns) = if forward { (large, g.out) } else { (g.out, large) };
    let slab = Slab::panels(rows, columns);
    let mut packed = Buffer::take(PRODUCTS * rows * columns);
    let shared = Shared::new(&mut packed);
    let column_groups = columns / GROUP;
    parallel::tasks(column_groups, |task| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for row in (0..rows).step_by(GROUP) {
                    let column = task * GROUP;
                    let (large, out) = if forward { (row, column) } else { (column, row) };
                    let taps = weight_block(g, weight, large, out, forward != g.transposed);
                    for r in 0..GROUP {
                        let products = transform_weights(&taps, r);
                        let at = slab.offset(row + r, column);
                        for (p, product) in products.iter().enumerate() {
                            let at = at + p * slab.product();
                            // SAFETY: every row, group of columns and product has a place of its own.
                            unsafe { shared.part(at..at + GROUP) }.copy_from_slice(product);
                        }
                    }
                }
            },
        );
    });
    packed
}

/// The four taps of a phase for a group of channels of the large image (`large` counts phases and
/// channels) and a group of channels of the small one. The inner index runs over those that lie side by side in the
/// weights if `straight`, else over the others.
#[inline(always)]
fn weight_block(
    g: &Geometry,
    weight: &[f32],
    large: usize,
    out: usize,
    straight: bool,
) -> [[Group; GROUP]; 4] {
    let (phase, channel) = (large / g.channels, large % g.channels);
    let mut block = [[[0.0; GROUP]; GROUP]; 4];
    for (t, block) in block.iter_mut().enumerate() {
        let tap = (phase / 2 + 2 * (t / 2)) * 4 + phase % 2 + 2 * (t % 2);
        let (start, distance) = if g.transposed {
            ((tap * g.out + out) * g.channels + channel, g.channels)
        } else {
            ((tap * g.channels + channel) * g.out + out, g.out)
        };
        for i in 0..GROUP {
            let values = &weight[start + i * distance..][..GROUP];
            if straight {
                block[i].copy_from_slice(values);
            } else {
                for j in 0..GROUP {
                    block[j][i] = values[j];
                }
            }
        }
    }
    block
}

/// The nine products' weights of row `r`.
#[inline(always)]
fn transform_weights(taps: &[[Group; GROUP]; 4], r: usize) -> [Group; PRODUCTS] {
    let [a, b, c, d] = [taps[0][r], taps[1][r], taps[2][r], taps[3][r]];
    let ab = plus(a, b);
    let cd = plus(c, d);
    [a, ab, b, plus(a, c), plus(ab, cd), plus(b, d), c, cd, d]
}

#[inline(always)]
fn plus(a: Group, b: Group) -> Group {
    let mut sum = a;
    for (sum, b) in sum.iter_mut().zip(b) {
        *sum += b;
    }
    sum
}

/// The weights' gradient from that of the nine products, the adjoint of the transform of the weights.
fn unpack_gradient(g: &Geometry, sums: &[f32]) -> Buffer {
    let mut gradient = Buffer::take(g.weights());
    let shared = Shared::new(&mut gradient);
    let product = 4 * g.channels * g.out;
    // Rows of the sums: (phase, channel) with columns out, or out with columns (phase, channel).
    let (rows, columns) = if g.transposed { (g.out, 4 * g.channels) } else { (4 * g.channels, g.out) };
    parallel::tasks(parallel::parts(rows, 8), |task| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for row in parallel::part(rows, 8, task) {
                    for column in (0..columns).step_by(GROUP) {
                        let u = |p: usize| {
                            let mut group = [0.0; GROUP];
                            let at = p * product + row * columns + column;
                            group.copy_from_slice(&sums[at..at + GROUP]);
                            group
                        };
                        let left = [plus(u(0), u(1)), plus(u(3), u(4)), plus(u(6), u(7))];
                        let right = [plus(u(1), u(2)), plus(u(4), u(5)), plus(u(7), u(8))];
                        let taps = [
                            plus(left[0], left[1]),
                            plus(right[0], right[1]),
                            plus(left[1], left[2]),
                            plus(right[1], right[2]),
                        ];
                        let (large, out) = if g.transposed { (column, row) } else { (row, column) };
                        let (phase, channel) = (large / g.channels, large % g.channels);
                        for (t, values) in taps.iter().enumerate() {
                            let tap = (phase / 2 + 2 * (t / 2)) * 4 + phase % 2 + 2 * (t % 2);
                            let at = if g.transposed {
                                (tap * g.out + out) * g.channels + channel
                            } else {
                                (tap * g.channels + channel) * g.out + out
                            };
                            // SAFETY: every tap and pair of channels has a place of its own.
                            unsafe { shared.part(at..at + GROUP) }.copy_from_slice(values);
                        }
                    }
                }
            },
        );
    });
    gradient
}
