//! Latents, or features, as files: safetensors with what they are of in the metadata, or NumPy's `.npy` with the same as JSON beside it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use poiesis_collect::{ArrayHeader, regular};
use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::error::{Error, Result};
use crate::fitting::Rows;
use crate::trained::{Trained, Weights};

/// The name of the array of latents in a file of safetensors, and of the metadata in it.
const ARRAY: &str = "latents";
const METADATA: &str = "poiesis";

/// What a model makes of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncodedAs {
    /// Latents, which it can decode.
    #[default]
    Latents,
    /// Features.
    Features,
}

impl EncodedAs {
    /// Its name, and that of the array in a file of safetensors.
    pub fn name(self) -> &'static str {
        match self {
            EncodedAs::Latents => ARRAY,
            EncodedAs::Features => "features",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_latents(&self) -> bool {
        *self == EncodedAs::Latents
    }
}

/// What latents are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatentsOf {
    /// The run whose model encoded them.
    pub run: String,
    /// Its model.
    pub model: String,
    /// Steps it was trained for.
    pub step: u64,
    /// Which of its weights were used.
    pub weights: Weights,
    /// [`Trained::fingerprint`] of the model.
    pub fingerprint: String,
    /// The file, or split and number, of each image.
    pub sources: Vec<String>,
    /// The class that each was encoded as.
    pub classes: Vec<Option<u32>>,
    /// Whether they are latents or features.
    #[serde(default, skip_serializing_if = "EncodedAs::is_latents")]
    pub encoded_as: EncodedAs,
}

impl LatentsOf {
    /// Latents that `trained` encoded.
    pub fn new(trained: &Trained, sources: Vec<String>, classes: Vec<Option<u32>>) -> LatentsOf {
        LatentsOf {
            run: trained.info.id.clone(),
            model: trained.entry.name().to_owned(),
            step: trained.step,
            weights: trained.weights(),
            fingerprint: trained.fingerprint(),
            sources,
            classes,
            encoded_as: EncodedAs::Latents,
        }
    }
}

/// Latents that were read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedLatents {
    /// The latents, one per row.
    pub latents: Rows,
    /// What they are of, where that is known.
    pub of: Option<LatentsOf>,
    /// What is worth knowing about the file.
    pub notes: Vec<String>,
}

/// A format of files of latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatentsFormat {
    /// Safetensors.
    Safetensors,
    /// An array of NumPy.
    Npy,
}

impl LatentsFormat {
    /// That of a file, by its extension; `None` for any other.
    pub fn of(path: &Path) -> Option<LatentsFormat> {
        let is =
            |extension: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
        match (is("safetensors"), is("npy")) {
            (true, _) => Some(LatentsFormat::Safetensors),
            (_, true) => Some(LatentsFormat::Npy),
            _ => None,
        }
    }
}

/// The file beside `path` that says what its latents are of: of `.npy`, which has no room for it.
pub fn description(path: &Path) -> Option<PathBuf> {
    (LatentsFormat::of(path) == Some(LatentsFormat::Npy)).then(|| path.with_extension("json"))
}

/// Writes latents as 32-bit floats, `[latents, latent_dim]`, in the format of the extension; or features alike.
///
/// # Errors
///
/// [`Error::Unusable`] for another extension, [`Error::Io`].
///
/// # Panics
///
/// When `of` does not have a source and a class for each.
pub fn write(path: &Path, latents: &Rows, of: &LatentsOf) -> Result<()> {
    assert_eq!(
        [of.sources.len(), of.classes.len()],
        [latents.len(); 2],
        "a source and a class for each latent"
    );
    let shape = [latents.len(), latents.dims()];
    let bytes: Vec<u8> = latents.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    let text = serde_json::to_string(of).map_err(|error| unusable(path, error.to_string()))?;
    match LatentsFormat::of(path) {
        Some(LatentsFormat::Safetensors) => {
            let fail = |error: safetensors::SafeTensorError| unusable(path, error.to_string());
            let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).map_err(fail)?;
            let metadata = HashMap::from([(METADATA.to_owned(), text)]);
            let array = (of.encoded_as.name(), view);
            atomic::write(path, &serialize([array], Some(metadata)).map_err(fail)?)
        }
        Some(LatentsFormat::Npy) => {
            atomic::write(path, &[ArrayHeader::new("<f4", &shape).to_bytes(), bytes].concat())?;
            atomic::write(&path.with_extension("json"), (text + "\n").as_bytes())
        }
        None => Err(other_format(path)),
    }
}

/// Reads latents of `dims` values each; 64-bit floats are converted, with a note.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Unusable`] and [`Error::Data`] for a file that is damaged, of another format, type or shape, has a value that is
/// not a finite number, holds features, or does not fit its own description.
pub fn read(path: &Path, dims: usize) -> Result<SavedLatents> {
    let bytes = regular::read(path).map_err(Error::io("read", path))?;
    let (array, of, mut notes) = match LatentsFormat::of(path) {
        Some(LatentsFormat::Safetensors) => from_safetensors(path, &bytes)?,
        Some(LatentsFormat::Npy) => {
            let (of, notes) = described(&path.with_extension("json"));
            (from_npy(path, &bytes)?, of, notes)
        }
        None => return Err(other_format(path)),
    };
    if of.as_ref().is_some_and(|of| of.encoded_as == EncodedAs::Features) {
        return Err(unusable(path, "it holds features, and only latents can be decoded".into()));
    }
    let Array { shape, values, converted } = array;
    let (count, found) = match *shape.as_slice() {
        [count, found] => (count, found),
        [found] => (1, found),
        _ => return Err(unusable(path, format!("its array has the shape {shape:?}, not [latents, values]"))),
    };
    if found != dims {
        let remedy = "give latents that this model, or one like it, has encoded";
        let reason = format!("its latents have {found} values, and those of the model have {dims}");
        return Err(Error::Unusable { path: path.to_owned(), reason, remedy: remedy.into() });
    }
    if count == 0 {
        return Err(unusable(path, "it holds no latents".into()));
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let reason =
            format!("value {} of latent {} is {}, not a finite number", at % dims, at / dims, values[at]);
        return Err(unusable(path, reason));
    }
    if let Some(of) = &of
        && [of.sources.len(), of.classes.len()] != [count; 2]
    {
        let (sources, classes) = (of.sources.len(), of.classes.len());
        let reason = format!(
            "it holds {count} latents, and its description has {sources} sources and {classes} classes"
        );
        return Err(unusable(path, reason));
    }
    if converted {
        notes.push(format!("{} has 64-bit floats, which were rounded to 32 bits", path.display()));
    }
    Ok(SavedLatents { latents: Rows::new(values, dims), of, notes })
}

/// Values as they are in a file.
struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
    /// Whether they had 64 bits.
    converted: bool,
}

impl Array {
    /// The values of little-endian floats of `width` bytes; `None` if these are not as many as the shape says.
    fn of(shape: Vec<usize>, bytes: &[u8], width: usize) -> Option<Array> {
        let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size))?;
        if count.checked_mul(width)? != bytes.len() {
            return None;
        }
        let values = match width {
            4 => bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            _ => bytes.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect(),
        };
        Some(Array { shape, values, converted: width == 8 })
    }
}

type Described = (Option<LatentsOf>, Vec<String>);

fn from_safetensors(path: &Path, bytes: &[u8]) -> Result<(Array, Option<LatentsOf>, Vec<String>)> {
    let fail =
        |error: safetensors::SafeTensorError| unusable(path, format!("it is not safetensors: {error}"));
    let file = SafeTensors::deserialize(bytes).map_err(fail)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(fail)?;
    let names = file.names();
    let name = match names.as_slice() {
        [only] => only,
        names if names.contains(&ARRAY) => ARRAY,
        names => {
            let reason = format!("it holds {} arrays, and none is called `{ARRAY}`", names.len());
            return Err(unusable(path, reason));
        }
    };
    let view = file.tensor(name).map_err(fail)?;
    let width = match view.dtype() {
        Dtype::F32 => 4,
        Dtype::F64 => 8,
        other => {
            return Err(unusable(path, format!("`{name}` has values of type {other:?}, not F32 or F64")));
        }
    };
    let array = Array::of(view.shape().to_vec(), view.data(), width);
    let array = array.ok_or_else(|| unusable(path, format!("`{name}` does not fit its shape")))?;
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
    let (of, notes) = text.map_or((None, Vec::new()), |text| parsed(path, text));
    Ok((array, of, notes))
}

fn from_npy(path: &Path, bytes: &[u8]) -> Result<Array> {
    let mut reader = bytes;
    let header = ArrayHeader::read(&mut reader, path)?;
    let data = reader;
    let width = match header.kind.as_str() {
        "<f4" => 4,
        "<f8" => 8,
        other => {
            let reason = format!("its values are of NumPy's type {other}, not <f4 or <f8");
            return Err(unusable(path, reason));
        }
    };
    let shape = header.shape.clone();
    let mut array = Array::of(header.shape, data, width).ok_or_else(|| {
        unusable(
            path,
            format!("it holds {} bytes of values, which do not make the shape {shape:?}", data.len()),
        )
    })?;
    if let (true, [rows, columns]) = (header.fortran, shape.as_slice()) {
        let at = |place: usize| array.values[place % columns * rows + place / columns];
        array.values = (0..array.values.len()).map(at).collect();
    }
    Ok(array)
}

/// What stands beside an array of NumPy, if anything does.
fn described(path: &Path) -> Described {
    match regular::read_to_string(path) {
        Ok(text) => parsed(path, &text),
        Err(_) => (None, Vec::new()),
    }
}

/// A file beside the latents may be of something else, so what cannot be read there is only noted.
fn parsed(path: &Path, text: &str) -> Described {
    match serde_json::from_str(text) {
        Ok(of) => (Some(of), Vec::new()),
        Err(error) => {
            (None, vec![format!("{} does not say what the latents are of: {error}", path.display())])
        }
    }
}

fn other_format(path: &Path) -> Error {
    let (reason, remedy) = ("latents are saved in other files", "give one that ends in .safetensors or .npy");
    Error::Unusable { path: path.to_owned(), reason: reason.into(), remedy: remedy.into() }
}

fn unusable(path: &Path, reason: String) -> Error {
    let remedy = "give a file of latents, such as `encode` writes";
    Error::Unusable { path: path.to_owned(), reason, remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: usize) -> LatentsOf {
        LatentsOf {
            run: "run".into(),
            model: "vae".into(),
            step: 3,
            weights: Weights::Raw,
            fingerprint: "f".into(),
            sources: (0..count).map(|i| format!("{i}.png")).collect(),
            classes: (0..count).map(|i| (i > 0).then_some(i as u32)).collect(),
            encoded_as: EncodedAs::Latents,
        }
    }

    fn npy(kind: &str, fortran: bool, shape: &str, bytes: &[u8]) -> Vec<u8> {
        let fortran = if fortran { "True" } else { "False" };
        let header = format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", length.as_slice(), header.as_bytes(), bytes].concat()
    }

    #[test]
    fn latents_come_back_exactly_with_what_they_are_of() {
        let folder = tempfile::tempdir().unwrap();
        let latents = Rows::new(vec![0.1, -2.5e-30, f32::MAX, 3.0, -0.0, 1.0 / 3.0], 2);
        for name in ["a.safetensors", "b.npy"] {
            let path = folder.path().join(name);
            write(&path, &latents, &of(3)).unwrap();
            let expected = SavedLatents { latents: latents.clone(), of: Some(of(3)), notes: Vec::new() };
            assert_eq!(read(&path, 2).unwrap(), expected);
        }
        let text = std::fs::read_to_string(folder.path().join("b.json")).unwrap();
        assert!(!text.contains("encoded_as"), "as earlier versions wrote it: {text}");
        // Someone else's file of this name.
        std::fs::write(folder.path().join("b.json"), "[1]").unwrap();
        let read = read(&folder.path().join("b.npy"), 2).unwrap();
        assert!(read.of.is_none() && read.notes[0].contains("b.json"), "{read:?}");
    }

    #[test]
    fn arrays_of_other_programs_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let doubles: Vec<u8> =
            [1.0_f64, 2.0, 3.0, 4.0, 5.0, 6.5].iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(&path, npy("<f8", true, "(2, 3)", &doubles)).unwrap();
        let found = read(&path, 3).unwrap();
        assert_eq!(found.latents, Rows::new(vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.5], 3));
        assert!(found.of.is_none() && found.notes[0].contains("64-bit"), "{found:?}");
        std::fs::write(&path, npy("<f8", false, "(6,)", &doubles)).unwrap();
        assert_eq!(read(&path, 6).unwrap().latents.len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let refused = |name: &str, dims: usize| {
            let error = read(&place(name), dims).unwrap_err();
            assert!(error.hint().is_some_and(|hint| !hint.is_empty()) || matches!(error, Error::Data(_)));
            error.to_string()
        };
        let latents = Rows::new(vec![0.0; 6], 2);
        write(&place("a.safetensors"), &latents, &of(3)).unwrap();
        assert!(refused("a.safetensors", 5).contains("have 2 values, and those of the model have 5"));
        assert!(matches!(write(&place("a.csv"), &latents, &of(3)), Err(Error::Unusable { .. })));
        std::fs::write(place("a.csv"), "").unwrap();
        assert!(refused("a.csv", 2).contains("a.csv cannot be used"));

        write(&place("b.npy"), &Rows::new(vec![0.0, 1.0, f32::NAN, 0.0], 2), &of(2)).unwrap();
        assert!(refused("b.npy", 2).contains("value 0 of latent 1 is NaN"));
        write(&place("b.npy"), &latents, &of(3)).unwrap();
        let bytes = std::fs::read(place("b.npy")).unwrap();
        std::fs::write(place("b.npy"), &bytes[..bytes.len() - 4]).unwrap();
        assert!(refused("b.npy", 2).contains("20 bytes"));
        std::fs::write(place("b.npy"), &bytes[..30]).unwrap();
        assert!(refused("b.npy", 2).contains("b.npy"));
        std::fs::write(place("b.npy"), npy("<i4", false, "(3, 2)", &[0; 24])).unwrap();
        assert!(refused("b.npy", 2).contains("<i4"));
        std::fs::write(place("b.npy"), npy("<f4", false, "(1, 3, 2)", &[0; 24])).unwrap();
        assert!(refused("b.npy", 2).contains("[1, 3, 2]"));
        std::fs::write(place("b.npy"), npy("<f4", false, "(9999999999999, 9999999999999)", &[0; 24]))
            .unwrap();
        assert!(refused("b.npy", 2).contains("do not make the shape"));
        std::fs::write(place("b.npy"), npy("<f4", false, "(0, 2)", &[])).unwrap();
        assert!(refused("b.npy", 2).contains("no latents"));
        std::fs::write(place("b.npy"), npy("<f4", false, "(2, 2)", &[0; 16])).unwrap();
        std::fs::write(place("b.json"), serde_json::to_string(&of(3)).unwrap()).unwrap();
        assert!(refused("b.npy", 2).contains("holds 2 latents, and its description has 3 sources"));

        let features = LatentsOf { encoded_as: EncodedAs::Features, ..of(3) };
        for name in ["f.npy", "f.safetensors"] {
            write(&place(name), &latents, &features).unwrap();
            assert!(refused(name, 2).contains("holds features"));
        }

        let half = TensorView::new(Dtype::F16, vec![1, 2], &[0; 4]).unwrap();
        std::fs::write(place("c.safetensors"), serialize([("z", half)], None).unwrap()).unwrap();
        assert!(refused("c.safetensors", 2).contains("F16"));
        std::fs::write(place("c.safetensors"), b"nonsense").unwrap();
        assert!(refused("c.safetensors", 2).contains("not safetensors"));
        assert!(matches!(read(&place("none.npy"), 2), Err(Error::Io { .. })));
    }
}
