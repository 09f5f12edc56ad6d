//! Finds the data that a name means: a path, built-in data, or a data set in the folder of data sets.

use std::fs;
use std::path::{Component, Path, PathBuf};

use poiesis_collect::{Error as DataError, builtin, is_source, regular};
use serde_json::Value;

use super::known::{self, KNOWN, Known};
use super::open::invalid;
use crate::error::{Error, Result, nearest};

/// Built-in data sets that an error may suggest.
const BUILT_IN: [&str; 4] = ["shapes", "scenes", "rings", "grid"];

/// Turns the name of a source into what `poiesis_collect` opens: a path or a built-in name.
///
/// An existing path comes first, then built-in data, then what has that name or relative path in `data_dir`.
///
/// # Errors
///
/// [`Error::UnknownData`] for a name that means nothing; [`Error::MissingData`] for a known data set that is not there, or
/// not whole; [`Error::InvalidValue`] for an empty name; [`Error::Data`] for a run, whose samples are no data.
pub fn locate(source: &str, data_dir: &Path) -> Result<String> {
    if source.is_empty() {
        return Err(invalid("source", "empty", "it must name the data", "give a folder, a file or a name"));
    }
    if is_source(source) {
        expect_no_run(Path::new(source))?;
        return Ok(source.to_owned());
    }
    let is_below = Path::new(source).components().all(|part| matches!(part, Component::Normal(_)));
    let known = by_name(source);
    let mut folder = data_dir.join(source);
    if let Some(known) = known
        && !folder.exists()
    {
        let mut places = known.places.iter().map(|place| data_dir.join(place));
        let found = places.find(|place| place.exists() && !is_incomplete(place));
        folder = found.unwrap_or_else(|| data_dir.join(known.places[0]));
    }
    let incomplete = known.is_some() && is_incomplete(&folder);
    if is_below && folder.exists() {
        let found = match source {
            "cifar10" => binary_version(&folder),
            _ => Some(folder.clone()).filter(|_| !incomplete),
        };
        if let Some(found) = found {
            expect_no_run(&found)?;
            return Ok(found.to_string_lossy().into_owned());
        }
    }
    if let Some(known) = known {
        let name = known.name.to_owned();
        let files = known.files.to_owned();
        return Err(Error::MissingData { name, path: folder, files, begun: incomplete });
    }
    let names: Vec<&str> = BUILT_IN.into_iter().chain(KNOWN.iter().map(|known| known.name)).collect();
    Err(Error::UnknownData {
        source_name: source.to_owned(),
        nearest: nearest(source, &names).map(str::to_owned),
        known: names.into_iter().map(str::to_owned).collect(),
    })
}

/// Where the demonstrations of an expert are, as [`locate`] finds them.
///
/// # Errors
///
/// Those of [`locate`]; [`Error::UnknownData`] proposes no built-in data.
pub fn locate_demonstrations(source: &str, data_dir: &Path) -> Result<String> {
    locate(source, data_dir).map_err(|error| match error {
        Error::UnknownData { source_name, .. } => {
            Error::UnknownData { source_name, nearest: None, known: Vec::new() }
        }
        other => other,
    })
}

/// The known data set with that name, unless a file or folder with that name is in the current folder.
pub(super) fn by_name(source: &str) -> Option<&'static Known> {
    known::find(source).filter(|_| !Path::new(source).exists() && builtin(source).is_none())
}

/// Refuses the folder of a run, which holds pictures too: those that its model has drawn.
fn expect_no_run(folder: &Path) -> Result<()> {
    let Some(about) = read_run(folder) else { return Ok(()) };
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let reason = match text(&about["model"]) {
        Some(model) => format!("it is a run of {model} and no data"),
        None => "it is a run and no data".to_owned(),
    };
    let remedy = match text(&about["data"]["source"]) {
        Some(data) => format!("`runs show` shows the run; its data are {data}"),
        None => "`runs show` shows the run; give data".to_owned(),
    };
    Err(DataError::Malformed { path: folder.to_owned(), reason, remedy, option: None }.into())
}

/// The `run.json` of a folder that is a run: it has checkpoints too.
fn read_run(folder: &Path) -> Option<Value> {
    let is_run = folder.join("checkpoints").is_dir();
    let text = is_run.then(|| regular::read(&folder.join("run.json")).ok()).flatten()?;
    serde_json::from_slice(&text).ok()
}

/// CIFAR-10 is published in several formats; its folder must have the binary one, unpacked or as the archive that is published.
fn binary_version(folder: &Path) -> Option<PathBuf> {
    let holds = |place: &Path, name: &str| place.join(name).exists();
    let unpacked = [folder.to_owned(), folder.join("cifar-10-batches-bin")].into_iter().find(|place| {
        ["dataset.json", "data_batch_1.bin", "data_batch_1.bin.gz"].iter().any(|name| holds(place, name))
    });
    unpacked.or_else(|| Some(folder.join("cifar-10-binary.tar.gz")).filter(|archive| archive.exists()))
}

/// Whether files of a folder are being fetched, or were when that was ended: their names end with `.part`.
fn is_incomplete(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| PathBuf::from(entry.file_name()))
        .any(|name| name.extension() == Some("part".as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_gets_the_nearest_and_a_known_one_its_place() {
        let error = locate("mnits", Path::new("nowhere")).unwrap_err();
        assert!(
            matches!(&error, Error::UnknownData { nearest, .. } if nearest.as_deref() == Some("mnist")),
            "{error}"
        );
        let error = locate("mnist", Path::new("nowhere")).unwrap_err();
        assert!(
            matches!(&error, Error::MissingData { path, .. } if path == Path::new("nowhere/mnist")),
            "{error}"
        );
        assert!(matches!(locate("", Path::new(".")), Err(Error::InvalidValue { .. })));
    }

    #[test]
    fn a_relative_path_is_looked_up_below_the_folder_of_data_sets() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("data/demos/acrobot");
        fs::create_dir_all(&below).unwrap();
        let data_dir = root.path().join("data");
        assert_eq!(Path::new(&locate("demos/acrobot", &data_dir).unwrap()), below);
        assert!(locate("demos/pendulum", &data_dir).is_err());
        let outside = locate("../data/demos/acrobot", &data_dir);
        assert!(matches!(outside, Err(Error::UnknownData { .. })), "{outside:?}");
    }

    #[test]
    fn the_folder_of_cifar_holds_the_binary_version() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("cifar10/cifar-10-batches-bin");
        fs::create_dir_all(&below).unwrap();
        assert!(matches!(locate("cifar10", root.path()), Err(Error::MissingData { .. })));
        let archive = root.path().join("cifar10/cifar-10-binary.tar.gz");
        fs::write(&archive, "").unwrap();
        assert_eq!(Path::new(&locate("cifar10", root.path()).unwrap()), archive);
        fs::write(below.join("data_batch_1.bin"), "").unwrap();
        assert_eq!(Path::new(&locate("cifar10", root.path()).unwrap()), below);
    }

    #[test]
    fn what_is_being_fetched_is_not_whole() {
        let root = tempfile::tempdir().unwrap();
        for (name, folder) in [("mnist", "mnist"), ("cifar10", "cifar10"), ("novels", "text/novels")] {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            let part = folder.join("cifar-10-binary.tar.gz.part");
            fs::write(&part, "").unwrap();
            let error = locate(name, root.path()).unwrap_err();
            assert!(
                matches!(&error, Error::MissingData { path, begun: true, .. } if *path == folder),
                "{error}"
            );
            fs::rename(&part, part.with_extension("")).unwrap();
            assert!(Path::new(&locate(name, root.path()).unwrap()).starts_with(&folder), "{name}");
        }
        // A text whose neighbour is being fetched is there.
        fs::write(root.path().join("text/names.txt"), "emma").unwrap();
        fs::write(root.path().join("text/tinyshakespeare.txt.part"), "").unwrap();
        assert!(locate("names", root.path()).is_ok());
        assert!(matches!(locate("tinyshakespeare", root.path()), Err(Error::MissingData { .. })));
    }

    #[test]
    fn a_run_is_no_data() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("runs/vae-icons");
        fs::create_dir_all(run.join("samples")).unwrap();
        let source = run.to_string_lossy();
        let text = r#"{"model": "vae", "data": {"name": "icons", "source": "/photos/icons"}}"#;
        fs::write(run.join("run.json"), text).unwrap();
        assert!(locate(&source, Path::new("nowhere")).is_ok(), "it has no checkpoints");
        fs::create_dir(run.join("checkpoints")).unwrap();
        for error in [
            locate(&source, Path::new("nowhere")).unwrap_err(),
            locate("runs/vae-icons", root.path()).unwrap_err(),
        ] {
            assert!(error.to_string().ends_with("vae-icons cannot be used: it is a run of vae and no data"));
            assert_eq!(error.hint().unwrap(), "`runs show` shows the run; its data are /photos/icons");
        }
        fs::write(run.join("run.json"), "{}").unwrap();
        let error = locate(&source, Path::new("nowhere")).unwrap_err();
        assert!(error.to_string().ends_with("it is a run and no data"), "{error}");
    }

    #[test]
    fn novels_may_be_files_or_an_archive() {
        let root = tempfile::tempdir().unwrap();
        let found = || locate("novels", root.path()).map(PathBuf::from);
        let (folder, archive) = (root.path().join("text/novels"), root.path().join("text/novels.tar.gz"));
        let error = found().unwrap_err();
        assert!(
            matches!(&error, Error::MissingData { path, begun: false, .. } if *path == folder),
            "{error}"
        );
        fs::create_dir(root.path().join("text")).unwrap();
        fs::write(&archive, "").unwrap();
        assert_eq!(found().unwrap(), archive);
        fs::create_dir(&folder).unwrap();
        assert_eq!(found().unwrap(), folder);
        fs::write(folder.join("Doyle_Hound_1902.txt.part"), "").unwrap();
        assert_eq!(found().unwrap(), archive);
    }

    #[test]
    fn names_with_braces_are_sources() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a-1.tar"), "").unwrap();
        let source = root.path().join("a-{0..3}.tar").to_string_lossy().into_owned();
        assert_eq!(locate(&source, Path::new("nowhere")).unwrap(), source);
    }
}
