//! The parameters of a network as one vector, for methods that compute with all of them at once.

use burn::module::{Module, Param};
use burn::tensor::{Gradients, Tensor, TensorData};

use crate::nn::{NamedMapper, NamedVisitor, map_named, values, visit_named};

/// Whether this is a statistic, which no gradient changes.
fn is_statistic(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| last.starts_with("running_"))
}

/// All parameters in the order of the fields, without running statistics.
pub fn flat_parameters<M: Module>(network: &M) -> Vec<f64> {
    struct Collect(Vec<f64>);
    impl NamedVisitor for Collect {
        fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
            if !is_statistic(name) {
                self.0.extend(values(param).into_iter().map(f64::from));
            }
        }
    }
    let mut all = Collect(Vec::new());
    visit_named(network, &mut all);
    all.0
}

/// The gradients of all parameters in the order of [`flat_parameters`]; zeros for a parameter without one.
pub fn flat_gradient<M: Module>(network: &M, gradients: &Gradients) -> Vec<f64> {
    struct Collect<'a> {
        gradients: &'a Gradients,
        all: Vec<f64>,
    }
    impl NamedVisitor for Collect<'_> {
        fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
            if is_statistic(name) {
                return;
            }
            match param.val().grad(self.gradients) {
                Some(gradient) => self.all.extend(gradient.into_data().iter::<f32>().map(f64::from)),
                None => self.all.extend(std::iter::repeat_n(0.0, param.dims().iter().product())),
            }
        }
    }
    let mut collect = Collect { gradients, all: Vec::new() };
    visit_named(network, &mut collect);
    collect.all
}

/// `network` with these parameters, in the order of [`flat_parameters`].
///
/// # Panics
///
/// When there are more or fewer than the network has.
pub fn with_flat_parameters<M: Module>(network: M, parameters: &[f64]) -> M {
    struct Set<'a>(&'a [f64]);
    impl NamedMapper for Set<'_> {
        fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if is_statistic(name) {
                return param;
            }
            let shape = param.dims();
            let count: usize = shape.iter().product();
            assert!(count <= self.0.len(), "`{name}` has {count} values, {} are left", self.0.len());
            let (own, rest) = self.0.split_at(count);
            self.0 = rest;
            let own: Vec<f32> = own.iter().map(|&value| value as f32).collect();
            param.map(|old| {
                let new = Tensor::from_data(TensorData::new(own, shape), &old.device().inner());
                if old.is_autodiff() { new.autodiff().set_require_grad(old.is_require_grad()) } else { new }
            })
        }
    }
    let mut set = Set(parameters);
    let network = map_named(network, &mut set);
    assert!(set.0.is_empty(), "{} values too many", set.0.len());
    network
}
