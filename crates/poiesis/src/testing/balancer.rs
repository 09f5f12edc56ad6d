//! An agent that was never trained, for tests of what agents do.

use crate::abilities::{Act, Acting, Actor, Chosen};
use crate::data::TaskShape;
use crate::rng;

/// Pushes the cart to the side to which the pole leans, which balances it for a while. Drawn actions are a coin's.
pub(crate) struct Balancer(TaskShape);

impl Balancer {
    pub(crate) fn new() -> Balancer {
        Balancer(TaskShape::of("cartpole", poiesis_envs::make("cartpole").unwrap().spec()))
    }
}

impl Act for Balancer {
    fn task(&self) -> &TaskShape {
        &self.0
    }

    fn actor(&self) -> Box<dyn Actor + '_> {
        Box::new(Balancing)
    }
}

struct Balancing;

impl Actor for Balancing {
    fn act(&mut self, observations: &[f64], how: Acting<'_>, actions: &mut Chosen) {
        let leaning = |observation: &[f64]| usize::from(observation[2] + 0.5 * observation[3] > 0.0);
        *actions = Chosen::Discrete(match how {
            Acting::Mode => observations.chunks_exact(4).map(leaning).collect(),
            Acting::Sample { seed, indices } => indices
                .iter()
                .map(|&index| rng::below(&mut rng::generator(seed, "coin", index), 2) as usize)
                .collect(),
        });
    }
}
