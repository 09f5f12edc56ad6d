//! Updates of parameters in one pass over memory, in place where nothing else holds the buffers.

#![expect(unsafe_code, reason = "tasks write their own part of several arrays through `Shared`")]

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_backend::DType;
use burn_flex::FlexTensor;

use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use crate::adam::AdamStep;

/// Values of a task.
const PART: usize = 1 << 15;

/// Whether a tensor can be updated here: f32, on Flex, without autodiff.
pub(crate) fn fits<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(Operand::new(tensor), Some(Operand::Plain(_)))
}

/// [`crate::adam`] of tensors that [`fits`] accepts.
pub(crate) fn adam<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first: Tensor<1>,
    second: Tensor<1>,
    step: &AdamStep,
) -> (Tensor<D>, Tensor<1>, Tensor<1>) {
    let mut parameter = own(parameter);
    let mut first = own(first);
    let mut second = own(second);
    let gradient = operand::contiguous(&primitive(gradient));
    let factors = Factors::new(step);
    {
        let gradient = values(&gradient);
        let len = gradient.len();
        let parameter = Shared::new(parameter.storage_mut());
        let first = Shared::new(first.storage_mut());
        let second = Shared::new(second.storage_mut());
        parallel::tasks(parallel::parts(len, PART), |task| {
            let range = parallel::part(len, PART, task);
            // SAFETY: the tasks' ranges are disjoint.
            let (parameter, first, second) = unsafe {
                (parameter.part(range.clone()), first.part(range.clone()), second.part(range.clone()))
            };
            simd::dispatch(
                #[inline(always)]
                || factors.update(parameter, &gradient[range], first, second),
            );
        });
    }
    (
        Tensor::from_primitive::<Flex>(parameter),
        Tensor::from_primitive::<Flex>(first),
        Tensor::from_primitive::<Flex>(second),
    )
}

/// [`crate::ema`] of tensors that [`fits`] accepts.
pub(crate) fn ema(average: Tensor<1>, value: Tensor<1>, decay: f64) -> Tensor<1> {
    let mut average = own(average);
    let value = operand::contiguous(&primitive(value));
    let (kept, added) = (decay as f32, (1.0 - decay) as f32);
    {
        let value = values(&value);
        let average = Shared::new(average.storage_mut());
        parallel::tasks(parallel::parts(value.len(), PART), |task| {
            let range = parallel::part(value.len(), PART, task);
            // SAFETY: the tasks' ranges are disjoint.
            let average = unsafe { average.part(range.clone()) };
            let value = &value[range];
            simd::dispatch(
                #[inline(always)]
                || {
                    for (average, &value) in average.iter_mut().zip(value) {
                        *average = *average * kept + value * added;
                    }
                },
            );
        });
    }
    Tensor::from_primitive::<Flex>(average)
}

/// The numbers of an update.
struct Factors {
    gradient: f32,
    decay: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    size: f32,
    correction: f32,
    epsilon: f32,
    kept: f32,
}

impl Factors {
    fn new(step: &AdamStep) -> Self {
        let steps = step.step as f64;
        Self {
            gradient: step.gradient_scale as f32,
            decay: step.weight_decay as f32,
            beta1: step.beta1 as f32,
            one_minus_beta1: (1.0 - step.beta1) as f32,
            beta2: step.beta2 as f32,
            one_minus_beta2: (1.0 - step.beta2) as f32,
            size: (step.learning_rate / (1.0 - step.beta1.powf(steps))) as f32,
            correction: (1.0 / (1.0 - step.beta2.powf(steps)).sqrt()) as f32,
            epsilon: step.epsilon as f32,
            kept: (1.0 - step.learning_rate * step.decoupled_weight_decay) as f32,
        }
    }

    #[inline(always)]
    fn update(&self, parameter: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let len = parameter.len();
        let (gradient, first, second) = (&gradient[..len], &mut first[..len], &mut second[..len]);
        for i in 0..len {
            let g = gradient[i] * self.gradient + parameter[i] * self.decay;
            let m = first[i] * self.beta1 + g * self.one_minus_beta1;
            let v = second[i] * self.beta2 + g * g * self.one_minus_beta2;
            first[i] = m;
            second[i] = v;
            let root = v.sqrt() * self.correction + self.epsilon;
            parameter[i] = parameter[i] * self.kept - m * self.size / root;
        }
    }
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match tensor.try_into_primitive::<Flex>() {
        Ok(tensor) => tensor,
        Err(error) => panic!("`fits` accepted a tensor that does not live on Flex: {error:?}"),
    }
}

/// The tensor itself if it is the only owner of contiguous memory without a margin, else a copy.
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
