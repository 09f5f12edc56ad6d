//! Parquet tables as the Hugging Face hub stores image data sets: a column of structs `{bytes, path}` (or of plain
//! bytes) and one of labels, whose names stand in the metadata. Tables are read batch by batch, never whole.

use std::fmt::Display;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type as Physical;
use parquet::schema::types::Type;
use serde_json::Value;

use super::labels::{Classes, Label, LabelSurvey};
use super::{Halt, Item, Payload, Plan, Sink, Source, file_name, source_name, split_of};
use crate::error::{Error, Result};
use crate::options::Limits;
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
    /// Reads the metadata of all tables, and their labels unless the metadata names the classes.
    pub(crate) fn open(source: &Path, tables: &[PathBuf], limits: &Limits) -> Result<Parquet> {
        let tables: Vec<_> =
            tables.iter().map(|table| (table.clone(), split_in_path(source, table))).collect();
        let columns = Columns::find(&tables[0].0)?;
        let mut rows = 0;
        let mut survey = LabelSurvey::default();
        for (table, _) in &tables {
            let builder = open_table(table)?;
            rows += builder.metadata().file_metadata().num_rows().max(0) as u64;
            if let (Some(column), None) = (&columns.label, &columns.classes) {
                each_batch(table, &[column], &mut |batch| {
                    let found = labels(batch.column_by_name(column));
                    found.into_iter().flatten().for_each(|label| survey.add(label));
                    Ok::<(), Error>(())
                })?;
            }
        }
        let classes = match &columns.classes {
            Some(names) => Classes { names: names.clone(), numbered: true },
            None => survey.classes(),
        };
        let distinct = |split: Option<Split>| split.unwrap_or(Split::Train);
        let has_splits = tables.iter().any(|(_, split)| distinct(*split) != distinct(tables[0].1));
        let plan = Plan {
            name: source_name(source),
            classes: classes.names.clone(),
            has_splits,
            total: Some(rows),
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
            each_batch(table, &columns, &mut |batch| {
                let images = batch.column_by_name(&self.columns.image);
                let images = images.ok_or_else(|| missing(table, &self.columns.image))?;
                let mut labels =
                    self.columns.label.as_ref().map(|column| labels(batch.column_by_name(column)));
                for i in 0..batch.num_rows() {
                    let label = labels.as_mut().and_then(|labels| labels.get_mut(i).and_then(Option::take));
                    let payload = image(images, i, &self.limits);
                    let label = label.and_then(|label| self.classes.index(label));
                    sink.send(Item { name: format!("{name} row {row}"), split: *split, label, payload })?;
                    row += 1;
                }
                Ok::<(), Halt>(())
            })?;
        }
        Ok(())
    }
}

/// Which columns are read.
struct Columns {
    image: String,
    label: Option<String>,
    /// Names of the classes by the metadata.
    classes: Option<Vec<String>>,
}

impl Columns {
    /// By the metadata of Hugging Face where there is some, else by types and usual names.
    fn find(table: &Path) -> Result<Columns> {
        let builder = open_table(table)?;
        let fields = builder.parquet_schema().root_schema().get_fields();
        let features = features(builder.metadata().file_metadata().key_value_metadata());
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
            let reason = format!("none of its columns ({}) holds images as bytes", names.join(", "));
            return Err(Error::malformed(table, reason));
        };
        let by_name = LABEL_COLUMNS
            .iter()
            .find_map(|name| fields.iter().find(|f| f.name() == *name && f.is_primitive()));
        let label = by_name.or_else(|| fields.iter().find(|field| is(field, "ClassLabel")));
        let classes = label.and_then(|label| feature(label.name())).and_then(class_names);
        Ok(Columns { image: image.name().to_owned(), label: label.map(|l| l.name().to_owned()), classes })
    }
}

/// A struct with a field `bytes`, or plain bytes.
fn holds_image(field: &Type) -> bool {
    let is_bytes = |field: &Type| field.is_primitive() && field.get_physical_type() == Physical::BYTE_ARRAY;
    match field.is_group() {
        true => field.get_fields().iter().any(|inner| inner.name() == "bytes" && is_bytes(inner)),
        false => is_bytes(field),
    }
}

/// The features that the `datasets` library writes into the metadata.
fn features(metadata: Option<&Vec<parquet::file::metadata::KeyValue>>) -> Option<Value> {
    let text = metadata?.iter().find(|entry| entry.key == "huggingface")?.value.as_ref()?;
    let value: Value = serde_json::from_str(text).ok()?;
    Some(value.get("info")?.get("features")?.clone())
}

fn class_names(feature: &Value) -> Option<Vec<String>> {
    let names = feature.get("names")?.as_array()?;
    let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    names.filter(|names| !names.is_empty())
}

fn open_table(table: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(table).map_err(|e| Error::read(table, e))?;
    // Without the arrow schema, every column has the plain type of its parquet schema.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    guarded(table, || ParquetRecordBatchReaderBuilder::try_new_with_options(file, options))
}

/// Does a piece of reading. The parquet crate panics on some damaged tables, which is the table's fault and must
/// not end the program.
fn guarded<T, E: Display>(table: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|e| Error::malformed(table, format!("{e}; fetch it again"))),
        Err(_) => Err(Error::malformed(table, "its reader gave up on it; fetch it again")),
    }
}

/// Calls `visit` with the rows of some columns, a few at a time.
fn each_batch<E: From<Error>>(
    table: &Path,
    columns: &[&String],
    visit: &mut dyn FnMut(&RecordBatch) -> Result<(), E>,
) -> Result<(), E> {
    const ROWS: usize = 64;
    let builder = open_table(table)?;
    let fields = builder.parquet_schema().root_schema().get_fields();
    let mut indices = Vec::new();
    for &column in columns {
        let index = fields.iter().position(|field| field.name() == column);
        indices.push(index.ok_or_else(|| missing(table, column))?);
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
    let mut reader = guarded(table, || builder.with_projection(mask).with_batch_size(ROWS).build())?;
    while let Some(batch) = guarded(table, || reader.next().transpose())? {
        visit(&batch)?;
    }
    Ok(())
}

/// The image in one row of a column.
fn image(column: &ArrayRef, row: usize, limits: &Limits) -> Payload {
    let bytes = match column.as_struct_opt() {
        Some(parts) if parts.is_null(row) => None,
        Some(parts) => parts.column_by_name("bytes").and_then(|bytes| bytes_of(bytes, row)),
        None => bytes_of(column, row),
    };
    match bytes {
        None => Payload::Refused("the table holds no bytes for it".to_owned()),
        Some(bytes) if bytes.len() as u64 > limits.file_bytes => Payload::Refused(format!(
            "it has {} bytes, above the limit of {}",
            bytes.len(),
            limits.file_bytes
        )),
        Some(bytes) => Payload::Encoded(bytes.to_vec()),
    }
}

fn bytes_of(column: &ArrayRef, row: usize) -> Option<&[u8]> {
    if column.is_null(row) {
        return None;
    }
    let binary = column.as_binary_opt::<i32>().map(|column| column.value(row));
    binary.or_else(|| column.as_string_opt::<i32>().map(|column| column.value(row).as_bytes()))
}

/// The labels of a column of whole numbers or text; anything else has none.
fn labels(column: Option<&ArrayRef>) -> Vec<Option<Label>> {
    let Some(column) = column else { return Vec::new() };
    macro_rules! numbers {
        ($($kind:ty),*) => {
            $(if let Some(column) = column.as_primitive_opt::<$kind>() {
                return column.iter().map(|v| v.and_then(|v| i64::try_from(v).ok()).and_then(Label::number)).collect();
            })*
        };
    }
    numbers!(Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type);
    if let Some(column) = column.as_string_opt::<i32>() {
        return column.iter().map(|text| text.and_then(Label::text)).collect();
    }
    Vec::new()
}

/// The split that the name of a table, or of a folder between it and the source, speaks of.
fn split_in_path(source: &Path, table: &Path) -> Option<Split> {
    let folders = table.parent().and_then(|parent| parent.strip_prefix(source).ok());
    let folders = folders.into_iter().flat_map(|folders| folders.components().rev());
    split_of(table).or_else(|| folders.map(|part| Path::new(part.as_os_str())).find_map(split_of))
}

fn missing(table: &Path, column: &str) -> Error {
    Error::malformed(table, format!("it has no column {column}, which the first table has"))
}
