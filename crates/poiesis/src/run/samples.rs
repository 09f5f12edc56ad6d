//! Sample pictures of a run: `samples/step-NNNNNNNNN.png`, all from the same latents, so that the eye can follow.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::folder_name;
use crate::error::{Error, Result};

/// Returns the path of the picture of a step below `folder`: `step-000000123.png`.
pub fn path_of(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("{}.png", folder_name(step)))
}

/// Returns step and path of every sample picture in `folder`, in the order of the steps; none when it does not exist.
///
/// # Errors
/// [`Error::Io`].
pub fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", folder)(error)),
    };
    let mut samples = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if let Some(step) = step_of(&path) {
            samples.push((step, path));
        }
    }
    samples.sort();
    Ok(samples)
}

fn step_of(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".png")?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_listed_by_step_and_other_files_ignored() {
        let folder = tempfile::tempdir().unwrap();
        for step in [1_000_000_000, 20, 3] {
            fs::write(path_of(folder.path(), step), "").unwrap();
        }
        for name in
            ["step-.png", "step-+1.png", "step-000000001.jpg", "grid.png", ".step-000000005.png.1-0.tmp"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = list(folder.path()).unwrap();
        assert_eq!(found.iter().map(|&(step, _)| step).collect::<Vec<_>>(), [3, 20, 1_000_000_000]);
        assert!(found[0].1.ends_with("step-000000003.png"));
        assert!(list(&folder.path().join("absent")).unwrap().is_empty());
    }
}
