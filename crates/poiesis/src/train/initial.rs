//! Fine-tuning: a new run that starts from the weights of another one.

use std::path::Path;

use burn::tensor::Device;

use crate::config::{Layer, RunConfig};
use crate::data::{Content, DataSpec, open};
use crate::error::{Error, Result};
use crate::model::Session;
use crate::nn::{Arrays, StateDict};
use crate::run::{DataInfo, Parent, differences};
use crate::trained::Trained;

/// How many of the arrays that do not fit are named.
const NAMED: usize = 8;

/// The weights that a new run starts from: those of a checkpoint of another run of the same model.
///
/// Only weights are taken over. The optimizers start anew, and so do the number of steps and the learning rate schedule.
#[derive(Clone)]
pub struct InitialWeights {
    parent: Parent,
    /// The name of that run.
    name: String,
    config: RunConfig,
    spec: DataSpec,
    data: DataInfo,
    arrays: Arrays,
}

impl InitialWeights {
    /// The weights of a model as it was opened: averaged ones by default.
    pub fn of(trained: &Trained) -> InitialWeights {
        InitialWeights {
            parent: Parent {
                run: open::lasting(&trained.path().to_string_lossy()),
                step: trained.step,
                weights: trained.weights().name().to_owned(),
                fingerprint: trained.fingerprint(),
            },
            name: trained.info.id.clone(),
            config: trained.config.clone(),
            spec: trained.spec.clone(),
            data: trained.info.data.clone(),
            arrays: trained.arrays(),
        }
    }

    /// Where they are from, as `run.json` of the new run says it.
    pub fn parent(&self) -> &Parent {
        &self.parent
    }

    /// The name of the run that they are from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the new run takes over of the settings of that run, where nothing else is given: the model's own section, and how data are
    /// prepared, so that they have the same shape. With `same_data`, everything that says what the data are. Warm-ups of the model are over.
    pub fn settings(&self, same_data: bool) -> Layer {
        let mut all = self.config.to_table();
        let mut values = toml::Table::new();
        let model = self.config.model.as_str();
        if let Some(toml::Value::Table(mut section)) = all.remove(model) {
            // To begin one again would undo what was learned.
            for (_, value) in section.iter_mut().filter(|(key, _)| key.ends_with("warmup_steps")) {
                *value = 0.into();
            }
            values.insert(model.to_owned(), toml::Value::Table(section));
        }
        let data = match all.remove("data") {
            Some(toml::Value::Table(data)) if same_data => data,
            Some(toml::Value::Table(data)) => self.preparation(&data),
            _ => toml::Table::new(),
        };
        values.insert("data".to_owned(), toml::Value::Table(data));
        Layer { origin: format!("run {}", self.name), values }
    }

    /// The keys of `[data]` that decide the shape of examples and the range of their values. What that run left to its data is taken from
    /// what they were.
    fn preparation(&self, data: &toml::Table) -> toml::Table {
        let keys: &[&str] = match &self.spec.content {
            Content::Images(_) => &["size", "crop", "channels", "background", "binarize", "invert"],
            Content::Text(_) => &["vocabulary", "vocabulary_size"],
            Content::Sound(_) => &["sample_rate", "mono"],
            Content::Points(_) | Content::Experience(_) => &[],
        };
        let given = keys.iter().filter_map(|&key| Some((key.to_owned(), data.get(key)?.clone())));
        let mut kept: toml::Table = given.collect();
        let mut set = |key: &str, value: toml::Value| drop(kept.insert(key.to_owned(), value));
        match &self.spec.content {
            Content::Images(shape) => {
                set("channels", (shape.channels as i64).into());
                if shape.height == shape.width {
                    set("size", (shape.height as i64).into());
                }
            }
            Content::Text(text) if text.vocabulary == poiesis_collect::Vocabulary::Bytes => {
                set("vocabulary", "bytes".into());
            }
            Content::Sound(sound) => {
                set("sample_rate", i64::from(sound.sample_rate).into());
                set("mono", (sound.channels == 1).into());
            }
            _ => {}
        }
        kept
    }

    /// Checks that the weights are of this model.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStart`].
    pub fn expect_model(&self, model: &str) -> Result<()> {
        if self.config.model == model {
            return Ok(());
        }
        let reason =
            format!("it is a run of the model `{}`, and `{model}` is to be trained", self.config.model);
        let remedy = format!("train {}, or start from a run of {model}", self.config.model);
        Err(self.refusal(reason, remedy))
    }

    /// Checks that the weights are not those of the run that is to be trained.
    pub(super) fn expect_other_than(&self, out: &Path) -> Result<()> {
        if open::lasting(&out.to_string_lossy()) != self.parent.run {
            return Ok(());
        }
        let remedy = "give another folder for the new run, or resume that run";
        Err(self.refusal("it is the run that is to be trained".to_owned(), remedy.to_owned()))
    }

    /// Puts the weights into a model that is about to be trained on data of `info`, with `config`. Returns notes about what fits and means
    /// something else.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStart`] with all that differs, and the arrays that do not fit.
    pub(super) fn load_into(
        &self,
        session: &mut dyn Session,
        config: &RunConfig,
        spec: &DataSpec,
        info: &DataInfo,
        device: &Device,
    ) -> Result<Vec<String>> {
        self.expect_model(&config.model)?;
        let arrays = misfits(&self.arrays, &session.state_dict());
        // Tokens with other meanings are refused though the arrays fit.
        let tokens = self.other_tokens(spec);
        if !arrays.is_empty() || tokens.is_some() {
            return Err(self.misfit(&arrays, tokens, config, spec));
        }
        let weights = StateDict::from_arrays(self.arrays.clone(), &device.clone().inner());
        session.start_from(&weights).map_err(|reason| {
            self.refusal(reason, "give data like those that run was trained on".to_owned())
        })?;
        Ok(self.notes(spec, info))
    }

    /// Says that the tokens of text stand for something else, if they do.
    fn other_tokens(&self, spec: &DataSpec) -> Option<(String, String)> {
        let (Content::Text(there), Content::Text(here)) = (&self.spec.content, &spec.content) else {
            return None;
        };
        (there.vocabulary != here.vocabulary).then(|| {
            (
                format!(
                    "its {} tokens and the {} of these data stand for different text",
                    there.vocabulary.len(),
                    here.vocabulary.len()
                ),
                "collect both with `vocabulary` bytes, whose tokens are the same for every text".to_owned(),
            )
        })
    }

    /// The error for weights that do not fit, with what it comes from.
    fn misfit(
        &self,
        arrays: &[String],
        tokens: Option<(String, String)>,
        config: &RunConfig,
        spec: &DataSpec,
    ) -> Error {
        let mut causes: Vec<(String, String)> = tokens.into_iter().chain(self.other_data(spec)).collect();
        if causes.is_empty() {
            causes = self.other_settings(config);
        }
        // Not every model reads classes, so they are the cause where there is no other.
        if causes.is_empty() {
            causes.extend(self.other_classes(spec));
        }
        let (mut reasons, remedies): (Vec<String>, Vec<String>) = causes.into_iter().unzip();
        if !arrays.is_empty() {
            let more = arrays.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            let named = &arrays[..arrays.len().min(NAMED)];
            reasons.push(format!("these arrays differ: {}{more}", named.join(", ")));
        }
        let remedy = match remedies.first() {
            Some(remedy) => remedy.clone(),
            None => "start from a run whose model has the same size".to_owned(),
        };
        self.refusal(reasons.join("; "), remedy)
    }

    /// How the data differ in shape, and what to do about it.
    fn other_data(&self, spec: &DataSpec) -> Vec<(String, String)> {
        let mut found = Vec::new();
        match (&self.spec.content, &spec.content) {
            (Content::Images(there), Content::Images(here)) if there != here => {
                let [there, here] =
                    [there, here].map(|shape| format!("{}×{}×{}", shape.width, shape.height, shape.channels));
                found.push((
                    format!("its images are {there} and these {here}"),
                    format!("prepare the data with the size and the channels of that run, {there}"),
                ));
            }
            (Content::Points(there), Content::Points(here)) if there.dims != here.dims => found.push((
                format!("its points have {} coordinates and these {}", there.dims, here.dims),
                "give points with as many coordinates".to_owned(),
            )),
            (Content::Text(there), Content::Text(here)) if there.documents != here.documents => {
                let [there, here] = [there, here].map(|text| match text.documents {
                    true => "several documents",
                    false => "one text",
                });
                found.push((
                    format!("its data are {there} and these {here}"),
                    format!("collect these data as {there}"),
                ));
            }
            (Content::Experience(there), Content::Experience(here))
                if (there.observation, there.actions) != (here.observation, here.actions) =>
            {
                found.push((
                    format!("its environment has {} and this one {}", there.describe(), here.describe()),
                    "give an environment with the same observations and actions".to_owned(),
                ));
            }
            (there, here) if std::mem::discriminant(there) != std::mem::discriminant(here) => found.push((
                format!("it learned {} and these data are {}", self.spec.media().name(), spec.media().name()),
                format!("give data of {}", self.spec.media().name()),
            )),
            _ => {}
        }
        found
    }

    /// How the classes of the data differ in number, or in whether there are examples outside of them, and what to do about it.
    fn other_classes(&self, spec: &DataSpec) -> Option<(String, String)> {
        let classes = |count: usize| match count {
            0 => "no classes".to_owned(),
            1 => "1 class".to_owned(),
            count => format!("{count} classes"),
        };
        let (there, here) = (classes(self.spec.classes), classes(spec.classes));
        if there != here {
            let reason = format!("its data have {there} and these {here}");
            let remedy =
                format!("give data with {there}, or start from a run that is not conditioned on classes");
            return Some((reason, remedy));
        }
        let (reason, remedy) = match (self.spec.unlabelled, spec.unlabelled) {
            (true, false) => {
                ("some of its data have no class, and all of these have one", "leave some without")
            }
            (false, true) => {
                ("all of its data have a class, and some of these have none", "give each a class")
            }
            _ => return None,
        };
        Some((reason.to_owned(), remedy.to_owned()))
    }

    /// The model's own settings that differ.
    fn other_settings(&self, config: &RunConfig) -> Vec<(String, String)> {
        let section = |config: &RunConfig| match config.to_table().remove(&config.model) {
            Some(toml::Value::Table(section)) => section,
            _ => toml::Table::new(),
        };
        let changed = differences(&section(&self.config), &section(config));
        let each = changed.into_iter().map(|(key, there, here)| {
            let key = format!("{}.{key}", config.model);
            (
                format!("`{key}` is {there} there and {here} here"),
                format!("leave out `{key}`, so that it is that of the run"),
            )
        });
        each.collect()
    }

    /// What fits and means something else.
    fn notes(&self, spec: &DataSpec, info: &DataInfo) -> Vec<String> {
        let mut notes = Vec::new();
        let run = &self.name;
        if self.spec.classes == spec.classes && self.data.classes != info.classes {
            notes.push(format!("the classes of {run} have other names than these"));
        }
        match (&self.spec.content, &spec.content) {
            (Content::Sound(there), Content::Sound(here)) if there != here => notes.push(format!(
                "the sound of {run} has {} Hz and {} channels, this has {} Hz and {}",
                there.sample_rate, there.channels, here.sample_rate, here.channels
            )),
            (Content::Points(there), Content::Points(here)) if there.columns != here.columns => {
                notes.push(format!("the coordinates of {run} have other names than these"));
            }
            (Content::Experience(there), Content::Experience(here))
                if there.environment != here.environment =>
            {
                let (there, here) = (&there.environment, &here.environment);
                notes.push(format!("{run} acted in {there}, and this run acts in {here}"));
            }
            (Content::Images(there), Content::Images(here)) if there != here => notes.push(format!(
                "the images of {run} are {}×{}, and these {}×{}",
                there.width, there.height, here.width, here.height
            )),
            _ => {}
        }
        notes
    }

    fn refusal(&self, reason: String, remedy: String) -> Error {
        Error::NotAStart { run: Path::new(&self.parent.run).to_owned(), reason, remedy }
    }
}

/// What a run that exists was started from, and what is now given, where these differ: as a setting that has changed.
pub(super) fn other_parent(
    saved: Option<&Parent>,
    given: Option<&InitialWeights>,
) -> Option<(String, String, String)> {
    let given = given?.parent().run.as_str();
    let saved = saved.map_or("nothing", |parent| parent.run.as_str());
    (saved != given).then(|| ("the run to start from".to_owned(), saved.to_owned(), given.to_owned()))
}

/// The arrays that only one of two models has, or that have another shape, each in words.
fn misfits(there: &Arrays, here: &StateDict) -> Vec<String> {
    let own = here.iter().filter_map(|(name, array)| match there.get(name) {
        None => Some(format!("`{name}` is missing there")),
        Some(other) if other.shape != array.shape => {
            Some(format!("`{name}` is {:?} there and {:?} here", other.shape, array.shape))
        }
        Some(_) => None,
    });
    let only_there = there.keys().filter(|name| here.get(name).is_none());
    own.chain(only_there.map(|name| format!("`{name}` is missing here"))).collect()
}

#[cfg(test)]
mod tests {
    use poiesis_collect::Vocabulary;

    use super::*;
    use crate::catalogue;
    use crate::config::resolve;
    use crate::data::{ImageShape, TextShape};
    use crate::nn::Array;

    #[test]
    fn every_array_that_does_not_fit_is_named() {
        let arrays = |all: &[(&str, &[usize])]| -> Arrays {
            let array = |shape: &[usize]| Array::new(shape.to_vec(), vec![0.0; shape.iter().product()]);
            all.iter().map(|(name, shape)| ((*name).to_owned(), array(shape))).collect()
        };
        let there = arrays(&[("a", &[2, 3]), ("b", &[4]), ("old", &[1])]);
        let here = arrays(&[("a", &[2, 3]), ("b", &[5]), ("new", &[1])]);
        let here = StateDict::from_arrays(here, &Device::flex());
        assert_eq!(
            misfits(&there, &here),
            ["`b` is [4] there and [5] here", "`new` is missing there", "`old` is missing here"]
        );
        assert!(misfits(&there, &StateDict::from_arrays(there.clone(), &Device::flex())).is_empty());
    }

    fn weights(spec: DataSpec, settings: &str) -> InitialWeights {
        let layer = Layer::parse("test", settings).unwrap();
        let defaults = catalogue::find("vae").unwrap().defaults().unwrap();
        InitialWeights {
            parent: Parent { run: "/runs/first".into(), step: 30, ..Parent::default() },
            name: "first".into(),
            config: resolve(&defaults, &[layer]).unwrap().config,
            data: DataInfo { classes: vec!["a".into(); spec.classes], ..DataInfo::default() },
            spec,
            arrays: Arrays::new(),
        }
    }

    fn images(size: usize, channels: usize, classes: usize) -> DataSpec {
        let shape = ImageShape { height: size, width: size, channels };
        DataSpec { content: Content::Images(shape), classes, unlabelled: false }
    }

    #[test]
    fn the_model_and_the_shape_of_its_data_are_taken_over() {
        let first = weights(images(28, 1, 0), "data.source = 'a'\ndata.labels_file = 'b'\nvae.width = 7");
        let settings = first.settings(false);
        assert_eq!(settings.origin, "run first");
        let data = settings.values["data"].as_table().unwrap();
        assert_eq!((data["size"].as_integer(), data["channels"].as_integer()), (Some(28), Some(1)));
        assert!(!data.contains_key("source") && !data.contains_key("labels_file"));
        assert_eq!(settings.values["vae"]["width"].as_integer(), Some(7));
        assert!(!settings.values.contains_key("train") && !settings.values.contains_key("seed"));
        let same = first.settings(true);
        assert_eq!(same.values["data"]["source"].as_str(), Some("a"));
        assert_eq!(same.values["data"]["labels_file"].as_str(), Some("b"));
        let defaults = catalogue::find("vae").unwrap().defaults().unwrap();
        let resolved = resolve(&defaults, &[settings, Layer::single("--set", "vae.width", 9)]).unwrap();
        assert_eq!(resolved.origin("vae.width"), Some("--set"), "what is given wins");
        assert_eq!(resolved.origin("vae.latent_dim"), Some("run first"));
        assert_eq!(resolved.origin("train.steps"), Some("default"));
    }

    #[test]
    fn warm_ups_of_the_model_are_not_begun_again() {
        let first = weights(images(28, 1, 0), "vae.kl_warmup_steps = 1000\noptimizer.warmup_steps = 50");
        let settings = first.settings(true);
        assert_eq!(settings.values["vae"]["kl_warmup_steps"].as_integer(), Some(0));
        assert!(!settings.values.contains_key("optimizer"));
    }

    #[test]
    fn a_refusal_says_what_differs_first_in_the_data_then_in_the_settings() {
        let first = weights(images(28, 1, 10), "vae.width = 7");
        let arrays: Vec<String> = (0..20).map(|i| format!("`a.{i}` is [1] there and [2] here")).collect();
        let other = weights(images(32, 3, 3), "vae.width = 8").config;
        let error = first.misfit(&arrays, None, &other, &images(32, 3, 3));
        let said = error.to_string();
        assert!(said.starts_with("a run cannot start from the weights of /runs/first: "), "{said}");
        assert!(said.contains("its images are 28×28×1 and these 32×32×3"), "{said}");
        assert!(!said.contains("classes"), "not every model reads them: {said}");
        assert!(said.contains("`a.7` is [1] there and [2] here, and 12 more"), "{said}");
        assert!(!said.contains("vae.width"), "{said}");
        assert!(error.hint().unwrap().contains("the size and the channels of that run, 28×28×1"));
        let error = first.misfit(&arrays, None, &other, &images(28, 1, 10));
        assert!(error.to_string().contains("`vae.width` is 7 there and 8 here"), "{error}");
        assert!(error.hint().unwrap().contains("leave out `vae.width`"));
        let error = first.misfit(&arrays, None, &first.config, &images(28, 1, 3));
        assert!(error.to_string().contains("its data have 10 classes and these 3 classes"), "{error}");
        assert!(first.expect_model("vae").is_ok());
        assert!(first.expect_model("dcgan").unwrap_err().to_string().contains("the model `vae`"));
    }

    #[test]
    fn text_in_other_tokens_is_refused_and_other_names_are_noted() {
        let text = |characters: &str| DataSpec {
            content: Content::Text(TextShape {
                vocabulary: Vocabulary::Characters { characters: characters.chars().collect() },
                documents: false,
                lines: false,
            }),
            classes: 0,
            unlabelled: false,
        };
        let first = weights(text("abc"), "");
        assert_eq!(first.other_tokens(&text("abc")), None);
        let (what, remedy) = first.other_tokens(&text("abd")).unwrap();
        assert!(what.contains("stand for different text") && remedy.contains("bytes"), "{what}");
        let info = DataInfo { classes: vec!["b".into(); 2], ..DataInfo::default() };
        let notes = weights(images(8, 1, 2), "").notes(&images(8, 1, 2), &info);
        assert_eq!(notes, ["the classes of first have other names than these"]);
    }

    #[test]
    fn examples_outside_of_classes_are_a_difference_where_there_is_no_other() {
        let some = DataSpec { unlabelled: true, ..images(8, 1, 2) };
        let said = |there: &DataSpec, here: &DataSpec| weights(there.clone(), "").other_classes(here);
        assert!(said(&some, &images(8, 1, 2)).unwrap().0.contains("all of these have one"));
        assert!(said(&images(8, 1, 2), &some).unwrap().1.contains("give each a class"));
        assert!(said(&some, &images(8, 1, 3)).unwrap().0.contains("2 classes and these 3 classes"));
        assert_eq!(said(&some, &some), None);
    }

    #[test]
    fn a_run_continues_only_with_the_parent_that_it_has() {
        let first = weights(images(8, 1, 0), "");
        let parent = |run: &str| Parent { run: run.into(), ..Parent::default() };
        assert_eq!(other_parent(Some(&parent("/a")), None), None, "it is not needed again");
        assert_eq!(other_parent(None, None), None);
        assert_eq!(other_parent(Some(&parent("/runs/first")), Some(&first)), None);
        let (_, saved, given) = other_parent(Some(&parent("/a")), Some(&first)).unwrap();
        assert_eq!((saved.as_str(), given.as_str()), ("/a", "/runs/first"));
        assert_eq!(other_parent(None, Some(&first)).unwrap().1, "nothing");
    }
}
