//! The phases of a strided convolution: the large pixels of each remainder by the stride.

use super::Geometry;
use super::gather::Gather;
use super::product::Target;

/// The pixels of the large image with the same remainder by the stride: they are a convolution of the small
/// image with some of the kernel's taps.
pub(super) struct Phase {
    pub(super) gather: Gather,
    pub(super) target: Target,
}

impl Phase {
    /// Multiplications per pair of channels.
    pub(super) fn products(&self) -> usize {
        self.gather.cells() * self.gather.taps.len()
    }
}

pub(super) fn phases(g: &Geometry) -> Vec<Phase> {
    let rows = axis_phases(g, 0);
    let columns = axis_phases(g, 1);
    let mut phases = Vec::with_capacity(rows.len() * columns.len());
    for y in &rows {
        for x in &columns {
            let taps = (0..y.taps).flat_map(|ty| (0..x.taps).map(move |tx| (ty, tx)));
            let taps = taps.filter_map(|(ty, tx)| {
                let tap = (y.first + ty * y.every) * g.kernel[1] + x.first + tx * x.every;
                (tap < g.active_taps).then_some((tap, [y.offset_of(ty), x.offset_of(tx)]))
            });
            phases.push(Phase {
                gather: Gather::new(g.small, g.out, [y.cells, x.cells], [1, 1], taps.collect()),
                target: Target {
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
    /// The small pixel that tap `t` of cell 0 reads.
    fn offset_of(&self, t: usize) -> isize {
        self.offset + t as isize * self.tap_step
    }
}

fn axis_phases(g: &Geometry, axis: usize) -> Vec<AxisPhase> {
    let (stride, dilation) = (g.stride[axis], g.dilation[axis]);
    let every = stride / greatest_common_divisor(stride, dilation);
    (0..stride.min(g.large[axis]))
        .map(|start| {
            // The small pixel o reads the large pixel i through tap k where i + padding = o · stride + k · dilation.
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
