//! Updates of parameters in one pass over memory, in place where the buffers are not shared.

#![expect(unsafe_code, reason = "tasks write their own part of several arrays through `Shared`")]

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_backend::DType;
use burn_flex::FlexTensor;

use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use super::sums;
use crate::types::{OptimizerKind, UpdateStep, Updated};

/// Values of a task.
const PART: usize = 1 << 15;

/// Values of a block, for which all arrays together fit into the cache.
const BLOCK: usize = 1 << 12;

/// Whether a tensor can be updated here: f32, on Flex, without autodiff.
pub(crate) fn fits<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(Operand::new(tensor), Some(Operand::Plain(_)))
}

/// [`crate::update`] of tensors that [`fits`] accepts.
pub(crate) fn update<const D: usize>(
    [parameter, gradient]: [Tensor<D>; 2],
    states: Vec<Tensor<1>>,
    average: Option<(Tensor<1>, f64)>,
    step: &UpdateStep,
) -> Updated<D> {
    let gradient = operand::contiguous(&primitive(gradient));
    let mut parameter = own(parameter);
    let mut states: Vec<FlexTensor> = states.into_iter().map(own).collect();
    let mut average = average.map(|(average, decay)| (own(average), decay));
    let mut arrays = Arrays {
        parameter: Shared::new(parameter.storage_mut()),
        gradient: values(&gradient),
        states: [Shared::new(&mut []), Shared::new(&mut [])],
        average: average.as_mut().map(|(average, decay)| (Shared::new(average.storage_mut()), *decay)),
    };
    for (array, state) in arrays.states.iter_mut().zip(&mut states) {
        *array = Shared::new(state.storage_mut());
    }
    let common = Common::new(step);
    match step.kind {
        OptimizerKind::Sgd { momentum, nesterov } => {
            let (rate, momentum) = (step.learning_rate as f32, momentum as f32);
            arrays.update(&Sgd { common, rate, momentum, nesterov });
        }
        OptimizerKind::RmsProp { alpha, epsilon, momentum } => arrays.update(&RmsProp {
            common,
            rate: step.learning_rate as f32,
            alpha: alpha as f32,
            one_minus_alpha: (1.0 - alpha) as f32,
            epsilon: epsilon as f32,
            momentum: momentum as f32,
        }),
        OptimizerKind::Adam { beta1, beta2, epsilon } => {
            arrays.update(&Adam::new(common, step, [beta1, beta2], epsilon));
        }
        OptimizerKind::AdaMax { beta1, beta2, epsilon } => {
            arrays.update(&AdaMax(Adam::new(common, step, [beta1, beta2], epsilon)));
        }
    }
    Updated {
        parameter: Tensor::from_primitive::<Flex>(parameter),
        states: states.into_iter().map(Tensor::from_primitive::<Flex>).collect(),
        average: average.map(|(average, _)| Tensor::from_primitive::<Flex>(average)),
    }
}

/// The arrays of an update; states that the optimizer does not have are empty.
struct Arrays<'a> {
    parameter: Shared<'a>,
    gradient: &'a [f32],
    states: [Shared<'a>; 2],
    average: Option<(Shared<'a>, f64)>,
}

impl Arrays<'_> {
    fn update(&self, kernel: &impl Kernel) {
        let len = self.gradient.len();
        parallel::tasks(parallel::parts(len, PART), |task| {
            let part = parallel::part(len, PART, task);
            for block in 0..parallel::parts(part.len(), BLOCK) {
                let range = parallel::part(part.len(), BLOCK, block);
                let range = part.start + range.start..part.start + range.end;
                let of_state = |state: &Shared<'_>| if state.len() == 0 { 0..0 } else { range.clone() };
                // SAFETY: the tasks' ranges are disjoint.
                let (parameter, mut states) = unsafe {
                    (
                        self.parameter.part(range.clone()),
                        self.states.each_ref().map(|state| state.part(of_state(state))),
                    )
                };
                let mut average = self.average.as_ref().map(|(average, decay)| {
                    // SAFETY: the tasks' ranges are disjoint.
                    (unsafe { average.part(range.clone()) }, *decay)
                });
                simd::run(
                    #[inline(always)]
                    || {
                        let states = states.each_mut().map(|state| &mut **state);
                        kernel.update(parameter, &self.gradient[range.clone()], states);
                        // A separate loop, over values that are still in the cache.
                        if let Some((average, decay)) = &mut average {
                            move_average(average, parameter, *decay);
                        }
                    },
                );
            }
        });
    }
}

/// [`crate::squared_norm`] of a tensor on Flex; `None` for others.
pub(crate) fn squared_norm<const D: usize>(tensor: &Tensor<D>) -> Option<f64> {
    let tensor = Operand::new(tensor)?.into_values();
    let values = values(&tensor);
    let sums = parallel::map(parallel::parts(values.len(), PART), |task| {
        simd::run(
            #[inline(always)]
            || sums::of_terms(&values[parallel::part(values.len(), PART, task)], |x| x * x),
        )
    });
    Some(sums.into_iter().sum())
}

/// [`crate::ema`] of tensors that [`fits`] accepts.
pub(crate) fn ema(average: Tensor<1>, value: Tensor<1>, decay: f64) -> Tensor<1> {
    let mut average = own(average);
    let value = operand::contiguous(&primitive(value));
    {
        let value = values(&value);
        parallel::chunks(average.storage_mut(), PART, |part, average| {
            let value = &value[part * PART..][..average.len()];
            simd::run(
                #[inline(always)]
                || move_average(average, value, decay),
            );
        });
    }
    Tensor::from_primitive::<Flex>(average)
}

#[inline(always)]
fn move_average(average: &mut [f32], value: &[f32], decay: f64) {
    let (kept, added) = (decay as f32, (1.0 - decay) as f32);
    for (average, &value) in average.iter_mut().zip(value) {
        *average = *average * kept + value * added;
    }
}

/// An optimizer with its constants.
trait Kernel: Sync {
    fn update(&self, parameter: &mut [f32], gradient: &[f32], states: [&mut [f32]; 2]);
}

/// Constants for gradient and parameter that all optimizers have in common.
struct Common {
    scale: f32,
    decay: f32,
    kept: f32,
}

impl Common {
    fn new(step: &UpdateStep) -> Self {
        Self {
            scale: step.gradient_scale as f32,
            decay: step.weight_decay as f32,
            kept: (1.0 - step.learning_rate * step.decoupled_weight_decay) as f32,
        }
    }

    #[inline(always)]
    fn gradient(&self, gradient: f32, parameter: f32) -> f32 {
        gradient * self.scale + parameter * self.decay
    }
}

struct Sgd {
    common: Common,
    rate: f32,
    momentum: f32,
    nesterov: bool,
}

impl Kernel for Sgd {
    #[inline(always)]
    fn update(&self, parameter: &mut [f32], gradient: &[f32], [sum, _]: [&mut [f32]; 2]) {
        if sum.is_empty() {
            for (parameter, &gradient) in parameter.iter_mut().zip(gradient) {
                let g = self.common.gradient(gradient, *parameter);
                *parameter = *parameter * self.common.kept - g * self.rate;
            }
            return;
        }
        for ((parameter, &gradient), sum) in parameter.iter_mut().zip(gradient).zip(sum) {
            let g = self.common.gradient(gradient, *parameter);
            *sum = *sum * self.momentum + g;
            let direction = if self.nesterov { g + *sum * self.momentum } else { *sum };
            *parameter = *parameter * self.common.kept - direction * self.rate;
        }
    }
}

struct RmsProp {
    common: Common,
    rate: f32,
    alpha: f32,
    one_minus_alpha: f32,
    epsilon: f32,
    momentum: f32,
}

impl RmsProp {
    /// The gradient divided by the root of the second moment, which is updated first.
    #[inline(always)]
    fn scaled(&self, gradient: f32, parameter: f32, second: &mut f32) -> f32 {
        let g = self.common.gradient(gradient, parameter);
        *second = *second * self.alpha + g * g * self.one_minus_alpha;
        g / (second.sqrt() + self.epsilon)
    }
}

impl Kernel for RmsProp {
    #[inline(always)]
    fn update(&self, parameter: &mut [f32], gradient: &[f32], [second, sum]: [&mut [f32]; 2]) {
        let values = parameter.iter_mut().zip(gradient).zip(second);
        if sum.is_empty() {
            for ((parameter, &gradient), second) in values {
                let scaled = self.scaled(gradient, *parameter, second);
                *parameter = *parameter * self.common.kept - scaled * self.rate;
            }
            return;
        }
        for (((parameter, &gradient), second), sum) in values.zip(sum) {
            *sum = *sum * self.momentum + self.scaled(gradient, *parameter, second);
            *parameter = *parameter * self.common.kept - *sum * self.rate;
        }
    }
}

struct Adam {
    common: Common,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    size: f32,
    correction: f32,
    epsilon: f32,
}

impl Adam {
    fn new(common: Common, step: &UpdateStep, [beta1, beta2]: [f64; 2], epsilon: f64) -> Self {
        let steps = step.step as f64;
        Self {
            common,
            beta1: beta1 as f32,
            one_minus_beta1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            one_minus_beta2: (1.0 - beta2) as f32,
            size: (step.learning_rate / (1.0 - beta1.powf(steps))) as f32,
            correction: (1.0 / (1.0 - beta2.powf(steps)).sqrt()) as f32,
            epsilon: epsilon as f32,
        }
    }
}

impl Kernel for Adam {
    #[inline(always)]
    fn update(&self, parameter: &mut [f32], gradient: &[f32], [first, second]: [&mut [f32]; 2]) {
        let values = parameter.iter_mut().zip(gradient).zip(first).zip(second);
        for (((parameter, &gradient), first), second) in values {
            let g = self.common.gradient(gradient, *parameter);
            *first = *first * self.beta1 + g * self.one_minus_beta1;
            *second = *second * self.beta2 + g * g * self.one_minus_beta2;
            let root = second.sqrt() * self.correction + self.epsilon;
            *parameter = *parameter * self.common.kept - *first * self.size / root;
        }
    }
}

/// The constants of Adam with another second moment.
struct AdaMax(Adam);

impl Kernel for AdaMax {
    #[inline(always)]
    fn update(&self, parameter: &mut [f32], gradient: &[f32], [first, norm]: [&mut [f32]; 2]) {
        let Self(adam) = self;
        let values = parameter.iter_mut().zip(gradient).zip(first).zip(norm);
        for (((parameter, &gradient), first), norm) in values {
            let g = adam.common.gradient(gradient, *parameter);
            *first = *first * adam.beta1 + g * adam.one_minus_beta1;
            let (old, new) = (*norm * adam.beta2, g.abs() + adam.epsilon);
            *norm = if old > new { old } else { new };
            *parameter = *parameter * adam.common.kept - *first * adam.size / *norm;
        }
    }
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match tensor.try_into_primitive::<Flex>() {
        Ok(tensor) => tensor,
        Err(error) => panic!("`fits` accepted a tensor that is not on Flex: {error:?}"),
    }
}

/// The tensor itself if it is the only owner of contiguous memory of its exact size, else a copy.
fn own<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    let tensor = primitive(tensor);
    let shape = tensor.layout().shape();
    let len = shape.iter().product::<usize>();
    let whole = tensor.layout().contiguous_offsets() == Some((0, len))
        && tensor.bytes().len() == len * size_of::<f32>();
    debug_assert_eq!(tensor.dtype(), DType::F32);
    if whole && tensor.is_unique() {
        return tensor;
    }
    let values_of = operand::contiguous(&tensor);
    let mut copy = Buffer::take(len);
    copy.copy_from_slice(values(&values_of));
    operand::tensor(copy, shape)
}
