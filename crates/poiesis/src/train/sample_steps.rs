//! When samples are drawn during training.

use crate::config::{SampleSchedule, TrainConfig};

/// The steps after which samples are drawn, ascending, from 0 to the last.
pub fn sample_steps(config: &TrainConfig) -> Vec<u64> {
    let (steps, frames) = (config.steps, config.sample_frames);
    let at = |frame: u64| {
        let part = frame as f64 / frames as f64;
        match config.sample_schedule {
            SampleSchedule::Linear => (steps as f64 * part).round() as u64,
            // Geometrically spaced from 1 to the last.
            SampleSchedule::Logarithmic => (steps as f64).powf(part).round() as u64,
        }
    };
    let mut all: Vec<u64> = std::iter::once(0).chain((1..=frames).map(at)).chain([steps]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_drawn_first_and_last_and_never_twice() {
        for schedule in [SampleSchedule::Linear, SampleSchedule::Logarithmic] {
            for (steps, frames) in [(1, 40), (10, 3), (1000, 0), (100_000, 40)] {
                let config = TrainConfig {
                    steps,
                    sample_frames: frames,
                    sample_schedule: schedule,
                    ..TrainConfig::default()
                };
                let at = sample_steps(&config);
                assert_eq!((at[0], *at.last().unwrap()), (0, steps));
                assert!(at.windows(2).all(|pair| pair[0] < pair[1]), "{at:?}");
            }
        }
    }

    #[test]
    fn logarithmic_samples_crowd_at_the_beginning() {
        let config = TrainConfig {
            steps: 10_000,
            sample_frames: 40,
            sample_schedule: SampleSchedule::Logarithmic,
            ..TrainConfig::default()
        };
        assert!(sample_steps(&config).iter().filter(|step| **step <= 100).count() > 15);
    }
}
