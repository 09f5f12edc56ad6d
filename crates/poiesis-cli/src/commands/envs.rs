//! `poiesis envs`: lists the environments in which agents act, or shows one.

use anyhow::Result;
use clap::Args;
use poiesis::data::EnvironmentSource;
use poiesis_envs::{Listed, Space, Spec, list, mujoco, observation_names};
use serde_json::{Value, json};

use crate::render::{count, facts, in_json, json, note, number, program, result, table};

/// List the environments in which agents act, or show one
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis envs
  poiesis envs hopper                              what an agent sees and does there
  poiesis envs 'python my_env.py'                  a program of your own, which is started for it
  poiesis envs --json

OBSERVATION is how many numbers an agent sees, ACTION what it chooses: one of several choices, or numbers within limits. \
After STEPS steps an episode is cut off. From a mean return of SOLVED an environment counts as solved. Those on MuJoCo need \
its library, version 3.17.0, which is looked for in POIESIS_MUJOCO (the file, its folder, or several with : between them), \
or where that is not set in the usual places of Python packages; a line below the list says whether it was found. \
docs/agents.md says how to use an environment of your own.")]
pub(crate) struct Envs {
    /// Show this environment: a name of the list, or the command of a program.
    #[arg(value_name = "ENV")]
    environment: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Envs {
    pub(crate) fn run(self) -> Result<()> {
        match &self.environment {
            Some(name) => self.show(name),
            None => self.list(),
        }
    }

    fn list(&self) -> Result<()> {
        let library = mujoco::library();
        let all: Vec<(Listed, Known)> =
            list().into_iter().map(|listed| (listed, Known::of(listed.name))).collect();
        if self.json {
            let found = library.as_ref().ok().map(|library| in_json(library.path()));
            let environments: Vec<Value> =
                all.iter().map(|(listed, known)| known.to_json(listed.name, Some(listed.about))).collect();
            return json(&json!({
                "environments": environments,
                "mujoco": {
                    "version": mujoco::VERSION, "library": found,
                    "problem": library.as_ref().err().map(ToString::to_string),
                    "remedy": library.as_ref().err().and_then(mujoco::MujocoError::hint),
                },
            }));
        }
        let row = |(listed, known): &(Listed, Known)| {
            vec![
                listed.name.to_owned(),
                count(known.observation as u64),
                known.action.clone(),
                known.time_limit.map_or_else(|| "-".into(), |steps| count(steps as u64)),
                known.reward_threshold.map_or_else(|| "-".into(), plain),
                listed.about.to_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        let mut text = table(&["NAME", ">OBSERVATION", "ACTION", ">STEPS", ">SOLVED", "WHAT IT IS"], &rows);
        text.push_str(&match &library {
            Ok(library) => format!("\nMuJoCo {} was found: {}\n", mujoco::VERSION, library.path().display()),
            Err(problem) => {
                let remedy = problem.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                format!("\nthose on MuJoCo cannot be used here: {problem}{remedy}\n")
            }
        });
        let program = program();
        text.push_str(&format!(
            "see one with {program} play ENV --record ENV.gif, learn one with {program} train ppo --env ENV\n"
        ));
        result(&text)
    }

    fn show(&self, name: &str) -> Result<()> {
        let about = list().into_iter().find(|listed| listed.name == name).map(|listed| listed.about);
        // One whose library is missing is shown as far as it is known.
        let known = match EnvironmentSource::parse(name)?.make() {
            Ok(environment) => Known::full(environment.spec()),
            Err(problem) if mujoco::outline(name).is_some() => {
                let hint = crate::flags::hint(&problem).map(|hint| format!("; {hint}")).unwrap_or_default();
                note(&format!("note: it cannot be used here: {problem}{hint}"));
                Known::of(name)
            }
            Err(problem) => return Err(problem.into()),
        };
        if self.json { json(&known.to_json(name, about)) } else { result(&known.to_text(name, about)) }
    }
}

/// What is known of an environment; without its library, less.
struct Known {
    observation: usize,
    action: String,
    /// The limits of an action's numbers, or of an observation's, where these are known.
    spec: Option<Spec>,
    time_limit: Option<usize>,
    reward_threshold: Option<f64>,
    needs_mujoco: bool,
    usable: bool,
}

impl Known {
    /// What can be known of a listed environment, whether its library is there or not.
    fn of(name: &str) -> Known {
        match (poiesis_envs::make(name), mujoco::outline(name)) {
            (Ok(environment), _) => Known::full(environment.spec()),
            (Err(_), Some(outline)) => Known {
                observation: outline.observation,
                action: numbers(outline.action),
                spec: None,
                time_limit: Some(outline.time_limit),
                reward_threshold: outline.reward_threshold,
                needs_mujoco: true,
                usable: false,
            },
            (Err(problem), None) => unreachable!("{name} is listed and cannot be made: {problem}"),
        }
    }

    fn full(spec: &Spec) -> Known {
        Known {
            observation: spec.observation.width(),
            action: match &spec.action {
                Space::Discrete(choices) => format!("{choices} choices"),
                Space::Box { low, .. } => numbers(low.len()),
            },
            time_limit: spec.time_limit,
            reward_threshold: spec.reward_threshold,
            needs_mujoco: mujoco::outline(&spec.name).is_some(),
            usable: true,
            spec: Some(spec.clone()),
        }
    }

    fn to_json(&self, name: &str, about: Option<&str>) -> Value {
        let space = |space: &Space| match space {
            Space::Discrete(choices) => json!({ "discrete": choices }),
            // As in the protocol of programs, null is an infinite limit.
            Space::Box { low, high } => json!({ "box": { "low": finite(low), "high": finite(high) } }),
        };
        let spec = self.spec.as_ref();
        json!({
            "name": name, "about": about, "needs_mujoco": self.needs_mujoco, "usable": self.usable,
            "observation_width": self.observation, "observation_names": observation_names(name),
            "observation": spec.map(|spec| space(&spec.observation)),
            "actions": self.action, "action": spec.map(|spec| space(&spec.action)),
            "time_limit": self.time_limit, "reward_threshold": self.reward_threshold,
            "seconds": spec.map(|spec| spec.seconds).filter(|seconds| *seconds > 0.0),
        })
    }

    fn to_text(&self, name: &str, about: Option<&str>) -> String {
        let spec = self.spec.as_ref();
        let own = spec.map(|spec| spec.name.clone()).filter(|own| own != name);
        let mut all = vec![("name", name.to_owned())];
        all.extend(own.map(|own| ("calls itself", own)));
        all.extend(about.map(|about| ("what it is", about.to_owned())));
        let observation = match spec.map(|spec| &spec.observation) {
            Some(Space::Discrete(count)) => format!("one of 0 to {}, as one number", count - 1),
            Some(Space::Box { low, high }) => described(low, high, observation_names(name).as_deref()),
            None => numbers(self.observation),
        };
        all.push(("observation", observation));
        let action = match spec.map(|spec| &spec.action) {
            Some(Space::Box { low, high }) => described(low, high, None),
            _ => self.action.clone(),
        };
        all.push(("action", action));
        let limit =
            self.time_limit.map_or_else(|| "none".into(), |steps| format!("{} steps", count(steps as u64)));
        all.push(("time limit", limit));
        all.extend(
            self.reward_threshold.map(|mean| ("solved", format!("from a mean return of {}", plain(mean)))),
        );
        let seconds = spec.map(|spec| spec.seconds).filter(|seconds| *seconds > 0.0);
        all.extend(seconds.map(|seconds| ("a step", format!("{} s", number(seconds)))));
        facts(&all)
    }
}

/// `1 number` or `3 numbers`.
fn numbers(count: usize) -> String {
    if count == 1 { "1 number".into() } else { format!("{count} numbers") }
}

/// Limits for JSON: those that are infinite, or as large as programs write for infinite, are null.
fn finite(limits: &[f64]) -> Vec<Option<f64>> {
    limits.iter().map(|&limit| Some(limit).filter(|limit| limit.is_finite())).collect()
}

/// The numbers of a space with their limits, one on each line where they are few or have names.
fn described(low: &[f64], high: &[f64], names: Option<&[&str]>) -> String {
    /// More lines say no more.
    const LISTED: usize = 32;
    let range = |at: usize| match (low[at].is_finite(), high[at].is_finite()) {
        (true, true) => format!("{} to {}", plain(low[at]), plain(high[at])),
        (true, false) => format!("at least {}", plain(low[at])),
        (false, true) => format!("at most {}", plain(high[at])),
        (false, false) => "any value".into(),
    };
    let same = (1..low.len()).all(|at| range(at) == range(0));
    let mut text = numbers(low.len());
    match names {
        Some(names) => {
            for (at, name) in names.iter().enumerate() {
                text.push_str(&format!("\n{at:>2}  {name}: {}", range(at)));
            }
        }
        None if same && low.len() == 1 => text.push_str(&format!(", {}", range(0))),
        None if same && !low.is_empty() => text.push_str(&format!(", each {}", range(0))),
        None => {
            for at in 0..low.len().min(LISTED) {
                text.push_str(&format!("\n{at:>2}  {}", range(at)));
            }
            if low.len() > LISTED {
                text.push_str(&format!("\nand {} more; --json lists them all", low.len() - LISTED));
            }
        }
    }
    text
}

/// A number without zeros at its end.
fn plain(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e6 { format!("{value:.0}") } else { number(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_once_where_they_are_equal() {
        assert_eq!(described(&[-1.0; 3], &[1.0; 3], None), "3 numbers, each -1 to 1");
        let unlimited = [f64::NEG_INFINITY];
        assert_eq!(described(&unlimited, &[f64::INFINITY], None), "1 number, any value");
        assert_eq!(
            described(&[0.0, -1.5], &[f64::INFINITY, 2.0], Some(&["a", "b"])),
            "2 numbers\n 0  a: at least 0\n 1  b: -1.500 to 2"
        );
    }

    #[test]
    fn an_environment_without_its_library_is_known_by_its_sizes() {
        // No place was named in this test, so MuJoCo is not found.
        let hopper = Known::of("hopper");
        assert_eq!(
            (hopper.observation, hopper.action.as_str(), hopper.time_limit),
            (11, "3 numbers", Some(1000))
        );
        let text = hopper.to_text("hopper", Some("hop"));
        assert!(text.contains("11 numbers") && text.contains("a mean return of 3800"), "{text}");
        let value = hopper.to_json("hopper", None);
        assert_eq!((&value["usable"], &value["needs_mujoco"]), (&json!(false), &json!(true)));
    }
}
