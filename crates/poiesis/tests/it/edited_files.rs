//! Files of ours that say something impossible, with their checksums right: each is refused with an error that names it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use poiesis::apply::compress::{Archive, Document, compress, decompress};
use poiesis::catalogue;
use poiesis::config::{DataConfig, Layer, resolve};
use poiesis::data::{self, Places};
use poiesis::run::checkpoint::{self, Array, Checkpoint};
use poiesis::train::{Request, Stop, TrainingData, train};
use poiesis::{Error, Trained};
use poiesis_collect::Dataset;
use safetensors::SafeTensors;
use serde_json::{Value, json};

const STEPS: u64 = 4;

/// A run on text of two classes, and its data, below one folder.
struct Small {
    root: tempfile::TempDir,
    model: &'static str,
}

impl Small {
    fn new(model: &'static str) -> Small {
        let small = Small { root: tempfile::tempdir().unwrap(), model };
        for (class, word) in [("a", "abba "), ("b", "baab ")] {
            let folder = small.path("text").join(class);
            fs::create_dir_all(&folder).unwrap();
            (0..4).for_each(|i| fs::write(folder.join(format!("{i}.txt")), word.repeat(40 + i)).unwrap());
        }
        let options = poiesis_collect::Options::default();
        poiesis_collect::collect(&small.path("text"), &small.path("packed"), &options, &|_| ()).unwrap();
        small.train(STEPS).unwrap();
        small
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Trains the run up to `steps`, from where it is.
    fn train(&self, steps: u64) -> Result<(), Error> {
        crate::compute_as_old_runs();
        let places = Places { data_dir: self.path("sets"), cache: self.path("cache") };
        let own = ["width=8", "layers=1", "context=16", "batch_size=4", "sample_frames=0", "sample_count=1"];
        let shared = ["sample_length=8", "train.ema_decay=0.5"];
        let texts = own.into_iter().chain(shared).map(str::to_owned).chain([format!("train.steps={steps}")]);
        let heads = (self.model == "transformer").then(|| "heads=2".to_owned());
        let layers: Vec<Layer> =
            texts.chain(heads).map(|text| Layer::assignment("test", &text).unwrap()).collect();
        let mut config = resolve(&catalogue::find(self.model)?.defaults()?, &layers)?.config;
        let source = self.path("packed").to_string_lossy().into_owned();
        config.data = DataConfig { source, ..DataConfig::default() };
        let dataset = data::open(&config.data, &places, &|_| ())?;
        let request = Request::new(self.path("run"), config, TrainingData::of(&dataset)?);
        train(request, &Stop::default(), &mut |_| ()).map(drop)
    }

    fn checkpoint(&self) -> PathBuf {
        self.path("run/checkpoints").join(checkpoint::folder_name(STEPS))
    }

    /// What opening the run and continuing it say when its checkpoint is changed; the checkpoint is then put back.
    fn with_checkpoint(&self, change: impl FnOnce(&mut Checkpoint)) -> [Option<Error>; 2] {
        let whole = checkpoint::read(&self.checkpoint()).unwrap();
        let mut changed = whole.clone();
        change(&mut changed);
        assert!(changed != whole, "nothing was changed");
        let put = |content: &Checkpoint| {
            fs::remove_dir_all(self.path("run/checkpoints")).unwrap();
            checkpoint::save(&self.path("run/checkpoints"), content).unwrap();
        };
        put(&changed);
        let said = [Trained::open(self.path("run")).err(), self.train(STEPS + 1).err()];
        let info = fs::read_to_string(self.path("run/run.json")).unwrap();
        fs::write(self.path("run/run.json"), info).unwrap();
        put(&whole);
        said
    }

    /// What opening the run says when a file of it is changed; the file is then put back.
    fn with_file(&self, name: &str, change: impl FnOnce(&str) -> String) -> Error {
        let path = self.path("run").join(name);
        let whole = fs::read_to_string(&path).unwrap();
        let changed = change(&whole);
        assert_ne!(changed, whole, "nothing was changed");
        fs::write(&path, changed).unwrap();
        let opened = Trained::open(self.path("run")).err();
        let continued = self.train(STEPS + 1).err();
        fs::write(&path, whole).unwrap();
        assert!(continued.is_some(), "{name} was accepted by training");
        opened.unwrap_or_else(|| panic!("{name} was accepted"))
    }
}

#[track_caller]
fn says(error: &Error, parts: &[&str]) {
    let message = error.to_string();
    parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in: {message}"));
    assert!(error.hint().is_some(), "{message}");
}

fn first(arrays: &mut BTreeMap<String, Array>, name: impl Fn(&str) -> bool) -> &mut Array {
    arrays.iter_mut().find(|(key, _)| name(key)).map(|(_, array)| array).unwrap()
}

/// The array in the other orientation, or one longer.
fn misshape(array: &mut Array) {
    array.shape = match array.shape[..] {
        [rows, columns] if rows != columns => vec![columns, rows],
        _ => vec![array.data.len() + 1],
    };
    array.data.resize(array.shape.iter().product(), 0.5);
}

#[test]
fn arrays_of_a_checkpoint_are_checked_against_the_model() {
    let small = Small::new("transformer");
    let folder = checkpoint::folder_name(STEPS);
    let folder = folder.as_str();
    for value in [f32::NAN, f32::INFINITY] {
        let [opened, continued] =
            small.with_checkpoint(|saved| first(&mut saved.ema, |_| true).data[0] = value);
        says(&opened.unwrap(), &[folder, "ema.safetensors", "not a finite number"]);
        says(&continued.unwrap(), &[folder, "ema.safetensors"]);
        let [_, continued] = small.with_checkpoint(|saved| first(&mut saved.model, |_| true).data[0] = value);
        says(&continued.unwrap(), &[folder, "model.safetensors"]);
    }
    let [opened, continued] = small.with_checkpoint(|saved| {
        misshape(first(&mut saved.ema, |name| name.ends_with("up.weight")));
        misshape(first(&mut saved.model, |name| name.ends_with("up.weight")));
    });
    for error in [opened.unwrap(), continued.unwrap()] {
        assert!(matches!(error, Error::CheckpointMismatch { .. }), "{error}");
        says(&error, &[folder, "up.weight", "shape"]);
    }
    let [opened, _] = small.with_checkpoint(|saved| drop(saved.ema.pop_first()));
    says(&opened.unwrap(), &[folder, "is missing"]);
    let [opened, continued] = small.with_checkpoint(|saved| saved.state.model = "vae".into());
    [opened, continued].into_iter().for_each(|error| says(&error.unwrap(), &[folder, "`vae`"]));
}

#[test]
fn the_state_of_training_is_checked_against_the_model() {
    let transformer = Small::new("transformer");
    let folder = checkpoint::folder_name(STEPS);
    let continued = |small: &Small, change: &dyn Fn(&mut Checkpoint)| {
        let [opened, continued] = small.with_checkpoint(change);
        assert!(opened.is_none(), "weights alone are enough to sample");
        let error = continued.unwrap();
        assert!(
            matches!(error, Error::CheckpointMismatch { .. } | Error::CheckpointDamaged { .. }),
            "{error}"
        );
        says(&error, &[&folder]);
        error.to_string()
    };
    for state in ["momentum", "first", "second"] {
        let change = |saved: &mut Checkpoint| misshape(first(&mut saved.train, |name| name.ends_with(state)));
        assert!(continued(&transformer, &change).contains(state));
    }
    for steps in [vec![0.5, 1.0], vec![3.0], vec![-1.0, 0.0], vec![1e30, 0.0]] {
        let array = Array::new(vec![steps.len()], steps);
        let change = |saved: &mut Checkpoint| {
            saved.train.insert("optimizer.steps".into(), array.clone());
        };
        assert!(continued(&transformer, &change).contains("optimizer.steps"));
    }
    let lost = |saved: &mut Checkpoint| {
        let name = saved.train.keys().find(|name| name.ends_with(".second")).cloned().unwrap();
        saved.train.remove(&name);
    };
    assert!(continued(&transformer, &lost).contains("lacks one of first, second"));
    let foreign = |saved: &mut Checkpoint| {
        saved.train.insert("optimizer.nothing.first".into(), Array::new(vec![1], vec![0.0]));
    };
    assert!(continued(&transformer, &foreign).contains("no parameter"));

    let recurrent = Small::new("char-rnn");
    let streams = |shape: [usize; 2]| {
        move |saved: &mut Checkpoint| {
            let array = Array::new(shape.to_vec(), vec![0.0; shape[0] * shape[1]]);
            *first(&mut saved.train, |name| name.starts_with("streams.")) = array;
        }
    };
    for shape in [[4, 9], [5, 8]] {
        assert!(continued(&recurrent, &streams(shape)).contains("streams"), "{shape:?}");
    }
}

#[test]
fn what_a_run_says_of_itself_is_checked() {
    let small = Small::new("transformer");
    let json = |change: fn(&mut Value)| {
        small.with_file("run.json", |text| {
            let mut value: Value = serde_json::from_str(text).unwrap();
            change(&mut value);
            value.to_string()
        })
    };
    says(&json(|run| run["id"] = "../../elsewhere".into()), &["run.json", "plain name"]);
    says(&json(|run| run["data"]["spec"]["classes"] = 900.into()), &["run.json", "900 classes"]);
    let images = |height: Value, channels: usize| json!({ "content": { "images": { "height": height, "width": 4, "channels": channels } }, "classes": 2 });
    for spec in [images(0.into(), 3), images((1_u64 << 62).into(), 3), images(4.into(), 7)] {
        let error = small.with_file("run.json", |text| {
            let mut value: Value = serde_json::from_str(text).unwrap();
            value["data"]["spec"] = spec.clone();
            value.to_string()
        });
        says(&error, &["run.json", "images"]);
    }
    let config = |from: &str, to: &str| small.with_file("config.toml", |text| text.replacen(from, to, 1));
    says(&config("width = 8", "width = -1"), &["config.toml"]);
    says(&config("width = 8", "width = 9000000000000"), &["config.toml", "transformer.width"]);
    says(&config("model = \"transformer\"", "model = \"nothing\""), &["config.toml", "nothing"]);
    // The run is described as larger than its checkpoint is: nothing of that size is made.
    says(&config("width = 8", "width = 1000000"), &["checkpoints", "shape"]);
    assert!(Trained::open(small.path("run")).is_ok());
}

#[test]
fn labels_and_tokens_of_a_packed_data_set_are_checked() {
    let small = Small::new("transformer");
    let shard = small.path("packed/train-00000.safetensors");
    let whole = fs::read(&shard).unwrap();
    let place = |tensor: &str| {
        let (length, header) = SafeTensors::read_metadata(&whole).unwrap();
        length + 8 + header.info(tensor).unwrap().data_offsets.0
    };
    let edited = |at: usize, bytes: &[u8]| {
        let mut content = whole.clone();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&shard, content).unwrap();
    };
    edited(place("labels") + 4, &7_u32.to_le_bytes());
    let error = Dataset::open(&small.path("packed")).unwrap_err();
    assert!(matches!(error, poiesis_collect::Error::Corrupt { .. }), "{error}");
    says(&error.into(), &["train-00000.safetensors", "class 7", "names 2"]);

    edited(place("tokens") + 5, &[200]);
    let error = small.train(STEPS + 1).unwrap_err();
    says(&error, &["train-00000.safetensors", "token 5 is 200", "vocabulary has 3"]);
    edited(place("starts"), &9_u64.to_le_bytes());
    says(&small.train(STEPS + 1).unwrap_err(), &["train-00000.safetensors", "beginning"]);
    fs::write(&shard, &whole).unwrap();
    small.train(STEPS + 1).unwrap();
}

#[test]
fn labels_of_packed_images_are_checked() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("shapes");
    let options = poiesis_collect::Options { count: Some(20), size: Some((8, 8)), ..Default::default() };
    poiesis_collect::collect("shapes".as_ref(), &out, &options, &|_| ()).unwrap();
    let shard = out.join("train-00000.safetensors");
    let mut bytes = fs::read(&shard).unwrap();
    let (length, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let place = length + 8 + header.info("labels").unwrap().data_offsets.0;
    bytes[place..place + 4].copy_from_slice(&1000_u32.to_le_bytes());
    fs::write(&shard, bytes).unwrap();
    says(&Dataset::open(&out).unwrap_err().into(), &["train-00000.safetensors", "example 0", "class 1000"]);
}

/// An archive with its header changed, and its checksum right.
fn with_header(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Archive {
    let length = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[12..12 + length]).unwrap();
    change(&mut header);
    let header = header.to_string();
    let words = &bytes[12 + length..bytes.len() - 4];
    let length = (header.len() as u32).to_le_bytes();
    let mut changed = [&bytes[..8], &length, header.as_bytes(), words].concat();
    changed.extend(crc32c::crc32c(&changed).to_le_bytes());
    Archive::from_bytes(&changed).unwrap()
}

#[test]
fn lengths_in_an_archive_are_checked_before_memory_is_taken() {
    let small = Small::new("transformer");
    let trained = Trained::open(small.path("run")).unwrap();
    let document = Document { name: "a.txt".into(), content: b"abba baab abba".to_vec(), chunks: Vec::new() };
    let archive = compress(&trained, std::slice::from_ref(&document), Some(1), &mut |_, _| ()).unwrap().bytes;
    let whole = with_header(&archive, |_| ());
    assert_eq!(decompress(&trained, &whole, &mut |_, _| ()).unwrap(), [document]);

    let many = u32::MAX;
    let lengths = [
        json!([[many, many]]),
        json!([[many, 1]]),
        json!([[1, many]]),
        json!([[1, 15]]),
        json!([[14, 0]]),
        json!([[0, many], [1, 14]]),
        json!([[many, many], [many, many], [many, many]]),
    ];
    for sequences in lengths {
        let changed = with_header(&archive, |header| header["entries"][0]["sequences"] = sequences.clone());
        let error = decompress(&trained, &changed, &mut |_, _| ()).unwrap_err();
        assert!(matches!(error, Error::ArchiveDamaged { .. }), "{sequences}: {error}");
    }
    // So many values cannot be in its words, and so many bytes not in any memory.
    for bytes in [1_u64 << 31, 1 << 60] {
        let changed = with_header(&archive, |header| {
            header["entries"][0]["bytes"] = bytes.into();
            header["entries"][0]["sequences"] =
                json!(vec![[1 << 15, 1 << 16]; (bytes >> 31).min(64) as usize]);
        });
        says(&decompress(&trained, &changed, &mut |_, _| ()).unwrap_err(), &["archive", "values"]);
    }
    for words in [0_u64, 1 << 40, u64::MAX] {
        let changed = with_header(&archive, |header| header["words"] = words.into());
        assert!(decompress(&trained, &changed, &mut |_, _| ()).is_err(), "{words}");
    }
    let changed = with_header(&archive, |header| header["entries"][0]["class"] = 2.into());
    says(&decompress(&trained, &changed, &mut |_, _| ()).unwrap_err(), &["class"]);
}

#[test]
fn the_folder_of_a_run_may_not_go_away() {
    let small = Small::new("transformer");
    let gone = |leave: &(dyn Fn(&Path) + Sync)| {
        let run = small.path("run");
        let places = Places { data_dir: small.path("sets"), cache: small.path("cache") };
        let trained = Trained::open(&run).unwrap();
        let dataset = trained.dataset(None, &places, &|_| ()).unwrap();
        let mut config = trained.config.clone();
        config.train.steps = trained.step + 3;
        let request = Request {
            ignore_memory: true,
            ..Request::new(run.clone(), config, TrainingData::of(&dataset).unwrap())
        };
        let mut left = false;
        let outcome = train(request, &Stop::default(), &mut |event| {
            if matches!(event, poiesis::train::Event::Step { .. }) && !left {
                left = true;
                leave(&run);
            }
        });
        let error = outcome.unwrap_err();
        assert!(matches!(&error, Error::RunRemoved { run: named } if *named == run), "{error}");
        says(&error, &["removed"]);
    };
    gone(&|run| {
        // Another run is begun in its place.
        fs::rename(run, small.path("aside")).unwrap();
        let copy = |name: &str| {
            fs::copy(small.path("aside").join(name), run.join(name)).unwrap();
        };
        fs::create_dir(run).unwrap();
        ["run.json", "config.toml", "lock"].into_iter().for_each(copy);
    });
    assert!(!small.path("run/checkpoints").exists(), "nothing was written to the other run");
    fs::remove_dir_all(small.path("run")).unwrap();
    fs::rename(small.path("aside"), small.path("run")).unwrap();
    gone(&|run| fs::remove_dir_all(run).unwrap());
    assert!(!small.path("run").exists());
}
