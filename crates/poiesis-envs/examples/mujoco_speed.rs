//! Steps per second of an environment on MuJoCo, on one core, with random actions.
//!
//! ```text
//! cargo run --release -p poiesis-envs --example mujoco_speed -- FOLDER [NAME]
//! ```
//!
//! FOLDER has MuJoCo's library; NAME is `hopper` if it is left out.

use std::error::Error;
use std::time::Instant;

use poiesis_envs::{Action, Environment, Space, mujoco};

const STEPS: u32 = 20_000;

#[expect(clippy::print_stdout, reason = "an example that reports to a terminal")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name the folder of MuJoCo's library")?;
    let name = arguments.next().unwrap_or_else(|| "hopper".to_owned());
    let library = mujoco::Library::open(&[folder.into()])?;
    let mut environment = mujoco::make_with(&library, &name)?;
    let mut observation = vec![0.0; environment.spec().observation.width()];
    let actions = actions(environment.as_ref());
    environment.reset(0, &mut observation)?;
    let start = Instant::now();
    for step in 0..STEPS {
        let action = &actions[step as usize % actions.len()];
        if environment.step(Action::Continuous(action), &mut observation)?.ended() {
            environment.reset(u64::from(step), &mut observation)?;
        }
    }
    println!("{name}: {:.0} steps/s", f64::from(STEPS) / start.elapsed().as_secs_f64());
    Ok(())
}

/// Actions that sweep the range of each control at a rate of its own.
fn actions(environment: &dyn Environment) -> Vec<Vec<f64>> {
    let Space::Box { low, high } = &environment.spec().action else { return Vec::new() };
    let value = |step: usize, (i, (low, high)): (usize, (&f64, &f64))| {
        let share = (step as f64 * 0.618_034 * (i + 1) as f64).fract();
        low + (high - low) * share
    };
    let action = |step| low.iter().zip(high).enumerate().map(|limits| value(step, limits)).collect();
    (0..1000).map(action).collect()
}
