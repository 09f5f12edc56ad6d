//! Arrays in memory, as they are saved in files.

use std::collections::BTreeMap;

/// An array of 32-bit floats, row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Array {
    /// The length of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The values; as many as the product of `shape`.
    pub data: Vec<f32>,
}

/// Arrays by name.
pub type Arrays = BTreeMap<String, Array>;

impl Array {
    /// Returns the array of this shape.
    ///
    /// # Panics
    /// When the number of values is not the product of the shape.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Self {
        let array = Self { shape, data };
        array.check("an array");
        array
    }

    /// Checks that the number of values is the product of the shape.
    ///
    /// # Panics
    /// With `name`, the shape and the number of values.
    pub(crate) fn check(&self, name: &str) {
        let size: usize = self.shape.iter().product();
        assert!(size == self.data.len(), "{name} of shape {:?} has {} values", self.shape, self.data.len());
    }
}
