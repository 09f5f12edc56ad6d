//! `labels.csv` beside the files of a folder: a file and its class on each line.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::points::{Separator, Splitter};
use crate::regular;

/// The name of the file.
pub(crate) const CLASS_TABLE: &str = "labels.csv";

/// Longest table that is read, in bytes.
const MOST: u64 = 256 << 20;

/// The classes of files by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassTable {
    /// Classes by the first column: a path, the name of a file, or one without its ending.
    classes: HashMap<String, String>,
    /// The names of columns after the first two, or their numbers.
    pub(crate) others: Vec<String>,
}

impl ClassTable {
    /// Reads the table of a folder, if it has one of at least two columns.
    pub(crate) fn of_folder(folder: &Path) -> Result<Option<ClassTable>> {
        let path = folder.join(CLASS_TABLE);
        if !path.is_file() {
            return Ok(None);
        }
        let file = regular::open(&path).map_err(|e| Error::read(&path, e))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes).map_err(|e| Error::read(&path, e))?;
        Ok(ClassTable::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Option<ClassTable> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let separators = [Separator::Comma, Separator::Semicolon, Separator::Tab];
        let separator =
            separators.into_iter().find(|separator| columns(*separator, first).is_some_and(|n| n > 1))?;
        let mut splitter = Splitter::new(separator);
        let mut table = ClassTable::default();
        for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Ok(fields) = splitter.split(line) else { continue };
            let [file, class, others @ ..] = &fields[..] else { continue };
            if number == 0 {
                let named = !file.contains('.');
                let name = |(at, name): (usize, &Cow<'_, str>)| match named {
                    true => name.trim().to_owned(),
                    false => (at + 3).to_string(),
                };
                table.others = others.iter().enumerate().map(name).collect();
            }
            let (file, class) = (file.trim(), class.trim());
            if !class.is_empty() {
                let file = file.strip_prefix("./").unwrap_or(file);
                table.classes.insert(file.to_owned(), class.to_owned());
            }
        }
        Some(table)
    }

    /// What to say when the classes come from the table and some files are not in it.
    pub(crate) fn notes(&self, missing: u64) -> Vec<String> {
        let mut notes = vec![format!("classes come from {CLASS_TABLE}")];
        match missing {
            0 => {}
            1 => notes.push(format!("1 file is not in {CLASS_TABLE} and has no class")),
            n => notes.push(format!("{n} files are not in {CLASS_TABLE} and have no class")),
        }
        if !self.others.is_empty() {
            let columns = self.others.join(", ");
            notes.push(format!("further columns of {CLASS_TABLE} are not kept: {columns}"));
        }
        notes
    }

    /// The class of the file at this path in the source. Names of columns are names of no files.
    pub(crate) fn class_of(&self, path: &str) -> Option<&str> {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        [path, name, stem].iter().find_map(|key| self.classes.get(*key)).map(String::as_str)
    }
}

fn columns(separator: Separator, line: &[u8]) -> Option<usize> {
    Splitter::new(separator).split(line).ok().map(|fields| fields.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_path_name_and_stem() {
        let table = ClassTable::parse(
            b"\xef\xbb\xbffile,class,age\r\na/1.png,cat,3\r\n2.png,\"big, dog\",4\r\n3,cat,\n4.png,,1\n",
        )
        .unwrap();
        assert_eq!(table.class_of("a/1.png"), Some("cat"));
        assert_eq!(table.class_of("b/1.png"), None);
        assert_eq!(table.class_of("b/2.png"), Some("big, dog"));
        assert_eq!(table.class_of("3.jpg"), Some("cat"));
        assert_eq!(table.class_of("4.png"), None, "it has no class");
        assert_eq!(table.others, ["age"]);
        assert_eq!(ClassTable::parse(b"x\n1\n"), None);
        let bare = ClassTable::parse(b"1.png;cat;7\n").unwrap();
        assert_eq!((bare.class_of("1.png"), &bare.others[..]), (Some("cat"), &["3".to_owned()][..]));
    }
}
