//! Updates by every optimizer.

use burn::tensor::Tensor;
use poiesis_kernels::internals::default_update as default;
use poiesis_kernels::{OptimizerKind, UpdateStep, Updated, squared_norm, update};

use crate::common::{
    Fixture, assert_all_close, assert_same_for_any_threads, flex_device, numbers, tensor, values,
};

type Update = fn(Tensor<2>, Tensor<2>, Vec<Tensor<1>>, Option<(Tensor<1>, f64)>, &UpdateStep) -> Updated<2>;

const ADAM: OptimizerKind = OptimizerKind::Adam { beta1: 0.8, beta2: 0.95, epsilon: 1e-3 };

const KINDS: [OptimizerKind; 7] = [
    OptimizerKind::Sgd { momentum: 0.0, nesterov: false },
    OptimizerKind::Sgd { momentum: 0.8, nesterov: false },
    OptimizerKind::Sgd { momentum: 0.8, nesterov: true },
    OptimizerKind::RmsProp { alpha: 0.9, epsilon: 1e-3, momentum: 0.0 },
    OptimizerKind::RmsProp { alpha: 0.9, epsilon: 1e-3, momentum: 0.7 },
    ADAM,
    OptimizerKind::AdaMax { beta1: 0.8, beta2: 0.95, epsilon: 1e-3 },
];

fn settings(kind: OptimizerKind, step: u64) -> UpdateStep {
    UpdateStep {
        kind,
        learning_rate: 0.01,
        weight_decay: 0.1,
        decoupled_weight_decay: 0.2,
        step,
        gradient_scale: 0.7,
    }
}

/// Three steps from the same start, with or without an average.
fn steps(update: Update, kind: OptimizerKind, shape: [usize; 2], averaged: bool) -> Vec<Vec<f32>> {
    let device = flex_device();
    let count = shape[0] * shape[1];
    let zeros = || Tensor::<1>::zeros([count], &device);
    let mut now = Updated {
        parameter: tensor(&numbers(count, 1), shape, &device),
        states: (0..kind.states()).map(|_| zeros()).collect(),
        average: averaged.then(zeros),
    };
    for step in 1..4 {
        let gradient = tensor(&numbers(count, step + 1), [shape[1], shape[0]], &device).transpose();
        let average = now.average.map(|average| (average, 0.6));
        now = update(now.parameter, gradient, now.states, average, &settings(kind, step));
    }
    let rest = now.states.into_iter().chain(now.average);
    std::iter::once(values(now.parameter)).chain(rest.map(values)).collect()
}

#[test]
fn equals_the_default_implementation() {
    for kind in KINDS {
        for (shape, averaged) in [([50, 1501], true), ([1, 1], false), ([0, 3], true), ([7, 5], false)] {
            let expected = steps(default, kind, shape, averaged);
            let got = steps(update, kind, shape, averaged);
            assert_eq!(got.len(), 1 + kind.states() + usize::from(averaged));
            assert_all_close(&got, &expected, 1e-6, &format!("{kind:?} {shape:?}"));
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    for kind in KINDS {
        assert_same_for_any_threads(|| steps(update, kind, [50, 1501], true));
    }
}

#[test]
fn an_average_leaves_the_parameter_as_it_is() {
    for kind in KINDS {
        let with = steps(update, kind, [50, 1501], true);
        assert_eq!(steps(update, kind, [50, 1501], false)[..], with[..with.len() - 1]);
    }
}

#[test]
fn ten_steps_equal_pytorch() {
    let names =
        ["sgd", "sgd_momentum", "sgd_nesterov", "rmsprop", "rmsprop_momentum", "adam", "adamax", "adamw"];
    let device = flex_device();
    let fixture = Fixture::read("optimizer");
    for (name, kind) in names.into_iter().zip(KINDS.into_iter().chain([ADAM])) {
        let mut parameter = fixture.tensor::<2>("parameter", &device);
        let zeros = || Tensor::<1>::zeros([35], &device);
        let mut states: Vec<_> = (0..kind.states()).map(|_| zeros()).collect();
        let mut average = parameter.clone().reshape([35]);
        let gradients = fixture.tensor::<3>("gradients", &device);
        for step in 1..=10 {
            let gradient = gradients.clone().narrow(0, step - 1, 1).reshape([7, 5]);
            let norm = squared_norm(&gradient).sqrt();
            let decay = if name == "adamw" { [0.0, 0.1] } else { [0.1, 0.0] };
            let settings = UpdateStep {
                weight_decay: decay[0],
                decoupled_weight_decay: decay[1],
                gradient_scale: (5.0 / norm).min(1.0),
                ..settings(kind, step as u64)
            };
            let updated = update(parameter, gradient, states, Some((average, 0.9)), &settings);
            (parameter, states, average) = (updated.parameter, updated.states, updated.average.unwrap());
        }
        fixture.assert_close(&format!("{name}.parameter"), parameter, 1e-6);
        fixture.assert_close(&format!("{name}.average"), average.reshape([7, 5]), 1e-6);
    }
}

#[test]
fn leaves_shared_tensors_unchanged() {
    let device = flex_device();
    let first = || Tensor::<1>::ones([6], &device);
    let (parameter, states, average) = (Tensor::<2>::ones([2, 3], &device), [first(), first()], first());
    let others = (parameter.clone(), states.clone(), average.clone());
    let gradient = Tensor::ones([2, 3], &device);
    let moved = update(parameter, gradient, states.to_vec(), Some((average, 0.5)), &settings(ADAM, 1));
    assert!(values(moved.parameter)[0] != 1.0 && values(moved.average.unwrap())[0] != 1.0);
    assert_eq!(values(others.0), [1.0; 6]);
    assert_eq!(others.1.map(values), [[1.0; 6], [1.0; 6]]);
    assert_eq!(values(others.2), [1.0; 6]);
}

#[test]
fn squared_norm_equals_f64() {
    let device = flex_device();
    for count in [0, 1, 33, 300_007] {
        let x = numbers(count, 1);
        let expected: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
        let got = squared_norm(&tensor(&x, [count], &device));
        assert!((got - expected).abs() <= 1e-7 * expected, "{count}: {got} {expected}");
    }
    let x = tensor(&numbers(300_000, 2), [300, 1000], &device);
    assert_same_for_any_threads(|| vec![vec![squared_norm(&x.clone().transpose()) as f32]]);
}

#[test]
#[should_panic(expected = "1 states were given, but Adam")]
fn too_few_states_panic() {
    let device = flex_device();
    let (parameter, gradient) = (Tensor::<1>::ones([2], &device), Tensor::ones([2], &device));
    update(parameter, gradient, vec![Tensor::zeros([2], &device)], None, &settings(ADAM, 1));
}

#[test]
#[should_panic(expected = "parameter [2, 3] does not fit average [5]: it must be [6]")]
fn wrong_shapes_panic_with_both() {
    let device = flex_device();
    let (parameter, gradient) = (Tensor::<2>::ones([2, 3], &device), Tensor::ones([2, 3], &device));
    let average = Some((Tensor::zeros([5], &device), 0.5));
    update(parameter, gradient, Vec::new(), average, &settings(KINDS[0], 1));
}
