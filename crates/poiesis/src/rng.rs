//! Random numbers: one counter-based generator, keyed by (seed, purpose, index).
//!
//! A draw depends on its key alone, never on earlier draws. So sample *i* is the same for any batch size, number of threads
//! and device, and a resumed run draws the same numbers as an unbroken one. The generator is ChaCha with 8 rounds; the
//! purpose is part of its key in plain text, and the index selects its stream.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The generator of every random number in Poiesis.
pub type Generator = ChaCha8Rng;

/// Returns the generator for `(seed, purpose, index)`.
///
/// # Panics
///
/// When `purpose` is longer than 24 bytes, as the key also has the seed.
pub fn generator(seed: u64, purpose: &str, index: u64) -> Generator {
    let mut generator = ChaCha8Rng::from_seed(key(seed, purpose));
    generator.set_stream(index);
    generator
}

/// The key of all generators for `(seed, purpose)`, for `poiesis_kernels` to draw whole tensors with.
///
/// # Panics
///
/// As [`generator`].
pub fn key(seed: u64, purpose: &str) -> [u8; 32] {
    assert!(purpose.len() <= 24, "a purpose has at most 24 bytes, `{purpose}` has {}", purpose.len());
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..8 + purpose.len()].copy_from_slice(purpose.as_bytes());
    key
}

/// Draws `len` numbers from the standard normal distribution.
pub fn normal(generator: &mut Generator, len: usize) -> Vec<f32> {
    (0..len).map(|_| StandardNormal.sample(generator)).collect()
}

/// Draws `len` numbers uniformly from `[0, 1)`, each a multiple of 2⁻²⁴.
pub fn uniform(generator: &mut Generator, len: usize) -> Vec<f32> {
    (0..len).map(|_| unit(generator.next_u32())).collect()
}

/// Draws an integer uniformly from `0..bound`, as the high half of a product (Lemire 2019, without rejection: the bias is
/// below `bound` in 2⁶⁴).
pub fn below(generator: &mut Generator, bound: u64) -> u64 {
    ((u128::from(generator.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// Draws a number uniformly from `[0, 1)`, a multiple of 2⁻⁵³.
pub fn unit_f64(generator: &mut Generator) -> f64 {
    (generator.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Returns the image of `index` under the permutation of `0..len` keyed by `(seed, epoch)`.
///
/// The permutation is computed, not stored: four rounds of a Feistel network over the smallest even number of
/// bits that covers `len`, applied again while the result is out of range (cycle walking, Black and Rogaway 2002).
///
/// # Panics
///
/// When `index` is not below `len`.
pub fn permute(seed: u64, epoch: u64, index: u64, len: u64) -> u64 {
    assert!(index < len, "index {index} is outside a permutation of {len}");
    let half_bits = (64 - (len - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half_bits) - 1;
    let mut position = index;
    loop {
        let (mut left, mut right) = (position >> half_bits, position & mask);
        for round in 0..4 {
            (left, right) = (right, left ^ (mix(right, seed, epoch, round) & mask));
        }
        position = left << half_bits | right;
        if position < len {
            return position;
        }
    }
}

/// The round function: two applications of the SplitMix64 finaliser (Steele et al. 2014).
fn mix(value: u64, seed: u64, epoch: u64, round: u64) -> u64 {
    let finalise = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let key = finalise(seed ^ epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    finalise(key ^ value.wrapping_add(round.wrapping_mul(0xd1b5_4a32_d192_ed03)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_purpose_and_index() {
        let draw = |seed, purpose, index| uniform(&mut generator(seed, purpose, index), 4);
        assert_eq!(draw(1, "latents", 0), draw(1, "latents", 0));
        assert_ne!(draw(1, "latents", 0), draw(2, "latents", 0));
        assert_ne!(draw(1, "latents", 0), draw(1, "order", 0));
        assert_ne!(draw(1, "latents", 0), draw(1, "latents", 1));
    }

    #[test]
    fn normal_draws_have_mean_zero_and_variance_one() {
        let draws = normal(&mut generator(3, "test", 0), 100_000);
        let mean = draws.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e5;
        let var = draws.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (var - 1.0).abs() < 0.02, "{mean} {var}");
    }

    #[test]
    fn uniform_draws_stay_in_the_unit_interval_and_fill_it() {
        let draws = uniform(&mut generator(3, "test", 0), 100_000);
        assert!(draws.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = draws.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
    }

    #[test]
    fn permutation_visits_every_position_once_and_differs_between_epochs() {
        for len in [1, 2, 3, 7, 64, 100, 1000] {
            let order = |epoch| (0..len).map(|i| permute(9, epoch, i, len)).collect::<Vec<_>>();
            let mut sorted = order(0);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..len).collect::<Vec<_>>());
            if len > 10 {
                assert_ne!(order(0), order(1));
                let fixed = order(0).iter().enumerate().filter(|&(i, &p)| i as u64 == p).count();
                assert!(fixed < len as usize / 4, "{fixed} of {len} stay in place");
            }
        }
    }
}
