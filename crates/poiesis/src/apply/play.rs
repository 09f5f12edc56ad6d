//! Episodes to look at: an animation at the true speed of the environment, with the step and the return so far.

use std::path::Path;

use poiesis_envs::{Scene, Spec};

use crate::error::{Error, Result};
use crate::generate::PlayedEpisode;
use crate::picture::{Timing, animation, scene, scene_size};

/// Least milliseconds of a frame: 25 frames a second look smooth and keep files small.
const SHORTEST: f64 = 40.0;
/// Milliseconds of a step where the environment does not say how long it is.
const UNKNOWN: f64 = 50.0;
/// Milliseconds for which the last frame of an episode is shown.
const HOLD: u32 = 800;

/// A file format of animations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnimationFormat {
    /// One palette for all frames, which every viewer plays.
    Gif,
    /// Lossless.
    Apng,
}

impl AnimationFormat {
    /// The format that the ending of a name says.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for any other ending than `.gif`, `.png` and `.apng`.
    pub fn of(path: &Path) -> Result<AnimationFormat> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("gif") => Ok(AnimationFormat::Gif),
            Some("png" | "apng") => Ok(AnimationFormat::Apng),
            _ => Err(Error::invalid_value(
                "record",
                &path.display().to_string(),
                "it is neither a GIF nor a PNG",
                "give a name that ends in .gif or .png",
            )),
        }
    }
}

/// Frames of episodes, which are drawn when the animation is written.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    frames: Vec<(Scene, String)>,
    /// Milliseconds of a frame.
    delay: u32,
    size: Option<(usize, usize)>,
}

impl Recording {
    /// Adds an episode whose scenes were kept. Frames are as far apart as in the environment; where its steps are shorter than a frame,
    /// some are left out. `numbered` writes the number of the episode beside its step and return.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the environment draws nothing.
    ///
    /// # Panics
    ///
    /// When the scenes of the episode were not kept.
    pub fn add(&mut self, spec: &Spec, episode: &PlayedEpisode, numbered: bool) -> Result<()> {
        assert_eq!(episode.scenes.len(), episode.length + 1, "a scene before and after each step");
        if self.size.is_none() {
            self.size = scene_size(&episode.scenes[0]);
        }
        if self.size.is_none() {
            let reason = format!("{} draws nothing, as environments in programs of their own do", spec.name);
            return Err(Error::invalid_value("record", "set", &reason, "leave it out"));
        }
        let (delay, steps) = frame_times(spec.seconds, episode.length);
        self.delay = delay;
        let sums: Vec<f64> = [0.0]
            .into_iter()
            .chain(episode.rewards.iter().scan(0.0, |sum, reward| {
                *sum += reward;
                Some(*sum)
            }))
            .collect();
        let number = if numbered { format!("{}: ", episode.number + 1) } else { String::new() };
        for step in steps {
            let words = format!("{number}step {step}  return {}", short(sums[step]));
            self.frames.push((episode.scenes[step].clone(), words));
        }
        Ok(())
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether no episode was added.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Draws the frames and writes them as the ending of the name says.
    ///
    /// # Errors
    ///
    /// Those of [`AnimationFormat::of`], and of writing.
    ///
    /// # Panics
    ///
    /// When no episode was added.
    pub fn write(&self, path: &Path) -> Result<()> {
        let size = self.size.expect("an episode was added");
        let timing = Timing { delay: self.delay, hold: 2 * HOLD, plays: 0 };
        let mut frame = |index: usize| {
            let (drawn, words) = &self.frames[index];
            Ok(scene(drawn, size, words))
        };
        match AnimationFormat::of(path)? {
            AnimationFormat::Gif => animation::write_gif(path, self.frames.len(), timing, &mut frame),
            AnimationFormat::Apng => animation::write_apng(path, self.frames.len(), timing, &mut frame),
        }
    }
}

/// Milliseconds of each frame, a multiple of 10 as GIF needs, and the steps that are shown of an episode of `length` steps: those
/// nearest to the times of the frames, and the last one for as long as it is held.
fn frame_times(seconds: f64, length: usize) -> (u32, Vec<usize>) {
    let step = if seconds > 0.0 { 1000.0 * seconds } else { UNKNOWN };
    // Steps that are almost as long as a frame have one each.
    let delay = 10.0 * (step / 10.0).round().max(SHORTEST / 10.0).min(f64::from(u16::MAX) / 10.0).floor();
    let steps = (0..).map(|frame| (f64::from(frame) * delay / step).round() as usize);
    let mut shown: Vec<usize> = steps.take_while(|&step| step < length).collect();
    let held = (f64::from(HOLD) / delay).ceil() as usize;
    shown.extend(std::iter::repeat_n(length, held.max(1)));
    (delay as u32, shown)
}

/// A return of few letters.
fn short(value: f64) -> String {
    // Adding 0 makes -0 plain.
    if value.fract() == 0.0 { format!("{:.0}", value + 0.0) } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::data::EnvironmentSource;
    use crate::generate::{EpisodesRequest, Player, episodes};

    #[test]
    fn frames_keep_the_speed_of_the_environment() {
        // Steps of 20 ms in frames of 40: every second step, then the last one for 0.8 s.
        let (delay, steps) = frame_times(0.02, 9);
        assert_eq!((delay, &steps[..5], steps.len()), (40, &[0, 2, 4, 6, 8][..], 5 + 20));
        assert!(steps[5..].iter().all(|&step| step == 9));
        // Steps of 8 ms, as the hopper has: 1000 of them are 8 s, 200 frames.
        let (delay, steps) = frame_times(0.008, 1000);
        assert_eq!((delay, steps.len() - 20), (40, 200));
        assert_eq!(&steps[..3], [0, 5, 10]);
        // Long steps have a frame each.
        let (delay, steps) = frame_times(0.2, 3);
        assert_eq!((delay, &steps[..]), (200, &[0, 1, 2, 3, 3, 3, 3][..]));
        // 33 ms: the time of frame i is 40 i, which is nearest to step 1.2 i.
        let (delay, steps) = frame_times(1.0 / 30.0, 60);
        assert_eq!((delay, steps[..6].to_vec()), (40, vec![0, 1, 2, 4, 5, 6]));
        assert_eq!(frame_times(0.0, 2).0, 50);
    }

    fn recorded(count: u64) -> Result<Recording> {
        let source = EnvironmentSource::parse("cartpole").unwrap();
        let request =
            EpisodesRequest { seed: 0, first: 0, count, max_steps: 10, transitions: false, scenes: true };
        let mut recording = Recording::default();
        episodes(Player::Random, &source, &request, &mut |spec, episode| {
            recording.add(spec, &episode, count > 1)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(recording)
    }

    #[test]
    fn animations_are_written_in_both_formats() {
        let folder = tempfile::tempdir().unwrap();
        let recording = recorded(2).unwrap();
        assert_eq!(recording.len(), 2 * (5 + 20));
        assert_eq!(
            (recording.frames[0].1.as_str(), recording.frames[2].1.as_str()),
            ("1: step 0  return 0", "1: step 4  return 4")
        );
        for name in ["play.gif", "play.png"] {
            let path = folder.path().join(name);
            recording.write(&path).unwrap();
            assert!(std::fs::metadata(path).unwrap().len() > 2000);
        }
        let error = recording.write(&folder.path().join("play.mp4")).unwrap_err();
        assert_eq!(error.hint().unwrap(), "give a name that ends in .gif or .png");
    }

    #[test]
    fn an_environment_that_draws_nothing_is_refused() {
        let spec = poiesis_envs::make("cartpole").unwrap().spec().clone();
        let episode = PlayedEpisode {
            length: 1,
            rewards: vec![1.0],
            scenes: vec![Scene::default(); 2],
            ..Default::default()
        };
        let error = Recording::default().add(&spec, &episode, false).unwrap_err();
        assert!(error.to_string().contains("draws nothing"), "{error}");
    }
}
