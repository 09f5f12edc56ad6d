//! Random numbers: ChaCha8 keyed by seed and purpose, as everywhere in Poiesis.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The generator of every random number in this crate.
pub(crate) type Generator = ChaCha8Rng;

fn generator(seed: u64, purpose: &[u8], stream: u64) -> Generator {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..8 + purpose.len()].copy_from_slice(purpose);
    let mut generator = ChaCha8Rng::from_seed(key);
    generator.set_stream(stream);
    generator
}

/// The generator for the start of an episode.
pub(crate) fn start(seed: u64) -> Generator {
    generator(seed, b"start", 0)
}

/// The seed of an episode of one of several environments: a function of the seed of the run, the index of the environment and
/// the number of the episode, all from 0. [`Vectorized`](crate::Vectorized) uses it.
pub fn episode_seed(run: u64, environment: usize, episode: u64) -> u64 {
    let mut generator = generator(run, b"episode", environment as u64);
    generator.set_word_pos(2 * u128::from(episode));
    generator.next_u64()
}

/// A number uniform in `[low, high)`.
pub(crate) fn uniform(generator: &mut Generator, low: f64, high: f64) -> f64 {
    let unit = (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    low + (high - low) * unit
}

/// A normal number with mean 0.
pub(crate) fn normal(generator: &mut Generator, deviation: f64) -> f64 {
    let standard: f64 = StandardNormal.sample(generator);
    deviation * standard
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_episode_of_each_environment_has_a_seed_of_its_own() {
        let all = (0..8).flat_map(|environment| (0..50).map(move |episode| (environment, episode)));
        let seeds: BTreeSet<u64> = all.map(|(index, episode)| episode_seed(3, index, episode)).collect();
        assert_eq!(seeds.len(), 400);
        assert_ne!(episode_seed(3, 0, 0), episode_seed(4, 0, 0));
    }

    #[test]
    fn uniform_numbers_fill_their_range() {
        let mut generator = start(5);
        let drawn: Vec<f64> = (0..10_000).map(|_| uniform(&mut generator, -2.0, 6.0)).collect();
        assert!(drawn.iter().all(|&x| (-2.0..6.0).contains(&x)));
        let mean = drawn.iter().sum::<f64>() / 1e4;
        // The deviation of the mean is 0.023.
        assert!((mean - 2.0).abs() < 0.1, "{mean}");
    }
}
