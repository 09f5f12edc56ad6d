//! The discriminator of the total correlation against closed forms.

use super::*;
use crate::optim::Optimizer;
use crate::rng;

/// Rows of two normal values with this correlation.
fn correlated(rho: f32, count: usize, index: u64, device: &Device) -> Tensor<2> {
    let eps = rng::normal(&mut rng::generator(1, "test", index), 2 * count);
    let pair = |eps: &[f32]| [eps[0], rho * eps[0] + (1.0 - rho * rho).sqrt() * eps[1]];
    let values: Vec<f32> = eps.chunks(2).flat_map(pair).collect();
    Tensor::from_data(TensorData::new(values, [count, 2]), device)
}

/// The total correlation of such values as a discriminator finds it, in nats.
fn estimate(rho: f32) -> f64 {
    const STEPS: u64 = 400;
    const BATCH: usize = 256;
    let device = Device::flex().autodiff();
    let mut discriminator = Discriminator::new(2, &[32, 32], &mut Init::new(0, &device));
    let config = OptimizerConfig { learning_rate: 1e-2, ..OptimizerConfig::default() };
    let mut optimizer = Optimizer::new(&config);
    let orders: Vec<i32> = (0..BATCH as i32).flat_map(|row| [row, (row + 1) % BATCH as i32]).collect();
    let orders = Tensor::<2, Int>::from_data(TensorData::new(orders, [BATCH, 2]), &device);
    for step in 0..STEPS {
        let draw = |index| correlated(rho, BATCH, index, &device);
        let others = permuted(draw(2 * step), orders.clone());
        let mut gradients = discriminator.loss(draw(2 * step + 1), others).backward();
        let schedule = 1.0 - step as f64 / STEPS as f64;
        discriminator = optimizer.step(discriminator, &mut gradients, schedule);
    }
    discriminator.logits(correlated(rho, 4096, 1 << 20, &device)).mean().into_scalar::<f64>()
}

#[test]
fn the_total_correlation_of_normal_values_is_found() {
    let independent = estimate(0.0);
    assert!(independent.abs() < 0.03, "{independent}");
    // −½ log(1 − ρ²). In PyTorch six such discriminators were at most 0.04 away.
    let (found, exact) = (estimate(0.8), -0.5 * (1.0f64 - 0.64).ln());
    assert!((found - exact).abs() < 0.08, "{found} {exact}");
}

#[test]
fn each_dimension_is_permuted_on_its_own() {
    let device = Device::flex();
    let z = Tensor::<2>::from_data([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]], &device);
    let orders = Tensor::<2, Int>::from_data([[2, 0], [0, 1], [1, 2]], &device);
    let values: Vec<f32> = permuted(z, orders).into_data().iter().collect();
    assert_eq!(values, [3.0, 10.0, 1.0, 20.0, 2.0, 30.0]);

    let mut none = BTreeMap::new();
    let mut draw = |number| -> Vec<i64> {
        let step = Step::for_test(number, 5, &device, &mut none);
        let orders = crate::models::vae::vae::total_correlation::draw_orders(&step, [40, 3]);
        orders.into_data().iter::<i64>().collect()
    };
    let (first, again, next) = (draw(7), draw(7), draw(8));
    assert_eq!(first, again);
    assert_ne!(first, next);
    for dim in 0..3 {
        let mut order: Vec<i64> = first.iter().skip(dim).step_by(3).copied().collect();
        assert_ne!(order, (0..40).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..40).collect::<Vec<_>>());
    }
}

#[test]
fn the_discriminator_is_there_only_where_it_is_used() {
    let device = Device::flex().autodiff();
    let (_folder, dataset) = shapes(24, [16, 16]);
    let after_a_step = |total_correlation: f64| {
        let config = VaeConfig {
            body: Body::Mlp,
            latent_dim: 3,
            hidden_dim: 4,
            total_correlation,
            discriminator_hidden_dims: vec![5],
            ..VaeConfig::default()
        };
        let settings = (config, OptimizerConfig::default());
        let mut training = learner::<Vae>(&settings, &image_spec([16, 16, 3], 0), &dataset, 4, &device);
        let metrics: BTreeMap<_, _> = training.step(0, 1.0).unwrap().read().into_iter().collect();
        let states = [training.state_dict(), training.training_state()];
        let names =
            states.iter().flat_map(|state| state.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        let own: Vec<String> = names.filter(|name| name.starts_with("discriminator.")).collect();
        (own, metrics)
    };
    let (own, metrics) = after_a_step(0.0);
    assert!(own.is_empty() && !metrics.contains_key("tc"), "{own:?} {metrics:?}");
    let (own, metrics) = after_a_step(10.0);
    // Four arrays, two moments of each, and the number of steps.
    assert_eq!(own.len(), 4 + 8 + 1, "{own:?}");
    // An untrained discriminator tells nothing apart: log 2.
    assert!(metrics["tc"].is_finite() && (metrics["d_loss"] - 2.0f64.ln()).abs() < 0.2, "{metrics:?}");
}
