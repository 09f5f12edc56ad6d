//! What a trained model can do: draw scenes, show them object by object, and find the objects of images.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor};

use super::network::WHERE;
use super::{Air, AirConfig, Noise};
use crate::abilities::{Accepts, Bounds, Draws, Objects, OnStep, Sampler, Steps};
use crate::data::ImageShape;
use crate::nn::flatten;

impl Air {
    /// The canvas after each object that the prior of the model draws, `[count, values]` in [-1, 1].
    fn canvases(&self, draws: &Draws<'_>) -> Vec<Tensor<2>> {
        let AirConfig { max_objects, what_dim, presence, .. } = self.config;
        let (count, ImageShape { height, width, channels }) = (draws.count(), self.shape);
        let uniform = draws.uniform("presence", max_objects);
        let (places, whats) =
            (draws.normal("place", max_objects * WHERE), draws.normal("what", max_objects * what_dim));
        let mut there = Tensor::<1>::ones([count], draws.device);
        let mut canvas = Tensor::<4>::zeros([count, height, width, channels], draws.device);
        let mut all = Vec::with_capacity(max_objects);
        for i in 0..max_objects {
            there = there * uniform.clone().narrow(1, i, 1).reshape([count]).lower_elem(presence).float();
            let place = places.clone().narrow(1, i * WHERE, WHERE);
            canvas = canvas + self.add(&place, whats.clone().narrow(1, i * what_dim, what_dim), &there);
            all.push(flatten(canvas.clone()).clamp(0.0, 1.0) * 2.0 - 1.0);
        }
        all
    }

    /// The noise under which each latent is at its mean, and an object is there where that is likelier than not.
    fn no_noise(&self, batch: usize, device: &Device) -> Noise {
        let AirConfig { max_objects, what_dim, .. } = self.config;
        Noise {
            presence: Tensor::full([batch, max_objects], 0.5, device),
            place: Tensor::zeros([batch, max_objects * WHERE], device),
            what: Tensor::zeros([batch, max_objects * what_dim], device),
        }
    }
}

impl Sampler for Air {
    fn accepts(&self) -> Accepts {
        Accepts::default()
    }

    fn sample(&self, draws: &Draws<'_>, _on_step: &mut OnStep<'_>) -> ControlFlow<(), Tensor<2>> {
        ControlFlow::Continue(self.canvases(draws).pop().expect("there is a step"))
    }
}

impl Steps for Air {
    /// The scenes after each object.
    fn steps(&self, draws: &Draws<'_>) -> Vec<Tensor<2>> {
        self.canvases(draws)
    }
}

impl Objects for Air {
    /// A box around what each object draws, for the objects that are likelier there than not.
    fn find(&self, images: Tensor<4>) -> Vec<Vec<Bounds>> {
        let (batch, device) = (images.dims()[0], images.device());
        let (found, _) = self.infer(&((images + 1.0) * 0.5), &self.no_noise(batch, &device));
        let mut all = vec![Vec::new(); batch];
        for step in found {
            let drawn = self.draw_alone(&step.drawn_place, step.what.mean);
            let drawn: Vec<f32> = drawn.into_data().iter::<f32>().collect();
            let presence: Vec<f32> = step.presence.into_data().iter::<f32>().collect();
            let images = drawn.chunks_exact(self.shape.dims()).zip(presence).zip(&mut all);
            for ((drawn, _), bounds) in images.filter(|((_, presence), _)| *presence > 0.5) {
                bounds.push(bright_bounds(drawn, self.shape));
            }
        }
        all
    }
}

/// The box around the pixels of an image that are at least half as bright as its brightest one.
fn bright_bounds(image: &[f32], ImageShape { height, width, channels }: ImageShape) -> Bounds {
    let half = image.iter().fold(0.0, |most: f32, &value| most.max(value)) / 2.0;
    let bright = |row: usize, column: usize| {
        let start = (row * width + column) * channels;
        image[start..start + channels].iter().any(|&value| value >= half)
    };
    let along = |length: usize, has: &dyn Fn(usize) -> bool| {
        let first = (0..length).find(|&at| has(at)).unwrap_or(0);
        let end = (0..length).rfind(|&at| has(at)).map_or(length, |last| last + 1);
        [first, end - first].map(|pixels| pixels as f32 / length as f32)
    };
    let [top, down] = along(height, &|row| (0..width).any(|column| bright(row, column)));
    let [left, across] = along(width, &|column| (0..height).any(|row| bright(row, column)));
    Bounds { left, top, width: across, height: down }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_holds_what_is_at_least_half_as_bright_as_the_brightest() {
        let shape = ImageShape { height: 4, width: 5, channels: 2 };
        let mut image = vec![0.0; 40];
        for (row, column, value) in [(1, 2, 0.8), (2, 3, 0.4), (3, 4, 0.39)] {
            image[(row * 5 + column) * 2 + 1] = value;
        }
        assert_eq!(bright_bounds(&image, shape), Bounds::from([0.4, 0.25, 0.4, 0.5]));
        // Nothing is drawn: the whole image.
        assert_eq!(bright_bounds(&[0.0; 40], shape), Bounds::from([0.0, 0.0, 1.0, 1.0]));
    }
}
