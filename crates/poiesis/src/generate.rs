//! Writing sequences value by value from their laws: what sampling, completing and going on share.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use crate::capability::{Code, Reader};
use crate::data::ImageShape;
use crate::rng::{self, Generator};

/// How a value is chosen from its law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// What log-probabilities are divided by: below 1 the likely becomes likelier, 0 always takes the likeliest.
    pub temperature: f64,
    /// Only that many of the likeliest values are taken (Fan et al. 2018); 0 takes all.
    pub top_k: usize,
    /// Only the fewest likeliest values that together have this probability are taken (Holtzman et al. 2019); 1 takes all.
    pub top_p: f64,
}

impl Default for Choice {
    /// The law as it is.
    fn default() -> Choice {
        Choice { temperature: 1.0, top_k: 0, top_p: 1.0 }
    }
}

impl Choice {
    /// Chooses from `law`, log-probabilities that need not add up to one, with a number `u` drawn uniformly from [0, 1).
    ///
    /// # Panics
    ///
    /// When `law` is empty.
    pub fn choose(&self, law: &[f32], u: f64) -> u32 {
        let best = law.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let likeliest = || law.iter().position(|&l| l == best).unwrap_or(0) as u32;
        if self.temperature == 0.0 {
            return likeliest();
        }
        let weight = |&l: &f32| (f64::from(l - best) / self.temperature).exp();
        let mut weights: Vec<f64> = law.iter().map(weight).collect();
        if self.top_k > 0 || self.top_p < 1.0 {
            self.cut(&mut weights);
        }
        let mut left = u * weights.iter().sum::<f64>();
        for (value, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return value as u32;
            }
        }
        // Rounding left something over; the last value that can be taken has it.
        weights.iter().rposition(|&weight| weight > 0.0).map_or_else(likeliest, |value| value as u32)
    }

    /// Sets to zero what is not among the likeliest; of equally likely values the first stay.
    fn cut(&self, weights: &mut [f64]) {
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
        let total: f64 = weights.iter().sum();
        let mut before = 0.0;
        for (rank, &value) in order.iter().enumerate() {
            let out_of_k = self.top_k > 0 && rank >= self.top_k;
            let out_of_p = rank > 0 && before >= self.top_p * total;
            before += weights[value];
            if out_of_k || out_of_p {
                weights[value] = 0.0;
            }
        }
    }
}

/// Writes sequences side by side. Value *t* of sequence *i* depends on `(seed, i, t)` and the values before it alone.
pub struct Writer<'a> {
    reader: Box<dyn Reader + 'a>,
    generators: Vec<Generator>,
    alphabet: usize,
    choice: Choice,
}

impl<'a> Writer<'a> {
    /// Begins the sequences numbered `indices` of those that `seed` starts, one for each of `classes`.
    ///
    /// # Panics
    ///
    /// When there is not one class for each sequence.
    pub fn new(
        code: &'a dyn Code,
        seed: u64,
        indices: Range<u64>,
        classes: &[Option<u32>],
        choice: Choice,
    ) -> Writer<'a> {
        let count = (indices.end - indices.start) as usize;
        assert_eq!(classes.len(), count, "{} classes for {count} sequences", classes.len());
        let generators = indices.map(|index| rng::generator(seed, "value", index)).collect();
        Writer { reader: code.reader(classes), generators, alphabet: code.alphabet(), choice }
    }

    /// Writes the next value of each sequence: the known one, or one that is drawn. A known value uses up its draw.
    ///
    /// # Panics
    ///
    /// When there is not one entry of `known` for each sequence.
    pub fn next(&mut self, known: &[Option<u32>]) -> Vec<u32> {
        assert_eq!(known.len(), self.generators.len(), "known values for another number of sequences");
        let laws = self.reader.laws().chunks_exact(self.alphabet);
        let draws = self.generators.iter_mut().zip(laws).zip(known);
        let values = draws.map(|((generator, law), known)| {
            let u = rng::unit_f64(generator);
            known.unwrap_or_else(|| self.choice.choose(law, u))
        });
        let values: Vec<u32> = values.collect();
        self.reader.push(&values);
        values
    }

    /// Takes values that all sequences have, without draws.
    pub fn read(&mut self, values: &[u32]) {
        for &value in values {
            self.reader.push(&vec![value; self.generators.len()]);
        }
    }
}

/// Draws the images numbered `indices` of those that `seed` starts, of the classes `0..classes` in turn where there are
/// classes: `[indices, height, width, channels]` in [-1, 1], over which the values of the alphabet are spread evenly.
pub fn images(
    code: &dyn Code,
    shape: ImageShape,
    classes: usize,
    seed: u64,
    indices: Range<u64>,
    device: &Device,
) -> Tensor<4> {
    let ImageShape { height, width, channels } = shape;
    let class = |index: u64| (classes > 0).then(|| (index % classes as u64) as u32);
    let of_each: Vec<Option<u32>> = indices.clone().map(class).collect();
    let (count, unknown) = (of_each.len(), vec![None; of_each.len()]);
    let mut writer = Writer::new(code, seed, indices, &of_each, Choice::default());
    let brightness = |value: u32| 2.0 * value as f32 / (code.alphabet() - 1) as f32 - 1.0;
    let mut numbers = vec![0.0; count * shape.dims()];
    for place in 0..shape.dims() {
        for (image, value) in writer.next(&unknown).into_iter().enumerate() {
            numbers[image * shape.dims() + place] = brightness(value);
        }
    }
    Tensor::from_data(TensorData::new(numbers, [count, height, width, channels]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each value is chosen over evenly spread draws.
    fn frequencies(choice: Choice, law: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; law.len()];
        for i in 0..10_000 {
            counts[choice.choose(law, (f64::from(i) + 0.5) / 1e4) as usize] += 1e-4;
        }
        counts
    }

    #[test]
    fn values_come_as_often_as_their_law_says() {
        let law = [0.5f32.ln(), 0.125f32.ln(), 0.25f32.ln(), 0.125f32.ln()];
        let near = |choice, expected: [f64; 4]| {
            let found = frequencies(choice, &law);
            let distance = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(distance < 2e-4, "{choice:?}: {found:?}");
        };
        let all = Choice::default();
        near(all, [0.5, 0.125, 0.25, 0.125]);
        near(Choice { temperature: 0.0, ..all }, [1.0, 0.0, 0.0, 0.0]);
        let (a, b, c) = (0.25, 1.0 / 64.0, 1.0 / 16.0);
        let sum = a + 2.0 * b + c;
        near(Choice { temperature: 0.5, ..all }, [a / sum, b / sum, c / sum, b / sum]);
        near(Choice { top_k: 2, ..all }, [2.0 / 3.0, 0.0, 1.0 / 3.0, 0.0]);
        near(Choice { top_p: 0.6, ..all }, [2.0 / 3.0, 0.0, 1.0 / 3.0, 0.0]);
        near(Choice { top_p: 0.5, ..all }, [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn impossible_values_are_never_chosen() {
        let law = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY];
        assert_eq!(
            frequencies(Choice::default(), &law),
            [0.0, frequencies(Choice::default(), &[0.0])[0], 0.0]
        );
    }
}
