//! A long short-term memory over the lines of images as one operation of the graph.
//!
//! Each image is a task, which processes its lines in order. Forward: a product of the previous line, each position with its
//! neighbours, with the packed weights, then the gates. Backward: the lines in reverse, the same product with the gradients of
//! the gates of the next line, then the gradients of the gates; at the end one product for the weights.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use std::ops::Range;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::function::{Function, Sigmoid, Tanh};
use super::gemm::{self, Gemm, Left, Matrix, Product, Right, Write};
use super::linear;
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd::{self, Loops};
use crate::types::Lines;

/// Input, forget, cell and output gate.
const GATES: usize = 4;

/// [`crate::conv_lstm`] of tensors on Flex; `None` for others. No size may be 0.
pub(crate) fn conv_lstm(x: &Tensor<4>, weight: &Tensor<3>, lines: Lines) -> Option<Tensor<4>> {
    let [batch, height, width, _] = x.dims();
    let [taps, hidden, _] = weight.dims();
    let size = Size { batch, height, width, hidden, taps, lines };
    let shape = [batch, height, width, hidden];
    let inputs = Inputs::new([Operand::new(x)?, Operand::new(weight)?]);
    let [x, weight] = inputs.values();
    let Forward { y, gates, cells } = forward(&size, x, weight);
    Some(inputs.finish(operand::tensor(y, &shape), |[_, weight], y| ConvLstm {
        size,
        weight,
        y: y.clone(),
        gates: operand::tensor(gates, &[batch, height, width, GATES * hidden]),
        cells: operand::tensor(cells, &shape),
    }))
}

#[derive(Clone, Copy, Debug)]
struct Size {
    batch: usize,
    height: usize,
    width: usize,
    hidden: usize,
    taps: usize,
    lines: Lines,
}

impl Size {
    /// Positions of an image.
    fn positions(&self) -> usize {
        self.height * self.width
    }

    fn lines(&self) -> usize {
        match self.lines {
            Lines::Rows => self.height,
            Lines::Diagonals | Lines::MirroredDiagonals => self.height + self.width - 1,
        }
    }

    /// The largest number of places of a line.
    fn places(&self) -> usize {
        match self.lines {
            Lines::Rows => self.width,
            Lines::Diagonals | Lines::MirroredDiagonals => self.height,
        }
    }

    /// The places of a line that are inside the image.
    fn inside(&self, line: usize) -> Range<usize> {
        match self.lines {
            Lines::Rows => 0..self.width,
            Lines::Diagonals | Lines::MirroredDiagonals => {
                (line + 1).saturating_sub(self.width)..(line + 1).min(self.height)
            }
        }
    }

    /// The position in the image of a place that is inside it.
    fn at(&self, line: usize, place: usize) -> usize {
        match self.lines {
            Lines::Rows => line * self.width + place,
            Lines::Diagonals => place * self.width + line - place,
            Lines::MirroredDiagonals => place * self.width + self.width - 1 - (line - place),
        }
    }

    /// Taps before and after a place.
    fn sides(&self) -> [usize; 2] {
        [self.taps / 2, self.taps - 1 - self.taps / 2]
    }
}

struct Forward {
    y: Buffer,
    /// The activated gates, `[batch, height, width, gates · hidden]`.
    gates: Buffer,
    cells: Buffer,
}

fn forward(size: &Size, x: &[f32], weight: &[f32]) -> Forward {
    let Size { batch, hidden, taps, .. } = *size;
    let len = size.positions() * hidden;
    let gemm = Gemm::current();
    let mut weights = Buffer::take(gemm.packed_len(taps * hidden, GATES * hidden));
    gemm.pack(&mut weights, &Matrix::strided(weight, [taps * hidden, GATES * hidden], [GATES * hidden, 1]));
    let mut y = Buffer::take(batch * len);
    let mut cells = Buffer::take(batch * len);
    let mut gates = Buffer::take(batch * GATES * len);
    {
        let (y, cells, gates) = (Shared::new(&mut y), Shared::new(&mut cells), Shared::new(&mut gates));
        parallel::tasks(batch, |image| {
            // SAFETY: every image has its own parts.
            let results = unsafe {
                ImageResults {
                    y: y.part(image * len..(image + 1) * len),
                    cells: cells.part(image * len..(image + 1) * len),
                    gates: gates.part(image * GATES * len..(image + 1) * GATES * len),
                }
            };
            forward_image(size, &x[image * GATES * len..][..GATES * len], (gemm, &weights), results);
        });
    }
    Forward { y, gates, cells }
}

/// What the forward pass writes for an image.
struct ImageResults<'a> {
    y: &'a mut [f32],
    cells: &'a mut [f32],
    gates: &'a mut [f32],
}

/// One image. `weights` are packed `[taps · hidden, gates · hidden]`.
fn forward_image(size: &Size, x: &[f32], (gemm, weights): (Gemm, &[f32]), results: ImageResults<'_>) {
    let ImageResults { y, cells, gates } = results;
    let Size { hidden, taps, .. } = *size;
    let [before, _] = size.sides();
    // The previous line, with zeros around it, and the cells of all places.
    let mut states = Buffer::zeros((size.places() + taps - 1) * hidden);
    let mut carried = Buffer::zeros(size.places() * hidden);
    let mut sums = Buffer::take(size.places() * GATES * hidden);
    for line in 0..size.lines() {
        let inside = size.inside(line);
        let sums = &mut sums[..inside.len() * GATES * hidden];
        let product = Product {
            // Rows overlap: the taps of a place follow one another, and those of the next place begin one place further on.
            left: Left::new(&states[inside.start * hidden..], hidden, 1),
            right: Right::Packed(weights),
            rows: inside.len(),
            depth: taps * hidden,
            columns: GATES * hidden,
            write: Write::Replace,
        };
        gemm.multiply(product, sums, GATES * hidden);
        let (states, carried) = (&mut *states, &mut *carried);
        let results = ImageResults { y: &mut *y, cells: &mut *cells, gates: &mut *gates };
        simd::run_loops(LineForward { size, line, states, carried, x, sums, results });
        states[..(before + inside.start) * hidden].fill(0.0);
        states[(before + inside.end) * hidden..].fill(0.0);
    }
}

/// The gates, cells and hidden states of a line.
struct LineForward<'a> {
    size: &'a Size,
    line: usize,
    states: &'a mut [f32],
    carried: &'a mut [f32],
    x: &'a [f32],
    sums: &'a [f32],
    results: ImageResults<'a>,
}

impl Loops for LineForward<'_> {
    #[inline(always)]
    fn run(self) {
        let ImageResults { y, cells, gates } = self.results;
        let Size { hidden, .. } = *self.size;
        let wide = GATES * hidden;
        let [before, _] = self.size.sides();
        for (place, sums) in self.size.inside(self.line).zip(self.sums.chunks_exact(wide)) {
            let at = self.size.at(self.line, place);
            let x = &self.x[at * wide..][..wide];
            let gates = &mut gates[at * wide..][..wide];
            let carried = &mut self.carried[place * hidden..][..hidden];
            let y = &mut y[at * hidden..][..hidden];
            let mut units = UnitsForward { hidden, x, sums, gates, carried, y };
            units.compute_all(hidden);
            cells[at * hidden..][..hidden].copy_from_slice(units.carried);
            self.states[(before + place) * hidden..][..hidden].copy_from_slice(units.y);
        }
    }
}

/// Units that are computed together: a vector of the widest instruction set. The remaining ones are computed one by one, with
/// the same bits.
const PIECE: usize = 16;

/// The units of one place.
trait Units {
    /// Computes `N` units from `unit` on. Must be `#[inline(always)]`.
    fn compute<const N: usize>(&mut self, unit: usize);

    #[inline(always)]
    fn compute_all(&mut self, hidden: usize) {
        let whole = hidden / PIECE * PIECE;
        for unit in (0..whole).step_by(PIECE) {
            self.compute::<PIECE>(unit);
        }
        for unit in whole..hidden {
            self.compute::<1>(unit);
        }
    }
}

/// The units of one place, forward.
struct UnitsForward<'a> {
    hidden: usize,
    gates: &'a mut [f32],
    carried: &'a mut [f32],
    y: &'a mut [f32],
    x: &'a [f32],
    sums: &'a [f32],
}

impl Units for UnitsForward<'_> {
    #[inline(always)]
    fn compute<const N: usize>(&mut self, unit: usize) {
        let mut activated = [[0.0f32; N]; GATES];
        for (gate, activated) in activated.iter_mut().enumerate() {
            let start = gate * self.hidden + unit;
            let (x, sums) = (&self.x[start..start + N], &self.sums[start..start + N]);
            for j in 0..N {
                let z = x[j] + sums[j];
                activated[j] = if gate == 2 { Tanh.value(z) } else { Sigmoid.value(z) };
            }
            self.gates[start..start + N].copy_from_slice(activated);
        }
        let [i, f, g, o] = &activated;
        let (c, y) = (&mut self.carried[unit..unit + N], &mut self.y[unit..unit + N]);
        for j in 0..N {
            c[j] = f[j] * c[j] + i[j] * g[j];
            y[j] = o[j] * Tanh.value(c[j]);
        }
    }
}

#[derive(Clone, Debug)]
struct ConvLstm {
    size: Size,
    weight: FlexTensor,
    y: FlexTensor,
    gates: FlexTensor,
    cells: FlexTensor,
}

impl BackwardPass<2> for ConvLstm {
    fn gradients(mut self, dy: FlexTensor, needed: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let Size { batch, hidden, taps, .. } = self.size;
        let [x_needed, weight_needed] = needed;
        backward(&mut self, values(&dy));
        let dw = weight_needed.then(|| {
            let windows = windows(&self.size, values(&self.y));
            let rows = batch * self.size.positions();
            let size = linear::Size { rows, inputs: taps * hidden, outputs: GATES * hidden };
            let dw = linear::weight_gradient(size, &windows, values(&self.gates));
            operand::tensor(dw, &[taps, hidden, GATES * hidden])
        });
        [x_needed.then_some(self.gates), dw]
    }
}

/// Turns the gates of all images into the gradients of their pre-activations.
fn backward(state: &mut ConvLstm, dy: &[f32]) {
    let size = state.size;
    let Size { batch, hidden, taps, .. } = size;
    let len = size.positions() * hidden;
    let wide = GATES * hidden;
    // The gates of the places that read a state, in their order along the line: those that read it with the last tap come first.
    let blocks: Vec<usize> = (0..taps).rev().map(|tap| tap * hidden * wide).collect();
    let gemm = Gemm::current();
    let mut weights = Buffer::take(gemm.packed_len(taps * wide, hidden));
    for panel in 0..hidden.div_ceil(gemm::panel_width()) {
        let packed = &mut weights[gemm.panel_range(taps * wide, hidden, panel)];
        let matrix = Matrix::strided(values(&state.weight), [wide, hidden], [1, wide]);
        gemm.pack_panel(packed, &matrix.in_blocks(&blocks), panel);
    }
    let cells = values(&state.cells);
    let gates = Shared::new(state.gates.storage_mut());
    parallel::tasks(batch, |image| {
        let part = image * len..(image + 1) * len;
        // SAFETY: every image has its own part.
        let gates = unsafe { gates.part(part.start * GATES..part.end * GATES) };
        backward_image(&size, (gemm, &weights), &dy[part.clone()], &cells[part], gates);
    });
}

/// One image. `weights` are packed `[taps · gates · hidden, hidden]`, the last tap first.
fn backward_image(
    size: &Size,
    (gemm, weights): (Gemm, &[f32]),
    dy: &[f32],
    cells: &[f32],
    gates: &mut [f32],
) {
    let Size { hidden, taps, .. } = *size;
    let wide = GATES * hidden;
    let [_, after] = size.sides();
    // Gradients of the pre-activations of the next line, with zeros around them, and of the cells of all places.
    let mut later = Buffer::zeros((size.places() + taps - 1) * wide);
    let mut carried = Buffer::zeros(size.places() * hidden);
    let mut dh = Buffer::take(size.places() * hidden);
    for line in (0..size.lines()).rev() {
        let inside = size.inside(line);
        let dh = &mut dh[..inside.len() * hidden];
        let product = Product {
            left: Left::new(&later[inside.start * wide..], wide, 1),
            right: Right::Packed(weights),
            rows: inside.len(),
            depth: taps * wide,
            columns: hidden,
            write: Write::Replace,
        };
        gemm.multiply(product, dh, hidden);
        let (later, carried) = (&mut *later, &mut *carried);
        simd::run_loops(LineBackward { size, line, dy, dh, cells, later, carried, gates });
        later[..(after + inside.start) * wide].fill(0.0);
        later[(after + inside.end) * wide..].fill(0.0);
    }
}

/// Turns the gates of a line into the gradients of their pre-activations.
struct LineBackward<'a> {
    size: &'a Size,
    line: usize,
    dy: &'a [f32],
    dh: &'a [f32],
    cells: &'a [f32],
    later: &'a mut [f32],
    carried: &'a mut [f32],
    gates: &'a mut [f32],
}

impl Loops for LineBackward<'_> {
    #[inline(always)]
    fn run(self) {
        let (size, line) = (self.size, self.line);
        let hidden = size.hidden;
        let wide = GATES * hidden;
        let [_, after] = size.sides();
        for (place, dh) in size.inside(line).zip(self.dh.chunks_exact(hidden)) {
            let at = size.at(line, place);
            let dy = &self.dy[at * hidden..][..hidden];
            let gates = &mut self.gates[at * wide..][..wide];
            let carried = &mut self.carried[place * hidden..][..hidden];
            let cells = &self.cells[at * hidden..][..hidden];
            let first = line == 0 || !size.inside(line - 1).contains(&place);
            let previous = if first { None } else { Some(size.at(line - 1, place)) };
            let previous = previous.map(|at| &self.cells[at * hidden..][..hidden]);
            let mut units = UnitsBackward { hidden, dy, dh, cells, previous, carried, gates };
            units.compute_all(hidden);
            self.later[(after + place) * wide..][..wide].copy_from_slice(units.gates);
        }
    }
}

/// The units of one place, backward.
struct UnitsBackward<'a> {
    hidden: usize,
    dy: &'a [f32],
    dh: &'a [f32],
    cells: &'a [f32],
    /// The cells of the predecessor, if there is one.
    previous: Option<&'a [f32]>,
    carried: &'a mut [f32],
    gates: &'a mut [f32],
}

impl Units for UnitsBackward<'_> {
    #[inline(always)]
    fn compute<const N: usize>(&mut self, unit: usize) {
        let hidden = self.hidden;
        let mut before = [0.0f32; N];
        if let Some(previous) = self.previous {
            before.copy_from_slice(&previous[unit..unit + N]);
        }
        let mut values = [[0.0f32; N]; GATES];
        for (gate, values) in values.iter_mut().enumerate() {
            values.copy_from_slice(&self.gates[gate * hidden + unit..][..N]);
        }
        let (dy, dh) = (&self.dy[unit..unit + N], &self.dh[unit..unit + N]);
        let (c, dc) = (&self.cells[unit..unit + N], &mut self.carried[unit..unit + N]);
        let [i, f, g, o] = &mut values;
        for j in 0..N {
            let tanh = Tanh.value(c[j]);
            let dh = dy[j] + dh[j];
            let d = dc[j] + dh * o[j] * (1.0 - tanh * tanh);
            let (input, forget, new, output) = (i[j], f[j], g[j], o[j]);
            i[j] = d * new * Sigmoid.derivative(0.0, input);
            f[j] = d * before[j] * Sigmoid.derivative(0.0, forget);
            g[j] = d * input * Tanh.derivative(0.0, new);
            o[j] = dh * tanh * Sigmoid.derivative(0.0, output);
            dc[j] = d * forget;
        }
        for (gate, values) in values.iter().enumerate() {
            self.gates[gate * hidden + unit..][..N].copy_from_slice(values);
        }
    }
}

/// The states that each position reads, `[batch, height, width, taps · hidden]`.
fn windows(size: &Size, y: &[f32]) -> Buffer {
    let Size { batch, hidden, taps, .. } = *size;
    let len = size.positions() * hidden;
    let [before, _] = size.sides();
    let mut windows = Buffer::take(batch * taps * len);
    let shared = Shared::new(&mut windows);
    parallel::tasks(batch, |image| {
        let y = &y[image * len..][..len];
        // SAFETY: every image has its own part.
        let windows = unsafe { shared.part(image * taps * len..(image + 1) * taps * len) };
        for line in 0..size.lines() {
            let inside = if line == 0 { 0..0 } else { size.inside(line - 1) };
            for place in size.inside(line) {
                let window = &mut windows[size.at(line, place) * taps * hidden..][..taps * hidden];
                for (tap, window) in window.chunks_exact_mut(hidden).enumerate() {
                    match (place + tap).checked_sub(before) {
                        Some(place) if inside.contains(&place) => {
                            window.copy_from_slice(&y[size.at(line - 1, place) * hidden..][..hidden]);
                        }
                        _ => window.fill(0.0),
                    }
                }
            }
        }
    });
    windows
}
