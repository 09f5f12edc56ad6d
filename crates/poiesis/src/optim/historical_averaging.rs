//! Historical averaging (Salimans et al. 2016, arXiv:1606.03498, §3.3).

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::nn::{StateDict, StateTensor};

/// The penalty `strength · ‖θ − θ̄‖²` on parameters θ, where θ̄ is their mean over all steps so far. It lets two players reach an
/// equilibrium that gradient descent circles.
#[derive(Debug)]
pub struct HistoricalAveraging {
    strength: f64,
    means: BTreeMap<String, Tensor<1>>,
}

impl HistoricalAveraging {
    /// Starts without a history.
    pub fn new(strength: f64) -> HistoricalAveraging {
        HistoricalAveraging { strength, means: BTreeMap::new() }
    }

    /// Adds the gradient of the penalty, `2 · strength · (θ − θ̄)`, to that of the parameter called `name`. `value` is its θ of step
    /// `step`, counted from 1, which θ̄ includes.
    pub(super) fn add_gradient<const D: usize>(
        &mut self,
        name: &str,
        value: Tensor<D>,
        gradient: Tensor<D>,
        step: u64,
    ) -> Tensor<D> {
        let shape = value.dims();
        let flat = value.reshape([shape.iter().product::<usize>()]);
        let mean = match self.means.remove(name) {
            Some(mean) => mean.clone() + (flat.clone() - mean) / step as f64,
            None => flat.clone(),
        };
        self.means.insert(name.to_owned(), mean.clone());
        gradient + ((flat - mean) * (2.0 * self.strength)).reshape(shape)
    }

    /// The means, for saving; each name is prefixed with `name` and a dot.
    pub(super) fn state(&self, name: &str) -> StateDict {
        let mut state = StateDict::default();
        for (parameter, mean) in &self.means {
            let tensor = StateTensor { shape: vec![mean.dims()[0]], values: mean.clone() };
            state.insert(format!("{name}.{parameter}"), tensor);
        }
        state
    }

    /// Restores what [`state`](HistoricalAveraging::state) returned.
    pub(super) fn restore(&mut self, name: &str, state: &StateDict) {
        let prefix = format!("{name}.");
        let of_ours = |(key, tensor): (&String, &StateTensor)| {
            Some((key.strip_prefix(&prefix)?.to_owned(), tensor.values.clone()))
        };
        self.means = state.iter().filter_map(of_ours).collect();
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, Param};
    use burn::tensor::{Device, Tensor};

    use crate::optim::{Optimizer, OptimizerConfig, OptimizerKind};

    #[derive(Module, Debug)]
    struct Player {
        x: Param<Tensor<1>>,
    }

    impl Player {
        fn new(x: f32, device: &Device) -> Player {
            Player { x: Param::from_tensor(Tensor::from_floats([x], device)) }
        }

        fn value(&self) -> f64 {
            self.x.val().into_scalar::<f64>()
        }
    }

    /// The toy game of the paper (§3.3): x is chosen to minimise (f(x) − 1)(y − 1), y to maximise it, with f(x) = x for negative x
    /// and x² above. Its equilibrium is x = 1, y = 1. Returns the largest distance from it in the last hundred steps.
    fn largest_distance_from_equilibrium(strength: f64, steps: usize) -> f64 {
        let device = Device::flex().autodiff();
        let config =
            OptimizerConfig { kind: OptimizerKind::Sgd, learning_rate: 0.02, ..OptimizerConfig::default() };
        let optimizer = || Optimizer::new(&config).with_historical_averaging(strength);
        let (mut of_x, mut of_y) = (optimizer(), optimizer());
        let (mut x, mut y) = (Player::new(1.5, &device), Player::new(1.3, &device));
        let mut largest = 0f64;
        for step in 0..steps {
            let value = |x: &Player, y: &Player| {
                let f = if x.value() < 0.0 { x.x.val() } else { x.x.val().square() };
                (f - 1.0) * (y.x.val() - 1.0)
            };
            let (x_loss, y_loss) = (value(&x, &y), value(&x, &y).neg());
            x = of_x.step(x, &mut x_loss.backward(), 1.0);
            y = of_y.step(y, &mut y_loss.backward(), 1.0);
            if step + 100 >= steps {
                largest = largest.max((x.value() - 1.0).hypot(y.value() - 1.0));
            }
        }
        largest
    }

    #[test]
    fn a_game_that_gradient_descent_circles_reaches_its_equilibrium() {
        let circling = largest_distance_from_equilibrium(0.0, 2000);
        assert!(circling > 0.3, "without it, the players are at most {circling} from the equilibrium");
        let [earlier, later] = [1000, 4000].map(|steps| largest_distance_from_equilibrium(1.0, steps));
        // The distance falls with the root of the steps.
        assert!(
            earlier < 0.15 && later < 0.6 * earlier,
            "with it, they are up to {earlier}, later {later} from it"
        );
    }

    #[test]
    fn the_mean_is_that_of_all_steps() {
        let device = Device::flex();
        let mut history = super::HistoricalAveraging::new(0.5);
        let mut gradients = Vec::new();
        for (step, value) in [3.0, 5.0, 10.0].into_iter().enumerate() {
            let [value, zero] = [value, 0.0].map(|x| Tensor::<1>::from_floats([x], &device));
            let gradient = history.add_gradient("x", value, zero, step as u64 + 1);
            gradients.push(gradient.into_scalar::<f64>());
        }
        assert_eq!(gradients, [0.0, 1.0, 4.0], "3 − 3, 5 − 4 and 10 − 6");
    }
}
