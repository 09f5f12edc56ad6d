//! What a run learns from.

use poiesis_collect::{Dataset, Split};

use crate::data::{Content, DataSpec, Examples, Experience};
use crate::error::{Error, Result};
use crate::run::DataInfo;

/// What a run learns from: a data set, or anything else that says as much of itself.
#[derive(Clone)]
pub struct TrainingData {
    /// What the examples are.
    pub spec: DataSpec,
    /// Those that are trained on.
    pub train: Examples,
    /// Those that are held out, if there are any.
    pub held_out: Option<Examples>,
    /// What `run.json` says of them. Its fingerprint must be the same where a run is continued; its source is that of the
    /// configuration.
    pub info: DataInfo,
}

impl TrainingData {
    /// The examples of a data set: its train split, and its validation split, else its test split, as held out.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when it has no train split or holds episodes, and those of [`DataSpec::of`].
    pub fn of(dataset: &Dataset) -> Result<TrainingData> {
        let (card, spec) = (dataset.card(), DataSpec::of(dataset)?);
        if let Content::Experience(_) = spec.content {
            let reason = "these are episodes, from which agents learn, as data.demonstrations";
            let remedy = "train a model such as bc or gail on them, or give data of another kind";
            return Err(Error::invalid_value("data.source", &card.name, reason, remedy));
        }
        let train = Examples::of(dataset, Split::Train).ok_or_else(|| no_split(dataset))?;
        let held_out =
            [Split::Validation, Split::Test].into_iter().find_map(|split| Examples::of(dataset, split));
        let count = |split: Split| Examples::of(dataset, split).map(|all| (split.to_string(), all.len()));
        let info = DataInfo {
            name: card.name.clone(),
            source: String::new(),
            fingerprint: card.fingerprint.clone(),
            shape: card.shape.clone(),
            classes: card.classes.clone(),
            spec: Some(spec.clone()),
            counts: [Split::Train, Split::Validation, Split::Test].into_iter().filter_map(count).collect(),
        };
        Ok(TrainingData { spec, train, held_out, info })
    }

    /// An environment in which an agent acts, with demonstrations where there are any. The shape of an example is the number of
    /// values of an observation and of an action.
    pub fn of_experience(experience: &Experience) -> TrainingData {
        let task = experience.task.clone();
        let train = Examples::Experience(experience.clone());
        let demonstrations = experience.demonstrations.is_some();
        let info = DataInfo {
            name: experience.environment.name().to_owned(),
            source: String::new(),
            fingerprint: experience.fingerprint.clone(),
            shape: vec![task.observation, task.actions.width()],
            classes: Vec::new(),
            spec: Some(DataSpec { content: Content::Experience(task.clone()), classes: 0 }),
            counts: demonstrations.then(|| ("train".to_owned(), train.len())).into_iter().collect(),
        };
        let spec = DataSpec { content: Content::Experience(task), classes: 0 };
        TrainingData { spec, train, held_out: None, info }
    }
}

fn no_split(dataset: &Dataset) -> Error {
    Error::InvalidValue {
        key: "data.source".into(),
        value: dataset.card().name.clone(),
        reason: "it has no train split".into(),
        remedy: "collect it from a source with training examples".into(),
    }
}
