//! The two formats of PyTorch's checkpoints: a zip archive with the pickle and a file for each storage (since version 1.6), and a
//! row of pickles with the storages behind them (before).

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use zip::ZipArchive;

use super::value::{Kind, Storage, TensorAt, Value};
use super::{narrowed, pickle};
use crate::nn::{Array, Arrays};

/// The number with which the older format begins.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;

/// The bytes of the storages by their keys.
type Storages = BTreeMap<String, Vec<u8>>;

/// The tensors of a state dict that hold floats; a sentence says what is wrong with other files.
pub(super) fn arrays(bytes: &[u8]) -> Result<Arrays, String> {
    let (value, storages) = if bytes.starts_with(b"PK") { from_zip(bytes)? } else { legacy(bytes)? };
    let Value::Dict(entries) = value else { return Err("it holds no dictionary of arrays".into()) };
    let mut arrays = Arrays::new();
    for (name, value) in entries {
        let (Value::Text(name), Value::Tensor(tensor)) = (name, value) else {
            return Err("it holds something else than arrays by their names".into());
        };
        if let Some(data) = numbers(&tensor, &storages)? {
            arrays.insert(name.to_string(), Array { shape: tensor.shape.clone(), data });
        }
    }
    Ok(arrays)
}

/// The numbers of a tensor of floats; `None` for other kinds, such as counters.
fn numbers(tensor: &TensorAt, storages: &Storages) -> Result<Option<Vec<f32>>, String> {
    let TensorAt { storage, offset, shape } = tensor;
    let size = storage.kind.size();
    let len: usize = shape.iter().product();
    let bytes = storages.get(&storage.key).ok_or("it lacks the numbers of an array")?;
    let places = offset.checked_mul(size).zip((offset + len).checked_mul(size));
    let range = places.and_then(|(first, end)| bytes.get(first..end)).ok_or("it ends within an array")?;
    Ok(match storage.kind {
        Kind::Float => Some(bytemuck::pod_collect_to_vec::<u8, f32>(range)),
        Kind::Double => Some(narrowed(&bytemuck::pod_collect_to_vec::<u8, f64>(range))),
        Kind::Half | Kind::Long | Kind::Int => None,
    })
}

/// The storages of a pickled value, each once.
fn storages_of(value: &Value) -> BTreeMap<String, &Storage> {
    let Value::Dict(entries) = value else { return BTreeMap::new() };
    let tensors = entries.iter().filter_map(|(_, value)| match value {
        Value::Tensor(tensor) => Some(&*tensor.storage),
        _ => None,
    });
    tensors.map(|storage| (storage.key.clone(), storage)).collect()
}

fn byte_size(storage: &Storage, most: usize) -> Result<usize, String> {
    let size = storage.len.checked_mul(storage.kind.size());
    size.filter(|&size| size <= most).ok_or_else(|| "an array is larger than the file".into())
}

fn from_zip(bytes: &[u8]) -> Result<(Value, Storages), String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let pickle = names.into_iter().find(|name| name.ends_with("/data.pkl"));
    let pickle = pickle.ok_or("it is a zip archive without the `data.pkl` of PyTorch")?;
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    if entry(&mut archive, &format!("{folder}byteorder"), 16).is_ok_and(|order| order == b"big") {
        return Err("its numbers are big-endian".into());
    }
    let text = entry(&mut archive, &pickle, bytes.len())?;
    let (value, _) = pickle::read(&text)?;
    let mut storages = Storages::new();
    let mut left = bytes.len();
    for (key, storage) in storages_of(&value) {
        // PyTorch does not compress, so all that is stored is no larger than the file.
        let size = byte_size(storage, left)?;
        left -= size;
        let data = entry(&mut archive, &format!("{folder}data/{key}"), size)?;
        storages.insert(key, data);
    }
    Ok((value, storages))
}

/// The content of a file of the archive, of at most `most` bytes.
fn entry(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, most: usize) -> Result<Vec<u8>, String> {
    let file = archive.by_name(name).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    let mut data = Vec::new();
    let read = file.take(most as u64 + 1).read_to_end(&mut data);
    read.map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    if data.len() > most {
        return Err(format!("`{name}` is larger than it says"));
    }
    Ok(data)
}

fn legacy(bytes: &[u8]) -> Result<(Value, Storages), String> {
    let mut at = 0;
    let mut next = || {
        let (value, len) = pickle::read(&bytes[at..])?;
        at += len;
        Ok::<_, String>((value, at))
    };
    let is_ours = next().is_ok_and(|(value, _)| value == Value::Int(MAGIC));
    if !is_ours {
        return Err("it is neither a checkpoint of PyTorch nor safetensors".into());
    }
    // The version and what the machine was.
    next()?;
    next()?;
    let (value, _) = next()?;
    let (keys, mut at) = next()?;
    let known = storages_of(&value);
    let Value::List(keys) = keys else { return Err("it does not list its arrays".into()) };
    let mut storages = Storages::new();
    for key in keys {
        let Value::Text(key) = key else { return Err("it does not list its arrays".into()) };
        let storage = known.get(&*key).ok_or("it lists numbers of no array")?;
        let size = byte_size(storage, bytes.len())?;
        let len = bytes.get(at..at + 8).and_then(|len| len.try_into().ok()).map(u64::from_le_bytes);
        if len != Some(storage.len as u64) {
            return Err("an array has another length than it says".into());
        }
        let data = bytes.get(at + 8..at + 8 + size).ok_or("it ends within an array")?;
        storages.insert(key.to_string(), data.to_vec());
        at += 8 + size;
    }
    Ok((value, storages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_and_changed_checkpoints_are_errors_and_not_panics() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/features/weights/fixtures");
        for name in ["zip.pth", "legacy.pth"] {
            let whole = std::fs::read(folder.join(name)).unwrap();
            assert!(arrays(&whole).is_ok());
            for len in (0..whole.len()).step_by(7) {
                assert!(arrays(&whole[..len]).is_err(), "{name} cut to {len}");
            }
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 0x55;
                // Some bytes mean nothing, and some are numbers: whatever comes out, it comes out.
                let _ = arrays(&changed);
            }
        }
    }

    #[test]
    fn a_zip_that_is_no_checkpoint_says_so() {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("notes.txt", zip::write::SimpleFileOptions::default()).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert!(arrays(&bytes).unwrap_err().contains("without the `data.pkl`"));
        assert!(arrays(b"hello").unwrap_err().contains("neither"));
    }
}
