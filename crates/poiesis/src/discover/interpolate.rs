//! Interpolation between latents. Images that change smoothly mean that the model has learned features, not examples.

use burn::tensor::Device;

use super::{class_of, decode_as, latent};
use crate::abilities::{LatentPart, Latents, Prior};

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
        let (from, to) = (end(0), end(1));
        for step in 0..steps {
            walks.push(between(&parts, &from, &to, step as f32 / (steps - 1) as f32));
            classes.push(class_of(latents, class, row));
        }
    }
    decode_as(latents, &walks, &classes, device)
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
