//! Documents outside of classes: a run that was made before they were told apart from those of the first class is resumed as it was made, and
//! a run that starts from the weights of another reads them as that one does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use poiesis::config::{DataConfig, Layer, resolve};
use poiesis::data::{self, Places};
use poiesis::train::{InitialWeights, Request, Stop, TrainingData, rehearse, train};
use poiesis::{Error, Trained, catalogue};
use poiesis_collect::Dataset;

/// Texts in folders of two classes, and some beside them where `loose` says so, as data set `name`.
fn texts(root: &Path, name: &str, loose: bool) -> Dataset {
    let folder = root.join(name);
    for class in ["a", "b"] {
        fs::create_dir_all(folder.join(class)).unwrap();
    }
    for number in 0..12 {
        for (place, word) in [("a/", "one"), ("b/", "two"), ("", "three")] {
            if loose || !place.is_empty() {
                let text = format!("{word} {number} {word} {name}");
                fs::write(folder.join(format!("{place}{number}.txt")), text).unwrap();
            }
        }
    }
    let places = Places { data_dir: root.to_owned(), cache: root.join("cache") };
    let source = folder.to_string_lossy().into_owned();
    let config = DataConfig { source, vocabulary: "bytes".into(), ..DataConfig::default() };
    data::open(&config, &places, &|_| ()).unwrap()
}

/// The same, as earlier versions described them.
fn as_earlier(dataset: &Dataset) -> TrainingData {
    let mut data = TrainingData::of(dataset).unwrap();
    data.spec.unlabelled = false;
    data.info.spec = Some(data.spec.clone());
    data.info.class_counts = Vec::new();
    data
}

/// A request to train in `run` until `steps` are done, or to resume what is there.
fn request(steps: u64, data: TrainingData, run: &Path) -> Request {
    let settings = [
        "transformer.width=8",
        "transformer.layers=1",
        "transformer.heads=2",
        "transformer.context=8",
        "train.batch_size=4",
        "train.sample_frames=0",
        "train.sample_count=1",
        "train.sample_length=5",
        "optimizer.schedule=constant",
    ];
    let steps = format!("train.steps={steps}");
    let layers = settings.into_iter().chain([steps.as_str()]).map(|text| Layer::assignment("test", text));
    let layers: Vec<Layer> = layers.collect::<Result<_, _>>().unwrap();
    let defaults = catalogue::find("transformer").unwrap().defaults().unwrap();
    let config = resolve(&defaults, &layers).unwrap().config;
    Request { ignore_memory: true, ..Request::new(run.to_owned(), config, data) }
}

fn run_to(steps: u64, data: TrainingData, run: &Path) {
    crate::compute_as_old_runs();
    train(request(steps, data, run), &Stop::default(), &mut |_| ()).unwrap();
}

/// Trains in `run` for two steps from the weights of the run `parent`.
fn fine_tune(parent: &Path, data: TrainingData, run: &Path) -> Result<(), Error> {
    crate::compute_as_old_runs();
    let initial = Some(InitialWeights::of(&Trained::open(parent).unwrap()));
    train(Request { initial, ..request(2, data, run) }, &Stop::default(), &mut |_| ()).map(drop)
}

fn vocabulary(run: &Path) -> usize {
    Trained::open(run).unwrap().spec.tokens(256).vocabulary()
}

#[test]
fn a_run_keeps_the_tokens_that_it_was_made_with() {
    let root = tempfile::tempdir().unwrap();
    let dataset = texts(root.path(), "texts", true);
    let now = || TrainingData::of(&dataset).unwrap();
    assert!(now().spec.unlabelled, "some documents have no class");
    let [resumed, unbroken, new] = ["resumed", "unbroken", "new"].map(|name| root.path().join(name));
    run_to(2, as_earlier(&dataset), &resumed);
    run_to(4, now(), &resumed);
    run_to(4, as_earlier(&dataset), &unbroken);
    run_to(4, now(), &new);
    let open = |run: &Path| Trained::open(run).unwrap();
    assert_eq!(open(&resumed).fingerprint(), open(&unbroken).fingerprint());
    assert_eq!(vocabulary(&new), vocabulary(&unbroken) + 1, "a token for documents without a class");
    assert!(open(&new).spec.unlabelled && !open(&resumed).spec.unlabelled);
    // A rehearsal takes its steps with the model that would be continued.
    let request = request(6, now(), &resumed);
    let of = |data: TrainingData| {
        catalogue::find("transformer").unwrap().parameters(&request.config, &data.spec).unwrap()
    };
    assert_eq!(rehearse(&request).unwrap().parameters, of(as_earlier(&dataset)));
    assert_ne!(of(as_earlier(&dataset)), of(now()));
}

#[test]
fn a_new_run_reads_data_as_that_which_its_weights_are_from() {
    let root = tempfile::tempdir().unwrap();
    let [own, others] = ["texts", "more"].map(|name| texts(root.path(), name, true));
    let labelled = texts(root.path(), "labelled", false);
    let data = |dataset: &Dataset| TrainingData::of(dataset).unwrap();
    let [earlier, now] = ["earlier", "now"].map(|name| root.path().join(name));
    run_to(2, as_earlier(&own), &earlier);
    run_to(2, data(&own), &now);
    for (number, (parent, dataset)) in
        [(&earlier, &own), (&earlier, &labelled), (&now, &own), (&now, &others), (&now, &labelled)]
            .into_iter()
            .enumerate()
    {
        let run = root.path().join(format!("tuned{number}"));
        fine_tune(parent, data(dataset), &run).unwrap();
        assert_eq!(vocabulary(&run), vocabulary(parent), "{number}");
        // It is resumed as it was made.
        run_to(3, data(dataset), &run);
    }
    let run = root.path().join("refused");
    let error = fine_tune(&earlier, data(&others), &run).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("that run has no token for examples without a class"), "{said}");
    assert_eq!(error.hint().unwrap(), "give each example a class, or train a new run");
    assert!(!run.exists());
}
