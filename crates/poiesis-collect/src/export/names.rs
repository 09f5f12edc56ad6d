//! The names of the folders into which the examples of classes are written: names that every system takes, each once.

use std::collections::HashSet;

use crate::split::Split;

/// Longest name of a folder, in bytes; systems take 255.
const LONGEST: usize = 200;

/// The folders of classes.
pub(super) struct Folders {
    /// The name of that of each class.
    pub(super) names: Vec<String>,
    /// The classes whose folders are called otherwise, with these names.
    pub(super) renamed: Vec<(String, String)>,
}

impl Folders {
    /// Names a folder for each class. Where these are not `in_splits`, none is called like a split.
    pub(super) fn of(classes: &[String], in_splits: bool) -> Folders {
        let mut folders = Folders { names: Vec::new(), renamed: Vec::new() };
        let mut taken = HashSet::new();
        for class in classes {
            let own = match folder_name(class) {
                split if !in_splits && Split::parse(&split).is_some() => format!("_{split}"),
                name => name,
            };
            let mut name = own.clone();
            let mut number = 1;
            // Some systems do not tell small letters from capitals.
            while !taken.insert(name.to_lowercase()) {
                number += 1;
                name = format!("{own}-{number}");
            }
            if name != *class {
                folders.renamed.push((class.clone(), name.clone()));
            }
            folders.names.push(name);
        }
        folders
    }
}

/// A name of a folder on any system: what may not be in one becomes `_`.
fn folder_name(class: &str) -> String {
    const REFUSED: [char; 9] = ['/', '\\', ':', '*', '?', '"', '<', '>', '|'];
    let part = |c: char| if c.is_control() || REFUSED.contains(&c) { '_' } else { c };
    let name: String = class.chars().map(part).collect();
    let name = name[..name.floor_char_boundary(LONGEST)].trim_end_matches([' ', '.']);
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if name.is_empty() => "_".to_owned(),
        None if is_device(name) || name == "__MACOSX" => format!("_{name}"),
        None => name.to_owned(),
    }
}

/// Whether Windows takes a name for a device, with any ending.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let is_port = |port: &str| stem.strip_prefix(port).is_some_and(|n| matches!(n.as_bytes(), [b'0'..=b'9']));
    ["con", "prn", "aux", "nul"].contains(&stem.as_str()) || is_port("com") || is_port("lpt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(classes: &[&str], in_splits: bool) -> Folders {
        Folders::of(&classes.iter().map(|&class| class.to_owned()).collect::<Vec<_>>(), in_splits)
    }

    #[test]
    fn every_class_has_a_folder_of_its_own() {
        let Folders { names, renamed } = named(&["cat", "Cat", "a/b", "a_b", "..", "", ".x", "é"], false);
        assert_eq!(names, ["cat", "Cat-2", "a_b", "a_b-2", "_", "_-2", "_x", "é"]);
        assert_eq!(renamed.len(), 6);
        assert_eq!(renamed[0], ("Cat".to_owned(), "Cat-2".to_owned()));
    }

    #[test]
    fn names_that_mean_something_else_are_changed() {
        let classes = ["CON", "aux.x", "com1", "com", "nul ", "__MACOSX", "Test", "val"];
        let expected = ["_CON", "_aux.x", "_com1", "com", "_nul", "___MACOSX"];
        assert_eq!(named(&classes, false).names, [&expected[..], &["_Test", "_val"]].concat());
        assert_eq!(named(&classes, true).names, [&expected[..], &["Test", "val"]].concat());
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        for letter in ["x", "é", "漢", "🦀"] {
            let names = named(&[&letter.repeat(300), &letter.repeat(301)], false).names;
            assert!(names.iter().all(|name| (190..=210).contains(&name.len())), "{names:?}");
            assert_eq!(names[1], format!("{}-2", names[0]));
        }
    }
}
