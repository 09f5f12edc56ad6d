//! Matrices as text, `.amat`: a row of numbers for each grey image, which is square, pixel row by pixel row, and after these its class
//! where it has one. Larochelle's binarised MNIST and his other variants of it are published so. Files may be compressed.

use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};

use super::gzipped_copies::without_gzipped_copies;
use super::reader::unpacked_name;
use super::reals::{F32, Ranges};
use super::{
    FETCH, Halt, Item, Payload, Plan, Sink, Source, check_image, file_name, source_name, split_of,
    splits_differ,
};
use crate::error::{Error, Result};
use crate::prepare::Pixels;
use crate::split::Split;

/// The longest row, in bytes.
const LONGEST_ROW: u64 = 64 << 20;

pub(crate) struct Amat {
    parts: Vec<Part>,
    layout: Layout,
    /// The values of all images, which are scaled alike.
    ranges: Ranges,
    plan: Plan,
}

/// One file.
struct Part {
    path: PathBuf,
    split: Option<Split>,
}

/// What the numbers of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    side: usize,
    labelled: bool,
}

/// Whether a file name is that of such a matrix: `.amat`, also compressed.
pub(crate) fn is_matrix(path: &Path) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    unpacked_name(&name).unwrap_or(name).ends_with(".amat")
}

impl Amat {
    /// All matrices among the files of a source, with splits taken from their names. Each is read once to its end.
    pub(crate) fn open(source: &Path, files: &[PathBuf]) -> Result<Amat> {
        let (paths, packed) = without_gzipped_copies(files.to_vec());
        let mut found: Option<Layout> = None;
        let (mut ranges, mut classes, mut total) = (Ranges::default(), 0, 0);
        for path in &paths {
            each_row(path, &mut |number, values| {
                let layout = match found {
                    Some(layout) => layout,
                    None => Layout::of(values.len(), path)?,
                };
                found = Some(layout);
                let row = layout.read(path, number, values)?;
                ranges.add(F32, &mut &row.pixels[..]).map_err(|e| Error::read(path, e))?;
                classes = classes.max(row.label.map_or(0, |label| label as usize + 1));
                total += 1;
                Ok::<(), Error>(())
            })?;
        }
        let Some(layout) = found else { return Err(Error::Empty { path: source.to_owned() }) };
        let has_splits = splits_differ(&paths);
        let mut parts: Vec<Part> =
            paths.into_iter().map(|path| Part { split: split_of(&path), path }).collect();
        // The train split first, not in alphabetical order.
        parts.sort_by_key(|part| part.split);
        let plan = Plan {
            name: source_name(source),
            classes: (0..classes).map(|class| class.to_string()).collect(),
            has_splits,
            total: Some(total),
            notes: ranges.notes().chain(packed).collect(),
            ..Plan::default()
        };
        Ok(Amat { parts, layout, ranges, plan })
    }
}

impl Source for Amat {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        let side = self.layout.side as u32;
        for part in &self.parts {
            let (name, mut index) = (file_name(&part.path), 0);
            each_row(&part.path, &mut |number, values| {
                let row = self.layout.read(&part.path, number, values)?;
                let payload = match self.ranges.pixels(F32, row.pixels) {
                    Ok(bytes) => Payload::Pixels(Pixels { width: side, height: side, channels: 1, bytes }),
                    Err(reason) => Payload::Refused(reason),
                };
                let name = format!("{name} image {index}");
                index += 1;
                sink.send(Item { name, split: part.split, label: row.label, payload })
            })?;
        }
        Ok(())
    }
}

/// One image: its values as numbers of four bytes, and its class.
struct Row {
    pixels: Vec<u8>,
    label: Option<u32>,
}

impl Layout {
    /// By how many numbers a row has.
    fn of(values: usize, path: &Path) -> Result<Layout> {
        let side = |pixels: usize| Some(pixels.isqrt()).filter(|side| *side > 1 && side * side == pixels);
        let layout = match (side(values), side(values.saturating_sub(1))) {
            (Some(side), _) => Layout { side, labelled: false },
            (None, Some(side)) => Layout { side, labelled: true },
            (None, None) => {
                let reason =
                    format!("its rows of {values} numbers are no square images, with a class or without");
                return Err(Error::malformed(path, reason));
            }
        };
        check_image(4 * values as u64, path)?;
        Ok(layout)
    }

    fn read(self, path: &Path, number: u64, values: &[&str]) -> Result<Row> {
        let fault = |reason: String| Error::malformed(path, format!("line {number} {reason}"));
        let pixels = self.side * self.side;
        let expected = pixels + usize::from(self.labelled);
        if values.len() != expected {
            return Err(fault(format!("has {} numbers where the first has {expected}", values.len())));
        }
        let mut row = Row { pixels: Vec::with_capacity(4 * pixels), label: None };
        for text in &values[..pixels] {
            let value: f32 = text.parse().map_err(|_| fault(format!("has `{text}`, which is no number")))?;
            row.pixels.extend(value.to_le_bytes());
        }
        if self.labelled {
            let text = values[pixels];
            let class = text.parse::<f64>().ok().filter(|class| (0.0..=65_535.0).contains(class));
            match class.filter(|class| class.fract() == 0.0) {
                Some(class) => row.label = Some(class as u32),
                None => return Err(fault(format!("ends with `{text}`, which is no class"))),
            }
        }
        Ok(row)
    }
}

/// What is done with a row and the number of its line.
type EachRow<'a, E> = dyn FnMut(u64, &[&str]) -> Result<(), E> + 'a;

/// Reads the rows of a file, each with the number of its line; empty lines are passed over.
fn each_row<E: From<Error>>(path: &Path, each: &mut EachRow<'_, E>) -> Result<(), E> {
    let damaged = |reason: String| Error::damaged(path, reason, FETCH);
    let mut reader = Payload::File(path.to_owned()).open().map_err(damaged)?;
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = (&mut reader).take(LONGEST_ROW).read_until(b'\n', &mut line);
        number += 1;
        match read {
            Ok(0) => return Ok(()),
            Ok(read) if read as u64 == LONGEST_ROW => {
                return Err(damaged(format!("line {number} is longer than {LONGEST_ROW} bytes")).into());
            }
            Ok(_) => {}
            Err(error) => return Err(damaged(format!("it cannot be read ({error})")).into()),
        }
        let text = std::str::from_utf8(&line).map_err(|_| damaged(format!("line {number} is no text")))?;
        let values: Vec<&str> = text.split_ascii_whitespace().collect();
        if !values.is_empty() {
            each(number, &values)?;
        }
    }
}
