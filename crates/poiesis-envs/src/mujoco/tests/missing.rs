//! Where the library is not, or something else is in its place.

use std::path::{Path, PathBuf};

use super::super::{LIBRARY_FILE, Library, MujocoError, names, outline, usual_places};

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("poiesis-mujoco-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn the_error_names_the_file_the_places_and_the_command() {
    let places = [PathBuf::from("/nowhere/lib"), PathBuf::from("/nowhere/else")];
    let error = Library::open(&places).unwrap_err();
    assert_eq!(error, MujocoError::NotFound { looked: places.to_vec() });
    let text = error.to_string();
    for part in [LIBRARY_FILE, "3.17.0", "/nowhere/lib, /nowhere/else"] {
        assert!(text.contains(part), "{text}");
    }
    let hint = error.hint().unwrap();
    assert!(hint.contains("`pip install --no-deps --target ~/.local/lib mujoco==3.17.0`"), "{hint}");
    assert!(Library::open(&[]).unwrap_err().to_string().ends_with("looked in no folder"));
}

#[test]
fn a_file_that_is_no_library_is_named_with_the_reason() {
    let folder = Folder::new("text");
    let file = folder.0.join(LIBRARY_FILE);
    std::fs::write(&file, "not a library").unwrap();
    match Library::open(std::slice::from_ref(&folder.0)).unwrap_err() {
        MujocoError::NotLoaded { path, reason } => {
            assert_eq!(path, file);
            assert!(!reason.is_empty());
        }
        other => panic!("{other}"),
    }
}

#[test]
fn usual_places_have_the_packages_of_python_newest_first() {
    let folder = Folder::new("prefix");
    for version in ["3.9", "3.11"] {
        std::fs::create_dir_all(folder.0.join(format!("lib/python{version}/site-packages"))).unwrap();
    }
    let home = Path::new("/home/somebody");
    let program = Path::new("/opt/poiesis");
    let found = usual_places(Some(home), Some(program), std::slice::from_ref(&folder.0));
    let packages = |version: &str| folder.0.join(format!("lib/python{version}/site-packages"));
    assert_eq!(found, [home.join(".local/lib"), program.to_owned(), packages("3.11"), packages("3.9")]);
}

/// The sizes that Gymnasium gives its v5 tasks.
#[test]
fn sizes_are_known_without_the_library() {
    let sizes = names().map(|name| outline(name).map(|known| (known.observation, known.action)));
    let expected =
        [(11, 3), (17, 6), (17, 6), (17, 6), (105, 8), (348, 17), (10, 2), (8, 2), (4, 1), (9, 1)].map(Some);
    assert_eq!(sizes, expected);
    assert_eq!(outline("cartpole"), None);
}
