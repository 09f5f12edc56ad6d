//! `poiesis evaluate` for agents: returns beside those of chance and of an expert.

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::config::DataConfig;
use poiesis::data::{Experience, Places};
use poiesis::evaluate::{AgentReturns, Evaluation, Protocol, evaluate_agent};
use poiesis::generate::Playing;

use super::agents::{self, environment_of, in_words, limit};
use super::evaluate::Meters;
use super::pictures::positive;
use crate::render::{count, note, number};

/// How an agent is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct OfAgent {
    /// Agents: number of episodes [default: 50].
    #[arg(long, value_name = "N", value_parser = agents::episodes)]
    episodes: Option<u64>,
    /// Agents: steps after which an episode is cut off [default: the limit of the environment, or 10,000].
    #[arg(long, value_name = "N", value_parser = positive)]
    max_steps: Option<usize>,
    /// Agents: environment to play in [default: that of the run].
    #[arg(long, value_name = "ENV")]
    env: Option<String>,
    /// Agents: demonstrations whose mean return counts as 1 [default: those of the run].
    #[arg(long, value_name = "DATA")]
    demos: Option<String>,
}

impl OfAgent {
    /// The flags, and whether each was given.
    pub(crate) fn given(&self) -> [(&'static str, bool); 4] {
        [
            ("--episodes", self.episodes.is_some()),
            ("--max-steps", self.max_steps.is_some()),
            ("--env", self.env.is_some()),
            ("--demos", self.demos.is_some()),
        ]
    }

    /// Plays and measures the returns.
    pub(crate) fn measure(
        &self,
        trained: &Trained,
        places: &Places,
        seed: u64,
        quiet: bool,
    ) -> Result<Evaluation> {
        let usual = Protocol::default();
        let protocol = Protocol {
            episodes: self.episodes.unwrap_or(usual.episodes),
            max_steps: limit(self.max_steps),
            seed,
            ..usual
        };
        let experience = self.experience(trained, places)?;
        let mut meters = Meters::new(quiet);
        let evaluation = evaluate_agent(trained, experience, &protocol, &mut |at| meters.show(at));
        meters.end();
        Ok(evaluation?)
    }

    /// The environment, with demonstrations where there are any. Those of the run are of use in its own environment only, and can be done
    /// without.
    fn experience(&self, trained: &Trained, places: &Places) -> Result<Experience> {
        let environment = environment_of(trained, self.env.as_deref())?;
        let own = trained.spec.task()?.environment == environment.name();
        let of_run =
            Some(trained.config.data.demonstrations.clone()).filter(|demos| own && !demos.is_empty());
        let Some(demonstrations) = self.demos.clone().or(of_run) else {
            return Ok(Experience::of(environment, 1)?);
        };
        let source = environment.name().to_owned();
        let config = DataConfig { source, demonstrations, ..trained.config.data.clone() };
        match Experience::open(&config, places, &|_| ()) {
            Err(problem) if self.demos.is_none() => {
                note(&format!(
                    "note: returns are not compared with an expert's: {problem} (say where its episodes are with --demos DATA)"
                ));
                Ok(Experience::of(environment, 1)?)
            }
            opened => Ok(opened?),
        }
    }
}

/// The returns as text.
pub(super) fn render(found: &AgentReturns, took: &str) -> String {
    let AgentReturns { environment, policy, episodes, max_steps, returns, random, .. } = found;
    let actions = match policy {
        Playing::Random => "random",
        Playing::Mode => "most probable",
        Playing::Sample => "drawn",
    };
    let cut = match max_steps {
        0 => String::new(),
        steps => format!(" of at most {} steps", count(*steps as u64)),
    };
    let mut text = format!(
        "\nreturn in {environment}, {actions} actions ({} episodes{cut}, {took})\n  {}\n  random actions: mean {}",
        count(*episodes),
        in_words(returns),
        number(*random)
    );
    text.push_str(&match (found.expert, found.normalised) {
        (Some(expert), Some(normalised)) => {
            format!("   expert: mean {}   normalised: {normalised:.3} (random 0, expert 1)\n", number(expert))
        }
        (Some(expert), None) => format!("   expert: mean {}, no better than random\n", number(expert)),
        (None, _) => "\n".to_owned(),
    });
    // The threshold is of the mean of whole episodes.
    if let (Some(threshold), 0, true) = (found.threshold, *max_steps, *episodes > 1) {
        let verdict = if returns.mean >= threshold { "solved" } else { "not solved" };
        text.push_str(&format!("  {verdict}: that takes a mean of at least {}\n", number(threshold)));
    }
    text
}

#[cfg(test)]
mod tests {
    use poiesis::evaluate::Returns;

    use super::*;

    #[test]
    fn returns_are_said_with_what_they_are_compared_with() {
        let mut found = AgentReturns {
            environment: "hopper".into(),
            policy: Playing::Mode,
            episodes: 2,
            max_steps: 0,
            seed: 0,
            returns: Returns::of(&[(3000.0, 900, true), (3200.0, 1000, false)]),
            random: 20.0,
            expert: Some(3720.0),
            normalised: Some(0.8324),
            threshold: Some(3800.0),
        };
        let text = render(&found, "1.0 s");
        for part in [
            "most probable actions (2 episodes, 1.0 s)",
            "mean 3100 ± 141.4",
            "normalised: 0.832",
            "not solved",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let one = AgentReturns { episodes: 1, returns: Returns::of(&[(3000.0, 900, true)]), ..found.clone() };
        let text = render(&one, "1.0 s");
        assert!(text.contains("\n  3000 in 900 steps\n") && !text.contains("solved"), "{text}");
        (found.expert, found.normalised, found.threshold) = (None, None, None);
        let text = render(&found, "1.0 s");
        assert!(!text.contains("expert") && !text.contains("solved"), "{text}");
    }
}
