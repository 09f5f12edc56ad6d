//! The classes of some files, in a table that the user gives: the name of a file and its class on each line. What it does not name has no
//! class. Unlike a `labels.csv` that lies beside the files, it is followed to the letter: whatever is wrong with a line is an error.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Plan;
use super::labels::Label;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::points::{Separator, Splitter};
use crate::regular;

/// Longest table that is read, in bytes.
const MOST: u64 = 256 << 20;

/// What the columns are called in a first line that names them.
const NAMES_OF_FILES: [&str; 10] =
    ["file", "filename", "file_name", "name", "path", "image", "image_name", "image_id", "picture", "id"];
const NAMES_OF_CLASSES: [&str; 6] = ["class", "class_name", "label", "labels", "category", "target"];

/// A table of files and classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelFile {
    path: PathBuf,
    rows: Vec<LabelRow>,
    /// The place of each name in `rows`.
    by_name: HashMap<String, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LabelRow {
    line: u64,
    class: String,
    name: String,
}

impl LabelFile {
    /// Reads the table at `path`.
    pub(crate) fn read(path: &Path) -> Result<LabelFile> {
        let file = regular::open(path).map_err(|e| Error::read(path, e))?;
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
        if bytes.len() as u64 > MOST {
            return Err(wrong(path, None, "it is longer than 256 MiB", "give a table of files and classes"));
        }
        LabelFile::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<LabelFile> {
        let text = text(path, bytes)?;
        let lines = || (1_u64..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let mut splitter = Splitter::new(separator(lines().next().map_or("", |(_, line)| line)));
        let mut table = LabelFile { path: path.to_owned(), rows: Vec::new(), by_name: HashMap::new() };
        for (place, (number, line)) in lines().enumerate() {
            let columns = "write a file and its class on each line, with a comma between them";
            let fields = splitter
                .split(line.as_bytes())
                .map_err(|reason| wrong(path, Some(number), &reason, "close it, or leave it out"))?;
            let [file, class] = &fields[..] else {
                let reason = match (fields.len(), line.trim_end().ends_with([',', ';', '\t'])) {
                    (1, true) => "its class is empty".to_owned(),
                    (1, false) => "it has 1 column, not a file and a class".to_owned(),
                    (n, _) => format!("it has {n} columns, not a file and a class"),
                };
                return Err(wrong(path, Some(number), &reason, columns));
            };
            let (file, class) = (file.trim(), class.trim());
            if place == 0 && is_header(file, class) {
                continue;
            }
            if file.is_empty() {
                return Err(wrong(path, Some(number), "it names no file", columns));
            }
            let class = class_of(class).map_err(|reason| wrong(path, Some(number), &reason, columns))?;
            let name = file.replace('\\', "/");
            let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
            if let Some(&earlier) = table.by_name.get(&name) {
                return Err(table.twice(&name, earlier, number, &class));
            }
            table.by_name.insert(name.clone(), table.rows.len());
            table.rows.push(LabelRow { line: number, class, name });
        }
        if table.rows.is_empty() {
            let remedy = "write a file and its class on each line, such as cat-1.png,cat";
            return Err(wrong(path, None, "it has no labels", remedy));
        }
        Ok(table)
    }

    /// The name of the table itself, for notes.
    pub(crate) fn name(&self) -> String {
        super::file_name(&self.path)
    }

    /// All classes, sorted.
    pub(crate) fn classes(&self) -> BTreeSet<&str> {
        self.rows.iter().map(|row| row.class.as_str()).collect()
    }

    /// The error for a class that is not among those of the source.
    pub(crate) fn expect_classes(&self, known: &[String]) -> Result<()> {
        let unknown = self.rows.iter().find(|row| !known.contains(&row.class));
        let Some(row) = unknown else { return Ok(()) };
        let shown: Vec<&str> = known.iter().take(10).map(String::as_str).collect();
        let more = if known.len() > shown.len() { ", …" } else { "" };
        let reason = format!("{} is not a class of the source", row.class);
        Err(wrong(
            &self.path,
            Some(row.line),
            &reason,
            &format!("give one of its classes: {}{more}", shown.join(", ")),
        ))
    }

    /// The error for one file that two rows name.
    fn twice(&self, name: &str, earlier: usize, line: u64, class: &str) -> Error {
        let before = &self.rows[earlier];
        let reason = match before.class == class {
            true => format!("{name} is in line {} already", before.line),
            false => format!("{name} is in line {} already, as {}", before.line, before.class),
        };
        wrong(&self.path, Some(line), &reason, "keep one of the two lines")
    }
}

/// Which files of a source the rows of a table may name, gathered in a first pass over the names of all files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    /// The file whose whole path a row has.
    exact: HashMap<usize, String>,
    /// Files whose name a row has, with or without the ending; two are as good as more.
    loose: HashMap<usize, Vec<String>>,
}

impl Named {
    /// Takes note of the path of a file in the source.
    pub(crate) fn add(&mut self, table: &LabelFile, path: &str) {
        let inside = path.strip_prefix("./").unwrap_or(path);
        if let Some(&row) = table.by_name.get(inside) {
            self.exact.insert(row, path.to_owned());
        }
        let name = inside.rsplit_once('/').map_or(inside, |(_, name)| name);
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        for key in [name, stem].into_iter().filter(|&key| key != inside) {
            if let Some(&row) = table.by_name.get(key) {
                let files = self.loose.entry(row).or_default();
                if files.len() < 2 {
                    files.push(path.to_owned());
                }
            }
        }
    }

    /// The class of each file that the table names, by its path.
    ///
    /// # Errors
    ///
    /// [`Error::Labels`] for a row that names no file or several, and for a file that two rows name.
    pub(crate) fn classes(&self, table: &LabelFile) -> Result<HashMap<String, String>> {
        let mut rows: HashMap<&str, usize> = HashMap::new();
        for (place, row) in table.rows.iter().enumerate() {
            let loose = || self.loose.get(&place).map_or(&[][..], Vec::as_slice);
            let path = match (self.exact.get(&place), loose()) {
                (Some(path), _) | (None, [path]) => path,
                (None, []) => return Err(self.not_there(table, place)),
                (None, [one, other, ..]) => {
                    let reason = format!("{} is the name of two files, {one} and {other}", row.name);
                    let remedy = "give the path of the file in the source";
                    return Err(wrong(&table.path, Some(row.line), &reason, remedy));
                }
            };
            if let Some(earlier) = rows.insert(path, place) {
                return Err(table.twice(path, earlier, row.line, &row.class));
            }
        }
        Ok(rows.into_iter().map(|(path, row)| (path.to_owned(), table.rows[row].class.clone())).collect())
    }

    /// The error for a row that names no file, which may not be the only one.
    fn not_there(&self, table: &LabelFile, place: usize) -> Error {
        let row = &table.rows[place];
        let there = |row: &usize| self.exact.contains_key(row) || self.loose.contains_key(row);
        let more = (place + 1..table.rows.len()).filter(|row| !there(row)).count();
        let reason = match more {
            0 => format!("no image of the source is called {}", row.name),
            more => format!("no image of the source is called {}, and {more} more are not there", row.name),
        };
        let remedy = match row.line {
            1 => "correct the name, or leave the line out; a first line may be `file,class`",
            _ => "correct the name, or leave the line out",
        };
        wrong(&table.path, Some(row.line), &reason, remedy)
    }
}

/// Refuses a table that cannot be read, before anything long is looked through.
pub(crate) fn check(options: &Options) -> Result<()> {
    options.labels.as_deref().map_or(Ok(()), |path| LabelFile::read(path).map(drop))
}

/// Refuses a table for a source that has nothing it could name.
pub(crate) fn expect_used(options: &Options, plan: &Plan) -> Result<()> {
    match &options.labels {
        Some(path) if !plan.labelled => Err(Error::BadOption {
            option: "labels",
            value: path.display().to_string(),
            reason: "the source has no single files that it could name",
            remedy: "give a folder or one archive of images, or leave it out",
        }),
        _ => Ok(()),
    }
}

fn wrong(path: &Path, line: Option<u64>, reason: &str, remedy: &str) -> Error {
    Error::Labels { path: path.to_owned(), line, reason: reason.to_owned(), remedy: remedy.to_owned() }
}

/// The table as text: UTF-8, with or without a byte order mark.
fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    let remedy = "save it as UTF-8 text";
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || bytes.contains(&0) {
        return Err(wrong(path, None, "it is not UTF-8 but UTF-16, or no text at all", remedy));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() as u64;
        wrong(path, Some(line), "it is not UTF-8, perhaps Latin-1 or Windows-1252", remedy)
    })
}

/// What is between the columns, by the first line.
fn separator(line: &str) -> Separator {
    let all = [Separator::Comma, Separator::Semicolon, Separator::Tab];
    let columns = |separator| {
        let mut splitter = Splitter::new(separator);
        splitter.split(line.as_bytes()).map_or(0, |fields| fields.len())
    };
    all.into_iter().find(|&separator| columns(separator) == 2).unwrap_or(Separator::Comma)
}

/// Whether the first line names the columns.
fn is_header(file: &str, class: &str) -> bool {
    let is = |names: &[&str], field: &str| names.iter().any(|name| field.eq_ignore_ascii_case(name));
    is(&NAMES_OF_FILES, file) || (is(&NAMES_OF_CLASSES, class) && !file.contains('.'))
}

/// The name of a class, as the classes of other sources are named; the error is a reason.
fn class_of(text: &str) -> Result<String, String> {
    match Label::text(text) {
        Ok(Some(Label::Number(number))) => Ok(number.to_string()),
        Ok(Some(Label::Name(name))) => Ok(name),
        Ok(None) if text.is_empty() => Err("its class is empty".to_owned()),
        Ok(None) => Err(format!("{text} is no class")),
        Err(reason) => Err(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<LabelFile> {
        LabelFile::parse(Path::new("l.csv"), bytes)
    }

    /// What is wrong with a table, and what to do about it.
    fn refused(bytes: &[u8]) -> String {
        let error = read(bytes).unwrap_err();
        format!("{error}; {}", error.hint().unwrap())
    }

    /// The class of each of these files.
    fn classes(bytes: &[u8], files: &[&str]) -> Result<HashMap<String, String>> {
        let table = read(bytes).unwrap();
        let mut named = Named::default();
        files.iter().for_each(|file| named.add(&table, file));
        named.classes(&table)
    }

    #[test]
    fn a_header_a_mark_and_other_separators_make_no_difference() {
        for text in [
            "\u{feff}file,class\r\na/1.png,cat\r\n\"2, big.png\",dog\r\n\r\n",
            "a/1.png,cat\n\"2, big.png\",dog",
            "Image;Label\na\\1.png;cat\n2, big.png;dog\n",
            "./a/1.png\tcat\n2, big.png\tdog\n",
        ] {
            let found = classes(text.as_bytes(), &["a/1.png", "./x/2, big.png", "b/1.png"]).unwrap();
            assert_eq!(found.len(), 2, "{text}");
            assert_eq!((&*found["a/1.png"], &*found["./x/2, big.png"]), ("cat", "dog"), "{text}");
            let table = read(text.as_bytes()).unwrap();
            assert_eq!(table.classes().into_iter().collect::<Vec<_>>(), ["cat", "dog"]);
        }
        let stems = classes(b"007,3\n8,003\n", &["x/007.jpeg", "8.png", "9.png"]).unwrap();
        assert_eq!((&*stems["x/007.jpeg"], &*stems["8.png"], stems.len()), ("3", "3", 2));
    }

    #[test]
    fn each_thing_that_can_be_wrong_is_said_with_its_line() {
        for (bytes, said) in [
            (&b"1.png,cat\n1.png,cat\n"[..], "l.csv, line 2: 1.png is in line 1 already; keep one of"),
            (b"1.png,cat\n\n1.png,dog\n", "line 3: 1.png is in line 1 already, as cat; keep one of"),
            (b"file,class\n", "l.csv: it has no labels; write a file and its class"),
            (b"", "l.csv: it has no labels"),
            (b"\xff\xfe1\0,\0a\0", "not UTF-8 but UTF-16"),
            (b"1\0,\0a\0\n\0", "not UTF-8 but UTF-16"),
            (
                b"1.png,cat\n2.png,b\xe4r\n",
                "line 2: it is not UTF-8, perhaps Latin-1 or Windows-1252; save it as UTF-8",
            ),
            (b"1.png,cat\n2.png\n", "line 2: it has 1 column"),
            (b"1.png,cat,7\n", "line 1: it has 3 columns, not a file and a class; write a file and"),
            (b"1.png,cat\n2.png,\n", "line 2: its class is empty"),
            (b"1.png,cat\n,dog\n", "line 2: it names no file"),
            (b"1.png,\"cat\n", "line 1: a quote is not closed"),
            (b"1.png,99999\n", "line 1: 99999 is too large for a class"),
            (b"1.png,-1\n", "line 1: -1 is no class"),
        ] {
            let refused = refused(bytes);
            assert!(refused.contains(said), "{refused:?} should say {said:?}");
        }
    }

    #[test]
    fn files_that_are_not_there_or_are_named_twice_are_refused() {
        for (bytes, files, said) in [
            (
                &b"a.png,x\nb.png,y\n"[..],
                &["a.png"][..],
                "line 2: no image of the source is called b.png; correct",
            ),
            (b"a.png,x\nb.png,y\nc.png,y\n", &["a.png"], "called b.png, and 1 more are not there"),
            (
                b"Bild,Klasse\na.png,x\n",
                &["a.png"],
                "line 1: no image of the source is called Bild; correct the name, or leave the line out; a first line may be `file,class`",
            ),
            (b"a.png,x\nk/a.png,y\n", &["k/a.png"], "line 2: k/a.png is in line 1 already, as x; keep one"),
            (
                b"a,x\n",
                &["a.png", "a.jpg"],
                "line 1: a is the name of two files, a.png and a.jpg; give the path",
            ),
            (b"a.png,x\n", &["k/a.png", "l/a.png"], "is the name of two files, k/a.png and l/a.png"),
        ] {
            let error = classes(bytes, files).unwrap_err();
            let refused = format!("{error}; {}", error.hint().unwrap());
            assert!(refused.contains(said), "{refused:?} should say {said:?}");
        }
        // A whole path is meant before a name, so both of these are named once.
        let found = classes(b"a.png,x\nk/a.png,y\n", &["a.png", "k/a.png", "l/a.png"]).unwrap();
        assert_eq!((&*found["a.png"], &*found["k/a.png"], found.len()), ("x", "y", 2));
    }

    #[test]
    fn a_class_that_the_source_does_not_have_is_refused() {
        let known = ["cat", "dog"].map(str::to_owned);
        assert!(read(b"1.png,dog\n").unwrap().expect_classes(&known).is_ok());
        let error = read(b"1.png,dog\n2.png,dgo\n").unwrap().expect_classes(&known).unwrap_err();
        assert_eq!(error.to_string(), "l.csv, line 2: dgo is not a class of the source");
        assert_eq!(error.hint().unwrap(), "give one of its classes: cat, dog");
    }
}
