//! One update of a parameter tensor by its gradient, with any of several optimizers.

use burn::tensor::Tensor;

use crate::flex::optimizer;
use crate::types::{OptimizerKind, UpdateStep, Updated};

/// Updates `parameter` by `gradient`, for which `gradient_scale · gradient + weight_decay · parameter` is used.
///
/// `states` are those of the optimizer, in its order. `average` is a flat moving average of the parameter, and its decay: it
/// becomes `decay · average + (1 − decay) · parameter` with the updated parameter, in the same pass over memory.
/// All tensors are without autodiff. Buffers that are not shared are updated in place.
///
/// # Panics
///
/// When the shapes do not fit each other, the number of states is not that of the optimizer, or `step.step` is 0.
pub fn update<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    states: Vec<Tensor<1>>,
    average: Option<(Tensor<1>, f64)>,
    step: &UpdateStep,
) -> Updated<D> {
    check(&parameter, &gradient, &states, average.as_ref().map(|(average, _)| average));
    assert!(
        states.len() == step.kind.states(),
        "update: {} states were given, but {:?} keeps {}",
        states.len(),
        step.kind,
        step.kind.states(),
    );
    assert!(step.step > 0, "update: steps are counted from 1");
    let on_flex = optimizer::fits(&parameter)
        && optimizer::fits(&gradient)
        && states.iter().all(optimizer::fits)
        && average.as_ref().is_none_or(|(average, _)| optimizer::fits(average));
    if on_flex {
        optimizer::update([parameter, gradient], states, average, step)
    } else {
        default(parameter, gradient, states, average, step)
    }
}

fn check<const D: usize>(
    parameter: &Tensor<D>,
    gradient: &Tensor<D>,
    states: &[Tensor<1>],
    average: Option<&Tensor<1>>,
) {
    let shape = parameter.dims();
    let count = shape.iter().product::<usize>();
    assert!(
        shape == gradient.dims(),
        "update: parameter {shape:?} does not fit gradient {:?}",
        gradient.dims(),
    );
    for (name, tensor) in states.iter().map(|state| ("state", state)).chain(average.map(|a| ("average", a))) {
        assert!(
            tensor.dims() == [count],
            "update: parameter {shape:?} does not fit {name} {:?}: it must be [{count}]",
            tensor.dims(),
        );
    }
}

/// The sum of the squares of all elements, in an order that depends on their number only. The result is read back from the
/// device.
pub fn squared_norm<const D: usize>(tensor: &Tensor<D>) -> f64 {
    optimizer::squared_norm(tensor)
        .unwrap_or_else(|| f64::from(tensor.clone().square().sum().into_scalar::<f32>()))
}

/// The same in Burn's own operations.
pub fn default<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    mut states: Vec<Tensor<1>>,
    average: Option<(Tensor<1>, f64)>,
    step: &UpdateStep,
) -> Updated<D> {
    let shape = parameter.dims();
    let count = shape.iter().product::<usize>();
    if count == 0 {
        return Updated { parameter, states, average: average.map(|(average, _)| average) };
    }
    let parameter = parameter.reshape([count]);
    let g = gradient.reshape([count]) * step.gradient_scale + parameter.clone() * step.weight_decay;
    let steps = step.step as f64;
    let direction = match step.kind {
        OptimizerKind::Sgd { momentum, nesterov } => match &mut states[..] {
            [sum] => {
                *sum = sum.clone() * momentum + g.clone();
                if nesterov { g + sum.clone() * momentum } else { sum.clone() }
            }
            _ => g,
        },
        OptimizerKind::RmsProp { alpha, epsilon, momentum } => {
            states[0] = states[0].clone() * alpha + g.clone().square() * (1.0 - alpha);
            let scaled = g / (states[0].clone().sqrt() + epsilon);
            match &mut states[..] {
                [_, sum] => {
                    *sum = sum.clone() * momentum + scaled;
                    sum.clone()
                }
                _ => scaled,
            }
        }
        OptimizerKind::Adam { beta1, beta2, epsilon } => {
            states[0] = states[0].clone() * beta1 + g.clone() * (1.0 - beta1);
            states[1] = states[1].clone() * beta2 + g.square() * (1.0 - beta2);
            let correction = 1.0 / (1.0 - beta2.powf(steps)).sqrt();
            let root = states[1].clone().sqrt() * correction + epsilon;
            states[0].clone() / (1.0 - beta1.powf(steps)) / root
        }
        OptimizerKind::AdaMax { beta1, beta2, epsilon } => {
            states[0] = states[0].clone() * beta1 + g.clone() * (1.0 - beta1);
            states[1] = (states[1].clone() * beta2).max_pair(g.abs() + epsilon);
            states[0].clone() / (1.0 - beta1.powf(steps)) / states[1].clone()
        }
    };
    let kept = 1.0 - step.learning_rate * step.decoupled_weight_decay;
    let parameter = parameter * kept - direction * step.learning_rate;
    let average = average.map(|(average, decay)| average * decay + parameter.clone() * (1.0 - decay));
    Updated { parameter: parameter.reshape(shape), states, average }
}
