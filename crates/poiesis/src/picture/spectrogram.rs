//! Pictures of sound: the waveform over time, and below it the spectrogram.

use std::sync::Arc;

use poiesis_spectrum::{Complex, Fft};

use super::Picture;

/// Width of the plots, and height of each, in pixels.
const WIDTH: usize = 512;
const WAVE: usize = 64;
const SPECTRUM: usize = 128;
/// Room for the marks of the axes, on the left and below, and between and around the plots.
const LEFT: usize = 46;
const BELOW: usize = 20;
const GAP: usize = 6;

const GROUND: [u8; 3] = [16, 16, 20];
const AXIS: [u8; 3] = [72, 72, 80];
const INK: [u8; 3] = [168, 168, 176];
const WAVEFORM: [u8; 3] = [110, 190, 230];

/// Length of a window of the spectrogram in seconds, rounded to a power of two of samples: long enough to resolve the
/// overtones of a voice, short enough to resolve its syllables.
const WINDOW: f64 = 0.032;
/// Range of the colours in decibels, down from the strongest part of the spectrogram.
const RANGE: f64 = 70.0;

/// Returns a picture of one channel of sound: the waveform, scaled to its peak, and the spectrogram from 0 to half the
/// sample rate, both over time. All such pictures have the same size, so they fit into a [`grid`](super::grid()).
///
/// The axes show the peak in decibels of full scale, kHz, and seconds. The colours span 70 dB, down from the strongest part
/// of the spectrogram.
///
/// # Shapes
/// `samples`: `[time]`, 16 bits, full scale ±32,768; `rate` in Hz. Without samples the plots are empty.
///
/// # Panics
/// When `rate` is 0.
pub fn waveform_and_spectrogram(samples: &[i16], rate: u32) -> Picture {
    assert!(rate > 0, "sound has a sample rate");
    let (width, height) = (LEFT + WIDTH + GAP, GAP + WAVE + GAP + SPECTRUM + BELOW);
    let mut canvas = Canvas { data: GROUND.repeat(width * height), width, height };
    let spectrum_top = GAP + WAVE + GAP;
    draw_waveform(&mut canvas, samples);
    if !samples.is_empty() {
        draw_spectrum(&mut canvas, &power(samples, rate), spectrum_top);
    }
    mark_frequencies(&mut canvas, rate, spectrum_top);
    mark_times(&mut canvas, samples.len() as f64 / f64::from(rate), spectrum_top + SPECTRUM);
    Picture::new(width, height, 3, canvas.data)
}

/// Each column of the waveform ranges from the smallest to the largest sample.
fn draw_waveform(canvas: &mut Canvas, samples: &[i16]) {
    let middle = GAP + WAVE / 2;
    canvas.fill(LEFT, middle, WIDTH, 1, AXIS);
    let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    if peak == 0 {
        return canvas.text_before(LEFT - 4, GAP, "0");
    }
    let row = |sample: i16| {
        let up = f64::from(sample) / f64::from(peak) * (WAVE / 2 - 1) as f64;
        (middle as f64 - up).round() as usize
    };
    for column in 0..WIDTH {
        let part = &samples[part(samples.len(), column)];
        let (Some(&low), Some(&high)) = (part.iter().min(), part.iter().max()) else { continue };
        canvas.fill(LEFT + column, row(high), 1, row(low) - row(high) + 1, WAVEFORM);
    }
    let decibels = 20.0 * (f64::from(peak) / 32_768.0).log10();
    canvas.text_before(LEFT - 4, GAP, &format!("{:.0}dB", decibels.round() + 0.0));
}

/// The samples of a column; at least one.
fn part(count: usize, column: usize) -> std::ops::Range<usize> {
    let start = (column * count / WIDTH).min(count.saturating_sub(1));
    start..((column + 1) * count / WIDTH).clamp(start + 1, count.max(start + 1)).min(count)
}

/// The power at each row of frequencies (from 0 up) of each column.
fn power(samples: &[i16], rate: u32) -> Vec<[f64; SPECTRUM]> {
    let size = ((f64::from(rate) * WINDOW) as usize).next_power_of_two().max(2 * SPECTRUM);
    let fft = poiesis_spectrum::forward(size);
    let hann: Vec<f64> =
        (0..size).map(|i| 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / size as f64).cos()).collect();
    let column = |column| {
        let part = part(samples.len(), column);
        // Enough windows, overlapping by half, to cover every sample; a long recording is sampled at some moments.
        let windows = part.len().div_ceil(size / 2).clamp(1, 8);
        let mut rows = [0.0; SPECTRUM];
        for window in 0..windows {
            let middle = part.start + (2 * window + 1) * part.len() / (2 * windows);
            add_window(&mut rows, samples, middle, &hann, &fft);
        }
        rows.map(|power| power / windows as f64)
    };
    (0..WIDTH).map(column).collect()
}

/// Adds the spectrum around one moment.
fn add_window(
    rows: &mut [f64; SPECTRUM],
    samples: &[i16],
    middle: usize,
    hann: &[f64],
    fft: &Arc<dyn Fft<f64>>,
) {
    let size = hann.len();
    // Silence beyond the ends.
    let sample = |i: usize| (middle + i).checked_sub(size / 2).and_then(|at| samples.get(at));
    let mut bins: Vec<Complex<f64>> = hann
        .iter()
        .enumerate()
        .map(|(i, weight)| Complex::new(sample(i).map_or(0.0, |&s| f64::from(s)) * weight, 0.0))
        .collect();
    fft.process(&mut bins);
    let per_row = size / 2 / SPECTRUM;
    for (row, bins) in rows.iter_mut().zip(bins.chunks_exact(per_row)) {
        *row += bins.iter().map(Complex::norm_sqr).fold(0.0, f64::max);
    }
}

fn draw_spectrum(canvas: &mut Canvas, columns: &[[f64; SPECTRUM]], top: usize) {
    let strongest = columns.iter().flatten().fold(0.0, |most: f64, &power| most.max(power));
    for (x, rows) in columns.iter().enumerate() {
        for (row, &power) in rows.iter().enumerate() {
            let decibels = if power > 0.0 { 10.0 * (power / strongest).log10() } else { -RANGE };
            let strength = (1.0 + decibels / RANGE).clamp(0.0, 1.0);
            canvas.fill(LEFT + x, top + SPECTRUM - 1 - row, 1, 1, heat(strength));
        }
    }
}

/// A colour map of rising lightness, from black through violet and orange to pale yellow, for a strength from 0 to 1. RGB.
pub fn heat(strength: f64) -> [u8; 3] {
    const STOPS: [u32; 6] = [0x06_05_0e, 0x34_10_5c, 0x7c_1e_7a, 0xce_42_5e, 0xfa_92_56, 0xfc_fa_c4];
    let place = strength * (STOPS.len() - 1) as f64;
    let below = (place as usize).min(STOPS.len() - 2);
    let share = place - below as f64;
    let channel = |stop: u32, i: usize| f64::from(stop >> (16 - 8 * i) & 255);
    std::array::from_fn(|i| {
        (channel(STOPS[below], i) * (1.0 - share) + channel(STOPS[below + 1], i) * share).round() as u8
    })
}

fn mark_frequencies(canvas: &mut Canvas, rate: u32, top: usize) {
    let highest = f64::from(rate) / 2000.0;
    let step = step(highest, 5.0);
    for mark in marks(highest, step) {
        let y = top + SPECTRUM - 1 - ((mark / highest) * (SPECTRUM - 1) as f64).round() as usize;
        canvas.fill(LEFT - 3, y, 3, 1, AXIS);
        let unit = if mark + step > highest { "k" } else { "" };
        canvas.text_before(
            LEFT - 5,
            y.saturating_sub(LETTER / 2).max(top),
            &format!("{}{unit}", short(mark, step)),
        );
    }
}

fn mark_times(canvas: &mut Canvas, seconds: f64, bottom: usize) {
    canvas.fill(LEFT, bottom, WIDTH, 1, AXIS);
    if seconds <= 0.0 {
        return;
    }
    let step = step(seconds, 8.0);
    for mark in marks(seconds, step) {
        let x = LEFT + ((mark / seconds) * (WIDTH - 1) as f64).round() as usize;
        canvas.fill(x, bottom, 1, 4, AXIS);
        canvas.text_around(x, bottom + 6, &format!("{}s", short(mark, step)));
    }
}

/// The ticks of an axis from 0 to `end`.
fn marks(end: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..).map(move |i| f64::from(i) * step).take_while(move |mark| *mark <= end * (1.0 + 1e-9))
}

/// A distance of 1, 2 or 5 times a power of ten that gives about `wanted` ticks.
fn step(end: f64, wanted: f64) -> f64 {
    let least = end / wanted;
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= least).unwrap_or(least)
}

/// The label of a tick, with as many decimals as the step has.
fn short(mark: f64, step: f64) -> String {
    let decimals = (-step.log10()).ceil().max(0.0) as usize;
    format!("{mark:.decimals$}")
}

/// Height of a letter in pixels; its width is 3/5 of that.
const LETTER: usize = 5 * DOT;
/// Size of a dot in pixels.
const DOT: usize = 2;

/// An RGB picture being drawn.
struct Canvas {
    data: Vec<u8>,
    width: usize,
    height: usize,
}

impl Canvas {
    /// Fills the part of a rectangle that is inside.
    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, color: [u8; 3]) {
        for y in y..(y + height).min(self.height) {
            for x in x..(x + width).min(self.width) {
                let start = (y * self.width + x) * 3;
                self.data[start..start + 3].copy_from_slice(&color);
            }
        }
    }

    /// Writes text that ends at `right`.
    fn text_before(&mut self, right: usize, top: usize, text: &str) {
        self.text(right.saturating_sub(text_width(text)), top, text);
    }

    /// Writes text centred at `middle`, as far as there is room.
    fn text_around(&mut self, middle: usize, top: usize, text: &str) {
        let wide = text_width(text);
        let left = middle.saturating_sub(wide / 2).min(self.width.saturating_sub(wide + 1));
        self.text(left, top, text);
    }

    fn text(&mut self, left: usize, top: usize, text: &str) {
        for (place, letter) in text.chars().enumerate() {
            for (row, dots) in dots(letter).into_iter().enumerate() {
                for column in (0..3).filter(|column| dots >> (2 - column) & 1 == 1) {
                    let x = left + (place * 4 + column) * DOT;
                    self.fill(x, top + row * DOT, DOT, DOT, INK);
                }
            }
        }
    }
}

fn text_width(text: &str) -> usize {
    (text.chars().count() * 4).saturating_sub(1) * DOT
}

/// A letter of three by five dots, with one number per row.
fn dots(letter: char) -> [u8; 5] {
    match letter {
        '0' => [7, 5, 5, 5, 7],
        '1' => [2, 6, 2, 2, 7],
        '2' => [7, 1, 7, 4, 7],
        '3' => [7, 1, 3, 1, 7],
        '4' => [5, 5, 7, 1, 1],
        '5' => [7, 4, 7, 1, 7],
        '6' => [7, 4, 7, 5, 7],
        '7' => [7, 1, 1, 2, 2],
        '8' => [7, 5, 7, 5, 7],
        '9' => [7, 5, 7, 1, 7],
        '.' => [0, 0, 0, 0, 2],
        '-' => [0, 0, 7, 0, 0],
        's' => [0, 7, 6, 3, 7],
        'k' => [4, 5, 6, 6, 5],
        'd' => [1, 1, 7, 5, 7],
        'B' => [6, 5, 6, 5, 6],
        _ => [0; 5],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: usize = GAP + WAVE + GAP;

    fn tone(rate: u32, seconds: f64, hertz: impl Fn(f64) -> f64) -> Vec<i16> {
        let mut phase = 0.0;
        let mut sample = |i: usize| {
            phase += std::f64::consts::TAU * hertz(i as f64 / f64::from(rate)) / f64::from(rate);
            (phase.sin() * 12_000.0) as i16
        };
        (0..(f64::from(rate) * seconds) as usize).map(&mut sample).collect()
    }

    /// The row of the spectrogram that is brightest in a column, as a frequency.
    fn brightest(picture: &Picture, column: usize, rate: u32) -> f64 {
        let light = |y: &usize| -> u32 {
            picture.pixel(LEFT + column, *y).iter().map(|&channel| u32::from(channel)).sum()
        };
        let y = (TOP..TOP + SPECTRUM).max_by_key(light).unwrap();
        (TOP + SPECTRUM - 1 - y) as f64 / SPECTRUM as f64 * f64::from(rate) / 2.0
    }

    #[test]
    fn a_tone_is_a_line_at_its_frequency() {
        for rate in [8_000, 16_000, 44_100] {
            let picture = waveform_and_spectrogram(&tone(rate, 1.0, |_| 1_500.0), rate);
            let row = f64::from(rate) / 2.0 / SPECTRUM as f64;
            for column in [50, 250, 450] {
                let found = brightest(&picture, column, rate);
                assert!((found - 1_500.0).abs() <= row, "{found} Hz at {rate} Hz");
            }
        }
    }

    #[test]
    fn a_rising_tone_rises_and_silence_is_dark() {
        let mut samples = tone(8_000, 1.0, |time| 500.0 + 2_500.0 * time);
        samples.extend([0; 8_000]);
        let picture = waveform_and_spectrogram(&samples, 8_000);
        let heard: Vec<f64> = [30, 120, 220].map(|column| brightest(&picture, column, 8_000)).to_vec();
        assert!(heard.is_sorted() && heard[2] - heard[0] > 1_500.0, "{heard:?}");
        let silent = (TOP..TOP + SPECTRUM).all(|y| picture.pixel(LEFT + 400, y) == heat(0.0));
        assert!(silent, "nothing is heard in the second half");
        assert_eq!(picture.pixel(LEFT + 400, GAP + 4), GROUND, "and nothing moves");
    }

    #[test]
    fn all_pictures_have_one_size_and_any_length_is_drawn() {
        for count in [0, 1, 2, 100, 511, 512, 513, 1_000_000] {
            let samples: Vec<i16> = (0..count).map(|i| (i % 251) as i16 - 125).collect();
            let picture = waveform_and_spectrogram(&samples, 8_000);
            assert_eq!((picture.width(), picture.height(), picture.channels()), (564, 224, 3), "{count}");
        }
        waveform_and_spectrogram(&[i16::MIN; 600], 384_000);
        waveform_and_spectrogram(&[0; 600], 1);
    }

    #[test]
    fn every_sample_is_in_a_column() {
        for count in [1, 2, 100, 512, 700, 12_345] {
            let parts: Vec<_> = (0..WIDTH).map(|column| part(count, column)).collect();
            assert_eq!((parts[0].start, parts[WIDTH - 1].end), (0, count));
            assert!(parts.iter().all(|part| !part.is_empty() && part.end <= count), "{count}");
            assert!(parts.windows(2).all(|pair| pair[1].start <= pair[0].end), "{count}");
        }
    }

    #[test]
    fn marks_are_round_numbers() {
        let texts = |end: f64, wanted| -> Vec<String> {
            let step = step(end, wanted);
            marks(end, step).map(|mark| short(mark, step)).collect()
        };
        assert_eq!(texts(4.0, 5.0), ["0", "1", "2", "3", "4"]);
        assert_eq!(texts(0.43, 8.0), ["0.0", "0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(texts(22.05, 5.0), ["0", "5", "10", "15", "20"]);
    }
}
