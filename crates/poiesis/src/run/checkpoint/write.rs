//! Writes a checkpoint: all files into a folder under a temporary name, then one rename.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;

use super::folder::remove_folder;
use super::manifest::{Manifest, Record};
use super::{Arrays, COMPLETE, Checkpoint, PARTIAL, Part, STATE, State, folder_name, read};
use crate::atomic::{folder_of, sync_folder};
use crate::error::{Error, Result};
use crate::run::names;

/// Writes a checkpoint below `folder` and returns its own folder.
///
/// If there already is a complete checkpoint of this step with the same content, nothing is written. One with other
/// content, or an incomplete one, is first renamed to `step-NNNNNNNNN.old-1` (the first free number).
///
/// # Errors
/// [`Error::Io`] naming the file that could not be written. What was written of this checkpoint is then removed, and
/// the older ones are as they were.
///
/// # Panics
/// When an array's number of values is not the product of its shape.
pub fn save(folder: &Path, checkpoint: &Checkpoint) -> Result<PathBuf> {
    let name = folder_name(checkpoint.state.step);
    let path = folder.join(&name);
    let partial = folder.join(format!("{name}{PARTIAL}"));
    remove_folder(&partial)?;
    // Not what is above it: a run that was removed is not made again.
    for folder in [folder, &partial] {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("make the folder", folder)(error));
            }
            _ => {}
        }
    }
    let written =
        write_files(&partial, checkpoint).and_then(|manifest| put_in_place(&partial, &path, &manifest));
    if written.is_err() {
        // The first error is the one to report; what cannot be removed now is removed at the next start.
        let _ = remove_folder(&partial);
    }
    written.map(|()| path)
}

/// Writes and syncs all files of a checkpoint, `COMPLETE` last; returns the content of `COMPLETE`.
fn write_files(folder: &Path, checkpoint: &Checkpoint) -> Result<Manifest> {
    let mut files = BTreeMap::new();
    for part in Part::ALL {
        let arrays = match part {
            Part::Model => &checkpoint.model,
            Part::Ema => &checkpoint.ema,
            Part::Train => &checkpoint.train,
        };
        let record = write_file(&folder.join(part.file_name()), |out| {
            write_arrays(out, arrays, part, &checkpoint.state)
        })?;
        files.insert(part.file_name(), record);
    }
    let state = write_file(&folder.join(STATE), |out| write_json(out, &checkpoint.state))?;
    files.insert(STATE.to_owned(), state);
    let manifest = Manifest { format: 1, files };
    write_file(&folder.join(COMPLETE), |out| write_json(out, &manifest))?;
    sync_folder(folder)?;
    Ok(manifest)
}

/// Gives a finished checkpoint its name.
fn put_in_place(partial: &Path, path: &Path, manifest: &Manifest) -> Result<()> {
    if path.exists() {
        let same = read(path).is_ok() && Manifest::read(path)? == *manifest;
        if same {
            return remove_folder(partial);
        }
        let aside = names::aside(path);
        fs::rename(path, &aside).map_err(Error::io("rename", path))?;
    }
    fs::rename(partial, path).map_err(Error::io("rename", partial))?;
    sync_folder(folder_of(path))
}

/// Writes, hashes and syncs one file.
fn write_file(path: &Path, write: impl FnOnce(&mut Hashed<'_>) -> io::Result<()>) -> Result<Record> {
    let file = File::create(path).map_err(Error::io("write", path))?;
    let mut out =
        Hashed { out: BufWriter::with_capacity(1 << 16, &file), hasher: blake3::Hasher::new(), size: 0 };
    write(&mut out).and_then(|()| out.flush()).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("write", path))?;
    Ok(Record { size: out.size, blake3: out.hasher.finalize().to_hex().to_string() })
}

/// A writer that counts and hashes the bytes.
struct Hashed<'a> {
    out: BufWriter<&'a File>,
    hasher: blake3::Hasher,
    size: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes arrays as safetensors, in the order of their names. The values are streamed, never copied as a whole.
fn write_arrays(out: &mut impl Write, arrays: &Arrays, part: Part, state: &State) -> io::Result<()> {
    let mut infos = Vec::with_capacity(arrays.len());
    let mut offset = 0;
    for (name, array) in arrays {
        array.check(name);
        let end = offset + 4 * array.data.len();
        let info = TensorInfo { dtype: Dtype::F32, shape: array.shape.clone(), data_offsets: (offset, end) };
        infos.push((name.clone(), info));
        offset = end;
    }
    // A single key, because the order of several would not be fixed.
    let about =
        serde_json::json!({ "model": state.model, "step": state.step, "part": part.name() }).to_string();
    let about = HashMap::from([("poiesis".to_owned(), about)]);
    let metadata = Metadata::new(Some(about), infos).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    arrays.values().try_for_each(|array| out.write_all(&little_endian(&array.data)))
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// The values as little-endian bytes, without a copy on little-endian machines.
fn little_endian(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}
