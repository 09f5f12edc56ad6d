//! Mixture of discretised logistics: one pass over the parameters, one for their gradient, sixteen pixels at a time.

#![expect(unsafe_code, reason = "tasks write their own rows of one array through `Shared`")]

mod bins;
mod log_probs;
mod tile;

pub(crate) use log_probs::{byte_log_probs, log_probs};

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use self::tile::{TILE, Tile};
use super::autodiff::{BackwardPass, Inputs};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use crate::types::ParameterLayout;

/// Tiles of a task.
const TILES: usize = 8;

/// [`crate::logistic_mixture_log_prob`] of tensors on Flex; `None` for others. There must be a pixel.
pub(crate) fn log_prob(parameters: &Tensor<2>, x: &Tensor<2>, layout: ParameterLayout) -> Option<Tensor<1>> {
    let [pixels, _] = x.dims();
    let (parameters, x) = (Operand::new(parameters)?, Operand::new(x)?.into_values());
    let inputs = Inputs::new([parameters]);
    let [parameters] = inputs.values();
    let y = operand::tensor(forward(parameters, values(&x), layout), &[pixels]);
    Some(inputs.finish(y, |[parameters], _| LogProb { parameters, x, layout }))
}

fn forward(parameters: &[f32], x: &[f32], layout: ParameterLayout) -> Buffer {
    let mut y = Buffer::take(x.len() / layout.channels);
    let len = y.len();
    let shared = Shared::new(&mut y);
    let tiles = parallel::parts(len, TILE);
    parallel::tasks(parallel::parts(tiles, TILES), |task| {
        let mut tile = Tile::new(layout);
        for index in parallel::part(tiles, TILES, task) {
            let range = parallel::part(len, TILE, index);
            // SAFETY: every tile belongs to one task.
            let y = unsafe { shared.part(range.clone()) };
            simd::run(
                #[inline(always)]
                || {
                    tile.read(parameters, x, range.clone());
                    y.copy_from_slice(&tile.log_prob()[..y.len()]);
                },
            );
        }
    });
    y
}

#[derive(Clone, Debug)]
struct LogProb {
    parameters: FlexTensor,
    x: FlexTensor,
    layout: ParameterLayout,
}

impl BackwardPass<1> for LogProb {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self { parameters, x, layout } = self;
        let result = backward(values(&dy), values(&parameters), values(&x), layout);
        [Some(operand::tensor(result, parameters.layout().shape()))]
    }
}

fn backward(dy: &[f32], parameters: &[f32], x: &[f32], layout: ParameterLayout) -> Buffer {
    let mut result = Buffer::take(parameters.len());
    let shared = Shared::new(&mut result);
    let columns = layout.parameters();
    let tiles = parallel::parts(dy.len(), TILE);
    parallel::tasks(parallel::parts(tiles, TILES), |task| {
        let mut tile = Tile::new(layout);
        for index in parallel::part(tiles, TILES, task) {
            let range = parallel::part(dy.len(), TILE, index);
            // SAFETY: every tile belongs to one task.
            let result = unsafe { shared.part(range.start * columns..range.end * columns) };
            let mut lanes = [0.0; TILE];
            lanes[..range.len()].copy_from_slice(&dy[range.clone()]);
            simd::run(
                #[inline(always)]
                || {
                    tile.read(parameters, x, range.clone());
                    tile.gradient(&lanes);
                    for (lane, row) in result.chunks_exact_mut(columns).enumerate() {
                        for (value, column) in row.iter_mut().zip(&tile.parameters) {
                            *value = column[lane];
                        }
                    }
                },
            );
        }
    });
    result
}
