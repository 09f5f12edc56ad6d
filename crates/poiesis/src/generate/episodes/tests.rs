//! Playing does not depend on how many episodes are played, stays within limits, and reports what fails.

use poiesis_envs::Transition;

use super::*;
use crate::testing::Balancer;

fn cartpole() -> EnvironmentSource {
    EnvironmentSource::parse("cartpole").unwrap()
}

fn request(count: u64) -> EpisodesRequest {
    EpisodesRequest { seed: 3, first: 0, count, max_steps: 0, transitions: true, scenes: false }
}

fn all(player: Player<'_>, source: &EnvironmentSource, request: &EpisodesRequest) -> Vec<PlayedEpisode> {
    let mut played = Vec::new();
    episodes(player, source, request, &mut |_, episode| {
        played.push(episode);
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    played
}

#[test]
fn an_episode_does_not_depend_on_how_many_are_played() {
    let balancer = Balancer::new();
    for player in [Player::Random, Player::Mode(&balancer), Player::Sample(&balancer)] {
        let many = all(player, &cartpole(), &request(40));
        assert_eq!(
            many.iter().map(|episode| episode.number).collect::<Vec<_>>(),
            (0..40).collect::<Vec<_>>()
        );
        for number in [0, 17, 39] {
            let one = EpisodesRequest { first: number, ..request(1) };
            assert_eq!(all(player, &cartpole(), &one), [many[number as usize].clone()]);
        }
        let other = all(player, &cartpole(), &EpisodesRequest { seed: 4, ..request(3) });
        assert_ne!(other[0].observations, many[0].observations);
    }
}

#[test]
fn an_agent_that_balances_plays_longer_than_chance() {
    let balancer = Balancer::new();
    let mean = |player| {
        let played = all(player, &cartpole(), &request(20));
        played.iter().map(|episode| episode.episode_return).sum::<f64>() / 20.0
    };
    // A random policy holds the pole for about 22 steps.
    let (random, mode, sample) =
        (mean(Player::Random), mean(Player::Mode(&balancer)), mean(Player::Sample(&balancer)));
    assert!((15.0..35.0).contains(&random) && (15.0..35.0).contains(&sample), "{random} {sample}");
    assert!(mode > 100.0, "{mode}");
}

#[test]
fn what_is_kept_fits_together() {
    let episode = &all(Player::Random, &cartpole(), &EpisodesRequest { scenes: true, ..request(1) })[0];
    let length = episode.length;
    assert_eq!((episode.rewards.len(), episode.actions.len()), (length, length));
    assert_eq!((episode.observations.len(), episode.scenes.len()), (4 * (length + 1), length + 1));
    assert!(episode.terminated && episode.scenes[0] != episode.scenes[length]);
    let bare = &all(Player::Random, &cartpole(), &EpisodesRequest { transitions: false, ..request(1) })[0];
    assert!(bare.observations.is_empty() && bare.actions.is_empty() && bare.scenes.is_empty());
    assert_eq!(bare.episode_return, episode.episode_return);
}

#[test]
fn episodes_are_cut_off_and_the_sink_can_end_the_playing() {
    let short = all(Player::Random, &cartpole(), &EpisodesRequest { max_steps: 5, ..request(3) });
    assert!(short.iter().all(|episode| episode.length == 5 && !episode.terminated));
    let mut seen = 0;
    episodes(Player::Random, &cartpole(), &request(1000), &mut |_, _| {
        seen += 1;
        Ok(if seen < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })
    .unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn another_task_is_refused_with_both() {
    let balancer = Balancer::new();
    let pendulum = EnvironmentSource::parse("pendulum").unwrap();
    let error =
        episodes(Player::Mode(&balancer), &pendulum, &request(1), &mut |_, _| panic!("nothing is played"))
            .unwrap_err();
    let text = error.to_string();
    for part in ["pendulum", "3 numbers", "cartpole", "4 numbers", "2 choices"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn random_actions_stay_within_their_limits_and_fill_them() {
    let space = Space::Box {
        low: vec![-2.0, 1.0, f64::NEG_INFINITY, f64::NEG_INFINITY],
        high: vec![6.0, f64::INFINITY, -1.0, f64::INFINITY],
    };
    let indices: Vec<u64> = (0..4000).collect();
    let mut chosen = Chosen::default();
    random_actions(&space, 1, &indices, &mut chosen);
    let Chosen::Continuous(numbers) = chosen else { panic!("actions are numbers") };
    let mut sums = [0.0; 4];
    for row in numbers.chunks_exact(4) {
        assert!((-2.0..6.0).contains(&row[0]) && row[1] >= 1.0 && row[2] <= -1.0, "{row:?}");
        sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += number / 4000.0);
    }
    // The deviations of these means are below 0.04.
    for (mean, expected) in sums.into_iter().zip([2.0, 2.0, -2.0, 0.0]) {
        assert!((mean - expected).abs() < 0.15, "{sums:?}");
    }
    let mut choices = Chosen::default();
    random_actions(&Space::Discrete(3), 1, &indices, &mut choices);
    let Chosen::Discrete(choices) = choices else { panic!("actions are choices") };
    let count = |choice| choices.iter().filter(|&&found| found == choice).count();
    assert!([0, 1, 2].into_iter().all(|choice| (1200..1470).contains(&count(choice))));
}

/// Fails in its third step in the way that it is told.
struct Failing(Spec, usize, f64);

impl Environment for Failing {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn reset(&mut self, _: u64, observation: &mut [f64]) -> Result<(), EnvError> {
        self.1 = 0;
        observation[0] = 0.5;
        Ok(())
    }

    fn step(&mut self, _: Action<'_>, observation: &mut [f64]) -> Result<Transition, EnvError> {
        self.1 += 1;
        if self.1 == 3 {
            observation[0] = self.2;
        }
        Ok(Transition { reward: 1.0, ..Transition::default() })
    }

    fn state(&self) -> Vec<f64> {
        Vec::new()
    }

    fn restore(&mut self, _: &[f64]) -> Result<(), EnvError> {
        Ok(())
    }

    fn scene(&self) -> Scene {
        Scene::default()
    }
}

#[test]
fn a_number_that_cannot_be_used_names_the_episode_and_the_step() {
    let spec = Spec {
        name: "failing".into(),
        observation: Space::symmetric(&[1.0]),
        action: Space::Discrete(2),
        time_limit: None,
        reward_threshold: None,
        seconds: 0.0,
    };
    let source = |value| {
        let spec = spec.clone();
        EnvironmentSource::own("failing", move || Ok(Box::new(Failing(spec.clone(), 0, value))))
    };
    let played = |value| {
        let one = EpisodesRequest { max_steps: 0, ..request(1) };
        let mut length = 0;
        let found = episodes(Player::Random, &source(value), &one, &mut |_, episode| {
            length = episode.length;
            Ok(ControlFlow::Continue(()))
        });
        found.map(|_| length)
    };
    let text = played(f64::NAN).unwrap_err().to_string();
    assert!(text.contains("episode 0, step 3") && text.contains("number 0"), "{text}");
    assert_eq!(played(0.25).unwrap(), LONGEST, "without a limit of its own");
}
