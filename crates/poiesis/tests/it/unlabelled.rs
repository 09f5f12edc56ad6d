//! Documents outside of classes: a run that was made before they were told apart from those of the first class is resumed as it was made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use poiesis::config::{DataConfig, Layer, resolve};
use poiesis::data::{self, Places};
use poiesis::train::{Request, Stop, TrainingData, train};
use poiesis::{Trained, catalogue};
use poiesis_collect::Dataset;

/// Texts in folders of two classes, and some beside them.
fn texts(root: &Path) -> Dataset {
    let folder = root.join("texts");
    for class in ["a", "b"] {
        fs::create_dir_all(folder.join(class)).unwrap();
    }
    for number in 0..12 {
        for (place, word) in [("a/", "one"), ("b/", "two"), ("", "three")] {
            fs::write(folder.join(format!("{place}{number}.txt")), format!("{word} {number} {word}"))
                .unwrap();
        }
    }
    let places = Places { data_dir: root.to_owned(), cache: root.join("cache") };
    let config = DataConfig { source: folder.to_string_lossy().into_owned(), ..DataConfig::default() };
    data::open(&config, &places, &|_| ()).unwrap()
}

/// Trains in `run` until `steps` are done, or resumes what is there.
fn run_to(steps: u64, data: TrainingData, run: &Path) {
    crate::compute_as_old_runs();
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
    let request = Request { ignore_memory: true, ..Request::new(run.to_owned(), config, data) };
    train(request, &Stop::default(), &mut |_| ()).unwrap();
}

#[test]
fn a_run_keeps_the_tokens_that_it_was_made_with() {
    let root = tempfile::tempdir().unwrap();
    let dataset = texts(root.path());
    let now = || TrainingData::of(&dataset).unwrap();
    assert!(now().spec.unlabelled, "some documents have no class");
    // As earlier versions described these data.
    let earlier = || {
        let mut data = now();
        data.spec.unlabelled = false;
        data.info.spec = Some(data.spec.clone());
        data.info.class_counts = Vec::new();
        data
    };
    let [resumed, unbroken, new] = ["resumed", "unbroken", "new"].map(|name| root.path().join(name));
    run_to(2, earlier(), &resumed);
    run_to(4, now(), &resumed);
    run_to(4, earlier(), &unbroken);
    run_to(4, now(), &new);
    let open = |run: &Path| Trained::open(run).unwrap();
    assert_eq!(open(&resumed).fingerprint(), open(&unbroken).fingerprint());
    let vocabulary = |run: &Path| open(run).spec.tokens(256).vocabulary();
    assert_eq!(vocabulary(&new), vocabulary(&unbroken) + 1, "a token for documents without a class");
    assert!(open(&new).spec.unlabelled && !open(&resumed).spec.unlabelled);
}
