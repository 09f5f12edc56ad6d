//! Folders of text whose names do not say so, such as source code.

use std::io::Read;
use std::path::Path;

use super::contents::{Filter, Media};
use super::folder::{File, Files};
use super::left::unread;
use super::survey::Group;
use crate::error::Error;
use crate::regular;

/// How many files are looked into, and how far.
const FILES: usize = 32;
const BYTES: u64 = 4096;
/// A folder with less text, such as a readme alone, is not taken for data.
const LEAST: usize = 1000;

/// Whether most files that `filter` includes are text whose names do not say what else they are, by the beginnings of some of them from
/// all of the folder.
pub(super) fn is_mostly_text(files: &Files, filter: &Filter) -> bool {
    let is_looked_at = |file: &File| {
        let may_be_text = matches!(Media::of(file.name), None | Some(Media::Text));
        file.other.is_none() && filter.includes(file.name) && may_be_text && Group::of(file.name).is_none()
    };
    // Files that were chosen are meant, however short they are.
    let least = if filter.is_open() { LEAST } else { 1 };
    let mut count = 0;
    let counted = files.each(&mut |file| {
        count += usize::from(is_looked_at(&file));
        Ok::<(), Error>(())
    });
    let step = count.div_ceil(FILES).max(1);
    let (mut at, mut text, mut seen, mut bytes) = (0, 0, 0, 0);
    let looked = files.each(&mut |file| {
        if is_looked_at(&file) {
            if at % step == 0 {
                let read = unread(file.name).is_none().then(|| text_of(file.path)).flatten();
                (text, seen, bytes) =
                    (text + usize::from(read.is_some()), seen + 1, bytes + read.unwrap_or_default());
            }
            at += 1;
        }
        Ok::<(), Error>(())
    });
    counted.is_ok() && looked.is_ok() && text * 4 >= seen * 3 && bytes >= least
}

/// How many bytes of text a file begins with, none of an empty one; `None` where it does not begin as UTF-8 without NUL or cannot be read.
fn text_of(path: &Path) -> Option<usize> {
    let mut start = Vec::new();
    regular::open(path).ok()?.take(BYTES).read_to_end(&mut start).ok()?;
    let whole = match std::str::from_utf8(&start) {
        Ok(_) => true,
        // A character that the end cuts off.
        Err(error) => error.error_len().is_none() && start.len() as u64 == BYTES,
    };
    (whole && !start.contains(&0)).then_some(start.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn a_folder_is_text_where_most_of_its_files_are() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let files = Files::Below(folder.path().to_owned());
        let is_mostly_text = |files: &Files| is_mostly_text(files, &Filter::default());
        assert!(!is_mostly_text(&files), "nothing");
        write("empty.rs", b"");
        assert!(!is_mostly_text(&files), "nothing to read");
        write("a.rs", b"fn main() {}\n");
        assert!(!is_mostly_text(&files), "too little");
        write("b.rs", "// é\n".repeat(2000).as_bytes());
        write("c.rs", b"mod b;\n");
        write("d.o", b"\x7fELF\0\0");
        assert!(is_mostly_text(&files));
        write("e.o", &[0xff, 0xfe, 0, 1]);
        write("f.o", &[0xff, 0xfe, 0, 1]);
        assert!(!is_mostly_text(&files));
        let only = |pattern: &str| {
            let options = Options { include: vec![pattern.to_owned()], ..Options::default() };
            super::is_mostly_text(&files, &Filter::new(&options))
        };
        assert!(only("a.rs") && only("*.rs") && !only("*.o") && !only("none"));
    }
}
