//! The parameters and running statistics of a network by name.
//!
//! The trainer averages, saves and restores networks as [`StateDict`]s.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::named::{NamedMapper, NamedVisitor, map_named, visit_named};
use super::{Array, Arrays};

/// One array: its shape and its values, flat in row-major order.
#[derive(Clone, Debug)]
pub struct StateTensor {
    /// The length of each axis.
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
    /// Collects the arrays of `network`, named by their field paths.
    pub fn of<M: Module>(network: &M) -> StateDict {
        let mut state = StateDict::default();
        visit_named(network, &mut state);
        state
    }

    /// Joins two disjoint sets of arrays.
    pub fn with(mut self, other: StateDict) -> StateDict {
        self.0.extend(other.0);
        self
    }

    /// Returns `network` with these arrays instead of its own.
    ///
    /// # Errors
    ///
    /// A sentence naming the first array that is missing or has another shape.
    pub fn load_into<M: Module>(&self, network: M) -> Result<M, String> {
        let mut load = Load { state: self, fault: None };
        let network = map_named(network, &mut load);
        load.fault.map_or(Ok(network), Err)
    }

    /// Checks that these are the arrays of `network`, which may have no values.
    ///
    /// # Errors
    ///
    /// A sentence naming the first array that is missing or has another shape.
    pub fn expect_of<M: Module>(&self, network: &M) -> Result<(), String> {
        let mut shapes = Shapes { state: self, fault: None };
        visit_named(network, &mut shapes);
        shapes.fault.map_or(Ok(()), Err)
    }

    /// The array called `name`, if it has this shape; otherwise a sentence that says what is wrong.
    fn of_shape(&self, name: &str, shape: &[usize]) -> Result<&StateTensor, String> {
        match self.0.get(name) {
            None => Err(format!("`{name}` is missing")),
            Some(weight) if weight.shape == shape => Ok(weight),
            Some(weight) => Err(format!("`{name}` has shape {:?}, the model wants {shape:?}", weight.shape)),
        }
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

    /// All arrays, mutable, in the order of their names.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut StateTensor)> {
        self.0.iter_mut()
    }

    /// The total number of values.
    pub fn numel(&self) -> usize {
        self.0.values().map(|weight| weight.shape.iter().product::<usize>()).sum()
    }

    /// Returns the name of an array that contains a NaN or an infinity.
    pub fn not_finite(&self) -> Option<&str> {
        let bad = |weight: &StateTensor| !weight.values.to_data().iter::<f32>().all(f32::is_finite);
        self.0.iter().find(|(_, weight)| bad(weight)).map(|(name, _)| name.as_str())
    }

    /// Copies the arrays to memory, for saving.
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

/// Whether the array called `name` is set once, before the first step: the statistics of [`Standardize`](super::Standardize). An average
/// of such an array would drift away from it by rounding.
pub fn is_fixed(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("column_mean" | "column_std"))
}

/// The number of parameters of `network`, without statistics of the data, such as those of batch normalisation.
pub fn num_parameters<M: Module>(network: &M) -> usize {
    parameters_by_part(network).into_iter().fold(0, |sum, (_, count)| sum.saturating_add(count))
}

/// The number of parameters of each part of `network`, by the name of its field and in the order of the fields.
pub fn parameters_by_part<M: Module>(network: &M) -> Vec<(String, usize)> {
    let mut count = Count(Vec::new());
    visit_named(network, &mut count);
    count.0
}

struct Count(Vec<(String, usize)>);

impl NamedVisitor for Count {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        let running =
            matches!(name.rsplit('.').next(), Some("running_mean" | "running_var" | "running_count"));
        if running || is_fixed(name) {
            return;
        }
        let part = name.split('.').next().unwrap_or_default();
        let count = param.dims().into_iter().fold(1_usize, usize::saturating_mul);
        match self.0.last_mut() {
            Some((last, sum)) if last == part => *sum = sum.saturating_add(count),
            _ => self.0.push((part.to_owned(), count)),
        }
    }
}

/// Collects the arrays of a network.
impl NamedVisitor for StateDict {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        let tensor = param.val().inner();
        let shape = tensor.dims();
        let values = tensor.reshape([shape.iter().product::<usize>()]);
        self.insert(name.to_owned(), StateTensor { shape: shape.to_vec(), values });
    }
}

struct Shapes<'a> {
    state: &'a StateDict,
    fault: Option<String>,
}

impl NamedVisitor for Shapes<'_> {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        if let (None, Err(fault)) = (&self.fault, self.state.of_shape(name, &param.dims())) {
            self.fault = Some(fault);
        }
    }
}

struct Load<'a> {
    state: &'a StateDict,
    fault: Option<String>,
}

impl NamedMapper for Load<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.dims();
        let values = match self.state.of_shape(name, &shape) {
            Ok(weight) => weight.values.clone(),
            Err(fault) => {
                self.fault.get_or_insert(fault);
                return param;
            }
        };
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
