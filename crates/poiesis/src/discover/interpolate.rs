//! Interpolation between latents. Images that change smoothly mean that the model has learned features, not examples.

use burn::tensor::Device;

use super::{class_of, decode_as, latent};
use crate::abilities::{LatentPart, Latents, Prior};
use crate::fitting::Rows;

/// Decodes `rows` interpolations of `steps` images, each between two consecutive samples of `seed`.
///
/// Latents with a normal prior are interpolated spherically, because a straight line would pass through norms that are
/// improbable under the prior (White 2016, "Sampling generative networks"); those with a uniform or a learned prior linearly.
///
/// Of a model that is conditioned on classes, all images of a row are of one class: `class`, or each in turn.
///
/// # Panics
///
/// When `steps` is below 2, or the model knows no such class.
pub fn interpolate(
    latents: &dyn Latents,
    seed: u64,
    rows: usize,
    steps: usize,
    class: Option<u32>,
    device: &Device,
) -> Vec<u8> {
    assert!(steps >= 2, "a walk has two ends, not {steps}");
    let parts = latents.parts();
    let (mut walks, mut classes) = (Vec::new(), Vec::new());
    for row in 0..rows as u64 {
        let end = |number| latent(latents, seed, 2 * row + number, device);
        walks.extend(walk(&parts, &end(0), &end(1), steps));
        classes.extend(vec![class_of(latents, class, row); steps]);
    }
    decode_as(latents, &walks, &classes, device)
}

/// Decodes interpolations of `steps` images from each of `stops`, latents such as those of one's own images, to the next: a row less than
/// there are stops. All images are of `class`, for a model that is conditioned on classes.
///
/// # Panics
///
/// When `steps` or the number of stops is below 2, latents have another length than the model's, or the model knows no such class.
pub fn interpolate_along(
    latents: &dyn Latents,
    stops: &Rows,
    steps: usize,
    class: Option<u32>,
    device: &Device,
) -> Vec<u8> {
    assert!(steps >= 2 && stops.len() >= 2, "a walk of {steps} steps along {} stops", stops.len());
    assert_eq!(stops.dims(), latents.latent_dim(), "latents of another length");
    let parts = latents.parts();
    let row = |stop: usize| walk(&parts, stops.row(stop), stops.row(stop + 1), steps);
    let walks: Vec<Vec<f32>> = (0..stops.len() - 1).flat_map(row).collect();
    decode_as(latents, &walks, &vec![class; walks.len()], device)
}

/// `steps` latents from one to another, both included.
fn walk(parts: &[LatentPart], from: &[f32], to: &[f32], steps: usize) -> Vec<Vec<f32>> {
    (0..steps).map(|step| between(parts, from, to, step as f32 / (steps - 1) as f32)).collect()
}

/// A latent between two others, each part interpolated as its prior requires.
fn between(parts: &[LatentPart], from: &[f32], to: &[f32], place: f32) -> Vec<f32> {
    let mut first = 0;
    let mut latent = Vec::with_capacity(from.len());
    for part in parts {
        let range = first..first + part.size;
        first = range.end;
        latent.extend(match part.prior {
            Prior::Normal => along_circle(&from[range.clone()], &to[range], place),
            Prior::Uniform | Prior::Categorical | Prior::Learned => {
                along_line(&from[range.clone()], &to[range], place)
            }
        });
    }
    latent
}

fn along_line(from: &[f32], to: &[f32], part: f32) -> Vec<f32> {
    from.iter().zip(to).map(|(a, b)| a + part * (b - a)).collect()
}

/// Spherical interpolation (Shoemake 1985); linear when the directions are equal or opposite.
fn along_circle(from: &[f32], to: &[f32], part: f32) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let cosine = dot(from, to) / (dot(from, from) * dot(to, to)).sqrt().max(f32::MIN_POSITIVE);
    let angle = cosine.clamp(-1.0, 1.0).acos();
    if angle.sin() < 1e-4 {
        return along_line(from, to, part);
    }
    let (a, b) = (((1.0 - part) * angle).sin() / angle.sin(), (part * angle).sin() / angle.sin());
    from.iter().zip(to).map(|(x, y)| a * x + b * y).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::to_bytes;
    use crate::testing::LinearLatents;

    #[test]
    fn a_walk_leads_from_stop_to_stop() {
        let (model, device) = (LinearLatents::normal(3, 4), Device::flex());
        let latents: &dyn Latents = &model;
        let stops = Rows::of_tensor(latents.draw(5, 0..3, &device));
        let images = interpolate_along(latents, &stops, 4, None, &device);
        assert_eq!(images.len(), 2 * 4 * 4, "two rows of four images of four values");
        let decoded = to_bytes(latents.decode(stops.tensor(), &[None; 3]));
        let image = |at: usize| &images[4 * at..4 * at + 4];
        let stop = |at: usize| &decoded[4 * at..4 * at + 4];
        for (at, number) in [(0, 0), (3, 1), (4, 1), (7, 2)] {
            assert!(image(at).iter().zip(stop(number)).all(|(a, b)| a.abs_diff(*b) <= 1), "{at} {number}");
        }
    }

    #[test]
    fn walks_start_and_end_at_their_ends_and_keep_their_length() {
        let (from, to) = ([3.0, 0.0, 4.0], [0.0, 5.0, 0.0]);
        for walk in [along_circle, along_line] {
            let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-5);
            assert!(near(&walk(&from, &to, 0.0), &from) && near(&walk(&from, &to, 1.0), &to));
        }
        let middle = along_circle(&from, &to, 0.5);
        let length = middle.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((length - 5.0).abs() < 1e-4, "{length}");
    }
}
