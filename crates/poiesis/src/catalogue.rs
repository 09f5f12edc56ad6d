//! The ordered list of models.

use serde::Serialize;

use crate::agents::{bc::Bc, gail::Gail, ppo::Ppo, reinforce::Reinforce, rnd::Rnd, trpo::Trpo, vime::Vime};
use crate::config::{Choice, Layer, RunConfig, resolve};
use crate::data::{DataFacts, DataSpec, MediaKind};
use crate::error::{Error, Result};
use crate::model::{Entry, Of, Recipe};
use crate::models::{
    autoregressive::{CharRnn, GatedPixelCnn, PixelCnn, PixelCnnPp, PixelRnn, Transformer, WaveNet},
    flow::{Glow, RealNvp},
    gan::{Dcgan, Gan, ImprovedGan, InfoGan, R3Gan},
    vae::{Air, Draw, IafVae, Vae},
};
use crate::run::flat;

/// All models, in the order of the documentation.
pub static CATALOGUE: &[&dyn Entry] = &[
    &Of::<Gan>::NEW,
    &Of::<Dcgan>::NEW,
    &Of::<ImprovedGan>::NEW,
    &Of::<InfoGan>::NEW,
    &Of::<R3Gan>::NEW,
    &Of::<Vae>::NEW,
    &Of::<IafVae>::NEW,
    &Of::<Draw>::NEW,
    &Of::<Air>::NEW,
    &Of::<RealNvp>::NEW,
    &Of::<Glow>::NEW,
    &Of::<PixelCnn>::NEW,
    &Of::<PixelRnn>::NEW,
    &Of::<GatedPixelCnn>::NEW,
    &Of::<PixelCnnPp>::NEW,
    &Of::<CharRnn>::NEW,
    &Of::<Transformer>::NEW,
    &Of::<WaveNet>::NEW,
    &Of::<Reinforce>::NEW,
    &Of::<Trpo>::NEW,
    &Of::<Ppo>::NEW,
    &Of::<Vime>::NEW,
    &Of::<Rnd>::NEW,
    &Of::<Bc>::NEW,
    &Of::<Gail>::NEW,
];

/// The models to begin with on one's own data: those that show something within minutes, first of all the one that rarely disappoints.
/// All of them [can learn](can_learn) the data; where none of these can, the first others that can.
pub fn to_begin_with(facts: &DataFacts) -> Vec<&'static dyn Entry> {
    let names: &[&str] = match facts.spec.media() {
        MediaKind::Images if facts.two_tones && facts.side() <= 32 => &["vae", "dcgan", "gated-pixelcnn"],
        // Of larger drawings a GAN learns a few and no others within minutes.
        MediaKind::Images if facts.two_tones => &["vae"],
        MediaKind::Images => &["vae", "dcgan"],
        MediaKind::Text => &["transformer", "char-rnn"],
        MediaKind::Sound => &["wavenet", "transformer"],
        MediaKind::Points => &["realnvp", "gan"],
        MediaKind::Experience => &["bc"],
    };
    let fitting: Vec<&dyn Entry> =
        names.iter().filter_map(|name| find(name).ok()).filter(|entry| can_learn(*entry, facts)).collect();
    if !fitting.is_empty() {
        return fitting;
    }
    CATALOGUE.iter().copied().filter(|entry| can_learn(*entry, facts)).take(OTHERS).collect()
}

/// How many other models are proposed where the usual ones cannot learn the data.
const OTHERS: usize = 2;

/// Whether a model can be made for the data, with the settings that it chooses for them: whether training it will begin.
pub fn can_learn(entry: &dyn Entry, facts: &DataFacts) -> bool {
    can_begin(entry, facts, None)
}

/// Whether a model can be made for the data, with the settings that it chooses for them and with `more`.
fn can_begin(entry: &dyn Entry, facts: &DataFacts, more: Option<Layer>) -> bool {
    let made = move || -> Result<()> {
        expect_media(entry, &facts.spec)?;
        entry.expect_learnable(facts)?;
        let mut layers: Vec<Layer> = entry.settings_for(facts).iter().map(Choice::layer).collect();
        layers.extend(more);
        let config = resolve(&entry.defaults()?, &layers)?.config;
        entry.check(&config)?;
        entry.held_by_source(&config, &facts.spec)?;
        entry.parameters(&config, &facts.spec).map(drop)
    };
    made().is_ok()
}

/// The setting that conditions a model on the classes of its data, such as `vae.conditional`; `None` for a model that has none.
pub fn conditional_key(entry: &dyn Entry) -> Option<String> {
    let defaults = entry.defaults().ok()?;
    let key = defaults.section.get("conditional").filter(|value| value.is_bool());
    key.map(|_| format!("{}.conditional", entry.name()))
}

/// Whether a model that is conditioned on the classes of the data can be made for them; see [`can_learn`].
pub fn can_learn_classes(entry: &dyn Entry, facts: &DataFacts) -> bool {
    let conditional = conditional_key(entry).map(|key| Layer::single("--set", &key, true));
    conditional.is_some_and(|layer| can_begin(entry, facts, Some(layer)))
}

/// Finds a model by name.
///
/// # Errors
///
/// [`Error::UnknownName`] with the nearest valid name.
pub fn find(name: &str) -> Result<&'static dyn Entry> {
    let known = || CATALOGUE.iter().map(|entry| entry.name());
    CATALOGUE
        .iter()
        .find(|entry| entry.name() == name)
        .copied()
        .ok_or_else(|| Error::unknown("model", name, known()))
}

/// Finds a recipe of `entry` by name.
///
/// # Errors
///
/// [`Error::UnknownName`] with the nearest valid name.
pub fn find_recipe(entry: &dyn Entry, name: &str) -> Result<&'static Recipe> {
    let recipes = entry.about().recipes;
    let short = name.strip_prefix(entry.name()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
    let known = || recipes.iter().map(|recipe| recipe.name);
    recipes.iter().find(|recipe| recipe.name == short).ok_or_else(|| Error::unknown("recipe", name, known()))
}

/// Reads the configuration of a run, of this version or an earlier one.
///
/// # Errors
///
/// Those of [`RunConfig::from_toml`].
pub fn read_config(text: &str) -> Result<RunConfig> {
    RunConfig::from_toml(text, |name| find(name)?.defaults())
}

/// A setting of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The dotted key.
    pub key: String,
    /// Its value as TOML.
    pub value: String,
    /// The default of the run's model; `None` where this version does not know the model or the key.
    pub default: Option<String>,
}

impl Setting {
    /// Whether the value is the default.
    pub fn is_default(&self) -> bool {
        self.default.as_ref() == Some(&self.value)
    }
}

/// The settings of a run's configuration in the order of the file, of this version or an earlier one. Those of a model that this version
/// does not know have no defaults.
///
/// # Errors
///
/// [`Error::Config`] when it is not TOML.
pub fn settings(text: &str) -> Result<Vec<Setting>> {
    let Ok(config) = read_config(text) else {
        let setting = |(key, value)| Setting { key, value, default: None };
        return Ok(values(text)?.into_iter().map(setting).collect());
    };
    let defaults = values(&resolve(&find(&config.model)?.defaults()?, &[])?.config.to_toml())?;
    let setting = |(key, value): (String, String)| {
        let default = defaults.iter().find(|(known, _)| *known == key).map(|(_, default)| default.clone());
        Setting { key, value, default }
    };
    Ok(values(&config.to_toml())?.into_iter().map(setting).collect())
}

/// Dotted keys and their values.
fn values(text: &str) -> Result<Vec<(String, String)>> {
    Ok(flat(&Layer::parse("the run", text)?.values))
}

/// Returns an error for data of a kind that a model does not learn, naming the models that do.
///
/// # Errors
///
/// [`Error::InvalidValue`] for `data.source`.
pub fn expect_media(entry: &dyn Entry, spec: &DataSpec) -> Result<()> {
    let media = entry.about().media;
    if media.contains(&spec.media()) {
        return Ok(());
    }
    let names = |media: &[MediaKind]| media.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    let able = CATALOGUE.iter().filter(|other| other.about().media.contains(&spec.media()));
    let able: Vec<&str> = able.map(|other| other.name()).collect();
    let remedy = match able.as_slice() {
        [] => format!("give a data set of {}", names(media)),
        able => format!("train one of {}", able.join(", ")),
    };
    let reason = format!("the model `{}` learns {}", entry.name(), names(media));
    Err(Error::invalid_value("data.source", spec.media().name(), &reason, &remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Column, Content, ImageShape, PointShape, Values};

    #[test]
    fn what_is_proposed_for_images_can_learn_them_whatever_their_size() {
        let facts = |shape: [usize; 3]| {
            let content = Content::Images(ImageShape::from_slice(&shape).unwrap());
            let spec = DataSpec { content, classes: 0, unlabelled: false };
            DataFacts { spec, len: 1000, two_tones: shape[2] == 1, columns: Vec::new() }
        };
        let names =
            |shape| -> Vec<&str> { to_begin_with(&facts(shape)).into_iter().map(Entry::name).collect() };
        assert_eq!(names([64, 64, 3]), ["vae", "dcgan"]);
        assert_eq!(names([28, 28, 1]), ["vae", "dcgan", "gated-pixelcnn"]);
        let refused = facts([72, 72, 3]);
        assert!(!can_learn(find("dcgan").unwrap(), &refused), "72 does not halve");
        for side in [30, 50, 72, 100] {
            let proposed = names([side, side, 3]);
            assert!(!proposed.is_empty(), "{side}");
            assert!(!proposed.contains(&"dcgan"), "{side}: {proposed:?}");
        }
    }

    #[test]
    fn models_say_what_conditions_them_on_classes() {
        let facts = |classes| {
            let content = Content::Images(ImageShape::from_slice(&[32, 32, 3]).unwrap());
            let spec = DataSpec { content, classes, unlabelled: false };
            DataFacts { spec, len: 1000, two_tones: false, columns: Vec::new() }
        };
        for (name, key) in
            [("vae", Some("vae.conditional")), ("pixelcnn-pp", Some("pixelcnn-pp.conditional"))]
        {
            assert_eq!(conditional_key(find(name).unwrap()).as_deref(), key);
        }
        assert_eq!(conditional_key(find("transformer").unwrap()), None);
        let can = |name: &str, classes| can_learn_classes(find(name).unwrap(), &facts(classes));
        assert!(can("vae", 4) && !can("vae", 0) && !can("glow", 4));
    }

    #[test]
    fn a_model_of_densities_is_not_proposed_for_a_table_with_a_column_of_one_value() {
        let names = |values: Values| -> Vec<&str> {
            let content = Content::Points(PointShape::new(2));
            let spec = DataSpec { content, classes: 0, unlabelled: false };
            let column = |values| Column { name: "a".to_owned(), mean: 0.0, std: 1.0, values };
            let columns = vec![column(Values::Measured), column(values)];
            let facts = DataFacts { spec, len: 1000, two_tones: false, columns };
            to_begin_with(&facts).into_iter().map(Entry::name).collect()
        };
        assert_eq!(names(Values::Repeated { spacing: 1.0 }), ["realnvp", "gan"]);
        assert_eq!(names(Values::One), ["gan"]);
    }
}
