//! Output to the terminal: text, tables, readable numbers, and progress.
//!
//! Results go to standard output, everything else to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the file that prints")]

use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use poiesis::Trained;
use poiesis::error::escaped;
use serde_json::json;

/// Seconds between progress lines where there is no terminal.
pub(crate) const PAUSE: Duration = Duration::from_secs(10);

/// Prints a result, which already ends in a newline. JSON stays JSON.
pub(crate) fn result(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(harmless(text).as_bytes())?;
    Ok(out.flush()?)
}

/// Text whose lines stay lines, but which cannot move the cursor or colour the terminal: a name in it may have been chosen by others.
fn harmless(text: &str) -> String {
    let pieces = text.split_inclusive(['\n', '\t']);
    let kept = |piece: &str| match piece.strip_suffix(['\n', '\t']) {
        Some(inner) => escaped(inner) + &piece[inner.len()..],
        None => escaped(piece),
    };
    pieces.map(kept).collect()
}

/// A path in JSON; what is not UTF-8 in it is replaced.
pub(crate) fn in_json(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What JSON says first of a command that used the model of a run: the run, its model, and which weights. `rest` comes after it.
pub(crate) fn of_run(trained: &Trained, rest: serde_json::Value) -> serde_json::Value {
    let mut said = json!({
        "run": trained.info.id,
        "model": trained.entry.name(),
        "step": trained.step,
        "weights": trained.weights().name(),
        "run_path": in_json(trained.path()),
    });
    if let (serde_json::Value::Object(said), serde_json::Value::Object(rest)) = (&mut said, rest) {
        said.extend(rest);
    }
    said
}

/// Prints a value as JSON, indented.
pub(crate) fn json(value: &serde_json::Value) -> Result<()> {
    result(&format!("{value:#}\n"))
}

/// Prints a line to standard error; a closed terminal does not stop the work.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", harmless(line));
}

/// Prints an error with its causes, each once, then the hint on its own line.
pub(crate) fn error(error: &anyhow::Error) {
    let (said, hint) = (message(error), hint(error));
    note(&format!("error: {said}"));
    if let Some(hint) = hint {
        note(&format!("hint: {hint}"));
    }
}

/// An error with its causes, and what can be done about it.
pub(crate) fn error_with_hint(error: &anyhow::Error) -> (String, Option<String>) {
    (message(error), hint(error))
}

/// An error with its causes, each once.
fn message(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            let _ = write!(said, ": {cause}");
        }
    }
    said
}

/// The hint for an error.
fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| match cause.downcast_ref::<Failure>() {
        Some(failure) => Some(failure.hint.clone()),
        None => match cause.downcast_ref::<poiesis_collect::Error>() {
            Some(error) => crate::flags::data_hint(error),
            None => crate::flags::hint(cause.downcast_ref::<poiesis::Error>()?),
        },
    })
}

/// An error that only this crate can detect.
#[derive(Debug)]
struct Failure {
    what: String,
    hint: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// An error with a message and a hint.
pub(crate) fn failure(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Failure { what: what.into(), hint: hint.into() }.into()
}

/// Returns an error that names the flags that were given and mean nothing for `what`.
pub(crate) fn expect_none(what: &str, flags: &[(&str, bool)]) -> Result<()> {
    let given: Vec<&str> = flags.iter().filter(|(_, given)| *given).map(|&(flag, _)| flag).collect();
    match given.is_empty() {
        true => Ok(()),
        false => Err(failure(format!("{} cannot be given for {what}", given.join(", ")), "leave it out")),
    }
}

/// The error for a file, named by `flag`, that would be replaced.
pub(crate) fn exists(path: &Path, flag: &str) -> anyhow::Error {
    failure(format!("{} exists", path.display()), format!("give another {flag}, or --force to replace it"))
}

/// An error if something is in `folder`, which is to be written, unless `force` allows it.
pub(crate) fn expect_empty(folder: &Path, force: bool) -> Result<()> {
    if force || !folder.exists() {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(failure(
            format!("{} is not empty", folder.display()),
            "give another --out, or --force to write into it",
        )),
    }
}

/// Whether standard error is a terminal.
pub(crate) fn can_draw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The program as the user called it, for commands to copy.
pub(crate) fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned();
    if called.contains(['/', '\\']) { quoted(&called) } else { "poiesis".to_owned() }
}

/// A word as a shell reads it: in quotes where it has spaces or other special characters.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The first of `NAME.EXT`, `NAME-2.EXT`, … that does not exist in the current folder.
pub(crate) fn free(name: &str, extension: &str) -> PathBuf {
    poiesis::run::names::free(Path::new(""), name, extension)
}

/// Formats a table; columns whose name in `header` begins with `>` are aligned right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = header.iter().map(|name| name.starts_with('>')).collect();
    let header = header.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(&rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for row in all {
        let mut line = String::new();
        for ((cell, &width), &right) in row.iter().zip(&widths).zip(&right) {
            let _ = if right { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Formats names with their values, one per line.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in facts {
        let mut lines = value.lines();
        let _ = writeln!(text, "{name:<width$}  {}", lines.next().unwrap_or_default());
        lines.for_each(|line| {
            let _ = writeln!(text, "{:<width$}  {line}", "");
        });
    }
    text
}

/// A count with grouped digits: `60,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something: `1 image`, `60,000 images`.
pub(crate) fn counted(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", count(number))
}

/// A duration: `0.8 s`, `42 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let whole = seconds.round().min(1e15) as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A number with about four significant digits.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let places = [1e3, 1e2, 1e1].iter().position(|&limit| size >= limit).unwrap_or(3);
    format!("{value:.places$}")
}

/// The shape of images: width × height, then channels.
pub(crate) fn shape(shape: &[usize]) -> String {
    match shape {
        [height, width, 1] => format!("{width}×{height} grey"),
        [height, width, 3] => format!("{width}×{height} RGB"),
        [height, width, 4] => format!("{width}×{height} RGBA"),
        [2] => "points of the plane".into(),
        [dims] => format!("points of {dims} dimensions"),
        other => format!("{other:?}"),
    }
}

/// Progress of long work: a bar on a terminal, a line every few seconds elsewhere.
pub(crate) struct Meter {
    bar: ProgressBar,
    what: String,
    unit: &'static str,
    began: Instant,
    last: Option<Mutex<Instant>>,
}

impl Meter {
    /// Starts showing the progress of `what`, counted in `unit`.
    pub(crate) fn new(what: &str, unit: &'static str, total: Option<u64>, quiet: bool) -> Meter {
        let target =
            if quiet || !can_draw() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(total, target);
        bar.set_style(style(total.is_some()));
        bar.set_prefix(escaped(what));
        let now = Instant::now();
        let last = (!quiet && !can_draw()).then(|| Mutex::new(now));
        Meter { bar, what: what.to_owned(), unit, began: now, last }
    }

    /// Starts showing work without known progress.
    pub(crate) fn working(what: &str, quiet: bool) -> Meter {
        let meter = Meter::new(what, "", None, quiet);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {spinner} {elapsed}") {
            meter.bar.set_style(style);
        }
        meter.bar.enable_steady_tick(Duration::from_millis(125));
        meter
    }

    /// Shows that `done` are done, of `total` if that is known.
    pub(crate) fn at(&self, done: u64, total: Option<u64>) {
        if self.bar.length() != total {
            self.bar.set_style(style(total.is_some()));
            if let Some(total) = total {
                self.bar.set_length(total);
            }
        }
        let pace = pace(done, total, self.unit, self.began.elapsed().as_secs_f64());
        self.bar.set_position(done);
        self.bar.set_message(pace.clone());
        let Some(last) = &self.last else { return };
        let Ok(mut last) = last.lock() else { return };
        if last.elapsed() >= PAUSE {
            *last = Instant::now();
            let of = total.map(|total| format!(" of {}", count(total))).unwrap_or_default();
            let pace = if pace.is_empty() { pace } else { format!(", {pace}") };
            note(&format!("{}: {}{of} {}{pace}", self.what, count(done), self.unit));
        }
    }

    /// Removes the bar and returns how many seconds the work took.
    pub(crate) fn end(self) -> f64 {
        self.bar.finish_and_clear();
        self.began.elapsed().as_secs_f64()
    }
}

/// How fast work goes and how long it still takes: nothing of what is not known yet, or is over.
fn pace(done: u64, total: Option<u64>, unit: &str, seconds: f64) -> String {
    if done == 0 || seconds <= 0.0 {
        return String::new();
    }
    let rate = done as f64 / seconds;
    // Within the first second the speed is none yet.
    let speed = (seconds >= 1.0).then(|| match rate {
        rate if rate < 10.0 => format!("{rate:.1} {unit}/s"),
        rate => format!("{} {unit}/s", count(rate as u64)),
    });
    let left = total.filter(|&total| total > done);
    let left = left.map(|total| format!("{} left", duration((total - done) as f64 / rate)));
    [speed, left].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total {
        "{prefix} {bar:16} {human_pos}/{human_len}  {wide_msg}"
    } else {
        "{prefix} {spinner} {human_pos}  {wide_msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        assert_eq!(
            [0, 999, 1000, 60_000, 1_234_567].map(count),
            ["0", "999", "1,000", "60,000", "1,234,567"]
        );
        assert_eq!([0, 1, 1000].map(|n| counted(n, "image")), ["0 images", "1 image", "1,000 images"]);
        assert_eq!(
            [0.04, 9.96, 61.2, 3599.6, 7500.0].map(duration),
            ["0.0 s", "10 s", "1 min 1 s", "1 h 0 min", "2 h 5 min"]
        );
        assert_eq!(
            [0.0, 0.5, -12.345, 123.45, 1234.5, 2.5e-5, 3e9].map(number),
            ["0.000", "0.500", "-12.35", "123.5", "1234", "2.50e-5", "3.00e9"]
        );
    }

    #[test]
    fn a_pace_says_nothing_that_is_not_known() {
        assert_eq!(pace(0, Some(8), "images", 4.0), "");
        assert_eq!(pace(2, Some(8), "images", 4.0), "0.5 images/s, 12 s left");
        assert_eq!(pace(8, Some(8), "images", 40.0), "0.2 images/s", "nothing is left");
        assert_eq!(pace(5000, None, "images", 2.0), "2,500 images/s");
        assert_eq!(pace(8, Some(8), "images", 0.1), "");
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted("runs/a-1"), "runs/a-1");
        assert_eq!(quoted("my runs/a"), "'my runs/a'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("größe"), "größe");
    }

    #[test]
    fn names_cannot_write_to_the_terminal() {
        assert_eq!(
            harmless("a\u{1b}[31m\r\u{9b}1A\nb\tc\u{202e}é"),
            "a\\u001b[31m\\u000d\\u009b1A\nb\tc\\u202eé"
        );
        assert_eq!(table(&["NAME"], &[vec!["two\nlines".into()]]), "NAME\ntwo\\u000alines\n");
        let json = serde_json::json!({ "name": "a\u{1b}\u{7f}\u{9b}" }).to_string();
        let read: serde_json::Value = serde_json::from_str(&harmless(&json)).unwrap();
        assert_eq!(read["name"], "a\u{1b}\u{7f}\u{9b}");
    }

    #[test]
    fn columns_of_numbers_are_aligned_right() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "9".to_owned()]];
        assert_eq!(table(&["NAME", ">N"], &rows), "NAME   N\na     10\nlong   9\n");
    }

    #[test]
    fn causes_are_not_said_twice_and_hints_are_found_below_them() {
        let inner = poiesis::Error::unknown("model", "dcgn", ["dcgan"]);
        let error = anyhow::Error::from(inner).context("cannot train");
        assert_eq!(message(&error), "cannot train: there is no model called `dcgn`");
        assert_eq!(hint(&error).as_deref(), Some("did you mean `dcgan`?"));
        let error = exists(Path::new("a.png"), "--out").context("a.png exists already");
        assert_eq!(message(&error), "a.png exists already");
        assert_eq!(hint(&error).as_deref(), Some("give another --out, or --force to replace it"));
        assert_eq!(hint(&anyhow::anyhow!("plain")), None);
    }

    #[test]
    fn facts_of_several_lines_stay_in_their_column() {
        let text = facts(&[("a", "one\ntwo".into()), ("long", "three".into())]);
        assert_eq!(text, "a     one\n      two\nlong  three\n");
    }
}
