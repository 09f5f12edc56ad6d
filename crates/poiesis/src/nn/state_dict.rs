//! The parameters and running statistics of a network by name, without its type.
//!
//! The trainer averages, saves and restores networks as [`StateDict`]s.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::{Array, Arrays};

/// One named array: its shape and its values, flat in row-major order.
#[derive(Clone, Debug)]
pub struct StateTensor {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// `[product of shape]`, without autodiff.
    pub values: Tensor<1>,
}

impl StateTensor {
    /// Whole numbers of 64 bits, or the bits of 64-bit floats (`f64::to_bits`), for a state that must come back exactly: `[words, 4]`,
    /// 16 bits in each value, which f32 holds exactly.
    pub fn of_words(words: &[u64], device: &Device) -> StateTensor {
        let pieces = words.iter().flat_map(|word| [48, 32, 16, 0].map(|shift| (word >> shift) as u16));
        let values = TensorData::new(pieces.map(f32::from).collect(), [4 * words.len()]);
        StateTensor {
            shape: vec![words.len(), 4],
            values: Tensor::from_data(values, &device.clone().inner()),
        }
    }

    /// Takes back what [`of_words`](StateTensor::of_words) made.
    pub fn to_words(&self) -> Vec<u64> {
        let pieces: Vec<f32> = self.values.to_data().iter::<f32>().collect();
        let word = |pieces: &[f32]| pieces.iter().fold(0, |word, &piece| word << 16 | piece as u64);
        pieces.chunks_exact(4).map(word).collect()
    }
}

/// All arrays of one or several networks by name, such as `generator.project.weight`.
#[derive(Clone, Debug, Default)]
pub struct StateDict(BTreeMap<String, StateTensor>);

impl StateDict {
    /// Collects the arrays of `network`, named by the path of fields that leads to them.
    pub fn of<M: Module>(network: &M) -> StateDict {
        StateDict::prefixed(Vec::new(), network)
    }

    /// Collects the arrays of `network`, each name prefixed with `name` and a dot.
    pub fn of_part<M: Module>(name: &str, network: &M) -> StateDict {
        StateDict::prefixed(vec![name.to_owned()], network)
    }

    fn prefixed<M: Module>(path: Vec<String>, network: &M) -> StateDict {
        let mut collect = Collect { path, found: BTreeMap::new() };
        network.visit(&mut collect);
        StateDict(collect.found)
    }

    /// Joins two disjoint sets of arrays.
    pub fn with(mut self, other: StateDict) -> StateDict {
        self.0.extend(other.0);
        self
    }

    /// Returns `network` with these arrays in place of its own.
    ///
    /// # Errors
    ///
    /// A sentence naming the first array that is missing or has another shape.
    pub fn load_into<M: Module>(&self, network: M) -> Result<M, String> {
        let mut load = Load { path: Vec::new(), state: self, fault: None };
        let network = network.map(&mut load);
        load.fault.map_or(Ok(network), Err)
    }

    /// Adds an array.
    pub fn insert(&mut self, name: String, weight: StateTensor) {
        self.0.insert(name, weight);
    }

    /// Returns the array called `name`.
    pub fn get(&self, name: &str) -> Option<&StateTensor> {
        self.0.get(name)
    }

    /// All arrays in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &StateTensor)> {
        self.0.iter()
    }

    /// All arrays in the order of their names, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut StateTensor)> {
        self.0.iter_mut()
    }

    /// How many values there are in all.
    pub fn numel(&self) -> usize {
        self.0.values().map(|weight| weight.shape.iter().product::<usize>()).sum()
    }

    /// Returns the name of an array that holds a NaN or an infinity.
    pub fn not_finite(&self) -> Option<&str> {
        let bad = |weight: &StateTensor| !weight.values.to_data().iter::<f32>().all(f32::is_finite);
        self.0.iter().find(|(_, weight)| bad(weight)).map(|(name, _)| name.as_str())
    }

    /// Copies the arrays to memory, to be saved.
    pub fn to_arrays(&self) -> Arrays {
        let array = |weight: &StateTensor| Array {
            shape: weight.shape.clone(),
            data: weight.values.to_data().iter::<f32>().collect(),
        };
        self.0.iter().map(|(name, weight)| (name.clone(), array(weight))).collect()
    }

    /// Copies saved arrays to `device`.
    pub fn from_arrays(arrays: Arrays, device: &Device) -> StateDict {
        let weight = |array: Array| {
            let len = array.data.len();
            let values = Tensor::from_data(TensorData::new(array.data, [len]), &device.clone().inner());
            StateTensor { shape: array.shape, values }
        };
        StateDict(arrays.into_iter().map(|(name, array)| (name, weight(array))).collect())
    }
}

/// Copies the values of a parameter, row by row.
pub fn values<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    param.val().into_data().iter::<f32>().collect()
}

/// How many values training changes in `network`: all but the running statistics of batch normalisation.
pub fn num_parameters<M: Module>(network: &M) -> usize {
    parameters_by_part(network).into_iter().map(|(_, count)| count).sum()
}

/// The same for each part of `network`, by the name of its field and in the order of the fields.
pub fn parameters_by_part<M: Module>(network: &M) -> Vec<(String, usize)> {
    let mut count = Count { path: Vec::new(), parts: Vec::new() };
    network.visit(&mut count);
    count.parts
}

struct Count {
    path: Vec<String>,
    parts: Vec<(String, usize)>,
}

impl ModuleVisitor for Count {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.path.last().is_some_and(|name| name == "running_mean" || name == "running_var") {
            return;
        }
        let (part, count) =
            (self.path.first().cloned().unwrap_or_default(), param.dims().iter().product::<usize>());
        match self.parts.last_mut() {
            Some((last, sum)) if *last == part => *sum += count,
            _ => self.parts.push((part, count)),
        }
    }
}

struct Collect {
    path: Vec<String>,
    found: BTreeMap<String, StateTensor>,
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
        self.found.insert(self.path.join("."), StateTensor { shape: shape.to_vec(), values });
    }
}

struct Load<'a> {
    path: Vec<String>,
    state: &'a StateDict,
    fault: Option<String>,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let shape = param.dims();
        let Some(weight) = self.state.0.get(&name) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_exactly() {
        let words =
            [0, 1, u64::MAX, 0.1f64.to_bits(), (-0.0f64).to_bits(), f64::NAN.to_bits(), 1 << 48 | 1 << 15];
        let saved = StateTensor::of_words(&words, &Device::flex().autodiff());
        assert_eq!((saved.to_words().as_slice(), saved.shape), (&words[..], vec![7, 4]));
    }
}
