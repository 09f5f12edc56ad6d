//! Folders that tools make and that are nobody's data, such as what a compiler has built, and the signs of a repository of source code.

use std::io::Read;
use std::path::Path;

use crate::regular;

/// Names of folders with packages and compiled files.
const NAMES: [&str; 2] = ["node_modules", "__pycache__"];
/// A file that marks a folder whose content a program can make again, and how it begins (Cache Directory Tagging Specification).
const TAG: &str = "CACHEDIR.TAG";
const SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";
/// The file that every virtual environment of Python has.
const ENVIRONMENT: &str = "pyvenv.cfg";
/// What lies in the root of a repository of source code.
const SIGNS: [&str; 11] = [
    ".git",
    ".hg",
    ".svn",
    "Cargo.toml",
    "pyproject.toml",
    "setup.py",
    "package.json",
    "go.mod",
    "pom.xml",
    "build.gradle",
    "CMakeLists.txt",
];

/// Whether a folder was made by a tool: by its name, by the tag of a cache, or because it is an environment of Python.
pub(crate) fn is_made_by_tool(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    NAMES.iter().any(|known| name == *known) || is_tagged(folder) || folder.join(ENVIRONMENT).is_file()
}

fn is_tagged(folder: &Path) -> bool {
    let mut start = Vec::new();
    let read = regular::open(&folder.join(TAG))
        .and_then(|file| file.take(SIGNATURE.len() as u64).read_to_end(&mut start));
    read.is_ok() && start == SIGNATURE
}

/// Whether a folder is the root of a repository of source code.
pub(super) fn is_repository(folder: &Path) -> bool {
    SIGNS.iter().any(|sign| folder.join(sign).exists())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn folders_of_tools_are_known_by_their_name_or_by_what_they_hold() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str, file: &str, content: &[u8]| {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(file), content).unwrap();
            is_made_by_tool(&folder)
        };
        let tag = [SIGNATURE.as_slice(), b"\n# made by cargo\n"].concat();
        assert!(folder("target", TAG, &tag) && folder("env", ENVIRONMENT, b"home = /usr/bin"));
        assert!(folder("node_modules", "a.js", b"") && folder("__pycache__", "a.pyc", b""));
        assert!(!folder("a", TAG, b"Signature: of somebody else, in more than forty-three letters"));
        assert!(!folder("b", TAG, b"") && !folder("modules", "a.png", b""));
        assert!(!is_repository(&root.path().join("a")));
        fs::create_dir(root.path().join("a/.git")).unwrap();
        assert!(is_repository(&root.path().join("a")));
    }
}
