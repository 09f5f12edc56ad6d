//! Steps a second of CartPole, one environment and many: `cargo run --release -p poiesis-envs --example speed [NAME]`.

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use std::env;
use std::time::{Duration, Instant};

use poiesis_envs::{Action, Actions, EnvError, Environment, Space, Vectorized, make};

/// Each measurement takes this long.
const TIME: Duration = Duration::from_secs(2);

fn main() -> Result<(), EnvError> {
    let name = env::args().nth(1).unwrap_or_else(|| "cartpole".into());
    report(&name, "one environment", single(&name)?);
    for count in [8, 64, 1024, 16_384] {
        report(&name, &format!("{count} environments"), vectorized(&name, count)?);
    }
    Ok(())
}

fn report(name: &str, what: &str, steps: f64) {
    println!("{name}, {what}: {:.2} million steps/s", steps / 1e6);
}

/// Actions for `count` environments, different in each of them: choices, or numbers in the middle of their limits.
fn actions(space: &Space, count: usize) -> (Vec<usize>, Vec<f64>) {
    match space {
        Space::Discrete(choices) => ((0..count).map(|index| index % choices).collect(), Vec::new()),
        Space::Box { high, .. } => {
            (Vec::new(), high.iter().map(|limit| 0.3 * limit).cycle().take(count * high.len()).collect())
        }
    }
}

fn single(name: &str) -> Result<f64, EnvError> {
    let mut environment = make(name)?;
    let mut observation = vec![0.0; environment.spec().observation.width()];
    let (choices, numbers) = actions(&environment.spec().action, 2);
    let width = environment.spec().action.width();
    environment.reset(0, &mut observation)?;
    let (start, mut steps) = (Instant::now(), 0_u64);
    while start.elapsed() < TIME {
        for step in 0..1000 {
            let action = match choices.get(step % 2) {
                Some(&choice) => Action::Discrete(choice),
                None => Action::Continuous(&numbers[..width]),
            };
            if environment.step(action, &mut observation)?.ended() {
                environment.reset(steps, &mut observation)?;
            }
            steps += 1;
        }
    }
    Ok(steps as f64 / start.elapsed().as_secs_f64())
}

fn vectorized(name: &str, count: usize) -> Result<f64, EnvError> {
    let environments: Result<Vec<Box<dyn Environment>>, EnvError> = (0..count).map(|_| make(name)).collect();
    let mut all = Vectorized::new(0, environments?)?;
    let (choices, numbers) = actions(&all.spec().action, count);
    let (start, mut steps) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        let actions =
            if numbers.is_empty() { Actions::Discrete(&choices) } else { Actions::Continuous(&numbers) };
        all.step(actions)?;
        steps += count;
    }
    Ok(steps as f64 / start.elapsed().as_secs_f64())
}
