//! Requests for examples.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::abilities::{Accepts, SamplingParams};
use crate::config::Faults;
use crate::error::{Error, Result};
use crate::media::{Codec, Keep, Media};

/// Example numbers are below this: they are part of the key of the random streams.
const NUMBERS: u64 = 1 << 40;

/// A request for examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Seed of the sequence of examples.
    pub seed: u64,
    /// Number of the first example in that sequence.
    pub first: u64,
    /// How many examples.
    pub count: u64,
    /// The condition of each example.
    pub condition: Condition,
    /// Sampling parameters.
    pub params: SamplingParams,
    /// Maximum tokens of a text or frames of a sound, without the prompt; the model's own length if not given.
    pub max_len: Option<usize>,
    /// Examples generated in parallel by an autoregressive model. Their bytes do not depend on it.
    pub batch_size: usize,
}

/// What is given for each example.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// Its class. If not given, classes take turns by the number of the example, and the first turn is that of no class where the model
    /// has learned examples without one, see [`Turns`]: so a single example, such as the continuation of a prompt, is of class 0, or of none.
    pub class: Option<u32>,
    /// Whether it has no class, for a model that has learned examples without one. Not together with a class.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_class: bool,
    /// Its beginning.
    pub prompt: Option<Media>,
    /// The parts of it that are kept.
    pub keep: Option<Keep>,
}

/// What takes turns where a request names no class: the classes, and before them examples without a class, where a model knows those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// How many classes the model is conditioned on.
    pub classes: usize,
    /// Whether it has learned examples without a class beside those of classes.
    pub no_class: bool,
}

impl Turns {
    /// Turns of `classes` classes.
    pub fn of_classes(classes: usize) -> Turns {
        Turns { classes, no_class: false }
    }

    /// How many examples there are until the first class comes again.
    pub fn count(self) -> usize {
        self.classes + usize::from(self.no_class)
    }

    /// The class of example `index`.
    pub fn class(self, index: u64) -> Option<u32> {
        let turn = index.checked_rem(self.count() as u64)?;
        turn.checked_sub(u64::from(self.no_class)).map(|class| class as u32)
    }
}

impl Default for Request {
    /// One example of seed 0.
    fn default() -> Request {
        Request {
            seed: 0,
            first: 0,
            count: 1,
            condition: Condition::default(),
            params: SamplingParams::default(),
            max_len: None,
            batch_size: 16,
        }
    }
}

impl Request {
    /// The numbers of the examples.
    pub fn indices(&self) -> Range<u64> {
        self.first..self.first + self.count
    }

    /// Whether each example has the class whose turn it is: no class is given, nor that there is none.
    pub fn takes_turns(&self) -> bool {
        self.condition.class.is_none() && !self.condition.no_class
    }

    /// The class of example `index` for a model with these turns: the one given, or each in turn.
    pub fn class_of(&self, index: u64, turns: Turns) -> Option<u32> {
        if self.takes_turns() { turns.class(index) } else { self.condition.class }
    }

    /// Returns an error that names what is not accepted, or the invalid values; the model knows the classes of `turns`.
    pub(super) fn check(&self, accepts: &Accepts, turns: Turns, codec: &Codec) -> Result<()> {
        let condition = &self.condition;
        let given = [
            ("class", condition.class.is_some(), accepts.class),
            ("no_class", condition.no_class, accepts.class),
            ("prompt", condition.prompt.is_some(), accepts.prompt),
            ("keep", condition.keep.is_some(), accepts.keep),
            ("max_len", self.max_len.is_some(), accepts.max_len),
        ];
        let refused =
            given.into_iter().filter(|(_, given, accepted)| *given && !accepted).map(|(name, ..)| name);
        let refused: Vec<&str> = refused.chain(self.params.refused(accepts)).collect();
        if !refused.is_empty() {
            return Err(Error::NotAccepted { what: refused.join(", "), media: codec.kind().name() });
        }
        if let Some(keep) = &condition.keep {
            codec.expect_picture(&keep.image, "the image")?;
        }
        self.faults(turns).into_result()
    }

    /// Values that no request to a model that knows these classes can have.
    fn faults(&self, turns: Turns) -> Faults {
        let mut faults = Faults::default();
        self.params.check(&mut faults);
        let Condition { class, no_class, .. } = self.condition;
        if let Some(class) = class.filter(|&class| class as usize >= turns.classes) {
            let reason = format!("the model knows {} classes", turns.classes);
            faults.add("class", class, &reason, "give one of them, from 0");
        }
        if no_class && class.is_some() {
            faults.add("no_class", no_class, "a class is given too", "leave out one of the two");
        } else if no_class && !turns.no_class {
            let reason = "the model has learned no examples without a class";
            faults.add("no_class", no_class, reason, "leave it out, or give a class");
        }
        if self.first.checked_add(self.count).is_none_or(|end| end > NUMBERS) {
            faults.add("first", self.first, "numbers of examples are below 2^40", "give a smaller one");
        }
        if let Some(Keep { image, mask }) = &self.condition.keep {
            let pixels = image.width() * image.height();
            if mask.len() != pixels {
                let reason = format!("the image has {pixels} pixels");
                faults.add("mask", mask.len(), &reason, "give one value for each");
            }
        }
        faults
    }
}
