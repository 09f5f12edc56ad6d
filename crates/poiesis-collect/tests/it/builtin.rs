//! Built-in data: what it shows, that it is the same everywhere, and that its factors tell the truth.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use poiesis_collect::{Builtin, Dataset, Kind, Options, Split, builtin, collect, open_or_collect};

fn make(folder: &Path, name: &str, options: &Options) -> Dataset {
    let out = folder.join(name);
    collect(Path::new(name), &out, options, &|_| ()).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    dataset.verify().unwrap();
    dataset
}

#[test]
fn shapes_come_with_the_factors_that_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { count: Some(500), size: Some((24, 32)), ..Options::default() };
    let dataset = make(folder.path(), "shapes", &options);
    let card = dataset.card();
    assert_eq!((card.kind, &card.shape[..]), (Kind::Images, &[24, 32, 3][..]));
    assert_eq!(card.total(), 500);
    assert_eq!(card.duplicates, 0);
    let names: Vec<_> = card.factors.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["shape", "size", "x", "y", "angle", "hue"]);
    let train = dataset.require(Split::Train).unwrap();
    let held = dataset.require(Split::Validation).unwrap();
    assert!((25..75).contains(&held.len()), "{} of 500 held out", held.len());
    for i in 0..train.len() {
        let factors = train.factors(i).unwrap();
        assert_eq!(train.label(i), Some(factors[0] as u32));
        for (value, factor) in factors.iter().zip(&card.factors) {
            assert!((factor.low..=factor.high).contains(value), "{} is {value}", factor.name);
        }
        // The shape lies around its centre: the mean place of bright pixels is near the factors x and y.
        let (mut sum, mut at) = (0.0, [0.0, 0.0]);
        for (p, pixel) in train.image(i).chunks_exact(3).enumerate() {
            let weight = f64::from(*pixel.iter().max().unwrap()) - 40.0;
            sum += weight;
            at[0] += weight * ((p % 32) as f64 + 0.5) / 32.0;
            at[1] += weight * ((p / 32) as f64 + 0.5) / 24.0;
        }
        for (found, &told) in at.iter().zip(&factors[2..4]) {
            assert!(
                (found / sum - f64::from(told)).abs() < 0.03,
                "image {i}: {at:?} / {sum}, told {factors:?}"
            );
        }
        // The corner is ground.
        assert_eq!(train.image(i)[..3], [26, 28, 40]);
    }
}

#[test]
fn grey_shapes_have_no_hue() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { count: Some(40), channels: Some(1), ..Options::default() };
    let dataset = make(folder.path(), "shapes", &options);
    assert_eq!(dataset.card().shape, [32, 32, 1]);
    assert_eq!(dataset.card().factors.len(), 5);
}

#[test]
fn points_lie_around_their_modes() {
    let folder = tempfile::tempdir().unwrap();
    for builtin in [Builtin::Rings, Builtin::Grid] {
        let dataset = make(folder.path(), builtin.name(), &Options::default());
        let (modes, train) = (builtin.modes(), dataset.require(Split::Train).unwrap());
        let mut squares = 0.0;
        for i in 0..train.len() {
            let (point, mode) = (train.point(i), modes[train.label(i).unwrap() as usize]);
            assert_eq!(point.len(), 2);
            squares += f64::from((point[0] - mode[0]).powi(2) + (point[1] - mode[1]).powi(2));
        }
        let deviation = (squares / (2 * train.len()) as f64).sqrt();
        let expected = f64::from(builtin.deviation());
        assert!((deviation / expected - 1.0).abs() < 0.03, "{builtin:?}: {deviation} for {expected}");
        let counts = &dataset.card().splits[0].class_counts;
        assert_eq!(counts.len(), modes.len());
        assert!(counts.iter().all(|&n| n > 9_000 / modes.len() as u64 * 3 / 4), "{counts:?}");
    }
}

#[test]
fn an_example_depends_on_seed_and_index_only() {
    let folder = tempfile::tempdir().unwrap();
    let few = Options { count: Some(50), holdout: 0.0, ..Options::default() };
    let many = Options { count: Some(80), shard_bytes: 100_000, ..few.clone() };
    let other = Options { seed: 1, ..few.clone() };
    let sets: Vec<_> = [few, many, other]
        .iter()
        .enumerate()
        .map(|(i, options)| {
            make(&folder.path().join(i.to_string()), "shapes", options).require(Split::Train).unwrap()
        })
        .collect();
    for i in 0..50 {
        assert_eq!(sets[0].image(i), sets[1].image(i));
        assert_eq!(sets[0].factors(i), sets[1].factors(i));
        assert_ne!(sets[0].image(i), sets[2].image(i));
    }
}

#[test]
fn threads_and_shards_leave_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { count: Some(700), size: Some((9, 7)), ..Options::default() };
    let whole = make(&folder.path().join("a"), "shapes", &options);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let single = pool.install(|| make(&folder.path().join("b"), "shapes", &options));
    for name in ["dataset.json", "train-00000.safetensors", "validation-00000.safetensors"] {
        let read = |set: &Dataset| fs::read(set.folder().join(name)).unwrap();
        assert!(read(&whole) == read(&single), "{name} differs between thread counts");
    }
    let options = Options { shard_bytes: 20_000, ..options };
    let cut = make(&folder.path().join("c"), "shapes", &options);
    assert!(cut.card().splits[0].shards.len() > 3);
    assert_eq!(cut.card().fingerprint, whole.card().fingerprint);
    let (cut, whole) = (cut.require(Split::Train).unwrap(), whole.require(Split::Train).unwrap());
    for i in 0..whole.len() {
        assert_eq!(
            (cut.image(i), cut.label(i), cut.factors(i)),
            (whole.image(i), whole.label(i), whole.factors(i))
        );
    }
}

#[test]
fn names_are_opened_through_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let options = Options { count: Some(20), ..Options::default() };
    let open = |options: &Options| open_or_collect("rings", options, cache.path(), &|_| ()).unwrap();
    let first = open(&options);
    assert_eq!(open(&options).folder(), first.folder());
    assert_ne!(open(&Options { seed: 9, ..options }).folder(), first.folder());
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 2);
    assert_eq!(builtin("rings"), Some(Builtin::Rings));
    assert_eq!(builtin("cubes"), None);
}
