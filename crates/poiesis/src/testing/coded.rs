//! What every model that codes images by bits-back must satisfy, with any weights.

use std::f64::consts::LN_2;

use burn::tensor::{Device, Tensor, TensorData};

use crate::abilities::{BitsBack, Bound};
use crate::coding::bits_back;
use crate::data::ImageShape;
use crate::rng;

/// How far the size may be from the bound, as a part of it: the bound is the mean of a few draws of the latents.
const OF_BOUND: f64 = 0.01;

/// Images of all `num_classes` classes come back from their code words, which take the bound without the initial ones.
pub(crate) fn expect_coded<M: BitsBack + Bound>(model: &M, shape: ImageShape, num_classes: u32) {
    let (device, encoding) = (Device::flex(), BitsBack::encoding(model));
    // So many that the words of the state and the noise of single draws are small beside the rest.
    let count = (80_000 / shape.dims()).clamp(100, 1500);
    let classes: Vec<Option<u32>> = (0..count as u32).map(|i| i.checked_rem(num_classes)).collect();
    let mut generator = rng::generator(3, "test images", 0);
    // Lines of one level, and noise.
    let mut image = |index: usize| -> Vec<u32> {
        let levels = encoding.levels() as u64;
        let level = |at: usize, noise: u64| {
            let line = (at / shape.channels / shape.width + index).is_multiple_of(3);
            if line { levels - 1 - noise % levels.min(9) / 8 } else { noise % levels }
        };
        (0..shape.dims()).map(|at| level(at, rng::below(&mut generator, 256)) as u32).collect()
    };
    let images: Vec<Vec<u32>> = (0..count).map(&mut image).collect();
    let coded = bits_back::encode(model, shape, &images, &classes, &device, &mut |_| ()).unwrap();
    let words = (coded.words.as_slice(), coded.initial);
    let decoded = bits_back::decode(model, shape, &classes, words, &device, &mut |_| ());
    assert!(decoded.as_ref() == Some(&images), "other images came back");

    let values = images.iter().flatten().map(|&level| encoding.value(level)).collect();
    let dims = [count, shape.height, shape.width, shape.channels];
    let x = Tensor::from_data(TensorData::new(values, dims), &device);
    let numbers: Vec<u64> = (0..count as u64).collect();
    let weights = model.log_weights(x, &classes, 0, &numbers, 0..8);
    let bound: f64 = weights.log_w.iter().map(|log_w| -log_w.iter().sum::<f64>() / 8.0 / LN_2).sum();
    let taken = 32.0 * (coded.words.len() as f64 - coded.initial as f64);
    assert!((taken / bound - 1.0).abs() < OF_BOUND, "{taken} bits taken, {bound} by the bound");
    assert!((coded.bits / bound - 1.0).abs() < OF_BOUND, "{} bits told, {bound} by the bound", coded.bits);
    assert!(coded.initial > 0 && (coded.initial as usize) < coded.words.len());
}
