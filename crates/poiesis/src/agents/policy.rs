//! The policy: observations to a distribution over actions.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

use super::{ActionDistribution, HiddenActivation, Network, PolicyActor};
use crate::abilities::{Act, Actor};
use crate::data::{ActionShape, Moments, TaskShape};
use crate::nn::Init;

/// Normalised numbers are clipped to ± this.
const CLIP: f64 = 10.0;

/// Added to variances, so that numbers that never change are not divided by zero.
const EPSILON: f64 = 1e-8;

/// The gain of the last layer of a policy: at first all actions are about as probable, whatever is observed.
const OUTPUT_GAIN: f64 = 0.01;

/// π(a|s): a network on normalised observations that gives the logits of choices or the mean of vectors, whose standard deviation
/// is a parameter of its own.
#[derive(Module, Debug)]
pub struct Policy {
    network: Network,
    normalizer: Option<Normalizer>,
    log_std: Option<Param<Tensor<1>>>,
    #[module(skip)]
    task: TaskShape,
}

/// Subtracts the running mean and divides by the running standard deviation, which are saved with the weights.
///
/// The moments are 64-bit floats, each kept as the sum of two of 32 bits: the second row has what rounding cut off the first. So
/// their averages over steps are moments too, and a resumed run has the same bits as an unbroken one.
#[derive(Module, Debug)]
pub struct Normalizer {
    /// `[2, width]`.
    running_mean: Param<Tensor<2>>,
    /// `[2, width]`.
    running_var: Param<Tensor<2>>,
    /// `[2, 1]`.
    running_count: Param<Tensor<2>>,
}

/// The settings of a policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct PolicyShape<'a> {
    pub(super) hidden_dims: &'a [usize],
    pub(super) activation: HiddenActivation,
    pub(super) initial_log_std: f64,
    pub(super) normalize: bool,
}

impl Policy {
    /// For a task, with tanh layers of these sizes, a standard deviation of one at first, and normalised observations.
    pub fn new(task: &TaskShape, hidden_dims: &[usize], init: &mut Init) -> Policy {
        let activation = HiddenActivation::Tanh;
        Policy::of_shape(
            task,
            PolicyShape { hidden_dims, activation, initial_log_std: 0.0, normalize: true },
            init,
        )
    }

    pub(super) fn of_shape(task: &TaskShape, shape: PolicyShape<'_>, init: &mut Init) -> Policy {
        let PolicyShape { hidden_dims, activation, initial_log_std, normalize } = shape;
        let outputs = task.actions.inputs();
        let log_std = match task.actions {
            ActionShape::Discrete { .. } => None,
            ActionShape::Continuous { dims } => Some(init.constant([dims], initial_log_std)),
        };
        Policy {
            network: Network::new(task.observation, hidden_dims, outputs, activation, OUTPUT_GAIN, init),
            normalizer: normalize.then(|| Normalizer::new(task.observation, init)),
            log_std,
            task: task.clone(),
        }
    }

    /// What it sees and does.
    pub fn task(&self) -> &TaskShape {
        &self.task
    }

    /// The network on normalised observations.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The logarithm of the standard deviation of each number, `[dims]`; `None` for choices.
    pub fn log_std(&self) -> Option<Tensor<1>> {
        self.log_std.as_ref().map(Param::val)
    }

    /// π(·|s) for observations as the environment gives them, `[n, observation]`.
    pub fn distribution(&self, observations: Tensor<2>) -> ActionDistribution {
        self.distribution_of_inputs(self.normalize(observations))
    }

    /// π(·|s) for observations that are normalised already, as [`inputs`](Policy::inputs) and [`normalize`](Policy::normalize) do.
    pub fn distribution_of_inputs(&self, inputs: Tensor<2>) -> ActionDistribution {
        self.distribution_of_outputs(self.network.forward(inputs))
    }

    /// The same without autodiff.
    pub(super) fn fixed_distribution(&self, inputs: Tensor<2>) -> ActionDistribution {
        let mut activations = self.network.activations(inputs);
        let outputs = activations.pop().expect("a network has an output");
        match self.distribution_of_outputs(outputs) {
            ActionDistribution::Gaussian { mean, log_std } => {
                ActionDistribution::Gaussian { mean, log_std: log_std.inner() }
            }
            choices => choices,
        }
    }

    fn distribution_of_outputs(&self, outputs: Tensor<2>) -> ActionDistribution {
        match &self.log_std {
            None => ActionDistribution::Categorical { logits: outputs },
            Some(log_std) => ActionDistribution::Gaussian { mean: outputs, log_std: log_std.val() },
        }
    }

    /// Observations as the network reads them, `[n, observation]`.
    pub fn normalize(&self, observations: Tensor<2>) -> Tensor<2> {
        self.normalizer.as_ref().map_or(observations.clone(), |normalizer| normalizer.normalize(observations))
    }

    /// The same for rows of numbers.
    pub fn inputs(&self, observations: &[f64]) -> Vec<f32> {
        match &self.normalizer {
            None => observations.iter().map(|&number| number as f32).collect(),
            Some(normalizer) => {
                let mut inputs = vec![0.0; observations.len()];
                normalizer.scale().apply(observations, &mut inputs);
                inputs
            }
        }
    }

    /// How observations are scaled; `None` where they are not normalised.
    pub(super) fn scale(&self) -> Option<Scale> {
        self.normalizer.as_ref().map(Normalizer::scale)
    }

    /// Adds observations, `[n, observation]`, to the running moments, where there are any.
    pub fn observe(&mut self, observations: &[f64]) {
        if let Some(normalizer) = &mut self.normalizer {
            normalizer.observe(observations);
        }
    }
}

impl Act for Policy {
    fn task(&self) -> &TaskShape {
        &self.task
    }

    fn actor(&self) -> Box<dyn Actor + '_> {
        Box::new(PolicyActor::new(self))
    }
}

impl Normalizer {
    /// Of no vector yet: numbers stay as they are.
    pub fn new(width: usize, init: &mut Init) -> Normalizer {
        let device = init.device().clone().inner();
        // Statistics have no gradients, so they are not on the device with autodiff.
        let fixed = |tensor| Param::initialized(ParamId::new(), tensor);
        let ones =
            Tensor::cat(vec![Tensor::ones([1, width], &device), Tensor::zeros([1, width], &device)], 0);
        Normalizer {
            running_mean: fixed(Tensor::zeros([2, width], &device)),
            running_var: fixed(ones),
            running_count: fixed(Tensor::zeros([2, 1], &device)),
        }
    }

    /// The moments.
    pub fn moments(&self) -> Moments {
        Moments {
            count: joined(&self.running_count)[0],
            mean: joined(&self.running_mean),
            var: joined(&self.running_var),
        }
    }

    /// Adds the rows of `values`, `[n, width]`, to the moments.
    ///
    /// # Panics
    ///
    /// When `values` is no multiple of the width.
    pub fn observe(&mut self, values: &[f64]) {
        let mut moments = self.moments();
        moments.update(values);
        self.running_count = split(&self.running_count, &[moments.count]);
        self.running_mean = split(&self.running_mean, &moments.mean);
        self.running_var = split(&self.running_var, &moments.var);
    }

    /// The numbers normalised and clipped, `[n, width]`.
    pub fn normalize(&self, values: Tensor<2>) -> Tensor<2> {
        let (Scale { mean, factor }, width) = (self.scale(), values.dims()[1]);
        let row = |numbers: Vec<f64>| {
            let numbers: Vec<f32> = numbers.into_iter().map(|number| number as f32).collect();
            Tensor::<2>::from_data(TensorData::new(numbers, [1, width]), &values.device())
        };
        let (mean, factor) = (row(mean), row(factor));
        ((values - mean) * factor).clamp(-CLIP, CLIP)
    }

    pub(super) fn scale(&self) -> Scale {
        let Moments { mean, var, .. } = self.moments();
        Scale { mean, factor: var.into_iter().map(|var| 1.0 / (var.max(0.0) + EPSILON).sqrt()).collect() }
    }
}

/// What is subtracted from numbers, and what they are then multiplied by.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub(super) mean: Vec<f64>,
    pub(super) factor: Vec<f64>,
}

impl Scale {
    /// Normalises the rows of `values` and clips them.
    pub(super) fn apply(&self, values: &[f64], inputs: &mut [f32]) {
        let width = self.mean.len();
        assert!(values.len() == inputs.len() && values.len().is_multiple_of(width));
        for (values, inputs) in values.chunks_exact(width).zip(inputs.chunks_exact_mut(width)) {
            for (i, (value, input)) in values.iter().zip(inputs).enumerate() {
                *input = ((value - self.mean[i]) * self.factor[i]).clamp(-CLIP, CLIP) as f32;
            }
        }
    }
}

/// 64-bit floats from two rows of 32 bits whose sums they are.
pub(super) fn joined(parts: &Param<Tensor<2>>) -> Vec<f64> {
    let values: Vec<f64> = parts.val().into_data().iter::<f32>().map(f64::from).collect();
    let (high, low) = values.split_at(values.len() / 2);
    high.iter().zip(low).map(|(high, low)| high + low).collect()
}

/// The parts of 64-bit floats, instead of those in `parts`.
pub(super) fn split(parts: &Param<Tensor<2>>, values: &[f64]) -> Param<Tensor<2>> {
    let high = values.iter().map(|&value| value as f32);
    let low = values.iter().map(|&value| (value - f64::from(value as f32)) as f32);
    let both: Vec<f32> = high.chain(low).collect();
    let old = parts.val();
    let new = Tensor::from_data(TensorData::new(both, [2, values.len()]), &old.device());
    Param::initialized(parts.id, new)
}
