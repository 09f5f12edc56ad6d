//! `poiesis man`: the manual pages, from the same definitions as `--help`.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{self, Path, PathBuf};
use std::process::{self, Stdio};

use anyhow::{Context as _, Result};
use clap::{Args, Command, CommandFactory as _};
use clap_mangen::roff::{Roff, bold, roman};
use poiesis::error::nearest;
use poiesis::{Error, atomic};

use crate::args::Cli;
use crate::render::{exists, expect_none, failure, note, program, quoted, result};

/// Show the manual page of a verb, or write the pages of all to a folder
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis man train
      read one page
  poiesis man discover probe > poiesis-discover-probe.1
      write one of them
  poiesis man ~/.local/share/man/man1
      install all of them; then `man poiesis-train` shows one
  poiesis man ~/.local/share/man/man1 --force
      after an update

In a terminal a page is shown by the program man, where there is one; otherwise its source is printed. A word without \
a slash is the name of a page, unless there is a folder of that name; a new folder is given as pages/, and one called as a verb \
as ./train. The pages say what `poiesis help VERB` says. They are in \
the format of man(7), which man, groff and mandoc read.")]
pub(crate) struct Man {
    /// The verb whose page is shown, such as `train` or `discover probe`, or a folder to write all pages to, such as `pages/` [default: the
    /// page poiesis(1)].
    #[arg(value_name = "PAGE|FOLDER")]
    what: Vec<PathBuf>,
    /// Show the page of this verb, such as `train` or `discover probe`.
    #[arg(long, value_name = "PAGE", conflicts_with = "what")]
    page: Option<String>,
    /// Replace pages that exist and differ.
    #[arg(long, requires = "what")]
    force: bool,
}

impl Man {
    pub(crate) fn run(self) -> Result<()> {
        let words: Vec<String> = self.what.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let page = match (&self.page, self.what.as_slice()) {
            (Some(page), _) => page.clone(),
            (None, []) => ROOT.to_owned(),
            (None, [folder]) if !is_page(&words[0]) => {
                expect_folder(folder)?;
                return self.write(folder);
            }
            (None, _) => words.join(" "),
        };
        expect_none("a page, which is only shown", &[("--force", self.force)])?;
        show(&page)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let all = commands();
        let place = |command: &Command| folder.join(format!("{}.1", name(command)));
        let pages = all.iter().map(|command| page(command, &all).map(|text| (place(command), text)));
        let pages: Vec<(PathBuf, String)> = pages.collect::<Result<_>>()?;
        let differs =
            |(path, text): &&(PathBuf, String)| fs::read(path).is_ok_and(|old| old != text.as_bytes());
        if let Some((path, _)) = pages.iter().find(differs).filter(|_| !self.force) {
            return Err(exists(path, "folder"));
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for (path, text) in &pages {
            atomic::write(path, text.as_bytes())?;
        }
        let first = quoted(&folder.join(format!("{ROOT}.1")).to_string_lossy());
        result(&format!("{} pages in {}; read the first with man {first}\n", pages.len(), folder.display()))
    }
}

/// The name of the first page.
const ROOT: &str = "poiesis";

/// What can follow `--page`.
pub(crate) fn names() -> Vec<String> {
    commands().iter().map(|command| short(&name(command))).collect()
}

/// The name of a page as it may be written: `train`, `poiesis-train`, `discover probe`.
fn wanted(page: &str) -> String {
    short(&page.trim().replace(' ', "-"))
}

fn is_page(word: &str) -> bool {
    names().contains(&wanted(word))
}

/// Refuses a bare word that is no folder: it was meant for the name of a page.
fn expect_folder(folder: &Path) -> Result<()> {
    let name = folder.to_string_lossy();
    if name.contains(path::is_separator) || folder.is_dir() {
        return Ok(());
    }
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = match nearest(&name, &names) {
        Some(page) => format!("did you mean `{page}`?"),
        None => format!("`{} help` lists the verbs, each of which has a page.", program()),
    };
    let what = format!("there is no manual page called `{name}`");
    Err(failure(what, format!("{hint} A folder to write all pages to is given as ./{name}")))
}

fn show(page_name: &str) -> Result<()> {
    let all = commands();
    let wanted = wanted(page_name);
    let names: Vec<String> = all.iter().map(|command| short(&name(command))).collect();
    let unknown = || Error::unknown("manual page", &wanted, names.iter().map(String::as_str));
    let at = names.iter().position(|known| *known == wanted).ok_or_else(unknown)?;
    let text = page(&all[at], &all)?;
    if !io::stdout().is_terminal() {
        return result(&text);
    }
    if !is_shown(&text) {
        result(&text)?;
        note("this is the source of the page: there is no program man here that shows it");
    }
    Ok(())
}

/// Shows a page with the program man, which divides it into screens; false where there is none that reads a page from a pipe.
fn is_shown(page: &str) -> bool {
    let man =
        process::Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut man) = man else { return false };
    if let Some(mut input) = man.stdin.take() {
        // Where it does not read all of it, it says so by how it ends.
        let _ = input.write_all(page.as_bytes());
    }
    man.wait().is_ok_and(|status| status.success())
}

/// The name of a page without that of the program in front.
fn short(name: &str) -> String {
    name.strip_prefix("poiesis-").unwrap_or(name).to_owned()
}

/// Every verb that has a page, each after the one it belongs to.
fn commands() -> Vec<Command> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut all = vec![root];
    let mut next = 0;
    while next < all.len() {
        let inner: Vec<Command> =
            all[next].get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
        all.extend(inner);
        next += 1;
    }
    all
}

/// The name of a command's page, such as `poiesis-discover-probe`.
fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// The page of a command; those of `all` are referred to.
fn page(command: &Command, all: &[Command]) -> Result<String> {
    let mut title = Roff::new();
    // An empty date: the same program makes the same page each time.
    let version = format!("{ROOT} {}", env!("CARGO_PKG_VERSION"));
    let name_in_capitals = name(command).to_uppercase();
    title.control("TH", [name_in_capitals.as_str(), "1", "\"\"", version.as_str(), "Manual of Poiesis"]);
    // Commands stay as they are typed: lines are neither filled out nor hyphenated.
    title.control("ad", ["l"]).control("nh", []);
    let mut text = title.render();
    let man = clap_mangen::Man::new(in_sections(command));
    for render in [
        clap_mangen::Man::render_name_section,
        clap_mangen::Man::render_synopsis_section,
        clap_mangen::Man::render_description_section,
        clap_mangen::Man::render_options_section,
    ] {
        append(&mut text, |bytes| render(&man, bytes))?;
    }
    if command.has_subcommands() {
        append(&mut text, |bytes| man.render_subcommands_section(bytes))?;
    }
    let help = Help::read(&after_help(command));
    let mut rest = Roff::new();
    help.write(&mut rest);
    if name(command) == ROOT {
        write_about_all(&mut rest);
    }
    write_see_also(&mut rest, command, all);
    append(&mut text, |bytes| rest.to_writer(bytes))?;
    Ok(typographic(&text))
}

/// The command with its usage as help shows it, and sections for arguments and options.
fn in_sections(command: &Command) -> Command {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    command.clone().override_usage(usage).subcommand_help_heading("COMMANDS").mut_args(|arg| {
        match (arg.get_help_heading(), arg.is_positional()) {
            (None, true) => arg.help_heading("Arguments"),
            (None, false) => arg.help_heading("Options"),
            _ => arg,
        }
    })
}

/// Appends what is written, without the definitions that each part begins with.
fn append(text: &mut String, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<()> {
    let mut bytes = Vec::new();
    write(&mut bytes)?;
    let part = String::from_utf8(bytes)?;
    text.push_str(part.strip_prefix(&Roff::new().render()).unwrap_or(&part));
    Ok(())
}

fn after_help(command: &Command) -> String {
    let help = command.get_after_long_help().or_else(|| command.get_after_help());
    help.map(ToString::to_string).unwrap_or_default()
}

/// The text below the options of `--help`: examples, then paragraphs.
#[derive(Debug, Default, PartialEq)]
struct Help {
    /// Command lines, each with what it does.
    examples: Vec<(String, String)>,
    paragraphs: Vec<Vec<String>>,
}

impl Help {
    fn read(text: &str) -> Help {
        let mut help = Help::default();
        let mut in_examples = false;
        let mut begins = true;
        for line in text.lines() {
            if matches!(line, "Examples:" | "Example:") {
                in_examples = true;
            } else if let Some(example) = line.strip_prefix("  ").filter(|_| in_examples) {
                help.add_example(example);
            } else if line.trim().is_empty() {
                (in_examples, begins) = (false, true);
            } else {
                match help.paragraphs.last_mut().filter(|_| !begins) {
                    Some(paragraph) => paragraph.push(line.to_owned()),
                    None => help.paragraphs.push(vec![line.to_owned()]),
                }
                (in_examples, begins) = (false, false);
            }
        }
        help
    }

    /// A command line, with what it does after several spaces or on lines of its own that are further in.
    fn add_example(&mut self, line: &str) {
        match self.examples.last_mut().filter(|_| line.starts_with("  ")) {
            Some((_, about)) => {
                about.push_str(if about.is_empty() { "" } else { " " });
                about.push_str(line.trim());
            }
            None => {
                let (command, about) = line.split_once("  ").unwrap_or((line, ""));
                self.examples.push((command.trim().to_owned(), about.trim().to_owned()));
            }
        }
    }

    fn write(&self, roff: &mut Roff) {
        if !self.examples.is_empty() {
            roff.control("SH", ["EXAMPLES"]);
        }
        for (command, about) in &self.examples {
            roff.control("PP", []).control("nf", []).text([bold(command)]).control("fi", []);
            if !about.is_empty() {
                roff.control("RS", ["4"]).text([roman(about)]).control("RE", []);
            }
        }
        if !self.paragraphs.is_empty() {
            roff.control("SH", ["NOTES"]);
        }
        for paragraph in &self.paragraphs {
            roff.control("PP", []);
            let is_verbatim = paragraph.iter().any(|line| line.starts_with(' '));
            if is_verbatim {
                roff.control("nf", []);
            }
            for line in paragraph {
                roff.text([roman(line)]);
            }
            if is_verbatim {
                roff.control("fi", []);
            }
        }
    }
}

/// What the first page alone says.
fn write_about_all(roff: &mut Roff) {
    write_list(
        roff,
        "ENVIRONMENT",
        &[
            ("POIESIS_DATA", "Folder in which data sets are looked up by name, as --data-dir."),
            ("POIESIS_THREADS", "Number of threads, as --threads."),
            ("POIESIS_CACHE", "Folder into which raw data are packed; see poiesis-cache(1)."),
            (
                "POIESIS_MUJOCO",
                "The library of MuJoCo or its folder, or several separated as in PATH; see poiesis-envs(1).",
            ),
            ("RUST_BACKTRACE", "Where this is 1, the report of a bug says where in the program it was."),
        ],
    );
    write_list(
        roff,
        "FILES",
        &[
            ("runs/", "The folder in which runs are made, in the current folder."),
            ("data/", "The folder in which data sets are looked up by name, unless another is named."),
        ],
    );
    write_list(
        roff,
        "EXIT STATUS",
        &[
            ("0", "All was done, or stopped on request and saved."),
            ("1", "It failed; the message says why, and the line that begins with hint: what to do."),
            ("2", "The command line was wrong."),
            ("3", "poiesis-anomaly(1) has found an anomaly."),
            ("130", "It was stopped at once, by a second Ctrl-C."),
        ],
    );
}

fn write_list(roff: &mut Roff, heading: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (name, about) in entries {
        roff.control("TP", []).text([bold(*name)]).text([roman(*about)]);
    }
}

/// Names the command that this one belongs to, and those that its help mentions.
fn write_see_also(roff: &mut Roff, command: &Command, all: &[Command]) {
    let own = name(command);
    let help = after_help(command);
    let is_near = |other: &&Command| {
        let (name, spelled) = (name(other), other.get_bin_name().unwrap_or(ROOT));
        let belongs = own.strip_prefix(&name).is_some_and(|rest| rest.starts_with('-'));
        name != own && (belongs || name != ROOT && mentions(&help, spelled))
    };
    let mut near: Vec<String> = all.iter().filter(is_near).map(name).collect();
    if own == ROOT {
        // All others are in the list of commands.
        near = ["poiesis-doctor", "poiesis-models", "poiesis-recipes"].map(str::to_owned).to_vec();
    }
    let Some(last) = near.pop() else { return };
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for other in near {
        line.extend([bold(other), roman("(1), ")]);
    }
    line.extend([bold(last), roman("(1)")]);
    roff.text(line);
}

/// Whether a text has these words with no letter or digit after them.
fn mentions(text: &str, words: &str) -> bool {
    text.match_indices(words)
        .any(|(at, _)| !text[at + words.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '-'))
}

/// The source with what is in backquotes in bold, and with characters as they are, which roff would take for typographic ones or
/// which are not ASCII.
fn typographic(source: &str) -> String {
    let mut text = String::new();
    for line in source.lines() {
        let parts: Vec<&str> = line.split('`').collect();
        let is_paired = parts.len() % 2 == 1 && !line.starts_with(['.', '\\']);
        for (number, part) in parts.iter().enumerate() {
            match number {
                0 => {}
                _ if !is_paired => text.push_str("\\(ga"),
                odd if odd % 2 == 1 => text.push_str("\\fB"),
                _ => text.push_str("\\fR"),
            }
            part.chars().for_each(|c| push_as_it_is(&mut text, c));
        }
        text.push('\n');
    }
    text
}

fn push_as_it_is(text: &mut String, c: char) {
    match c {
        '~' => text.push_str("\\(ti"),
        '^' => text.push_str("\\(ha"),
        c if c.is_ascii() => text.push(c),
        c => text.push_str(&format!("\\[u{:04X}]", u32::from(c))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(wanted: &str) -> String {
        let all = commands();
        let command = all.iter().find(|command| name(command) == wanted).unwrap();
        page(command, &all).unwrap()
    }

    #[test]
    fn every_verb_has_a_page_and_hidden_ones_have_none() {
        let names = names();
        for shown in ["poiesis", "train", "discover", "discover-probe", "doctor", "man"] {
            assert!(names.iter().any(|name| name == shown), "{shown}");
        }
        for hidden in ["read-table", "suggest", "help", "discover-help"] {
            assert!(names.iter().all(|name| name != hidden), "{hidden}");
        }
    }

    #[test]
    fn help_is_taken_apart_into_examples_and_paragraphs() {
        let text = "Examples:\n  one --flag      what it does\n  two\n      and that\n      it does\n\nA line\nof text.\n\nMore.";
        let pair = |command: &str, about: &str| (command.to_owned(), about.to_owned());
        let help = Help::read(text);
        assert_eq!(help.examples, [pair("one --flag", "what it does"), pair("two", "and that it does")]);
        assert_eq!(help.paragraphs, [vec!["A line".to_owned(), "of text.".into()], vec!["More.".to_owned()]]);
    }

    #[test]
    fn a_page_has_the_parts_of_help() {
        let page = page_of("poiesis-train");
        for part in [
            ".TH POIESIS-TRAIN 1 \"\" \"poiesis ",
            ".SH NAME\npoiesis\\-train \\- Train a model",
            "\\fBpoiesis train\\fR [OPTIONS] <MODEL>",
            ".SH ARGUMENTS",
            ".SH OPTIONS",
            ".SH EXAMPLES",
            ".nf\n\\fBpoiesis train dcgan\\fR\n.fi\n.RS 4\n",
            ".SH NOTES",
            "\\fBpoiesis\\fR(1), ",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        assert!(page.is_ascii());
        assert!(page_of("poiesis").contains("poiesis\\-discover(1)"));
        assert!(page_of("poiesis-discover").contains("poiesis\\-discover\\-probe(1)"));
        assert!(page_of("poiesis-discover-probe").contains("\\fBpoiesis\\-discover\\fR(1)"));
    }

    #[test]
    fn characters_stay_what_they_are() {
        assert_eq!(typographic("a `b` ~/c 1×1"), "a \\fBb\\fR \\(ti/c 1\\[u00D7]1\n");
        assert_eq!(typographic("one ` alone"), "one \\(ga alone\n");
    }

    #[test]
    fn a_mention_is_of_whole_words() {
        assert!(mentions("see `poiesis runs`", "poiesis runs"));
        assert!(!mentions("see `poiesis runs-all`", "poiesis runs") && !mentions("poiesis", "poiesis runs"));
    }
}
