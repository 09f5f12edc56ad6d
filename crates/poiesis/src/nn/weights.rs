//! The named parameters and running statistics of a network, apart from its type.
//!
//! The trainer averages, saves and restores networks through [`Weights`] without knowing what they are.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::run::checkpoint::{Array, Arrays};

/// One named array: its shape and its values, flat in row-major order.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// `[product of shape]`, without autodiff.
    pub values: Tensor<1>,
}

/// All arrays of one or several networks by name, such as `generator.project.weight`.
#[derive(Clone, Debug, Default)]
pub struct Weights(BTreeMap<String, Weight>);

impl Weights {
    /// Collects the arrays of `network`, each name prefixed with `name` and a dot.
    pub fn of<M: Module>(name: &str, network: &M) -> Weights {
        let mut collect = Collect { path: vec![name.to_owned()], found: BTreeMap::new() };
        network.visit(&mut collect);
        Weights(collect.found)
    }

    /// Joins two disjoint sets of arrays.
    pub fn with(mut self, other: Weights) -> Weights {
        self.0.extend(other.0);
        self
    }

    /// Puts the arrays prefixed with `name` into `network`.
    ///
    /// # Errors
    ///
    /// A sentence naming the first array that is missing or has another shape.
    pub fn put_into<M: Module>(&self, name: &str, network: M) -> Result<M, String> {
        let mut put = Put { path: vec![name.to_owned()], weights: self, fault: None };
        let network = network.map(&mut put);
        put.fault.map_or(Ok(network), Err)
    }

    /// Adds an array.
    pub fn insert(&mut self, name: String, weight: Weight) {
        self.0.insert(name, weight);
    }

    /// Returns the array called `name`.
    pub fn get(&self, name: &str) -> Option<&Weight> {
        self.0.get(name)
    }

    /// All arrays in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Weight)> {
        self.0.iter()
    }

    /// All arrays in the order of their names, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Weight)> {
        self.0.iter_mut()
    }

    /// How many numbers there are in all.
    pub fn numel(&self) -> usize {
        self.0.values().map(|weight| weight.shape.iter().product::<usize>()).sum()
    }

    /// Returns the name of an array that holds a NaN or an infinity.
    pub fn not_finite(&self) -> Option<&str> {
        let bad = |weight: &Weight| !weight.values.to_data().iter::<f32>().all(f32::is_finite);
        self.0.iter().find(|(_, weight)| bad(weight)).map(|(name, _)| name.as_str())
    }

    /// Copies the arrays to memory, to be saved.
    pub fn to_arrays(&self) -> Arrays {
        let array = |weight: &Weight| Array {
            shape: weight.shape.clone(),
            data: weight.values.to_data().iter::<f32>().collect(),
        };
        self.0.iter().map(|(name, weight)| (name.clone(), array(weight))).collect()
    }

    /// Copies saved arrays to `device`.
    pub fn from_arrays(arrays: Arrays, device: &Device) -> Weights {
        let weight = |array: Array| {
            let len = array.data.len();
            let values = Tensor::from_data(TensorData::new(array.data, [len]), &device.clone().inner());
            Weight { shape: array.shape, values }
        };
        Weights(arrays.into_iter().map(|(name, array)| (name, weight(array))).collect())
    }
}

/// Copies the numbers of a parameter, row by row.
pub fn values<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    param.val().into_data().iter::<f32>().collect()
}

/// How many numbers training changes in `network`: all but the running statistics.
pub fn num_parameters<M: Module>(network: &M) -> usize {
    let statistics = |name: &str| name.ends_with(".running_mean") || name.ends_with(".running_var");
    let sizes = Weights::of("", network);
    let learned = sizes.iter().filter(|(name, _)| !statistics(name));
    learned.map(|(_, weight)| weight.shape.iter().product::<usize>()).sum()
}

struct Collect {
    path: Vec<String>,
    found: BTreeMap<String, Weight>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val().inner();
        let shape = tensor.dims();
        let values = tensor.reshape([shape.iter().product::<usize>()]);
        self.found.insert(self.path.join("."), Weight { shape: shape.to_vec(), values });
    }
}

struct Put<'a> {
    path: Vec<String>,
    weights: &'a Weights,
    fault: Option<String>,
}

impl ModuleMapper for Put<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let shape = param.dims();
        let Some(weight) = self.weights.0.get(&name) else {
            self.fault.get_or_insert(format!("`{name}` is missing"));
            return param;
        };
        if weight.shape != shape {
            let saved = &weight.shape;
            self.fault.get_or_insert(format!("`{name}` has shape {saved:?}, the model wants {shape:?}"));
            return param;
        }
        let values = weight.values.clone();
        param.map(|old| {
            let new = values.reshape(shape);
            if old.is_autodiff() { new.autodiff().set_require_grad(old.is_require_grad()) } else { new }
        })
    }
}
