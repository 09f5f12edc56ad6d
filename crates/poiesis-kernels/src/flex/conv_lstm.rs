//! A long short-term memory over the lines of images as one operation of the graph.
//!
//! Images are tasks, each line of one after the other. Forward: a product of the line before, each place with its
//! neighbours, with the packed weights, then the gates. Backward: the lines in reverse, the same product with the gates'
//! gradients of the line behind, then those of the gates; in the end one product for the weights.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use std::ops::Range;

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::function::{Function, Sigmoid, Tanh};
use super::gemm::{self, Gemm, Left, Write};
use super::linear;
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use crate::conv_lstm::Lines;

/// Input, forget, cell and output gate.
const GATES: usize = 4;

/// [`crate::conv_lstm`] of tensors that live on Flex; `None` for others. No size is 0.
pub(crate) fn conv_lstm(x: &Tensor<4>, weight: &Tensor<3>, lines: Lines) -> Option<Tensor<4>> {
    let [batch, height, width, _] = x.dims();
    let [taps, hidden, _] = weight.dims();
    let size = Size { batch, height, width, hidden, taps, lines };
    let shape = [batch, height, width, hidden];
    let (x, weight) = (Operand::new(x)?, Operand::new(weight)?);
    if !x.is_autodiff() && !weight.is_autodiff() {
        let (x, weight) = (x.into_values(), weight.into_values());
        let Forward { y, .. } = forward(&size, values(&x), values(&weight));
        return Some(Tensor::from_primitive::<Flex>(operand::tensor(y, &shape)));
    }
    let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
    let Forward { y, gates, cells } = forward(&size, values(&x), values(&weight));
    let y = operand::tensor(y, &shape);
    let y = match ConvLstm.prepare::<NoCheckpointing>([x_node, weight_node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => {
            let state = State {
                size,
                weight,
                y: y.clone(),
                gates: operand::tensor(gates, &[batch, height, width, GATES * hidden]),
                cells: operand::tensor(cells, &shape),
            };
            node.finish(state, y)
        }
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
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

    /// Places that a line may have.
    fn places(&self) -> usize {
        match self.lines {
            Lines::Rows => self.width,
            Lines::Diagonals | Lines::MirroredDiagonals => self.height,
        }
    }

    /// The places of a line that lie inside the image.
    fn inside(&self, line: usize) -> Range<usize> {
        match self.lines {
            Lines::Rows => 0..self.width,
            Lines::Diagonals | Lines::MirroredDiagonals => {
                (line + 1).saturating_sub(self.width)..(line + 1).min(self.height)
            }
        }
    }

    /// The position inside the image of a place that lies there.
    fn at(&self, line: usize, place: usize) -> usize {
        match self.lines {
            Lines::Rows => line * self.width + place,
            Lines::Diagonals => place * self.width + line - place,
            Lines::MirroredDiagonals => place * self.width + self.width - 1 - (line - place),
        }
    }

    /// Taps before and behind a place.
    fn sides(&self) -> [usize; 2] {
        [self.taps / 2, self.taps - 1 - self.taps / 2]
    }
}

struct Forward {
    y: Buffer,
    /// The gates behind their functions, `[batch, height, width, gates · hidden]`.
    gates: Buffer,
    cells: Buffer,
}

fn forward(size: &Size, x: &[f32], weight: &[f32]) -> Forward {
    let Size { batch, hidden, taps, .. } = *size;
    let len = size.positions() * hidden;
    let gemm = Gemm::in_force();
    let mut weights = Buffer::take(gemm.packed_len(taps * hidden, GATES * hidden));
    gemm.pack(&mut weights, weight, taps * hidden, GATES * hidden, GATES * hidden, 1);
    let mut y = Buffer::take(batch * len);
    let mut cells = Buffer::take(batch * len);
    let mut gates = Buffer::take(batch * GATES * len);
    {
        let (y, cells, gates) = (Shared::new(&mut y), Shared::new(&mut cells), Shared::new(&mut gates));
        parallel::tasks(batch, |image| {
            // SAFETY: every image has parts of its own.
            let (y, cells, gates) = unsafe {
                (
                    y.part(image * len..(image + 1) * len),
                    cells.part(image * len..(image + 1) * len),
                    gates.part(image * GATES * len..(image + 1) * GATES * len),
                )
            };
            forward_image(size, &x[image * GATES * len..][..GATES * len], (gemm, &weights), y, cells, gates);
        });
    }
    Forward { y, gates, cells }
}

/// One image. `weights` are packed `[taps · hidden, gates · hidden]`.
fn forward_image(
    size: &Size,
    x: &[f32],
    (gemm, weights): (Gemm, &[f32]),
    y: &mut [f32],
    cells: &mut [f32],
    gates: &mut [f32],
) {
    let Size { hidden, taps, .. } = *size;
    let [before, _] = size.sides();
    // The line before, with zeros around, and the cells of all places.
    let mut states = Buffer::zeros((size.places() + taps - 1) * hidden);
    let mut carried = Buffer::zeros(size.places() * hidden);
    let mut sums = Buffer::take(size.places() * GATES * hidden);
    for line in 0..size.lines() {
        let inside = size.inside(line);
        let sums = &mut sums[..inside.len() * GATES * hidden];
        gemm.multiply(
            // Rows overlap: the taps of a place lie behind one another, and those of the next begin one place further.
            Left::new(&states[inside.start * hidden..], hidden, 1),
            inside.len(),
            taps * hidden,
            weights,
            GATES * hidden,
            sums,
            GATES * hidden,
            Write::Replace,
        );
        let (states, carried) = (&mut *states, &mut *carried);
        simd::dispatch(LineForward { size, line, x, sums, states, carried, y, cells, gates });
        states[..(before + inside.start) * hidden].fill(0.0);
        states[(before + inside.end) * hidden..].fill(0.0);
    }
}

/// The gates, cells and hidden states of a line.
struct LineForward<'a> {
    size: &'a Size,
    line: usize,
    x: &'a [f32],
    sums: &'a [f32],
    states: &'a mut [f32],
    carried: &'a mut [f32],
    y: &'a mut [f32],
    cells: &'a mut [f32],
    gates: &'a mut [f32],
}

impl WithSimd for LineForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Size { hidden, .. } = *self.size;
        let wide = GATES * hidden;
        let [before, _] = self.size.sides();
        for (place, sums) in self.size.inside(self.line).zip(self.sums.chunks_exact(wide)) {
            let at = self.size.at(self.line, place);
            let x = &self.x[at * wide..][..wide];
            let gates = &mut self.gates[at * wide..][..wide];
            let carried = &mut self.carried[place * hidden..][..hidden];
            let y = &mut self.y[at * hidden..][..hidden];
            let whole = hidden / PIECE * PIECE;
            for unit in (0..whole).step_by(PIECE) {
                forward_units::<PIECE>(hidden, unit, x, sums, gates, carried, y);
            }
            for unit in whole..hidden {
                forward_units::<1>(hidden, unit, x, sums, gates, carried, y);
            }
            self.cells[at * hidden..][..hidden].copy_from_slice(carried);
            self.states[(before + place) * hidden..][..hidden].copy_from_slice(y);
        }
    }
}

/// Units that are computed together: a vector of the widest instruction set. Those left over go one by one, to the same bits.
const PIECE: usize = 16;

#[inline(always)]
fn forward_units<const N: usize>(
    hidden: usize,
    unit: usize,
    x: &[f32],
    sums: &[f32],
    gates: &mut [f32],
    carried: &mut [f32],
    y: &mut [f32],
) {
    let mut behind = [[0.0f32; N]; GATES];
    for (gate, behind) in behind.iter_mut().enumerate() {
        let start = gate * hidden + unit;
        let (x, sums) = (&x[start..start + N], &sums[start..start + N]);
        for j in 0..N {
            let z = x[j] + sums[j];
            behind[j] = if gate == 2 { Tanh.value(z) } else { Sigmoid.value(z) };
        }
        gates[start..start + N].copy_from_slice(behind);
    }
    let [i, f, g, o] = &behind;
    let (c, y) = (&mut carried[unit..unit + N], &mut y[unit..unit + N]);
    for j in 0..N {
        c[j] = f[j] * c[j] + i[j] * g[j];
        y[j] = o[j] * Tanh.value(c[j]);
    }
}

#[derive(Debug)]
struct ConvLstm;

#[derive(Clone, Debug)]
struct State {
    size: Size,
    weight: FlexTensor,
    y: FlexTensor,
    gates: FlexTensor,
    cells: FlexTensor,
}

impl Backward<Flex, 2> for ConvLstm {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let mut state = ops.state;
        let Size { batch, hidden, taps, .. } = state.size;
        let [x_node, weight_node] = ops.parents;
        backward(&mut state, values(&dy));
        if let Some(node) = weight_node {
            let windows = windows(&state.size, values(&state.y));
            let rows = batch * state.size.positions();
            let size = linear::Size { rows, inputs: taps * hidden, outputs: GATES * hidden };
            let dw = linear::weight_gradient(size, &windows, values(&state.gates));
            gradients.register::<Flex>(node.id, operand::tensor(dw, &[taps, hidden, GATES * hidden]));
        }
        if let Some(node) = x_node {
            gradients.register::<Flex>(node.id, state.gates);
        }
    }
}

/// Turns the gates of all images into the gradients in front of their functions.
fn backward(state: &mut State, dy: &[f32]) {
    let size = state.size;
    let Size { batch, hidden, taps, .. } = size;
    let len = size.positions() * hidden;
    let wide = GATES * hidden;
    // The gates of the places that saw a state, in their order along the line: those that saw it with the last tap first.
    let blocks: Vec<usize> = (0..taps).rev().map(|tap| tap * hidden * wide).collect();
    let gemm = Gemm::in_force();
    let mut weights = Buffer::take(gemm.packed_len(taps * wide, hidden));
    for panel in 0..hidden.div_ceil(gemm::panel_width()) {
        let packed = &mut weights[gemm.panel_range(taps * wide, hidden, panel)];
        gemm.pack_panel(packed, values(&state.weight), &blocks, wide, hidden, 1, wide, panel);
    }
    let cells = values(&state.cells);
    let gates = Shared::new(state.gates.storage_mut());
    parallel::tasks(batch, |image| {
        let part = image * len..(image + 1) * len;
        // SAFETY: every image has a part of its own.
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
    let [_, behind] = size.sides();
    // Gradients in front of the gates' functions in the line behind, with zeros around, and of the cells of all places.
    let mut later = Buffer::zeros((size.places() + taps - 1) * wide);
    let mut carried = Buffer::zeros(size.places() * hidden);
    let mut dh = Buffer::take(size.places() * hidden);
    for line in (0..size.lines()).rev() {
        let inside = size.inside(line);
        let dh = &mut dh[..inside.len() * hidden];
        gemm.multiply(
            Left::new(&later[inside.start * wide..], wide, 1),
            inside.len(),
            taps * wide,
            weights,
            hidden,
            dh,
            hidden,
            Write::Replace,
        );
        let (later, carried) = (&mut *later, &mut *carried);
        simd::dispatch(LineBackward { size, line, dy, dh, cells, later, carried, gates });
        later[..(behind + inside.start) * wide].fill(0.0);
        later[(behind + inside.end) * wide..].fill(0.0);
    }
}

/// Turns the gates of a line into the gradients in front of their functions.
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

impl WithSimd for LineBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let (size, line) = (self.size, self.line);
        let hidden = size.hidden;
        let wide = GATES * hidden;
        let [_, behind] = size.sides();
        for (place, dh) in size.inside(line).zip(self.dh.chunks_exact(hidden)) {
            let at = size.at(line, place);
            let dy = &self.dy[at * hidden..][..hidden];
            let gates = &mut self.gates[at * wide..][..wide];
            let carried = &mut self.carried[place * hidden..][..hidden];
            let cells = &self.cells[at * hidden..][..hidden];
            let first = line == 0 || !size.inside(line - 1).contains(&place);
            let previous = if first { None } else { Some(size.at(line - 1, place)) };
            let previous = previous.map(|at| &self.cells[at * hidden..][..hidden]);
            let whole = hidden / PIECE * PIECE;
            for unit in (0..whole).step_by(PIECE) {
                backward_units::<PIECE>(hidden, unit, dy, dh, cells, previous, carried, gates);
            }
            for unit in whole..hidden {
                backward_units::<1>(hidden, unit, dy, dh, cells, previous, carried, gates);
            }
            self.later[(behind + place) * wide..][..wide].copy_from_slice(gates);
        }
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "all that a unit's gradients need")]
fn backward_units<const N: usize>(
    hidden: usize,
    unit: usize,
    dy: &[f32],
    dh: &[f32],
    cells: &[f32],
    previous: Option<&[f32]>,
    carried: &mut [f32],
    gates: &mut [f32],
) {
    let mut before = [0.0f32; N];
    if let Some(previous) = previous {
        before.copy_from_slice(&previous[unit..unit + N]);
    }
    let mut values = [[0.0f32; N]; GATES];
    for (gate, values) in values.iter_mut().enumerate() {
        values.copy_from_slice(&gates[gate * hidden + unit..][..N]);
    }
    let (dy, dh, c) = (&dy[unit..unit + N], &dh[unit..unit + N], &cells[unit..unit + N]);
    let dc = &mut carried[unit..unit + N];
    let [i, f, g, o] = &mut values;
    for j in 0..N {
        let tanh = Tanh.value(c[j]);
        let dh = dy[j] + dh[j];
        let d = dc[j] + dh * o[j] * (1.0 - tanh * tanh);
        let (input, forget, new, output) = (i[j], f[j], g[j], o[j]);
        i[j] = d * new * Sigmoid.slope(0.0, input);
        f[j] = d * before[j] * Sigmoid.slope(0.0, forget);
        g[j] = d * input * Tanh.slope(0.0, new);
        o[j] = dh * tanh * Sigmoid.slope(0.0, output);
        dc[j] = d * forget;
    }
    for (gate, values) in values.iter().enumerate() {
        gates[gate * hidden + unit..][..N].copy_from_slice(values);
    }
}

/// The states that each position saw, `[batch, height, width, taps · hidden]`.
fn windows(size: &Size, y: &[f32]) -> Buffer {
    let Size { batch, hidden, taps, .. } = *size;
    let len = size.positions() * hidden;
    let [before, _] = size.sides();
    let mut windows = Buffer::take(batch * taps * len);
    let shared = Shared::new(&mut windows);
    parallel::tasks(batch, |image| {
        let y = &y[image * len..][..len];
        // SAFETY: every image has a part of its own.
        let windows = unsafe { shared.part(image * taps * len..(image + 1) * taps * len) };
        for line in 0..size.lines() {
            let seen = if line == 0 { 0..0 } else { size.inside(line - 1) };
            for place in size.inside(line) {
                let window = &mut windows[size.at(line, place) * taps * hidden..][..taps * hidden];
                for (tap, window) in window.chunks_exact_mut(hidden).enumerate() {
                    match (place + tap).checked_sub(before) {
                        Some(place) if seen.contains(&place) => {
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
