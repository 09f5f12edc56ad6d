//! Known transforms and lengths.

use poiesis_spectrum::{Complex, forward, resample};

#[test]
fn a_wave_has_one_frequency() {
    let wave = |i: usize| Complex::new((i as f64 / 64.0 * 5.0 * std::f64::consts::TAU).cos(), 0.0);
    let mut buffer: Vec<Complex<f64>> = (0..64).map(wave).collect();
    forward(64).process(&mut buffer);
    for (frequency, value) in buffer.iter().enumerate() {
        let expected = if matches!(frequency, 5 | 59) { 32.0 } else { 0.0 };
        assert!((value.norm() - expected).abs() < 1e-9, "{frequency}: {value}");
    }
}

#[test]
fn the_length_follows_the_rate_and_bad_input_is_refused() {
    let half = resample(vec![0.0; 8000], 2, 8000, 4000);
    assert!(half.is_ok_and(|samples| samples.len().abs_diff(4000) <= 2));
    assert!(resample(vec![0.0; 8], 0, 8000, 4000).is_err());
    assert!(resample(vec![0.0; 8], 1, 0, 4000).is_err());
}
