//! When things happen and how large steps are, as functions of the step.

use std::f64::consts::PI;

use crate::config::{Decay, SampleSchedule, TrainConfig};

/// The factor that step `step`, counted from 0, multiplies learning rates with.
pub fn learning_rate_factor(config: &TrainConfig, step: u64) -> f64 {
    if step < config.warmup_steps {
        return (step + 1) as f64 / config.warmup_steps as f64;
    }
    let span = config.steps.saturating_sub(config.warmup_steps).max(1);
    let passed = ((step - config.warmup_steps) as f64 / span as f64).min(1.0);
    let height = match config.schedule {
        Decay::Constant => return 1.0,
        Decay::Linear => 1.0 - passed,
        Decay::Cosine => 0.5 * (1.0 + (PI * passed).cos()),
        Decay::Trapezoid => ((1.0 - passed) / config.cooldown.max(f64::MIN_POSITIVE)).min(1.0),
    };
    config.final_factor + (1.0 - config.final_factor) * height
}

/// The numbers of done steps after which samples are drawn, rising, from 0 to the last.
pub fn sample_steps(config: &TrainConfig) -> Vec<u64> {
    let (steps, frames) = (config.steps, config.sample_frames);
    let at = |frame: u64| {
        let part = frame as f64 / frames as f64;
        match config.sample_schedule {
            SampleSchedule::Linear => (steps as f64 * part).round() as u64,
            // From 1 to the last in equal ratios.
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
    fn cosine_falls_from_one_to_zero_after_the_warmup() {
        let config =
            TrainConfig { steps: 110, warmup_steps: 10, schedule: Decay::Cosine, ..TrainConfig::default() };
        let factor = |step| learning_rate_factor(&config, step);
        assert_eq!((factor(0), factor(9), factor(10)), (0.1, 1.0, 1.0));
        assert!((factor(60) - 0.5).abs() < 1e-12 && factor(109) < 1e-3);
    }

    #[test]
    fn a_trapezoid_stays_then_falls_to_its_final_factor() {
        let config = TrainConfig {
            steps: 100,
            schedule: Decay::Trapezoid,
            cooldown: 0.25,
            final_factor: 0.1,
            ..TrainConfig::default()
        };
        let factor = |step| learning_rate_factor(&config, step);
        assert_eq!((factor(0), factor(75), factor(100)), (1.0, 1.0, 0.1));
        assert!((factor(88) - (0.1 + 0.9 * 12.0 / 25.0)).abs() < 1e-12);
    }

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
