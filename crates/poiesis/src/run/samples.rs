//! Samples of a run, `samples/step-NNNNNNNNN.png`, `.txt` or `.wav`, all from the same noise, so that they can be compared.

use std::path::{Path, PathBuf};

use super::checkpoint::folder_name;
use super::names;
use crate::error::Result;

/// Returns the path of the samples of a step below `folder`: `step-000000123.png` for the extension `png`.
pub fn path_of(folder: &Path, step: u64, extension: &str) -> PathBuf {
    folder.join(format!("{}.{extension}", folder_name(step)))
}

/// Returns step and path of all samples with that extension in `folder`, in the order of the steps; none when `folder`
/// does not exist.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn list(folder: &Path, extension: &str) -> Result<Vec<(u64, PathBuf)>> {
    let step = |path: PathBuf| step_of(&path, extension).map(|step| (step, path));
    let mut samples: Vec<_> = names::in_folder(folder)?.into_iter().filter_map(step).collect();
    samples.sort();
    Ok(samples)
}

/// Returns the path of the newest samples of any kind in `folder`.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn newest(folder: &Path) -> Result<Option<PathBuf>> {
    let mut all = Vec::new();
    for extension in ["png", "txt", "wav"] {
        all.extend(list(folder, extension)?);
    }
    Ok(all.into_iter().max().map(|(_, path)| path))
}

fn step_of(path: &Path, extension: &str) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("step-")?.strip_suffix(extension)?.strip_suffix('.')?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn samples_are_listed_by_step_and_other_files_ignored() {
        let folder = tempfile::tempdir().unwrap();
        for step in [1_000_000_000, 20, 3] {
            fs::write(path_of(folder.path(), step, "png"), "").unwrap();
        }
        for name in
            ["step-.png", "step-+1.png", "step-000000001.jpg", "grid.png", ".step-000000005.png.1-0.tmp"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = list(folder.path(), "png").unwrap();
        assert_eq!(found.iter().map(|&(step, _)| step).collect::<Vec<_>>(), [3, 20, 1_000_000_000]);
        assert!(found[0].1.ends_with("step-000000003.png"));
        assert!(list(&folder.path().join("absent"), "png").unwrap().is_empty());
    }
}
