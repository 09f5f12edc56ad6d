//! `metrics.jsonl`: one JSON object a line for each logged step, in the order of the steps.
//!
//! ```text
//! {"step":100,"elapsed":12.5,"loss/generator":1.25,"loss/discriminator":0.75}
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use poiesis_collect::regular;
use serde_json::{Map, Value};

use crate::atomic;
use crate::error::{Error, Result};

/// What the names of metrics begin with that are measured on held-out examples.
pub const HELD_OUT: &str = "validation_";

/// The metrics of one logged step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// The step, from 1; 0 for what was measured of the weights that a run started from.
    pub step: u64,
    /// Seconds of training so far, over all starts of the run.
    pub elapsed: f64,
    /// The values by name, in the order in which they are written. One that is not finite is written as `null` and read as
    /// NaN, because JSON has no such numbers.
    pub values: Vec<(String, f64)>,
}

/// The last value of the metric that is measured on held-out examples, and its name.
pub fn held_out(rows: &[Row]) -> Option<(&str, f64)> {
    let of = |row: &'_ Row| row.values.iter().position(|(name, _)| name.starts_with(HELD_OUT));
    let (row, at) = rows.iter().rev().find_map(|row| Some((row, of(row)?)))?;
    row.values.get(at).map(|(name, value)| (name.as_str(), *value))
}

/// A `metrics.jsonl`, open for appending.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Row {
    /// The value called `name`.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(key, _)| key == name).map(|&(_, value)| value)
    }

    fn to_line(&self) -> String {
        let mut object = Map::new();
        object.insert("step".to_owned(), self.step.into());
        object.insert("elapsed".to_owned(), self.elapsed.into());
        for (name, value) in &self.values {
            assert!(name != "step" && name != "elapsed", "a metric cannot be called `{name}`");
            object.insert(name.clone(), (*value).into());
        }
        format!("{}\n", Value::Object(object))
    }

    pub(super) fn from_line(line: &str) -> std::result::Result<Self, String> {
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let mut row = Self::default();
        let mut has_step = false;
        for (name, value) in object {
            match (name.as_str(), &value) {
                ("step", value) => {
                    row.step = value.as_u64().ok_or("`step` is not a whole number")?;
                    has_step = true;
                }
                ("elapsed", value) => row.elapsed = value.as_f64().unwrap_or(f64::NAN),
                (_, Value::Null) => row.values.push((name, f64::NAN)),
                (_, value) => {
                    let number = value.as_f64().ok_or_else(|| format!("`{name}` is not a number"))?;
                    row.values.push((name, number));
                }
            }
        }
        if has_step { Ok(row) } else { Err("it has no `step`".to_owned()) }
    }
}

impl Log {
    /// Opens the file at its end, making it where it is missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let file =
            OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("write", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Appends a row. The system has it on return, so that a kill loses no row.
    ///
    /// # Errors
    /// [`Error::Io`]; no part of the row is then left in the file.
    ///
    /// # Panics
    /// When a value is called "step" or "elapsed".
    pub fn append(&mut self, row: &Row) -> Result<()> {
        let line = row.to_line();
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // The error of the write is the one to report.
            let _ = self.file.set_len(self.length);
            return Err(Error::io("write", &self.path)(error));
        }
        self.length += line.len() as u64;
        Ok(())
    }
}

/// Returns the rows of the file in order; none when it does not exist. A last line that a kill cut short is left out, and so is a line
/// that is not a row; [`not_rows`] names these.
///
/// # Errors
/// [`Error::Io`].
pub fn read(path: &Path) -> Result<Vec<Row>> {
    Ok(lines(path)?.into_iter().filter_map(|(_, row)| row.ok()).collect())
}

/// What is said of the lines that are not rows: how many there are, and what is wrong with the first; `None` when there are none.
///
/// # Errors
/// [`Error::Io`].
pub fn not_rows(path: &Path) -> Result<Option<String>> {
    let lines = lines(path)?;
    let mut faults =
        lines.iter().enumerate().filter_map(|(at, (_, row))| Some((at + 1, row.as_ref().err()?)));
    let Some((line, fault)) = faults.next() else { return Ok(None) };
    let count = 1 + faults.count();
    let are = if count == 1 { "line is" } else { "lines are" };
    Ok(Some(format!(
        "{}: {count} {are} not metrics and skipped; the first, line {line}: {fault}",
        path.display()
    )))
}

/// Removes the rows after `step`, and a last line cut short, so that the file equals that of an unbroken run up to
/// there. Lines that are not rows stay where they are.
///
/// # Errors
/// [`Error::Io`]; the file is then as it was.
pub fn truncate_after(path: &Path, step: u64) -> Result<()> {
    let mut lines = lines(path)?;
    let is_kept = |row: &std::result::Result<Row, String>| row.as_ref().is_ok_and(|row| row.step <= step);
    let end = lines.iter().rposition(|(_, row)| is_kept(row)).map_or(0, |last| last + 1);
    lines.truncate(end);
    lines.retain(|(_, row)| row.is_err() || is_kept(row));
    let kept: Vec<u8> = lines.into_iter().flat_map(|(line, _)| line).collect();
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    // Lines are only left out, so the same length means the same text.
    if kept.len() as u64 == length { Ok(()) } else { atomic::write_in_folder(path, &kept) }
}

/// A line with the row it holds, or what is wrong with it.
type Line = (Vec<u8>, std::result::Result<Row, String>);

/// Every whole line.
fn lines(path: &Path) -> Result<Vec<Line>> {
    let bytes = match regular::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let whole = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    Ok(whole.map(|line| (line.to_vec(), Row::from_line(&String::from_utf8_lossy(line)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64) -> Row {
        let loss = 1.0 / step as f64;
        Row {
            step,
            elapsed: step as f64 / 3.0,
            values: vec![("train/loss".into(), loss), ("vae/kl".into(), f64::MIN_POSITIVE)],
        }
    }

    #[test]
    fn rows_come_back_exactly_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        assert_eq!(read(&path).unwrap(), []);
        let mut log = Log::open(&path).unwrap();
        log.append(&row(1)).unwrap();
        drop(log);
        let mut log = Log::open(&path).unwrap();
        log.append(&row(2)).unwrap();
        assert_eq!(read(&path).unwrap(), [row(1), row(2)]);
        assert_eq!(row(2).value("train/loss"), Some(0.5));
        assert!(fs::read_to_string(&path).unwrap().starts_with(r#"{"step":1,"elapsed":0.33"#));

        log.append(&Row { step: 3, elapsed: 1.0, values: vec![("x".into(), f64::INFINITY)] }).unwrap();
        assert!(read(&path).unwrap()[2].value("x").unwrap().is_nan());
    }

    #[test]
    fn after_truncation_the_file_is_that_of_an_unbroken_run() {
        let folder = tempfile::tempdir().unwrap();
        let (unbroken, killed) = (folder.path().join("a"), folder.path().join("b"));
        let write = |path: &Path, steps: std::ops::RangeInclusive<u64>| {
            let mut log = Log::open(path).unwrap();
            steps.for_each(|step| log.append(&row(step)).unwrap());
        };
        write(&unbroken, 1..=8);
        write(&killed, 1..=6);
        let mut cut = OpenOptions::new().append(true).open(&killed).unwrap();
        cut.write_all(br#"{"step":7,"elap"#).unwrap();
        assert_eq!(read(&killed).unwrap().len(), 6);
        truncate_after(&killed, 4).unwrap();
        write(&killed, 5..=8);
        assert_eq!(fs::read(&killed).unwrap(), fs::read(&unbroken).unwrap());

        truncate_after(&killed, 8).unwrap();
        assert_eq!(fs::read(&killed).unwrap(), fs::read(&unbroken).unwrap());
        truncate_after(&folder.path().join("absent"), 1).unwrap();
        truncate_after(&killed, 0).unwrap();
        assert_eq!(fs::read(&killed).unwrap(), b"");
    }

    #[test]
    fn a_line_that_is_not_a_row_is_skipped_counted_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let steps = |path: &Path| read(path).unwrap().iter().map(|row| row.step).collect::<Vec<_>>();
        for wrong in ["loss 3", r#"{"loss":1}"#, r#"{"step":2,"loss":"low"}"#, r#"{"step":-1}"#] {
            let text = format!("{{\"step\":1}}\n{wrong}\n{{\"step\":3}}\n{wrong}\n{{\"step\":5}}\n");
            fs::write(&path, &text).unwrap();
            let said = not_rows(&path).unwrap().unwrap();
            assert!(said.contains("metrics.jsonl: 2 lines are") && said.contains("line 2: "), "{said}");
            assert_eq!(steps(&path), [1, 3, 5]);
            truncate_after(&path, 5).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing is after step 5");
            truncate_after(&path, 3).unwrap();
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                format!("{{\"step\":1}}\n{wrong}\n{{\"step\":3}}\n")
            );
            assert!(not_rows(&path).unwrap().unwrap().contains("1 line is"));
        }
        fs::write(&path, b"{\"step\":1}\n\xff\n").unwrap();
        assert_eq!(steps(&path), [1]);
        assert!(not_rows(&path).unwrap().is_some());
        assert_eq!(not_rows(&folder.path().join("absent")).unwrap(), None);
    }
}
