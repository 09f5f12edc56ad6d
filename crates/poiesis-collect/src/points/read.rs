//! Reads the points of a source one after another, without packing them.

use std::path::Path;

use super::dialect::Choice;
use super::in_words;
use super::table::{Row, Table};
use crate::card::Kind;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::read::{ReadExample, class_of, open_examples};
use crate::source::each_batch;

/// Reads all points of a source: the rows of a table of numbers, or of any source that [`collect`](crate::collect()) packs as points. They
/// are passed to `take` in the order of the source, called by file and line: `table.csv:12`.
///
/// A point has `dims` coordinates, called `columns` where that is not empty. Columns of a table that names its own are found by name,
/// in whatever order, and those that a point does not have are ignored: what is returned says of each table which. One without names must
/// have as many columns. A table that lacks some is an error where it is the whole source, and in a folder or an archive one example that
/// cannot be used, as is each row that is not a row of numbers.
///
/// # Errors
///
/// [`Error::NotFound`]; [`Error::BadOption`] with the option `kind` for a source without tables; [`Error::Malformed`] for a single table
/// without some of the columns; those of a source that cannot be read.
pub fn read_points(
    path: &Path,
    dims: usize,
    columns: &[String],
    take: &mut dyn FnMut(ReadExample<Vec<f32>>),
) -> Result<Vec<String>> {
    let options = Options { kind: Some(Kind::Points), ..Options::default() };
    let Some((mut source, classes)) = open_examples(path, &options, take)? else { return Ok(Vec::new()) };
    let single = source.plan().single;
    let mut ignored = Vec::new();
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
            let reason = match Table::open(&mut *reader, Choice::NamedIfAny(columns)) {
                Ok(Some(mut table)) => match misfit(&table, dims, columns) {
                    Some(reason) => reason,
                    None => {
                        ignored.extend(left_out(&file, &table));
                        read_rows(&mut table, &mut give);
                        continue;
                    }
                },
                Ok(None) => "it has no rows".to_owned(),
                Err(reason) => reason.text,
            };
            if single {
                let remedy = match columns {
                    [] => format!("give a table of {dims} columns of numbers"),
                    _ => format!("give a table with the {}, all of them numbers", in_words(dims, columns)),
                };
                return Err(Error::Malformed { path: path.to_owned(), reason, remedy, option: None });
            }
            give(None, Err(reason));
        }
        Ok(())
    })?;
    Ok(ignored)
}

/// Which columns of a table are ignored, in words.
fn left_out(file: &str, table: &Table<'_>) -> Option<String> {
    let names = table.dialect.left_out();
    let columns = if names.len() == 1 { "column is" } else { "columns are" };
    let shown = in_words(names.len(), &names);
    (!names.is_empty()).then(|| format!("{file}: the model does not know {shown}, and the {columns} ignored"))
}

/// Why the columns of a table are not those that are wanted.
fn misfit(table: &Table<'_>, dims: usize, columns: &[String]) -> Option<String> {
    let (found, names) = (table.dialect.columns.len(), table.dialect.names());
    (found != dims).then(|| {
        format!(
            "it has {}, and a point of the model has {}",
            in_words(found, &names),
            in_words(dims, columns)
        )
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
        write("c.csv", "y,note,x\n1,new,2\n");
        write("d.csv", "x,z\n1,2\n");
        let read = |columns: &[String]| {
            let mut all = Vec::new();
            let mut take = |point: ReadExample<Vec<f32>>| all.push((point.name, point.content));
            let ignored = read_points(root.path(), 2, columns, &mut take).unwrap();
            (all, ignored)
        };
        let own = ["x", "y"].map(str::to_owned);
        let (found, ignored) = read(&own);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.csv:2", "a.csv:4", "a.csv:5", "b.csv", "c.csv:2", "d.csv"]);
        assert_eq!(found[0].1, Ok(vec![1.0, 2.0]));
        assert!(found[1].1.as_ref().unwrap_err().contains("`much`"));
        assert_eq!(found[2].1, Ok(vec![5.0, 6.5]));
        let refused = found[3].1.as_ref().unwrap_err();
        assert_eq!(refused, "it has 3 columns, and a point of the model has 2 columns (x, y)");
        // Columns are found by their names.
        assert_eq!(found[4].1, Ok(vec![2.0, 1.0]));
        assert_eq!(ignored, ["c.csv: the model does not know 1 column (note), and the column is ignored"]);
        let missing = found[5].1.as_ref().unwrap_err();
        assert_eq!(missing, "it has no column `y`, but 2 columns (x, z)");
        // Where the model names none, any two columns are points.
        assert_eq!(read(&[]).0[5], ("d.csv:2".to_owned(), Ok(vec![1.0, 2.0])));
        // A table by itself is not left out silently.
        let error = read_points(&root.path().join("d.csv"), 2, &own, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("no column `y`") && error.hint().unwrap().contains("(x, y)"));
    }
}
