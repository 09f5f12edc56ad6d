//! The lines of a file, one after another, whatever their ends are.

use std::io::{self, BufRead, ErrorKind};

/// Longest line that is read, in bytes: ten times what the most columns need.
const LONGEST: usize = 1 << 20;

/// Reads lines that end with LF, CRLF or CR. A byte order mark is left out.
pub(super) struct Lines<'a> {
    reader: &'a mut dyn BufRead,
    /// Number of the last line, from 1.
    number: u64,
    /// Whether the last line ended with CR, so that a LF that follows belongs to it.
    after_cr: bool,
}

/// One line, without its end.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether it is longer than what was read of it.
    pub(super) cut: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(reader: &'a mut dyn BufRead) -> Lines<'a> {
        Lines { reader, number: 0, after_cr: false }
    }

    /// Number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line, or `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Line { number: self.number + 1, bytes: Vec::new(), cut: false };
        let mut begun = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                return Ok(begun.then(|| self.finished(line)));
            }
            if std::mem::take(&mut self.after_cr) && buffer[0] == b'\n' {
                self.reader.consume(1);
                continue;
            }
            begun = true;
            let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let text = &buffer[..end.unwrap_or(buffer.len())];
            let room = LONGEST - line.bytes.len();
            line.cut |= text.len() > room;
            line.bytes.extend(&text[..text.len().min(room)]);
            let Some(end) = end else {
                let used = buffer.len();
                self.reader.consume(used);
                continue;
            };
            self.after_cr = buffer[end] == b'\r';
            self.reader.consume(end + 1);
            return Ok(Some(self.finished(line)));
        }
    }

    fn finished(&mut self, mut line: Line) -> Line {
        if self.number == 0 && line.bytes.starts_with("\u{feff}".as_bytes()) {
            line.bytes.drain(..3);
        }
        self.number += 1;
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn lines_end_with_any_mark_wherever_the_reads_end() {
        let text = "\u{feff}a\r\nbc\n\rd\r\re".as_bytes();
        for capacity in 1..12 {
            let mut reader = BufReader::with_capacity(capacity, text);
            let mut lines = Lines::new(&mut reader);
            let mut found = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                found.push((line.number, String::from_utf8(line.bytes).unwrap()));
            }
            let expected = ["a", "bc", "", "d", "", "e"];
            let expected: Vec<_> = (1..).zip(expected.map(str::to_owned)).collect();
            assert_eq!(found, expected, "reads of {capacity}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let text = [vec![b'1'; LONGEST + 5], b"\n2".to_vec()].concat();
        let mut reader = &text[..];
        let mut lines = Lines::new(&mut reader);
        let line = lines.next().unwrap().unwrap();
        assert!(line.cut && line.bytes.len() == LONGEST);
        let line = lines.next().unwrap().unwrap();
        assert!(!line.cut && line.bytes == b"2" && lines.number() == 2);
    }
}
