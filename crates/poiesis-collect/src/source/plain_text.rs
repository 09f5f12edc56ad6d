//! Folders of text whose names do not say so, such as source code.

use std::io::Read;
use std::path::Path;

use super::folder::{File, Files};
use crate::error::Error;
use crate::regular;

/// How many files are looked into, and how far.
const FILES: usize = 32;
const BYTES: u64 = 4096;
/// A folder with less text, such as a readme alone, is not taken for data.
const LEAST: usize = 1000;

/// Whether most files are text, by the beginnings of the first of them.
pub(super) fn is_mostly_text(files: &Files) -> bool {
    let (mut text, mut seen, mut bytes) = (0, 0, 0);
    let looked = files.each(&mut |File { path, other, .. }| {
        if seen < FILES && other.is_none() {
            match text_of(path) {
                Some(read) => (text, seen, bytes) = (text + 1, seen + 1, bytes + read),
                None => seen += 1,
            }
        }
        Ok::<(), Error>(())
    });
    looked.is_ok() && text * 4 >= seen * 3 && bytes >= LEAST
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

    #[test]
    fn a_folder_is_text_where_most_of_its_files_are() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let files = Files::Below(folder.path().to_owned());
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
    }
}
