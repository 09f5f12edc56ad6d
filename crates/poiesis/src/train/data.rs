//! What a run learns from.

use poiesis_collect::{Card, Dataset, Split};

use crate::data::{Content, DataSpec, Examples, Experience};
use crate::error::{Error, Result};
use crate::run::{DataInfo, RunInfo};

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
            class_counts: class_counts(card),
            spec: Some(spec.clone()),
            counts: [Split::Train, Split::Validation, Split::Test].into_iter().filter_map(count).collect(),
        };
        Ok(TrainingData { spec, train, held_out, info })
    }

    /// The same, read as a run that exists reads it: one that was made before examples without a class were told apart keeps its tokens,
    /// and one that was made before samples fitted the columns of a table keeps them as they are drawn.
    ///
    /// # Errors
    ///
    /// Those of [`DataInfo::spec`].
    pub(super) fn for_run(self, run: &RunInfo) -> Result<TrainingData> {
        let of_run = run.data.spec()?;
        let mut data = self.with_unlabelled(of_run.unlabelled);
        if let (Content::Points(own), Content::Points(of_run)) = (&mut data.spec.content, &of_run.content) {
            own.values.clone_from(&of_run.values);
        }
        data.info.spec = Some(data.spec.clone());
        Ok(data)
    }

    /// The same, with or without a token of their own for examples without a class.
    pub(super) fn with_unlabelled(self, unlabelled: bool) -> TrainingData {
        let spec = DataSpec { unlabelled, ..self.spec };
        let info = DataInfo { spec: Some(spec.clone()), ..self.info };
        TrainingData { spec, info, ..self }
    }

    /// An environment in which an agent acts, with demonstrations where there are any. The shape of an example is the number of
    /// values of an observation and of an action.
    pub fn of_experience(experience: &Experience) -> TrainingData {
        let task = experience.task.clone();
        let train = Examples::Experience(experience.clone());
        let demonstrations = experience.demonstrations.is_some();
        let content = Content::Experience(task.clone());
        let spec = DataSpec { content, classes: 0, unlabelled: false };
        let info = DataInfo {
            name: experience.environment.name().to_owned(),
            source: String::new(),
            fingerprint: experience.fingerprint.clone(),
            shape: vec![task.observation, task.actions.width()],
            classes: Vec::new(),
            class_counts: Vec::new(),
            spec: Some(spec.clone()),
            counts: demonstrations.then(|| ("train".to_owned(), train.len())).into_iter().collect(),
        };
        TrainingData { spec, train, held_out: None, info }
    }
}

/// The number of training examples of each class; empty without classes.
fn class_counts(card: &Card) -> Vec<u64> {
    let train = card.splits.iter().find(|split| split.split == Split::Train);
    train.map(|train| train.class_counts.clone()).unwrap_or_default()
}

fn no_split(dataset: &Dataset) -> Error {
    Error::InvalidValue {
        key: "data.source".into(),
        value: dataset.card().name.clone(),
        reason: "it has no train split".into(),
        remedy: "collect it from a source with training examples".into(),
    }
}
