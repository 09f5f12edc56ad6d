//! Steps a second of an environment with random actions, as one line of JSON, for `bench/`:
//!
//! `cargo run --release -p poiesis-envs --example steps -- hopper --envs 64 --seconds 3 --threads 2`
//!
//! One environment is stepped by itself; more are stepped together by [`Vectorized`]. Actions are drawn beforehand by a
//! generator with a fixed seed. The start of the next episode belongs to the step that ends one. MuJoCo is looked for below
//! `~/.local`, or in the folder that `--mujoco` names.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use poiesis_envs::{Action, Actions, EnvError, Environment, Space, Vectorized, make, mujoco};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Steps for which actions are drawn; then they are repeated.
const DRAWN: usize = 1024;
/// Steps between two looks at the clock.
const STRETCH: usize = 64;
/// How long steps are made before they are counted.
const WARMUP: Duration = Duration::from_millis(200);

fn main() -> Result<(), Box<dyn Error>> {
    let Wish { name, envs, time, threads, mujoco } = Wish::parse(std::env::args().skip(1))?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let usual = mujoco::usual_places(std::env::home_dir().as_deref(), None, &[]);
    mujoco::look_in(mujoco.into_iter().chain(usual).collect());
    let steps = if envs == 1 { single(&name, time)? } else { vectorized(&name, envs, time)? };
    let what = format!("\"environment\": \"{name}\", \"envs\": {envs}, \"threads\": {threads}");
    writeln!(std::io::stdout(), "{{\"steps_per_second\": {steps:.0}, {what}}}")?;
    Ok(())
}

/// Steps a second of one environment.
fn single(name: &str, time: Duration) -> Result<f64, EnvError> {
    let mut environment = make(name)?;
    let spec = environment.spec();
    let (drawn, mut observation) = (Drawn::new(&spec.action, 1), vec![0.0; spec.observation.width()]);
    environment.reset(0, &mut observation)?;
    rate(time, |step| {
        if environment.step(drawn.one(step), &mut observation)?.ended() {
            environment.reset(step as u64, &mut observation)?;
        }
        Ok(1)
    })
}

/// The same of `count` environments that are stepped together, all of their steps counted.
fn vectorized(name: &str, count: usize, time: Duration) -> Result<f64, EnvError> {
    let environments: Result<Vec<Box<dyn Environment>>, EnvError> = (0..count).map(|_| make(name)).collect();
    let mut all = Vectorized::new(0, environments?)?;
    let drawn = Drawn::new(&all.spec().action, count);
    rate(time, |step| {
        all.step(drawn.all(step))?;
        Ok(count)
    })
}

/// Calls `step` with the number of the step for about as long as `time`; it returns how many steps it made.
fn rate(time: Duration, mut step: impl FnMut(usize) -> Result<usize, EnvError>) -> Result<f64, EnvError> {
    let (mut number, mut rate) = (0, 0.0);
    for time in [WARMUP, time] {
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < time {
            for _ in 0..STRETCH {
                count += step(number)?;
                number += 1;
            }
        }
        rate = count as f64 / began.elapsed().as_secs_f64();
    }
    Ok(rate)
}

/// Random actions for [`DRAWN`] steps of some environments: choices or numbers, uniform within their limits.
struct Drawn {
    choices: Vec<usize>,
    numbers: Vec<f64>,
    /// Choices or numbers of one step.
    size: usize,
}

impl Drawn {
    fn new(space: &Space, environments: usize) -> Drawn {
        let mut generator = ChaCha8Rng::seed_from_u64(0);
        let size = environments * space.width();
        let (mut choices, mut numbers) = (Vec::new(), Vec::new());
        match space {
            Space::Discrete(count) => {
                choices =
                    (0..DRAWN * size).map(|_| (generator.next_u64() % *count as u64) as usize).collect();
            }
            Space::Box { low, high } => {
                let limits = low.iter().zip(high).cycle().take(DRAWN * size);
                let uniform = |(low, high): (&f64, &f64)| {
                    low + (high - low) * (generator.next_u64() as f64 / u64::MAX as f64)
                };
                numbers = limits.map(uniform).collect();
            }
        }
        Drawn { choices, numbers, size }
    }

    /// The actions of all environments in a step.
    fn all(&self, step: usize) -> Actions<'_> {
        let first = step % DRAWN * self.size;
        match self.choices.get(first..first + self.size) {
            Some(choices) => Actions::Discrete(choices),
            None => Actions::Continuous(&self.numbers[first..first + self.size]),
        }
    }

    /// The action of the only environment.
    fn one(&self, step: usize) -> Action<'_> {
        match self.all(step) {
            Actions::Discrete(choices) => Action::Discrete(choices[0]),
            Actions::Continuous(numbers) => Action::Continuous(numbers),
        }
    }
}

/// The command line.
struct Wish {
    name: String,
    envs: usize,
    time: Duration,
    threads: usize,
    mujoco: Option<PathBuf>,
}

impl Wish {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Wish, Box<dyn Error>> {
        let name = words.next().ok_or("name an environment, such as cartpole")?;
        let mut wish = Wish { name, envs: 1, time: Duration::from_secs(3), threads: 2, mujoco: None };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("`{word}` wants a value"))?;
            match word.as_str() {
                "--envs" => wish.envs = value.parse()?,
                "--seconds" => wish.time = Duration::try_from_secs_f64(value.parse()?)?,
                "--threads" => wish.threads = value.parse()?,
                "--mujoco" => wish.mujoco = Some(value.into()),
                _ => return Err(format!("there is no option `{word}`").into()),
            }
        }
        Ok(wish)
    }
}
