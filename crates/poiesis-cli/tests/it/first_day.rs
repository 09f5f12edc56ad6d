//! The commands of docs/start.md, in the order of the page and with the real program, where training takes a few steps only.
//!
//! A block marked `sh` is run, unless the line before it says why it is not: `<!-- not run: it needs the network -->`. Each of its lines
//! is one command of `poiesis`. It may have quotes, and a comment at its end, but nothing else of a shell.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use poiesis::picture::Picture;

use crate::support::{Place, text, wav};

/// The total number of steps that `train` takes in place of what the page says or the program chooses.
const TRAIN: &str = "3";
/// The same for `resume`, where the page gives a number of steps.
const RESUME: &str = "6";
/// The flags that name what a command writes.
const WRITES: [&str; 4] = ["--out", "-o", "--preview", "--csv"];

/// A command of the page.
struct Command {
    line: usize,
    words: Vec<String>,
}

/// The blocks marked `sh`: the number of the line each begins at, its lines, and why it is not run.
fn blocks(page: &str) -> Vec<(usize, Vec<&str>, Option<&str>)> {
    let lines: Vec<&str> = page.lines().collect();
    let begins = (0..lines.len()).filter(|&at| lines[at] == "```sh");
    begins
        .map(|at| {
            let inside = lines[at + 1..].iter().take_while(|line| **line != "```");
            let comment = at.checked_sub(1).and_then(|before| lines[before].strip_prefix("<!-- not run: "));
            (at + 2, inside.copied().collect(), comment.and_then(|comment| comment.strip_suffix(" -->")))
        })
        .collect()
}

/// The words of a line up to a comment, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match character {
            _ if quote == Some(character) => quote = None,
            _ if quote.is_some() => word.get_or_insert_default().push(character),
            '\'' | '"' => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            '#' if word.is_none() => break,
            ' ' => words.extend(word.take()),
            '|' | '>' | '<' | '&' | ';' | '$' | '`' | '\\' | '*' | '?' => {
                panic!("`{character}` is for a shell: {line}")
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    assert_eq!(quote, None, "a quote has no end: {line}");
    words.extend(word);
    words
}

/// The commands of the page that are run.
fn commands(page: &str) -> Vec<Command> {
    let run = blocks(page).into_iter().filter(|(.., reason)| reason.is_none());
    run.flat_map(|(first, lines, _)| {
        let command = move |(at, line)| Command { line: first + at, words: words(line) };
        lines.into_iter().enumerate().map(command)
    })
    .collect()
}

/// The arguments of a command, with fewer steps of training.
fn shortened(words: &[String]) -> Vec<String> {
    let (verb, rest) = words.split_first().unwrap();
    let long = rest.iter().position(|word| word == "--steps" || word == "--epochs");
    let steps = match verb.as_str() {
        "train" => Some(TRAIN),
        "resume" if long.is_some() => Some(RESUME),
        _ => None,
    };
    let Some(steps) = steps else { return words.to_vec() };
    let mut short = words.to_vec();
    if let Some(at) = long {
        short.drain(at + 1..at + 3);
    }
    short.extend(["--steps", steps].map(str::to_owned));
    short
}

/// An image in colour, of a size that depends on its number.
fn photo(path: &Path, number: usize) {
    let (height, width) = (18 + number % 3, 16 + number % 5);
    let value = |i: usize| ((i * 7 + number * 29) % 256) as u8;
    Picture::new(height, width, 3, (0..3 * height * width).map(value).collect())
        .write_png(path, None)
        .unwrap();
}

/// What the reader of the page has: a folder of pictures, one of them broken, some new ones, a text and a folder of clips.
fn provide(place: &Place) {
    for (folder, count) in [("photos", 40), ("new", 6)] {
        fs::create_dir(place.path(folder)).unwrap();
        for number in 0..count {
            photo(&place.path(&format!("{folder}/{number:02}.png")), number);
        }
    }
    photo(&place.path("photos/anna.png"), 41);
    photo(&place.path("photos/ben.png"), 42);
    fs::write(place.path("photos/broken.jpg"), [0; 99]).unwrap();
    let line = |i: usize| format!("The line {i} of a text in two scripts, строка {}\n", i * i % 97);
    fs::write(place.path("book.txt"), (0..200).map(line).collect::<String>()).unwrap();
    fs::create_dir(place.path("clips")).unwrap();
    for clip in 0..12 {
        let sample = |i: usize| ((i as f64 * 0.05 * f64::from(clip + 1)).sin() * 8000.0) as i16;
        let samples: Vec<i16> = (0..400).map(sample).collect();
        fs::write(place.path(&format!("clips/{clip:02}.wav")), wav(&samples)).unwrap();
    }
}

#[test]
fn the_commands_of_the_first_page_succeed_and_write_what_they_name() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/start.md");
    let commands = commands(&fs::read_to_string(path).unwrap());
    let place = Place::new();
    provide(&place);
    for Command { line, words } in &commands {
        let (program, words) = words.split_first().unwrap_or_else(|| panic!("line {line} has no command"));
        assert_eq!(program, "poiesis", "line {line} is no command of this program");
        let output = place.run(&shortened(words));
        let said = text(&output.stderr);
        assert!(output.status.success(), "docs/start.md, line {line}: poiesis {}\n{said}", words.join(" "));
        assert!(!said.contains("has a bug"), "docs/start.md, line {line}\n{said}");
        let named = words.windows(2).filter(|pair| WRITES.contains(&pair[0].as_str()));
        for file in named.map(|pair| place.path(&pair[1])) {
            assert!(file.exists(), "docs/start.md, line {line}: there is no {}", file.display());
        }
    }
    let verbs: BTreeSet<&str> = commands.iter().map(|command| command.words[1].as_str()).collect();
    let journey =
        ["collect", "inspect", "train", "resume", "sample", "reconstruct", "discover", "score", "runs"];
    let missing: Vec<&&str> = journey.iter().filter(|verb| !verbs.contains(**verb)).collect();
    assert!(missing.is_empty(), "the page runs no {missing:?}");
    assert!(place.path("runs/vae-photos/run.json").exists());
}

#[test]
fn commands_are_read_as_a_shell_would() {
    let page = "```sh\npoiesis sample runs/a --prime 'two words'   # a comment\npoiesis runs\n```\n\
                <!-- not run: it needs the network -->\n```sh\npoiesis fetch mnist\n```\n```text\nno command\n```\n";
    let found = commands(page);
    let read: Vec<(usize, Vec<&str>)> = found
        .iter()
        .map(|command| (command.line, command.words.iter().map(String::as_str).collect()))
        .collect();
    let first = vec!["poiesis", "sample", "runs/a", "--prime", "two words"];
    assert_eq!(read, [(2, first), (3, vec!["poiesis", "runs"])]);
    assert_eq!(blocks(page)[1].2, Some("it needs the network"));
    assert_eq!(words("a 'b #c' \"\" d#e"), ["a", "b #c", "", "d#e"]);
}

#[test]
fn only_training_is_shortened() {
    let short = |line: &str| shortened(&words(line)).join(" ");
    assert_eq!(short("train vae --data data/photos"), "train vae --data data/photos --steps 3");
    assert_eq!(short("train vae --epochs 20 --seed 1"), "train vae --seed 1 --steps 3");
    assert_eq!(
        short("resume runs/a --steps 9000 --until-no-better 5"),
        "resume runs/a --until-no-better 5 --steps 6"
    );
    assert_eq!(short("resume runs/a"), "resume runs/a");
    assert_eq!(short("sample runs/a --steps"), "sample runs/a --steps");
}
