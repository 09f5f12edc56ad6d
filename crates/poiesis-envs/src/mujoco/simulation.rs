//! A task on a simulation of its body: what [`Episode`] needs.

use std::sync::Arc;

use super::error::MujocoError;
use super::layout::{INTEGRATION, STATE_CTRL, STATE_QPOS, STATE_QVEL};
use super::library::{Data, Library};
use super::scene;
use super::tasks::Task;
use crate::environment::{Action, Space, Spec};
use crate::episode::{Dynamics, Episode};
use crate::random::Generator;
use crate::scene::Scene;

/// A task and the simulation of its body.
pub(super) struct Simulation {
    task: &'static dyn Task,
    data: Data,
    /// The place of the body along the way that is rewarded, then MuJoCo's state with which it integrates: time, positions,
    /// velocities, the solver's start, controls and applied forces. The place is not a function of the rest, as some tasks
    /// read it from quantities that MuJoCo computes within its last step.
    physics: Vec<f64>,
}

impl Simulation {
    /// An environment that has not been reset.
    pub(super) fn environment(
        library: &Arc<Library>,
        task: &'static dyn Task,
    ) -> Result<Episode<Self>, MujocoError> {
        let about = task.about();
        let simulation = Self::new(library, task)?;
        let model = simulation.data.model();
        let (low, high) = model.control_ranges().chunks_exact(2).map(|range| (range[0], range[1])).unzip();
        let unbounded = vec![f64::INFINITY; about.observation];
        let spec = Spec {
            name: about.name.into(),
            observation: Space::symmetric(&unbounded),
            action: Space::Box { low, high },
            time_limit: Some(about.time_limit),
            reward_threshold: about.reward_threshold,
            seconds: simulation.seconds(),
        };
        Ok(Episode::new(spec, simulation))
    }

    /// A simulation at the initial positions.
    pub(super) fn new(library: &Arc<Library>, task: &'static dyn Task) -> Result<Self, MujocoError> {
        let model = library.model(task.about().body_name, task.about().body)?;
        let data = Data::new(&model)?;
        let physics = vec![0.0; 1 + data.state_size(INTEGRATION)];
        let mut simulation = Self { task, data, physics };
        let (qpos, qvel) = (model.initial().to_vec(), vec![0.0; model.nv()]);
        simulation.begin(&qpos, &qvel);
        Ok(simulation)
    }

    /// Starts at these positions and velocities, without anything left of what was before.
    pub(super) fn begin(&mut self, qpos: &[f64], qvel: &[f64]) {
        self.data.reset();
        self.data.set_state(STATE_QPOS, qpos);
        self.data.set_state(STATE_QVEL, qvel);
        self.data.forward();
        self.save();
    }

    /// Seconds of one step of the task.
    fn seconds(&self) -> f64 {
        self.data.model().timestep() * f64::from(self.task.about().frames)
    }

    fn save(&mut self) {
        self.physics[0] = self.task.place(&self.data.view());
        self.data.read_state(INTEGRATION, &mut self.physics[1..]);
    }
}

impl Dynamics for Simulation {
    fn start(&mut self, random: &mut Generator) {
        let model = self.data.model();
        let (mut qpos, mut qvel) = (model.initial().to_vec(), vec![0.0; model.nv()]);
        self.task.start(random, &mut qpos, &mut qvel);
        self.begin(&qpos, &qvel);
    }

    fn observe(&self, observation: &mut [f64]) {
        self.task.observe(&self.data.view(), observation);
    }

    fn advance(&mut self, action: Action<'_>) -> (f64, bool) {
        let Action::Continuous(action) = action else { unreachable!("the action was checked") };
        let about = self.task.about();
        self.data.set_state(STATE_CTRL, action);
        for _ in 0..about.frames {
            self.data.step();
        }
        if about.external_forces {
            self.data.external_forces();
        }
        let before = self.physics[0];
        self.save();
        if self.data.bad() > 0 {
            return (f64::NAN, true);
        }
        let velocity = (self.physics[0] - before) / self.seconds();
        self.task.outcome(&self.data.view(), action, velocity)
    }

    fn physics(&self) -> &[f64] {
        &self.physics
    }

    fn physics_mut(&mut self) -> &mut [f64] {
        &mut self.physics
    }

    fn restored(&mut self) {
        self.data.reset();
        self.data.set_state(INTEGRATION, &self.physics[1..]);
        // For drawings and observations; what it changes of the state is put back.
        self.data.forward();
        self.data.set_state(INTEGRATION, &self.physics[1..]);
    }

    fn scene(&self) -> Scene {
        let trunk = self.data.view().xpos[3..6].try_into().expect("a body is at three numbers");
        scene::draw(self.task.about(), trunk, self.data.shapes())
    }
}
