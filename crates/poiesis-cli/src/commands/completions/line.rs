//! An unfinished command line: what was given, and what the word at its end may become.

use clap::builder::Str;
use clap::{Arg, ArgAction, Command};

/// An unfinished command line.
pub(super) struct Line<'a> {
    /// The verb that was reached, with the arguments it takes.
    pub(super) command: &'a Command,
    /// The arguments before the cursor with their values, which are empty for flags.
    pub(super) given: Vec<(&'a Arg, String)>,
    /// What the word at the cursor may become.
    pub(super) expected: Expected<'a>,
    /// The part of that word which stays, such as `--data=`.
    pub(super) before: String,
    /// The part of that word which is completed.
    pub(super) typed: String,
    /// An option whose value comes next.
    open: Option<&'a Arg>,
    /// How many values without a name were given.
    places: usize,
    /// Whether `--` was given, after which nothing is an option.
    is_past_options: bool,
}

/// What a word may become.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected<'a> {
    /// A verb, or where the verb also takes a value without a name that.
    Verb(Option<&'a Arg>),
    /// The name of an option.
    Option,
    /// A value of this argument.
    Value(&'a Arg),
    /// Nothing more is expected.
    Nothing,
}

impl<'a> Line<'a> {
    /// Reads the words after the program's name. The last one is at the cursor; it may be empty. `root` must have been built
    /// ([`Command::build`]).
    pub(super) fn read(root: &'a Command, words: &[String]) -> Line<'a> {
        let mut line = Line {
            command: root,
            given: Vec::new(),
            expected: Expected::Nothing,
            before: String::new(),
            typed: String::new(),
            open: None,
            places: 0,
            is_past_options: false,
        };
        if let Some((last, earlier)) = words.split_last() {
            earlier.iter().for_each(|word| line.pass(word));
            line.end_with(last);
        }
        line
    }

    /// Whether an argument was given.
    pub(super) fn has(&self, arg: &Arg) -> bool {
        self.given.iter().any(|(given, _)| given.get_id() == arg.get_id())
    }

    /// The first value that was given for an argument with that name in the help, such as `RUN`.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.given.iter().find(|(arg, _)| value_name(arg) == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Takes a word before the cursor.
    fn pass(&mut self, word: &str) {
        if let Some(arg) = self.open.take() {
            self.given.push((arg, word.to_owned()));
        } else if self.is_past_options || !is_option(word) {
            self.pass_value(word);
        } else if word == "--" {
            self.is_past_options = true;
        } else if let Some((arg, value)) = self.option(word) {
            match value {
                None if takes_value(arg) => self.open = Some(arg),
                value => self.given.push((arg, value.unwrap_or_default())),
            }
        }
    }

    /// Takes a verb, or a value without a name.
    fn pass_value(&mut self, word: &str) {
        let verb = self.command.find_subcommand(word).filter(|_| self.places == 0 && !self.is_past_options);
        if let Some(verb) = verb {
            self.command = verb;
        } else if let Some(arg) = self.place() {
            self.given.push((arg, word.to_owned()));
            self.places += 1;
        }
    }

    /// Finds out what the word at the cursor may become.
    fn end_with(&mut self, word: &str) {
        word.clone_into(&mut self.typed);
        self.expected = match self.open {
            Some(arg) => Expected::Value(arg),
            None if word.starts_with('-') && !self.is_past_options => self.end_with_option(word),
            None => self.end_with_value(),
        };
    }

    /// An option whose value is in the same word expects that.
    fn end_with_option(&mut self, word: &str) -> Expected<'a> {
        match self.option(word) {
            Some((arg, Some(value))) if takes_value(arg) => {
                word[..word.len() - value.len()].clone_into(&mut self.before);
                self.typed = value;
                Expected::Value(arg)
            }
            _ => Expected::Option,
        }
    }

    fn end_with_value(&self) -> Expected<'a> {
        match self.place() {
            place if self.places == 0 && self.command.has_subcommands() => Expected::Verb(place),
            Some(arg) => Expected::Value(arg),
            None if self.typed.is_empty() => Expected::Option,
            None => Expected::Nothing,
        }
    }

    /// The argument that the next value without a name is for.
    fn place(&self) -> Option<&'a Arg> {
        let all: Vec<&Arg> = self.command.get_positionals().collect();
        let last = all.last().copied().filter(|arg| takes_several(arg));
        all.get(self.places).copied().or(last)
    }

    /// The option that a word names, with its value where that is in the same word.
    fn option(&self, word: &str) -> Option<(&'a Arg, Option<String>)> {
        if let Some(name) = word.strip_prefix("--") {
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let is_named =
                |arg: &&Arg| arg.get_long_and_visible_aliases().is_some_and(|all| all.contains(&name));
            return Some((self.command.get_arguments().find(is_named)?, value));
        }
        // Several letters may follow one dash; the first that takes a value takes the rest.
        let mut found = None;
        for (at, letter) in word.char_indices().skip(1) {
            let arg = self.command.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
            let rest = &word[at + letter.len_utf8()..];
            if takes_value(arg) {
                return Some((arg, (!rest.is_empty()).then(|| rest.to_owned())));
            }
            found = Some((arg, None));
        }
        found
    }
}

/// What the help calls the value of an argument, such as `RUN`.
pub(super) fn value_name(arg: &Arg) -> &str {
    arg.get_value_names().and_then(|names| names.first()).map_or("", Str::as_str)
}

/// Whether an option can be given again.
pub(super) fn repeats(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append | ArgAction::Count)
}

/// Whether a word is an option, or `--`; a single dash is a value.
fn is_option(word: &str) -> bool {
    word.starts_with('-') && word.len() > 1
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|number| number.takes_values())
}

fn takes_several(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|number| number.max_values() > 1)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    /// What is expected at the end of `text`, whose words are separated by single spaces, with what stays and what is completed.
    fn expected(text: &str) -> (String, String, String) {
        let mut root = Cli::command();
        root.build();
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let line = Line::read(&root, &words);
        let what = match line.expected {
            Expected::Verb(None) => format!("verb of {}", line.command.get_name()),
            Expected::Verb(Some(arg)) => {
                format!("verb of {} or {}", line.command.get_name(), value_name(arg))
            }
            Expected::Option => format!("option of {}", line.command.get_name()),
            Expected::Value(arg) => format!("{} of {}", value_name(arg), line.command.get_name()),
            Expected::Nothing => "nothing".to_owned(),
        };
        (what, line.before, line.typed)
    }

    fn what(text: &str) -> String {
        expected(text).0
    }

    #[test]
    fn verbs_options_and_values_are_told_apart() {
        assert_eq!(what(""), "verb of poiesis");
        assert_eq!(what("tr"), "verb of poiesis");
        assert_eq!(what("--th"), "option of poiesis");
        assert_eq!(what("--threads "), "N of poiesis");
        assert_eq!(what("--threads 2 train "), "MODEL of train");
        assert_eq!(what("train d"), "MODEL of train");
        assert_eq!(what("train dcgan --s"), "option of train");
        assert_eq!(what("train dcgan "), "option of train");
        assert_eq!(what("train dcgan x"), "nothing");
        assert_eq!(what("train --data shapes --new "), "MODEL of train");
        assert_eq!(what("train dcgan --data "), "SOURCE of train");
        assert_eq!(what("train dcgan --quiet -o "), "FOLDER of train");
        assert_eq!(what("train dcgan -qo "), "FOLDER of train");
        assert_eq!(what("train dcgan --unknown "), "option of train");
        assert_eq!(what("discover "), "verb of discover");
        assert_eq!(what("discover probe "), "RUN of probe");
        assert_eq!(what("help dis"), "verb of help");
        assert_eq!(what("train -- --d"), "MODEL of train");
    }

    #[test]
    fn the_last_place_takes_all_that_follow() {
        assert_eq!(what("classify "), "RUN of classify");
        assert_eq!(what("classify run "), "IMAGES of classify");
        assert_eq!(what("classify run a.png b.png "), "IMAGES of classify");
        assert_eq!(what("compare a b c"), "RUNS of compare");
    }

    #[test]
    fn a_value_in_the_same_word_is_completed_alone() {
        let of = |text: &str| expected(text);
        let with =
            |what: &str, before: &str, typed: &str| (what.to_owned(), before.to_owned(), typed.to_owned());
        assert_eq!(of("train dcgan --data=sh"), with("SOURCE of train", "--data=", "sh"));
        assert_eq!(of("train dcgan --data="), with("SOURCE of train", "--data=", ""));
        assert_eq!(of("train dcgan -oruns/a"), with("FOLDER of train", "-o", "runs/a"));
        assert_eq!(of("train dcgan --set a=b"), with("KEY=VALUE of train", "", "a=b"));
    }

    #[test]
    fn what_was_given_is_kept_with_its_values() {
        let mut root = Cli::command();
        root.build();
        let words = ["train", "vae", "--data=shapes", "--new", "--set", "a=1", ""].map(str::to_owned);
        let line = Line::read(&root, &words);
        let given = |name: &str| line.given.iter().any(|(arg, _)| arg.get_id() == name);
        assert!(given("new") && given("set") && !given("seed"));
        assert_eq!((line.value("MODEL"), line.value("SOURCE")), (Some("vae"), Some("shapes")));
        assert_eq!(line.value("RUN"), None);
    }
}
