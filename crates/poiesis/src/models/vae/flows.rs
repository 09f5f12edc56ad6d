//! Invertible steps z′ = f(z) that turn a simple posterior into a more flexible one: log q(z′) = log q(z) − log |det ∂f/∂z|.
//!
//! Rezende and Mohamed, "Variational inference with normalizing flows", 2015, arXiv:1505.05770, and Kingma et al., "Improving
//! variational inference with inverse autoregressive flow", 2016, arXiv:1606.04934. The last axis has the dimensions of a latent, and
//! each place on the other axes is a latent of its own.

use burn::tensor::{Tensor, activation::softplus};

/// Squared norms are no smaller than this where something is divided by them.
const SMALLEST: f64 = 1e-6;

/// The gated autoregressive step z′ = σ z + (1 − σ) m with σ = sigmoid(s) (Kingma et al. 2016, Algorithm 1). Where m and s of a
/// dimension depend on earlier dimensions alone, the Jacobian is triangular with σ on its diagonal.
///
/// # Shapes
///
/// All are of one shape; the results are z′ and log σ, whose sum is the log-determinant.
pub(super) fn gated<const D: usize>(z: Tensor<D>, m: Tensor<D>, s: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    let log_sigma = softplus(s.neg(), 1.0).neg();
    (m.clone() + log_sigma.clone().exp() * (z - m), log_sigma)
}

/// The planar step z′ = z + û tanh(wᵀz + b) (Rezende and Mohamed 2015, Eq. 10 to 12), with û as near to u as it can be for the step to
/// be invertible (ibid., Appendix A.1).
///
/// # Shapes
///
/// `z`, `u`, `w` and z′ are `[.., dims]`, `b` and the log-determinants are `[.., 1]`.
pub(super) fn planar<const D: usize>(
    z: Tensor<D>,
    u: Tensor<D>,
    w: Tensor<D>,
    b: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    let product = |x: Tensor<D>, y: Tensor<D>| (x * y).sum_dim(D - 1);
    let wu = product(w.clone(), u.clone());
    // More than −1, which makes the determinant positive.
    let wu_hat = softplus(wu.clone(), 1.0) - 1.0;
    let squared_norm = product(w.clone(), w.clone()).clamp_min(SMALLEST);
    let u_hat = u + (wu_hat - wu) / squared_norm * w.clone();
    let h = (product(w.clone(), z.clone()) + b).tanh();
    let log_det = ((h.clone().square().neg() + 1.0) * product(w, u_hat.clone()) + 1.0).log();
    (z + u_hat * h, log_det)
}

/// The radial step z′ = z + β h (z − centre) with h = 1 / (α + r) and r = ‖z − centre‖ (Rezende and Mohamed 2015, Eq. 14). α is the
/// softplus of `alpha`, and β the softplus of `beta` less α, so that the step can be inverted (ibid., Appendix A.2).
///
/// # Shapes
///
/// `z`, `centre` and z′ are `[.., dims]`, `alpha`, `beta` and the log-determinants are `[.., 1]`.
pub(super) fn radial<const D: usize>(
    z: Tensor<D>,
    centre: Tensor<D>,
    alpha: Tensor<D>,
    beta: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    let dims = z.dims()[D - 1] as f64;
    let alpha = softplus(alpha, 1.0);
    let beta = softplus(beta, 1.0) - alpha.clone();
    let away = z.clone() - centre;
    let r = (away.clone().square().sum_dim(D - 1) + SMALLEST * SMALLEST).sqrt();
    let h = (alpha.clone() + r).recip();
    // 1 + β h across, and 1 + β h + β h′ r = 1 + β α h² along z − centre.
    let beta_h = beta * h.clone();
    let across = (beta_h.clone() + 1.0).log() * (dims - 1.0);
    let along = (beta_h.clone() * alpha * h + 1.0).log();
    (z + beta_h * away, across + along)
}

/// What tests of steps and of chains of them share.
#[cfg(test)]
pub(super) mod testing {
    use burn::tensor::{Device, Tensor, TensorData};

    /// Half the distance of two points whose images give a derivative.
    const STEP: f32 = 1e-2;

    /// log |det ∂f/∂z| at `z` by central differences; `f` maps `[points, dims]` to the same shape, each point by itself.
    pub(crate) fn numeric_log_det(f: impl Fn(Tensor<2>) -> Tensor<2>, z: &[f32]) -> f64 {
        let dims = z.len();
        let mut points = Vec::new();
        for dim in 0..dims {
            for step in [STEP, -STEP] {
                points.extend_from_slice(z);
                *points.iter_mut().rev().nth(dims - 1 - dim).unwrap() += step;
            }
        }
        let points = Tensor::from_data(TensorData::new(points, [2 * dims, dims]), &Device::flex());
        let images: Vec<f64> = f(points).into_data().iter::<f64>().collect();
        // Row i has the derivatives by dimension i.
        let derivative = |pair: &[f64]| -> Vec<f64> {
            let (after, before) = pair.split_at(dims);
            after.iter().zip(before).map(|(a, b)| (a - b) / (2.0 * f64::from(STEP))).collect()
        };
        log_abs_det(images.chunks(2 * dims).map(derivative).collect())
    }

    /// log |det| of a matrix by Gaussian elimination with row exchanges.
    fn log_abs_det(mut rows: Vec<Vec<f64>>) -> f64 {
        let mut sum = 0.0;
        for column in 0..rows.len() {
            let size = |row: &usize| rows[*row][column].abs();
            let largest = (column..rows.len()).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap();
            rows.swap(column, largest);
            let pivot = rows[column].clone();
            sum += pivot[column].abs().ln();
            for row in &mut rows[column + 1..] {
                let factor = row[column] / pivot[column];
                row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::testing::numeric_log_det;
    use super::*;
    use crate::rng;

    const DIMS: usize = 4;
    /// Central differences in f32, of functions whose third derivatives are about 1.
    const TOLERANCE: f64 = 1e-3;

    fn draw<const N: usize>(index: u64) -> [Vec<f32>; N] {
        let mut generator = rng::generator(6, "test", index);
        [(); N].map(|()| rng::normal(&mut generator, DIMS))
    }

    /// The same row for each of `rows` points.
    fn repeated(row: &[f32], rows: usize) -> Tensor<2> {
        let row = Tensor::from_data(TensorData::new(row.to_vec(), [1, row.len()]), &Device::flex());
        row.repeat_dim(0, rows)
    }

    fn scalar<const D: usize>(x: Tensor<D>) -> f64 {
        x.sum().into_scalar::<f64>()
    }

    #[test]
    fn the_log_determinant_of_a_planar_step_is_that_of_its_jacobian() {
        for index in 0..8 {
            let [z, u, w] = draw(index);
            // Without the constraint on u the step of the last ones could not be inverted.
            let u: Vec<f32> = if index < 6 { u } else { w.iter().map(|w| -3.0 * w).collect() };
            let step = |z: Tensor<2>| {
                let rows = z.dims()[0];
                planar(z, repeated(&u, rows), repeated(&w, rows), repeated(&[0.3], rows))
            };
            let ours = scalar(step(repeated(&z, 1)).1);
            let numeric = numeric_log_det(|z| step(z).0, &z);
            assert!((ours - numeric).abs() < TOLERANCE * (1.0 + numeric.abs()), "{ours} {numeric}");
        }
    }

    #[test]
    fn the_log_determinant_of_a_radial_step_is_that_of_its_jacobian() {
        for index in 0..6 {
            let [z, centre, scalars] = draw(index);
            let step = |z: Tensor<2>| {
                let rows = z.dims()[0];
                let [alpha, beta] = [0, 1].map(|i| repeated(&[3.0 * scalars[i]], rows));
                radial(z, repeated(&centre, rows), alpha, beta)
            };
            let ours = scalar(step(repeated(&z, 1)).1);
            let numeric = numeric_log_det(|z| step(z).0, &z);
            assert!((ours - numeric).abs() < TOLERANCE * (1.0 + numeric.abs()), "{ours} {numeric}");
        }
    }

    #[test]
    fn a_planar_step_without_a_direction_is_finite() {
        let device = Device::flex().autodiff();
        let [z, u, _] = draw(0);
        let w = Tensor::<2>::zeros([1, DIMS], &device).require_grad();
        let (to, log_det) = planar(
            repeated(&z, 1).autodiff(),
            repeated(&u, 1).autodiff(),
            w.clone(),
            repeated(&[0.3], 1).autodiff(),
        );
        let gradient = w.grad(&(to.sum() + log_det.sum()).backward()).unwrap();
        assert!(gradient.into_data().iter::<f32>().all(f32::is_finite));
    }

    #[test]
    fn the_log_determinant_of_a_gated_step_is_that_of_its_jacobian() {
        for index in 0..4 {
            let [z, a, b] = draw(index);
            // m and s of a dimension depend on the ones before it: sums of what stands to the left.
            let earlier = |z: &Tensor<2>, scale: &[f32]| {
                let rows = z.dims()[0];
                let left = z.clone().narrow(1, 0, DIMS - 1);
                let shifted = Tensor::cat(vec![Tensor::zeros([rows, 1], &z.device()), left], 1);
                (shifted * repeated(scale, rows)).sin() + 0.5
            };
            let step = |z: Tensor<2>| gated(z.clone(), earlier(&z, &a), earlier(&z, &b));
            let ours = scalar(step(repeated(&z, 1)).1);
            let numeric = numeric_log_det(|z| step(z).0, &z);
            assert!((ours - numeric).abs() < TOLERANCE * (1.0 + numeric.abs()), "{ours} {numeric}");
        }
    }
}
