//! From data to numbers by the library alone: data opened, a run trained, its model opened in one line and measured.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use poiesis::catalogue;
use poiesis::config::{DataConfig, Layer, resolve};
use poiesis::data::{self, Places};
use poiesis::evaluate::{
    Bound, Chosen, Evaluation, METRICS, NeighbourStatistics, Protocol, SlicedWasserstein, evaluate,
};
use poiesis::train::{Request, Stop, TrainingData, train};
use poiesis::{Error, Trained, Weights};
use poiesis_collect::{Dataset, Split};

const STEPS: u64 = 4;

fn shapes(count: usize) -> DataConfig {
    DataConfig { source: "shapes".into(), size: 16, count, ..DataConfig::default() }
}

fn places(root: &Path) -> Places {
    Places { data_dir: root.to_owned(), cache: root.join("cache") }
}

/// Trains a small autoencoder on shapes in `run`.
fn trained_on(dataset: &Dataset, config: DataConfig, run: &Path) {
    crate::compute_as_old_runs();
    let settings = ["vae.width=4", "vae.latent_dim=6", "train.batch_size=8"];
    let steps = format!("train.steps={STEPS}");
    let layers = settings.into_iter().chain([steps.as_str()]).map(|text| Layer::assignment("test", text));
    let layers: Vec<Layer> = layers.collect::<Result<_, _>>().unwrap();
    let mut resolved = resolve(&catalogue::find("vae").unwrap().defaults().unwrap(), &layers).unwrap().config;
    resolved.data = config;
    let request = Request {
        ignore_memory: true,
        ..Request::new(run.to_owned(), resolved, TrainingData::of(dataset).unwrap())
    };
    train(request, &Stop::default(), &mut |_| ()).unwrap();
}

/// `count` shapes, and a run on them in a folder `run` beside them.
fn trained_on_shapes(count: usize, root: &Path) -> (Dataset, PathBuf) {
    let run = root.join("run");
    let dataset = data::open(&shapes(count), &places(root), &|_| ()).unwrap();
    trained_on(&dataset, shapes(count), &run);
    (dataset, run)
}

#[test]
fn a_model_is_opened_in_a_line_and_measured() {
    let root = tempfile::tempdir().unwrap();
    let (dataset, run) = trained_on_shapes(300, root.path());
    let trained = Trained::open(&run).unwrap();
    assert_eq!((trained.step, trained.weights()), (STEPS, Weights::Ema));
    let raw = Trained::builder().step(STEPS).weights(Weights::Raw).device("cpu:0").open(&run).unwrap();
    assert_eq!(raw.weights(), Weights::Raw);
    assert_ne!(raw.fingerprint(), trained.fingerprint());
    let error = Trained::builder().step(STEPS + 1).open(&run).err().unwrap();
    assert!(error.to_string().contains("no checkpoint of step 5"), "{error}");

    let again = trained.dataset(None, &places(root.path()), &|_| ()).unwrap();
    assert_eq!(again.card().fingerprint, dataset.card().fingerprint);
    let protocol = Protocol {
        images: Some(10),
        importance_samples: 2,
        samples: 100,
        directions: 8,
        seed: 3,
        ..Protocol::default()
    };
    let mut told = Vec::new();
    let measured = evaluate(&trained, &again, &protocol, &mut |at| told.push(at)).unwrap();
    assert!(told.iter().any(|at| at.what == "bound" && at.done == 10 && at.total == Some(10)));
    assert_eq!(told.iter().filter(|at| at.what == "sampling" && at.done == 100).count(), 1, "drawn once");

    assert_eq!(measured.split, Some(Split::Validation));
    let bound: Bound = measured.read("bound").unwrap();
    assert_eq!((bound.protocol.images, bound.protocol.samples, bound.protocol.seed), (10, 2, 3));
    let held_out = dataset.split(Split::Validation).unwrap().len();
    let distance: SlicedWasserstein = measured.read("sliced_wasserstein").unwrap();
    assert!(held_out < 100 && distance.images == held_out, "equal numbers on every side");
    assert_eq!(distance.chosen, Chosen::Random);
    let near: NeighbourStatistics = measured.read("neighbours").unwrap();
    assert_eq!((near.samples, near.held_out), (held_out, held_out));
    let names: Vec<&str> = measured.results.keys().map(String::as_str).collect();
    assert_eq!(names, ["bound", "memorisation", "neighbours", "sliced_wasserstein"]);
    assert!(names.iter().all(|name| METRICS.iter().any(|metric| metric.name == *name)));

    let kept = measured.keep(trained.path()).unwrap();
    // As text, since a number that is read back may differ in its last digit.
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), measured.to_json().unwrap());
    assert_eq!(Evaluation::open(&kept).unwrap().results.len(), measured.results.len());
    let numbers = |evaluation: &Evaluation| evaluation.read::<Bound>("bound");
    let other = evaluate(&trained, &again, &protocol, &mut |_| ()).unwrap();
    assert_eq!(numbers(&other), numbers(&measured), "the same request gives the same numbers");
}

#[test]
fn the_train_split_is_compared_with_the_rest_of_itself() {
    let root = tempfile::tempdir().unwrap();
    let (dataset, run) = trained_on_shapes(60, root.path());
    let protocol = Protocol {
        split: Some(Split::Train),
        images: Some(4),
        importance_samples: 1,
        samples: 100,
        directions: 64,
        ..Protocol::default()
    };
    let measured = evaluate(&Trained::open(&run).unwrap(), &dataset, &protocol, &mut |_| ()).unwrap();
    let train = dataset.split(Split::Train).unwrap().len();
    let distance: SlicedWasserstein = measured.read("sliced_wasserstein").unwrap();
    assert_eq!(distance.images, train / 2);
    assert!(distance.floor > 0.0 && distance.floor < distance.ceiling, "{distance:?}");
    // No image is its own nearest one.
    let near: NeighbourStatistics = measured.read("neighbours").unwrap();
    assert!(near.samples == train && near.held_out_distance > 0.0, "{near:?}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (dataset, run) = trained_on_shapes(100, root.path());
    let (trained, places) = (Trained::open(&run).unwrap(), places(root.path()));
    let refused = |dataset: &Dataset, protocol: Protocol| {
        evaluate(&trained, dataset, &protocol, &mut |_| ()).unwrap_err()
    };

    let larger = data::open(&DataConfig { size: 32, ..shapes(100) }, &places, &|_| ()).unwrap();
    let error = refused(&larger, Protocol::default());
    assert!(matches!(&error, Error::InvalidValue { key, .. } if key == "data.source"), "{error}");
    let whole = data::open(&DataConfig { holdout: 0.0, ..shapes(100) }, &places, &|_| ()).unwrap();
    assert!(matches!(refused(&whole, Protocol::default()), Error::NothingHeldOut { .. }));
    let test = Protocol { split: Some(Split::Test), ..Protocol::default() };
    assert!(matches!(refused(&dataset, test), Error::Data(poiesis_collect::Error::NoSplit { .. })));
    let error = refused(&dataset, Protocol { samples: 0, ..Protocol::default() });
    assert!(error.to_string().contains("samples"), "{error}");
}

#[test]
fn data_that_moved_or_changed_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let (places, run) = (places(root.path()), root.path().join("run"));
    let dataset = data::open(&shapes(100), &places, &|_| ()).unwrap();
    let packed = root.path().join("packed");
    std::fs::rename(dataset.folder(), &packed).unwrap();
    let source = packed.to_string_lossy().into_owned();
    trained_on(&Dataset::open(&packed).unwrap(), DataConfig { source, ..shapes(100) }, &run);
    let trained = Trained::open(&run).unwrap();

    let moved = root.path().join("moved");
    std::fs::rename(&packed, &moved).unwrap();
    let open = |source: Option<&str>| trained.dataset(source, &places, &|_| ());
    let error = open(None).err().unwrap();
    assert!(matches!(&error, Error::RunData { .. }), "{error}");
    assert!(error.hint().unwrap().contains("where they are now"));
    assert!(open(moved.to_str()).is_ok());
    let other = data::open(&shapes(50), &places, &|_| ()).unwrap();
    assert!(matches!(open(other.folder().to_str()).err().unwrap(), Error::DataChanged { .. }));
    assert!(matches!(open(Some("ring")).err().unwrap(), Error::UnknownData { .. }));
}
