//! The learning-rate schedule, as a function of the step.

use std::f64::consts::PI;

use super::{Decay, OptimizerConfig};

/// The factor by which learning rates are multiplied in step `step` of `steps`, counted from 0.
pub fn learning_rate_factor(config: &OptimizerConfig, step: u64, steps: u64) -> f64 {
    config.decay.powf(step as f64) * schedule(config, step, steps)
}

fn schedule(config: &OptimizerConfig, step: u64, steps: u64) -> f64 {
    if step < config.warmup_steps {
        return (step + 1) as f64 / config.warmup_steps as f64;
    }
    let span = steps.saturating_sub(config.warmup_steps).max(1);
    let passed = ((step - config.warmup_steps) as f64 / span as f64).min(1.0);
    let height = match config.schedule {
        Decay::Constant => return 1.0,
        Decay::Linear => 1.0 - passed,
        Decay::Cosine => 0.5 * (1.0 + (PI * passed).cos()),
        Decay::Trapezoid => ((1.0 - passed) / config.cooldown.max(f64::MIN_POSITIVE)).min(1.0),
    };
    config.final_factor + (1.0 - config.final_factor) * height
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_falls_from_one_to_zero_after_the_warmup() {
        let config =
            OptimizerConfig { warmup_steps: 10, schedule: Decay::Cosine, ..OptimizerConfig::default() };
        let factor = |step| learning_rate_factor(&config, step, 110);
        assert_eq!((factor(0), factor(9), factor(10)), (0.1, 1.0, 1.0));
        assert!((factor(60) - 0.5).abs() < 1e-12 && factor(109) < 1e-3);
    }

    #[test]
    fn a_trapezoid_stays_then_falls_to_its_final_factor() {
        let config = OptimizerConfig {
            schedule: Decay::Trapezoid,
            cooldown: 0.25,
            final_factor: 0.1,
            ..OptimizerConfig::default()
        };
        let factor = |step| learning_rate_factor(&config, step, 100);
        assert_eq!((factor(0), factor(75), factor(100)), (1.0, 1.0, 0.1));
        assert!((factor(88) - (0.1 + 0.9 * 12.0 / 25.0)).abs() < 1e-12);
    }
}
