//! Reads the points of a source one after another, without packing them.

use std::path::Path;

use super::in_words;
use super::table::{Row, Table};
use crate::card::Kind;
use crate::error::Result;
use crate::options::Options;
use crate::read::{ReadExample, class_of, open_examples};
use crate::source::each_batch;

/// Reads all points of a source: the rows of a table of numbers, or of any source that [`collect`](crate::collect()) packs as points. They
/// are passed to `take` in the order of the source, called by file and line: `table.csv:12`.
///
/// A point has `dims` coordinates, called `columns` where that is not empty. A table with other columns is one example that cannot be
/// used, as is each row that is not a row of numbers.
///
/// # Errors
///
/// [`Error::NotFound`]; [`Error::BadOption`] with the option `kind` for a source without tables; those of a source that cannot be read.
pub fn read_points(
    path: &Path,
    dims: usize,
    columns: &[String],
    take: &mut dyn FnMut(ReadExample<Vec<f32>>),
) -> Result<()> {
    let options = Options { kind: Some(Kind::Points), ..Options::default() };
    let Some((mut source, classes)) = open_examples(path, &options, take)? else { return Ok(()) };
    each_batch(&mut *source, |batches| {
        for item in batches.iter().flatten() {
            let (file, class) = (item.name.clone(), class_of(item.label, &classes));
            let mut give = |line: Option<u64>, content: Result<Vec<f32>, String>| {
                let name = line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"));
                take(ReadExample { name, class: class.clone(), content });
            };
            let mut reader = match item.payload.open() {
                Ok(reader) => reader,
                Err(reason) => {
                    give(None, Err(reason));
                    continue;
                }
            };
            match Table::open(&mut *reader) {
                Ok(Some(mut table)) => match misfit(&table, dims, columns) {
                    Some(reason) => give(None, Err(reason)),
                    None => read_rows(&mut table, &mut give),
                },
                Ok(None) => give(None, Err("it has no rows".to_owned())),
                Err(reason) => give(None, Err(reason)),
            }
        }
        Ok(())
    })
}

/// Why the columns of a table are not those that are wanted.
fn misfit(table: &Table<'_>, dims: usize, columns: &[String]) -> Option<String> {
    let (found, names) = (table.dialect.columns, &table.dialect.names);
    let same_names = names.is_empty() || columns.is_empty() || names == columns;
    (found != dims || !same_names).then(|| {
        format!("it has {}, and a point of the model has {}", in_words(found, names), in_words(dims, columns))
    })
}

fn read_rows(table: &mut Table<'_>, give: &mut dyn FnMut(Option<u64>, Result<Vec<f32>, String>)) {
    loop {
        match table.next() {
            Ok(Some((line, _, Row::Point(point)))) => give(Some(line), Ok(point)),
            Ok(Some((line, _, Row::Missing(reason) | Row::Other(reason)))) => give(Some(line), Err(reason)),
            Ok(None) => return,
            Err((line, reason)) => {
                give(Some(line), Err(reason));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_with_their_lines_and_other_tables_are_refused_whole() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        write("a.csv", "x,y\n1,2\n\n3,much\n5,6.5\n");
        write("b.csv", "1,2,3\n4,5,6\n");
        write("c.csv", "y,x\n1,2\n");
        let read = |columns: &[String]| {
            let mut all = Vec::new();
            read_points(root.path(), 2, columns, &mut |point| all.push((point.name, point.content))).unwrap();
            all
        };
        let found = read(&["x", "y"].map(str::to_owned));
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.csv:2", "a.csv:4", "a.csv:5", "b.csv", "c.csv"]);
        assert_eq!(found[0].1, Ok(vec![1.0, 2.0]));
        assert!(found[1].1.as_ref().unwrap_err().contains("`much`"));
        assert_eq!(found[2].1, Ok(vec![5.0, 6.5]));
        let refused = found[3].1.as_ref().unwrap_err();
        assert_eq!(refused, "it has 3 columns, and a point of the model has 2 columns (x, y)");
        assert!(found[4].1.as_ref().unwrap_err().contains("2 columns (y, x)"));
        // Where the model names none, any two columns are points.
        assert_eq!(read(&[])[4], ("c.csv:2".to_owned(), Ok(vec![1.0, 2.0])));
    }
}
