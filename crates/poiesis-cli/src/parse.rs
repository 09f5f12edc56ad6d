//! Reads the command line, and says in words what is wrong with a value.

use std::error::Error as _;
use std::ffi::OsString;
use std::path::Path;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _, FromArgMatches as _};

use crate::args::Cli;

/// Parses the arguments of the program.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = taking_negative_numbers(Cli::command());
    let mut matches = command.try_get_matches_from_mut(arguments).map_err(without_wrong_tip)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// An error without clap's tip that an unknown flag may be a value, such as a file, unless there is a file of that name.
fn without_wrong_tip(mut error: clap::Error) -> clap::Error {
    let is_file =
        |value: &ContextValue| matches!(value, ContextValue::String(name) if Path::new(name).exists());
    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
    if !is_unknown || error.get(ContextKind::InvalidArg).is_some_and(is_file) {
        return error;
    }
    if let Some(ContextValue::StyledStrs(tips)) = error.remove(ContextKind::Suggested) {
        let is_other = |tip: &StyledStr| !tip.to_string().starts_with("to pass ");
        let kept: Vec<StyledStr> = tips.into_iter().filter(is_other).collect();
        if !kept.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(kept));
        }
    }
    error
}

/// A command whose options take a negative number for their value, so that its range is named, and not for an unknown flag.
fn taking_negative_numbers(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let is_option = !argument.is_positional() && argument.get_action().takes_values();
            if is_option { argument.allow_negative_numbers(true) } else { argument }
        })
        .mut_subcommands(taking_negative_numbers)
}

/// What is printed for a value that is refused for a reason in the words of a program; `None` for any other error.
pub(crate) fn in_words(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::ValueValidation {
        return None;
    }
    let (printed, reason) = (error.render().to_string(), error.source()?.to_string());
    let said = plain_reason(&reason, printed.contains("invalid value '-"))?;
    Some(printed.replacen(&reason, &said, 1))
}

/// A reason that the standard library or clap gives for refusing a number, in plain words.
fn plain_reason(reason: &str, is_negative: bool) -> Option<String> {
    if let Some((_, range)) = reason.split_once(" is not in ") {
        let (first, end) = range.split_once("..")?;
        let last = match end.strip_prefix('=') {
            Some(last) => last.to_owned(),
            None => (end.parse::<i128>().ok()? - 1).to_string(),
        };
        return Some(format!("give a whole number from {first} to {last}"));
    }
    let said = match reason {
        "invalid digit found in string" if is_negative => "give a whole number, 0 or more",
        "invalid digit found in string" | "cannot parse integer from empty string" => "give a whole number",
        "number too large to fit in target type" => "the number is too large",
        "number too small to fit in target type" => "the number is too small",
        "invalid float literal" | "cannot parse float from empty string" => "give a number",
        _ => return None,
    };
    Some(said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with the value in these arguments.
    fn refused(arguments: &str) -> String {
        let words = std::iter::once("poiesis").chain(arguments.split(' ')).map(OsString::from);
        let error = parse(words).unwrap_err();
        let text = in_words(&error).unwrap_or_else(|| error.render().to_string());
        text.lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_negative_number_is_refused_by_its_range() {
        for (arguments, said) in [
            ("sample x --count -1", "'-1' for '--count <N>': give a whole number from 1 to 10000000"),
            ("sample x --seed -1", "'-1' for '--seed <N>': give a whole number, 0 or more"),
            ("train vae --size -1", "'-1' for '--size <PIXELS>': give a whole number from 1 to 8192"),
            ("train vae --steps -5", "'-5' for '--steps <N>': give a whole number from 0 to 4294967295"),
            ("train vae --epochs -0.5", "'-0.5' for '--epochs <N>': give a number above 0, such as 3 or 0.5"),
            ("--threads -1 models", "'-1' for '--threads <N>': give a whole number from 1 to 1024"),
            ("discover traverse x --index -2", "'-2' for '--index <N>': give a whole number, 0 or more"),
        ] {
            let first = refused(arguments);
            assert!(first.starts_with("error: invalid value '-") && first.contains(said), "{first}");
        }
    }

    #[test]
    fn the_end_of_a_range_is_a_number_that_can_be_given() {
        for command in ["sample x --first", "discover traverse x --index", "discover directions x --index"] {
            let first = refused(&format!("{command} 1099511627776"));
            assert!(first.ends_with(": give a whole number from 0 to 1099511627775"), "{first}");
        }
        let most = parse(["poiesis", "sample", "x", "--first", "1099511627775"].map(OsString::from));
        assert!(most.is_ok());
    }

    #[test]
    fn what_is_no_number_is_said_in_plain_words() {
        for (arguments, said) in [
            ("sample x --seed many", "'many' for '--seed <N>': give a whole number"),
            ("sample x --seed 99999999999999999999", "'--seed <N>': the number is too large"),
            ("train vae --steps 99999999999999999999", "'--steps <N>': the number is too large"),
            ("train vae --steps -99999999999999999999", "'--steps <N>': the number is too small"),
            ("sample x --temperature hot", "'hot' for '--temperature <T>': give a number"),
        ] {
            let first = refused(arguments);
            assert!(first.ends_with(said), "{first}");
        }
    }

    #[test]
    fn an_unknown_flag_is_not_said_to_be_a_file() {
        let said = |arguments: [&str; 4]| {
            let words = ["poiesis"].into_iter().chain(arguments).map(OsString::from);
            parse(words).unwrap_err().render().to_string()
        };
        let text = said(["runs", "show", "a", "--stpe"]);
        assert!(text.contains("unexpected argument '--stpe' found"), "{text}");
        assert!(!text.contains("-- --stpe") && text.contains("Usage: "), "{text}");
        assert!(said(["train", "vae", "--stesp", "3"]).contains("a similar argument exists: '--steps'"));
    }

    /// The options of a command and of those below it that take a value.
    fn options(command: &Command, above: &str, into: &mut Vec<String>) {
        let name = format!("{above} {}", command.get_name());
        let takes_value =
            |argument: &&clap::Arg| !argument.is_positional() && argument.get_action().takes_values();
        let refusing = command.get_arguments().filter(takes_value);
        let refusing = refusing.filter(|argument| !argument.is_allow_negative_numbers_set());
        into.extend(refusing.map(|argument| format!("{name} --{}", argument.get_id())));
        command.get_subcommands().for_each(|below| options(below, &name, into));
    }

    #[test]
    fn no_option_takes_a_negative_number_for_a_flag() {
        let mut refusing = Vec::new();
        options(&taking_negative_numbers(Cli::command()), "", &mut refusing);
        assert!(refusing.is_empty(), "{refusing:?}");
    }
}
