//! A small task with a scripted expert, for tests of what imitates.

use burn::tensor::Device;
use poiesis_collect::{ActionsCard, Dataset, Episode, Episodes, ExperienceWriter, Split, write_experience};
use poiesis_envs::{Action, EnvError, Environment, Scene, Space, Spec, Transition};

use crate::abilities::{Act, Acting, Chosen};
use crate::data::{
    Content, DataSpec, EnvironmentSource, Examples, Experience, Source, SourceOptions, TaskShape,
};
use crate::rng;

/// The distance between two places.
const STRIDE: f64 = 0.2;

/// No place is further from home.
const LAST: i32 = 8;

/// Episodes start at most so far from home.
const FURTHEST_START: i32 = 5;

/// Steps in an episode.
pub(crate) const LINE_STEPS: usize = 20;

/// Places in a row, of which the middle one is home. A step goes left, stays or goes right, and earns 1 where it ends at home. It starts up
/// to five places from there, on either side.
pub(crate) struct Line {
    spec: Spec,
    place: i32,
    steps: usize,
}

impl Line {
    fn new() -> Line {
        let spec = Spec {
            name: "line".into(),
            observation: Space::symmetric(&[STRIDE * f64::from(LAST)]),
            action: Space::Discrete(3),
            time_limit: Some(LINE_STEPS),
            reward_threshold: None,
            seconds: 0.0,
        };
        Line { spec, place: 0, steps: LINE_STEPS }
    }

    /// Starts an episode here.
    fn begin(&mut self, place: i32) {
        (self.place, self.steps) = (place, 0);
    }

    /// Acts, and returns the reward.
    fn go(&mut self, choice: usize) -> f64 {
        self.place = (self.place + choice as i32 - 1).clamp(-LAST, LAST);
        self.steps += 1;
        f64::from(u8::from(self.place == 0))
    }

    fn shown(&self) -> f64 {
        STRIDE * f64::from(self.place)
    }

    /// The environment as a source.
    pub(crate) fn source() -> EnvironmentSource {
        EnvironmentSource::own("line", || Ok(Box::new(Line::new())))
    }

    /// What an agent sees and does.
    pub(crate) fn task() -> TaskShape {
        TaskShape::of("line", &Line::new().spec)
    }

    /// What the expert does: it goes home and stays there.
    fn expert(&self) -> usize {
        (1 - self.place.signum()) as usize
    }

    /// What `choose` earns in an episode from each of `starts`, on average.
    fn earned(starts: &[i32], mut choose: impl FnMut(&Line) -> usize) -> f64 {
        let mut line = Line::new();
        let mut sum = 0.0;
        for &start in starts {
            line.begin(start);
            for _ in 0..LINE_STEPS {
                let choice = choose(&line);
                sum += line.go(choice);
            }
        }
        sum / starts.len() as f64
    }

    /// What the expert earns from these starts, on average.
    pub(crate) fn earned_by_expert(starts: &[i32]) -> f64 {
        Line::earned(starts, Line::expert)
    }

    /// What the most probable actions of an agent earn from these starts, on average.
    pub(crate) fn earned_by(agent: &dyn Act, starts: &[i32]) -> f64 {
        let (mut actor, mut chosen) = (agent.actor(), Chosen::default());
        Line::earned(starts, |line| {
            actor.act(&[line.shown()], Acting::Mode, &mut chosen);
            let Chosen::Discrete(choices) = &chosen else { panic!("choices, not {chosen:?}") };
            choices[0]
        })
    }

    /// The expert's episodes from these starts; the folder goes when the first value is dropped.
    pub(crate) fn demonstrations(starts: &[i32]) -> (tempfile::TempDir, Episodes) {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("demonstrations");
        let mut line = Line::new();
        let episodes = starts.iter().map(|&start| {
            line.begin(start);
            let mut episode = Episode { observations: vec![line.shown() as f32], ..Episode::default() };
            for _ in 0..LINE_STEPS {
                let choice = line.expert();
                episode.rewards.push(line.go(choice) as f32);
                episode.actions.push(choice as f32);
                episode.observations.push(line.shown() as f32);
            }
            Ok::<_, poiesis_collect::Error>(episode)
        });
        let writer = ExperienceWriter::new(1, ActionsCard::Discrete { choices: 3 });
        write_experience(&out, &writer, episodes).unwrap();
        let episodes = Dataset::open(&out).unwrap().episodes(Split::Train).unwrap();
        (folder, episodes)
    }

    /// The task with the expert's episodes from these starts, stepped `environments` at a time.
    pub(crate) fn experience(starts: &[i32], environments: usize) -> (tempfile::TempDir, Experience) {
        let (folder, episodes) = Line::demonstrations(starts);
        let alone = Experience::of(Line::source(), environments).unwrap();
        (folder, alone.with_demonstrations(episodes, "line").unwrap())
    }

    /// Everywhere an episode starts but at home.
    pub(crate) fn starts() -> Vec<i32> {
        (-FURTHEST_START..=FURTHEST_START).filter(|&place| place != 0).collect()
    }

    /// The task as a model sees it.
    pub(crate) fn spec() -> DataSpec {
        DataSpec { content: Content::Experience(Line::task()), classes: 0, unlabelled: false }
    }

    /// A source of `experience`.
    pub(crate) fn open<S: Source>(
        needs: &S::Needs,
        experience: &Experience,
        batch_size: usize,
        device: &Device,
    ) -> crate::error::Result<S> {
        let (examples, spec) = (Examples::Experience(experience.clone()), Line::spec());
        S::open(needs, &SourceOptions { examples: &examples, spec: &spec, batch_size, seed: 3, device })
    }
}

impl Environment for Line {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: u64, observation: &mut [f64]) -> Result<(), EnvError> {
        let places = 2 * FURTHEST_START as u64 + 1;
        self.begin(rng::below(&mut rng::generator(seed, "line", 0), places) as i32 - FURTHEST_START);
        observation[0] = self.shown();
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Transition, EnvError> {
        let Action::Discrete(choice) = action else { panic!("a choice, not {action:?}") };
        let reward = self.go(choice);
        observation[0] = self.shown();
        Ok(Transition { reward, terminated: false, truncated: self.steps >= LINE_STEPS })
    }

    fn state(&self) -> Vec<f64> {
        vec![f64::from(self.place), self.steps as f64]
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvError> {
        (self.place, self.steps) = (state[0] as i32, state[1] as usize);
        Ok(())
    }

    fn scene(&self) -> Scene {
        Scene::default()
    }
}
