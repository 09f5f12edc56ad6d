//! What the fuzz targets do with the bytes that they are given: each reads them as a file and must neither panic nor take more
//! memory or time than the limits allow. Errors must name the file.

use std::fs;
use std::path::Path;

use poiesis::apply::compress::Archive;
use poiesis::run::{Run, checkpoint};
use poiesis_collect::{Dataset, Limits, Options, collect};

/// Collects the bytes as a file of that name.
pub fn collect_file(data: &[u8], name: &str) {
    let root = tempfile::tempdir().expect("a folder can be made");
    let file = root.path().join(name);
    fs::write(&file, data).expect("a file can be written");
    collect_from(&file, root.path(), name);
}

/// Collects the bytes as the only file of a folder.
pub fn collect_in_folder(data: &[u8], name: &str) {
    let root = tempfile::tempdir().expect("a folder can be made");
    let folder = root.path().join("in");
    fs::create_dir(&folder).expect("a folder can be made");
    fs::write(folder.join(name), data).expect("a file can be written");
    collect_from(&folder, root.path(), name);
}

fn collect_from(source: &Path, root: &Path, name: &str) {
    let limits = Limits { file_bytes: 16 << 20, pixels: 1 << 22, max_memory: 256 << 20, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    match collect(source, &root.join("out"), &options, &|_| ()) {
        Ok(_) => Dataset::open(&root.join("out")).and_then(|dataset| dataset.verify()).expect("it is whole"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(name) || text.contains(&*source.to_string_lossy()), "{text}");
        }
    }
}

/// Opens the bytes as an archive of `compress`.
pub fn open_archive(data: &[u8]) {
    let _ = Archive::from_bytes(data);
}

/// Reads the bytes as the weights of a checkpoint whose `COMPLETE` fits them.
pub fn open_checkpoint(data: &[u8]) {
    let root = tempfile::tempdir().expect("a folder can be made");
    let folder = root.path().join("step-000000001");
    fs::create_dir(&folder).expect("a folder can be made");
    let state = &br#"{"model": "vae", "step": 1, "scalars": {}}"#[..];
    let names = ["model.safetensors", "ema.safetensors", "train.safetensors", "state.json"];
    let files = names.map(|name| (name, if name == "state.json" { state } else { data }));
    let records = files.map(|(name, bytes)| {
        fs::write(folder.join(name), bytes).expect("a file can be written");
        let record = serde_json::json!({ "size": bytes.len(), "blake3": blake3::hash(bytes).to_hex().as_str() });
        (name.to_owned(), record)
    });
    let complete = serde_json::json!({ "format": 1, "files": serde_json::Map::from_iter(records) });
    fs::write(folder.join("COMPLETE"), complete.to_string()).expect("a file can be written");
    let _ = checkpoint::read(&folder);
}

/// Opens a run with the bytes as its `run.json`.
pub fn open_run(data: &[u8]) {
    let root = tempfile::tempdir().expect("a folder can be made");
    fs::write(root.path().join("run.json"), data).expect("a file can be written");
    let _ = Run::open(root.path());
}

/// Opens a data set with the bytes as its `dataset.json`.
pub fn open_dataset(data: &[u8]) {
    let root = tempfile::tempdir().expect("a folder can be made");
    fs::write(root.path().join("dataset.json"), data).expect("a file can be written");
    let _ = Dataset::open(root.path());
}
