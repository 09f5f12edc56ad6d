//! `poiesis suggest`: what may come next on an unfinished command line. The scripts of `poiesis completions` call it.
//!
//! The first line of its output says which paths the shell adds: `none`, `folders` or `files`. Each other line is a word, and after a
//! tab what it means.

use std::ffi::OsString;

use anyhow::Result;
use clap::{Args, Command, CommandFactory as _};

use super::line::{Expected, Line, repeats};
use super::values::{Candidate, Paths, values};
use crate::args::Cli;
use crate::render::result;

/// Print what may come next on a command line, for the scripts that `poiesis completions` prints
#[derive(Args, Debug)]
pub(crate) struct Suggest {
    /// Begin a new word after those that are given.
    #[arg(long)]
    new_word: bool,
    /// The words after the name of the program; the last one is completed.
    #[arg(last = true)]
    words: Vec<OsString>,
}

impl Suggest {
    pub(crate) fn run(self) -> Result<()> {
        let mut words: Vec<String> =
            self.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        if self.new_word || words.is_empty() {
            words.push(String::new());
        }
        let mut root = Cli::command();
        root.build();
        result(&suggestions(&root, &words))
    }
}

/// What the scripts read.
fn suggestions(root: &Command, words: &[String]) -> String {
    let line = Line::read(root, words);
    let (candidates, paths) = candidates(&line);
    let mut text = match paths {
        Paths::None => "none\n",
        Paths::Folders => "folders\n",
        Paths::Files => "files\n",
    }
    .to_owned();
    for Candidate { word, about } in candidates {
        let about = about.lines().next().unwrap_or_default().replace('\t', " ");
        // A name with such characters could not be typed from what is shown.
        if word.starts_with(&line.typed) && !word.contains(char::is_control) {
            let tab = if about.is_empty() { "" } else { "\t" };
            text.push_str(&format!("{}{word}{tab}{about}\n", line.before));
        }
    }
    text
}

fn candidates(line: &Line<'_>) -> (Vec<Candidate>, Paths) {
    match line.expected {
        Expected::Verb(None) => (verbs(line.command), Paths::None),
        Expected::Verb(Some(arg)) => {
            let (others, paths) = values(arg, line);
            (verbs(line.command).into_iter().chain(others).collect(), paths)
        }
        Expected::Option => (options(line), Paths::None),
        Expected::Value(arg) => values(arg, line),
        Expected::Nothing => (Vec::new(), Paths::None),
    }
}

fn verbs(command: &Command) -> Vec<Candidate> {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown
        .map(|verb| {
            Candidate::new(verb.get_name(), verb.get_about().map(ToString::to_string).unwrap_or_default())
        })
        .collect()
}

/// The options that were not given yet, or can be given again.
fn options(line: &Line<'_>) -> Vec<Candidate> {
    let open =
        line.command.get_arguments().filter(|arg| !arg.is_hide_set() && (repeats(arg) || !line.has(arg)));
    open.filter_map(|arg| {
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some(Candidate::new(format!("--{}", arg.get_long()?), about))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::path::PathBuf;

    use super::*;

    /// The words that are suggested at the end of `text`, whose words are separated by single spaces, and the paths.
    fn suggested(text: &str) -> (String, Vec<String>) {
        let mut root = Cli::command();
        root.build();
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let text = suggestions(&root, &words);
        let mut lines = text.lines();
        let paths = lines.next().unwrap().to_owned();
        (paths, lines.map(|line| line.split('\t').next().unwrap().to_owned()).collect())
    }

    fn only(text: &str) -> Vec<String> {
        let (paths, words) = suggested(text);
        assert_eq!(paths, "none", "{text}");
        words
    }

    #[test]
    fn verbs_models_and_recipes_are_completed() {
        assert_eq!(only("tr"), ["train"]);
        assert_eq!(only("train dc"), ["dcgan"]);
        assert_eq!(only("discover prob"), ["probe"]);
        assert_eq!(only("help disc"), ["discover"]);
        assert_eq!(only("train dcgan --recipe emoji"), ["emoji64"]);
        assert_eq!(only("train vae --recipe=mnist-"), ["--recipe=mnist-conv"]);
        assert_eq!(only("recipes dcgan sh"), ["shapes"]);
        assert_eq!(only("train ppo --env hop"), ["hopper"]);
        assert!(only("train ").len() == poiesis::catalogue::CATALOGUE.len());
        assert!(only("").contains(&"train".to_owned()) && !only("").contains(&"read-table".to_owned()));
    }

    #[test]
    fn settings_are_those_of_the_model() {
        assert_eq!(only("train dcgan --set learning_"), ["learning_rate="]);
        assert_eq!(only("train vae --set vae.kl_we"), ["vae.kl_weight="]);
        assert_eq!(only("train dcgan --set dcgan.kl_we"), Vec::<String>::new());
        assert_eq!(only("train dcgan --set learning_rate="), Vec::<String>::new());
        assert!(only("train dcgan --set ").iter().all(|key| key.ends_with('=')));
    }

    #[test]
    fn data_are_names_and_files() {
        let (paths, words) = suggested("train dcgan --data s");
        assert_eq!((paths.as_str(), words), ("files", vec!["shapes".to_owned(), "scenes".to_owned()]));
        assert_eq!(suggested("train dcgan --out "), ("folders".into(), Vec::new()));
        assert_eq!(suggested("collect "), suggested("inspect "));
        assert_eq!(suggested("edit run a.png --along "), ("files".into(), Vec::new()));
    }

    #[test]
    fn options_are_offered_once() {
        assert_eq!(only("train dcgan --dat"), ["--data", "--data-dir"]);
        assert_eq!(only("train dcgan --data shapes --dat"), ["--data-dir"]);
        assert_eq!(only("train dcgan --set a=1 --se"), ["--seed", "--set"]);
    }

    #[test]
    fn fixed_values_are_completed() {
        assert_eq!(only("discover directions run --method p"), ["pca"]);
        assert_eq!(only("evaluate run --split va"), ["validation"]);
        assert_eq!(only("sample run --device c"), ["cpu"]);
        assert_eq!(only("completions z"), ["zsh"]);
    }

    #[test]
    fn every_path_completes_paths() {
        let mut root = Cli::command();
        root.build();
        let mut open = vec![&root];
        while let Some(command) = open.pop() {
            open.extend(command.get_subcommands());
            let line = Line::read(&root, &[String::new()]);
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
                    let (words, paths) = values(arg, &line);
                    let completes = paths != Paths::None || !words.is_empty();
                    assert!(completes, "{} {}", command.get_name(), arg.get_id());
                }
            }
        }
    }
}
