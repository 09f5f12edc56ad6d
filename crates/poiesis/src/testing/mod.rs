//! What tests of several models share: fixtures from other implementations, and small data sets.
//!
//! A fixture is a safetensors file that the script `parity.py` of a model has made with PyTorch. It is made by hand
//! (`uv run crates/poiesis/src/models/gan/dcgan/parity.py`), not by the tests.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use poiesis_collect::{Dataset, Options, Split, collect};
use safetensors::{Dtype, SafeTensors};

mod balancer;
pub(crate) mod chain;
mod coded;
mod conforms;
mod latents;
mod line;

pub(crate) use balancer::Balancer;
pub(crate) use coded::expect_coded;
pub(crate) use conforms::expect_conforms;
pub(crate) use latents::LinearLatents;
pub(crate) use line::{LINE_STEPS, Line};

use crate::config::{Layer, resolve};
use crate::data::{
    ActionShape, Content, DataSpec, Examples, ImageShape, PointShape, SoundShape, Source as _, SourceOptions,
    TaskShape, TextShape,
};
use crate::model::{Entry as _, Learner, Model, Of, Session};
use crate::nn::{Init, NamedVisitor, StateDict, StateTensor, visit_named};
use crate::optim::OptimizerConfig;
use crate::run::checkpoint::Array;

/// Arrays from another implementation.
pub(crate) struct Fixture {
    arrays: BTreeMap<String, Array>,
    cases: serde_json::Value,
}

impl Fixture {
    /// Reads `models/<name>/parity.safetensors`, such as that of `gan/dcgan`, or `agents/<name>/parity.safetensors`.
    pub(crate) fn read(name: &str) -> Fixture {
        let place = if name.contains('/') { "models" } else { "agents" };
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src")
            .join(place)
            .join(name)
            .join("parity.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let cases = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let array = |view: &safetensors::tensor::TensorView| {
            let data = match view.dtype() {
                Dtype::U8 => view.data().iter().map(|&byte| f32::from(byte)).collect(),
                Dtype::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(view.data()),
                other => panic!("no fixture holds {other:?}"),
            };
            Array { shape: view.shape().to_vec(), data }
        };
        let arrays = tensors.iter().map(|(name, view)| (name.to_owned(), array(&view))).collect();
        Fixture { arrays, cases }
    }

    /// The JSON that the script has saved for `case`.
    pub(crate) fn case(&self, case: &str) -> &serde_json::Value {
        &self.cases[case]
    }

    /// The array called `name`.
    pub(crate) fn array(&self, name: &str) -> &Array {
        self.arrays.get(name).unwrap_or_else(|| panic!("the fixture has no `{name}`"))
    }

    /// Entry `step` of the first axis of the array called `name`, each value passed through `scale`.
    pub(crate) fn step<const D: usize>(
        &self,
        name: &str,
        step: usize,
        scale: impl Fn(f32) -> f32,
        device: &Device,
    ) -> Tensor<D> {
        let Array { shape, data } = self.array(name);
        let len = data.len() / shape[0];
        let values = data[step * len..(step + 1) * len].iter().map(|&x| scale(x)).collect();
        Tensor::from_data(TensorData::new(values, shape[1..].to_vec()), device)
    }

    /// All arrays whose names begin with `prefix` and a dot, by the rest of their names.
    pub(crate) fn arrays(&self, prefix: &str) -> BTreeMap<String, Array> {
        let strip = |name: &str| name.strip_prefix(prefix)?.strip_prefix('.').map(str::to_owned);
        self.arrays.iter().filter_map(|(name, array)| Some((strip(name)?, array.clone()))).collect()
    }

    /// The same as weights of networks.
    pub(crate) fn weights(&self, prefix: &str, device: &Device) -> StateDict {
        StateDict::from_arrays(self.arrays(prefix), device)
    }
}

/// The settings of a model given as JSON, in the keys of this version or an earlier one, with defaults for the others.
pub(crate) fn settings<M: Model>(given: &serde_json::Value) -> (M::Config, OptimizerConfig) {
    let defaults = Of::<M>::NEW.defaults().unwrap();
    let mut values = toml::Table::new();
    values.insert(defaults.model.to_owned(), toml::Value::try_from(given).unwrap());
    let config = resolve(&defaults, &[Layer { origin: "a test".into(), values }]).unwrap().config;
    (config.model().unwrap(), config.optimizer)
}

/// A model in training, initialised from seed 1, on the training split of `dataset`. It is made for `spec`, which may differ
/// from that of the data where a test has its own batches.
pub(crate) fn learner<M: Model>(
    (config, optimizer): &(M::Config, OptimizerConfig),
    spec: &DataSpec,
    dataset: &Dataset,
    batch_size: usize,
    device: &Device,
) -> Learner<M> {
    let data = source::<M>(config, dataset, batch_size, device);
    Learner::new(config, optimizer, spec, data, 1, device).unwrap()
}

/// The training split of `dataset` as a model's source.
pub(crate) fn source<M: Model>(
    config: &M::Config,
    dataset: &Dataset,
    batch_size: usize,
    device: &Device,
) -> M::Data {
    let examples = Examples::of(dataset, Split::Train).unwrap();
    let spec = DataSpec::of(dataset).unwrap();
    let options = SourceOptions { examples: &examples, spec: &spec, batch_size, seed: 0, device };
    M::Data::open(&M::needs(config, &spec).unwrap(), &options).unwrap()
}

/// Why a configuration is rejected for data of `spec`, and the hint.
pub(crate) fn refusal<M: Model>(config: &M::Config, spec: &DataSpec) -> String {
    let checked = crate::config::check(M::ABOUT.name, config);
    let made = checked.and_then(|()| M::new(config, spec, &mut Init::blank(&Device::flex())).map(drop));
    let error = made.unwrap_err();
    format!("{error}; {}", error.hint().unwrap_or_default())
}

/// Images of `[height, width, channels]` with `classes` classes.
pub(crate) fn image_spec([height, width, channels]: [usize; 3], classes: usize) -> DataSpec {
    DataSpec { content: Content::Images(ImageShape { height, width, channels }), classes, unlabelled: false }
}

/// Data of every kind.
pub(crate) fn one_spec_of_each_kind() -> [DataSpec; 5] {
    let text = TextShape { vocabulary: poiesis_collect::Vocabulary::Bytes, documents: false, lines: false };
    let contents = [
        Content::Text(text),
        Content::Sound(SoundShape { sample_rate: 8000, channels: 1 }),
        Content::Points(PointShape::new(2)),
        Content::Experience(TaskShape {
            environment: "cartpole".into(),
            observation: 4,
            actions: ActionShape::Discrete { choices: 2 },
        }),
    ];
    let [text, sound, points, experience] =
        contents.map(|content| DataSpec { content, classes: 0, unlabelled: false });
    [image_spec([16, 16, 3], 0), text, sound, points, experience]
}

/// The largest difference, relative to the largest of `theirs`.
pub(crate) fn distance(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0f64, |most, x| most.max(f64::from(*x).abs()));
    let difference = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
    let most =
        ours.iter().zip(theirs).map(difference).fold(0.0, |most: f64, d| if d <= most { most } else { d });
    most / largest.max(f64::MIN_POSITIVE)
}

/// Panics when `ours` is further than `tolerance` from `theirs` (see [`distance`]) or of another shape.
pub(crate) fn expect_close<const D: usize>(name: &str, ours: Tensor<D>, theirs: &Array, tolerance: f64) {
    assert_eq!(ours.dims().to_vec(), theirs.shape, "{name}");
    let ours: Vec<f32> = ours.into_data().iter::<f32>().collect();
    let distance = distance(&ours, &theirs.data);
    assert!(distance <= tolerance, "{name} is {distance:e} away, {tolerance:e} is allowed");
}

/// Panics when an array is further than `tolerance` from theirs, or when their names differ.
pub(crate) fn expect_all_close(
    ours: &BTreeMap<String, Array>,
    theirs: &BTreeMap<String, Array>,
    tolerance: f64,
) {
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, array) in ours {
        assert_eq!(array.shape, theirs[name].shape, "{name}");
        let distance = distance(&array.data, &theirs[name].data);
        assert!(distance <= tolerance, "{name} is {distance:e} away, {tolerance:e} is allowed");
    }
}

/// How far `to` is from `from`, array by array.
pub(crate) fn change_of(
    from: &BTreeMap<String, Array>,
    to: &BTreeMap<String, Array>,
) -> BTreeMap<String, Array> {
    let minus = |(name, to): (&String, &Array)| {
        let data = to.data.iter().zip(&from[name].data).map(|(to, from)| to - from).collect();
        (name.clone(), Array { shape: to.shape.clone(), data })
    };
    to.iter().map(minus).collect()
}

/// Refuses a training that did not change the weights from `initial` to `final` of `case` as far as PyTorch did.
pub(crate) fn expect_change(fixture: &Fixture, case: &str, training: &impl Session, tolerance: f64) {
    let [initial, theirs] = ["initial", "final"].map(|name| fixture.arrays(&format!("{case}.{name}")));
    let ours = training.state_dict().to_arrays();
    expect_all_close(&change_of(&initial, &ours), &change_of(&initial, &theirs), tolerance);
}

/// The gradients of a network's parameters, each name prefixed with `name` and a dot.
pub(crate) fn gradients_of<M: Module>(
    name: &str,
    network: &M,
    gradients: &Gradients,
) -> BTreeMap<String, Array> {
    let mut collect = CollectGradients { network: name, gradients, found: StateDict::default() };
    visit_named(network, &mut collect);
    collect.found.to_arrays()
}

struct CollectGradients<'a> {
    network: &'a str,
    gradients: &'a Gradients,
    found: StateDict,
}

impl NamedVisitor for CollectGradients<'_> {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            let shape = gradient.dims();
            let values = gradient.reshape([shape.iter().product::<usize>()]);
            let name = format!("{}.{name}", self.network);
            self.found.insert(name, StateTensor { shape: shape.to_vec(), values });
        }
    }
}

/// Six steps, and six steps with resumes after the first, third and fourth, end with the same bytes; `start` starts the
/// same training each time.
pub(crate) fn expect_exact_resume(start: impl Fn() -> Box<dyn Session>, device: &Device) {
    let mut unbroken = start();
    (0..6).for_each(|step| drop(unbroken.step(step, 1.0).unwrap()));

    let place = device.clone().inner();
    let mut broken = start();
    for step in 0..6 {
        if [1, 3, 4].contains(&step) {
            let saved = (broken.state_dict().to_arrays(), broken.training_state().to_arrays());
            broken = start();
            let weights = StateDict::from_arrays(saved.0, &place);
            broken.restore(&weights, &StateDict::from_arrays(saved.1, &place)).unwrap();
            assert_ne!(broken.state_dict().to_arrays(), unbroken.state_dict().to_arrays());
        }
        broken.step(step, 1.0).unwrap();
    }
    assert_eq!(broken.state_dict().to_arrays(), unbroken.state_dict().to_arrays());
    assert_eq!(broken.training_state().to_arrays(), unbroken.training_state().to_arrays());
}

/// `count` coloured shapes of the given size; the folder goes when the first value is dropped.
pub(crate) fn shapes(count: usize, [height, width]: [usize; 2]) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("shapes");
    let size = Some((height as u32, width as u32));
    let options = Options { count: Some(count), size, ..Options::default() };
    collect("shapes".as_ref(), &out, &options, &|_| ()).unwrap();
    (folder, Dataset::open(&out).unwrap())
}

/// `count` flat grey images of 8×8, image `i` of level 40 · i, all for training, with the classes that the CSV `labels` gives to
/// `0.png`, `1.png` and so on; the folder goes when the first value is dropped.
pub(crate) fn labelled_images(count: u8, labels: &str) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    for i in 0..count {
        let picture = crate::picture::Picture::new(8, 8, 1, vec![40 * i; 64]);
        picture.write_png(&images.join(format!("{i}.png")), None).unwrap();
    }
    let (table, out) = (folder.path().join("labels.csv"), folder.path().join("packed"));
    std::fs::write(&table, labels).unwrap();
    let options = Options { labels: Some(table), holdout: 0.0, ..Options::default() };
    collect(&images, &out, &options, &|_| ()).unwrap();
    (folder, Dataset::open(&out).unwrap())
}
