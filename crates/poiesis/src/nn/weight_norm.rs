//! Weight normalisation with data-dependent first values (Salimans and Kingma 2016, arXiv:1602.07868).

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param, ParamId};
use burn::tensor::Tensor;

/// Added to squared norms, so that a direction of zeros, such as one whose inputs are all masked, has a weight and gradients of zero.
/// It is lost in the rounding of any other.
const TINY: f64 = 1e-12;

/// Data-dependent first gains stretch the deviation of a feature by no more than this. Features of the smallest sizes may hardly
/// vary over a batch: of images of four rows, the features of the rows above are constant there.
const LARGEST_GAIN: f64 = 10.0;

/// g v / ‖v‖, with a gain and a norm for each output (Eq. 2).
///
/// # Shapes
///
/// `direction` is `[.., outputs]` and `gain` `[outputs]`; the weight has the shape of the direction.
///
/// # Panics
///
/// When there is not one gain for each output.
pub fn weight_norm<const D: usize>(direction: Tensor<D>, gain: Tensor<1>) -> Tensor<D> {
    let shape = direction.dims();
    let outputs = shape[D - 1];
    assert_eq!(gain.dims(), [outputs], "gains of weights of shape {shape:?}");
    let flat = direction.reshape([shape.iter().product::<usize>() / outputs, outputs]);
    let norm = (flat.clone().powi_scalar(2).sum_dim(0) + TINY).sqrt();
    let scale = gain.reshape([1, outputs]) / norm;
    (flat * scale).reshape(shape)
}

/// First values of gains and biases by parameter, found while a batch goes through a network that has none yet (§3).
#[derive(Debug, Default)]
pub struct FirstValues(BTreeMap<ParamId, Tensor<1>>);

impl FirstValues {
    /// Takes what a layer of gain 1 and without bias makes of a batch, and finds the gain and the bias that give each feature
    /// mean 0 and this deviation. Returns the features that they give.
    ///
    /// # Shapes
    ///
    /// `y` is `[.., features]`, the parameters are `[features]`.
    pub fn find<const D: usize>(
        &mut self,
        y: Tensor<D>,
        deviation: f64,
        gain: &Param<Tensor<1>>,
        bias: &Param<Tensor<1>>,
    ) -> Tensor<D> {
        let (with_autodiff, shape, features) = (y.is_autodiff(), y.dims(), gain.dims()[0]);
        let rows = y.inner().reshape([1, 1, shape.iter().product::<usize>() / features, features]);
        let mean = rows.clone().mean_dim(2);
        let var = (rows.clone() - mean.clone()).powi_scalar(2).mean_dim(2);
        let first_gain = (var + 1e-10).sqrt().recip().clamp_max(LARGEST_GAIN) * deviation;
        let first_bias = mean.neg() * first_gain.clone();
        let y = (rows * first_gain.clone() + first_bias.clone()).reshape(shape);
        self.0.insert(gain.id, first_gain.reshape([features]));
        self.0.insert(bias.id, first_bias.reshape([features]));
        if with_autodiff { y.autodiff() } else { y }
    }
}

impl ModuleMapper for FirstValues {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.0.remove(&param.id) else { return param };
        param.map(|old| {
            let new = values.reshape(old.dims());
            if old.is_autodiff() { new.autodiff().set_require_grad(old.is_require_grad()) } else { new }
        })
    }
}
