//! What every model must satisfy: the tests of each model call [`expect_conforms`] once.

use std::fs;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::{
    ActionsCard, Dataset, Episode, ExperienceWriter, Options, Split, VocabularyKind, collect,
    write_experience,
};
use poiesis_envs::Action;

use super::{expect_exact_resume, image_spec, one_spec_of_each_kind, refusal, shapes};
use crate::abilities::{Acting, Chosen};
use crate::catalogue::expect_media;
use crate::config::{Layer, RunConfig, resolve};
use crate::data::{ActionShape, DataSpec, EnvironmentSource, Experience, MediaKind, SoundShape};
use crate::generate::{Chunk, Request, can_generate, generate, steps};
use crate::media::{Clip, Media, files};
use crate::model::{About, Entry, Model, Of, Session, Start, TrainedModel};
use crate::rng;
use crate::train::TrainingData;

/// Checks a model with small `settings`, such as `"width=4 latent_dim=8"`. For each kind of data that it learns, resumed
/// training must equal unbroken training, a loaded model must equal the trained one, an example must not depend on the
/// others in a request, and the model must do what its entry in the catalogue says. Each of `refused` must be refused, with the
/// name of its last key.
pub(crate) fn expect_conforms<M: Model>(settings: &str, refused: &[&str]) {
    let entry = &Of::<M>::NEW;
    is_described(entry.about());
    recipes_fit(entry);
    refused.iter().for_each(|settings| are_refused::<M>(settings));
    for (_folder, data) in M::ABOUT.media.iter().flat_map(|&media| examples(media)) {
        let (config, spec) = (configure(entry, settings), data.spec);
        reads_back(entry, &config);
        let device = Device::flex().autodiff();
        let start = || {
            let examples = data.train.clone();
            entry.start(Start { config: &config, spec: &spec, examples, device: device.clone() }).unwrap()
        };
        expect_exact_resume(start, &device);
        let mut training = start();
        (0..3).for_each(|step| drop(training.step(step, 1.0).unwrap()));
        loads(entry, &config, &spec, &*training);
        other_data_are_refused(entry);
    }
}

fn configure(entry: &dyn Entry, settings: &str) -> RunConfig {
    let common = ["train.batch_size=4"].into_iter().chain(settings.split_whitespace());
    let layers: Vec<Layer> = common.map(|text| Layer::assignment("a test", text).unwrap()).collect();
    resolve(&entry.defaults().unwrap(), &layers).unwrap().config
}

/// Settings such as `"layers=2 width=0"` are refused for the last of their keys, by its name.
fn are_refused<M: Model>(settings: &str) {
    let (key, _) = settings.rsplit(' ').next().and_then(|last| last.split_once('=')).unwrap();
    let config = configure(&Of::<M>::NEW, settings).model().unwrap();
    let refusal = refusal::<M>(&config, &image_spec([4, 4, 3], 0));
    assert!(refusal.contains(&format!("{}.{key}", M::ABOUT.name)), "{settings}: {refusal}");
}

/// The description of a model is complete.
fn is_described(&About { name, summary, paper, recipes, .. }: &About) {
    assert!(![name, summary, paper.title, paper.authors].contains(&""), "{name}");
    assert!(paper.year > 0 && !recipes.is_empty(), "{name}");
}

/// Every recipe is a valid configuration of its model.
fn recipes_fit(entry: &dyn Entry) {
    for recipe in entry.about().recipes {
        let layer = Layer::parse(recipe.name, recipe.toml).unwrap();
        assert_eq!(layer.values["model"].as_str(), Some(entry.name()), "recipe {}", recipe.name);
        let resolved = resolve(&entry.defaults().unwrap(), &[layer]).unwrap();
        entry.check(&resolved.config).unwrap();
        assert!(!recipe.summary().is_empty(), "recipe {} says nothing of itself", recipe.name);
    }
}

/// A saved configuration is read back unchanged.
fn reads_back(entry: &dyn Entry, config: &RunConfig) {
    let read = RunConfig::from_toml(&config.to_toml(), |_| entry.defaults()).unwrap();
    assert_eq!(&read, config);
}

/// A model loaded from saved weights has all of them, has the abilities of its entry, and samples each example the same
/// alone as among others.
fn loads(entry: &dyn Entry, config: &RunConfig, spec: &DataSpec, training: &dyn Session) {
    let device = Device::flex();
    let weights = training.state_dict();
    let counted: usize = entry.parameters(config, spec).unwrap().iter().map(|(_, count)| count).sum();
    assert!(counted > 0 && counted <= weights.iter().map(|(_, array)| array.values.dims()[0]).sum());
    let model = entry.load(config, spec, &weights, &device).unwrap();
    assert_eq!(model.abilities().list(), entry.about().abilities, "the abilities that ABOUT lists");
    features_and_weights_fit(&*model, spec);
    let differentiable = entry.load(config, spec, &weights, &device.clone().autodiff()).unwrap();
    latents_have_gradients(&*model, &*differentiable);
    let again = entry.load(config, spec, &weights, &device).unwrap();
    acts(&*model, &*again);
    if can_generate(&model.abilities()) {
        let all = drawn(&*model, spec, 0..5);
        assert_eq!(all.len(), 5);
        assert_eq!(drawn(&*model, spec, 3..4), all[3..4], "example 3 alone");
        assert_eq!(drawn(&*again, spec, 0..5), all, "loaded again");
        can_be_cancelled(&*model, spec);
        steps_end_in_samples(&*model, spec, &all);
    }
    let none = crate::nn::StateDict::default();
    let error = entry.load(config, spec, &none, &device).err().unwrap().to_string();
    assert!(error.contains(entry.name()), "{error}");
}

/// An agent that is loaded again acts the same, and what it does does not depend on the other observations.
fn acts(model: &dyn TrainedModel, again: &dyn TrainedModel) {
    let Some(act) = model.abilities().act else { return };
    let width = act.task().observation;
    let observations = rng::normal(&mut rng::generator(7, "test", 0), 5 * width);
    let observations: Vec<f64> = observations.into_iter().map(f64::from).collect();
    let chosen = |model: &dyn TrainedModel, rows: Range<usize>, how: Acting<'_>| {
        let mut actions = Chosen::default();
        let observations = &observations[rows.start * width..rows.end * width];
        model.abilities().act.unwrap().actor().act(observations, how, &mut actions);
        actions.to_numbers()
    };
    let indices = [0, 1, 2, 3, 4];
    let drawn = |model, rows: Range<usize>| {
        chosen(model, rows.clone(), Acting::Sample { seed: 9, indices: &indices[rows] })
    };
    let numbers = act.task().actions.width();
    for all in [drawn(model, 0..5), chosen(model, 0..5, Acting::Mode)] {
        assert_eq!(all.len(), 5 * numbers);
        assert!(all.iter().all(|number| number.is_finite()));
    }
    assert_eq!(drawn(model, 3..4), drawn(model, 0..5)[3 * numbers..4 * numbers], "observation 3 alone");
    assert_eq!(drawn(again, 0..5), drawn(model, 0..5), "loaded again");
    assert_eq!(chosen(again, 0..5, Acting::Mode), chosen(model, 0..5, Acting::Mode), "loaded again");
}

/// The features of an image do not depend on the others, and the first weights have a column for each value of a latent. Features tell
/// images apart, and so do those of a model that was never trained.
fn features_and_weights_fit(model: &dyn TrainedModel, spec: &DataSpec) {
    let latents = model.abilities().latents;
    if let Some((latents, weights)) = latents.and_then(|latents| Some((latents, latents.first_weights()?))) {
        assert_eq!(weights.dims()[1], latents.latent_dim());
        assert!(weights.into_data().iter::<f32>().all(f32::is_finite));
    }
    let (Some(model), Ok(shape)) = (model.abilities().features, spec.images()) else { return };
    let noise = rng::uniform(&mut rng::generator(8, "images", 0), 3 * shape.dims());
    let noise = noise.into_iter().map(|u| 2.0 * u - 1.0).collect::<Vec<_>>();
    let dims = [3, shape.height, shape.width, shape.channels];
    let images = Tensor::<4>::from_data(TensorData::new(noise, dims), &Device::flex());
    let row = |images: Tensor<4>, at: usize| {
        let features = model.features(images);
        features.narrow(0, at, 1).into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let (first, second) = (row(images.clone(), 0), row(images.clone(), 1));
    assert_ne!(first, second, "features tell images apart");
    let alone = row(images.narrow(0, 1, 1), 0);
    assert!(second.iter().zip(&alone).all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(1.0)), "alone");
}

/// On a device with autodiff, latents are decoded to the same and have gradients, against which the examples become smaller.
fn latents_have_gradients(model: &dyn TrainedModel, differentiable: &dyn TrainedModel) {
    let device = Device::flex();
    let (Some(plain), Some(latents)) = (model.abilities().latents, differentiable.abilities().latents) else {
        return;
    };
    let classes = vec![(plain.num_classes() > 0).then_some(0); 2];
    let z = plain.draw(9, 0..2, &device);
    let length = |z: &Tensor<2>| plain.decode(z.clone(), &classes).square().sum().into_scalar::<f64>();
    let on_autodiff = Tensor::from_data(z.clone().into_data(), &device.clone().autodiff()).require_grad();
    let made = latents.decode(on_autodiff.clone(), &classes);
    let (same, expected) = (made.clone().inner(), plain.decode(z.clone(), &classes));
    let away = (same - expected).abs().max().into_scalar::<f64>();
    assert!(away <= 1e-4, "with autodiff latents are decoded to something else: {away}");
    let gradient = on_autodiff.grad(&made.square().sum().backward()).expect("latents have gradients");
    let norm = gradient.clone().square().sum().into_scalar::<f64>().sqrt();
    assert!(norm.is_finite() && norm > 0.0, "the gradient of latents has the length {norm}");
    let moved = z.clone() - gradient * (0.01 / norm);
    assert!(length(&moved) < length(&z), "a step against the gradient: {} {}", length(&moved), length(&z));
}

fn request(spec: &DataSpec, indices: Range<u64>) -> Request {
    let text_or_sound = matches!(spec.media(), MediaKind::Text | MediaKind::Sound);
    let max_len = text_or_sound.then_some(20);
    let count = indices.end - indices.start;
    Request { seed: 5, first: indices.start, count, max_len, batch_size: 2, ..Request::default() }
}

fn drawn(model: &dyn TrainedModel, spec: &DataSpec, indices: Range<u64>) -> Vec<Media> {
    let mut all = Vec::new();
    generate(&model.abilities(), spec, &Device::flex(), &request(spec, indices), &mut |_, chunk| {
        if let Chunk::Whole(media) = chunk {
            all.push(media);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    all
}

/// Where the steps of a sample can be shown, they differ, and the last is the sample; those of a sample do not depend on the others.
fn steps_end_in_samples(model: &dyn TrainedModel, spec: &DataSpec, all: &[Media]) {
    if model.abilities().steps.is_none() {
        return;
    }
    let of = |indices| {
        let mut shown = Vec::new();
        steps(&model.abilities(), spec, &Device::flex(), &request(spec, indices), &mut |_, steps| {
            shown.push(steps);
            ControlFlow::Continue(())
        })
        .unwrap();
        shown
    };
    let shown = of(0..5);
    assert_eq!(
        shown.iter().filter_map(|steps| steps.last()).collect::<Vec<_>>(),
        all.iter().collect::<Vec<_>>()
    );
    assert!(shown.iter().all(|steps| steps.len() > 1 && steps[0] != steps[steps.len() - 1]));
    assert_eq!(of(3..4), shown[3..4], "the steps of example 3 alone");
}

/// A request that is cancelled hands over nothing more.
fn can_be_cancelled(model: &dyn TrainedModel, spec: &DataSpec) {
    let mut handed_over = 0;
    generate(&model.abilities(), spec, &Device::flex(), &request(spec, 0..5), &mut |_, _| {
        handed_over += 1;
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(handed_over, 1, "after a request was cancelled");
}

/// Data of a kind that a model does not learn are refused, and the model is named.
fn other_data_are_refused(entry: &dyn Entry) {
    let learned = entry.about().media;
    for spec in one_spec_of_each_kind().iter().filter(|spec| !learned.contains(&spec.media())) {
        let error = expect_media(entry, spec).unwrap_err().to_string();
        assert!(error.contains(entry.name()) && error.contains(spec.media().name()), "{error}");
    }
}

/// A few examples of a kind, of experience that of an agent with choices and of one with vectors; the folder goes when the first value
/// is dropped.
fn examples(media: MediaKind) -> Vec<(tempfile::TempDir, TrainingData)> {
    if media == MediaKind::Experience {
        return ["cartpole", "pendulum"].map(experience).into();
    }
    let (folder, dataset) = dataset(media);
    vec![(folder, TrainingData::of(&dataset).unwrap())]
}

/// An environment, with demonstrations of an expert who does the same whatever happens.
fn experience(name: &str) -> (tempfile::TempDir, TrainingData) {
    let experience = Experience::of(EnvironmentSource::parse(name).unwrap(), 3).unwrap();
    let (actions, action) = match experience.task.actions {
        ActionShape::Discrete { choices } => (ActionsCard::Discrete { choices }, Action::Discrete(1)),
        ActionShape::Continuous { dims } => (ActionsCard::Continuous { dims }, Action::Continuous(&[0.5])),
    };
    let number = if let Action::Discrete(_) = action { 1.0 } else { 0.5 };
    let mut environment = experience.environment.make().unwrap();
    let mut observation = vec![0.0; experience.task.observation];
    let mut episode = |seed: u64| {
        let mut episode = Episode::default();
        environment.reset(seed, &mut observation).unwrap();
        for _ in 0..20 {
            episode.observations.extend(observation.iter().map(|&number| number as f32));
            let transition = environment.step(action, &mut observation).unwrap();
            episode.actions.push(number);
            episode.rewards.push(transition.reward as f32);
            episode.terminated = transition.terminated;
            if transition.ended() {
                break;
            }
        }
        episode.observations.extend(observation.iter().map(|&number| number as f32));
        Ok::<Episode, poiesis_collect::Error>(episode)
    };
    let folder = tempfile::tempdir().unwrap();
    let writer = ExperienceWriter::new(experience.task.observation, actions);
    let out = folder.path().join("demonstrations");
    write_experience(&out, &writer, (0..4).map(&mut episode)).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    let episodes = dataset.episodes(Split::Train).unwrap();
    let experience = experience.with_demonstrations(episodes, &dataset.card().fingerprint).unwrap();
    (folder, TrainingData::of_experience(&experience))
}

fn dataset(media: MediaKind) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let (source, options) = match media {
        MediaKind::Images => return shapes(24, [16, 16]),
        MediaKind::Text => {
            (text(folder.path()), Options { vocabulary: Some(VocabularyKind::Bytes), ..Options::default() })
        }
        MediaKind::Sound => (sounds(folder.path()), Options::default()),
        MediaKind::Points => ("rings".into(), Options { count: Some(200), ..Options::default() }),
        MediaKind::Experience => panic!("experience is not collected here"),
    };
    let out = folder.path().join("packed");
    collect(source.as_ref(), &out, &options, &|_| ()).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    (folder, dataset)
}

fn text(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("lines.txt");
    let line = |i: usize| format!("line {i} of a text, and {} more\n", i * i % 97);
    fs::write(&path, (0..200).map(line).collect::<String>()).unwrap();
    path
}

fn sounds(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("clips");
    fs::create_dir(&path).unwrap();
    for clip in 0..8 {
        let sample = |i: usize| ((i as f64 * 0.05 * f64::from(clip + 1)).sin() * 8000.0) as i16;
        let samples = (0..400).map(sample).collect();
        let shape = SoundShape { sample_rate: 8000, channels: 1 };
        files::write_wav(&path.join(format!("{clip}.wav")), &Clip { shape, samples }).unwrap();
    }
    path
}
