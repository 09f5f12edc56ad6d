//! Environments by name.

use crate::environment::Environment;
use crate::error::EnvError;
use crate::{classic, mujoco, rllab};

/// An environment that [`make`] knows.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Makes it.
    pub(crate) make: fn() -> Result<Box<dyn Environment>, EnvError>,
}

/// All environments of this crate, family by family.
const FAMILIES: [&[Listed]; 3] = [&classic::ENVIRONMENTS, &rllab::ENVIRONMENTS, &mujoco::ENVIRONMENTS];

/// How many similar names an error gives.
const SUGGESTIONS: usize = 3;

/// All environments that [`make`] knows, in the order in which they should be shown.
pub fn list() -> Vec<Listed> {
    FAMILIES.concat()
}

/// Makes the environment of this name. It must be reset before its first step.
///
/// # Errors
///
/// [`EnvError::UnknownEnvironment`], with similar names, and [`EnvError::Mujoco`] where MuJoCo is needed and not found.
pub fn make(name: &str) -> Result<Box<dyn Environment>, EnvError> {
    match FAMILIES.iter().copied().flatten().find(|listed| listed.name == name) {
        Some(listed) => (listed.make)(),
        None => Err(EnvError::UnknownEnvironment { name: name.into(), nearest: nearest(name) }),
    }
}

/// The names like `name`, nearest first: at most a third of the letters differ.
fn nearest(name: &str) -> Vec<String> {
    let wanted = letters(name);
    let distance = |listed: &Listed| strsim::damerau_levenshtein(&wanted, &letters(listed.name));
    let mut found: Vec<(usize, &str)> = list()
        .iter()
        .map(|listed| (distance(listed), listed.name))
        .filter(|&(distance, known)| distance <= wanted.len().max(known.len()) / 3)
        .collect();
    // An exact name, written as elsewhere, needs no others beside it.
    found.sort_by_key(|&(distance, _)| distance);
    let exact = found.first().is_some_and(|&(distance, _)| distance == 0);
    found.truncate(if exact { 1 } else { SUGGESTIONS });
    found.into_iter().map(|(_, known)| known.to_owned()).collect()
}

/// A name without case, separators and version, so that `CartPole-v1` is `cartpole`.
fn letters(name: &str) -> String {
    let version = |tail: &str| tail.strip_prefix('v').is_some_and(|v| v.bytes().all(|b| b.is_ascii_digit()));
    let name = match name.rsplit_once('-') {
        Some((head, tail)) if version(tail) => head,
        _ => name,
    };
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_makes_an_environment_of_that_name() {
        for listed in list() {
            match (listed.make)() {
                // Tests have not said where MuJoCo is.
                Err(EnvError::Mujoco(_)) => assert!(mujoco::names().contains(&listed.name)),
                made => assert_eq!(made.unwrap().spec().name, listed.name),
            }
            assert!(!listed.about.is_empty() && !listed.about.ends_with('.'), "{}", listed.about);
        }
    }

    #[test]
    fn names_are_in_kebab_case_and_unique() {
        let mut names: Vec<&str> = list().iter().map(|listed| listed.name).collect();
        assert!(
            names
                .iter()
                .all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'))
        );
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn an_unknown_name_gives_those_like_it() {
        let nearest = |name: &str| match make(name) {
            Err(EnvError::UnknownEnvironment { nearest, .. }) => nearest,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{name} is known"),
        };
        assert_eq!(nearest("CartPole-v1"), ["cartpole"]);
        assert_eq!(nearest("MountainCarContinuous-v0"), ["mountain-car-continuous"]);
        assert_eq!(nearest("pendulun"), ["pendulum"]);
        assert!(nearest("tic-tac-toe").is_empty());
        let error = make("acrobat").err().unwrap();
        assert_eq!(error.to_string(), "there is no environment called `acrobat`");
        assert_eq!(error.hint().unwrap(), "did you mean `acrobot`?");
    }
}
