//! Uniform and normal noise.

use poiesis_kernels::{normal, uniform};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::common::{assert_same_for_any_threads, autodiff_device, flex_device, normal_distribution, values};

const KEY: [u8; 32] = *b"some key of thirty-two bytes ...";

fn words(len: usize, stream: u64) -> Vec<u32> {
    let mut generator = ChaCha8Rng::from_seed(KEY);
    generator.set_stream(stream);
    (0..len).map(|_| generator.next_u32()).collect()
}

#[test]
fn uniform_takes_the_stream_word_by_word() {
    for len in [0, 1, 31, 33, 100_003] {
        let got = values(uniform([len], &KEY, 7, &flex_device()));
        let expected: Vec<f32> =
            words(len, 7).into_iter().map(|word| (word >> 8) as f32 / 16_777_216.0).collect();
        assert!(got == expected, "{len}");
    }
}

#[test]
fn normal_is_box_and_muller_of_fixed_words() {
    let len = 320_000;
    let (words, got) = (words(len, 3), values(normal([len], &KEY, 3, &flex_device())));
    for (words, got) in words.chunks_exact(32).zip(got.chunks_exact(32)) {
        for i in 0..16 {
            let uniform = (f64::from(words[i]) + 0.5) / 2f64.powi(32);
            let radius = (-2.0 * uniform.ln()).sqrt();
            let angle = f64::from(words[i + 16]) / 2f64.powi(32) * std::f64::consts::TAU;
            // Close to a radius of 0, where u is rounded to 24 bits, only the absolute error is small.
            let tolerance = 1e-6 * radius + 1e-4 * 1e-3 / (radius + 1e-3);
            assert!((f64::from(got[i]) - radius * angle.cos()).abs() < tolerance);
            assert!((f64::from(got[i + 16]) - radius * angle.sin()).abs() < tolerance);
        }
    }
}

#[test]
fn prefixes_and_chunks_do_not_matter() {
    let all = values(normal([100_003], &KEY, 1, &flex_device()));
    for len in [0, 1, 17, 40, 65_537] {
        assert_eq!(values(normal([len], &KEY, 1, &flex_device())), all[..len]);
    }
    let square = normal([300, 100], &KEY, 1, &autodiff_device());
    assert_eq!(values(square), all[..30_000]);
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| {
        let device = flex_device();
        vec![values(normal([99_999], &KEY, 1, &device)), values(uniform([99_999], &KEY, 1, &device))]
    });
}

#[test]
fn keys_and_streams_give_other_numbers() {
    let first = |key, stream| values(normal([8], key, stream, &flex_device()));
    assert_ne!(first(&KEY, 0), first(&KEY, 1));
    assert_ne!(first(&KEY, 0), first(&[0; 32], 0));
}

#[test]
fn normal_has_the_moments_and_the_distribution() {
    let mut numbers = values(normal([1_000_000], &KEY, 5, &flex_device()));
    let n = numbers.len() as f64;
    // Each bound is 4.5 deviations of the moment of a million numbers.
    for (power, expected, deviation) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0f64)] {
        let moment = numbers.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / n;
        let bound = 4.5 * (deviation / n).sqrt();
        assert!((moment - expected).abs() < bound, "moment {power}: {moment}");
    }
    numbers.sort_by(f32::total_cmp);
    let mut distance = 0.0f64;
    for (i, &x) in numbers.iter().enumerate() {
        let exact = normal_distribution(f64::from(x));
        distance = distance.max((i as f64 / n - exact).abs()).max(((i + 1) as f64 / n - exact).abs());
    }
    // Kolmogorov and Smirnov's bound that one sample of a thousand exceeds.
    assert!(distance * n.sqrt() < 1.95, "{distance}");
    let beyond = numbers.iter().filter(|x| x.abs() > 4.0).count();
    // 63.3 are expected.
    assert!((32..96).contains(&beyond), "{beyond} of a million lie beyond 4");
}
