//! Reads the command line, and says in words what is wrong with a value.

use std::error::Error as _;
use std::ffi::OsString;
use std::path::Path;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _, FromArgMatches as _};
use poiesis::error::nearest;

use crate::args::Cli;

/// Parses the arguments of the program.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = taking_negative_numbers(Cli::command());
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut matches = command
        .try_get_matches_from_mut(&arguments)
        .map_err(|error| without_variables(with_nearest(without_wrong_tip(error), &command), &arguments))?;
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

/// An error with the verb that was probably meant, which clap finds everywhere but after `help`.
fn with_nearest(mut error: clap::Error, command: &Command) -> clap::Error {
    let verbs = |command: &Command| -> Vec<String> {
        let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        shown.map(|verb| verb.get_name().to_owned()).collect()
    };
    let inner = command.get_subcommands().flat_map(verbs);
    let names: Vec<String> = verbs(command).into_iter().chain(inner).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let is_told = error.get(ContextKind::SuggestedSubcommand).is_some();
    let meant = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) if !is_told => nearest(name, &names).map(str::to_owned),
        _ => None,
    };
    if let Some(meant) = meant {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![meant]));
    }
    error
}

/// An error whose usage has no flag that only a variable of the environment has set: nobody has to give it.
fn without_variables(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    const FLAGS: [&str; 2] = ["--threads <N>", "--data-dir <FOLDER>"];
    let is_given = |flag: &str| {
        let name = flag.split(' ').next().unwrap_or(flag);
        arguments.iter().any(|argument| argument.to_string_lossy().starts_with(name))
    };
    if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
        let shown = usage.to_string();
        let unset = FLAGS.iter().filter(|flag| !is_given(flag));
        let plain = unset.fold(shown.clone(), |shown, flag| shown.replacen(&format!(" {flag}"), "", 1));
        if plain != shown {
            error.insert(ContextKind::Usage, ContextValue::StyledStr(plain.into()));
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
        // What a type ends at is no range that anybody wants to know.
        let is_end =
            [u64::from(u32::MAX), i64::MAX as u64, u64::MAX].iter().any(|end| end.to_string() == last);
        return Some(match is_end {
            true => format!("give a whole number of at least {first}"),
            false => format!("give a whole number from {first} to {last}"),
        });
    }
    let said = match reason {
        "invalid digit found in string" if is_negative => "give a whole number of at least 0",
        "invalid digit found in string" | "cannot parse integer from empty string" => "give a whole number",
        "number too large to fit in target type" => "the number is too large",
        "number too small to fit in target type" => "the number is too small",
        "invalid float literal" | "cannot parse float from empty string" => "give a number",
        _ => return None,
    };
    Some(said.to_owned())
}

/// Reads a number of steps. That there is at least one is checked with all other settings.
pub(crate) fn steps(text: &str) -> Result<u32, String> {
    match text.parse::<i128>() {
        Ok(steps) if steps < 0 => Err("give a whole number of at least 1".to_owned()),
        Ok(steps) => u32::try_from(steps).map_err(|_| "the number is too large".to_owned()),
        Err(_) => Err("give a whole number".to_owned()),
    }
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
            ("sample x --seed -1", "'-1' for '--seed <N>': give a whole number of at least 0"),
            ("train vae --size -1", "'-1' for '--size <PIXELS>': give a whole number from 1 to 8192"),
            ("train vae --steps -5", "'-5' for '--steps <N>': give a whole number of at least 1"),
            ("resume x --steps -5", "'-5' for '--steps <N>': give a whole number of at least 1"),
            ("collect a b --sample-rate -8", "'--sample-rate <HZ>': give a whole number from 1000 to 384000"),
            ("sample x --length -1", "'-1' for '--length <N>': give a number above 0, at most 10000000"),
            ("train vae --epochs -0.5", "'-0.5' for '--epochs <N>': give a number above 0, such as 3 or 0.5"),
            ("--threads -1 models", "'-1' for '--threads <N>': give a whole number from 1 to 1024"),
            ("discover traverse x --index -2", "'-2' for '--index <N>': give a whole number of at least 0"),
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
            ("train vae --steps -99999999999999999999", "'--steps <N>': give a whole number of at least 1"),
            ("train vae --until-no-better -99999999999999999999", ": the number is too small"),
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

    #[test]
    fn help_on_an_unknown_verb_names_the_nearest() {
        for (arguments, meant) in
            [("help sampel", "sample"), ("help discover prob", "probe"), ("trian", "train")]
        {
            let words = std::iter::once("poiesis").chain(arguments.split(' ')).map(OsString::from);
            let said = parse(words).unwrap_err().render().to_string();
            assert!(said.contains(&format!("a similar subcommand exists: '{meant}'")), "{said}");
        }
    }

    #[test]
    fn usage_has_only_the_flags_that_were_given() {
        let usage = |arguments: &[&str]| {
            let words: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            let mut error = clap::Error::new(ErrorKind::MissingRequiredArgument).with_cmd(&Cli::command());
            let usage = StyledStr::from("Usage: poiesis sample --threads <N> <RUN>");
            error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
            without_variables(error, &words).render().to_string()
        };
        assert!(usage(&["poiesis", "sample"]).contains("Usage: poiesis sample <RUN>"));
        assert!(usage(&["poiesis", "sample", "--threads=2"]).contains("--threads <N> <RUN>"));
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
