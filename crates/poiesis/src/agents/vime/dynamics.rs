//! The Bayesian network of the dynamics: what it predicts, how its posterior is fitted, and how much a transition tells it.

use std::f64::consts::TAU;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, activate, linear};

use crate::nn::Init;

/// A fully connected layer whose weights are independent normal variables, `N(μ, σ²)` with `σ = log(1 + e^ρ)`.
#[derive(Module, Debug)]
pub struct BayesianLinear {
    /// μ of the weights, `[inputs, outputs]`.
    mean: Param<Tensor<2>>,
    /// ρ of the weights, `[inputs, outputs]`.
    rho: Param<Tensor<2>>,
    /// μ of the biases, `[outputs]`.
    bias_mean: Param<Tensor<1>>,
    /// ρ of the biases, `[outputs]`.
    bias_rho: Param<Tensor<1>>,
}

impl BayesianLinear {
    /// Means from N(0, 1), and the deviations of the prior.
    pub fn new(inputs: usize, outputs: usize, prior_sd: f64, init: &mut Init) -> BayesianLinear {
        let rho = prior_sd.exp_m1().ln();
        BayesianLinear {
            mean: init.normal([inputs, outputs], 0.0, 1.0),
            rho: init.constant([inputs, outputs], rho),
            bias_mean: init.normal([outputs], 0.0, 1.0),
            bias_rho: init.constant([outputs], rho),
        }
    }

    /// σ² of the weights and of the biases.
    fn variances(&self) -> (Tensor<2>, Tensor<1>) {
        (sd(self.rho.val()).square(), sd(self.bias_rho.val()).square())
    }

    /// Mean and standard deviation of each output for these inputs, `[rows, inputs]` to `[rows, outputs]`: what local
    /// reparameterisation draws from (Kingma, Salimans and Welling 2015, arXiv:1506.02557, Eq. 6).
    pub fn moments(&self, inputs: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (weight_var, bias_var) = self.variances();
        let squared = inputs.clone().square();
        let mean = linear(inputs, self.mean.val(), Some(self.bias_mean.val()), Activation::Identity);
        (mean, linear(squared, weight_var, Some(bias_var), Activation::Identity).sqrt())
    }

    /// The divergence of the weights and biases from `N(0, prior_sd²)`, `[1]`, in nats.
    pub fn kl(&self, prior_sd: f64) -> Tensor<1> {
        let of_weights = kl_from_prior(self.mean.val(), sd(self.rho.val()), prior_sd);
        of_weights + kl_from_prior(self.bias_mean.val(), sd(self.bias_rho.val()), prior_sd)
    }

    /// `Σ σ² g_μ² + ½ σ² g_σ²` over the layer for each row, `[rows]`; see [`BayesianNetwork::information_gains`].
    ///
    /// Sample `s` of a row has the inputs `x`, the gradient `g` by the outputs, and `u = g ε / δ`, where δ is the deviation of the
    /// output. As the output is `Σ_i x_i μ_ij + ε_j √(Σ_i x_i² σ_ij²)`, the gradients are sums of outer products over the samples:
    /// `g_μ = Σ_s x gᵀ` and `g_σ = σ ⊙ Σ_s x² uᵀ`. A bias is the weight of an input that is always 1.
    fn squared_gradients(&self, x: Tensor<2>, g: Tensor<2>, u: Tensor<2>, samples: usize) -> Tensor<1> {
        let (all, device) = (x.dims()[0], x.device());
        let x = Tensor::cat(vec![x, Tensor::ones([all, 1], &device)], 1);
        let [x, g, u] = [x, g, u].map(|factor| {
            let width = factor.dims()[1];
            factor.reshape([all / samples, samples, width])
        });
        let (weight_var, bias_var) = self.variances();
        let var = Tensor::cat(vec![weight_var, bias_var.unsqueeze::<2>()], 0).unsqueeze::<3>();
        let outer = |x: Tensor<3>, g: Tensor<3>| x.swap_dims(1, 2).matmul(g).square();
        let by_means = outer(x.clone(), g) * var.clone();
        let by_sds = outer(x.square(), u) * var.square() * 0.5;
        (by_means + by_sds).sum_dim(2).sum_dim(1).reshape([all / samples])
    }
}

/// σ = log(1 + e^ρ).
fn sd<const D: usize>(rho: Tensor<D>) -> Tensor<D> {
    activate(rho, Activation::Softplus)
}

/// KL(N(μ, σ²) ‖ N(0, prior_sd²)), summed, `[1]`.
fn kl_from_prior<const D: usize>(mean: Tensor<D>, sd: Tensor<D>, prior_sd: f64) -> Tensor<1> {
    let count = mean.dims().iter().product::<usize>() as f64;
    let squares = (mean.square() + sd.clone().square()) / (2.0 * prior_sd * prior_sd);
    (squares - sd.log()).sum() + count * (prior_sd.ln() - 0.5)
}

/// What is fixed of a [`BayesianNetwork`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Standard deviation of the prior of each weight, `N(0, prior_sd²)`.
    pub prior_sd: f64,
    /// Standard deviation of an observed value around its prediction.
    pub likelihood_sd: f64,
    /// Samples of the weights over which a likelihood is averaged.
    pub samples: usize,
}

/// Predicts the next observation from an observation and an action, by ReLU layers and a linear one with uncertain weights.
#[derive(Module, Debug)]
pub struct BayesianNetwork {
    hidden: Vec<BayesianLinear>,
    output: BayesianLinear,
    #[module(skip)]
    scales: Scales,
}

/// One layer of a forward pass. The samples of a row are adjacent rows.
struct Drawn {
    /// What went in, `[rows · samples, inputs]`.
    inputs: Tensor<2>,
    /// Standard deviation of the outputs, `[rows · samples, outputs]`.
    deviation: Tensor<2>,
    /// The outputs before the activation, `[rows · samples, outputs]`.
    values: Tensor<2>,
}

impl Drawn {
    fn of(inputs: Tensor<2>, mean: Tensor<2>, deviation: Tensor<2>, noise: &Tensor<2>) -> Drawn {
        let values = mean + deviation.clone() * noise.clone();
        Drawn { inputs, deviation, values }
    }
}

/// The two terms of the variational bound, each `[1]`, in nats.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The log-likelihood of all rows, averaged over the samples.
    pub log_likelihood: Tensor<1>,
    /// KL(q ‖ prior) of all weights.
    pub kl: Tensor<1>,
}

impl Bound {
    /// The negative bound of a batch that stands for `1 / kl_weight` batches (§2.3), `[1]`.
    pub fn loss(&self, kl_weight: f64) -> Tensor<1> {
        self.kl.clone() * kl_weight - self.log_likelihood.clone()
    }
}

/// Draws normal noise of a shape.
pub type Noise<'a> = dyn FnMut([usize; 2]) -> Tensor<2> + 'a;

impl BayesianNetwork {
    /// A network from `inputs` to `outputs` values, with hidden layers of these widths.
    pub fn new(
        inputs: usize,
        hidden_dims: &[usize],
        outputs: usize,
        scales: Scales,
        init: &mut Init,
    ) -> BayesianNetwork {
        let before = std::iter::once(inputs).chain(hidden_dims.iter().copied());
        let layer = |(inputs, &width)| BayesianLinear::new(inputs, width, scales.prior_sd, init);
        let hidden = before.zip(hidden_dims).map(layer).collect();
        let last = hidden_dims.last().copied().unwrap_or(inputs);
        let output = BayesianLinear::new(last, outputs, scales.prior_sd, init);
        BayesianNetwork { hidden, output, scales }
    }

    fn layers(&self) -> impl DoubleEndedIterator<Item = &BayesianLinear> {
        self.hidden.iter().chain([&self.output])
    }

    /// The most weights that a layer has, biases included.
    pub fn widest(&self) -> usize {
        let size = |layer: &BayesianLinear| layer.mean.dims()[1] * (layer.mean.dims()[0] + 1);
        self.layers().map(size).max().unwrap_or(1)
    }

    /// The noise of a forward pass of `rows`: for each layer `[rows · samples, outputs]` from N(0, 1).
    pub fn draw_noise(&self, rows: usize, draw: &mut Noise<'_>) -> Vec<Tensor<2>> {
        let rows = rows * self.scales.samples;
        self.layers().map(|layer| draw([rows, layer.mean.dims()[1]])).collect()
    }

    /// All layers for `inputs`, `[rows, inputs]`, with local reparameterisation: each output of each sample is drawn by itself.
    fn forward(&self, inputs: Tensor<2>, noise: &[Tensor<2>]) -> Vec<Drawn> {
        let mut layers = self.layers().zip(noise);
        let (first, first_noise) = layers.next().expect("a network has an output");
        // The samples of a row have the same inputs here, so their moments are computed once.
        let (mean, deviation) = first.moments(inputs.clone());
        let [inputs, mean, deviation] = [inputs, mean, deviation].map(|x| repeated(x, self.scales.samples));
        let mut drawn = vec![Drawn::of(inputs, mean, deviation, first_noise)];
        for (layer, noise) in layers {
            let inputs = activate(output_of(&drawn), Activation::Relu);
            let (mean, deviation) = layer.moments(inputs.clone());
            drawn.push(Drawn::of(inputs, mean, deviation, noise));
        }
        drawn
    }

    /// How far each sample of the output is from its target, `[rows · samples, outputs]`.
    fn errors(&self, drawn: &[Drawn], targets: Tensor<2>) -> Tensor<2> {
        output_of(drawn) - repeated(targets, self.scales.samples)
    }

    /// Samples of the prediction for each row of `inputs`, the samples of a row adjacent: `[rows, inputs]` to
    /// `[rows · samples, outputs]`, with the noise of [`draw_noise`](Self::draw_noise).
    pub fn predictions(&self, inputs: Tensor<2>, noise: &[Tensor<2>]) -> Tensor<2> {
        output_of(&self.forward(inputs, noise))
    }

    /// The variational bound for rows of inputs and targets (§2.3), with the noise of [`draw_noise`](Self::draw_noise).
    ///
    /// # Shapes
    ///
    /// `[rows, inputs]`, `[rows, outputs]`.
    pub fn bound(&self, inputs: Tensor<2>, targets: Tensor<2>, noise: &[Tensor<2>]) -> Bound {
        let Scales { prior_sd, likelihood_sd, samples } = self.scales;
        let values = targets.dims().iter().product::<usize>() as f64;
        let squares = self.errors(&self.forward(inputs, noise), targets).square().sum();
        let constant = values * (likelihood_sd.ln() + 0.5 * TAU.ln());
        let log_likelihood = squares * (-0.5 / (likelihood_sd.powi(2) * samples as f64)) - constant;
        let kls = self.hidden.iter().map(|layer| layer.kl(prior_sd));
        Bound { log_likelihood, kl: kls.fold(self.output.kl(prior_sd), |sum, kl| sum + kl) }
    }

    /// How many nats the posterior would move by when it learns from each row alone, `[rows]`: the information gain that one step of
    /// Newton's method estimates (§2.5). No weight is changed.
    ///
    /// The step from φ is `λ H⁻¹ ∇ℓ`, where ℓ is the negative log-likelihood of the row and H the Hessian of KL(q(φ′) ‖ q(φ)) at
    /// φ′ = φ, which is diagonal: `1/σ²` for μ and `2 e^(2ρ) / ((1 + e^ρ)² σ²)` for ρ, that is `2/σ²` for σ. The divergence after
    /// it is `½ λ² ∇ℓᵀ H⁻¹ ∇ℓ`. Like the authors' code, this leaves out the ½, which the normalisation of the bonus cancels:
    /// `λ² Σ (σ² g_μ² + ½ σ² g_σ²)`.
    ///
    /// The gradient is that of training: through local reparameterisation, averaged over the samples before it is squared. (With the
    /// weights at their means, that by ρ would be zero.) Each row has its own gradient, exactly, without automatic differentiation.
    ///
    /// # Shapes
    ///
    /// `[rows, inputs]`, `[rows, outputs]`; the noise is that of [`draw_noise`](Self::draw_noise).
    pub fn information_gains(
        &self,
        inputs: Tensor<2>,
        targets: Tensor<2>,
        noise: &[Tensor<2>],
        step_size: f64,
    ) -> Tensor<1> {
        let Scales { likelihood_sd, samples, .. } = self.scales;
        let rows = inputs.dims()[0];
        let drawn = self.forward(inputs, noise);
        let mut g = self.errors(&drawn, targets) / (likelihood_sd.powi(2) * samples as f64);
        let layers: Vec<&BayesianLinear> = self.layers().collect();
        let mut gains = Tensor::zeros([rows], &g.device());
        for index in (0..layers.len()).rev() {
            let (layer, Drawn { inputs: x, deviation, .. }) = (layers[index], &drawn[index]);
            let u = g.clone() * noise[index].clone() / deviation.clone();
            gains = gains + layer.squared_gradients(x.clone(), g.clone(), u.clone(), samples);
            if index > 0 {
                // Through the mean and through the deviation, then through the ReLU.
                let through_mean = g.matmul(layer.mean.val().transpose());
                let through_deviation = u.matmul(layer.variances().0.transpose()) * x.clone();
                g = (through_mean + through_deviation) * x.clone().greater_elem(0.0).float();
            }
        }
        gains * step_size.powi(2)
    }
}

/// What the last layer gave.
fn output_of(drawn: &[Drawn]) -> Tensor<2> {
    drawn[drawn.len() - 1].values.clone()
}

/// Each row `times` times, one after another.
fn repeated(x: Tensor<2>, times: usize) -> Tensor<2> {
    let [rows, width] = x.dims();
    x.reshape([rows, 1, width]).expand([rows, times, width]).reshape([rows * times, width])
}
