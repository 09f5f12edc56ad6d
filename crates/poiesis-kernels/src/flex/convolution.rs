//! Convolutions as matrix products over tiles of gathered pixels, for any kernel, stride, padding, dilation
//! and number of groups.
//!
//! A convolution takes a *large* image `[batch, height, width, channels]` to a *small* one `[batch,
//! out_height, out_width, out]`; a transposed convolution goes the other way. Both are made of the same
//! three products, so that there is one implementation: large → small ([`shrink`]), small → large
//! ([`grow`]), and the gradient of the weights from both images ([`weight_gradient`]).
//!
//! Memory: tiles of at most some hundred kilobytes per thread for `shrink` and `grow`; at most about 16
//! MiB of gathered pixels or of parts' sums for `weight_gradient`.

#![expect(unsafe_code, reason = "tasks write interleaved pixels of one image through `Shared`")]

use std::ops::Range;

use super::gemm::{self, Gemm, Left, Right, Steps, Write};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use super::transpose::transpose;
use super::winograd;

/// Up to so many weights, or transformed ones, parts of the pixels sum up their gradient on their own.
pub(crate) const FEW_WEIGHTS: usize = 5 << 17;

/// Numbers that a task adds up of every part of a sum.
const SUM: usize = 1 << 13;

/// The sizes of a convolution between a large and a small image.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    /// Height and width of the large image.
    pub(crate) large: [usize; 2],
    /// Channels of the large image.
    pub(crate) channels: usize,
    /// Height and width of the small image.
    pub(crate) small: [usize; 2],
    /// Channels of the small image.
    pub(crate) out: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Zeros above and left of the large image.
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
    /// How many elements of the kernel, row by row, take part; the others count as zero.
    pub(crate) live: usize,
    /// Weights are `[kernel, out, channels / groups]`, as a transposed convolution has them, instead of
    /// `[kernel, channels / groups, out]`.
    pub(crate) transposed: bool,
}

impl Geometry {
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Channels of the large image in a group.
    fn group_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Channels of the small image in a group.
    fn group_out(&self) -> usize {
        self.out / self.groups
    }

    pub(crate) fn weights(&self) -> usize {
        self.taps() * self.group_channels() * self.out
    }

    pub(crate) fn large_len(&self) -> usize {
        self.batch * self.large[0] * self.large[1] * self.channels
    }

    pub(crate) fn small_pixels(&self) -> usize {
        self.batch * self.small[0] * self.small[1]
    }

    pub(crate) fn small_len(&self) -> usize {
        self.small_pixels() * self.out
    }

    /// Whether the first small pixel sees each pixel of the large image once, in the order of the taps.
    fn sees_all_once(&self) -> bool {
        self.large == self.kernel
            && self.padding == [0, 0]
            && self.dilation == [1, 1]
            && self.live == self.taps()
    }

    /// Distances in the weights of neighbouring channels of the large and of the small image, and of
    /// neighbouring groups.
    fn weight_strides(&self) -> (usize, usize, usize) {
        let (channels, out) = (self.group_channels(), self.group_out());
        if self.transposed { (1, channels, out * channels) } else { (self.out, 1, out) }
    }

    /// Which pixels of the large image each pixel of the small one sees.
    fn gather(&self) -> Gather {
        let taps = (0..self.live).map(|tap| {
            let place =
                |axis: usize, tap: usize| (tap * self.dilation[axis]) as isize - self.padding[axis] as isize;
            (tap, [place(0, tap / self.kernel[1]), place(1, tap % self.kernel[1])])
        });
        Gather::new(self.large, self.channels, self.small, self.stride, taps.collect())
    }
}

/// The small image of the large image `x`, plus `bias [out]`.
pub(crate) fn shrink(g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    match winograd::choose(g) {
        Some(choice) => winograd::shrink(choice, g, x, weight, bias),
        None => shrink_directly(g, x, weight, bias),
    }
}

/// [`shrink`] by direct sums.
pub(crate) fn shrink_directly(g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let mut y = Buffer::take(g.small_len());
    let gather = g.gather();
    let blocks = gather.blocks(g.group_channels() * g.out);
    let (channel, out, group) = g.weight_strides();
    let product = Product {
        gemm: Gemm::in_force(),
        gather,
        place: Place { size: g.small, channels: g.out, start: [0, 0], step: [1, 1] },
        batch: g.batch,
        groups: g.groups,
        inputs: g.group_channels(),
        outputs: g.group_out(),
    };
    let packed = product.pack(weight, &blocks, [channel, out, group]);
    product.run(x, &packed, bias, &Shared::new(&mut y));
    y
}

/// The large image of the small image `y`, the adjoint of [`shrink`], plus `bias [channels]`.
pub(crate) fn grow(g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    match winograd::choose(g) {
        Some(choice) => winograd::grow(choice, g, y, weight, bias),
        None => grow_directly(g, y, weight, bias),
    }
}

/// [`grow`] by direct sums.
pub(crate) fn grow_directly(g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    if g.groups == 1 && g.small == [1, 1] && g.sees_all_once() {
        return grow_from_pixels(g, y, weight, bias);
    }
    let phases = phases(g);
    let gathered: usize = phases.iter().map(Phase::products).sum();
    let scattered = g.small[0] * g.small[1] * g.live;
    // Few columns waste most of a vector, and many taps outside the small image waste products.
    if g.live > 0 && (g.group_channels() < 16 || gathered > scattered + scattered / 4) {
        return scatter(g, y, weight, bias);
    }
    let mut x = Buffer::take(g.large_len());
    let shared = Shared::new(&mut x);
    let (channel, out, group) = g.weight_strides();
    for phase in phases {
        let blocks = phase.gather.blocks(g.group_channels() * g.out);
        let product = Product {
            gemm: Gemm::in_force(),
            gather: phase.gather,
            place: phase.place,
            batch: g.batch,
            groups: g.groups,
            inputs: g.group_out(),
            outputs: g.group_channels(),
        };
        let packed = product.pack(weight, &blocks, [out, channel, group]);
        product.run(y, &packed, bias, &shared);
    }
    x
}

/// [`grow`] from small images of one pixel: a tap's weights are a matrix that writes a pixel of every large image.
fn grow_from_pixels(g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let mut x = Buffer::take(g.large_len());
    let result = Shared::new(&mut x);
    let gemm = Gemm::in_force();
    let (channel, out, _) = g.weight_strides();
    // Several panels, so that a task reads the small images often enough.
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
            gemm.pack(&mut packed, weight, g.out, columns, out, channel);
            Right::Packed(&packed)
        };
        let at = tap * g.channels + channels.start;
        let stride = g.taps() * g.channels;
        let left = Left::new(y, g.out, 1);
        // SAFETY: every tap has a pixel of its own, and the tasks' channels are disjoint.
        unsafe {
            let write = Write::Replace;
            let places = Steps::even(stride);
            gemm.multiply_shared(left, g.batch, g.out, right, columns, &result, at, places, write);
        }
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

/// The gradient of the weights, in their own layout, from the large image (or its gradient) and the
/// gradient of the small image (or the small image).
pub(crate) fn weight_gradient(g: &Geometry, x: &[f32], y: &[f32]) -> Buffer {
    match winograd::choose_for_weights(g) {
        Some(choice) => winograd::weight_gradient(choice, g, x, y),
        None => weight_gradient_directly(g, x, y),
    }
}

/// [`weight_gradient`] by direct sums.
pub(crate) fn weight_gradient_directly(g: &Geometry, x: &[f32], y: &[f32]) -> Buffer {
    let rows = g.live * g.group_channels();
    let mut gradient = Buffer::take(g.weights());
    let (live, rest) = gradient.split_at_mut(rows * g.out);
    rest.fill(0.0);
    let gather = g.gather();
    if g.groups == 1
        && rows * g.out <= 1 << 18
        && gather.in_place(g.channels).is_none()
        && let Some(window) = gather.window()
    {
        weight_gradient_by_lines(g, &window, x, y, live);
    } else {
        let weights = rows * g.out;
        // The more sums a part has to write and to add, the more pixels it must have.
        let parts = parts_of_sum(g.small_pixels(), (weights / 512).max(384), weights);
        if weights <= FEW_WEIGHTS && (parts > 1 || rows < 48) {
            weight_gradient_by_parts(g, &gather, x, y, parts, live);
        } else {
            weight_gradient_by_rows(g, &gather, x, y, live);
        }
    }
    if g.transposed { transpose_weights(g, &gradient) } else { gradient }
}

/// One matrix product per tile of gathered pixels.
struct Product {
    gemm: Gemm,
    gather: Gather,
    place: Place,
    batch: usize,
    groups: usize,
    /// Channels that a group reads.
    inputs: usize,
    /// Channels that a group writes.
    outputs: usize,
}

impl Product {
    fn depth(&self) -> usize {
        self.gather.taps.len() * self.inputs
    }

    /// Packs the weights of every group; `strides` are those of input channel, output channel and group.
    fn pack(&self, weight: &[f32], blocks: &[usize], strides: [usize; 3]) -> Buffer {
        let len = self.gemm.packed_len(self.depth(), self.outputs);
        let mut packed = Buffer::take(len * self.groups);
        let shared = Shared::new(&mut packed);
        let panels = self.outputs.div_ceil(gemm::panel_width());
        let pack = |task: usize| {
            let (group, panel) = (task / panels, task % panels);
            let range = self.gemm.panel_range(self.depth(), self.outputs, panel);
            // SAFETY: panels and groups are disjoint.
            let packed = unsafe { shared.part(group * len + range.start..group * len + range.end) };
            let source = &weight[group * strides[2]..];
            self.gemm.pack_panel(
                packed,
                source,
                blocks,
                self.inputs,
                self.outputs,
                strides[0],
                strides[1],
                panel,
            );
        };
        if len * self.groups < 1 << 14 {
            (0..panels * self.groups).for_each(pack);
        } else {
            parallel::tasks(panels * self.groups, pack);
        }
        packed
    }

    fn run(&self, source: &[f32], packed: &[f32], bias: Option<&[f32]>, result: &Shared<'_>) {
        if self.groups == 1
            && self.gather.in_place(self.inputs).is_none()
            && self.gather.cells() >= 64
            && let Some(window) = self.gather.window()
        {
            return self.run_windows(&window, source, packed, bias, result);
        }
        let pixels = self.batch * self.gather.cells();
        let size = tile_pixels(self.depth(), pixels);
        let len = self.gemm.packed_len(self.depth(), self.outputs);
        let in_place = self.gather.in_place(self.inputs);
        parallel::tasks(parallel::parts(pixels, size), |task| {
            let tile = parallel::part(pixels, size, task);
            for group in 0..self.groups {
                let channels = group * self.inputs..(group + 1) * self.inputs;
                let packed = &packed[group * len..][..len];
                let mut gathered = Buffer::take(0);
                let left = match in_place {
                    Some(rows) => Left::of_rows(&source[channels.start..], rows.skip(tile.start)),
                    None => {
                        gathered = Buffer::take(tile.len() * self.depth());
                        self.gather.rows(source, tile.clone(), channels, &mut gathered);
                        Left::new(&gathered, self.depth(), 1)
                    }
                };
                for part in self.place.parts(&self.gather, tile.clone()) {
                    let left = Left { rows: left.rows.skip(part.first - tile.start), ..left };
                    self.multiply(left, packed, bias, result, &part, group);
                }
                drop(gathered);
            }
        });
    }

    /// Multiplies the source as it is where windows lie inside it, and padded copies elsewhere.
    fn run_windows(
        &self,
        window: &Window<'_>,
        source: &[f32],
        packed: &[f32],
        bias: Option<&[f32]>,
        result: &Shared<'_>,
    ) {
        let [height, width] = self.gather.grid;
        let size = window.lines(self.batch, self.outputs);
        let blocks = parallel::parts(height, size);
        let inside = if self.gemm.rounds() { None } else { window.inside() };
        parallel::tasks(self.batch * blocks, |task| {
            let (image, block) = (task / blocks, task % blocks);
            let lines = parallel::part(height, size, block);
            let copied = |lines: Range<usize>, cells: Range<usize>| {
                if lines.is_empty() {
                    return;
                }
                let mut copy = Buffer::take(window.len(lines.len(), cells.len()));
                window.copy(source, image, lines.clone(), cells.clone(), &mut copy);
                let left = window.left(self.gemm, &mut copy, cells.len());
                let part = self.place.rectangle(&self.gather, image, lines, cells);
                self.multiply(left, packed, bias, result, &part, 0);
            };
            let Some([inner, cells]) = &inside else { return copied(lines, 0..width) };
            let inner = inner.start.clamp(lines.start, lines.end)..inner.end.clamp(lines.start, lines.end);
            copied(lines.start..inner.start, 0..width);
            copied(inner.end..lines.end, 0..width);
            if inner.is_empty() {
                return;
            }
            for cell in (0..cells.start).chain(cells.end..width) {
                copied(inner.clone(), cell..cell + 1);
            }
            let left = window.left_in_place(source, image, inner.start, cells);
            let part = self.place.rectangle(&self.gather, image, inner, cells.clone());
            self.multiply(left, packed, bias, result, &part, 0);
        });
    }

    /// Writes the products of gathered rows to the places of their cells.
    fn multiply(
        &self,
        left: Left<'_>,
        packed: &[f32],
        bias: Option<&[f32]>,
        result: &Shared<'_>,
        part: &Part,
        group: usize,
    ) {
        let Part { count, at, places, .. } = *part;
        let outputs = group * self.outputs..(group + 1) * self.outputs;
        let (at, columns) = (at + outputs.start, outputs.len());
        let (depth, right, write) = (self.depth(), Right::Packed(packed), Write::Replace);
        // SAFETY: every cell of a grid has a pixel of its own, every group channels of its own, and the tasks' cells are disjoint.
        unsafe {
            self.gemm.multiply_shared(left, count, depth, right, columns, result, at, places, write);
        }
        if let Some(bias) = bias {
            simd::run(
                #[inline(always)]
                || {
                    for row in 0..count {
                        let at = at + places.at(row);
                        // SAFETY: as above.
                        add(unsafe { result.part(at..at + columns) }, &bias[outputs.clone()]);
                    }
                },
            );
        }
    }
}

/// Pixels in a tile, so that the gathered values stay in the L2 cache and there are tasks enough.
fn tile_pixels(depth: usize, pixels: usize) -> usize {
    let fitting = (65_536 / depth.max(1)).clamp(48, 768);
    fitting.min(pixels.div_ceil(8).max(24)).next_multiple_of(24)
}

/// Where results lie in their image: cell `(y, x)` of the grid at pixel `start + step · (y, x)`.
struct Place {
    size: [usize; 2],
    channels: usize,
    start: [usize; 2],
    step: [usize; 2],
}

impl Place {
    /// Whether the grid's cells are the image's pixels in order.
    fn is_dense(&self, gather: &Gather) -> bool {
        gather.grid == self.size && self.start == [0, 0] && self.step == [1, 1]
    }

    /// The cells `cells` of the lines `lines` of an image.
    fn rectangle(&self, gather: &Gather, image: usize, lines: Range<usize>, cells: Range<usize>) -> Part {
        let y = self.start[0] + lines.start * self.step[0];
        let x = self.start[1] + cells.start * self.step[1];
        let [height, width] = self.size;
        let jump = self.step[0] * width * self.channels;
        Part {
            first: (image * gather.grid[0] + lines.start) * gather.grid[1] + cells.start,
            count: lines.len() * cells.len(),
            at: ((image * height + y) * width + x) * self.channels,
            places: Steps::runs(self.step[1] * self.channels, cells.len(), jump),
        }
    }

    /// `cells`, counted through the batch, in parts whose places follow one rule: all of them, or those of each image.
    fn parts(&self, gather: &Gather, cells: Range<usize>) -> impl Iterator<Item = Part> {
        let dense = self.is_dense(gather);
        let [height, width] = gather.grid;
        let mut start = cells.start;
        std::iter::from_fn(move || {
            let image = start / (height * width);
            let end = if dense { cells.end } else { cells.end.min((image + 1) * height * width) };
            let (first, count) = (start, end - start);
            start = end;
            if count == 0 {
                None
            } else if dense {
                let (at, places) = (first * self.channels, Steps::even(self.channels));
                Some(Part { first, count, at, places })
            } else {
                let line = first / width % height;
                let part = self.rectangle(gather, image, line..height, 0..width);
                Some(Part { first, count, places: part.places.skip(first % width), ..part })
            }
        })
    }
}

/// Cells and where their products go.
struct Part {
    /// The first cell, counted through the batch.
    first: usize,
    count: usize,
    /// Where the first line's first number lies.
    at: usize,
    /// Where the cells lie from there.
    places: Steps,
}

/// Which pixels of a source image each cell of a grid sees: tap `t` of cell `c` is the pixel `c · step +
/// t.place`, a zero where there is none.
struct Gather {
    source: [usize; 2],
    channels: usize,
    grid: [usize; 2],
    step: [isize; 2],
    /// Taps in the order of their pixels.
    taps: Vec<usize>,
    runs: Vec<Run>,
}

/// Taps whose pixels are neighbours in memory.
struct Run {
    y: isize,
    x: isize,
    taps: usize,
}

impl Gather {
    /// `taps` are numbers of the kernel's elements and where they look, seen from a cell.
    fn new(
        source: [usize; 2],
        channels: usize,
        grid: [usize; 2],
        step: [usize; 2],
        mut taps: Vec<(usize, [isize; 2])>,
    ) -> Self {
        taps.sort_unstable_by_key(|&(_, place)| place);
        let mut runs: Vec<Run> = Vec::new();
        for &(_, [y, x]) in &taps {
            match runs.last_mut() {
                Some(run) if run.y == y && run.x + run.taps as isize == x => run.taps += 1,
                _ => runs.push(Run { y, x, taps: 1 }),
            }
        }
        let taps = taps.into_iter().map(|(tap, _)| tap).collect();
        Self { source, channels, grid, step: step.map(|s| s as isize), taps, runs }
    }

    fn cells(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Where each tap's weights start, in blocks of `len`.
    fn blocks(&self, len: usize) -> Vec<usize> {
        self.taps.iter().map(|tap| tap * len).collect()
    }

    /// Where the gathered rows begin, if they are in the source as they are.
    fn in_place(&self, inputs: usize) -> Option<Steps> {
        let [height, width] = self.source;
        let whole = self.grid == [1, 1]
            && inputs == self.channels
            && self.runs.len() == height
            && self.runs.iter().zip(0..).all(|(run, y)| run.y == y && run.x == 0 && run.taps == width);
        if whole {
            return Some(Steps::even(height * width * self.channels));
        }
        if !matches!(self.runs[..], [Run { y: 0, x: 0, taps: 1 }]) {
            return None;
        }
        let step = self.step.map(|step| step as usize);
        if self.grid == self.source && step == [1, 1] {
            return Some(Steps::even(self.channels));
        }
        // Lines go on evenly from one image to the next.
        let even = height == self.grid[0] * step[0] && (self.grid[1] - 1) * step[1] < width;
        even.then(|| Steps {
            first: 0,
            step: step[1] * self.channels,
            run: self.grid[1],
            jump: step[0] * width * self.channels,
        })
    }

    /// The taps as a rectangle, if that is what they are, and lines of cells are long enough to be worked off one by one.
    fn window(&self) -> Option<Window<'_>> {
        let (first, last) = (self.runs.first()?, self.runs.last()?);
        let left = self.runs.iter().map(|run| run.x).min()?;
        let right = self.runs.iter().map(|run| run.x + run.taps as isize).max()?;
        let rectangle = self.runs.iter().zip(first.y..).enumerate().all(|(i, (run, y))| {
            let begins = run.x == left || i == 0;
            let ends = run.x + run.taps as isize == right || i + 1 == self.runs.len();
            run.y == y && begins && ends
        });
        (rectangle && self.grid[1] >= 4).then(|| Window {
            gather: self,
            corner: [first.y, left],
            taps: [(last.y - first.y + 1) as usize, (right - left) as usize],
            skipped: (first.x - left) as usize,
        })
    }

    /// Writes the rows of `cells` (counted through the batch): every tap's values of `channels`.
    fn rows(&self, source: &[f32], cells: Range<usize>, channels: Range<usize>, rows: &mut [f32]) {
        let count = channels.len();
        let depth = self.taps.len() * count;
        if depth == 0 {
            return;
        }
        let [height, width] = self.source;
        let mut image = cells.start / self.cells();
        let mut y = cells.start / self.grid[1] % self.grid[0];
        let mut x = cells.start % self.grid[1];
        for row in rows.chunks_exact_mut(depth).take(cells.len()) {
            let top = y as isize * self.step[0];
            let left = x as isize * self.step[1];
            let mut rest = row;
            for run in &self.runs {
                let (row, after) = rest.split_at_mut(run.taps * count);
                rest = after;
                let y = top + run.y;
                if y < 0 || y >= height as isize {
                    row.fill(0.0);
                    continue;
                }
                let start = (image * height + y as usize) * width;
                let left = left + run.x;
                let inside = (width as isize - left).clamp(0, run.taps as isize) as usize;
                let before = (-left).clamp(0, inside as isize) as usize;
                row[..before * count].fill(0.0);
                row[inside * count..].fill(0.0);
                if inside == before {
                    continue;
                }
                let row = &mut row[before * count..inside * count];
                let first = start + (left + before as isize) as usize;
                if count == self.channels {
                    row.copy_from_slice(&source[first * count..][..row.len()]);
                } else {
                    for (row, pixel) in row.chunks_exact_mut(count).zip(first..) {
                        let at = pixel * self.channels;
                        row.copy_from_slice(&source[at + channels.start..at + channels.end]);
                    }
                }
            }
            x += 1;
            if x == self.grid[1] {
                (x, y) = (0, y + 1);
                if y == self.grid[0] {
                    (y, image) = (0, image + 1);
                }
            }
        }
    }
}

/// A rectangle of taps. A copy of the source with zeros around holds the gathered rows as they are: those of
/// neighbouring cells overlap.
struct Window<'a> {
    gather: &'a Gather,
    /// The first pixel that cell 0 sees.
    corner: [isize; 2],
    taps: [usize; 2],
    /// Taps at the beginning of the rectangle that do not take part; there may be others at its end.
    skipped: usize,
}

impl Window<'_> {
    /// Lines of cells for a task, whose products have `outputs` columns: their copy and their products stay in the L2 cache.
    fn lines(&self, batch: usize, outputs: usize) -> usize {
        let [height, width] = self.gather.grid;
        let copied = 49_152 / (self.pitch(width) * self.gather.step[0] as usize);
        let fitting = copied.min(24_576 / (width * outputs.max(1)));
        fitting.min((batch * height).div_ceil(8)).clamp(1, height)
    }

    /// The lines, and the cells of a line, whose windows lie inside the source, where it is worth leaving the others to copies.
    fn inside(&self) -> Option<[Range<usize>; 2]> {
        let inside = [0, 1].map(|axis| {
            let (step, corner) = (self.gather.step[axis], self.corner[axis]);
            let (cells, size) = (self.gather.grid[axis] as isize, self.gather.source[axis] as isize);
            let start = ((step - 1 - corner).max(0) / step).min(cells);
            let room = size - corner - self.taps[axis] as isize;
            let end = if room < 0 { start } else { (room / step + 1).clamp(start, cells) };
            start as usize..end as usize
        });
        let width = self.gather.grid[1];
        let outside = width - inside[1].len();
        let worthwhile = inside[1].len() >= 8 && 2 * outside * self.taps[1] <= width;
        worthwhile.then_some(inside)
    }

    /// Floats in a line of the copy for so many cells.
    fn pitch(&self, cells: usize) -> usize {
        ((cells - 1) * self.gather.step[1] as usize + self.taps[1]) * self.gather.channels
    }

    /// Lines of the copy for `lines` of cells.
    fn copied_lines(&self, lines: usize) -> usize {
        (lines - 1) * self.gather.step[0] as usize + self.taps[0]
    }

    /// Floats of the copy for `cells` of each of `lines`.
    fn len(&self, lines: usize, cells: usize) -> usize {
        self.copied_lines(lines) * self.pitch(cells)
    }

    /// Copies what the cells `cells` of the lines `lines` of an image see.
    fn copy(&self, source: &[f32], image: usize, lines: Range<usize>, cells: Range<usize>, copy: &mut [f32]) {
        let Gather { source: [height, width], channels, step, .. } = *self.gather;
        let [top, left] = self.corner;
        let top = top + lines.start as isize * step[0];
        let left = left + cells.start as isize * step[1];
        let pitch = self.pitch(cells.len());
        let pixels = (pitch / channels) as isize;
        let end = (width as isize - left).clamp(0, pixels) as usize;
        let start = (-left).clamp(0, end as isize) as usize;
        for (y, line) in (top..).zip(copy.chunks_exact_mut(pitch)) {
            if y < 0 || y >= height as isize || start == end {
                line.fill(0.0);
                continue;
            }
            let first = (image * height + y as usize) * width + (left + start as isize) as usize;
            line[..start * channels].fill(0.0);
            line[start * channels..end * channels]
                .copy_from_slice(&source[first * channels..][..(end - start) * channels]);
            line[end * channels..].fill(0.0);
        }
    }

    /// The gathered rows of `cells` cells a line whose copy this is. Where factors are rounded, so is the copy: else every tap would
    /// be.
    fn left<'b>(&self, gemm: Gemm, copy: &'b mut Buffer, cells: usize) -> Left<'b> {
        let channels = self.gather.channels;
        let values_of_entry = if gemm.rounds() && channels.is_multiple_of(2) { 2 } else { 1 };
        if values_of_entry == 2 {
            let mut pairs = Buffer::take(copy.len() / 2);
            gemm::round_neighbours(copy, &mut pairs);
            *copy = pairs;
        }
        let rounded = values_of_entry == 2;
        Left { rounded, ..self.rows_of(copy, self.pitch(cells), cells, values_of_entry) }
    }

    /// The gathered rows of the cells `cells` from line `line` of an image on, which lie inside the source.
    fn left_in_place<'b>(
        &self,
        source: &'b [f32],
        image: usize,
        line: usize,
        cells: &Range<usize>,
    ) -> Left<'b> {
        let Gather { source: [height, width], channels, step, .. } = *self.gather;
        let y = (line as isize * step[0] + self.corner[0]) as usize;
        let x = (cells.start as isize * step[1] + self.corner[1]) as usize;
        let source = &source[((image * height + y) * width + x) * channels..];
        self.rows_of(source, width * channels, cells.len(), 1)
    }

    /// The gathered rows of cells whose lines of pixels lie `pitch` values apart.
    fn rows_of<'b>(&self, pixels: &'b [f32], pitch: usize, cells: usize, values_of_entry: usize) -> Left<'b> {
        let Gather { channels, step, .. } = *self.gather;
        let pixel = channels / values_of_entry;
        let pitch = pitch / values_of_entry;
        let columns = Steps { first: self.skipped * pixel, step: 1, run: self.taps[1] * pixel, jump: pitch };
        let rows = Steps::runs(step[1] as usize * pixel, cells, step[0] as usize * pitch);
        Left { columns, ..Left::of_rows(pixels, rows) }
    }

    /// The gathered rows of the cells whose copy this is, transposed and from a line of taps on; rounded as [`Window::left`].
    fn left_transposed<'b>(&self, copy: &'b [f32], pairs: Option<&'b [f32]>, tap_line: usize) -> Left<'b> {
        let cells = self.cells();
        let (values, columns) = match pairs {
            Some(pairs) => (pairs, Steps { step: 2 * cells.step, run: cells.run / 2, ..cells }),
            None => (copy, cells),
        };
        let values = &values[tap_line * self.pitch(self.gather.grid[1])..];
        Left { values, rows: Steps::even(1), columns, rounded: pairs.is_some() }
    }

    /// Where the cells lie in the copy.
    fn cells(&self) -> Steps {
        let Gather { grid, channels, step, .. } = *self.gather;
        Steps {
            first: 0,
            step: step[1] as usize * channels,
            run: grid[1],
            jump: step[0] as usize * self.pitch(grid[1]),
        }
    }
}

/// The pixels of the large image with the same remainder by the stride: each is a convolution of the small
/// image with some of the kernel's taps.
struct Phase {
    gather: Gather,
    place: Place,
}

impl Phase {
    /// Multiplications per pair of channels.
    fn products(&self) -> usize {
        self.gather.cells() * self.gather.taps.len()
    }
}

fn phases(g: &Geometry) -> Vec<Phase> {
    let rows = axis_phases(g, 0);
    let columns = axis_phases(g, 1);
    let mut phases = Vec::with_capacity(rows.len() * columns.len());
    for y in &rows {
        for x in &columns {
            let taps = (0..y.taps).flat_map(|ty| (0..x.taps).map(move |tx| (ty, tx)));
            let taps = taps.filter_map(|(ty, tx)| {
                let tap = (y.first + ty * y.every) * g.kernel[1] + x.first + tx * x.every;
                (tap < g.live).then_some((tap, [y.place(ty), x.place(tx)]))
            });
            phases.push(Phase {
                gather: Gather::new(g.small, g.out, [y.cells, x.cells], [1, 1], taps.collect()),
                place: Place {
                    size: g.large,
                    channels: g.channels,
                    start: [y.start, x.start],
                    step: g.stride,
                },
            });
        }
    }
    phases
}

/// A phase along one axis: pixels `start + stride · cell` use the taps `first + every · t`.
struct AxisPhase {
    start: usize,
    cells: usize,
    first: usize,
    every: usize,
    taps: usize,
    tap_step: isize,
    offset: isize,
}

impl AxisPhase {
    /// The small pixel that tap `t` of cell 0 sees.
    fn place(&self, t: usize) -> isize {
        self.offset + t as isize * self.tap_step
    }
}

fn axis_phases(g: &Geometry, axis: usize) -> Vec<AxisPhase> {
    let (stride, dilation) = (g.stride[axis], g.dilation[axis]);
    let every = stride / greatest_common_divisor(stride, dilation);
    (0..stride.min(g.large[axis]))
        .map(|start| {
            // The small pixel o sees the large pixel i through tap k where i + padding = o · stride + k · dilation.
            let position = start + g.padding[axis];
            let first = (0..every.min(g.kernel[axis]))
                .find(|k| (position % stride + stride * dilation - k * dilation).is_multiple_of(stride));
            let cells = (g.large[axis] - start).div_ceil(stride);
            let (first, taps, offset) = match first {
                Some(first) => (
                    first,
                    (g.kernel[axis] - first).div_ceil(every),
                    (position as isize - (first * dilation) as isize) / stride as isize,
                ),
                None => (0, 0, 0),
            };
            AxisPhase {
                start,
                cells,
                first,
                every,
                taps,
                tap_step: -((every * dilation / stride) as isize),
                offset,
            }
        })
        .collect()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// [`grow`] by multiplying first and adding the products to their pixels afterwards.
fn scatter(g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let depth = g.group_out();
    let width = g.live * g.group_channels();
    let (channel, out, group) = g.weight_strides();
    // The packed matrix is out × (taps · channels), so its columns come in blocks of a tap each.
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
    let gemm = Gemm::in_force();
    let len = gemm.packed_len(depth, width);
    let mut packed = Buffer::take(len * g.groups);
    let shared = Shared::new(&mut packed);
    let panels = width.div_ceil(gemm::panel_width());
    parallel::tasks(g.groups * panels, |task| {
        let (group, panel) = (task / panels, task % panels);
        let range = gemm.panel_range(depth, width, panel);
        // SAFETY: panels and groups are disjoint.
        let packed = unsafe { shared.part(group * len + range.start..group * len + range.end) };
        gemm.pack_panel(packed, &ordered[group * depth * width..], &[0], depth, width, width, 1, panel);
    });

    let mut x = Buffer::take(g.large_len());
    let image_len = g.large[0] * g.large[1] * g.channels;
    let shared = Shared::new(&mut x);
    let pixels = g.small[0] * g.small[1];
    parallel::tasks(g.batch, |image| {
        // SAFETY: every task has an image of its own.
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
                gemm.multiply(
                    left,
                    tile.len(),
                    depth,
                    &packed[group * len..][..len],
                    width,
                    &mut products,
                    width,
                    Write::Replace,
                );
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
    for (pixel, products) in tile.zip(products.chunks_exact(g.live * channels)) {
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

#[inline(always)]
fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// The gradient of few weights from padded copies of the large image: parts of its lines sum up on their own and are
/// added in order. The result is `[live, channels, out]`.
fn weight_gradient_by_lines(g: &Geometry, window: &Window<'_>, x: &[f32], y: &[f32], total: &mut [f32]) {
    let [height, width] = g.small;
    let lines = g.batch * height;
    // A power of two, so that threads have equal shares.
    let most = ((1 << 20) / total.len().max(1)).clamp(4, 16);
    let count = 1 << (lines * width).div_ceil(1024).clamp(1, most).ilog2();
    let size = lines.div_ceil(count).max(1);
    let gemm = Gemm::in_force();
    let step = window.lines(g.batch, g.out);
    sum_of_parts(parallel::parts(lines, size), total, |part, sum| {
        let part = parallel::part(lines, size, part);
        let mut copy = Buffer::take(window.len(step, width));
        let mut packed = Buffer::take(gemm.packed_len(step * width, g.out));
        // Pairs are neighbouring cells of a line.
        let cell = window.cells().step;
        let rounds = gemm.rounds() && width.is_multiple_of(2);
        let mut pairs = Buffer::take(if rounds { copy.len() - cell } else { 0 });
        let mut start = part.start;
        while start < part.end {
            let (image, line) = (start / height, start % height);
            let count = step.min(part.end - start).min(height - line);
            let depth = count * width;
            let copy = &mut copy[..window.len(count, width)];
            window.copy(x, image, line..line + count, 0..width, copy);
            let pairs = rounds.then(|| {
                let pairs = &mut pairs[..copy.len() - cell];
                gemm::round_with_distant(copy, cell, pairs);
                &*pairs
            });
            let right = &y[start * width * g.out..];
            let packed = gemm.packed_already(right, g.out).unwrap_or_else(|| {
                let packed = &mut packed[..gemm.packed_len(depth, g.out)];
                gemm.pack(packed, right, depth, g.out, g.out, 1);
                packed
            });
            let run = g.kernel[1] * g.channels;
            for (tap_line, sum) in sum.chunks_mut(run * g.out).enumerate() {
                let left = window.left_transposed(copy, pairs, tap_line);
                gemm.multiply(left, sum.len() / g.out, depth, packed, g.out, sum, g.out, Write::Add);
            }
            start += count;
        }
    });
}

/// How many parts of `terms` terms, each of at least `least`, should sum up to `len` numbers on their own before they are added: a power
/// of two, so that threads have equal shares, and not more than 16 MiB of sums.
pub(crate) fn parts_of_sum(terms: usize, least: usize, len: usize) -> usize {
    let most = ((1 << 22) / len.max(1)).clamp(1, 16);
    1 << (terms / least).clamp(1, most).ilog2()
}

/// Lets `add_part` add each of `count` parts to a sum of its own, and puts the sums' sum into `total`.
pub(crate) fn sum_of_parts(
    count: usize,
    total: &mut [f32],
    add_part: impl Fn(usize, &mut [f32]) + Send + Sync,
) {
    let len = total.len();
    if count == 1 {
        total.fill(0.0);
        return add_part(0, total);
    }
    let mut sums = Buffer::take(count * len);
    let shared = Shared::new(&mut sums);
    parallel::tasks(count, |part| {
        // SAFETY: every part has a sum of its own.
        let sum = unsafe { shared.part(part * len..(part + 1) * len) };
        sum.fill(0.0);
        add_part(part, sum);
    });
    parallel::chunks(total, SUM, |index, total| {
        total.fill(0.0);
        for sum in sums.chunks_exact(len.max(1)) {
            add(total, &sum[index * SUM..][..total.len()]);
        }
    });
}

/// The gradient of few weights from many pixels: `parts` of the pixels sum up on their own and are added in order. A thread then
/// reads the pixels that it wrote, and not those that lie in the cache of another. The result is
/// `[live, channels / groups, out]`.
fn weight_gradient_by_parts(
    g: &Geometry,
    gather: &Gather,
    x: &[f32],
    y: &[f32],
    parts: usize,
    total: &mut [f32],
) {
    let rows = g.live * g.group_channels();
    let pixels = g.small_pixels();
    let size = pixels.div_ceil(parts).max(1);
    let gemm = Gemm::in_force();
    let parts = parallel::parts(pixels, size).max(1);
    // Threads beyond the parts have blocks of their weights.
    let block =
        if rayon::current_num_threads() > parts { rows.div_ceil(4).next_multiple_of(24) } else { rows };
    let blocks = parallel::parts(rows, block.max(1));
    sum_of_parts(parts, total, |part, sum| {
        let range = parallel::part(pixels, size, part);
        let tile_size = (32_768 / rows.max(1)).clamp(32, 384);
        let in_place = gather.in_place(g.group_channels());
        let mut columns = Buffer::take(if in_place.is_some() { 0 } else { tile_size * rows });
        let mut packed = Buffer::take(gemm.packed_len(tile_size, g.group_out()));
        let sum = Shared::new(sum);
        for tile in 0..parallel::parts(range.len(), tile_size) {
            let tile = parallel::part(range.len(), tile_size, tile);
            let tile = range.start + tile.start..range.start + tile.end;
            for group in 0..g.groups {
                let first = group * g.group_channels();
                let left = match in_place {
                    Some(pixels) => Left::of_columns(&x[first..], pixels.skip(tile.start)),
                    None => {
                        let channels = first..first + g.group_channels();
                        gather.rows(x, tile.clone(), channels, &mut columns);
                        Left::new(&columns, 1, rows)
                    }
                };
                let right = &y[tile.start * g.out + group * g.group_out()..];
                let already = if g.groups == 1 { gemm.packed_already(right, g.out) } else { None };
                let packed = already.unwrap_or_else(|| {
                    let packed = &mut packed[..gemm.packed_len(tile.len(), g.group_out())];
                    gemm.pack(packed, right, tile.len(), g.group_out(), g.out, 1);
                    packed
                });
                parallel::tasks(blocks, |index| {
                    let block = parallel::part(rows, block, index);
                    let (depth, columns) = (tile.len(), g.group_out());
                    let left = Left { rows: left.rows.skip(block.start), ..left };
                    let at = block.start * g.out + group * columns;
                    let (right, places) = (Right::Packed(packed), Steps::even(g.out));
                    // SAFETY: blocks of rows and groups of columns are disjoint.
                    unsafe {
                        let write = Write::Add;
                        gemm.multiply_shared(
                            left,
                            block.len(),
                            depth,
                            right,
                            columns,
                            &sum,
                            at,
                            places,
                            write,
                        );
                    }
                });
            }
        }
    });
}

/// The gradient of many weights, or from few pixels: a chunk of pixels is gathered, then blocks of weights are multiplied. The
/// result is `[live, channels / groups, out]`.
fn weight_gradient_by_rows(g: &Geometry, gather: &Gather, x: &[f32], y: &[f32], total: &mut [f32]) {
    let rows = g.live * g.group_channels();
    let pixels = g.small_pixels();
    if pixels == 0 {
        return total.fill(0.0);
    }
    let result = Shared::new(total);
    let in_place = gather.in_place(g.group_channels());
    let row_len = if in_place.is_some() { 0 } else { rows };
    let chunk = ((1 << 21) / (row_len * g.groups + g.out)).clamp(64, pixels.max(64));
    let gemm = Gemm::in_force();
    let packed_len = gemm.packed_len(chunk, g.group_out());
    let mut columns = Buffer::take(g.groups * chunk * row_len);
    let mut packed = Buffer::take(g.groups * packed_len);
    let panels = g.group_out().div_ceil(gemm::panel_width());
    // A power of two of blocks, so that threads have equal shares.
    let block = rows.div_ceil(1 << (rows / 24).clamp(1, 16).ilog2()).min(192);
    let blocks = parallel::parts(rows, block);
    for index in 0..parallel::parts(pixels, chunk) {
        let cells = parallel::part(pixels, chunk, index);
        let depth = cells.len();
        let tiles = if in_place.is_some() { 0 } else { parallel::parts(depth, 64) };
        let shared_columns = Shared::new(&mut columns);
        let shared_packed = Shared::new(&mut packed);
        parallel::tasks((tiles + panels) * g.groups, |task| {
            let (group, task) = (task % g.groups, task / g.groups);
            if task < tiles {
                let tile = parallel::part(depth, 64, task);
                let start = (group * chunk + tile.start) * rows;
                // SAFETY: tiles and groups are disjoint.
                let columns = unsafe { shared_columns.part(start..start + tile.len() * rows) };
                let channels = group * g.group_channels()..(group + 1) * g.group_channels();
                let tile = cells.start + tile.start..cells.start + tile.end;
                gather.rows(x, tile, channels, columns);
            } else {
                let panel = task - tiles;
                let range = gemm.panel_range(depth, g.group_out(), panel);
                let start = group * packed_len;
                // SAFETY: panels and groups are disjoint.
                let packed = unsafe { shared_packed.part(start + range.start..start + range.end) };
                let right = &y[cells.start * g.out + group * g.group_out()..];
                gemm.pack_panel(packed, right, &[0], depth, g.group_out(), g.out, 1, panel);
            }
        });
        parallel::tasks(blocks * g.groups, |task| {
            let (group, task) = (task % g.groups, task / g.groups);
            let block = parallel::part(rows, block, task);
            let left = match in_place {
                Some(pixels) => {
                    let first = group * g.group_channels() + block.start;
                    Left::of_columns(&x[first..], pixels.skip(cells.start))
                }
                None => Left::new(&columns[group * chunk * rows + block.start..], 1, rows),
            };
            let at = block.start * g.out + group * g.group_out();
            let packed = &packed[group * packed_len..][..packed_len];
            let write = if index == 0 { Write::Replace } else { Write::Add };
            let columns = g.group_out();
            let right = Right::Packed(packed);
            // SAFETY: blocks of rows and groups of columns are disjoint.
            unsafe {
                let places = Steps::even(g.out);
                gemm.multiply_shared(left, block.len(), depth, right, columns, &result, at, places, write);
            }
        });
    }
}

/// `[taps, channels, out]` as `[taps, out, channels]`, in every group.
fn transpose_weights(g: &Geometry, weight: &[f32]) -> Buffer {
    let (channels, out) = (g.group_channels(), g.out);
    let mut transposed = Buffer::take(weight.len());
    let shared = Shared::new(&mut transposed);
    parallel::tasks(g.taps(), |tap| {
        let range = tap * channels * out..(tap + 1) * channels * out;
        let weight = &weight[range.clone()];
        // SAFETY: every task has a tap of its own.
        let transposed = unsafe { shared.part(range) };
        transpose(weight, out, [channels, out], transposed, channels);
    });
    transposed
}
