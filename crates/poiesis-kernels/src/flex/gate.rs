//! Products of two activated arrays: one pass over memory forward and one backward. The two functions run one after the other
//! over pieces that stay in the nearest cache, so that there is no need for separate code for every pair of functions.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array through `Shared`")]

use std::ops::Range;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::elementwise;
use super::function::{Function, with_function};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd::{self, Loops};
use crate::types::Activation;

/// Values of a task, about.
const PART: usize = 1 << 14;

/// Values of a piece at most.
const PIECE: usize = 1 << 10;

/// [`crate::gate`] of tensors on Flex; `None` for others.
pub(crate) fn gate<const D: usize>(
    a: &Tensor<D>,
    b: &Tensor<D>,
    activations: [Activation; 2],
) -> Option<Tensor<D>> {
    let shape = a.dims();
    let len = shape.iter().product();
    let layout = Layout { rows: 1, width: len, stride: len };
    let inputs = Inputs::new([Operand::new(a)?, Operand::new(b)?]);
    let y = operand::tensor(product(layout, inputs.values(), activations), &shape);
    Some(inputs.finish(y, |[a, b], _| Gate { a, b, layout, activations }))
}

/// [`crate::gate_halves`] of a tensor on Flex; `None` for others.
pub(crate) fn gate_halves<const D: usize>(x: &Tensor<D>, activations: [Activation; 2]) -> Option<Tensor<D>> {
    let mut shape = x.dims();
    let rows = shape[..D - 1].iter().product();
    let stride = shape[D - 1];
    let width = stride / 2;
    shape[D - 1] = width;
    let layout = Layout { rows, width, stride };
    let inputs = Inputs::new([Operand::new(x)?]);
    let [x] = inputs.values();
    let y = operand::tensor(product(layout, halves(x, layout), activations), &shape);
    Some(inputs.finish(y, |[x], _| GateHalves { x, layout, activations }))
}

/// The first and the second halves of the rows of `x`, as slices that start at the first row.
fn halves(x: &[f32], layout: Layout) -> [&[f32]; 2] {
    [x, &x[layout.width.min(x.len())..]]
}

/// The layout of the arguments: `rows` of `width` values, `stride` apart. The rows of the result have no gaps.
#[derive(Clone, Copy, Debug)]
struct Layout {
    rows: usize,
    width: usize,
    stride: usize,
}

impl Layout {
    /// Runs `work` on every piece with its range in the result and in the arguments, and with the scratch of its task.
    fn for_each<T>(
        self,
        scratch: impl Fn() -> T + Send + Sync,
        work: impl Fn(Range<usize>, Range<usize>, &mut T) + Send + Sync,
    ) {
        let each = parallel::parts(self.width, PIECE);
        let pieces = self.rows * each;
        let step = PART / self.width.clamp(1, PIECE);
        parallel::tasks(parallel::parts(pieces, step), |task| {
            let mut scratch = scratch();
            for piece in parallel::part(pieces, step, task) {
                let row = piece / each;
                let columns = parallel::part(self.width, PIECE, piece % each);
                let at = |start: usize| start + columns.start..start + columns.end;
                work(at(row * self.width), at(row * self.stride), &mut scratch);
            }
        });
    }
}

/// The product of the two activated arguments.
fn product(layout: Layout, [a, b]: [&[f32]; 2], activations: [Activation; 2]) -> Buffer {
    let mut y = Buffer::take(layout.rows * layout.width);
    write_product(&mut y, layout, [a, b], activations);
    y
}

fn write_product(y: &mut [f32], layout: Layout, [a, b]: [&[f32]; 2], activations: [Activation; 2]) {
    let shared = Shared::new(y);
    layout.for_each(
        || (),
        |result, argument, ()| {
            // SAFETY: pieces are disjoint.
            let y = unsafe { shared.part(result) };
            let (a, b) = (&a[argument.clone()], &b[argument]);
            with_function!(activations[0], function => simd::run(#[inline(always)] || {
                for (y, &x) in y.iter_mut().zip(a) {
                    *y = function.value(x);
                }
            }));
            with_function!(activations[1], function => simd::run_loops(Scale { y, x: b, function }));
        },
    );
}

/// Multiplies the activated `a` by the activated `b`.
pub(crate) fn in_place(a: &mut [f32], b: &[f32], activations: [Activation; 2]) {
    parallel::chunks(a, PART, |part, a| {
        let b = &b[part * PART..][..a.len()];
        for (a, b) in a.chunks_mut(PIECE).zip(b.chunks(PIECE)) {
            elementwise::activate_in_place(a, activations[0]);
            with_function!(activations[1], function => simd::run_loops(Scale { y: a, x: b, function }));
        }
    });
}

/// The activated first halves of rows of `2 · width` values times the activated second halves.
pub(crate) fn write_halves(y: &mut [f32], x: &[f32], width: usize, activations: [Activation; 2]) {
    let layout = Layout { rows: y.len() / width, width, stride: 2 * width };
    write_product(y, layout, halves(x, layout), activations);
}

/// The array that a gradient is written to, and the offset of the argument's first value in it; `None` for a gradient that
/// is not needed.
type Target<'a> = Option<(&'a Shared<'a>, usize)>;

/// Writes the gradients of both arguments, from that of the result.
fn write_gradients(
    layout: Layout,
    dy: &[f32],
    [a, b]: [&[f32]; 2],
    activations: [Activation; 2],
    [da, db]: [Target<'_>; 2],
) {
    let scratch = || [[0.0; PIECE]; 3];
    layout.for_each(scratch, |result, argument, [value, da_scratch, db_scratch]| {
        let dy = &dy[result];
        let (a, b) = (&a[argument.clone()], &b[argument.clone()]);
        let value = &mut value[..dy.len()];
        let da = piece(da, &argument, da_scratch);
        let db = piece(db, &argument, db_scratch);
        with_function!(activations[0], function => {
            simd::run_loops(First { dy, a, value: &mut *value, da: &mut *da, function });
        });
        with_function!(activations[1], function => {
            simd::run_loops(Second { dy, b, value, gradients: [da, db], function });
        });
    });
}

/// The part of a gradient that belongs to a piece.
fn piece<'a>(target: Target<'a>, argument: &Range<usize>, scratch: &'a mut [f32]) -> &'a mut [f32] {
    match target {
        // SAFETY: pieces are disjoint, and so are the arguments.
        Some((shared, start)) => unsafe { shared.part(start + argument.start..start + argument.end) },
        None => &mut scratch[..argument.len()],
    }
}

/// `y = y · f(x)`
struct Scale<'a, F> {
    y: &'a mut [f32],
    x: &'a [f32],
    function: F,
}

impl<F: Function> Loops for Scale<'_, F> {
    #[inline(always)]
    fn run(self) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y *= self.function.value(x);
        }
    }
}

/// `value = f(a)`, `da = dy · f′(a)`
struct First<'a, F> {
    dy: &'a [f32],
    a: &'a [f32],
    value: &'a mut [f32],
    da: &'a mut [f32],
    function: F,
}

impl<F: Function> Loops for First<'_, F> {
    #[inline(always)]
    fn run(self) {
        let Self { dy, a, value, da, function } = self;
        let (a, value, da) = (&a[..dy.len()], &mut value[..dy.len()], &mut da[..dy.len()]);
        for i in 0..dy.len() {
            let y = function.value(a[i]);
            value[i] = y;
            da[i] = dy[i] * function.derivative(a[i], y);
        }
    }
}

/// `da = da · f(b)`, `db = dy · value · f′(b)`
struct Second<'a, F> {
    dy: &'a [f32],
    b: &'a [f32],
    value: &'a [f32],
    /// `da` and `db`.
    gradients: [&'a mut [f32]; 2],
    function: F,
}

impl<F: Function> Loops for Second<'_, F> {
    #[inline(always)]
    fn run(self) {
        let Self { dy, b, value, gradients, function } = self;
        let (b, value) = (&b[..dy.len()], &value[..dy.len()]);
        let [da, db] = gradients.map(|gradient| &mut gradient[..dy.len()]);
        for i in 0..dy.len() {
            let y = function.value(b[i]);
            da[i] *= y;
            db[i] = dy[i] * value[i] * function.derivative(b[i], y);
        }
    }
}

#[derive(Clone, Debug)]
struct Gate {
    a: FlexTensor,
    b: FlexTensor,
    layout: Layout,
    activations: [Activation; 2],
}

impl BackwardPass<2> for Gate {
    fn gradients(self, dy: FlexTensor, needed: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let Self { a, b, layout, activations } = self;
        let mut buffers = needed.map(|needed| needed.then(|| Buffer::take(layout.width)));
        let shared = buffers.each_mut().map(|buffer| buffer.as_mut().map(|buffer| Shared::new(buffer)));
        let targets = shared.each_ref().map(|shared| shared.as_ref().map(|shared| (shared, 0)));
        write_gradients(layout, values(&dy), [values(&a), values(&b)], activations, targets);
        buffers.map(|buffer| buffer.map(|buffer| operand::tensor(buffer, a.layout().shape())))
    }
}

#[derive(Clone, Debug)]
struct GateHalves {
    x: FlexTensor,
    layout: Layout,
    activations: [Activation; 2],
}

impl BackwardPass<1> for GateHalves {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self { x, layout, activations } = self;
        let mut dx = Buffer::take(layout.rows * layout.stride);
        let shared = Shared::new(&mut dx);
        let targets = [Some((&shared, 0)), Some((&shared, layout.width))];
        write_gradients(layout, values(&dy), halves(values(&x), layout), activations, targets);
        [Some(operand::tensor(dx, x.layout().shape()))]
    }
}
