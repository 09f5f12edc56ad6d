//! Names with braces: `shard-{000..007}.tar` stands for eight files, `{train,test}.npz` for two.

use std::path::{Path, PathBuf};

use super::file_name;

/// Most names that one name with braces stands for.
const MOST: usize = 1_000_000;

/// The files and folders that a name with braces stands for, those that exist; without braces, none.
pub(crate) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let text = pattern.to_string_lossy();
    if !text.contains('{') {
        return Vec::new();
    }
    let mut names = vec![text.into_owned()];
    while let Some(more) = names.first().and_then(|_| expand_first(&names)) {
        names = more;
    }
    names.into_iter().map(PathBuf::from).filter(|path| path.exists()).collect()
}

/// The paths with names for them in the source: below the folder that all are in.
pub(crate) fn listed(paths: Vec<PathBuf>) -> Vec<(String, PathBuf)> {
    let common = paths.iter().skip(1).fold(paths.first().and_then(|path| path.parent()), |common, path| {
        common?.ancestors().find(|folder| path.starts_with(folder))
    });
    let named = paths.iter().map(|path| {
        let below = common.and_then(|common| path.strip_prefix(common).ok());
        below.map_or_else(|| file_name(path), |below| below.to_string_lossy().replace('\\', "/"))
    });
    named.collect::<Vec<_>>().into_iter().zip(paths).collect()
}

/// All names with their first braces replaced; `None` if they have none, or would become too many.
fn expand_first(names: &[String]) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for name in names {
        let (before, rest) = name.split_once('{')?;
        let (inside, after) = rest.split_once('}')?;
        for choice in choices(inside)? {
            all.push(format!("{before}{choice}{after}"));
            if all.len() > MOST {
                return None;
            }
        }
    }
    Some(all)
}

/// What stands in braces: a list, or a range of numbers.
fn choices(inside: &str) -> Option<Vec<String>> {
    if let Some((first, last)) = inside.split_once("..") {
        let (low, high) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        let width = first.len();
        let high = high.min(low.saturating_add(MOST as u32));
        return Some((low..=high).map(|i| format!("{i:0width$}")).collect());
    }
    inside.contains(',').then(|| inside.split(',').map(|choice| choice.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_lists_in_one_name() {
        let all = |text: &str| {
            let mut names = vec![text.to_owned()];
            while let Some(more) = expand_first(&names) {
                names = more;
            }
            names
        };
        assert_eq!(all("a-{08..10}.tar"), ["a-08.tar", "a-09.tar", "a-10.tar"]);
        assert_eq!(all("{train,test}/{0..1}.x"), ["train/0.x", "train/1.x", "test/0.x", "test/1.x"]);
        assert_eq!(all("a{b}.x"), ["a{b}.x"]);
        assert_eq!(all("a{0..99999999}{0..9}.x").len(), 1, "too many names are none");
    }

    #[test]
    fn files_are_named_below_the_folder_they_share() {
        let names = |paths: &[&str]| {
            let listed = listed(paths.iter().map(PathBuf::from).collect());
            listed.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["d/train/0.x", "d/test/0.x"]), ["train/0.x", "test/0.x"]);
        assert_eq!(names(&["d/0.x", "d/1.x"]), ["0.x", "1.x"]);
        assert_eq!(names(&["0.x"]), ["0.x"]);
        assert!(names(&[]).is_empty());
    }
}
