//! How many steps an epoch takes.

use super::TrainingData;
use crate::catalogue;
use crate::config::RunConfig;
use crate::data::{Amount, Content};
use crate::device;
use crate::error::{Error, Result};
use crate::model::Start;

/// A number of epochs as a number of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epochs {
    /// How often the train split is read, such as 2.5.
    pub epochs: f64,
    /// What is in the train split: so many images, points, tokens of text, samples of sound or values of images.
    pub examples: Amount,
    /// How much of it a step reads.
    pub step: Amount,
}

impl Epochs {
    /// Finds out how much a step reads of `data` with this configuration. An epoch is as many steps as read as much as the train split
    /// holds. Models that draw windows of text or sound at random read some of it twice and some of it not at all.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for an agent, which makes its own experience, for a number that is not positive, and where the data do not
    /// fit the configuration.
    pub fn of(epochs: f64, config: &RunConfig, data: &TrainingData) -> Result<Epochs> {
        let invalid = |reason: &str, remedy: &str| {
            Err(Error::invalid_value("epochs", &epochs.to_string(), reason, remedy))
        };
        if !(epochs > 0.0 && epochs.is_finite()) {
            return invalid("it says how often the train split is read", "give a number above 0, such as 3");
        }
        if let Content::Experience(_) = data.spec.content {
            let reason = format!("the agent `{}` learns from what it does, which has no end", config.model);
            return invalid(&reason, "give the number of steps");
        }
        let entry = catalogue::find(&config.model)?;
        catalogue::expect_media(entry, &data.spec)?;
        let device = device::device(&config.device)?.autodiff();
        let step = entry
            .amount(Start { config, spec: &data.spec, examples: data.train.clone(), device })
            .map_err(|error| error.of_data(&data.info.name))?;
        let count = data.train.len() * values_of_each(&data.spec.content, step.unit);
        Ok(Epochs { epochs, examples: Amount { count, ..step }, step })
    }

    /// The number of steps, at least one.
    pub fn steps(&self) -> u64 {
        let exact = self.epochs * self.examples.count as f64 / self.step.count.max(1) as f64;
        (exact.ceil() as u64).max(1)
    }
}

/// How many of what a step counts are in each element of a split.
fn values_of_each(content: &Content, unit: &str) -> u64 {
    match content {
        // Models of sequences read the values of an image one by one.
        Content::Images(shape) if unit == "values" => shape.dims() as u64,
        // A split counts frames, of which each has a sample for each channel.
        Content::Sound(shape) => u64::from(shape.channels),
        Content::Images(_) | Content::Text(_) | Content::Points(_) | Content::Experience(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageShape, SoundShape};

    fn steps(epochs: f64, examples: u64, step: u64) -> u64 {
        let amount = |count| Amount { count, unit: "images" };
        Epochs { epochs, examples: amount(examples), step: amount(step) }.steps()
    }

    #[test]
    fn the_last_batch_is_counted_whole() {
        assert_eq!(steps(1.0, 640, 64), 10);
        assert_eq!(steps(1.0, 641, 64), 11);
        assert_eq!(steps(3.0, 50_000, 64), 2344);
        assert_eq!(steps(0.5, 640, 64), 5);
        assert_eq!(steps(1.0, 3, 64), 1);
        assert_eq!(steps(1e-9, 3, 64), 1);
    }

    #[test]
    fn what_is_counted_is_what_a_step_reads() {
        let images = Content::Images(ImageShape { height: 4, width: 5, channels: 3 });
        assert_eq!((values_of_each(&images, "images"), values_of_each(&images, "values")), (1, 60));
        let sound = Content::Sound(SoundShape { sample_rate: 8000, channels: 2 });
        assert_eq!(values_of_each(&sound, "samples"), 2);
    }
}
