//! What Python reads of runs: their weights in PyTorch, and their event files in TensorBoard.
//!
//! The first Python of the path that has the packages is used. `POIESIS_PYTHON` names others instead, separated as the folders of `PATH`
//! are. Where none has the packages, the comparison is left out with a line that says so.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis::data::{self, Content, DataSpec, ImageShape, Places};
use poiesis::model::Model;
use poiesis::models::gan::Dcgan;
use poiesis::models::vae::Vae;
use poiesis::nn::{
    Activation, Array, Arrays, BatchNorm, Conv2d, ConvTranspose2d, Init, Initializer, Linear, Lstm, Mode,
    NamedVisitor, NormedConv2d, NormedConvTranspose2d, NormedLinear, SquareKernel, StateDict, visit_named,
};
use poiesis::picture::Picture;
use poiesis::run::checkpoint::{self, Checkpoint};
use poiesis::train::{Request, Stop, TrainingData, train};
use poiesis::{Trained, catalogue, config, rng};
use safetensors::tensor::{Dtype, TensorView, serialize};

/// Numbers of PyTorch may differ from ours by this part of the largest: a few dozen roundings in f32.
const TOLERANCE: f32 = 1e-5;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A Python that has `packages`, if there is one.
fn python_with(packages: &[&str]) -> Option<PathBuf> {
    let listed = std::env::var_os("POIESIS_PYTHON");
    let usual = || ["python3", "python"].map(PathBuf::from).to_vec();
    let candidates = listed.map_or_else(usual, |listed| std::env::split_paths(&listed).collect());
    let quoted: Vec<String> = packages.iter().map(|package| format!("'{package}'")).collect();
    let all = format!(
        "from importlib.util import find_spec; exit(not all(map(find_spec, [{}])))",
        quoted.join(", ")
    );
    let has = |python: &PathBuf| {
        Command::new(python).args(["-c", &all]).output().is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().find(has);
    if found.is_none() {
        println!("left out: no Python with {} here; POIESIS_PYTHON names one", packages.join(", "));
    }
    found
}

/// What a script of `tests/python` prints, with the files of `docs/python` as modules.
fn output_of(python: &Path, script: &str, argument: &Path) -> String {
    let output = Command::new(python)
        .arg(root().join("crates/poiesis/tests/python").join(script))
        .arg(argument)
        .env("PYTHONPATH", root().join("docs/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Trains the run `name` below `root` with these settings.
fn train_run(root: &Path, name: &str, settings: &str) -> PathBuf {
    crate::compute_as_old_runs();
    let config = catalogue::read_config(settings).unwrap();
    let places = Places { data_dir: root.to_owned(), cache: root.join("cache") };
    let dataset = data::open(&config.data, &places, &|_| ()).unwrap();
    let request = Request {
        ignore_memory: true,
        ..Request::new(root.join(name), config, TrainingData::of(&dataset).unwrap())
    };
    train(request, &Stop::default(), &mut |_| ()).unwrap();
    root.join(name)
}

fn write_arrays(path: &Path, arrays: &Arrays) {
    let bytes: BTreeMap<&String, Vec<u8>> = arrays
        .iter()
        .map(|(name, array)| (name, array.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let view = |name: &String| TensorView::new(Dtype::F32, arrays[name].shape.clone(), &bytes[name]).unwrap();
    let views: Vec<_> = arrays.keys().map(|name| (name, view(name))).collect();
    fs::write(path, serialize(views, None).unwrap()).unwrap();
}

fn read_arrays(path: &Path) -> Arrays {
    let bytes = fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let array = |view: &TensorView<'_>| {
        assert_eq!(view.dtype(), Dtype::F32);
        let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        Array::new(view.shape().to_vec(), data)
    };
    tensors.iter().map(|(name, view)| (name.to_owned(), array(&view))).collect()
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(tensor.dims().to_vec(), tensor.into_data().iter::<f32>().collect())
}

fn draw<const D: usize>(shape: [usize; D], index: u64) -> Tensor<D> {
    let values = rng::normal(&mut rng::generator(7, "test", index), shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// One layer of each kind.
#[derive(Module, Debug)]
struct Layers {
    linear: Linear,
    conv: Conv2d,
    up: ConvTranspose2d,
    wide_up: ConvTranspose2d,
    norm: BatchNorm,
    lstm: Lstm,
    table: Param<Tensor<2>>,
    start: Param<Tensor<1>>,
    normed: Normed,
}

#[derive(Module, Debug)]
struct Normed {
    linear: NormedLinear,
    conv: NormedConv2d,
    up: NormedConvTranspose2d,
}

impl Layers {
    /// With every array drawn, those too that training starts from constants.
    fn drawn() -> Layers {
        let (mut init, weights) = (Init::new(3, &Device::flex()), Initializer::FanIn);
        let kernel = |size, stride| SquareKernel { size, stride };
        let init = &mut init;
        let layers = Layers {
            linear: Linear::with_bias(3, 5, weights, init),
            conv: Conv2d::new([3, 4], kernel(5, 2), weights, init).with_bias(init),
            up: ConvTranspose2d::new([3, 2], kernel(5, 2), weights, init).with_bias(init),
            wide_up: ConvTranspose2d::new([3, 2], kernel(4, 2), weights, init),
            norm: BatchNorm::new(3, 0.0, 1e-5, init),
            lstm: Lstm::new(3, 4, 0.1, init),
            table: init.normal([6, 3], 0.0, 1.0),
            start: init.normal([3], 0.0, 1.0),
            normed: Normed {
                linear: NormedLinear::new(3, 5, init),
                conv: NormedConv2d::new([3, 4], kernel(4, 2), init),
                up: NormedConvTranspose2d::new([3, 2], kernel(3, 1), init),
            },
        };
        let mut arrays = StateDict::of(&layers).to_arrays();
        for (index, (name, array)) in arrays.iter_mut().enumerate() {
            let noise = rng::normal(&mut rng::generator(4, "test", index as u64), array.data.len());
            let positive = name.ends_with("running_var");
            let value = |x: f32| if positive { 0.5 + x.abs() } else { 0.4 * x };
            array.data = noise.into_iter().map(value).collect();
        }
        StateDict::from_arrays(arrays, &Device::flex()).load_into(layers).unwrap()
    }

    /// What each layer makes of `x`, `[batch, height, width, 3]`.
    fn outputs(&self, x: &Tensor<4>) -> Arrays {
        let [batch, height, width, channels] = x.dims();
        let rows = x.clone().reshape([batch, height * width, channels]);
        let tokens = Tensor::<1, Int>::from_data([5, 0, 3], &Device::flex());
        let outputs = [
            ("linear", array(self.linear.forward(x.clone(), Activation::Identity))),
            ("conv", array(self.conv.forward(x.clone()))),
            ("up", array(self.up.forward(x.clone()))),
            ("wide_up", array(self.wide_up.forward(x.clone()))),
            ("norm", array(self.norm.forward(x.clone(), Activation::Identity, Mode::Eval))),
            ("lstm", array(self.lstm.forward(rows, None).0)),
            ("table", array(self.table.val().select(0, tokens))),
            ("start", array(self.start.val())),
            ("normed_linear", array(self.normed.linear.forward(x.clone(), &mut None))),
            ("normed_conv", array(self.normed.conv.forward(x.clone(), &mut None))),
            ("normed_up", array(self.normed.up.forward(x.clone(), &mut None))),
        ];
        outputs.map(|(name, array)| (name.to_owned(), array)).into()
    }
}

/// Saves the layers as a run does; returns what is given to them, and what they make of it.
fn layers(root: &Path) -> (Arrays, Arrays) {
    let (layers, folder) = (Layers::drawn(), root.join("layers/checkpoints"));
    fs::create_dir_all(&folder).unwrap();
    let model = StateDict::of(&layers).to_arrays();
    let state = checkpoint::State { model: "layers".into(), step: 10, ..checkpoint::State::default() };
    let saved = Checkpoint { model, state, ..Checkpoint::default() };
    checkpoint::save(&folder, &saved).unwrap();
    let x = draw([2, 8, 12, 3], 0);
    (Arrays::from([("x".to_owned(), array(x.clone()))]), layers.outputs(&x))
}

/// The same of the images that a model decodes from latents.
fn images(root: &Path, model: &str) -> (Arrays, Arrays) {
    let shapes = "[data]\nsource = \"shapes\"\nsize = 16\nchannels = 3\ncount = 64\n\
                  [train]\nsteps = 12\nbatch_size = 8\nsample_frames = 1\nsample_count = 2\n";
    let run = train_run(
        root,
        model,
        &format!("model = \"{model}\"\n{shapes}[{model}]\nwidth = 4\nlatent_dim = 6\n"),
    );
    let (latents, trained) = (draw([3, 6], 1), Trained::open(run).unwrap());
    let images = trained.latents().unwrap().decode(latents.clone(), &[None; 3]).reshape([3, 16, 16, 3]);
    let named = |name: &str, tensor| Arrays::from([(name.to_owned(), tensor)]);
    (named("latents", array(latents)), named("images", array(images)))
}

/// The same of the log-probabilities that a recurrent network gives a text.
fn texts(root: &Path, cell: &str) -> (Arrays, Arrays) {
    let text = small_text();
    let settings = format!(
        "model = \"char-rnn\"\n[data]\nsource = '{text}'\n\
         [train]\nsteps = 2\nbatch_size = 2\nsample_frames = 1\nsample_count = 1\nsample_length = 5\n\
         [char-rnn]\ncell = \"{cell}\"\nlayers = 2\nwidth = 8\nembedding = 6\ncontext = 16\ninit = 0.5\n"
    );
    let trained = Trained::open(train_run(root, cell, &settings)).unwrap();
    let tokens: Vec<i32> = (0..24).map(|i| i * i % 17).collect();
    let read = Array::new(vec![2, 12], tokens.iter().map(|&token| token as f32).collect());
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [2, 12]), &Device::flex());
    let log_prob = trained.likelihood().unwrap().tokens().unwrap().log_prob(tokens);
    (Arrays::from([("tokens".to_owned(), read)]), Arrays::from([("log_prob".to_owned(), array(log_prob))]))
}

/// A small text.
fn small_text() -> String {
    root().join("crates/poiesis/tests/old_runs/text.txt").to_string_lossy().into_owned()
}

#[test]
fn the_loader_gives_pytorch_networks_that_compute_what_ours_do() {
    let Some(python) = python_with(&["torch", "safetensors", "tomllib"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let ours = [
        ("layers", layers(root)),
        ("vae", images(root, "vae")),
        ("dcgan", images(root, "dcgan")),
        ("lstm", texts(root, "lstm")),
        ("gru", texts(root, "gru")),
    ];
    for (name, (inputs, _)) in &ours {
        write_arrays(&root.join(name).join("inputs.safetensors"), inputs);
    }
    output_of(&python, "weights.py", root);
    for (name, (_, ours)) in &ours {
        let theirs = read_arrays(&root.join(name).join("outputs.safetensors"));
        assert!(ours.keys().eq(theirs.keys()), "{name}: {:?} and {:?}", ours.keys(), theirs.keys());
        for (output, ours) in ours {
            let theirs = &theirs[output];
            assert_eq!(ours.shape, theirs.shape, "{name}: {output}");
            let largest = ours.data.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
            let off = ours.data.iter().zip(&theirs.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= TOLERANCE * largest, "{name}: {output} differs by {off} of {largest}");
        }
    }
    for name in ["vae", "dcgan"] {
        let (picture, _) = Picture::read_png(&root.join(name).join("image.png")).unwrap();
        assert_eq!((picture.width(), picture.height(), picture.channels()), (16, 16, 3), "{name}");
    }
}

/// A line for each array: its name and the length of its axes.
struct List(String);

impl NamedVisitor for List {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        self.0.push_str(&format!("{name} {:?}\n", param.dims()));
    }
}

/// The arrays of a model with the settings of a recipe, for handwritten digits.
fn arrays_of<M: Model>(recipe: &str) -> String {
    let entry = catalogue::find(M::ABOUT.name).unwrap();
    let recipe = catalogue::find_recipe(entry, recipe).unwrap();
    let layer = config::Layer::parse("the recipe", recipe.toml).unwrap();
    let resolved = config::resolve(&entry.defaults().unwrap(), &[layer]).unwrap().config;
    let shape = ImageShape { height: 28, width: 28, channels: 1 };
    let spec = DataSpec { content: Content::Images(shape), classes: 10, unlabelled: false };
    let settings: M::Config = resolved.model().unwrap();
    let mut list = List(String::new());
    visit_named(&M::new(&settings, &spec, &mut Init::counting()).unwrap(), &mut list);
    list.0
}

#[test]
fn the_arrays_in_the_documentation_are_those_of_the_models() {
    // Set this to write them instead of comparing them.
    const UPDATE: &str = "POIESIS_UPDATE_TABLES";
    let page = root().join("docs/weights.md");
    for (recipe, arrays) in
        [("vae/mnist-conv", arrays_of::<Vae>("mnist-conv")), ("dcgan/mnist", arrays_of::<Dcgan>("mnist"))]
    {
        let text = fs::read_to_string(&page).unwrap();
        let begin = format!("<!-- arrays of {recipe}: begin -->\n```text\n");
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("the page has no {begin}"));
        let (found, after) = rest.split_once("```\n").unwrap();
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&page, format!("{before}{begin}{arrays}```\n{after}")).unwrap();
        } else {
            assert_eq!(found, arrays, "{}: run this test again with {UPDATE}=1", page.display());
        }
    }
}

/// The event files of a run, in the order of their names.
fn event_files(run: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("events.out.tfevents."));
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn count(bytes: &[u8], part: &str) -> usize {
    bytes.windows(part.len()).filter(|window| *window == part.as_bytes()).count()
}

/// A text model that is trained for 8 steps, loses its last checkpoint as a killed one does, is resumed at step 4, and then trained to
/// step 12.
fn resumed_text(root: &Path) -> PathBuf {
    let text = small_text();
    let settings = |steps: u64| {
        format!(
            "model = \"char-rnn\"\n[data]\nsource = '{text}'\n[train]\nsteps = {steps}\nbatch_size = 2\nlog_every = 1\n\
             checkpoint_every = 4\nsample_frames = 1\nsample_count = 2\nsample_length = 20\n\
             [char-rnn]\nwidth = 8\ncontext = 16\n"
        )
    };
    let run = train_run(root, "text", &settings(8));
    fs::remove_dir_all(run.join("checkpoints/step-000000008")).unwrap();
    train_run(root, "text", &settings(8));
    train_run(root, "text", &settings(12))
}

/// A sound model.
fn sound(root: &Path) -> PathBuf {
    let file = root.join("sound.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&file, spec).unwrap();
    (0..3000).for_each(|i| writer.write_sample((9000.0 * (f64::from(i) * 0.1).sin()) as i16).unwrap());
    writer.finalize().unwrap();
    let settings = format!(
        "model = \"char-rnn\"\n[data]\nsource = '{}'\n[train]\nsteps = 2\nbatch_size = 2\nlog_every = 1\n\
         sample_frames = 1\nsample_count = 2\nsample_length = 30\n[char-rnn]\nwidth = 8\nembedding = 4\ncontext = 16\n",
        file.display()
    );
    train_run(root, "sound", &settings)
}

/// Checks what TensorBoard finds in the two runs.
fn expect_in_tensorboard(found: &serde_json::Value) {
    let (text, sound) = (&found["text"], &found["sound"]);
    let steps = |values: &serde_json::Value| -> Vec<u64> {
        values.as_array().unwrap().iter().map(|value| value[0].as_u64().unwrap()).collect()
    };
    assert_eq!(steps(&text["scalars"]["train/nll"]), (1..=12).collect::<Vec<_>>(), "each step once");
    assert_eq!(text["settings"]["train.batch_size"], 2.0);
    assert_eq!(text["settings"]["char-rnn.cell"], "lstm");
    assert_eq!(text["statuses"], serde_json::json!(["STATUS_SUCCESS"]));
    let last = text["scalars"]["train/nll"][11][1].as_f64().unwrap();
    assert_eq!(text["measures"]["train/nll"], last, "the last value is the measure");
    assert_eq!(steps(&text["texts"]["settings"]), [0, 8], "at the beginning, and where they changed");
    let settings = text["texts"]["settings"][0][1][0].as_str().unwrap();
    assert!(settings.starts_with("```toml\nmodel = \"char-rnn\"\n"), "{settings}");
    let samples = text["texts"]["samples"].as_array().unwrap();
    assert!(samples.iter().all(|of_step| of_step[1].as_array().unwrap().len() == 2), "{samples:?}");
    let sounds = sound["sounds"]["samples"].as_array().unwrap();
    assert!(!sounds.is_empty());
    for of_step in sounds {
        let files: Vec<&str> = of_step[1].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        // RIFF; a header of 44 bytes and up to 30 samples of two bytes, in hexadecimal digits.
        let whole = |file: &&str| file.starts_with("52494646") && (88..=88 + 120).contains(&file.len());
        assert!(files.len() == 2 && files.iter().all(whole), "{files:?}");
    }
}

#[test]
fn event_files_hold_samples_settings_and_the_end_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let (text, sound) = (resumed_text(folder.path()), sound(folder.path()));

    let files = event_files(&text);
    assert_eq!(files.len(), 3, "one for each start");
    let counts = |part: &str| files.iter().map(|file| count(file, part)).collect::<Vec<_>>();
    assert_eq!(counts("_hparams_/session_start_info"), [1; 3]);
    assert_eq!(counts("_hparams_/session_end_info"), [1; 3]);
    assert_eq!(counts("```toml\nmodel = "), [1, 0, 1], "settings that stay the same are not written again");
    let sheet = fs::read_to_string(text.join("samples/step-000000012.txt")).unwrap();
    let sample = &sheet[..20];
    assert_eq!(count(&files[2], &format!("```\n{sample}")), 1, "{sample:?}");

    let files = event_files(&sound);
    assert_eq!(count(&files[0], "RIFF") % 2, 0, "two sounds at each step");
    assert!(count(&files[0], "WAVEfmt ") > 0);

    let Some(python) = python_with(&["tensorboard"]) else { return };
    let found = output_of(&python, "events.py", folder.path());
    expect_in_tensorboard(&serde_json::from_str(&found).unwrap());
}
