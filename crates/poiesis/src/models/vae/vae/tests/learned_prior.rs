//! The prior `vamp` against closed forms, and on a toy problem.

use super::*;
use crate::dist::DiagonalNormal;
use crate::rng;

/// Normal distributions with these means and log variances, a row for each.
fn normals(mean: &[[f32; 2]], log_var: &[[f32; 2]], device: &Device) -> DiagonalNormal {
    let rows = |values: &[[f32; 2]]| {
        let flat: Vec<f32> = values.iter().flatten().copied().collect();
        Tensor::from_data(TensorData::new(flat, [values.len(), 2]), device)
    };
    DiagonalNormal { mean: rows(mean), log_var: rows(log_var) }
}

const MEANS: [[f32; 2]; 3] = [[0.5, -1.0], [3.0, 0.2], [-2.0, 2.5]];
const LOG_VARS: [[f32; 2]; 3] = [[-1.0, 0.4], [0.3, -2.0], [-0.5, -0.5]];

#[test]
fn the_density_of_a_mixture_is_the_mean_of_those_of_its_components() {
    let device = Device::flex();
    let mixture = NormalMixture { components: normals(&MEANS, &LOG_VARS, &device) };
    let points = [[0.0, 0.0], [2.5, 0.3], [-9.0, 4.0], [0.5, -1.0]];
    let density = |z: [f64; 2], k: usize| -> f64 {
        let one = |dim: usize| {
            let (mean, log_var) = (f64::from(MEANS[k][dim]), f64::from(LOG_VARS[k][dim]));
            let squared = (z[dim] - mean).powi(2) / log_var.exp();
            (-0.5 * squared).exp() / (std::f64::consts::TAU * log_var.exp()).sqrt()
        };
        one(0) * one(1)
    };
    let z = Tensor::<2>::from_data(points, &device);
    let ours: Vec<f64> = mixture.log_prob(z).into_data().iter::<f64>().collect();
    for (point, ours) in points.into_iter().zip(ours) {
        let theirs = ((0..3).map(|k| density(point, k)).sum::<f64>() / 3.0).ln();
        assert!((ours - theirs).abs() < 1e-5 * theirs.abs().max(1.0), "{point:?}: {ours} {theirs}");
    }
}

#[test]
fn with_one_pseudo_input_the_kl_of_draws_is_that_of_two_normal_distributions() {
    let (device, count) = (Device::flex(), 50_000);
    let p = NormalMixture { components: normals(&[[0.5, -1.0]], &[[-1.0, 0.4]], &device) };
    let q = normals(&[[0.2, -0.4]], &[[-1.5, -0.2]], &device);
    let eps = rng::normal(&mut rng::generator(2, "test", 0), 2 * count);
    let q = DiagonalNormal { mean: q.mean.repeat_dim(0, count), log_var: q.log_var.repeat_dim(0, count) };
    let z = q.sample(Tensor::from_data(TensorData::new(eps, [count, 2]), &device));
    let drawn = (q.log_prob(z.clone()) - p.log_prob(z)).mean().into_scalar::<f64>();
    let exact = |[mean, log_var]: [f64; 2], [of_p, log_var_of_p]: [f64; 2]| {
        let ratio = (log_var - log_var_of_p).exp();
        0.5 * (ratio + (mean - of_p).powi(2) / log_var_of_p.exp() - 1.0 - ratio.ln())
    };
    let exact = exact([0.2, -1.5], [0.5, -1.0]) + exact([-0.4, -0.2], [-1.0, 0.4]);
    // The deviation of a draw is below 1.
    assert!((drawn - exact).abs() < 0.015, "{drawn} {exact}");
}

#[test]
fn draws_have_the_moments_of_the_mixture_and_depend_on_their_number_alone() {
    let device = Device::flex();
    let mixture = NormalMixture { components: normals(&MEANS, &LOG_VARS, &device) };
    let count = 4000;
    let values = |z: Tensor<2>| z.into_data().iter::<f64>().collect::<Vec<_>>();
    let all = values(mixture.draw(3, 0..count, &device));
    assert_eq!(values(mixture.draw(3, 7..9, &device)), all[14..18]);
    assert_ne!(values(mixture.draw(4, 7..9, &device)), all[14..18]);
    for dim in 0..2 {
        let mean_of = |of: &dyn Fn(usize) -> f64| (0..3).map(of).sum::<f64>() / 3.0;
        let mean = mean_of(&|k| f64::from(MEANS[k][dim]));
        let square = mean_of(&|k| f64::from(MEANS[k][dim]).powi(2) + f64::from(LOG_VARS[k][dim]).exp());
        let drawn =
            |of: fn(f64) -> f64| all.iter().skip(dim).step_by(2).map(|&z| of(z)).sum::<f64>() / count as f64;
        // Four standard errors of values about 2 wide.
        assert!((drawn(|z| z) - mean).abs() < 0.15, "{dim}: {} {mean}", drawn(|z| z));
        assert!((drawn(|z| z * z) - square).abs() < 0.35, "{dim}: {} {square}", drawn(|z| z * z));
    }
}

/// The blind VAE with a learned prior: the posterior of a pseudo-input is that of every image.
fn blind_vamp(device: &Device) -> Vae {
    let mut vae = blind(device);
    vae.config.prior = LatentPrior::Vamp;
    let shape = ImageShape { height: 2, width: 2, channels: 1 };
    vae.pseudo_inputs = Some(prior::new_pseudo_inputs(3, shape, &mut Init::new(0, device)));
    vae
}

#[test]
fn a_posterior_that_is_the_prior_costs_nothing() {
    let device = Device::flex();
    let vae = blind_vamp(&device);
    let x = Tensor::<4>::from_data([[[[1.0], [0.0]], [[1.0], [1.0]]]], &device);
    let weights = vae.log_weights(x.clone(), &[None], 3, &[0], 0..5);
    let log_p = weights.reconstruction[0];
    assert!(weights.kl[0].abs() < 1e-5, "{weights:?}");
    assert!(weights.log_w[0].iter().all(|w| (w - log_p).abs() < 1e-5), "{weights:?}");

    let device = Device::flex().autodiff();
    let (vae, x) = (blind_vamp(&device), Tensor::from_data(x.into_data(), &device));
    let loss = vae.loss(x.repeat_dim(0, 4), &[], Tensor::ones([4, 2], &device));
    assert_eq!(loss.kl.dims(), [1]);
    assert!(loss.kl.into_scalar::<f64>().abs() < 1e-5);
    // Nothing about an image can be read off its latents.
    assert_eq!(loss.information.max().into_scalar::<f64>(), 0.0);
}

#[test]
fn latents_are_drawn_from_the_learned_prior_and_are_not_coded() {
    let device = Device::flex();
    let vae = blind_vamp(&device);
    let latents: &dyn Latents = &vae;
    assert_eq!(latents.priors(), [crate::abilities::Prior::Learned; 2]);
    let drawn: Vec<f64> = latents.draw(1, 0..2000, &device).into_data().iter::<f64>().collect();
    let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
    let var = drawn.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
    // N(0.8, e^0.3), not N(0, 1).
    assert!((mean - 0.8).abs() < 0.08 && (var - 0.3f64.exp()).abs() < 0.12, "{mean} {var}");
    let refusal = BitsBack::refusal(&vae).unwrap();
    assert!(refusal.reason.contains("mixture") && refusal.remedy.contains("vae.prior=normal"), "{refusal:?}");
}

#[test]
fn pseudo_inputs_start_as_training_images_and_the_bound_is_trained() {
    let device = Device::flex().autodiff();
    let config = VaeConfig {
        body: Body::Mlp,
        latent_dim: 4,
        hidden_dim: 32,
        layers: 1,
        likelihood: PixelDistribution::Bernoulli,
        prior: LatentPrior::Vamp,
        pseudo_inputs: 20,
        kl_warmup_steps: 1000,
        ..VaeConfig::default()
    };
    let (_folder, dataset) = shapes(100, [16, 16]);
    let optimizer = OptimizerConfig { learning_rate: 3e-3, ..OptimizerConfig::default() };
    let settings = (config, optimizer);
    let mut training = learner::<Vae>(&settings, &image_spec([16, 16, 3], 0), &dataset, 16, &device);
    let pseudo = |vae: &Vae| -> Vec<f32> {
        let images = prior::pseudo_images(vae.pseudo_inputs.as_ref().unwrap().val(), PixelEncoding::Binary);
        images.into_data().iter::<f32>().collect()
    };
    let first = pseudo(&training.model);
    let data = source::<Vae>(&settings.0, &dataset, 16, &device);
    let images: Vec<f32> = Tensor::cat(vec![data.images(0), data.images(1)], 0).into_data().iter().collect();
    let near = |(pseudo, image): (&f32, &f32)| (0.05 + 0.9 * image - pseudo).abs() < 0.06;
    assert_eq!(first.len(), 20 * 16 * 16 * 3);
    assert!(first.iter().zip(&images).all(near));

    let metrics = |training: &mut Learner<Vae>, step| -> BTreeMap<_, _> {
        training.step(step, 1.0).unwrap().read().into_iter().collect()
    };
    let before = metrics(&mut training, 0);
    let after = (1..1500).map(|step| metrics(&mut training, step)).last().unwrap();
    assert!(after["bound"] < 0.9 * before["bound"], "{before:?} {after:?}");
    assert!(after["active_dims"] >= 2.0, "{after:?}");
    assert_ne!(pseudo(&training.model), first, "pseudo-inputs are learned");
    let view = dataset.require(Split::Validation).unwrap();
    let [once, many] = [1, 32].map(|samples| {
        let protocol = BoundProtocol { images: 10, samples, seed: 5 };
        bound(&training.model, &view, training.model.shape, protocol, &device, &mut |_| ()).weighted_nats
    });
    assert!(many < once, "{once} {many}");
}
