//! Tests of scores, their combination and their p-values, with models that can be computed by hand.

use burn::tensor::{Device, Tensor};

use super::*;
use crate::abilities::{Abilities, Features, ImageLikelihood, Likelihood};
use crate::data::{ImageShape, PixelEncoding};
use crate::evaluate::detection;

const SHAPE: ImageShape = ImageShape { height: 8, width: 8, channels: 1 };

/// Pixels are independent and normal around middle grey, as wide as those that it was fitted to. Its features are the pixels.
struct Independent {
    deviation: f64,
}

impl Independent {
    fn fit(pixels: &[u8]) -> Independent {
        let squares: f64 = pixels.iter().map(|&pixel| (f64::from(pixel) / 127.5 - 1.0).powi(2)).sum();
        Independent { deviation: (squares / pixels.len() as f64).sqrt() }
    }
}

impl ImageLikelihood for Independent {
    fn encoding(&self) -> PixelEncoding {
        PixelEncoding::EightBit
    }

    fn reads_classes(&self) -> bool {
        false
    }

    fn log_prob(&self, images: Tensor<4>, _classes: &[u32]) -> Vec<f64> {
        let values: Vec<f64> = images.into_data().iter::<f64>().collect();
        let log_prob = |x: &f64| -0.5 * (x / self.deviation).powi(2) - self.deviation.ln() - 0.92;
        values.chunks(SHAPE.dims()).map(|image| image.iter().map(log_prob).sum()).collect()
    }
}

impl Features for Independent {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let batch = images.dims()[0];
        images.reshape([batch, SHAPE.dims()])
    }
}

fn abilities(model: &Independent) -> Abilities<'_> {
    Abilities { likelihood: Some(Likelihood::Images(model)), features: Some(model), ..Abilities::default() }
}

/// Images with much in them: noise over the whole range.
fn busy(seed: u64, count: usize) -> Vec<u8> {
    let drawn = rng::uniform(&mut rng::generator(seed, "busy", 0), count * SHAPE.dims());
    drawn.into_iter().map(|x| (x * 256.0) as u8).collect()
}

/// Images of one grey level, near the middle one.
fn blank(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| vec![(118 + i % 20) as u8; SHAPE.dims()]).collect()
}

fn silent(_: crate::evaluate::Progress) {}

#[test]
fn simple_images_are_likelier_and_are_found_all_the_same() {
    let (train, device) = (busy(0, 300), Device::flex());
    let model = Independent::fit(&train);
    let all = Score::of(&abilities(&model), SHAPE);
    assert_eq!(all, [Score::Likelihood, Score::Complexity, Score::Neighbours]);
    let scorer = Scorer::new(abilities(&model), SHAPE, &device, &all, &train, 1, &mut silent);
    let measure = |pixels: &[u8]| scorer.measure(pixels, "test", &mut silent);
    let (usual, odd) = (measure(&busy(1, 200)), measure(&blank(100)));
    // The trap: each blank image has a lower −log p than each usual one, so by the likelihood it is the least odd.
    let alone = detection(&usual.values[0].1, &odd.values[0].1);
    assert_eq!(alone.auroc, 0.0);
    let detector = Detector::calibrate(&usual, 0.05, 1).unwrap();
    assert_eq!(detector.calibration_size(), 100);
    for row in detector.examine(&odd) {
        assert_eq!(row[0].score, Score::Combined);
        assert!(row[0].p <= 0.05, "{row:?}");
        let of = |score| row.iter().find(|found| found.score == score).unwrap();
        assert!(of(Score::Likelihood).p <= 0.05 && of(Score::Complexity).p <= 0.05, "{row:?}");
        // Blank images are in the middle of all others.
        assert!(of(Score::Neighbours).p > 0.05, "{row:?}");
    }
    // Usual images are rarely called odd: at most 5 of 100 expected, with a deviation of about 3.
    let alarms = detector.examine(&measure(&busy(2, 400))).iter().filter(|row| row[0].p <= 0.05).count();
    assert!((5..=35).contains(&alarms), "{alarms} of 400");
}

#[test]
fn p_values_of_the_combination_are_uniform_over_calibrations() {
    // Scores that hang together, one of them with many ties.
    let draw = |seed: u64, count: usize| {
        let x = rng::normal(&mut rng::generator(seed, "scores test", 0), 2 * count);
        let likelihood = (0..count).map(|i| f64::from(x[i])).collect();
        let neighbours = (0..count).map(|i| f64::from((x[i] + x[count + i]).round())).collect();
        Measures {
            numbers: (0..count as u64).map(|i| seed << 8 | i).collect(),
            values: vec![(Score::Likelihood, likelihood), (Score::Neighbours, neighbours)],
        }
    };
    let (trials, halves) = (2000, 20);
    let p_of = |seed: u64, place: usize| {
        let all = draw(seed, 2 * halves + 1);
        let usual = all.select(&(1..=2 * halves).collect::<Vec<_>>());
        Detector::calibrate(&usual, 0.05, seed).unwrap().examine(&all.select(&[0]))[0][place].p
    };
    for place in 0..3 {
        let found: Vec<f64> = (0..trials).map(|seed| p_of(seed, place)).collect();
        let distance = (1..=halves + 1)
            .map(|i| {
                let limit = i as f64 / (halves + 1) as f64;
                let share = found.iter().filter(|&&p| p <= limit + 1e-12).count() as f64;
                (share / trials as f64 - limit).abs()
            })
            .fold(0.0, f64::max);
        // Kolmogorov's distance of 2,000 uniform numbers is larger once in 10,000 times.
        assert!(distance < 0.0498, "{place}: {distance}");
    }
}

#[test]
fn too_few_usual_images_are_refused() {
    let measures = |count: usize| Measures {
        numbers: (0..count as u64).collect(),
        values: vec![(Score::Neighbours, (0..count).map(|i| i as f64).collect())],
    };
    let error = Detector::calibrate(&measures(37), 0.05, 0).unwrap_err().to_string();
    assert!(error.contains("alpha") && error.contains("37") && error.contains("38"), "{error}");
    let detector = Detector::calibrate(&measures(38), 0.05, 0).unwrap();
    // With a single score there is nothing to combine.
    let found =
        detector.examine(&Measures { numbers: vec![99], values: vec![(Score::Neighbours, vec![1e9])] });
    assert_eq!((found[0].len(), found[0][0].score, found[0][0].p), (1, Score::Neighbours, 0.05));
}

#[test]
fn an_image_has_the_same_measures_whatever_is_beside_it() {
    let (train, device) = (busy(0, 80), Device::flex());
    let model = Independent::fit(&train);
    let all = Score::of(&abilities(&model), SHAPE);
    let scorer = Scorer::new(abilities(&model), SHAPE, &device, &all, &train, 1, &mut silent);
    let images = busy(5, 120);
    let together = scorer.measure(&images, "test", &mut silent);
    let alone = scorer.measure(&images[70 * 64..71 * 64], "test", &mut silent);
    assert_eq!(together.select(&[70]), alone);
    assert_eq!(Score::parse("knn").unwrap_err().to_string(), "there is no score called `knn`");
}
