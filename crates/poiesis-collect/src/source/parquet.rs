//! Parquet tables as the Hugging Face hub stores image data sets: a column of structs `{bytes, path}` (or of plain
//! bytes) and one of labels, whose names are in the metadata. Tables are read a few rows at a time, never whole.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{ConvertedType, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::TreeBuilder;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::labels::{Classes, Found, Label, LabelSurvey};
use super::{FETCH, Halt, Item, Payload, Plan, Sink, Source, file_name, source_name, split_of};
use crate::caught::caught;
use crate::error::{Error, Result};
use crate::isolation::{self, Child, Reply, Request};
use crate::options::Limits;
use crate::regular;
use crate::split::Split;

/// Names that columns of labels usually have, the likeliest first.
const LABEL_COLUMNS: [&str; 7] = ["label", "labels", "class", "fine_label", "target", "cls", "category"];
/// Names that columns of images usually have.
const IMAGE_COLUMNS: [&str; 5] = ["image", "img", "images", "picture", "bytes"];

pub(crate) struct Parquet {
    tables: Vec<(PathBuf, Option<Split>)>,
    columns: Columns,
    classes: Classes,
    limits: Limits,
    plan: Plan,
}

/// Whether a file name is that of a table.
pub(crate) fn is_table(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".parquet")
}

impl Parquet {
    /// Reads the metadata of all tables, and their labels.
    pub(crate) fn open(source: &Path, tables: &[PathBuf], limits: &Limits) -> Result<Parquet> {
        let tables: Vec<_> =
            tables.iter().map(|table| (table.clone(), split_in_path(source, table))).collect();
        let About { mut rows, columns, .. } = About::of(&tables[0].0, limits)?;
        let columns = columns.map_err(|reason| Error::malformed(&tables[0].0, reason))?;
        let named = columns.classes.clone().map(|names| Classes { names, numbered: true });
        let mut survey = LabelSurvey::default();
        for (at, (table, _)) in tables.iter().enumerate() {
            if at > 0 {
                rows += About::of(table, limits)?.rows;
            }
            if let Some(column) = &columns.label {
                let mut number = 0_u64;
                each_row(table, &[column], limits, &mut |row| {
                    let name = || format!("that of {} row {number}", file_name(table));
                    let found = |value| among(named.as_ref(), label(value));
                    row.iter().for_each(|value| survey.add_found(found(value), name));
                    number += 1;
                    Ok::<(), Error>(())
                })?;
            }
        }
        let notes = survey.note().into_iter().collect();
        let classes = named.unwrap_or_else(|| survey.classes());
        let distinct = |split: Option<Split>| split.unwrap_or(Split::Train);
        let has_splits = tables.iter().any(|(_, split)| distinct(*split) != distinct(tables[0].1));
        let plan = Plan {
            name: source_name(source),
            classes: classes.names.clone(),
            has_splits,
            total: Some(rows),
            notes,
            ..Plan::default()
        };
        Ok(Parquet { tables, columns, classes, limits: *limits, plan })
    }
}

impl Source for Parquet {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for (table, split) in &self.tables {
            let name = file_name(table);
            let mut row = 0_u64;
            let columns: Vec<&String> =
                [&self.columns.image].into_iter().chain(&self.columns.label).collect();
            each_row(table, &columns, &self.limits, &mut |values| {
                let payload = values.first().map_or_else(no_bytes, |value| image(value, &self.limits));
                let label = values.get(1).and_then(|value| label(value).ok().flatten());
                let label = label.and_then(|label| self.classes.index(label));
                sink.send(Item { name: format!("{name} row {row}"), split: *split, label, payload })?;
                row += 1;
                Ok::<(), Halt>(())
            })?;
        }
        Ok(())
    }
}

/// What a table says about itself.
#[derive(Serialize, Deserialize)]
pub(crate) struct About {
    rows: u64,
    /// Which columns are read, or why there are none.
    pub(super) columns: std::result::Result<Columns, String>,
    /// The columns of numbers and of lists of numbers, for tables of experience.
    pub(crate) numbers: Vec<String>,
}

impl About {
    pub(crate) fn of(table: &Path, limits: &Limits) -> Result<About> {
        let Some(reader) = isolation::reader() else { return About::here(table) };
        match Child::start(reader, table, &request(&[], limits))?.next()? {
            Reply::About(json) => {
                Ok(serde_json::from_slice(&json).map_err(|e| Error::read(table, e.into()))?)
            }
            _ => Err(Error::malformed(table, "its reader does not describe it")),
        }
    }

    fn here(table: &Path) -> Result<About> {
        let reader = open_table(table)?;
        let metadata = reader.metadata().file_metadata();
        let fields = metadata.schema().get_fields().iter();
        let numbers = fields.filter(|field| holds_numbers(field)).map(|field| field.name().to_owned());
        Ok(About {
            rows: metadata.num_rows().max(0) as u64,
            numbers: numbers.collect(),
            columns: Columns::find(metadata),
        })
    }
}

/// The request to the process that reads tables.
fn request(columns: &[&String], limits: &Limits) -> Request {
    let columns = columns.iter().map(|&column| column.clone()).collect();
    Request { columns, memory: limits.max_memory / 2 }
}

/// Answers a request of another process: describes a table, or sends its rows if columns are named. Returns the last reply.
pub(crate) fn answer(
    table: &Path,
    columns: &[String],
    send: &mut dyn FnMut(Reply) -> io::Result<()>,
) -> io::Result<Reply> {
    let sent = if columns.is_empty() {
        About::here(table).map_err(Halt::Failed).and_then(|about| {
            send(Reply::About(serde_json::to_vec(&about).unwrap_or_default())).map_err(gone)
        })
    } else {
        let columns: Vec<&String> = columns.iter().collect();
        each_row_here(table, &columns, &mut |row| send(Reply::Row(row.to_vec())).map_err(gone))
    };
    match sent {
        Ok(()) => Ok(Reply::End),
        Err(Halt::Failed(Error::Malformed { reason, remedy, .. })) => Ok(Reply::Failed { reason, remedy }),
        Err(Halt::Failed(error)) => Ok(Reply::Failed { reason: error.to_string(), remedy: String::new() }),
        Err(Halt::Stopped) => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// The other process has gone.
fn gone(_: io::Error) -> Halt {
    Halt::Stopped
}

/// Which columns are read.
#[derive(Serialize, Deserialize)]
pub(super) struct Columns {
    image: String,
    label: Option<String>,
    /// Names of the classes by the metadata.
    classes: Option<Vec<String>>,
}

impl Columns {
    /// By the metadata of Hugging Face where there is some, else by types and usual names.
    fn find(metadata: &FileMetaData) -> std::result::Result<Columns, String> {
        let fields = metadata.schema().get_fields();
        let features = features(metadata.key_value_metadata());
        let feature = |name: &str| features.as_ref().and_then(|features| features.get(name));
        let is = |field: &Type, kind: &str| {
            feature(field.name()).is_some_and(|f| f.get("_type") == Some(&kind.into()))
        };
        let image = fields
            .iter()
            .find(|field| is(field, "Image"))
            .or_else(|| {
                fields.iter().find(|field| holds_image(field) && IMAGE_COLUMNS.contains(&field.name()))
            })
            .or_else(|| fields.iter().find(|field| field.is_group() && holds_image(field)));
        let Some(image) = image else {
            let names: Vec<_> = fields.iter().map(|field| field.name()).collect();
            return Err(format!("none of its columns ({}) holds images as bytes", names.join(", ")));
        };
        let by_name = LABEL_COLUMNS
            .iter()
            .find_map(|name| fields.iter().find(|f| f.name() == *name && holds_labels(f)));
        let label = by_name.or_else(|| fields.iter().find(|field| is(field, "ClassLabel")));
        let classes = label.and_then(|label| feature(label.name())).and_then(class_names);
        Ok(Columns { image: image.name().to_owned(), label: label.map(|l| l.name().to_owned()), classes })
    }
}

/// A single value, or a list of such.
fn holds_labels(field: &Type) -> bool {
    let flat = |group: &Type| group.get_fields().iter().all(|element| element.is_primitive());
    let is_list = |group: &Type| group.get_basic_info().converted_type() == ConvertedType::LIST;
    field.is_primitive()
        || is_list(field) && field.get_fields().iter().all(|inner| inner.is_primitive() || flat(inner))
}

/// A number, or a list of them.
fn holds_numbers(field: &Type) -> bool {
    match field.is_group() {
        true => {
            let is_list = field.get_basic_info().converted_type() == ConvertedType::LIST;
            let inner = field.get_fields().iter().flat_map(|inner| match inner.is_group() {
                true => inner.get_fields().iter().collect::<Vec<_>>(),
                false => vec![inner],
            });
            is_list && inner.into_iter().all(|inner| inner.is_primitive() && !is_bytes(inner))
        }
        false => !is_bytes(field),
    }
}

/// A struct with a field `bytes`, or plain bytes.
fn holds_image(field: &Type) -> bool {
    match field.is_group() {
        true => bytes_in(field).is_some(),
        false => is_bytes(field),
    }
}

/// The field `bytes` of a struct.
fn bytes_in(group: &Type) -> Option<&TypePtr> {
    group.get_fields().iter().find(|inner| inner.name() == "bytes" && is_bytes(inner))
}

fn is_bytes(field: &Type) -> bool {
    field.is_primitive() && field.get_physical_type() == Physical::BYTE_ARRAY
}

/// The features that the `datasets` library writes into the metadata.
fn features(metadata: Option<&Vec<KeyValue>>) -> Option<Value> {
    let text = metadata?.iter().find(|entry| entry.key == "huggingface")?.value.as_ref()?;
    let value: Value = serde_json::from_str(text).ok()?;
    Some(value.get("info")?.get("features")?.clone())
}

fn class_names(feature: &Value) -> Option<Vec<String>> {
    let names = feature.get("names")?.as_array()?;
    let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    names.filter(|names| !names.is_empty())
}

fn open_table(table: &Path) -> Result<SerializedFileReader<File>> {
    let file = regular::open(table).map_err(|e| Error::read(table, e))?;
    guarded(table, || SerializedFileReader::new(file))
}

/// Runs a read. The parquet crate panics on some damaged tables, which is made an error here.
fn guarded<T, E: Display>(table: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<T> {
    match caught(read) {
        Some(result) => result.map_err(|e| Error::damaged(table, e.to_string(), FETCH)),
        None => Err(Error::damaged(table, "its reader gave up on it", FETCH)),
    }
}

/// Calls `visit` with the values of some columns, row by row; the table is read in a separate process where the program offers one.
pub(crate) fn each_row<E: From<Error>>(
    table: &Path,
    columns: &[&String],
    limits: &Limits,
    visit: &mut dyn FnMut(&[Field]) -> Result<(), E>,
) -> Result<(), E> {
    let Some(reader) = isolation::reader() else { return each_row_here(table, columns, visit) };
    let mut child = Child::start(reader, table, &request(columns, limits))?;
    loop {
        match child.next()? {
            Reply::Row(row) => visit(&row)?,
            _ => return Ok(()),
        }
    }
}

/// The same in this process. Only a few rows are decoded at a time.
fn each_row_here<E: From<Error>>(
    table: &Path,
    columns: &[&String],
    visit: &mut dyn FnMut(&[Field]) -> Result<(), E>,
) -> Result<(), E> {
    const ROWS: usize = 64;
    let reader = open_table(table)?;
    let schema = schema_of(table, reader.metadata().file_metadata().schema(), columns)?;
    for index in 0..reader.num_row_groups() {
        let mut rows = guarded(table, || {
            let group = reader.get_row_group(index)?;
            TreeBuilder::new().with_batch_size(ROWS).as_iter(schema.clone(), &*group)
        })?;
        while let Some(row) = guarded(table, || rows.next().transpose())? {
            let values: Vec<Field> = row.into_columns().into_iter().map(|(_, value)| value).collect();
            visit(&values)?;
        }
    }
    Ok(())
}

/// The schema of a table cut down to some of its columns and, of structs, to their field `bytes`.
fn schema_of(table: &Path, schema: &Type, columns: &[&String]) -> Result<Arc<SchemaDescriptor>> {
    let mut fields = Vec::new();
    for &column in columns {
        let field = schema.get_fields().iter().find(|field| field.name() == column);
        let field = field.ok_or_else(|| missing(table, column))?;
        fields.push(guarded(table, || bytes_only(field))?);
    }
    let cut = guarded(table, || Type::group_type_builder(schema.name()).with_fields(fields).build())?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(cut))))
}

/// A struct with its field `bytes` alone; any other column as it is.
fn bytes_only(field: &TypePtr) -> Result<TypePtr, ParquetError> {
    let bytes = if field.is_group() { bytes_in(field) } else { None };
    let Some(bytes) = bytes else { return Ok(field.clone()) };
    let builder = Type::group_type_builder(field.name());
    let builder = builder.with_repetition(field.get_basic_info().repetition());
    Ok(Arc::new(builder.with_fields(vec![bytes.clone()]).build()?))
}

/// The image in one row of a column.
fn image(value: &Field, limits: &Limits) -> Payload {
    let bytes = match value {
        Field::Group(parts) => parts.get_column_iter().next().and_then(|(_, value)| bytes_of(value)),
        value => bytes_of(value),
    };
    match bytes {
        None => no_bytes(),
        Some(bytes) if bytes.len() as u64 > limits.file_bytes => Payload::Refused(format!(
            "it has {} bytes, above the limit of {}",
            bytes.len(),
            limits.file_bytes
        )),
        Some(bytes) => Payload::Encoded(bytes.to_vec()),
    }
}

fn no_bytes() -> Payload {
    Payload::Refused("the table holds no bytes for it".to_owned())
}

fn bytes_of(value: &Field) -> Option<&[u8]> {
    match value {
        Field::Bytes(bytes) => Some(bytes.data()),
        Field::Str(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// A label, which must be one of the classes that the metadata names, if it names any.
fn among(named: Option<&Classes>, found: Found) -> Found {
    match (named, found) {
        (Some(classes), Ok(Some(label))) if classes.index(label.clone()).is_none() => {
            let label = match label {
                Label::Number(number) => number.to_string(),
                Label::Name(name) => format!("`{name}`"),
            };
            Err(format!("{label} is none of the {} classes that the metadata names", classes.names.len()))
        }
        (_, found) => found,
    }
}

/// A label is a number, text, or a list with one of them or with one 1 among zeros.
fn label(value: &Field) -> Found {
    match value {
        Field::Null => Ok(None),
        Field::Str(text) => Label::text(text),
        Field::Bytes(bytes) => Label::bytes(bytes.data()),
        Field::ULong(number) => Label::number(i128::from(*number)),
        Field::Long(number) => Label::number(i128::from(*number)),
        Field::ListInternal(list) => match list.elements() {
            [one] => label(one),
            elements => match elements.iter().map(number).collect::<Option<Vec<f64>>>() {
                Some(values) => Label::list(&values),
                None => Err(format!("its {} values are not numbers", elements.len())),
            },
        },
        value => match number(value) {
            Some(number) => Label::real(number),
            None => Err(format!("{value} is neither a number nor text")),
        },
    }
}

/// The number in a field, if it is one.
pub(crate) fn number(value: &Field) -> Option<f64> {
    Some(match value {
        Field::Bool(yes) => f64::from(u8::from(*yes)),
        Field::Byte(number) => f64::from(*number),
        Field::Short(number) => f64::from(*number),
        Field::Int(number) => f64::from(*number),
        Field::Long(number) => *number as f64,
        Field::UByte(number) => f64::from(*number),
        Field::UShort(number) => f64::from(*number),
        Field::UInt(number) => f64::from(*number),
        Field::ULong(number) => *number as f64,
        Field::Float16(number) => f64::from(*number),
        Field::Float(number) => f64::from(*number),
        Field::Double(number) => *number,
        _ => return None,
    })
}

/// The split in the name of a table, or of a folder between it and the source.
fn split_in_path(source: &Path, table: &Path) -> Option<Split> {
    let folders = table.parent().and_then(|parent| parent.strip_prefix(source).ok());
    let folders = folders.into_iter().flat_map(|folders| folders.components().rev());
    split_of(table).or_else(|| folders.map(|part| Path::new(part.as_os_str())).find_map(split_of))
}

fn missing(table: &Path, column: &str) -> Error {
    Error::malformed(table, format!("it has no column {column}, which the first table has"))
}
