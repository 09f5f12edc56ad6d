//! Where MuJoCo's library may be.

use std::path::{Path, PathBuf};

/// The version of MuJoCo that is needed.
pub const VERSION: &str = "3.17.0";

/// The name of its library on this system.
pub const LIBRARY_FILE: &str = if cfg!(target_os = "windows") {
    "mujoco.dll"
} else if cfg!(target_os = "macos") {
    "libmujoco.3.17.0.dylib"
} else {
    "libmujoco.so.3.17.0"
};

/// The library at a place: the file itself, or a folder that has it, directly or in its folder `mujoco`.
pub(super) fn library_at(place: &Path) -> Option<PathBuf> {
    let candidates = [place.to_owned(), place.join(LIBRARY_FILE), place.join("mujoco").join(LIBRARY_FILE)];
    candidates.into_iter().find(|path| path.is_file())
}

/// Returns usual places of the library, for [`Library::open`](super::Library::open): the folder `lib` in the user's
/// `.local`, that of the program, and the packages of Python below each prefix, such as a virtual environment or `/usr`.
/// Nothing is read from the environment; who calls knows the user's home, the program's folder and prefixes of Python.
pub fn usual_places(home: Option<&Path>, program: Option<&Path>, prefixes: &[PathBuf]) -> Vec<PathBuf> {
    let local = home.map(|home| home.join(".local"));
    let mut places: Vec<PathBuf> = local.iter().map(|local| local.join("lib")).collect();
    places.extend(program.map(Path::to_owned));
    places.extend(prefixes.iter().chain(&local).flat_map(|prefix| packages(prefix)));
    places
}

/// The folders `site-packages` below a prefix of Python, the newest version first.
fn packages(prefix: &Path) -> Vec<PathBuf> {
    let windows = prefix.join("Lib").join("site-packages");
    let lib = std::fs::read_dir(prefix.join("lib"));
    let pythons = lib.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<(u32, PathBuf)> = pythons
        .filter_map(|path| {
            let minor = path.file_name()?.to_str()?.strip_prefix("python3.")?.parse().ok()?;
            Some((minor, path))
        })
        .flat_map(|(minor, path)| ["site-packages", "dist-packages"].map(|name| (minor, path.join(name))))
        .chain([(0, windows)])
        .filter(|(_, path)| path.is_dir())
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}
